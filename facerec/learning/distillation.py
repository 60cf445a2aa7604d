"""TODO facerec.learning.distillation."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import queue
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from facerec._files import whole, write_json
from facerec._quiet import quietly
from facerec.detection import KEYPOINTS, detect_faces_batch, similarity_transform, warp
from facerec.errors import BadArgument, FaceError
from facerec.learning.augmentation import degrade
from facerec.learning.checkpoints import Log, load_checkpoint, save_checkpoint
from facerec.networks import info_of
from facerec.photos import PICTURE_ENDINGS, load_image
from inception_blocks_v2 import faceRecoModel

with quietly():
    import keras
    from keras import layers, ops


#: Pictures are kept in this size; a larger one is first cut down to its face and what surrounds it.
STORED_SIDE = 128


#: How much more than the teacher's crop is kept of such a picture: room for the jitter.
MARGIN = 1.3


#: Pictures per prepared part.
PART = 1000


#: Up to this spread of the keypoints (90th percentile, as a share of the eyes' distance) faces count as framed
#: alike, and the medians serve for all of them.
FIXED_SPREAD = 0.12


def list_pictures(folder: Path) -> list[tuple[Path, int | None]]:
    """What a folder holds, in a fixed order: (file, None) for pictures, (shard, row) for shards."""
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
    """One picture, (H, W, 3) uint8 RGB."""
    file, row = item
    return load_image(file) if row is None else np.array(np.load(file, mmap_mode="r")[row])


def name_of(item: tuple[Path, int | None]) -> str:
    """What reports call a picture: its file, and its row in a shard."""
    file, row = item
    return file.name if row is None else f"{file.name}[{row}]"


def read_all(items: Sequence[tuple[Path, int | None]]) -> tuple[list[np.ndarray], list[int], list[dict]]:
    """The pictures that can be opened, their numbers in ``items``, and a row per picture that can't."""
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
    """The keypoints' medians (5, 2), as fractions of the picture, or None where faces sit anywhere."""
    found = [(p, f[0]) for p, f in zip(pictures, detect_faces_batch(pictures), strict=True) if f]
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
    """Bring a picture to (STORED_SIDE, STORED_SIDE, 3): a small one is padded, a large one cut around the face.

    Args:
        picture: (H, W, 3).
        matrix: (2, 3), from the picture's pixels to the teacher's crop.
        side: The crop's side in pixels.

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
    """The matrix (2, 3) that does ``first`` and then ``second``."""
    return second @ np.vstack([first, [0, 0, 1]])


def jitter_matrix(rng: np.random.Generator, side: int, degrees: float = 7.0, share: float = 0.07) -> np.ndarray:
    """A random turn, scale, shift and, half of the time, mirroring of a crop of ``side`` pixels, as (2, 3)."""
    angle = np.radians(rng.uniform(-degrees, degrees))
    scale = 1 + rng.uniform(-share, share)
    shift = rng.uniform(-share, share, 2) * side
    mirror = -1 if rng.random() < 0.5 else 1
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([mirror, 1])
    centre = np.array([(side - 1) / 2, (side - 1) / 2])
    return np.column_stack([turn, centre - turn @ centre + shift])


def cut(stored: np.ndarray, matrix: np.ndarray, side: int, teacher_side: int) -> np.ndarray:
    """The crop that a network of ``side`` pixels sees: the teacher's, in its own size.

    Args:
        stored: The picture, (STORED_SIDE, STORED_SIDE, 3).
        matrix: (2, 3), from the stored picture to the teacher's crop.
        side: The side of the crop that is wanted.
        teacher_side: The side of the teacher's crop.

    Returns:
        (side, side, 3) uint8.
    """
    return warp(stored, matrix * (side / teacher_side), side)


class Teacher:
    """The residual network, up to its numbers before centring: those stay the same when it is recalibrated."""

    def __init__(self, model: keras.Model):
        info = info_of(model)
        self.side = info.side
        self.template = np.array([info.template[name] for name in KEYPOINTS])  # (5, 2), fractions
        centred = model.get_layer("centred")
        self.kernel, self.bias = (ops.convert_to_numpy(w) for w in (centred.kernel, centred.bias))
        self._before = keras.Model(model.input, centred.input)

    @property
    def fingerprint(self) -> str:
        """Tells apart teachers whose numbers differ."""
        return hashlib.sha256(self.kernel.tobytes() + np.round(self.template, 5).tobytes()).hexdigest()[:16]

    def raw(self, faces: np.ndarray, batch: int = 64) -> np.ndarray:
        """The numbers before centring: faces (m, S, S, 3) uint8 → (m, 128) float32."""
        rest = -len(faces) % batch  # a last batch of another size would be compiled anew
        faces = np.concatenate([faces, np.zeros((rest, *faces.shape[1:]), faces.dtype)])
        features = [self._before.predict_on_batch(faces[i : i + batch]) for i in range(0, len(faces), batch)]
        return (np.concatenate(features) @ self.kernel)[: len(faces) - rest]

    def encodings(self, raw: np.ndarray) -> np.ndarray:
        """Centred as the teacher is now, and of unit length: (…, 128) → (…, 128)."""
        centred = raw + self.bias
        return centred / np.linalg.norm(centred, axis=-1, keepdims=True)


def prepare(
    folders: Sequence[Path], to: Path, teacher: Teacher, jitters: int = 4, seed: int = 1, part: int = PART
) -> None:
    """Write pictures, crops and what the teacher sees in them, in parts; parts that are there are skipped.

    A folder ``faces`` becomes ``faces.json`` (where its faces sit), ``faces_00000.npy`` (n, 128, 128, 3),
    ``faces_00000.npz`` (matrices (n, J, 2, 3) and the teacher's raw numbers (n, J, 128)), and so on. What
    could not be used stands in ``faces_problems.csv``.

    Args:
        folders: Folders of pictures, or of shards (n, H, W, 3) uint8.
        to: Where to.
        teacher: Who looks at the crops.
        jitters: J, crops per picture; the first one is not jittered.
        seed: Of the jitter. Part by part, the same seed gives the same crops.
        part: Pictures per part.
    """
    to.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        items = list_pictures(folder)
        framing = load_framing(items, to / f"{folder.name}.json", teacher, jitters, seed)
        starts = range(0, len(items), part)
        for number, start in enumerate(tqdm(starts, desc=folder.name, unit="part")):
            target = to / f"{folder.name}_{number:05d}.npz"
            if target.exists():
                continue
            rng = np.random.default_rng([seed, zlib.crc32(folder.name.encode()), number])
            prepare_part(items[start : start + part], target, framing, teacher, jitters, rng)


def load_framing(items: list, file: Path, teacher: Teacher, jitters: int, seed: int) -> np.ndarray | None:
    """Where the faces of a folder sit; found in a sample of 100 the first time, then read from ``file``."""
    made_with = {"teacher": teacher.fingerprint, "jitters": jitters, "seed": seed}
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


def prepare_part(items, target: Path, framing, teacher: Teacher, jitters: int, rng: np.random.Generator) -> None:
    """One part: read, find the faces, cut the crops, ask the teacher, and write it all."""
    pictures, kept, problems = read_all(items)
    if framing is None:
        found = detect_faces_batch(pictures)
        points = [points_of(p, f[0]) if f else None for p, f in zip(pictures, found, strict=True)]
    else:
        points = [framing] * len(pictures)
    stored, matrices = [], []
    for picture, keypoints, number in zip(pictures, points, kept, strict=True):
        if keypoints is None:
            problems.append({"file": name_of(items[number]), "reason": "no face found"})
            continue
        base = to_template(picture, keypoints, teacher.template, teacher.side)
        picture, base = store(picture, base, teacher.side)
        turns = [compose(jitter_matrix(rng, teacher.side), base) for _ in range(jitters - 1)]
        stored.append(picture)
        matrices.append([base, *turns])
    raw = ask_teacher(stored, matrices, teacher)  # (n, J, 128)
    write_problems(target.with_name(f"{target.stem.rpartition('_')[0]}_problems.csv"), problems)
    if not stored:
        return
    with whole(target.with_suffix(".npy")) as unfinished:
        np.save(unfinished, np.stack(stored))
    with whole(target) as unfinished:  # the last: a part without it is made again
        np.savez(unfinished, matrices=np.array(matrices, np.float32), raw=raw)


def ask_teacher(stored: list[np.ndarray], matrices: list, teacher: Teacher, pictures: int = 128) -> np.ndarray:
    """What the teacher sees in all crops of all pictures: (n, J, 128) float32."""
    raw = []
    for start in range(0, len(stored), pictures):
        some = zip(stored[start : start + pictures], matrices[start : start + pictures], strict=True)
        crops = [cut(picture, m, teacher.side, teacher.side) for picture, ms in some for m in ms]
        raw.append(teacher.raw(np.stack(crops)).reshape(-1, len(matrices[0]), teacher.kernel.shape[1]))
    return np.concatenate(raw) if raw else np.empty((0, 0, 0), np.float32)


def write_problems(file: Path, problems: list[dict]) -> None:
    """Add rows to the table of pictures that could not be used."""
    if problems:
        new = not file.exists()
        with file.open("a", newline="", encoding="utf-8") as table:
            writer = csv.DictWriter(table, ["file", "reason"])
            if new:
                writer.writeheader()
            writer.writerows(problems)


class Prepared:
    """The pictures of some prepared folders, numbered through.

    Args:
        folder: Where ``prepare`` wrote to.
        parts: The names of its parts, such as ``"celeba_faces_00003"``.
    """

    def __init__(self, folder: Path, parts: Sequence[str]):
        if not parts:
            raise BadArgument(f"{folder} holds no prepared pictures of the folders asked for")
        self.pictures = [np.load(folder / f"{part}.npy", mmap_mode="r") for part in parts]
        arrays = [np.load(folder / f"{part}.npz") for part in parts]
        self.matrices = np.concatenate([a["matrices"] for a in arrays])  # (n, J, 2, 3)
        self.raw = np.concatenate([a["raw"] for a in arrays])  # (n, J, 128)
        self.starts = np.cumsum([0, *(len(p) for p in self.pictures)])

    def __len__(self) -> int:
        return len(self.raw)

    def picture(self, number: int) -> np.ndarray:
        """Stored picture (128, 128, 3)."""
        part = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self.pictures[part][number - self.starts[part]]


def parts_of(folder: Path, names: Sequence[str] | None) -> list[str]:
    """The parts that are prepared of the named folders (of all, if None), in a fixed order."""
    parts = sorted(file.stem for file in folder.glob("*_[0-9][0-9][0-9][0-9][0-9].npz"))
    for name in names or ():
        if not any(part.rpartition("_")[0] == name for part in parts):
            raise BadArgument(f"{folder} holds nothing of {name!r}; prepare it first")
    return [part for part in parts if names is None or part.rpartition("_")[0] in names]


@dataclass(frozen=True)
class Config:
    """All that a training depends on; the same configuration gives the same network.

    Attributes:
        parts: The prepared parts that are learned from.
        side: The student's side S in pixels.
        steps: Batches until the learning rate is zero. The one entry that may change when a training goes on; the
            rate then follows the new curve from there, and the network is no longer that of one command.
        batch: Crops per batch.
        rate: The highest learning rate.
        warmup: Steps until it is reached.
        decay: AdamW's weight decay.
        average: Momentum of the moving average of the weights.
        harsh: How bad the photographs are, see ``degrade``.
        validation: How many pictures are held out.
        precision: Keras' dtype policy: ``float32`` or ``mixed_bfloat16``.
        seed: Of the first weights, the order and the damage.
    """

    parts: tuple[str, ...]
    side: int = 96
    steps: int = 3000
    batch: int = 128
    rate: float = 2e-3
    warmup: int = 100
    decay: float = 1e-4
    average: float = 0.99
    harsh: float = 1.0
    validation: int = 512
    precision: str = "float32"
    seed: int = 1


class Batches:
    """The crops of each step, as a pure function of the seed and the step.

    Args:
        data: The prepared pictures.
        teacher: Gives the encodings to learn, and the side of its crops.
        config: The seed, the sizes, the damage.
    """

    def __init__(self, data: Prepared, teacher: Teacher, config: Config):
        self.data, self.config, self.teacher_side = data, config, teacher.side
        self.encodings = teacher.encodings(data.raw)  # (n, J, 128)
        order = np.random.default_rng([config.seed, 1]).permutation(len(data))
        self.held_out, self.learned = np.split(order, [config.validation])
        if len(self.learned) < 1:
            raise BadArgument(f"{len(data)} pictures, of which {config.validation} are held out: none to learn from")

    def numbers(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Which pictures, and which crop of each, a step shows: (B,) and (B,)."""
        n, crops = len(self.learned), self.encodings.shape[1]
        at = np.arange(step * self.config.batch, (step + 1) * self.config.batch)
        rounds, rows = at // n, at % n
        pictures, which = np.empty(len(at), int), np.empty(len(at), int)
        for number in np.unique(rounds):
            here = rounds == number
            pictures[here] = np.random.default_rng([self.config.seed, 2, number]).permutation(self.learned)[rows[here]]
            which[here] = (pictures[here] + number) % crops  # each round shows another crop of each picture
        return pictures, which

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The crops of a step, damaged, (B, S, S, 3) float32, and the teacher's encodings, (B, 128)."""
        pictures, which = self.numbers(step)
        rng = np.random.default_rng([self.config.seed, 3, step])
        faces = [degrade(self.crop(p, j), rng, self.config.harsh) for p, j in zip(pictures, which, strict=True)]
        return np.stack(faces).astype(np.float32), self.encodings[pictures, which]

    def crop(self, picture: int, which: int = 0) -> np.ndarray:
        """The student's view of one crop, (S, S, 3) uint8."""
        matrix = self.data.matrices[picture, which]
        return cut(self.data.picture(picture), matrix, self.config.side, self.teacher_side)

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """The held-out pictures, not jittered and not damaged, and their encodings."""
        faces = np.stack([self.crop(picture) for picture in self.held_out])
        return faces.astype(np.float32), self.encodings[self.held_out, 0]

    def from_step(self, first: int, last: int, ahead: int = 4) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of steps ``first`` … ``last`` − 1, made in a thread while the network computes."""
        ready: queue.Queue = queue.Queue(ahead)
        stop = threading.Event()

        def put(item) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    ready.put(item, timeout=0.5)
                    return

        def work() -> None:
            try:
                for step in range(first, last):
                    if stop.is_set():
                        return
                    put(self.batch(step))
            except BaseException as error:  # what goes wrong in the thread is raised where the batch is used
                put(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            for _ in range(first, last):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()


@keras.saving.register_keras_serializable("distill")
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' batch normalisation, in training by TensorFlow's fused operation: half the time on a CPU.

    On other backends it is ``BatchNormalization``. It has the same weights, so that it can be folded.
    """

    def call(self, x, training=None, mask=None):
        """As ``BatchNormalization``, for (m, H, W, C)."""
        if not training or keras.backend.backend() != "tensorflow" or len(x.shape) != 4:
            return super().call(x, training=training, mask=mask)
        from tensorflow import compat

        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        y, mean, variance, *_ = compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return y


def build_student(config: Config, network: Callable[..., keras.Model] = faceRecoModel) -> keras.Model:
    """The student, ready to be trained: fast batch normalisation, AdamW, squared distance to the teacher."""
    keras.utils.set_random_seed(config.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        model = network(input_shape=(config.side, config.side, 3))
        model = keras.models.clone_model(model, clone_function=with_fused_batch_norm)
    finally:
        keras.config.set_dtype_policy(before)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, config.steps - config.warmup, warmup_target=config.rate, warmup_steps=config.warmup
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=config.decay, global_clipnorm=1.0, use_ema=True, ema_momentum=config.average
    )
    model.compile(optimizer, loss=squared_distance, jit_compile=xla())
    optimizer.build(model.trainable_variables)
    return model


def xla() -> str | bool:
    """Whether Keras may compile the whole step with XLA: TensorFlow's is slower than plain on a CPU."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    from tensorflow import config

    return "auto" if config.list_physical_devices("GPU") else False


def with_fused_batch_norm(layer: layers.Layer) -> layers.Layer:
    """A copy of a layer; batch normalisation comes back as ``FusedBatchNormalization``."""
    kind = FusedBatchNormalization if type(layer) is layers.BatchNormalization else type(layer)
    return kind.from_config(layer.get_config())


def squared_distance(taught, seen):
    """The squared Euclidean distance of unit encodings, 2 − 2·cosine: (m, 128), (m, 128) → (m,)."""
    return ops.sum(ops.square(taught - seen), axis=-1)


def averaged_weights(model: keras.Model) -> list[np.ndarray]:
    """All weights of the model, the trainable ones as their moving averages; the model stays as it is."""
    now = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    averaged = model.get_weights()
    for variable, value in zip(model.trainable_variables, now, strict=True):
        variable.assign(value)
    return averaged


def mean_cosine(model: keras.Model, weights: list[np.ndarray], faces: np.ndarray, taught: np.ndarray) -> float:
    """How near the student with these weights comes to the teacher on (m, S, S, 3) faces; 1 is there."""
    own = model.get_weights()
    model.set_weights(weights)
    batches = (slice(i, i + 64) for i in range(0, len(faces), 64))
    seen = np.concatenate([model.predict_on_batch(faces[batch]) for batch in batches])
    model.set_weights(own)
    return float((seen * taught).sum(axis=1).mean())


#: The columns of the curve.
CURVE = ("step", "pictures", "loss", "rate", "cosine", "watched_cosine")


def train(
    data: Prepared,
    teacher: Teacher,
    config: Config,
    folder: Path,
    every: int = 200,
    stop_after: int | None = None,
    watched: Prepared | None = None,
    network: Callable[..., keras.Model] = faceRecoModel,
) -> keras.Model:
    """Train the student, or go on where it was stopped.

    Args:
        data: The prepared pictures of ``config.parts``.
        teacher: Gives the encodings to learn.
        config: All that the result depends on.
        folder: Of the checkpoint and the log.
        every: Steps between two checkpoints.
        stop_after: Stop at this step, with a checkpoint; None goes on to the end.
        watched: Further pictures, never learned from: the log says how well the student does on them.
        network: What builds the student.

    Returns:
        The student with the averaged weights, batch normalisation not folded yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batches = Batches(data, teacher, config)
    model = build_student(config, network)
    first = load_checkpoint(model, folder, asdict(config), may_differ=["steps"])
    last = min(config.steps, stop_after or config.steps)
    log = Log(folder / "log.csv", CURVE)
    log.cut_after(first)
    sets = {"cosine": batches.validation()}
    if watched is not None:
        others = Config(parts=(), side=config.side, validation=min(512, len(watched) - 1), seed=config.seed)
        sets["watched_cosine"] = Batches(watched, teacher, others).validation()
    losses: list[float] = []
    steps = range(first + 1, last + 1)
    with tqdm(total=config.steps, initial=first, desc="distilling", unit="step", mininterval=2) as bar:
        for step, (faces, taught) in zip(steps, batches.from_step(first, last), strict=True):
            losses.append(float(np.asarray(model.train_on_batch(faces, taught))))
            model.reset_metrics()
            bar.update()
            if step % every == 0 or step == last:
                weights = averaged_weights(model)
                cosines = {name: round(mean_cosine(model, weights, *pair), 5) for name, pair in sets.items()}
                rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
                loss = round(float(np.mean(losses)), 6)
                log.add(step=step, pictures=step * config.batch, loss=loss, rate=f"{rate:.3g}", **cosines)
                save_checkpoint(model, folder, step, asdict(config))
                bar.set_postfix(loss=loss, **cosines)
                losses.clear()
    model.set_weights(averaged_weights(model))
    return model
