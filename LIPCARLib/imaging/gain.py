"""The gain between the two images: how much brighter the low-dose image is where the agent does nothing, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from ..doubt import Doubt
from .intensity import (
    TISSUE_PIXELS,
    chosen_slices,
    foreground,
    limited,
    local_mean,
    noise_deviation,
    order_statistic,
    sampled,
    some_slices,
    threshold,
)
from .threads import in_threads

GAIN_TOLERANCE = 0.025
"""Smaller changes are left alone: on real heads they grew with the dose, as no gain does."""
DRIFT_TOLERANCE = 0.01
"""The same for changes from place to place: the accuracy of `find_gain`."""
WINDOW = (3, 9, 9)
"""Slices, rows and columns that are averaged: noise then is below 1 % at the paper's signal-to-noise ratio of 12."""
WINDOW_STEP = 3
"""Pixels from one window to the next: a third of a window."""
MAX_WINDOWS = 4000
"""So many windows tell the levels as well as all of them; it saves time."""
DRIFT = 0.007
"""Of the logarithm, expected of each slope: a drift of 5 % from end to end has two of that size."""
LEVEL_STEP = 0.005
"""Of the logarithm, between the levels that tissue may be brightened by; so much a tissue varies within itself."""
LEVEL_REACH = 1.0
"""Of the logarithm, from the median: what changed by more is no level of tissue."""
LEVEL_SHARE = 0.05
"""A level counts where it holds this share of the tissue: below are artifacts and what moved."""
DARKENED_SHARE = 0.15
"""If more of the tissue lies below the level that was found, something other than an agent is at work."""
ITERATIONS = 100
"""Of levels and field in turns; 40 are enough but where two levels nearly merge."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gain:
    """How much brighter the low-dose image is than the pre-dose image, as far as the agent has no part in it.

    Attributes:
        ratio: positive; the field's geometric mean over tissue.
        slopes: of the logarithm, by `_powers` of the place; all zero for a gain that is the same everywhere.
        center: of these powers over tissue.
        most, highest: logarithms, at least 0, of how much more than that the level of most tissue, and the highest
            level, brightened.
        deviation: standard deviation of the field's logarithm over tissue.
        doubtful: tissue moved, or so much of it lies below the level without agent that an agent is not all that
            changed; the level of most tissue then stands in for it.
    """

    ratio: float
    slopes: FloatArray
    center: FloatArray
    most: float = 0.0
    highest: float = 0.0
    deviation: float = 0.0
    doubtful: bool = False

    def apply(self, volume: np.ndarray) -> None:
        """Multiply a volume of the shape that the gain was found for, (S, H, W) float32, in place."""
        first, *others = _axes(volume.shape)
        for index in range(len(volume)):
            powers = _powers([first[index : index + 1], *others])
            field = sum(slope * (x - mean) for slope, x, mean in zip(self.slopes, powers, self.center, strict=True))
            volume[index : index + 1] *= np.float32(self.ratio) * np.exp(field, dtype=np.float32)


NO_GAIN = Gain(1.0, np.zeros(9), np.zeros(9))


def coarse_level(predose: np.ndarray, lowdose: np.ndarray) -> float:
    """The power of two that brings the pre-dose image nearest to the brightness of the low-dose image.

    The two may be in different units. A power of two is undone to the last bit.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    levels = []
    for image in (predose, lowdose):
        values = sampled(image)
        levels.append(order_statistic(values[values > threshold(values)], 50))
    return float(2.0 ** np.round(np.log2(levels[1]) - np.log2(levels[0])))


def find_gain(predose: np.ndarray, lowdose: np.ndarray, moved: bool = False) -> Gain | None:
    """How much brighter the low-dose image is where the agent does nothing: a slow field.

    An agent only brightens, and does so tissue by tissue; a receiver and its coils change slowly from place to place.
    The logarithm of the ratio of the two images, averaged over windows, is therefore the field + one of a few levels +
    noise of a known size. The distribution of the levels is the nonparametric maximum of the likelihood (Laird, JASA
    73, 1978), the field a polynomial of second degree, fitted to what each window's expected level leaves; both in
    turns, as in the segmentation of Wells et al. (IEEE TMI 15, 1996). The lowest level that holds tissue is the one
    without agent, and that tissue alone tells the gain; where all tissue is brightened alike, that is taken for gain.
    Windows across the border of two levels hardly count.

    Args:
        predose, lowdose: (S, H, W), non-negative, of comparable intensity (see `coarse_level`), registered to a pixel.
        moved: tissue was moved or deformed, so that some of it is darker for no other reason: the gain is doubtful.

    Returns:
        None where too little bright tissue is common to the two, or none of it changed alike.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    windows = _windows(predose, lowdose)
    if windows is None:
        return None
    center, width = windows.powers.mean(0), windows.powers.std(0)
    width[width == 0] = 1.0  # a single slice has no third axis: its powers are 0, and so are their slopes
    powers = (windows.powers - center) / width
    rest, levels, share, member = _levels(windows, powers)
    groups = [group for group in _groups(levels, share) if group.share >= LEVEL_SHARE]
    if not groups:
        return None
    lowest, most = groups[0], max(groups, key=attrgetter("share"))
    doubtful = moved or np.mean(rest < lowest.level - 3 * windows.deviation) > DARKENED_SHARE
    if doubtful:
        ratio, slopes, lowest = np.exp(most.level), np.zeros(len(width)), most
    else:
        level, slopes = _field(windows, powers, member[:, lowest.levels].sum(1))
        ratio = np.exp(level)
    return Gain(
        float(ratio),
        slopes / width,
        center,
        most.level - lowest.level,
        groups[-1].level - lowest.level,
        float((powers @ slopes).std()),
        bool(doubtful),
    )


def _levels(windows: _Windows, powers: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    """What is left of the log ratio without slow changes (N,), levels (L,), their shares (L,), and members (N, L).

    Slow changes are those of the gain and of how much a tissue takes up: where it does, the two cannot be told apart.

    Args:
        powers: (N, 9), of mean 0 and standard deviation 1, or 0.
    """
    middle = np.median(windows.ratio)
    ends = np.clip(np.percentile(windows.ratio, [0.2, 99.8]), middle - LEVEL_REACH, middle + LEVEL_REACH)
    levels = np.arange(ends[0] - 10 * LEVEL_STEP, ends[1] + 10 * LEVEL_STEP, LEVEL_STEP)
    share = np.full(len(levels), 1 / len(levels))
    weight = windows.weight / windows.deviation**2
    weight /= weight.sum()
    weighted = powers * weight[:, None]
    normal = weighted.T @ powers + np.eye(powers.shape[1])  # halves what levels may as well explain
    slow = np.zeros(len(powers))
    # N x L numbers in float32: half the time, and of one part in ten million no one asks.
    unit = 1 / (np.sqrt(2) * windows.deviation)
    marks = (unit[:, None] * levels).astype(np.float32)
    fine, held = levels.astype(np.float32), windows.weight.astype(np.float32)
    member = np.empty_like(marks)
    for _ in range(ITERATIONS):
        rest = windows.ratio - slow
        np.subtract((unit * rest).astype(np.float32)[:, None], marks, out=member)
        np.exp(np.negative(np.square(member, out=member), out=member), out=member)
        member += np.float32(1e-12)  # what fits no level is an outlier, not a 0 / 0
        member *= share.astype(np.float32)
        total = member.sum(1)
        share = ((held / total) @ member).astype(np.float64)
        share /= share.sum()
        free = windows.ratio - (member @ fine) / total
        slow = powers @ np.linalg.solve(normal, weighted.T @ (free - weight @ free))
    member /= total[:, None]
    return rest, levels, share, member


def _field(windows: _Windows, powers: FloatArray, member: np.ndarray) -> tuple[float, FloatArray]:
    """The gain's logarithm at the center of the tissue, and its slopes (9,): from the tissue without agent alone.

    The most probable ones for slopes of standard deviation DRIFT; where that tissue says nothing they are 0.

    Args:
        powers: as for `_levels`; member: (N,), the probability that a window is of that tissue.
    """
    columns = np.column_stack([np.ones(len(powers)), powers])
    weighted = columns * (windows.weight * member / windows.deviation**2 * windows.apart)[:, None]
    prior = np.full(columns.shape[1], 1 / DRIFT**2)
    prior[0] = 0.0
    found = np.linalg.solve(weighted.T @ columns + np.diag(prior), weighted.T @ windows.ratio)
    return float(found[0]), found[1:]


def settle_gain(gain: Gain, coarse: float, correct: bool, notices: list[str]) -> Gain:
    """What the pre-dose image is to be multiplied by; says so.

    Args:
        gain: as `find_gain` finds it, for the pre-dose image times `coarse`.
        coarse: see `coarse_level`.
        correct: whether a change of gain may be undone.
        notices: where sentences for the user are appended.

    Returns:
        The gain for the pre-dose image as it came; NO_GAIN where it is too near to that, or not to be undone.
    """
    ratio = gain.ratio * coarse
    if abs(np.log(ratio)) <= GAIN_TOLERANCE and gain.deviation <= DRIFT_TOLERANCE:
        return NO_GAIN
    drift = f" (give or take {gain.deviation:.0%} from place to place)" if gain.deviation > DRIFT_TOLERANCE else ""
    found = (
        f"Tissue that does not enhance is {ratio:.3g} times as bright{drift} in the low-dose image as in the pre-dose "
        "image, as after a change of receiver gain or of the units"
    )
    if not correct:
        done = "It was left as it is, and is taken for what the agent did; match the pre-dose image to undo it"
        notices.append(Doubt(f"{found}. {done}."))
        return NO_GAIN
    notices.append(f"{found}. The pre-dose image was brought to that level for the computation.")
    return replace(gain, ratio=ratio)


class _Windows(NamedTuple):
    """Averages of the two images over tissue.

    Attributes:
        ratio, deviation: logarithm of the ratio, and its standard deviation by the noise, (N,).
        weight: how much of the window is tissue, and tissue alike, (N,).
        powers: of the place, (N, 9).
        apart: independent windows for each of these, which overlap.
    """

    ratio: FloatArray
    deviation: FloatArray
    weight: FloatArray
    powers: FloatArray
    apart: float


def _windows(predose: np.ndarray, lowdose: np.ndarray) -> _Windows | None:
    """None where there is too little bright tissue in common."""
    axes = _axes(predose.shape)
    chosen = chosen_slices(predose)
    predose, lowdose = some_slices(predose), some_slices(lowdose)
    if not (foreground(predose) & foreground(lowdose)).any():
        return None
    tissue = foreground(local_mean(predose, 3)) & foreground(local_mean(lowdose, 3))
    tissue &= ~(limited(predose) | limited(lowdose))
    tissue = scipy.ndimage.minimum_filter(tissue, (1, 3, 3))  # the edge of the body moves
    size = (WINDOW[0] if len(predose) >= WINDOW[0] else 1, *WINDOW[1:])
    start = WINDOW_STEP // 2
    grid = (slice(None), slice(start, None, WINDOW_STEP), slice(start, None, WINDOW_STEP))

    def averaged(image: np.ndarray) -> FloatArray:
        mean: FloatArray = image.astype(np.float64)
        for axis in (1, 2, 0):  # along the slices last, where few pixels are left
            mean = scipy.ndimage.uniform_filter1d(mean, size[axis], axis, mode="constant")
            mean = mean[(slice(None),) * axis + grid[axis : axis + 1]]
        return mean

    def signal(image: np.ndarray) -> FloatArray:
        # Magnitude images: the mean square is that of the signal + 2 sigma^2.
        square: FloatArray = averaged(np.square(image, dtype=np.float64) * tissue) / np.maximum(filled, 1e-9)
        return square - 2 * noise_deviation(image) ** 2

    filled = averaged(tissue)
    before, after = in_threads(signal, (predose, lowdose))
    within = tissue[grid] & (filled > 0.5) & (before > 0) & (after > 0)
    if not within.any():
        return None
    ratio = np.zeros(within.shape)
    ratio[within] = 0.5 * np.log(after[within] / before[within])
    gain = np.exp(np.median(ratio[within]))
    sigma = noise_deviation(lowdose, (predose * gain).astype(np.float32))
    deviation = np.ones(within.shape)
    noise = sigma**2 * (1 / after[within] + 1 / (gain**2 * before[within])) / (filled[within] * np.prod(size))
    deviation[within] = np.sqrt(noise + LEVEL_STEP**2)
    weight = filled * np.exp(-_unlikeness(ratio, deviation, within))
    if weight[within].sum() * WINDOW_STEP**2 < TISSUE_PIXELS:
        return None
    places = _powers([axes[0][chosen], *(axis[along] for axis, along in zip(axes[1:], grid[1:], strict=True))])
    powers = np.stack([np.broadcast_to(place, within.shape)[within] for place in places], 1)
    every = -(-np.count_nonzero(within) // MAX_WINDOWS) | 1
    apart = min(1.0, every * WINDOW_STEP**2 / float(np.prod(size)))
    return _Windows(ratio[within][::every], deviation[within][::every], weight[within][::every], powers[::every], apart)


def _unlikeness(ratio: FloatArray, deviation: FloatArray, within: npt.NDArray[np.bool_]) -> FloatArray:
    """How much more than by noise each window's neighbors to both sides differ, squared; near 2 within one tissue."""
    total = np.zeros(ratio.shape)
    for axis in (1, 2):
        pad = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        value, inside = np.pad(ratio, pad), np.pad(within, pad)
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(2, None), slice(None, -2)
        sides = [np.where(inside[tuple(side)], value[tuple(side)], ratio) for side in (ahead, behind)]
        apart = inside[tuple(ahead)].astype(int) + inside[tuple(behind)]
        # Windows overlap, so that their difference has less noise the nearer they are.
        noise = deviation * np.sqrt(2 * WINDOW_STEP * np.maximum(apart, 1) / WINDOW[axis])
        total += ((sides[0] - sides[1]) / noise) ** 2
    return total


def _axes(shape: tuple[int, ...]) -> list[FloatArray]:
    """Places along each axis, from -1 to 1."""
    return [np.linspace(-1, 1, side) if side > 1 else np.zeros(1) for side in shape]


def _powers(axes: list[FloatArray]) -> list[FloatArray]:
    """The three places and their six products, nine arrays that broadcast to the volume's shape."""
    places = np.meshgrid(*axes, indexing="ij", sparse=True)
    return [*places, *(places[i] * places[j] for i, j in combinations_with_replacement(range(3), 2))]


class _Group(NamedTuple):
    """Levels between two valleys of their distribution: mean, share of the tissue, and which they are."""

    level: float
    share: float
    levels: npt.NDArray[np.int_]


def _groups(levels: FloatArray, share: FloatArray) -> list[_Group]:
    """The groups of levels, lowest first."""
    smooth = scipy.ndimage.gaussian_filter1d(share, 1, mode="constant")
    inner = smooth[1:-1]
    valleys = np.flatnonzero((inner <= smooth[:-2]) & (inner < smooth[2:])) + 1
    parts = [part for part in np.split(np.arange(len(levels)), valleys) if share[part].sum() > 0]
    return [_Group(float(np.average(levels[p], weights=share[p])), float(share[p].sum()), p) for p in parts]
