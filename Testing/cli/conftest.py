"""A small cohort made by the command line, and a copy of one of its subjects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from LIPCARLib.cli import run

SIZE = 48


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects of two slices of 48 x 48, of seed 5; never to be written to."""
    folder = tmp_path_factory.mktemp("cli-cohort")
    arguments = ["phantom", str(folder), "--subjects", "3", "--slices", "2", "--size", str(SIZE), "--seed", "5"]
    assert run(arguments) == 0
    return folder


@pytest.fixture
def subject(cohort: Path, tmp_path: Path) -> Path:
    """One subject's folder, to do with what one likes."""
    return Path(shutil.copytree(cohort / "subject-001", tmp_path / "subject"))


@pytest.fixture
def single(subject: Path, tmp_path: Path) -> Path:
    """A cohort of that one subject."""
    shutil.copytree(subject, tmp_path / "cohort" / "one")
    return tmp_path / "cohort"
