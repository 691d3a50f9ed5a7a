"""What `auto` does: an alpha from the noise, and how far, at which scales and by which operator the data are believed.

    x = argmin over x >= 0, x = xbar in air, of   1/2 <r_E, (W + M) r_E> + 1/2 <r_F, V r_F> + alpha GenTV(x - xbar)

r_E and r_F are what the signal equation and the learned F leave of x_L; W and V weigh spatial frequencies, M pixels
(`evidence` measures them). xbar is the network's guess without its noise. :func:`auto` is made of four parts, which
another way to weigh data against prior may put together otherwise (Testing/ablations does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..physics import equilibrium_signal
from .evidence import body, denoised, enhancing, fine_scale_trust, operator_error, scale_weights
from .operators import ForwardOperator, by_signal_equation, side_by_side
from .regularizers import GenTV
from .solvers import Objective, Solver, Step, Stop, proximal

NOISE_ALPHA = 0.18
"""alpha in standard deviations of the noise: what is flattened is as large as what noise does."""
LEAST_NOISE = 0.008
"""Model scale: alpha takes at least this noise for granted."""
FINE_WEIGHT = 0.2
"""Of F's data term at fine scales where the trust is complete."""
EQUATION_SHARE = 3
"""Evaluations of the signal equation for one of the network: it costs next to nothing, and its tail is long."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """Some slices of an examination, what a model says of them, and what was asked for. Tensors are (N, 1, H, W).

    Attributes:
        lowdose: x_L, model scale.
        predose: x_P as the model takes it; None for a model without pre-dose input.
        aligned: x_P where the low-dose image has it; None where there is none, or one that may show something else.
        gain: what the pre-dose image was multiplied by.
        sigma, floor: standard deviation of the noise, and noise floor, of either image in model scale.
        prior: the network's guess xbar, noise and all.
        forward_operator: the learned F, noise floor included.
        card: the model's manifest.
        around_prior: whether GenTV is around the prior; False for plain total variation.
        iterations: evaluations of F a slice, at most.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> session.doubtful
    False
    """

    lowdose: Tensor
    predose: Tensor | None = None
    aligned: Tensor | None = None
    gain: float = 1.0
    sigma: float
    floor: float = 0.0
    prior: Tensor
    forward_operator: ForwardOperator
    card: Mapping[str, Any]
    around_prior: bool = True
    iterations: int = 10

    @property
    def doubtful(self) -> bool:
        """There is a pre-dose image, and it may show something else."""
        return self.predose is not None and self.aligned is None


@dataclass(frozen=True)
class Plan:
    """A problem that is ready to be solved.

    Attributes:
        steps: the solver, not begun.
        trust: in the learned F by slice, (N,), 0..1.
        budget: evaluations that `steps` takes at most, of whatever it evaluates; for the progress.

    >>> Plan(iter(()), torch.ones(3), budget=10).trust
    tensor([1., 1., 1.])
    """

    steps: Solver
    trust: Tensor
    budget: int


Rule = Callable[[Session], Plan]
"""A way to weigh data against prior. The product has one, :func:`auto`."""


@dataclass(frozen=True)
class Anchor:
    """Where the solution is looked for: around what, how firmly, and from where.

    >>> image = torch.zeros(1, 1, 8, 8)
    >>> Anchor(GenTV(image), alpha=0.006, start=image).alpha
    0.006
    """

    regularizer: GenTV
    alpha: float
    start: Tensor


def auto(session: Session) -> Plan:
    """The signal equation judges where a pre-dose image allows, F joins where the data contradict the prior.

    Raises:
        LIPCARError: the model's card does not tell how far F is off.

    >>> card = {"forward_operator_error": {"widths": [1.0, 2.0, 4.0, 8.0], "mean_squares": [1e-4] * 5}}
    >>> truth = torch.zeros(1, 1, 32, 32)
    >>> truth[..., 8:24, 8:24] = 0.6
    >>> prior = 0.8 * truth
    >>> session = Session(lowdose=truth, prior=prior, forward_operator=lambda x, predose: x, card=card, sigma=0.01)
    >>> *_, last = auto(session).steps
    >>> bool((last.x - truth).norm() < (prior - truth).norm())
    True
    """
    inside = body(session.lowdose, session.floor)
    anchor = anchored(session, denoised(session.prior, inside), inside)
    # Where the pre-dose image may be another's, nothing that looks at it is asked: F looks at it too.
    trust = no_trust(session) if session.doubtful else network_trust(session, anchor, inside)
    equation = None if session.aligned is None else equation_problem(session, anchor, session.aligned, inside)
    return plan(session, anchor, trust, equation)


def anchored(session: Session, xbar: Tensor, support: Tensor | None) -> Anchor:
    """Around `xbar`, which air keeps: GenTV does not see an offset there.

    Args:
        xbar: (N, 1, H, W).
        support: (N, 1, H, W) boolean, where the solution may leave `xbar`; None for everywhere.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> round(anchored(session, image, None).alpha, 4)
    0.0036
    """
    reference = xbar if session.around_prior else torch.zeros_like(xbar)
    # Plain total variation has nothing to keep in air but zero.
    start = xbar if support is None else torch.where(support, xbar, reference)
    return Anchor(GenTV(reference, support), NOISE_ALPHA * max(session.sigma, LEAST_NOISE), start)


def network_trust(session: Session, anchor: Anchor, inside: Tensor) -> Tensor:
    """How far the measured image contradicts the anchor by what F says, (N,), 0..1; one forward pass of F.

    Args:
        inside: the body, (N, 1, H, W) boolean.

    Raises:
        LIPCARError: the model's card does not tell how far F is off.

    >>> card = {"forward_operator_error": {"widths": [1.0, 2.0, 4.0, 8.0], "mean_squares": [1e-4] * 5}}
    >>> image = torch.full((1, 1, 32, 32), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card=card, sigma=0.01)
    >>> network_trust(session, anchored(session, image, None), image > 0)
    tensor([0.])
    """
    error = torch.tensor(operator_error(session.card), device=session.prior.device)
    with torch.no_grad():
        residual = session.forward_operator(anchor.start, session.predose) - session.lowdose
    return fine_scale_trust(residual, inside, session.sigma, error)


def no_trust(session: Session) -> Tensor:
    """(N,) zeros: F is not believed at any slice.

    >>> image = torch.zeros(2, 1, 8, 8)
    >>> no_trust(Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.0))
    tensor([0., 0.])
    """
    return torch.zeros(len(session.lowdose), device=session.lowdose.device)


def network_problem(session: Session, anchor: Anchor, trust: Tensor) -> Objective:
    """The paper's problem around the anchor, F's data term as heavy as it is trusted.

    Args:
        trust: (N,), 0..1.

    >>> image = torch.zeros(2, 1, 8, 8)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> network_problem(session, anchored(session, image, None), torch.tensor([0.0, 1.0])).weight[:, 0, 0, 0]
    tensor([0.0000, 0.2000])
    """
    height, width = session.lowdose.shape[-2:]
    weight = (FINE_WEIGHT * trust).view(-1, 1, 1, 1).expand(-1, 1, height, width // 2 + 1)
    return Objective(
        session.forward_operator, session.lowdose, anchor.regularizer, anchor.alpha, session.predose, weight
    )


def equation_problem(session: Session, anchor: Anchor, predose: Tensor, inside: Tensor) -> Objective:
    """The signal equation as F: everywhere at all but the finest scales, at all of them where tissue enhances.

    Args:
        predose: the pre-dose image that it looks at, (N, 1, H, W).
        inside: the body, (N, 1, H, W) boolean.

    >>> image = torch.full((1, 1, 16, 16), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> problem = equation_problem(session, anchored(session, image, None), image, image > 0)
    >>> bool(problem.data_fidelity(image) < 1e-6)
    True
    """
    lowdose = session.lowdose
    height, width = lowdose.shape[-2:]
    always = scale_weights(height, width, lowdose.device, session.gain)
    # Both images have the noise floor; the equation is about signals.
    before, after = (
        (denoised(image, inside).square() - session.floor**2).clamp_min(0).sqrt() for image in (predose, lowdose)
    )
    return Objective(
        by_signal_equation(session.floor),
        lowdose,
        anchor.regularizer,
        anchor.alpha,
        torch.cat((before, equilibrium_signal(before, after)), dim=1),
        always.expand(len(lowdose), -1, -1, -1),
        enhancing(lowdose, predose, inside, session.sigma),
    )


def plan(session: Session, anchor: Anchor, trust: Tensor, equation: Objective | None) -> Plan:
    """The signal equation alone first, F beside it where that is trusted; F alone without an equation.

    Args:
        trust: in F, (N,), 0..1.
        equation: of :func:`equation_problem`; None for none.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> plan(session, anchored(session, image, None), torch.ones(1), None).budget
    10
    """
    network, iterations = network_problem(session, anchor, trust), session.iterations
    if equation is None:
        return Plan(proximal(network, anchor.start, Stop(iterations)), trust, iterations)
    budget = iterations * (EQUATION_SHARE + bool((trust > 0).any()))
    return Plan(_equation_then_network(equation, network, anchor.start, trust, iterations), trust, budget)


def _equation_then_network(
    equation: Objective, network: Objective, start: Tensor, trust: Tensor, iterations: int
) -> Solver:
    """Solve with the signal equation alone, then with F beside it for the slices that trust F, if there are any."""
    for step in proximal(equation, start, Stop(EQUATION_SHARE * iterations)):
        yield step
    trusted = torch.nonzero(trust > 0).squeeze(1)
    if not len(trusted):
        return
    for part in proximal(_beside(network, equation)[trusted], step.x[trusted], Stop(iterations)):
        yield Step(
            step.x.index_copy(0, trusted, part.x),
            step.objective.index_copy(0, trusted, part.objective),
            step.data_fidelity.index_copy(0, trusted, part.data_fidelity),
            step.network_evaluations.index_add(0, trusted, part.network_evaluations),
            step.finished.index_copy(0, trusted, part.finished),
        )


def _beside(network: Objective, equation: Objective) -> Objective:
    """Both data terms in one problem, as two channels of one operator."""
    nowhere = torch.zeros_like(equation.lowdose)
    own = 0 if network.predose is None else network.predose.shape[1]
    return replace(
        equation,
        forward_operator=side_by_side(network.forward_operator, equation.forward_operator, own),
        predose=_stacked(network.predose, equation.predose),
        weight=_stacked(network.weight, equation.weight),
        local_weight=_stacked(nowhere, equation.local_weight),
    )


def _stacked(*images: Tensor | None) -> Tensor:
    """As channels of one; what is None has none."""
    return torch.cat([image for image in images if image is not None], dim=1)
