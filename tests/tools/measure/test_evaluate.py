"""The fourth notebook's results on real people, measured on invented people."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facerec import evaluation
from facerec.damage import DAMAGES
from facerec.encoding import photos_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation import (
    accuracy,
    calibration_error,
    fit_probability,
)
from facerec.evaluation.lfw import Pairs, distances_of, find_pictures, person_of, read_pairs
from facerec.evaluation.rates import FEWEST_CASES
from facerec.networks import FaceNetInfo, info_of, load_facenet
from tests.tools.measure.invented import PROBABILITY, in_order, picture, twice_looking, unit
from tools.measure import evaluate, lfw
from tools.measure.evaluate import (
    DEEPFACE,
    DEEPFACE_FALSE,
    DEEPFACE_TRUE,
    all_pairs,
    confidences,
    deepface_confidence,
    evaluate_damage,
    evaluate_lfw,
    galleries,
    looks,
    protocol,
    published_folds,
    search,
    strangers_at_the_door,
    ten_sets,
)


def listed(files: list[tuple[str, str]]) -> Pairs:
    """A list of pairs of pictures."""
    people = np.array([[person_of(a), person_of(b)] for a, b in files])
    return Pairs(np.array(files), people, people[:, 0] == people[:, 1])


def people_in_pairs(people: int = 43) -> Pairs:
    """Of each person one or two same pairs; different pairs across everybody, as LFW's view 1 lists them."""
    names = [f"A_{i:02d}" for i in range(people)]
    same = [(picture(name, 1), picture(name, n)) for i, name in enumerate(names) for n in (2, 3)[: 1 + i % 2]]
    return listed([*same, *((picture(a, 1), picture(b, 4)) for a, b in zip(names, names[1:], strict=False))])


def test_ten_sets_share_no_people_and_have_equally_many_pairs_of_each_kind():
    pairs = people_in_pairs()
    sets, folds = ten_sets(pairs)
    people = [set(sets.people[folds == number].flat) for number in range(10)]
    assert not any(a & b for a, b in combinations(people, 2))
    assert sum(map(len, people)) == 43
    for number in range(10):
        files, same = sets.files[folds == number], sets.same[folds == number]
        assert same.sum() == (~same).sum() > 0
        assert len({frozenset(pair) for pair in files.tolist()}) == len(files)  # none comes twice


def test_ten_sets_keep_the_same_pairs_and_only_listed_pictures():
    pairs = people_in_pairs()
    sets, _ = ten_sets(pairs)
    assert sorted(sets.files[sets.same].tolist()) == sorted(pairs.files[pairs.same].tolist())
    assert set(sets.files.flat) <= set(pairs.files.flat)
    np.testing.assert_array_equal(sets.same, [person_of(a) == person_of(b) for a, b in sets.files])
    np.testing.assert_array_equal(sets.people, [[person_of(a), person_of(b)] for a, b in sets.files])


def test_ten_sets_are_deterministic_by_seed():
    (one, folds), (again, folds_again), (other, _) = (ten_sets(people_in_pairs(), seed) for seed in (0, 0, 1))
    assert one.files.tolist() == again.files.tolist() and folds.tolist() == folds_again.tolist()
    assert one.files.tolist() != other.files.tolist()


def test_ten_sets_reject_too_few_people():
    with pytest.raises(BadArgument, match="same pairs, but too few people for as many different ones"):
        ten_sets(people_in_pairs(12))  # most sets have one person


def test_protocol_runs_for_each_way_of_encoding():
    pairs = people_in_pairs()
    sets, folds = ten_sets(pairs)
    rng = np.random.default_rng(0)
    centres = {name: rng.normal(size=16) for name in np.unique(pairs.people)}
    names = sorted(set(pairs.files.flat))
    ways = {
        way: {name: unit(centres[person_of(name)] + noise * rng.normal(size=16)) for name in names}
        for way, noise in (("near", 0.05), ("far", 1.5))
    }
    found = protocol(ways, sets, folds)
    assert found["near"] == {"accuracy": 1.0, "standard_error": 0.0, "pairs": len(folds)}
    oracle = evaluation.lfw_protocol(distances_of(sets, ways["far"]), sets.same, folds)
    assert 0.5 < found["far"]["accuracy"] == oracle.accuracy < 1
    assert found["far"]["standard_error"] == oracle.standard_error > 0


def view_2(path: Path, first: str = "2\t3", lines: int = 12) -> Path:
    """LFW's format: the number of sets and of pairs of each kind; then set after set, same pairs first."""
    rows = [("Ada\t1\t2" if i % 6 < 3 else "Ada\t1\tBo\t2") for i in range(lines)]
    path.write_text("\n".join([first, *rows]) + "\n\n", encoding="utf-8")
    return path


def test_published_folds_keep_the_order_of_the_file(tmp_path):
    file = view_2(tmp_path / "pairs.txt")
    assert published_folds(file).tolist() == 6 * [0] + 6 * [1]
    assert read_pairs(file).same.tolist() == 2 * (3 * [True] + 3 * [False])
    assert published_folds(view_2(file, "10\t3", 60)).tolist() == np.repeat(range(10), 6).tolist()


@pytest.mark.parametrize(
    ("first", "lines", "reason"),
    [
        ("2\t3", 11, "announces 2 sets of 2 × 3 pairs, but lists 11 pairs"),
        ("2\t4", 12, "announces 2 sets of 2 × 4 pairs, but lists 12 pairs"),
        ("12", 12, "pairs.txt starts with '12'"),
        ("Ada\t1\t2", 12, "starts with 'Ada.t1.t2'"),
        ("two\tthree", 12, "expected the numbers of sets and pairs"),
        ("", 0, "starts with ''"),
    ],
)
def test_published_folds_reject_counts_that_do_not_add_up(tmp_path, first, lines, reason):
    with pytest.raises(BadArgument, match=reason):
        published_folds(view_2(tmp_path / "pairs.txt", first, lines))


def test_published_folds_reject_an_empty_file(tmp_path):
    (tmp_path / "pairs.txt").touch()
    with pytest.raises(BadArgument, match="starts with ''"):
        published_folds(tmp_path / "pairs.txt")


def some_faces(count: int = 3, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_looks_of_a_plain_network_equal_numpy(small_network):
    faces = some_faces()
    found = looks(faces, small_network)
    one, other = (np.asarray(small_network(seen.astype(np.float32))) for seen in (faces, faces[:, :, ::-1]))
    assert list(found) == ["one look", "with the mirror image"]
    np.testing.assert_allclose(found["one look"], one, atol=1e-6)
    np.testing.assert_allclose(found["with the mirror image"], unit((one + other) / 2), atol=1e-6)


def test_looks_of_a_network_with_mirror_image_equal_numpy():
    """Plain NumPy: the trunk's numbers, unit length, centring, unit length."""
    model, faces = twice_looking(), some_faces()
    kernel = np.asarray(model.get_layer("trunk").get_layer("raw").kernel)
    bias = np.asarray(model.get_layer("centred").bias)
    one, other = (seen.reshape(3, -1) / 255 @ kernel for seen in (faces, faces[:, :, ::-1]))
    found = looks(faces, model)
    np.testing.assert_allclose(found["one look"], unit(unit(one) + bias), atol=1e-5)
    np.testing.assert_allclose(found["with the mirror image"], unit(unit((one + other) / 2) + bias), atol=1e-5)
    assert not np.allclose(found["one look"], found["with the mirror image"], atol=0.01)


def test_looks_of_a_symmetric_face_are_equal(network):
    """The shipped network: had the second look another centring or scale, these would differ."""
    face = np.random.default_rng(1).integers(0, 256, (1, *network.input_shape[1:])).astype(np.uint8)
    half = face.shape[2] // 2
    face[:, :, -half:] = face[:, :, :half][:, :, ::-1]
    found = looks(face, network)
    np.testing.assert_allclose(found["one look"], found["with the mirror image"], atol=1e-5)


def test_all_pairs_equal_two_loops():
    rng = np.random.default_rng(0)
    encodings = {picture(name, i): unit(rng.normal(size=4)) for name in ("B_b", "Al", "B_c") for i in (1, 2)}
    encodings["Al_0002.jpg"] = np.full(4, np.nan)
    distances, same, people = all_pairs(encodings)
    names = sorted(encodings)
    assert len(distances) == 15 and np.isnan(distances).sum() == 5
    for k, (a, b) in enumerate(combinations(names, 2)):
        assert distances[k] == pytest.approx(np.linalg.norm(encodings[a] - encodings[b]), abs=1e-6, nan_ok=True)
        assert same[k] == (person_of(a) == person_of(b)) == (people[k, 0] == people[k, 1])
    assert len(np.unique(people)) == 3


def deepface_by_hand(distance: float) -> float:
    """As the docstring says it, one distance at a time."""
    curve = 100 / (1 + math.exp(-(DEEPFACE["w"] * distance + DEEPFACE["b"])))
    if distance <= 0.6:
        low, high = DEEPFACE_TRUE
        per_cent = 51 + (curve - low) / (high - low) * (100 - 51)
        return min(max(per_cent, 51), 100) / 100
    low, high = DEEPFACE_FALSE
    per_cent = (curve - low) / (high - low) * min(49, high)
    return min(max(per_cent, 0), 49) / 100


def test_deepface_confidence_equals_its_formula():
    distances = np.linspace(0, 1.5, 301)
    np.testing.assert_allclose(deepface_confidence(distances), [deepface_by_hand(d) for d in distances], atol=1e-12)


def test_deepface_confidence_by_hand():
    """At 0.5 the curve is 1 / (1 + e^-0.2226) = 55.54 %; a third of the way from 37.64 to 89.60."""
    assert deepface_confidence(np.array([0.5]))[0] == pytest.approx(
        (51 + 49 * (55.542 - 37.635) / 51.967) / 100, abs=1e-4
    )
    assert deepface_confidence(np.array([0.0])).tolist() == [1.0]  # the curve is beyond what it is spread from
    assert deepface_confidence(np.array([1.2])).tolist() == [0.0]


def test_deepface_confidence_falls_and_skips_49_to_51_per_cent():
    distances = np.linspace(0, 1.5, 1001)
    said = deepface_confidence(distances)
    same = distances <= 0.6
    assert said[same].min() >= 0.51 and said[same].max() <= 1 and said[~same].max() <= 0.49 and said[~same].min() >= 0
    assert (np.diff(said) <= 0).all() and len(np.unique(said)) > 300
    assert np.isnan(deepface_confidence(np.array([np.nan]))).all()


def near_and_far(seed: int = 0, people: int = 30) -> tuple[Pairs, dict[str, np.ndarray]]:
    """A list with as many same pairs as different ones, and encodings to go with it."""
    rng = np.random.default_rng(seed)
    names = [f"P_{i:02d}" for i in range(people)]
    encodings = {}
    for name in names:
        centre = rng.normal(size=8)
        encodings |= {picture(name, i): unit(centre + 0.45 * rng.normal(size=8)) for i in (1, 2)}
    files = [(picture(name, 1), picture(name, 2)) for name in names]
    return listed(
        [*files, *((picture(a, 1), picture(b, 2)) for a, b in zip(names, names[1:] + names[:1], strict=True))]
    ), encodings


@pytest.fixture
def fewer_samples(monkeypatch):
    """Intervals of calibration errors from few drawings."""
    for name in ("bootstrap_calibration_error", "calibration_error_by_chance"):
        monkeypatch.setattr(evaluate, name, partial(getattr(evaluation, name), samples=20))


def test_confidences_equal_their_errors_by_hand(small_network, fewer_samples):
    pairs, encodings = near_and_far()
    raw = {name: 0.8 * encoding for name, encoding in encodings.items()}
    small_network.facenet = info_of(small_network)
    object.__setattr__(small_network.facenet, "probability", PROBABILITY)
    off, table = confidences(pairs, pairs, encodings, small_network, raw)
    line = fit_probability(distances_of(pairs, raw), pairs.same)
    said = {
        "ours": PROBABILITY(distances_of(pairs, encodings)),
        "DeepFace's way": deepface_confidence(distances_of(pairs, raw)),
        "a line on the same distances": line(distances_of(pairs, raw)),
    }
    assert list(off) == list(said) and Counter(table.method) == dict.fromkeys(said, 10)
    for name, probability in said.items():
        assert off[name]["expected_calibration_error"]["value"] == calibration_error(probability, pairs.same)
        squares = [(p - s) ** 2 for p, s in zip(probability, pairs.same, strict=True)]
        assert off[name]["brier"] == pytest.approx(sum(squares) / 60)
        said_of_truth = np.where(pairs.same, probability, 1 - probability)
        assert off[name]["log_loss"] == pytest.approx(-np.log(said_of_truth).mean())
        assert in_order(off[name]["by_chance"])
        rows = table[table.method == name]
        assert rows.pairs.sum() == 60 and rows.score.iloc[-1] == pytest.approx(np.sort(probability)[-6:].mean())
    assert list(confidences(pairs, pairs, encodings, small_network, None)[0]) == ["ours"]
    for known in (encodings, raw):
        known["P_03_0002.jpg"] = np.full(8, np.nan)  # of two pairs
    off, table = confidences(pairs, pairs, encodings, small_network, raw)
    assert table[table.method == "ours"].pairs.sum() == 58 and 0 < off["ours"]["brier"] < 1


@pytest.fixture
def three_strangers(monkeypatch):
    monkeypatch.setattr(evaluate, "STRANGERS", 3)


def crowd() -> dict[str, np.ndarray]:
    """Seven people with two to four pictures, eight with one; two pictures show no face."""
    rng = np.random.default_rng(0)
    counts = {f"K_{i}": 2 + i % 3 for i in range(7)} | {f"S_{i}": 1 for i in range(8)}
    encodings = {picture(name, i + 1): unit(rng.normal(size=6)) for name, n in counts.items() for i in range(n)}
    encodings["K_1_0001.jpg"] = np.full(6, np.nan)  # K_1 has two others
    encodings["K_3_0002.jpg"] = np.full(6, np.nan)  # K_3 has one other: a single picture now
    return encodings


SEVERAL = {"K_0", "K_1", "K_2", "K_4", "K_5", "K_6"}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 9, 12])
def test_galleries_know_each_person_with_several_pictures_once(three_strangers, size):
    encodings = crowd()
    found = list(galleries(encodings, size))
    assert len(found) == math.ceil(6 / size)
    known = Counter(person_of(name) for gallery, _, _ in found for name in gallery)
    assert {name: known[name] for name in SEVERAL} == dict.fromkeys(SEVERAL, 1)
    for gallery, probes, strangers in found:
        assert len(gallery) == len({*map(person_of, gallery)}) == size
        assert {*map(person_of, probes)} == {*map(person_of, gallery)} & SEVERAL  # who fills up is not looked for
        assert len(strangers) == 3 and not {*map(person_of, strangers)} & set(known)
        assert not any(np.isnan(encodings[name]).any() for name in (*gallery, *probes, *strangers))
        assert strangers == found[0][2]
    probes = [name for _, probes, _ in found for name in probes]
    first = {name for gallery, _, _ in found for name in gallery}
    expected = {n for n in encodings if person_of(n) in SEVERAL and np.isfinite(encodings[n]).all()}
    assert len(probes) == len(set(probes)) and set(probes) == {n for n in expected if n not in first}
    assert {"K_0_0001.jpg", "K_1_0002.jpg"} <= first and not set(probes) & first  # the first that shows a face


def test_galleries_that_can_not_be_filled_are_left_out(three_strangers):
    """Six people, and six to fill up with; of galleries of seven there is one, of thirteen none."""
    assert [len(gallery) for gallery, _, _ in galleries(crowd(), 12)] == [12]
    assert not list(galleries(crowd(), 13))
    assert [gallery for gallery, _, _ in galleries(crowd(), 3)] == [gallery for gallery, _, _ in galleries(crowd(), 3)]


def test_search_equals_a_loop_over_galleries(three_strangers):
    encodings = crowd()
    table = search(encodings, 4)
    rows = []
    for gallery, known, strangers in galleries(encodings, 4):
        for probe in (*known, *strangers):
            away = {person_of(name): np.linalg.norm(encodings[probe] - encodings[name]) for name in gallery}
            rows.append((person_of(probe), min(away, key=away.get), min(away.values()), person_of(probe) in away))
    assert len(table) == len(rows) == 11 + 2 * 3  # eleven later pictures; three strangers at two doors
    assert list(zip(table.identity, table.nearest, table.is_known, strict=True)) == [(a, b, d) for a, b, _, d in rows]
    np.testing.assert_allclose(table.distance, [row[2] for row in rows], atol=1e-6)


@pytest.fixture
def small_door(monkeypatch):
    """Twenty strangers, half of which may be accepted: ten decide."""
    for name, value in {"STRANGERS": 20, "FPIR": 0.5, "GALLERIES": (3, 12)}.items():
        monkeypatch.setattr(evaluate, name, value)


def at_the_door() -> dict[str, np.ndarray]:
    """Twelve people, each along an axis of their own, with a second picture close by, and twenty strangers apart."""
    axes = np.eye(40)
    known = {picture(f"K_{i:02d}", 1): axes[i] for i in range(12)}
    known |= {picture(f"K_{i:02d}", 2): unit(axes[i] + 0.1 * axes[39]) for i in range(12)}
    return known | {picture(f"S_{i:02d}", 1): axes[12 + i] for i in range(20)}


INFO = FaceNetInfo("a network", 8, probability=PROBABILITY)


def test_sure_answers_weigh_known_people_and_strangers_equally():
    """Two known people, one named rightly and surely; four strangers, one surely mistaken for a known person."""
    distances = np.array([[0.1, 1.5], [1.5, 1.5], [0.1, 1.5], [1.5, 1.5], [1.5, 1.5], [1.5, 1.5]])
    table = evaluation.identification(distances, np.array(["a", "b"]), np.array(["a", "b", "x", "y", "z", "w"]))
    assert PROBABILITY(0.1) > 0.9 > PROBABILITY(1.5)
    assert evaluate.sure_answers(table, INFO, 0.5) == pytest.approx({"right": 0.25 / 0.375, "of_all": 0.375})
    assert evaluate.sure_answers(table, INFO, 1e-9) == {"right": None, "of_all": 0.0}


def test_distinct_people_are_all_named_and_strangers_are_not(small_door):
    sizes, curve = strangers_at_the_door(at_the_door(), INFO)
    assert sizes.gallery.tolist() == [3, 12] and sizes.galleries.tolist() == [4, 1]
    for column in ("rank_1", "rank_10", "named_at_fpir_0.5", "low", "high", "named_at_0.7"):
        assert sizes[column].tolist() == [1, 1], column
    assert sizes.known_probes.tolist() == [12, 12] and sizes["strangers_named_at_0.7"].tolist() == [0, 0]
    assert curve.fpir.iloc[0] == 0 and curve.dir.max() == 1


def test_similar_strangers_are_named_and_misleading_pictures_are_not(small_door):
    encodings, axes = at_the_door(), np.eye(40)
    encodings["S_07_0001.jpg"] = unit(axes[4] + 0.1 * axes[38])  # 0.1 from K_04
    encodings["K_00_0002.jpg"] = unit(0.2 * axes[0] + axes[1])  # nearer to K_01
    sizes, _ = strangers_at_the_door(encodings, INFO)
    small, large = sizes.to_dict("records")
    assert large["rank_1"] == large["named_at_0.7"] == pytest.approx(11 / 12) and large["rank_10"] == 1
    assert large["strangers_named_at_0.7"] == pytest.approx(1 / 20)
    assert small["strangers_named_at_0.7"] == pytest.approx(1 / 80)  # at one door of four
    together = any({"K_00", "K_01"} <= {*map(person_of, gallery)} for gallery, _, _ in galleries(encodings, 3))
    assert small["rank_1"] == (pytest.approx(11 / 12) if together else 1)
    assert small["named_at_0.7"] == pytest.approx(11 / 12)  # 1.27 from herself: too far, if not another's


@pytest.fixture(scope="module")
def evaluated(toy) -> dict:
    """What is written of the toy people by a network that looks twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lfw, "CACHE", toy / "faces.json")
        for name in ("bootstrap_calibration_error", "calibration_error_by_chance"):
            patch.setattr(evaluate, name, partial(getattr(evaluation, name), samples=20))
        for name, value in {"STRANGERS": 20, "FPIR": 0.5, "GALLERIES": (5, 24)}.items():
            patch.setattr(evaluate, name, value)
        result = evaluate_lfw(toy, str(toy / "twice"), toy / "docs" / "results")
    assert json.loads((toy / "docs" / "results" / "evaluation_twice.json").read_text(encoding="utf-8")) == result
    return result


def test_evaluate_lfw_scores_photos_at_the_networks_threshold(toy, evaluated):
    """As others would have encoded the same photos; a pair with the wall is a mistake."""
    pairs, model = read_pairs(toy / "pairsDevTest.txt"), load_facenet(toy / "twice")
    pictures = find_pictures(toy, {*pairs.files.flat})
    encodings, problems = photos_to_encodings(pictures.values(), model, which="central")
    assert len(problems) == 1
    distances = distances_of(pairs, dict(zip(pictures, encodings, strict=True)))
    right = accuracy(distances, pairs.same, 0.3, missing="mistakes")
    assert evaluated["accuracy_at_0.7"]["value"] == right
    assert evaluated["auc"]["value"] == pytest.approx(
        evaluation.area_under_roc(distances, pairs.same, missing="mistakes")
    )
    assert evaluated["people"] == 20 and evaluated["different_pairs"] == 40 * 39 // 2 - 20
    usable = np.isfinite(distances)
    squares = (PROBABILITY(distances[usable]) - pairs.same[usable]) ** 2
    assert evaluated["calibration"]["ours"]["brier"] == pytest.approx(squares.mean(), abs=1e-5)
    assert set(evaluated["calibration"]) == {"ours", "DeepFace's way", "a line on the same distances"}


def test_evaluate_lfw_runs_the_protocol_on_both_kinds_of_sets(evaluated):
    assert {way: row["pairs"] for way, row in evaluated["protocol"].items()} == {
        "one look": 40,
        "with the mirror image": 40,
    }
    assert {row["pairs"] for row in evaluated["view_2"].values()} == {12}
    assert all(0 <= row["accuracy"] <= 1 for part in ("protocol", "view_2") for row in evaluated[part].values())
    assert evaluated["protocol"]["one look"] != evaluated["protocol"]["with the mirror image"]


def test_evaluate_lfw_withholds_numbers_that_rest_on_too_few_pairs(evaluated):
    assert [row["far"] for row in evaluated["true_accepts_of_all_pairs"]] == [1e-2, 1e-3, 1e-4, 1e-6]
    for row in evaluated["true_accepts_of_all_pairs"] + evaluated["true_accepts_of_the_list"]:
        assert row["true_accepts"] is row["low"] is row["high"] is None and row["decided_by"] < FEWEST_CASES


def test_evaluate_lfw_searches_galleries_of_both_sizes(toy, evaluated):
    small, large = evaluated["open_set"]
    assert (small["gallery"], large["gallery"], large["galleries"]) == (5, 24, 1)
    assert small["known_probes"] == large["known_probes"] == 19  # there is no face on the wall
    assert 1 >= small["rank_1"] >= large["rank_1"] > 0 and large["strangers_named_at_0.3"] <= 1
    curve = pd.read_csv(toy / "docs" / "results" / "evaluation_twice_open_set.csv")
    assert curve.dir.iloc[-1] == pytest.approx(large["rank_1"], abs=1e-5)
    table = pd.read_csv(toy / "docs" / "results" / "evaluation_twice_reliability.csv")
    assert table.groupby("method").pairs.sum().tolist() == [38, 38, 38]  # without the wall's two


def test_evaluate_lfw_rejects_networks_without_a_probability(toy):
    with pytest.raises(
        BadArgument, match="twice_without carries no probability; python tools/assets/calibrate.py learns one"
    ):
        evaluate_lfw(toy, str(toy / "twice_without"), toy / "docs" / "results")


def test_evaluate_damage_damages_the_second_photo(toy, tmp_path, monkeypatch):
    """In the dark no face is found: every pair is then a mistake, and rejected."""
    monkeypatch.setattr(lfw, "CACHE", tmp_path / "faces.json")
    kinds = {kind: replace(DAMAGES[kind], levels=levels) for kind, levels in (("darker", (0, 20)), ("blurred", (0.1,)))}
    monkeypatch.setattr(evaluate, "DAMAGES", kinds)
    table = evaluate_damage(toy, str(toy / "twice"), tmp_path, pairs=10)
    assert table[["damage", "level"]].values.tolist() == [["nothing", 0], ["darker", 20], ["blurred", 0.1]]
    nothing, dark, blurred = table.itertuples(index=False)
    assert dark.accuracy == 0 and dark.no_face == 10 and dark.false_rejects == 1 and dark.false_accepts == 0
    pairs = read_pairs(toy / "pairsDevTest.txt")
    chosen = np.linspace(0, 39, 10).round().astype(int)
    pairs = Pairs(pairs.files[chosen], pairs.people[chosen], pairs.same[chosen])
    pictures = find_pictures(toy, {*pairs.files.flat})
    encodings, _ = photos_to_encodings(pictures.values(), load_facenet(toy / "twice"), which="central")
    distances = distances_of(pairs, dict(zip(pictures, encodings, strict=True)))
    assert nothing.accuracy == accuracy(distances, pairs.same, 0.3) and nothing.low <= nothing.accuracy <= nothing.high
    written = pd.read_csv(tmp_path / "damage.csv")
    pd.testing.assert_frame_equal(written, table.round(4), check_dtype=False)
    assert blurred.no_face == nothing.no_face == sum(np.isnan(encodings[:, 0])) == 0


def test_evaluate_damage_accepts_photos_without_a_face(toy, tmp_path, monkeypatch):
    """All forty pairs: two are with the wall, in one place of the list or the other."""
    monkeypatch.setattr(lfw, "CACHE", tmp_path / "faces.json")
    monkeypatch.setattr(evaluate, "DAMAGES", {"darker": replace(DAMAGES["darker"], levels=(1,))})
    (tmp_path / "pairsDevTest.txt").write_text("T_19\t1\t2\nT_19\t2\tT_01\t1\nT_02\t1\t2\nT_02\t1\tT_03\t1\n")
    shutil.copytree(toy / "lfw", tmp_path / "lfw")
    table = evaluate_damage(tmp_path, str(toy / "twice"), tmp_path, pairs=4)
    assert table.no_face.tolist() == [1, 1] and (table.accuracy <= 0.5).all()
