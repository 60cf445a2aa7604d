"""Frames from a webcam, a browser, a video or a folder of pictures; a collector of faces; who is in a film.

    python -m facerec collect --person me                        # a window: a anchor, p positive, c automatic, q quit
    python -m facerec collect --person me --source video.mp4     # or a folder of pictures; automatic, without a window
    python -m facerec demo                                       # a window: who is in front of the camera? q quit
    python -m facerec demo --source video.mp4 --output out.mp4   # the same, written into a copy of a video

Collected faces lie in ``datasets/collected/<person>/``, ``anchor_0001.jpg`` and ``positive_0001.jpg`` …, 250×250
pixels each with the face in the middle, as in LFW. ``facerec.learning.datasets.find_people`` reads that folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from facerec._files import in_project
from facerec._quiet import quietly
from facerec.database import FaceDatabase, OtherNetwork
from facerec.detection import SEARCH_SIDE
from facerec.enrol import build_database
from facerec.errors import BadArgument, EmptyDatabase, run
from facerec.live.collect import COLLECTED, DETECTORS, Collector, Session, collect_from
from facerec.live.film import Viewing, check_output, write_annotated
from facerec.live.frames import Frames
from facerec.live.recognise import LiveRecogniser
from facerec.live.window import collect_in_window, show_in_window
from facerec.networks import DEFAULT_NETWORK, load_facenet

with quietly():
    import keras


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    _add_collect(commands.add_parser("collect", help="save faces of one person"))
    _add_demo(commands.add_parser("demo", help="who is in front of the camera, or in a video?"))
    args = parser.parse_args(argv)
    args.do(args)


def _add_collect(collect: argparse.ArgumentParser) -> None:
    collect.set_defaults(do=_collect)
    collect.add_argument("--person", required=True, help="whose faces: the name of their folder")
    collect.add_argument("--source", default="0", help="a camera's number, a video, or a folder; by default camera 0")
    collect.add_argument("--to", type=Path, default=COLLECTED, help="where the people's folders are")
    collect.add_argument("--detector", choices=DETECTORS, default="mtcnn", help="haar is quicker, for slow machines")
    collect.add_argument(
        "--rate", type=float, default=4.0, help="automatic pictures per second, at most; by default %(default)g"
    )


def _collect(args: argparse.Namespace) -> None:
    if not args.person or Path(args.person).name != args.person or args.person.startswith("."):
        raise BadArgument(f"--person {args.person!r}: a name, not a path")
    if not 0 < args.rate <= 1000:
        raise BadArgument(f"--rate {args.rate}: frames per second, more than 0")
    collector = Collector(args.to / args.person, args.detector)
    if args.source.isdecimal():
        with Frames(args.source) as frames:
            collect_in_window(frames, Session(collector, args.rate))
    else:
        with Frames(args.source, per_second=args.rate) as frames:
            results = collect_from(frames, collector)
        _print_problems(frames)
        print(", ".join(f"{count} {reason}" for reason, count in results.most_common()) or "no frames")
    counts = collector.counts()
    if not counts:
        print("nothing was saved")
        return
    print(f"{collector.folder}: {counts['anchor']} anchor, {counts['positive']} positive")
    print(f"to learn from them: python tools/assets/prepare_people.py preprocess {args.to} --to {args.to}_faces")


def _print_problems(frames: Frames) -> None:
    for name, reason in frames.problems:
        print(f"not opened: {name}: {reason}")


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(do=_demo)
    demo.add_argument("--source", default="0", help="a camera's number, a video, or a folder; by default camera 0")
    known = "a folder of portraits, lena.jpg is lena, or a FaceDatabase's file; by default %(default)s"
    demo.add_argument("--database", type=Path, default=Path("images"), help=known)
    demo.add_argument("--network", default=DEFAULT_NETWORK, help="by default %(default)s")
    demo.add_argument("--threshold", type=float, help="who is not nearer is unknown; by default the network's own")
    demo.add_argument("--every", type=int, default=5, help="search every n-th frame of a film; by default %(default)s")
    demo.add_argument(
        "--search-side", type=int, default=480, help="of the copy of a frame that is searched; by default %(default)s"
    )
    demo.add_argument("--output", type=Path, help="write a video, and open no window")


def _demo(args: argparse.Namespace) -> None:
    if args.output is not None:
        check_output(args.output, args.source)
    with Frames(args.source) as frames, _recogniser(args, frames) as recogniser:
        viewing = Viewing(recogniser, frames)
        if args.output is None:
            show_in_window(frames, viewing, "write what it would show into a video with --output")
        else:
            write_annotated(frames, viewing, args.output)
        _print_problems(frames)
        print(viewing.summary())


def _database(path: Path, model: keras.Model) -> Mapping[str, np.ndarray]:
    """Who is known: a folder of portraits, or the file of a ``FaceDatabase``."""
    if not path.exists():
        raise BadArgument(f"--database {path} is not there: give a folder of portraits, or a FaceDatabase's file")
    if path.is_file():
        try:
            lasting = FaceDatabase(path, network=model)  # stays open: who is added meanwhile is known at once
        except OtherNetwork as error:
            raise BadArgument(f"{error} (--network names another network)") from error
        if not lasting:
            raise EmptyDatabase(f"nobody is in --database {path}")
        return lasting
    database, unusable = build_database(path, model)
    for file, reason in unusable.itertuples(index=False):
        print(f"not used: {file}: {reason}")
    if not database:
        raise EmptyDatabase(f"--database {path} holds no portrait that can be used")
    return database


def _recogniser(args: argparse.Namespace, frames: Frames) -> LiveRecogniser:
    """The network and the database of the command line; a picture of a folder is looked at once, and well."""
    model = load_facenet(args.network)
    database = _database(in_project(args.database), model)
    looks = 1 if frames.is_folder else 3
    side = SEARCH_SIDE if frames.is_folder else args.search_side
    return LiveRecogniser(model, database, args.threshold, args.every, side, looks, background=frames.is_live)


if __name__ == "__main__":
    run(main)
