"""The container: its files are linted, and an image of them would hold what the apps need. (No engine runs here.)"""

import fnmatch
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from apps.healthy import answers
from facerec._files import ROOT
from tests.chromium import free_port

DOCKERFILE = (ROOT / "apps" / "Dockerfile").read_text(encoding="utf-8")
SERVICES = yaml.safe_load((ROOT / "apps" / "compose.yaml").read_text(encoding="utf-8"))["services"]


def tool(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema not installed")
def test_compose_is_what_its_schema_says():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = tool(*check, "apps/compose.yaml")
    assert done.returncode == 0, done.stdout


HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint not installed (there is a wheel for Linux on Intel)")
def test_hadolint_has_nothing_to_say():
    done = tool(HADOLINT, "apps/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_services_run_as_nobody_in_particular_and_can_write_nothing_but_the_database():
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user and int(user[1]) > 0 and DOCKERFILE.rindex("USER") < DOCKERFILE.rindex("CMD")
    assert set(SERVICES) == {"compare", "people"}
    for service in SERVICES.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and not service.get("privileged")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "open to this computer only"
    assert "volumes" not in SERVICES["compare"], "the app that keeps nothing has nowhere to keep it"
    assert "people:/data" in SERVICES["people"]["volumes"] and "FACES_DATABASE=/data/people.db" in DOCKERFILE


def test_both_commands_name_what_is_there():
    assert (ROOT / "apps" / "flask" / "__main__.py").is_file()
    for service in SERVICES.values():
        command = service["command"]
        named = [word for word in command if word.endswith(".py")] or [command[2].replace(".", "/") + "/__main__.py"]
        assert all((ROOT / name).is_file() for name in named), command
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1])


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A copy of what COPY . . takes: what git keeps, without what .dockerignore names."""
    folder = tmp_path_factory.mktemp("image")
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    listed = tool("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    for name in listed:
        parents = [name, *map(str, Path(name).parents)]
        if (ROOT / name).is_file() and not any(fnmatch.fnmatch(part, rule) for rule in ignored for part in parents):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_image_leaves_out_what_is_private_or_large(image):
    assert not [name for name in (".git", ".venv", "tests", "datasets", "data", "secrets") if (image / name).exists()]
    assert not list(image.glob("*.ipynb")) and not list(image.glob(".streamlit/secrets*"))
    assert sum(path.stat().st_size for path in image.rglob("*")) < 150_000_000


def test_the_image_holds_what_the_apps_need(image):
    code = (
        "from apps.flask import create_app\ncreate_app()\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('apps/streamlit/app.py', default_timeout=120).run()\n"
        "print(len(app.exception), 'exceptions')"
    )
    here = {"FACES_DATABASE": str(image / "data" / "people.db"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=image, env=os.environ | here, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("0 exceptions"), done.stdout + done.stderr[-2000:]


class _Answers(http.server.BaseHTTPRequestHandler):
    """Well at one address, ill at any other."""

    def do_GET(self) -> None:
        body = json.dumps({}).encode()
        self.send_response(200 if self.path == "/well" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_the_health_check_tells_well_from_ill_and_from_nobody():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_port}"
    try:
        assert answers(f"{here}/well") and not answers(f"{here}/ill")
        assert not answers(f"http://127.0.0.1:{free_port()}/well") and not answers("nonsense")
        script = [sys.executable, "apps/healthy.py"]
        assert tool(*script, f"{here}/ill", f"{here}/well").returncode == 0
        assert tool(*script, f"{here}/ill").returncode == 1
    finally:
        server.shutdown()
