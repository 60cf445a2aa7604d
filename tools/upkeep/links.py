"""Check the links of the pages and notebooks: the files and anchors that they name exist.

    python tools/upkeep/links.py        # prints those that do not

Links to the web are only checked for their form: a test must not depend on a network. An anchor is an ``<a id="…">``,
which works in Jupyter, on the website and wherever else Markdown is shown; in a page, a heading is one, too.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from facerec._files import ROOT

MARKDOWN = MarkdownIt("commonmark").enable("table")


def markdown_of(path: Path) -> str:
    """The text of a page, or of the Markdown cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def tokens(text: str) -> Iterator[Token]:
    """The blocks of a text and what is in them."""
    for block in MARKDOWN.parse(text):
        yield block
        yield from block.children or []


def links(text: str) -> list[str]:
    """Where the links and pictures of a text point; code is left out.

    Example:
        >>> links("[a page](docs/a.md#b), ![a picture](c.jpg) and `[no](link)`")
        ['docs/a.md#b', 'c.jpg']
    """
    found = [token.attrs.get("href") or token.attrs.get("src") for token in tokens(text)]
    return [link for link in found if link]


def slug(heading: str) -> str:
    """The anchor that a page's heading gets.

    Example:
        >>> slug("Two web apps: `make app`")
        'two-web-apps-make-app'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page or notebook."""
    text = markdown_of(path)
    found = list(tokens(text))
    raw = " ".join(token.content for token in found if token.type in ("html_inline", "html_block"))
    headings = [after.content for token, after in zip(found, found[1:], strict=False) if token.type == "heading_open"]
    slugs = [] if path.suffix == ".ipynb" else map(slug, headings)  # Jupyter's own anchors are others
    return frozenset([*re.findall(r'\bid="([^"]+)"', raw), *slugs])


def problem(link: str, page: Path) -> str | None:
    """What is wrong with a link of a page, or None."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return "is not an address on the web"
    if parts.scheme or parts.netloc:
        well_formed = parts.scheme in ("https", "http") and "." in parts.netloc and " " not in unquote(link)
        return None if well_formed else "is not an address on the web"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return "is missing"
    if parts.fragment and parts.fragment not in anchors(target):
        return f"has no anchor {parts.fragment!r}"
    return None


def broken(page: Path) -> list[str]:
    """Each link of a page or notebook that leads nowhere, with what is wrong with it."""
    checked = [(link, problem(link, page)) for link in links(markdown_of(page))]
    return [f"{link} {found}" for link, found in checked if found]


def main() -> None:
    """Print the broken links of every page and notebook that git keeps, or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", "*.ipynb"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    sys.exit("\n".join(f"{name}: {found}" for name in names for found in broken(ROOT / name)) or None)


if __name__ == "__main__":
    main()
