"""Everything that determines the trained weights, besides the cohort; and what each setting may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import LIPCARError
from ..inverse.manifest_table import CLASSES
from ..json_file import FLAG, Field, complaints, integer, number

PRECISIONS = ("float32", "bfloat16")
_DIGEST = Field("the digest of a model, or none", lambda value: value is None or isinstance(value, str))
LIMITS = {
    "epochs": integer(1, 100_000),
    "steps": integer(1, 100_000_000),
    "batch": integer(1, 4096),
    "crop": integer(16, 4096),
    "size": integer(32, 4096),
    "learning_rate": number(0, 1, above=True),
    "l1": number(0, 1000),
    "warmup": integer(0, 1_000_000),
    "final": number(0, 1),
    "average": number(0, 1),
    "enhancement": number(0, 1000),
    "bias": number(0, 1000),
    "held_out": number(0, 1),
    "precision": Field(f"one of: {', '.join(PRECISIONS)}", lambda value: value in PRECISIONS),
    "seed": integer(0, 2**31 - 1),
    "start": _DIGEST,
    **CLASSES["AnchoredPrior"].arguments,
    **dict.fromkeys(("predose", "residual", "smooth", "difference_start", "bfloat16"), FLAG),
}
"""Of every training's settings, by name."""


def check_settings(settings: Any) -> None:
    """Before anything is read or computed for a training.

    Args:
        settings: a data class.

    Raises:
        LIPCARError: one of them is not within LIMITS.
    """
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
    for complaint in complaints(values, {name: limit for name, limit in LIMITS.items() if name in values}):
        raise LIPCARError(f"A setting of the training is {complaint}.")


@dataclass(frozen=True)
class TrainingSettings:
    """What a training is asked for; recorded in the model's manifest.

    Attributes:
        predose: the networks take the pre-dose image as well.
        epochs: passes over the training slices, each slice giving one random crop.
        batch: crops per step (paper: 16; fewer give more steps in the same time).
        learning_rate: the peak; warmed up over the first epoch, then a half cosine to zero, because networks without
            normalization are on the edge of collapse at the paper's 1e-3.
        l1: weight of the mean absolute error beside 1 - SSIM; 0 is the paper's loss. SSIM hardly sees a gain or an
            offset, which a data term must get right.
        crop: pixels a side.
        residual, smooth: variants of the network, see `inverse.VNet`.
        difference_start: half of the first layer's channels start on the amplified difference between the image and
            the pre-dose image, which speeds up the first epochs.
        start: SHA-256 of the model whose weights training starts from, None for random ones.
        held_out: fraction of the subjects kept out of training, at least one.
        precision: of PRECISIONS; "bfloat16" is faster on processors that have it.
        seed: of everything random.

    Raises:
        LIPCARError: a setting that is not within LIMITS.
    """

    predose: bool = True
    epochs: int = 80
    batch: int = 4
    learning_rate: float = 5e-4
    l1: float = 1.0
    crop: int = 128
    residual: bool = True
    smooth: bool = False
    difference_start: bool = True
    start: str | None = None
    held_out: float = 0.15
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)
