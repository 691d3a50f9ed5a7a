"""Everything that determines the trained weights, besides the cohort."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LIPCARError

PRECISIONS = ("float32", "bfloat16")


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
        LIPCARError: an unknown precision.
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
        if self.precision not in PRECISIONS:
            raise LIPCARError(f"Unknown precision '{self.precision}'; expected one of: {', '.join(PRECISIONS)}.")
