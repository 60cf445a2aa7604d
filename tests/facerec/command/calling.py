"""Commands as a shell calls them, in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from facerec.command.app import app


def call(*arguments: object, code: int = 0, answer: str = "") -> Result:
    """Run a command, and check its exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)
    assert result.exit_code == code, f"{result.output} {result.exception!r}"
    return result


def error_of(*arguments: object) -> str:
    """The one line that a command which fails prints."""
    result = call(*arguments, code=2)
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ") and "Traceback" not in result.output
    return line.removeprefix("error: ")
