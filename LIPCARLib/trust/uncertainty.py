"""How uncertain each voxel of a result is: noise and what is not known, carried through the signal equation."""

from __future__ import annotations

import torch
from torch import Tensor

from ..inverse.anchor import Anchor
from ..inverse.consistency import averaged
from ..inverse.session import Slices
from ..physics import headroom, highdose_of

NATIVE_SPREAD = 1.4
"""T10 of tissue lies within this factor of what the field lets expect."""
DOSE_SPREAD = 1.25
"""The dose fraction lies within this factor of the one that is assumed."""
NOISE_LEFT = 0.3
"""Share of the noise that denoising leaves."""


def deviation(highdose: Tensor, predicted: Tensor, physics: Anchor, slices: Slices) -> Tensor:
    """Standard deviation of x_H, (N, 1, H, W), model scale.

    Args:
        highdose: the result, (N, 1, H, W), model scale.
        predicted: F(x) by the signal equation.
        physics: what the equation rests on.
        slices: the images, and what is told of them.
    """
    conditions = slices.conditions
    curve, fraction = conditions.curve(), conditions.dose_fraction.view(-1, 1, 1, 1)
    before, native = physics.predose, conditions.native
    expected = conditions.expected_native() if native is None else native

    def x(low: Tensor, full: Tensor, share: Tensor = fraction) -> Tensor:
        return highdose_of(low, before, full, share, curve)

    def raised(factor: float, share: Tensor = fraction) -> Tensor:
        return headroom(before, curve, expected * factor, predicted, share)

    sigma = max(slices.sigma, 1e-4)
    gain = (x(predicted + sigma, physics.headroom) - x(predicted - sigma, physics.headroom)) / (2 * sigma)
    parts = [NOISE_LEFT * gain * sigma, gain * averaged(predicted - slices.lowdose)]
    if native is None:
        long, short = (x(predicted, raised(factor)) for factor in (NATIVE_SPREAD, 1 / NATIVE_SPREAD))
        parts.append((long - short) / 2)
    if not conditions.dose_told[0]:
        more, less = (
            x(predicted, raised(1.0, share), share)
            for share in ((fraction * DOSE_SPREAD).clamp(max=1), fraction / DOSE_SPREAD)
        )
        parts.append((more - less) / 2)
    return torch.stack([part.square() for part in parts]).sum(0).sqrt()
