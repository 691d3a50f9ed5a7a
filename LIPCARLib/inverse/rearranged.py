"""The V-Net rearranged for a CPU: the same function of an image with half of the multiplications.

Nothing but the rounding of its numbers is changed:

- What stands before the first activation is affine, and so is what follows the last one. Each becomes one convolution
  at half the size, whose channels hold the four pixels of a square.
- Wide convolutions are Winograd's: 36 products instead of 144 for 4 x 4 pixels (Lavin & Gray, CVPR 2016).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .networks import VNet, pad_to_stride

WIDE = 96
"""Channels from which Winograd's way was faster than torch's own; with 48 it was slower (one core, AVX-512).

Only where its products are MKL's: OpenBLAS has threads of its own, which waited for torch's so that a step took up to
twenty times as long.
"""
TILE, SEEN = 4, 6
"""Pixels of a side that are found at once, and that they are found from."""
TO_PRODUCTS = torch.tensor(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0],
     [0, 4, 0, -5, 0, 1]], dtype=torch.float32
)  # fmt: skip
TO_KERNEL = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
TO_TILE = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float32
)
"""B^T, G and A^T of Winograd's F(4, 3): what the pixels and the kernel become before they are multiplied, and what is
made of the products, in one dimension."""
BORDERS = tuple(
    tuple((..., *(sides[::turn])) for sides in ((near, slice(None)), (outer, slice(None))))
    for near, outer in ((slice(None, 2), slice(None, 1)), (slice(-2, None), slice(-1, None)))
    for turn in (1, -1)
)
"""Top, left, bottom, right: the two outer rows or columns, and the outermost."""


class RearrangedVNet:
    """A frozen V-Net, as :class:`networks.VNet` and up to rounding equal to it; differentiable once, in the image.

    Args:
        network: on the CPU; what its weights are later is not looked at.

    >>> network, x = VNet(2, residual=True).requires_grad_(False), torch.rand(1, 2, 20, 30)
    >>> torch.allclose(RearrangedVNet(network)(x), network(x), atol=1e-5)
    True
    """

    def __init__(self, network: VNet) -> None:
        self._network: Any = network  # its parts are what torch's lists of modules do not tell
        self._first = _as_convolution(_FirstPart(network), 4 * network.in_channels + 1)
        self._last = _LastPart(network)
        self._encoder = [_Block(block) for block in network.encoder[1:]]
        self._decoder = [_Block(block) for block in network.decoder[:-1]]

    def __call__(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W), float32, to (N, 1, H, W), as the network."""
        network = self._network
        height, width = x.shape[-2:]
        x = pad_to_stride(x)
        squares = F.pixel_unshuffle(x, 2)
        h = torch.cat((squares, torch.ones_like(squares[:, :1])), dim=1).contiguous(memory_format=torch.channels_last)
        h = finest = network.encoder[0].activation(F.conv2d(h, *self._first, padding=1))
        # In squares, half the size is reached by a look at each.
        h = self._encoder[0](F.conv2d(h, network.down[0].weight.flatten(1)[..., None, None], network.down[0].bias))
        skips = []
        for down, block in zip(network.down[1:], self._encoder[1:], strict=True):
            skips.append(h)
            h = block(down(h))
        for up, block, skip in zip(network.up[:-1], self._decoder, reversed(skips), strict=True):
            h = block(torch.cat((up(h), skip), dim=1))
        h = F.pixel_shuffle(_Last.apply(torch.cat((h, finest), dim=1), self._last), 2)  # type: ignore[no-untyped-call]
        h = h + x[:, -1:] if network.residual else F.relu(h)
        answer: Tensor = h[..., :height, :width]
        return answer


class _FirstPart(nn.Module):
    """From the image in squares to what the first activation is given, in squares. The last channel is 1 inside of the
    image: what the stem adds ends there too."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem, self.convolutions = network.stem, network.encoder[0].convolutions

    def forward(self, squares: Tensor) -> Tensor:
        inside = squares[:, -1:].repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = F.conv2d(F.pixel_shuffle(squares[:, :-1], 2), self.stem.weight) + inside * self.stem.bias.view(1, -1, 1, 1)
        return F.pixel_unshuffle(h + self.convolutions(h), 2)


class _LastLayers(nn.Module):
    """From the last activation and the finest skip, side by side in squares, to what the head gives, in squares."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.up, self.convolutions, self.head = network.up[-1], network.decoder[-1].convolutions, network.head

    def forward(self, squares: Tensor) -> Tensor:
        coarse, skip = squares.split((self.up.in_channels, squares.shape[1] - self.up.in_channels), dim=1)
        h = torch.cat((self.up(coarse), F.pixel_shuffle(skip, 2)), dim=1)
        return F.pixel_unshuffle(self.head(h + self.convolutions(h)), 2)


@torch.no_grad()
def _as_convolution(part: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """Kernel, (out, channels, 3, 3), and bias of an affine map that looks one pixel far, from what it makes of points.

    In double precision: of a bias small differences are taken.
    """
    points = torch.zeros(channels + 1, channels, 5, 5, dtype=torch.float64)
    points[range(channels), range(channels), 2, 2] = 1
    answers = copy.deepcopy(part).double()(points)[..., 1:4, 1:4]
    kernel = (answers[:-1] - answers[-1]).flip(2, 3).transpose(0, 1)
    return kernel.float().contiguous(memory_format=torch.channels_last), answers[-1, :, 1, 1].float()


class _Block:
    """A block of the network: convolutions in a row, one skip around them all, an activation."""

    def __init__(self, block: Any) -> None:
        self._convolutions = [_Convolution(c.weight, c.bias) for c in block.convolutions]
        self._activation = block.activation

    def __call__(self, x: Tensor) -> Tensor:
        activated: Tensor = self._activation(_Skip.apply(x, self._convolutions))  # type: ignore[no-untyped-call]
        return activated


class _Convolution:
    """A frozen 3 x 3 convolution with zero padding, by the faster of two ways."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._wide = min(weight.shape[:2]) >= WIDE and torch.backends.mkl.is_available()

    def __call__(self, x: Tensor) -> Tensor:
        if self._wide:
            return _winograd(x, self._kernel, self._bias)
        return F.conv2d(x, self._weight, self._bias, padding=1)

    @cached_property
    def transposed(self) -> _Convolution:
        return _Convolution(_transposed(self._weight), torch.zeros(self._weight.shape[1]))

    @cached_property
    def _kernel(self) -> Tensor:
        """As Winograd's products need it, columns first, (36, in, out)."""
        both = torch.kron(TO_KERNEL, TO_KERNEL) @ self._weight.permute(3, 2, 1, 0).reshape(9, -1)
        return both.view(-1, *self._weight.shape[1::-1])


def _transposed(weight: Tensor) -> Tensor:
    """The kernel of the transposed convolution, itself a convolution with zero padding."""
    return weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _winograd(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The convolution of (N, C, H, W) whose kernel was transformed."""
    count, channels, height, width = x.shape
    down, across = -(-height // TILE), -(-width // TILE)
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1 + TILE * across - width, 1, 1 + TILE * down - height))
    rows = x.unfold(1, SEEN, TILE).permute(4, 0, 1, 2, 3)
    rows = (TO_PRODUCTS @ rows.reshape(SEEN, -1)).view(rows.shape)
    seen = rows.unfold(3, SEEN, TILE).permute(5, 0, 1, 2, 3, 4)  # columns first, then rows
    products = torch.bmm((TO_PRODUCTS @ seen.reshape(SEEN, -1)).view(SEEN**2, -1, channels), kernel)
    tiles = TO_TILE @ (TO_TILE @ products.view(SEEN, -1)).view(TILE, SEEN, -1)
    tiles = tiles.view(TILE, TILE, count, down, across, -1).permute(2, 3, 1, 4, 0, 5)
    y = torch.add(tiles, bias, out=x.new_empty(tiles.shape))
    return y.view(count, TILE * down, TILE * across, -1)[:, :height, :width].permute(0, 3, 1, 2)


class _Skip(torch.autograd.Function):
    """x + convolutions of x in a row. Its transpose is of the same kind, and needs nothing of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, convolutions: Sequence[_Convolution]) -> Tensor:
        ctx.convolutions = convolutions
        return _with_skip(x, convolutions)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _with_skip(gradient, [c.transposed for c in reversed(ctx.convolutions)]), None


def _with_skip(x: Tensor, convolutions: Sequence[_Convolution]) -> Tensor:
    h = x
    for convolution in convolutions:
        h = convolution(h)
    return h.add_(x)


class _LastPart:
    """What :class:`_LastLayers` does: inside, one convolution; at the borders, where padding comes between, themselves.

    Both take squares; at the borders two of them from each side, of which the outer one comes out right.
    """

    def __init__(self, network: Any) -> None:
        self._layers = _LastLayers(network)
        self._kernel, self._bias = _as_convolution(
            self._layers, network.up[-1].in_channels + 4 * network.stem.out_channels
        )
        self._convolutions = [_Convolution(c.weight, c.bias) for c in self._layers.convolutions]

    def __call__(self, squares: Tensor) -> Tensor:
        answer = F.conv2d(squares, self._kernel, self._bias, padding=1)
        for near, outer in BORDERS:
            answer[outer] = self._layers(squares[near])[outer]
        return answer

    def transposed(self, gradient: Tensor) -> Tensor:
        """Of the squares, from the gradient of the answer."""
        inside, rest = gradient.clone(), gradient.clone()
        for _, outer in BORDERS:
            inside[outer] = 0
        found = F.conv2d(inside, self._transposed_kernel, padding=1)
        for near, outer in BORDERS:
            at_border = torch.zeros_like(rest[near])
            at_border[outer] = rest[outer]
            found[near] += self._layers_transposed(at_border)
            rest[outer] = 0  # corners lie in two borders
        return found

    @cached_property
    def _transposed_kernel(self) -> Tensor:
        return _transposed(self._kernel)

    def _layers_transposed(self, gradient: Tensor) -> Tensor:
        up: Any = self._layers.up
        h = F.conv_transpose2d(F.pixel_shuffle(gradient, 2), self._layers.head.weight)
        h = _with_skip(h, [c.transposed for c in reversed(self._convolutions)])
        coarse = F.conv2d(h[:, : up.out_channels], up.weight, stride=2)
        return torch.cat((coarse, F.pixel_unshuffle(h[:, up.out_channels :], 2)), dim=1)


class _Last(torch.autograd.Function):
    """What :class:`_LastPart` computes, differentiable."""

    @staticmethod
    def forward(ctx: Any, squares: Tensor, part: _LastPart) -> Tensor:
        ctx.part = part
        return part(squares)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.part.transposed(gradient), None
