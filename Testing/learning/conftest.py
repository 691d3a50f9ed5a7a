"""A small simulated cohort."""

from __future__ import annotations

from pathlib import Path

import pytest

from LIPCARLib.learning import write_simulated_cohort


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects of two slices, never to be written to."""
    root = tmp_path_factory.mktemp("learning-cohort")
    list(write_simulated_cohort(root, 3, slices=2, size=48, seed=7))
    return root
