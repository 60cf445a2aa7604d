"""Crops to distil from: pictures, where their faces are, and the teacher's encodings of them.

    picture ──detect──► keypoints ──to_template──► matrix to the crop ──zoom──► J looks ──teacher──► (J, 128)

``prepare`` writes all of it in parts that ``Prepared`` opens. A crop is kept as a matrix (2, 3) beside its picture: a
network of any side cuts its own view of it, with jitter of its own. The teacher sees the face aligned and, in another
look, a little larger: the mean of such looks is a better target than its view of a jittered crop (``share_targets``
may improve it further where it is known who is shown).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from facerec._files import whole, write_json
from facerec._quiet import quietly
from facerec.detection import KEYPOINTS, detect_faces_batch, similarity_transform, warp
from facerec.encoding import unit_length
from facerec.errors import BadArgument, FaceError
from facerec.learning.prefetch import in_order
from facerec.networks import THRESHOLD, info_of
from facerec.photos import PICTURE_ENDINGS, load_image

with quietly():
    import keras
    from keras import ops


#: The side of stored pictures, in pixels; larger pictures are cut down to the face and its surroundings.
STORED_SIDE = 128

#: How much more than the teacher's crop is kept of a larger picture: room for the jitter.
MARGIN = 1.3

#: How much larger than aligned the teacher sees the face, in each of its looks; they are averaged.
LOOKS = (1.0, 1.1)

#: Pictures per prepared part.
PART = 1000

#: Up to this spread of the keypoints (90th percentile, as a share of the distance between the eyes) all faces count as
#: framed alike, and the medians are used for all of them.
FIXED_SPREAD = 0.12


def list_pictures(folder: Path) -> list[tuple[Path, int | None]]:
    """List the pictures of a folder in a fixed order: (file, None) for a picture, (shard, row) for one in a shard."""
    items: list[tuple[Path, int | None]] = []
    for file in sorted(folder.iterdir()):
        if file.suffix == ".npy":
            items += [(file, row) for row in range(len(np.load(file, mmap_mode="r")))]
        elif file.suffix.lower() in PICTURE_ENDINGS:
            items.append((file, None))
    if not items:
        raise BadArgument(f"{folder} holds neither pictures nor .npy shards")
    return items


def read_picture(item: tuple[Path, int | None]) -> np.ndarray:
    """Open one of them: (H, W, 3) uint8 RGB."""
    file, row = item
    return load_image(file) if row is None else np.array(np.load(file, mmap_mode="r")[row])


def name_of(item: tuple[Path, int | None]) -> str:
    """The name of a picture in reports: its file, and its row in a shard."""
    file, row = item
    return file.name if row is None else f"{file.name}[{row}]"


def read_all(items: Sequence[tuple[Path, int | None]]) -> tuple[list[np.ndarray], list[int], list[dict]]:
    """Open pictures: those that can be opened, their numbers in ``items``, and a row for each that can't."""
    pictures, kept, problems = [], [], []
    for number, item in enumerate(items):
        try:
            pictures.append(read_picture(item))
            kept.append(number)
        except FaceError as error:
            problems.append({"file": name_of(item), "reason": str(error)})
    return pictures, kept, problems


def points_of(picture: np.ndarray, detection: dict) -> np.ndarray:
    """The five keypoints as fractions of the picture's width and height, (5, 2)."""
    height, width = picture.shape[:2]
    return np.array([detection["keypoints"][name] for name in KEYPOINTS]) / (width, height)


def find_framing(pictures: Sequence[np.ndarray]) -> np.ndarray | None:
    """The medians of the keypoints (5, 2), as fractions of the picture; None if faces can be anywhere."""
    found = [(p, f[0]) for p, f in zip(pictures, detect_faces_batch(pictures, thorough=False), strict=True) if f]
    if not found:
        raise BadArgument("there is no face in a sample of the pictures: nothing to learn from")
    points = np.stack([points_of(picture, face) for picture, face in found])  # (n, 5, 2)
    medians = np.median(points, axis=0)
    eyes = np.linalg.norm(medians[0] - medians[1])
    spread = np.percentile(np.linalg.norm(points[:, :2] - medians[:2], axis=2), 90) / eyes
    one_size = len({picture.shape for picture in pictures}) == 1
    return medians if one_size and spread <= FIXED_SPREAD else None


def to_template(picture: np.ndarray, points: np.ndarray, template: np.ndarray, side: int) -> np.ndarray:
    """The matrix (2, 3) from a picture's pixels to the teacher's crop of ``side`` pixels."""
    height, width = picture.shape[:2]
    return similarity_transform(points * (width, height), template * side)


def store(picture: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Bring a picture to (STORED_SIDE, STORED_SIDE, 3): small ones are padded, large ones cut around the face.

    Args:
        picture: (H, W, 3).
        matrix: (2, 3) from the picture's pixels to the teacher's crop.
        side: The side of that crop, in pixels.

    Returns:
        The stored picture and the matrix from its pixels to the teacher's crop.
    """
    height, width = picture.shape[:2]
    if max(height, width) <= STORED_SIDE:
        return np.pad(picture, ((0, STORED_SIDE - height), (0, STORED_SIDE - width), (0, 0)), "edge"), matrix
    zoom = STORED_SIDE / (side * MARGIN)
    shift = (STORED_SIDE - side * zoom) / 2
    crop_to_stored = np.array([[zoom, 0, shift], [0, zoom, shift]])
    stored = warp(picture, compose(crop_to_stored, matrix), STORED_SIDE)
    return stored, np.array([[1 / zoom, 0, -shift / zoom], [0, 1 / zoom, -shift / zoom]])


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The matrix (2, 3) that applies ``first``, then ``second``."""
    return second @ np.vstack([first, [0, 0, 1]])


def jitter_matrix(rng: np.random.Generator, side: int, degrees: float = 7.0, share: float = 0.07) -> np.ndarray:
    """A random rotation, scale and shift of a crop of ``side`` pixels, as (2, 3)."""
    angle = np.radians(rng.uniform(-degrees, degrees))
    scale = 1 + rng.uniform(-share, share)
    shift = rng.uniform(-share, share, 2) * side
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([(side - 1) / 2, (side - 1) / 2])
    return np.column_stack([turn, centre - turn @ centre + shift])


def zoom_matrix(side: int, zoom: float) -> np.ndarray:
    """The matrix (2, 3) that enlarges a crop of ``side`` pixels about its centre."""
    shift = (1 - zoom) * (side - 1) / 2
    return np.array([[zoom, 0, shift], [0, zoom, shift]])


def cut(stored: np.ndarray, matrix: np.ndarray, side: int, teacher_side: int) -> np.ndarray:
    """Cut the crop that a network of ``side`` pixels sees: the teacher's crop at another size.

    Args:
        stored: The picture, (STORED_SIDE, STORED_SIDE, 3).
        matrix: (2, 3) from the stored picture to the teacher's crop.
        side: The side of the result, in pixels.
        teacher_side: The side of the teacher's crop, in pixels.

    Returns:
        (side, side, 3) uint8.
    """
    return warp(stored, matrix * (side / teacher_side), side)


class Teacher:
    """A calibrated network up to its raw numbers, before centring: recalibration does not change those.

    Args:
        model: A network of ``load_facenet`` with a layer ``centred``, such as ``weights/resnet``.
    """

    def __init__(self, model: keras.Model):
        info = info_of(model)
        self.side = info.side
        self.template = np.array([info.template[name] for name in KEYPOINTS])  # (5, 2), fractions
        centred = model.get_layer("centred")
        self.kernel, self.bias = (ops.convert_to_numpy(w) for w in (centred.kernel, centred.bias))
        self._before = keras.Model(model.input, centred.input)

    @property
    def fingerprint(self) -> str:
        """A short hash that differs between teachers whose numbers differ."""
        return hashlib.sha256(self.kernel.tobytes() + np.round(self.template, 5).tobytes()).hexdigest()[:16]

    def raw(self, faces: np.ndarray, batch: int = 64) -> np.ndarray:
        """The raw numbers before centring: faces (m, S, S, 3) uint8 → (m, 128) float32."""
        rest = -len(faces) % batch  # a last batch of another size would be compiled again
        faces = np.concatenate([faces, np.zeros((rest, *faces.shape[1:]), faces.dtype)])
        features = [self._before.predict_on_batch(faces[i : i + batch]) for i in range(0, len(faces), batch)]
        return (np.concatenate(features) @ self.kernel)[: len(faces) - rest]

    def encodings(self, raw: np.ndarray) -> np.ndarray:
        """All looks at a face as one encoding, as the teacher is calibrated now: (…, J, 128) → (…, 128)."""
        return unit_length(unit_length(raw.mean(axis=-2)) + self.bias)


def prepare(folders: Sequence[Path], to: Path, teacher: Teacher, part: int = PART, workers: int = 0) -> None:
    """Write pictures, crops and the teacher's numbers for them, in parts; existing parts are skipped.

    A folder ``faces`` becomes ``faces.json`` (where its faces are), ``faces_00000.npy`` (n, 128, 128, 3),
    ``faces_00000.npz`` (matrices (n, 2, 3), the teacher's raw numbers (n, J, 128) for its J looks, the pictures' names
    (n,)), and so on. ``faces_00000_problems.csv`` lists the pictures that could not be used.

    Args:
        folders: Folders of pictures, or of shards (n, H, W, 3) uint8.
        to: The folder to write into.
        teacher: The network that encodes the crops.
        part: Pictures per part.
        workers: The number of processes that make the parts, for a GPU; 0 makes them here.

    Raises:
        BadArgument: If a folder holds no pictures, or was prepared with another teacher or other looks.
    """
    to.mkdir(parents=True, exist_ok=True)
    work = partial(prepare_part, teacher)
    for folder in folders:
        items = list_pictures(folder)
        framing = load_framing(items, to / f"{folder.name}.json", teacher)
        parts = {to / f"{folder.name}_{n // part:05d}.npz": items[n : n + part] for n in range(0, len(items), part)}
        missing = [(target, items, framing) for target, items in parts.items() if not target.exists()]
        with tqdm(total=len(parts), initial=len(parts) - len(missing), desc=folder.name, unit="part") as bar:
            for _ in in_order(work, missing, processes=workers) if workers else map(work, missing):
                bar.update()


def load_framing(items: list, file: Path, teacher: Teacher) -> np.ndarray | None:
    """Where the faces of a folder are: found in a sample of 100 the first time, then read from ``file``."""
    made_with = {"teacher": teacher.fingerprint, "looks": list(LOOKS)}
    if file.exists():
        notes = json.loads(file.read_text())
        if {key: notes[key] for key in made_with} != made_with:
            raise BadArgument(f"{file} was prepared with {notes}, not with {made_with}; give another --to")
    else:
        sample = items[:: max(1, len(items) // 100)]
        framing = find_framing(read_all(sample)[0])
        notes = {**made_with, "keypoints": None if framing is None else framing.round(4).tolist()}
        write_json(file, notes)
    return None if notes["keypoints"] is None else np.array(notes["keypoints"])


def prepare_part(teacher: Teacher, part: tuple[Path, list, np.ndarray | None]) -> None:
    """Make one part, a file, its pictures and their framing: read, find the faces, cut the crops, ask the teacher."""
    target, items, framing = part
    pictures, kept, problems = read_all(items)
    if framing is None:
        found = detect_faces_batch(pictures, thorough=False)
        points = [points_of(p, f[0]) if f else None for p, f in zip(pictures, found, strict=True)]
    else:
        points = [framing] * len(pictures)
    stored, matrices, names = [], [], []
    for picture, keypoints, number in zip(pictures, points, kept, strict=True):
        if keypoints is None:
            problems.append({"file": name_of(items[number]), "reason": "no face found"})
            continue
        base = to_template(picture, keypoints, teacher.template, teacher.side)
        picture, base = store(picture, base, teacher.side)
        stored.append(picture)
        matrices.append(base)
        names.append(name_of(items[number]))
    raw = ask_teacher(stored, matrices, teacher)  # (n, J, 128)
    write_problems(target.with_name(f"{target.stem}_problems.csv"), problems)
    if not stored:
        return
    with whole(target.with_suffix(".npy")) as unfinished:
        np.save(unfinished, np.stack(stored))
    with whole(target) as unfinished:  # written last: a part without it is made again
        np.savez(unfinished, matrices=np.array(matrices, np.float32), raw=raw, names=np.array(names))


def ask_teacher(stored: list[np.ndarray], matrices: list, teacher: Teacher, pictures: int = 128) -> np.ndarray:
    """The teacher's raw numbers for all looks at all pictures: (n, J, 128) float32."""
    raw = []
    for start in range(0, len(stored), pictures):
        some = zip(stored[start : start + pictures], matrices[start : start + pictures], strict=True)
        zooms = [zoom_matrix(teacher.side, zoom) for zoom in LOOKS]
        crops = [cut(picture, compose(z, m), teacher.side, teacher.side) for picture, m in some for z in zooms]
        raw.append(teacher.raw(np.stack(crops)).reshape(-1, len(LOOKS), teacher.kernel.shape[1]))
    return np.concatenate(raw) if raw else np.empty((0, 0, 0), np.float32)


def write_problems(file: Path, problems: list[dict]) -> None:
    """Write the table of the pictures of a part that could not be used, if there are any."""
    if problems:
        with file.open("w", newline="", encoding="utf-8") as table:
            writer = csv.DictWriter(table, ["file", "reason"])
            writer.writeheader()
            writer.writerows(problems)


class Prepared:
    """The pictures of prepared parts, numbered consecutively.

    Args:
        folder: The folder that ``prepare`` wrote into.
        parts: The names of its parts, for example ``"celeba_faces_00003"``.

    Attributes:
        matrices: From each stored picture to the teacher's crop, (n, 2, 3).
        starts: The number of each part's first picture, and n at the end, (parts + 1,).

    Raises:
        BadArgument: If a part has not been prepared, or none is asked for.
    """

    def __init__(self, folder: Path, parts: Sequence[str]):
        missing = [part for part in parts if not (folder / f"{part}.npz").exists()]
        if missing or not parts:
            raise BadArgument(f"{folder} lacks {', '.join(missing) or 'any part that was asked for'}: prepare it first")
        self.folder, self.parts = folder, tuple(parts)
        self.pictures = [np.load(folder / f"{part}.npy", mmap_mode="r") for part in parts]
        self.matrices = self._read("matrices")
        self.starts = np.cumsum([0, *(len(p) for p in self.pictures)])

    def _read(self, what: str) -> np.ndarray:
        """One of the arrays of all parts."""
        return np.concatenate([np.load(self.folder / f"{part}.npz")[what] for part in self.parts])

    @cached_property
    def raw(self) -> np.ndarray:
        """The teacher's raw numbers for its J looks, (n, J, 128)."""
        return self._read("raw")

    @cached_property
    def names(self) -> np.ndarray:
        """``part/file`` of each picture, (n,)."""
        parts = np.repeat(self.parts, np.diff(self.starts))
        return np.array([f"{part}/{name}" for part, name in zip(parts, self._read("names"), strict=True)])

    def __len__(self) -> int:
        return len(self.matrices)

    def __reduce__(self) -> tuple:
        """Another process opens the same files, and reads only what it uses."""
        return type(self), (self.folder, self.parts)

    def picture(self, number: int) -> np.ndarray:
        """A stored picture, (128, 128, 3)."""
        part = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.pictures[part][number - self.starts[part]]

    def held_out(self, every: int) -> np.ndarray:
        """Which pictures are only measured, (n,) bool: one in ``every`` of each part, so other parts change nothing."""
        row = np.arange(len(self)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        return row % every == 0


def people_of(names: Sequence[str], labelled: Sequence[str]) -> np.ndarray:
    """Who is shown, (n,) str: in labelled folders the file's name up to its first ``_``; elsewhere all different.

    Args:
        names: (n,), ``part/file``, as in :class:`Prepared`.
        labelled: Folders whose files are called ``<person>_<picture>``.

    Example:
        >>> people_of(["a_00000/7_1.jpg", "a_00001/7_2.jpg", "b_00000/7_1.jpg"], ["a"]).tolist()
        ['a/7', 'a/7', 'b_00000/7_1.jpg']
    """
    people = []
    for name in names:
        part, _, file = name.partition("/")
        folder = part.rpartition("_")[0]
        people.append(f"{folder}/{file.partition('_')[0]}" if folder in labelled else name)
    return np.array(people)


def share_targets(encodings: np.ndarray, people: np.ndarray, share: float, near: float = THRESHOLD) -> np.ndarray:
    """The targets of the student: encodings, moved towards the mean of the person's pictures.

    A picture that is far from the person's others is probably mislabelled: it keeps its encoding and does not count in
    the mean.

    Args:
        encodings: The teacher's, (n, D), unit length.
        people: Who is shown, (n,).
        share: 0 leaves the encodings as they are; with 1 all pictures of a person have one target.
        near: Pictures at this distance or farther from the mean of the person's other pictures count as mislabelled.

    Returns:
        (n, D), unit length.
    """
    _, person, count = np.unique(people, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), encodings.shape[1]))
    np.add.at(sums, person, encodings)
    others = sums[person] - encodings
    good = (count[person] > 1) & (np.linalg.norm(others, axis=1) > 1e-6)
    good[good] = np.linalg.norm(unit_length(others[good]) - encodings[good], axis=1) < near
    sums[:] = 0
    np.add.at(sums, person[good], encodings[good])
    targets = encodings.copy()
    targets[good] = unit_length((1 - share) * encodings[good] + share * unit_length(sums[person[good]]))
    return targets


def parts_of(folder: Path, names: Sequence[str] | None) -> list[str]:
    """The prepared parts of the named folders (None: of all), in a fixed order.

    Raises:
        BadArgument: If nothing of a named folder is prepared.
    """
    parts = sorted(file.stem for file in folder.glob("*_[0-9][0-9][0-9][0-9][0-9].npz"))
    for name in names or ():
        if not any(part.rpartition("_")[0] == name for part in parts):
            raise BadArgument(f"{folder} holds nothing of {name!r}; prepare it first")
    return [part for part in parts if names is None or part.rpartition("_")[0] in names]
