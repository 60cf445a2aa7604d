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
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec.database.archive import read_archive, write_archive
from facerec.database.entries import (
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
    as_looked_up,
    check_encodings,
    check_name,
    check_path,
    fingerprint_of,
    how_many,
    kind_of,
    make_folder_of,
    mean_encoding,
    network_of,
    pack,
    short,
    unpack,
)
from facerec.database.milvus import Milvus
from facerec.database.sqlite import INDEX_FROM, SQLite, is_open_here
from facerec.errors import BadArgument, FaceError

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
    Names are the same whatever blanks are at their ends. (A file that is removed or replaced while it is open is
    noticed: whatever is asked of it then is an error.)

    Args:
        where: A path (one SQLite file, made with its folder if it is not there; on a local disk, where it and its
            folder can be written; ``~`` is your own folder), ``":memory:"`` (gone with the process), or Milvus:
            ``"http://host:19530"``, or ``"milvus:people.db"`` for the same engine in a file.
        network: The network whose encodings these are: a model, or what ``fingerprint_of`` says about it. It is noted
            in the database, and another one is refused from then on. None takes whatever the database holds.
            People who came while nobody said whose their encodings are keep any network out until ``label`` says it.
        represent: What a person with several encodings is compared by: their ``"mean"``, or the ``"nearest"`` of them.
        **milvus: For ``pymilvus.MilvusClient``, such as ``token``; ``collection`` names the collection ("people").

    Raises:
        OtherNetwork: If the database holds encodings of another network, or of nobody knows which.
        BadDatabase: If the file is no such database, damaged, of a newer version, or can't be written.
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

    where, _closed = None, True  # until it is open

    def __init__(self, where: str | os.PathLike, network: Any = None, represent: str = "mean", **milvus: Any) -> None:
        if represent not in ("mean", "nearest"):
            raise BadArgument(f"represent={represent!r}: 'mean' or 'nearest'")
        self.where, self.represent = _place(where), represent
        fingerprint, dimension = network_of(network)
        if self.where.startswith(("http://", "https://", "milvus:")):
            if self.where.startswith("milvus:"):
                make_folder_of(Path(self.where.removeprefix("milvus:")), self.where)
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
        self._closed = False

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
        """A person's encoding, (D,) float32: the only one, or the mean of several. Nobody's is a ``NobodyCalled``."""
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
        """Where it is, how many are in it, and whose encodings they are; or why that can't be said."""
        try:
            what = "closed" if self._closed else f"{how_many(len(self))}, encodings of {short(self.network)}"
        except Exception:  # in a debugger, or a notebook, an error would hide the object
            what = "its file is gone" if self._is_gone() else "it can't be read"
        return f"FaceDatabase({self.where!r}): {what}"

    def update(self, people: Mapping | Iterable[tuple[str, Any]] = (), /, **more: Any) -> None:
        """As a dict's, all of it in one transaction: quick for many people, and all or nobody.

        Args:
            people: Identity → encoding, or pairs of them; a generator may give a million. All of it is drawn and
                checked before the database is locked, and waits in memory: 0.5 kB and the name for each encoding of 128
                numbers.
            **more: Further ones by name.

        Raises:
            BadArgument: If something in it is no name, no encoding, or no pair; nothing is changed then.
        """
        pieces = self._gathered(_numbered_pairs(people, more))
        with self._engine.change() as change:
            for names, encodings in pieces:
                for identity, its_own in zip(names, encodings, strict=True):
                    change.put(identity, its_own, replace=True)

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
            BadDatabase: If the file was removed or replaced, or can't be written.
            UnreadableImage: If the photo can't be read.
        """
        self._put(identity, encoding, photo)

    def remove(self, identity: str) -> None:
        """Remove a person. Traces may stay in the files until ``tidy()``; ``forget`` leaves none.

        Raises:
            NobodyCalled: If nobody of that name is known; it says who is called alike.
        """
        with self._engine.change() as change:
            known = change.drop(_as_kept(identity))
        if not known:
            raise self._unknown(identity)

    def rename(self, old: str, new: str) -> None:
        """Give a person another name; the one they have changes nothing.

        Raises:
            NobodyCalled: If nobody is called ``old``; it says who is called alike.
            BadArgument: If somebody else is called ``new`` already.
        """
        kept, new = _as_kept(old), check_name(new)
        if kept == new and new in self:
            return
        with self._engine.change() as change:
            known = change.has(kept)
            if known and change.has(new):
                raise BadArgument(f"new={new!r}: somebody has that name already; remove them first")
            if known:
                change.rename(kept, new)
        if not known:
            raise self._unknown(old)

    def forget(self, identity: str) -> None:
        """Remove a person so that no trace of name, encoding, photo or thumbnail is left in any file of the database.

        (What a disk keeps of overwritten files, backups and earlier exports are beyond its reach.)

        The whole file is read through for traces, and written anew if there may be one. A name of a few letters is
        found in any file by chance, so that whoever is called so is forgotten slowly: among a million people (0.7 GB)
        it took 6 s instead of 1 s, and a minute where others kept the disk busy. Nobody else can write meanwhile.

        Raises:
            NobodyCalled: If nobody of that name is known; it says who is called alike.
            NotForgottenYet: If another process reads just now, so that a trace must stay for the moment: the person is
                removed, and ``tidy()``, or opening the database again, completes it.
        """
        if not self._engine.forget(_as_kept(identity)):
            raise self._unknown(identity)

    def encodings(self, identity: str) -> np.ndarray:
        """All encodings of a person, (n, D) float32.

        Raises:
            NobodyCalled: If nobody of that name is known; it says who is called alike. (It is an UnknownIdentity, and a
                KeyError too, as with a dict.)
        """
        found = self._find(identity)
        if found is None:
            raise self._unknown(identity)
        return found

    def photos(self, identity: str) -> list[np.ndarray]:
        """The photos that are kept of a person, each (H, W, 3) uint8.

        Raises:
            NobodyCalled: If nobody of that name is known; it says who is called alike.
        """
        return [unpack(jpeg) for jpeg, _ in self._pictures(identity)]

    def thumbnail(self, identity: str) -> np.ndarray | None:
        """A person's newest photo, at most 112 pixels a side, (H, W, 3) uint8; None if none is kept.

        Raises:
            NobodyCalled: If nobody of that name is known; it says who is called alike.
        """
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
        if not _is_count(k, 1):
            raise BadArgument(f"k={k!r}: how many people to name, at least 1")
        probes = self._check(encodings, "encodings")
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
            text: What to look for, whatever blanks are at its ends; nothing finds everybody.
            limit: How many names at most: it stops at so many, in the order in which they came, and nothing says that
                there are more.

        Raises:
            BadArgument: If ``text`` is no text, or ``limit`` no count.
        """
        if not isinstance(text, str):
            raise BadArgument(f"text={text!r:.80}: a text to look for is needed, not {kind_of(text)}")
        if not _is_count(limit, 0):
            raise BadArgument(f"limit={limit!r:.80}: how many names at most, a whole number")
        wanted = _plain(text.strip())
        return list(itertools.islice((name for name in self if wanted in _plain(name)), int(limit)))

    @property
    def network(self) -> str | None:
        """The fingerprint of the network whose encodings these are; None if nobody said."""
        return self._engine.network

    def label(self, network: Any) -> None:
        """Say of a database whose people came without a network whose encodings theirs are; it can't be told from them.

        So it is believed, and can't be taken back: with a wrong label everybody is compared wrongly until ``reencode``
        makes them new encodings from their photos.

        Args:
            network: A model, or what ``fingerprint_of`` says about it.

        Raises:
            OtherNetwork: If another one is noted already.
            BadArgument: If it is no network, or one whose encodings have another D.

        Example:
            >>> database = FaceDatabase(":memory:")
            >>> database["lena"] = np.eye(128)[0]
            >>> database.label("resnet:0a1b2c")
            >>> database.network
            'resnet:0a1b2c'
        """
        self._engine.expect(*_named(network, "network"), sure=True)

    def reencode(
        self,
        model: Any,
        encode: Callable[[np.ndarray], np.ndarray] | None = None,
        without: str = "refuse",
        progress: bool = True,
    ) -> pd.DataFrame:
        """Encode everybody anew from the kept photos, for another network: all in one step, or nothing.

        Args:
            model: The new network, or its fingerprint.
            encode: Photo (H, W, 3) uint8 → encoding (D,): ``lambda photo: img_to_encoding(photo, model)``; needed.
            without: Those of whom no photo shows a face to ``encode``: ``"refuse"`` changes nothing and names them in
                the error, ``"remove"`` removes them.
            progress: False for no progress bar.

        Returns:
            A table (``identity``, ``reason``) of those who were removed.

        Raises:
            BadArgument: If ``encode`` is missing, or somebody can't be encoded and ``without`` is "refuse".
        """
        if not callable(encode):
            raise BadArgument(
                f"encode={encode!r:.80}: what makes an encoding of a photo is needed: "
                f"reencode(model, lambda photo: img_to_encoding(photo, model))"
            )
        if without not in ("refuse", "remove"):
            raise BadArgument(f"without={without!r}: 'refuse' or 'remove'")
        fingerprint, dimension = _named(model, "model")
        done: dict[bytes, np.ndarray | FaceError] = {}  # by digest: whoever adds people meanwhile costs only these
        while True:
            state, people, lost = self._reencoded(encode, dimension, done, progress)
            if lost and without == "refuse":
                names = ", ".join(repr(name) for name, _ in lost[:5])
                raise BadArgument(
                    f"{how_many(len(lost))} can't be encoded anew: {names} ({lost[0][1]}); nothing is changed"
                )
            dimension = dimension or next((e.shape[1] for e in people.values()), None)
            if self._engine.replace_all(state, fingerprint, dimension, people, [name for name, _ in lost]):
                return pd.DataFrame(lost, columns=["identity", "reason"])

    def export_to(self, path: str | os.PathLike) -> None:
        """Write everybody into a ZIP file of open formats: JSON, one NumPy array, and JPEGs; nobody's name is a file's.

        Args:
            path: The file to write, with its folder if that is not there (``~`` is your own folder); an archive that is
                there is replaced whole.

        Raises:
            BadArgument: If something else than an archive is there (a database, say), or the file can't be written.
        """
        path = Path(check_path(path))
        try:
            if path.is_dir():
                raise BadArgument(f"path={str(path)!r} is a folder; a file is needed")
            if path.exists() and (is_open_here(path) or not zipfile.is_zipfile(path)):
                raise BadArgument(f"{path} is there and no archive; export to another file, or remove it first")
            write_archive(self._engine, path)
        except OSError as error:
            raise BadArgument(f"path={str(path)!r} can't be written: {_why_not(path, error)}") from error

    def import_from(self, path: str | os.PathLike, on_conflict: str = "refuse") -> int:
        """Take in people from a file of ``export_to``: checked whole before anything changes, and then all at once.

        Args:
            path: The file; it may come from anybody. (``~`` is your own folder.)
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
        path = Path(check_path(path))
        if is_open_here(path):
            raise BadArgument(f"path={str(path)!r} is a database that is open, and no archive")
        return read_archive(self._engine, path, on_conflict)

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
        self._closed = True

    def __enter__(self) -> FaceDatabase:
        """For ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    # -------------------------------------------------------------------------------------------- its insides
    def _is_gone(self) -> bool:
        if isinstance(self._engine, SQLite):
            return self._engine.is_gone()
        return self._engine.path is not None and not os.path.exists(self._engine.path)

    def _find(self, identity: object) -> np.ndarray | None:
        return self._engine.encodings(_as_kept(identity)) if isinstance(identity, str) else None

    def _put(self, identity: str, encoding: Any, photo: Any = None, replace: bool = False) -> None:
        name = check_name(identity)
        checked = _some(self._check(encoding, "encoding"))
        pictures = [] if photo is None else [pack(photo, self._engine.photo_limit, f"the photo of {name}")]
        with self._engine.change() as change:
            change.put(name, checked, pictures, replace)

    def _check(self, encodings: Any, what: str) -> np.ndarray:
        """As ``check_encodings``; of all that is wrong, that D is another one than here is said first."""
        try:
            return check_encodings(encodings, None, what)
        except BadArgument:
            check_encodings(encodings, self._engine.dimension, what)
            raise

    def _gathered(self, pairs: Iterable[tuple[Any, Any]]) -> list[tuple[list[str], Sequence[np.ndarray]]]:
        """Names and encodings (n, D) in pieces; what is alike is checked a thousand at once, which is much quicker."""
        pairs, pieces, blocks = iter(pairs), [], _Blocks()
        while some := list(itertools.islice(pairs, 1000)):
            names = [check_name(name) for name, _ in some]
            try:
                encodings = blocks.keep(check_encodings(np.stack([encoding for _, encoding in some])))[:, None]
            except (BadArgument, ValueError, TypeError):  # one by one, to see which
                encodings = [_some(self._check(one, f"the encoding of {name!r:.80}")) for name, one in some]
            pieces.append((names, encodings))
        return pieces

    def _pictures(self, identity: str) -> list[Picture]:
        if identity not in self:
            raise self._unknown(identity)
        return self._engine.pictures(_as_kept(identity))

    def _unknown(self, identity: Any) -> NobodyCalled:
        count = len(self)
        similar = _alike(str(identity), self) if count <= 10_000 else []
        hint = f"; did you mean {' or '.join(similar)}?" if similar else f"; it knows {how_many(count)}"
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


class _Blocks:
    """Keeps many small arrays (n, D) in a few large ones, which go back to the system whole when they are done with."""

    ROWS = 100_000  # of 128 numbers: 51 MB

    def __init__(self) -> None:
        self.block, self.used = np.empty((0, 0), np.float32), 0

    def keep(self, array: np.ndarray) -> np.ndarray:
        """A copy of an array, in a block."""
        if self.block.shape[1] != array.shape[1] or self.used + len(array) > len(self.block):
            self.block, self.used = np.empty((self.ROWS, array.shape[1]), np.float32), 0
        kept = self.block[self.used : self.used + len(array)]
        kept[:] = array
        self.used += len(array)
        return kept


def _numbered_pairs(people: Any, more: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs of what ``update`` takes; whatever is none is an error that says which."""
    pairs = people.items() if isinstance(people, Mapping) else people
    if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes):
        raise BadArgument(f"people must be a mapping, or pairs of identity and encoding; it is {kind_of(people)}")
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            of_so_many = f" of {len(pair)}" if isinstance(pair, tuple | list) else ""
            raise BadArgument(
                f"people[{number}] must be a pair, identity and encoding; it is {kind_of(pair)}{of_so_many}"
            )
        yield pair[0], pair[1]
    yield from more.items()


def _place(where: Any) -> str:
    """Where a database is, with the home folder in the place of ``~``."""
    if not isinstance(where, str | os.PathLike):
        raise BadArgument(
            f"where must be a path, ':memory:', or an address of Milvus; it is {kind_of(where)}: "
            f"FaceDatabase(where, network)"
        )
    text = check_path(where, "where")
    if text.startswith("milvus:"):
        return f"milvus:{check_path(text.removeprefix('milvus:'), 'where')}"
    return text


def _named(network: Any, what: str) -> tuple[str, int | None]:
    """As ``network_of``, where one is needed."""
    fingerprint, dimension = network_of(network)
    if fingerprint is None:
        raise BadArgument(f"{what}=None: give the network whose encodings these are, or its fingerprint")
    return fingerprint, dimension


def _is_count(number: Any, least: int) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and number >= least


def _some(encodings: np.ndarray) -> np.ndarray:
    if not len(encodings):
        raise BadArgument("a person needs at least one encoding; these are none")
    return encodings


def _as_kept(identity: Any) -> str:
    """A name to look up: whatever can't be a name is nobody's."""
    try:
        return as_looked_up(identity)
    except BadArgument:
        return ""


def _alike(asked: str, names: Iterable[str]) -> list[str]:
    """The three names that are most like one, whatever case and accents."""
    called: dict[str, list[str]] = {}
    for name in names:
        called.setdefault(_plain(name), []).append(name)
    close = difflib.get_close_matches(_plain(asked.strip()), called, n=3)
    return [name for plain in close for name in called[plain]][:3]


def _why_not(path: Path, error: OSError) -> str:
    """Why a file can't be written, without the name that it has until it is complete."""
    folder = next((folder for folder in path.absolute().parents if os.path.exists(folder)), path.parent)
    if isinstance(error, PermissionError):
        return f"this user may not write into the folder {str(folder)!r}"
    return f"{error.strerror or error} (in {str(folder)!r})"


def _plain(text: str) -> str:
    """A text without case and accents."""
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
