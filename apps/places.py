"""Where the people, the keys and the network are, and the server's names: from the environment, or as usual."""

from __future__ import annotations

import os
from pathlib import Path

from facerec._files import DEFAULT_NETWORK, ROOT


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
    return os.environ.get("FACES_NETWORK") or DEFAULT_NETWORK


def hosts() -> list[str] | None:
    """The names that a server answers to: those in FACES_HOSTS, separated by commas, and this computer's own.

    Without FACES_HOSTS, any name (None). Pages elsewhere can then let a name of theirs lead to this server.
    """
    given = [name.strip() for name in os.environ.get("FACES_HOSTS", "").split(",") if name.strip()]
    return [*given, "localhost", "127.0.0.1", "[::1]"] if given else None
