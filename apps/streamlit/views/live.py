"""The camera as a stream: who is in front of it?

The browser shows its own camera and sends small pictures over the connection that the page has anyway, the next one
when the last has been answered; what comes back are boxes and names, which the browser draws over its film. A peer
connection (WebRTC) would need a server that both sides can reach, for a film that nobody watches on the other side. So
the film stays smooth however slow the answers are, and no picture waits in a queue: 7 to 9 are answered each second
on two cores that are busy with other work as well.
"""

import base64
import functools
from typing import Any

import streamlit as st

from apps.streamlit import choose, login, shared, show
from facerec.errors import FaceError, UnreadableImage
from facerec.live.recognise import LiveRecogniser

LARGEST = 700_000  # letters of a frame: 640 pixels in JPEG are a tenth of it
SIDE = 640


@functools.cache
def _component():
    css, js = ((choose.HERE / f"live_camera.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    return st.components.v2.component("faces_live", css=css, js=js, html="<div class='live'></div>")


def recogniser() -> LiveRecogniser:
    """This browser's own: it remembers who was in the last frames."""
    kept = st.session_state.get("live_recogniser")
    if kept is None or kept.threshold != shared.threshold():
        shared.end_live()
        kept = LiveRecogniser(shared.model(), shared.database(), shared.threshold(), every=3, background=True)
        st.session_state["live_recogniser"] = kept
    return kept


def frame_of(letters: Any):
    """The frame (H, W, 3) in what the browser sent."""
    if not isinstance(letters, str) or len(letters) > LARGEST:
        raise UnreadableImage("the browser sent something else than a small picture")
    try:
        data = base64.b64decode(letters, validate=True)
    except ValueError as error:
        raise UnreadableImage("the browser sent something else than a picture") from error
    return shared.smaller(shared.opened(data, "the frame"), SIDE)


def answered(message: Any) -> dict:
    """Boxes and names for one frame, and how many frames a second there are."""
    number = message.get("number") if isinstance(message, dict) else None
    if not isinstance(number, int):
        return {"number": 0, "faces": [], "problem": "the browser sent something else than a picture"}
    if message.get("begins"):
        shared.end_live()
    try:
        if not login.may_look():  # frames come without the page being drawn, and don't make a login last
            raise login.NotLoggedIn("The login is over: log in again to go on.")
        frame = frame_of(message.get("jpeg"))
        tracks = recogniser().see(frame)
    except FaceError as error:
        return {"number": number, "faces": [], "problem": str(error)}
    faces = [
        {
            "box": track.box,
            "label": track.label,
            "distance": f"{track.distance:.2f}" if track.recognised else "",
            "kind": "looking" if not track.recognised else "unknown" if track.identity is None else "known",
        }
        for track in tracks
    ]
    return {"number": number, "faces": faces, "size": [frame.shape[1], frame.shape[0]], "problem": ""}


def see() -> None:
    """Answer the frame that has just come; none, if the page was left while it came."""
    if "live" in st.session_state:
        st.session_state["live_answer"] = answered(st.session_state["live"].get("frame"))


@st.fragment
def stream() -> None:
    """The camera; only this part of the page runs again for each frame."""
    _component()(key="live", data=st.session_state.get("live_answer"), on_frame_change=see)


show.title(
    "Live", "The camera as it sees you: a box and a name for every face, and “unknown” for whoever is not known."
)
if len(shared.database()):
    stream()
    show.note(
        "Pictures go to this app's computer while the camera is on, are looked at, and are not kept. A browser gives "
        "its camera only to pages of its own computer (localhost) or from https."
    )
else:
    show.notice("Nobody is known yet: add somebody on the page People first.", "warn")
