r"""Distil the residual network into the small Inception FaceNet.

    python tools/assets/distill.py prepare --pictures FOLDER [FOLDER ...] --to datasets/distill
    python tools/assets/distill.py train --from datasets/distill --checkpoints checkpoints/distill \
        --stage 64 6000 faces --stage 96 2000 faces generated:20 --cooldown 4000
    python tools/assets/distill.py write --from datasets/distill --checkpoints checkpoints/distill --to build/student

``prepare`` takes folders of pictures, or of the shards of ``tools/assets/make_people.py faces``. It finds the faces and
asks the teacher (``weights/resnet``) for their encodings, in two looks. ``train`` shows the student each face as a bad
photograph, rotated, shifted and mirrored, and moves its encoding towards the teacher's. Both can be killed at any time
and started again: ``prepare`` skips finished parts, ``train`` resumes. A stage that is given a number of parts
(``generated:20``) can be planned before they are prepared.

At the end ``train`` writes the folder of the network, with batch normalisation folded into the convolutions; ``write``
does so for a training that still runs. Calibrate the threshold next, with ``tools/assets/calibrate.py``.

With KERAS_BACKEND=jax it runs on JAX, even without TensorFlow. One thread can't keep a GPU busy; ``--workers 15`` uses
fifteen processes.

Source: see ``facerec/learning/distillation.py``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

#: oneDNN's convolutions do twice as much per second; TensorFlow leaves them off on processors without AVX-512.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

#: Several processes can share a GPU if none of them takes all of its memory at the beginning.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import cv2

from facerec._files import ROOT
from facerec._quiet import quietly
from facerec.detection import KEYPOINTS
from facerec.errors import BadArgument, run
from facerec.learning.checkpoints import FILE, load_checkpoint, read_state
from facerec.learning.crops import Prepared, Teacher, parts_of, prepare
from facerec.learning.distillation import Batches, Stage, StudentPlan, build_student, finished, stage_at, train_student
from facerec.learning.folding import fold_batch_norm
from facerec.networks import THRESHOLD, load_facenet, save_network
from inception_blocks_v2 import faceRecoModel

with quietly():
    import keras


def run_prepare(args: argparse.Namespace) -> None:
    """Run ``prepare``."""
    prepare(args.pictures, args.to, Teacher(load_facenet(args.teacher)), workers=args.workers)


def run_train(args: argparse.Namespace) -> None:
    """Run ``train``."""
    cv2.setNumThreads(1)  # the network needs the cores
    options = {key: getattr(args, key) for key in vars(args) if key in StudentPlan.__dataclass_fields__}
    plan = StudentPlan(stages=tuple(stage_of(words, args.source) for words in args.stage), **options)
    teacher = Teacher(load_facenet(args.teacher))
    print(f"{plan.steps:,} steps of {plan.batch}: {plan.steps * plan.batch:,} crops")
    when = args.every, args.stop_after
    train_student(args.source, teacher, plan, args.checkpoints, *when, faceRecoModel, workers=args.workers)
    if not args.stop_after or args.stop_after >= plan.steps:
        write(args.source, teacher, args.checkpoints, args.to, args.name, faceRecoModel)


def stage_of(words: Sequence[str], source: Path) -> Stage:
    """A stage as the command line gives it: side, steps and folders, or ``folder:n`` for the first n parts of one."""
    side, steps, *folders = words
    if not (side.isdecimal() and steps.isdecimal() and folders):
        raise BadArgument(f"--stage {' '.join(words)}: expected side, steps and folders, for example 64 3000 faces")
    parts: list[str] = []
    for folder in folders:
        name, _, count = folder.partition(":")
        numbered = [f"{name}_{number:05d}" for number in range(int(count or 0))]
        parts += numbered or parts_of(source, [name])
    return Stage(int(side), int(steps), tuple(parts))


def run_write(args: argparse.Namespace) -> None:
    """Run ``write``."""
    write(args.source, Teacher(load_facenet(args.teacher)), args.checkpoints, args.to, args.name, faceRecoModel)


def write(
    source: Path,
    teacher: Teacher,
    checkpoints: Path,
    to: Path,
    name: str,
    network: Callable[..., keras.Model],
) -> None:
    """Write the student of a checkpoint as the folder of a network, not calibrated yet.

    Args:
        source: The folder of the prepared pictures.
        teacher: The teacher of the training.
        checkpoints: The folder of the checkpoint.
        to: The folder of the network.
        name: The network's name.
        network: The function that built the student.

    Raises:
        BadArgument: If there is no checkpoint, or its pictures are not prepared.
    """
    state = read_state(checkpoints)
    if state is None:
        raise BadArgument(f"{checkpoints} holds no {FILE}: nothing has been trained there yet")
    made_with = {key: value for key, value in state.config.items() if key != "people"}
    stages = tuple(Stage(stage["side"], stage["steps"], tuple(stage["parts"])) for stage in made_with["stages"])
    plan = StudentPlan(**{**made_with, "stages": stages, "labelled": tuple(made_with["labelled"])})
    number = stage_at(plan, state.step)
    model = build_student(plan, plan.stages[number].side, network)
    step = load_checkpoint(model, checkpoints, made_with)
    batches = Batches(Prepared(source, plan.stages[number].parts), teacher, plan, number)
    folded = fold_batch_norm(finished(model, batches, step))
    template = {name: tuple(xy) for name, xy in zip(KEYPOINTS, teacher.template.round(6).tolist(), strict=True)}
    save_network(folded, to, name=name, template=template, threshold=THRESHOLD)
    print(f"{to}: step {step:,} of {plan.steps:,}, {folded.count_params():,} parameters, batch normalisation folded")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("prepare", help="find faces and ask the teacher")
    second = commands.add_parser("train", help="train the student, or resume")
    third = commands.add_parser("write", help="write the network of a training that still runs")
    first.set_defaults(run=run_prepare)
    first.add_argument("--pictures", type=Path, nargs="+", required=True, help="folders of pictures or shards")
    first.add_argument("--to", type=Path, default=ROOT / "datasets" / "distill")
    second.set_defaults(run=run_train)
    second.add_argument(
        "--stage",
        nargs="+",
        action="append",
        required=True,
        metavar="WORD",
        help="side, steps and folders (folder:n for its first n parts); repeat it for the next stage",
    )
    second.add_argument("--to", type=Path, default=ROOT / "keras-facenet-h5")
    second.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    second.add_argument("--stop-after", type=int, help="stop at this step, to resume later")
    second.add_argument("--precision", default=StudentPlan.precision, choices=["float32", "mixed_bfloat16"])
    second.add_argument("--labelled", nargs="+", default=(), help="folders whose files are called <person>_…")
    for key in ("batch", "warmup", "cooldown", "held_out", "seed"):
        second.add_argument(f"--{key.replace('_', '-')}", type=int, default=getattr(StudentPlan, key))
    for key in ("rate", "decay", "average", "relations", "share", "harsh"):
        second.add_argument(f"--{key}", type=float, default=getattr(StudentPlan, key))
    third.set_defaults(run=run_write)
    third.add_argument("--to", type=Path, default=ROOT / "build" / "student")
    for command in (second, third):
        command.add_argument("--from", dest="source", type=Path, default=ROOT / "datasets" / "distill")
        command.add_argument("--checkpoints", type=Path, required=True, help="folder of the checkpoint and the log")
        command.add_argument("--name", default="Inception FaceNet")
    for command, what in ((first, "parts"), (second, "batches")):
        command.add_argument("--workers", type=int, default=0, help=f"processes that make the {what}, for a GPU")
    for command in (first, second, third):
        command.add_argument("--teacher", default="weights/resnet")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parse(argv)
    args.run(args)


if __name__ == "__main__":
    run(main)
