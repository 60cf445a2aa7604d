"""The network and the people that a command works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facerec._files import in_project
from facerec.command.console import note, shows_progress
from facerec.command.options import EXAMPLES, PEOPLE
from facerec.errors import BadArgument, EmptyDatabase

if TYPE_CHECKING:
    import keras
    import numpy as np

    from facerec._light import LightNetwork
    from facerec.database import FaceDatabase


#: Up to so many photos, encoding face by face takes less time than compiling the network first.
FEW = 20


def load_network(path: str, photos: int | None = None) -> keras.Model | LightNetwork:
    """Load the network of ``--network``; Keras is imported here, unless ONNX Runtime does without it.

    Args:
        path: As in ``load_facenet``.
        photos: How many photos the command is about, if it knows; up to :data:`FEW` the network is not compiled.
    """
    from facerec._light import open_light

    light = open_light(path)
    if light:
        return light
    from facerec.networks import load_facenet

    model = load_facenet(path)
    if photos is not None and photos <= FEW and not hasattr(model, "facenet_call"):
        model.facenet_call = partial(model, training=False)
    return model


def threshold_of(model: keras.Model, threshold: float | None, people: int | None = None) -> float:
    """The distance that decides: the one of ``--threshold``, or the network's own for so many people.

    Args:
        model: The network.
        threshold: What was given, or None.
        people: With how many people each face is compared; None for two pictures.
    """
    from facerec.network_info import threshold_for

    return threshold_for(model, threshold, people)


def is_address(database: str) -> bool:
    """Whether a database is a server's, or another that is no file of SQLite."""
    return "://" in database or database.startswith("milvus:")


def known_or_examples(database: str | None) -> str:
    """The people to compare with: what was given, or the database here, or the example people.

    Raises:
        BadArgument: If what was given does not exist.
    """
    if database is None and Path(PEOPLE).exists():
        return PEOPLE
    if database is None:
        note(f"no {PEOPLE} here: comparing with the example people of {EXAMPLES}/; facerec enrol adds your own")
        return EXAMPLES
    if not is_address(database) and not in_project(database).exists():
        raise BadArgument(f"--database {database} does not exist: give a folder of portraits, or a FaceDatabase's file")
    return database


def open_database(database: str | Path, model: keras.Model) -> Mapping[str, np.ndarray]:
    """The people of ``--database``: a folder of portraits is encoded, a ``FaceDatabase`` is opened and stays open.

    Args:
        database: A path relative to the working directory or the project, or an address.
        model: The network that makes, or made, the encodings.

    Raises:
        BadArgument: If it does not exist, or another network made the encodings.
        EmptyDatabase: If no one is in it.
    """
    database = known_or_examples(str(database))
    if is_address(database) or in_project(database).is_file():
        lasting = _open(database if is_address(database) else str(in_project(database)), model)
        if not lasting:
            lasting.close()
            raise EmptyDatabase(f"--database {database} is empty")
        return lasting  # stays open: people who are added meanwhile are recognised at once
    return _encoded(in_project(database), model)


def _encoded(folder: Path, model: keras.Model) -> Mapping[str, np.ndarray]:
    """The people of a folder of portraits."""
    from facerec.enrol import enrol_pictures
    from facerec.portraits import find_portraits

    people: dict[str, np.ndarray] = {}
    unusable = enrol_pictures(find_portraits(folder), model, people, shows_progress())
    for file, reason in unusable.itertuples(index=False):
        note(f"not used: {file}: {reason}")
    if not people:
        raise EmptyDatabase(f"--database {folder} has no portrait that can be used")
    return people


@contextmanager
def lasting(database: str, model: keras.Model | None = None, make: bool = False) -> Iterator[FaceDatabase]:
    """A ``FaceDatabase`` to change, closed afterwards.

    Args:
        database: Its path or address.
        model: The network that makes its encodings; None if none are made.
        make: Whether it is made if it is missing; one that is still empty afterwards is removed again.

    Raises:
        BadArgument: If it is missing and should not be made, is a folder, or another network made its encodings.
    """
    path = Path(database).expanduser()
    if not is_address(database) and path.is_dir():
        raise BadArgument(f"--database {database} is a folder; the file of a database is needed, such as {PEOPLE}")
    if not make and not is_address(database) and not path.exists():
        raise BadArgument(f"--database {database} does not exist; facerec enrol makes it")
    new = not is_address(database) and not path.exists()
    opened = _open(database, model)
    try:
        yield opened
    finally:
        unused = new and not opened
        opened.close()
        if unused:
            path.unlink(missing_ok=True)


def _open(database: str, model: keras.Model | None) -> FaceDatabase:
    """A database, with the option to name in the error for another network."""
    from facerec.database import FaceDatabase, OtherNetwork

    try:
        return FaceDatabase(database, network=model)
    except OtherNetwork as error:
        raise BadArgument(f"{error} (--network names another network)") from error
