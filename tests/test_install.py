"""The wheel of ``pip install .``: outside a checkout the modules import and the weights are found."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from facerec._files import ROOT

pytestmark = pytest.mark.slow

CODE = """
from pathlib import Path
import facerec, fr_utils
from facerec.errors import BadNetwork
from facerec.learning.siamese import load_siamese
assert Path(fr_utils.__file__).is_relative_to({environment!r}), fr_utils.__file__
assert fr_utils.load_facenet().output_shape == fr_utils.load_facenet("keras-facenet-h5").output_shape == (None, 128)
assert 0 < load_siamese()[1] < 1
try:
    fr_utils.load_facenet("weights/missing")
except BadNetwork as error:
    assert "this project ships weights/resnet" in str(error), error
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """An environment with the wheel and, beside it, this environment's packages; gives its Python."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    venv.create(folder / "environment", with_pip=True)
    python = folder / "environment" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *folder.glob("*.whl")], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(site, "packages.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


def test_installed_package_works_outside_the_checkout(installed, tmp_path):
    code = CODE.format(environment=str(installed.parent.parent))
    done = subprocess.run([installed, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_installed_command_line_answers(installed, tmp_path):
    done = subprocess.run(
        [installed, "-m", "facerec", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "collect" in done.stdout
