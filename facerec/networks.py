"""Networks on disk: load one, save one, and know what it was made for.

A network takes aligned faces (m, S, S, 3) in 0..255 and carries its own scaling as layers. Its side, alignment,
threshold and calibration travel in its folder as ``facenet.json``.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facerec._files import in_project, sha256_of
from facerec._quiet import check_process, quietly
from facerec._settings import own_settings
from facerec.errors import BadArgument, BadNetwork
from facerec.network_info import (
    CLUSTER_THRESHOLD,
    DEFAULT_NETWORK,
    SHIPPED_NETWORKS,
    THRESHOLD,
    FaceNetInfo,
    as_entries,
    bring_back,
    check_files,
    check_model,
    confidence,
    from_entries,
    info_of,
    note_cluster_threshold,
    pretty,
    read_card,
    threshold_for,
)
from facerec.photos import reason_of

with quietly():
    import keras

from inception_blocks_v2 import InceptionResNetV1

__all__ = [
    "CLUSTER_THRESHOLD",
    "DEFAULT_NETWORK",
    "SCALINGS",
    "SHIPPED_NETWORKS",
    "THRESHOLD",
    "FaceNet",
    "FaceNetInfo",
    "check_files",
    "check_model",
    "confidence",
    "info_of",
    "load_facenet",
    "note_cluster_threshold",
    "save_network",
    "threshold_for",
    "with_info",
]


@keras.saving.register_keras_serializable(package="facerec")
class FaceNet(keras.Model):
    """A network that knows what it was made for; its copies know it, too.

    A copy is what ``copy.deepcopy``, ``pickle``, and saving as ``.keras`` make. (``keras.models.clone_model`` makes a
    network with new weights, for which nothing was measured.) The folder that ``save_network`` writes needs no such
    class: Keras alone opens it.

    Attributes:
        facenet: What it was made for, a ``FaceNetInfo``.

    Example:
        >>> import copy
        >>> copy.deepcopy(load_facenet("weights/resnet")).facenet.threshold
        0.7
    """

    def get_config(self) -> dict[str, Any]:
        """The layers, and what the network was made for."""
        return {**super().get_config(), "facenet": as_entries(info_of(self))}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> FaceNet:
        """A network as ``get_config`` describes it."""
        check_process("loading")
        layers = {name: value for name, value in config.items() if name != "facenet"}
        model = super().from_config(layers, custom_objects)
        model.facenet = from_entries(config["facenet"])
        return model


def with_info(model: keras.Model, info: FaceNetInfo) -> FaceNet:
    """The same layers, frozen, as a network that knows what it was made for."""
    known = FaceNet(model.input, model.output, name=model.name)
    known.trainable = False
    known.facenet = info
    return known


#: The pixel ranges that networks expect, as (factor, offset) to apply to 0..255.
SCALINGS = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}


def load_facenet(
    path: str | os.PathLike = DEFAULT_NETWORK,
    *,
    scaling: str | tuple[float, float] | None = None,
    side: int | None = None,
) -> keras.Model:
    """Load a trained network, ours or one that you have.

    Args:
        path: One of these, relative to the working directory or to this project:

            * a folder of this project, with ``model.json``, ``model.h5`` and ``facenet.json``; its files are checked
              against their SHA-256;
            * the folder of the well-known course, ``keras-facenet-h5`` with its own ``model.json`` and
              ``model.h5`` (Inception-ResNet-v1, made by Keras 2, with Lambda layers that no current Python
              can read): the same network is built without them, and the weights are loaded by name;
            * any Keras file ``.keras`` or ``.h5`` whose output is (m, D), also one into which you saved a network of
              this function.

        scaling: The pixel range that a network of yours expects: ``"0..255"``, ``"0..1"``, ``"-1..1"``, or (factor,
            offset) to apply to pixels in 0..255. The course's network takes ``"0..1"``; ours carry their own.
        side: Side S of the faces in pixels, where the file leaves it open.

    Returns:
        A Keras model (m, S, S, 3) → (m, D): aligned RGB faces in 0..255 → encodings of unit length. Its
        attribute ``facenet`` is its ``FaceNetInfo``. The threshold of any other network is not calibrated:
        choose one on pairs of your own.

    Raises:
        BadNetwork: If there is no such network, a file is missing or damaged, or it does not give encodings.
        BadArgument: If ``scaling`` is unknown, or is missing where it is needed.

    Example:
        >>> load_facenet("weights/resnet").output_shape
        (None, 128)
    """
    check_process("loading")
    path = in_project(path)
    with own_settings():
        if path.is_file():
            return _load_file(path, scaling, side)
        if _is_the_courses(path):
            return _load_the_courses(path, scaling or "0..1", side or 160)
        _check_left_out(path, scaling, side)
        return _load_ours(path)


def _check_left_out(path: Path, scaling: str | tuple[float, float] | None, side: int | None) -> None:
    """Refuse a scaling or a side for a network that carries its own."""
    if scaling is not None or side is not None:
        raise BadArgument(f"{path} carries its own scaling and side; leave scaling={scaling!r} and side={side!r} out")


def _load_ours(folder: Path) -> keras.Model:
    """A folder that ``save_network`` wrote."""
    card = read_card(folder)
    check_files(folder, card["sha256"])
    model = keras.models.model_from_json((folder / "model.json").read_text(encoding="utf-8"))
    model.load_weights(folder / "model.h5")
    try:
        return with_info(model, from_entries(card))
    except BadArgument as error:
        file = folder / "facenet.json"
        raise BadNetwork(f"{file} is damaged: {error}; {bring_back(file)}") from error


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
    try:
        network = InceptionResNetV1((side, side, 3), dimension)
    except ValueError as error:
        raise BadArgument(f"side={side}: {error}") from error
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
        raise BadNetwork(f"{file} can't be read as a weights file: {error}") from error


def _load_file(path: Path, scaling: str | tuple[float, float] | None, side: int | None) -> keras.Model:
    """Any Keras model in one file, with scaling and unit length put around it; one of ours as it is."""
    try:
        network = keras.models.load_model(path, custom_objects={"FaceNet": FaceNet}, compile=False)
    except Exception as error:  # a damaged or foreign file makes Keras raise nearly anything
        raise BadNetwork(f"{path} can't be opened as a Keras model ({reason_of(error)})") from error
    if isinstance(network, FaceNet):
        _check_left_out(path, scaling, side)
        return network
    if scaling is None:
        raise BadArgument(f"{path}: say what the network expects with scaling='0..255', '0..1' or '-1..1'")
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
    return with_info(model, FaceNetInfo(name, side))


def _scaling(scaling: str | tuple[float, float]) -> tuple[float, float]:
    if isinstance(scaling, str) and scaling in SCALINGS:
        return SCALINGS[scaling]
    if isinstance(scaling, tuple) and len(scaling) == 2:
        return scaling
    raise BadArgument(f"scaling={scaling!r}: one of {', '.join(map(repr, SCALINGS))}, or a pair (factor, offset)")


def save_network(model: keras.Model, folder: str | os.PathLike, **info: Any) -> None:
    """Write a network to a folder that ``load_facenet`` opens.

    Each file is replaced in one move: an interrupted save never leaves a half-written file.

    Args:
        model: The Keras model, of standard layers.
        folder: The folder to write; it is created if needed.
        **info: ``name``, ``template``, ``threshold``, ``calibration``, ``probability``, ``false_accepts`` and
            ``cluster_threshold`` of ``FaceNetInfo``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    info = FaceNetInfo(side=model.input_shape[1], **info)
    model = _plain(model)
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        workshop = Path(workshop)
        (workshop / "model.json").write_text(model.to_json(indent=1), encoding="utf-8", newline="\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # .h5 is the legacy format: chosen, since every Keras reads it
            _quietly(model.save, workshop / "model.h5", include_optimizer=False)
        digests = {file: sha256_of(workshop / file) for file in ("model.json", "model.h5")}
        card = {**as_entries(info), "sha256": digests}
        card["template"] = {point: [round(n, 6) for n in xy] for point, xy in card["template"].items()}
        (workshop / "facenet.json").write_text(pretty(card), encoding="utf-8", newline="\n")
        for file in ("model.json", "model.h5", "facenet.json"):
            os.replace(workshop / file, folder / file)


def _plain(model: keras.Model) -> keras.Model:
    """A network without what it was made for: layers that every Keras knows."""
    if not isinstance(model, FaceNet):
        return model
    plain = keras.Model(model.input, model.output, name=model.name)
    if not model.trainable:
        plain.trainable = False
    return plain


def _quietly(save, *args, **kwargs) -> None:
    """Call Keras without its warning (through absl) that .h5 is a legacy format."""
    import absl.logging

    level = absl.logging.get_verbosity()
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        save(*args, **kwargs)
    finally:
        absl.logging.set_verbosity(level)
