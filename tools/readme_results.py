"""Write the table of results in README.md from the files in results/: ``python tools/readme_results.py``.

Each row names what was measured, the number, and the command that makes it. A row whose file is not there is
left out. The test suite checks that the README holds exactly this table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
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
    Row("encoding faces one by one", "bench.json", speed(1), "make bench"),
    Row("encoding faces in batches of 64", "bench.json", speed(64), "make bench"),
    Row("a photo file with one face, to its name", "bench.json", latency(1), "make bench"),
    Row("a video call with six faces, to their names", "bench.json", latency(6), "make bench"),
)


def table() -> str:
    """The table as Markdown."""
    lines = ["| what | result | made by |", "|---|---|---|"]
    for row in ROWS:
        file = ROOT / "results" / row.file
        if file.is_file():
            result = row.say(json.loads(file.read_text(encoding="utf-8")))
            lines.append(f"| {row.label} | {result} | `{row.command}` |")
    return "\n".join(lines)


def filled(readme: str) -> str:
    """The README's text with the table of today between its two marks."""
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


def main() -> None:
    """Rewrite README.md."""
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
