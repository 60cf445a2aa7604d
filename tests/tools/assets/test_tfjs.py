"""The interpreter of TensorFlow.js graphs gives what NumPy computes, and names what it can't run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from facerec.errors import BadArgument
from tests.tools.assets.tfjs_models import conv, node, placeholder, write_model
from tools.assets.tfjs import compile_graph, convolve_doubled, doubled_source, evaluation_order, read_graph

RNG = np.random.default_rng(7)


def numpy_conv(x: np.ndarray, kernel: np.ndarray, same: bool = True) -> np.ndarray:
    """A convolution with stride 1, written as its definition."""
    rows, columns = kernel.shape[:2]
    if same:
        x = np.pad(x, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    h, w = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    return sum(x[:, i : i + h, j : j + w] @ kernel[i, j] for i in range(rows) for j in range(columns))


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def pixel_norm(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-8)


def double(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=1).repeat(2, axis=2)


#: What progan is made of, in small: (m, 6) → pad, conv, bias, leaky ReLU, pixel norm → twice the size, conv.
SMALL_PROGAN = [
    placeholder("latent", -1, 6),
    node("picture", "Reshape", "latent", "picture/shape"),
    node("padded", "Pad", "picture", "padded/by"),
    conv("conv1", "padded", "kernel1", padding="VALID"),
    node("biased", "Add", "conv1", "bias"),
    node("small", "Mul", "alpha", "biased"),
    node("leaky", "Maximum", "small", "biased"),
    node("square", "Square", "leaky"),
    node("mean", "Mean", "square", "axis", keep_dims=True),
    node("above_zero", "Add", "mean", "epsilon"),
    node("scale", "Rsqrt", "above_zero"),
    node("normal", "Mul", "leaky", "scale"),
    node("copies", "Tile", "normal", "copies/how_many"),
    node("doubled", "BatchToSpaceND", "copies", "doubled/block", "doubled/crops"),
    conv("conv2", "doubled", "kernel2"),
    node("output", "Minimum", "conv2", "ceiling"),
]
SMALL_PROGAN_WEIGHTS = {
    "picture/shape": np.array([-1, 1, 1, 6]),
    "padded/by": np.array([[0, 0], [3, 3], [3, 3], [0, 0]]),
    "kernel1": RNG.standard_normal((4, 4, 6, 8)),
    "bias": RNG.standard_normal(8),
    "alpha": np.float32(0.2),
    "axis": np.array([-1]),
    "epsilon": np.float32(1e-8),
    "copies/how_many": np.array([4, 1, 1, 1]),
    "doubled/block": np.array([2, 2]),
    "doubled/crops": np.array([[0, 0], [0, 0]]),
    "kernel2": RNG.standard_normal((3, 3, 8, 5)),
    "ceiling": np.float32(4.0),
}


def small_progan(latent: np.ndarray) -> np.ndarray:
    """What SMALL_PROGAN computes, in NumPy."""
    weights = SMALL_PROGAN_WEIGHTS
    x = np.pad(latent.reshape(-1, 1, 1, 6), ((0, 0), (3, 3), (3, 3), (0, 0)))
    x = pixel_norm(leaky(numpy_conv(x, weights["kernel1"], same=False) + weights["bias"]))
    return np.minimum(numpy_conv(double(x), weights["kernel2"]), 4.0)


# ------------------------------------------------------------------------------------------- the interpreter
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.15)])
def test_compiled_graph_agrees_with_numpy(tmp_path, dtype, tolerance):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    latent = RNG.standard_normal((3, 6)).astype("float32")
    expected = small_progan(latent)
    assert expected.std() > 1 and expected.max() == 4  # so that the tolerance and the ceiling mean something
    answer = compile_graph(graph, "output", dtype)(latent)
    assert answer.shape == (3, 8, 8, 5)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=tolerance)


def test_compile_graph_takes_an_inner_node_and_a_finish(tmp_path):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    latent = RNG.standard_normal((2, 6)).astype("float32")
    answer = compile_graph(graph, "padded", "float32", lambda x: 10 * x)(latent)
    np.testing.assert_allclose(answer[:, 3, 3], 10 * latent, rtol=1e-6)
    assert answer.shape == (2, 7, 7, 6)


def test_operations_of_the_enlarger_agree_with_numpy(tmp_path):
    kernel, bias, up = (
        RNG.standard_normal((3, 3, 3, 4)),
        RNG.standard_normal(4),
        RNG.standard_normal((2, 2, 2, 7)),
    )
    numbers = {
        "kernel": kernel,
        "bias": bias,
        "up": up,
        "up_bias": np.array([1.0, -2.0]),
        "axis": np.array(-1),
    }
    numbers |= {f"at{k}": np.array([k]) for k in range(4)} | {"two": np.array(2), "half": np.float32(0.5)}
    masks = dict(begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=1)
    strides = dict(strides=[1, 2, 2, 1], padding="SAME")
    nodes = [
        placeholder("input", -1, -1, -1, 3),
        conv("fused", "input", "kernel", "bias", fused_ops=["BiasAdd", "LeakyRelu"], leakyrelu_alpha=0.2),
        node("both", "ConcatV2", "input", "fused", "axis"),  # (m, H, W, 7)
        node("halved", "Mul", "half", "both"),
        node("sum", "AddV2", "halved", "both"),
        node("shape", "Shape", "sum"),
        *(node(f"size{k}", "StridedSlice", "shape", f"at{k}", f"at{k + 1}", "at1", **masks) for k in range(3)),
        node("height", "Mul", "size1", "two", T={"type": "DT_INT32"}),
        node("width", "Mul", "size2", "two", T={"type": "DT_INT32"}),
        node("target", "Pack", "size0", "height", "width", "two", axis=0),
        node("larger", "Conv2DBackpropInput", "target", "up", "sum", **strides),
        node("biased", "BiasAdd", "larger", "up_bias"),
        node("leaky", "LeakyRelu", "biased", alpha=0.2),
        node("Identity", "Identity", "leaky"),
    ]
    x = RNG.standard_normal((2, 5, 4, 3)).astype("float32")
    both = np.concatenate([x, leaky(numpy_conv(x, kernel) + bias)], -1) * 1.5
    larger = np.zeros((2, 10, 8, 2))
    for i in range(2):
        for j in range(2):
            larger[:, i::2, j::2] = both @ up[i, j].T  # stride 2 with a 2×2 kernel: nothing overlaps
    answer = compile_graph(read_graph(write_model(tmp_path, nodes, numbers)), "Identity", "float32")(x)
    np.testing.assert_allclose(answer, leaky(larger + np.array([1, -2])), atol=1e-4)


def test_slices_of_shapes_follow_their_masks(tmp_path):
    masks = dict(ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0)
    numbers = {f"at{k}": np.array([k]) for k in range(3)}
    for begin_mask, end_mask, sizes in ((0, 0, (3,)), (0, 1, (3, 4)), (1, 0, (2, 3)), (1, 1, (2, 3, 4))):
        part = node(
            "part", "StridedSlice", "shape", "at1", "at2", "at1", begin_mask=begin_mask, end_mask=end_mask, **masks
        )
        nodes = [placeholder("x", -1, -1, -1), node("shape", "Shape", "x"), part, node("flat", "Reshape", "x", "all")]
        nodes += [node("ones", "Tile", "one", "part")]
        graph = read_graph(
            write_model(tmp_path / f"{begin_mask}{end_mask}", nodes, numbers | {"one": np.ones(len(sizes) * [1])})
        )
        assert compile_graph(graph, "ones", "float32")(np.zeros((2, 3, 4), "float32")).shape == sizes


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_graph_runs_on_jax(tmp_path):
    """The same graph with JAX below Keras, in a process of its own."""
    write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS)
    program = (
        "import keras, numpy as np, sys; from tools.assets.tfjs import compile_graph, read_graph;"
        "assert keras.backend.backend() == 'jax'; run = compile_graph(read_graph(sys.argv[1]), 'output', 'float32');"
        "np.save(sys.argv[1] + '/there.npy', run(np.load(sys.argv[1] + '/latent.npy')))"
    )
    np.save(tmp_path / "latent.npy", latent := RNG.standard_normal((3, 6)).astype("float32"))
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", program, tmp_path], env=env, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "there.npy"), small_progan(latent), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 4, 4)])
def test_convolve_doubled_agrees_with_numpy(shape):
    x = RNG.standard_normal((*shape, 6)).astype("float32")
    kernel = RNG.standard_normal((3, 3, 6, 4)).astype("float32")
    answer = np.asarray(convolve_doubled(keras.ops.convert_to_tensor(x), kernel))
    np.testing.assert_allclose(answer, numpy_conv(double(x), kernel), atol=1e-4)


def test_doubled_source_finds_doubled_pictures_only(tmp_path):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    assert doubled_source(graph, "conv2") == "normal"
    assert doubled_source(graph, "conv1") is None
    others = {
        "doubled/crops": np.array([[1, 1], [0, 0]]),
        "doubled/block": np.array([1, 4]),
        "copies/how_many": np.array([4, 1, 1, 2]),
        "kernel2": RNG.standard_normal((5, 5, 8, 5)),
    }
    for name, other in others.items():
        changed = read_graph(write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS | {name: other}))
        assert doubled_source(changed, "conv2") is None, name


def test_cropped_doubled_pictures_are_computed_in_full(tmp_path):
    weights = SMALL_PROGAN_WEIGHTS | {"doubled/crops": np.array([[1, 1], [0, 2]])}
    latent = RNG.standard_normal((2, 6)).astype("float32")
    weights_before = read_graph(write_model(tmp_path / "before", SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    normal = compile_graph(weights_before, "normal", "float32")(latent)
    answer = compile_graph(read_graph(write_model(tmp_path, SMALL_PROGAN, weights)), "conv2", "float32")(latent)
    np.testing.assert_allclose(answer, numpy_conv(double(normal)[:, 1:-1, :-2], weights["kernel2"]), atol=1e-4)


def test_evaluation_order_puts_inputs_first(tmp_path):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN[::-1], SMALL_PROGAN_WEIGHTS))
    order = evaluation_order(graph, "output")
    assert len(order) == len(set(order)) == len(graph.nodes)
    assert all(order.index(source) < order.index(name) for name in order for source in graph.inputs(name))
    assert "output" not in evaluation_order(graph, "conv2")


# ------------------------------------------------------------------------------------------------ bad input
def test_read_graph_names_a_missing_shard(tmp_path):
    folder = write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS)
    (folder / "group1-shard2of3.bin").unlink()
    with pytest.raises(BadArgument, match=r"group1-shard2of3\.bin"):
        read_graph(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda b: b[:-4], "end before ceiling"), (lambda b: b + b"1234", "4 bytes more")],
    ids=["shorter", "longer"],
)
def test_read_graph_rejects_shards_of_another_length(tmp_path, change, message):
    shard = write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS) / "group1-shard3of3.bin"
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(BadArgument, match=message):
        read_graph(tmp_path)


def test_read_graph_rejects_missing_models_and_quantised_weights(tmp_path):
    with pytest.raises(BadArgument, match=r"model\.json is missing"):
        read_graph(tmp_path)
    model = write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS) / "model.json"
    model.write_text(model.read_text().replace('"float32"', '"uint8"', 1))
    with pytest.raises(BadArgument, match="kernel1 has dtype uint8"):
        read_graph(tmp_path)


def test_compile_graph_names_unknown_operations_and_nodes(tmp_path):
    nodes = [
        placeholder("x", -1, 4, 4, 3),
        node("odd", "FractionalMaxPool", "x"),
        node("even", "Square", "odd"),
    ]
    fused = conv("fused", "x", "kernel", "bias", fused_ops=["BiasAdd", "Elu"])
    weights = {"kernel": np.ones((1, 1, 3, 2)), "bias": np.ones(2)}
    graph = read_graph(write_model(tmp_path, [*nodes, fused], weights))
    with pytest.raises(BadArgument, match=r"FractionalMaxPool \(node odd\)"):
        compile_graph(graph, "even")
    with pytest.raises(BadArgument, match="no node nowhere"):
        compile_graph(graph, "nowhere")
    with pytest.raises(BadArgument, match="Elu"):
        compile_graph(graph, "fused")(np.ones((1, 4, 4, 3), "float32"))
    with pytest.raises(BadArgument, match=r"x is \(1, 4, 5, 3\); the graph takes \(-1, 4, 4, 3\)"):
        compile_graph(graph, "fused")(np.ones((1, 4, 5, 3), "float32"))
