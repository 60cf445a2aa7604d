"""What was measured of the apps and the API, as the cells of the tables that ``readme_results`` writes."""

from __future__ import annotations

from operator import itemgetter

from tools.upkeep.scale_page import table


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
