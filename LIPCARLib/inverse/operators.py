"""Forward operators as they are compared with a measured low-dose image: learned, or by the signal equation.

Every function here that returns a ForwardOperator, and every one in the library that predicts from `highdose`, is found
and tested by Testing/inverse/test_operators.py.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..physics import Acquisition, SignalCurve, lowdose_of, signal_curve

ForwardOperator = Callable[[Tensor, Tensor | None], Tensor]
"""From images (N, 1, H, W) and what else it looks at, (N, C, H, W) (the learned one: the pre-dose images) or None, to
low-dose images F(x), (N, 1, H, W), model scale."""


def with_noise_floor(forward_operator: ForwardOperator, floor: float) -> ForwardOperator:
    """sqrt(F(x)^2 + floor^2): what a magnitude image shows where F predicts the signal without noise.

    The second moment of Rician noise is S^2 + 2 sigma^2, and the background of an image shows sqrt(2) sigma. Without
    this the data term takes the noise in air for signal and lifts the air of the result.

    Args:
        forward_operator: F.
        floor: in model scale, at least 0; 0 leaves F as it is.

    >>> import torch
    >>> seen = with_noise_floor(lambda highdose, predose: highdose, floor=3.0)
    >>> seen(torch.full((1, 1, 1, 1), 4.0), None).item()
    5.0
    """
    if floor == 0:
        return forward_operator

    def seen(highdose: Tensor, images: Tensor | None) -> Tensor:
        return (forward_operator(highdose, images).square() + floor**2).sqrt()

    return seen


def by_acquisition(acquisition: Acquisition | SignalCurve, fraction: float) -> ForwardOperator:
    """The signal equation of an acquisition (`physics.lowdose_of`), looking at x_P and its headroom M, (N, 2, H, W).

    Args:
        acquisition: of the images; or its curve.
        fraction: low dose over full dose, above 0, at most 1.

    x, x_P and M show the noise floor as x_L does: there is none to add.

    >>> import torch
    >>> predose, full = torch.full((1, 1, 4, 4), 0.4), torch.full((1, 1, 4, 4), 1.5)
    >>> seen = by_acquisition(Acquisition.assumed(), 0.2)(predose, torch.cat((predose, full), dim=1))
    >>> torch.allclose(seen, predose)  # no agent, no change
    True
    """
    curve = signal_curve(acquisition) if isinstance(acquisition, Acquisition) else acquisition

    def equation(highdose: Tensor, images: Tensor | None) -> Tensor:
        if images is None:
            raise TypeError("the signal equation looks at a pre-dose image and its headroom; None was given")
        return lowdose_of(highdose, images[:, :1], images[:, 1:], fraction, curve)

    return equation
