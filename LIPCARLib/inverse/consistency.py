"""How far F(x) may be from the low-dose image that was measured, and where it is farther."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..doubt import Doubt
from .denoising import body

SIDE = 5
"""Pixels a side of the neighborhoods over which noise is averaged."""
RELATIVE_ERROR = 0.2
"""Standard deviation of the equation's error as a share of the enhancement: T10, dose and sequence are not known
better."""
DEVIATIONS = 4.0
"""Standard deviations that neither noise nor the equation's error explain: of ten thousand neighborhoods, as many as an
examination has, chance lets less than one be so far off."""
NOTICEABLE = 0.02
"""Share of the body from which on the user is told."""


def averaged(image: Tensor, side: int = SIDE) -> Tensor:
    """The mean over side x side pixels, an odd number, (N, 1, H, W); at the edges over those that there are.

    >>> import torch
    >>> torch.allclose(averaged(torch.full((1, 1, 9, 9), 0.4)), torch.tensor(0.4))
    True
    """
    return F.avg_pool2d(image, side, stride=1, padding=side // 2, count_include_pad=False)


def standardized(predicted: Tensor, lowdose: Tensor, predose: Tensor, sigma: float) -> Tensor:
    """F(x) - x_L, averaged over a neighborhood, in its expected standard deviations, (N, 1, H, W).

    What is expected: the noise of the average, and RELATIVE_ERROR of the enhancement that F(x) and x_L have in common.
    Where one of them has none, F's error is no excuse.

    Args:
        predicted: F(x), (N, 1, H, W), model scale.
        lowdose: x_L, of the same shape.
        predose: x_P, of the same shape, aligned; x_L itself where there is none.
        sigma: standard deviation of the noise of x_L.

    >>> import torch
    >>> image = torch.full((1, 1, 9, 9), 0.4)
    >>> standardized(image + 0.02, image, image, sigma=0.025).mean().round(decimals=2)
    tensor(4.)
    """
    found, measured, before = (averaged(image) for image in (predicted, lowdose, predose))
    shared = ((found - before).abs()).minimum((measured - before).abs())
    expected = ((sigma / SIDE) ** 2 + (RELATIVE_ERROR * shared) ** 2).sqrt()
    return (found - measured) / expected.clamp_min(1e-6)


def unexplained(deviations: Tensor, lowdose: Tensor, floor: float) -> Tensor:
    """How much of the body F(x) - x_L is more in than noise and F's own error explain, (N,), 0 to 1.

    Args:
        deviations: as :func:`standardized` has them.
        lowdose: x_L, of the same shape, model scale.
        floor: its noise floor; see `denoising.body`.

    >>> import torch
    >>> image = torch.full((1, 1, 20, 20), 0.4)
    >>> unexplained(2 * image, image, floor=0.02).item(), unexplained(20 * image, image, floor=0.02).item()
    (0.0, 1.0)
    """
    inside = body(lowdose, floor)
    beyond = (deviations.abs() > DEVIATIONS) & inside
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
