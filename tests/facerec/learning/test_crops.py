"""Crops to distil from: geometry, exact numbers, resuming, corrupt pictures."""

import csv

import cv2
import numpy as np
import pytest

from facerec.detection import TEMPLATE
from facerec.errors import BadArgument
from facerec.learning import crops
from facerec.learning.crops import (
    Prepared,
    Teacher,
    cut,
    jitter_matrix,
    parts_of,
    prepare,
    store,
    to_template,
)
from facerec.learning.distillation import (
    Config,
)
from tests.facerec.learning.toys import SIDE, make_face, prepare_toy, small_teacher


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), teacher)


@pytest.fixture
def setup(prepared, teacher):
    """What ``train`` takes: data, teacher and a configuration of 6 steps."""
    parts = parts_of(prepared, ["faces"])
    config = Config(tuple(parts), side=SIDE, steps=6, batch=4, warmup=2, validation=3, rate=1e-2)
    return Prepared(prepared, parts), teacher, config


def test_jitter_keeps_its_bounds_and_mirrors_half_of_the_time():
    rng = np.random.default_rng(1)
    corners = np.array([[0.0, 0.0], [149.0, 149.0]])
    mirrored = 0
    for _ in range(200):
        m = jitter_matrix(rng, 150)
        scale = np.sqrt(abs(np.linalg.det(m[:, :2])))
        assert 0.93 <= scale <= 1.07
        middle = (corners.mean(0) @ m[:, :2].T + m[:, 2]) - corners.mean(0)
        assert np.abs(middle).max() <= 0.07 * 150 + 1e-6
        mirrored += np.linalg.det(m[:, :2]) < 0
        turn = m[:, :2] @ np.diag([np.sign(np.linalg.det(m[:, :2])), 1])
        assert abs(np.degrees(np.arctan2(turn[1, 0], turn[0, 0]))) <= 7.0 + 1e-6
    assert 70 < mirrored < 130


def test_prepared_numbers_are_the_teachers_for_these_crops(setup):
    data, teacher, _ = setup
    for number in (0, 8, 9, 15):  # both parts
        crops = [cut(data.picture(number), m, teacher.side, teacher.side) for m in data.matrices[number]]
        np.testing.assert_allclose(teacher.raw(np.stack(crops)), data.raw[number], atol=1e-5)


def test_to_template_maps_keypoints_onto_the_template():
    template = np.array(list(TEMPLATE.values()))
    picture = np.zeros((109, 89, 3), np.uint8)
    points = template * 0.5 + 0.2
    points[:, 0] *= 109 / 89  # as fractions of width and height, undistorted in pixels
    matrix = to_template(picture, points, template, 150)
    pixels = points * (89, 109)
    np.testing.assert_allclose(pixels @ matrix[:, :2].T + matrix[:, 2], template * 150, atol=1e-6)


def test_store_keeps_the_crop_of_a_large_picture():
    rng = np.random.default_rng(3)
    large = cv2.resize(make_face(rng), (400, 400), interpolation=cv2.INTER_CUBIC)
    matrix = np.array([[0.3, 0.05, 10.0], [-0.05, 0.3, 8.0]])
    stored, moved = store(large, matrix, 96)
    direct = cut(large, matrix, 96, 96).astype(float)
    assert stored.shape == (128, 128, 3)
    assert np.abs(cut(stored, moved, 96, 96) - direct).mean() < 6


def test_store_pads_small_pictures_with_their_edge():
    picture = make_face(np.random.default_rng(3))[:109, :89]
    matrix = np.array([[1.0, 0, 30], [0, 1.0, 25]])
    stored, same = store(picture, matrix, 150)
    np.testing.assert_array_equal(same, matrix)
    np.testing.assert_array_equal(cut(stored, matrix, 150, 150), cut(picture, matrix, 150, 150))


def test_prepare_skips_existing_parts_and_rejects_other_settings(prepared, teacher):
    before = {file: file.stat().st_mtime_ns for file in prepared.iterdir()}
    prepare([prepared.parent / "faces"], prepared, teacher, jitters=3, seed=5, part=9)
    assert before == {file: file.stat().st_mtime_ns for file in prepared.iterdir()}
    with pytest.raises(BadArgument, match="give another --to"):
        prepare([prepared.parent / "faces"], prepared, teacher, jitters=4, seed=5, part=9)


def test_prepare_reports_a_corrupt_picture(teacher, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    good = make_face(np.random.default_rng(2))
    cv2.imwrite(str(tmp_path / "in" / "a.png"), good[..., ::-1])
    (tmp_path / "in" / "b.jpg").write_bytes(b"not a picture")
    cv2.imwrite(str(tmp_path / "in" / "c.png"), good[..., ::-1])
    monkeypatch.setattr(crops, "find_framing", lambda pictures: np.array(list(TEMPLATE.values())))
    prepare([tmp_path / "in"], tmp_path / "to", teacher, jitters=2)
    assert len(Prepared(tmp_path / "to", ["in_00000"])) == 2
    rows = list(csv.DictReader((tmp_path / "to" / "in_problems.csv").open()))
    assert [row["file"] for row in rows] == ["b.jpg"]
    assert "not a picture" in rows[0]["reason"]


def test_parts_of_names_a_folder_that_is_not_prepared(prepared):
    assert parts_of(prepared, None) == ["faces_00000", "faces_00001"]
    with pytest.raises(BadArgument, match="nothing of 'others'"):
        parts_of(prepared, ["others"])


def test_teacher_computes_encodings_from_prepared_numbers(setup):
    data, teacher, _ = setup
    taught = teacher.encodings(data.raw)
    np.testing.assert_allclose(np.linalg.norm(taught, axis=-1), 1, atol=1e-5)
    crops = np.stack([cut(data.picture(0), data.matrices[0, 0], teacher.side, teacher.side)])
    centred = teacher.raw(crops)[0] + teacher.bias
    np.testing.assert_allclose(taught[0, 0], centred / np.linalg.norm(centred), atol=1e-5)
