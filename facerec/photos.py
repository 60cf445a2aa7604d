"""Photos: (H, W, 3) uint8 RGB, from anything that holds a picture.

a path, bytes, a file, a PIL image, an array ──load_image──► photo
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from facerec.errors import UnreadableImage

#: Anything that opens a picture: a path, its bytes, a file object, a PIL image, or an array.
Source = str | os.PathLike | bytes | io.IOBase | Image.Image | np.ndarray

#: Larger pictures are refused before they are decoded (a 4 kB file can claim a billion pixels).
MAX_PIXELS = 64_000_000
MAX_SIDE = 32_000  # OpenCV can't resample longer ones
MAX_BYTES = 200_000_000

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # JPEG opens MPO too
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".avif")


def load_image(source: Source) -> np.ndarray:
    """Load a photo from anything that holds one, as upright RGB.

    Phone photos are turned upright (EXIF); grey, palette, 16-bit and CMYK pictures become RGB; transparent pixels
    become white; of an animation the first frame counts.

    Args:
        source: A path, the bytes of a file, a file object, a PIL image, or an array: (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), as uint8, uint16, or floats in 0..1.

    Returns:
        The photo, (H, W, 3) uint8.

    Raises:
        UnreadableImage: If it can't be opened: missing, empty, damaged, not a picture, or over 64 megapixels.

    Example:
        >>> load_image("images/lena.jpg").shape
        (320, 320, 3)
    """
    name = describe(source)
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source, name)
    if isinstance(source, Image.Image):
        return _decode(source, name)
    try:
        data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _read(source)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UnreadableImage(f"{name} can't be read: {error}") from error
    if not data:
        raise UnreadableImage(f"{name} is empty")
    if len(data) > MAX_BYTES:
        raise UnreadableImage(f"{name} is larger than {MAX_BYTES // 10**6} MB")
    try:
        with warnings.catch_warnings():  # Pillow warns of large pictures (refused below) and damaged metadata
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # damaged headers make Pillow raise nearly anything
        hint = "; save HEIC pictures as JPEG first" if data[4:8] == b"ftyp" else ""
        raise UnreadableImage(f"{name} is not a picture that can be opened{hint} ({reason_of(error)})") from error
    return _decode(image, name)


def save_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3), uint8, RGB, as JPEG or whatever the ending says."""
    Image.fromarray(picture).save(path, quality=95)


def describe(source: Any) -> str:
    """Name a picture for an error message: its path, or its type and size."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source) or "an empty path"
    if isinstance(source, np.ndarray):
        return f"an array {source.shape}"
    if isinstance(source, bytes):
        return f"a picture of {len(source):,} bytes"
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or f"a {type(source).__name__}")


def _read(source: Any) -> bytes:
    if hasattr(source, "read"):
        return source.read(MAX_BYTES + 1)
    if Path(source).exists() and not Path(source).is_file():
        raise OSError("it is not a file")
    with open(source, "rb") as file:
        return file.read(MAX_BYTES + 1)


def reason_of(error: Exception) -> str:
    """The first line of what a library said was wrong, without its file objects."""
    reason = re.sub(r"cannot identify image file <.*>", "not a known kind of picture", str(error))
    return (reason.splitlines() or [""])[0][:120] or type(error).__name__


def _decode(image: Image.Image, name: str) -> np.ndarray:
    """Decode a PIL image and convert it to RGB."""
    width, height = image.size
    if width * height == 0:
        raise UnreadableImage(f"{name} has no pixels ({width}×{height})")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"more than {MAX_PIXELS // 10**6} million, or {MAX_SIDE:,} in a row, are refused"
        raise UnreadableImage(f"{name} has {width}×{height} pixels; {limit}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata does not spoil good pixels
            image.load()
            return _to_rgb(_upright(image), name)
    except UnreadableImage:
        raise
    except Exception as error:  # damaged pixels make the decoders raise nearly anything
        raise UnreadableImage(f"{name} is damaged ({reason_of(error)})") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photo the way its camera was held."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, ZeroDivisionError, struct.error):
        return image  # the orientation tag is damaged: take the pixels as they are


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits per pixel, kept by Pillow in modes I and I;16
        pixels = np.asarray(image)
        deep = image.mode != "I" or pixels.max(initial=0) > 255  # mode I holds 8-bit pixels as well
        return _array_to_rgb(pixels.clip(0, 65535).astype(np.uint16 if deep else np.uint8), name)
    if image.mode == "F":
        return _array_to_rgb(np.asarray(image), name)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _array_to_rgb(array: np.ndarray, name: str) -> np.ndarray:
    """Grey, RGB or RGBA arrays of uint8, uint16 or floats in 0..1 → (H, W, 3) uint8."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise UnreadableImage(f"{name} is not a picture: it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    if array.shape[0] * array.shape[1] > MAX_PIXELS or max(array.shape) > MAX_SIDE:
        raise UnreadableImage(f"{name} has more than {MAX_PIXELS // 10**6} million pixels, or {MAX_SIDE:,} in a row")
    array = _to_uint8(array, name)
    if array.shape[2] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)), order="C")  # a copy: the caller may draw on it


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array // 257).astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise UnreadableImage(f"{name} holds floats outside 0..1; give uint8 for pixels in 0..255")
        return (array * 255).round().astype(np.uint8)
    raise UnreadableImage(f"{name} has dtype {array.dtype}; use uint8, uint16, or floats in 0..1")
