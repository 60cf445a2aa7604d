"""Put the API together: the service, its keys, its guard and its paths."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from apps.api import faces, guard, people, problems
from apps.api.keys import Keys
from apps.api.service import Service
from apps.crowd import Door

DESCRIPTION = """
Verify, recognise and manage the people of a database of faces.

Every request except `/healthz` needs a key: `Authorization: Bearer …`. Keys are made with
`python -m apps.api.keys new NAME`; a key with the scope *write* may add, rename and forget people.
"""


def create_app(
    database: str | os.PathLike,
    network: str,
    keys: str | os.PathLike,
    rate: str = "600 per minute",
    door: Door | None = None,
) -> FastAPI:
    """Make the app; its networks are loaded when the server starts.

    Args:
        database: The people: a file, or anything else that ``FaceDatabase`` opens.
        network: A folder that ``load_facenet`` takes.
        keys: The file of the keys.
        rate: How often each key may ask, such as ``"600 per minute"``.
        door: Counts the bytes of all bodies that are in memory. None makes one with the usual limits.

    Returns:
        An ASGI app, for uvicorn.

    Raises:
        BadArgument: If the rate makes no sense.
    """
    service = Service(database, network)
    app = FastAPIOffline(
        title="Face recognition: people",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        redoc_url=None,
        lifespan=service.running,
        redirect_slashes=False,  # such a redirect goes to any Host that the client names
    )
    app.state.service, app.state.keys = service, Keys(Path(keys))
    guard.register(app, rate, door or Door())
    problems.register(app)
    for router in (people.router, faces.router, guard.router):
        app.include_router(router)
    return app
