"""Which engine an address asks for. Engines are imported here alone, and only when an address asks for one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facerec.database.engine import Engine
from facerec.database.entries import check_path, make_folder_of
from facerec.errors import BadArgument, kind_of


def place_of(where: Any) -> str:
    """The address of a database, with the home folder in place of ``~``.

    Raises:
        BadArgument: If it is neither a path nor an address.

    Example:
        >>> place_of("people.db"), place_of("milvus:people.db"), place_of(":memory:")
        ('people.db', 'milvus:people.db', ':memory:')
    """
    if not isinstance(where, str | os.PathLike):
        raise BadArgument(
            f"where must be a path, ':memory:', or an address of Milvus; it is {kind_of(where)}: "
            f"FaceDatabase(where, network)"
        )
    text = check_path(where, "where")
    if text.startswith("milvus:"):
        return f"milvus:{check_path(text.removeprefix('milvus:'), 'where')}"
    return text


def open_engine(where: str, represent: str, milvus: Mapping[str, Any]) -> Engine:
    """The engine of an address, open.

    Args:
        where: What ``place_of`` returns.
        represent: What a person with several encodings is compared by: "mean" or "nearest".
        milvus: Arguments for Milvus alone.

    Raises:
        BadArgument: If there are such arguments for another engine, or ``pymilvus`` is not installed.
        BadDatabase: If it can't be opened.
    """
    if where.startswith(("http://", "https://", "milvus:")):
        from facerec.database.milvus import Milvus

        if where.startswith("milvus:"):
            make_folder_of(Path(where.removeprefix("milvus:")), where)
        return Milvus(where, represent, **milvus)
    if milvus:
        raise BadArgument(f"{', '.join(milvus)}: for Milvus only, and {where} is not an address of Milvus")
    from facerec.database.sqlite import SQLite

    return SQLite(where, represent)


def is_open_here(path: Path) -> bool:
    """Whether this process has a database open in that file."""
    from facerec.database import sqlite

    return sqlite.is_open_here(path)
