"""A folder of portraits becomes a database.

lena.jpg, otto.png, … ──build_database──► {"lena": encoding, "otto": encoding, …}
"""

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
from facerec.gallery import enrol, prepare_to_enrol
from facerec.quality import face_quality

with quietly():
    import keras

#: Files of ``images/`` that are not portraits: what the camera saw, the group photo, and the lookalike.
NO_PORTRAIT = ("camera_", "video_call", "lookalike")

#: Files that are clearly not pictures; any other that can't be opened gets a row in the report.
NO_PICTURE = (".md", ".txt", ".json", ".csv", ".ini", ".db")


class PoorPortrait(UserWarning):
    """A portrait that is used but likely to fail at the door; the message says why."""


def build_database(
    folder: str | os.PathLike, model: keras.Model, progress: bool = True, into: FaceDatabase | None = None
) -> tuple[MutableMapping[str, np.ndarray], pd.DataFrame]:
    """Encode a folder of portraits: ``lena.jpg`` becomes the identity ``lena``.

    Every file counts as a portrait except notes (``.md``, ``.json`` and the like), hidden files, and names that begin
    with ``camera_``, ``video_call`` or ``lookalike``. If a portrait shows several faces, the largest counts. A poor
    portrait is used, with a ``PoorPortrait`` warning that says what is wrong and what to do about it.

    Args:
        folder: The folder of portraits.
        model: A network of ``load_facenet``.
        progress: False for no progress bar.
        into: A ``FaceDatabase`` to fill, with encodings and photos. People who are in it stay as they are, and their
            portraits are skipped: after an interruption the same call continues.

    Returns:
        database: Identity → encoding (128,): a dict sorted by name, or ``into``.
        unusable: A table with a row (``file``, ``reason``) for every portrait that could not be used.

    Raises:
        BadArgument: If the folder does not exist, or ``into`` is not a ``FaceDatabase``.
        OtherNetwork: If ``into`` holds encodings of another network.
    """
    files, database = _portraits_in(Path(folder)), {} if into is None else into
    if into is not None:
        prepare_to_enrol(into, model)
        files = [file for file in files if _name_of(file) not in into]
    unusable: list[tuple[str, str]] = []
    with tqdm(total=len(files), desc="encoding", unit="photo", disable=not progress) as bar:
        for start in range(0, len(files), 32):
            batch = files[start : start + 32]
            unusable += _enrol_batch(batch, model, database)
            bar.update(len(batch))
    return database, pd.DataFrame(unusable, columns=["file", "reason"])


def _enrol_batch(files: Sequence[Path], model: keras.Model, database: MutableMapping) -> list[tuple[str, str]]:
    """Enrol a few portraits; returns a row (file, reason) for each that could not be used."""
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
                enrol(database, identity, encodings[i], photos[i])
            except BadArgument as error:  # the file's name is not a name for a person
                unusable.append((file.name, str(error)))
    return unusable


def _name_of(portrait: Path) -> str:
    """The person on a portrait; é is one letter, whichever system wrote it."""
    return unicodedata.normalize("NFC", portrait.stem)


def _portraits_in(folder: Path) -> list[Path]:
    """The files of a folder that count as portraits."""
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder")
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.suffix.lower() not in NO_PICTURE]
    return [f for f in files if not f.name.startswith(".") and not f.name.casefold().startswith(NO_PORTRAIT)]


def judge_portraits(folder: str | os.PathLike, progress: bool = True) -> pd.DataFrame:
    """List the portraits that will cause trouble at the door, before anyone is enrolled.

    Args:
        folder: The folder of portraits, as for ``build_database``.
        progress: False for no progress bar.

    Returns:
        A row per portrait, the worst first: ``file``, ``score`` (0..1, of ``face_quality``; 0 if it can't be used at
        all) and ``hints`` (what is wrong and what to do; empty for a good one).

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
