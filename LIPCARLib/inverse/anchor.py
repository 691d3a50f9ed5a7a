"""The anchor: the signal equation inverted in closed form on denoised images; no training, no solver."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..physics import Acquisition, SignalCurve, headroom, highdose_of, signal_curve
from .regularizers import GenTV

LOWDOSE_WEIGHT, DIFFERENCE_WEIGHT = 0.6, 1.2
"""Weights of the total variation of x_L and of x_L - x_P, in standard deviations of the noise of either image."""
ITERATIONS = 30
"""Of the dual method of the total variation."""


@dataclass(frozen=True)
class Anchor:
    """The closed form and what it rests on, all (N, 1, H, W) in model scale.

    Attributes:
        highdose: x_H as the equation has it, at least 0.
        headroom: M, the signal that no dose exceeds.
        predose, lowdose: x_P and x_L without noise, on the pre-dose image's side of it: x_P = x_L - (x_L - x_P).
    """

    highdose: Tensor
    headroom: Tensor
    predose: Tensor
    lowdose: Tensor


def anchor(
    lowdose: Tensor,
    predose: Tensor,
    sigma: float | Tensor,
    fraction: float | Tensor,
    acquisition: Acquisition | SignalCurve,
    native: float | Tensor | None = None,
) -> Anchor:
    """x_H of the denoised images by the signal equation (`physics.highdose_of`).

    The difference x_L - x_P is denoised as an image of its own, more than x_L: it has the noise of both, and inverting
    a dose fraction of a fifth magnifies it fivefold. The headroom follows an assumed T10 and is raised where tissue
    brightens more than that allows; it follows a map of T10 as it is.

    Args:
        lowdose, predose: x_L and x_P, (N, 1, H, W), model scale, aligned.
        sigma: standard deviation of the noise of either image in model scale; a number or one a slice, (N,).
        fraction: low dose over full dose, above 0, at most 1; a number or one a slice, (N,).
        acquisition: of the images, or its curve (then with `native`).
        native: T10 in seconds, a number, or a map (N, 1, H, W); None for what the field lets expect.
    """
    before, after = denoised_pair(lowdose, predose, sigma)
    if isinstance(fraction, Tensor):
        fraction = fraction.view(-1, 1, 1, 1)
    mapped = isinstance(native, Tensor)
    full = headroom(before, acquisition, native, None if mapped else after, None if mapped else fraction)
    curve = signal_curve(acquisition) if isinstance(acquisition, Acquisition) else acquisition
    return Anchor(highdose_of(after, before, full, fraction, curve), full, before, after)


def denoised_pair(lowdose: Tensor, predose: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
    """x_P and x_L without their noise, (N, 1, H, W), at least 0; arguments as of :func:`anchor`."""
    sigma = torch.as_tensor(sigma, dtype=lowdose.dtype, device=lowdose.device).expand(len(lowdose))
    noisy = torch.cat((lowdose, lowdose - predose))
    weight = torch.cat((LOWDOSE_WEIGHT * sigma, DIFFERENCE_WEIGHT * sigma))
    after, difference = GenTV(torch.zeros_like(noisy)).prox(noisy, weight, iterations=ITERATIONS).chunk(2)
    after = after.clamp_min(0)
    return (after - difference).clamp_min(0), after
