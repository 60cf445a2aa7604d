"""What the tests of resuming share: the folder of a killed training, and comparisons with an uninterrupted one."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from facerec.learning import checkpoints
from facerec.learning.checkpoints import BEFORE, FILE

#: Columns that differ from run to run.
TIMES = ["seconds", "waiting"]


def killed_in_the_last_epoch(trained: Path, to: Path) -> Path:
    """A copy of the folder of a finished training, as a kill between the last row and its checkpoint leaves it."""
    shutil.copytree(trained, to)
    os.replace(to / BEFORE, to / FILE)
    return to


def wait_in_the_last_epoch(epochs: int) -> None:
    """Let no training of so many epochs in this process end before the process is killed."""
    finish = checkpoints.Epochs.finish

    def finish_all_but_the_last(training, *args, **kwargs):
        if training.done == epochs - 1:
            threading.Event().wait()  # until this process is killed
        finish(training, *args, **kwargs)

    checkpoints.Epochs.finish = finish_all_but_the_last


def assert_resumes_to(trained: tuple, train: Callable[[Path], tuple], to: Path) -> None:
    """Compare a training of four epochs that was killed in the last and resumed by ``train`` with one that was not."""
    uninterrupted, history, folder = trained
    killed = killed_in_the_last_epoch(folder, to)
    (killed / "epoch_004.keras").unlink()
    model, resumed = train(killed)
    assert_same_curve(resumed, history, resumed_after=3)
    assert_same_weights(model, uninterrupted)
    assert_same_weights(*(keras.models.load_model(path / "epoch_004.keras") for path in (killed, folder)))


def assert_same_curve(history: pd.DataFrame, expected: pd.DataFrame, resumed_after: int = 0) -> None:
    """Compare two curves; what is resumed keeps its rows as they are, and rounds differently at most after that."""
    history, expected = (table.drop(columns=TIMES).reset_index(drop=True) for table in (history, expected))
    pd.testing.assert_frame_equal(history.head(resumed_after), expected.head(resumed_after), check_exact=True)
    pd.testing.assert_frame_equal(history, expected, rtol=1e-5, atol=2e-6)


def assert_same_weights(model, other) -> None:
    """Compare the weights of two networks."""
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and its bytes."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
