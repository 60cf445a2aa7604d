"""Tiny TensorFlow.js graph models for tests, written as TensorFlow.js writes them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np


def node(name: str, op: str, *inputs: str, **attributes) -> dict:
    """A node as TensorFlow.js writes it; its attributes are given as plain Python values."""
    return {
        "name": name,
        "op": op,
        "input": list(inputs),
        "attr": {k: packed(v) for k, v in attributes.items()},
    }


def packed(value) -> dict:
    if isinstance(value, list):
        items = [packed(item) for item in value]
        return {"list": {kind: [item[kind] for item in items] for kind in items[0]} if items else {}}
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, float):
        return {"f": value}
    if isinstance(value, str):
        return {"s": base64.b64encode(value.encode()).decode()}
    return value


def placeholder(name: str, *shape: int) -> dict:
    sizes = {"dim": [{"size": str(size)} for size in shape]}
    return node(name, "Placeholder", shape={"shape": sizes})


def conv(name: str, *inputs: str, padding: str = "SAME", **attributes) -> dict:
    ones = [1, 1, 1, 1]
    op = "_FusedConv2D" if "fused_ops" in attributes else "Conv2D"
    return node(name, op, *inputs, padding=padding, strides=ones, dilations=ones, **attributes)


def write_model(folder: Path, nodes: list[dict], weights: dict[str, np.ndarray], shards: int = 3) -> Path:
    """Write a TensorFlow.js graph model; its weights lie in several shards, cut without regard to arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(a, "<f4" if np.asarray(a).dtype.kind == "f" else "<i4") for name, a in weights.items()}
    data = b"".join(array.tobytes() for array in arrays.values())
    paths = [f"group1-shard{k + 1}of{shards}.bin" for k in range(shards)]
    size = -(-len(data) // shards)
    for k, path in enumerate(paths):
        (folder / path).write_bytes(data[k * size : (k + 1) * size])
    entries = [
        {"name": name, "shape": list(a.shape), "dtype": "float32" if a.dtype.kind == "f" else "int32"}
        for name, a in arrays.items()
    ]
    constants = [node(name, "Const") for name in arrays]
    document = {
        "modelTopology": {"node": constants + nodes},
        "weightsManifest": [{"paths": paths, "weights": entries}],
    }
    (folder / "model.json").write_text(json.dumps(document))
    return folder
