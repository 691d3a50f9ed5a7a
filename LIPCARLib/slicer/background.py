"""Work of the engine in a thread, while the window stays alive and nothing of Slicer's is touched off the main thread.

Python's lock is not free while Qt's event loop runs, so a thread would starve. Whoever waits here waits with the lock
free, in slots short enough for the window: between them the event loop has its turn.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from slicer.i18n import tr as _

from .services import Job, Timer, Worker

if TYPE_CHECKING:
    from ..engine import Answer, Asked, Engine
    from ..imaging import Examination
    from ..inverse import Progress

Returned = TypeVar("Returned")
Yielded = TypeVar("Yielded")

WATCH_MILLISECONDS = 200


class Threads:
    """Makes workers of one thread each; jobs may take numpy, SimpleITK and torch, never a node or a widget.

    Python collects garbage in whichever thread asks for memory, and garbage of the main thread may hold nodes and
    widgets: while a job runs, only the main thread collects.
    """

    def __init__(self, timer: Callable[[], Timer]) -> None:
        self._running: list[Future[Any]] = []
        self._looked = 0.0
        self._watch = timer()
        self._watch.setInterval(WATCH_MILLISECONDS)
        self._watch.connect("timeout()", self._look)

    def worker(self) -> Worker:
        return _Thread(self._submitted, self._look)

    def _submitted(self, job: Future[Any]) -> None:
        gc.disable()
        self._running.append(job)
        self._watch.start()
        if time.monotonic() - self._looked > WATCH_MILLISECONDS / 1000:  # a script may never come back to the loop
            self._look()

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._running = [job for job in self._running if not job.done()]
        if self._running:
            gc.collect(0)
            return
        self._watch.stop()
        gc.enable()


class _Thread:
    def __init__(self, submitted: Callable[[Future[Any]], None], ended: Callable[[], None]) -> None:
        self._submitted, self._ended = submitted, ended
        self._pool = ThreadPoolExecutor(1, "LIPCAR")

    def submit(self, work: Callable[[], Returned]) -> Job[Returned]:
        job = self._pool.submit(work)
        self._submitted(job)
        return _Waited(job, self._ended)

    def close(self) -> None:
        """What runs comes to its end, unheard."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Waited(Job[Returned]):
    def __init__(self, job: Future[Returned], ended: Callable[[], None]) -> None:
        self._job, self._ended = job, ended

    def done(self, seconds: float) -> bool:
        return bool(wait([self._job], seconds).done)

    def result(self) -> Returned:
        self._ended()
        return self._job.result()


def waited(job: Job[Returned], seconds: float) -> Generator[None, None, Returned]:
    """The job's result or its exception; a turn of the event loop between waits of so many seconds."""
    while not job.done(seconds):
        yield None
    return job.result()


def stepped(
    worker: Worker, steps: Generator[Yielded, None, Returned], seconds: float
) -> Generator[Yielded | None, None, Returned]:
    """The same steps, as one job: they may have threads of their own, which work between them too.

    None while nothing is new. Closing it ends them after the one under way.
    """
    told: SimpleQueue[Yielded] = SimpleQueue()
    left = Event()

    def run() -> Returned:
        while True:
            try:
                told.put(next(steps))
            except StopIteration as stop:
                returned: Returned = stop.value
                return returned
            if left.is_set():
                steps.close()

    job = worker.submit(run)
    try:
        while True:
            ended = job.done(seconds)
            while not told.empty():
                yield told.get()
            if ended:
                return job.result()
            yield None
    finally:
        left.set()


class ThreadEngine:
    """The engine in a thread of this process, which loads torch into it."""

    def __init__(self, worker: Callable[[], Worker], seconds: float) -> None:
        self._worker, self._seconds = worker, seconds

    def start(self) -> None:
        """There is nothing to start."""

    def close(self) -> None:
        """Each run closes its own thread."""

    def devices(self) -> Generator[None, None, list[tuple[str, str]]]:
        from ..engine import devices
        from ..inverse import complete

        worker = self._worker()
        try:
            return (yield from waited(worker.submit(lambda: complete(devices())), self._seconds))
        finally:
            worker.close()

    def enhance(self, examination: Examination, asked: Asked) -> Generator[Progress | None, None, Answer]:
        from ..engine import enhance

        worker = self._worker()
        try:
            return (yield from stepped(worker, enhance(examination, asked), self._seconds))
        finally:
            worker.close()


class FirstThatStarts:
    """An engine that may not start, and another one in place of it; the log says so once."""

    def __init__(self, first: Engine, other: Engine) -> None:
        self._engine, self._other = first, other
        self._started = False

    def start(self) -> None:
        from ..engine import NotStartedError

        try:
            self._engine.start()
        except NotStartedError as error:
            self._give_up(error)

    def close(self) -> None:
        self._engine.close()

    def devices(self) -> Generator[None, None, list[tuple[str, str]]]:
        from ..engine import NotStartedError

        try:
            found = yield from self._engine.devices()
        except NotStartedError as error:
            self._give_up(error)
            found = yield from self._engine.devices()
        self._started = True
        return found

    def enhance(self, examination: Examination, asked: Asked) -> Generator[Progress | None, None, Answer]:
        """Asked for after `devices`, so it is known by then which of the two computes."""
        return self._engine.enhance(examination, asked)

    def _give_up(self, error: Exception) -> None:
        if self._started or self._engine is self._other:
            raise error
        logging.warning(_("LIPCAR computes within Slicer, whose window may wait for it: {error}").format(error=error))
        self._engine = self._other
