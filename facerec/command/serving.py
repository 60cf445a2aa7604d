"""The command that starts the web apps and the API: serve.

The library knows the apps by their names only: nothing of ``facerec`` imports them. They lie in the project's folder.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facerec._files import ROOT
from facerec.command import opening
from facerec.command.options import PEOPLE, Quiet
from facerec.errors import BadArgument


class App(StrEnum):
    """What can be served."""

    people = "people"
    compare = "compare"
    api = "api"


#: What each app needs, and its port.
NEEDS = {App.people: ("streamlit", 8501), App.compare: ("flask", 8000), App.api: ("fastapi", 8600)}


def serve(
    app: Annotated[
        App,
        typer.Argument(
            help="people: verify, recognise, a database. compare: two pictures, nothing kept. api: people for programs."
        ),
    ] = App.people,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 lets other computers in.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(min=1, max=65535, show_default="8501; compare 8000; api 8600")] = None,
    database: Annotated[
        str | None,
        typer.Option(
            envvar="FACES_DATABASE",
            metavar="FILE",
            help="The people of the app; compare keeps no one.",
            show_default=f"{PEOPLE} if there is one here, else the app's own",
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option(envvar="FACES_NETWORK", metavar="FOLDER", help="The network of the app.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Start a web app, or the API, on this computer, until Ctrl-C."""
    package, usual = NEEDS[app]
    _check_installed(package)
    if database is None and Path(PEOPLE).exists():
        database = PEOPLE
    for name, value in (("FACES_DATABASE", database), ("FACES_NETWORK", network)):
        if value is not None:
            os.environ[name] = value if opening.is_address(value) else str(Path(value).expanduser().absolute())
    start(app, host, port or usual)


def _check_installed(package: str) -> None:
    """Check that the apps, and what they need, are here.

    Raises:
        BadArgument: If not; it says what to do.
    """
    if not (ROOT / "apps").is_dir():
        raise BadArgument("the web apps are not in the installed package: start this in the project's folder")
    if importlib.util.find_spec(package) is None:
        raise BadArgument(f'the web apps need {package}: python -m pip install "{ROOT}[apps]"')


def start(app: App, host: str, port: int) -> None:
    """Run an app in this process, as ``python -m`` would, so that Ctrl-C and signals reach it."""
    if app == App.people:
        settings = ["--server.address", host, "--server.port", str(port)]
        module, arguments = "streamlit", ["run", str(ROOT / "apps" / "streamlit" / "app.py"), *settings]
    else:
        module = "apps.flask" if app == App.compare else "apps.api"
        arguments = ["--host", host, "--port", str(port)]
    os.chdir(ROOT)  # where Streamlit looks for its settings
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
