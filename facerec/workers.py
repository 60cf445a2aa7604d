"""Enrol very many photographs on several machines: Dask distributes the people, its workers encode and store them.

    pictures ──people, some at a time──► Dask's scheduler ──► worker ──► one database
                                                          └─► worker ──► (http://host:19530)

Every person is written in one change that replaces what is there, even a person that another process has added since
the start. So a person is known once, however often a task is done: Dask gives the tasks of a worker that died to
another one, and the same call goes on after an interruption.

An extra: ``pip install "face-recognition-course[scale]"``. Source: Rocklin, "Dask: Parallel Computation with Blocked
algorithms and Task Scheduling", 2015.
"""

from __future__ import annotations

import socket
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm.auto import tqdm

from facerec._files import ROOT, in_project
from facerec._light import open_light
from facerec.database import FaceDatabase
from facerec.enrol import PoorPortrait, enrol_portraits, to_enrol
from facerec.errors import BadArgument, FaceError
from facerec.portraits import Pictures, Portrait

if TYPE_CHECKING:
    import keras
    from distributed import Client, Future

    from facerec._light import LightNetwork

#: Pictures in a task: it takes a second or two, so little is done again when a worker dies.
PICTURES = 64

#: Tasks for each thread of the workers that the scheduler is given ahead.
AHEAD = 4

#: Seconds to wait for a scheduler's answer.
PATIENCE = 20

#: How often a task that failed is done again: a server may have been starting.
RETRIES = 2

#: What to do with people who are in the database already. Adding to their pictures could happen twice.
CONFLICTS = ("skip", "replace", "refuse")

#: What a task returns: a row (file, reason) for each picture that was not used, and what to warn of.
Answer = tuple[list[tuple[str, str]], list[PoorPortrait]]


def enrol_on_workers(
    found: Pictures,
    network: str,
    database: FaceDatabase,
    scheduler: str,
    on_conflict: str = "skip",
    progress: bool = True,
) -> pd.DataFrame:
    """Encode the pictures that were found, and add their people to a database, with the workers of a Dask scheduler.

    The pictures, and a network that does not come with the project, must have the same path on every machine.

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
        BadArgument: If Dask is not installed, no other process can open the database, or a person is known and
            ``on_conflict`` is "refuse".
        OtherNetwork: If the database holds encodings of another network.
        FaceError: If no scheduler answers or it goes away, or a worker can't do its work. The people who were written
            by then stay: the same call goes on.
    """
    if on_conflict not in CONFLICTS:
        raise BadArgument(f"on_conflict={on_conflict!r}: with workers, one of {', '.join(map(repr, CONFLICTS))}")
    opened = database.opened_elsewhere()
    portraits, unused = to_enrol(found.portraits, database, on_conflict), list(found.unusable)
    if portraits:
        folder = in_project(network).absolute()
        shipped = folder.is_relative_to(ROOT)  # it may lie elsewhere on other machines
        task = partial(enrol_here, network=str(folder.relative_to(ROOT) if shipped else folder), database=opened)
        with _client(scheduler) as client, tqdm(total=len(portraits), unit="photo", disable=not progress) as bar:
            if progress and not client.nthreads():
                bar.write(f"{scheduler} has no workers yet: start some with dask worker {scheduler}", file=sys.stderr)
            for batch, (rows, notes) in _answers(client, task, batches_of(portraits)):
                unused += rows
                for note in notes:
                    warnings.warn(note, stacklevel=2)
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


def enrol_here(portraits: Sequence[Portrait], network: str, database: Mapping[str, Any]) -> Answer:
    """Do one task, on a worker: encode people's pictures, and write each person in place of what is known of them.

    Args:
        portraits: Those of one person stand together.
        network: The folder of the network.
        database: The arguments of ``FaceDatabase``.

    Raises:
        FaceError: If this machine does not have one of the pictures.
    """
    for path in (portrait.path for portrait in portraits):
        if not path.exists() and not any(parent.is_file() for parent in path.parents):  # a zip file may hold it
            raise FaceError(f"{path} is missing on {socket.gethostname()}: every worker needs the pictures")
    model = _loaded(network)
    with FaceDatabase(**database, network=model) as people:
        return enrol_portraits(portraits, model, people, "replace", progress=False)


@lru_cache(maxsize=1)
def _loaded(network: str) -> keras.Model | LightNetwork:
    """The network of a worker, which stays open for its next tasks."""
    if light := open_light(network):
        return light
    from facerec.networks import load_facenet

    return load_facenet(network)


def _client(scheduler: str) -> Client:
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
    except (OSError, ValueError, TypeError) as error:
        raise FaceError(f"no Dask scheduler answers at {scheduler}: is dask scheduler running? ({error})") from error


def _answers(client: Client, task: partial, batches: Iterator[list[Portrait]]) -> Iterator[tuple[list, Answer]]:
    """Each batch with its answer, in the order in which they are done; the scheduler is given a few tasks ahead."""
    from distributed import as_completed

    ahead = AHEAD * max(8, sum(client.nthreads().values()))
    submit = partial(client.submit, task, pure=False, retries=RETRIES)
    waiting = {submit(batch): batch for batch in islice(batches, ahead)}
    done = as_completed(waiting)
    for future in done:
        batch = waiting.pop(future)
        yield batch, _answer(future, batch)
        for following in islice(batches, 1):
            future = submit(following)
            waiting[future] = following
            done.add(future)


def _answer(future: Future, batch: Sequence[Portrait]) -> Answer:
    """What a task returned; pictures on which worker after worker died become rows.

    Raises:
        FaceError: If anything else went wrong.
    """
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if isinstance(error, KilledWorker):
        reason = "the workers that were given it died, one after the other: try it alone"
        return [(portrait.file, reason) for portrait in batch], []
    if error is None:
        raise FaceError("the Dask scheduler went away; the people who were written stay: start again")
    raise error if isinstance(error, FaceError) else FaceError(f"a worker failed: {error!r}") from error
