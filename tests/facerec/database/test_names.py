"""Names: hostile ones are data, look-alikes are one, and what can't be a name is rejected."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from facerec.database import FaceDatabase, UnknownPerson, check_name, known_like, names_alike, told_apart
from facerec.database.engine import Addition
from facerec.errors import BadArgument
from tests.facerec.database.helpers import HOSTILE, unit


def test_hostile_names_are_only_data(database):
    encodings = unit(len(HOSTILE))
    for name, encoding in zip(HOSTILE, encodings, strict=True):
        database[name] = encoding
    assert set(database) == set(HOSTILE)
    for name, encoding in zip(HOSTILE, encodings, strict=True):
        assert np.array_equal(database[name], encoding)
        assert database.nearest(encoding)[0][0, 0] == name
    database.rename(HOSTILE[0], HOSTILE[0] + "; x")
    for name in HOSTILE[1:]:
        database.remove(name)
    assert list(database) == [HOSTILE[0] + "; x"]


def test_composed_and_decomposed_letters_are_the_same(database):
    composed, decomposed = "José", unicodedata.normalize("NFD", "José")
    assert composed != decomposed
    database[decomposed] = unit(1)[0]
    assert list(database) == [composed]
    assert decomposed in database
    database.remove(decomposed)
    assert composed not in database


def test_blanks_at_the_ends_are_not_part_of_a_name(database):
    database[" lena "] = unit(1)[0]
    database.update({"lena\u00a0": unit(1, 1)[0], "\u3000omar": unit(1, 2)[0], "a  b": unit(1, 3)[0]})
    assert list(database) == ["lena", "omar", "a  b"]
    assert " lena" in database
    assert np.array_equal(database["lena "], unit(1, 1)[0])
    database.rename("omar ", " Omar M. ")
    database.remove(" a  b")
    assert list(database) == ["lena", "Omar M."]
    for attempt in (database.__delitem__, lambda name: database.add(name, unit(1))):
        with pytest.raises((BadArgument, UnknownPerson)):
            attempt("lena\n")
    assert len(database.encodings("lena")) == 1


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\0b", "\x1b[2J", "x" * 201, "\ud800", "a\u2028b", 7, None, b"lena"]
)
def test_bad_names_are_rejected(database, name):
    with pytest.raises(BadArgument, match="^identity="):
        database[name] = unit(1)[0]
    with pytest.raises(BadArgument, match="^identity="):
        database.update([("fine", unit(1)[0]), (name, unit(1)[0])])
    assert list(database) == []


HIDDEN = {
    "direction": "\u202e\u2066\u200e",
    "no width": "\u200b\u00ad\ufeff\u2060",
    "blanks": "\u2800\u3164\u115f\uffa0",
    "joiners": "\u200c\u200d\u034f",
    "variation selectors": "\ufe0f\u180b\U000e0100",
    "tags": "\U000e0001\U000e0067\U000e007f",
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
def test_invisible_characters_are_rejected(hidden):
    for sign in hidden:
        for name in (sign, f"le{sign}na", f"{sign}lena", f"lena {sign}", f"\u043b{sign}\u0435"):
            with pytest.raises(BadArgument, match=rf"^identity=.*: U\+{ord(sign):04X} [A-Z0-9 -]+is invisible"):
                check_name(name)


def test_invisible_characters_are_rejected_at_every_door(path):
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        for attempt in (database.__setitem__, database.add, lambda name, _: database.rename("lena", name)):
            with pytest.raises(BadArgument, match="is invisible"):
                attempt("le\u200cna", unit(1)[0])
        with pytest.raises(BadArgument, match="is invisible"):
            database.update({"omar": unit(1)[0], "\u3164": unit(1)[0]})
        assert list(database) == ["lena"]


NEEDED = {
    "Persian": ["\u0645\u06cc\u200c\u0631\u0648\u062f", "\u0646\u064e\u200c\u0647\u0627"],
    "Hindi": ["\u0915\u094d\u200d\u0937", "\u0915\u094d\u200c\u0937"],
    "Bengali": ["\u09b0\u200d\u09cd\u09af"],
    "Sinhala": ["\u0dc1\u0dca\u200d\u0dbb\u0dd3"],
    "Japanese": ["\u845b\U000e0100\u57ce"],
    "Mongolian": ["\u182c\u180b"],
    "emoji": [
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
        "\U0001f469\U0001f3fd\u200d\u2695\ufe0f",
        "\U0001f642\u200d\u2194\ufe0f",
    ],
    "flags": ["\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"],
}


@pytest.mark.parametrize("names", NEEDED.values(), ids=NEEDED)
def test_invisible_characters_that_writing_needs_are_accepted(names):
    assert [check_name(name) for name in names] == names


ALIKE = {
    "capitals": ("Lena", "lena"),
    "capitals and accents": ("JOSE", "Jos\u00e9"),
    "a Cyrillic letter": ("admin", "\u0430dmin"),
    "all of them Cyrillic": ("coco", "\u0441\u043e\u0441\u043e"),
    "and capitals": ("ADMIN", "\u0430dmin"),
    "l and I": ("Ian", "lan"),
    "rn and m": ("Cameron", "Carneron"),
    "O and 0": ("Otto", "0tto"),
    "blanks": ("Lena M.", "lena\u00a0 M."),
    "with and without a joiner": ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u0937"),
}


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=ALIKE)
def test_names_that_look_the_same_are_found_whichever_was_first(one, other):
    for new, known in ((one, other), (other, one)):
        assert known_like(new, ["somebody", known, new]) == [known]
        assert names_alike([new], ["somebody", known]) == names_alike([one, other], []) == [tuple(sorted([one, other]))]


def test_names_that_look_different_are_not_alike():
    names = ["lena", "helena", "Jos\u00e9", "Jo\u00e3o", "\u674e\u5c0f\u9f8d", "\u0645\u0631\u064a\u0645", "omar"]
    assert names_alike(names, [*names, "ivan"]) == []
    assert known_like("lena", names) == []


def test_names_that_look_the_same_are_told_apart_by_their_code_points():
    assert told_apart(["admin", "\u0430dmin"]) == ["admin", "\u0430dmin (with U+0430)"]
    assert told_apart(["Jose", "Jos\u00e9"]) == ["Jose", "Jos\u00e9"]


def test_old_names_with_invisible_characters_can_be_renamed_and_forgotten(path):
    with FaceDatabase(path) as database:
        with database._engine.change() as change:  # as it was done before such names were refused
            change.put(Addition("le\u200ena", unit(1)))
            change.put(Addition("om\u202ear", unit(1)))
        database.rename("le\u200ena", "lena")
        database.forget("om\u202ear")
        assert list(database) == ["lena"]
