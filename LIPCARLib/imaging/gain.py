"""The receiver gain: how much brighter the low-dose image is where no agent is, and what is done about it."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from .intensity import TISSUE_PIXELS, foreground, local_mean, noise_floor, some_slices

GAIN_RANGE = (0.7, 1.4)
"""What a change of receiver gain within a session explains; beyond it something else is amiss."""
GAIN_TOLERANCE = 0.02
"""Smaller changes are left alone: twice what `gain_ratio` is off by in nine of ten simulated subjects."""
GAIN_BIN = 0.004
"""Bins of the histogram of the log ratio."""
GAIN_WIDTH = 0.015
"""Standard deviation of the Gaussian that the histogram is smoothed with."""
GAIN_SHARE = 0.3
"""A peak of the histogram counts from this share of the highest one on."""


def gain_ratio(predose: np.ndarray, lowdose: np.ndarray) -> float | None:
    """How much brighter the low-dose image is where no agent is: the ratio of the two receiver gains.

    The lowest peak of the histogram of log(x_L / x_P) over tissue, each pixel averaged with its neighbors and counted
    by its brightness. An agent only brightens, so tissue without it makes the lowest peak; where nothing in the field
    of view is without it, its own brightening is taken for gain. Peaks below GAIN_SHARE of the highest one are noise.

    Args:
        predose, lowdose: (S, H, W), non-negative, in one scale of intensity, registered to a pixel or so.

    Returns:
        A positive number, 1 for equal gains; None where the images have no bright tissue in common.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    before, after = some_slices(predose), some_slices(lowdose)
    if not (foreground(before) & foreground(after)).any():
        return None
    before, after = (local_mean(local_mean(image, 3), 3) for image in (before, after))
    tissue = foreground(before) & foreground(after)
    tissue &= before > 2 * noise_floor(predose)  # magnitude images of noise have a ratio of their own
    if np.count_nonzero(tissue) < min(TISSUE_PIXELS, 0.01 * tissue.size):
        return None
    edges = np.arange(-1.2, 1.2, GAIN_BIN)
    ratio = np.log(after[tissue] / before[tissue])
    counts, _ = np.histogram(ratio, bins=edges, weights=before[tissue])
    smooth = gaussian_filter1d(counts, GAIN_WIDTH / GAIN_BIN, mode="constant")
    inner = smooth[1:-1]
    peaks = (inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner > GAIN_SHARE * smooth.max())
    if not peaks.any():
        return None
    index = int(np.argmax(peaks)) + 1
    left, top, right = smooth[index - 1 : index + 2]
    vertex = 0.5 * (left - right) / (left - 2 * top + right)
    return float(np.exp(edges[index] + (0.5 + vertex) * GAIN_BIN))


def settle_gain(ratio: float, correct: bool, notices: list[str]) -> float:
    """What the pre-dose image is to be multiplied by; says so, and says what is odd about the ratio.

    Args:
        ratio: of the two gains, as `gain_ratio` finds it.
        correct: whether a change of gain may be undone; an odd ratio is noticed in any case.
        notices: where sentences for the user are appended.

    Returns:
        The ratio; 1 where it is too near 1 to be told from it, outside GAIN_RANGE, or not to be undone.
    """
    if abs(ratio - 1) <= GAIN_TOLERANCE:
        return 1.0
    lowest, highest = GAIN_RANGE
    found = (
        f"Tissue that does not enhance is {ratio:.2f} times as bright in the low-dose image as in the pre-dose image"
    )
    if not lowest <= ratio <= highest:
        notices.append(
            f"{found}; {lowest} to {highest} is expected. Were both acquired with the same settings, "
            "without rescaling? Nothing was done about it."
        )
        return 1.0
    if not correct:
        return 1.0
    notices.append(
        f"{found}, as after a change of receiver gain. The pre-dose image was brought to that level for the "
        "computation."
    )
    return ratio
