"""What `auto` measures before it believes the image or the network: body, noise, bands, trust, what enhances.

The residual F(xbar) - x_L at the prior holds noise, the forward operator's own error, and what the prior got wrong. Its
size cannot tell the third from the first two, its spatial structure can: noise averages out over a region, an error of
the prior does not. So the residual is looked at in bands of spatial frequency, and what F was measured to leave at the
true image is known from the model's card. The signal equation judges everywhere, at all but the finest scales, and at
all of them where tissue surely enhances: it shares no error with the prior, as F does, and knows no body from another.
Images are (N, 1, H, W) in model scale (tissue near 0.4), lengths in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import LIPCARError
from .regularizers import GenTV

WIDTHS = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations in pixels of the Gaussians between which the bands lie: five bands, finest first."""
FINEST = 1
"""Bands below this one hold edges that a shift of half a pixel moves; they say nothing about the prior."""
REGION = 1.0
"""Standard deviation in pixels of the Gaussian below whose frequencies the data are always believed."""
GAIN_REGION = 16.0
"""The same, below which they are not where a receiver gain was found: tissue that enhances alike looks like a gain."""
QUANTILE = 0.9
"""A model's card holds what this share of its held-out slices stays below."""
BODY_THRESHOLD = 0.1
"""In model scale: what is brighter is body, where there are no labels."""
FLOOR_FACTOR = 1.5
"""Body: where the low-dose image, averaged over 5 x 5 pixels, exceeds the threshold (model scale) and this multiple of
the noise floor (the mean of noise in air is 0.89 of it)."""
ENHANCEMENT_WIDTH = 2.0
"""Pixels: what enhances is looked for in averages over this."""
SIGNIFICANCE = 2.0
"""In standard deviations of the noise."""
MISPLACED = 0.4
"""Pixels: what the edges of the pre-dose image would show if it lay so far beside the low-dose image is no enhancement
either. Chosen on the rims of skull and scalp of held-out heads."""
DENOISING = 0.75
"""Weight of the total variation that takes the noise out of an image, in standard deviations of that noise."""
DENOISING_ITERATIONS = 50


def body(lowdose: Tensor, floor: float) -> Tensor:
    """Where there is tissue, (N, 1, H, W) boolean, from x_L in model scale and its noise floor.

    >>> body(torch.tensor([0.0, 0.4]).view(2, 1, 1, 1).expand(2, 1, 8, 8), floor=0.02).float().mean((1, 2, 3))
    tensor([0., 1.])
    """
    mean = F.avg_pool2d(lowdose, 5, stride=1, padding=2, count_include_pad=False)
    return mean > max(BODY_THRESHOLD, FLOOR_FACTOR * floor)


@lru_cache(maxsize=4)
def bands(height: int, width: int, device: torch.device) -> Tensor:
    """Multipliers of a real Fourier transform, (5, H, W // 2 + 1), finest band first; they add up to one.

    >>> bands(8, 8, torch.device("cpu")).shape
    torch.Size([5, 8, 5])
    """
    gaussians = [gaussian(height, width, sigma, device) for sigma in WIDTHS]
    edges = [torch.ones_like(gaussians[0]), *gaussians]
    return torch.stack([*(fine - coarse for fine, coarse in zip(edges, gaussians, strict=False)), gaussians[-1]])


@lru_cache(maxsize=8)
def gaussian(height: int, width: int, sigma: float, device: torch.device) -> Tensor:
    """The Fourier transform of a Gaussian of standard deviation `sigma` pixels, (H, W // 2 + 1).

    >>> gaussian(8, 8, 1.0, torch.device("cpu"))[0, 0]
    tensor(1.)
    """
    rows, columns = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    return torch.exp(-2 * (torch.pi * sigma) ** 2 * (rows[:, None] ** 2 + columns**2))


def filtered(image: Tensor, multiplier: Tensor) -> Tensor:
    """The image with its real Fourier transform multiplied; shapes broadcast, (..., H, W) and (..., H, W // 2 + 1).

    >>> image = torch.rand(1, 1, 8, 8)
    >>> torch.allclose(filtered(image, torch.ones(8, 5)), image, atol=1e-6)
    True
    """
    passed: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * multiplier, s=image.shape[-2:])
    return passed


def band_energies(residual: Tensor, inside: Tensor) -> Tensor:
    """Mean square of the residual's part in each band over the body, (N, 5).

    Args:
        residual: (N, 1, H, W), model scale.
        inside: (N, 1, H, W) boolean; the residual counts as 0 elsewhere.

    >>> residual = torch.randn(2, 1, 16, 16)
    >>> energies = band_energies(residual, torch.ones_like(residual, dtype=torch.bool))
    >>> torch.allclose(energies.sum(1), residual.square().mean((1, 2, 3)))
    True
    """
    height, width = residual.shape[-2:]
    masked = residual * inside
    parts = filtered(masked, bands(height, width, residual.device))  # (N, 5, H, W)
    return (parts * masked).sum((2, 3)) / inside.sum((2, 3)).clamp_min(1)


def noise_energies(height: int, width: int, device: torch.device) -> Tensor:
    """Share of white noise in each band, (5,): the mean of its multiplier over all frequencies.

    >>> noise_energies(32, 32, torch.device("cpu")).argmax()  # noise is mostly fine
    tensor(0)
    """
    twice = torch.full((width // 2 + 1,), 2.0, device=device)
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    return (bands(height, width, device) * twice).sum((1, 2)) / (height * width)


def fine_scale_trust(residual: Tensor, inside: Tensor, noise: float, operator_error: Tensor) -> Tensor:
    """How far the residual at the prior exceeds what is expected of it, (N,), 0 (not at all) to 1.

    The largest over the bands of 1 - expected / found, which is the Wiener gain of an error of the prior whose energy
    is estimated from the excess. Expected: the noise's energy and the forward operator's validated error.

    Args:
        residual: F(xbar) - x_L, (N, 1, H, W), model scale.
        inside: the body, (N, 1, H, W) boolean.
        noise: standard deviation, model scale.
        operator_error: mean square of F's error in each band, (5,), from the model's card.

    >>> region = torch.zeros(1, 1, 32, 32)
    >>> region[..., 8:24, 8:24] = 0.1
    >>> inside = torch.ones_like(region, dtype=torch.bool)
    >>> bool(fine_scale_trust(region, inside, noise=0.01, operator_error=torch.full((5,), 1e-6)) > 0.9)
    True
    """
    height, width = residual.shape[-2:]
    expected = operator_error + noise**2 * noise_energies(height, width, residual.device)
    found = band_energies(residual, inside)
    excess = 1 - expected / found.clamp_min(torch.finfo(found.dtype).tiny)
    return excess[:, FINEST:].amax(1).clamp(0, 1)


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


def enhancing(lowdose: Tensor, predose: Tensor, inside: Tensor, noise: float) -> Tensor:
    """How surely tissue is seen to enhance at each pixel, (N, 1, H, W), 0 (not at all, or darker) to 1.

    1 - s^2 / e^2, where e = x_L - g x_P averaged by a Gaussian of ENHANCEMENT_WIDTH pixels exceeds s, which is
    SIGNIFICANCE times its noise and MISPLACED times the gradient of g x_P, averaged alike; g is the median of x_L / x_P
    over the body, at least 1, lest a receiver gain be taken for enhancement everywhere. Where a low dose shows little,
    undoing it magnifies noise more than it tells; where it shows much, an end-to-end network is shy: tumors in its
    guess are too dark.

    Args:
        lowdose, predose: (N, 1, H, W), model scale.
        inside: the body, (N, 1, H, W) boolean.
        noise: standard deviation of either image, model scale.

    >>> predose = torch.full((1, 1, 32, 32), 0.4)
    >>> lowdose = predose.clone()
    >>> lowdose[..., 8:20, 8:20] += 0.2
    >>> sure = enhancing(lowdose, predose, torch.ones_like(predose, dtype=torch.bool), noise=0.01)
    >>> bool(sure[..., 13, 13] > 0.9), bool(sure[..., 28, 28] < 0.1)
    (True, True)
    """
    ratio = (lowdose / predose.clamp_min(0.02)).masked_fill(~inside, float("nan"))
    gain = ratio.flatten(1).nanmedian(1).values.nan_to_num(1.0).clamp_min(1).view(-1, 1, 1, 1)
    height, width = lowdose.shape[-2:]
    average = gaussian(height, width, ENHANCEMENT_WIDTH, lowdose.device)
    size = torch.fft.irfft2(average, s=(height, width)).square().sum()
    after, before = (filtered(image * inside, average) for image in (lowdose, gain * predose))
    difference = after - before
    slope = torch.hypot(*torch.gradient(before, dim=(-2, -1)))
    threshold = SIGNIFICANCE * noise * ((1 + gain.square()) * size).sqrt() + MISPLACED * slope
    sure = torch.where(difference > threshold, 1 - (threshold / difference).square(), 0.0)
    return filtered(sure, gaussian(height, width, 1.0, lowdose.device)).clamp(0, 1) * inside


def scale_weights(height: int, width: int, device: torch.device, gain: float) -> Tensor:
    """The judge's weight at each spatial frequency, (1, 1, H, W // 2 + 1), 0 to 1.

    The Gaussian of REGION pixels: noise of single pixels would be magnified most. Where a gain was found and undone,
    less the Gaussian of GAIN_REGION.

    Args:
        gain: of the pre-dose image, 1 where none was found.

    >>> [scale_weights(32, 32, torch.device("cpu"), gain)[0, 0, 0, 0].item() for gain in (1.0, 1.1)]
    [1.0, 0.0]
    """
    weight = gaussian(height, width, REGION, device)
    if gain != 1:
        weight = weight - gaussian(height, width, GAIN_REGION, device)
    return weight[None, None]


def operator_error(manifest: Mapping[str, Any]) -> list[float]:
    """What the model's card says of its forward operator's error in each band.

    Raises:
        LIPCARError: the card does not tell, or for other bands.

    >>> card = {"forward_operator_error": {"widths": [1.0, 2.0, 4.0, 8.0], "mean_squares": [1e-4] * 5}}
    >>> operator_error(card)[0]
    0.0001
    """
    entry = manifest.get("forward_operator_error", {})
    if entry.get("widths") != list(WIDTHS) or len(entry.get("mean_squares", ())) != len(WIDTHS) + 1:
        raise LIPCARError(
            f"The card of the model '{manifest.get('name')}' does not say how far its forward operator is off, which "
            "alpha 'auto' needs. Measure it with `lipcar evaluate COHORT --model FOLDER --held-out --record`, or "
            "give alpha as a number."
        )
    return [float(value) for value in entry["mean_squares"]]
