"""Make faces to learn from out of photos of people.

    python tools/prepare_people.py preprocess PHOTOS --to FACES          # find, align, 160×160
    python tools/prepare_people.py pack FACES --to datasets/people.zip   # one file, as find_people reads it

PHOTOS holds a folder per person. Each step has a progress bar, can be killed and started again (it goes on where it
was), and leaves ``report.csv`` with a row per picture: what was kept, and what was dropped and why.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from tqdm import tqdm  # noqa: E402

from errors import BadArgument, FaceError, NoFaceFound, run  # noqa: E402
from face_datasets import find_people, read_picture  # noqa: E402
from face_detection import align_face  # noqa: E402
from fr_utils import find_faces, in_project, save_picture  # noqa: E402
from whole_files import whole  # noqa: E402

COLUMNS = ("identity", "picture", "face", "dropped", "box", "keypoints", "confidence")


# --------------------------------------------------------------------------------------------- preprocess
def preprocess(photos: Path, to: Path, side: int = 160, which: str = "central", chunk: int = 32) -> pd.DataFrame:
    """Find the face of every photo, align it, and write it as ``to/<identity>/<name>.jpg``.

    Args:
        photos: A folder, or zip file, with a folder per person.
        to: Where the faces go, and ``report.csv``.
        side: Of the faces, in pixels.
        which: Of several faces, the ``"central"`` or the ``"largest"`` one.
        chunk: Photos in memory at once.

    Returns:
        The report: a row per photo, ``face`` (the file, or empty) and ``dropped`` (why, or empty).
    """
    people = find_people(photos)
    report = to / "report.csv"
    done = set(read_report(report).picture) if report.is_file() else set()
    names = [Path(picture).relative_to(in_project(photos)).as_posix() for picture in people.picture]
    left = [i for i, name in enumerate(names) if name not in done]
    to.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(people), initial=len(people) - len(left), unit="photo", desc=to.name) as bar:
        for start in range(0, len(left), chunk):
            numbers = left[start : start + chunk]
            pictures = [people.picture[i] for i in numbers]
            rows = []
            for i, result in zip(numbers, find_and_align(pictures, side, which), strict=True):
                rows.append(keep(result, people.identity[i], names[i], to))
            add_rows(report, rows)
            bar.update(len(numbers))
    return read_report(report)


def find_and_align(pictures: Sequence[str], side: int, which: str) -> Iterator[tuple[np.ndarray, dict] | FaceError]:
    """The aligned face of each picture with its detection, or what was wrong."""
    for found in find_faces(pictures, which, read_picture):
        if isinstance(found, FaceError):
            yield found
        else:
            photo, face = found
            yield align_face(photo, face["keypoints"], side), face


def keep(result: tuple[np.ndarray, dict] | FaceError, identity: str, name: str, to: Path) -> dict:
    """Write a face, and say so as a row of the report; or say why there is none."""
    if isinstance(result, FaceError):
        reason = "no face found" if isinstance(result, NoFaceFound) else str(result)
        return {"identity": identity, "picture": name, "dropped": reason}
    face, detection = result
    target = to / Path(name).with_suffix(".jpg")
    with whole(target) as unfinished:
        save_picture(unfinished, face)
    points = {point: [round(float(n), 1) for n in xy] for point, xy in detection["keypoints"].items()}
    return {
        "identity": identity,
        "picture": name,
        "face": target.relative_to(to).as_posix(),
        "box": json.dumps([int(n) for n in detection["box"]]),
        "keypoints": json.dumps(points),
        "confidence": round(float(detection["confidence"]), 4),
    }


def read_report(report: Path) -> pd.DataFrame:
    """The rows that were written completely; a last line that was cut off is left out, and its photo done again."""
    lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        report.write_text("".join(lines), encoding="utf-8")
    if not lines:
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(report, keep_default_na=False, dtype={"identity": str, "picture": str})


def add_rows(report: Path, rows: list[dict]) -> None:
    """Add rows to the report, and bring them to the disk."""
    new = not report.is_file()
    with report.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


# --------------------------------------------------------------------------------------------------- pack
def pack(faces: Path, to: Path) -> int:
    """Put all pictures of a folder of people into one zip file, byte for byte the same each time; returns how many."""
    people = find_people(faces)
    with whole(to) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for picture in people.picture:
            name = Path(picture).relative_to(in_project(faces)).as_posix()
            archive.writestr(zipfile.ZipInfo(name), Path(picture).read_bytes())
    return len(people)


# --------------------------------------------------------------------------------------------------- main
def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    first = commands.add_parser("preprocess", help="find and align faces")
    first.add_argument("photos", type=Path, help="a folder with a folder per person")
    first.add_argument("--to", type=Path, required=True)
    first.add_argument("--side", type=int, default=160, help="of the faces, in pixels")
    first.add_argument("--which", choices=["central", "largest"], default="central", help="of several faces")
    second = commands.add_parser("pack", help="all faces in one zip file")
    second.add_argument("faces", type=Path)
    second.add_argument("--to", type=Path, required=True)
    args = parser.parse_args(argv)
    if args.command == "pack":
        print(f"{pack(args.faces, args.to):,} pictures in {args.to}")
        return
    if args.side < 16:
        raise BadArgument(f"--side {args.side}: at least 16 pixels")
    report = preprocess(args.photos, args.to, args.side, args.which)
    print(f"{(report.dropped == '').sum():,} faces of {report.identity.nunique():,} people")
    for reason, count in report.dropped[report.dropped != ""].value_counts().head(10).items():
        print(f"dropped {count:,}: {reason}")


if __name__ == "__main__":
    run(main)
