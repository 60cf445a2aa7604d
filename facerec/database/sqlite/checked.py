"""Damage: what the disk has changed is found by checksums, named and left out; the rest keeps working.

    read ──► rows ──checksum──► whole rows
               └──► DamageFound: "people.db: an encoding of 'lena' is damaged, and left out"

SQLite keeps rows in pages. Where a page itself can't be read, people are read by halves, until only those who are on it
are left out. A damaged file can't be changed: it is checked before the first change.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from facerec.database.entries import DamagedDatabase, DamageFound
from facerec.database.sqlite.file import CHECKED, SQLiteFile, checksum_of

#: Of larger files only the pages of people and encodings are looked through before a change, or it would take seconds.
LOOK_THROUGH = 200_000_000  # bytes

Rows = list[tuple]


class Checked(SQLiteFile):
    """A file that is read so that damage costs no more than what is damaged.

    Attributes:
        damage: What was found damaged since it was opened, in words.
        sound: Whether it was looked through since then.
    """

    def __init__(self, where: str) -> None:
        self.damage: dict[str, None] = {}  # in the order in which it was found
        super().__init__(where)

    def _connect(self) -> None:
        self.sound = False
        super()._connect()

    # ------------------------------------------------------------------------------------------ what is left out
    def leave_out(self, what: Iterable[str]) -> None:
        """Note damage, and warn of what was not noted yet."""
        new = [each for each in what if each not in self.damage]
        self.damage |= dict.fromkeys(new)
        if new:
            more = f" and {len(new) - 3:,} more" if len(new) > 3 else ""
            text = f"{self.where} is damaged, and this is left out: {', '.join(new[:3])}{more}"
            warnings.warn(text, DamageFound, stacklevel=2)

    def whole(self, table: str, where: str, values: Sequence, name: Callable[[tuple], str], more: str = "id") -> Rows:
        """Read the rows that are as they were written.

        Args:
            table: One of ``CHECKED``.
            where: Which rows, in which order.
            values: Those of the question marks in it.
            name: What to call a damaged row.
            more: Further columns.

        Returns:
            The checksum, the columns of ``CHECKED``, and ``more``, of each.
        """
        rows = self.read(f"SELECT checksum, {CHECKED[table]}, {more} FROM {table} WHERE {where}", values)
        end = CHECKED[table].count(",") + 2
        if _are_whole(list(zip(*rows, strict=True))[:end]):
            return rows
        self.leave_out([name(row) for row in rows if not _is_whole(*row[:end])])
        return [row for row in rows if _is_whole(*row[:end])]

    def rescued(
        self, read: Callable[[Sequence[int]], Rows], numbers: Sequence[int], name: Callable[[int], str]
    ) -> Rows:
        """The rows that can be read.

        Args:
            read: Reads the rows of some numbers.
            numbers: Ascending.
            name: What to call what has a number, and can't be read.
        """
        lost: list[int] = []
        rows = self._by_halves(read, numbers, lost)
        self.leave_out([name(number) for number in lost])
        return rows

    def _by_halves(self, read: Callable[[Sequence[int]], Rows], numbers: Sequence[int], lost: list[int]) -> Rows:
        try:
            return read(numbers)
        except DamagedDatabase:
            if len(numbers) == 1:
                lost += numbers
                return []
            half = len(numbers) // 2
            return self._by_halves(read, numbers[:half], lost) + self._by_halves(read, numbers[half:], lost)

    # --------------------------------------------------------------------------------------------------- people
    def spans(self, size: int) -> Iterator[range]:
        """Numbers among which those of all people are, ascending, in pieces."""
        first = 1
        while (first := self._next_person(first)) is not None:
            yield range(first, min(first + size, 2**63))
            first += size

    def _next_person(self, first: int) -> int | None:
        try:
            return self.read("SELECT min(id) FROM people WHERE id >= ?", (first,))[0][0]
        except DamagedDatabase:
            last = self.read("SELECT seq FROM sqlite_sequence WHERE name = 'people'")
            return first if last and first <= last[0][0] else None

    def people_of(self, numbers: Sequence[int]) -> list[tuple[int, str, float, float]]:
        """Number, name, added and changed of people; ``numbers`` is a range, or at most 500 of them."""
        where, values = _which("id", numbers)
        name, more = lambda row: f"the name of person number {row[3]}", "id, added, changed"
        found = self.whole("people", f"{where} ORDER BY id", values, name, more)
        return [
            (number, identity.decode(errors="replace"), added, changed)
            for _, _, identity, number, added, changed in found
        ]

    def people(self, size: int) -> Iterator[list[tuple[int, str, float, float]]]:
        """Everyone, as ``people_of`` gives them, in pieces of at most so many."""
        for numbers in self.spans(size):
            yield self.rescued(self.people_of, numbers, self.all_of)

    def number_of(self, identity: str) -> int | None:
        """The number of a person; None if no one has that name."""
        with suppress(DamagedDatabase):
            found = self.whole("people", "identity = ?", (identity,), lambda row: f"the name {identity!r}")
            if found or not self.damage:
                return found[0][3] if found else None
        everyone = (person for piece in self.people(1000) for person in piece)
        return next((number for number, name, *_ in everyone if name == identity), None)

    def all_of(self, person: int) -> str:
        """What to call a person whose entry can't be read at all."""
        return self._of("all", person)

    def _of(self, what: str, person: int) -> str:
        with suppress(DamagedDatabase):
            for (name,) in self.read("SELECT CAST(identity AS BLOB) FROM people WHERE id = ?", (person,)):
                return f"{what} of {name.decode(errors='replace')!r}"
        return f"{what} of person number {person}"

    # -------------------------------------------------------------------------------------- encodings and photos
    def encodings_where(self, where: str, values: Sequence) -> Rows:
        """Rows of encodings (checksum, person, encoding, id): by person, the oldest first."""
        order = f"{where} ORDER BY person, id"
        return self.whole("encodings", order, values, lambda row: self._of("an encoding", row[1]))

    def encodings_of(self, numbers: Sequence[int]) -> Rows:
        """The same of these people, as far as it can be read; ``numbers`` is a range, or at most 500 of them."""
        return self.rescued(lambda some: self.encodings_where(*_which("person", some)), numbers, self.all_of)

    def photos_of(self, person: int) -> list[tuple[bytes, bytes]]:
        """JPEG and thumbnail of each photo of a person, the oldest first."""
        query = "SELECT id FROM photos WHERE person = ? ORDER BY id"
        ids = [row[0] for row in self.rescued(lambda some: self.read(query, some), [person], self.all_of)]
        pieces = (ids[start : start + 500] for start in range(0, len(ids), 500))
        found = (row for piece in pieces for row in self.rescued(self._photos, piece, "photo number {}".format))
        return [(jpeg, thumbnail) for _, whose, jpeg, thumbnail, _ in found if whose == person]

    def _photos(self, ids: Sequence[int]) -> Rows:
        where, values = _which("id", ids)
        return self.whole("photos", f"{where} ORDER BY id", values, lambda row: self._of("a photo", row[1]))

    # -------------------------------------------------------------------------------------------- before a change
    def refuse_damage(self) -> None:
        """Refuse a change of a damaged file: what is acknowledged must be there tomorrow.

        Raises:
            DamagedDatabase: If it is damaged.
        """
        if not self.sound and self.path is not None:
            self._look_through()
            self.sound = True
        if self.damage:
            raise self.damaged(next(iter(self.damage)))

    def _look_through(self) -> None:
        if os.path.getsize(self.path) > LOOK_THROUGH:
            self._check_pages("quick_check(people)", "quick_check(encodings)")
            return
        self._check_pages("integrity_check(1)")
        for numbers in self.spans(1000):
            self.rescued(self.people_of, numbers, self.all_of)
            self.encodings_of(numbers)
        last = self.read("SELECT max(id) FROM photos")[0][0] or 0
        for first in range(1, last + 1, 10):
            self.rescued(self._photos, range(first, min(first + 10, last + 1)), "photo number {}".format)

    def _check_pages(self, *checks: str) -> None:
        for check in checks:
            said = self.read(f"PRAGMA {check}")[0][0]
            if said != "ok":
                raise self.damaged(" ".join(said.split()))


def _are_whole(columns: list[tuple]) -> bool:
    """Whether all rows are: their checksums, the numbers of people, and the data, quickly."""
    if not columns:
        return True
    checksums, found, *data = columns
    for each in data:
        found = map(zlib.crc32, each, found)
    try:
        return checksums == tuple(found)
    except TypeError:  # one does not even hold bytes any more
        return False


def _is_whole(checksum: int | None, *data: object) -> bool:
    try:
        return checksum_of(*data) == checksum or checksum is None
    except TypeError:
        return False


def _which(column: str, numbers: Sequence[int]) -> tuple[str, Sequence[int]]:
    """A condition of SQL, and its values."""
    if isinstance(numbers, range):
        return f"{column} BETWEEN ? AND ?", (numbers[0], numbers[-1])
    return f"{column} IN ({','.join('?' * len(numbers))})", numbers
