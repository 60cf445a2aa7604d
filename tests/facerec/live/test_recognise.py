"""The faces of a film are found, followed and named; names are right and stay."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from facerec.database import FaceDatabase, OtherNetwork
from facerec.detection import detect_faces
from facerec.errors import BadArgument, EmptyDatabase
from facerec.live import recognise
from facerec.live.frames import Frames
from facerec.live.recognise import LiveRecogniser
from facerec.live.tracking import Track, iou
from fr_utils import identify
from tests.facerec.live.films import HEIGHT, WIDTH, film_of, scene, swaying


def names_by_id(seen: list[list[Track]]) -> dict[int, set[str]]:
    """Track → every label that it had once it was recognised."""
    names: dict[int, set[str]] = {}
    for track in (track for tracks in seen for track in tracks if track.recognised):
        names.setdefault(track.id, set()).add(track.label)
    return names


def labels(tracks: list[Track]) -> list[str]:
    return sorted(track.label for track in tracks)


# ------------------------------------------------------------------------------------------------- in a film
def test_names_are_right_and_stay_with_their_tracks(seen_of_two, answers):
    assert (answers["camera_0.jpg"], answers["camera_10.jpg"]) == ("lena", "marco")
    assert len(seen_of_two) == 40 and np.mean([labels(tracks) == ["lena", "marco"] for tracks in seen_of_two]) >= 0.95
    assert sorted(map(sorted, names_by_id(seen_of_two).values())) == [["lena"], ["marco"]]
    assert set(names_by_id(seen_of_two)) == {1, 2}
    assert max(track.distance for tracks in seen_of_two for track in tracks) < 0.6
    assert [track.age for track in seen_of_two[-1]] == [39, 39]


def test_boxes_follow_the_faces_between_searches(seen_of_two, photos, detections):
    for i, tracks in enumerate(seen_of_two):
        for track in tracks:
            name, x, k = ("camera_0", 25, 0) if track.identity == "lena" else ("camera_10", 345, 1)
            left, top, side = swaying(i, x, k)
            scale = side / photos[name].shape[1]
            u, v, width, height = detections[name][0]["box"]
            truth = (left + scale * u, top + scale * v, scale * width, scale * height)
            assert iou(track.box, truth) > 0.65, (i, track, truth)


def test_same_film_gives_the_same_tracks(two, seen_of_two, recogniser):
    again = [recogniser.see(frame) for frame in Frames(two)]
    for tracks, others in zip(again, seen_of_two, strict=True):
        assert [(t.id, t.label, t.box) for t in tracks] == [(t.id, t.label, t.box) for t in others]
        np.testing.assert_allclose([t.distance for t in tracks], [t.distance for t in others], atol=1e-4)


def test_every_nth_frame_is_searched_and_one_more_when_a_face_is_lost(photos, recogniser, monkeypatch):
    def noted(*args, thorough):
        assert not thorough  # the next frame is near
        searched.append(i)
        return detect_faces(*args, thorough=thorough)

    searched, frames = [], film_of(photos, "camera_0", "camera_10", 14)
    frames[8:] = [np.full((HEIGHT, WIDTH, 3), 100, np.uint8)] * 6
    monkeypatch.setattr(recognise, "detect_faces", noted)
    seen = []
    for i, frame in enumerate(frames):  # noqa: B007  the searches note it
        seen.append(len(recogniser.see(frame)))
    assert searched == [0, 5, 8, 13]
    assert seen == [2] * 8 + [0] * 6


def test_another_threshold_counts_at_once_for_the_faces_in_view(photos, recogniser, monkeypatch):
    frames = film_of(photos, "camera_0", "camera_10", 3)
    assert labels(recogniser.see(frames[0])) == ["lena", "marco"]
    monkeypatch.setattr(recognise, "detect_faces", None)  # no further search is needed
    recogniser.use_threshold(0.1)
    assert labels(recogniser.see(frames[1])) == ["unknown", "unknown"]
    recogniser.use_threshold(0.7)
    assert labels(recogniser.see(frames[2])) == ["lena", "marco"]
    with pytest.raises(BadArgument, match="threshold=-1"):
        recogniser.use_threshold(-1)


def test_stranger_stays_unknown(photos, recogniser, answers):
    assert answers["camera_5.jpg"] is None and answers["camera_12.jpg"] == "kofi"
    seen = [recogniser.see(frame) for frame in film_of(photos, "camera_5", "camera_12", 40)]
    assert sorted(map(sorted, names_by_id(seen).values())) == [["kofi"], ["unknown"]]
    assert np.mean([labels(tracks) == ["kofi", "unknown"] for tracks in seen]) >= 0.95
    assert min(t.distance for tracks in seen for t in tracks if t.identity is None) > recogniser.threshold


def test_track_of_a_face_that_leaves_is_dropped(photos, recogniser):
    def at(i: int) -> dict:
        there = {"camera_0": (20, 110, 260)}
        return there | ({"camera_10": (340 + 20 * i, 100, 260)} if i < 20 else {})

    seen = [labels(recogniser.see(scene(photos, at(i)))) for i in range(45)]
    assert seen[0] == ["lena", "marco"]
    assert seen[20:] == [["lena"]] * 25
    assert len(recogniser._tracker.tracks) == 1


def test_covered_face_gets_its_track_back(photos, recogniser):
    frames = film_of(photos, "camera_0", "camera_10", 30)
    for frame in frames[12:20]:
        frame[:, 320:] = 90  # something passes on the right
    seen = [recogniser.see(frame) for frame in frames]
    assert {track.label for track in seen[15]} == {"lena"}
    assert {track.id: track.label for track in seen[-1]} == {track.id: track.label for track in seen[0]}


def test_people_who_pass_each_other_keep_their_names(photos, recogniser):
    def at(i: int) -> dict:  # the one in front is drawn last
        return {"camera_10": (380 - 8 * i, 90, 240), "camera_0": (20 + 8 * i, 130, 240)}

    seen = [recogniser.see(scene(photos, at(i))) for i in range(48)]
    assert labels(seen[0]) == labels(seen[-1]) == ["lena", "marco"]
    left, right = sorted(seen[-1], key=lambda track: track.box[0])
    assert (left.label, right.label) == ("marco", "lena")
    assert all(len(names) == 1 for names in names_by_id(seen).values())


def test_cut_to_another_person_starts_a_new_track(photos, recogniser):
    one, other = ({name: (180, 100, 280)} for name in ("camera_0", "camera_10"))
    before = [recogniser.see(scene(photos, one)) for _ in range(4)][-1]
    after = recogniser.see(scene(photos, other))
    assert labels(before) == ["lena"] and labels(after) == ["marco"]
    assert before[0].id != after[0].id


def test_frame_of_another_size_starts_a_new_film(photos, recogniser):
    (first,) = recogniser.see(np.array(photos["camera_0"]))
    (second,) = recogniser.see(np.array(photos["camera_10"][20:300]))
    assert (first.label, second.label) == ("lena", "marco") and first.id != second.id


def test_single_photo_is_named_as_by_identify(photos, network, database):
    recogniser = LiveRecogniser(network, database, search_side=1024, looks=1)
    for name in ("camera_0", "camera_5", "camera_12"):
        (track,), table = recogniser.see(np.array(photos[name])), identify(photos[name], database, network)
        assert (track.identity, track.box) == (table.identity[0], table.box[0])
        assert track.distance == pytest.approx(table.distance[0], abs=1e-4)


def test_distance_is_the_root_mean_square_of_the_last_eight(database, recogniser):
    rng = np.random.default_rng(0)
    encodings = rng.normal(size=(11, 128)).astype(np.float32)
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    track = Track(1, np.zeros(4))
    track.encodings.extend(encodings)
    recogniser._name(track)
    truth = [np.sqrt(np.mean([np.linalg.norm(known - e) ** 2 for e in encodings[3:]])) for known in database.values()]
    assert track.distance == pytest.approx(min(truth), abs=1e-5) and track.label == "unknown"


# ---------------------------------------------------------------------------------------- in a second thread
def test_background_search_blocks_no_frame_and_its_boxes_are_carried_on(two, network, database, monkeypatch):
    def wait_and_detect(*args, **options):
        assert may_search.wait(240)
        return detect_faces(*args, **options)

    may_search, frames = threading.Event(), list(Frames(two))
    monkeypatch.setattr(recognise, "detect_faces", wait_and_detect)
    with LiveRecogniser(network, database, background=True) as recogniser:
        assert [recogniser.see(frame) for frame in frames[:4]] == [[]] * 4  # the first search is still waiting
        may_search.set()
        recogniser._looking[1].result()
        tracks = recogniser.see(frames[4])  # what was found in the first frame, carried on to this one
        assert labels(tracks) == ["lena", "marco"]
        reference = LiveRecogniser(network, database).see(frames[4])
        for track in tracks:
            assert iou(track.place, next(other.place for other in reference if other.label == track.label)) > 0.8


def test_see_can_wait_for_the_first_name_and_an_undecided_face_is_searched_at_once(
    photos, network, database, monkeypatch
):
    frame = np.array(photos["lena"])
    with LiveRecogniser(network, database, background=True) as recogniser:
        assert labels(recogniser.see(frame, wait=True)) == ["lena"]
    monkeypatch.setattr(recognise, "DOUBT", 9)  # no distance is clear
    with LiveRecogniser(network, database, every=100, background=True) as recogniser:
        assert [labels(recogniser.see(frame, wait=True)) for _ in range(3)] == [["looking …"], ["looking …"], ["lena"]]
        monkeypatch.setattr(recognise, "detect_faces", None)  # no further search is due
        assert labels(recogniser.see(frame, wait=True)) == ["lena"]


def test_error_of_the_background_search_is_raised(photos, network, database, monkeypatch):
    def fail(*args, **options):
        raise MemoryError("too much")

    monkeypatch.setattr(recognise, "detect_faces", fail)
    frame = np.array(photos["lena"])
    with LiveRecogniser(network, database, background=True) as recogniser:
        assert recogniser.see(frame) == []
        assert recogniser._looking[1].exception()
        with pytest.raises(MemoryError, match="too much"):
            recogniser.see(frame)


# ------------------------------------------------------------------------------------- against which database
@pytest.fixture
def lasting(network, tmp_path):
    """An empty ``FaceDatabase``."""
    with FaceDatabase(tmp_path / "door.db", network) as lasting:
        yield lasting


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_face_database_gives_the_same_tracks_as_a_dict(two, network, database, seen_of_two, tmp_path, represent):
    with FaceDatabase(tmp_path / "door.db", network, represent) as lasting:
        lasting.update(database)
        recogniser = LiveRecogniser(network, lasting)
        seen = [recogniser.see(frame) for frame, _ in zip(Frames(two), range(11), strict=False)]
    for ours, theirs in zip(seen, seen_of_two[:11], strict=True):
        assert [(t.id, t.label, t.box) for t in ours] == [(t.id, t.label, t.box) for t in theirs]
        np.testing.assert_allclose([t.distance for t in ours], [t.distance for t in theirs], atol=1e-4)


def test_people_added_to_or_removed_from_a_face_database_count_at_the_next_search(photos, network, database, lasting):
    lasting["otto"] = database["otto"]
    recogniser = LiveRecogniser(network, lasting, every=1, looks=1)
    frame = np.array(photos["camera_0"])
    assert labels(recogniser.see(frame)) == ["unknown"]
    lasting["lena"] = database["lena"]
    assert labels(recogniser.see(frame)) == ["lena"]
    lasting.remove("lena")
    (track,) = recogniser.see(frame)
    assert track.label == "unknown" and track.distance > 0.7


def test_emptied_face_database_makes_everyone_unknown(photos, network, database, lasting):
    lasting["lena"] = database["lena"]
    recogniser = LiveRecogniser(network, lasting, every=1, looks=1)
    frame = np.array(photos["camera_0"])
    assert labels(recogniser.see(frame)) == ["lena"]
    lasting.clear()
    (track,) = recogniser.see(frame)
    assert track.label == "unknown" and track.distance == np.inf


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_removed_person_loses_the_name_at_once(photos, network, database, tmp_path, represent):
    """Replacing a name takes three looks, but the name of a removed person is not kept that long."""
    with FaceDatabase(tmp_path / "door.db", network, represent) as lasting:
        lasting.update(database)
        recogniser = LiveRecogniser(network, lasting, every=1, looks=3)
        frame = np.array(photos["camera_0"])
        assert labels(recogniser.see(frame)) == ["lena"]
        lasting.remove("lena")
        assert labels(recogniser.see(frame)) == ["unknown"]


def test_dict_is_read_once(photos, network, database):
    known = {"lena": database["lena"]}
    recogniser = LiveRecogniser(network, known, every=1, looks=1)
    del known["lena"]
    known["otto"] = database["otto"]
    assert labels(recogniser.see(np.array(photos["camera_0"]))) == ["lena"]
    assert labels(recogniser.see(np.array(photos["camera_11"]))) == ["unknown"]


def test_databases_that_can_not_be_used_are_refused_at_once(network, small_network, database, lasting, tmp_path):
    for empty in ({}, lasting):
        with pytest.raises(EmptyDatabase):
            LiveRecogniser(network, empty)
    with pytest.raises(BadArgument, match="must map names to encodings.* it is a list"):
        LiveRecogniser(network, list(database))
    with pytest.raises(BadArgument, match="entry for lena is not an encoding"):
        LiveRecogniser(network, {"otto": database["otto"], "lena": np.ones(3)})
    with FaceDatabase(tmp_path / "other.db", small_network) as other:
        other["lena"] = database["lena"]
        with pytest.raises(OtherNetwork):
            LiveRecogniser(network, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [("every", 0), ("every", 2.5), ("search_side", 0), ("looks", 0), ("looks", True), ("threshold", -1)],
)
def test_arguments_out_of_range_are_refused(network, database, name, value):
    with pytest.raises(BadArgument, match=f"{name}={value}"):
        LiveRecogniser(network, database, **{name: value})


def test_frame_that_is_not_a_photo_is_refused(recogniser):
    with pytest.raises(BadArgument, match="uint8"):
        recogniser.see(np.zeros((10, 10)))
