"""What each visit runs: the frame around every page, and the page that was asked for.

Each page is a file in ``views/``; what the pages share is beside this file.
"""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent

NAME = "Face recognition"

STARTING = "Starting: the network is being loaded …"  # shown if it takes a moment

PAGES = [
    ("verify", "Verify", ":material/door_front:"),
    ("recognise", "Recognise", ":material/groups:"),
    ("live", "Live", ":material/videocam:"),
    ("people", "People", ":material/contacts:"),
    ("compare", "Compare", ":material/compare_arrows:"),
    ("metrics", "Metrics", ":material/monitoring:"),
]


st.set_page_config(NAME, layout="wide")
st.html(HERE / "style.css")
page = st.navigation(
    [
        st.Page(HERE / "views" / f"{name}.py", title=title, icon=icon, url_path=name, default=name == "verify")
        for name, title, icon in PAGES
    ]
)
with st.spinner(STARTING):
    from apps.streamlit import login, shared, show, sidebar  # imports TensorFlow
st.set_page_config(f"{page.title} – {NAME}", show.sign())
if page.url_path != "live":
    shared.end_live()
with show.friendly():
    with st.spinner(STARTING):
        shared.model()
        shared.database()
    login.carry()
    login.welcome()
    login.check_reading()
    sidebar.draw()
    page.run()
