"""Forward operators as they are compared with a measured low-dose image: learned, by the signal equation, or both.

Every function here that returns a ForwardOperator, and every one in the library that predicts from `highdose`, is found
and tested by Testing/inverse/test_operators.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..imaging import Examination
from ..physics import signal_equation
from .model import Model

ForwardOperator = Callable[[Tensor, Tensor | None], Tensor]
"""From images (N, 1, H, W) and what else it looks at, (N, C, H, W) (the learned one: the pre-dose images) or None, to
low-dose images F(x), (N, 1, H, W), model scale. Several channels are the opinions of several operators."""


def with_noise_floor(forward_operator: ForwardOperator, floor: float) -> ForwardOperator:
    """sqrt(F(x)^2 + floor^2): what a magnitude image shows where F predicts the signal without noise.

    The second moment of Rician noise is S^2 + 2 sigma^2, and the background of an image shows sqrt(2) sigma. Without
    this the data term takes the noise in air for signal and lifts the air of the result.

    Args:
        forward_operator: F.
        floor: in model scale, at least 0; 0 leaves F as it is.

    >>> seen = with_noise_floor(lambda highdose, predose: highdose, floor=3.0)
    >>> seen(torch.full((1, 1, 1, 1), 4.0), None).item()
    5.0
    """
    if floor == 0:
        return forward_operator

    def seen(highdose: Tensor, images: Tensor | None) -> Tensor:
        return (forward_operator(highdose, images).square() + floor**2).sqrt()

    return seen


def operator_for(model: Model, examination: Examination) -> tuple[ForwardOperator, float]:
    """The model's forward operator as it is compared with the examination's low-dose image, and the floor it was given.

    The floor is in model scale, 0 where F was trained to show the noise in air itself.

    >>> from LIPCARLib.inverse import load_model
    >>> from LIPCARLib.resources import RESOURCES
    >>> examination = Examination.read(RESOURCES / "SampleData" / "rat-lowdose.nrrd")
    >>> forward_operator, floor = operator_for(load_model("vnet-lowdose"), examination)
    >>> forward_operator(torch.zeros(1, 1, 16, 16), None).shape, 0 <= floor < 0.2
    (torch.Size([1, 1, 16, 16]), True)
    """
    floor = examination.noise_floor / examination.scale if model.predicts_noise_free else 0.0
    return with_noise_floor(model.forward_operator, floor), floor


def by_signal_equation(floor: float) -> ForwardOperator:
    """The signal equation with the noise floor, looking at two images: x_P and its equilibrium signal M, (N, 2, H, W).

    Args:
        floor: in model scale.

    >>> predose, equilibrium = torch.full((1, 1, 4, 4), 0.4), torch.full((1, 1, 4, 4), 1.5)
    >>> seen = by_signal_equation(0.0)(predose, torch.cat((predose, equilibrium), dim=1))
    >>> torch.allclose(seen, predose)  # no agent, no change
    True
    """

    def equation(highdose: Tensor, images: Tensor | None) -> Tensor:
        if images is None:
            raise TypeError("the signal equation looks at a pre-dose image and its equilibrium signal; None was given")
        return signal_equation(highdose, images[:, :1], images[:, 1:])

    return with_noise_floor(equation, floor)


def side_by_side(first: ForwardOperator, second: ForwardOperator, channels: int) -> ForwardOperator:
    """Two operators as one of two channels, (N, 2, H, W); the first looks at so many images, the second at the rest.

    >>> both = side_by_side(lambda x, images: x, lambda x, images: images[:, :1], channels=1)
    >>> both(torch.zeros(1, 1, 1, 1), torch.ones(1, 2, 1, 1)).flatten()
    tensor([0., 1.])
    """

    def both(highdose: Tensor, images: Tensor | None) -> Tensor:
        if images is None:
            raise TypeError("two operators side by side look at images; None was given")
        return torch.cat((first(highdose, images[:, :channels]), second(highdose, images[:, channels:])), dim=1)

    return both
