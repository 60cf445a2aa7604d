"""Write the project's address on the web where it is needed: into the notebooks' first code cell, and into README.md.

    python tools/upkeep/address.py                      # or: make pages

It stands in one place, ``[project.urls]`` of pyproject.toml. A notebook that is opened alone can't look there, so the
cells tagged ``setup``, which find or download the project, hold a copy. If the address is on GitHub, README.md gets the
badges that open the notebooks on Colab, Kaggle and Binder.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from facerec._files import ROOT
from tools.upkeep.scale_page import fill, table

README = ROOT / "README.md"

#: Service → its badge, and where it opens a notebook of a project on GitHub.
SERVICES = {
    "Colab": (
        "https://colab.research.google.com/assets/colab-badge.svg",
        "https://colab.research.google.com/github/{project}/blob/main/{notebook}",
    ),
    "Kaggle": (
        "https://kaggle.com/static/images/open-in-kaggle.svg",
        "https://kaggle.com/kernels/welcome?src=https://github.com/{project}/blob/main/{notebook}",
    ),
    "Binder": (
        "https://mybinder.org/badge_logo.svg",
        "https://mybinder.org/v2/gh/{project}/main?urlpath=lab/tree/{notebook}",
    ),
}

CELL = """\
import importlib.util  # this cell finds the project; Colab and Kaggle download it first
import os
import subprocess
import sys
from pathlib import Path

ADDRESS = "{address}"  # the project's repository on the web
cloud = os.getenv("COLAB_RELEASE_TAG") or os.getenv("KAGGLE_KERNEL_RUN_TYPE")
class NotReady(Exception):
    def _render_traceback_(self):  # Jupyter shows the sentence alone
        return [str(self)]
spec = importlib.util.find_spec("fr_utils")
if ADDRESS and cloud and not spec:
    subprocess.call(["git", "clone", "--quiet", "--depth=1", ADDRESS, "course"])
    subprocess.call([sys.executable, "-m", "pip", "install", "-q", "-e", "course"])
folders = [Path("course"), Path.cwd(), *Path.cwd().parents]
folders += [Path(spec.origin).parent] if spec else []  # the kernel's own
folders = [folder for folder in folders if (folder / "images/answers.json").is_file()]
if not folders:
    where = ADDRESS or "the one with fr_utils.py"
    raise NotReady(f"Open this notebook in its project's folder: {{where}}.")
os.chdir(folders[0])
for name in ("keras", "facerec"):
    if not importlib.util.find_spec(name):
        raise NotReady(f"This kernel lacks {{name}}: choose the project's .venv.")"""


def address() -> str:
    """The address of the project's repository, or nothing while it has none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def source(repository: str | None = None) -> str:
    """The code of the cell, with the address of the repository (by default this project's).

    Example:
        >>> source("https://example.org/course").splitlines()[6].partition("  #")[0]
        'ADDRESS = "https://example.org/course"'
    """
    return CELL.format(address=address() if repository is None else repository)


def filled(notebook: str) -> str:
    """A notebook file's text with this cell in place of every code cell tagged ``setup``; outputs stay."""
    content = json.loads(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code" and "setup" in cell["metadata"].get("tags", []):
            cell["source"] = source().splitlines(keepends=True)
            cell["metadata"].setdefault("jupyter", {})["source_hidden"] = True  # folded: it is not about faces
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"  # as nbformat writes it


def badges(readme: str, repository: str) -> str:
    """README.md's text with a row of badges for each notebook that it names; without them if it isn't on GitHub.

    Example:
        >>> readme = "[one.ipynb](one.ipynb) <!-- badges --><!-- /badges -->"
        >>> "https://mybinder.org/v2/gh/me/course/main?urlpath=lab/tree/one.ipynb" in badges(
        ...     readme, "https://github.com/me/course.git"
        ... )
        True
    """
    on_github = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)(?:\.git)?/?", repository)
    if not on_github:
        return fill(readme, {"badges": ""})
    rows = [
        (notebook, *(badge(service, on_github[1], notebook) for service in SERVICES))
        for notebook in re.findall(r"\]\(([^/)]+\.ipynb)\)", readme)
    ]
    return fill(readme, {"badges": "\n" + table("| without installing anything | | | |", rows) + "\n"})


def badge(service: str, project: str, notebook: str) -> str:
    """One badge, in Markdown."""
    picture, opens = SERVICES[service]
    return f"[![Open {notebook} in {service}]({picture})]({opens.format(project=project, notebook=notebook)})"


def pages() -> dict[Path, str]:
    """Notebook, or README.md → its text as it should be today."""
    found = sorted([*ROOT.glob("*.ipynb"), *ROOT.glob("exercises/**/*.ipynb")])
    notebooks = {path: filled(path.read_text(encoding="utf-8")) for path in found}
    return notebooks | {README: badges(README.read_text(encoding="utf-8"), address())}


def main() -> None:
    """Write them."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
