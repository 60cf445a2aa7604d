"""From a photo to a name: every kind of picture, the shipped network, and who the camera saw."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import struct
import subprocess
import unicodedata
import zlib
from collections import UserDict
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

import fr_utils
from facerec import __main__ as camera
from facerec._files import ROOT
from facerec.database import FaceDatabase, OtherNetwork
from facerec.detection import TEMPLATE, extract_face
from facerec.encoding import faces_to_encodings, img_to_encoding, photos_to_encodings
from facerec.enrol import PoorPortrait, build_database, judge_portraits
from facerec.errors import BadArgument, BadNetwork, EmptyDatabase, NoFaceFound, UnknownIdentity, UnreadableImage
from facerec.evaluation import Probability
from facerec.networks import FaceNetInfo, confidence, info_of, load_facenet, save_network
from facerec.photos import describe, load_image
from fr_utils import identify, verify, who_is_it

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


# ----------------------------------------------------------------------------------- load_image: the sources
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


def test_the_photo_is_a_copy_of_the_array(picture):
    photo = load_image(picture)
    photo[:] = 0
    assert picture.any()


# ------------------------------------------------------------------------------------- load_image: the modes
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


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_of_several_frames_the_first_counts(format):
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
def test_turned_photos_are_set_upright(picture, orientation):
    image, exif = as_phone(picture, orientation)
    check_picture(load_image(encoded(image, "PNG", exif=exif)), picture)
    opened = Image.open(io.BytesIO(encoded(image, "PNG", exif=exif)))
    check_picture(load_image(opened), picture)


@pytest.mark.parametrize("orientation", STORED)
def test_turned_jpegs_are_set_upright(orientation):
    image, exif = as_phone(SMOOTH, orientation)
    check_picture(load_image(encoded(image, "JPEG", exif=exif, quality=98)), SMOOTH, tolerance=8)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    check_picture(load_image(encoded(Image.fromarray(picture), "PNG", exif=exif)), picture)


@pytest.mark.parametrize("note", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01", b"Exif\0\0" + bytes(range(256))])
def test_damaged_exif_notes_are_no_reason_to_refuse_good_pixels(note, recwarn):
    file = encoded(Image.fromarray(SMOOTH), "JPEG", exif=note, quality=98)
    check_picture(load_image(file), SMOOTH, tolerance=8)
    assert not recwarn.list


# ---------------------------------------------------------------------------------- load_image: the refusals
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
    "a bomb": (png_that_claims(30_000, 30_000), "is not a picture that can be opened|pixels; more than"),
    "a small bomb": (png_that_claims(8_001, 8_000), "has 8001×8000 pixels; more than 64 million, or 32,000"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", "is not a picture that can be opened"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture that can be opened"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "save HEIC pictures as JPEG first"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a picture that can be opened"),
    "floats over 1 in a TIFF": (encoded(Image.fromarray(np.float32(GREY)), "TIFF"), "holds floats outside 0..1"),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_files_that_are_no_pictures_are_refused_by_name(tmp_path, data, reason):
    path = tmp_path / "door 門.jpg"
    path.write_bytes(data)
    for source in (path, str(path), path.open("rb")):
        with pytest.raises(UnreadableImage, match=f"^{re.escape(str(path))} .*({reason})"):
            load_image(source)
    with pytest.raises(UnreadableImage, match=f"^a picture of {len(data):,} bytes .*({reason})"):
        load_image(data)


def closed_file() -> io.BytesIO:
    file = io.BytesIO(PNG)
    file.close()
    return file


BROKEN_SOURCES = {
    "nothing": (None, "a NoneType can't be read"),
    "a number": (7, "a int can't be read"),
    "a list": ([1, 2], "a list can't be read"),
    "an empty path": ("", "an empty path can't be read"),
    "a path with a null": ("lena\0.jpg", "can't be read"),
    "a closed file": (closed_file(), "a BytesIO can't be read"),
    "a text file": (io.StringIO("lena"), "a StringIO is not a picture"),
    "an empty PIL image": (Image.new("RGB", (0, 5)), r"a Image has no pixels \(0×5\)"),
    "integers": (np.zeros((4, 5, 3), np.int64), r"an array \(4, 5, 3\) has dtype int64; use uint8"),
    "truth values": (np.zeros((4, 5), bool), "has dtype bool"),
    "objects": (np.full((4, 5), None), "has dtype object"),
    "complex numbers": (np.zeros((4, 5), complex), "has dtype complex128"),
    "NaN": (np.full((4, 5, 3), np.nan), "holds floats outside 0..1"),
    "infinite": (np.full((4, 5, 3), np.inf), "holds floats outside 0..1"),
    "one NaN": (np.where(np.arange(60).reshape(4, 5, 3) == 31, np.nan, 0.5), "holds floats outside 0..1"),
    "floats in 0..255": (RGB.astype(float), "give uint8 for pixels in 0..255"),
    "floats in -1..1": (RGB / 127.5 - 1, "holds floats outside 0..1"),
    "two channels": (RGB[..., :2], r"an array \(6, 9, 2\) is no picture"),
    "channels first": (RGB.transpose(2, 0, 1), "is no picture"),
    "a batch": (RGB[None], "is no picture"),
    "a row": (GREY[0], "is no picture"),
    "no rows": (RGB[:0], "is no picture"),
    "too long a row": (np.broadcast_to(np.uint8(0), (2, 32_001)), "more than 64 million pixels, or 32,000 in a row"),
    "too long a picture": (Image.new("L", (1, 32_001)), "a Image has 1×32001 pixels; .*32,000 in a row, are refused"),
    "too many pixels": (np.broadcast_to(np.uint8(0), (8001, 8000)), "more than 64 million pixels"),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN_SOURCES.values(), ids=BROKEN_SOURCES.keys())
def test_sources_that_are_no_pictures_are_refused(source, reason):
    with pytest.raises(UnreadableImage, match=reason):
        load_image(source)


def test_missing_files_and_folders_are_refused_by_name(tmp_path):
    for path in (tmp_path / "nobody.jpg", tmp_path):
        with pytest.raises(UnreadableImage, match=f"^{re.escape(str(path))} can't be read"):
            load_image(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev/zero")
def test_what_never_ends_is_not_read():
    with pytest.raises(UnreadableImage, match="/dev/zero can't be read: it is no file"):
        load_image("/dev/zero")


def test_enormous_files_are_not_read_to_their_end(tmp_path, monkeypatch):
    """A file that is longer than any picture: from a path, from a stream, from bytes."""
    monkeypatch.setattr(fr_utils, "MAX_BYTES", 5_000_000)
    path, stream = tmp_path / "long.bmp", io.BytesIO(bytes(6_000_000))
    path.write_bytes(stream.getvalue())
    for source in (path, stream, stream.getvalue()):
        with pytest.raises(UnreadableImage, match="is larger than 5 MB"):
            load_image(source)
    assert stream.tell() == 5_000_001


def test_a_damaged_pil_image_is_refused():
    with pytest.raises(UnreadableImage, match="is damaged"):
        load_image(Image.open(io.BytesIO(JPEG[:-100])))


def test_describe_names_what_was_given(tmp_path):
    path = tmp_path / "lena.png"
    path.write_bytes(PNG)
    with path.open("rb") as file:
        assert describe(path) == describe(str(path)) == describe(file) == describe(Image.open(path)) == str(path)
    assert describe(GREY) == "an array (6, 9)" and describe(bytes(1234)) == "a picture of 1,234 bytes"


# -------------------------------------------------------------------------------------------- the networks
SHIPPED = Path(ROOT) / "weights" / "resnet"
FILE_NAMES = ("model.json", "model.h5", "facenet.json")


def test_the_shipped_network_says_what_it_was_made_for(network):
    assert network.input_shape == (None, 150, 150, 3) and network.output_shape == (None, 128)
    info = info_of(network)
    assert info.side == 150 and info.threshold == 0.7 and not network.trainable
    assert info.template.keys() == TEMPLATE.keys()


def test_the_shipped_network_fits_into_git():
    assert sum((SHIPPED / name).stat().st_size for name in FILE_NAMES) < 25e6


def test_keras_alone_opens_the_shipped_network(network, photos):
    """No Lambda, no custom object: model_from_json and load_weights are enough, and give the same numbers."""
    text = (SHIPPED / "model.json").read_text(encoding="utf-8")
    layers = json.loads(text)["config"]["layers"]
    (trunk,) = [layer for layer in layers if layer["class_name"] == "Functional"]
    for layer in [layer for layer in layers if layer is not trunk] + trunk["config"]["layers"]:
        assert layer["module"] == "keras.layers" and layer["registered_name"] is None, layer["name"]
        assert layer["class_name"] != "Lambda", layer["name"]
    model = keras.models.model_from_json(text)
    model.load_weights(SHIPPED / "model.h5")
    face = extract_face(photos["lena"])[None].astype(np.float32)
    np.testing.assert_allclose(model(face), network(face), atol=1e-6)


def test_load_facenet_gives_back_what_save_network_wrote(small_network, tmp_path):
    template = {"left_eye": (0.25, 0.25), "right_eye": (0.75, 0.25)}
    calibration = {"factor": 0.5, "fitted_on": "жители", "range": [0.1, 0.2]}
    folder = tmp_path / "new" / "folder"
    probability = Probability("isotonic", 0.25, (0.3, 0.5, 0.9), (4.0, 1.5, -3.0))
    info = {"template": template, "threshold": 0.9, "calibration": calibration, "probability": probability}
    save_network(small_network, folder, name="klein", **info)
    loaded = load_facenet(folder)
    assert info_of(loaded) == FaceNetInfo("klein", 8, template, 0.9, calibration, probability) and not loaded.trainable
    faces = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(faces), small_network(faces))
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILE_NAMES)


def test_a_folder_is_found_from_anywhere(tmp_path, monkeypatch, small_folder):
    """Relative to where Python runs, or else to the project."""
    monkeypatch.chdir(tmp_path)
    assert load_facenet(small_folder.name).name == "small"
    assert load_facenet(str(small_folder)).name == "small"


def test_saving_over_a_network_replaces_it(small_folder, small_network):
    small_network.layers[-2].set_weights([w + 1 for w in small_network.layers[-2].get_weights()])
    save_network(small_network, small_folder, name="second")
    loaded = load_facenet(small_folder)
    assert info_of(loaded).name == "second"
    np.testing.assert_array_equal(loaded.layers[-2].get_weights()[0], small_network.layers[-2].get_weights()[0])


@pytest.mark.parametrize("step", ["save", "to_json"])
def test_a_failed_save_leaves_the_old_network_alone(small_folder, small_network, monkeypatch, step):
    """No file is replaced before the last one is written; nothing half made is left lying about."""
    other = keras.Model(small_network.input, small_network.layers[-2].output, name="other")
    before = {path.name: path.read_bytes() for path in small_folder.iterdir()}

    def no_space(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(type(other), step, no_space)
    with pytest.raises(OSError, match="no space left"):
        save_network(other, small_folder, name="second")
    assert {path.name: path.read_bytes() for path in small_folder.iterdir()} == before


@pytest.mark.parametrize("file", FILE_NAMES)
def test_a_missing_file_is_named(small_folder, file):
    (small_folder / file).unlink()
    with pytest.raises(BadNetwork, match=f"{re.escape(str(small_folder))} .*{re.escape(file)}"):
        load_facenet(small_folder)


@pytest.mark.parametrize("file", ["model.json", "model.h5"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_a_single_damaged_bit_is_seen(small_folder, file, place):
    data = bytearray((small_folder / file).read_bytes())
    data[int(place * len(data))] ^= 1
    (small_folder / file).write_bytes(data)
    with pytest.raises(BadNetwork, match=f"{file} is damaged .*copy the whole folder again"):
        load_facenet(small_folder)


def test_how_to_get_a_missing_file_again_is_said(small_folder):
    (small_folder / "model.h5").unlink()
    with pytest.raises(BadNetwork, match="has no model.h5; copy the whole folder again"):
        load_facenet(small_folder)


def test_for_a_shipped_network_it_is_a_git_command_that_works(tmp_path, monkeypatch):
    monkeypatch.setattr(fr_utils, "ROOT", tmp_path)
    folder = tmp_path / "weights" / "resnet"
    shutil.copytree("weights/resnet", folder)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "weights"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (folder / "model.h5").unlink()
    with pytest.raises(BadNetwork, match="git checkout") as caught:
        load_facenet(folder)
    advice = re.search("'(git checkout [^']*)'", str(caught.value))[1]
    subprocess.run(advice.split(), cwd=tmp_path, check=True)
    assert load_facenet(folder).output_shape == (None, 128)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is damaged"), ("", "is damaged"), ("{}", "is incomplete"), ("[]", "is incomplete"), ("7", "is incomplete")],
)
def test_a_damaged_card_is_seen(small_folder, text, reason):
    (small_folder / "facenet.json").write_text(text)
    with pytest.raises(BadNetwork, match=f"facenet.json {reason}"):
        load_facenet(small_folder)


@pytest.mark.parametrize("entry", ["name", "side", "template", "threshold", "sha256"])
def test_a_card_without_an_entry_is_seen(small_folder, entry):
    card = json.loads((small_folder / "facenet.json").read_text())
    del card[entry]
    (small_folder / "facenet.json").write_text(json.dumps(card))
    with pytest.raises(BadNetwork, match="facenet.json is incomplete"):
        load_facenet(small_folder)


def test_a_card_can_not_leave_the_weights_unchecked(small_folder):
    card = json.loads((small_folder / "facenet.json").read_text())
    del card["sha256"]["model.h5"]
    (small_folder / "facenet.json").write_text(json.dumps(card))
    with pytest.raises(BadNetwork, match="facenet.json is incomplete"):
        load_facenet(small_folder)


def test_a_missing_folder_is_named():
    with pytest.raises(BadNetwork, match="no/such/network holds no network: .*; weights/resnet holds one"):
        load_facenet("no/such/network")


# ------------------------------------------------------------------------ networks that somebody brings along
@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("0..255", lambda faces: faces),
        ("0..1", lambda faces: faces / 255),
        ("-1..1", lambda faces: faces / 127.5 - 1),
        ((1 / 128, -127.5 / 128), lambda faces: (faces - 127.5) / 128),
    ],
    ids=["0..255", "0..1", "-1..1", "factor and offset"],
)
def test_any_keras_file_gets_its_scaling_and_unit_length(bare_network, tmp_path, ending, scaling, expected):
    path = tmp_path / f"mine{ending}"
    bare_network.save(path)
    model = load_facenet(path, scaling=scaling)
    faces = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    raw = np.asarray(bare_network(expected(faces).astype(np.float32)))
    np.testing.assert_allclose(model(faces), raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5)
    assert info_of(model).side == 8 and info_of(model).name == "mine" and not model.trainable


@pytest.fixture
def bare_network() -> keras.Model:
    """A network of somebody else's: 8×8 faces to 16 numbers of any length."""
    start = keras.initializers.RandomNormal(seed=2)
    layers = [keras.layers.Flatten(), keras.layers.Dense(16, kernel_initializer=start)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def test_a_keras_file_of_any_size_needs_a_side(tmp_path):
    path = tmp_path / "any.keras"
    keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]).save(path)
    with pytest.raises(BadArgument, match="takes faces of any size; say which with side="):
        load_facenet(path, scaling="0..1")
    assert load_facenet(path, scaling="0..1", side=24).input_shape == (None, 24, 24, 3)


def test_what_is_missing_or_wrong_about_a_keras_file_is_said(bare_network, small_folder, tmp_path):
    path, text, map_of_numbers = tmp_path / "mine.keras", tmp_path / "text.keras", tmp_path / "maps.keras"
    bare_network.save(path)
    text.write_text("no network")
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)]).save(map_of_numbers)
    with pytest.raises(BadArgument, match="mine.keras: say what the network expects with scaling="):
        load_facenet(path)
    with pytest.raises(BadArgument, match=r"scaling='0..2': one of '0..255', '0..1', '-1..1', or a pair"):
        load_facenet(path, scaling="0..2")
    with pytest.raises(BadNetwork, match=r"mine takes \(None, 8, 8, 3\), not faces \(m, 9, 9, 3\)"):
        load_facenet(path, scaling="0..1", side=9)
    with pytest.raises(BadNetwork, match="text.keras can't be opened as a Keras model"):
        load_facenet(text, scaling="0..1")
    with pytest.raises(BadNetwork, match=r"maps gives \(None, 6, 6, 4\); encodings are \(m, D\)"):
        load_facenet(map_of_numbers, scaling="0..1")
    with pytest.raises(BadArgument, match="carries its own scaling and side"):
        load_facenet(small_folder, scaling="0..1")


def test_a_network_that_takes_no_faces_is_refused():
    model = keras.Sequential([keras.Input((8, 9, 3)), keras.layers.Flatten()])
    with pytest.raises(BadNetwork, match=r"a face network takes \(m, S, S, 3\)"):
        img_to_encoding(BLANK, model, aligned=True)


# ---------------------------------------------------------------------------------------------- encodings
#: Euclidean distances between the encodings of committed pictures, as the shipped network gives them.
GOLDEN_NAMES = ("lena", "camera_0", "ines", "lookalike", "otto")
GOLDEN = [
    [0.000, 0.388, 0.764, 0.726, 0.958],
    [0.388, 0.000, 0.705, 0.707, 0.958],
    [0.764, 0.705, 0.000, 0.520, 1.010],
    [0.726, 0.707, 0.520, 0.000, 0.969],
    [0.958, 0.958, 1.010, 0.969, 0.000],
]


def test_golden_distances(images, network):
    """A 5×5 matrix. Moving every keypoint by up to a pixel, as another machine's arithmetic might, moves a
    distance by 0.02 at most: that is the tolerance.
    """
    encodings, problems = photos_to_encodings([images / f"{name}.jpg" for name in GOLDEN_NAMES], network)
    distances = np.linalg.norm(encodings[:, None] - encodings[None], axis=2)
    assert not problems
    np.testing.assert_allclose(distances, GOLDEN, atol=0.02)


def test_an_encoding_is_128_numbers_of_unit_length(images, network, database):
    encoding = img_to_encoding(images / "lena.jpg", network)
    assert encoding.shape == (128,) and encoding.dtype == np.float32
    for known in [encoding, *database.values()]:
        assert np.linalg.norm(known) == pytest.approx(1, abs=1e-5)


def test_an_aligned_face_is_encoded_as_it_is(photos, network, database):
    encoding = img_to_encoding(extract_face(photos["lena"]), network, aligned=True)
    np.testing.assert_allclose(encoding, database["lena"], atol=1e-3)  # other keypoints' last digits, another grid


def test_a_photo_without_a_face_is_refused_by_name(tmp_path, network):
    path = tmp_path / "door.png"
    Image.fromarray(BLANK).save(path)
    with pytest.raises(NoFaceFound, match=rf"no face in {re.escape(str(path))} \(80×60\)"):
        img_to_encoding(path, network)
    with pytest.raises(UnreadableImage, match="nobody.jpg"):
        img_to_encoding("nobody.jpg", network)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_the_size_of_a_batch_changes_nothing(small_network, count):
    faces = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    encodings = faces_to_encodings(faces, small_network, batch_size=3)
    assert encodings.shape == (count, 128) and encodings.dtype == np.float32
    np.testing.assert_allclose(encodings, np.reshape(small_network(faces.astype("float32")), (-1, 128)), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (1, 9, 8, 3), (1, 8, 8, 1), (0,), (2, 3, 8, 8)])
def test_faces_of_another_shape_are_refused(small_network, shape):
    with pytest.raises(BadArgument, match=rf"small takes faces \(m, 8, 8, 3\), not {re.escape(str(shape))}"):
        faces_to_encodings(np.zeros(shape), small_network)


def test_one_bad_photo_does_not_sink_the_others(images, photos, network, database):
    sources = [images / "lena.jpg", b"no picture", BLANK, photos["jun"], images / "nobody.jpg"]
    encodings, problems = photos_to_encodings(iter(sources), network)
    assert encodings.shape == (5, 128) and encodings.dtype == np.float32
    np.testing.assert_allclose(encodings[0], database["lena"], atol=1e-4)
    np.testing.assert_allclose(encodings[3], database["jun"], atol=1e-4)
    assert np.isnan(encodings[[1, 2, 4]]).all()
    kinds = {i: type(problem) for i, problem in problems.items()}
    assert kinds == {1: UnreadableImage, 2: NoFaceFound, 4: UnreadableImage}
    assert "an array (60, 80, 3)" in str(problems[2]) and "nobody.jpg" in str(problems[4])


def test_many_photos_keep_their_order(small_network):
    """More than go through together; every tenth is bad."""
    faces = list(np.random.default_rng(0).integers(0, 256, (75, 8, 8, 3), dtype=np.uint8))
    sources = [b"bad" if i % 10 == 5 else face for i, face in enumerate(faces)]
    encodings, problems = photos_to_encodings(sources, small_network, aligned=True)
    good = [i for i in range(75) if i % 10 != 5]
    assert sorted(problems) == list(range(5, 75, 10)) and np.isnan(encodings[5::10]).all()
    np.testing.assert_allclose(encodings[good], faces_to_encodings(np.stack(faces), small_network)[good], atol=1e-5)


def test_a_picture_that_is_no_aligned_face_does_not_sink_the_others(small_network, picture):
    square = np.tile(picture[:, :6], (3, 3, 1))
    encodings, problems = photos_to_encodings([square, picture[:2], square], small_network, aligned=True)
    assert list(problems) == [1] and "9×2 is no aligned face" in str(problems[1])
    assert np.isnan(encodings[1]).all() and np.isfinite(encodings[[0, 2]]).all()


def test_the_central_face_can_be_asked_for(photos, network, database):
    """Jun, smaller, stands in the middle of three; the largest face is at the border."""
    small = np.asarray(Image.fromarray(photos["jun"]).resize((200, 200)))
    photo = np.zeros((320, 840, 3), np.uint8)
    photo[:, :320], photo[60:260, 330:530] = photos["lena"], small
    (largest, central) = (photos_to_encodings([photo], network, which=which)[0][0] for which in ("largest", "central"))
    assert np.linalg.norm(largest - database["lena"]) < 0.7 < np.linalg.norm(largest - database["jun"])
    assert np.linalg.norm(central - database["jun"]) < 0.7 < np.linalg.norm(central - database["lena"])


# ---------------------------------------------------------------------------------------------- decisions
CAMERA = [f"camera_{i}" for i in range(20)]


@pytest.mark.parametrize("name", CAMERA)
def test_every_camera_picture_is_answered_rightly(images, answers, network, database, capsys, name):
    """People of the database are recognised, strangers are nobody, at 0.7; the sentence says the same."""
    expected = answers[f"{name}.jpg"]
    distance, identity = who_is_it(images / f"{name}.jpg", database, network)
    assert identity == expected and type(distance) is float
    sentence = "Not in the database." if expected is None else f"It's {expected}, the distance is {distance:.2f}"
    assert capsys.readouterr().out == sentence + "\n"
    assert (distance < 0.7) == (expected is not None)


def test_the_answers_cover_the_camera(images, answers, database):
    pictures = {path.name for path in images.glob("*.jpg")}
    assert pictures - set(answers) == {f"{name}.jpg" for name in database} and set(answers) <= pictures


def test_the_lookalike_gets_in_at_the_usual_threshold(images, answers, network, database, capsys):
    distance, identity = who_is_it(images / "lookalike.jpg", database, network)
    assert answers["lookalike.jpg"] is None and identity in database and distance < 0.7
    assert who_is_it(images / "lookalike.jpg", database, network, threshold=distance) == (distance, None)
    assert capsys.readouterr().out.endswith("Not in the database.\n")


def test_the_nearest_identity_decides(images, network, database):
    """The distance is the smallest over the database, and is that identity's."""
    encoding = img_to_encoding(images / "camera_1.jpg", network)
    distances = {name: float(np.linalg.norm(encoding - known)) for name, known in database.items()}
    distance, identity = who_is_it(images / "camera_1.jpg", database, network)
    assert identity == min(distances, key=distances.get)
    assert distance == pytest.approx(min(distances.values()), abs=1e-5)


def test_verify_opens_the_door_for_the_right_person(images, network, database, capsys):
    distance, door_open = verify(images / "camera_0.jpg", "lena", database, network)
    assert door_open is True and type(distance) is float and distance < 0.7
    assert capsys.readouterr().out == "It's lena, welcome in!\n"
    expected = np.linalg.norm(img_to_encoding(images / "camera_0.jpg", network) - database["lena"])
    assert distance == pytest.approx(expected, abs=1e-5)


def test_verify_keeps_a_stolen_card_out(images, network, database, capsys):
    distance, door_open = verify(images / "camera_0.jpg", "kofi", database, network)
    assert door_open is False and distance >= 0.7
    assert capsys.readouterr().out == "It's not kofi, please go away\n"


def test_an_aligned_face_at_the_door(photos, network, database):
    """A crop in which no detector looks for a face any more."""
    face = extract_face(photos["camera_0"])
    assert who_is_it(face, database, network, aligned=True)[1] == "lena"
    assert verify(face, "lena", database, network, aligned=True)[1]
    assert not verify(face, "kofi", database, network, aligned=True)[1]


def test_the_threshold_itself_is_too_far(images, network, database):
    """The door opens *below* the threshold, in verify, who_is_it and identify alike."""
    photo = images / "camera_0.jpg"
    distance, _ = verify(photo, "lena", database, network)
    beyond = np.nextafter(distance, 2)
    assert [verify(photo, "lena", database, network, t)[1] for t in (distance, beyond)] == [False, True]
    distance, _ = who_is_it(photo, database, network)
    assert [who_is_it(photo, database, network, t)[1] for t in (distance, np.nextafter(distance, 2))] == [None, "lena"]
    distance = identify(photo, database, network).distance[0]
    tables = [identify(photo, database, network, t) for t in (distance, np.nextafter(distance, 2))]
    assert [table.identity[0] for table in tables] == [None, "lena"]
    assert [table.is_unknown[0] for table in tables] == [True, False]


def test_identify_names_everyone_of_the_video_call(images, answers, network, database):
    """The call is a grid of two rows and three columns; the answers go through it as one reads."""
    table = identify(images / "video_call.jpg", database, network)
    columns = ["face", "box", "identity", "distance", "confidence", "rank", "is_unknown", "nearest"]
    assert list(table.columns) == columns
    assert list(table["face"]) == list(range(6)) and set(table["rank"]) == {1}
    places = [(round((y + h / 2) // 430), round((x + w / 2) // (1280 / 3))) for x, y, w, h in table.box]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert list(table.identity) == answers["video_call.jpg"]
    assert list(table.is_unknown) == [name is None for name in answers["video_call.jpg"]]
    assert ((table.distance < 0.7) == ~table.is_unknown).all()
    assert set(table.nearest) <= set(database)


def test_identify_says_how_sure_it_is_as_learned_from_people(images, network, database):
    """Nearer is surer; unless told, everybody in the database and a stranger are as probable; by Bayes' rule."""
    table = identify(images / "video_call.jpg", database, network, top=3)
    assert table.confidence.between(0, 1).all()
    assert (table.sort_values("distance").confidence.diff().dropna() <= 0).all()
    assert table.confidence[table.distance < 0.5].min() > 0.9 and table.confidence[table.distance > 0.8].max() < 0.1
    even = identify(images / "video_call.jpg", database, network, top=3, prior=0.5)
    np.testing.assert_allclose(even.confidence, confidence(table.distance, network))
    odds = even.confidence / (1 - even.confidence) / len(database)
    np.testing.assert_allclose(table.confidence, odds / (1 + odds), rtol=1e-6)
    with pytest.raises(BadArgument, match="prior=1.5"):
        identify(images / "video_call.jpg", database, network, prior=1.5)


def test_a_network_whose_distances_nobody_has_measured_says_nothing_of_confidence(images, small_network):
    known = {"eve": np.eye(128, dtype=np.float32)[0]}
    assert identify(images / "camera_0.jpg", known, small_network).confidence.isna().all()


def test_a_card_with_a_senseless_probability_is_damaged(small_folder):
    card = json.loads((small_folder / "facenet.json").read_text())
    card["probability"] = {"method": "logistic", "prior": 0.5, "distances": [0.4, 1.0], "log_odds": [-3.0, 3.0]}
    (small_folder / "facenet.json").write_text(json.dumps(card))
    with pytest.raises(BadNetwork, match="facenet.json is damaged: .*the farther, the less probable"):
        load_facenet(small_folder)


def test_portraits_that_will_make_trouble_are_named_before_they_are_enrolled(images, photos, tmp_path):
    """The worst first; one that can't be used says why; the camera's pictures are no portraits."""
    shutil.copy(images / "lena.jpg", tmp_path)
    shutil.copy(images / "camera_3.jpg", tmp_path)
    Image.fromarray(cv2.GaussianBlur(photos["otto"], (0, 0), 9)).save(tmp_path / "otto.jpg")
    (tmp_path / "eve.jpg").write_bytes(b"no picture")
    table = judge_portraits(tmp_path, progress=False)
    assert list(table.file) == ["eve.jpg", "otto.jpg", "lena.jpg"] and table.score.is_monotonic_increasing
    assert table.score[0] == 0 and "eve.jpg is not a picture" in table.hints[0]
    assert "blurred" in table.hints[1] and table.hints[2] == "" and table.score[2] > 0.9
    with pytest.raises(BadArgument, match="is not a folder"):
        judge_portraits(tmp_path / "nowhere")


def test_a_poor_portrait_is_used_with_a_warning_and_a_good_one_without(images, photos, network, tmp_path):
    shutil.copy(images / "lena.jpg", tmp_path)
    Image.fromarray(cv2.GaussianBlur(photos["otto"], (0, 0), 9)).save(tmp_path / "otto.jpg")
    with pytest.warns(PoorPortrait) as warned:
        known, unusable = build_database(tmp_path, network, progress=False)
    assert set(known) == {"lena", "otto"} and unusable.empty
    assert [str(w.message).split(" is used, but ")[0] for w in warned] == ["otto.jpg"]
    assert "the face is blurred: hold still" in str(warned[0].message)


def test_identify_lists_the_nearest_few(images, network, database):
    table = identify(images / "camera_0.jpg", database, network, top=3)
    encoding = img_to_encoding(images / "camera_0.jpg", network)
    distances = {name: float(np.linalg.norm(encoding - known)) for name, known in database.items()}
    nearest = sorted(distances, key=distances.get)[:3]
    assert list(table.nearest) == nearest and list(table["rank"]) == [1, 2, 3] and set(table["face"]) == {0}
    np.testing.assert_allclose(table.distance, [distances[name] for name in nearest], atol=1e-4)
    assert list(table.identity) == [name if distances[name] < 0.7 else None for name in nearest]
    assert len(identify(images / "camera_0.jpg", database, network, top=99)) == len(database)


def test_identify_finds_nobody_on_an_empty_photo(network, database):
    table = identify(BLANK, database, network)
    assert len(table) == 0 and "identity" in table and table.is_unknown.dtype == bool


@pytest.mark.parametrize("top", [0, -1, 1.5, "2", None])
def test_identify_refuses_a_senseless_top(network, database, top):
    with pytest.raises(BadArgument, match="top="):
        identify(BLANK, database, network, top=top)


def test_an_unknown_identity_is_named_with_near_names(images, network, database):
    with pytest.raises(UnknownIdentity, match="nobody called 'leena' is in the database; did you mean lena"):
        verify(images / "camera_0.jpg", "leena", database, network)
    with pytest.raises(UnknownIdentity, match="nobody called 'Xqwzt' is in the database; it knows 12 people"):
        verify(images / "camera_0.jpg", "Xqwzt", database, network)
    with pytest.raises(UnknownIdentity, match="it knows 0 people"):
        verify(images / "camera_0.jpg", "lena", {}, network)


@pytest.mark.parametrize("decide", [who_is_it, identify])
def test_an_empty_database_is_refused(images, network, decide):
    with pytest.raises(EmptyDatabase, match="build_database"):
        decide(images / "camera_0.jpg", {}, network)


@pytest.mark.parametrize("kind", [dict, UserDict])
@pytest.mark.parametrize("reshape", [np.asarray, lambda e: e.reshape(1, 128), list, lambda e: e.astype(np.float64)])
def test_entries_of_every_shape_that_students_have(images, network, database, kind, reshape):
    """The course keeps (1, 128); a list, doubles and any mapping do as well."""
    known = kind({name: reshape(encoding) for name, encoding in database.items()})
    assert who_is_it(images / "camera_0.jpg", known, network)[1] == "lena"
    assert verify(images / "camera_0.jpg", "lena", known, network)[1]


BAD_ENTRIES = {
    "NaN": np.full(128, np.nan),
    "one infinite number": np.append(np.zeros(127), np.inf),
    "too short": np.zeros(64),
    "two encodings": np.zeros((2, 128)),
    "nothing": None,
    "text": "lena",
    "ragged": [[1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
def test_bad_entries_are_named(network, database, entry):
    """Before the photo is even opened."""
    known = {**database, "eve": entry}
    for decide in (
        lambda: who_is_it("nobody.jpg", known, network),
        lambda: identify("nobody.jpg", known, network),
        lambda: verify("nobody.jpg", "eve", known, network),
    ):
        with pytest.raises(BadArgument, match="the database's entry for eve is no encoding of resnet"):
            decide()


@pytest.mark.parametrize("threshold", [-0.1, np.nan, np.inf, "0.7", True, [0.7]])
def test_senseless_thresholds_are_refused(network, database, threshold):
    for decide in (
        lambda: who_is_it(BLANK, database, network, threshold=threshold),
        lambda: identify(BLANK, database, network, threshold=threshold),
        lambda: verify(BLANK, "lena", database, network, threshold=threshold),
    ):
        with pytest.raises(BadArgument, match="threshold="):
            decide()


@pytest.mark.parametrize("threshold", [0, 0.0, 1, np.float32(0.7), np.int64(2)])
def test_sensible_thresholds_are_taken(network, database, threshold):
    assert identify(BLANK, database, network, threshold=threshold).empty


def test_a_bad_photo_at_the_door_is_said(network, database, capsys):
    for decide in (
        lambda photo: who_is_it(photo, database, network),
        lambda photo: verify(photo, "lena", database, network),
    ):
        with pytest.raises(NoFaceFound, match=r"no face in an array \(60, 80, 3\) \(80×60\)"):
            decide(BLANK)
        with pytest.raises(UnreadableImage, match="a picture of 5 bytes"):
            decide(b"bytes")
    assert capsys.readouterr().out == ""


# ----------------------------------------------------------------------------------------- build_database
def test_the_portraits_become_the_database(images, database):
    """Not what the camera saw, not the group photo, not the lookalike, and no files that are no pictures."""
    names = {path.stem for path in images.glob("*.jpg")}
    others = {name for name in names if name.startswith(("camera_", "video_call", "lookalike"))}
    assert list(database) == sorted(names - others) and len(database) == 12
    assert all(known.shape == (128,) and known.dtype == np.float32 for known in database.values())


def portraits(folder: Path, *files: tuple[str, Path | bytes]) -> Path:
    """A folder of files, each copied from a path or written from bytes."""
    folder.mkdir()
    for name, content in files:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


def test_files_that_can_not_be_used_become_rows(tmp_path, images, network, database):
    folder = portraits(
        tmp_path / "people",
        ("Zoë.JPG", images / "lena.jpg"),
        ("broken.jpg", (images / "jun.jpg").read_bytes()[:3000]),
        ("wall.png", encoded(Image.fromarray(BLANK), "PNG")),
        ("otto.jpg", images / "otto.jpg"),
        ("otto.png", encoded(Image.open(images / "otto.jpg"), "PNG")),
        ("notes.txt", b"not a picture"),
        (".DS_Store", b"what a Mac leaves everywhere"),
        ("camera_7.jpg", images / "camera_7.jpg"),
    )
    (folder / "album.jpg").mkdir()
    known, unusable = build_database(folder, network, progress=False)
    assert list(known) == ["Zoë", "otto"]
    np.testing.assert_allclose(known["Zoë"], database["lena"], atol=1e-4)
    assert list(unusable.columns) == ["file", "reason"]
    reasons = dict(unusable.values)
    assert list(unusable.file) == ["broken.jpg", "otto.png", "wall.png"]
    assert "is damaged" in reasons["broken.jpg"] and "no face in" in reasons["wall.png"]
    assert reasons["otto.png"] == "there is another portrait of otto"


def test_a_second_portrait_stands_in_for_a_broken_one(tmp_path, images, network):
    folder = portraits(tmp_path / "people", ("otto.jpeg", b"broken"), ("otto.jpg", images / "otto.jpg"))
    known, unusable = build_database(folder, network, progress=False)
    assert list(known) == ["otto"] and list(unusable.file) == ["otto.jpeg"]


def test_an_empty_folder_gives_an_empty_database(tmp_path, network):
    known, unusable = build_database(tmp_path, network, progress=False)
    assert known == {} and unusable.empty and list(unusable.columns) == ["file", "reason"]


def test_a_missing_folder_is_no_database(tmp_path, network):
    for folder in (tmp_path / "nowhere", __file__):
        with pytest.raises(BadArgument, match=f"{re.escape(str(folder))} is not a folder"):
            build_database(folder, network)


def test_progress_goes_to_the_error_stream_only(tmp_path, images, network, capsys):
    folder = portraits(tmp_path / "people", ("otto.jpg", images / "otto.jpg"))
    build_database(folder, network, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "1/1" in shown.err
    build_database(folder, network, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("database", [None, ["lena"], "lena"])
def test_a_database_is_a_mapping(network, database):
    for decide in (
        lambda: who_is_it(BLANK, database, network),
        lambda: identify(BLANK, database, network),
        lambda: verify(BLANK, "lena", database, network),
    ):
        with pytest.raises(BadArgument, match="database must map names to encodings"):
            decide()


def test_a_network_of_nan_opens_no_door(images, database):
    """It raises: a distance that is no number must not pass for a small one."""
    broken = load_facenet("weights/resnet")
    broken.get_layer("centred").bias.assign(np.full(128, np.nan))
    with pytest.raises(BadNetwork, match="no numbers"):
        who_is_it(images / "camera_0.jpg", database, broken)
    with pytest.raises(BadArgument, match="finite numbers"):
        faces_to_encodings(np.full((1, 150, 150, 3), np.nan, np.float32), load_facenet("weights/resnet"))


def test_eight_bits_in_a_32_bit_picture_stay_what_they_are():
    grey = np.arange(256, dtype=np.int32).reshape(16, 16)
    np.testing.assert_array_equal(load_image(Image.fromarray(grey))[..., 0], grey)


def test_the_networks_own_threshold_is_the_default(images, database, capsys):
    strict = load_facenet("weights/resnet")
    strict.facenet = dataclasses.replace(strict.facenet, threshold=0.2)
    assert who_is_it(images / "camera_0.jpg", database, strict)[1] is None
    assert who_is_it(images / "camera_0.jpg", database, strict, threshold=0.7)[1] == "lena"


def test_files_that_are_no_notes_are_reported_and_letters_are_composed(images, network, tmp_path):
    shutil.copy(images / "lena.jpg", tmp_path / unicodedata.normalize("NFD", "josé.jpg"))
    shutil.copy(images / "mei.jpg", tmp_path / "Camera_9.JPG")
    (tmp_path / "otto.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "notes.md").write_text("not a portrait")
    database, unusable = build_database(tmp_path, network, progress=False)
    assert list(database) == [unicodedata.normalize("NFC", "josé")]
    assert unusable.file.tolist() == ["otto.heic"] and "save HEIC pictures as JPEG" in unusable.reason[0]


# ------------------------------------------------------------------------------------ a database that lasts
def test_a_database_in_a_file_is_taken_as_a_dict_is(images, network, database, tmp_path, capsys):
    """verify, who_is_it and identify give the same answers; the file is asked to search by itself."""
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
        for photo in ("camera_0.jpg", "camera_5.jpg"):
            said = [who_is_it(images / photo, known, network) for known in (database, lasting)]
            assert said[0][1] == said[1][1] and said[0][0] == pytest.approx(said[1][0], abs=1e-5)
        assert verify(images / "camera_0.jpg", "lena", lasting, network)[1]
        with pytest.raises(UnknownIdentity, match="did you mean lena"):
            verify(images / "camera_0.jpg", "leena", lasting, network)
        tables = [identify(images / "video_call.jpg", known, network, top=3) for known in (database, lasting)]
        for column in ("face", "identity", "nearest", "rank", "is_unknown"):
            assert list(tables[0][column]) == list(tables[1][column]), column
        np.testing.assert_allclose(tables[0].confidence, tables[1].confidence, rtol=1e-3)
        assert len(identify(images / "camera_0.jpg", lasting, network, top=99)) == len(database)


def test_a_folder_goes_into_a_database_with_its_photos_and_goes_on_where_it_was(images, network, database, tmp_path):
    folder = portraits(
        tmp_path / "people",
        ("lena.jpg", images / "lena.jpg"),
        ("otto.jpg", images / "otto.jpg"),
        ("broken.jpg", b"no picture"),
        ("a\tb.jpg", images / "jun.jpg"),
    )
    with FaceDatabase(tmp_path / "door.db", network) as lasting:
        lasting["otto"] = database["jun"]
        filled, unusable = build_database(folder, network, progress=False, into=lasting)
        assert filled is lasting and list(lasting) == ["otto", "lena"]
        np.testing.assert_allclose(lasting["lena"], database["lena"], atol=1e-5)
        np.testing.assert_array_equal(lasting["otto"], database["jun"])  # as they were
        assert lasting.photos("lena")[0].shape == load_image(images / "lena.jpg").shape
        assert list(unusable.file) == ["a\tb.jpg", "broken.jpg"] and "control characters" in unusable.reason[0]
        before = lasting.people()
        build_database(folder, network, progress=False, into=lasting)
        assert lasting.people().equals(before)


def test_only_a_database_of_this_network_is_filled(images, network, tmp_path):
    with pytest.raises(BadArgument, match="into must be a FaceDatabase; it is a dict"):
        build_database(images, network, into={})
    with FaceDatabase(tmp_path / "door.db", load_facenet("keras-facenet-h5")) as other:
        with pytest.raises(OtherNetwork):
            build_database(images, network, into=other)
        assert len(other) == 0


def test_an_empty_database_in_a_file_is_named(images, network, tmp_path):
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        for ask in (who_is_it, identify):
            with pytest.raises(EmptyDatabase):
                ask(images / "camera_0.jpg", lasting, network)


def test_the_demo_takes_a_database_that_lasts(network, database, tmp_path):
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
    known = camera._database(tmp_path / "door.db", network)
    assert list(known) == list(database)
    for name, encoding in known.items():
        np.testing.assert_array_equal(encoding, database[name])


def test_verify_and_who_is_it_compare_with_the_same(images, network, database, tmp_path, capsys):
    """Two pictures of one person: their mean, or the nearer of them."""
    photos = [images / "lena.jpg", images / "camera_0.jpg"]
    for represent, least in (("mean", 0.05), ("nearest", 0.0)):
        with FaceDatabase(tmp_path / "door.db", network, represent) as lasting:
            lasting["lena"] = np.stack([img_to_encoding(photo, network) for photo in photos])
            distance = verify(photos[0], "lena", lasting, network)[0]
            assert distance == pytest.approx(who_is_it(photos[0], lasting, network)[0], abs=1e-4)
            assert (distance > 0.05) == (least > 0)


def test_a_database_that_does_not_know_its_network_is_not_asked_and_learns_it_while_it_is_empty(
    images, network, database, tmp_path
):
    with FaceDatabase(tmp_path / "door.db") as lasting:
        lasting["lena"] = database["lena"]
        for ask in (who_is_it, identify, lambda *args: verify(args[0], "lena", *args[1:])):
            with pytest.raises(OtherNetwork, match="nobody said"):
                ask(images / "camera_0.jpg", lasting, network)
        with pytest.raises(OtherNetwork, match="nobody said"):
            build_database(images, network, into=lasting)
    folder = portraits(tmp_path / "people", ("lena.jpg", images / "lena.jpg"))
    with FaceDatabase(tmp_path / "new.db") as lasting:
        build_database(folder, network, progress=False, into=lasting)
        assert who_is_it(images / "camera_0.jpg", lasting, network)[1] == "lena"
    with pytest.raises(OtherNetwork):
        FaceDatabase(tmp_path / "new.db", load_facenet("keras-facenet-h5"))


def test_a_database_of_another_network_is_not_asked(images, network, database, tmp_path):
    """Both give 128 numbers; a dict can't tell, a database that knows its network does."""
    other = load_facenet("keras-facenet-h5")
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
        for ask in (who_is_it, identify, lambda *args: verify(args[0], "lena", *args[1:])):
            with pytest.raises(OtherNetwork, match=r"of resnet \(.* Inception FaceNet \(.* can't compare them"):
                ask(images / "camera_0.jpg", lasting, other)


def test_an_export_never_writes_over_a_database(network, database, tmp_path):
    """An archive may be replaced; anything else that is there is not ours to remove."""
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        lasting.update(database)
        with pytest.raises(BadArgument, match="door.db is there and no archive"):
            lasting.export_to(tmp_path / "door.db")
        for _ in range(2):
            lasting.export_to(tmp_path / "people.zip")
        lasting.add("newcomer", database["lena"])
    with FaceDatabase(tmp_path / "door.db", network=network) as lasting:
        assert set(lasting) == {*database, "newcomer"}


def test_what_was_seen_has_the_number_of_its_photo_also_in_the_second_batch(photos, network):
    blank, small = BLANK, cv2.resize(photos["lena"], (160, 160))
    sources = [blank] * 31 + [small, blank, small]  # 32 go through the detector at once
    noted = []
    photos_to_encodings(
        sources, network, seen=lambda number, photo, face: noted.append((number, face["confidence"] > 0.9))
    )
    assert noted == [(31, True), (33, True)]
