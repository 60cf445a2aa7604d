"""The calibration on invented people whose encodings lie in a cone, as a real network's do."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from facerec.encoding import faces_to_encodings, photos_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation import equal_error
from facerec.evaluation.lfw import read_pairs
from facerec.networks import confidence, info_of, load_facenet, save_network
from tools.assets import calibrate
from tools.assets.calibrate import PairDistances, centre, cross_validate, fit, mean_of_people, raw_model, same_pairs_of

D = 64


@pytest.fixture(autouse=True)
def fewer_pairs(monkeypatch):
    """So that a fit takes a moment, not seconds."""
    monkeypatch.setattr(calibrate, "DIFFERENT_PAIRS", 6_000)


def cone(seed: int, people: int = 80, photos: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw encodings with a large common part (norm 1.31 of 1.44, as measured), names, and the same pairs' rows."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(42).normal(size=D)
    common *= 1.31 / np.linalg.norm(common)
    own = rng.normal(size=(people, D)) * 0.5 / np.sqrt(D)
    noise = rng.normal(size=(people, photos, D)) * 0.28 / np.sqrt(D)
    raw = (common + own[:, None] + noise).reshape(-1, D)
    names = np.repeat([f"{seed}-{i}" for i in range(people)], photos)
    rows = np.arange(people) * photos
    same_pairs = np.concatenate([np.stack([rows, rows + i], axis=1) for i in range(1, photos)])
    return raw, names, same_pairs


# ---------------------------------------------------------------------------------------------- the pieces
def test_centre_subtracts_and_scales_to_unit_length():
    raw, mean = np.array([[3.0, 4.0], [4.0, 0.0]]), np.array([2.0, 0.0])
    np.testing.assert_allclose(centre(raw, mean, 0), [[0.6, 0.8], [1, 0]])
    np.testing.assert_allclose(centre(raw, mean, 0.5), [[2 / 20**0.5, 4 / 20**0.5], [1, 0]])


def test_mean_of_people_counts_every_person_once():
    raw = np.array([[0.0], [0], [0], [6], [8]])
    people = np.array(["a", "a", "a", "b", "b"])
    assert mean_of_people(raw, people) == pytest.approx([3.5])


def test_pair_distances_label_and_measure_their_pairs():
    raw, people, same_pairs = cone(1, people=10)
    pairs = PairDistances(raw, people, same_pairs)
    first, second = people[pairs.pairs].T
    np.testing.assert_array_equal(first == second, pairs.same)
    np.testing.assert_array_equal(pairs.pairs[: len(same_pairs)], same_pairs)
    mean = raw.mean(axis=0)
    x = centre(raw, mean, 0.3)
    expected = [np.linalg.norm(x[i] - x[j]) for i, j in pairs.pairs[:200]]
    np.testing.assert_allclose(pairs.at(mean, 0.3)[:200], expected)


def test_different_pairs_repeat_under_a_seed():
    given = cone(1, people=10)
    np.testing.assert_array_equal(PairDistances(*given).pairs, PairDistances(*given).pairs)
    assert not np.array_equal(PairDistances(*given, seed=1).pairs[-5:], PairDistances(*given, seed=2).pairs[-5:])


# --------------------------------------------------------------------------------------------------- fitting
def test_equal_error_threshold_grows_with_the_factor():
    """That is what the bisection relies on."""
    given = cone(2)
    pairs, mean = PairDistances(*given), mean_of_people(*given[:2])
    thresholds = [pairs.equal_error_threshold(mean, factor) for factor in (-1, 0, 0.25, 0.5, 0.75, 1)]
    assert thresholds == sorted(thresholds) and thresholds[0] < 0.7 < thresholds[-1]


def test_fit_makes_the_courses_threshold_the_equal_error_threshold():
    given = cone(3)
    mean, factor = fit(*given)
    assert PairDistances(*given).equal_error_threshold(mean, factor) == pytest.approx(0.7, abs=1e-3)
    assert 0.1 < factor < 1


def test_fit_holds_for_new_people():
    """Without it their equal-error threshold is elsewhere; with it, 0.7."""
    mean, factor = fit(*cone(4, people=150))
    others = PairDistances(*cone(5, people=150))
    assert others.equal_error_threshold(mean, factor) == pytest.approx(0.7, abs=0.02)
    assert abs(others.equal_error_threshold(mean, 0) - 0.7) > 0.1


def test_cross_validation_never_measures_people_that_it_was_fitted_on(monkeypatch):
    """Five folds: each person is held out once, and is then in nothing that the fit is given."""
    monkeypatch.setattr(calibrate, "DIFFERENT_PAIRS", 600)
    raw, people, same_pairs = cone(6, people=23)
    fitted, measured = [], []

    class Spy(PairDistances):
        def __init__(self, raw, people, same_pairs, seed=0):
            super().__init__(raw, people, same_pairs, seed)
            measured.append(set(people))
            first, second = people[self.pairs].T
            assert ((first == second) == self.same).all()

    def spying_fit(raw, people, same_pairs):
        fitted.append(set(people))
        assert (people[same_pairs[:, 0]] == people[same_pairs[:, 1]]).all()
        return raw.mean(axis=0), 0.5

    monkeypatch.setattr(calibrate, "PairDistances", Spy)
    monkeypatch.setattr(calibrate, "fit", spying_fit)
    cross_validate(raw, people, same_pairs)
    held_out, learned = measured[0::2], measured[1::2]  # in each fold: who is measured, and whose distances are learned
    assert len(fitted) == len(held_out) == calibrate.FOLDS == 5 and learned == fitted
    for seen, others in zip(fitted, held_out, strict=True):
        assert not seen & others and seen | others == set(people)
    assert sorted(name for others in held_out for name in others) == sorted(set(people))


def test_subset_keeps_the_pairs_of_its_people():
    """People with one, two, three … pictures: the renumbered pairs name the same pictures as before."""
    people = np.repeat(list("abcdef"), range(1, 7))
    raw = np.arange(len(people))[:, None] * 1.0
    same_pairs = np.array([(i, j) for i in range(21) for j in range(i) if people[i] == people[j]])
    keep = np.isin(people, ["b", "d", "f"])
    part, names, pairs = calibrate._subset(raw, people, same_pairs, keep)
    assert set(names) == {"b", "d", "f"} and len(part) == 12
    expected = {(i, j) for i, j in same_pairs.tolist() if people[i] in "bdf"}
    assert {tuple(pair) for pair in part[pairs][..., 0].tolist()} == expected and len(pairs) == len(expected)


def test_cross_validation_reports_what_new_people_would_see():
    given = cone(7, people=150)
    report = cross_validate(*given)
    mean, deviation = report["held_out_equal_error_threshold"]
    assert mean == pytest.approx(0.7, abs=0.03) and 0 < deviation < 0.05
    mean, factor = fit(*given)
    everyone = PairDistances(*given)
    expected = equal_error(everyone.at(mean, factor), everyone.same)[1]
    assert report["held_out_equal_error_rate"] == pytest.approx(expected, abs=0.03)
    plain = equal_error(everyone.at(mean, 0.0), everyone.same)[1]
    assert report["held_out_equal_error_rate_without_centring"] == pytest.approx(plain, abs=0.03)


def test_cross_validation_repeats(monkeypatch):
    monkeypatch.setattr(calibrate, "DIFFERENT_PAIRS", 1000)
    given = cone(7, people=40)
    assert cross_validate(*given) == cross_validate(*given)


def test_same_pairs_leave_out_pictures_without_a_face(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("2\nAda\t1\t2\nBo\t1\t2\nAda\t1\tBo\t3\n")
    rows = {"Ada_0001.jpg": 4, "Ada_0002.jpg": 0, "Bo_0001.jpg": 7}
    assert same_pairs_of(read_pairs(path), rows).tolist() == [[4, 0]]


# ------------------------------------------------------------------------------------------------- a network
@pytest.fixture
def cone_network() -> keras.Model:
    """An untrained network of 8×8 faces with a layer ``centred``, as tools/assets/port_resnet.py builds it."""
    faces = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(faces))
    kernel = np.random.default_rng(0).normal(0.05, 0.1, (192, D))
    bias = np.random.default_rng(1).normal(size=D)
    x = keras.layers.Dense(D, name="centred")(x)
    model = keras.Model(faces, keras.layers.UnitNormalization()(x), name="cone")
    model.get_layer("centred").set_weights([kernel, bias])
    return model


def test_raw_model_is_the_network_before_centring(cone_network, tmp_path):
    save_network(cone_network, tmp_path, name="cone")
    model = load_facenet(tmp_path)
    raw = raw_model(model)
    faces = np.random.default_rng(2).integers(0, 256, (3, 8, 8, 3)).astype(np.float32)
    kernel, bias = model.get_layer("centred").get_weights()
    expected = faces.reshape(3, -1) / 255 @ kernel
    np.testing.assert_allclose(faces_to_encodings(faces, raw), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(model.get_layer("centred").bias, bias)  # the network itself is as before
    assert raw.facenet == model.facenet


def test_shipped_network_is_calibrated(network):
    """What its card says of the calibration fits what its bias holds: a part of one mean, and 0.7."""
    notes, bias = network.facenet.calibration, np.asarray(network.get_layer("centred").bias)
    assert notes["equal_error_threshold"] == pytest.approx(0.7, abs=1e-3)
    assert notes["held_out_equal_error_threshold"][0] == pytest.approx(0.7, abs=0.02)
    assert np.linalg.norm(bias) / notes["factor"] == pytest.approx(0.91, abs=0.05)  # 1.31 of a mean norm of 1.44


@pytest.mark.parametrize("folder", ["weights/resnet", "keras-facenet-h5"])
def test_shipped_networks_have_a_plausible_confidence(folder):
    """At its equal-error threshold the odds are about even, and far from it they are not."""
    info = info_of(load_facenet(folder))
    surely, even, hardly = confidence([0.4, info.threshold, 1.0], load_facenet(folder))
    assert surely > 0.98 and 0.3 < even < 0.75 and hardly < 0.02
    assert confidence(0.7, load_facenet(folder), prior=0.01) < 0.05  # one pair in a hundred: it says less


def test_command_writes_the_calibration_into_the_network(cone_network, tmp_path, monkeypatch, capsys):
    """From pictures of invented people to a network whose equal-error threshold on them is 0.7."""
    rng = np.random.default_rng(3)
    lines, pictures = ["10"], tmp_path / "lfw" / "pictures"
    for i in range(10):
        own = rng.uniform(60, 190, (8, 8, 3))
        (pictures / f"Person_{i}").mkdir(parents=True)
        for j in (1, 2):
            photo = (own + rng.normal(0, 12, own.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(photo).save(pictures / f"Person_{i}" / f"Person_{i}_{j:04d}.jpg", quality=95)
        lines.append(f"Person_{i}\t1\t2")
    lines += [f"Person_{i}\t1\tPerson_{i + 1}\t2" for i in range(9)]
    (tmp_path / "lfw" / "pairsDevTrain.txt").write_text("\n".join(lines) + "\n")
    save_network(cone_network, tmp_path / "network", name="cone")

    def as_they_are(pictures):  # the pictures are aligned faces already: nothing to detect
        points = {name: (8 * x, 8 * y) for name, (x, y) in info_of(cone_network).template.items()}
        return dict.fromkeys(pictures, points)

    monkeypatch.setattr(calibrate, "find_faces", as_they_are)
    command = ["calibrate.py", str(tmp_path / "network"), "--lfw", str(tmp_path / "lfw"), "--name", "cone, centred"]
    monkeypatch.setattr(sys, "argv", command)
    calibrate.main()

    card = json.loads((tmp_path / "network" / "facenet.json").read_text())
    assert card["name"] == "cone, centred" and card["threshold"] == 0.7
    assert card["calibration"]["fitted_on"] == "LFW pairsDevTrain: 10 people, 20 pictures"
    assert "held_out_equal_error_rate: " in capsys.readouterr().out
    model = load_facenet(tmp_path / "network")
    losses = card["calibration"]["held_out_log_loss"]
    assert info_of(model).probability.method == min(losses, key=losses.get) and max(losses.values()) < np.log(2)
    files = sorted(pictures.rglob("*.jpg"))
    encodings, _ = photos_to_encodings(files, model, aligned=True)
    first, second = np.triu_indices(len(files), 1)
    people = np.array([file.parent.name for file in files])
    distances = np.linalg.norm(encodings[first] - encodings[second], axis=1)
    threshold, rate = equal_error(distances, people[first] == people[second])
    assert rate < 0.3 and threshold == pytest.approx(0.7, abs=0.05)


def test_fit_rejects_encodings_without_a_common_part():
    """Without a common part there is nothing to subtract: the fit says so instead of writing its last guess."""
    raw, people, same_pairs = cone(8)
    with pytest.raises(BadArgument, match="no factor from -1 to 1 makes 0.7 the equal-error threshold"):
        fit(raw - raw.mean(axis=0), people, same_pairs)
