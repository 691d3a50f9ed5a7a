"""How a method shows a lesion, and whether it shows one that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from ..learning import Subject
from ..simulation import BRAIN_TISSUES, Tissue

LESION_SCORES = ("contrast_to_noise", "lesion_to_brain", "false_enhancement")
FALSE_PERCENTILE = 99.9
FALSE_SIZE = 3
"""Pixels a side over which false enhancement is averaged: a single noisy pixel is none."""


@dataclass(frozen=True)
class LesionScore:
    """One method's rendering of one subject's lesion, or of its absence; None where it does not apply.

    Attributes:
        contrast_to_noise: (mean of tumor - mean of brain) / standard deviation of brain.
        lesion_to_brain: mean of tumor / mean of brain.
        false_enhancement: in a subject without tumor, the 99.9th percentile over the brain of what the method shows
            above the reference, averaged over 3 x 3 pixels, in model scale.
    """

    subject: str
    method: str
    contrast_to_noise: float | None = None
    lesion_to_brain: float | None = None
    false_enhancement: float | None = None


def score_lesion(subject: Subject, images: Mapping[str, np.ndarray]) -> list[LesionScore]:
    """How each method, and the high-dose image itself, shows the lesion; nothing without labels of a brain.

    Args:
        subject: with labels.
        images: (S, H, W) by method, in intensity units.
    """
    if subject.labels is None:
        return []
    brain, tumor = np.isin(subject.labels, BRAIN_TISSUES), np.equal(subject.labels, Tissue.TUMOR)
    if not brain.any():
        return []
    shown = {**images, "high-dose": subject.highdose}
    if tumor.any():
        return [_lesion(subject.name, method, image[tumor], image[brain]) for method, image in shown.items()]
    return [
        LesionScore(subject.name, method, false_enhancement=_false_enhancement(subject, image, brain))
        for method, image in shown.items()
    ]


def _lesion(subject: str, method: str, lesion: np.ndarray, brain: np.ndarray) -> LesionScore:
    bright, level, noise = float(lesion.mean()), float(brain.mean()), float(brain.std())
    contrast = (bright - level) / noise if noise else None
    return LesionScore(subject, method, contrast, bright / level if level else None)


def _false_enhancement(subject: Subject, image: np.ndarray, brain: np.ndarray) -> float:
    excess = (image - subject.truth) / np.float32(subject.examination.scale)
    smooth = uniform_filter(excess, (1, FALSE_SIZE, FALSE_SIZE), mode="nearest")
    return float(np.percentile(smooth[brain], FALSE_PERCENTILE))
