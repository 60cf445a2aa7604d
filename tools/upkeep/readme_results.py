"""Write the tables of results in README.md and in a model card from docs/results/: ``python tools/upkeep/readme_results.py``.

Each row names what was measured, the number, and the command that makes it. A row whose file is not there is
left out. The test suite checks that the README holds exactly this table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from facerec._files import ROOT
from tools.upkeep import scale_page

START, END = "<!-- results -->", "<!-- /results -->"


class Row(NamedTuple):
    """A row of the table: what was measured, in which file, how to say it, and the command that measures it."""

    label: str
    file: str
    say: Callable[[Any], str]
    command: str


def interval(row: dict) -> str:
    """98.6 % [97.4, 99.4]."""
    return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def speed(batch: int) -> Callable[[dict], str]:
    """How fast the networks encode: beside the reference engine, and beside each other."""

    def say(bench: dict) -> str:
        speed = {name: row[f"batch_{batch}"]["faces_per_second"] for name, row in bench["encoding"].items()}
        ours = speed["weights/resnet"]
        said = [f"residual network: {ours:.0f} faces per second"]
        if "reference engine" in speed:
            said.append(f"{ours / speed['reference engine']:.0f} times the reference engine")
        if "keras-facenet-h5" in speed:
            said.append(f"Inception FaceNet: {speed['keras-facenet-h5'] / ours:.1f} times the residual network")
        return "; ".join(said)

    return say


def latency(faces: int) -> Callable[[dict], str]:
    """How long a photo takes, in its three steps."""

    def say(bench: dict) -> str:
        row = bench["photo_to_name"]["weights/resnet"][f"{faces}_faces"]
        steps = ", ".join(f"{step} {row[f'{step}_ms']:.0f}" for step in ("detect", "align", "encode"))
        return f"{row['whole_ms']:.0f} ms ({steps})"

    return say


def at_trained(lfw: dict) -> str:
    """The accuracy at the threshold that other people's pairs gave, and the area under the curve."""
    return f"{interval(lfw['accuracy_at_trained'])}, ROC area {lfw['auc']:.4f}"


def exported(result: dict) -> str:
    """How small the network gets, and what that costs."""
    form = result["forms"]["LiteRT int8"]
    accuracy = f"{interval(form['lfw_accuracy'])}, " if "lfw_accuracy" in form else ""
    return f"{accuracy}{form['megabytes']:.1f} MB, {form['times_the_originals_time']:.2f} times the original's time"


def right(method: str) -> Callable[[dict], str]:
    """How many pairs of people never seen a method of a study gets right."""

    def say(study: dict) -> str:
        row = study["methods"][method]
        return f"{interval(row['accuracy'])}, ROC area {row['auc']:.3f}"

    return say


def strangers(evaluation: dict) -> str:
    """How many known people are named among many, where one stranger in a hundred may get a name."""
    row = evaluation["open_set"][-1]
    named = {"value": row["named_at_fpir_0.01"], "low": row["low"], "high": row["high"]}
    return f"{interval(named)} of {row['known_probes']:,} pictures; nearest is right {100 * row['rank_1']:.1f} %"


def off(kind: str) -> Callable[[dict], str]:
    """By how much a confidence is off on average."""

    def say(evaluation: dict) -> str:
        error = evaluation["confidence"][kind]["expected_calibration_error"]
        value, low, high = (100 * error[key] for key in ("value", "low", "high"))
        return f"{value:.2f} % [{low:.2f}, {high:.2f}]"

    return say


def steps(result: dict) -> str:
    """The rate at which both errors are equal, before the steps that are kept and after them."""
    first = result["steps"][0]
    kept = next(row for row in result["steps"] if row["kept"])
    return f"{interval(first['equal_error_rate'])} before, {interval(kept['equal_error_rate'])} after"


def group(place: str) -> Callable[[dict], str]:
    """False accepts of a group, with its name."""

    def say(result: dict) -> str:
        row = result["networks"]["weights/resnet"][place]
        name = f"{row['group']}: " if place.startswith("adults") else ""
        share, low, high = (100 * row[key] for key in ("false_accepts", "low", "high"))
        return f"{name}{share:.2f} % [{low:.2f}, {high:.2f}]"

    return say


def foretold(quality: dict) -> str:
    """How often a pair that is rejected has the lower score, beside what the width of the face alone would say."""
    area = quality["pairs_of_celeba"]["area"]
    of = {name: "{value:.2f} [{low:.2f}, {high:.2f}]".format(**area[name]) for name in ("score", "width")}
    return f"ROC area {of['score']}; the width of the face alone: {of['width']}"


def search(people: int) -> Callable[[dict], str]:
    """How quickly one is found among so many, how often it is the true nearest, and what others take."""

    def say(bench: dict) -> str:
        row = next(row for row in bench["sizes"] if row["people"] == people)
        took, found = row["nearest"], {who: scale_page.share(value) for who, value in row["true_nearest"].items()}
        loop, numpy = (row["others"][way]["times_ours"] for way in ("the course's loop over a dict", "plain NumPy"))
        return (
            f"p50 {took['p50_ms']:.1f} ms, p99 {took['p99_ms']:.1f} ms; the true nearest for {found['known']} of known "
            f"people and {found['strangers']} of strangers; {loop:.0f} times the speed of the loop over a dict, "
            f"{numpy:.2g} times that of a product in NumPy"
        )

    return say


def room(bench: dict) -> str:
    """What a million people take."""
    row = bench["sizes"][-1]
    add = row["add"]
    return (
        f"{row['cold_open_s']:.1f} s ({row['from_start_s']:.1f} s with the start of Python), "
        f"{scale_page.megabytes(row['memory_mb'])}; to fill it, {scale_page.megabytes(row['fill']['memory_mb'])}; one "
        f"more person, on the disk: p50 {add['p50_ms']:.1f} ms, p99 {add['p99_ms']:.1f} ms"
    )


def crowd(apps: dict) -> str:
    """How the Flask app fares with fifty people at once, and how long one waits alone."""
    load, memory = apps["flask_load"], apps["flask_memory_mb"]
    return (
        f"{load['requests']:,} comparisons, {load['errors']} errors, {load['wrong']} wrong answers; p50 "
        f"{load['p50_s']:.1f} s, p95 {load['p95_s']:.1f} s; alone {apps['flask_first_answer_s']:.2f} s; memory grows "
        f"by {memory['growth']:.0f} MB over {memory['requests']:,} comparisons"
    )


def door(apps: dict) -> str:
    """How the Streamlit app fares."""
    return (
        f"{apps['streamlit_picture_to_answer_median_s']:.1f} s from the picture to the answer in the page; five "
        f"browsers at once: the slowest {apps['streamlit_five_browsers_slowest_s']:.1f} s"
    )


def job(method: str) -> Callable[[dict], str]:
    """How many later pictures of a person are accepted, and of strangers."""

    def say(result: dict) -> str:
        row = result["methods"][method]
        return f"{interval(row['true_accepts'])}, and {100 * row['false_accepts']:.1f} % of strangers' pictures"

    return say


def tuned(network: str) -> Callable[[dict], str]:
    """What fine-tuning did to a network."""

    def say(study: dict) -> str:
        row = study["networks"][network]
        return f"{interval(row['before']['accuracy'])} before, {interval(row['after']['accuracy'])} after"

    return say


#: Both trainings were done in two-byte numbers.
SIAMESE = "make siamese DIR=… PRECISION=mixed_bfloat16"


TRIPLETS = "make triplets DIR=… PRECISION=mixed_bfloat16"


ROWS = (
    Row(
        "LFW development test pairs, from the photo, at 0.7: residual network",
        "lfw_resnet.json",
        lambda lfw: interval(lfw["accuracy_at_0.7"]),
        "make lfw DIR=…",
    ),
    Row("… at the threshold trained on other people", "lfw_resnet.json", at_trained, "make lfw DIR=…"),
    Row(
        "the same at 0.7: Inception FaceNet",
        "lfw_keras-facenet-h5.json",
        lambda lfw: interval(lfw["accuracy_at_0.7"]),
        "make lfw DIR=… NETWORK=keras-facenet-h5",
    ),
    Row(
        "… at the threshold trained on other people",
        "lfw_keras-facenet-h5.json",
        at_trained,
        "make lfw DIR=… NETWORK=keras-facenet-h5",
    ),
    Row("the same: plain pixels", "lfw_pixels.json", at_trained, "make lfw DIR=… NETWORK=pixels"),
    Row("3,443 photos of other people (LFW training list), both errors equal", "steps.json", steps, "make steps DIR=…"),
    Row(
        "LFW people named rightly among 2,000 where 1 % of strangers get a name: residual network",
        "evaluation_resnet.json",
        strangers,
        "make evaluate DIR=…",
    ),
    Row(
        "the same: Inception FaceNet",
        "evaluation_keras-facenet-h5.json",
        strangers,
        "make evaluate DIR=… NETWORK=keras-facenet-h5",
    ),
    Row(
        "LFW development test pairs, by how much `confidence` is off on average (ECE)",
        "evaluation_resnet.json",
        off("ours"),
        "make evaluate DIR=…",
    ),
    Row(
        "the same: DeepFace's formula on these weights",
        "evaluation_resnet.json",
        off("DeepFace's way"),
        "make evaluate DIR=…",
    ),
    Row("strangers accepted at 0.7, any two of UTKFace", "groups.json", group("any"), "make groups DIR=…"),
    Row(
        "… two adults of the labels' group with the fewest", "groups.json", group("adults_fewest"), "make groups DIR=…"
    ),
    Row("… two adults of the group with the most", "groups.json", group("adults_most"), "make groups DIR=…"),
    Row("… two children under ten, the worst of all groups", "groups.json", group("most"), "make groups DIR=…"),
    Row(
        "does `face_quality` foretell which owners are rejected? Pairs of photos of 41 people of CelebA",
        "quality.json",
        foretold,
        "make quality DIR=… LFW=…",
    ),
    Row("Inception FaceNet in 8 bits, at 0.7", "export_keras-facenet-h5.json", exported, "make export-network DIR=…"),
    Row(
        "pairs of 41 people of CelebA, never seen: compact twin, trained here from nothing",
        "siamese_celeba_people.json",
        right("twin, compact"),
        SIAMESE,
    ),
    Row("the same: whitened PCA", "siamese_celeba_people.json", right("whitened PCA"), SIAMESE),
    Row("the same: residual network", "siamese_celeba_people.json", right("FaceNet, residual"), SIAMESE),
    Row(
        "one person's other pictures accepted, where about one stranger in a hundred is: twin for this person",
        "siamese_one_person.json",
        job("twin, for this person"),
        SIAMESE,
    ),
    Row("the same: residual network", "siamese_one_person.json", job("FaceNet, residual"), SIAMESE),
    Row(
        "pairs of photos of 41 people of CelebA, never seen: embedding trained here with triplets, from nothing",
        "triplets.json",
        right("phase_one"),
        TRIPLETS,
    ),
    Row("the same: whitened PCA", "triplets.json", right("whitened PCA"), TRIPLETS),
    Row("the same: residual network", "triplets.json", right("FaceNet, residual"), TRIPLETS),
    Row(
        "twenty people of CelebA, ten pictures each fine-tuned on, eight others verified: Inception FaceNet",
        "triplets_fine_tuned.json",
        tuned("FaceNet, Inception"),
        TRIPLETS,
    ),
    Row("one face found among 100,000 people, exactly", "database.json", search(100_000), "make bench-database"),
    Row("one face found among 1,000,000 people", "database.json", search(1_000_000), "make bench-database"),
    Row("a million people: opened by a fresh process, resident memory", "database.json", room, "make bench-database"),
    Row(
        "`make compare` with 50 clients at once for a minute", "apps.json", crowd, "python tools/measure/load_flask.py"
    ),
    Row("`make app`: somebody is verified", "apps.json", door, "APPS_RESULTS=1 make test-apps"),
    Row("encoding faces one by one", "bench.json", speed(1), "make bench"),
    Row("encoding faces in batches of 64", "bench.json", speed(64), "make bench"),
    Row("a photo file with one face, to its name", "bench.json", latency(1), "make bench"),
    Row("a video call with six faces, to their names", "bench.json", latency(6), "make bench"),
)


def table() -> str:
    """The table as Markdown."""
    lines = ["| what | result | made by |", "|---|---|---|"]
    for row in ROWS:
        file = ROOT / "docs" / "results" / row.file
        if file.is_file():
            result = row.say(json.loads(file.read_text(encoding="utf-8")))
            lines.append(f"| {row.label} | {result} | `{row.command}` |")
    return "\n".join(lines)


#: The groups that a model card names: by what, which, and how to say it.
GROUPS = (
    ("all", "everybody", "any two people"),
    *(("race of adults", race, f"adults, {race}") for race in ("White", "Black", "Asian", "Indian", "other")),
    ("sex of adults", "male", "adults, male"),
    ("sex of adults", "female", "adults, female"),
    ("age", "60 and older", "60 and older"),
    ("age", "10–19", "10 to 19 years old"),
    ("age", "0–9", "children under ten"),
)


def groups_table(network: str) -> str:
    """For whom a network is worse, as Markdown: false accepts between two people of one group."""
    found = pd.read_csv(ROOT / "docs" / "results" / f"groups_{network}.csv")
    inside = found[found.group == found.other].set_index(["by", "group"])
    lines = ["| two different people of one group | how many | taken for one person |", "|---|---|---|"]
    for by, group, label in GROUPS:
        row = inside.loc[by, group]
        share, low, high = (100 * row[key] for key in ("false_accepts", "low", "high"))
        lines.append(f"| {label} | {row.people:,.0f} | {share:.1f} % [{low:.1f}, {high:.1f}] |")
    return "\n".join(lines)


def filled(text: str, between: str, marks: tuple[str, str] = (START, END)) -> str:
    """A page's text with the table of today between its two marks."""
    before, rest = text.split(marks[0])
    _, after = rest.split(marks[1])
    return f"{before}{marks[0]}\n{between}\n{marks[1]}{after}"


def pages() -> dict[Path, str]:
    """Every page that quotes results, as it should read today."""
    texts = {ROOT / "README.md": (table(), (START, END))}
    marks = ("<!-- groups -->", "<!-- /groups -->")
    texts[ROOT / "weights" / "resnet" / "MODEL_CARD.md"] = (groups_table("resnet"), marks)
    found = {path: filled(path.read_text(encoding="utf-8"), *args) for path, args in texts.items()}
    return found | {scale_page.PAGE: scale_page.filled(scale_page.PAGE.read_text(encoding="utf-8"))}


def main() -> None:
    """Rewrite README.md and the model card."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
