"""What `auto` does, one rule for each kind of model: :func:`auto` and :func:`prior_as_it_is`.

The first, for a pair of networks: an alpha from the noise, and how far, at which scales and by which operator the data
are believed.

    x = argmin over x >= 0, x = xbar in air, of   1/2 <r_E, (W + M) r_E> + 1/2 <r_F, V r_F> + alpha GenTV(x - xbar)

r_E and r_F are what the signal equation and the learned F leave of x_L; W and V weigh spatial frequencies, M pixels
(`evidence` measures them). xbar is the network's guess without its noise. :func:`auto` is made of four parts, which
another way to weigh data against prior may put together otherwise (Testing/ablations does).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..physics import equilibrium_signal
from .evidence import body, denoised, enhancing, fine_scale_trust, operator_error, scale_weights
from .operators import by_signal_equation, side_by_side
from .regularizers import GenTV
from .session import Plan, Session
from .solvers import Objective, Solver, Step, Stop, proximal

NOISE_ALPHA = 0.18
"""alpha in standard deviations of the noise: what is flattened is as large as what noise does."""
LEAST_NOISE = 0.008
"""Model scale: alpha takes at least this noise for granted."""
FINE_WEIGHT = 0.2
"""Of F's data term at fine scales where the trust is complete."""
EQUATION_SHARE = 3
"""Evaluations of the signal equation for one of the network: it costs next to nothing, and its tail is long."""


@dataclass(frozen=True)
class Around:
    """Where the solution is looked for: around what, how firmly, and from where.

    >>> image = torch.zeros(1, 1, 8, 8)
    >>> Around(GenTV(image), alpha=0.006, start=image).alpha
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
    here = around(session, denoised(session.prior, inside), inside)
    # Where the pre-dose image may be another's, nothing that looks at it is asked: F looks at it too.
    trust = no_trust(session) if session.doubtful else network_trust(session, here, inside)
    equation = None if session.aligned is None else equation_problem(session, here, session.aligned, inside)
    return plan(session, here, trust, equation)


def prior_as_it_is(session: Session) -> Plan:
    """For anchored models: x = xbar, the objective evaluated once, which leaves F(x) - x_L to be looked at.

    The prior is built from the equation that F is, so what F still finds is noise, or tissue whose T10 is not the one
    assumed; on real heads a solver around it paid for less of that with more noise, and was worse.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> (only,) = prior_as_it_is(session).steps
    >>> torch.equal(only.x, image), only.network_evaluations
    (True, tensor([1]))
    """
    here = around(session, session.prior, None)
    problem = Objective(session.forward_operator, session.lowdose, here.regularizer, here.alpha, session.predose)
    return Plan(proximal(problem, session.prior, Stop(1)), no_trust(session), budget=1)


def around(session: Session, xbar: Tensor, support: Tensor | None) -> Around:
    """Around `xbar`, which air keeps: GenTV does not see an offset there.

    Args:
        xbar: (N, 1, H, W).
        support: (N, 1, H, W) boolean, where the solution may leave `xbar`; None for everywhere.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> round(around(session, image, None).alpha, 4)
    0.0036
    """
    reference = xbar if session.around_prior else torch.zeros_like(xbar)
    # Plain total variation has nothing to keep in air but zero.
    start = xbar if support is None else torch.where(support, xbar, reference)
    return Around(GenTV(reference, support), NOISE_ALPHA * max(session.sigma, LEAST_NOISE), start)


def network_trust(session: Session, here: Around, inside: Tensor) -> Tensor:
    """How far the measured image contradicts the prior by what F says, (N,), 0..1; one forward pass of F.

    Args:
        inside: the body, (N, 1, H, W) boolean.

    Raises:
        LIPCARError: the model's card does not tell how far F is off.

    >>> card = {"forward_operator_error": {"widths": [1.0, 2.0, 4.0, 8.0], "mean_squares": [1e-4] * 5}}
    >>> image = torch.full((1, 1, 32, 32), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card=card, sigma=0.01)
    >>> network_trust(session, around(session, image, None), image > 0)
    tensor([0.])
    """
    error = torch.tensor(operator_error(session.card), device=session.prior.device)
    with torch.no_grad():
        residual = session.forward_operator(here.start, session.predose) - session.lowdose
    return fine_scale_trust(residual, inside, session.sigma, error)


def no_trust(session: Session) -> Tensor:
    """(N,) zeros: F is not believed at any slice.

    >>> image = torch.zeros(2, 1, 8, 8)
    >>> no_trust(Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.0))
    tensor([0., 0.])
    """
    return torch.zeros(len(session.lowdose), device=session.lowdose.device)


def network_problem(session: Session, here: Around, trust: Tensor) -> Objective:
    """The paper's problem around xbar, F's data term as heavy as it is trusted.

    Args:
        trust: (N,), 0..1.

    >>> image = torch.zeros(2, 1, 8, 8)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> network_problem(session, around(session, image, None), torch.tensor([0.0, 1.0])).weight[:, 0, 0, 0]
    tensor([0.0000, 0.2000])
    """
    height, width = session.lowdose.shape[-2:]
    weight = (FINE_WEIGHT * trust).view(-1, 1, 1, 1).expand(-1, 1, height, width // 2 + 1)
    return Objective(session.forward_operator, session.lowdose, here.regularizer, here.alpha, session.predose, weight)


def equation_problem(session: Session, here: Around, predose: Tensor, inside: Tensor) -> Objective:
    """The signal equation as F: everywhere at all but the finest scales, at all of them where tissue enhances.

    Args:
        predose: the pre-dose image that it looks at, (N, 1, H, W).
        inside: the body, (N, 1, H, W) boolean.

    >>> image = torch.full((1, 1, 16, 16), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> problem = equation_problem(session, around(session, image, None), image, image > 0)
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
        here.regularizer,
        here.alpha,
        torch.cat((before, equilibrium_signal(before, after)), dim=1),
        always.expand(len(lowdose), -1, -1, -1),
        enhancing(lowdose, predose, inside, session.sigma),
    )


def plan(session: Session, here: Around, trust: Tensor, equation: Objective | None) -> Plan:
    """The signal equation alone first, F beside it where that is trusted; F alone without an equation.

    Args:
        trust: in F, (N,), 0..1.
        equation: of :func:`equation_problem`; None for none.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x, card={}, sigma=0.02)
    >>> plan(session, around(session, image, None), torch.ones(1), None).budget
    10
    """
    network, iterations = network_problem(session, here, trust), session.iterations
    if equation is None:
        return Plan(proximal(network, here.start, Stop(iterations)), trust, iterations)
    budget = iterations * (EQUATION_SHARE + bool((trust > 0).any()))
    return Plan(_equation_then_network(equation, network, here.start, trust, iterations), trust, budget)


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
