"""Folding batch normalisation away changes no output, and refuses what it can't fold."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import inception_blocks_v2 as blocks
from facerec.errors import BadArgument
from facerec.learning.checkpoints import precision
from facerec.learning.folding import fold_batch_norm
from tests.facerec.learning.toys import small_facenet


@pytest.fixture(scope="module")
def small():
    return small_facenet()


@pytest.fixture(scope="module")
def folded(small):
    return fold_batch_norm(small)


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(2).integers(0, 256, (3, 96, 96, 3)).astype("float32")


def test_folding_changes_no_encoding(small, folded, faces):
    expected = ops.convert_to_numpy(small(faces, training=False))
    np.testing.assert_allclose(ops.convert_to_numpy(folded(faces, training=False)), expected, atol=1e-5)
    before = keras.Model(small.input, small.get_layer("average").output)
    after = keras.Model(folded.input, folded.get_layer("average").output)
    expected = ops.convert_to_numpy(before(faces, training=False))
    assert expected.std() > 0.1  # the features differ, so equality is not trivial
    np.testing.assert_allclose(ops.convert_to_numpy(after(faces, training=False)), expected, rtol=1e-3, atol=1e-4)


def test_folding_leaves_no_batch_normalisation(small, folded):
    assert not [layer.name for layer in folded.layers if isinstance(layer, layers.BatchNormalization)]
    assert folded.count_params() == 3_738_624 - 4 * 4656 + 4656  # 4 numbers per filter become 1
    assert small.get_layer("stem_bn1") and not small.get_layer("stem_conv1").use_bias  # the original is untouched


def test_folding_undoes_mixed_precision(faces):
    with precision("mixed_bfloat16"):
        model = blocks.faceRecoModel((96, 96, 3))
    folded = fold_batch_norm(model)
    assert {layer.compute_dtype for layer in folded.layers} == {"float32"}
    seen = ops.convert_to_numpy(model(faces, training=False))
    assert (ops.convert_to_numpy(folded(faces)) * seen).sum(axis=1).min() > 0.999


def test_folding_takes_dense_layers_and_no_scale():
    keras.utils.set_random_seed(4)
    x = keras.Input((5,))
    y = layers.BatchNormalization(scale=False)(layers.Dense(4)(x))
    model = keras.Model(x, y)
    dense, bn = model.layers[1:]
    dense.set_weights([dense.get_weights()[0], np.arange(4.0)])
    bn.set_weights([np.arange(4.0), np.linspace(-2, 2, 4), np.linspace(0.2, 3, 4)])
    rows = np.random.default_rng(4).normal(size=(6, 5)).astype("float32")
    np.testing.assert_allclose(fold_batch_norm(model)(rows), model(rows, training=False), atol=1e-5)


def test_folding_rejects_batch_normalisation_after_another_layer():
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, layers.BatchNormalization(name="bn")(layers.ReLU(name="relu")(x)))
    with pytest.raises(BadArgument, match="bn follows relu"):
        fold_batch_norm(model)
