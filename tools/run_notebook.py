"""Run a notebook from top to bottom, show its progress, and leave it as a page.

    python tools/run_notebook.py Face_Recognition.ipynb              # or: make run
    python tools/run_notebook.py Face_Recognition.ipynb --in-place   # for authors: keeps the outputs in the notebook

Each section's heading is printed when it is reached, and at the end the output of the cells tagged ``answers``. The
page, ``build/<name>.html``, holds its pictures and formulas, so it needs no network. The notebook itself changes only
with ``--in-place``.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
import re
import sys
import time
from pathlib import Path

from facerec._files import ROOT

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # or the kernel warns about its debugger
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, not another of the same name

import nbformat
from jinja2 import pass_context
from latex2mathml.converter import convert as latex_to_mathml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from traitlets.config import Config

from tools.ports import without_ports

WIDGET = "application/vnd.jupyter.widget-view+json"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


# ---------------------------------------------------------------------------------------------- running it
def headings(cell: NotebookNode) -> list[str]:
    """The section headings (``## …``) of a markdown cell, as plain text.

    Example:
        >>> headings(nbformat.v4.new_markdown_cell("## At the door: `verify`"))
        ['At the door: verify']
    """
    if cell.cell_type != "markdown":
        return []
    return [re.sub(r"[`*$]", "", line) for line in re.findall(r"^## +(.+?)\s*$", cell.source, re.MULTILINE)]


def run(notebook: NotebookNode, folder: Path, timeout: float = 900) -> dict:
    """Execute every code cell, and print each section's heading when it is reached.

    Args:
        notebook: The notebook; its outputs and execution counts are replaced.
        folder: The working directory of its code.
        timeout: The most seconds that a cell may take.

    Returns:
        The state of its widgets, by their identifiers.

    Raises:
        CellExecutionError: If a cell raises.
        CellTimeoutError: If a cell takes longer than ``timeout``.
        DeadKernelError: If the kernel dies. Each of the three has ``.cell_number``: which code cell it was, from 1.
    """
    start, reached = time.perf_counter(), []

    def on_cell_start(cell: NotebookNode, cell_index: int) -> None:
        for heading in headings(cell):
            print(f"{time.perf_counter() - start:7.1f} s   {heading}", flush=True)
        if cell.cell_type == "code" and cell.source.strip():
            reached.append(cell_index)

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        config=Config(KernelManager=without_ports()),
        resources={"metadata": {"path": str(folder)}},
        timeout=timeout,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # of the kernel itself
        on_cell_start=on_cell_start,
    )
    # nbclient's own replacement for Output widgets writes to the socket on which it waits for the kernel's answer, and
    # then sometimes waits for it forever. Without it, what a slider draws becomes an output like any other.
    client.widget_registry = {}
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        error.cell_number = len(reached)
        raise
    return client.widget_state


def explain(error: Exception, notebook: NotebookNode) -> str:
    """The number and the code of the cell that failed, and Python's error."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    cell = cells[error.cell_number - 1]
    code = "\n".join(f"  {i:3d}  {line}" for i, line in enumerate(cell.source.splitlines(), 1))
    traces = [output.traceback for output in cell.outputs if output.output_type == "error"]
    message = "\n".join(traces[-1]) if traces else str(error)
    if not sys.stderr.isatty():
        message = ANSI.sub("", message)
    return f"\ncode cell {error.cell_number} of {len(cells)} failed:\n\n{code}\n\n{message}"


# ------------------------------------------------------------------ what is kept: no widgets, nothing of the moment
def freeze_widgets(notebook: NotebookNode, state: dict) -> None:
    """Replace progress bars and sliders, which need a running kernel, with a line of text."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).pop(WIDGET, None)
            if view is not None:
                output.data["text/plain"] = _as_text(view, state)


def _as_text(view: dict, state: dict) -> str:
    """A progress bar as it ended, or a note in place of any other widget."""
    widgets = list(_with_children(view["model_id"], state))
    bar = next((w for w in widgets if w.get("_model_name") == "FloatProgressModel"), None)
    if bar is None:
        is_camera = widgets[0].get("_anywidget_id") == "facerec.live.widget.CameraWidget"
        return f"({'your camera' if is_camera else 'something to move'}: run this cell in Jupyter)"
    label = next((w["value"] for w in widgets if w.get("_model_name") == "HTMLModel"), "")
    label = html.unescape(label).replace("\u2007", " ")  # tqdm pads with wide spaces
    return f"{label}|{'█' * 10}| {bar['value']:.0f}/{bar['max']:.0f}"


def _with_children(model_id: str, state: dict):
    """The state of a widget, then of the widgets inside it."""
    widget = state.get(model_id, {})
    yield widget
    for child in widget.get("children", []):
        yield from _with_children(child.removeprefix("IPY_MODEL_"), state)


def tidy(notebook: NotebookNode) -> None:
    """Remove what depends on the machine and the time, so that equal runs give equal files."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        keep = {key: cell.metadata[key] for key in ("tags", "jupyter") if cell.metadata.get(key)}
        cell.metadata = nbformat.from_dict(keep)


def answers(notebook: NotebookNode) -> list[str]:
    """The text of every output of the cells tagged ``answers``."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "answers" in cell.metadata.get("tags", []):
            texts += [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return [text for text in texts if text]


# ---------------------------------------------------------------------------------------------- the page
def mathml(formula: str, display: str = "inline") -> str:
    """A LaTeX formula as MathML, which browsers draw without a library.

    Example:
        >>> mathml("d < 1")[-52:]
        '<mi>d</mi><mo>&#x0003C;</mo><mn>1</mn></mrow></math>'
    """
    # Otherwise browsers stretch and lower the bars of a norm that has an exponent.
    return latex_to_mathml(formula, display=display).replace("<mo>&#x02016;", '<mo stretchy="false">&#x02016;')


class MathMLRenderer(IPythonRenderer):
    """Writes the formulas of markdown cells as MathML."""

    def inline_math(self, body: str) -> str:
        """``$…$``."""
        return mathml(body)

    def block_math(self, body: str) -> str:
        """``$$…$$``."""
        return mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        r"""``\begin{…}…\end{…}``."""
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def _html_embed_images(self, html: str) -> str:
        """HTML with its pictures inside; without a picture as it is: a part of ``<details>`` stays open."""
        return super()._html_embed_images(html) if "<img" in html else html


class OfflineHTMLExporter(HTMLExporter):
    """Makes a page that loads nothing: it holds its pictures and formulas and needs no scripts.

    Code that JupyterLab shows folded is folded on the page, too.
    """

    raw_template = """
    {%- extends 'lab/index.html.j2' -%}
    {%- block html_head_js -%}{%- endblock -%}
    {%- block html_head_js_mathjax -%}{%- endblock -%}
    {%- block html_head_js_mermaidjs -%}{%- endblock -%}
    {%- block input_group -%}
    {%- if cell.metadata.jupyter and cell.metadata.jupyter.source_hidden -%}
    <details>
    <summary style="margin-left: var(--jp-cell-prompt-width); font-family: var(--jp-content-font-family)">Show the
    code</summary>{{ super() }}</details>
    {%- else -%}{{ super() }}{%- endif -%}
    {%- endblock -%}
    """

    def __init__(self, folder: Path):
        """Args: folder: the folder that the paths of pictures in the text start from."""
        super().__init__()
        self.embed_images = True
        self.folder = str(folder)

    @pass_context
    def markdown2html(self, context, source):
        """Markdown to HTML, with formulas as MathML."""
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = MathMLRenderer(escape=False, attachments=attachments, embed_images=True, path=self.folder)
        return MarkdownWithMath(renderer=renderer).render(source)

    def default_filters(self):
        """The usual filters, but for Markdown ours."""
        yield from super().default_filters()
        yield "markdown2html", self.markdown2html


def write_page(notebook: NotebookNode, name: str, folder: Path, to: Path) -> None:
    """Write the executed notebook as one HTML file.

    Args:
        notebook: The executed notebook, without widgets.
        name: The page's title.
        folder: The folder that the paths of pictures in the text start from.
        to: The file to write; its folder is created if it is missing.
    """
    resources = {"metadata": {"name": name, "path": str(folder)}}
    page, _ = OfflineHTMLExporter(folder).from_notebook_node(notebook, resources=resources)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(page, encoding="utf-8")


# ---------------------------------------------------------------------------------------------- the command
def main(arguments: list[str] | None = None) -> int:
    """Run the notebook, print its answers and write its page. Returns 1 if a cell failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--in-place", action="store_true", help="write the outputs into the notebook, too")
    parser.add_argument("--to", type=Path, help="the page to write; by default build/<name>.html")
    parser.add_argument(
        "--timeout", type=float, default=900, help="the most seconds that a cell may take; by default %(default)g"
    )
    args = parser.parse_args(arguments)
    if sys.platform == "win32":  # the messages to the kernel need this event loop
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())

    start = time.perf_counter()
    path = args.notebook.resolve()
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, nbformat.reader.NotJSONError) as error:
        print(f"{args.notebook} can't be opened as a notebook: {error}", file=sys.stderr)
        return 1
    print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} code cells", flush=True)
    try:
        state = run(notebook, path.parent, args.timeout)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(explain(error, notebook), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130

    freeze_widgets(notebook, state)
    tidy(notebook)
    for text in answers(notebook):
        print(f"\n{text}")
    page = (args.to or ROOT / "build" / f"{path.stem}.html").resolve()
    write_page(notebook, path.stem, path.parent, page)
    if args.in_place:
        nbformat.write(notebook, path)
        print(f"\n{path.name} now holds these outputs")
    shown = os.path.relpath(page) if page.is_relative_to(Path.cwd()) else page
    print(f"\n{time.perf_counter() - start:.0f} seconds. Open the notebook as a page in a browser: {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
