"""Commands that look at faces: who is it, and do two pictures show one person?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facerec._files import DEFAULT_NETWORK
from facerec._quiet import say
from facerec.command import answers, console, opening
from facerec.command.options import Csv, Json, Known, Network, Quiet, Threshold
from facerec.command.sources import Source, find_sources
from facerec.errors import BadArgument, FaceError

if TYPE_CHECKING:
    import keras
    import numpy as np

#: Exit codes; the last is that of every error.
SAME, DIFFERENT, ERROR = 0, 1, 2


def who(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders, zip files, films, or cameras: 0 is the first one.", show_default=False),
    ] = None,
    camera: Annotated[bool, typer.Option("--camera", metavar="", help="Look through the first camera.")] = False,
    database: Known = None,
    top: Annotated[
        int, typer.Option(min=1, metavar="K", help="How many people to list for each face of a picture.")
    ] = 1,
    threshold: Threshold = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Search every n-th frame of a film.")] = 5,
    seconds: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Stop after this many seconds.", show_default="to the end")
    ] = None,
    as_csv: Csv = False,
    as_json: Json = False,
    network: Network = DEFAULT_NETWORK,
    quiet: Quiet = False,
) -> None:
    """Name the faces in pictures, folders, films, or in front of a camera.

    A picture gives a row per face, a film a row per person: who is seen, and from when to when. A camera is watched
    until Ctrl-C. The confidence is the probability that the face shows that person.
    """
    form = console.form_of(as_csv, as_json)
    found = find_sources([*(sources or []), *(["0"] if camera else [])])
    if not found:
        raise BadArgument("nothing to look at: give pictures, folders or films, or --camera")
    database = opening.known_or_examples(database)
    photos = len(found) if all(source.kind == "photo" for source in found) else None
    model = opening.load_network(network, photos)
    known = opening.open_database(database, model)
    limit = opening.threshold_of(model, threshold, len(known))
    look = partial(_look, model=model, known=known, threshold=limit, top=top, every=every, seconds=seconds)
    failed = _failures(answers.show(_each(found, look), form), found)
    for source, problem in failed:
        console.complain(problem if source in problem else f"{source}: {problem}")
    if failed:
        raise typer.Exit(ERROR)


def _each(found: Sequence[Source], look: Any) -> Iterator[answers.Answer]:
    """The answer for each source, behind a progress bar; one that can't be opened does not stop the others."""
    from tqdm import tqdm

    for source in tqdm(found, unit="photo", disable=len(found) < 2 or not console.shows_progress(), leave=False):
        try:
            yield look(source)
        except FaceError as error:
            yield answers.Answer(_label(source), source.kind, None, str(error))


def _label(source: Source) -> str:
    """What a source is called in results: an address without its password."""
    if "://" not in source.name:
        return source.name
    from facerec.live.frames import without_password

    return without_password(source.name)


def _failures(given: Sequence[answers.Answer], found: Sequence[Source]) -> list[tuple[str, str]]:
    """The sources that were named but can't be opened; what lies in a folder may well be no picture."""
    closed = [(answer, source.named) for answer, source in zip(given, found, strict=True) if answer.found is None]
    none_opened = len(closed) == len(given)
    return [(answer.source, answer.problem) for answer, named in closed if named or none_opened]


def _look(
    source: Source,
    model: keras.Model,
    known: Mapping[str, np.ndarray],
    threshold: float,
    top: int,
    every: int,
    seconds: float | None,
) -> answers.Answer:
    """Look at one source."""
    if source.kind != "photo":
        return _watch(source, model, known, threshold, every, seconds)
    from facerec.naming import identify

    table = identify(source.name, known, model, threshold, top)
    return answers.Answer(source.name, source.kind, table, "no face found" if table.empty else "")


def _watch(
    source: Source,
    model: keras.Model,
    known: Mapping[str, np.ndarray],
    threshold: float,
    every: int,
    seconds: float | None,
) -> answers.Answer:
    """Watch one film or camera."""
    from facerec.live.frames import Frames
    from facerec.live.presence import watch
    from facerec.live.recognise import LiveRecogniser
    from facerec.network_info import confidence

    def arrived(identity: str | None, second: float) -> None:
        console.note(f"{answers.clock(second)}  {'an unknown person' if identity is None else identity}")

    name = _label(source)
    with (
        Frames(source.name) as frames,
        LiveRecogniser(model, known, threshold, every, background=frames.is_live) as recogniser,
    ):
        if frames.is_live and seconds is None:
            console.note(f"watching camera {name}; Ctrl-C ends it")
        table = watch(frames, recogniser, seconds, console.shows_progress(), arrived if frames.is_live else None)
    if table.attrs["problem"]:
        console.note(f"{name}: {table.attrs['problem']}")
    table["confidence"] = confidence(table.distance, model, 1 / (len(known) + 1))
    return answers.Answer(name, source.kind, table, "no one was seen" if table.empty else "")


def verify(
    a: Annotated[str, typer.Argument(metavar="A", help="A picture.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another picture.", show_default=False)],
    threshold: Threshold = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON instead of a sentence.")] = False,
    network: Network = DEFAULT_NETWORK,
    quiet: Quiet = False,
) -> None:
    """Decide whether two pictures show the same person.

    In each picture the largest face counts. The exit code is 0 for the same person, 1 for different people, and 2 after
    an error. The confidence is the probability that both faces show one person, if before looking that was as likely as
    not.
    """
    pictures = find_sources([a, b])
    for source in pictures:
        if source.kind != "photo" or not source.named:
            raise BadArgument(f"{source.name}: two pictures are compared; facerec who looks at folders and films")
    model = opening.load_network(network, len(pictures))
    limit = opening.threshold_of(model, threshold)
    distance, sure = _compare([a, b], model)
    same = distance < limit
    if as_json:
        found = {"distance": distance, "threshold": limit, "confidence": console.number(sure), "same_person": same}
        console.write_json({"a": a, "b": b, **found})
    else:
        likely = f", confidence {console.share(sure)}" if sure == sure else ""
        sentence = "the same person" if same else "different people"
        say(f"{sentence} (distance {distance:.2f}, threshold {limit:.2f}{likely})")
    raise typer.Exit(SAME if same else DIFFERENT)


def _compare(pictures: list[str], model: keras.Model) -> tuple[float, float]:
    """The distance of two pictures' largest faces, and the probability that they show one person."""
    import numpy as np

    from facerec.encoding import photos_to_encodings
    from facerec.network_info import confidence

    def seen(number: int, found: Any) -> None:
        if found.faces > 1:
            console.note(f"{pictures[number]} shows {found.faces} faces: the largest is used")

    encodings, problems = photos_to_encodings(pictures, model, seen=seen)  # (2, D)
    for problem in problems.values():
        raise problem
    distance = float(np.linalg.norm(encodings[0] - encodings[1]))
    return distance, float(confidence(distance, model))
