"""Do two pictures show one person? FaceNet and the twins, side by side."""

import hashlib
from dataclasses import replace

import streamlit as st

from apps.comparison import NAMES, Comparison
from apps.pictures import around, jpeg
from apps.streamlit import choose, shared, show
from facerec.quality import face_quality


def result(first: choose.Chosen, second: choose.Chosen) -> tuple[Comparison, float]:
    """What both networks say at the slider's threshold, and the seconds it took; two pictures are one decision."""
    question = tuple(hashlib.sha256(each.data).digest() for each in (first, second))
    if st.session_state.get("compare_answer", (None,))[0] != question:
        st.session_state.pop("compare_answer", None)
        compare = shared.comparer()
        with shared.watch() as took:
            photos = [shared.opened(each.data, each.name) for each in (first, second)]
            with shared.TURNS:
                found = compare(*photos)
        number = shared.decided("compare", None, found.distance, "", took())
        st.session_state["compare_answer"] = (question, found, took(), number)
    _, found, seconds, number = st.session_state["compare_answer"]
    found = replace(found, threshold=shared.threshold())
    words = "the same person" if found.is_same else "two people"
    shared.decisions().revise(number, found.threshold, words, found.is_same)
    return found, seconds


def tell(found: Comparison, seconds: float) -> None:
    """The verdict, both opinions, and what was compared."""
    show.verdict(found.headline, found.verdict, None if found.certainty.is_close else found.is_same)
    left, right = st.columns(2, gap="medium")
    with left:
        show.heading("FaceNet: a distance")
        show.scale(found.distance, found.threshold)
        if found.certainty.words:
            sure = found.certainty.per_cent
            show.note(f"Starting from fifty-fifty, the probability that both show one person is now {sure}.")
    with right:
        show.heading("The twins: a score")
        show.score_scale(found.score, found.score_threshold)
        show.note(found.second_opinion)
    show.heading("What was compared")
    faces = list(zip(found.photos, found.detections, NAMES, strict=True))
    show.figures(
        *(
            show.figure(jpeg(around(photo, face)), f"The face in {which}", f"The face in {which}", "crop")
            for photo, face, which in faces
        )
    )
    for photo, face, which in faces:
        for hint in face_quality(photo, face).hints:
            show.notice(f"{which.capitalize()}: {hint}.", "warn")
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
