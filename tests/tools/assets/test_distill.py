"""The distillation tool: stages, stopping and resuming, networks that load."""

import pytest

from facerec.errors import BadArgument
from facerec.learning.crops import Teacher
from facerec.learning.distillation import Stage
from facerec.networks import load_facenet
from tests.facerec.learning.toys import prepare_toy, small_student, small_teacher
from tools.assets import distill

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), teacher)


@pytest.fixture
def small(teacher, monkeypatch):
    """The tool with a small teacher and a small student."""
    monkeypatch.setattr(distill, "load_facenet", lambda path: None)
    monkeypatch.setattr(distill, "Teacher", lambda model: teacher)
    monkeypatch.setattr(distill, "faceRecoModel", small_student)


def words(*given: object) -> list[str]:
    return [str(word) for word in given]


def test_train_command_writes_a_folded_network(small, prepared, tmp_path, capsys):
    numbers = {"warmup": 1, "cooldown": 1, "batch": 4, "held-out": 6, "every": 1, "name": "toy"}
    command = ["train", "--from", prepared, "--checkpoints", tmp_path / "c", "--to", tmp_path / "net"]
    command += ["--stage", 32, 2, "faces:1", "--stage", 40, 1, "faces"]
    command += [word for key, value in numbers.items() for word in (f"--{key}", value)]
    distill.main(words(*command, "--stop-after", 1))
    assert not (tmp_path / "net").exists()
    distill.main(words("write", "--from", prepared, "--checkpoints", tmp_path / "c", "--to", tmp_path / "half"))
    assert "step 1 of 3" in capsys.readouterr().out
    distill.main(words(*command))
    for folder, name, side in (("half", "Inception FaceNet", 32), ("net", "toy", 40)):
        model = load_facenet(tmp_path / folder)
        assert model.facenet.name == name and model.input_shape == (None, side, side, 3)
        assert not any("batch" in type(layer).__name__.lower() for layer in model.layers)


def test_write_says_where_nothing_was_trained(small, prepared, tmp_path):
    with pytest.raises(BadArgument, match=r"holds no checkpoint\.npz: nothing has been trained there yet"):
        distill.main(words("write", "--from", prepared, "--checkpoints", tmp_path / "c", "--to", tmp_path / "net"))


def test_stage_may_name_parts_that_come_later(prepared):
    stage = distill.stage_of(["64", "30", "faces", "later:2"], prepared)
    assert stage == Stage(64, 30, ("faces_00000", "faces_00001", "later_00000", "later_00001"))
    with pytest.raises(BadArgument, match="--stage 64 faces"):
        distill.stage_of(["64", "faces"], prepared)
