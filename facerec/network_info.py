"""What a network was made for: its side, alignment, threshold and calibration, as its ``facenet.json`` says.

Keras is not needed to read it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facerec._files import DEFAULT_NETWORK, ROOT, sha256_of, whole
from facerec.detection import TEMPLATE, Point
from facerec.errors import BadArgument, BadNetwork, kind_of
from facerec.evaluation.false_accepts import FalseAccepts
from facerec.evaluation.probability import Probability
from facerec.evaluation.rates import check_share

if TYPE_CHECKING:
    import keras

SHIPPED_NETWORKS = (DEFAULT_NETWORK, "keras-facenet-h5", "weights/triplets")

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
    keras = sys.modules.get("keras")  # there is no Keras model before Keras is loaded
    ours = isinstance(getattr(model, "facenet", None), FaceNetInfo)
    if not ours and not (keras and isinstance(model, keras.Model)):
        hint = f'; load_facenet("{model}") opens one' if isinstance(model, str | os.PathLike) else ""
        raise BadArgument(f"model must be a network, as load_facenet returns it; this is {kind_of(model)}{hint}")
    try:
        takes, gives = model.input_shape, model.output_shape
    except AttributeError as error:
        raise BadNetwork(f"{model.name} has never been called, so its input shape is unknown") from error
    side = takes[1] if isinstance(takes, tuple) and len(takes) == 4 else None
    if side is None or takes[1:] != (side, side, 3):
        raise BadNetwork(f"{model.name} takes {takes}; a face network takes (m, S, S, 3)")
    if not isinstance(gives, tuple) or len(gives) != 2 or gives[1] is None:
        raise BadNetwork(f"{model.name} gives {gives}; a face network gives (m, D)")
    return model


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


def as_entries(info: FaceNetInfo) -> dict[str, Any]:
    """What JSON holds of it."""
    curves = {name: curve and curve.to_dict() for name, curve in vars(info).items() if name in CURVES}
    return {**vars(info), **curves, "template": {point: [float(n) for n in xy] for point, xy in info.template.items()}}


def from_entries(entries: Mapping[str, Any]) -> FaceNetInfo:
    """The opposite of ``as_entries``; entries of other names are passed over.

    Raises:
        BadArgument: If a curve is impossible.
    """
    known = {each.name: entries[each.name] for each in fields(FaceNetInfo) if each.name in entries}
    known["template"] = {point: tuple(xy) for point, xy in known["template"].items()}
    return FaceNetInfo(**known | {name: CURVES[name].from_dict(known[name]) for name in CURVES if known.get(name)})


def note_cluster_threshold(folder: str | os.PathLike, threshold: float) -> None:
    """Write the threshold that was chosen for clusters into a network's ``facenet.json``; its weights stay as they are.

    Raises:
        BadNetwork: If the folder holds no network.
    """
    folder = Path(folder)
    card = read_card(folder)
    digests = card.pop("sha256")  # they come last
    with whole(folder / "facenet.json") as unfinished:
        text = pretty({**card, "cluster_threshold": threshold, "sha256": digests})
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def pretty(card: dict) -> str:
    """JSON with a line per entry, and short lists on one line."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text) + "\n"


def bring_back(file: Path) -> str:
    """How to get a file of a shipped network again."""
    name = file.resolve()
    if not name.is_relative_to(ROOT):
        return "copy the whole folder again"
    name = name.relative_to(ROOT).as_posix()
    return f"bring it back with 'git checkout -- {name}' in the project's folder, or by downloading {name} again"


def read_card(folder: Path) -> dict:
    """What ``facenet.json`` of a network's folder says; ``BadNetwork`` if it is missing or damaged."""
    card = folder / "facenet.json"
    if not card.is_file():
        was_one = (folder / "model.json").is_file() or (folder / "model.h5").is_file()
        advice = bring_back(card) if was_one else f"this project ships {', '.join(SHIPPED_NETWORKS)}"
        raise BadNetwork(f"{folder} does not hold a network: facenet.json is missing; {advice}")
    try:
        entries = json.loads(card.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadNetwork(f"{card} is damaged: {error}") from error
    complete = isinstance(entries, dict) and {"name", "side", "template", "threshold", "sha256"} <= set(entries)
    if not complete or not {"model.json", "model.h5"} <= set(entries["sha256"]):
        raise BadNetwork(f"{card} is incomplete; {bring_back(card)}")
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
            raise BadNetwork(f"{folder} has no {file}; {bring_back(folder / file)}")
        if sha256_of(folder / file) != expected:
            raise BadNetwork(f"{folder / file} is damaged (wrong SHA-256); {bring_back(folder / file)}")


def confidence(distances: np.ndarray, model: keras.Model, prior: float = 0.5) -> np.ndarray:
    """Turn distances into the probability that two photos show one person.

    The curve was fitted on pairs of real people (the network's model card says which).

    Args:
        distances: Distances between encodings of ``model``, of any shape.
        model: A network of ``load_facenet``.
        prior: The probability of one person before looking, 0..1.

    Returns:
        Probabilities, 0..1, of the same shape; NaN for a network that was never calibrated.

    Example:
        >>> from facerec.networks import load_facenet
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

    The more people a door knows, the more of the strangers who come to it get a name. For a search among K people
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
        >>> from facerec.networks import load_facenet
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
