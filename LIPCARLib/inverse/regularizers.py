"""Regularizers of the inverse problem: their value per slice and their proximal map.

To add one, write a class here that is built from the reference and has what :class:`Regularizer` asks for; a Huber
version of GenTV is a subclass with another `value`, `_shrink` and `_gap` (Testing/inverse/test_operators.py has it).
Nothing has to be registered: that test finds every class of this file and checks its value, gradient and proximal map.
To solve with it, hand it to `solvers.Objective`.
"""

from __future__ import annotations

import copy
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTHING = 1e-8
"""Added under the square root of the total variation (authors' code), so that Adam has a gradient everywhere."""
MOMENTUM = 4.0
"""Of a cold start: the dual method converges from any number from 1 on; twelve iterations then do what fourteen did."""
LOOKED_AT = 5
"""Iterations of the dual method between two looks at how exact it is; a look costs about one."""


class Regularizer(Protocol):
    """What a solver asks of a regularizer R, a convex function of each slice that is least at its reference.

    >>> regularizer: Regularizer = GenTV(torch.zeros(1, 1, 8, 8))
    >>> regularizer.value(torch.ones(1, 1, 8, 8)).shape
    torch.Size([1])
    """

    def __getitem__(self, slices: Tensor) -> Regularizer:
        """The same for some slices of the batch, chosen by an index or boolean tensor."""

    def value(self, x: Tensor) -> Tensor:
        """R(x) per slice, (N,), for x of shape (N, 1, H, W). Differentiable."""

    def prox(self, x: Tensor, weight: float | Tensor, lower: float | None = None, iterations: int = 500) -> Tensor:
        """argmin over u >= lower of  1/2 ||u - x||^2 + weight R(u), (N, 1, H, W)."""

    def cold_dual(self, x: Tensor) -> Tensor:
        """What :meth:`prox_from` starts from when nothing better is known; slices lie along the second axis."""

    def prox_from(
        self,
        x: Tensor,
        weight: float | Tensor,
        dual: Tensor,
        lower: float | None = None,
        iterations: int = 20,
        gap: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`prox` started from an earlier call's dual, and the new dual.

        A slice needs no more iterations where what it minimizes is less than its `gap`, (N,), above the minimum.
        """


class GenTV:
    """Generalized total variation: the isotropic total variation of x - reference (paper, equation 9).

        R(x) = sum over pixels of sqrt(dx^2 + dy^2 + 1e-8),   (dx, dy) = forward differences of d = x - reference

    with zero difference across the last row and column. It leaves the reference's own edges free and asks the
    correction to be piecewise constant. A constant costs nothing, unless the correction has a support.

    Args:
        reference: (N, 1, H, W), the prior's image xbar in model scale.
        support: (N, 1, H, W) boolean, where a correction is allowed: x equals the reference elsewhere, which is a
            constraint like x >= 0 and handled by the proximal map. None for everywhere.

    >>> reference = torch.zeros(1, 1, 16, 16)
    >>> step = reference.clone()
    >>> step[..., 8:] = 0.5
    >>> regularizer = GenTV(reference)
    >>> round(regularizer.value(step).item(), 1)  # its height times its length
    8.0
    >>> regularizer.prox(step, weight=0.4)[0, 0, 0, [0, -1]]  # flatter by weight / 8 columns on both sides
    tensor([0.0500, 0.4500])
    """

    def __init__(self, reference: Tensor, support: Tensor | None = None) -> None:
        self.reference = reference
        self.support = support

    def __getitem__(self, slices: Tensor) -> GenTV:
        """The same regularizer for some slices of the batch, chosen by an index or boolean tensor."""
        part = copy.copy(self)
        part.reference = self.reference[slices]
        part.support = None if self.support is None else self.support[slices]
        return part

    def value(self, x: Tensor) -> Tensor:
        """R(x) per slice, (N,), for x of shape (N, 1, H, W). Differentiable."""
        dx, dy = _differences(x - self.reference)
        return (dx**2 + dy**2 + SMOOTHING).sqrt().flatten(1).sum(1)

    def prox(self, x: Tensor, weight: float | Tensor, lower: float | None = None, iterations: int = 500) -> Tensor:
        """argmin over u >= lower of  1/2 ||u - x||^2 + weight TV(u - reference),  (N, 1, H, W).

        Off the support u is the reference. TV is R without its smoothing term, which moves the minimizer by less than
        1e-3 rms (Testing/inverse/test_regularizers.py).

        Args:
            x: (N, 1, H, W).
            weight: step length times alpha; a number or one value per slice, (N,). Zero gives the projection.
            lower: the bound on u, usually 0; None for none.
            iterations: of the dual method; none of them calls a network.
        """
        return self.prox_from(x, weight, self.cold_dual(x), lower, iterations, momentum=MOMENTUM)[0]

    def cold_dual(self, x: Tensor) -> Tensor:
        """The dual variable to start :meth:`prox_from` with when nothing better is known, (2, N, 1, H, W)."""
        return x.new_zeros((2, *x.shape))

    @torch.no_grad()
    def prox_from(
        self,
        x: Tensor,
        weight: float | Tensor,
        dual: Tensor,
        lower: float | None = None,
        iterations: int = 20,
        gap: Tensor | None = None,
        momentum: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`prox` started from the dual of an earlier, similar call; returns the image and the new dual.

        Fast gradient projection on the dual (Beck & Teboulle, IEEE Trans. Image Process. 18(11), 2009), with the
        constraints inside, on d = u - reference:  d(p) = max(x - reference - grad^T p, lower - reference), 0 off the
        support, |p| <= weight at every pixel. Slices never mix, so a batch gives what its slices give alone. The dual
        carries the weight, so the ascent step is 1/8 whatever the weight, and all work is done in place: on a CPU this
        loop is bound by memory. With a `gap` a slice is as it was when its duality gap was first seen below it, which
        bounds how far it is from the minimum; the others go on.
        """
        weight = torch.as_tensor(weight, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
        shifted = (x - self.reference).contiguous()
        floor = None if lower is None else lower - self.reference
        support = None if self.support is None else self.support.to(x.dtype)
        p, previous = (_Dual(dual.clone(memory_format=torch.contiguous_format)) for _ in range(2))
        d, length = _Image(torch.empty_like(shifted)), torch.empty_like(shifted)
        settled, done = previous.pair, torch.zeros_like(weight, dtype=torch.bool)
        for iteration in range(1, iterations + 1):
            _primal(shifted, p, floor, support, out=d)
            _add_differences(p, d, 1 / 8)  # 8 bounds the squared norm of the difference operator
            self._shrink(p.pair, weight, length)
            faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            # `previous` becomes the extrapolated point and the two swap roles, which saves a buffer.
            previous.pair.lerp_(p.pair, 1 + (momentum - 1) / faster)
            previous, p, momentum = p, previous, faster
            if gap is not None and iteration % LOOKED_AT == 0:
                _primal(shifted, previous, floor, support, out=d)
                exact = (self._gap(previous.pair, d.image, weight) <= gap).view(-1, 1, 1, 1)
                settled, done = torch.where(exact & ~done, previous.pair, settled), done | exact
                if bool(done.all()):
                    break
        if gap is not None:
            previous = _Dual(torch.where(done, settled, previous.pair))
        return _primal(shifted, previous, floor, support, out=d) + self.reference, previous.pair

    def _gap(self, p: Tensor, d: Tensor, weight: Tensor) -> Tensor:
        """What the primal objective is above the dual one, (N,), at d = d(p): weight R(d) - <p, grad d>."""
        dx, dy = _differences(d)
        return (weight * (dx**2 + dy**2).sqrt() - p[0] * dx - p[1] * dy).flatten(1).sum(1)

    def _shrink(self, p: Tensor, weight: Tensor, length: Tensor) -> None:
        """The dual's proximal step of 1/8, in place: of TV, every pixel's pair into the disk of radius `weight`.

        Args:
            p: (2, N, 1, H, W).
            weight: (N, 1, 1, 1).
            length: a buffer, (N, 1, H, W).
        """
        # Not linalg.vector_norm, which is slow over so short an axis on a CPU; a root and a division take longer too.
        least = weight.square().clamp_min(torch.finfo(p.dtype).tiny)
        along_x, along_y = p
        torch.mul(along_x, along_x, out=length).addcmul_(along_y, along_y)
        p.mul_(torch.maximum(length, least, out=length).rsqrt_().mul_(weight))


def _differences(d: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences along width and height, zero behind the last column and row."""
    return F.pad(torch.diff(d, dim=-1), (0, 1)), F.pad(torch.diff(d, dim=-2), (0, 0, 0, 1))


class _Image:
    """An image, (N, 1, H, W), and views of it from the second pixel and from the second row on."""

    def __init__(self, image: Tensor) -> None:
        pixels = image.view(-1)
        self.image, self.next = image, (pixels[1:], pixels[image.shape[-1] :])


class _Dual:
    """A dual variable, (2, N, 1, H, W), zero in its last column or row, where there is no difference.

    That is also the border of the next row or slice: neighbors are found by one shift of all pixels in memory, which a
    CPU is quickest with. The views are made once, since the loop is short.
    """

    def __init__(self, pair: Tensor) -> None:
        along_x, along_y = pair.view(2, -1)
        self.pair, (self.x, self.y) = pair, pair
        self.here = along_x[:-1], along_y[: -pair.shape[-1]]
        self.border = self.x[..., -1], self.y[..., -1, :]
        self.close()

    def close(self) -> None:
        for border in self.border:
            border.zero_()


def _add_differences(p: _Dual, d: _Image, factor: float) -> None:
    """p += factor * grad d, in place."""
    p.pair.sub_(d.image, alpha=factor)
    for here, following in zip(p.here, d.next, strict=True):
        here.add_(following, alpha=factor)
    p.close()


def _primal(shifted: Tensor, p: _Dual, floor: Tensor | None, support: Tensor | None, out: _Image) -> Tensor:
    """max(shifted - grad^T p, floor), 0 off the support, into `out`."""
    d = torch.add(shifted, p.x, out=out.image).add_(p.y)
    for here, following in zip(p.here, out.next, strict=True):
        following.sub_(here)
    if floor is not None:
        torch.maximum(d, floor, out=d)
    return d if support is None else d.mul_(support)
