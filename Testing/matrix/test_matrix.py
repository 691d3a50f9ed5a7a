"""The matrix: hostile and strange inputs at every entry point. A case is a row of a table in the files beside this one.

What is found to be wrong becomes a row. Rows of one kind lie together: images, dicom, numbers, models, options,
outputs, console, doors.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk

from . import console, dicom, doors_cases, images, models, numeric, options, outputs
from .case import Case, enhanced, judge, keep_clean_result
from .inputs import ordinary
from .server import Server

if not hasattr(os, "fork"):
    pytest.skip("the fork server needs a system that forks", allow_module_level=True)

TABLES = (images, dicom, numeric, models, options, outputs, console, doors_cases)
CASES: list[Case] = [case for kind in TABLES for case in kind.CASES]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server() as server:
        clean = Case("clean", ordinary, images.ENHANCE, (enhanced(),), {"seconds": 120})
        folder = tmp_path_factory.mktemp("clean")
        judge(clean, server, folder)
        keep_clean_result(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "out.nrrd"))))
        yield server


def identifier(case: Case) -> str:
    return f"{case.words[0] if case.words[0] != 'lipcar' else ' '.join(case.words[1:2])}: {case.name}"


@pytest.mark.parametrize("case", CASES, ids=identifier)
def test_case(case: Case, server: Server, tmp_path: Path) -> None:
    if case.words[0] == "process":
        pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
    folder = tmp_path / "case"
    folder.mkdir()
    judge(case, server, folder)


def test_the_matrix_is_large_and_each_case_has_a_name() -> None:
    assert len(CASES) >= 250
    twice = [name for name, count in Counter(map(identifier, CASES)).items() if count > 1]
    assert not twice
    entries = {case.words[0] if case.words[0] != "lipcar" else f"lipcar {case.words[1:2]}" for case in CASES}
    commands = ("enhance", "demo", "phantom", "train", "train-anchored", "evaluate", "robustness", "models")
    doors = {"examination-read", "examination-from-images", "reconstruct", "load-model", "process"}
    assert {f"lipcar {[name]}" for name in commands} | doors <= entries


if sys.platform == "win32":  # the tables above are data; nothing of them runs there
    pytestmark = pytest.mark.skip
