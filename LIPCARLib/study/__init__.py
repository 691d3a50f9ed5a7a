"""What a method is worth: the experiment and its disturbances, scores, statistics, tables, figures, reports.

Names are loaded at their first use: one examination needs few of them.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .cohort_enhancement import FAILED, CohortSettings, Outcome
    from .cohort_inputs import LAYOUTS, Entry, find_examinations
    from .cohort_run import Failure, run_experiment
    from .cohort_summary import check_inputs, check_summary, write_summary
    from .cohort_workers import dask_client, enhance_cohort
    from .disturbances import LEVELS, Disturbance
    from .enhancement import Begin, Enhanced, Inputs, Outputs, RefusedError, begin_here, enhance_examination
    from .experiment import METHODS, Experiment
    from .experiment_report import write_curves, write_experiment
    from .figures import comparison_figure
    from .model_card import CARD_ALPHAS, CARD_METHODS, card_scores, limit_words
    from .records import SubjectResult
    from .run_report import build_report, examination_metrics, most_enhancing_slices
    from .slice_scores import REGIONS
    from .statistics import Comparison, compare
    from .tables import lesion_tables

_HOME = {
    "cohort_enhancement": ("FAILED", "CohortSettings", "Outcome"),
    "cohort_inputs": ("LAYOUTS", "Entry", "find_examinations"),
    "cohort_run": ("Failure", "run_experiment"),
    "cohort_summary": ("check_inputs", "check_summary", "write_summary"),
    "cohort_workers": ("dask_client", "enhance_cohort"),
    "disturbances": ("LEVELS", "Disturbance"),
    "enhancement": ("Begin", "Enhanced", "Inputs", "Outputs", "RefusedError", "begin_here", "enhance_examination"),
    "experiment": ("METHODS", "Experiment"),
    "experiment_report": ("write_curves", "write_experiment"),
    "figures": ("comparison_figure",),
    "model_card": ("CARD_ALPHAS", "CARD_METHODS", "card_scores", "limit_words"),
    "records": ("SubjectResult",),
    "run_report": ("build_report", "examination_metrics", "most_enhancing_slices"),
    "slice_scores": ("REGIONS",),
    "statistics": ("Comparison", "compare"),
    "tables": ("lesion_tables",),
}

__all__ = [
    "CARD_ALPHAS",
    "CARD_METHODS",
    "FAILED",
    "LAYOUTS",
    "LEVELS",
    "METHODS",
    "REGIONS",
    "Begin",
    "CohortSettings",
    "Comparison",
    "Disturbance",
    "Enhanced",
    "Entry",
    "Experiment",
    "Failure",
    "Inputs",
    "Outcome",
    "Outputs",
    "RefusedError",
    "SubjectResult",
    "begin_here",
    "build_report",
    "card_scores",
    "check_inputs",
    "check_summary",
    "compare",
    "comparison_figure",
    "dask_client",
    "enhance_cohort",
    "enhance_examination",
    "examination_metrics",
    "find_examinations",
    "lesion_tables",
    "limit_words",
    "most_enhancing_slices",
    "run_experiment",
    "write_curves",
    "write_experiment",
    "write_summary",
]

__getattr__ = lazily(__name__, _HOME)
