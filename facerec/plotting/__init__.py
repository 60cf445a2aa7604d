"""Figures of photos, encodings, networks, training and evaluation.

Every function draws into the ``ax`` that it is given and returns it; ``gallery`` and ``pair_gallery`` make a figure.
"""

from facerec.plotting.encodings import (
    angular_margin,
    circle_of_people,
    distance_matrix,
    distance_strip,
    encoding_strip,
    people_map,
    project,
    projection,
    push_and_pull,
)
from facerec.plotting.evaluation import (
    damage_curves,
    distance_histogram,
    error_curves,
    group_matrix,
    interval_chart,
    interval_dots,
    open_set_curves,
    reliability_plot,
    roc_curves,
)
from facerec.plotting.learning import live_curves, training_curve, triplet_curves
from facerec.plotting.networks import block_diagram, network_diagram, twin_diagram
from facerec.plotting.photos import draw_faces, draw_keypoints, gallery, pair_gallery, show_photo
from facerec.plotting.style import ACCENT, DIFFERENT, NEUTRAL, SAME, use_house_style

__all__ = [
    "ACCENT",
    "DIFFERENT",
    "NEUTRAL",
    "SAME",
    "angular_margin",
    "block_diagram",
    "circle_of_people",
    "damage_curves",
    "distance_histogram",
    "distance_matrix",
    "distance_strip",
    "draw_faces",
    "draw_keypoints",
    "encoding_strip",
    "error_curves",
    "gallery",
    "group_matrix",
    "interval_chart",
    "interval_dots",
    "live_curves",
    "network_diagram",
    "open_set_curves",
    "pair_gallery",
    "people_map",
    "project",
    "projection",
    "push_and_pull",
    "reliability_plot",
    "roc_curves",
    "show_photo",
    "training_curve",
    "triplet_curves",
    "twin_diagram",
    "use_house_style",
]
