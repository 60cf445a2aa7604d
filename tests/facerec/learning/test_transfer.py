"""FaceNets cut in two: trunk and top together are the FaceNet, and the top learns alone."""

import keras
import numpy as np
import pytest

from facerec.errors import BadNetwork
from facerec.learning.transfer import put_on_trunk, split_network
from facerec.networks import FaceNetInfo


@pytest.fixture
def facenet() -> keras.Model:
    """A small FaceNet whose weights and biases are all random."""
    given = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(5, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(given))
    x = keras.layers.UnitNormalization()(keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))
    network, rng = keras.Model(given, x, name="small"), np.random.default_rng(1)
    network.set_weights([rng.normal(size=weights.shape) for weights in network.get_weights()])
    return network


FACES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")


def test_trunk_and_top_together_are_the_facenet(facenet):
    facenet.trainable = False  # as load_facenet returns it
    trunk, top = split_network(facenet)
    np.testing.assert_allclose(top(trunk(FACES)), facenet(FACES), atol=1e-6)
    assert trunk.trainable_variables == [] and len(top.trainable_variables) == 2
    assert trunk.output_shape == (None, 5) and top.output_shape == (None, 4)


def test_top_is_a_copy(facenet):
    before = np.asarray(facenet(FACES))
    _, top = split_network(facenet)
    top.set_weights([2 - weights for weights in top.get_weights()])
    np.testing.assert_array_equal(facenet(FACES), before)


def test_top_on_trunk_takes_faces_in_0_to_1(facenet):
    embedding = put_on_trunk(split_network(facenet)[1], facenet)
    np.testing.assert_allclose(embedding(FACES / 255), facenet(FACES), atol=1e-5)
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


def test_top_of_another_trunk_and_other_alignment_are_refused(facenet):
    features = keras.Input((7,))
    other = keras.Model(features, keras.layers.Dense(4)(features))
    with pytest.raises(BadNetwork, match=r"small gives features \(None, 5\); the top takes \(None, 7\)"):
        put_on_trunk(other, facenet)
    _, top = split_network(facenet)
    template = {**FaceNetInfo("usual", 8).template, "nose": (0.5, 0.6)}
    facenet.facenet = FaceNetInfo("small", 8, template)
    with pytest.raises(BadNetwork, match="small takes faces that are aligned in another way"):
        put_on_trunk(top, facenet)


def test_network_with_a_mirror_can_be_cut(network):
    faces = np.random.default_rng(0).uniform(0, 255, (1, 150, 150, 3)).astype("float32")
    embedding = put_on_trunk(split_network(network)[1], network)
    np.testing.assert_allclose(embedding(faces / 255), network(faces), atol=1e-3)
