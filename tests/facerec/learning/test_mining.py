"""Mining as layers: losses and metrics agree with counting every triplet of a batch."""

import keras
import numpy as np
import pytest

from facerec.learning.mining import (
    NamesWithMargin,
    TripletMining,
    active,
    found,
    mined_loss,
    to_negative,
    to_positive,
)
from facerec.learning.triplets import hardest_triplets, random_triplets, semi_hard_triplets
from tests.facerec.learning.crowds import all_triplets, crowd, numpy_loss, squared


@pytest.mark.parametrize("mining", ["random", "semi-hard", "hardest"])
def test_mined_loss_is_the_mean_triplet_loss_of_mined_triplets(mining):
    encodings, who = crowd(3)
    mined = TripletMining(mining, alpha=0.2, seed=5)([encodings, who])
    negative, valid = (
        random_triplets(who, keras.random.SeedGenerator(5))
        if mining == "random"
        else (semi_hard_triplets(encodings, who) if mining == "semi-hard" else hardest_triplets(encodings, who))
    )
    rows = [(a, p, int(negative[a, p])) for a, p in zip(*np.nonzero(np.asarray(valid)), strict=True)]
    a, p, n = (encodings[list(column)] for column in zip(*rows, strict=True))
    assert float(mined_loss(who, mined)) == pytest.approx(numpy_loss(a, p, n) / len(rows), abs=1e-5)


def test_loss_of_all_triplets_is_the_mean_over_each_pairs_violating_negatives():
    encodings, who = crowd(3)
    pairs: dict[tuple[int, int], list[float]] = {}
    for a, p, n in all_triplets(who):
        loss = squared(encodings, a, p) - squared(encodings, a, n) + 0.2
        pairs.setdefault((a, p), []).extend([loss] if loss > 0 else [])
    expected = np.mean([np.mean(losses) for losses in pairs.values() if losses])
    mined = TripletMining("all", alpha=0.2)([encodings, who])
    assert float(mined_loss(who, mined)) == pytest.approx(expected, abs=1e-5)
    assert float(found(who, mined)) == pytest.approx(np.mean([bool(losses) for losses in pairs.values()]))


def test_names_with_margin_is_the_cross_entropy_of_moved_angles():
    encodings, who = crowd(3)
    layer = NamesWithMargin(5, margin=0.3, scale=16.0)
    loss = float(mined_loss(who, layer([encodings, who])))
    directions = np.asarray(layer.directions)
    cosines = encodings @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    own = np.arange(len(who)), np.asarray(who)
    logits = 16 * cosines
    logits[own] = 16 * np.cos(np.arccos(cosines[own]) + 0.3)
    expected = np.log(np.exp(logits).sum(1)) - logits[own]
    assert loss == pytest.approx(expected.mean(), abs=1e-4)


def test_metrics_agree_with_counting_in_the_batch():
    encodings, who = crowd(3)
    mined = TripletMining("semi-hard", alpha=0.2)([encodings, who])
    triplets_, pairs = all_triplets(who), {(a, p) for a, p, _ in all_triplets(who)}
    gaps = [squared(encodings, a, n) - squared(encodings, a, p) for a, p, n in triplets_]
    assert float(active(who, mined)) == pytest.approx(np.mean(np.array(gaps) < 0.2), abs=1e-6)
    assert float(found(who, mined)) == pytest.approx(len(semi_hard_triplets(encodings, who).triplets()) / len(pairs))
    assert float(to_positive(who, mined)) == pytest.approx(
        np.mean([squared(encodings, *pair) for pair in pairs]), abs=1e-5
    )
    others = [squared(encodings, a, b) for a in range(12) for b in range(12) if who[a] != who[b]]
    assert float(to_negative(who, mined)) == pytest.approx(np.mean(others), abs=1e-5)
