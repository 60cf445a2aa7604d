"""Names as they are kept, looked up and compared: one person has one name, however it was typed."""

from __future__ import annotations

import difflib
import functools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from facerec.errors import BadArgument, kind_of

MAX_NAME = 200  # characters

#: What shows as nothing, or as a blank, whatever the font, as a set of ICU.
UNSEEN = r"[[:Default_Ignorable_Code_Point:][:Cf:]\u2800]"
#: Where writing needs it nevertheless, as a regular expression of ICU. (UAX #31, section 2.3.1; UTS #51)
NEEDED = "|".join(
    (
        r"(?<=[\p{jt=D}\p{jt=L}]\p{jt=T}{0,3})\u200c(?=\p{jt=T}{0,3}[\p{jt=D}\p{jt=R}])",  # Persian: no ligature here
        r"(?<=\p{ccc=9}\p{Mn}{0,3})[\u200c\u200d]",  # Indic scripts: after a virama,
        r"(?<=\p{L}\p{Mn}{0,3})\u200d(?=\p{ccc=9})",  # and before one
        r"(?<=\p{Extended_Pictographic}[\ufe0f\p{EMod}]{0,2})\u200d(?=\p{Extended_Pictographic})",  # emoji of several
        r"(?<=[\p{Emoji}-[0-9#*]])[\ufe0e\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)",  # emoji in colour, or in black
        r"(?<=\U0001f3f4)[\U000e0020-\U000e007e]{1,9}\U000e007f",  # flags of Scotland, Wales and England
        r"(?<=\p{Ideographic})[\ufe00-\ufe02\U000e0100-\U000e01ef]",  # a form of a Chinese or Japanese letter
        r"(?<=\p{Script=Mongolian})[\u180b-\u180d\u180f]",  # or of a Mongolian one
    )
)


def check_name(identity: Any) -> str:
    """A name as it is kept: any text of one line, é always as one letter, no blanks at its ends.

    Args:
        identity: The name as it was given.

    Returns:
        The name in Unicode's composed form (NFC), without outer blanks: " lena " and "lena" are one person.

    Raises:
        BadArgument: If it is not text, blank, longer than 200 characters, or holds control characters or invisible
            ones, which could make two names look alike. (Joiners within Persian words, Indic letters and emoji are
            part of them.)

    Example:
        >>> check_name("Robert'); DROP TABLE people;--")
        "Robert'); DROP TABLE people;--"
        >>> check_name(" Lena  M. ")
        'Lena  M.'
    """
    name = as_looked_up(identity)
    if hidden := _unseen_in(name):
        sign = f"U+{ord(hidden[0]):04X} {unicodedata.name(hidden[0], '')}".strip()
        raise BadArgument(
            f"identity={identity!r:.80}: {sign} is invisible there and can't be part of a name; leave it out"
        )
    return name


def spelled_out(name: str) -> str:
    """A name with code points in place of the invisible characters that ``check_name`` refuses.

    Example:
        >>> spelled_out("le\N{ZERO WIDTH JOINER}na"), spelled_out("lena")
        ('le<U+200D>na', 'lena')
    """
    hidden = set(_unseen_in(name))
    spelled = "".join(f"<U+{ord(letter):04X}>" if letter in hidden else letter for letter in name)
    return spelled[:MAX_NAME] if hidden else name


def _unseen_in(name: str) -> str:
    """The invisible characters of a name that its writing does not need."""
    if name.isascii():
        return ""
    unseen, needed = _icu_signs()
    if unseen.containsNone(name):
        return ""
    return "".join(letter for letter in needed.matcher(name).replaceAll("") if unseen.contains(letter))


@functools.cache
def _icu_signs() -> tuple[Any, Any]:
    import icu

    return icu.UnicodeSet(UNSEEN), icu.RegexPattern.compile(NEEDED)


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
    """Up to three names that are most like a given one, ignoring case and accents.

    Example:
        >>> similar_names("leena", ["omar", "lena"])
        ['lena']
    """
    called: dict[str, list[str]] = {}
    for name in names:
        called.setdefault(plain(name), []).append(name)
    close = difflib.get_close_matches(plain(asked.strip()), called, n=3)
    return [name for found in close for name in called[found]][:3]


def names_alike(new: Iterable[str], known: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that look the same, or differ only in capitals, accents and blanks: are they one person?

    Args:
        new: Names of people who are to be known; one is in every group.
        known: The names of the others.

    Source:
        UTS #39, section 4: names whose skeletons are equal are confusable.

    Example:
        >>> names_alike(["Lena", "Carneron"], ["lena", "omar", "Cameron"])
        [('Cameron', 'Carneron'), ('Lena', 'lena')]
    """
    groups: dict[str, set[str]] = {}
    for name in new:
        for look in _looks(name):
            groups.setdefault(look, set()).add(name)
    for name in known:
        for look in groups.keys() & _looks(name):
            groups[look].add(name)
    return sorted({tuple(sorted(group)) for group in groups.values() if len(group) > 1})


def known_like(name: str, known: Iterable[str]) -> list[str]:
    """The others of ``names_alike`` for one name that is to be known."""
    return sorted({other for group in names_alike([name], known) for other in group} - {name})


def told_apart(names: Sequence[str]) -> list[str]:
    """Names for a sentence: if they look the same, with the code points in which they differ.

    Example:
        >>> told_apart(["admin", "\N{CYRILLIC SMALL LETTER A}dmin"])[1].partition(" ")[2]
        '(with U+0430)'
    """
    if len(set(map(_skeleton, names))) > 1:
        return list(names)
    common = set.intersection(*map(set, names))
    own = [[f"U+{ord(c):04X}" for c in dict.fromkeys(name) if c not in common and not c.isascii()] for name in names]
    return [name + (f" (with {', '.join(signs)})" if signs else "") for name, signs in zip(names, own, strict=True)]


def _looks(name: str) -> set[str]:
    return {_skeleton(name), _skeleton(plain("".join(name.split())))}


def _skeleton(name: str) -> str:
    if not name.isascii():
        return str(_spoof_checker().getSkeleton(0, name))
    for letter, look in _ascii_looks():  # the same, and quicker for a million names
        name = name.replace(letter, look)
    return name


@functools.cache
def _ascii_looks() -> list[tuple[str, str]]:
    looks = [(chr(i), str(_spoof_checker().getSkeleton(0, chr(i)))) for i in range(128)]
    return [(letter, look) for letter, look in looks if letter != look]


@functools.cache
def _spoof_checker() -> Any:
    import icu

    return icu.SpoofChecker()
