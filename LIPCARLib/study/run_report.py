"""The JSON report of one run: how a result was made, and what it is worth against a reference."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from ..imaging import Examination
from ..inverse import Result, complete
from ..trust import Evidence

Metrics = dict[str, dict[str, list[float | None]]]
"""By image, by score ("ssim", "psnr", "rmse"), a number for each slice."""


def build_report(examination: Examination, result: Result, found: Evidence | None = None) -> dict[str, Any]:
    """How a result was made and what it is worth, ready for JSON.

    Holds the provenance (versions, device, model and hash, alpha, solver), "seconds", "network_evaluations" (the
    most that any slice took) and the same by slice, "objective" (per slice, by step), "residual_rms" (per slice,
    model scale), "unexplained" (per slice, see `Result`), the notices, with evidence its summary (`Evidence.summary`),
    and with a high-dose reference "metrics": per image, per score, per slice.
    """
    report = {
        **result.provenance,
        "notices": [*examination.notices, *result.notices, *(() if found is None else found.notices)],
        "seconds": result.seconds,
        "network_evaluations": max(result.network_evaluations),
        "network_evaluations_by_slice": result.network_evaluations,
        "objective": result.objective,
        "residual_rms": result.residual_rms,
        "unexplained": result.unexplained,
    }
    if found is not None:
        report["evidence"] = found.summary()
    if examination.highdose is not None:
        report["metrics"] = complete(examination_metrics(examination, result))
    return report


def examination_metrics(examination: Examination, result: Result) -> Generator[None, None, Metrics]:
    """:func:`slice_metrics` of pre-dose (where there is one), low-dose, prior and LIP-CAR against the high dose."""
    if examination.highdose is None:
        raise ValueError("the examination has no high-dose reference")
    return slice_metrics(shown_images(examination, result), examination.highdose, examination.scale)


def slice_metrics(
    images: Mapping[str, np.ndarray], reference: np.ndarray, scale: float
) -> Generator[None, None, Metrics]:
    """SSIM, PSNR and RMSE of every slice of some volumes against a reference; yields after each slice.

    Args:
        images: (S, H, W) by name, in intensity units.
        reference: (S, H, W), in the same units.
        scale: of the examination.

    Returns:
        For each name and score S numbers, as of `slice_scores.compare_slice`.
    """
    from .slice_scores import SCORES, compare_slice  # brings much, for those who have a reference

    table: Metrics = {}
    for name, image in images.items():
        scores: dict[str, list[float | None]] = {score: [] for score in SCORES}
        for x, y in zip(image, reference, strict=True):  # one by one: SSIM's moments of a big volume fill gigabytes
            for values, value in zip(scores.values(), compare_slice(x, y, scale), strict=True):
                values.append(value)
            yield
        table[name] = scores
    return table


def most_enhancing_slices(examination: Examination, result: Result, count: int) -> list[int]:
    """The slices whose brightest thousandth gains most over the low-dose image, in order of position."""
    gains = [
        float(np.percentile(high - low, 99.9)) for high, low in zip(result.highdose, examination.lowdose, strict=True)
    ]
    chosen: list[int] = np.argsort(gains)[::-1][:count].tolist()
    return sorted(chosen)


def shown_images(examination: Examination, result: Result) -> dict[str, np.ndarray]:
    """What one compares, in the order of the paper's Figure 2: predose, lowdose, prior, lip-car."""
    images = {"lowdose": examination.lowdose, "prior": result.prior, "lip-car": result.highdose}
    return images if examination.predose is None else {"predose": examination.predose, **images}
