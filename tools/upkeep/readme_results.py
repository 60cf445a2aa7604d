"""Write the tables of measured results from the files in docs/results/.

    python tools/upkeep/readme_results.py

It fills the marked blocks of six pages: the short table of README.md, the full tables of docs/results.md, the model
cards of both FaceNets and of the transfer twin, and docs/scale.md (by ``scale_page``). Each row names what was
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
from tools.upkeep import cells, peers, scale_page
from tools.upkeep.scale_page import RESULTS, fill, table

README = ROOT / "README.md"
PAGE = ROOT / "docs" / "results.md"
CARD = ROOT / "weights" / "resnet" / "MODEL_CARD.md"
INCEPTION_CARD = ROOT / "keras-facenet-h5" / "MODEL_CARD.md"
TWIN_CARD = ROOT / "weights" / "transfer" / "MODEL_CARD.md"


class Source(NamedTuple):
    """Where a number comes from: the file that holds it, and the command that measures it."""

    file: str
    command: str


class Row(NamedTuple):
    """A row: what was measured, where it comes from, and the function that writes it."""

    label: str
    source: Source
    write: Callable[[Any], str]


RESIDUAL = Source("lfw_resnet.json", "make lfw DIR=…")
INCEPTION = Source("lfw_keras-facenet-h5.json", "make lfw DIR=… NETWORK=keras-facenet-h5")
PIXELS = Source("lfw_pixels.json", "make lfw DIR=… NETWORK=pixels")
EXPORTED = Source("export_keras-facenet-h5.json", "make export-network DIR=…")
STEPS = Source("steps.json", "make steps DIR=…")
EVALUATED = Source("evaluation_resnet.json", "make evaluate DIR=…")
EVALUATED_INCEPTION = Source("evaluation_keras-facenet-h5.json", "make evaluate DIR=… NETWORK=keras-facenet-h5")
QUALITY = Source("quality.json", "make quality DIR=… LFW=…")
STRANGERS = Source("strangers.json", "make strangers DIR=…")
CLUSTERS = Source("clusters.json", "make clusters DIR=…")
GROUPED = Source("groups.json", "make groups DIR=…")
BENCH = Source("bench.json", "make bench")
PEERS = Source("peers.json", "make bench-peers")
API = Source("api.json", "make bench-api")
DATABASE = Source("database.json", "make bench-database")
FLASK = Source("apps.json", "python tools/measure/load_flask.py")
STREAMLIT = Source("apps.json", "APPS_RESULTS=1 make test-apps")
ATTACKS = Source("attack_files.json", "python tools/measure/attack_files.py")
DETECTOR = Source("detector.json", "python tools/measure/detector.py DIR")
TURNED = Source("turned.json", "python tools/measure/turned.py LFW CELEBA")
THROUGHPUT = Source("throughput.json", "python tools/measure/throughput.py")
TRAINING_STEP = Source("training_step.json", "python tools/measure/training_step.py")
TRANSFER = Source("siamese_transfer.json", "make transfer DIR=…")
TWINS = Source("siamese_celeba_people.json", "make siamese DIR=…")
ONE_PERSON = TWINS._replace(file="siamese_one_person.json")
ABLATION = Source("ablation.json", "python tools/measure/ablation.py score DIR")
TRIPLETS = Source("triplets.json", "make triplets DIR=…")
TUNED = TRIPLETS._replace(file="triplets_fine_tuned.json")

#: README.md: what matters to a user.
SHORT = (
    Row(
        "Pairs of the LFW development test judged correctly, residual network (the default)", RESIDUAL, cells.at_default
    ),
    Row("… Inception FaceNet (small)", INCEPTION, cells.at_default),
    Row(
        "… plain pixels, at their best threshold on other people",
        PIXELS,
        lambda lfw: percent(lfw["accuracy_at_trained"]),
    ),
    Row("Known people named correctly among 2,000 when 1 % of strangers get a name", EVALUATED, cells.named),
    Row("Strangers of one group taken for each other", GROUPED, cells.false_accepts_in_short),
    Row(
        "Speed of the Inception FaceNet as a multiple of other packages', encoding faces in batches of 64",
        PEERS,
        partial(peers.ratios, kind="faces_per_second", what="64"),
    ),
    Row("One face found among a million people", DATABASE, partial(cells.search_in_short, people=1_000_000)),
    Row(
        "Pairs of unseen people judged correctly by `verify_faces`",
        TRANSFER,
        lambda transfer: percent(transfer["methods"]["twin, transfer"]["accuracy"]),
    ),
)

#: docs/results.md: block → its rows.
TABLES = {
    "recognition": (
        Row("Residual network, at 0.7", RESIDUAL, cells.at_default),
        Row("Residual network, at the threshold chosen on other people", RESIDUAL, cells.at_trained),
        Row("Inception FaceNet, at 0.7", INCEPTION, cells.at_default),
        Row("Inception FaceNet, at the threshold chosen on other people", INCEPTION, cells.at_trained),
        Row("Plain pixels, at the threshold chosen on other people", PIXELS, cells.at_trained),
        Row("Inception FaceNet in 8 bits, at 0.7", EXPORTED, cells.exported),
        Row(
            "Equal-error rate of the residual network on 3,443 photos of LFW's training list, without and with the "
            "mirror image and unit length before centring",
            STEPS,
            cells.errors_equal,
        ),
    ),
    "strangers": (
        Row(
            "Known people named correctly among 2,000 when 1 % of strangers get a name: residual network",
            EVALUATED,
            cells.named_of,
        ),
        Row("… Inception FaceNet", EVALUATED_INCEPTION, cells.named_of),
        Row(
            "Expected calibration error of `confidence`, LFW development test pairs",
            EVALUATED,
            partial(cells.calibration_error, kind="ours"),
        ),
        Row(
            "… of DeepFace's formula with the same weights",
            EVALUATED,
            partial(cells.calibration_error, kind="DeepFace's way"),
        ),
        Row("Photographs of LFW turned by 90, 180 or 270 degrees", TURNED, cells.turned),
        Row("Upright photographs, some of people who lie or lean", TURNED, cells.upright),
        Row(
            "Quality as a predictor of false rejects, pairs of photos of 41 people of CelebA",
            QUALITY,
            cells.quality_area,
        ),
        *(
            Row(
                f"{name} among {people:,} people at the threshold for that many",
                STRANGERS,
                partial(cells.at_the_threshold_for, network=network, people=people),
            )
            for network, name in (("weights/resnet", "Residual network"), ("keras-facenet-h5", "Inception FaceNet"))
            for people in (10, 100, 1000, 2000)
        ),
    ),
    "clusters": (
        *(
            Row(f"{name} {way}{where}", CLUSTERS, partial(cells.clustered, network=network, way=way, people=people))
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
            Row(f"{faces:,} generated faces", CLUSTERS, partial(cells.clustering_speed, faces=faces))
            for faces in (10_000, 100_000)
        ),
    ),
    "groups": tuple(
        Row(label, GROUPED, partial(cells.false_accepts, place=place))
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
            TRANSFER,
            partial(cells.accuracy, method="twin, transfer"),
        ),
        Row("… that FaceNet itself", TRANSFER, partial(cells.accuracy, method="FaceNet, Inception")),
        Row("Compact twin, trained here from scratch", TWINS, partial(cells.accuracy, method="twin, compact")),
        Row("… whitened PCA", TWINS, partial(cells.accuracy, method="whitened PCA")),
        Row("… residual network", TWINS, partial(cells.accuracy, method="FaceNet, residual")),
        Row(
            "Embedding trained here with triplets, from scratch (from the photo)",
            TRIPLETS,
            partial(cells.accuracy, method="long_all"),
        ),
        Row("… whitened PCA", TRIPLETS, partial(cells.accuracy, method="whitened PCA")),
        Row("… gradients by hand", TRIPLETS, partial(cells.accuracy, method="gradients")),
        Row("… residual network", TRIPLETS, partial(cells.accuracy, method="FaceNet, residual")),
        Row(
            "Inception FaceNet fine-tuned on ten pictures of each of twenty people, tested on eight others of each",
            TUNED,
            partial(cells.fine_tuned, network="FaceNet, Inception"),
        ),
        Row(
            "One person's later pictures accepted by a twin trained for this person, at about 1 % false accepts",
            ONE_PERSON,
            partial(cells.one_person, method="twin, for this person"),
        ),
        Row("… by the residual network", ONE_PERSON, partial(cells.one_person, method="FaceNet, residual")),
        Row("… by the transfer twin", TRANSFER, partial(cells.accepted, people="12")),
        Row("… of all 41 people in turn", TRANSFER, partial(cells.accepted, people="everyone")),
        Row("Different portraits in `images/` taken for one person", TRANSFER, cells.portraits),
    ),
    "speed": (
        Row("A photo file with one face, to its name", BENCH, partial(cells.latency, photo="1_faces")),
        Row("… with an unclear face, which is searched for again", BENCH, partial(cells.latency, photo="doubtful")),
        Row("A video call with six faces, to their names", BENCH, partial(cells.latency, photo="6_faces")),
        Row("Encoding faces one by one", BENCH, partial(cells.encoding_speed, batch=1)),
        Row("Encoding faces in batches of 64", BENCH, partial(cells.encoding_speed, batch=64)),
        Row("Photographs of LFW, from files to encodings", DETECTOR, cells.encoded_photos),
        Row("MTCNN here beside the package `mtcnn`, on photographs of LFW", DETECTOR, cells.same_faces),
        Row("One face found among 100,000 people, exactly", DATABASE, partial(cells.search, people=100_000)),
        Row("One face found among 1,000,000 people", DATABASE, partial(cells.search, people=1_000_000)),
        Row("A database of a million people opened by a new process", DATABASE, cells.largest),
        Row("`make compare` with 50 clients at once for a minute", FLASK, cells.flask_app),
        Row("Pictures built to take long to open, refused or opened", ATTACKS, cells.attack_files),
        Row("`make app`: a person is verified", STREAMLIT, cells.streamlit_app),
    ),
    "api": (
        Row("50 programs at once, each without a pause", API, cells.api_load),
        *(
            Row(f"{label}, {name}", API, partial(cells.api_route, route=route, clients=clients))
            for label, route in (("Recognise", "recognise"), ("Verify", "verify"), ("List or show people", "people"))
            for name, clients in (("one program alone", "alone"), ("50 at once", "load"))
        ),
    ),
}


def measured(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """The label, the result and the command of every row that has been measured."""
    found = []
    for label, (name, command), write in rows:
        file = RESULTS / name
        if file.is_file():
            found.append((label, write(json.loads(file.read_text(encoding="utf-8"))), f"`{command}`"))
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
    rows = [(name, *(cells.one_person(part, name) for part in parts)) for name in parts[0]["methods"]]
    return table("| | twelve people | all 41 in turn |", rows)


# -------------------------------------------------------------------------------------------------- the pages
def pages() -> dict[Path, str]:
    """Page → its text as it should be today."""
    short = table("| measured | result |", [row[:2] for row in measured(SHORT)])
    full = {name: table("| measured | result | command |", measured(rows)) for name, rows in TABLES.items()}
    full["peers"] = peers.page_table(RESULTS / "peers.json")
    attacks, transfer, throughput, steps = (
        json.loads((RESULTS / source.file).read_text(encoding="utf-8"))
        for source in (ATTACKS, TRANSFER, THROUGHPUT, TRAINING_STEP)
    )
    full |= {"attack files": cells.attack_table(attacks), "throughput": cells.throughput_table(throughput)}
    full |= {"training steps": cells.training_steps(steps)}
    twin = {"accuracy": twins_table(transfer), "one person": jobs_table(transfer)}
    ablation = cells.ablation_table(json.loads((RESULTS / ABLATION.file).read_text(encoding="utf-8")))
    blocks = {README: {"results": short}, PAGE: full, CARD: {"groups": groups_table("resnet")}, TWIN_CARD: twin}
    blocks[INCEPTION_CARD] = {"ablation": ablation}
    found = {page: fill(page.read_text(encoding="utf-8"), blocks) for page, blocks in blocks.items()}
    return found | {scale_page.PAGE: scale_page.filled(scale_page.PAGE.read_text(encoding="utf-8"))}


def main() -> None:
    """Write the pages."""
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
