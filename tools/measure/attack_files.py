"""The cost of files that were built to be costly: seconds and memory of ``load_image``, the worst of each kind.

    python tools/measure/attack_files.py                       # → docs/results/attack_files.json
    python tools/measure/attack_files.py --count 100

A run that was stopped goes on where it was: ``build/attack_files.csv`` holds what is done. After a change of what is
measured, ``--anew`` begins again.

The files are those of ``tests/attacks.py``, up to as many bytes as an app takes, and the hostile uploads of
``tests/hostile.py``. One process builds them; each is opened by a process of its own, which is ended after a minute.
Seconds are those of the clock or of the processor, whichever are fewer, so that other programs do not count. Memory is
what the process takes on top of the file's own bytes and of what it had before. It needs a system that can fork.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import pillow_heif
from tqdm import tqdm

from facerec import budget
from facerec._files import ROOT, write_json
from facerec._onnx import processors
from facerec.errors import FaceError, run
from facerec.photos import load_image
from tests.attacks import ATTACKS
from tests.hostile import KINDS
from tools.measure.bench_database import processor

SIZES = (100_000, 20_000_000)  # bytes of a file, by their logarithm evenly; the larger is what the Streamlit app takes
COUNT = 2000
LIMIT = 60  # seconds after which a process is ended
DONE = ROOT / "build" / "attack_files.csv"  # a row per file that was opened
COLUMNS = ["number", "kind", "size", "outcome", "seconds", "megabytes"]
LABELS = (*ATTACKS, *(f"upload: {kind}" for kind in KINDS if kind != "attack"))
STEP = 37  # a prime number that does not divide how many kinds there are


def label_of(number: int) -> str:
    """The kind of file number so many: all take turns, in an order that mixes formats."""
    return LABELS[number * STEP % len(LABELS)]


def made(number: int) -> bytes:
    """File number so many: each has its own random numbers."""
    rng, label = np.random.default_rng(number), label_of(number)
    if label in ATTACKS:
        return ATTACKS[label](rng, int(np.exp(rng.uniform(*np.log(SIZES)))))
    return KINDS[label.removeprefix("upload: ")](rng)[1]


def build(orders: Connection, theirs: Connection, folder: Path) -> None:
    """In a process of its own, which keeps what it can use again: write the files that are ordered, one by one."""
    theirs.close()  # so that it ends if the other process does
    while (number := orders.recv()) is not None:
        (folder / "picture").write_bytes(made(number))
        orders.send(number)


def opened(path: Path) -> dict:
    """Open a file in a fork of this process: whether it was a picture, the seconds, and the megabytes."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT)
        os.write(writes, json.dumps(_open_here(path)).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return json.loads(found) if found else {"outcome": "ended", "seconds": float(LIMIT), "megabytes": float("nan")}


def _open_here(path: Path) -> dict:
    data = path.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, processor_time = time.perf_counter(), time.process_time()
    try:
        load_image(data)
        outcome = "opened"
    except FaceError as error:
        outcome = "refused" if len(str(error)) < 400 else "refused at length"
    except BaseException as error:
        outcome = f"failed: {type(error).__name__}"
    seconds = min(time.perf_counter() - clock, time.process_time() - processor_time)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    unit = 1 if sys.platform == "darwin" else 1024
    return {"outcome": outcome, "seconds": seconds, "megabytes": grown * unit / 1e6}


def measure(count: int, done: Path = DONE) -> pd.DataFrame:
    """Build and open so many files, a row each; those that ``done`` has are not opened again."""
    pillow_heif.register_heif_opener()  # loading the decoder is not what a file costs
    done.parent.mkdir(exist_ok=True)
    if not done.exists():
        done.write_text(",".join(COLUMNS) + "\n")
    first = len(pd.read_csv(done))
    with tempfile.TemporaryDirectory() as name, done.open("a") as rows:
        here, there = multiprocessing.Pipe()
        builder = multiprocessing.get_context("fork").Process(target=build, args=(there, here, Path(name)), daemon=True)
        builder.start()
        there.close()
        for number in tqdm(range(first, count), desc="opening", unit="file", initial=first, total=count):
            here.send(number)
            here.recv()
            size = (Path(name) / "picture").stat().st_size / 1e6
            row = {"number": number, "kind": label_of(number), "size": size, **opened(Path(name) / "picture")}
            pd.DataFrame([row])[COLUMNS].to_csv(rows, header=False, index=False)
            rows.flush()
        here.send(None)
        builder.join()
    return pd.read_csv(done).head(count)


def by_kind(files: pd.DataFrame) -> list[dict]:
    """What the files of each kind cost: the usual one, and the worst."""
    rows = []
    for kind, its in files.groupby("kind", sort=False):
        outcomes = its.outcome.value_counts().to_dict()
        cost = {
            f"{which}_{what}": round(float(getattr(its[what], of)()), 2)
            for what in ("seconds", "megabytes")
            for which, of in (("median", "median"), ("worst", "max"))
        }
        rows.append({"kind": kind, "files": len(its), "largest_mb": round(its["size"].max(), 1), **outcomes, **cost})
    return rows


def main() -> None:
    """Measure, print a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="how many files")
    parser.add_argument("--anew", action="store_true", help="open again what an earlier run has opened")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "attack_files.json")
    args = parser.parse_args()
    if args.anew:
        DONE.unlink(missing_ok=True)
    files = measure(args.count)
    kinds = by_kind(files)
    print(pd.DataFrame(kinds).to_string(index=False, na_rep=""))
    limits = {"seconds": budget.SECONDS, "megabytes": budget.MEMORY // 10**6}
    over = int(((files.seconds > limits["seconds"]) | ~(files.megabytes <= limits["megabytes"])).sum())
    write_json(
        args.to,
        {
            "command": "python tools/measure/attack_files.py" + f" --count {args.count}" * (args.count != COUNT),
            "machine": {"processor": processor(), "cores": processors()},
            "files": len(files),
            "limits": limits,
            "over_a_limit": over,
            "failed": int((~files.outcome.isin(["opened", "refused"])).sum()),
            "kinds": kinds,
        },
    )
    DONE.unlink()


if __name__ == "__main__":
    run(main)
