"""The study of the twins: lists that keep people apart, results that agree with the scores, commands that run."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from facerec._files import ROOT
from facerec.detection import resize_face
from facerec.errors import BadArgument
from facerec.evaluation import accuracy, bootstrap_accuracy, precision_recall
from facerec.learning.baselines import pixel_baseline
from facerec.learning.checkpoints import digest_of
from facerec.learning.datasets import find_people
from facerec.learning.siamese import COMPACT, VARIANTS, load_siamese
from facerec.photos import load_image, save_picture
from tests.facerec.learning.toys import SMALL_TWIN
from tests.tools.assets.cards import quoted_accuracies
from tools.assets import train_siamese
from tools.assets.train_siamese import FACENETS, LISTS, PARTS, RESULTS, STUDIES, plan_for, read_list

STUDY_RESULTS = [name for name in STUDIES if (RESULTS / f"siamese_{name}.json").is_file()]

pytestmark = pytest.mark.usefixtures("eagerly")


# --------------------------------------------------------------------------------------------------- lists
@pytest.mark.parametrize("name", STUDIES)
def test_lists_keep_people_and_pictures_apart_and_repeat_no_pair(name):
    owner = {}
    for label in PARTS:
        pairs = read_list(name, label)
        for key in {*pairs.identity_1, *pairs.identity_2, *pairs.picture_1, *pairs.picture_2}:
            assert owner.setdefault(key, label) == label
        assert len({frozenset(pair) for pair in pairs[["picture_1", "picture_2"]].to_numpy()}) == len(pairs)
        assert pairs.same.mean() == 0.5 and (pairs.picture_1 != pairs.picture_2).all()
    assert len(owner) > 100


def test_pairs_command_writes_the_committed_lists(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_siamese, "LISTS", tmp_path)
    train_siamese.main(["pairs", "people"])
    assert "people test: 42 people, 336 pictures, 2000 pairs" in capsys.readouterr().out
    for label in PARTS:
        file = f"people_{label}.csv"
        assert (tmp_path / file).read_bytes() == (LISTS / file).read_bytes()


def test_missing_lists_and_pictures_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(train_siamese, "LISTS", tmp_path)
    with pytest.raises(BadArgument, match="people_test.csv is missing: write it with"):
        read_list("people", "test")
    monkeypatch.setitem(STUDIES, "att_faces", STUDIES["att_faces"]._replace(source=str(tmp_path / "nowhere")))
    with pytest.raises(BadArgument, match="nowhere is neither a folder nor a zip file"):
        train_siamese.main(["pairs", "att_faces"])


# ------------------------------------------------------------------------------------------------- results
@pytest.mark.parametrize("name", STUDY_RESULTS)
def test_reported_rates_agree_with_the_scores(name):
    result = json.loads((RESULTS / f"siamese_{name}.json").read_text())
    scored = pd.read_csv(RESULTS / f"siamese_{name}_pairs.csv")
    pd.testing.assert_frame_equal(scored[["picture_1", "picture_2"]], pd.read_csv(LISTS / f"{name}_test.csv"))
    same = read_list(name, "test").same
    assert (scored.same == same).all() and result["pairs"] == len(scored)
    assert list(result["methods"]) == list(scored.columns[3:])
    for method, row in result["methods"].items():
        distances = scored[method]
        assert accuracy(distances, same, row["threshold"]) == pytest.approx(row["accuracy"]["value"], abs=2e-3)
        assert roc_auc_score(same, -distances) == pytest.approx(row["auc"], abs=1e-3)
        assert row["accuracy"]["low"] < row["accuracy"]["value"] < row["accuracy"]["high"]
        rates = precision_recall(distances, same, [row["threshold"]]).iloc[0]
        assert [rates.precision, rates.recall, rates.f1] == pytest.approx(
            [row["precision"], row["recall"], row["f1"]], abs=5e-3
        )


def test_every_study_reports_every_twin_and_both_baselines():
    assert len(STUDY_RESULTS) == len(STUDIES) == 3
    for name in STUDIES:
        histories = {twin: RESULTS / f"siamese_{name}_{twin.replace(' ', '_')}_history.csv" for twin in VARIANTS}
        methods = json.loads((RESULTS / f"siamese_{name}.json").read_text())["methods"]
        assert set(methods) == {"pixels", "whitened PCA", *FACENETS.values(), *(f"twin, {twin}" for twin in VARIANTS)}
        for twin, history in histories.items():
            row = methods[f"twin, {twin}"]
            assert row["epochs"] == len(pd.read_csv(history)) and row["waiting"] < 0.05


def test_compact_twin_beats_the_baselines_beyond_the_intervals():
    methods = json.loads((RESULTS / "siamese_celeba_people.json").read_text())["methods"]
    compact = methods["twin, compact"]["accuracy"]
    for baseline in ("pixels", "whitened PCA"):
        assert compact["low"] > methods[baseline]["accuracy"]["high"]


def test_shipped_twin_is_the_scored_one():
    card = json.loads((ROOT / "weights/siamese/siamese.json").read_text())
    row = json.loads((RESULTS / f"siamese_{card['trained_on']}.json").read_text())["methods"]["twin, compact"]
    assert load_siamese(COMPACT)[1] == pytest.approx(1 - row["threshold"], abs=1e-4)
    plan = vars(plan_for(STUDIES[card["trained_on"]], "compact"))
    assert card["plan"] == row["plan"] == {**plan, "precision": row["plan"]["precision"]}
    assert digest_of(load_siamese(COMPACT)[0]) == row["weights"]


def test_model_card_quotes_the_measured_accuracy():
    methods = json.loads((RESULTS / "siamese_celeba_people.json").read_text())["methods"]
    assert quoted_accuracies(ROOT / "weights/siamese/MODEL_CARD.md", methods) == 5


def test_one_person_results_add_up():
    job = json.loads((RESULTS / "siamese_one_person.json").read_text())
    each = pd.DataFrame(job["each"])
    assert job["people"] == each.person.nunique() >= 10
    for method, part in each.groupby("method"):
        row = job["methods"][method]
        assert row["true_accepts"]["value"] == pytest.approx(part.true_accepts.mean())
        assert row["false_accepts"] == pytest.approx(part.false_accepts.mean())
        assert row["true_accepts"]["low"] <= row["true_accepts"]["value"] <= row["true_accepts"]["high"]


# ------------------------------------------------------------------------------------------------ the whole way
def test_own_command_saves_a_verifier_with_its_known_pictures(tmp_path, monkeypatch, capsys):
    people = find_people("datasets/people.zip")
    monkeypatch.setattr(
        train_siamese, "find_people", lambda source: people if "zip" in str(source) else find_people(source)
    )
    for picture in people.picture[people.identity == "p100"]:
        (tmp_path / "faces" / "me").mkdir(parents=True, exist_ok=True)
        save_picture(tmp_path / "faces" / "me" / Path(picture).name, load_image(picture))
    people = people[people.identity < "p020"].reset_index(drop=True)
    monkeypatch.setitem(STUDIES, "people", STUDIES["people"]._replace(shares=(8, 6, 6)))
    train_siamese.main(["own", str(tmp_path / "faces" / "me"), "--to", str(tmp_path / "mine")])
    out = capsys.readouterr().out
    assert "of 3 later pictures that are not among the 5 known ones" in out and "of 6 strangers" in out
    model, threshold = load_siamese(tmp_path / "mine")
    assert f"its threshold is {threshold:.2f}" in out and f'load_siamese("{tmp_path / "mine"}")' in out
    known = tmp_path / "faces" / "me" / "0.jpg"  # the first of the person's pictures, by its number
    np.testing.assert_array_equal(model.known[0], resize_face(load_image(known), model.input_shape[0][1]))
    with pytest.raises(BadArgument, match="it holds pictures directly: give the folder above"):
        find_people(tmp_path / "faces" / "me")


def test_small_study_runs_from_pairs_to_a_shipped_twin(tmp_path, monkeypatch, capsys):
    small = STUDIES["people"]._replace(shares=(16, 6, 6), pairs=(64, 40, 60), large=1, compact=4)
    monkeypatch.setitem(STUDIES, "people", small)
    monkeypatch.setitem(VARIANTS, "compact", SMALL_TWIN)
    for name, place in (("RESULTS", tmp_path), ("LISTS", tmp_path / "pairs"), ("COMPACT", tmp_path / "weights")):
        monkeypatch.setattr(train_siamese, name, place)
    monkeypatch.setattr(train_siamese, "folder_of", lambda name, variant: tmp_path / name / variant)
    monkeypatch.setattr(train_siamese, "FACENETS", {})
    plan, few = plan_for(small, "compact"), VARIANTS["compact"].blocks[:2]
    monkeypatch.setitem(VARIANTS, "compact", VARIANTS["compact"]._replace(blocks=few))
    monkeypatch.setattr(train_siamese, "plan_for", lambda study, variant: replace(plan, side=32, patience=4))
    people = find_people("datasets/people.zip")
    people = people[people.identity < "p028"].reset_index(drop=True)
    monkeypatch.setattr(train_siamese, "find_people", lambda source, min_pictures: people)
    monkeypatch.setattr(train_siamese, "fit_whitened_pca", lambda faces: pixel_baseline())
    monkeypatch.setattr(train_siamese, "split", functools.cache(train_siamese.split))
    monkeypatch.setattr(train_siamese, "bootstrap_accuracy", functools.partial(bootstrap_accuracy, samples=10))
    for command in (["pairs", "people"], ["train", "people", "compact"], ["score", "people"], ["ship", "people"]):
        train_siamese.main(command)
    assert "twin, compact" in capsys.readouterr().out
    result = json.loads((tmp_path / "siamese_people.json").read_text())
    assert set(result["methods"]) == {"pixels", "whitened PCA", "twin, compact"}
    assert result["people"] == {"validation": 6, "test": 6} and result["methods"]["twin, compact"]["epochs"] == 4
    model, threshold = load_siamese(tmp_path / "weights")
    assert isinstance(model, keras.Model) and 0 < threshold < 1
    assert Path(tmp_path / "siamese_people_compact_history.csv").is_file()
    assert np.isfinite(pd.read_csv(tmp_path / "siamese_people_pairs.csv")["twin, compact"]).all()


def test_all_does_every_step_for_every_study_in_order(tmp_path, monkeypatch):
    done = []

    def note(step):
        def work(*args, **kwargs):
            done.append((step, *map(str, args), *map(str, kwargs.values())))
            return pd.DataFrame(columns=["dropped", "threshold", "auc", "f1", "validation_accuracy"])

        return work

    for step in ("preprocess", "train_one", "score", "ship"):
        monkeypatch.setattr(train_siamese, step, note(step))
    monkeypatch.setattr(train_siamese, "one_person", lambda: done.append(("one_person",)) or {"methods": {}})
    train_siamese.main(["all", str(tmp_path), "--precision", "mixed_bfloat16"])
    real = ["celeba_people", "att_faces"]
    expected = [("preprocess", str(tmp_path / name), str(ROOT / "datasets" / name)) for name in real]
    for name in [*real, "people"]:
        twins = ("compact", "small windows", "large windows")
        expected += [("train_one", name, twin, "mixed_bfloat16") for twin in twins] + [("score", name)]
    assert done == [*expected, ("ship", "celeba_people"), ("one_person",)]
