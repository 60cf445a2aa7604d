"""Damage: what the disk has changed is named and left out, the rest serves, and nothing is written on top of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from facerec.database import DamagedDatabase, DamageFound, FaceDatabase, UnknownPerson
from facerec.database.sqlite import checked
from facerec.errors import FaceError
from tests.facerec.database.helpers import jpeg, photo, unit

PEOPLE = [f"person number {i}" for i in range(40)]


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> tuple[bytes, dict]:
    """The bytes of a file with forty people, and what it holds of each: encodings and pictures."""
    path = tmp_path_factory.mktemp("whole") / "people.db"
    with FaceDatabase(path) as database:
        database.update(zip(PEOPLE, unit(40, 1, 128), strict=True))
        for i, name in enumerate(PEOPLE[:4]):
            database.add(name, unit(1, 100 + i, 128), photo(i, 90, 90))
        held = {name: held_of(database, name) for name in PEOPLE}
    return path.read_bytes(), held


@pytest.fixture
def damaged(path, content) -> Callable[[bytes], Path]:
    """Makes that file, with some bytes changed: a bit in the middle of each that is given."""

    def make(*pieces: bytes) -> Path:
        data = bytearray(content[0])
        for piece in pieces:
            data[data.index(piece) + len(piece) // 2] ^= 1
        path.write_bytes(data)
        return path

    return make


def held_of(database: FaceDatabase, name: str) -> tuple[set, set]:
    return {encoding.tobytes() for encoding in database.encodings(name)}, set(database._engine.pictures(name))


def by_sql(path: Path, statement: str, *values) -> None:
    """Change the file as no version of ours does."""
    db = sqlite3.connect(path)
    with db:
        db.execute(statement, values)
    db.close()


def test_damaged_encoding_is_named_and_left_out(damaged):
    path = damaged(unit(1, 102, 128)[0].tobytes()[100:160])
    with FaceDatabase(path) as database:
        with pytest.warns(
            DamageFound, match="people.db is damaged, and this is left out: an encoding of 'person number 2'"
        ):
            assert database.nearest(unit(1, 102, 128))[1][0, 0] > 0.5
        assert database.encodings(PEOPLE[2]).tobytes() == unit(40, 1, 128)[2].tobytes()
        assert database.nearest(unit(40, 1, 128))[0][:, 0].tolist() == PEOPLE == list(database)


def test_person_without_a_whole_encoding_is_an_error_and_not_found(damaged):
    lost = unit(40, 1, 128)[30]
    with FaceDatabase(damaged(lost.tobytes()[100:160])) as database:
        with pytest.warns(DamageFound), pytest.raises(DamagedDatabase, match="every encoding of 'person number 30'"):
            database.encodings(PEOPLE[30])
        assert PEOPLE[30] not in database.nearest(lost, k=40)[0]
        with pytest.raises(UnknownPerson):
            database.encodings("person number 50")


def test_damaged_photo_is_named_and_left_out(damaged, content):
    name = PEOPLE[1]
    ((large, small),) = content[1][name][1]
    for piece in (large, small):
        with FaceDatabase(damaged(piece[-200:])) as database:
            with pytest.warns(DamageFound, match="a photo of 'person number 1'"):
                assert database.photos(name) == []
            assert database.thumbnail(name) is None and len(database.encodings(name)) == 2


def test_damaged_name_is_left_out_and_not_found(damaged, content):
    data, name = bytearray(content[0]), b"person number 17"
    at = data.index(name, data.index(name) + 1) if data.count(name) > 2 else data.index(name)
    starts = [i for i in range(len(data)) if data.startswith(name, i)]  # in the table, and in the index of names
    assert at in starts
    for start in starts:
        data[start + 15] ^= 2
    path = damaged()
    path.write_bytes(data)
    with FaceDatabase(path) as database:
        with pytest.warns(DamageFound, match="the name of person number 18"):
            assert list(database) == PEOPLE[:17] + PEOPLE[18:]
        identities, _ = database.nearest(unit(40, 1, 128)[17], k=40)
        assert sorted(filter(None, identities[0])) == sorted(PEOPLE[:17] + PEOPLE[18:])


def test_encoding_or_photo_of_another_person_is_damage(damaged):
    path = damaged()
    by_sql(path, "UPDATE encodings SET person = 8 WHERE person = 9")
    by_sql(path, "UPDATE photos SET person = 8 WHERE person = 4")
    with FaceDatabase(path) as database, pytest.warns(DamageFound, match="an encoding of 'person number 7'"):
        assert database.encodings(PEOPLE[7]).tobytes() == unit(40, 1, 128)[7].tobytes()
        assert database.photos(PEOPLE[7]) == []
        assert database.nearest(unit(40, 1, 128)[8])[0][0, 0] != PEOPLE[7]


def test_damaged_file_takes_no_change_and_its_rest_moves_to_another(damaged, content, tmp_path):
    large = next(iter(content[1][PEOPLE[3]][1]))[0]
    lost = unit(40, 1, 128)[30].tobytes()[100:160]
    path = damaged(lost, large[-200:])
    before = path.read_bytes()
    with FaceDatabase(path) as database, FaceDatabase(tmp_path / "new.db") as new, pytest.warns(DamageFound):
        for change in (
            lambda: database.add("omar", unit(1, 7, 128)),
            lambda: database.update({"omar": unit(1, 7, 128)}),
            lambda: database.rename(PEOPLE[0], "omar"),
            lambda: database.remove(PEOPLE[0]),
            lambda: database.forget(PEOPLE[0]),
            lambda: database.label("one:1"),
            database.clear,
            database.tidy,
        ):
            with pytest.raises(DamagedDatabase, match=r"people.db is damaged \(an encoding of .* can't be changed"):
                change()
        database.export_to(tmp_path / "rest.zip")
        assert new.import_from(tmp_path / "rest.zip") == 39
        assert {name: held_of(new, name) for name in new} == {
            name: (encodings, set() if name == PEOPLE[3] else pictures)
            for name, (encodings, pictures) in content[1].items()
            if name != PEOPLE[30]
        }
        new.add("omar", unit(1, 7, 128))
    assert path.read_bytes() == before


def test_page_that_can_not_be_read_costs_only_the_people_on_it(damaged, content, tmp_path):
    page_of = {name: content[0].index(e.tobytes()) // 4096 for name, e in zip(PEOPLE, unit(40, 1, 128), strict=True)}
    page = page_of[PEOPLE[20]]
    path, data = damaged(), bytearray(content[0])
    data[page * 4096 : page * 4096 + 8] = bytes([255] * 8)
    path.write_bytes(data)
    rest = [name for name in PEOPLE if page_of[name] != page]
    assert 30 <= len(rest) < 40
    with (
        FaceDatabase(path) as database,
        FaceDatabase(":memory:") as new,
        pytest.warns(DamageFound, match=r"left out: all of 'person number \d+', .* more$"),
    ):
        identities, distances = database.nearest(unit(40, 1, 128))
        assert [name for name, far in zip(identities[:, 0], distances[:, 0], strict=True) if far < 1] == rest
        database.export_to(tmp_path / "rest.zip")
        assert new.import_from(tmp_path / "rest.zip") == len(rest)


def test_damaged_index_of_sqlite_is_noticed(damaged):
    path = damaged()
    with sqlite3.connect(path) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'encodings_person'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    data[page * size - 4 : page * size] = bytes(4)  # the entries that were written first lie at the end
    path.write_bytes(data)
    with FaceDatabase(path) as database:
        with pytest.warns(DamageFound):
            database.nearest(unit(1, 7, 128))
        with pytest.raises(DamagedDatabase):
            database.add("omar", unit(1, 7, 128))
    with FaceDatabase(path) as database, pytest.raises(DamagedDatabase):
        database.add("omar", unit(1, 7, 128))


def test_damage_found_while_it_is_open_ends_the_changes(path):
    with FaceDatabase(path) as database:
        database.update({"lena": unit(1, 1), "omar": unit(1, 2)})
        by_sql(path, "UPDATE encodings SET encoding = ? WHERE id = 1", unit(1, 3)[0].tobytes())
        with pytest.warns(DamageFound, match="'lena'"):
            assert database.nearest(unit(1, 1), k=2)[0].tolist() == [["omar", None]]
        with pytest.raises(DamagedDatabase, match="'lena'"):
            database["nina"] = unit(1, 4)


def test_of_a_large_file_the_pages_are_looked_through_before_a_change(damaged, content, monkeypatch):
    monkeypatch.setattr(checked, "LOOK_THROUGH", 0)
    lost = content[0].index(unit(40, 1, 128)[30].tobytes())
    with FaceDatabase(damaged(content[0][lost : lost + 60])) as database:
        database.add("omar", unit(1, 7, 128))
        assert database.nearest(unit(1, 7, 128))[0].tolist() == [["omar"]]
    path, data = damaged(), bytearray(content[0])
    data[lost // 4096 * 4096 : lost // 4096 * 4096 + 8] = bytes(8)
    path.write_bytes(data)
    with FaceDatabase(path) as database, pytest.raises(DamagedDatabase):
        database.add("omar", unit(1, 7, 128))


SCATTERED = (1, 8, 64, 512)
SEEDS = [*range(16), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(16, 40))]  # two of each kind


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore::facerec.database.DamageFound")
def test_whatever_bytes_are_damaged_nothing_false_is_said_and_nothing_acknowledged_lost(path, content, seed):
    rng, (whole, held) = np.random.default_rng(seed), content
    data = bytearray(whole)
    if seed % 2:
        at = int(rng.integers(len(data) - 512))
        data[at : at + 512] = rng.bytes(512)
    else:
        for at in rng.integers(0, len(data), SCATTERED[seed // 2 % 4]):
            data[at] = int(rng.integers(256))
    path.write_bytes(data)
    added = False
    with suppress(FaceError), FaceDatabase(path) as database:
        with suppress(FaceError):
            database.add("newcomer", unit(1, 999, 128), jpeg(photo(9)))
            added, held = True, held | {"newcomer": held_of(database, "newcomer")}
        check_what_is_said(database, held)
    if added:
        with FaceDatabase(path) as again:
            assert {name: held_of(again, name) for name in again} == held
            assert again.nearest(unit(1, 999, 128))[0][0, 0] == "newcomer"


def check_what_is_said(database: FaceDatabase, held: dict) -> None:
    """Names, encodings and photos are those that were written, and the nearest person is near."""
    with suppress(FaceError):
        assert set(database) <= set(held)
    for name, (encodings, pictures) in held.items():
        with suppress(FaceError):
            assert held_of(database, name)[0] <= encodings
            assert held_of(database, name)[1] <= pictures
    with suppress(FaceError):
        identities, distances = database.nearest(unit(40, 1, 128))
        for i, name in enumerate(identities[:, 0]):
            assert distances[i, 0] > 0.1 or name == PEOPLE[i]
