"""The look of the course's figures.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart; no colour says anything that words or
shapes do not say, too.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats

SAME = "#0072B2"  # blue: one person, accepted, right

DIFFERENT = "#D55E00"  # vermilion: two people, refused, wrong

NEUTRAL = "#555555"

ACCENT = "#009E73"  # green: the threshold and what is chosen


def use_house_style() -> None:
    """Give all figures the course's look; call it once, at the top of a notebook.

    Figures are stored as JPEG, which takes a tenth of the space of PNG for photos.
    """
    set_matplotlib_formats("jpeg", pil_kwargs={"quality": 80})
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "font.size": 10,
            "legend.frameon": False,
        }
    )
