"""What an experiment's scores add up to: means with confidence intervals by subject, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .experiment import SCORES, LesionScore, Score

RESAMPLES = 2000
CONFIDENCE = 0.95
BETTER = {"ssim": 1, "psnr": 1, "rmse": -1}
"""The sign of a better score."""


@dataclass(frozen=True)
class Estimate:
    """A mean over all slices, and the interval that it lies in if the subjects are drawn again."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A score of a method, and how it compares with the baseline on the same slices.

    Attributes:
        method, score: which.
        subjects, slices: that the score exists for.
        value: the score.
        deviation: standard deviation over the slices.
        difference: method minus baseline over the slices both have; None without a baseline.
        improved: share of these slices on which the method is strictly better than the baseline, 0..1.
        worst: the largest loss against the baseline on a slice, at least 0.
    """

    method: str
    score: str
    subjects: int
    slices: int
    value: Estimate
    deviation: float
    difference: Estimate | None
    improved: float | None
    worst: float | None


def compare(
    scores: Sequence[Score], region: str, reference: str, baseline: str | None = None, seed: int = 0
) -> list[Comparison]:
    """Every method's scores in one region against one reference.

    Intervals are percentiles of the means of RESAMPLES bootstrap samples, drawn by subject, because the slices of a
    subject are no independent observations.

    Args:
        scores: of all subjects.
        region, reference: of `experiment.REGIONS` and `experiment.REFERENCES`.
        baseline: the method that the others are compared with.
        seed: of the bootstrap; the same numbers for the same seed.

    Returns:
        In the order in which methods first occur, and for each in the order of `experiment.SCORES`.
    """
    rows = [row for row in scores if (row.region, row.reference) == (region, reference)]
    found = []
    for method in dict.fromkeys(row.method for row in rows):
        for score in SCORES:
            values = _by_slice(rows, method, score)
            if not values:
                continue
            numbers = np.array(list(values.values()))
            difference = improved = worst = None
            others = {} if baseline is None or method == baseline else _by_slice(rows, baseline, score)
            common = [key for key in values if key in others]
            if common:
                gains = {key: values[key] - others[key] for key in common}
                difference = bootstrap(gains, seed)
                signed = BETTER[score] * np.array(list(gains.values()))
                improved, worst = float((signed > 0).mean()), float(max(0.0, -signed.min()))
            found.append(
                Comparison(
                    method,
                    score,
                    len({subject for subject, _ in values}),
                    len(values),
                    bootstrap(values, seed),
                    float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0,
                    difference,
                    improved,
                    worst,
                )
            )
    return found


def bootstrap(values: dict[tuple[str, int], float], seed: int = 0) -> Estimate:
    """Mean of values by (subject, slice), with its bootstrap interval by subject."""
    subjects = sorted({subject for subject, _ in values})
    place = {subject: index for index, subject in enumerate(subjects)}
    sums, counts = np.zeros(len(subjects)), np.zeros(len(subjects))
    for (subject, _), value in values.items():
        sums[place[subject]] += value
        counts[place[subject]] += 1
    drawn = np.random.default_rng(seed).integers(len(subjects), size=(RESAMPLES, len(subjects)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def compare_lesions(lesions: Sequence[LesionScore], seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """By method and score ("contrast_to_noise", ...), the mean over the subjects that have it."""
    table: dict[str, dict[str, Estimate]] = {}
    for method in dict.fromkeys(row.method for row in lesions):
        for score in ("contrast_to_noise", "lesion_to_brain", "false_enhancement"):
            values = {(row.subject, 0): getattr(row, score) for row in lesions if row.method == method}
            values = {key: value for key, value in values.items() if value is not None}
            if values:
                table.setdefault(method, {})[score] = bootstrap(values, seed)
    return table


def _by_slice(rows: Sequence[Score], method: str, score: str) -> dict[tuple[str, int], float]:
    values = {(row.subject, row.slice): getattr(row, score) for row in rows if row.method == method}
    return {key: value for key, value in values.items() if value is not None}
