"""Train the transfer twin on the trunk of a FaceNet, and fit it to one person.

    pictures ──trunk──► features, once ──1. only the neuron learns, 2. the top, too──► twins ──calibrate──► stand_on

A ``TransferPlan``, the FaceNet and the pictures determine the result; it takes less than a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.encoding import faces_to_encodings, in_batches
from facerec.errors import BadArgument
from facerec.evaluation import best_threshold, fit_probability, threshold_at
from facerec.learning.datasets import check_disjoint
from facerec.learning.pairs import PairFaces, PersonFaces, open_faces, people_in_turn
from facerec.learning.siamese import embedding_of, score_known, stand_on, twins_of
from facerec.learning.siamese_training import SiamesePlan, score_pairs, train_siamese
from facerec.learning.transfer import split_network
from facerec.networks import load_facenet

with quietly():
    import keras


@dataclass(frozen=True)
class TransferPlan:
    """How the transfer twin learns.

    Attributes:
        network: The folder of the FaceNet that it stands on.
        frozen: First, only the neuron learns.
        thawed: Then the top does, too, at a small rate.
    """

    network: str = "keras-facenet-h5"
    frozen: SiamesePlan = SiamesePlan("transfer", epochs=6, batch=128, rate=0.05, decay=0.8)
    thawed: SiamesePlan = SiamesePlan("transfer", epochs=30, batch=128, rate=1e-4)


class PersonFeatures(PersonFaces):
    """The features of a table of people, for batches as those of ``PersonFaces``.

    Args:
        features: (m, F) float32.
        identities: The person in each picture, (m,).
        per_person: K, the number of pictures of each person in a batch.

    Raises:
        BadArgument: If a person has a single picture, which makes no same pair.
    """

    def __init__(self, features: np.ndarray, identities: Sequence[str], per_person: int = 4):
        self.check_people(pd.Series(identities), per_person)
        self.faces, self.per_person = features, per_person
        self.who, _ = pd.factorize(pd.Series(identities))

    def batches(
        self, batch: int = 128, how: object = None, seed: int = 0, first_epoch: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Endless batches as those of ``PersonFaces``, of features (B, F) as they are: ``how`` is ignored."""
        people, (first, second) = self.check_batch(batch), np.triu_indices(batch, 1)
        for epoch in count(first_epoch):
            rng = np.random.default_rng([seed, epoch])
            for rows in people_in_turn(self.who, people, self.per_person, len(self) // batch, rng):
                same = (self.who[rows[first]] == self.who[rows[second]]).astype(np.float32)
                yield self.faces[rows], same, 0.5 * (same / same.mean() + (1 - same) / (1 - same.mean()))


class PairFeatures(PairFaces):
    """The features of a table of pairs.

    Args:
        features: (m, F) float32.
        rows: The rows of ``features`` in each pair, (n, 2).
        same: Whether a pair shows one person, (n,) bool.
    """

    def __init__(self, features: np.ndarray, rows: np.ndarray, same: np.ndarray):
        self.faces, self.rows, self.same = features, np.asarray(rows), np.asarray(same)

    def as_input(self, part: slice = slice(None)) -> np.ndarray:
        """The features, (m, F)."""
        return self.faces[part]


def features_of(pictures: Sequence[str], trunk: keras.Model, progress: bool = False) -> np.ndarray:
    """The features (m, F) of pictures of aligned faces, some hundreds of them in memory at a time."""
    side, parts = trunk.input_shape[1], []
    with tqdm(total=len(pictures), desc="features", unit="picture", disable=not progress) as bar:
        for start in range(0, len(pictures), 256):
            some = list(pictures[start : start + 256])
            parts.append(faces_to_encodings(open_faces(some, side), trunk))
            bar.update(len(some))
    return np.concatenate([np.empty((0, trunk.output_shape[-1]), np.float32), *parts])


def train_transfer(
    people: pd.DataFrame,
    pairs: pd.DataFrame,
    folder: str | os.PathLike,
    plan: TransferPlan | None = None,
    progress: bool = True,
) -> tuple[keras.Model, float, pd.DataFrame]:
    """Train the transfer twin.

    Args:
        people: A table of ``find_people``: aligned faces to learn from.
        pairs: A table of ``make_pairs`` of other people, who choose the epochs, the calibration and the threshold.
        folder: As for ``train_siamese``, with a folder per phase.
        plan: By default that of the shipped twin.
        progress: True for progress bars.

    Returns:
        siamese: The twins that stand on the FaceNet. Their score is a probability if before looking one person was as
            likely as two.
        threshold: The lowest score of a match: the best one on the pairs.
        history: A row per epoch of both phases; ``phase`` is ``"frozen"`` or ``"thawed"``.

    Raises:
        BadArgument: If a person is in both tables, or there are too few pictures.
        BadNetwork: If the FaceNet can't be cut.
    """
    plan, folder = plan or TransferPlan(), Path(folder)
    rows, others = people_of(pairs)
    check_disjoint(people, others)
    trunk, top = split_network(load_facenet(plan.network))
    learned = PersonFeatures(features_of(people.picture, trunk, progress), people.identity)
    checked = PairFeatures(features_of(others.picture, trunk, progress), rows, pairs.same.to_numpy())
    who, twins, histories = others.identity.to_numpy(), alike(top), {}
    calibrate(twins, checked.faces, who)  # a scale to begin with
    for phase, chosen in (("frozen", plan.frozen), ("thawed", plan.thawed)):
        embedding_of(twins).trainable = phase == "thawed"
        twins, histories[phase] = train_siamese(learned, checked, chosen, folder / phase, progress, start=twins)
    calibrate(twins, checked.faces, who)
    threshold = 1 - best_threshold(1 - score_pairs(twins, checked), checked.same)
    history = pd.concat(histories, names=["phase", None]).reset_index("phase")
    return stand_on(twins, plan.network), threshold, history


def alike(top: keras.Model) -> keras.Model:
    """Twins whose neuron counts all differences alike: a FaceNet's distance, but for the squares.

    From random weights, the neuron learns the train people by heart: it would begin by counting some differences as
    likeness.
    """
    twins = twins_of(top)
    weights, bias = twins.get_layer("score").get_weights()
    twins.get_layer("score").set_weights([np.full_like(weights, -1), bias])
    return twins


def people_of(pairs: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """The pictures of a table of pairs, each once: the rows in each pair (n, 2), and ``identity`` and ``picture``."""
    columns = [[f"identity_{number}", f"picture_{number}"] for number in (1, 2)]
    both = pd.concat([pairs[some].set_axis(["identity", "picture"], axis=1) for some in columns], ignore_index=True)
    rows, _ = pd.factorize(both.picture)
    return rows.reshape(2, -1).T, both.drop_duplicates("picture", ignore_index=True)


def calibrate(twins: keras.Model, faces: np.ndarray, identities: np.ndarray) -> None:
    """Scale the neuron of twins so that their score is a probability if, before looking, both answers are as likely.

    It is a line in the log odds, fitted on all pairs: the order of pairs by their score stays as it is.

    Args:
        twins: A network of ``twins_of``; its last layer is changed.
        faces: What it takes, (m, …), of other people than it learned from.
        identities: The person in each, (m,).
    """
    first, second = np.triu_indices(len(faces), 1)
    codes, (weights, bias) = in_batches(faces, embedding_of(twins)), twins.get_layer("score").get_weights()
    odds = np.stack([np.abs(code - codes) @ weights[:, 0] for code in codes])[first, second] + bias[0]
    found = fit_probability(-odds, identities[first] == identities[second])
    (near, far), (high, low) = found.distances, found.log_odds
    slope = (high - low) / (far - near)
    twins.get_layer("score").set_weights([slope * weights, slope * bias + high + slope * near])


@dataclass(frozen=True)
class Verifier:
    """Twins fitted to one person, and their test results.

    Attributes:
        model: The network.
        known: The person's faces with which a new face is compared, (k, S, S, 3) uint8, as ``verify_faces`` takes them.
        threshold: The lowest score of a match with the known faces together (``score_known``); chosen on people who are
            not in the test.
        true_accepts: The share of the person's later pictures that is accepted.
        false_accepts: The share of the strangers' pictures that is accepted.
        later: The number of later pictures; none of them is a known one.
        strangers: The number of strangers; the threshold was chosen on others.
    """

    model: keras.Model
    known: np.ndarray
    threshold: float
    true_accepts: float
    false_accepts: float
    later: int
    strangers: int


#: The share of a person's pictures, in their order, that become the known ones; the later ones are for the test.
KNOWN = 0.6

#: The smallest number of pictures that can be shared out in this way.
FEWEST_PICTURES = 4


def verifier_for(
    own: Sequence[str], others: Sequence[pd.DataFrame], siamese: keras.Model, far: float = 0.01
) -> Verifier:
    """Fit trained twins to one person: known pictures, and a threshold for the comparison with all of them.

    Nothing is trained. The threshold is for what ``verify_faces(known, photo, …)`` compares.

    Args:
        own: The person's pictures as aligned faces, at least 4, in the order in which they were taken.
        others: Two tables of strangers' aligned faces: to choose the threshold, and to test with.
        siamese: Twins of ``load_siamese`` or ``train_transfer``.
        far: The share of false accepts at which the threshold is chosen.

    Returns:
        The twins with the known faces, the threshold and the test results.

    Raises:
        BadArgument: If there are too few pictures, or a person is in both tables.
    """
    if len(own) < FEWEST_PICTURES:
        raise BadArgument(
            f"own has {len(own)} pictures: at least {FEWEST_PICTURES} are needed, to be known and to test with"
        )
    check_disjoint(*others)
    side, ends = siamese.input_shape[0][1], round(KNOWN * len(own))
    known, later = (open_faces(list(part), side) for part in (own[:ends], own[ends:]))

    def distances(faces: np.ndarray) -> np.ndarray:
        return 1 - score_known(siamese, *(some.astype(np.float32) / 255 for some in (known, faces)))

    choosing, tested = (distances(open_faces(list(people.picture), side)) for people in others)
    limit = threshold_at(choosing, far)
    true, false = (float((found < limit).mean()) for found in (distances(later), tested))
    return Verifier(siamese, known, 1 - limit, true, false, len(later), others[1].identity.nunique())
