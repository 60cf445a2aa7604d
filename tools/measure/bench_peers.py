"""Ours beside what a user would take instead: encoding, detecting, a photo to its names, memory, start, size.

    python tools/measure/bench_peers.py        # or: make bench-peers        → docs/results/peers.json

Each engine runs in a process of its own, with as many threads as there are cores, on the same pictures. All take turns
at each piece of work, and everything is done three times, with new processes; a number is the median of the three, with
the lowest and the highest. An engine whose packages are missing is left out. (InsightFace is missing: no package of the
registry carries its networks.)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec.errors import run
from tools.measure.peers.engines import ENGINES

#: The Python that has the other engines' packages; `make bench-peers` makes it.
PYTHON = ROOT / "build" / "peers" / "bin" / "python"

#: What is timed, in this order.
WORKS = ("encode 1", "encode 64", "detect one", "detect six", "who one", "who six", "largest one")

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "OPENBLAS_NUM_THREADS")


class Process:
    """One engine, started and waiting for work.

    Attributes:
        start_s: The seconds from the start of Python to the first answer.
        about: What it said of itself.
    """

    def __init__(self, name: str, folder: Path) -> None:
        python = sys.executable if name.startswith("ours") else str(PYTHON)
        cores = dict.fromkeys(THREADS, str(os.cpu_count()))
        environment = os.environ | cores | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, "-m", "tools.measure.peers.engines", name, str(folder)]
        start = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes)
        self.about = self._answer()
        self.start_s = time.perf_counter() - start

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with code {self.process.wait()}")
        return json.loads(line)

    def ask(self, work: str, seconds: float = 0) -> dict[str, Any]:
        """Ask for some work, and wait for the answer."""
        print(json.dumps({"work": work, "seconds": seconds}), file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def prepare(folder: Path) -> None:
    """Write what all engines get: a photo with one face and one with six, and aligned faces of three sides."""
    from PIL import Image

    from facerec.detection import detect_faces
    from facerec.photos import load_image
    from tools.measure.bench import IMAGES, faces_for

    six = load_image(IMAGES / "video_call.jpg")[:720]  # 1280×720, as a camera takes it
    one = load_image(IMAGES / "camera_1.jpg")
    for name, photo, faces in (("one", one, 1), ("six", six, 6)):
        if len(detect_faces(photo)) != faces:
            raise RuntimeError(f"{name}.jpg should show {faces} faces")
        Image.fromarray(photo).save(folder / f"{name}.jpg", quality=95)
    for side in (96, 150, 160):
        np.save(folder / f"faces_{side}.npy", faces_for(side, 64))


def once(names: Sequence[str], folder: Path, seconds: float, bar: tqdm) -> dict[str, dict[str, Any]]:
    """Start every engine, let all take turns at each piece of work, and end them; what each said and took."""
    running: dict[str, Process] = {}
    for name in names:
        try:
            running[name] = Process(name, folder)
        except (OSError, RuntimeError) as error:
            tqdm.write(f"{name} is left out: {error}", file=sys.stderr)
        bar.update()
    took: dict[str, dict[str, Any]] = {name: {"start_s": each.start_s} for name, each in running.items()}
    for work in WORKS:
        for name, each in running.items():
            if work in each.about["works"]:
                took[name][work] = each.ask(work, seconds)["seconds"]
            bar.update()
    for name, each in running.items():
        took[name] |= {"about": each.about, **each.ask("memory")}
        each.close()
    return took


def summary(values: Iterable[float]) -> dict[str, float]:
    """The median of repeats, with the lowest and the highest."""
    values = list(values)
    return {"value": statistics.median(values), "low": min(values), "high": max(values)}


def row(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One engine's numbers, over all repeats."""
    about, found = repeats[0]["about"], defaultdict(dict)
    for work in WORKS:
        if work in repeats[0]:
            kind, what = work.split()
            took = [each[work] for each in repeats]
            faces = kind == "encode"
            found["faces_per_second" if faces else f"{kind}_ms"][what] = summary(
                int(what) / seconds if faces else 1000 * seconds for seconds in took
            )
    ends = {name: summary(each[name] for each in repeats) for name in ("start_s", "memory_mb")}
    said = {name: about[name] for name in ("package", "version", "weights", "notes")}
    return {**said, **found, **ends, "installed_mb": repeats[0]["installed_mb"]}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each piece of work in each repeat")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "peers.json")
    args = parser.parse_args()
    repeats: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with tqdm(total=args.repeats * len(args.engines) * (1 + len(WORKS)), unit="turn") as bar:
            while len(repeats) < args.repeats:
                repeats.append(once(args.engines, Path(folder), args.seconds, bar))
                engines = {name: row([each[name] for each in repeats]) for name in repeats[0]}
                about = {"command": "make bench-peers", "cores": os.cpu_count(), "repeats": len(repeats)}
                result = {**about, "engines": engines}
                write_json(args.to, result)  # a run that is stopped leaves the repeats that it has done
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
