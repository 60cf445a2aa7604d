"""Sphinx's settings for the website: formulas as MathML, dark mode, and nothing that is loaded from elsewhere."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from tools.run_notebook import mathml

project = "Face recognition"
language = "en"
extensions = ["myst_nb"]

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_hide = "Hide it"
nb_ipywidgets_js = {}  # would be loaded from elsewhere; our widgets are frozen to text
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # it does not know <a id="…">; tools.book.check does

html_theme = "furo"
html_title = project
html_favicon = "../../apps/flask/static/mark.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = html_show_sourcelink = html_show_copyright = html_use_index = False
html_math_renderer = "mathml"


def inline_formula(translator: HTML5Translator, node: nodes.math) -> None:
    """Write ``$…$``."""
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block_formula(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write ``$$…$$``."""
    translator.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Add the formulas."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (block_formula, None))
