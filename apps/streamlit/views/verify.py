"""Is this the person they say they are?"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from apps.certainty import Certainty
from apps.pictures import boxed, jpeg, smaller
from apps.streamlit import choose, shared, show
from apps.streamlit.looking import look_at_each, portrait_of, sure_of, turned_by
from facerec.gallery import distance_from, open_gallery
from facerec.photos import data_url

WELCOME, AWAY, CLOSE = "Welcome in", "Go away", "Too close to call"
NEAR = 0.1  # a distance that is over the threshold by less is a near miss
MOST = 10  # faces of one picture that can be compared, the largest ones
PAGE_SIDE = 720  # pixels of the longer side of the pictures on the page


@dataclass(frozen=True)
class Door:
    """A picture of someone at the door, searched once.

    Attributes:
        digest: Which picture it is.
        photo: The picture, at most 720 pixels a side.
        boxes: The box of each face in ``photo``, the largest face first.
        faces: The aligned faces, (m, S, S, 3).
        encodings: (m, D).
        flaws: What would make a better picture of each face.
        count: How many faces the picture shows; it may be more than m.
        turn: By how many degrees ``photo`` was turned clockwise.
        seconds: How long it took.
    """

    digest: str
    photo: np.ndarray
    boxes: list[tuple[int, ...]]
    faces: Sequence[np.ndarray]
    encodings: Sequence[np.ndarray]
    flaws: Sequence[tuple[str, ...]]
    count: int
    turn: int
    seconds: float


def door(picture: choose.Chosen) -> Door:
    """What the picture shows; another name, another face or another threshold does not search it again."""
    digest = hashlib.sha256(picture.data).hexdigest()
    if "verify_door" not in st.session_state or st.session_state["verify_door"].digest != digest:
        st.session_state.pop("verify_door", None)
        st.session_state["verify_door"] = searched(picture, digest)
    return st.session_state["verify_door"]


def searched(picture: choose.Chosen, digest: str) -> Door:
    """Find and encode the faces at the door."""
    with shared.watch() as took:
        photo = shared.opened(picture.data, picture.name)
        with shared.TURNS:
            seen = look_at_each(photo, shared.model(), shared.one_line(picture.name), MOST)
    photo = seen[0].photo  # upright
    small = smaller(photo, PAGE_SIDE)
    scale = small.shape[1] / photo.shape[1]
    boxes = [tuple(round(n * scale) for n in each.detection["box"]) for each in seen]
    faces, encodings, flaws = zip(*((each.face, each.encoding, each.flaws) for each in seen), strict=True)
    return Door(digest, small, boxes, faces, encodings, flaws, seen[0].count, seen[0].turn, took())


def distances(identity: str, at: Door) -> list[float]:
    """How far each face is from the claimed person, as ``fr_utils.verify`` measures it."""
    gallery = open_gallery(shared.database(), shared.model())
    return [distance_from(gallery, identity, encoding) for encoding in at.encodings]


def note_decision(identity: str, at: Door, face: int, distance: float, welcome: bool) -> None:
    """Note the decision about a face, once: moving the threshold or drawing the page again is not another one."""
    known = hashlib.sha256(shared.database()[identity].tobytes()).hexdigest()
    question = (identity, known, at.digest, face)
    if st.session_state.get("verify_noted", (None,))[0] != question:
        number = shared.decided("verify", identity, distance, "", at.seconds)
        st.session_state["verify_noted"] = (question, number)
    number = st.session_state["verify_noted"][1]
    shared.decisions().revise(number, shared.threshold(), WELCOME if welcome else AWAY, welcome)


def comfort(over: float) -> str:
    """A friendly word for a visitor who is sent away, by how far the distance is over the threshold."""
    if over < NEAR:
        return "That was close. If it is you, try another picture: from the front, in good light."
    return "No offence: to the network, this is someone else’s face."


def tell(identity: str, at: Door, name: str) -> None:
    """The verdict, what it means, the faces to choose from, and the pictures."""
    far, threshold = distances(identity, at), shared.threshold()
    face, nearest = pressed(at), int(np.argmin(far))
    near = far[face] < threshold
    probability, nearer = sure_of(identity, far[face], at.encodings[face], shared.database(), shared.model())
    sure = Certainty(near, probability)
    rival = nearer if near and sure.is_against else None
    welcome, other = near and rival is None, not near and far[nearest] < threshold
    side = "below" if near else "not below"
    detail = f"The distance from {identity} is {far[face]:.2f}, {side} the threshold of {threshold:.2f}."
    if rival:
        detail += f" But the face is much nearer to {rival[0]} ({rival[1]:.2f})."
    elif not near and not other:
        detail += f" {comfort(far[face] - threshold)}"
    words = CLOSE if sure.is_close else WELCOME if welcome else AWAY
    show.verdict(words, detail, None if sure.is_close else welcome)
    note_decision(identity, at, face, far[face], welcome)  # after the answer: it writes to the disk
    for flaw in at.flaws[face]:
        show.notice(f"A better picture helps: {flaw}.", "warn")
    if other:
        show.notice(f"Another face in this picture matches {identity}: face {nearest + 1}. Press it to compare it.")
    show.scale(far[face], threshold)
    if sure.words:
        show.note(
            f"Starting from fifty-fifty, and compared with everyone in the database, the probability that this is "
            f"{identity} is now {sure.per_cent}."
        )
    show.note(f"It took {at.seconds * 1000:.0f} ms.")
    if at.turn:
        show.notice(f"{turned_by(at.turn).capitalize()}.")
        st.toggle("Show it as it was taken", key=as_taken(at))
    if len(at.faces) > 1:
        choose_face(at, far)
    figures(identity, at, face, name)


def key_of(at: Door, face: int) -> str:
    """A face's key among those that can be pressed; another picture has others."""
    return f"{at.digest[:16]} {face}"


def pressed(at: Door) -> int:
    """The number of the face that is compared, from 0: the largest one until another is pressed."""
    keys = [key_of(at, face) for face in range(len(at.faces))]
    kept = st.session_state.get("verify_face_kept")
    return keys.index(kept) if kept in keys else 0


def choose_face(at: Door, far: list[float]) -> None:
    """The faces of a picture of several people, to press the one that is meant."""
    more = f" The {len(at.faces)} largest can be compared." if at.count > len(at.faces) else ""
    show.note(f"The picture shows {at.count} faces. The largest is compared until you press another.{more}")
    entries = tuple(
        {
            "id": key_of(at, face),
            "label": f"Face {face + 1}",
            "src": data_url(jpeg(at.faces[face], 112)),
            "note": f"distance {distance:.2f}",
        }
        for face, distance in enumerate(far)
    )
    choose.gallery("verify_face", "The faces in the picture", entries, first=entries[0]["id"])


def as_taken(at: Door) -> str:
    """The key of the wish to see a picture as it was taken."""
    return f"verify_as_taken_{at.digest[:16]}"


def figures(identity: str, at: Door, face: int, name: str) -> None:
    """The picture with a box around the face that was compared and, if one is kept, the known photo."""
    turns = at.turn // 90 if st.session_state.get(as_taken(at)) else 0  # back, anticlockwise
    at_the_door = jpeg(np.rot90(boxed(at.photo, at.boxes[face]), turns))
    pictures = [show.figure(at_the_door, f"At the door: {name}", "The picture, with a box around the compared face")]
    if (known := portrait_of(identity, shared.database())) is not None:
        pictures.append(show.figure(jpeg(known), f"{identity} in the database", f"The photo of {identity}"))
    show.figures(*pictures)


show.title("Verify", "Someone is at the door and gives a name. Is it really them?")
left, right = st.columns([1, 2], gap="medium")
with left:
    claimed = choose.person("verify_claimed", "Who do they say they are?")
with right:
    given = choose.picture("verify", "Their picture")
if claimed and given:
    tell(claimed, door(given), shared.one_line(given.name))
else:
    missing = " and ".join(what for what, there in (("a name", claimed), ("a picture", given)) if not there)
    show.notice(f"Choose {missing} to see the answer.")
