"""The anchored prior: the closed form of the signal equation, and a network that learns what to add to it."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .anchor import Anchor, anchor, headroom_between, inverted, noise_between
from .conditions import Conditions
from .denoising import local_mean

LEAST_NOISE = 0.002
"""Model scale: the network saw no images with less noise."""
STRIDE = 16
"""Unshuffled once and halved three times: sides are padded to a multiple of this inside the network and cropped."""
ADDED_RATES = (1.0, 5.0)
"""1/s that the agent adds, for which the network is told how far the signal rises: what shape the equation has."""


IMAGE_CHANNELS, SCALAR_CHANNELS = 10, 6 + len(ADDED_RATES)


def features(lowdose: Tensor, predose: Tensor, conditions: Conditions) -> tuple[Anchor, Tensor, Tensor]:
    """The anchor, and what the network sees, all of order 1: images, (N, IMAGE_CHANNELS, H, W), and numbers,
    (N, SCALAR_CHANNELS).

    The images are x_P, x_L, x_P without noise, their difference over the noise and over the dose fraction, the closed
    form of denoised, raw and locally averaged images, and the headroom.

    >>> image = torch.full((1, 1, 32, 32), 0.4)
    >>> physics, images, numbers = features(image, image, Conditions.of_examination(1, None, None, 0.22))
    >>> torch.allclose(physics.highdose, image), images.shape, numbers.shape
    (True, torch.Size([1, 10, 32, 32]), torch.Size([1, 8]))
    """

    def closed_form(before: Tensor, after: Tensor) -> Tensor:
        return inverted(before, after, headroom_between(before, after, conditions), conditions)

    curve, expected = conditions.curve(), conditions.expected_native()
    found = [noise_between(lowdose, predose, apart, conditions.known) for apart in (1, 2)]
    sigma, coarser = (noise.clamp_min(LEAST_NOISE) for noise in found)
    fraction = conditions.dose_fraction.view(-1, 1, 1, 1)
    physics = anchor(lowdose, predose, conditions, torch.maximum(*found))
    before, after = physics.predose, physics.lowdose
    difference = lowdose - predose
    averaged = local_mean(difference)
    images = torch.cat(
        (
            predose,
            lowdose,
            before,
            physics.highdose,
            closed_form(predose, lowdose).clamp(-1, 3),
            (closed_form(before, before + averaged) - before).clamp(-1, 3),
            (difference / fraction).clamp(-1, 2),
            ((after - before) / fraction).clamp(-1, 2),
            _tanh(difference / (5 * sigma.view(-1, 1, 1, 1))),
            _tanh(physics.headroom / 3),
        ),
        dim=1,
    )
    # Below the null of an inversion-prepared sequence a share is negative.
    shares = [curve.signal(1 / expected + added).flatten().clamp_min(1e-4) for added in (0.0, *ADDED_RATES)]
    numbers = torch.stack(
        (
            torch.log(sigma / 0.015),
            torch.log(conditions.dose_fraction / 0.2),
            torch.log(coarser / sigma),
            conditions.sequence_told,
            conditions.dose_told,
            shares[0],
            *(torch.log(share / shares[0]) for share in shares[1:]),
        ),
        dim=1,
    )
    return physics, images, numbers


def _tanh(x: Tensor) -> Tensor:
    """By the sigmoid, which takes torch a third of the time on a CPU; to 1e-7. In place."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


class _Block(nn.Module):
    """Two 3x3 convolutions with a skip around them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(self.first(x).relu_())
        return added.add_(x).relu_()


class _Stem(nn.Conv2d):
    """A convolution of images whose pixels were unshuffled by two: of the images as they are, with a stride of two."""

    def forward(self, images: Tensor) -> Tensor:
        kernel = F.pixel_shuffle(self.weight, 2).contiguous(memory_format=torch.channels_last)
        return F.conv2d(images, kernel, self.bias, stride=2, padding=2)


class _Merge(nn.Conv2d):
    """A 1x1 convolution of two images, one behind the other in their channels: as the sum of two products."""

    def forward(self, h: Tensor, skip: Tensor) -> Tensor:  # type: ignore[override]
        first, second = self.weight.flatten(1).chunk(2, dim=1)
        found = F.linear(h.movedim(1, -1), first, self.bias).add_(F.linear(skip.movedim(1, -1), second))
        return found.movedim(-1, 1)


class AnchoredPrior(nn.Module):
    """x_H = anchor + what a U-Net adds; the U-Net's last layer starts at zero, so an untrained prior is the physics.

    Pixels are unshuffled by two first: convolutions at half the size and four times the width cost a CPU a fraction
    of those at full size and see twice as far. No normalization layers.

    Args:
        widths: channels at a half, a quarter, an eighth, ... of the size.
        depth: blocks of two convolutions on each side of each level.

    Shapes:
        x_L and x_P, (N, 1, H, W) in model scale, and :class:`Conditions` of N slices -> (N, 1, H, W), any H, W >= 1.

    >>> image = torch.full((1, 1, 20, 30), 0.4)
    >>> torch.allclose(AnchoredPrior((8, 8))(image, image, Conditions.of_examination(1, None, None, 0.22)), image)
    True
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128), depth: int = 1) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth

        def blocks(width: int) -> nn.Sequential:
            return nn.Sequential(*(_Block(width) for _ in range(depth)))

        self.stem = _Stem(4 * IMAGE_CHANNELS, widths[0], 3, padding=1)
        self.told = nn.Sequential(nn.Linear(SCALAR_CHANNELS, 64), nn.ReLU(), nn.Linear(64, sum(widths)))
        self.encoder = nn.ModuleList(blocks(width) for width in widths)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(pairs))
        self.merge = nn.ModuleList(_Merge(2 * a, a, 1) for a, _ in reversed(pairs))
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
            physics, images, numbers = features(lowdose, predose, conditions)
        return physics.highdose + self.addition(images, numbers)

    def addition(self, images: Tensor, numbers: Tensor) -> Tensor:
        """What is added to the anchor, (N, 1, H, W), from :func:`features`."""
        height, width = images.shape[-2:]
        bottom, right = -height % STRIDE, -width % STRIDE
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        told = self.told(numbers)[..., None, None].split(self.widths, dim=1)
        h = self.stem(images)
        skips = []
        for level, block in enumerate(self.encoder):
            if level:
                skips.append(h)
                h = _taken(self.down[level - 1], h)
            h = block(h.add_(told[level].to(h.dtype)).relu_())
        for up, merge, block in zip(self.up, self.merge, self.decoder, strict=True):
            h = block(merge(_taken(up, h), skips.pop()).relu_())
        return F.pixel_shuffle(self.head(h).float(), 2)[..., :height, :width]

    def rounded(self, precision: torch.dtype) -> AnchoredPrior:
        """A copy that computes in that precision at a quarter of the size and below.

        At half the size it is as it was: what is rounded there is seen in the last digits that count, and less than
        half is computed.
        """
        copied = copy.deepcopy(self)
        for layers in (copied.encoder[1:], copied.down, copied.up[:-1], copied.merge[:-1], copied.decoder[:-1]):
            layers.to(precision)
        return copied


def _taken(layer: nn.Module, h: Tensor) -> Tensor:
    """What a layer makes of an image, in the precision of the layer."""
    found: Tensor = layer(h.to(next(layer.parameters()).dtype))
    return found
