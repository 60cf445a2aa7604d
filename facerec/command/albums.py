"""The command for photos whose people have no names yet: cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec.command import console, opening
from facerec.command.options import DEFAULT_NETWORK, Csv, Json, Network, Quiet, Threshold
from facerec.command.sources import photos_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("photo", "face", "cluster", "identity", "distance")


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
    model = opening.load_network(network)
    known = None if database is None else opening.open_database(database, model)
    from facerec.clusters import cluster_photos, write_album

    with console.warnings_as_notes():
        table, problems = cluster_photos(files, model, threshold, known, console.shows_progress())
    for file, reason in problems.itertuples(index=False):
        console.note(f"not used: {file}: {reason}")
    if to is not None:
        write_album(table, to)
        console.note(f"{to}: an album of {table.cluster.nunique()} people")
    _show(table, form)


def _show(table: pd.DataFrame, form: str) -> None:
    """Print who is in which photo: for programs a row per face, for people a row per person."""
    if form == "table":
        heads = {"person": "left", "faces": "right", "photos": "left"}
        console.show_table(heads, [_row(label, rows) for label, rows in table.groupby("cluster", sort=False)])
        return
    rows = [
        (str(row.photo), int(row.face), int(row.cluster), _name(row.identity), console.number(float(row.distance)))
        for row in table.itertuples()
    ]
    if form == "csv":
        console.write_csv([COLUMNS, *rows])
    else:
        console.write_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])


def _row(label: int, rows: pd.DataFrame) -> tuple[str, str, str]:
    """A person: the name or number, how many faces, and the first photos."""
    names = [name for name in map(_name, rows.identity) if name]
    photos = list(dict.fromkeys(str(photo) for photo in rows.photo))
    more = f" and {len(photos) - 3} more" if len(photos) > 3 else ""
    return (names[0] if names else f"person {label + 1}", f"{len(rows)}", ", ".join(photos[:3]) + more)


def _name(identity: object) -> str | None:
    """A name, or None for a person who is not known."""
    return identity if isinstance(identity, str) else None
