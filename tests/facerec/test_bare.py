"""The picture alone: notes, comments and what follows the end are left out; the pixels stay to the last bit."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from facerec._bare import bare, bare_jpeg, gif_blocks, kind_of_picture, segments
from facerec.photos import load_image
from tests.attacks import encoded, flat, gif_with, rationals, segment, with_notes

SECRET = b"GPS 47.37 N 8.54 E"
SOFT = Image.linear_gradient("L").resize((48, 40)).convert("RGB")
JPEG = encoded(SOFT, "JPEG")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def swapped_profile() -> bytes:
    """sRGB with the names of its red and its blue exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag, other in ((b"rXYZ", b"bXYZ"), (b"rTRC", b"bTRC")):
        at, there = data.index(tag), data.index(other)
        data[at : at + 4], data[there : there + 4] = other, tag
    return bytes(data).replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))


HIDDEN = {
    **{f"APP{number}": with_notes(segment(0xE0 + number, SECRET * 99), JPEG) for number in range(16)},
    "a comment": with_notes(segment(0xFE, SECRET), JPEG),
    "EXIF": with_notes(segment(0xE1, rationals(1) + SECRET), JPEG),
    "a profile": with_notes(segment(0xE2, b"ICC_PROFILE\0\x01\x01" + SECRET), JPEG),
    "a thumbnail of JFIF": with_notes(segment(0xE0, b"JFIF\0" + SECRET), JPEG),
    "a long Adobe note": with_notes(segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01" + SECRET), JPEG),
    "between segments": with_notes(SECRET, JPEG),
    "lines": with_notes(segment(0xDC, SECRET), JPEG),
    "a film behind": JPEG + SECRET * 1000,
    "another picture behind": JPEG + with_notes(segment(0xFE, SECRET), JPEG),
}


@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN)
def test_jpeg_alone_keeps_the_pixels_and_nothing_else(data):
    alone = bare_jpeg(data, notes=False)
    assert SECRET in data and SECRET not in alone
    np.testing.assert_array_equal(pixels(alone), pixels(JPEG))
    assert bare_jpeg(alone, notes=False) == alone == bare_jpeg(alone)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("RGB", {"progressive": True}),
        ("CMYK", {}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"restart_marker_rows": 1}),
    ],
)
def test_jpeg_of_every_mode_keeps_its_colours(mode, options):
    data = encoded(SOFT.convert(mode), "JPEG", **options)
    np.testing.assert_array_equal(pixels(bare_jpeg(data, notes=False)), pixels(data))


@pytest.mark.parametrize(
    ("note", "turned"),
    [
        (rationals(50_000 // 8), True),
        (b'<x tiff:Orientation="6"/>', True),
        (b"Exif\0\0damaged", False),
        (b"Exif\0\0", False),
    ],
)
def test_jpeg_with_notes_keeps_how_the_camera_was_held(note, turned, recwarn):
    data = bare(with_notes(segment(0xE1, note), JPEG))
    assert load_image(data).shape == ((48, 40, 3) if turned else (40, 48, 3))
    assert len(data) < len(JPEG) + 60 and not recwarn.list


def test_cut_and_damaged_jpegs_stay_cut_and_damaged():
    assert bare_jpeg(JPEG[:-100]) == JPEG[:-100]
    assert list(segments(b"\xff\xd8\xff")) == [] and bare_jpeg(b"\xff\xd8\xff\xdb") == b"\xff\xd8\xff\xdb"
    twice = JPEG[:-2] + b"\xff\xd8" + JPEG[-2:]  # a start within: decoders say what is wrong
    assert bare_jpeg(twice) == twice


def test_gif_begins_with_its_first_frame():
    image = SOFT.convert("P")
    data = encoded(image, "GIF", transparency=image.getpixel((0, 0)))
    plain, at = bare(data), next(gif_blocks(data))[0]
    noted = data[:at] + b"!\xfe\x12" + SECRET + b"\0!\x01\0" + data[at:]
    assert SECRET in noted and bare(noted) == plain and SECRET not in plain
    np.testing.assert_array_equal(load_image(noted), load_image(data))
    assert "transparency" in Image.open(io.BytesIO(plain)).info
    assert bare(gif_with(b"!\x01\0")) == flat("GIF", 64, 64, mode="P")


@pytest.mark.parametrize("kind", ["AVIF", "HEIC"])
def test_notes_of_heic_and_avif_are_not_listed(kind):
    data = flat("HEIF" if kind == "HEIC" else kind, 64, 48, exif=rationals(99))
    image = Image.open(io.BytesIO(bare(data)))
    assert len(Image.open(io.BytesIO(data)).info["exif"]) > 800 and len(image.info.get("exif") or b"") < 100
    np.testing.assert_array_equal(load_image(data), load_image(Image.open(io.BytesIO(data))))


def test_kinds_are_told_by_their_first_bytes():
    for kind, name in (("PNG", "PNG"), ("TIFF", "TIFF"), ("WEBP", "WebP"), ("BMP", "BMP"), ("PPM", "PPM")):
        data = encoded(SOFT, kind)
        assert kind_of_picture(data) == name and bare(data) == data
    assert kind_of_picture(struct.pack("<I", 20) + b"ftypisom") is None and kind_of_picture(b"") is None
