"""People in folders: who is in which picture, splits by identity, pairs, the nine augmentations, batches.

A data set of people is a table with a row per picture: ``identity`` (who it shows) and ``picture`` (its path, which
may lead into a zip file: ``datasets/people.zip/p000/0.jpg``). Everything here takes such tables and returns such
tables, so each step can be looked at.

    people = find_people("datasets/people.zip")
    train, validation, test = split_by_identity(people, (0.6, 0.2, 0.2))     # no person in two of them
    pairs = make_pairs(train, 2000, seed=1)                                   # half same, half different
    batches = pair_batches(pairs, side=100, augment=True)                     # ((m, S, S, 3), (m, S, S, 3)), (m,)
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from facerec._files import in_project
from facerec.errors import BadArgument, UnreadableImage
from facerec.photos import PICTURE_ENDINGS, load_image

#: The people who do not exist that come with the project: 242 people, 8 aligned faces each.
SYNTHETIC_PEOPLE = "datasets/people.zip"


def find_people(source: str | os.PathLike, min_pictures: int = 1) -> pd.DataFrame:
    """List the pictures of a folder, or zip file, with a folder per person.

    Args:
        source: ``people/lena/1.jpg`` shows lena. Relative to where Python runs or to this project.
        min_pictures: People with fewer are left out (a same pair takes two).

    Returns:
        A table with ``identity`` and ``picture``, in the order of their names (2 before 10).

    Raises:
        BadArgument: If there is no such folder or zip file, or no person with that many pictures in it.

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
        raise BadArgument(f"{source} shows nobody in at least {min_pictures} picture(s); {_why_nobody(source, rows)}")
    return people


def _why_nobody(source: Path, rows: list) -> str:
    """What may be wrong with a folder in which nobody has enough pictures."""
    if rows:
        most = pd.Series([name for name, _ in rows]).value_counts()
        return f"the most that anybody has is {most.max()}, {most.idxmax()}"
    if source.is_dir() and any(_is_picture(file) for file in source.iterdir()):
        return f"pictures lie directly in it: give the folder above, {source.resolve().parent}"
    return "expected a folder per person, with pictures"


def fetch_lfw(min_pictures: int = 1, data_home: str | os.PathLike | None = None, download: bool = True) -> pd.DataFrame:
    """List the people of Labeled Faces in the Wild, the usual negatives; scikit-learn fetches them once (233 MB).

    Args:
        min_pictures: People with fewer are left out.
        data_home: Where scikit-learn keeps its data sets; by default where it always does.
        download: False to take only what is there.

    Returns:
        A table of ``find_people``: 250×250 photographs, the named person in the middle, not aligned.

    Raises:
        BadArgument: If they are not there and can't be fetched.

    Source: Huang, Ramesh, Berg, Learned-Miller, "Labeled Faces in the Wild", 2007.
    """
    from sklearn import datasets

    home = Path(datasets.get_data_home(data_home)) / "lfw_home"
    try:
        datasets.fetch_lfw_pairs(data_home=data_home, download_if_missing=download)
    except OSError as error:
        raise BadArgument(f"LFW is not in {home} and can't be fetched: {error}") from error
    return find_people(home / "lfw_funneled", min_pictures)


def _files_of(source: Path) -> list[Path]:
    """The files in the folders directly below a folder or zip file."""
    if source.is_dir():
        return [file for folder in source.iterdir() if folder.is_dir() for file in folder.iterdir() if file.is_file()]
    if source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            return [source / name for name in archive.namelist() if name.count("/") == 1 and not name.endswith("/")]
    raise BadArgument(f"{source} is no folder and no zip file")


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURE_ENDINGS and not file.name.startswith(".")


def _natural(path: str) -> list[str | int]:
    """A key that sorts p2 before p10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


@lru_cache(maxsize=4)
def _archive(path: str, changed: float) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """Open a picture of a table, in a folder or in a zip file: (H, W, 3) uint8 RGB.

    Raises:
        UnreadableImage: If it can't be opened.
    """
    path = Path(path)
    archive = next((parent for parent in path.parents if parent.suffix == ".zip" and parent.is_file()), None)
    if archive is None:
        return load_image(path)
    try:
        data = _archive(str(archive), archive.stat().st_mtime).read(path.relative_to(archive).as_posix())
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise UnreadableImage(f"{path} can't be read: {error}") from error
    try:
        return load_image(data)
    except UnreadableImage as error:
        raise UnreadableImage(f"{path}: {error}") from error


def split_by_identity(
    people: pd.DataFrame, shares: Sequence[float | int] = (0.6, 0.2, 0.2), seed: int = 0
) -> tuple[pd.DataFrame, ...]:
    """Divide people, not pictures: nobody is in two parts, so what a network learns it can't just remember.

    Args:
        people: A table of ``find_people``.
        shares: Shares of the people that add up to 1, or numbers of people (ints).
        seed: Who goes where.

    Returns:
        A table per share.

    Raises:
        BadArgument: If the shares make no sense, or a part would be empty.

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
    """Divide each person's pictures in their order: the first ones to learn from, later ones to test.

    For the one-person job, where the same person is learned and tested. In order and not at random, since
    neighbouring pictures (of a video, say) are nearly copies of each other.

    Args:
        people: A table of ``find_people``.
        shares: Shares of each person's pictures that add up to 1, or numbers of pictures (ints).

    Returns:
        A table per share.

    Raises:
        BadArgument: If the shares make no sense, or somebody has too few pictures for every part to get one.
    """
    parts: list[list[pd.DataFrame]] = [[] for _ in shares]
    for identity, pictures in people.groupby("identity", sort=False):
        counts = _counts(shares, len(pictures), f"{identity}'s pictures")
        ends = np.cumsum(counts)
        for part, count, end in zip(parts, counts, ends, strict=True):
            part.append(pictures.iloc[end - count : end])
    return tuple(pd.concat(part).reset_index(drop=True) for part in parts)


def _counts(shares: Sequence[float | int], total: int, of: str = "people") -> list[int]:
    """Shares of a total, or numbers, as numbers of at least 1 that don't exceed the total."""
    if all(isinstance(share, int | np.integer) for share in shares):
        counts = [int(share) for share in shares]
    elif abs(sum(shares) - 1) < 1e-6:
        ends = np.round(np.cumsum([0, *shares]) * total).astype(int)
        counts = np.diff(ends).tolist()
    else:
        raise BadArgument(f"shares {tuple(shares)}: they must add up to 1, or be numbers")
    if min(counts, default=0) < 1 or sum(counts) > total:
        raise BadArgument(f"{total} {of} can't be divided into {tuple(shares)}: a part would be empty")
    return counts


def _digest(picture: str) -> str:
    return hashlib.sha256(read_picture(picture).tobytes()).hexdigest()


def drop_copies(people: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take out pictures that are there twice, byte by byte: all of them if under two names, else all but the first.

    Real collections hold such: a photo of two people, filed under both, shows the same face under two names.

    Args:
        people: A table of ``find_people``.

    Returns:
        The people without them, and the table of what was taken out.
    """
    digests = people.picture.map(_digest)
    names = people.identity.groupby(digests).transform("nunique")
    out = (names > 1) | digests.duplicated()
    return people[~out].reset_index(drop=True), people[out].reset_index(drop=True)


def check_disjoint(*parts: pd.DataFrame) -> None:
    """Make sure that no person and no picture, by its bytes, is in two parts.

    Raises:
        BadArgument: If one is; it is named.
    """
    owner: dict[str, int] = {}
    for number, part in enumerate(parts):
        keys = {f"the person {name}": name for name in part.identity.unique()}
        keys |= {f"the picture {picture}": _digest(picture) for picture in part.picture}
        for label, key in keys.items():
            if owner.setdefault(key, number) != number:
                raise BadArgument(f"{label} is in part {owner[key]} and in part {number}")
