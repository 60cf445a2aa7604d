"""Networks in ONNX Runtime say what Keras says; where they can't, TensorFlow answers."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest.mock import MagicMock

import numpy as np
import pytest

from facerec import _cascade, _mtcnn, _onnx
from facerec._files import ROOT
from facerec._light import open_light
from facerec._quiet import quietly
from facerec.database import FaceDatabase, OtherNetwork, fingerprint_of
from facerec.detection import detect_faces
from facerec.encoding import faces_to_encodings
from facerec.errors import BadNetwork
from facerec.naming import identify
from facerec.networks import SHIPPED_NETWORKS, info_of, load_facenet, save_network

with quietly():
    import keras
    from keras import layers

NOISE = np.random.default_rng(0)


def faces_of(side: int, count: int = 2) -> np.ndarray:
    return NOISE.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def in_runtime(model: keras.Model) -> _onnx.Encode:
    return _onnx.open_encoder(_onnx.model_as_onnx(model))


@pytest.fixture
def without_runtime(monkeypatch) -> None:
    monkeypatch.setenv(_onnx.SWITCH, "tensorflow")


@pytest.mark.parametrize("folder", SHIPPED_NETWORKS)
def test_shipped_networks_say_what_keras_says(folder):
    """From the folder and from memory; and a database takes both for one network."""
    model, light = load_facenet(folder), open_light(folder)
    faces = faces_of(info_of(model).side)
    expected = np.asarray(model(faces.astype(np.float32), training=False))
    np.testing.assert_allclose(in_runtime(model)(faces), expected, atol=2e-6)
    np.testing.assert_allclose(faces_to_encodings(faces, light), expected, atol=2e-6)
    assert fingerprint_of(light) == fingerprint_of(model)
    assert (light.facenet, light.name) == (info_of(model), model.name)
    assert (light.input_shape, light.output_shape) == (model.input_shape, model.output_shape)


def test_a_lasting_database_knows_a_light_network_by_its_encodings(tmp_path, images, network, database):
    light = open_light("weights/resnet")
    with FaceDatabase(tmp_path / "people.db", network) as lasting:
        lasting.update(database)
        assert identify(images / "lena.jpg", lasting, light).identity.tolist() == ["lena"]
        with pytest.raises(OtherNetwork):
            identify(images / "lena.jpg", lasting, open_light("weights/triplets"))


def small_network() -> keras.Model:
    """One layer of every kind, with weights that matter."""
    faces = keras.Input((12, 12, 3))
    x = layers.Rescaling([0.5, 1, 2], offset=[1, 2, 3])(layers.Rescaling(1 / 255)(faces))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.BatchNormalization(scale=False)(layers.BatchNormalization()(x))
    pooled = [
        layers.MaxPooling2D(3, 1, "same")(x),
        layers.AveragePooling2D(3, 1, "same")(x),
        layers.Activation("relu")(x),
    ]
    x = layers.Concatenate()([layers.Add()(pooled[:2]), layers.Average()(pooled)])
    x = layers.Dropout(0.5)(layers.ReLU()(layers.Conv2D(6, 2, use_bias=False)(x)))
    flat = layers.Dense(5, activation="relu")(layers.Flatten()(x))
    x = layers.Dense(7)(layers.Concatenate()([flat, layers.GlobalAveragePooling2D()(x)]))
    model = keras.Model(faces, layers.UnitNormalization()(x))
    for weight in model.weights:
        weight.assign(NOISE.uniform(0.5, 1.5, weight.shape) * NOISE.choice([-1, 1], weight.shape) ** (weight.ndim > 1))
    model.trainable = False
    return model


def test_every_layer_says_what_keras_says():
    model, faces = small_network(), faces_of(12, 3)
    np.testing.assert_allclose(in_runtime(model)(faces), model(faces.astype(np.float32)), atol=1e-5)


def test_weights_that_change_later_count():
    model, faces = small_network(), faces_of(12)
    before = faces_to_encodings(faces, model)
    assert model.facenet_fast.encode is not None
    model.layers[-2].bias.assign(1e4 * np.arange(7))
    after = faces_to_encodings(faces, model)
    np.testing.assert_allclose(after, model(faces.astype(np.float32)), atol=1e-5)
    assert np.abs(after - before).max() > 0.01


@pytest.mark.parametrize(
    "layer",
    [layers.Conv2D(4, 3, activation="gelu"), layers.ReLU(6), layers.SeparableConv2D(4, 3), layers.Reshape((12, 36))],
)
def test_unknown_layers_stay_with_tensorflow(layer):
    faces = keras.Input((12, 12, 3))
    model = keras.Model(faces, layers.Dense(4)(layers.Flatten()(layer(faces))))
    model.trainable = False
    with pytest.raises(_onnx.Unsupported):
        _onnx.model_as_onnx(model)
    given = faces_of(12)
    np.testing.assert_allclose(faces_to_encodings(given, model), model(given.astype(np.float32)), rtol=1e-4, atol=1e-3)


def test_networks_that_may_still_learn_stay_with_tensorflow(network):
    learning = small_network()
    assert _onnx.encoder_of(learning) and _onnx.encoder_of(network)
    learning.trainable = True
    assert _onnx.encoder_of(learning) is None


def test_without_the_runtime_tensorflow_answers(without_runtime, network, photos, detections, monkeypatch):
    faces = faces_of(150)
    assert open_light("weights/resnet") is None and _onnx.encoder_of(network) is None
    slow = faces_to_encodings(faces, network)
    detector = _mtcnn.load_detector.__wrapped__()
    assert not isinstance(detector, _cascade.Cascade)
    monkeypatch.setattr(_mtcnn, "load_detector", lambda: detector)
    (found,) = detect_faces(photos["kofi"])
    np.testing.assert_allclose(found["box"], detections["kofi"][0]["box"], atol=1)
    assert found["score"] == pytest.approx(detections["kofi"][0]["score"], abs=1e-4)
    assert detect_faces(np.zeros((60, 80, 3), np.uint8)) == []
    np.testing.assert_allclose(slow, in_runtime(network)(faces), atol=2e-6)


def test_a_damaged_folder_is_refused(tmp_path):
    save_network(small_network(), tmp_path, name="small")
    with (tmp_path / "model.h5").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadNetwork, match="wrong SHA-256"):
        open_light(tmp_path)
    assert open_light(tmp_path / "model.h5") is None  # load_facenet says what is wrong with it


def test_recognising_needs_no_tensorflow(tmp_path):
    """The command line names a face before Keras, TensorFlow, scikit-learn or Matplotlib are imported."""
    code = (
        "import sys; from facerec.command import opening; from facerec.naming import identify\n"
        "model = opening.load_network('weights/resnet', 1)\n"
        "table = identify('images/lena.jpg', opening.open_database('images', model), model)\n"
        "print(*table.identity, *{'tensorflow', 'keras', 'sklearn', 'matplotlib', 'mtcnn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "lena\n", done.stderr


# ------------------------------------------------------------------------------------------------- the cascade
def area_means(photo: np.ndarray, h: int, w: int) -> np.ndarray:
    """The photo (H, W, 3) as (h, w, 3), by matrices that hold the share of each row and column in each new one."""

    def shares(new: int, old: int) -> np.ndarray:
        edges = np.arange(new + 1)[:, None] * old / new
        below = np.clip(edges - np.arange(old), 0, 1)  # (new + 1, old)
        return np.diff(below, axis=0) * new / old

    return np.einsum("ih,jw,hwc->ijc", shares(h, len(photo)), shares(w, photo.shape[1]), photo)


@pytest.mark.parametrize("scale", [0.6, 0.25, 0.21])
def test_pixels_of_the_pyramid_are_means_of_areas(scale):
    photo = NOISE.integers(0, 256, (61, 90, 3), dtype=np.uint8)
    level = _cascade.Pyramid(photo).at(scale)
    expected = area_means(photo, int(61 * scale), int(90 * scale))
    np.testing.assert_allclose(level[0].transpose(1, 2, 0), expected, atol=0.01)


@pytest.mark.parametrize("height", [12, 13, 41, 42, 43, 100])
def test_strips_give_what_the_whole_copy_gives(height):
    """Whatever is left for the last strip, P-Net gives the same rows in the same order."""
    copy = NOISE.uniform(0, 255, (1, 3, height, 30)).astype(np.float32)
    pnet = _cascade.open_network("pnet")
    by_strips = np.concatenate([pnet(strip)[0] for strip in _cascade.strips(copy)], axis=2)
    np.testing.assert_allclose(by_strips, pnet(copy)[0], atol=1e-4)


def test_one_core_finds_what_four_find(photos):
    """In one photo, in fewer photos than cores, and in more, each with faces of its own."""
    shown = [photos[name] for name in ("lena", "otto", "mei", "kofi", "anna", "jun")]
    one, four = _cascade.Cascade(1), _cascade.Cascade(4)
    alone = [one.detect_faces([photo])[0] for photo in shown]
    assert all(alone) and alone[0] != alone[1]
    for count in (1, 3, 6):
        assert four.detect_faces(shown[:count]) == one.detect_faces(shown[:count]) == alone[:count]


def test_largest_face_is_found_without_the_scales_for_small_ones(photos):
    cascade, seen = _cascade.Cascade(1), []
    pnet = cascade.pnet
    cascade.pnet = lambda strip: seen.append(strip.size) or pnet(strip)
    pixels = {}
    none = np.full((400, 400, 3), 128, np.uint8)
    far = none.copy()
    far[150:214, 150:214] = photos["lena"][::5, ::5]
    for name, photo in {"near": photos["lena"], "far": far, "none": none}.items():
        for largest in (False, True):
            seen.clear()
            cascade.search(photo, largest=largest)
            pixels[name, largest] = sum(seen)
    assert pixels["near", True] < pixels["near", False] / 2
    assert pixels["far", True] == pixels["far", False] and pixels["none", True] == pixels["none", False]


@pytest.mark.parametrize(("allowed", "used"), [("3", 3), ("2,4", 2), ("", 5), ("0", 5), ("all", 5)])
def test_engines_use_as_many_cores_as_omp_num_threads_allows(allowed, used, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(5)), raising=False)
    opened = []
    monkeypatch.setattr(
        "onnxruntime.InferenceSession", lambda data, options, providers: opened.append(options) or MagicMock()
    )
    _onnx.open_onnx(b"")
    assert (opened[0].intra_op_num_threads, _cascade.Cascade().workers) == (used, used)


@pytest.mark.parametrize("of_the_smaller", [False, True])
def test_survivors_are_those_that_no_better_one_overlaps(of_the_smaller):
    """More than are compared at once, against one pair at a time."""
    corners = NOISE.uniform(0, 60, (300, 2))
    table = np.column_stack([corners, corners + NOISE.uniform(5, 40, (300, 2)), np.zeros(300)])

    def overlap(a, b):
        width, height = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
        shared = max(width, 0) * max(height, 0)
        areas = [np.prod(box[2:4] - box[:2]) for box in (a, b)]
        return shared / (min(areas) if of_the_smaller else sum(areas) - shared)

    kept = [i for i in range(300) if all(overlap(table[i], better) <= 0.5 for better in table[:i])]
    assert 5 < len(kept) < 290
    np.testing.assert_array_equal(_cascade.survivors(table, 0.5, of_the_smaller), table[kept])


def test_squares_keep_their_centres():
    (row,) = _cascade.squares(np.array([[10.0, 20, 14, 40, 0.9]]))
    assert row.tolist() == [2, 20, 22, 40, 0.9]
