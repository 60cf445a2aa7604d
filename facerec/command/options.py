"""Options that several commands have, each written once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from facerec.command import console

#: Where commands that change people keep them, relative to the working directory.
PEOPLE = "people.db"

#: The folder of portraits that come with the project.
EXAMPLES = "images"


class Conflict(StrEnum):
    """What to do about a person who is in the database already."""

    skip = "skip"
    add = "add"
    replace = "replace"
    refuse = "refuse"


class ImportConflict(StrEnum):
    """The same, for the people of an export."""

    refuse = "refuse"
    skip = "skip"
    replace = "replace"


QUIET = "Print results and errors only."

Quiet = Annotated[bool, typer.Option("--quiet", "-q", callback=console.hush, metavar="", help=QUIET)]
Network = Annotated[
    str, typer.Option(envvar="FACES_NETWORK", metavar="FOLDER", help="The folder of the network's weights.")
]
People = Annotated[
    str, typer.Option("--database", envvar="FACES_DATABASE", metavar="FILE", help="The database of people.")
]
Known = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="FACES_DATABASE",
        metavar="PATH",
        help="Who to compare with: a database, or a folder of portraits in which lena.jpg shows lena.",
        show_default=f"{PEOPLE} if there is one here, else the example people of {EXAMPLES}/",
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="DISTANCE", help="Faces farther apart than this are different people.", show_default="the network's own"
    ),
]
Csv = Annotated[bool, typer.Option("--csv", metavar="", help="Print CSV instead of a table.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON instead of a table.")]
