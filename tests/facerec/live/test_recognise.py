"""Who is in a film: faces are followed, names are right and stay, and what is written is whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec import __main__ as camera
from facerec.database import FaceDatabase
from facerec.detection import detect_faces
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, EmptyDatabase, NoCamera, NoScreen, UnreadableImage
from facerec.live import tracking
from facerec.live.drawing import LONGEST_NAME, _fonts_of_this_computer, _name_and_font, _shortened, annotate
from facerec.live.film import Viewing, write_annotated
from facerec.live.frames import Frames
from facerec.live.recognise import LiveRecogniser
from facerec.live.tracking import Track, Tracker, best_matches, follow_boxes, iou
from fr_utils import identify

WIDTH, HEIGHT = 640, 480


# ------------------------------------------------------------------------------------------ films of nobody real
def scene(photos, cast: dict[str, tuple[float, float, float]]) -> np.ndarray:
    """Photos on a grey wall: name → (x, y, side) of each, whatever lies beyond the frame cut off."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = np.linspace(70, 150, WIDTH).astype(np.uint8)[:, None]
    for name, (x, y, side) in cast.items():
        scale = side / photos[name].shape[1]
        matrix = np.array([[scale, 0, x], [0, scale, y]])
        cv2.warpAffine(photos[name], matrix, (WIDTH, HEIGHT), frame, borderMode=cv2.BORDER_TRANSPARENT)
    return frame


def swaying(i: int, x: float, k: int) -> tuple[float, float, float]:
    """Where the k-th person is in frame i, whose place is around x."""
    return x + 25 * np.sin(i / 11 + 2 * k), 110 + 30 * np.cos(i / 9 + k), 240 + 38 * np.sin(i / 13 + k)


def film(photos, left: str, right: str, frames: int = 75) -> list[np.ndarray]:
    """Two people beside each other, who move about and come nearer and go."""
    return [scene(photos, {left: swaying(i, 25, 0), right: swaying(i, 345, 1)}) for i in range(frames)]


def write_video(path: Path, frames: list[np.ndarray], fps: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.fixture(scope="module")
def two(photos, tmp_path_factory) -> Path:
    """A video of lena and marco, in other pictures than those of the database."""
    return write_video(tmp_path_factory.mktemp("film") / "two.mp4", film(photos, "camera_0", "camera_10"))


@pytest.fixture
def recogniser(network, database) -> LiveRecogniser:
    return LiveRecogniser(network, database)


@pytest.fixture(scope="module")
def seen_of_two(two, network, database) -> list[list[Track]]:
    """What is seen in each frame of that video."""
    recogniser = LiveRecogniser(network, database)
    return [recogniser.see(frame) for frame in Frames(two)]


def names_by_id(seen: list[list[Track]]) -> dict[int, set[str]]:
    """Track → every label it ever had after it was recognised."""
    names: dict[int, set[str]] = {}
    for track in (track for tracks in seen for track in tracks if track.recognised):
        names.setdefault(track.id, set()).add(track.label)
    return names


# ------------------------------------------------------------------------------------------------- in a film
def test_names_are_right_and_stay_with_their_tracks(seen_of_two, answers):
    assert (answers["camera_0.jpg"], answers["camera_10.jpg"]) == ("lena", "marco")
    right = [sorted(track.label for track in tracks) == ["lena", "marco"] for tracks in seen_of_two]
    assert len(right) == 75 and np.mean(right) >= 0.95
    assert sorted(names_by_id(seen_of_two).items(), key=str) in ([(1, {"lena"}), (2, {"marco"})],
                                                                 [(1, {"marco"}), (2, {"lena"})])  # fmt: skip
    assert max(track.distance for tracks in seen_of_two for track in tracks) < 0.6
    assert [track.age for track in seen_of_two[-1]] == [74, 74]


def test_boxes_are_where_the_faces_are_also_between_the_searches(seen_of_two, photos, detections):
    for i, tracks in enumerate(seen_of_two):
        for track in tracks:
            name, x, k = ("camera_0", 25, 0) if track.identity == "lena" else ("camera_10", 345, 1)
            left, top, side = swaying(i, x, k)
            scale = side / photos[name].shape[1]
            u, v, width, height = detections[name][0]["box"]
            truth = (left + scale * u, top + scale * v, scale * width, scale * height)
            assert iou(track.box, truth) > 0.65, (i, track, truth)


def test_the_same_film_gives_the_same_tracks(two, seen_of_two, recogniser):
    again = [recogniser.see(frame) for frame in Frames(two)]
    for tracks, others in zip(again, seen_of_two, strict=True):
        assert [(t.id, t.label, t.box) for t in tracks] == [(t.id, t.label, t.box) for t in others]
        np.testing.assert_allclose([t.distance for t in tracks], [t.distance for t in others], atol=1e-4)


def test_only_every_nth_frame_is_searched_and_once_more_where_a_face_is_lost(photos, recogniser, monkeypatch):
    def noted(*args, detect_faces=detect_faces):
        searched.append(i)
        return detect_faces(*args)

    searched, frames = [], film(photos, "camera_0", "camera_10", 14)
    frames[8:] = [np.full((HEIGHT, WIDTH, 3), 100, np.uint8)] * 6
    monkeypatch.setattr(camera, "detect_faces", noted)
    seen = []
    for i, frame in enumerate(frames):  # noqa: B007  the searches note it
        seen.append(len(recogniser.see(frame)))
    assert searched == [0, 5, 8, 13]
    assert seen == [2] * 8 + [0] * 6


def test_a_stranger_stays_unknown(photos, recogniser, answers):
    assert answers["camera_5.jpg"] is None and answers["camera_12.jpg"] == "kofi"
    seen = [recogniser.see(frame) for frame in film(photos, "camera_5", "camera_12", 60)]
    assert sorted(map(sorted, names_by_id(seen).values())) == [["kofi"], ["unknown"]]
    assert np.mean([sorted(t.label for t in tracks) == ["kofi", "unknown"] for tracks in seen]) >= 0.95
    assert min(t.distance for tracks in seen for t in tracks if t.identity is None) > recogniser.threshold


def test_a_face_that_leaves_disappears_and_is_forgotten(photos, recogniser):
    def at(i: int) -> dict:
        there = {"camera_0": (20, 110, 260)}
        return there | ({"camera_10": (340 + 12 * i, 100, 260)} if i < 40 else {})

    seen = [[track.label for track in recogniser.see(scene(photos, at(i)))] for i in range(70)]
    assert sorted(seen[0]) == ["lena", "marco"]
    assert seen[35:] == [["lena"]] * 35
    assert len(recogniser._tracker.tracks) == 1


def test_who_is_covered_for_a_moment_comes_back_as_who_they_were(photos, recogniser):
    frames = film(photos, "camera_0", "camera_10", 40)
    for frame in frames[12:20]:
        frame[:, 320:] = 90  # somebody walks past on the right
    seen = [recogniser.see(frame) for frame in frames]
    assert {track.label for track in seen[15]} == {"lena"}
    assert {track.id: track.label for track in seen[-1]} == {track.id: track.label for track in seen[0]}


def test_two_who_pass_each_other_keep_their_names(photos, recogniser):
    def at(i: int) -> dict:  # the one in front is drawn last
        return {"camera_10": (380 - 5 * i, 90, 240), "camera_0": (20 + 5 * i, 130, 240)}

    seen = [recogniser.see(scene(photos, at(i))) for i in range(76)]
    for tracks in (seen[0], seen[-1]):
        assert sorted(track.label for track in tracks) == ["lena", "marco"]
    left, right = sorted(seen[-1], key=lambda track: track.box[0])
    assert (left.label, right.label) == ("marco", "lena")
    assert all(len(names) == 1 for names in names_by_id(seen).values())


def test_a_cut_to_somebody_else_in_the_same_place_is_another_track(photos, recogniser):
    one, other = ({name: (180, 100, 280)} for name in ("camera_0", "camera_10"))
    before = [recogniser.see(scene(photos, one)) for _ in range(4)][-1]
    after = recogniser.see(scene(photos, other))
    assert [track.label for track in before] == ["lena"] and [track.label for track in after] == ["marco"]
    assert before[0].id != after[0].id


def test_a_film_of_another_size_begins_anew(photos, recogniser):
    (first,) = recogniser.see(np.array(photos["camera_0"]))
    (second,) = recogniser.see(np.array(photos["camera_10"][20:300]))
    assert (first.label, second.label) == ("lena", "marco") and first.id != second.id


def test_a_single_photo_is_named_as_identify_names_it(photos, network, database):
    recogniser = LiveRecogniser(network, database, search_side=1024, looks=1)
    for name in ("camera_0", "camera_5", "camera_12"):
        (track,), table = recogniser.see(np.array(photos[name])), identify(photos[name], database, network)
        assert (track.identity, track.box) == (table.identity[0], table.box[0])
        assert track.distance == pytest.approx(table.distance[0], abs=1e-4)


def test_in_the_background_no_frame_waits_and_the_names_come_when_they_are_known(two, network, database, monkeypatch):
    frames = list(Frames(two))
    with LiveRecogniser(network, database, background=True) as recogniser:
        assert recogniser.see(frames[0]) == []  # nobody has looked yet
        for frame in frames[1:4]:
            recogniser.see(frame)
        recogniser._looking[1].result()
        tracks = recogniser.see(frames[4])  # what was found in the first frame, carried to this one
        assert sorted(track.label for track in tracks) == ["lena", "marco"]
        reference = LiveRecogniser(network, database).see(frames[4])
        for track in tracks:
            assert iou(track.place, next(other.place for other in reference if other.label == track.label)) > 0.8


def test_what_goes_wrong_in_the_background_is_heard(photos, network, database, monkeypatch):
    def fails(*args):
        raise MemoryError("too much")

    monkeypatch.setattr(camera, "detect_faces", fails)
    with LiveRecogniser(network, database, background=True) as recogniser:
        recogniser.see(np.array(photos["lena"]))
        with pytest.raises(MemoryError, match="too much"):
            for _ in range(1000):
                recogniser.see(np.array(photos["lena"]))
                time.sleep(0.01)


@pytest.mark.parametrize("represent", ["mean", "nearest"])
def test_a_database_that_lasts_gives_the_same_tracks(two, network, database, seen_of_two, tmp_path, represent):
    with FaceDatabase(tmp_path / "door.db", network, represent) as lasting:
        lasting.update(database)
        recogniser = LiveRecogniser(network, lasting)
        seen = [recogniser.see(frame) for frame in Frames(two)]
    for ours, theirs in zip(seen, seen_of_two, strict=True):
        assert [(t.id, t.label, t.box) for t in ours] == [(t.id, t.label, t.box) for t in theirs]
        np.testing.assert_allclose([t.distance for t in ours], [t.distance for t in theirs], atol=1e-4)


def test_whoever_is_added_or_removed_meanwhile_counts_at_once(photos, network, database, tmp_path):
    with FaceDatabase(tmp_path / "door.db", network) as lasting:
        lasting["otto"] = database["otto"]
        recogniser = LiveRecogniser(network, lasting, every=1, looks=1)
        frame = np.array(photos["camera_0"])
        assert [track.label for track in recogniser.see(frame)] == ["unknown"]
        lasting["lena"] = database["lena"]
        assert [track.label for track in recogniser.see(frame)] == ["lena"]
        lasting.remove("lena")
        (track,) = recogniser.see(frame)
        assert track.label == "unknown" and track.distance > 0.7
        lasting.clear()
        (track,) = recogniser.see(frame)
        assert track.label == "unknown" and track.distance == np.inf


def test_a_name_that_stands_goes_with_its_person(photos, network, database, tmp_path):
    """Three looks replace a name, but nobody is called by that of somebody who is not known any more."""
    with FaceDatabase(tmp_path / "door.db", network) as lasting:
        lasting.update(database)
        recogniser = LiveRecogniser(network, lasting, every=1, looks=3)
        frame = np.array(photos["camera_0"])
        assert [track.label for track in recogniser.see(frame)] == ["lena"]
        lasting.remove("lena")
        assert [track.label for track in recogniser.see(frame)] == ["unknown"]


def test_what_makes_no_sense_is_refused(network, database, recogniser):
    for wrong in ({"every": 0}, {"every": 2.5}, {"search_side": 0}, {"looks": 0}, {"threshold": -1}):
        with pytest.raises(BadArgument, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
            LiveRecogniser(network, database, **wrong)
    with pytest.raises(EmptyDatabase):
        LiveRecogniser(network, {})
    with pytest.raises(BadArgument, match="uint8"):
        recogniser.see(np.zeros((10, 10)))


# ------------------------------------------------------------------------------------------------- decisions
def decided(*winners: str | None, clear: bool = True, looks: int = 3) -> list[str]:
    """The label after each look that says this or that."""
    track, labels = Track(1, np.zeros(4)), []
    for winner in winners:
        track.encodings.append(np.zeros(2))
        track.consider(winner, clear, looks)
        labels.append(track.label)
    return labels


def test_one_bad_look_changes_no_name_and_several_in_a_row_do():
    assert decided("lena", "mei", None, "lena") == ["lena"] * 4
    assert decided("lena", "mei", "mei", "lena", "mei", "mei") == ["lena"] * 6
    assert decided("lena", "mei", "jun", "mei", "mei") == ["lena"] * 5
    assert decided("lena", "mei", "mei", "mei") == ["lena", "lena", "lena", "mei"]
    assert decided("lena", None, None, None) == ["lena", "lena", "lena", "unknown"]
    assert decided(None, "mei", "mei", "mei")[-1] == "mei"
    assert decided("lena", "mei", looks=1) == ["lena", "mei"]


def test_a_doubtful_face_is_looked_at_several_times_before_it_gets_a_name():
    assert decided("lena", None, "lena", clear=False) == ["looking …", "looking …", "lena"]


def test_the_distance_is_the_root_mean_square_of_the_last_eight(network, database, photos, recogniser):
    rng = np.random.default_rng(0)
    encodings = rng.normal(size=(11, 128)).astype(np.float32)
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    track = Track(1, np.zeros(4))
    track.encodings.extend(encodings)
    recogniser._name(track)
    truth = {
        name: np.sqrt(np.mean([np.linalg.norm(known - e) ** 2 for e in encodings[3:]]))
        for name, known in database.items()
    }
    assert track.distance == pytest.approx(min(truth.values()), abs=1e-5) and track.label == "unknown"


# -------------------------------------------------------------------------------------------------- following
@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (120, 160), np.uint8)
    return cv2.resize(cv2.GaussianBlur(noise, (0, 0), 1), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("shift", "growth"), [((7, -4), 1.0), ((-3, 5), 1.06), ((0, 0), 0.94)])
def test_a_box_moves_and_grows_as_its_pixels_do(texture, shift, growth):
    x, y, width, height = 240, 150, 120, 150
    middle = np.array([x + width / 2, y + height / 2])
    matrix = np.column_stack([growth * np.eye(2), middle + shift - growth * middle])
    after = cv2.warpAffine(texture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    (moved,) = follow_boxes(texture, after, np.array([[x, y, width, height]], float))
    np.testing.assert_allclose(moved[:2] + moved[2:] / 2, middle + shift, atol=0.3)
    np.testing.assert_allclose(moved[2:] / (width, height), growth, atol=0.005)


def test_what_went_away_or_out_of_the_frame_is_lost(texture):
    boxes = np.array([[240, 150, 120, 150], [600, 150, 120, 150]], float)
    other = np.random.default_rng(4).integers(0, 256, texture.shape, np.uint8)
    assert follow_boxes(texture, other, boxes) == [None, None]
    still = follow_boxes(texture, texture, boxes)
    np.testing.assert_allclose(still[0], boxes[0], atol=1e-3)
    assert still[1] is None  # a third of it is in the frame


def test_large_frames_are_followed_in_a_smaller_copy(texture):
    large = cv2.cvtColor(cv2.resize(texture, (1920, 1440)), cv2.COLOR_GRAY2RGB)
    tracker = Tracker()
    tracker.follow(large)
    tracker.correct([(700, 450, 360, 450)], np.ones((1, 4)), similar=0.7)
    tracker.follow(np.roll(large, (-12, 18), axis=(0, 1)))
    np.testing.assert_allclose(tracker.tracks[0].place, (718, 438, 360, 450), atol=1.5)
    assert max(tracker.grey.shape) == tracking.FLOW_SIDE


def test_a_track_that_searches_miss_is_dropped_after_some():
    tracker, frame, none = Tracker(patience=2), np.zeros((80, 80, 3), np.uint8), np.empty((0, 4))
    tracker.follow(frame)
    tracker.correct([(20, 20, 30, 30)], np.ones((1, 4)), similar=0.7)
    counts = []
    for _ in range(3):
        tracker.correct([], none, similar=0.7)
        counts.append(len(tracker.tracks))
    assert counts == [1, 1, 0]
    assert tracker.correct([(20, 20, 30, 30)], np.ones((1, 4)), similar=0.7)[0].id == 2


def test_every_face_goes_to_the_track_that_it_fits_best():
    assert best_matches(np.array([[0.5, 0.9], [0.4, 0.8], [-np.inf, -np.inf]])) == [(0, 1), (1, 0)]
    assert best_matches(np.empty((0, 3))) == best_matches(np.empty((2, 0))) == []


def test_where_two_faces_overlap_their_looks_decide():
    tracker, looks = Tracker(), np.eye(2)
    tracker.follow(np.zeros((80, 80, 3), np.uint8))
    first, second = tracker.correct([(20, 20, 30, 30), (24, 20, 30, 30)], looks, similar=0.7)
    assert tracker.correct([(20, 20, 30, 30), (24, 20, 30, 30)], looks[::-1], similar=0.7) == [second, first]
    assert len(tracker.tracks) == 2


# ----------------------------------------------------------------------------------------------------- drawing
def track_at(box: tuple, name: str | None = "lena", number: int = 1) -> Track:
    return Track(number, np.array(box, float), name, 0.4, True)


def test_a_label_hides_no_face_wherever_the_box_is(photos):
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for box in ((200, 150, 120, 150), (200, 2, 120, 150), (0, 100, 60, 80), (590, 320, 60, 150), (-20, -10, 90, 90)):
        drawn = annotate(frame, [track_at(box)])
        x, y, width, height = box
        inside = drawn[max(0, y + height // 4) : y + 3 * height // 4, max(0, x + width // 4) : x + 3 * width // 4]
        assert (inside == 128).all(), box
        plate = (np.abs(drawn.astype(int) - 128).sum(axis=2) > 0).any(axis=1).sum()
        assert plate > 15
    below = track_at((200, 150, 120, 150)), track_at((200, 310, 120, 150), "mei", 2)
    drawn = annotate(frame, below)
    assert (drawn[340:430, 240:280] == 128).all() and (drawn[190:260, 240:280] == 128).all()


def test_between_two_faces_a_name_stands_in_its_own_box():
    """Under the upper face it would be read as the name of the lower one."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for gap in (10, 30):
        boxes = (200, 0, 140, 150), (200, 150 + gap, 140, 150)
        drawn = annotate(frame, [track_at(boxes[0]), track_at(boxes[1], "mei", 2)])
        assert (drawn[154 : 146 + gap, 240:300] == 128).all(), gap
        assert (drawn[4:20, 250:290] != 128).any(), "the upper one has it at the edge of its own box"
    crossing = (200, 100, 140, 150), (210, 230, 140, 150)
    drawn = annotate(frame, [track_at(crossing[0]), track_at(crossing[1], "mei", 2)])
    assert (drawn[190:225, 240:300] == 128).all(), "nobody's name stands in another one's face"


def test_the_frame_itself_is_left_alone_and_the_mirror_turns_the_box_but_not_the_words():
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    tracks = [track_at((400, 150, 120, 150))]
    plain, mirrored = annotate(frame, tracks), annotate(frame, tracks, mirrored=True)
    assert (frame == 128).all()
    where = [np.flatnonzero((picture != 128).any(axis=(0, 2))) for picture in (plain, mirrored)]
    assert where[0].min() >= 395 and where[1].max() <= WIDTH - 395
    label = np.s_[120:148, 380:540]
    assert not np.array_equal(plain[label], mirrored[:, ::-1][label])  # readable in both
    assert (annotate(frame, [], fps=25)[-40:, -90:] != 128).any() and (annotate(frame, []) == 128).all()


@pytest.mark.parametrize("name", ["José", "李", "Zoe\u0308 ", "🙂", "a\nb\u202e", "x" * 300, "שרה"])
def test_any_name_can_be_written(name):
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    drawn = annotate(frame, [track_at((250, 150, 120, 150), name)])
    columns = np.flatnonzero((drawn[:140] != 128).any(axis=(0, 2)))
    assert 20 < columns.max() - columns.min() < 400
    assert not np.array_equal(drawn, annotate(frame, [track_at((250, 150, 120, 150), "other")]))


def test_names_differ_also_where_no_font_has_their_letters(monkeypatch):
    assert not any("LastResort" in file for file in _fonts_of_this_computer())
    monkeypatch.setattr(tracking, "_fonts_of_this_computer", list)
    assert _name_and_font("李 é", 14)[0] == "U+674E é"
    assert _shortened("Zoe\u0308\n Q") == "Zoë Q"
    assert len(_shortened("x" * 300)) == LONGEST_NAME


# ------------------------------------------------------------------------------------------------- the command
def demo(*args: object) -> None:
    camera.main(["demo", *map(str, args)])


def test_the_written_video_has_every_frame_and_what_was_drawn_on_it(two, tmp_path, capsys, images):
    (tmp_path / "known").mkdir()
    for name in ("lena", "marco"):
        shutil.copy(images / f"{name}.jpg", tmp_path / "known")
    (tmp_path / "known" / "broken.jpg").write_bytes(b"no picture")
    demo("--source", two, "--output", tmp_path / "new" / "out.mp4", "--database", tmp_path / "known")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("not used: broken.jpg: ") and len(said) == 2
    assert said[1].startswith("75 frames, ") and "lena in 75" in said[1] and "marco in 75" in said[1]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.mp4"]
    source, written = list(Frames(two)), list(Frames(tmp_path / "new" / "out.mp4"))
    assert len(written) == len(source) and written[0].shape == source[0].shape
    assert Frames(tmp_path / "new" / "out.mp4").rate == pytest.approx(25)
    for before, after in zip(source, written, strict=True):
        gold = (np.abs(after.astype(int) - (255, 214, 0)).sum(axis=2) < 120).sum()
        assert gold > 200 > (np.abs(before.astype(int) - (255, 214, 0)).sum(axis=2) < 120).sum()


def test_a_folder_becomes_a_video_in_which_every_picture_stands_alone(images, photos, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("camera_0", "camera_5", "camera_12", "video_call"):
        shutil.copy(images / f"{name}.jpg", folder)
    (folder / "z.jpg").write_bytes(b"no picture")
    demo("--source", folder, "--output", tmp_path / "out.mp4")
    *problems, summary = capsys.readouterr().out.splitlines()
    assert problems and problems[0].startswith("not opened: z.jpg")
    assert summary.startswith("4 of 5 frames, ")
    seen = dict(each.split(" in ") for each in summary.split("; seen: ")[1].split(", "))
    assert seen == dict.fromkeys(["lena", "kofi", "jun", "ines", "sami", "grace"], "1") | {"unknown": "2"}
    assert [frame.shape for frame in Frames(tmp_path / "out.mp4")] == [(720, 1280, 3)] * 4


def test_of_one_picture_of_a_folder_nothing_is_remembered_at_the_next(images, recogniser, tmp_path):
    for name in ("camera_0", "camera_4"):
        shutil.copy(images / f"{name}.jpg", tmp_path)
    with Frames(tmp_path) as frames:
        viewing = Viewing(recogniser, frames)
        for frame in frames:
            viewing.show(frame, time.monotonic())
    assert viewing.seen == {"lena": 2} and [track.age for track in recogniser._tracker.tracks] == [0]


def test_what_can_not_be_done_is_said(two, tmp_path, monkeypatch):
    (tmp_path / "notes.mp4").write_bytes(b"no video")
    (tmp_path / "file").touch()
    (tmp_path / "nobody").mkdir()
    (tmp_path / "out.mp4").write_bytes(b"before")
    monkeypatch.setenv("DISPLAY", ":77")  # nobody is there
    out = ("--output", tmp_path / "out.mp4")
    for error, words, args in (
        (BadArgument, "nowhere.mp4 does not exist", ("--source", tmp_path / "nowhere.mp4", *out)),
        (UnreadableImage, "notes.mp4 is no video", ("--source", tmp_path / "notes.mp4", *out)),
        (NoCamera, "there is no camera 63", ("--source", 63)),
        (NoScreen, "into a video with --output", ("--source", two)),
        (EmptyDatabase, "nobody holds no portrait", ("--source", two, *out, "--database", tmp_path / "nobody")),
        (BadArgument, "every=0", ("--source", two, *out, "--every", 0)),
        (BadArgument, "its ending must be one of .mp4", ("--source", two, "--output", tmp_path / "out.gif")),
        (BadArgument, "is a folder", ("--source", two, "--output", (tmp_path / "folder.mp4"))),
        (BadArgument, "a camera never ends", ("--source", 0, *out)),
        (BadArgument, "is the source itself", ("--source", two, "--output", two)),
        (BadArgument, "can't be written", ("--source", two, "--output", tmp_path / "file" / "out.mp4")),
    ):
        (tmp_path / "folder.mp4").mkdir(exist_ok=True)
        with pytest.raises(error, match=words):
            demo(*args)
    assert (tmp_path / "out.mp4").read_bytes() == b"before"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_the_disk_did_not_take_is_noticed(two, recogniser, tmp_path, monkeypatch):
    class Full:
        """A writer that loses all but the first twenty frames, and says nothing."""

        def __init__(self, *args, writer=cv2.VideoWriter):
            self.writer, self.left = writer(*args), 20
            self.isOpened, self.release = self.writer.isOpened, self.writer.release

        def write(self, frame):
            self.left -= 1
            if self.left >= 0:
                self.writer.write(frame)

    monkeypatch.setattr(camera.cv2, "VideoWriter", Full)
    with Frames(two) as frames, pytest.raises(BadArgument, match="only 20 of 75 frames"):
        write_annotated(frames, Viewing(recogniser, frames), tmp_path / "out.mp4", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_video_in_the_window_keeps_its_own_time(two, recogniser):
    with Frames(two) as frames:
        viewing = Viewing(recogniser, frames)
        assert viewing.summary() == "no frames"
        viewing.show(next(iter(frames)), time.monotonic() + 10)
        assert 9_000 < viewing.pause() <= 10_040  # the search takes some of it
        assert viewing.status().splitlines() in (["lena", "marco"], ["marco", "lena"])
        viewing.press("x")
        assert not viewing.ended
        viewing.press("q")
        assert viewing.ended


@pytest.mark.browser
def test_the_window_shows_a_film_and_says_who_was_in_it(two):
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    screen = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1100x700x24"]
    server = subprocess.Popen(screen, pass_fds=[writing], stderr=subprocess.DEVNULL)
    try:
        environment = os.environ | {"DISPLAY": f":{os.read(reading, 20).decode().strip()}"}
        command = [sys.executable, camera.__file__, "demo", "--source", str(two)]
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    finally:
        server.terminate()
        server.wait()
    assert shown.stdout.startswith("75 frames") and "lena in 75" in shown.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_it_leaves_nothing_under_the_final_name(photos, tmp_path):
    long = write_video(tmp_path / "long.mp4", film(photos, "camera_0", "camera_10", 400))
    output = tmp_path / "out" / "out.mp4"
    command = [sys.executable, camera.__file__, "demo", "--source", str(long), "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not list(output.parent.glob(".unfinished_*")):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists() and list(output.parent.glob(".unfinished_*"))


@pytest.mark.slow
def test_it_is_quicker_than_fifteen_frames_per_second_on_two_cores(two, network, database):
    recogniser, frames = LiveRecogniser(network, database), list(Frames(two))
    faces_to_encodings(np.zeros((2, 150, 150, 3), np.uint8), network)  # compiled before the clock starts
    recogniser.see(frames[0])
    start = time.process_time()
    for frame in frames:
        annotate(frame, recogniser.see(frame), 25.0)
    assert (time.process_time() - start) / len(frames) < 1 / 15  # of one core's time, whoever else uses it
