"""What a method is worth: the experiment and its disturbances, scores, statistics, tables, figures, reports."""

from .cohort_run import Failure, run_experiment
from .disturbances import LEVELS, Disturbance
from .experiment import METHODS, Experiment
from .experiment_report import write_curves, write_experiment
from .figures import comparison_figure
from .model_card import CARD_ALPHAS, CARD_METHODS, card_scores, limit_words
from .records import SubjectResult
from .run_report import build_report, examination_metrics, most_enhancing_slices
from .statistics import Comparison, compare

__all__ = [
    "CARD_ALPHAS",
    "CARD_METHODS",
    "LEVELS",
    "METHODS",
    "Comparison",
    "Disturbance",
    "Experiment",
    "Failure",
    "SubjectResult",
    "build_report",
    "card_scores",
    "compare",
    "comparison_figure",
    "examination_metrics",
    "limit_words",
    "most_enhancing_slices",
    "run_experiment",
    "write_curves",
    "write_experiment",
]
