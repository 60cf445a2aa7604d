"""TODO facerec.enrol."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import MutableMapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.database import FaceDatabase
from facerec.detection import Detection
from facerec.encoding import find_faces, photos_to_encodings
from facerec.errors import BadArgument, FaceError
from facerec.gallery import check_network
from facerec.quality import face_quality

with quietly():
    import keras


#: Files of ``images/`` that are no portraits: what the camera saw, the group photo, and the lookalike.
NO_PORTRAIT = ("camera_", "video_call", "lookalike")


#: Files that nobody takes for a portrait; any other that can't be opened becomes a row of the report.
NO_PICTURE = (".md", ".txt", ".json", ".csv", ".ini", ".db")


class PoorPortrait(UserWarning):
    """A portrait can be used, but is likely to fail at the door; ``build_database`` warns of it and says why."""


def build_database(
    folder: str | os.PathLike, model: keras.Model, progress: bool = True, into: FaceDatabase | None = None
) -> tuple[MutableMapping[str, np.ndarray], pd.DataFrame]:
    """Encode a folder of portraits: ``lena.jpg`` becomes the identity ``lena``.

    Every file counts as a portrait but notes (``.md``, ``.json`` and the like), hidden files, and those whose name
    begins with ``camera_``, ``video_call`` or ``lookalike``. Of several faces in a portrait the largest counts. A poor
    portrait is used, with a warning that says what is wrong and what to do (``PoorPortrait``; ``face_quality`` judges).

    Args:
        folder: Where the portraits are.
        model: A network of ``load_facenet``.
        progress: False for no progress bar.
        into: A ``FaceDatabase`` to fill, with encodings and photos. Whoever is in it already stays as they are, and
            their portraits are not looked at: after an interruption the same call goes on where it was.

    Returns:
        database: Identity → encoding (128,), by name: a dict, or ``into``.
        unusable: A table with a row (``file``, ``reason``) for every portrait that could not be used.

    Raises:
        BadArgument: If the folder does not exist, or ``into`` is no ``FaceDatabase``.
        OtherNetwork: If ``into`` holds encodings of another network.
    """
    files, database = _portraits_in(Path(folder)), {} if into is None else into
    if into is not None:
        _check_lasting(into, model)
        files = [file for file in files if _name_of(file) not in into]
    unusable: list[tuple[str, str]] = []
    with tqdm(total=len(files), desc="encoding", unit="photo", disable=not progress) as bar:
        for start in range(0, len(files), 32):
            batch = files[start : start + 32]
            unusable += _enrol(batch, model, database)
            bar.update(len(batch))
    return database, pd.DataFrame(unusable, columns=["file", "reason"])


def _enrol(files: Sequence[Path], model: keras.Model, database: MutableMapping) -> list[tuple[str, str]]:
    """Put a few portraits into a database; those that could not be used, and why."""
    photos: dict[int, np.ndarray] = {}

    def judge(number: int, photo: np.ndarray, detection: Detection) -> None:
        photos[number] = photo
        if hints := face_quality(photo, detection).hints:
            warnings.warn(f"{files[number].name} is used, but {'; '.join(hints)}", PoorPortrait, stacklevel=2)

    encodings, problems = photos_to_encodings(files, model, seen=judge)
    unusable = []
    for i, file in enumerate(files):
        identity = _name_of(file)
        if i in problems:
            unusable.append((file.name, str(problems[i])))
        elif identity in database:
            unusable.append((file.name, f"there is another portrait of {identity}"))
        else:
            try:
                _know(database, identity, encodings[i], photos[i])
            except BadArgument as error:  # a file can have a name that nobody has
                unusable.append((file.name, str(error)))
    return unusable


def _know(database: MutableMapping, identity: str, encoding: np.ndarray, photo: np.ndarray) -> None:
    if isinstance(database, FaceDatabase):
        database.add(identity, encoding, photo)
    else:
        database[identity] = encoding


def _name_of(portrait: Path) -> str:
    """Who is on a portrait; é is one letter, whichever system wrote it."""
    return unicodedata.normalize("NFC", portrait.stem)


def _check_lasting(database: FaceDatabase, model: keras.Model) -> None:
    if not isinstance(database, FaceDatabase):
        raise BadArgument(f"into must be a FaceDatabase; it is a {type(database).__name__}")
    check_network(database, model)
    if database.network is None:
        database.label(model)


def _portraits_in(folder: Path) -> list[Path]:
    """The files of a folder that count as portraits."""
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder")
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.suffix.lower() not in NO_PICTURE]
    return [f for f in files if not f.name.startswith(".") and not f.name.casefold().startswith(NO_PORTRAIT)]


def judge_portraits(folder: str | os.PathLike, progress: bool = True) -> pd.DataFrame:
    """Which portraits will make trouble at the door, and what to do about it: before they are enrolled.

    Args:
        folder: Where the portraits are, as for ``build_database``.
        progress: False for no progress bar.

    Returns:
        A row per portrait, the worst first: ``file``, ``score`` (0..1, of ``face_quality``; 0 for one that can't be
        used at all) and ``hints``, what is wrong and what to do, nothing if it is good.

    Raises:
        BadArgument: If the folder does not exist.
    """
    files, rows = _portraits_in(Path(folder)), []
    for start in tqdm(range(0, len(files), 32), desc="judging", unit="batch", disable=not progress):
        batch = files[start : start + 32]
        for file, found in zip(batch, find_faces(batch), strict=True):
            if isinstance(found, FaceError):
                rows.append((file.name, 0.0, str(found)))
            else:
                quality = face_quality(*found)
                rows.append((file.name, quality.score, "; ".join(quality.hints)))
    table = pd.DataFrame(rows, columns=["file", "score", "hints"])
    return table.sort_values("score", kind="stable", ignore_index=True)
