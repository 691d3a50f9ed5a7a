"""What the result of one examination is worth against a reference: metrics per slice."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping

import numpy as np
import torch
from torch import Tensor

from ..imaging import Examination, metrics
from ..inverse import Result

Metrics = dict[str, dict[str, list[float | None]]]
"""By image, by score ("ssim", "psnr", "rmse"), a number for each slice."""


def slice_metrics(
    images: Mapping[str, np.ndarray], reference: np.ndarray, scale: float
) -> Generator[None, None, Metrics]:
    """SSIM, PSNR and RMSE of every slice of some volumes against a reference; yields after each slice.

    Args:
        images: (S, H, W) by name, in intensity units.
        reference: (S, H, W), in the same units.
        scale: of the examination; metrics are taken in model scale, where the data range is 1.

    Returns:
        For each name "ssim", "psnr" (dB) and "rmse" (model scale), S numbers each; None where a value does not
        exist (slices smaller than SSIM's window, PSNR of equal slices).
    """
    table: Metrics = {}
    for name, image in images.items():
        scores: dict[str, list[float | None]] = {"ssim": [], "psnr": [], "rmse": []}
        for x, y in zip(image, reference, strict=True):  # one by one: SSIM's moments of a big volume fill gigabytes
            for values, value in zip(scores.values(), compare_slice(x, y, scale), strict=True):
                values.append(value)
            yield
        table[name] = scores
    return table


def compare_slice(
    image: np.ndarray, reference: np.ndarray, scale: float, mask: np.ndarray | None = None
) -> tuple[float | None, float | None, float | None]:
    """SSIM, PSNR (dB) and RMSE of one slice in model scale; None where a value does not exist.

    Args:
        image, reference: (H, W), in intensity units.
        scale: of the examination.
        mask: (H, W), boolean; None for the whole slice.
    """
    x, y = (torch.from_numpy(one[None, None] / np.float32(scale)) for one in (image, reference))
    inside = None if mask is None else torch.from_numpy(mask)[None, None]
    similarity = None
    if min(x.shape[-2:]) >= metrics.WINDOW:
        similarity = _finite(metrics.ssim(x, y, mask=inside))
    return similarity, _finite(metrics.psnr(x, y, mask=inside)), _finite(metrics.rmse(x, y, inside))


def examination_metrics(examination: Examination, result: Result) -> Generator[None, None, Metrics]:
    """:func:`slice_metrics` of pre-dose (where there is one), low-dose, prior and LIP-CAR against the high dose."""
    if examination.highdose is None:
        raise ValueError("the examination has no high-dose reference")
    return slice_metrics(shown_images(examination, result), examination.highdose, examination.scale)


def shown_images(examination: Examination, result: Result) -> dict[str, np.ndarray]:
    """What one compares, in the order of the paper's Figure 2: predose, lowdose, prior, lip-car."""
    images = {"lowdose": examination.lowdose, "prior": result.prior, "lip-car": result.highdose}
    return images if examination.predose is None else {"predose": examination.predose, **images}


def _finite(value: Tensor) -> float | None:
    return value.item() if math.isfinite(value.item()) else None
