"""The gain and the cost of each step from a photo to an encoding, on LFW's ``pairsDevTrain`` only.

    python tools/measure/steps.py DIR    # or: make steps DIR=… (half an hour the first time) → docs/results/steps.json

DIR is the folder of ``tools/measure/lfw.py``. Each row of the table changes one thing in how ``weights/resnet`` sees a
face: where the template puts it, which points count, how pixels are interpolated, whether the mirror image is encoded,
too, and how many crops. People are held out: the centring is fitted on four fifths of the people
(``tools/assets/calibrate.py``) and scored on all pairs of pictures of the last fifth, five times. Gains are paired,
with a 95 % interval over people. ``pairsDevTest`` is not opened here; ``tools/measure/lfw.py`` scores the result on it.

A step is kept if it certainly gains true accepts at one false accept in a thousand without losing in the equal error
rate. (Two crops do so, too, by a hair; they would double the network's time for a third of the mirror image's gain.)

Encodings are cached in ``datasets/lfw_steps/``, so that a killed run continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, whole, write_json
from facerec.detection import KEYPOINTS, TEMPLATE, Point, detect_faces_batch, similarity_transform, warp
from facerec.encoding import faces_to_encodings, unit_length
from facerec.errors import run
from facerec.evaluation import Interval
from facerec.evaluation.lfw import find_pictures, person_of, read_pairs
from facerec.networks import load_facenet
from facerec.photos import load_image
from tools.assets.calibrate import centre, fit, same_pairs_of
from tools.measure.bench import faces_for, take_turns
from tools.measure.lfw import find_faces

CACHE = ROOT / "datasets" / "lfw_steps"

FOLDS, SAMPLES, FAR = 5, 1000, 1e-3

#: The name of each point in the mirror image.
MIRRORED = dict(zip(KEYPOINTS, ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left"), strict=True))


@dataclass(frozen=True)
class Crop:
    """How a face is cut out of its photo.

    Attributes:
        scale: The template's size; 1.1 shows 10 % less around the face.
        up: The share of the side by which the face lies higher.
        points: The points that are aligned with the template's.
        interpolation: OpenCV's name of the interpolation between pixels.
        twice: Whether to find the points in the mirror image, too, and take the mean.
    """

    scale: float = 1.0
    up: float = 0.0
    points: tuple[str, ...] = KEYPOINTS
    interpolation: str = "LINEAR"
    twice: bool = False

    def template(self) -> dict[str, Point]:
        """The points' places in the crop, as fractions of the side."""
        moved = ((name, TEMPLATE[name]) for name in self.points)
        return {name: ((x - 0.5) * self.scale + 0.5, (y - 0.5) * self.scale + 0.5 - self.up) for name, (x, y) in moved}


@dataclass(frozen=True)
class Step:
    """One row: the crops, how they become one encoding, and the row it is compared with."""

    label: str
    crops: tuple[Crop, ...] = (Crop(),)
    mirrored: bool = True
    unit_first: bool = True
    compared_with: str = "+ the mirror image"


FOUR = ("left_eye", "right_eye", "mouth_left", "mouth_right")

STEPS = (
    Step("one look, centred as it is", mirrored=False, unit_first=False, compared_with=""),
    Step("unit length before centring", mirrored=False, compared_with="one look, centred as it is"),
    Step("+ the mirror image", compared_with="unit length before centring"),
    Step("… and the template 10 % smaller", (Crop(scale=0.9),)),
    Step("… 5 % smaller", (Crop(scale=0.95),)),
    Step("… 5 % larger", (Crop(scale=1.05),)),
    Step("… 10 % larger", (Crop(scale=1.1),)),
    Step("… 15 % larger", (Crop(scale=1.15),)),
    Step("… the face 2.5 % higher", (Crop(up=0.025),)),
    Step("… 2.5 % lower", (Crop(up=-0.025),)),
    Step("… aligned without the nose", (Crop(points=FOUR),)),
    Step("… by the eyes alone", (Crop(points=FOUR[:2]),)),
    Step("… cubic interpolation", (Crop(interpolation="CUBIC"),)),
    Step("… Lanczos interpolation", (Crop(interpolation="LANCZOS4"),)),
    Step("… points found twice, also in the mirror", (Crop(twice=True),)),
    Step("… two crops, the second 10 % larger", (Crop(), Crop(scale=1.1))),
    Step("… three crops, 10 % smaller and larger", (Crop(scale=0.9), Crop(), Crop(scale=1.1))),
)

#: The row that is shipped.
KEPT = "+ the mirror image"


def cut(photo: np.ndarray, keypoints: Mapping[str, Point], crop: Crop, side: int) -> np.ndarray:
    """The face, cut out this way, (side, side, 3)."""
    template = crop.template()
    source = np.array([keypoints[name] for name in template])
    matrix = similarity_transform(source, np.array(list(template.values())) * side)
    if crop.interpolation == "LINEAR":
        return warp(photo, matrix, side)
    flags = getattr(cv2, f"INTER_{crop.interpolation}")
    return cv2.warpAffine(photo, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def look(photos: Sequence[np.ndarray], keypoints: Sequence[Mapping], crop: Crop, trunk, cache: Path) -> np.ndarray:
    """Raw encodings (2, m, D) of the faces and of their mirror images, kept in ``cache``."""
    if cache.is_file():
        return np.load(cache)
    side = trunk.input_shape[1]
    faces = np.stack([cut(photo, points, crop, side) for photo, points in zip(photos, keypoints, strict=True)])
    both = np.stack([faces_to_encodings(faces, trunk), faces_to_encodings(faces[:, :, ::-1], trunk)])
    with whole(cache) as unfinished, open(unfinished, "wb") as file:
        np.save(file, both)
    return both


def points_found_twice(photos: Sequence[np.ndarray], keypoints: Sequence[Mapping]) -> list[dict[str, Point]]:
    """The mean of each face's points and those found in the mirrored photo, if any."""
    found = []
    for start in tqdm(range(0, len(photos), 32), desc="finding points again", unit="batch"):
        mirrored = [np.ascontiguousarray(photo[:, ::-1]) for photo in photos[start : start + 32]]
        seen = detect_faces_batch(mirrored, thorough=False)
        for photo, faces, points in zip(mirrored, seen, keypoints[start:], strict=False):
            found.append(_middle(points, faces, photo.shape[1]))
    return found


def _middle(points: Mapping[str, Point], faces: Sequence[Mapping], width: int) -> dict[str, Point]:
    """The points, averaged with those of the same face among the mirrored photo's."""
    back = [{MIRRORED[name]: (width - 1 - x, y) for name, (x, y) in face["keypoints"].items()} for face in faces]
    between_eyes = np.hypot(*np.subtract(points["left_eye"], points["right_eye"]))
    same = [other for other in back if np.hypot(*np.subtract(other["nose"], points["nose"])) < between_eyes / 2]
    return {name: tuple(np.mean([points[name], *[o[name] for o in same[:1]]], axis=0)) for name in points}


def combine(looks: Sequence[np.ndarray], step: Step) -> np.ndarray:
    """The encodings (m, D) before centring: the mean of the looks, scaled to unit length unless the step skips that."""
    seen = [one if step.mirrored else one[:1] for one in looks]  # (1 or 2, m, D) each
    mean = np.concatenate(seen).mean(axis=0)
    return unit_length(mean) if step.unit_first else mean


@dataclass(frozen=True)
class HeldOut:
    """All pairs among held-out people: distances (n,), and the numbers of their first and second person, (n,) each."""

    distances: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def same(self) -> np.ndarray:
        """Whether a pair shows one person, (n,) bool."""
        return self.first == self.second


def hold_out(x: np.ndarray, who: np.ndarray, same_pairs: np.ndarray) -> HeldOut:
    """The distances of all people, each centred by a fit to the people of the four other fifths."""
    fold_of = np.random.default_rng(0).permutation(who.max() + 1) % FOLDS
    parts = []
    for fold in range(FOLDS):
        kept = fold_of[who] != fold
        number = np.cumsum(kept) - 1
        pairs = number[same_pairs[kept[same_pairs].all(axis=1)]]
        mean, factor = fit(x[kept], who[kept], pairs)
        unit, names = centre(x[~kept], mean, factor), who[~kept]
        i, j = np.triu_indices(len(unit), 1)
        parts.append((np.sqrt(np.maximum(2 - 2 * (unit @ unit.T)[i, j], 0)), names[i], names[j]))
    return HeldOut(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class Rates:
    """Error rates of held-out pairs for any weights of the people; fast, because the pairs are sorted once."""

    def __init__(self, held: HeldOut):
        """Args: held: The pairs."""
        order = np.argsort(held.distances, kind="stable")
        self.first, self.second, self.same = held.first[order], held.second[order], held.same[order]

    def at(self, count: np.ndarray) -> np.ndarray:
        """Equal error rate and true accepts at FAR, if person p was drawn ``count[p]`` times."""
        weight = count[self.first] * np.where(self.same, 1.0, count[self.second])
        accepted = [np.cumsum(weight * kind) for kind in (self.same, ~self.same)]
        true, false = (sums / sums[-1] for sums in accepted)
        equal, allowed = int(np.argmax(false >= 1 - true)), np.searchsorted(false, FAR, side="right")
        return np.array([(false[equal] + 1 - true[equal]) / 2, true[allowed - 1] if allowed else 0.0])


def draw_rates(held: HeldOut, people: int) -> np.ndarray:
    """Equal error rate and true accepts at FAR, of all people and of SAMPLES bootstrap draws: (1 + SAMPLES, 2)."""
    rng, rates = np.random.default_rng(0), Rates(held)
    draws = [np.ones(people), *(rng.multinomial(people, np.full(people, 1 / people)) for _ in range(SAMPLES))]
    return np.array([rates.at(draw.astype(float)) for draw in draws])


def measure(held: Mapping[str, HeldOut], people: int) -> list[dict]:
    """A row per step: equal error rate, true accepts at one false accept in a thousand, and the gains."""
    scores = {label: draw_rates(one, people) for label, one in tqdm(held.items(), desc="drawing people", unit="step")}
    rows = []
    for step in (step for step in STEPS if step.label in scores):
        row = {"step": step.label, "kept": step.label == KEPT, "compared_with": step.compared_with or None}
        for i, name in enumerate(("equal_error_rate", f"true_accepts_at_{FAR:g}")):
            row[name] = asdict(interval_of(scores[step.label][:, i]))
            if step.compared_with:
                gain = scores[step.label][:, i] - scores[step.compared_with][:, i]
                row[f"{name}_gain"] = asdict(interval_of(-gain if i == 0 else gain))
        rows.append(row)
    return rows


def interval_of(values: np.ndarray) -> Interval:
    """The first value, with the 95 % interval of the others."""
    return Interval(float(values[0]), *(float(q) for q in np.quantile(values[1:], [0.025, 0.975])))


def costs(trunk) -> dict[str, float]:
    """Milliseconds for one look of the network at one face, and for finding the points in one 250×250 photo."""
    face, photo = faces_for(trunk.input_shape[1], 1), np.ascontiguousarray(faces_for(250, 1)[0])
    works = {
        "look": lambda: faces_to_encodings(face, trunk),
        "points": lambda: detect_faces_batch([photo], thorough=False),
    }
    return {name: 1000 * seconds for name, seconds in take_turns(works, rounds=7, times=5).items()}


def main() -> None:
    """Encode in every way, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="the folder with pairsDevTrain.txt and the pictures")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "steps.json")
    args = parser.parse_args()
    pairs = read_pairs(args.dir / "pairsDevTrain.txt")
    pictures = find_pictures(args.dir, {str(file) for file in pairs.files.flat})
    found = find_faces(pictures)
    names = sorted(name for name in pictures if found[name])
    people, who = np.unique([person_of(name) for name in names], return_inverse=True)
    same_pairs = same_pairs_of(pairs, {name: i for i, name in enumerate(names)})
    photos, once = [load_image(pictures[name]) for name in names], [found[name] for name in names]
    trunk = load_facenet("weights/resnet").get_layer("trunk")
    folder = CACHE / _digest(names, once, trunk)
    folder.mkdir(parents=True, exist_ok=True)
    twice: list[dict[str, Point]] = []
    held = {}
    for step in tqdm(STEPS, desc="steps", unit="step"):
        looks = []
        for crop in step.crops:
            cache = folder / f"{_file_name(crop)}.npy"
            if crop.twice and not twice and not cache.is_file():
                twice = points_found_twice(photos, once)
            looks.append(look(photos, twice if crop.twice else once, crop, trunk, cache))
        held[step.label] = hold_out(combine(looks, step), who, same_pairs)
    cost, rows = costs(trunk), measure(held, len(people))
    for step, row in zip(STEPS, rows, strict=True):
        row["looks"] = len(step.crops) * (2 if step.mirrored else 1)
        row["milliseconds"] = row["looks"] * cost["look"] + (1 + any(c.twice for c in step.crops)) * cost["points"]
    one = held[KEPT]
    result = {
        "command": "make steps DIR=…",
        "pictures": len(names),
        "people": len(people),
        "same_pairs": int(one.same.sum()),
        "different_pairs": int((~one.same).sum()),
        "milliseconds_of_a_look": cost["look"],
        "milliseconds_to_find_points": cost["points"],
        "steps": rows,
    }
    write_json(args.to, result)
    for row in rows:
        gain = row.get("equal_error_rate_gain", {"value": 0, "low": 0, "high": 0})
        shown = " ".join(f"{100 * gain[key]:+.2f}" for key in ("value", "low", "high"))
        rate = 100 * row["equal_error_rate"]["value"]
        print(f"{row['step']:45} {rate:.2f} %  gain {shown}  {row['milliseconds']:.0f} ms")


def _digest(names: Sequence[str], keypoints: Sequence[Mapping], trunk) -> str:
    """A digest of pictures, points and network, so that their encodings are not mistaken for others."""
    text = json.dumps([list(names), [dict(points) for points in keypoints]])
    weights = b"".join(np.asarray(weight).tobytes() for weight in trunk.get_weights())
    return hashlib.sha256(text.encode() + weights).hexdigest()[:12]


def _file_name(crop: Crop) -> str:
    """The name of a crop's encodings in the cache."""
    parts = [
        f"{crop.scale:g}",
        f"{crop.up:g}",
        "-".join(crop.points),
        crop.interpolation,
        "twice" if crop.twice else "once",
    ]
    return "_".join(parts)


if __name__ == "__main__":
    run(main)
