"""Write the tables of measured results from the files in docs/results/.

    python tools/upkeep/readme_results.py

It fills the marked blocks of five pages: the short table of README.md, the full tables of docs/results.md, the model
cards of the residual network and of the transfer twin, and docs/scale.md (by ``scale_page``). Each row names what was
measured, the number, and the command that measures it. A row whose file is missing is left out. A test checks that the
pages are up to date.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from facerec._files import ROOT
from facerec.evaluation import percent
from tools.upkeep import peers, scale_page
from tools.upkeep.scale_page import RESULTS, fill, table
from tools.upkeep.speeds import (
    api_load,
    api_route,
    attack_files,
    attack_table,
    encoding_speed,
    flask_app,
    largest,
    latency,
    search,
    search_in_short,
    streamlit_app,
)

README = ROOT / "README.md"
PAGE = ROOT / "docs" / "results.md"
CARD = ROOT / "weights" / "resnet" / "MODEL_CARD.md"
TWIN_CARD = ROOT / "weights" / "transfer" / "MODEL_CARD.md"

# The trainings whose results are quoted used two-byte numbers.
SIAMESE = "make siamese DIR=… PRECISION=mixed_bfloat16"
TRANSFER = "make transfer DIR=…"
TRIPLETS = "make triplets DIR=… PRECISION=mixed_bfloat16"


class Row(NamedTuple):
    """A row: what was measured, the file that holds it, the function that writes it, the command that measures it."""

    label: str
    file: str
    write: Callable[[Any], str]
    command: str


# ------------------------------------------------------------------------------------- a result → a cell's text
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
    error = evaluation["confidence"][kind]["expected_calibration_error"]
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


# ------------------------------------------------------------------------------------------------ the tables
#: README.md: what matters to a user.
SHORT = (
    Row(
        "Pairs of the LFW development test judged correctly, residual network (the default)",
        "lfw_resnet.json",
        at_default,
        "make lfw DIR=…",
    ),
    Row(
        "… Inception FaceNet (small)",
        "lfw_keras-facenet-h5.json",
        at_default,
        "make lfw DIR=… NETWORK=keras-facenet-h5",
    ),
    Row(
        "… plain pixels, at their best threshold on other people",
        "lfw_pixels.json",
        lambda lfw: percent(lfw["accuracy_at_trained"]),
        "make lfw DIR=… NETWORK=pixels",
    ),
    Row(
        "Known people named correctly among 2,000 when 1 % of strangers get a name",
        "evaluation_resnet.json",
        named,
        "make evaluate DIR=…",
    ),
    Row("Strangers of one group taken for each other", "groups.json", false_accepts_in_short, "make groups DIR=…"),
    Row(
        "How many times as fast as other packages the Inception FaceNet encodes faces, in batches of 64",
        "peers.json",
        partial(peers.ratios, kind="faces_per_second", what="64"),
        "make bench-peers",
    ),
    Row(
        "One face found among a million people",
        "database.json",
        partial(search_in_short, people=1_000_000),
        "make bench-database",
    ),
    Row(
        "Pairs of unseen people judged correctly by `verify_faces`",
        "siamese_transfer.json",
        lambda transfer: percent(transfer["methods"]["twin, transfer"]["accuracy"]),
        TRANSFER,
    ),
)

#: docs/results.md: block → its rows.
TABLES = {
    "recognition": (
        Row("Residual network, at 0.7", "lfw_resnet.json", at_default, "make lfw DIR=…"),
        Row(
            "Residual network, at the threshold chosen on other people", "lfw_resnet.json", at_trained, "make lfw DIR=…"
        ),
        Row(
            "Inception FaceNet, at 0.7",
            "lfw_keras-facenet-h5.json",
            at_default,
            "make lfw DIR=… NETWORK=keras-facenet-h5",
        ),
        Row(
            "Inception FaceNet, at the threshold chosen on other people",
            "lfw_keras-facenet-h5.json",
            at_trained,
            "make lfw DIR=… NETWORK=keras-facenet-h5",
        ),
        Row(
            "Plain pixels, at the threshold chosen on other people",
            "lfw_pixels.json",
            at_trained,
            "make lfw DIR=… NETWORK=pixels",
        ),
        Row(
            "Inception FaceNet in 8 bits, at 0.7",
            "export_keras-facenet-h5.json",
            exported,
            "make export-network DIR=…",
        ),
        Row(
            "Equal-error rate of the residual network on 3,443 photos of LFW's training list, without and with the "
            "mirror image and unit length before centring",
            "steps.json",
            errors_equal,
            "make steps DIR=…",
        ),
    ),
    "strangers": (
        Row(
            "Known people named correctly among 2,000 when 1 % of strangers get a name: residual network",
            "evaluation_resnet.json",
            named_of,
            "make evaluate DIR=…",
        ),
        Row(
            "… Inception FaceNet",
            "evaluation_keras-facenet-h5.json",
            named_of,
            "make evaluate DIR=… NETWORK=keras-facenet-h5",
        ),
        Row(
            "Expected calibration error of `confidence`, LFW development test pairs",
            "evaluation_resnet.json",
            partial(calibration_error, kind="ours"),
            "make evaluate DIR=…",
        ),
        Row(
            "… of DeepFace's formula with the same weights",
            "evaluation_resnet.json",
            partial(calibration_error, kind="DeepFace's way"),
            "make evaluate DIR=…",
        ),
        Row(
            "Quality as a predictor of false rejects, pairs of photos of 41 people of CelebA",
            "quality.json",
            quality_area,
            "make quality DIR=… LFW=…",
        ),
        *(
            Row(
                f"{name} among {people:,} people at the threshold for that many",
                "strangers.json",
                partial(at_the_threshold_for, network=network, people=people),
                "make strangers DIR=…",
            )
            for network, name in (("weights/resnet", "Residual network"), ("keras-facenet-h5", "Inception FaceNet"))
            for people in (10, 100, 1000, 2000)
        ),
    ),
    "clusters": (
        *(
            Row(
                f"{name} {way}{where}",
                "clusters.json",
                partial(clustered, network=network, way=way, people=people),
                "make clusters DIR=…",
            )
            for name, network, way, people, where in (
                ("Residual network,", "weights/resnet", "average linkage", "pairsDevTest", " (ours)"),
                ("…", "weights/resnet", "average linkage", "everyone else", ", everyone else"),
                ("…", "weights/resnet", "HDBSCAN", "pairsDevTest", ""),
                ("…", "weights/resnet", "single linkage", "pairsDevTest", ""),
                ("…", "weights/resnet", "DBSCAN", "pairsDevTest", ""),
                ("Inception FaceNet,", "keras-facenet-h5", "average linkage", "pairsDevTest", " (ours)"),
                ("…", "keras-facenet-h5", "HDBSCAN", "pairsDevTest", ""),
            )
        ),
        *(
            Row(
                f"{faces:,} generated faces",
                "clusters.json",
                partial(clustering_speed, faces=faces),
                "make clusters DIR=…",
            )
            for faces in (10_000, 100_000)
        ),
    ),
    "groups": tuple(
        Row(label, "groups.json", partial(false_accepts, place=place), "make groups DIR=…")
        for label, place in (
            ("Any two people", "any"),
            ("Two adults of the group with the fewest", "adults_fewest"),
            ("Two adults of the group with the most", "adults_most"),
            ("Two children under ten, the most of all groups", "most"),
        )
    ),
    "training": (
        Row(
            "Transfer twin, on the Inception FaceNet (from the photo)",
            "siamese_transfer.json",
            partial(accuracy, method="twin, transfer"),
            TRANSFER,
        ),
        Row("… that FaceNet itself", "siamese_transfer.json", partial(accuracy, method="FaceNet, Inception"), TRANSFER),
        Row(
            "Compact twin, trained here from scratch",
            "siamese_celeba_people.json",
            partial(accuracy, method="twin, compact"),
            SIAMESE,
        ),
        Row("… whitened PCA", "siamese_celeba_people.json", partial(accuracy, method="whitened PCA"), SIAMESE),
        Row("… residual network", "siamese_celeba_people.json", partial(accuracy, method="FaceNet, residual"), SIAMESE),
        Row(
            "Embedding trained here with triplets, from scratch (from the photo)",
            "triplets.json",
            partial(accuracy, method="long"),
            TRIPLETS,
        ),
        Row("… whitened PCA", "triplets.json", partial(accuracy, method="whitened PCA"), TRIPLETS),
        Row("… residual network", "triplets.json", partial(accuracy, method="FaceNet, residual"), TRIPLETS),
        Row(
            "Inception FaceNet fine-tuned on ten pictures of each of twenty people, tested on eight others of each",
            "triplets_fine_tuned.json",
            partial(fine_tuned, network="FaceNet, Inception"),
            TRIPLETS,
        ),
        Row(
            "One person's later pictures accepted by a twin trained for this person, at about 1 % false accepts",
            "siamese_one_person.json",
            partial(one_person, method="twin, for this person"),
            SIAMESE,
        ),
        Row(
            "… by the residual network",
            "siamese_one_person.json",
            partial(one_person, method="FaceNet, residual"),
            SIAMESE,
        ),
        Row("… by the transfer twin", "siamese_transfer.json", partial(accepted, people="12"), TRANSFER),
        Row("… of all 41 people in turn", "siamese_transfer.json", partial(accepted, people="everyone"), TRANSFER),
        Row("Different portraits in `images/` taken for one person", "siamese_transfer.json", portraits, TRANSFER),
    ),
    "speed": (
        Row("A photo file with one face, to its name", "bench.json", partial(latency, faces=1), "make bench"),
        Row("A video call with six faces, to their names", "bench.json", partial(latency, faces=6), "make bench"),
        Row("Encoding faces one by one", "bench.json", partial(encoding_speed, batch=1), "make bench"),
        Row("Encoding faces in batches of 64", "bench.json", partial(encoding_speed, batch=64), "make bench"),
        Row(
            "One face found among 100,000 people, exactly",
            "database.json",
            partial(search, people=100_000),
            "make bench-database",
        ),
        Row(
            "One face found among 1,000,000 people",
            "database.json",
            partial(search, people=1_000_000),
            "make bench-database",
        ),
        Row("A database of a million people opened by a new process", "database.json", largest, "make bench-database"),
        Row(
            "`make compare` with 50 clients at once for a minute",
            "apps.json",
            flask_app,
            "python tools/measure/load_flask.py",
        ),
        Row(
            "Pictures built to take long to open, refused or opened",
            "attack_files.json",
            attack_files,
            "python tools/measure/attack_files.py",
        ),
        Row("`make app`: a person is verified", "apps.json", streamlit_app, "APPS_RESULTS=1 make test-apps"),
    ),
    "api": (
        Row("50 programs at once, each without a pause", "api.json", api_load, "make bench-api"),
        *(
            Row(f"{label}, {name}", "api.json", partial(api_route, route=route, clients=clients), "make bench-api")
            for label, route in (("Recognise", "recognise"), ("Verify", "verify"), ("List or show people", "people"))
            for name, clients in (("one program alone", "alone"), ("50 at once", "load"))
        ),
    ),
}


def measured(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """The label, the result and the command of every row that has been measured."""
    found = []
    for row in rows:
        file = RESULTS / row.file
        if file.is_file():
            found.append((row.label, row.write(json.loads(file.read_text(encoding="utf-8"))), f"`{row.command}`"))
    return found


#: The groups that the model card names: the column ``by``, the column ``group``, and the card's label.
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
    """The false accepts between two people of one group, for each group of the model card."""
    found = pd.read_csv(RESULTS / f"groups_{network}.csv")
    inside = found[found.group == found.other].set_index(["by", "group"])
    rows = []
    for by, group, label in GROUPS:
        row = inside.loc[by, group]
        rows.append((label, f"{row.people:,.0f}", percent((row.false_accepts, row.low, row.high))))
    return table("| two different people of one group | how many | taken for one person |", rows)


def twins_table(transfer: dict) -> str:
    """The accuracies of the transfer twin and of the networks beside it."""
    rows = [
        (name, *(percent(row[pairs]) for pairs in ("accuracy", "protocol", "of_faces")), f"{row['auc']:.3f}")
        for name, row in transfer["methods"].items()
    ]
    return table("| | 2,000 pairs of photos | 380 pairs of photos | 2,000 pairs of faces | ROC area |", rows)


def jobs_table(transfer: dict) -> str:
    """The one-person job, by each network."""
    parts = [transfer["one_person"][people] for people in ("12", "everyone")]
    rows = [(name, *(one_person(part, name) for part in parts)) for name in parts[0]["methods"]]
    return table("| | twelve people | all 41 in turn |", rows)


# -------------------------------------------------------------------------------------------------- the pages
def pages() -> dict[Path, str]:
    """Page → its text as it should be today."""
    short = table("| measured | result |", [row[:2] for row in measured(SHORT)])
    full = {name: table("| measured | result | command |", measured(rows)) for name, rows in TABLES.items()}
    full["peers"] = peers.page_table(RESULTS / "peers.json")
    attacks, transfer = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("attack_files", "siamese_transfer")
    )
    full["attack files"] = attack_table(attacks)
    twin = {"accuracy": twins_table(transfer), "one person": jobs_table(transfer)}
    blocks = {README: {"results": short}, PAGE: full, CARD: {"groups": groups_table("resnet")}, TWIN_CARD: twin}
    found = {page: fill(page.read_text(encoding="utf-8"), blocks) for page, blocks in blocks.items()}
    return found | {scale_page.PAGE: scale_page.filled(scale_page.PAGE.read_text(encoding="utf-8"))}


def main() -> None:
    """Write the pages."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
