"""The sidebar of every page: the threshold with its error rates, and the login."""

from __future__ import annotations

import streamlit as st

from apps.streamlit import login, shared, show
from facerec.evaluation import errors_at

#: On a narrow window an open sidebar covers the page: close it when another page is opened, and after a reload.
TUCK_AWAY = """<script>
  // {page}: another page is another script, which the browser runs anew
  setTimeout(() => {{
    if (innerWidth <= 768) document.querySelector("[data-testid=stSidebarCollapseButton] button")?.click();
  }}, 100);
</script>"""


def draw(page: str) -> None:
    """Draw the threshold and the login; ``page`` names the page beside them."""
    with st.sidebar:
        _threshold()
        show.heading("Login")
        login.box()
    with st.container(key="tuck_away"):  # takes no room: style.css
        st.html(TUCK_AWAY.format(page=page), unsafe_allow_javascript=True)


def _threshold() -> None:
    own = shared.model().facenet.threshold
    st.session_state.setdefault("threshold", own)
    show.heading("Threshold")
    st.slider("Distances below this count as one person", 0.3, 1.2, step=0.01, key="threshold")
    show.note(meaning(shared.threshold()))
    if (people := len(shared.database())) > 1:
        show.note(among(people))
    if abs(shared.threshold() - own) > 1e-9:
        st.button(f"Reset to {own:.2f}", on_click=_back, args=(own,), icon=":material/undo:", width="stretch")


def _back(own: float) -> None:
    st.session_state["threshold"] = own


def meaning(threshold: float) -> str:
    """The error rates at a threshold, in words."""
    table = shared.rates(shared.network_path())
    if table is None:
        return "The error rates of this network have not been measured."
    accepts, rejects = errors_at(table, threshold)
    return (
        f"At {threshold:.2f}: false accepts (the wrong person is let in) {percent(accepts)}, false rejects (the right "
        f"person is kept out) {percent(rejects)}. Measured on {table.different_pairs.iloc[0] / 1e6:.1f} million pairs "
        "of photos of public figures (LFW); your people and your camera will differ."
    )


def among(people: int) -> str:
    """The threshold that Recognise and Live use, which compare a face with everyone."""
    strict = shared.threshold_among()
    if strict < shared.threshold():
        return (
            f"Recognise and Live compare a face with all {people:,} people, so they use {strict:.2f}: about one "
            "stranger in a hundred gets a name. Once you move the slider, your threshold counts there, too."
        )
    return (
        f"These rates are for one comparison. Recognise compares a face with all {people:,} people, so a stranger gets "
        f"a name up to {people:,} times as often."
    )


def percent(rate: float) -> str:
    """An error rate in words that never turn a small one into zero.

    Example:
        >>> percent(0.0097), percent(0.704), percent(0.00001)
        ('0.97 %', '70.40 %', 'less than 0.01 %')
    """
    return "less than 0.01 %" if rate < 0.0001 else f"{rate:.2%}".replace("%", " %")
