"""The forward operator by the signal equation: against the phantom's physics, and by its properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from LIPCARLib.signal_model import spin_echo
from LIPCARLib.signal_operator import DARKEST, DOSE_FRACTION, RECOVERY, SATURATED, signal_equation


@pytest.mark.parametrize("fraction", [0.1, DOSE_FRACTION, 0.5, 1.0])
def test_agrees_with_the_physics_of_the_phantom(fraction: float) -> None:
    """Images made by `signal_model.spin_echo` from tissues of one T1 and many concentrations."""
    tr, t1 = 0.5, 0.5 / RECOVERY
    m0 = np.linspace(0.4, 2.0, 7)[:, None]
    rate = np.linspace(0.0, 5.0, 11)[None, :]  # what the full dose adds to R1, in 1/s
    predose, lowdose, highdose = (
        torch.from_numpy(spin_echo(m0, 1 / t1 + part * rate, 0.0, tr, 0.0, exact=False))[None, None]
        for part in (0.0, fraction, 1.0)
    )
    predose = predose.expand_as(highdose)
    torch.testing.assert_close(signal_equation(highdose, predose, fraction), lowdose)


def test_nothing_given_nothing_changes() -> None:
    predose = torch.rand(2, 1, 16, 16).double()
    torch.testing.assert_close(signal_equation(predose, predose), predose)


def test_gradient_against_finite_differences_where_all_branches_meet() -> None:
    torch.manual_seed(0)
    predose = torch.tensor([0.0, 0.5 * DARKEST, 2 * DARKEST, 0.3, 0.8]).double().view(1, 1, 1, 5).repeat(1, 1, 9, 1)
    equilibrium = predose.clamp_min(DARKEST) / (1 - np.exp(-RECOVERY))
    share = torch.tensor([0.0, 0.2, 0.5, 0.9, 1 - SATURATED - 1e-3, 1 - SATURATED + 1e-3, 1.0, 1.5, 4.0]).double()
    highdose = (equilibrium * share.view(1, 1, 9, 1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: signal_equation(x, predose), (highdose,))


def test_monotone_and_finite_everywhere() -> None:
    highdose = torch.linspace(0, 100, 5001).view(1, 1, 1, -1)
    for level in (0.0, 0.04, 0.06, 0.5, 10.0):
        response = signal_equation(highdose, torch.full_like(highdose, level))
        assert torch.isfinite(response).all()
        assert (response.diff(dim=-1) > 0).all()
        slope = response.diff(dim=-1) / highdose.diff(dim=-1)
        assert slope.max() < 3  # the tangent, E^(1 - f) f SATURATED^(f - 1) = 2.6
