"""Both servers with their networks, under the whole siege: ``make test-apps``, or ``pytest -m apps`` on this file."""

import json
import subprocess
import sys

import pytest
import yaml

from facerec._files import ROOT

SERVICES = {"flask": "compare", "api": "api"}


@pytest.mark.apps
@pytest.mark.skipif(sys.platform != "linux", reason="a visitor from another address needs Linux's loopback network")
def test_siege_neither_fills_the_memory_nor_keeps_visitors_out(tmp_path):
    results = tmp_path / "apps.json"
    command = [sys.executable, "tools/measure/siege.py", "--results", str(results)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=1800)
    measured = json.loads(results.read_text())
    services = yaml.safe_load((ROOT / "apps" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name, service in SERVICES.items():
        siege, limit = measured[f"{name}_siege"], 1000 * float(services[service]["mem_limit"].removesuffix("g"))
        assert max(met["memory_mb"] for met in siege.values()) < 0.9 * limit, siege
        assert all(siege[what]["left"] == 0 for what in ("silent", "half_heads", "slow_bodies")), siege
        assert all(met.get("visitor_s", 0) < 10 for met in siege.values()), siege
        assert siege["bodies"]["turned_away"] >= 100, siege
