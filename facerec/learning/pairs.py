"""Pairs of pictures, and the batches that networks learn from.

    people ──make_pairs──► pairs ──PairFaces──► batches ((B, S, S, 3), (B, S, S, 3)), (B,)
    people ──PersonFaces──► batches of several people, each several times: all their pairs, or their numbers

Every batch is a pure function of the seed and the epoch, so a training that was stopped sees the same ones again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.detection import resize_face
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, FaceError, UnreadableImage
from facerec.learning.augmentation import USUAL, Variation, as_shown
from facerec.photos import load_image

with quietly():
    import keras


def make_pairs(people: pd.DataFrame, count: int, seed: int = 0, per_picture: int | None = None) -> pd.DataFrame:
    """Draw pairs of pictures: half of them show one person, half of them two.

    No pair appears twice, in either order. Same pairs are drawn person by person, so people with many pictures do not
    count more than others; all pictures are used about equally often.

    Args:
        people: A table of ``find_people``.
        count: The number of pairs; an odd number is rounded down.
        seed: Seed of the draw.
        per_picture: The largest number of same pairs, and of different pairs, in which a picture may appear.

    Returns:
        A table with ``picture_1``, ``picture_2``, ``identity_1``, ``identity_2`` and ``same``, shuffled.

    Raises:
        BadArgument: If there are not that many pairs.
    """
    if not isinstance(count, int | np.integer) or count < 2:
        raise BadArgument(f"count={count!r}: must be a whole number of pairs, at least 2")
    half = int(count) // 2
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(people.identity == name) for name in people.identity.unique()]
    same = _same_pairs(rows, half, rng, per_picture)
    different = _different_pairs(people.identity.to_numpy(), half, rng, per_picture)
    for kind, found in (("same", same), ("different", different)):
        if len(found) < half:
            limit = "" if per_picture is None else f" with at most {per_picture} per picture"
            many = people.identity.nunique()
            there = f"{len(people)} pictures of {many} {'person' if many == 1 else 'people'}"
            raise BadArgument(f"{count} pairs need {half} {kind} ones; {there} give {len(found)}{limit}")
    pairs = np.array([*same, *different]).reshape(-1, 2)[rng.permutation(2 * half)]
    first, second = (people.iloc[pairs[:, side]].reset_index(drop=True) for side in (0, 1))
    table = pd.DataFrame({"picture_1": first.picture, "picture_2": second.picture})
    table["identity_1"], table["identity_2"] = first.identity, second.identity
    table["same"] = table.identity_1 == table.identity_2
    return table


def _same_pairs(people: list[np.ndarray], wanted: int, rng, limit: int | None) -> list[tuple[int, int]]:
    """Draw same pairs, one per person and round."""
    decks = []
    for rows in people:
        a, b = np.triu_indices(len(rows), 1)
        order = rng.permutation(len(a))
        decks.append([(rows[i], rows[j]) for i, j in zip(a[order], b[order], strict=True)])
    used: dict[int, int] = {}
    chosen: list[tuple[int, int]] = []
    while len(chosen) < wanted and any(decks):
        for number in rng.permutation(len(decks)):
            pair = _draw(decks[number], used, limit)
            if pair is not None and len(chosen) < wanted:
                chosen.append(pair)
    return chosen


def _draw(deck: list[tuple[int, int]], used: dict[int, int], limit: int | None) -> tuple[int, int] | None:
    """The next pair of a deck whose pictures were not used too often; None if there is none left."""
    while deck:
        pair = deck.pop()
        if limit is None or max(used.get(pair[0], 0), used.get(pair[1], 0)) < limit:
            for row in pair:
                used[row] = used.get(row, 0) + 1
            return pair
    return None


def _different_pairs(identities: np.ndarray, wanted: int, rng, limit: int | None) -> list[tuple[int, int]]:
    """Lay two random orders of all pictures side by side, round by round, and keep the new pairs of two people."""
    m, seen, used = len(identities), set(), np.zeros(len(identities), int)
    chosen: list[tuple[int, int]] = []
    for _ in range(200 if wanted else 0):
        for a, b in zip(rng.permutation(m), rng.permutation(m), strict=True):
            pair = (min(a, b), max(a, b))
            free = limit is None or max(used[a], used[b]) < limit
            if identities[a] != identities[b] and pair not in seen and free:
                seen.add(pair)
                used[[a, b]] += 1
                chosen.append((a, b))
                if len(chosen) == wanted:
                    return chosen
    return chosen


def one_person_pairs(
    same: Sequence[tuple[str, str]], own: Sequence[str], others: Sequence[str], times: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Pairs to learn one person from: two of their pictures, or one of theirs and one of another person.

    Args:
        same: Pairs of the person's pictures.
        own: The person's pictures for the different pairs, used in turn.
        others: Pictures of other people, of which each is used once at most. If there are fewer of them than same
            pairs, as many same pairs are drawn.
        times: How often each same pair appears, if there are enough others (augmentation makes it look different each
            time).
        seed: Seed of the draw.

    Returns:
        A table with ``picture_1``, ``picture_2`` and ``same``, as many same pairs as different ones.

    Raises:
        BadArgument: If there are no same pairs, or no others.
    """
    if not len(same) or not len(others):
        raise BadArgument(f"{len(same)} same pairs and {len(others)} pictures of others: both are needed")
    rng = np.random.default_rng(seed)
    repeated = [*same] * max(1, min(times, len(others) // len(same)))
    count = min(len(repeated), len(others))
    chosen = np.asarray(others)[rng.choice(len(others), count, replace=False)]
    if count < len(repeated):
        repeated = [repeated[i] for i in sorted(rng.choice(len(repeated), count, replace=False))]
    different = list(zip(np.resize(own, count), chosen, strict=True))
    table = pd.DataFrame([*repeated, *different], columns=["picture_1", "picture_2"])
    return table.assign(same=np.arange(len(table)) < count)


def load_faces(
    pictures: Sequence[str], side: int = 100, progress: bool = False
) -> tuple[np.ndarray, dict[int, FaceError]]:
    """Open pictures of faces, in parallel, and resize them; a bad picture does not stop the others.

    Args:
        pictures: The paths of m pictures.
        side: S, in pixels.
        progress: True for a progress bar.

    Returns:
        faces: (m, S, S, 3) uint8, a row per picture; black where it could not be opened.
        problems: The error of each of those, by its number.
    """
    if side < 1:
        raise BadArgument(f"side={side}: at least 1 pixel")
    faces = np.zeros((len(pictures), side, side, 3), np.uint8)
    problems: dict[int, FaceError] = {}

    def load(number: int) -> None:
        try:
            faces[number] = resize_face(load_image(pictures[number]), side)
        except FaceError as error:
            problems[number] = error

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        rows = workers.map(load, range(len(pictures)))
        for _ in tqdm(rows, total=len(pictures), desc="reading", unit="picture", disable=not progress):
            pass
    return faces, dict(sorted(problems.items()))


def open_faces(pictures: Sequence[str], side: int = 100, progress: bool = False) -> np.ndarray:
    """Open pictures of faces like ``load_faces``, but refuse all of them if one can't be opened.

    Args:
        pictures: The paths of m pictures.
        side: S, in pixels.
        progress: True for a progress bar.

    Returns:
        (m, S, S, 3) uint8.

    Raises:
        UnreadableImage: Names the first bad picture, and how many more there are.
    """
    faces, problems = load_faces(pictures, side, progress)
    if problems:
        number, error = next(iter(problems.items()))
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UnreadableImage(f"{pictures[number]} can't be used ({error}){more}")
    return faces


class PairFaces:
    """The faces of a table of pairs, each picture read once.

    Args:
        pairs: A table of ``make_pairs``.
        side: S, in pixels.
        progress: True for a progress bar while the pictures are read.

    Attributes:
        faces: Every picture once, (m, S, S, 3) uint8.
        rows: The rows of ``faces`` that each pair shows, (n, 2).
        same: Whether a pair shows one person, (n,) bool.

    Raises:
        UnreadableImage: If a picture can't be opened.
    """

    def __init__(self, pairs: pd.DataFrame, side: int = 100, progress: bool = False):
        both = pd.concat([pairs.picture_1, pairs.picture_2], ignore_index=True)
        numbers, pictures = pd.factorize(both)
        self.faces = open_faces(list(pictures), side, progress)
        self.rows = np.stack([numbers[: len(pairs)], numbers[len(pairs) :]], axis=1)
        self.same = pairs.same.to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def as_input(self, part: slice = slice(None)) -> np.ndarray:
        """The pictures as twins take them, (m, S, S, 3) float32 in 0..1."""
        return self.faces[part].astype(np.float32) / 255

    def distances(self, model: keras.Model) -> np.ndarray:
        """The distance between the two encodings of each pair, (n,), under a network for faces of this size."""
        first, second = faces_to_encodings(self.faces, model)[self.rows.T]
        return np.linalg.norm(first - second, axis=1)

    def batches(self, batch: int = 32, how: Variation = USUAL, seed: int = 0, first_epoch: int = 0):
        """Endless batches for training, a pure function of the seed and the epoch.

        Every epoch shows every pair once, in a new order; a rest that does not fill a batch is left out. Faces are
        gathered, scaled and augmented in parallel and ahead of time.

        Args:
            batch: Pairs per batch, B.
            how: How the faces vary.
            seed: Seed of the order and the variation.
            first_epoch: The epoch to start with.

        Returns:
            A ``tf.data.Dataset`` of ((B, S, S, 3), (B, S, S, 3)) float32 in 0..1 and (B,) float32: 1 for the same
            person.

        Raises:
            BadArgument: If there are fewer pairs than a batch takes.
        """
        import tensorflow as tf

        if not 1 <= batch <= len(self):
            raise BadArgument(f"batch={batch}: there are {len(self)} pairs")
        faces, rows = tf.constant(self.faces), tf.constant(self.rows)
        same = tf.constant(self.same.astype(np.float32))

        def show(numbers, draw):
            chosen = tf.gather(rows, numbers)  # (B, 2)
            both = tf.gather(faces, tf.concat([chosen[:, 0], chosen[:, 1]], axis=0))  # (2B, S, S, 3)
            both = as_shown(both, draw, how)
            return (both[:batch], both[batch:]), tf.gather(same, numbers)

        def order(rng):
            return rng.permutation(len(self))[: len(self) // batch * batch].reshape(-1, batch)

        return _batches(order, show, seed, first_epoch)


class PersonFaces:
    """The faces of a table of people, each picture read once; a batch holds several people, each several times.

    In such a batch every face can be compared with every other: 16 people × 4 faces make 96 same pairs and 1,920
    different ones, for the price of 32 pairs from a list.

    Args:
        people: A table of ``find_people``.
        side: S, in pixels.
        per_person: K, the number of faces of each person in a batch; people with fewer pictures appear with some of
            them twice.
        progress: True for a progress bar while the pictures are read.
        epoch: How many faces an epoch shows; None for as many as there are pictures.

    Attributes:
        faces: Every picture, (m, S, S, 3) uint8.
        who: The number of the person in each picture, (m,).

    Raises:
        UnreadableImage: If a picture can't be opened.
        BadArgument: If a person has a single picture, which makes no same pair.
    """

    epoch: int | None = None

    def __init__(
        self,
        people: pd.DataFrame,
        side: int = 100,
        per_person: int = 4,
        progress: bool = False,
        epoch: int | None = None,
    ):
        self.check_people(people.identity, per_person)
        self.faces = open_faces(list(people.picture), side, progress)
        self.who, _ = pd.factorize(people.identity)
        self.per_person, self.epoch = per_person, epoch

    def __len__(self) -> int:
        return self.epoch or len(self.who)

    @staticmethod
    def check_people(identities: pd.Series, per_person: int) -> None:
        """Refuse fewer than two faces per person in a batch, and people with a single picture."""
        if per_person < 2:
            raise BadArgument(f"per_person={per_person}: must be at least 2, to compare faces of one person")
        counts = identities.value_counts()
        if len(counts) == 0 or counts.min() < 2:
            alone = f"{counts.idxmin()} has a single picture" if len(counts) else "there are no people"
            raise BadArgument(f"{alone}: a same pair needs two (find_people(…, min_pictures=2))")

    def batches(self, batch: int = 64, how: Variation = USUAL, seed: int = 0, first_epoch: int = 0):
        """Endless batches for training, a pure function of the seed and the epoch.

        People take turns, and so do the pictures of each.

        Args:
            batch: Faces per batch, B, of B / K people.
            how: How the faces vary.
            seed: Seed of the order and the variation.
            first_epoch: The epoch to start with.

        Returns:
            A ``tf.data.Dataset`` of three tensors: faces (B, S, S, 3) float32 in 0..1; for each of their B (B − 1) / 2
            pairs, in the order of ``np.triu_indices(B, 1)``, 1 if it shows one person, else 0; and the weights of these
            pairs, with which same and different pairs count equally.

        Raises:
            BadArgument: If the batch can't be filled: not divisible by K, or more people than there are.
        """
        import tensorflow as tf

        who, (first, second) = tf.constant(self.who), np.triu_indices(batch, 1)

        def show(faces, numbers):
            names = tf.gather(who, numbers)
            same = tf.cast(tf.gather(names, first) == tf.gather(names, second), tf.float32)
            share = tf.reduce_mean(same)
            weight = 0.5 * (same / share + (1 - same) / (1 - share))
            return faces, same, weight

        return self._crowds(show, batch, how, seed, first_epoch)

    def crowds(self, batch: int = 32, how: Variation = USUAL, seed: int = 0, first_epoch: int = 0):
        """Batches like those of ``batches``, with the person in each face instead of the pairs.

        Args:
            batch: Faces per batch, B, of B / K people.
            how: How the faces vary.
            seed: Seed of the order and the variation.
            first_epoch: The epoch to start with.

        Returns:
            A ``tf.data.Dataset`` of faces (B, S, S, 3) float32 in 0..255, as FaceNets take them, and the number of the
            person in each, (B,) int32.

        Raises:
            BadArgument: If the batch can't be filled.
        """
        import tensorflow as tf

        who = tf.constant(self.who.astype(np.int32))
        return self._crowds(
            lambda faces, numbers: (faces * 255, tf.gather(who, numbers)), batch, how, seed, first_epoch
        )

    def check_batch(self, batch: int) -> int:
        """The number of people in a batch.

        Raises:
            BadArgument: If the batch can't be filled: not divisible by K, or too few people or pictures.
        """
        there, people = int(self.who.max()) + 1, batch // self.per_person
        if batch % self.per_person or not 2 <= people <= there or len(self.who) < batch:
            fits = self.per_person * min(there, len(self.who) // self.per_person)
            raise BadArgument(
                f"batch={batch}: must be {self.per_person} faces each of at least 2 people; here are {there} people in "
                f"{len(self.who)} pictures, enough for a batch of {fits}"
            )
        return people

    def _crowds(self, show: Callable, batch: int, how: Variation, seed: int, first_epoch: int):
        """Batches that ``show`` makes of faces (B, S, S, 3) in 0..1 and their rows (B,)."""
        import tensorflow as tf

        people = self.check_batch(batch)
        faces = tf.constant(self.faces)

        def order(rng):
            return people_in_turn(self.who, people, self.per_person, len(self) // batch, rng)

        def shown(numbers, draw):
            return show(as_shown(tf.gather(faces, numbers), draw, how), numbers)

        return _batches(order, shown, seed, first_epoch)


def people_in_turn(who: np.ndarray, people: int, pictures: int, steps: int, rng) -> np.ndarray:
    """The rows of the pictures of each batch, (steps, people · pictures); no person is drawn twice for a batch."""
    own = [rng.permutation(np.flatnonzero(who == number)) for number in range(who.max() + 1)]
    shown = np.zeros(len(own), int)
    queue: list[int] = []
    rows: list[int] = []
    for _ in range(steps):
        if len(queue) < people:  # the few that are left wait for the next round
            queue = rng.permutation(len(own)).tolist()
        for number in (queue.pop() for _ in range(people)):
            deck = own[number]
            rows += deck[(shown[number] + np.arange(pictures)) % len(deck)].tolist()
            shown[number] += pictures
    return np.array(rows).reshape(steps, -1)


def _batches(order: Callable, show: Callable, seed: int, first_epoch: int):
    """All epochs: ``order`` gives the numbers (steps, B) of an epoch, ``show`` turns each row of them into tensors."""
    import tensorflow as tf

    def numbers_of(epoch):
        return order(np.random.default_rng([seed, int(epoch)])).astype(np.int64)

    def in_epoch(epoch):
        numbers = tf.numpy_function(numbers_of, [epoch], tf.int64)
        numbers.set_shape((None, None))
        steps = tf.data.Dataset.from_tensor_slices(numbers).enumerate()
        return steps.map(lambda step, numbers: (numbers, tf.stack([seed + 1, epoch * 1_000_003 + step])))

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int32).max)
    shown = epochs.flat_map(in_epoch).map(show, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return shown.prefetch(tf.data.AUTOTUNE)
