"""What the fourth notebook quotes of real people: how it is measured, on invented ones; and what was committed."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections import Counter
from functools import partial
from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec import evaluation
from facerec._files import ROOT
from facerec.damage import DAMAGE_LEVELS
from facerec.encoding import photos_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation import (
    FEWEST_CASES,
    Probability,
    accuracy,
    calibration_error,
    false_accepts_by_group,
    fit_probability,
)
from facerec.evaluation.lfw import Pairs, distances_of, find_pictures, read_pairs
from facerec.learning.datasets import find_people, read_picture
from facerec.networks import DEFAULT_NETWORK, FaceNetInfo, info_of, load_facenet, save_network
from facerec.photos import save_picture
from tools.measure import evaluate, lfw
from tools.measure.evaluate import (
    AGES,
    DEEPFACE,
    DEEPFACE_FALSE,
    DEEPFACE_TRUE,
    RACES,
    SEXES,
    all_pairs,
    by_group,
    confidences,
    deepface_confidence,
    evaluate_damage,
    evaluate_groups,
    evaluate_lfw,
    extremes,
    galleries,
    looks,
    person_of,
    protocol,
    published_folds,
    read_labels,
    search,
    strangers_at_the_door,
    ten_sets,
)

RESULTS = ROOT / "docs" / "results"
PROBABILITY = Probability("logistic", 0.5, (0.2, 1.2), (4.0, -4.0))


def listed(files: list[tuple[str, str]]) -> Pairs:
    """A list of pairs of pictures."""
    people = np.array([[person_of(a), person_of(b)] for a, b in files])
    return Pairs(np.array(files), people, people[:, 0] == people[:, 1])


def picture(person: str, number: int) -> str:
    return f"{person}_{number:04d}.jpg"


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ------------------------------------------------------------------------------------------------- ten sets
def people_in_pairs(people: int = 43) -> Pairs:
    """Of each person one or two same pairs; different pairs across everybody, as LFW's view 1 lists them."""
    names = [f"A_{i:02d}" for i in range(people)]
    same = [(picture(name, 1), picture(name, n)) for i, name in enumerate(names) for n in (2, 3)[: 1 + i % 2]]
    return listed([*same, *((picture(a, 1), picture(b, 4)) for a, b in zip(names, names[1:], strict=False))])


def test_ten_sets_share_nobody_and_have_as_many_pairs_of_each_kind():
    pairs = people_in_pairs()
    sets, folds = ten_sets(pairs)
    people = [set(sets.people[folds == number].flat) for number in range(10)]
    assert not any(a & b for a, b in combinations(people, 2))
    assert sum(map(len, people)) == 43
    for number in range(10):
        files, same = sets.files[folds == number], sets.same[folds == number]
        assert same.sum() == (~same).sum() > 0
        assert len({frozenset(pair) for pair in files.tolist()}) == len(files)  # none comes twice


def test_ten_sets_keep_every_same_pair_of_the_list_and_only_its_pictures():
    pairs = people_in_pairs()
    sets, _ = ten_sets(pairs)
    assert sorted(sets.files[sets.same].tolist()) == sorted(pairs.files[pairs.same].tolist())
    assert set(sets.files.flat) <= set(pairs.files.flat)
    np.testing.assert_array_equal(sets.same, [person_of(a) == person_of(b) for a, b in sets.files])
    np.testing.assert_array_equal(sets.people, [[person_of(a), person_of(b)] for a, b in sets.files])


def test_ten_sets_are_the_same_every_time_and_depend_on_their_seed():
    (one, folds), (again, folds_again), (other, _) = (ten_sets(people_in_pairs(), seed) for seed in (0, 0, 1))
    assert one.files.tolist() == again.files.tolist() and folds.tolist() == folds_again.tolist()
    assert one.files.tolist() != other.files.tolist()


def test_sets_with_too_few_people_are_refused_instead_of_drawn_for_ever():
    with pytest.raises(BadArgument, match="same pairs, and too few people for as many different ones"):
        ten_sets(people_in_pairs(12))  # most sets have one person


def test_the_protocol_is_run_for_each_way_of_looking():
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


# ------------------------------------------------------------------------------------------ published sets
def view_2(path: Path, first: str = "2\t3", lines: int = 12) -> Path:
    """LFW's format: the number of sets and of pairs of each kind; then set after set, same pairs first."""
    rows = [("Ada\t1\t2" if i % 6 < 3 else "Ada\t1\tBo\t2") for i in range(lines)]
    path.write_text("\n".join([first, *rows]) + "\n\n", encoding="utf-8")
    return path


def test_the_published_sets_are_read_in_their_order(tmp_path):
    file = view_2(tmp_path / "pairs.txt")
    assert published_folds(file).tolist() == 6 * [0] + 6 * [1]
    assert read_pairs(file).same.tolist() == 2 * (3 * [True] + 3 * [False])
    assert published_folds(view_2(file, "10\t3", 60)).tolist() == np.repeat(range(10), 6).tolist()


@pytest.mark.parametrize(
    ("first", "lines", "reason"),
    [
        ("2\t3", 11, "announces 2 sets of twice 3 pairs, and lists 11"),
        ("2\t4", 12, "announces 2 sets of twice 4 pairs, and lists 12"),
        ("12", 12, "pairs.txt begins with '12'"),
        ("Ada\t1\t2", 12, "begins with 'Ada.t1.t2'"),
        ("two\tthree", 12, "the number of sets and of pairs is expected"),
        ("", 0, "begins with ''"),
    ],
)
def test_sets_that_do_not_add_up_are_refused(tmp_path, first, lines, reason):
    with pytest.raises(BadArgument, match=reason):
        published_folds(view_2(tmp_path / "pairs.txt", first, lines))


def test_an_empty_file_has_no_sets(tmp_path):
    (tmp_path / "pairs.txt").touch()
    with pytest.raises(BadArgument, match="begins with ''"):
        published_folds(tmp_path / "pairs.txt")


# --------------------------------------------------------------------------------------------- both looks
def twice_looking(side: int = 8, dimension: int = 16) -> keras.Model:
    """An untrained network built like the shipped one: a trunk, the mirror image, centring after unit length."""
    layers, seeded = keras.layers, keras.initializers.RandomNormal
    inside = keras.Input((side, side, 3))
    raw = layers.Dense(dimension, use_bias=False, kernel_initializer=seeded(seed=2), name="raw")
    trunk = keras.Model(inside, raw(layers.Flatten()(layers.Rescaling(1 / 255)(inside))), name="trunk")
    faces, mirror = keras.Input((side, side, 3)), layers.EinsumDense("bhwc,wv->bhvc", (None, side, 3), name="mirror")
    both = layers.UnitNormalization(name="unit")(layers.Average(name="both")([trunk(faces), trunk(mirror(faces))]))
    centred = layers.Dense(dimension, name="centred", kernel_initializer="identity", bias_initializer=seeded(0, 0.2, 3))
    model = keras.Model(faces, layers.UnitNormalization(name="encoding")(centred(both)), name="twice")
    model.get_layer("mirror").set_weights([np.eye(side, dtype="float32")[::-1]])
    return model


def some_faces(count: int = 3, side: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_a_network_without_a_trunk_looks_once_and_at_the_mirror_image(small_network):
    faces = some_faces()
    found = looks(faces, small_network)
    one, other = (np.asarray(small_network(seen.astype(np.float32))) for seen in (faces, faces[:, :, ::-1]))
    assert list(found) == ["one look", "with the mirror image"]
    np.testing.assert_allclose(found["one look"], one, atol=1e-6)
    np.testing.assert_allclose(found["with the mirror image"], unit((one + other) / 2), atol=1e-6)


def test_a_network_that_looks_twice_is_also_asked_for_one_look():
    """Plain NumPy: the trunk's numbers, unit length, centring, unit length."""
    model, faces = twice_looking(), some_faces()
    kernel = np.asarray(model.get_layer("trunk").get_layer("raw").kernel)
    bias = np.asarray(model.get_layer("centred").bias)
    one, other = (seen.reshape(3, -1) / 255 @ kernel for seen in (faces, faces[:, :, ::-1]))
    found = looks(faces, model)
    np.testing.assert_allclose(found["one look"], unit(unit(one) + bias), atol=1e-5)
    np.testing.assert_allclose(found["with the mirror image"], unit(unit((one + other) / 2) + bias), atol=1e-5)
    assert not np.allclose(found["one look"], found["with the mirror image"], atol=0.01)


def test_a_face_that_is_its_own_mirror_image_looks_the_same_both_ways(network):
    """The shipped network: had the second look another centring or scale, these would differ."""
    face = np.random.default_rng(1).integers(0, 256, (1, *network.input_shape[1:])).astype(np.uint8)
    half = face.shape[2] // 2
    face[:, :, -half:] = face[:, :, :half][:, :, ::-1]
    found = looks(face, network)
    np.testing.assert_allclose(found["one look"], found["with the mirror image"], atol=1e-5)


def test_all_pairs_are_those_of_two_loops():
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


# ------------------------------------------------------------------------------------------- confidence
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


def test_deepfaces_confidence_is_its_formula():
    distances = np.linspace(0, 1.5, 301)
    np.testing.assert_allclose(deepface_confidence(distances), [deepface_by_hand(d) for d in distances], atol=1e-12)


def test_deepfaces_confidence_by_hand():
    """At 0.5 the curve is 1 / (1 + e^-0.2226) = 55.54 %; a third of the way from 37.64 to 89.60."""
    assert deepface_confidence(np.array([0.5]))[0] == pytest.approx(
        (51 + 49 * (55.542 - 37.635) / 51.967) / 100, abs=1e-4
    )
    assert deepface_confidence(np.array([0.0])).tolist() == [1.0]  # the curve is beyond what it is spread from
    assert deepface_confidence(np.array([1.2])).tolist() == [0.0]


def test_deepface_never_says_what_lies_between_49_and_51_and_falls_with_the_distance():
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
    """So that an interval of a calibration error takes a moment."""
    monkeypatch.setattr(
        evaluate, "bootstrap_calibration_error", partial(evaluation.bootstrap_calibration_error, samples=20)
    )


def test_confidences_are_compared_with_what_happened(small_network, fewer_samples):
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
    assert list(off) == list(said) and Counter(table.confidence) == dict.fromkeys(said, 10)
    for name, probability in said.items():
        assert off[name]["expected_calibration_error"]["value"] == calibration_error(probability, pairs.same)
        squares = [(p - s) ** 2 for p, s in zip(probability, pairs.same, strict=True)]
        assert off[name]["brier"] == pytest.approx(sum(squares) / 60)
        said_of_truth = np.where(pairs.same, probability, 1 - probability)
        assert off[name]["log_loss"] == pytest.approx(-np.log(said_of_truth).mean())
        assert in_order(off[name]["by_chance"])
        rows = table[table.confidence == name]
        assert rows.pairs.sum() == 60 and rows.score.iloc[-1] == pytest.approx(np.sort(probability)[-6:].mean())
    assert list(confidences(pairs, pairs, encodings, small_network, None)[0]) == ["ours"]
    for known in (encodings, raw):
        known["P_03_0002.jpg"] = np.full(8, np.nan)  # of two pairs
    off, table = confidences(pairs, pairs, encodings, small_network, raw)
    assert table[table.confidence == "ours"].pairs.sum() == 58 and 0 < off["ours"]["brier"] < 1


# -------------------------------------------------------------------------------------------------- strangers
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
def test_everybody_with_several_pictures_is_known_once_in_galleries_of_each_size(three_strangers, size):
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


def test_a_gallery_that_can_not_be_filled_is_left_out(three_strangers):
    """Six people, and six to fill up with; of galleries of seven there is one, of thirteen none."""
    assert [len(gallery) for gallery, _, _ in galleries(crowd(), 12)] == [12]
    assert not list(galleries(crowd(), 13))
    assert [gallery for gallery, _, _ in galleries(crowd(), 3)] == [gallery for gallery, _, _ in galleries(crowd(), 3)]


def test_a_search_is_what_a_loop_over_the_galleries_finds(three_strangers):
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
    """Twenty strangers, of whom every second may be accepted: ten decide."""
    for name, value in {"STRANGERS": 20, "FPIR": 0.5, "GALLERIES": (3, 12)}.items():
        monkeypatch.setattr(evaluate, name, value)


def at_the_door() -> dict[str, np.ndarray]:
    """Twelve people, each along an axis of their own, with a second picture close by, and twenty strangers apart."""
    axes = np.eye(40)
    known = {picture(f"K_{i:02d}", 1): axes[i] for i in range(12)}
    known |= {picture(f"K_{i:02d}", 2): unit(axes[i] + 0.1 * axes[39]) for i in range(12)}
    return known | {picture(f"S_{i:02d}", 1): axes[12 + i] for i in range(20)}


INFO = FaceNetInfo("a network", 8, probability=PROBABILITY)


def test_sure_answers_count_known_people_and_strangers_half_each():
    """Two known people, one named rightly and surely; four strangers, one of them taken for somebody, surely."""
    distances = np.array([[0.1, 1.5], [1.5, 1.5], [0.1, 1.5], [1.5, 1.5], [1.5, 1.5], [1.5, 1.5]])
    table = evaluation.identification(distances, np.array(["a", "b"]), np.array(["a", "b", "x", "y", "z", "w"]))
    assert PROBABILITY(0.1) > 0.9 > PROBABILITY(1.5)
    assert evaluate.sure_answers(table, INFO, 0.5) == pytest.approx({"right": 0.25 / 0.375, "of_all": 0.375})
    assert evaluate.sure_answers(table, INFO, 1e-9) == {"right": None, "of_all": 0.0}


def test_copies_of_a_picture_are_one_person(tmp_path):
    for name, content in {"b.jpg": b"1", "a.jpg": b"1", "c.jpg": b"2"}.items():
        (tmp_path / name).write_bytes(content)
    assert [file.name for file in evaluate.without_copies(sorted(tmp_path.iterdir()))] == ["a.jpg", "c.jpg"]


def test_people_who_are_like_nobody_else_are_all_named_and_strangers_are_not(small_door):
    sizes, curve = strangers_at_the_door(at_the_door(), INFO)
    assert sizes.gallery.tolist() == [3, 12] and sizes.galleries.tolist() == [4, 1]
    for column in ("rank_1", "rank_10", "named_at_fpir_0.5", "low", "high", "named_at_0.7"):
        assert sizes[column].tolist() == [1, 1], column
    assert sizes.known_probes.tolist() == [12, 12] and sizes["strangers_named_at_0.7"].tolist() == [0, 0]
    assert curve.fpir.iloc[0] == 0 and curve.dir.max() == 1


def test_a_stranger_who_looks_like_somebody_is_named_and_a_picture_like_another_persons_is_not(small_door):
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


# -------------------------------------------------------------------------------------------------- groups
def test_labels_are_read_from_names_and_bad_ones_are_left_out():
    good = ["1_0_0_2017.jpg.chip.jpg", "9_1_1_x.jpg", "10_0_2_x.jpg", "39_1_3_x.jpg", "40_0_4_x.jpg", "116_1_0_x.jpg"]
    bad = [
        "61_1_2017.jpg.chip.jpg",
        "53__0_x.jpg",
        "20_1_5_x.jpg",
        "20_2_1_x.jpg",
        "300_0_1_x.jpg",
        "a_0_1_x.jpg",
        "x.jpg",
        "²_0_1_x.jpg",
    ]
    labels = read_labels([Path("faces") / name for name in (*bad, *good)])
    assert [file.name for file in labels.file] == good
    assert labels.age.tolist() == ["0–9", "0–9", "10–19", "20–39", "40–59", "60 and older"]
    assert labels.sex.tolist() == ["male", "female", "male", "female", "male", "female"]
    assert labels.race.tolist() == ["White", "Black", "Asian", "Indian", "other", "White"]


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(BadArgument, match="no file is named <age>_<sex>_<race>_"):
        read_labels([Path("lena.jpg"), Path("1_2.jpg")])
    with pytest.raises(BadArgument, match="is not a folder"):
        evaluate_groups(tmp_path / "nothing", (), tmp_path)


def test_extremes_are_within_groups_and_among_those_with_pairs():
    rows = [
        ("all", "everybody", "everybody", 9, 36, 0.1, 0.05, 0.2),
        ("race", "a", "a", 4, 6, 0.3, 0.2, 0.4),
        ("race", "a", "b", 8, 16, 0.9, 0.8, 1.0),  # between two groups: not asked for
        ("race", "b", "b", 4, 6, 0.02, 0.0, 0.1),
        ("age", "old", "old", 1, 0, np.nan, np.nan, np.nan),  # nobody to be mistaken for
        ("sex", "m", "m", 5, 10, 0.5, 0.3, 0.6),
        ("sex of adults", "m", "m", 5, 10, 0.95, 0.9, 1.0),  # of adults by race alone
        ("race of adults", "a", "a", 3, 3, 0.6, 0.4, 0.7),
        ("race of adults", "b", "b", 3, 3, 0.01, 0.0, 0.1),
        ("race of adults", "c", "c", 1, 0, np.nan, np.nan, np.nan),
    ]
    columns = ["by", "group", "other", "people", "pairs", "false_accepts", "low", "high"]
    found = extremes(pd.DataFrame(rows, columns=columns))
    assert {name: (row["by"], row["group"], row["false_accepts"]) for name, row in found.items()} == {
        "any": ("all", "everybody", 0.1),
        "fewest": ("race", "b", 0.02),
        "most": ("sex", "m", 0.5),
        "adults_fewest": ("race of adults", "b", 0.01),
        "adults_most": ("race of adults", "a", 0.6),
    }
    assert found["most"] == {
        "by": "sex",
        "group": "m",
        "people": 5,
        "pairs": 10,
        "false_accepts": 0.5,
        "low": 0.3,
        "high": 0.6,
    }
    assert json.loads(json.dumps(found)) == found


#: By what people are told apart.
WAYS = {"all", "race", "sex", "age", "race of adults", "sex of adults"}


def test_adults_are_told_apart_by_race_and_sex_once_more():
    """Those from 20 to 59 who have a face; the others are in the first tables only."""
    rng = np.random.default_rng(0)
    encodings = unit(1 + 0.3 * rng.normal(size=(40, 8))).astype(np.float32)
    encodings[3] = np.nan
    ages, sexes, races = [*AGES] * 8, [*SEXES] * 20, rng.choice(RACES, 40)
    labels = pd.DataFrame({"age": ages, "sex": sexes, "race": races})
    table = by_group(encodings, labels, 0.4)
    usable = np.arange(40) != 3
    adult = usable & np.array([age in ("20–39", "40–59") for age in ages])
    assert set(table.by) == WAYS and (table.without_a_face == 1).all() and adult.sum() == 15
    for by, who in {
        "race": usable,
        "sex": usable,
        "age": usable,
        "race of adults": adult,
        "sex of adults": adult,
    }.items():
        expected = false_accepts_by_group(encodings[who], labels[by.split()[0]].to_numpy()[who], 0.4)
        found = table[table.by == by].drop(columns=["by", "without_a_face"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected)
    assert table[table.by == "all"].pairs.tolist() == [39 * 38 // 2]


# ----------------------------------------------------------------------------- from pictures to result files
@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    """Twenty people with two pictures and 26 with one, none of whom exist, two networks, and the three lists."""
    folder = tmp_path_factory.mktemp("toy")
    people = find_people(ROOT / "datasets" / "people.zip").groupby("identity").head(2)
    people = people[people.identity.isin(sorted(set(people.identity))[:46])]
    for k, (_, rows) in enumerate(people.groupby("identity")):
        name = f"T_{k:02d}" if k < 20 else f"S_{k:02d}"
        (folder / "lfw" / name).mkdir(parents=True)
        for i, source in enumerate(rows.picture[: 2 if k < 20 else 1], 1):
            save_picture(folder / "lfw" / name / picture(name, i), read_picture(source))
    Image.new("RGB", (128, 128), "grey").save(folder / "lfw" / "T_19" / "T_19_0002.jpg")
    same, other = [f"T_{k:02d}\t1\t2" for k in range(20)], [f"T_{k:02d}\t1\tT_{(k + 1) % 20:02d}\t2" for k in range(20)]
    (folder / "pairsDevTest.txt").write_text("\n".join(["20", *same, *other]))
    singles = [f"S_{k}\t1\tS_{k + 1}\t1" for k in range(20, 46, 2)]
    (folder / "pairsDevTrain.txt").write_text("\n".join([*singles, *same[:8]]))
    (folder / "pairs.txt").write_text("\n".join(["2\t3", *same[:3], *other[:3], *same[3:6], *other[3:6]]))
    for name, model in (("twice", twice_looking()), ("twice_without", twice_looking(dimension=12))):
        probability = PROBABILITY if name == "twice" else None
        save_network(model, folder / name, name=name, probability=probability, threshold=0.3)
    return folder


@pytest.fixture(scope="module")
def evaluated(toy) -> dict:
    """What is written of the toy people by a network that looks twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lfw, "CACHE", toy / "faces.json")
        patch.setattr(
            evaluate, "bootstrap_calibration_error", partial(evaluation.bootstrap_calibration_error, samples=20)
        )
        for name, value in {"STRANGERS": 20, "FPIR": 0.5, "GALLERIES": (5, 24)}.items():
            patch.setattr(evaluate, name, value)
        result = evaluate_lfw(toy, str(toy / "twice"), toy / "docs" / "results")
    assert json.loads((toy / "docs" / "results" / "evaluation_twice.json").read_text(encoding="utf-8")) == result
    return result


def test_lfw_is_scored_from_the_photo_at_the_networks_own_threshold(toy, evaluated):
    """As others would have encoded the same photos; a pair with the wall is a mistake."""
    pairs, model = read_pairs(toy / "pairsDevTest.txt"), load_facenet(toy / "twice")
    pictures = find_pictures(toy, {*pairs.files.flat})
    encodings, problems = photos_to_encodings(pictures.values(), model, which="central")
    assert len(problems) == 1
    distances = distances_of(pairs, dict(zip(pictures, encodings, strict=True)))
    assert evaluated["accuracy_at_0.7"]["value"] == accuracy(distances, pairs.same, 0.3)
    assert evaluated["auc"]["value"] == pytest.approx(evaluation.area_under_roc(distances, pairs.same))
    assert evaluated["people"] == 20 and evaluated["different_pairs"] == 40 * 39 // 2 - 20
    usable = np.isfinite(distances)
    squares = (PROBABILITY(distances[usable]) - pairs.same[usable]) ** 2
    assert evaluated["confidence"]["ours"]["brier"] == pytest.approx(squares.mean(), abs=1e-5)
    assert set(evaluated["confidence"]) == {"ours", "DeepFace's way", "a line on the same distances"}


def test_the_protocol_is_run_on_ten_sets_and_on_the_published_ones(evaluated):
    assert {way: row["pairs"] for way, row in evaluated["protocol"].items()} == {
        "one look": 40,
        "with the mirror image": 40,
    }
    assert {row["pairs"] for row in evaluated["view_2"].values()} == {12}
    assert all(0 <= row["accuracy"] <= 1 for part in ("protocol", "view_2") for row in evaluated[part].values())
    assert evaluated["protocol"]["one look"] != evaluated["protocol"]["with the mirror image"]


def test_what_too_few_pairs_would_decide_is_withheld(evaluated):
    assert [row["far"] for row in evaluated["true_accepts_of_all_pairs"]] == [1e-2, 1e-3, 1e-4, 1e-6]
    for row in evaluated["true_accepts_of_all_pairs"] + evaluated["true_accepts_of_the_list"]:
        assert row["true_accepts"] is row["low"] is row["high"] is None and row["decided_by"] < FEWEST_CASES


def test_the_toy_people_are_searched_for_in_both_sizes(toy, evaluated):
    small, large = evaluated["open_set"]
    assert (small["gallery"], large["gallery"], large["galleries"]) == (5, 24, 1)
    assert small["known_probes"] == large["known_probes"] == 19  # nobody finds a face on the wall
    assert 1 >= small["rank_1"] >= large["rank_1"] > 0 and large["strangers_named_at_0.3"] <= 1
    curve = pd.read_csv(toy / "docs" / "results" / "evaluation_twice_open_set.csv")
    assert curve.dir.iloc[-1] == pytest.approx(large["rank_1"], abs=1e-5)
    table = pd.read_csv(toy / "docs" / "results" / "evaluation_twice_reliability.csv")
    assert table.groupby("confidence").pairs.sum().tolist() == [38, 38, 38]  # without the wall's two


def test_a_network_that_never_learned_what_a_distance_means_is_refused_at_once(toy):
    with pytest.raises(
        BadArgument, match="twice_without carries no probability; python tools/assets/calibrate.py learns one"
    ):
        evaluate_lfw(toy, str(toy / "twice_without"), toy / "docs" / "results")


def test_damage_is_done_to_the_second_photo(toy, tmp_path, monkeypatch):
    """In the dark nobody is found: every pair is a mistake then, and a rejected one."""
    monkeypatch.setattr(lfw, "CACHE", tmp_path / "faces.json")
    monkeypatch.setattr(evaluate, "DAMAGES", {"darker": (0, 20), "blurred": (0.1,)})
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


def test_damage_to_a_photo_that_shows_no_face_anyway_changes_nothing(toy, tmp_path, monkeypatch):
    """All forty pairs: two are with the wall, in one place of the list or the other."""
    monkeypatch.setattr(lfw, "CACHE", tmp_path / "faces.json")
    monkeypatch.setattr(evaluate, "DAMAGES", {"darker": (1,)})
    (tmp_path / "pairsDevTest.txt").write_text("T_19\t1\t2\nT_19\t2\tT_01\t1\nT_02\t1\t2\nT_02\t1\tT_03\t1\n")
    shutil.copytree(toy / "lfw", tmp_path / "lfw")
    table = evaluate_damage(tmp_path, str(toy / "twice"), tmp_path, pairs=4)
    assert table.no_face.tolist() == [1, 1] and (table.accuracy <= 0.5).all()


def test_false_accepts_of_groups_are_counted_from_the_photo(toy, tmp_path):
    """Two networks; a wall and a file without labels among them."""
    pictures = sorted((toy / "lfw").glob("S_*/*.jpg"))[:9]
    names = sorted(f"{age}_{i % 2}_{i % 3}_{i}.jpg" for i, age in enumerate((5, 8, 30, 31, 35, 50, 55, 70, 80)))
    (tmp_path / "utk").mkdir()
    for source, name in zip(pictures, names, strict=True):
        shutil.copy(source, tmp_path / "utk" / name)
    Image.new("RGB", (128, 128), "grey").save(tmp_path / "utk" / "41_1_4_9.jpg")
    shutil.copy(pictures[0], tmp_path / "utk" / "nobody.jpg")
    networks = [str(toy / "twice"), str(toy / "twice_without")]
    tables = evaluate_groups(tmp_path / "utk", networks, tmp_path / "docs" / "results")
    summary = json.loads((tmp_path / "docs" / "results" / "groups.json").read_text(encoding="utf-8"))
    assert summary["people"] == 10 and list(summary["networks"]) == list(tables) == networks
    for network in networks:
        encodings, problems = photos_to_encodings(
            [tmp_path / "utk" / n for n in names], load_facenet(network), which="central"
        )
        assert not problems
        table = tables[network]
        assert (table.without_a_face == 1).all() and set(table.by) == WAYS
        race = false_accepts_by_group(encodings, np.array([RACES[int(name.split("_")[2])] for name in names]), 0.3)
        found = table[table.by == "race"].drop(columns=["by", "without_a_face"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(found, race)
        accepted = [np.linalg.norm(a - b) < 0.3 for a, b in combinations(encodings, 2)]
        everybody = table[table.by == "all"].iloc[0]
        assert everybody.pairs == 36 and everybody.false_accepts == pytest.approx(np.mean(accepted))
        assert summary["networks"][network]["any"]["false_accepts"] == pytest.approx(np.mean(accepted))
        written = pd.read_csv(tmp_path / "docs" / "results" / f"groups_{Path(network).name}.csv")
        pd.testing.assert_frame_equal(written, table.round(7).reset_index(drop=True), check_dtype=False)
    assert 0 < summary["networks"][networks[0]]["any"]["false_accepts"] < 1


# ------------------------------------------------------------------------------------ the committed results
NETWORKS = (DEFAULT_NETWORK, "keras-facenet-h5")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def result_of(network: str) -> dict:
    """What was measured of a network on LFW's people."""
    return json.loads((RESULTS / f"evaluation_{Path(network).name}.json").read_text(encoding="utf-8"))


def has_target(command: str, part: str) -> bool:
    """Is this command a target of the Makefile that runs a part of this tool?"""
    recipe = re.search(rf"^{command.split()[1]}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return command.startswith("make ") and recipe is not None and f"tools/measure/evaluate.py {part} " in recipe[1]


def in_order(interval: dict) -> bool:
    """A share between the ends of its interval."""
    return 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1


@pytest.mark.parametrize("network", NETWORKS)
def test_a_result_names_its_network_and_the_command_that_makes_it(network):
    result = result_of(network)
    assert result["network"] == network and has_target(result["command"], "lfw")
    assert ("NETWORK=" in result["command"]) == (network != DEFAULT_NETWORK)
    assert result["command"].endswith(f"NETWORK={network}" if network != DEFAULT_NETWORK else "DIR=…")


@pytest.mark.parametrize("network", NETWORKS)
def test_the_accuracy_is_that_of_the_same_list_elsewhere(network):
    """``tools/measure/lfw.py`` scores the same pairs at the same threshold."""
    result = result_of(network)
    other = json.loads((RESULTS / f"lfw_{Path(network).name}.json").read_text(encoding="utf-8"))
    assert result["people"] == other["people"]
    for end in ("value", "low", "high"):
        assert result["accuracy_at_0.7"][end] == pytest.approx(other["accuracy_at_0.7"][end], abs=1e-4)
    assert result["auc"]["value"] == pytest.approx(other["auc"], abs=1e-4)
    assert in_order(result["accuracy_at_0.7"]) and in_order(result["auc"])
    for row in result["protocol"].values():
        assert 0.5 < row["accuracy"] < 1 and 0 < row["standard_error"] < 0.02 and row["pairs"] == other["pairs"]


@pytest.mark.parametrize("network", NETWORKS)
def test_true_accepts_fall_with_the_false_ones_and_are_withheld_where_few_pairs_decide(network):
    result = result_of(network)
    for name, different in (
        ("true_accepts_of_the_list", 500),
        ("true_accepts_of_all_pairs", result["different_pairs"]),
    ):
        rows = result[name]
        assert [row["far"] for row in rows] == sorted((row["far"] for row in rows), reverse=True)
        for row in rows:
            assert row["decided_by"] == int(different * row["far"] + 1e-9)
            assert (row["true_accepts"] is None) == (row["decided_by"] < FEWEST_CASES)
        said = [row for row in rows if row["true_accepts"] is not None]
        assert said and all(0 <= row["low"] <= row["true_accepts"] <= row["high"] <= 1 for row in said)
        assert [row["true_accepts"] for row in said] == sorted((row["true_accepts"] for row in said), reverse=True)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_larger_the_gallery_the_fewer_are_named(network):
    rows = pd.DataFrame(result_of(network)["open_set"])
    assert rows.gallery.tolist() == list(evaluate.GALLERIES)
    assert rows.rank_1.is_monotonic_decreasing and rows.rank_1.iloc[-1] < rows.rank_1.iloc[0] <= 1
    assert rows["named_at_fpir_0.01"].is_monotonic_decreasing and rows["strangers_named_at_0.7"].is_monotonic_increasing
    assert rows.threshold.is_monotonic_decreasing and (rows.threshold > 0).all()
    assert (rows.rank_10 >= rows.rank_1).all() and (rows.rank_10 <= 1).all()
    for named in ("named_at_fpir_0.01", "named_at_0.7"):
        assert (rows[named] <= rows.rank_1 + 1e-12).all() and (rows[named] >= 0).all()
    assert (rows.low <= rows["named_at_fpir_0.01"]).all() and (rows["named_at_fpir_0.01"] <= rows.high).all()
    assert rows.known_probes.nunique() == 1 and (rows.galleries * rows.gallery <= 2 * rows.known_probes + 2000).all()
    assert rows["strangers_named_at_0.7"].between(0, 1).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_the_curve_belongs_to_the_largest_gallery(network):
    largest = result_of(network)["open_set"][-1]
    curve = pd.read_csv(RESULTS / f"evaluation_{Path(network).name}_open_set.csv")
    assert all(curve[column].is_monotonic_increasing for column in ("threshold", "fpir", "dir"))
    assert curve.fpir.between(0, 1).all() and curve.fpir.iloc[-1] > 0.99
    assert curve.dir.iloc[-1] == pytest.approx(largest["rank_1"], abs=1e-5)
    below, above = (
        curve[curve.threshold <= largest["threshold"]].iloc[-1],
        curve[curve.threshold > largest["threshold"]].iloc[0],
    )
    assert below.fpir <= 0.01 + 1e-5 and below.dir - 1e-5 <= largest["named_at_fpir_0.01"] <= above.dir + 1e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_how_far_a_confidence_is_off_is_what_its_table_shows(network):
    result = result_of(network)["confidence"]
    table = pd.read_csv(RESULTS / f"evaluation_{Path(network).name}_reliability.csv")
    others = {"DeepFace's way", "a line on the same distances"} if network == DEFAULT_NETWORK else set()
    assert set(result) == set(table.confidence) == {"ours"} | others
    for name, row in result.items():
        rows = table[table.confidence == name]
        assert rows.pairs.sum() == 1000 and rows.score.is_monotonic_increasing and rows.score.between(0, 1).all()
        error = np.average((rows.score - rows.share).abs(), weights=rows.pairs)
        assert row["expected_calibration_error"]["value"] == pytest.approx(error, abs=2e-5)
        assert (rows.share * rows.pairs).sum() == pytest.approx(500, abs=0.1)
        assert 0 < row["brier"] < 0.25


@pytest.mark.parametrize("network", NETWORKS)
def test_the_calibration_error_lies_in_its_interval(network):
    assert all(in_order(row["expected_calibration_error"]) for row in result_of(network)["confidence"].values())


def test_our_confidence_is_less_off_than_deepfaces():
    ours, theirs = (result_of(DEFAULT_NETWORK)["confidence"][name] for name in ("ours", "DeepFace's way"))
    assert ours["expected_calibration_error"]["high"] < theirs["expected_calibration_error"]["low"]
    assert ours["brier"] < theirs["brier"]


def test_the_groups_add_up_to_everybody():
    table = pd.read_csv(RESULTS / f"groups_{Path(DEFAULT_NETWORK).name}.csv")
    everybody = table[table.by == "all"].iloc[0]
    assert everybody.pairs == math.comb(int(everybody.people), 2)
    assert set(table.by) == WAYS
    names = {"race": set(RACES), "sex": set(SEXES), "age": set(AGES)}
    for by, expected in names.items():
        rows = table[table.by == by]
        assert set(rows.group) == set(rows.other) == expected and rows.pairs.sum() == everybody.pairs
        inside = rows[rows.group == rows.other]
        assert (
            inside.people.sum() == everybody.people and (inside.pairs == inside.people * (inside.people - 1) // 2).all()
        )
        accepted = (rows.false_accepts * rows.pairs).sum()
        assert accepted == pytest.approx(everybody.false_accepts * everybody.pairs, abs=1 + 1e-7 * everybody.pairs)
    inside = table[table.group == table.other].set_index(["by", "group"]).people
    adults = inside["age"]["20–39"] + inside["age"]["40–59"]
    for by in ("race", "sex"):
        assert inside[f"{by} of adults"].sum() == adults and (inside[f"{by} of adults"] <= inside[by]).all()
        assert table[table.by == f"{by} of adults"].pairs.sum() == math.comb(int(adults), 2)
    assert ((table.low <= table.false_accepts) & (table.false_accepts <= table.high)).all()
    assert table.low.min() >= 0 and table.high.max() <= 1 and table.without_a_face.nunique() == 1


def test_the_summary_of_the_groups_is_that_of_the_table():
    summary = json.loads((RESULTS / "groups.json").read_text(encoding="utf-8"))
    assert has_target(summary["command"], "groups") and list(summary["networks"]) == [DEFAULT_NETWORK]
    table = pd.read_csv(RESULTS / f"groups_{Path(DEFAULT_NETWORK).name}.csv")
    assert summary["people"] == table[table.by == "all"].people.iloc[0] + table.without_a_face.iloc[0]
    for name, row in extremes(table).items():
        assert summary["networks"][DEFAULT_NETWORK][name] == pytest.approx(row, abs=1e-7), name
    said = summary["networks"][DEFAULT_NETWORK]
    assert said["fewest"]["false_accepts"] < said["any"]["false_accepts"] < said["most"]["false_accepts"]
    assert said["adults_fewest"]["false_accepts"] < said["adults_most"]["false_accepts"]


def test_damage_never_helps_for_sure_and_its_rates_make_its_accuracy():
    table = pd.read_csv(RESULTS / "damage.csv")
    expected = [
        ("nothing", 0.0),
        *((kind, level) for kind, levels in DAMAGE_LEVELS.items() for level in levels if level),
    ]
    measured_ways = table[(table.level > 0) | (table.damage == "nothing")]  # a level of 0 may be listed, too
    assert list(zip(measured_ways.damage, measured_ways.level, strict=True)) == expected
    assert (table.pairs == 500).all() and table.no_face.between(0, 500).all()
    assert ((table.low >= 0) & (table.low <= table.accuracy) & (table.accuracy <= table.high) & (table.high <= 1)).all()
    errors = 250 * (table.false_rejects + table.false_accepts)  # of 250 pairs each; a lost face may be one more
    missed = 500 * (1 - table.accuracy) - errors
    assert (missed > -0.1).all() and (missed <= table.no_face + 0.1).all()
    untouched = table.iloc[0]
    measured = ["accuracy", "low", "high", "false_rejects", "false_accepts", "no_face"]
    assert (table[table.level == 0][measured] == untouched[measured]).all(axis=None)
    assert (table.low <= untouched.high).all()
    worst = table.groupby("damage", sort=False).last().drop("nothing")
    assert (worst.accuracy < untouched.accuracy).all()
    assert untouched.accuracy == pytest.approx(result_of(DEFAULT_NETWORK)["accuracy_at_0.7"]["value"], abs=0.02)
