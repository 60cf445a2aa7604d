"""Encodings are checked before they are kept, and a network has one fingerprint."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.database import FaceDatabase, fingerprint_of
from facerec.errors import BadArgument
from tests.facerec.database.helpers import D, unit

BAD_ENCODINGS = {
    "NaN": np.where(np.arange(D) == 3, np.nan, unit(1)),
    "infinite": np.where(np.arange(D) == 3, np.inf, unit(1)),
    "long": unit(1) * 1.1,
    "nothing": np.zeros((1, D)),
    "none": np.empty((0, D), np.float32),
    "of 8 numbers": unit(1, d=8),
    "three axes": unit(1)[None],
    "a number": 1.0,
    "text": "lena",
    "texts": np.array(["a"] * D),
    "ragged": [[1.0], [1.0, 2.0]],
    "complex": unit(1) * (1 + 0j),
    "None": None,
}


@pytest.mark.parametrize("encoding", BAD_ENCODINGS.values(), ids=BAD_ENCODINGS)
def test_bad_encodings_are_rejected(database, encoding):
    database["omar"] = unit(1, 9)[0]
    for attempt in (
        lambda: database.add("lena", encoding),
        lambda: database.add("omar", encoding),
        lambda: database.update({"lena": encoding}),
    ):
        with pytest.raises(BadArgument, match="encoding"):
            attempt()
    if not isinstance(encoding, np.ndarray) or len(encoding):
        with pytest.raises(BadArgument, match="encoding"):
            database.nearest(encoding)
    assert database == {"omar": unit(1, 9)[0]}


def test_wrong_dimension_is_reported_before_other_errors(database):
    database["omar"] = unit(1, 9)[0]
    for attempt in (
        lambda: database.add("lena", np.ones(8)),
        lambda: database.update({"lena": np.ones(8)}),
        lambda: database.nearest(np.ones(8)),
        lambda: database.nearest(np.full((2, 8), np.nan)),
    ):
        with pytest.raises(BadArgument, match=r"shape \((2, )?8,?\); one is \(16,\)"):
            attempt()


def test_encodings_slightly_off_are_brought_to_unit_length(database):
    database["lena"] = unit(1)[0] * 1.0005
    assert np.linalg.norm(database["lena"]) == pytest.approx(1, abs=1e-6)
    database["omar"] = unit(1)  # (1, D), as the course keeps them
    assert np.array_equal(database["omar"], unit(1)[0])


def test_fingerprint_is_the_same_as_in_earlier_processes(network, tmp_path):
    """The committed database was written by another process, of an earlier version."""
    shutil.copy(ROOT / "tests" / "data" / "old_people.db", tmp_path / "people.db")
    with FaceDatabase(tmp_path / "people.db") as database:
        assert fingerprint_of(network) == database.network
        assert database.network.startswith("resnet:5c6a80a8")


def test_fingerprint_changes_with_weights_name_and_scaling(small_network):
    import keras

    from facerec.networks import FaceNetInfo

    before = fingerprint_of(small_network)
    small_network.facenet = FaceNetInfo("small", 8)
    named = fingerprint_of(small_network)
    small_network.facenet = FaceNetInfo("small", 8, {"nose": (0.5, 0.6)})
    elsewhere = fingerprint_of(small_network)
    scaled = keras.models.clone_model(small_network)
    scaled.set_weights(small_network.get_weights())
    assert fingerprint_of(scaled).split(":")[1] == before.split(":")[1]
    next(layer for layer in scaled.layers if hasattr(layer, "scale")).scale = 1 / 127.5
    weights = [weight + 1e-7 for weight in small_network.get_weights()]
    small_network.set_weights(weights)
    assert len({before, named, elsewhere, fingerprint_of(scaled), fingerprint_of(small_network)}) == 5
