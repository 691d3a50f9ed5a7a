"""How uncertain each voxel of a result is: noise, bias and what is not known, carried through the signal equation."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..inverse.anchor import Anchor, headroom_between, noise_between
from ..inverse.denoising import local_mean
from ..inverse.session import Slices
from ..physics import highdose_of

RELATIVE = 0.16
"""Share of the enhancement that the equation is off by, with T10 not known better than tissue differs."""
OFF = 0.04
"""Pixels by which the pre-dose image lies off, after it was aligned."""
DOSE_SPREAD = 1.25
"""A dose fraction that is not told lies within this factor of the assumed one: 0.18 to 0.28 of 0.15 to 0.3."""
SCALE = 1.25
"""What the sum is multiplied by: so that the 90 % interval held 90 % of the voxels of drawn examinations
(`simulation.draw`), in the body and in what enhances. `Testing/benchmarks/coverage.py` measures it on others."""
SHORT, LONG = 3, 9
"""Pixels a side: over which noise is averaged, and over which the square of what is left is."""
LEAST_NOISE = 1e-3
"""Model scale: rounding."""


def deviation(highdose: Tensor, predicted: Tensor, physics: Anchor, predose: Tensor, slices: Slices) -> Tensor:
    """Standard deviation of x_H, (N, 1, H, W), model scale.

    Its parts are taken as independent: what denoising took away, noise or structure; how far the result is from the
    closed form; a pre-dose image that lies a little off, where it has edges; T10; and, where they are not told, the
    dose fraction and the sequence, which may as well be linear in the dose.

    Args:
        highdose: the result, (N, 1, H, W), model scale.
        predicted: F(x) by the signal equation.
        physics: what the equation rests on.
        predose: x_P, aligned, with its noise.
        slices: the images, and what is told of them.
    """
    conditions, before = slices.conditions, physics.predose
    curve, fraction = conditions.curve(), conditions.dose_fraction.view(-1, 1, 1, 1)
    noises = [noise_between(slices.lowdose, predose, apart, conditions.known) for apart in (1, 2)]
    sigma = torch.maximum(*noises).clamp_min(LEAST_NOISE).view(-1, 1, 1, 1)

    def found(low: Tensor, full: Tensor, share: Tensor = fraction) -> Tensor:
        return highdose_of(low, before, full, share, curve)

    gain = (found(predicted + sigma, physics.headroom) - found(predicted - sigma, physics.headroom)) / (2 * sigma)
    removed = slices.lowdose - predose - (physics.lowdose - before)
    # Its variance over that of noise alone: where structure was taken away with the noise, more is wrong than noise.
    excess = local_mean(local_mean(removed, SHORT).square(), LONG) * SHORT / (math.sqrt(2) * sigma)
    parts = [
        gain * excess,
        gain * OFF * local_mean(_slope(before), SHORT).sqrt(),
        highdose - physics.highdose,
        RELATIVE * (highdose - before),
    ]
    least = fraction
    if not conditions.dose_told[0]:
        least = fraction / DOSE_SPREAD
        shares = (fraction * DOSE_SPREAD).clamp(max=1), least
        brightest = torch.maximum(physics.lowdose, predicted)
        fulls = [headroom_between(before, brightest, replace(conditions, dose_fraction=share)) for share in shares]
        more, less = (found(predicted, full, share) for full, share in zip(fulls, shares, strict=True))
        parts.append((less - more) / 2)
    if not conditions.sequence_told[0]:
        # Linear, and of the least dose: where neither is told, one makes more of the other.
        parts.append(highdose - before - (predicted - before) / least)
    return SCALE * torch.stack([part.square() for part in parts]).sum(0).sqrt()


def _slope(image: Tensor) -> Tensor:
    """Square of the gradient, forward differences."""
    down, right = F.pad(image.diff(dim=-2), (0, 0, 0, 1)), F.pad(image.diff(dim=-1), (0, 1))
    return down.square() + right.square()
