"""The check of a website that was built."""

import pytest

from tools.book import check


@pytest.fixture
def site(tmp_path):
    """Two pages and a picture."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "docs" / "b.html").write_text(
        '<a id="roc-area"></a><a href="../index.html">home</a><img src="../a.jpg">'
    )
    return tmp_path


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ('<a href="docs/b.html#roc-area">', []),
        ('<a href="https://arxiv.org">', []),  # to be clicked, not loaded
        ('<a href="docs/c.html">', ["index.html: docs/c.html leads nowhere"]),
        ('<a href="docs/b.html#auc">', ["index.html: docs/b.html#auc leads nowhere"]),
        ('<a href="#auc">', ["index.html: #auc leads nowhere"]),
        ('<img src="b.jpg">', ["index.html: b.jpg leads nowhere"]),
        ('<script src="https://a.org/b.js">', ["index.html: https://a.org/b.js is loaded from elsewhere"]),
        ('<link href="//a.org/b.css">', ["index.html: //a.org/b.css is loaded from elsewhere"]),
    ],
)
def test_links_that_lead_nowhere_and_files_from_elsewhere_are_found(site, html, wrong):
    (site / "index.html").write_text(html)
    assert check.broken(site) == wrong
