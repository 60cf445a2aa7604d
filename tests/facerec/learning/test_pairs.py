"""Pairs and batches: balanced, without repetition, the same under a seed; one bad picture is one row."""

import copy
import shutil
from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument, UnreadableImage
from facerec.learning.augmentation import Variation
from facerec.learning.datasets import find_people
from facerec.learning.pairs import PairFaces, PersonFaces, load_faces, make_pairs, one_person_pairs, open_faces

PLAIN = Variation(augmented=False)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return find_people("datasets/people.zip")


def test_make_pairs_draws_half_same_half_different_without_repetition(people):
    pairs = make_pairs(people, 4001, seed=1)
    assert len(pairs) == 4000 and pairs.same.sum() == 2000
    assert ((pairs.identity_1 == pairs.identity_2) == pairs.same).all()
    assert len({frozenset(pair) for pair in zip(pairs.picture_1, pairs.picture_2, strict=True)}) == 4000
    assert all(path.split("/")[-2] == name for path, name in zip(pairs.picture_1, pairs.identity_1, strict=True))
    assert pairs.same.head(400).sum() not in (0, 400)  # shuffled
    assert pairs.equals(make_pairs(people, 4001, seed=1)) and not pairs.equals(make_pairs(people, 4001, seed=2))


def test_make_pairs_uses_people_and_pictures_evenly(people):
    pairs = make_pairs(people, 2 * 3 * 242)
    assert set(Counter(pairs[pairs.same].identity_1).values()) == {3}
    different = pairs[~pairs.same]
    used = Counter([*different.picture_1, *different.picture_2])
    assert max(used.values()) <= 2


def test_make_pairs_keeps_the_limit_per_picture(people):
    few = people[people.identity.isin(["p000", "p001", "p002"])].reset_index(drop=True)
    pairs = make_pairs(few, 20, per_picture=1)
    for part in (pairs[pairs.same], pairs[~pairs.same]):
        assert max(Counter([*part.picture_1, *part.picture_2]).values()) == 1
    with pytest.raises(BadArgument, match="40 pairs need 20 same ones; 24 pictures of 3 people give 12 with at most 1"):
        make_pairs(few, 40, per_picture=1)


def test_make_pairs_says_how_many_pairs_there_are(people):
    one = people[people.identity == "p000"].reset_index(drop=True)
    with pytest.raises(BadArgument, match="need 10 different ones; 8 pictures of 1 person give 0"):
        make_pairs(one, 20)
    with pytest.raises(BadArgument, match="need 100 same ones; 8 pictures of 1 person give 28"):
        make_pairs(one, 200)


def test_make_pairs_ignores_gaps_in_the_index(people):
    some = people.iloc[8:40]
    pairs = make_pairs(some, 40)
    assert set(pairs.picture_1) <= set(some.picture)
    assert all(path.split("/")[-2] == name for path, name in zip(pairs.picture_2, pairs.identity_2, strict=True))


@pytest.fixture
def damaged_people(tmp_path, images) -> pd.DataFrame:
    """One person with six pictures; ``3.jpg`` is damaged."""
    (tmp_path / "lena").mkdir()
    for i in range(6):
        shutil.copy(images / f"camera_{i}.jpg", tmp_path / "lena" / f"{i}.jpg")
    (tmp_path / "lena" / "3.jpg").write_bytes(b"no picture")
    return find_people(tmp_path)


def test_load_faces_reports_a_damaged_picture_and_loads_the_others(damaged_people):
    faces, problems = load_faces(list(damaged_people.picture), side=32)
    assert list(problems) == [3] and "is not a picture" in str(problems[3])
    assert faces.shape == (6, 32, 32, 3) and faces[3].max() == 0
    assert faces[[0, 1, 2, 4, 5]].max(axis=(1, 2, 3)).min() > 50


def test_open_faces_refuses_a_damaged_picture(damaged_people):
    with pytest.raises(UnreadableImage, match=r"lena/3.jpg can't be used"):
        open_faces(list(damaged_people.picture), side=32)


@pytest.fixture(scope="module")
def pair_faces(people) -> PairFaces:
    return PairFaces(make_pairs(people.head(160), 100, seed=1), side=24)


def take(dataset, count: int) -> list[tuple]:
    return [(a.numpy(), b.numpy(), y.numpy()) for (a, b), y in dataset.take(count)]


def test_pair_batches_show_every_pair_once_per_epoch_in_a_new_order(pair_faces):
    first, second = pair_faces.as_input()[pair_faces.rows.T]
    shown = take(pair_faces.batches(20, PLAIN, seed=5), 10)
    assert shown[0][0].shape == (20, 24, 24, 3) and shown[0][2].dtype == np.float32
    orders = []
    for epoch in (shown[:5], shown[5:]):
        numbers = []
        for a, b, same in epoch:
            for x, y, s in zip(a, b, same, strict=True):
                alike = np.isclose(first, x).all(axis=(1, 2, 3)) & np.isclose(second, y).all(axis=(1, 2, 3))
                (number,) = np.flatnonzero(alike)
                assert s == pair_faces.same[number]
                numbers.append(number)
        assert sorted(numbers) == list(range(100))
        orders.append(numbers)
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])


@pytest.mark.parametrize("augmented", [True, False])
def test_pair_batches_depend_on_seed_and_epoch_alone(pair_faces, augmented):
    """So a training that was killed after its first epoch sees in the second what it would have seen."""
    whole = take(pair_faces.batches(30, Variation(augmented), seed=5), 6)  # two epochs of three batches
    rest = take(pair_faces.batches(30, Variation(augmented), seed=5, first_epoch=1), 3)
    for a, b in zip(whole[3:], rest, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    other = take(pair_faces.batches(30, Variation(augmented), seed=6), 1)
    assert not np.array_equal(other[0][0], whole[0][0])


def test_pair_batches_flip_half_of_the_faces_and_change_light_a_little(pair_faces):
    """Both faces of a pair are changed, each on its own; values stay in 0..1."""
    plain, changed = (take(pair_faces.batches(100, Variation(augmented), seed=1), 1)[0] for augmented in (False, True))
    np.testing.assert_array_equal(plain[2], changed[2])
    for side in (0, 1):
        before, after = plain[side].reshape(100, -1), changed[side].reshape(100, -1)
        mirrored = plain[side][:, :, ::-1].reshape(100, -1)
        like = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(before, after, strict=True)])
        like_mirrored = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(mirrored, after, strict=True)])
        flipped = like_mirrored > like
        assert np.maximum(like, like_mirrored).min() > 0.9
        assert 30 < flipped.sum() < 70
        assert 0.02 < np.abs(before.mean(axis=1) - after.mean(axis=1)).mean() < 0.1
        assert after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("batch", [0, 101])
def test_pair_batches_reject_an_impossible_batch_size(pair_faces, batch):
    with pytest.raises(BadArgument, match="there are 100 pairs"):
        pair_faces.batches(batch)


def test_pair_distances_are_distances_of_encodings(people, small_network):
    pairs = make_pairs(people[people.identity < "p004"], 12)
    found = PairFaces(pairs, side=8).distances(small_network)
    for distance, row in zip(found, pairs.itertuples(), strict=True):
        faces, _ = load_faces([row.picture_1, row.picture_2], 8)
        first, second = np.asarray(small_network(faces.astype(np.float32)))
        assert distance == pytest.approx(np.linalg.norm(first - second), abs=1e-5)


def test_one_person_pairs_are_balanced_and_use_each_stranger_once():
    people = find_people("datasets/people.zip")
    own, others = people.picture[:4], people.picture[8:]
    same = [(own[0], own[1]), (own[0], own[2]), (own[1], own[3])]
    pairs = one_person_pairs(same, own.to_numpy(), others, times=5)
    assert len(pairs) == 30 and pairs.same.sum() == 15
    assert pairs[pairs.same].groupby(["picture_1", "picture_2"]).size().tolist() == [5, 5, 5]
    different = pairs[~pairs.same]
    assert different.picture_2.is_unique and set(different.picture_2) <= set(others)
    assert set(different.picture_1) == set(own)
    with pytest.raises(BadArgument, match="3 same pairs and 0 pictures of others: both are needed"):
        one_person_pairs(same, own, others[:0])


@pytest.mark.parametrize(("own", "others", "count"), [(10, 40, 40), (12, 640, 330), (60, 640, 640), (3, 2, 2)])
def test_one_person_pairs_draw_as_many_as_the_others_allow(own, others, count):
    """Pairs grow with the square of the pictures, others do not."""
    own, others = [f"own {i}" for i in range(own)], [f"other {i}" for i in range(others)]
    same = list(combinations(own, 2))
    pairs = one_person_pairs(same, own, others, times=5)
    kept = list(zip(pairs.picture_1[pairs.same], pairs.picture_2[pairs.same], strict=True))
    assert len(pairs) == 2 * count and pairs.same.sum() == count and set(kept) <= set(same)
    assert pairs.picture_2[~pairs.same].is_unique and max(Counter(kept).values()) <= 5


@pytest.fixture(scope="module")
def person_faces(people) -> PersonFaces:
    """Eleven people with 8 pictures each, and one with three."""
    few = people[people.identity < "p012"]
    return PersonFaces(few.drop(few.index[-5:]), side=24)


def first(dataset, count: int) -> list[tuple]:
    """Its first batches: faces, same, weights."""
    return list(dataset.take(count).as_numpy_iterator())


def rows_of(batch, faces: PersonFaces) -> np.ndarray:
    """Which pictures a batch without augmentation shows."""
    shown = np.rint(np.asarray(batch[0]) * 255).astype(np.uint8)
    return np.array([np.flatnonzero((faces.faces == face).all(axis=(1, 2, 3)))[0] for face in shown])


def test_person_batches_hold_each_person_k_times_and_label_all_pairs(person_faces):
    for batch in first(person_faces.batches(24, PLAIN, seed=5), 12):
        who = person_faces.who[rows_of(batch, person_faces)]
        assert sorted(Counter(who).values()) == [4] * 6
        pairs = [(i, j) for i in range(24) for j in range(i + 1, 24)]
        assert np.asarray(batch[1]).tolist() == [float(who[i] == who[j]) for i, j in pairs]
        same, weight = np.asarray(batch[1]) == 1, np.asarray(batch[2])
        assert same.sum() == 36 and weight[same].sum() == pytest.approx(weight[~same].sum(), rel=1e-5)
        assert weight.mean() == pytest.approx(1, rel=1e-5)


def test_person_batches_draw_no_person_twice_when_people_do_not_divide_evenly(person_faces):
    for batch in first(person_faces.batches(20, PLAIN, seed=5), 24):  # 5 of 12 people
        who = person_faces.who[rows_of(batch, person_faces)]
        assert sorted(Counter(who).values()) == [4] * 5


def test_person_batches_augment_anew_in_every_step_and_epoch(people):
    copies = people.iloc[[0] * 16].assign(identity=np.repeat(["a", "b", "c", "d"], 4))
    batches = first(PersonFaces(copies, side=24).batches(8, seed=2), 4)  # two steps in each of two epochs
    for i in range(4):
        for j in range(i):
            assert np.abs(batches[i][0] - batches[j][0]).max() > 0.05


@pytest.mark.parametrize("kind", ["pair_faces", "person_faces"])
def test_harsh_batches_show_worse_photographs_of_the_same_faces(kind, request):
    shown = request.getfixturevalue(kind)
    batches = (first(shown.batches(24, Variation(augmented=False, harsh=by), seed=1), 1)[0] for by in (0.0, 1.0, 1.0))
    (before, same), (after, still_same), (again, _) = ((np.asarray(batch[0]), batch[1]) for batch in batches)
    changed = np.abs(after - before).reshape(-1, *before.shape[-3:]).max(axis=(1, 2, 3)) > 0.05
    assert changed.mean() > 0.5 and 0 <= after.min() <= after.max() <= 1
    np.testing.assert_array_equal(still_same, same)
    np.testing.assert_array_equal(after, again)


def test_person_batches_have_a_new_order_in_every_epoch(person_faces):
    batches = first(person_faces.batches(24, PLAIN, seed=1), 6)
    met = [tuple(person_faces.who[rows_of(batch, person_faces)[::4]]) for batch in batches]
    assert len({frozenset(who) for who in (met[0], met[3])}) == 2 and list(met[0]) != sorted(met[0], reverse=True)


def test_person_batches_take_people_and_pictures_in_turn(person_faces):
    batches = first(person_faces.batches(24, PLAIN, seed=1), len(person_faces) // 24 * 8)
    rows = np.concatenate([rows_of(batch, person_faces) for batch in batches])
    visits = np.bincount(person_faces.who[rows]) / 4
    assert visits.min() >= 8 and visits.max() - visits.min() <= 9  # 16 on average, in 8 epochs of 3 batches
    assert sorted(set(rows)) == list(range(len(person_faces)))


def test_person_batches_of_a_long_epoch_begin_a_new_order_only_after_it(person_faces):
    """Few people can learn for as many steps as many: an epoch then shows each picture several times."""
    pictures, twice = len(person_faces), copy.copy(person_faces)
    twice.epoch = 2 * pictures
    steps = len(twice) // 24
    assert steps == 2 * pictures // 24
    met = [rows_of(batch, twice) for batch in first(twice.batches(24, PLAIN, seed=1), 2 * steps)]
    again = [rows_of(batch, twice) for batch in first(twice.batches(24, PLAIN, seed=1, first_epoch=1), steps)]
    np.testing.assert_array_equal(met[steps:], again)
    assert np.bincount(np.concatenate(met[:steps]), minlength=pictures).min() >= 1
    with pytest.raises(BadArgument, match=f"{pictures} pictures"):  # the length of the epoch adds none
        twice.check_batch(2 * pictures)


def test_person_batches_depend_on_seed_and_epoch_alone(person_faces):
    steps = len(person_faces) // 24
    whole = first(person_faces.batches(24, Variation(moved=True), seed=2), 2 * steps)
    resumed = first(person_faces.batches(24, Variation(moved=True), seed=2, first_epoch=1), steps)
    for one, other in zip(whole[steps:], resumed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    (other,) = first(person_faces.batches(24, Variation(moved=True), seed=3), 1)
    assert np.abs(np.asarray(other[0]) - np.asarray(whole[0][0])).max() > 0.1


def test_moved_faces_move_a_little_and_keep_their_light(person_faces):
    ((still, *_),) = first(person_faces.batches(24, PLAIN, seed=2), 1)
    ((moved, *_),) = first(person_faces.batches(24, Variation(augmented=False, moved=True), seed=2), 1)
    still, moved = np.asarray(still), np.asarray(moved)
    difference = np.abs(still - moved).mean(axis=(1, 2, 3))
    assert difference.min() > 0.01 and difference.max() < 0.25
    means = np.abs(still.mean(axis=(1, 2)) - moved.mean(axis=(1, 2)))
    assert means.max() < 0.12  # the light is the same
    assert moved.min() >= 0 and moved.max() <= 1


def test_person_batches_reject_people_that_fill_no_batch(people, person_faces):
    with pytest.raises(BadArgument, match="batch=26: must be 4 faces each of at least 2 people; here are 12 people"):
        person_faces.batches(26)
    with pytest.raises(BadArgument, match="batch=64: .* here are 12 people in 91 pictures"):
        person_faces.batches(64)
    with pytest.raises(BadArgument, match="p003 has a single picture"):
        PersonFaces(people[:25], side=24)
    with pytest.raises(BadArgument, match="there are no people"):
        PersonFaces(people[:0], side=24)
