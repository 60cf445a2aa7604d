"""What is kept in a database of people, whatever keeps it: names, encodings, photos, and whose encodings they are.

Everything is checked here before it is kept, and has the form in which it is kept. The engines below ``FaceDatabase``
stand on this, and users import it from ``face_database``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facerec.errors import BadArgument, BadNetwork, FaceError, UnknownIdentity, UnreadableImage

JOINERS = "\u200c\u200d"  # within Persian words, Indian letters and emoji of several


TAGS = range(0xE0020, 0xE0080)  # of which the flags of Scotland, Wales and England are made


PICTURES = {  # how files begin that are taken for photos too
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II\*\0|MM\0\*",
    "WebP": rb"RIFF....WEBP",
    "HEIC": rb"....ftyp(heic|heix|mif1)",
}


SCHEMA = 1  # the version of what the engines write


MAX_NAME = 200  # characters


PHOTO_SIDE = 1024  # kept photos are no larger


THUMBNAIL_SIDE = 112


MAX_PIXELS = 64_000_000


UNIT_WITHIN = 1e-3  # encodings that are off by more are refused; less is put right


FINGERPRINT = re.compile(r".*\S.*:[0-9a-f]+")  # what fingerprint_of gives: no path looks like it


class BadDatabase(FaceError):
    """A database that can't be opened or used: damaged, of a newer version, busy, or something else."""


class OtherNetwork(BadNetwork):
    """Encodings of two networks can't be compared."""


class NotForgottenYet(FaceError):
    """A person is out of the database, but a trace may still be in its files; ``tidy()`` completes it."""


class NobodyCalled(UnknownIdentity, KeyError):
    """As a dict's KeyError, and as this project's UnknownIdentity."""

    __str__ = ValueError.__str__  # KeyError would quote the sentence


def kind_of(value: Any) -> str:
    """What something is, for a sentence.

    Example:
        >>> kind_of(5), kind_of("lena"), kind_of(None)
        ('an int', 'a str', 'None')
    """
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def how_many(count: int) -> str:
    """So many people, in words.

    Example:
        >>> how_many(1), how_many(2)
        ('1 person', '2 people')
    """
    return f"{count} {'person' if count == 1 else 'people'}"


def check_path(path: Any, what: str = "path") -> str:
    """A path as it was given, with the home folder in the place of ``~``.

    Args:
        path: A str or an ``os.PathLike``.
        what: What to call it in an error.

    Raises:
        BadArgument: If it is something else, or blank.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        hint = "; write what is in it into a file first" if hasattr(path, "read") else ""
        raise BadArgument(f"{what} must be a path, a str or an os.PathLike; it is {kind_of(path)}{hint}")
    if not text.strip() or "\0" in text:
        raise BadArgument(f"{what}={text!r:.80}: the path of a file is needed")
    return os.path.expanduser(text)


def make_folder_of(path: Path, where: str) -> None:
    """Make the folder in which a database shall be, if it is not there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadArgument(f"where={where!r}: its folder can't be made: {error}") from error


def check_name(identity: Any) -> str:
    """A name as it is kept: any text of one line, é always as one letter, no blanks at its ends.

    Args:
        identity: What a person shall be called.

    Returns:
        The name in Unicode's composed form (NFC), without outer blanks: " lena " and "lena" are one person.

    Raises:
        BadArgument: If it is no text, blank, longer than 200 characters, or holds control characters or invisible ones
            (those that turn the direction of writing, say), by which two names could look like one.

    Example:
        >>> check_name("Robert'); DROP TABLE people;--")
        "Robert'); DROP TABLE people;--"
        >>> check_name(" Lena  M. ")
        'Lena  M.'
    """
    name = as_looked_up(identity)
    hidden = next((letter for letter in identity if _is_hidden(letter)), None) if not identity.isprintable() else None
    if hidden:
        sign = f"U+{ord(hidden):04X} {unicodedata.name(hidden, '')}".strip()
        raise BadArgument(f"identity={identity!r:.80}: {sign} is invisible, and no part of a name; leave it out")
    return name


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) == "Cf" and letter not in JOINERS and ord(letter) not in TAGS


def as_looked_up(identity: Any) -> str:
    """As ``check_name``, but with invisible characters: who came with them, when they were let in, can be found.

    Raises:
        BadArgument: If it can be nobody's name.
    """
    if not isinstance(identity, str):
        raise BadArgument(f"identity={identity!r:.80}: a name is text, not {kind_of(identity)}")
    given = unicodedata.normalize("NFC", identity)
    name = given.strip()
    if not name:
        raise BadArgument(f"identity={identity!r:.80}: a name needs something that can be read")
    if len(name) > MAX_NAME:
        raise BadArgument(f"identity={name[:20]!r}…: {len(name)} characters; {MAX_NAME} at most")
    if not given.isprintable() and any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in given):
        raise BadArgument(f"identity={given!r:.80}: line breaks and control characters are no part of a name")
    return name


def check_encodings(encodings: Any, dimension: int | None = None, what: str = "encoding") -> np.ndarray:
    """Encodings as they are kept and compared: (m, D) float32 of unit length.

    Args:
        encodings: (m, D) or (D,), numbers.
        dimension: D, if it is known.
        what: What to call them in an error.

    Returns:
        (m, D) float32. What is of unit length but for rounding stays as it is, to the last bit.

    Raises:
        BadArgument: If they have another shape, hold something else than finite numbers, or are not of unit length.
    """
    try:
        given = np.asarray(encodings)
    except ValueError as error:
        raise BadArgument(f"{what} must be (D,) or (m, D) numbers: {error}") from error
    if not np.issubdtype(given.dtype, np.integer) and not np.issubdtype(given.dtype, np.floating):
        raise BadArgument(f"{what} must be (D,) or (m, D) numbers; it is {given.dtype} {given.shape}")
    array = np.ascontiguousarray(given, np.float32)
    array = array[None] if given.ndim == 1 else array
    if given.ndim not in (1, 2) or array.shape[1] != (dimension or array.shape[1]) or array.shape[1] < 1:
        d = dimension or "D"
        raise BadArgument(f"{what} has the shape {given.shape}; one is ({d},), and m are (m, {d})")
    if not np.isfinite(array).all():
        raise BadArgument(f"{what} must be finite numbers: {given.shape} with NaN or infinity")
    return _to_unit_length(array, what)


def _to_unit_length(array: np.ndarray, what: str) -> np.ndarray:
    lengths = np.linalg.norm(array.astype(np.float64), axis=1)
    off = np.abs(lengths - 1)
    if len(off) and off.max() > UNIT_WITHIN:
        raise BadArgument(f"{what} must be of unit length; number {off.argmax()} has {lengths[off.argmax()]:.4g}")
    wrong = off > 2e-6
    if wrong.any():
        array = array.copy()
        array[wrong] = (array[wrong] / lengths[wrong, None]).astype(np.float32)
    return array


def mean_encoding(encodings: np.ndarray) -> np.ndarray:
    """What stands for a person with several encodings: their mean, brought back to unit length.

    Args:
        encodings: (n, D) of one person.

    Returns:
        (D,) float32. A single one is returned as it is; the first, if their mean is nothing.
    """
    if len(encodings) == 1:
        return encodings[0]
    mean = encodings.astype(np.float64).mean(axis=0)
    length = np.linalg.norm(mean)
    return (mean / length).astype(np.float32) if length > 1e-3 else encodings[0]


def fingerprint_of(model: Any) -> str:
    """What tells a network's encodings from another network's: the same in every process and on every machine.

    Args:
        model: A Keras model; what ``load_facenet`` noted on it (name, side, template) counts too.

    Returns:
        Its name, a colon, and 64 hexadecimal digits.
    """
    info = getattr(model, "facenet", None)
    side = getattr(info, "side", None) or model.input_shape[1]
    template = {point: [round(float(n), 6) for n in xy] for point, xy in getattr(info, "template", {}).items()}
    digest = hashlib.sha256(json.dumps([getattr(info, "name", ""), side, template], sort_keys=True).encode())
    for layer in _layers_of(model):
        if hasattr(layer, "scale") and hasattr(layer, "offset"):  # how pixels are scaled is no weight
            digest.update(b"".join(np.asarray(n, np.float64).tobytes() for n in (layer.scale, layer.offset)))
    for weight in model.weights:
        values = np.ascontiguousarray(weight)
        digest.update(str(values.shape).encode() + values.tobytes())
    return f"{getattr(info, 'name', None) or 'network'}:{digest.hexdigest()}"


def _layers_of(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", []):
        yield layer
        yield from _layers_of(layer)


def network_of(network: Any) -> tuple[str | None, int | None]:
    """The fingerprint of what was given as a network, and its D if that is known."""
    if network is None:
        return None, None
    if isinstance(network, str):
        if not is_fingerprint(network):
            raise BadArgument(
                f"network={network!r:.80} is no fingerprint: give the network itself, as load_facenet returns it, or "
                f"what fingerprint_of says about it"
            )
        return network, None
    if not hasattr(network, "weights") or not hasattr(network, "output_shape"):
        raise BadArgument(
            f"network must be a network, as load_facenet returns it, or its fingerprint; it is {kind_of(network)}"
        )
    shape = network.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2 or not isinstance(shape[1], int):
        raise BadArgument(f"network has the output {shape}; encodings are (m, D)")
    return fingerprint_of(network), shape[1]


def is_fingerprint(text: Any) -> bool:
    """Whether it looks like what ``fingerprint_of`` gives: a name, a colon, hexadecimal digits.

    Example:
        >>> is_fingerprint("resnet:0a1b2c"), is_fingerprint("weights/resnet")
        (True, False)
    """
    return isinstance(text, str) and len(text) <= 300 and FINGERPRINT.fullmatch(text) is not None


def short(fingerprint: str | None) -> str:
    """A fingerprint for people: the name and the first digits."""
    name, _, digits = (fingerprint or "an unknown network").partition(":")
    return f"{name} ({digits[:12]})" if digits else name[:60]


def other_network(where: str, known: str, given: str) -> OtherNetwork:
    """The error that says whose encodings a database holds, and whose were given."""
    return OtherNetwork(
        f"{where} holds encodings of {short(known)}, and {short(given)} can't compare them: load that network, or "
        f"open it without a network and encode everybody anew with reencode(), which needs a kept photo of each"
    )


def unlabelled(where: str, given: str) -> OtherNetwork:
    """The error that says that a database holds people, and nobody said whose encodings theirs are."""
    return OtherNetwork(
        f"{where} holds people, and nobody said whose encodings theirs are, so that they may not be those of "
        f"{short(given)}: if they are, say so once, FaceDatabase({where!r}).label(network); if not, open it without a "
        f"network and encode everybody anew with reencode(), which needs a kept photo of each"
    )


Picture = tuple[bytes, bytes]  # JPEG of the photo, JPEG of its thumbnail


def pack(photo: np.ndarray | bytes, limit: int | None = None, name: str = "photo") -> Picture:
    """A photo as JPEG, upright, no larger than needed, without what cameras note (place, time), and its thumbnail."""
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


def _open_photo(photo: Any, name: str) -> Image.Image:
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise BadArgument(f"{name} is {photo.dtype} {photo.shape}; (H, W, 3) uint8 is what load_image gives")
        return Image.fromarray(photo)
    if not isinstance(photo, bytes):
        raise BadArgument(f"{name} must be an array (H, W, 3) uint8 or the bytes of a JPEG, not {kind_of(photo)}")
    try:
        image = Image.open(io.BytesIO(photo), formats=("JPEG",))
    except UnidentifiedImageError as error:  # which shows the stream, and not what is wrong
        raise _no_jpeg(photo, name) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{name} is no JPEG that can be opened ({len(photo)} bytes): {error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableImage(f"{name} has {image.width}×{image.height} pixels; {MAX_PIXELS:,} at most")
    return image


def _no_jpeg(photo: bytes, name: str) -> UnreadableImage:
    """The error that says what bytes are instead of a JPEG, if that can be told."""
    size = f"({len(photo)} bytes)"
    kind = next((kind for kind, beginning in PICTURES.items() if re.match(beginning, photo, re.DOTALL)), None)
    if kind:
        return UnreadableImage(f"{name} is a {kind} {size}; give an array (H, W, 3), or a JPEG's bytes")
    return UnreadableImage(f"{name} is no JPEG that can be opened {size}")


def _tells_more(image: Image.Image) -> bool:
    """Whether a JPEG holds more than a picture."""
    return image.mode != "RGB" or bool(set(image.info) & {"exif", "comment", "xmp", "photoshop", "mp"})


def _jpeg(image: Image.Image, quality: int = 92) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0 if quality > 90 else -1)
    return stream.getvalue()


def unpack(jpeg: bytes) -> np.ndarray:
    """A JPEG as a photo, (H, W, 3) uint8."""
    return np.asarray(Image.open(io.BytesIO(jpeg), formats=("JPEG",)).convert("RGB"))
