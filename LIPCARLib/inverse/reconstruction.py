"""The one pipeline: a checked examination in, progress out, a simulated high-dose volume out."""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import LIPCARError
from ..imaging import Examination
from ..physics import DOSE_FRACTION, equilibrium_signal, signal_equation
from .alpha import (
    AUTO,
    DISCREPANCY_ALPHAS,
    FINE_WEIGHT,
    LEAST_NOISE,
    RULE_ALPHA,
    RULES,
    Rule,
    band_energies,
    body,
    check_alpha,
    denoised,
    enhancing,
    fine_scale_trust,
    judge,
    operator_error,
    scale_weights,
)
from .devices import batch_size, choose_device, describe, is_out_of_memory, release_memory
from .model import Model
from .regularizers import GenTV
from .solvers import (
    ADAM_STEPS,
    PROXIMAL_EVALUATIONS,
    ForwardOperator,
    Objective,
    Solver,
    Step,
    adam,
    continuation,
    proximal,
)

ALPHA = 6e-3
"""The paper's regularization parameter."""
SOLVERS = {"proximal": PROXIMAL_EVALUATIONS, "adam": ADAM_STEPS}
"""The solvers and their default number of iterations (network evaluations for `proximal`, steps for `adam`)."""
EQUATION_SHARE = 3
"""Evaluations of the signal equation for one of the network: it costs next to nothing, and its tail is long."""


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
class _Batch:
    """What the computation of some slices gives: the fields of :class:`Result` that are told by slice."""

    highdose: np.ndarray
    prior: np.ndarray
    data_consistency: np.ndarray | None
    objective: list[list[float]]
    residual_rms: list[float]
    network_evaluations: list[int]
    trust: list[float]


@dataclass(frozen=True)
class Result(_Batch):
    """What came out. Arrays are (S, H, W) float32 like `Examination.lowdose`, in its intensity units.

    Attributes:
        highdose: the simulated high-dose volume, non-negative.
        prior: the end-to-end network's guess xbar.
        data_consistency: F(x) - x_L at the result, noise floor included; None where it was not asked for.
        objective: per slice, its value at the start and after every step.
        residual_rms: per slice, the root mean square of F(x) - x_L at the result, in model scale, each spatial
            frequency counted as the data term counts it: all in full where alpha is a number.
        network_evaluations: per slice, evaluations of the forward operator by the solver, of the signal equation alone
            where a rule leaves the network out; a rule's looks at the residual (one forward pass, "discrepancy" one
            for each alpha) are not counted.
        trust: per slice, how far fine scales of the data counted, 0..1 (see `trust.fine_scale_trust`): near 1 the
            measured image contradicts the prior. Always 1 where alpha is a number.
        seconds: wall-clock time of the computation.
        provenance: how it was made; plain values, ready for a report or an image header.
    """

    seconds: float
    provenance: dict[str, Any]


Reconstruction = Generator[Progress, None, Result]
Yielded, Returned = TypeVar("Yielded"), TypeVar("Returned")


def reconstruct(
    examination: Examination,
    model: Model,
    *,
    alpha: float | str = AUTO,
    solver: str = "proximal",
    iterations: int | None = None,
    device: str | torch.device = "auto",
    slices_at_once: int | None = None,
    data_consistency: bool = False,
    around_prior: bool = True,
    dose_fraction: float | None = None,
) -> Reconstruction:
    """Simulate the high-dose volume of an examination, slice by slice in batches.

    A generator: every `next` does one solver step and yields the progress; `close` cancels; the result is its return
    value (see :func:`complete`). Nothing outside is changed before that. Arguments are checked at the first `next`.

    Args:
        examination: checked; its own scale is used.
        model: moved to the device.
        alpha: a rule of `trust.RULES`, or the weight of the regularizer, a positive number (the paper's is ALPHA):
            then the objective is the paper's own. Large values return the prior.
        solver: "proximal" or "adam".
        iterations: network evaluations ("proximal", at most) or steps ("adam") per slice; None for the default.
        device: as in :func:`devices.choose_device`.
        slices_at_once: None decides from the device's free memory. The result does not depend on it beyond float
            rounding (which "adam" magnifies where a gradient is almost zero).
        data_consistency: whether the result holds F(x) - x_L, for one more forward pass of the network, which does
            not count as an evaluation.
        around_prior: False for plain total variation of x instead of GenTV around the prior, the paper's comparison.
        dose_fraction: the low dose over the full one, 0..1, where it is known: the low-dose image is brought to the
            fraction that the models were trained for (`signal_operator.DOSE_FRACTION`), along its difference to the
            pre-dose image. None for about that one.

    Raises:
        LIPCARError: an argument out of range; a dose fraction without a pre-dose image that the model uses; a rule
            with "adam", or with a model whose card does not tell its error; a model that needs a pre-dose image the
            examination lacks; not even one slice fits the memory.
    """
    alpha = check_alpha(alpha)
    iterations = _check(examination, model, alpha, solver, iterations, dose_fraction)
    if slices_at_once is not None and slices_at_once < 1:
        raise LIPCARError(f"{slices_at_once} slices at once were asked for; at least 1 is expected.")
    device = choose_device(device) if isinstance(device, str) else device
    model.to(device)
    total, height, width = examination.lowdose.shape
    at_once = batch_size(device, height, width) if slices_at_once is None else slices_at_once
    began = time.monotonic()
    name = describe(device)
    forward_operator, floor = operator_for(model, examination)
    batches: list[_Batch] = []

    def progress(done: int, working: int = 0, part: float = 0.0) -> Progress:
        fraction = (done + working * part) / total
        elapsed = time.monotonic() - began
        return Progress(done, total, fraction, elapsed / fraction - elapsed if fraction else None, name)

    yield progress(0)
    first = 0
    while first < total:
        chosen = slice(first, min(first + at_once, total))
        count = chosen.stop - first
        try:
            steps = _solve_batch(
                examination,
                model,
                forward_operator,
                chosen,
                alpha,
                solver,
                iterations,
                device,
                data_consistency,
                around_prior,
                1.0 if dose_fraction is None else DOSE_FRACTION / dose_fraction,
            )
            batches.append((yield from mapped(steps, partial(progress, first, count))))
            first = chosen.stop
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if count == 1:
                raise LIPCARError(
                    f"There is not enough memory on {name} for one slice of {height} x {width} pixels. Close other "
                    "programs or choose the CPU as the device."
                ) from error
            at_once = count // 2
        if first != chosen.stop:
            release_memory(device)  # outside the handler, whose traceback held what did not fit
        yield progress(first)

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
        "dose_fraction": "not told" if dose_fraction is None else dose_fraction,
        "regularizer": "GenTV" if around_prior else "TV",
        "solver": solver,
        "iterations": iterations,
        "scale": examination.scale,
        "predose_shift": " ".join(f"{pixels:.2f}" for pixels in examination.predose_shift),
        "predose_gain": examination.predose_gain,
        "predose_rest": " ".join(f"{pixels:.2f}" for pixels in examination.predose_rest),
        "noise_floor": floor,
        "slice_axis": examination.slice_axis,
        "slices": f"{examination.first_slice + 1}-{examination.first_slice + total} of {examination.slices_in_all}",
    }
    highdose, prior = (np.concatenate([getattr(b, role) for b in batches]) for role in ("highdose", "prior"))
    consistency = np.concatenate([b.data_consistency for b in batches]) if data_consistency else None
    objective, residual_rms, evaluations, trust = (
        [value for b in batches for value in getattr(b, key)]
        for key in ("objective", "residual_rms", "network_evaluations", "trust")
    )
    return Result(highdose, prior, consistency, objective, residual_rms, evaluations, trust, seconds, provenance)


def with_noise_floor(forward_operator: ForwardOperator, floor: float) -> ForwardOperator:
    """sqrt(F(x)^2 + floor^2): what a magnitude image shows where F predicts the signal without noise.

    The second moment of Rician noise is S^2 + 2 sigma^2, and the background of an image shows sqrt(2) sigma. Without
    this the data term takes the noise in air for signal and lifts the air of the result: on the sample examination
    (alpha 0.006) SSIM was 0.81 without and 0.86 with it.

    Args:
        forward_operator: F.
        floor: in model scale, at least 0; 0 leaves F as it is.
    """
    if floor == 0:
        return forward_operator
    return lambda highdose, predose: (forward_operator(highdose, predose).square() + floor**2).sqrt()


def operator_for(model: Model, examination: Examination) -> tuple[ForwardOperator, float]:
    """The model's forward operator as it is compared with the examination's low-dose image, and the floor it was given.

    The floor is in model scale, 0 where F was trained to show the noise in air itself.
    """
    floor = examination.noise_floor / examination.scale if model.predicts_noise_free else 0.0
    return with_noise_floor(model.forward_operator, floor), floor


def complete(steps: Generator[Yielded, None, Returned], report: Callable[[Yielded], None] | None = None) -> Returned:
    """Run a reconstruction, or another generator, to its end, handing every progress to `report`."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            return stop.value
        if report is not None:
            report(progress)


def _check(
    examination: Examination,
    model: Model,
    alpha: float | str,
    solver: str,
    iterations: int | None,
    dose_fraction: float | None,
) -> int:
    if solver not in SOLVERS:
        raise LIPCARError(f"Unknown solver '{solver}'; expected one of: {', '.join(SOLVERS)}.")
    if alpha in RULES:
        operator_error(model.manifest)
        if solver != "proximal":
            raise LIPCARError(
                f"The solver '{solver}' is the paper's and takes a number for alpha (the paper's is {ALPHA}), not "
                f"'{alpha}'. Give one, or choose the proximal solver."
            )
    iterations = SOLVERS[solver] if iterations is None else iterations
    if iterations < 1:
        raise LIPCARError(f"{iterations} iterations were asked for; at least 1 is expected.")
    if model.uses_predose and examination.predose is None:
        raise LIPCARError(
            f"The model '{model.name}' needs a pre-dose image and none was given. Give one, or choose a model without "
            "pre-dose input."
        )
    if dose_fraction is not None:
        if not 0 < dose_fraction <= 1:
            raise LIPCARError(
                f"The dose fraction is {dose_fraction}; the low dose over the full dose is expected, a number above 0 "
                "and at most 1 (the paper's is 0.2)."
            )
        if not model.uses_predose:
            raise LIPCARError(
                f"A dose fraction of {dose_fraction} was given, but the model '{model.name}' uses no pre-dose image, "
                "without which what the agent changed is not known. Leave the dose fraction out, or choose a model "
                "with pre-dose input."
            )
    return iterations


def _solve_batch(
    examination: Examination,
    model: Model,
    forward_operator: ForwardOperator,
    chosen: slice,
    alpha: float | str,
    solver: str,
    iterations: int,
    device: torch.device,
    data_consistency: bool,
    around_prior: bool,
    dose_ratio: float,
) -> Generator[float, None, _Batch]:
    """Solve some slices; yields after every step which share of the iterations is spent.

    Args:
        dose_ratio: the dose fraction that the model knows over the given one.
    """
    scale = examination.scale
    lowdose = _to_device(examination.lowdose[chosen], scale, device)
    predose = aligned = None
    if model.uses_predose:
        predose = _to_device(examination.predose[chosen], scale, device)
        aligned = _to_device(examination.aligned_predose(chosen), scale, device)
        if dose_ratio != 1:
            lowdose = torch.lerp(aligned, lowdose, dose_ratio).clamp_min(0)
    with torch.no_grad():
        xbar = model.prior(lowdose, predose)
    # A forward pass takes about a third of an evaluation with its gradient, and as long as a rule does without F.
    begun = 0.3 if alpha in RULES else 1 / (3 * iterations)
    yield begun
    trust, budget = torch.ones(len(lowdose), device=device), iterations
    steps: Solver
    if alpha in RULES:
        # Both images have the noise of which x_P + ratio (x_L - x_P) holds this much.
        noise = examination.noise / scale * math.hypot(dose_ratio, 1 - dose_ratio), examination.noise_floor / scale
        doubtful = aligned is not None and examination.predose_doubtful
        session = _Session(lowdose, predose, aligned, noise[0], noise[1], examination.predose_gain, doubtful)
        steps, trust, budget = _by_rule(
            RULES[str(alpha)], model, forward_operator, session, xbar, around_prior, iterations
        )
    else:
        regularizer = GenTV(xbar if around_prior else torch.zeros_like(xbar))
        problem = Objective(forward_operator, lowdose, regularizer, float(alpha), predose)
        steps = adam(problem, lowdose, iterations) if solver == "adam" else proximal(problem, xbar, iterations)
    objective, evaluations = [], []
    for step in steps:
        objective.append(step.objective)
        evaluations.append(step.network_evaluations)
        yield begun + (1 - begun) * min(1.0, int(step.network_evaluations.max()) / budget)
    difference = None
    if data_consistency:
        with torch.no_grad():
            difference = ((forward_operator(step.x, predose) - lowdose)[:, 0] * scale).cpu().numpy()
    # A finished slice repeats its value while others go on: its history ends with its last evaluation.
    lengths = 1 + (torch.stack(evaluations, 1).diff() > 0).sum(1)
    return _Batch(
        (step.x[:, 0] * scale).cpu().numpy(),
        (xbar[:, 0] * scale).cpu().numpy(),
        difference,
        [row[:length] for row, length in zip(torch.stack(objective, 1).tolist(), lengths.tolist(), strict=True)],
        (2 * step.data_fidelity / lowdose[0].numel()).sqrt().tolist(),
        step.network_evaluations.tolist(),
        trust.tolist(),
    )


@dataclass(frozen=True)
class _Session:
    """What a rule looks at, some slices in model scale, (N, 1, H, W).

    Attributes:
        lowdose, predose: as the model takes them; None for a model without pre-dose image.
        aligned: the pre-dose image where the low-dose image has it.
        sigma, floor: the noise's standard deviation and the noise floor of either image.
        gain: what the pre-dose image was multiplied by.
        doubtful: there is a pre-dose image, and it may show something else.
    """

    lowdose: Tensor
    predose: Tensor | None
    aligned: Tensor | None
    sigma: float
    floor: float
    gain: float
    doubtful: bool


def _by_rule(
    rule: Rule,
    model: Model,
    forward_operator: ForwardOperator,
    session: _Session,
    prior: Tensor,
    around_prior: bool,
    iterations: int,
) -> tuple[Solver, Tensor, int]:
    """The solver that a rule of `trust` asks for, the trust in the network F by slice, and how often it evaluates."""
    lowdose, predose = session.lowdose, session.predose
    inside = body(lowdose, session.floor)
    error = torch.tensor(operator_error(model.manifest), device=prior.device)
    xbar = denoised(prior, inside) if rule.denoise else prior
    reference = xbar if around_prior else torch.zeros_like(xbar)
    # Plain total variation has nothing to keep in air but zero.
    start = torch.where(inside, xbar, reference) if rule.on_body else xbar
    regularizer = GenTV(reference, inside if rule.on_body else None)
    alpha = RULE_ALPHA * max(session.sigma, LEAST_NOISE)
    problem = Objective(forward_operator, lowdose, regularizer, alpha, predose)

    def residual(x: Tensor) -> Tensor:
        with torch.no_grad():
            return forward_operator(x, predose) - lowdose

    if rule.discrepancy:
        expected = error.sum() + session.sigma**2

        def satisfied(x: Tensor) -> Tensor:
            return band_energies(residual(x), inside).sum(1) <= expected

        path = continuation(problem, start, DISCREPANCY_ALPHAS, satisfied, iterations)
        return path, torch.ones(len(lowdose), device=lowdose.device), iterations * len(DISCREPANCY_ALPHAS)
    trust = torch.zeros(len(lowdose), device=lowdose.device)
    if rule.gate and not session.doubtful:  # F looks at the pre-dose image too
        trust = fine_scale_trust(residual(start), inside, session.sigma, error)
    height, width = lowdose.shape[-2:]
    fine = (FINE_WEIGHT * trust).view(-1, 1, 1, 1).expand(-1, 1, height, width // 2 + 1)
    always = scale_weights(height, width, lowdose.device, session.gain)
    judged_by = judge(rule, error, predose is not None and not session.doubtful)
    if judged_by == "signal":
        equation, images, local = _signal_equation(rule, session, inside)
        alone = Objective(equation, lowdose, regularizer, alpha, images, always.expand_as(fine), local)
        budget = iterations * (EQUATION_SHARE + bool((trust > 0).any()))
        return _equation_then_network(alone, problem, fine, start, trust, iterations), trust, budget
    problem.weight = fine if judged_by is None else fine + always
    return proximal(problem, start, iterations), trust, iterations


def _signal_equation(rule: Rule, session: _Session, inside: Tensor) -> tuple[ForwardOperator, Tensor, Tensor]:
    """The signal equation, the images it looks at, (N, 2, H, W), and its weight at each pixel, (N, 1, H, W)."""
    lowdose, predose = session.lowdose, session.aligned if rule.aligned else session.predose
    assert predose is not None
    local = enhancing(lowdose, predose, inside, session.sigma) if rule.enhancing else torch.zeros_like(lowdose)
    # Both images have the noise floor; the equation is about signals.
    before, after = (
        (denoised(image, inside).square() - session.floor**2).clamp_min(0).sqrt() for image in (predose, lowdose)
    )
    images = torch.cat((before, equilibrium_signal(before, after)), dim=1)
    return with_noise_floor(lambda x, i: signal_equation(x, i[:, :1], i[:, 1:]), session.floor), images, local


def _equation_then_network(
    alone: Objective, network: Objective, fine: Tensor, start: Tensor, trust: Tensor, iterations: int
) -> Solver:
    """Solve with the signal equation alone, then with the network beside it where that is trusted.

    Beside it: as two channels of one operator. Where no slice trusts the network, it is not computed.

    Args:
        alone: the problem of the signal equation.
        network: the paper's problem, without weights.
        fine: the network's weights, (N, 1, H, W // 2 + 1).
    """
    for step in proximal(alone, start, EQUATION_SHARE * iterations):
        yield step
    trusted = torch.nonzero(trust > 0).squeeze(1)
    if not len(trusted):
        return
    equation, learned, own = alone.forward_operator, network.forward_operator, network.predose.shape[1]

    def both(highdose: Tensor, images: Tensor) -> Tensor:
        return torch.cat((learned(highdose, images[:, :own]), equation(highdose, images[:, own:])), dim=1)

    together = copy.copy(alone)
    together.forward_operator, together.predose = both, torch.cat((network.predose, alone.predose), dim=1)
    together.weight = torch.cat((fine, alone.weight), dim=1)
    together.local_weight = torch.cat((torch.zeros_like(alone.local_weight), alone.local_weight), dim=1)
    for part in proximal(together[trusted], step.x[trusted], iterations):
        yield Step(
            step.x.index_copy(0, trusted, part.x),
            step.objective.index_copy(0, trusted, part.objective),
            step.data_fidelity.index_copy(0, trusted, part.data_fidelity),
            step.network_evaluations.index_add(0, trusted, part.network_evaluations),
            step.finished.index_copy(0, trusted, part.finished),
        )


def mapped(
    steps: Generator[Any, None, Returned], convert: Callable[[Any], Yielded]
) -> Generator[Yielded, None, Returned]:
    """The same generator with every yielded value converted."""
    while True:
        try:
            value = next(steps)
        except StopIteration as stop:
            return stop.value
        yield convert(value)


def _to_device(array: np.ndarray, scale: float, device: torch.device) -> Tensor:
    """Slices in model scale, (N, 1, H, W)."""
    return torch.from_numpy(array / np.float32(scale))[:, None].to(device)
