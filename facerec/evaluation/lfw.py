"""TODO facerec.evaluation.lfw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facerec.errors import BadArgument


@dataclass(frozen=True)
class Pairs:
    """A list of pairs: the pictures' file names (n, 2), the people (n, 2), and whether they are one person."""

    files: np.ndarray
    people: np.ndarray
    same: np.ndarray


def read_pairs(path: Path) -> Pairs:
    """Read a pairs file: ``name i j`` is a same pair, ``name i other j`` a different one; counts are skipped."""
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
                raise BadArgument(f"{path.name}, line {number}: {line!r} is no pair")
        people.append((a, b))
        files.append((f"{a}_{int(i):04d}.jpg", f"{b}_{int(j):04d}.jpg"))
    if not files:
        raise BadArgument(f"{path.name} lists no pairs")
    people = np.array(people)
    return Pairs(np.array(files), people, people[:, 0] == people[:, 1])


def find_pictures(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """File name → path, for every wanted picture below the folder."""
    found = {path.name: path for path in folder.rglob("*.jpg") if path.name in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise BadArgument(f"{len(missing)} pictures are missing below {folder}, the first is {missing[0]}")
    return found


def distances_of(pairs: Pairs, encodings: dict[str, np.ndarray]) -> np.ndarray:
    """The distance of each pair (n,); NaN where a picture has no encoding."""
    first, second = (np.stack([encodings[file] for file in pairs.files[:, side]]) for side in (0, 1))
    return np.linalg.norm(first - second, axis=1)
