"""Many people at once: all of them or none."""

from __future__ import annotations

import pytest

from facerec.database import FaceDatabase
from facerec.errors import BadArgument
from tests.facerec.database.helpers import unit


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ([("omar", unit(1)), ("lena", unit(1)[0], 1)], r"people\[1\] must be a pair, .*; it is a tuple of 3"),
        ([["lena"]], r"people\[0\] must be a pair, .*; it is a list of 1"),
        (["le"], r"people\[0\] must be a pair, .*; it is a str"),
        ([None], r"people\[0\] must be a pair, .*; it is None"),
        (5, "people must be a mapping, or pairs of identity and encoding; it is an int"),
        ("lena", "people must be a mapping, .*; it is a str"),
    ],
)
def test_items_that_are_not_pairs_are_rejected(database, people, said):
    with pytest.raises(BadArgument, match=said):
        database.update(people)
    assert list(database) == []


def test_generator_may_use_the_database_that_it_fills(database):
    def people():
        for number in range(3):
            database.add("another person", unit(1, number))
            assert len(database) == 1
            assert database.nearest(unit(1))[0][0, 0] == "another person"
            yield f"person {number}", unit(1, number)[0]

    database.update(people())
    assert set(database) == {"another person", "person 0", "person 1", "person 2"}
    assert len(database.encodings("another person")) == 3


def test_others_can_write_while_people_are_drawn(path):
    with FaceDatabase(path) as database, FaceDatabase(path) as other:
        other._engine.db.execute("PRAGMA busy_timeout = 0")

        def people():
            for number in range(2500):
                if number % 500 == 0:
                    other.add("another person", unit(1))
                yield f"person {number}", unit(1)[0]

        database.update(people())
        assert len(other) == 2501


def test_failing_generator_changes_nothing(path):
    def people():
        for i in range(1500):
            yield f"person {i}", unit(1)[0]
        raise RuntimeError("the camera fell down")

    with FaceDatabase(path) as database:
        database["nina"] = unit(1, 4)[0]
        with pytest.raises(RuntimeError):
            database.update(people())
        assert list(database) == ["nina"]
        assert database.nearest(unit(1)[0], 2)[0].tolist() == [["nina", None]]
