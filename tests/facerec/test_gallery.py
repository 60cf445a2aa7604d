"""A dict and a FaceDatabase are asked alike, and refused alike."""

from __future__ import annotations

from collections import UserDict
from pathlib import Path

import numpy as np
import pytest

from facerec.database import FaceDatabase, OtherNetwork
from facerec.encoding import img_to_encoding
from facerec.enrol import build_database
from facerec.errors import BadArgument, EmptyDatabase, UnknownIdentity
from fr_utils import identify, verify, who_is_it

BLANK = np.full((60, 80, 3), 128, np.uint8)


def test_unknown_identity_suggests_similar_names(images, network, database):
    with pytest.raises(UnknownIdentity, match="the database has no one called 'leena'; did you mean lena"):
        verify(images / "camera_0.jpg", "leena", database, network)
    with pytest.raises(UnknownIdentity, match="the database has no one called 'Xqwzt'; it knows 12 people"):
        verify(images / "camera_0.jpg", "Xqwzt", database, network)


@pytest.mark.parametrize(
    "decide",
    [who_is_it, identify, lambda photo, *known: verify(photo, "lena", *known)],
    ids=["who_is_it", "identify", "verify"],
)
def test_empty_database_is_rejected(images, network, decide):
    with pytest.raises(EmptyDatabase, match="build_database"):
        decide(images / "camera_0.jpg", {}, network)


@pytest.mark.parametrize("kind", [dict, UserDict])
@pytest.mark.parametrize("reshape", [np.asarray, lambda e: e.reshape(1, 128), list, lambda e: e.astype(np.float64)])
def test_entries_of_every_shape_are_read(images, network, database, kind, reshape):
    """The course keeps (1, 128); a list, doubles and any mapping do as well."""
    known = kind({name: reshape(encoding) for name, encoding in database.items()})
    assert who_is_it(images / "camera_0.jpg", known, network)[1] == "lena"
    assert verify(images / "camera_0.jpg", "lena", known, network)[1]


BAD_ENTRIES = {
    "NaN": np.full(128, np.nan),
    "one infinite number": np.append(np.zeros(127), np.inf),
    "too short": np.zeros(64),
    "two encodings": np.zeros((2, 128)),
    "nothing": None,
    "text": "lena",
    "ragged": [[1.0], [1.0, 2.0]],
    "not of unit length": np.full(128, 0.125),
}


@pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
def test_bad_entries_are_named_in_the_error(network, database, entry):
    """Before the photo is even opened."""
    known = {**database, "eve": entry}
    for decide in (
        lambda: who_is_it("nobody.jpg", known, network),
        lambda: identify("nobody.jpg", known, network),
        lambda: verify("nobody.jpg", "eve", known, network),
    ):
        with pytest.raises(BadArgument, match="the database's entry for eve is not an encoding of resnet"):
            decide()


def test_names_may_be_tuples(images, network, database):
    known = {("known", name): encoding for name, encoding in database.items()}
    assert who_is_it(images / "camera_0.jpg", known, network)[1] == ("known", "lena")
    assert identify(images / "camera_0.jpg", known, network).identity[0] == ("known", "lena")


def portraits(folder: Path, *files: tuple[str, Path | bytes]) -> Path:
    """A folder of files, each copied from a path or written from bytes."""
    folder.mkdir()
    for name, content in files:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


@pytest.mark.parametrize("database", [None, ["lena"], "lena"])
def test_database_must_be_a_mapping(network, database):
    for decide in (
        lambda: who_is_it(BLANK, database, network),
        lambda: identify(BLANK, database, network),
        lambda: verify(BLANK, "lena", database, network),
    ):
        with pytest.raises(BadArgument, match="database must map names to encodings"):
            decide()


def test_lasting_database_gives_the_same_answers_as_a_dict(images, network, database, tmp_path, capsys):
    """verify, who_is_it and identify give the same answers; the file is asked to search by itself."""
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
        for photo in ("camera_0.jpg", "camera_5.jpg"):
            said = [who_is_it(images / photo, known, network) for known in (database, lasting)]
            assert said[0][1] == said[1][1] and said[0][0] == pytest.approx(said[1][0], abs=1e-5)
        assert verify(images / "camera_0.jpg", "lena", lasting, network)[1]
        with pytest.raises(UnknownIdentity, match="did you mean lena"):
            verify(images / "camera_0.jpg", "leena", lasting, network)
        tables = [identify(images / "video_call.jpg", known, network, top=3) for known in (database, lasting)]
        for column in ("face", "identity", "nearest", "rank", "is_unknown"):
            assert list(tables[0][column]) == list(tables[1][column]), column
        np.testing.assert_allclose(tables[0].confidence, tables[1].confidence, rtol=1e-3)
        assert len(identify(images / "camera_0.jpg", lasting, network, top=99)) == len(database)


def test_empty_lasting_database_is_rejected(images, network, tmp_path):
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        for ask in (who_is_it, identify):
            with pytest.raises(EmptyDatabase):
                ask(images / "camera_0.jpg", lasting, network)


def test_verify_and_who_is_it_measure_the_same_distance(images, network, database, tmp_path, capsys):
    """Two pictures of one person: their mean, or the nearer of them."""
    photos = [images / "lena.jpg", images / "camera_0.jpg"]
    for represent, least in (("mean", 0.05), ("nearest", 0.0)):
        with FaceDatabase(tmp_path / "door.db", network, represent) as lasting:
            lasting["lena"] = np.stack([img_to_encoding(photo, network) for photo in photos])
            distance = verify(photos[0], "lena", lasting, network)[0]
            assert distance == pytest.approx(who_is_it(photos[0], lasting, network)[0], abs=1e-4)
            assert (distance > 0.05) == (least > 0)


def test_database_without_a_network_is_rejected_until_it_is_labelled(
    images, network, small_network, database, tmp_path
):
    with FaceDatabase(tmp_path / "door.db") as lasting:
        lasting["lena"] = database["lena"]
        for ask in (who_is_it, identify, lambda *args: verify(args[0], "lena", *args[1:])):
            with pytest.raises(OtherNetwork, match="does not say which network"):
                ask(images / "camera_0.jpg", lasting, network)
        with pytest.raises(OtherNetwork, match="does not say which network"):
            build_database(images, network, into=lasting)
    folder = portraits(tmp_path / "people", ("lena.jpg", images / "lena.jpg"))
    with FaceDatabase(tmp_path / "new.db") as lasting:
        build_database(folder, network, progress=False, into=lasting)
        assert who_is_it(images / "camera_0.jpg", lasting, network)[1] == "lena"
    with pytest.raises(OtherNetwork):
        FaceDatabase(tmp_path / "new.db", small_network)


def test_database_of_another_network_is_rejected(images, network, small_network, database, tmp_path):
    """Both give 128 numbers; a dict can't tell, a database that knows its network does."""
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
        for ask in (who_is_it, identify, lambda *args: verify(args[0], "lena", *args[1:])):
            with pytest.raises(OtherNetwork, match=r"of resnet \(.* network \(.* can't compare them"):
                ask(images / "camera_0.jpg", lasting, small_network)


def test_export_never_replaces_a_database(network, database, tmp_path):
    """An archive may be replaced; any other file may not."""
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
        with pytest.raises(BadArgument, match="door.db"):
            lasting.export_to(tmp_path / "door.db")
        for _ in range(2):
            lasting.export_to(tmp_path / "people.zip")
        lasting.add("newcomer", database["lena"])
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        assert set(lasting) == {*database, "newcomer"}
