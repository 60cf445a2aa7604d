"""Draw the pictures of the README into ``docs/``: ``python tools/readme_pictures.py``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import matplotlib  # noqa: E402

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

import plotting  # noqa: E402
from fr_utils import build_database, identify, load_facenet, load_image  # noqa: E402


def main() -> None:
    """Recognise everybody in the video call, and draw who they are."""
    model = load_facenet()
    database, _ = build_database(ROOT / "images", model)
    photo = load_image(ROOT / "images" / "video_call.jpg")
    figure = plt.figure(figsize=(7.2, 7.2 * photo.shape[0] / photo.shape[1]), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    plotting.draw_faces(ax, photo, identify(photo, database, model))
    ax.set_title("")
    (ROOT / "docs").mkdir(exist_ok=True)
    figure.savefig(ROOT / "docs" / "video_call.jpg", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
