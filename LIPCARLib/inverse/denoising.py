"""Where there is tissue, and an image without the noise that is measured in it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .regularizers import GenTV

BODY_THRESHOLD = 0.1
"""In model scale: what is brighter is body, where there are no labels."""
FLOOR_FACTOR = 1.5
"""Body: where the low-dose image, averaged over 5 x 5 pixels, exceeds the threshold (model scale) and this multiple of
the noise floor (the mean of noise in air is 0.89 of it)."""
DENOISING = 0.75
"""Weight of the total variation that takes the noise out of an image, in standard deviations of that noise."""
DENOISING_ITERATIONS = 50


def local_mean(image: Tensor, side: int = 5) -> Tensor:
    """Averaged over side x side pixels, an odd number, or those of them that there are, (N, 1, H, W).

    >>> local_mean(torch.arange(4.0).view(1, 1, 1, 4)).flatten()
    tensor([1.0000, 1.5000, 1.5000, 2.0000])
    """
    # Columns, then rows: an eighth of the time of torch's avg_pool2d on a CPU.
    reach = side // 2
    for axis, padding in ((2, (0, 0, reach, reach)), (3, (reach, reach))):
        length = image.shape[axis]
        padded = F.pad(image, padding)
        total = padded.narrow(axis, 0, length) + padded.narrow(axis, 1, length)
        for start in range(2, side):
            total += padded.narrow(axis, start, length)
        place = torch.arange(length, device=image.device)
        there = 1 + place.clamp(max=reach) + (length - 1 - place).clamp(max=reach)
        image = total / there.view((1, 1, length, 1) if axis == 2 else (1, 1, 1, length))
    return image


def body(lowdose: Tensor, floor: float) -> Tensor:
    """Where there is tissue, (N, 1, H, W) boolean, from x_L in model scale and its noise floor.

    >>> body(torch.tensor([0.0, 0.4]).view(2, 1, 1, 1).expand(2, 1, 8, 8), floor=0.02).float().mean((1, 2, 3))
    tensor([0., 1.])
    """
    return local_mean(lowdose) > max(BODY_THRESHOLD, FLOOR_FACTOR * floor)


def noise_left(image: Tensor, inside: Tensor) -> Tensor:
    """Standard deviation of the noise in each image, (N,): `intensity.noise_deviation`'s measure, over the body.

    The median magnitude of the second difference along both axes, which knows neither level nor slope, over 0.6745.

    Args:
        image: (N, 1, H, W).
        inside: the body, (N, 1, H, W) boolean; 0 where it is empty.

    >>> image = 0.4 + 0.02 * torch.randn(1, 1, 64, 64)
    >>> torch.allclose(noise_left(image, torch.ones_like(image, dtype=torch.bool)), torch.tensor(0.02), rtol=0.2)
    True
    """
    corner = (image[..., :-1, :-1] - image[..., 1:, :-1] - image[..., :-1, 1:] + image[..., 1:, 1:]).abs() / 2
    whole = inside[..., :-1, :-1] & inside[..., 1:, :-1] & inside[..., :-1, 1:] & inside[..., 1:, 1:]
    return corner.masked_fill(~whole, float("nan")).flatten(1).nanmedian(1).values.nan_to_num(0.0) / 0.6745


def denoised(image: Tensor, inside: Tensor) -> Tensor:
    """The image without the noise that is measured in it: its total-variation proximal map, at least 0, (N, 1, H, W).

    An image without noise is returned nearly as it is. Rudin, Osher, Fatemi, Physica D 60, 1992.

    Args:
        image: (N, 1, H, W).
        inside: the body, where the noise is measured.

    >>> image = 0.4 + 0.02 * torch.randn(1, 1, 32, 32)
    >>> bool(denoised(image, torch.ones_like(image, dtype=torch.bool)).std() < 0.5 * image.std())
    True
    """
    weight = DENOISING * noise_left(image, inside)
    return GenTV(torch.zeros_like(image)).prox(image, weight, 0.0, DENOISING_ITERATIONS)
