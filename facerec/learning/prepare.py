"""TODO facerec.learning.prepare."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from facerec._files import in_project, whole, write_table
from facerec.detection import align_face
from facerec.encoding import find_faces
from facerec.errors import BadArgument, FaceError, NoFaceFound
from facerec.learning.datasets import find_people, read_picture
from facerec.photos import save_picture

#: The published parts: people, and pictures of each.
PARTS = {"train": (800, 20), "validation": (100, 20), "test": (40, 5)}


COLUMNS = ("identity", "picture", "face", "dropped", "box", "keypoints", "confidence")


SPLIT = ("part", "identity", "picture", "gender", "glasses")


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
        if len(words) != 2 or not is_person_name(words[0]) or not is_person_name(words[1]):
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


def is_person_name(text: str) -> bool:
    """Whether this can be the name of a file or a folder, and leads nowhere else."""
    return bool(text) and text not in (".", "..") and not re.search(r"[/\\\0]", text)


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
    table = read_edited_table(file, ("part", "identity", "picture"), "split")
    inside = table.picture.map(lambda picture: not {"..", ""} & set(PurePosixPath(picture).parts or [""]))
    good = table.part.isin(PARTS) & table.identity.map(is_person_name) & inside & ~table.picture.str.startswith("/")
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


def read_edited_table(file: Path, columns: Sequence[str], what: str) -> pd.DataFrame:
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
        return row | {"dropped": reason_for(result, photo["path"])}
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


def reason_for(error: FaceError, path: str) -> str:
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
