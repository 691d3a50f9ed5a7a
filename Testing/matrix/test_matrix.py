"""The matrix: hostile and strange inputs at every entry point. A case is a row of a table in the files beside this one.

What is found to be wrong becomes a row. Rows of one kind lie together: images, dicom, numeric, models, options, outputs,
console, and doors_cases for Python and Slicer.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from . import console, dicom, doors_cases, images, models, numeric, options, outputs
from .case import Case, judge
from .server import Server

TABLES = (images, dicom, numeric, models, options, outputs, console, doors_cases)
CASES: list[Case] = [case for kind in TABLES for case in kind.CASES]
COMMANDS = ("enhance", "demo", "phantom", "train", "train-anchored", "evaluate", "robustness", "models")
DOORS = ("examination-read", "examination-from-images", "reconstruct", "load-model", "process")


def entry(case: Case) -> str:
    return " ".join(case.words[1:2]) if case.words[0] == "lipcar" else case.words[0]


def identifier(case: Case) -> str:
    """Of printable letters, and short: it becomes the name of a folder."""
    return ascii(f"{entry(case)}: {case.name}")[1:-1].replace("/", "|")[:120]


@pytest.mark.parametrize("case", CASES, ids=identifier)
def test_case(case: Case, server: Server, tmp_path: Path) -> None:
    if entry(case) == "process":
        pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
    folder = tmp_path / "case"
    folder.mkdir()
    judge(case, server, folder)


def test_the_matrix_is_large_and_each_case_has_a_name() -> None:
    assert len(CASES) >= 250
    assert not [name for name, count in Counter(map(identifier, CASES)).items() if count > 1]
    assert {*COMMANDS, *DOORS} <= set(map(entry, CASES))
