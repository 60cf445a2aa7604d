"""Networks on disk: load one, save one, and know what it was made for.

A network takes aligned faces (m, S, S, 3) in 0..255 and carries its own scaling as layers. Its side, alignment,
threshold and calibration travel in its folder as ``facenet.json``.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from facerec._files import ROOT, in_project, sha256_of, whole
from facerec._quiet import quietly
from facerec._settings import own_settings
from facerec.detection import TEMPLATE, Point
from facerec.errors import BadArgument, BadNetwork
from facerec.evaluation.false_accepts import FalseAccepts
from facerec.evaluation.probability import Probability
from facerec.evaluation.rates import check_share
from facerec.photos import reason_of

with quietly():
    import keras

    from inception_blocks_v2 import InceptionResNetV1

#: The network that notebooks, apps and tools load by default.
DEFAULT_NETWORK = "weights/resnet"
SHIPPED_NETWORKS = ("weights/resnet", "keras-facenet-h5", "weights/triplets")

#: The attributes of ``FaceNetInfo`` that are written as a dict, and what that dict is of.
CURVES = {"probability": Probability, "false_accepts": FalseAccepts}

#: The course's threshold: shipped networks are calibrated so that it is their equal-error threshold.
THRESHOLD = 0.7

#: Clusters of unnamed faces nearer than this merge, where nothing was chosen for the network.
CLUSTER_THRESHOLD = 0.6


@dataclass(frozen=True)
class FaceNetInfo:
    """What a network was made for.

    Attributes:
        name: What to call it.
        side: The side S of its faces, in pixels.
        template: Where the keypoints of an aligned face lie, as fractions of the side.
        threshold: The distance below which two faces count as one person.
        calibration: How the threshold was found; numbers for a reader.
        probability: The probability that a distance stands for one person, fitted on other people; None if it was never
            fitted.
        false_accepts: How often two different people are nearer than a distance, measured on other people; None if it
            was never measured.
        cluster_threshold: The distance below which clusters of unnamed faces merge.
    """

    name: str
    side: int
    template: Mapping[str, Point] = field(default_factory=lambda: dict(TEMPLATE))
    threshold: float = THRESHOLD
    calibration: Mapping[str, Any] = field(default_factory=dict)
    probability: Probability | None = None
    false_accepts: FalseAccepts | None = None
    cluster_threshold: float = CLUSTER_THRESHOLD


def check_model(model: keras.Model) -> keras.Model:
    """Return a network that turns faces (m, S, S, 3) into encodings (m, D); refuse anything else.

    Raises:
        BadArgument: If it is not a network.
        BadNetwork: If it is one of another kind.
    """
    if not isinstance(model, keras.Model):
        hint = f'; load_facenet("{model}") opens one' if isinstance(model, str | os.PathLike) else ""
        raise BadArgument(
            f"model must be a network, as load_facenet returns it; this is a {type(model).__name__}{hint}"
        )
    try:
        takes, gives = model.input_shape, model.output_shape
    except AttributeError as error:
        raise BadNetwork(f"{model.name} has never been called, so nobody knows what it takes") from error
    side = takes[1] if isinstance(takes, tuple) and len(takes) == 4 else None
    if side is None or takes[1:] != (side, side, 3):
        raise BadNetwork(f"{model.name} takes {takes}; a face network takes (m, S, S, 3)")
    if not isinstance(gives, tuple) or len(gives) != 2 or gives[1] is None:
        raise BadNetwork(f"{model.name} gives {gives}; a face network gives (m, D)")
    return model


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
        return {**super().get_config(), "facenet": _as_entries(info_of(self))}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> FaceNet:
        """A network as ``get_config`` describes it."""
        layers = {name: value for name, value in config.items() if name != "facenet"}
        model = super().from_config(layers, custom_objects)
        model.facenet = _from_entries(config["facenet"])
        return model


def with_info(model: keras.Model, info: FaceNetInfo) -> FaceNet:
    """The same layers, frozen, as a network that knows what it was made for."""
    known = FaceNet(model.input, model.output, name=model.name)
    known.trainable = False
    known.facenet = info
    return known


def info_of(model: keras.Model) -> FaceNetInfo:
    """Return what a network was made for.

    Args:
        model: A network of ``load_facenet``, or any Keras model that takes (m, S, S, 3).

    Returns:
        What ``load_facenet`` noted; for any other model, its own side and the usual alignment.

    Raises:
        BadArgument: If it is not a network.
        BadNetwork: If it does not turn square RGB faces into encodings.
    """
    if isinstance(getattr(model, "facenet", None), FaceNetInfo):
        return model.facenet
    return FaceNetInfo(check_model(model).name, model.input_shape[1])


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
    card = _read_card(folder)
    check_files(folder, card["sha256"])
    model = keras.models.model_from_json((folder / "model.json").read_text(encoding="utf-8"))
    model.load_weights(folder / "model.h5")
    try:
        return with_info(model, _from_entries(card))
    except BadArgument as error:
        file = folder / "facenet.json"
        raise BadNetwork(f"{file} is damaged: {error}; {_bring_back(file)}") from error


def _as_entries(info: FaceNetInfo) -> dict[str, Any]:
    """What JSON holds of it."""
    curves = {name: curve and curve.to_dict() for name, curve in vars(info).items() if name in CURVES}
    return {**vars(info), **curves, "template": {point: [float(n) for n in xy] for point, xy in info.template.items()}}


def _from_entries(entries: Mapping[str, Any]) -> FaceNetInfo:
    """The opposite of ``_as_entries``; entries of other names are passed over.

    Raises:
        BadArgument: If a curve is impossible.
    """
    known = {each.name: entries[each.name] for each in fields(FaceNetInfo) if each.name in entries}
    known["template"] = {point: tuple(xy) for point, xy in known["template"].items()}
    return FaceNetInfo(**known | {name: CURVES[name].from_dict(known[name]) for name in CURVES if known.get(name)})


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
        card = {**_as_entries(info), "sha256": digests}
        card["template"] = {point: [round(n, 6) for n in xy] for point, xy in card["template"].items()}
        (workshop / "facenet.json").write_text(_pretty(card), encoding="utf-8", newline="\n")
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


def note_cluster_threshold(folder: str | os.PathLike, threshold: float) -> None:
    """Write the threshold that was chosen for clusters into a network's ``facenet.json``; its weights stay as they are.

    Raises:
        BadNetwork: If the folder holds no network.
    """
    folder = Path(folder)
    card = _read_card(folder)
    digests = card.pop("sha256")  # they come last
    with whole(folder / "facenet.json") as unfinished:
        text = _pretty({**card, "cluster_threshold": threshold, "sha256": digests})
        unfinished.write_text(text, encoding="utf-8", newline="\n")


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
    """How to get a file of a shipped network again."""
    name = file.resolve()
    if not name.is_relative_to(ROOT):
        return "copy the whole folder again"
    name = name.relative_to(ROOT).as_posix()
    return f"bring it back with 'git checkout -- {name}' in the project's folder, or by downloading {name} again"


def _read_card(folder: Path) -> dict:
    card = folder / "facenet.json"
    if not card.is_file():
        was_one = (folder / "model.json").is_file() or (folder / "model.h5").is_file()
        advice = _bring_back(card) if was_one else f"this project ships {' and '.join(SHIPPED_NETWORKS)}"
        raise BadNetwork(f"{folder} does not hold a network: facenet.json is missing; {advice}")
    try:
        entries = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadNetwork(f"{card} is damaged: {error}") from error
    complete = isinstance(entries, dict) and {"name", "side", "template", "threshold", "sha256"} <= set(entries)
    if not complete or not {"model.json", "model.h5"} <= set(entries["sha256"]):
        raise BadNetwork(f"{card} is incomplete; {_bring_back(card)}")
    return entries


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Check that a network's files are complete.

    Args:
        folder: Their folder.
        digests: File → SHA-256.

    Raises:
        BadNetwork: If one is missing or damaged; the message says how to get it back.
    """
    for file, expected in digests.items():
        if not (folder / file).is_file():
            raise BadNetwork(f"{folder} has no {file}; {_bring_back(folder / file)}")
        if sha256_of(folder / file) != expected:
            raise BadNetwork(f"{folder / file} is damaged (wrong SHA-256); {_bring_back(folder / file)}")


def confidence(distances: np.ndarray, model: keras.Model, prior: float = 0.5) -> np.ndarray:
    """Turn distances into the probability that two photos show one person.

    The curve was fitted on pairs of real people (the network's model card says on whom).

    Args:
        distances: Distances between encodings of ``model``, of any shape.
        model: A network of ``load_facenet``.
        prior: The probability of one person before looking, 0..1.

    Returns:
        Probabilities, 0..1, of the same shape; NaN for a network that was never calibrated.

    Example:
        >>> confidence([0.3, 0.7, 1.1], load_facenet("weights/resnet")).round(1).tolist()
        [1.0, 0.5, 0.0]
    """
    probability = info_of(model).probability
    check_share("prior", prior)
    distances = np.asarray(distances, np.float64)
    return np.full(distances.shape, np.nan) if probability is None else probability(distances, prior)


def threshold_for(
    model: keras.Model, threshold: float | None = None, people: int | None = None, strangers: float = 0.01
) -> float:
    """Choose the distance below which a face counts as known.

    Of the strangers who come to a door, the more get a name the more people the door knows. For a search among K people
    the threshold therefore falls with K.

    Args:
        model: A network of ``load_facenet``.
        threshold: Your own choice, which is returned as it is; None for the network's.
        people: K, if a face is compared with that many people; None for a comparison with one (``verify``).
        strangers: The share of strangers who may get a name, 0..1.

    Returns:
        The threshold: for one person the network's own (0.7), among K people the one at which this share of strangers
        gets a name, if that is smaller. A network whose false accepts were never measured has one threshold for all K.

    Raises:
        BadArgument: If an argument is out of range.

    Example:
        >>> model = load_facenet("weights/resnet")
        >>> [round(threshold_for(model, people=k), 2) for k in (None, 10, 100, 1000)]
        [0.7, 0.62, 0.54, 0.49]

    Source: The arithmetic of ``facerec.evaluation.FalseAccepts``; ``tools/measure/strangers.py`` checks it.
    """
    if threshold is not None:
        number = isinstance(threshold, int | float | np.floating | np.integer) and not isinstance(threshold, bool)
        if not number or not 0 <= threshold < np.inf:
            raise BadArgument(f"threshold={threshold!r}: a distance, 0 or more (0.7 is usual; 2 lets everyone in)")
        return float(threshold)
    own, curve = info_of(model).threshold, info_of(model).false_accepts
    if people is None or curve is None:
        return own
    return min(own, curve.threshold(people, strangers))
