"""What a notebook teaches by writing it agrees with the module; what is quoted agrees with what was measured."""

import json
import re
from pathlib import Path

import keras
import nbformat
import numpy as np
import pandas as pd
import pytest
import tensorflow

import inception_blocks_v2
from facerec import evaluation
from facerec._files import ROOT
from facerec.learning import siamese, siamese_training, triplets


def cell_with_tag(notebook: str, tag: str) -> str:
    """The source of the notebook's one code cell of that tag."""
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    (source,) = [cell.source for cell in cells if tag in cell.metadata.get("tags", [])]
    return source


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_the_readers_triplet_loss_is_the_modules(alpha):
    written = {}
    exec(cell_with_tag("Face_Recognition.ipynb", "triplet-loss"), written)
    y_pred = np.random.default_rng(0).normal(size=(3, 7, 128)).astype("float32")
    expected = float(triplets.triplet_loss(None, list(y_pred), alpha))
    assert expected > 1
    assert float(written["triplet_loss"](None, list(y_pred), alpha)) == pytest.approx(expected, rel=1e-6)


def test_the_readers_inception_block_is_the_modules():
    """The same weights, in the order in which they were made, give the same output."""
    written = {}
    exec(cell_with_tag("Face_Recognition.ipynb", "inception-block"), written)
    row = inception_blocks_v2.BLOCKS["3a"]
    x, y = keras.Input((12, 12, 192)), keras.Input((12, 12, 192))
    theirs = keras.Model(x, written["inception"](x, row.one, row.three, row.five, row.pool_filters))
    ours = keras.Model(y, inception_blocks_v2.inception_block(y, row, "block"))
    rng = np.random.default_rng(0)
    ours.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    face = rng.normal(size=(1, 12, 12, 192)).astype("float32")
    np.testing.assert_allclose(theirs(face), ours(face), rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_the_readers_semi_hard_triplets_are_the_modules(alpha):
    written = {"np": np}
    exec(cell_with_tag("train_facenet.ipynb", "semi-hard"), written)
    rng = np.random.default_rng(0)
    encodings, who = rng.normal(size=(24, 4)).astype("float32"), np.repeat(np.arange(6), 4)
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    expected = triplets.semi_hard_triplets(encodings, who, alpha).triplets()
    assert len(expected) > 5
    np.testing.assert_array_equal(written["semi_hard"](encodings, who, alpha), expected)


def test_the_readers_l1_distance_is_the_modules():
    written = {"layers": keras.layers, "ops": keras.ops}
    exec(cell_with_tag("train_siamese.ipynb", "l1-distance"), written)
    pair = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    np.testing.assert_array_equal(written["L1Distance"]()(list(pair)), siamese.L1Distance()(list(pair)))


def test_the_readers_contrastive_loss_is_that_of_the_paper():
    written = {"ops": keras.ops}
    exec(cell_with_tag("train_siamese.ipynb", "contrastive-loss"), written)
    pairs = {(1, 0.5): 0.25, (1, 2.0): 4.0, (0, 0.5): 2.25, (0, 1.5): 0.25, (0, 2.5): 0.0}  # at margin 2
    same, distance = np.array(list(pairs), "float32").T
    np.testing.assert_allclose(written["contrastive_loss"](same, distance, 2.0), list(pairs.values()))


def test_the_readers_training_step_is_the_modules():
    """On the same batch it has the loss of the module's learner, and changes the weights alike."""
    keras.utils.set_random_seed(0)
    models = [siamese.make_siamese("compact", 16) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    rng = np.random.default_rng(0)
    faces, who = rng.uniform(0, 1, (8, 16, 16, 3)).astype("float32"), np.repeat(np.arange(4), 2)
    first, second = np.triu_indices(8, 1)
    written = {"tf": tensorflow, "ops": keras.ops, "first": first, "second": second, "model": models[0]}
    written |= {"embedding": siamese.embedding_of(models[0]), "neuron": models[0].get_layer("score")}
    written |= {"distance": siamese.L1Distance(), "optimizer": keras.optimizers.SGD(0.1)}
    exec(cell_with_tag("train_siamese.ipynb", "training-step"), written)
    same = (who[first] == who[second]).astype("float32")
    weight = 0.5 * (same / same.mean() + (1 - same) / (1 - same.mean()))
    learner = siamese_training.with_all_pairs(models[1], 8)
    learner.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    expected = learner.train_on_batch(faces, same, sample_weight=weight)
    assert float(written["training_step"](faces, who)) == pytest.approx(float(expected), rel=1e-5)
    for ours, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_readers_ten_fold_protocol_is_the_modules(seed):
    written = {"np": np, "evaluation": evaluation}
    exec(cell_with_tag("evaluate.ipynb", "ten-fold"), written)
    rng = np.random.default_rng(seed)
    same, folds = rng.random(400) < 0.5, rng.integers(10, size=400)
    distances = np.where(same, 0.6, 0.9) + rng.normal(0, 0.2, 400)
    protocol = evaluation.lfw_protocol(distances, same, folds)
    assert 0.6 < protocol.accuracy < 0.95
    assert written["ten_fold"](distances, same, folds) == pytest.approx((protocol.accuracy, protocol.standard_error))


@pytest.mark.parametrize("folder", ["weights/resnet", "keras-facenet-h5"])
def test_a_model_card_quotes_what_was_measured(folder):
    result = json.loads((ROOT / f"docs/results/lfw_{Path(folder).name}.json").read_text())
    card = (ROOT / folder / "MODEL_CARD.md").read_text()
    block = re.search(r"<!-- accuracy -->(.*?)<!-- /accuracy -->", card, re.DOTALL)[1]

    def interval(row):
        return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"

    assert interval(result["accuracy_at_0.7"]) in block
    assert interval(result["accuracy_at_trained"]) in block
    assert f"({result['trained_threshold']:.3f})" in block
    assert f"{100 * result['false_accepts_at_0.7']:.1f} %, {100 * result['false_rejects_at_0.7']:.1f} %" in block
    assert f"{result['auc']:.4f}" in block
    assert f"({result['people']} people" in card


@pytest.mark.parametrize("network", ["resnet", "keras-facenet-h5"])
def test_the_rates_table_is_what_its_columns_say(network):
    rates = pd.read_csv(ROOT / f"docs/results/lfw_{network}_rates.csv")
    for _, part in rates.groupby("people"):
        assert part.threshold.is_monotonic_increasing
        assert part.false_accepts.is_monotonic_increasing and part.false_rejects.is_monotonic_decreasing
        at = part[np.isclose(part.threshold, 0.7)].iloc[0]
        assert abs(at.false_accepts - at.false_rejects) < 0.01  # 0.7 is the equal-error threshold


def test_every_result_belongs_to_the_network_that_it_is_named_after():
    files = sorted((ROOT / "docs" / "results").glob("lfw_*.json"))
    results = {file.stem.removeprefix("lfw_"): json.loads(file.read_text()) for file in files}
    assert {"resnet", "keras-facenet-h5", "generated", "pixels"} <= set(results)
    assert {name: Path(result["network"]).name for name, result in results.items()} == {name: name for name in results}
    assert len({result["auc"] for result in results.values()}) == len(results)


@pytest.mark.parametrize("card", sorted(ROOT.glob("**/MODEL_CARD.md")), ids=lambda path: path.parent.name)
def test_a_model_card_has_nothing_left_to_fill_in(card):
    assert re.findall(r"^[A-Z]{4,}$|TODO|TABLE_", card.read_text(encoding="utf-8"), re.MULTILINE) == []
