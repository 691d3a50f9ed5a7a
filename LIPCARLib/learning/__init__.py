"""Cohorts in, a model out."""

from .cohort import Subject, read_subject, subject_folders, write_simulated_cohort

__all__ = ["Subject", "read_subject", "subject_folders", "write_simulated_cohort"]
