"""Select people and pictures to train, to validate and to test with, from CelebA or any folder of people.

    list_people ─► with_attributes ─► fit_sizes ─► choose_people ─► choose_pictures ─► a table of ``SPLIT_COLUMNS``

No person is in two parts. Where the attributes are known, women and men, and pictures with and without glasses, are
balanced. ``facerec.learning.datasets.split_by_identity`` is the plain split of people into shares.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec._files import in_project
from facerec.errors import BadArgument
from facerec.learning.datasets import find_people
from facerec.photos import PICTURE_ENDINGS

#: The published sizes of the parts: (people, pictures of each).
PARTS = {"train": (800, 20), "validation": (100, 20), "test": (40, 5)}

#: The columns of a split.
SPLIT_COLUMNS = ("part", "identity", "picture", "gender", "glasses")


def list_people(source: Path) -> pd.DataFrame:
    """List the pictures of CelebA as published, or of people in folders or named files.

    Args:
        source: CelebA's folder; a folder or zip file with a folder per person; or a folder of pictures whose names
            begin with the person and an underscore (``2880_000001.jpg``). Relative to the working directory or to
            this project.

    Returns:
        A table with ``identity``, ``picture`` (relative to ``source``) and ``there`` (False: listed but missing).

    Raises:
        BadArgument: If there is no such source, or its list of identities is missing or damaged.
    """
    source = in_project(source)
    folder = _of_celeba(source, "img_align_celeba", "img_celeba", inside="Img")
    if folder is None and (named := _named_files(source)):
        return pd.DataFrame(named, columns=["identity", "picture"]).assign(there=True)
    if folder is None:
        people = find_people(source)
        people["picture"] = [Path(picture).relative_to(source).as_posix() for picture in people.picture]
        return people.assign(there=True)
    identities = _of_celeba(source, "identity_CelebA.txt")
    if identities is None:
        raise BadArgument(f"{source} has {folder.name} but no identity_CelebA.txt, the list of who is in which picture")
    people, there = read_identities(identities), set(os.listdir(folder))
    people["there"] = people.picture.isin(there)
    people["picture"] = folder.relative_to(source).as_posix() + "/" + people.picture
    return people


def _named_files(source: Path) -> list[tuple[str, str]]:
    """The person and the name of each picture that lies directly in a folder as ``<person>_<picture>``."""
    files = sorted(os.listdir(source)) if source.is_dir() else []
    pictures = [file for file in files if Path(file).suffix.lower() in PICTURE_ENDINGS and file[0] not in "._"]
    return [(file.partition("_")[0], file) for file in pictures if "_" in file]


def _of_celeba(source: Path, *names: str, inside: str = "Anno") -> Path | None:
    """The first of these names in CelebA's folder, or in the subfolder in which it is published."""
    places = [place / name for name in names for place in (source, source / inside)]
    return next((place for place in places if place.exists()), None)


def read_identities(file: Path) -> pd.DataFrame:
    """Read CelebA's list of identities (``000001.jpg 2880``) as a table of ``identity`` and ``picture``.

    Raises:
        BadArgument: If a line has another form, or lists a picture again; the message names the line.
    """
    identities: dict[str, str] = {}
    for number, line in _lines(file):
        words = line.split()
        if len(words) != 2 or not is_person_name(words[0]) or not is_person_name(words[1]):
            raise BadArgument(f"{file}, line {number}: {line!r}; expected a picture and its person: '000001.jpg 2880'")
        if words[0] in identities:
            raise BadArgument(f"{file}, line {number}: {words[0]} is listed a second time")
        identities[words[0]] = words[1]
    return pd.DataFrame({"identity": list(identities.values()), "picture": list(identities)}, dtype=str)


def read_attributes(file: Path) -> pd.DataFrame:
    """Read CelebA's list of attributes: which pictures show a man, and which show glasses.

    Args:
        file: Its first line is the number of pictures, the second the names of the attributes; then follows a line
            per picture: its name, and 1 or -1 for each attribute.

    Returns:
        A table with ``Male`` and ``Eyeglasses`` (1 or -1), indexed by picture.

    Raises:
        BadArgument: If the file is missing or damaged; the message names the line.
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
        raise BadArgument(f"{file}, line 1: it announces {int(count):,} pictures, but {len(rows):,} follow")
    return pd.DataFrame.from_dict(rows, orient="index", columns=["Male", "Eyeglasses"])


def _attributes(file: Path, number: int, line: str, width: int, columns: list[int]) -> tuple[str, list[int]]:
    """The picture of a line, and its attributes in the given columns."""
    words = line.split()
    if len(words) != width + 1 or not {words[column] for column in columns} <= {"1", "-1"}:
        raise BadArgument(f"{file}, line {number}: {line[:60]!r}; expected a picture and {width} times 1 or -1")
    return words[0], [int(words[column]) for column in columns]


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers; draws a progress bar."""
    with file.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(tqdm(stream, desc=file.name, unit="line", leave=False), 1):
            if line.strip():
                yield number, line.rstrip("\n")


def is_person_name(text: str) -> bool:
    """Whether a text can be the name of one folder or file, without leading anywhere else."""
    return bool(text) and text not in (".", "..") and not re.search(r"[/\\\0]", text)


def split(
    source: Path,
    sizes: Mapping[str, tuple[int, int]] | None = None,
    attributes: Path | None = None,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose people and pictures to train, to validate and to test with; no person is in two parts.

    Where the attributes are known, each part has as many women as men, and each person as many pictures with glasses
    as without, or as close to that as the data allow. A person counts as a man if most of their pictures are marked so.

    Args:
        source: CelebA as published, or a folder or zip file with a folder per person.
        sizes: Part → (people, pictures of each), for parts of another size than published.
        attributes: A list like CelebA's, by file name or by ``person/file name``. By default CelebA's own, if present.
        seed: Seed of the choice.

    Returns:
        chosen: A row per picture, with the columns ``SPLIT_COLUMNS``.
        missing: ``identity`` and ``picture`` of pictures that are listed but missing.

    Raises:
        BadArgument: If there are too few people for the requested sizes, or a file is damaged.
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
    return pd.concat(rows, ignore_index=True)[list(SPLIT_COLUMNS)], missing.reset_index(drop=True)


def find_attributes(source: Path, named: Path | None) -> pd.DataFrame | None:
    """The given list of attributes, or CelebA's own; None, and a printed line, if there is none."""
    file = named or _of_celeba(in_project(source), "list_attr_celeba.txt")
    if file is not None:
        return read_attributes(file)
    print(f"no list_attr_celeba.txt in {source}: women and men, glasses and no glasses, are not balanced")
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
        raise BadArgument(f"the list of attributes names none of these pictures, such as {people.picture[0]}")
    glasses = pd.Series(known[:, 1]).map({1: "yes", -1: "no"}).fillna("")
    return people.assign(male=known[:, 0], glasses=glasses.to_numpy())


def _gender(male: float) -> str:
    return "" if np.isnan(male) else "man" if male > 0 else "woman"


def fit_sizes(pictures: pd.Series, asked: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Fit the sizes of the parts: as requested, else as published, or smaller if there are too few people.

    Args:
        pictures: The number of pictures of each person.
        asked: Part → (people, pictures of each); these sizes are never reduced.

    Returns:
        Part → (people, pictures of each), for all parts.

    Raises:
        BadArgument: If no sizes fit.

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
    """Whether enough people have enough pictures; a person with many can fill a place that needs few."""
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
    """Choose the people of each part: half of them women, or the same share of women in all parts.

    Args:
        persons: Indexed by identity: ``pictures`` (how many) and ``male`` (above 0 for a man, NaN if unknown).
        sizes: Part → (people, pictures of each); there must be enough people.
        rng: The source of randomness.

    Returns:
        Part → identities.
    """
    pools = _women_and_men(persons.iloc[rng.permutation(len(persons))])
    least = min(each for _, each in sizes.values())
    women, men = (int((pool.pictures >= least).sum()) for pool in pools)
    total = sum(people for people, _ in sizes.values())
    share = float(np.clip(0.5, 1 - men / total, women / total))
    chosen: dict[str, list[str]] = {}
    for each in sorted({each for _, each in sizes.values()}, reverse=True):  # the part that needs most pictures first
        parts = {part: people for part, (people, pictures) in sizes.items() if pictures == each}
        able = [pool[(pool.pictures >= each) & ~pool.index.isin(sum(chosen.values(), []))].index for pool in pools]
        chosen |= _deal(parts, [list(pool) for pool in able], share)
    return chosen


def _women_and_men(persons: pd.DataFrame) -> list[pd.DataFrame]:
    """Two pools of people; people without attributes come last in the smaller pool."""
    pools = [persons[persons.male <= 0], persons[persons.male > 0]]
    smaller = int(len(pools[1]) < len(pools[0]))
    pools[smaller] = pd.concat([pools[smaller], persons[persons.male.isna()]])
    return pools


def _deal(parts: Mapping[str, int], pools: list[list[str]], share: float) -> dict[str, list[str]]:
    """Fill the parts from two pools: the share of the first is the same in all, as close to ``share`` as possible."""
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
    """Some pictures of one person, in order: as many with glasses as without, as far as there are any."""
    order = rng.permutation(len(pictures))
    glasses = (pictures.glasses == "yes").to_numpy()[order]
    with_glasses, without = order[glasses], order[~glasses]
    share = max(min(len(with_glasses), count // 2), count - len(without))
    return pictures.iloc[sorted([*with_glasses[:share], *without[: count - share]])]


def read_split(file: Path) -> pd.DataFrame:
    """Read the table that ``split`` wrote, or one like it with ``part``, ``identity`` and ``picture``.

    Raises:
        BadArgument: If it is missing or damaged, or has a person in two parts; the message names the line.
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
    """Read a table that a user may have edited, every cell as text.

    Raises:
        BadArgument: If it is missing, is not a table, or lacks a column.
    """
    if not file.is_file():
        raise BadArgument(f"{file} is missing: {what} writes it")
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype=str, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        raise BadArgument(f"{file} can't be read as a table: {error}") from error
    if lacking := [column for column in columns if column not in table]:
        raise BadArgument(f"{file}, line 1: no column {', '.join(lacking)}; separated by commas, as {what} writes it?")
    return table
