"""Accounts: names with hashed passwords, and a lock that closes after too many wrong ones.

``make account NAME=lena`` asks for a password and writes its hash into ``.streamlit/secrets.toml``::

    [accounts]
    lena = "$argon2id$v=19$…"

There is no built-in password, and none is kept: only its hash, from which it can't be computed.
"""

from __future__ import annotations

import argparse
import functools
import getpass
import math
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tomlkit
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError
from tomlkit.exceptions import TOMLKitError

from facerec._files import ROOT, whole
from facerec.errors import BadArgument, FaceError, run

FAILURES = 5  # wrong passwords in a row that lock an account
FAILURES_OF_ALL = 25  # after so many in a row, for any names, a single one locks an account
FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0  # seconds; each further failure doubles the wait
SHORTEST = 10  # characters of a password
LONGEST = 1000  # characters of a password, and of a name that is remembered
REMEMBERED = 1000  # unknown names that are remembered
LONGEST_NAME = 200  # characters of the name of an account

#: The secrets file, unless Streamlit is told of another one.
SECRETS = ROOT / ".streamlit" / "secrets.toml"

_HASHER = PasswordHasher()


class LoginFailed(FaceError):
    """The name or the password is wrong; the message does not say which."""


class LockedOut(LoginFailed):
    """There were too many wrong passwords: for a while even the right one is refused."""


class Failures:
    """Counts failures, and the time to wait after too many.

    Args:
        allowed: From this number of failures on, there is a wait.
        clock: Gives the time in seconds.
    """

    def __init__(self, allowed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowed, self.clock = allowed, clock
        self.count, self.until = 0, -math.inf

    def wait(self) -> float:
        """The seconds that are left to wait; 0 if there is no wait."""
        return max(0.0, self.until - self.clock())

    def note(self, at_once: bool = False) -> None:
        """Count a failure; with ``at_once`` even the first one starts a wait."""
        self.count = max(self.count + 1, self.allowed if at_once else 0)
        if self.count >= self.allowed:
            self.until = self.clock() + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(20, self.count - self.allowed))

    def clear(self) -> None:
        """Start again from zero, after a success."""
        self.count, self.until = 0, -math.inf


class Accounts:
    """Checks names and passwords, one at a time.

    Five wrong passwords in a row lock an account for 30 seconds, and each further one doubles that, up to an hour.
    After 25 in a row for any names at all, a single wrong password locks an account: trying one password on many names
    does not help, and accounts that no one has tried stay open. Unknown names are treated like known ones, and take as
    long to check.

    Anyone who knows a name can lock its owner out by failing on purpose; another name, or a restart, helps.

    Args:
        hashes: Name → hash of the password, from ``hashed``.
        clock: Gives the time in seconds.

    Raises:
        BadArgument: If an entry is not a hash made by argon2.

    Example:
        >>> accounts = Accounts({"lena": hashed("correct horse")})
        >>> accounts.check("lena", "correct horse")
        >>> accounts.check("lena", "battery staple")
        Traceback (most recent call last):
        apps.streamlit.accounts.LoginFailed: The name or the password is wrong.
    """

    def __init__(self, hashes: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        for name, digest in hashes.items():
            _check_hash(name, digest)
        self._hashes, self._clock, self._lock = dict(hashes), clock, threading.Lock()
        self._in_a_row = 0
        self._by_name: OrderedDict[str, Failures] = OrderedDict()

    def __len__(self) -> int:
        """How many accounts there are."""
        return len(self._hashes)

    def __contains__(self, name: object) -> bool:
        """Whether there is an account of that name."""
        return name in self._hashes

    def check(self, name: str, password: str) -> None:
        """Check a name and a password; returning means that they are right.

        Raises:
            LoginFailed: If the name or the password is wrong.
            LockedOut: If there were too many failures; the password is not checked then.
        """
        with self._lock:
            failures = self._failures_of(name[:LONGEST])
            if wait := failures.wait():
                raise LockedOut(f"Too many failed attempts. Try again in {_in_words(wait)}.")
            if _is_right(self._hashes.get(name, _no_ones_hash()), password) and name in self._hashes:
                failures.clear()
                self._in_a_row = 0
                return
            failures.note(at_once=self._in_a_row >= FAILURES_OF_ALL)
            self._in_a_row += 1
        raise LoginFailed("The name or the password is wrong.")

    def _failures_of(self, name: str) -> Failures:
        """The failures of a name; only the last thousand unknown names are remembered."""
        failures = self._by_name.pop(name, None) or Failures(FAILURES, self._clock)
        self._by_name[name] = failures
        while len(self._by_name) > REMEMBERED + len(self._hashes):
            oldest = next(other for other in self._by_name if other not in self._hashes)
            del self._by_name[oldest]
        return failures


def hashed(password: str) -> str:
    """The argon2id hash of a password, salted, so that no two are alike.

    Raises:
        BadArgument: If the password is too short or too long.
    """
    check_length(password)
    return _HASHER.hash(password)


def check_length(password: str) -> None:
    """Refuse a password that is too short or too long.

    Raises:
        BadArgument: If it is.
    """
    if not isinstance(password, str) or not SHORTEST <= len(password) <= LONGEST:
        raise BadArgument(f"a password must have at least {SHORTEST} characters, and at most {LONGEST:,}")


def _check_hash(name: str, digest: object) -> None:
    try:
        extract_parameters(digest)
    except (InvalidHashError, ValueError, AttributeError, TypeError) as error:
        raise BadArgument(
            f"the account {name!r} has no hash of a password; make one: make account NAME={name}"
        ) from error


@functools.cache
def _no_ones_hash() -> str:
    """A hash to check unknown names against, so that they take as long as known ones."""
    return _HASHER.hash("a password that no one has")


def _is_right(digest: str, password: str) -> bool:
    if not isinstance(password, str) or len(password) > LONGEST:
        return False
    try:
        return _HASHER.verify(digest, password)
    except VerificationError:
        return False


def _in_words(seconds: float) -> str:
    return f"{math.ceil(seconds)} seconds" if seconds <= 90 else f"{math.ceil(seconds / 60)} minutes"


def write(name: str, password: str, path: Path) -> bool:
    """Write an account into a secrets file, which only its owner may read; all else in the file stays as it is.

    Args:
        name: The name of the account; a known one gets the new password.
        password: Only its hash is written.
        path: The file; it is made if need be.

    Returns:
        Whether the account is new.

    Raises:
        BadArgument: If the name or the password won't do, or the file can't be read or written.
    """
    digest, file = hashed(password), _opened(path)
    accounts = file.setdefault("accounts", tomlkit.table())
    is_new = (called := _checked(name)) not in accounts
    accounts[called] = digest
    try:
        with whole(path) as unfinished:
            unfinished.touch(mode=0o600)
            unfinished.write_text(tomlkit.dumps(file), encoding="utf-8")
    except OSError as error:
        raise BadArgument(f"{path} can't be written ({error.strerror or error})") from error
    return is_new


def _opened(path: Path) -> tomlkit.TOMLDocument:
    """A secrets file, to be changed; an empty one where there is none."""
    try:
        file = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise BadArgument(f"{path} can't be read. Is it valid TOML?") from error
    if not isinstance(file.get("accounts", {}), Mapping):
        raise BadArgument(f"{path}: accounts must be a table that begins with the line [accounts]")
    return file


def _checked(name: str) -> str:
    """The name of an account, without blanks at its ends."""
    called = name.strip()
    if not called or not called.isprintable() or len(called) > LONGEST_NAME:
        raise BadArgument(f"an account needs a name: one line of at most {LONGEST_NAME} visible characters")
    return called


def main(argv: Sequence[str] | None = None) -> None:
    """Ask for a password and write the account into the secrets file."""
    parser = argparse.ArgumentParser(
        description="Make an account for the Streamlit app, or give one a new password.",
        prog="python -m apps.streamlit.accounts",
    )
    parser.add_argument("name", help="the name of the account")
    parser.add_argument("--file", type=Path, default=SECRETS, help="the secrets file (default: %(default)s)")
    given = parser.parse_args(argv)
    try:
        is_new = write(given.name, _password_for(_checked(given.name)), given.file)
    except EOFError:  # Ctrl-D
        sys.exit("stopped: no password was given, so no account was made")
    print(f"{given.name} {'can log in now' if is_new else 'has a new password'}; the app need not be restarted")


def _password_for(name: str) -> str:
    """Ask for a password twice; one that is too short is refused at once."""
    password = getpass.getpass(f"Password for {name}, at least {SHORTEST} characters: ")
    check_length(password)
    if getpass.getpass("Repeat the password: ") != password:
        raise BadArgument("the two passwords differ, so no account was made")
    return password


if __name__ == "__main__":
    run(main)
