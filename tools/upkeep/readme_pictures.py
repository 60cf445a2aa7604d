"""Draw the video call with its names, for the README.

python tools/upkeep/readme_pictures.py      # writes docs/video_call.jpg
"""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt

from facerec import plotting
from facerec._files import ROOT
from fr_utils import build_database, identify, load_facenet, load_image


def main() -> None:
    """Recognise the people in the video call, and draw their names."""
    matplotlib.use("agg")
    model = load_facenet()
    database, _ = build_database(ROOT / "images", model)
    photo = load_image(ROOT / "images" / "video_call.jpg")
    figure = plt.figure(figsize=(7.2, 7.2 * photo.shape[0] / photo.shape[1]), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    plotting.draw_faces(ax, photo, identify(photo, database, model))
    ax.set_title("")
    figure.savefig(ROOT / "docs" / "video_call.jpg", pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
