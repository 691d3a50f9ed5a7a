"""Solvers of the inverse problem: one objective, two algorithms, each a generator that yields after every step.

    x = argmin over x >= 0 of  1/2 ||F(x) - x_L||_2^2 + alpha R(x)          (paper, equation 3; sums over pixels)

All work on a batch of slices and treat every slice by itself, so the batch a slice is solved in does not matter.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .operators import ForwardOperator
from .regularizers import Regularizer

Solver = Generator["Step", None, None]

ADAM_STEPS = 150
PROXIMAL_EVALUATIONS = 5

DECREASE = 1e-2
"""Share of the quadratic model's decrease that a step must deliver."""
INERTIA = 0.3
"""Share of the last move that is repeated."""
INEXACTNESS = 1e-3
"""Share of the objective that an inexact proximal map may cost a step."""
INNER_ITERATIONS = 100
"""Of the proximal map at most; a pair of networks needs about 15, the signal equation about 60."""


@dataclass
class Objective:
    """1/2 ||F(x) - x_L||^2 + alpha R(x), per slice.

    Attributes:
        forward_operator: F, from (N, 1, H, W) and the slices' pre-dose images (or None) to (N, 1, H, W).
        lowdose: x_L, (N, 1, H, W).
        regularizer: R around the same slices.
        alpha: the weight of R, positive.
        predose: x_P, (N, 1, H, W), handed on to F; (N, C, H, W) where F looks at more images.

    >>> from LIPCARLib.inverse.regularizers import GenTV
    >>> image = torch.zeros(2, 1, 8, 8)
    >>> objective = Objective(lambda x, predose: x + 1, image, GenTV(image), alpha=0.006)
    >>> objective.data_fidelity(image)
    tensor([32., 32.])
    """

    forward_operator: ForwardOperator
    lowdose: Tensor
    regularizer: Regularizer
    alpha: float
    predose: Tensor | None = None

    def __getitem__(self, slices: Tensor) -> Objective:
        """The objective of some slices of the batch, chosen by an index tensor."""
        return replace(
            self,
            lowdose=self.lowdose[slices],
            regularizer=self.regularizer[slices],
            predose=None if self.predose is None else self.predose[slices],
        )

    def data_fidelity(self, x: Tensor) -> Tensor:
        """1/2 ||F(x) - x_L||^2 per slice, (N,). Differentiable; one network evaluation."""
        return 0.5 * (self.forward_operator(x, self.predose) - self.lowdose).square().flatten(1).sum(1)

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

    >>> from LIPCARLib.inverse.regularizers import GenTV
    >>> image = torch.zeros(1, 1, 8, 8)
    >>> next(proximal(Objective(lambda x, predose: x, image, GenTV(image), alpha=0.006), image)).network_evaluations
    tensor([1])
    """

    x: Tensor
    objective: Tensor
    data_fidelity: Tensor
    network_evaluations: Tensor
    finished: Tensor


def adam(objective: Objective, start: Tensor, steps: int = ADAM_STEPS, learning_rate: float = 1e-3) -> Solver:
    """The paper's algorithm and settings: Adam on x with torch's defaults, started at x_L, kept as the reference.

    With 1e-3 no pixel moves by more than 0.15 in 150 steps, less than a tumor enhances; the authors' published code
    uses 1e-2 and gets much lower. After every step x is projected onto x >= 0.

    Args:
        objective: of the batch.
        start: (N, 1, H, W), the paper's is x_L; values below 0 become 0.
        steps: of Adam.
        learning_rate: model scale a step, about what a pixel can move.

    Yields ``steps + 1`` times: the start, then after every step. One network evaluation each.

    >>> from LIPCARLib.inverse.regularizers import GenTV
    >>> lowdose = torch.full((1, 1, 8, 8), 0.1)
    >>> objective = Objective(lambda x, predose: 0.5 * x, lowdose, GenTV(torch.zeros_like(lowdose)), alpha=0.006)
    >>> *_, last = adam(objective, lowdose, steps=200, learning_rate=1e-2)
    >>> round(last.x.mean().item(), 2)
    0.2
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


@dataclass(frozen=True)
class BarzilaiBorwein:
    """The step-size rule: t = ||s|| / ||y|| for the change s in x and y in the gradient, one t per slice.

    That is the geometric mean of Barzilai & Borwein's two (IMA J. Numer. Anal. 8, 1988); it needed two evaluations
    less than their longer one (docs/solvers.md). The first step follows from the curvature that the gradient J^T r
    shows of the residual r. After a refused step the curvature that was met says how far to go; halving is the least
    that is tried.

    Attributes:
        first: the first step length as a share of ||r||^2 / ||J^T r||^2.
        shortest, longest: bounds.
        growth: factor of the step length where the data term is not convex along the step.

    >>> s, y = torch.ones(1, 1, 2, 2), 4 * torch.ones(1, 1, 2, 2)
    >>> BarzilaiBorwein().after(torch.ones(1), s, y)
    tensor([0.2500])
    """

    first: float = 0.7
    shortest: float = 1e-3
    longest: float = 1e3
    growth: float = 2.0

    def at_first(self, fidelity: Tensor, gradient: Tensor) -> Tensor:
        """The first step lengths, (N,), from 1/2 ||r||^2, (N,), and J^T r, (N, 1, H, W)."""
        return self._bounded(self.first * 2 * fidelity / _dot(gradient, gradient))

    def after(self, t: Tensor, s: Tensor, y: Tensor) -> Tensor:
        """The next step lengths, (N,), after steps that were taken.

        Args:
            t: their lengths, (N,).
            s, y: what x and the gradient changed by, (N, 1, H, W).
        """
        quotient = (_dot(s, s) / _dot(y, y)).sqrt()
        return self._bounded(torch.where(_dot(s, y) > 0, quotient, t * self.growth))

    def refused(self, t: Tensor, s: Tensor, bend: Tensor) -> Tensor:
        """The next step lengths, (N,), after steps s that were refused.

        Along them the data term rose by half of `bend`, (N,), more than its slope says.
        """
        return self._bounded(torch.where(bend > 0, torch.minimum(t / 2, _dot(s, s) / bend), t / 2))

    def _bounded(self, t: Tensor) -> Tensor:
        return t.nan_to_num(self.longest).clamp(self.shortest, self.longest)


@dataclass(frozen=True)
class Stop:
    """The stopping rule: a slice is finished when it has settled or spent its evaluations.

    Attributes:
        evaluations: of F a slice at most, the start's included.
        tolerance: settled is a fixed-point residual ||s|| / min(t, 1) below this share of ||x||; a step that was cut
            short is no sign of convergence.

    >>> x = torch.ones(1, 1, 2, 2)
    >>> Stop(evaluations=10)(x, 1e-4 * x, t=torch.ones(1), spent=torch.tensor([3]))
    tensor([True])
    """

    evaluations: int = PROXIMAL_EVALUATIONS
    tolerance: float = 1e-3

    def __call__(self, x: Tensor, s: Tensor, t: Tensor, spent: Tensor) -> Tensor:
        """Which slices are finished, (N,) booleans.

        Args:
            x: where the step began, (N, 1, H, W).
            s: the step, accepted or not, (N, 1, H, W).
            t: its length, (N,).
            spent: evaluations so far, (N,) integers.
        """
        residual = _dot(s, s).sqrt() / t.clamp(max=1)
        return (residual <= self.tolerance * _dot(x, x).sqrt()) | (spent >= self.evaluations)


def proximal(
    objective: Objective,
    start: Tensor,
    stop: Stop = Stop(),
    step_size: BarzilaiBorwein = BarzilaiBorwein(),
    inner_iterations: int = INNER_ITERATIONS,
) -> Solver:
    """Proximal gradient on x - xbar with x >= 0, inertia, Barzilai-Borwein steps, a monotone safeguard. The default.

        candidate = prox_{t alpha R + (x >= 0)}(x - t F'(x)^T (F(x) - x_L) + INERTIA (x - previous x))

    which is iPiano (Ochs et al., SIAM J. Imaging Sci. 7(2), 2014) with a data-driven step. A candidate is accepted
    where the objective falls by at least DECREASE / (2 t) ||candidate - x||^2; elsewhere t shrinks and the slice tries
    again from where it was, without inertia. The proximal map is solved from the dual of the previous step, until what
    it misses is worth INEXACTNESS of the objective, and calls no network. Gradients are computed only where a step
    follows.

    Args:
        objective: of the batch.
        start: (N, 1, H, W), usually xbar; values below 0 become 0.
        stop: when a slice is finished.
        step_size: how t follows from the step before.
        inner_iterations: of the proximal map, at most.

    Yields after the start and after every network evaluation. The objective of a slice never rises.

    >>> from LIPCARLib.inverse.regularizers import GenTV
    >>> lowdose = torch.full((1, 1, 8, 8), 0.1)
    >>> objective = Objective(lambda x, predose: 0.5 * x, lowdose, GenTV(torch.zeros_like(lowdose)), alpha=0.006)
    >>> *_, last = proximal(objective, lowdose, Stop(evaluations=10))
    >>> round(last.x.mean().item(), 2)
    0.2
    """
    state = _State.first(objective, start.clamp(min=0), stop, step_size)
    yield state.step()
    while not bool(state.finished.all()):
        # Finished slices leave the batch: no network time is spent on them.
        active = torch.nonzero(~state.finished).squeeze(1)
        part, old = objective[active], state[active]
        x, t = old.x, old.step_length
        forward = x - _per_slice(t) * old.gradient + old.inertia
        missed = INEXACTNESS * t * old.value
        candidate, dual = part.regularizer.prox_from(forward, t * part.alpha, old.dual, 0.0, inner_iterations, missed)
        s, spent = candidate - x, old.evaluations + 1
        finished = stop(x, s, t, spent)
        least = old.value - DECREASE / (2 * t) * _dot(s, s)
        fidelity, value, gradient = _evaluated(part, candidate, least.masked_fill(finished, -torch.inf))
        taken = value <= least
        bend = 2 * (fidelity - old.fidelity - _dot(old.gradient, s))
        new = _State(
            x=_where(taken, candidate, x),
            gradient=_where(taken, gradient, old.gradient),
            fidelity=torch.where(taken, fidelity, old.fidelity),
            value=torch.where(taken, value, old.value),
            inertia=_where(taken, INERTIA * s, torch.zeros_like(s)),
            step_length=torch.where(
                taken, step_size.after(t, s, gradient - old.gradient), step_size.refused(t, s, bend)
            ),
            dual=dual,
            evaluations=spent,
            finished=finished,
        )
        state = state.replaced(active, new)
        yield state.step()


@dataclass(frozen=True)
class _State:
    """What :func:`proximal` knows of each slice. New tensors at every step: what was yielded stays as it was."""

    x: Tensor
    gradient: Tensor
    fidelity: Tensor
    value: Tensor
    inertia: Tensor
    step_length: Tensor
    dual: Tensor
    evaluations: Tensor
    finished: Tensor

    @classmethod
    def first(cls, objective: Objective, x: Tensor, stop: Stop, step_size: BarzilaiBorwein) -> _State:
        spent = torch.ones(len(x), dtype=torch.long, device=x.device)
        finished = spent >= stop.evaluations
        wanted = torch.full_like(x[:, 0, 0, 0], torch.inf).masked_fill(finished, -torch.inf)
        fidelity, value, gradient = _evaluated(objective, x, wanted)
        return cls(
            x=x,
            gradient=gradient,
            fidelity=fidelity,
            value=value,
            inertia=torch.zeros_like(x),
            step_length=step_size.at_first(fidelity, gradient),
            dual=objective.regularizer.cold_dual(x),
            evaluations=spent,
            finished=finished,
        )

    def __getitem__(self, slices: Tensor) -> _State:
        return _State(**{f.name: getattr(self, f.name).index_select(_axis(f.name), slices) for f in fields(self)})

    def replaced(self, slices: Tensor, part: _State) -> _State:
        """With some slices as they are in `part`."""
        return _State(
            **{
                f.name: getattr(self, f.name).index_copy(_axis(f.name), slices, getattr(part, f.name))
                for f in fields(self)
            }
        )

    def step(self) -> Step:
        return Step(self.x, self.value, self.fidelity, self.evaluations, self.finished)


def _axis(name: str) -> int:
    """Along which a tensor of the state counts the slices."""
    return 1 if name == "dual" else 0


def _evaluated(objective: Objective, x: Tensor, below: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Data term, objective, and the data term's gradient if the objective of any slice is not above its `below`, (N,);
    else zeros."""
    with torch.set_grad_enabled(bool((below > -torch.inf).any())):
        variable = x.detach().requires_grad_()
        fidelity = objective.data_fidelity(variable)
    value = fidelity.detach() + objective.alpha * objective.regularizer.value(x)
    if not bool((value <= below).any()):
        return fidelity.detach(), value, torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(fidelity.sum(), variable)
    return fidelity.detach(), value, gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _per_slice(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _where(slices: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(_per_slice(slices), yes, no)
