"""The transfer twin at toy size: its phases, its calibration, its files, and one person's verifier."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from facerec.encoding import in_batches
from facerec.errors import BadArgument, BadNetwork
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.pairs import make_pairs, open_faces
from facerec.learning.siamese import (
    embedding_of,
    load_siamese,
    make_siamese,
    save_siamese,
    score_embeddings,
    twins_of,
    verify_faces,
)
from facerec.learning.siamese_training import SiamesePlan
from facerec.learning.transfer import split_network
from facerec.learning.transfer_training import (
    PersonFeatures,
    TransferPlan,
    alike,
    calibrate,
    people_of,
    train_transfer,
    verifier_for,
)
from facerec.networks import load_facenet, save_network

pytestmark = pytest.mark.usefixtures("eagerly")

PHASE = SiamesePlan("transfer", epochs=2, batch=16, rate=0.01)


@pytest.fixture(scope="module")
def facenet(tmp_path_factory) -> str:
    """The folder of a small FaceNet with random weights."""
    keras.utils.set_random_seed(0)
    faces = keras.Input((16, 16, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(keras.layers.Rescaling(1 / 255)(faces)))
    x = keras.layers.UnitNormalization()(keras.layers.Dense(8)(keras.layers.Dense(24)(x)))
    folder = tmp_path_factory.mktemp("facenet")
    save_network(keras.Model(faces, x, name="small"), folder, name="small")
    return str(folder)


@pytest.fixture(scope="module")
def people() -> tuple[pd.DataFrame, ...]:
    """People who do not exist, in three parts."""
    people = find_people("datasets/people.zip")
    return split_by_identity(people[people.identity < "p024"].reset_index(drop=True), (12, 6, 6))


@pytest.fixture(scope="module")
def trained(people, facenet, tmp_path_factory):
    """Twins, their threshold, their history and the training's folder."""
    folder = tmp_path_factory.mktemp("trained")
    return *train_transfer(people[0], make_pairs(people[1], 60), folder, plan_of(facenet), progress=False), folder


def plan_of(facenet: str) -> TransferPlan:
    return TransferPlan(facenet, PHASE, replace(PHASE, epochs=3))


def test_first_only_the_neuron_learns_and_then_the_top(trained, facenet):
    _, _, history, folder = trained
    assert history.phase.tolist() == 2 * ["frozen"] + 3 * ["thawed"] and history.epoch.tolist() == [1, 2, 1, 2, 3]
    _, begun = split_network(load_facenet(facenet))
    frozen, thawed = (keras.models.load_model(folder / phase / "best.keras") for phase in ("frozen", "thawed"))
    np.testing.assert_array_equal(embedding_of(frozen).get_weights()[0], begun.get_weights()[0])
    assert np.abs(embedding_of(thawed).get_weights()[0] - begun.get_weights()[0]).max() > 1e-3
    assert not np.allclose(frozen.get_layer("score").get_weights()[0], frozen.get_layer("score").get_weights()[0][0])
    assert history.loss.iloc[-1] < history.loss.iloc[0]


def test_training_repeats(trained, people, facenet, tmp_path):
    plan = TransferPlan(facenet, replace(PHASE, epochs=1), replace(PHASE, epochs=1))
    *_, again = train_transfer(people[0], make_pairs(people[1], 60), tmp_path, plan, progress=False)
    columns = ["loss", "validation_loss"]
    pd.testing.assert_frame_equal(again[columns].iloc[:1], trained[2][columns].iloc[:1], rtol=1e-5)


def test_finished_training_trains_no_more_and_is_refused_as_many_other_people(trained, people, facenet):
    _, threshold, history, folder = trained
    pairs = make_pairs(people[1], 60)
    _, again, curve = train_transfer(people[0], pairs, folder, plan_of(facenet), progress=False)
    assert again == pytest.approx(threshold, abs=1e-6)
    pd.testing.assert_frame_equal(curve, history)
    everyone = find_people("datasets/people.zip")
    others = everyone[(everyone.identity >= "p024") & (everyone.identity < "p036")].reset_index(drop=True)
    assert len(others) == len(people[0])
    with pytest.raises(BadArgument, match="frozen was begun with people '[0-9a-f]{64}', not"):
        train_transfer(others, pairs, folder, plan_of(facenet), progress=False)


def test_people_who_choose_must_not_be_learned(people, facenet, tmp_path):
    with pytest.raises(BadArgument, match="p0"):
        train_transfer(people[0], make_pairs(people[0], 60), tmp_path, TransferPlan(facenet), progress=False)


def test_saved_twins_hold_their_own_layers_and_find_their_facenet(trained, people, tmp_path):
    siamese, threshold, *_ = trained
    save_siamese(siamese, tmp_path, threshold)
    again, at = load_siamese(tmp_path)
    faces = open_faces(list(people[2].picture[:4]), 16).astype(np.float32) / 255
    np.testing.assert_allclose(again([faces[:2], faces[2:]]), siamese([faces[:2], faces[2:]]), atol=1e-6)
    assert at == threshold and again.known is None and again.stands_on == siamese.stands_on
    alone = keras.models.load_model(tmp_path / "siamese.keras")
    assert alone.input_shape == [(None, 24)] * 2 and alone.count_params() == 24 * 8 + 8 + 8 + 1


def test_twins_refuse_a_facenet_that_has_changed(trained, tmp_path):
    save_siamese(trained[0], tmp_path / "twins", 0.5)
    card = tmp_path / "twins" / "siamese.json"
    card.write_text(card.read_text().replace(trained[0].stands_on.sha256, "0" * 64))
    with pytest.raises(BadNetwork, match="twins was trained on another .*: train it again on this one"):
        load_siamese(tmp_path / "twins")


def test_twins_that_count_all_differences_alike_order_pairs_by_distance():
    _, top = split_network(small := make_network())
    codes = np.asarray(small(np.arange(5 * 2 * 2 * 3).reshape(5, 2, 2, 3) % 7 / 7.0))
    distances = np.abs(codes[:, None] - codes).sum(axis=-1)
    np.testing.assert_array_equal(score_embeddings(alike(top), codes, codes)[0].argsort(), (-distances[0]).argsort())


def make_network() -> keras.Model:
    faces = keras.Input((2, 2, 3))
    return keras.Model(faces, keras.layers.Dense(4)(keras.layers.Dense(6)(keras.layers.Flatten()(faces))))


def test_calibrated_score_is_the_share_of_same_pairs():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 6)
    features = (rng.normal(size=(30, 5))[who] + 0.4 * rng.normal(size=(180, 5))).astype(np.float32)
    given = keras.Input((5,))
    twins = alike(keras.Model(given, keras.layers.Identity()(given), name="top"))
    before = scores_of(twins, features)
    calibrate(twins, features, who)
    scores, same = scores_of(twins, features), who[np.triu_indices(180, 1)[0]] == who[np.triu_indices(180, 1)[1]]
    np.testing.assert_array_equal(before.argsort()[:50], scores.argsort()[:50])
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    for low, high in ((0.3, 0.6), (0.6, 0.8)):
        inside = (scores >= low) & (scores < high)
        share = weight[inside & same].sum() / weight[inside].sum()
        assert np.average(scores[inside], weights=weight[inside]) == pytest.approx(share, abs=0.12)
    kept = twins.get_layer("score").get_weights()[0]
    calibrate(twins, features, who)
    np.testing.assert_allclose(twins.get_layer("score").get_weights()[0], kept, rtol=1e-3)


def scores_of(twins: keras.Model, features: np.ndarray) -> np.ndarray:
    """The scores of all pairs."""
    codes = in_batches(features, embedding_of(twins))
    return score_embeddings(twins, codes, codes)[np.triu_indices(len(codes), 1)]


def test_batches_of_features_are_the_features_with_their_labels():
    who, features = np.repeat(["a", "b", "c"], 4), np.arange(12, dtype=np.float32)[:, None]
    shown, same, weight = next(PersonFeatures(features, who, per_person=2).batches(4, seed=1))
    rows = shown[:, 0].astype(int)
    first, second = np.triu_indices(4, 1)
    np.testing.assert_array_equal(same, who[rows[first]] == who[rows[second]])
    assert np.sum(weight * same) == pytest.approx(np.sum(weight * (1 - same)))
    with pytest.raises(BadArgument, match="c has a single picture"):
        PersonFeatures(features[:9], who[:9])


def test_people_of_pairs_come_once():
    pairs = pd.DataFrame(
        {"picture_1": ["a1", "b1"], "picture_2": ["a2", "a1"], "identity_1": ["a", "b"], "identity_2": ["a", "a"]}
    )
    rows, people = people_of(pairs)
    assert people.picture.tolist() == ["a1", "b1", "a2"] and people.identity.tolist() == ["a", "b", "a"]
    assert rows.tolist() == [[0, 2], [1, 0]]


# ---------------------------------------------------------------------------------------------------- one person
def test_verifier_is_tested_with_what_verify_faces_compares(trained, people, tmp_path):
    own = list(people[2].picture[people[2].identity == people[2].identity.iloc[0]])
    others = people[1].iloc[:20], people[2][~people[2].picture.isin(own)].iloc[:9]
    found = verifier_for(own, others, trained[0], far=0.1)
    assert found.known.shape == (5, 16, 16, 3) and found.later == 3 and found.strangers == 2
    save_siamese(found.model, tmp_path, found.threshold, found.known)
    model, threshold = load_siamese(tmp_path)
    np.testing.assert_array_equal(model.known, found.known)
    answers = [[verify_faces(model.known, p, model, threshold, aligned=True)["is_match"] for p in some]
               for some in (own[5:], others[1].picture, others[0].picture)]  # fmt: skip
    assert np.mean(answers[0]) == pytest.approx(found.true_accepts)
    assert np.mean(answers[1]) == pytest.approx(found.false_accepts)
    assert 0 < np.mean(answers[2]) <= 0.1  # the strangers who chose the threshold
    with (tmp_path / "known" / "002.png").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BadNetwork, match="002.png is damaged"):
        load_siamese(tmp_path)


def test_verifier_needs_pictures_and_different_strangers(people):
    model = make_siamese("compact", 32)
    own = list(people[2].picture[:4])
    with pytest.raises(BadArgument, match="own has 3 pictures: at least 4 are needed"):
        verifier_for(own[:3], people[:2], model)
    with pytest.raises(BadArgument, match="p0"):
        verifier_for(own, (people[0], people[0]), model)


def test_twins_of_features_need_no_faces():
    given = keras.Input((5,))
    twins = twins_of(keras.Model(given, keras.layers.Dense(3)(given), name="top"))
    assert twins.input_shape == [(None, 5), (None, 5)] and twins.output_shape == (None, 1)
