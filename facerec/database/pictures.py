"""Photos as they are kept: a JPEG no larger than needed, and its thumbnail."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from facerec._bare import bare_jpeg, kind_of_picture
from facerec.errors import BadArgument, UnreadableImage, kind_of
from facerec.photos import as_jpeg, load_image, named

Picture = tuple[bytes, bytes]  # JPEG of the photo, JPEG of its thumbnail

PHOTO_SIDE = 1024  # pixels of the longer side, at most
THUMBNAIL_SIDE = 112
LARGEST_KEPT = 3 * PHOTO_SIDE**2  # bytes of a JPEG that is kept as it is


def pack(photo: np.ndarray | bytes, limit: int | None = None, name: str = "photo") -> Picture:
    """A photo as it is kept: upright, in the colours of sRGB, without what cameras note, and its thumbnail.

    Args:
        photo: (H, W, 3) uint8 RGB, or the bytes of a JPEG. Its pixels stay as they are where nothing is to be changed;
            only the picture is kept of the file (``facerec._bare``).
        limit: The largest JPEG, in bytes; None for any.
        name: What to call it in an error.

    Returns:
        The JPEG of the photo, and that of its thumbnail.

    Raises:
        UnreadableImage: If the bytes are not a JPEG that can be opened, or have too many pixels.
        BadArgument: If it is neither such an array nor bytes.
    """
    image, jpeg = _opened(photo, name)
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    jpeg = jpeg or as_jpeg(image, 92)
    while limit and len(jpeg) > limit:
        image = image.resize((max(image.width * 4 // 5, 1), max(image.height * 4 // 5, 1)))
        jpeg = as_jpeg(image, 85)
    small = Image.open(io.BytesIO(jpeg))
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return jpeg, as_jpeg(small, 85)


def unpack(jpeg: bytes, name: str = "photo") -> np.ndarray:
    """A kept JPEG as a photo, (H, W, 3) uint8 RGB.

    Raises:
        UnreadableImage: If it is damaged.
    """
    return load_image(named(jpeg, name))


def whole_ones(
    pictures: Iterable[Picture], name: str, thumbnails: bool = False
) -> Iterator[tuple[Picture, np.ndarray]]:
    """The photos that can be opened, each with its pixels; a warning names those that are damaged.

    Args:
        pictures: Photos with their thumbnails.
        name: What to call one of them in a warning.
        thumbnails: Whether to open the thumbnails instead.

    Yields:
        The photo with its thumbnail, and the pixels (H, W, 3) uint8.
    """
    for picture in pictures:
        try:
            pixels = unpack(picture[thumbnails], name)
        except UnreadableImage as error:
            warnings.warn(f"{error}; it is left out", stacklevel=4)  # the call of photos()
        else:
            yield picture, pixels


def _opened(photo: Any, name: str) -> tuple[Image.Image, bytes | None]:
    """A photo upright, and its JPEG if that may be kept as it is."""
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise BadArgument(f"{name} is {photo.dtype} {photo.shape}; (H, W, 3) uint8 is what load_image gives")
        return Image.fromarray(photo), None
    if not isinstance(photo, bytes):
        raise BadArgument(f"{name} must be an array (H, W, 3) uint8 or the bytes of a JPEG, not {kind_of(photo)}")
    kind = kind_of_picture(photo)
    if kind not in ("JPEG", None):
        raise UnreadableImage(f"{name} is a {kind} ({len(photo)} bytes); give an array (H, W, 3), or a JPEG's bytes")
    if kind is None:
        raise UnreadableImage(f"{name} is not a JPEG that can be opened ({len(photo)} bytes)")
    image = Image.fromarray(load_image(named(photo, name)))
    alone = bare_jpeg(photo, notes=False)
    as_it_is = alone == bare_jpeg(photo) and Image.open(io.BytesIO(alone)).mode == "RGB"
    return image, alone if as_it_is and max(image.size) <= PHOTO_SIDE and len(alone) <= LARGEST_KEPT else None
