"""Exported networks agree with the original, each in its own runtime."""

import json
import sys

import keras
import numpy as np
import pytest

from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation.lfw import Pairs
from facerec.networks import load_facenet, save_network
from inception_blocks_v2 import BLOCKS, conv_bn_relu, faceRecoModel, inception_block
from tools.assets import export
from tools.assets.export import FORMS
from tools.measure.lfw import find_faces


@pytest.fixture(scope="module")
def model():
    """One block of the Inception network between its first and its last layers, untrained, for faces of 32 pixels."""
    keras.utils.set_random_seed(0)
    whole = faceRecoModel((32, 32, 3))
    faces = keras.Input((32, 32, 3))
    x = conv_bn_relu(whole.get_layer("scaling")(faces), 64, 7, "stem", "1", strides=2)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = inception_block(x, BLOCKS["3b"], "3b")
    x = keras.layers.Dense(128)(keras.layers.GlobalAveragePooling2D()(x))
    small = keras.Model(faces, keras.layers.UnitNormalization(name="encoding")(x), name="small")
    assert {type(layer) for layer in small.layers} == {type(layer) for layer in whole.layers}
    return small


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export.export(model, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)


TOLERANCES = {"ONNX float32": 1e-5, "LiteRT float16": 0.003, "LiteRT int8": 0.04}


@pytest.mark.parametrize(("form", "tolerance"), TOLERANCES.items())
def test_exported_forms_give_the_originals_encodings(model, exported, faces, form, tolerance):
    expected = faces_to_encodings(faces, model)
    encodings = FORMS[form].open(exported[form])(faces)
    assert encodings.shape == expected.shape
    assert np.linalg.norm(encodings - expected, axis=1).max() < tolerance
    assert np.linalg.norm(expected[0] - expected[1:], axis=1).min() > 0.1  # other faces are farther


def test_fewer_bits_make_smaller_files(exported):
    size = {name: path.stat().st_size for name, path in exported.items()}
    assert size["LiteRT float16"] < 0.6 * size["ONNX float32"]
    assert size["LiteRT int8"] < 0.6 * size["LiteRT float16"]


def test_onnx_takes_batches_of_any_size(exported, faces):
    encode = FORMS["ONNX float32"].open(exported["ONNX float32"])
    np.testing.assert_allclose(encode(faces)[:2], encode(faces[:2]), atol=1e-5)


def test_command_compares_every_form_with_the_original(small_network, tmp_path, monkeypatch, capsys):
    save_network(small_network, tmp_path / "net", name="net")
    command = [str(tmp_path / "net"), "--to", str(tmp_path / "out"), "--result", str(tmp_path / "result.json")]
    monkeypatch.setattr(sys, "argv", ["export.py", *command])
    export.main()
    printed = capsys.readouterr()
    table = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["forms"]
    assert json.loads(printed.out)["forms"] == table
    assert list(table) == ["Keras", *FORMS]
    assert table["Keras"]["times_the_originals_time"] == 1 and table["Keras"]["farthest_from_the_original"] == 0
    assert 0 < table["LiteRT float16"]["farthest_from_the_original"] < 0.01
    assert (tmp_path / "out" / "net" / "int8.tflite").is_file()


def test_accuracies_agree_with_the_pairs(model, exported, tmp_path, images, monkeypatch):
    """Two pictures of one file are one person to every form; a picture without a face is a mistake."""
    for name in ("Ada_0001", "Ada_0002"):
        (tmp_path / f"{name}.jpg").write_bytes((images / "lena.jpg").read_bytes())
    (tmp_path / "Bo_0001.jpg").write_bytes(wall())
    monkeypatch.setitem(find_faces.__globals__, "CACHE", tmp_path / "faces.json")
    files = np.array([["Ada_0001.jpg", "Ada_0002.jpg"], ["Ada_0001.jpg", "Bo_0001.jpg"]])
    people = np.array([["Ada", "Ada"], ["Ada", "Bo"]])
    pairs = Pairs(files, people, np.array([True, False]))
    scored = export.accuracies(model, exported, pairs, tmp_path)
    assert {name: row["value"] for name, row in scored.items()} == dict.fromkeys(["Keras", *FORMS], 0.5)
    alternating = iter(np.eye(128)[:2])  # a form that takes no two faces for one person is wrong about both pairs
    stub = FORMS["LiteRT int8"]._replace(open=lambda path: lambda faces: np.stack([next(alternating) for _ in faces]))
    monkeypatch.setitem(FORMS, "LiteRT int8", stub)
    again = export.accuracies(model, exported, pairs, tmp_path)
    assert again["LiteRT int8"]["value"] == 0 and again["LiteRT float16"]["value"] == 0.5


def wall() -> bytes:
    """A JPEG of a grey wall."""
    import cv2

    return cv2.imencode(".jpg", np.full((200, 200, 3), 120, np.uint8))[1].tobytes()


def test_command_rejects_anything_but_a_folder(small_network, tmp_path, monkeypatch):
    save_network(small_network, tmp_path / "net", name="net")
    path = tmp_path / "net" / "model.h5"
    monkeypatch.setattr(export, "load_facenet", lambda network: load_facenet(tmp_path / "net"))
    monkeypatch.setattr(sys, "argv", ["export.py", str(path)])
    with pytest.raises(BadArgument, match="is not a folder with a model.h5"):
        export.main()
