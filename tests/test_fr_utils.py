"""The student's door: verify, who_is_it and identify on every picture of images/."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facerec.course.stored import stored_network
from facerec.detection import extract_face
from facerec.encoding import img_to_encoding
from facerec.errors import BadArgument, NoFaceFound, UnreadableImage
from facerec.networks import confidence, load_facenet, threshold_for
from fr_utils import distance_to, identify, verify, who_is_it

BLANK = np.full((60, 80, 3), 128, np.uint8)


CAMERA = [f"camera_{i}" for i in range(20)]


@pytest.mark.parametrize("name", CAMERA)
def test_who_is_it_answers_every_camera_picture(images, answers, network, database, capsys, name):
    """People of the database are recognised, strangers are not, at 0.7; the sentence says the same."""
    expected = answers[f"{name}.jpg"]
    distance, identity = who_is_it(images / f"{name}.jpg", database, network, threshold=0.7)
    assert identity == expected and type(distance) is float
    sentence = "Not in the database." if expected is None else f"It's {expected}, the distance is {distance:.2f}"
    assert capsys.readouterr().out == sentence + "\n"
    assert (distance < 0.7) == (expected is not None)


def test_stored_encodings_of_the_exercises_are_the_networks(images, database):
    """`python tools/upkeep/exercises.py encode` makes them."""
    known = stored_network().encodings
    assert set(known) == {path.name for path in images.glob("*.jpg")} - {"video_call.jpg"}
    for name, encoding in database.items():
        np.testing.assert_allclose(known[f"{name}.jpg"], encoding, atol=1e-3)


def test_answers_cover_every_camera_picture(images, answers, database):
    pictures = {path.name for path in images.glob("*.jpg")}
    assert pictures - set(answers) == {f"{name}.jpg" for name in database} and set(answers) <= pictures


def test_who_is_it_accepts_the_lookalike_at_0_7(images, answers, network, database, capsys):
    distance, identity = who_is_it(images / "lookalike.jpg", database, network)
    assert answers["lookalike.jpg"] is None and identity in database and distance < 0.7
    assert who_is_it(images / "lookalike.jpg", database, network, threshold=distance) == (distance, None)
    assert capsys.readouterr().out.endswith("Not in the database.\n")


def test_who_is_it_says_when_its_threshold_names_many_strangers(images, network, database, capsys):
    """More than one stranger in ten among twelve people at 0.7; with a threshold of one's own there is no advice."""
    assert threshold_for(network, people=12) < 0.65
    who_is_it(images / "camera_7.jpg", database, network)
    said, advice = capsys.readouterr().out.splitlines()
    strict = threshold_for(network, people=len(database))
    assert said.startswith("It's jun") and advice.startswith("(Among 12 people, 0.70 gives up to ")
    assert f"threshold={strict:.2f} gives 1%" in advice
    few = {name: database[name] for name in list(database)[:2]}
    for arguments in ((database, network, 0.7), (database, network, strict), (few, network)):
        who_is_it(images / "camera_7.jpg", *arguments)
        assert len(capsys.readouterr().out.splitlines()) == 1


def test_identify_takes_the_threshold_for_so_many_people(images, network, database):
    distance = who_is_it(images / "camera_0.jpg", database, network)[0]
    others = {f"stranger {i}": -encoding for i, encoding in enumerate(database.values())}
    many = database | {f"{name} {i}": encoding for name, encoding in others.items() for i in range(400)}
    table = identify(images / "camera_0.jpg", database, network)
    crowded = identify(images / "camera_0.jpg", many, network)
    assert table.identity[0] == crowded.nearest[0] == "lena" and crowded.distance[0] == pytest.approx(distance)
    limit = threshold_for(network, people=len(many))
    assert len(many) == 4812 and limit < 0.47 and crowded.is_unknown[0] == (not distance < limit)


def test_who_is_it_takes_the_nearest_identity(images, network, database):
    """The distance is the smallest over the database, and is that identity's."""
    encoding = img_to_encoding(images / "camera_1.jpg", network)
    distances = {name: float(np.linalg.norm(encoding - known)) for name, known in database.items()}
    distance, identity = who_is_it(images / "camera_1.jpg", database, network)
    assert identity == min(distances, key=distances.get)
    assert distance == pytest.approx(min(distances.values()), abs=1e-5)


def test_distance_to_is_the_distance_of_verify_and_says_nothing(images, network, database, capsys):
    for name in ("lena", "otto"):
        distance = distance_to(images / "camera_0.jpg", name, database, network)
        assert capsys.readouterr().out == ""
        assert distance == verify(images / "camera_0.jpg", name, database, network)[0]
        capsys.readouterr()
    encoding = img_to_encoding(images / "camera_0.jpg", network)
    assert distance == pytest.approx(np.sqrt(np.square(encoding - database["otto"]).sum()), abs=1e-5)


def test_verify_accepts_the_right_person(images, network, database, capsys):
    distance, door_open = verify(images / "camera_0.jpg", "lena", database, network)
    assert door_open is True and type(distance) is float and distance < 0.7
    assert capsys.readouterr().out == "It's lena, welcome in!\n"
    expected = np.linalg.norm(img_to_encoding(images / "camera_0.jpg", network) - database["lena"])
    assert distance == pytest.approx(expected, abs=1e-5)


def test_verify_rejects_another_persons_card(images, network, database, capsys):
    distance, door_open = verify(images / "camera_0.jpg", "kofi", database, network)
    assert door_open is False and distance >= 0.7
    assert capsys.readouterr().out == "It's not kofi, please go away\n"


def test_verify_and_who_is_it_take_an_aligned_face(photos, network, database):
    """A crop in which no detector looks for a face any more."""
    face = extract_face(photos["camera_0"])
    assert who_is_it(face, database, network, aligned=True)[1] == "lena"
    assert verify(face, "lena", database, network, aligned=True)[1]
    assert not verify(face, "kofi", database, network, aligned=True)[1]


def test_a_distance_equal_to_the_threshold_is_rejected(images, network, database):
    """The door opens *below* the threshold, in verify, who_is_it and identify alike."""
    photo = images / "camera_0.jpg"
    distance, _ = verify(photo, "lena", database, network)
    beyond = np.nextafter(distance, 2)
    assert [verify(photo, "lena", database, network, t)[1] for t in (distance, beyond)] == [False, True]
    distance, _ = who_is_it(photo, database, network)
    assert [who_is_it(photo, database, network, t)[1] for t in (distance, np.nextafter(distance, 2))] == [None, "lena"]
    distance = identify(photo, database, network).distance[0]
    tables = [identify(photo, database, network, t) for t in (distance, np.nextafter(distance, 2))]
    assert [table.identity[0] for table in tables] == [None, "lena"]
    assert [table.is_unknown[0] for table in tables] == [True, False]


def test_identify_names_everyone_of_the_video_call(images, answers, network, database):
    """The call is a grid of two rows and three columns; the answers go through it as one reads."""
    table = identify(images / "video_call.jpg", database, network)
    columns = ["face", "box", "identity", "distance", "confidence", "rank", "is_unknown", "nearest"]
    assert list(table.columns) == columns
    assert list(table["face"]) == list(range(6)) and set(table["rank"]) == {1}
    places = [(round((y + h / 2) // 430), round((x + w / 2) // (1280 / 3))) for x, y, w, h in table.box]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert list(table.identity) == answers["video_call.jpg"]
    assert list(table.is_unknown) == [name is None for name in answers["video_call.jpg"]]
    assert ((table.distance < 0.7) == ~table.is_unknown).all()
    assert set(table.nearest) <= set(database)


def test_identify_confidence_comes_from_the_calibration(images, network, database):
    """Nearer is surer; unless told, everybody in the database and a stranger are as probable; by Bayes' rule."""
    table = identify(images / "video_call.jpg", database, network, top=3)
    assert table.confidence.between(0, 1).all()
    assert (table.sort_values("distance").confidence.diff().dropna() <= 0).all()
    assert table.confidence[table.distance < 0.5].min() > 0.9 and table.confidence[table.distance > 0.8].max() < 0.1
    even = identify(images / "video_call.jpg", database, network, top=3, prior=0.5)
    np.testing.assert_allclose(even.confidence, confidence(table.distance, network))
    odds = even.confidence / (1 - even.confidence) / len(database)
    np.testing.assert_allclose(table.confidence, odds / (1 + odds), rtol=1e-6)
    with pytest.raises(BadArgument, match="prior=1.5"):
        identify(images / "video_call.jpg", database, network, prior=1.5)


def test_identify_lists_the_nearest_few(images, network, database):
    table = identify(images / "camera_0.jpg", database, network, top=3)
    encoding = img_to_encoding(images / "camera_0.jpg", network)
    distances = {name: float(np.linalg.norm(encoding - known)) for name, known in database.items()}
    nearest = sorted(distances, key=distances.get)[:3]
    assert list(table.nearest) == nearest and list(table["rank"]) == [1, 2, 3] and set(table["face"]) == {0}
    np.testing.assert_allclose(table.distance, [distances[name] for name in nearest], atol=1e-4)
    limit = threshold_for(network, people=len(database))
    assert list(table.identity) == [name if distances[name] < limit else None for name in nearest]
    assert len(identify(images / "camera_0.jpg", database, network, top=99)) == len(database)


def test_identify_returns_no_rows_for_a_photo_without_faces(network, database):
    table = identify(BLANK, database, network)
    assert len(table) == 0 and "identity" in table and table.is_unknown.dtype == bool


@pytest.mark.parametrize("top", [0, -1, 1.5, "2", None])
def test_identify_rejects_a_bad_top(network, database, top):
    with pytest.raises(BadArgument, match="top="):
        identify(BLANK, database, network, top=top)


@pytest.mark.parametrize("threshold", [-0.1, np.nan, np.inf, "0.7", True, [0.7]])
def test_bad_thresholds_are_rejected(network, database, threshold):
    for decide in (
        lambda: who_is_it(BLANK, database, network, threshold=threshold),
        lambda: identify(BLANK, database, network, threshold=threshold),
        lambda: verify(BLANK, "lena", database, network, threshold=threshold),
    ):
        with pytest.raises(BadArgument, match="threshold="):
            decide()


@pytest.mark.parametrize("threshold", [0, 0.0, 1, np.float32(0.7), np.int64(2)])
def test_good_thresholds_are_taken(network, database, threshold):
    assert identify(BLANK, database, network, threshold=threshold).empty


def test_bad_photos_raise_and_print_nothing(network, database, capsys):
    for decide in (
        lambda photo: who_is_it(photo, database, network),
        lambda photo: verify(photo, "lena", database, network),
    ):
        with pytest.raises(NoFaceFound, match=r"no face in an array \(60, 80, 3\) \(80×60\)"):
            decide(BLANK)
        with pytest.raises(UnreadableImage, match="a picture of 5 bytes"):
            decide(b"bytes")
    assert capsys.readouterr().out == ""


def test_default_threshold_is_the_networks_own(images, database, capsys):
    strict = load_facenet("weights/resnet")
    strict.facenet = dataclasses.replace(strict.facenet, threshold=0.2)
    assert who_is_it(images / "camera_0.jpg", database, strict)[1] is None
    assert who_is_it(images / "camera_0.jpg", database, strict, threshold=0.7)[1] == "lena"
