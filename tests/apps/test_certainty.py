"""How sure a verdict is: in words no surer than the numbers, and less sure the more people might be meant."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from apps import certainty, comparison
from apps.certainty import Certainty, probability_among
from apps.comparison import Comparison

NAN = float("nan")


@pytest.fixture
def even(monkeypatch):
    """A network whose distances are odds: one person is 4 ** (5 - 10 d) times as likely as two at the distance d."""
    monkeypatch.setattr(certainty, "confidence", lambda d, model: 1 / (1 + 4.0 ** (10 * np.asarray(d) - 5)))
    return SimpleNamespace()


@pytest.mark.parametrize(
    ("probability", "is_same", "words"),
    [
        (0.999, True, "almost certain"), (0.001, False, "almost certain"), (0.97, True, "very sure"),
        (0.1, False, "fairly sure"), (0.7, True, "not sure"), (0.5, True, "not sure at all"), (NAN, True, ""),
    ],
)  # fmt: skip
def test_sureness_in_words(probability, is_same, words):
    assert Certainty(is_same, probability).words == words


@pytest.mark.parametrize(
    ("probability", "is_same", "score", "words"),
    [
        (0.85, True, 0.9, "The same person"), (0.15, False, 0.1, "Two different people"),
        (0.75, True, 0.9, "Probably the same person"), (0.25, False, 0.1, "Probably two different people"),
        (0.99, True, 0.0, "Probably the same person"), (NAN, False, 1.0, "Probably two different people"),
        (0.55, True, 0.9, "Too close to call"), (0.45, False, 1.0, "Too close to call"),
        (NAN, True, 0.9, "The same person"), (0.1, True, 0.9, "The same person, at this threshold only"),
        (0.9, False, 0.1, "Two people, at this threshold only"),
    ],
)  # fmt: skip
def test_headline_is_no_surer_than_the_networks(probability, is_same, score, words):
    distance = 0.5 if is_same else 0.9
    said = Comparison((), np.empty(0), (), (1, 1), distance, 0.7, probability, score, score_threshold=0.4)
    assert said.headline == words


@pytest.mark.parametrize(
    ("probability", "words"), [(0.004, "less than 1 %"), (0.412, "41 %"), (0.99, "99 %"), (0.9951, "more than 99 %")]
)
def test_probabilities_are_rounded_and_never_certain(probability, words):
    assert Certainty(True, probability).per_cent == words


def test_probability_among_one_person_and_a_stranger_is_the_plain_one(even):
    assert probability_among([0.4], even, people=1, prior=0.5) == pytest.approx(0.8)
    assert probability_among([0.4], even, people=1) == pytest.approx(0.8)


def test_probability_falls_with_the_number_of_people(even):
    assert probability_among([0.4], even, people=12) == pytest.approx(4 / (4 + 12))  # as identify's prior of 1/13
    assert probability_among([0.4], even, people=1000) < 0.01


def test_another_person_as_near_halves_the_probability(even):
    alone = probability_among([0.0, 0.9], even, people=2)
    assert alone > 0.99
    assert probability_among([0.0, 0.0], even, people=2) == pytest.approx(0.5, abs=0.001)
    assert probability_among([0.3, 0.0], even, people=2, prior=0.5) < 0.05  # a claim, and someone else is nearer


def test_network_without_calibration_is_neither_sure_nor_unsure(monkeypatch):
    monkeypatch.setattr(certainty, "confidence", lambda d, model: np.full(np.shape(d), np.nan))
    assert math.isnan(probability_among([0.4, 0.5], None, people=3))
    none = Certainty(True, NAN)
    assert not none.is_close and not none.is_doubtful and not none.is_against


def test_second_opinion_names_its_reliability():
    said = comparison.reliability()
    assert "the twins were right in 90 of 100 cases, FaceNet in 93" in said
    assert said in Comparison((), np.empty(0), (), (1, 1), 0.5, 0.7, 0.9, 0.9, 0.4).second_opinion
