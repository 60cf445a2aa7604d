"""Fifty programs at once ask the API as ``make api`` starts it: ``make test-apps``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from facerec._files import ROOT


@pytest.mark.apps
def test_fifty_programs_at_once_are_all_answered_rightly(tmp_path):
    results = tmp_path / "api.json"
    command = [sys.executable, "tools/measure/load_api.py", "--people", "1000", "--seconds", "15"]
    subprocess.run([*command, "--results", str(results)], cwd=ROOT, check=True, capture_output=True, timeout=600)
    measured = json.loads(results.read_text())
    assert measured["alone"]["errors"] == {} and measured["load"]["clients"] == 50
    assert (measured["load"]["errors"], measured["load"]["wrong"]) == (0, 0), measured["load"]
    assert set(measured["load"]["routes"]) == {"recognise", "verify", "people"}
