"""Where the people, the keys and the network are: the environment says so, or they are in the project's folder."""

from __future__ import annotations

import os
from pathlib import Path

from facerec._files import ROOT


def database_path() -> str:
    """The database of people: FACES_DATABASE, or ``data/people.db``."""
    return os.environ.get("FACES_DATABASE") or str(ROOT / "data" / "people.db")


def counts_path() -> Path | None:
    """The file of the decisions' counts, beside the database; None for a database that is not a file."""
    path = database_path()
    is_file = "://" not in path and not path.startswith(("milvus:", ":memory:"))
    return Path(f"{path}.counts.json") if is_file else None


def keys_path() -> str:
    """The file of the API's keys: FACES_KEYS, or ``data/api_keys.json``."""
    return os.environ.get("FACES_KEYS") or str(ROOT / "data" / "api_keys.json")


def network_path() -> str:
    """The network's folder: FACES_NETWORK, or the shipped one."""
    from facerec.networks import DEFAULT_NETWORK  # imported here: keys need no Keras

    return os.environ.get("FACES_NETWORK") or DEFAULT_NETWORK
