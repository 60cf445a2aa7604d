"""How good is it? Error rates, thresholds and intervals, from distances and labels.

Each room imports only rooms on its left; none imports Keras::

    rates ──► intervals ──► strangers · probability · groups · clustering          false_accepts, lfw (lists of pairs)
                       └──► stored (what was measured, as text) ──► report
"""

from facerec.evaluation.clustering import BCubed, bcubed, bootstrap_bcubed
from facerec.evaluation.false_accepts import FalseAccepts, fit_false_accepts
from facerec.evaluation.groups import false_accepts_by_group
from facerec.evaluation.intervals import (
    Interval,
    bootstrap,
    bootstrap_accuracy,
    bootstrap_auc,
    bootstrap_gain,
    bootstrap_mean,
    verification_table,
    wilson_interval,
)
from facerec.evaluation.probability import (
    Probability,
    bootstrap_calibration_error,
    calibration_error,
    calibration_error_by_chance,
    fit_probability,
    reliability,
)
from facerec.evaluation.rates import (
    ProtocolResult,
    accuracy,
    area_under_roc,
    best_threshold,
    choose_threshold,
    confusion,
    equal_error,
    error_rates,
    errors_at,
    lfw_protocol,
    precision_recall,
    threshold_at,
    true_accepts_at,
)
from facerec.evaluation.report import ErrorReport, report_errors
from facerec.evaluation.stored import as_interval, percent, stored
from facerec.evaluation.strangers import OpenSet, cmc, dir_curve, identification, open_set

__all__ = [
    "BCubed",
    "ErrorReport",
    "FalseAccepts",
    "Interval",
    "OpenSet",
    "Probability",
    "ProtocolResult",
    "accuracy",
    "area_under_roc",
    "as_interval",
    "bcubed",
    "best_threshold",
    "bootstrap",
    "bootstrap_accuracy",
    "bootstrap_auc",
    "bootstrap_bcubed",
    "bootstrap_calibration_error",
    "bootstrap_gain",
    "bootstrap_mean",
    "calibration_error",
    "calibration_error_by_chance",
    "choose_threshold",
    "cmc",
    "confusion",
    "dir_curve",
    "equal_error",
    "error_rates",
    "errors_at",
    "false_accepts_by_group",
    "fit_false_accepts",
    "fit_probability",
    "identification",
    "lfw_protocol",
    "open_set",
    "percent",
    "precision_recall",
    "reliability",
    "report_errors",
    "stored",
    "threshold_at",
    "true_accepts_at",
    "verification_table",
    "wilson_interval",
]
