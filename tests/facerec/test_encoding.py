"""Encodings of one photo, many photos, and aligned faces."""

from __future__ import annotations

import re
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from facerec.detection import extract_face
from facerec.encoding import faces_to_encodings, find_all_faces, img_to_encoding, photos_to_encodings
from facerec.errors import BadArgument, BadNetwork, NoFaceFound, UnreadableImage
from facerec.networks import load_facenet
from fr_utils import who_is_it

BLANK = np.full((60, 80, 3), 128, np.uint8)


#: Euclidean distances between the encodings of committed pictures, as the shipped network gives them.
GOLDEN_NAMES = ("lena", "camera_0", "ines", "lookalike", "otto")


GOLDEN = [
    [0.000, 0.388, 0.764, 0.726, 0.958],
    [0.388, 0.000, 0.705, 0.707, 0.958],
    [0.764, 0.705, 0.000, 0.520, 1.010],
    [0.726, 0.707, 0.520, 0.000, 0.969],
    [0.958, 0.958, 1.010, 0.969, 0.000],
]


def test_golden_distances(images, network):
    """A 5×5 matrix. Moving every keypoint by up to a pixel, as another machine's arithmetic might, moves a
    distance by 0.02 at most: that is the tolerance.
    """
    encodings, problems = photos_to_encodings([images / f"{name}.jpg" for name in GOLDEN_NAMES], network)
    distances = np.linalg.norm(encodings[:, None] - encodings[None], axis=2)
    assert not problems
    np.testing.assert_allclose(distances, GOLDEN, atol=0.02)


def test_one_open_file_or_picture_may_be_given_many_times(images, monkeypatch):
    """Files are read side by side, but only one thread may read what has a state."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("facerec.encoding.detect_faces_batch", lambda photos, **_: [[] for _ in photos])
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns as often as they can
    try:
        with open(images / "lena.jpg", "rb") as file, Image.open(images / "lena.jpg") as picture:
            found = find_all_faces([file] * 400 + [picture] * 20)
    finally:
        sys.setswitchinterval(switch)
    assert len(found) == 420 and {type(each) for each in found} == {NoFaceFound}


def test_an_encoding_is_128_numbers_of_unit_length(images, network, database):
    encoding = img_to_encoding(images / "lena.jpg", network)
    assert encoding.shape == (128,) and encoding.dtype == np.float32
    for known in [encoding, *database.values()]:
        assert np.linalg.norm(known) == pytest.approx(1, abs=1e-5)


def test_an_aligned_face_is_encoded_as_it_is(photos, network, database):
    encoding = img_to_encoding(extract_face(photos["lena"]), network, aligned=True)
    np.testing.assert_allclose(encoding, database["lena"], atol=1e-3)  # other keypoints' last digits, another grid


def test_img_to_encoding_names_a_photo_without_a_face(tmp_path, network):
    path = tmp_path / "door.png"
    Image.fromarray(BLANK).save(path)
    with pytest.raises(NoFaceFound, match=rf"no face in {re.escape(str(path))} \(80×60\)"):
        img_to_encoding(path, network)
    with pytest.raises(UnreadableImage, match="nobody.jpg"):
        img_to_encoding("nobody.jpg", network)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_batch_size_does_not_change_encodings(small_network, count):
    faces = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    encodings = faces_to_encodings(faces, small_network, batch_size=3)
    assert encodings.shape == (count, 128) and encodings.dtype == np.float32
    np.testing.assert_allclose(encodings, np.reshape(small_network(faces.astype("float32")), (-1, 128)), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 9, 8, 3), (1, 8, 8, 1), (0,), (2, 3, 8, 8)])
def test_faces_to_encodings_rejects_other_shapes(small_network, shape):
    with pytest.raises(BadArgument, match=rf"small takes faces \(m, 8, 8, 3\), not {re.escape(str(shape))}"):
        faces_to_encodings(np.zeros(shape), small_network)


def test_faces_to_encodings_rejects_faces_in_0_to_1(small_network):
    faces = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3))
    with pytest.raises(BadArgument, match="must be in 0..255; these are floats up to .*: multiply them by 255"):
        faces_to_encodings(faces, small_network)
    assert faces_to_encodings((faces * 255).astype(np.uint8) // 255, small_network).shape == (2, 128)  # nearly black


def test_photos_to_encodings_survives_bad_photos(images, photos, network, database):
    sources = [images / "lena.jpg", b"no picture", BLANK, photos["jun"], images / "nobody.jpg"]
    encodings, problems = photos_to_encodings(iter(sources), network)
    assert encodings.shape == (5, 128) and encodings.dtype == np.float32
    np.testing.assert_allclose(encodings[0], database["lena"], atol=1e-4)
    np.testing.assert_allclose(encodings[3], database["jun"], atol=1e-4)
    assert np.isnan(encodings[[1, 2, 4]]).all()
    kinds = {i: type(problem) for i, problem in problems.items()}
    assert kinds == {1: UnreadableImage, 2: NoFaceFound, 4: UnreadableImage}
    assert "an array (60, 80, 3)" in str(problems[2]) and "nobody.jpg" in str(problems[4])


def test_photos_to_encodings_keeps_the_order(small_network):
    """More than go through together; every tenth is bad."""
    faces = list(np.random.default_rng(0).integers(0, 256, (75, 8, 8, 3), dtype=np.uint8))
    sources = [b"bad" if i % 10 == 5 else face for i, face in enumerate(faces)]
    encodings, problems = photos_to_encodings(sources, small_network, aligned=True)
    good = [i for i in range(75) if i % 10 != 5]
    assert sorted(problems) == list(range(5, 75, 10)) and np.isnan(encodings[5::10]).all()
    np.testing.assert_allclose(encodings[good], faces_to_encodings(np.stack(faces), small_network)[good], atol=1e-5)


def test_photos_to_encodings_survives_bad_aligned_faces(small_network, picture):
    square = np.tile(picture[:, :6], (3, 3, 1))
    encodings, problems = photos_to_encodings([square, picture[:2], square], small_network, aligned=True)
    assert list(problems) == [1] and "9×2 is not an aligned face" in str(problems[1])
    assert np.isnan(encodings[1]).all() and np.isfinite(encodings[[0, 2]]).all()


def test_photos_to_encodings_can_take_the_central_face(photos, network, database):
    """Jun, smaller, stands in the middle of three; the largest face is at the border."""
    small = np.asarray(Image.fromarray(photos["jun"]).resize((200, 200)))
    photo = np.zeros((320, 840, 3), np.uint8)
    photo[:, :320], photo[60:260, 330:530] = photos["lena"], small
    (largest, central) = (photos_to_encodings([photo], network, which=which)[0][0] for which in ("largest", "central"))
    assert np.linalg.norm(largest - database["lena"]) < 0.7 < np.linalg.norm(largest - database["jun"])
    assert np.linalg.norm(central - database["jun"]) < 0.7 < np.linalg.norm(central - database["lena"])


def test_nan_weights_and_nan_faces_raise(images, database):
    """It raises: a distance that is no number must not pass for a small one."""
    broken = load_facenet("weights/resnet")
    broken.get_layer("centred").bias.assign(np.full(128, np.nan))
    with pytest.raises(BadNetwork, match="NaN"):
        who_is_it(images / "camera_0.jpg", database, broken)
    with pytest.raises(BadArgument, match="finite numbers"):
        faces_to_encodings(np.full((1, 150, 150, 3), np.nan, np.float32), load_facenet("weights/resnet"))


def test_seen_gets_the_number_of_the_photo_in_every_batch(photos, network):
    blank, small = BLANK, cv2.resize(photos["lena"], (160, 160))
    sources = [blank] * 31 + [small, blank, small]  # 32 go through the detector at once
    noted = []
    photos_to_encodings(
        sources, network, seen=lambda number, found: noted.append((number, found.detection["score"] > 0.9))
    )
    assert noted == [(31, True), (33, True)]
