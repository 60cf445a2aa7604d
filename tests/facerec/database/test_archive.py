"""Archives: an export comes back to the last bit, and a bad file is rejected whole."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facerec.database import FaceDatabase, OtherNetwork
from facerec.database import archive as archive_module
from facerec.database.engine import Addition
from facerec.database.pictures import pack
from facerec.errors import BadArgument, FaceError
from tests.facerec.database.helpers import HOSTILE, D, jpeg, photo, unit


def test_export_comes_back_to_the_last_bit(archive, database):
    if database.where.startswith("milvus:"):
        pytest.importorskip("milvus_lite")
    assert database.import_from(archive) == 3
    with FaceDatabase(archive.with_name("source.db")) as source:
        assert list(database) == list(source)
        for name in source:
            assert np.array_equal(database.encodings(name), source.encodings(name))
            assert database._engine.pictures(name) == source._engine.pictures(name)
        assert database.people().equals(source.people())
    assert database.network == "one:1"
    database.export_to(archive.with_name("again.zip"))
    with zipfile.ZipFile(archive) as one, zipfile.ZipFile(archive.with_name("again.zip")) as two:
        assert {name: one.read(name) for name in one.namelist()} == {name: two.read(name) for name in two.namelist()}


def test_import_brings_only_encodings_slightly_off_to_unit_length(archive, database):
    off = with_array(lambda array: array * np.float32([[1.0009], [1], [1], [1], [1.0009], [1]]))(archive)
    database.import_from(off)
    assert np.linalg.norm(database.encodings(HOSTILE[0])) == pytest.approx(1, abs=1e-6)
    several = database.encodings("李小龍")
    assert several[:3].tobytes() == unit(3, 2).tobytes()
    assert np.linalg.norm(several[3]) == pytest.approx(1, abs=1e-6)
    assert database.encodings("../../etc/passwd").tobytes() == unit(1, 4).tobytes()


def test_archive_that_needs_too_much_memory_is_rejected(archive, path, monkeypatch):
    def no_more(*args, **kwargs):
        raise MemoryError

    with FaceDatabase(path, "one:1") as database:
        monkeypatch.setattr(json, "loads", no_more)
        with pytest.raises(BadArgument, match="needs more memory than there is; nothing was imported"):
            database.import_from(archive)
        assert list(database) == []


def test_what_an_earlier_version_kept_is_taken_in_again(tmp_path, monkeypatch):
    """Names that are refused now come back with what can't be seen spelled out, and large photos smaller."""
    monkeypatch.setattr(archive_module, "MAX_JPEG", 20_000)
    large, small = jpeg(photo()) + b"and a film" * 3_000, jpeg(photo(1))
    with FaceDatabase(tmp_path / "people.db") as database, FaceDatabase(":memory:") as other:
        with database._engine.change() as change:
            change.put(Addition("le\u200ena", unit(1), [(large, small), (small, small)]))
            change.put(Addition("\u2800", unit(1, 1)))
        database.export_to(tmp_path / "people.zip")
        assert other.import_from(tmp_path / "people.zip") == 2
        assert list(other) == ["le<U+200E>na", "<U+2800>"]
        first, second = other._engine.pictures("le<U+200E>na")
        assert len(first[0]) < 20_000 and second[0] == small
        assert np.abs(other.photos("le<U+200E>na")[0].astype(int) - photo()).mean() < 5


def test_export_that_no_import_would_take_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_PEOPLE", 2)
    with FaceDatabase(archive.with_name("source.db")) as source, pytest.raises(BadArgument, match="holds 2 people at"):
        source.export_to(tmp_path / "more.zip")
    assert not list(tmp_path.glob("*more.zip"))


def test_manifest_that_is_too_long_for_its_array_is_refused_unread(archive, monkeypatch):
    changed = rebuilt(archive, lambda manifest: manifest.update(more="x" * 110_000))
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("the manifest was read"))
    with FaceDatabase(":memory:") as database, pytest.raises(BadArgument, match=r"manifest.json has 111,\d\d\d bytes"):
        database.import_from(changed)


def test_photo_that_can_not_be_opened_is_left_out_and_named(archive):
    with FaceDatabase(":memory:") as database:
        with pytest.warns(
            UserWarning, match=r"changed.zip: photos left out, 1 in all: photos/1.jpg of .* far too many"
        ):
            assert database.import_from(huge_picture(archive)) == 3
        assert database.people().photos.tolist() == [0, 2, 0]


def test_people_added_before_1970_come_back(tmp_path):
    """On a computer whose clock is wrong."""
    with FaceDatabase(":memory:") as database, FaceDatabase(":memory:") as other:
        with database._engine.change() as change:
            change.put(Addition("lena", unit(1), times=(-86_400.0, -0.5)))
        database.export_to(tmp_path / "people.zip")
        assert other.import_from(tmp_path / "people.zip") == 1
        assert other.people().equals(database.people())


def test_empty_database_can_be_exported(tmp_path):
    with FaceDatabase(":memory:") as empty, FaceDatabase(":memory:") as other:
        empty.export_to(tmp_path / "empty.zip")
        assert other.import_from(tmp_path / "empty.zip") == 0


def test_no_file_is_called_after_a_person(archive):
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == ["encodings.npy", "manifest.json"] + [f"photos/{i}.jpg" for i in (1, 2, 3)]
        assert np.load(io.BytesIO(file.read("encodings.npy")), allow_pickle=False).shape == (6, D)
        assert json.loads(file.read("manifest.json"))["people"][0]["identity"] == HOSTILE[0]


def test_known_people_are_refused_skipped_or_replaced(archive):
    with FaceDatabase(":memory:", "one:1") as database:
        database["李小龍"] = unit(1, 50)[0]
        with pytest.raises(BadArgument, match="people.zip: '李小龍' is in the database already"):
            database.import_from(archive)
        assert list(database) == ["李小龍"]
        assert database.import_from(archive, on_conflict="skip") == 2
        assert np.array_equal(database["李小龍"], unit(1, 50)[0])
        assert database.import_from(archive, on_conflict="replace") == 3
        assert len(database.encodings("李小龍")) == 4
        with pytest.raises(BadArgument, match="on_conflict='merge'"):
            database.import_from(archive, on_conflict="merge")


def test_archive_of_another_network_is_rejected(archive):
    with FaceDatabase(":memory:", "two:2") as database:
        with pytest.raises(OtherNetwork, match="holds encodings of two"):
            database.import_from(archive)
        unsaid = rebuilt(archive, lambda manifest: manifest.update(network=None))
        with pytest.raises(OtherNetwork, match="changed.zip does not say which network made its encodings"):
            database.import_from(unsaid)
    with FaceDatabase(":memory:") as database:
        database["lena"] = unit(1)[0]
        with pytest.raises(BadArgument, match=r"the database does not say which network made its own \(label"):
            database.import_from(archive)
        assert list(database) == ["lena"]
        database.label("one:1")
        assert database.import_from(archive) == 3


@pytest.mark.parametrize("in_memory", [100_000_000, 1])
def test_photos_are_packed_before_the_database_is_locked(archive, path, monkeypatch, in_memory):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    foreign = jpeg(photo(7), exif=exif)

    def manifest(data):
        data["people"][0]["photos"][0]["sha256"] = hashlib.sha256(foreign).hexdigest()

    changed = rebuilt(archive, manifest, {"photos/1.jpg": foreign})
    monkeypatch.setattr(archive_module, "IN_MEMORY", in_memory)
    with FaceDatabase(path, "one:1") as database, FaceDatabase(path) as other:
        other._engine.db.execute("PRAGMA busy_timeout = 0")
        packed = []

        def slowly(*args, **kwargs):
            other.add(f"came meanwhile {len(packed)}", unit(1))
            packed.append(pack(*args, **kwargs))
            return packed[-1]

        monkeypatch.setattr(archive_module, "pack", slowly)
        assert database.import_from(changed) == 3
        assert len(packed) == 3
        assert len(database) == 6
        assert database._engine.pictures(HOSTILE[0]) == packed[:1]
        assert database._engine.pictures("李小龍") == packed[1:]
        assert b"taken at home" not in packed[0][0]


@pytest.mark.parametrize("path", [None, 5, io.BytesIO(), "", b"people.zip"])
def test_path_that_is_not_a_path_is_rejected(path):
    with FaceDatabase(":memory:") as database:
        for attempt in (database.export_to, database.import_from):
            with pytest.raises(BadArgument, match="^path") as raised:
                attempt(path)
            if isinstance(path, io.BytesIO):
                assert "it is a BytesIO; write what is in it into a file first" in str(raised.value)


def test_folder_and_missing_file_are_rejected(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FaceDatabase(":memory:") as database:
        for attempt in (database.export_to, database.import_from):
            with pytest.raises(BadArgument, match="^path='.' is a folder; a file is needed"):
                attempt(".")
        with pytest.raises(BadArgument, match="^path='people.zip' is not there"):
            database.import_from("people.zip")
        (tmp_path / "notes").write_text("")
        with pytest.raises(BadArgument, match="^path='notes/people.zip' can't be written"):
            database.export_to("notes/people.zip")


def rebuilt(archive: Path, manifest=None, members=None, array=None, compress=zipfile.ZIP_STORED) -> Path:
    """The archive with something changed: a function of the manifest, further members, another array."""
    with zipfile.ZipFile(archive) as file:
        content = {name: file.read(name) for name in file.namelist()}
    if array is not None:
        stream = io.BytesIO()
        np.save(stream, array)
        content["encodings.npy"] = stream.getvalue()
    data = json.loads(content["manifest.json"])
    if manifest:
        manifest(data)
    content["manifest.json"] = json.dumps(data).encode()
    content.update(members or {})
    target = archive.with_name("changed.zip")
    with zipfile.ZipFile(target, "w", compress) as file:
        for name, value in content.items():
            if value is not None:
                file.writestr(name, value)
    return target


def set_person(number: int = 0, **entries):
    return lambda manifest: manifest["people"][number].update(entries)


def with_array(change, rows: int = 6):
    """An archive whose array and digests were changed alike, as an attacker would do it."""

    def make(archive: Path) -> Path:
        with zipfile.ZipFile(archive) as file:
            array = change(np.load(io.BytesIO(file.read("encodings.npy"))))

        def manifest(data):
            start = 0
            for person in data["people"]:
                piece = array[start : start + person["encodings"]]
                person["sha256"] = hashlib.sha256(piece.tobytes()).hexdigest()
                start += person["encodings"]

        return rebuilt(archive, manifest, array=array)

    return make


def put(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array[2, 3] = value
    return array


def bomb(archive: Path) -> Path:
    return rebuilt(archive, members={"manifest.json": b"[" + b" " * 50_000_000 + b"]"}, compress=zipfile.ZIP_DEFLATED)


def padded(archive: Path) -> Path:
    """A manifest that says nothing wrong, and then 57,000 blanks: packed 90:1."""
    with zipfile.ZipFile(archive) as file:
        text = file.read("manifest.json")
    changed = rebuilt(archive, members={"manifest.json": text + b" " * 57_000}, compress=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(changed) as file:
        member = file.getinfo("manifest.json")
        assert 80 < member.file_size / member.compress_size < 100
    return changed


def array_of_more(archive: Path) -> Path:
    """An array of 40 MB for a manifest that speaks of six rows."""
    return rebuilt(archive, array=np.random.default_rng(0).normal(size=(625_000, D)).astype(np.float32))


def lying_sizes(archive: Path) -> Path:
    """The directory says that the array has 100 bytes."""
    changed = rebuilt(archive)
    content = bytearray(changed.read_bytes())
    start = content.rindex(b"PK\x01\x02", 0, content.rindex(b"encodings.npy"))
    content[start + 24 : start + 28] = (100).to_bytes(4, "little")
    changed.write_bytes(content)
    return changed


def overlapping(archive: Path) -> Path:
    """Two entries of the directory that lead to the same bytes."""
    changed = rebuilt(archive)
    content = bytearray(changed.read_bytes())
    second = content.rindex(b"PK\x01\x02", 0, content.rindex(b"photos/2.jpg"))
    first = content.rindex(b"PK\x01\x02", 0, content.rindex(b"photos/1.jpg"))
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    changed.write_bytes(content)
    return changed


def twice(archive: Path) -> Path:
    changed = rebuilt(archive)
    with zipfile.ZipFile(changed, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("photos/1.jpg", jpeg(photo(1)))
    return changed


def giant_array(archive: Path) -> Path:
    """A header that asks for 512 TB."""
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 128)}
    np.lib.format.write_array_header_1_0(header, shape)
    return rebuilt(archive, members={"encodings.npy": header.getvalue()})


def pickled(archive: Path) -> Path:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    return rebuilt(archive, members={"encodings.npy": stream.getvalue()})


def huge_picture(archive: Path) -> Path:
    data = bytearray(jpeg(photo(1)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # 65,535 × 65,535 pixels

    def manifest(content):
        content["people"][0]["photos"][0]["sha256"] = hashlib.sha256(data).hexdigest()

    return rebuilt(archive, manifest, {"photos/1.jpg": bytes(data)})


BAD_ARCHIVES = {
    "a bomb": (bomb, "claims"),
    "packed 90:1": (padded, "manifest.json claims"),
    "more rows": (array_of_more, r"encodings.npy has the shape \(625000, 16\); the manifest says \(6, 16\)"),
    "a dimension of text": (lambda a: rebuilt(a, lambda m: m.update(dimension="x" * 99)), "the manifest says"),
    "lying sizes": (lying_sizes, "damaged|bytes"),
    "overlapping": (overlapping, "damaged|overlap|differ"),
    "twice": (twice, "photos/1.jpg is in it twice"),
    "a giant array": (giant_array, "encodings.npy has the shape"),
    "pickled": (pickled, "encodings.npy"),
    "no zip": (lambda a: a.write_bytes(b"no zip") and a, "damaged"),
    "cut": (lambda a: a.write_bytes(a.read_bytes()[:-50]) and a, "damaged"),
    "empty": (lambda a: (a.write_bytes(b""), a)[1], "damaged"),
    "traversal": (
        lambda a: rebuilt(a, members={"../../evil.jpg": b"x"}),
        r"'../../evil.jpg', which such an archive never has",
    ),
    "absolute": (lambda a: rebuilt(a, members={"/etc/passwd": b"x"}), "'/etc/passwd', which such an archive never has"),
    "another member": (lambda a: rebuilt(a, members={"people.pkl": b"x"}), "people.pkl"),
    "no array": (lambda a: rebuilt(a, members={"encodings.npy": None}), "encodings.npy is missing"),
    "no manifest": (lambda a: rebuilt(a, members={"manifest.json": None}), "manifest.json is missing"),
    "a photo less": (lambda a: rebuilt(a, members={"photos/2.jpg": None}), "'photos/2.jpg' is missing"),
    "a photo more": (lambda a: rebuilt(a, members={"photos/9.jpg": jpeg(photo())}), "not those of the manifest"),
    "another photo": (
        lambda a: rebuilt(a, members={"photos/1.jpg": jpeg(photo(7))}),
        r"photos/1.jpg is damaged \(wrong",
    ),
    "no JSON": (lambda a: rebuilt(a, members={"manifest.json": b"{"}), "not JSON"),
    "deep JSON": (lambda a: rebuilt(a, members={"manifest.json": b"[" * 100_000}), "not JSON"),
    "NaN in JSON": (lambda a: rebuilt(a, set_person(added=float("nan"))), "not JSON"),
    "a list": (lambda a: rebuilt(a, members={"manifest.json": b"[1]"}), "format"),
    "the version true": (lambda a: rebuilt(a, lambda m: m.update(version=True)), "version True"),
    "the version 1.0": (lambda a: rebuilt(a, lambda m: m.update(version=1.0)), "version 1.0"),
    "the dimension 16.0": (lambda a: rebuilt(a, lambda m: m.update(dimension=16.0)), "the manifest says"),
    "six point nought": (lambda a: rebuilt(a, lambda m: m.update(encodings=6.0)), "the manifest says"),
    "another format": (lambda a: rebuilt(a, lambda m: m.update(format="x")), "format"),
    "a newer version": (lambda a: rebuilt(a, lambda m: m.update(version=2)), "version 2"),
    "people of text": (lambda a: rebuilt(a, lambda m: m.update(people="x")), "people must be a list"),
    "a person of text": (lambda a: rebuilt(a, lambda m: m["people"].append("x")), r"people\[3\]: identity is missing"),
    "a network of 5": (lambda a: rebuilt(a, lambda m: m.update(network=5)), "network=5"),
    "a folder as network": (lambda a: rebuilt(a, lambda m: m.update(network="weights/resnet")), "not a fingerprint"),
    "twins but for blanks": (lambda a: rebuilt(a, set_person(1, identity=f" {HOSTILE[0]} ")), "there is another"),
    "a name of 5": (lambda a: rebuilt(a, set_person(identity=5)), "identity is missing, or not text"),
    "twins": (lambda a: rebuilt(a, set_person(1, identity=HOSTILE[0])), r"people\[1\]: there is another"),
    "a long name": (lambda a: rebuilt(a, set_person(identity="x" * 201)), "201 characters"),
    "a blank name": (lambda a: rebuilt(a, set_person(identity=" ")), r"people\[0\]: identity"),
    "a control name": (lambda a: rebuilt(a, set_person(identity="a\0b")), "control characters"),
    "minus one": (lambda a: rebuilt(a, set_person(encodings=-1)), "must be 1 or more"),
    "none at all": (lambda a: rebuilt(a, set_person(encodings=0)), "must be 1 or more"),
    "too many": (lambda a: rebuilt(a, set_person(encodings=2)), "the manifest says"),
    "true": (lambda a: rebuilt(a, set_person(encodings=True)), "encodings is missing"),
    "a wrong digest": (lambda a: rebuilt(a, set_person(sha256="0" * 64)), "wrong SHA-256"),
    "a time of text": (lambda a: rebuilt(a, set_person(added="now")), "added is missing"),
    "the far future": (lambda a: rebuilt(a, set_person(added=1e10)), "not a time"),
    "the far past": (lambda a: rebuilt(a, set_person(changed=-1e300)), "not a time"),
    "photos elsewhere": (lambda a: rebuilt(a, set_person(photos=[{"file": "../x", "sha256": ""}])), "is missing"),
    "the array as photo": (
        lambda a: rebuilt(a, set_person(photos=[{"file": "encodings.npy", "sha256": ""}])),
        "missing",
    ),
    "NaN": (with_array(lambda array: put(array, np.nan)), "finite"),
    "infinite": (with_array(lambda array: put(array, np.inf)), "finite"),
    "not of unit length": (with_array(lambda array: put(array, 2)), "unit length"),
    "float64": (with_array(lambda array: array.astype(np.float64)), "float64"),
    "whole numbers": (with_array(lambda array: array.astype(np.int32)), "int32"),
    "Fortran": (with_array(np.asfortranarray), "encodings.npy is float32"),
    "three axes": (with_array(lambda array: array[None]), "shape|is float32"),
    "a row less": (with_array(lambda array: array[:5]), "the manifest says"),
    "another width": (with_array(lambda array: array[:, :8]), "the manifest says"),
}


@pytest.mark.parametrize(("make", "said"), BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_bad_archive_is_rejected_whole(archive, path, make, said):
    with FaceDatabase(path, "one:1") as database:
        database["lena"] = unit(1, 60)[0]
        with pytest.raises(BadArgument, match=said) as raised:
            database.import_from(make(archive))
        assert ".zip" in str(raised.value)
        assert database == {"lena": unit(1, 60)[0]}
        assert database._engine.state() == 2  # not even a change that was taken back


SEEDS = [*range(24), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(24, 120))]


@pytest.mark.parametrize("seed", SEEDS)
def test_randomly_damaged_archive_is_rejected_whole_or_means_the_same(archive, seed):
    rng = np.random.default_rng(seed)
    content = bytearray(archive.read_bytes())
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(len(content))), rng.integers(4)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del content[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            content[at:at] = rng.bytes(int(rng.integers(1, 40)))
        else:
            content[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"PK\x01\x02"])
    changed = archive.with_name("damaged.zip")
    changed.write_bytes(content)
    with FaceDatabase(":memory:") as database, FaceDatabase(archive.with_name("source.db")) as source:
        try:
            database.import_from(changed)
        except FaceError:
            assert len(database) == 0
            assert database.network is None
        else:
            assert database == source
            assert [database._engine.pictures(name) for name in source] == [
                source._engine.pictures(name) for name in source
            ]
