"""Pictures of faces, encodings and decisions.

Every function draws into an ``ax`` that it is given and returns it; ``gallery`` makes the axes for many photos
at once. Colours are those of Okabe and Ito, which colour-blind readers can tell apart, and no colour says
anything that words or shapes do not say too.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats

SAME = "#0072B2"  # blue: one person, accepted, right


DIFFERENT = "#D55E00"  # vermilion: two people, refused, wrong


NEUTRAL = "#555555"


ACCENT = "#009E73"  # green: the threshold and what is chosen


def use_house_style() -> None:
    """Make figures of this course look alike; call it once, at the top of a notebook.

    Figures are kept as JPEG, in which photos take a tenth of the room.
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
