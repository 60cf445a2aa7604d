"""The command for photos whose people have no names yet: cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerec._files import DEFAULT_NETWORK
from facerec.command import console, opening
from facerec.command.options import Csv, Json, Network, Quiet, Threshold
from facerec.command.sources import photos_of
from facerec.errors import BadArgument

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("photo", "face", "x", "y", "width", "height", "cluster", "identity", "distance", "problem")


def cluster(
    photos: Annotated[list[str], typer.Argument(help="Folders, zip files or pictures.", show_default=False)],
    to: Annotated[
        Path | None, typer.Option(metavar="ALBUM", help="Write an album into this folder: a folder per person.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="FACES_DATABASE", metavar="PATH", help="Names for people who are known: a database or portraits."
        ),
    ] = None,
    threshold: Threshold = None,
    as_csv: Csv = False,
    as_json: Json = False,
    network: Network = DEFAULT_NETWORK,
    quiet: Quiet = False,
) -> None:
    """Sort the faces of many photos by person, without knowing anyone."""
    form, files = console.form_of(as_csv, as_json), photos_of(photos)
    if database is not None:
        database = opening.known_or_examples(database)
    from facerec.clusters import check_album, cluster_photos, write_album
    from facerec.database.entries import how_many

    if to is not None:
        check_album(to)
        if above := [photo for photo in photos if to.resolve().is_relative_to(Path(photo).resolve())]:
            raise BadArgument(f"--to {to} lies in {above[0]}: its pictures would be looked at next time; name another")
    model = opening.load_network(network)
    known = None if database is None else opening.open_database(database, model)
    table, problems = cluster_photos(files, model, threshold, known, console.shows_progress())
    for file, reason in problems.itertuples(index=False):
        console.note(f"not used: {file}: {reason}")
    if not len(table):
        raise BadArgument("none of the pictures shows a face")
    if to is not None:
        write_album(table, to)
        console.note(f"{to}: an album of {how_many(table.cluster.nunique())}")
    _show(table, problems, form)


def _show(table: pd.DataFrame, problems: pd.DataFrame, form: str) -> None:
    """Print who is in which photo: for programs a row per face, for people a row per person."""
    if form == "table":
        heads = {"person": "left", "faces": "right", "photos": "left"}
        console.show_table(heads, [_row(label, rows) for label, rows in table.groupby("cluster", sort=False)])
        return
    rows = [_face(row) for row in table.itertuples()]
    rows += [dict.fromkeys(rows[0]) | {"photo": file, "problem": reason} for file, reason in problems.to_numpy()]
    if form == "json":
        console.write_json(rows)
    else:
        console.write_csv([COLUMNS, *([*_cells(row)] for row in rows)])


def _face(row: Any) -> dict[str, Any]:
    """A face as JSON holds it; a picture without one has a problem instead."""
    return {
        "photo": str(row.photo),
        "face": int(row.face) + 1,
        "box": list(map(int, row.box)),
        "cluster": int(row.cluster) + 1,
        "identity": _name(row.identity),
        "distance": float(row.distance),
        "problem": None,
    }


def _cells(row: dict[str, Any]) -> Iterator[Any]:
    """The same in CSV, where each number of the box has a cell."""
    for key, value in row.items():
        yield from (value or [None] * 4) if key == "box" else [value]


def _row(label: int, rows: pd.DataFrame) -> tuple[str, str, str]:
    """A person: the name or number, how many faces, and the first photos."""
    names = [name for name in map(_name, rows.identity) if name]
    photos = list(dict.fromkeys(str(photo) for photo in rows.photo))
    more = f" and {len(photos) - 3} more" if len(photos) > 3 else ""
    return (names[0] if names else f"person {label + 1}", f"{len(rows)}", ", ".join(photos[:3]) + more)


def _name(identity: object) -> str | None:
    """A name, or None for a person who is not known."""
    return identity if isinstance(identity, str) else None
