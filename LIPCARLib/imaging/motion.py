"""Motion: the rigid movement of the patient between two images in three dimensions, and an image moved back by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import scipy

from .grid import Grid, plane_axes
from .intensity import TISSUE_PIXELS, Mask, foreground
from .threads import in_threads

FloatArray = npt.NDArray[np.float64]
Frame = tuple[FloatArray, FloatArray]
"""Where a volume (S, H, W) lies: its first voxel's center, (3,), and its steps along S, H and W, the columns of a 3 x 3
matrix; physical coordinates in mm."""

LEAST_SIDE = 32
"""Pixels: slices with a shorter side hold too little to tell a movement from."""
LEAST_SLICES = 8
"""Fewer slices tell, and allow to undo, movements within the slice only."""
VOXELS = 1_500_000
"""Larger images are averaged to about so many voxels first, to save time."""
SAMPLES = 20_000
"""Voxels of tissue that are compared; three times as many were no more accurate."""
SMOOTHING = (1 / 20, 1 / 48, 1 / 160)
"""Standard deviations of the Gaussians, coarse to fine, as shares of the longer side of the slice."""
STEPS = 12
"""Of Gauss and Newton on each level, at most."""
SETTLED = 0.01
"""Pixels: a step that moves tissue by less is the last one of its level."""
EDGE = 0.01
"""Voxels beyond the outermost ones that still count as within."""
TUKEY = 4.685
"""Standard deviations of the rest from which a voxel does not count: enhancing tissue, what was deformed."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the tissue at x in the low-dose image lies in the pre-dose image: rotation (x - center) + center + shift.

    Places are in mm along S, H and W from the center of the low-dose image's first voxel.

    Attributes:
        rotation: 3 x 3.
        shift, center: mm, (3,).
    """

    rotation: FloatArray
    shift: FloatArray
    center: FloatArray

    def __call__(self, places: FloatArray) -> FloatArray:
        """Where the tissue of these places, (N, 3), lies in the pre-dose image, (N, 3)."""
        moved: FloatArray = (places - self.center) @ self.rotation.T + self.center + self.shift
        return moved

    @property
    def angle(self) -> float:
        """Degrees, at least 0."""
        return float(np.rad2deg(scipy.spatial.transform.Rotation.from_matrix(self.rotation).magnitude()))

    @property
    def distance(self) -> float:
        """mm that the center moved."""
        return float(np.linalg.norm(self.shift))

    def words(self, grid: Grid, slice_axis: int) -> str:
        """How the pre-dose image is moved back, in the patient's directions: "2.1 mm to the left, ... and turned ...".

        Args:
            grid, slice_axis: of the low-dose image.
        """
        axes = slice_frame(grid, slice_axis)[1]
        axes = axes / np.linalg.norm(axes, axis=0)
        back = scipy.spatial.transform.Rotation.from_matrix(axes @ self.rotation.T @ axes.T).as_rotvec(degrees=True)
        along = -axes @ self.shift
        sides = ("left", "right"), ("back", "front"), ("head", "feet")  # LPS
        parts = [f"{abs(mm):.1f} mm to the {side[int(mm < 0)]}" for mm, side in zip(along, sides, strict=True)]
        turns = [
            f"{round(degrees, 1) + 0.0:+.1f} about the {name} axis"  # never -0.0
            for degrees, name in zip(back, ("right-left", "front-back", "feet-head"), strict=True)
        ]
        return f"{', '.join(parts)}, and turned by {self.angle:.1f} degrees ({', '.join(turns)})"


def slice_frame(grid: Grid, slice_axis: int) -> Frame:
    """Of the slices of an image on this grid; a 2-D one lies at 0 of a third axis."""
    origin, axes, spacing = np.zeros(3), np.eye(3), np.ones(3)
    d = grid.dimension
    origin[:d], spacing[:d] = grid.origin, grid.spacing
    axes[:d, :d] = np.reshape(grid.direction, (d, d))
    return origin, (axes * spacing)[:, [slice_axis, *plane_axes(slice_axis)]]


def moved_back(
    volume: np.ndarray, data: Mask, frame: Frame, onto: Frame, shape: tuple[int, ...], motion: Motion | None
) -> tuple[np.ndarray, Mask]:
    """A volume where another frame has it, a movement undone: interpolated once, by cubic splines, at least 0.

    Args:
        volume: (S', H', W') float32, in `frame`.
        data: where it has data.
        onto, shape: where the result lies.
        motion: from the result's frame; None for none.

    Returns:
        (S, H, W) float32, 0 where there is no data, and where there is, boolean.
    """
    steps = np.linalg.norm(onto[1], axis=0)
    to_physical = onto[1] / steps
    back = np.linalg.inv(frame[1])
    turn, start = (np.eye(3), np.zeros(3)) if motion is None else (motion.rotation, motion(np.zeros((1, 3)))[0])
    # Voxel there -> mm along S, H, W -> moved -> physical point -> voxel here.
    matrix = back @ to_physical @ turn * steps
    offset = back @ (onto[0] + to_physical @ start - frame[0])
    known = _within(matrix, offset, shape, volume.shape)
    if not data.all():
        # All eight neighbors, for at the edge of the data splines swing.
        near = scipy.ndimage.affine_transform(
            data.astype(np.float32), matrix, offset, shape, output=np.float32, order=1, mode="nearest"
        )
        known &= near > 0.99
    moved = scipy.ndimage.affine_transform(volume, matrix, offset, shape, output=np.float32, order=3, mode="nearest")
    np.maximum(moved, 0, out=moved)
    moved[~known] = 0
    return moved, known


def _within(matrix: FloatArray, offset: FloatArray, shape: tuple[int, ...], bounds: tuple[int, ...]) -> Mask:
    """Which voxels of the shape fall into voxels of an image of the size `bounds`."""
    within = np.ones(shape, dtype=bool)
    places = np.ogrid[tuple(slice(n) for n in shape)]
    for row, first, size in zip(matrix, offset, bounds, strict=True):
        place = first + sum(step * axis for step, axis in zip(row, places, strict=True))
        within &= (place >= -0.5 - EDGE) & (place <= size - 0.5 + EDGE)
    return within


def find_motion(predose: np.ndarray, lowdose: np.ndarray, spacing: FloatArray) -> Motion | None:
    """The rigid movement between the two images.

    Robust least squares: the pre-dose image, moved and multiplied by a field that is linear in the place, is to be the
    low-dose image over its tissue, coarse to fine; what differs by more than the rest is not counted (Reuter et al.,
    NeuroImage 53(4), 2010). Within the slice only where there are fewer than LEAST_SLICES.

    Args:
        predose, lowdose: (S, H, W), non-negative, on one grid, of comparable intensity. Where the first has no data it
            is zero, which is not counted either.
        spacing: mm along S, H and W.

    Returns:
        None where it cannot be told: small slices, too little tissue in common.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    if min(lowdose.shape[1:]) < LEAST_SIDE:
        return None
    factors = _factors(lowdose.shape, spacing)
    before, after = (_averaged(image, factors) for image in (predose, lowdose))
    step = spacing * factors
    origin = (np.array(factors) - 1) / 2 * spacing
    center = origin + (np.array(after.shape) - 1) / 2 * step
    fitted = _Fit(Motion(np.eye(3), np.zeros(3), center), np.array([1.0, 0.0, 0.0, 0.0]))
    free = np.ones(6, bool) if len(lowdose) >= LEAST_SLICES else np.array([0, 1, 1, 1, 0, 0], bool)
    for share in SMOOTHING:
        sigma = max(share * max(after.shape[1:]), 0.7) * step[1:].min()
        side = max(1, int(sigma / (2 * step[1:].max())))  # blocks of half a Gaussian tell as much as their pixels
        coarser = (1, side, side)
        first, second = (_averaged(image, coarser) for image in (before, after))
        level = _Level.of(first, second, step * coarser, origin + (np.array(coarser) - 1) / 2 * step, sigma)
        if level is None:
            return None
        for _ in range(STEPS):
            fitted, moved = level.improved(fitted, free)
            if moved < SETTLED * step[1:].min():
                break
    return fitted.motion


@dataclass(frozen=True, eq=False)
class _Fit:
    """A movement, and the field that the pre-dose image is multiplied by: level and slopes along S, H and W."""

    motion: Motion
    field: FloatArray


@dataclass(frozen=True, eq=False)
class _Level:
    """Smooth images: places (N, 3) and values (N,) of the low-dose one, the pre-dose one with its slopes per mm."""

    places: FloatArray
    values: FloatArray
    powers: FloatArray
    before: tuple[np.ndarray, ...]
    step: FloatArray
    origin: FloatArray

    @classmethod
    def of(
        cls, predose: np.ndarray, lowdose: np.ndarray, step: FloatArray, origin: FloatArray, sigma: float
    ) -> _Level | None:
        """None for too little tissue."""
        widths = [sigma / size if 2 * sigma > size else 0.0 for size in step]
        smooth = partial(scipy.ndimage.gaussian_filter, sigma=widths, truncate=3)
        before, after = in_threads(smooth, (predose, lowdose))
        tissue = foreground(after)
        count = int(np.count_nonzero(tissue))
        if count < TISSUE_PIXELS:
            return None
        where = places_in(tissue, -(-count // SAMPLES))
        slopes = [
            np.gradient(before, size, axis=axis) if before.shape[axis] > 1 else np.zeros_like(before)
            for axis, size in enumerate(step)
        ]
        places = where * step + origin
        center = places.mean(0)
        reach = np.maximum(np.abs(places - center).max(0), 1e-6)
        return cls(
            places,
            after[tuple(where.T)].astype(np.float64),
            np.column_stack([np.ones(len(places)), (places - center) / reach]),
            (before, *slopes),
            step,
            origin,
        )

    def improved(self, fit: _Fit, free: Mask) -> tuple[_Fit, float]:
        """After a step of Gauss and Newton; and the mm by which that moved tissue."""
        motion = fit.motion
        there = motion(self.places)
        at = ((there - self.origin) / self.step).T
        value, *slopes = (
            scipy.ndimage.map_coordinates(image, at, order=1, mode="nearest").astype(np.float64)
            for image in self.before
        )
        size = np.array(self.before[0].shape)[:, None]
        counted: Mask = np.all((at >= -0.5) & (at <= size - 0.5), axis=0)
        field = self.powers @ fit.field
        rest = field * value - self.values
        slope = np.stack(slopes, 1) * field[:, None]
        arm = there - motion.center - motion.shift
        jacobian = np.column_stack([slope, np.cross(arm, slope)])[:, free]
        jacobian = np.column_stack([jacobian, self.powers * value[:, None]])
        if np.count_nonzero(counted) < len(counted) // 4:
            return fit, 0.0
        spread = TUKEY * (1.4826 * np.median(np.abs(rest[counted])) + 1e-12)
        weight = counted * np.square(1 - np.minimum(np.square(rest / spread), 1))
        normal = (jacobian * weight[:, None]).T @ jacobian
        normal[np.diag_indices_from(normal)] *= 1 + 1e-9
        found = np.linalg.lstsq(normal, -(jacobian * weight[:, None]).T @ rest, rcond=None)[0]
        change = np.zeros(6)
        change[free] = found[:-4]
        motion = Motion(_turn(change[3:]) @ motion.rotation, motion.shift + change[:3], motion.center)
        moved = np.linalg.norm(motion(self.places[::50]) - there[::50], axis=1).max()
        return _Fit(motion, fit.field + found[-4:]), float(moved)


def places_in(mask: Mask, every: int) -> npt.NDArray[np.intp]:
    """Indices (N, d) of every n-th voxel of a mask."""
    return np.stack(np.unravel_index(np.flatnonzero(mask)[::every], mask.shape), axis=1)


def _turn(vector: FloatArray) -> FloatArray:
    """The rotation about a vector by its length in radians, 3 x 3 (Rodrigues). scipy's takes a while to load."""
    angle = float(np.linalg.norm(vector))
    cross = np.cross(np.eye(3), vector)  # cross @ x is vector x x
    sine, rest = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    turn: FloatArray = np.eye(3) + sine * cross + rest * cross @ cross
    return turn


def _factors(shape: tuple[int, ...], spacing: FloatArray) -> tuple[int, ...]:
    """By how many voxels along each axis to average: the finest axes first, until VOXELS are left."""
    factors = [1, 1, 1]
    while np.prod([n // f for n, f in zip(shape, factors, strict=True)]) > VOXELS:
        steps = [
            size * f if n // f > LEAST_SIDE else np.inf for size, f, n in zip(spacing, factors, shape, strict=True)
        ]
        factors[int(np.argmin(steps))] += 1
    return tuple(factors)


def _averaged(volume: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Means over blocks of voxels; what is left over at the end is left out."""
    if max(factors) == 1:
        return volume
    size = [n // f for n, f in zip(volume.shape, factors, strict=True)]
    trimmed = volume[tuple(slice(n * f) for n, f in zip(size, factors, strict=True))]
    blocks = trimmed.reshape([part for n, f in zip(size, factors, strict=True) for part in (n, f)])
    mean: np.ndarray = blocks.mean((1, 3, 5), dtype=np.float32)
    return mean
