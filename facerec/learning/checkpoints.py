"""What every training here needs: to stop at any moment and go on as if nothing had happened, and to be quick."""

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
    """Layers that are made inside compute as the policy says: ``float32``, or ``mixed_bfloat16``.

    In the mixed one, weights keep four bytes per number and products are computed with two: quicker on processors that
    can multiply such numbers (AVX512-BF16, AMX, GPUs), and much slower on others.

    Args:
        policy: A dtype policy of Keras.

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
    """Everything that changes in training: weights, batch statistics, dropout's seeds, the optimizer's state."""
    return [*model.variables, *model.optimizer.variables]


def save_checkpoint(model: keras.Model, folder: Path, step: int, config: Mapping) -> None:
    """Write the state after ``step`` steps (or epochs), in one piece.

    Args:
        model: Compiled, its optimizer built.
        folder: Where to; the file is ``checkpoint.npz``.
        step: How far the training has come.
        config: All that the training depends on, as JSON can hold it.
    """
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(all_variables(model))}
    arrays |= {"step": np.array(step), "config": np.array(json.dumps(dict(config)))}
    with whole(Path(folder) / FILE) as unfinished:
        np.savez(unfinished, **arrays)


def load_checkpoint(model: keras.Model, folder: Path, config: Mapping, may_differ: Sequence[str] = ()) -> int:
    """Bring a model to the state of the checkpoint.

    Args:
        model: As it was made for the training: compiled, its optimizer built.
        folder: Where the checkpoint is, if there is one.
        config: What the training depends on now.
        may_differ: Entries of ``config`` that may have changed since, such as how long to train.

    Returns:
        The steps done; 0 if there is no checkpoint.

    Raises:
        BadArgument: If the checkpoint was made with another configuration, or is damaged.
    """
    if not (Path(folder) / FILE).exists():
        return 0
    made_with, asked = read_config(folder), json.loads(json.dumps(dict(config)))
    differs = [key for key in asked if key not in may_differ and made_with.get(key) != asked[key]]
    if differs:
        what = ", ".join(f"{key} {made_with.get(key)!r}, not {asked[key]!r}" for key in differs)
        raise BadArgument(f"{folder} was begun with {what:.300}; go on with that, or give another folder")
    with np.load(Path(folder) / FILE) as saved:
        for i, variable in enumerate(all_variables(model)):
            variable.assign(saved[f"v{i}"])
        return int(saved["step"])


def read_config(folder: Path) -> dict | None:
    """What a training was begun with, or None if it has not begun."""
    if not (Path(folder) / FILE).exists():
        return None
    try:
        with np.load(Path(folder) / FILE) as saved:
            return json.loads(str(saved["config"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadArgument(f"{Path(folder) / FILE} is damaged ({error}); remove it to begin anew") from error


@dataclass
class Log:
    """A training's curve as a CSV file: a row each time the network is measured.

    Attributes:
        file: Where it is kept.
        columns: Of the table; the first one counts steps or epochs.
    """

    file: Path
    columns: Sequence[str]

    def cut_after(self, step: int) -> None:
        """Forget rows behind the checkpoint from which the training goes on, and a last line that was cut off."""
        text = self.file.read_text(encoding="utf-8") if self.file.exists() else ""
        rows = list(csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n")))
        kept = [row for row in rows if int(row[self.columns[0]]) <= step]
        if not text.endswith("\n") or len(kept) < len(rows):
            with whole(self.file) as unfinished:
                self._write(unfinished, kept, "w")

    def add(self, **row) -> None:
        """Add a row."""
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
    """The epochs of one training, kept in a folder: begun anew or gone on with, and ended when nothing is gained.

    The folder holds the rolling checkpoint (every epoch), ``history.csv``, ``best.keras``, and a named network every
    so many epochs (``epoch_010.keras``).

    Args:
        learner: The compiled model that learns; it is brought to where the folder's training was stopped.
        folder: Where all of it is kept.
        config: All that the training depends on, as JSON can hold it.
        columns: Of the history; the first one is ``epoch``.
        watched: The column that says which epoch was the best: the one with the lowest value.
        may_differ: Entries of ``config`` that may have changed since it was begun.

    Attributes:
        done: How many epochs are done.
        history: A row per epoch that was finished.

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
        """The numbers of the epochs to come, until ``patience`` of them in a row have gained nothing."""
        while self.done < epochs and self._since_best() < patience:
            yield self.done + 1

    def _since_best(self) -> int:
        """How many epochs ago the best one was."""
        return 0 if self.history.empty else len(self.history) - 1 - int(self.history[self.watched].argmin())

    def finish(self, row: Mapping, kept: keras.Model, every: int) -> None:
        """Keep what an epoch came to: the network if it is the best or has its turn, the curve, the checkpoint.

        Args:
            row: The epoch's numbers, one for each column.
            kept: The network to keep.
            every: Epochs between two named networks.

        Raises:
            TrainingFailed: If it can't be written, to a full disk, say; what was kept before is still there.
        """
        try:
            self._keep(self.done + 1, row, kept, every)
        except OSError as error:
            raise TrainingFailed(
                f"epoch {self.done + 1} can't be kept in {self.folder} ({error.strerror or error}): make room and run "
                f"it again; it goes on after epoch {self.done}"
            ) from error

    def _keep(self, epoch: int, row: Mapping, kept: keras.Model, every: int) -> None:
        if self.history.empty or row[self.watched] < self.history[self.watched].min():
            save_model(kept, self.folder / "best.keras")
        if epoch % every == 0:
            save_model(kept, self.folder / f"epoch_{epoch:03d}.keras")
        self._log.add(epoch=epoch, **{key: round(float(value), 6) for key, value in row.items()})
        save_checkpoint(self.learner, self.folder, epoch, self.config)  # a row too many is cut off at resume
        self.history, self.done = pd.read_csv(self._log.file), epoch

    def best(self) -> keras.Model:
        """The network of the best epoch."""
        return keras.models.load_model(self.folder / "best.keras", compile=False)


def one_epoch(
    learner: keras.Model, batches: Iterator, steps: int, bar, watch: Callable[[int, Mapping], None] | None = None
) -> dict[str, float]:
    """Let a model learn from so many batches.

    Args:
        learner: Compiled.
        batches: What ``train_on_batch`` takes, endlessly.
        steps: How many of them make an epoch.
        bar: A tqdm bar, which is told the step.
        watch: Called after each step with its number and the step's own loss and metrics.

    Returns:
        The mean of the loss and of every metric over the steps; ``seconds``; and ``waiting``, the share of them in
        which the model waited for its next batch.

    Raises:
        TrainingFailed: If the loss is no number any more.
    """
    waited, start, results = 0.0, time.perf_counter(), []
    for step in range(1, steps + 1):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        results.append(learner.train_on_batch(*batch, return_dict=True))  # of this batch alone
        if not np.isfinite(results[-1]["loss"]):
            raise TrainingFailed(f"the loss of step {step} is {results[-1]['loss']}: try a smaller learning rate")
        if watch is not None:
            watch(step, results[-1])
        bar.set_postfix_str(f"step {step}/{steps}", refresh=step % 20 == 0)
    seconds = time.perf_counter() - start
    means = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    return {**means, "seconds": seconds, "waiting": waited / seconds}
