"""One person's pictures, arranged anew: the others stay as they are, and all of it lasts or none."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.database import FaceDatabase, UnknownPerson
from facerec.database.one_person import arrange, merge, put_back, take_out
from facerec.errors import BadArgument
from tests.facerec.database.helpers import photo, unit


@pytest.fixture
def filled(database) -> FaceDatabase:
    """lena with three pictures, otto with one, in a database of every kind."""
    for seed in range(3):
        database.add("lena", unit(3)[seed], photo(seed))
    database.add("otto", unit(1, seed=9)[0], photo(9))
    return database


def jpegs(database: FaceDatabase, identity: str) -> list[bytes]:
    return [jpeg for jpeg, _ in database._pictures(identity)]


def test_arrange_keeps_pictures_with_their_encodings_and_makes_the_last_the_portrait(filled):
    before, portrait = jpegs(filled, "lena"), filled._pictures("lena")[0][1]
    arrange(filled, " lena ", [2, 0])
    assert jpegs(filled, "lena") == [before[2], before[0]]
    assert np.array_equal(filled.encodings("lena"), unit(3)[[2, 0]])
    assert filled._pictures("lena")[-1][1] == portrait
    names, distances = filled.nearest(unit(3)[1], k=2)
    assert distances[names == "lena"] > 0.1  # the left-out picture no longer counts
    assert len(filled) == 2 and np.array_equal(filled.encodings("otto"), unit(1, seed=9))


@pytest.mark.parametrize("order", [[], [0, 0], [3], [-1], [0, 1, 2, 0]])
def test_arrange_rejects_an_order_that_makes_no_sense(filled, order):
    before = jpegs(filled, "lena")
    with pytest.raises(BadArgument, match="order="):
        arrange(filled, "lena", order)
    assert jpegs(filled, "lena") == before


def test_arrange_needs_a_photo_of_each_encoding():
    database = FaceDatabase(":memory:")
    database.add("lena", unit(2), photo(1))
    with pytest.raises(BadArgument, match="2 encodings and 1 photos"):
        arrange(database, "lena", [0])
    assert len(database.encodings("lena")) == 2


def test_merge_makes_two_people_one_and_keeps_the_portrait(filled):
    portrait = filled._pictures("lena")[-1]
    merge(filled, "lena", "otto")
    assert list(filled) == ["lena"] and len(jpegs(filled, "lena")) == 4
    assert filled._pictures("lena")[-1] == portrait
    assert np.array_equal(filled.encodings("lena"), np.concatenate([unit(1, seed=9), unit(3)]))
    with pytest.raises(BadArgument, match="the same person"):
        merge(filled, "lena", "lena ")
    with pytest.raises(UnknownPerson, match="otto"):
        merge(filled, "lena", "otto")
    assert list(filled) == ["lena"]


def test_removal_can_be_undone_unless_the_name_was_given_away(filled):
    pictures = jpegs(filled, "lena")
    person = take_out(filled, "lena")
    assert list(filled) == ["otto"] and filled.nearest(unit(3)[0])[0][0, 0] == "otto"
    put_back(filled, person)
    assert jpegs(filled, "lena") == pictures and np.array_equal(filled.encodings("lena"), unit(3))
    take_out(filled, "lena")
    filled.add("lena", unit(1, seed=5)[0])
    with pytest.raises(BadArgument, match="another person got that name"):
        put_back(filled, person)
    with pytest.raises(UnknownPerson, match="mia"):
        take_out(filled, "mia")
