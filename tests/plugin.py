"""What every pytest run here needs, whether it runs tests, doctests or notebooks."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Kernels that run notebooks inherit these.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # or each kernel warns about its debugger
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
(ROOT / "build" / "ipython").mkdir(parents=True, exist_ok=True)
os.environ["IPYTHONDIR"] = str(ROOT / "build" / "ipython")  # no user's settings or history
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default on some processors, where it halves the time

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes share the cores: threads of each would wait for each other
    for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(threads, "1")

sys.modules["rfc3987_syntax"] = None  # jsonschema's grammar of addresses: seconds of each process, for no schema here

import matplotlib
import nbval.kernel
from nbval.kernel import KernelManager, RunningKernel
from nbval.plugin import IPyNbCell

from tools.ports import without_ports

matplotlib.use("Agg")  # and a test draws into memory


# ---------------------------------------------------------------------- notebooks, as nbval compares them
def start_kernel(self: RunningKernel, *args: object, **kwargs: object) -> None:
    """Start a kernel that needs no ports and draws into the notebook: Streamlit tells this process to draw nowhere."""
    os.environ.pop("MPLBACKEND", None)
    nbval.kernel.KernelManager = partial(KernelManager, **without_ports())
    nbval_start(self, *args, **kwargs)


def execute_cell_input(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    """Run a cell as a notebook does: in nbval's way, a semicolon at its end does not hide the last value."""
    return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)


class Printed(str):
    """An output's text. Two are equal if nothing differs but the last decimals of numbers, and those by one.

    Processors add in different orders: 0.4449999 is printed as 0.44 on one and 0.45 on another. Whole numbers,
    and everything that is no number, must be the same.

    Example:
        >>> Printed("distance 0.44, yes") == Printed("distance 0.45, yes")
        True
        >>> Printed("distance 0.44, yes") == Printed("distance 0.46, yes")
        False
        >>> Printed("3 of 20") == Printed("4 of 20")
        False
    """

    DECIMAL = re.compile(r"(?<![\d.])-?\d+\.(\d+)(?!\d|\.\d)")

    def __eq__(self, other: object) -> bool:
        """Whether the texts are equal but for last decimals."""
        if not isinstance(other, str) or self._around(self) != self._around(other):
            return False
        pairs = zip(self.DECIMAL.finditer(self), self.DECIMAL.finditer(other), strict=True)
        return all(len(a[1]) == len(b[1]) and abs(float(a[0]) - float(b[0])) < 1.5 / 10 ** len(a[1]) for a, b in pairs)

    def __ne__(self, other: object) -> bool:
        """The opposite: str has its own."""
        return not self == other

    __hash__ = str.__hash__

    @classmethod
    def _around(cls, text: str) -> str:
        """The text without its decimals, and however far its columns are apart."""
        return re.sub(" +", " ", cls.DECIMAL.sub(" \0 ", text))


def sanitize(self: IPyNbCell, output: object) -> object:
    """What nbval compares, after the rules of tests/nbval_sanitize.cfg."""
    output = nbval_sanitize(self, output)
    return Printed(output) if isinstance(output, str) else output


nbval_start = RunningKernel.__init__
RunningKernel.__init__ = start_kernel
nbval_sanitize = IPyNbCell.sanitize
IPyNbCell.sanitize = sanitize
RunningKernel.execute_cell_input = execute_cell_input

# ---------------------------------------------------------------------------------- what may be missing here
ENGINE = ("dlib", "face_recognition_models")


def pytest_configure(config: pytest.Config) -> None:
    """Load what tests share, and TensorFlow with it, only where tests run: not in the process that hands them out."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what needs the reference engine or a real data set that is not here."""
    missing = [package for package in ENGINE if importlib.util.find_spec(package) is None]
    for item in items:
        if missing and item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason=f"{' and '.join(missing)} not installed"))
        for marker in item.iter_markers("data"):
            folder = ROOT / "datasets" / marker.args[0]
            if not folder.is_dir():
                item.add_marker(pytest.mark.skip(reason=f"needs a real data set in datasets/{marker.args[0]}"))
