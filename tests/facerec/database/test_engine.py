"""The contract of the engines: each does all of it, with the signatures that are written in it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from facerec.database import OtherNetwork
from facerec.database.engine import Change, Engine, check_fits, not_found
from facerec.database.milvus import Milvus
from facerec.database.milvus.change import MilvusChange
from facerec.database.sqlite import SQLite
from facerec.database.sqlite.change import SQLiteChange
from facerec.errors import BadArgument

PAIRS = [(Engine, SQLite), (Engine, Milvus), (Change, SQLiteChange), (Change, MilvusChange)]


def methods(contract: type) -> list[str]:
    return [name for name, value in vars(contract).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.mark.parametrize(("contract", "kind"), PAIRS, ids=lambda kind: kind.__name__)
def test_engines_have_every_method_of_the_contract(contract, kind):
    assert len(methods(contract)) >= 5
    for name in methods(contract):
        written, done = inspect.signature(getattr(contract, name)), inspect.signature(getattr(kind, name))
        assert getattr(kind, name) is not getattr(contract, name), f"{kind.__name__}.{name} is missing"
        described = [(p.name, p.kind, p.default) for p in written.parameters.values()]
        assert [(p.name, p.kind, p.default) for p in done.parameters.values()] == described, f"{kind.__name__}.{name}"


def test_encodings_that_do_not_fit_an_engine_are_rejected():
    engine = SQLite(":memory:", "mean")
    check_fits(engine, "one:1", 16)  # nothing is noted yet
    engine.expect("one:1", 16)
    check_fits(engine, "one:1", 16)
    check_fits(engine, None, None)
    with pytest.raises(OtherNetwork, match="holds encodings of one"):
        check_fits(engine, "two:2", 16)
    with pytest.raises(BadArgument, match="these encodings have 8 numbers; those in :memory: have 16"):
        check_fits(engine, None, 8)


def test_empty_answer_has_no_names_and_infinite_distances():
    identities, distances = not_found(2, 3)
    assert identities.tolist() == [[None] * 3] * 2
    assert np.isinf(distances).all()
    assert distances.dtype == np.float32
