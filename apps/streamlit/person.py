"""A page for a person: their pictures, the portrait, another name, two people made one, and the ways out."""

from __future__ import annotations

import time

import numpy as np
import streamlit as st

from apps.pictures import jpeg
from apps.streamlit import choose, login, shared, show
from apps.streamlit.looking import namesakes
from apps.streamlit.saying import say
from facerec.database import NotForgottenYet, check_name
from facerec.database.one_person import arrange, merge, put_back, take_out
from facerec.errors import BadArgument, UnknownIdentity
from facerec.photos import data_url

#: A removal can be undone for so many seconds.
UNDO = 60


def leave() -> None:
    """Leave the pressed person."""
    st.session_state["people_gallery_kept"] = None


def one_person(name: str) -> None:
    """Everything about a person, and the ways to change it."""
    with st.container():
        show.heading(name)
        pictures(name)
        rename_tab, merge_tab, remove_tab, forget_tab = st.tabs(["Rename", "Merge", "Remove", "Forget"])
        with rename_tab, st.form("rename", border=False):
            new = st.text_input("New name", key="people_new_name", max_chars=200)
            if st.form_submit_button("Rename", icon=":material/edit:"):
                rename(name, new)
        with merge_tab:
            ask_to_merge(name)
        with remove_tab:
            show.note(
                "A removed person is no longer recognised. You can undo this for a minute. Traces may stay in the "
                "database’s files until they are overwritten; to erase those too, choose Forget."
            )
            if confirmed("remove this person", f"remove_{name}", "Remove", "person_remove", "people_remove"):
                remove(name)
        with forget_tab:
            show.note(
                "Forgetting erases the name, the encodings and the photos from the database’s files, and all decisions "
                "about this person. It can’t be undone. It does not reach backups and earlier exports."
            )
            if confirmed("erase every trace of this person", name, "Forget", "delete_forever", "people_forget"):
                forget(name)


def confirmed(what: str, about: str, label: str, icon: str, key: str) -> bool:
    """A button that a ticked box opens: whether it was pressed, with the box ticked."""
    sure = st.checkbox(f"Yes, {what}", key=f"people_sure_{about}")
    return st.button(label, icon=f":material/{icon}:", disabled=not sure, key=key) and sure


# ------------------------------------------------------------------------------------------------- pictures
def pictures(name: str) -> None:
    """Show all pictures of a person, the portrait first; one can be pressed and removed, or made the portrait."""
    try:
        photos, count = shared.database().photos(name), len(shared.database().encodings(name))
    except UnknownIdentity:
        show.notice("This person is no longer in the database.", "warn")
        return
    if len(photos) != count:
        show.note(f"{len(photos)} photos are kept, for {count} encodings, so single pictures can’t be changed.")
    last = len(photos) - 1
    entries = tuple(
        {
            "id": str(number),
            "label": f"Picture {number + 1}",
            "src": data_url(jpeg(photos[number], 112)),
            "note": "portrait" if number == last else "",
        }
        for number in range(last, -1, -1)
    )
    if not entries:
        return
    key = f"person_picture_{name}"
    pressed = choose.gallery(key, f"The pictures of {name}", entries, idle=len(photos) != count or not last)
    if pressed is None:
        return
    number = int(pressed)
    show.figures(
        show.figure(jpeg(photos[number], 480), f"Picture {number + 1}", f"Picture {number + 1} of {name}", "crop")
    )
    with st.container(horizontal=True):
        others = [other for other in range(last + 1) if other != number]
        if st.button("Make it the portrait", icon=":material/star:", disabled=number == last, key="person_portrait"):
            change_pictures(name, [*others, number], f"{name} has another portrait.", "The portrait has changed.")
        if st.button("Remove this picture", icon=":material/delete:", key="person_remove_picture"):
            change_pictures(name, others, f"The picture of {name} has been removed.", "The picture has been removed.")


def change_pictures(name: str, order: list[int], text: str, short: str) -> None:
    """Keep some of a person's pictures, in this order."""
    with show.friendly():
        arrange(login.changing(name), name, order)
        login.changed()
        st.session_state.pop(f"person_picture_{name}_kept", None)
        say(text, "person", short)


# ----------------------------------------------------------------------------------------------------- names
def rename(name: str, new: str) -> None:
    """Change a person's name."""
    with show.friendly():
        database, called = login.changing(name), given_name(new)
        if called != name and called in database:
            raise BadArgument(f"“{called}” is taken. Choose another name, or merge the two.")
        database.rename(name, called)
        shared.decisions().forget(name)
        login.changed()
        st.session_state["people_gallery_kept"] = called
        alike = "".join(f" {question}" for question in namesakes(called, database).values())
        say(f"{name} is now called {called}.{alike}", "person", "The name has changed.", "warn" if alike else "good")


def given_name(text: str) -> str:
    """A name, checked, as the database keeps it."""
    if not text.strip():
        raise BadArgument("Enter a name first.")
    try:
        return check_name(text)
    except BadArgument as error:  # which begins with the argument and its value
        raise BadArgument(f"This name can’t be used: {str(error).rpartition(': ')[2]}.") from error


def ask_to_merge(name: str) -> None:
    """Offer to give this person the pictures of another one."""
    show.note(f"If another entry shows the same person, its pictures can be moved to {name}; its name is then removed.")
    other = choose.person("people_merge", "The other entry")
    if other is None or other == name:
        return
    distance = float(np.linalg.norm(shared.database()[name] - shared.database()[other]))
    alike = distance < shared.threshold()
    words = "they look like one person" if alike else "they look like two people"
    show.notice(f"The distance between {name} and {other} is {distance:.2f}: {words}.", "info" if alike else "warn")
    if confirmed("both are one person", f"merge_{name}_{other}", "Merge", "merge", "people_merge_now"):
        make_one(name, other)


def make_one(name: str, other: str) -> None:
    """Give a person the pictures of another one, whose name goes."""
    with show.friendly():
        merge(login.changing(name), name, other)
        shared.decisions().forget(other)
        login.changed()
        st.session_state.pop("people_merge", None)
        say(f"The pictures of {other} now belong to {name}.", "person", "The two are one person now.")


# ---------------------------------------------------------------------------------------------------- the ways out
def remove(name: str) -> None:
    """Take a person out of the database; for a minute, they can be put back."""
    with show.friendly():
        person = take_out(login.changing(name), name)
        login.changed()
        leave()
        st.session_state["people_removed"] = (person, time.monotonic() + UNDO)
        say(f"{name} has been removed.", "person", "The person has been removed.")


def offer_undo() -> None:
    """Offer to put back a person who was removed within the last minute."""
    person, until = st.session_state.get("people_removed", (None, 0.0))
    if person is None or time.monotonic() > until:
        st.session_state.pop("people_removed", None)
        return
    if st.button("Undo the removal", icon=":material/undo:", key="people_undo"):
        undo()


def undo() -> None:
    """Put back the person who was removed last."""
    with show.friendly():
        database = login.changing()
        person, until = st.session_state.pop("people_removed", (None, 0.0))
        if person is None or time.monotonic() > until:
            raise BadArgument("A removal can be undone for a minute; this one is older.")
        put_back(database, person)
        login.changed()
        say(f"{person.identity} is back.", "person", "The person is back.")


def forget(name: str) -> None:
    """Erase every trace of a person, beginning with the decisions about them."""
    with show.friendly():
        database = login.changing(name)
        shared.decisions().forget(name)
        for key in ("recognised", "people_gallery_kept", "people_removed"):
            st.session_state.pop(key, None)
        login.changed()
        try:
            database.forget(name)
        except NotForgottenYet as error:
            say(str(error), "person", "Not everything has been erased yet.", "warn")
        finally:
            shared.decisions().forget(name)  # also those made meanwhile
        text = "The person has been forgotten: no trace is left in the database or the decisions."
        say(text, "person", "The person has been forgotten.")
