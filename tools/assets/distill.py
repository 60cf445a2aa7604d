"""Distil the residual network into the small Inception FaceNet, from faces without labels.

    python tools/assets/distill.py prepare --pictures FOLDER [FOLDER ...] --to datasets/distill
    python tools/assets/distill.py train --from datasets/distill --steps 3000 --checkpoints checkpoints/generated

``prepare`` takes folders of pictures, or of the shards of ``tools/assets/make_people.py faces``. It finds the faces,
cuts several slightly rotated, shifted and scaled crops out of each picture, and asks the teacher (``weights/resnet``)
for their encodings. ``train`` shows the student the same crops, as bad photographs, and moves its encodings towards the
teacher's. Both can be killed at any time and started again: ``prepare`` skips finished parts, ``train`` resumes.

At the end ``train`` folds batch normalisation into the convolutions and writes the folder of the network. Calibrate its
threshold next, with ``tools/assets/calibrate.py``.

On a machine with a GPU any Keras backend works: ``KERAS_BACKEND=jax python tools/assets/distill.py …``

Source: Hinton et al., "Distilling the knowledge in a neural network", 2015; Loshchilov and Hutter,
"Decoupled weight decay regularization", 2019 (AdamW).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2

from facerec._files import ROOT
from facerec.detection import KEYPOINTS
from facerec.learning.checkpoints import read_config
from facerec.learning.crops import Prepared, Teacher, parts_of, prepare
from facerec.learning.distillation import Config, train
from facerec.learning.folding import fold_batch_norm
from facerec.networks import load_facenet, save_network
from inception_blocks_v2 import faceRecoModel


def run_prepare(args: argparse.Namespace) -> None:
    """Run ``prepare``."""
    prepare(args.pictures, args.to, Teacher(load_facenet(args.teacher)), args.jitters, args.seed)


def run_train(args: argparse.Namespace) -> None:
    """Run ``train``."""
    cv2.setNumThreads(1)  # the network needs the cores
    begun = read_config(args.checkpoints)  # parts that were prepared later do not join a training that has begun
    parts = begun["parts"] if begun else parts_of(args.source, args.only)
    options = {key: getattr(args, key) for key in vars(args) if key in Config.__dataclass_fields__}
    config = Config(parts=tuple(parts), **options)
    teacher = Teacher(load_facenet(args.teacher))
    watched = Prepared(args.source, parts_of(args.source, args.watch)) if args.watch else None
    data = Prepared(args.source, parts)
    print(f"{len(data):,} pictures × {data.raw.shape[1]} crops; {config.steps:,} steps of {config.batch}")
    model = train(data, teacher, config, args.checkpoints, args.every, args.stop_after, watched, faceRecoModel)
    if args.stop_after and args.stop_after < config.steps:
        return
    template = {name: tuple(xy) for name, xy in zip(KEYPOINTS, teacher.template.round(6).tolist(), strict=True)}
    network = fold_batch_norm(model)
    save_network(network, args.to, name=args.name, template=template, threshold=0.7)
    print(f"{args.to}: {network.count_params():,} parameters, batch normalisation folded")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("prepare", help="cut crops and ask the teacher")
    first.set_defaults(run=run_prepare)
    first.add_argument("--pictures", type=Path, nargs="+", required=True, help="folders of pictures or shards")
    first.add_argument("--to", type=Path, default=ROOT / "datasets" / "distill")
    first.add_argument("--jitters", type=int, default=4, help="crops per picture")
    first.add_argument("--seed", type=int, default=1)
    first.add_argument("--teacher", default="weights/resnet")

    second = commands.add_parser("train", help="train the student, or resume")
    second.set_defaults(run=run_train)
    second.add_argument("--from", dest="source", type=Path, default=ROOT / "datasets" / "distill")
    second.add_argument("--only", nargs="+", metavar="NAME", help="learn from these prepared folders; default: all")
    second.add_argument(
        "--watch", nargs="+", metavar="NAME", help="measure on these prepared folders, never learn from them"
    )
    second.add_argument("--checkpoints", type=Path, required=True, help="folder of the checkpoint and the log")
    second.add_argument("--to", type=Path, default=ROOT / "keras-facenet-h5")
    second.add_argument("--name", default="Inception FaceNet")
    second.add_argument("--teacher", default="weights/resnet")
    second.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    second.add_argument("--stop-after", type=int, help="stop at this step, to resume later")
    second.add_argument("--precision", default=Config.precision, choices=["float32", "mixed_bfloat16"])
    for key in ("side", "steps", "batch", "warmup", "validation", "seed"):
        second.add_argument(f"--{key}", type=int, default=getattr(Config, key))
    for key in ("rate", "decay", "average", "harsh"):
        second.add_argument(f"--{key}", type=float, default=getattr(Config, key))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = parse(argv)
    args.run(args)


if __name__ == "__main__":
    main()
