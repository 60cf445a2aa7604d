"""Data sets of people: who is in which picture, and splits that keep people apart.

A data set is a table with a row per picture: ``identity`` (the person) and ``picture`` (its path, which may lead into
a zip file: ``datasets/people.zip/p000/0.jpg``). Everything here takes such tables and returns such tables:

    people = find_people("datasets/people.zip")
    train, validation, test = split_by_identity(people, (0.6, 0.2, 0.2))      # no person is in two of them
    pairs = facerec.learning.pairs.make_pairs(train, 2000, seed=1)            # half same, half different
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from facerec._files import in_project
from facerec.errors import BadArgument
from facerec.photos import PICTURE_ENDINGS, load_image

#: Invented people that come with the project: 242 people with 8 aligned faces each.
SYNTHETIC_PEOPLE = "datasets/people.zip"


def find_people(source: str | os.PathLike, min_pictures: int = 1) -> pd.DataFrame:
    """List the pictures of a folder, or a zip file, with a folder per person.

    Args:
        source: A path relative to the working directory or to this project; ``source/lena/1.jpg`` shows lena.
        min_pictures: People with fewer pictures are left out (a same pair needs two).

    Returns:
        A table with ``identity`` and ``picture``, sorted by path (2 before 10).

    Raises:
        BadArgument: If there is no such folder or zip file, or no person in it has that many pictures.

    Example:
        >>> people = find_people("datasets/people.zip")
        >>> len(people), people.identity.nunique()
        (1936, 242)
    """
    source = in_project(source)
    rows = [(file.parent.name, str(file)) for file in _files_of(source) if _is_picture(file)]
    rows.sort(key=lambda row: _natural(row[1]))
    people = pd.DataFrame(rows, columns=["identity", "picture"])
    people = people[people.groupby("identity").picture.transform("size") >= min_pictures].reset_index(drop=True)
    if people.empty:
        raise BadArgument(f"{source} has no person with at least {min_pictures} picture(s); {_why_none(source, rows)}")
    return people


def _why_none(source: Path, rows: list) -> str:
    """A hint why no person in a folder has enough pictures."""
    if rows:
        most = pd.Series([name for name, _ in rows]).value_counts()
        return f"{most.idxmax()} has the most, {most.max()}"
    if source.is_dir() and any(_is_picture(file) for file in source.iterdir()):
        return f"it holds pictures directly: give the folder above it, {source.resolve().parent}"
    return "expected a folder per person, with pictures"


def _files_of(source: Path) -> list[Path]:
    """The files in the folders directly below a folder, or in those of a zip file."""
    if source.is_dir():
        return [file for folder in source.iterdir() if folder.is_dir() for file in folder.iterdir() if file.is_file()]
    if source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            return [source / name for name in archive.namelist() if name.count("/") == 1 and not name.endswith("/")]
    raise BadArgument(f"{source} is neither a folder nor a zip file")


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_ENDINGS and not file.name.startswith(".")


def _natural(path: str) -> list[str | int]:
    """A key that sorts p2 before p10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


def split_by_identity(
    people: pd.DataFrame, shares: Sequence[float | int] = (0.6, 0.2, 0.2), seed: int = 0
) -> tuple[pd.DataFrame, ...]:
    """Divide people, not pictures: no person is in two parts, so a network can't pass by remembering people.

    Args:
        people: A table of ``find_people``.
        shares: Shares of the people that add up to 1, or numbers of people (ints).
        seed: Seed of the division.

    Returns:
        A table per share.

    Raises:
        BadArgument: If the shares do not add up, or a part would be empty.

    Example:
        >>> parts = split_by_identity(find_people("datasets/people.zip"), (0.6, 0.2, 0.2))
        >>> [part.identity.nunique() for part in parts]
        [145, 49, 48]
    """
    names = np.random.default_rng(seed).permutation(people.identity.unique())
    counts = _counts(shares, len(names))
    ends = np.cumsum(counts)
    parts = (names[end - count : end] for count, end in zip(counts, ends, strict=True))
    return tuple(people[people.identity.isin(part)].reset_index(drop=True) for part in parts)


def split_within_identity(
    people: pd.DataFrame, shares: Sequence[float | int] = (0.6, 0.2, 0.2)
) -> tuple[pd.DataFrame, ...]:
    """Divide each person's pictures in their order: the first to learn from, later ones to test.

    For tasks that learn and test the same person. The order matters: neighbouring pictures, for example of a video,
    are nearly copies of each other.

    Args:
        people: A table of ``find_people``.
        shares: Shares of each person's pictures that add up to 1, or numbers of pictures (ints).

    Returns:
        A table per share.

    Raises:
        BadArgument: If the shares do not add up, or a person has too few pictures for every part to get one.
    """
    parts: list[list[pd.DataFrame]] = [[] for _ in shares]
    for identity, pictures in people.groupby("identity", sort=False):
        counts = _counts(shares, len(pictures), f"{identity}'s pictures")
        ends = np.cumsum(counts)
        for part, count, end in zip(parts, counts, ends, strict=True):
            part.append(pictures.iloc[end - count : end])
    return tuple(pd.concat(part).reset_index(drop=True) for part in parts)


def _counts(shares: Sequence[float | int], total: int, of: str = "people") -> list[int]:
    """Turn shares of a total into numbers; each must be at least 1, and all together at most the total."""
    if all(isinstance(share, int | np.integer) for share in shares):
        counts = [int(share) for share in shares]
    elif abs(sum(shares) - 1) < 1e-6:
        ends = np.round(np.cumsum([0, *shares]) * total).astype(int)
        counts = np.diff(ends).tolist()
    else:
        raise BadArgument(f"shares={tuple(shares)}: must add up to 1, or be whole numbers")
    if min(counts, default=0) < 1 or sum(counts) > total:
        raise BadArgument(f"{total} {of} can't be divided into {tuple(shares)}: a part would be empty")
    return counts


def _digest(picture: str) -> str:
    return hashlib.sha256(load_image(picture).tobytes()).hexdigest()


def drop_copies(people: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Remove pictures with exactly the same pixels: all of them if under two names, else all but the first.

    Real collections have them: a photo of two people, filed under both, can show the same face under two names.

    Args:
        people: A table of ``find_people``.

    Returns:
        kept: The table without them.
        removed: The table of the removed pictures.
    """
    digests = people.picture.map(_digest)
    names = people.identity.groupby(digests).transform("nunique")
    out = (names > 1) | digests.duplicated()
    return people[~out].reset_index(drop=True), people[out].reset_index(drop=True)


def check_disjoint(*parts: pd.DataFrame) -> None:
    """Check that no person and no picture, by its pixels, is in two parts.

    Args:
        *parts: Tables of ``find_people``.

    Raises:
        BadArgument: If one is; the message names it.
    """
    owner: dict[str, int] = {}
    for number, part in enumerate(parts):
        keys = {f"the person {name}": name for name in part.identity.unique()}
        keys |= {f"the picture {picture}": _digest(picture) for picture in part.picture}
        for label, key in keys.items():
            if owner.setdefault(key, number) != number:
                raise BadArgument(f"{label} is in part {owner[key]} and in part {number}")
