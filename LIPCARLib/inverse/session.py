"""What the pipeline asks of a model, and what model, pipeline and rule hand each other: slices, session, plan."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import LIPCARError
from .conditions import Conditions
from .operators import ForwardOperator


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Some slices of an examination in model scale, as a model is asked about them. Tensors are (N, 1, H, W).

    Attributes:
        lowdose: x_L.
        predose: x_P as it was matched; None where there is none or the model does not take one.
        aligned: x_P where the low-dose image has it, to a fraction of a pixel; None as `predose`.
        sigma, floor: standard deviation of the noise, and noise floor, of either image.
        conditions: what is told or assumed of the slices.
        precision: of the multiplications within the model's networks; see :meth:`Model.agrees`.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> untold = Conditions.of_examination(1, None, None, assumed_fraction=0.22)
    >>> Slices(lowdose=image, sigma=0.02, conditions=untold).floor
    0.0
    """

    lowdose: Tensor
    predose: Tensor | None = None
    aligned: Tensor | None = None
    sigma: float
    floor: float = 0.0
    conditions: Conditions
    precision: torch.dtype = torch.float32


@dataclass(frozen=True, kw_only=True)
class Session:
    """Some slices of an examination, what a model says of them, and what was asked for. Tensors are (N, 1, H, W).

    Attributes:
        lowdose: x_L, model scale.
        predose: what the forward operator looks at, (N, C, H, W): x_P as the model takes it; None for a model without
            pre-dose input.
        sigma, floor: standard deviation of the noise, and noise floor, of either image in model scale.
        prior: the model's guess xbar.
        denoise: takes out of xbar the noise that it took over from x_L; None where it took none.
        forward_operator: the model's F, noise floor included.
        around_prior: whether GenTV is around the prior; False for plain total variation.
        iterations: evaluations of F a slice, at most.
        auto: the alpha that "auto" stands for; None where F is not good enough to better the prior.

    >>> image = torch.full((1, 1, 8, 8), 0.4)
    >>> session = Session(lowdose=image, prior=image, forward_operator=lambda x, predose: x)
    >>> session.around_prior
    True
    """

    lowdose: Tensor
    predose: Tensor | None = None
    sigma: float = 0.0
    floor: float = 0.0
    prior: Tensor
    denoise: Callable[[Tensor], Tensor] | None = None
    forward_operator: ForwardOperator
    around_prior: bool = True
    iterations: int = 10
    auto: float | None = None

    @property
    def clean_prior(self) -> Tensor:
        """xbar without that noise: what "auto" answers."""
        return self.prior if self.denoise is None else self.denoise(self.prior)


class Model(nn.Module, ABC):
    """A prior and a forward operator in one scale: all that the pipeline asks of a model.

    Weights, where there are any, are frozen: gradients flow to the images only.

    Attributes:
        manifest: the content of manifest.json.
        name: from the manifest.
        family: how the paper's tables call such models: "L2H", "PL2H", or "anchored".
        uses_predose: whether it needs the pre-dose image.
        uses_acquisition: whether it needs to know how the images were acquired, and uses a map of T1.

    >>> from LIPCARLib.inverse import load_model
    >>> load_model("signal").family
    'anchored'
    """

    family: str
    uses_predose: bool
    uses_acquisition: bool

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        super().__init__()
        self.manifest = dict(manifest)
        self.name = str(manifest["name"])

    @abstractmethod
    def session(self, slices: Slices) -> Session:
        """What the model says of some slices: its prior, its forward operator and what that looks at.

        Raises:
            LIPCARError: the model needs a pre-dose image and there is none.
        """

    def agrees(self, slices: Slices) -> bool:
        """Whether these slices may be computed in their precision; models that offer others check it on them."""
        return slices.precision == torch.float32

    def shown_floor(self, floor: float) -> float:
        """What of the images' noise floor, model scale, the forward operator is given; 0 where it needs none."""
        return 0.0

    @property
    def has_weights(self) -> bool:
        """Whether anything was trained."""
        return bool(self.manifest["files"])

    @property
    def digest(self) -> str:
        """One SHA-256: of the model's architecture and its files' SHA-256 in the manifest.

        A model without files is told by its architecture alone; its constants are those of this version of LIPCAR.
        """
        identity = {key: self.manifest[key] for key in ("architecture", "files")}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def _needed(self, predose: Tensor | None) -> Tensor:
        if predose is None:
            raise LIPCARError(
                f"The model '{self.name}' needs a pre-dose image and none was given. Give one, or choose a model "
                "without pre-dose input."
            )
        return predose
