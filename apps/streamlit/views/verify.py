"""Is this the person they say they are?"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import streamlit as st

from apps.pictures import boxed, jpeg
from apps.streamlit import choose, shared, show
from apps.streamlit.looking import Look, distance_to, face_box, look, portrait_of
from facerec.networks import confidence

WELCOME, AWAY = "Welcome in", "Go away"
NEAR = 0.1  # a distance that is over the threshold by less is a near miss


@dataclass(frozen=True)
class Answer:
    """What the page shows of one verification.

    Attributes:
        distance: From the face to the claimed person.
        probability: That it is the claimed person, if before looking that was as likely as not; NaN for a network
            that was never calibrated.
        count: How many faces the picture shows.
        seconds: From the picture to the answer.
        figures: Both faces, as HTML.
    """

    distance: float
    probability: float
    count: int
    seconds: float
    figures: tuple[str, ...]


def asked(identity: str, picture: choose.Chosen) -> Answer:
    """The answer; drawing the page again does not compute it again."""
    known = hashlib.sha256(shared.database()[identity].tobytes()).digest()
    question = (identity, hashlib.sha256(picture.data).digest(), known, shared.threshold())
    if st.session_state.get("verify_answer", (None,))[0] != question:
        st.session_state.pop("verify_answer", None)
        st.session_state["verify_answer"] = (question, answer(identity, picture))
    return st.session_state["verify_answer"][1]


def answer(identity: str, picture: choose.Chosen) -> Answer:
    """Look, measure, decide, and note the decision."""
    with shared.watch() as took:
        photo = shared.opened(picture.data, picture.name)
        with shared.TURNS:
            seen = look(photo, shared.model())
            distance = distance_to(identity, seen, shared.database(), shared.model())
    words = WELCOME if distance < shared.threshold() else AWAY
    shared.decided("verify", identity, distance, words, took())
    probability = float(confidence(distance, shared.model()))
    return Answer(distance, probability, seen.count, took(), tuple(figures(identity, picture, seen)))


def figures(identity: str, picture: choose.Chosen, seen: Look) -> Iterator[str]:
    """The face at the door and, if a photo is kept, the known one, each in its box."""
    name = shared.one_line(picture.name)
    door = jpeg(boxed(seen.photo, seen.detection["box"]))
    yield show.figure(door, f"At the door: {name}", "The picture, with a box around the face")
    known = portrait_of(identity, shared.database())
    if known is not None:
        box = known_box(known)
        known = jpeg(known if box is None else boxed(known, box))
        yield show.figure(known, f"{identity} in the database", f"The photo of {identity}, with a box around the face")


@st.cache_data(max_entries=1000, show_spinner=False)
def known_box(photo: np.ndarray) -> tuple[int, int, int, int] | None:
    """Where the face of a kept photo is; searched once, since the same people come again and again."""
    return face_box(photo)


def comfort(over: float) -> str:
    """A friendly word for a visitor who is sent away, by how far the distance is over the threshold."""
    if over < NEAR:
        return "That was close. If it is you, try another picture: from the front, in good light."
    return "No offence: to the network, this is someone else’s face."


def tell(identity: str, found: Answer) -> None:
    """The verdict, the scale and the two faces."""
    distance, threshold = found.distance, shared.threshold()
    welcome = distance < threshold
    side = "below" if welcome else "not below"
    detail = f"The distance from {identity} is {distance:.2f}, {side} the threshold of {threshold:.2f}."
    if not welcome:
        detail += f" {comfort(distance - threshold)}"
    show.verdict(WELCOME if welcome else AWAY, detail, welcome)
    show.scale(distance, threshold)
    show.figures(*found.figures)
    if found.probability == found.probability:
        sure = show.per_cent(found.probability)
        show.note(f"Starting from fifty-fifty, the probability that this is {identity} is now {sure}.")
    several = f"The picture shows {found.count} faces; the largest one was compared. " if found.count > 1 else ""
    show.note(f"{several}It took {found.seconds * 1000:.0f} ms.")


show.title("Verify", "Someone is at the door and gives a name. Is it really them?")
left, right = st.columns([1, 2], gap="medium")
with left:
    claimed = choose.person("verify_claimed", "Who do they say they are?")
with right:
    given = choose.picture("verify", "Their picture")
if claimed and given:
    tell(claimed, asked(claimed, given))
else:
    missing = " and ".join(what for what, there in (("a name", claimed), ("a picture", given)) if not there)
    show.notice(f"Choose {missing} to see the answer.")
