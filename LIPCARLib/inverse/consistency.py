"""Where a result does not explain the low-dose image that was measured."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..doubt import Doubt
from .denoising import body

SIDE = 5
"""Pixels a side of the neighborhoods over which noise is averaged."""
DEVIATIONS = 3.0
"""Standard deviations of such an average that are noise."""
EQUATION_ERROR = 0.02
"""Model scale: what the signal equation may be off by where T10 is not the one assumed."""
NOTICEABLE = 0.02
"""Share of the body from which on the user is told."""


def unexplained(residual: Tensor, lowdose: Tensor, sigma: float, floor: float) -> Tensor:
    """How much of the body F(x) - x_L is more in than noise and the equation's own error explain, (N,), 0 to 1.

    Args:
        residual: F(x) - x_L, (N, 1, H, W), model scale.
        lowdose: x_L, of the same shape.
        sigma: standard deviation of its noise.
        floor: its noise floor; see `denoising.body`.

    >>> import torch
    >>> image, sigma = torch.full((1, 1, 20, 20), 0.4), 0.02
    >>> unexplained(0.01 * image, image, sigma, floor=0.02).item(), unexplained(image, image, sigma, floor=0.02).item()
    (0.0, 1.0)
    """
    inside = body(lowdose, floor)
    average = F.avg_pool2d(residual, SIDE, stride=1, padding=SIDE // 2, count_include_pad=False).abs()
    limit = DEVIATIONS * sigma / SIDE + EQUATION_ERROR
    beyond = (average > limit) & inside
    return beyond.flatten(1).sum(1) / inside.flatten(1).sum(1).clamp_min(1)


def words(shares: list[float], first: int) -> tuple[str, ...]:
    """A sentence for the user where the shares of some slices, the first of them number `first`, are noticeable.

    >>> words([0.0, 0.01], first=1)
    ()
    >>> words([0.0, 0.05], first=1)[0][:55]
    'In 5 % of the body of slice 2 the result says something'
    """
    worst = max(range(len(shares)), key=shares.__getitem__)
    if shares[worst] < NOTICEABLE:
        return ()
    others = sum(share >= NOTICEABLE for share in shares) - 1
    more = f" (and in {others} more)" if others else ""
    sentence = (
        f"In {100 * shares[worst]:.0f} % of the body of slice {first + worst}{more} the result says something else "
        "than the low-dose image that was measured: the network departs from the signal equation there. "
        "Compare it with the model 'signal'."
    )
    return (Doubt(sentence),)
