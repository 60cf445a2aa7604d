"""Run the commands that docs/command.md shows, and write what they print below them.

    python tools/upkeep/command_page.py

They run one after the other in an empty folder with a copy of ``images/`` and a film that is made of two of its
pictures. A test checks that they still print the same.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from typer.testing import CliRunner

from facerec._files import ROOT
from facerec.command.app import app
from facerec.photos import load_image

PAGE = ROOT / "docs" / "command.md"

#: A block of the page: a command after a dollar sign, and what it printed.
BLOCK = re.compile(r"```\n\$ (.*)\n(?:.*\n)*?```\n")

#: The film: which pictures are side by side, and for how many seconds. None stands for an empty wall.
SCENES = ((("camera_0", "camera_10"), 3), ((None, "camera_10"), 3), (("camera_0", None), 2))
FRAMES_PER_SECOND = 5


def make_film(path: Path) -> None:
    """Write the film of :data:`SCENES`."""
    wall = np.full((320, 320, 3), 110, np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FRAMES_PER_SECOND, (640, 320))
    for names, seconds in SCENES:
        sides = [load_image(ROOT / "images" / f"{name}.jpg") if name else wall for name in names]
        for _ in range(seconds * FRAMES_PER_SECOND):
            writer.write(np.ascontiguousarray(np.hstack(sides)[..., ::-1]))
    writer.release()


def printed_by(line: str) -> str:
    """What a command line prints, here and now; ``; echo $?`` at its end adds the exit code."""
    command, _, echo = line.partition(";")
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    code = f"{result.exit_code}\n" if echo.strip() == "echo $?" else ""
    return "\n".join(text.rstrip() for text in result.output.splitlines()) + "\n" + code


def filled(text: str) -> str:
    """The page with what its commands print now."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(ROOT / "images", "images")
        make_film(Path("film.mp4"))
        return BLOCK.sub(lambda block: f"```\n$ {block[1]}\n{printed_by(block[1])}```\n", text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
