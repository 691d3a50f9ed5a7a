"""Solvers of the inverse problem: one objective, two algorithms, each a generator that yields after every step.

    x = argmin over x >= 0 of  1/2 ||F(x) - x_L||_2^2 + alpha R(x)          (paper, equation 3; sums over pixels)

All work on a batch of slices and treat every slice by itself, so the batch a slice is solved in does not matter.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .regularizers import GenTV

ForwardOperator = Callable[[Tensor, Tensor | None], Tensor]
"""From images (N, 1, H, W) and their pre-dose images, or None, to the low-dose images F(x), (N, 1, H, W)."""
Solver = Generator["Step", None, None]

ADAM_STEPS = 150
PROXIMAL_EVALUATIONS = 10

DECREASE = 1e-2
"""Share of the quadratic model's decrease that a step must deliver."""
INERTIA = 0.3
"""Share of the last move that is repeated. Of 0, 0.2, 0.4 and 0.6, 0.2 to 0.4 got lowest in 10 evaluations."""
GROWTH = 2.0
"""Factor of the step length where the data term is not convex along the step."""
SHORTEST, LONGEST = 1e-3, 1e3
"""Bounds of the step length."""


class Objective:
    """1/2 ||F(x) - x_L||^2 + alpha R(x), per slice; with weights 1/2 <r, (W + M) r> instead, r = F(x) - x_L, where
    W >= 0 acts on spatial frequencies and M >= 0 on pixels.

    F may give several channels, opinions of several operators, which are all compared with x_L.

    Args:
        forward_operator: F, from (N, 1, H, W) and the slices' pre-dose images (or None) to (N, 1, H, W).
        lowdose: x_L, (N, 1, H, W).
        regularizer: R around the same slices.
        alpha: the weight of R, positive.
        predose: x_P, (N, 1, H, W), handed on to F.
        weight: W as a multiplier of the real Fourier transform, (N, C, H, W // 2 + 1); None for 1.
        local_weight: M, (N, C, H, W); None for 0. Needs `weight`.
    """

    def __init__(
        self,
        forward_operator: ForwardOperator,
        lowdose: Tensor,
        regularizer: GenTV,
        alpha: float,
        predose: Tensor | None = None,
        weight: Tensor | None = None,
        local_weight: Tensor | None = None,
    ) -> None:
        self.forward_operator = forward_operator
        self.lowdose = lowdose
        self.regularizer = regularizer
        self.alpha = alpha
        self.predose = predose
        self.weight = weight
        self.local_weight = local_weight

    def __getitem__(self, slices: Tensor) -> Objective:
        """The objective of some slices of the batch, chosen by an index tensor."""
        part = copy.copy(self)
        part.lowdose, part.regularizer = self.lowdose[slices], self.regularizer[slices]
        part.predose, part.weight, part.local_weight = (
            None if one is None else one[slices] for one in (self.predose, self.weight, self.local_weight)
        )
        return part

    def data_fidelity(self, x: Tensor) -> Tensor:
        """1/2 ||F(x) - x_L||^2, weighted, per slice, (N,). Differentiable; one network evaluation."""
        difference = self.forward_operator(x, self.predose) - self.lowdose
        if self.weight is None:
            return 0.5 * difference.square().flatten(1).sum(1)
        weighted = torch.fft.irfft2(torch.fft.rfft2(difference) * self.weight, s=difference.shape[-2:])
        if self.local_weight is not None:
            weighted = weighted + self.local_weight * difference
        return 0.5 * (difference * weighted).flatten(1).sum(1)

    def value(self, x: Tensor) -> Tensor:
        """The whole objective per slice, (N,). Differentiable; one network evaluation."""
        return self.data_fidelity(x) + self.alpha * self.regularizer.value(x)


@dataclass(frozen=True)
class Step:
    """Where a solver stands. Tensors are (N, ...), one entry a slice.

    Attributes:
        x: the iterate that would be returned now, (N, 1, H, W).
        objective: its objective, (N,).
        data_fidelity: its 1/2 ||F(x) - x_L||^2, (N,).
        network_evaluations: evaluations of F (with or without gradient) spent on each slice so far, (N,) integers.
        finished: slices that will not change any more, (N,) booleans.
    """

    x: Tensor
    objective: Tensor
    data_fidelity: Tensor
    network_evaluations: Tensor
    finished: Tensor


def adam(objective: Objective, start: Tensor, steps: int = ADAM_STEPS, learning_rate: float = 1e-3) -> Solver:
    """The paper's algorithm and settings: Adam on x with torch's defaults, started at x_L, kept as the reference.

    With 1e-3 no pixel moves by more than 0.15 in 150 steps, less than a tumor enhances; the authors' published code
    uses 1e-2 and gets much lower (`make benchmark` shows both). After every step x is projected onto x >= 0.

    Yields ``steps + 1`` times: the start, then after every step. One network evaluation each.
    """
    variable = start.clamp(min=0).requires_grad_()
    optimizer = torch.optim.Adam([variable], lr=learning_rate)
    for step in range(steps + 1):
        with torch.enable_grad():
            fidelity = objective.data_fidelity(variable)
            value = fidelity + objective.alpha * objective.regularizer.value(variable)
            (variable.grad,) = torch.autograd.grad(value.sum(), variable)
        count = torch.full((len(start),), step + 1, device=start.device)
        yield Step(variable.detach().clone(), value.detach(), fidelity.detach(), count, count > steps)
        if step < steps:
            optimizer.step()
            with torch.no_grad():
                variable.clamp_(min=0)


def proximal(
    objective: Objective,
    start: Tensor,
    evaluations: int = PROXIMAL_EVALUATIONS,
    tolerance: float = 1e-3,
    inner_iterations: int = 20,
) -> Solver:
    """Proximal gradient on x - xbar with x >= 0, inertia, Barzilai-Borwein steps, a monotone safeguard. The default.

        candidate = prox_{t alpha R + (x >= 0)}(x - t F'(x)^T (F(x) - x_L) + INERTIA (x - previous x))

    which is iPiano (Ochs et al., SIAM J. Imaging Sci. 7(2), 2014) with a data-driven step.

    A candidate is accepted where the objective falls by at least DECREASE / (2 t) ||candidate - x||^2; elsewhere t
    shrinks and the slice tries again from where it was, without inertia. After an accepted step t is the
    Barzilai-Borwein quotient <s, s> / <s, y> of the change s in x and y in the gradient (Barzilai & Borwein, IMA J.
    Numer. Anal. 8, 1988), one per slice. The proximal map is solved from the dual of the previous step and calls no
    network.

    Args:
        objective: of the batch.
        start: (N, 1, H, W), usually xbar; values below 0 become 0.
        evaluations: at most this many network evaluations per slice, the start's included.
        tolerance: a slice is finished when its fixed-point residual ||candidate - x|| / min(t, 1) falls below this
            share of ||x||.
        inner_iterations: of the proximal map.

    Yields after the start and after every network evaluation. The objective of a slice never rises.
    """
    batch = len(start)
    x = start.clamp(min=0)
    fidelity, gradient = _fidelity_and_gradient(objective, x)
    value = fidelity + objective.alpha * objective.regularizer.value(x)
    previous, inertia = x, torch.zeros(batch, dtype=x.dtype, device=x.device)
    step_length = torch.ones(batch, dtype=x.dtype, device=x.device)
    dual = objective.regularizer.cold_dual(x)
    count = torch.ones(batch, dtype=torch.long, device=x.device)
    finished = count >= evaluations
    yield Step(x, value, fidelity, count, finished)

    while not bool(finished.all()):
        # Finished slices leave the batch: no network time is spent on them.
        active = torch.nonzero(~finished).squeeze(1)
        part, here, t = objective[active], x[active], step_length[active]
        candidate, candidate_dual = part.regularizer.prox_from(
            here - _per_slice(t) * gradient[active] + _per_slice(inertia[active]) * (here - previous[active]),
            t * part.alpha,
            dual[:, active],
            0.0,
            inner_iterations,
        )
        moved = candidate - here
        candidate_fidelity, candidate_gradient = _fidelity_and_gradient(part, candidate)
        candidate_value = candidate_fidelity + part.alpha * part.regularizer.value(candidate)
        moved_squared = _dot(moved, moved)
        accepted = candidate_value <= value[active] - DECREASE / (2 * t) * moved_squared

        curvature = _dot(moved, candidate_gradient - gradient[active])
        quotient = torch.where(curvature > 0, moved_squared / curvature, t * GROWTH)
        longer = quotient.clamp(min=SHORTEST, max=LONGEST)
        # After a refusal the curvature that was met says how far to go; halving is the least that is tried.
        shorter = torch.minimum(t / 2, longer).clamp(min=SHORTEST)

        # New tensors, not writes into old ones: what was yielded stays as it was.
        at = active[accepted]
        previous = _replaced(previous, at, x[at])
        x, gradient = _replaced(x, at, candidate[accepted]), _replaced(gradient, at, candidate_gradient[accepted])
        value, fidelity = (
            _replaced(value, at, candidate_value[accepted]),
            _replaced(fidelity, at, candidate_fidelity[accepted]),
        )
        dual = dual.clone()
        dual[:, active] = candidate_dual
        inertia = _replaced(inertia, active, INERTIA * accepted.to(x.dtype))
        step_length = _replaced(step_length, active, torch.where(accepted, longer, shorter))
        count = _replaced(count, active, count[active] + 1)
        residual = moved_squared.sqrt() / t.clamp(max=1)  # a step that was cut short is no sign of convergence
        settled = residual <= tolerance * _dot(here, here).sqrt()
        finished = _replaced(finished, active, settled | (count[active] >= evaluations))
        yield Step(x, value, fidelity, count, finished)


def continuation(
    objective: Objective,
    start: Tensor,
    alphas: Sequence[float],
    satisfied: Callable[[Tensor], Tensor],
    evaluations: int = PROXIMAL_EVALUATIONS,
) -> Solver:
    """:func:`proximal` along a path of falling alphas, each from where the last one ended, until a slice is satisfied.

    Args:
        objective: of the batch; its own alpha is not used.
        start: (N, 1, H, W), where the path begins; a slice that it satisfies stays there.
        alphas: from large to small.
        satisfied: says of (N, 1, H, W) which slices may stop, (N,) booleans.
        evaluations: at most this many network evaluations per slice and alpha.

    Yields as `proximal` does; a step's objective is that of the alpha it was taken at.
    """
    x = start.clamp(min=0)
    count = torch.zeros(len(x), dtype=torch.long, device=x.device)
    latest: Step | None = None
    for alpha in alphas:
        part = copy.copy(objective)
        part.alpha = alpha
        going = torch.nonzero(~satisfied(x)).squeeze(1)
        if latest is not None and not len(going):
            return
        for step in proximal(part, x, evaluations if len(going) else 1):
            # The whole batch is solved, slices that may stop are put back: simple, and meant for comparisons.
            chosen = torch.zeros(len(x), dtype=torch.bool, device=x.device).index_fill(0, going, True)
            kept = latest or step
            latest = Step(
                torch.where(_per_slice(chosen), step.x, kept.x),
                torch.where(chosen, step.objective, kept.objective),
                torch.where(chosen, step.data_fidelity, kept.data_fidelity),
                torch.where(chosen, count + step.network_evaluations, kept.network_evaluations),
                step.finished | ~chosen,
            )
            yield latest
        x, count = latest.x, latest.network_evaluations


def _fidelity_and_gradient(objective: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        variable = x.detach().requires_grad_()
        fidelity = objective.data_fidelity(variable)
        (gradient,) = torch.autograd.grad(fidelity.sum(), variable)
    return fidelity.detach(), gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _per_slice(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _replaced(tensor: Tensor, index: Tensor, values: Tensor) -> Tensor:
    return tensor.index_copy(0, index, values)
