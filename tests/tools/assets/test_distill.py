"""The distillation tool writes a network that loads."""

import pytest

from facerec.learning.crops import Teacher
from facerec.networks import load_facenet
from tests.facerec.learning.toys import prepare_toy, small_student, small_teacher
from tools.assets import distill


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), teacher)


def test_train_command_writes_a_folded_network(prepared, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(distill, "load_facenet", lambda path: None)
    monkeypatch.setattr(distill, "Teacher", lambda model: teacher)
    monkeypatch.setattr(distill, "faceRecoModel", small_student)
    numbers = {"steps": 2, "warmup": 1, "batch": 4, "validation": 3, "every": 1, "side": 32, "name": "toy"}
    words = ["train", "--from", prepared, "--checkpoints", tmp_path / "c", "--to", tmp_path / "net"]
    words += [word for key, value in numbers.items() for word in (f"--{key}", value)]
    distill.main([str(word) for word in words])
    model = load_facenet(tmp_path / "net")
    assert model.facenet.name == "toy" and model.input_shape == (None, 32, 32, 3)
    assert not any("batch" in type(layer).__name__.lower() for layer in model.layers)
