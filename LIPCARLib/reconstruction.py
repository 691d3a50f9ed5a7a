"""The one pipeline: a checked examination in, progress out, a simulated high-dose volume out."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import __version__
from .devices import batch_size, choose_device, describe, is_out_of_memory, release_memory
from .errors import LIPCARError
from .examination import Examination
from .model import Model
from .regularizers import GenTV
from .solvers import ADAM_STEPS, PROXIMAL_EVALUATIONS, Objective, Solver, adam, proximal

ALPHA = 6e-3
"""The paper's regularization parameter."""
SOLVERS = {"proximal": PROXIMAL_EVALUATIONS, "adam": ADAM_STEPS}
"""The solvers and their default number of iterations (network evaluations for `proximal`, steps for `adam`)."""


@dataclass(frozen=True)
class Progress:
    """How far a reconstruction is.

    Attributes:
        slices_done, slices_total: whole slices.
        fraction: of the work, 0..1, solver steps within a slice included.
        seconds_left: estimated from the work done so far; None before there is any.
        device: what computes, in words.
    """

    slices_done: int
    slices_total: int
    fraction: float
    seconds_left: float | None
    device: str


@dataclass(frozen=True)
class Result:
    """What came out. Arrays are (S, H, W) float32 like `Examination.lowdose`, in its intensity units.

    Attributes:
        highdose: the simulated high-dose volume, non-negative.
        prior: the end-to-end network's guess xbar.
        objective: per slice, its value at the start and after every step.
        residual_rms: per slice, the root mean square of F(x) - x_L at the result, in model scale.
        network_evaluations: per slice, evaluations of the forward operator.
        seconds: wall-clock time of the computation.
        provenance: how it was made; plain values, ready for a report or an image header.
    """

    highdose: np.ndarray
    prior: np.ndarray
    objective: list[list[float]]
    residual_rms: list[float]
    network_evaluations: list[int]
    seconds: float
    provenance: dict[str, Any]


Reconstruction = Generator[Progress, None, Result]


def reconstruct(
    examination: Examination,
    model: Model,
    *,
    alpha: float = ALPHA,
    solver: str = "proximal",
    iterations: int | None = None,
    device: str | torch.device = "auto",
    slices_at_once: int | None = None,
) -> Reconstruction:
    """Simulate the high-dose volume of an examination, slice by slice in batches.

    A generator: every `next` does one solver step and yields the progress; `close` cancels; the result is its return
    value (see :func:`complete`). Nothing outside is changed before that. Arguments are checked at the first `next`.

    Args:
        examination: checked; its own scale is used.
        model: moved to the device.
        alpha: weight of the regularizer, positive. Large values return the prior.
        solver: "proximal" or "adam".
        iterations: network evaluations ("proximal", at most) or steps ("adam") per slice; None for the default.
        device: as in :func:`devices.choose_device`.
        slices_at_once: None decides from the device's free memory. The result does not depend on it.

    Raises:
        LIPCARError: an argument out of range; a model that needs a pre-dose image the examination lacks; not even
            one slice fits the memory.
    """
    iterations = _check(examination, model, alpha, solver, iterations)
    device = choose_device(device) if isinstance(device, str) else device
    model.to(device)
    total, height, width = examination.lowdose.shape
    at_once = slices_at_once or batch_size(device, height, width)
    began = time.monotonic()
    name = describe(device)
    highdose, prior = np.empty_like(examination.lowdose), np.empty_like(examination.lowdose)
    objective: list[list[float]] = []
    residual_rms: list[float] = []
    evaluations: list[int] = []

    def progress(done: int, working: int, part: float) -> Progress:
        fraction = (done + working * part) / total
        elapsed = time.monotonic() - began
        return Progress(done, total, fraction, elapsed / fraction - elapsed if fraction else None, name)

    yield progress(0, 0, 0.0)
    first = 0
    while first < total:
        chosen = slice(first, min(first + at_once, total))
        count = chosen.stop - chosen.start
        try:
            lowdose, predose = (_to_device(a, chosen, examination.scale, device) for a in _inputs(examination, model))
            with torch.no_grad():
                xbar = model.prior(lowdose, predose)
            problem = Objective(model.forward_operator, lowdose, GenTV(xbar), alpha, predose)
            history: list[tuple[Tensor, Tensor]] = []
            for step in _solve(problem, xbar, solver, iterations):
                history.append((step.objective, step.network_evaluations))
                spent = int(step.network_evaluations.max())
                yield progress(first, count, min(spent / iterations, 1.0))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if at_once == 1:
                raise LIPCARError(
                    f"There is not enough memory on {name} for one slice of {height} x {width} pixels. Close other "
                    "programs or choose the CPU as the device."
                ) from error
            at_once = max(1, count // 2)
            release_memory(device)
            continue
        highdose[chosen] = (step.x[:, 0] * examination.scale).cpu().numpy()
        prior[chosen] = (xbar[:, 0] * examination.scale).cpu().numpy()
        objective += _objective_by_slice(history)
        residual_rms += (2 * step.data_fidelity / (height * width)).sqrt().tolist()
        evaluations += step.network_evaluations.tolist()
        first = chosen.stop
        yield progress(first, 0, 0.0)

    seconds = time.monotonic() - began
    provenance = {
        "simulated": "LIPCAR simulated high-dose image; research only, not for diagnosis",
        "lipcar": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": name,
        "model": model.name,
        "model_sha256": model.digest,
        "predose_used": model.uses_predose,
        "alpha": alpha,
        "solver": solver,
        "iterations": iterations,
        "scale": examination.scale,
        "slice_axis": examination.slice_axis,
    }
    return Result(highdose, prior, objective, residual_rms, evaluations, seconds, provenance)


def complete(reconstruction: Reconstruction, report: Callable[[Progress], None] | None = None) -> Result:
    """Run a reconstruction to its end, handing every progress to `report`."""
    while True:
        try:
            progress = next(reconstruction)
        except StopIteration as stop:
            return stop.value
        if report is not None:
            report(progress)


def _check(examination: Examination, model: Model, alpha: float, solver: str, iterations: int | None) -> int:
    if not (np.isfinite(alpha) and alpha > 0):
        raise LIPCARError(f"alpha is {alpha}; a positive number is expected (the paper's is {ALPHA}).")
    if solver not in SOLVERS:
        raise LIPCARError(f"Unknown solver '{solver}'; expected one of: {', '.join(SOLVERS)}.")
    iterations = SOLVERS[solver] if iterations is None else iterations
    if iterations < 1:
        raise LIPCARError(f"{iterations} iterations were asked for; at least 1 is expected.")
    if model.uses_predose and examination.predose is None:
        raise LIPCARError(
            f"The model '{model.name}' needs a pre-dose image and none was given. Give one, or choose a model without "
            "pre-dose input."
        )
    return iterations


def _inputs(examination: Examination, model: Model) -> tuple[np.ndarray, np.ndarray | None]:
    return examination.lowdose, examination.predose if model.uses_predose else None


def _to_device(
    array: np.ndarray | None, chosen: slice, scale: float, device: torch.device
) -> Tensor | None:
    if array is None:
        return None
    return torch.from_numpy(array[chosen] / np.float32(scale))[:, None].to(device)


def _solve(problem: Objective, xbar: Tensor, solver: str, iterations: int) -> Solver:
    if solver == "adam":
        return adam(problem, problem.lowdose, iterations)
    return proximal(problem, xbar, iterations)


def _objective_by_slice(history: list[tuple[Tensor, Tensor]]) -> list[list[float]]:
    """Per slice the objective by step, without the steps after the slice was finished."""
    values = torch.stack([objective for objective, _ in history], 1).tolist()
    evaluations = torch.stack([count for _, count in history], 1)
    return [row[: 1 + int((counts.diff() > 0).sum())] for row, counts in zip(values, evaluations, strict=True)]
