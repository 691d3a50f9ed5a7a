"""The V-Net of the paper and its variants: image-to-image networks on batches of 2-D slices."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 16
"""Four halvings: sides are padded to a multiple of this inside the network and cropped back."""


class SmoothLeakyReLU(nn.Module):
    """0.2 x + 0.8 x sigmoid(x): the shape of LeakyReLU(0.2) without its kink, so that F is differentiable.

    Any shape to the same.

    >>> SmoothLeakyReLU()(torch.tensor([-100.0, 0.0, 100.0]))
    tensor([-20.,   0., 100.])
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(F.silu(x), x, alpha=0.25) * 0.8


class _Block(nn.Module):
    """3x3 convolutions in a row with one skip around them all; no activation in between."""

    def __init__(self, width: int, convolutions: int, activation: nn.Module) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(convolutions)))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.activation(x + self.convolutions(x))
        return activated


class VNet(nn.Module):
    """The network that plays both the prior and the forward operator.

    Architecture: the V-Net of Bone et al. (ISBI 2021) as used by LIP-CAR, section 2.2. No normalization layers, no
    dropout, every convolution with a bias, base width 12. 2,836,729 parameters with one input channel and
    2,836,741 with two.

    Args:
        in_channels: 1 for the image alone, 2 for (pre-dose, image) in that order.
        residual: add the last input channel to the output instead of ending in a ReLU. The network then learns
            the change that the agent makes, and a dead output unit cannot blank the image.
        smooth: a differentiable activation in place of LeakyReLU(0.2).

    Shapes:
        (N, in_channels, H, W) -> (N, 1, H, W), any H and W >= 1, values in model scale (tissue near 0.5).

    Raises:
        ValueError: the input has another number of dimensions or channels.

    >>> network = VNet(2, residual=True)
    >>> network(torch.zeros(3, 2, 20, 30)).shape
    torch.Size([3, 1, 20, 30])
    """

    def __init__(self, in_channels: int, *, residual: bool = False, smooth: bool = False) -> None:
        super().__init__()
        self.in_channels, self.residual, self.smooth = in_channels, residual, smooth
        widths = (12, 24, 48, 96, 192)

        def activation() -> nn.Module:
            return SmoothLeakyReLU() if smooth else nn.LeakyReLU(0.2)

        self.stem = nn.Conv2d(in_channels, widths[0], 1)
        self.encoder = nn.ModuleList([_Block(widths[0], 1, activation())])
        self.down = nn.ModuleList()
        for width, wider, convolutions in zip(widths, widths[1:], (2, 3, 3, 3), strict=False):
            self.down.append(nn.Conv2d(width, wider, 2, stride=2))
            self.encoder.append(_Block(wider, convolutions, activation()))
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        coarse = widths[-1]
        for width, convolutions in zip(widths[-2::-1], (3, 3, 2, 2), strict=True):
            last = width == widths[0]
            self.up.append(nn.ConvTranspose2d(coarse, width, 2, stride=2))
            self.decoder.append(_Block(2 * width, convolutions, nn.Identity() if last else activation()))
            coarse = 2 * width
        self.head = nn.Conv2d(coarse, 1, 1)

    @property
    def architecture(self) -> dict[str, int | bool | str]:
        """What a manifest needs to build this network again: the class name and the constructor's arguments."""
        return {
            "class": "VNet",
            "in_channels": self.in_channels,
            "residual": self.residual,
            "smooth": self.smooth,
        }

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(f"expected a (N, {self.in_channels}, H, W) tensor, got {tuple(x.shape)}")
        height, width = x.shape[-2:]
        x = pad_to_stride(x)
        image = x[:, -1:]
        h = self.encoder[0](self.stem(x))
        skips = []
        for down, block in zip(self.down, self.encoder[1:], strict=True):
            skips.append(h)
            h = block(down(h))
        for up, block, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            h = block(torch.cat((up(h), skip), dim=1))
        h = self.head(h)
        h = h + image if self.residual else F.relu(h)
        return h[..., :height, :width]


def pad_to_stride(x: Tensor) -> Tensor:
    """Edge values repeated at the far sides: defined for any size, and no step at a border where tissue is cut.

    (N, C, H, W), any H and W, to multiples of STRIDE.

    >>> pad_to_stride(torch.zeros(1, 2, 20, 32)).shape
    torch.Size([1, 2, 32, 32])
    """
    bottom, right = -x.shape[-2] % STRIDE, -x.shape[-1] % STRIDE
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
