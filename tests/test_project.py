"""The project keeps the promises of its own pages: notebooks, README, requirements, what is in git."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facerec._files import ROOT
from tools.upkeep import readme_results

NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
README = ROOT / "README.md"
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:home|root|work|Users|tmp|mnt)/\w")


def tracked() -> list[Path]:
    """The files that git keeps, and those it would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def outputs(cell: dict) -> list[dict]:
    return cell["outputs"] if cell["cell_type"] == "code" else []


# ------------------------------------------------------------------------------------------------ notebooks
def test_the_first_notebook_is_there():
    assert "Face_Recognition.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_was_run_from_top_to_bottom_and_is_fit_to_be_shown(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {(output["output_type"], output.get("name")) for cell in code for output in outputs(cell)}
    assert ("error", None) not in kinds
    assert ("stream", "stderr") not in kinds
    text = json.dumps([outputs(cell) for cell in code])
    assert not MACHINE_PATH.search(text), "an output names a path of one machine"
    assert path.stat().st_size < 1_500_000
    assert max(len("".join(cell["source"]).splitlines()) for cell in code) <= 25


# --------------------------------------------------------------------------------------------------- README
def test_every_command_of_the_readme_exists():
    goals = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", "\n".join(code_in(README.read_text(encoding="utf-8")))))
    assert {"run", "test", "lab"} <= named
    assert named <= goals
    for script in re.findall(r"python (tools/\w+\.py)", README.read_text(encoding="utf-8")):
        assert (ROOT / script).is_file()


def code_in(text: str) -> list[str]:
    """Everything that stands between backticks, in lines or blocks."""
    return re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)


@pytest.mark.parametrize("page", [path for path in tracked() if path.suffix == ".md"], ids=lambda path: path.name)
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_lists_what_is_there_and_everything_that_matters():
    readme = README.read_text(encoding="utf-8")
    files = readme.split("## What is where")[1].split("## ")[0]
    named = re.findall(r"^\| `([^`]+)`", files, re.MULTILINE)
    assert [name for name in named if not (ROOT / name).exists()] == []
    modules = {path.name for path in ROOT.glob("*.py")} - {"conftest.py"}
    assert modules | {path.name for path in NOTEBOOKS} <= set(named)


def test_the_results_on_our_pages_are_the_measured_ones():
    pages = readme_results.pages()
    assert README in pages and len(pages) == 3
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run python tools/upkeep/readme_results.py"


def test_the_readmes_python_runs_as_it_stands(capsys):
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 3
    for snippet in snippets:
        exec(snippet, {})
    said = "It's lena, welcome in!\nNot in the database.\nIt's lena, the distance is 0.\\d\\d\n"
    assert re.fullmatch(said, capsys.readouterr().out)


# -------------------------------------------------------------------------------------------- the code at large
@pytest.mark.parametrize("name", ["requirements.txt", "requirements-apps.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_and_says_who_uses_it(name):
    lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if re.match(r"[A-Za-z]", line)]
    assert lines
    for line in lines:
        assert re.match(r"[\w.-]+~=\d+\.[\d.]+ *(;[^#]+)?# \S", line), line


def test_ruff_has_nothing_to_say():
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_importing_the_modules_prints_nothing_and_writes_nothing(tmp_path):
    modules = sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "conftest")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(modules)}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_git_keeps_nothing_large_and_no_path_of_one_machine():
    for path in tracked():
        assert path.stat().st_size < 25_000_000, f"{path.name} is too large for git"
        if (
            path.suffix in (".py", ".md", ".txt", ".toml", ".yaml", ".json", ".csv", "")
            and path.stat().st_size < 2_000_000
        ):
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not MACHINE_PATH.search(text) or path == Path(__file__), f"{path.name} names a path of one machine"
