"""What stands beside every page: the threshold with what it costs, and the login."""

from __future__ import annotations

import streamlit as st

from apps.streamlit import login, shared, show
from facerec.evaluation import errors_at


def draw() -> None:
    """The threshold, and the login."""
    with st.sidebar:
        _threshold()
        show.heading("Login")
        login.box()


def _threshold() -> None:
    own = shared.model().facenet.threshold
    st.session_state.setdefault("threshold", own)
    show.heading("Threshold")
    st.slider("Faces nearer than this are one person", 0.3, 1.2, step=0.01, key="threshold")
    show.note(meaning(shared.threshold()))
    if (people := len(shared.database())) > 1:
        show.note(among(people))
    if abs(shared.threshold() - own) > 1e-9:
        st.button(f"Back to {own:.2f}", on_click=_back, args=(own,), icon=":material/undo:", width="stretch")


def _back(own: float) -> None:
    st.session_state["threshold"] = own


def meaning(threshold: float) -> str:
    """What a threshold costs, in words."""
    table = shared.rates(shared.network_path())
    if table is None:
        return "Nobody has measured what a threshold of this network costs."
    accepts, rejects = errors_at(table, threshold)
    return (
        f"At {threshold:.2f}: people let in who are somebody else, {percent(accepts)}; people kept out although it is "
        f"them, {percent(rejects)}. Measured on {table.different_pairs.iloc[0] / 1e6:.1f} million pairs of photos of "
        "public figures (LFW); with your people and your camera it differs."
    )


def among(people: int) -> str:
    """What it costs to compare with everybody: at most the sum of what each comparison costs."""
    return (
        f"So much for one claim. Recognise compares a face with all {people:,} people: a stranger is given a name "
        f"up to {people:,} times as often."
    )


def percent(rate: float) -> str:
    """A rate of errors, so that a small one is not taken for none.

    Example:
        >>> percent(0.0097), percent(0.704), percent(0.00001)
        ('0.97 %', '70.40 %', 'less than 0.01 %')
    """
    return "less than 0.01 %" if rate < 0.0001 else f"{rate:.2%}".replace("%", " %")
