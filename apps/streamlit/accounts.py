"""Who may change things: names with hashed passwords, and a door that closes after too many wrong ones.

``python -m apps.streamlit.accounts lena`` asks for a password and prints what goes into ``.streamlit/secrets.toml``::

    reading = "login"           # only if nobody else may look; it stands above [accounts]

    [accounts]
    lena = "$argon2id$v=19$…"

No password is built in, and none is kept: only its hash, from which it can't be computed.
"""

from __future__ import annotations

import argparse
import functools
import getpass
import json
import math
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from facerec.errors import BadArgument, FaceError, run

FAILURES = 5  # so many wrong passwords in a row close an account's door


FAILURES_OF_ALL = 25  # after so many in a row, whoever they were for, a single one closes an account's door


FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0  # seconds; each further failure doubles the wait


SHORTEST = 10  # characters of a password


LONGEST = 1000  # of a password, and of what is remembered of a name


REMEMBERED = 1000  # names that were tried and are remembered


_HASHER = PasswordHasher()


class LoginFailed(FaceError):
    """The name or the password is wrong; which one is not said."""


class LockedOut(LoginFailed):
    """There were too many wrong passwords: the door is closed for a while, also for the right one."""


class Failures:
    """Counts failures, and says how long to wait after too many.

    Args:
        allowed: So many cost nothing.
        clock: Gives the time in seconds.
    """

    def __init__(self, allowed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.allowed, self.clock = allowed, clock
        self.count, self.until = 0, -math.inf

    def wait(self) -> float:
        """How many seconds the door is still closed; 0 if it is open."""
        return max(0.0, self.until - self.clock())

    def note(self, at_once: bool = False) -> None:
        """One more failure; ``at_once`` closes the door even if it is the first."""
        self.count = max(self.count + 1, self.allowed if at_once else 0)
        if self.count >= self.allowed:
            self.until = self.clock() + min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(20, self.count - self.allowed))

    def clear(self) -> None:
        """It went well: begin anew."""
        self.count, self.until = 0, -math.inf


class Accounts:
    """Checks names and passwords, one at a time.

    After 5 wrong passwords in a row an account's door is closed for 30 seconds, and for twice as long after each
    further one, up to an hour. After 25 in a row for any names at all, the first wrong password closes a door: whoever
    tries one password on many names gets no further, and whose name nobody has tried gets in all the same. A name that
    nobody has is treated as one that somebody has, and takes as long.

    Whoever knows a name can keep its owner out, by failing again and again; another name, or a new start, helps.

    Args:
        hashes: Name → hash of the password, from ``hashed``.
        clock: Gives the time in seconds.

    Raises:
        BadArgument: If something in it is no hash of argon2.

    Example:
        >>> accounts = Accounts({"lena": hashed("correct horse")})
        >>> accounts.check("lena", "correct horse")
        >>> accounts.check("lena", "battery staple")
        Traceback (most recent call last):
        accounts.LoginFailed: The name or the password is wrong.
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
        """Return if the password is the account's.

        Raises:
            LoginFailed: If the name or the password is wrong.
            LockedOut: If there were too many failures; nothing is looked at then.
        """
        with self._lock:
            failures = self._failures_of(name[:LONGEST])
            if wait := failures.wait():
                raise LockedOut(f"Too many failed attempts. Try again in {_in_words(wait)}.")
            if _is_right(self._hashes.get(name, _nobodys_hash()), password) and name in self._hashes:
                failures.clear()
                self._in_a_row = 0
                return
            failures.note(at_once=self._in_a_row >= FAILURES_OF_ALL)
            self._in_a_row += 1
        raise LoginFailed("The name or the password is wrong.")

    def _failures_of(self, name: str) -> Failures:
        """Of this name; of names that nobody has only the last thousand are remembered."""
        failures = self._by_name.pop(name, None) or Failures(FAILURES, self._clock)
        self._by_name[name] = failures
        while len(self._by_name) > REMEMBERED + len(self._hashes):
            oldest = next(other for other in self._by_name if other not in self._hashes)
            del self._by_name[oldest]
        return failures


def hashed(password: str) -> str:
    """The hash of a password, with argon2id; salted, so that no two are alike.

    Raises:
        BadArgument: If the password is too short to be one.
    """
    check_length(password)
    return _HASHER.hash(password)


def check_length(password: str) -> None:
    """Refuse what is too short or too long for a password.

    Raises:
        BadArgument: If it is.
    """
    if not isinstance(password, str) or not SHORTEST <= len(password) <= LONGEST:
        raise BadArgument(f"a password has at least {SHORTEST} characters, and at most {LONGEST:,}")


def _check_hash(name: str, digest: object) -> None:
    try:
        extract_parameters(digest)
    except (InvalidHashError, ValueError, AttributeError, TypeError) as error:
        raise BadArgument(
            f"the account {name!r} has no hash of a password; make one: python -m apps.streamlit.accounts"
        ) from error


@functools.cache
def _nobodys_hash() -> str:
    """A hash to compare with where there is no account, so that it takes as long as where there is one."""
    return _HASHER.hash("a password that nobody has")


def _is_right(digest: str, password: str) -> bool:
    if not isinstance(password, str) or len(password) > LONGEST:
        return False
    try:
        return _HASHER.verify(digest, password)
    except VerificationError:
        return False


def _in_words(seconds: float) -> str:
    return f"{math.ceil(seconds)} seconds" if seconds <= 90 else f"{math.ceil(seconds / 60)} minutes"


def main(argv: Sequence[str] | None = None) -> None:
    """Ask for a password and print the lines for ``.streamlit/secrets.toml``."""
    parser = argparse.ArgumentParser(description="Make an account: two lines for .streamlit/secrets.toml.")
    parser.add_argument("name", help="whose account it is")
    name = parser.parse_args(argv).name
    try:
        digest = hashed(_password_for(name))
    except EOFError:  # Ctrl-D
        sys.exit("stopped: no password was given, and nothing was made")
    key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
    print(f'[accounts]\n{key} = "{digest}"')
    print(
        "put both into .streamlit/secrets.toml, then start the app again\n"
        "(only the second line, below [accounts], if that stands there already)",
        file=sys.stderr,
    )


def _password_for(name: str) -> str:
    """A password, typed twice; one that is too short is not asked for again."""
    password = getpass.getpass(f"A password for {name}, of at least {SHORTEST} characters: ")
    check_length(password)
    if getpass.getpass("The same again: ") != password:
        raise BadArgument("the two passwords differ; nothing was made")
    return password


if __name__ == "__main__":
    run(main)
