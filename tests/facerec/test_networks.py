"""load_facenet opens what students own: the course's folder, and any Keras file that gives encodings."""

import json

import h5py
import keras
import numpy as np
import pytest

from facerec.encoding import faces_to_encodings, img_to_encoding
from facerec.errors import BadArgument, BadNetwork
from facerec.networks import load_facenet
from inception_blocks_v2 import InceptionResNetV1

#: What the course's model.json looks like where it matters: a Lambda whose bytecode no Python of today reads.
DEAD_LAMBDA = {
    "class_name": "Functional",
    "config": {
        "name": "inception_resnet_v1",
        "layers": [
            {
                "class_name": "Lambda",
                "name": "Block35_1_ScaleSum",
                "config": {"function": ["4wIAAAAAAAAAAAAAAAQ=\n", None, None], "function_type": "lambda"},
            },
            {"class_name": "Dense", "name": "Bottleneck", "config": {"name": "Bottleneck", "units": 128}},
        ],
    },
    "keras_version": "2.4.0",
    "backend": "tensorflow",
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder like the course's, with weights of our own making, and the network they came from."""
    folder = tmp_path_factory.mktemp("courses") / "keras-facenet-h5"
    folder.mkdir()
    keras.utils.set_random_seed(0)
    network = InceptionResNetV1()
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # fresh ones would hide what is not loaded
            layer.moving_mean.assign(np.random.default_rng(1).normal(0, 0.1, layer.moving_mean.shape))
    network.save(folder / "model.h5", include_optimizer=False)
    (folder / "model.json").write_text(json.dumps(DEAD_LAMBDA))
    return folder, network


def test_the_courses_folder_loads_by_name_with_equal_outputs(course):
    folder, network = course
    model = load_facenet(folder)
    faces = np.random.default_rng(2).integers(0, 256, (2, 160, 160, 3)).astype("float32")
    expected = np.asarray(network(faces / 255, training=False))
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(faces_to_encodings(faces, model), expected, atol=1e-5)
    assert model.facenet.side == 160
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in model.layers)


def test_the_courses_network_encodes_a_photo(course):
    encoding = img_to_encoding("images/lena.jpg", load_facenet(course[0]))
    assert encoding.shape == (128,)
    assert np.linalg.norm(encoding) == pytest.approx(1, abs=1e-5)


def test_a_weights_file_of_another_network_is_refused_by_the_layers_name(course, tmp_path):
    (tmp_path / "model.json").write_text((course[0] / "model.json").read_text())
    with pytest.raises(BadNetwork, match="no weights: model.h5 is missing"):
        load_facenet(tmp_path)
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="Bottleneck")]).save(tmp_path / "model.h5")
    with pytest.raises(BadNetwork, match="layer Conv2d_1a_3x3 is None, expected"):
        load_facenet(tmp_path)
    (tmp_path / "model.h5").write_bytes(b"nothing")
    with pytest.raises(BadNetwork, match=r"model\.h5 is no weights file"):
        load_facenet(tmp_path)
    with h5py.File(tmp_path / "model.h5", "w"):
        pass
    with pytest.raises(BadNetwork, match="Conv2d_1a_3x3 is None"):
        load_facenet(tmp_path)


def tiny(side: int | None = 32, outputs: int = 5) -> keras.Model:
    """A network (m, side, side, 3) → (m, outputs) that is not ours."""
    layers = [keras.Input((side, side, 3)), keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([*layers, keras.layers.Dense(outputs)], name="tiny")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("scaling", "factor", "offset"), [("0..1", 1 / 255, 0), ("-1..1", 2 / 255, -1), ((0.5, 3), 0.5, 3)]
)
def test_any_keras_file_gets_its_scaling_and_unit_length(tmp_path, ending, scaling, factor, offset):
    network = tiny()
    network.save(tmp_path / f"mine{ending}")
    model = load_facenet(tmp_path / f"mine{ending}", scaling=scaling)
    faces = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    expected = np.asarray(network(faces * factor + offset))
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(faces_to_encodings(faces, model), expected, atol=1e-5)


def test_a_network_for_any_size_wants_to_be_told_the_side(tmp_path):
    tiny(None).save(tmp_path / "mine.keras")
    with pytest.raises(BadArgument, match="say which with side="):
        load_facenet(tmp_path / "mine.keras", scaling="0..1")
    assert load_facenet(tmp_path / "mine.keras", scaling="0..1", side=48).input_shape == (None, 48, 48, 3)


def test_what_makes_no_sense_is_refused_with_a_reason(tmp_path):
    file = tmp_path / "mine.keras"
    tiny().save(file)
    with pytest.raises(BadArgument, match="say what the network expects"):
        load_facenet(file)
    with pytest.raises(BadArgument, match="scaling='0..2'"):
        load_facenet(file, scaling="0..2")
    with pytest.raises(BadNetwork, match="not faces"):
        load_facenet(file, scaling="0..1", side=31)
    with pytest.raises(BadArgument, match="carries its own scaling"):
        load_facenet("weights/resnet", scaling="0..1")
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3)]).save(file)
    with pytest.raises(BadNetwork, match=r"encodings are \(m, D\)"):
        load_facenet(file, scaling="0..1")
    file.write_bytes(b"PK nothing")
    with pytest.raises(BadNetwork, match="can't be opened as a Keras model"):
        load_facenet(file, scaling="0..1")
