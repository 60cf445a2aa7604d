"""Short trainings that differ in one thing: what they change, how they run, and how they are compared."""

import json
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest

from facerec.errors import BadArgument
from facerec.learning.crops import Prepared, people_of
from facerec.learning.distillation import Distillation
from facerec.networks import load_facenet
from inception_blocks_v2 import faceRecoModel
from tests.facerec.learning.toys import PARTS, PLAN, prepare_toy, small_student, small_teacher
from tools.measure import ablation
from tools.measure.ablation import TRIALS, WIDE, Couples, OfCouples, OneLook, Trial
from tools.upkeep.cells import ablation_table


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), small_teacher())


def test_every_trial_changes_one_thing():
    first = TRIALS["shipped"]
    for name, trial in TRIALS.items():
        changed = {field for field, a, b in zip(Trial._fields, first, trial, strict=True) if a != b} - {"label"}
        assert len(changed) == {"shipped": 0, "wide": 2, "couples": 2, "triplets": 2}.get(name, 1), name
        assert len(trial.changes) <= 1
    assert WIDE().count_params() * 4 < 25e6 and WIDE().output_shape == faceRecoModel().output_shape


def test_one_look_is_the_first_of_several():
    teacher, raw = small_teacher(), np.random.default_rng(0).normal(size=(5, 2, 128))
    looks_once = OneLook.__new__(OneLook)
    vars(looks_once).update(vars(teacher))
    one = looks_once.encodings(raw)
    np.testing.assert_allclose(one, teacher.encodings(raw[:, :1]))
    assert np.abs(one - teacher.encodings(raw)).max() > 0.01


def test_couples_show_people_again_where_they_can(prepared):
    data = Prepared(prepared, PARTS)
    data.names = np.array([f"faces_00000/{i // 3}_{i}.jpg" for i in range(len(data))])
    batches = Couples(data, small_teacher(), replace(PLAN, batch=8, labelled=("faces",)))
    people = people_of(data.names, ["faces"])
    several = {who for who in people if (people[batches.learned] == who).sum() > 1}
    assert several
    for step in range(4):
        first, second = np.split(batches.numbers(step), 2)
        for a, b in zip(first, second, strict=True):
            assert people[a] not in several or (people[a] == people[b] and a != b)
        _, targets = batches.batch(step)
        assert targets.shape == (8, 129) and set(batches.numbers(step)) <= set(batches.learned)
        same = people[np.r_[first, second]][:, None] == people[np.r_[first, second]]
        np.testing.assert_array_equal(targets[:, -1:] == targets[:, -1], same)


def test_triplet_loss_of_couples_is_added_to_that_of_the_distillation():
    rng = np.random.default_rng(0)
    taught, seen = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 6, 4)).astype("float32"))
    who = np.array([0, 1, 2, 0, 1, 3])
    near = np.square(seen[:, None] - seen).sum(axis=2)
    means = []
    for a, p in permutations(range(6), 2):
        if who[a] == who[p]:
            losses = np.maximum(near[a, p] - near[a, who != who[a]] + 0.2, 0)
            means += [losses[losses > 0].mean()] if (losses > 0).any() else []
    plain = np.asarray(Distillation(3.0).call(taught, seen))
    labelled = np.column_stack([taught, who]).astype("float32")
    assert len(means) > 1
    np.testing.assert_allclose(OfCouples(3.0).call(labelled, seen), plain, rtol=1e-5)
    np.testing.assert_allclose(OfCouples(3.0, 2.0).call(labelled, seen), plain + 2 * np.mean(means), rtol=1e-4)


@pytest.mark.usefixtures("eagerly")
def test_trials_are_trained_once_and_compared_with_the_first(prepared, tmp_path, monkeypatch):
    teacher, labels = small_teacher(), {"shipped": "as it is", "seed": "another seed"}
    for name, label in labels.items():
        changes = {"batch": 4, "seed": len(label)}
        trial = Trial(label, changes, ("faces",), 32, 2, lambda model: teacher, small_student)
        monkeypatch.setitem(TRIALS, name, trial)
    drawn = iter([np.array([[0.10, 0.5], [0.12, 0.4], [0.14, 0.6]]), np.array([[0.08, 0.7], [0.11, 0.5], [0.12, 0.8]])])
    monkeypatch.setattr(
        ablation,
        "draws_of",
        lambda network, people: {"one look": (one := next(drawn)), "with the mirror image": one + [0.05, -0.1]},
    )
    monkeypatch.setattr(ablation, "load_facenet", lambda folder: folder != "weights/resnet" and load_facenet(folder))
    monkeypatch.setattr(ablation, "load_people", lambda folder: SimpleNamespace(who=np.array([0, 0, 1])))
    folders = ["--checkpoints", str(tmp_path)]
    ablation.main(["train", *labels, "--from", str(prepared), *folders])
    ablation.main(["train", *labels, "--from", "nowhere", *folders])  # nothing is left to do
    assert load_facenet(tmp_path / "seed" / "facenet").facenet.name == "seed"
    ablation.main(["score", "folder", "--to", str(tmp_path / "ablation.json"), *folders])
    found = json.loads((tmp_path / "ablation.json").read_text(encoding="utf-8"))
    assert list(found["trials"]) == list(labels) and found["people"] == 2
    change = {name: rate["change"] for name, rate in found["trials"]["seed"]["ways"]["one look"].items()}
    assert change["equal_error_rate"]["value"] == pytest.approx(-0.02)
    assert change["true_accepts_at_0.001"]["low"] == pytest.approx(0.1025)  # of +0.1 and +0.2, drawn together
    drawn = iter([np.array([[0.10, 0.5]] * 3), np.array([[0.05, 0.6]] * 3)])
    to = tmp_path / "ablation.json"
    kept = found["trials"]["seed"] | {"label": "kept"}
    to.write_text(json.dumps(found | {"trials": {**found["trials"], "celeba": kept}}), encoding="utf-8")
    ablation.main(["score", "folder", "seed", "--to", str(to), *folders])
    again = json.loads(to.read_text(encoding="utf-8"))["trials"]
    assert again["celeba"] == kept and list(again) == ["shipped", "celeba", "seed"]
    assert again["seed"]["ways"]["one look"]["equal_error_rate"]["change"]["value"] == pytest.approx(-0.05)
    _, _, first, second, mirrored = ablation_table(found).splitlines()
    assert first.startswith("| as it is | 2 | 1.0 | 10.0 % |  | 50.0 % |") and "+20.0 [+10.2, +19.8]" in second
    assert mirrored.endswith("| 15.0 % | +5.0 [+5.0, +5.0] | 40.0 % | -10.0 [-10.0, -10.0] |")


def test_trials_are_asked_for_by_name_and_compared_with_the_baseline(tmp_path):
    with pytest.raises(BadArgument, match="no trial is called sidee; there are shipped, one_look"):
        ablation.main(["train", "sidee"])
    with pytest.raises(BadArgument, match="lacks the trial 'shipped': train it first"):
        ablation.main(["score", "folder", "--checkpoints", str(tmp_path)])
