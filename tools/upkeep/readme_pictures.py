"""Draw the pictures of the README into ``docs/``: ``python tools/upkeep/readme_pictures.py``."""

from __future__ import annotations

import sys

import matplotlib
import matplotlib.pyplot as plt

from facerec import plotting
from facerec._files import ROOT
from facerec.enrol import build_database
from facerec.networks import load_facenet
from facerec.photos import load_image
from fr_utils import identify


matplotlib.use("agg")


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
