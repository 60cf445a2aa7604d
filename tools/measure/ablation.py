"""What each choice in the making of the Inception FaceNet contributes: short trainings that differ in one thing each.

    python tools/measure/ablation.py train [TRIAL …]    # all, or some; resumes
    python tools/measure/ablation.py score DIR [TRIAL …]    # → docs/results/ablation.json; the others stay as they were

``datasets/distill`` is what ``tools/assets/distill.py prepare`` made of ``celeba_faces`` and ``utk_faces``; DIR is the
folder of ``tools/measure/lfw.py``.
The baseline is the recipe of the shipped network in small: 400 steps of 128 faces instead of 15,500, all of 64 pixels
and none generated, with a longer warm-up and cool-down for its length and a quicker moving average. All trials are
scored on people-disjoint folds of LFW's ``pairsDevTrain`` as in ``tools/measure/folds.py``; ``pairsDevTest`` is not
opened. Changes are paired with the baseline, over the same drawn people.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

#: As in ``tools/assets/distill.py``; it counts only if it is set before TensorFlow is loaded.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import cv2
import numpy as np

from facerec._files import ROOT, write_json
from facerec._quiet import quietly
from facerec.errors import BadArgument, run
from facerec.learning.crops import Prepared, Teacher, people_of
from facerec.learning.distillation import Batches, Distillation, StudentPlan, build_student, train_student
from facerec.learning.triplets import all_triplets, squared_distances
from facerec.networks import load_facenet
from inception_blocks_v2 import BLOCKS, Inception, faceRecoModel
from tools.assets.distill import stage_of, write
from tools.measure.folds import MEASURES, draws_of, load_people
from tools.measure.steps import interval_of

with quietly():
    from keras import ops

CHECKPOINTS = ROOT / "checkpoints" / "ablation"

STEPS = 400


class OneLook(Teacher):
    """A teacher that sees each face once, aligned, instead of twice."""

    def encodings(self, raw: np.ndarray) -> np.ndarray:
        """The first look as the teacher is calibrated now: (…, J, 128) → (…, 128)."""
        return super().encodings(raw[..., :1, :])


def widened(block: Inception, factor: float) -> Inception:
    """A block with so many times its filters, rounded to whole multiples of 8."""

    def times(filters: int) -> int:
        return round(filters * factor / 8) * 8

    return block._replace(
        one=times(block.one),
        three=tuple(map(times, block.three)),
        five=tuple(map(times, block.five)),
        pool_filters=times(block.pool_filters),
    )


class Couples(Batches):
    """Batches whose second half shows the people of the first half again; a target ends with its person's number."""

    def __init__(self, data: Prepared, teacher: Teacher, plan: StudentPlan, stage: int = 0):
        super().__init__(data, teacher, plan, stage)
        self.people = np.unique(people_of(data.names, plan.labelled), return_inverse=True)[1]
        self.of_person = defaultdict(list)
        for picture in self.learned:
            self.of_person[self.people[picture]].append(picture)

    def numbers(self, step: int) -> np.ndarray:
        """The pictures of a step, (B,); where there is no other picture of a person, the second is any."""
        pictures, rng = super().numbers(step), np.random.default_rng([self.plan.seed, 4, step])
        half = len(pictures) // 2
        for place, first in enumerate(pictures[:half], half):
            others = [picture for picture in self.of_person[self.people[first]] if picture != first]
            pictures[place] = rng.choice(others) if others else pictures[place]
        return pictures

    def taught(self, step: int) -> np.ndarray:
        """The targets and people of a step, (B, 129)."""
        return np.column_stack([super().taught(step), self.people[self.numbers(step)]]).astype(np.float32)


class OfCouples(Distillation):
    """The shipped loss, for targets that end with a person's number, (m, 129), and a triplet loss by those numbers.

    Args:
        relations: As in ``Distillation``.
        triplets: Weight of the mean loss of all triplets with a loss, 0 for none.
    """

    def __init__(self, relations: float, triplets: float = 0.0):
        super().__init__(relations)
        self.triplets = triplets

    def call(self, taught, seen):
        """The loss, (m,)."""
        loss = super().call(taught[:, :-1], seen)
        if self.triplets:
            mined, valid = all_triplets(squared_distances(seen), taught[:, -1])  # (m, m)
            counts = ops.cast(valid, "float32")
            loss += self.triplets * ops.sum(mined * counts) / ops.maximum(ops.sum(counts), 1.0)
        return loss


class Trial(NamedTuple):
    """One short training.

    Attributes:
        label: What it changes.
        changes: Of the baseline's configuration.
        folders: The pictures, as ``prepare`` named their folders.
        side: S, the side of the student's faces, in pixels.
        steps: The number of batches.
        teacher: The class of the teacher.
        network: The function that builds the student.
        shown: The kind of batches.
        loss: Makes the loss.
    """

    label: str
    changes: dict = {}
    folders: tuple[str, ...] = ("celeba_faces", "utk_faces")
    side: int = 64
    steps: int = STEPS
    teacher: type[Teacher] = Teacher
    network: Callable = faceRecoModel
    shown: type[Batches] = Batches
    loss: Callable = Distillation


#: A quarter wider than shipped: 22.9 MB. A step takes 1.16 times as long, so it gets fewer.
WIDE = partial(faceRecoModel, blocks={name: widened(block, 1.25) for name, block in BLOCKS.items()})

BASELINE = "shipped"

TRIALS = {
    "shipped": Trial("the baseline"),
    "one_look": Trial("target: one look of the teacher instead of two", teacher=OneLook),
    "no_relations": Trial("loss: the squared distance alone, without the cosines within the batch", {"relations": 0.0}),
    "no_share": Trial("labels: targets of one person's pictures not moved together", {"share": 0.0}),
    "couples": Trial("batches: people with several pictures come in couples", shown=Couples, loss=OfCouples),
    "triplets": Trial(
        "loss: the same couples, and their triplet loss", shown=Couples, loss=partial(OfCouples, triplets=1.0)
    ),
    "celeba": Trial("pictures: CelebA alone, half as many", folders=("celeba_faces",)),
    "side": Trial("side: 96 pixels from the beginning, as many faces", side=96),
    "wide": Trial("width: a quarter more filters, as much time", steps=round(STEPS / 1.16), network=WIDE),
}


def plan_of(trial: Trial, source: Path) -> StudentPlan:
    """The whole configuration of a trial."""
    baseline = StudentPlan(
        (stage_of((str(trial.side), str(trial.steps), *trial.folders), source),),
        warmup=trial.steps // 4,
        cooldown=trial.steps * 5 // 8,
        labelled=("celeba_faces",),
        average=0.99,
    )
    return replace(baseline, **trial.changes)


def known_trials(names: Sequence[str]) -> None:
    """Refuse names that no trial has."""
    if unknown := set(names) - set(TRIALS):
        raise BadArgument(f"no trial is called {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")


def run_train(args: argparse.Namespace) -> None:
    """Run ``train``: each trial until its end; those that have ended are skipped."""
    cv2.setNumThreads(1)  # the network needs the cores
    known_trials(args.trials)
    for name in args.trials or TRIALS:
        trial, folder = TRIALS[name], args.checkpoints / name
        if (folder / "facenet" / "model.h5").exists():
            continue
        teacher = trial.teacher(load_facenet("weights/resnet"))
        train_student(
            args.source,
            teacher,
            plan_of(trial, args.source),
            folder,
            100,
            network=trial.network,
            shown=trial.shown,
            loss=trial.loss,
        )
        write(args.source, teacher, folder, folder / "facenet", name, trial.network)


@cache
def seconds_per_step(network: Callable, side: int, steps: int = 5) -> float:
    """The processor's time for a step of the network, without making its pictures."""
    model = build_student(StudentPlan(()), side, network)
    batch = [np.zeros((StudentPlan.batch, *shape), np.float32) for shape in ((side, side, 3), model.output_shape[1:])]
    model.train_on_batch(*batch)
    before = time.process_time()
    for _ in range(steps):
        model.train_on_batch(*batch)
    return (time.process_time() - before) / steps


def run_score(args: argparse.Namespace) -> None:
    """Run ``score``: trials that have ended, beside the baseline."""
    known_trials(args.trials)
    ended = [name for name in TRIALS if (args.checkpoints / name / "facenet" / "model.h5").exists()]
    if missing := [name for name in (BASELINE, *args.trials) if name not in ended]:
        raise BadArgument(f"{args.checkpoints} lacks the trial {missing[0]!r}: train it first")
    people, baseline = load_people(args.dir), None
    rows = json.loads(args.to.read_text(encoding="utf-8"))["trials"] if args.trials and args.to.exists() else {}
    took = {(row["side"], row["parameters"]): row["step_seconds"] for row in rows.values()}  # all in one run
    for name in ended:
        if args.trials and name not in (BASELINE, *args.trials):
            continue
        trial, folder = TRIALS[name], args.checkpoints / name
        network = load_facenet(folder / "facenet")
        rows[name] = row = {
            "label": trial.label,
            "steps": trial.steps,
            "side": trial.side,
            "parameters": network.count_params(),
            "step_seconds": took.get((trial.side, network.count_params()))
            or seconds_per_step(trial.network, trial.side),
        }
        drawn = draws_of(network, people)
        baseline = drawn["one look"] if baseline is None else baseline
        row["ways"] = {
            way: {
                measure: {
                    **asdict(interval_of(values[:, i])),
                    "change": asdict(interval_of(values[:, i] - baseline[:, i])),
                }
                for i, measure in enumerate(MEASURES)
            }
            for way, values in drawn.items()
        }
        print(name, json.dumps(row["ways"]))
    rows = {name: rows[name] for name in TRIALS if name in rows}
    write_json(args.to, {"people": int(people.who.max()) + 1, "pictures": len(people.who), "trials": rows})


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first, second = commands.add_parser("train", help="train"), commands.add_parser("score", help="score")
    first.set_defaults(run=run_train)
    first.add_argument(
        "--from", dest="source", type=Path, default=ROOT / "datasets" / "distill", help="the prepared pictures"
    )
    second.set_defaults(run=run_score)
    second.add_argument("dir", type=Path, help="the folder with pairsDevTrain.txt and the pictures")
    second.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "ablation.json", help="the file")
    for command in (first, second):
        command.add_argument("trials", nargs="*", metavar="TRIAL", help=f"some of them: {', '.join(TRIALS)}")
        command.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="the trials' folders")
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    run(main)
