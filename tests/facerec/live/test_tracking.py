"""Boxes follow their pixels, faces find their tracks again, and one bad look changes no name."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facerec.live import tracking
from facerec.live.tracking import Track, Tracker, best_matches, follow_boxes, iou, overlap_of
from tests.facerec.live.films import HEIGHT, WIDTH


# -------------------------------------------------------------------------------------------------- decisions
def decided(*winners: str | None, clear: bool = True, looks: int = 3) -> list[str]:
    """The label after each of several looks, whose results are given."""
    track, labels = Track(1, np.zeros(4)), []
    for winner in winners:
        track.encodings.append(np.zeros(2))
        track.consider(winner, clear, looks)
        labels.append(track.label)
    return labels


def test_name_changes_only_after_several_looks_in_a_row():
    assert decided("lena", "mei", None, "lena") == ["lena"] * 4
    assert decided("lena", "mei", "mei", "lena", "mei", "mei") == ["lena"] * 6
    assert decided("lena", "mei", "jun", "mei", "mei") == ["lena"] * 5
    assert decided("lena", "mei", "mei", "mei") == ["lena", "lena", "lena", "mei"]
    assert decided("lena", None, None, None) == ["lena", "lena", "lena", "unknown"]
    assert decided(None, "mei", "mei", "mei")[-1] == "mei"
    assert decided("lena", "mei", looks=1) == ["lena", "mei"]


def test_doubtful_face_gets_a_name_only_after_several_looks():
    assert decided("lena", None, "lena", clear=False) == ["looking …", "looking …", "lena"]


# -------------------------------------------------------------------------------------------------- following
@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (120, 160), np.uint8)
    return cv2.resize(cv2.GaussianBlur(noise, (0, 0), 1), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(("shift", "growth"), [((7, -4), 1.0), ((-3, 5), 1.06), ((0, 0), 0.94)])
def test_box_moves_and_grows_with_its_pixels(texture, shift, growth):
    x, y, width, height = 240, 150, 120, 150
    middle = np.array([x + width / 2, y + height / 2])
    matrix = np.column_stack([growth * np.eye(2), middle + shift - growth * middle])
    after = cv2.warpAffine(texture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    (moved,) = follow_boxes(texture, after, np.array([[x, y, width, height]], float))
    np.testing.assert_allclose(moved[:2] + moved[2:] / 2, middle + shift, atol=0.3)
    np.testing.assert_allclose(moved[2:] / (width, height), growth, atol=0.005)


def test_box_is_lost_if_its_pixels_change_or_leave_the_frame(texture):
    boxes = np.array([[240, 150, 120, 150], [600, 150, 120, 150]], float)
    other = np.random.default_rng(4).integers(0, 256, texture.shape, np.uint8)
    assert follow_boxes(texture, other, boxes) == [None, None]
    still = follow_boxes(texture, texture, boxes)
    np.testing.assert_allclose(still[0], boxes[0], atol=1e-3)
    assert still[1] is None  # only a third of it is in the frame


def test_large_frame_is_followed_in_a_smaller_copy(texture):
    large = cv2.cvtColor(cv2.resize(texture, (1920, 1440)), cv2.COLOR_GRAY2RGB)
    tracker = Tracker()
    tracker.follow(large)
    tracker.correct([(700, 450, 360, 450)], np.ones((1, 4)), similar=0.7)
    tracker.follow(np.roll(large, (-12, 18), axis=(0, 1)))
    np.testing.assert_allclose(tracker.tracks[0].place, (718, 438, 360, 450), atol=1.5)
    assert max(tracker.grey.shape) == tracking.FLOW_SIDE


def test_track_is_dropped_when_searches_miss_it_too_often():
    tracker, frame, none = Tracker(patience=2), np.zeros((80, 80, 3), np.uint8), np.empty((0, 4))
    tracker.follow(frame)
    tracker.correct([(20, 20, 30, 30)], np.ones((1, 4)), similar=0.7)
    counts = []
    for _ in range(3):
        tracker.correct([], none, similar=0.7)
        counts.append(len(tracker.tracks))
    assert counts == [1, 1, 0]
    assert tracker.correct([(20, 20, 30, 30)], np.ones((1, 4)), similar=0.7)[0].id == 2


def test_best_matches_pairs_each_row_and_column_once():
    assert best_matches(np.array([[0.5, 0.9], [0.4, 0.8], [-np.inf, -np.inf]])) == [(0, 1), (1, 0)]
    assert best_matches(np.empty((0, 3))) == best_matches(np.empty((2, 0))) == []


def test_encodings_decide_between_overlapping_faces():
    tracker, looks = Tracker(), np.eye(2)
    tracker.follow(np.zeros((80, 80, 3), np.uint8))
    first, second = tracker.correct([(20, 20, 30, 30), (24, 20, 30, 30)], looks, similar=0.7)
    assert tracker.correct([(20, 20, 30, 30), (24, 20, 30, 30)], looks[::-1], similar=0.7) == [second, first]
    assert len(tracker.tracks) == 2


def test_iou_and_overlap_of_boxes():
    assert overlap_of((0, 0, 10, 10), (5, 4, 10, 10)) == 30 and overlap_of((0, 0, 10, 10), (10, 0, 5, 5)) == 0
    assert iou((3, 4, 10, 20), (3, 4, 10, 20)) == 1 and iou((0, 0, 1, 1), (2, 2, 1, 1)) == 0


def test_copy_of_a_track_does_not_change_with_it():
    track = Track(1, np.zeros(4))
    track.encodings.append(np.zeros(2))
    copy = track.copy()
    track.place += 5
    track.encodings.append(np.ones(2))
    assert copy.box == (0, 0, 0, 0) and len(copy.encodings) == 1
