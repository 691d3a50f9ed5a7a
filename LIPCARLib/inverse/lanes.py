"""Work on slices side by side: on a CPU in a few threads, each with its share of the processors."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import torch

Steps = Generator[float, None, None]


def side_by_side(works: Sequence[Steps], lanes: int) -> Generator[tuple[int, float], None, None]:
    """Run generators to their ends, so many at once, in order; yields (index, share of that work which is done).

    An operation on one slice is too short to share: two threads that meet after each of them took a CPU longer than one
    thread alone, while two slices in two threads take little more than half of the time. torch and numpy let other
    threads run while they compute.

    Closing it, or an error in any of them, ends the others after the step they are in. One lane uses the calling
    thread.

    Args:
        works: each yields which share of it, 0..1, is done. They must not share what they change.
        lanes: at least 1.

    Raises:
        What the first of them to fail raises.

    >>> def halves(name):
    ...     yield 0.5
    >>> sorted(side_by_side([halves("a"), halves("b")], lanes=2))
    [(0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0)]
    """
    lanes = min(lanes, len(works))
    if lanes < 2:
        for index, work in enumerate(works):
            for share in work:
                yield index, share
            yield index, 1.0
        return
    threads, stopped = torch.get_num_threads(), threading.Event()
    told: SimpleQueue[tuple[int, float] | Future[None]] = SimpleQueue()

    def run(index: int, work: Steps) -> None:
        for share in work:
            if stopped.is_set():
                work.close()
                return
            told.put((index, share))
        told.put((index, 1.0))

    pool = ThreadPoolExecutor(lanes, "LIPCAR", torch.set_num_threads, (max(1, threads // lanes),))
    try:
        for index, work in enumerate(works):
            pool.submit(run, index, work).add_done_callback(told.put)
        ended = 0
        while ended < len(works):
            news = told.get()
            if isinstance(news, Future):
                news.result()
                ended += 1
            else:
                yield news
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what the lanes were told would hold for threads that begin later
