"""What a command is asked to look at: pictures, films and cameras, found before anything slow begins."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from facerec._files import as_path
from facerec.command.console import note
from facerec.errors import BadArgument


class Source(NamedTuple):
    """Something to look at.

    Attributes:
        name: What it is called in results: as it was given or, in a folder, the path of the file.
        kind: "photo", "film" or "camera".
        named: Whether it was named on the command line, rather than found in a folder.
    """

    name: str
    kind: str
    named: bool = True


def find_sources(given: Sequence[str]) -> list[Source]:
    """Find out what each argument is; folders and zip files become their pictures.

    Args:
        given: Pictures, films, folders, zip files, numbers of cameras, or addresses of network cameras.

    Raises:
        BadArgument: If none of them exists, or a folder holds no pictures.

    Example:
        >>> [source.kind for source in find_sources(["images/lena.jpg", "0", "rtsp://10.0.0.7/stream"])]
        ['photo', 'camera', 'camera']
    """
    from facerec.photos import FILM_ENDINGS

    found: list[Source] = []
    for text in given:
        as_path(text)  # an empty one would be the working directory
    if given and not any(map(_is_there, given)):
        raise BadArgument(
            f"{', '.join(given)} {'does' if len(given) == 1 else 'do'} not exist: "
            "give pictures, folders, films, or the number of a camera"
        )
    for text in given:
        path = Path(text)
        if text.isdecimal() or "://" in text:
            found.append(Source(text, "camera"))
        elif path.is_dir() or (path.is_file() and zipfile.is_zipfile(path)):
            found += [Source(str(file), "photo", False) for file in pictures_in(path)]
        else:  # one that is missing, too: it does not stop the others
            found.append(Source(text, "film" if path.suffix.lower() in FILM_ENDINGS else "photo"))
    return found


def _is_there(text: str) -> bool:
    """Whether an argument may be something to look at: a camera, or a file, which may lie in a zip file."""
    path = Path(text)
    return text.isdecimal() or "://" in text or path.exists() or any(above.is_file() for above in path.parents)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder or a zip file, at any depth; films in it are left out, with a note.

    Raises:
        BadArgument: If it holds none.
    """
    from facerec.photos import FILM_ENDINGS, files_in, is_beside_pictures

    files = [folder / file for file in files_in(folder) if not is_beside_pictures(file)]
    pictures = [file for file in files if file.suffix.lower() not in FILM_ENDINGS]
    if films := [str(file) for file in files if file.suffix.lower() in FILM_ENDINGS]:
        note(f"left out because they are films: {', '.join(films)}; name a film to look at it")
    if not pictures:
        raise BadArgument(f"{folder} holds no pictures")
    return pictures


def photos_of(given: Iterable[str]) -> list[Path]:
    """The pictures that arguments name, or hold, for commands that look at pictures only.

    Raises:
        BadArgument: If one is a film or a camera, or does not exist.
    """
    given = list(given)
    for text in given:
        if not _is_there(text):
            raise BadArgument(f"{text} does not exist: give pictures, folders or zip files")
    found = find_sources(given)
    for source in found:
        if source.kind != "photo":
            raise BadArgument(f"{source.name} is a {source.kind}; pictures are needed here")
    return [Path(source.name) for source in found]
