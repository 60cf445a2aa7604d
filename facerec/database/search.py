"""Who is nearest? The encodings in memory, exact search among them, and an index where they are very many.

    Rows        the encodings and whose they are: rows are added and crossed out
    View        the rows of one moment, to search in
    Index       finds candidates among very many; they are compared exactly
    IndexFile   rows and index in a file, to open a million at once

All of it can be made again from the database.
"""

from __future__ import annotations

import json
import os
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from facerec._files import whole

#: Rounding of a product of two encodings: all rows within it of the best one may be the nearest.
ROUNDING = 1e-5
#: So many candidates of the index are ranked exactly: among a million crowded faces the index alone is too coarse.
DEPTH = 2048
#: At most so many products are held at once (16 MB): what is still in the processor's cache is searched quickest.
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class View:
    """The rows at one moment, to search in: encodings, whose they are, and which don't count any more.

    Attributes:
        base: (b, D), the rows that the index knows; they may lie in a file.
        tail: (t, D), the rows since then.
        people: (b + t,) the number of each row's person.
        alive: (b + t,) False for rows that are gone.
        gone: The numbers of those rows.
        most: How many rows a person has at most.
        index: Finds candidates among ``base``, or None.
    """

    base: np.ndarray
    tail: np.ndarray
    people: np.ndarray
    alive: np.ndarray
    gone: np.ndarray
    most: int
    index: Index | None

    def search(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of each probe: their numbers (0 for none) and distances, both (m, k)."""
        people, distances = np.zeros((len(probes), k), np.int64), np.full((len(probes), k), np.inf, np.float32)
        depth = max(DEPTH, 16 * k * self.most)
        by_index = self.index is not None and depth <= len(self.base) // 8
        candidates = self._by_index(probes, k, depth) if by_index else self._by_product(probes, k)
        for i, rows in enumerate(candidates):
            found, far = self._rank(probes[i], rows, k)
            if len(found) < k and by_index:  # too few people among the candidates
                found, far = self._rank(probes[i], next(self._by_product(probes[i : i + 1], k)), k)
            people[i, : len(found)], distances[i, : len(found)] = found, far
        return people, distances

    def _by_product(self, probes: np.ndarray, k: int) -> Iterator[np.ndarray]:
        """For each probe the rows among which its k nearest people are for certain."""
        step = max(1, AT_ONCE // max(len(self.people), 1))
        for start in range(0, len(probes), step):
            products = self._products(probes[start : start + step])  # (step, n)
            if len(self.gone):
                products[:, self.gone] = -np.inf
            yield from self._best(products, k)

    def _products(self, probes: np.ndarray) -> np.ndarray:
        blocks = [block for block in (self.base, self.tail) if len(block)] or [self.tail]
        products = [probes @ block.T for block in blocks]
        return products[0] if len(products) == 1 else np.concatenate(products, axis=1)

    def _best(self, products: np.ndarray, k: int) -> Iterator[np.ndarray]:
        """The rows with the greatest products, a little more than are needed for k people."""
        needed = (k - 1) * self.most + 1
        for row in products:
            yield np.flatnonzero(row >= max(_at_most_the(needed, row) - ROUNDING, -4.0))

    def _by_index(self, probes: np.ndarray, k: int, depth: int) -> Iterator[np.ndarray]:
        """For each probe the candidates of the index, and the best of the rows that it does not know."""
        tail = probes @ self.tail.T
        tail[:, self.gone[self.gone >= len(self.base)] - len(self.base)] = -np.inf
        found = zip(self.index.search(probes, depth), self._best(tail, k), strict=True)
        for i, (rows, late) in enumerate(found):
            rows = rows[rows >= 0]
            left = rows[self.alive[rows]]
            if len(left) < len(rows) // 2:  # the index looked at the wrong ones
                yield next(self._by_product(probes[i : i + 1], k))
            else:
                yield np.concatenate([left, late + len(self.base)])

    def _rank(self, probe: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of some rows; distances by subtraction: products lose the digits of small ones."""
        old = rows < len(self.base)
        encodings = np.concatenate([self.base[rows[old]], self.tail[rows[~old] - len(self.base)]])
        rows = np.concatenate([rows[old], rows[~old]])
        distances = np.linalg.norm(encodings - probe, axis=1)
        order = np.argsort(distances, kind="stable")
        people = self.people[rows[order]]
        first = np.sort(np.unique(people, return_index=True)[1])[:k]  # each person once
        return people[first], distances[order[first]]


def _at_most_the(needed: int, row: np.ndarray) -> float:
    """A number that at least ``needed`` of a row reach, as great as can be found quickly; -inf if there are fewer."""
    if needed == 1 or len(row) < needed:
        return row.max(initial=-np.inf) if needed == 1 else -np.inf
    if needed <= len(row) // 1024:  # each of the best 64s has one that reaches the last of them: quicker than sorting
        row = row[: len(row) // 64 * 64].reshape(-1, 64).max(axis=1)
    return np.partition(row, len(row) - needed)[len(row) - needed]


class Rows:
    """The encodings in memory: a base that may lie in a file, and a tail that grows; rows are added and crossed out."""

    def __init__(self, dimension: int, change: int, base: np.ndarray | None = None, people: Any = None) -> None:
        self.base = np.empty((0, dimension), np.float32) if base is None else base
        self.change, self.index, self.saved = change, None, False
        self.tail = np.empty((0, dimension), np.float32)
        self.people = np.array([] if people is None else people, np.int64)
        self.alive = np.ones(len(self.people), bool)
        self.count, self.last = len(self.people), int(self.people.max(initial=0))
        self.most = int(np.unique(self.people, return_counts=True)[1].max(initial=1))
        self.gone = np.empty(0, np.int64)

    @property
    def late(self) -> int:
        """How many rows the index does not know."""
        return self.count - len(self.base)

    def room_for(self, count: int) -> None:
        """Make sure that so many more rows fit."""
        if self.late + count > len(self.tail):
            size = max(self.late + count, min(2 * len(self.tail), len(self.tail) + 100_000), 64)
            tail = np.empty((size, self.tail.shape[1]), np.float32)
            tail[: self.late] = self.tail[: self.late]
            more = len(self.base) + size - len(self.people)
            self.people = np.concatenate([self.people, np.zeros(more, np.int64)])
            self.alive = np.concatenate([self.alive, np.ones(more, bool)])
            self.tail = tail

    def append(self, people: np.ndarray, encodings: np.ndarray) -> None:
        """Add rows to the end of the index."""
        if len(people):
            self.room_for(len(people))
            self.tail[self.late : self.late + len(people)] = encodings
            self.people[self.count : self.count + len(people)] = people
            self.count += len(people)
            self.last = max(self.last, int(people.max()))
            self.most = max(self.most, int(np.unique(people, return_counts=True)[1].max()))

    def cross_out(self, people: np.ndarray) -> None:
        """Let the rows of these people count no more."""
        known = people[people <= self.last]
        if len(known):
            whose = self.people[: self.count]
            self.alive = self.alive.copy()  # views keep theirs: what is read from them must fit together
            self.alive[: self.count][whose == known[0] if len(known) == 1 else np.isin(whose, known)] = False
            self.gone = np.flatnonzero(~self.alive[: self.count])

    def view(self) -> View:
        """The rows as they are now."""
        count = self.count
        tail = self.tail[: self.late]
        return View(self.base, tail, self.people[:count], self.alive[:count], self.gone, self.most, self.index)


class Index:
    """Finds candidates among very many encodings, by 4-bit codes of pairs of numbers (product quantisation).

    It looks at every encoding, at half a byte for every two numbers: 32 MB for a million, where a graph (HNSW) takes
    many times as much room, and longer to build (``docs/results/index.json``). Candidates are compared exactly.
    """

    TRAIN_WITH = 65_536
    ROWS_AT_ONCE = 50_000

    def __init__(self, codes: Any) -> None:
        self.codes = codes

    @classmethod
    def build(cls, encodings: np.ndarray, stop: threading.Event) -> Index | None:
        """Learn the codes from a sample, and write down every row's; None if it was stopped.

        Args:
            encodings: (n, D).
            stop: Once it is set, the work ends.
        """
        import faiss

        count, dimension = encodings.shape
        codes = faiss.index_factory(dimension, f"PQ{dimension // 2}x4fs", faiss.METRIC_INNER_PRODUCT)
        codes.pq.cp.min_points_per_centroid = 1
        sample = np.sort(np.random.default_rng(0).choice(count, min(count, cls.TRAIN_WITH), replace=False))
        codes.train(np.ascontiguousarray(encodings[sample]))
        for start in range(0, count, cls.ROWS_AT_ONCE):
            if stop.is_set():
                return None
            codes.add(np.ascontiguousarray(encodings[start : start + cls.ROWS_AT_ONCE]))
        return cls(codes)

    def search(self, probes: np.ndarray, depth: int) -> np.ndarray:
        """The rows of ``depth`` candidates for each probe, (m, depth); -1 where there are fewer."""
        return self.codes.search(probes, depth)[1]

    def to_bytes(self) -> bytes:
        """The index as bytes, for a file."""
        import faiss

        return faiss.serialize_index(self.codes).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Index:
        """The index of ``to_bytes``."""
        import faiss

        return cls(faiss.deserialize_index(np.frombuffer(data, np.uint8)))


def can_index(dimension: int) -> bool:
    """Whether encodings of so many numbers can be indexed here; it warns if the package is missing."""
    if dimension % 2:
        return False
    try:
        import faiss  # noqa: F401
    except ImportError:
        warnings.warn("faiss-cpu is not installed: searching among so many people is exact, but slow", stacklevel=2)
        return False
    return True


class IndexFile:
    """The encodings as one matrix, and their index, in a file beside the database: to open a million at once.

    A header of JSON, the matrix, the number of each row's person, the index. The header says of which database and
    which state it is, and has a checksum of the rest.
    """

    HEADER = 4096

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self.path, self.mode = path, mode  # by default only its owner may read it

    def write(self, view: View, stamp: Mapping[str, Any], stop: threading.Event, allowed: Callable) -> None:
        """Write it whole, unless ``allowed``, a context that keeps others from writing, says that it is out of date.

        Args:
            view: The rows. Those that are gone are left out.
            stamp: Which database, which state.
            stop: Once it is set, nothing is written.
            allowed: Returns a context manager that yields whether the file may still appear.

        Raises:
            Abandoned: If there is no file now.
        """
        with ExitStack() as until_named, whole(self.path) as unfinished:
            unfinished.touch(0o600)  # who forgets a person from now on removes it; who did before is seen below
            unfinished.chmod(self.mode)
            with allowed() as up_to_date:
                if not up_to_date:
                    raise Abandoned
            header = {**stamp, **self._write_rows(unfinished, view, stop)}
            shape = (header["rows"], header["dimension"])
            matrix = np.memmap(unfinished, np.float32, "r", self.HEADER, shape)
            index = Index.build(matrix, stop)
            del matrix  # or Windows would not rename it
            if index is None:
                raise Abandoned
            with unfinished.open("r+b") as stream:
                stream.seek(0, os.SEEK_END)
                header["crc32"] = zlib.crc32(_counted(stream, index.to_bytes()), header["crc32"])
                stream.seek(0)
                stream.write(json.dumps(header).encode().ljust(self.HEADER))
                stream.flush()
                os.fsync(stream.fileno())
            if not until_named.enter_context(allowed()):
                raise Abandoned

    def _write_rows(self, unfinished: Path, view: View, stop: threading.Event) -> dict[str, int]:
        crc = 0
        with unfinished.open("r+b") as stream:  # which makes none in the place of one that was removed
            stream.write(b" " * self.HEADER)
            for block, alive in self._blocks(view):
                crc = zlib.crc32(_counted(stream, block[alive].tobytes()), crc)
                if stop.is_set():
                    raise Abandoned
            people = view.people[view.alive]
            crc = zlib.crc32(_counted(stream, people.tobytes()), crc)
        return {"rows": len(people), "dimension": view.base.shape[1], "crc32": crc}

    @staticmethod
    def _blocks(view: View) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows in pieces, each with which of them count."""
        start = 0
        for part in (view.base, view.tail):
            for i in range(0, len(part), 50_000):
                yield part[i : i + 50_000], view.alive[start + i : start + i + len(part[i : i + 50_000])]
            start += len(part)

    def read(self, expected: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, Index, dict] | None:
        """Matrix (in the file), people, index and header; None if it is missing, damaged, or another database's."""
        try:
            with self.path.open("rb") as stream:
                header = json.loads(stream.read(self.HEADER))
                if not isinstance(header, dict) or any(header.get(key) != expected[key] for key in expected):
                    return None
                rows, dimension, crc = header["rows"], header["dimension"], 0
                while piece := stream.read(1 << 24):
                    crc = zlib.crc32(piece, crc)
                if crc != header["crc32"]:
                    return None
                stream.seek(self.HEADER + rows * dimension * 4)
                people = np.frombuffer(stream.read(rows * 8), np.int64)
                index = Index.from_bytes(stream.read())
                matrix = np.memmap(stream, np.float32, "r", self.HEADER, (rows, dimension))
            return np.asarray(matrix), people, index, header
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError):
            return None


class Abandoned(Exception):  # noqa: N818
    """A file was not written because it would have been out of date."""


def _counted(stream: BinaryIO, data: bytes) -> bytes:
    """Write, and hand back what was written."""
    stream.write(data)
    return data
