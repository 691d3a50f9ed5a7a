"""A small simulated cohort, and an experiment run on it to the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from LIPCARLib.inverse import Progress
from LIPCARLib.learning import subject_folders, write_simulated_cohort
from LIPCARLib.study import Experiment, Failure, SubjectResult, run_experiment


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three rats, never to be written to."""
    root = tmp_path_factory.mktemp("study-cohort")
    list(write_simulated_cohort(root, 3, slices=2, size=48, seed=3, anatomy="rat"))
    return subject_folders(root)


@pytest.fixture(scope="session")
def run() -> Callable[..., list[SubjectResult | Failure]]:
    """All results and failures of `run_experiment(experiment, folders, output)`."""

    def finish(
        experiment: Experiment, folders: list[Path], output: Path | None = None
    ) -> list[SubjectResult | Failure]:
        return [event for event in run_experiment(experiment, folders, output) if not isinstance(event, Progress)]

    return finish
