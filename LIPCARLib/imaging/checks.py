"""What of an image is refused, what is mended and noticed: its kind, its intensities, its grid, its size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from .grid import Grid, join, resample
from .intensity import order_statistic, sampled

NEGATIVE_FRACTION = 0.01
"""Negative values in a smaller share of the voxels are clipped: what interpolation and filters leave."""
NEGATIVE_MAGNITUDE = 0.02
"""So are those of a smaller share of the brightest voxels' intensity."""
MIN_COVERAGE = 0.5
"""The share of the low-dose image's field of view that another image must cover."""
MIN_PIXELS = 16
"""A shorter side is noticed: the networks halve their images four times."""


def check_kind(image: sitk.Image | sitk.ImageFileReader, name: str) -> None:
    """Refuse what is no image of one real value per voxel in two or three dimensions.

    Args:
        image: an image, or a reader that has read the header.
        name: how messages call it, the subject of a sentence.

    Raises:
        LIPCARError: another dimension, a vector or color image, complex values, no voxels.
    """
    if isinstance(image, sitk.ImageFileReader):
        size, pixel, components = image.GetSize(), image.GetPixelID(), image.GetNumberOfComponents()
    else:
        size, pixel, components = image.GetSize(), image.GetPixelID(), image.GetNumberOfComponentsPerPixel()
    check_form(size, components, pixel in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64), name)


def check_form(size: tuple[int, ...], components: int, is_complex: bool, name: str) -> None:
    """The same of what a header says: voxels along each axis, values in each of them, and whether these are complex."""
    if len(size) not in (2, 3):
        raise LIPCARError(
            f"{name} has {len(size)} dimensions ({join(size)}); a single image in two or "
            "three is expected. Save the one time point you want as a file of its own."
        )
    if components != 1:
        raise LIPCARError(
            f"{name} has {components} values in each voxel (a color, vector or complex image, "
            "or a time series); one is expected. Save the channel or time point you want as a "
            "magnitude image."
        )
    if is_complex:
        raise LIPCARError(f"{name} has complex values; a magnitude image is expected. Take the absolute value first.")
    if 0 in size:
        raise LIPCARError(f"{name} is empty ({join(size)} voxels).")


def checked_content(image: sitk.Image, name: str, notices: list[str]) -> sitk.Image:
    """The image as float32, small negative values set to zero.

    Args:
        image: of one real value per voxel, in intensity units; it may be the one returned.
        name: how messages call it, the subject of a sentence.
        notices: where a sentence for the user is appended if values were set to zero.

    Raises:
        LIPCARError: NaN or infinite voxels, a constant image, larger negative values.
    """
    if image.GetPixelID() != sitk.sitkFloat32:
        image = sitk.Cast(image, sitk.sitkFloat32)
    array = sitk.GetArrayViewFromImage(image)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise LIPCARError(
            f"{name} has {bad} voxels that are NaN or infinite; finite intensities are "
            "expected. Replace them or export the image again."
        )
    lowest, highest = float(array.min()), float(array.max())
    if lowest == highest:
        raise LIPCARError(
            f"{name} is {lowest:g} everywhere; an image of a patient is expected. Was the right volume chosen?"
        )
    if lowest >= 0:
        return image
    fraction = np.count_nonzero(array < 0) / array.size
    bright = order_statistic(sampled(array), 99)
    if highest <= 0 or (fraction > NEGATIVE_FRACTION and -lowest > NEGATIVE_MAGNITUDE * bright):
        raise LIPCARError(
            f"{name} has negative values in {fraction:.1%} of its voxels, down to "
            f"{lowest:.4g}; an MR magnitude image is expected, not a CT, a subtraction or a "
            "phase image. Choose the acquired series."
        )
    notices.append(
        f"{name} has small negative values in {fraction:.2%} of its voxels, down to {lowest:.4g}; "
        "they were set to zero."
    )
    clipped: sitk.Image = sitk.Clamp(image, sitk.sitkFloat32, 0.0, highest)
    return clipped


def on_grid(image: sitk.Image, grid: Grid, name: str, notices: list[str]) -> sitk.Image:
    """The image itself where it lies on the grid, resampled onto it linearly otherwise; see `lies_on`."""
    return image if lies_on(image, grid, name, notices) else resample(image, grid)


def lies_on(image: sitk.Image, grid: Grid, name: str, notices: list[str]) -> bool:
    """Whether the image lies on the grid; one that does not has to be resampled.

    Args:
        image: of one real value per voxel.
        grid: the low-dose image's.
        name: how messages call the image, the subject of a sentence.
        notices: where a sentence for the user is appended if the image has to be resampled.

    Raises:
        LIPCARError: another dimension, or too little of the grid is covered.
    """
    if image.GetDimension() != grid.dimension:
        raise LIPCARError(
            f"{name} has {image.GetDimension()} dimensions, the low-dose image has "
            f"{grid.dimension}. Give both as single slices or both as volumes."
        )
    own = Grid.of(image)
    differences = grid.differences(own)
    if not differences:
        return True
    coverage = grid.covered_by(own)
    if coverage < MIN_COVERAGE:
        raise LIPCARError(
            f"{name} covers only {coverage:.0%} of the low-dose image's field of view; at "
            f"least {MIN_COVERAGE:.0%} is expected. Choose images of the same patient and "
            "session, and register them first if the patient was moved."
        )
    missing = f"; the {1 - coverage:.1%} outside it has no data" if coverage < 0.9995 else ""
    notices.append(
        f"{name} was resampled onto the grid of the low-dose image: it has {', '.join(differences)}{missing}."
    )
    return False


def check_distinct(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> None:
    """Refuse one acquisition given twice.

    Args:
        arrays: of one shape, by role (predose, lowdose, highdose; any may be missing).
        names: how messages call them, by role.

    Raises:
        LIPCARError: two are the same, voxel for voxel.
    """
    for one, other in (("predose", "lowdose"), ("highdose", "lowdose"), ("highdose", "predose")):
        if one in arrays and other in arrays and np.array_equal(arrays[one], arrays[other]):
            raise LIPCARError(
                f"{names[one]} and {_lower(names[other])} are the same, voxel for voxel. "
                "Choose two different acquisitions."
            )


def note_small(lowdose: np.ndarray, notices: list[str]) -> None:
    """Say where slices (S, H, W) are too small for the networks; most often the slicing axis is wrong then."""
    height, width = lowdose.shape[1:]
    if min(height, width) < MIN_PIXELS:
        notices.append(
            f"The slices are only {width} x {height} pixels, fewer than the {MIN_PIXELS} a side "
            "that the networks need to see structure. Is the slicing axis right?"
        )


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
