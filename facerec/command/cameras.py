"""Commands for a camera in a window, or a film: collect, demo."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facerec._files import DEFAULT_NETWORK, MY_FACES
from facerec._quiet import say
from facerec.command import console, opening
from facerec.command.options import Known, Network, Quiet, Threshold
from facerec.errors import BadArgument

if TYPE_CHECKING:
    from facerec.live.frames import Frames

CAMERA_OR = "A camera's number, a video, or a folder of pictures."


class Detector(StrEnum):
    """The keys of ``facerec.live.collect.DETECTORS``."""

    mtcnn = "mtcnn"
    haar = "haar"


def collect(
    person: Annotated[str, typer.Option(help="The person's name, which becomes the name of their folder.")],
    source: Annotated[str, typer.Option(help=CAMERA_OR)] = "0",
    to: Annotated[Path, typer.Option(help="The folder of people.")] = MY_FACES,
    detector: Annotated[Detector, typer.Option(help="haar is faster, for slow machines.")] = Detector.mtcnn,
    rate: Annotated[float, typer.Option(help="At most this many automatic pictures per second.")] = 4.0,
    quiet: Quiet = False,
) -> None:
    """Save the faces of one person, as pictures to train with.

    A camera is shown in a window, and keys decide what is saved. A video or a folder needs no window.
    """
    if not person or Path(person).name != person or person.startswith("."):
        raise BadArgument(f"--person {person!r}: give a name, not a path")
    if not 0 < rate <= 1000:
        raise BadArgument(f"--rate {rate:g}: pictures per second, more than 0 and at most 1000")
    from facerec.live.collect import Collector, Session, collect_from
    from facerec.live.frames import Frames
    from facerec.live.window import show_in_window

    collector = Collector(to / person, detector.value)
    if source.isdecimal():
        with Frames(source) as frames, Session(collector, rate) as session:
            show_in_window(frames, session, "collect with CameraWidget in a notebook, or from a video with --source")
    else:
        with Frames(source, per_second=rate) as frames:
            results = collect_from(frames, collector, console.shows_progress())
        _print_problems(frames)
        say(", ".join(f"{count} {reason}" for reason, count in results.most_common()) or "no frames")
    counts = collector.counts()
    if not counts:
        say("nothing was saved")
        raise typer.Exit(1)
    say(f"{collector.folder}: {counts['anchor']} anchor, {counts['positive']} positive")
    console.note(
        f"look through them, as the largest face is saved no matter whose it is (facerec cluster {collector.folder})"
    )
    console.note(
        f"next, align them for training: python tools/assets/prepare_people.py preprocess {to} --to {to}_faces"
    )


def demo(
    source: Annotated[str, typer.Option(help=CAMERA_OR)] = "0",
    database: Known = None,
    network: Network = DEFAULT_NETWORK,
    threshold: Threshold = None,
    every: Annotated[int, typer.Option(help="Search every n-th frame.")] = 5,
    search_side: Annotated[
        int, typer.Option(help="The longest side, in pixels, of the copy of a frame that is searched.")
    ] = 480,
    output: Annotated[Path | None, typer.Option(help="Write a video here, and open no window.")] = None,
    quiet: Quiet = False,
) -> None:
    """Draw the names of the faces in front of a camera or in a film, in a window or into a copy of the film."""
    from facerec.detection import SEARCH_SIDE
    from facerec.live.film import Viewing, check_output, write_annotated
    from facerec.live.frames import Frames
    from facerec.live.recognise import LiveRecogniser
    from facerec.live.window import show_in_window

    if output is not None:
        check_output(output, source)
    with Frames(source) as frames:
        database = opening.known_or_examples(database)
        model = opening.load_network(network)
        side, looks = (SEARCH_SIDE, 1) if frames.is_folder else (search_side, 3)
        known = opening.open_database(database, model)
        limit = opening.threshold_of(model, threshold, len(known))
        with LiveRecogniser(model, known, limit, every, side, looks, frames.is_live) as recogniser:
            viewing = Viewing(recogniser, frames)
            if output is None:
                show_in_window(frames, viewing, "write what it would show into a video with --output")
            else:
                write_annotated(frames, viewing, output, console.shows_progress())
        _print_problems(frames)
        say(viewing.summary())


def _print_problems(frames: Frames) -> None:
    for name, reason in frames.problems:
        say(f"not opened: {name}: {reason}")
