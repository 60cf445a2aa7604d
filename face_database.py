"""Who is known: a database of people that outlives its process, and answers in milliseconds among a million.

    identity ──► encodings (n, D), photos ──► one file that is never half written
    probes (m, D) ──nearest──► identities (m, k), distances (m, k)

``FaceDatabase`` is a mapping from identity to encoding: ``verify`` and ``who_is_it`` take it as they take a dict. By
default it is one SQLite file, ``people.db``. Beside it lie ``people.db-wal`` and ``people.db-shm`` while it is open,
and, once it is large, ``people.db.index``: whatever is in that can be made again from the database.

Names are personal data, and so are encodings: ``forget`` leaves no trace of a person in any of these files.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import io
import itertools
import json
import mmap
import os
import re
import sqlite3
import threading
import time
import unicodedata
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from errors import BadArgument, BadNetwork, FaceError, UnknownIdentity, UnreadableImage
from whole_files import whole

#: From so many rows on, a search index is built in the background: below it, one matrix product is as quick.
INDEX_FROM = 150_000

MAX_NAME = 200  # characters
PHOTO_SIDE = 1024  # kept photos are no larger
THUMBNAIL_SIDE = 112
MAX_PIXELS = 64_000_000
UNIT_WITHIN = 1e-3  # encodings that are off by more are refused; less is put right


class BadDatabase(FaceError):
    """A database that can't be opened or used: damaged, of a newer version, busy, or something else."""


class OtherNetwork(BadNetwork):
    """Encodings of two networks can't be compared."""


class NotForgottenYet(FaceError):
    """A person is out of the database, but a trace may still be in its files; ``tidy()`` completes it."""


class NobodyCalled(UnknownIdentity, KeyError):
    """As a dict's KeyError, and as this project's UnknownIdentity."""

    __str__ = ValueError.__str__  # KeyError would quote the sentence


# ----------------------------------------------------------------------------------- names and encodings
def check_name(identity: Any) -> str:
    """A name as it is kept: any text of one line, é always as one letter.

    Args:
        identity: What a person shall be called.

    Returns:
        The name in Unicode's composed form (NFC).

    Raises:
        BadArgument: If it is no text, blank, longer than 200 characters, or holds control characters.

    Example:
        >>> check_name("Robert'); DROP TABLE people;--")
        "Robert'); DROP TABLE people;--"
    """
    if not isinstance(identity, str):
        raise BadArgument(f"identity={identity!r:.80}: a name is text, not a {type(identity).__name__}")
    name = unicodedata.normalize("NFC", identity)
    if not name.strip():
        raise BadArgument(f"identity={identity!r:.80}: a name needs something that can be read")
    if len(name) > MAX_NAME:
        raise BadArgument(f"identity={name[:20]!r}…: {len(name)} characters; {MAX_NAME} at most")
    if not name.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        raise BadArgument(f"identity={name!r:.80}: line breaks and control characters are no part of a name")
    return name


def check_encodings(encodings: Any, dimension: int | None = None, what: str = "encoding") -> np.ndarray:
    """Encodings as they are kept and compared: (m, D) float32 of unit length.

    Args:
        encodings: (m, D) or (D,), numbers.
        dimension: D, if it is known.
        what: What to call them in an error.

    Returns:
        (m, D) float32. What is of unit length but for rounding stays as it is, to the last bit.

    Raises:
        BadArgument: If they have another shape, hold something else than finite numbers, or are not of unit length.
    """
    try:
        given = np.asarray(encodings)
    except ValueError as error:
        raise BadArgument(f"{what} must be (D,) or (m, D) numbers: {error}") from error
    if not np.issubdtype(given.dtype, np.integer) and not np.issubdtype(given.dtype, np.floating):
        raise BadArgument(f"{what} must be (D,) or (m, D) numbers; it is {given.dtype} {given.shape}")
    array = np.ascontiguousarray(given, np.float32)
    array = array[None] if given.ndim == 1 else array
    if given.ndim not in (1, 2) or array.shape[1] != (dimension or array.shape[1]) or array.shape[1] < 1:
        d = dimension or "D"
        raise BadArgument(f"{what} has the shape {given.shape}; one is ({d},), and m are (m, {d})")
    if not np.isfinite(array).all():
        raise BadArgument(f"{what} must be finite numbers: {given.shape} with NaN or infinity")
    return _to_unit_length(array, what)


def _to_unit_length(array: np.ndarray, what: str) -> np.ndarray:
    lengths = np.linalg.norm(array.astype(np.float64), axis=1)
    off = np.abs(lengths - 1)
    if len(off) and off.max() > UNIT_WITHIN:
        raise BadArgument(f"{what} must be of unit length; number {off.argmax()} has {lengths[off.argmax()]:.4g}")
    wrong = off > 2e-6
    if wrong.any():
        array = array.copy()
        array[wrong] = (array[wrong] / lengths[wrong, None]).astype(np.float32)
    return array


def mean_encoding(encodings: np.ndarray) -> np.ndarray:
    """What stands for a person with several encodings: their mean, brought back to unit length.

    Args:
        encodings: (n, D) of one person.

    Returns:
        (D,) float32. A single one is returned as it is; the first, if their mean is nothing.
    """
    if len(encodings) == 1:
        return encodings[0]
    mean = encodings.astype(np.float64).mean(axis=0)
    length = np.linalg.norm(mean)
    return (mean / length).astype(np.float32) if length > 1e-3 else encodings[0]


def fingerprint_of(model: Any) -> str:
    """What tells a network's encodings from another network's: the same in every process and on every machine.

    Args:
        model: A Keras model; what ``load_facenet`` noted on it (name, side, template) counts too.

    Returns:
        Its name, a colon, and 64 hexadecimal digits.
    """
    info = getattr(model, "facenet", None)
    side = getattr(info, "side", None) or model.input_shape[1]
    template = {point: [round(float(n), 6) for n in xy] for point, xy in getattr(info, "template", {}).items()}
    digest = hashlib.sha256(json.dumps([getattr(info, "name", ""), side, template], sort_keys=True).encode())
    for layer in _layers_of(model):
        if hasattr(layer, "scale") and hasattr(layer, "offset"):  # how pixels are scaled is no weight
            digest.update(b"".join(np.asarray(n, np.float64).tobytes() for n in (layer.scale, layer.offset)))
    for weight in model.weights:
        values = np.ascontiguousarray(weight)
        digest.update(str(values.shape).encode() + values.tobytes())
    return f"{getattr(info, 'name', None) or 'network'}:{digest.hexdigest()}"


def _layers_of(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", []):
        yield layer
        yield from _layers_of(layer)


def _network_of(network: Any) -> tuple[str | None, int | None]:
    """The fingerprint of what was given as a network, and its D if that is known."""
    if network is None:
        return None, None
    if isinstance(network, str):
        if not 0 < len(network.strip()) <= 300:
            raise BadArgument(f"network={network!r:.80}: a model, or what fingerprint_of said about one")
        return network, None
    if not hasattr(network, "weights") or not hasattr(network, "output_shape"):
        raise BadArgument(f"network must be a model or its fingerprint; it is a {type(network).__name__}")
    return fingerprint_of(network), int(network.output_shape[-1])


def _short(fingerprint: str | None) -> str:
    """A fingerprint for people: the name and the first digits."""
    name, _, digits = (fingerprint or "an unknown network").partition(":")
    return f"{name} ({digits[:12]})" if digits else name[:60]


# ------------------------------------------------------------------------------------------------- photos
Picture = tuple[bytes, bytes]  # JPEG of the photo, JPEG of its thumbnail


def _pack(photo: np.ndarray | bytes, limit: int | None = None, name: str = "photo") -> Picture:
    """A photo as JPEG, upright, no larger than needed, without what cameras note (place, time), and its thumbnail."""
    image = _open_photo(photo, name)
    keep = isinstance(photo, bytes) and not _tells_more(image) and max(image.size) <= PHOTO_SIDE
    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{name} is a damaged picture: {error}") from error
    upright.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    jpeg = photo if keep else _jpeg(upright)
    while limit and len(jpeg) > limit:
        upright = upright.resize((max(upright.width * 4 // 5, 1), max(upright.height * 4 // 5, 1)))
        jpeg = _jpeg(upright, 85)
    small = Image.open(io.BytesIO(jpeg))
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return jpeg, _jpeg(small, 85)


def _open_photo(photo: Any, name: str) -> Image.Image:
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise BadArgument(f"{name} is {photo.dtype} {photo.shape}; (H, W, 3) uint8 is what load_image gives")
        return Image.fromarray(photo)
    if not isinstance(photo, bytes):
        raise BadArgument(f"{name} must be an array (H, W, 3) uint8 or the bytes of a JPEG, not {type(photo).__name__}")
    try:
        image = Image.open(io.BytesIO(photo), formats=("JPEG",))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{name} is no JPEG that can be opened ({len(photo)} bytes): {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{name} has {image.width}×{image.height} pixels; {MAX_PIXELS:,} at most")
    return image


def _tells_more(image: Image.Image) -> bool:
    """Whether a JPEG holds more than a picture."""
    return image.mode != "RGB" or bool(set(image.info) & {"exif", "comment", "xmp", "photoshop", "mp"})


def _jpeg(image: Image.Image, quality: int = 92) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0 if quality > 90 else -1)
    return stream.getvalue()


def _unpack(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg), formats=("JPEG",)).convert("RGB"))


# ------------------------------------------------------------------------------------------- the database
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
        fingerprint, dimension = _network_of(network)
        if self.where.startswith(("http://", "https://", "milvus:")):
            self._engine = _Milvus(self.where, represent, **milvus)
        elif milvus:
            raise BadArgument(f"{', '.join(milvus)}: for Milvus only, and {self.where} is no Milvus address")
        else:
            self._engine = _SQLite(self.where, represent)
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
        return f"FaceDatabase({self.where!r}): {len(self)} people, encodings of {_short(self.network)}"

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
        return [_unpack(jpeg) for jpeg, _ in self._pictures(identity)]

    def thumbnail(self, identity: str) -> np.ndarray | None:
        """A person's newest photo, at most 112 pixels a side, (H, W, 3) uint8; None if none is kept."""
        pictures = self._pictures(identity)
        return _unpack(pictures[-1][1]) if pictures else None

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
        fingerprint, dimension = _network_of(model)
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
            path: The file to write; it is replaced whole.
        """
        _export(self._engine, Path(path))

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
        return _import(self._engine, Path(path), on_conflict)

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
        pictures = [] if photo is None else [_pack(photo, self._engine.photo_limit, f"the photo of {name}")]
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
        encoding = encode(_unpack(jpeg))
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


# ------------------------------------------------------------------------------------------------- search
#: What rounding can add to or take from a product of two encodings: whoever is within it may be the nearest.
ROUNDING = 1e-5

#: At most so many products are held at once (16 MB): what is still in the processor's cache is searched quickest.
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class _View:
    """The rows at one moment, to search in: encodings, whose they are, and which don't count any more.

    Attributes:
        base: (b, D), the rows that the index knows; they may lie in a file.
        tail: (t, D), the rows since then.
        people: (b + t,) the number of each row's person.
        alive: (b + t,) False for rows that are gone.
        gone: The numbers of those rows.
        most: How many rows a person has at most.
        index: Finds candidates among ``base``, or None.
    """

    base: np.ndarray
    tail: np.ndarray
    people: np.ndarray
    alive: np.ndarray
    gone: np.ndarray
    most: int
    index: _Index | None

    def search(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of each probe: their numbers (0 for nobody) and distances, both (m, k)."""
        people, distances = np.zeros((len(probes), k), np.int64), np.full((len(probes), k), np.inf, np.float32)
        depth = max(256, 16 * k * self.most)
        by_index = self.index is not None and depth <= len(self.base) // 8
        candidates = self._by_index(probes, k, depth) if by_index else self._by_product(probes, k)
        for i, rows in enumerate(candidates):
            found, far = self._rank(probes[i], rows, k)
            if len(found) < k and by_index:  # too few people among the candidates
                found, far = self._rank(probes[i], next(self._by_product(probes[i : i + 1], k)), k)
            people[i, : len(found)], distances[i, : len(found)] = found, far
        return people, distances

    def _by_product(self, probes: np.ndarray, k: int) -> Iterator[np.ndarray]:
        """For each probe the rows among which its k nearest people are for certain."""
        step = max(1, AT_ONCE // max(len(self.people), 1))
        for start in range(0, len(probes), step):
            products = self._products(probes[start : start + step])  # (step, n)
            if len(self.gone):
                products[:, self.gone] = -np.inf
            yield from self._best(products, k)

    def _products(self, probes: np.ndarray) -> np.ndarray:
        blocks = [block for block in (self.base, self.tail) if len(block)] or [self.tail]
        products = [probes @ block.T for block in blocks]
        return products[0] if len(products) == 1 else np.concatenate(products, axis=1)

    def _best(self, products: np.ndarray, k: int) -> Iterator[np.ndarray]:
        """The rows with the greatest products, a little more than are needed for k people."""
        needed = (k - 1) * self.most + 1
        for row in products:
            yield np.flatnonzero(row >= max(_at_most_the(needed, row) - ROUNDING, -4.0))

    def _by_index(self, probes: np.ndarray, k: int, depth: int) -> Iterator[np.ndarray]:
        """For each probe the candidates of the index, and the best of the rows that it doesn't know."""
        tail = probes @ self.tail.T
        tail[:, self.gone[self.gone >= len(self.base)] - len(self.base)] = -np.inf
        found = zip(self.index.search(probes, depth), self._best(tail, k), strict=True)
        for i, (rows, late) in enumerate(found):
            rows = rows[rows >= 0]
            left = rows[self.alive[rows]]
            if len(left) < len(rows) // 2:  # the index looked at the wrong ones
                yield next(self._by_product(probes[i : i + 1], k))
            else:
                yield np.concatenate([left, late + len(self.base)])

    def _rank(self, probe: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of some rows; distances by subtraction: products lose the digits of small ones."""
        old = rows < len(self.base)
        encodings = np.concatenate([self.base[rows[old]], self.tail[rows[~old] - len(self.base)]])
        rows = np.concatenate([rows[old], rows[~old]])
        distances = np.linalg.norm(encodings - probe, axis=1)
        order = np.argsort(distances, kind="stable")
        people = self.people[rows[order]]
        first = np.sort(np.unique(people, return_index=True)[1])[:k]  # each person once
        return people[first], distances[order[first]]


def _at_most_the(needed: int, row: np.ndarray) -> float:
    """A number that so many of a row reach, near the greatest that they do; -inf if there are fewer."""
    if needed == 1 or len(row) < needed:
        return row.max(initial=-np.inf) if needed == 1 else -np.inf
    if needed <= len(row) // 1024:  # each of the best 64s has one that reaches the last of them: quicker than sorting
        row = row[: len(row) // 64 * 64].reshape(-1, 64).max(axis=1)
    return np.partition(row, len(row) - needed)[len(row) - needed]


class _Rows:
    """The encodings in memory: a base that may lie in a file, and a tail that grows; rows are added and crossed out."""

    def __init__(self, dimension: int, change: int, base: np.ndarray | None = None, people: Any = None) -> None:
        self.base = np.empty((0, dimension), np.float32) if base is None else base
        self.change, self.index, self.saved = change, None, False
        self.tail = np.empty((0, dimension), np.float32)
        self.people = np.array([] if people is None else people, np.int64)
        self.alive = np.ones(len(self.people), bool)
        self.count, self.last = len(self.people), int(self.people.max(initial=0))
        self.most = int(np.unique(self.people, return_counts=True)[1].max(initial=1))
        self.gone = np.empty(0, np.int64)

    @property
    def late(self) -> int:
        """How many rows the index does not know."""
        return self.count - len(self.base)

    def room_for(self, count: int) -> None:
        """Make sure that so many more rows fit."""
        if self.late + count > len(self.tail):
            size = max(self.late + count, min(2 * len(self.tail), len(self.tail) + 100_000), 64)
            tail = np.empty((size, self.tail.shape[1]), np.float32)
            tail[: self.late] = self.tail[: self.late]
            more = len(self.base) + size - len(self.people)
            self.people = np.concatenate([self.people, np.zeros(more, np.int64)])
            self.alive = np.concatenate([self.alive, np.ones(more, bool)])
            self.tail = tail

    def append(self, people: np.ndarray, encodings: np.ndarray) -> None:
        """Add rows."""
        if len(people):
            self.room_for(len(people))
            self.tail[self.late : self.late + len(people)] = encodings
            self.people[self.count : self.count + len(people)] = people
            self.count += len(people)
            self.last = max(self.last, int(people.max()))
            self.most = max(self.most, int(np.unique(people, return_counts=True)[1].max()))

    def cross_out(self, people: np.ndarray) -> None:
        """Rows of these people don't count any more."""
        known = people[people <= self.last]
        if len(known):
            whose = self.people[: self.count]
            self.alive[: self.count][whose == known[0] if len(known) == 1 else np.isin(whose, known)] = False
            self.gone = np.flatnonzero(~self.alive[: self.count])

    def view(self) -> _View:
        """The rows as they are now."""
        count = self.count
        tail = self.tail[: self.late]
        return _View(self.base, tail, self.people[:count], self.alive[:count], self.gone, self.most, self.index)


class _Index:
    """Finds candidates among very many encodings, by 4-bit codes of pairs of numbers (product quantisation).

    It looks at every encoding, at half a byte for every two numbers: 32 MB for a million, where a graph (HNSW) takes
    270 MB and a hundred times as long to build, and misses strangers' nearest. Candidates are compared exactly.
    """

    TRAIN_WITH = 65_536
    ROWS_AT_ONCE = 50_000

    def __init__(self, codes: Any) -> None:
        self.codes = codes

    @classmethod
    def build(cls, encodings: np.ndarray, stop: threading.Event) -> _Index | None:
        """Learn the codes from a sample, and write down every row's; None if it was stopped.

        Args:
            encodings: (n, D).
            stop: Once it is set, the work ends.
        """
        import faiss

        count, dimension = encodings.shape
        codes = faiss.index_factory(dimension, f"PQ{dimension // 2}x4fs", faiss.METRIC_INNER_PRODUCT)
        codes.pq.cp.min_points_per_centroid = 1
        sample = np.sort(np.random.default_rng(0).choice(count, min(count, cls.TRAIN_WITH), replace=False))
        codes.train(np.ascontiguousarray(encodings[sample]))
        for start in range(0, count, cls.ROWS_AT_ONCE):
            if stop.is_set():
                return None
            codes.add(np.ascontiguousarray(encodings[start : start + cls.ROWS_AT_ONCE]))
        return cls(codes)

    def search(self, probes: np.ndarray, depth: int) -> np.ndarray:
        """The rows of ``depth`` candidates for each probe, (m, depth); -1 where there are fewer."""
        return self.codes.search(probes, depth)[1]

    def to_bytes(self) -> bytes:
        """For a file."""
        import faiss

        return faiss.serialize_index(self.codes).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> _Index:
        """From a file."""
        import faiss

        return cls(faiss.deserialize_index(np.frombuffer(data, np.uint8)))


def _can_index(dimension: int) -> bool:
    if dimension % 2:
        return False
    try:
        import faiss  # noqa: F401
    except ImportError:
        warnings.warn("faiss-cpu is not installed: searching among so many people is exact, but slow", stacklevel=2)
        return False
    return True


class _IndexFile:
    """The encodings as one matrix, and their index, in a file beside the database: to open a million at once.

    A header of JSON, the matrix, the number of each row's person, the index. The header says of which database and
    which state it is, and has a checksum of the rest. It is never needed: the database has it all.
    """

    HEADER = 4096

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, view: _View, stamp: Mapping[str, Any], stop: threading.Event, allowed: Callable) -> None:
        """Write it whole, unless ``allowed``, a context that keeps others from writing, says that it is out of date.

        Args:
            view: The rows. Those that are gone are left out.
            stamp: Which database, which state.
            stop: Once it is set, nothing is written.
            allowed: Returns a context manager that yields whether the file may still appear.

        Raises:
            _Abandoned: If there is no file now.
        """
        with ExitStack() as until_named, whole(self.path) as unfinished:
            header = {**stamp, **self._write_rows(unfinished, view, stop)}
            shape = (header["rows"], header["dimension"])
            matrix = np.memmap(unfinished, np.float32, "r", self.HEADER, shape)
            index = _Index.build(matrix, stop)
            del matrix  # or Windows would not rename it
            if index is None:
                raise _Abandoned
            with unfinished.open("r+b") as stream:
                stream.seek(0, os.SEEK_END)
                header["crc32"] = zlib.crc32(_counted(stream, index.to_bytes()), header["crc32"])
                stream.seek(0)
                stream.write(json.dumps(header).encode().ljust(self.HEADER))
                stream.flush()
                os.fsync(stream.fileno())
            if not until_named.enter_context(allowed()):
                raise _Abandoned

    def _write_rows(self, unfinished: Path, view: _View, stop: threading.Event) -> dict[str, int]:
        crc = 0
        with unfinished.open("wb") as stream:
            stream.write(b" " * self.HEADER)
            for block, alive in self._blocks(view):
                crc = zlib.crc32(_counted(stream, block[alive].tobytes()), crc)
                if stop.is_set():
                    raise _Abandoned
            people = view.people[view.alive]
            crc = zlib.crc32(_counted(stream, people.tobytes()), crc)
        return {"rows": len(people), "dimension": view.base.shape[1], "crc32": crc}

    @staticmethod
    def _blocks(view: _View) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows in pieces, each with which of them count."""
        start = 0
        for part in (view.base, view.tail):
            for i in range(0, len(part), 50_000):
                yield part[i : i + 50_000], view.alive[start + i : start + i + len(part[i : i + 50_000])]
            start += len(part)

    def read(self, expected: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, _Index, dict] | None:
        """Matrix (in the file), people, index and header; None if it is missing, damaged, or another database's."""
        try:
            with self.path.open("rb") as stream:
                header = json.loads(stream.read(self.HEADER))
                if not isinstance(header, dict) or any(header.get(key) != expected[key] for key in expected):
                    return None
                rows, dimension, crc = header["rows"], header["dimension"], 0
                while piece := stream.read(1 << 24):
                    crc = zlib.crc32(piece, crc)
                if crc != header["crc32"]:
                    return None
                stream.seek(self.HEADER + rows * dimension * 4)
                people = np.frombuffer(stream.read(rows * 8), np.int64)
                index = _Index.from_bytes(stream.read())
            matrix = np.memmap(self.path, np.float32, "r", self.HEADER, (rows, dimension))
            return np.asarray(matrix), people, index, header
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError):
            return None


class _Abandoned(Exception):  # noqa: N818
    """A file was not written because it would have been out of date."""


def _counted(stream: BinaryIO, data: bytes) -> bytes:
    """Write, and hand back what was written."""
    stream.write(data)
    return data


# ------------------------------------------------------------------------------------------------- SQLite
APPLICATION = 0x46414345  # how SQLite files of this project are marked
SCHEMA = 1
SETTINGS = (
    "synchronous = FULL",  # a change is on the disk before it is acknowledged
    "foreign_keys = ON",
    "secure_delete = ON",  # what is deleted is overwritten
    "cache_size = -32000",
    "journal_size_limit = 67108864",
)
TABLES = """
CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL UNIQUE,
    added REAL NOT NULL, changed REAL NOT NULL, change INTEGER NOT NULL);
CREATE INDEX people_change ON people (change);
CREATE TABLE encodings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    encoding BLOB NOT NULL);
CREATE INDEX encodings_person ON encodings (person);
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL, thumbnail BLOB NOT NULL);
CREATE INDEX photos_person ON photos (person);
CREATE TABLE gone (person INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE INDEX gone_change ON gone (change);
"""
#: change: counts every transaction · pruned: up to which change ``gone`` was emptied · forgets: counts ``forget``
#: · unfinished: 1 while traces of somebody forgotten may be in the files.
STATE = {"network": None, "dimension": None, "change": 0, "pruned": 0, "forgets": 0, "unfinished": 0}


class _SQLite:
    """People in an SQLite file, and their encodings in memory too, kept up to date with what other processes write.

    Every transaction has a number, the change; a person knows the change that touched their encodings last, and
    ``gone`` lists the numbers (never the names) of those removed. So whoever knows the state at change c reads what
    came after c, and nothing else.
    """

    photo_limit: int | None = None
    busy_after = 30.0  # seconds to wait for other processes
    truncate_within = 5.0  # seconds to wait for readers before a forgetting is called unfinished

    def __init__(self, where: str, represent: str) -> None:
        self.where, self.represent = where, represent
        self.path = None if where == ":memory:" else Path(where)
        self.lock = threading.RLock()
        self.rows: _Rows | None = None
        self.seen, self.fresh = None, False
        self.builder, self.stop, self.can_build = None, threading.Event(), True
        self.wanted: str | None = None
        self.network = self.dimension = None
        self.db = None
        self._connect()
        if self.state_of("unfinished"):
            with suppress(NotForgottenYet, BadDatabase):
                self.tidy(within=0.5)

    # ---------------------------------------------------------------------------------------- connections
    def _connect(self) -> None:
        if self.path is not None and (self.path.is_dir() or not self.path.parent.is_dir()):
            what = "is a folder" if self.path.is_dir() else "can't be made: its folder does not exist"
            raise BadArgument(f"where={self.where!r} {what}")
        with self._explained():  # of a file that is no database, too
            self.db = sqlite3.connect(self.where, self.busy_after, isolation_level=None, check_same_thread=False)
            self.process, self.seen, self.fresh = os.getpid(), None, False
            try:
                self._set_up()
            except BaseException:
                self.db.close()
                self.db = None
                raise

    def _set_up(self) -> None:
        self._refuse_others()
        deadline = time.monotonic() + self.busy_after
        while True:  # while another process sets it up too, SQLite says "locked" at once
            try:
                self.db.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        for setting in SETTINGS:
            self.db.execute(f"PRAGMA {setting}").fetchall()
        if not self._is_ours():
            self._make_tables()
        self.name = self.state_of("database")

    def _is_ours(self) -> bool:
        return self.db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION

    def _make_tables(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        if not self._is_ours():  # unless another process was quicker
            for statement in TABLES.split(";"):
                self.db.execute(statement)
            state = {**STATE, "database": uuid.uuid4().hex, "format": SCHEMA}
            self.db.executemany("INSERT INTO state VALUES (?, ?)", state.items())
            self.db.execute(f"PRAGMA application_id = {APPLICATION}")
            self.db.execute(f"PRAGMA user_version = {SCHEMA}")
        self.db.execute("COMMIT")

    def _refuse_others(self) -> None:
        """Refuse files that are not ours before anything is changed in them."""
        tables = self.db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if tables and not self._is_ours():
            raise BadDatabase(f"{self.where} is an SQLite file, but of another program")
        if version > SCHEMA:
            raise BadDatabase(
                f"{self.where} was written by a newer version of this project (format {version}; this one reads "
                f"{SCHEMA}): open it with that"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in this project's words what SQLite complains about."""
        try:
            yield
        except sqlite3.Error as error:
            busy = "locked" in str(error) or "busy" in str(error)
            what = f"has been busy for {self.busy_after:g} s: another process writes" if busy else "can't be used"
            raise BadDatabase(f"{self.where} {what} ({error})") from error

    def _connection(self) -> sqlite3.Connection:
        if self.db is None:
            raise BadDatabase(f"{self.where} is closed")
        if self.process != os.getpid() and self.path is not None:  # a fork must not use its parent's connection
            _ABANDONED.append(self.db)
            self.lock, self.builder, self.stop = threading.RLock(), None, threading.Event()
            self._connect()
        return self.db

    def read(self, statement: str, values: Sequence = ()) -> list[tuple]:
        """The rows of a query."""
        with self.lock, self._explained():
            return self._connection().execute(statement, values).fetchall()

    def state_of(self, key: str) -> Any:
        """An entry of the table ``state``."""
        return self.read("SELECT value FROM state WHERE key = ?", (key,))[0][0]

    def state(self) -> int:
        """The number of the last change."""
        return self.state_of("change")

    def expect(self, network: str | None, dimension: int | None) -> None:
        """Make sure that these are the encodings of this network; note it if nobody has said so yet."""
        self.wanted = network
        self._check_state()
        if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
            with self.change() as change:
                change.note(network, dimension)

    def _check_state(self) -> None:
        """Read which network it is for; another process may have encoded everybody anew."""
        known = dict(self.read("SELECT key, value FROM state WHERE key IN ('network', 'dimension')"))
        if self.wanted and known["network"] and known["network"] != self.wanted:
            raise _other_network(self.where, known["network"], self.wanted)
        self.network, self.dimension = known["network"], known["dimension"]

    # --------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[_Change]:
        """A transaction: all of it is on the disk once this is left, or, after an error or a kill, nothing."""
        with self.lock:
            with self._explained():
                db = self._connection()
                db.execute("BEGIN IMMEDIATE")
            try:
                with self._explained():
                    self._check_state()
                    db.execute("UPDATE state SET value = value + 1 WHERE key = 'change'")
                    change = _Change(self, db, self.state_of("change"))
                    yield change
                    db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                self.network, self.dimension = self._noted()
                if self.rows is not None and self.rows.change > self.state():
                    self.rows = None  # somebody searched within the transaction
                raise
            finally:
                self.fresh = False

    def _noted(self) -> tuple[str | None, int | None]:
        known = dict(self.read("SELECT key, value FROM state WHERE key IN ('network', 'dimension')"))
        return known["network"], known["dimension"]

    def replace_all(
        self, state: int, network: str | None, dimension: int | None, people: Mapping, lost: Sequence[str]
    ) -> bool:
        """New encodings for everybody; False, and nothing, if something was changed since ``state``."""
        self.wanted = None
        with self.change() as change:
            if change.number != state + 1:
                return False
            change.switch(network, dimension)
            for identity, encodings in people.items():
                change.encode(identity, encodings)
            for identity in lost:
                change.drop(identity)
        self.wanted = network
        self._check_state()
        return True

    # --------------------------------------------------------------------------------------------- reading
    def count(self) -> int:
        """How many people."""
        return self.read("SELECT count(*) FROM people")[0][0]

    def names(self) -> Iterator[str]:
        """Their names, in order; read in pieces, so that a million take no memory."""
        last = 0
        while piece := self.read("SELECT id, identity FROM people WHERE id > ? ORDER BY id LIMIT 1000", (last,)):
            yield from (identity for _, identity in piece)
            last = piece[-1][0]

    def encodings(self, identity: str) -> np.ndarray | None:
        """A person's encodings, (n, D), or None."""
        rows = self.read(
            "SELECT encoding FROM encodings JOIN people ON person = people.id WHERE identity = ? ORDER BY encodings.id",
            (identity,),
        )
        return np.stack([np.frombuffer(row[0], "<f4") for row in rows]).astype(np.float32) if rows else None

    def pictures(self, identity: str) -> list[Picture]:
        """A person's photos and thumbnails."""
        return self.read(
            "SELECT jpeg, thumbnail FROM photos JOIN people ON person = people.id"
            " WHERE identity = ? ORDER BY photos.id",
            (identity,),
        )

    def table(self) -> list[tuple]:
        """A row per person."""
        return self.read(
            "SELECT identity, (SELECT count(*) FROM encodings WHERE person = people.id),"
            " (SELECT count(*) FROM photos WHERE person = people.id), added, changed FROM people ORDER BY id"
        )

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Read one and the same state for a while, whatever others write."""
        with self.lock, self._explained():
            if self._connection().in_transaction:  # a change of this thread: it sees its own state
                yield
                return
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                self.db.execute("COMMIT")

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Everybody: name, encodings, when added and changed."""
        last = 0
        while people := self.read(
            "SELECT id, identity, added, changed FROM people WHERE id > ? ORDER BY id LIMIT 500", (last,)
        ):
            ids, encodings = self._encodings_of("person BETWEEN ? AND ?", (people[0][0], people[-1][0]))
            for number, identity, added, changed in people:
                start, stop = np.searchsorted(ids, [number, number + 1])
                yield identity, encodings[start:stop], added, changed
            last = people[-1][0]

    # --------------------------------------------------------------------------------------------- nearest
    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``FaceDatabase.nearest``."""
        attempts = 0
        while True:
            view = self.view()
            if view is None:
                return _nobody(len(probes), k)
            if probes.shape[1] != view.base.shape[1]:
                raise BadArgument(f"encodings has the shape {probes.shape}; (m, {view.base.shape[1]}) is known here")
            people, distances = view.search(probes, k)
            names = self._names_of(np.unique(people[people > 0]))
            if names is not None:
                names[0] = None
                identities = np.array([names[number] for number in people.flat] + [None], object)[:-1]
                return identities.reshape(people.shape), distances
            attempts += 1  # somebody was removed meanwhile
            with self.lock:
                self.fresh = False
                self.rows = self.rows if attempts < 10 else None

    def _names_of(self, numbers: np.ndarray) -> dict[int, str | None] | None:
        """Person's number → name, or None if somebody has been removed meanwhile."""
        names: dict[int, str | None] = {}
        for start in range(0, len(numbers), 500):
            some = numbers[start : start + 500].tolist()
            marks = ",".join("?" * len(some))
            names.update(self.read(f"SELECT id, identity FROM people WHERE id IN ({marks})", some))
        return names if len(names) == len(numbers) else None

    def view(self) -> _View | None:
        """The encodings of this moment, or None if there are none."""
        with self.lock, self._explained():
            db = self._connection()
            version = db.execute("PRAGMA data_version").fetchone()[0]
            if not self.fresh or version != self.seen:
                with self.at_rest():
                    self._check_state()
                    self._catch_up()
                    self.seen, self.fresh = version, True
                    self._build_if_due()
            return self.rows.view() if self.rows is not None else None

    def _catch_up(self) -> None:
        """Bring the rows in memory to the state of the database."""
        state = dict(self.read("SELECT key, value FROM state"))
        if self.dimension is None:
            self.rows = None
        elif self.rows is None or not self._apply(self.rows, state):
            self.rows = self._from_file(state) or self._from_database(state)

    def _apply(self, rows: _Rows, state: Mapping) -> bool:
        """What came since the rows were read; False if it is quicker to read all of them."""
        if rows.change < state["pruned"] or rows.base.shape[1] != state["dimension"]:
            return False
        since = (rows.change,)
        changed = np.array(self.read("SELECT id FROM people WHERE change > ?", since), np.int64).reshape(-1)
        gone = np.array(self.read("SELECT person FROM gone WHERE change > ?", since), np.int64).reshape(-1)
        if len(changed) > 10_000 and len(changed) > rows.count // 2:
            return False
        rows.cross_out(np.concatenate([changed, gone]))
        query = "person IN (SELECT id FROM people WHERE change > ?)"
        rows.append(*self._representing(*self._encodings_of(query, since)))
        rows.change = state["change"]
        return len(rows.gone) <= max(1000, rows.count // 4)

    def _from_file(self, state: Mapping) -> _Rows | None:
        """The rows from the index file and what came since, or None if there is no good one."""
        if self.path is None or not (file := self._index_file()).path.exists():
            return None
        found = file.read({key: value for key, value in self._stamp(state).items() if key != "change"})
        if found is None or not state["pruned"] <= found[3]["change"] <= state["change"]:
            return None
        matrix, people, index, header = found
        rows = _Rows(state["dimension"], header["change"], matrix, people)
        rows.index, rows.saved = index, True
        return rows if self._apply(rows, state) else None

    def _from_database(self, state: Mapping) -> _Rows:
        rows = _Rows(state["dimension"], state["change"])
        rows.room_for(self.read("SELECT count(*) FROM encodings")[0][0])
        last = 0
        while piece := self.read(
            "SELECT max(id) FROM (SELECT id FROM people WHERE id > ? ORDER BY id LIMIT 20000)", (last,)
        ):
            if piece[0][0] is None:
                return rows
            span = (last + 1, piece[0][0])
            rows.append(*self._representing(*self._encodings_of("person BETWEEN ? AND ?", span)))
            last = piece[0][0]
        return rows

    def _encodings_of(self, which: str, values: Sequence) -> tuple[np.ndarray, np.ndarray]:
        """Encodings by person: the number of each one's person (n,), ascending, and the encodings (n, D)."""
        found = self.read(f"SELECT person, encoding FROM encodings WHERE {which} ORDER BY person, id", values)
        people = np.fromiter((row[0] for row in found), np.int64, len(found))
        encodings = np.frombuffer(b"".join([row[1] for row in found]), "<f4").reshape(len(found), self.dimension or 0)
        return people, encodings

    def _representing(self, people: np.ndarray, encodings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows to search among: all encodings, or one per person."""
        if self.represent == "nearest" or not len(people):
            return people, encodings
        single, start, count = np.unique(people, return_index=True, return_counts=True)
        rows = encodings[start].copy()
        for i in np.flatnonzero(count > 1):
            rows[i] = mean_encoding(encodings[start[i] : start[i] + count[i]])
        return single, rows

    # ----------------------------------------------------------------------------------------------- index
    def _index_file(self) -> _IndexFile:
        return _IndexFile(self._index_paths()[0 if self.represent == "mean" else 1])

    def _index_paths(self) -> list[Path]:
        return [self.path.with_name(f"{self.path.name}{ending}") for ending in (".index", ".nearest.index")]

    def _stamp(self, state: Mapping) -> dict[str, Any]:
        """Of which database and state an index is."""
        keys = ("database", "network", "forgets", "change")
        return {"face_database_index": 1, "represent": self.represent, **{key: state[key] for key in keys}}

    def _build_if_due(self) -> None:
        rows = self.rows
        if self.builder is not None or not self.can_build or rows is None or rows.count - len(rows.gone) < INDEX_FROM:
            return
        unsaved = self.path is not None and not rows.saved
        if (rows.index is None or unsaved or rows.late > rows.count // 8) and _can_index(rows.base.shape[1]):
            stamp = self._stamp(dict(self.read("SELECT key, value FROM state")))
            stamp["change"] = rows.change
            self.builder = threading.Thread(target=self._build, args=(rows.view(), stamp), daemon=True)
            self.builder.start()

    def _build(self, view: _View, stamp: Mapping) -> None:
        """In a thread of its own: make the index, and put it in the place of the rows that it was made from."""
        try:
            rows = self._built(view, stamp)
            with self.lock:
                self._take_over(rows)
        except (_Abandoned, FileNotFoundError):
            pass  # the next search begins anew
        except (FaceError, OSError, RuntimeError, MemoryError) as error:
            if not self.stop.is_set():
                self.can_build = False
                warnings.warn(f"no search index of {self.where} could be made: {error}", stacklevel=2)
        finally:
            with self.lock:
                self.builder, self.fresh = None, False  # so that the next search looks whether another one is due

    def _built(self, view: _View, stamp: Mapping) -> _Rows:
        if self.path is not None:
            file, what = self._index_file(), {key: value for key, value in stamp.items() if key != "change"}
            found = file.read(what)  # another process may have made it already
            if found is None or not stamp["change"] <= found[3]["change"] <= self.state():
                file.write(view, stamp, self.stop, lambda: self._still(stamp))
                found = file.read(what)
            if found is None:
                raise _Abandoned  # somebody was forgotten meanwhile, and the file with them
            rows = _Rows(view.base.shape[1], found[3]["change"], found[0], found[1])
            rows.index, rows.saved = found[2], True
            return rows
        base = np.concatenate([view.base, view.tail])[view.alive]
        rows = _Rows(view.base.shape[1], stamp["change"], base, view.people[view.alive])
        rows.index = _Index.build(base, self.stop)
        if rows.index is None:
            raise _Abandoned
        return rows

    @contextmanager
    def _still(self, stamp: Mapping) -> Iterator[bool]:
        """Keep others from writing, and say whether nobody has been forgotten since the stamp."""
        with self.lock:
            if self.db is None:
                yield False
                return
            self.db.execute("BEGIN IMMEDIATE")
            try:
                state = dict(self.read("SELECT key, value FROM state"))
                yield all(state[key] == stamp[key] for key in ("database", "network", "forgets"))
            finally:
                self.db.execute("ROLLBACK")

    def _take_over(self, rows: _Rows) -> None:
        """Use new rows, after what came since they were read."""
        if self.db is not None:
            with self.at_rest():
                self._check_state()
                if self._apply(rows, dict(self.read("SELECT key, value FROM state"))):
                    self.rows = rows

    def settle(self, timeout: float | None = None) -> bool:
        """Wait for the index."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.view() is not None and (builder := self.builder) is not None:
            builder.join(None if deadline is None else max(deadline - time.monotonic(), 0))
            if builder.is_alive():
                break
        return self.rows is not None and self.rows.index is not None

    # ------------------------------------------------------------------------------------------ forgetting
    def forget(self, identity: str) -> bool:
        """As ``FaceDatabase.forget``; False if nobody has that name."""
        self._halt()
        with self.lock:
            with self.change() as change:
                encodings = self.encodings(identity)
                if encodings is None:
                    return False
                traces = [identity.encode(), *(_piece(e.astype("<f4").tobytes()) for e in encodings)]
                traces += [_piece(data, at) for both in self.pictures(identity) for data in both for at in (1, 2, 3)]
                change.drop(identity)
                change.forgets()
            self._erase(traces, self.truncate_within)
        return True

    def tidy(self, within: float | None = None) -> None:
        """As ``FaceDatabase.tidy``."""
        self._halt()
        with self.lock:
            with self.change() as change:
                change.prune()
            self._erase(None, self.truncate_within if within is None else within)

    def _halt(self) -> None:
        """Stop building an index: what it writes may be out of date in a moment."""
        self.stop.set()
        if (builder := self.builder) is not None:
            builder.join()
        self.stop = threading.Event()

    def _erase(self, traces: list[bytes] | None, within: float) -> None:
        """Leave nothing behind of what was deleted.

        Args:
            traces: Bytes that must not be in the file any more; if none of them is, it need not be written anew.
            within: Seconds to wait for other processes that read.
        """
        if self.path is None:
            self._vacuum()
            return
        try:
            self._remove_index_files()
            self._truncate(within)
            if traces is None or self._holds_any(traces):
                self._vacuum()
                self._truncate(within)
        except (OSError, sqlite3.OperationalError) as error:
            raise NotForgottenYet(
                f"{self.where}: removed, but a trace may be left in its files, since another process uses them just "
                f"now ({error}); tidy(), or opening it again, completes it"
            ) from error
        with self.change() as change:
            change.finished()
        with suppress(OSError, sqlite3.OperationalError):
            self._truncate(0.1)

    def _remove_index_files(self) -> None:
        for path in self._index_paths():
            for file in (path, *path.parent.glob(f".unfinished_*_{path.name}")):
                file.unlink(missing_ok=True)
        if self.rows is not None:
            self.rows.saved = False

    def _truncate(self, within: float) -> None:
        """Bring everything from the WAL into the database, and empty it."""
        self.db.execute(f"PRAGMA busy_timeout = {int(within * 1000)}").fetchall()
        try:
            busy = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise sqlite3.OperationalError("the WAL is being read")
        finally:
            self.db.execute(f"PRAGMA busy_timeout = {int(self.busy_after * 1000)}").fetchall()

    def _vacuum(self) -> None:
        self.db.execute("VACUUM")
        self.fresh = False

    def _holds_any(self, traces: list[bytes]) -> bool:
        with self.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(trace) >= 0 for trace in traces)

    def close(self) -> None:
        """Stop building, and close the connection; SQLite empties the WAL when the last one does."""
        self._halt()
        with self.lock:
            if self.db is not None and self.process == os.getpid():
                self.db.close()
            self.db = self.rows = None


_ABANDONED: list = []  # connections of a parent process, which its child may neither use nor close


def _piece(data: bytes, quarter: int = 2) -> bytes:
    """64 bytes of something, by which to find it."""
    start = max(len(data) * quarter // 4 - 32, 0)
    return data[start : start + 64]


def _nobody(m: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((m, k), None, object), np.full((m, k), np.inf, np.float32)


def _other_network(where: str, known: str, given: str) -> OtherNetwork:
    return OtherNetwork(
        f"{where} holds encodings of {_short(known)}, and {_short(given)} can't compare them: load that network, or "
        f"open it without a network and encode everybody anew with reencode()"
    )


@dataclass
class _Change:
    """What can be done within a transaction of SQLite."""

    engine: _SQLite
    db: sqlite3.Connection
    number: int

    @property
    def dimension(self) -> int | None:
        """D, once it is known."""
        return self.engine.dimension

    def set(self, key: str, value: Any) -> None:
        """Set an entry of ``state``."""
        self.db.execute("UPDATE state SET value = ? WHERE key = ?", (value, key))

    def note(self, network: str | None, dimension: int | None) -> None:
        """Note the network and D where nothing is noted yet, and refuse others."""
        engine = self.engine
        if network and engine.network and network != engine.network:
            raise _other_network(engine.where, engine.network, network)
        if dimension and engine.dimension and dimension != engine.dimension:
            raise BadArgument(f"encodings of {dimension} numbers; {engine.where} holds such of {engine.dimension}")
        self.switch(network or engine.network, dimension or engine.dimension)

    def switch(self, network: str | None, dimension: int | None) -> None:
        """Note another network and D."""
        for key, value in (("network", network), ("dimension", dimension)):
            if getattr(self.engine, key) != value:
                self.set(key, value)
        self.engine.network, self.engine.dimension = network, dimension

    def number_of(self, identity: str) -> int | None:
        """A person's number."""
        found = self.db.execute("SELECT id FROM people WHERE identity = ?", (identity,)).fetchall()
        return found[0][0] if found else None

    def has(self, identity: str) -> bool:
        """Whether somebody has that name."""
        return self.number_of(identity) is not None

    def put(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture] = (),
        replace: bool = False,
        times: tuple[float, float] | None = None,
    ) -> None:
        """Add encodings and photos to a person, old or new, in place of the earlier ones or beside them."""
        if self.dimension != encodings.shape[1]:
            self.note(None, encodings.shape[1])
        added, changed = times or (time.time(),) * 2
        person = self.db.execute(
            "INSERT INTO people (identity, added, changed, change) VALUES (?, ?, ?, ?) ON CONFLICT (identity)"
            " DO UPDATE SET changed = excluded.changed, change = excluded.change RETURNING id",
            (identity, added, changed, self.number),
        ).fetchall()[0][0]
        if replace:
            self.db.execute("DELETE FROM encodings WHERE person = ?", (person,))
            self.db.execute("DELETE FROM photos WHERE person = ?", (person,))
        self._insert(person, encodings)
        rows = [(person, *both) for both in pictures]
        self.db.executemany("INSERT INTO photos (person, jpeg, thumbnail) VALUES (?, ?, ?)", rows)

    def encode(self, identity: str, encodings: np.ndarray) -> None:
        """Other encodings for a person, whose photos stay."""
        person = self.number_of(identity)
        self.db.execute("UPDATE people SET change = ?, changed = ? WHERE id = ?", (self.number, time.time(), person))
        self.db.execute("DELETE FROM encodings WHERE person = ?", (person,))
        self._insert(person, encodings)

    def _insert(self, person: int, encodings: np.ndarray) -> None:
        rows = [(person, encoding.astype("<f4").tobytes()) for encoding in encodings]
        self.db.executemany("INSERT INTO encodings (person, encoding) VALUES (?, ?)", rows)

    def drop(self, identity: str) -> bool:
        """Remove a person; False if there is none."""
        person = self.number_of(identity)
        if person is not None:
            self.db.execute("DELETE FROM people WHERE id = ?", (person,))
            self.db.execute("INSERT INTO gone VALUES (?, ?)", (person, self.number))
        return person is not None

    def rename(self, old: str, new: str) -> None:
        """Another name for a person."""
        values = (new, time.time(), old)
        self.db.execute("UPDATE people SET identity = ?, changed = ? WHERE identity = ?", values)

    def forgets(self) -> None:
        """Note that files hold traces that must go: index files of earlier states are refused from now on."""
        self.db.execute("UPDATE state SET value = value + 1 WHERE key = 'forgets'")
        self.set("unfinished", 1)

    def finished(self) -> None:
        """Note that they are gone."""
        self.set("unfinished", 0)

    def prune(self) -> None:
        """Empty the list of the removed; whoever has not read it reads everybody anew."""
        self.db.execute("DELETE FROM gone")
        self.set("pruned", self.number)


# ------------------------------------------------------------------------------------------------- Milvus
class _Milvus:
    """The same over a Milvus server, or its engine in a file (milvus-lite): one entity per encoding.

    A person is addressed by the SHA-256 of the name, so that no name is ever part of an expression. Milvus has no
    transactions: a change of several people that fails half-way is half done, and two processes that write the same
    person at once may both succeed. Photos are kept smaller, at most 45 kB.
    """

    photo_limit: int | None = 45_000
    FIELDS = ("who", "number", "identity", "photo", "thumbnail", "added", "changed")

    def __init__(self, where: str, represent: str, collection: str = "people", **connection: Any) -> None:
        self.where, self.represent, self.collection = where, represent, collection
        if not isinstance(collection, str) or not re.fullmatch(r"[A-Za-z_]\w{0,99}", collection, re.ASCII):
            raise BadArgument(f"collection={collection!r:.80}: letters, digits and _")
        self.wanted = self.network = self.dimension = self.people = None
        try:
            from pymilvus import DataType, MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise BadArgument(f"{where} is Milvus, which needs: pip install pymilvus milvus-lite ({error})") from error
        self.types, self.failures = DataType, (MilvusException, ConnectionError, OSError)
        with self._explained():
            self.client = MilvusClient(where.removeprefix("milvus:"), **connection)
            if not self.client.has_collection(f"{collection}_state"):
                self._make(f"{collection}_state", 2, {"key": 64, "value": 4096}, primary="key")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self.failures as error:
            raise BadDatabase(f"{self.where} can't be used: {error}") from error

    def _make(self, name: str, dimension: int, texts: Mapping[str, int], primary: str | None = None) -> None:
        """A collection with these text fields; the engine numbers its entities unless there is a primary one."""
        schema = self.client.create_schema(auto_id=primary is None, enable_dynamic_field=False)
        if primary is None:
            schema.add_field("id", self.types.INT64, is_primary=True)
            schema.add_field("number", self.types.INT64)
            schema.add_field("added", self.types.DOUBLE)
            schema.add_field("changed", self.types.DOUBLE)
        for text, length in texts.items():
            schema.add_field(text, self.types.VARCHAR, max_length=length, is_primary=text == primary)
        schema.add_field("encoding", self.types.FLOAT_VECTOR, dim=dimension)
        index = self.client.prepare_index_params()
        index.add_index("encoding", index_type="AUTOINDEX", metric_type="L2")
        self.client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")

    # ---------------------------------------------------------------------------------------------- state
    def _check_state(self) -> None:
        found = self.client.query(f"{self.collection}_state", filter='key == "state"', output_fields=["value"])
        state = json.loads(found[0]["value"]) if found else {"network": None, "dimension": None, "people": None}
        if state.get("format", 1) > SCHEMA:
            raise BadDatabase(f"{self.where} was written by a newer version of this project: open it with that")
        if self.wanted and state["network"] and state["network"] != self.wanted:
            raise _other_network(self.where, state["network"], self.wanted)
        self.network, self.dimension, self.people = state["network"], state["dimension"], state["people"]

    def _set_state(self, network: str | None, dimension: int | None, people: str | None) -> None:
        value = json.dumps({"format": SCHEMA, "network": network, "dimension": dimension, "people": people})
        self.client.upsert(f"{self.collection}_state", [{"key": "state", "value": value, "encoding": [0.0, 1.0]}])
        self.network, self.dimension, self.people = network, dimension, people

    def _new_people(self, dimension: int) -> str:
        """A new collection of people, empty."""
        name = f"{self.collection}_{uuid.uuid4().hex[:8]}"
        self._make(name, dimension, {"who": 64, "identity": 4 * MAX_NAME, "photo": 65_535, "thumbnail": 65_535})
        return name

    def expect(self, network: str | None, dimension: int | None) -> None:
        """As SQLite's."""
        self.wanted = network
        with self._explained():
            self._check_state()
            if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
                self.note(network, dimension)

    def note(self, network: str | None, dimension: int | None) -> None:
        """As SQLite's."""
        if network and self.network and network != self.network:
            raise _other_network(self.where, self.network, network)
        if dimension and self.dimension and dimension != self.dimension:
            raise BadArgument(f"encodings of {dimension} numbers; {self.where} holds such of {self.dimension}")
        dimension = dimension or self.dimension
        people = self.people or (self._new_people(dimension) if dimension else None)
        self._set_state(network or self.network, dimension, people)

    def state(self) -> str | None:
        """Something that another ``replace_all`` changes."""
        return self.people

    # -------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[_Milvus]:
        """Changes, one after the other."""
        with self._explained():
            self._check_state()
            yield self

    def has(self, identity: str) -> bool:
        """Whether somebody has that name."""
        return bool(self._rows(identity, ["id"]))

    def put(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture] = (),
        replace: bool = False,
        times: tuple[float, float] | None = None,
    ) -> None:
        """Add encodings and photos to a person; the photo lies with the encoding of the same place."""
        if self.dimension != encodings.shape[1]:
            self.note(None, encodings.shape[1])
        old = self._rows(identity, ["id", "number", "added"])
        first = 0 if replace or not old else max(row["number"] for row in old) + 1
        added = min((row["added"] for row in old), default=None)
        added, changed = times or (added or time.time(), time.time())
        self.client.insert(self.people, self._entities(identity, encodings, pictures, first, added, changed))
        if replace and old:
            self.client.delete(self.people, ids=[row["id"] for row in old])

    def _entities(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture],
        first: int,
        added: float,
        changed: float,
    ) -> list[dict]:
        pictures = [_pack(jpeg, self.photo_limit) for jpeg, _ in pictures]
        if len(pictures) > len(encodings):
            raise BadArgument(
                f"{identity!r} has {len(pictures)} photos and {len(encodings)} encodings; Milvus keeps one each"
            )
        texts = [tuple(map(_to_text, both)) for both in pictures] + [("", "")] * (len(encodings) - len(pictures))
        return [
            dict(zip(self.FIELDS, (_who(identity), first + i, identity, *texts[i], added, changed), strict=True))
            | {"encoding": encoding}
            for i, encoding in enumerate(encodings)
        ]

    def drop(self, identity: str) -> bool:
        """Remove a person; False if there is none."""
        old = self._rows(identity, ["id"])
        if old:
            self.client.delete(self.people, ids=[row["id"] for row in old])
        return bool(old)

    def rename(self, old: str, new: str) -> None:
        """Another name for a person."""
        rows = sorted(self._rows(old, ["id", *self.FIELDS, "encoding"]), key=lambda row: row["number"])
        ids = [row.pop("id") for row in rows]
        fresh = [{**row, "who": _who(new), "identity": new, "changed": time.time()} for row in rows]
        self.client.insert(self.people, fresh)
        self.client.delete(self.people, ids=ids)

    def replace_all(
        self, state: Any, network: str | None, dimension: int | None, people: Mapping, lost: Sequence[str]
    ) -> bool:
        """New encodings for everybody: into a collection of its own, which then takes the old one's place."""
        with self._explained():
            self.wanted = None
            self._check_state()
            if self.people != state or set(self.names()) != {*people, *lost}:
                return False
            old, new = self.people, self._new_people(dimension) if dimension else None
            for identity, encodings in people.items():
                added = min(row["added"] for row in self._rows(identity, ["added"]))
                entities = self._entities(identity, encodings, self.pictures(identity), 0, added, time.time())
                self.client.insert(new, entities)
            self._set_state(network, dimension, new)
            self.wanted = network
            if old:
                self.client.drop_collection(old)
        return True

    # -------------------------------------------------------------------------------------------- reading
    def _rows(self, identity: str, fields: Sequence[str]) -> list[dict]:
        if not self.people:
            return []
        found = self.client.query(self.people, filter=f'who == "{_who(identity)}"', output_fields=list(fields))
        return [{field: row[field] for field in fields} for row in found]

    def _everybody(self, fields: Sequence[str], which: str = "number >= 0") -> Iterator[dict]:
        if self.people:
            rows = self.client.query_iterator(self.people, batch_size=1000, filter=which, output_fields=list(fields))
            while piece := rows.next():
                yield from piece
            rows.close()

    def count(self) -> int:
        """How many people."""
        with self._explained():
            self._check_state()
            if not self.people:
                return 0
            found = self.client.query(self.people, filter="number == 0", output_fields=["count(*)"])
            return int(found[0]["count(*)"])

    def names(self) -> Iterator[str]:
        """Their names."""
        with self._explained():
            self._check_state()
            yield from (row["identity"] for row in self._everybody(["identity"], "number == 0"))

    def encodings(self, identity: str) -> np.ndarray | None:
        """A person's encodings, or None."""
        with self._explained():
            self._check_state()
            rows = sorted(self._rows(identity, ["number", "encoding"]), key=lambda row: row["number"])
        return np.array([row["encoding"] for row in rows], np.float32) if rows else None

    def pictures(self, identity: str) -> list[Picture]:
        """A person's photos and thumbnails."""
        with self._explained():
            rows = sorted(self._rows(identity, ["number", "photo", "thumbnail"]), key=lambda row: row["number"])
        return [(_from_text(row["photo"]), _from_text(row["thumbnail"])) for row in rows if row["photo"]]

    def table(self) -> list[tuple]:
        """A row per person."""
        with self._explained():
            self._check_state()
            people: dict[str, list] = {}
            for row in self._everybody(["identity", "added", "changed", "thumbnail"]):
                person = people.setdefault(row["identity"], [row["identity"], 0, 0, row["added"], row["changed"]])
                person[1] += 1
                person[2] += bool(row["thumbnail"])
                person[4] = max(person[4], row["changed"])
        return [tuple(person) for person in people.values()]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Milvus shows what there is."""
        with self._explained():
            yield

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Everybody: name, encodings, when added and changed."""
        for identity, _, _, added, changed in self.table():
            yield identity, self.encodings(identity), added, changed

    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``FaceDatabase.nearest``: Milvus finds candidates, and here they are compared exactly."""
        with self._explained():
            self._check_state()
            identities, distances = _nobody(len(probes), k)
            if self.people and probes.shape[1] != self.dimension:
                raise BadArgument(f"encodings has the shape {probes.shape}; (m, {self.dimension}) is known here")
            for i, probe in enumerate(probes if self.people else ()):
                found = sorted(self._candidates(probe, k), key=lambda both: both[1])[:k]
                identities[i, : len(found)] = [identity for identity, _ in found]
                distances[i, : len(found)] = [distance for _, distance in found]
        return identities, distances

    def _candidates(self, probe: np.ndarray, k: int) -> list[tuple[str, float]]:
        """At least k people, if there are so many, with their distances."""
        limit = 4 * k + 32
        while True:
            limit = min(limit, 16_384)  # Milvus gives no more
            found = self.client.search(
                self.people, data=[probe.tolist()], limit=limit, output_fields=["who", "identity", "encoding"]
            )[0]
            people: dict[str, list] = {}
            for hit in found:
                row = hit["entity"]
                people.setdefault(row["who"], [row["identity"], []])[1].append(row["encoding"])
            if len(people) >= k or len(found) < limit or limit == 16_384:
                break
            limit *= 2
        if self.represent == "mean":
            self._complete(people)
        return [(identity, self._distance(probe, np.array(known, np.float32))) for identity, known in people.values()]

    def _complete(self, people: Mapping[str, list]) -> None:
        """All encodings of these people: some may not be among the candidates."""
        for person in people.values():
            person[1] = []
        who = ", ".join(f'"{key}"' for key in people)
        for row in self.client.query(self.people, filter=f"who in [{who}]", output_fields=["who", "encoding"]):
            people[row["who"]][1].append(row["encoding"])

    def _distance(self, probe: np.ndarray, known: np.ndarray) -> float:
        known = mean_encoding(known)[None] if self.represent == "mean" else known
        return float(np.linalg.norm(known - probe, axis=1).min())

    # ---------------------------------------------------------------------------------------- housekeeping
    def forget(self, identity: str) -> bool:
        """As SQLite's; the engine removes what was deleted when it compacts its files, which it is asked to do."""
        with self.change():
            known = self.drop(identity)
        if known:
            self.tidy()
        return known

    def tidy(self) -> None:
        """Ask the engine to compact its files."""
        with self._explained():
            for name in filter(None, (self.people, f"{self.collection}_state")):
                self.client.flush(name)
                self.client.compact(name)

    def settle(self, timeout: float | None = None) -> bool:
        """The engine indexes by itself."""
        return True

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "client"):
            self.client.close()


def _who(identity: str) -> str:
    """A key that is safe in any expression."""
    return hashlib.sha256(identity.encode()).hexdigest()


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text)


# ------------------------------------------------------------------------------- a file to take elsewhere
FORMAT, VERSION = "face-database", 1
MAX_PEOPLE = 5_000_000
MAX_MANIFEST = 2_000_000_000  # bytes
MAX_RATIO = 100  # how far a member may be compressed; JSON of names and digests comes nowhere near
MAX_JPEG = 20_000_000  # bytes
PHOTO_NAME = re.compile(r"photos/[1-9]\d{0,8}\.jpg", re.ASCII)


def _export(engine: Any, path: Path) -> None:
    """As ``FaceDatabase.export_to``."""
    if path.is_dir():
        raise BadArgument(f"path={str(path)!r} is a folder; a file is needed")
    with engine.at_rest(), whole(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        people, rows = _write_encodings(engine, archive)
        numbers = itertools.count(1)
        for person in people:
            person["photos"] = [
                _write_photo(archive, next(numbers), jpeg) for jpeg, _ in engine.pictures(person["identity"])
            ]
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "network": engine.network,
            "dimension": engine.dimension,
            "encodings": rows,
            "people": people,
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=0)
        archive.writestr("manifest.json", text.encode(), zipfile.ZIP_DEFLATED)


def _write_encodings(engine: Any, archive: zipfile.ZipFile) -> tuple[list[dict], int]:
    """Write all encodings as one array; who has how many of its rows, and how many there are."""
    total = sum(len(encodings) for _, encodings, _, _ in engine.entries())
    header = io.BytesIO()
    shape = (total, engine.dimension or 0)
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    people = []
    with archive.open("encodings.npy", "w", force_zip64=True) as stream:
        stream.write(header.getvalue())
        for identity, encodings, added, changed in engine.entries():
            data = encodings.astype("<f4").tobytes()
            stream.write(data)
            sha256 = hashlib.sha256(data).hexdigest()
            people.append(
                {
                    "identity": identity,
                    "encodings": len(encodings),
                    "sha256": sha256,
                    "added": added,
                    "changed": changed,
                }
            )
    return people, total


def _write_photo(archive: zipfile.ZipFile, number: int, jpeg: bytes) -> dict[str, str]:
    name = f"photos/{number}.jpg"
    archive.writestr(name, jpeg)
    return {"file": name, "sha256": hashlib.sha256(jpeg).hexdigest()}


def _import(engine: Any, path: Path, on_conflict: str) -> int:
    """As ``FaceDatabase.import_from``."""
    if not path.is_file():
        raise BadArgument(f"path={str(path)!r}: there is no such file")
    try:
        with zipfile.ZipFile(path) as file:
            archive = _Archive(path, file)
            archive.check()
            return _take_in(engine, archive, on_conflict)
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        UnicodeError,
    ) as error:
        raise BadArgument(f"{path} is damaged, or no ZIP file: {error}") from error


def _take_in(engine: Any, archive: _Archive, on_conflict: str) -> int:
    count = 0
    with engine.change() as change:
        archive.check_network(engine)
        for person in archive.people:
            if change.has(person.identity):
                if on_conflict == "refuse":
                    raise archive.error(f"{person.identity!r} is in the database already (on_conflict='refuse')")
                if on_conflict == "skip":
                    continue
            pictures = [archive.picture(photo) for photo in person.photos]
            change.put(person.identity, archive.encodings_of(person), pictures, True, (person.added, person.changed))
            count += 1
        if count:
            change.note(archive.network, None)
    return count


@dataclass(frozen=True)
class _Person:
    """What a manifest says about a person."""

    identity: str
    start: int
    stop: int
    sha256: str
    added: float
    changed: float
    photos: list[dict]


class _Archive:
    """A file of ``export_to`` from anybody: nothing in it is believed before it is checked, and nothing is unpacked.

    Members are read by number, never written anywhere; sizes are checked before anything is unpacked, and again by what
    comes out; arrays are read as plain numbers.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self.file = path, file
        self.people: list[_Person] = []
        self.network: str | None = None
        self.members: dict[str, zipfile.ZipInfo] = {}

    def error(self, what: str) -> BadArgument:
        """What is wrong, and where; nothing was taken in."""
        return BadArgument(f"{self.path}: {what}; nothing was taken in")

    def check(self) -> None:
        """Check all of it."""
        self._check_members()
        manifest = self._manifest()
        self._read_people(manifest["people"])
        self._read_encodings(manifest)
        named = [photo["file"] for person in self.people for photo in person.photos]
        if len(set(named)) < len(named) or {*named, "manifest.json", "encodings.npy"} != set(self.members):
            raise self.error("the photos are not those of the manifest")
        for person in self.people:
            check_encodings(self.encodings_of(person), None, f"{self.path}: the encoding of {person.identity!r}")
            for photo in person.photos:
                self.picture(photo)

    def check_network(self, engine: Any) -> None:
        """Refuse encodings of another network, or of another size."""
        if engine.network and self.people and self.network != engine.network:
            raise _other_network(engine.where, engine.network, self.network or "an unknown network")
        if engine.network is None and self.network and self.people and engine.count():
            raise self.error(f"its encodings are of {_short(self.network)}, and nobody said whose the database's are")
        if engine.dimension and self.people and engine.dimension != self.array.shape[1]:
            raise self.error(f"encodings of {self.array.shape[1]} numbers; the database has such of {engine.dimension}")

    # -------------------------------------------------------------------------------------------- members
    def _check_members(self) -> None:
        size = self.path.stat().st_size
        for member in self.file.infolist():
            name = member.orig_filename
            if name not in ("manifest.json", "encodings.npy") and not PHOTO_NAME.fullmatch(name):
                raise self.error(f"a member is called {name!r:.80}, which none of such a file is")
            if name in self.members:
                raise self.error(f"{name} is in it twice")
            self._check_member(member, size)
            self.members[name] = member
        if sum(member.compress_size for member in self.members.values()) > size:
            raise self.error("its members overlap")
        for name in ("manifest.json", "encodings.npy"):
            if name not in self.members:
                raise self.error(f"{name} is missing")

    def _check_member(self, member: zipfile.ZipInfo, size: int) -> None:
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(f"{member.filename} is encrypted, or compressed in an unusual way")
        if member.file_size > MAX_RATIO * max(member.compress_size, 1) or member.compress_size > size:
            raise self.error(
                f"{member.filename} claims {member.file_size:,} bytes packed into {member.compress_size:,}"
            )
        limit = {"manifest.json": MAX_MANIFEST, "encodings.npy": MAX_ARRAY}.get(member.filename, MAX_JPEG)
        if member.file_size > limit:
            raise self.error(f"{member.filename} has {member.file_size:,} bytes; {limit:,} at most")

    def read(self, name: str) -> bytes:
        """A member, no longer than it says, with the right checksum."""
        member = self.members[name]
        with self.file.open(member) as stream:
            data = stream.read(member.file_size + 1)
        if len(data) != member.file_size:
            raise self.error(f"{name} has {len(data):,} bytes or more; it says {member.file_size:,}")
        return data

    def _manifest(self) -> dict:
        try:
            manifest = json.loads(self.read("manifest.json").decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise self.error(f"manifest.json is no JSON: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise self.error(f"manifest.json does not say that its format is {FORMAT!r}")
        if manifest.get("version") != VERSION:
            raise self.error(f"it is of version {manifest.get('version')!r:.20}; this project reads {VERSION}")
        network, people = manifest.get("network"), manifest.get("people")
        if not (network is None or (isinstance(network, str) and 0 < len(network) <= 300)):
            raise self.error(f"manifest.json: network={network!r:.80} is no fingerprint")
        if not isinstance(people, list) or len(people) > MAX_PEOPLE:
            raise self.error(f"manifest.json: people must be a list of at most {MAX_PEOPLE:,}")
        self.network = network
        return manifest

    def _read_people(self, people: list) -> None:
        names: set[str] = set()
        start = 0
        for number, entry in enumerate(people):
            person = self._read_person(entry, number, start)
            if person.identity in names:
                raise self.error(f"people[{number}]: there is another {person.identity!r}")
            names.add(person.identity)
            self.people.append(person)
            start = person.stop

    def _read_person(self, entry: Any, number: int, start: int) -> _Person:
        where = f"people[{number}]"
        kinds = {
            "identity": str,
            "encodings": int,
            "sha256": str,
            "added": float | int,
            "changed": float | int,
            "photos": list,
        }
        for key, kind in kinds.items():
            value = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self.error(f"{where}: {key} is missing, or no {getattr(kind, '__name__', 'number')}")
        if not 1 <= entry["encodings"] <= MAX_PEOPLE:
            raise self.error(f"{where}: encodings={entry['encodings']!r:.40}, how many there are, must be 1 or more")
        if not all(0 <= entry[key] < 1e11 for key in ("added", "changed")):  # seconds, until the year 5138
            raise self.error(f"{where}: added or changed is no time")
        for photo in entry["photos"]:
            if not isinstance(photo, dict) or not all(isinstance(photo.get(key), str) for key in ("file", "sha256")):
                raise self.error(f"{where}: a photo without file or sha256")
            if photo["file"] not in self.members or not PHOTO_NAME.fullmatch(photo["file"]):
                raise self.error(f"{where}: {photo['file']!r:.80} is missing")
        try:
            name = check_name(entry["identity"])
        except BadArgument as error:
            raise self.error(f"{where}: {error}") from error
        stop = start + entry["encodings"]
        times = float(entry["added"]), float(entry["changed"])
        return _Person(name, start, stop, entry["sha256"], *times, entry["photos"])

    # ---------------------------------------------------------------------------------------------- content
    def _read_encodings(self, manifest: Mapping) -> None:
        """The array, from a header that is checked before any memory is given to it."""
        stream = io.BytesIO(self.read("encodings.npy"))
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version of the format")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=1000)
        except (ValueError, TypeError, SyntaxError, RecursionError) as error:
            raise self.error(f"encodings.npy is no array of NumPy: {error}") from error
        rows = self.people[-1].stop if self.people else 0
        if dtype.str != "<f4" or fortran or len(shape) != 2:
            raise self.error(f"encodings.npy is {dtype} {shape}; (n, D) of '<f4' is expected")
        if shape[0] != rows or manifest.get("encodings") != rows or shape[1] != (manifest.get("dimension") or 0):
            raise self.error(
                f"encodings.npy has the shape {shape}; the manifest says ({rows}, {manifest.get('dimension')})"
            )
        data = stream.getbuffer()[stream.tell() :]
        if len(data) != shape[0] * shape[1] * 4 or (rows and not shape[1]):
            raise self.error(f"encodings.npy has {len(data):,} bytes for the shape {shape}")
        self.array = np.frombuffer(data, "<f4").reshape(shape)

    def encodings_of(self, person: _Person) -> np.ndarray:
        """A person's encodings (n, D), as their checksum says."""
        encodings = self.array[person.start : person.stop]
        if hashlib.sha256(encodings.tobytes()).hexdigest() != person.sha256:
            raise self.error(f"the encodings of {person.identity!r} are damaged (wrong SHA-256)")
        return encodings.astype(np.float32)

    def picture(self, photo: Mapping[str, str]) -> Picture:
        """A photo and its thumbnail; the bytes are those of its checksum, and a picture."""
        data = self.read(photo["file"])
        if hashlib.sha256(data).hexdigest() != photo["sha256"]:
            raise self.error(f"{photo['file']} is damaged (wrong SHA-256)")
        try:
            return _pack(data, name=photo["file"])
        except UnreadableImage as error:
            raise self.error(str(error)) from error


MAX_ARRAY = 20_000_000_000  # bytes


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")
