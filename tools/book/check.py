"""Check the website that was built: its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import functools
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: What a browser loads by itself: tag → attribute.
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """The anchors of a page, where its links point, and what it loads."""

    def __init__(self, path: Path):
        """Read the page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        found = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get(LOADED.get(tag, "")):
            self.loaded.append(found[LOADED[tag]])


page_at = functools.cache(Page)


def leads_nowhere(link: str, page: Path) -> bool:
    """Whether a page's link names a file or an anchor of the website that does not exist."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return True
    return bool(parts.fragment) and target.suffix == ".html" and unquote(parts.fragment) not in page_at(target).anchors


def broken(site: Path) -> list[str]:
    """What is wrong with a website, a line each.

    Args:
        site: Its folder.

    Returns:
        For each page the links that lead nowhere, and what it loads from elsewhere.
    """
    wrong = []
    for path in sorted(site.resolve().rglob("*.html")):
        name, page = path.relative_to(site.resolve()).as_posix(), page_at(path)
        nowhere = [link for link in page.links + page.loaded if leads_nowhere(link, path)]
        wrong += [f"{name}: {link} leads nowhere" for link in nowhere]
        wrong += [f"{name}: {link} is loaded from elsewhere" for link in page.loaded if urlsplit(link).netloc]
    page_at.cache_clear()
    return wrong
