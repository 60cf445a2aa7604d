"""What is kept of people, checked before it is kept: encodings, and which network made them.

Names are checked in ``names``, photos in ``pictures``; the errors of a database are here too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from facerec.errors import BadArgument, BadNetwork, FaceError, UnknownIdentity, kind_of

SCHEMA = 1  # the version of what Milvus keeps; SQLite's files have their own
UNIT_WITHIN = 1e-3  # encodings whose length is off by more are refused; less is corrected
FINGERPRINT = re.compile(r".*\S.*:[0-9a-f]+")  # what fingerprint_of gives: no path looks like it


class BadDatabase(FaceError):
    """A database that can't be opened or used: damaged, of a newer version, busy, or not a database at all."""


class DamagedDatabase(BadDatabase):
    """A file that the disk has damaged: what is whole can be read and exported, but nothing can be changed."""


class DamageFound(UserWarning):
    """Something in a database is damaged and left out; the message names it."""


class OtherNetwork(BadNetwork):
    """The encodings come from another network, so they can't be compared."""


class NotForgottenYet(FaceError):
    """A person is out of the database, but a trace may still be in its files; ``tidy()`` removes it."""


class UnknownPerson(UnknownIdentity, KeyError):
    """A ``FaceDatabase`` has no one of that name: an ``UnknownIdentity``, and a ``KeyError`` as with a dict."""

    __str__ = ValueError.__str__  # KeyError would quote the sentence


# --------------------------------------------------------------------------------------------------------- words
def how_many(count: int) -> str:
    """A number of people, in words.

    Example:
        >>> how_many(1), how_many(2)
        ('1 person', '2 people')
    """
    return f"{count} {'person' if count == 1 else 'people'}"


# --------------------------------------------------------------------------------------------------------- paths
def check_path(path: Any, what: str = "path") -> str:
    """A path as it was given, with the home folder in place of ``~``.

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
    """Make the folder of a new database, if it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadArgument(f"where={where!r}: its folder can't be made: {error}") from error


# ----------------------------------------------------------------------------------------------------- encodings
def check_encodings(encodings: Any, dimension: int | None = None, what: str = "encoding") -> np.ndarray:
    """Encodings as they are kept and compared: (m, D) float32 of unit length.

    Args:
        encodings: (m, D) or (D,), numbers.
        dimension: D, if it is known.
        what: What to call them in an error.

    Returns:
        (m, D) float32. What is of unit length but for rounding stays as it is, to the last bit.

    Raises:
        BadArgument: If they have another shape, hold anything but finite numbers, or are not of unit length.
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
    """The encoding of a person who has several: their mean, brought back to unit length.

    Args:
        encodings: (n, D) of one person.

    Returns:
        (D,) float32. A single one is returned as it is; the first, if their mean is about zero.
    """
    if len(encodings) == 1:
        return encodings[0]
    mean = encodings.astype(np.float64).mean(axis=0)
    length = np.linalg.norm(mean)
    return (mean / length).astype(np.float32) if length > 1e-3 else encodings[0]


# ------------------------------------------------------------------------------------------------------ networks
def fingerprint_of(model: Any) -> str:
    """A text that tells a network from every other: the same in every process and on every machine.

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
        if hasattr(layer, "scale") and hasattr(layer, "offset"):  # the scaling of pixels is not among the weights
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
    """The fingerprint of what was given as a network, and its D if that is known.

    Args:
        network: A Keras model, a fingerprint, or None.

    Raises:
        BadArgument: If it is something else, or a model whose output is not (m, D).
    """
    if network is None:
        return None, None
    if isinstance(network, str):
        if not is_fingerprint(network):
            raise BadArgument(
                f"network={network!r:.80} is not a fingerprint: give the network itself, as load_facenet returns it, "
                f"or what fingerprint_of says about it"
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
    """A fingerprint for people: the name and the first digits.

    Example:
        >>> short("resnet:5c6a80a8f0e1d2c3")
        'resnet (5c6a80a8f0e1)'
    """
    name, _, digits = (fingerprint or "an unknown network").partition(":")
    return f"{name} ({digits[:12]})" if digits else name[:60]


def other_network(where: str, known: str, given: str) -> OtherNetwork:
    """The error that says which network's encodings a database holds, and which network was given."""
    return OtherNetwork(
        f"{where} holds encodings of {short(known)}, and {short(given)} can't compare them: load that network, or "
        f"open it without a network and re-encode everyone with reencode(), which needs a kept photo of each person"
    )


def unlabelled(where: str, given: str) -> OtherNetwork:
    """The error that says that a database holds people, but not which network encoded them."""
    return OtherNetwork(
        f"{where} does not say which network encoded its people, so their encodings may not be those of "
        f"{short(given)}: if they are, say so once, FaceDatabase({where!r}).label(network); if not, open it without a "
        f"network and re-encode everyone with reencode(), which needs a kept photo of each person"
    )
