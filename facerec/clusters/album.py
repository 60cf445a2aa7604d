"""A table of clusters → an album: a folder of links to the photos of each person, and a contact sheet as one page.

album/index.html        every person, with crops of their faces; opens in any browser, without a network
album/person 1/         links to the photos that show the person (copies, where the system makes no links)
album/lena/             a person that the database knows
album/seen once/        photos of faces that resemble no other
"""

from __future__ import annotations

import html
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from facerec._files import as_path, as_text, whole
from facerec.detection import warp
from facerec.errors import BadArgument
from facerec.photos import as_jpeg, data_url, load_image, save_picture

#: The side of a crop on the page, in pixels, and how much wider than the face's box it is.
CROP_SIDE, MARGIN = 176, 1.5
#: At most so many faces of a person are shown; all of their photos lie in the folder.
MOST_SHOWN = 60
SEEN_ONCE = "seen once"

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>People in {photos}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#people">Skip to the faces</a>
<header>
<h1>{people}</h1>
<p class="lead">{faces} in {photos}. The faces of a person are sorted by how typical they are.</p>
</header>
<nav aria-label="People"><ul>
{links}
</ul></nav>
<main id="people" tabindex="-1">
{sections}
</main>
</body>
</html>
"""
LINK = '<li><a href="#{id}"><img src="{crop}" alt="" loading="lazy"><span>{title}</span></a></li>'
SECTION = """<section aria-labelledby="{id}">
<header><h2 id="{id}" tabindex="-1">{title}</h2><p>{count} · <a href="{folder}/">open the folder</a></p></header>
<ul>
{items}
</ul>{more}
</section>"""
ITEM = (
    '<li><a href="{href}"><figure><img src="{crop}" alt="{alt}" width="176" height="176" loading="lazy">'
    '<figcaption title="{name}">{name}</figcaption></figure></a></li>'
)
MORE = '\n<p class="more">{more} more in <a href="{folder}/">the folder</a></p>'


class Person(NamedTuple):
    """A section of the page: its title, the name of its folder, and its rows of the table."""

    title: str
    folder: str
    rows: pd.DataFrame


def write_album(table: pd.DataFrame, folder: str | os.PathLike) -> Path:
    """Write a folder of links for each person, and a contact sheet of all faces.

    Args:
        table: Of ``cluster_photos``; the photos must still be where they were.
        folder: A new or empty folder. It is written completely or not at all.

    Returns:
        The page, ``index.html`` in that folder.

    Raises:
        BadArgument: If the folder holds something, or the table has no faces.
        UnreadableImage: If a photo is gone.
    """
    folder = check_album(folder)
    if not len(table):
        raise BadArgument("the table has no faces: there is nothing to show")
    table = table.assign(crop=_crops(table))
    with whole(folder) as unfinished:
        unfinished.mkdir()
        links, sections = [], []
        for number, person in enumerate(people_of(table), 1):
            files = _link(person.rows.photo, unfinished / person.folder)
            link, section = _section(f"p{number}", person, files)
            links.append(link)
            sections.append(section)
        (unfinished / "index.html").write_text(_page(table, links, sections), encoding="utf-8")
    return folder / "index.html"


def check_album(folder: str | os.PathLike) -> Path:
    """Check that an album can be written, before the work begins; returns its path.

    Raises:
        BadArgument: If the folder holds something, or can't be made.
    """
    folder = as_path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadArgument(f"{folder} exists and is not an empty folder: an album overwrites nothing; name a new one")
    above = next(above for above in folder.absolute().parents if above.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        raise BadArgument(f"{folder} can't be made: {above} can't be written to")
    return folder


def people_of(table: pd.DataFrame) -> Iterator[Person]:
    """The sections of the page: people of several faces or with a name, and at last the faces that are alone."""
    taken, size = {SEEN_ONCE, "index.html"}, table.groupby("cluster").photo.transform("size")
    alone = (size == 1) & table.identity.isna()
    for cluster, rows in table[~alone].groupby("cluster"):
        name = rows.identity.iloc[0]
        title = f"Person {cluster + 1}" if pd.isna(name) else str(name)
        yield Person(title, _free(_as_file_name(title), taken), rows)
    if alone.any():
        yield Person("Seen once", SEEN_ONCE, table[alone])


def _as_file_name(text: str) -> str:
    """A name that every system takes for a folder.

    Example:
        >>> [_as_file_name(name) for name in ("José", "../etc", "a:b", "...", "CON")]
        ['José', '_etc', 'a_b', '_', 'CON_']
    """
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", text).strip(". ")[:60]
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return f"{name}_" if reserved or not name else name


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken yet, whatever the case; now it is."""
    stem, ending = os.path.splitext(name)
    number = 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem} ({number}){ending}"
    taken.add(name.casefold())
    return name


def _link(photos: pd.Series, folder: Path) -> dict[Path, str]:
    """Put each photo into the folder once, and return the name that it has there."""
    folder.mkdir()
    taken: set[str] = set()
    names = {}
    for photo in map(Path, dict.fromkeys(photos)):
        names[photo] = _free(as_text(photo.name), taken)
        target = folder / names[photo]
        if not photo.is_file():  # it lies in a zip file
            names[photo] = (
                _free(as_text(f"{photo.stem}.jpg"), taken) if photo.suffix.lower() != ".jpg" else names[photo]
            )
            save_picture(folder / names[photo], load_image(photo))
            continue
        try:
            target.symlink_to(photo.resolve())
        except OSError:
            shutil.copyfile(photo, target)
    return names


def _section(ident: str, person: Person, files: dict[Path, str]) -> tuple[str, str]:
    """The link to a person, and the section."""
    folder, title = quote(person.folder), html.escape(person.title)
    shown, items = person.rows.head(MOST_SHOWN), []
    for row in shown.itertuples():
        name = files[Path(row.photo)]
        alt = f"Face {row.face + 1} of {name}"
        values = {"href": f"{folder}/{quote(name)}", "crop": row.crop}
        items.append(ITEM.format(**values, alt=html.escape(alt), name=html.escape(name)))
    rest = len(person.rows) - len(shown)
    values = {"id": ident, "title": title, "folder": folder}
    count = f"{_count(len(person.rows), 'face')} in {_count(len(files), 'photo')}"
    more = MORE.format(more=_count(rest, "face"), folder=folder) if rest else ""
    section = SECTION.format(**values, count=count, items="\n".join(items), more=more)
    return LINK.format(**values, crop=person.rows.crop.iloc[0]), section


def _page(table: pd.DataFrame, links: list[str], sections: list[str]) -> str:
    style = (Path(__file__).parent / "album.css").read_text(encoding="utf-8")
    people = _count(table.cluster.nunique(), "person", "people")
    faces, photos = _count(len(table), "face"), _count(len(set(map(str, table.photo))), "photo")
    parts = {"links": "\n".join(links), "sections": "\n".join(sections)}
    return PAGE.format(style=style, people=people, faces=faces, photos=photos, **parts)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _crops(table: pd.DataFrame) -> list[str]:
    """The crop of each row; a photo is opened once."""
    crops: dict[int, str] = {}
    faces_of = defaultdict(list)
    for face in table.reset_index(drop=True).itertuples():
        faces_of[str(face.photo)].append(face)
    for photo, faces in faces_of.items():
        picture = load_image(photo)
        crops |= {face.Index: crop_of(picture, face.box, face.turn) for face in faces}
    return [crops[row] for row in range(len(table))]


def crop_of(photo: np.ndarray, box: tuple[int, int, int, int], turn: int = 0) -> str:
    """The square around a face of a photo (H, W, 3), turned upright, as the data URL of a JPEG of CROP_SIDE pixels."""
    x, y, width, height = box
    limits = np.array(photo.shape[1::-1])
    size = min(MARGIN * max(width, height), *limits)  # no wider than the photo, and inside of it
    middle = np.clip([x + width / 2, y + height / 2], size / 2, limits - size / 2)
    scale = CROP_SIDE / size
    matrix = np.column_stack([np.eye(2) * scale, CROP_SIDE / 2 - scale * middle])
    return data_url(as_jpeg(np.rot90(warp(photo, matrix, CROP_SIDE), -turn // 90), 82))
