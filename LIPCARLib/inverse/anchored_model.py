"""Anchored models: the signal equation as prior and forward operator, and what a network adds to the prior, if any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from .alpha import ALPHA
from .anchor import anchor
from .anchored import features
from .denoising import body
from .operators import by_acquisition
from .session import Model, Session, Slices

AGREEMENT = 2e-4
"""Share of an image's range that another precision may change where it is looked at; elsewhere it changes by up to
three times as much. bfloat16 changed the sample by 5e-5."""


class AnchoredNetwork(Protocol):
    """A torch module that says what to add to the anchor.

    >>> AnchoredNetwork.__name__
    'AnchoredNetwork'
    """

    @property
    def architecture(self) -> dict[str, Any]:
        """What a manifest needs to build it again: the class name and the constructor's arguments."""

    def addition(self, images: Tensor, numbers: Tensor) -> Tensor:
        """What is added to the anchor, (N, 1, H, W), model scale, from `anchored.features`."""

    def rounded(self, precision: torch.dtype) -> AnchoredNetwork:
        """A copy that computes in that precision as far as it should."""


class AnchoredModel(Model):
    """Prior = anchor (the closed form on denoised images) + what a network adds; F = the signal equation.

    The equation is that of the acquisition, told or assumed, through the pre-dose image. Without a network nothing was
    trained: that is the shipped model `signal`.

    Args:
        network: None for the closed form alone.
        manifest: the content of manifest.json.

    >>> from LIPCARLib.inverse import Conditions, load_model
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
        self._rounded: AnchoredNetwork | None = None
        self.requires_grad_(False).eval()

    def session(self, slices: Slices) -> Session:
        predose, told = self._needed(slices.aligned), slices.conditions
        with torch.no_grad():
            if self._network is None:
                physics = anchor(slices.lowdose, predose, told)
                found = physics.highdose
            else:
                physics, images, numbers = features(slices.lowdose, predose, told)
                found = physics.highdose + self._added(images, numbers, slices)
        return Session(
            lowdose=slices.lowdose,
            predose=torch.cat((physics.predose, physics.headroom), dim=1),
            sigma=slices.sigma,
            floor=slices.floor,
            prior=found.clamp_min(0),
            # Prior and pre-dose image show the noise floor as x_L does: F needs none.
            forward_operator=by_acquisition(told.acquisitions[0], float(told.dose_fraction[0])),
            # With one assumed T10 for all tissue, F is off by more than the noise, and would make the prior worse.
            auto=None if told.native is None or self._network is None else ALPHA,
        )

    @torch.no_grad()
    def agrees(self, slices: Slices) -> bool:
        """Whether the network adds the same in that precision as in float32, to AGREEMENT of the image's range.

        What is looked at is the middle of the slices, half of them along either side: the check costs time.
        """
        if self._network is None:
            return super().agrees(slices)
        rows, columns = (slice(side // 4, side - side // 4) for side in slices.lowdose.shape[-2:])
        lowdose, predose = (image[..., rows, columns] for image in (slices.lowdose, self._needed(slices.aligned)))
        unmapped = replace(slices.conditions, native=None, known=None)  # what is rounded does not depend on maps
        physics, images, numbers = features(lowdose, predose, unmapped)
        full, found = (self._in(p).addition(images, numbers) for p in (torch.float32, slices.precision))
        return bool((found - full).abs().amax() <= AGREEMENT * physics.highdose.amax())

    def _in(self, precision: torch.dtype) -> AnchoredNetwork:
        """The network in that precision; beside float32 there is one, that of the device."""
        network = cast(AnchoredNetwork, self._network)
        if precision == torch.float32:
            return network
        self._rounded = self._rounded or network.rounded(precision)
        return self._rounded

    def _added(self, images: Tensor, numbers: Tensor, slices: Slices) -> Tensor:
        """What the network adds: nothing in air, where it was hardly weighed in its training."""
        inside = body(slices.lowdose, slices.floor)
        if images.device.type == "cpu" and not inside.any():  # elsewhere, waiting for the answer costs more
            return torch.zeros_like(slices.lowdose)
        return inside * self._in(slices.precision).addition(images, numbers)
