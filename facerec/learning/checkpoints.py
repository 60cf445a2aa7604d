"""Trainings that can stop at any moment and resume as if nothing had happened.

``save_checkpoint`` and ``load_checkpoint`` keep everything that changes while a network learns, and the state before;
``Log`` is the learning curve; ``alone_in`` keeps a second training out of the folder; ``Epochs`` adds the best network
and early stopping; ``precision`` makes trainings faster on processors that allow it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from facerec._files import sha256_of, whole
from facerec._quiet import quietly
from facerec.errors import BadArgument, TrainingFailed

with quietly():
    import keras
    from keras import ops

#: The newest state of a training, and the one before, for the case that the newest is damaged.
FILE, BEFORE = "checkpoint.npz", "checkpoint_before.npz"

#: The entry of a checkpoint's configuration that is about the checkpoint: how many variables it has (the list of a
#: zip file has no checksum), and the SHA-256 of the learning curve.
NOTES = "checkpoint"

#: Fingerprints of what a training learns from and is measured on; checkpoints of earlier versions may lack them.
DATA = ("people", "validation")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock the folder of a training in this block; the lock ends with its process, even if that is killed.

    Raises:
        BadArgument: If a training already runs in this folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BadArgument(
            f"another training is running in {folder}: wait until it ends, or choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def fingerprint(*arrays: np.ndarray) -> str:
    """The SHA-256 of the bytes of arrays, in hexadecimal.

    Example:
        >>> fingerprint(np.arange(3)) == fingerprint(np.arange(3)) != fingerprint(np.arange(4))
        True
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def digest_of(model: keras.Model) -> str:
    """The SHA-256 of a network's weights, equal for equal weights."""
    return fingerprint(*model.get_weights())


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


@dataclass
class State:
    """What a checkpoint holds.

    Attributes:
        file: The file that it was read from.
        step: The number of steps (or epochs) done.
        config: What the training depends on.
        log: The SHA-256 of the learning curve up to this step; None in checkpoints of earlier versions.
        values: The value of every variable.
    """

    file: Path
    step: int
    config: dict
    log: str | None
    values: list[np.ndarray]


def save_checkpoint(model: keras.Model, folder: Path, step: int, config: Mapping, log: Log | None = None) -> None:
    """Write the state after ``step`` steps (or epochs), completely or not at all; the one before is kept beside it.

    Args:
        model: A compiled model with its optimizer built.
        folder: The folder of ``checkpoint.npz``.
        step: The number of steps done.
        config: Everything that the training depends on; must fit into JSON.
        log: The learning curve, with its row of this step.
    """
    newest = Path(folder) / FILE
    if newest.exists():
        with whole(newest.with_name(BEFORE)) as unfinished:
            shutil.copyfile(newest, unfinished)
    arrays = {f"v{i}": ops.convert_to_numpy(v) for i, v in enumerate(all_variables(model))}
    notes = {"variables": len(arrays), "log": None if log is None else sha256_of(log.file)}
    text = json.dumps({**config, NOTES: notes})
    with whole(newest) as unfinished:
        np.savez(unfinished, **arrays, step=np.array(step), config=np.array(text))


def load_checkpoint(
    model: keras.Model, folder: Path, config: Mapping, may_differ: Sequence[str] = (), log: Log | None = None
) -> int:
    """Restore the state of a checkpoint, if there is one.

    Args:
        model: A compiled model with its optimizer built, made like the one that was saved.
        folder: The folder of ``checkpoint.npz``.
        config: What the training depends on now.
        may_differ: Entries of ``config`` that may have changed since, for example how long to train.
        log: The learning curve of a training that goes on: rows after the checkpoint are removed. None changes no file.

    Returns:
        The number of steps done; 0 if there is no checkpoint.

    Raises:
        BadArgument: If the checkpoint was made with another configuration, it and the one before are damaged, or the
            learning curve lacks rows.
    """
    state = read_state(folder)
    if state is None:
        if log is not None:
            log.cut_after(0)
        return 0
    check_config(folder, state.config, config, may_differ)
    if log is not None:
        log.cut_after(state.step, state.log)
        if state.file.name == BEFORE:
            os.replace(state.file, Path(folder) / FILE)  # or the damaged file would become the one before
    for variable, value in zip(all_variables(model), state.values, strict=True):
        variable.assign(value)
    return state.step


def check_config(folder: Path, made_with: Mapping, asked: Mapping, may_differ: Sequence[str] = ()) -> None:
    """Refuse to continue a training with another configuration.

    Args:
        folder: The folder of the training, for the message.
        made_with: The configuration that it was begun with.
        asked: The one that is asked for.
        may_differ: Entries that may have changed since.

    Raises:
        BadArgument: Names the entries that differ. Earlier versions did not note :data:`DATA`: what they began
            continues.
    """
    asked = json.loads(json.dumps(dict(asked)))
    known = [key for key in asked if key not in may_differ and (key in made_with or key not in DATA)]
    differs = [key for key in known if made_with.get(key) != asked[key]]
    if differs:
        what = ", ".join(f"{key} {made_with.get(key)!r}, not {asked[key]!r}" for key in differs)
        raise BadArgument(f"{folder} was begun with {what:.300}; continue with that, or choose another folder")


def read_state(folder: Path) -> State | None:
    """The newest checkpoint of a folder that is intact; None if there is none at all.

    It warns if that is the one before the newest.

    Raises:
        BadArgument: If all checkpoints are damaged.
    """
    newest, before = (Path(folder) / name for name in (FILE, BEFORE))
    if not newest.exists() and not before.exists():
        return None
    state = _intact(newest)
    if state is None:
        state = _intact(before)
        if state is None:
            raise BadArgument(f"{newest} is damaged, and there is no intact {BEFORE}: to start again, remove {folder}")
        what = "damaged" if newest.exists() else "missing"
        warnings.warn(f"{newest} is {what}: continuing from the one before, after step {state.step}", stacklevel=3)
    return state


def read_config(folder: Path) -> dict | None:
    """The configuration that a training was begun with; None if it has not begun.

    Raises:
        BadArgument: If all checkpoints are damaged.
    """
    state = read_state(folder)
    return state and state.config


def _intact(file: Path) -> State | None:
    """What a checkpoint holds; None if it is missing or damaged."""
    if not is_intact(file):
        return None
    try:
        with np.load(file) as saved:
            config = json.loads(str(saved["config"]))
            notes = config.pop(NOTES, {"variables": len(saved.files) - 2, "log": None})
            values = [saved[f"v{i}"] for i in range(notes["variables"])]
            return State(file, int(saved["step"]), config, notes["log"], values)
    except (OSError, ValueError, KeyError):  # an entry of the zip file was lost, or never there
        return None


def is_intact(file: Path) -> bool:
    """Whether a zip file (``.npz`` and ``.keras`` are) can be read and agrees with its own checksums."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # one wrong bit may raise anything: BadZipFile, NotImplementedError, zlib.error, MemoryError …
        return False


@dataclass
class Log:
    """A training's learning curve as a CSV file: a row each time the network is measured.

    Attributes:
        file: The CSV file.
        columns: Its columns; the first one counts steps or epochs.
    """

    file: Path
    columns: Sequence[str]

    def cut_after(self, step: int, digest: str | None = None) -> None:
        """Remove rows that are newer than the checkpoint, and a last line that was cut off.

        Args:
            step: The number of steps done.
            digest: The SHA-256 of the file after this step; None if the checkpoint is of an earlier version.

        Raises:
            BadArgument: If rows up to this step are missing or were changed. The file is left as it is.
        """
        text = self.file.read_bytes().decode("utf-8", "replace") if self.file.exists() else ""
        head, *rows = [line for line in text.splitlines(keepends=True) if line.endswith("\n")] or [""]
        numbers = [row.partition(",")[0] for row in rows]
        kept = [row for row, number in zip(rows, numbers, strict=True) if not _is_after(number, step)]
        if step == 0:
            head, kept = ",".join(self.columns) + "\n", []
        left = "".join([head, *kept]).encode("utf-8")
        complete = hashlib.sha256(left).hexdigest() == digest if digest else step == 0 or str(step) in numbers
        if not complete:
            raise BadArgument(
                f"{self.file} has lost rows, or was changed, since step {step} was saved: put it back as it was, or "
                f"start again in another folder"
            )
        if left != text.encode("utf-8"):
            with whole(self.file) as unfinished:
                unfinished.write_bytes(left)

    def add(self, **row) -> None:
        """Append a row."""
        with self.file.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns, lineterminator="\n", extrasaction="ignore").writerow(row)


def _is_after(number: str, step: int) -> bool:
    """Whether the number of a row is one after a step; what is no number is not."""
    return number.isdecimal() and int(number) > step


def save_model(model: keras.Model, path: Path) -> None:
    """Write a network as ``.keras``, completely or not at all."""
    with whole(path) as unfinished:
        model.save(unfinished)


class Epochs:
    """The epochs of one training in a folder: started or resumed, and stopped early when nothing more is gained.

    The folder holds the rolling checkpoint (every epoch) and the one before, ``history.csv``, ``best.keras``, and every
    so many epochs a named network (``epoch_010.keras``). Use it within ``alone_in(folder)``.

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
        BadArgument: If the folder holds a training with another configuration, or one that can't go on: its checkpoints
            are damaged, its history lacks rows, or its best network is missing or damaged.
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
        self._log, self._best = Log(self.folder / "history.csv", columns), self.folder / "best.keras"
        self.done = load_checkpoint(learner, self.folder, config, may_differ, self._log)
        self.history = pd.read_csv(self._log.file)
        if self.done and not is_intact(self._best):
            epoch = self.done - self._since_best()
            raise BadArgument(
                f"{self._best}, the network of epoch {epoch}, is missing or damaged: put it back as it was, or start "
                f"again in another folder"
            )

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
            save_model(kept, self._best)
        if epoch % every == 0:
            save_model(kept, self.folder / f"epoch_{epoch:03d}.keras")
        self._log.add(epoch=epoch, **{key: round(float(value), 6) for key, value in row.items()})
        save_checkpoint(self.learner, self.folder, epoch, self.config, self._log)  # last: rows after it go on resume
        self.history, self.done = pd.read_csv(self._log.file), epoch

    def best(self) -> keras.Model:
        """The network of the best epoch."""
        return keras.models.load_model(self._best, compile=False)


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
