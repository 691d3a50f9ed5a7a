"""What a method is worth: the experiment and its disturbances, scores, statistics, tables, figures, reports."""

from .disturbances import LEVELS, Disturbance
from .evaluation import examination_metrics
from .experiment_report import write_curves, write_experiment
from .report import build_report, comparison_figure, most_enhancing_slices
from .statistics import compare

__all__ = [
    "LEVELS",
    "Disturbance",
    "build_report",
    "compare",
    "comparison_figure",
    "examination_metrics",
    "most_enhancing_slices",
    "write_curves",
    "write_experiment",
]
