"""The website as Sphinx makes it: a small one, and the whole course in a real Chromium."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.chromium import HANG, NEEDED, SIZES, browser, look, serious_violations
from tools.book import build, pages

pytest.importorskip("sphinx", reason="the packages of the website are not installed: pip install -e '.[book]'")

CELLS = [
    new_markdown_cell("# Notebook\n\n[the area](page.md#roc-area), [below](#set-up)\n\n$$\\|A - P\\|^2 < \\alpha$$"),
    new_code_cell("print(1)", outputs=[new_output("stream", text="one\n")]),
    new_markdown_cell('<a id="set-up"></a>\n\n## 1 · Set-up'),
    new_code_cell("def folded():\n    pass", metadata={"tags": ["hide-input"]}),
]
PAGE = '# Glossary\n\n| word | meaning |\n|---|---|\n| <a id="roc-area"></a>ROC area | {link} |\n'
INDEX = "# Home\n\n```{toctree}\nnotebook.ipynb\npage.md\n```\n"


def build_site(folder, link="[notebook](notebook.ipynb#set-up)"):
    """What is wrong with a small site, whose page has one link to choose."""
    (folder / "source").mkdir()
    notebook = new_notebook(cells=CELLS, metadata={"language_info": {"name": "python"}})
    nbformat.write(notebook, folder / "source" / "notebook.ipynb")
    (folder / "source" / "page.md").write_text(PAGE.format(link=link))
    (folder / "source" / "index.md").write_text(INDEX)
    return build.build(folder / "source", folder / "site")


def test_small_site_has_formulas_folded_code_and_links_that_work(tmp_path):
    assert build_site(tmp_path) == []
    html = (tmp_path / "site" / "notebook.html").read_text()
    assert 'href="page.html#roc-area"' in html and 'id="set-up"' in html
    assert "<math" in html
    assert html.count("<details") == 1
    assert "one\n" in html
    assert "roc" in (tmp_path / "site" / "searchindex.js").read_text()


def test_link_that_leads_nowhere_fails(tmp_path):
    assert build_site(tmp_path, "[no](notebook.ipynb#no)") == ["page.html: notebook.html#no leads nowhere"]


@pytest.mark.browser
@NEEDED
def test_site_in_a_browser_is_accessible_and_loads_nothing_external(tmp_path):
    (tmp_path / "source").mkdir()
    pages.copy_to(tmp_path / "source")
    assert build.build(tmp_path / "source", tmp_path / "site") == []
    addresses = [path.as_uri() for path in sorted((tmp_path / "site").rglob("*.html"))]
    asked, wrong = set(), []
    with browser() as chromium:
        for scheme, size in (("light", "desktop"), ("dark", "phone")):
            page = chromium.new_page(viewport=SIZES[size], color_scheme=scheme)
            page.set_default_timeout(HANG)
            page.on("request", lambda request: asked.add(request.url))
            for address in addresses:
                page.goto(address)
                wrong += [f"{address}, {scheme}, {size}: {text}" for text in serious_violations(page)]
                if page.evaluate("document.documentElement.scrollWidth") > SIZES[size]["width"]:
                    wrong.append(f"{address}, {size}: wider than the window")
            page.goto((tmp_path / "site" / "index.html").as_uri())
            look(page, f"book_{size}_{scheme}")
        page.goto((tmp_path / "site" / "search.html").as_uri() + "?q=triplet")
        page.get_by_role("link", name="A FaceNet of your own").first.wait_for()
    assert wrong == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
