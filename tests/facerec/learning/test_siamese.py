"""Twin networks: shapes, shared weights, exact resume, and decisions that say what was wrong with their input."""

import sys
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument, BadNetwork, NoFaceFound, UnreadableImage
from facerec.learning import checkpoints
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs, open_faces
from facerec.learning.siamese import (
    VARIANTS,
    L1Distance,
    load_siamese,
    make_embedding,
    make_siamese,
    preprocess_image,
    save_siamese,
    score_all,
    verify_faces,
)
from facerec.learning.siamese_training import SiamesePlan, score_pairs, train_for_one, train_siamese, with_all_pairs


@pytest.fixture(scope="module")
def pairs() -> tuple[PairFaces, PairFaces]:
    """Few pairs of small faces, of people who do not exist, in two parts with different people."""
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p020"], (14, 6))
    return PairFaces(make_pairs(learned, 96), side=32), PairFaces(make_pairs(validation, 40), side=32)


PLAN = SiamesePlan(side=32, epochs=4, batch=16, rate=1e-3, seed=3)


# ------------------------------------------------------------------------------------------------ networks
@pytest.mark.parametrize(
    ("variant", "windows", "filters", "last"),
    [
        ("large windows", [10, 3, 7, 4], [64, 128, 128, 256], (5, 5, 256)),
        ("small windows", [3, 3, 3, 3], [64, 128, 128, 256], (5, 5, 256)),
        ("compact", [3, 3, 3, 3], [32, 64, 128, 192], (4, 4, 192)),
    ],
)
def test_a_variant_has_the_windows_that_it_is_named_after(variant, windows, filters, last):
    model = make_embedding(variant)
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [conv.kernel_size[0] for conv in convs] == windows and [conv.filters for conv in convs] == filters
    assert model.input_shape == (None, 100, 100, 3)
    layer = "block4_pool" if VARIANTS[variant].blocks[3].pool else "block4_relu"
    assert model.get_layer(layer).output.shape[1:] == last
    dense = model.get_layer("embedding")
    assert (dense.units, dense.activation.__name__) == ((128, "linear") if variant == "compact" else (4096, "sigmoid"))


def test_only_the_first_window_of_the_large_ones_is_penalised():
    layers = make_embedding("large windows").layers
    assert [layer.name for layer in layers if getattr(layer, "kernel_regularizer", None)] == ["block1_conv"]


def test_twins_share_every_weight():
    model = make_siamese("compact", 32)
    embedding = make_embedding("compact", 32)
    assert model.count_params() == embedding.count_params() + 129
    faces = np.random.default_rng(0).uniform(0, 1, (3, 32, 32, 3)).astype("float32")
    other = faces[::-1].copy()
    np.testing.assert_allclose(model([faces, other]), model([other, faces]), atol=1e-6)  # whoever comes first
    np.testing.assert_allclose(model([faces, faces]), 0.5, atol=1e-6)  # no difference, and no bias yet
    assert np.abs(np.asarray(model([faces, other]))[[0, 2]] - 0.5).min() > 1e-4


def test_l1_distance_is_the_difference_and_survives_a_file(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 5)).astype("float32")
    np.testing.assert_allclose(L1Distance()([a, b]), np.abs(a - b), rtol=1e-6)
    model = make_siamese("compact", 32)
    checkpoints.save_model(model, tmp_path / "twins.keras")
    again = keras.models.load_model(tmp_path / "twins.keras")
    faces = rng.uniform(0, 1, (2, 3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again(list(faces)), model(list(faces)), atol=1e-6)


def test_what_can_not_be_built_is_refused():
    with pytest.raises(BadArgument, match="variant='huge': one of 'large windows', 'small windows', 'compact'"):
        make_embedding("huge")
    with pytest.raises(BadArgument, match="side=12: too small for the windows of 'large windows'"):
        make_embedding("large windows", 12)


# ------------------------------------------------------------------------------------------------ training
@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model, history = train_siamese(*pairs, PLAN, folder, progress=False, every=2)
    return model, history, folder


def test_a_training_learns_its_pairs_and_keeps_what_it_promises(trained, pairs):
    model, history, folder = trained
    assert history.epoch.tolist() == [1, 2, 3, 4]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.keras", "checkpoint.npz", "epoch_002.keras", "epoch_004.keras", "history.csv"
    ]  # fmt: skip
    assert np.allclose(history.rate, 1e-3 * 0.97 ** np.arange(4), rtol=0.04)
    scores = score_pairs(model, pairs[1])
    chances = np.where(pairs[1].same, scores, 1 - scores)
    assert -np.log(chances).mean() == pytest.approx(history.validation_loss.min(), rel=1e-3)  # the best, not the last


def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(pairs, tmp_path, monkeypatch):
    losses = []

    class Watched(keras.Model):
        def train_on_batch(self, *args, train=keras.Model.train_on_batch, **kwargs):
            losses.append(train_siamese(self, *args, **kwargs))
            return losses[-1]

    monkeypatch.setattr(keras.Model, "train_on_batch", Watched.train_on_batch)
    _, history = train_siamese(*pairs, replace(PLAN, epochs=1), tmp_path, progress=False)
    steps = pd.DataFrame(losses)[["loss", "accuracy"]]
    assert len(steps) == 6 and steps.loss.std() > 1e-3
    np.testing.assert_allclose(history[["loss", "accuracy"]].iloc[0], steps.mean(), atol=1e-5)


def test_the_same_plan_gives_the_same_curve_and_another_seed_another(trained, pairs, tmp_path):
    _, history, _ = trained
    _, again = train_siamese(*pairs, PLAN, tmp_path / "again", progress=False)
    columns = ["loss", "accuracy", "validation_loss", "validation_accuracy"]
    pd.testing.assert_frame_equal(again[columns], history[columns], rtol=1e-3)
    _, other = train_siamese(
        *pairs, SiamesePlan(side=32, epochs=1, batch=16, rate=1e-3, seed=4), tmp_path / "other", progress=False
    )
    assert abs(other.loss[0] - history.loss[0]) > 1e-3


def run_training(folder: str) -> None:
    """What a student's process does, for another one to kill."""
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p020"], (14, 6))
    parts = (PairFaces(make_pairs(part, count), side=32) for part, count in ((learned, 96), (validation, 40)))
    train_siamese(*parts, PLAN, folder, progress=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_a_random_moment_it_ends_with_the_uninterrupted_curve(trained, pairs, tmp_path, kill_in_training):
    kill_in_training(run_training, tmp_path, within=0.5)
    assert (tmp_path / "checkpoint.npz").exists()
    _, history = train_siamese(*pairs, PLAN, tmp_path, progress=False)
    columns = ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy"]
    pd.testing.assert_frame_equal(history[columns], trained[1][columns], rtol=1e-3)


@pytest.mark.parametrize("where", ["save_checkpoint", "Log.add"])
def test_killed_between_the_curve_and_the_checkpoint_it_loses_no_row(trained, pairs, tmp_path, monkeypatch, where):
    calls = []

    def dies(work):
        def dying(*args, **kwargs):
            calls.append(where)
            if len(calls) == 2:  # in the second epoch
                raise KeyboardInterrupt
            return work(*args, **kwargs)

        return dying

    with monkeypatch.context() as patch:
        target = checkpoints if where == "save_checkpoint" else checkpoints.Log
        name = where.rpartition(".")[2]
        patch.setattr(target, name, dies(getattr(target, name)))
        with pytest.raises(KeyboardInterrupt):
            train_siamese(*pairs, PLAN, tmp_path, progress=False)
    _, history = train_siamese(*pairs, PLAN, tmp_path, progress=False)
    columns = ["epoch", "loss", "validation_loss"]
    pd.testing.assert_frame_equal(history[columns], trained[1][columns], rtol=1e-3)


def test_it_stops_when_the_validation_people_gain_nothing_more(pairs, tmp_path):
    plan = SiamesePlan(side=32, epochs=30, batch=16, rate=0.0, patience=2, augmented=False)
    _, history = train_siamese(*pairs, plan, tmp_path, progress=False)
    assert len(history) < 30
    best = int(history.validation_loss.argmin())
    assert len(history) == best + 1 + 2


def test_a_folder_of_another_training_and_too_few_pairs_are_refused(trained, pairs, tmp_path):
    _, _, folder = trained
    with pytest.raises(BadArgument, match="was begun with rate 0.001, not 0.01"):
        train_siamese(*pairs, SiamesePlan(side=32, epochs=4, batch=16, rate=0.01, seed=3), folder, progress=False)
    with pytest.raises(BadArgument, match="96 pairs don't fill a batch of 100"):
        train_siamese(*pairs, SiamesePlan(side=32, batch=100), tmp_path, progress=False)


@pytest.mark.parametrize("which", ["learned", "validation"])
def test_faces_of_another_side_than_the_plan_says_are_refused_before_anything_is_learned(pairs, tmp_path, which):
    people = find_people("datasets/people.zip")
    larger = PairFaces(make_pairs(people[people.identity < "p010"], 40), side=40)
    parts = {"learned": pairs[0], "validation": pairs[1], which: larger}
    with pytest.raises(BadArgument, match=f"{which}: its faces have 40 pixels, the plan says side=32"):
        train_siamese(parts["learned"], parts["validation"], PLAN, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------- one person
@pytest.fixture(scope="module")
def others():
    people = find_people("datasets/people.zip")
    return split_by_identity(people[people.identity < "p060"], (30, 15, 15))


def test_twins_for_one_person_are_tested_with_pictures_and_people_that_taught_nothing(others, tmp_path):
    people = find_people("datasets/people.zip")
    own = list(people.picture[people.identity == "p100"])
    plan = SiamesePlan(side=32, epochs=2, batch=20, rate=1e-3)
    twins = train_for_one(own, others, tmp_path, plan, far=0.05, progress=False)
    assert twins.known.shape == (5, 32, 32, 3) and (twins.later, twins.strangers) == (2, 15)
    later, strangers = (
        twins.scores(open_faces(list(pictures), 32) / np.float32(255)) for pictures in (own[6:], others[2].picture)
    )
    assert twins.true_accepts == np.mean(later > twins.threshold)
    assert twins.false_accepts == pytest.approx(np.mean(strangers > twins.threshold), abs=0.01)
    chosen_on = twins.scores(open_faces(list(others[1].picture), 32) / np.float32(255))
    assert np.mean(chosen_on > twins.threshold) == pytest.approx(0.05, abs=0.01)  # six of 120


def test_twins_for_one_person_are_refused_where_they_could_not_be_tested(others, tmp_path):
    people = find_people("datasets/people.zip")
    own = list(people.picture[people.identity == "p100"])
    with pytest.raises(BadArgument, match="7 pictures of the person: at least 8"):
        train_for_one(own[:7], others, tmp_path)
    with pytest.raises(BadArgument, match="is in part 0 and in part 2"):
        train_for_one(own, (others[0], others[1], others[0]), tmp_path)


# ----------------------------------------------------------------------------------------------- verifying
def test_a_photo_becomes_the_face_that_the_network_wants(images):
    face = preprocess_image(images / "lena.jpg", 64)
    assert face.shape == (64, 64, 3) and face.dtype == np.float32 and face.min() >= 0 and 0.5 < face.max() <= 1


def test_pictures_of_a_zip_file_can_be_verified():
    picture = find_people("datasets/people.zip").picture[0]
    assert preprocess_image(picture, 32, aligned=True).shape == (32, 32, 3)


def test_verify_faces_says_whether_and_how_sure(images):
    model = make_siamese("compact", 32)
    result = verify_faces(images / "lena.jpg", images / "kofi.jpg", model, threshold=0.0)
    assert set(result) == {"is_match", "score"} and result["is_match"] is True
    faces = [preprocess_image(images / f"{name}.jpg", 32)[None] for name in ("lena", "kofi")]
    assert result["score"] == pytest.approx(float(model(faces)[0, 0]), abs=1e-6)
    assert verify_faces(images / "lena.jpg", images / "kofi.jpg", model, threshold=1.0)["is_match"] is False


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "0.5", None, True])
def test_a_threshold_that_is_no_score_is_refused(images, threshold):
    with pytest.raises(BadArgument, match="a score in 0..1"):
        verify_faces(images / "lena.jpg", images / "lena.jpg", make_siamese("compact", 32), threshold)


def test_bad_photos_and_networks_are_named(images, tmp_path):
    model = make_siamese("compact", 32)
    with pytest.raises(UnreadableImage, match="nothing.jpg"):
        verify_faces(images / "lena.jpg", tmp_path / "nothing.jpg", model)
    with pytest.raises(NoFaceFound, match="100×100"):
        verify_faces(np.full((100, 100, 3), 90, np.uint8), images / "lena.jpg", model)
    with pytest.raises(BadArgument, match=r"model is a tuple, not a network; load_siamese\(\) gives both"):
        verify_faces(images / "lena.jpg", images / "lena.jpg", (model, 0.5))
    with pytest.raises(BadNetwork, match="takes two faces"):
        verify_faces(images / "lena.jpg", images / "lena.jpg", make_embedding("compact", 32))


# ------------------------------------------------------------------------------------- all pairs of a batch
def test_all_pairs_of_a_batch_score_as_they_do_one_by_one():
    model = make_siamese("compact", 32)
    faces = np.random.default_rng(0).uniform(0, 1, (5, 32, 32, 3)).astype("float32")
    scores = np.asarray(with_all_pairs(model, 5)(faces))
    expected = [float(model([faces[i : i + 1], faces[j : j + 1]])[0, 0]) for i in range(5) for j in range(i + 1, 5)]
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-5)
    assert with_all_pairs(model, 5).count_params() == model.count_params()


def test_every_face_against_every_other_one_scores_as_pairs_do():
    model = make_siamese("compact", 32)
    rng = np.random.default_rng(0)
    model.get_layer("score").set_weights([rng.normal(size=(128, 1)), rng.normal(size=1)])
    one, other = (rng.uniform(0, 1, (m, 32, 32, 3)).astype("float32") for m in (3, 4))
    expected = model([np.repeat(one, 4, axis=0), np.tile(other, (3, 1, 1, 1))])
    np.testing.assert_allclose(score_all(model, one, other), np.reshape(expected, (3, 4)), atol=1e-5)


IN_BATCH = SiamesePlan(side=32, epochs=3, batch=32, rate=1e-3, moved=True, seed=3)


@pytest.fixture(scope="module")
def person_faces() -> PersonFaces:
    people = find_people("datasets/people.zip")
    return PersonFaces(split_by_identity(people[people.identity < "p020"], (14, 6))[0], side=32)


def test_learning_from_all_pairs_learns_and_goes_on_where_it_was_stopped(person_faces, pairs, tmp_path):
    _, whole = train_siamese(person_faces, pairs[1], IN_BATCH, tmp_path / "whole", progress=False)
    assert whole.loss.iloc[-1] < whole.loss.iloc[0]
    train_siamese(person_faces, pairs[1], replace(IN_BATCH, epochs=1), tmp_path / "parts", progress=False)
    _, parts = train_siamese(person_faces, pairs[1], IN_BATCH, tmp_path / "parts", progress=False)
    columns = ["epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "rate"]
    pd.testing.assert_frame_equal(parts[columns], whole[columns], rtol=1e-3)


def test_a_training_from_a_list_is_not_gone_on_with_from_all_pairs(person_faces, pairs, tmp_path):
    train_siamese(*pairs, replace(IN_BATCH, epochs=1), tmp_path, progress=False)
    with pytest.raises(BadArgument, match="learns from 'PairFaces', not 'PersonFaces'"):
        train_siamese(person_faces, pairs[1], IN_BATCH, tmp_path, progress=False)


# ------------------------------------------------------------------------------------------ networks in folders
def test_a_network_comes_back_from_its_folder_with_its_threshold(tmp_path):
    model = make_siamese("compact", 32)
    save_siamese(model, tmp_path / "mine", 0.42, trained_on="nobody")
    again, threshold = load_siamese(tmp_path / "mine")
    faces = np.random.default_rng(0).uniform(0, 1, (2, 3, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again(list(faces)), model(list(faces)), atol=1e-6)
    assert threshold == 0.42 and "nobody" in (tmp_path / "mine" / "siamese.json").read_text()


def test_a_folder_without_a_whole_network_is_refused_and_named(tmp_path):
    with pytest.raises(BadNetwork, match="nowhere holds no siamese network"):
        load_siamese(tmp_path / "nowhere")
    save_siamese(make_siamese("compact", 32), tmp_path, 0.5)
    with (tmp_path / "siamese.keras").open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    with pytest.raises(BadNetwork, match=r"siamese.keras is damaged \(wrong SHA-256\); copy the whole folder again"):
        load_siamese(tmp_path)
    (tmp_path / "siamese.json").write_text('{"threshold": 0.5')
    with pytest.raises(BadNetwork, match="siamese.json is damaged"):
        load_siamese(tmp_path)
