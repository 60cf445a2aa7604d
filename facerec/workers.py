"""Enrol very many photographs on several machines: Dask hands out people, its workers encode and write them.

    pictures ──people, some at a time──► Dask's scheduler ──► worker ──► one database
                                                          └─► worker ──► (http://host:19530)

Every person is written in one change that replaces what is there. So a person is known once, however often a task is
done: Dask gives the tasks of a worker that died to another one, and the same call goes on after an interruption.

An extra: ``pip install "face-recognition-course[scale]"``. Source: Rocklin, "Dask: Parallel Computation with Blocked
algorithms and Task Scheduling", 2015.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import groupby
from typing import TYPE_CHECKING

import pandas as pd
from tqdm.auto import tqdm

from facerec._light import open_light
from facerec.database import FaceDatabase
from facerec.enrol import Pictures, PoorPortrait, Portrait, enrol_portraits, to_enrol
from facerec.errors import BadArgument, FaceError

if TYPE_CHECKING:
    import keras

    from facerec._light import LightNetwork

#: Pictures in a task: it takes a second or two, so little is done again when a worker dies.
PICTURES = 64

#: Seconds to wait for a scheduler's answer.
PATIENCE = 20

#: What to do with people who are in the database already. Adding to their pictures could happen twice.
CONFLICTS = ("skip", "replace", "refuse")


def enrol_on_workers(
    found: Pictures,
    network: str,
    database: FaceDatabase,
    scheduler: str,
    on_conflict: str = "skip",
    progress: bool = True,
) -> pd.DataFrame:
    """Encode the pictures that were found, and add their people to a database, with the workers of a Dask scheduler.

    Network, database and pictures are named by paths and addresses, which must mean the same on every machine.

    Args:
        found: Of ``find_portraits``.
        network: The folder of the network.
        database: One on a Milvus server; or, where all workers are on one machine, one in a file.
        scheduler: The address of the scheduler, such as ``"tcp://host:8786"``.
        on_conflict: One of :data:`CONFLICTS`, for people who are in the database already.
        progress: False for no progress bar.

    Returns:
        A row (``file``, ``reason``) for every file that could not be used.

    Raises:
        BadArgument: If Dask is not installed, the database is in memory, or a person is known and ``on_conflict`` is
            "refuse".
        OtherNetwork: If the database holds encodings of another network.
        FaceError: If no scheduler answers, or a worker can't go on.
    """
    if on_conflict not in CONFLICTS:
        raise BadArgument(f"on_conflict={on_conflict!r}: one of {', '.join(map(repr, CONFLICTS))} with workers")
    if database.where == ":memory:":
        raise BadArgument("database is in memory, where no other process finds it: a file or a server is needed")
    portraits, unused = to_enrol(found.portraits, database, on_conflict), list(found.unusable)
    where = database.where if "://" in database.where else os.path.abspath(database.where)
    task = partial(enrol_here, network=network, database=where)
    with _client(scheduler) as client, tqdm(total=len(portraits), desc="encoding", disable=not progress) as bar:
        from distributed import as_completed

        if portraits and not client.nthreads():
            bar.write(f"{scheduler} has no workers yet: start some with dask worker {scheduler}", file=sys.stderr)
        batches = {client.submit(task, batch, pure=False): batch for batch in batches_of(portraits)}
        for done, result in as_completed(batches, with_results=True, raise_errors=False):
            batch = batches.pop(done)
            rows, notes = result if done.status == "finished" else _failed(done.exception(), batch)
            unused += rows
            for note in notes:
                warnings.warn(note, PoorPortrait, stacklevel=2)
            bar.update(len(batch))
    return pd.DataFrame(sorted(unused), columns=["file", "reason"])


def batches_of(portraits: Sequence[Portrait]) -> Iterator[list[Portrait]]:
    """Portraits, sorted by person, in tasks of about :data:`PICTURES`; no person is in two."""
    batch: list[Portrait] = []
    for _, pictures in groupby(portraits, key=lambda portrait: portrait.identity):
        batch += (picture._replace(path=picture.path.absolute()) for picture in pictures)
        if len(batch) >= PICTURES:
            yield batch
            batch = []
    if batch:
        yield batch


def enrol_here(portraits: Sequence[Portrait], network: str, database: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Do a task, on a worker: encode people's pictures, and write each person in place of what is known of them.

    Args:
        portraits: Those of one person stand together.
        network: The folder of the network.
        database: The path or address of the database.

    Returns:
        rows: (file, reason) of the pictures that were not used.
        notes: What ``PoorPortrait`` warned of.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PoorPortrait)
        rows = enrol_portraits(portraits, *_opened(network, database), replace=True, progress=False)
    return rows, [str(each.message) for each in caught if issubclass(each.category, PoorPortrait)]


@cache
def _opened(network: str, database: str) -> tuple[keras.Model | LightNetwork, FaceDatabase]:
    """The network and the database of a worker, which stay open for its next tasks."""
    model = open_light(network)
    if model is None:
        from facerec.networks import load_facenet

        model = load_facenet(network)
    return model, FaceDatabase(database, model)


def _client(scheduler: str):
    """A client of a Dask scheduler.

    Raises:
        BadArgument: If Dask is not installed.
        FaceError: If no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise BadArgument(f'Dask is needed: pip install "face-recognition-course[scale]" ({error})') from error
    try:
        return Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise FaceError(f"no Dask scheduler answers at {scheduler}: is dask scheduler running? ({error})") from error


def _failed(error: BaseException, batch: Sequence[Portrait]) -> tuple[list[tuple[str, str]], list[str]]:
    """The rows of pictures at which worker after worker died; what else went wrong is raised."""
    from distributed import KilledWorker

    if not isinstance(error, KilledWorker):
        raise error
    reason = "the workers that were given it died, one after the other"
    return [(portrait.file, reason) for portrait in batch], []
