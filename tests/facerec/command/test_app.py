"""The command ``facerec`` as a whole: its help, its words, the errors of the system."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from facerec._files import ROOT
from facerec.command import cameras, options, serving
from facerec.command.app import app
from facerec.enrol import CONFLICTS
from facerec.live.collect import DETECTORS
from tests.facerec.command.calling import call, error_of

COMMANDS = [command.name for command in app.registered_commands]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_names_the_command_and_says_what_it_does(command):
    shown = call(*filter(None, [command]), "--help").stdout
    assert f"Usage: root {command or '[OPTIONS]'}" in shown and len(shown.splitlines()[3]) > 20
    assert all(name in shown for name in (["--quiet"] if command else ["--install-completion", *COMMANDS]))


def test_command_shows_the_projects_version_and_waits_for_no_heavy_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"facerec": "facerec.__main__:main"}
    heavy = {"keras", "tensorflow", "numpy", "cv2", "pandas", "PIL", "rich.table"}
    code = f"import atexit, runpy, sys\natexit.register(lambda: print({heavy} & set(sys.modules)))\n"
    code += "sys.argv = ['facerec', '--version']\nrunpy.run_module('facerec', run_name='__main__')"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert shown.stdout == f"facerec {project['version']}\nset()\n", shown.stderr


def test_words_of_options_are_those_of_the_library():
    assert [str(conflict) for conflict in options.Conflict] == list(CONFLICTS)
    assert [str(detector) for detector in cameras.Detector] == list(DETECTORS)


def test_serve_starts_an_app_by_its_name(here, monkeypatch):
    started = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: started.append((name, sys.argv[1:], Path.cwd())))
    monkeypatch.setattr(sys, "argv", [])
    (here / "people.db").touch()
    call("serve", "--port", 8123)
    assert os.environ["FACES_DATABASE"] == str(here / "people.db")
    monkeypatch.chdir(here)
    call("serve", "compare", "--host", "0.0.0.0")
    call("serve", "api")
    (team, team_words, team_folder), (pair, pair_words, _), programs = started
    assert (team, team_folder) == ("streamlit", ROOT) and Path(team_words[1]).is_file()
    assert team_words[2:] == ["--server.address", "127.0.0.1", "--server.port", "8123"]
    assert (pair, pair_words) == ("apps.flask", ["--host", "0.0.0.0", "--port", "8000"])
    assert programs == ("apps.api", ["--host", "127.0.0.1", "--port", "8600"], ROOT)


def test_serve_says_what_is_missing(here, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert error_of("serve").startswith("the web apps need streamlit: python -m pip install") and "[apps]" in error_of(
        "serve"
    )
    monkeypatch.setattr(serving, "ROOT", here)
    assert error_of("serve").startswith("the web apps are not in the installed package")
