"""The forward operator by the signal equation: against the phantom's physics, and by its properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from LIPCARLib.physics.predose_equation import (
    DARKEST,
    DOSE_FRACTION,
    RECOVERY,
    SATURATED,
    equilibrium_signal,
    signal_equation,
)
from LIPCARLib.physics.signal_model import spin_echo


@pytest.mark.parametrize("fraction", [0.1, DOSE_FRACTION, 0.5, 1.0])
@pytest.mark.parametrize("recovery", [0.1, RECOVERY, 1.0])
def test_agrees_with_the_physics_of_the_phantom(fraction: float, recovery: float) -> None:
    """Images made by `signal_model.spin_echo` from tissues of one T1 and many concentrations."""
    tr, t1 = 0.5, 0.5 / recovery
    m0 = np.linspace(0.4, 2.0, 7)[:, None]
    rate = np.linspace(0.0, 5.0, 11)[None, :]  # what the full dose adds to R1, in 1/s
    predose, lowdose, highdose = (
        torch.from_numpy(spin_echo(m0, 1 / t1 + part * rate, 0.0, tr, 0.0, exact=False))[None, None]
        for part in (0.0, fraction, 1.0)
    )
    predose, equilibrium = predose.expand_as(highdose), torch.from_numpy(m0)[None, None].expand_as(highdose)
    torch.testing.assert_close(signal_equation(highdose, predose, equilibrium, fraction), lowdose)
    if recovery == RECOVERY and fraction < 0.5:  # then the images alone tell the equilibrium
        found, weak = equilibrium_signal(predose, lowdose), lowdose - predose < DOSE_FRACTION * (equilibrium - predose)
        torch.testing.assert_close(found[weak], equilibrium[weak])
        assert weak.any() and (found >= equilibrium - 1e-9).all()


def test_equilibrium_lies_above_both_images() -> None:
    predose, lowdose = torch.rand(2, 1, 1, 32, 32)
    equilibrium = equilibrium_signal(predose, lowdose)
    assert (equilibrium > predose).all() and (equilibrium > lowdose).all()
    assert equilibrium_signal(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)).min() > DARKEST


def test_where_a_low_dose_shows_much_the_equilibrium_holds_what_it_may_become() -> None:
    """Dark tissue of long T1: inverted, the equation gives more than x_L and less than an extrapolation in the dose."""
    predose = torch.full((1, 1, 1, 20), 0.1).double()
    rise = torch.linspace(0.1, 0.3, 20).double()
    extrapolated = predose + rise / DOSE_FRACTION
    equilibrium = equilibrium_signal(predose, predose + rise)
    torch.testing.assert_close(equilibrium, extrapolated)
    answers = [signal_equation(x, predose, equilibrium) - predose for x in (predose + 1.5 * rise, extrapolated)]
    assert (answers[0] < rise).all() and (answers[1] > rise).all()


def test_nothing_given_nothing_changes() -> None:
    predose = torch.rand(2, 1, 16, 16).double()
    torch.testing.assert_close(signal_equation(predose, predose, equilibrium_signal(predose, predose)), predose)


def test_what_a_low_dose_brightens_a_full_dose_brightens_more() -> None:
    """Inverted, the equation never gives less than the low dose showed, however bright."""
    predose = torch.full((1, 1, 1, 60), 0.15).double()
    lowdose = predose * torch.linspace(1.02, 8, 60).double()
    equilibrium = equilibrium_signal(predose, lowdose)
    assert (signal_equation(lowdose, predose, equilibrium) < lowdose).all()


def test_gradient_against_finite_differences_where_the_branches_meet() -> None:
    predose = torch.tensor([0.0, 0.5 * DARKEST, 2 * DARKEST, 0.3, 0.8]).double().view(1, 1, 1, 5).repeat(1, 1, 9, 1)
    equilibrium = equilibrium_signal(predose, predose)
    share = torch.tensor([0.0, 0.2, 0.5, 0.9, 1 - SATURATED - 1e-3, 1 - SATURATED + 1e-3, 1.0, 1.5, 4.0]).double()
    highdose = (equilibrium * share.view(1, 1, 9, 1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: signal_equation(x, predose, equilibrium), (highdose,))


def test_monotone_and_finite_everywhere() -> None:
    highdose = torch.linspace(0, 100, 5001).view(1, 1, 1, -1)
    for before, after in ((0.0, 0.0), (0.04, 0.5), (0.5, 0.4), (10.0, 0.0)):
        predose, lowdose = torch.full_like(highdose, before), torch.full_like(highdose, after)
        response = signal_equation(highdose, predose, equilibrium_signal(predose, lowdose))
        assert torch.isfinite(response).all()
        assert (response.diff(dim=-1) > 0).all()
        slope = response.diff(dim=-1) / highdose.diff(dim=-1)
        assert slope.max() < 3.5  # the tangent's, at most f SATURATED^(f - 1) = 3.4
