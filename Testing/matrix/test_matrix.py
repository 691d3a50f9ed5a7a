"""The matrix: hostile and strange inputs at every entry point. A case is a row of a table in the files beside this one.

What is found to be wrong becomes a row. Rows of one kind lie together: images, dicom, numeric, models, options, outputs,
console, services, and doors_cases for Python and Slicer.
"""

from __future__ import annotations

import importlib.util
import queue
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from . import console, dicom, doors_cases, images, models, numeric, options, outputs, services
from .case import Case, judge
from .server import Server

TABLES = (images, dicom, numeric, models, options, outputs, console, services, doors_cases)
CASES: list[Case] = [case for kind in TABLES for case in kind.CASES]
COMMANDS = ("enhance", "demo", "phantom", "train", "train-anchored", "evaluate", "robustness", "models")
COMMANDS += ("cohort", "check", "serve")
DOORS = ("examination-read", "examination-from-images", "reconstruct", "load-model", "process")


def entry(case: Case) -> str:
    return " ".join(case.words[1:2]) if case.words[0] == "lipcar" else case.words[0]


def identifier(case: Case) -> str:
    """Of printable letters, and short: it becomes the name of a folder."""
    return ascii(f"{entry(case)}: {case.name}")[1:-1].replace("/", "|")[:120]


def judged(case: Case, idle: queue.SimpleQueue[Server], folder: Path) -> None:
    server = idle.get()
    try:
        folder.mkdir()
        judge(case, server, folder)
        shutil.rmtree(folder)
    finally:
        idle.put(server)


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, idle: queue.SimpleQueue[Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """Cases are judged two at a time, in their order, ahead of the tests that ask."""
    asked = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    base = tmp_path_factory.mktemp("matrix")
    pool = ThreadPoolExecutor(idle.qsize())
    cases = [case for case in asked if isinstance(case, Case) and not is_left_out(case)]
    yield {identifier(case): pool.submit(judged, case, idle, base / str(n)) for n, case in enumerate(cases)}
    pool.shutdown(cancel_futures=True)


def is_left_out(case: Case) -> bool:
    return entry(case) == "process" and importlib.util.find_spec("slicer") is None


@pytest.mark.parametrize("case", CASES, ids=identifier)
def test_case(case: Case, verdicts: dict[str, Future[None]]) -> None:
    if is_left_out(case):
        pytest.skip("slicer-core is not installed")
    verdicts[identifier(case)].result()


def test_the_matrix_is_large_and_each_case_has_a_name() -> None:
    assert len(CASES) >= 250
    assert not [name for name, count in Counter(map(identifier, CASES)).items() if count > 1]
    assert {*COMMANDS, *DOORS} <= set(map(entry, CASES))
