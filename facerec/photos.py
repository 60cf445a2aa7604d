"""Photos: (H, W, 3) uint8 RGB, from anything that holds a picture.

a path, bytes, a file, a data URL, a PIL image, an array ──load_image──► photo
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import struct
import warnings
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from facerec.errors import BadArgument, UnreadableImage

#: Anything that opens a picture: a path, its bytes, a file object, a data URL, a PIL image, or an array.
Source = str | os.PathLike | bytes | io.IOBase | Image.Image | np.ndarray

#: Base64 text shorter than this, in letters, is taken for a path.
LONGEST_PATH = 1024

#: Larger pictures are refused before they are decoded (a 4 kB file can claim a billion pixels).
MAX_PIXELS = 64_000_000
MAX_SIDE = 32_000  # OpenCV can't resample longer ones
MAX_BYTES = 200_000_000

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # JPEG opens MPO too
PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".heic", ".heif", ".avif"),
    *(".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"),
)

#: The endings of films; one beside a picture of the same name is a phone's live photo.
FILM_ENDINGS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts")

#: What systems, cameras and people leave beside pictures.
BESIDE_PICTURES = (".md", ".txt", ".json", ".csv", ".ini", ".db", ".aae", ".xmp", ".thm", ".pp3")


def is_beside_pictures(file: Path) -> bool:
    """Whether a file is what systems, cameras and people leave beside pictures, going by its name.

    Example:
        >>> [is_beside_pictures(Path(name)) for name in ("lena.jpg", "Thumbs.db", ".DS_Store", "IMG_1.AAE", "lena")]
        [False, True, True, True, False]
    """
    return file.name.startswith(".") or "__MACOSX" in file.parts or file.suffix.lower() in BESIDE_PICTURES


def is_inside(name: str) -> bool:
    """Whether the name of a file in a zip file stays in it, on every system.

    Example:
        >>> [is_inside(name) for name in ("lena/1.jpg", "/etc/1.jpg", "../1.jpg", "c:/1.jpg")]
        [True, False, False, False]
    """
    parts = name.replace("\\", "/").split("/")
    return bool(parts[0]) and ".." not in parts and not re.match("[A-Za-z]:", name)


def files_in(source: Path) -> list[Path]:
    """The files of a folder or a zip file, at any depth but in no hidden folder, in their order (2 before 10).

    Args:
        source: The folder, or the zip file.

    Returns:
        Their paths below the source. Names in a zip file that lead out of it are left out.

    Raises:
        BadArgument: If it is neither.

    Example:
        >>> [file.name for file in files_in(Path("images")) if "camera_1" in file.name][:3]
        ['camera_1.jpg', 'camera_10.jpg', 'camera_11.jpg']
    """
    if source.is_dir():
        files = [Path(folder) / name for folder, _, names in os.walk(source) for name in names]
        below = [file.relative_to(source) for file in files]
    elif source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            below = [Path(name) for name in archive.namelist() if not name.endswith("/") and is_inside(name)]
    else:
        why = "is not a folder, nor a whole zip file" if source.exists() else "is not a folder: it does not exist"
        raise BadArgument(f"{source} {why}")
    below = [file for file in below if not any(folder.startswith(".") for folder in file.parts[:-1])]
    return sorted(below, key=lambda file: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", file.as_posix())])


def load_image(source: Source) -> np.ndarray:
    """Load a photo from anything that holds one, as upright RGB.

    Phone photos are turned upright (EXIF) and their colours brought to sRGB (ICC); grey, palette, 10- and 16-bit and
    CMYK pictures become RGB; transparent pixels become white; of an animation the first frame counts.

    Args:
        source: A path, which may lead into a zip file (``people.zip/lena/1.jpg``), the bytes of a file, a file object
            (from its beginning), a data URL or the Base64 text of a file, a PIL image, or an array or tensor: (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4), as uint8, uint16, or floats in 0..1.

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
    if hasattr(source, "__array__"):  # a tensor of TensorFlow, PyTorch or JAX
        return _array_to_rgb(np.asarray(source), name)
    try:
        data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _read(source)
    except (OSError, ValueError, TypeError, AttributeError, *BAD_ARCHIVE) as error:
        reason = getattr(error, "strerror", None) or error  # without a number, and the path once
        raise UnreadableImage(f"{name} can't be read: {reason}") from error
    if not data:
        raise UnreadableImage(f"{name} is empty")
    if len(data) > MAX_BYTES:
        raise UnreadableImage(f"{name} is larger than {MAX_BYTES // 10**6} MB")
    try:
        image = _open(data)
    except Exception as error:  # damaged headers make Pillow raise nearly anything
        film = data[4:8] == b"ftyp" and data[8:12] not in HEIC_BRANDS
        hint = "; it is a film: take its frames" if film else ""
        raise UnreadableImage(f"{name} is not a picture that can be opened{hint} ({reason_of(error)})") from error
    return _decode(image, name)


def save_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3), uint8, RGB, as JPEG or whatever the ending says."""
    Image.fromarray(picture).save(path, quality=95)


def describe(source: Any) -> str:
    """Name a picture for an error message: its path, or its type and size, never the picture itself."""
    if isinstance(source, str) and _holds_picture(source):
        return f"a picture as text of {len(source):,} letters"
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source) or "an empty path"
        return path if len(path) <= LONGEST_PATH else f"{path[:60]}… ({len(path):,} letters)"
    if isinstance(source, bytes):
        return f"a picture of {len(source):,} bytes"
    if hasattr(source, "shape") and hasattr(source, "__array__"):
        return f"{'an array' if isinstance(source, np.ndarray) else 'a tensor'} {tuple(source.shape)}"
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or f"a {type(source).__name__}")


def _holds_picture(text: str) -> bool:
    """Whether a text is a picture rather than the path of one: a data URL, or long Base64."""
    return text[:5].lower() == "data:" or (
        len(text) > LONGEST_PATH and re.fullmatch(r"[A-Za-z0-9+/=\s_-]+", text) is not None
    )


def _read(source: Any) -> bytes:
    """The bytes of a file: of a path, of a file object from its beginning, or of Base64 text."""
    if isinstance(source, str) and _holds_picture(source):
        return _from_base64(source)
    if hasattr(source, "read"):
        if hasattr(source, "seekable") and source.seekable():
            source.seek(0)  # it may have been read before
        return source.read(MAX_BYTES + 1)
    path = Path(source)
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    archive = None if path.exists() else zip_above(path)
    if archive is not None:
        with _opened(str(archive), archive.stat().st_mtime).open(path.relative_to(archive).as_posix()) as member:
            return member.read(MAX_BYTES + 1)
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


#: What can be wrong with a zip file, or with a picture in it.
BAD_ARCHIVE = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def zip_above(path: Path) -> Path | None:
    """The zip file that a path leads into, if it does."""
    return next((above for above in path.parents if above.suffix.lower() == ".zip" and above.is_file()), None)


@lru_cache(maxsize=4)
def _opened(archive: str, changed: float) -> zipfile.ZipFile:
    """A zip file, kept open; one that was changed since is opened again."""
    return zipfile.ZipFile(archive)


def _from_base64(text: str) -> bytes:
    """The bytes of a data URL, or of Base64 text in either alphabet."""
    header, comma, rest = text.partition(",") if text[:5].lower() == "data:" else ("data:;base64", ",", text)
    if not comma or not header.lower().endswith(";base64"):
        raise ValueError("it is not a data URL with Base64")
    try:
        letters = "".join(rest.split()).translate(str.maketrans("-_", "+/"))
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its Base64 is damaged: {error}") from error


#: What the eighth to eleventh byte of a HEIC file are.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _open(data: bytes) -> Image.Image:
    """Open a picture of one of :data:`FORMATS`, or HEIC; its pixels are not decoded yet."""
    formats = FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        from pillow_heif import register_heif_opener  # the first of them loads the decoder

        register_heif_opener()
        formats = ("HEIF", "AVIF")
    with warnings.catch_warnings():  # Pillow warns of large pictures (refused below) and damaged metadata
        warnings.simplefilter("ignore")
        return Image.open(io.BytesIO(data), formats=formats)


def reason_of(error: Exception) -> str:
    """The first line of what a library said was wrong, without its file objects."""
    if isinstance(error, Image.DecompressionBombError):
        return "it has far too many pixels"
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
    image = _to_srgb(image)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _to_srgb(image: Image.Image) -> Image.Image:
    """Bring colours that a camera or editor described by a profile, such as Display P3, to sRGB."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image  # the profile is damaged, or one of other colours: take the pixels as they are


def _array_to_rgb(array: np.ndarray, name: str) -> np.ndarray:
    """Grey, RGB or RGBA arrays of uint8, uint16 or floats in 0..1 → (H, W, 3) uint8."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        hint = "; its channels must come last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise UnreadableImage(f"{name} is not a picture: it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4){hint}")
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
