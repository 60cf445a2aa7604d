"""Boxes and names on a frame: each name near its own face, over no other, in any script."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.live import drawing
from facerec.live.drawing import EDGE, KNOWN, LONGEST_NAME, annotate, draw_box
from facerec.live.tracking import Track
from tests.facerec.live.films import HEIGHT, WIDTH


def track_at(box: tuple, name: str | None = "lena", number: int = 1) -> Track:
    return Track(number, np.array(box, float), name, 0.4, True)


def test_label_covers_no_face_wherever_the_box_is():
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


def test_name_is_in_its_own_box_if_another_face_is_near():
    """Below the upper face it would be read as the name of the lower one."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for gap in (10, 30):
        boxes = (200, 0, 140, 150), (200, 150 + gap, 140, 150)
        drawn = annotate(frame, [track_at(boxes[0]), track_at(boxes[1], "mei", 2)])
        assert (drawn[154 : 146 + gap, 240:300] == 128).all(), gap
        assert (drawn[4:20, 250:290] != 128).any(), "the upper name is along the edge of its own box"
    crossing = (200, 100, 140, 150), (210, 230, 140, 150)
    drawn = annotate(frame, [track_at(crossing[0]), track_at(crossing[1], "mei", 2)])
    assert (drawn[190:225, 240:300] == 128).all(), "no name covers another face"


def test_annotate_draws_on_a_copy_and_mirrors_boxes_but_not_names():
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    tracks = [track_at((400, 150, 120, 150))]
    plain, mirrored = annotate(frame, tracks), annotate(frame, tracks, mirrored=True)
    assert (frame == 128).all()
    where = [np.flatnonzero((picture != 128).any(axis=(0, 2))) for picture in (plain, mirrored)]
    assert where[0].min() >= 395 and where[1].max() <= WIDTH - 395
    label = np.s_[120:148, 380:540]
    assert not np.array_equal(plain[label], mirrored[:, ::-1][label])  # readable in both
    assert (annotate(frame, [], fps=25)[-40:, -90:] != 128).any() and (annotate(frame, []) == 128).all()


@pytest.mark.parametrize(
    "name",
    ["José", "李", "Zoe\u0308 ", "🙂", "a\nb\u202e", "x" * 300, "שרה"],
    ids=["accent", "Chinese", "combining accent", "emoji", "control characters", "long", "Hebrew"],
)
def test_any_name_can_be_drawn(name):
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    drawn = annotate(frame, [track_at((250, 150, 120, 150), name)])
    columns = np.flatnonzero((drawn[:140] != 128).any(axis=(0, 2)))
    assert 20 < columns.max() - columns.min() < 400
    assert not np.array_equal(drawn, annotate(frame, [track_at((250, 150, 120, 150), "other")]))


def test_letters_without_a_font_are_drawn_as_code_points(monkeypatch):
    assert not any("LastResort" in file for file in drawing._fonts_of_this_computer())
    monkeypatch.setattr(drawing, "_fonts_of_this_computer", list)
    assert drawing._name_and_font("李 é", 14)[0] == "U+674E é"
    assert drawing._shortened("Zoe\u0308\n Q") == "Zoë Q"
    assert len(drawing._shortened("x" * 300)) == LONGEST_NAME


def test_draw_box_has_a_dark_edge_on_any_colour():
    for background in (KNOWN, EDGE):
        picture = np.full((100, 100, 3), background, np.uint8)
        draw_box(picture, (20, 20, 60, 60), KNOWN, 2)
        colours = {tuple(int(n) for n in pixel) for pixel in np.unique(picture.reshape(-1, 3), axis=0)}
        assert {KNOWN, EDGE} <= colours
        assert (picture[50, 15:85] == background).all()  # only corners: the sides' middles are free
