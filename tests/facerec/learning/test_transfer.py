"""FaceNets cut in two: trunk and top together are the FaceNet, and the top learns alone."""

import keras
import numpy as np
import pytest

from facerec.errors import BadNetwork
from facerec.learning.transfer import put_on_trunk, split_network
from facerec.networks import FaceNetInfo

FACES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")


def test_trunk_and_top_together_are_the_facenet(small_network):
    small_network.trainable = False  # as load_facenet returns it
    trunk, top = split_network(small_network)
    np.testing.assert_allclose(top(trunk(FACES)), small_network(FACES), atol=1e-6)
    assert trunk.trainable_variables == [] and len(top.trainable_variables) == 2
    assert trunk.output_shape == (None, 192) and top.output_shape == (None, 128)


def test_top_is_a_copy(small_network):
    before = np.asarray(small_network(FACES))
    _, top = split_network(small_network)
    top.set_weights([2 - weights for weights in top.get_weights()])
    np.testing.assert_array_equal(small_network(FACES), before)


def test_top_on_trunk_takes_faces_in_0_to_1(small_network):
    embedding = put_on_trunk(split_network(small_network)[1], small_network)
    np.testing.assert_allclose(embedding(FACES / 255), small_network(FACES), atol=1e-5)
    assert embedding.get_layer("trunk").trainable_variables == []


def test_network_without_features_can_not_be_cut():
    faces = keras.Input((8, 8, 3))
    convolution = keras.layers.Conv2D(4, 3, name="last")(keras.layers.Conv2D(4, 3)(faces))
    pooled = keras.Model(faces, keras.layers.GlobalAveragePooling2D()(convolution), name="pooled")
    with pytest.raises(BadNetwork, match="pooled can't be cut: its last layer with weights, last, takes no features"):
        split_network(pooled)
    nested = keras.Model(faces, keras.layers.UnitNormalization()(pooled(faces)), name="nested")
    with pytest.raises(BadNetwork, match="nested can't be cut"):
        split_network(nested)


def test_top_of_another_trunk_and_other_alignment_are_refused(small_network):
    features = keras.Input((5,))
    other = keras.Model(features, keras.layers.Dense(4)(features))
    with pytest.raises(BadNetwork, match=r"small gives features \(None, 192\); the top takes \(None, 5\)"):
        put_on_trunk(other, small_network)
    _, top = split_network(small_network)
    template = {**FaceNetInfo("usual", 8).template, "nose": (0.5, 0.6)}
    small_network.facenet = FaceNetInfo("small", 8, template)
    with pytest.raises(BadNetwork, match="small takes faces that are aligned in another way"):
        put_on_trunk(top, small_network)
