"""What every pytest run here needs, whether it runs tests, doctests or notebooks."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent

# Kernels that run notebooks inherit these.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # or each kernel warns about its debugger
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
os.environ["IPYTHONDIR"] = str(ROOT / "build" / "ipython")  # nobody's own settings, and not their history
os.environ.pop("MPLBACKEND", None)  # a kernel draws into the notebook unless it is told otherwise

import matplotlib  # noqa: E402
from nbval.kernel import RunningKernel  # noqa: E402

matplotlib.use("Agg")  # and a test draws into memory


def execute_cell_input(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    """Run a cell as a notebook does: in nbval's way, a semicolon at its end does not hide the last value."""
    return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


RunningKernel.execute_cell_input = execute_cell_input

ENGINE = ("dlib", "face_recognition_models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs the reference engine or a real data set that is not here."""
    missing = [package for package in ENGINE if importlib.util.find_spec(package) is None]
    for item in items:
        if missing and item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} not installed"))
        for marker in item.iter_markers("data"):
            folder = ROOT / "datasets" / marker.args[0]
            if not folder.is_dir():
                item.add_marker(pytest.mark.skip(reason=f"needs datasets/{marker.args[0]}: see datasets/README.md"))
