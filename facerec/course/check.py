"""The checks of all exercises: ``check.triplet_loss(triplet_loss)`` says that it is right, or what is missing."""

from facerec.course.blocks import count_weights, inception_block
from facerec.course.door import choose_threshold, verify, who_is_it
from facerec.course.learning import semi_hard, triplet_loss
from facerec.course.own import report
from facerec.course.pairs import leaks, split_people
from facerec.course.scores import bootstrap_people, equal_error, roc

__all__ = [
    "bootstrap_people",
    "choose_threshold",
    "count_weights",
    "equal_error",
    "inception_block",
    "leaks",
    "report",
    "roc",
    "semi_hard",
    "split_people",
    "triplet_loss",
    "verify",
    "who_is_it",
]
