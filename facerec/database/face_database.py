"""The database that users see: a lasting mapping from identity to encoding, used like a dict.

    identity ──► encodings (n, D), photos ──► one file that is never half written
    probes (m, D) ──nearest──► identities (m, k), distances (m, k)

``verify`` and ``who_is_it`` take it as they take a dict. By default it is one SQLite file, ``people.db``. Beside it are
``people.db-wal`` and ``people.db-shm`` while it is open, and, once it is large, ``people.db.index``, which can be made
again from the database at any time.

Names are personal data, and so are encodings: ``forget`` leaves no trace of a person in any of these files.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facerec.database.archive import is_archive, read_archive, write_archive
from facerec.database.engine import Addition
from facerec.database.entries import (
    UnknownPerson,
    check_path,
    how_many,
    mean_encoding,
    network_of,
    short,
)
from facerec.database.names import MAX_NAME, as_looked_up, check_name, plain, similar_names
from facerec.database.opening import is_open_here, open_engine, place_of
from facerec.database.pictures import Picture, pack, whole_ones
from facerec.database.reencoding import encode_anew
from facerec.database.updates import check_like, check_some, gather, numbered_pairs
from facerec.errors import BadArgument, kind_of

if TYPE_CHECKING:
    import pandas as pd

PADDED = 1000  # people to name: so many places are answered even where fewer people are known


class FaceDatabase(MutableMapping):
    """Identities and encodings that last: used as a dict, and safe from kills, other processes and other networks.

    Every change is on the disk when the call returns. Threads and processes may use one database at once. Blanks at the
    ends of a name do not count. If the file is removed or replaced while it is open, every further call is an error.
    What the disk has damaged is left out, with a ``DamageFound`` warning that names it, and nothing can be changed.

    Args:
        where: A path (one SQLite file, made with its folder if it is missing; on a local disk, where this user may
            write it and its folder; ``~`` is your own folder), ``":memory:"`` (gone with the process), or Milvus:
            ``"http://host:19530"``, or ``"milvus:people.db"`` for the same engine in a file.
        network: The network that makes the encodings: a model, or its ``fingerprint_of``. It is noted in the database,
            and another one is refused from then on. None takes whatever the database holds. If people were added
            without a network, every network is refused until ``label`` says which one encoded them.
        represent: What a person with several encodings is compared by: their ``"mean"``, or the ``"nearest"`` of them.
        **milvus: For ``pymilvus.MilvusClient``, such as ``token``; ``collection`` names the collection ("people").

    Raises:
        OtherNetwork: If the database holds encodings of another network, or does not say of which.
        BadDatabase: If the file is not such a database, damaged, of a newer version, or can't be written.
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
        self.where, self.represent, self._milvus = place_of(where), represent, milvus
        fingerprint, dimension = network_of(network)
        self._engine = open_engine(self.where, represent, milvus)
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
        """Whether a person of that name is known."""
        return self._find(identity) is not None

    def __getitem__(self, identity: str) -> np.ndarray:
        """A person's encoding, (D,) float32: the only one, or the mean of several. No such name: ``UnknownPerson``."""
        return mean_encoding(self.encodings(identity))

    def __setitem__(self, identity: str, encoding: np.ndarray) -> None:
        """Set the encoding, or the encodings (n, D), of a person: earlier ones and photos are removed."""
        self._put(identity, encoding, replace=True)

    def __delitem__(self, identity: str) -> None:
        """``remove`` a person."""
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
        """Where it is, how many people it holds, and of which network; or why that can't be said."""
        try:
            what = "closed" if self._closed else f"{how_many(len(self))}, encodings of {short(self.network)}"
        except Exception:  # in a debugger, or a notebook, an error would hide the object
            what = "its file is gone" if self._engine.is_gone() else "it can't be read"
        return f"FaceDatabase({self.where!r}): {what}"

    def update(self, people: Mapping | Iterable[tuple[str, Any]] = (), /, **more: Any) -> None:
        """Take in many people as a dict does, but in one transaction: quick, and all of them or none.

        Args:
            people: Identity → encoding, or pairs of them; a generator may give a million. All of it is drawn and
                checked before the database is locked, and waits in memory: 0.5 kB and the name for each encoding of 128
                numbers.
            **more: Further people by name.

        Raises:
            BadArgument: If something in it is not a name, an encoding, or a pair; nothing is changed then.
        """
        pieces = gather(numbered_pairs(people, more), self._engine.dimension)
        with self._engine.change() as change:
            for names, encodings in pieces:
                for identity, its_own in zip(names, encodings, strict=True):
                    change.put(Addition(identity, its_own, replace=True))

    def clear(self) -> None:
        """Remove everyone, in one transaction."""
        with self._engine.change() as change:
            for identity in list(self._engine.names()):
                change.drop(identity)

    # ------------------------------------------------------------------------------------------- one person
    def add(
        self,
        identity: str,
        encoding: np.ndarray,
        photo: np.ndarray | bytes | Sequence[np.ndarray | bytes] | None = None,
        replace: bool = False,
        new: bool = False,
    ) -> None:
        """Add one encoding, or several in one change, to a person, known or new.

        Args:
            identity: Their name; one that is not known yet adds a person.
            encoding: (D,), or several (n, D), of unit length.
            photo: What it was made from, (H, W, 3) uint8 or the bytes of a JPEG, or a list of several: kept as JPEG of
                at most 1024 pixels a side, for ``reencode`` and ``thumbnail``, without what a camera notes (place,
                time).
            replace: Whether they take the place of the person's earlier encodings and photos.
            new: Whether the person must not be known yet.

        Raises:
            BadArgument: If the name or the encoding makes no sense, or a ``new`` person is known; nothing changes.
            BadDatabase: If the file was removed or replaced, or can't be written.
            UnreadableImage: If the photo can't be read.
        """
        self._put(identity, encoding, photo, replace, new)

    def remove(self, identity: str) -> None:
        """Remove a person. Traces may stay in the files until ``tidy()``; ``forget`` leaves none.

        Raises:
            UnknownPerson: If no one has that name; the error suggests similar ones.
        """
        with self._engine.change() as change:
            known = change.drop(_as_kept(identity))
        if not known:
            raise self._unknown(identity)

    def rename(self, old: str, new: str) -> None:
        """Give a person another name; giving the same name changes nothing.

        Raises:
            UnknownPerson: If no one is called ``old``; the error suggests similar names.
            BadArgument: If another person is called ``new`` already.
        """
        kept, new = _as_kept(old), check_name(new)
        if kept == new and new in self:
            return
        with self._engine.change() as change:
            known = change.has(kept)
            if known and change.has(new):
                raise BadArgument(f"new={new!r}: another person has that name; remove them first")
            if known:
                change.rename(kept, new)
        if not known:
            raise self._unknown(old)

    def forget(self, identity: str) -> None:
        """Remove a person so that no trace of name, encoding, photo or thumbnail is left in any file of the database.

        (Backups, earlier exports, and what a disk keeps of overwritten files are beyond its reach.)

        The whole file is searched for traces, and rewritten if there may be one. A name of a few letters turns up in
        any large file by chance, so forgetting it takes longer: among a million people (0.7 GB) 6 s instead of 1 s, and
        a minute where others kept the disk busy. No one else can write meanwhile.

        Raises:
            UnknownPerson: If no one has that name; the error suggests similar ones.
            NotForgottenYet: If another process is reading, or the disk is full, so that a trace must stay for the
                moment: the person is removed, and ``tidy()``, or opening the database again, removes the trace.
        """
        if not self._engine.forget(_as_kept(identity)):
            raise self._unknown(identity)

    def encodings(self, identity: str) -> np.ndarray:
        """All encodings of a person, (n, D) float32.

        Raises:
            UnknownPerson: If no one has that name; the error suggests similar ones. (It is an UnknownIdentity, and a
                KeyError too, as with a dict.)
            DamagedDatabase: If none of them is whole.
        """
        found = self._find(identity)
        if found is None:
            raise self._unknown(identity)
        return found

    def photos(self, identity: str) -> list[np.ndarray]:
        """The kept photos of a person, each (H, W, 3) uint8; damaged ones are left out, with a warning.

        Raises:
            UnknownPerson: If no one has that name; the error suggests similar ones.
        """
        return [photo for _, photo in whole_ones(self._pictures(identity), self._photo_of(identity))]

    def thumbnail(self, identity: str) -> np.ndarray | None:
        """A person's newest photo, at most 112 pixels a side, (H, W, 3) uint8; None if none is kept.

        Raises:
            UnknownPerson: If no one has that name; the error suggests similar ones.
        """
        newest = whole_ones(reversed(self._pictures(identity)), self._photo_of(identity), thumbnails=True)
        return next((small for _, small in newest), None)

    # ---------------------------------------------------------------------------------------------- everyone
    def nearest(self, encodings: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The people who look most like each of some faces (1:K).

        Args:
            encodings: Of the faces in question, (m, D) or (D,), of unit length.
            k: How many people to name for each; above 1,000, at most as many as are known.

        Returns:
            identities: (m, k) names, the nearest first, each person once; None where fewer are known.
            distances: (m, k) float32, Euclidean; infinite where fewer are known.

        Raises:
            BadArgument: If the encodings don't fit those in the database, or ``k`` is not a count.
        """
        if not _is_count(k, 1):
            raise BadArgument(f"k={k!r}: how many people to name, at least 1")
        probes = check_like(encodings, self._engine.dimension, "encodings")
        return self._engine.nearest(probes, int(k) if k <= PADDED else max(PADDED, min(int(k), len(self))))

    def people(self) -> pd.DataFrame:
        """A row per person: ``identity``, how many ``encodings`` and ``photos``, and when ``added`` and ``changed``."""
        import pandas as pd

        columns = ["identity", "encodings", "photos", "added", "changed"]
        table = pd.DataFrame(self._engine.table(), columns=columns)
        times = {
            when: pd.to_datetime(table[when].astype(float), unit="s", utc=True, errors="coerce") for when in columns[3:]
        }
        return table.astype({"encodings": int, "photos": int}).assign(**times)

    def find(self, text: str, limit: int = 50) -> list[str]:
        """Names that contain a text, whatever the case and the accents: "jose" finds José.

        Args:
            text: What to look for, without the blanks at its ends; an empty text finds everyone.
            limit: How many names at most, in the order in which they came; nothing says whether there are more.

        Raises:
            BadArgument: If ``text`` is not text, or ``limit`` not a count.
        """
        if not isinstance(text, str):
            raise BadArgument(f"text={text!r:.80}: a text to look for is needed, not {kind_of(text)}")
        if not _is_count(limit, 0):
            raise BadArgument(f"limit={limit!r:.80}: how many names at most, a whole number")
        wanted = plain(text.strip())
        return list(itertools.islice((name for name in self if wanted in plain(name)), int(limit)))

    # ---------------------------------------------------------------------------------------------- networks
    @property
    def network(self) -> str | None:
        """The fingerprint of the network that made the encodings; None if it was never given."""
        return self._engine.network

    def label(self, network: Any) -> None:
        """Say which network encoded the people of a database that was filled without one.

        That can't be checked, nor taken back: with a wrong label everyone is compared wrongly until ``reencode``
        makes new encodings from the photos.

        Args:
            network: A model, or its ``fingerprint_of``.

        Raises:
            OtherNetwork: If another one is noted already.
            BadArgument: If it is not a network, or one whose encodings have another D.

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
        """Re-encode everyone from the kept photos, for another network: all in one step, or nothing.

        Args:
            model: The new network, or its fingerprint.
            encode: Photo (H, W, 3) uint8 → encoding (D,): ``lambda photo: img_to_encoding(photo, model)``; needed.
            without: What to do if ``encode`` finds no face on any photo of a person: ``"refuse"`` changes nothing and
                names these people in the error, ``"remove"`` removes them.
            progress: False for no progress bar.

        Returns:
            A table (``identity``, ``reason``) of the people who were removed.

        Raises:
            BadArgument: If ``encode`` is missing, or a person can't be encoded and ``without`` is "refuse".
        """
        if not callable(encode):
            raise BadArgument(
                f"encode={encode!r:.80}: a function that makes an encoding of a photo is needed: "
                f"reencode(model, lambda photo: img_to_encoding(photo, model))"
            )
        if without not in ("refuse", "remove"):
            raise BadArgument(f"without={without!r}: 'refuse' or 'remove'")
        import pandas as pd

        lost = encode_anew(self._engine, *_named(model, "model"), encode, without == "refuse", progress)
        return pd.DataFrame(lost, columns=["identity", "reason"])

    # ---------------------------------------------------------------------------------------------- archives
    def export_to(self, path: str | os.PathLike) -> None:
        """Write everyone into a ZIP file of open formats: JSON, one NumPy array, and JPEGs with numbers for names.

        Args:
            path: The file to write, with its folder if that is missing (``~`` is your own folder); an earlier archive
                is replaced whole.

        Raises:
            BadArgument: If another kind of file is there (a database, or any other ZIP file), or the file can't be
                written.
        """
        path = Path(check_path(path))
        try:
            if path.is_dir():
                raise BadArgument(f"path={str(path)!r} is a folder; a file is needed")
            if path.exists() and (is_open_here(path) or not is_archive(path)):
                raise BadArgument(f"{path} exists and is no earlier export; export to another file, or remove it first")
            write_archive(self._engine, path)
        except OSError as error:
            raise BadArgument(f"path={str(path)!r} can't be written: {_why_not(path, error)}") from error

    def import_from(self, path: str | os.PathLike, on_conflict: str = "refuse") -> int:
        """Take in people from a file of ``export_to``: checked whole before anything changes, and then all at once.

        Args:
            path: The file, which need not be trusted. (``~`` is your own folder.)
            on_conflict: What to do with a name that is known here: ``"refuse"`` the whole file, ``"skip"`` the person
                in the file, or ``"replace"`` the one in the database.

        Returns:
            How many people were imported.

        Raises:
            BadArgument: If the file is damaged, or not such an archive; the error says what is wrong, and where. (A
                photo in it that can't be opened is left out, with a warning: it was damaged before the export.)
            OtherNetwork: If its encodings are another network's.
        """
        if on_conflict not in ("refuse", "skip", "replace"):
            raise BadArgument(f"on_conflict={on_conflict!r}: 'refuse', 'skip' or 'replace'")
        path = Path(check_path(path))
        if is_open_here(path):
            raise BadArgument(f"path={str(path)!r} is a database that is open, not an archive")
        return read_archive(self._engine, path, on_conflict)

    # ----------------------------------------------------------------------------------------- housekeeping
    def opened_elsewhere(self) -> dict[str, Any]:
        """The arguments with which other processes open this database, whatever their working directory.

        Raises:
            BadArgument: If no other process can: it is in memory, or in a file of milvus-lite.
        """
        if self.where == ":memory:" or self.where.startswith("milvus:"):
            raise BadArgument(f"{self.where} belongs to this process alone: a file of SQLite or a server is needed")
        where = self.where if "://" in self.where else os.path.abspath(self.where)
        return {"where": where, "represent": self.represent, **self._milvus}

    def tidy(self) -> None:
        """Give back unused space, and remove the last traces of people who were removed. Others should not be reading.

        Raises:
            NotForgottenYet: If another process is reading, or the disk is full.
        """
        self._engine.tidy()

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until the search index is built, if one is due; before, searches are exact, too, but slower.

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
        """The database itself, for ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    # -------------------------------------------------------------------------------------------- its insides
    def _find(self, identity: object) -> np.ndarray | None:
        return self._engine.encodings(_as_kept(identity)) if isinstance(identity, str) else None

    def _put(self, identity: str, encoding: Any, photo: Any = None, replace: bool = False, new: bool = False) -> None:
        name = check_name(identity)
        checked = check_some(encoding, self._engine.dimension, "encoding")
        photos = photo if isinstance(photo, list | tuple) else [] if photo is None else [photo]
        pictures = [pack(one, self._engine.photo_limit, f"the photo of {name}") for one in photos]
        with self._engine.change() as change:
            if new and change.has(name):
                raise BadArgument(f"{name!r} is in the database already")
            change.put(Addition(name, checked, pictures, replace))

    def _pictures(self, identity: str) -> list[Picture]:
        if identity not in self:
            raise self._unknown(identity)
        return self._engine.pictures(_as_kept(identity))

    def _photo_of(self, identity: str) -> str:
        return f"a photo of {identity!r} in {self.where}"

    def _unknown(self, identity: Any) -> UnknownPerson:
        count = len(self)
        similar = similar_names(str(identity), self) if count <= 10_000 else []
        hint = f"; did you mean {' or '.join(similar)}?" if similar else f"; it knows {how_many(count)}"
        return UnknownPerson(f"the database has no one called {identity!r:.{MAX_NAME}}{hint}")


def _named(network: Any, what: str) -> tuple[str, int | None]:
    """The fingerprint and the D of a network, where one is needed."""
    fingerprint, dimension = network_of(network)
    if fingerprint is None:
        raise BadArgument(f"{what}=None: give the network that makes the encodings, or its fingerprint")
    return fingerprint, dimension


def _is_count(number: Any, least: int) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and number >= least


def _as_kept(identity: Any) -> str:
    """A name to look up; "", which no one has, for what can't be a name."""
    try:
        return as_looked_up(identity)
    except BadArgument:
        return ""


def _why_not(path: Path, error: OSError) -> str:
    """Why a file can't be written, without the name that it has until it is complete."""
    folder = next((folder for folder in path.absolute().parents if os.path.exists(folder)), path.parent)
    if isinstance(error, PermissionError):
        return f"this user may not write into the folder {str(folder)!r}"
    return f"{error.strerror or error} (in {str(folder)!r})"
