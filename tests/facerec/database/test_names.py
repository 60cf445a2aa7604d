"""Names: hostile ones are data, look-alikes are one, and what can't be a name is rejected."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from facerec.database import FaceDatabase, UnknownPerson
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


@pytest.mark.parametrize("hidden", "\u202e\u2066\u200b\u200e\u00ad\ufeff\U000e0001")
def test_invisible_characters_are_rejected(database, hidden):
    for name in (f"le{hidden}na", f"{hidden}lena", f"lena {hidden}"):
        with pytest.raises(BadArgument, match=rf"^identity=.*: U\+{ord(hidden):04X} [A-Z -]+ is invisible"):
            database[name] = unit(1)[0]
    database["lena"] = unit(1)[0]
    with pytest.raises(BadArgument, match="is invisible"):
        database.rename("lena", f"le{hidden}na")
    assert list(database) == ["lena"]


def test_joiners_and_flags_are_accepted(database):
    flag = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    names = ["\u0645\u06cc\u200c\u0631\u0648\u062f", "\u0915\u094d\u200d\u0937", flag]
    database.update(dict(zip(names, unit(3), strict=True)))
    assert list(database) == names


def test_old_names_with_invisible_characters_can_be_renamed_and_forgotten(path):
    with FaceDatabase(path) as database:
        with database._engine.change() as change:  # as it was done before such names were refused
            change.put("le\u200ena", unit(1))
            change.put("om\u202ear", unit(1))
        database.rename("le\u200ena", "lena")
        database.forget("om\u202ear")
        assert list(database) == ["lena"]
