"""A database as a dict, and what it answers: everything that holds for every engine."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from facerec.database import BadDatabase, FaceDatabase, UnknownPerson
from facerec.database.engine import Addition
from facerec.errors import BadArgument, UnknownIdentity, UnreadableImage
from tests.facerec.database.helpers import HARMS, D, exact, jpeg, photo, unit


def test_behaves_as_a_dict(database):
    lena, omar = unit(2)
    assert not database
    assert list(database) == []
    assert database.get("lena") is None
    assert "lena" not in database
    database["lena"] = lena
    database.update({"omar": omar})
    assert len(database) == 2
    assert list(database) == list(database.keys()) == ["lena", "omar"]
    assert "lena" in database
    assert 5 not in database
    assert database["lena"].dtype == np.float32
    assert np.array_equal(database["lena"], lena)
    assert database == {"omar": omar, "lena": lena}
    assert database != {"omar": omar}
    assert database != {"omar": omar, "lena": omar}
    assert [(name, encoding.shape) for name, encoding in database.items()] == [("lena", (D,)), ("omar", (D,))]
    database["lena"] = omar
    assert np.array_equal(database["lena"], omar)
    assert len(database.encodings("lena")) == 1
    del database["lena"]
    assert np.array_equal(database.pop("omar"), omar)
    assert len(database) == 0
    database.update(lena=lena)
    database.clear()
    assert list(database) == []


def test_unknown_name_raises_keyerror_and_unknown_identity(database):
    database["lena"] = unit(1)[0]
    for attempt in (
        lambda: database["lean"],
        lambda: database.encodings("lean"),
        lambda: database.remove("lean"),
        lambda: database.forget("lean"),
        lambda: database.rename("lean", "x"),
        lambda: database.thumbnail("lean"),
        lambda: database.photos("lean"),
        lambda: database.pop("lean"),
    ):
        with pytest.raises(UnknownPerson, match="^the database has no one called 'lean'; did you mean lena") as raised:
            attempt()
        assert isinstance(raised.value, UnknownIdentity)
        assert isinstance(raised.value, KeyError)
    with pytest.raises(KeyError):
        database[3]
    with pytest.raises(KeyError):
        del database["\ud800"]
    assert list(database) == ["lena"]


@pytest.mark.parametrize(("asked", "known"), [("jose", "José"), ("LUCIA", "Lucía"), ("josé ", "Jose")])
def test_unknown_name_suggests_similar_ones_whatever_case_and_accents(database, asked, known):
    database.update({known: unit(1)[0], "Anna": unit(1, 1)[0]})
    with pytest.raises(UnknownPerson, match=f"did you mean {known}[?]"):
        database[asked]


def test_repr_says_how_many_people_and_that_it_is_closed(database):
    where = database.where
    database["lena"] = unit(1)[0]
    assert repr(database) == f"FaceDatabase({where!r}): 1 person, encodings of an unknown network"
    with pytest.raises(UnknownPerson, match="it knows 1 person$"):
        database["xyz"]
    database["omar"] = unit(1)[0]
    assert repr(database).startswith(f"FaceDatabase({where!r}): 2 people, ")
    database.close()
    assert repr(database) == f"FaceDatabase({where!r}): closed"


@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_repr_says_that_the_file_is_gone(path, harm):
    with FaceDatabase(path) as database:
        HARMS[harm](path)
        assert repr(database) == f"FaceDatabase({str(path)!r}): its file is gone"
    assert repr(database) == f"FaceDatabase({str(path)!r}): closed"


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_several_encodings_represent_one_person(tmp_path, represent):
    several, other, probe = unit(3, 1), unit(1, 2), unit(5, 3)
    for where in (":memory:", f"milvus:{tmp_path / 'm.db'}"):
        if where.startswith("milvus"):
            pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
        with FaceDatabase(where, represent=represent) as database:
            for encoding in several:
                database.add("lena", encoding)
            database.add("omar", other)
            assert np.array_equal(database.encodings("lena"), several)
            mean = several.mean(axis=0) / np.linalg.norm(several.mean(axis=0))
            assert np.allclose(database["lena"], mean, atol=1e-6)
            identities, distances = database.nearest(probe, k=2)
            lena = exact(mean[None] if represent == "mean" else several, probe).min(axis=1)
            expected = np.stack([lena, exact(other, probe)[:, 0]], axis=1)
            assert np.allclose(distances, np.sort(expected, axis=1), atol=1e-6)
            assert (identities == np.array(["lena", "omar"])[np.argsort(expected, axis=1)]).all()


def test_nearest_agrees_with_an_exact_search(database):
    known, probes = unit(300, 1), unit(20, 2)
    database.update({f"person {i}": encoding for i, encoding in enumerate(known)})
    for gone in range(0, 300, 7):
        database.remove(f"person {gone}")
    distances = exact(known, probes)
    distances[:, ::7] = np.inf
    identities, found = database.nearest(probes, k=5)
    assert identities.shape == found.shape == (20, 5)
    assert identities.dtype == object
    assert found.dtype == np.float32
    order = np.argsort(distances, axis=1)[:, :5]
    assert identities.tolist() == [[f"person {i}" for i in row] for row in order]
    assert np.allclose(found, np.take_along_axis(distances, order, axis=1), atol=1e-6)


def test_nearest_fills_up_with_none_if_there_are_too_few_people(database):
    identities, distances = database.nearest(unit(2), k=2)
    assert identities.tolist() == [[None, None]] * 2
    assert np.isinf(distances).all()
    database["lena"] = unit(1)[0]
    identities, distances = database.nearest(unit(1)[0], k=3)
    assert identities.tolist() == [["lena", None, None]]
    assert distances[0, 0] == 0
    assert np.isinf(distances[0, 1:]).all()
    assert database.nearest(np.empty((0, D), np.float32), k=2)[0].shape == (0, 2)


def test_nearest_names_everyone_at_most_however_many_are_asked_for(database):
    """An answer of a billion places would take twelve gigabytes."""
    known = unit(1200, 1)
    database.update({str(number): encoding for number, encoding in enumerate(known[:3])})
    identities, distances = database.nearest(known[:1], k=10**9)
    assert identities.shape == distances.shape == (1, 1000) and list(identities[0, :4]).index(None) == 3
    if not database.where.startswith("milvus:"):
        database.update({str(number): encoding for number, encoding in enumerate(known)})
        identities, distances = database.nearest(known[:2], k=10**9)
        order = np.argsort(exact(known, known[:2]), axis=1, kind="stable")
        assert identities.tolist() == [[str(number) for number in row] for row in order]


def test_dates_outside_the_range_of_tables_hide_no_person():
    with FaceDatabase(":memory:") as database:
        database["lena"] = unit(1)[0]
        with database._engine.change() as change:
            change.put(Addition("omar", unit(1), times=(5e10, -5e9)))  # the year 3554, and 1811
        table = database.people().set_index("identity")
        assert table.added.isna().tolist() == [False, True] and table.changed["omar"].year == 1811


def test_nearest_tells_small_distances_apart(path):
    """Products of encodings lose what is below 3e-4: subtraction decides."""
    base = unit(1, 4, 128)[0].astype(np.float64)
    step = unit(1, 5, 128)[0] * 1e-4
    close = [base + step * i for i in range(50)]
    close = np.array([encoding / np.linalg.norm(encoding) for encoding in close], np.float32)
    with FaceDatabase(path) as database:
        database.update({str(i): encoding for i, encoding in enumerate(close)})
        identities, distances = database.nearest(close, k=2)
    assert identities[:, 0].tolist() == [str(i) for i in range(50)]
    assert (distances[:, 0] == 0).all()
    assert np.allclose(distances[:, 1], 1e-4, rtol=0.2)


@pytest.mark.parametrize("k", [0, -1, 1.5, "2", None, True])
def test_nearest_rejects_a_k_that_is_not_a_count(database, k):
    with pytest.raises(BadArgument, match="^k="):
        database.nearest(unit(1), k)


def test_rename_keeps_encodings_and_rejects_a_name_that_is_taken(database):
    database.add("lena", unit(2), photo())
    database.add("omar", unit(1, 3))
    with pytest.raises(BadArgument, match="new='omar'"):
        database.rename("lena", "omar")
    with pytest.raises(BadArgument, match="^identity=''"):
        database.rename("lena", "")
    for name in ("lena", " lena ", "omar"):
        database.rename(name, name)
    with pytest.raises(UnknownPerson, match="did you mean lena"):
        database.rename("leena", "leena")
    database.rename("lena", "Léna")
    assert set(database) == {"Léna", "omar"}
    assert np.array_equal(database.encodings("Léna"), unit(2))
    assert len(database.photos("Léna")) == 1
    assert database.nearest(unit(2)[0])[0][0, 0] in ("Léna", "omar")


def test_find_ignores_case_and_accents(database):
    database.update({name: unit(1)[0] for name in ("José Ramírez", "Joseph", "Anna", "Łucja")})
    assert set(database.find("JOSE")) == {"José Ramírez", "Joseph"}
    assert database.find("ramirez") == ["José Ramírez"]
    assert database.find(" anna\u00a0") == ["Anna"]
    assert len(database.find("", limit=2)) == 2
    assert database.find("", limit=np.int64(0)) == []
    assert database.find("%") == []
    for limit in (-1, "x", None, 1.5, True):
        with pytest.raises(BadArgument, match="^limit="):
            database.find("a", limit)
    with pytest.raises(BadArgument, match="^text=5"):
        database.find(5)


def test_photos_are_kept_and_have_thumbnails(database):
    assert database.add("lena", unit(1), photo(1, 300, 200)) is None
    database.add("lena", unit(1, 2)[0], jpeg(photo(2)))
    database.add("omar", unit(1, 3)[0])
    first, second = database.photos("lena")
    assert first.shape == (300, 200, 3)
    assert np.abs(first.astype(int) - photo(1, 300, 200)).mean() < 3
    assert np.array_equal(second, np.asarray(Image.open(io.BytesIO(jpeg(photo(2))))))
    assert max(database.thumbnail("lena").shape) <= 112
    assert database.thumbnail("omar") is None
    assert database.photos("omar") == []
    table = database.people().set_index("identity")
    assert table.encodings.to_dict() == {"lena": 2, "omar": 1}
    assert table.photos.to_dict() == {"lena": 2, "omar": 0}
    assert (table.changed >= table.added).all()
    assert abs(table.added["lena"].timestamp() - time.time()) < 60
    database["lena"] = unit(1)[0]
    assert database.photos("lena") == []


def test_several_photos_are_added_whole_or_not_at_all(database):
    database.add("lena", unit(2), [photo(1), jpeg(photo(2))])
    before = database.people().set_index("identity").loc["lena"]
    assert (before.encodings, before.photos, len(database.photos("lena"))) == (2, 2, 2)
    with pytest.raises(UnreadableImage, match="the photo of lena is not a JPEG"):
        database.add("lena", unit(2), [photo(3), b"no picture"])
    assert np.array_equal(database.encodings("lena"), unit(2)) and len(database.photos("lena")) == 2
    database.add("lena", unit(3)[2:], [photo(4)], replace=True)
    after = database.people().set_index("identity").loc["lena"]
    assert np.array_equal(database.encodings("lena"), unit(3)[2:]) and after.photos == 1
    assert after.added == before.added <= after.changed


def test_people_are_there_again_after_closing(path):
    with FaceDatabase(path) as database:
        database.update({str(i): encoding for i, encoding in enumerate(unit(50))})
        database.add("7", unit(1, 5)[0], photo())
        before = database.encodings("7")
    with FaceDatabase(path) as database:
        assert list(database) == [str(i) for i in range(50)]
        assert np.array_equal(database.encodings("7"), before)
        assert len(database.photos("7")) == 1
    with pytest.raises(BadDatabase, match="is closed"):
        database["7"]
