"""Networks without TensorFlow: their layers as a graph for ONNX Runtime, which encodes one face in a third of the time.

model.json and model.h5, or a Keras model ──► graph ──► faces (m, S, S, 3) → encodings (m, D)

A network with a layer that has no operation here stays with TensorFlow, and so does every network where the runtime is
not installed. Inside a graph pictures are (m, C, H, W), as the runtime wants them.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

#: Faces (m, S, S, 3) float32 in 0..255 → encodings (m, D).
Encode = Callable[[np.ndarray], np.ndarray]

#: A layer's weights by its name; those of a network in a network, by the names of its own layers.
Weights = Mapping[str, Any]

#: ``FACEREC_ENGINE=tensorflow`` computes as if the runtime were not installed.
SWITCH = "FACEREC_ENGINE"


class Unsupported(Exception):
    """A layer, or a setting of one, for which there is no operation here."""


def is_available() -> bool:
    """Whether networks run in ONNX Runtime: where it is installed, unless the environment says otherwise."""
    return os.environ.get(SWITCH, "").lower() != "tensorflow" and _is_installed()


@cache
def _is_installed() -> bool:
    return all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime"))


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """How many cores may compute at once: the first number of OMP_NUM_THREADS, if it is set; else all there are."""
    allowed = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(allowed) if allowed.isdecimal() and int(allowed) else processors()


class Graph:
    """Operations of ONNX, added one after the other; a tensor is known by its name, a constant is an array."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operation: str, *inputs: str | np.ndarray, outputs: int = 1, domain: str = "", **attributes: Any):
        """Add one operation; returns the name of its output, or a list of several."""
        from onnx import helper

        names = [f"{operation}_{len(self.nodes)}_{i}" for i in range(outputs)]
        sources = [self._named(each) for each in inputs]
        self.nodes.append(helper.make_node(operation, sources, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def _named(self, value: str | np.ndarray) -> str:
        if isinstance(value, str):
            return value
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def model(self, inputs: Mapping[str, tuple[type, Sequence]], outputs: Sequence[str]) -> bytes:
        """The finished graph, as an ONNX file holds it.

        Args:
            inputs: Name → type and shape; sizes that vary are names or None.
            outputs: The names of its results.
        """
        from onnx import TensorProto, helper

        takes = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
            for name, (kind, shape) in inputs.items()
        ]
        gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "network", takes, gives, self.constants)
        versions = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=10).SerializeToString()


def open_onnx(data: bytes, threads: int = 0) -> Callable[..., list[np.ndarray]]:
    """Open a graph: a function of its inputs, in their order, that returns the list of its results.

    Args:
        data: The graph, as an ONNX file holds it.
        threads: How many it computes with; 0 for as many as there are :func:`cores`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3  # errors only
    options.enable_mem_pattern = False  # batches and photos are of many sizes
    session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda *values: session.run(None, dict(zip(names, values, strict=True)))


# ------------------------------------------------------------------------------------------ layers → operations
def convolution(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``Conv2D``, with its activation."""
    kernel, *bias = weights
    window = {"strides": config["strides"], "dilations": config["dilation_rate"], "group": config["groups"]}
    x = graph.add("Conv", x, kernel.transpose(3, 2, 0, 1), *bias, auto_pad=_padding(config), **window)
    return activation(graph, x, config["activation"])


def _padding(config: Mapping) -> str:
    return {"same": "SAME_UPPER", "valid": "VALID"}[config["padding"]]


def pooling(graph: Graph, x: str, config: Mapping, operation: str) -> str:
    """``MaxPooling2D`` and ``AveragePooling2D``."""
    window = {"kernel_shape": config["pool_size"], "strides": config["strides"], "auto_pad": _padding(config)}
    return graph.add(operation, x, **window)


def dense(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``Dense``, with its activation."""
    x = graph.add("Gemm", x, *weights)
    return activation(graph, x, config["activation"])


def activation(graph: Graph, x: str, name: str) -> str:
    """No activation, or ReLU."""
    if name not in ("linear", "relu"):
        raise Unsupported(f"activation={name!r}")
    return graph.add("Relu", x) if name == "relu" else x


def normalization(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``BatchNormalization``: a factor and an offset per channel, which the runtime folds into a convolution."""
    left = list(weights)
    variance, mean = left.pop(), left.pop()
    offset = left.pop() if config["center"] else np.zeros_like(mean)
    factor = left.pop() if config["scale"] else np.ones_like(mean)
    return graph.add("BatchNormalization", x, factor, offset, mean, variance, epsilon=config["epsilon"])


def rescaling(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``Rescaling``, by numbers or by one number per channel."""
    for operation, name in (("Mul", "scale"), ("Add", "offset")):
        x = graph.add(operation, x, np.asarray(config[name], np.float32).reshape(-1, 1, 1))
    return x


def rectifier(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``ReLU``, without a ceiling."""
    if config["max_value"] is not None or config["negative_slope"] or config["threshold"]:
        raise Unsupported(f"ReLU with {config}")
    return graph.add("Relu", x)


def volume_padding(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``ZeroPadding3D`` of (m, H, W, C, 1), with which the residual network adds channels of zeros."""
    rows, columns, channels = config["padding"]
    before, after = zip(channels, rows, columns, strict=True)
    return graph.add("Pad", x, np.array([0, *before, 0, *after], np.int64))


def reshaping(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray], shape: Sequence) -> str:
    """``Reshape``, where it adds or drops a last axis of one, which no tensor here has."""
    old, new = list(shape[1:]), list(config["target_shape"])
    if new != [*old, 1] and old != [*new, 1]:
        raise Unsupported(f"Reshape of {old} to {new}")
    return x


def flattening(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray], shape: Sequence) -> str:
    """``Flatten``, with the channels last."""
    return graph.add("Flatten", graph.add("Transpose", x, perm=(0, 2, 3, 1)) if len(shape) == 4 else x)


def einsum(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``EinsumDense``, where it mixes the columns of a picture: the residual network's mirror."""
    if config["equation"] != "bhwc,wv->bhvc" or len(weights) != 1 or config["activation"] != "linear":
        raise Unsupported(f"EinsumDense with {config['equation']}")
    return graph.add("MatMul", x, weights[0])


def unit(graph: Graph, x: str, config: Mapping, weights: Sequence[np.ndarray]) -> str:
    """``UnitNormalization`` of (m, D)."""
    return graph.add("LpNormalization", x, axis=1, p=2)


LAYERS: dict[str, Callable[..., str]] = {
    "Conv2D": convolution,
    "MaxPooling2D": lambda graph, x, config, weights: pooling(graph, x, config, "MaxPool"),
    "AveragePooling2D": lambda graph, x, config, weights: pooling(graph, x, config, "AveragePool"),
    "GlobalAveragePooling2D": lambda graph, x, config, weights: graph.add("Flatten", graph.add("GlobalAveragePool", x)),
    "Dense": dense,
    "BatchNormalization": normalization,
    "Rescaling": rescaling,
    "ReLU": rectifier,
    "Activation": lambda graph, x, config, weights: activation(graph, x, config["activation"]),
    "Dropout": lambda graph, x, config, weights: x,
    "ZeroPadding3D": volume_padding,
    "EinsumDense": einsum,
    "UnitNormalization": unit,
}

#: Layers that must know the shape, with the channels last, of what they are given.
SHAPED: dict[str, Callable[..., str]] = {"Reshape": reshaping, "Flatten": flattening}

#: Layers of several tensors.
MERGING: dict[str, Callable[..., str]] = {
    "Add": lambda graph, *x: graph.add("Sum", *x),
    "Average": lambda graph, *x: graph.add("Mean", *x),
    "Concatenate": lambda graph, *x: graph.add("Concat", *x, axis=1),
}


def functional(graph: Graph, config: Mapping, weights: Weights, x: str) -> str:
    """Add the layers of a functional network of Keras.

    Args:
        graph: To which they are added.
        config: The network, as ``model.json`` describes it.
        weights: Of its layers.
        x: Its input.

    Returns:
        Its output.

    Raises:
        Unsupported: If a layer has no operation here.
    """
    tensors = {(_ends(config["input_layers"]), 0): x}
    for layer in config["layers"]:
        calls = [_arguments(node) for node in layer["inbound_nodes"]]
        name = layer["name"]
        if layer["class_name"] == "Functional":
            results = _nested(graph, layer["config"], weights[name], [tensors[call[0][:2]] for call in calls])
        else:
            results = [_layer(graph, layer, weights.get(name, ()), call, tensors) for call in calls]
        tensors |= {(name, number): result for number, result in enumerate(results)}
    return tensors[_ends(config["output_layers"]), 0]


def _nested(graph: Graph, config: Mapping, weights: Weights, inputs: Sequence[str]) -> list[str]:
    """A network in a network; if it is called several times, once for all of them together."""
    if len(inputs) == 1:
        return [functional(graph, config, weights, inputs[0])]
    together = functional(graph, config, weights, graph.add("Concat", *inputs, axis=0))
    return graph.add("Split", together, axis=0, num_outputs=len(inputs), outputs=len(inputs))


def _layer(graph: Graph, layer: Mapping, weights: Sequence[np.ndarray], call: Sequence, tensors: Mapping) -> str:
    """One call of one layer."""
    kind, config, inputs = layer["class_name"], layer["config"], [tensors[each[:2]] for each in call]
    if kind in MERGING and config.get("axis", -1) == -1:
        return MERGING[kind](graph, *inputs)
    if kind in SHAPED:
        return SHAPED[kind](graph, *inputs, config, weights, call[0][2])
    if kind not in LAYERS or config.get("data_format", "channels_last") != "channels_last":
        raise Unsupported(kind)
    return LAYERS[kind](graph, *inputs, config, weights)


def _ends(layers: Sequence) -> str:
    """The layer at the one end of a network: ``[name, 0, 0]``, or a list of that."""
    first = layers[0]
    if not isinstance(first, str):
        if len(layers) > 1:
            raise Unsupported("several inputs or outputs")
        first = first[0]
    return first


def _arguments(node: Mapping) -> list[tuple[str, int, Sequence]]:
    """The tensors that a layer is called with: the layer that gives each, the number of its call, and the shape."""
    (given,) = node["args"]
    each = given if isinstance(given, list) else [given]
    histories = [(tensor["config"]["keras_history"], tensor["config"]["shape"]) for tensor in each]
    return [(name, number, shape) for (name, number, _), shape in histories]


# --------------------------------------------------------------------------------------------- whole networks
def as_onnx(config: Mapping, weights: Weights, shape: Sequence[int]) -> bytes:
    """A functional network of Keras, as an ONNX file holds it.

    Args:
        config: As in ``model.json``, its entry ``config``.
        weights: Of its layers, by name.
        shape: Of a face, (S, S, 3).

    Raises:
        Unsupported: If it can't be built here.
    """
    graph = Graph()
    try:
        out = functional(graph, config, weights, graph.add("Transpose", "faces", perm=(0, 3, 1, 2)))
    except (KeyError, ValueError, TypeError, IndexError) as error:  # described in a way that is unknown here
        raise Unsupported(repr(error)) from error
    return graph.model({"faces": (np.float32, ("m", *shape))}, [out])


def model_as_onnx(model: keras.Model) -> bytes:
    """A Keras model that is in memory, with the weights that it has now, as an ONNX file holds it.

    Raises:
        Unsupported: If it can't be built here.
    """
    config = json.loads(model.to_json())["config"]
    if "input_layers" not in config or len(model.input_shape) != 4:
        raise Unsupported(f"{type(model).__name__} of {model.input_shape}")
    return as_onnx(config, _weights_of(model), model.input_shape[1:])


def open_encoder(data: bytes) -> Encode:
    """Open the graph of a network that encodes faces."""
    encode = open_onnx(data)
    return lambda faces: encode(np.asarray(faces, np.float32))[0]


def encoder_of(model: keras.Model) -> Encode | None:
    """The function that encodes with a network in ONNX Runtime, made at its first use.

    Args:
        model: A frozen network, as ``load_facenet`` returns it; one that may still learn stays with TensorFlow. If its
            first or its last weights have changed meanwhile, the function is made anew.

    Returns:
        The function; None where TensorFlow has to do it.
    """
    if model.trainable or not is_available():
        return None
    kept = getattr(model, "facenet_fast", None) or Fast(model)
    if kept.is_outdated():
        kept = Fast(model)
    model.facenet_fast = kept
    return kept.encode


class Fast:
    """A network in ONNX Runtime, and the weights by which it knows whether it is still the same.

    Attributes:
        encode: The function; None if the network can't be built here.
    """

    def __init__(self, model: keras.Model) -> None:
        weights = model.weights
        self._ends = (weights[0].value, weights[-1].value) if weights else ()
        self._sums = self._sums_now()
        try:
            self.encode: Encode | None = open_encoder(model_as_onnx(model))
        except Unsupported:
            self.encode = None

    def is_outdated(self) -> bool:
        """Whether the first or the last weights have changed."""
        return self._sums != self._sums_now()

    def _sums_now(self) -> list[float]:
        return [float(np.sum(np.asarray(weight))) for weight in self._ends]


def _weights_of(model: keras.Model) -> Weights:
    return {
        layer.name: _weights_of(layer) if hasattr(layer, "layers") else layer.get_weights() for layer in model.layers
    }


def weights_in(file: Path, config: Mapping) -> Weights:
    """The weights of a file as Keras writes it, by layer; of a network in it, by the layers of that network."""
    import h5py

    found: dict[str, Any] = {}
    with h5py.File(file) as h5:
        for layer in config["layers"]:
            group = h5["model_weights"][layer["name"]]
            own: dict[str, list[np.ndarray]] = {}
            for path in group.attrs["weight_names"]:
                own.setdefault(path.split("/")[-2], []).append(group[path][()])
            nested = layer["class_name"] == "Functional"
            found[layer["name"]] = own if nested else next(iter(own.values()), [])
    return found
