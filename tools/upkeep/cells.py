"""Results as text: what a cell of the tables of ``readme_results`` says about a measured file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from operator import itemgetter

from facerec.evaluation import percent
from tools.upkeep.peers import spread
from tools.upkeep.scale_page import megabytes, table


def at_default(lfw: dict) -> str:
    """The accuracy at the default threshold."""
    return percent(lfw["accuracy_at_0.7"])


def at_trained(lfw: dict) -> str:
    """The accuracy at the threshold chosen on other people, and the area under the ROC curve."""
    return f"{percent(lfw['accuracy_at_trained'])}, ROC area {lfw['auc']:.4f}"


def errors_equal(steps: dict) -> str:
    """The equal-error rate without the steps that were kept, and with them."""
    first = steps["steps"][0]
    kept = next(row for row in steps["steps"] if row["kept"])
    return f"{percent(first['equal_error_rate'])} without, {percent(kept['equal_error_rate'])} with"


def named(evaluation: dict) -> str:
    """The share of known people who are named correctly in the largest gallery."""
    row = evaluation["open_set"][-1]
    return percent(row, value="named_at_fpir_0.01")


def named_of(evaluation: dict) -> str:
    """The same, with the number of pictures and the rank-1 rate."""
    row = evaluation["open_set"][-1]
    return f"{named(evaluation)} of {row['known_probes']:,} pictures; rank 1: {100 * row['rank_1']:.1f} %"


def calibration_error(evaluation: dict, kind: str) -> str:
    """How far the confidence is off on average."""
    error = evaluation["calibration"][kind]["expected_calibration_error"]
    return percent(error, digits=2)


def false_accepts(groups: dict, place: str) -> str:
    """The false accepts between two people of a group, and the group's name."""
    row = groups["networks"]["weights/resnet"][place]
    name = f"{row['group']}: " if place.startswith("adults") else ""
    return name + percent(row, digits=2, value="false_accepts")


def false_accepts_in_short(groups: dict) -> str:
    """The false accepts of the groups between which they differ most."""
    found = groups["networks"]["weights/resnet"]
    few, many, children = found["adults_fewest"], found["adults_most"], found["most"]
    return (
        f"{100 * few['false_accepts']:.1f} % ({few['group']} adults), {100 * many['false_accepts']:.1f} % "
        f"({many['group']} adults), {100 * children['false_accepts']:.1f} % (children under ten)"
    )


def quality_area(quality: dict) -> str:
    """How well the quality of a photo predicts a false reject, beside the width of the face alone."""
    area = quality["pairs_of_celeba"]["area"]
    score, width = ("{value:.2f} [{low:.2f}, {high:.2f}]".format(**area[name]) for name in ("score", "width"))
    return f"ROC area {score}; width of the face alone: {width}"


def at_the_threshold_for(strangers: dict, network: str, people: int) -> str:
    """The shares of strangers and of known pictures that get a name, at the threshold for K people and at 0.7."""
    row = next(row for row in strangers["networks"][network] if row["people"] == people)
    now, then = (
        f"{100 * row[f'strangers_named{at}']:.1f} % of strangers named, {100 * row[f'known_named{at}']:.0f} % of known "
        "pictures"
        for at in ("", "_at_0.7")
    )
    return f"{now} (at 0.7: {then})"


def clustered(clusters: dict, network: str, way: str, people: str = "pairsDevTest") -> str:
    """How well faces without names are grouped into people, and of how many photographs of how many people."""
    row, of = clusters["networks"][network]["ways"][way][people], clusters["networks"][network]["people"][people]
    precision, recall = (100 * row[measure]["value"] for measure in ("precision", "recall"))
    return (
        f"F {percent(row['f'])}, precision {precision:.1f} %, recall {recall:.1f} %; {of['photographs']:,} photos of "
        f"{of['people']:,} people, {of['single']:,} with one photo"
    )


def clustering_speed(clusters: dict, faces: int) -> str:
    """How long it takes to cluster so many generated encodings, in how much memory, and how well that goes."""
    row = next(row for row in clusters["generated"]["sizes"] if row["faces"] == faces)
    more = row["memory_mb"]["most"] - row["memory_before_mb"]["now"]
    quality = f"precision {100 * row['precision']:.1f} %, recall {100 * row['recall']:.1f} %"
    return f"{row['seconds']:.1f} s, {more:.0f} MB of memory; {quality}"


def exported(export: dict) -> str:
    """The accuracy, size and speed of the 8-bit network."""
    form = export["forms"]["LiteRT int8"]
    accuracy = f"{percent(form['lfw_accuracy'])}, " if "lfw_accuracy" in form else ""
    return f"{accuracy}{form['megabytes']:.1f} MB, {form['times_the_originals_time']:.2f} times the original's time"


def accuracy(study: dict, method: str) -> str:
    """The accuracy of a method of a study on pairs of unseen people."""
    row = study["methods"][method]
    return f"{percent(row['accuracy'])}, ROC area {row['auc']:.3f}"


def one_person(study: dict, method: str) -> str:
    """The share of a person's later pictures that are accepted, and of strangers' pictures."""
    row = study["methods"][method]
    return f"{percent(row['true_accepts'])}, and {100 * row['false_accepts']:.1f} % of strangers' pictures"


def accepted(transfer: dict, people: str) -> str:
    """The same by the transfer twin, of the first twelve people or of everyone."""
    return one_person(transfer["one_person"][people], "twin, transfer")


def portraits(transfer: dict) -> str:
    """The pairs of different portraits in images/ that each network takes for one person."""
    found = transfer["portraits"]
    counts = (f"{row['taken_for_one']} ({name})" for name, row in found["methods"].items())
    return f"of {found['pairs']} pairs: {', '.join(counts)}"


def fine_tuned(study: dict, network: str) -> str:
    """The accuracy before fine-tuning and after it."""
    row = study["networks"][network]
    return f"{percent(row['before']['accuracy'])} before, {percent(row['after']['accuracy'])} after"


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


def flask_app(apps: dict) -> str:
    """How the Flask app serves fifty clients at once, and one alone."""
    load, memory = apps["flask_load"], apps["flask_memory_mb"]
    return (
        f"{load['requests']:,} comparisons, {load['errors']} errors, {load['wrong']} wrong answers; p50 "
        f"{load['p50_s']:.1f} s, p95 {load['p95_s']:.1f} s; one client alone: {apps['flask_first_answer_s']:.2f} s; "
        f"memory grows by {memory['growth']:.0f} MB over {memory['requests']:,} comparisons"
    )


def encoded_photos(detector: dict) -> str:
    """How many photographs a second become encodings, and how busy the cores are."""
    networks = {"residual network": "weights/resnet", "Inception FaceNet": "keras-facenet-h5"}
    rows = {label: detector["encoding"][folder] for label, folder in networks.items()}
    found = "; ".join(
        f"{label}: {spread(row['per_second'])} per second, {100 * row['busy']['value']:.0f} % of the cores' time"
        for label, row in rows.items()
    )
    return f"{found} ({rows['residual network']['photos']:,} photos of 250×250, {detector['cores']} cores)"


def same_faces(detector: dict) -> str:
    """Whether our MTCNN finds what the package finds, and how often it has to search again."""
    found = detector["folder"]
    farthest = math.ceil(1e4 * max(found["boxes_farthest_px"], found["points_farthest_px"])) / 1e4
    return (
        f"{found['faces of the package']} faces found by the package, {found['faces of ours']} by ours, "
        f"{found['faces of both']} by both; boxes and points differ by at most {farthest} pixels; "
        f"of {found['searched']:,} photographs {found['searched_again']} were searched again, as no face in them was "
        f"sure; in {found['largest_alike']:,} of {found['with_a_face']:,} with a face, the largest is the same if only "
        f"it is searched for"
    )


def turned(measured: dict) -> str:
    """How many turned photographs of LFW are read the right way up."""
    row = measured["folders"]["lfw_dev"]
    right = ", ".join(percent(row["read_rightly"][turn] / row["photos"]) for turn in ("90", "180", "270"))
    return f"{right} read the right way up ({row['photos']:,} photographs each)"


def upright(measured: dict) -> str:
    """How many upright photographs are read as upright."""
    labels = {"lfw_dev": "LFW", "celeba_people": "CelebA, uncropped"}
    rows = {label: measured["folders"][folder] for folder, label in labels.items()}
    return "; ".join(
        f"{label}: {row['read_rightly']['0']:,} of {row['photos']:,} read upright" for label, row in rows.items()
    )


def attack_files(found: dict) -> str:
    """What the worst files cost that were built to cost much."""
    kinds, limits = found["kinds"], found["limits"]
    return (
        f"{found['files']:,} files of {len(kinds)} kinds: at most {' and '.join(_worst(kinds))}; "
        f"{found['over_a_limit']} over {limits['seconds']} s or {limits['megabytes']} MB"
    )


def _worst(kinds: Sequence[dict]) -> tuple[str, str]:
    """The longest time and the most memory that a file took, and of which kinds these were."""
    slowest, largest = (max(kinds, key=itemgetter(f"worst_{what}")) for what in ("seconds", "megabytes"))
    return (
        f"{slowest['worst_seconds']:.1f} s ({slowest['kind']})",
        f"{largest['worst_megabytes']:.0f} MB ({largest['kind']})",
    )


def streamlit_app(apps: dict) -> str:
    """How long the Streamlit app takes from a picture to its answer."""
    return (
        f"{apps['streamlit_picture_to_answer_median_s']:.2f} s from the picture to the answer on the page (median of "
        f"twenty; slowest {apps['streamlit_picture_to_answer_slowest_s']:.2f} s); slowest of five browsers at once: "
        f"{apps['streamlit_five_browsers_slowest_s']:.1f} s"
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


def latency(bench: dict, photo: str) -> str:
    """How long a photo takes from file to names, and its three steps."""
    row = bench["photo_to_name"]["weights/resnet"][photo]
    steps = ", ".join(f"{step} {row[f'{step}_ms']:.0f}" for step in ("detect", "align", "encode"))
    return f"{row['whole_ms']:.0f} ms ({steps})"


def attack_table(found: dict) -> str:
    """The same for each format: the files, how many were opened, and the worst."""
    formats: dict[str, list[dict]] = {}
    for kind in found["kinds"]:
        name = "damaged, or not a picture" if kind["kind"].startswith("upload") else kind["kind"].split()[0].strip(",")
        formats.setdefault(name, []).append(kind)
    rows = []
    for name, kinds in sorted(formats.items()):
        files, opened = (sum(kind.get(what, 0) for kind in kinds) for what in ("files", "opened"))
        rows.append((name, f"{files:,}", f"{opened:,}", *_worst(kinds)))
    return table("| format | files | opened | slowest | most memory |", rows)


def throughput_table(found: dict) -> str:
    """How many crops a second a training learns from, a row per lever."""
    rows = [(row["label"], f"{row['crops_per_second']:,.0f}", f"{row['times_the_first']:.1f}") for row in found["rows"]]
    return table("| training step | crops per second | times the first, per second of processor time |", rows)


def ablation_table(found: dict) -> str:
    """What each choice in the making of the Inception FaceNet brings: a row per short training; the mirror image."""
    trials = list(found["trials"].values())
    rows = []
    for trial in trials:
        time = trial["steps"] * trial["step_seconds"] / (trials[0]["steps"] * trials[0]["step_seconds"])
        ways = trial["ways"]
        rows.append(
            (trial["label"], f"{trial['steps']:,}", f"{time:.1f}", *rates(ways["one look"], trial is not trials[0]))
        )
    mirrored = rates(trials[0]["ways"]["with the mirror image"])
    rows.append(("the baseline, mean of the face and its mirror image", f"{trials[0]['steps']:,}", "1.0", *mirrored))
    head = "| trial | steps | time | equal error rate | change, points | true accepts at 0.1 % | change, points |"
    return table(head, rows)


def rates(measured: dict, compared: bool = True) -> Iterator[str]:
    """The cells of rates: each one, and how it changed."""
    for rate in measured.values():
        yield percent(rate["value"])
        yield points(rate["change"]) if compared else ""


def points(change: dict) -> str:
    """A change of a rate in percentage points, with its interval."""
    value, low, high = (round(100 * change[key], 1) + 0.0 for key in ("value", "low", "high"))  # no -0.0
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def training_steps(found: dict) -> str:
    """How long a training step takes in our loop and in ``model.fit``, a row per network."""
    rows = [
        (
            row["network"],
            row["batch"],
            f"{row['ours_ms']:,.0f}",
            f"{row['fit_ms']:,.0f}",
            "{:.2f} ({:.2f}–{:.2f})".format(row["ratio"], *row["ratios"]),
        )
        for row in found["networks"]
    ]
    return table("| network | batch | ms per step | … in `model.fit` | ratio |", rows)


def api_load(api: dict) -> str:
    """How the API serves fifty programs at once."""
    load = api["load"]
    seen = f"{load['errors']} errors, {load['wrong']} wrong answers"
    return f"{load['requests']:,} requests in {load['seconds']:.0f} s, {seen}"


def api_route(api: dict, route: str, clients: str) -> str:
    """How long one kind of request takes, for one client or for many at once."""
    row = api[clients]["routes"][route]
    return f"p50 {row['p50_s']:.2f} s, p95 {row['p95_s']:.2f} s ({row['requests']:,} requests)"
