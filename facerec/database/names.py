"""Names as they are kept, looked up and compared: one person has one name, whatever way it was typed."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Any

from facerec.database.entries import kind_of
from facerec.errors import BadArgument

MAX_NAME = 200  # characters
JOINERS = "\u200c\u200d"  # within Persian words, Indian letters and emoji of several
TAGS = range(0xE0020, 0xE0080)  # which the flags of Scotland, Wales and England are made of


def check_name(identity: Any) -> str:
    """A name as it is kept: any text of one line, é always as one letter, no blanks at its ends.

    Args:
        identity: The name as it was given.

    Returns:
        The name in Unicode's composed form (NFC), without outer blanks: " lena " and "lena" are one person.

    Raises:
        BadArgument: If it is not text, blank, longer than 200 characters, or holds control characters or invisible
            ones (such as those that turn the direction of writing), which could make two names look alike.

    Example:
        >>> check_name("Robert'); DROP TABLE people;--")
        "Robert'); DROP TABLE people;--"
        >>> check_name(" Lena  M. ")
        'Lena  M.'
    """
    name = as_looked_up(identity)
    hidden = next((letter for letter in identity if _is_hidden(letter)), None) if not identity.isprintable() else None
    if hidden:
        sign = f"U+{ord(hidden):04X} {unicodedata.name(hidden, '')}".strip()
        raise BadArgument(f"identity={identity!r:.80}: {sign} is invisible and can't be part of a name; leave it out")
    return name


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) == "Cf" and letter not in JOINERS and ord(letter) not in TAGS


def as_looked_up(identity: Any) -> str:
    """A name as ``check_name`` returns it, invisible characters included: older files may hold such names.

    Raises:
        BadArgument: If no one can have that name.
    """
    if not isinstance(identity, str):
        raise BadArgument(f"identity={identity!r:.80}: a name is text, not {kind_of(identity)}")
    given = unicodedata.normalize("NFC", identity)
    name = given.strip()
    if not name:
        raise BadArgument(f"identity={identity!r:.80}: a name needs at least one visible character")
    if len(name) > MAX_NAME:
        raise BadArgument(f"identity={name[:20]!r}…: {len(name)} characters; {MAX_NAME} at most")
    if not given.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in given):
        raise BadArgument(f"identity={given!r:.80}: line breaks and control characters can't be part of a name")
    return name


def plain(text: str) -> str:
    """A text without case and accents.

    Example:
        >>> plain("José RAMÍREZ")
        'jose ramirez'
    """
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def similar_names(asked: str, names: Iterable[str]) -> list[str]:
    """The three names that are most like one, whatever case and accents, or fewer.

    Example:
        >>> similar_names("leena", ["omar", "lena"])
        ['lena']
    """
    called: dict[str, list[str]] = {}
    for name in names:
        called.setdefault(plain(name), []).append(name)
    close = difflib.get_close_matches(plain(asked.strip()), called, n=3)
    return [name for found in close for name in called[found]][:3]
