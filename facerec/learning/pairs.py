"""TODO facerec.learning.pairs."""

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
from facerec.learning.augmentation import brightness, contrast, flip
from facerec.learning.datasets import read_picture

with quietly():
    import keras
    from keras import ops


def make_pairs(people: pd.DataFrame, count: int, seed: int = 0, per_picture: int | None = None) -> pd.DataFrame:
    """Pairs of pictures, half of them of the same person and half of two.

    No pair comes twice, in either order. Same pairs are dealt out person by person, so that who was photographed
    often does not count for more; every picture is used about equally often.

    Args:
        people: A table of ``find_people``.
        count: How many pairs; an odd one is rounded down.
        seed: Which pairs.
        per_picture: No picture appears in more same pairs, nor in more different pairs, than this.

    Returns:
        A table with ``picture_1``, ``picture_2``, ``identity_1``, ``identity_2`` and ``same``, shuffled.

    Raises:
        BadArgument: If there are not that many pairs.
    """
    if not isinstance(count, int | np.integer) or count < 2:
        raise BadArgument(f"count={count!r}: a whole number of pairs, at least 2")
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
            raise BadArgument(f"{count} pairs take {half} of the {kind} kind; {there} give {len(found)}{limit}")
    pairs = np.array([*same, *different]).reshape(-1, 2)[rng.permutation(2 * half)]
    first, second = (people.iloc[pairs[:, side]].reset_index(drop=True) for side in (0, 1))
    table = pd.DataFrame({"picture_1": first.picture, "picture_2": second.picture})
    table["identity_1"], table["identity_2"] = first.identity, second.identity
    table["same"] = table.identity_1 == table.identity_2
    return table


def _same_pairs(people: list[np.ndarray], wanted: int, rng, limit: int | None) -> list[tuple[int, int]]:
    """Deal out same pairs, one per person and round."""
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
    """Take the next pair off a deck whose pictures were not used too often."""
    while deck:
        pair = deck.pop()
        if limit is None or max(used.get(pair[0], 0), used.get(pair[1], 0)) < limit:
            for row in pair:
                used[row] = used.get(row, 0) + 1
            return pair
    return None


def _different_pairs(identities: np.ndarray, wanted: int, rng, limit: int | None) -> list[tuple[int, int]]:
    """Lay the pictures out in a random order against another one, round by round, and keep new pairs of two people."""
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
    """Pairs to learn one person from: two of their pictures, or one of theirs beside somebody else's.

    Args:
        same: Pairs of the person's pictures.
        own: The person's pictures that others are laid beside, in turn.
        others: Pictures of other people; as many as there are same pairs are drawn, each once.
        times: How often each same pair comes (varied at random, it is another one each time).
        seed: Which others.

    Returns:
        A table with ``picture_1``, ``picture_2`` and ``same``, half of it each.

    Raises:
        BadArgument: If there are too few others.
    """
    count = len(same) * times
    if not 1 <= count <= len(others):
        raise BadArgument(f"{len(same)} same pairs, {times} times each, take as many pictures of others: {len(others)}")
    chosen = np.asarray(others)[np.random.default_rng(seed).choice(len(others), count, replace=False)]
    different = list(zip(np.resize(own, count), chosen, strict=True))
    table = pd.DataFrame([*same] * times + different, columns=["picture_1", "picture_2"])
    return table.assign(same=np.arange(len(table)) < count)


def load_faces(
    pictures: Sequence[str], side: int = 100, progress: bool = False
) -> tuple[np.ndarray, dict[int, FaceError]]:
    """Open pictures of faces, in parallel, and bring them to one size; a bad one does not sink the others.

    Args:
        pictures: Their paths.
        side: S, in pixels.
        progress: True for a progress bar.

    Returns:
        faces: (m, S, S, 3) uint8, a row per picture; black where it could not be opened.
        problems: What was wrong with those, by their number.
    """
    if side < 1:
        raise BadArgument(f"side={side}: at least 1 pixel")
    faces = np.zeros((len(pictures), side, side, 3), np.uint8)
    problems: dict[int, FaceError] = {}

    def load(number: int) -> None:
        try:
            faces[number] = resize_face(read_picture(pictures[number]), side)
        except FaceError as error:
            problems[number] = error

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        rows = workers.map(load, range(len(pictures)))
        for _ in tqdm(rows, total=len(pictures), desc="reading", unit="picture", disable=not progress):
            pass
    return faces, dict(sorted(problems.items()))


def usable_people(people: pd.DataFrame, side: int = 100) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pictures that can be opened, and a table (``picture``, ``reason``) of those that can't."""
    _, problems = load_faces(list(people.picture), side)
    bad = pd.DataFrame(
        [(people.picture.iloc[i], str(error)) for i, error in problems.items()], columns=["picture", "reason"]
    )
    return people.drop(people.index[list(problems)]).reset_index(drop=True), bad


class PairFaces:
    """The faces of a table of pairs, each picture read once.

    Args:
        pairs: A table of ``make_pairs``.
        side: S, in pixels.
        progress: True for a progress bar while the pictures are read.

    Attributes:
        faces: Every picture once, (m, S, S, 3) uint8.
        rows: Which of them each pair shows, (n, 2).
        same: Whether a pair is one person, (n,) bool.

    Raises:
        UnreadableImage: If a picture can't be opened (``usable_people`` sorts them out beforehand).
    """

    def __init__(self, pairs: pd.DataFrame, side: int = 100, progress: bool = False):
        both = pd.concat([pairs.picture_1, pairs.picture_2], ignore_index=True)
        numbers, pictures = pd.factorize(both)
        self.faces = open_faces(list(pictures), side, progress)
        self.rows = np.stack([numbers[: len(pairs)], numbers[len(pairs) :]], axis=1)
        self.same = pairs.same.to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def arrays(self, part: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Both faces of the pairs as (n, S, S, 3) float32 in 0..1."""
        first, second = (self.faces[self.rows[part, side]].astype(np.float32) / 255 for side in (0, 1))
        return first, second

    def distances(self, model: keras.Model) -> np.ndarray:
        """How far apart the encodings of each pair are, (n,), under a network that takes faces of this size."""
        first, second = faces_to_encodings(self.faces, model)[self.rows.T]
        return np.linalg.norm(first - second, axis=1)

    def batches(
        self, batch: int = 32, augmented: bool = True, seed: int = 0, first_epoch: int = 0, moved: bool = False
    ):
        """Endless batches for training, a pure function of the seed and the epoch, so that a training can resume.

        Every epoch shows every pair once, in another order; the rest that fills no batch is left out. Faces are
        gathered, scaled and augmented in parallel and ahead of time.

        Args:
            batch: Pairs per batch, B.
            augmented: Whether faces are flipped, and change brightness and contrast, at random.
            seed: Of the order and the augmentation.
            first_epoch: Where to begin.
            moved: Whether faces are also turned, shifted and resized a little.

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
            both = _as_shown(both, draw, augmented, moved)
            return (both[:batch], both[batch:]), tf.gather(same, numbers)

        def order(rng):
            return rng.permutation(len(self))[: len(self) // batch * batch].reshape(-1, batch)

        return _batches(order, show, seed, first_epoch)


class PersonFaces:
    """The faces of a table of people, each picture read once; every batch holds several people, each several times.

    Inside such a batch every face can be compared with every other one: 16 people × 4 faces make 96 same pairs and
    1,920 different ones, for the price of 32 pairs from a list.

    Args:
        people: A table of ``find_people``.
        side: S, in pixels.
        per_person: K, how many faces of each of its people a batch holds. Who has fewer pictures comes with some of
            them twice.
        progress: True for a progress bar while the pictures are read.

    Attributes:
        faces: Every picture, (m, S, S, 3) uint8.
        who: The number of the person in each, (m,).

    Raises:
        UnreadableImage: If a picture can't be opened (``usable_people`` sorts them out beforehand).
        BadArgument: If somebody has a single picture: no same pair can be made of it.
    """

    def __init__(self, people: pd.DataFrame, side: int = 100, per_person: int = 4, progress: bool = False):
        if per_person < 2:
            raise BadArgument(f"per_person={per_person}: at least 2 faces of each person, to compare")
        counts = people.identity.value_counts()
        if len(counts) == 0 or counts.min() < 2:
            alone = f"{counts.idxmin()} has a single picture" if len(counts) else "there is nobody"
            raise BadArgument(f"{alone}: same pairs take at least two (find_people(…, min_pictures=2))")
        self.faces = open_faces(list(people.picture), side, progress)
        self.who, _ = pd.factorize(people.identity)
        self.per_person = per_person

    def __len__(self) -> int:
        return len(self.who)

    def batches(
        self, batch: int = 64, augmented: bool = True, seed: int = 0, first_epoch: int = 0, moved: bool = False
    ):
        """Endless batches for training, a pure function of the seed and the epoch, so that a training can resume.

        An epoch has as many batches as it takes to show so many faces as there are pictures; people come in turn, and
        their pictures in turn.

        Args:
            batch: Faces per batch, B; B / K people are in it.
            augmented: Whether faces are flipped, and change brightness and contrast, at random.
            seed: Of the order and the augmentation.
            first_epoch: Where to begin.
            moved: Whether they are also turned, shifted and resized a little.

        Returns:
            A ``tf.data.Dataset`` of faces (B, S, S, 3) float32 in 0..1, for all their B (B − 1) / 2 pairs (in the order
            of ``np.triu_indices(B, 1)``) 1 where they show the same person, and a weight with which both kinds count
            the same.

        Raises:
            BadArgument: If the batch can't be filled: not divisible by K, or fewer people than it takes.
        """
        import tensorflow as tf

        who, (first, second) = tf.constant(self.who), np.triu_indices(batch, 1)

        def show(faces, numbers):
            names = tf.gather(who, numbers)
            same = tf.cast(tf.gather(names, first) == tf.gather(names, second), tf.float32)
            share = tf.reduce_mean(same)
            weight = 0.5 * (same / share + (1 - same) / (1 - share))
            return faces, same, weight

        return self._crowds(show, batch, augmented, seed, first_epoch, moved)

    def crowds(self, batch: int = 32, augmented: bool = True, seed: int = 0, first_epoch: int = 0, moved: bool = False):
        """Batches as ``batches`` gives them, with the number of the person in each face instead of the pairs.

        Returns:
            A ``tf.data.Dataset`` of faces (B, S, S, 3) float32 in 0..255, as networks of encodings take them, and (B,)
            int32: who each shows.
        """
        import tensorflow as tf

        who = tf.constant(self.who.astype(np.int32))
        return self._crowds(
            lambda faces, numbers: (faces * 255, tf.gather(who, numbers)), batch, augmented, seed, first_epoch, moved
        )

    def check_batch(self, batch: int) -> int:
        """How many people are in a batch of so many faces.

        Raises:
            BadArgument: If the batch can't be filled: not divisible by K, or fewer people or pictures than it takes.
        """
        there, people = int(self.who.max()) + 1, batch // self.per_person
        if batch % self.per_person or not 2 <= people <= there or len(self) < batch:
            fits = self.per_person * min(there, len(self) // self.per_person)
            raise BadArgument(
                f"batch={batch}: faces of at least 2 people, {self.per_person} of each; here are {there} people in "
                f"{len(self)} pictures, enough for a batch of {fits}"
            )
        return people

    def _crowds(self, show: Callable, batch: int, augmented: bool, seed: int, first_epoch: int, moved: bool):
        """Batches of faces in 0..1 and their rows, as ``show`` makes them into what is wanted."""
        import tensorflow as tf

        people = self.check_batch(batch)
        faces = tf.constant(self.faces)

        def order(rng):
            return _people_in_turn(self.who, people, self.per_person, len(self) // batch, rng)

        def shown(numbers, draw):
            return show(_as_shown(tf.gather(faces, numbers), draw, augmented, moved), numbers)

        return _batches(order, shown, seed, first_epoch)


def _people_in_turn(who: np.ndarray, people: int, pictures: int, steps: int, rng) -> np.ndarray:
    """The rows of the pictures of each batch, (steps, people · pictures): nobody twice in one batch."""
    own = [rng.permutation(np.flatnonzero(who == number)) for number in range(who.max() + 1)]
    shown = np.zeros(len(own), int)
    queue: list[int] = []
    rows: list[int] = []
    for _ in range(steps):
        if len(queue) < people:  # the few who are left wait for the next round
            queue = rng.permutation(len(own)).tolist()
        for number in (queue.pop() for _ in range(people)):
            deck = own[number]
            rows += deck[(shown[number] + np.arange(pictures)) % len(deck)].tolist()
            shown[number] += pictures
    return np.array(rows).reshape(steps, -1)


def open_faces(pictures: Sequence[str], side: int = 100, progress: bool = False) -> np.ndarray:
    """Pictures as (m, S, S, 3) uint8; where ``load_faces`` reports those that can't be opened, this refuses.

    Raises:
        UnreadableImage: With the name of the first, and how many more there are.
    """
    faces, problems = load_faces(pictures, side, progress)
    if problems:
        number, error = next(iter(problems.items()))
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UnreadableImage(f"{pictures[number]} can't be used ({error}){more}")
    return faces


def _batches(order: Callable, show: Callable, seed: int, first_epoch: int):
    """Epoch after epoch: ``order`` lays out the numbers of its batches (steps, B), ``show`` makes each into tensors."""
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


def _as_shown(faces, draw, augmented: bool, moved: bool):
    """Faces (m, S, S, 3) uint8 as a network in training sees them: float32 in 0..1, and varied at random."""
    import tensorflow as tf

    faces = tf.cast(faces, tf.float32) / 255.0
    if moved:
        faces = _move(faces, draw + 2)
    if augmented:
        faces = _relight(faces, draw)
    return faces


def _relight(faces, seed):
    """Flip half of the faces (m, S, S, 3) and change the brightness and contrast of all a little."""
    import tensorflow as tf

    draws = tf.random.stateless_uniform((3, tf.shape(faces)[0], 1, 1, 1), seed)
    faces = tf.where(draws[0] < 0.5, faces, flip(faces))
    faces = contrast(faces, 0.8 + 0.4 * draws[1])
    return brightness(faces, 0.2 * draws[2] - 0.1)


def _move(faces, seed):
    """Turn (by up to 6°), resize (10 %) and shift (6 %) each face (m, S, S, 3) a little; edges are repeated."""
    import tensorflow as tf

    m, side = tf.shape(faces)[0], faces.shape[1]
    draws = tf.random.stateless_uniform((4, m), seed, -1.0, 1.0)
    angle, scale, shift = 0.1 * draws[0], 1 + 0.1 * draws[1], 0.06 * side * draws[2:]
    cos, sin, middle, zero = tf.cos(angle) * scale, tf.sin(angle) * scale, (side - 1) / 2, tf.zeros((m,))
    to_x = middle - cos * middle + sin * middle + shift[0]
    to_y = middle - sin * middle - cos * middle + shift[1]
    transform = tf.stack([cos, -sin, to_x, sin, cos, to_y, zero, zero], axis=1)
    return ops.image.affine_transform(faces, transform, fill_mode="nearest")
