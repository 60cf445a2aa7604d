"""What the API works with: the network, the people, and the few threads that may hold pictures."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
from fastapi import FastAPI

from apps.crowd import Turns
from facerec._files import in_project
from facerec._quiet import quietly
from facerec.database import FaceDatabase
from facerec.encoding import img_to_encoding
from facerec.networks import load_facenet

with quietly():
    import keras


#: How many requests may wait for a turn, and how many threads all requests share: the others are still answered.
IN_LINE, THREADS = 64, 100


class Service:
    """The network and the people of one app; pictures are worked on in its ``turns``.

    Args:
        database: As for ``FaceDatabase``.
        network: As for ``load_facenet``.
    """

    def __init__(self, database, network: str):
        self._where, self._network = database, network
        self._model: keras.Model | None = None
        self._people: FaceDatabase | None = None
        self.turns = Turns(in_line=IN_LINE)

    @property
    def is_ready(self) -> bool:
        """Whether the network is loaded and the database is open."""
        return self._people is not None

    def load(self) -> None:
        """Load the network, use it once, because the first use is slow, and open the database.

        Raises:
            BadNetwork: If the network is missing or damaged.
            BadDatabase: If the database can't be used.
        """
        model = load_facenet(self._network)
        if (portrait := in_project("images/lena.jpg")).exists():
            img_to_encoding(portrait, model)
        self._model, self._people = model, FaceDatabase(self._where, model)

    @contextlib.asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Load at the start of a server, close at its end."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await anyio.to_thread.run_sync(self.load)
        yield
        self._people.close()

    @property
    def model(self) -> keras.Model:
        """The network."""
        return self._model

    @property
    def people(self) -> FaceDatabase:
        """The people."""
        return self._people
