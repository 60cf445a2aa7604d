"""Photos of people become aligned faces: find the face, align it, write it, report every photo.

    photos ──find_and_align──► faces/<identity>/<name>.jpg   and a row per photo in faces/report.csv

The report grows row by row, so a run that was killed continues where it stopped.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from facerec._files import MY_FACES, in_project, whole, write_table
from facerec.detection import align_face
from facerec.encoding import find_faces
from facerec.errors import BadArgument, FaceError, NoFaceFound
from facerec.learning.datasets import find_people
from facerec.learning.prefetch import in_order
from facerec.learning.selection import list_people, read_split
from facerec.photos import PICTURE_ENDINGS, save_picture

#: The aligned faces of your own people, relative to the working directory.
MY_ALIGNED = Path("build/my_faces")

#: The columns of ``report.csv``; after a split ``part`` comes first.
REPORT_COLUMNS = ("identity", "picture", "face", "dropped", "box", "keypoints", "score")


def preprocess(
    photos: Path,
    to: Path,
    side: int = 160,
    which: str = "central",
    chunk: int = 16,
    split: Path | None = None,
) -> pd.DataFrame:
    """Find and align the face of every photo and write it as ``to/<identity>/<name>.jpg``, on all cores.

    Args:
        photos: CelebA as published, or a folder or zip file with a folder per person.
        to: The folder of the faces and of ``report.csv``.
        side: The side of the faces, in pixels.
        which: ``"central"`` or ``"largest"``, where a photo shows several faces.
        chunk: Photos that each core holds in memory at once.
        split: A table of ``facerec.learning.selection.split``: only its pictures are used, and the faces are written
            as ``to/<part>/<identity>/<name>.jpg``.

    Returns:
        The report: a row per photo, with ``face`` (the file, or empty) and ``dropped`` (the reason, or empty).

    Raises:
        BadArgument: If there are no photos, or ``to`` holds faces of another side or split.
    """
    people = list_people(photos) if split is None else read_split(split)
    people["path"] = [str(in_project(photos) / picture) for picture in people.picture]
    return align_all(people, to, side, which, chunk)


def own_people(photos: Path = MY_FACES, to: Path = MY_ALIGNED) -> pd.DataFrame:
    """Find and align the faces in your own pictures; pictures that are done are skipped.

    Args:
        photos: A folder with a folder per person. The names of the pictures in it don't matter.
        to: The folder of the aligned faces and of ``report.csv``, which says why a picture was not used.

    Returns:
        A table of the faces like ``find_people``'s, each person's in the order of the numbers at the end of their
        pictures' names; without rows if there are no pictures.
    """
    if not any(file.suffix.lower() in PICTURE_ENDINGS for file in photos.glob("*/*")):
        return pd.DataFrame(columns=["identity", "picture"])
    report = preprocess(photos, to)
    there = report.picture.map(lambda picture: (photos / picture).is_file())
    used = report[there & (report.dropped == "")]
    used = used.assign(number=used.picture.map(number_of), picture=[str(to / face) for face in used.face])
    return used.sort_values(["identity", "number"], ignore_index=True)[["identity", "picture"]]


def number_of(picture: str) -> int:
    """The number at the end of a picture's name; 0 if there is none.

    Example:
        >>> number_of("me/positive_0012.jpg"), number_of("me/IMG_2034.HEIC"), number_of("me/card.jpg")
        (12, 2034, 0)
    """
    digits = re.search(r"\d+$", PurePosixPath(picture).stem)
    return int(digits[0]) if digits else 0


def align_all(people: pd.DataFrame, to: Path, side: int = 160, which: str = "central", chunk: int = 16) -> pd.DataFrame:
    """Do the work of ``preprocess`` for a table with ``identity``, ``picture``, ``path`` and perhaps ``part``.

    A resumed run uses the same chunks, because a face detected among others may differ in its last decimals.
    """
    people = people.assign(face=face_names(people))
    report, columns = to / "report.csv", (*(["part"] if "part" in people else []), *REPORT_COLUMNS)
    done = set(_check_report(report, columns, to, side).picture)
    to.mkdir(parents=True, exist_ok=True)
    _sweep(to)
    chunks = [people.iloc[start : start + chunk] for start in range(0, len(people), chunk)]
    left = [rows for rows in chunks if not done.issuperset(rows.picture)]

    def work(rows: pd.DataFrame) -> list[dict]:
        found = find_and_align(list(rows.path), side, which)
        return [keep(result, row, to) for row, result in zip(rows.to_dict("records"), found, strict=True)]

    with tqdm(total=len(people), initial=len(done), unit="photo", desc=to.name) as bar:
        for rows in in_order(work, left):
            new = [row for row in rows if row["picture"] not in done]
            add_rows(report, new, columns)
            bar.update(len(new))
    return read_report(report)


def face_names(people: pd.DataFrame) -> list[str]:
    """The file of each face, ``[part/]identity/name.jpg``; 2.png beside 2.jpg becomes 2.png.jpg."""
    pictures = people.picture.map(PurePosixPath)
    folders = people.part + "/" + people.identity if "part" in people else people.identity
    short = folders + "/" + pictures.map(lambda picture: picture.stem) + ".jpg"
    long = folders + "/" + pictures.map(lambda picture: picture.name) + ".jpg"
    jpeg = pictures.map(lambda picture: picture.suffix == ".jpg")
    return short.where(~short.duplicated(keep=False) | jpeg, long).tolist()


def find_and_align(pictures: Sequence[str], side: int, which: str) -> Iterator[tuple[np.ndarray, dict] | FaceError]:
    """The aligned face of each picture with its detection, or the error."""
    for found in find_faces(pictures, which, count=False):
        if isinstance(found, FaceError):
            yield found
        else:
            yield align_face(found.photo, found.detection["keypoints"], side), found.detection


def keep(result: tuple[np.ndarray, dict] | FaceError, photo: Mapping, to: Path) -> dict:
    """Write a face and return its row of the report; without a face, the row has the reason."""
    row = {column: photo[column] for column in ("part", "identity", "picture") if column in photo}
    if isinstance(result, FaceError):
        return row | {"dropped": reason_for(result, photo["path"])}
    face, detection = result
    with whole(to / photo["face"]) as unfinished:
        save_picture(unfinished, face)
    points = {point: [round(float(n), 1) for n in xy] for point, xy in detection["keypoints"].items()}
    return row | {
        "face": photo["face"],
        "box": json.dumps([int(n) for n in detection["box"]]),
        "keypoints": json.dumps(points),
        "score": round(float(detection["score"]), 4),
    }


def reason_for(error: FaceError, path: str) -> str:
    """The reason why a photo was dropped, worded alike for all photos with the same fault."""
    if isinstance(error, NoFaceFound):
        return "no face found"
    reason = " ".join(str(error).removeprefix(path).strip(": ").split())
    missing = not Path(path).exists() and ("No such file" in reason or "There is no item" in reason)
    return "the picture is missing" if missing else reason.replace(path, "it")


def read_report(report: Path) -> pd.DataFrame:
    """Read the rows that were written completely; a last line that was cut off is removed, so its photo is redone."""
    data = report.read_bytes() if report.is_file() else b""
    complete = data[: data.rfind(b"\n") + 1]
    if len(complete) < len(data):
        with whole(report) as unfinished:
            unfinished.write_bytes(complete)
    if not complete:
        return pd.DataFrame(columns=REPORT_COLUMNS)
    texts = {"part": str, "identity": str, "picture": str}
    table = pd.read_csv(io.BytesIO(complete), keep_default_na=False, dtype=texts)
    return table.rename(columns={"confidence": "score"})  # as earlier versions called it


def _check_report(report: Path, columns: Sequence[str], to: Path, side: int) -> pd.DataFrame:
    """The report so far; refuses a folder of faces of another side or split."""
    table = read_report(report)
    if len(table) and tuple(table.columns) != tuple(columns):
        raise BadArgument(f"{report} was made {'with' if 'part' in table else 'without'} --split; choose another --to")
    kept = [face for face in table.face[table.dropped == ""] if (to / face).is_file()]
    if kept:
        width = Image.open(to / kept[0]).width
        if width != side:
            raise BadArgument(f"--side {side}: the faces in {to} have {width} pixels; choose another --to")
    return table


def add_rows(report: Path, rows: list[dict], columns: Sequence[str] = REPORT_COLUMNS) -> None:
    """Append rows to the report and flush them to the disk."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    with report.open("ab") as stream:
        if stream.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
        stream.write(text.getvalue().encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _sweep(folder: Path) -> None:
    """Remove the unfinished files of a run that was killed."""
    for left in folder.rglob(".unfinished_*"):
        left.unlink(missing_ok=True)


def pack(faces: Path, to: Path) -> int:
    """Pack the pictures of a folder of people into one zip file, always byte for byte the same.

    A table of the same name beside it lists its pictures.

    Args:
        faces: A folder with a folder per person.
        to: The zip file.

    Returns:
        The number of pictures.
    """
    people = find_people(faces)
    names = [Path(picture).relative_to(in_project(faces)).as_posix() for picture in people.picture]
    with whole(to) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for picture, name in zip(tqdm(people.picture, desc=to.name, unit="picture"), names, strict=True):
            archive.writestr(zipfile.ZipInfo(name), Path(picture).read_bytes())
    sizes = [Path(picture).stat().st_size for picture in people.picture]
    write_table(to.with_suffix(".csv"), pd.DataFrame({"identity": people.identity, "picture": names, "bytes": sizes}))
    return len(people)
