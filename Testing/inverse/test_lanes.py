"""Work side by side: at once, ended together, and with the processors shared."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest
import torch

from LIPCARLib.inverse.lanes import side_by_side

WAIT = 30.0
"""Seconds after which a thread that should have come did not."""


def test_as_many_run_at_once_as_there_are_lanes() -> None:
    meeting = threading.Barrier(3)

    def work() -> Generator[float, None, None]:
        meeting.wait(WAIT)
        yield 0.5

    news = list(side_by_side([work() for _ in range(6)], lanes=3))
    assert sorted(news) == [(i, share) for i in range(6) for share in (0.5, 1.0)]


@pytest.mark.parametrize(("lanes", "each"), [(2, 2), (4, 1), (5, 1)])
def test_lanes_share_the_threads_and_give_them_back(lanes: int, each: int) -> None:
    before, seen = torch.get_num_threads(), []

    def work() -> Generator[float, None, None]:
        seen.append(torch.get_num_threads())
        yield 0.0

    torch.set_num_threads(4)
    try:
        list(side_by_side([work() for _ in range(lanes)], lanes))
        assert seen == [each] * lanes
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_error_is_raised_and_ends_the_others(lanes: int) -> None:
    begun, ended = threading.Event(), []

    def endless() -> Generator[float, None, None]:
        try:
            while True:
                begun.set()
                yield 0.0
        finally:
            ended.append("endless")

    def failing() -> Generator[float, None, None]:
        if lanes > 1:
            begun.wait(WAIT)
        yield 0.0
        raise ValueError("bad slice")

    with pytest.raises(ValueError, match="bad slice"):
        list(side_by_side([failing(), endless(), endless()], lanes))
    assert set(ended) == ({"endless"} if lanes > 1 else set())


def test_closing_waits_for_the_step_and_ends_all() -> None:
    ended: list[int] = []

    def endless(name: int) -> Generator[float, None, None]:
        try:
            while True:
                yield 0.0
        finally:
            ended.append(name)

    running = side_by_side([endless(i) for i in range(3)], lanes=2)
    next(running)
    alive = threading.active_count()
    running.close()
    assert set(ended) <= {0, 1}
    assert threading.active_count() < alive
