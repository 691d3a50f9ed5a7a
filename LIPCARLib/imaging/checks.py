"""What of an image is refused, what is mended and noticed: its kind, its intensities, its grid, its size."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import SimpleITK as sitk

from ..doubt import Doubt
from ..errors import LIPCARError
from .grid import Grid, join, resample
from .intensity import FAR_BRIGHTER, foreground_scale, sampled

NEGATIVE_WEIGHT = 0.04
"""Negative values of a smaller share of all intensity are clipped: 0.012 at most where a skull-stripped image was
interpolated, by splines or sincs; 0.048 in a CT with air in 3 % of it, 0.08 in a subtraction, 0.5 in a phase image."""
FAINTEST = float(np.finfo(np.float32).smallest_normal) * 2**10
BRIGHTEST = float(np.finfo(np.float32).max) / 2**4
"""Of `foreground_scale`: beyond, 32-bit floats lose the dark voxels' digits, or cannot hold a result."""
MOST_APART = 100
"""Powers of two between the units of two images: more cannot be brought together in 32-bit floats."""
MIN_COVERAGE = 0.5
"""The share of the low-dose image's field of view that another image must cover."""
MIN_PIXELS = 16
"""A shorter side is noticed: the networks halve their images four times."""
LEAST_PIXELS = 2
"""A shorter side is refused: a line of voxels has no structure in two directions."""


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
    """The image as float32, without small negative values, spikes, and what else is far brighter than tissue.

    Args:
        image: of one real value per voxel, in intensity units; it may be the one returned.
        name: how messages call it, the subject of a sentence.
        notices: where sentences for the user are appended if values were changed.

    Raises:
        LIPCARError: NaN or infinite voxels, a constant image, more negative values, units that float32 cannot hold.
    """
    if image.GetPixelID() != sitk.sitkFloat32:
        image = sitk.Cast(image, sitk.sitkFloat32)
    array = sitk.GetArrayViewFromImage(image)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        found = "1 voxel that is" if bad == 1 else f"{bad} voxels that are"
        raise LIPCARError(
            f"{name} has {found} NaN or infinite; finite intensities are expected. Replace them or export the image "
            "again."
        )
    lowest, highest = float(array.min()), float(array.max())
    if lowest == highest:
        raise LIPCARError(
            f"{name} is {lowest:g} everywhere; an image of a patient is expected. Was the right volume chosen?"
        )
    values = sampled(array)
    scale = foreground_scale(values) if highest > 0 else 0.0
    if lowest < 0:
        _check_negative(values, array, scale, name, notices)
    if not FAINTEST <= scale <= BRIGHTEST:
        raise LIPCARError(
            f"{name} has intensities near {scale:.2g}, at the end of what 32-bit floating-point numbers hold; "
            f"{FAINTEST:.2g} to {BRIGHTEST:.2g} are expected. Bring them near 1000."
        )
    most = FAR_BRIGHTER * scale
    if lowest < 0 or highest > most:
        array = np.maximum(array, 0)
    if highest > most:
        count = int(np.count_nonzero(array > most))
        found = "1 voxel" if count == 1 else f"{count} voxels"
        notices.append(
            f"{name} has {found} far brighter than tissue, up to {highest:.4g} (spikes, metal or a reference tube?); "
            f"the median of the neighbors, or {most:.4g}, was taken instead."
        )
        _limit(array, most)
    if np.count_nonzero(array > 0) < 2:
        raise LIPCARError(
            f"{name} shows no tissue, at most a few voxels above zero; an image of a patient is expected. Was the "
            "right volume chosen?"
        )
    if lowest >= 0 and highest <= most:
        return image
    mended = sitk.GetImageFromArray(array, isVector=False)
    mended.CopyInformation(image)
    return mended


def _check_negative(values: np.ndarray, array: np.ndarray, scale: float, name: str, notices: list[str]) -> None:
    """Tell what interpolation and filters leave from what is no magnitude, by the negative values' share of the whole.

    A voxel counts as much as a bright one at most: a few tell nothing of the kind of an image.

    Args:
        values: some of the voxels.
        array: all of them.
        scale: the `foreground_scale` of the image, 0 where nothing is positive.
    """
    counted = np.clip(values / (scale or 1.0), -1.0, 1.0, dtype=np.float64)
    weight = float(np.maximum(-counted, 0).sum() / max(np.abs(counted).sum(), 1e-9))
    found = (
        f"negative values in {np.count_nonzero(array < 0) / array.size:.2%} of its voxels, down to {array.min():.4g}"
    )
    if not scale or weight > NEGATIVE_WEIGHT:
        raise LIPCARError(
            f"{name} has {found}; an MR magnitude image is expected, not a CT, a subtraction, a phase image or a part "
            "of a complex one. Choose the acquired series."
        )
    notices.append(f"{name} has small {found}, as interpolation leaves them; they were set to zero.")


def _limit(array: np.ndarray, most: float) -> None:
    """What exceeds `most` becomes the median of its neighborhood, or `most`: a spike goes, a tube stays bright."""
    places = np.argwhere(array > most)
    steps = np.array(list(product((-1, 0, 1), repeat=array.ndim)))
    around = np.clip(places[:, None] + steps, 0, np.array(array.shape) - 1)
    array[tuple(places.T)] = np.minimum(np.median(array[tuple(np.moveaxis(around, -1, 0))], axis=1), most)


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


def check_units(exponents: Mapping[str, int], names: Mapping[str, str]) -> None:
    """Refuse images that no factor brings together.

    Args:
        exponents: of the power of two that each one's intensities are near, by role; of the low-dose image among them.
        names: how messages call them, by role.

    Raises:
        LIPCARError: one is more than 2^MOST_APART times as bright as the low-dose image, or as dark.
    """
    for role, exponent in exponents.items():
        if abs(exponent - exponents["lowdose"]) > MOST_APART:
            raise LIPCARError(
                f"{names[role]} is about {2.0 ** (exponent - exponents['lowdose']):.0e} times as bright as "
                f"{_lower(names['lowdose'])}; images of one session in like units are expected. Export both alike."
            )


def check_size(lowdose: np.ndarray, notices: list[str]) -> None:
    """Refuse slices (S, H, W) that are lines, and say where they are too small for the networks to see much.

    Most often the slicing axis is wrong then.

    Raises:
        LIPCARError: a side of one pixel.
    """
    height, width = lowdose.shape[1:]
    if min(height, width) < LEAST_PIXELS:
        raise LIPCARError(
            f"The slices are only {width} x {height} pixels; at least {LEAST_PIXELS} x {LEAST_PIXELS} are expected, "
            f"and {MIN_PIXELS} x {MIN_PIXELS} for a result to rely on. Is the slicing axis right?"
        )
    if min(height, width) < MIN_PIXELS:
        expected = f"fewer than the {MIN_PIXELS} a side that the networks need to see structure"
        notices.append(Doubt(f"The slices are only {width} x {height} pixels, {expected}. Is the slicing axis right?"))


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
