"""How far the measured image is believed against the network's guess: the rules that `--alpha auto` stands for.

The residual F(xbar) - x_L at the prior holds noise, the forward operator's own error, and what the prior got wrong. Its
size cannot tell the third from the first two, its spatial structure can: noise averages out over a region, an error of
the prior does not. So the residual is looked at in bands of spatial frequency, and what F was measured to leave at the
true image is known from the model's card. The signal equation judges everywhere, at all but the finest scales, and at
all of them where tissue surely enhances: it shares no error with the prior, as F does, and knows no body from another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
COARSE_LIMIT = 0.03
"""Model scale: a forward operator that is off by more in the two coarsest bands (0.020 for vnet-predose, 0.073 for
vnet-lowdose, which cannot see what the agent changed) is no judge of regions: believing it always raised the body RMSE
of vnet-lowdose from 0.045 to 0.055 on 12 held-out subjects."""
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
either. Without this, the rims of scalp and skull of three of the 24 held-out heads passed for it."""
RULE_ALPHA = 0.18
"""alpha of a rule, in standard deviations of the noise: what is flattened is as large as what noise does."""
LEAST_NOISE = 0.008
"""Model scale: alpha takes at least this noise for granted."""
FINE_WEIGHT = 0.2
"""Of F's data term at fine scales where the trust is complete."""
DENOISING = 0.75
"""Weight of the total variation that takes the noise out of an image, in standard deviations of that noise."""
DENOISING_ITERATIONS = 50
DISCREPANCY_ALPHAS = (0.2, 0.1, 0.05, 0.025, 0.0125, 0.00625)
"""The path of the discrepancy principle, from the prior towards the data."""


@dataclass(frozen=True)
class Rule:
    """A way to weigh data against prior, by name an alternative to a number for alpha.

    Attributes:
        description: what it does, for help texts.
        gate: F counts as far as the residual at the prior exceeds what is expected.
        judge: what the data are always compared with, at scales above REGION: "signal" for the signal equation where
            there is a pre-dose image, "learned" for F if it is right at coarse scales (COARSE_LIMIT), None for neither.
        enhancing: where the signal equation judges, all scales count once more where tissue is seen to enhance.
        aligned: the signal equation looks at the pre-dose image where the low-dose image has it, to a part of a pixel.
        on_body: air keeps the prior's values, which takes the offset away that GenTV does not see.
        denoise: the noise that the prior left in its guess is taken out of it; GenTV would keep it.
        discrepancy: alpha is the largest of a path at which the residual's size is what is expected (Morozov).
    """

    description: str
    gate: bool = True
    judge: str | None = "signal"
    enhancing: bool = True
    aligned: bool = True
    on_body: bool = True
    denoise: bool = True
    discrepancy: bool = False


RULES = {
    "auto": Rule(
        "a denoised prior; the signal equation judges, most where tissue enhances, and the network where the data "
        "contradict the prior"
    ),
    "noisy-prior": Rule("auto around the prior as it is", denoise=False),
    "auto-with-air": Rule("auto, air included", on_body=False),
    "unaligned": Rule("auto with the pre-dose image where it was acquired", aligned=False),
    "even": Rule("auto without regard to what enhances", enhancing=False),
    "ungated": Rule("auto without the network", gate=False),
    "gated": Rule("the network alone, where the data contradict the prior", judge=None),
    "learned": Rule("the network in the signal equation's place", judge="learned"),
    "denoised": Rule("the denoised prior alone, no data", gate=False, judge=None),
    "discrepancy": Rule(
        "a denoised prior; the discrepancy principle over a path of alphas", gate=False, judge=None, discrepancy=True
    ),
}
AUTO = "auto"


def check_alpha(alpha: float | str) -> float | str:
    """A positive number or the name of a rule; a number may be written as text.

    Raises:
        LIPCARError: neither of them.
    """
    if alpha in RULES:
        return alpha
    try:
        number = float(alpha)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise LIPCARError(
            f"alpha is {alpha}; a positive number is expected (the paper's is 0.006), or one of: {', '.join(RULES)}."
        )
    return number


def body(lowdose: Tensor, floor: float) -> Tensor:
    """Where there is tissue, (N, 1, H, W) boolean, from x_L in model scale and its noise floor."""
    mean = F.avg_pool2d(lowdose, 5, stride=1, padding=2, count_include_pad=False)
    return mean > max(BODY_THRESHOLD, FLOOR_FACTOR * floor)


@lru_cache(maxsize=4)
def bands(height: int, width: int, device: torch.device) -> Tensor:
    """Multipliers of a real Fourier transform, (5, H, W // 2 + 1), finest band first; they add up to one."""
    gaussians = [gaussian(height, width, sigma, device) for sigma in WIDTHS]
    edges = [torch.ones_like(gaussians[0]), *gaussians]
    return torch.stack([*(fine - coarse for fine, coarse in zip(edges, gaussians, strict=False)), gaussians[-1]])


@lru_cache(maxsize=8)
def gaussian(height: int, width: int, sigma: float, device: torch.device) -> Tensor:
    """The Fourier transform of a Gaussian of standard deviation `sigma` pixels, (H, W // 2 + 1)."""
    rows, columns = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    return torch.exp(-2 * (torch.pi * sigma) ** 2 * (rows[:, None] ** 2 + columns**2))


def filtered(image: Tensor, multiplier: Tensor) -> Tensor:
    """The image with its real Fourier transform multiplied; shapes broadcast, (..., H, W) and (..., H, W // 2 + 1)."""
    return torch.fft.irfft2(torch.fft.rfft2(image) * multiplier, s=image.shape[-2:])


def band_energies(residual: Tensor, inside: Tensor) -> Tensor:
    """Mean square of the residual's part in each band over the body, (N, 5).

    Args:
        residual: (N, 1, H, W), model scale.
        inside: (N, 1, H, W) boolean; the residual counts as 0 elsewhere.
    """
    height, width = residual.shape[-2:]
    masked = residual * inside
    parts = filtered(masked, bands(height, width, residual.device))  # (N, 5, H, W)
    return (parts * masked).sum((2, 3)) / inside.sum((2, 3)).clamp_min(1)


def noise_energies(height: int, width: int, device: torch.device) -> Tensor:
    """Share of white noise in each band, (5,): the mean of its multiplier over all frequencies."""
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
    """
    expected = operator_error + noise**2 * noise_energies(*residual.shape[-2:], residual.device)
    found = band_energies(residual, inside)
    excess = 1 - expected / found.clamp_min(torch.finfo(found.dtype).tiny)
    return excess[:, FINEST:].amax(1).clamp(0, 1)


def noise_left(image: Tensor, inside: Tensor) -> Tensor:
    """Standard deviation of the noise in each image, (N,): `intensity.noise_deviation`'s measure, over the body.

    The median magnitude of the second difference along both axes, which knows neither level nor slope, over 0.6745.

    Args:
        image: (N, 1, H, W).
        inside: the body, (N, 1, H, W) boolean; 0 where it is empty.
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
    """
    weight = DENOISING * noise_left(image, inside)
    return GenTV(torch.zeros_like(image)).prox(image, weight, 0.0, DENOISING_ITERATIONS)


def judge(rule: Rule, operator_error: Tensor, reliable: bool) -> str | None:
    """Which operator always judges these slices, "signal", "learned" or None.

    Args:
        operator_error: mean square of F's error in each band, (5,).
        reliable: there is a pre-dose image that the signal equation may rely on pixel by pixel.
    """
    if rule.judge == "signal":
        return "signal" if reliable else None
    return rule.judge if operator_error[-2:].sum() <= COARSE_LIMIT**2 else None


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
    """
    weight = gaussian(height, width, REGION, device)
    if gain != 1:
        weight = weight - gaussian(height, width, GAIN_REGION, device)
    return weight[None, None]


def operator_error(manifest: Mapping[str, Any]) -> list[float]:
    """What the model's card says of its forward operator's error in each band.

    Raises:
        LIPCARError: the card does not tell, or for other bands.
    """
    entry = manifest.get("forward_operator_error", {})
    if entry.get("widths") != list(WIDTHS) or len(entry.get("mean_squares", ())) != len(WIDTHS) + 1:
        raise LIPCARError(
            f"The card of the model '{manifest.get('name')}' does not say how far its forward operator is off, which "
            "a rule for alpha needs. Measure it with `lipcar evaluate COHORT --model FOLDER --held-out --record`, or "
            "give alpha as a number."
        )
    return [float(value) for value in entry["mean_squares"]]
