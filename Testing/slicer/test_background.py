"""Threads for the engine: results, errors, steps, and that garbage is collected on the main thread alone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Generator
from typing import Any

import pytest
from headless import Timer

from LIPCARLib.engine import NotStartedError

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


def test_what_works_between_steps_is_part_of_the_job_and_ends_where_it_is_left(slicer: Any) -> None:
    from LIPCARLib.slicer.background import Threads, stepped

    seen, closed, go = [], threading.Event(), threading.Event()

    def steps() -> Generator[int, None, None]:
        try:
            yield 1
            go.wait()
            yield 2
        finally:
            seen.append(threading.current_thread().name)
            closed.set()

    threads = Threads(Timer)
    told = stepped(threads.worker(), steps(), SLOT)
    while next(told) is None:
        pass
    assert not gc.isenabled()
    told.close()
    assert not closed.is_set()  # whoever closes does not wait
    go.set()
    assert closed.wait(10) and seen[0].startswith("LIPCAR")
    while Timer.active:
        for timer in list(Timer.active):
            timer._fire()


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


class Unstarted:
    """An engine that cannot be started, at once or when it is asked."""

    def __init__(self, at_once: bool) -> None:
        self._at_once = at_once

    def start(self) -> None:
        if self._at_once:
            raise NotStartedError("there is no interpreter")

    def devices(self) -> Generator[None, None, list[tuple[str, str]]]:
        yield None
        raise NotStartedError("there is no interpreter")


@pytest.mark.parametrize("at_once", [True, False])
def test_where_no_process_starts_a_thread_computes_and_the_log_says_so_once(
    slicer: Any, caplog: pytest.LogCaptureFixture, at_once: bool
) -> None:
    from LIPCARLib.slicer.background import FirstThatStarts, ThreadEngine, Threads

    engine = FirstThatStarts(Unstarted(at_once), ThreadEngine(Threads(Timer).worker, SLOT))
    for _run in range(2):
        engine.start()
        assert drained(engine.devices())[1][-1][0] == "cpu"
    assert sum("there is no interpreter" in record.message for record in caplog.records) == 1


def test_an_engine_that_ran_once_is_not_given_up(slicer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from LIPCARLib.slicer.background import FirstThatStarts, ThreadEngine, Threads

    threads = ThreadEngine(Threads(Timer).worker, SLOT)
    first = Unstarted(at_once=False)
    engine = FirstThatStarts(first, threads)
    monkeypatch.setattr(first, "devices", threads.devices)
    drained(engine.devices())
    monkeypatch.undo()
    with pytest.raises(NotStartedError):
        drained(engine.devices())
