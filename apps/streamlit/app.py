"""The Streamlit app's server: ``make app``, or ``streamlit run apps/streamlit/app.py`` in the project's folder.

    the browser ──gate──► a page: main.py, which draws it
                        ► a ticket: sessions.py, which keeps a login in a cookie

The first start prints a link, with which the first account is made: ``first.py``.
"""

from pathlib import Path

from streamlit.starlette import App

from apps.streamlit import first, gate, sessions

MAIN = Path(__file__).resolve().parent / "main.py"
app = App(MAIN, routes=[sessions.ROUTE], lifespan=first.starting, middleware=gate.layers())
