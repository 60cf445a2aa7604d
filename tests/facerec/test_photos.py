"""load_image: every kind of source, mode and array becomes upright RGB, and what can't is refused by name."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
import tensorflow
from PIL import Image, ImageCms

from facerec import photos
from facerec.errors import UnreadableImage
from facerec.photos import describe, load_image
from tests.facerec.test_bare import swapped_profile

BLANK = np.full((60, 80, 3), 128, np.uint8)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    """The bytes of a file that holds the image."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """What is seen of colours (H, W, 3) with an opacity (H, W) of 0..255 before white paper, in floats."""
    opacity = alpha[..., None] / 255
    return rgb * opacity + 255 * (1 - opacity)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def check_picture(photo: np.ndarray, expected: np.ndarray, tolerance: float = 0) -> None:
    """A photo is (H, W, 3) uint8, may be drawn on, and shows what is expected."""
    assert photo.dtype == np.uint8 and photo.flags.c_contiguous and photo.flags.writeable
    assert photo.shape == expected.shape
    assert np.abs(photo.astype(float) - expected).max() <= tolerance


def read_once(path: Path) -> io.BufferedReader:
    file = path.open("rb")
    file.read()
    return file


SOURCES = {
    "a path as text": lambda path: str(path),
    "a path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytes that may change": lambda path: bytearray(path.read_bytes()),
    "a view of bytes": lambda path: memoryview(path.read_bytes()),
    "an open file": lambda path: path.open("rb"),
    "a file in memory": lambda path: io.BytesIO(path.read_bytes()),
    "a PIL image": lambda path: Image.open(path),
    "an array": lambda path: np.array(Image.open(path)),
    "a read-only array": lambda path: np.asarray(Image.open(path)),
    "a Fortran array": lambda path: np.asfortranarray(Image.open(path)),
    "a file that was read before": lambda path: read_once(path),
    "a data URL": lambda path: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}",
    "a tensor": lambda path: tensorflow.constant(np.array(Image.open(path))),
    "every second pixel of an array": lambda path: np.array(Image.open(path)).repeat(2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
@pytest.mark.parametrize("name", ["lena.png", "Łucja 李娜 🙂.png", "no ending"])
def test_load_image_takes_every_kind_of_source(tmp_path, picture, make, name):
    path = tmp_path / name
    Image.fromarray(picture).save(path, "PNG")
    source = make(path)
    check_picture(load_image(source), picture)
    if hasattr(source, "close"):
        source.close()


def test_load_image_copies_an_array(picture):
    photo = load_image(picture)
    photo[:] = 0
    assert picture.any()


def palette_image(indices: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(indices).convert("L").copy()
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


RNG = np.random.default_rng(11)


RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


ALPHA = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


SIXTEEN = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)


SIXTEEN_RGB = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)


INDICES = (np.arange(54).reshape(6, 9) % 16).astype(np.uint8)


COLOURS = RNG.integers(0, 256, (16, 3))


LA = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])


RGBA = Image.fromarray(np.dstack([RGB, ALPHA]))


CMYK = Image.fromarray(np.dstack([RGB, ALPHA]), "CMYK")


PALETTE = palette_image(INDICES, COLOURS)


SMOOTH = np.dstack(np.broadcast_arrays(*np.ogrid[0:240:40j, 10:200:48j], 90.0)).astype(np.uint8)


def key_colour(rgb: np.ndarray, y: int, x: int) -> np.ndarray:
    """White where a picture has the colour that is declared transparent."""
    return np.where((rgb == rgb[y, x]).all(axis=2, keepdims=True), 255, rgb)


#: What is given → (the file, the pixels that it means, how far a value may be off).
FILES = {
    "1 bit": (encoded(Image.fromarray(GREY > 99), "PNG"), grey(np.where(GREY > 99, 255, 0)), 0),
    "grey": (encoded(Image.fromarray(GREY), "PNG"), grey(GREY), 0),
    "grey and alpha": (encoded(LA, "PNG"), on_white(grey(GREY), ALPHA), 1),
    "grey with a transparent value": (
        encoded(Image.fromarray(GREY), "PNG", transparency=int(GREY[2, 3])),
        key_colour(grey(GREY), 2, 3),
        0,
    ),
    "palette": (encoded(PALETTE, "PNG"), COLOURS[INDICES], 0),
    "palette with a transparent entry": (
        encoded(PALETTE, "PNG", transparency=3),
        np.where((INDICES == 3)[..., None], 255, COLOURS[INDICES]),
        0,
    ),
    "palette with an alpha each": (
        encoded(PALETTE, "PNG", transparency=bytes(range(0, 256, 16))),
        on_white(COLOURS[INDICES], INDICES * 16),
        1,
    ),
    "GIF with a transparent entry": (
        encoded(PALETTE, "GIF", transparency=5),
        np.where((INDICES == 5)[..., None], 255, COLOURS[INDICES]),
        0,
    ),
    "colour": (encoded(Image.fromarray(RGB), "PNG"), RGB, 0),
    "colour with a transparent one": (
        encoded(Image.fromarray(RGB), "PNG", transparency=tuple(map(int, RGB[1, 2]))),
        key_colour(RGB, 1, 2),
        0,
    ),
    "colour and alpha": (encoded(RGBA, "PNG"), on_white(RGB, ALPHA), 1),
    "16-bit grey PNG": (encoded(Image.fromarray(SIXTEEN), "PNG"), grey(SIXTEEN) / 257, 1),
    "16-bit grey TIFF": (encoded(Image.fromarray(SIXTEEN), "TIFF"), grey(SIXTEEN) / 257, 1),
    "16-bit grey PGM": (b"P5 9 6 65535\n" + SIXTEEN.astype(">u2").tobytes(), grey(SIXTEEN) / 257, 1),
    "16-bit colour PNG": (cv2.imencode(".png", SIXTEEN_RGB)[1].tobytes(), SIXTEEN_RGB[..., ::-1] / 257, 1),
    "32-bit integers in a TIFF": (encoded(Image.fromarray(SIXTEEN.astype("i4")), "TIFF"), grey(SIXTEEN) / 257, 1),
    "floats in a TIFF": (encoded(Image.fromarray(GREY / np.float32(255)), "TIFF"), grey(GREY), 0),
    "CMYK TIFF": (encoded(CMYK, "TIFF"), (255.0 - RGB) * (255.0 - ALPHA[..., None]) / 255, 1),
    "CMYK JPEG": (
        encoded(Image.new("CMYK", (9, 6), (200, 100, 20, 40)), "JPEG", quality=100),
        np.full((6, 9, 3), [55 * 215 / 255, 155 * 215 / 255, 235 * 215 / 255]),
        3,
    ),
    "grey JPEG": (encoded(Image.fromarray(SMOOTH[..., 1]), "JPEG", quality=98), grey(SMOOTH[..., 1]), 6),
    "JPEG": (encoded(Image.fromarray(SMOOTH), "JPEG", quality=98), SMOOTH, 8),
    "progressive JPEG": (encoded(Image.fromarray(SMOOTH), "JPEG", quality=98, progressive=True), SMOOTH, 8),
    "lossless WebP": (encoded(Image.fromarray(RGB), "WEBP", lossless=True), RGB, 0),
    "WebP and alpha": (encoded(RGBA, "WEBP", lossless=True, exact=True), on_white(RGB, ALPHA), 1),
    "AVIF": (encoded(Image.fromarray(SMOOTH), "AVIF", quality=98), SMOOTH, 8),
    "BMP": (encoded(Image.fromarray(RGB), "BMP"), RGB, 0),
    "PPM": (encoded(Image.fromarray(RGB), "PPM"), RGB, 0),
    "TIFF": (encoded(Image.fromarray(RGB), "TIFF", compression="tiff_lzw"), RGB, 0),
}


@pytest.mark.parametrize(("file", "expected", "tolerance"), FILES.values(), ids=FILES.keys())
def test_load_image_makes_rgb_of_every_mode(file, expected, tolerance):
    check_picture(load_image(file), expected, tolerance)


@pytest.mark.parametrize(("file", "expected", "tolerance"), FILES.values(), ids=FILES.keys())
def test_pictures_are_converted_strip_by_strip(file, expected, tolerance, monkeypatch):
    """Two rows at a time, which is how the largest ones are converted."""
    monkeypatch.setattr(photos, "STRIP", 2 * expected.shape[1] + 1)
    check_picture(load_image(file), expected, tolerance)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_load_image_takes_the_first_frame(format):
    """An animation, a paged document, and a phone's double picture."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ["red", "lime", "blue"]]
    file = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert Image.open(io.BytesIO(file)).n_frames == 3
    check_picture(load_image(file), np.full((16, 16, 3), [255, 0, 0]), tolerance=3)


ARRAYS = {
    "grey": (GREY, grey(GREY), 0),
    "grey with a channel": (GREY[..., None], grey(GREY), 0),
    "colour": (RGB, RGB, 0),
    "colour and alpha": (np.dstack([RGB, ALPHA]), on_white(RGB, ALPHA), 0.5),
    "16-bit grey": (SIXTEEN, grey(SIXTEEN) / 257, 1),
    "16-bit colour": (SIXTEEN_RGB, SIXTEEN_RGB / 257, 1),
    "16-bit colour and alpha": (np.dstack([RGB, ALPHA]).astype(np.uint16) * 257, on_white(RGB, ALPHA), 0.5),
    "whole 16-bit steps": (RGB.astype(np.uint16) * 257, RGB, 0),
    "float32": (RGB / np.float32(255), RGB, 0),
    "float64": (RGB / 255.0, RGB, 0),
    "floats between the steps": (np.array([[0.1, 0.9985, 0.003]]), grey(np.array([[25.5, 254.6175, 0.765]])), 0.5),
    "float16": ((RGB / 255).astype(np.float16), RGB, 0),
    "float grey": (GREY / 255.0, grey(GREY), 0),
    "float colour and alpha": (np.dstack([RGB, ALPHA]) / 255.0, on_white(RGB, ALPHA), 0.5),
    "one pixel": (RGB[:1, :1], RGB[:1, :1], 0),
}


@pytest.mark.parametrize(("array", "expected", "tolerance"), ARRAYS.values(), ids=ARRAYS.keys())
def test_load_image_takes_every_kind_of_array(array, expected, tolerance):
    before = array.copy()
    check_picture(load_image(array), expected, tolerance)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("value", [0, 51, 255])
def test_load_image_takes_pil_images_of_every_mode(mode, value):
    """One opaque grey, there and back, within the rounding of the colour space."""
    image = Image.new("RGB", (5, 4), (value, value, value)).convert(mode, dither=Image.Dither.NONE)
    seen = 0 if mode == "1" and value < 128 else value
    check_picture(load_image(image), np.full((4, 5, 3), seen), tolerance=2)


# How a camera that is held so (1..8) stores the upright picture. Source: EXIF 2.32, tag 0x0112.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def as_phone(upright: np.ndarray, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The stored pixels and the note of how the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))), exif


@pytest.mark.parametrize("orientation", STORED)
def test_load_image_turns_photos_upright(picture, orientation):
    image, exif = as_phone(picture, orientation)
    check_picture(load_image(encoded(image, "PNG", exif=exif)), picture)
    opened = Image.open(io.BytesIO(encoded(image, "PNG", exif=exif)))
    check_picture(load_image(opened), picture)


@pytest.mark.parametrize("orientation", STORED)
def test_load_image_turns_jpegs_upright(orientation):
    image, exif = as_phone(SMOOTH, orientation)
    check_picture(load_image(encoded(image, "JPEG", exif=exif, quality=98)), SMOOTH, tolerance=8)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_load_image_ignores_unknown_orientations(picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    check_picture(load_image(encoded(Image.fromarray(picture), "PNG", exif=exif)), picture)


@pytest.mark.parametrize("note", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01", b"Exif\0\0" + bytes(range(256))])
def test_load_image_ignores_damaged_exif(note, recwarn):
    file = encoded(Image.fromarray(SMOOTH), "JPEG", exif=note, quality=98)
    check_picture(load_image(file), SMOOTH, tolerance=8)
    assert not recwarn.list


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises any number of pixels: a decompression bomb."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


JPEG = encoded(Image.fromarray(SMOOTH), "JPEG")


PNG = FILES["colour"][0]


BROKEN_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"Dear Lena, here is the photo.\n", "is not a picture that can be opened"),
    "a JPEG without its end": (JPEG[:-100], "is damaged"),
    "a JPEG's first bytes": (JPEG[:20], "is not a picture that can be opened"),
    "half a PNG": (PNG[: len(PNG) // 2], "is damaged"),
    "a PNG with a wrong byte": (PNG[:60] + b"\0\0\0" + PNG[63:], "is damaged"),
    "a bomb": (png_that_claims(30_000, 30_000), "has far too many pixels; more than 64 million"),
    "a small bomb": (png_that_claims(8_001, 8_000), "has 8001×8000 pixels; more than 64 million, or 32,000"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", "is not a picture that can be opened"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture that can be opened"),
    "a damaged HEIC file": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "is not a picture that can be opened"),
    "a film": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99), "it is a film: take its frames"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a picture that can be opened"),
    "floats over 1 in a TIFF": (encoded(Image.fromarray(np.float32(GREY)), "TIFF"), "holds floats outside 0..1"),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_load_image_rejects_files_that_are_not_pictures(tmp_path, data, reason):
    path = tmp_path / "door 門.jpg"
    path.write_bytes(data)
    for source in (path, str(path), path.open("rb")):
        with pytest.raises(UnreadableImage, match=f"^{re.escape(str(path))} .*({reason})"):
            load_image(source)
    with pytest.raises(UnreadableImage, match=f"^a picture of {len(data):,} bytes .*({reason})"):
        load_image(data)


def heic(image: Image.Image, **options) -> bytes:
    """The bytes of a HEIC file, as phones write them."""
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=100, chroma=444, **options)
    return file.getvalue()


SOFT = cv2.resize(RGB, (96, 64), interpolation=cv2.INTER_CUBIC)  # even sides, and nothing that compression loses


def test_load_image_opens_heic_files_upright():
    check_picture(load_image(heic(Image.fromarray(SOFT))), SOFT, tolerance=8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90° clockwise to see it upright
    pillow_heif.register_heif_opener()
    lying = encoded(Image.fromarray(SOFT), "HEIF", quality=100, chroma=444, exif=exif.tobytes())
    check_picture(load_image(lying), np.rot90(SOFT, -1), tolerance=8)


def test_load_image_opens_heic_files_of_ten_bits():
    deep = (SOFT.astype(np.uint16) << 8) | SOFT
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (96, 64), deep.tobytes()).save(file, quality=100, chroma=444)
    assert pillow_heif.open_heif(file, convert_hdr_to_8bit=False).mode == "RGB;16"
    check_picture(load_image(file.getvalue()), SOFT, tolerance=8)


def test_load_image_brings_the_colours_of_a_profile_to_srgb():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image = Image.fromarray(SOFT)
    check_picture(load_image(encoded(image, "PNG", icc_profile=srgb.tobytes())), SOFT)
    check_picture(load_image(encoded(image, "PNG", icc_profile=b"damaged")), SOFT)
    check_picture(load_image(encoded(image, "PNG", icc_profile=lab.tobytes())), SOFT)  # of other colours: left alone
    wide = load_image(encoded(image, "PNG", icc_profile=swapped_profile()))
    np.testing.assert_allclose(wide[..., [2, 1, 0]].astype(int), SOFT, atol=3)


def test_long_base64_is_a_picture_and_never_part_of_an_error(tmp_path):
    data = encoded(Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)), "PNG")
    for text in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode().rstrip("=")):
        assert load_image(text).shape == (40, 40, 3)
        with pytest.raises(UnreadableImage) as caught:
            load_image(text[:-2000])
        assert len(str(caught.value)) < 200
    for text, reason in (
        ("data:image/png;base64,@@", "its Base64 is damaged"),
        ("data:text/plain,hello", "not a data URL"),
    ):
        with pytest.raises(UnreadableImage, match=reason):
            load_image(text)
    with pytest.raises(UnreadableImage) as caught:
        load_image("folder/" * 400)
    assert len(str(caught.value)) < 300


def test_channels_first_are_named():
    with pytest.raises(UnreadableImage, match="its channels must come last"):
        load_image(np.zeros((3, 40, 40), np.uint8))


def closed_file() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


BROKEN_SOURCES = {
    "nothing": (None, "None can't be read"),
    "a number": (7, "an int can't be read"),
    "a list": ([1, 2], "a list can't be read"),
    "an empty path": ("", "an empty path can't be read"),
    "a path with a null": ("lena\0.jpg", "can't be read"),
    "a closed file": (closed_file(), "a BytesIO can't be read"),
    "a text file": (io.StringIO("lena"), "a StringIO is text, not the bytes of a picture"),
    "an empty PIL image": (Image.new("RGB", (0, 5)), r"an Image has no pixels \(0×5\)"),
    "integers": (np.zeros((4, 5, 3), np.int64), r"an array \(4, 5, 3\) has dtype int64; use uint8"),
    "truth values": (np.zeros((4, 5), bool), "has dtype bool"),
    "objects": (np.full((4, 5), None), "has dtype object"),
    "complex numbers": (np.zeros((4, 5), complex), "has dtype complex128"),
    "NaN": (np.full((4, 5, 3), np.nan), "holds floats outside 0..1"),
    "infinite": (np.full((4, 5, 3), np.inf), "holds floats outside 0..1"),
    "one NaN": (np.where(np.arange(60).reshape(4, 5, 3) == 31, np.nan, 0.5), "holds floats outside 0..1"),
    "floats in 0..255": (RGB.astype(float), "give uint8 for pixels in 0..255"),
    "floats in -1..1": (RGB / 127.5 - 1, "holds floats outside 0..1"),
    "two channels": (RGB[..., :2], r"an array \(6, 9, 2\) is not a picture"),
    "channels first": (RGB.transpose(2, 0, 1), "is not a picture"),
    "a batch": (RGB[None], "is not a picture"),
    "a row": (GREY[0], "is not a picture"),
    "no rows": (RGB[:0], "is not a picture"),
    "too long a row": (np.broadcast_to(np.uint8(0), (2, 32_001)), "more than 64 million pixels, or 32,000 in a row"),
    "too long a picture": (Image.new("L", (1, 32_001)), "an Image has 1×32001 pixels; .*32,000 in a row, are refused"),
    "too many pixels": (np.broadcast_to(np.uint8(0), (8001, 8000)), "more than 64 million pixels"),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN_SOURCES.values(), ids=BROKEN_SOURCES.keys())
def test_load_image_rejects_sources_that_are_not_pictures(source, reason):
    with pytest.raises(UnreadableImage, match=reason):
        load_image(source)


def test_load_image_rejects_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "nobody.jpg", tmp_path):
        with pytest.raises(UnreadableImage, match=f"^{re.escape(str(path))} can't be read"):
            load_image(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_load_image_rejects_endless_files():
    with pytest.raises(UnreadableImage, match="/dev/zero can't be read: it is not a file"):
        load_image("/dev/zero")


def test_load_image_stops_reading_at_the_size_limit(tmp_path, monkeypatch):
    """A file that is longer than any picture: from a path, from a stream, from bytes."""
    monkeypatch.setattr(photos, "MAX_BYTES", 5_000_000)
    path, stream = tmp_path / "long.bmp", io.BytesIO(bytes(6_000_000))
    path.write_bytes(stream.getvalue())
    for source in (path, stream, stream.getvalue()):
        with pytest.raises(UnreadableImage, match="is larger than 5 MB"):
            load_image(source)
    assert stream.tell() == 5_000_001


def test_load_image_rejects_a_damaged_pil_image():
    with pytest.raises(UnreadableImage, match="is damaged"):
        load_image(Image.open(io.BytesIO(JPEG[:-100])))


def test_describe_names_what_was_given(tmp_path):
    path = tmp_path / "lena.png"
    path.write_bytes(PNG)
    with path.open("rb") as file:
        assert describe(path) == describe(str(path)) == describe(file) == describe(Image.open(path)) == str(path)
    assert describe(GREY) == "an array (6, 9)" and describe(bytes(1234)) == "a picture of 1,234 bytes"


def test_load_image_keeps_8_bit_values_of_32_bit_pictures():
    grey = np.arange(256, dtype=np.int32).reshape(16, 16)
    np.testing.assert_array_equal(load_image(Image.fromarray(grey))[..., 0], grey)
