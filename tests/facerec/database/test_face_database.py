"""A database of people: as a dict to use, and safe from kills, other processes, other networks, strangers' files."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facerec._files import ROOT
from facerec.database import BadDatabase, FaceDatabase, NobodyCalled, NotForgottenYet, OtherNetwork, fingerprint_of
from facerec.database import archive as database_archive
from facerec.database import search as database_search
from facerec.database import sqlite as database_sqlite
from facerec.database.entries import pack
from facerec.errors import BadArgument, FaceError, NoFaceFound, UnknownIdentity, UnreadableImage

ROOMS = (
    "database_entries",
    "database_search",
    "database_sqlite",
    "database_milvus",
    "database_archive",
    "face_database",
)
D = 16
HOSTILE = [
    "Robert'); DROP TABLE people;--",
    'she said "hello"',
    "back\\slash",
    "../../etc/passwd",
    "C:\\con",
    "%_*?[a-z]",
    "José",
    "李小龍",
    "👩‍👩‍👧‍👦",
    "مريم",
    "NULL",
    "' OR '1'='1",
    "people/../manifest.json",
    "{n}",
    "a  wide space",
    "x" * 200,
    "😀" * 200,
]


def unit(m: int, seed: int = 0, d: int = D) -> np.ndarray:
    """(m, d) encodings of unit length, as networks give them."""
    encodings = np.random.default_rng(seed).normal(size=(m, d))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32)


def exact(known: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """The oracle: all distances, (m, n)."""
    return np.linalg.norm(known[None].astype(np.float64) - probes[:, None], axis=2)


def photo(seed: int = 0, height: int = 40, width: int = 30) -> np.ndarray:
    """Soft colours, which JPEG keeps almost as they are."""
    few = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(few).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(picture: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "people.db"


@pytest.fixture(params=["sqlite", "memory", "milvus"])
def database(request, tmp_path):
    """An empty database of every kind."""
    if request.param == "milvus":
        pytest.importorskip("pymilvus", reason="pymilvus is not installed")
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    where = {"sqlite": tmp_path / "people.db", "memory": ":memory:", "milvus": f"milvus:{tmp_path / 'milvus.db'}"}
    with FaceDatabase(where[request.param]) as database:
        yield database


# ---------------------------------------------------------------------------------------------- as a dict
def test_it_is_a_mapping_as_a_dict_is(database):
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


def test_whom_it_does_not_know_is_an_error_of_dicts_and_of_this_project(database):
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
        with pytest.raises(NobodyCalled, match="^nobody called 'lean' is in the database; did you mean lena") as raised:
            attempt()
        assert isinstance(raised.value, UnknownIdentity)
        assert isinstance(raised.value, KeyError)
    with pytest.raises(KeyError):
        database[3]
    with pytest.raises(KeyError):
        del database["\ud800"]
    assert list(database) == ["lena"]


@pytest.mark.parametrize(("asked", "known"), [("jose", "José"), ("LUCIA", "Lucía"), ("josé ", "Jose")])
def test_who_is_meant_is_said_whatever_case_and_accents(database, asked, known):
    database.update({known: unit(1)[0], "Anna": unit(1, 1)[0]})
    with pytest.raises(NobodyCalled, match=f"did you mean {known}[?]"):
        database[asked]


def test_it_says_what_it_is_and_that_it_is_closed(database):
    where = database.where
    database["lena"] = unit(1)[0]
    assert repr(database) == f"FaceDatabase({where!r}): 1 person, encodings of an unknown network"
    with pytest.raises(NobodyCalled, match="it knows 1 person$"):
        database["xyz"]
    database["omar"] = unit(1)[0]
    assert repr(database).startswith(f"FaceDatabase({where!r}): 2 people, ")
    database.close()
    assert repr(database) == f"FaceDatabase({where!r}): closed"


@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_it_says_that_its_file_is_gone(path, harm):
    with FaceDatabase(path) as database:
        HARMS[harm](path)
        assert repr(database) == f"FaceDatabase({str(path)!r}): its file is gone"
    assert repr(database) == f"FaceDatabase({str(path)!r}): closed"


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_several_encodings_stand_for_one_person(tmp_path, represent):
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


def test_the_nearest_are_those_of_the_oracle(database):
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


def test_who_is_asked_for_more_people_than_there_are_gives_none_for_the_rest(database):
    identities, distances = database.nearest(unit(2), k=2)
    assert identities.tolist() == [[None, None]] * 2
    assert np.isinf(distances).all()
    database["lena"] = unit(1)[0]
    identities, distances = database.nearest(unit(1)[0], k=3)
    assert identities.tolist() == [["lena", None, None]]
    assert distances[0, 0] == 0
    assert np.isinf(distances[0, 1:]).all()
    assert database.nearest(np.empty((0, D), np.float32), k=2)[0].shape == (0, 2)


def test_small_distances_are_told_apart(path):
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


def test_names_are_data(database):
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


def test_letters_are_the_same_however_they_are_composed(database):
    composed, decomposed = "José", unicodedata.normalize("NFD", "José")
    assert composed != decomposed
    database[decomposed] = unit(1)[0]
    assert list(database) == [composed]
    assert decomposed in database
    database.remove(decomposed)
    assert composed not in database


def test_blanks_at_the_ends_are_no_part_of_a_name(database):
    database[" lena "] = unit(1)[0]
    database.update({"lena\u00a0": unit(1, 1)[0], "\u3000omar": unit(1, 2)[0], "a  b": unit(1, 3)[0]})
    assert list(database) == ["lena", "omar", "a  b"]
    assert " lena" in database
    assert np.array_equal(database["lena "], unit(1, 1)[0])
    database.rename("omar ", " Omar M. ")
    database.remove(" a  b")
    assert list(database) == ["lena", "Omar M."]
    for attempt in (database.__delitem__, lambda name: database.add(name, unit(1))):
        with pytest.raises((BadArgument, NobodyCalled)):
            attempt("lena\n")
    assert len(database.encodings("lena")) == 1


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\0b", "\x1b[2J", "x" * 201, "\ud800", "a\u2028b", 7, None, b"lena"]
)
def test_what_is_no_name_is_refused(database, name):
    with pytest.raises(BadArgument, match="^identity="):
        database[name] = unit(1)[0]
    with pytest.raises(BadArgument, match="^identity="):
        database.update([("fine", unit(1)[0]), (name, unit(1)[0])])
    assert list(database) == []


@pytest.mark.parametrize("hidden", "\u202e\u2066\u200b\u200e\u00ad\ufeff\U000e0001")
def test_what_nobody_sees_is_no_part_of_a_name(database, hidden):
    for name in (f"le{hidden}na", f"{hidden}lena", f"lena {hidden}"):
        with pytest.raises(BadArgument, match=rf"^identity=.*: U\+{ord(hidden):04X} [A-Z -]+ is invisible"):
            database[name] = unit(1)[0]
    database["lena"] = unit(1)[0]
    with pytest.raises(BadArgument, match="is invisible"):
        database.rename("lena", f"le{hidden}na")
    assert list(database) == ["lena"]


def test_joiners_and_flags_are_seen(database):
    flag = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
    names = ["\u0645\u06cc\u200c\u0631\u0648\u062f", "\u0915\u094d\u200d\u0937", flag]
    database.update(dict(zip(names, unit(3), strict=True)))
    assert list(database) == names


def test_who_came_with_what_nobody_sees_can_be_renamed_and_forgotten(path):
    with FaceDatabase(path) as database:
        with database._engine.change() as change:  # as it was done before such names were refused
            change.put("le\u200ena", unit(1))
            change.put("om\u202ear", unit(1))
        database.rename("le\u200ena", "lena")
        database.forget("om\u202ear")
        assert list(database) == ["lena"]


BAD_ENCODINGS = {
    "NaN": np.where(np.arange(D) == 3, np.nan, unit(1)),
    "infinite": np.where(np.arange(D) == 3, np.inf, unit(1)),
    "long": unit(1) * 1.1,
    "nothing": np.zeros((1, D)),
    "none": np.empty((0, D), np.float32),
    "of 8 numbers": unit(1, d=8),
    "three axes": unit(1)[None],
    "a number": 1.0,
    "text": "lena",
    "texts": np.array(["a"] * D),
    "ragged": [[1.0], [1.0, 2.0]],
    "complex": unit(1) * (1 + 0j),
    "None": None,
}


@pytest.mark.parametrize("encoding", BAD_ENCODINGS.values(), ids=BAD_ENCODINGS)
def test_what_is_no_encoding_is_refused(database, encoding):
    database["omar"] = unit(1, 9)[0]
    for attempt in (
        lambda: database.add("lena", encoding),
        lambda: database.add("omar", encoding),
        lambda: database.update({"lena": encoding}),
    ):
        with pytest.raises(BadArgument, match="encoding"):
            attempt()
    if not isinstance(encoding, np.ndarray) or len(encoding):
        with pytest.raises(BadArgument, match="encoding"):
            database.nearest(encoding)
    assert database == {"omar": unit(1, 9)[0]}


def test_of_all_that_is_wrong_with_an_encoding_its_size_is_said_first(database):
    database["omar"] = unit(1, 9)[0]
    for attempt in (
        lambda: database.add("lena", np.ones(8)),
        lambda: database.update({"lena": np.ones(8)}),
        lambda: database.nearest(np.ones(8)),
        lambda: database.nearest(np.full((2, 8), np.nan)),
    ):
        with pytest.raises(BadArgument, match=r"shape \((2, )?8,?\); one is \(16,\)"):
            attempt()


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
def test_what_is_no_pair_is_refused(database, people, said):
    with pytest.raises(BadArgument, match=said):
        database.update(people)
    assert list(database) == []


def test_who_gives_people_may_read_and_write_the_same_database(database):
    def people():
        for number in range(3):
            database.add("somebody else", unit(1, number))
            assert len(database) == 1
            assert database.nearest(unit(1))[0][0, 0] == "somebody else"
            yield f"person {number}", unit(1, number)[0]

    database.update(people())
    assert set(database) == {"somebody else", "person 0", "person 1", "person 2"}
    assert len(database.encodings("somebody else")) == 3


def test_while_people_are_drawn_others_write(path):
    with FaceDatabase(path) as database, FaceDatabase(path) as other:
        other._engine.db.execute("PRAGMA busy_timeout = 0")

        def people():
            for number in range(2500):
                if number % 500 == 0:
                    other.add("somebody else", unit(1))
                yield f"person {number}", unit(1)[0]

        database.update(people())
        assert len(other) == 2501


def test_encodings_that_are_a_little_off_are_brought_to_unit_length(database):
    database["lena"] = unit(1)[0] * 1.0005
    assert np.linalg.norm(database["lena"]) == pytest.approx(1, abs=1e-6)
    database["omar"] = unit(1)  # (1, D), as the course keeps them
    assert np.array_equal(database["omar"], unit(1)[0])


@pytest.mark.parametrize("k", [0, -1, 1.5, "2", None, True])
def test_k_is_a_count(database, k):
    with pytest.raises(BadArgument, match="^k="):
        database.nearest(unit(1), k)


def test_rename_keeps_encodings_and_refuses_a_name_that_is_taken(database):
    database.add("lena", unit(2), photo())
    database.add("omar", unit(1, 3))
    with pytest.raises(BadArgument, match="new='omar'"):
        database.rename("lena", "omar")
    with pytest.raises(BadArgument, match="^identity=''"):
        database.rename("lena", "")
    for name in ("lena", " lena ", "omar"):
        database.rename(name, name)
    with pytest.raises(NobodyCalled, match="did you mean lena"):
        database.rename("leena", "leena")
    database.rename("lena", "Léna")
    assert set(database) == {"Léna", "omar"}
    assert np.array_equal(database.encodings("Léna"), unit(2))
    assert len(database.photos("Léna")) == 1
    assert database.nearest(unit(2)[0])[0][0, 0] in ("Léna", "omar")


# --------------------------------------------------------------------------------------- photos and tables
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


def test_a_photo_is_kept_without_where_and_when_it_was_taken_and_upright(path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x010E] = "taken at home"
    with FaceDatabase(path) as database:
        database.add("lena", unit(1), jpeg(photo(1, 40, 30), exif=exif))
        assert database.photos("lena")[0].shape == (30, 40, 3)
        database.add("omar", unit(1), photo(1, 300, 3000))
        assert database.photos("omar")[0].shape[1] == 1024
    assert b"taken at home" not in path.read_bytes()


@pytest.mark.parametrize(
    "bad", [b"", b"no picture", jpeg(photo())[:200], jpeg(photo())[:-100], photo()[:, :, :2], photo() / 255, "lena.jpg"]
)
def test_what_is_no_photo_is_refused(database, bad):
    with pytest.raises((UnreadableImage, BadArgument), match="the photo of lena"):
        database.add("lena", unit(1), bad)
    assert "lena" not in database


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "WebP"])
def test_bytes_of_another_picture_are_called_what_they_are(kind):
    stream = io.BytesIO()
    Image.fromarray(photo()).save(stream, kind)
    data = stream.getvalue()
    said = rf"is a {kind} \({len(data)} bytes\); give an array \(H, W, 3\), or a JPEG's bytes$"
    with FaceDatabase(":memory:") as database:
        with pytest.raises(UnreadableImage, match=said):
            database.add("lena", unit(1), data)
        with pytest.raises(UnreadableImage, match=r"is no JPEG that can be opened \(7 bytes\)$"):
            database.add("lena", unit(1), b"nothing")


def test_people_are_found_whatever_case_and_accents(database):
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


# -------------------------------------------------------------------------------------------- on the disk
def test_it_is_there_again_after_closing(path):
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


def test_an_update_is_all_or_nobody(path):
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


def test_files_that_are_no_database_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no database " * 1000)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE things (name TEXT)")
    db.close()
    for file, said in ((text, "can't be used"), (foreign, "of another program")):
        before = file.read_bytes()
        with pytest.raises(BadDatabase, match=said):
            FaceDatabase(file)
        assert file.read_bytes() == before
    for where in (tmp_path, text / "people.db"):
        with pytest.raises(BadArgument, match="where="):
            FaceDatabase(where)


@pytest.mark.parametrize("where", [None, {}, 5, "", "  ", "a\0b", "milvus:", b"people.db", io.BytesIO()])
def test_what_is_no_place_is_refused_and_no_file_appears(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadArgument, match="^where"):
        FaceDatabase(where)
    assert list(tmp_path.iterdir()) == []


def test_arguments_in_the_wrong_order_are_refused(tmp_path, monkeypatch, small_network):
    monkeypatch.chdir(tmp_path)
    for swapped in ((small_network,), (small_network, "people.db")):
        with pytest.raises(BadArgument, match=r"^where must be a path, .*; it is a Functional: FaceDatabase\(where"):
            FaceDatabase(*swapped)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["", "milvus:"])
def test_folders_are_made_and_the_home_folder_has_a_short_name(tmp_path, monkeypatch, kind):
    if kind:
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    with FaceDatabase(f"{kind}~/faces/here/people.db") as database:
        assert database.where == f"{kind}{tmp_path / 'faces' / 'here' / 'people.db'}"
        assert (tmp_path / "faces" / "here" / "people.db").exists()
        database["lena"] = unit(1)[0]
        database.export_to("~/elsewhere/people.zip")
        assert (tmp_path / "elsewhere" / "people.zip").exists()
        assert database.import_from(Path("~/elsewhere/people.zip"), on_conflict="replace") == 1


@pytest.fixture
def home(tmp_path):
    """A folder of somebody whose permissions count, as root's don't, as long as the test runs."""
    if not hasattr(os, "geteuid"):
        pytest.skip("Unix permissions")
    with tempfile.TemporaryDirectory() as folder:
        if root := os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize("what", ["folder", "file", "new file"])
def test_what_can_not_be_written_is_said_with_what_to_do(home, what):
    path = home / "people.db"
    if what != "new file":
        with FaceDatabase(path) as database:
            database["lena"] = unit(1)[0]
    path.chmod(0o400) if what == "file" else home.chmod(0o500)
    forbidden = "the file" if what == "file" else "its folder"
    said = f"people.db can't be written: this user may not write {forbidden}; .* copy it into a folder of your own"
    with pytest.raises(BadDatabase, match=said), FaceDatabase(path) as database:
        database["omar"] = unit(1)[0]
    home.chmod(0o700)
    assert path.exists() == (what != "new file")


def test_that_it_can_not_be_read_is_said(home):
    path = home / "people.db"
    FaceDatabase(path).close()
    path.chmod(0o200)
    with pytest.raises(BadDatabase, match="people.db can't be read: this user may not read the file"):
        FaceDatabase(path)


def test_who_looked_at_a_write_protected_file_keeps_nobody_from_writing_later(home):
    path = home / "people.db"
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
    path.chmod(0o444)
    for _ in range(2):
        with FaceDatabase(path) as database:
            assert list(database) == ["lena"]
            with pytest.raises(BadDatabase, match="may not write the file"):
                database["omar"] = unit(1)[0]
    path.chmod(0o644)
    with FaceDatabase(path) as database:
        database["omar"] = unit(1)[0]
        assert list(database) == ["lena", "omar"]


@pytest.mark.skipif(os.name != "posix", reason="Unix permissions")
@pytest.mark.parametrize("umask", [0, 0o022, 0o277])
def test_what_is_new_only_its_owner_may_read_and_what_is_there_keeps_its_mode(home, umask):
    path, archive = home / "people.db", home / "people.zip"

    def modes() -> dict[str, int]:
        return {file.name: file.stat().st_mode & 0o777 for file in home.iterdir()}

    before = os.umask(umask)
    try:
        with FaceDatabase(path) as database:
            database["lena"] = unit(1)[0]
            database.export_to(archive)
            assert modes() == dict.fromkeys(["people.db", "people.db-wal", "people.db-shm", "people.zip"], 0o600)
        for file in (path, archive):
            file.chmod(0o640)
        with FaceDatabase(path) as database:
            database["omar"] = unit(1)[0]
            database.forget("lena")
            database.export_to(archive)
            assert modes() == dict.fromkeys(["people.db", "people.db-wal", "people.db-shm", "people.zip"], 0o640)
    finally:
        os.umask(before)


def test_a_folder_that_can_not_be_made_is_said(home):
    home.chmod(0o500)
    with pytest.raises(BadArgument, match="where=.*its folder can't be made"):
        FaceDatabase(home / "faces" / "people.db")
    with FaceDatabase(":memory:") as database:
        for target in (home / "people.zip", home / "faces" / "people.zip"):
            with pytest.raises(BadArgument, match=r"path=.*people.zip' can't be written: this user may") as raised:
                database.export_to(target)
            assert str(raised.value).endswith(f"may not write into the folder {str(home)!r}")
    home.chmod(0o700)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, io.BytesIO(), "", b"people.zip"])
def test_what_is_no_path_is_no_archive(path):
    with FaceDatabase(":memory:") as database:
        for attempt in (database.export_to, database.import_from):
            with pytest.raises(BadArgument, match="^path") as raised:
                attempt(path)
            if isinstance(path, io.BytesIO):
                assert "it is a BytesIO; write what is in it into a file first" in str(raised.value)


def test_a_folder_and_a_missing_file_are_no_archives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FaceDatabase(":memory:") as database:
        for attempt in (database.export_to, database.import_from):
            with pytest.raises(BadArgument, match="^path='.' is a folder; a file is needed"):
                attempt(".")
        with pytest.raises(BadArgument, match="^path='people.zip' is not there"):
            database.import_from("people.zip")
        (tmp_path / "notes").write_text("")
        with pytest.raises(BadArgument, match="^path='notes/people.zip' can't be written"):
            database.export_to("notes/people.zip")


# --------------------------------------------------------------------- a file that is taken away meanwhile
def take_place(path: Path) -> None:
    other = path.with_name("other.db")
    with FaceDatabase(other) as database:
        database["somebody else"] = unit(1)[0]
    os.replace(other, path)


HARMS = {
    "removed": Path.unlink,
    "moved": lambda path: path.rename(path.with_name("elsewhere.db")),
    "replaced": take_place,
    "the WAL removed": lambda path: path.with_name("people.db-wal").unlink(),
    "the folder moved": lambda path: path.parent.rename(path.parent.with_name("moved away")),
}


@pytest.fixture
def deep(tmp_path) -> Path:
    return tmp_path / "faces" / "people.db"


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_file_that_is_taken_away_while_it_is_open_acknowledges_nothing(deep, harm):
    with FaceDatabase(deep) as database:
        database.add("lena", unit(1), photo())
        database.nearest(unit(1))
        harm(deep)
        changes = (
            lambda: database.add("omar", unit(1)),
            lambda: database.update({"omar": unit(1)}),
            lambda: database.remove("lena"),
            lambda: database.forget("lena"),
            database.tidy,
        )
        looks = (lambda: database.nearest(unit(1)), lambda: database["lena"], lambda: list(database))
        for attempt in changes if harm is HARMS["the WAL removed"] else changes + looks:
            with pytest.raises(BadDatabase, match=r"people.db(-wal)? was removed, moved or replaced") as raised:
                attempt()
            assert str(raised.value).count(str(deep)) == 1
    if deep.exists():
        with FaceDatabase(deep) as database:
            assert list(database) in (["lena"], ["somebody else"])


@pytest.mark.parametrize("at", ["before", "COMMIT"])
def test_a_file_that_is_taken_away_within_a_change_acknowledges_nothing(path, at):
    with FaceDatabase(path) as database, pytest.raises(BadDatabase, match="was removed"):
        if at == "COMMIT":
            database._engine.db.set_trace_callback(lambda said: path.unlink() if said == "COMMIT" else None)
        with database._engine.change() as change:
            change.put("lena", unit(1))
            if at == "before":
                path.unlink()


def add_when_told(path: str, told, said) -> None:
    with FaceDatabase(path) as database:
        said.put(len(database))
        told.get(timeout=60)
        try:
            database["omar"] = unit(1, 3)[0]
        except BadDatabase as error:
            said.put(str(error))
        else:
            said.put("done")


def test_every_process_notices_that_a_file_was_replaced(path):
    spawn = multiprocessing.get_context("spawn")
    told, said = spawn.Queue(), spawn.Queue()
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
    processes = [spawn.Process(target=add_when_told, args=(str(path), told, said)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [said.get(timeout=60) for _ in processes] == [1, 1]
    take_place(path)
    for _ in processes:
        told.put("now")
    for _ in processes:
        assert "people.db was removed, moved or replaced" in said.get(timeout=60)
    for process in processes:
        process.join()
    with FaceDatabase(path) as database:
        assert list(database) == ["somebody else"]


def test_tidying_leaves_the_file_where_it_is_and_a_folder_may_be_changed(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FaceDatabase("people.db") as database, FaceDatabase(path) as other:
        crowd(database)
        before = path.stat()
        database.tidy()
        database.forget("Zacharias Forgotten")
        assert (path.stat().st_dev, path.stat().st_ino) == (before.st_dev, before.st_ino)
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        database["late"] = unit(1)[0]
        assert len(other) == len(database) == 401


def test_a_link_leads_to_the_same_database_and_the_same_index(path, monkeypatch):
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 300)
    link = path.with_name("link.db")
    with FaceDatabase(path) as database:
        wanted = crowd(database)
        link.symlink_to(path)
        with FaceDatabase(link) as linked:
            assert linked.settle()
            assert path.with_name("people.db.index").exists()
        database.forget("Zacharias Forgotten")
    assert traces(path.parent, wanted) == []


def look(path: str) -> None:
    FaceDatabase(path).close()


def names_there(path: str, said) -> None:
    with FaceDatabase(path) as database:
        said.put(list(database))


@pytest.mark.parametrize("step", ["forget", "forget in another", "export", "import"])
def test_no_step_gives_up_the_locks_by_which_others_know_that_it_is_open(path, step):
    """Whoever closes a file of their own gives up SQLite's locks on it, too; then the next process removes the WAL."""
    spawn = multiprocessing.get_context("spawn")
    with FaceDatabase(path) as database:
        database.update({f"somebody called {i}": encoding for i, encoding in enumerate(unit(5))})
        if step == "forget":
            database.forget("somebody called 0")
        elif step == "forget in another":
            with FaceDatabase(path) as other:
                other.forget("somebody called 0")
        else:
            with pytest.raises(BadArgument, match="archive"):
                (database.export_to if step == "export" else database.import_from)(path)
        process = spawn.Process(target=look, args=(str(path),))
        process.start()
        process.join()
        assert path.with_name("people.db-wal").exists()
        database["acknowledged"] = unit(1, 9)[0]
        said = spawn.Queue()
        process = spawn.Process(target=names_there, args=(str(path), said))
        process.start()
        assert "acknowledged" in said.get(timeout=60)
        process.join()


def test_what_was_opened_to_look_for_traces_is_closed_with_the_last_one(path):
    count = lambda: len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: E731
    with FaceDatabase(path):
        pass
    before = count()
    with FaceDatabase(path) as one, FaceDatabase(path) as two:
        one.update({f"somebody called {i}": encoding for i, encoding in enumerate(unit(5))})
        one.forget("somebody called 0")
        two.forget("somebody called 1")
    assert count() == before


def test_a_newer_version_is_refused(path):
    FaceDatabase(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(BadDatabase, match=r"newer version of this project \(format 2"):
        FaceDatabase(path)


def test_a_damaged_file_is_refused(path):
    with FaceDatabase(path) as database:
        database.update({str(i): encoding for i, encoding in enumerate(unit(500))})
    content = bytearray(path.read_bytes())
    content[4096:-4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(BadDatabase), FaceDatabase(path) as database:
        database.nearest(unit(1))


def test_every_change_is_synchronised_and_what_is_deleted_is_overwritten(path):
    with FaceDatabase(path) as database:
        db = database._engine.db
        settings = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
        assert settings == {"journal_mode": "wal", "synchronous": 2}
        assert db.execute("PRAGMA secure_delete").fetchone()[0] == 1
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1


# --------------------------------------------------------------------------------- threads and processes
def add_people(path: str, who: str, count: int) -> None:
    with FaceDatabase(path, represent="nearest") as database:
        for i in range(count):
            database.add(f"{who} {i}", unit(1, hash((who, i)) % 2**31)[0])
            if i % 3 == 2:
                database.remove(f"{who} {i - 1}")
            assert database.nearest(unit(1, hash((who, i)) % 2**31)[0])[0][0, 0] is not None


def test_several_processes_write_and_read_at_once(path):
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=add_people, args=(str(path), who, 15)) for who in ("a", "b")]
    for writer in writers:
        writer.start()
    with FaceDatabase(path) as database:
        while any(writer.is_alive() for writer in writers):
            names = list(database)
            identities, _ = database.nearest(unit(1), k=3) if names else (np.empty((0, 3)), None)
            assert len(identities) <= 1
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0
        expected = {f"{who} {i}" for who in "ab" for i in range(15) if i % 3 != 1}
        assert set(database) == expected
        assert set(database.nearest(unit(1), k=len(expected))[0][0]) == expected


def test_what_another_one_changes_is_seen_at_once(path):
    with FaceDatabase(path) as here, FaceDatabase(path) as there:
        lena, omar = unit(2)
        here["lena"] = lena
        assert there.nearest(lena)[0][0, 0] == "lena"
        there["lena"] = omar
        there["omar"] = lena
        assert here.nearest(lena)[0][0, 0] == "omar"
        here.rename("omar", "Omar")
        assert there.nearest(lena)[0][0, 0] == "Omar"
        here.remove("Omar")
        assert there.nearest(lena, k=2)[0].tolist() == [["lena", None]]
        here["ivan"] = lena
        assert there.nearest(lena)[0][0, 0] == "ivan"
        here.remove("ivan")
        here.tidy()  # which empties the list of those removed
        assert there.nearest(lena, k=2)[0].tolist() == [["lena", None]]
        here["nina"] = lena
        assert there.nearest(lena)[0][0, 0] == "nina"


def test_only_the_difference_is_read(path, monkeypatch):
    with FaceDatabase(path) as here, FaceDatabase(path) as there:
        here.update({str(i): encoding for i, encoding in enumerate(unit(50))})
        there.nearest(unit(1))
        monkeypatch.setattr(there._engine, "_from_database", lambda state: pytest.fail("everything was read anew"))
        here["new"] = unit(1, 9)[0]
        here.remove("3")
        assert there.nearest(unit(1, 9))[0][0, 0] == "new"
        assert there._engine.rows.count == 51
        assert len(there._engine.rows.gone) == 1


def test_threads_share_one_database(path):
    known = unit(200)
    errors = []

    def work(number: int) -> None:
        try:
            for i in range(number, 200, 4):
                database.add(str(i), known[i])
                assert database.nearest(known[i])[0][0, 0] == str(i)
        except BaseException as error:
            errors.append(error)

    with FaceDatabase(path) as database:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(database) == 200


def add_in_a_child(database: FaceDatabase) -> None:
    parents = database._engine.db
    database["omar"] = unit(1, 3)[0]
    assert database._engine.db is not parents
    assert set(database) == {"lena", "omar"}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gets_a_connection_of_its_own(path):
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        child = multiprocessing.get_context("fork").Process(target=add_in_a_child, args=(database,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert set(database) == {"lena", "omar"}


def add_to_nothing_in_a_child(database: FaceDatabase) -> None:
    with pytest.raises(BadDatabase, match="was removed"):
        database["omar"] = unit(1, 3)[0]


def add_after_the_parent(database: FaceDatabase, told) -> None:
    told.wait(60)
    database["omar"] = unit(1, 3)[0]
    assert set(database) == {"lena", "omar"}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_notices_what_became_of_the_file_and_outlives_its_parents_connection(path):
    fork = multiprocessing.get_context("fork")
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        told = fork.Event()
        child = fork.Process(target=add_after_the_parent, args=(database, told))
        child.start()
    assert not path.with_name("people.db-wal").exists()
    told.set()
    child.join()
    assert child.exitcode == 0
    with FaceDatabase(path) as database:
        assert set(database) == {"lena", "omar"}
        take_place(path)
        child = fork.Process(target=add_to_nothing_in_a_child, args=(database,))
        child.start()
        child.join()
        assert child.exitcode == 0


# ----------------------------------------------------------------------------------------------- networks
def fingerprint_there(queue) -> None:
    from facerec.networks import load_facenet

    queue.put(fingerprint_of(load_facenet("weights/resnet")))


def test_the_fingerprint_is_the_same_in_every_process(network):
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    process = spawn.Process(target=fingerprint_there, args=(queue,))
    process.start()
    there = queue.get(timeout=120)
    process.join()
    start = time.perf_counter()
    here = fingerprint_of(network)
    assert time.perf_counter() - start < 2
    assert here == there
    assert here.startswith("resnet:")


def test_the_fingerprint_changes_with_weights_name_and_scaling(small_network):
    import keras

    from facerec.networks import FaceNetInfo

    before = fingerprint_of(small_network)
    small_network.facenet = FaceNetInfo("small", 8)
    named = fingerprint_of(small_network)
    small_network.facenet = FaceNetInfo("small", 8, {"nose": (0.5, 0.6)})
    elsewhere = fingerprint_of(small_network)
    scaled = keras.models.clone_model(small_network)
    scaled.set_weights(small_network.get_weights())
    assert fingerprint_of(scaled).split(":")[1] == before.split(":")[1]
    next(layer for layer in scaled.layers if hasattr(layer, "scale")).scale = 1 / 127.5
    weights = [weight + 1e-7 for weight in small_network.get_weights()]
    small_network.set_weights(weights)
    assert len({before, named, elsewhere, fingerprint_of(scaled), fingerprint_of(small_network)}) == 5


def test_encodings_of_another_network_are_refused(database, small_network):
    where, kind = database.where, database._engine
    one, two = "one:" + "1" * 64, "two:" + "2" * 64
    kind.expect(one, D)
    database["lena"] = unit(1)[0]
    if where != ":memory:":
        database.close()
        for given in (two, small_network):
            with pytest.raises(OtherNetwork, match=r"encodings of one \(111111111111\), and .*reencode"):
                FaceDatabase(where, given)
        with FaceDatabase(where, one) as again, pytest.raises(BadArgument, match="8"):
            again["omar"] = unit(1, d=8)[0]
        with FaceDatabase(where) as again:
            assert again.network == one
            assert "one (111111111111)" in repr(again)
    nonsense = ("", 5, "x" * 301, "weights/resnet", "C:\\weights", "resnet:", ":12ab", " :1", Path("weights/resnet"))
    for network in nonsense:
        with pytest.raises(BadArgument, match="^network.*load_facenet"):
            FaceDatabase(":memory:", network)


def test_who_came_while_nobody_named_a_network_is_nobodys_until_somebody_says_whose(database):
    database["lena"] = unit(1)[0]
    where, one = database.where, "one:" + "1" * 64
    said = r"nobody said whose .* those of one \(111111111111\).*label\(network\).*needs a kept photo of each"
    with pytest.raises(OtherNetwork, match=said):
        database._engine.expect(one, None)
    assert database.network is None
    if where != ":memory:":
        database.close()
        with pytest.raises(OtherNetwork, match="nobody said whose"):
            FaceDatabase(where, one)
        database = FaceDatabase(where)
    database["omar"] = unit(1, 2)[0]
    for nonsense in (None, "weights/resnet"):
        with pytest.raises(BadArgument, match="network="):
            database.label(nonsense)
    database.label(one)
    database.label(one)
    assert database.network == one
    with pytest.raises(OtherNetwork, match=r"holds encodings of one.*reencode\(\), which needs a kept photo of each"):
        database.label("two:2")
    database["nina"] = unit(1, 3)[0]  # who was refused is not on the other one's side
    database.close()
    if where != ":memory:":
        with FaceDatabase(where, one) as again:
            assert set(again) == {"lena", "omar", "nina"}


def test_an_empty_database_is_whosoever_opens_it_first(path):
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        del database["lena"]
    with FaceDatabase(path, "one:1") as database:
        assert database.network == "one:1"


def test_a_network_of_other_encodings_does_not_fit(small_network):
    with FaceDatabase(":memory:") as database:
        database["lena"] = unit(1)[0]
        with pytest.raises(BadArgument, match="encodings of 128 numbers"):
            database.label(small_network)
        assert database.network is None
        with pytest.raises(BadArgument, match="model=None"):
            database.reencode(None, lambda photo: unit(1)[0], progress=False)


def test_who_still_has_the_old_network_is_refused_after_reencoding(path):
    with FaceDatabase(path, "one:1") as old, FaceDatabase(path) as other:
        old.add("lena", unit(1)[0], photo())
        old.nearest(unit(1))
        other.reencode("two:2", lambda photo: unit(1, 7, 8)[0], progress=False)
        for attempt in (
            lambda: old.add("omar", unit(1)),
            lambda: old.nearest(unit(1)),
            lambda: old.update({"omar": unit(1)[0]}),
        ):
            with pytest.raises(OtherNetwork):
                attempt()
        assert other.nearest(unit(1, 7, 8))[1][0, 0] == 0
        assert list(other) == ["lena"]


@pytest.mark.parametrize("noted", ["before", "later", "by an import"])
def test_who_named_no_network_is_refused_after_reencoding_too(path, archive, noted):
    with FaceDatabase(path, "one:1" if noted == "before" else None) as first, FaceDatabase(path) as other:
        if noted == "by an import":
            other.import_from(archive)
        elif noted == "later":
            first._engine.expect("one:1", D)
        other.update({"lena": unit(1)[0]})
        with FaceDatabase(path) as third:
            third.add("nina", unit(1, 6)[0], photo())
            third.reencode("two:2", lambda photo: unit(1, 7)[0], without="remove", progress=False)
            assert third.nearest(unit(1, 7))[1][0, 0] == 0
            third["ivan"] = unit(1, 9)[0]
            for attempt in (lambda: other.add("omar", unit(1)), lambda: other.nearest(unit(1))):
                with pytest.raises(OtherNetwork):
                    attempt()
            assert "omar" not in third
        with FaceDatabase(path) as again:
            assert again.nearest(unit(1, 9))[0][0, 0] == "ivan"


def test_people_are_encoded_anew_from_their_photos(database):
    database._engine.expect("one:1", D)
    for i in range(3):
        database.add("lena", unit(1, i)[0], photo(i))
    database.add("omar", unit(1, 5)[0], photo(5))
    database.add("nina", unit(1, 6)[0])
    database.add("ivan", unit(1, 8)[0], photo(8))
    before = dict(database.items())
    seen = []

    def encode(picture):
        seen.append(picture.shape)
        if (np.abs(picture.astype(int) - photo(8)).mean()) < 30:
            raise NoFaceFound("no face in it")
        return unit(1, int(picture.sum()) % 1000, 8)[0]

    with pytest.raises(BadArgument, match="2 people can't be encoded anew: 'nina', 'ivan' .*nothing is changed"):
        database.reencode("two:2", encode, progress=False)
    assert database == before
    assert database.network == "one:1"
    shown = r"reencode\(model, lambda photo: img_to_encoding\(photo, model\)\)"
    for nonsense in ((), (None,), ("photo",)):
        with pytest.raises(BadArgument, match=shown):
            database.reencode("two:2", *nonsense)
    with pytest.raises(BadArgument, match="unit length"):
        database.reencode("two:2", lambda picture: np.ones(8), without="remove", progress=False)
    assert database == before
    seen.clear()
    lost = database.reencode("two:2", encode, without="remove", progress=False)
    assert len(seen) == 5
    assert lost.to_dict("list") == {"identity": ["nina", "ivan"], "reason": ["no photo is kept", "no face in it"]}
    assert list(database) == ["lena", "omar"]
    assert database.network == "two:2"
    assert database.encodings("lena").shape == (3, 8)
    assert len(database.photos("lena")) == 3
    assert database.nearest(database.encodings("omar"))[0][0, 0] == "omar"


# --------------------------------------------------------------------------------------------- forgetting
def traces(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Which of some bytes are in which file of a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [f"{what} in {file.name}" for file in files for what, data in wanted.items() if data in file.read_bytes()]


def crowd(database: FaceDatabase, count: int = 400) -> dict[str, bytes]:
    """Many people, and one who will be forgotten: what must not be found afterwards."""
    database.update({f"somebody else {i}": encoding for i, encoding in enumerate(unit(count, 1))})
    encodings = unit(3, 2)
    for i, encoding in enumerate(encodings):
        database.add("Zacharias Forgotten", encoding, photo(i, 120, 90))
    pictures = database._engine.pictures("Zacharias Forgotten")
    wanted = {f"encoding {i}": e.tobytes()[:48] for i, e in enumerate(encodings)}
    wanted |= {f"photo {i}.{j}": both[j][-80:-30] for i, both in enumerate(pictures) for j in (0, 1)}
    wanted["photo's middle"] = pictures[0][0][len(pictures[0][0]) // 2 :][:40]
    wanted["mean"] = database["Zacharias Forgotten"].tobytes()[:48]
    return wanted | {"name": b"Zacharias Forgotten", "half a name": b"Zacharias F"}


@pytest.mark.parametrize("vacuum", [True, False])
def test_whom_it_forgets_leaves_no_trace_in_any_file(tmp_path, path, monkeypatch, vacuum):
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 300)
    with FaceDatabase(path) as other, FaceDatabase(path) as database:
        wanted = crowd(database)
        assert database.settle()
        assert other.settle()
        database.nearest(unit(2))
        mean = database["Zacharias Forgotten"]
        assert {entry.split(" in ")[1] for entry in traces(tmp_path, wanted)} >= {"people.db-wal", "people.db.index"}
        if not vacuum:
            monkeypatch.setattr(database._engine, "_vacuum", lambda: None)  # overwriting does it alone
        database.forget("Zacharias Forgotten")
        assert traces(tmp_path, wanted) == []
        assert database.nearest(mean)[0][0, 0] != "Zacharias Forgotten"
        assert other.nearest(mean)[0][0, 0] != "Zacharias Forgotten"
        database.settle()
        other.settle()
        database.export_to(tmp_path / "export.zip")
        with zipfile.ZipFile(tmp_path / "export.zip") as archive:
            archive.extractall(tmp_path / "export")
        assert traces(tmp_path, wanted) == []
        assert len(database) == 400
    assert traces(tmp_path, wanted) == []


def test_forgetting_says_that_it_is_unfinished_while_another_one_reads(tmp_path, path, monkeypatch):
    with FaceDatabase(path) as database:
        wanted = crowd(database)
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM people").fetchone() == (401,)
        monkeypatch.setattr(database._engine, "truncate_within", 0.1)
        with pytest.raises(NotForgottenYet, match="tidy"):
            database.forget("Zacharias Forgotten")
        assert "Zacharias Forgotten" not in database
        assert traces(tmp_path, wanted)
        with pytest.raises(NotForgottenYet):
            database.tidy()
        reader.execute("COMMIT")
        reader.close()
        database.tidy()
        assert traces(tmp_path, wanted) == []
        assert database._engine.state_of("unfinished") == 0


def test_forgetting_that_was_interrupted_is_completed_at_the_next_opening(tmp_path, path, monkeypatch):
    with FaceDatabase(path) as keeps_the_wal:
        database = FaceDatabase(path)
        wanted = crowd(database)
        monkeypatch.setattr(database._engine, "_erase", lambda *_: None)  # as if it were killed here
        database.forget("Zacharias Forgotten")
        database.close()
        assert traces(tmp_path, wanted)
        FaceDatabase(path).close()
        assert traces(tmp_path, wanted) == []
        assert len(keeps_the_wal) == 400


def test_the_next_forgetting_completes_one_that_was_interrupted(tmp_path, path, monkeypatch):
    with FaceDatabase(path) as database, FaceDatabase(path):
        wanted = crowd(database)
        with monkeypatch.context() as patch:
            patch.setattr(database._engine, "_erase", lambda *_: None)  # as if it were killed here
            database.forget("Zacharias Forgotten")
        db = database._engine.db  # a copy that overwriting has missed lies in a free page
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("CREATE TABLE left_over AS SELECT ? AS data", (b"".join(wanted.values()) * 100,))
        db.execute("DROP TABLE left_over")
        db.execute("PRAGMA secure_delete = ON")
        database._engine._truncate(1)
        assert "people.db" in {entry.split(" in ")[1] for entry in traces(tmp_path, wanted)}
        database["late"] = unit(1, 3)[0]
        database.forget("late")  # who alone has left nothing that vacuuming would have to clear away
        assert traces(tmp_path, wanted) == []
        assert database._engine.state_of("unfinished") == 0


@pytest.mark.parametrize("killed", [True, False])
def test_who_is_forgotten_while_another_forgetting_goes_on_keeps_their_mark(tmp_path, path, monkeypatch, killed):
    with FaceDatabase(path) as database, FaceDatabase(path) as other, FaceDatabase(path) as keeps_the_wal:
        wanted = crowd(database)
        database["late"] = unit(1, 3)[0]
        truncate = database._engine._truncate
        if killed:
            monkeypatch.setattr(other._engine, "_erase", lambda *_: None)

        def meanwhile(within: float) -> None:
            truncate(within)
            if "Zacharias Forgotten" in other:
                other.forget("Zacharias Forgotten")

        monkeypatch.setattr(database._engine, "_truncate", meanwhile)
        database.forget("late")
        assert database._engine.state_of("unfinished") == int(killed)
        other.close()
        if killed:
            FaceDatabase(path).close()  # completes it
        assert keeps_the_wal._engine.state_of("unfinished") == 0
        assert traces(tmp_path, wanted) == []


def test_index_files_go_whatever_the_database_is_called(tmp_path, monkeypatch):
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 300)
    with FaceDatabase(tmp_path / "p[1].db") as database:
        wanted = crowd(database)
        assert database.settle()
        index = tmp_path / "p[1].db.index"
        left = index.with_name(f".unfinished_999999_0a1b2c3d_{index.name}")  # of a builder that was killed
        left.write_bytes(index.read_bytes())
        others = tmp_path / ".unfinished_999999_0a1b2c3d_p1.db.index"
        others.write_bytes(b"another database's")
        database.forget("Zacharias Forgotten")
        assert not index.exists()
        assert not left.exists()
        assert others.exists()
        assert traces(tmp_path, wanted) == []


@pytest.mark.parametrize("slow_at", [(database_search.Index, "build"), (database_search.IndexFile, "_write_rows")])
def test_an_index_that_was_read_before_somebody_was_forgotten_is_not_written(tmp_path, path, monkeypatch, slow_at):
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 300)
    with FaceDatabase(path) as database, FaceDatabase(path) as slow:
        wanted = crowd(database)
        step, may_go_on = getattr(*slow_at), threading.Event()
        monkeypatch.setattr(*slow_at, lambda *args: may_go_on.wait(20) and step(*args))
        slow.nearest(unit(1))  # begins to build
        builder = slow._engine.builder
        assert builder is not None
        database.forget("Zacharias Forgotten")
        may_go_on.set()
        builder.join(20)
        assert traces(tmp_path, wanted) == []
        assert slow.settle(20)
        assert traces(tmp_path, wanted) == []
        assert (tmp_path / "people.db.index").exists()
        assert (tmp_path / "people.db.index").stat().st_mode == (tmp_path / "people.db").stat().st_mode


@pytest.mark.parametrize("slow_at", [(database_search, "whole"), (database_search.IndexFile, "_write_rows")])
def test_an_index_of_somebody_forgotten_is_not_even_begun(tmp_path, path, monkeypatch, slow_at):
    """Or a builder that is killed half-way would leave them in its unfinished file."""
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 300)
    with FaceDatabase(path) as database, FaceDatabase(path) as slow:
        wanted = crowd(database)
        (step, build), may_go_on, left = (getattr(*slow_at), database_search.Index.build), threading.Event(), []
        monkeypatch.setattr(*slow_at, lambda *args: may_go_on.wait(20) and step(*args))
        monkeypatch.setattr(
            database_search.Index, "build", lambda *args: left.append(traces(tmp_path, wanted)) or build(*args)
        )
        slow.nearest(unit(1))  # begins to build
        deadline = time.monotonic() + 20
        while slow_at[1] == "_write_rows" and not list(tmp_path.glob(".unfinished_*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        database.forget("Zacharias Forgotten")
        may_go_on.set()
        assert slow.settle(20)
        assert left == [[]]


def test_milvus_forgets_in_its_files_too(tmp_path):
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    with FaceDatabase(f"milvus:{tmp_path / 'milvus.db'}") as database:
        wanted = crowd(database, 50)
        database.forget("Zacharias Forgotten")
        database.tidy()
    assert traces(tmp_path, {"name": wanted["name"]}) == []


# -------------------------------------------------------------------------------------------------- index
@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """For how many candidates the index was asked, each time: from 8 × 256 rows on, not 8 × 2,048."""
    depths, search = [], database_search.Index.search
    monkeypatch.setattr(database_search, "DEPTH", 256)
    monkeypatch.setattr(
        database_search.Index, "search", lambda self, probes, k: depths.append(k) or search(self, probes, k)
    )
    return depths


@pytest.fixture
def indexed(path, monkeypatch, asked):
    """A database of 3,000 people that has an index, which is meant for more."""
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 1000)
    with FaceDatabase(path) as database:
        database.update({str(i): encoding for i, encoding in enumerate(unit(3000, 1))})
        yield database


def agrees(database: FaceDatabase, people: dict[str, np.ndarray], probes: np.ndarray, k: int = 3) -> bool:
    names, known = list(people), np.stack(list(people.values()))
    order = np.argsort(exact(known, probes), axis=1)[:, :k]
    identities, distances = database.nearest(probes, k)
    assert np.allclose(distances, np.take_along_axis(exact(known, probes), order, axis=1), atol=1e-6)
    return identities.tolist() == [[names[i] for i in row] for row in order]


def test_an_index_finds_who_an_exact_search_finds(indexed, path, asked):
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    probes = np.concatenate([unit(50, 1), unit(50, 2)])
    assert agrees(indexed, people, probes)  # before there is one
    assert not asked
    assert indexed.settle()
    rows = indexed._engine.rows
    assert rows.index is not None
    assert len(rows.base) == 3000
    assert path.with_name("people.db.index").exists()
    assert agrees(indexed, people, probes)
    assert asked == [256]


def test_who_comes_and_goes_after_the_index_was_built_counts(indexed, monkeypatch, asked):
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    indexed.settle()
    monkeypatch.setattr(indexed._engine, "_build_if_due", lambda: None)
    for i, encoding in enumerate(unit(40, 5)):
        indexed[f"new {i}"] = people[f"new {i}"] = encoding
        indexed.remove(str(i * 3))
        del people[str(i * 3)]
    indexed["4"] = people["4"] = unit(1, 77)[0]
    asked.clear()
    assert agrees(indexed, people, np.concatenate([unit(120, 1), unit(40, 5), unit(1, 77)]))
    assert asked
    assert indexed._engine.rows.index is not None
    assert indexed._engine.rows.late == 41


def test_an_index_whose_candidates_are_all_gone_gives_way_to_an_exact_search(indexed, asked):
    indexed.settle()
    probe = unit(1, 1)[0]
    order = np.argsort(exact(unit(3000, 1), probe[None])[0])
    with indexed._engine.change() as change:
        for i in order[:400]:
            change.drop(str(i))
    assert indexed.nearest(probe)[0][0, 0] == str(order[400])
    assert asked


def test_a_database_opens_with_its_index_file(indexed, path, monkeypatch, asked):
    indexed.settle()
    indexed["late"] = unit(1, 9)[0]
    indexed.remove("17")
    monkeypatch.setattr(database_sqlite.SQLite, "_from_database", lambda *_: pytest.fail("everything was read anew"))
    with FaceDatabase(path) as again:
        assert again.nearest(unit(1, 9))[0][0, 0] == "late"
        assert again.nearest(unit(18, 1)[17])[0][0, 0] != "17"
        assert again._engine.rows.saved
    assert len(asked) == 2


def damage_middle(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def rewrite_header(file: Path, **entries) -> None:
    content = file.read_bytes()
    header = json.loads(content[:4096]) | entries
    file.write_bytes(json.dumps(header).encode().ljust(4096) + content[4096:])


DAMAGES = {
    "missing": Path.unlink,
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "a bit": damage_middle,
    "no JSON": lambda file: file.write_bytes(b"\xff" * 5000),
    "another database's": lambda file: rewrite_header(file, database="0" * 32),
    "another network's": lambda file: rewrite_header(file, network="two:2"),
    "of the future": lambda file: rewrite_header(file, change=10**6),
    "before a forgetting": lambda file: rewrite_header(file, forgets=-1),
    "of other rows": lambda file: rewrite_header(file, rows=2000),
    "by nearest": lambda file: rewrite_header(file, represent="nearest"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_an_index_file_that_does_not_fit_is_made_anew(indexed, path, damage, asked):
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    indexed.settle()
    indexed.close()
    file = path.with_name("people.db.index")
    before = file.read_bytes()
    damage(file)
    with FaceDatabase(path) as again:
        assert agrees(again, people, unit(50, 2))
        assert again.settle()
        assert agrees(again, people, unit(50, 2))
        assert again._engine.rows.saved
        assert asked
    assert file.read_bytes() == before


def test_a_stale_index_is_built_anew_in_the_background(indexed, path, asked):
    indexed.settle()
    first = json.loads(path.with_name("people.db.index").read_bytes()[:4096])
    indexed.update({f"new {i}": encoding for i, encoding in enumerate(unit(1000, 8))})
    indexed.nearest(unit(1))
    indexed.settle()
    second = json.loads(path.with_name("people.db.index").read_bytes()[:4096])
    assert (first["rows"], second["rows"]) == (3000, 4000)
    assert indexed._engine.rows.late == 0
    asked.clear()
    assert indexed.nearest(unit(1, 8))[0][0, 0] == "new 0"
    assert asked


def test_searches_go_on_while_the_index_is_built(indexed, monkeypatch, asked):
    build, may_go_on = database_search.Index.build, threading.Event()
    monkeypatch.setattr(database_search.Index, "build", lambda *args: may_go_on.wait(20) and build(*args))
    assert indexed.nearest(unit(1, 1))[0][0, 0] == "0"
    assert indexed._engine.builder is not None
    indexed["late"] = unit(1, 9)[0]
    indexed.remove("0")
    assert indexed.nearest(unit(1, 9))[0][0, 0] == "late"
    assert not asked
    may_go_on.set()
    assert indexed.settle(20)
    assert indexed.nearest(unit(1, 9))[0][0, 0] == "late"
    assert indexed.nearest(unit(1, 1))[0][0, 0] != "0"
    assert len(asked) == 2


@pytest.mark.parametrize("in_file", [True, False])
def test_who_goes_while_the_index_is_built_takes_no_other_rows_along(path, monkeypatch, in_file):
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 1000)
    people = {str(i): encoding for i, encoding in enumerate(unit(3000, 1))}
    built, may_go_on = database_sqlite.SQLite._built, threading.Event()
    with FaceDatabase(path if in_file else ":memory:") as database:
        database.update(people)
        views = []
        monkeypatch.setattr(
            database_sqlite.SQLite,
            "_built",
            lambda self, view, stamp: views.append(view) or may_go_on.wait(20) and built(self, view, stamp),
        )
        database.nearest(unit(1))
        for gone in range(0, 300, 3):
            database.remove(str(gone))
            del people[str(gone)]
        assert agrees(database, people, unit(20, 2))
        assert views[0].alive.all()  # the builder's rows are those of its moment
        may_go_on.set()
        assert database.settle(20)
        assert len(database._engine.rows.base) == 3000
        assert agrees(database, people, unit(20, 2))


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_several_encodings_per_person_are_indexed_too(monkeypatch, path, represent, asked):
    monkeypatch.setattr(database_sqlite, "INDEX_FROM", 800)
    encodings = unit(12_000, 3).reshape(3000, 4, D)
    for where in (path, ":memory:"):
        with FaceDatabase(where, represent=represent) as database:
            database.update({str(i): several for i, several in enumerate(encodings)})
            assert database.settle()
            identities, distances = database.nearest(unit(40, 4), k=3)
            assert asked
            asked.clear()
        means = encodings.mean(axis=1) / np.linalg.norm(encodings.mean(axis=1), axis=1, keepdims=True)
        if represent == "mean":
            oracle = exact(means, unit(40, 4))
        else:
            oracle = exact(encodings.reshape(-1, D), unit(40, 4)).reshape(40, 3000, 4).min(axis=2)
        order = np.argsort(oracle, axis=1)[:, :3]
        assert identities.tolist() == [[str(i) for i in row] for row in order]
        assert np.allclose(distances, np.take_along_axis(oracle, order, axis=1), atol=1e-6)


# -------------------------------------------------------------------------------- a file to take elsewhere
@pytest.fixture
def archive(tmp_path) -> Path:
    """A file of ``export_to`` with three people, six encodings and three photos."""
    with FaceDatabase(tmp_path / "source.db", "one:1") as database:
        database.add(HOSTILE[0], unit(1, 1)[0], photo(1))
        database.add("李小龍", unit(3, 2), photo(2))
        database.add("李小龍", unit(1, 3), photo(3))
        database.add("../../etc/passwd", unit(1, 4))
        database.export_to(tmp_path / "people.zip")
    return tmp_path / "people.zip"


def test_an_export_comes_back_to_the_last_bit(archive, database):
    if database.where.startswith("milvus:"):
        pytest.importorskip("milvus_lite")
    assert database.import_from(archive) == 3
    with FaceDatabase(archive.with_name("source.db")) as source:
        assert list(database) == list(source)
        for name in source:
            assert np.array_equal(database.encodings(name), source.encodings(name))
            assert database._engine.pictures(name) == source._engine.pictures(name)
        assert database.people().equals(source.people())
    assert database.network == "one:1"
    database.export_to(archive.with_name("again.zip"))
    with zipfile.ZipFile(archive) as one, zipfile.ZipFile(archive.with_name("again.zip")) as two:
        assert {name: one.read(name) for name in one.namelist()} == {name: two.read(name) for name in two.namelist()}


def test_what_is_a_little_off_in_a_file_is_brought_to_unit_length_and_the_rest_is_not_touched(archive, database):
    off = with_array(lambda array: array * np.float32([[1.0009], [1], [1], [1], [1.0009], [1]]))(archive)
    database.import_from(off)
    assert np.linalg.norm(database.encodings(HOSTILE[0])) == pytest.approx(1, abs=1e-6)
    several = database.encodings("李小龍")
    assert several[:3].tobytes() == unit(3, 2).tobytes()
    assert np.linalg.norm(several[3]) == pytest.approx(1, abs=1e-6)
    assert database.encodings("../../etc/passwd").tobytes() == unit(1, 4).tobytes()


def test_a_file_that_needs_more_memory_than_there_is_is_refused(archive, path, monkeypatch):
    def no_more(*args, **kwargs):
        raise MemoryError

    with FaceDatabase(path, "one:1") as database:
        monkeypatch.setattr(json, "loads", no_more)
        with pytest.raises(BadArgument, match="needs more memory than there is; nothing was taken in"):
            database.import_from(archive)
        assert list(database) == []


def test_an_empty_database_can_be_exported(tmp_path):
    with FaceDatabase(":memory:") as empty, FaceDatabase(":memory:") as other:
        empty.export_to(tmp_path / "empty.zip")
        assert other.import_from(tmp_path / "empty.zip") == 0


def test_no_name_is_the_name_of_a_file(archive):
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == ["encodings.npy", "manifest.json"] + [f"photos/{i}.jpg" for i in (1, 2, 3)]
        assert np.load(io.BytesIO(file.read("encodings.npy")), allow_pickle=False).shape == (6, D)
        assert json.loads(file.read("manifest.json"))["people"][0]["identity"] == HOSTILE[0]


def test_who_is_known_already_is_refused_skipped_or_replaced(archive):
    with FaceDatabase(":memory:", "one:1") as database:
        database["李小龍"] = unit(1, 50)[0]
        with pytest.raises(BadArgument, match="people.zip: '李小龍' is in the database already"):
            database.import_from(archive)
        assert list(database) == ["李小龍"]
        assert database.import_from(archive, on_conflict="skip") == 2
        assert np.array_equal(database["李小龍"], unit(1, 50)[0])
        assert database.import_from(archive, on_conflict="replace") == 3
        assert len(database.encodings("李小龍")) == 4
        with pytest.raises(BadArgument, match="on_conflict='merge'"):
            database.import_from(archive, on_conflict="merge")


def test_a_file_of_another_network_is_refused(archive):
    with FaceDatabase(":memory:", "two:2") as database:
        with pytest.raises(OtherNetwork, match="holds encodings of two"):
            database.import_from(archive)
        unsaid = rebuilt(archive, lambda manifest: manifest.update(network=None))
        with pytest.raises(OtherNetwork, match="changed.zip: nobody said whose its encodings are"):
            database.import_from(unsaid)
    with FaceDatabase(":memory:") as database:
        database["lena"] = unit(1)[0]
        with pytest.raises(BadArgument, match=r"nobody said whose the database's are \(label"):
            database.import_from(archive)
        assert list(database) == ["lena"]
        database.label("one:1")
        assert database.import_from(archive) == 3


@pytest.mark.parametrize("in_memory", [100_000_000, 1])
def test_photos_are_packed_before_the_database_is_locked(archive, path, monkeypatch, in_memory):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    foreign = jpeg(photo(7), exif=exif)

    def manifest(data):
        data["people"][0]["photos"][0]["sha256"] = hashlib.sha256(foreign).hexdigest()

    changed = rebuilt(archive, manifest, {"photos/1.jpg": foreign})
    monkeypatch.setattr(database_archive, "IN_MEMORY", in_memory)
    with FaceDatabase(path, "one:1") as database, FaceDatabase(path) as other:
        other._engine.db.execute("PRAGMA busy_timeout = 0")
        pack, packed = pack, []

        def slowly(*args, **kwargs):
            other.add(f"came meanwhile {len(packed)}", unit(1))
            packed.append(pack(*args, **kwargs))
            return packed[-1]

        monkeypatch.setattr(database_archive, "pack", slowly)
        assert database.import_from(changed) == 3
        assert len(packed) == 3
        assert len(database) == 6
        assert database._engine.pictures(HOSTILE[0]) == packed[:1]
        assert database._engine.pictures("李小龍") == packed[1:]
        assert b"taken at home" not in packed[0][0]


def rebuilt(archive: Path, manifest=None, members=None, array=None, compress=zipfile.ZIP_STORED) -> Path:
    """The archive with something changed: a function of the manifest, further members, another array."""
    with zipfile.ZipFile(archive) as file:
        content = {name: file.read(name) for name in file.namelist()}
    if array is not None:
        stream = io.BytesIO()
        np.save(stream, array)
        content["encodings.npy"] = stream.getvalue()
    data = json.loads(content["manifest.json"])
    if manifest:
        manifest(data)
    content["manifest.json"] = json.dumps(data).encode()
    content.update(members or {})
    target = archive.with_name("changed.zip")
    with zipfile.ZipFile(target, "w", compress) as file:
        for name, value in content.items():
            if value is not None:
                file.writestr(name, value)
    return target


def set_person(number: int = 0, **entries):
    return lambda manifest: manifest["people"][number].update(entries)


def with_array(change, rows: int = 6):
    """An archive whose array and digests were changed alike, as somebody would who means harm."""

    def make(archive: Path) -> Path:
        with zipfile.ZipFile(archive) as file:
            array = change(np.load(io.BytesIO(file.read("encodings.npy"))))

        def manifest(data):
            start = 0
            for person in data["people"]:
                piece = array[start : start + person["encodings"]]
                person["sha256"] = hashlib.sha256(piece.tobytes()).hexdigest()
                start += person["encodings"]

        return rebuilt(archive, manifest, array=array)

    return make


def put(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[2, 3] = value
    return array


def bomb(archive: Path) -> Path:
    return rebuilt(archive, members={"manifest.json": b"[" + b" " * 50_000_000 + b"]"}, compress=zipfile.ZIP_DEFLATED)


def padded(archive: Path) -> Path:
    """A manifest that says nothing wrong, and then 57,000 blanks: packed 90:1."""
    with zipfile.ZipFile(archive) as file:
        text = file.read("manifest.json")
    changed = rebuilt(archive, members={"manifest.json": text + b" " * 57_000}, compress=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(changed) as file:
        member = file.getinfo("manifest.json")
        assert 80 < member.file_size / member.compress_size < 100
    return changed


def array_of_more(archive: Path) -> Path:
    """An array of 40 MB for a manifest that speaks of six rows."""
    return rebuilt(archive, array=np.random.default_rng(0).normal(size=(625_000, D)).astype(np.float32))


def lying_sizes(archive: Path) -> Path:
    """The directory says that the array has 100 bytes."""
    changed = rebuilt(archive)
    content = bytearray(changed.read_bytes())
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(b"encodings.npy"))
    content[start + 24 : start + 28] = (100).to_bytes(4, "little")
    changed.write_bytes(content)
    return changed


def overlapping(archive: Path) -> Path:
    """Two entries of the directory that lead to the same bytes."""
    changed = rebuilt(archive)
    content = bytearray(changed.read_bytes())
    second = content.rindex(b"PK\x01\x02", 0, content.rindex(b"photos/2.jpg"))
    first = content.rindex(b"PK\x01\x02", 0, content.rindex(b"photos/1.jpg"))
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    changed.write_bytes(content)
    return changed


def twice(archive: Path) -> Path:
    changed = rebuilt(archive)
    with zipfile.ZipFile(changed, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("photos/1.jpg", jpeg(photo(1)))
    return changed


def giant_array(archive: Path) -> Path:
    """A header that asks for 512 TB."""
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 128)}
    np.lib.format.write_array_header_1_0(header, shape)
    return rebuilt(archive, members={"encodings.npy": header.getvalue()})


def pickled(archive: Path) -> Path:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    return rebuilt(archive, members={"encodings.npy": stream.getvalue()})


def huge_picture(archive: Path) -> Path:
    data = bytearray(jpeg(photo(1)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # 65,535 × 65,535 pixels

    def manifest(content):
        content["people"][0]["photos"][0]["sha256"] = hashlib.sha256(data).hexdigest()

    return rebuilt(archive, manifest, {"photos/1.jpg": bytes(data)})


BAD_ARCHIVES = {
    "a bomb": (bomb, "claims"),
    "packed 90:1": (padded, "manifest.json claims"),
    "more rows": (array_of_more, r"encodings.npy has 40,000,128 bytes; the manifest says \(6, 16\)"),
    "a dimension of text": (lambda a: rebuilt(a, lambda m: m.update(dimension="x" * 99)), "the manifest says"),
    "lying sizes": (lying_sizes, "damaged|bytes"),
    "overlapping": (overlapping, "damaged|overlap|differ"),
    "twice": (twice, "photos/1.jpg is in it twice"),
    "a giant array": (giant_array, "encodings.npy has the shape"),
    "pickled": (pickled, "encodings.npy"),
    "a huge picture": (huge_picture, "photos/1.jpg is no JPEG that can be opened"),
    "no zip": (lambda a: a.write_bytes(b"no zip") and a, "damaged"),
    "cut": (lambda a: a.write_bytes(a.read_bytes()[:-50]) and a, "damaged"),
    "empty": (lambda a: (a.write_bytes(b""), a)[1], "damaged"),
    "traversal": (lambda a: rebuilt(a, members={"../../evil.jpg": b"x"}), r"'../../evil.jpg', which none"),
    "absolute": (lambda a: rebuilt(a, members={"/etc/passwd": b"x"}), "'/etc/passwd', which none"),
    "another member": (lambda a: rebuilt(a, members={"people.pkl": b"x"}), "people.pkl"),
    "no array": (lambda a: rebuilt(a, members={"encodings.npy": None}), "encodings.npy is missing"),
    "no manifest": (lambda a: rebuilt(a, members={"manifest.json": None}), "manifest.json is missing"),
    "a photo less": (lambda a: rebuilt(a, members={"photos/2.jpg": None}), "'photos/2.jpg' is missing"),
    "a photo more": (lambda a: rebuilt(a, members={"photos/9.jpg": jpeg(photo())}), "not those of the manifest"),
    "another photo": (
        lambda a: rebuilt(a, members={"photos/1.jpg": jpeg(photo(7))}),
        r"photos/1.jpg is damaged \(wrong",
    ),
    "no JSON": (lambda a: rebuilt(a, members={"manifest.json": b"{"}), "no JSON"),
    "deep JSON": (lambda a: rebuilt(a, members={"manifest.json": b"[" * 200_000}), "no JSON"),
    "NaN in JSON": (lambda a: rebuilt(a, set_person(added=float("nan"))), "no JSON"),
    "a list": (lambda a: rebuilt(a, members={"manifest.json": b"[1]"}), "format"),
    "another format": (lambda a: rebuilt(a, lambda m: m.update(format="x")), "format"),
    "a newer version": (lambda a: rebuilt(a, lambda m: m.update(version=2)), "version 2"),
    "people of text": (lambda a: rebuilt(a, lambda m: m.update(people="x")), "people must be a list"),
    "a person of text": (lambda a: rebuilt(a, lambda m: m["people"].append("x")), r"people\[3\]: identity is missing"),
    "a network of 5": (lambda a: rebuilt(a, lambda m: m.update(network=5)), "network=5"),
    "a folder as network": (lambda a: rebuilt(a, lambda m: m.update(network="weights/resnet")), "no fingerprint"),
    "twins but for blanks": (lambda a: rebuilt(a, set_person(1, identity=f" {HOSTILE[0]} ")), "there is another"),
    "a name of 5": (lambda a: rebuilt(a, set_person(identity=5)), "identity is missing, or not a text"),
    "twins": (lambda a: rebuilt(a, set_person(1, identity=HOSTILE[0])), r"people\[1\]: there is another"),
    "a long name": (lambda a: rebuilt(a, set_person(identity="x" * 201)), "201 characters"),
    "a blank name": (lambda a: rebuilt(a, set_person(identity=" ")), r"people\[0\]: identity"),
    "a control name": (lambda a: rebuilt(a, set_person(identity="a\0b")), "control characters"),
    "a turned name": (lambda a: rebuilt(a, set_person(identity="a\u202eb")), r"people\[0\]: .*OVERRIDE is invisible"),
    "minus one": (lambda a: rebuilt(a, set_person(encodings=-1)), "must be 1 or more"),
    "none at all": (lambda a: rebuilt(a, set_person(encodings=0)), "must be 1 or more"),
    "too many": (lambda a: rebuilt(a, set_person(encodings=2)), "the manifest says"),
    "true": (lambda a: rebuilt(a, set_person(encodings=True)), "encodings is missing"),
    "a wrong digest": (lambda a: rebuilt(a, set_person(sha256="0" * 64)), "wrong SHA-256"),
    "a time of text": (lambda a: rebuilt(a, set_person(added="now")), "added is missing"),
    "the far future": (lambda a: rebuilt(a, set_person(added=1e300)), "no time"),
    "photos elsewhere": (lambda a: rebuilt(a, set_person(photos=[{"file": "../x", "sha256": ""}])), "is missing"),
    "the array as photo": (
        lambda a: rebuilt(a, set_person(photos=[{"file": "encodings.npy", "sha256": ""}])),
        "missing",
    ),
    "NaN": (with_array(lambda array: put(array, np.nan)), "finite"),
    "infinite": (with_array(lambda array: put(array, np.inf)), "finite"),
    "not of unit length": (with_array(lambda array: put(array, 2)), "unit length"),
    "float64": (with_array(lambda array: array.astype(np.float64)), "float64"),
    "whole numbers": (with_array(lambda array: array.astype(np.int32)), "int32"),
    "Fortran": (with_array(np.asfortranarray), "encodings.npy is float32"),
    "three axes": (with_array(lambda array: array[None]), "shape|is float32"),
    "a row less": (with_array(lambda array: array[:5]), "the manifest says"),
    "another width": (with_array(lambda array: array[:, :8]), "the manifest says"),
}


@pytest.mark.parametrize(("make", "said"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_a_bad_file_is_refused_whole(archive, path, make, said):
    with FaceDatabase(path, "one:1") as database:
        database["lena"] = unit(1, 60)[0]
        with pytest.raises(BadArgument, match=said) as raised:
            database.import_from(make(archive))
        assert ".zip" in str(raised.value)
        assert database == {"lena": unit(1, 60)[0]}
        assert database._engine.state() == 2  # not even a change that was taken back


@pytest.mark.parametrize("seed", range(120))
def test_a_file_with_random_damage_is_refused_whole_or_means_the_same(archive, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(archive.read_bytes())
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(len(content))), rng.integers(4)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del content[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            content[at:at] = rng.bytes(int(rng.integers(1, 40)))
        else:
            content[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"PK\x01\x02"])
    changed = archive.with_name("damaged.zip")
    changed.write_bytes(content)
    with FaceDatabase(":memory:") as database, FaceDatabase(archive.with_name("source.db")) as source:
        try:
            database.import_from(changed)
        except FaceError:
            assert len(database) == 0
            assert database.network is None
        else:
            assert database == source
            assert [database._engine.pictures(name) for name in source] == [
                source._engine.pictures(name) for name in source
            ]


@pytest.mark.parametrize("room", ROOMS)
def test_there_is_no_pickle_in_it(room):
    source = (ROOT / f"{room}.py").read_text(encoding="utf-8")
    assert "import pickle" not in source
    assert "allow_pickle" not in source  # arrays are read by their bytes


# ------------------------------------------------------------------------------------------------- its rooms
def test_the_rooms_stand_on_the_ground_floor_and_no_arrow_runs_up():
    ours = {path.stem for path in ROOT.glob("*.py")}
    below = {"errors", "whole_files"}
    for room in ROOMS:  # from the bottom to the top
        source = (ROOT / f"{room}.py").read_text(encoding="utf-8")
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE)) & ours
        assert imported <= below, f"{room} imports {sorted(imported - below)}"
        below.add(room)


def test_importing_it_and_searching_among_few_load_no_index_and_no_milvus():
    code = (
        "import sys, numpy as np; from face_database import FaceDatabase; d = FaceDatabase(':memory:');"
        "d['lena'] = np.eye(8)[0]; print(d.nearest(np.eye(8)[0])[0][0, 0]);"
        "print({'faiss', 'pymilvus', 'keras'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "lena\nset()\n"


# ------------------------------------------------------------------------------------------------- Milvus
def test_milvus_asks_for_what_is_missing(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("pymilvus"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadArgument, match="pip install pymilvus"):
        FaceDatabase("milvus:people.db")
    with pytest.raises(BadArgument, match="token: for Milvus only"):
        FaceDatabase(":memory:", token="x")


def test_a_milvus_that_is_not_there_is_said_and_nothing_of_its_library(unused_port):
    pytest.importorskip("pymilvus", reason="pymilvus is not installed")
    where = f"http://127.0.0.1:{unused_port}"
    with pytest.raises(BadDatabase, match=f"^no Milvus answers at {where}: is it running, and is that its address[?]$"):
        FaceDatabase(where, timeout=0.5)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_a_milvus_database_is_there_again_after_closing(tmp_path):
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    where = f"milvus:{tmp_path / 'milvus.db'}"
    with FaceDatabase(where, "one:1") as database:
        database.add("lena", unit(2), photo(1, 2000, 1500))
    with FaceDatabase(where, "one:1") as database:
        assert np.array_equal(database.encodings("lena"), unit(2))
        assert database.photos("lena")[0].shape[0] > 200
        assert database.nearest(unit(1))[0][0, 0] == "lena"
