"""How long a training step takes here, and in Keras' own ``model.fit``.

    python tools/measure/training_step.py [--rounds 3] [--to docs/results/training_step.json]

The trainings use a loop of their own, ``one_epoch``: it looks at the loss of every single step, notices a collapse, and
measures how long it waits for faces. Each row trains a learner by that loop, and an equal one by ``model.fit``, in
turns, on the same batch of noise: time does not depend on what faces show.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec._quiet import quietly
from facerec.errors import run
from facerec.learning.checkpoints import one_epoch
from facerec.learning.siamese import make_siamese
from facerec.learning.siamese_training import SiamesePlan, compile_siamese, with_all_pairs
from facerec.learning.triplet_training import TripletPlan, make_encoder, make_learner
from tools.measure.bench_database import timed

with quietly():
    import keras
    import tensorflow as tf

STEPS = 3  # in each turn

#: Takes a few steps; returns the milliseconds of all of them.
Turn = Callable[[], float]


def pairs_of_twins(variant: str, batch: int) -> tuple[keras.Model, tuple]:
    """A twin network that learns from pairs, and a batch of them."""
    plan = SiamesePlan(variant, batch=batch)
    learner = compile_siamese(make_siamese(variant, plan.side), plan, STEPS)
    pairs = tuple(faces(batch, plan.side) for _ in range(2))
    return learner, (pairs, np.arange(batch)[:, None] % 2, np.ones(batch, np.float32))


def all_pairs_of_a_batch(variant: str, batch: int) -> tuple[keras.Model, tuple]:
    """A twin network that learns from all pairs of a batch of faces, and such a batch."""
    plan = SiamesePlan(variant, batch=batch)
    learner = compile_siamese(with_all_pairs(make_siamese(variant, plan.side), batch), plan, STEPS)
    pairs = batch * (batch - 1) // 2
    same = (np.arange(pairs)[:, None] % 2).astype(np.float32)
    return learner, (faces(batch, plan.side), same, np.ones(pairs, np.float32))


def triplets_of_a_batch(mining: str, batch: int) -> tuple[keras.Model, tuple]:
    """An encoder that learns from triplets mined in a batch of faces, and such a batch: four faces of each person."""
    plan = TripletPlan(mining=mining, side=64, batch=batch)
    who = np.arange(batch, dtype=np.int32) // 4
    return make_learner(make_encoder(plan.network, plan.side), plan, STEPS), ((faces(batch, 64) * 255, who), who)


#: What a row is called, what builds its learner and its batch, with which arguments, and what its batch holds.
ROWS = (
    ("twins, large windows", pairs_of_twins, ("large windows", 32), "32 pairs"),
    ("twins, small windows", pairs_of_twins, ("small windows", 32), "32 pairs"),
    ("compact twin", all_pairs_of_a_batch, ("compact", 64), "64 faces, 2,016 pairs"),
    ("five convolutions, random triplets", triplets_of_a_batch, ("random", 128), "128 faces"),
    ("five convolutions, semi-hard triplets", triplets_of_a_batch, ("semi-hard", 128), "128 faces"),
)


def faces(count: int, side: int) -> np.ndarray:
    """Noise, (count, side, side, 3) float32 in 0..1."""
    return np.random.default_rng(0).uniform(size=(count, side, side, 3)).astype(np.float32)


def turns_of(make: Callable, arguments: tuple) -> tuple[Turn, Turn]:
    """An epoch of our loop, and one of ``model.fit``, each with a learner of its own and the same batch."""
    (ours, batch), (theirs, _) = (make(*arguments) for _ in range(2))
    repeated = tf.data.Dataset.from_tensors(batch).repeat(STEPS)
    return (
        lambda: timed(one_epoch, ours, itertools.repeat(batch), STEPS, tqdm(disable=True))[0],
        lambda: timed(lambda: theirs.fit(repeated, epochs=1, verbose=0, shuffle=False))[0],
    )


def measure(rounds: int) -> list[dict]:
    """A row for each of :data:`ROWS`: milliseconds of a step either way, and ours as a multiple of ``model.fit``'s."""
    table = []
    for label, make, arguments, batch in tqdm(ROWS, unit="network"):
        turns = turns_of(make, arguments)
        for turn in turns:
            turn()  # it is compiled
        took = np.array([[turn() for turn in turns] for _ in range(rounds)]) / STEPS  # (rounds, 2)
        ratios = took[:, 0] / took[:, 1]
        ours, theirs = np.median(took, axis=0)
        table.append(
            {
                "network": label,
                "batch": batch,
                "ours_ms": round(float(ours), 1),
                "fit_ms": round(float(theirs), 1),
                "ratio": round(float(np.median(ratios)), 3),
                "ratios": [round(float(ratio), 3) for ratio in (ratios.min(), ratios.max())],
            }
        )
    return table


def main() -> None:
    """Measure all rows, print them, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often both ways take turns")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "training_step.json")
    args = parser.parse_args()
    table = measure(args.rounds)
    for row in table:
        print("{network}: {ours_ms} ms, with model.fit {fit_ms} ms, {ratio} times".format(**row))
    write_json(args.to, {"steps": STEPS, "rounds": args.rounds, "networks": table})


if __name__ == "__main__":
    run(main)
