"""Photos as they are kept: a JPEG no larger than needed, and its thumbnail."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facerec.database.entries import kind_of
from facerec.errors import BadArgument, UnreadableImage

Picture = tuple[bytes, bytes]  # JPEG of the photo, JPEG of its thumbnail

PHOTO_SIDE = 1024  # pixels of the longer side, at most
THUMBNAIL_SIDE = 112
MAX_PIXELS = 64_000_000
OTHER_KINDS = {  # how files begin that are often taken for JPEGs
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II\*\0|MM\0\*",
    "WebP": rb"RIFF....WEBP",
    "HEIC": rb"....ftyp(heic|heix|mif1)",
}


def pack(photo: np.ndarray | bytes, limit: int | None = None, name: str = "photo") -> Picture:
    """A photo as it is kept: upright, without what cameras note (place, time), and its thumbnail.

    Args:
        photo: (H, W, 3) uint8 RGB, or the bytes of a JPEG, which stay as they are where nothing is to be changed.
        limit: The largest JPEG, in bytes; None for any.
        name: What to call it in an error.

    Returns:
        The JPEG of the photo, and that of its thumbnail.

    Raises:
        UnreadableImage: If the bytes are not a JPEG that can be opened, or have too many pixels.
        BadArgument: If it is neither such an array nor bytes.
    """
    image = _open_photo(photo, name)
    keep = isinstance(photo, bytes) and not _tells_more(image) and max(image.size) <= PHOTO_SIDE
    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{name} is a damaged picture: {error}") from error
    upright.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    jpeg = photo if keep else _jpeg(upright)
    while limit and len(jpeg) > limit:
        upright = upright.resize((max(upright.width * 4 // 5, 1), max(upright.height * 4 // 5, 1)))
        jpeg = _jpeg(upright, 85)
    small = Image.open(io.BytesIO(jpeg))
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return jpeg, _jpeg(small, 85)


def unpack(jpeg: bytes) -> np.ndarray:
    """A kept JPEG as a photo, (H, W, 3) uint8 RGB."""
    return np.asarray(Image.open(io.BytesIO(jpeg), formats=("JPEG",)).convert("RGB"))


def _open_photo(photo: Any, name: str) -> Image.Image:
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise BadArgument(f"{name} is {photo.dtype} {photo.shape}; (H, W, 3) uint8 is what load_image gives")
        return Image.fromarray(photo)
    if not isinstance(photo, bytes):
        raise BadArgument(f"{name} must be an array (H, W, 3) uint8 or the bytes of a JPEG, not {kind_of(photo)}")
    try:
        image = Image.open(io.BytesIO(photo), formats=("JPEG",))
    except UnidentifiedImageError as error:  # its text shows the stream, not what is wrong
        raise _not_a_jpeg(photo, name) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{name} is not a JPEG that can be opened ({len(photo)} bytes): {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{name} has {image.width}×{image.height} pixels; {MAX_PIXELS:,} at most")
    return image


def _not_a_jpeg(photo: bytes, name: str) -> UnreadableImage:
    """The error that says what bytes are instead of a JPEG, if that can be told."""
    size = f"({len(photo)} bytes)"
    kind = next((kind for kind, beginning in OTHER_KINDS.items() if re.match(beginning, photo, re.DOTALL)), None)
    if kind:
        return UnreadableImage(f"{name} is a {kind} {size}; give an array (H, W, 3), or a JPEG's bytes")
    return UnreadableImage(f"{name} is not a JPEG that can be opened {size}")


def _tells_more(image: Image.Image) -> bool:
    """Whether a JPEG holds more than a picture."""
    return image.mode != "RGB" or bool(set(image.info) & {"exif", "comment", "xmp", "photoshop", "mp"})


def _jpeg(image: Image.Image, quality: int = 92) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0 if quality > 90 else -1)
    return stream.getvalue()
