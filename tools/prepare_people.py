"""Make faces to learn from out of photos of people.

    python tools/prepare_people.py split CELEBA --to split.csv                         # who teaches, who tests
    python tools/prepare_people.py preprocess CELEBA --split split.csv --to FACES      # find, align, 160×160
    python tools/prepare_people.py clean FACES/train                                   # copies, wrong names: a report
    python tools/prepare_people.py clean FACES/train --apply                           # move them out; --undo: back
    python tools/prepare_people.py pack FACES/train --to datasets/people.zip           # one file for find_people
    python tools/prepare_people.py speed PHOTOS                                        # beside detection alone

Every step works on a folder, or zip file, with a folder per person, and on CelebA as it comes: a folder with
``identity_CelebA.txt``, ``img_align_celeba/`` or ``img_celeba/``, and ``list_attr_celeba.txt`` (the text files may also
lie in ``Anno/``, the pictures in ``Img/``). Each step has a progress bar, can be killed and started again, and leaves a
CSV file that says what it did.

``split`` copies no pictures: it writes a table (``part``, ``identity``, ``picture``, ``gender``, ``glasses``) that can
be looked at and edited. ``preprocess`` reads only the pictures in it and writes ``FACES/train/2880/000001.jpg`` and so
on, so that ``find_people("FACES/train")`` lists one part. Without ``--split`` it takes everybody and writes
``FACES/2880/000001.jpg``.

By default there are 800 people with 20 pictures to train, 100 with 20 to validate and 40 with 5 to test. With too few
people for that, each gives at most as many pictures as half of the people have (and 2 at least), and the numbers of
people shrink in proportion. Sizes that were asked for are kept, or refused.

``clean`` is for people to train with. People who are there to validate or to test are never cleaned: a test from which
the difficult pictures were taken tells too good a story.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from tqdm import tqdm  # noqa: E402

from errors import BadArgument, FaceError, NoFaceFound, run  # noqa: E402
from face_datasets import find_people, load_faces, read_picture  # noqa: E402
from face_detection import align_face, detect_faces_batch, resize_face  # noqa: E402
from fr_utils import (  # noqa: E402
    DEFAULT_NETWORK,
    faces_to_encodings,
    find_faces,
    in_project,
    info_of,
    load_facenet,
    save_picture,
)
from whole_files import whole, write_table  # noqa: E402

#: The published parts: people, and pictures of each.
PARTS = {"train": (800, 20), "validation": (100, 20), "test": (40, 5)}
COLUMNS = ("identity", "picture", "face", "dropped", "box", "keypoints", "confidence")
SPLIT = ("part", "identity", "picture", "gender", "glasses")
CLEAN = ("picture", "reason", "distance", "copy_of")

#: Copies lie this near to each other for the network as well: saved again at quality 50, or moved by 1 %, a face of
#: CelebA moved by at most 0.27 (1,018 faces). Of 4,069 faces the hashes of 143 pairs differ in 6 bits or fewer; the
#: network confirms 67 of them.
NEAR = 0.3


# -------------------------------------------------------------------------------------------- who is in what
def list_people(source: Path) -> pd.DataFrame:
    """List the pictures of CelebA as it comes, or of a folder or zip file with a folder per person.

    Args:
        source: Relative to where Python runs or to this project.

    Returns:
        A table with ``identity``, ``picture`` (relative to ``source``) and ``there`` (False: only listed).

    Raises:
        BadArgument: If there is no such source, or its list of identities is missing or damaged.
    """
    source = in_project(source)
    folder = _of_celeba(source, "img_align_celeba", "img_celeba", inside="Img")
    if folder is None:
        people = find_people(source)
        people["picture"] = [Path(picture).relative_to(source).as_posix() for picture in people.picture]
        return people.assign(there=True)
    identities = _of_celeba(source, "identity_CelebA.txt")
    if identities is None:
        raise BadArgument(f"{source} has {folder.name} but no identity_CelebA.txt: who is in each picture?")
    people, there = read_identities(identities), set(os.listdir(folder))
    people["there"] = people.picture.isin(there)
    people["picture"] = folder.relative_to(source).as_posix() + "/" + people.picture
    return people


def _of_celeba(source: Path, *names: str, inside: str = "Anno") -> Path | None:
    """The first of these names that is in CelebA's folder, or in the folder in which it is published."""
    places = [place / name for name in names for place in (source, source / inside)]
    return next((place for place in places if place.exists()), None)


def read_identities(file: Path) -> pd.DataFrame:
    """CelebA's list of who is in which picture (``000001.jpg 2880``), as ``identity`` and ``picture``.

    Raises:
        BadArgument: If a line is something else, or lists a picture again; it names the line.
    """
    identities: dict[str, str] = {}
    for number, line in _lines(file):
        words = line.split()
        if len(words) != 2 or not _is_name(words[0]) or not _is_name(words[1]):
            raise BadArgument(
                f"{file}, line {number}: {line!r}; expected a picture and who it shows: '000001.jpg 2880'"
            )
        if words[0] in identities:
            raise BadArgument(f"{file}, line {number}: {words[0]} is listed a second time")
        identities[words[0]] = words[1]
    return pd.DataFrame({"identity": list(identities.values()), "picture": list(identities)}, dtype=str)


def read_attributes(file: Path) -> pd.DataFrame:
    """CelebA's list of attributes: which pictures show a man, and which show glasses.

    Args:
        file: A number of pictures, a line of attribute names, then a line per picture: its name, and 1 or -1 for
            each attribute.

    Returns:
        A table with ``Male`` and ``Eyeglasses`` (1 or -1), by picture.

    Raises:
        BadArgument: If it is missing or damaged; it names the line.
    """
    if not file.is_file():
        raise BadArgument(f"{file}, the list of attributes, is missing")
    lines = _lines(file)
    (_, count), (_, names) = next(lines, (1, "")), next(lines, (2, ""))
    names = names.split()
    if not count.strip().isdecimal():
        raise BadArgument(f"{file}, line 1: {count!r}; expected the number of pictures")
    if missing := [name for name in ("Male", "Eyeglasses") if name not in names]:
        raise BadArgument(f"{file}, line 2: no {' and no '.join(missing)} among the {len(names)} attributes")
    columns = [names.index("Male") + 1, names.index("Eyeglasses") + 1]
    rows = dict(_attributes(file, number, line, len(names), columns) for number, line in lines)
    if len(rows) != int(count):
        raise BadArgument(f"{file}, line 1: it says {int(count):,} pictures, and {len(rows):,} follow")
    return pd.DataFrame.from_dict(rows, orient="index", columns=["Male", "Eyeglasses"])


def _attributes(file: Path, number: int, line: str, width: int, columns: list[int]) -> tuple[str, list[int]]:
    """The picture of a line, and its attributes in those columns."""
    words = line.split()
    if len(words) != width + 1 or not {words[column] for column in columns} <= {"1", "-1"}:
        raise BadArgument(f"{file}, line {number}: {line[:60]!r}; expected a picture and {width} times 1 or -1")
    return words[0], [int(words[column]) for column in columns]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers, and a progress bar."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(tqdm(stream, desc=file.name, unit="line", leave=False), 1):
            if line.strip():
                yield number, line.rstrip("\n")


def _is_name(text: str) -> bool:
    """Whether this can be the name of a file or a folder, and leads nowhere else."""
    return bool(text) and text not in (".", "..") and not re.search(r"[/\\\0]", text)


# -------------------------------------------------------------------------------------------------- split
def split(
    source: Path,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    attributes: Path | None = None,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose people and pictures to train, to validate and to test with; nobody is in two parts.

    Where the attributes are known, each part has as many women as men, or as near to it as the people allow, and of
    each person as many pictures with glasses as without, or as near to it as their pictures allow. A person is a man if
    more than half of their pictures say so.

    Args:
        source: CelebA as it comes, or a folder or zip file with a folder per person.
        sizes: Part → (people, pictures of each) where the published ones are not wanted.
        attributes: A list as CelebA's, by file name or by ``person/file name``. By default CelebA's own, if there.
        seed: Who is chosen.

    Returns:
        chosen: A row per picture, with the columns ``SPLIT``.
        missing: ``identity`` and ``picture`` of pictures that are listed but not there.

    Raises:
        BadArgument: If there are too few people for the sizes that were asked for, or a file is damaged.
    """
    people = list_people(source)
    missing = people[~people.there][["identity", "picture"]]
    people = with_attributes(people[people.there].reset_index(drop=True), find_attributes(source, attributes))
    persons = people.groupby("identity", sort=False).agg(pictures=("picture", "size"), male=("male", "mean"))
    parts = fit_sizes(persons.pictures, dict(sizes or {}))
    rng = np.random.default_rng(seed)
    chosen = choose_people(persons, parts, rng)
    pictures = dict(list(people.groupby("identity", sort=False)))
    rows = [
        choose_pictures(pictures[name], parts[part][1], rng).assign(part=part, gender=_gender(persons.male[name]))
        for part in PARTS
        for name in tqdm(chosen[part], desc=part, unit="person", leave=False)
    ]
    return pd.concat(rows, ignore_index=True)[list(SPLIT)], missing.reset_index(drop=True)


def find_attributes(source: Path, named: Path | None) -> pd.DataFrame | None:
    """The attributes that were named, or CelebA's own, or None and a line that says so."""
    file = named or _of_celeba(in_project(source), "list_attr_celeba.txt")
    if file is not None:
        return read_attributes(file)
    print(f"no list_attr_celeba.txt in {source}: women and men, with glasses and without, come as they come")
    return None


def with_attributes(people: pd.DataFrame, attributes: pd.DataFrame | None) -> pd.DataFrame:
    """Add ``male`` (1, -1 or NaN) and ``glasses`` ("yes", "no" or empty) to a table of pictures."""
    if attributes is None:
        return people.assign(male=np.nan, glasses="")
    names = people.picture.map(lambda picture: PurePosixPath(picture).name)
    known = attributes.reindex(people.picture).to_numpy()
    if names.is_unique:  # 000001.jpg is one picture, whichever folder it is in; 0.jpg may be many
        known = np.where(np.isnan(known), attributes.reindex(names).to_numpy(), known)
    if np.isnan(known).all():
        raise BadArgument(f"the list of attributes has none of these pictures, such as {people.picture[0]}")
    glasses = pd.Series(known[:, 1]).map({1: "yes", -1: "no"}).fillna("")
    return people.assign(male=known[:, 0], glasses=glasses.to_numpy())


def _gender(male: float) -> str:
    return "" if np.isnan(male) else "man" if male > 0 else "woman"


def fit_sizes(pictures: pd.Series, asked: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The sizes of the parts: as asked for or published, and smaller if there are too few people and nobody asked.

    Args:
        pictures: How many pictures each person has.
        asked: Part → (people, pictures of each).

    Example:
        >>> fit_sizes(pd.Series([20] * 94), {})
        {'train': (80, 20), 'validation': (10, 20), 'test': (4, 5)}
    """
    sizes = {part: asked.get(part, published) for part, published in PARTS.items()}
    if _enough(pictures, sizes):
        return sizes
    free = [part for part in PARTS if part not in asked]
    half = max(2, int(pictures.median()))
    ends = np.cumsum([0, *(PARTS[part][0] for part in free)])
    for total in range(ends[-1], 0, -1):
        counts = np.diff(np.round(ends * total / ends[-1])).astype(int)
        for part, count in zip(free, counts, strict=True):
            sizes[part] = (max(1, int(count)), min(PARTS[part][1], half))
        if _enough(pictures, sizes):
            return sizes
    raise BadArgument(_too_few(pictures, sizes))


def _enough(pictures: pd.Series, sizes: Mapping[str, tuple[int, int]]) -> bool:
    """Whether there are people enough who have pictures enough: who has many may stand in for who needs few."""
    return all(
        sum(people for people, each in sizes.values() if each >= least) <= (pictures >= least).sum()
        for _, least in sizes.values()
    )


def _too_few(pictures: pd.Series, sizes: Mapping[str, tuple[int, int]]) -> str:
    wanted = ", ".join(f"{part} {people}x{each}" for part, (people, each) in sizes.items())
    levels = sorted({each for _, each in sizes.values()}, reverse=True)
    there = ", ".join(f"{(pictures >= least).sum():,} have {least} or more pictures" for least in levels)
    return f"too few people for {wanted}: of {len(pictures):,}, {there}"


def choose_people(
    persons: pd.DataFrame, sizes: Mapping[str, tuple[int, int]], rng: np.random.Generator
) -> dict[str, list[str]]:
    """Who is in which part: half women in each part, or the same share of them in all.

    Args:
        persons: By identity, ``pictures`` (how many) and ``male`` (above 0 for a man, NaN where unknown).
        sizes: Part → (people, pictures of each); there must be enough.
        rng: Chooses.
    """
    pools = _women_and_men(persons.iloc[rng.permutation(len(persons))])
    least = min(each for _, each in sizes.values())
    women, men = (int((pool.pictures >= least).sum()) for pool in pools)
    total = sum(people for people, _ in sizes.values())
    share = float(np.clip(0.5, 1 - men / total, women / total))
    chosen: dict[str, list[str]] = {}
    for each in sorted({each for _, each in sizes.values()}, reverse=True):  # who needs most chooses first
        parts = {part: people for part, (people, pictures) in sizes.items() if pictures == each}
        able = [pool[(pool.pictures >= each) & ~pool.index.isin(sum(chosen.values(), []))].index for pool in pools]
        chosen |= _deal(parts, [list(pool) for pool in able], share)
    return chosen


def _women_and_men(persons: pd.DataFrame) -> list[pd.DataFrame]:
    """Two pools of people; of whom nothing is known comes last in the smaller."""
    pools = [persons[persons.male <= 0], persons[persons.male > 0]]
    smaller = int(len(pools[1]) < len(pools[0]))
    pools[smaller] = pd.concat([pools[smaller], persons[persons.male.isna()]])
    return pools


def _deal(parts: Mapping[str, int], pools: list[list[str]], share: float) -> dict[str, list[str]]:
    """Fill parts from two pools, the first's share as near to ``share`` as the pools allow, and alike in all parts."""
    first, second = pools
    ends = np.cumsum([0, *parts.values()])
    of_first = np.clip(round(share * ends[-1]), ends[-1] - len(second), min(len(first), ends[-1]))
    counts = np.diff(np.round(ends * of_first / max(1, ends[-1]))).astype(int)
    dealt: dict[str, list[str]] = {}
    for (part, people), count in zip(parts.items(), counts, strict=True):
        dealt[part] = first[:count] + second[: people - count]
        first, second = first[count:], second[people - count :]
    return dealt


def choose_pictures(pictures: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Some pictures of one person, in their order: as many with glasses as without, as far as there are such."""
    order = rng.permutation(len(pictures))
    glasses = (pictures.glasses == "yes").to_numpy()[order]
    with_glasses, without = order[glasses], order[~glasses]
    share = max(min(len(with_glasses), count // 2), count - len(without))
    return pictures.iloc[sorted([*with_glasses[:share], *without[: count - share]])]


def read_split(file: Path) -> pd.DataFrame:
    """The table that ``split`` wrote, or one like it: ``part``, ``identity`` and ``picture`` are what it takes.

    Raises:
        BadArgument: If it is missing or damaged, or puts one person into two parts; it names the line.
    """
    table = _read_csv(file, ("part", "identity", "picture"), "split")
    inside = table.picture.map(lambda picture: not {"..", ""} & set(PurePosixPath(picture).parts or [""]))
    good = table.part.isin(PARTS) & table.identity.map(_is_name) & inside & ~table.picture.str.startswith("/")
    one_part = table.groupby("identity").part.transform("nunique") == 1
    for fault, rows in {
        f"expected one of {', '.join(PARTS)}, a person and a picture": ~good,
        "that person is in two parts": ~one_part,
        "that picture is listed a second time": table.picture.duplicated(),
    }.items():
        if rows.any():
            number = int(rows.to_numpy().argmax())
            row = ",".join(table.loc[number, ["part", "identity", "picture"]])
            raise BadArgument(f"{file}, line {number + 2}: {row!r}: {fault}")
    return table


def _read_csv(file: Path, columns: Sequence[str], what: str) -> pd.DataFrame:
    """A table that a user may have edited, all of it text."""
    if not file.is_file():
        raise BadArgument(f"{file} is missing: {what} writes it")
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype=str, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        raise BadArgument(f"{file} is no table that can be read: {error}") from error
    if lacking := [column for column in columns if column not in table]:
        raise BadArgument(f"{file}, line 1: no column {', '.join(lacking)}; separated by commas, as {what} writes it?")
    return table


# --------------------------------------------------------------------------------------------- preprocess
def preprocess(
    photos: Path,
    to: Path,
    side: int = 160,
    which: str = "central",
    chunk: int = 16,
    split: Path | None = None,
) -> pd.DataFrame:
    """Find the face of every photo, align it, and write it as ``to/<identity>/<name>.jpg``, on all cores.

    Args:
        photos: CelebA as it comes, or a folder or zip file with a folder per person.
        to: Where the faces go, and ``report.csv``.
        side: Of the faces, in pixels.
        which: Of several faces, the ``"central"`` or the ``"largest"`` one.
        chunk: Photos that each core has in memory at once.
        split: The table of ``split``: only its pictures, as ``to/<part>/<identity>/<name>.jpg``.

    Returns:
        The report: a row per photo, ``face`` (the file, or empty) and ``dropped`` (why, or empty).

    Raises:
        BadArgument: If there are no photos, or ``to`` holds faces that were made in another way.
    """
    people = list_people(photos) if split is None else read_split(split)
    people["path"] = [str(in_project(photos) / picture) for picture in people.picture]
    return align_all(people, to, side, which, chunk)


def align_all(people: pd.DataFrame, to: Path, side: int = 160, which: str = "central", chunk: int = 16) -> pd.DataFrame:
    """Do the work of ``preprocess`` for a table with ``identity``, ``picture``, ``path`` and maybe ``part``.

    The chunks are the same whenever it goes on, since a face found beside others may differ in its last decimals.
    """
    people = people.assign(face=face_names(people))
    report, columns = to / "report.csv", (*(["part"] if "part" in people else []), *COLUMNS)
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


def in_order(work: Callable, items: Iterable) -> Iterator:
    """Do a piece of work for each item, on all cores, only as far ahead as there are cores; the results in order.

    Threads do: TensorFlow, OpenCV and Pillow let others run while they compute.
    """
    workers = os.cpu_count() or 1
    waiting: deque = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def face_names(people: pd.DataFrame) -> list[str]:
    """The file of each face, ``[part/]identity/name.jpg``; of 2.png beside 2.jpg it is 2.png.jpg."""
    pictures = people.picture.map(PurePosixPath)
    folders = people.part + "/" + people.identity if "part" in people else people.identity
    short = folders + "/" + pictures.map(lambda picture: picture.stem) + ".jpg"
    long = folders + "/" + pictures.map(lambda picture: picture.name) + ".jpg"
    jpeg = pictures.map(lambda picture: picture.suffix == ".jpg")
    return short.where(~short.duplicated(keep=False) | jpeg, long).tolist()


def find_and_align(pictures: Sequence[str], side: int, which: str) -> Iterator[tuple[np.ndarray, dict] | FaceError]:
    """The aligned face of each picture with its detection, or what was wrong."""
    for found in find_faces(pictures, which, read_picture):
        if isinstance(found, FaceError):
            yield found
        else:
            photo, face = found
            yield align_face(photo, face["keypoints"], side), face


def keep(result: tuple[np.ndarray, dict] | FaceError, photo: Mapping, to: Path) -> dict:
    """Write a face, and say so as a row of the report; or say why there is none."""
    row = {column: photo[column] for column in ("part", "identity", "picture") if column in photo}
    if isinstance(result, FaceError):
        return row | {"dropped": _why(result, photo["path"])}
    face, detection = result
    with whole(to / photo["face"]) as unfinished:
        save_picture(unfinished, face)
    points = {point: [round(float(n), 1) for n in xy] for point, xy in detection["keypoints"].items()}
    return row | {
        "face": photo["face"],
        "box": json.dumps([int(n) for n in detection["box"]]),
        "keypoints": json.dumps(points),
        "confidence": round(float(detection["confidence"]), 4),
    }


def _why(error: FaceError, path: str) -> str:
    """What was wrong with a photo, in words that are the same for all photos of which the same was wrong."""
    if isinstance(error, NoFaceFound):
        return "no face found"
    reason = " ".join(str(error).removeprefix(path).strip(": ").split())
    missing = not Path(path).exists() and ("No such file" in reason or "There is no item" in reason)
    return "the picture is missing" if missing else reason.replace(path, "it")


def read_report(report: Path) -> pd.DataFrame:
    """The rows that were written completely; a last line that was cut off is left out, and its photo done again."""
    data = report.read_bytes() if report.is_file() else b""
    complete = data[: data.rfind(b"\n") + 1]
    if len(complete) < len(data):
        with whole(report) as unfinished:
            unfinished.write_bytes(complete)
    if not complete:
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(
        io.BytesIO(complete), keep_default_na=False, dtype={"part": str, "identity": str, "picture": str}
    )


def _check_report(report: Path, columns: Sequence[str], to: Path, side: int) -> pd.DataFrame:
    """The report so far, of faces that were made in the same way."""
    table = read_report(report)
    if len(table) and tuple(table.columns) != tuple(columns):
        raise BadArgument(f"{report} was made {'with' if 'part' in table else 'without'} --split; choose another --to")
    kept = [face for face in table.face[table.dropped == ""] if (to / face).is_file()]
    if kept:
        width = Image.open(to / kept[0]).width
        if width != side:
            raise BadArgument(f"--side {side}: the faces in {to} have {width} pixels; choose another --to")
    return table


def add_rows(report: Path, rows: list[dict], columns: Sequence[str] = COLUMNS) -> None:
    """Add rows to the report, and bring them to the disk."""
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
    """Remove what a run that was killed left unfinished."""
    for left in folder.rglob(".unfinished_*"):
        left.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------------- clean
def clean(
    faces: Path,
    network: str = DEFAULT_NETWORK,
    bits: int = 6,
    limit: float = 3.5,
) -> pd.DataFrame:
    """List the pictures of people to train with that are there twice, or seem to show somebody else; move nothing.

    A copy is a picture whose hash (``hash_of``) differs in few bits and whose encoding is nearer than ``NEAR``: of
    copies of one person the first is not listed, of copies under two names both are. A picture seems to show somebody
    else if its encoding lies nearer to another person's centre than to its own, or further from its own than ``limit``
    times the usual spread from the usual distance. A centre is the median of a person's encodings.

    Args:
        faces: A folder of aligned faces with a folder per person, as ``preprocess`` writes it.
        network: Whose encodings.
        bits: Hashes of 64 bits may differ in so many.
        limit: In spreads: the median absolute deviation of all distances, as of a normal distribution.

    Returns:
        The report, as in ``<faces>_removed/clean.csv``: ``picture`` (relative to ``faces``), ``reason``, ``distance``
        (between encodings: to the copy, or to the person's centre) and ``copy_of``. Contact sheets lie beside it.

    Raises:
        BadArgument: If these are no people to train with.
    """
    faces, removed = check_train(faces), removed_of(faces)
    people = find_people(faces)
    names = [Path(picture).relative_to(faces).as_posix() for picture in people.picture]
    model = load_facenet(network)
    hashes, encodings, problems = look(people.picture.tolist(), model, removed / ".looked_at")
    good = np.flatnonzero(problems == "")
    if len(good) == 0:
        raise BadArgument(f"{faces}: none of {len(names):,} pictures can be used; the first: {problems[0]}")
    who, persons = pd.factorize(people.identity.iloc[good])
    copies = judge_copies(find_copies(hashes[good], encodings[good], bits), who, np.array(names)[good])
    strangers, distances = judge_strangers(encodings[good], who, list(persons), limit)
    found = {good[i]: reason for i, reason in (strangers | copies).items()}
    found |= {i: (f"can't be used: {problems[i]}", "", "") for i in np.flatnonzero(problems != "")}
    report = pd.DataFrame([(names[i], *found[i]) for i in sorted(found)], columns=CLEAN)
    typical = typical_of(people.identity.iloc[good], np.array(names)[good], distances, set(report.picture))
    draw_sheets(faces, report, typical, removed / "sheets")
    write_table(removed / "clean.csv", report)
    shutil.rmtree(removed / ".looked_at", ignore_errors=True)
    return report


def check_train(faces: Path) -> Path:
    """The folder itself, if ``clean`` may work on it.

    Raises:
        BadArgument: If it is no folder, or holds parts, or people who are there to validate or to test.
    """
    faces = in_project(faces)
    if not faces.is_dir():
        raise BadArgument(f"{faces} is no folder; clean moves pictures, which a zip file can't")
    faces = faces.resolve()
    if faces.name.casefold() in PARTS.keys() - {"train"}:
        raise BadArgument(f"{faces.name}: only people to train with are cleaned; a test must show what is hard as well")
    if (faces / "train").is_dir():
        raise BadArgument(f"{faces} holds the parts of a split; clean {faces / 'train'}")
    return faces


def removed_of(faces: Path) -> Path:
    """Where the report, the contact sheets and the pictures that were moved lie: beside the folder."""
    return faces.with_name(f"{faces.name}_removed")


def hash_of(face: np.ndarray) -> np.uint64:
    """A hash of 64 bits that hardly changes when a picture is saved again, resized or made brighter.

    Which of the 64 lowest frequencies of a small grey copy are above their median.

    Args:
        face: (S, S, 3) uint8, RGB.

    Example:
        >>> face = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
        >>> int(np.bitwise_count(hash_of(face) ^ hash_of(face // 2 + 60))) <= 2
        True

    Source: the idea is that of the "pHash" library, Zauner, "Implementation and benchmarking of perceptual image hash
    functions", 2010.
    """
    grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    return np.packbits(low > np.median(low[1:])).view(np.uint64)[0]


def look(pictures: list[str], model, memory: Path, chunk: int = 512) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read each picture once: its hash, its encoding, and what was wrong with it (or an empty text).

    Args:
        pictures: Paths of m aligned faces.
        model: A network of ``load_facenet``.
        memory: A folder for what was done, so that a run that was killed goes on there.
        chunk: Pictures in memory at once.

    Returns:
        Hashes (m,) uint64, encodings (m, D) float32 and problems (m,) text.
    """
    seen = []
    with tqdm(total=len(pictures), desc="encoding", unit="picture") as bar:
        for start in range(0, len(pictures), chunk):
            part = pictures[start : start + chunk]
            seen.append(_remembered(memory / f"{start:08d}.npz", part, model))
            bar.update(len(part))
    return tuple(np.concatenate([part[what] for part in seen]) for what in ("hashes", "encodings", "problems"))


def _remembered(file: Path, pictures: list[str], model) -> dict[str, np.ndarray]:
    """What ``_look_at`` says of some pictures, or said before if they are still the same."""
    key = np.array([info_of(model).name, *(f"{path} {os.stat(path).st_mtime_ns}" for path in pictures)])
    if file.is_file():
        with np.load(file) as kept:
            if np.array_equal(kept["key"], key):
                return dict(kept)
    found = _look_at(pictures, model)
    with whole(file) as unfinished:
        np.savez(unfinished, key=key, **found)
    return found


def _look_at(pictures: list[str], model) -> dict[str, np.ndarray]:
    """Hashes, encodings and problems of some pictures."""
    faces, wrong = load_faces(pictures, info_of(model).side)
    problems = [_why(wrong[i], path) if i in wrong else "" for i, path in enumerate(pictures)]
    return {
        "hashes": np.array([hash_of(face) for face in faces]),
        "encodings": faces_to_encodings(faces, model),
        "problems": np.array(problems, dtype=str),
    }


def find_copies(hashes: np.ndarray, encodings: np.ndarray, bits: int, block: int = 128) -> list[tuple[int, int, float]]:
    """All pairs (i, j), i < j, whose hashes differ in at most ``bits`` and whose encodings are near; with the distance.

    Every picture is compared with every other one: 100,000 take about a minute, and the memory of a block.
    """
    pairs = []
    for start in tqdm(range(0, len(hashes), block), desc="comparing", unit="block", leave=False):
        differ = np.bitwise_count(hashes[start : start + block, None] ^ hashes[None, start:])
        i, j = np.nonzero(np.triu(differ <= bits, 1))
        distances = np.linalg.norm(encodings[i + start] - encodings[j + start], axis=1)
        near = distances < NEAR
        pairs += zip((i[near] + start).tolist(), (j[near] + start).tolist(), distances[near].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: (pair[1], pair[0]))


def judge_copies(
    pairs: Iterable[tuple[int, int, float]], who: np.ndarray, names: Sequence[str]
) -> dict[int, tuple[str, str, str]]:
    """Which pictures are copies, as number → (reason, distance, copy of)."""
    pairs = list(pairs)
    found: dict[int, tuple[str, str, str]] = {}
    for i, j, distance in pairs:
        if who[i] == who[j] and i not in found and j not in found:
            found[j] = ("a copy", f"{distance:.3f}", names[i])
    for i, j, distance in pairs:
        if who[i] != who[j]:
            found[i] = ("a copy under another name", f"{distance:.3f}", names[j])
            found[j] = ("a copy under another name", f"{distance:.3f}", names[i])
    return found


def judge_strangers(
    encodings: np.ndarray, who: np.ndarray, persons: Sequence[str], limit: float, block: int = 1024
) -> tuple[dict[int, tuple[str, str, str]], np.ndarray]:
    """Which pictures seem to show somebody else, as number → (reason, distance, ""), and all distances to a centre."""
    centres = np.stack([np.median(encodings[who == person], axis=0) for person in range(len(persons))])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    own, nearest, person = np.zeros(len(who)), np.zeros(len(who)), np.zeros(len(who), int)
    for start in range(0, len(who), block):
        part = slice(start, start + block)
        distances = np.sqrt(np.maximum(0, 2 - 2 * encodings[part] @ centres.T))  # all have unit length
        rows = np.arange(len(distances))
        own[part] = distances[rows, who[part]]
        distances[rows, who[part]] = np.inf
        nearest[part], person[part] = distances.min(axis=1), distances.argmin(axis=1)
    usual = np.median(own)
    furthest = usual + limit * 1.4826 * np.median(np.abs(own - usual))  # as many sigmas of a normal distribution
    found = {i: ("far from its person", f"{own[i]:.3f}", "") for i in np.flatnonzero(own > furthest)}
    for i in np.flatnonzero(nearest < own):
        found[i] = (f"nearer to {persons[person[i]]} ({nearest[i]:.3f})", f"{own[i]:.3f}", "")
    return found, own


def typical_of(
    identities: pd.Series, names: Sequence[str], distances: np.ndarray, suspicious: set[str]
) -> dict[str, list[str]]:
    """The three pictures of each person that lie nearest to their centre and are not suspicious."""
    table = pd.DataFrame({"identity": identities.to_numpy(), "name": names, "distance": distances})
    table = table[~table.name.isin(suspicious)].sort_values("distance", kind="stable")
    return table.groupby("identity").name.apply(lambda pictures: pictures.head(3).tolist()).to_dict()


# ----------------------------------------------------------------------------------------- contact sheets
TILE, ROWS = 128, 8


def draw_sheets(faces: Path, report: pd.DataFrame, typical: Mapping[str, list[str]], to: Path) -> None:
    """Pages of what the report lists, each picture beside its copy or beside typical pictures of its person."""
    rows = report.to_dict("records")
    with whole(to) as unfinished:
        unfinished.mkdir()
        for start in tqdm(range(0, len(rows), ROWS), desc="sheets", unit="page", leave=False):
            page = np.concatenate([draw_row(faces, row, typical) for row in rows[start : start + ROWS]])
            save_picture(unfinished / f"page_{start // ROWS + 1:03d}.jpg", page)


def draw_row(faces: Path, row: Mapping[str, str], typical: Mapping[str, list[str]]) -> np.ndarray:
    """One picture of the report, and beside it what to compare it with; (H, W, 3) uint8."""
    person = row["picture"].split("/")[0]
    others = [row["copy_of"]] if row["copy_of"] else typical.get(person, [])
    sheet = Image.new("RGB", (4 * (TILE + 8) + 40, TILE + 44), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    distance = f", {row['distance']}" if row["distance"] else ""
    draw.text((8, 4), f"{row['picture']}: {row['reason']}{distance}"[:90], "black", font)
    beside = f"its copy: {row['copy_of']}" if row["copy_of"] else f"typical of {person}" if others else ""
    draw.text((TILE + 40, 20), beside[:60], "#555555", font)
    for number, picture in enumerate([row["picture"], *others]):
        left = 8 + number * (TILE + 8) + (24 if number else 0)
        sheet.paste(_tile(faces / picture), (left, 38))
    return np.asarray(sheet)


def _tile(picture: Path) -> Image.Image:
    """A picture as a square of the sheet; grey if it can't be opened."""
    try:
        return Image.fromarray(resize_face(read_picture(picture), TILE))
    except FaceError:
        return Image.new("RGB", (TILE, TILE), "#bbbbbb")


# ------------------------------------------------------------------------------------------- apply and undo
def apply(faces: Path) -> int:
    """Move what the report lists out of the folder, to ``<faces>_removed/pictures``; returns how many were moved.

    Rows that were deleted from the report are pictures that stay. What was moved already stays moved.

    Raises:
        BadArgument: If there is no report, it lists what is not there, or a picture would be written over.
    """
    faces = check_train(faces)
    report = removed_of(faces) / "clean.csv"
    table = _read_csv(report, ("picture",), "clean")
    for number, picture in enumerate(table.picture):
        person, _, name = picture.partition("/")
        there = _is_name(person) and _is_name(name)
        if not there or not ((faces / picture).is_file() or (removed_of(faces) / "pictures" / picture).is_file()):
            raise BadArgument(f"{report}, line {number + 2}: there is no picture {picture!r} in {faces}")
    return _move(table.picture, faces, removed_of(faces) / "pictures")


def undo(faces: Path) -> int:
    """Move everything back that ``apply`` moved; returns how many.

    Raises:
        BadArgument: If a picture would be written over.
    """
    faces = check_train(faces)
    away = removed_of(faces) / "pictures"
    moved = _move(sorted(file.relative_to(away).as_posix() for file in away.glob("*/*")), away, faces)
    for folder in away.glob("*"):
        if not any(folder.iterdir()):
            folder.rmdir()
    return moved


def _move(names: Iterable[str], source: Path, to: Path) -> int:
    """Move files from one folder to another, each in one step, and none over another."""
    names = [name for name in dict.fromkeys(names) if (source / name).is_file()]
    if taken := [name for name in names if (to / name).exists()]:
        raise BadArgument(f"{to / taken[0]} is there already and is not written over; nothing was moved")
    for name in tqdm(names, desc=to.name, unit="picture"):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, to / name)
    return len(names)


# --------------------------------------------------------------------------------------------------- pack
def pack(faces: Path, to: Path) -> int:
    """Put all pictures of a folder of people into one zip file, byte for byte the same each time; returns how many.

    Beside it a table of the same name says what is in it.
    """
    people = find_people(faces)
    names = [Path(picture).relative_to(in_project(faces)).as_posix() for picture in people.picture]
    with whole(to) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for picture, name in zip(tqdm(people.picture, desc=to.name, unit="picture"), names, strict=True):
            archive.writestr(zipfile.ZipInfo(name), Path(picture).read_bytes())
    sizes = [Path(picture).stat().st_size for picture in people.picture]
    write_table(to.with_suffix(".csv"), pd.DataFrame({"identity": people.identity, "picture": names, "bytes": sizes}))
    return len(people)


# -------------------------------------------------------------------------------------------------- speed
def speed(photos: Path, count: int = 200, rounds: int = 3) -> dict[str, float]:
    """Photos per second of ``preprocess`` and of detection alone, on the same photos, taking turns.

    Args:
        photos: As for ``preprocess``.
        count: How many photos, taken evenly from all.
        rounds: The medians of so many are given.

    Returns:
        ``"detection alone"`` (one call, photos in memory), ``"detection on all cores"`` (in the chunks and threads of
        ``preprocess``, photos in memory) and ``"preprocess"`` (from files to files).
    """
    people = list_people(photos)
    people = people[people.there]
    people = people.iloc[np.unique(np.linspace(0, len(people) - 1, count).astype(int))]
    people["path"] = [str(in_project(photos) / picture) for picture in people.picture]
    opened = [read_picture(path) for path in people.path]
    chunks = [opened[start : start + 16] for start in range(0, len(opened), 16)]

    def whole_way() -> None:
        with tempfile.TemporaryDirectory() as folder:
            align_all(people, Path(folder) / "faces")

    works = {
        "detection alone": lambda: detect_faces_batch(opened),
        "detection on all cores": lambda: list(in_order(detect_faces_batch, chunks)),
        "preprocess": whole_way,
    }
    detect_faces_batch(chunks[0])
    took: dict[str, list[float]] = {name: [] for name in works}
    for name, work in (turn for _ in range(rounds) for turn in works.items()):
        start = time.perf_counter()
        work()
        took[name].append(time.perf_counter() - start)
    return {name: len(opened) / statistics.median(seconds) for name, seconds in took.items()}


# --------------------------------------------------------------------------------------------------- main
def do_split(args: argparse.Namespace) -> None:
    """Write the table of who is in which part, and say how balanced it is."""
    sizes = {part: size for part in PARTS if (size := getattr(args, part)) is not None}
    table, missing = split(args.source, sizes, args.attributes, args.seed)
    write_table(args.to, table)
    if len(missing):
        file = args.to.with_name(f"{args.to.stem}_missing.csv")
        write_table(file, missing)
        print(f"{len(missing):,} pictures are listed but not there: {file}")
    for part, rows in table.groupby("part", sort=False):
        genders = rows.groupby("identity").gender.first().value_counts()
        balance = (
            f", {genders.get('woman', 0):,} women and {genders.get('man', 0):,} men" if genders.index.any() else ""
        )
        glasses = f", {(rows.glasses == 'yes').sum():,} pictures with glasses" if (rows.glasses != "").any() else ""
        people = rows.identity.nunique()
        fewer = "" if part in sizes or (people, len(rows) // people) == PARTS[part] else " (fewer than published)"
        print(f"{part}: {people:,} people × {len(rows) // people:,} pictures{fewer}{balance}{glasses}")


def do_preprocess(args: argparse.Namespace) -> None:
    """Find and align, and say what was dropped."""
    if args.side < 16:
        raise BadArgument(f"--side {args.side}: at least 16 pixels")
    if args.chunk < 1:
        raise BadArgument(f"--chunk {args.chunk}: at least 1 photo")
    report = preprocess(args.photos, args.to, args.side, args.which, args.chunk, args.split)
    kept = report[report.dropped == ""]
    print(f"{len(kept):,} faces of {kept.identity.nunique():,} people")
    for reason, count in report.dropped[report.dropped != ""].value_counts().head(10).items():
        print(f"dropped {count:,}: {reason}")


def do_clean(args: argparse.Namespace) -> None:
    """Report, apply, or undo."""
    if args.undo:
        print(f"{undo(args.faces):,} pictures are back in {args.faces}")
        return
    if args.apply:
        print(f"{apply(args.faces):,} pictures moved to {removed_of(check_train(args.faces)) / 'pictures'}")
        return
    if not 0 <= args.bits <= 16:
        raise BadArgument(f"--bits {args.bits}: 0 to 16 of 64")
    if not args.limit > 0:
        raise BadArgument(f"--limit {args.limit}: more than 0 spreads")
    removed = removed_of(check_train(args.faces))
    if (removed / "clean.csv").is_file() and not args.again:
        raise BadArgument(f"{removed / 'clean.csv'} is there already: --apply it, or --again to look anew")
    report = clean(args.faces, args.network, args.bits, args.limit)
    for reason, count in (
        report.reason.str.replace(r"nearer to .*", "nearer to somebody else", regex=True).value_counts().items()
    ):
        print(f"{count:,}: {reason}")
    print(f"{len(report):,} pictures in {removed / 'clean.csv'}, to be seen in {removed / 'sheets'}; nothing was moved")


def do_pack(args: argparse.Namespace) -> None:
    """Pack, and say how many."""
    print(f"{pack(args.faces, args.to):,} pictures in {args.to}")


def do_speed(args: argparse.Namespace) -> None:
    """Measure, and say the shares."""
    if args.count < 1 or args.rounds < 1:
        raise BadArgument(f"--count {args.count} --rounds {args.rounds}: at least 1")
    rates = speed(args.photos, args.count, args.rounds)
    for name, rate in rates.items():
        print(f"{name}: {rate:.1f} photos per second; preprocess reaches {rates['preprocess'] / rate:.0%} of it")


def size(text: str) -> tuple[int, int]:
    """``800x20`` as people and pictures of each."""
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found or 0 in (sizes := (int(found[1]), int(found[2]))):
        raise argparse.ArgumentTypeError(f"{text!r}: people x pictures of each, as 800x20")
    return sizes


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(required=True, dest="command")

    def command(do: Callable, source: str, about: str, to: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(do.__name__.removeprefix("do_"), help=about)
        one.set_defaults(do=do)
        one.add_argument(source, type=Path, help="CelebA, or a folder with a folder per person")
        if to:
            one.add_argument("--to", type=Path, required=True)
        return one

    one = command(do_split, "source", "who trains, who validates, who tests")
    for part, (people, pictures) in PARTS.items():
        one.add_argument(f"--{part}", type=size, metavar="NxM", help=f"people x pictures of each: {people}x{pictures}")
    one.add_argument("--attributes", type=Path, help="a list as list_attr_celeba.txt, if it is elsewhere")
    one.add_argument("--seed", type=int, default=0)
    one = command(do_preprocess, "photos", "find and align faces")
    one.add_argument("--split", type=Path, help="what split wrote: only its pictures, a folder per part")
    one.add_argument("--side", type=int, default=160, help="of the faces, in pixels")
    one.add_argument("--which", choices=["central", "largest"], default="central", help="of several faces")
    one.add_argument("--chunk", type=int, default=16, help="photos that each core has in memory at once")
    one = command(do_clean, "faces", "copies and wrong names among people to train with", to=False)
    how = one.add_mutually_exclusive_group()
    how.add_argument("--apply", action="store_true", help="move what the report lists; delete rows first to keep some")
    how.add_argument("--undo", action="store_true", help="move everything back")
    how.add_argument("--again", action="store_true", help="look anew, though there is a report")
    one.add_argument("--network", default=DEFAULT_NETWORK)
    one.add_argument("--bits", type=int, default=6, help="in which hashes of copies may differ, of 64")
    one.add_argument("--limit", type=float, default=3.5, help="spreads from the usual distance that are too far")
    command(do_pack, "faces", "all faces in one zip file")
    one = command(do_speed, "photos", "preprocess beside detection alone", to=False)
    one.add_argument("--count", type=int, default=200, help="photos, taken evenly from all")
    one.add_argument("--rounds", type=int, default=3)
    return top


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    args = parser().parse_args(argv)
    args.do(args)


if __name__ == "__main__":
    run(main)
