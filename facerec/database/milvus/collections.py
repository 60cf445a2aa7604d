"""Collections of Milvus, made and dropped beside other machines that may do the same at the same moment.

    create ──► index ──► load        each step: done already? else do it; if that fails: done by another meanwhile?

Every step can be repeated, and each of several creators ends with the whole collection: the second one completes
what the first has begun, and one that is killed halfway leaves nothing that a later one can't complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from facerec.database.entries import BadDatabase
from facerec.errors import BadArgument

LOADED = 3  # pymilvus.client.types.LoadState.Loaded
GRAPH = {"M": 16, "efConstruction": 128}  # links of each encoding, and how many are considered for them
OTHERS_TAKE = 2.0  # seconds that a step of another creator may take to be seen


class Collections:
    """The collections behind one address.

    Args:
        client: A ``pymilvus.MilvusClient``.
        where: The address, for messages.
        types: ``pymilvus.DataType``.
        failures: What the client raises when a call fails.
    """

    def __init__(self, client: Any, where: str, types: Any, failures: tuple[type[Exception], ...]) -> None:
        self.client, self.where, self.types, self.failures = client, where, types, failures

    def make(
        self, name: str, dimension: int, texts: Mapping[str, int], primary: str | None = None, description: str = ""
    ) -> None:
        """Make a collection, complete with its index and loaded, or complete the one that is there.

        Args:
            name: Its name.
            dimension: D of its encodings.
            texts: Field → bytes at most.
            primary: The text field that identifies a row; None lets Milvus number the rows.
            description: What to note about a new one.

        Raises:
            BadDatabase: If one of that name has other fields.
            BadArgument: If one of that name has another D.
        """
        index = self._index("FLAT")  # every encoding is compared: exact
        schema = self._schema(dimension, texts, primary, description)
        self._ensure(
            lambda: self.client.has_collection(name),
            lambda: self.client.create_collection(name, schema=schema, consistency_level="Session"),
        )
        self._check_fields(name, dimension, texts, primary)
        create = partial(self.client.create_index, name, index, sync=False)  # no rows yet: nothing to wait for
        self._ensure(lambda: self.client.list_indexes(name), create)
        self.load(name)

    def load(self, name: str) -> None:
        """Load a collection, so that it can be asked; loading it twice does no harm."""
        self._ensure(lambda: self._is_loaded(name), lambda: self.client.load_collection(name))

    def has_graph(self, name: str) -> bool:
        """Whether a graph is searched, and not every encoding."""
        return self._described(name).get("index_type") == "HNSW"

    def make_graph(self, name: str) -> None:
        """Let a collection be searched by a graph, and wait until all rows are in it. Meanwhile no one can search."""
        if not self.has_graph(name):
            self.client.release_collection(name)
            for index in self.client.list_indexes(name, field_name="encoding"):
                self.client.drop_index(name, index)
            self.client.create_index(name, self._index("HNSW", **GRAPH))
        while self._described(name).get("pending_index_rows"):
            time.sleep(0.5)
        self.client.load_collection(name)

    def _described(self, name: str) -> Mapping[str, Any]:
        """What the server says of the index of the encodings; nothing if there is none."""
        names = self.client.list_indexes(name, field_name="encoding")
        return self.client.describe_index(name, names[0]) if names else {}

    def drop(self, name: str) -> None:
        """Drop a collection, unless it is gone already."""
        gone = lambda: not self.client.has_collection(name)  # noqa: E731
        self._ensure(gone, lambda: self.client.drop_collection(name))

    def description(self, name: str) -> str:
        """What was noted about a collection by its maker."""
        return self.client.describe_collection(name).get("description") or ""

    def _ensure(self, done: Callable[[], Any], step: Callable[[], Any]) -> None:
        """Do a step unless it is done. If it fails because another creator was quicker, that is as good."""
        if done():
            return
        try:
            step()
        except self.failures:
            if not self._answer_to(done):
                raise

    def _answer_to(self, question: Callable[[], Any]) -> Any:
        """What a question gets once it gets something: another creator may not be so far yet, and is waited for."""
        deadline = time.monotonic() + OTHERS_TAKE
        while True:
            with suppress(*self.failures):
                if answer := question():
                    return answer
            if time.monotonic() > deadline:
                return question()
            time.sleep(0.02)

    def _index(self, kind: str, **params: int) -> Any:
        index = self.client.prepare_index_params()
        index.add_index("encoding", index_type=kind, metric_type="L2", params=params)
        return index

    def _is_loaded(self, name: str) -> bool:
        return self.client.get_load_state(name)["state"] == LOADED

    def _check_fields(self, name: str, dimension: int, texts: Mapping[str, int], primary: str | None) -> None:
        described = self._answer_to(lambda: self.client.describe_collection(name))
        found = {field["name"]: field["params"] for field in described["fields"]}
        needed = {*texts, "encoding", *(() if primary else ("id", "number", "added", "changed"))}
        if set(found) != needed or any(int(found[text].get("max_length", 0)) < texts[text] for text in texts):
            raise BadDatabase(
                f"{self.where}: its collection {name!r} belongs to another program; choose another name with "
                f"collection="
            )
        if (there := int(found["encoding"].get("dim", 0))) != dimension:
            raise BadArgument(f"these encodings have {dimension} numbers; those in {self.where} have {there}")

    def _schema(self, dimension: int, texts: Mapping[str, int], primary: str | None, description: str) -> Any:
        schema = self.client.create_schema(auto_id=primary is None, enable_dynamic_field=False, description=description)
        if primary is None:
            schema.add_field("id", self.types.INT64, is_primary=True)
            schema.add_field("number", self.types.INT64)
            schema.add_field("added", self.types.DOUBLE)
            schema.add_field("changed", self.types.DOUBLE)
        for text, length in texts.items():
            schema.add_field(text, self.types.VARCHAR, max_length=length, is_primary=text == primary)
        schema.add_field("encoding", self.types.FLOAT_VECTOR, dim=dimension)
        return schema
