"""From a photo to a name: load a picture, load a network, encode faces, verify and recognise.

    photo → face → encoding → distance → a decision

An encoding is 128 numbers of unit length; the distance between two is Euclidean, from 0 to 2. A database is
any mapping from identity (a person's name) to encoding: a dict works.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import os
import re
import struct
import tempfile
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from database_entries import other_network, unlabelled
from errors import BadArgument, BadNetwork, EmptyDatabase, FaceError, UnknownIdentity, UnreadableImage
from evaluation import Probability, check_share
from face_database import FaceDatabase, fingerprint_of
from face_detection import (
    TEMPLATE,
    Detection,
    Point,
    align_face,
    detect_faces_batch,
    extract_face,
    extract_faces,
    no_face_in,
    pick_face,
    resize_face,
)
from face_quality import face_quality
from inception_blocks_v2 import InceptionResNetV1
from quiet import quietly

with quietly():
    import keras

ROOT = Path(__file__).resolve().parent

#: The network that notebooks, apps and tools load unless they are told otherwise.
DEFAULT_NETWORK = "weights/resnet"

#: The course's threshold: shipped networks are calibrated so that it is their equal-error threshold.
THRESHOLD = 0.7


def in_project(path: str | os.PathLike) -> Path:
    """A path relative to where Python runs, if something is there, or else to this project."""
    path = Path(path)
    return path if path.exists() or path.is_absolute() else ROOT / path


#: Anything that opens a picture: a path, its bytes, a file object, a PIL image, or an array.
Source = str | os.PathLike | bytes | io.IOBase | Image.Image | np.ndarray


# ------------------------------------------------------------------------------------------------- photos
#: Larger pictures are refused before they are unpacked (a 4 kB file can claim a billion pixels).
MAX_PIXELS = 64_000_000
MAX_SIDE = 32_000  # OpenCV can't resample longer ones
MAX_BYTES = 200_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # JPEG opens MPO too
PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm", ".avif")


def load_image(source: Source) -> np.ndarray:
    """Make an RGB photo of anything that holds one.

    Turned phone photos are set upright (EXIF); grey, palette, 16-bit and CMYK pictures become RGB; what is
    transparent becomes white; of an animation the first frame counts.

    Args:
        source: A path, the bytes of a file, a file object, a PIL image, or an array: (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), as uint8, uint16, or floats in 0..1.

    Returns:
        The photo, (H, W, 3) uint8.

    Raises:
        UnreadableImage: If it can't be opened: missing, empty, damaged, no picture, or over 64 megapixels.

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
        raise UnreadableImage(f"{name} is not a picture that can be opened{hint} ({_reason(error)})") from error
    return _decode(image, name)


def save_picture(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3), uint8, RGB, as JPEG or whatever the ending says."""
    Image.fromarray(picture).save(path, quality=95)


def describe(source: Any) -> str:
    """What error messages call a picture: its path, or what it is and how large."""
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
        raise OSError("it is no file")
    with open(source, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _reason(error: Exception) -> str:
    reason = re.sub(r"cannot identify image file <.*>", "no known kind of picture", str(error))
    return (reason.splitlines() or [""])[0][:120] or type(error).__name__


def _decode(image: Image.Image, name: str) -> np.ndarray:
    """Unpack a PIL image and make RGB of it."""
    width, height = image.size
    if width * height == 0:
        raise UnreadableImage(f"{name} has no pixels ({width}×{height})")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"more than {MAX_PIXELS // 10**6} million, or {MAX_SIDE:,} in a row, are refused"
        raise UnreadableImage(f"{name} has {width}×{height} pixels; {limit}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is no reason to refuse good pixels
            image.load()
            return _to_rgb(_upright(image), name)
    except UnreadableImage:
        raise
    except Exception as error:  # damaged pixels make the decoders raise nearly anything
        raise UnreadableImage(f"{name} is damaged ({_reason(error)})") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photo as its camera says it was held."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, ValueError, TypeError, KeyError, SyntaxError, ZeroDivisionError, struct.error):
        return image  # the note of how it was held is damaged: take the pixels as they are


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
        raise UnreadableImage(f"{name} is no picture: it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
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


# ----------------------------------------------------------------------------------------------- networks
@dataclass(frozen=True)
class FaceNetInfo:
    """What a network was made for; it travels in its folder as ``facenet.json``.

    Attributes:
        name: What to call it.
        side: Side S of the faces it takes, in pixels.
        template: Where the keypoints of an aligned face lie, as fractions of the side.
        threshold: The distance below which two faces are said to be one person.
        calibration: How the threshold was found: free-form numbers, for the reader.
        probability: What a distance of this network means, learned from other people; None if nobody has measured it.
    """

    name: str
    side: int
    template: Mapping[str, Point] = field(default_factory=lambda: dict(TEMPLATE))
    threshold: float = THRESHOLD
    calibration: Mapping[str, Any] = field(default_factory=dict)
    probability: Probability | None = None


def info_of(model: keras.Model) -> FaceNetInfo:
    """What ``load_facenet`` noted on a network; for any other model, its own side and the usual template."""
    if isinstance(getattr(model, "facenet", None), FaceNetInfo):
        return model.facenet
    side = model.input_shape[1] if len(model.input_shape) == 4 else None
    if side is None or model.input_shape[1:] != (side, side, 3):
        raise BadNetwork(f"{model.name} takes {model.input_shape}; a face network takes (m, S, S, 3)")
    return FaceNetInfo(model.name, side)


#: What networks of other people expect instead of 0..255, as (factor, offset) of the pixels.
SCALINGS = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}


def load_facenet(
    path: str | os.PathLike = DEFAULT_NETWORK,
    *,
    scaling: str | tuple[float, float] | None = None,
    side: int | None = None,
) -> keras.Model:
    """Load a trained network, ours or one that you have.

    Args:
        path: Relative to where Python runs or to this project, one of these:

            * a folder of ours, with ``model.json``, ``model.h5`` and ``facenet.json``; its files are checked
              against their SHA-256;
            * the folder of the well-known course, ``keras-facenet-h5`` with its own ``model.json`` and
              ``model.h5`` (Inception-ResNet-v1, made by Keras 2, with Lambda layers that no Python of today
              can read): the same network is built without them, and the weights are loaded by name;
            * any Keras file ``.keras`` or ``.h5`` whose output is (m, D).

        scaling: What a network of yours expects: ``"0..255"``, ``"0..1"``, ``"-1..1"``, or (factor, offset) to
            apply to pixels in 0..255. The course's is ``"0..1"``; ours carry their own.
        side: Side S of the faces in pixels, where the file leaves it open.

    Returns:
        A Keras model (m, S, S, 3) → (m, D): aligned RGB faces in 0..255 → encodings of unit length. Its
        attribute ``facenet`` says what it was made for. The threshold of a network that is not ours is not
        calibrated: choose one on your own pairs.

    Raises:
        BadNetwork: If there is no such network, a file is missing or damaged, or it gives no encodings.
        BadArgument: If ``scaling`` is unknown, or is missing where it is needed.

    Example:
        >>> load_facenet("weights/resnet").output_shape
        (None, 128)
    """
    path = in_project(path)
    if path.is_file():
        return _load_file(path, scaling, side)
    if _is_the_courses(path):
        return _load_the_courses(path, scaling or "0..1", side or 160)
    if scaling is not None or side is not None:
        raise BadArgument(f"{path} carries its own scaling and side; leave scaling={scaling!r} and side={side!r} out")
    return _load_ours(path)


def _load_ours(folder: Path) -> keras.Model:
    """A folder that ``save_network`` wrote."""
    card = _read_card(folder)
    check_files(folder, card["sha256"])
    model = keras.models.model_from_json((folder / "model.json").read_text(encoding="utf-8"))
    model.load_weights(folder / "model.h5")
    model.trainable = False
    model.facenet = FaceNetInfo(
        name=card["name"],
        side=card["side"],
        template={point: tuple(xy) for point, xy in card["template"].items()},
        threshold=card["threshold"],
        calibration=card.get("calibration", {}),
        probability=_probability_of(card, folder),
    )
    return model


def _probability_of(card: dict, folder: Path) -> Probability | None:
    """What the card says a distance means, if it says anything."""
    try:
        return Probability.from_dict(card["probability"]) if card.get("probability") else None
    except BadArgument as error:
        raise BadNetwork(
            f"{folder / 'facenet.json'} is damaged: {error}; {_bring_back(folder / 'facenet.json')}"
        ) from error


def _is_the_courses(folder: Path) -> bool:
    """Is this the course's Inception-ResNet-v1? Its architecture file names the blocks."""
    file = folder / "model.json"
    if (folder / "facenet.json").exists() or not file.is_file():
        return False
    text = file.read_text(encoding="utf-8", errors="replace")
    return '"Block35_1_ScaleSum"' in text and '"Bottleneck"' in text


def _load_the_courses(folder: Path, scaling: str | tuple[float, float], side: int) -> keras.Model:
    """Inception-ResNet-v1 without Lambda layers, with the weights of the course's file, by layer name."""
    file = folder / "model.h5"
    if not file.is_file():
        raise BadNetwork(f"{folder} holds the course's architecture, but no weights: model.h5 is missing there")
    shapes = _weights_in(file)
    dimension = shapes.get("Bottleneck", [(0, 128)])[0][-1]
    network = InceptionResNetV1((side, side, 3), dimension)
    for layer in network.layers:
        expected = [tuple(weight.shape) for weight in layer.weights]
        if expected and shapes.get(layer.name) != expected:
            raise BadNetwork(f"{file}: layer {layer.name} is {shapes.get(layer.name)}, expected {expected}")
    network.load_weights(file, by_name=True)
    return _wrap(network, scaling, side, folder.name)


def _weights_in(file: Path) -> dict[str, list[tuple[int, ...]]]:
    """Layer name → shapes of its weights, of a file in Keras' legacy layout."""
    import h5py

    try:
        with h5py.File(file) as h5:
            group = h5.get("model_weights", h5)
            names = [n.decode() if isinstance(n, bytes) else n for n in group.attrs.get("layer_names", [])]
            return {
                name: [tuple(group[name][weight].shape) for weight in group[name].attrs["weight_names"]]
                for name in names
            }
    except (OSError, KeyError) as error:
        raise BadNetwork(f"{file} is no weights file that can be read: {error}") from error


def _load_file(path: Path, scaling: str | tuple[float, float] | None, side: int | None) -> keras.Model:
    """Any Keras model in one file, with scaling and unit length put around it."""
    if scaling is None:
        raise BadArgument(f"{path}: say what the network expects with scaling='0..255', '0..1' or '-1..1'")
    try:
        network = keras.models.load_model(path, compile=False)
    except Exception as error:  # a damaged or foreign file makes Keras raise nearly anything
        raise BadNetwork(f"{path} can't be opened as a Keras model ({_reason(error)})") from error
    if len(network.input_shape) != 4:
        raise BadNetwork(f"{path} takes {network.input_shape}, not faces (m, S, S, 3)")
    side = side or network.input_shape[1]
    if side is None:
        raise BadArgument(f"{path} takes faces of any size; say which with side=…")
    return _wrap(network, scaling, side, path.stem)


def _wrap(network: keras.Model, scaling: str | tuple[float, float], side: int, name: str) -> keras.Model:
    """Put the scaling before a network and unit length behind it."""
    factor, offset = _scaling(scaling)
    faces = keras.Input((side, side, 3), name="faces")
    try:
        x = network(keras.layers.Rescaling(factor, offset, name="scaling")(faces))
    except ValueError as error:
        raise BadNetwork(f"{name} takes {network.input_shape}, not faces (m, {side}, {side}, 3)") from error
    if len(x.shape) != 2:
        raise BadNetwork(f"{name} gives {tuple(x.shape)}; encodings are (m, D)")
    model = keras.Model(faces, keras.layers.UnitNormalization(name="encoding")(x), name=name.replace(" ", "_"))
    model.trainable = False
    model.facenet = FaceNetInfo(name, side)
    return model


def _scaling(scaling: str | tuple[float, float]) -> tuple[float, float]:
    if isinstance(scaling, str) and scaling in SCALINGS:
        return SCALINGS[scaling]
    if isinstance(scaling, tuple) and len(scaling) == 2:
        return scaling
    raise BadArgument(f"scaling={scaling!r}: one of {', '.join(map(repr, SCALINGS))}, or a pair (factor, offset)")


def save_network(model: keras.Model, folder: str | os.PathLike, **info: Any) -> None:
    """Write a network into a folder that ``load_facenet`` opens; all or nothing, file by file.

    Args:
        model: The Keras model, of standard layers.
        folder: Where to; it is created.
        **info: ``name``, ``template``, ``threshold``, ``calibration`` and ``probability`` of ``FaceNetInfo``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    info = FaceNetInfo(side=model.input_shape[1], **info)
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        workshop = Path(workshop)
        (workshop / "model.json").write_text(model.to_json(indent=1), encoding="utf-8", newline="\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # .h5 is the legacy format: chosen, since every Keras reads it
            _quietly(model.save, workshop / "model.h5", include_optimizer=False)
        card = {
            **vars(info),
            "probability": info.probability.to_dict() if info.probability else None,
            "sha256": {file: sha256_of(workshop / file) for file in ("model.json", "model.h5")},
        }
        card["template"] = {point: [round(float(n), 6) for n in xy] for point, xy in card["template"].items()}
        (workshop / "facenet.json").write_text(_pretty(card), encoding="utf-8", newline="\n")
        for file in ("model.json", "model.h5", "facenet.json"):
            os.replace(workshop / file, folder / file)


def _pretty(card: dict) -> str:
    """JSON with a line per entry, and short lists on one line."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text) + "\n"


def _quietly(save, *args, **kwargs) -> None:
    """Call Keras without its warning (through absl) that .h5 is a legacy format."""
    import absl.logging

    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        save(*args, **kwargs)
    finally:
        absl.logging.set_verbosity(level)


def _bring_back(file: Path) -> str:
    """How a user gets a file of a shipped network again."""
    name = file.resolve()
    if not name.is_relative_to(ROOT):
        return "copy the whole folder again"
    name = name.relative_to(ROOT).as_posix()
    return f"bring it back with 'git checkout -- {name}' in the project's folder, or by downloading {name} again"


def _read_card(folder: Path) -> dict:
    card = folder / "facenet.json"
    if not card.is_file():
        was_one = (folder / "model.json").is_file() or (folder / "model.h5").is_file()
        advice = _bring_back(card) if was_one else f"{DEFAULT_NETWORK} holds one"
        raise BadNetwork(f"{folder} holds no network: facenet.json is missing there; {advice}")
    try:
        entries = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadNetwork(f"{card} is damaged: {error}") from error
    complete = isinstance(entries, dict) and {"name", "side", "template", "threshold", "sha256"} <= set(entries)
    if not complete or not {"model.json", "model.h5"} <= set(entries["sha256"]):
        raise BadNetwork(f"{card} is incomplete; {_bring_back(card)}")
    return entries


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Make sure that a network's files have arrived whole.

    Args:
        folder: Where they are.
        digests: File → SHA-256.

    Raises:
        BadNetwork: If one is missing or damaged; the message says how to get it back.
    """
    for file, expected in digests.items():
        if not (folder / file).is_file():
            raise BadNetwork(f"{folder} has no {file}; {_bring_back(folder / file)}")
        if sha256_of(folder / file) != expected:
            raise BadNetwork(f"{folder / file} is damaged (wrong SHA-256); {_bring_back(folder / file)}")


def sha256_of(file: Path) -> str:
    """The digest of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


# ---------------------------------------------------------------------------------------------- encodings
def img_to_encoding(image_path: Source, model: keras.Model, aligned: bool = False) -> np.ndarray:
    """Encode the largest face of a photo.

    Args:
        image_path: The photo, as anything that ``load_image`` takes.
        model: A network of ``load_facenet``.
        aligned: True if the picture is an aligned face already.

    Returns:
        The encoding, (128,) float32 of unit length.

    Raises:
        UnreadableImage: If the picture can't be opened.
        NoFaceFound: If there is no face in it.
    """
    info = info_of(model)
    photo = load_image(image_path)
    face = extract_face(photo, info.side, info.template, aligned=aligned, name=describe(image_path))
    return faces_to_encodings(face[None], model)[0]


def faces_to_encodings(faces: np.ndarray, model: keras.Model, batch_size: int = 64) -> np.ndarray:
    """Encode aligned faces.

    Args:
        faces: (m, S, S, 3), RGB in 0..255; m may be 0.
        model: A network (m, S, S, 3) → (m, D).
        batch_size: How many faces go through the network at once.

    Returns:
        Encodings (m, D) float32.

    Raises:
        BadArgument: If the faces have another shape than the network takes, or hold something else than numbers.
        BadNetwork: If the network answers with something else than numbers.
    """
    faces = np.asarray(faces)
    if not np.issubdtype(faces.dtype, np.number) or not np.isfinite(faces).all():
        raise BadArgument(f"faces must hold finite numbers in 0..255; these are {faces.dtype} {faces.shape}")
    if batch_size < 1:
        raise BadArgument(f"batch_size={batch_size}: at least 1")
    if faces.ndim != 4 or faces.shape[1:] != model.input_shape[1:]:
        expected = ", ".join(map(str, model.input_shape[1:]))
        raise BadArgument(f"{model.name} takes faces (m, {expected}), not {faces.shape}")
    encode = _compiled(model)
    batches = [faces[i : i + batch_size].astype(np.float32) for i in range(0, len(faces), batch_size)]
    encodings = [np.empty((0, model.output_shape[-1]), np.float32), *(np.asarray(encode(batch)) for batch in batches)]
    encodings = np.concatenate(encodings)
    if not np.isfinite(encodings).all():
        raise BadNetwork(f"{model.name} gives encodings that are no numbers (NaN): its weights are unusable")
    return encodings


def _compiled(model: keras.Model):
    """The network as one compiled function, made at its first use: calling it layer by layer is slow."""
    if keras.backend.backend() != "tensorflow":
        return lambda faces: keras.ops.convert_to_numpy(model(faces, training=False))
    if not hasattr(model, "facenet_call"):
        import tensorflow as tf

        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
        model.facenet_call = tf.function(lambda faces: model(faces, training=False), input_signature=signature)
    return model.facenet_call


def photos_to_encodings(
    sources: Iterable[Source],
    model: keras.Model,
    aligned: bool = False,
    which: str = "largest",
    progress: bool = False,
    seen: Callable[[int, np.ndarray, Detection], None] | None = None,
) -> tuple[np.ndarray, dict[int, FaceError]]:
    """Encode one face of each of many photos; one bad photo does not sink the others.

    Args:
        sources: The photos, each anything that ``load_image`` takes.
        model: A network of ``load_facenet``.
        aligned: True if the pictures are aligned faces already.
        which: ``"largest"`` or ``"central"``, where a photo shows several faces.
        progress: True for a progress bar.
        seen: What is called with the number of each photo in which a face was found, the photo, and the detection.

    Returns:
        encodings: (m, D) float32, a row per photo, in their order; NaN where a photo could not be used.
        problems: What was wrong with those, by their number in ``sources``.
    """
    sources, info = list(sources), info_of(model)
    encodings = np.full((len(sources), model.output_shape[-1]), np.nan, np.float32)
    problems: dict[int, FaceError] = {}
    chunks = range(0, len(sources), 32)
    with tqdm(total=len(sources), desc="encoding", unit="photo", disable=not progress) as bar:
        for start in chunks:
            chunk = range(start, min(start + 32, len(sources)))
            faces = _faces_of([sources[i] for i in chunk], info, aligned, which, seen, start)
            good = [i for i, face in zip(chunk, faces, strict=True) if isinstance(face, np.ndarray)]
            problems |= {i: face for i, face in zip(chunk, faces, strict=True) if isinstance(face, FaceError)}
            if good:
                encodings[good] = faces_to_encodings(np.stack([faces[i - start] for i in good]), model)
            bar.update(len(chunk))
    return encodings, problems


def _faces_of(
    sources: Sequence[Source],
    info: FaceNetInfo,
    aligned: bool,
    which: str,
    seen: Callable[[int, np.ndarray, Detection], None] | None = None,
    first: int = 0,
) -> list[np.ndarray | FaceError]:
    """One face of each photo, or what was wrong with it; ``seen`` is called with their numbers, from ``first`` on."""
    if aligned:
        opened = [_or_error(load_image, source) for source in sources]
        return [p if isinstance(p, FaceError) else _or_error(resize_face, p, info.side) for p in opened]
    faces: list[np.ndarray | FaceError] = find_faces(sources, which)
    for i, found in enumerate(faces):
        if not isinstance(found, FaceError):
            if seen:
                seen(first + i, *found)
            faces[i] = align_face(found[0], found[1]["keypoints"], info.side, info.template)
    return faces


def find_faces(
    sources: Sequence[Source], which: str = "largest", read: Callable[[Source], np.ndarray] = load_image
) -> list[tuple[np.ndarray, Detection] | FaceError]:
    """Open photos and find one face in each, all at once; one bad photo does not sink the others.

    Args:
        sources: The photos.
        which: ``"largest"`` or ``"central"``, where a photo shows several faces.
        read: What opens a photo.

    Returns:
        For each photo itself, (H, W, 3), with its face, or what was wrong.
    """
    found = [_or_error(read, source) for source in sources]
    photos = {i: photo for i, photo in enumerate(found) if isinstance(photo, np.ndarray)}
    for i, faces in zip(photos, detect_faces_batch(list(photos.values())), strict=True):
        photo = photos[i]
        found[i] = (photo, pick_face(faces, photo, which)) if faces else no_face_in(photo, describe(sources[i]))
    return found


def _or_error(work: Callable, *args: Any) -> Any:
    """What a piece of work returns, or what was wrong with what it was given."""
    try:
        return work(*args)
    except FaceError as error:
        return error


# ---------------------------------------------------------------------------------------------- decisions
def verify(
    image_path: Source,
    identity: str,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    threshold: float | None = None,
    aligned: bool = False,
) -> tuple[float, bool]:
    """Is this the person they say they are? (1:1)

    Args:
        image_path: A photo of who stands at the door.
        identity: The name they claim.
        database: Identity → encoding.
        model: The network that made the database's encodings.
        threshold: The door opens below this distance. None takes the network's own (0.7).
        aligned: True if the picture is an aligned face already.

    Returns:
        distance: Between the photo's encoding and the claimed identity's.
        door_open: True if the distance is below the threshold.

    Raises:
        UnknownIdentity: If nobody of that name is in the database.
        OtherNetwork: If the database says that another network made its encodings.
        FaceError: If the photo can't be opened or shows no face.
    """
    threshold = threshold_for(model, threshold)
    if not isinstance(database, Mapping):
        raise BadArgument(f"database must map names to encodings, as a dict does; it is a {type(database).__name__}")
    _check_network(database, model)
    if identity not in database:
        raise _unknown(identity, database)
    known = _encodings_of(identity, database, model)
    distance = float(np.linalg.norm(known - img_to_encoding(image_path, model, aligned), axis=1).min())
    door_open = distance < threshold
    print(f"It's {identity}, welcome in!" if door_open else f"It's not {identity}, please go away")
    return distance, door_open


def who_is_it(
    image_path: Source,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    threshold: float | None = None,
    aligned: bool = False,
) -> tuple[float, str | None]:
    """Who is this? (1:K, or nobody)

    Args:
        image_path: A photo of who stands at the door.
        database: Identity → encoding, K of them.
        model: The network that made the database's encodings.
        threshold: Whoever is not nearer than this is nobody. None takes the network's own (0.7).
        aligned: True if the picture is an aligned face already.

    Returns:
        distance: To the nearest identity in the database.
        identity: Its name, or None if it is not below the threshold.

    Raises:
        EmptyDatabase: If there is nobody to compare with.
        FaceError: If the photo can't be opened or shows no face.
    """
    threshold = threshold_for(model, threshold)
    search = searcher(database, model)
    names, distances = search(img_to_encoding(image_path, model, aligned)[None])
    distance, name = float(distances[0, 0]), names[0, 0]
    if distance < threshold:
        print(f"It's {name}, the distance is {distance:.2f}")
        return distance, name
    print("Not in the database.")
    return distance, None


def identify(
    photo: Source,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    threshold: float | None = None,
    top: int = 1,
    prior: float | None = None,
) -> pd.DataFrame:
    """Name every face of a photo.

    Args:
        photo: A photo with any number of faces.
        database: Identity → encoding, K of them.
        model: The network that made the database's encodings.
        threshold: Whoever is not nearer than this is unknown. None takes the network's own (0.7).
        top: How many of the nearest identities to list for each face.
        prior: How probable it is, before one looks, that the face shows this or that person of the database. None takes
            1 / (K + 1): each of the K people, and a stranger, are as probable. At a door where nearly everybody is
            known it is more; in a street, far less; and so is the confidence.

    Returns:
        A table with ``top`` rows per face, the faces as one reads: ``face`` (its number), ``box`` (x, y, width, height
        in pixels), ``rank`` (1 is the nearest), ``nearest`` (the identity of that rank), ``distance`` to it,
        ``confidence``, the probability (0..1) that a face this far away is that person (missing where nobody has
        measured it for this network), ``is_unknown`` (not below the threshold), and ``identity``: ``nearest``, or None
        where it is unknown. No rows if the photo shows no face.

    Raises:
        EmptyDatabase: If there is nobody to compare with.
        UnreadableImage: If the picture can't be opened.
    """
    threshold = threshold_for(model, threshold)
    if not isinstance(top, int) or top < 1:
        raise BadArgument(f"top={top!r}: how many identities to list per face, at least 1")
    search, info = searcher(database, model), info_of(model)
    faces, detections = extract_faces(load_image(photo), info.side, info.template)
    names, distances = search(faces_to_encodings(faces, model), top)  # (faces, top)
    rows = []
    for face, i in enumerate(_reading_order([found["box"] for found in detections])):
        for rank, (name, distance) in enumerate(zip(names[i], distances[i].tolist(), strict=True), 1):
            unknown = not distance < threshold
            rows.append((face, detections[i]["box"], None if unknown else name, distance, rank, unknown, name))
    columns = ["face", "box", "identity", "distance", "rank", "is_unknown", "nearest"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)  # object: None stays None
    table = table.astype({"face": int, "distance": float, "rank": int, "is_unknown": bool})
    prior = 1 / (len(database) + 1) if prior is None else prior
    table.insert(columns.index("distance") + 1, "confidence", confidence(table.distance, model, prior))
    return table


def searcher(database: Mapping[str, np.ndarray], model: keras.Model) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """What finds the nearest few people in a database; one that can search by itself, as ``FaceDatabase``, is asked.

    Args:
        database: Identity → encoding, K of them.
        model: The network that made them.

    Returns:
        A function of encodings (m, D) and how many people are wanted for each (1 unless told; at most K). It gives
        their names (m, top) of object, the nearest first, and the distances to them (m, top).

    Raises:
        EmptyDatabase: If there is nobody to compare with.
        BadArgument: If the database is no mapping, or an entry is no encoding of this network.
    """
    _check_network(database, model)
    if hasattr(database, "nearest"):
        _check_database(database)
        return lambda encodings, top=1: database.nearest(encodings, min(top, len(database)))
    names, known = as_matrix(database, model)

    def search(encodings: np.ndarray, top: int = 1) -> tuple[np.ndarray, np.ndarray]:
        distances = np.linalg.norm(encodings[:, None] - known[None], axis=2)  # (m, K)
        order = np.argsort(distances, axis=1, kind="stable")[:, :top]
        return np.array(names, object)[order], np.take_along_axis(distances, order, axis=1)

    return search


def confidence(distances: np.ndarray, model: keras.Model, prior: float = 0.5) -> np.ndarray:
    """The probability that two photos show one person, from their distance; learned from people, not made up.

    Args:
        distances: Distances between encodings of ``model``, of any shape.
        model: A network of ``load_facenet``.
        prior: How probable one person is before one looks, in 0..1.

    Returns:
        Probabilities in 0..1, of the same shape; NaN if nobody has measured them for this network.

    Example:
        >>> confidence([0.3, 0.7, 1.1], load_facenet("weights/resnet")).round(1).tolist()
        [1.0, 0.5, 0.0]
    """
    probability = info_of(model).probability
    check_share("prior", prior)
    distances = np.asarray(distances, np.float64)
    return np.full(distances.shape, np.nan) if probability is None else probability(distances, prior)


def _reading_order(boxes: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """The numbers of the boxes as one reads: row by row from the top, each row from the left.

    Example:
        >>> _reading_order([(500, 10, 80, 80), (20, 30, 80, 80), (30, 200, 80, 80)])
        [1, 0, 2]
    """
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][1]):
        top_of_row = boxes[rows[-1][0]] if rows else None
        if top_of_row and boxes[i][1] + boxes[i][3] / 2 < top_of_row[1] + top_of_row[3]:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i][0])]


#: Files of ``images/`` that are no portraits: what the camera saw, the group photo, and the lookalike.
NO_PORTRAIT = ("camera_", "video_call", "lookalike")

#: Files that nobody takes for a portrait; any other that can't be opened becomes a row of the report.
NO_PICTURE = (".md", ".txt", ".json", ".csv", ".ini", ".db")


class PoorPortrait(UserWarning):
    """A portrait can be used, but is likely to fail at the door; ``build_database`` warns of it and says why."""


def build_database(
    folder: str | os.PathLike, model: keras.Model, progress: bool = True, into: FaceDatabase | None = None
) -> tuple[MutableMapping[str, np.ndarray], pd.DataFrame]:
    """Encode a folder of portraits: ``lena.jpg`` becomes the identity ``lena``.

    Every file counts as a portrait but notes (``.md``, ``.json`` and the like), hidden files, and those whose name
    begins with ``camera_``, ``video_call`` or ``lookalike``. Of several faces in a portrait the largest counts. A poor
    portrait is used, with a warning that says what is wrong and what to do (``PoorPortrait``; ``face_quality`` judges).

    Args:
        folder: Where the portraits are.
        model: A network of ``load_facenet``.
        progress: False for no progress bar.
        into: A ``FaceDatabase`` to fill, with encodings and photos. Whoever is in it already stays as they are, and
            their portraits are not looked at: after an interruption the same call goes on where it was.

    Returns:
        database: Identity → encoding (128,), by name: a dict, or ``into``.
        unusable: A table with a row (``file``, ``reason``) for every portrait that could not be used.

    Raises:
        BadArgument: If the folder does not exist, or ``into`` is no ``FaceDatabase``.
        OtherNetwork: If ``into`` holds encodings of another network.
    """
    files, database = _portraits_in(Path(folder)), {} if into is None else into
    if into is not None:
        _check_lasting(into, model)
        files = [file for file in files if _name_of(file) not in into]
    unusable: list[tuple[str, str]] = []
    with tqdm(total=len(files), desc="encoding", unit="photo", disable=not progress) as bar:
        for start in range(0, len(files), 32):
            batch = files[start : start + 32]
            unusable += _enrol(batch, model, database)
            bar.update(len(batch))
    return database, pd.DataFrame(unusable, columns=["file", "reason"])


def _enrol(files: Sequence[Path], model: keras.Model, database: MutableMapping) -> list[tuple[str, str]]:
    """Put a few portraits into a database; those that could not be used, and why."""
    photos: dict[int, np.ndarray] = {}

    def judge(number: int, photo: np.ndarray, detection: Detection) -> None:
        photos[number] = photo
        if hints := face_quality(photo, detection).hints:
            warnings.warn(f"{files[number].name} is used, but {'; '.join(hints)}", PoorPortrait, stacklevel=2)

    encodings, problems = photos_to_encodings(files, model, seen=judge)
    unusable = []
    for i, file in enumerate(files):
        identity = _name_of(file)
        if i in problems:
            unusable.append((file.name, str(problems[i])))
        elif identity in database:
            unusable.append((file.name, f"there is another portrait of {identity}"))
        else:
            try:
                _know(database, identity, encodings[i], photos[i])
            except BadArgument as error:  # a file can have a name that nobody has
                unusable.append((file.name, str(error)))
    return unusable


def _know(database: MutableMapping, identity: str, encoding: np.ndarray, photo: np.ndarray) -> None:
    if isinstance(database, FaceDatabase):
        database.add(identity, encoding, photo)
    else:
        database[identity] = encoding


def _name_of(portrait: Path) -> str:
    """Who is on a portrait; é is one letter, whichever system wrote it."""
    return unicodedata.normalize("NFC", portrait.stem)


def _check_lasting(database: FaceDatabase, model: keras.Model) -> None:
    if not isinstance(database, FaceDatabase):
        raise BadArgument(f"into must be a FaceDatabase; it is a {type(database).__name__}")
    _check_network(database, model)
    if database.network is None:
        database.label(model)


def _portraits_in(folder: Path) -> list[Path]:
    """The files of a folder that count as portraits."""
    if not folder.is_dir():
        raise BadArgument(f"{folder} is not a folder")
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.suffix.lower() not in NO_PICTURE]
    return [f for f in files if not f.name.startswith(".") and not f.name.casefold().startswith(NO_PORTRAIT)]


def judge_portraits(folder: str | os.PathLike, progress: bool = True) -> pd.DataFrame:
    """Which portraits will make trouble at the door, and what to do about it: before they are enrolled.

    Args:
        folder: Where the portraits are, as for ``build_database``.
        progress: False for no progress bar.

    Returns:
        A row per portrait, the worst first: ``file``, ``score`` (0..1, of ``face_quality``; 0 for one that can't be
        used at all) and ``hints``, what is wrong and what to do, nothing if it is good.

    Raises:
        BadArgument: If the folder does not exist.
    """
    files, rows = _portraits_in(Path(folder)), []
    for start in tqdm(range(0, len(files), 32), desc="judging", unit="batch", disable=not progress):
        batch = files[start : start + 32]
        for file, found in zip(batch, find_faces(batch), strict=True):
            if isinstance(found, FaceError):
                rows.append((file.name, 0.0, str(found)))
            else:
                quality = face_quality(*found)
                rows.append((file.name, quality.score, "; ".join(quality.hints)))
    table = pd.DataFrame(rows, columns=["file", "score", "hints"])
    return table.sort_values("score", kind="stable", ignore_index=True)


def threshold_for(model: keras.Model, threshold: float | None) -> float:
    """The threshold that was given, or else the network's own.

    Raises:
        BadArgument: If what was given is no distance.
    """
    if threshold is None:
        return info_of(model).threshold
    number = isinstance(threshold, int | float | np.floating | np.integer) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold < np.inf:
        raise BadArgument(f"threshold={threshold!r}: a distance, 0 or more (0.7 is usual; 2 lets everybody in)")
    return float(threshold)


def _check_database(database: Mapping[str, np.ndarray]) -> None:
    if not isinstance(database, Mapping):
        raise BadArgument(f"database must map names to encodings, as a dict does; it is a {type(database).__name__}")
    if len(database) == 0:
        raise EmptyDatabase(
            "the database is empty; build_database('images', model) fills one (into=database, if it shall last)"
        )


def _check_network(database: Mapping[str, np.ndarray], model: keras.Model) -> None:
    """A database that knows which network made its encodings is not asked with another one's.

    Raises:
        OtherNetwork: If it was, or if it should know and doesn't.
    """
    noted = getattr(database, "network", None)
    if isinstance(database, FaceDatabase) and noted is None and database:
        raise unlabelled(database.where, fingerprint_once(model))
    if isinstance(noted, str) and noted != fingerprint_once(model):
        raise other_network(getattr(database, "where", "the database"), noted, fingerprint_once(model))


def fingerprint_once(model: keras.Model) -> str:
    """As ``fingerprint_of``: a hash of all weights, computed once per model."""
    if not hasattr(model, "facenet_fingerprint"):
        model.facenet_fingerprint = fingerprint_of(model)
    return model.facenet_fingerprint


def _encodings_of(identity: str, database: Mapping[str, np.ndarray], model: keras.Model) -> np.ndarray:
    """What somebody is compared by, (n, D): one encoding, or all of them if the nearest shall count."""
    if getattr(database, "represent", "mean") == "nearest":
        return database.encodings(identity)
    return _as_encoding(database[identity], identity, model)[None]


def _as_encoding(value: np.ndarray, identity: str, model: keras.Model) -> np.ndarray:
    """A database's entry as (D,), whether it was kept as (D,) or, as in the course, as (1, D)."""
    try:
        encoding = np.asarray(value, np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise BadArgument(f"the database's entry for {identity} is no encoding of {model.name}: {error}") from error
    if encoding.shape != (model.output_shape[-1],) or not np.isfinite(encoding).all():
        raise BadArgument(
            f"the database's entry for {identity} is no encoding of {model.name}: {np.shape(value)}, "
            f"expected ({model.output_shape[-1]},) finite numbers"
        )
    return encoding


def as_matrix(database: Mapping[str, np.ndarray], model: keras.Model) -> tuple[list[str], np.ndarray]:
    """A database, identity → encoding, as K names and a matrix (K, D).

    Raises:
        EmptyDatabase: If there is nobody in it.
        BadArgument: If it is no mapping, or an entry is no encoding of this network.
    """
    _check_database(database)
    names = list(database)
    return names, np.stack([_as_encoding(database[name], name, model) for name in names])


def _unknown(identity: str, database: Mapping[str, np.ndarray]) -> UnknownIdentity:
    similar = difflib.get_close_matches(str(identity), [str(name) for name in database], n=3)
    hint = f"; did you mean {' or '.join(similar)}?" if similar else f"; it knows {len(database)} people"
    return UnknownIdentity(f"nobody called {identity!r} is in the database{hint}")
