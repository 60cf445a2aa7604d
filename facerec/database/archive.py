"""People in a file to take elsewhere: a ZIP of open formats, written by ``export_to`` and read by ``import_from``.

    manifest.json    who: name, how many encodings, times, and a checksum of everything
    encodings.npy    (n, D) float32, all encodings one below the other
    photos/1.jpg …   numbered: no file is called after a person

A file that is read need not be trusted: it is imported as a whole, or not at all.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from facerec._files import whole
from facerec.database.engine import Addition, Engine
from facerec.database.entries import OtherNetwork, check_encodings, is_fingerprint, other_network, short
from facerec.database.names import as_looked_up, spelled_out
from facerec.database.pictures import Picture, pack, unpack
from facerec.errors import BadArgument, UnreadableImage

FORMAT, VERSION = "face-database", 1
MAX_PEOPLE = 5_000_000
MANIFEST = (100_000, 1_200, 200)  # bytes at most: in all, and for each encoding and photo (a name may have 800)
MAX_ARRAY = 20_000_000_000  # bytes
MAX_HEADER = 1000  # bytes before the numbers of the array
MAX_RATIO = 30  # how far a member may be compressed; JSON of names and digests comes nowhere near
MAX_JPEG = 20_000_000  # bytes
IN_MEMORY = 100_000_000  # bytes of packed pictures; more lie in a temporary file without a name
KINDS = {str: "text", int: "a whole number", float | int: "a number", list: "a list"}
ENTRIES = {
    "identity": str,
    "encodings": int,
    "sha256": str,
    "added": float | int,
    "changed": float | int,
    "photos": list,
}
LONG = 9e9  # seconds before or after 1970: from the year 1684 to 2255
DAMAGED = (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError, RuntimeError, UnicodeError)
PHOTO_NAME = re.compile(r"photos/[1-9]\d{0,8}\.jpg", re.ASCII)


def is_archive(path: Path) -> bool:
    """Whether a file has the parts of an archive, not just of any ZIP file; what they hold is not read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"manifest.json", "encodings.npy"} <= set(archive.namelist())
    except DAMAGED:
        return False


def write_archive(engine: Engine, path: Path) -> None:
    """Write everyone in an engine into an archive, whole or not at all.

    Args:
        engine: Whose people they are; all are read from one state.
        path: The file; its folder is made, and a file that is there is replaced.

    Raises:
        OSError: If it can't be written.
    """
    with engine.at_rest(), _private(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        if (count := engine.count()) > MAX_PEOPLE:
            raise BadArgument(f"path={str(path)!r}: an export holds {MAX_PEOPLE:,} people at most, not {count:,}")
        people, rows = _write_encodings(engine, archive)
        numbers = itertools.count(1)
        for person in people:
            pictures = engine.pictures(person["identity"])
            person["photos"] = [_write_photo(archive, next(numbers), _small(jpeg)) for jpeg, _ in pictures]
        head = {"format": FORMAT, "version": VERSION, "network": engine.network, "dimension": engine.dimension}
        text = json.dumps({**head, "encodings": rows, "people": people}, ensure_ascii=False, indent=0)
        archive.writestr("manifest.json", text.encode(), zipfile.ZIP_DEFLATED)


@contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    """A file to write, whole or not at all, that only its owner may read; one that was there keeps its mode."""
    before = path.stat().st_mode & 0o777 if path.exists() else None
    try:
        with whole(path) as unfinished, open(unfinished, "xb", opener=partial(os.open, mode=0o600)) as stream:
            if os.name == "posix":
                os.fchmod(stream.fileno(), 0o600)  # umask may take the owner's rights, too
            yield stream
    except FileNotFoundError as error:
        why = "a person was forgotten before it was finished, so it was removed; export again"
        raise OSError(error.errno, why) from error
    if before is not None:
        with suppress(OSError):  # some file systems have no modes
            path.chmod(before)


def unfinished_exports(folder: Path) -> Iterator[Path]:
    """The files of exports in a folder that were killed, or are being written: everyone is in them, or will be."""
    for path in folder.glob(".unfinished_*"):
        with suppress(OSError), path.open("rb") as stream:
            start = stream.read(43)
            begun = start[:4] == b"PK\3\4" and start[30:] == b"encodings.npy"  # its first member
            if begun or (not start and path.suffix == ".zip"):
                yield path


def _write_encodings(engine: Engine, archive: zipfile.ZipFile) -> tuple[list[dict], int]:
    """Write all encodings as one array. Returns a manifest entry per person, and how many rows there are."""
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
            person = {"identity": identity, "encodings": len(encodings), "sha256": hashlib.sha256(data).hexdigest()}
            people.append({**person, "added": added, "changed": changed})
    return people, total


def _write_photo(archive: zipfile.ZipFile, number: int, jpeg: bytes) -> dict[str, str]:
    name = f"photos/{number}.jpg"
    archive.writestr(name, jpeg)
    return {"file": name, "sha256": hashlib.sha256(jpeg).hexdigest()}


def _small(jpeg: bytes) -> bytes:
    """A photo as it is read again: an earlier version kept larger ones."""
    return jpeg if len(jpeg) <= MAX_JPEG else pack(unpack(jpeg))[0]


def read_archive(engine: Engine, path: Path, on_conflict: str) -> int:
    """Take in the people of an archive, all at once.

    Args:
        engine: What takes them in.
        path: The file, which need not be trusted.
        on_conflict: What to do with a name that is known: "refuse" the file, "skip" or "replace" the person.

    Returns:
        How many people were taken in.

    Raises:
        BadArgument: If it is not such an archive, or damaged.
        OtherNetwork: If its encodings are another network's.
    """
    try:
        if not path.is_file():
            what = "is a folder; a file is needed" if path.is_dir() else "is not there"
            raise BadArgument(f"path={str(path)!r} {what}")
        with zipfile.ZipFile(path) as file, tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
            archive = _Archive(path, file, spool)
            archive.check()
            count = _take_in(engine, archive, on_conflict)
    except MemoryError as error:
        raise BadArgument(f"{path} needs more memory than there is; nothing was imported") from error
    except DAMAGED as error:
        raise BadArgument(f"{path} is damaged, not a ZIP file, or can't be read: {error}") from error
    if archive.left_out:
        shown = "; ".join(archive.left_out[:5])
        warnings.warn(f"{path}: photos left out, {len(archive.left_out)} in all: {shown}", stacklevel=3)
    return count


def _take_in(engine: Engine, archive: _Archive, on_conflict: str) -> int:
    count = 0
    with engine.change() as change:
        archive.check_network(engine)
        for person in archive.people:
            if change.has(person.identity):
                if on_conflict == "refuse":
                    raise archive.error(f"{person.identity!r} is in the database already, so no one was imported")
                if on_conflict == "skip":
                    continue
            pictures = [archive.picture(photo) for photo in person.photos if photo["file"] in archive.packed]
            encodings, times = archive.encodings_of(person), (person.added, person.changed)
            change.put(Addition(person.identity, encodings, pictures, replace=True, times=times))
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
    """An archive that is not trusted: everything is checked before it is believed, and nothing is unpacked to disk.

    Members are read by number, never written anywhere; sizes are checked before anything is unpacked, and again by what
    comes out; arrays are read as plain numbers. Pictures are packed while they are checked, before the database is
    locked: their thumbnails, and photos that were not packed yet, wait in ``spool``. A photo that has the right
    checksum, but can't be opened, was damaged before: it goes to ``left_out``, and its person is taken in.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile, spool: BinaryIO) -> None:
        self.path, self.file, self.spool = path, file, spool
        self.packed: dict[str, tuple[int, int, int]] = {}
        self.people: list[_Person] = []
        self.left_out: list[str] = []
        self.network: str | None = None
        self.shape, self.header = (0, 0), 0  # of the array: (n, D), and how many bytes come before its numbers
        self.members: dict[str, zipfile.ZipInfo] = {}

    def error(self, what: str) -> BadArgument:
        """What is wrong, and where; nothing was imported."""
        return BadArgument(f"{self.path}: {what}; nothing was imported")

    def check(self) -> None:
        """Check all of it; raises ``BadArgument``."""
        self._check_members()
        self._check_sizes()
        manifest = self._manifest()
        self._read_people(manifest["people"])
        self._read_encodings(manifest)
        named = [photo["file"] for person in self.people for photo in person.photos]
        if len(set(named)) < len(named) or {*named, "manifest.json", "encodings.npy"} != set(self.members):
            raise self.error("the photos are not those of the manifest")
        for person in self.people:
            self.encodings_of(person)
            for photo in person.photos:
                self._pack(photo, person.identity)

    def check_network(self, engine: Engine) -> None:
        """Refuse encodings of another network, or of another size."""
        if engine.network and self.people and self.network is None:
            raise OtherNetwork(
                f"{self.path} does not say which network made its encodings, and {engine.where} holds those of "
                f"{short(engine.network)}"
            )
        if engine.network and self.people and self.network != engine.network:
            raise other_network(engine.where, engine.network, self.network)
        if engine.network is None and self.network and self.people and engine.count():
            raise self.error(
                f"its encodings are of {short(self.network)}, and the database does not say which network made its own "
                f"(label() notes it)"
            )
        if engine.dimension and self.people and engine.dimension != self.array.shape[1]:
            raise self.error(
                f"its encodings have {self.array.shape[1]} numbers; those in the database have {engine.dimension}"
            )

    # -------------------------------------------------------------------------------------------- members
    def _check_members(self) -> None:
        size = self.path.stat().st_size
        for member in self.file.infolist():
            name = member.orig_filename
            if name not in ("manifest.json", "encodings.npy") and not PHOTO_NAME.fullmatch(name):
                raise self.error(f"it has a member {name!r:.80}, which such an archive never has")
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
        if member.filename != "manifest.json":
            self._check_size(member, MAX_ARRAY if member.filename == "encodings.npy" else MAX_JPEG)

    def _check_size(self, member: zipfile.ZipInfo, limit: int) -> None:
        if member.file_size > limit:
            raise self.error(f"{member.filename} has {member.file_size:,} bytes; {limit:,} at most")

    def _check_sizes(self) -> None:
        """The array by its own header, and the manifest by the array, before either is read."""
        array = self.members["encodings.npy"]
        with self.file.open(array) as file:
            stream = io.BytesIO(file.read(10 + MAX_HEADER))
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version of the format")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
        except (ValueError, TypeError, SyntaxError, RecursionError) as error:
            raise self.error(f"encodings.npy is not a NumPy array: {error}") from error
        if dtype.str != "<f4" or fortran or len(shape) != 2:
            raise self.error(f"encodings.npy is {dtype} {shape}; (n, D) of '<f4' is expected")
        self.header, self.shape = stream.tell(), shape
        if self.header + shape[0] * shape[1] * 4 != array.file_size or (shape[0] and not shape[1]):
            raise self.error(f"encodings.npy has the shape {shape}, but {array.file_size:,} bytes")
        in_all, encoding, photo = MANIFEST
        self._check_size(self.members["manifest.json"], in_all + encoding * shape[0] + photo * (len(self.members) - 2))

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
            raise self.error(f"manifest.json is not JSON: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise self.error(f"manifest.json does not say that its format is {FORMAT!r}")
        if not _is(manifest.get("version"), VERSION):
            raise self.error(f"it is of version {manifest.get('version')!r:.20}; this project reads {VERSION}")
        network, people = manifest.get("network"), manifest.get("people")
        if not (network is None or is_fingerprint(network)):
            raise self.error(f"manifest.json: network={network!r:.80} is not a fingerprint")
        if not isinstance(people, list) or len(people) > min(self.shape[0], MAX_PEOPLE):
            raise self.error(f"manifest.json: people must be a list of at most {min(self.shape[0], MAX_PEOPLE):,}")
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
        for key, kind in ENTRIES.items():
            value = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self.error(f"{where}: {key} is missing, or not {KINDS[kind]}")
        if not 1 <= entry["encodings"] <= MAX_PEOPLE:
            raise self.error(f"{where}: encodings={entry['encodings']!r:.40}, how many there are, must be 1 or more")
        if not all(abs(entry[key]) < LONG for key in ("added", "changed")):
            raise self.error(f"{where}: added or changed is not a time")
        for photo in entry["photos"]:
            if not isinstance(photo, dict) or not all(isinstance(photo.get(key), str) for key in ("file", "sha256")):
                raise self.error(f"{where}: a photo without file or sha256")
            if photo["file"] not in self.members or not PHOTO_NAME.fullmatch(photo["file"]):
                raise self.error(f"{where}: {photo['file']!r:.80} is missing")
        try:
            name = as_looked_up(spelled_out(entry["identity"]))  # an earlier version allowed more names
        except BadArgument as error:
            raise self.error(f"{where}: {error}") from error
        stop = start + entry["encodings"]
        times = float(entry["added"]), float(entry["changed"])
        return _Person(name, start, stop, entry["sha256"], *times, entry["photos"])

    # ---------------------------------------------------------------------------------------------- content
    def _read_encodings(self, manifest: Mapping) -> None:
        """The array, if it is the one of which the manifest speaks."""
        rows, dimension = self.people[-1].stop if self.people else 0, manifest.get("dimension") or 0
        if self.shape[0] != rows or not _is(manifest.get("encodings"), rows) or not _is(dimension, self.shape[1]):
            raise self.error(f"encodings.npy has the shape {self.shape}; the manifest says ({rows}, {dimension!r:.20})")
        self.array = np.frombuffer(self.read("encodings.npy"), "<f4", offset=self.header).reshape(self.shape)

    def encodings_of(self, person: _Person) -> np.ndarray:
        """A person's encodings (n, D), checked against their SHA-256, and brought to unit length if need be."""
        encodings = self.array[person.start : person.stop]
        if hashlib.sha256(encodings.tobytes()).hexdigest() != person.sha256:
            raise self.error(f"the encodings of {person.identity!r} are damaged (wrong SHA-256)")
        what = f"{self.path}: the encoding of {person.identity!r}"
        return check_encodings(encodings.astype(np.float32), None, what)

    def picture(self, photo: Mapping[str, str]) -> Picture:
        """A photo and its thumbnail, as they were packed."""
        start, photo_bytes, thumbnail_bytes = self.packed[photo["file"]]
        self.spool.seek(start)
        jpeg = self.spool.read(photo_bytes) if photo_bytes else self._photo(photo)
        return jpeg, self.spool.read(thumbnail_bytes)

    def _photo(self, photo: Mapping[str, str]) -> bytes:
        """The bytes of a photo, checked against their SHA-256."""
        data = self.read(photo["file"])
        if hashlib.sha256(data).hexdigest() != photo["sha256"]:
            raise self.error(f"{photo['file']} is damaged (wrong SHA-256)")
        return data

    def _pack(self, photo: Mapping[str, str], identity: str) -> None:
        """Make sure that it is a photo, and keep in ``spool`` what the archive does not hold as it will be kept."""
        data = self._photo(photo)
        try:
            jpeg, thumbnail = pack(data, name=f"{photo['file']} of {identity!r}")
        except UnreadableImage as error:
            self.left_out.append(str(error))
            return
        other = b"" if jpeg == data else jpeg
        self.packed[photo["file"]] = (self.spool.seek(0, io.SEEK_END), len(other), len(thumbnail))
        self.spool.write(other + thumbnail)


def _is(value: Any, number: int) -> bool:
    """Whether a value of JSON is that whole number; ``true`` is not 1."""
    return type(value) is int and value == number


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number")
