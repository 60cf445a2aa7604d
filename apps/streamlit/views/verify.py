"""Is this the person they say they are?"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import streamlit as st

from apps.streamlit import choose, shared, show
from apps.streamlit.looking import Verified, face_box, portrait_of, verified
from facerec.networks import confidence

WELCOME, AWAY = "Welcome in", "Go away"
NEAR = 0.1  # so little over the threshold is a near miss


@dataclass(frozen=True)
class Answer:
    """What is shown of one verification.

    Attributes:
        distance: How far the face is from whom it claims to be.
        probability: That it is them, if it was as likely as not beforehand; NaN if nobody has measured it.
        count: How many faces the picture shows.
        seconds: From the picture to the answer.
        figures: Both faces, as the page shows them.
    """

    distance: float
    probability: float
    count: int
    seconds: float
    figures: tuple[str, ...]


def asked(identity: str, picture: choose.Chosen) -> Answer:
    """The answer; a page that is only drawn again does not ask again."""
    known = hashlib.sha256(shared.database()[identity].tobytes()).digest()
    question = (identity, hashlib.sha256(picture.data).digest(), known, shared.threshold())
    if st.session_state.get("verify_answer", (None,))[0] != question:
        st.session_state.pop("verify_answer", None)
        st.session_state["verify_answer"] = (question, answer(identity, picture))
    return st.session_state["verify_answer"][1]


def answer(identity: str, picture: choose.Chosen) -> Answer:
    """Look, measure, decide, and take note of it."""
    with shared.watch() as took:
        photo = shared.opened(picture.data, picture.name)
        with shared.turn():
            found = verified(photo, identity, shared.database(), shared.model())
    words = WELCOME if found.distance < shared.threshold() else AWAY
    shared.decided("verify", identity, found.distance, words, took())
    probability = float(confidence(found.distance, shared.model()))
    shown = tuple(figures(identity, picture, found))
    return Answer(found.distance, probability, found.look.count, took(), shown)


def figures(identity: str, picture: choose.Chosen, found: Verified) -> Iterator[str]:
    """The face at the door and, if a photo is kept, the one that is known, each in its box."""
    name = shared.one_line(picture.name)
    door = show.jpeg(show.boxed(found.look.photo, found.look.detection["box"]))
    yield show.figure(door, f"At the door: {name}", "The picture, with a box around the face")
    known = portrait_of(identity, shared.database())
    if known is not None:
        box = known_box(known)
        known = show.jpeg(known if box is None else show.boxed(known, box))
        yield show.figure(known, f"{identity}, as known here", f"The photo of {identity}, with a box around the face")


@st.cache_data(max_entries=1000, show_spinner=False)
def known_box(photo: np.ndarray) -> tuple[int, int, int, int] | None:
    """Where the face of a kept photo is; looked for once, since the same people come again and again."""
    return face_box(photo)


def comfort(over: float) -> str:
    """A friendly word for whoever is sent away, by how far they were over the threshold."""
    if over < NEAR:
        return "That was close: if it is you, try another picture, from the front and in good light."
    return "No offence: to the network this is somebody else’s face."


def tell(identity: str, found: Answer) -> None:
    """The verdict, the line and the two faces."""
    distance, threshold = found.distance, shared.threshold()
    welcome = distance < threshold
    than = "less" if welcome else "not less"
    detail = f"The distance from {identity} is {distance:.2f}, and that is {than} than {threshold:.2f}."
    if not welcome:
        detail += f" {comfort(distance - threshold)}"
    show.verdict(WELCOME if welcome else AWAY, detail, welcome)
    show.scale(distance, threshold)
    show.figures(*found.figures)
    several = (
        f"The picture shows {found.count} faces: the largest, in the box, was compared. " if found.count > 1 else ""
    )
    if found.probability == found.probability:
        sure = show.per_cent(found.probability)
        show.note(f"The probability that this is {identity} is {sure}, if it was as likely as not beforehand.")
    show.note(f"{several}It took {found.seconds * 1000:.0f} ms.")


show.title("Verify", "Somebody is at the door and says who they are. Is it true?")
left, right = st.columns([1, 2], gap="medium")
with left:
    claimed = choose.person("verify_claimed", "Who do they say they are?")
with right:
    given = choose.picture("verify", "Their picture")
if claimed and given:
    tell(claimed, asked(claimed, given))
else:
    missing = " and ".join(what for what, there in (("a name", claimed), ("a picture", given)) if not there)
    show.notice(f"Choose {missing}, and the answer appears here.")
