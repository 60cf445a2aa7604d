"""The camera, live: who is in front of it?

    browser ──a small picture──► LiveRecogniser ──boxes and names──► drawn over the browser's own film ──► the next one

Pictures travel over the connection that the page has anyway, each one after the last was answered. So the film stays
smooth however slow the answers are, and no picture waits in a queue: two cores that are busy with other work as well
answer 7 to 9 a second. A peer connection (WebRTC) would need a server that both sides can reach.
"""

import base64
import functools
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import streamlit as st

from apps.pictures import around, jpeg, smaller
from apps.streamlit import choose, login, shared, show
from apps.streamlit.naming import offer
from apps.streamlit.saying import said
from apps.streamlit.searching import KEPT, Face
from facerec.database import mean_encoding
from facerec.errors import FaceError, UnreadableImage
from facerec.live.recognise import LiveRecogniser
from facerec.live.tracking import Track

LARGEST = 700_000  # letters of a frame in base64; a JPEG of 640 pixels has a tenth of that
FRAME_SIDE = 640


@functools.cache
def _component():
    css, js = (choose.HERE / "live_camera.css", choose.HERE / "live_camera.js")
    scripts = files("facerec.live") / "camera.js", js
    return st.components.v2.component(
        "faces_live",
        css=css.read_text(encoding="utf-8"),
        js="\n".join(script.read_text(encoding="utf-8") for script in scripts),
        html="<div class='live'></div>",
    )


def recogniser() -> LiveRecogniser:
    """This session's recogniser, which remembers the last frames, at the threshold of this moment."""
    kept, threshold = st.session_state.get("live_recogniser"), shared.threshold_among()
    if kept is None:
        kept = LiveRecogniser(shared.model(), shared.database(), threshold, every=3, background=True)
        st.session_state["live_recogniser"] = kept
    if kept.threshold != threshold:
        kept.use_threshold(threshold)
    return kept


def frame_of(letters: Any) -> np.ndarray:
    """The frame (H, W, 3) that the browser sent as base64.

    Raises:
        UnreadableImage: If it did not send a small picture.
    """
    if not isinstance(letters, str) or len(letters) > LARGEST:
        raise UnreadableImage("the browser did not send a small picture")
    try:
        data = base64.b64decode(letters, validate=True)
    except ValueError as error:
        raise UnreadableImage("the browser did not send a picture") from error
    return smaller(shared.opened(data, "the frame"), FRAME_SIDE)


def answered(message: Any) -> dict:
    """Boxes and names for one frame, or what is wrong with it."""
    number = message.get("number") if isinstance(message, dict) else None
    if not isinstance(number, int):
        return {"number": 0, "faces": [], "problem": "the browser did not send a picture"}
    if message.get("begins"):
        shared.end_live()
    try:
        if not login.may_look():  # frames come without a click, so they do not extend a login
            raise login.NotLoggedIn("Your login has ended. Log in again to continue.")
        frame = frame_of(message.get("jpeg"))
        tracks = recogniser().see(frame, wait=True)
        st.session_state["live_last"] = (frame, tracks)
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
    """Answer the frame that has just arrived, unless the page was left meanwhile."""
    if "live" in st.session_state:
        st.session_state["live_answer"] = answered(st.session_state["live"].get("frame"))


@st.fragment
def stream() -> None:
    """The camera. Only this fragment runs again for each frame."""
    _component()(key="live", data=st.session_state.get("live_answer"), on_frame_change=see)


def in_view(frame: np.ndarray, tracks: Sequence[Track]) -> dict[str, tuple[list[Face], str | None]]:
    """The faces of a frame for ``naming.offer``, the unknown ones first."""
    looked_at = [track for track in tracks if track.recognised and track.encodings]
    return {
        str(track.id): ([face_of(frame, track)], track.identity)
        for track in sorted(looked_at, key=lambda track: track.identity is not None)
    }


def face_of(frame: np.ndarray, track: Track) -> Face:
    """A tracked face, with the mean of its last encodings."""
    picture = jpeg(around(frame, {"box": track.box, "turn": 0}, KEPT), 640)
    return Face(track.box, mean_encoding(np.stack(track.encodings)), picture)


def name_faces() -> None:
    """Take the faces of the last frame, and offer to name them."""
    said("live")
    if login.who() is None:
        show.note("To name faces that are in view, log in on the People page.")
        return
    if st.button("Name a face in view", icon=":material/person_add:", key="live_take"):
        last = st.session_state.get("live_last")
        st.session_state["live_taken"] = in_view(*last) if last else {}
    taken = st.session_state.get("live_taken")
    if taken:
        offer("live", taken)
    elif taken is not None:
        show.notice("No face is in view. Start the camera, and press the button while a box is around the face.")


show.title("Live", "Your camera, live: a box and a name for every known face, and “unknown” for every other.")
if len(shared.database()):
    stream()
    name_faces()
    show.note(
        "While the camera is on, its pictures go to the computer that runs this app; they are not kept. Browsers share "
        "the camera only with pages from this computer (localhost) or over https."
    )
else:
    show.notice(choose.NO_ONE, "warn")
