"""Networks compared on folds: their numbers are those of the steps, whatever their calibration."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from facerec.encoding import faces_to_encodings, unit_length
from facerec.networks import load_facenet
from tests.tools.measure.invented import in_order
from tools.assets import calibrate
from tools.assets.calibrate import raw_model
from tools.measure import folds, lfw, steps
from tools.measure.steps import HeldOut, Rates, hold_out


@pytest.fixture(scope="module")
def people(toy, tmp_path_factory) -> folds.People:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lfw, "CACHE", tmp_path_factory.mktemp("cache") / "faces.json")
        return folds.load_people(toy)


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """No factor brings the threshold of an untrained network to 0.7: the mean is subtracted once."""
    monkeypatch.setattr(steps, "fit", lambda raw, people, same_pairs: (calibrate.mean_of_people(raw, people), 1.0))


def test_people_are_those_with_a_face(people):
    assert len(people.pictures) == len(people.keypoints) == len(people.who)
    names = np.array([path.stem.rpartition("_")[0] for path in people.pictures])
    assert all(
        (names[i] == names[j]) == (people.who[i] == people.who[j]) for i, j in np.ndindex(len(names), len(names))
    )
    assert (people.who[people.same_pairs[:, 0]] == people.who[people.same_pairs[:, 1]]).all()


def test_scores_are_those_of_held_out_people(toy, people):
    network = load_facenet(toy / "twice")
    both = zip(people.pictures, people.keypoints, strict=True)
    faces = np.stack([lfw.aligned(*face, network.facenet) for face in both])
    one, other = (faces_to_encodings(view, raw_model(network)) for view in (faces, faces[:, :, ::-1]))
    table = folds.score(network, people)
    for way, seen in (("one look", one), ("with the mirror image", unit_length(one + other))):
        held: HeldOut = hold_out(seen, people.who, people.same_pairs)
        expected = Rates(held).at(np.ones(people.who.max() + 1))
        assert [rate["value"] for rate in table[way].values()] == pytest.approx(list(expected))
        assert all(in_order(rate) for rate in table[way].values())


def test_command_writes_a_row_per_network(toy, people, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folds, "load_people", lambda folder: people)
    networks = [str(toy / "twice"), str(toy / "twice_without")]
    monkeypatch.setattr(sys, "argv", ["folds.py", str(toy), *networks, "--to", str(tmp_path / "folds.json")])
    folds.main()
    written = json.loads((tmp_path / "folds.json").read_text(encoding="utf-8"))
    assert list(written["networks"]) == networks and written["pictures"] == len(people.who)
    assert capsys.readouterr().out.count("true accepts at 0.1%") == 4
