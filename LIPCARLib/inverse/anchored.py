"""The anchored prior: the closed form of the signal equation, and a network that learns what to add to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..physics import Acquisition, SignalCurve, batch_curve, headroom, highdose_of, native_time, signal_curve
from .anchor import denoised_pair

STRIDE = 16
"""Unshuffled once and halved three times: sides are padded to a multiple of this inside the network and cropped."""
LEAST_NOISE = 0.002
"""Model scale: the network saw no images with less noise."""
TISSUE = 0.1
"""Model scale: what is darker in the low-dose image may be air, or masked, and shows another noise."""
ADDED_RATES = (1.0, 5.0)
"""1/s that the agent adds, for which the network is told how far the signal rises: what shape the equation has."""


@dataclass(frozen=True)
class Conditions:
    """What is told, or assumed, about each slice of a batch of N.

    Attributes:
        acquisitions: N of them.
        dose_fraction: low dose over full dose, (N,), above 0, at most 1.
        sequence_told, dose_told: (N,), 1 where the acquisition or the dose fraction was told, 0 where assumed.
        native: T10 in seconds, a map (N, 1, H, W); None for what the field lets expect.
    """

    acquisitions: tuple[Acquisition, ...]
    dose_fraction: Tensor
    sequence_told: Tensor
    dose_told: Tensor
    native: Tensor | None = None

    @classmethod
    def of_examination(
        cls, slices: int, acquisition: Acquisition | None, fraction: float | None, assumed_fraction: float
    ) -> Conditions:
        """The same for all slices; None for what nobody told."""

        def each(value: float) -> Tensor:
            return torch.full((slices,), float(value))

        return cls(
            acquisitions=(acquisition or Acquisition.assumed(),) * slices,
            dose_fraction=each(assumed_fraction if fraction is None else fraction),
            sequence_told=each(acquisition is not None),
            dose_told=each(fraction is not None),
        )

    def __getitem__(self, chosen: slice) -> Conditions:
        return Conditions(
            self.acquisitions[chosen],
            self.dose_fraction[chosen],
            self.sequence_told[chosen],
            self.dose_told[chosen],
            None if self.native is None else self.native[chosen],
        )

    def curve(self) -> SignalCurve:
        """Of the batch: one where all were acquired in the same way."""
        first = self.acquisitions[0]
        return signal_curve(first) if len(set(self.acquisitions)) == 1 else batch_curve(self.acquisitions)

    def expected_native(self) -> Tensor:
        """T10 in seconds that the field lets expect, (N, 1, 1, 1)."""
        return torch.tensor([native_time(a) for a in self.acquisitions]).view(-1, 1, 1, 1)


def noise(lowdose: Tensor, predose: Tensor, apart: int = 1) -> Tensor:
    """Standard deviation of the noise of either image in each slice, (N,), from what is left of their difference.

    The median magnitude of the difference's second difference along both axes, of pixels so far apart, over 0.6745
    (Donoho & Johnstone, Biometrika 81(3), 1994). The network's own measure, a slice at a time, so that it means the
    same in training and in use.
    """
    near, far = slice(None, -apart), slice(apart, None)
    corners = [(..., rows, columns) for rows in (near, far) for columns in (near, far)]
    a, b, c, d = ((lowdose - predose)[corner] for corner in corners)
    tissue = lowdose > TISSUE
    inside = torch.stack([tissue[corner] for corner in corners]).all(0)
    second = (a - b - c + d).abs().masked_fill(~inside, torch.nan).flatten(1)
    if not second.shape[1]:
        return lowdose.new_full((len(lowdose),), LEAST_NOISE)
    # Four pixels of noise in each second difference, and two images in each pixel.
    found = second.nanmedian(dim=1).values / (0.6745 * math.sqrt(8))
    return found.nan_to_num(LEAST_NOISE).clamp_min(LEAST_NOISE)


IMAGE_CHANNELS, SCALAR_CHANNELS = 10, 6 + len(ADDED_RATES)


def features(lowdose: Tensor, predose: Tensor, conditions: Conditions) -> tuple[Tensor, Tensor, Tensor]:
    """The anchor, and what the network sees, all of order 1: images, (N, IMAGE_CHANNELS, H, W), and numbers,
    (N, SCALAR_CHANNELS).

    The images are x_P, x_L, both without noise, their difference over the noise and over the dose fraction, the closed
    form of denoised, raw and locally averaged images, and the headroom.
    """
    curve, expected = conditions.curve(), conditions.expected_native()
    native = expected if conditions.native is None else conditions.native
    sigma = noise(lowdose, predose)
    fraction = conditions.dose_fraction.view(-1, 1, 1, 1)
    assumed = conditions.native is None

    def full_signal(before: Tensor, after: Tensor) -> Tensor:
        return headroom(before, curve, native, after if assumed else None, fraction if assumed else None)

    def inverted(before: Tensor, after: Tensor) -> Tensor:
        return highdose_of(after, before, full_signal(before, after), fraction, curve)

    before, after = denoised_pair(lowdose, predose, sigma)
    anchor = inverted(before, after)
    difference = lowdose - predose
    averaged = F.avg_pool2d(difference, 5, 1, 2, count_include_pad=False)
    images = torch.cat(
        (
            predose,
            lowdose,
            before,
            anchor,
            inverted(predose, lowdose).clamp(-1, 3),
            (inverted(before, before + averaged) - before).clamp(-1, 3),
            (difference / fraction).clamp(-1, 2),
            ((after - before) / fraction).clamp(-1, 2),
            torch.tanh(difference / (5 * sigma.view(-1, 1, 1, 1))),
            torch.tanh(full_signal(before, after) / 3),
        ),
        dim=1,
    )
    # Below the null of an inversion-prepared sequence a share is negative.
    shares = [curve.signal(1 / expected + added).flatten().clamp_min(1e-4) for added in (0.0, *ADDED_RATES)]
    numbers = torch.stack(
        (
            torch.log(sigma / 0.015),
            torch.log(conditions.dose_fraction / 0.2),
            torch.log(noise(lowdose, predose, apart=2) / sigma),
            conditions.sequence_told,
            conditions.dose_told,
            shares[0],
            *(torch.log(share / shares[0]) for share in shares[1:]),
        ),
        dim=1,
    )
    return anchor, images, numbers


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
        x_L and x_P, (N, 1, H, W) in model scale, and :class:`Conditions` of N slices -> (N, 1, H, W), any H, W >= 1.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128), depth: int = 1) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth

        def blocks(width: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(width) for _ in range(depth)))

        self.stem = nn.Conv2d(4 * IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.told = nn.Sequential(nn.Linear(SCALAR_CHANNELS, 64), nn.ReLU(), nn.Linear(64, sum(widths)))
        self.encoder = nn.ModuleList(blocks(width) for width in widths)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(pairs))
        self.merge = nn.ModuleList(nn.Conv2d(2 * a, a, 1) for a, _ in reversed(pairs))
        self.decoder = nn.ModuleList(blocks(a) for a, _ in reversed(pairs))
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        self.head.bias = nn.Parameter(torch.zeros(4))

    @property
    def architecture(self) -> dict[str, Any]:
        """What a manifest needs to build this network again: the class name and the constructor's arguments."""
        return {"class": "AnchoredPrior", "widths": list(self.widths), "depth": self.depth}

    def forward(self, lowdose: Tensor, predose: Tensor, conditions: Conditions) -> Tensor:
        with torch.no_grad():
            anchor, images, numbers = features(lowdose, predose, conditions)
        return anchor + self.addition(images, numbers)

    def addition(self, images: Tensor, numbers: Tensor) -> Tensor:
        """What is added to the anchor, (N, 1, H, W), from :func:`features`."""
        height, width = images.shape[-2:]
        bottom, right = -height % STRIDE, -width % STRIDE
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        told = self.told(numbers)[..., None, None].split(self.widths, dim=1)
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
