"""What was measured of speed and of load, as cells of the tables that ``readme_results`` writes."""

from __future__ import annotations

from operator import itemgetter

from facerec.evaluation import percent
from tools.upkeep.scale_page import megabytes, table


def _of_size(database: dict, people: int) -> dict:
    return next(row for row in database["sizes"] if row["people"] == people)


def search(database: dict, people: int) -> str:
    """How fast a search is and how often it finds the nearest person, beside other ways to search."""
    row = _of_size(database, people)
    right = {who: percent(value, 2) for who, value in row["true_nearest"].items()}
    loop, product = (row["others"][way]["times_ours"] for way in ("the course's loop over a dict", "plain NumPy"))
    return (
        f"p50 {row['nearest']['p50_ms']:.1f} ms, p99 {row['nearest']['p99_ms']:.1f} ms; true nearest found for "
        f"{right['known']} of known people and {right['strangers']} of strangers; {loop:.0f} times as fast as the loop "
        f"over a dict, {product:.2g} times as fast as a product in NumPy"
    )


def search_in_short(database: dict, people: int) -> str:
    """The median time of a search."""
    return f"{_of_size(database, people)['nearest']['p50_ms']:.1f} ms"


def largest(database: dict) -> str:
    """What the largest database takes: to open, in memory, to add a person."""
    row = database["sizes"][-1]
    add = row["add"]
    return (
        f"{row['cold_open_s']:.1f} s ({row['from_start_s']:.1f} s with the start of Python); "
        f"{megabytes(row['memory_mb'])} of memory, {megabytes(row['fill']['memory_mb'])} while it is filled; "
        f"one more person is on the disk after p50 {add['p50_ms']:.1f} ms, p99 {add['p99_ms']:.1f} ms"
    )


def encoding_speed(bench: dict, batch: int) -> str:
    """How many faces per second the networks encode, beside the reference engine."""
    speed = {name: row[f"batch_{batch}"]["faces_per_second"] for name, row in bench["encoding"].items()}
    ours = speed["weights/resnet"]
    parts = [f"residual network: {ours:.0f} faces per second"]
    if "reference engine" in speed:
        parts.append(f"{ours / speed['reference engine']:.0f} times as fast as the reference engine")
    if "keras-facenet-h5" in speed:
        parts.append(f"Inception FaceNet: {speed['keras-facenet-h5'] / ours:.1f} times as fast as the residual network")
    return "; ".join(parts)


def latency(bench: dict, faces: int) -> str:
    """How long a photo takes from file to names, and its three steps."""
    row = bench["photo_to_name"]["weights/resnet"][f"{faces}_faces"]
    steps = ", ".join(f"{step} {row[f'{step}_ms']:.0f}" for step in ("detect", "align", "encode"))
    return f"{row['whole_ms']:.0f} ms ({steps})"


def flask_app(apps: dict) -> str:
    """How the Flask app serves fifty clients at once, and one alone."""
    load, memory = apps["flask_load"], apps["flask_memory_mb"]
    return (
        f"{load['requests']:,} comparisons, {load['errors']} errors, {load['wrong']} wrong answers; p50 "
        f"{load['p50_s']:.1f} s, p95 {load['p95_s']:.1f} s; one client alone: {apps['flask_first_answer_s']:.2f} s; "
        f"memory grows by {memory['growth']:.0f} MB over {memory['requests']:,} comparisons"
    )


def attack_files(found: dict) -> str:
    """What the worst files cost that were built to cost much."""
    kinds, limits = found["kinds"], found["limits"]
    slowest, largest = (max(kinds, key=itemgetter(f"worst_{what}")) for what in ("seconds", "megabytes"))
    return (
        f"{found['files']:,} files of {len(kinds)} kinds: at most {slowest['worst_seconds']:.1f} s ({slowest['kind']}) "
        f"and {largest['worst_megabytes']:.0f} MB ({largest['kind']}); {found['over_a_limit']} over "
        f"{limits['seconds']} s or {limits['megabytes']} MB"
    )


def attack_table(found: dict) -> str:
    """The same for each format: the files, how many were opened, and the worst."""
    formats: dict[str, list[dict]] = {}
    for kind in found["kinds"]:
        name = "damaged, or not a picture" if kind["kind"].startswith("upload") else kind["kind"].split()[0].strip(",")
        formats.setdefault(name, []).append(kind)
    rows = []
    for name, kinds in sorted(formats.items()):
        slowest, largest = (max(kinds, key=itemgetter(f"worst_{what}")) for what in ("seconds", "megabytes"))
        files, opened = (sum(kind.get(what, 0) for kind in kinds) for what in ("files", "opened"))
        took = f"{slowest['worst_seconds']:.1f} s ({slowest['kind']})"
        memory = f"{largest['worst_megabytes']:.0f} MB ({largest['kind']})"
        rows.append((name, f"{files:,}", f"{opened:,}", took, memory))
    return table("| format | files | opened | slowest | most memory |", rows)


def api_load(api: dict) -> str:
    """How the API serves fifty programs at once."""
    load = api["load"]
    seen = f"{load['errors']} errors, {load['wrong']} wrong answers"
    return f"{load['requests']:,} requests in {load['seconds']:.0f} s, {seen}"


def api_route(api: dict, route: str, clients: str) -> str:
    """How long one kind of request takes, for one client or for many at once."""
    row = api[clients]["routes"][route]
    return f"p50 {row['p50_s']:.2f} s, p95 {row['p95_s']:.2f} s ({row['requests']:,} requests)"


def streamlit_app(apps: dict) -> str:
    """How long the Streamlit app takes from a picture to its answer."""
    return (
        f"{apps['streamlit_picture_to_answer_median_s']:.1f} s from the picture to the answer on the page; slowest of "
        f"five browsers at once: {apps['streamlit_five_browsers_slowest_s']:.1f} s"
    )
