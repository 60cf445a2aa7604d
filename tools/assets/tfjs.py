"""Run TensorFlow.js graph models on any backend of Keras: read them, and compile them into one function.

A graph model is a list of nodes as JSON, and raw weights. ``OPERATIONS`` maps each of its operations to Keras. Shapes
and other whole numbers are NumPy arrays, which are known while the function is compiled.
``tools/assets/make_people.py`` runs its generator and its enlarger with it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facerec._quiet import quietly
from facerec.errors import BadArgument

with quietly():
    import keras
    from keras import ops


@dataclass(frozen=True)
class Graph:
    """A TensorFlow.js graph: its nodes by name, and the arrays of its Const nodes by name."""

    nodes: dict[str, dict]
    weights: dict[str, np.ndarray]

    def inputs(self, name: str) -> list[str]:
        """The names of a node's inputs."""
        inputs = (source.removesuffix(":0") for source in self.nodes[name].get("input", []))
        return [source for source in inputs if not source.startswith("^")]

    def op(self, name: str) -> str:
        """The operation of a node."""
        return self.nodes[name]["op"]

    def attributes(self, name: str) -> dict:
        """The attributes of a node as plain Python values."""
        return {key: _plain(value) for key, value in self.nodes[name].get("attr", {}).items()}


def _plain(value: dict):
    """Unpack: {"i": "1"} → 1, {"s": "U0FNRQ=="} → "SAME", {"list": {"i": ["1", "2"]}} → [1, 2]."""
    (kind, content), *_ = value.items() or [("none", None)]
    if kind == "list":
        return [_plain({kind: item}) for kind, items in content.items() for item in items]
    if kind == "s":
        return base64.b64decode(content).decode()
    return int(content) if kind == "i" else content


def read_graph(folder: str | os.PathLike) -> Graph:
    """Read a TensorFlow.js graph model.

    Args:
        folder: The folder of ``model.json`` and its shards.

    Returns:
        The graph with its weights: float32 or int32 arrays, read-only.

    Raises:
        BadArgument: If a file is missing, or the shards are shorter or longer than their manifest says.
    """
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        raise BadArgument(f"{folder} does not hold a TensorFlow.js model: model.json is missing")
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    weights: dict[str, np.ndarray] = {}
    for group in document["weightsManifest"]:
        weights |= _read_weights(folder, group["paths"], group["weights"])
    return Graph({node["name"]: node for node in document["modelTopology"]["node"]}, weights)


def _read_weights(folder: Path, paths: list[str], entries: list[dict]) -> dict[str, np.ndarray]:
    """Cut the concatenated shards into the arrays of the manifest, in its order."""
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise BadArgument(f"{folder} lacks {', '.join(missing)}: fetch the package again")
    data = b"".join((folder / path).read_bytes() for path in paths)
    weights, at = {}, 0
    for entry in entries:
        if entry["dtype"] not in ("float32", "int32"):
            raise BadArgument(f"{entry['name']} has dtype {entry['dtype']}; known here: float32, int32")
        count = int(np.prod(entry["shape"], dtype=int))
        if len(data) < at + 4 * count:
            raise BadArgument(f"the shards in {folder} end before {entry['name']}: fetch the package again")
        dtype = np.dtype(entry["dtype"]).newbyteorder("<")
        weights[entry["name"]] = np.frombuffer(data, dtype, count, at).reshape(entry["shape"])
        at += 4 * count
    if at != len(data):
        raise BadArgument(f"the shards in {folder} hold {len(data) - at} bytes more than their manifest says")
    return weights


def _conv2d(inputs: list, attributes: dict):
    x, kernel = inputs
    window = {"strides": attributes["strides"][1:3], "dilation_rate": attributes["dilations"][1:3]}
    return ops.conv(x, kernel, padding=attributes["padding"].lower(), data_format="channels_last", **window)


def _conv2d_transposed(inputs: list, attributes: dict):
    size, kernel, x = inputs
    padding, strides = attributes["padding"].lower(), attributes["strides"][1:3]
    x = ops.conv_transpose(x, kernel, strides, padding, data_format="channels_last")
    if tuple(x.shape[1:3]) != _size(size[1:3]):
        raise BadArgument(f"Conv2DBackpropInput to {_size(size[1:3])}: this interpreter makes {x.shape[1:3]}")
    return x


def _fused_conv2d(inputs: list, attributes: dict):
    """A convolution with the operations that are fused to it: a bias, perhaps a leaky ReLU."""
    after = {
        "BiasAdd": lambda x: x + inputs[2],
        "LeakyRelu": lambda x: ops.leaky_relu(x, attributes["leakyrelu_alpha"]),
    }
    x = _conv2d(inputs[:2], attributes)
    for operation in attributes["fused_ops"]:
        if operation not in after:
            raise BadArgument(f"_FusedConv2D with {operation}: this interpreter knows {', '.join(after)}")
        x = after[operation](x)
    return x


def _batch_to_space(inputs: list, _: dict):
    """Pictures side by side, pixel by pixel: (r · c · m, h, w, channels) → (m, r · h, c · w, channels), cropped."""
    x, (rows, columns), crops = inputs
    _, h, w, channels = x.shape
    x = ops.reshape(x, (rows, columns, -1, h, w, channels))
    x = ops.reshape(ops.transpose(x, (2, 3, 0, 4, 1, 5)), (-1, h * rows, w * columns, channels))
    (top, bottom), (left, right) = crops
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _strided_slice(inputs: list[np.ndarray], attributes: dict) -> np.ndarray:
    """A slice of a list of integers, or one of them."""
    numbers, (begin,), (end,), (stride,) = inputs
    if attributes["shrink_axis_mask"]:
        return numbers[begin]
    return numbers[None if attributes["begin_mask"] else begin : None if attributes["end_mask"] else end : stride]


def _size(numbers: np.ndarray) -> tuple[int, ...]:
    """Whole numbers as Keras takes them."""
    return tuple(np.atleast_1d(numbers).tolist())


#: Operation → its implementation: (inputs, attributes) → value.
OPERATIONS: dict[str, Callable[[list, dict], Any]] = {
    "Add": lambda x, _: x[0] + x[1],
    "AddV2": lambda x, _: x[0] + x[1],
    "BatchToSpaceND": _batch_to_space,
    "BiasAdd": lambda x, _: x[0] + x[1],
    "ConcatV2": lambda x, _: ops.concatenate(x[:-1], int(x[-1])),
    "Conv2D": _conv2d,
    "Conv2DBackpropInput": _conv2d_transposed,
    "Identity": lambda x, _: x[0],
    "LeakyRelu": lambda x, a: ops.leaky_relu(x[0], a["alpha"]),
    "Maximum": lambda x, _: ops.maximum(x[0], x[1]),
    "Mean": lambda x, a: ops.mean(x[0], _size(x[1]), keepdims=a.get("keep_dims", False)),
    "Minimum": lambda x, _: ops.minimum(x[0], x[1]),
    "Mul": lambda x, _: x[0] * x[1],
    "Pack": lambda x, a: np.stack(x, a["axis"]),
    "Pad": lambda x, _: ops.pad(x[0], x[1].tolist()),
    "Reshape": lambda x, _: ops.reshape(x[0], _size(x[1])),
    "Rsqrt": lambda x, _: ops.rsqrt(x[0]),
    "Shape": lambda x, _: np.array(x[0].shape),
    "Square": lambda x, _: ops.square(x[0]),
    "StridedSlice": _strided_slice,
    "Tile": lambda x, _: ops.tile(x[0], _size(x[1])),
    "_FusedConv2D": _fused_conv2d,
}

#: Operations that read and write every number once; chains of them are compiled into one pass.
POINTWISE = {"Add", "AddV2", "BiasAdd", "LeakyRelu", "Maximum", "Mean", "Minimum", "Mul", "Rsqrt", "Square"}


def compile_graph(
    graph: Graph, output: str, dtype: str = "bfloat16", finish: Callable = lambda x: x
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile a graph into one function.

    The nodes are visited once for each shape of the input, while the backend traces the function; afterwards a static
    graph runs. Two shortcuts make it fast: in TensorFlow a chain of pointwise operations is compiled into one pass over
    memory, as other backends do by themselves; and the convolution of a picture doubled in size is computed on the
    small picture.

    Args:
        graph: A graph with one Placeholder.
        output: The name of the output node.
        dtype: The type of convolutions and of values in memory, "bfloat16" or "float32". Pointwise operations are
            computed in float32 either way.
        finish: Applied to the output inside the compiled function: float32 tensor → tensor.

    Returns:
        A function from the value of the Placeholder, float32, to the finished output.

    Raises:
        BadArgument: If there is no such node, or it needs an operation that is not in ``OPERATIONS``.
    """
    order = evaluation_order(graph, output)
    (placeholder,) = (name for name in order if graph.op(name) == "Placeholder")

    sizes = [int(size["size"]) for size in graph.attributes(placeholder)["shape"]["dim"]]

    def visit(x):
        if len(x.shape) != len(sizes) or any(n not in (-1, m) for n, m in zip(sizes, x.shape, strict=True)):
            raise BadArgument(f"{placeholder} is {tuple(x.shape)}; the graph takes {tuple(sizes)}, where -1 is any")
        walk = _Walk(graph, order, dtype, {placeholder: ops.cast(x, dtype)})
        for name in order:  # from input to output, so no recursion goes deep
            if graph.op(name) not in POINTWISE:
                walk.value(name)
        return finish(ops.cast(walk.value(output), "float32"))

    compiled = _compiled(visit)
    return lambda x: ops.convert_to_numpy(compiled(ops.convert_to_tensor(x, "float32")))


def _compiled(function: Callable, one_pass: bool = False) -> Callable:
    """A function as the backend compiles it; ``one_pass`` is for pointwise operations within such a function."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False, jit_compile=one_pass)
    if keras.backend.backend() == "jax" and not one_pass:
        import jax

        return jax.jit(function)
    return function


def evaluation_order(graph: Graph, output: str) -> list[str]:
    """The nodes that ``output`` needs, itself included; each comes after the nodes that it needs.

    Raises:
        BadArgument: If one of them is not in the graph, or its operation is not in ``OPERATIONS``.
    """
    order: dict[str, None] = {}
    waiting = [output]
    while waiting:
        name = waiting[-1]
        if name not in graph.nodes:
            raise BadArgument(f"the graph has no node {name}")
        if graph.op(name) not in OPERATIONS and graph.op(name) not in ("Const", "Placeholder"):
            raise BadArgument(f"the operation {graph.op(name)} (node {name}) is unknown here")
        unknown = [source for source in graph.inputs(name) if source not in order]
        if unknown:
            waiting += unknown
        else:
            order[waiting.pop()] = None
    return list(order)


def _is_known(value: object) -> bool:
    """Whether a value is a NumPy array, known while the function is compiled."""
    return isinstance(value, np.ndarray | np.generic)


class _Walk:
    """The values of nodes, each computed when it is first needed."""

    def __init__(self, graph: Graph, order: list[str], dtype: str, values: dict[str, Any]):
        self.graph, self.order, self.dtype, self.values = graph, order, dtype, values

    def value(self, name: str):
        """The value of a node."""
        if name not in self.values:
            self.values[name] = self._compute(name)
        return self.values[name]

    def _compute(self, name: str):
        op, inputs = self.graph.op(name), self.graph.inputs(name)
        if op == "Const":
            return self._constant(name, self.dtype)
        if op in POINTWISE:
            return self._pointwise_chain(name)
        small = doubled_source(self.graph, name)
        if small is not None:
            return convolve_doubled(self.value(small), self.graph.weights[inputs[1]])
        return OPERATIONS[op]([self.value(source) for source in inputs], self.graph.attributes(name))

    def _constant(self, name: str, dtype: str):
        array = self.graph.weights[name]
        return ops.convert_to_tensor(array, dtype) if array.dtype.kind == "f" else array

    def _pointwise_chain(self, name: str):
        """Compile a node, with all pointwise operations that lead to it, into one pass over memory."""
        inside = self._chain_before(name)
        outside = [source for node in inside for source in self.graph.inputs(node) if source not in inside]
        outside = list(dict.fromkeys(outside))
        outside = {source: self.value(source) for source in outside}
        integers = {source: value for source, value in outside.items() if _is_known(value)}
        pictures = {source: value for source, value in outside.items() if source not in integers}

        def chain(*tensors):
            values = integers | {source: ops.cast(x, "float32") for source, x in zip(pictures, tensors, strict=True)}
            for node in inside:
                if self.graph.op(node) == "Const":
                    values[node] = self._constant(node, "float32")
                else:
                    inputs = [values[source] for source in self.graph.inputs(node)]
                    values[node] = OPERATIONS[self.graph.op(node)](inputs, self.graph.attributes(node))
            return values[name]

        if not pictures:
            value = chain()
            return value if _is_known(value) else ops.cast(value, self.dtype)
        return _compiled(lambda *x: ops.cast(chain(*x), self.dtype), one_pass=True)(*pictures.values())

    def _chain_before(self, name: str) -> list[str]:
        """The pointwise operations and constants that lead to a node, in order, the node last."""
        inside, waiting = {name}, [name]
        while waiting:
            for source in self.graph.inputs(waiting.pop()):
                op = self.graph.op(source)
                is_open = op == "Const" or (op in POINTWISE and source not in self.values)
                if is_open and source not in inside:
                    inside.add(source)
                    waiting.append(source)
        return [node for node in self.order if node in inside]


def doubled_source(graph: Graph, name: str) -> str | None:
    """The node of the small picture, if a node is a 3×3 convolution of a picture doubled in size; else None.

    In the graph: Tile (four copies) → BatchToSpaceND (their pixels side by side) → Conv2D.
    """
    if graph.op(name) != "Conv2D":
        return None
    spread, kernel = graph.inputs(name)
    tile = graph.inputs(spread)[0] if graph.op(spread) == "BatchToSpaceND" else spread
    if graph.op(tile) != "Tile" or kernel not in graph.weights or graph.attributes(name)["padding"] != "SAME":
        return None
    numbers = [graph.weights.get(node) for node in (graph.inputs(tile)[1], *graph.inputs(spread)[1:])]
    expected = ([4, 1, 1, 1], [2, 2], [[0, 0], [0, 0]])
    doubles = len(numbers) == 3 and all(map(np.array_equal, numbers, expected))
    plain = set(graph.attributes(name)["strides"] + graph.attributes(name)["dilations"]) == {1}
    return graph.inputs(tile)[0] if doubles and plain and graph.weights[kernel].shape[:2] == (3, 3) else None


def convolve_doubled(x, kernel: np.ndarray):
    """Convolve a picture doubled in size (every pixel 2×2) without making it: 4/9 of the work.

    The three rows under a kernel belong to only two rows of the small picture: (1, 2, 2) at even rows, (1, 1, 2) at odd
    ones, and likewise for columns. So each of the four positions in a doubled pixel is a 2×2 convolution of the small
    picture, with a kernel that adds up the weights of the same pixel.

    Args:
        x: The small picture, (m, H, W, channels).
        kernel: The kernel for the large picture, (3, 3, channels, filters).

    Returns:
        (m, 2H, 2W, filters).
    """
    h, w, filters = *x.shape[1:3], kernel.shape[-1]
    rows = []
    for row in (0, 1):
        columns = []
        for column in (0, 1):
            small = ops.convert_to_tensor(_fold(_fold(kernel, row, axis=0), column, axis=1), x.dtype)
            padded = ops.pad(x, [[0, 0], [1 - row, row], [1 - column, column], [0, 0]])
            columns.append(ops.conv(padded, small, padding="valid", data_format="channels_last"))  # (m, H, W, filters)
        side_by_side = ops.concatenate(columns, axis=-1)  # in memory that is                 (m, H, 2W, filters)
        rows.append(ops.reshape(side_by_side, (-1, h, 2 * w * filters)))
    return ops.reshape(ops.concatenate(rows, axis=-1), (-1, 2 * h, 2 * w, filters))


def _fold(kernel: np.ndarray, odd: int, axis: int) -> np.ndarray:
    """Add up the two of the kernel's three rows (or columns) that belong to the same small pixel."""
    first, middle, last = np.moveaxis(kernel, axis, 0)
    pair = (first + middle, last) if odd else (first, middle + last)
    return np.stack(pair, axis)
