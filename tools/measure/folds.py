"""Compare networks on people-disjoint folds of LFW's ``pairsDevTrain``: where choices are made, before the test list.

    python tools/measure/folds.py DIR NETWORK [NETWORK …] [--to FILE.json]

DIR is the folder of ``tools/measure/lfw.py``. The centring of each network is fitted on four fifths of the people and
scored on all pairs of pictures of the last fifth, five times, as in ``tools/measure/steps.py``: networks need no
calibration. A second row of each network has the mean of every face and its mirror image. ``pairsDevTest`` is not
opened here.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from facerec._files import write_json
from facerec.encoding import faces_to_encodings, unit_length
from facerec.errors import run
from facerec.evaluation.lfw import find_pictures, person_of, read_pairs
from facerec.networks import info_of, load_facenet
from tools.assets.calibrate import raw_model, same_pairs_of
from tools.measure.lfw import aligned, find_faces
from tools.measure.steps import FAR, draw_rates, hold_out, interval_of

#: What :func:`draw_rates` measures, as it is called in files.
MEASURES = ("equal_error_rate", f"true_accepts_at_{FAR:g}")


@dataclass(frozen=True)
class People:
    """The pictures of ``pairsDevTrain`` that show a face.

    Attributes:
        pictures: Their files.
        keypoints: The five points of the face in each.
        who: The number of the person in each, (m,).
        same_pairs: The listed pairs of one person, as rows of ``who``, (n, 2).
    """

    pictures: list[Path]
    keypoints: list[dict]
    who: np.ndarray
    same_pairs: np.ndarray


def load_people(folder: Path) -> People:
    """Find the faces of the listed pictures; what was found is cached."""
    pairs = read_pairs(folder / "pairsDevTrain.txt")
    pictures = find_pictures(folder, {str(file) for file in pairs.files.flat})
    found = find_faces(pictures)
    names = sorted(name for name in pictures if found[name])
    _, who = np.unique([person_of(name) for name in names], return_inverse=True)
    same_pairs = same_pairs_of(pairs, {name: i for i, name in enumerate(names)})
    return People([pictures[name] for name in names], [found[name] for name in names], who, same_pairs)


def draws_of(network, people: People) -> dict[str, np.ndarray]:
    """``draw_rates`` of one look at each face, and of the mean of a face and its mirror image."""
    info, raw = info_of(network), raw_model(network)
    faces = np.stack([aligned(*face, info) for face in zip(people.pictures, people.keypoints, strict=True)])
    one, mirrored = (faces_to_encodings(view, raw) for view in (faces, faces[:, :, ::-1]))
    ways = {"one look": one, "with the mirror image": unit_length(one + mirrored)}
    count = int(people.who.max()) + 1
    return {way: draw_rates(hold_out(seen, people.who, people.same_pairs), count) for way, seen in ways.items()}


def score(network, people: People) -> dict[str, dict]:
    """A row for each way of :func:`draws_of`: equal error rate and true accepts at FAR."""
    return {
        way: {name: asdict(interval_of(drawn[:, i])) for i, name in enumerate(MEASURES)}
        for way, drawn in draws_of(network, people).items()
    }


def main() -> None:
    """Score every network, print a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="the folder with pairsDevTrain.txt and the pictures")
    parser.add_argument("networks", nargs="+", help="folders of networks")
    parser.add_argument("--to", type=Path, help="write the rows here, as JSON")
    args = parser.parse_args()
    people, table = load_people(args.dir), {}
    for folder in args.networks:
        table[folder] = score(load_facenet(folder), people)
        for way, row in table[folder].items():
            equal, accepts = ([100 * rate[key] for key in ("value", "low", "high")] for rate in row.values())
            print(
                f"{folder}, {way}: equal error {equal[0]:.2f} % [{equal[1]:.2f}, {equal[2]:.2f}], "
                f"true accepts at {FAR:.1%} {accepts[0]:.1f} % [{accepts[1]:.1f}, {accepts[2]:.1f}]"
            )
    if args.to:
        write_json(args.to, {"people": int(people.who.max()) + 1, "pictures": len(people.who), "networks": table})


if __name__ == "__main__":
    run(main)
