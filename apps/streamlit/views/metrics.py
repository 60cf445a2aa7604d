"""How it runs: the network, the people, the time it takes; and whether it was right."""

from dataclasses import replace

import pandas as pd
import psutil
import streamlit as st

from apps.streamlit import login, shared, show
from apps.streamlit.decisions import Decision, spreadsheet_csv, table_of
from facerec.errors import BadArgument
from facerec.networks import info_of

PER_PAGE = 10
RIGHT, WRONG = "right", "wrong"
HIDDEN = "(hidden)"


def mark(number: int, key: str) -> None:
    """Take note of what somebody says about a decision."""
    if key not in st.session_state or not may_mark(number):  # the page was left, or the login ended, meanwhile
        return
    said = st.session_state[key]
    try:
        shared.decisions().mark(number, None if said is None else said == RIGHT)
    except BadArgument as error:
        st.session_state["metrics_problem"] = str(error)


def may_mark(number: int) -> bool:
    """Whether whoever is here may say if a decision was right: theirs, or any with a login."""
    return shared.asked_here(number) or login.who() is not None


def name_of(each: Decision) -> str | None:
    """Who was claimed or found; who stood at the door is nobody's business but theirs who asked or have a login."""
    return each.identity if each.identity is None or may_mark(each.number) else HIDDEN


def table(recent: list[Decision]) -> pd.DataFrame:
    """The decisions, with the names that may be seen here."""
    return table_of([replace(each, identity=name_of(each)) for each in recent])


def row(each: Decision) -> None:
    """One decision, and whether it was right."""
    key, who = f"mark_{each.number}", name_of(each) or ("–" if each.kind == "compare" else "nobody known")
    st.session_state[key] = None if each.right is None else RIGHT if each.right else WRONG
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key=f"row_{each.number}"):
        st.html(
            f'<div class="row"><b>{show.esc(each.kind)}: {show.esc(who)}</b>'
            f'<p class="small">{show.esc(each.decision)}, distance {each.distance:.2f} at {each.threshold:.2f}, '
            f"{each.seconds * 1000:.0f} ms, {each.when.astimezone():%H:%M:%S %Z}</p></div>"
        )
        if not may_mark(each.number):
            return
        st.segmented_control(
            f"Was decision {each.number} right?",
            [RIGHT, WRONG],
            key=key,
            on_change=mark,
            args=(each.number, key),
            label_visibility="collapsed",
        )


def numbers() -> None:
    """The tiles."""
    model, log, database = shared.model(), shared.decisions(), shared.database()
    took, right = log.seconds(), log.accuracy()
    memory = psutil.Process().memory_info().rss / 1e6
    marked = sum(each.right is not None for each in log.recent())
    info = info_of(model)
    show.tiles(
        [
            ("Network", info.name, f"its weights are known by {(database.network or 'nothing')[:18]}… (fingerprint)"),
            ("Threshold", f"{shared.threshold():.2f}", f"the network's own: {info.threshold:.2f}"),
            ("People", f"{len(database):,}", "who are known"),
            ("Decisions", f"{len(log):,}", "since the start, 1,000 at most"),
            (
                "Half of the answers within",
                f"{took[0] * 1000:.0f} ms" if took else "–",
                "of the picture’s arrival (median, p50)",
            ),
            ("95 of 100 answers within", f"{took[1] * 1000:.0f} ms" if took else "–", "so that 5 take longer (p95)"),
            ("Memory", f"{memory:,.0f} MB", "that the app takes now (resident set size, RSS)"),
            (
                "Right",
                f"{right.value:.0%}" if right else "–",
                f"of {marked} marked; of many it would be {right.low:.0%} to {right.high:.0%} (95 % interval)"
                if right
                else "mark some below",
            ),
        ]
    )


show.title("Metrics", "What runs here, how long it takes, and how often it is right. No picture is kept for this.")
numbers()
show.heading("The last decisions")
if problem := st.session_state.pop("metrics_problem", ""):
    show.notice(problem, "warn")
recent = shared.decisions().recent()
if recent:
    show.note(
        "Was it right? Say so, and the share above follows. Whoever asked, in the same window, and whoever has logged "
        "in sees the name and can say so. Times are those of the app’s computer. All of this is gone when the app ends."
    )
    pages = -(-len(recent) // PER_PAGE)
    page = st.pagination(pages, key="metrics_page") if pages > 1 else 1
    for each in recent[(page - 1) * PER_PAGE : page * PER_PAGE]:
        row(each)
    st.download_button(
        "Download as CSV",
        spreadsheet_csv(table(recent)),
        "decisions.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
else:
    show.notice("Nothing has been decided yet: verify, recognise or compare somebody.")
