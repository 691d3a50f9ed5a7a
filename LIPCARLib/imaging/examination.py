"""The checked input of one examination: the images of the three doses on one grid, and their common scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from .images import AnyPath, Grid, check_kind, read_image, resample
from .intensity import (
    MAX_SAMPLES,
    foreground_scale,
    noise_deviation,
    noise_floor,
    order_statistic,
    sampled,
    threshold,
)
from .registration import (
    GAIN_RANGE,
    GAIN_TOLERANCE,
    KINSHIP,
    KINSHIP_DOUBT,
    SHIFT_LIMIT,
    SHIFT_TOLERANCE,
    gain_ratio,
    kinship,
    looks_swapped,
    move,
    shift_between,
)

AXES = ("i", "j", "k")

NEGATIVE_FRACTION = 0.01
NEGATIVE_MAGNITUDE = 0.02
MIN_COVERAGE = 0.5
MIN_PIXELS = 16
THICK_SLICES = 1.05
_NAMES = {"lowdose": "The low-dose image", "predose": "The pre-dose image", "highdose": "The high-dose image"}


@dataclass(frozen=True, eq=False)
class Examination:
    """One examination, checked: what the engine computes from, and the way back to an image.

    Attributes:
        lowdose: x_L, (S, H, W) float32, non-negative, in the image's own intensity units. S runs along the
            slicing axis, H and W along the other two index axes, the higher one first: (k, j, i), (j, k, i)
            or (i, k, j).
        predose: x_P on the same grid, moved by `predose_shift` and multiplied by `predose_gain`; None where there is
            none or it shows something else than the low-dose image.
        highdose: x_H on the same grid, the reference for an evaluation, or None.
        grid: the low-dose image's own geometry, 2-D where the input is.
        slice_axis: index axis that S runs along: 0 is i, 1 is j, 2 is k.
        scale: positive; images divided by it are in the common scale. From the low-dose image alone, so that
            a model with and one without a pre-dose image see the same scale (see `foreground_scale`).
        noise_floor: of the low-dose image, in its units (see `noise_floor`).
        noise: its noise's standard deviation, in its units, by the pre-dose image too (see `noise_deviation`).
        predose_shift: pixels by which the pre-dose image was moved along H and W, (0, 0) where it was left alone (see
            `shift_between`).
        predose_gain: what the pre-dose image was multiplied by, 1 where it was left alone (see `gain_ratio`).
        predose_rest: pixels along H and W by which the pre-dose image still lies beside the low-dose image, less than
            the networks mind; (0, 0) where it was moved or none was told.
        predose_doubtful: the pre-dose image may show something else, or moved tissue (see `kinship`): a rule for alpha
            then returns the prior without its noise.
        notices: sentences for the user about what was changed or looks odd.
        first_slice, slices_in_all: of the whole examination, where this is a part of it; 0 and S otherwise.
    """

    lowdose: np.ndarray
    predose: np.ndarray | None
    highdose: np.ndarray | None
    grid: Grid
    slice_axis: int
    scale: float
    noise_floor: float
    noise: float
    predose_shift: tuple[float, float]
    predose_gain: float
    predose_rest: tuple[float, float]
    predose_doubtful: bool
    notices: tuple[str, ...]
    first_slice: int
    slices_in_all: int

    @classmethod
    def read(
        cls,
        lowdose_path: AnyPath,
        predose_path: AnyPath | None = None,
        highdose_path: AnyPath | None = None,
        slice_axis: int | None = None,
        match_predose: bool = True,
    ) -> Examination:
        """Read, check and align the images of one examination; see `images.read_image` and `from_images`.

        Raises:
            LIPCARError: as these two do; the message names the file.
        """
        paths = {"lowdose": lowdose_path, "predose": predose_path, "highdose": highdose_path}
        given = {role: Path(path) for role, path in paths.items() if path is not None}
        names = {role: f"{_NAMES[role]} ('{path}')" for role, path in given.items()}
        return cls._build({role: read_image(path) for role, path in given.items()}, names, slice_axis, match_predose)

    @classmethod
    def from_images(
        cls,
        lowdose: sitk.Image,
        predose: sitk.Image | None = None,
        highdose: sitk.Image | None = None,
        slice_axis: int | None = None,
        names: Mapping[str, str] | None = None,
        match_predose: bool = True,
    ) -> Examination:
        """Check and align the images of one examination.

        Args:
            lowdose: 2-D or 3-D, one real value per voxel; its grid is the examination's.
            predose, highdose: the same, of the same dimension. On another grid they are interpolated linearly
                onto that of the low-dose image, and a notice says so.
            slice_axis: 0 (i), 1 (j) or 2 (k); None takes the acquired one: the only axis of one voxel, else
                the axis of clearly the largest spacing, else k.
            names: how messages call the images, by argument; each the subject of a sentence.
            match_predose: whether to bring the pre-dose image to the low-dose image's place and receiver gain where
                the two differ, and to leave it out where it shows something else; a notice says so.

        Raises:
            LIPCARError: an image that is not a non-negative, finite, non-constant magnitude image, two images
                that are the same or do not overlap, differing dimensions.
        """
        given = {"lowdose": lowdose, "predose": predose, "highdose": highdose}
        images = {role: image for role, image in given.items() if image is not None}
        return cls._build(images, names or _NAMES, slice_axis, match_predose)

    @classmethod
    def _build(
        cls, images: dict[str, sitk.Image], names: Mapping[str, str], slice_axis: int | None, match_predose: bool
    ) -> Examination:
        for role, image in images.items():
            check_kind(image, names[role])
        grid = Grid.of(images["lowdose"])
        axis = _slice_axis(grid, slice_axis)
        notices: list[str] = []
        arrays: dict[str, np.ndarray] = {}
        for role in list(images):  # popped one by one: the big volumes shall not be held twice
            image = _checked_content(images.pop(role), names[role], notices)
            if role != "lowdose":
                image = _on_grid(image, grid, names[role], notices)
            arrays[role] = _slices_first(image, axis)
        _check_distinct(arrays, names)
        _note_small(arrays["lowdose"], notices)
        gain, shift, rest, related = 1.0, (0.0, 0.0), (0.0, 0.0), None
        if "predose" in arrays and match_predose:
            shift, rest = _note_shift(arrays["predose"], arrays["lowdose"], grid, axis, notices)
            if any(shift):
                arrays["predose"] = move(arrays["predose"], shift)
            related = _note_kinship(arrays["predose"], arrays["lowdose"], notices)
            if related is not None and related < KINSHIP:
                del arrays["predose"]
        if "predose" in arrays:
            gain = _note_order_and_gain(arrays["predose"], arrays["lowdose"], notices, match_predose)
            arrays["predose"] *= np.float32(gain)
        return cls(
            arrays["lowdose"],
            arrays.get("predose"),
            arrays.get("highdose"),
            grid,
            axis,
            foreground_scale(arrays["lowdose"]),
            noise_floor(arrays["lowdose"]),
            noise_deviation(arrays["lowdose"], arrays.get("predose")),
            shift,
            gain,
            rest,
            related is not None and related < KINSHIP_DOUBT,
            tuple(notices),
            0,
            len(arrays["lowdose"]),
        )

    def part(self, start: int, stop: int) -> Examination:
        """Some neighboring slices on their own grid, with the scale and the noise floor of the whole.

        A reconstruction of the part holds the same voxels as these slices of the whole one.

        Args:
            start, stop: half-open range of slices, as Python counts.

        Raises:
            LIPCARError: the range is empty or leaves the examination.
        """
        count = len(self.lowdose)
        if not 0 <= start < stop <= count:
            raise LIPCARError(
                f"Slices {start + 1} to {stop} were asked for; the examination has slices 1 to {count}. Choose a range "
                "within it."
            )
        if (start, stop) == (0, count):
            return self
        arrays = {
            role: None if array is None else array[start:stop]
            for role, array in (("lowdose", self.lowdose), ("predose", self.predose), ("highdose", self.highdose))
        }
        grid = self.grid.part(self.slice_axis, start, stop)
        return replace(self, **arrays, grid=grid, first_slice=self.first_slice + start)

    def aligned_predose(self, slices: slice) -> np.ndarray | None:
        """Some slices of the pre-dose image as the low-dose image has them, moved by `predose_rest`."""
        if self.predose is None or not any(self.predose_rest):
            return None if self.predose is None else self.predose[slices]
        return move(self.predose[slices], self.predose_rest)

    def to_image(self, array: np.ndarray) -> sitk.Image:
        """An array of the shape of `lowdose` as a float32 image on exactly the low-dose image's own grid.

        Args:
            array: (S, H, W), in intensity units: the caller has undone the scale.

        Returns:
            2-D where the low-dose image is; origin, spacing and direction equal to its bit for bit.
        """
        if array.shape != self.lowdose.shape:
            raise ValueError(f"array of shape {array.shape} for an examination of {self.lowdose.shape}")
        if self.grid.dimension == 2:
            return self.grid.image(array[0])
        return self.grid.image(np.moveaxis(array, 0, 2 - self.slice_axis))

    def slices_of(self, image: sitk.Image, name: str) -> np.ndarray:
        """The way back of `to_image`: an image on the same grid (a mask, a noise-free image) as an array.

        Args:
            image: any values, on the low-dose image's grid; nothing is resampled.
            name: how messages call it, the subject of a sentence.

        Returns:
            (S, H, W) float32, as `lowdose`.

        Raises:
            LIPCARError: the image lies on another grid or is no image of one real value per voxel.
        """
        check_kind(image, name)
        own = Grid.of(image)
        same_kind = own.dimension == self.grid.dimension
        differences = self.grid.differences(own) if same_kind else [f"{own.dimension} dimensions"]
        if differences:
            raise LIPCARError(
                f"{name} does not lie on the grid of the low-dose image: it has "
                f"{', '.join(differences)}. Resample it onto the low-dose image first."
            )
        return _slices_first(image, self.slice_axis)


# Geometry


def _slice_axis(grid: Grid, chosen: int | None) -> int:
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


def _slices_first(image: sitk.Image, axis: int) -> np.ndarray:
    array = sitk.GetArrayViewFromImage(image)
    array = array[np.newaxis] if array.ndim == 2 else np.moveaxis(array, 2 - axis, 0)
    return np.array(array, np.float32, order="C")


def _on_grid(image: sitk.Image, grid: Grid, name: str, notices: list[str]) -> sitk.Image:
    """The image itself where it lies on the grid, resampled onto it otherwise."""
    if image.GetDimension() != grid.dimension:
        raise LIPCARError(
            f"{name} has {image.GetDimension()} dimensions, the low-dose image has "
            f"{grid.dimension}. Give both as single slices or both as volumes."
        )
    own = Grid.of(image)
    differences = grid.differences(own)
    if not differences:
        return image
    coverage = grid.covered_by(own)
    if coverage < MIN_COVERAGE:
        raise LIPCARError(
            f"{name} covers only {coverage:.0%} of the low-dose image's field of view; at "
            f"least {MIN_COVERAGE:.0%} is expected. Choose images of the same patient and "
            "session, and register them first if the patient was moved."
        )
    missing = f"; the {1 - coverage:.1%} outside it is zero" if coverage < 0.9995 else ""
    notices.append(
        f"{name} was resampled onto the grid of the low-dose image: it has {', '.join(differences)}{missing}."
    )
    return resample(image, grid)


# Content


def _checked_content(image: sitk.Image, name: str, notices: list[str]) -> sitk.Image:
    """The image as float32, small negative values clipped to zero.

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
    return sitk.Clamp(image, sitk.sitkFloat32, 0.0, highest)


def _check_distinct(arrays: Mapping[str, np.ndarray], names: Mapping[str, str]) -> None:
    for one, other in (("predose", "lowdose"), ("highdose", "lowdose"), ("highdose", "predose")):
        if one in arrays and other in arrays and np.array_equal(arrays[one], arrays[other]):
            raise LIPCARError(
                f"{names[one]} and {_lower(names[other])} are the same, voxel for voxel. "
                "Choose two different acquisitions."
            )


def _note_small(lowdose: np.ndarray, notices: list[str]) -> None:
    height, width = lowdose.shape[1:]
    if min(height, width) < MIN_PIXELS:
        notices.append(
            f"The slices are only {width} x {height} pixels, fewer than the {MIN_PIXELS} a side "
            "that the networks need to see structure. Is the slicing axis right?"
        )


def _note_order_and_gain(predose: np.ndarray, lowdose: np.ndarray, notices: list[str], match_predose: bool) -> float:
    """Say what is odd about the pair; returns what the pre-dose image is to be multiplied by."""
    step = -(-lowdose.size // MAX_SAMPLES)  # whole slices: pixels are averaged with their neighbors
    before, after = predose[::step], lowdose[::step]
    foreground = (before > threshold(sampled(before))) & (after > threshold(sampled(after)))
    gain = gain_ratio(predose, lowdose) if foreground.any() else None
    if gain is None:
        notices.append(
            "The pre-dose and the low-dose image have no bright tissue in common. "
            "Are both of the same patient and session, and registered?"
        )
        return 1.0
    if looks_swapped(before, after, float(np.median(after[foreground] / before[foreground]))):
        notices.append(
            "The low-dose image is darker than the pre-dose image where tissue changes most, as "
            "if the two were swapped. Check which one was acquired first."
        )
        return 1.0
    if abs(gain - 1) <= GAIN_TOLERANCE:
        return 1.0
    found = f"Tissue that does not enhance is {gain:.2f} times as bright in the low-dose image as in the pre-dose image"
    if not GAIN_RANGE[0] <= gain <= GAIN_RANGE[1]:
        notices.append(
            f"{found}; {GAIN_RANGE[0]} to {GAIN_RANGE[1]} is expected. Were both acquired with the same settings, "
            "without rescaling? Nothing was done about it."
        )
        return 1.0
    if not match_predose:
        return 1.0
    notices.append(
        f"{found}, as after a change of receiver gain. The pre-dose image was brought to that level for the "
        "computation."
    )
    return gain


def _note_kinship(predose: np.ndarray, lowdose: np.ndarray, notices: list[str]) -> float | None:
    """How alike the two are; says where the pre-dose image shows something else, and where that is in doubt."""
    found = kinship(predose, lowdose)
    if found is None or found >= KINSHIP_DOUBT:
        return found
    words = f"The structures of the pre-dose and the low-dose image have a correlation of {found:.2f}"
    if found >= KINSHIP:
        notices.append(
            f"{words}; images of one patient at rest have more than {KINSHIP_DOUBT}. Check that the pre-dose image is "
            "of this patient, and register it if the patient was moved."
        )
    else:
        notices.append(
            f"{words}: the pre-dose image shows something else and was left out. Check that it is of this patient, and "
            "register it if the patient was moved."
        )
    return found


def _note_shift(
    predose: np.ndarray, lowdose: np.ndarray, grid: Grid, axis: int, notices: list[str]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Pixels by which to move the pre-dose image, and by which it then still lies beside the low-dose image."""
    stay = 0.0, 0.0
    shift = shift_between(predose, lowdose)
    if shift is None or np.hypot(*shift) > SHIFT_LIMIT:
        return stay, stay
    if np.hypot(*shift) <= SHIFT_TOLERANCE:
        return stay, shift
    spacing = [*grid.spacing, 1.0][:3]
    along = [(AXES[a], pixels, abs(pixels) * spacing[a]) for a, pixels in zip(_in_plane(axis), shift, strict=True)]
    words = " and ".join(f"{pixels:+.2f} pixels ({mm:.2f} mm) along {name}" for name, pixels, mm in along)
    notices.append(
        "The pre-dose image lay beside the low-dose image, as after a movement of the patient. It was moved by "
        f"{words} for the computation."
    )
    return shift, stay


def _in_plane(slice_axis: int) -> tuple[int, int]:
    """The index axes that H and W run along."""
    first, second = [axis for axis in (2, 1, 0) if axis != slice_axis]
    return first, second


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
