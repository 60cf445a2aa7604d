"""Links of pages and notebooks: which are found, and which lead nowhere."""

import json

import pytest

from tools.upkeep import links

PAGE = '# A page\n\n## Two apps: `run`\n\n| <a id="roc-area"></a>ROC area | 1 |\n|---|---|\n| <a id="k"></a>K | 2 |\n'


@pytest.fixture
def folder(tmp_path):
    """A page, and a notebook that has one of its own headings marked."""
    cells = ["# Notebook", '<a id="set-up"></a>\n\n## 1 · Set-up', "[to the page](docs/page.md#k)"]
    notebook = {"cells": [{"cell_type": "markdown", "source": [text]} for text in cells]}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(PAGE)
    (tmp_path / "notebook.ipynb").write_text(json.dumps(notebook))
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        "docs/page.md", "docs/page.md#roc-area", "docs/page.md#two-apps-run", "docs", "#set-up",
        "notebook.ipynb#set-up", "https://arxiv.org/abs/1503.03832",
    ],
)  # fmt: skip
def test_good_link(folder, link):
    assert links.problem(link, folder / "notebook.ipynb") is None


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("docs/pages.md", "is missing"),
        ("page.md", "is missing"),
        ("docs/page.md#auc", "has no anchor 'auc'"),
        ("#1--set-up", "has no anchor '1--set-up'"),  # Jupyter calls that heading differently
        ("htps://arxiv.org/abs/1503.03832", "is not an address on the web"),
        ("https://arxiv", "is not an address on the web"),
        ("https://arxiv.org/a%20b", "is not an address on the web"),
        ("https://[arxiv.org", "is not an address on the web"),
    ],
)
def test_bad_link(folder, link, problem):
    assert links.problem(link, folder / "notebook.ipynb") == problem


def test_links_of_a_notebook_are_checked(folder):
    assert links.broken(folder / "notebook.ipynb") == []
    (folder / "docs" / "page.md").write_text("# Empty")
    links.anchors.cache_clear()
    assert links.broken(folder / "notebook.ipynb") == ["docs/page.md#k has no anchor 'k'"]


def test_code_holds_no_links():
    assert links.links("`[a](b)`\n\n```\n[c](d)\n```\n\n    [e](f)\n\n| [g](h) |\n|---|\n") == ["h"]
