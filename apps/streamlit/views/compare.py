"""Do two pictures show one person? FaceNet and the twins, side by side."""

import hashlib
from dataclasses import replace

import streamlit as st

from apps.comparison import NAMES, Comparison
from apps.pictures import jpeg
from apps.streamlit import choose, shared, show


def result(first: choose.Chosen, second: choose.Chosen) -> tuple[Comparison, float]:
    """What both networks say, and the seconds it took; drawing the page again does not compute it again."""
    question = tuple(hashlib.sha256(each.data).digest() for each in (first, second))
    if st.session_state.get("compare_answer", (None,))[0] != (question, shared.threshold()):
        st.session_state.pop("compare_answer", None)
        compare = shared.comparer()
        with shared.watch() as took:
            photos = [shared.opened(each.data, each.name) for each in (first, second)]
            with shared.TURNS:
                found = replace(compare(*photos), threshold=shared.threshold())
        words = "the same person" if found.is_same else "two people"
        shared.decided("compare", None, found.distance, words, took())
        st.session_state["compare_answer"] = ((question, shared.threshold()), found, took())
    return st.session_state["compare_answer"][1:]


def tell(found: Comparison, seconds: float) -> None:
    """The verdict, both opinions, and what was compared."""
    words = "The same person" if found.is_same else "Two people"
    show.verdict(words, found.verdict, found.is_same)
    left, right = st.columns(2, gap="medium")
    with left:
        show.heading("FaceNet: a distance")
        show.scale(found.distance, found.threshold)
        if found.probability == found.probability:
            sure = show.per_cent(found.probability)
            show.note(f"Starting from fifty-fifty, the probability that both show one person is now {sure}.")
    with right:
        show.heading("The twins: a score")
        show.score_scale(found.score, found.score_threshold)
        show.note(found.second_opinion)
    show.heading("What was compared")
    show.figures(
        *(
            show.figure(jpeg(face), f"The face in {which}, as FaceNet sees it", f"The face in {which}", "crop")
            for face, which in zip(found.faces, NAMES, strict=True)
        )
    )
    for count, which in zip(found.counts, NAMES, strict=True):
        if count > 1:
            show.note(f"{which.capitalize()} shows {count} faces; the largest one was compared.")
    show.note(f"It took {seconds * 1000:.0f} ms.")


show.title("Compare", "Do two pictures show the same person? Two networks answer, even about people who are not known.")
columns = st.columns(2, gap="medium")
with columns[0]:
    first = choose.picture("compare_1", "The first picture")
with columns[1]:
    second = choose.picture("compare_2", "The second picture")
if first and second:
    tell(*result(first, second))
else:
    show.notice("Choose two pictures to see the answer.")
