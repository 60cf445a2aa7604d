"""Who is in these pictures?"""

import hashlib
import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from apps.pictures import jpeg, smaller
from apps.streamlit import choose, shared, show
from apps.streamlit.decisions import spreadsheet_csv
from facerec.errors import FaceError
from facerec.live.drawing import annotate
from facerec.live.tracking import Track
from fr_utils import identify

MOST = 100  # pictures at once
PER_PAGE = 6
NEAREST = 5
SIDE = 1000  # pixels of the longer side of a picture on the page
SURE = 0.8  # a less probable name gets a warning


@dataclass(frozen=True)
class Named:
    """One picture and the people in it.

    Attributes:
        name: The name of its file.
        picture: The picture, scaled down, as a JPEG; None if it can't be opened.
        faces: What ``identify`` returns, a row per face and rank; who is unknown depends on the threshold.
        problem: Why no face is named; empty if there is one.
        scale: The size of ``picture``, relative to the photo that the boxes in ``faces`` refer to.
    """

    name: str
    picture: bytes | None
    faces: pd.DataFrame
    problem: str = ""
    scale: float = 1.0

    def at(self, threshold: float) -> "Named":
        """The same picture at another threshold, without searching it again."""
        if not len(self.faces):
            return self
        unknown = ~(self.faces.distance < threshold)
        who = [None if not_known else name for name, not_known in zip(self.faces.nearest, unknown, strict=True)]
        identity = pd.Series(who, self.faces.index, dtype=object)  # object: None stays None
        return replace(self, faces=self.faces.assign(is_unknown=unknown, identity=identity))


def named(given: choose.Chosen) -> Named:
    """Name the faces of one picture; if it can't be used, the result says why, and the others go on."""
    name, threshold = shared.one_line(given.name), shared.threshold_among()
    with shared.watch() as took:
        try:
            photo = shared.opened(given.data, name)
            with shared.TURNS:
                faces = identify(photo, shared.database(), shared.model(), threshold, top=NEAREST)
        except FaceError as error:
            return Named(name, None, pd.DataFrame(), str(error))
    first = faces[faces["rank"] == 1] if len(faces) else faces
    for row in first.itertuples():
        words = "unknown" if row.is_unknown else "known"
        shared.decided("recognise", row.identity, row.distance, words, took() / len(first))
    small = smaller(photo, SIDE)
    problem, scale = "" if len(faces) else "no face found", small.shape[1] / photo.shape[1]
    return Named(name, jpeg(small, SIDE, 92), faces, problem, scale)


def drawn(each: Named) -> bytes:
    """The picture with boxes and names, as a JPEG."""
    first = each.faces[each.faces["rank"] == 1] if len(each.faces) else each.faces
    tracks = [
        Track(row.face + 1, np.array(row.box, float) * each.scale, row.identity, row.distance, True)
        for row in first.itertuples()
    ]
    return jpeg(annotate(np.asarray(Image.open(io.BytesIO(each.picture))), tracks), SIDE)


def results(pictures: list[choose.Chosen]) -> list[Named]:
    """The result of each picture, behind a progress bar; known results are reused, also at another threshold."""
    key = shared.state()
    if st.session_state.get("recognised_for") != key:
        st.session_state["recognised_for"], st.session_state["recognised"] = key, {}
    before, now = st.session_state["recognised"], {}
    digests = [(hashlib.sha256(each.data).digest(), each.name) for each in pictures]
    missing = sum(digest not in before for digest in digests)
    bar = st.progress(0.0, "Searching the pictures …") if missing > 1 else None
    for number, (digest, each) in enumerate(zip(digests, pictures, strict=True), 1):
        now[digest] = before[digest] if digest in before else named(each)
        if bar:
            bar.progress(number / len(pictures), f"Picture {number} of {len(pictures)}")
    if bar:
        bar.empty()
    st.session_state["recognised"] = now
    return [now[digest].at(shared.threshold_among()) for digest in digests]


def table(found: list[Named]) -> pd.DataFrame:
    """A row per face, and one for each picture without a face or that can't be opened."""
    rows = []
    for each in found:
        for _, ranks in each.faces.groupby("face") if len(each.faces) else ():
            top = ranks.iloc[0]
            others = "; ".join(f"{row.nearest} {row.distance:.2f}" for row in ranks.itertuples())
            who = "unknown" if top.is_unknown else top.identity
            rows.append((each.name, int(top.face) + 1, who, top.distance, top.confidence, top.nearest, others, ""))
        if each.problem:
            rows.append((each.name, None, None, None, None, None, None, each.problem))
    columns = ["picture", "face", "who", "distance", "confidence", "nearest", "nearest five", "problem"]
    return pd.DataFrame(rows, columns=columns)


def tell(each: Named) -> None:
    """One picture, with a line for each face."""
    with st.container(border=True):
        left, right = st.columns([3, 2], gap="medium")
        with left:
            if each.picture is None:
                show.notice(each.problem, "bad")
            else:
                show.figures(show.figure(drawn(each), each.name, f"{each.name}, with boxes and names"))
        with right:
            if each.picture is not None and each.problem:
                show.notice("No face found. Is a whole face in the picture, well lit and large enough?", "warn")
            st.html("".join(line(ranks) for _, ranks in each.faces.groupby("face")) if len(each.faces) else "<p></p>")


def line(ranks: pd.DataFrame) -> str:
    """One face as HTML: the name, how sure it is, and the nearest people."""
    top = ranks.iloc[0]
    who, kind = ("Unknown", "info") if top.is_unknown else (top.identity, "warn" if top.confidence < SURE else "good")
    others = "".join(f"<li>{show.esc(row.nearest)}<span>{row.distance:.2f}</span></li>" for row in ranks.itertuples())
    return (
        f'<div class="face {"good" if kind == "good" else "warn"}"><b>{show.icon(kind)}{show.esc(who)}</b>'
        f'<p class="small">{show.esc(how_sure(top))}</p>'
        f"<details><summary>The nearest {len(ranks)}</summary><ol>{others}</ol></details></div>"
    )


def how_sure(top: Any) -> str:
    """The distance of the nearest person and, for a known face, the confidence."""
    if top.is_unknown:
        return f"nearest: {top.nearest}, distance {top.distance:.2f}"
    if np.isnan(top.confidence):
        return f"distance {top.distance:.2f}"
    doubt = "; please check" if top.confidence < SURE else ""
    return f"distance {top.distance:.2f}, {show.per_cent(top.confidence)} sure that it is {top.nearest}{doubt}"


def pictures() -> list[choose.Chosen]:
    """Ask for pictures: files, the camera, or an example."""
    source = choose.source("recognise", "Pictures", ["Files", choose.CAMERA, choose.EXAMPLE])
    if source == "Files":
        files = choose.several("recognise", "Pictures")
        if len(files) > MOST:
            show.notice(f"{len(files)} pictures are too many at once: only the first {MOST} are used.", "warn")
        return files[:MOST]
    given = choose.one("recognise", "Picture", source, "Files")
    return [given] if given else []


show.title("Recognise", "Name every face in one picture or in many. A face that matches no one is marked as unknown.")
given = pictures()
if not len(shared.database()):
    show.notice(choose.NO_ONE, "warn")
elif given:
    found = results(given)
    whole = table(found)
    known = int((whole.who.notna() & (whole.who != "unknown")).sum())
    unknown, problems = int((whole.who == "unknown").sum()), int((whole.problem != "").sum())
    show.tiles(
        [
            (
                "Pictures",
                str(len(found)),
                f"{problems} unreadable or without a face" if problems else "all usable",
            ),
            ("Known faces", str(known), ""),
            ("Unknown faces", str(unknown), ""),
        ]
    )
    page = st.pagination(-(-len(found) // PER_PAGE), key="recognise_page") if len(found) > PER_PAGE else 1
    for each in found[(page - 1) * PER_PAGE : page * PER_PAGE]:
        tell(each)
    show.heading("Results as a table")
    st.dataframe(
        whole,
        hide_index=True,
        column_config={
            "distance": st.column_config.NumberColumn(format="%.2f"),
            "confidence": st.column_config.NumberColumn(format="percent"),
        },
    )
    st.download_button(
        "Download as CSV",
        spreadsheet_csv(whole),
        "faces.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
else:
    show.notice("Choose one or more pictures to see who is in them.")
