"""Randomly damaged pictures: they open, or they are refused by name, and they never take long.

Sixty of them in every run; two thousand, two hundred of which go on to ``who_is_it``, with ``make test-slow``.
Damage and pictures are drawn from fixed seeds, so that a failure can be looked at again.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import struct
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from facerec.errors import FaceError, UnreadableImage
from facerec.photos import load_image
from fr_utils import who_is_it

#: The modes in which each format is written.
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"),
    "PPM": ("1", "L", "RGB"),
    "AVIF": ("RGB", "RGBA"),
}
SIZES = ((320, 320), (1, 1), (7, 200), (160, 120), (640, 480))
KINDS = [(format, mode) for format, modes in MODES.items() for mode in modes]
MAGIC = (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"P6\n", b"%PDF")
LIMIT = 2.0  # seconds that a call may take on a machine that does nothing else


# ------------------------------------------------------------------------------------------------- pictures
def as_mode(photo: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(photo.convert("L")) / np.float32(255))
    return photo.convert(mode)


def good_file(photo: Image.Image, format: str, mode: str, size: tuple[int, int], rng: np.random.Generator) -> bytes:
    """A picture of that kind, with the options of its format drawn at random."""
    image = as_mode(photo.resize(size), mode)
    options: dict = {}
    if format == "JPEG":
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        options = {"quality": int(rng.integers(20, 100)), "progressive": bool(rng.integers(2)), "exif": exif}
    elif format == "WEBP":
        options = {"lossless": bool(rng.integers(2)), "method": 0}
    elif format == "TIFF" and mode != "1":
        options = {"compression": str(rng.choice(["raw", "tiff_lzw", "tiff_adobe_deflate"]))}
    elif format == "GIF" and rng.integers(2):
        options = {"save_all": True, "append_images": [image.rotate(90)]}
    elif format == "AVIF":
        options = {"speed": 10}
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# --------------------------------------------------------------------------------------------------- damage
def truncate(data: bytearray, rng) -> bytes:
    return bytes(data[: rng.integers(len(data))])


def flip_bits(data: bytearray, rng) -> bytes:
    for at in rng.integers(len(data), size=rng.integers(1, 8)):
        data[at] ^= 1 << rng.integers(8)
    return bytes(data)


def flip_header_bits(data: bytearray, rng) -> bytes:
    """Where width, height, colour type and lengths stand."""
    for at in rng.integers(min(len(data), 64), size=rng.integers(1, 6)):
        data[at] ^= 1 << rng.integers(8)
    return bytes(data)


def wrong_header(data: bytearray, rng) -> bytes:
    """Another format's first bytes, or noise."""
    magic = MAGIC[rng.integers(len(MAGIC))] if rng.integers(3) else rng.bytes(8)
    return magic + bytes(data[len(magic) :])


def blank_block(data: bytearray, rng) -> bytes:
    start = rng.integers(len(data))
    size = len(data[start : start + rng.integers(1, 300)])
    return bytes(data[:start]) + bytes([rng.integers(256)]) * size + bytes(data[start + size :])


def insert_or_drop(data: bytearray, rng) -> bytes:
    start, size = rng.integers(len(data)), int(rng.integers(1, 40))
    if rng.integers(2):
        return bytes(data[:start]) + rng.bytes(size) + bytes(data[start:])
    return bytes(data[:start] + data[start + size :])


def largest_numbers(data: bytearray, rng) -> bytes:
    """Some bytes of the header become 0xFF: sizes that would be gigantic."""
    for at in rng.integers(min(len(data), 40), size=rng.integers(1, 5)):
        data[at] = 0xFF
    return bytes(data)


DAMAGE = (truncate, flip_bits, flip_header_bits, wrong_header, blank_block, insert_or_drop, largest_numbers)


def cases(photo: np.ndarray, count: int):
    """``count`` damaged files, as (what it was, its bytes): every format, mode and damage takes its turn."""
    photo = Image.fromarray(photo)
    for i, (format, mode) in zip(range(count), itertools.cycle(KINDS)):  # noqa: B905  (the cycle has no end)
        rng = np.random.default_rng(i)
        size, damage = SIZES[rng.integers(len(SIZES))], DAMAGE[i % len(DAMAGE)]
        data = bytearray(good_file(photo, format, mode, size, rng))
        yield f"case {i}: {damage.__name__} of {format} {mode} {size}", damage(data, rng)


# ---------------------------------------------------------------------------------------------- the record
@dataclass
class Record:
    """What became of the cases."""

    limit: float = math.inf  # seconds that a call may take
    outcomes: Counter = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    failures: list[str] = field(default_factory=list)

    def call(self, name: str, function, *args) -> bool:
        """Call a function; note its outcome and how long it took. Was it neither refused nor a failure?"""
        outcome, seconds = self._timed(name, function, *args)
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, (seconds, name))
        if seconds > self.limit:
            self.failures.append(f"{name} took {seconds:.1f} s")
        return outcome == "ok"

    def _timed(self, name: str, function, *args) -> tuple[str, float]:
        wall, processor = time.perf_counter(), time.process_time()
        try:
            function(*args)
            outcome = "ok"
        except FaceError as error:
            outcome = type(error).__name__
            if not str(error):
                self.failures.append(f"{name}: {outcome} says nothing")
        except Exception as error:
            outcome = f"FOREIGN {type(error).__name__}"
            self.failures.append(f"{name}: {error!r}")
        # Beside other programs the clock runs while nothing is done, and with two threads the processor's time
        # runs twice as fast: the shorter of the two is the call's.
        return outcome, min(time.perf_counter() - wall, time.process_time() - processor)

    def __str__(self) -> str:
        seconds, name = self.slowest
        return f"{dict(self.outcomes)}, the slowest {seconds:.2f} s ({name})"


def checked_load(data: bytes) -> None:
    photo = load_image(data)
    assert photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3 and photo.size, photo.shape


def run(photo, count: int, recognise: int, database, network, limit: float = math.inf) -> tuple[Record, Record]:
    """``count`` cases through load_image, ``recognise`` of them also through who_is_it."""
    opened, recognised = Record(limit), Record(limit)
    who_is_it(photo, database, network)  # what is loaded and compiled at the first call is not timed
    every = max(1, count // max(1, recognise))
    with warnings.catch_warnings(record=True) as complaints, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        for i, (name, data) in enumerate(cases(photo, count)):
            opened.call(name, checked_load, data)
            if i % every == 0 and sum(recognised.outcomes.values()) < recognise:
                recognised.call(name, who_is_it, data, database, network)
    opened.failures += sorted({f"a warning: {c.message}" for c in complaints})
    return opened, recognised


def check(opened: Record, recognised: Record, count: int, recognise: int) -> None:
    print(f"load_image: {opened}\nwho_is_it: {recognised}")
    assert not opened.failures and not recognised.failures, "\n".join(opened.failures + recognised.failures)
    assert sum(opened.outcomes.values()) == count and sum(recognised.outcomes.values()) == recognise
    assert set(opened.outcomes) <= {"ok", "UnreadableImage", "TooLargeImage"}
    assert set(recognised.outcomes) <= {"ok", "UnreadableImage", "TooLargeImage", "NoFaceFound"}
    for outcome in ("ok", "UnreadableImage"):  # damage that always, or never, shows would test little
        assert opened.outcomes[outcome] >= count / 10


# --------------------------------------------------------------------------------------------------- the tests
@pytest.mark.parametrize(("format", "mode"), KINDS)
def test_the_undamaged_files_open(photos, format, mode):
    """Otherwise the damage below would prove nothing."""
    for i, size in enumerate(SIZES[1:4]):
        data = good_file(Image.fromarray(photos["lena"]), format, mode, size, np.random.default_rng(i))
        height, width = load_image(data).shape[:2]
        assert sorted((height, width)) == sorted(size)


def test_the_cases_are_the_same_every_time(photos):
    first, second = (list(cases(photos["lena"], 20)) for _ in range(2))
    assert first == second and len({data for _, data in first}) == 20


def test_damaged_pictures_open_or_are_refused(photos, database, network):
    check(*run(photos["lena"], 60, 12, database, network), 60, 12)


def claiming(photo: np.ndarray, format: str, width: int, height: int, **options) -> bytes:
    """A small file whose header promises another size."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, format, **options)
    data = bytearray(file.getvalue())
    if format == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    else:  # JPEG: behind the marker of its frame, baseline or progressive
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(("format", "options"), [("GIF", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
def test_small_files_claiming_the_largest_allowed_size_open_as_quickly(photos, format, options):
    """Just under 64 megapixels, so it is unpacked; and just over, so it is not."""
    record = Record(LIMIT)
    record.call("just under", checked_load, claiming(photos["lena"], format, 8000, 7999, **options))
    assert not record.failures, record.failures
    with pytest.raises(UnreadableImage, match="8000×8001 pixels; more than 64 million"):
        load_image(claiming(photos["lena"], format, 8000, 8001, **options))


@pytest.mark.slow
def test_two_thousand_damaged_pictures_open_or_are_refused(photos, database, network, capsys):
    results = run(photos["lena"], 2000, 200, database, network, LIMIT)
    with capsys.disabled():
        print()
        check(*results, 2000, 200)
