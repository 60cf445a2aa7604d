"""A report on few people withholds its numbers; one on enough people agrees with the rates and the bootstrap."""

import numpy as np
import pytest

from facerec.errors import BadArgument
from facerec.evaluation import error_rates, report_errors


def collection(people: int, pictures: int = 2, apart: float = 0.0, seed: int = 0) -> tuple:
    """All pairs of invented people: distances (n,), same (n,) and identities (n, 2); ``apart`` moves people apart."""
    who = np.repeat([f"p{number:02}" for number in range(people)], pictures)
    i, j = np.triu_indices(len(who), 1)
    same = who[i] == who[j]
    distances = np.where(same, 0.6 - apart, 0.8 + apart) + np.random.default_rng(seed).normal(0, 0.1, len(i))
    return distances, same, np.stack([who[i], who[j]], axis=1)


def test_two_people_with_two_pictures_each_are_too_few():
    report = report_errors(*collection(2, apart=0.3), 0.7)
    assert report.pairs == (4, 2)
    assert report.false_accepts is None and report.false_rejects is None
    assert str(report).count("withheld (fewer than 10 people)") == 2 and "%" not in str(report)


def test_people_with_one_picture_do_not_count_for_false_rejects():
    distances, same, people = collection(12)
    few = (~same) | np.isin(people[:, 0], [f"p{number:02}" for number in range(9)])
    report = report_errors(distances[few], same[few], people[few], 0.7)
    assert report.false_accepts is not None and report.false_rejects is None


def test_report_on_enough_people_agrees_with_the_rates():
    distances, same, people = collection(30)
    report = report_errors(distances, same, people, 0.7, samples=300)
    row = error_rates(distances, same, [0.7]).iloc[0]
    for found, rate in ((report.false_accepts, row.false_accepts), (report.false_rejects, row.false_rejects)):
        assert found.value == pytest.approx(rate)
        assert 0 < found.low < found.value < found.high < 1


def test_rate_without_a_mistake_has_an_upper_bound():
    report = report_errors(*collection(20, apart=0.5), 0.7, samples=50)
    for found in (report.false_accepts, report.false_rejects):
        assert (found.value, found.low) == (0, 0)
        assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))  # of 20 people, none
    assert "0.0 % [0.0, 16.8]" in str(report)


def test_photo_without_a_face_is_a_false_reject():
    distances, same, people = collection(20, apart=0.5)
    report = report_errors(np.where(same, np.nan, distances), same, people, 0.7, samples=50)
    assert report.false_rejects.value == report.false_rejects.high == 1 and report.false_rejects.low < 0.9
    assert report.false_accepts.value == 0


def test_one_person_alone_is_rejected():
    with pytest.raises(BadArgument, match="both kinds are needed"):
        report_errors(*collection(1, 3), 0.7)
