"""Follows faces through a film: between frames by their pixels, between searches by their place and encoding.

Searching a frame for faces takes many times as long as following a face that was there a moment ago. So a film is
searched now and then, and in between each box moves as the pixels in it move::

    frame ──Tracker.follow──► the boxes of the last frame, moved
    boxes, encodings ──Tracker.correct──► the track that each face belongs to

A track is one face for as long as it is followed; it remembers its last encodings. ``LiveRecogniser`` decides who it
is: nothing here needs a network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

#: How many of its last encodings a track remembers.
MEMORY = 8

#: Frames are compared in grey copies of at most this longest side, in pixels.
FLOW_SIDE = 640

GRID = 9  # points along each side of the grid that is laid over a box
INNER = 0.7  # the part of a box that the grid covers: its edges show what is behind the face
ROUND_TRIP = 1.0  # a point followed there and back must end within this many pixels of its start
ENOUGH = 0.2  # the share of points that must come back, or the face is lost
VISIBLE = 0.4  # the share of a box that must lie in the frame, or the face has left
OVERLAP = 0.3  # the intersection over union at which a found face and a track are one


@dataclass
class Track:
    """One face, for as long as it is followed.

    Attributes:
        id: Its number, from 1; no number is used twice.
        place: Its box (x, y, width, height) in pixels, (4,) float64; ``box`` is the same in whole pixels.
        identity: The person, or None if undecided or unknown.
        distance: To that person or, if unknown, to the nearest one; NaN before the first look.
        recognised: Whether it has been decided who it is, or that the person is unknown.
        age: How many frames ago it was first seen.
        missed: How many searches in a row did not find it.
        lost: Whether it can't be followed; a search may find it again.
        encodings: The last ones, at most :data:`MEMORY`, each (D,).
    """

    id: int
    place: np.ndarray
    identity: str | None = None
    distance: float = float("nan")
    recognised: bool = False
    age: int = 0
    missed: int = 0
    lost: bool = False
    encodings: deque = field(default_factory=lambda: deque(maxlen=MEMORY), repr=False)
    _rival: tuple[str | None, int] = field(default=(None, 0), repr=False)

    @property
    def box(self) -> Box:
        """(x, y, width, height) in whole pixels; it may reach beyond the frame."""
        x, y, width, height = (round(float(n)) for n in self.place)
        return x, y, width, height

    @property
    def label(self) -> str:
        """Its identity, ``unknown``, or ``looking …`` before that is decided."""
        return (self.identity or "unknown") if self.recognised else "looking …"

    def copy(self) -> Track:
        """The track as it is now; later frames do not change it."""
        return replace(self, place=self.place.copy(), encodings=deque(self.encodings, MEMORY))

    def consider(self, identity: str | None, is_clear: bool, looks: int) -> None:
        """Note the result of one look; a single bad look does not change a name.

        Args:
            identity: The person it looks like, or None for unknown.
            is_clear: True decides a first name at once; False waits until there were ``looks`` of them.
            looks: How many looks in a row must agree before they replace an earlier decision.
        """
        if not self.recognised:
            if is_clear or len(self.encodings) >= looks:
                self.identity, self.recognised = identity, True
        elif identity == self.identity:
            self._rival = (None, 0)
        else:
            wins = self._rival[1] + 1 if self._rival[0] == identity else 1
            self._rival = (identity, wins)
            if wins >= looks:
                self.identity, self._rival = identity, (None, 0)

    def distance_to(self, encoding: np.ndarray) -> float:
        """The root mean square of the distances between an encoding (D,) and those remembered."""
        return float(np.sqrt(np.square(np.stack(self.encodings) - encoding).sum(axis=1).mean()))


class Tracker:
    """The tracks of one film.

    Args:
        patience: How many searches in a row may miss a track; the next one drops it.

    Attributes:
        tracks: All of them, including those that are lost for now.
        grey: The grey copy of the last frame.

    Example:
        >>> tracker = Tracker()
        >>> frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
        >>> tracker.follow(frame)
        >>> [track.id for track in tracker.correct([(40, 30, 50, 60)], np.ones((1, 128)), similar=0.7)]
        [1]
        >>> tracker.follow(np.roll(frame, (2, 5), axis=(0, 1)))
        >>> tracker.tracks[0].box
        (45, 32, 50, 60)
    """

    def __init__(self, patience: int = 3):
        self.patience, self.tracks = patience, []
        self.grey: np.ndarray | None = None
        self._scale, self._shape, self._made = 1.0, (), 0

    def follow(self, frame: np.ndarray) -> None:
        """Move every track to where its face is in the next frame, (H, W, 3) uint8 RGB.

        A frame of another size than the last begins a new film: all tracks are dropped.
        """
        if frame.shape != self._shape:
            self.tracks, self.grey, self._shape = [], None, frame.shape
        before, (self.grey, self._scale) = self.grey, _grey(frame)
        followed = [track for track in self.tracks if not track.lost]
        places = self._carried(before, [track.place for track in followed])
        for track, place in zip(followed, places, strict=True):
            track.lost = place is None
            track.place = track.place if place is None else place
        for track in self.tracks:
            track.age += 1

    def carry(self, grey: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray | None]:
        """Where the boxes of an earlier frame are in the last one.

        Args:
            grey: What ``grey`` was at that frame.
            boxes: n of them, (x, y, width, height) in that frame's pixels.

        Returns:
            n boxes (4,), each None if it was lost on the way.
        """
        if self.grey is None or grey.shape != self.grey.shape:
            return [None] * len(boxes)
        return self._carried(grey, boxes)

    def _carried(self, before: np.ndarray | None, places: Sequence) -> list[np.ndarray | None]:
        if not len(places):
            return []
        places = np.asarray(places, np.float64)
        moved = follow_boxes(before, self.grey, places * self._scale)
        return [None if place is None else place / self._scale for place in moved]

    def correct(self, boxes: Sequence, encodings: np.ndarray, similar: float) -> list[Track]:
        """Match the faces that a search found in the last frame to the tracks.

        A face belongs to the track that was followed to its place, or to one with a similar encoding, wherever that
        was seen. If several fit, the best match in place and encoding together wins.

        Args:
            boxes: n of them, (x, y, width, height) in pixels.
            encodings: (n, D).
            similar: Encodings nearer than this distance count as one person.

        Returns:
            The n tracks, a new one for each face that no track fits.
        """
        faces = list(zip(boxes, encodings, strict=True))
        scores = np.array([[_score(track, *face, similar) for track in self.tracks] for face in faces])
        matches = {face: self.tracks[i] for face, i in best_matches(scores.reshape(len(faces), len(self.tracks)))}
        for track in self.tracks:
            track.missed += 1
        found = [matches.get(face) or self._new() for face in range(len(faces))]
        for track, (box, encoding) in zip(found, faces, strict=True):
            track.place, track.missed, track.lost = np.asarray(box, np.float64), 0, False
            track.encodings.append(encoding)
        self.tracks = [track for track in self.tracks if track.missed <= self.patience]
        return found

    def _new(self) -> Track:
        self._made += 1
        self.tracks.append(Track(self._made, np.zeros(4)))
        return self.tracks[-1]


def _grey(frame: np.ndarray) -> tuple[np.ndarray, float]:
    """The grey copy that is compared, and how many of its pixels one pixel of the frame became."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, FLOW_SIDE / max(grey.shape))
    if scale == 1.0:
        return grey, 1.0
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _score(track: Track, box: Box, encoding: np.ndarray, similar: float) -> float:
    """How well a found face fits a track; -inf if they can't be one."""
    overlap, distance = iou(track.place, box), track.distance_to(encoding)
    possible = (overlap >= OVERLAP and not track.lost) or distance < similar
    return overlap - distance / 2 if possible else -np.inf


def best_matches(scores: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (row, column) of a table of scores, best first, each row and column once at most; -inf is never paired.

    Example:
        >>> best_matches(np.array([[0.9, 0.8], [0.7, -np.inf]]))
        [(0, 0)]
    """
    rows, columns, pairs = set(), set(), []
    for place in np.argsort(-scores, axis=None, kind="stable"):
        row, column = (int(n) for n in np.unravel_index(place, scores.shape))
        if scores[row, column] > -np.inf and row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """The intersection over union of two boxes (x, y, width, height), from 0 (apart) to 1 (the same).

    Example:
        >>> iou((0, 0, 10, 10), (5, 0, 10, 10)) == 1 / 3
        True
    """
    common = overlap_of(a, b)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def overlap_of(a: Sequence[float], b: Sequence[float]) -> float:
    """How many pixels two boxes (x, y, width, height) have in common."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return float(max(0, width) * max(0, height))


def follow_boxes(before: np.ndarray, after: np.ndarray, boxes: np.ndarray) -> list[np.ndarray | None]:
    """Where boxes went between two frames: the median shift and growth of a grid of points in each.

    Args:
        before: A frame, (H, W) uint8.
        after: A later one.
        boxes: (n, 4): x, y, width and height in pixels.

    Returns:
        n boxes (4,), each None if too few of its points could be followed there and back, or it left the frame.

    Source: Kalal, Mikolajczyk and Matas, "Forward-Backward Error: Automatic Detection of Tracking Failures", 2010.
    """
    grids = np.stack([_grid(box) for box in boxes])  # (n, GRID², 2)
    points = grids.reshape(-1, 1, 2).astype(np.float32)
    there, seen = _flow(before, after, points)
    back, seen_back = _flow(after, before, there)
    good = (seen & seen_back).ravel() == 1
    good &= np.linalg.norm(back - points, axis=2).ravel() < ROUND_TRIP
    size = np.array(after.shape[::-1])
    good &= ((there[:, 0] >= 0) & (there[:, 0] < size)).all(axis=1)
    there, good = there.reshape(grids.shape), good.reshape(grids.shape[:2])
    moved = [_moved(*each) for each in zip(boxes, grids, there, good, strict=True)]
    frame = (0, 0, *size)
    return [box if box is not None and overlap_of(box, frame) > VISIBLE * box[2] * box[3] else None for box in moved]


def _flow(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lucas and Kanade's optical flow: where points (m, 1, 2) went, and whether they were found again, (m, 1)."""
    there, seen, _ = cv2.calcOpticalFlowPyrLK(before, after, points, None, winSize=(15, 15), maxLevel=3)
    return there, seen


def _grid(box: np.ndarray) -> np.ndarray:
    """A grid of points over the inner part of a box, (GRID², 2)."""
    steps = np.linspace(0.5 - INNER / 2, 0.5 + INNER / 2, GRID)
    across, down = np.meshgrid(box[0] + steps * box[2], box[1] + steps * box[3])
    return np.stack([across.ravel(), down.ravel()], axis=1)


def _moved(box: np.ndarray, here: np.ndarray, there: np.ndarray, good: np.ndarray) -> np.ndarray | None:
    """A box whose points went from ``here`` to ``there``, as far as they are good; None if too few are."""
    if good.mean() < ENOUGH:
        return None
    here, there = here[good], there[good]
    i, j = np.triu_indices(len(here), 1)
    growth = np.median(np.linalg.norm(there[i] - there[j], axis=1) / np.linalg.norm(here[i] - here[j], axis=1))
    middle = (box[:2] + box[2:] / 2) * growth + np.median(there - growth * here, axis=0)
    return np.concatenate([middle - growth * box[2:] / 2, growth * box[2:]])
