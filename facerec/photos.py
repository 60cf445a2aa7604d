"""Photos: (H, W, 3) uint8 RGB, from anything that holds a picture.

a path, bytes, a file, a data URL, a PIL image, an array ──load_image──► photo
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import os
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from facerec import budget
from facerec._bare import DAMAGED_NOTES, ORIENTATION, bare, kind_of_picture
from facerec._quiet import without_pillow_warnings
from facerec.errors import BadArgument, TooLargeImage, UnreadableImage, kind_of

#: Anything that opens a picture: a path, its bytes, a file object, a data URL, a PIL image, or an array.
Source = str | os.PathLike | bytes | io.IOBase | Image.Image | np.ndarray

#: Base64 text shorter than this, in letters, is taken for a path.
LONGEST_PATH = 1024

#: Larger pictures are refused before they are decoded (a 4 kB file can claim a billion pixels).
MAX_PIXELS = 64_000_000
MAX_SIDE = 32_000  # OpenCV can't resample longer ones
LIMIT = f"more than {MAX_PIXELS // 10**6} million, or {MAX_SIDE:,} in a row, are refused"
MAX_BYTES = 200_000_000
LONGEST_NOTES = 65_536  # bytes of EXIF that are read; JPEGs can't hold more
LARGEST_PROFILE = 4_000_000  # bytes; those of printers have two million
STRIP = 50_000  # pixels that are converted at once: whole copies take four times as long, and 256 MB or more

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # JPEG opens MPO too
PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".heic", ".heif", ".avif"),
    *(".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"),
)

#: The endings of films.
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
        source: The folder, which may be a link and hold links, or lie in a zip file; or the zip file.

    Returns:
        Their paths below the source, and those of folders that can't be read. Names in a zip file that lead out of it
        are left out, with a warning.

    Raises:
        BadArgument: If it is neither.

    Example:
        >>> [file.name for file in files_in(Path("images")) if "camera_1" in file.name][:3]
        ['camera_1.jpg', 'camera_10.jpg', 'camera_11.jpg']
    """
    if source.is_dir():
        below = [Path(file).relative_to(source) for file in _walk(source)]
    elif archive := source if source.is_file() and zipfile.is_zipfile(source) else zip_above(source):
        inner = "" if source == archive else f"{source.relative_to(archive).as_posix()}/"
        try:
            names = open_zip(archive).NameToInfo
        except (OSError, ValueError, *BAD_ARCHIVE) as error:
            raise BadArgument(f"{archive} is not a whole zip file: {error}") from error
        names = [name.removeprefix(inner) for name in names if name.startswith(inner) and not name.endswith("/")]
        below = [Path(name) for name in names if is_inside(name)]
        if outside := [name for name in names if not is_inside(name)]:
            warnings.warn(f"{source}: left out, as their names lead out of it: {', '.join(outside)}", stacklevel=2)
    else:
        why = "is not a folder, nor a whole zip file" if source.exists() else "is not a folder: it does not exist"
        raise BadArgument(f"{source} {why}")
    below = [file for file in below if not any(folder.startswith(".") for folder in file.parts[:-1])]
    return sorted(below, key=lambda file: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", file.as_posix())])


def _walk(folder: Path) -> Iterator[str]:
    """The files below a folder, and the folders that can't be read; each once, by its own name if it has one.

    Raises:
        BadArgument: If the folder itself can't be read.
    """
    closed: list[OSError] = []
    entered, waiting = set(), [os.fspath(folder)]
    for top in waiting:  # links wait until all real folders have been entered
        for below, folders, names in os.walk(top, onerror=closed.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if os.path.realpath(below) in entered:
                folders[:] = []
                continue
            entered.add(os.path.realpath(below))
            waiting += filter(os.path.islink, (os.path.join(below, name) for name in folders))
            yield from (os.path.join(below, name) for name in names)
    for error in closed:
        if error.filename == os.fspath(folder):
            raise BadArgument(f"{folder} can't be read: {error.strerror}")
        yield error.filename


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
        UnreadableImage: If it can't be opened: missing, empty, damaged, or not a picture.
        TooLargeImage: If it has over 64 megapixels, or opening it would take more than two seconds or half a gigabyte
            (``facerec.budget``).

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
    return _decode(open_file(source), name)


def open_file(source: Source) -> Image.Image:
    """Open the picture in a file, as a PIL image whose pixels are not decoded yet: its size is known.

    Args:
        source: Anything that ``load_image`` takes, but an image or an array.

    Returns:
        The picture, without what a file holds beside it.

    Raises:
        UnreadableImage: As ``load_image``, but for damaged pixels.
    """
    name = describe(source)
    try:
        data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _read(source)
    except (OSError, ValueError, TypeError, AttributeError, *BAD_ARCHIVE) as error:
        reason = getattr(error, "strerror", None) or error  # without a number, and the path once
        raise UnreadableImage(f"{name} can't be read: {reason}") from error
    if isinstance(data, str):
        raise UnreadableImage(f"{name} is text, not the bytes of a picture: open files in mode 'rb'")
    if not data:
        raise UnreadableImage(f"{name} is empty")
    if len(data) > MAX_BYTES:
        raise TooLargeImage(f"{name} is larger than {MAX_BYTES // 10**6} MB")
    try:
        return _open(data, name)
    except budget.TooCostly as error:
        raise TooLargeImage(f"{name} {error}") from error
    except Image.DecompressionBombError as error:
        raise TooLargeImage(f"{name} has far too many pixels; {LIMIT}") from error
    except UnreadableImage:
        raise
    except Exception as error:  # damaged headers make Pillow raise nearly anything
        film = data[4:8] == b"ftyp" and kind_of_picture(data) is None
        hint = "; it is a film: take its frames" if film else ""
        hint = "; it is a zip file, or part of one: give a whole one by itself" if data[:4] == b"PK\3\4" else hint
        raise UnreadableImage(f"{name} is not a picture that can be opened{hint} ({reason_of(error)})") from error


def named(data: bytes, name: str) -> io.BytesIO:
    """The bytes of a file for ``load_image``, whose errors call it by this name.

    Example:
        >>> describe(named(b"...", "the photo of lena"))
        'the photo of lena'
    """
    file = io.BytesIO(data)
    file.name = name
    return file


def save_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3), uint8, RGB, as JPEG or whatever the ending says."""
    Image.fromarray(picture).save(path, quality=95)


def as_jpeg(photo: np.ndarray | Image.Image, quality: int) -> bytes:
    """A picture, (H, W, 3) uint8 RGB or one of Pillow's, as the bytes of a JPEG of this quality, 1 to 100."""
    stream = io.BytesIO()
    image = photo if isinstance(photo, Image.Image) else Image.fromarray(photo)
    image.save(stream, "JPEG", quality=quality, subsampling=0 if quality > 90 else -1)
    return stream.getvalue()


def data_url(jpeg: bytes) -> str:
    """A JPEG as a ``data:`` URL, which a page shows without another request."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


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
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or f"{kind_of(source)}")


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
    if path.is_dir():
        os.listdir(path)  # it may be one that can't be read
    if path.exists() and not path.is_file():
        raise OSError("it is not a file")
    archive = None if path.exists() else zip_above(path)
    if archive is not None:
        with open_zip(archive).open(path.relative_to(archive).as_posix()) as member:
            return member.read(MAX_BYTES + 1)
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


#: What can be wrong with a zip file, or with a picture in it.
BAD_ARCHIVE = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def zip_above(path: Path) -> Path | None:
    """The zip file that a path leads into, if it does."""
    return next((above for above in path.parents if above.suffix.lower() == ".zip" and above.is_file()), None)


def open_zip(archive: Path) -> zipfile.ZipFile:
    """A zip file for reading, kept open, whose files have the names that ``files_in`` gives them."""
    return _opened(str(archive), archive.stat().st_mtime)


@lru_cache(maxsize=4)
def _opened(archive: str, changed: float) -> zipfile.ZipFile:
    """A zip file; one that was changed since is opened again."""
    opened = zipfile.ZipFile(archive)
    opened.NameToInfo = {_name_in_zip(member): member for member in opened.filelist}
    return opened


def _name_in_zip(member: zipfile.ZipInfo) -> str:
    """The name of a file in a zip file: Windows may have written backslashes, and a Mac UTF-8 without saying so."""
    name = member.filename.replace("\\", "/")
    with contextlib.suppress(UnicodeError):
        name = name if member.flag_bits & 0x800 else name.encode("cp437").decode("utf-8")
    return f"{PurePosixPath(name)}{'/' * name.endswith('/')}" if is_inside(name) else name


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


def _open(data: bytes, name: str) -> Image.Image:
    """Open a picture of one of :data:`FORMATS`, or HEIC, that is not too large and not too costly to decode."""
    formats = FORMATS
    if kind_of_picture(data) == "HEIC":
        from pillow_heif import register_heif_opener  # the first of them loads the decoder

        register_heif_opener()
        formats = ("HEIF", "AVIF")
    with without_pillow_warnings():
        weight = budget.weigh(data)
        image = Image.open(io.BytesIO(bare(data)), formats=formats)
    _check_size(image.size, name)
    if weight is not None:
        profile = image.info["icc_profile"] if _other_colours(image) else b""
        budget.check(weight, image.size, len(data), profile)
    return image


def reason_of(error: Exception) -> str:
    """The first line of what a library said was wrong, without its file objects."""
    if isinstance(error, Image.DecompressionBombError):
        return "it has far too many pixels"
    reason = re.sub(r"cannot identify image file <.*>", "not a known kind of picture", str(error))
    return (reason.splitlines() or [""])[0][:120] or type(error).__name__


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height == 0:
        raise UnreadableImage(f"{name} has no pixels ({width}×{height})")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise TooLargeImage(f"{name} has {width}×{height} pixels; {LIMIT}")


def _decode(image: Image.Image, name: str) -> np.ndarray:
    """Decode a PIL image, convert it to RGB, and turn it upright."""
    _check_size(image.size, name)
    try:
        with without_pillow_warnings():  # damaged notes do not spoil good pixels
            image.load()
            photo, turn = _to_rgb(image, name), _turn_of(image)
    except UnreadableImage:
        raise
    except Exception as error:  # damaged pixels make the decoders raise nearly anything
        raise UnreadableImage(f"{name} is damaged ({reason_of(error)})") from error
    del image  # its memory is needed for the copy
    return np.ascontiguousarray(UPRIGHT[turn](photo)) if turn in UPRIGHT else photo


#: How the camera was held → what turns its pixels (H, W, 3) upright. Source: EXIF 2.32, tag 0x0112.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def _turn_of(image: Image.Image) -> int:
    """How the camera was held, as a picture's notes say, 1 to 8."""
    notes = image.info.get("exif")
    if notes and len(notes) > LONGEST_NOTES:
        image.info["exif"] = notes[:LONGEST_NOTES]
    try:
        return image.getexif().get(ORIENTATION, 1)
    except (*DAMAGED_NOTES, AssertionError):
        return 1  # take the pixels as they are


def _to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """The pixels of a decoded image, (H, W, 3) uint8, strip by strip."""
    deep = image.mode != "I" or image.getextrema()[1] > 255  # mode I holds 8-bit pixels as well
    to_srgb = _to_srgb(image)
    photo, rows = np.empty((image.height, image.width, 3), np.uint8), max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        photo[top : top + rows] = _strip_to_rgb(to_srgb(strip), deep, name)
    return photo


def _strip_to_rgb(image: Image.Image, deep: bool, name: str) -> np.ndarray:
    """Some rows of an image; ``deep`` ones of whole numbers have 16 bits."""
    if image.mode.startswith("I"):  # 16 bits per pixel, kept by Pillow in modes I and I;16
        pixels = np.asarray(image).clip(0, 65535)
        return _array_to_rgb(pixels.astype(np.uint16 if deep else np.uint8), name)
    if image.mode == "F":
        return _array_to_rgb(np.asarray(image), name)
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _other_colours(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The profile by which a camera or editor described colours, such as Display P3; None for sRGB.

    Profiles of megabytes, and programs in a profile (mpet), are not read.
    """
    profile = image.info.get("icc_profile")
    if not profile or len(profile) > LARGEST_PROFILE or b"mpet" in profile:
        return None
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = "sRGB" in ImageCms.getProfileDescription(opened)
    except BAD_PROFILE:
        return None  # it is damaged: take the pixels as they are
    return opened if not srgb and image.mode in ("RGB", "RGBA", "CMYK", "L") else None


BAD_PROFILE = (ImageCms.PyCMSError, OSError, ValueError, TypeError)


def _to_srgb(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What brings an image's colours to sRGB, strip by strip."""
    profile, mode = _other_colours(image), "RGBA" if image.mode == "RGBA" else "RGB"
    if profile is None:
        return lambda strip: strip
    try:
        change = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), image.mode, mode)
    except BAD_PROFILE:
        return lambda strip: strip  # it is of other colours than the pixels
    return lambda strip: ImageCms.applyTransform(strip, change)


def _array_to_rgb(array: np.ndarray, name: str) -> np.ndarray:
    """Grey, RGB or RGBA arrays of uint8, uint16 or floats in 0..1 → (H, W, 3) uint8."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        hint = "; its channels must come last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise UnreadableImage(f"{name} is not a picture: it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4){hint}")
    if array.shape[0] * array.shape[1] > MAX_PIXELS or max(array.shape) > MAX_SIDE:
        raise TooLargeImage(f"{name} has more than {MAX_PIXELS // 10**6} million pixels, or {MAX_SIDE:,} in a row")
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
