"""How often the intervals of `study.statistics` hold the truth, against plain percentile and BCa bootstrap intervals.

Usage: python Testing/benchmarks/interval_coverage.py [--trials 1000]

Subjects have means of their own, of three distributions with a known mean; their slices scatter around them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from LIPCARLib.study.statistics import RESAMPLES, mean_by_subject

SUBJECTS = (6, 12, 24, 48)
SCATTER = 0.1
"""Of a subject's slices around its mean, whose own deviation is near 1."""
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def normal(rng: np.random.Generator, subjects: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric, as many slices in each."""
    return rng.normal(size=subjects), np.full(subjects, 8)


def skewed(rng: np.random.Generator, subjects: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains: mostly small, some large; as many slices in each."""
    return rng.lognormal(0, 0.8, subjects) - np.exp(0.32), np.full(subjects, 8)


def uneven(rng: np.random.Generator, subjects: int) -> tuple[np.ndarray, np.ndarray]:
    """Skewed, and 1 to 11 slices a subject."""
    return rng.gamma(1, 1, subjects) - 1, rng.integers(1, 12, subjects)


def percentile(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float]:
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return low, high


def plain_bca(sums: np.ndarray, counts: np.ndarray, seed: int) -> tuple[float, float]:
    def mean(s: np.ndarray, c: np.ndarray, axis: int = -1) -> np.ndarray:
        return s.sum(axis) / c.sum(axis)

    rng = np.random.default_rng(seed)
    found = bootstrap((sums, counts), mean, paired=True, n_resamples=RESAMPLES, method="BCa", random_state=rng)
    return found.confidence_interval.low, found.confidence_interval.high


def ours(values: dict[tuple[str, int], float], seed: int) -> tuple[float, float]:
    found = mean_by_subject(values, seed)
    return found.low, found.high


def coverage(draw: Draw, subjects: int, trials: int) -> tuple[list[float], list[float]]:
    """Share of the trials in which percentile, plain BCa and our interval hold the mean 0, and their mean widths."""
    rng = np.random.default_rng(subjects)
    hits, widths = np.zeros(3), np.zeros(3)
    for trial in range(trials):
        means, counts = draw(rng, subjects)
        values = {
            (f"{i:03d}", z): mean + SCATTER * rng.normal()
            for i, (mean, count) in enumerate(zip(means, counts, strict=True))
            for z in range(count)
        }
        sums = np.array([sum(v for (s, _), v in values.items() if s == f"{i:03d}") for i in range(subjects)])
        found = percentile(sums, counts, trial), plain_bca(sums, counts, trial), ours(values, trial)
        hits += [low <= 0 <= high for low, high in found]
        widths += [high - low for low, high in found]
    return (hits / trials).tolist(), (widths / trials).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    print(f"nominal 95 %, {trials} trials; coverage (mean width) of percentile, BCa, ours")
    for draw in (normal, skewed, uneven):
        for subjects in SUBJECTS:
            shares, widths = coverage(draw, subjects, trials)
            cells = "  ".join(f"{share:.1%} ({width:.3f})" for share, width in zip(shares, widths, strict=True))
            print(f"{draw.__name__:7} {subjects:3} subjects: {cells}", flush=True)


if __name__ == "__main__":
    main()
