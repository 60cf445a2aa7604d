"""Distillation: a small network learns the encodings of a large one, and the distances among them.

    crop, aligned ────────────────────────► teacher ─► targets ─┐
                                                                ├─ squared distance + relations ─► the student's step
    crop ──jitter──mirror──degrade──► student ─────► encodings ─┘

The teacher sees each face well, the student sees a bad photograph of it and learns the encoding of the good one. Small
faces come first: the network ends in global pooling, so that its weights fit any side, and a face of 64 pixels costs
less than half of one of 96. A training is a pure function of its plan: it can be killed at any step and resumed.

Source: Hinton et al., "Distilling the knowledge in a neural network", 2015; Park et al., "Relational knowledge
distillation", 2019; Loshchilov and Hutter, "Decoupled weight decay regularization", 2019 (AdamW).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.errors import BadArgument
from facerec.learning.augmentation import degrade
from facerec.learning.checkpoints import (
    Log,
    alone_in,
    check_config,
    fingerprint,
    load_checkpoint,
    precision,
    read_config,
    save_checkpoint,
)
from facerec.learning.crops import (
    Prepared,
    Teacher,
    compose,
    cut,
    jitter_matrix,
    people_of,
    share_targets,
)
from facerec.learning.prefetch import in_order
from inception_blocks_v2 import faceRecoModel

with quietly():
    import keras
    from keras import layers, ops


@dataclass(frozen=True)
class Stage:
    """A stretch of a training.

    Attributes:
        side: S, the side of the student's faces, in pixels.
        steps: The number of batches.
        parts: The prepared parts to learn from.
    """

    side: int
    steps: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class StudentPlan:
    """Everything that a training depends on; the same plan gives the same network.

    Attributes:
        stages: What is shown, one stage after the other.
        batch: Crops per batch.
        rate: The learning rate between warm-up and cool-down.
        warmup: Steps until it is reached.
        cooldown: The last steps, in which the rate falls to 0 along half a cosine. Earlier steps do not depend on how
            many follow: the same beginning serves a short training and a long one.
        decay: AdamW's weight decay of the kernels.
        average: Momentum of the moving average of the weights.
        relations: Weight of the second term of :class:`Distillation`.
        labelled: Folders whose files' names begin with the person (see :func:`people_of`).
        share: How far the targets of a person's pictures move together (see :func:`share_targets`).
        harsh: How bad the photographs are (see :func:`degrade`).
        held_out: One in so many pictures of each part is only measured.
        precision: Keras' dtype policy: ``float32`` or ``mixed_bfloat16``.
        seed: Seed of the first weights, the order, the jitter and the degradation.
    """

    stages: tuple[Stage, ...]
    batch: int = 128
    rate: float = 1.5e-3
    warmup: int = 500
    cooldown: int = 1000
    decay: float = 0.02
    average: float = 0.998
    relations: float = 10.0
    labelled: tuple[str, ...] = ()
    share: float = 0.5
    harsh: float = 0.7
    held_out: int = 40
    precision: str = "float32"
    seed: int = 1

    @property
    def steps(self) -> int:
        """The number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def begin_of(self, stage: int) -> int:
        """The number of steps before a stage."""
        return sum(before.steps for before in self.stages[:stage])


class Batches:
    """The crops of each step of a stage, a pure function of the seed and the step.

    Args:
        data: The prepared pictures of the stage.
        teacher: Gives the encodings to learn, and the side of its crops.
        plan: The seed, the sizes and the degradation.
        stage: The number of the stage.

    Attributes:
        fingerprint: Of the pictures and of what the teacher makes of them.

    Raises:
        BadArgument: If no picture is left to learn from.
    """

    def __init__(self, data: Prepared, teacher: Teacher, plan: StudentPlan, stage: int = 0):
        self.data, self.plan, self.teacher_side = data, plan, teacher.side
        self.stage, self.side, self.first = stage, plan.stages[stage].side, plan.begin_of(stage)
        held_out = data.held_out(plan.held_out)
        self.held_out, self.learned = np.flatnonzero(held_out), np.flatnonzero(~held_out)
        if not len(self.learned):
            raise BadArgument(f"all {len(data)} pictures are held out (one in {plan.held_out}): none to learn from")
        self.encodings = teacher.encodings(data.raw)  # (n, 128)
        people = people_of(data.names[self.learned], plan.labelled)
        self.targets = self.encodings.astype(np.float32)
        self.targets[self.learned] = share_targets(self.encodings[self.learned], people, plan.share)
        self.fingerprint = fingerprint(data.names, data.matrices, data.raw, teacher.kernel, teacher.bias)

    def numbers(self, step: int) -> np.ndarray:
        """The pictures of a step, (B,): each is shown once before any is shown again."""
        n = len(self.learned)
        at = (step - self.first) * self.plan.batch + np.arange(self.plan.batch)
        rounds, rows = at // n, at % n
        pictures = np.empty(len(at), int)
        for number in np.unique(rounds):
            order = shuffled(n, self.plan.seed, self.stage, int(number))
            pictures[rounds == number] = self.learned[order[rows[rounds == number]]]
        return pictures

    def faces(self, step: int) -> np.ndarray:
        """The degraded faces of a step, (B, S, S, 3) uint8."""
        rng = np.random.default_rng([self.plan.seed, 3, step])
        return np.stack([degrade(self.jittered(n, rng), rng, self.plan.harsh) for n in self.numbers(step)])

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The degraded faces of a step, (B, S, S, 3) uint8, and their targets, (B, 128)."""
        return self.faces(step), self.taught(step)

    def taught(self, step: int) -> np.ndarray:
        """The targets of a step, (B, 128)."""
        return self.targets[self.numbers(step)]

    def jittered(self, picture: int, rng: np.random.Generator) -> np.ndarray:
        """A face rotated, scaled, shifted and, half of the time, mirrored: (S, S, 3) uint8."""
        face = self.crop(picture, jitter_matrix(rng, self.teacher_side))
        return np.ascontiguousarray(face[:, ::-1]) if rng.random() < 0.5 else face

    def crop(self, picture: int, jitter: np.ndarray | None = None) -> np.ndarray:
        """The student's view of a face, (S, S, 3) uint8; ``jitter`` (2, 3) moves the teacher's crop first."""
        matrix = self.data.matrices[picture]
        matrix = matrix if jitter is None else compose(jitter, matrix)
        return cut(self.data.picture(picture), matrix, self.side, self.teacher_side)

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """The held-out faces, neither jittered nor degraded, (m, S, S, 3), and the teacher's encodings, (m, 128)."""
        faces = np.stack([self.crop(picture) for picture in self.held_out])
        return faces.astype(np.float32), self.encodings[self.held_out]

    def from_step(self, first: int, last: int, workers: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of steps ``first`` … ``last`` − 1, made while the network computes: in a thread, or in processes.

        They are the same for any number of worker processes.
        """
        steps = range(first, last)
        yield from zip(in_order(self.faces, steps, 1, workers), map(self.taught, steps), strict=True)

    def __getstate__(self) -> dict:
        """What another process needs to make faces: everything but what the student learns of them."""
        return {key: value for key, value in vars(self).items() if key not in ("encodings", "targets")}


@lru_cache(4)
def shuffled(n: int, seed: int, stage: int, number: int) -> np.ndarray:
    """The order in which a stage shows its n pictures in round ``number``, counted from 0: (n,)."""
    return np.random.default_rng([seed, 2, stage, number]).permutation(n)


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


class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step: it rises, stays, and falls to 0 along half a cosine.

    Args:
        plan: ``rate``, ``warmup``, ``cooldown`` and the number of steps.
    """

    def __init__(self, plan: StudentPlan):
        self.plan = plan

    def __call__(self, step):
        """The rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        up = ops.minimum(1.0, (step + 1) / max(1, self.plan.warmup))
        begin = self.plan.steps - self.plan.cooldown
        down = ops.clip((step - begin) / max(1, self.plan.cooldown), 0.0, 1.0)
        return self.plan.rate * up * 0.5 * (1 + ops.cos(np.pi * down))


class Distillation(keras.losses.Loss):
    """The squared distance to the targets, and the squared error of all cosines within the batch.

    Args:
        relations: Weight of the second term, which without it is about a tenth of the first.

    Source:
        Park et al., "Relational knowledge distillation", 2019, section 3.2.1, with cosines for distances.
    """

    def __init__(self, relations: float):
        super().__init__(name="distillation")
        self.relations = relations

    def call(self, taught, seen):
        """The loss of targets and encodings, (m, 128) each and of unit length: (m,)."""
        loss = ops.sum(ops.square(taught - seen), axis=-1)  # 2 − 2·cosine
        if self.relations:
            off = ops.matmul(seen, ops.transpose(seen)) - ops.matmul(taught, ops.transpose(taught))  # (m, m)
            loss += self.relations * ops.mean(ops.square(off), axis=-1)
        return loss


def build_student(
    plan: StudentPlan,
    side: int,
    network: Callable[..., keras.Model] = faceRecoModel,
    loss: Callable[[float], keras.losses.Loss] = Distillation,
) -> keras.Model:
    """Build the student for faces of one side, ready to train; the shapes of its weights do not depend on the side."""
    keras.utils.set_random_seed(plan.seed)
    with precision(plan.precision):
        model = network(input_shape=(side, side, 3))
        model = keras.models.clone_model(model, clone_function=with_fused_batch_norm)
    optimizer = keras.optimizers.AdamW(
        Rate(plan), weight_decay=plan.decay, global_clipnorm=1.0, use_ema=True, ema_momentum=plan.average
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(optimizer, loss=loss(plan.relations), jit_compile=xla())
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


def averaged_weights(model: keras.Model) -> list[np.ndarray]:
    """All weights of a model, the trainable ones as their moving averages; the model does not change."""
    now = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    averaged = model.get_weights()
    for variable, value in zip(model.trainable_variables, now, strict=True):
        variable.assign(value)
    return averaged


def finished(model: keras.Model, batches: Batches, step: int, settling: int = 50) -> keras.Model:
    """Give a student the averaged weights, and measure its batch statistics anew.

    The running statistics belong to the weights of the last steps, not to their average.

    Args:
        model: The student of a training; it changes.
        batches: What it was shown last.
        step: How many steps it has been trained.
        settling: The statistics are the mean over so many batches, those of the last steps.

    Returns:
        The same model; its batch normalisation is not folded yet.
    """
    model.set_weights(averaged_weights(model))
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for number, (faces, _) in enumerate(batches.from_step(max(batches.first, step - settling), step)):
        for norm in norms:
            norm.momentum = number / (number + 1)  # so that all batches count alike
        model(faces, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


def mean_cosine(model: keras.Model, weights: list[np.ndarray], faces: np.ndarray, taught: np.ndarray) -> float:
    """The mean cosine between student (with these weights) and teacher on faces (m, S, S, 3); 1 is perfect."""
    own = model.get_weights()
    model.set_weights(weights)
    batches = (slice(i, i + 64) for i in range(0, len(faces), 64))
    seen = np.concatenate([model.predict_on_batch(faces[batch]) for batch in batches])
    model.set_weights(own)
    return float((seen * taught).sum(axis=1).mean())


#: The columns of ``log.csv``.
CURVE = ("step", "crops", "side", "rate", "loss", "cosine")


def train_student(
    source: Path,
    teacher: Teacher,
    plan: StudentPlan,
    folder: Path,
    every: int = 200,
    stop_after: int | None = None,
    network: Callable[..., keras.Model] = faceRecoModel,
    shown: type[Batches] = Batches,
    loss: Callable[[float], keras.losses.Loss] = Distillation,
    workers: int = 0,
) -> keras.Model:
    """Train the student, or resume where the training stopped.

    Args:
        source: The folder of the prepared pictures.
        teacher: Gives the encodings to learn.
        plan: Everything that the result depends on.
        folder: The folder of the checkpoint and ``log.csv``; for one training at a time.
        every: Steps between two checkpoints.
        stop_after: Stop at this step, with a checkpoint; None trains to the end.
        network: The function that builds the student from ``input_shape``.
        shown: The kind of batches.
        loss: Makes the loss from ``plan.relations``.
        workers: The number of processes that make the batches; 0 makes them in a thread beside the network.

    Returns:
        The student as it learns; :func:`finished` makes it ready to use.

    Raises:
        BadArgument: If the folder holds a training with another configuration or other pictures, one that can't go on
            or one that is running; or if pictures are not prepared.
    """
    log = Log(folder / "log.csv", CURVE)
    last = min(plan.steps, stop_after or plan.steps)
    with alone_in(folder):
        for number in range(stage_at(plan, last) + 1):
            side = plan.stages[number].side
            model = build_student(plan, side, network, loss)  # the checkpoint carries the weights
            done, end = load_checkpoint(model, folder, asdict(plan), log=log), min(last, plan.begin_of(number + 1))
            if done < end:
                batches = shown(Prepared(source, plan.stages[number].parts), teacher, plan, number)
                if done > batches.first:
                    check_config(folder, read_config(folder), {"people": batches.fingerprint})
                train_stage(model, batches, done, end, folder, log, every, workers)
    return model


def stage_at(plan: StudentPlan, step: int) -> int:
    """The number of the stage that step ``step``, counted from 1, belongs to."""
    return max(number for number in range(len(plan.stages)) if plan.begin_of(number) < max(1, step))


def train_stage(
    model: keras.Model, batches: Batches, first: int, last: int, folder: Path, log: Log, every: int, workers: int = 0
) -> None:
    """Train steps ``first`` + 1 … ``last`` of one stage, with a row of the log and a checkpoint every so many steps."""
    plan, validation = batches.plan, batches.validation()
    losses: list[float] = []
    with tqdm(total=plan.steps, initial=first, desc="distilling", unit="step", mininterval=2) as bar:
        for step, batch in enumerate(batches.from_step(first, last, workers), first + 1):
            losses.append(float(np.asarray(model.train_on_batch(*batch))))
            model.reset_metrics()
            bar.update()
            if step % every == 0 or step == last:
                cosine = mean_cosine(model, averaged_weights(model), *validation)
                row = {"loss": round(float(np.mean(losses)), 6), "cosine": round(cosine, 5)}
                rate = f"{float(ops.convert_to_numpy(model.optimizer.learning_rate)):.4g}"
                log.add(step=step, crops=step * plan.batch, side=batches.side, rate=rate, **row)
                save_checkpoint(model, folder, step, {**asdict(plan), "people": batches.fingerprint}, log)
                bar.set_postfix(row)
                losses.clear()
