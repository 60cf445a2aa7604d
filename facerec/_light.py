"""A network of a folder without Keras: all that recognising faces needs of one, ready in a fraction of a second."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from facerec import _onnx
from facerec._files import in_project
from facerec.errors import BadArgument
from facerec.network_info import FaceNetInfo, check_files, from_entries, read_card


@dataclass(eq=False)
class LightNetwork:
    """A network in ONNX Runtime; what it lacks of a Keras model is learning, saving and looking inside.

    Attributes:
        facenet: What it was made for.
        name: As the Keras model is called.
        input_shape: (None, S, S, 3).
        output_shape: (None, D).
        encode: Faces (m, S, S, 3) float32 in 0..255 → encodings (m, D).
        weights: All of them, in Keras' order.
        layers: Those that scale pixels, with their ``scale`` and ``offset``: the fingerprint of a network needs them.
    """

    facenet: FaceNetInfo
    name: str
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    encode: _onnx.Encode
    weights: list[np.ndarray]
    layers: list[SimpleNamespace]


def open_light(path: str | os.PathLike) -> LightNetwork | None:
    """Open the network of a folder that ``save_network`` wrote.

    Args:
        path: As in ``load_facenet``.

    Returns:
        The network; None where ``load_facenet`` has to do it: without the runtime, or for anything else.

    Raises:
        BadNetwork: If a file is missing or damaged.
    """
    folder = in_project(path)
    if not _onnx.is_available() or not (folder / "facenet.json").is_file():
        return None
    card = read_card(folder)
    check_files(folder, card["sha256"])
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))["config"]
    try:
        weights, info = _onnx.weights_in(folder / "model.h5", described), from_entries(card)
        encode = _onnx.open_encoder(_onnx.as_onnx(described, weights, (info.side, info.side, 3)))
        dimension = encode(np.zeros((1, info.side, info.side, 3), np.float32)).shape[1]
    except (_onnx.Unsupported, BadArgument):
        return None
    shapes = (None, info.side, info.side, 3), (None, dimension)
    return LightNetwork(info, described["name"], *shapes, encode, list(_flat(weights)), list(_scalings(described)))


def _flat(weights: _onnx.Weights) -> Iterator[np.ndarray]:
    """All weights, layer by layer."""
    for each in weights.values():
        yield from _flat(each) if isinstance(each, Mapping) else each


def _scalings(described: Mapping[str, Any]) -> Iterator[SimpleNamespace]:
    """The layers that scale pixels, also those of networks in the network."""
    for layer in described["layers"]:
        if layer["class_name"] == "Rescaling":
            yield SimpleNamespace(scale=layer["config"]["scale"], offset=layer["config"]["offset"])
        if layer["class_name"] == "Functional":
            yield from _scalings(layer["config"])
