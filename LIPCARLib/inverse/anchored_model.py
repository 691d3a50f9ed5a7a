"""Anchored models: the signal equation as prior and forward operator, and what a network adds to the prior, if any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from .anchor import Anchor, anchor
from .auto import prior_as_it_is
from .conditions import Conditions
from .evidence import body
from .operators import by_acquisition
from .session import Model, Rule, Session, Slices


class AnchoredNetwork(Protocol):
    """A torch module whose output is the anchor and what it adds to that.

    >>> AnchoredNetwork.__name__
    'AnchoredNetwork'
    """

    @property
    def architecture(self) -> dict[str, Any]:
        """What a manifest needs to build it again: the class name and the constructor's arguments."""

    def __call__(self, lowdose: Tensor, predose: Tensor, conditions: Conditions) -> Tensor:
        """x_H of x_L and x_P, (N, 1, H, W), model scale."""


class AnchoredModel(Model):
    """Prior = anchor (the closed form on denoised images) + what a network adds; F = the signal equation.

    The equation is that of the acquisition, told or assumed, through the pre-dose image. Without a network nothing was
    trained: that is the shipped model `signal`.

    Args:
        network: None for the closed form alone.
        manifest: the content of manifest.json.

    >>> from LIPCARLib.inverse import load_model
    >>> image = torch.full((1, 1, 16, 16), 0.4)
    >>> untold = Conditions.of_examination(1, None, None, assumed_fraction=0.22)
    >>> slices = Slices(lowdose=image, predose=image, aligned=image, sigma=0.02, conditions=untold)
    >>> torch.allclose(load_model("signal").session(slices).prior, image)  # no agent, no change
    True
    """

    family = "anchored"
    uses_predose = True
    uses_acquisition = True

    def __init__(self, network: AnchoredNetwork | None, manifest: Mapping[str, Any]) -> None:
        super().__init__(manifest)
        self._network = network
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def session(self, slices: Slices) -> Session:
        predose, told = self._needed(slices.aligned), slices.conditions
        with torch.no_grad():
            physics = anchored_by(slices.lowdose, predose, told)
            found = physics.highdose
            if self._network is not None:
                # In air there is nothing to add; what a network adds there was hardly weighed in its training.
                inside = body(slices.lowdose, slices.floor)
                found = torch.where(inside, self._network(slices.lowdose, predose, told), found)
        return Session(
            lowdose=slices.lowdose,
            predose=torch.cat((physics.predose, physics.headroom), dim=1),
            aligned=None if slices.doubtful else predose,
            gain=slices.gain,
            sigma=slices.sigma,
            floor=slices.floor,
            prior=found.clamp_min(0),
            # Prior and pre-dose image show the noise floor as x_L does: F needs none.
            forward_operator=by_acquisition(told.acquisitions[0], float(told.dose_fraction[0])),
            card=self.manifest,
        )

    @property
    def rule(self) -> Rule:
        return prior_as_it_is


def anchored_by(lowdose: Tensor, predose: Tensor, conditions: Conditions) -> Anchor:
    """The anchor of slices that were acquired alike, by what is told or assumed of them.

    >>> image = torch.full((1, 1, 16, 16), 0.4)
    >>> untold = Conditions.of_examination(1, None, None, assumed_fraction=0.22)
    >>> torch.allclose(anchored_by(image, image, untold).highdose, image)
    True
    """
    return anchor(lowdose, predose, conditions.dose_fraction, conditions.acquisitions[0], conditions.native)
