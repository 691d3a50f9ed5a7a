"""What an engine can be asked for, and how asking and answering go over messages.

A job is a generator function with type hints: it yields Progress and returns its answer. To add one is to add it to
JOBS; arguments, progress and answer travel by their hints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol, get_args, get_type_hints

import numpy as np

from ..errors import LIPCARError
from ..imaging import Examination
from ..inverse import Progress, Result, list_models, mapped
from ..trust import Evidence, Verdict
from .messages import Message
from .values import Arrays, pack, unpack

Run = Callable[[Message], Generator[Message | None, None, Message]]
"""Has a request done: yields progress, or None while there is none, and returns the answer."""
Devices = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What to do with an examination; the arguments of `inverse.reconstruct`.

    Attributes:
        model: the name of a shipped model, or on this computer the folder of any.
        metrics: whether to measure the result against the examination's high-dose image.
        evidence: whether to say what speaks for and against each voxel of it.
        verdict: whether to judge it.
    """

    model: str
    alpha: float | str
    solver: str
    iterations: int | None
    device: str
    data_consistency: bool
    dose_fraction: float | None
    metrics: bool = False
    evidence: bool = False
    verdict: bool = False


@dataclass(frozen=True)
class Answer:
    """A result and what was asked for with it: metrics as of `study.examination_metrics`, the rest as of `trust`."""

    result: Result
    metrics: dict[str, dict[str, list[float | None]]] | None = None
    evidence: Evidence | None = None
    verdict: Verdict | None = None


class Engine(Protocol):
    """What computes: a thread, a process on this computer, or another computer."""

    def start(self) -> None:
        """Get ready, without waiting for it."""

    def devices(self) -> Generator[None, None, Devices]:
        """Name and words of what can compute there, as of `inverse.available_devices`."""

    def enhance(self, examination: Examination, asked: Asked) -> Generator[Progress | None, None, Answer]:
        """As `inverse.reconstruct`; None while nothing is new. `close` cancels."""

    def close(self) -> None:
        """Nothing more is asked for."""


def devices() -> Generator[Progress, None, Devices]:
    """Imports torch."""
    yield from ()
    from ..inverse import available_devices

    return available_devices()


def enhance(examination: Examination, asked: Asked) -> Generator[Progress, None, Answer]:
    """`inverse.reconstruct`, and what is asked for with its result."""
    from ..inverse import load_model, reconstruct

    model = load_model(asked.model)
    result = yield from reconstruct(
        examination,
        model,
        alpha=asked.alpha,
        solver=asked.solver,
        iterations=asked.iterations,
        device=asked.device,
        data_consistency=asked.data_consistency,
        dose_fraction=asked.dose_fraction,
    )
    found = metrics = verdict = None
    if asked.evidence:
        from ..trust import evidence

        told = asked.dose_fraction
        found = yield from evidence(examination, model, result, dose_fraction=told, device=asked.device)
    if asked.verdict:
        from ..trust import judge

        verdict = judge(examination, result, found)
    if asked.metrics and examination.highdose is not None:
        from ..study import examination_metrics

        count = len(result.highdose)
        finished = Progress(count, count, 1.0, 0.0, result.provenance["device"])
        metrics = yield from mapped(examination_metrics(examination, result), lambda nothing: finished)
    return Answer(result, metrics, found, verdict)


JOBS: dict[str, Callable[..., Generator[Progress, None, Any]]] = {"devices": devices, "enhance": enhance}


class Asking(ABC):
    """The jobs, asked over messages: what the engines in other processes have in common."""

    @abstractmethod
    def run(self, request: Message) -> Generator[Message | None, None, Message]:
        """Have a request done: progress, or None while there is none, and the answer."""

    def devices(self) -> Generator[None, None, Devices]:
        found: Devices = yield from mapped(_ask(self.run, "devices"), _nothing)
        return found

    def enhance(self, examination: Examination, asked: Asked) -> Generator[Progress | None, None, Answer]:
        reference = examination.highdose if asked.metrics else None
        sent = replace(examination, highdose=reference)
        answer: Answer = yield from _ask(self.run, "enhance", examination=sent, asked=asked)
        return answer


def _ask(run: Run, job: str, **arguments: Any) -> Generator[Progress | None, None, Any]:
    arrays: Arrays = {}
    values = {name: pack(value, arrays, name) for name, value in arguments.items()}
    told = mapped(run(Message(job, values, arrays)), _progress)
    found: Message = yield from told
    return _unpacked(_hints(job)[1], found.values.get("answer"), found.arrays, "answer")


def _progress(message: Message | None) -> Progress | None:
    return None if message is None else _unpacked(Progress, message.values, message.arrays, "progress")


def answer(request: Message, any_folder: bool) -> Generator[Message | None, None, Message]:
    """Do what a request asks for.

    Args:
        any_folder: whether a model may be the folder of one; else it is the name of a shipped one.

    Raises:
        LIPCARError: a request that does not fit, or as the job.
    """
    if request.kind not in JOBS:
        raise LIPCARError(f"There is no job '{request.kind:.40}'; known are {', '.join(JOBS)}.")
    hints, _returned = _hints(request.kind)
    if set(request.values) != set(hints):
        raise LIPCARError(f"The job '{request.kind}' takes {', '.join(hints) or 'nothing'}.")
    arguments = {name: _unpacked(kind, request.values[name], request.arrays, name) for name, kind in hints.items()}
    for argument in arguments.values():
        if isinstance(argument, Examination):
            _check_examination(argument)
        if isinstance(argument, Asked) and not any_folder:
            _check_shipped(argument.model)
    found = yield from mapped(JOBS[request.kind](**arguments), _told)
    arrays: Arrays = {}
    return Message("answer", {"answer": pack(found, arrays, "answer")}, arrays)


def _nothing(progress: Progress | None) -> None:
    """Devices are found without progress."""


def _told(progress: Progress) -> Message:
    return Message("progress", pack(progress, {}, "progress"))


def _hints(job: str) -> tuple[dict[str, Any], Any]:
    """Of a job: the hints of its arguments, and of what it returns."""
    hints = get_type_hints(JOBS[job])
    returned = get_args(hints.pop("return"))[2]
    return hints, returned


def _unpacked(kind: Any, value: Any, arrays: Arrays, name: str) -> Any:
    try:
        return unpack(kind, value, arrays, name)
    except ValueError as error:
        raise LIPCARError(f"What was sent is malformed: {error}. Use the same LIPCAR on both sides.") from error


def _check_shipped(model: str) -> None:
    known = [entry.name for entry in list_models()]
    if model not in known:
        raise LIPCARError(
            f"The engine has no model '{model:.60}'; a computer that serves others has the shipped ones: "
            f"{', '.join(known)}. Choose one of them, or compute on this computer."
        )


def _check_examination(examination: Examination) -> None:
    """What `Examination.from_images` makes is so; what was sent may be anything."""
    shape = examination.lowdose.shape
    fits = len(shape) == 3 and min(shape) > 0 and np.isfinite(examination.scale) and examination.scale > 0
    for name in ("lowdose", "predose", "highdose", "native_time", "predose_known", "padding"):
        array = getattr(examination, name)
        if array is None:
            continue
        kind = np.dtype(bool if name in ("predose_known", "padding") else np.float32)
        fits = fits and array.shape == shape and array.dtype == kind and bool(np.isfinite(array).all())
    if not fits:
        raise LIPCARError("What was sent is no examination: its arrays differ in shape, or hold NaN or infinity.")
