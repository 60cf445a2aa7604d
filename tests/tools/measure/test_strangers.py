"""The check of the thresholds for K people, on invented encodings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from facerec.encoding import unit_length
from tools.measure import strangers
from tools.measure.strangers import AIM, DRAWINGS, check, draw, named, parts


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    """Three hundred people, every third with three pictures, the others with one."""
    return np.repeat(np.arange(300), np.where(np.arange(300) % 3 == 0, 3, 1))


@pytest.fixture(scope="module")
def encodings(people) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(300, 16))
    return unit_length((centres[people] + 0.2 * rng.normal(size=(len(people), 16))).astype(np.float32))


def test_parts_share_no_person(people):
    halves = list(parts(people, None))
    assert len(halves) == 2 and len(list(parts(people, 100))) == 1
    for fit, held_out in (*halves, *parts(people, 100)):
        first, second = set(people[fit]), set(people[held_out])
        assert not first & second and first | second == set(range(300))


@pytest.mark.parametrize(("size", "most", "left"), [(5, 40, 40), (120, 40, 40), (120, 350, 180), (280, 40, 20)])
def test_drawn_strangers_are_not_known_and_known_pictures_are_not_in_the_gallery(people, size, most, left, monkeypatch):
    monkeypatch.setattr(strangers, "STRANGERS", most)
    people = np.random.default_rng(0).permutation(people)
    gallery, others, unknown = draw(people, size, np.random.default_rng(1))
    assert len(gallery) == len(set(people[gallery])) == size and set(people[others]) <= set(people[gallery])
    assert not set(people[unknown]) & set(people[gallery]) and len(set(people[unknown])) == len(unknown) == left
    assert not set(gallery) & set(others)


def test_people_with_several_pictures_come_into_the_gallery_first_by_a_random_picture(people):
    drawings = [draw(people, 50, np.random.default_rng(seed)) for seed in range(3)]
    for gallery, others, _ in drawings:
        assert (people[gallery] % 3 == 0).all() and len(others) == 100
        assert set(gallery - np.searchsorted(people, people[gallery])) == {0, 1, 2}  # not always the first of three
    assert len({tuple(sorted(gallery)) for gallery, _, _ in drawings}) == 3


def test_threshold_for_so_many_people_comes_from_other_people_than_those_checked(encodings, people, monkeypatch):
    fitted, checked, asked = [], [], []

    def fit(_, who):
        fitted.append(set(who))
        return SimpleNamespace(threshold=lambda *sizes: asked.append(sizes) or 0.5)

    monkeypatch.setattr(strangers, "fit_false_accepts", fit)
    monkeypatch.setattr(strangers, "draw", lambda who, *rest: checked.append(set(who)) or draw(who, *rest))
    check(encodings, people, own=2.0, size=20, fitted=None)
    assert asked == [(20, AIM)] * 2 and len(fitted) == 2 and len(checked) == 2 * DRAWINGS
    for half, others in zip(fitted, (checked[:DRAWINGS], checked[DRAWINGS:]), strict=True):
        assert all(not half & seen and half | seen == set(range(300)) for seen in others)


def test_named_counts_strangers_and_right_names():
    encodings = unit_length(np.array([[1, 0], [0, 1], [1, 0.1], [1, 0.2], [-1, 0], [0.1, 1]], np.float32))
    people = np.array([0, 1, 0, 1, 2, 3])  # row 3 shows person 1 but looks like person 0
    drawn = np.array([0, 1]), np.array([2, 3]), np.array([4, 5])
    assert named(encodings, people, 0.5, drawn) == (0.5, 0.5)
    assert named(encodings, people, 0.01, drawn) == (0.0, 0.0)


def test_check_finds_about_the_share_of_strangers_that_was_aimed_at(encodings, people, monkeypatch):
    monkeypatch.setattr(strangers, "AIM", 0.05)
    row = check(encodings, people, own=2.0, size=20, fitted=None)
    assert len(row["thresholds"]) == 2 and 0.02 < row["strangers_named"] < 0.09
    assert row["strangers_named_at_2"] > 0.99 and row["known_named"] > 0.3
    strict = check(encodings, people, own=0.05, size=20, fitted=None)
    assert strict["thresholds"] == [0.05, 0.05] and strict["strangers_named"] == 0  # never above the network's own
