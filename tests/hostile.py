"""Hostile uploads for the tests of both web apps: bombs, polyglots, scripts, damaged files, and names to match.

The same seed gives the same uploads. Payloads and names that would leave a trace if they were executed, shown raw or
stored contain the word ``SIGN``, so that a test can search for it.
"""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from facerec._files import ROOT

#: Part of every script and of many names.
SIGN = "pwned7f3a"

SCRIPT = f"<script>document.title='{SIGN}'</script>"
HUGE = 30_000

NAMES = (
    f"../../../../tmp/{SIGN}.jpg",
    f"..\\..\\..\\{SIGN}.jpg",
    f"/tmp/{SIGN}.jpg",
    f"%2e%2e%2f%2e%2e%2f{SIGN}.jpg",
    f"{SIGN}\x00.jpg",
    f"{SIGN}.jpg\x00.php",
    f"{SCRIPT}.jpg",
    f'"><img src=x onerror="document.title=\'{SIGN}\'">.jpg',
    f"' onmouseover='document.title=\"{SIGN}\"'.jpg",
    f"{SIGN}\r\nSet-Cookie: {SIGN}=1\r\n\r\n{SCRIPT}.jpg",
    f"{SIGN}\nX-{SIGN}: yes.png",
    f'{SIGN}"; name="csrf_token.jpg',
    SIGN + "a" * 5_000 + ".jpg",
    f"{{{{7*7}}}}{SIGN}.jpg",
    f"${{jndi:ldap://127.0.0.1/{SIGN}}}.jpg",
    f"'; DROP TABLE people; -- {SIGN}.jpg",
    f"$(touch {SIGN}).jpg",
    f"`touch {SIGN}`.jpg",
    f"=cmd|'/c touch {SIGN}'!A1.jpg",
    f"**{SIGN}** [x](javascript:alert(1)) <b>.jpg",
    f"{SIGN}\u202egpj.exe",
    f"{SIGN}😀\ud7ff\u0301.jpg",
    f".{SIGN}htaccess",
    "CON",
    "..",
    " ",
)
TYPES = (
    "image/jpeg", "image/png", "image/svg+xml", "text/html", "application/pdf", "application/x-msdownload",
    "application/octet-stream", "text/javascript", "image/jpeg; charset=<b>", "nonsense",
)  # fmt: skip

Made = tuple[str, bytes, str]  # the name of the file, its bytes, its type


# --------------------------------------------------------------------------------------------------- pieces
@functools.cache
def portrait() -> bytes:
    return (ROOT / "images" / "lena.jpg").read_bytes()


@functools.cache
def _portrait_as(kind: str) -> bytes:
    """The portrait in another format."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(portrait())).convert("RGB").save(stream, kind)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, packed: bytes, depth: int = 8, colour: int = 2, extra: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever its data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@functools.cache
def zeros(millions: int) -> bytes:
    """So many million zeros, compressed to a thousandth of that."""
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(10**6)) for _ in range(millions)), packer.flush()])


def _tiff(width: int, height: int) -> bytes:
    """A TIFF that claims a size and has no pixels."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
               (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height % 2**32)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + table + bytes(4)


def _jpeg_saying(width: int, height: int) -> bytes:
    """The portrait with a header that claims another size."""
    data = bytearray(portrait())
    at = next(data.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _with_comment(text: bytes) -> bytes:
    """The portrait with a comment right after its first two bytes."""
    return portrait()[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + portrait()[2:]


def _zip(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return stream.getvalue()


# ---------------------------------------------------------------------------------------------------- kinds
def _bomb(rng: np.random.Generator) -> Made:
    side = HUGE + int(rng.integers(0, 999))
    gif = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\x00\x00" + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02L\x01\x00;"
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    made = [
        ("bomb.png", lambda: png(side, side, zlib.compress(b"\0" * 99)), "image/png"),
        ("bomb.gif", lambda: gif + frame, "image/gif"),
        ("bomb.tif", lambda: _tiff(side, side), "image/tiff"),
        ("bomb.bmp", lambda: bmp + bytes(99), "image/bmp"),
        ("bomb.jpg", lambda: _jpeg_saying(side, side), "image/jpeg"),
        ("bomb.pgm", lambda: b"P5 %d %d 255\n" % (side, side) + bytes(99), "image/x-portable-graymap"),
    ]
    name, make, kind = made[rng.integers(len(made))]
    return name, make(), kind


def _packed_bomb(rng: np.random.Generator) -> Made:
    """A few kilobytes that decompress to over a hundred million: as pixels, or behind a small picture."""
    made = [
        lambda: png(HUGE, HUGE, zeros(113), depth=1, colour=0),  # one bit a pixel, and all of them are there
        lambda: png(7_900, 7_900, zeros(188)),
        lambda: png(16, 16, zeros(150)),  # far more data than pixels
        lambda: png(16, 16, zlib.compress(bytes(16 * 49)), extra=chunk(b"zTXt", b"Comment\0\0" + zeros(150))),
        lambda: png(16, 16, zlib.compress(bytes(16 * 49)), extra=chunk(b"iCCP", b"icc\0\0" + zeros(150))),
    ]
    return "bomb.png", made[rng.integers(len(made))](), "image/png"


def _strip(rng: np.random.Generator) -> Made:
    """Dimensions that no camera has."""
    shapes = [(2**31 - 1, 1), (1, 2**31 - 1), (0, 0), (0, 100), (60_000, 1), (1, 60_000), (31_999, 700)]
    width, height = shapes[rng.integers(len(shapes))]
    pixels = zeros(70) if max(width, height) < 70_000 else zlib.compress(b"\0" * 99)
    return "strip.png", png(width, height, pixels), "image/png"


def _jpeg_dimensions(rng: np.random.Generator) -> Made:
    width, height = (int(n) for n in rng.integers(1, 65_500, 2))
    return "large.jpg", _jpeg_saying(width, height), "image/jpeg"


def _polyglot(rng: np.random.Generator) -> Made:
    made = [
        ("p.gif", b"GIF89a/*" + bytes(40) + f"*/=1;document.title='{SIGN}';".encode(), "image/gif"),
        ("p.js", _portrait_as("GIF") + f"*/=1;document.title='{SIGN}';".encode(), "text/javascript"),
        ("p.html", _with_comment(f"<html><body>{SCRIPT}".encode()), "text/html"),
        ("p.jpg", portrait() + f"<html>{SCRIPT}</html>".encode(), "image/jpeg"),
        ("p.pdf", b"%PDF-1.4\n1 0 obj<</Length 9>>stream\n" + portrait() + b"\nendstream endobj %%EOF", "image/jpeg"),
        ("p.jpg", portrait() + _zip(f"../{SIGN}.py", b"import os"), "image/jpeg"),
        ("p.php", _with_comment(f"<?php touch('{SIGN}'); ?>".encode()), "image/jpeg"),
        ("p.png", png(4, 4, zlib.compress(bytes(52)), extra=chunk(b"tEXt", f"x\0{SCRIPT}".encode())), "image/png"),
    ]
    return made[rng.integers(len(made))]


def _vector(rng: np.random.Generator) -> Made:
    """SVG is a program, and XML can read files and grow."""
    head = "<?xml version='1.0'?>"
    bodies = [
        f"{head}<svg xmlns='http://www.w3.org/2000/svg' onload=\"document.title='{SIGN}'\">{SCRIPT}</svg>",
        f"{head}<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><svg><text>&e;{SIGN}</text></svg>",
        f"{head}<!DOCTYPE x [<!ENTITY a '{SIGN * 9}'>"
        + "".join(f"<!ENTITY {b} '{f'&{a};' * 9}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        + "]><svg>&i;</svg>",
        f"<svg><image href='http://127.0.0.1:9/{SIGN}'/></svg>",
    ]
    return "picture.svg", bodies[rng.integers(len(bodies))].encode(), "image/svg+xml"


def _no_picture(rng: np.random.Generator) -> Made:
    made = [
        ("empty.jpg", b"", "image/jpeg"),
        ("page.html", f"<!doctype html>{SCRIPT}".encode(), "text/html"),
        ("words.jpg", f"this is not a picture {SIGN}".encode(), "image/jpeg"),
        ("program.exe", b"MZ" + rng.bytes(500), "application/x-msdownload"),
        ("program", b"\x7fELF" + rng.bytes(500), "image/png"),
        ("archive.zip", _zip(f"../../{SIGN}", b"x" * 9), "application/zip"),
        ("bomb.zip", _zip("zeros", bytes(10**6)), "image/jpeg"),
        ("bomb.gz", b"\x1f\x8b\x08" + rng.bytes(90), "image/jpeg"),
        ("code.pkl", f"cos\nsystem\n(S'touch {SIGN}'\ntR.".encode(), "image/jpeg"),
        ("sound.mp3", b"ID3\x03" + rng.bytes(900), "audio/mpeg"),
        ("phone.heic", b"\x00\x00\x00\x18ftypheic" + rng.bytes(400), "image/heic"),
        ("script.sh", f"#!/bin/sh\ntouch {SIGN}\n".encode(), "image/jpeg"),
        ("page.ps", f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({SIGN}) run".encode(), "image/eps"),
        ("noise.jpg", rng.bytes(int(rng.integers(1, 60_000))), "image/jpeg"),
        ("zeros.jpg", bytes(int(rng.integers(1, 60_000))), "image/jpeg"),
    ]
    return made[rng.integers(len(made))]


def _truncated(rng: np.random.Generator) -> Made:
    kind = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")[rng.integers(6)]
    data = _portrait_as(kind)
    return f"half.{kind.lower()}", data[: rng.integers(1, len(data))], f"image/{kind.lower()}"


def _damaged(rng: np.random.Generator) -> Made:
    """Random bytes changed, many of them in the header."""
    kind = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")[rng.integers(7)]
    data = bytearray(_portrait_as(kind))
    for _ in range(rng.integers(1, 30)):
        data[rng.integers(min(len(data), 64 if rng.random() < 0.5 else len(data)))] = rng.integers(256)
    return f"damaged.{kind.lower()}", bytes(data), f"image/{kind.lower()}"


def _whole(rng: np.random.Generator) -> Made:
    """A good picture; only its name may be hostile."""
    return "portrait.jpg", portrait(), "image/jpeg"


def _attack(rng: np.random.Generator) -> Made:
    """Takes long to open, or much memory."""
    from tests.attacks import ATTACKS  # which is made of the pieces above

    label = list(ATTACKS)[rng.integers(len(ATTACKS))]
    kind = label.split()[0].strip(",").lower()
    return f"attack.{kind}", ATTACKS[label](rng, int(rng.integers(10**5, 2 * 10**6))), f"image/{kind}"


KINDS: dict[str, Callable[[np.random.Generator], Made]] = {
    "bomb": _bomb,
    "packed bomb": _packed_bomb,
    "strip": _strip,
    "dimensions": _jpeg_dimensions,
    "polyglot": _polyglot,
    "vector": _vector,
    "no picture": _no_picture,
    "truncated": _truncated,
    "damaged": _damaged,
    "attack": _attack,
    "whole": _whole,
}


def hostile_uploads(count: int = 250, seed: int = 0) -> list[tuple[str, str, bytes, str]]:
    """Make hostile uploads: every kind in turn, two thirds with a hostile name, some with a wrong type.

    Args:
        count: The number of uploads.
        seed: The same seed gives the same uploads.

    Returns:
        Each upload's label for messages (``"12 truncated"``), file name, bytes, and type.
    """
    rng = np.random.default_rng(seed)
    uploads = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        name, data, mime = KINDS[kind](rng)
        if kind == "whole" or rng.random() < 0.67:
            name = NAMES[rng.integers(len(NAMES))]
        if rng.random() < 0.3:
            mime = TYPES[rng.integers(len(TYPES))]
        uploads.append((f"{number} {kind}", name, data, mime))
    return uploads
