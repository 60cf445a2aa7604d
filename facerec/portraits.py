"""Who is shown in which picture, from the names of files and folders: no picture is opened here.

people/             ──find_portraits──► (lena, people/lena.jpg), (otto, people/otto/1.jpg), …
lena.jpg, otto/1.jpg                    and every file that can't be a portrait, with the reason
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from facerec._files import as_path, as_text
from facerec.errors import BadArgument
from facerec.photos import FILM_ENDINGS, files_in, is_beside_pictures

#: Beginnings of the names of files in ``images/`` that are not portraits: the camera's, the group photo, a lookalike.
NO_PORTRAIT = ("camera_", "video_call", "lookalike")

#: A film with one of these endings, beside a picture of the same name, is a phone's live photo.
LIVE = (".mov", ".mp4")

#: A folder of people may lie in a folder of groups, and no deeper: ``friends/lena/1.jpg``.
DEEPEST = 3


class Portrait(NamedTuple):
    """A picture of a person who is to be known.

    Attributes:
        identity: The person.
        path: The file; it may lie in a zip file.
        file: What reports call it: its path below the source.
        alone: Whether it lies beside other people's portraits, named after its person.
    """

    identity: str
    path: Path
    file: str
    alone: bool


class Pictures(NamedTuple):
    """What a folder or zip file holds.

    Attributes:
        portraits: In the order of the people's names.
        unusable: (file, reason) of what can't be a portrait.
        skipped: Files that are left out because of their names.
    """

    portraits: list[Portrait]
    unusable: list[tuple[str, str]]
    skipped: list[str]

    def below(self, source: str) -> Pictures:
        """The same, but reports call the files ``source/…``, beside those of other sources."""
        return Pictures(
            [each._replace(file=as_text(f"{source}/{each.file}")) for each in self.portraits],
            [(as_text(f"{source}/{file}"), reason) for file, reason in self.unusable],
            [as_text(f"{source}/{file}") for file in self.skipped],
        )


def find_portraits(source: str | os.PathLike, skip: Sequence[str] = NO_PORTRAIT, numbered: bool = False) -> Pictures:
    """Find out who is shown on which picture, from the names of files and folders; no picture is opened.

    Args:
        source: A folder, or a zip file. ``lena.jpg`` shows lena, and so does every picture in ``lena/`` or
            ``friends/lena/``.
        skip: Beginnings of the names of files that are left out, where they don't lie in a person's folder. So are the
            names that cameras give (``IMG_1234.HEIC``), which say nothing about a person. ``()`` leaves nothing out.
        numbered: True if ``lena_2.jpg`` and ``lena (3).jpg`` show lena, too.

    Raises:
        BadArgument: If it is neither a folder nor a zip file, or there is nothing in it but files to pass over.

    Example:
        >>> [portrait.identity for portrait in find_portraits("images").portraits][:3]
        ['anna', 'diego', 'grace']
    """
    source = as_path(source)
    root, files = _without_top(source, files_in(source))
    wanted, found = without_what_lies_beside(files), Pictures([], [], [])
    for file in wanted:
        text = as_text(file.as_posix())
        if len(file.parts) == 1 and is_left_out(file, skip):
            found.skipped.append(text)
        elif text != file.as_posix():
            found.unusable.append((text, "its name is not UTF-8: rename it"))
        elif len(file.parts) > DEEPEST:
            found.unusable.append((text, "it is nested too deeply: expected person/picture or group/person/picture"))
        elif file.suffix.lower() in FILM_ENDINGS:
            found.unusable.append((text, "it is a film: take pictures from it with python -m facerec collect"))
        else:
            identity = file.parent.name or (without_number(file.stem) if numbered else file.stem)
            alone = len(file.parts) == 1 and not numbered
            identity = unicodedata.normalize("NFC", identity.strip() or identity)  # é is one letter on every system
            found.portraits.append(Portrait(identity, root / file, text, alone))
    if not any(found):
        raise BadArgument(f"{source} holds no pictures")
    if root.is_dir():
        empty = {folder.name for folder in root.iterdir() if folder.is_dir()} - {file.parts[0] for file in wanted}
        found.unusable.extend((as_text(name), "it holds no pictures") for name in empty if not name.startswith("."))
    found.portraits.sort(key=lambda portrait: portrait.identity)  # stable: a person's pictures keep their order
    return found


def single(file: Path, skip: Sequence[str] = NO_PORTRAIT, numbered: bool = False) -> Pictures:
    """Find out who is shown on one picture, as ``find_portraits`` does for many."""
    text = as_text(file)
    if text != os.fspath(file):
        return Pictures([], [(text, "its name is not UTF-8: rename it")], [])
    if is_left_out(file, skip):
        return Pictures([], [], [text])
    identity = unicodedata.normalize("NFC", (without_number(file.stem) if numbered else file.stem).strip())
    return Pictures([Portrait(identity, file, text, not numbered)], [], [])


#: What cameras, phones and messengers call pictures.
OF_A_CAMERA = re.compile(
    r"(img|dsc[fn]?|pxl|mvimg|image|photo|foto|picture|screenshot|whatsapp image|signal)[ _-]*\d.*|p?\d{6,}.*",
    re.IGNORECASE,
)


def is_left_out(file: Path, skip: Sequence[str] = NO_PORTRAIT) -> bool:
    """Whether a picture that is not in a person's folder is left out because of its name.

    Example:
        >>> [is_left_out(Path(name)) for name in ("lena.jpg", "camera_1.jpg", "IMG_1234.HEIC")]
        [False, True, True]
    """
    begins = file.name.casefold().startswith(tuple(start.casefold() for start in skip))
    return begins or (bool(skip) and OF_A_CAMERA.fullmatch(file.stem) is not None)


def _without_top(source: Path, files: list[Path]) -> tuple[Path, list[Path]]:
    """Step into the one folder that holds everything, if it is not a person's: ``people.zip/people/lena/1.jpg``."""
    tops = {file.parts[0] for file in files if len(file.parts) > 1 and file.parts[0] != "__MACOSX"}
    real = [file for file in files if file.parts[0] in tops]
    single = len(tops) == 1 and all(is_beside_pictures(file) for file in files if file.parts[0] not in tops)
    named_alike = tops <= {source.stem, without_number(source.stem)} and _are_names(real)  # also in "people (1).zip"
    if single and (any(len(file.parts) > 2 for file in real) or named_alike):
        (top,) = tops
        return source / top, [file.relative_to(top) for file in real]
    return source, files


def _are_names(files: list[Path]) -> bool:
    """Whether files may be called after people: not all have numbers, a camera's names, or one name with numbers."""
    stems = {without_number(file.stem) for file in files}
    called = [stem for stem in stems if not stem.isdecimal() and not OF_A_CAMERA.fullmatch(stem)]
    return bool(called) and (len(stems) > 1 or len(files) == 1)


def without_what_lies_beside(files: Sequence[Path]) -> list[Path]:
    """Files without what systems, cameras and people leave beside pictures, and without the films of live photos."""
    files = [file for file in files if not is_beside_pictures(file)]
    pictures = {file.with_suffix("") for file in files if file.suffix.lower() not in FILM_ENDINGS}
    return [file for file in files if file.suffix.lower() not in LIVE or file.with_suffix("") not in pictures]


def without_number(stem: str) -> str:
    """A name without the number at its end.

    Example:
        >>> [without_number(stem) for stem in ("lena_2", "lena (3)", "lena-10", "lena", "7")]
        ['lena', 'lena', 'lena', 'lena', '7']
    """
    return re.sub(r"[ _-]*\(?\d+\)?$", "", stem) or stem


def about_names(
    found: Pictures,
    everything: str = "skip=()",
    together: str = "numbered=True",
    named: str = "a folder named after the person",
    most: int = 3,
) -> list[str]:
    """Sentences about pictures that their names left out, or made people of their own.

    Args:
        found: Of ``find_portraits``.
        everything: What to write to leave no file out.
        together: What to write to give ``lena_2.jpg`` to lena.
        named: What to use to say who pictures show whose names are a camera's, or numbers.
        most: How many names a sentence lists.
    """
    alone = [portrait.identity for portrait in found.portraits if portrait.alone]
    numbers = list(dict.fromkeys(portrait.identity for portrait in found.portraits if portrait.identity.isdecimal()))
    alone_numbers = len(numbers) == 1 and numbers[0] in alone  # one portrait may well be called 7
    folders = dict.fromkeys(Path(p.file).parent for p in found.portraits if p.identity == Path(p.file).parent.name)
    inner = [folder.as_posix() for folder in folders if folder.parent in folders]
    named_alike = Counter(without_number(name) for name in {portrait.identity for portrait in found.portraits})
    again = [name for name in alone if name != (base := without_number(name)) and named_alike[base] > 1]
    unnamed = [file for file in found.skipped if OF_A_CAMERA.fullmatch(Path(file).stem)]
    others = [file for file in found.skipped if not OF_A_CAMERA.fullmatch(Path(file).stem)]
    notes = []
    for files, what in (
        (others, f"left out because of their names: {{}}; {everything} includes them"),
        (unnamed, f"left out because a camera named them: {{}}; {named} says who they show"),
        (again, f"people of their own: {{}}; {together} treats names that differ only by a number as one person"),
        (inner, "people of their own, in other people's folders: {}; each folder is named after one person"),
        ([] if alone_numbers else numbers, f"people called by a number: {{}}; {named} says who they show"),
    ):
        if files:
            notes.append(what.format(listed(files, most)))
    return notes


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence, and how many more there are.

    Example:
        >>> listed(["anna", "ben", "carl", "dora", "emil"])
        'anna, ben, carl and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
