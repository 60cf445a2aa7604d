"""A database and an export of an earlier version open as they were: nothing that users own is lost by an update."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.database.sqlite.file import CHECKED, checksum_of
from facerec.photos import load_image

DATA = ROOT / "tests" / "data"
NETWORK = "resnet:5c6a80a8"  # how the fingerprint begins


@pytest.fixture(params=["database", "export"])
def old(request, tmp_path) -> Iterator[FaceDatabase]:
    """A copy of the old database, or what its export gives."""
    if request.param == "database":
        shutil.copy(DATA / "old_people.db", tmp_path / "people.db")
        with FaceDatabase(tmp_path / "people.db") as database:
            yield database
    else:
        with FaceDatabase(":memory:") as database:
            assert database.import_from(DATA / "old_people.zip") == 2
            yield database


def test_old_file_holds_names_encodings_and_photos(old):
    assert list(old) == ["lena", "otto"]
    assert old.network.startswith(NETWORK)
    for name, count in (("lena", 2), ("otto", 1)):
        encodings = old.encodings(name)
        assert encodings.shape == (count, 128)
        assert encodings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-6)
        (photo,) = old.photos(name)
        original = cv2.resize(load_image(ROOT / "images" / f"{name}.jpg"), (96, 96), interpolation=cv2.INTER_AREA)
        assert np.abs(photo.astype(int) - original).mean() < 3  # JPEG's loss
        assert old.thumbnail(name).shape == (96, 96, 3)


def test_old_file_is_searched_and_written(old):
    lena = old.encodings("lena")
    assert old.nearest(lena[1])[0][0, 0] == "lena"
    old.rename("otto", "Otto")
    old.add("lena", lena[0])
    assert len(old.encodings("lena")) == 3
    old.forget("lena")
    assert list(old) == ["Otto"]


def test_old_database_gets_checksums_of_everything(tmp_path):
    shutil.copy(DATA / "old_people.db", tmp_path / "people.db")
    with FaceDatabase(tmp_path / "people.db") as database:
        for table, data in CHECKED.items():
            for checksum, *row in database._engine.read(f"SELECT checksum, {data} FROM {table}"):
                assert checksum == checksum_of(*row)
        database["omar"] = database["lena"]
    with FaceDatabase(tmp_path / "people.db") as again:
        assert list(again) == ["lena", "otto", "omar"]


def test_old_database_equals_its_export(tmp_path):
    shutil.copy(DATA / "old_people.db", tmp_path / "people.db")
    with FaceDatabase(tmp_path / "people.db") as database, FaceDatabase(":memory:") as imported:
        imported.import_from(DATA / "old_people.zip")
        assert imported.network == database.network
        assert imported.people().equals(database.people())
        for name in database:
            assert imported.encodings(name).tobytes() == database.encodings(name).tobytes()
            assert imported._engine.pictures(name) == database._engine.pictures(name)
