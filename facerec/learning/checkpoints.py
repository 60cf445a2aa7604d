"""Trainings that can stop at any moment and resume as if nothing had happened.

``save_checkpoint`` and ``load_checkpoint`` keep everything that changes while a network learns; ``Epochs`` adds the
learning curve, the best network and early stopping; ``precision`` makes trainings faster on processors that allow it.
"""

from __future__ import annotations

import csv
import json
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from facerec._files import whole
from facerec._quiet import quietly
from facerec.errors import BadArgument, TrainingFailed

with quietly():
    import keras
    from keras import ops

FILE = "checkpoint.npz"


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Set the dtype policy of the layers that are made in this block.

    With ``mixed_bfloat16`` weights keep four bytes per number and products are computed with two: faster on processors
    that can multiply such numbers (AVX512-BF16, AMX, GPUs), and much slower on others.

    Args:
        policy: A dtype policy of Keras, ``float32`` or ``mixed_bfloat16``.

    Raises:
        BadArgument: If Keras has no such policy.
    """
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
    except (TypeError, ValueError) as error:
        raise BadArgument(f"precision={policy!r}: one of 'float32', 'mixed_bfloat16', 'mixed_float16'") from error
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def all_variables(model: keras.Model) -> list:
    """Everything that changes in training: weights, batch statistics, the seeds of dropout, the optimizer's state."""
    return [*model.variables, *model.optimizer.variables]


def save_checkpoint(model: keras.Model, folder: Path, step: int, config: Mapping) -> None:
    """Write the state after ``step`` steps (or epochs), completely or not at all.

    Args:
        model: A compiled model with its optimizer built.
        folder: The folder of ``checkpoint.npz``.
        step: The number of steps done.
        config: Everything that the training depends on; must fit into JSON.
    """
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(all_variables(model))}
    arrays |= {"step": np.array(step), "config": np.array(json.dumps(dict(config)))}
    with whole(Path(folder) / FILE) as unfinished:
        np.savez(unfinished, **arrays)


def load_checkpoint(model: keras.Model, folder: Path, config: Mapping, may_differ: Sequence[str] = ()) -> int:
    """Restore the state of a checkpoint, if there is one.

    Args:
        model: A compiled model with its optimizer built, made like the one that was saved.
        folder: The folder of ``checkpoint.npz``.
        config: What the training depends on now.
        may_differ: Entries of ``config`` that may have changed since, for example how long to train.

    Returns:
        The number of steps done; 0 if there is no checkpoint.

    Raises:
        BadArgument: If the checkpoint was made with another configuration, or is damaged.
    """
    if not (Path(folder) / FILE).exists():
        return 0
    made_with, asked = read_config(folder), json.loads(json.dumps(dict(config)))
    differs = [key for key in asked if key not in may_differ and made_with.get(key) != asked[key]]
    if differs:
        what = ", ".join(f"{key} {made_with.get(key)!r}, not {asked[key]!r}" for key in differs)
        raise BadArgument(f"{folder} was begun with {what:.300}; continue with that, or choose another folder")
    with np.load(Path(folder) / FILE) as saved:
        for i, variable in enumerate(all_variables(model)):
            variable.assign(saved[f"v{i}"])
        return int(saved["step"])


def read_config(folder: Path) -> dict | None:
    """The configuration that a training was begun with; None if it has not begun.

    Raises:
        BadArgument: If the checkpoint is damaged.
    """
    if not (Path(folder) / FILE).exists():
        return None
    try:
        with np.load(Path(folder) / FILE) as saved:
            return json.loads(str(saved["config"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadArgument(f"{Path(folder) / FILE} is damaged ({error}); remove it to start again") from error


@dataclass
class Log:
    """A training's learning curve as a CSV file: a row each time the network is measured.

    Attributes:
        file: The CSV file.
        columns: Its columns; the first one counts steps or epochs.
    """

    file: Path
    columns: Sequence[str]

    def cut_after(self, step: int) -> None:
        """Remove rows that are newer than the checkpoint, and a last line that was cut off."""
        text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        rows = list(csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n")))
        kept = [row for row in rows if int(row[self.columns[0]]) <= step]
        if not text.endswith("\n") or len(kept) < len(rows):
            with whole(self.file) as unfinished:
                self._write(unfinished, kept, "w")

    def add(self, **row) -> None:
        """Append a row."""
        self._write(self.file, [row], "a")

    def _write(self, file: Path, rows: list[dict], mode: str) -> None:
        with file.open(mode, newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, lineterminator="\n", extrasaction="ignore")
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a network as ``.keras``, completely or not at all."""
    with whole(path) as unfinished:
        model.save(unfinished)


class Epochs:
    """The epochs of one training in a folder: started or resumed, and stopped early when nothing more is gained.

    The folder holds the rolling checkpoint (every epoch), ``history.csv``, ``best.keras``, and every so many epochs a
    named network (``epoch_010.keras``).

    Args:
        learner: The compiled model that learns; its state is restored from the folder.
        folder: The folder of the training.
        config: Everything that the training depends on; must fit into JSON.
        columns: The columns of the history; the first one is ``epoch``.
        watched: The column by which the best epoch is chosen: the lowest value wins.
        may_differ: Entries of ``config`` that may have changed since the training began.

    Attributes:
        done: The number of finished epochs.
        history: A row per finished epoch.

    Raises:
        BadArgument: If the folder holds a training with another configuration, or a damaged checkpoint.
    """

    def __init__(
        self,
        learner: keras.Model,
        folder: Path,
        config: Mapping,
        columns: Sequence[str],
        watched: str = "validation_loss",
        may_differ: Sequence[str] = (),
    ):
        self.learner, self.folder, self.config, self.watched = learner, Path(folder), dict(config), watched
        self.done = load_checkpoint(learner, self.folder, config, may_differ)
        self._log = Log(self.folder / "history.csv", columns)
        self._log.cut_after(self.done)
        self.history = pd.read_csv(self._log.file)

    def left(self, epochs: int, patience: int) -> Iterator[int]:
        """The numbers of the epochs to come, until ``patience`` of them in a row have improved nothing."""
        while self.done < epochs and self._since_best() < patience:
            yield self.done + 1

    def _since_best(self) -> int:
        """The number of epochs since the best one."""
        return 0 if self.history.empty else len(self.history) - 1 - int(self.history[self.watched].argmin())

    def finish(self, row: Mapping, kept: keras.Model, every: int) -> None:
        """Write the results of an epoch: the network if it is the best or has its turn, the row, the checkpoint.

        Args:
            row: The epoch's numbers, one for each column.
            kept: The network to save.
            every: Epochs between two named networks.

        Raises:
            TrainingFailed: If something can't be written, for example to a full disk; earlier files are untouched.
        """
        try:
            self._keep(self.done + 1, row, kept, every)
        except OSError as error:
            raise TrainingFailed(
                f"epoch {self.done + 1} can't be saved in {self.folder} ({error.strerror or error}): make room and run "
                f"it again; it resumes after epoch {self.done}"
            ) from error

    def _keep(self, epoch: int, row: Mapping, kept: keras.Model, every: int) -> None:
        if self.history.empty or row[self.watched] < self.history[self.watched].min():
            save_model(kept, self.folder / "best.keras")
        if epoch % every == 0:
            save_model(kept, self.folder / f"epoch_{epoch:03d}.keras")
        self._log.add(epoch=epoch, **{key: round(float(value), 6) for key, value in row.items()})
        save_checkpoint(self.learner, self.folder, epoch, self.config)  # last: a row without it is removed on resume
        self.history, self.done = pd.read_csv(self._log.file), epoch

    def best(self) -> keras.Model:
        """The network of the best epoch."""
        return keras.models.load_model(self.folder / "best.keras", compile=False)


def one_epoch(
    learner: keras.Model, batches: Iterator, steps: int, bar, watch: Callable[[int, Mapping], None] | None = None
) -> dict[str, float]:
    """Train a model for one epoch.

    Args:
        learner: A compiled model.
        batches: An endless iterator of the arguments of ``train_on_batch``.
        steps: The number of batches in an epoch.
        bar: A tqdm bar that shows the step.
        watch: Called after each step with its number and the step's own loss and metrics.

    Returns:
        The mean loss and the mean of every metric over the steps; ``seconds``; and ``waiting``, the share of these
        seconds spent waiting for the next batch.

    Raises:
        TrainingFailed: If the loss becomes NaN or infinite.
    """
    waited, start, results = 0.0, time.perf_counter(), []
    for step in range(1, steps + 1):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        results.append(learner.train_on_batch(*batch, return_dict=True))  # the numbers of this batch alone
        if not np.isfinite(results[-1]["loss"]):
            raise TrainingFailed(f"the loss of step {step} is {results[-1]['loss']}: try a smaller learning rate")
        if watch is not None:
            watch(step, results[-1])
        bar.set_postfix_str(f"step {step}/{steps}", refresh=step % 20 == 0)
    seconds = time.perf_counter() - start
    means = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    return {**means, "seconds": seconds, "waiting": waited / seconds}
