"""MTCNN in ONNX Runtime: the networks and the arithmetic of the package ``mtcnn``, in less time.

photo ──P-Net, at every scale──► candidates ──R-Net──► fewer of them ──O-Net──► faces, each with five points

A table of candidates has the columns left, top, right, bottom, score; O-Net adds five x and five y. The work comes in
small pieces, so that what is between two layers stays near the core: strips of the pyramid, and a few candidates at a
time. The cores share the pieces of one photo; where there are photos enough, each core takes one.

Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016;
sizes, thresholds and rounding as in the package ``mtcnn`` 1.0.0, whose weights are used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from facerec._onnx import Graph, cores, open_onnx

#: One of the three: arrays → arrays.
Network = Callable[..., list[np.ndarray]]

#: ``map``, or that of a pool: a function and its arguments → the results, in order.
Apply = Callable[[Callable, Iterable], Iterable]

#: The layers of each network up to its outputs: a pooling is named by its padding and its size.
LAYERS = {
    "pnet": "pooled conv prelu conv prelu",  # pooled: a convolution, PReLU and a pooling of 2×2
    "rnet": "conv prelu same:3 conv prelu valid:3 conv prelu dense prelu",
    "onet": "conv prelu same:3 conv prelu valid:3 conv prelu same:2 conv prelu dense prelu",
}

#: The side of the crops that R-Net and O-Net look at, in pixels.
SIDES = {"rnet": 24, "onet": 48}

#: A network's score above which a candidate goes on.
SCORES = {"pnet": 0.6, "rnet": 0.7, "onet": 0.8}

SMALLEST, CELL, STRIDE = 20, 12, 2  # of the faces searched for, of what P-Net looks at, of its steps: in pixels
FACTOR = 0.709  # from one scale to the next

#: Where the largest face is enough, faces of at least this share of the photo's shorter side are searched for first.
LARGE = 1 / 8

#: The score of a sure face.
SURE = 0.98

#: The scales for smaller faces are left out beside a sure face of so many times their size: so far apart, no candidate
#: of theirs can take its place.
PARTS = 2.5

#: The pieces of the work: the rows that P-Net answers for a strip, and the crops that the others judge at once.
STRIP, CROPS = 16, 8

#: The padding of a pooling that covers the last row and column, too.
SAME = "SAME_UPPER"

#: Convolutions whose channels are a multiple of this run in the runtime's own, faster layout.
BLOCK = 16

#: The points in the order in which O-Net gives them.
POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


class Cascade:
    """The detector; it answers as ``mtcnn.MTCNN`` does, but for ``score`` instead of ``confidence``.

    Args:
        workers: How many cores it uses; by default all that may compute.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.pnet, self.rnet, self.onet = map(open_network, LAYERS)
        self.workers = workers or cores()
        self.pool = ThreadPoolExecutor(self.workers, "facerec-cascade")

    def detect_faces(self, photos: Sequence[np.ndarray], largest: bool = False) -> list[list[dict]]:
        """The faces of each of several photos, (H, W, 3) uint8 each; smaller ones may be missing beside a largest."""
        if len(photos) < self.workers:
            found = map(partial(self.search, largest=largest), photos)
        else:
            found = self.pool.map(partial(self.search, apply=map, largest=largest), photos)
        return [[as_face(row, photo.shape) for row in rows] for rows, photo in zip(found, photos, strict=True)]

    def search(self, photo: np.ndarray, apply: Apply | None = None, largest: bool = False) -> np.ndarray:
        """The faces of a photo, as a table with 15 columns; nothing is rounded or cut yet.

        The scales for small faces take most of the time. Where the largest face is enough, they are left out if the
        others show a sure and large one. (In a rare photo a small face lies in front of a large one, and the last
        suppression would have kept the small one alone.)

        Args:
            photo: (H, W, 3) uint8.
            apply: Does the pieces of the work: ``map`` on this core, by default on all.
            largest: Whether the largest face is enough.
        """
        apply = apply or self.pool.map
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1)[None], np.float32)  # (1, 3, H, W)
        pyramid, all_scales = Pyramid(photo), scales(*photo.shape[:2])
        sizes = CELL / all_scales  # of the faces that each scale is for, in pixels
        first = int(np.searchsorted(sizes, min(photo.shape[:2]) * LARGE)) if largest else 0
        proposed = [*self.propose(pyramid, all_scales[first:], apply)]
        table = self.decide(planes, proposed, apply)
        if first and not has_large(table, photo.shape, PARTS * sizes[first - 1]):
            table = self.decide(planes, [*self.propose(pyramid, all_scales[:first], apply), *proposed], apply)
        return table

    def propose(self, pyramid: Pyramid, some_scales: np.ndarray, apply: Apply) -> Iterator[np.ndarray]:
        """What P-Net takes for faces, at each of some scales."""
        levels = [list(strips(copy)) for copy in apply(pyramid.at, some_scales)]
        answers = iter(apply(self.pnet, [strip for level in levels for strip in level]))
        for scale, level in zip(some_scales, levels, strict=True):
            output = np.concatenate([rows for (rows,) in islice(answers, len(level))], axis=2)
            yield survivors(candidates(output, scale), 0.5)

    def decide(self, planes: np.ndarray, proposed: Sequence[np.ndarray], apply: Apply) -> np.ndarray:
        """The faces among the candidates of some scales."""
        table = self.refine(planes, squares(merged(proposed)), apply)
        return self.describe(planes, squares(table), apply)

    def refine(self, planes: np.ndarray, table: np.ndarray, apply: Apply) -> np.ndarray:
        """What R-Net takes for faces, with better boxes."""
        if not len(table):
            return table
        moves, scores = judge(self.rnet, planes, table, apply)
        return survivors(by_score(chosen(table, moves, scores, SCORES["rnet"])), 0.7)

    def describe(self, planes: np.ndarray, table: np.ndarray, apply: Apply) -> np.ndarray:
        """What O-Net takes for faces, with their points."""
        if not len(table):
            return np.empty((0, 15))
        moves, points, scores = judge(self.onet, planes, table, apply)
        sizes = table[:, 2:4] - table[:, :2] + 1  # width, height
        x = sizes[:, :1] * points[:, :5] + table[:, :1] - 1
        y = sizes[:, 1:] * points[:, 5:] + table[:, 1:2] - 1
        table = chosen(np.hstack([table, x, y]), moves, scores, SCORES["onet"])
        return survivors(by_score(table), 0.7, of_the_smaller=True)


def judge(network: Network, planes: np.ndarray, table: np.ndarray, apply: Apply) -> list[np.ndarray]:
    """What R-Net or O-Net gives for the candidates."""
    boxes, photos = crops(planes, table)
    pieces = [slice(start, start + CROPS) for start in range(0, len(table), CROPS)]
    answers = apply(lambda piece: network(planes, boxes[piece], photos[piece]), pieces)
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def as_face(row: np.ndarray, shape: Sequence[int]) -> dict:
    """A row of the last table, as the package describes a face: whole pixels, the box within the photo."""
    height, width = shape[:2]
    left, top, right, bottom = np.clip(row[:4], 0, np.subtract((width, height, width, height), 1))
    box = np.round((left, top, right - left, bottom - top)).astype(int).tolist()
    points = row[5:].reshape(2, 5).T.round().astype(int).tolist()
    return {"box": box, "keypoints": dict(zip(POINTS, points, strict=True)), "score": float(row[4])}


def open_network(name: str) -> Network:
    """Open one of the three networks, with the weights of the package ``mtcnn``, which itself is not imported.

    P-Net takes photos (m, 3, H, W) in 0..255 and gives (m, 5, h, w): how to move the four sides, and the logarithm of
    the odds that this is a face. The others take photos, boxes (n, 4), and which photo each box is in; they give the
    moves (n, 4), O-Net also the points (n, 10), and the scores (n, 2).
    """
    import joblib

    package = Path(importlib.util.find_spec("mtcnn").submodule_search_locations[0])
    weights = iter(joblib.load(package / "assets" / "weights" / f"{name}.lz4"))
    graph, x, takes = Graph(), "photos", {"photos": (np.float32, (None, 3, None, None))}
    if name in SIDES:
        takes |= {"boxes": (np.float32, (None, 4)), "of": (np.int32, (None,))}
        side = SIDES[name]
        size, shape = np.array([side, side], np.int32), np.array([-1, 3, side, side], np.int64)
        cut = graph.add("CropAndResize", *takes, size, domain="com.microsoft", extrapolation_value=127.5)
        x = graph.add("Reshape", cut, shape)  # the runtime does not know the shape by itself
    kernel, bias = next(weights) / 128, next(weights)
    first = [kernel, bias - 127.5 * kernel.sum(axis=(0, 1, 2))]  # the networks were made for (pixels - 127.5) / 128
    weights = iter([*first, *weights])
    for layer in LAYERS[name].split():
        x = _add(graph, layer, x, weights)
    left = list(weights)
    pairs = [(left[i].reshape(left[i].shape[-2:]), left[i + 1]) for i in range(0, len(left), 2)]
    if name == "pnet":  # both outputs by one convolution
        (move, moved), (score, scored) = pairs
        kernel = np.hstack([move, score[:, 1:] - score[:, :1]])
        ends = [graph.add("Conv", x, kernel.T[..., None, None], np.append(moved, scored[1] - scored[0]))]
    else:
        ends = [graph.add("Gemm", x, *pair) for pair in pairs]
        ends[-1] = graph.add("Softmax", ends[-1], axis=1)
    return open_onnx(graph.model(takes, ends), threads=1)


def _add(graph: Graph, layer: str, x: str, weights: Iterator[np.ndarray]) -> str:
    """Add one layer of :data:`LAYERS`."""
    if layer == "pooled":
        return _pooled(graph, x, next(weights).transpose(3, 2, 0, 1), next(weights), next(weights)[0, 0])
    if layer == "conv":
        return graph.add("Conv", x, widened(next(weights).transpose(3, 2, 0, 1)), widened(next(weights)))
    if layer == "dense":  # of 3×3 places, column by column
        kernel, bias = next(weights), next(weights)
        kernel = kernel.reshape(3, 3, -1, len(bias)).transpose(2, 1, 0, 3).reshape(kernel.shape)
        return graph.add("Gemm", graph.add("Flatten", x), kernel, bias)
    if layer == "prelu":
        slope = next(weights)
        return _leaky(graph, x, widened(slope[0, 0])) if slope.ndim == 3 else graph.add("PRelu", x, slope)
    padding, size = layer.split(":")
    padding = {"same": SAME, "valid": "VALID"}[padding]
    return graph.add("MaxPool", x, kernel_shape=[int(size)] * 2, strides=[2, 2], auto_pad=padding)


def _leaky(graph: Graph, x: str, slope: np.ndarray) -> str:
    """PReLU as slope · x + (1 - slope) · ReLU(x): the runtime's own ``PRelu`` takes longer than the convolutions."""
    parts = ((x, slope), (graph.add("Relu", x), 1 - slope))
    scaled = [graph.add("Conv", part, by.reshape(-1, 1, 1, 1), group=len(by)) for part, by in parts]
    return graph.add("Add", *scaled)


def _pooled(graph: Graph, x: str, kernel: np.ndarray, bias: np.ndarray, slope: np.ndarray) -> str:
    """A convolution, PReLU and the largest of 2×2, but pooled before PReLU, which then has a quarter to do.

    Where PReLU rises (a slope a ≥ 0), it is PReLU of the largest value M. Where it falls below 0, the largest may come
    from the smallest value −N: it is max(M, −a · N), for which the channel is there once more, mirrored.
    """
    falls = np.flatnonzero(slope < 0)
    kernel, bias = (widened(np.concatenate([part, -part[falls]])) for part in (kernel, bias))
    x = graph.add("MaxPool", graph.add("Conv", x, kernel, bias), kernel_shape=[2, 2], strides=[2, 2], auto_pad=SAME)
    straight, bent = np.zeros((2, len(bias), len(bias)), np.float32)  # straight · x + sign · ReLU(bent · x)
    rows, mirrored = np.arange(len(slope)), len(slope) + np.arange(len(falls))
    straight[rows, rows] = np.where(slope < 0, 1, slope)
    bent[rows, rows] = np.where(slope < 0, -1, abs(1 - slope))
    bent[falls, mirrored] = -slope[falls]
    sign = widened(np.sign(1 - slope))
    above = graph.add("Relu", graph.add("Conv", x, bent[..., None, None]))
    above = graph.add("Conv", above, sign.reshape(-1, 1, 1, 1), group=len(sign))
    return graph.add("Add", graph.add("Conv", x, straight[..., None, None]), above)


def widened(values: np.ndarray) -> np.ndarray:
    """Weights with channels that stay 0, so that their number is a multiple of :data:`BLOCK`; colours stay three."""
    missing = [(0, 0 if n == 3 else -n % BLOCK) for n in values.shape[:2]]
    return np.pad(values, missing + [(0, 0)] * (values.ndim - len(missing)))


def strips(copy: np.ndarray) -> Iterator[np.ndarray]:
    """A copy of the photo (1, 3, h, w) in strips for which P-Net gives STRIP rows each; the last gives the rest."""
    answered = (copy.shape[2] - CELL + 1) // STRIDE + 1
    for row in range(0, answered, STRIP):
        end = None if row + STRIP >= answered else STRIDE * (row + STRIP - 1) + CELL
        yield np.ascontiguousarray(copy[:, :, STRIDE * row : end])


def scales(height: int, width: int) -> np.ndarray:
    """The scales at which a photo is searched, from the smallest faces to the largest."""
    count = round(-((np.log(min(height, width) / CELL) / np.log(FACTOR)) + 1))
    return CELL / SMALLEST * FACTOR ** np.arange(count)


def merged(proposed: Iterable[np.ndarray]) -> np.ndarray:
    """The candidates of several scales, from small faces to large ones, in one table."""
    return survivors(by_score(np.concatenate([np.empty((0, 5)), *proposed])), 0.7)


def has_large(table: np.ndarray, shape: Sequence[int], side: float) -> bool:
    """Whether the largest face is surely one and has at least so many pixels a side."""
    if not len(table):
        return False
    height, width = shape[:2]
    sides = np.clip(table[:, 2:4], 0, (width, height)) - np.clip(table[:, :2], 0, (width, height))
    largest = int(sides.prod(axis=1).argmax())
    return bool(table[largest, 4] >= SURE and sides[largest].min() >= side)


class Pyramid:
    """A photo (H, W, 3) at smaller scales, where each pixel is the mean of its area.

    The rows are added up once; the sum over any stretch of rows, also one that begins within a row, is then the
    difference of two sums.
    """

    def __init__(self, photo: np.ndarray) -> None:
        self.shape = photo.shape[:2]
        self.rows = photo.reshape(len(photo), -1).astype(np.float32)
        self.sums = np.zeros((len(photo) + 1, self.rows.shape[1]), np.float32)  # exact: whole numbers below 2**24
        for above, row, to in zip(self.sums[:-1], self.rows, self.sums[1:], strict=True):
            np.add(above, row, out=to)

    def at(self, scale: float) -> np.ndarray:
        """The photo at a scale, (1, 3, h, w)."""
        (height, width), (h, w) = self.shape, (int(n * scale) for n in self.shape)
        edges = np.arange(h + 1) * (height / h)
        row = np.minimum(edges.astype(int), height - 1)
        above = self.sums[row] + (edges - row).astype(np.float32)[:, None] * self.rows[row]  # all above each edge
        bands = (above[1:] - above[:-1]) * np.float32(h / height)
        small = cv2.resize(bands.reshape(h, width, 3), (w, h), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small.transpose(2, 0, 1)[None])


def candidates(given: np.ndarray, scale: float) -> np.ndarray:
    """The table of what P-Net takes for faces at one scale, from what it gives (1, 5, h, w)."""
    moves, odds = given[0, :4], given[0, 4]
    rows, columns = np.nonzero(odds > np.log(SCORES["pnet"] / (1 - SCORES["pnet"])))
    corners = STRIDE * np.stack([columns, rows, columns, rows], axis=1) + (1, 1, CELL, CELL)
    boxes = (corners + (CELL - 1) * moves[:, rows, columns].T) / scale
    return by_score(np.column_stack([boxes, 1 / (1 + np.exp(-odds[rows, columns]))]))


def chosen(table: np.ndarray, moves: np.ndarray, scores: np.ndarray, least: float) -> np.ndarray:
    """The candidates that a network takes for faces, with its scores, their sides moved as it says."""
    table = table.copy()
    sizes = table[:, 2:4] - table[:, :2] + 1
    table[:, :4] += moves * np.tile(sizes, 2)
    table[:, 4] = scores[:, 1]
    return table[table[:, 4] > least]


def by_score(table: np.ndarray) -> np.ndarray:
    """The candidates, the best first; ties, which the last digits should not decide, in a fixed order."""
    return table[np.argsort(np.round(table[:, 4], 5), kind="stable")[::-1]]


def survivors(table: np.ndarray, limit: float, of_the_smaller: bool = False) -> np.ndarray:
    """The candidates that no better one overlaps.

    Args:
        table: The best first.
        limit: How much two may share, as a share of their union.
        of_the_smaller: As a share of the smaller one instead.
    """
    left, top, right, bottom = table[:, :4].T.astype(np.float32)
    area = (right - left) * (bottom - top)
    gone = np.zeros(len(table), bool)
    for start in range(0, len(table), 128):  # a block against all after it
        rows, later = (slice(start, start + 128), None), slice(start, None)
        width = np.minimum(right[rows], right[later]) - np.maximum(left[rows], left[later])
        height = np.minimum(bottom[rows], bottom[later]) - np.maximum(top[rows], top[later])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        whole = np.minimum(area[rows], area[later]) if of_the_smaller else area[rows] + area[later] - shared
        gone[later] |= np.triu(shared > limit * whole, 1).any(axis=0)
    return table[~gone]


def squares(table: np.ndarray) -> np.ndarray:
    """The candidates with square boxes around the same centres."""
    table, sizes = table.copy(), table[:, 2:4] - table[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    table[:, :2] += (sizes - side) / 2
    table[:, 2:4] = table[:, :2] + side
    return table


def crops(planes: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boxes top, left, bottom, right as shares of the photo's sides, (n, 4), and the photo of each: the first."""
    height, width = planes.shape[2:]
    boxes = table[:, [1, 0, 3, 2]] / (height, width, height, width)
    return boxes.astype(np.float32), np.zeros(len(table), np.int32)
