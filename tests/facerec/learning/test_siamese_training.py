"""Siamese trainings: they learn, repeat, resume exactly, and stop early."""

import copy
import signal
import sys
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow

from facerec.errors import BadArgument
from facerec.learning.checkpoints import alone_in
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs
from facerec.learning.siamese import VARIANTS, make_siamese
from facerec.learning.siamese_training import SiamesePlan, score_pairs, train_siamese, with_all_pairs
from tests.facerec.learning.resuming import (
    assert_resumes_to,
    assert_same_curve,
    killed_in_the_last_epoch,
    wait_in_the_last_epoch,
)
from tests.facerec.learning.toys import SMALL_TWIN

pytestmark = pytest.mark.usefixtures("eagerly", "small")


@pytest.fixture(scope="module")
def small():
    """Trainings build small twins instead of the compact ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "compact", SMALL_TWIN)
        yield


@pytest.fixture(scope="module")
def pairs() -> tuple[PairFaces, PairFaces]:
    """Few pairs of small faces, of people who do not exist, in two parts with different people."""
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p020"], (14, 6))
    return PairFaces(make_pairs(learned, 96), side=32), PairFaces(make_pairs(validation, 40), side=32)


PLAN = SiamesePlan(side=32, epochs=4, batch=16, rate=1e-3, seed=3)


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model, history = train_siamese(*pairs, PLAN, folder, progress=False, every=2)
    return model, history, folder


def test_training_lowers_the_loss_and_saves_its_files(trained, pairs):
    model, history, folder = trained
    assert history.epoch.tolist() == [1, 2, 3, 4]
    assert history.loss.iloc[-1] < history.loss.iloc[0]
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "best.keras", "checkpoint.npz", "checkpoint_before.npz", "epoch_002.keras", "epoch_004.keras",
        "history.csv",
    }  # fmt: skip
    assert np.allclose(history.rate, 1e-3 * 0.97 ** np.arange(4), rtol=0.04)
    scores = score_pairs(model, pairs[1])
    chances = np.where(pairs[1].same, scores, 1 - scores)
    assert -np.log(chances).mean() == pytest.approx(history.validation_loss.min(), rel=1e-3)  # the best, not the last


def test_training_repeats_and_its_loss_is_the_mean_of_its_steps(trained, pairs, tmp_path, monkeypatch):
    losses = []

    class Watched(keras.Model):
        def train_on_batch(self, *args, train=keras.Model.train_on_batch, **kwargs):
            losses.append(train(self, *args, **kwargs))
            return losses[-1]

    monkeypatch.setattr(keras.Model, "train_on_batch", Watched.train_on_batch)
    _, history = train_siamese(*pairs, replace(PLAN, epochs=1), tmp_path, progress=False)
    assert_same_curve(history, trained[1].head(1))
    steps = pd.DataFrame(losses)[["loss", "accuracy"]]
    assert len(steps) == 6 and steps.loss.std() > 1e-3
    np.testing.assert_allclose(history[["loss", "accuracy"]].iloc[0], steps.mean(), atol=1e-5)


def test_training_under_another_seed_differs(trained, pairs, tmp_path):
    _, other = train_siamese(*pairs, replace(PLAN, epochs=1, seed=4), tmp_path, progress=False)
    assert abs(other.loss[0] - trained[1].loss[0]) > 1e-3


def test_killed_training_resumes_to_the_uninterrupted_curve_and_network(trained, pairs, tmp_path):
    def resume(folder):
        return train_siamese(*pairs, PLAN, folder, progress=False, every=2)

    assert_resumes_to(trained, resume, tmp_path / "killed")


def run_training(folder: str) -> None:
    """What a student's process does: it trains, and never ends before it is killed."""
    wait_in_the_last_epoch(PLAN.epochs)
    tensorflow.config.run_functions_eagerly(True)  # as this file's tests do
    VARIANTS["compact"] = SMALL_TWIN
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p020"], (14, 6))
    parts = (PairFaces(make_pairs(part, count), side=32) for part, count in ((learned, 96), (validation, 40)))
    train_siamese(*parts, PLAN, folder, progress=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_training_killed_by_the_system_resumes_to_the_uninterrupted_curve(trained, pairs, tmp_path, kill_in_training):
    assert kill_in_training(run_training, tmp_path, within=0.5) == -signal.SIGKILL
    assert (tmp_path / "checkpoint.npz").exists()
    _, history = train_siamese(*pairs, PLAN, tmp_path, progress=False)
    assert_same_curve(history, trained[1])


def test_training_stops_early_without_validation_gain(trained, pairs, tmp_path):
    """With a patience of as many epochs as brought nothing when it was killed, there is nothing left to do."""
    _, history, folder = trained
    killed = killed_in_the_last_epoch(folder, tmp_path / "killed")
    since_best = 2 - int(history.validation_loss.head(3).argmin())
    plan = replace(PLAN, epochs=30, patience=since_best)
    _, stopped = train_siamese(*pairs, plan, killed, progress=False)
    pd.testing.assert_frame_equal(stopped, history.head(3))


@pytest.mark.parametrize("which", ["people", "validation"])
def test_training_does_not_resume_with_as_many_other_people(trained, pairs, which):
    parts = {"people": pairs[0], "validation": pairs[1]}
    parts[which] = copy.copy(parts[which])
    parts[which].faces = parts[which].faces[::-1]
    with pytest.raises(BadArgument, match=f"was begun with {which} '[0-9a-f]{{64}}', not"):
        train_siamese(*parts.values(), PLAN, trained[2], progress=False)


def test_second_training_in_the_folder_is_refused(pairs, tmp_path):
    with alone_in(tmp_path), pytest.raises(BadArgument, match="another training is running in"):
        train_siamese(*pairs, PLAN, tmp_path, progress=False)


def test_training_rejects_a_folder_of_another_plan_and_too_few_pairs(trained, pairs, tmp_path):
    _, _, folder = trained
    with pytest.raises(BadArgument, match="was begun with rate 0.001, not 0.01"):
        train_siamese(*pairs, SiamesePlan(side=32, epochs=4, batch=16, rate=0.01, seed=3), folder, progress=False)
    with pytest.raises(BadArgument, match="96 pairs don't fill a batch of 100"):
        train_siamese(*pairs, SiamesePlan(side=32, batch=100), tmp_path, progress=False)


@pytest.mark.parametrize("which", ["learned", "validation"])
def test_training_rejects_faces_of_another_side_before_it_starts(pairs, tmp_path, which):
    people = find_people("datasets/people.zip")
    larger = PairFaces(make_pairs(people[people.identity < "p010"], 40), side=40)
    parts = {"learned": pairs[0], "validation": pairs[1], which: larger}
    with pytest.raises(BadArgument, match=f"{which}: its faces have 40 pixels, but the plan has side=32"):
        train_siamese(parts["learned"], parts["validation"], PLAN, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_score_pairs_scores_like_the_network(pairs):
    model, rng = make_siamese("compact", 32), np.random.default_rng(0)
    model.get_layer("score").set_weights([rng.normal(size=(128, 1)), rng.normal(size=1)])
    first, second = pairs[1].as_input()[pairs[1].rows.T]
    np.testing.assert_allclose(score_pairs(model, pairs[1], batch=7), model([first, second])[:, 0], atol=1e-5)


def test_with_all_pairs_scores_like_single_pairs():
    model = make_siamese("compact", 32)
    faces = np.random.default_rng(0).uniform(0, 1, (5, 32, 32, 3)).astype("float32")
    scores = np.asarray(with_all_pairs(model, 5)(faces))
    expected = [float(model([faces[i : i + 1], faces[j : j + 1]])[0, 0]) for i in range(5) for j in range(i + 1, 5)]
    np.testing.assert_allclose(scores[:, 0], expected, atol=1e-5)
    assert with_all_pairs(model, 5).count_params() == model.count_params()


IN_BATCH = SiamesePlan(side=32, epochs=2, batch=32, rate=1e-3, moved=True, seed=3)


@pytest.fixture(scope="module")
def person_faces() -> PersonFaces:
    people = find_people("datasets/people.zip")
    return PersonFaces(split_by_identity(people[people.identity < "p020"], (14, 6))[0], side=32)


def test_training_on_all_pairs_learns_and_resumes(person_faces, pairs, tmp_path):
    _, whole = train_siamese(person_faces, pairs[1], IN_BATCH, tmp_path / "whole", progress=False)
    assert whole.loss.iloc[-1] < whole.loss.iloc[0]
    killed = killed_in_the_last_epoch(tmp_path / "whole", tmp_path / "killed")
    _, resumed = train_siamese(person_faces, pairs[1], IN_BATCH, killed, progress=False)
    assert_same_curve(resumed, whole, resumed_after=1)


def test_training_from_a_list_does_not_resume_from_all_pairs(trained, person_faces, pairs):
    with pytest.raises(BadArgument, match="learns from 'PairFaces', not 'PersonFaces'"):
        train_siamese(person_faces, pairs[1], PLAN, trained[2], progress=False)
