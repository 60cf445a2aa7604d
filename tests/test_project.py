"""The project keeps the promises of its pages: what they show, name and link to is there and works."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fr_utils
from facerec._files import ROOT
from tools.upkeep import architecture, links, readme_results
from tools.upkeep.architecture import belongs, reached

NOTEBOOKS = [*sorted(ROOT.glob("*.ipynb")), *sorted(ROOT.glob("exercises/solutions/*.ipynb"))]
README = ROOT / "README.md"
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:home|root|work|Users|tmp|mnt)/\w")


def tracked() -> list[Path]:
    """The files that git keeps, and those that it would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


PAGES = [path for path in tracked() if path.suffix == ".md"]


def page_id(path: Path) -> str:
    """A page's name within the project, for test ids."""
    return path.relative_to(ROOT).as_posix()


def code_of(text: str) -> str:
    """Everything between backticks, in lines or blocks, a line each; lines that are continued are joined."""
    found = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    return "\n".join(block or line for block, line in found).replace("\\\n", " ")


COMMANDS = "\n".join(code_of(path.read_text(encoding="utf-8")) for path in PAGES)


# --------------------------------------------------------------------------------------------------- notebooks
def code_cells(notebook: Path) -> list[dict]:
    """The code cells of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def lines_of(cell: dict) -> int:
    """How many lines a cell has, without its imports."""
    tree = ast.parse("".join(line for line in cell["source"] if not line.startswith(("%", "!"))))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return len(cell["source"]) - sum(node.end_lineno - node.lineno + 1 for node in imports)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=page_id)
def test_notebook_was_run_from_top_to_bottom_without_errors(path):
    code = code_cells(path)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {(output["output_type"], output.get("name")) for cell in code for output in cell["outputs"]}
    assert not kinds & {("error", None), ("stream", "stderr")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=page_id)
def test_notebook_is_small_and_names_no_path_of_a_machine(path):
    code = code_cells(path)
    assert not MACHINE_PATH.search(json.dumps([cell["outputs"] for cell in code]))
    assert path.stat().st_size < 1_500_000
    assert max(map(lines_of, code)) <= 25


# ------------------------------------------------------------------------------------------------------- pages
def test_readme_is_short_and_shows_at_most_eight_results():
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) < 1200
    assert 1 <= len(readme_results.measured(readme_results.SHORT)) <= 8


@pytest.fixture
def few_images(images, network, tmp_path, monkeypatch):
    """A working directory with two portraits and the photos that the pages look at; the network is loaded already."""
    (tmp_path / "images").mkdir()
    for name in ("lena", "otto", "camera_0", "camera_5", "camera_7", "video_call"):
        shutil.copy(images / f"{name}.jpg", tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fr_utils, "load_facenet", lambda: network)


def test_readme_python_runs_and_prints_what_its_comments_say(capsys, few_images):
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    exec(snippet, {})
    assert capsys.readouterr().out == "It's lena, welcome in!\nNot in the database.\n"


def test_python_of_the_database_page_runs(capsys, few_images, tmp_path):
    text = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "build").mkdir()
    exec(snippet, {})
    assert re.fullmatch(r"It's lena, the distance is 0.\d\d\n", capsys.readouterr().out)
    assert (tmp_path / "build" / "people.db").is_file()


@pytest.mark.parametrize("page", [path for path in tracked() if path.suffix in (".md", ".ipynb")], ids=page_id)
def test_links_of_pages_and_notebooks_lead_somewhere(page):
    assert links.broken(page) == []


def test_glossary_has_each_anchor_once():
    anchors = re.findall(r'<a id="([^"]+)">', (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert len(anchors) > 50
    assert sorted(anchors) == sorted(set(anchors))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    # Files of our folders; a name with a placeholder (<…>, *, …) is not a file.
    files = re.findall(
        r"(?<![\w./<-])(?:facerec|apps|tools|tests|docs|weights|images|keras-facenet-h5)/[\w/.-]+\.\w+", text
    )
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_page_names_only_notebooks_and_modules_that_exist(page):
    text = page.read_text(encoding="utf-8")
    notebooks = set(re.findall(r"\b\w+\.ipynb\b", text))
    assert notebooks <= {path.name for path in NOTEBOOKS}
    named = set(re.findall(r"\bfacerec(?:\.[a-z_]+)+", text))
    ours = architecture.modules()
    assert {name for name in named if name not in ours and name.rpartition(".")[0] not in ours} == set()


def test_generated_pages_are_up_to_date():
    pages = readme_results.pages() | architecture.pages()
    assert {README, ROOT / "docs" / "results.md", ROOT / "docs" / "scale.md"} <= set(pages)
    stale = [page_id(path) for path, text in pages.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run: make pages"


# ---------------------------------------------------------------------------------------------------- commands
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_commands_of_the_pages_exist():
    goals = sorted(set(re.findall(r"\bmake ([a-z][a-z-]*)", COMMANDS)))
    assert {"run", "test", "app", "compare", "lab"} <= set(goals)
    command = ["make", "--dry-run", *goals, "DIR=x", "LFW=x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_every_command_of_the_pages():
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    goals = set(re.findall(r"\bmake ([a-z][a-z-]*)", COMMANDS))
    assert goals <= set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))


def commands() -> list[str]:
    """Every command line of the pages that starts one of our programs, each once, with its options."""
    modules = r"-m (?:facerec|apps)[\w.]*(?: (?:collect|demo|enrol|who|verify|cluster|serve)\b)?"
    files = r"tools/(?:assets|measure)/\w+\.py(?: [a-z]+(?:-[a-z]+)*\b(?!/))?|tools/run_notebook\.py"
    found = re.findall(rf"python ({modules}|{files})([^\n#`]*)", COMMANDS)
    short = re.findall(r"^(?:\$ )?facerec ([a-z]+)([^\n#`;]*)", COMMANDS, re.MULTILINE)
    found += [(f"-m facerec {word}", rest) for word, rest in short]
    return sorted({" ".join([program, *re.findall(r"--[a-z][a-z-]*", rest)]) for program, rest in found})


@pytest.mark.parametrize("command", commands())
def test_command_of_the_pages_exists_with_its_options(command, capsys, monkeypatch):
    words = command.removeprefix("-m ").split()
    options, words = [word for word in words if word.startswith("--")], [word for word in words if word[:2] != "--"]
    file = ROOT / words[0].removesuffix(".py").replace(".", "/")
    if file.name == "accounts":
        words = words[:1]  # its word is a name
    monkeypatch.setattr(sys, "argv", [*words, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(file / "__main__.py" if file.is_dir() else file.with_suffix(".py")), run_name="__main__")
    assert left.value.code in (0, None)
    shown = capsys.readouterr().out
    assert [option for option in options if option not in shown] == []


# ------------------------------------------------------------------------------------------------ architecture
#: Package → what none of its modules may import, by the rules of docs/architecture.md.
FORBIDDEN = {
    "facerec": ("fr_utils", "apps", "tools", "tests"),
    "fr_utils": ("apps", "tools", "tests"),
    "apps": ("tools", "tests"),
}


def notebook_imports(notebook: Path) -> set[str]:
    """The dotted names of the modules that the code cells of a notebook import."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return architecture.imports(
        "\n".join(line for line in code.splitlines() if not line.startswith(("%", "!"))), ours=architecture.modules()
    )


def test_imports_never_point_up_or_form_a_circle():
    graph = architecture.imports_of_modules()
    up = {
        f"{module} → {other}"
        for module, below in graph.items()
        for other in below
        if belongs(other, FORBIDDEN.get(module.partition(".")[0], ()))
    }
    assert up == set()
    notebooks = {other for path in NOTEBOOKS for other in notebook_imports(path)}
    assert {other for other in notebooks if belongs(other, ("apps", "tools", "tests"))} == set()
    ours = {module for module in reached(graph, "inception_blocks_v2") if belongs(module, architecture.SOURCES)}
    assert ours <= {"inception_blocks_v2"}
    for package in ("facerec.database", "facerec.evaluation"):
        assert not {module for module in reached(graph, package) if belongs(module, ("keras", "tensorflow"))}
    assert architecture.circle(graph) == []
    assert architecture.circle(architecture.rooms()) == []


def test_modules_are_short_and_have_docstrings():
    for name, file in architecture.modules().items():
        if not belongs(name, ("tools",)):
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 520, f"{name} is too long"
        assert architecture.first_line(file)[:4] not in ("", "TODO"), f"{name} says nothing about itself"


def test_root_has_at_most_twenty_entries():
    entries = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert len([entry for entry in entries if not entry.startswith(".")]) <= 20


def test_importing_is_silent_and_loads_only_what_is_needed(tmp_path):
    """The database and the evaluation load no network and no Milvus, fr_utils no engine, no training and no app.

    Nor does Keras load what it only looks for, which takes a third of its start.
    """
    names = [name for name in architecture.modules() if belongs(name, ("facerec", "inception_blocks_v2"))]
    every = ", ".join(name for name in names if not name.endswith("__main__"))
    code = "import facerec.database, facerec.evaluation, sys; print(*sys.modules)\nimport fr_utils; print(*sys.modules)"
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", f"{code}\nimport {every}"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == "" and list(tmp_path.iterdir()) == []
    first, second = (line.split() for line in done.stdout.splitlines())
    milvus = ("pymilvus", "milvus_lite", "facerec.database.milvus")
    heavy = (
        *milvus,
        "sklearn",
        "matplotlib",
        "faiss",
        "facerec.database.sqlite",
        "facerec.learning",
        "facerec.live",
        "apps",
    )
    assert [name for name in first if belongs(name, ("keras", "tensorflow", *milvus))] == []
    assert [name for name in second if belongs(name, heavy)] == []


# ------------------------------------------------------------------------------------------------ what git keeps
def test_ruff_finds_nothing():
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_git_keeps_nothing_large():
    assert [page_id(path) for path in tracked() if path.stat().st_size >= 25_000_000] == []


def test_git_keeps_no_path_of_a_machine():
    endings = (".py", ".md", ".txt", ".toml", ".yaml", ".json", ".csv", "")
    texts = [path for path in tracked() if path.suffix in endings and path.stat().st_size < 2_000_000]
    found = [page_id(path) for path in texts if MACHINE_PATH.search(path.read_text(encoding="utf-8", errors="ignore"))]
    assert found in ([], [page_id(Path(__file__))])
