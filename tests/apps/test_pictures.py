"""Faces cut out for a page: the photo's own pixels, upright."""

import numpy as np
import pytest

from apps.pictures import around

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((30, 20, 20, 20), np.s_[14:46, 24:56]),
        ((0, 0, 20, 20), np.s_[0:32, 0:32]),  # nothing is made up beyond the edge
        ((5, 2, 60, 56), np.s_[0:60, 5:65]),  # a tight portrait: no larger than the photo
        ((70, 50, 30, 30), np.s_[12:60, 32:80]),  # a tracked box may leave the frame
    ],
)
def test_face_is_shown_by_the_photos_own_pixels(box, square):
    assert np.array_equal(around(PHOTO, {"box": box, "turn": 0}), PHOTO[square])


def test_face_is_shown_upright_and_no_larger_than_asked():
    crop = around(PHOTO, {"box": (30, 20, 20, 20), "turn": 90})
    assert np.array_equal(np.rot90(crop), PHOTO[14:46, 24:56])
    assert around(PHOTO, {"box": (5, 2, 60, 56), "turn": 0}, side=30).shape == (30, 30, 3)
