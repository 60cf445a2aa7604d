"""A picture's quality: worse pictures score lower, hints name what is wrong, damage is repeatable."""

from __future__ import annotations

import json
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest

from facerec._files import ROOT
from facerec.damage import DAMAGES, damaged
from facerec.detection import TEMPLATE, detect_faces
from facerec.errors import BadArgument
from facerec.quality import COEFFICIENTS, FLAWLESS, TERMS, face_quality

PORTRAITS = ["anna", "diego", "grace", "ines", "jun", "kofi", "lena", "marco", "mei", "nia", "otto", "sami"]
FEW = PORTRAITS[::2]  # for means over many kinds of damage
MOVED = ("tilted", "turned")  # the face lies elsewhere afterwards: it is detected anew


@pytest.fixture(scope="module")
def score_after(photos, detections):
    """The scores of some portraits, damaged in one way at one level."""

    def scores(kind: str, level: float, names: list[str]) -> list[float]:
        return [quality_after(photos[name], detections[name][0], kind, level).score for name in names]

    return scores


def quality_after(photo, detection, kind, level, seed=0):
    worse = damaged(photo, detection["keypoints"], kind, level, seed)
    return face_quality(worse, detect_faces(worse)[0] if kind in MOVED else detection)


def said(quality) -> str:
    return "; ".join(quality.hints)


# ------------------------------------------------------------------------------------------------ the score
def test_good_portraits_score_high_without_hints(photos, detections):
    for name in PORTRAITS:
        quality = face_quality(photos[name], detections[name][0])
        assert quality.score > 0.94, name
        assert quality.is_good and quality.hints == (), (name, quality.hints)


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind not in MOVED])
def test_score_falls_with_damage(kind, score_after):
    """On average over the portraits; the mildest level of two kinds does a network no harm, and costs nothing."""
    mild = kind in ("darker", "half covered")
    means = [np.mean(score_after(kind, level, PORTRAITS if mild else FEW)) for level in DAMAGES[kind].levels]
    if mild:
        assert abs(means[1] - means[0]) < 0.01
        del means[1]
    assert (np.diff(means) < 0).all(), dict(zip(DAMAGES[kind].levels, np.round(means, 3), strict=False))
    assert means[0] - means[-1] > 0.08


@pytest.mark.parametrize("kind", MOVED)
def test_score_falls_with_tilt_and_turn(kind, score_after):
    before, middle, worst = (np.mean(score_after(kind, level, PORTRAITS)) for level in DAMAGES[kind].levels[::2])
    assert before > middle > worst
    assert before - worst > 0.02  # not much: the network copes with this


def test_score_is_the_logistic_function_of_the_costs(photos, detections):
    quality = quality_after(photos["mei"], detections["mei"][0], "noisy", 45)
    odds = FLAWLESS - sum(quality.costs.values())
    assert quality.score == pytest.approx(1 / (1 + np.exp(-odds)))
    assert set(quality.costs) == set(COEFFICIENTS) == set(TERMS)
    assert max(quality.costs, key=quality.costs.get) == "noisy"


def test_every_defect_costs_something():
    assert min(COEFFICIENTS.values()) > 0.5
    for term in TERMS.values():
        assert term.good != term.bad


@pytest.mark.parametrize("scale", [0.3, 0.5])
def test_sharpness_is_independent_of_the_size_of_the_face(photos, detections, scale):
    """In the mean of the portraits: a small face is no blurred face."""
    large = np.mean([face_quality(photos[name], detections[name][0]).sharpness for name in PORTRAITS])
    small = np.mean([small_copy(photos[name], detections[name][0], scale).sharpness for name in PORTRAITS])
    blurred = np.mean(
        [quality_after(photos[name], detections[name][0], "blurred", 0.03).sharpness for name in PORTRAITS]
    )
    assert small > 0.85 * large > 1.2 * blurred


def small_copy(photo, detection, scale):
    """What is said of the photo where it has fewer pixels."""
    copy = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    keypoints = {name: (x * scale, y * scale) for name, (x, y) in detection["keypoints"].items()}
    return face_quality(copy, {"keypoints": keypoints, "score": detection["score"]})


def test_readings_of_a_made_up_face():
    """Points of the template, turned by 20 degrees and enlarged, with the nose a tenth of the eyes' distance aside."""
    points = {name: np.array(xy) for name, xy in TEMPLATE.items()}
    apart = np.hypot(*(points["right_eye"] - points["left_eye"]))
    straight = face_quality(np.full((400, 400, 3), 51, np.uint8), {"keypoints": placed(points), "score": 0.9})
    points["nose"] = points["nose"] + [0.1 * apart, 0]
    aside = face_quality(np.full((400, 400, 3), 51, np.uint8), {"keypoints": placed(points), "score": 0.9})
    assert straight.size == pytest.approx(200 * apart)
    assert straight.roll == pytest.approx(20)
    assert straight.misfit == pytest.approx(0, abs=1e-9)
    assert straight.brightness == pytest.approx(0.2)
    assert (straight.contrast, straight.overexposed, straight.blank, straight.detector_score) == (0, 0, 1, 0.9)
    assert aside.yaw - straight.yaw == pytest.approx(0.1, abs=0.005)
    assert aside.misfit == pytest.approx(0.1 * np.sqrt(0.8 / 5), rel=0.1)  # the fit goes a fifth of the way along


def placed(points):
    """Points of the unit square in a photo of 400 pixels: 200 pixels large, turned by 20 degrees clockwise."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    turned = {name: 200 * (np.array([[c, -s], [s, c]]) @ (xy - 0.5)) + 200 for name, xy in points.items()}
    return {name: (float(x), float(y)) for name, (x, y) in turned.items()}


def test_yaw_of_a_mirrored_face_is_reversed(photos, detections):
    photo, detection = photos["camera_19"], detections["camera_19"][0]
    other = {"left_eye": "right_eye", "right_eye": "left_eye", "mouth_left": "mouth_right", "mouth_right": "mouth_left"}
    width = photo.shape[1] - 1
    keypoints = {other.get(name, name): (width - x, y) for name, (x, y) in detection["keypoints"].items()}
    seen = face_quality(photo, detection)
    mirrored = face_quality(np.ascontiguousarray(photo[:, ::-1]), {**detection, "keypoints": keypoints})
    assert abs(seen.yaw) > 0.1
    assert mirrored.yaw == pytest.approx(-seen.yaw, abs=0.01)


# ------------------------------------------------------------------------------------------------ the hints
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("blurred", "blurred"),
        ("shaken", "blurred"),
        ("brighter", "too bright"),
        ("noisy", "grainy"),
        ("compressed", "compressed"),
        ("eyes covered", "covered"),
        ("mouth covered", "covered"),
        ("half covered", "covered"),
    ],
)
def test_hint_names_the_damage(kind, words, photos, detections):
    for name in PORTRAITS:
        quality = quality_after(photos[name], detections[name][0], kind, DAMAGES[kind].levels[-1])
        assert not quality.is_good
        assert words in said(quality), (name, quality.hints)


def test_very_dark_face_gets_the_hint_to_use_more_light(photos, detections):
    """At eight stops the network still knows most of the portraits; at ten there is little left to know."""
    for name in PORTRAITS:
        quality = quality_after(photos[name], detections[name][0], "darker", 10)
        assert "dark: use more light" in said(quality), (name, quality.hints)


def test_tiny_face_gets_the_hint_to_come_closer_only(photos, detections):
    for name in PORTRAITS:
        quality = small_copy(photos[name], detections[name][0], 0.1)
        assert f"small ({quality.size:.0f} pixels between the eyes): come closer" in said(quality)
        assert "blurred" not in said(quality)


def test_turned_head_gets_the_hint_to_look_straight(photos, detections):
    """The stranger of camera_19 looks aside; after 48 degrees, marco does too."""
    aside = face_quality(photos["camera_19"], detections["camera_19"][0])
    turned = quality_after(photos["marco"], detections["marco"][0], "turned", 48)
    for quality in (aside, turned):
        assert quality.hints == ("the face is turned sideways: look straight into the camera",)
    assert abs(aside.yaw) > 0.2 and turned.yaw > 0.3


def test_face_on_its_side_gets_the_hint_to_hold_it_upright(photos, detections):
    photo, keypoints = photos["jun"], detections["jun"][0]["keypoints"]
    on_side = {name: (y, photo.shape[1] - 1 - x) for name, (x, y) in keypoints.items()}
    before = face_quality(photo, detections["jun"][0])
    quality = face_quality(np.ascontiguousarray(np.rot90(photo)), {"keypoints": on_side, "score": 1.0})
    assert quality.roll == pytest.approx(before.roll - 90)
    assert quality.sharpness == pytest.approx(before.sharpness, rel=0.1)
    assert quality.hints == (f"the head is tilted by {abs(quality.roll):.0f} degrees: hold it, or the camera, upright",)


# ------------------------------------------------------------------------------------------------ the damages
@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_is_repeatable_and_leaves_the_photo_unchanged(kind, photos, detections):
    photo, keypoints = photos["lena"].copy(), detections["lena"][0]["keypoints"]
    before = zlib.crc32(photo.tobytes())
    once, again, *others = (
        damaged(photo, keypoints, kind, DAMAGES[kind].levels[2], seed) for seed in (0, 0, 1, 2, 3, 4, 5)
    )
    assert zlib.crc32(photo.tobytes()) == before
    assert once.shape == photo.shape and once.dtype == np.uint8
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, photo)
    has_chance = kind in ("noisy", "shaken", "tilted", "turned", "half covered")
    assert all(np.array_equal(once, other) for other in others) != has_chance


@pytest.mark.parametrize("kind", DAMAGES)
def test_level_0_returns_an_equal_copy(kind, photos, detections):
    photo = photos["jun"]
    same = damaged(photo, detections["jun"][0]["keypoints"], kind, 0)
    np.testing.assert_array_equal(same, photo)
    assert not np.shares_memory(same, photo)
    assert DAMAGES[kind].levels[0] == 0


def test_smaller_never_enlarges(photos, detections):
    photo = photos["jun"]
    size = face_quality(photo, detections["jun"][0]).size
    same = damaged(photo, detections["jun"][0]["keypoints"], "smaller", 1.3 * size)
    np.testing.assert_array_equal(same, photo)
    assert not np.shares_memory(same, photo)


def test_two_stops_are_a_quarter_of_the_light():
    grey = np.full((60, 60, 3), 200, np.uint8)
    keypoints = {name: (60 * x, 60 * y) for name, (x, y) in TEMPLATE.items()}
    darker = damaged(grey, keypoints, "darker", 2)[0, 0, 0]
    assert (darker / 255) ** 2.2 == pytest.approx((200 / 255) ** 2.2 / 4, rel=0.02)
    assert damaged(grey, keypoints, "brighter", 2).min() == 255


@pytest.mark.parametrize("degrees", [12, 36])
def test_turned_moves_the_nose_against_the_eyes(degrees, photos, detections):
    """Detected anew: over the portraits, the nose wanders to one side, the farther the more the head turns."""
    names = ["jun", "lena", "mei", "nia"]
    yaws = {}
    for name in names:
        photo, detection = photos[name], detections[name][0]
        yaws[name] = abs(quality_after(photo, detection, "turned", degrees).yaw - face_quality(photo, detection).yaw)
    assert np.mean(list(yaws.values())) > degrees / 36 * 0.12, yaws


# ------------------------------------------------------------------------------------------------ bad arguments
def test_damaged_rejects_unknown_kinds_and_lists_the_known(photos, detections):
    with pytest.raises(BadArgument, match="kind='sepia': must be one of smaller, blurred, .*, turned"):
        damaged(photos["jun"], detections["jun"][0]["keypoints"], "sepia", 1)


@pytest.mark.parametrize("level", [-1, 1.5, float("nan"), float("inf"), True, "much", None])
def test_damaged_rejects_levels_out_of_range(level, photos, detections):
    with pytest.raises(BadArgument, match="level=.*: half covered takes 0..1"):
        damaged(photos["jun"], detections["jun"][0]["keypoints"], "half covered", level)


@pytest.mark.parametrize("detection", [{}, {"score": 1.0}, {"keypoints": {}}, None, [1]])
def test_face_quality_rejects_incomplete_detections(detection, photos):
    with pytest.raises(BadArgument, match="detection must have keypoints and score"):
        face_quality(photos["jun"], detection)


def test_missing_points_are_named_and_bad_photos_rejected(photos, detections):
    keypoints = dict(detections["jun"][0]["keypoints"])
    with pytest.raises(BadArgument, match="photo must be an array"):
        face_quality(photos["jun"] / 255, detections["jun"][0])
    del keypoints["nose"]
    with pytest.raises(BadArgument, match="keypoints lack nose"):
        face_quality(photos["jun"], {"keypoints": keypoints, "score": 1.0})
    with pytest.raises(BadArgument, match="keypoints lack nose"):
        damaged(photos["jun"], keypoints, "darker", 0)


@pytest.mark.parametrize("shift", [-5000, 5000])
def test_face_outside_the_photo_is_not_good(shift, photos, detections):
    keypoints = {name: (x + shift, y + shift) for name, (x, y) in detections["jun"][0]["keypoints"].items()}
    assert not face_quality(photos["jun"], {"keypoints": keypoints, "score": 1.0}).is_good


# ------------------------------------------------------------------------------------------ how well it foretells
@pytest.fixture(scope="module")
def result() -> dict:
    """What ``tools/measure/quality.py score`` measured on people who were not fitted."""
    return json.loads((ROOT / "docs" / "results" / "quality.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return pd.read_csv(ROOT / "docs" / "results" / "quality_reject.csv")


@pytest.mark.parametrize(
    "of",
    [
        "pictures_of_celeba",
        "pictures_of_celeba_and_damaged",
        "pictures_of_celeba_and_damaged_or_lost",
        "pairs_of_celeba",
        "pairs_of_lfw_test",
        "pairs_of_lfw_both_lists",
    ],
)
def test_result_leads_are_differences_of_areas(of, result):
    measured = result[of]
    for name, lead in measured["lead_of_the_score"].items():
        difference = measured["area"]["score"]["value"] - measured["area"][name]["value"]
        assert lead["value"] == pytest.approx(difference, abs=2e-4)
    for interval in (*measured["area"].values(), *measured["lead_of_the_score"].values()):
        assert interval["low"] <= interval["value"] <= interval["high"]


def test_result_score_predicts_failure(result):
    """On people who were not fitted: far from guessing, on untouched photographs and more so among damaged ones."""
    for of in ("pairs_of_celeba", "pictures_of_celeba", "pictures_of_celeba_and_damaged"):
        assert result[of]["area"]["score"]["low"] > 0.5


def test_result_lead_is_certain_with_damage(result):
    for of in ("pictures_of_celeba_and_damaged", "pictures_of_celeba_and_damaged_or_lost"):
        assert all(lead["low"] > 0 for lead in result[of]["lead_of_the_score"].values())


@pytest.mark.parametrize("name", ["celeba", "celeba, untouched and damaged", "lfw_both_lists"])
def test_result_false_rejects_fall_as_the_worst_pictures_are_refused(name, curves):
    curve = curves[curves["set"] == name]
    assert curve.refused.tolist() == [0, 0.05, 0.1, 0.2, 0.3]
    assert (np.diff(curve.score) < 0).all()
    assert (curve.ideal <= curve.score).all()
    assert (curve.score.iloc[1:] < curve.random.iloc[1:]).all()
    assert curve.score.iloc[-1] < 0.5 * curve.score.iloc[0]


def test_result_pictures_with_hints_fail_more_often(result):
    warned = result["warned_of_celeba"]
    assert warned["failure"]["warned"] > 2 * warned["failure"]["good"]


def test_result_worst_damage_scores_lower_than_none(result):
    untouched, *rows = result["by_damage"]
    assert untouched["kind"] == "untouched"
    worst = {row["kind"]: row for row in rows}  # the last row of each kind
    assert set(worst) == set(DAMAGES)
    for kind, row in worst.items():
        assert row["level"] == DAMAGES[kind].levels[-1]
        assert row["score"] < untouched["score"], kind
