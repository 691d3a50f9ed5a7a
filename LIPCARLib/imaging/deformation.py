"""Deformation: where tissue went that no rigid movement explains, slice by slice, and an image moved back by it."""

from __future__ import annotations

import numpy as np
import scipy

from .intensity import Mask, foreground
from .threads import in_threads

SIDE = 192
"""Pixels: slices with a longer side are averaged to about so many first; tissue moves smoothly."""
SMOOTHING = (4.0, 2.0, 1.2)
"""Standard deviations in pixels of the Gaussians, coarse to fine."""
WINDOW = 6.0
"""Pixels, standard deviation: tissue within it moves together. Twice as much on the coarsest level."""
STEPS = 2
"""Of Gauss and Newton on each level; with five, errors were no smaller."""
STIFFNESS = 0.02
"""Share of the mean strength of edges that holds a pixel where it is: without edges around it does not move."""
OUTLYING = 3.0
"""Standard deviations of the rest at which a pixel counts half: an enhancing border is no movement."""


def find_deformation(predose: np.ndarray, lowdose: np.ndarray, known: Mask | None = None) -> np.ndarray:
    """By how many pixels tissue lies elsewhere in the pre-dose image, (S, 2, H, W) float32, along H and along W.

    Least squares in a window around each pixel, for a displacement and a factor of brightness, coarse to fine (Lucas &
    Kanade, Proc. IJCAI, 1981); what differs by more than the rest counts less. Every slice is on its own: nothing is
    told of movements through the slices.

    Args:
        predose, lowdose: (S, H, W), non-negative, on one grid, of comparable intensity.
        known: where the pre-dose image has data; None for everywhere.
    """
    factor = -(-max(lowdose.shape[1:]) // SIDE)
    field = np.zeros((len(lowdose), 2, *lowdose.shape[1:]), np.float32)
    tissue = foreground(lowdose) if known is None else foreground(lowdose) & known

    def find_one(before: np.ndarray, after: np.ndarray, inside: np.ndarray, one: np.ndarray) -> None:
        if inside.any():
            coarse = _in_slice(*(_reduced(image, factor) for image in (before, after, inside)))
            for found, whole in zip(coarse, one, strict=True):
                whole[:] = factor * _enlarged(found, factor, whole.shape)

    in_threads(find_one, predose, lowdose, tissue, field)
    return field


def deformed(volume: np.ndarray, field: np.ndarray) -> np.ndarray:
    """A volume (S, H, W), non-negative, moved back by :func:`find_deformation`: cubic splines, at least 0, float32."""
    moved = np.empty(volume.shape, np.float32)
    places = np.mgrid[tuple(slice(side) for side in volume.shape[1:])].astype(np.float32)

    def move_one(source: np.ndarray, shift: np.ndarray, target: np.ndarray) -> None:
        scipy.ndimage.map_coordinates(source, places + shift, target, order=3, mode="nearest")

    in_threads(move_one, volume, field, moved)
    np.maximum(moved, 0, out=moved)
    return moved


def _in_slice(predose: np.ndarray, lowdose: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The displacement of one slice, (2, H, W); `inside` is the share of each pixel that counts, 0 to 1."""
    places = np.mgrid[tuple(slice(side) for side in lowdose.shape)].astype(np.float32)
    field = np.zeros_like(places)
    tissue = inside > 0.5
    if not tissue.any():
        return field
    for sigma in SMOOTHING:
        width = WINDOW * max(1.0, sigma / 2)
        before, after = _smooth(predose, sigma), _smooth(lowdose, sigma)
        slopes = np.gradient(before)
        for _ in range(STEPS):
            at = places + field
            value, down, across = (
                scipy.ndimage.map_coordinates(image, at, order=1, mode="nearest") for image in (before, *slopes)
            )
            rest = after - value
            brighter = _smooth(inside * value * rest, width) / (_smooth(inside * value * value, width) + 1e-12)
            unexplained = rest - brighter * value
            spread = 1.4826 * np.median(np.abs(unexplained[tissue])) + 1e-12
            weight = inside / (1 + (unexplained / (OUTLYING * spread)) ** 2)
            step, certainty = _step(value, down, across, rest, weight, width, tissue)
            field += np.clip(step, -2 * sigma, 2 * sigma)
            field = np.stack(
                [_smooth(f * certainty, width / 2) / (_smooth(certainty, width / 2) + 1e-12) for f in field]
            )
    return field


def _step(
    value: np.ndarray,
    down: np.ndarray,
    across: np.ndarray,
    rest: np.ndarray,
    weight: np.ndarray,
    width: float,
    tissue: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """One step of Gauss and Newton, (2, H, W), and how well the edges around tell it; the factor is eliminated."""

    def summed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return _smooth(weight * one * other, width)

    square = summed(value, value) + 1e-12
    with_value, rest_value = [summed(slope, value) for slope in (down, across)], summed(rest, value)
    a, c = (summed(s, s) - v * v / square for s, v in zip((down, across), with_value, strict=True))
    b = summed(down, across) - with_value[0] * with_value[1] / square
    p, q = (summed(s, rest) - v * rest_value / square for s, v in zip((down, across), with_value, strict=True))
    stiff = STIFFNESS * float((a + c)[tissue].mean()) + 1e-12
    a, c = a + stiff, c + stiff
    determinant = a * c - b * b
    return np.stack([c * p - b * q, a * q - b * p]) / determinant, determinant / (a + c)


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    smooth: np.ndarray = scipy.ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=3)
    return smooth


def _reduced(image: np.ndarray, factor: int) -> np.ndarray:
    """Means over blocks of factor x factor pixels; the edge is repeated where they do not fit in."""
    image = np.pad(image.astype(np.float32), [(0, -side % factor) for side in image.shape], mode="edge")
    blocks = image.reshape(image.shape[0] // factor, factor, image.shape[1] // factor, factor)
    mean: np.ndarray = blocks.mean((1, 3))
    return mean


def _enlarged(image: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """The way back, between the centers of the blocks linearly."""
    if factor == 1:
        return image
    places = np.meshgrid(*((np.arange(side) - (factor - 1) / 2) / factor for side in shape), indexing="ij")
    whole: np.ndarray = scipy.ndimage.map_coordinates(image, places, order=1, mode="nearest")
    return whole
