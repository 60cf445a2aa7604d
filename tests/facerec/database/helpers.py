"""What the tests of the database share: encodings, photos, hostile names, harm to files, and a search for traces."""

from __future__ import annotations

import io
import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from facerec.database import FaceDatabase

D = 16
HOSTILE = [
    "Robert'); DROP TABLE people;--",
    'she said "hello"',
    "back\\slash",
    "../../etc/passwd",
    "C:\\con",
    "%_*?[a-z]",
    "José",
    "李小龍",
    "👩‍👩‍👧‍👦",
    "مريم",
    "NULL",
    "' OR '1'='1",
    "people/../manifest.json",
    "{n}",
    "a  wide space",
    "x" * 200,
    "😀" * 200,
]


def processes() -> multiprocessing.context.BaseContext:
    """Makes processes that share nothing with this one; where it can, from a server that has loaded the packages."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy", "faiss", "PIL.Image", "tqdm.auto", "pytest"])
    return context


def unit(m: int, seed: int = 0, d: int = D) -> np.ndarray:
    """(m, d) encodings of unit length, as networks give them."""
    encodings = np.random.default_rng(seed).normal(size=(m, d))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32)


def exact(known: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """The oracle: all distances, (m, n)."""
    return np.linalg.norm(known[None].astype(np.float64) - probes[:, None], axis=2)


def photo(seed: int = 0, height: int = 40, width: int = 30) -> np.ndarray:
    """Soft colours, which JPEG keeps almost as they are."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(picture: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def at_once(*calls: Callable[[], object]) -> list:
    """What calls return, each in a thread of its own; the first error is raised."""
    results: list = [None] * len(calls)

    def one(i: int) -> None:
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


# --------------------------------------------------------------------------------------------- harm to the file
def take_place(path: Path) -> None:
    """Put another database in the place of a file."""
    other = path.with_name("other.db")
    with FaceDatabase(other) as database:
        database["another person"] = unit(1)[0]
    os.replace(other, path)


HARMS = {
    "removed": Path.unlink,
    "moved": lambda path: path.rename(path.with_name("elsewhere.db")),
    "replaced": take_place,
    "the WAL removed": lambda path: path.with_name("people.db-wal").unlink(),
    "the folder moved": lambda path: path.parent.rename(path.parent.with_name("moved away")),
}


# ------------------------------------------------------------------------------------------------------- traces
def crowd(database: FaceDatabase, count: int = 400) -> dict[str, bytes]:
    """Add many people, and one who will be forgotten; the bytes that must not be found afterwards."""
    database.update({f"another person {i}": encoding for i, encoding in enumerate(unit(count, 1))})
    encodings = unit(3, 2)
    for i, encoding in enumerate(encodings):
        database.add("Zacharias Forgotten", encoding, photo(i, 120, 90))
    pictures = database._engine.pictures("Zacharias Forgotten")
    wanted = {f"encoding {i}": e.tobytes()[:48] for i, e in enumerate(encodings)}
    wanted |= {f"photo {i}.{j}": both[j][-80:-30] for i, both in enumerate(pictures) for j in (0, 1)}
    wanted["photo's middle"] = pictures[0][0][len(pictures[0][0]) // 2 :][:40]
    wanted["mean"] = database["Zacharias Forgotten"].tobytes()[:48]
    return wanted | {"name": b"Zacharias Forgotten", "half a name": b"Zacharias F"}


def traces(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Which of some bytes are in which file of a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [f"{what} in {file.name}" for file in files for what, data in wanted.items() if data in file.read_bytes()]
