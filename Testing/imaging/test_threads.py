"""Threads: the same numbers, in order, in however many; an error of one comes out."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from LIPCARLib.imaging.deformation import find_deformation
from LIPCARLib.imaging.intensity import local_mean
from LIPCARLib.imaging.registration import move, without_data
from LIPCARLib.imaging.threads import cores, in_threads


@pytest.mark.parametrize("told", ["1", "3"])
def test_the_number_of_threads_changes_no_bit(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    before = np.abs(local_mean(100 * rng.standard_normal((5, 64, 48)).astype(np.float32), 5))
    before[:, :10] = 0
    after = np.roll(before, 1, axis=2)

    def results() -> list[np.ndarray]:
        return [find_deformation(before, after), local_mean(before, 5), move(before, (0.3, -1.2)), without_data(before)]

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = results()
    assert expected[-1].any() and not expected[-1].all()
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(4), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert cores() == int(told)
    assert all(map(np.array_equal, results(), expected))


def test_work_is_done_in_threads_and_its_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(2), raising=False)
    both = threading.Barrier(2, timeout=10)  # lets nobody through before two are there

    def meet(number: int) -> int:
        both.wait()
        return number

    assert in_threads(meet, [1, 2]) == [1, 2]
    with pytest.raises(ZeroDivisionError):
        in_threads(divmod, [1, 1, 1], [1, 0, 1])
