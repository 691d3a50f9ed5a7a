"""How a method shows lesions, what a blinded reader finds in it, and whether it shows enhancement that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_fill_holes, uniform_filter

from ..learning import Subject
from ..simulation import BRAIN_TISSUES, Tissue
from ..trust.detection import (
    Labels,
    Mask,
    Spacing,
    connected_regions,
    count_invented,
    count_outside,
    enhancement,
    read_enhancement,
    read_lesions,
)
from .slice_scores import HIGHDOSE

SMALL = 5.0
"""mm: lesions of a smaller diameter are counted apart."""
FALSE_PERCENTILE = 99.9
FALSE_SIZE = 3
"""Pixels a side over which false enhancement is averaged: a single noisy pixel is none."""
_LESION = (Tissue.TUMOR, Tissue.TUMOR_CORE)
_INSIDE_BRAIN = (*BRAIN_TISSUES, Tissue.CSF, Tissue.CHOROID, Tissue.EDEMA, *_LESION)


@dataclass(frozen=True)
class LesionScore:
    """One method's rendering of one lesion; None where it does not apply.

    Attributes:
        lesion: its number in the subject, from 1.
        diameter, volume, found, found_volume, dice, hausdorff95: as of `trust.LesionReading`; what the reader tells is
            None without a pre-dose image.
        contrast_to_noise: (mean of the lesion - mean of brain) / standard deviation of brain.
        lesion_to_brain: mean of the lesion / mean of brain.
    """

    subject: str
    method: str
    lesion: int
    diameter: float
    volume: float
    found: bool | None
    found_volume: float | None
    dice: float | None
    hausdorff95: float | None
    contrast_to_noise: float | None
    lesion_to_brain: float | None

    def measures(self) -> dict[str, float | None]:
        """What is averaged over lesions, by name; "volume_error" is relative and has no sign."""
        error = None if self.found_volume is None else abs(self.found_volume / self.volume - 1)
        return {
            "sensitivity": self.found,
            "sensitivity_small": self.found if self.diameter < SMALL else None,
            "sensitivity_large": self.found if self.diameter >= SMALL else None,
            "dice": self.dice,
            "hausdorff95": self.hausdorff95,
            "volume_error": error,
            "contrast_to_noise": self.contrast_to_noise,
            "lesion_to_brain": self.lesion_to_brain,
        }


@dataclass(frozen=True)
class ReadingScore:
    """What one method shows in one subject beside lesions; None where it does not apply.

    Attributes:
        false_positives: regions that the reader marks outside lesions, vessels among them.
        invented: regions that the reader marks where the true full dose rises by less than half of what is shown.
        false_enhancement: in a subject without lesion, the 99.9th percentile over the brain of what the method shows
            above the reference, averaged over 3 x 3 pixels, in model scale.
    """

    subject: str
    method: str
    false_positives: int | None
    invented: int | None
    false_enhancement: float | None

    def measures(self) -> dict[str, float | None]:
        """What is averaged over subjects, by name."""
        names = ("false_positives", "invented", "false_enhancement")
        return {name: getattr(self, name) for name in names}


def score_lesions(subject: Subject, images: Mapping[str, np.ndarray]) -> tuple[list[LesionScore], list[ReadingScore]]:
    """How each method, and the full dose itself, shows every lesion and the rest; nothing without labels.

    Args:
        subject: with labels.
        images: (S, H, W) by method, in intensity units.
    """
    if subject.labels is None:
        return [], []
    spacing, name = subject.examination.spacing, subject.name
    brain, tumor = np.isin(subject.labels, BRAIN_TISSUES), np.equal(subject.labels, Tissue.TUMOR)
    lesions = np.where(tumor, connected_regions(np.isin(subject.labels, _LESION), spacing), 0)
    scores: list[LesionScore] = []
    readings: list[ReadingScore] = []
    for method, image in {**images, HIGHDOSE: subject.highdose}.items():
        marked = _read(subject, image)
        scores += _lesion_scores((name, method), image, marked, lesions, brain, spacing)
        outside = None if marked is None else count_outside(marked, tumor)
        excess = None if tumor.any() or not brain.any() else _false_enhancement(subject, image, brain)
        readings.append(ReadingScore(name, method, outside, _invented(subject, image, marked), excess))
    return scores, readings


def _lesion_scores(
    name: tuple[str, str], image: np.ndarray, marked: Labels | None, lesions: Labels, brain: Mask, spacing: Spacing
) -> list[LesionScore]:
    """Of a subject and method: what the reader makes of each lesion, and its contrast."""
    told = marked is not None
    readings = read_lesions(lesions * 0 if marked is None else marked, lesions, spacing)
    numbers = np.unique(lesions[lesions > 0])
    return [
        LesionScore(
            *name,
            index,
            reading.diameter,
            reading.volume,
            reading.found if told else None,
            reading.found_volume if told else None,
            reading.dice if told else None,
            reading.hausdorff95 if told else None,
            *_contrast(image[lesions == number], image[brain]),
        )
        for index, (number, reading) in enumerate(zip(numbers, readings, strict=True), start=1)
    ]


def reading_region(labels: np.ndarray) -> Mask:
    """Where the reader reads: the brain with all that it encloses, or the body where there is no brain, (S, H, W).

    Args:
        labels: (S, H, W), values of `simulation.Tissue`.
    """
    if not np.isin(labels, BRAIN_TISSUES).any():
        body: Mask = np.not_equal(labels, Tissue.AIR)
        return body
    return np.stack([binary_fill_holes(plane) for plane in np.isin(labels, _INSIDE_BRAIN)])


def _read(subject: Subject, image: np.ndarray) -> Labels | None:
    """The regions that the reader marks in an image of a subject with labels; None without a pre-dose image."""
    e = subject.examination
    if subject.labels is None or e.predose is None:
        return None
    return read_enhancement(image, e.predose, reading_region(subject.labels), e.spacing)


def _invented(subject: Subject, image: np.ndarray, marked: Labels | None) -> int | None:
    """How many of the regions marked in an image the true full dose does not support."""
    predose = subject.examination.predose
    if subject.labels is None or predose is None or marked is None:
        return None
    region = reading_region(subject.labels)
    return count_invented(marked, *(enhancement(x, predose, region) for x in (image, subject.truth)))


def _contrast(lesion: np.ndarray, brain: np.ndarray) -> tuple[float | None, float | None]:
    """Contrast to noise, and lesion to brain."""
    if not brain.size:
        return None, None
    bright, level, noise = float(lesion.mean()), float(brain.mean()), float(brain.std())
    return (bright - level) / noise if noise else None, bright / level if level else None


def _false_enhancement(subject: Subject, image: np.ndarray, brain: np.ndarray) -> float:
    excess = (image - subject.truth) / np.float32(subject.examination.scale)
    smooth = uniform_filter(excess, (1, FALSE_SIZE, FALSE_SIZE), mode="nearest")
    return float(np.percentile(smooth[brain], FALSE_PERCENTILE))
