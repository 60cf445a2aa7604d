"""The command line: ``python -m facerec collect`` and ``python -m facerec demo``.

Each command is a function, and its options are the function's arguments. A command imports what it needs when it runs:
``--help`` does not wait for Keras.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facerec._files import in_project
from facerec._quiet import say
from facerec.errors import BadArgument, EmptyDatabase, run
from facerec.live.collect import COLLECTED, DETECTORS, Collector, Session, collect_from
from facerec.live.frames import Frames
from facerec.live.window import show_in_window

if TYPE_CHECKING:
    import keras

EXAMPLES = """examples:
  python -m facerec collect --person me                       your camera, in a window
  python -m facerec collect --person me --source film.mp4     a video or a folder of pictures, without a window
  python -m facerec demo                                      names for the faces at your camera, in a window
  python -m facerec demo --source film.mp4 --output out.mp4   the same, written into a copy of a video
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name."""
    parser = argparse.ArgumentParser(
        prog="python -m facerec",
        description="Face recognition from the command line.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_collect(commands)
    _add_demo(commands)
    arguments = vars(parser.parse_args(argv))
    command = arguments.pop("command")
    command(**arguments)


def _add_command(commands: argparse._SubParsersAction, command, summary: str) -> argparse.ArgumentParser:
    """A parser for one command, which calls that function."""
    parser = commands.add_parser(command.__name__, help=summary, description=f"{summary.capitalize()}.")
    parser.set_defaults(command=command)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    text = "a camera's number, a video, or a folder of pictures (default: camera 0)"
    parser.add_argument("--source", default="0", help=text)


def _add_collect(commands: argparse._SubParsersAction) -> None:
    parser = _add_command(commands, collect, "save the faces of one person, as pictures to train with")
    parser.add_argument("--person", required=True, help="the person's name, which becomes the name of their folder")
    _add_source(parser)
    parser.add_argument("--to", type=Path, default=COLLECTED, help="the folder of people (default: %(default)s)")
    parser.add_argument("--detector", choices=DETECTORS, default="mtcnn", help="haar is faster, for slow machines")
    parser.add_argument(
        "--rate", type=float, default=4.0, help="the most automatic pictures per second (default: %(default)g)"
    )


def collect(person: str, source: str, to: Path, detector: str, rate: float) -> None:
    """Save the faces of one person: from a camera in a window, from a video or folder without one.

    Args:
        person: The name of their folder.
        source: A camera's number, a video, or a folder of pictures.
        to: The folder that holds a folder per person.
        detector: A key of ``DETECTORS``.
        rate: The most automatic pictures per second.

    Raises:
        BadArgument: If the name is not a folder's name, or the rate makes no sense.
    """
    if not person or Path(person).name != person or person.startswith("."):
        raise BadArgument(f"--person {person!r}: give a name, not a path")
    if not 0 < rate <= 1000:
        raise BadArgument(f"--rate {rate:g}: pictures per second, more than 0 and at most 1000")
    collector = Collector(to / person, detector)
    if source.isdecimal():
        with Frames(source) as frames, Session(collector, rate) as session:
            show_in_window(frames, session, "collect with CameraWidget in a notebook, or from a video with --source")
    else:
        with Frames(source, per_second=rate) as frames:
            results = collect_from(frames, collector)
        _print_problems(frames)
        say(", ".join(f"{count} {reason}" for reason, count in results.most_common()) or "no frames")
    counts = collector.counts()
    if not counts:
        say("nothing was saved")
        return
    say(f"{collector.folder}: {counts['anchor']} anchor, {counts['positive']} positive")
    say(f"next, align them for training: python tools/assets/prepare_people.py preprocess {to} --to {to}_faces")


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = _add_command(commands, demo, "name the faces at a camera or in a film")
    _add_source(parser)
    text = "a folder of portraits (lena.jpg shows lena), or a FaceDatabase's file (default: %(default)s)"
    parser.add_argument("--database", type=Path, default=Path("images"), help=text)
    parser.add_argument("--network", default="weights/resnet", help="a folder of weights (default: %(default)s)")
    text = "faces farther away than this count as unknown (default: the network's own)"
    parser.add_argument("--threshold", type=float, help=text)
    parser.add_argument("--every", type=int, default=5, help="search every n-th frame (default: %(default)s)")
    text = "the longest side, in pixels, of the copy of a frame that is searched (default: %(default)s)"
    parser.add_argument("--search-side", type=int, default=480, help=text)
    parser.add_argument("--output", type=Path, help="write a video here, and open no window")


def demo(
    source: str,
    database: Path,
    network: str,
    threshold: float | None,
    every: int,
    search_side: int,
    output: Path | None,
) -> None:
    """Show a film with the names of the faces in it, in a window or written as a video.

    Args:
        source: A camera's number, a video, or a folder of pictures.
        database: A folder of portraits, or the file of a ``FaceDatabase``.
        network: A folder of weights.
        threshold: As in ``LiveRecogniser``, like the next two; pictures of a folder are all searched, in more detail.
        every: Search every n-th frame.
        search_side: Of the copy that is searched, in pixels.
        output: The video to write; None opens a window.

    Raises:
        BadArgument: If an argument makes no sense.
        EmptyDatabase: If there is no one to recognise.
    """
    from facerec.detection import SEARCH_SIDE
    from facerec.live.film import Viewing, check_output, write_annotated
    from facerec.live.recognise import LiveRecogniser
    from facerec.networks import load_facenet

    if output is not None:
        check_output(output, source)
    with Frames(source) as frames:
        model = load_facenet(network)
        side, looks = (SEARCH_SIDE, 1) if frames.is_folder else (search_side, 3)
        known = open_database(database, model)
        with LiveRecogniser(model, known, threshold, every, side, looks, frames.is_live) as recogniser:
            viewing = Viewing(recogniser, frames)
            if output is None:
                show_in_window(frames, viewing, "write what it would show into a video with --output")
            else:
                write_annotated(frames, viewing, output)
        _print_problems(frames)
        say(viewing.summary())


def open_database(path: Path, model: keras.Model) -> Mapping[str, np.ndarray]:
    """The people of ``--database``: a folder of portraits is encoded, a ``FaceDatabase``'s file is opened.

    Args:
        path: Relative to the working directory or the project.
        model: The network that makes, or made, the encodings.

    Raises:
        BadArgument: If the path does not exist, or another network made the encodings.
        EmptyDatabase: If no one is in it.
    """
    from facerec.database import FaceDatabase, OtherNetwork
    from facerec.enrol import build_database

    path = in_project(path)
    if not path.exists():
        raise BadArgument(f"--database {path} does not exist: give a folder of portraits, or a FaceDatabase's file")
    if path.is_file():
        try:
            lasting = FaceDatabase(path, network=model)  # stays open: people added meanwhile are recognised at once
        except OtherNetwork as error:
            raise BadArgument(f"{error} (--network names another network)") from error
        if not lasting:
            raise EmptyDatabase(f"--database {path} is empty")
        return lasting
    database, unusable = build_database(path, model)
    for file, reason in unusable.itertuples(index=False):
        say(f"not used: {file}: {reason}")
    if not database:
        raise EmptyDatabase(f"--database {path} holds no portrait that can be used")
    return database


def _print_problems(frames: Frames) -> None:
    for name, reason in frames.problems:
        say(f"not opened: {name}: {reason}")


if __name__ == "__main__":
    run(main)
