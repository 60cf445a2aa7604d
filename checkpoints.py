"""What every training here needs: to stop at any moment and go on as if nothing had happened, and to be quick."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from errors import BadArgument
from quiet import quietly
from whole_files import whole

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
        rows = []
        if self.file.exists():
            lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True)
            rows = list(csv.DictReader(line for line in lines if line.endswith("\n")))
        self._write([row for row in rows if int(row[self.columns[0]]) <= step], "w")

    def add(self, **row) -> None:
        """Add a row."""
        self._write([row], "a")

    def _write(self, rows: list[dict], mode: str) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open(mode, newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, lineterminator="\n", extrasaction="ignore")
            if mode == "w":
                writer.writeheader()
            writer.writerows(rows)
