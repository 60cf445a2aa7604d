"""How the app runs: the network, the people, the answer times, and how often the answers were right."""

from dataclasses import replace

import pandas as pd
import psutil
import streamlit as st

from apps.streamlit import login, shared, show
from apps.streamlit.decisions import Decision, spreadsheet_csv, table_of
from facerec.errors import BadArgument
from facerec.evaluation import Interval
from facerec.networks import info_of

PER_PAGE = 10
RIGHT, WRONG = "right", "wrong"
HIDDEN = "(hidden)"


def mark(number: int, key: str) -> None:
    """Mark a decision as the visitor says."""
    if key not in st.session_state or not may_mark(number):  # meanwhile the page was left, or the login ended
        return
    said = st.session_state[key]
    try:
        shared.decisions().mark(number, None if said is None else said == RIGHT)
    except BadArgument as error:
        st.session_state["metrics_problem"] = str(error)


def may_mark(number: int) -> bool:
    """Whether this visitor may mark a decision: they asked for it, or have logged in."""
    return shared.asked_here(number) or login.who() is not None


def name_of(each: Decision) -> str | None:
    """The name in a decision; hidden from visitors who neither asked for it nor have logged in."""
    return each.identity if each.identity is None or may_mark(each.number) else HIDDEN


def table(recent: list[Decision]) -> pd.DataFrame:
    """The decisions, with the names that this visitor may see."""
    return table_of([replace(each, identity=name_of(each)) for each in recent])


def row(each: Decision) -> None:
    """One decision, and its mark."""
    key, who = f"mark_{each.number}", name_of(each) or ("–" if each.kind == "compare" else "unknown")
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


def rate(share: Interval | None, wrong: int, right: int, should: str) -> tuple[str, str]:
    """A share for a tile, and the remark below it."""
    if share is None:
        return "–", f"mark faces below that should be {should}"
    interval = f"95 % interval: {100 * share.low:.0f} to {100 * share.high:.0f} %"
    return f"{100 * share.value:.0f} %", f"{wrong} of {wrong + right} that should have been {should}; {interval}"


def numbers() -> None:
    """The tiles."""
    model, log, database = shared.model(), shared.decisions(), shared.database()
    took, counts = log.seconds(), log.counts
    memory = psutil.Process().memory_info().rss / 1e6
    accepts = rate(counts.rate_of_false_accepts, counts.false_accepts, counts.right_out, "sent away")
    rejects = rate(counts.rate_of_false_rejects, counts.false_rejects, counts.right_in, "let in")
    show.tiles(
        [
            ("Network", info_of(model).name, f"fingerprint of its weights: {(database.network or 'none')[:18]}…"),
            ("People", f"{len(database):,}", "in the database"),
            ("Decisions", f"{counts.decisions:,}", "in all; each picture counts once"),
            ("Median answer time", f"{took[0] * 1000:.0f} ms" if took else "–", "from the picture’s arrival"),
            ("95 % of answers within", f"{took[1] * 1000:.0f} ms" if took else "–", "the slowest 5 % take longer"),
            ("Memory", f"{memory:,.0f} MB", "in use now (resident set size)"),
            ("False accepts", *accepts),
            ("False rejects", *rejects),
        ]
    )


show.title("Metrics", "What is running, how fast it answers, and how often it is right. No pictures are kept.")
numbers()
show.heading("Recent decisions")
if problem := st.session_state.pop("metrics_problem", ""):
    show.notice(problem, "warn")
recent = shared.decisions().recent()
if recent:
    show.note(
        "Mark decisions as right or wrong to update the shares above. You see and mark the decisions that you asked "
        "for in this window, or all of them once you have logged in. Times are those of the app’s computer. "
        "This list is gone when the app stops; the counts above are kept."
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
    show.notice("No decisions yet. Verify, recognise or compare someone first.")
