"""Times in words."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "estimating the time left"),
        (0.2, "0.2 s left"),
        (9.96, "10.0 s left"),
        (12.4, "12 s left"),
        (59.6, "1 min 0 s left"),
        (125, "2 min 5 s left"),
    ],
)
def test_time_left_is_readable(slicer: Any, seconds: float | None, text: str) -> None:
    from LIPCARLib.slicer.wording import time_left

    assert time_left(seconds) == text


def test_progress_says_when_the_evidence_is_made(slicer: Any) -> None:
    from LIPCARLib.inverse import Progress
    from LIPCARLib.slicer.wording import progress_text

    assert progress_text(Progress(1, 4, 0.25, 3.0, "CPU")) == "1 of 4 slices, 3.0 s left, CPU"
    evidence = progress_text(Progress(1, 4, 0.25, 3.0, "CPU", of_evidence=True))
    assert evidence == "What speaks for and against it: 1 of 4 slices, 3.0 s left, CPU"
