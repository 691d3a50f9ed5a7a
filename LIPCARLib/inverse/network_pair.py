"""The paper's kind of model: a pair of networks, the prior Psi_(P)L2H and the forward operator Psi_(P)H2L."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from ..physics import DOSE_FRACTION
from .denoising import body, denoised
from .manifest import ROLES
from .networks import VNet
from .operators import with_noise_floor
from .rearranged import RearrangedVNet
from .session import Model, Session, Slices


class NetworkPair(Model):
    """A pair of networks in one scale: the prior Psi_(P)L2H and the forward operator F = Psi_(P)H2L.

    Tensors are (N, 1, H, W), float, in model scale (image / examination scale), any H and W. Both networks know one
    dose fraction, `physics.DOSE_FRACTION`: where another one is told, the low-dose image is brought to it, along its
    difference to the pre-dose image.

    Attributes:
        predicts_noise_free: whether F was trained towards noise-free low-dose images, which are zero in air.

    >>> from LIPCARLib.inverse import load_model
    >>> model = load_model("vnet-lowdose")
    >>> xbar = model.prior(torch.zeros(1, 1, 32, 32))
    >>> model.forward_operator(xbar).shape
    torch.Size([1, 1, 32, 32])
    """

    uses_acquisition = False

    def __init__(self, prior: VNet, forward_operator: VNet, manifest: Mapping[str, Any]) -> None:
        super().__init__(manifest)
        self._prior, self._forward_operator = prior, forward_operator
        self.uses_predose = prior.in_channels == 2
        self.family = "PL2H" if self.uses_predose else "L2H"
        self.predicts_noise_free = bool(manifest.get("training", {}).get("clean_images_used_for_forward_operator"))
        self.requires_grad_(False).eval()
        # The faster layout for convolutions on a CPU; torch's stubs lack the argument.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prior(self, lowdose: Tensor, predose: Tensor | None = None) -> Tensor:
        """xbar, the end-to-end network's guess of the high-dose image, at least 0.

        Raises:
            LIPCARError: the model needs a pre-dose image and there is none.
        """
        return self._answer("prior", lowdose, predose).clamp_min(0)

    def forward_operator(self, highdose: Tensor, predose: Tensor | None = None) -> Tensor:
        """F(x): the low-dose image that this high-dose image would have given. Differentiable in `highdose`.

        Raises:
            LIPCARError: the model needs a pre-dose image and there is none.
        """
        return self._answer("forward_operator", highdose, predose)

    def session(self, slices: Slices) -> Session:
        given = self._at_known_dose(slices)
        predose = given.predose if self.uses_predose else None
        with torch.no_grad():
            prior = self.prior(given.lowdose, predose)
        return Session(
            lowdose=given.lowdose,
            predose=predose,
            sigma=given.sigma,
            floor=given.floor,
            prior=prior,
            denoise=partial(denoised, inside=body(given.lowdose, given.floor)),
            forward_operator=with_noise_floor(self.forward_operator, self.shown_floor(given.floor)),
        )

    def shown_floor(self, floor: float) -> float:
        return floor if self.predicts_noise_free else 0.0

    def network(self, role: str) -> VNet:
        """The network that plays this role of `manifest.ROLES`."""
        return {"prior": self._prior, "forward_operator": self._forward_operator}[role]

    def _answer(self, role: str, image: Tensor, predose: Tensor | None) -> Tensor:
        network, images = self.network(role), self._input(image, predose)
        # GPUs have fast convolutions of their own; weights that may still change are not rearranged.
        here = images.device.type == "cpu" and images.dtype == torch.float32
        rearranged = here and not network.head.weight.requires_grad
        answer: Tensor = (self._rearranged[role] if rearranged else network)(images)
        return answer

    @cached_property
    def _rearranged(self) -> dict[str, RearrangedVNet]:
        return {role: RearrangedVNet(self.network(role)) for role in ROLES}

    def _at_known_dose(self, slices: Slices) -> Slices:
        told = slices.conditions
        if slices.aligned is None or not told.dose_told[0]:
            return slices
        # By the tensors' own division, so that the known fraction gives exactly 1.
        ratio = float(torch.full_like(told.dose_fraction, DOSE_FRACTION)[0] / told.dose_fraction[0])
        if ratio == 1:
            return slices
        return replace(
            slices,
            lowdose=torch.lerp(slices.aligned, slices.lowdose, ratio).clamp_min(0),
            # Both images have the noise of which x_P + ratio (x_L - x_P) holds this much.
            sigma=slices.sigma * math.hypot(ratio, 1 - ratio),
        )

    def _input(self, image: Tensor, predose: Tensor | None) -> Tensor:
        if not self.uses_predose:
            return image
        return torch.cat((self._needed(predose), image), dim=1).contiguous(memory_format=torch.channels_last)
