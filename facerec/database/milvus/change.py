"""Steps that belong together, gathered and checked before the first of them is sent to Milvus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from facerec.database.engine import Change, check_fits
from facerec.database.entries import BadDatabase
from facerec.database.milvus.rows import FIELDS, fitting, rows_of, who
from facerec.database.pictures import Picture
from facerec.errors import BadArgument

if TYPE_CHECKING:
    from facerec.database.milvus.engine import Milvus


class MilvusChange(Change):
    """Gathers steps; ``send`` does them, in order.

    They wait in memory until then: 512 bytes for an encoding of 128 numbers, at most 45 kB for a photo.
    """

    def __init__(self, engine: Milvus) -> None:
        self.engine, self.dimension = engine, engine.dimension
        self.known: dict[str, bool] = {}  # name → whether these steps make the person known or unknown
        self.steps: list[Callable[[], Any]] = []

    def has(self, identity: str) -> bool:
        """Asks the server about people whom no step so far concerns."""
        return self.known[identity] if identity in self.known else self.engine.has(identity)

    def note(self, network: str | None, dimension: int | None) -> None:
        """Makes the first collection, too, if D is known."""
        check_fits(self.engine, network, dimension)
        if dimension and self.dimension and dimension != self.dimension:
            raise BadArgument(f"encodings of {dimension} and of {self.dimension} numbers in one change")
        self.dimension = self.dimension or dimension
        self.steps.append(partial(self.engine.note, network, dimension))

    def put(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture] = (),
        replace: bool = False,
        times: tuple[float, float] | None = None,
    ) -> None:
        """Keeps one photo for each encoding at most, and makes photos smaller if need be."""
        if self.dimension != encodings.shape[1]:
            self.note(None, encodings.shape[1])
        pictures = fitting(identity, pictures, encodings)
        self.known[identity] = True
        self.steps.append(partial(self._put, identity, encodings, pictures, replace, times))

    def drop(self, identity: str) -> bool:
        """Knows at once whether there is anything to send."""
        known = self.has(identity)
        if known:
            self.known[identity] = False
            self.steps.append(partial(self._drop, identity))
        return known

    def rename(self, old: str, new: str) -> None:
        """Writes the person's rows anew under the other key, then deletes the old ones."""
        self.known |= {old: False, new: True}
        self.steps.append(partial(self._rename, old, new))

    # ------------------------------------------------------------------------------------------------- sending
    def send(self) -> None:
        """Do the steps.

        Raises:
            BadDatabase: If one fails; it says how many are done.
        """
        for done, step in enumerate(self.steps):
            try:
                step()
            except self.engine.failures as error:
                raise BadDatabase(
                    f"{self.engine.where} can't be used: {done} of {len(self.steps)} changes are done and stay; "
                    f"do the others again ({error})"
                ) from error

    def _put(self, identity: str, encodings: np.ndarray, pictures: list, replace: bool, times: Any) -> None:
        client, engine = self.engine.client, self.engine
        if engine.dimension != encodings.shape[1]:
            engine.note(None, encodings.shape[1])
        old = engine.rows_of(identity, ["id", "number", "added"])
        first = 0 if replace or not old else max(row["number"] for row in old) + 1
        added = min((row["added"] for row in old), default=None)
        added, changed = times or (added or time.time(), time.time())
        client.insert(engine.people, rows_of(identity, encodings, pictures, first, added, changed))
        if replace and old:
            client.delete(engine.people, ids=[row["id"] for row in old])

    def _drop(self, identity: str) -> None:
        if old := self.engine.rows_of(identity, ["id"]):
            self.engine.client.delete(self.engine.people, ids=[row["id"] for row in old])

    def _rename(self, old: str, new: str) -> None:
        rows = sorted(self.engine.rows_of(old, ["id", *FIELDS, "encoding"]), key=lambda row: row["number"])
        ids = [row.pop("id") for row in rows]
        fresh = [{**row, "who": who(new), "identity": new, "changed": time.time()} for row in rows]
        self.engine.client.insert(self.engine.people, fresh)
        self.engine.client.delete(self.engine.people, ids=ids)
