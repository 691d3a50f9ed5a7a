"""Cohorts in, a model out."""

from .anchored_training import AnchoredProgress, AnchoredSettings, train_anchored
from .cohort import Subject, read_parameters, read_subject, subject_folders
from .processes import Processes, start_processes
from .settings import TrainingSettings
from .simulated_cohort import write_simulated_cohort
from .training import TrainingProgress, snapshot_name, train

__all__ = [
    "AnchoredProgress",
    "AnchoredSettings",
    "Processes",
    "Subject",
    "TrainingProgress",
    "TrainingSettings",
    "read_parameters",
    "read_subject",
    "snapshot_name",
    "start_processes",
    "subject_folders",
    "train",
    "train_anchored",
    "write_simulated_cohort",
]
