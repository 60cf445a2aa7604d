"""Commands for the people in a database: enrol, people, forget, export, import."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec._files import DEFAULT_NETWORK, as_path
from facerec._quiet import say
from facerec.command import console, opening
from facerec.command.options import (
    PEOPLE,
    Conflict,
    Csv,
    ImportConflict,
    Json,
    Network,
    People,
    Quiet,
)
from facerec.errors import BadArgument, FaceError

if TYPE_CHECKING:
    from facerec.portraits import Pictures


def enrol(
    pictures: Annotated[list[str], typer.Argument(help="Folders, zip files or pictures.", show_default=False)],
    database: People = PEOPLE,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The person all these pictures show.")] = None,
    on_conflict: Annotated[
        Conflict,
        typer.Option(
            help="People who are in the database already: skip their pictures, add them, replace what is known, "
            "or refuse everything."
        ),
    ] = Conflict.skip,
    numbered: Annotated[
        bool, typer.Option("--numbered", metavar="", help="lena_2.jpg and 'lena (3).jpg' show lena, too.")
    ] = False,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            metavar="",
            help="Leave out no picture because of its name (camera_…, video_call, lookalike, IMG_1234).",
        ),
    ] = False,
    network: Network = DEFAULT_NETWORK,
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Let the workers of a Dask scheduler do it (tcp://host:8786).", show_default=False
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Add people to a database, from pictures that are named after them.

    In a folder that you give, lena.jpg shows lena, and so does every picture in its folder lena/. The database is made
    if it is missing. Files that can't be used are listed with the reason.
    """
    found = _find(pictures, name, numbered, everything)
    model = opening.load_network(network, len(found.portraits))
    from facerec.enrol import enrol_pictures, known_among
    from facerec.workers import enrol_on_workers

    progress = console.shows_progress()
    with opening.lasting(database, model, make=True) as people:
        known = known_among({portrait.identity for portrait in found.portraits}, people)
        try:
            if workers is not None:
                unusable = enrol_on_workers(found, network, people, workers, on_conflict.value, progress)
            else:
                unusable = enrol_pictures(found, model, people, progress, on_conflict.value)
        except KeyboardInterrupt:
            again = "; the same command continues" if on_conflict == Conflict.skip else ""
            console.note(f"stopped; {database}: {_how_many(len(people))}{again}")
            raise
        after = len(people)
    for file, reason in unusable.itertuples(index=False):
        console.note(f"not used: {file}: {reason}")
    refused = set(unusable.file)
    used = {portrait.identity for portrait in found.portraits if portrait.file not in refused}
    added, changed = used - known, known if on_conflict == Conflict.skip else used & known
    if not added and not changed:
        raise BadArgument(f"no one was added to {database}: none of the pictures can be used")
    done = {"skip": "left as they were", "add": "given more pictures", "replace": "replaced"}.get(on_conflict.value)
    told = f"{len(added)} added" + (f", {len(changed)} {done}" if changed else "")
    say(f"{database}: {_how_many(after)} ({told})")


def _how_many(people: int) -> str:
    """A number of people, in words."""
    from facerec.database.entries import how_many

    return how_many(people)


def _find(given: Sequence[str], name: str | None, numbered: bool, everything: bool) -> Pictures:
    """Everyone's pictures in all arguments together."""
    given = list(dict.fromkeys(given))
    from facerec import portraits
    from facerec.database.names import check_name
    from facerec.photos import PICTURE_ENDINGS, zip_above

    for text in given:
        if not as_path(text).exists() and not zip_above(Path(text)):
            raise BadArgument(f"{text} does not exist: give folders, zip files or pictures")
    if name is not None:
        try:
            name = check_name(name)
        except BadArgument as error:
            raise BadArgument(str(error).replace("identity=", "--name ", 1)) from error
    together, skip = portraits.Pictures([], [], []), () if everything or name else portraits.NO_PORTRAIT
    for text in given:
        path = Path(text)
        inside = zip_above(path) is not None and path.suffix.lower() in PICTURE_ENDINGS
        if inside or (path.is_file() and not zipfile.is_zipfile(path)):
            found = portraits.single(path, skip, numbered)
        else:
            found = portraits.find_portraits(text, skip, numbered)
            if len(given) > 1:  # files of several folders may have the same names
                found = found.below(text.rstrip("/"))
        for whole, part in zip(together, found, strict=True):
            whole += part
    together.portraits[:] = {(each.path.resolve(), each.identity): each for each in together.portraits}.values()
    if name is not None:
        together.portraits[:] = [each._replace(identity=name, alone=False) for each in together.portraits]
    for told in portraits.about_names(together, "--all", "--numbered", "--name", most=10_000):
        console.note(told)
    together.portraits.sort(key=lambda portrait: portrait.identity)
    return together


def people(
    text: Annotated[str, typer.Argument(help="List only names that contain this.", show_default=False)] = "",
    database: People = PEOPLE,
    as_csv: Csv = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the people in a database: how many pictures of each, and since when."""
    form = console.form_of(as_csv, as_json)
    with opening.lasting(database) as known:
        table = known.people()
        wanted = set(known.find(text, len(known))) if text else set(known)
    rows = table[table.identity.isin(wanted)].sort_values("identity", key=lambda names: names.str.casefold())
    days = rows.added.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    cells = list(zip(rows.identity, rows.encodings.tolist(), rows.photos.tolist(), days, strict=True))
    columns = ("identity", "encodings", "photos", "added")
    if form == "json":
        console.write_json([dict(zip(columns, row, strict=True)) for row in cells])
    elif form == "csv":
        console.write_csv([columns, *cells])
    else:
        heads = {"who": "left", "encodings": "right", "photos kept": "right", "added": "left"}
        console.show_table(heads, [(who, f"{n}", f"{m}", day[:10]) for who, n, m, day in cells])
        console.note(f"{f'{len(cells)} of ' if text else ''}{_how_many(len(table))} in {database}")


def _names(context: typer.Context, begun: str) -> list[str]:
    """The names in the database that begin like this, for the shell to complete."""
    try:
        with opening.lasting(context.params.get("database") or os.environ.get("FACES_DATABASE") or PEOPLE) as known:
            return [name for name in known if name.casefold().startswith(begun.casefold())]
    except FaceError:
        return []


def forget(
    names: Annotated[
        list[str],
        typer.Argument(help="Their names, as people lists them.", show_default=False, autocompletion=_names),
    ],
    database: People = PEOPLE,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Don't ask.")] = False,
    quiet: Quiet = False,
) -> None:
    """Remove people, and every trace of them, from a database.

    Names, encodings and photos are erased from its files. Exports and backups made earlier keep theirs.
    """
    names = list(dict.fromkeys(names))
    with opening.lasting(database) as known:
        for name in names:
            known.encodings(name)  # an unknown name is an error before anyone is forgotten
        if not yes:
            typer.confirm(f"Forget {', '.join(map(console.one_line, names))} for good?", abort=True, err=True)
        for name in names:
            known.forget(name)
        say(f"{database}: {_how_many(len(known))} ({len(names)} forgotten)")


def export(
    file: Annotated[Path, typer.Argument(help="The ZIP file to write; an earlier export is replaced.")],
    database: People = PEOPLE,
    quiet: Quiet = False,
) -> None:
    """Write everyone in a database into a ZIP file of open formats, to take elsewhere."""
    with opening.lasting(database) as known:
        known.export_to(file)
        say(f"{file}: {_how_many(len(known))}")


def import_people(
    file: Annotated[Path, typer.Argument(help="A ZIP file that export wrote.")],
    database: People = PEOPLE,
    on_conflict: Annotated[
        ImportConflict,
        typer.Option(help="People who are known already: refuse the whole file, skip them, or replace them."),
    ] = ImportConflict.refuse,
    quiet: Quiet = False,
) -> None:
    """Import the people of an export, all of them or none. The database is made if it is missing."""
    if not file.is_file():
        raise BadArgument(f"{file} is not a file; an export is needed")
    with opening.lasting(database, make=True) as known:
        count = known.import_from(file, on_conflict.value)
        say(f"{database}: {_how_many(len(known))} ({count} imported)")
