"""Build the course as a website of static pages, which needs no server and no network.

    python -m tools.book.build        # or: make book

Then open ``build/book/index.html``. The notebooks are shown as they are committed; nothing is run. Sphinx makes the
pages, with myst-nb and the theme Furo. A link that leads nowhere, or a page that loads anything from elsewhere, is an
error.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from facerec._files import ROOT, whole
from tools.book import check, pages

SITE = ROOT / "build" / "book"


def build(source: Path, site: Path) -> list[str]:
    """Build a website.

    Args:
        source: The folder with its pages, among them ``index.md``.
        site: The folder to write. What was there is replaced, unless Sphinx warns.

    Returns:
        What is wrong, a line each.
    """
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as work:
        made = Path(work, "site")  # myst-nb leaves files beside it
        options = ["-q", "-W", "--keep-going", "-c", str(Path(__file__).parent), "-d", str(Path(work, "doctrees"))]
        if build_main([*options, str(source), str(made)]):
            return ["Sphinx warned: see above"]
        with whole(site) as unfinished:
            shutil.copytree(made, unfinished)
    return check.broken(site)


def main() -> None:
    """Build the course's website."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as source:
        pages.copy_to(Path(source))
        wrong = build(Path(source), SITE)
    if wrong:
        sys.exit("\n".join(wrong))
    count, seconds = len(list(SITE.rglob("*.html"))), time.perf_counter() - start
    print(f"{count} pages in {seconds:.0f} seconds. Open one in a browser: {SITE.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
