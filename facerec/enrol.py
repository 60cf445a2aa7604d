"""Pictures of people, as they lie in a folder or a zip file, become a database.

people/                                    ──build_database──► {"lena": encoding, "otto": encoding, …}
lena.jpg            one portrait of lena                      and a row for every file that could not be used
otto/1.jpg, 2.heic  several of otto
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from facerec._files import as_text
from facerec.database import FaceDatabase, names_alike, told_apart
from facerec.detection import upright
from facerec.encoding import find_faces, photos_to_encodings
from facerec.errors import BadArgument, FaceError, kind_of
from facerec.gallery import enrol, is_lasting, prepare_to_enrol
from facerec.network_info import check_model, info_of
from facerec.portraits import NO_PORTRAIT, Pictures, Portrait, about_names, find_portraits, listed
from facerec.quality import face_quality

if TYPE_CHECKING:
    import keras

#: Encodings that are nearer than this are of the same picture, or of a copy.
SAME = 1e-3

#: Of so many pictures of a person, half must agree.
SEVERAL = 3


class PoorPortrait(UserWarning):
    """A picture that is used but likely to fail at the door, or a name that may be another's; the text says why.

    Attributes:
        about: The files or the names.
    """

    def __init__(self, text: str, about: Sequence[str]):
        super().__init__(text, about)
        self.about = about

    def __str__(self) -> str:
        return self.args[0]


def build_database(
    folder: str | os.PathLike,
    model: keras.Model,
    progress: bool = True,
    into: FaceDatabase | None = None,
    skip: Sequence[str] = NO_PORTRAIT,
    numbered: bool = False,
) -> tuple[MutableMapping[str, np.ndarray], pd.DataFrame]:
    """Encode pictures of people: ``lena.jpg``, and every picture in ``lena/``, becomes the identity ``lena``.

    Several pictures of a person become their mean encoding; a ``FaceDatabase`` keeps each (see ``represent``). If a
    picture shows several faces, the largest counts. A poor picture is used, with a ``PoorPortrait`` warning that says
    what is wrong and what to do about it; one that shows a different person from the others is not.

    Args:
        folder: A folder or a zip file: portraits, a folder of pictures per person, or both.
        model: A network of ``load_facenet``.
        progress: False for no progress bar.
        into: A ``FaceDatabase`` to fill, with encodings and photos. People who are in it stay as they are, and their
            pictures are skipped: after an interruption the same call continues.
        skip: Beginnings of the names of files that are left out.
        numbered: True if ``lena_2.jpg`` and ``lena (3).jpg`` show lena, too.

    Returns:
        database: Identity → encoding (128,): a dict sorted by name, or ``into``.
        unusable: A table with a row (``file``, ``reason``) for every file that could not be used.

    Raises:
        BadArgument: If the folder does not exist, or ``into`` is not a ``FaceDatabase``.
        OtherNetwork: If ``into`` holds encodings of another network.
    """
    check_model(model)
    if into is not None and not is_lasting(into):
        raise BadArgument(f"into must be a FaceDatabase; it is {kind_of(into)}")
    found, database = find_portraits(folder, skip, numbered), {} if into is None else into
    if progress:
        for note in about_names(found):
            tqdm.write(note, file=sys.stderr)
    return database, enrol_pictures(found, model, database, progress)


#: What to do with pictures of a person who is in the database: leave them out, add them to the person's others, put
#: them in place of the others, or refuse all pictures.
CONFLICTS = ("skip", "add", "replace", "refuse")


def enrol_pictures(
    found: Pictures,
    model: keras.Model,
    database: MutableMapping[str, np.ndarray],
    progress: bool = True,
    on_conflict: str = "skip",
) -> pd.DataFrame:
    """Encode the pictures that were found, and add their people to a database.

    Args:
        found: Of ``find_portraits``.
        model: A network of ``load_facenet``.
        database: A dict, or a ``FaceDatabase``, which keeps the photos, too.
        progress: False for no progress bar.
        on_conflict: One of :data:`CONFLICTS`, for people who are in the database already; "add" needs a
            ``FaceDatabase``. A person is replaced only if one of the new pictures can be used.

    Returns:
        A row (``file``, ``reason``) for every file that could not be used.

    Raises:
        BadArgument: If a person is known and ``on_conflict`` is "refuse", or it is not one of the four.
        OtherNetwork: If the database holds encodings of another network.
    """
    prepare_to_enrol(database, model)
    portraits = to_enrol(found.portraits, database, on_conflict)
    unused, notes = enrol_portraits(portraits, model, database, on_conflict, progress)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return pd.DataFrame(sorted([*found.unusable, *unused]), columns=["file", "reason"])


def to_enrol(portraits: Sequence[Portrait], database: Mapping[str, np.ndarray], on_conflict: str) -> list[Portrait]:
    """The portraits that are to be encoded, as ``on_conflict`` says; warns of names that look alike.

    Raises:
        BadArgument: If a person is known and ``on_conflict`` is "refuse", it is "add" for a dict, or none of the four.
    """
    if on_conflict not in CONFLICTS:
        raise BadArgument(f"on_conflict={on_conflict!r}: one of {', '.join(map(repr, CONFLICTS))}")
    if on_conflict == "add" and not is_lasting(database):
        raise BadArgument("on_conflict='add': a dict keeps one encoding of a person; a FaceDatabase is needed")
    names = {portrait.identity for portrait in portraits}
    known = known_among(names, database)
    if known and on_conflict == "refuse":
        raise BadArgument(f"no one is added, as the database knows {listed(sorted(known), 20)}")
    _warn_of_names_alike(names - known, names, database)
    return [portrait for portrait in portraits if on_conflict != "skip" or portrait.identity not in known]


def known_among(names: Collection[str], database: Mapping[str, np.ndarray]) -> set[str]:
    """Those of some names that a database knows; for many names, by reading all of its own once."""
    few = len(names) <= max(100, len(database) // 1000)
    return {name for name in names if name in database} if few else set(names).intersection(database)


def enrol_portraits(
    portraits: Sequence[Portrait],
    model: keras.Model,
    database: MutableMapping[str, np.ndarray],
    on_conflict: str = "skip",
    progress: bool = True,
) -> tuple[list[tuple[str, str]], list[PoorPortrait]]:
    """Encode portraits and add their people, each in one change: after a kill, a person is there whole or not at all.

    Args:
        portraits: Those of one person stand together.
        model: A network of ``load_facenet``.
        database: A dict, or a ``FaceDatabase`` of this network.
        on_conflict: "replace" if they take the place of what is known of a person; "add" if they join it, where they
            agree with it; with any other value, none of them is known yet.
        progress: False for no progress bar.

    Returns:
        unused: A row (file, reason) for each picture that was not used.
        notes: What to warn of: pictures that were used, but are likely to fail at the door.
    """
    unused: list[tuple[str, str]] = []
    notes: list[PoorPortrait] = []
    encoded = _encode(portraits, model, unused, progress)
    for identity, pictures in groupby(encoded, key=lambda picture: picture.portrait.identity):
        rows, hints = _enrol_person(database, identity, list(pictures), info_of(model).threshold, on_conflict)
        unused += rows  # the encoding adds to it, too
        notes += hints
    return unused, notes


def _warn_of_names_alike(new: set[str], names: set[str], database: Mapping[str, np.ndarray]) -> None:
    """Warn of new people whose names are ``names_alike`` to others: they may be one person."""
    for group in names_alike(new, (name for name in (*names, *database) if isinstance(name, str)) if new else ()):
        text = f"{' and '.join(told_apart(group))} are different people here; if they are one, give them one name"
        warnings.warn(PoorPortrait(text, group), stacklevel=4)


class Encoded(NamedTuple):
    """A portrait with a face: its photo (H, W, 3), its encoding (D,), and what is not good about it."""

    portrait: Portrait
    photo: np.ndarray
    encoding: np.ndarray
    hints: list[str]


def _encode(
    portraits: Sequence[Portrait], model: keras.Model, unusable: list[tuple[str, str]], progress: bool
) -> Iterator[Encoded]:
    """Encode portraits, a few at a time; those that can't be used become rows of ``unusable``."""
    with tqdm(total=len(portraits), desc="encoding", unit="photo", disable=not progress) as bar:
        for start in range(0, len(portraits), 32):
            batch, seen = portraits[start : start + 32], {}
            paths = [portrait.path for portrait in batch]
            encodings, problems = photos_to_encodings(paths, model, seen=seen.__setitem__)
            unusable += [(batch[i].file, _reason(batch[i], problem)) for i, problem in problems.items()]
            for i, found in seen.items():
                hints = list(face_quality(found.photo, found.detection).hints)
                if found.detection["turn"]:
                    side = "is upside down" if found.detection["turn"] == 180 else "lies on its side"
                    hints.append(f"it {side}: it was turned")
                if found.faces > 1:
                    hints.append(f"it shows {found.faces} faces: the largest was taken")
                yield Encoded(batch[i], upright(found.photo, found.detection), encodings[i], hints)
            bar.update(len(batch))


def _reason(portrait: Portrait, problem: FaceError) -> str:
    """Why a portrait can't be used, with its file as the report calls it."""
    return as_text(str(problem).replace(str(portrait.path), portrait.file))


def _enrol_person(
    database: MutableMapping, identity: str, pictures: list[Encoded], threshold: float, on_conflict: str
) -> tuple[list[tuple[str, str]], list[PoorPortrait]]:
    """Enrol a person by all pictures that agree, in place of earlier ones or beside them.

    Returns:
        unused: A row (file, reason) for each picture that was not used.
        notes: What is not good about those that were.
    """
    alone = [picture for picture in pictures if picture.portrait.alone]
    unused = [(picture.portrait.file, f"there is another portrait of {identity}") for picture in alone[1:]]
    pictures = [picture for picture in pictures if not picture.portrait.alone or picture is alone[0]]
    known = database.encodings(identity) if on_conflict == "add" and identity in database else ()
    copies = [picture for picture in pictures if _is_copy(picture.encoding, known)]
    unused += [(picture.portrait.file, "the database has it already") for picture in copies]
    pictures = [picture for picture in pictures if not _is_copy(picture.encoding, known)]
    groups = _groups(np.stack([*known, *(picture.encoding for picture in pictures)]), threshold)
    agree = _agreeing(groups, len(known))
    why = f"it shows a different person from the {'known' if len(known) else 'other'} pictures of {identity}"
    if not agree.any() and not len(known):
        why = f"the pictures of {identity} show several people; if the files bear their names, enrol that folder itself"
    unused += [(each.portrait.file, why) for each, agrees in zip(pictures, agree, strict=True) if not agrees]
    used = [picture for picture, agrees in zip(pictures, agree, strict=True) if agrees]
    if not used:
        return unused, []
    files = [picture.portrait.file for picture in used]
    notes = [
        PoorPortrait(f"{file} is used, but {'; '.join(each.hints)}", [file])
        for file, each in zip(files, used, strict=True)
        if each.hints
    ]
    if not len(known) and len(set(groups[agree])) > 1:
        text = f"{listed(files)} are used, but they look like different people: do they all show {identity}?"
        notes.append(PoorPortrait(text, files))
    encodings = np.stack([picture.encoding for picture in used])
    try:
        enrol(database, identity, encodings, [picture.photo for picture in used], on_conflict)
    except BadArgument as error:  # the file's name is not one for a person, or another process has added the person
        unused += [(picture.portrait.file, str(error)) for picture in used]
    return unused, notes


def _is_copy(encoding: np.ndarray, known: Sequence[np.ndarray]) -> bool:
    """Whether one of the known encodings was made from the same picture."""
    return any(np.linalg.norm(each - encoding) < SAME for each in known)


def _groups(encodings: np.ndarray, threshold: float) -> np.ndarray:
    """Numbers of the groups, (n,), into which near ones link a person's encodings (n, D).

    This is single linkage: one picture between two others holds them together. ``facerec.clusters``, which does not
    know who is shown, has to be stricter.
    """
    near = np.linalg.norm(encodings[:, None] - encodings[None], axis=2) < threshold  # (n, n)
    return connected_components(near, directed=False)[1]


def _agreeing(groups: np.ndarray, known: int = 0) -> np.ndarray:
    """Which of a person's new pictures, (n,) bool, agree with those that are known, or with most others.

    Args:
        groups: Numbers of the groups of all pictures, those that are known first, (known + n,).
        known: How many are known.

    Example:
        >>> _agreeing(np.array([0, 0, 1])).tolist()
        [True, True, False]
    """
    if known:
        return np.isin(groups[known:], groups[:known])
    sizes = np.bincount(groups)
    if len(groups) >= SEVERAL and 2 * sizes.max() < len(groups):
        return np.zeros(len(groups), bool)
    return sizes[groups] == sizes.max()  # all of them if there are two halves


def judge_portraits(folder: str | os.PathLike, progress: bool = True) -> pd.DataFrame:
    """List the portraits that will cause trouble at the door, before anyone is enrolled.

    Args:
        folder: The folder or zip file, as for ``build_database``.
        progress: False for no progress bar.

    Returns:
        A row per picture, the worst first: ``file``, ``score`` (0..1, of ``face_quality``; 0 if it can't be used at
        all) and ``hints`` (what is wrong and what to do; empty for a good one).

    Raises:
        BadArgument: If the folder does not exist.
    """
    found = find_portraits(folder)
    rows = [(file, 0.0, reason) for file, reason in found.unusable]
    for start in tqdm(range(0, len(found.portraits), 32), desc="judging", unit="batch", disable=not progress):
        batch = found.portraits[start : start + 32]
        for portrait, face in zip(batch, find_faces([portrait.path for portrait in batch], count=False), strict=True):
            if isinstance(face, FaceError):
                rows.append((portrait.file, 0.0, _reason(portrait, face)))
            else:
                quality = face_quality(face.photo, face.detection)
                rows.append((portrait.file, quality.score, "; ".join(quality.hints)))
    table = pd.DataFrame(rows, columns=["file", "score", "hints"])
    return table.sort_values("score", kind="stable", ignore_index=True)
