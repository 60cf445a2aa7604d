"""The project's address: the notebooks' first cell, run where the project is and where it is not; README's badges."""

import json
import os
import re
import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from tools.upkeep import address

NOTEBOOKS = ["Face_Recognition.ipynb", "train_siamese.ipynb", "train_facenet.ipynb", "evaluate.ipynb"]

AUTHOR = ["-c", "user.name=a", "-c", "user.email=a@example.org"]


def make_project(folder, needs=("keras.py", "facerec.py")):
    """A folder that looks like the project, with stand-ins for what a kernel needs."""
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "answers.json").write_text("{}")
    for file in ("fr_utils.py", *needs):
        (folder / file).touch()
    return folder


def run_cell(folder, repository="", **environment):
    """What the cell prints and the folder that it leaves Python in, in one without packages; or its last line."""
    code = f"import sys\nsys.path.insert(0, '')\n{address.source(repository)}\nprint(os.getcwd())"
    known = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "COLAB_RELEASE_TAG")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=folder, env=known | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.splitlines() or done.stderr.splitlines()[-1:]


@pytest.mark.parametrize("below", ["", "exercises", "exercises/mine"])
def test_cell_works_in_the_projects_folder_from_any_folder_in_it(tmp_path, below):
    project = make_project(tmp_path / "project")
    (project / below).mkdir(parents=True, exist_ok=True)
    assert run_cell(project / below) == [str(project)]


def test_cell_finds_the_project_that_its_kernel_belongs_to_from_any_other_folder(tmp_path):
    project = make_project(tmp_path / "project")
    (tmp_path / "elsewhere").mkdir()
    assert run_cell(tmp_path / "elsewhere", PYTHONPATH=str(project)) == [str(project)]


def test_notebook_alone_in_a_folder_says_what_to_do(tmp_path):
    (said,) = run_cell(tmp_path)
    assert said == "NotReady: Open this notebook in its project's folder: the one with fr_utils.py."
    (said,) = run_cell(tmp_path, "https://example.org/course")
    assert said == "NotReady: Open this notebook in its project's folder: https://example.org/course."


def test_kernel_without_the_packages_is_named(tmp_path):
    make_project(tmp_path / "project", needs=["facerec.py"])
    (said,) = run_cell(tmp_path / "project")
    assert said == "NotReady: This kernel lacks keras: choose the project's .venv."


def test_colab_gets_the_project_once_and_installs_it(tmp_path):
    origin, content = make_project(tmp_path / "origin"), tmp_path / "content"
    for words in (["init", "-q"], ["add", "."], [*AUTHOR, "commit", "-qm", "all of it"]):
        subprocess.run(["git", *words], cwd=origin, check=True)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "pip.py").write_text("import sys\nprint(*sys.argv[1:])")  # in place of the real one
    content.mkdir()
    colab = {"COLAB_RELEASE_TAG": "1", "PYTHONPATH": str(tmp_path / "packages")}
    assert "NotReady" in run_cell(content, origin.as_uri())[0]  # only there does it download anything
    assert run_cell(content, origin.as_uri(), **colab) == ["install -q -e course", str(content / "course")]
    assert run_cell(content / "course", origin.as_uri(), **colab) == [str(content / "course")]


def test_jupyter_shows_one_sentence_and_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = InteractiveShell().run_cell(address.source(""))
    assert not result.success
    assert capsys.readouterr().out.splitlines() == [str(result.error_in_exec)]


def test_cell_replaces_only_the_source_of_the_cells_tagged_setup():
    code = {"cell_type": "code", "execution_count": 1, "outputs": [], "source": ["old"]}
    cells = [code | {"metadata": {"tags": ["setup"]}}, code | {"metadata": {}}, {"cell_type": "markdown"}]
    first, *others = json.loads(address.filled(json.dumps({"cells": cells})))["cells"]
    assert "".join(first["source"]) == address.source()
    assert first["metadata"] == {"tags": ["setup"], "jupyter": {"source_hidden": True}}
    assert others == cells[1:]


@pytest.mark.parametrize("ending", ["", ".git", "/"])
def test_readme_gets_a_badge_per_notebook_and_service_once_the_project_is_on_github(ending):
    readme = address.README.read_text(encoding="utf-8")
    new = address.badges(readme, f"https://github.com/someone/a-course{ending}")
    opens = re.findall(r"\[!\[Open (\S+) in (\w+)\]\(https://\S+\)\]\((https://\S+)\)", new)
    assert [(notebook, service) for notebook, service, _ in opens] == [
        (notebook, service) for notebook in NOTEBOOKS for service in ("Colab", "Kaggle", "Binder")
    ]
    for notebook, _, link in opens:
        assert "/someone/a-course/" in link, link
        assert link.endswith(f"/{notebook}"), link
    assert address.badges(new, "") == address.badges(readme, "")


@pytest.mark.parametrize("repository", ["", "https://git.example.org/someone/a-course", "https://github.com/someone"])
def test_readme_has_no_badges_while_the_services_could_not_open_them(repository):
    assert "https://colab" not in address.badges(address.README.read_text(encoding="utf-8"), repository)


def test_every_page_holds_the_address_of_today():
    stale = [path.name for path, text in address.pages().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run: make pages"
    notebooks = {path.name: text for path, text in address.pages().items() if path != address.README}
    has = {name: json.dumps(address.source())[1:60] in text for name, text in notebooks.items()}
    assert set(NOTEBOOKS) <= set(has)
    assert set(has.values()) in ({True}, {False}), has  # none is without it, once they have it


def test_cell_is_short():
    assert max(map(len, address.source().splitlines())) <= 88
