"""Checkpoints restore everything that changes in training; damaged and foreign ones are rejected."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument, TrainingFailed
from facerec.learning import checkpoints
from facerec.learning.checkpoints import (
    BEFORE,
    FILE,
    Epochs,
    Log,
    all_variables,
    alone_in,
    fingerprint,
    is_intact,
    load_checkpoint,
    precision,
    read_config,
    read_state,
    save_checkpoint,
)


def tiny(seed: int) -> keras.Model:
    """A network with everything that has a state: batch normalisation, dropout, Adam."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((4,))
    y = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(3)(x)))
    model = keras.Model(x, keras.layers.Dense(1)(y))
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def steps(model: keras.Model, numbers: range) -> list[float]:
    data = np.random.default_rng(0).normal(size=(20, 8, 4)).astype("float32")
    return [float(np.asarray(model.train_on_batch(data[i], data[i, :, :1]))) for i in numbers]


def test_loaded_checkpoint_resumes_exactly(tmp_path):
    uninterrupted = tiny(1)
    losses = steps(uninterrupted, range(10))
    first = tiny(1)
    steps(first, range(6))
    save_checkpoint(first, tmp_path, 6, {"rate": 0.1})
    second = tiny(2)  # other weights, another dropout: all of it has to come from the file
    assert load_checkpoint(second, tmp_path, {"rate": 0.1}) == 6
    np.testing.assert_allclose(steps(second, range(6, 10)), losses[6:], rtol=1e-6)
    for a, b in zip(all_variables(uninterrupted), all_variables(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_missing_checkpoint_starts_at_step_0(tmp_path):
    assert load_checkpoint(tiny(1), tmp_path, {}) == 0 and read_config(tmp_path) is None


def test_load_checkpoint_rejects_another_configuration(tmp_path):
    model = tiny(1)
    save_checkpoint(model, tmp_path, 1, {"rate": 0.1, "people": ["a", "b"], "epochs": 5})
    with pytest.raises(BadArgument, match="was begun with rate 0.1, not 0.2"):
        load_checkpoint(model, tmp_path, {"rate": 0.2, "people": ["a", "b"], "epochs": 5})
    with pytest.raises(BadArgument, match="epochs 5, not 9"):
        load_checkpoint(model, tmp_path, {"rate": 0.1, "people": ["a", "b"], "epochs": 9})
    asked = {"rate": 0.1, "people": ("a", "b"), "epochs": 9}  # a tuple is what JSON keeps as a list
    assert load_checkpoint(model, tmp_path, asked, may_differ=["epochs"]) == 1


def test_log_removes_rows_after_the_checkpoint(tmp_path):
    log = Log(tmp_path / "new" / "log.csv", ("epoch", "loss"))
    log.cut_after(0)
    for epoch in (1, 2, 3):
        log.add(epoch=epoch, loss=1 / epoch, surplus="not kept")
    Log(log.file, ("epoch", "loss")).cut_after(2)
    log.add(epoch=3, loss=0.25)
    assert json.loads(pd.read_csv(log.file).to_json(orient="values")) == [[1, 1], [2, 0.5], [3, 0.25]]


def test_precision_holds_in_its_block_and_is_restored_after_an_error():
    with pytest.raises(KeyError), precision("mixed_bfloat16"):
        layer = keras.layers.Dense(2)
        raise KeyError
    assert layer.compute_dtype == "bfloat16" and layer.variable_dtype == "float32"
    assert keras.layers.Dense(2).compute_dtype == "float32"
    with (
        pytest.raises(BadArgument, match="precision='float7': one of 'float32', 'mixed_bfloat16'"),
        precision("float7"),
    ):
        pass


def test_log_loses_no_row_on_a_full_disk(tmp_path, monkeypatch):
    log = Log(tmp_path / "history.csv", ["epoch", "loss"])
    log.cut_after(0)
    for epoch in (1, 2, 3):
        log.add(epoch=epoch, loss=0.5)
    before = log.file.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    log.cut_after(3)  # nothing to cut: nothing is written
    with pytest.raises(OSError, match="No space left"):
        log.cut_after(2)
    assert log.file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["history.csv"]


# ------------------------------------------------------------------------------- a whole training, without a network
class Toy:
    """Learns two numbers, from random ones that its own state continues; as a model, it is its only variable."""

    def __init__(self):
        self.value = np.zeros(2)
        self.variables, self.optimizer = [self], SimpleNamespace(variables=[])

    def __array__(self, dtype=None, copy=None):
        return self.value

    def assign(self, value):
        self.value = value

    def learn(self):
        self.value = np.sin(3 * self.value + 1)

    def save(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("weights"), self.value.tobytes())


def toy_training(folder, epochs=5, patience=99, people="ours"):
    """Train as ``train_siamese`` does. The best epoch is neither the first nor the last."""
    learner = Toy()
    with alone_in(folder):
        course = Epochs(learner, folder, {"rate": 1, "people": people}, ("epoch", "loss"), "loss", ["patience"])
        for _ in course.left(epochs, patience):
            learner.learn()
            course.finish({"loss": 1 + learner.value[0]}, learner, every=2)
    return learner.value, course.history, (Path(folder) / "best.keras").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The result of a training, and its folder."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    return toy_training(folder), folder


@pytest.fixture
def begun(uninterrupted, tmp_path) -> Path:
    """A copy of the folder of the training, with nothing left to do."""
    return Path(shutil.copytree(uninterrupted[1], tmp_path / "begun"))


def assert_like(result, uninterrupted):
    """Numbers, curve and best network are those of the uninterrupted training, to the last bit."""
    np.testing.assert_array_equal(result[0], uninterrupted[0][0])
    pd.testing.assert_frame_equal(result[1], uninterrupted[0][1], check_exact=True)
    assert result[2] == uninterrupted[0][2]


def flip_bit(file: Path, at: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


def test_training_keeps_its_state_the_one_before_and_its_best_network(uninterrupted):
    (_, history, _), folder = uninterrupted
    assert history.epoch.tolist() == [1, 2, 3, 4, 5] and 0 < history.loss.argmin() < 4
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "best.keras", BEFORE, FILE, "epoch_002.keras", "epoch_004.keras", "history.csv"
    }  # fmt: skip
    assert read_state(folder).step == 5 and read_config(folder) == {"rate": 1, "people": "ours"}


@pytest.mark.parametrize("stop", [("save_model", 1), ("save_model", 2), ("Log.add", 2), ("Log.add", 4), ("np.savez", 1),
                                  ("np.savez", 2), ("np.savez", 5), ("shutil.copyfile", 1), ("shutil.copyfile", 3)],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")], ids=["kill", "full"])
def test_training_stopped_while_it_writes_resumes_to_the_last_bit(uninterrupted, tmp_path, monkeypatch, stop, error):
    """``stop``: what it is doing, and for which time. What is written by then is half there."""
    *place, name = stop[0].split(".")
    target, calls = getattr(checkpoints, place[0]) if place else checkpoints, []
    work = getattr(target, name)

    def stopped(*args, **kwargs):
        calls.append(args)
        if len(calls) == stop[1]:
            if name in ("savez", "copyfile"):
                args[name == "copyfile"].write_bytes(b"PK half of it")
            raise error
        return work(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, stopped)
        with pytest.raises((KeyboardInterrupt, TrainingFailed)) as raised:
            toy_training(tmp_path)
    done = len(pd.read_csv(tmp_path / "history.csv")) - (name != "add" and name != "save_model")
    if isinstance(error, OSError):
        assert raised.match(rf"No space left on device\): make room and run it again; it resumes after epoch {done}$")
    assert not list(tmp_path.glob(".unfinished*"))
    assert_like(toy_training(tmp_path), uninterrupted)


def test_training_stops_early_without_gain_also_when_it_resumes(uninterrupted, begun, tmp_path):
    (_, history, _), _ = uninterrupted
    best = int(history.loss.argmin()) + 1
    for folder in (tmp_path / "new", begun):
        assert len(toy_training(folder, epochs=40, patience=5 - best)[1]) == 5


@pytest.mark.parametrize("damage", ["missing", "empty", "half", "a number", "a shape"])
def test_damaged_checkpoint_gives_way_to_the_one_before(uninterrupted, begun, damage):
    file, size = begun / FILE, (begun / FILE).stat().st_size
    if damage == "missing":
        file.unlink()
    elif damage == "a number":
        flip_bit(file, file.read_bytes().index(b"\x93NUMPY") + 130)  # of the first array, after its head
    elif damage == "a shape":
        flip_bit(file, file.read_bytes().index(b"(2,)") + 1, bit=1)  # now it is (0,)
    else:
        file.write_bytes(file.read_bytes()[: {"empty": 0, "half": size // 2}[damage]])
    said = f"{FILE} is {'missing' if damage == 'missing' else 'damaged'}: continuing from the one before, after step 4"
    with pytest.warns(UserWarning, match=said):
        result = toy_training(begun)
    assert_like(result, uninterrupted)
    assert read_state(begun).step == 5 and is_intact(begun / BEFORE)  # without a warning


def test_every_flipped_bit_of_a_checkpoint_is_noticed_or_changes_nothing(begun):
    """In each byte of the file a bit: of the numbers, of their shapes, of the zip archive."""
    (begun / BEFORE).unlink()
    data, right = (begun / FILE).read_bytes(), read_state(begun)
    bits, refused = np.random.default_rng(0).integers(0, 8, len(data)), 0
    for at, bit in enumerate(bits):
        flip_bit(begun / FILE, at, int(bit))
        try:
            state = read_state(begun)
        except BadArgument as error:
            assert f"{FILE} is damaged, and there is no intact {BEFORE}: to start again, remove" in str(error)
            refused += 1
        else:
            assert (state.step, state.config, state.log) == (right.step, right.config, right.log)
            np.testing.assert_array_equal(state.values, right.values)
        (begun / FILE).write_bytes(data)
    assert refused > len(data) / 2


def test_no_read_of_a_damaged_training_raises_anything_but_bad_argument(begun):
    for file in (FILE, BEFORE):
        (begun / file).write_bytes(b"PK\x03\x04 half")
    for read in (read_config, read_state, toy_training):
        with pytest.raises(BadArgument, match="checkpoint.npz is damaged"):
            read(begun)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: lines[:2] + lines[3:],
        lambda lines: lines[:1],
        lambda lines: [],
        lambda lines: [*lines[:3], lines[3].replace("0", "1"), *lines[4:]],
        lambda lines: [*lines[:3], "no number\n", *lines[4:]],
        lambda lines: ["epoch,gain\n", *lines[1:]],
    ],
    ids=["the last row", "a row", "all rows", "everything", "a number", "no number", "the head"],
)
def test_history_that_lost_rows_or_was_changed_is_refused_by_name(begun, change):
    file = begun / "history.csv"
    file.write_text("".join(change(file.read_text().splitlines(keepends=True))))
    before = file.read_bytes()
    with pytest.raises(BadArgument, match=r"history\.csv has lost rows, or was changed, since step 5 was saved"):
        toy_training(begun)
    assert file.read_bytes() == before
    file.unlink()
    with pytest.raises(BadArgument, match="history.csv has lost rows"):
        toy_training(begun)


@pytest.mark.parametrize("damage", ["missing", "a bit"])
def test_missing_or_damaged_best_network_is_noticed_at_the_start(begun, damage):
    best = begun / "best.keras"
    if damage == "missing":
        best.unlink()
    else:
        flip_bit(best, 45)  # within the numbers
    with pytest.raises(BadArgument, match=r"best\.keras, the network of epoch \d, is missing or damaged: put it back"):
        toy_training(begun, epochs=6)


def test_training_is_refused_other_people_and_another_plan(begun):
    with pytest.raises(BadArgument, match="was begun with people 'ours', not 'others'"):
        toy_training(begun, people="others")


def as_earlier_versions(file: Path, config: dict) -> Path:
    """Write a checkpoint anew as earlier versions did."""
    with np.load(file) as saved:
        np.savez(file, **{**saved, "config": np.array(json.dumps(config))})
    return file


def test_training_of_an_earlier_version_continues(uninterrupted, begun):
    """It noted no people, no digest of the history, and had no checkpoint before the newest."""
    as_earlier_versions(begun / BEFORE, {"rate": 1}).replace(begun / FILE)
    assert_like(toy_training(begun), uninterrupted)
    assert read_config(begun)["people"] == "ours"


def test_shortened_history_of_an_earlier_version_is_refused(begun):
    as_earlier_versions(begun / FILE, {"rate": 1})
    (begun / "history.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(BadArgument, match="history.csv has lost rows"):
        toy_training(begun)


HOLDER = """
import filelock, sys
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_training_in_a_folder_is_refused_until_the_first_ends(tmp_path):
    """In the same process, and in another one, which then is killed."""
    said = "another training is running in .*: wait until it ends, or choose another folder"
    with alone_in(tmp_path), pytest.raises(BadArgument, match=said):
        toy_training(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BadArgument, match=said):
            toy_training(tmp_path)
        other.kill()
    assert len(toy_training(tmp_path)[1]) == 5


def test_fingerprint_is_the_sha256_of_the_bytes_in_any_layout():
    """The value that trainings of earlier versions noted of their people."""
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    expected = "d19c56fe954b4adbb040580d9ae4e98a692b51f8e2cab91d7ddecb903cec9204"
    assert fingerprint(array, np.arange(0)) == fingerprint(np.asfortranarray(array)) == expected
    assert fingerprint(array.T) != expected
