"""What an experiment's scores add up to: means with confidence intervals by subject, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .lesion_scores import LesionScore, ReadingScore
from .slice_scores import HIGHDOSE, SCORES, Score

RESAMPLES = 2000
CONFIDENCE = 0.95
INTERVALS = (
    f"{CONFIDENCE:.0%} BCa bootstrap intervals of {RESAMPLES} samples drawn by subject, their level widened for the "
    "number of subjects; none for a single subject"
)
BETTER = {"ssim": 1, "psnr": 1, "rmse": -1}
"""The sign of a better score."""
SHARES = {"sensitivity": 0.0, "sensitivity_small": 0.0, "sensitivity_large": 0.0, "sensitivity_gain": -1.0}
"""Measures of lesions that are shares, or differences of such, with the least that they can be."""

BySlice = dict[tuple[str, int], float]
"""A number for each (subject, slice)."""


@dataclass(frozen=True)
class Estimate:
    """A mean over all slices, and the interval that it lies in if the subjects are drawn again.

    Attributes:
        mean: over all slices.
        low, high: of the interval; both None where a single subject says nothing about others.
    """

    mean: float
    low: float | None
    high: float | None


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
    difference: Estimate | None = None
    improved: float | None = None
    worst: float | None = None


def compare(
    scores: Sequence[Score], region: str, reference: str, baseline: str | None = None, seed: int = 0
) -> list[Comparison]:
    """Every method's scores in one region against one reference, with intervals as :func:`mean_by_subject` has them.

    Args:
        scores: of all subjects.
        region, reference: of `slice_scores.REGIONS` and `slice_scores.REFERENCES`.
        baseline: the method that the others are compared with.
        seed: of the bootstrap; the same numbers for the same seed.

    Returns:
        In the order in which methods first occur, and for each in the order of `slice_scores.SCORES`.
    """
    rows = [row for row in scores if (row.region, row.reference) == (region, reference)]
    found = []
    for method in dict.fromkeys(row.method for row in rows):
        for score in SCORES:
            values = _by_slice(rows, method, score)
            others = {} if baseline in (None, method) else _by_slice(rows, str(baseline), score)
            if values:
                found.append(_comparison(method, score, values, others, seed))
    return found


def compare_lesions(
    lesions: Sequence[LesionScore], readings: Sequence[ReadingScore], seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """By method and measure, the mean over the lesions or subjects that have it.

    Beside the measures of the scores there is "sensitivity_gain", the sensitivity minus that of the full dose on the
    same lesions.
    """
    values: dict[str, dict[str, BySlice]] = {}
    rows: list[LesionScore | ReadingScore] = [*lesions, *readings]
    for row in rows:
        index = row.lesion if isinstance(row, LesionScore) else 0
        for measure, value in row.measures().items():
            if value is not None:
                values.setdefault(row.method, {}).setdefault(measure, {})[row.subject, index] = float(value)
    full = values.get(HIGHDOSE, {}).get("sensitivity", {})
    for method, own in values.items():
        found = own.get("sensitivity", {})
        if method != HIGHDOSE and (gain := {key: found[key] - full[key] for key in found if key in full}):
            own["sensitivity_gain"] = gain
    return {
        method: {
            measure: share_by_subject(found, SHARES[measure], seed)
            if measure in SHARES
            else mean_by_subject(found, seed)
            for measure, found in own.items()
        }
        for method, own in values.items()
    }


def share_by_subject(values: Mapping[tuple[str, int], float], least: float, seed: int = 0) -> Estimate:
    """As :func:`mean_by_subject`, of values from LEAST to 1.

    Where all subjects agree there is nothing to draw from, and yet the next one may differ: the interval then reaches
    as far as that of Clopper and Pearson for none of so many.
    """
    found = mean_by_subject(values, seed)
    if found.low is None or found.low != found.high:
        return found
    reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / len({subject for subject, _ in values}))
    return Estimate(found.mean, max(found.mean - reach, least), min(found.mean + reach, 1.0))


def mean_by_subject(values: Mapping[tuple[str, int], float], seed: int = 0) -> Estimate:
    """Mean of values by (subject, slice), with its bootstrap interval by subject.

    The slices of a subject are no independent observations, so whole subjects are drawn, with all their slices. The
    interval is Efron's bias-corrected and accelerated one (BCa, `scipy.stats.bootstrap`) at a level that makes up for
    few subjects (Hesterberg, The American Statistician 69, 2015): of normal values, it is about as wide as Student's.

    Args:
        values: at least one.
        seed: the same interval for the same seed.

    Returns:
        No interval for a single subject; the mean itself where all subjects have the same mean.
    """
    subjects = sorted({subject for subject, _ in values})
    place = {subject: index for index, subject in enumerate(subjects)}
    sums, counts = np.zeros(len(subjects)), np.zeros(len(subjects))
    for (subject, _), value in values.items():
        sums[place[subject]] += value
        counts[place[subject]] += 1
    mean = float(_weighted_mean(sums, counts))
    if len(subjects) == 1:
        return Estimate(mean, None, None)
    if np.allclose(sums / counts, mean, rtol=1e-12, atol=0):  # nothing to draw from; BCa does not exist
        return Estimate(mean, mean, mean)
    return Estimate(mean, *_bca_interval(sums, counts, seed))


def _bca_interval(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float]:
    # Here and not above: it takes a second to import, and who only wants the metrics of one run need not wait.
    from scipy.stats import bootstrap

    found = bootstrap(
        (sums, counts),
        _weighted_mean,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=1 - 2 * _tail(len(sums)),
        method="BCa",
        random_state=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    return float(interval.low), float(interval.high)


def _tail(subjects: int) -> float:
    """The share to leave out on each side: Student's, and for the 1/n of the bootstrap's variance; one sample at least.

    A bootstrap sample of n values varies by (n - 1) / n as much as the values do, and its quantiles are the normal
    distribution's where Student's are right.
    """
    from scipy.stats import norm, t

    reach = math.sqrt(subjects / (subjects - 1)) * t.ppf((1 + CONFIDENCE) / 2, subjects - 1)
    return max(float(norm.cdf(-reach)), 1 / RESAMPLES)


def _weighted_mean(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
    mean: np.ndarray = sums.sum(axis) / counts.sum(axis)
    return mean


def _comparison(method: str, score: str, values: BySlice, others: BySlice, seed: int) -> Comparison:
    numbers = np.array(list(values.values()))
    subjects = len({subject for subject, _ in values})
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    row = method, score, subjects, len(values), mean_by_subject(values, seed), deviation
    gains = {key: value - others[key] for key, value in values.items() if key in others}
    if not gains:
        return Comparison(*row)
    signed = BETTER[score] * np.array(list(gains.values()))
    improved, worst = float((signed > 0).mean()), float(max(0.0, -signed.min()))
    return Comparison(*row, mean_by_subject(gains, seed), improved, worst)


def _by_slice(rows: Sequence[Score], method: str, score: str) -> BySlice:
    values = {(row.subject, row.slice): getattr(row, score) for row in rows if row.method == method}
    return {key: value for key, value in values.items() if value is not None}
