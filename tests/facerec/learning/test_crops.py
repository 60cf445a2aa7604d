"""Crops to distil from: geometry, exact numbers, resuming, corrupt pictures."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from facerec.detection import TEMPLATE
from facerec.encoding import unit_length
from facerec.errors import BadArgument
from facerec.learning import crops
from facerec.learning.crops import (
    Prepared,
    Teacher,
    compose,
    cut,
    jitter_matrix,
    parts_of,
    people_of,
    prepare,
    share_targets,
    store,
    to_template,
    zoom_matrix,
)
from tests.facerec.learning.toys import PARTS, make_face, prepare_toy, small_teacher


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), teacher)


@pytest.fixture
def data(prepared) -> Prepared:
    return Prepared(prepared, PARTS)


def test_jitter_keeps_its_bounds():
    rng = np.random.default_rng(1)
    corners = np.array([[0.0, 0.0], [149.0, 149.0]])
    for _ in range(200):
        m = jitter_matrix(rng, 150)
        assert 0.93 <= np.sqrt(np.linalg.det(m[:, :2])) <= 1.07
        middle = (corners.mean(0) @ m[:, :2].T + m[:, 2]) - corners.mean(0)
        assert np.abs(middle).max() <= 0.07 * 150 + 1e-6
        assert abs(np.degrees(np.arctan2(m[1, 0], m[0, 0]))) <= 7.0 + 1e-6


def test_zoom_keeps_the_centre():
    m = zoom_matrix(150, 1.1)
    np.testing.assert_allclose(m @ [74.5, 74.5, 1], [74.5, 74.5])
    np.testing.assert_allclose(m @ [0, 74.5, 1], [-7.45, 74.5])


def test_prepared_numbers_are_the_teachers_for_its_looks(data, teacher):
    side = teacher.side
    for number in (0, 8, 9, 15):  # both parts
        picture, matrix = data.picture(number), data.matrices[number]
        larger = compose(zoom_matrix(side, 1.1), matrix)
        looks = [cut(picture, matrix, side, side), cut(picture, larger, side, side)]
        np.testing.assert_allclose(teacher.raw(np.stack(looks)), data.raw[number], atol=1e-5)


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


def test_prepare_skips_existing_parts_and_rejects_other_looks(prepared, teacher, monkeypatch):
    before = {file: file.stat().st_mtime_ns for file in prepared.iterdir()}
    prepare([prepared.parent / "faces"], prepared, teacher, part=9)
    assert before == {file: file.stat().st_mtime_ns for file in prepared.iterdir()}
    monkeypatch.setattr(crops, "LOOKS", (1.0,))
    with pytest.raises(BadArgument, match="give another --to"):
        prepare([prepared.parent / "faces"], prepared, teacher, part=9)


def test_another_process_prepares_the_same_parts(prepared, teacher, tmp_path):
    shutil.copy(prepared / "faces.json", tmp_path)
    prepare([prepared.parent / "faces"], tmp_path, teacher, part=9, workers=1)
    ours, theirs = (Prepared(folder, ["faces_00000", "faces_00001"]) for folder in (tmp_path, prepared))
    assert ours.names.tolist() == theirs.names.tolist()
    np.testing.assert_array_equal(ours.matrices, theirs.matrices)
    np.testing.assert_allclose(ours.raw, theirs.raw, atol=1e-5)
    assert all(np.array_equal(ours.picture(n), theirs.picture(n)) for n in range(len(theirs)))


def test_prepare_reports_a_corrupt_picture(teacher, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    good = make_face(np.random.default_rng(2))
    cv2.imwrite(str(tmp_path / "in" / "a.png"), good[..., ::-1])
    (tmp_path / "in" / "b.jpg").write_bytes(b"not a picture")
    cv2.imwrite(str(tmp_path / "in" / "c.png"), good[..., ::-1])
    monkeypatch.setattr(crops, "find_framing", lambda pictures: np.array(list(TEMPLATE.values())))
    prepare([tmp_path / "in"], tmp_path / "to", teacher)
    assert Prepared(tmp_path / "to", ["in_00000"]).names.tolist() == ["in_00000/a.png", "in_00000/c.png"]
    rows = list(csv.DictReader((tmp_path / "to" / "in_00000_problems.csv").open()))
    assert [row["file"] for row in rows] == ["b.jpg"]
    assert "not a picture" in rows[0]["reason"]


def test_parts_of_names_a_folder_that_is_not_prepared(prepared):
    assert parts_of(prepared, None) == ["faces_00000", "faces_00001"]
    with pytest.raises(BadArgument, match="nothing of 'others'"):
        parts_of(prepared, ["others"])


def test_parts_that_are_not_prepared_are_named(prepared):
    with pytest.raises(BadArgument, match="lacks later_00000, later_00001: prepare it first"):
        Prepared(prepared, ["faces_00000", "later_00000", "later_00001"])


def test_teacher_computes_encodings_from_prepared_numbers(data, teacher):
    together = data.raw[0].sum(axis=0)  # of two looks
    centred = together / np.linalg.norm(together) + teacher.bias
    np.testing.assert_allclose(teacher.encodings(data.raw)[0], centred / np.linalg.norm(centred), atol=1e-5)


def test_people_are_known_in_labelled_folders_only():
    names = ["known_00000/7_1.jpg", "known_00001/7_2.jpg", "known_00001/8_1.jpg", "other_00000/7_1.jpg"]
    assert people_of(names, ["known"]).tolist() == ["known/7", "known/7", "known/8", "other_00000/7_1.jpg"]
    assert len(set(people_of(names, []))) == 4


def test_targets_of_one_person_move_together_and_mislabelled_ones_stay():
    rng = np.random.default_rng(0)
    centre, stranger, alone = unit_length(rng.normal(size=(3, 16)))
    own = unit_length(centre + 0.05 * rng.normal(size=(3, 16)))
    encodings = np.vstack([own, stranger, alone])
    people = np.array(["a", "a", "a", "a", "b"])  # the stranger is labelled a
    shared = share_targets(encodings, people, 1.0)
    mean = own.mean(axis=0) / np.linalg.norm(own.mean(axis=0))
    np.testing.assert_allclose(shared[:3], np.tile(mean, (3, 1)))
    np.testing.assert_array_equal(shared[3:], encodings[3:])
    half = share_targets(encodings, people, 0.5)
    np.testing.assert_allclose(half[0], (own[0] + mean) / np.linalg.norm(own[0] + mean))
    np.testing.assert_allclose(share_targets(encodings, people, 0.0), encodings)
