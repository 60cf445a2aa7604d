"""API keys: who may read, who may write, until when.

    python -m apps.api.keys new phone --days 90        # prints the key, once
    python -m apps.api.keys new office --write
    python -m apps.api.keys list
    python -m apps.api.keys revoke phone

A key is random, so that a plain SHA-256 of it is safe to keep: the file holds nothing that opens the door. A server
that runs notices changes of the file by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from apps.places import keys_path
from facerec._files import whole
from facerec.errors import BadArgument, run

DAY = 86_400


@dataclass(frozen=True)
class Key:
    """What is known about a key.

    Attributes:
        name: What it is called.
        digest: SHA-256 of the key, in hexadecimal digits.
        write: Whether it may change the people.
        made: When it was made, in seconds since 1970.
        until: When it expires; None if it does not.
    """

    name: str
    digest: str
    write: bool
    made: float
    until: float | None

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        return self.until is not None and self.until <= time.time()


class Keys:
    """The keys in a file, read again whenever the file changes; safe to share between threads.

    Args:
        file: A JSON file; a missing one holds no keys.

    Raises:
        BadArgument: If the file is damaged.
    """

    def __init__(self, file: Path):
        self.file = file
        self._lock = threading.Lock()
        self._seen: tuple | None = None
        self._keys: dict[str, Key] = {}
        self.all()

    def all(self) -> list[Key]:
        """Every key, in the order in which they were made."""
        with self._lock:
            if (seen := self._state()) != self._seen:
                self._keys, self._seen = self._read(), seen
            return list(self._keys.values())

    def find(self, secret: str) -> Key | None:
        """The key with this secret, or None if there is none; it may have expired."""
        digest = _digest(secret)
        self.all()
        return self._keys.get(digest)

    def make(self, name: str, write: bool = False, days: float | None = None) -> str:
        """Make a key.

        Args:
            name: What to call it.
            write: Whether it may change the people.
            days: After how many days it expires; None for never.

        Returns:
            The secret, which is kept nowhere.

        Raises:
            BadArgument: If there is a key of that name, or the name or the days make no sense.
        """
        if not name.strip() or not name.isprintable() or len(name) > 80:
            raise BadArgument(f"name={name!r}: up to 80 visible letters are needed")
        if days is not None and not days > 0:
            raise BadArgument(f"days={days!r}: must be more than 0")
        if any(key.name == name for key in self.all()):
            raise BadArgument(f"name={name!r}: there is a key of that name; revoke it first")
        secret, now = f"faces_{secrets.token_urlsafe(32)}", time.time()
        made = Key(name, _digest(secret), write, now, None if days is None else now + days * DAY)
        self._write([*self.all(), made])
        return secret

    def revoke(self, name: str) -> None:
        """Remove a key; a server that runs refuses it from the next request on.

        Raises:
            BadArgument: If there is no key of that name.
        """
        kept = [key for key in self.all() if key.name != name]
        if len(kept) == len(self.all()):
            there = ", ".join(key.name for key in kept) or "none"
            raise BadArgument(f"name={name!r}: there is no such key (there are: {there})")
        self._write(kept)

    def _state(self) -> tuple | None:
        try:
            state = self.file.stat()
        except FileNotFoundError:
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino

    def _read(self) -> dict[str, Key]:
        if not self.file.exists():
            return {}
        try:
            rows = [Key(**row) for row in json.loads(self.file.read_text(encoding="utf-8"))]
        except (ValueError, TypeError) as error:
            raise BadArgument(f"{self.file} is damaged ({error}): remove it, and make new keys") from error
        return {key.digest: key for key in rows}

    def _write(self, keys: Sequence[Key]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with whole(self.file) as unfinished:
            unfinished.touch(0o600)  # for this user alone, like a password file
            unfinished.write_text(json.dumps([asdict(key) for key in keys], indent=1), encoding="utf-8")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def describe(key: Key) -> str:
    """One line about a key."""
    what = "read and write" if key.write else "read"
    if key.until is None:
        return f"{key.name}: {what}"
    when = time.strftime("%F", time.gmtime(key.until))
    return f"{key.name}: {what}, {'expired on' if key.has_expired else 'until'} {when}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    making = commands.add_parser("new", help="make a key and print it, once")
    making.add_argument("name")
    making.add_argument("--write", action="store_true", help="let it add, rename and forget people")
    making.add_argument("--days", type=float, help="days after which it expires")
    revoking = commands.add_parser("revoke", help="remove a key")
    revoking.add_argument("name")
    commands.add_parser("list", help="list the keys")
    args = parser.parse_args(argv)
    keys = Keys(Path(keys_path()))
    if args.command == "new":
        print(keys.make(args.name, args.write, args.days))
    elif args.command == "revoke":
        keys.revoke(args.name)
        print(f"{args.name} is no longer accepted")
    else:
        print("\n".join(map(describe, keys.all())) or "there are no keys: python -m apps.api.keys new NAME")


if __name__ == "__main__":
    run(main)
