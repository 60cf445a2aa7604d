"""The steps from a photo to an encoding: each does what its row says, is judged by held-out people, gains in pairs."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from facerec import evaluation
from facerec._files import ROOT
from facerec.detection import KEYPOINTS, TEMPLATE, align_face, detect_faces
from facerec.encoding import faces_to_encodings
from facerec.evaluation.rates import FEWEST_CASES
from tools.assets import calibrate
from tools.measure import steps
from tools.measure.steps import (
    FAR,
    FOUR,
    KEPT,
    MIRRORED,
    STEPS,
    Crop,
    HeldOut,
    Rates,
    Step,
    combine,
    cut,
    hold_out,
    look,
    measure,
    points_found_twice,
)

CROPS = {crop for step in STEPS for crop in step.crops}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Smooth light and shade, (200, 240, 3): no two places alike, and nothing finer than a few pixels."""
    y, x = np.mgrid[:200, :240]
    waves = [np.sin(x / 17) + np.cos(y / 23), np.sin((x + y) / 29), np.cos(x / 31) * np.sin(y / 19)]
    return np.stack([127 + 60 * wave for wave in waves], axis=-1).round().astype(np.uint8)


def points(scale: float = 100, x: float = 60, y: float = 40, lean: float = 0.1) -> dict[str, tuple[float, float]]:
    """The five points of a face somewhere in a photo, leaning to one side."""
    return {name: (scale * (u + lean * v) + x, scale * (v - lean * u) + y) for name, (u, v) in TEMPLATE.items()}


def same_place(face: dict, other: dict) -> None:
    """Do the same points lie in the same places?"""
    assert face.keys() == other.keys()
    np.testing.assert_allclose([face[name] for name in other], list(other.values()), atol=1e-9)


# -------------------------------------------------------------------------------------------------- cutting
def test_plain_crop_equals_align_face(photo):
    same_place(Crop().template(), TEMPLATE)
    for scale in (40, 100, 400):  # enlarged, about as it is, and averaged first
        np.testing.assert_array_equal(cut(photo, points(scale), Crop(), 64), align_face(photo, points(scale), 64))


def test_larger_template_scales_the_points_about_the_middle():
    for name, (x, y) in Crop(scale=1.1).template().items():
        middle = np.array([0.5, 0.5])
        np.testing.assert_allclose((x, y) - middle, 1.1 * (np.array(TEMPLATE[name]) - middle))


def test_up_moves_the_points_and_the_face(photo):
    """A tenth of 50 pixels: what was in row 5 is in row 0 then."""
    for name, (x, y) in Crop(up=0.1).template().items():
        assert (x, y) == pytest.approx((TEMPLATE[name][0], TEMPLATE[name][1] - 0.1))
    plain, up = (cut(photo, points(), crop, 50).astype(int) for crop in (Crop(), Crop(up=0.1)))
    assert np.abs(up[:-5] - plain[5:]).max() <= 2 < np.abs(up - plain).max()


def test_larger_template_shows_less_around_the_face(photo):
    """Of a 150-pixel crop 10 % larger, each tenth pixel from the middle is what lay 10/1.1 pixels from it before."""
    plain, large = (cut(photo, points(), Crop(scale=scale), 120).astype(float) for scale in (1, 1.2))
    np.testing.assert_allclose(large[60, 60 + 48], plain[60, 60 + 40], atol=8)
    np.testing.assert_allclose(large[60 - 48, 60], plain[60 - 40, 60], atol=8)
    assert np.abs(large[60, 60 + 48] - plain[60, 60 + 48]).max() > 10


def test_cut_ignores_points_left_out(photo):
    elsewhere = points() | {"nose": (0.0, 0.0)}
    crop = Crop(points=FOUR)
    np.testing.assert_array_equal(cut(photo, elsewhere, crop, 50), cut(photo, points(), crop, 50))
    four = {name: TEMPLATE[name] for name in FOUR}
    np.testing.assert_array_equal(cut(photo, elsewhere, crop, 50), align_face(photo, points(), 50, four))
    assert not np.array_equal(cut(photo, elsewhere, Crop(), 50), cut(photo, points(), Crop(), 50))


@pytest.mark.parametrize("interpolation", ["LINEAR", "CUBIC", "LANCZOS4"])
def test_interpolations_agree_at_whole_pixels_and_differ_between(photo, interpolation):
    crop = Crop(interpolation=interpolation)
    there = {name: (80 * x + 30, 80 * y + 20) for name, (x, y) in TEMPLATE.items()}
    assert np.abs(cut(photo, there, crop, 80).astype(int) - photo[20:100, 30:110]).max() <= 1
    between, linear = (cut(photo, points(50), way, 120).astype(int) for way in (crop, Crop()))
    assert np.abs(between - linear).max() <= 12 and np.array_equal(between, linear) == (interpolation == "LINEAR")


# ----------------------------------------------------------------------------------------------- encoding
def test_look_encodes_faces_and_mirror_images_once(photo, small_network, tmp_path):
    faces = np.stack([align_face(photo, points(scale), 8) for scale in (50, 80)])
    expected = [faces_to_encodings(faces, small_network), faces_to_encodings(faces[:, :, ::-1], small_network)]
    cache = tmp_path / "plain.npy"
    both = look([photo, photo], [points(50), points(80)], Crop(), small_network, cache)
    np.testing.assert_array_equal(both, expected)
    assert not np.allclose(both[0], both[1])
    np.testing.assert_array_equal(look([], [], Crop(), None, cache), expected)  # read, not encoded again


def test_crops_have_different_caches():
    assert len(CROPS) > 10 and len({steps._file_name(crop) for crop in CROPS}) == len(CROPS)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("unit_first", [False, True])
def test_combine_equals_numpy(mirrored, unit_first):
    one, other = np.random.default_rng(0).normal(size=(2, 2, 5, 4)).astype(np.float32)  # (2, m, D) per crop
    expected = []
    for m in range(5):
        seen = [one[0, m], one[1, m], other[0, m], other[1, m]] if mirrored else [one[0, m], other[0, m]]
        mean = sum(seen) / len(seen)
        expected.append(mean / (mean @ mean) ** 0.5 if unit_first else mean)
    step = Step("a step", (Crop(), Crop(scale=1.1)), mirrored=mirrored, unit_first=unit_first)
    np.testing.assert_allclose(combine([one, other], step), expected, rtol=1e-5)


# ------------------------------------------------------------------------------------------- points again
def mirrored_face(face: dict, width: int) -> dict:
    """What a detector says of the mirrored photo, if it makes no mistake."""
    return {"keypoints": {MIRRORED[name]: (width - 1 - x, y) for name, (x, y) in face.items()}}


def test_middle_maps_mirrored_points_back():
    assert {MIRRORED[MIRRORED[name]] for name in KEYPOINTS} == set(KEYPOINTS) and MIRRORED["nose"] == "nose"
    same_place(steps._middle(points(), [mirrored_face(points(), 240)], 240), points())
    off = points(x=64)  # seen four pixels farther right: the middle is two farther right
    same_place(steps._middle(points(), [mirrored_face(off, 240)], 240), points(x=62))


def test_middle_ignores_other_faces():
    other = mirrored_face(points(x=130), 240)
    for faces in ([], [other]):
        same_place(steps._middle(points(), faces, 240), points())
    near = mirrored_face(points(x=62), 240)
    same_place(steps._middle(points(), [other, near], 240), points(x=61))
    same_place(steps._middle(points(), [near, mirrored_face(points(x=70), 240)], 240), points(x=61))  # the larger one


def test_points_found_twice_belong_to_their_photo(photos):
    """More photos than go through the detector at once; in the last one there is no face to find again."""
    shown = [photos["lena"]] * 31 + [photos["mei"], photos["kofi"], np.full((90, 90, 3), 128, np.uint8)]
    once = [detect_faces(photo)[0]["keypoints"] for photo in (photos["lena"], photos["mei"], photos["kofi"])]
    twice = points_found_twice(shown, [*[once[0]] * 31, once[1], once[2], points()])
    assert len(twice) == 34
    same_place(twice[33], points())
    for i, first in ((0, once[0]), (31, once[1]), (32, once[2])):
        found, photo = twice[i], shown[i]
        again = mirrored_face(detect_faces(np.ascontiguousarray(photo[:, ::-1]))[0]["keypoints"], photo.shape[1])
        for name in KEYPOINTS:
            np.testing.assert_allclose(found[name], np.add(first[name], again["keypoints"][name]) / 2, atol=0.1)
            assert np.hypot(*np.subtract(found[name], first[name])) < 0.1 * photo.shape[1]
    assert twice[0] != once[0]


# --------------------------------------------------------------------------------------------------- held out
def cone(seed: int, people: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw encodings that share a common part, who they show (one to three pictures each), and same pairs' rows."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), np.arange(people) % 3 + 1)
    own, noise = rng.normal(size=(people, 32)) * 0.09, rng.normal(size=(len(who), 32)) * 0.05
    same_pairs = [(i, j) for i, j in combinations(range(len(who)), 2) if who[i] == who[j]]
    return 0.23 + own[who] + noise, who, np.array(same_pairs)


def test_hold_out_never_fits_on_scored_people(monkeypatch):
    raw, who, same_pairs = cone(1, people=23)
    fitted = []

    def spying_fit(x, people, pairs):
        assert (people[pairs[:, 0]] == people[pairs[:, 1]]).all()
        assert len(pairs) == np.isin(who[same_pairs[:, 0]], people).sum()  # each pair of these people, none of others
        fitted.append((set(people.tolist()), x.mean(axis=0)))
        return x.mean(axis=0), 0.5

    monkeypatch.setattr(steps, "fit", spying_fit)
    held = hold_out(raw, who, same_pairs)
    expected = {}
    for known, mean in fitted:
        out = [i for i in range(len(who)) if who[i] not in known]
        for i, j in combinations(out, 2):
            a, b = (calibrate.centre(raw[[row]], mean, 0.5)[0] for row in (i, j))
            expected.setdefault((who[i], who[j]), []).append(float(np.linalg.norm(a - b)))
    assert len(fitted) == steps.FOLDS == 5
    assert sorted(person for known, _ in fitted for person in range(23) if person not in known) == list(range(23))
    measured = {}
    for distance, first, second in zip(held.distances, held.first, held.second, strict=True):
        measured.setdefault((first, second), []).append(distance)
    assert set(measured) == set(expected) and len(held.distances) == sum(map(len, expected.values()))
    for key, distances in expected.items():
        assert sorted(measured[key]) == pytest.approx(sorted(distances), abs=1e-6)
    np.testing.assert_array_equal(held.same, held.first == held.second)
    assert held.same.sum() == len(same_pairs)  # each same pair lies within a fold


def test_hold_out_distances_cross_at_the_fitted_threshold(monkeypatch):
    monkeypatch.setattr(calibrate, "DIFFERENT_PAIRS", 4_000)
    held = hold_out(*cone(2, people=150))
    threshold, rate = evaluation.equal_error(held.distances, held.same)
    assert threshold == pytest.approx(0.7, abs=0.04) and 0 < rate < 0.1


# ------------------------------------------------------------------------------------------------------ rates
def invented(seed: int, people: int = 160, gap: float = 0.4) -> HeldOut:
    """All pairs of people, and two same pairs for each: distances without ties."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(people, 1)
    first, second = (np.concatenate([np.tile(np.arange(people), 2), who]) for who in (i, j))
    distances = np.where(first == second, 0.6, 0.6 + gap) + 0.12 * rng.normal(size=len(first))
    return HeldOut(distances, first, second)


@pytest.mark.parametrize("seed", range(3))
def test_rates_equal_the_evaluation_functions(seed):
    held = invented(seed)
    error, accepts = Rates(held).at(np.ones(160))
    assert (~held.same).sum() * FAR > FEWEST_CASES
    assert error == pytest.approx(evaluation.equal_error(held.distances, held.same)[1])
    assert accepts == pytest.approx(evaluation.true_accepts_at(held.distances, held.same, FAR))


@pytest.mark.parametrize("seed", range(3))
def test_rates_with_weights_equal_repeated_pairs(seed):
    """Same pairs as often as their person, different ones as often as the product of their two."""
    held = invented(seed)
    count = np.random.default_rng(seed).multinomial(160, np.full(160, 1 / 160))
    often = np.where(held.same, count[held.first], count[held.first] * count[held.second])
    distances, same = np.repeat(held.distances, often), np.repeat(held.same, often)
    assert 0 in count and count.max() > 2
    error, accepts = Rates(held).at(count.astype(float))
    assert error == pytest.approx(evaluation.equal_error(distances, same)[1])
    assert accepts == pytest.approx(evaluation.true_accepts_at(distances, same, FAR))


def test_no_true_accepts_if_the_nearest_pair_is_different():
    held = HeldOut(np.array([0.1, 0.2, 0.3, 0.9]), np.array([0, 1, 0, 1]), np.array([1, 1, 0, 2]))
    assert Rates(held).at(np.ones(3)).tolist() == [0.5, 0.0]


# ------------------------------------------------------------------------------------------------------- gains
def test_equal_steps_gain_exactly_nothing(monkeypatch):
    monkeypatch.setattr(steps, "SAMPLES", 20)
    held = invented(1, people=60)
    rows = measure({step.label: held for step in STEPS[:4]}, 60)
    assert [row["step"] for row in rows] == [step.label for step in STEPS[:4]]
    assert [row["kept"] for row in rows] == [False, False, True, False]
    for row, step in zip(rows, STEPS, strict=False):
        assert row["compared_with"] == (step.compared_with or None)
        interval = row["equal_error_rate"]
        assert interval["low"] < interval["high"]  # people are drawn anew
        gains = [row[key] for key in row if key.endswith("_gain")]
        assert len(gains) == 2 * bool(step.compared_with)
        assert all(gain == {"value": 0, "low": 0, "high": 0} for gain in gains)


def test_gain_of_a_better_step_is_paired_and_positive(monkeypatch):
    """The same people, half of the errors away: the gain is surer than the two rates are."""
    monkeypatch.setattr(steps, "SAMPLES", 40)
    before, far = invented(2, people=60), f"true_accepts_at_{FAR:g}"
    after = HeldOut(np.where(before.same, before.distances - 0.08, before.distances), before.first, before.second)
    first, second = measure({STEPS[0].label: before, STEPS[1].label: after}, 60)
    for name, sign in (("equal_error_rate", -1), (far, 1)):
        gain = second[f"{name}_gain"]
        assert gain["value"] == pytest.approx(sign * (second[name]["value"] - first[name]["value"]))
        assert 0 < gain["low"] <= gain["value"] <= gain["high"]
    gain, rate = second["equal_error_rate_gain"], first["equal_error_rate"]
    assert gain["high"] - gain["low"] < rate["high"] - rate["low"]


def test_each_step_is_compared_with_an_earlier_one():
    labels = [step.label for step in STEPS]
    assert len(set(labels)) == len(labels) and KEPT in labels
    for i, step in enumerate(STEPS):
        assert step.compared_with in labels[:i] if i else not step.compared_with
    assert set(CROPS) >= {Crop()} and all(set(crop.points) <= set(KEYPOINTS) for crop in CROPS)


# --------------------------------------------------------------------------------------- the committed result
@pytest.fixture(scope="module")
def result() -> dict:
    """What was measured on LFW's training people."""
    return json.loads((ROOT / "docs" / "results" / "steps.json").read_text(encoding="utf-8"))


def test_result_has_a_row_per_step(result):
    assert [row["step"] for row in result["steps"]] == [step.label for step in STEPS]
    assert [row["step"] for row in result["steps"] if row["kept"]] == [KEPT]
    assert 0 < result["same_pairs"] < result["different_pairs"] < result["pictures"] ** 2 / 2


def test_result_rates_lie_in_their_intervals_and_gains_are_differences(result):
    by_label = {row["step"]: row for row in result["steps"]}
    for row, step in zip(result["steps"], STEPS, strict=True):
        assert row["compared_with"] == (step.compared_with or None)
        for name, sign in (("equal_error_rate", -1), (f"true_accepts_at_{FAR:g}", 1)):
            assert 0 <= row[name]["low"] <= row[name]["value"] <= row[name]["high"] <= 1
            if step.compared_with:
                gain, other = row[f"{name}_gain"], by_label[step.compared_with]
                assert gain["value"] == pytest.approx(sign * (row[name]["value"] - other[name]["value"]), abs=1e-12)
                assert gain["low"] <= gain["value"] <= gain["high"]


def test_kept_steps_gain_true_accepts_without_losing_equal_errors(result):
    """The rule by which a step is kept, as the tool's docstring says it."""
    kept = [step.label for step in STEPS].index(KEPT)
    for row in result["steps"][1 : kept + 1]:
        assert row[f"true_accepts_at_{FAR:g}_gain"]["low"] > 0, row["step"]
        assert row["equal_error_rate_gain"]["value"] >= 0, row["step"]


def test_cost_of_a_step_is_its_looks_and_its_points(result):
    look_, find = result["milliseconds_of_a_look"], result["milliseconds_to_find_points"]
    for row, step in zip(result["steps"], STEPS, strict=True):
        assert row["looks"] == len(step.crops) * (2 if step.mirrored else 1)
        found = 2 if any(crop.twice for crop in step.crops) else 1
        assert row["milliseconds"] == pytest.approx(row["looks"] * look_ + found * find)


def test_kept_step_equals_the_shipped_network(network):
    """Two looks, their mean, unit length, and only then the centring."""
    kept = next(step for step in STEPS if step.label == KEPT)
    trunk, centred = network.get_layer("trunk"), network.get_layer("centred")
    faces = np.random.default_rng(0).integers(0, 256, (2, *network.input_shape[1:])).astype(np.uint8)
    looks = np.stack([faces_to_encodings(faces, trunk), faces_to_encodings(faces[:, :, ::-1], trunk)])
    x = combine([looks], kept) + np.asarray(centred.bias)
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(faces_to_encodings(faces, network), expected, atol=1e-5)


def test_digest_changes_with_pictures_points_and_weights(small_network):
    """Each has a folder of its own in the cache."""
    points = [{"nose": (1.0, 2.0)}, {"nose": (3.0, 4.0)}]
    digests = {steps._digest(["a", "b"], points, small_network), steps._digest(["a", "c"], points, small_network)}
    digests.add(steps._digest(["a", "b"], points[::-1], small_network))
    assert steps._digest(["a", "b"], points, small_network) in digests
    small_network.set_weights([weight + 1 for weight in small_network.get_weights()])
    digests.add(steps._digest(["a", "b"], points, small_network))
    assert len(digests) == 4
