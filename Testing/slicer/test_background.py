"""Threads for the engine: results, errors, steps, and that garbage is collected on the main thread alone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from typing import Any

import pytest
from headless import Timer

SLOT = 0.01


def drained(steps: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    yielded = []
    while True:
        try:
            yielded.append(next(steps))
        except StopIteration as stop:
            return yielded, stop.value


def test_a_job_runs_in_another_thread_and_gives_its_result(slicer: Any) -> None:
    from LIPCARLib.slicer.background import Threads, waited

    threads, go = Threads(Timer), threading.Event()

    def work() -> str:
        go.wait()
        return threading.current_thread().name

    steps = waited(threads.worker().submit(work), SLOT)
    assert next(steps) is None and not gc.isenabled()
    go.set()
    assert drained(steps)[1].startswith("LIPCAR") and gc.isenabled()


def test_an_error_is_raised_where_it_is_waited_for(slicer: Any) -> None:
    from LIPCARLib.slicer.background import Threads, waited

    def work() -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(ZeroDivisionError, match="by nothing"):
        drained(waited(Threads(Timer).worker().submit(work), SLOT))
    assert gc.isenabled()


def test_the_steps_of_a_generator_come_in_their_order_from_one_thread(slicer: Any) -> None:
    from LIPCARLib.slicer.background import Threads, stepped

    seen = set()

    def steps() -> Generator[int, None, str]:
        for number in range(5):
            seen.add(threading.get_ident())
            yield number
        return "end"

    yielded, returned = drained(stepped(Threads(Timer).worker(), steps(), SLOT))
    assert [one for one in yielded if one is not None] == list(range(5)) and returned == "end"
    assert len(seen) == 1 and threading.get_ident() not in seen


def test_what_is_left_to_itself_gives_the_garbage_back_at_its_end(slicer: Any) -> None:
    from LIPCARLib.slicer.background import Threads

    threads, go = Threads(Timer), threading.Event()
    worker = threads.worker()
    worker.submit(go.wait)
    worker.close()
    assert Timer.active and not gc.isenabled()
    go.set()
    while Timer.active:
        for timer in list(Timer.active):
            timer._fire()
    assert gc.isenabled()
