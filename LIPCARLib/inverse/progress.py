"""How far a computation is, and how a generator that tells it is run to its end; without torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

Given = TypeVar("Given")
Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Progress:
    """How far a reconstruction is.

    Attributes:
        slices_done, slices_total: whole slices.
        fraction: of the work, 0..1, solver steps within a slice included.
        seconds_left: estimated from the work done so far; None before there is any.
        device: what computes, in words.
        of_evidence: whether the result is there, and what speaks for and against it is being looked for.

    >>> Progress(1, 4, fraction=0.25, seconds_left=3.0, device="CPU, 1 thread").fraction
    0.25
    """

    slices_done: int
    slices_total: int
    fraction: float
    seconds_left: float | None
    device: str
    of_evidence: bool = False


class Clock:
    """Tells how far the work is and how long it takes.

    >>> Clock(4, "CPU, 1 thread").progress(done=1, begun=1.0).fraction
    0.5
    """

    def __init__(self, total: int, device: str) -> None:
        self.total, self.device, self._began = total, device, time.monotonic()

    def progress(self, done: int, begun: float = 0.0) -> Progress:
        """With `done` slices finished and as much of others as `begun` slices are."""
        fraction = min(1.0, (done + begun) / self.total)
        elapsed = time.monotonic() - self._began
        left = elapsed / fraction - elapsed if fraction else None
        return Progress(done, self.total, fraction, left, self.device)


def complete(steps: Generator[Yielded, None, Returned], report: Callable[[Yielded], None] | None = None) -> Returned:
    """Run a reconstruction, or another generator, to its end, handing every progress to `report`.

    >>> def steps():
    ...     yield "half"
    ...     return "result"
    >>> complete(steps(), print)
    half
    'result'
    """
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            returned: Returned = stop.value
            return returned
        if report is not None:
            report(progress)


def mapped(
    steps: Generator[Given, None, Returned], convert: Callable[[Given], Yielded]
) -> Generator[Yielded, None, Returned]:
    """The same generator with every yielded value converted.

    >>> def steps():
    ...     yield 0.5
    ...     return "result"
    >>> complete(mapped(steps(), lambda share: f"{share:.0%}"), print)
    50%
    'result'
    """
    while True:
        try:
            value = next(steps)
        except StopIteration as stop:
            returned: Returned = stop.value
            return returned
        yield convert(value)
