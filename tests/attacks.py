"""Pictures that attack: small files that a decoder would spend minutes or gigabytes on, one function per trick.

Each takes a random generator and the size that its file should about have, in bytes; the same generator gives the same
file. Some are refused, some are as costly as what is still opened.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageFile

from tests.hostile import chunk, png, zeros

Attack = Callable[[np.random.Generator, int], bytes]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """An image as a file."""
    stream, before = io.BytesIO(), ImageFile.MAXBLOCK
    ImageFile.MAXBLOCK = max(before, 8 * image.width * image.height)  # Pillow's buffer is too small for noise
    try:
        image.save(stream, kind, **options)
    finally:
        ImageFile.MAXBLOCK = before
    return stream.getvalue()


@functools.cache
def flat(kind: str, width: int, height: int, mode: str = "RGB", **options) -> bytes:
    """A picture of one colour, which is small however many pixels it has."""
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    return encoded(Image.new(mode, (width, height)), kind, **options)


@functools.cache
def noise(kind: str, side: int, **options) -> bytes:
    """A picture of noise, which is as large as pictures get."""
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    return encoded(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)), kind, **options
    )


def side_of(rng: np.random.Generator, least: int, most: int) -> int:
    """A side in pixels, one of six steps: what is made once is used again."""
    return int(np.geomspace(least, most, 6)[rng.integers(6)]) // 16 * 16


# ------------------------------------------------------------------------------------------------------ JPEG
def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_notes(notes: bytes, jpeg: bytes | None = None) -> bytes:
    """A JPEG with something behind its first segment."""
    jpeg = jpeg or flat("JPEG", 640, 480)
    at = 4 + int.from_bytes(jpeg[4:6])
    return jpeg[:at] + notes + jpeg[at:]


def in_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are so many."""
    jpeg = flat("JPEG", side, side, progressive=True)
    last, count = jpeg.rindex(b"\xff\xda"), jpeg.count(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (scans - count) + jpeg[-2:]


def thousands_of_scans(rng: np.random.Generator, size: int) -> bytes:
    """Each scan goes over the whole picture again."""
    return in_scans(side_of(rng, 256, 2000), min(size // 40, 100_000))


def a_hundred_scans(rng: np.random.Generator, size: int) -> bytes:
    """As many scans as are opened, if the picture is small enough."""
    return in_scans(side_of(rng, 1000, 7900), int(rng.integers(10, 101)))


def rationals(count: int) -> bytes:
    """EXIF that says how the camera was held, and holds so many fractions."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x829A, 5, count, 38)
    return b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4) + bytes(8 * count)


def jpeg_exif(rng: np.random.Generator, size: int) -> bytes:
    """EXIF of megabytes, in segments that programs join."""
    notes = rationals(size // 8)
    parts = [notes[6:][start : start + 65_000] for start in range(0, len(notes), 65_000)]
    return with_notes(b"".join(segment(0xE1, b"Exif\0\0" + part) for part in parts))


def jpeg_exifs(rng: np.random.Generator, size: int) -> bytes:
    """Many times EXIF of thousands of entries that says nothing of the camera."""
    entries = b"".join(struct.pack("<HHII", 40_000 + number, 4, 1, 7) for number in range(5000))
    note = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries + bytes(4))
    return with_notes(note * max(2, size // len(note)))


def jpeg_tables(rng: np.random.Generator, size: int) -> bytes:
    """Tables of quantisation, a thousand in a segment."""
    table = segment(0xDB, (b"\0" + b"\x10" * 64) * 1000)
    return with_notes(table * (size // len(table)))


def one_scan(rng: np.random.Generator, size: int) -> bytes:
    """A progressive JPEG that is cut after its first scan: decoders smooth it."""
    side = side_of(rng, 1000, 8000)
    jpeg = flat("JPEG", side, side, progressive=True)
    start = jpeg.index(b"\xff\xda")
    return jpeg[: jpeg.index(b"\xff\xc4", start)] + jpeg[-2:]


def jpeg_profile(rng: np.random.Generator, size: int) -> bytes:
    """A colour profile of up to sixteen megabytes."""
    profile = (table_profile() + bytes(size))[: 255 * 65_000]
    parts = [profile[start : start + 65_000] for start in range(0, len(profile), 65_000)]
    notes = [
        segment(0xE2, b"ICC_PROFILE\0" + bytes((number + 1, len(parts))) + part) for number, part in enumerate(parts)
    ]
    return with_notes(b"".join(notes), flat("JPEG", *[side_of(rng, 1000, 7000)] * 2))


@functools.cache
def table_profile() -> bytes:
    """A profile that describes colours by a table of 33³ entries, the slowest kind that is read."""
    grid = np.linspace(0, 255, 33).astype(np.uint8)
    table = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).tobytes()
    matrix = struct.pack(">9i", *(65_536 * (i % 4 == 0) for i in range(9)))
    curve = bytes(range(256)) * 3
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"mine\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": b"mft1" + bytes(4) + bytes((3, 3, 33, 0)) + matrix + curve + table + curve,
        b"cprt": b"text" + bytes(4) + b"none\0",
    }
    at, index, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        index += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    head = struct.pack(">I", at + len(body)) + srgb[4:8] + b"\x02\x40\0\0" + b"mntrRGB Lab " + srgb[24:128]
    return head + index + body


# ------------------------------------------------------------------------------------------------- PNG and GIF
def many_chunks(kind: bytes, behind: bool = False) -> Attack:
    """A PNG with as many empty chunks as fit."""

    def make(rng: np.random.Generator, size: int) -> bytes:
        data, many = flat("PNG", 64, 64), chunk(kind, b"") * (size // 12)
        at = data.index(b"IEND" if behind else b"IDAT") - 4
        return data[:at] + many + data[at:]

    return make


def animated_png(rng: np.random.Generator, size: int) -> bytes:
    """A PNG with as many frames as fit."""
    pixels, frames = zlib.compress(bytes(2)), b""
    frame = struct.pack(">IIII", 1, 1, 0, 0) + bytes((0, 1, 0, 100, 0, 0))
    frames = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * number) + frame)
        + chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + pixels)
        for number in range(1, min(size // 72, 60_000))
    )
    data = flat("PNG", 64, 64, mode="L")
    at, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    start = chunk(b"acTL", struct.pack(">II", 60_000, 0))
    return data[:at] + start + data[at:end] + frames + data[end:]


def deep_png(rng: np.random.Generator, size: int) -> bytes:
    """Eight bytes per pixel, as many pixels as are opened, or some more."""
    side, packer = side_of(rng, 2000, 7900), zlib.compressobj(1)
    packed = [packer.compress(b"\4" + bytes(8 * side)) for _ in range(side)]  # each row predicted from three pixels
    return png(side, side, b"".join([*packed, packer.flush()]), depth=16, colour=6)


def texts_png(rng: np.random.Generator, size: int) -> bytes:
    """Texts that unpack to a megabyte each."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000)))
    return png(16, 16, zlib.compress(bytes(16 * 49)), extra=text * int(rng.integers(1, 100)))


def gif_with(notes: bytes, side: int = 64) -> bytes:
    """A GIF with something before its first frame."""
    data = flat("GIF", side, side, mode="P")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    return data[:at] + notes + data[at:]


def gif_comments(rng: np.random.Generator, size: int) -> bytes:
    """A comment in parts of one letter."""
    return gif_with(b"!\xfe" + b"\x01a" * (size // 2) + b"\0")


def gif_programs(rng: np.random.Generator, size: int) -> bytes:
    """Notes of programs that begin with an empty part, after which some decoders read on."""
    return gif_with(b"!\x01\0" * (size // 3))


def gif_frames(rng: np.random.Generator, size: int) -> bytes:
    """As many frames as fit."""
    data = flat("GIF", 64, 64, mode="P")
    frame = data[data.index(b",") : -1]
    return data[:-1] + frame * (size // len(frame)) + b";"


def gif_pixels(rng: np.random.Generator, size: int) -> bytes:
    """As many pixels as are opened."""
    return flat("GIF", *[side_of(rng, 1000, 8000)] * 2, mode="P")


# ------------------------------------------------------------------------------------------------------- WebP
def riff(chunks: bytes) -> bytes:
    """A WebP of some chunks."""
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def riff_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def animated_webp(side: int, frames: int, more: bytes = b"") -> bytes:
    """An animation of one pixel's frames on a large canvas."""
    pixels = flat("WEBP", 1, 1, lossless=True)[12:]
    frame = riff_chunk(b"ANMF", bytes(6) + bytes(6) + bytes(4) + pixels)
    canvas = struct.pack("<I", side - 1)[:3] * 2
    head = riff_chunk(b"VP8X", bytes((0x02 | 0x08 * bool(more), 0, 0, 0)) + canvas) + riff_chunk(b"ANIM", bytes(6))
    return riff(head + frame * frames + more)


def webp_frames(rng: np.random.Generator, size: int) -> bytes:
    """As many frames as fit."""
    return animated_webp(side_of(rng, 64, 500), size // 60)


def webp_canvas(rng: np.random.Generator, size: int) -> bytes:
    """A frame of a pixel on a canvas as large as is opened, or larger."""
    return animated_webp(side_of(rng, 3000, 16_000), 1)


def webp_exif(rng: np.random.Generator, size: int) -> bytes:
    """EXIF of megabytes."""
    return animated_webp(64, 1, riff_chunk(b"EXIF", rationals(size // 8)))


# ------------------------------------------------------------------------------------------------------- TIFF
def tiff(tags: dict[int, tuple[int, list[int]]], more: bytes = b"", pages: int = 1) -> bytes:
    """A TIFF of so many pages with these tags (kind, 3 or 4, and numbers), then further bytes.

    A number −1 stands for where the further bytes begin.
    """
    length = 2 + 12 * len(tags) + 4
    lists = sum(len(numbers) * 4 for _, numbers in tags.values() if len(numbers) > 1)
    start, pools, page = 8 + pages * length, b"", b""
    for number in range(pages):
        page += struct.pack("<H", len(tags))
        for tag, (kind, numbers) in sorted(tags.items()):
            numbers = [start + lists if value == -1 else value for value in numbers]
            if len(numbers) == 1:
                page += struct.pack("<HHII", tag, kind, 1, numbers[0])
            else:
                page += struct.pack("<HHII", tag, 4, len(numbers), start + len(pools))
                pools += struct.pack(f"<{len(numbers)}I", *numbers) if number == 0 else b""
        page += struct.pack("<I", 8 + (number + 1) * length if number + 1 < pages else 0)
    return b"II*\0\x08\0\0\0" + page + pools + more


def plain_tiff(width: int, height: int, strips: int = 1, packed: int = 1, depth: int = 8, samples: int = 1) -> dict:
    """The tags of a picture in so many strips, all of which begin at the same place."""
    return {
        256: (4, [width]), 257: (4, [height]), 258: (3, [depth] * samples), 259: (3, [packed]),
        262: (3, [2 if samples > 2 else 1]), 273: (4, [-1] * strips), 277: (3, [samples]),
        278: (4, [max(1, height // strips)]), 279: (4, [64] * strips), **({338: (3, [2])} if samples == 4 else {}),
    }  # fmt: skip


def tiff_pages(rng: np.random.Generator, size: int) -> bytes:
    """As many pages as fit."""
    return tiff(plain_tiff(8, 8), bytes(64), min(size // 120, 20_000))


def tiff_strips(rng: np.random.Generator, size: int) -> bytes:
    """As many strips as fit, all the same."""
    return tiff(plain_tiff(1, 32_000, size // 8), bytes(64))


def tiff_tags(rng: np.random.Generator, size: int) -> bytes:
    """As many tags as there can be."""
    extra = {40_000 + number: (4, [7]) for number in range(min(size // 12, 25_000))}
    return tiff(plain_tiff(8, 8) | extra, bytes(64))


def tiff_exif(rng: np.random.Generator, size: int) -> bytes:
    """EXIF of megabytes."""
    count = size // 8
    tags = plain_tiff(8, 8) | {34665: (4, [-1])}
    at = 8 + 2 + 12 * len(tags) + 4  # of the EXIF, whose only entry is followed by its fractions
    notes = struct.pack("<HHHIII", 1, 0x829A, 5, count, at + 18, 0) + bytes(8 * count)
    return tiff(tags | {273: (4, [8])}, notes)


def tiff_packed(rng: np.random.Generator, size: int) -> bytes:
    """Zeros, compressed in the ways that there are."""
    side, packed = side_of(rng, 1000, 7900), int(rng.choice([8, 5, 32773, 34925, 50000, 50001]))
    samples, depth = [(1, 8), (3, 8), (3, 16), (4, 16)][rng.integers(4)]
    data = zeros(side * side * samples * depth // 8 // 10**6 + 1)
    return tiff(plain_tiff(side, side, 1, packed, depth, samples) | {279: (4, [len(data)])}, data)


def tiff_scans(rng: np.random.Generator, size: int) -> bytes:
    """A JPEG of many scans in a TIFF."""
    side = side_of(rng, 256, 4000)
    jpeg = in_scans(side, int(rng.integers(10, 120)))
    return tiff(plain_tiff(side, side, 1, 7, 8, 3) | {262: (3, [6]), 279: (4, [len(jpeg)])}, jpeg)


# ------------------------------------------------------------------------------------------------ BMP and PPM
def bmp(width: int, height: int, packed: int, bits: int, data: bytes) -> bytes:
    """A BMP with a grey palette."""
    palette = b"".join(bytes((n, n, n, 0)) for n in range(1 << bits)) if bits <= 8 else b""
    start = 54 + len(palette)
    head = struct.pack("<IHHIIiiHHIIiiII", start + len(data), 0, 0, start, 40, width, height, 1, bits, packed,
                       len(data), 0, 0, 1 << bits if bits <= 8 else 0, 0)  # fmt: skip
    return b"BM" + head + palette + data


def bmp_packed(rng: np.random.Generator, size: int) -> bytes:
    """Runs of no pixels, of one, or of two hundred."""
    run = [b"\0\0", b"\x01\x07", b"\xff\x07"][rng.integers(3)]
    side = side_of(rng, 256, 7900)
    bits = int(rng.choice([4, 8]))
    return bmp(side, side, 2 if bits == 4 else 1, bits, run * (size // 2))


def bmp_pixels(rng: np.random.Generator, size: int) -> bytes:
    """As many pixels as are opened, of one bit each."""
    side = side_of(rng, 1000, 7900) // 32 * 32
    return bmp(side, side, 0, 1, bytes(side * side // 8))


def ppm_comments(rng: np.random.Generator, size: int) -> bytes:
    """A comment of megabytes, or many small ones between the numbers."""
    if rng.integers(2):
        return b"P6\n#" + b"x" * size + b"\n8 8 255\n" + bytes(192)
    return b"P2 1000 1000 255\n" + b"#\n7\n" * (size // 4)


def ppm_numbers(rng: np.random.Generator, size: int) -> bytes:
    """Numbers in digits, or of a range that is not a whole byte."""
    side = max(8, int((size / 3) ** 0.5))
    if rng.integers(2):
        return b"P6 %d %d %d\n" % (side, side, rng.integers(1, 255)) + bytes(3 * side * side)
    return b"P3 %d %d 255\n" % (side, side) + b"7 " * (3 * side * side)


# ---------------------------------------------------------------------------------------------- AVIF and HEIC
def avif_pixels(rng: np.random.Generator, size: int) -> bytes:
    """As many pixels as are opened."""
    return flat("AVIF", *[side_of(rng, 1000, 5000)] * 2, speed=10)


def avif_noise(rng: np.random.Generator, size: int) -> bytes:
    """As many bytes per pixel as there can be."""
    return noise("AVIF", side_of(rng, 200, 1000), quality=100, speed=10, subsampling="4:4:4")


def avif_frames(rng: np.random.Generator, size: int) -> bytes:
    """An animation."""
    frames = [Image.new("RGB", (64, 64), (n, n, n)) for n in range(60)]
    return encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)


def avif_exif(rng: np.random.Generator, size: int) -> bytes:
    """EXIF of megabytes."""
    return encoded(Image.new("RGB", (64, 64)), "AVIF", exif=rationals(size // 8), speed=10)


def heic_pixels(rng: np.random.Generator, size: int) -> bytes:
    """As many pixels as are opened."""
    return flat("HEIF", *[side_of(rng, 500, 3000)] * 2)


def heic_grid(rng: np.random.Generator, size: int) -> bytes:
    """Hundreds of tiles."""
    return flat("HEIF", *[side_of(rng, 200, 700)] * 2, tile_size=64)


def heic_noise(rng: np.random.Generator, size: int) -> bytes:
    """As many bytes per pixel as there can be."""
    return noise("HEIF", side_of(rng, 200, 600), quality=100, chroma=444)


def heic_exif(rng: np.random.Generator, size: int) -> bytes:
    """EXIF of megabytes."""
    pillow_heif.register_heif_opener()
    return encoded(Image.new("RGB", (64, 64)), "HEIF", exif=rationals(size // 8))


ATTACKS: dict[str, Attack] = {
    "JPEG of thousands of scans": thousands_of_scans,
    "JPEG of up to a hundred scans": a_hundred_scans,
    "JPEG of noise": lambda rng, size: noise("JPEG", side_of(rng, 500, 2000), quality=100, subsampling=0),
    "JPEG of noise in scans": lambda rng, size: noise(
        "JPEG", side_of(rng, 500, 2000), quality=100, subsampling=0, progressive=True
    ),
    "JPEG of many pixels": lambda rng, size: flat("JPEG", *[side_of(rng, 1000, 8000)] * 2),
    "JPEG of many pixels, turned": lambda rng, size: with_notes(
        segment(0xE1, rationals(1)), flat("JPEG", *[side_of(rng, 1000, 8000)] * 2)
    ),
    "JPEG of inks": lambda rng, size: flat("JPEG", *[side_of(rng, 1000, 8000)] * 2, mode="CMYK"),
    "JPEG with comments": lambda rng, size: with_notes(b"\xff\xfe\0\2" * (size // 4)),
    "JPEG with blanks between segments": lambda rng, size: with_notes(b"\xff" * size),
    "JPEG with rubbish between segments": lambda rng, size: with_notes(bytes(size)),
    "JPEG with lone markers": lambda rng, size: with_notes(b"\xff\x01" * (size // 2)),
    "JPEG with EXIF of megabytes": jpeg_exif,
    "JPEG with a profile of megabytes": jpeg_profile,
    "JPEG with many EXIFs": jpeg_exifs,
    "JPEG with tables": jpeg_tables,
    "JPEG of one scan of many": one_scan,
    "JPEG in arithmetic coding": lambda rng, size: noise("JPEG", 500).replace(b"\xff\xc0", b"\xff\xc9", 1),
    "JPEG with a film": lambda rng, size: flat("JPEG", 640, 480) + rng.bytes(min(size, 10**6)) * 4,
    "PNG with notes": many_chunks(b"tEXt"),
    "PNG with private chunks": many_chunks(b"abCd"),
    "PNG of empty parts": many_chunks(b"IDAT"),
    "PNG with notes behind": many_chunks(b"tEXt", behind=True),
    "PNG with frames": animated_png,
    "PNG of eight bytes per pixel": deep_png,
    "PNG with texts that unpack": texts_png,
    "PNG with EXIF of megabytes": lambda rng, size: png(
        16, 16, zlib.compress(bytes(16 * 49)), extra=chunk(b"eXIf", rationals(size // 8)[6:])
    ),
    "GIF with comments": gif_comments,
    "GIF with notes of programs": gif_programs,
    "GIF with frames": gif_frames,
    "GIF of many pixels": gif_pixels,
    "WebP with frames": webp_frames,
    "WebP of a large canvas": webp_canvas,
    "WebP of many pixels": lambda rng, size: flat("WEBP", *[side_of(rng, 500, 4000)] * 2, method=0),
    "WebP of noise": lambda rng, size: noise("WEBP", side_of(rng, 300, 1200), quality=100, method=0),
    "WebP of noise, lossless": lambda rng, size: noise("WEBP", side_of(rng, 300, 1200), lossless=True, method=0),
    "WebP with EXIF of megabytes": webp_exif,
    "TIFF with pages": tiff_pages,
    "TIFF of strips": tiff_strips,
    "TIFF with tags": tiff_tags,
    "TIFF with EXIF of megabytes": tiff_exif,
    "TIFF of zeros, packed": tiff_packed,
    "TIFF of a JPEG in scans": tiff_scans,
    "BMP, packed": bmp_packed,
    "BMP of many pixels": bmp_pixels,
    "PPM with comments": ppm_comments,
    "PPM by numbers": ppm_numbers,
    "AVIF of many pixels": avif_pixels,
    "AVIF of noise": avif_noise,
    "AVIF with frames": avif_frames,
    "AVIF with EXIF of megabytes": avif_exif,
    "HEIC of many pixels": heic_pixels,
    "HEIC of tiles": heic_grid,
    "HEIC of noise": heic_noise,
    "HEIC with EXIF of megabytes": heic_exif,
}
