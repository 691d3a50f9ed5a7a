"""Where voxels lie: the grid of an image, the axis its slices are taken along, and resampling onto another grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError

GRID_TOLERANCE = 1e-2
"""Two grids are one when no corner of the field of view is further off than this, in voxels."""
RIGHT_ANGLES = 1e-5
"""Direction cosines are orthonormal to this, what rounding to six digits leaves."""
SHEAR_TOLERANCE = 0.5
"""Axes are set at right angles where no corner of the field of view moves further, in voxels."""
SPACINGS, FARTHEST = (1e-4, 1e4), 1e6
"""mm. Other spacings and places are no examination's: a damaged header or another unit."""
THICK_SLICES = 1.05
"""A spacing that is larger than the next one by this factor is that of the slices."""

AXES = ("i", "j", "k")
"""What the index axes are called, in the order of SimpleITK."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie: axes i, j(, k), physical LPS coordinates in mm, as in SimpleITK.

    Attributes:
        size: voxels along each index axis, 2 or 3 of them.
        spacing: mm between neighbors along each index axis.
        origin: physical point of the first voxel's center, mm.
        direction: cosines of the index axes, a d x d matrix row by row.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """The grid that an image lies on."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @classmethod
    def of_axes(cls, size: tuple[int, ...], axes: np.ndarray, origin: np.ndarray) -> Grid:
        """The grid of a header.

        Args:
            size: voxels along each index axis.
            axes: (d, d) mm from voxel to voxel along each index axis, one in each column.
            origin: (d,) mm.
        """
        with np.errstate(over="ignore"):  # beyond all numbers is infinite, and refused as such
            lengths = np.linalg.norm(axes, axis=0)
        cosines = axes / np.where(lengths > 0, lengths, 1)
        return cls(size, tuple(lengths.tolist()), tuple(origin.tolist()), tuple(cosines.ravel().tolist()))

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    def image(self, array: np.ndarray) -> sitk.Image:
        """A float32 image on this grid, bit for bit.

        Args:
            array: ((K,) J, I), numpy's order.

        Raises:
            ValueError: an array of another shape.
        """
        if array.shape != self.size[::-1]:
            raise ValueError(f"array of shape {array.shape} for a grid of {self.size[::-1]}")
        return self.put_on(sitk.GetImageFromArray(np.asarray(array, np.float32), isVector=False))

    def put_on(self, image: sitk.Image) -> sitk.Image:
        """The image with its voxels on this grid; itself where they are, else a shallow copy."""
        if Grid.of(image) == self:
            return image
        image = sitk.Image(image)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def part(self, axis: int, start: int, stop: int) -> Grid:
        """The grid of the slices `start` to `stop` (half-open) along index axis `axis`."""
        size = tuple(stop - start if a == axis else n for a, n in enumerate(self.size))
        first = np.asarray([[start if a == axis else 0 for a in range(self.dimension)]])
        return replace(self, size=size, origin=tuple(self.points(first)[0].tolist()))

    def upright(self) -> Grid | None:
        """The nearest grid whose axes stand at right angles; itself where they do, None where none is near.

        Its center stays where it is. None is near where a corner would move by more than `SHEAR_TOLERANCE`, or an axis
        has no extent.
        """
        cosines = np.reshape(self.direction, (self.dimension, -1))
        if np.abs(cosines).max() > 1 + RIGHT_ANGLES:
            return None
        if np.abs(cosines.T @ cosines - np.eye(self.dimension)).max() <= RIGHT_ANGLES:
            return self
        if abs(np.linalg.det(cosines)) < RIGHT_ANGLES:
            return None
        left, _, right = np.linalg.svd(cosines)
        turned = replace(self, direction=tuple((left @ right).ravel().tolist()))
        center = (np.asarray([self.size]) - 1) / 2
        origin = np.asarray(self.origin) + (self.points(center) - turned.points(center))[0]
        turned = replace(turned, origin=tuple(origin.tolist()))
        return turned if self._corner_distance(turned) <= SHEAR_TOLERANCE else None

    def points(self, indices: np.ndarray) -> np.ndarray:
        """Physical points (N, d) in mm of continuous indices (N, d)."""
        points: np.ndarray = np.asarray(self.origin) + indices @ self._matrix().T
        return points

    def indices(self, points: np.ndarray) -> np.ndarray:
        """Continuous indices (N, d) of physical points (N, d) in mm."""
        indices: np.ndarray = np.linalg.solve(self._matrix(), (points - np.asarray(self.origin)).T).T
        return indices

    def differences(self, other: Grid) -> list[str]:
        """In words, what tells another grid of the same dimension from this one; empty where nothing does."""
        if self.size == other.size and self._corner_distance(other) <= GRID_TOLERANCE:
            return []
        words = []
        if self.size != other.size:
            words.append(f"size {join(other.size)} instead of {join(self.size)} voxels")
        if not np.allclose(self.spacing, other.spacing, rtol=1e-4):
            words.append(f"spacing {join(other.spacing)} instead of {join(self.spacing)} mm")
        if not np.allclose(self.direction, other.direction, atol=1e-4):
            words.append("other axis directions")
        if np.abs(self.indices(np.asarray([other.origin]))).max() > GRID_TOLERANCE:
            words.append(f"origin ({join(other.origin, ', ')}) instead of ({join(self.origin, ', ')}) mm")
        return words or ["slightly other spacing or axis directions"]

    def covered_by(self, other: Grid) -> float:
        """The fraction of this field of view inside the other one, 0..1, from at most 32 points an axis."""
        axes = [np.linspace(0, n - 1, min(n, 32)) for n in self.size]
        samples = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dimension)
        there = other.indices(self.points(samples))
        inside = (there >= -0.5 - GRID_TOLERANCE) & (there <= np.asarray(other.size) - 0.5 + GRID_TOLERANCE)
        return float(inside.all(axis=1).mean())

    def distance(self, other: Grid) -> float:
        """Largest distance in mm between matching corners of two grids of one size."""
        corners = self._corners()
        return float(np.linalg.norm(self.points(corners) - other.points(corners), axis=1).max())

    def _matrix(self) -> np.ndarray:
        cosines = np.asarray(self.direction).reshape(self.dimension, self.dimension)
        matrix: np.ndarray = cosines * np.asarray(self.spacing)
        return matrix

    def _corners(self) -> np.ndarray:
        """(2^d, d) indices of the outer corners, for one slice has no others."""
        ends = [(-0.5, n - 0.5) for n in self.size]
        return np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, self.dimension)

    def _corner_distance(self, other: Grid) -> float:
        """Largest distance in voxels between matching corners."""
        corners = self._corners()
        return float(np.abs(self.indices(other.points(corners)) - corners).max())


def checked_grid(grid: Grid, name: str, notices: list[str]) -> Grid:
    """The grid with its axes at right angles.

    Args:
        grid: as a header has it.
        name: how messages call its image, the subject of a sentence.
        notices: where a sentence for the user is appended if its axes were turned.

    Raises:
        LIPCARError: not finite, no extent or one that no examination has, axes that are sheared.
    """
    numbers = np.asarray((*grid.spacing, *grid.origin, *grid.direction))
    if not np.isfinite(numbers).all():
        raise LIPCARError(
            f"{name} has a place in space that is not finite (spacing {join(grid.spacing)} mm, origin "
            f"({join(grid.origin, ', ')}) mm). Its header is damaged; export it again."
        )
    if not (SPACINGS[0] <= min(grid.spacing) and max(grid.spacing) <= SPACINGS[1]) or (
        np.abs(grid.origin).max() > FARTHEST
    ):
        raise LIPCARError(
            f"{name} has a spacing of {join(grid.spacing)} mm from ({join(grid.origin, ', ')}) mm on; spacings of "
            f"{SPACINGS[0]:g} to {SPACINGS[1]:g} mm are expected. Its header is damaged or has another unit; export it "
            "again."
        )
    upright = grid.upright()
    if upright is None:
        raise LIPCARError(
            f"{name} has axes that do not stand at right angles (a shear, as an affine registration leaves). Resample "
            "it onto a grid with right angles first."
        )
    if upright.differences(grid):
        notices.append(
            f"{name} has axes that do not quite stand at right angles; the nearest ones that do were taken, by which "
            f"no voxel lies more than {upright.distance(grid):.2g} mm elsewhere."
        )
    return upright


def resample(image: sitk.Image, grid: Grid) -> sitk.Image:
    """The image interpolated linearly on a grid of the same dimension, float32, zero beyond its edges."""
    return sitk.Resample(
        image,
        grid.size,
        sitk.Transform(grid.dimension, sitk.sitkIdentity),
        sitk.sitkLinear,
        grid.origin,
        grid.spacing,
        grid.direction,
        0.0,
        sitk.sitkFloat32,
    )


def slicing_axis(grid: Grid, chosen: int | None) -> int:
    """The index axis that slices are taken along: 0 (i), 1 (j) or 2 (k).

    Args:
        grid: of the image.
        chosen: what the user asks for; None takes the acquired one: the only axis of one voxel, else the axis of
            clearly the largest spacing, else k.

    Raises:
        LIPCARError: a 2-D image is to be sliced along i or j.
        ValueError: no axis of that number.
    """
    if chosen not in (None, 0, 1, 2):
        raise ValueError(f"slice_axis {chosen!r}: 0, 1, 2 or None is expected")
    if grid.dimension == 2:
        if chosen in (0, 1):
            raise LIPCARError(
                f"A 2-D image cannot be sliced along {AXES[chosen]}. "
                "Leave the choice of the slicing axis to the program."
            )
        return 2
    if chosen is not None:
        return chosen
    if grid.size.count(1) == 1:
        return grid.size.index(1)
    order = np.argsort(grid.spacing)
    thick, next_thick = grid.spacing[order[2]], grid.spacing[order[1]]
    return int(order[2]) if thick > THICK_SLICES * next_thick else 2


def plane_axes(slice_axis: int) -> tuple[int, int]:
    """The index axes that H and W of the slices run along: the higher one first."""
    first, second = [axis for axis in (2, 1, 0) if axis != slice_axis]
    return first, second


def slices_first(image: sitk.Image, slice_axis: int) -> np.ndarray:
    """A view of the voxels as (S, H, W), S along the slicing axis; valid as long as the image lives."""
    array = sitk.GetArrayViewFromImage(image)
    return array[np.newaxis] if array.ndim == 2 else np.moveaxis(array, 2 - slice_axis, 0)


def join(values: tuple[float, ...], separator: str = " x ") -> str:
    """Numbers in a message, to five digits."""
    return separator.join(f"{value:.5g}" for value in values)
