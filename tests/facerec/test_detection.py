"""Faces are found where they are, in the photo's own pixels, whatever the photo is like."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from facerec import _mtcnn, detection
from facerec.average_face import AVERAGE
from facerec.detection import (
    KEYPOINTS,
    SEARCH_SIDE,
    SURE,
    TEMPLATE,
    align_face,
    check_photo,
    detect_faces,
    detect_faces_batch,
    extract_face,
    extract_faces,
    no_face_in,
    pick_face,
    resize_face,
)
from facerec.detection import upright as upright_photo
from facerec.encoding import img_to_encoding
from facerec.errors import BadArgument, NoFaceFound
from facerec.learning.datasets import find_people
from facerec.photos import load_image


def resized(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


# ---------------------------------------------------------------------------------------------- detection
def test_detect_faces_finds_every_face_of_the_pictures(detections, answers):
    assert len(detections["video_call"]) == len(answers["video_call.jpg"]) == 6
    counts = {name: len(faces) for name, faces in detections.items() if name != "video_call"}
    assert counts == dict.fromkeys(counts, 1) and len(counts) == 33


def test_boxes_and_keypoints_are_plausible(detections, photos):
    """Boxes lie in the photo, largest first; the points lie in the box, the eyes above the mouth."""
    for name, faces in detections.items():
        height, width = photos[name].shape[:2]
        areas = [face["box"][2] * face["box"][3] for face in faces]
        assert areas == sorted(areas, reverse=True), name
        for face in faces:
            (x, y, w, h), points = face["box"], face["keypoints"]
            assert all(type(n) is int for n in face["box"]) and set(points) == set(KEYPOINTS), name
            assert 0 <= x < x + w <= width and 0 <= y < y + h <= height, name
            assert all(x <= u <= x + w and y <= v <= y + h for u, v in points.values()), name
            assert points["left_eye"][0] < points["right_eye"][0], name
            assert points["left_eye"][1] < points["nose"][1] < points["mouth_left"][1], name
            assert 0.9 <= face["score"] <= 1, name


def test_batch_finds_the_same_faces_as_single_photos(photos):
    """Photos of several sizes, two without a face among them: the results keep the photos' order."""
    blank = np.full((320, 320, 3), 90, np.uint8)
    several = [photos["lena"], blank, photos["video_call"], blank[:100], photos["otto"], photos["video_call"][:430]]
    batch = detect_faces_batch(several, batch_size=2)
    assert [len(faces) for faces in batch] == [1, 0, 6, 0, 1, 3]
    for photo, faces in zip(several, batch, strict=True):
        for ours, alone in zip(faces, detect_faces(photo), strict=True):
            np.testing.assert_allclose(ours["box"], alone["box"], atol=1)
            np.testing.assert_allclose(list(ours["keypoints"].values()), list(alone["keypoints"].values()), atol=1)


def test_largest_face_alone_is_the_one_among_all(photos, detections):
    """Also of photos whose largest face is small, of one with a smaller face beside it, and of one without any."""
    more = {"none": np.full((90, 120, 3), 128, np.uint8)}
    for name, side in (("kofi", 50), ("kofi", 70), ("lena", 60), ("mei", 60), ("jun", 50)):
        more[f"{name}, {side}"] = np.full((400, 400, 3), 128, np.uint8)
        more[f"{name}, {side}"][150 : 150 + side, 150 : 150 + side] = resized(photos[name], side, side)
    more["two"] = np.concatenate([photos["kofi"], more["lena, 60"][:320]], axis=1)
    full = detections | dict(zip(more, detect_faces_batch(list(more.values())), strict=True))
    assert [len(full[name]) for name in more] == [0, 1, 1, 1, 1, 1, 2]
    shown = [*(photos[name] for name in detections), *more.values()]
    for (name, faces), alone in zip(full.items(), detect_faces_batch(shown, largest=True), strict=True):
        assert [as_placed(face) for face in alone[:1]] == [as_placed(face) for face in faces[:1]], name


def as_placed(face: dict) -> tuple:
    """Where a face is."""
    return face["box"], face["keypoints"], face["turn"]


def test_small_face_in_front_of_a_large_one_may_hide_it_among_all(photos, detections):
    """MTCNN keeps the surer of the two; searched for alone, the largest face is the largest."""
    x, y, width, height = detections["mei"][0]["box"]
    photo, (left, top) = photos["mei"].copy(), (x + round(0.8 * width) - 26, y + round(0.8 * height) - 26)
    photo[top : top + 52, left : left + 52] = resized(photos["kofi"], 52, 52)
    (among_all,), (alone, *_) = detect_faces(photo), detect_faces(photo, largest=True)
    assert among_all["box"][2] < 60 < 200 < alone["box"][2]


def test_face_on_its_side_counts_as_all_faces_say(photos):
    """It is sure, but a smaller one is upright: the photo is not turned, whether all faces are asked for or one."""
    lying = np.asarray(Image.fromarray(photos["kofi"]).rotate(50, fillcolor=(128, 128, 128)))
    small = np.full_like(lying, 128)
    small[100:124, 100:124] = resized(photos["lena"], 24, 24)
    photo = np.concatenate([lying, small], axis=1)
    every = detect_faces(photo)
    assert [face["score"] > SURE for face in every] == [True, True] and every[0]["turn"] == 0
    assert [as_placed(face) for face in detect_faces(photo, largest=True)[:1]] == [as_placed(every[0])]
    surer = every[0]["score"] + 1e-4
    assert detect_faces(photo, surer, largest=True) == detect_faces(photo, surer) == every[1:]


def test_empty_batch_gives_an_empty_list():
    assert detect_faces_batch([]) == []


def test_detector_finds_what_the_package_finds(photos):
    """Before anything is rounded: whatever computes the three networks, boxes and points are those of ``mtcnn``."""
    package, ours = _mtcnn.with_tensorflow(), _mtcnn.detector()
    for name, faces in (("kofi", 1), ("video_call", 6)):
        photo = np.array(photos[name])
        expected = package.detect_faces([photo], output_type="numpy", box_format="xyxy", fit_to_image=False)
        assert len(expected) == faces
        np.testing.assert_allclose(ours.search(photo), expected[:, 1:], atol=0.5)


def test_boxes_of_a_large_photo_are_in_its_own_pixels(photos, detections):
    """The group photo enlarged to 4,000 pixels: the same six faces, everything 3.125 times as large."""
    factor = 4000 / 1280
    faces = detect_faces(resized(photos["video_call"], 4000, round(860 * factor)))
    assert len(faces) == 6

    def by_place(face):
        x, y = face["keypoints"]["nose"]
        return y > 430, x

    small = sorted(detections["video_call"], key=by_place)
    large = [scaled(face, 1 / factor) for face in faces]
    for ours, expected in zip(sorted(large, key=by_place), small, strict=True):
        np.testing.assert_allclose(ours["box"], expected["box"], atol=0.1 * expected["box"][2])
        for name in KEYPOINTS:
            np.testing.assert_allclose(ours["keypoints"][name], expected["keypoints"][name], atol=15)


def scaled(face: dict, factor: float) -> dict:
    """A detection in a photo that was enlarged by ``factor``."""
    points = {name: (u * factor, v * factor) for name, (u, v) in face["keypoints"].items()}
    return {"box": tuple(n * factor for n in face["box"]), "keypoints": points}


class FakeDetector:
    """Stands in for MTCNN: notes the sizes that it is given and always answers the same."""

    def __init__(self, monkeypatch, box=(0, 0, 1, 1), score=0.99):
        self.sizes, self.box, self.score = [], box, score
        monkeypatch.setattr(detection, "search", self.search)

    def search(self, photos, largest=False):
        self.sizes += [photo.shape[:2] for photo in photos]
        x, y = self.box[:2]
        face = {"box": list(self.box), "keypoints": dict.fromkeys(KEYPOINTS, (x, y)), "score": self.score}
        return [[face] for _ in photos]


@pytest.mark.parametrize(
    ("size", "searched"),
    [
        ((320, 400), (320, 400)),  # as it is
        ((3000, 4000), (768, 1024)),  # smaller
        ((4000, 1000), (1024, 256)),
        ((24, 40), (48, 80)),  # larger, so that the detector has something to slide over
        ((1, 1), (48, 48)),
        ((100, 4000), (48, 1920)),  # a strip: not so small that it vanishes
        ((3, 500), (48, 48)),  # a strip that would become enormous: nothing is searched
    ],
    ids=str,
)
def test_photos_are_searched_in_a_copy_of_limited_size(monkeypatch, size, searched):
    detector = FakeDetector(monkeypatch)
    detect_faces(np.zeros((*size, 3), np.uint8))
    assert detector.sizes == [searched] and SEARCH_SIDE == 1024


def test_boxes_and_keypoints_are_scaled_to_the_photo(monkeypatch):
    """A detector that says (100, 50, 60, 80) in a copy of a quarter of the size means (400, 200, 240, 320)."""
    FakeDetector(monkeypatch, box=(100, 50, 60, 80))
    (face,) = detect_faces(np.zeros((2048, 4096, 3), np.uint8))
    assert face["box"] == (400, 200, 240, 320) and face["keypoints"]["nose"] == (400.0, 200.0)


def test_boxes_are_cut_at_the_border_and_keypoints_are_not(monkeypatch):
    FakeDetector(monkeypatch, box=(-10, -20, 500, 45))
    (face,) = detect_faces(np.zeros((100, 200, 3), np.uint8))
    assert face["box"] == (0, 0, 200, 25) and face["keypoints"]["nose"] == (-10.0, -20.0)


@pytest.mark.parametrize(("score", "wanted", "found"), [(0.95, 0.9, 1), (0.95, 0.96, 0), (0.6, 0.5, 1)])
def test_faces_below_min_score_are_left_out(monkeypatch, score, wanted, found):
    FakeDetector(monkeypatch, score=score)
    assert len(detect_faces(np.zeros((60, 60, 3), np.uint8), min_score=wanted)) == found


# ---------------------------------------------------------------------------------------- turned, close and far
def points_of(face: dict) -> np.ndarray:
    return np.array([face["keypoints"][name] for name in KEYPOINTS])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_photo_on_its_side_or_upside_down_gives_the_same_faces(photos, detections, network, quarters):
    """As a phone's photo whose note of how it was held is lost; the points come out where they are in that photo."""
    for name in ("kofi", "video_call")[: 1 if quarters == 2 else 2]:
        upright = photos[name]
        height, width = upright.shape[:2]
        faces = detect_faces(np.ascontiguousarray(np.rot90(upright, quarters)))
        assert [face["turn"] for face in faces] == len(detections[name]) * [90 * quarters]
        for face, expected in zip(faces, detections[name], strict=True):
            x, y = points_of(expected).T
            there = {1: (y, width - 1 - x), 2: (width - 1 - x, height - 1 - y), 3: (height - 1 - y, x)}[quarters]
            np.testing.assert_allclose(points_of(face), np.stack(there, axis=1), atol=1)
            left, top, w, h = face["box"]
            assert all(left <= u <= left + w and top <= v <= top + h for u, v in points_of(face))
    turned = np.ascontiguousarray(np.rot90(photos["kofi"], quarters))
    assert np.linalg.norm(img_to_encoding(turned, network) - img_to_encoding(photos["kofi"], network)) < 0.1
    (face,) = detect_faces(turned)
    np.testing.assert_array_equal(upright_photo(turned, face), photos["kofi"])


def test_face_that_fills_the_picture_is_found(photos, detections, network, database):
    """Cut within the face's outline, MTCNN finds it only with a margin around; the points may lie outside."""
    x, y, width, height = detections["kofi"][0]["box"]
    cut = np.ascontiguousarray(
        photos["kofi"][y + height // 8 : y + 7 * height // 8, x + width // 8 : x + 7 * width // 8]
    )
    assert detect_faces(cut, thorough=False) == []
    (face,) = detect_faces(cut)
    assert face["turn"] == 0
    expected = points_of(detections["kofi"][0]) - (x + width // 8, y + height // 8)
    np.testing.assert_allclose(points_of(face), expected, atol=0.04 * width)
    assert np.linalg.norm(img_to_encoding(cut, network) - database["kofi"]) < 0.6


@pytest.mark.parametrize("side", [24, 36])
def test_small_face_is_found(photos, detections, side):
    width = detections["kofi"][0]["box"][2]
    small = resized(photos["kofi"], *(round(n * side / width) for n in photos["kofi"].shape[1::-1]))
    assert [abs(face["box"][2] - side) <= 4 for face in detect_faces(small)] == [True]


class ManyLooks(FakeDetector):
    """Answers with a score for each look, in order."""

    def __init__(self, monkeypatch, *scores: float):
        super().__init__(monkeypatch, box=(10, 20, 30, 30))
        self.scores = iter(scores)

    def search(self, photos, largest=False):
        self.score = next(self.scores)
        ((face,),) = super().search(photos)
        face["keypoints"] = {name: (160 * x, 160 * y) for name, (x, y) in TEMPLATE.items()}
        return [[face]]


@pytest.mark.parametrize(
    ("scores", "size", "turn", "found"),
    [
        ([0.99], (300, 400), 0, 0.99),  # sure: one look
        ([0.5, 0.99, 0.5, 0.5], (300, 400), 270, 0.99),
        ([0.5, 0.95, 0.5, 0.97], (300, 400), 90, 0.97),  # the surest
        ([0.85, 0.5, 0.985, 0.5], (300, 400), 0, 0.85),  # a doubtful upright face beats a hand that looks like one
        ([0.95, 0.5, 0.94, 0.5], (300, 400), 0, 0.95),  # others are less sure than the first look
        ([0.82, 0.85, 0.88, 0.5], (300, 400), 0, 0.82),  # … or not clear
        ([0.5, 0.5, 0.5, 0.5, 0.97], (1500, 2000), 0, 0.97),  # with a margin, if there is no face
        ([0.5] * 5, (300, 400), None, None),
    ],
)
def test_photo_is_searched_again_only_if_no_face_is_sure(monkeypatch, scores, size, turn, found):
    detector = ManyLooks(monkeypatch, *scores)
    faces = detect_faces(np.zeros((*size, 3), np.uint8))
    assert len(detector.sizes) == len(scores)
    assert [(face["turn"], face["score"]) for face in faces] == ([] if found is None else [(turn, found)])


@pytest.mark.parametrize("quarters", [0, 2])
def test_doubtful_face_gives_way_only_to_one_that_looks_more_like_a_face(monkeypatch, quarters):
    """MTCNN is surer of some upright faces upside down."""
    average = np.array([list(bytes.fromhex(row)) for row in AVERAGE.split()], np.uint8)
    photo = np.repeat(resized(average, 160, 160)[..., None], 3, axis=2)
    ManyLooks(monkeypatch, 0.85, 0.5, 0.995, 0.5)
    (face,) = detect_faces(np.ascontiguousarray(np.rot90(photo, quarters)))
    assert face["turn"] == 90 * quarters


def test_looks_show_the_photo_turned_and_small_with_a_margin(monkeypatch):
    detector = ManyLooks(monkeypatch, *[0.5] * 5)
    detect_faces(np.zeros((1000, 4000, 3), np.uint8))
    assert detector.sizes == [(256, 1024), (1024, 256), (256, 1024), (1024, 256), (96, 384)]


def test_frames_of_a_film_are_searched_once(monkeypatch):
    detector = ManyLooks(monkeypatch, 0.5)
    assert detect_faces(np.zeros((300, 400, 3), np.uint8), thorough=False) == [] and len(detector.sizes) == 1


# ------------------------------------------------------------------------------------- photos without faces
@pytest.mark.parametrize("size", [(300, 200), (1, 1), (3, 500), (500, 3), (2, 2), (1, 20_000), (4000, 6000)], ids=str)
@pytest.mark.parametrize("value", [0, 255])
def test_blank_photos_of_any_size_have_no_face(size, value):
    assert detect_faces(np.full((*size, 3), value, np.uint8)) == []


def test_noise_has_no_face():
    assert detect_faces(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)) == []


def test_no_face_found_names_the_photo_and_its_size():
    blank = np.zeros((480, 640, 3), np.uint8)
    with pytest.raises(NoFaceFound, match=r"no face in images/door\.jpg \(640×480\), .* whole .* at least 20 pixels"):
        extract_face(blank, name="images/door.jpg")
    assert "at least 80 pixels wide" in str(no_face_in(np.zeros((3000, 4096, 3), np.uint8), "large.jpg"))
    faces, found = extract_faces(blank, side=96)
    assert faces.shape == (0, 96, 96, 3) and faces.dtype == np.uint8 and found == []


BAD_PHOTOS = {
    "floats": np.zeros((50, 50, 3), np.float32),
    "grey": np.zeros((50, 50), np.uint8),
    "grey with a channel": np.zeros((50, 50, 1), np.uint8),
    "four channels": np.zeros((50, 50, 4), np.uint8),
    "a batch": np.zeros((1, 50, 50, 3), np.uint8),
    "16 bits": np.zeros((50, 50, 3), np.uint16),
    "no pixels": np.zeros((0, 50, 3), np.uint8),
    "a list": [[[0, 0, 0]]],
    "a path": "images/lena.jpg",
    "a PIL image": Image.new("RGB", (50, 50)),
    "nothing": None,
}


@pytest.mark.parametrize(
    "use",
    [
        check_photo,
        detect_faces,
        extract_face,
        extract_faces,
        lambda photo: extract_face(photo, aligned=True),
        lambda photo: align_face(photo, TEMPLATE),
        lambda photo: detect_faces_batch([np.zeros((50, 50, 3), np.uint8), photo]),
    ],
    ids=["check_photo", "detect_faces", "extract_face", "extract_faces", "aligned", "align_face", "batch"],
)
@pytest.mark.parametrize("photo", BAD_PHOTOS.values(), ids=BAD_PHOTOS.keys())
def test_arrays_that_are_not_photos_are_refused(use, photo):
    with pytest.raises(BadArgument, match="^photo (must be an array|has no pixels)"):
        use(photo)


def test_bad_argument_names_what_was_given():
    with pytest.raises(BadArgument, match=r"not float32 \(50, 50, 3\); load_image makes one from any picture"):
        check_photo(BAD_PHOTOS["floats"])
    with pytest.raises(BadArgument, match="not str"):
        check_photo(BAD_PHOTOS["a path"])


# --------------------------------------------------------------------------------- from a photo to one face
def test_extract_face_detects_and_aligns(photos, detections):
    face = extract_face(photos["mei"], side=96)
    expected = align_face(photos["mei"], detections["mei"][0]["keypoints"], 96)
    np.testing.assert_array_equal(face, expected)


def test_extract_faces_returns_all_faces_largest_first(photos, detections):
    faces, found = extract_faces(photos["video_call"], side=150)
    assert faces.shape == (6, 150, 150, 3) and found == detections["video_call"]
    for face, each in zip(faces, found, strict=True):
        np.testing.assert_array_equal(face, align_face(photos["video_call"], each["keypoints"]))


def side_by_side(photos, large: str, small: str, large_first: bool) -> np.ndarray:
    """One person in full size and another at half the size, on one photo."""
    half = np.zeros_like(photos[small])
    half[80:240, 80:240] = resized(photos[small], 160, 160)
    return np.concatenate([photos[large], half] if large_first else [half, photos[large]], axis=1)


@pytest.mark.parametrize(("large", "small"), [("lena", "jun"), ("jun", "lena")])
@pytest.mark.parametrize("large_first", [True, False])
def test_extract_face_takes_the_largest_of_several(photos, network, database, large, small, large_first):
    photo = side_by_side(photos, large, small, large_first)
    assert len(detect_faces(photo)) == 2
    encoding = img_to_encoding(extract_face(photo), network, aligned=True)
    distances = {name: np.linalg.norm(encoding - known) for name, known in database.items()}
    assert min(distances, key=distances.get) == large


def test_pick_face_takes_the_largest_or_the_central_one():
    photo = np.zeros((100, 300, 3), np.uint8)
    left, middle, right = ({"box": box} for box in [(0, 0, 60, 60), (130, 30, 40, 40), (200, 0, 90, 90)])
    for faces in ([left, middle, right], [right, middle, left]):
        assert pick_face(faces, photo) is right and pick_face(faces, photo, "central") is middle
    with pytest.raises(BadArgument, match="which='leftmost'"):
        pick_face([left], photo, "leftmost")


def test_aligned_picture_is_only_resized(photos, monkeypatch):
    def refuse(*_):
        raise AssertionError("the detector was asked about an aligned face")

    monkeypatch.setattr(detection, "search", refuse)
    face = extract_face(photos["lena"], side=100, aligned=True)
    np.testing.assert_array_equal(face, resize_face(photos["lena"], 100))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_turned_phone_photo_gives_the_upright_face(photos, network, database, orientation):
    """A phone writes the pixels as its chip lies and notes how it was held; the face comes out upright."""
    stored = np.rot90(photos["lena"], {3: 2, 6: 1, 8: 3}[orientation])
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(file, "JPEG", quality=95, exif=exif)
    face = extract_face(load_image(file.getvalue()))
    upright = extract_face(photos["lena"])
    assert np.abs(face.astype(int) - upright).mean() < 4
    assert np.linalg.norm(img_to_encoding(face, network, aligned=True) - database["lena"]) < 0.2


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_face_cut_by_the_border_is_still_recognised(photos, network, database, side):
    """A fifth of the photo is gone, and part of the face with it; beyond the border its edge is repeated."""
    cut = {"left": np.s_[:, 60:], "right": np.s_[:, :-60], "top": np.s_[60:], "bottom": np.s_[:-60]}[side]
    photo = np.ascontiguousarray(photos["lena"][cut])
    (found,) = detect_faces(photo)
    x, y, width, height = found["box"]
    assert 0 <= x < x + width <= photo.shape[1] and 0 <= y < y + height <= photo.shape[0]
    encoding = img_to_encoding(extract_face(photo), network, aligned=True)
    assert np.linalg.norm(encoding - database["lena"]) < 0.7


@pytest.mark.parametrize("count", [48, pytest.param(500, marks=pytest.mark.slow)])
def test_faces_of_a_photo_do_not_depend_on_the_others_in_its_batch(count):
    """Scores that tie, or differ by rounding, once let the neighbours decide which box survives."""
    photos = [load_image(picture) for picture in find_people("datasets/people.zip").picture[:count]]
    order = np.random.default_rng(0).permutation(count)
    found, mixed = detect_faces_batch(photos), detect_faces_batch([photos[i] for i in order])  # 16 at a time
    assert sum(map(len, found)) >= count * 0.95
    for one, other in zip([found[i] for i in order], mixed, strict=True):
        assert [face["box"] for face in one] == [face["box"] for face in other]
        for face, same in zip(one, other, strict=True):
            np.testing.assert_allclose(
                list(face["keypoints"].values()), list(same["keypoints"].values()), rtol=0, atol=1e-5
            )
