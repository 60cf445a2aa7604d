"""All commands together: the options of each, the help, and one line instead of a traceback after an error."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

import typer
from typer.core import TyperGroup

from facerec.command import albums, cameras, console, looking, people, serving
from facerec.command.options import QUIET
from facerec.errors import FaceError

FACES, DATABASE, OTHERS = "Look at faces", "Keep people", "Cameras and apps"

EPILOG = """
Exit codes: 0 it worked, 1 nothing was done or, for verify, different people, 2 an error, 130 after Ctrl-C.
"""


class Commands(TyperGroup):
    """The commands; what a user can get wrong ends them with one line and exit code 2."""

    def invoke(self, ctx: typer.Context) -> object:
        """Run the command that was asked for."""
        try:
            with console.warnings_as_notes():
                return super().invoke(ctx)
        except FaceError as error:
            console.complain(str(error))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            console.complain(": ".join(filter(None, (error.filename, error.strerror or str(error)))))
        raise typer.Exit(looking.ERROR)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"facerec {metadata.version('face-recognition-course')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, metavar="", help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", callback=console.begin, metavar="", help=QUIET)] = False,
) -> None:
    """Face recognition at a terminal: who is in a picture, a film, or in front of a camera?"""


def _offer(panel: str, *commands: Callable, **named: Callable) -> None:
    """Offer functions as commands; a paragraph of the help is a paragraph of the docstring."""
    for name, command in [*((each.__name__, each) for each in commands), *named.items()]:
        paragraphs = inspect.getdoc(command).split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        app.command(name, help=text, rich_help_panel=panel)(command)


_offer(FACES, looking.who, looking.verify, albums.cluster)
_offer(DATABASE, people.enrol, people.people, people.forget, people.export, **{"import": people.import_people})
_offer(OTHERS, cameras.collect, cameras.demo, serving.serve)


def main() -> None:
    """Run the command that the arguments name."""
    console.forgive()
    app()
