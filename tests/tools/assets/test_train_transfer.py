"""The study of the transfer twin: results that agree with the scores, its promises, and the whole way at toy size."""

import functools
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from facerec._files import ROOT
from facerec.detection import resize_face
from facerec.evaluation import accuracy
from facerec.learning.checkpoints import digest_of
from facerec.learning.datasets import find_people
from facerec.learning.siamese import load_siamese, stand_on
from facerec.learning.transfer import split_network
from facerec.learning.transfer_training import TransferPlan, alike
from facerec.networks import load_facenet, save_network
from tests.tools.assets.toy_study import prepare_study
from tools.assets import train_siamese, train_transfer, train_triplets
from tools.assets.train_siamese import LISTS, RESULTS
from tools.assets.train_transfer import Method, accepted

RESULT = json.loads((RESULTS / "siamese_transfer.json").read_text(encoding="utf-8"))

pytestmark = pytest.mark.usefixtures("eagerly")


# ------------------------------------------------------------------------------------------------- results
def test_reported_rates_agree_with_the_scores():
    scored = pd.read_csv(RESULTS / "siamese_transfer_pairs.csv")
    columns = ["picture_1", "picture_2"]
    pd.testing.assert_frame_equal(scored[columns], pd.read_csv(LISTS / "celeba_photos_pairs.csv"))
    same = scored.picture_1.str.split("/").str[0] == scored.picture_2.str.split("/").str[0]
    assert (scored.same == same).all() and list(RESULT["methods"]) == list(scored.columns[3:])
    for method, row in RESULT["methods"].items():
        found = accuracy(scored[method], same, row["threshold"], missing="mistakes")
        assert found == pytest.approx(row["accuracy"]["value"], abs=2e-3)
        usable = scored[method].notna()
        assert roc_auc_score(same[usable], -scored[method][usable]) == pytest.approx(row["auc"], abs=0.05)
    right = [scored[name] < RESULT["methods"][name]["threshold"] for name in RESULT["gain"]["of"].split(" → ")]
    gain = (right[1] == same).mean() - (right[0] == same).mean()
    assert RESULT["gain"]["value"] == pytest.approx(gain, abs=2e-3)


def test_transfer_twin_keeps_what_it_promises():
    methods, jobs = RESULT["methods"], RESULT["one_person"]
    facenet = methods["FaceNet, Inception"]
    for pairs in ("accuracy", "protocol", "of_faces"):
        assert methods["twin, transfer"][pairs]["value"] > facenet[pairs]["value"] - 0.02
    assert RESULT["seconds"] <= 120
    assert jobs["12"]["people"] == 12 and jobs["everyone"]["people"] == 41
    for job in jobs.values():
        assert job["methods"]["twin, transfer"]["true_accepts"]["value"] > 0.9
        assert job["methods"]["twin, transfer"]["false_accepts"] < 0.02
    assert RESULT["portraits"]["pairs"] == 66 and RESULT["portraits"]["own_pictures"] == 16


def test_shipped_twin_is_the_scored_one():
    model, threshold = load_siamese()
    assert digest_of(model) == RESULT["weights"]
    assert threshold == pytest.approx(1 - RESULT["methods"]["twin, transfer"]["threshold"], abs=1e-3)
    card = json.loads((ROOT / "weights/transfer/siamese.json").read_text(encoding="utf-8"))
    assert card["seconds"] == RESULT["seconds"] and card["plan"]["thawed"]["epochs"] == TransferPlan().thawed.epochs
    history = pd.read_csv(RESULTS / "siamese_transfer_history.csv")
    assert history.groupby("phase").validation_loss.min()["thawed"] < history.validation_loss[0]


# ------------------------------------------------------------------------------------------------ one person
def test_accepted_counts_later_pictures_and_strangers_at_the_threshold_of_others(monkeypatch):
    monkeypatch.setattr(train_transfer, "PICTURES", (2, 1, 2))
    way = Method(1, None, None, lambda known, others: np.abs(known - others.T).mean(axis=0), 0.5)
    who = np.array(5 * ["a"] + 5 * ["b"] + 4 * ["c"])
    test = np.array([0, 0, 90, 0.1, 5, 10, 10, 90, 10, 10.1, 0.5, 4, 9.5, 11])[:, None]
    choosing = np.linspace(1, 101, 101)[:, None]  # one in a hundred is nearer to 0 than 2, and to 10 than about 0.6
    codes = {"test": test, "validation": choosing}
    found = accepted(way, codes, who, ["a", "b"], "validation", apart=True)
    assert found["true_accepts"]["worst"] == 0.5 and found["true_accepts"]["best"] == 1
    assert found["false_accepts"] == pytest.approx((1 / 4 + 0 / 4) / 2)
    alone = accepted(way, codes, who, ["a"], "validation", apart=False)
    assert alone["false_accepts"] == pytest.approx(1 / 9)  # b's pictures are strangers now


# ------------------------------------------------------------------------------------------------ the whole way
@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """Twenty people of six pictures, one of which shows no face, and a FaceNet with random weights."""
    monkeypatch.setitem(train_siamese.STUDIES, "people", train_siamese.STUDIES["people"]._replace(shares=(8, 6, 6)))
    prepare_study(tmp_path, "p020", (10, 5, 5), (40, 40, 40), monkeypatch)
    monkeypatch.setattr(train_triplets, "LISTS_OF_PHOTOS", {"pairs": 40, "protocol": 20})
    train_triplets.write_lists()
    everyone = find_people("datasets/people.zip")
    few = everyone[everyone.identity > "p221"].reset_index(drop=True)
    keras.utils.set_random_seed(0)
    given = keras.Input((16, 16, 3))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(keras.layers.Rescaling(1 / 255)(given)))
    x = keras.layers.UnitNormalization()(keras.layers.Dense(8)(keras.layers.Dense(24)(x)))
    save_network(keras.Model(given, x, name="small"), tmp_path / "facenet", name="small")
    for name, value in {
        "RESULTS": tmp_path,
        "DEFAULT_TWINS": tmp_path / "weights",
        "COMPACT": tmp_path / "weights",
        "FACENETS": {str(tmp_path / "facenet"): "FaceNet, small"},
        "PICTURES": (2, 1, 2),
        "TWELVE": 3,
        "FAR": 0.05,
        "find_people": lambda source: few,
        "extract_face": resize_face,
    }.items():
        monkeypatch.setattr(train_transfer, name, value)
    for module in (train_siamese, train_triplets, train_transfer):
        monkeypatch.setattr(module, "split", functools.cache(module.split))
    for name in ("bootstrap_accuracy", "bootstrap_gain", "bootstrap_mean", "bootstrap_calibration_error"):
        monkeypatch.setattr(train_transfer, name, functools.partial(getattr(train_transfer, name), samples=10))
    return tmp_path


def begun(people, pairs, folder, plan):
    """Twins that have not learned anything yet: their training has tests of its own."""
    siamese = stand_on(alike(split_network(load_facenet(plan.network))[1]), plan.network)
    return siamese, 0.25, pd.DataFrame({"phase": ["frozen"], "epoch": [1]})


def test_toy_study_runs_from_faces_to_a_scored_twin(toy, monkeypatch, capsys):
    monkeypatch.setattr(train_transfer, "train_transfer", begun)
    train_transfer.train(TransferPlan(str(toy / "facenet")))
    assert pd.read_csv(toy / "siamese_transfer_history.csv").phase.tolist() == ["frozen"]
    card = json.loads((toy / "weights" / "siamese.json").read_text())
    assert card["people"] == 10 and card["stands_on"]["network"] == card["plan"]["network"] == str(toy / "facenet")
    assert card["threshold"] == 0.25
    train_transfer.main(["score"])
    assert "one person (everyone):" in capsys.readouterr().out
    result = json.loads((toy / "siamese_transfer.json").read_text())
    assert (result["people"], result["photos"], result["without_a_face"]) == (5, 30, 1)
    assert result["gain"]["of"] == "FaceNet, small → twin, transfer"
    assert result["methods"]["twin, transfer"] == result["methods"]["twin, compact"]  # here they are one network
    jobs = result["one_person"]
    assert (jobs["3"]["people"], jobs["3"]["strangers"], jobs["everyone"]["strangers"]) == (3, 2, 4)
    assert set(jobs["3"]["methods"]) == {"twin, transfer", "twin, transfer, as own", "twin, compact", "FaceNet, small"}
    assert result["portraits"]["pairs"] == 66 and result["portraits"]["own_pictures"] == 16
    scored = pd.read_csv(toy / "siamese_transfer_pairs.csv")
    assert scored["FaceNet, small"].isna().any() and len(scored) == 40
