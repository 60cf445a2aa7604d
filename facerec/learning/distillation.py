"""Distillation: a small network learns the encodings of a large one, from faces without labels.

    crop ──────────────────────► teacher ─► encoding ─┐
                                                      ├─ squared distance ─► the student's step
    crop ──degrade──► student ─────────────► encoding ┘

The student sees the teacher's crops as bad photographs, so it learns to encode them as if they were good ones. A
training is a pure function of its ``Config``: it can be killed at any step and resumed.

Source: Hinton et al., "Distilling the knowledge in a neural network", 2015; Loshchilov and Hutter, "Decoupled weight
decay regularization", 2019 (AdamW).
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.errors import BadArgument
from facerec.learning.augmentation import degrade
from facerec.learning.checkpoints import Log, load_checkpoint, precision, save_checkpoint
from facerec.learning.crops import Prepared, Teacher, cut
from inception_blocks_v2 import faceRecoModel

with quietly():
    import keras
    from keras import layers, ops


@dataclass(frozen=True)
class Config:
    """Everything that a training depends on; the same configuration gives the same network.

    Attributes:
        parts: The prepared parts to learn from.
        side: S, the student's side, in pixels.
        steps: Batches until the learning rate is zero. This entry alone may change when a training resumes; the rate
            then follows the new curve, and the result is no longer that of one command.
        batch: Crops per batch.
        rate: The highest learning rate.
        warmup: Steps until it is reached.
        decay: AdamW's weight decay.
        average: Momentum of the moving average of the weights.
        harsh: How bad the photographs are (see ``degrade``).
        validation: How many pictures are held out.
        precision: Keras' dtype policy: ``float32`` or ``mixed_bfloat16``.
        seed: Seed of the first weights, the order and the degradation.
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
    """The crops of each step, a pure function of the seed and the step.

    Args:
        data: The prepared pictures.
        teacher: Gives the encodings to learn, and the side of its crops.
        config: The seed, the sizes and the degradation.

    Raises:
        BadArgument: If no picture is left to learn from.
    """

    def __init__(self, data: Prepared, teacher: Teacher, config: Config):
        self.data, self.config, self.teacher_side = data, config, teacher.side
        self.encodings = teacher.encodings(data.raw)  # (n, J, 128)
        order = np.random.default_rng([config.seed, 1]).permutation(len(data))
        self.held_out, self.learned = np.split(order, [config.validation])
        if len(self.learned) < 1:
            raise BadArgument(f"{len(data)} pictures, of which {config.validation} are held out: none to learn from")

    def numbers(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of a step, and which crop of each: (B,) and (B,)."""
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
        """The degraded crops of a step, (B, S, S, 3) float32, and the teacher's encodings, (B, 128)."""
        pictures, which = self.numbers(step)
        rng = np.random.default_rng([self.config.seed, 3, step])
        faces = [degrade(self.crop(p, j), rng, self.config.harsh) for p, j in zip(pictures, which, strict=True)]
        return np.stack(faces).astype(np.float32), self.encodings[pictures, which]

    def crop(self, picture: int, which: int = 0) -> np.ndarray:
        """The student's view of one crop, (S, S, 3) uint8."""
        matrix = self.data.matrices[picture, which]
        return cut(self.data.picture(picture), matrix, self.config.side, self.teacher_side)

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """The held-out pictures, neither jittered nor degraded, and the teacher's encodings."""
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
            except BaseException as error:  # raised where the batch is used
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
    """Keras' batch normalisation by TensorFlow's fused operation in training, which takes half the time on a CPU.

    It has the weights of ``BatchNormalization``, so it can be folded; on other backends it is ``BatchNormalization``.
    """

    def call(self, x, training=None, mask=None):
        """Normalise x, (m, H, W, C)."""
        if not training or keras.backend.backend() != "tensorflow" or len(x.shape) != 4:
            return super().call(x, training=training, mask=mask)
        from tensorflow import compat

        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        y, mean, variance, *_ = compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=self.epsilon)
        for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + now * (1 - self.momentum))
        return y


def build_student(config: Config, network: Callable[..., keras.Model] = faceRecoModel) -> keras.Model:
    """Build the student, ready to train: fast batch normalisation, AdamW, squared distance to the teacher."""
    keras.utils.set_random_seed(config.seed)
    with precision(config.precision):
        model = network(input_shape=(config.side, config.side, 3))
        model = keras.models.clone_model(model, clone_function=with_fused_batch_norm)
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
    """Whether Keras may compile the step with XLA: with TensorFlow on a CPU that is slower."""
    if keras.backend.backend() != "tensorflow":
        return "auto"
    from tensorflow import config

    return "auto" if config.list_physical_devices("GPU") else False


def with_fused_batch_norm(layer: layers.Layer) -> layers.Layer:
    """Copy a layer; batch normalisation becomes ``FusedBatchNormalization``."""
    kind = FusedBatchNormalization if type(layer) is layers.BatchNormalization else type(layer)
    return kind.from_config(layer.get_config())


def squared_distance(taught, seen):
    """The squared Euclidean distance of unit encodings, 2 − 2·cosine: (m, 128), (m, 128) → (m,)."""
    return ops.sum(ops.square(taught - seen), axis=-1)


def averaged_weights(model: keras.Model) -> list[np.ndarray]:
    """All weights of a model, the trainable ones as their moving averages; the model does not change."""
    now = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    averaged = model.get_weights()
    for variable, value in zip(model.trainable_variables, now, strict=True):
        variable.assign(value)
    return averaged


def mean_cosine(model: keras.Model, weights: list[np.ndarray], faces: np.ndarray, taught: np.ndarray) -> float:
    """The mean cosine between student (with these weights) and teacher on faces (m, S, S, 3); 1 is perfect."""
    own = model.get_weights()
    model.set_weights(weights)
    batches = (slice(i, i + 64) for i in range(0, len(faces), 64))
    seen = np.concatenate([model.predict_on_batch(faces[batch]) for batch in batches])
    model.set_weights(own)
    return float((seen * taught).sum(axis=1).mean())


#: The columns of ``log.csv``.
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
    """Train the student, or resume where the training stopped.

    Args:
        data: The prepared pictures of ``config.parts``.
        teacher: Gives the encodings to learn.
        config: Everything that the result depends on.
        folder: The folder of the checkpoint and ``log.csv``.
        every: Steps between two checkpoints.
        stop_after: Stop at this step, with a checkpoint; None trains to the end.
        watched: More pictures, never learned from: the log has a column for them.
        network: The function that builds the student from ``input_shape``.

    Returns:
        The student with the averaged weights; its batch normalisation is not folded yet.

    Raises:
        BadArgument: If the folder holds a training with another configuration.
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
