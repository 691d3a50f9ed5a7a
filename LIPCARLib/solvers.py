"""Solvers of the inverse problem: one objective, two algorithms, each a generator that yields after every step.

    x = argmin over x >= 0 of  1/2 ||F(x) - x_L||_2^2 + alpha R(x)          (paper, equation 3; sums over pixels)

All work on a batch of slices and treat every slice by itself, so the batch a slice is solved in does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from .regularizers import GenTV

Solver = Generator["Step", None, None]

ADAM_STEPS = 150
PROXIMAL_EVALUATIONS = 10


class Objective:
    """1/2 ||F(x) - x_L||^2 + alpha R(x), per slice.

    Args:
        forward_operator: F, from (N, 1, H, W) and the slices' pre-dose images (or None) to (N, 1, H, W).
        lowdose: x_L, (N, 1, H, W).
        regularizer: R around the same slices.
        alpha: the weight of R, positive.
        predose: x_P, (N, 1, H, W), handed on to F.
    """

    def __init__(
        self,
        forward_operator: Callable[[Tensor, Tensor | None], Tensor],
        lowdose: Tensor,
        regularizer: GenTV,
        alpha: float,
        predose: Tensor | None = None,
    ) -> None:
        self.forward_operator = forward_operator
        self.lowdose = lowdose
        self.regularizer = regularizer
        self.alpha = alpha
        self.predose = predose

    def __getitem__(self, slices: Tensor) -> Objective:
        """The objective of some slices of the batch, chosen by an index tensor."""
        predose = None if self.predose is None else self.predose[slices]
        return Objective(
            self.forward_operator, self.lowdose[slices], self.regularizer[slices], self.alpha, predose
        )

    def data_fidelity(self, x: Tensor) -> Tensor:
        """1/2 ||F(x) - x_L||^2 per slice, (N,). Differentiable; one network evaluation."""
        difference = self.forward_operator(x, self.predose) - self.lowdose
        return 0.5 * difference.square().flatten(1).sum(1)

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


def adam(
    objective: Objective, start: Tensor, steps: int = ADAM_STEPS, learning_rate: float = 1e-2
) -> Solver:
    """The paper's algorithm: Adam on x, started at x_L, kept as the reference.

    The paper names 150 iterations and "default PyTorch parameters" (a step of 1e-3), the authors' code 1e-2. With
    1e-3 no pixel moves by more than 0.15 in 150 steps, less than a tumor enhances, and the objective stays
    higher (docs/solvers.md), so 1e-2 is the default. Adam knows no constraint: x >= 0 is imposed on what is yielded.

    Yields ``steps + 1`` times: the start, then after every step. One network evaluation each.
    """
    variable = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([variable], lr=learning_rate)
    for step in range(steps + 1):
        with torch.enable_grad():
            fidelity = objective.data_fidelity(variable)
            value = fidelity + objective.alpha * objective.regularizer.value(variable)
            (variable.grad,) = torch.autograd.grad(value.sum(), variable)
        x = variable.detach()
        count = torch.full((len(x),), step + 1, device=x.device)
        yield Step(x.clamp(min=0), value.detach(), fidelity.detach(), count, count > steps)
        if step < steps:
            optimizer.step()
