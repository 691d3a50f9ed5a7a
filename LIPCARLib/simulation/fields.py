"""Smooth random fields: what warps a head, roughens its surfaces, folds its cortex and gives tissue a texture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .anatomy import Head
from .tissues import Range

Float32 = npt.NDArray[np.float32]


def _spline_along(field: Float32, axis: int, samples: int) -> Float32:
    """Cubic B-spline of the n + 3 coefficients along ``axis``, at ``samples`` places of n intervals."""
    intervals = field.shape[axis] - 3
    position = (np.arange(samples) + 0.5) * intervals / samples
    first = np.minimum(position.astype(int), intervals - 1)
    t = position - first
    exact = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    shape = [1, 1, 1]
    shape[axis] = samples
    weights = exact.astype(np.float32).reshape(4, *shape)
    spline: Float32 = weights[0] * np.take(field, first, axis)
    for k in range(1, 4):
        spline += weights[k] * np.take(field, first + k, axis)
    return spline


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int, int], extent: tuple[float, float, float], scale: float
) -> Float32:
    """Smooth random field of mean 0 and variance 1, a cubic B-spline of white noise.

    Args:
        rng: where the noise is drawn from.
        shape: of the field, (z, y, x).
        extent: of the field in mm, (z, y, x).
        scale: mm between two nodes of the spline.
    """
    nodes = tuple(max(1, round(e / scale)) + 3 for e in extent)
    field: Float32 = rng.standard_normal(nodes, np.float32)
    # No matrix product: on busy cores its BLAS threads cost more than all the rest. Rows are contiguous, so y, the
    # largest step, comes last.
    for axis in (0, 2, 1):
        field = _spline_along(field, axis, shape[axis])
    # The variance of a cubic B-spline sum of white noise is (151 / 315)^3 on average.
    field *= np.float32((315.0 / 151.0) ** 1.5)
    return field


def mixed_field(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    extent: tuple[float, float, float],
    parts: tuple[Range, ...],
) -> Float32:
    """The sum of smooth fields: ``parts`` gives the scale in mm and the standard deviation of each one."""
    total: Float32 = np.zeros(shape, dtype=np.float32)
    for scale, deviation in parts:
        total += deviation * smooth_field(rng, shape, extent, scale)
    return total


class Fields:
    """A subject's random fields on one grid, drawn in a fixed order: none depends on what is painted.

    All are (slices, size, size). ``warp_x`` and ``warp_y`` are in mm, ``reach`` is the largest of them; the others
    have a standard deviation near 1: ``rough`` for surfaces, ``coarse_folds`` and ``fine_folds`` whose zero lines are
    clefts, ``m0``, ``t1`` and ``uptake`` for texture, ``bias`` for the coil's sensitivity.
    """

    def __init__(self, rng: np.random.Generator, head: Head, slices: int, size: int) -> None:
        shape, fov = (slices, size, size), head.field_of_view
        extent = (head.slab, fov, fov)
        coarse, fine = head.fold_spacing
        self.warp_x, self.warp_y = (mixed_field(rng, shape, extent, head.warp) for _ in range(2))
        self.coarse_folds = smooth_field(rng, shape, extent, coarse)
        self.fine_folds = smooth_field(rng, shape, extent, fine)
        self.reach = float(max(np.abs(self.warp_x).max(), np.abs(self.warp_y).max()))
        self.rough = mixed_field(rng, shape, extent, ((fov / 18, 0.8), (fov / 50, 0.6)))
        self.m0, self.t1, self.uptake = (
            mixed_field(rng, shape, extent, ((fov / 8, 0.6), (fov / 28, 0.6), (fov / 90, 0.55))) for _ in range(3)
        )
        self.bias = smooth_field(rng, shape, extent, fov / 3.0)
