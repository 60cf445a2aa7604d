"""The lists of pairs of Labeled Faces in the Wild (LFW), and the distances of their pairs.

A list names pictures, a pair per line; what follows needs the names only, so a list of your own works as well::

    Ada<tab>1<tab>3             Ada_0001.jpg, Ada_0003.jpg   one person
    Ada<tab>2<tab>Bob<tab>1     Ada_0002.jpg, Bob_0001.jpg   two people
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facerec.errors import BadArgument


@dataclass(frozen=True)
class Pairs:
    """A list of pairs: the pictures' file names (n, 2), their people (n, 2), and whether they show one person (n,)."""

    files: np.ndarray
    people: np.ndarray
    same: np.ndarray


def read_pairs(path: Path) -> Pairs:
    """The pairs of a file: ``name i j`` is a same pair, ``name i other j`` a different one; counts are skipped.

    Raises:
        BadArgument: If the file is missing, lists no pairs, or has a line that is not a pair.
    """
    if not path.is_file():
        raise BadArgument(f"{path.name} is missing in {path.parent}")
    files, people = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match line.split("\t"):
            case [a, i, j] if i.isdigit() and j.isdigit():
                b = a
            case [a, i, b, j] if i.isdigit() and j.isdigit():
                pass
            case _ if number == 1 or not line.strip():
                continue
            case _:
                raise BadArgument(f"{path.name}, line {number}: {line!r} is not a pair")
        people.append((a, b))
        files.append((f"{a}_{int(i):04d}.jpg", f"{b}_{int(j):04d}.jpg"))
    if not files:
        raise BadArgument(f"{path.name} lists no pairs")
    people = np.array(people)
    return Pairs(np.array(files), people, people[:, 0] == people[:, 1])


def person_of(file: str) -> str:
    """The person in a picture, from its file name.

    Example:
        >>> person_of("Ada_Byron_0001.jpg")
        'Ada_Byron'
    """
    return file.rsplit("_", 1)[0]


def find_pictures(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """File name → path, for every wanted picture below the folder.

    Raises:
        BadArgument: If one is missing.
    """
    found = {path.name: path for path in folder.rglob("*.jpg") if path.name in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise BadArgument(f"pictures missing below {folder}: {len(missing)}, the first is {missing[0]}")
    return found


def distances_of(pairs: Pairs, encodings: dict[str, np.ndarray]) -> np.ndarray:
    """The distance of each pair (n,); NaN where a picture has no encoding."""
    first, second = (np.stack([encodings[file] for file in pairs.files[:, side]]) for side in (0, 1))
    return np.linalg.norm(first - second, axis=1)
