"""One network per database: others are rejected, and people are re-encoded for another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facerec.database import FaceDatabase, OtherNetwork
from facerec.errors import BadArgument, NoFaceFound
from tests.facerec.database.helpers import D, photo, unit


def test_another_network_is_rejected(database, small_network):
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


def test_people_without_a_network_are_rejected_until_labelled(database):
    database["lena"] = unit(1)[0]
    where, one = database.where, "one:" + "1" * 64
    said = r"does not say which network .* those of one \(111111111111\).*label\(network\).*needs a kept photo"
    with pytest.raises(OtherNetwork, match=said):
        database._engine.expect(one, None)
    assert database.network is None
    if where != ":memory:":
        database.close()
        with pytest.raises(OtherNetwork, match="does not say which network"):
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


def damage(database: FaceDatabase, identity: str, number: int = 0) -> None:
    """Cut off the ends of a kept photo and of its thumbnail, as in a file from the time before the checksums."""
    engine = database._engine
    ids = engine.read("SELECT photos.id FROM photos JOIN people ON person = people.id WHERE identity = ?", (identity,))
    cut = ", ".join(f"{column} = substr({column}, 1, length({column}) - 99)" for column in ("jpeg", "thumbnail"))
    engine.db.execute(f"UPDATE photos SET {cut}, checksum = NULL WHERE id = ?", ids[number])


def test_damaged_photo_is_named_and_left_out_and_the_rest_serves(path):
    with FaceDatabase(path, "one:1") as database:
        for i in range(3):
            database.add("lena", unit(1, i)[0], photo(i))
        database.add("omar", unit(1, 5)[0], photo(5))
        database.add("nina", unit(1, 6)[0], photo(6))
        damage(database, "lena", 2)
        damage(database, "omar")
        with pytest.warns(UserWarning, match=f"a photo of 'lena' in {path} is damaged .*; it is left out") as warned:
            assert len(database.photos("lena")) == 2
        assert warned[0].filename == __file__
        with pytest.warns(UserWarning, match="a photo of 'lena'"):
            assert np.abs(database.thumbnail("lena").astype(int) - photo(1)).mean() < 10
        with pytest.warns(UserWarning, match="a photo of 'omar'"):
            assert database.photos("omar") == [] and database.thumbnail("omar") is None
        with pytest.raises(
            BadArgument, match=r"1 person can't be re-encoded: 'omar' \(a kept photo of 'omar' is damag"
        ):
            database.reencode("two:2", lambda photo: unit(1, 7, 8)[0], progress=False)
        lost = database.reencode("two:2", lambda photo: unit(1, 7, 8)[0], without="remove", progress=False)
        assert lost.identity.tolist() == ["omar"] and list(database) == ["lena", "nina"]
        assert len(database.encodings("lena")) == 2


def test_export_of_damaged_photos_comes_back_without_them(path, tmp_path):
    with FaceDatabase(path, "one:1") as database, FaceDatabase(":memory:") as other:
        database.add("lena", unit(1, 1)[0], photo(1))
        database.add("omar", unit(1, 2)[0], photo(2))
        damage(database, "lena")
        database.export_to(tmp_path / "people.zip")
        with pytest.warns(UserWarning, match="photos left out, 1 in all: photos/1.jpg of 'lena' is damaged"):
            assert other.import_from(tmp_path / "people.zip") == 2
        assert other == database
        assert other.photos("lena") == [] and other._engine.pictures("omar") == database._engine.pictures("omar")


def test_milvus_reencodes_people_with_a_usable_photo(tmp_path):
    """It has one place for a photo beside each encoding."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    with FaceDatabase(f"milvus:{tmp_path / 'milvus.db'}", "one:1") as database:
        for i in range(3):
            database.add("lena", unit(1, i)[0], photo(i))

        def encode(picture):
            if np.abs(picture.astype(int) - photo(0)).mean() < 10:
                raise NoFaceFound("no face in it")
            return unit(1, 7, 8)[0]

        assert database.reencode("two:2", encode, progress=False).empty
        assert len(database.encodings("lena")) == len(database.photos("lena")) == 2


def test_empty_database_takes_the_first_network(path):
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        del database["lena"]
    with FaceDatabase(path, "one:1") as database:
        assert database.network == "one:1"


def test_network_with_another_dimension_is_rejected(small_network):
    with FaceDatabase(":memory:") as database:
        database["lena"] = unit(1)[0]
        with pytest.raises(BadArgument, match="these encodings have 128 numbers; those in :memory: have 16"):
            database.label(small_network)
        assert database.network is None
        with pytest.raises(BadArgument, match="model=None"):
            database.reencode(None, lambda photo: unit(1)[0], progress=False)


def test_old_network_is_rejected_after_reencoding(path):
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
def test_open_database_without_a_network_is_rejected_after_reencoding(path, archive, noted):
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


def test_reencode_uses_the_kept_photos(database):
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

    with pytest.raises(BadArgument, match="2 people can't be re-encoded: 'nina', 'ivan' .*nothing was changed"):
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
