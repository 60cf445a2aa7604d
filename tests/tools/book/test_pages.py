"""What the website is made of, before Sphinx sees it."""

import json

from facerec._files import ROOT
from tools.book import pages
from tools.upkeep import links

NOTEBOOKS = ["Face_Recognition.ipynb", "train_siamese.ipynb", "train_facenet.ipynb", "evaluate.ipynb"]


def code(**more):
    return {"cell_type": "code", "metadata": {}, "source": ["1"], "outputs": []} | more


def test_the_course_comes_first_and_no_page_is_forgotten():
    found = [page for chapter in pages.chapters().values() for page in chapter]
    assert found[:4] == NOTEBOOKS
    assert len(found) == len(set(found))
    written = [*ROOT.glob("docs/*.md"), *ROOT.glob("*.ipynb"), *ROOT.glob("exercises/**/*")]
    written = {path.relative_to(ROOT).as_posix() for path in written if path.suffix in (".md", ".ipynb")}
    assert written <= set(found)


def test_everything_that_a_page_links_to_is_on_the_site(tmp_path):
    pages.copy_to(tmp_path)
    copied = [path for path in tmp_path.rglob("*") if path.suffix in (".md", ".ipynb")]
    assert len(copied) > 15
    assert [f"{path.name}: {link}" for path in copied for link in links.broken(path)] == []


def test_home_page_has_a_card_for_each_notebook_before_the_start():
    course, start = pages.home().index("## The course"), pages.home().index("## Start")
    cards = pages.home()[course:start]
    assert [line.partition("](")[2] for line in cards.splitlines() if line.startswith("**[")] == [
        f"{name})**" for name in NOTEBOOKS
    ]
    assert "| notebook |" not in pages.home()


def test_hidden_code_can_be_unfolded_and_figures_are_described():
    figure = {"output_type": "display_data", "data": {"image/png": "…"}}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Faces\n\n", "Two people. The **same** [pair](a.md):"]},
        code(outputs=[figure]),
        code(metadata={"jupyter": {"source_hidden": True}, "tags": ["solution"]}),
        code(),
    ]
    _, shown, hidden, _ = json.loads(pages.prepared(json.dumps({"cells": cells})))["cells"]
    assert shown["metadata"]["mystnb"] == {"image": {"alt": "Figure: The same pair:"}}
    assert hidden["metadata"]["mystnb"] == {"code_prompt_show": "Show a solution"}
    assert (shown["metadata"]["tags"], hidden["metadata"]["tags"]) == ([], ["solution", "hide-input"])
