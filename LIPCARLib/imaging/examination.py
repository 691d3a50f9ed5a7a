"""The checked input of one examination: the images of the three doses on one grid, and their common scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
import SimpleITK as sitk

from ..doubt import Doubt
from ..errors import LIPCARError
from ..physics import Acquisition
from .checks import check_distinct, check_kind, check_size, check_units, checked_content, lies_on, on_grid
from .comparison import KINSHIP, KINSHIP_DOUBT, SWAP_CERTAIN, SwappedError, looks_swapped, note_kinship
from .files import AnyPath
from .gain import NO_GAIN, coarse_level, find_gain, settle_gain
from .grid import Grid, checked_grid, plane_axes, slices_first, slicing_axis
from .headers import common_acquisition, note_identities
from .intensity import (
    Mask,
    exponent_of,
    foreground,
    foreground_scale,
    local_mean,
    noise_deviation,
    noise_floor,
)
from .motion import Motion, slice_frame
from .reading import read_with_padding
from .registration import MOST_MISSING, Original, Shift, missing_share, move, note_missing, register, where_it_counts
from .t1_map import times_in_seconds

BORDER = 5
"""Pixels, an odd number, over which a result fades into the low-dose image where the pre-dose image has no data."""

_NAMES = {"lowdose": "The low-dose image", "predose": "The pre-dose image", "highdose": "The high-dose image"}


@dataclass(frozen=True, eq=False)
class Examination:
    """One examination, checked: what the engine computes from, and the way back to an image.

    Attributes:
        lowdose: x_L, (S, H, W) float32, non-negative, in the image's own intensity units. S runs along the
            slicing axis, H and W along the other two index axes, the higher one first: (k, j, i), (j, k, i)
            or (i, k, j).
        predose: x_P on the same grid, moved by `predose_shift` or `predose_motion` and multiplied by `predose_gain`;
            None where there is none or it shows something else than the low-dose image. Where it has no data, the
            low-dose image stands in for it, as if the agent did nothing there.
        highdose: x_H on the same grid, the reference for an evaluation, or None.
        grid: the low-dose image's own geometry, 2-D where the input is.
        slice_axis: index axis that S runs along: 0 is i, 1 is j, 2 is k.
        scale: positive; images divided by it are in the common scale. From the low-dose image alone, so that
            a model with and one without a pre-dose image see the same scale (see `foreground_scale`).
        noise_floor: of the low-dose image, in its units (see `noise_floor`).
        noise: its noise's standard deviation, in its units, by the pre-dose image too (see `noise_deviation`).
        predose_shift: pixels by which the pre-dose image was moved along H and W, (0, 0) where it was left alone (see
            `registration.register`).
        predose_gain: what the pre-dose image was multiplied by, on average over tissue, 1 where it was left alone (see
            `find_gain`).
        predose_rest: pixels along H and W by which the pre-dose image still lies beside the low-dose image, less than
            the networks mind; (0, 0) where it was moved or none was told.
        predose_doubtful: the pre-dose image was left out, or may show something else, or moved tissue (see `kinship`).
        notices: sentences for the user about what was changed or looks odd.
        first_slice, slices_in_all: of the whole examination, where this is a part of it; 0 and S otherwise.
        acquisition: how the images were acquired, as told or as their headers say; None where nothing tells it.
        predose_motion: the movement of the patient that was undone in three dimensions; None where none was.
        predose_deformed: mm by which tissue was moved beyond that within the slices, root mean square; 0 for none.
        predose_known: where the pre-dose image has data, (S, H, W) boolean; None for wherever the low-dose image has.
        native_time: T1 before the agent in seconds, (S, H, W) float32, 0 where the map tells nothing; None without one.
        padding: where the low-dose image holds no measurement but what a scanner filled it up with, (S, H, W) boolean;
            it is 0 there and so is the result. None where there is none.
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
    predose_motion: Motion | None = None
    predose_deformed: float = 0.0
    predose_known: np.ndarray | None = None
    native_time: np.ndarray | None = None
    padding: np.ndarray | None = None

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
        notices: list[str] = []
        images: dict[str, sitk.Image] = {}
        padding: dict[str, sitk.Image] = {}
        for role, path in given.items():
            images[role], mask = read_with_padding(path, notices)
            if mask is not None:
                padding[role] = mask
        note_identities(given, names, notices)
        found = common_acquisition(given, names, notices)
        return cls._checked(images, names, slice_axis, match_predose, acquisition or found, notices, padding)

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
        return cls._checked(images, names or _NAMES, slice_axis, match_predose, acquisition, [], {})

    @classmethod
    def _checked(
        cls,
        images: dict[str, sitk.Image],
        names: Mapping[str, str],
        slice_axis: int | None,
        match_predose: bool,
        acquisition: Acquisition | None,
        notices: list[str],
        padding: Mapping[str, sitk.Image],
    ) -> Examination:
        """What is checked, in this order: each image, all of them together, then the pre-dose beside the low-dose.

        All of it in units in which bright tissue is near 1.
        """
        for role, image in images.items():
            check_kind(image, names[role])
            images[role] = checked_grid(Grid.of(image), names[role], notices).put_on(image)
        grid = Grid.of(images["lowdose"])
        axis = slicing_axis(grid, slice_axis)
        arrays: dict[str, np.ndarray] = {}
        exponents: dict[str, int] = {}
        original = None
        for role in list(images):  # popped one by one: the big volumes shall not be held twice
            image = checked_content(images.pop(role), names[role], notices)
            exponents[role] = exponent_of(sitk.GetArrayViewFromImage(image))
            check_units(exponents, names)
            if role != "predose":
                image = on_grid(image, grid, names[role], notices)
                arrays[role] = _slices(image, axis, -exponents["lowdose"])
                continue
            # As it came: it is interpolated once, when its place is known.
            mask, there = padding.get(role), lies_on(image, grid, names[role], notices)
            original = Original(
                _slices(image, axis, -exponents["lowdose"]),
                slice_frame(grid if there else Grid.of(image), axis),
                None if mask is None else _slices(mask, axis) > 0,
            )
            if there:
                arrays[role] = original.volume
        unmeasured = _slices(padding["lowdose"], axis) > 0 if "lowdose" in padding else None
        check_distinct(arrays, names)
        lowdose = arrays["lowdose"]
        check_size(lowdose, notices)
        matched = _Matched(None)
        if original is not None:
            matched = _matched(original, lowdose, unmeasured, grid, axis, match_predose, notices)
        found = cls(
            lowdose=lowdose,
            predose=matched.predose,
            highdose=arrays.get("highdose"),
            grid=grid,
            slice_axis=axis,
            scale=foreground_scale(lowdose),
            noise_floor=noise_floor(lowdose if unmeasured is None else lowdose[~unmeasured]),
            noise=noise_deviation(_seen(lowdose, matched.known), matched.predose, unmeasured),
            predose_shift=matched.shift,
            predose_gain=matched.gain,
            predose_rest=matched.rest,
            predose_doubtful=matched.doubtful,
            notices=tuple(notices),
            first_slice=0,
            slices_in_all=len(lowdose),
            acquisition=acquisition,
            predose_motion=matched.motion,
            predose_deformed=matched.deformed,
            predose_known=matched.known,
            padding=unmeasured,
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
            predose_known=None if self.predose_known is None else self.predose_known[start:stop],
            native_time=None if self.native_time is None else self.native_time[start:stop],
            padding=None if self.padding is None else self.padding[start:stop],
            grid=self.grid.part(self.slice_axis, start, stop),
            first_slice=self.first_slice + start,
        )

    def with_t1_map(self, image: sitk.Image, name: str = "The T1 map", said: Sequence[str] = ()) -> Examination:
        """The same with a map of the patient's T1 before the agent.

        Args:
            image: on the low-dose image's grid, in seconds or milliseconds; zero, negative or not finite where the map
                tells nothing.
            name: how messages call it, the subject of a sentence.
            said: sentences for the user from reading it.

        Raises:
            LIPCARError: another grid, or values that are no T1 (see `times_in_seconds`).
        """
        notices = list(said)
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
        moved = move(self.predose[slices] / unit, self.predose_rest) * unit
        if self.predose_known is not None:
            missing = ~self.predose_known[slices]
            moved[missing] = self.lowdose[slices][missing]
        return moved

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm between the voxels along S, H and W; 1 along S for a 2-D image."""
        along = (*self.grid.spacing, 1.0)
        first, second = plane_axes(self.slice_axis)
        return along[self.slice_axis], along[first], along[second]

    def motion_words(self) -> str:
        """By how much the pre-dose image was moved and turned; "none" where it was not, in three dimensions."""
        return "none" if self.predose_motion is None else self.predose_motion.words(self.grid, self.slice_axis)

    @property
    def predose_missing(self) -> float:
        """Share of the tissue that the pre-dose image has no data of, 0..1."""
        return 0.0 if self.predose_known is None else missing_share(self.predose_known, self.lowdose)

    def predose_share(self, slices: slice) -> np.ndarray | None:
        """How far a result of some slices may rest on the pre-dose image, from 0 where it has no data to 1.

        It rises over BORDER pixels within the slice, so that a result that is mixed with the low-dose image by it has
        no edge where the data end.

        Returns:
            (slices, H, W) float32; None for 1 everywhere.
        """
        if self.predose_known is None:
            return None
        inner = scipy.ndimage.minimum_filter(self.predose_known[slices], (1, BORDER, BORDER))
        return local_mean(inner.astype(np.float32), BORDER)

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
    motion: Motion | None = None
    deformed: float = 0.0
    known: Mask | None = None
    gain: float = 1.0
    doubtful: bool = False


def _matched(
    original: Original,
    lowdose: np.ndarray,
    padding: Mask | None,
    grid: Grid,
    axis: int,
    match: bool,
    notices: list[str],
) -> _Matched:
    """Place first, then what is missing, kinship, order and gain: each needs what comes before it.

    The pre-dose image is the caller's to give away, the low-dose one is (S, H, W). Without `match` they are compared
    only.
    """
    coarse = coarse_level(original.volume, lowdose)
    np.multiply(original.volume, np.float32(coarse), out=original.volume)
    placed = original.placed(grid, axis)
    if match:
        placed = register(original, placed, lowdose, grid, axis, notices)
    predose = placed.predose
    if padding is not None:
        predose[padding] = 0
    known = None if placed.known is None else where_it_counts(placed.known, lowdose)
    found = _Matched(predose, placed.shift, placed.rest, placed.motion, placed.deformed, known)
    seen = _seen(lowdose, known)
    related, doubtful = None, False
    if match:
        related = note_kinship(predose, lowdose, notices, known)
        doubtful = related is not None and related < KINSHIP_DOUBT
        found = found._replace(doubtful=doubtful)
        if related is not None and related < KINSHIP:
            return _Matched(None, doubtful=True)
    if known is not None:
        missing = missing_share(known, lowdose)
        note_missing(missing, notices)
        if missing > MOST_MISSING:
            return found._replace(predose=None, known=None, doubtful=True)
    gain = find_gain(predose, seen, moved=doubtful)
    darkened = 0.0 if gain is None else looks_swapped(predose, seen, gain)
    if gain is not None and darkened:
        words = (
            "The low-dose image is darker than the pre-dose image where tissue changes most, as if the two were "
            "swapped. Check which one was acquired first"
        )
        if darkened >= SWAP_CERTAIN and related is not None and not gain.doubtful:  # else something may have moved
            raise SwappedError(f"{words}. If their order is right, go on without matching the pre-dose image.")
        notices.append(Doubt(f"{words}."))
    if gain is None or (gain.doubtful and not doubtful):
        # Of one level and too small or too dark to tell more: most sessions have one gain.
        left_out = match and (gain is not None or coarse != 1)
        words = (
            "How much brighter the low-dose image is where the agent does nothing cannot be told from the two images"
        )
        done = "; the pre-dose image was left out" if left_out else ""
        question = "Are both of the same patient and session, with bright tissue in common, and registered?"
        notices.append(Doubt(f"{words}{done}. {question}", severe=left_out))
        found = found._replace(doubtful=True)
        if left_out:
            return found._replace(predose=None, known=None)
        settled = NO_GAIN
    else:
        settled = settle_gain(gain, coarse, match, notices)
    predose /= np.float32(coarse)
    if settled is not NO_GAIN:
        settled.apply(predose)
    if known is not None:
        predose[~known] = lowdose[~known]
    return found._replace(gain=settled.ratio)


def _seen(lowdose: np.ndarray, known: Mask | None) -> np.ndarray:
    """Nothing where the pre-dose image has no data: what compares the two looks at what is common to them."""
    return lowdose if known is None else np.where(known, lowdose, np.float32(0))


def _slices(image: sitk.Image, axis: int, exponent: int = 0) -> np.ndarray:
    """The voxels times two to the exponent as a (S, H, W) float32 array of its own."""
    array = np.array(slices_first(image, axis), np.float32, order="C")
    array *= np.float32(2.0**exponent)
    return array
