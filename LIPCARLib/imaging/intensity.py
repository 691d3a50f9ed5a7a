"""Intensities of magnitude images: the common scale, the noise, local means, and what counts as tissue."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy

from ..errors import LIPCARError
from .threads import slicewise

Mask = npt.NDArray[np.bool_]

SCALE_THRESHOLD = 0.15
"""Foreground is brighter than this share of BRIGHT_PERCENTILE."""
SCALE_PERCENTILE = 90
"""Of the foreground: what the scale is taken from."""
SCALE_TARGET = 0.5
"""Where that percentile lies in the common scale."""
SCALE_RULE = {
    "name": "foreground-percentile",
    "threshold": SCALE_THRESHOLD,
    "percentile": SCALE_PERCENTILE,
    "target": SCALE_TARGET,
}
"""What a model records in its manifest: the rule by which the images it was trained on were scaled."""

BRIGHT_PERCENTILE = 99.5
"""What foreground is measured against: almost the brightest voxel, but not a single vessel or spike."""
REST_PERCENTILE, OUTLYING = 98, 3.0
"""Where the former exceeds this percentile that many times, the brightest voxels are spikes, metal or a tube: 2.1 times
at most in real and simulated images."""
FAR_BRIGHTER = 2.5
"""In the common scale: what exceeds it is a spike, metal or a tube. 2.0 in real and simulated images."""
MASKED = 0.6
"""A background with less than this share of the noise in tissue was masked."""
MAX_SAMPLES = 4_000_000
"""Voxels that percentiles and the comparisons look at; larger images are subsampled at regular steps."""
FEW = 20_000
"""Voxels that tell about where the brightest ones begin."""
TISSUE_PIXELS = 200
"""Fewer pixels of tissue tell nothing about a pair of images."""


def foreground_scale(lowdose: np.ndarray) -> float:
    """The number that divides an examination into the common scale: typical tissue then lies near 0.3 to 0.5.

    Foreground is what exceeds 15 % of the `bright_level`; the scale is the 90th percentile of the foreground divided
    by 0.5. It comes from the low-dose image alone, never from the
    high-dose one, and follows a change of intensity units: scale(c x) = c scale(x). Above four million voxels
    every n-th one is looked at.

    Args:
        lowdose: any shape, non-negative, finite, in intensity units.

    Returns:
        A positive number in the same units.

    Raises:
        LIPCARError: no positive voxel.
    """
    values = sampled(lowdose)
    tissue = values[values > threshold(values)]
    return order_statistic(tissue, SCALE_PERCENTILE) / SCALE_TARGET


def noise_floor(lowdose: np.ndarray) -> float:
    """Root mean square of the background: sqrt(2) sigma in air, where a magnitude image holds nothing but noise.

    The background is what `foreground_scale` does not count as foreground.

    Args:
        lowdose: any shape, non-negative, finite, in intensity units.

    Returns:
        At least 0, in the same units; 0 for a background of zeros (a skull-stripped image) or none.

    Raises:
        LIPCARError: no positive voxel.
    """
    values = sampled(lowdose)
    background = values[values <= threshold(values)]
    return float(np.sqrt(np.mean(np.square(background, dtype=np.float64)))) if background.size else 0.0


def noise_deviation(lowdose: np.ndarray, predose: np.ndarray | None = None, padding: np.ndarray | None = None) -> float:
    """How noisy an image is: standard deviation of the noise in background or in tissue, whichever shows more.

    A background may have been masked or filtered, and then shows less noise than tissue has. In tissue: the median
    magnitude of the second difference along both axes of the slices, which knows neither level nor slope, over 0.6745
    (Donoho & Johnstone, Biometrika 81(3), 1994). Texture makes it too large. The difference to the pre-dose image has
    the noise of both and none of the texture that they share; so the smaller of the two is taken, the difference as it
    is: where texture hides the noise of one image, as in most real ones, the number is sqrt(2) times the noise of
    either. The rule for pairs of networks was tuned with that; `inverse.anchor.noise_between` takes it off. Where the
    background was masked, pixels two apart are looked at as well: neighbors are too alike once an image was
    interpolated.

    Args:
        lowdose: (S, H, W), non-negative, finite, in intensity units.
        predose: on the same grid and of the same gain, to a pixel or so; None where there is none.
        padding: where both are 0 because nothing was measured, boolean; None where everything was.

    Returns:
        At least 0, in the same units.

    Raises:
        LIPCARError: no positive voxel.
    """
    slices = some_slices(lowdose)
    tissue = slices > threshold(sampled(lowdose))
    shown = [slices] if predose is None else [slices, slices - some_slices(predose)]

    def inner(apart: int) -> float:
        return min(_noise_in_tissue(image, tissue, apart) for image in shown)

    floor = noise_floor(lowdose if padding is None else lowdose[~padding])
    outer, near = floor / float(np.sqrt(2)), inner(1)
    return max(outer, near, inner(2) if outer < MASKED * near else 0.0)


def _noise_in_tissue(slices: np.ndarray, tissue: np.ndarray, apart: int) -> float:
    """From the second difference of pixels so far apart, where all four are tissue: the edge of a mask is no noise."""
    near, far = slice(None, -apart), slice(apart, None)
    corners = [(slice(None), one, other) for one in (near, far) for other in (near, far)]
    a, b, c, d = (slices[corner] for corner in corners)
    within = np.logical_and.reduce([tissue[corner] for corner in corners])
    return float(np.median(np.abs((a - b - c + d)[within]))) / (2 * 0.6745) if within.any() else 0.0


def bright_level(values: np.ndarray) -> float:
    """The intensity of bright tissue, whatever a few voxels hold: the 99.5th percentile of the positive values.

    Where that is far above the 98th, it is the 98th: a fiftieth of the voxels may be spikes, metal or a reference tube.

    Raises:
        LIPCARError: no positive voxel.
    """
    count = int(np.count_nonzero(values > 0))
    if not count:
        raise LIPCARError("The image has no voxel above zero; a magnitude image of a patient is expected.")
    # Counted from the brightest, -1. Few are that bright: what some voxels tell keeps the others from being sorted.
    ranks = [_rank(count, percentile) - count for percentile in (BRIGHT_PERCENTILE, REST_PERCENTILE)]
    top = values[values > order_statistic(values[:: 1 + values.size // FEW], 97)]
    if top.size < -ranks[1]:
        top = values[values > 0]
    bright, rest = (float(value) for value in np.partition(top, ranks)[ranks])
    return rest if bright > OUTLYING * rest else bright


def exponent_of(image: np.ndarray) -> int:
    """Of the power of two below the `foreground_scale` of an image: times 2 to its negative, that lies in 1..2.

    Numbers near 1 can be squared and summed in float32, whatever the units; a power of two is undone to the last bit.

    Raises:
        LIPCARError: no positive voxel.
    """
    return math.frexp(foreground_scale(image))[1] - 1


def threshold(values: np.ndarray) -> float:
    """Where foreground begins, in the units of the values: 15 % of the `bright_level`.

    Raises:
        LIPCARError: no positive voxel.
    """
    # A hair below, so that voxels equal to the threshold stay on one side of it in any intensity units.
    return SCALE_THRESHOLD * (1 - 1e-6) * bright_level(values)


def foreground(image: np.ndarray) -> np.ndarray:
    """Where an image of any shape shows more than background: boolean, of its shape.

    Raises:
        LIPCARError: no positive voxel.
    """
    return image > threshold(sampled(image))


def limited(image: np.ndarray) -> np.ndarray:
    """Where an image shows what is far brighter than tissue: its own intensity is not known there.

    Raises:
        LIPCARError: no positive voxel.
    """
    return image > FAR_BRIGHTER * (1 - 1e-6) * foreground_scale(image)


def local_mean(slices: np.ndarray, width: int) -> np.ndarray:
    """(S, H, W) float32, averaged in the slice over an odd number of pixels a side; edges repeat."""

    def averaged(some: np.ndarray) -> np.ndarray:
        mean: np.ndarray = scipy.ndimage.uniform_filter(some, (1, width, width), output=np.float32, mode="nearest")
        return mean

    return slicewise(averaged, slices)


def order_statistic(values: np.ndarray, percentile: float) -> float:
    """A value that occurs, not an interpolated one: it scales with the image to the last bit."""
    rank = _rank(values.size, percentile)
    return float(np.partition(values, rank)[rank])


def _rank(count: int, percentile: float) -> int:
    """Of the percentile among so many values, the lower one, counted from 0."""
    return int(percentile / 100 * (count - 1))


def sampled(array: np.ndarray) -> np.ndarray:
    """The voxels as a list, every n-th one above MAX_SAMPLES; n is odd, lest it pick single image columns."""
    step = -(-array.size // MAX_SAMPLES)
    return array.reshape(-1)[:: step | 1 if step > 1 else 1]


def some_slices(volume: np.ndarray) -> np.ndarray:
    """(S, H, W), every n-th slice above MAX_SAMPLES voxels: where pixels are compared with their neighbors."""
    return volume[chosen_slices(volume)]


def chosen_slices(volume: np.ndarray) -> slice:
    """The ones that `some_slices` takes."""
    return slice(None, None, -(-volume.size // MAX_SAMPLES))
