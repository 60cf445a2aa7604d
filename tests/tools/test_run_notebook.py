"""Running a notebook and comparing its outputs, on a small notebook that needs no trained network."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel

from facerec._files import ROOT
from tests.plugin import Printed
from tools import run_notebook
from tools.ports import without_ports

SLIDER = """\
def move(threshold):
    figure, ax = plt.subplots(figsize=(2, 1))
    plt.show()


interact(move, threshold=FloatSlider(0.7));"""

IMPORTS = """\
import matplotlib.pyplot as plt
from ipywidgets import FloatSlider, interact
from tqdm.auto import tqdm"""

CELLS = [
    new_markdown_cell("# A small notebook\n\n## 1 · `Pictures` and formulas\n\n![Lena](lena.jpg)\n\n$$a^2 < \\alpha$$"),
    new_code_cell(IMPORTS),
    new_code_cell("done = [i for i in tqdm(range(3), desc='counting')]\nprint('three')"),
    new_markdown_cell("## 2 · A slider\n\n<details><summary>Hint</summary>\n\n*Move it.*\n\n</details>"),
    new_code_cell(SLIDER),
    new_code_cell("sum(done)", metadata={"tags": ["answers"], "collapsed": True}),
    new_code_cell("print('distance 0.4400, 7 of 20')"),
]


@pytest.fixture
def notebook(tmp_path):
    """The small notebook without its slider, whose packages take long, not run, in a folder of its own."""
    shutil.copy(ROOT / "images" / "lena.jpg", tmp_path)
    path = tmp_path / "small.ipynb"
    nbformat.write(new_notebook(cells=[CELLS[0], new_code_cell("done = [0, 1, 2]"), CELLS[3], CELLS[5]]), path)
    return path


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The small notebook as ``--in-place`` leaves it, and its page."""
    folder = tmp_path_factory.mktemp("executed")
    shutil.copy(ROOT / "images" / "lena.jpg", folder)
    nbformat.write(new_notebook(cells=CELLS), folder / "small.ipynb")
    assert run_notebook.main([str(folder / "small.ipynb"), "--in-place", "--to", str(folder / "small.html")]) == 0
    return folder / "small.ipynb"


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux, kernels are reached through files")
def test_kernels_of_notebooks_and_of_their_tests_need_no_port():
    notebook = new_notebook(
        cells=[new_code_cell("from ipykernel.kernelapp import IPKernelApp\nIPKernelApp.instance().transport")]
    )
    run_notebook.run(notebook, ROOT)
    kernel = RunningKernel(CURRENT_ENV_KERNEL_NAME, str(ROOT))
    try:
        assert notebook.cells[0].outputs[0].data["text/plain"] == "'ipc'" and kernel.km.transport == "ipc"
        assert len({without_ports()["ip"] for _ in range(3)}) == 3
    finally:
        kernel.stop()


def test_run_prints_headings_and_answers_and_leaves_the_notebook_unchanged(notebook, capsys):
    before = notebook.read_bytes()
    assert run_notebook.main([str(notebook), "--to", str(notebook.with_name("page.html"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "small.ipynb: 2 code cells"
    assert [re.sub(r"^ +\d+\.\d s +", "", line) for line in lines[1:3]] == ["1 · Pictures and formulas", "2 · A slider"]
    assert "3" in lines
    assert lines[-1].endswith("page.html")
    assert notebook.read_bytes() == before
    assert notebook.with_name("page.html").is_file()


def test_failing_cell_stops_the_run_and_is_shown(notebook, capsys):
    cells = [CELLS[0], CELLS[6], new_code_cell("print('before')\n1 / 0"), new_code_cell("print('never')")]
    nbformat.write(new_notebook(cells=cells), notebook)
    before = notebook.read_bytes()
    assert run_notebook.main([str(notebook), "--in-place", "--to", str(notebook.with_name("page.html"))]) == 1
    shown = capsys.readouterr().err
    assert "code cell 2 of 3 failed" in shown
    assert "    2  1 / 0" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "\x1b" not in shown
    assert notebook.read_bytes() == before
    assert not notebook.with_name("page.html").exists()


def test_cell_that_takes_too_long_is_stopped(notebook, capsys):
    nbformat.write(new_notebook(cells=[new_code_cell("import time\ntime.sleep(60)")]), notebook)
    assert run_notebook.main([str(notebook), "--timeout", "2"]) == 1
    assert "code cell 1 of 1 failed" in capsys.readouterr().err


def test_file_that_is_not_a_notebook_is_named(tmp_path, capsys):
    (tmp_path / "notes.ipynb").write_text("no JSON")
    for path in (tmp_path / "notes.ipynb", tmp_path / "missing.ipynb"):
        assert run_notebook.main([str(path)]) == 1
        assert path.name in capsys.readouterr().err


def test_running_twice_keeps_the_same_bytes(executed, tmp_path):
    nb = nbformat.read(executed, as_version=4)
    assert nb.metadata.kernelspec.name == "python3"
    assert nb.metadata.language_info == {"name": "python"}
    assert [cell.metadata for cell in nb.cells] == [{}, {}, {}, {}, {}, {"tags": ["answers"]}, {}]
    assert [cell.execution_count for cell in nb.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    text = executed.read_text(encoding="utf-8")
    assert "widget-view" not in text
    assert "counting: 100%|██████████| 3/3" in text

    again = tmp_path / executed.name
    for file in executed.parent.iterdir():
        shutil.copy(file, tmp_path)
    assert run_notebook.main([str(again), "--in-place", "--to", str(tmp_path / "page.html")]) == 0
    assert again.read_bytes() == executed.read_bytes()


def test_page_needs_no_network(executed):
    page = executed.with_suffix(".html").read_text(encoding="utf-8")
    body = page[page.index("<body") :]
    assert "<math" in body and "$$" not in body
    sources = re.findall(r"\bsrc=[\"']([^\"']{0,40})", page)
    assert len(sources) == 2  # Lena, and what the slider drew
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"<link[^>]+href=[\"']http|@import|import\s+\w+\s+from\s+[\"']http", page)


def test_page_folds_what_jupyterlab_shows_folded(tmp_path):
    cells = [new_code_cell("1 + 1"), new_code_cell("2 + 2", metadata={"jupyter": {"source_hidden": True}})]
    run_notebook.write_page(new_notebook(cells=cells), "page", tmp_path, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    (folded,) = re.findall("<details>.*?</details>", page, re.DOTALL)
    assert [">1<" in folded, ">2<" in folded] == [False, True]


def test_a_folded_hint_keeps_its_text_on_the_page(executed):
    page = executed.with_suffix(".html").read_text(encoding="utf-8")
    assert re.search(r"<summary>Hint</summary>\s*<p><em>Move it.</em></p>\s*</details>", page)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """A text with each of these parts, which it must hold once, replaced."""
    for was, now in changes:
        assert text.count(was) == 1, was
        text = text.replace(was, now)
    return text


def test_pytest_accepts_equal_outputs_and_refuses_changed_ones(executed, tmp_path):
    text = changed(
        executed.read_text(encoding="utf-8"),
        ('"three\\n"', '"four\\n"'),
        ("<Figure size 200x100", "<Figure size 300x100"),
        ('"3"', '"5"'),
        ('"distance 0.4400', '"distance 0.4401'),  # as on another processor
    )
    (tmp_path / "changed.ipynb").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "--rootdir", str(tmp_path)]
    command += ["-p", "no:cacheprovider", "-p", "no:tests.fixtures", "--color=no", str(tmp_path / "changed.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 failed, 2 passed" in done.stdout
    assert re.findall(r"^FAILED .*Cell (\d)", done.stdout, re.MULTILINE) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("0.44 and 1.50", "0.45 and 1.49", True),
        ("0.44", "0.46", False),
        ("0.44", "0.440", False),
        ("  9.99", "10.00", True),
        ("-0.00", "0.00", True),
        ("-0.50", "0.50", False),
        ("7 of 20", "8 of 20", False),
        ("version 1.2.3", "version 1.2.4", False),
        ("0.44 lena", "0.44 ines", False),
        ("98.6%.", "98.7%.", True),
        ("It is 0.44.", "It is 0.43.", True),
        ("0.44", "", False),
    ],
)
def test_comparison_forgives_last_decimals_and_nothing_else(one, other, equal):
    assert (Printed(one) == Printed(other)) is equal
    assert (Printed(one) != Printed(other)) is not equal
