"""Who is known: a database of people that outlives its process, and answers in milliseconds among a million.

    identity ──► encodings (n, D), photos ──► one file that is never half written
    probes (m, D) ──nearest──► identities (m, k), distances (m, k)

``FaceDatabase`` is a mapping from identity to encoding: ``verify`` and ``who_is_it`` take it as they take a dict. By
default it is one SQLite file, ``people.db``. Beside it lie ``people.db-wal`` and ``people.db-shm`` while it is open,
and, once it is large, ``people.db.index``: whatever is in that can be made again from the database.

Names are personal data, and so are encodings: ``forget`` leaves no trace of a person in any of these files.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from database_archive import read_archive, write_archive
from database_entries import (
    MAX_NAME,
    MAX_PIXELS,
    PHOTO_SIDE,
    THUMBNAIL_SIDE,
    UNIT_WITHIN,
    BadDatabase,
    NobodyCalled,
    NotForgottenYet,
    OtherNetwork,
    Picture,
    check_encodings,
    check_name,
    fingerprint_of,
    mean_encoding,
    network_of,
    pack,
    short,
    unpack,
)
from database_milvus import Milvus
from database_sqlite import INDEX_FROM, SQLite
from errors import BadArgument, FaceError

__all__ = [
    "INDEX_FROM",
    "MAX_NAME",
    "MAX_PIXELS",
    "PHOTO_SIDE",
    "THUMBNAIL_SIDE",
    "UNIT_WITHIN",
    "BadDatabase",
    "FaceDatabase",
    "NobodyCalled",
    "NotForgottenYet",
    "OtherNetwork",
    "check_encodings",
    "check_name",
    "fingerprint_of",
    "mean_encoding",
]


class FaceDatabase(MutableMapping):
    """Identities and encodings that survive: as a dict to use, and safe from kills, other processes and other networks.

    Every change is done, and on the disk, when the call returns. Threads and processes may use one database at once.

    Args:
        where: A path (one SQLite file, made if it is not there; on a local disk), ``":memory:"`` (gone with the
            process), or Milvus: ``"http://host:19530"``, or ``"milvus:people.db"`` for the same engine in a file.
        network: The network whose encodings these are: a model, or what ``fingerprint_of`` says about it. It is noted
            in the database, and another one is refused from then on. None takes whatever the database holds.
        represent: What a person with several encodings is compared by: their ``"mean"``, or the ``"nearest"`` of them.
        **milvus: For ``pymilvus.MilvusClient``, such as ``token``; ``collection`` names the collection ("people").

    Raises:
        OtherNetwork: If the database holds encodings of another network.
        BadDatabase: If the file is no such database, damaged, or of a newer version.
        BadArgument: If an argument makes no sense, or Milvus is asked for and ``pymilvus`` is not installed.

    Example:
        >>> database = FaceDatabase(":memory:")
        >>> database["lena"] = np.eye(128)[0]
        >>> database.add("lena", np.eye(128)[1])
        >>> database["omar"] = np.eye(128)[2]
        >>> sorted(database), len(database.encodings("lena"))
        (['lena', 'omar'], 2)
        >>> identities, distances = database.nearest(np.eye(128)[0], k=2)
        >>> print(identities, distances.round(2))
        [['lena' 'omar']] [[0.77 1.41]]
    """

    def __init__(self, where: str | os.PathLike, network: Any = None, represent: str = "mean", **milvus: Any) -> None:
        if represent not in ("mean", "nearest"):
            raise BadArgument(f"represent={represent!r}: 'mean' or 'nearest'")
        self.where, self.represent = str(where), represent
        fingerprint, dimension = network_of(network)
        if self.where.startswith(("http://", "https://", "milvus:")):
            self._engine = Milvus(self.where, represent, **milvus)
        elif milvus:
            raise BadArgument(f"{', '.join(milvus)}: for Milvus only, and {self.where} is no Milvus address")
        else:
            self._engine = SQLite(self.where, represent)
        try:
            self._engine.expect(fingerprint, dimension)
        except BaseException:
            self._engine.close()
            raise

    # ------------------------------------------------------------------------------------------ as a dict
    def __len__(self) -> int:
        """How many people are known."""
        return self._engine.count()

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which they came."""
        return self._engine.names()

    def __contains__(self, identity: object) -> bool:
        """Whether somebody of that name is known."""
        return self._find(identity) is not None

    def __getitem__(self, identity: str) -> np.ndarray:
        """A person's encoding, (D,) float32: the only one, or the mean of several."""
        return mean_encoding(self.encodings(identity))

    def __setitem__(self, identity: str, encoding: np.ndarray) -> None:
        """Know a person by this encoding, or these (n, D), and by nothing else: earlier ones and photos are removed."""
        self._put(identity, encoding, replace=True)

    def __delitem__(self, identity: str) -> None:
        """As ``remove``."""
        self.remove(identity)

    def __eq__(self, other: object) -> bool:
        """Whether a mapping has the same people with the same encodings."""
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        pairs = ((other.get(name), encoding) for name, encoding in self.items())
        return all(theirs is not None and np.array_equal(theirs, ours) for theirs, ours in pairs)

    __hash__ = None

    def __repr__(self) -> str:
        """Where it is, how many are in it, and whose encodings they are."""
        return f"FaceDatabase({self.where!r}): {len(self)} people, encodings of {short(self.network)}"

    def update(self, people: Mapping | Iterable[tuple[str, Any]] = (), /, **more: Any) -> None:
        """As a dict's, all of it in one transaction: quick for many people, and all or nobody.

        Args:
            people: Identity → encoding, or pairs of them; a generator may give a million.
            **more: Further ones by name.
        """
        pairs = people.items() if isinstance(people, Mapping) else people
        with self._engine.change() as change:
            for identity, encodings in _checked(itertools.chain(pairs, more.items())):
                change.put(check_name(identity), encodings, replace=True)

    def clear(self) -> None:
        """Remove everybody, in one transaction."""
        with self._engine.change() as change:
            for identity in list(self._engine.names()):
                change.drop(identity)

    # ------------------------------------------------------------------------------------------- one person
    def add(self, identity: str, encoding: np.ndarray, photo: np.ndarray | bytes | None = None) -> None:
        """Know a person by one more encoding.

        Args:
            identity: Their name; whoever has none here yet is new.
            encoding: (D,), or several (n, D), of unit length.
            photo: What it was made from, (H, W, 3) uint8 or the bytes of a JPEG: kept as JPEG of at most 1024 pixels
                a side, for ``reencode`` and ``thumbnail``, without what a camera notes (place, time).

        Raises:
            BadArgument: If the name or the encoding makes no sense here; nothing is changed then.
            UnreadableImage: If the photo can't be read.
        """
        self._put(identity, encoding, photo)

    def remove(self, identity: str) -> None:
        """Remove a person. Traces may stay in the files until ``tidy()``; ``forget`` leaves none.

        Raises:
            UnknownIdentity: If nobody of that name is known.
        """
        with self._engine.change() as change:
            if not change.drop(_as_kept(identity)):
                raise self._unknown(identity)

    def rename(self, old: str, new: str) -> None:
        """Give a person another name.

        Raises:
            UnknownIdentity: If nobody is called ``old``.
            BadArgument: If somebody is called ``new`` already.
        """
        new = check_name(new)
        with self._engine.change() as change:
            if not change.has(_as_kept(old)):
                raise self._unknown(old)
            if change.has(new):
                raise BadArgument(f"new={new!r}: somebody has that name already; remove them first")
            change.rename(_as_kept(old), new)

    def forget(self, identity: str) -> None:
        """Remove a person so that no trace of name, encoding, photo or thumbnail is left in any file of the database.

        (What a disk keeps of overwritten files, backups and earlier exports are beyond its reach.)

        Raises:
            UnknownIdentity: If nobody of that name is known.
            NotForgottenYet: If another process reads just now, so that a trace must stay for the moment: the person is
                removed, and ``tidy()``, or opening the database again, completes it.
        """
        if not self._engine.forget(_as_kept(identity)):
            raise self._unknown(identity)

    def encodings(self, identity: str) -> np.ndarray:
        """All encodings of a person, (n, D) float32.

        Raises:
            UnknownIdentity: If nobody of that name is known (it is a KeyError too, as with a dict).
        """
        found = self._find(identity)
        if found is None:
            raise self._unknown(identity)
        return found

    def photos(self, identity: str) -> list[np.ndarray]:
        """The photos that are kept of a person, each (H, W, 3) uint8."""
        return [unpack(jpeg) for jpeg, _ in self._pictures(identity)]

    def thumbnail(self, identity: str) -> np.ndarray | None:
        """A person's newest photo, at most 112 pixels a side, (H, W, 3) uint8; None if none is kept."""
        pictures = self._pictures(identity)
        return unpack(pictures[-1][1]) if pictures else None

    # --------------------------------------------------------------------------------------------- everybody
    def nearest(self, encodings: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Who looks most like these? (1:K, for many at once)

        Args:
            encodings: Of the faces in question, (m, D) or (D,), of unit length.
            k: How many people to name for each.

        Returns:
            identities: (m, k) names, the nearest first, each person once; None where fewer are known.
            distances: (m, k) float32, Euclidean; infinite where nobody is.

        Raises:
            BadArgument: If the encodings don't fit those in the database, or ``k`` is no count.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise BadArgument(f"k={k!r}: how many people to name, at least 1")
        probes = check_encodings(encodings, None, "encodings")
        return self._engine.nearest(probes, int(k))

    def people(self) -> pd.DataFrame:
        """A row per person: ``identity``, how many ``encodings`` and ``photos``, and when ``added`` and ``changed``."""
        columns = ["identity", "encodings", "photos", "added", "changed"]
        table = pd.DataFrame(self._engine.table(), columns=columns)
        times = {when: pd.to_datetime(table[when].astype(float), unit="s", utc=True) for when in columns[3:]}
        return table.astype({"encodings": int, "photos": int}).assign(**times)

    def find(self, text: str, limit: int = 50) -> list[str]:
        """Names that contain a text, whatever the case and the accents: "jose" finds José.

        Args:
            text: What to look for; nothing finds everybody.
            limit: How many names at most.
        """
        wanted = _plain(str(text))
        return list(itertools.islice((name for name in self if wanted in _plain(name)), limit))

    @property
    def network(self) -> str | None:
        """The fingerprint of the network whose encodings these are; None if nobody said."""
        return self._engine.network

    def reencode(
        self, model: Any, encode: Callable[[np.ndarray], np.ndarray], without: str = "refuse", progress: bool = True
    ) -> pd.DataFrame:
        """Encode everybody anew from the kept photos, for another network: all in one step, or nothing.

        Args:
            model: The new network, or its fingerprint.
            encode: Photo (H, W, 3) uint8 → encoding (D,): ``lambda photo: img_to_encoding(photo, model)``.
            without: Those of whom no photo shows a face to ``encode``: ``"refuse"`` changes nothing and names them in
                the error, ``"remove"`` removes them.
            progress: False for no progress bar.

        Returns:
            A table (``identity``, ``reason``) of those who were removed.

        Raises:
            BadArgument: If somebody can't be encoded and ``without`` is "refuse".
        """
        if without not in ("refuse", "remove"):
            raise BadArgument(f"without={without!r}: 'refuse' or 'remove'")
        fingerprint, dimension = network_of(model)
        done: dict[bytes, np.ndarray | FaceError] = {}  # by digest: whoever adds people meanwhile costs only these
        while True:
            state, people, lost = self._reencoded(encode, dimension, done, progress)
            if lost and without == "refuse":
                names = ", ".join(repr(name) for name, _ in lost[:5])
                raise BadArgument(
                    f"{len(lost)} people can't be encoded anew: {names} ({lost[0][1]}); nothing is changed"
                )
            dimension = dimension or next((e.shape[1] for e in people.values()), None)
            if self._engine.replace_all(state, fingerprint, dimension, people, [name for name, _ in lost]):
                return pd.DataFrame(lost, columns=["identity", "reason"])

    def export_to(self, path: str | os.PathLike) -> None:
        """Write everybody into a ZIP file of open formats: JSON, one NumPy array, and JPEGs; nobody's name is a file's.

        Args:
            path: The file to write; an archive that is there is replaced whole.

        Raises:
            BadArgument: If something else than an archive is there: a database, say.
        """
        path = Path(path)
        if path.exists() and not zipfile.is_zipfile(path):
            raise BadArgument(f"{path} is there and no archive; export to another file, or remove it first")
        write_archive(self._engine, path)

    def import_from(self, path: str | os.PathLike, on_conflict: str = "refuse") -> int:
        """Take in people from a file of ``export_to``: checked whole before anything changes, and then all at once.

        Args:
            path: The file; it may come from anybody.
            on_conflict: What to do with a name that is known here: ``"refuse"`` the whole file, ``"skip"`` the person
                in the file, or ``"replace"`` the one in the database.

        Returns:
            How many people were taken in.

        Raises:
            BadArgument: If the file is damaged, or not what it says; the error says what and where.
            OtherNetwork: If its encodings are another network's.
        """
        if on_conflict not in ("refuse", "skip", "replace"):
            raise BadArgument(f"on_conflict={on_conflict!r}: 'refuse', 'skip' or 'replace'")
        return read_archive(self._engine, Path(path), on_conflict)

    # ----------------------------------------------------------------------------------------- housekeeping
    def tidy(self) -> None:
        """Give back unused space, and remove the last traces of those who were removed. Others should not be reading.

        Raises:
            NotForgottenYet: If another process reads just now.
        """
        self._engine.tidy()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until the search index is built, if one is due; searches are right, but slower, before.

        Args:
            timeout: How many seconds to wait at most; None for as long as it takes.

        Returns:
            Whether searches use an index now.
        """
        return self._engine.settle(timeout)

    def close(self) -> None:
        """Close the files. Everything is on the disk already."""
        self._engine.close()

    def __enter__(self) -> FaceDatabase:
        """For ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    # -------------------------------------------------------------------------------------------- its insides
    def _find(self, identity: object) -> np.ndarray | None:
        return self._engine.encodings(_as_kept(identity)) if isinstance(identity, str) else None

    def _put(self, identity: str, encoding: Any, photo: Any = None, replace: bool = False) -> None:
        name = check_name(identity)
        checked = _some(check_encodings(encoding))
        pictures = [] if photo is None else [pack(photo, self._engine.photo_limit, f"the photo of {name}")]
        with self._engine.change() as change:
            change.put(name, checked, pictures, replace)

    def _pictures(self, identity: str) -> list[Picture]:
        if identity not in self:
            raise self._unknown(identity)
        return self._engine.pictures(_as_kept(identity))

    def _unknown(self, identity: Any) -> NobodyCalled:
        count = len(self)
        similar = difflib.get_close_matches(str(identity), list(self), n=3) if count <= 10_000 else []
        hint = f"; did you mean {' or '.join(similar)}?" if similar else f"; it knows {count} people"
        return NobodyCalled(f"nobody called {identity!r:.{MAX_NAME}} is in the database{hint}")

    def _reencoded(
        self, encode: Callable, dimension: int | None, done: dict, progress: bool
    ) -> tuple[Any, dict[str, np.ndarray], list[tuple[str, str]]]:
        """The state that was read, the new encodings of each person, and who has none."""
        people: dict[str, np.ndarray] = {}
        lost = []
        state = self._engine.state()
        for name in tqdm(list(self), desc="encoding anew", unit="person", disable=not progress):
            reason, encodings = "no photo is kept", []
            for jpeg, _ in self._engine.pictures(name):
                key = hashlib.sha256(jpeg).digest()
                if key not in done:
                    done[key] = _encoded(encode, jpeg, dimension, name)
                if isinstance(done[key], FaceError):
                    reason = str(done[key])
                else:
                    encodings.append(done[key])
            if encodings:
                people[name] = np.concatenate(encodings)
            else:
                lost.append((name, reason))
        return state, people, lost


def _encoded(encode: Callable, jpeg: bytes, dimension: int | None, name: str) -> np.ndarray | FaceError:
    """What the network makes of a photo, (1, D), or why nothing."""
    try:
        encoding = encode(unpack(jpeg))
    except FaceError as error:
        return error
    return check_encodings(encoding, dimension, f"the new encoding of {name}")


def _checked(pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and checked encodings (n, D); many at once where they are alike, which is much quicker."""
    pairs = iter(pairs)
    while some := list(itertools.islice(pairs, 1000)):
        try:
            encodings = check_encodings(np.stack([encoding for _, encoding in some]))[:, None]
        except (BadArgument, ValueError, TypeError):  # one by one, to see which
            encodings = [_some(check_encodings(one, None, f"the encoding of {name!r:.80}")) for name, one in some]
        yield from ((name, checked) for (name, _), checked in zip(some, encodings, strict=True))


def _some(encodings: np.ndarray) -> np.ndarray:
    if not len(encodings):
        raise BadArgument("a person needs at least one encoding; these are none")
    return encodings


def _as_kept(identity: Any) -> str:
    """A name to look up: whatever can't be a name is nobody's."""
    try:
        return unicodedata.normalize("NFC", identity).encode().decode()
    except (TypeError, UnicodeEncodeError):
        return ""


def _plain(text: str) -> str:
    """A text without case and accents."""
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
