"""How many crops per second distillation learns from, lever by lever.

    python tools/measure/throughput.py [--rounds 3] [--to docs/results/throughput.json]

Each row changes one thing: the input alone, the training step alone, both; oneDNN's convolutions; the side of the
faces; the batch; fused batch normalisation; compilation; bfloat16; batches made in another process. Every row runs in a
process of its own, and all rows take turns, so that a busy machine slows all of them. Crops per second of processor
time say what the machine can do; crops per second of the clock say what it did meanwhile. The pictures are noise: time
does not depend on what they show.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from facerec._files import ROOT, write_json
from facerec.errors import run


@dataclass(frozen=True)
class Row:
    """One row: what is timed, and with which levers.

    Attributes:
        label: What the row is called.
        work: ``input``, ``step``, or ``both``, as in a training.
        side: The side of the faces, in pixels.
        batch: Crops per step.
        onednn: Whether TensorFlow computes convolutions with oneDNN.
        fused: Whether batch normalisation is one operation.
        precision: Keras' dtype policy.
        workers: Processes that make the batches; 0 is a thread.
        compiled: Whether Keras compiles a step, with its moving average, into one function.
    """

    label: str
    work: str = "step"
    side: int = 64
    batch: int = 128
    onednn: bool = True
    fused: bool = True
    precision: str = "float32"
    workers: int = 0
    compiled: bool = True


ROWS = (
    Row("96 pixels, batches of 64, as TensorFlow comes", side=96, batch=64, onednn=False),
    Row("+ oneDNN", side=96, batch=64),
    Row("+ batches of 128", side=96),
    Row("+ small faces: 64 pixels"),
    Row("… without fused batch normalisation", fused=False),
    Row("… operation by operation, not compiled", compiled=False),
    Row("… bfloat16", precision="mixed_bfloat16"),
    Row("… batches of 256", batch=256),
    Row("… the input alone", work="input"),
    Row("… input and step, as in a training", work="both"),
    Row("… input and step, the input in another process", work="both", workers=1),
)

#: Steps per turn in bfloat16: on a processor that can't multiply such numbers, a step can take a minute.
BFLOAT16_STEPS = 1


def prepared(folder: Path, pictures: int) -> Path:
    """Write one part of noise, as ``distill.py prepare`` would, and return its folder."""
    rng = np.random.default_rng(0)
    matrix = np.array([[150 / 128, 0, 0], [0, 150 / 128, 0]], np.float32)
    raw = rng.normal(size=(pictures, 2, 128)).astype(np.float32)
    np.save(folder / "noise_00000.npy", rng.integers(0, 256, (pictures, 128, 128, 3), np.uint8))
    names = np.array([str(number) for number in range(pictures)])
    np.savez(folder / "noise_00000.npz", matrices=np.tile(matrix, (pictures, 1, 1)), raw=raw, names=names)
    return folder


def work_of(row: Row, folder: Path) -> Callable[[], object]:
    """The work of one step of a row."""
    from facerec.learning import distillation
    from facerec.learning.crops import Prepared, Teacher
    from facerec.networks import load_facenet

    stage = distillation.Stage(row.side, 100_000, ("noise_00000",))
    plan = distillation.StudentPlan((stage,), batch=row.batch, precision=row.precision)
    batches = distillation.Batches(Prepared(folder, stage.parts), Teacher(load_facenet("weights/resnet")), plan)
    if row.work == "input":
        steps = iter(range(100_000))
        return lambda: batches.batch(next(steps))
    if not row.fused:
        distillation.with_fused_batch_norm = lambda layer: type(layer).from_config(layer.get_config())
    model = distillation.build_student(plan, row.side)
    model.run_eagerly = not row.compiled
    if row.work == "step":
        batch = batches.batch(0)
        return lambda: float(np.asarray(model.train_on_batch(*batch)))
    shown = batches.from_step(0, 100_000, row.workers)
    return lambda: float(np.asarray(model.train_on_batch(*next(shown))))


def processor_time() -> float:
    """Seconds of processor time that this process and its children have used."""
    own = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (own, *own.children(recursive=True)))


def time_row(row: Row, folder: Path, steps: int) -> tuple[float, float]:
    """Crops per second of the clock, and per second of processor time: medians over the steps after two."""
    work = work_of(row, folder)
    wall, cpu = [], []
    for _ in range(steps + 2):
        before = time.perf_counter(), processor_time()
        work()
        wall.append(time.perf_counter() - before[0])
        cpu.append(processor_time() - before[1])
    return row.batch / float(np.median(wall[2:])), row.batch / float(np.median(cpu[2:]))


def time_apart(row: Row, folder: Path, steps: int) -> tuple[float, float]:
    """Run ``time_row`` in a process of its own: oneDNN is chosen when TensorFlow starts."""
    command = [
        sys.executable,
        __file__,
        "--row",
        json.dumps(asdict(row)),
        "--folder",
        str(folder),
        "--steps",
        str(steps),
    ]
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": str(int(row.onednn)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Time all rows in turns, print a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often every row has its turn")
    parser.add_argument(
        "--steps", type=int, default=8, help="steps per turn (in bfloat16: one), after two that are not counted"
    )
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "throughput.json")
    parser.add_argument("--row", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(time_row(Row(**args.row), args.folder, args.steps)))
        return
    turns: dict[str, list[tuple[float, float]]] = {row.label: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(Path(name), 512)
        for _ in range(args.rounds):
            for row in ROWS:
                turns[row.label].append(
                    time_apart(row, folder, args.steps if row.precision == "float32" else BFLOAT16_STEPS)
                )
    table = []
    for row in ROWS:
        clock, processor = np.median(turns[row.label], axis=0)
        first = np.median(turns[ROWS[0].label], axis=0)[1]
        rates = {"crops_per_second": clock, "crops_per_cpu_second": processor, "times_the_first": processor / first}
        table.append({**asdict(row), **{name: round(float(rate), 2) for name, rate in rates.items()}})
        print(f"{row.label:48} {clock:8.1f} crops/s {processor:8.1f} per CPU s   {processor / first:5.2f} ×")
    write_json(args.to, {"command": "python tools/measure/throughput.py", "rounds": args.rounds, "rows": table})


if __name__ == "__main__":
    run(main)
