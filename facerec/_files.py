"""Files of the project, and files that are written completely or not at all.

A process that is killed while it writes leaves what was there before. (A file is replaced in one move. Replacing a
folder takes two: after a kill between them both are there, the old one as ``.before_…`` beside the new one.)
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facerec.errors import BadArgument, kind_of

#: The project's folder; after ``pip install .`` it is the folder of Python's packages.
ROOT = Path(__file__).resolve().parent.parent

#: The network that commands, notebooks, apps and tools load by default.
DEFAULT_NETWORK = "weights/resnet"

#: Your own pictures: a folder per person (``my_faces/ada/1.jpg`` shows ada), relative to the working directory. Git
#: ignores them.
MY_FACES = Path("my_faces")

#: Where ``pip install .`` puts the weights.
SHIPPED = Path(__file__).resolve().parent / "shipped"


def as_path(path: str | os.PathLike) -> Path:
    """A path as a ``Path``.

    Raises:
        BadArgument: If it is empty, or anything else.
    """
    try:
        text = os.fspath(path)
    except TypeError as error:
        raise BadArgument(f"a path is needed, as text or a Path; this is {kind_of(path)}") from error
    if not text:
        raise BadArgument('an empty path; "." is the working directory')
    return Path(path)


def as_text(path: str | os.PathLike) -> str:
    """A path as text that can be written anywhere: what is not UTF-8 in it, as on old disks, becomes question marks."""
    return os.fspath(path).encode("utf-8", "replace").decode("utf-8")


def in_project(path: str | os.PathLike) -> Path:
    """Find a path relative to the working directory, to this project, or to the installed package.

    Args:
        path: Absolute, or relative to one of the three, which are tried in this order.

    Returns:
        The first that exists. If none does, the path as it was given, for an error to name.

    Raises:
        BadArgument: If it is not a path.
    """
    path = as_path(path)
    if path.is_absolute() or path.exists():
        return path
    return next((there for there in (SHIPPED / path, ROOT / path) if there.exists()), path)


@contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Lend another name to write a file or folder to, and give it its own name once it is complete.

    Args:
        path: The final path. Its folder is created; what was there before is replaced.

    Yields:
        The name to write to, beside ``path`` and with its ending. After an error nothing is left of it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with whole(Path(folder) / "notes.txt") as unfinished:
        ...         _ = unfinished.write_text("all of it")
        ...     (Path(folder) / "notes.txt").read_text()
        'all of it'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = f"{os.getpid()}_{uuid.uuid4().hex[:8]}"  # two threads may write the same file
    unfinished = path.with_name(f".unfinished_{ours}_{path.name}")
    _sweep(path)
    try:
        yield unfinished
        if unfinished.is_file():
            with unfinished.open("rb+") as stream:
                os.fsync(stream.fileno())  # on the disk before it gets its name
        before = path.with_name(f".before_{ours}_{path.name}")
        if unfinished.is_dir() and path.is_dir():  # a folder can't replace another one in one move
            os.replace(path, before)
        os.replace(unfinished, path)
        _remove(before)
    finally:
        _remove(unfinished)


def write_json(path: str | os.PathLike, data: Any) -> None:
    """Write data as JSON, completely or not at all."""
    with whole(path) as unfinished:
        unfinished.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: str | os.PathLike, table: Any) -> None:
    """Write a pandas table as CSV, without its index, completely or not at all."""
    with whole(path) as unfinished:
        table.to_csv(unfinished, index=False, lineterminator="\n")


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what processes that were killed more than an hour ago left unfinished of this file or folder."""
    for left in path.parent.glob(f".unfinished_*_{glob.escape(path.name)}"):
        if time.time() - left.stat().st_mtime > 3600:
            _remove(left)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
