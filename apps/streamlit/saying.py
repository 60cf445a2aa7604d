"""A sentence about what was done, shown once, when the page is drawn again."""

from __future__ import annotations

import streamlit as st

from apps.streamlit import show


def say(text: str, where: str, short: str, kind: str = "good", clear: bool = True) -> None:
    """Draw the page again, with a sentence on it.

    Args:
        text: The sentence; it may contain names.
        where: The part of the page for it.
        short: The same without names, for a toast, which reads markdown.
        kind: A kind of ``show.notice``.
        clear: True empties the forms.
    """
    st.session_state["people_said"] = (text, where, short, kind)
    st.session_state["people_clear"] = clear
    st.rerun()


def said(where: str) -> None:
    """Show the sentence for this part of the page, if there is one."""
    with st.container():  # always there, so that what follows keeps its place, and its open tab
        text, place, short, kind = st.session_state.get("people_said", ("", "", "", ""))
        if place == where:
            del st.session_state["people_said"]
            show.notice(text, kind)
            st.toast(short)
