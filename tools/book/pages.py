"""What the website is made of: the notebooks as they are committed, the pages, and a home page with an overview.

They are copied into a folder, where Sphinx reads them (:mod:`tools.book.build`). Links between them stay as they are.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from facerec._files import ROOT

#: The chapters of the website → their pages, in the order of the contents. A pattern may stand for none.
CHAPTERS = {
    "The course": [
        "Face_Recognition.ipynb", "train_siamese.ipynb", "train_facenet.ipynb", "evaluate.ipynb", "docs/glossary.md",
    ],
    "Exercises": ["exercises/README.md", "exercises/*.ipynb"],
    "Solutions": ["exercises/solutions/*.ipynb"],
    "Using it": [
        "docs/own-pictures.md", "docs/database.md", "docs/apps.md", "docs/command.md", "docs/scale.md",
        "docs/troubleshooting.md",
    ],
    "Behind it": [
        "docs/results.md", "docs/architecture.md", "*/*/MODEL_CARD.md", "*/MODEL_CARD.md", "datasets/README.md",
        "images/README.md", "tests/README.md", "docs/CONTRIBUTING.md", "docs/third-party.md",
    ],
}  # fmt: skip

#: Files that the pages show or link to.
FILES = ("docs/*.jpg", "docs/*.svg", "images/*.jpg", "LICENSE")

HOME = "index"


def chapters() -> dict[str, list[str]]:
    """Chapter → its pages that exist, as paths within the project."""
    found = {
        chapter: [path.relative_to(ROOT).as_posix() for pattern in patterns for path in sorted(ROOT.glob(pattern))]
        for chapter, patterns in CHAPTERS.items()
    }
    return {chapter: pages for chapter, pages in found.items() if pages}


# --------------------------------------------------------------------------------------------------- notebooks
def plain(markdown: str) -> str:
    """Markdown without its marks: no links, formulas, emphasis or code.

    Example:
        >>> plain("**Semi-hard** triplets, as in [the paper](https://example.org): `d` < $0.2$")
        'Semi-hard triplets, as in the paper: d < 0.2'
    """
    text = re.sub(r"<[^>]+>", "", markdown)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"[*`$#]|^> ?", "", text, flags=re.MULTILINE).split())


def described(cells: list[dict]) -> dict[int, str]:
    """The number of each code cell that has a picture → the sentence before it, for those who can't see the picture."""
    found, said = {}, ""
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            said = ([said, *re.split(r"(?<=[.:?!)]) ", plain("".join(cell["source"])))])[-1]
        elif {"image/jpeg", "image/png"} & {kind for output in cell["outputs"] for kind in output.get("data", {})}:
            found[number] = f"Figure: {said}"
    return found


def prepared(notebook: str) -> str:
    """A notebook for the website: hidden code can be unfolded, and pictures have a description.

    Args:
        notebook: The text of its file.

    Returns:
        The text of the copy that Sphinx reads.
    """
    content = json.loads(notebook)
    descriptions = described(content["cells"])
    for number, cell in enumerate(content["cells"]):
        tags = cell["metadata"].setdefault("tags", [])
        options = cell["metadata"].setdefault("mystnb", {})
        if cell["metadata"].get("jupyter", {}).get("source_hidden"):
            options["code_prompt_show"] = "Show a solution" if "solution" in tags else "Show the code"
            tags.append("hide-input")
        if number in descriptions:
            options["image"] = {"alt": descriptions[number]}
    return json.dumps(content, ensure_ascii=False)


# --------------------------------------------------------------------------------------------------- the home page
def card(page: str) -> str:
    """A notebook on the home page: its title, linked, and the first paragraph of its text."""
    first = "".join(json.loads((ROOT / page).read_text(encoding="utf-8"))["cells"][0]["source"])
    title, text = first.split("\n\n")[:2]
    return f":::{{container}} card\n**[{title.strip('# ')}]({page})**\n\n{text}\n:::\n"


def home() -> str:
    """The home page: the README, in which an overview of the notebooks comes first, and the contents of the website."""
    opening, *sections = re.split(r"^(?=## )", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    cards = "\n".join(card(page) for page in chapters()["The course"] if page.endswith(".ipynb"))
    rest = "".join(section for section in sections if not section.startswith("## The course"))
    contents = [
        f"```{{toctree}}\n:hidden:\n:caption: {chapter}\n\n" + "\n".join(pages) + "\n```\n"
        for chapter, pages in chapters().items()
    ]
    return "\n".join([opening, f"## The course\n\n::::{{container}} cards\n{cards}::::\n", rest, *contents])


# ------------------------------------------------------------------------------------------------------ the folder
def copy_to(folder: Path) -> None:
    """Write everything that Sphinx reads into an empty folder."""
    texts = {f"{HOME}.md": home()}
    for page in (page for pages in chapters().values() for page in pages):
        text = (ROOT / page).read_text(encoding="utf-8")
        up = "../" * page.count("/")
        text = text.replace(f"]({up}README.md", f"]({up}{HOME}.md")
        texts[page] = prepared(text) if page.endswith(".ipynb") else text
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for file in (path for pattern in FILES for path in ROOT.glob(pattern)):
        to = folder / file.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
