"""The V-Net rearranged for a CPU: the same function of an image with half of the multiplications.

Nothing but the rounding of its numbers is changed:

- What stands before the first activation is affine, and so is what follows the last one. Each becomes one convolution
  at half the size, whose channels hold the four pixels of a square.
- Wide convolutions are Winograd's: 36 products instead of 144 for 4 x 4 pixels (Lavin & Gray, CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .networks import VNet, pad_to_stride

WIDE = 96
"""Channels from which Winograd's way was faster than torch's own; with 48 it was slower (one core, AVX-512)."""
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
RIM = 2
"""Pixels at each border, of either size, where the last part is not the one convolution that it is inside."""
BORDERS = tuple(
    (..., *sides) for rim in (slice(None, RIM), slice(-RIM, None)) for sides in ((rim, slice(None)), (slice(None), rim))
)


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
        with torch.no_grad():
            self._first = _as_convolution(self._before_activation, 4 * network.in_channels + 1)
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
        h = _Last.apply(torch.cat((h, finest), dim=1), self._last)  # type: ignore[no-untyped-call]
        h = h + x[:, -1:] if network.residual else F.relu(h)
        answer: Tensor = h[..., :height, :width]
        return answer

    def _before_activation(self, squares: Tensor) -> Tensor:
        """What the first activation is given. The last channel is 1 inside of the image: the stem's constant ends there
        too, before the padding of what follows."""
        stem, block = self._network.stem, self._network.encoder[0]
        inside = squares[:, -1:].repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = F.conv2d(F.pixel_shuffle(squares[:, :-1], 2), stem.weight) + inside * stem.bias.view(1, -1, 1, 1)
        return F.pixel_unshuffle(h + block.convolutions(h), 2)


def _as_convolution(part: Callable[[Tensor], Tensor], channels: int) -> tuple[Tensor, Tensor]:
    """Kernel, (out, channels, 3, 3), and bias of an affine map that looks one pixel far, from what it makes of points.

    Its answers are looked at inside only.
    """
    points = torch.zeros(channels + 1, channels, 7, 7)
    points[range(channels), range(channels), 3, 3] = 1
    answers = part(points)
    kernel = (answers[:-1] - answers[-1])[..., 2:5, 2:5].flip(2, 3).transpose(0, 1)
    return kernel.contiguous(memory_format=torch.channels_last), answers[-1, :, 3, 3].clone()


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
        self._wide = min(weight.shape[:2]) >= WIDE

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
    """From the last activation and the finest skip, side by side at half the size, to what the head gives.

    Inside, one convolution; at the borders, where padding comes between, the network's own layers.
    """

    def __init__(self, network: Any) -> None:
        self._up, self._head = network.up[-1], network.head
        self._convolutions = [_Convolution(c.weight, c.bias) for c in network.decoder[-1].convolutions]
        self._coarse: int = self._up.in_channels
        self._kernel, self._bias = _as_convolution(
            lambda squares: F.pixel_unshuffle(self._layers(squares), 2), self._coarse + 4 * network.stem.out_channels
        )

    def __call__(self, squares: Tensor) -> Tensor:
        answer = F.pixel_shuffle(F.conv2d(squares, self._kernel, self._bias, padding=1), 2)
        for border in BORDERS:
            answer[border] = self._layers(squares[border])[border]
        return answer

    def transposed(self, gradient: Tensor) -> Tensor:
        """Of the squares, from the gradient of the answer."""
        inside, rest = gradient.clone(), gradient.clone()
        for border in BORDERS:
            inside[border] = 0
        found = F.conv2d(F.pixel_unshuffle(inside, 2), self._transposed_kernel, padding=1)
        for border in BORDERS:
            at_border = torch.zeros_like(F.pixel_shuffle(found[border][:, :4], 2))
            at_border[border] = rest[border]
            found[border] += self._layers_transposed(at_border)
            rest[border] = 0  # corners lie in two borders
        return found

    @cached_property
    def _transposed_kernel(self) -> Tensor:
        return _transposed(self._kernel)

    def _layers(self, squares: Tensor) -> Tensor:
        coarse, skip = squares[:, : self._coarse], F.pixel_shuffle(squares[:, self._coarse :], 2)
        answer: Tensor = self._head(_with_skip(torch.cat((self._up(coarse), skip), dim=1), self._convolutions))
        return answer

    def _layers_transposed(self, gradient: Tensor) -> Tensor:
        h = F.conv_transpose2d(gradient, self._head.weight)
        h = _with_skip(h, [c.transposed for c in reversed(self._convolutions)])
        coarse = F.conv2d(h[:, : self._up.out_channels], self._up.weight, stride=2)
        return torch.cat((coarse, F.pixel_unshuffle(h[:, self._up.out_channels :], 2)), dim=1)


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
