"""The Inception networks: shapes, names, parameters and gradients.

``data/course_layers.json`` says which weights the courses' network has: layer name → shapes, derived from its
architecture file (Keras 2.4) by following the channels through it, not with the code that is tested here.
"""

import json
import math
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import inception_blocks_v2 as blocks
from facerec.learning.folding import fold_batch_norm
from tests.facerec.learning.toys import small_facenet

COURSE_LAYERS = Path(__file__).parent / "data" / "course_layers.json"


@pytest.fixture(scope="module")
def small():
    return small_facenet()


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(2).integers(0, 256, (3, 96, 96, 3)).astype("float32")


@pytest.fixture(scope="module")
def large():
    return blocks.InceptionResNetV1()


# --------------------------------------------------------------------------------------- the small network
def test_small_network_has_its_parameters(small):
    assert small.count_params() == 3_738_624
    trained = sum(math.prod(w.shape) for w in small.trainable_weights)
    assert small.count_params() - trained == 2 * 4656  # mean and variance of 4,656 filters


def test_blocks_have_their_output_shapes(small):
    shapes = {name: small.get_layer(f"inception_{name}").output.shape[1:] for name in blocks.BLOCKS}
    assert shapes == {
        "3a": (12, 12, 256),
        "3b": (12, 12, 320),
        "3c": (6, 6, 640),
        "4a": (6, 6, 640),
        "4e": (3, 3, 1024),
        "5a": (3, 3, 736),
        "5b": (3, 3, 736),
    }


def test_encodings_have_unit_length(small, faces):
    encodings = ops.convert_to_numpy(small(faces, training=False))
    assert encodings.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(encodings[0] - encodings[1]) > 1e-3


def test_small_network_scales_pixels_to_minus_1_to_1(small):
    scaled = keras.Model(small.input, small.get_layer("scaling").output)
    pixels = ops.convert_to_numpy(scaled(np.full((1, 96, 96, 3), 255.0, "float32")))
    np.testing.assert_allclose(pixels, 1.0, atol=1e-6)
    pixels = ops.convert_to_numpy(scaled(np.zeros((1, 96, 96, 3), "float32")))
    np.testing.assert_allclose(pixels, -1.0, atol=1e-6)


def test_small_network_loads_from_json_without_our_code(small, faces):
    copy = keras.models.model_from_json(small.to_json())
    copy.set_weights(small.get_weights())
    expected = ops.convert_to_numpy(small(faces, training=False))
    np.testing.assert_allclose(ops.convert_to_numpy(copy(faces, training=False)), expected, atol=1e-6)


@pytest.mark.parametrize("build", [blocks.faceRecoModel, blocks.InceptionResNetV1])
@pytest.mark.parametrize("shape", [(96, 96), (16, 16, 3), (96, 96, 1)])
def test_networks_reject_a_wrong_input_shape(build, shape):
    with pytest.raises(ValueError, match=r"input_shape \("):
        build(input_shape=shape)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients are taken with TensorFlow")
def test_gradients_reach_every_weight():
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    model = blocks.faceRecoModel((64, 64, 3))
    faces = np.random.default_rng(3).uniform(0, 255, (4, 64, 64, 3)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(faces, training=True)[:, :64] ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.path


# --------------------------------------------------------------------------------------- the later network
def test_later_network_has_the_layers_and_weights_of_the_courses(large):
    expected = json.loads(COURSE_LAYERS.read_text())
    ours = {layer.name: [list(w.shape) for w in layer.weights] for layer in large.layers if layer.weights}
    assert ours == expected
    assert len(expected) == 132 + 112 + 1  # Conv2D, BatchNormalization, Dense


def test_later_network_has_its_parameters(large):
    course = json.loads(COURSE_LAYERS.read_text())
    assert large.count_params() == sum(math.prod(shape) for shapes in course.values() for shape in shapes)
    assert large.count_params() == 22_808_144
    assert large.input_shape == (None, 160, 160, 3) and large.output_shape == (None, 128)


def test_later_network_has_the_batch_normalisation_of_the_courses(large):
    norms = [layer for layer in large.layers if isinstance(layer, layers.BatchNormalization)]
    settings = {(bn.epsilon, bn.momentum, bn.center, bn.scale) for bn in norms}
    assert settings == {(1e-3, 0.995, True, False)}


def test_later_network_has_the_residual_scales_of_the_courses(large):
    scales = [(layer.name, layer.scale) for layer in large.layers if isinstance(layer, layers.Rescaling)]
    expected = [(f"Block35_{i}_Scale", 0.17) for i in range(1, 6)]
    expected += [(f"Block17_{i}_Scale", 0.10) for i in range(1, 11)]
    expected += [(f"Block8_{i}_Scale", 0.20) for i in range(1, 6)] + [("Block8_6_Scale", 1.0)]
    assert scales == expected
    names = {layer.name for layer in large.layers}
    assert "Block8_5_Activation" in names and "Block8_6_Activation" not in names


@pytest.mark.parametrize("network", ["small", "large"])
def test_networks_use_standard_layers_only(network, request):
    kinds = {type(layer) for layer in request.getfixturevalue(network).layers}
    assert all(kind.__module__.startswith("keras.") for kind in kinds)
    assert layers.Lambda not in kinds


def test_later_network_can_give_512_numbers(monkeypatch):
    monkeypatch.setattr(blocks, "RESNET_STAGES", [stage for stage in blocks.RESNET_STAGES if len(stage) == 1])
    model = blocks.InceptionResNetV1((75, 75, 3), dimension=512)
    assert model.output_shape == (None, 512)


def test_stages_agree_with_the_network_whether_folded_or_not(small):
    """Their parameters add up, and their shapes are those of the layers of that name."""
    stages = blocks.stages_of(small)
    assert sum(stage.parameters for stage in stages) == small.count_params()
    for stage in stages:
        if stage.name[0].isdigit():
            assert stage.shape == small.get_layer(f"inception_{stage.name}").output.shape[1:]
    folded = fold_batch_norm(small)
    assert [(s.name, s.shape) for s in blocks.stages_of(folded)] == [(s.name, s.shape) for s in stages]
    assert sum(stage.parameters for stage in blocks.stages_of(folded)) == folded.count_params()
