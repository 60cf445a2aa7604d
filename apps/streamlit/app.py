"""The Streamlit app's server: ``make app``, or ``streamlit run apps/streamlit/app.py`` in the project's folder.

``main`` draws the pages, and ``gate`` stands in front of them.
"""

from pathlib import Path

from streamlit.starlette import App

from apps.streamlit import gate

app = App(Path(__file__).resolve().parent / "main.py", middleware=gate.layers())
