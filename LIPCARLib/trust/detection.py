"""A blinded reader of enhancement that is not ours, and what it found held against the true lesions.

The reader knows an image and the pre-dose image, nothing else, and reads every image by one rule: what rises by more
than five standard deviations of the tissue around it is marked. Subtraction maps of normalized images are Ellingson's
(Radiology 271, 2014), five standard deviations are the rule for hyperenhancement in the heart (Bondarenko, J Cardiovasc
Magn Reson 7, 2005) and what an eye needs (Rose, J Opt Soc Am 38, 1948).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

DEVIATIONS = 5.0
LEAST_VOXELS = 3
"""A smaller region is nobody's finding."""
LEAST_CONTRAST = 0.01
"""Of the tissue's level: no eye sees less, however quiet an image is."""
OVERLAP = 0.1
"""The share that must be covered, of a region by lesions and of a lesion by regions (Commowick, Sci Rep 8, 2018)."""
PERCENTILE = 95.0
NORMAL_DEVIATION = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

Labels = npt.NDArray[np.intp]
"""(S, H, W): 0, or the number of a region, from 1."""
Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
"""mm between slices, rows and columns."""


@dataclass(frozen=True)
class LesionReading:
    """What the reader made of one true lesion.

    Attributes:
        diameter: of a circle as large as the lesion's largest cross-section, holes included, in mm: a size that slices
            of any thickness show.
        volume: in mm^3.
        found: regions that are no false positives cover at least OVERLAP of it.
        found_volume: of these regions, in mm^3, 0 for a missed lesion.
        dice: of these regions and the lesion, 0 for a missed one.
        hausdorff95: 95th percentile of the distances between their contours in the slices, the larger one of both
            ways, in mm; None for a missed lesion.
    """

    diameter: float
    volume: float
    found: bool
    found_volume: float
    dice: float
    hausdorff95: float | None


def read_enhancement(image: np.ndarray, predose: np.ndarray, region: Mask, spacing: Spacing) -> Labels:
    """The regions that the reader marks, the same for any gain of either image.

    Median and median absolute deviation stand for mean and standard deviation of healthy tissue, which nobody has
    marked.

    Args:
        image, predose: (S, H, W), in any units.
        region: where it reads, (S, H, W), whatever the image: mostly healthy tissue.
        spacing: of the voxels.
    """
    nothing = np.zeros(image.shape, np.intp)
    before = float(np.median(predose[region])) if region.any() else 0.0
    if not before > 0:
        return nothing
    level = float(np.median(image[region]))
    rise = image - np.float64(level / before) * predose
    middle = float(np.median(rise[region]))
    deviation = NORMAL_DEVIATION * float(np.median(np.abs(rise[region] - middle)))
    marked = connected_regions(region & (rise > middle + max(DEVIATIONS * deviation, LEAST_CONTRAST * level)), spacing)
    return _renumbered(marked, np.bincount(marked.ravel()) >= LEAST_VOXELS)


def connected_regions(mask: Mask, spacing: Spacing) -> Labels:
    """Number the connected regions: 26 neighbors; but slices further apart than a region is wide show different ones.

    Args:
        mask: (S, H, W).
        spacing: of the voxels.
    """
    joined, count = ndimage.label(mask, np.ones((3, 3, 3)))
    areas = np.stack([np.bincount(plane.ravel(), minlength=count + 1) for plane in joined])
    alone = _circle_diameter(areas.max(0), spacing) < spacing[0]
    if len(mask) > 1 and alone[1:].any():
        in_plane, _ = ndimage.label(mask, np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))]))
        joined = np.where(mask & alone[joined], count + in_plane, joined)
    return _renumbered(joined, np.ones(int(joined.max()) + 1, bool))


def read_lesions(found: Labels, lesions: Labels, spacing: Spacing) -> list[LesionReading]:
    """What the reader made of every lesion, in the order of their numbers.

    Args:
        found: of :func:`read_enhancement`.
        lesions: of the same shape, the true ones.
        spacing: of the voxels.
    """
    true_positive = _covered(found, lesions > 0)
    kept = np.where(true_positive[found], found, 0)
    boxes = ndimage.find_objects(lesions)
    return [_read_lesion(kept, lesions, number, spacing) for number, box in enumerate(boxes, start=1) if box]


def count_outside(found: Labels, mask: Mask) -> int:
    """How many regions a mask covers by less than OVERLAP: of the lesions' mask, the false positives.

    Args:
        found: of :func:`read_enhancement`.
        mask: of the same shape.
    """
    return int((~_covered(found, mask)[1:]).sum())


def hausdorff95(one: Mask, other: Mask, spacing: Spacing) -> float:
    """95th percentile of the distances from the contours of one to those of the other, the larger one of both ways, mm.

    Args:
        one, other: (S, H, W), neither empty; the contours are those in the slices.
        spacing: of the voxels.
    """
    (box,) = ndimage.find_objects((one | other).astype(np.uint8))
    contours = [_contours(mask[box]) for mask in (one, other)]
    away = [ndimage.distance_transform_edt(~contour, sampling=spacing) for contour in contours]
    ways = (away[1][contours[0]], away[0][contours[1]])
    return max(float(np.percentile(distances, PERCENTILE)) for distances in ways)


def _read_lesion(kept: Labels, lesions: Labels, number: int, spacing: Spacing) -> LesionReading:
    lesion = lesions == number
    touching = np.unique(kept[lesion])
    # Of a region that runs through several lesions, each has what is not another's.
    regions = np.isin(kept, touching[touching > 0]) & (lesion | (lesions == 0))
    voxel, common = float(np.prod(spacing)), int((regions & lesion).sum())
    found = bool(common >= OVERLAP * lesion.sum())
    areas = [int(ndimage.binary_fill_holes(plane).sum()) for plane in lesion if plane.any()]
    return LesionReading(
        diameter=float(_circle_diameter(np.array(max(areas)), spacing)),
        volume=voxel * int(lesion.sum()),
        found=found,
        found_volume=voxel * int(regions.sum()) if found else 0.0,
        dice=2 * common / int(regions.sum() + lesion.sum()) if found else 0.0,
        hausdorff95=hausdorff95(regions, lesion, spacing) if found else None,
    )


def _covered(found: Labels, mask: Mask) -> Mask:
    """By number, whether at least OVERLAP of a region lies in a mask."""
    sizes = np.bincount(found.ravel())
    covered: Mask = np.bincount(found[mask], minlength=len(sizes)) >= OVERLAP * sizes
    return covered


def _contours(mask: Mask) -> Mask:
    """What has a neighbor outside, over a side, in its slice."""
    contours: Mask = mask & ~ndimage.binary_erosion(mask, ndimage.generate_binary_structure(2, 1)[np.newaxis])
    return contours


def _circle_diameter(pixels: np.ndarray, spacing: Spacing) -> npt.NDArray[np.float64]:
    return np.sqrt(4 / np.pi * spacing[1] * spacing[2] * pixels)


def _renumbered(labels: npt.NDArray[np.integer], kept: Mask) -> Labels:
    """From 1 on without gaps, those alone that are kept."""
    numbers, places = np.unique(np.where(kept[labels], labels, 0), return_inverse=True)
    result: Labels = places.reshape(labels.shape) + (numbers[0] > 0)
    return result
