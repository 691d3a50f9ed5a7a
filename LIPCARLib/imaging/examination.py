"""The checked input of one examination: the images of the three doses on one grid, and their common scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from ..physics import Acquisition
from .checks import check_distinct, check_kind, check_size, check_units, checked_content, on_grid
from .comparison import KINSHIP, KINSHIP_DOUBT, SWAP_CERTAIN, looks_swapped, note_kinship
from .files import AnyPath
from .gain import NO_GAIN, coarse_level, find_gain, settle_gain
from .grid import Grid, slices_first, slicing_axis
from .headers import common_acquisition
from .intensity import exponent_of, foreground, foreground_scale, noise_deviation, noise_floor
from .reading import read_image
from .registration import Shift, move, register
from .t1_map import times_in_seconds

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
        predose_gain: what the pre-dose image was multiplied by, on average over tissue, 1 where it was left alone (see
            `find_gain`).
        predose_rest: pixels along H and W by which the pre-dose image still lies beside the low-dose image, less than
            the networks mind; (0, 0) where it was moved or none was told.
        predose_doubtful: the pre-dose image may show something else, or moved tissue (see `kinship`): a rule for alpha
            then returns the prior without its noise.
        notices: sentences for the user about what was changed or looks odd.
        first_slice, slices_in_all: of the whole examination, where this is a part of it; 0 and S otherwise.
        acquisition: how the images were acquired, as told or as their headers say; None where nothing tells it.
        native_time: T1 before the agent in seconds, (S, H, W) float32, 0 where the map tells nothing; None without one.
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
    acquisition: Acquisition | None = None
    native_time: np.ndarray | None = None

    @classmethod
    def read(
        cls,
        lowdose_path: AnyPath,
        predose_path: AnyPath | None = None,
        highdose_path: AnyPath | None = None,
        slice_axis: int | None = None,
        match_predose: bool = True,
        acquisition: Acquisition | None = None,
    ) -> Examination:
        """Read, check and align the images of one examination; see `read_image` and `from_images`.

        Args:
            acquisition: None for what the files tell, see `read_acquisition`.

        Raises:
            LIPCARError: as these two do; the message names the file.
        """
        paths = {"lowdose": lowdose_path, "predose": predose_path, "highdose": highdose_path}
        given = {role: Path(path) for role, path in paths.items() if path is not None}
        names = {role: f"{_NAMES[role]} ('{path}')" for role, path in given.items()}
        images = {role: read_image(path) for role, path in given.items()}
        notices: list[str] = []
        found = common_acquisition(given, names, notices)
        return cls._checked(images, names, slice_axis, match_predose, acquisition or found, notices)

    @classmethod
    def from_images(
        cls,
        lowdose: sitk.Image,
        predose: sitk.Image | None = None,
        highdose: sitk.Image | None = None,
        slice_axis: int | None = None,
        names: Mapping[str, str] | None = None,
        match_predose: bool = True,
        acquisition: Acquisition | None = None,
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
            acquisition: how the images were acquired, where it is known.

        Raises:
            LIPCARError: an image that is not a non-negative, finite, non-constant magnitude image, two images
                that are the same or do not overlap, differing dimensions.
        """
        given = {"lowdose": lowdose, "predose": predose, "highdose": highdose}
        images = {role: image for role, image in given.items() if image is not None}
        return cls._checked(images, names or _NAMES, slice_axis, match_predose, acquisition, [])

    @classmethod
    def _checked(
        cls,
        images: dict[str, sitk.Image],
        names: Mapping[str, str],
        slice_axis: int | None,
        match_predose: bool,
        acquisition: Acquisition | None,
        notices: list[str],
    ) -> Examination:
        """What is checked, in this order: each image, all of them together, then the pre-dose beside the low-dose.

        All of it in units in which bright tissue is near 1.
        """
        for role, image in images.items():
            check_kind(image, names[role])
        grid = Grid.of(images["lowdose"])
        axis = slicing_axis(grid, slice_axis)
        arrays: dict[str, np.ndarray] = {}
        exponents: dict[str, int] = {}
        for role in list(images):  # popped one by one: the big volumes shall not be held twice
            image = checked_content(images.pop(role), names[role], notices)
            exponents[role] = exponent_of(sitk.GetArrayViewFromImage(image))
            check_units(exponents, names)
            arrays[role] = _slices(on_grid(image, grid, names[role], notices), axis, -exponents["lowdose"])
        check_distinct(arrays, names)
        lowdose = arrays["lowdose"]
        check_size(lowdose, notices)
        if "predose" in arrays:
            matched = _matched(arrays.pop("predose"), lowdose, grid, axis, match_predose, notices)
        else:
            matched = _Matched(None)
        found = cls(
            lowdose=lowdose,
            predose=matched.predose,
            highdose=arrays.get("highdose"),
            grid=grid,
            slice_axis=axis,
            scale=foreground_scale(lowdose),
            noise_floor=noise_floor(lowdose),
            noise=noise_deviation(lowdose, matched.predose),
            predose_shift=matched.shift,
            predose_gain=matched.gain,
            predose_rest=matched.rest,
            predose_doubtful=matched.doubtful,
            notices=tuple(notices),
            first_slice=0,
            slices_in_all=len(lowdose),
            acquisition=acquisition,
        )
        return found._times_two_to(exponents["lowdose"])

    def _times_two_to(self, exponent: int) -> Examination:
        """The same in other units; the arrays are changed in place."""
        for array in (self.lowdose, self.predose, self.highdose):
            if array is not None:
                array *= np.float32(2.0**exponent)
        scale, floor, noise = (math.ldexp(one, exponent) for one in (self.scale, self.noise_floor, self.noise))
        return replace(self, scale=scale, noise_floor=floor, noise=noise)

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
        return replace(
            self,
            lowdose=self.lowdose[start:stop],
            predose=None if self.predose is None else self.predose[start:stop],
            highdose=None if self.highdose is None else self.highdose[start:stop],
            native_time=None if self.native_time is None else self.native_time[start:stop],
            grid=self.grid.part(self.slice_axis, start, stop),
            first_slice=self.first_slice + start,
        )

    def with_t1_map(self, image: sitk.Image, name: str = "The T1 map") -> Examination:
        """The same with a map of the patient's T1 before the agent.

        Args:
            image: on the low-dose image's grid, in seconds or milliseconds; zero, negative or not finite where the map
                tells nothing.
            name: how messages call it, the subject of a sentence.

        Raises:
            LIPCARError: another grid, or values that are no T1 (see `times_in_seconds`).
        """
        notices: list[str] = []
        times = times_in_seconds(self.slices_of(image, name), foreground(self.lowdose), name, notices)
        return replace(self, native_time=times, notices=(*self.notices, *notices))

    def aligned_predose(self, slices: slice) -> np.ndarray | None:
        """Some slices of the pre-dose image as the low-dose image has them, moved by `predose_rest`.

        Returns:
            (slices, H, W) float32, in intensity units; None without a pre-dose image.
        """
        if self.predose is None or not any(self.predose_rest):
            return None if self.predose is None else self.predose[slices]
        unit = np.float32(2.0 ** math.frexp(self.scale)[1])  # a Fourier transform sums what float32 may not hold
        return move(self.predose[slices] / unit, self.predose_rest) * unit

    def to_image(self, array: np.ndarray) -> sitk.Image:
        """An array of the shape of `lowdose` as a float32 image on exactly the low-dose image's own grid.

        Args:
            array: (S, H, W), in intensity units: the caller has undone the scale.

        Returns:
            2-D where the low-dose image is; origin, spacing and direction equal to its bit for bit.

        Raises:
            ValueError: an array of another shape.
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
        return _slices(image, self.slice_axis)


class _Matched(NamedTuple):
    """The pre-dose image as it goes into the computation, and what was found out about it; see `Examination`."""

    predose: np.ndarray | None
    shift: Shift = (0.0, 0.0)
    rest: Shift = (0.0, 0.0)
    gain: float = 1.0
    doubtful: bool = False


def _matched(
    predose: np.ndarray, lowdose: np.ndarray, grid: Grid, axis: int, match: bool, notices: list[str]
) -> _Matched:
    """Place first, then kinship, order and gain: each needs what comes before it.

    The arrays are (S, H, W); the pre-dose image is the caller's to give away. Without `match` it is compared only.
    """
    shift = rest = 0.0, 0.0
    related, doubtful = None, False
    coarse = coarse_level(predose, lowdose)
    predose *= np.float32(coarse)
    if match:
        predose, shift, rest = register(predose, lowdose, grid, axis, notices)
        related = note_kinship(predose, lowdose, notices)
        doubtful = related is not None and related < KINSHIP_DOUBT
        if related is not None and related < KINSHIP:
            return _Matched(None, shift, rest, doubtful=doubtful)
    found = find_gain(predose, lowdose, moved=doubtful)
    darkened = 0.0 if found is None else looks_swapped(predose, lowdose, found)
    if found is not None and darkened:
        words = (
            "The low-dose image is darker than the pre-dose image where tissue changes most, as if the two were "
            "swapped. Check which one was acquired first"
        )
        if darkened >= SWAP_CERTAIN and related is not None and not found.doubtful:  # else something may have moved
            raise LIPCARError(f"{words}. If their order is right, go on without matching the pre-dose image.")
        notices.append(f"{words}.")
    if found is None or (found.doubtful and not doubtful):
        # Of one level and too small or too dark to tell more: most sessions have one gain.
        left_out = match and (found is not None or coarse != 1)
        notices.append(
            "How much brighter the low-dose image is where the agent does nothing cannot be told from the two images"
            + ("; the pre-dose image was left out. " if left_out else ". ")
            + "Are both of the same patient and session, with bright tissue in common, and registered?"
        )
        predose /= np.float32(coarse)
        return _Matched(None if left_out else predose, shift, rest, doubtful=True)
    gain = settle_gain(found, coarse, match, notices)
    predose /= np.float32(coarse)
    if gain is not NO_GAIN:
        gain.apply(predose)
    return _Matched(predose, shift, rest, gain.ratio, doubtful)


def _slices(image: sitk.Image, axis: int, exponent: int = 0) -> np.ndarray:
    """The voxels times two to the exponent as a (S, H, W) float32 array of its own."""
    array = np.array(slices_first(image, axis), np.float32, order="C")
    array *= np.float32(2.0**exponent)
    return array
