"""The container: its files are linted, and its image would hold what the apps need. (No container engine runs here.)"""

import fnmatch
import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from apps.healthy import answers
from facerec._files import ROOT
from tools.ports import free_port
from tools.upkeep import architecture

DOCKERFILE = (ROOT / "apps" / "Dockerfile").read_text(encoding="utf-8")
IGNORED = (ROOT / "apps" / "Dockerfile.dockerignore").read_text(encoding="utf-8")
SERVICES = yaml.safe_load((ROOT / "apps" / "compose.yaml").read_text(encoding="utf-8"))["services"]

#: Files, and folders of them, that the apps open.
OPENED = {"images", "weights", "keras-facenet-h5", "docs/results", ".streamlit/config.toml"}


def tool(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema not installed")
def test_compose_file_fits_its_schema():
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = tool(*check, "apps/compose.yaml")  # the schema comes with the package: nothing is downloaded
    assert done.returncode == 0, done.stdout


HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint not installed (there is a wheel for Linux on Intel)")
def test_dockerfile_passes_hadolint():
    done = tool(HADOLINT, "apps/Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_services_run_unprivileged_and_write_only_the_database():
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user and int(user[1]) > 0 and DOCKERFILE.rindex("USER") < DOCKERFILE.rindex("CMD")
    assert set(SERVICES) == {"compare", "people", "api"}
    for service in SERVICES.values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and not service.get("privileged")
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "must be open to this computer only"
    assert "volumes" not in SERVICES["compare"], "the app that keeps nothing needs no volume"
    assert "people:/data" in SERVICES["people"]["volumes"] and "FACES_DATABASE=/data/people.db" in DOCKERFILE


def test_services_are_built_in_the_projects_folder():
    for service in SERVICES.values():
        context = (ROOT / "apps" / service["build"]["context"]).resolve()
        assert context == ROOT and (context / service["build"]["dockerfile"]).is_file()


def test_commands_and_copied_files_exist():
    for service in SERVICES.values():
        command = service["command"]
        named = [word for word in command if word.endswith(".py")] or [command[2].replace(".", "/") + "/__main__.py"]
        assert all((ROOT / name).is_file() for name in named), command
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1])


def test_packages_are_installed_from_their_own_layer(tmp_path):
    """The files that are copied first are enough to build the project, so code changes keep the packages cached."""
    pytest.importorskip("hatchling")
    first = re.search(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE)[1].split()
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert named["project"]["readme"] in first and "apps" in named["project"]["optional-dependencies"]
    for name in first:
        shutil.copy(ROOT / name, tmp_path)
    backend = "from hatchling.build import build_editable; print(build_editable('wheels'))"
    (tmp_path / "wheels").mkdir()
    done = subprocess.run([sys.executable, "-c", backend], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "wheels" / done.stdout.strip()) as wheel:
        (path,) = (wheel.read(name).decode().strip() for name in wheel.namelist() if name.endswith(".pth"))
    assert Path(path).resolve() == tmp_path.resolve()


@functools.cache
def in_git() -> tuple[str, ...]:
    """The files that git keeps or would keep."""
    listed = tool("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    return tuple(name for name in listed if (ROOT / name).is_file())


def copied() -> set[str]:
    """The files that COPY . . takes: those in git, without the ignored ones."""
    rules = [line for line in IGNORED.splitlines() if line and line[0] != "#"]
    return {name for name in in_git() if not any(fnmatch.fnmatch(part, rule) for rule in rules for part in above(name))}


def above(name: str) -> list[str]:
    """A file and the folders it is in."""
    return [name, *map(str, Path(name).parents)]


def test_image_leaves_out_private_and_large_files():
    kept_out = (".git/", ".venv/", "tests/", "datasets/", "data/", ".streamlit/secrets")
    assert not [name for name in copied() if name.startswith(kept_out) or re.fullmatch(r"[^/]+\.ipynb", name)]
    assert sum((ROOT / name).stat().st_size for name in copied()) < 150_000_000


def test_image_holds_the_modules_and_the_data_of_the_apps():
    """Every module that they import, also by way of others, whatever lies beside it, and what they open."""
    modules, graph = architecture.modules(), architecture.imports_of_modules()
    files = [modules[name].relative_to(ROOT) for name in architecture.reached(graph, "apps") if name in modules]
    folders = {str(file.parent) for file in files} - {"."} | OPENED
    assert {"apps", "apps/streamlit/views", "facerec", "facerec/learning"} <= folders
    needed = {name for name in in_git() if folders.intersection(above(name))}
    assert len(needed) > 200 and {*map(str, files), *needed} <= copied()


@pytest.mark.apps
def test_apps_start_from_the_files_of_the_image(tmp_path):
    code = (
        "import os, facerec\nassert facerec.__file__.startswith(os.getcwd())\n"
        "from apps.comparison import Comparer\nfrom apps.flask.app import create_app\n"
        "create_app({'COMPARER': Comparer()})\n"
        "from streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('apps/streamlit/main.py', default_timeout=120).run()\n"
        "print(len(app.exception), 'exceptions')"
    )
    for name in copied():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "people.db").touch()  # a database that the first start does not have to fill
    here = {"FACES_DATABASE": str(tmp_path / "people.db"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | here, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("0 exceptions"), done.stdout + done.stderr[-2000:]


class _Answers(http.server.BaseHTTPRequestHandler):
    """Status 200 at one address, 503 at any other."""

    def do_GET(self) -> None:
        body = json.dumps({}).encode()
        self.send_response(200 if self.path == "/well" else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_health_check_accepts_only_status_200():
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
