"""Stored results become text in one way, and what was withheld says so."""

import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument
from facerec.evaluation import Interval, as_interval, percent, stored

SHARE = Interval(0.9, 0.85, 0.95)


@pytest.mark.parametrize(
    "form",
    [
        SHARE,
        (0.9, 0.85, 0.95),
        {"value": 0.9, "low": 0.85, "high": 0.95, "far": 0.01},
        pd.Series({"value": 0.9, "low": 0.85, "high": 0.95}),
    ],
)
def test_every_form_of_an_estimate_gives_the_same_text(form):
    assert as_interval(form) == SHARE
    assert percent(form) == "90.0 % [85.0, 95.0]"


def test_estimate_may_have_a_key_of_its_own():
    assert percent({"named": 0.123456, "low": 0.1, "high": 0.2}, 2, "named") == "12.35 % [10.00, 20.00]"


@pytest.mark.parametrize("form", [None, np.nan, (None, None, None), {"value": np.nan, "low": np.nan, "high": np.nan}])
def test_withheld_numbers_are_withheld_in_words(form):
    assert percent(form) == "withheld"


@pytest.mark.parametrize("share", [0.5, np.float32(0.5), np.float64(0.5)])
def test_plain_share_has_no_interval(share):
    assert percent(share) == "50.0 %"


@pytest.mark.parametrize("form", ["0.9", {"value": 0.9}, (0.9, 0.8), 0.9])
def test_anything_else_is_rejected(form):
    with pytest.raises(BadArgument, match="is not an estimate"):
        as_interval(form)


@pytest.mark.parametrize("name", ["nothing.json", "../glossary.md", "pairs"])
def test_unknown_result_is_rejected_by_name(name):
    with pytest.raises(BadArgument, match=name):
        stored(name)
