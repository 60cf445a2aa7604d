"""What opening a picture would cost, estimated from its bytes before anything is decoded.

    bytes ──weigh──► kind, work per pixel ──check, once its size is known──► go on, or TooCostly

A small file can cost minutes: every further scan of a JPEG goes over all pixels again, and each of a million empty
chunks is read one by one. What each kind of picture costs was measured (``tools/measure/attack_files.py``).
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from PIL import TiffImagePlugin

from facerec._bare import DAMAGED_NOTES, SCAN, gif_blocks, kind_of_picture, segments, tiff_entries

SECONDS = 2  # on one core
MEMORY = 500_000_000  # bytes, beside those of the file
MAX_SCANS = 100  # of a JPEG; programs write ten
MAX_TABLES = 1_000_000  # bytes of a JPEG's tables; a scan needs one thousand
MAX_TAGS = 1_000  # of a TIFF
MAX_STRIPS = 32_000  # of a TIFF: a strip per row
MAX_COMMENTS = 100  # of a picture in text
#: So many pieces, and one more for every thousand bytes, are more than cameras and programs write.
FEW_PIECES = 10_000
# Second bytes of a JPEG's markers.
TABLES, FRAMES, PROGRESSIVE = (0xC4, 0xDB), (0xC0, 0xC1, 0xC2), 0xC2
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
PROFILE, TABLE = 20, 45  # nanoseconds per pixel to bring colours to sRGB, by formulas or by a table

SAVE_AGAIN = "open it in a picture editor and save it again as JPEG"
SMALLER = "make it smaller, or save it as an ordinary JPEG"


class TooCostly(Exception):  # noqa: N818
    """A picture would take too long to open, or too much memory; the text continues its name."""


class Cost(NamedTuple):
    """What opening costs: nanoseconds per pixel and per byte of the file, and bytes of memory per pixel."""

    pixel: float
    byte: float
    memory: float


class Weight(NamedTuple):
    """A picture's kind; how many times the usual work a pixel is, and how many bytes more it takes; in words why."""

    kind: str
    work: float = 1.0
    room: float = 0.0
    why: str = ""


COSTS = {
    "JPEG": Cost(12, 10, 7),
    "PNG": Cost(18, 3, 7),
    "GIF": Cost(24, 3, 7),
    "WebP": Cost(35, 60, 17),
    "TIFF": Cost(20, 10, 7),
    "BMP": Cost(25, 1, 7),
    "BMP, packed": Cost(110, 450, 9),
    "PPM": Cost(12, 1, 7),
    "PPM, by numbers": Cost(20, 1000, 12),
    "AVIF": Cost(30, 110, 13),
    "HEIC": Cost(14, 55, 10),
}


def weigh(data: bytes) -> Weight | None:
    """Tell a picture's kind and the work in it.

    Args:
        data: The bytes of a file.

    Returns:
        The weight, or None if it does not begin as a picture.

    Raises:
        TooCostly: If it is made of more scans or pieces than any camera or program writes.

    Example:
        >>> weigh(open("images/lena.jpg", "rb").read()).kind
        'JPEG'
    """
    kind = kind_of_picture(data)
    if kind is None:
        return None
    return WEIGHED[kind](data) if kind in WEIGHED else Weight(kind)


def check(weight: Weight, size: tuple[int, int], length: int, profile: bytes = b"") -> None:
    """Refuse a picture that would cost more than :data:`SECONDS` or :data:`MEMORY`.

    Args:
        weight: What ``weigh`` said.
        size: Its width and height.
        length: The bytes of its file.
        profile: The profile by which its colours are to be brought to sRGB.

    Raises:
        TooCostly: If it would.

    Example:
        >>> check(Weight("JPEG"), (8000, 6000), 20_000_000)
    """
    cost, pixels = COSTS[weight.kind], size[0] * size[1]
    colours = (TABLE if b"A2B0" in profile else PROFILE) if profile else 0
    seconds = (pixels * (cost.pixel * weight.work + colours) + length * cost.byte) / 1e9
    what = f"({weight.kind} of {size[0]}×{size[1]} pixels{weight.why}, {length / 1e6:.1f} MB)"
    if seconds > SECONDS:
        raise TooCostly(f"would take {seconds:.0f} s to decode {what}: {SMALLER}")
    memory = pixels * (cost.memory + weight.room)
    if memory > MEMORY:
        raise TooCostly(f"would take {memory / 1e6:.0f} MB of memory {what}: {SMALLER}")


# ---------------------------------------------------------------------------------------------------- pieces
def _check_few(pieces: Iterable, data: bytes, what: str) -> None:
    """Refuse so many pieces that reading them one by one takes long."""
    most = FEW_PIECES + len(data) // 1000
    if next(itertools.islice(pieces, most, None), None) is not None:
        raise TooCostly(f"has over {most:,} {what} in {len(data) / 1e6:.1f} MB: {SAVE_AGAIN}")


def _png_chunks(data: bytes) -> Iterator[int]:
    at = 8
    while at < len(data):
        yield at
        at += 12 + int.from_bytes(data[at : at + 4])


def _riff_chunks(data: bytes) -> Iterator[int]:
    at = 12
    while at < len(data):
        yield at
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2


# ----------------------------------------------------------------------------------------------------- kinds
def _jpeg(data: bytes) -> Weight:
    _check_few(segments(data), data, "segments")
    sizes: dict[int, list[int]] = {}
    frame = b""
    for marker, piece in segments(data):
        sizes.setdefault(marker, []).append(len(piece))
        frame = piece if marker in FRAMES else frame
    scans = len(sizes.get(SCAN, ()))
    if scans > MAX_SCANS:
        raise TooCostly(f"is a JPEG of {scans:,} scans, and each goes over the whole picture again: {SAVE_AGAIN}")
    if sum(sum(sizes.get(table, ())) for table in TABLES) > MAX_TABLES:
        raise TooCostly(f"is a JPEG with over {MAX_TABLES:,} bytes of tables: {SAVE_AGAIN}")
    if sizes.keys() & ARITHMETIC:
        raise TooCostly(f"is a JPEG of a kind that hardly any program writes (arithmetic coding): {SAVE_AGAIN}")
    if scans < 2 and PROGRESSIVE not in sizes:
        return Weight("JPEG")
    return Weight("JPEG", 1 + scans / 15, _kept_until_the_last_scan(frame), f" in {scans} scans")


def _kept_until_the_last_scan(frame: bytes | memoryview) -> float:
    """Bytes per pixel: two for each number of each colour, of which some have fewer than there are pixels."""
    factors = [(both >> 4, both & 15) for both in frame[11::3]]
    most = max((h for h, _ in factors), default=0) * max((v for _, v in factors), default=0)
    return 2 * sum(h * v for h, v in factors) / most if most else 6


def _png(data: bytes) -> Weight:
    _check_few(_png_chunks(data), data, "chunks")
    bits, colours = data[24:25], data[25:26]
    depth = (bits[0] if bits else 8) * {b"\0": 1, b"\2": 3, b"\3": 1, b"\4": 2}.get(colours, 4)
    halved = 1.2 if bits == b"\x10" else 1.0  # sixteen bits per colour become eight
    return Weight("PNG", max(1.0, depth / 24) * halved, 0, f" of {depth} bits")


def _gif(data: bytes) -> Weight:
    _check_few(gif_blocks(data), data, "notes before its first frame")
    return Weight("GIF")


def _webp(data: bytes) -> Weight:
    _check_few(_riff_chunks(data), data, "chunks")
    return Weight("WebP")


def _bmp(data: bytes) -> Weight:
    packed = data[30:34] in (b"\1\0\0\0", b"\2\0\0\0") and data[14:18] != b"\x0c\0\0\0"
    return Weight("BMP, packed" if packed else "BMP")


def _ppm(data: bytes) -> Weight:
    """Pixels of 0 to 255 are read at once; what is written in digits, or has another range, number by number."""
    words = re.sub(rb"#[^\r\n]*", b" ", data[:1000]).split(None, 4)
    if len(words) < 4:
        raise TooCostly(f"has a header of over a thousand bytes: {SAVE_AGAIN}")
    kind, _, _, largest = words[:4]
    if kind in (b"P4", b"Pf") or (kind, largest) in ((b"P5", b"255"), (b"P6", b"255"), (b"P5", b"65535")):
        return Weight("PPM")
    if data.count(b"#") > MAX_COMMENTS:
        raise TooCostly(f"has over {MAX_COMMENTS} comments: {SAVE_AGAIN}")
    return Weight("PPM, by numbers")


def _tiff(data: bytes) -> Weight:
    """Of the first page; the others are never read."""
    try:
        if len(tiff_entries(data)) > MAX_TAGS:
            raise TooCostly(f"is a TIFF of {len(tiff_entries(data)):,} tags: {SAVE_AGAIN}")
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2] == 43 else data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        packed, strips, samples = tags.get(259, 1), tags.get(273) or tags.get(324), tags.get(277, 1)
        bits = tags.get(258, (1,))
        depth = int(max(bits) if isinstance(bits, tuple) else bits) * int(samples)
    except DAMAGED_NOTES:
        return Weight("TIFF")  # Pillow reads them in the same way, and says what is wrong
    if packed not in (1, 2, 3, 4, 5, 7, 8, 32773, 32946):  # LZMA may take gigabytes
        raise TooCostly(f"is a TIFF compressed in an unusual way ({packed}): {SAVE_AGAIN}")
    if isinstance(strips, tuple) and len(strips) > MAX_STRIPS:
        raise TooCostly(f"is a TIFF of {len(strips):,} strips: {SAVE_AGAIN}")
    scans = data.count(b"\xff\xda") if packed == 7 else 0  # JPEGs in a TIFF
    return Weight("TIFF", max(1.0, depth / 24) + scans / 15, depth / 8, f" of {depth} bits")


WEIGHED: dict[str, Callable[[bytes], Weight]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WebP": _webp,
    "BMP": _bmp,
    "PPM": _ppm,
    "TIFF": _tiff,
}
