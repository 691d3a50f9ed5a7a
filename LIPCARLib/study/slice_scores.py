"""SSIM, PSNR and RMSE of slices: of the whole image, the body, the brain or the tumor, against one reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..imaging import metrics
from ..learning import Subject
from ..simulation import BRAIN_TISSUES, Tissue

SCORES = ("ssim", "psnr", "rmse")
REGIONS = ("tumor", "brain", "body", "image")
"""In the order in which they are told: what matters stands before what background fills."""
REFERENCES = ("acquired", "clean")
HIGHDOSE = "high-dose"
"""The row of the full dose itself."""
BODY_THRESHOLD = 0.1
"""In model scale: where there are no labels, the body is where the high-dose image is brighter."""


@dataclass(frozen=True)
class Score:
    """One slice of one method in one region against one reference, in model scale; None where it does not exist."""

    subject: str
    slice: int
    method: str
    reference: str
    region: str
    ssim: float | None
    psnr: float | None
    rmse: float | None


def compare_slice(
    image: np.ndarray, reference: np.ndarray, scale: float, mask: np.ndarray | None = None
) -> tuple[float | None, float | None, float | None]:
    """SSIM, PSNR (dB) and RMSE of one slice in model scale, where the data range is 1.

    Args:
        image, reference: (H, W), in intensity units.
        scale: of the examination.
        mask: (H, W), boolean; None for the whole slice.

    Returns:
        None for a value that does not exist: SSIM of a slice smaller than its window, PSNR of equal slices.
    """
    x, y = (torch.from_numpy(one[None, None] / np.float32(scale)) for one in (image, reference))
    inside = None if mask is None else torch.from_numpy(mask)[None, None]
    similarity = None
    if min(x.shape[-2:]) >= metrics.WINDOW:
        similarity = _finite(metrics.ssim(x, y, mask=inside))
    return similarity, _finite(metrics.psnr(x, y, mask=inside)), _finite(metrics.rmse(x, y, inside))


def score_slices(subject: Subject, images: Mapping[str, np.ndarray]) -> list[Score]:
    """Every slice of every image in every region that there is, against every reference that there is.

    Against the noise-free image, the acquired full dose is scored like a method: no method need be better.

    Args:
        subject: with its references, and labels where it is simulated.
        images: (S, H, W) by method, in intensity units.
    """
    scale = subject.examination.scale
    references = {"acquired": subject.highdose, "clean": subject.clean_highdose}
    regions = region_masks(subject)
    rows = []
    for method, image in {**images, HIGHDOSE: subject.highdose}.items():
        for reference, target in references.items():
            if target is None or target is image:
                continue
            for index in range(len(image)):
                for region, mask in regions.items():
                    inside = None if mask is None else mask[index]
                    if inside is None or inside.any():
                        values = compare_slice(image[index], target[index], scale, inside)
                        rows.append(Score(subject.name, index, method, reference, region, *values))
    return rows


def region_masks(subject: Subject) -> dict[str, np.ndarray | None]:
    """The regions of REGIONS that there are, as (S, H, W) boolean masks; None stands for the whole image."""
    labels = subject.labels
    if labels is None:
        return {"image": None, "body": subject.highdose / subject.examination.scale > BODY_THRESHOLD}
    found: dict[str, np.ndarray] = {
        "body": np.not_equal(labels, Tissue.AIR),
        "brain": np.isin(labels, BRAIN_TISSUES),
        "tumor": np.equal(labels, Tissue.TUMOR),
    }
    return {"image": None, **{region: mask for region, mask in found.items() if mask.any()}}


def _finite(value: Tensor) -> float | None:
    return value.item() if math.isfinite(value.item()) else None
