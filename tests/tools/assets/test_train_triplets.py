"""The study of triplets: lists that keep people apart, fair comparisons, results that agree with the distances."""

import functools
import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from facerec._files import ROOT
from facerec.errors import BadArgument
from facerec.evaluation import accuracy
from facerec.learning import triplet_training
from facerec.learning.baselines import pixel_baseline
from facerec.learning.checkpoints import digest_of
from facerec.learning.triplet_training import ENCODERS, TripletPlan
from facerec.networks import load_facenet
from tests.facerec.learning.toys import small_encoder
from tests.tools.assets.cards import quoted_accuracies
from tests.tools.assets.toy_study import prepare_study
from tools.assets import train_siamese, train_triplets
from tools.assets.train_siamese import FACENETS, LISTS, RESULTS, read_list, train_people
from tools.assets.train_triplets import LISTS_OF_PHOTOS, RUNS, PhotoSet, between, main, note_history, people_of

pytestmark = pytest.mark.usefixtures("eagerly")

BASELINES = {"pixels", "whitened PCA", "gradients"}


@pytest.fixture(scope="module")
def methods() -> dict:
    """What was measured of every method."""
    return json.loads((RESULTS / "triplets.json").read_text(encoding="utf-8"))["methods"]


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    """The curves of all runs."""
    return pd.read_csv(RESULTS / "triplets_history.csv")


# --------------------------------------------------------------------------------------------------- lists
@pytest.mark.parametrize(("label", "count"), LISTS_OF_PHOTOS.items())
def test_people_of_the_test_photos_are_in_no_other_list(label, count):
    pairs = pd.read_csv(LISTS / f"celeba_photos_{label}.csv")
    who = pairs.map(lambda picture: Path(picture).parts[0])
    others = [read_list("celeba_people", part) for part in ("train", "validation")]
    learned = {name for table in others for name in (*table.identity_1, *table.identity_2)}
    assert len(learned) == 123 + 41 and not learned & {*who.picture_1, *who.picture_2}
    assert len({frozenset(pair) for pair in pairs.to_numpy()}) == len(pairs) == count
    assert (who.picture_1 == who.picture_2).sum() == count // 2


# ------------------------------------------------------------------------------------------------- results
def test_every_run_has_a_curve_and_a_score(methods, history):
    assert set(history.run) == set(RUNS) and set(methods) == {*BASELINES, *FACENETS.values(), *RUNS}
    for _, part in history.groupby("run"):
        assert part.epoch.tolist() == list(range(1, len(part) + 1))


@pytest.mark.parametrize(
    ("compares", "may_differ"),
    [("mining", {"mining", "seed"}), ("number of people", {"epochs"}), ("optimizer", {"optimizer", "rate"})],
)
def test_compared_runs_differ_in_the_compared_entry_only_and_have_equal_steps(methods, history, compares, may_differ):
    plans = {name: methods[name]["trained"] for name, chosen in RUNS.items() if chosen.compares in (compares, "mining")}
    plans = {name: row for name, row in plans.items() if RUNS[name].compares == compares or name == "random_0"}
    base = plans["random_0"]["plan"]
    assert len(plans) >= 3
    for name, row in plans.items():
        assert {key for key, value in row["plan"].items() if value != base[key]} <= may_differ, name
        assert row["scored_epoch"] == row["epochs"] == row["plan"]["epochs"] == (history.run == name).sum()
        people = RUNS[name].people or 123
        steps = row["epochs"] * (2438 * people // 123 // 32)  # nearly: not everyone has as many pictures
        assert steps == pytest.approx(10 * (2438 // 32), rel=0.06), name


def test_minings_with_all_people_differ_in_mining_and_seed_only_and_have_equal_steps(methods, history):
    runs = {name: chosen for name, chosen in RUNS.items() if chosen.compares == "mining, many people"}
    assert {(chosen.plan.mining, chosen.plan.seed) for chosen in runs.values()} == {
        (mining, seed) for mining in ("random", "semi-hard", "all") for seed in range(3)
    }
    first = methods["many_random_0"]["trained"]
    for name, chosen in runs.items():
        row, own = methods[name]["trained"], {"mining": chosen.plan.mining, "seed": chosen.plan.seed}
        assert row["plan"] == first["plan"] | own and row["people"] == first["people"] > 2800
        assert row["scored_epoch"] == row["epochs"] == row["plan"]["epochs"] == (history.run == name).sum()


def test_each_lever_differs_from_an_earlier_one_in_one_thing_and_has_as_many_steps(methods):
    runs = [RUNS[name] for name in RUNS if RUNS[name].compares == "lever"]
    assert {run.steps for run in runs} == {1200}
    for number, after in enumerate(runs[1:], 1):
        entries = asdict(after.plan) | {"more": after.more}
        earlier = [asdict(before.plan) | {"more": before.more} for before in runs[:number]]
        assert min(sum(entries[key] != before[key] for key in entries) for before in earlier) == 1
    for name in (name for name in RUNS if RUNS[name].compares == "lever"):
        trained, pictures = methods[name]["trained"], 9551 if RUNS[name].more else 2438
        assert trained["epochs"] * (pictures // 128) == pytest.approx(1200, rel=0.04)


def test_second_phase_and_its_control_differ_in_mining_only(methods):
    one, other = (methods[name]["trained"]["plan"] for name in ("phase_two", "phase_two_random"))
    assert {key for key in one if one[key] != other[key]} == {"mining"}


def test_reported_rates_agree_with_the_distances(methods):
    table = pd.read_csv(RESULTS / "triplets_pairs.csv")
    pd.testing.assert_frame_equal(table[["picture_1", "picture_2"]], pd.read_csv(LISTS / "celeba_photos_pairs.csv"))
    same = table.picture_1.map(lambda p: Path(p).parts[0]) == table.picture_2.map(lambda p: Path(p).parts[0])
    assert (same == table.same).all() and table["long_all"].isna().any()  # photos without a face are in it
    for method, row in methods.items():
        right = accuracy(table[method], same, row["threshold"], missing="mistakes")
        assert right == pytest.approx(row["accuracy"]["value"], abs=2e-3)
        assert row["accuracy"]["low"] < row["accuracy"]["value"] < row["accuracy"]["high"]
        counts = pd.DataFrame(row["confusion"]).to_numpy()
        assert counts.sum() == 2000 and counts.sum() - np.trace(counts) == pytest.approx(
            2000 * (1 - row["accuracy"]["value"]), abs=1e-6
        )
        apart = table[method].where(table[method].notna(), np.where(same, 9, -9))  # without a face: wrong, either way
        assert row["auc"] == pytest.approx(
            roc_auc_score(same, -apart), abs=0.03
        )  # of 335,790 pairs there, of 2,000 here


def test_long_run_beats_the_baselines_beyond_the_intervals(methods):
    for baseline in ("pixels", "whitened PCA"):  # the gradients are another matter
        assert methods["long_all"]["accuracy"]["low"] > methods[baseline]["accuracy"]["high"]


def test_shipped_network_is_the_scored_one(methods):
    model = load_facenet(train_triplets.SHIPPED)
    name = model.facenet.calibration["run"]
    assert digest_of(model) == methods[name]["weights"]
    assert model.facenet.threshold == pytest.approx(methods[name]["threshold"], abs=1e-4)
    size = sum(file.stat().st_size for file in (ROOT / train_triplets.SHIPPED).iterdir())
    assert size < 25e6


def test_model_card_quotes_the_measured_accuracy(methods):
    assert quoted_accuracies(ROOT / train_triplets.SHIPPED / "MODEL_CARD.md", methods) == 16


def test_fine_tuning_results_cover_twenty_people_before_and_after():
    tuned = json.loads((RESULTS / "triplets_fine_tuned.json").read_text())
    assert tuned["people"] == 20 and tuned["pictures"][0] == 10
    assert set(tuned["networks"]) == {*FACENETS.values(), "long_all"}
    for row in tuned["networks"].values():
        gain = row["after"]["accuracy"]["value"] - row["before"]["accuracy"]["value"]
        assert row["gain"]["value"] == pytest.approx(gain) and row["gain"]["low"] <= gain <= row["gain"]["high"]
        for when in ("before", "after"):
            accuracy_ = row[when]["accuracy"]
            assert 0.5 < accuracy_["low"] < accuracy_["value"] < accuracy_["high"] <= 1


# ------------------------------------------------------------------------------------------------ the whole way
def test_note_history_replaces_one_run_and_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(train_triplets, "RESULTS", tmp_path)
    row = pd.DataFrame({"epoch": [1], "loss": [0.2]})
    note_history("phase_two", row)
    note_history("random_0", row)
    note_history("phase_two", row.assign(loss=0.1))
    table = pd.read_csv(tmp_path / "triplets_history.csv")
    assert table.to_numpy().tolist() == [["random_0", 1, 0.2], ["phase_two", 1, 0.1]]  # in the order of RUNS


@pytest.fixture
def small_study(tmp_path, monkeypatch):
    """28 people of six pictures, one of which shows no face, and short runs: with fewer people, and with two more."""
    study, test_person = prepare_study(tmp_path, "p028", (16, 6, 6), (60, 60, 60), monkeypatch)
    study = study._replace(more=str(tmp_path / "more"))
    with zipfile.ZipFile("datasets/people.zip") as people:
        people.extractall(tmp_path / "more", [name for name in people.namelist() if "p030" <= name < "p032"])
    monkeypatch.setattr(triplet_training, "FILTERS", (8, 16))  # two convolutions, not five
    tiny = TripletPlan(side=32, epochs=1, batch=24, rate=1e-3)
    semi_hard = replace(tiny, mining="semi-hard")
    runs = {
        "people_20": RUNS["people_20"]._replace(plan=tiny, people=8, steps=4),
        "long_all": RUNS["long_all"]._replace(plan=replace(tiny, mining="all")),
        "phase_one": RUNS["phase_one"]._replace(plan=tiny),
        "phase_two": RUNS["phase_two"]._replace(plan=semi_hard),
    }
    monkeypatch.setattr(train_triplets, "RUNS", runs)
    monkeypatch.setitem(ENCODERS, "five convolutions", (small_encoder, 32))
    monkeypatch.setattr(train_triplets, "STUDIES", {"celeba_people": study})
    monkeypatch.setattr(train_triplets, "RESULTS", tmp_path)
    monkeypatch.setattr(train_triplets, "SHIPPED", tmp_path / "weights")
    monkeypatch.setattr(train_triplets, "FACENETS", {})
    short = replace(tiny, mining="semi-hard", batch=16, rate=1e-4, frozen=0.8)
    monkeypatch.setattr(train_triplets, "fine_tune", functools.partial(train_triplets.fine_tune, plan=short))
    for module in (train_siamese, train_triplets):
        monkeypatch.setattr(module, "split", functools.cache(module.split))
    for name in ("bootstrap_accuracy", "bootstrap_gain"):
        monkeypatch.setattr(train_triplets, name, functools.partial(getattr(train_triplets, name), samples=10))
    monkeypatch.setattr(train_triplets, "PEOPLE", 4)
    monkeypatch.setattr(train_triplets, "PICTURES", (4, 2))
    monkeypatch.setattr(train_triplets, "PAIRS", 8)
    monkeypatch.setattr(train_triplets, "LISTS_OF_PHOTOS", {"pairs": 60, "protocol": 20})
    monkeypatch.setattr(train_triplets, "folder_of", lambda name: tmp_path / "checkpoints" / name)
    monkeypatch.setattr(train_triplets, "fit_whitened_pca", lambda faces: pixel_baseline())
    monkeypatch.setattr(train_triplets, "fit_gradients", lambda faces, who: pixel_baseline())
    return tmp_path, test_person


def test_small_study_runs_from_pairs_to_a_shipped_network(small_study, capsys):
    folder, test_person = small_study
    main(["pairs"])
    assert "6 people, 36 photos, 1 of them without a detected face" in capsys.readouterr().out
    with pytest.raises(BadArgument, match="python tools/assets/train_triplets.py train phase_one"):
        main(["train", "phase_two"])
    main(["train", "all"])
    for command in ("score", "ship", "fine-tune"):
        main([command])
    result = json.loads((folder / "triplets.json").read_text())
    assert (result["people"], result["photos"], result["without_a_face"]) == (6, 36, 1)
    assert set(result["methods"]) == {*BASELINES, *train_triplets.RUNS}
    history = pd.read_csv(folder / "triplets_history.csv")
    assert history.groupby("run").size().to_dict() == {"people_20": 2, "long_all": 1, "phase_one": 1, "phase_two": 1}
    model = load_facenet(folder / "weights")
    assert digest_of(model) == result["methods"][model.facenet.calibration["run"]]["weights"]
    assert set(result["gains"]) == {"whitened PCA → long_all", "gradients → long_all", "phase_one → long_all"}
    tuned = json.loads((folder / "triplets_fine_tuned.json").read_text())
    assert tuned["people"] == 4 and 0 < tuned["networks"]["long_all"]["after"]["accuracy"]["value"] <= 1
    table = pd.read_csv(folder / "triplets_pairs.csv")
    assert table.long_all.isna().sum() == (table[["picture_1", "picture_2"]] == f"{test_person}/0.jpg").sum().sum()


def test_further_people_are_learned_from_unless_they_are_in_the_study(small_study):
    learned = people_of(train_triplets.RUNS["long_all"])
    assert learned.identity.nunique() == 16 + 2 and len(learned) == 16 * 6 + 2 * 8
    study = train_triplets.STUDIES["celeba_people"]._replace(more="datasets/people.zip")
    with pytest.raises(BadArgument, match="p000"):
        train_people(study)


def test_photo_without_a_face_makes_each_of_its_pairs_a_mistake(small_study):
    main(["pairs"])
    photos = PhotoSet(train_triplets.test_photos())
    encodings = photos.encode(pixel_baseline())
    (lost,) = np.flatnonzero(photos.photos.face == "")
    assert np.isnan(encodings[lost]).all() and np.isfinite(np.delete(encodings, lost, axis=0)).all()
    rows, same = photos.all_pairs()
    distances = between(encodings, rows, batch=100)
    assert len(rows) == 36 * 35 // 2 and np.isnan(distances).sum() == 35
    right = (same.sum() - 5) / len(same)  # every distance is below 10: all seen pairs are accepted
    assert accuracy(distances, same, 10.0, missing="mistakes") == pytest.approx(right)


def test_all_does_every_step_in_order(tmp_path, monkeypatch):
    done = []

    def note(step, result=None):
        return lambda *args: done.append((step, *map(str, args))) or result

    table = pd.DataFrame(columns=["threshold", "auc", "validation_accuracy"])
    for step, result in (("preprocess_photos", None), ("train_one", table), ("score", table), ("ship", None)):
        monkeypatch.setattr(train_triplets, step, note(step, result))
    monkeypatch.setattr(train_triplets, "fine_tuned", note("fine_tuned", {"networks": {}}))
    main(["all", str(tmp_path)])
    runs = [("train_one", name, "float32") for name in RUNS]
    assert done == [("preprocess_photos", str(tmp_path)), *runs, ("score",), ("ship",), ("fine_tuned",)]
