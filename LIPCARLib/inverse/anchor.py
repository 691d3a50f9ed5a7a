"""The anchor: the signal equation inverted in closed form on denoised images; no training, no solver."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..physics import headroom, highdose_of
from .conditions import Conditions
from .denoising import BODY_THRESHOLD
from .regularizers import GenTV

LOWDOSE_WEIGHT, DIFFERENCE_WEIGHT = 0.6, 1.2
"""Weights of the total variation of x_L and of x_L - x_P, in standard deviations of the noise of either image."""
LOWDOSE_ITERATIONS, DIFFERENCE_ITERATIONS = 12, 24
"""Of the dual method of the total variation: more of them changed nothing that counts on real heads."""


@dataclass(frozen=True)
class Anchor:
    """The closed form and what it rests on, all (N, 1, H, W) in model scale.

    Attributes:
        highdose: x_H as the equation has it, at least 0.
        headroom: M, the signal that no dose exceeds.
        predose, lowdose: x_P and x_L without noise.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> Anchor(highdose=image, headroom=2 * image, predose=image, lowdose=image).highdose.shape
    torch.Size([1, 1, 8, 8])
    """

    highdose: Tensor
    headroom: Tensor
    predose: Tensor
    lowdose: Tensor


def anchor(lowdose: Tensor, predose: Tensor, conditions: Conditions, sigma: float | Tensor | None = None) -> Anchor:
    """x_H of the denoised images by the signal equation (`physics.highdose_of`).

    The difference x_L - x_P is denoised as an image of its own, more than x_L: it has the noise of both, and inverting
    a dose fraction of a fifth magnifies it fivefold.

    Args:
        lowdose, predose: x_L and x_P, (N, 1, H, W), model scale, aligned.
        conditions: acquisition, dose fraction and T10 of each slice.
        sigma: standard deviation of the noise of either image in model scale, a number or one a slice, (N,); None
            for what :func:`noise_between` finds, of neighbors or of pixels two apart, whichever is more.

    >>> predose = torch.full((1, 1, 32, 32), 0.4)
    >>> lowdose = predose.clone()
    >>> lowdose[..., 8:24, 8:24] = 0.5
    >>> untold = Conditions.of_examination(1, None, None, assumed_fraction=0.2)
    >>> found = anchor(lowdose, predose, untold).highdose
    >>> bool(found[..., 16, 16] > 0.7), round(found[0, 0, 2, 2].item(), 3)
    (True, 0.4)
    """
    if sigma is None:
        # Where an image was interpolated, neighbors share their noise and show less of it.
        sigma = torch.maximum(*(noise_between(lowdose, predose, apart, conditions.known) for apart in (1, 2)))
    before, after = denoised_pair(lowdose, predose, sigma)
    full = headroom_between(before, after, conditions)
    return Anchor(inverted(before, after, full, conditions), full, before, after)


def headroom_between(before: Tensor, after: Tensor, conditions: Conditions) -> Tensor:
    """M of x_P and x_L, (N, 1, H, W): it follows a map of T10, or an assumed T10 and is raised where tissue brightens
    more than that allows.

    >>> image = torch.full((1, 1, 1, 1), 0.4)
    >>> untold = Conditions.of_examination(1, None, None, assumed_fraction=0.2)
    >>> round(headroom_between(image, image, untold).item(), 2)
    1.46
    """
    curve, fraction = conditions.curve(), conditions.dose_fraction.view(-1, 1, 1, 1)
    if conditions.native is not None:
        return headroom(before, curve, conditions.native)
    return headroom(before, curve, conditions.expected_native(), after, fraction)


def inverted(before: Tensor, after: Tensor, full: Tensor, conditions: Conditions) -> Tensor:
    """x_H of x_P and x_L with headroom M, (N, 1, H, W), see `physics.highdose_of`.

    >>> image = torch.full((1, 1, 1, 1), 0.4)
    >>> untold = Conditions.of_examination(1, None, None, assumed_fraction=0.2)
    >>> torch.allclose(inverted(image, image, 2 * image, untold), image)
    True
    """
    return highdose_of(after, before, full, conditions.dose_fraction.view(-1, 1, 1, 1), conditions.curve())


def denoised_pair(lowdose: Tensor, predose: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
    """x_P and x_L without their noise, (N, 1, H, W), at least 0; arguments as of :func:`anchor`.

    >>> noisy = torch.tensor([0.4, 0.42]).repeat(16, 8)[None, None]
    >>> before, after = denoised_pair(noisy, noisy, sigma=0.02)
    >>> bool(after.std() < noisy.std() / 4), torch.equal(before, after)
    (True, True)
    """
    sigma = torch.as_tensor(sigma, dtype=lowdose.dtype, device=lowdose.device).expand(len(lowdose))
    free = GenTV(torch.zeros_like(lowdose))
    after = free.prox(lowdose, LOWDOSE_WEIGHT * sigma, iterations=LOWDOSE_ITERATIONS)
    difference = free.prox(lowdose - predose, DIFFERENCE_WEIGHT * sigma, iterations=DIFFERENCE_ITERATIONS)
    after = after.clamp_min(0)
    return (after - difference).clamp_min(0), after


def noise_between(lowdose: Tensor, predose: Tensor, apart: int = 1, known: Tensor | None = None) -> Tensor:
    """Standard deviation of the noise of either image, (N,), from their difference, which has no texture of the body.

    The median magnitude of its second difference along both axes over tissue, over 0.6745 (Donoho & Johnstone,
    Biometrika 81(3), 1994) and over what six more pixels of noise add. 0 where there is no tissue.

    Args:
        lowdose, predose: (N, 1, H, W), model scale, aligned: what they do not share counts as noise.
        apart: pixels between those that are compared; noise of neighbors is alike where an image was interpolated.
        known: where there is a pre-dose image, (N, 1, H, W) boolean; None for everywhere.

    >>> rng = torch.Generator().manual_seed(0)
    >>> predose, lowdose = 0.4 + 0.02 * torch.randn(2, 1, 1, 64, 64, generator=rng)
    >>> round(noise_between(lowdose, predose).item(), 2)
    0.02
    """
    air = lowdose <= BODY_THRESHOLD if known is None else (lowdose <= BODY_THRESHOLD) | ~known  # shows other noise
    tissue = (lowdose - predose).masked_fill(air, torch.nan)
    across = tissue[..., apart:, :] - tissue[..., :-apart, :]
    second = (across[..., apart:] - across[..., :-apart]).abs_().flatten(1)
    if not second.shape[1]:
        return lowdose.new_zeros(len(lowdose))
    return second.nanmedian(dim=1).values.nan_to_num(0.0) / (0.6745 * math.sqrt(8))
