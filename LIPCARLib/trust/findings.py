"""Connected regions where the result and the low-dose image disagree about enhancement, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from ..imaging import Grid

UNSUPPORTED, SUPPRESSED = 1, 2
"""Labels: enhancement in the result that x_L - x_P does not support; in x_L - x_P, that the result lacks."""
KINDS = {UNSUPPORTED: "unsupported", SUPPRESSED: "suppressed"}
LEAST_VOXELS = 5
"""A region of fewer is one neighborhood's chance."""


@dataclass(frozen=True)
class Finding:
    """One connected region.

    Attributes:
        kind: "unsupported" or "suppressed".
        voxels, volume_mm3: its size.
        slice: index along the examination's slicing axis, from 0, of its voxel nearest to its center.
        center_lps: that voxel's center, mm, as in SimpleITK and DICOM; two numbers for a 2-D image.
        mean_difference: of the result to what x_L - x_P supports, in intensity units, averaged over the region.

    >>> Finding("unsupported", 9, 9.0, 2, (0.0, 1.0, 2.0), 40.0).kind
    'unsupported'
    """

    kind: str
    voxels: int
    volume_mm3: float
    slice: int
    center_lps: tuple[float, ...]
    mean_difference: float


def regions(
    labels: npt.NDArray[np.uint8], difference: npt.NDArray[np.float32], grid: Grid, slice_axis: int
) -> tuple[npt.NDArray[np.uint8], tuple[Finding, ...]]:
    """The labels without what is too small, and the table, the largest first.

    Args:
        labels: (S, H, W), 0 or one of KINDS; faces connect, across slices too.
        difference: of the result to what x_L - x_P supports, (S, H, W), intensity units.
        grid: of the examination.
        slice_axis: index axis that S runs along.

    >>> marked, zeros = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.float32)
    >>> marked[0, 2:5, 2:5], marked[0, 7, 7] = UNSUPPORTED, SUPPRESSED
    >>> kept, table = regions(marked, zeros, Grid((8, 8), (2.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)), 2)
    >>> [(one.kind, one.volume_mm3, one.center_lps) for one in table], int(kept.max())
    ([('unsupported', 18.0, (6.0, 3.0))], 1)
    """
    kept, found = np.zeros_like(labels), []
    for kind, name in KINDS.items():
        numbered, _ = scipy.ndimage.label(labels == kind)
        for number, box in enumerate(scipy.ndimage.find_objects(numbered), start=1):
            inside = numbered[box] == number
            voxels = int(inside.sum())
            if voxels < LEAST_VOXELS:
                continue
            kept[box][inside] = kind
            places = np.argwhere(inside) + [part.start for part in box]
            middle = places[np.square(places - places.mean(axis=0)).sum(axis=1).argmin()]
            found.append(
                Finding(
                    name,
                    voxels,
                    voxels * float(np.prod(grid.spacing)),
                    int(middle[0]),
                    _point(middle, grid, slice_axis),
                    float(difference[box][inside].mean(dtype=np.float64)),
                )
            )
    return kept, tuple(sorted(found, key=_size, reverse=True))


def _size(finding: Finding) -> int:
    return finding.voxels


def _point(place: np.ndarray, grid: Grid, slice_axis: int) -> tuple[float, ...]:
    """The physical point of a voxel (s, h, w)."""
    within = [axis for axis in (2, 1, 0) if axis != slice_axis]
    index = np.zeros(3)
    index[[slice_axis, *within]] = place
    return tuple(float(one) for one in grid.points(index[None, : grid.dimension])[0])
