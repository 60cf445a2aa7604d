"""Do two pictures show one person? Two networks answer, side by side.

    two photos ──detect, align──► two faces ──► FaceNet: a distance    ──► a verdict, and how sure it is
                                            ──► the twins: a score     ──► a second opinion

FaceNet decides, because it is right more often about people that neither network was trained on. The transfer twin of
the second notebook gives a second opinion. It stands on the smaller Inception FaceNet, which learned from the network
that decides, so it shares some of that network's mistakes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apps.certainty import Certainty
from facerec._files import ROOT
from facerec._quiet import quietly
from facerec.detection import Detection, align_face, detect_faces_batch, no_face_in, pick_face
from facerec.encoding import faces_to_encodings
from facerec.errors import FaceError
from facerec.learning.siamese import load_siamese, score_all
from facerec.networks import confidence, info_of, load_facenet, threshold_for
from facerec.photos import Source, load_image

with quietly():
    import keras

#: What errors and pages call the two pictures.
NAMES = ("the first picture", "the second picture")


@dataclass(frozen=True)
class Comparison:
    """What two networks say about two pictures.

    Attributes:
        photos: The two, each (H, W, 3) uint8, upright.
        faces: The faces that were compared, (2, S, S, 3) uint8, aligned as FaceNet takes them.
        detections: Where they are in their photos, as ``detect_faces`` returns them.
        counts: How many faces each photo shows; the largest one was compared.
        distance: Between the two encodings, 0 to 2.
        threshold: A smaller distance counts as one person.
        probability: That both show one person, 0..1, assuming even odds before the comparison; NaN for a network
            that was never calibrated.
        score: The twins' score, 0..1: by their own calibration, the probability that both show one person.
        score_threshold: The twins take this score or a higher one for one person.
    """

    photos: tuple[np.ndarray, np.ndarray]
    faces: np.ndarray
    detections: tuple[Detection, Detection]
    counts: tuple[int, int]
    distance: float
    threshold: float
    probability: float
    score: float
    score_threshold: float

    @property
    def is_same(self) -> bool:
        """FaceNet's verdict: whether both show one person."""
        return self.distance < self.threshold

    @property
    def certainty(self) -> Certainty:
        """How sure FaceNet is of its verdict."""
        return Certainty(self.is_same, self.probability)

    @property
    def headline(self) -> str:
        """The verdict in a few words, no surer than the networks are."""
        who = "same person" if self.is_same else "two different people"
        if self.certainty.is_close:
            return "Too close to call"
        if self.certainty.is_against:
            return f"{'The same person' if self.is_same else 'Two people'}, at this threshold only"
        if self.certainty.is_doubtful or self.twins_object:
            return f"Probably {'the ' if self.is_same else ''}{who}"
        return f"The {who}" if self.is_same else who.capitalize()

    @property
    def twins_agree(self) -> bool:
        """Whether the twins come to the same verdict."""
        return (self.score >= self.score_threshold) == self.is_same

    @property
    def twins_object(self) -> bool:
        """Whether the twins disagree strongly: their score is at least half-way from the threshold to 0 or 1."""
        if self.twins_agree:
            return False
        end = 0 if self.is_same else 1
        return abs(self.score - self.score_threshold) >= abs(end - self.score_threshold) / 2

    @property
    def verdict(self) -> str:
        """FaceNet's verdict in a sentence."""
        who, side = ("the same person", "below") if self.is_same else ("two people", "not below")
        return (
            f"They look like {who}: the distance is {self.distance:.2f}, {side} the threshold of {self.threshold:.2f}."
        )

    @property
    def second_opinion(self) -> str:
        """The twins' verdict in a sentence."""
        who = "the same person" if self.score >= self.score_threshold else "two people"
        scores = f"scores {self.score:.2f}, and {self.score_threshold:.2f} or more means the same person"
        return f"The twins see {who}: this second, smaller network {scores}. {reliability()}".rstrip()


class Comparer:
    """Two networks, loaded once, that compare any number of pairs of pictures; safe to share between threads.

    Args:
        FRmodel: A network of ``load_facenet``. None loads the shipped one.
        twins: A twin network and its threshold, as ``load_siamese`` gives them. None loads the shipped ones.
        threshold: A smaller distance counts as one person. None takes FaceNet's own (0.7).

    Raises:
        BadArgument: If the threshold is not a distance.
        BadNetwork: If a network can't be loaded.

    Example:
        >>> compare = Comparer()
        >>> compare("images/lena.jpg", "images/camera_0.jpg").is_same
        True
    """

    def __init__(
        self,
        FRmodel: keras.Model | None = None,  # noqa: N803
        twins: tuple[keras.Model, float] | None = None,
        threshold: float | None = None,
    ) -> None:
        self.FRmodel = FRmodel or load_facenet()
        self.twins, self.score_threshold = twins or load_siamese()
        self.threshold = threshold_for(self.FRmodel, threshold)

    def __call__(self, photo_1: Source, photo_2: Source, names: Sequence[str] = NAMES) -> Comparison:
        """Compare the largest faces of two photos.

        Args:
            photo_1: Anything that ``load_image`` takes.
            photo_2: The other one.
            names: What errors call them.

        Returns:
            What both networks say.

        Raises:
            UnreadableImage: If a picture can't be opened.
            NoFaceFound: If a picture shows no face.
        """
        photos = (_opened(photo_1, names[0]), _opened(photo_2, names[1]))
        found = detect_faces_batch(list(photos))
        for photo, faces, name in zip(photos, found, names, strict=True):
            if not faces:
                raise no_face_in(photo, name)
        detections = [pick_face(faces, photo) for photo, faces in zip(photos, found, strict=True)]
        faces, distance = self._distance(photos, detections)
        return Comparison(
            photos,
            faces,
            tuple(detections),
            tuple(len(faces) for faces in found),
            distance,
            self.threshold,
            float(confidence(distance, self.FRmodel)),
            self._score(photos, detections),
            self.score_threshold,
        )

    def _distance(self, photos: Sequence[np.ndarray], detections: Sequence[Detection]) -> tuple[np.ndarray, float]:
        """The two faces as FaceNet takes them, and the distance between their encodings."""
        info = info_of(self.FRmodel)
        faces = _aligned(photos, detections, info.side, info.template)
        first, second = faces_to_encodings(faces, self.FRmodel)
        return faces, float(np.linalg.norm(first - second))

    def _score(self, photos: Sequence[np.ndarray], detections: Sequence[Detection]) -> float:
        """The twins' score."""
        side = self.twins.input_shape[0][1]
        faces = _aligned(photos, detections, side).astype(np.float32) / 255
        return float(score_all(self.twins, faces[:1], faces[1:])[0, 0])


@functools.cache
def reliability() -> str:
    """How often each network was right about people new to the twins, in a sentence; empty if not measured."""
    path = ROOT / "docs" / "results" / "siamese_transfer.json"
    if not path.exists():
        return ""
    measured = json.loads(path.read_text(encoding="utf-8"))["methods"]
    twins, facenet = (measured[name]["accuracy"]["value"] for name in ("twin, transfer", "FaceNet, residual"))
    return (
        f"On pairs of people that the twins had not met, the twins were right in {100 * twins:.0f} of 100 cases, "
        f"FaceNet in {100 * facenet:.0f}."
    )


def _opened(photo: Source, name: str) -> np.ndarray:
    """Open a photo; an error calls it by its name."""
    try:
        return load_image(photo)
    except FaceError as error:
        raise type(error)(f"{name} can't be used: {error}") from error


def _aligned(photos: Sequence[np.ndarray], detections: Sequence[Detection], *shape) -> np.ndarray:
    """The faces as one batch (2, S, S, 3); ``shape`` is what ``align_face`` takes: the side, and perhaps a template."""
    pairs = zip(photos, detections, strict=True)
    return np.stack([align_face(photo, detection["keypoints"], *shape) for photo, detection in pairs])
