"""The anchored prior: the signal equation inverted in closed form, and a network that learns what to add to it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .regularizers import GenTV

STRIDE = 16
"""Unshuffled once and halved three times: sides are padded to a multiple of this inside the network and cropped."""
NATIVE_T1 = 1.4
"""Seconds; between grey and white matter at 3 T. Assumed of all tissue, where no T1 map is given."""
DARKEST = 0.05
"""Model scale: a pre-dose image that is darker tells no proton density."""
SATURATED = 0.03
"""Share of the equilibrium signal that is still missing where the equation is cut off: beyond, noise would decide."""
SMOOTH_LOWDOSE, SMOOTH_DIFFERENCE = 0.6, 1.2
"""Weights of the total variation, in noise standard deviations, for x_L and for x_L - x_P."""
SMOOTHING_ITERATIONS = 20


@dataclass(frozen=True)
class Conditions:
    """What is told, or assumed, about each slice of a batch: tensors of shape (N,).

    The signal is M (1 - E) / (1 - cos(flip) E) with E = exp(-TR R1): a spoiled gradient echo, a spin echo for a flip
    angle of 90 degrees, and a law that is linear in the dose for a TR near zero.

    Attributes:
        repetition_time: TR in seconds, > 0.
        cosine: of the flip angle, 0..1.
        dose_fraction: low dose over full dose, 0..1.
        sigma: the noise's standard deviation in model scale, > 0.
        sequence_told, dose_told: 1 where TR and flip angle, or the dose fraction, were told, 0 where assumed.
    """

    repetition_time: Tensor
    cosine: Tensor
    dose_fraction: Tensor
    sigma: Tensor
    sequence_told: Tensor
    dose_told: Tensor

    def __getitem__(self, chosen: Any) -> Conditions:
        return Conditions(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True)
class Anchor:
    """The closed form and what it rests on, (N, 1, H, W) in model scale.

    Attributes:
        highdose: the anchor.
        equilibrium: M, the signal that no dose exceeds.
        predose, difference: the denoised x_P and x_L - x_P.
    """

    highdose: Tensor
    equilibrium: Tensor
    predose: Tensor
    difference: Tensor


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def anchor(predose: Tensor, lowdose: Tensor, conditions: Conditions) -> Anchor:
    """x_H by the signal equation from denoised images, (N, 1, H, W) in model scale; linear where the agent darkens."""
    smooth, difference = _denoised(lowdose, lowdose - predose, conditions.sigma)
    before = (smooth - difference).clamp_min(0)
    highdose, equilibrium = closed_form(before, difference, conditions)
    return Anchor(highdose, equilibrium, before, difference)


def closed_form(predose: Tensor, difference: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor]:
    """x_H and the equilibrium signal M from x_P and x_L - x_P, pixel by pixel.

    With s = S / M and E = (1 - s) / (1 - cos s), which is exp(-TR R1), and R1 linear in the dose:
    E_H = E_P (E_L / E_P)^(1 / f). Finite for every input; never above the law that is linear in the dose.
    """
    fraction, cosine = _column(conditions.dose_fraction), _column(conditions.cosine)
    recovered = _column(saturation(conditions))
    linear = predose + difference / fraction
    equilibrium = torch.maximum(predose.clamp_min(DARKEST) / recovered, linear)

    def decay(signal: Tensor) -> Tensor:
        share = signal / equilibrium
        return ((1 - share) / (1 - cosine * share)).clamp_min(SATURATED)

    native = decay(predose)
    ratio = (decay(predose + difference.clamp_min(0)) / native).clamp_max(1)
    full = native * ratio ** (1 / fraction)
    inverted = equilibrium * (1 - full) / (1 - cosine * full)
    # 1e-6 of rounding in the decays is magnified by 1 / f and would pass the linear law.
    inverted = torch.minimum(torch.maximum(inverted, predose), linear)
    return torch.where(difference > 0, inverted, linear.clamp_min(0)), equilibrium


def saturation(conditions: Conditions, added: float = 0.0) -> Tensor:
    """Share of the equilibrium signal that tissue has when the agent adds so much relaxation in 1/s, (N,)."""
    decay = torch.exp(-conditions.repetition_time * (1 / NATIVE_T1 + added))
    return (1 - decay) / (1 - conditions.cosine * decay)


def _denoised(lowdose: Tensor, difference: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    both = torch.cat((lowdose, difference))
    weight = torch.cat((SMOOTH_LOWDOSE * sigma, SMOOTH_DIFFERENCE * sigma))
    regularizer = GenTV(torch.zeros_like(both))
    smooth = regularizer.prox_from(both, weight, regularizer.cold_dual(both), iterations=SMOOTHING_ITERATIONS)[0]
    first, second = smooth.chunk(2)
    return first, second


IMAGE_CHANNELS, SCALAR_CHANNELS = 10, 8


def features(predose: Tensor, lowdose: Tensor, conditions: Conditions, anchored: Anchor) -> tuple[Tensor, Tensor]:
    """What the network sees: images, (N, IMAGE_CHANNELS, H, W), and numbers, (N, SCALAR_CHANNELS), all of order 1."""
    fraction, sigma = _column(conditions.dose_fraction), _column(conditions.sigma)
    difference = lowdose - predose
    raw, _ = closed_form(predose.clamp_min(0), difference, conditions)
    coarse = F.avg_pool2d(difference, 5, 1, 2, count_include_pad=False)
    averaged, _ = closed_form(anchored.predose, coarse, conditions)
    linear = difference / fraction
    images = torch.cat(
        (
            predose,
            lowdose,
            anchored.predose,
            anchored.highdose,
            raw,
            averaged - anchored.predose,
            linear.clamp(-1, 2),
            (anchored.difference / fraction).clamp(-1, 2),
            torch.tanh(difference / (5 * sigma)),
            torch.tanh(anchored.equilibrium / 3),
        ),
        dim=1,
    )
    native = saturation(conditions)
    scalars = torch.stack(
        (
            torch.log(conditions.sigma / 0.015),
            torch.log(conditions.dose_fraction / 0.2),
            torch.log(conditions.sigma / conditions.dose_fraction / 0.07),
            conditions.sequence_told,
            conditions.dose_told,
            native,
            torch.log(saturation(conditions, 1.0) / native),
            torch.log(saturation(conditions, 5.0) / native),
        ),
        dim=1,
    )
    return images, scalars


class _Block(nn.Module):
    """Two 3x3 convolutions with a skip around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))), inplace=True)


class AnchoredPrior(nn.Module):
    """x_H = anchor + what a U-Net adds; the U-Net's last layer starts at zero, so an untrained prior is the physics.

    Pixels are unshuffled by two first: convolutions at half the size and four times the width cost a CPU a fraction
    of those at full size and see twice as far. No normalization layers.

    Args:
        widths: channels at a half, a quarter, an eighth, ... of the size.
        depth: blocks of two convolutions on each side of each level.

    Shapes:
        two (N, 1, H, W) images in model scale and :class:`Conditions` of N slices -> (N, 1, H, W), any H, W >= 1.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128), depth: int = 1) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth

        def blocks(width: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(width) for _ in range(depth)))

        self.stem = nn.Conv2d(4 * IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.told = nn.Sequential(nn.Linear(SCALAR_CHANNELS, 64), nn.ReLU(), nn.Linear(64, sum(widths)))
        self.encoder = nn.ModuleList(blocks(width) for width in widths)
        pairs = list(zip(widths, widths[1:], strict=False))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(pairs))
        self.merge = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in reversed(pairs))
        self.decoder = nn.ModuleList(blocks(a) for a, _ in reversed(pairs))
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def architecture(self) -> dict[str, Any]:
        """What a manifest needs to build this network again: the class name and the constructor's arguments."""
        return {"class": "AnchoredPrior", "widths": list(self.widths), "depth": self.depth}

    def forward(self, predose: Tensor, lowdose: Tensor, conditions: Conditions) -> Tensor:
        with torch.no_grad():
            anchored = anchor(predose, lowdose, conditions)
            images, scalars = features(predose, lowdose, conditions, anchored)
        return anchored.highdose + self.addition(images, scalars)

    def addition(self, images: Tensor, scalars: Tensor) -> Tensor:
        """What is added to the anchor, (N, 1, H, W), from :func:`features`."""
        height, width = images.shape[-2:]
        bottom, right = -height % STRIDE, -width % STRIDE
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        told = self.told(scalars)[..., None, None].split(self.widths, dim=1)
        h = self.stem(F.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last))
        skips = []
        for level, block in enumerate(self.encoder):
            if level:
                skips.append(h)
                h = self.down[level - 1](h)
            h = block(F.relu(h + told[level]))
        for up, merge, block, skip in zip(self.up, self.merge, self.decoder, reversed(skips), strict=True):
            h = block(F.relu(merge(torch.cat((up(h), skip), dim=1))))
        return F.pixel_shuffle(self.head(h).float(), 2)[..., :height, :width]
