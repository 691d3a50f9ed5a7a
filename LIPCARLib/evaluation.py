"""What results are worth against a reference: metrics per slice of one examination, and tables over a cohort."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import metrics
from .cohort import Subject, read_subject
from .examination import Examination
from .model import Model
from .phantom import Tissue
from .reconstruction import Progress, Result, reconstruct

ALPHAS = (6e-3, 2e-2, 6e-2)
"""What a model card reports: the paper's alpha, and about three and ten times of it."""


def slice_metrics(
    images: Mapping[str, np.ndarray], reference: np.ndarray, scale: float
) -> dict[str, dict[str, list[float | None]]]:
    """SSIM, PSNR and RMSE of every slice of some volumes against a reference.

    Args:
        images: (S, H, W) by name, in intensity units.
        reference: (S, H, W), in the same units.
        scale: of the examination; metrics are taken in model scale, where the data range is 1.

    Returns:
        For each name "ssim", "psnr" (dB) and "rmse" (model scale), S numbers each; None where a value does not
        exist (slices smaller than SSIM's window, PSNR of equal slices).
    """
    table: dict[str, dict[str, list[float | None]]] = {}
    for name, image in images.items():
        scores: dict[str, list[float | None]] = {"ssim": [], "psnr": [], "rmse": []}
        for x, y in zip(image, reference, strict=True):  # one by one: SSIM's moments of a big volume fill gigabytes
            x, y = _tensor(x[None], scale), _tensor(y[None], scale)
            scores["ssim"].append(_finite(metrics.ssim(x, y)) if min(x.shape[-2:]) >= metrics.WINDOW else None)
            scores["psnr"].append(_finite(metrics.psnr(x, y)))
            scores["rmse"].append(_finite(metrics.rmse(x, y)))
        table[name] = scores
    return table


def examination_metrics(examination: Examination, result: Result) -> dict[str, dict[str, list[float | None]]]:
    """:func:`slice_metrics` of pre-dose (where there is one), low-dose, prior and LIP-CAR against the high dose."""
    if examination.highdose is None:
        raise ValueError("the examination has no high-dose reference")
    return slice_metrics(shown_images(examination, result), examination.highdose, examination.scale)


def shown_images(examination: Examination, result: Result) -> dict[str, np.ndarray]:
    """What one compares, in the order of the paper's Figure 2: predose, lowdose, prior, lip-car."""
    images = {"lowdose": examination.lowdose, "prior": result.prior, "lip-car": result.highdose}
    return images if examination.predose is None else {"predose": examination.predose, **images}


@dataclass(frozen=True)
class SubjectScores:
    """One subject's mean scores: by image name ("lip-car 0.006") and score ("ssim", "body_rmse", ...)."""

    subject: str
    slices: int
    scores: dict[str, dict[str, float]]


def evaluate_model(
    model: Model, folders: Sequence[Path], alphas: Sequence[float] = ALPHAS, device: str = "auto"
) -> Iterator[SubjectScores | Progress]:
    """Score a model on the subjects of a cohort: pre-dose, low-dose, prior and LIP-CAR at several alphas.

    Yields the progress of every reconstruction, and each subject's scores when it is done: SSIM over the whole image
    and RMSE in the body against the high-dose image as acquired, and the same against the clean one where the cohort
    has it ("clean_ssim", "clean_body_rmse"). Model scale throughout. The body is every labeled voxel that is not
    air; without labels, where the reference exceeds a tenth of the common scale.
    """
    for folder in folders:
        subject = read_subject(folder)
        examination = subject.examination
        images: dict[str, np.ndarray] = {}
        for alpha in alphas:
            result = yield from reconstruct(examination, model, alpha=alpha, device=device)
            images |= shown_images(examination, result)
            images[f"lip-car {alpha:g}"] = images.pop("lip-car")
        yield SubjectScores(subject.name, len(examination.lowdose), _subject_scores(subject, images))


def mean_scores(subjects: Sequence[SubjectScores]) -> dict[str, dict[str, float]]:
    """Means over all slices of all subjects, by image name and score, rounded to 4 digits."""
    weights = [s.slices for s in subjects]
    return {
        image: {
            score: round(float(np.average([s.scores[image][score] for s in subjects], weights=weights)), 4)
            for score in scores
        }
        for image, scores in subjects[0].scores.items()
    }


def _subject_scores(subject: Subject, images: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    scale = subject.examination.scale
    references = {"": subject.examination.highdose, "clean_": subject.clean_highdose}
    body = _body(subject, scale)
    scores: dict[str, dict[str, float]] = {}
    for name, image in images.items():
        x = _tensor(image, scale)
        scores[name] = {}
        for prefix, reference in references.items():
            if reference is None:
                continue
            y = _tensor(reference, scale)
            scores[name][f"{prefix}ssim"] = float(metrics.ssim(x, y).mean())
            scores[name][f"{prefix}body_rmse"] = float(metrics.rmse(x, y, body).nanmean())
    return scores


def _body(subject: Subject, scale: float) -> Tensor:
    if subject.labels is not None:
        return torch.from_numpy(subject.labels != Tissue.AIR)[:, None]
    return _tensor(subject.examination.highdose, scale) > 0.1


def _tensor(volume: np.ndarray, scale: float) -> Tensor:
    return torch.from_numpy(volume / np.float32(scale))[:, None]


def _finite(value: Tensor) -> float | None:
    return value.item() if math.isfinite(value.item()) else None
