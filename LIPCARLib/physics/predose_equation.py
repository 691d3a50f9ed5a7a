"""The forward operator that needs no training: the signal equation of a T1-weighted image, through the pre-dose image.

A learned operator knows how bodies like those it was trained on take up the agent; the signal equation knows what a
fraction of an agent does to a signal, in any body. Here it is written for images alone: what T1 and proton density
would have to tell stands in the pre-dose image, but for one number, the saturation of tissue before the agent.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DOSE_FRACTION = 0.22
"""Low dose over full dose. The simulated sessions have 0.15 to 0.3, 0.217 on average; the paper's protocol says 0.2."""
RECOVERY = 0.32
"""TR / T1 before the agent: 0.45 s over 1.4 s, between grey and white matter at 3 T (`anatomy`, `phantom`)."""
DARKEST = 0.05
"""Model scale: a pre-dose image that is darker tells no proton density."""
SATURATED = 0.03
"""Share of the equilibrium signal that is still missing where the equation gives way to its tangent: beyond, noise
in the images would decide."""


def equilibrium_signal(predose: Tensor, lowdose: Tensor) -> Tensor:
    """M, the signal that no dose of agent exceeds, (N, 1, H, W): x_P / (1 - exp(-RECOVERY)) or more.

    At least x_P + (x_L - x_P) / DOSE_FRACTION, what a signal linear in the dose would rise to: tissue that a fraction
    of the dose brightens so much was dark for its long T1, and its equilibrium lies higher than RECOVERY says.

    Args:
        predose, lowdose: (N, 1, H, W), model scale, at least 0, free of noise at best.
    """
    linear = predose + (lowdose - predose) / DOSE_FRACTION
    return torch.maximum(predose.clamp_min(DARKEST) / (1 - math.exp(-RECOVERY)), linear)


def signal_equation(
    highdose: Tensor, predose: Tensor, equilibrium: Tensor, dose_fraction: float = DOSE_FRACTION
) -> Tensor:
    """x_L as the approximate spin-echo equation has it, S = M (1 - exp(-TR R1)), R1 linear in the dose.

    With E = 1 - x_P / M and u = 1 - x_H / M, which are exp(-TR R1) before the agent and after the full dose,

        x_L = M (1 - E^(1 - f) u^f),   f = dose fraction;   x_H = x_P gives x_L = x_P.

    T2 and the kinetics of the agent are left out (`signal_model.spin_echo` has the whole equation). Differentiable in
    `highdose`, monotone, and finite for every input.

    Args:
        highdose: x_H, (N, 1, H, W), model scale, at least 0.
        predose: x_P of the same shape.
        equilibrium: M of the same shape, see :func:`equilibrium_signal`; above x_P.
        dose_fraction: 0..1.
    """
    native = 1 - predose / equilibrium
    missing = 1 - highdose / equilibrium
    inside = missing.clamp_min(SATURATED)
    # u^f below SATURATED: the tangent there, so that a bright vessel keeps a gradient and never gives a nan.
    slope = dose_fraction * SATURATED ** (dose_fraction - 1)
    power = inside**dose_fraction + slope * (missing - inside)
    response: Tensor = equilibrium * (1 - native ** (1 - dose_fraction) * power)
    return response
