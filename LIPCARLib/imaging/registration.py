"""Registration: by how much the pre-dose image lies beside the low-dose image, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label, maximum_filter, minimum_filter

from ..doubt import Doubt
from .comparison import kinship
from .grid import AXES, Grid, plane_axes
from .intensity import Mask, foreground
from .motion import FloatArray, Frame, Motion, find_motion, moved_back, slice_frame

Shift = tuple[float, float]
"""Pixels along H and along W."""

SHIFT_TOLERANCE = 0.85
"""Pixels: what is off by more is moved; the networks were trained with up to that, and do no better if all is moved."""
SHIFT_LIMIT = 6.0
"""Pixels: what is off by more is left alone; `move` repeats the edge for no more than that."""
SHIFT_FREQUENCIES = 0.25
"""Cycles per pixel up to which the phase is compared: above is more noise than image."""
SHIFT_CLARITY = 6.0
"""How many times all others the highest correlation must be: 11 in simulated pairs, 1.3 between subjects."""
SHIFT_REACH = 5
"""Pixels around the highest correlation that still belong to its peak."""
SHIFT_SLICES = 16
"""At most so many slices are looked at, to save time."""
MOTION_TOLERANCE = 0.25
"""Voxels, root mean square over tissue: a smaller rotation or movement through the slices is left alone. Without any
`find_motion` found up to 0.11 in simulated pairs and 0.18 in a deformed breast."""
AGREEMENT = 0.8
"""`kinship` that a rigid movement must lead to: 0.91 in heads moved back by 8 mm and degrees, 0.65 in one deformed."""
DISTANCE_LIMIT, ANGLE_LIMIT = 30.0, 20.0
"""mm and degrees: what moved by more is not undone."""
MOST_MISSING = 0.5
"""Share of the tissue: a pre-dose image that lacks more is left out."""
NO_DATA_SIDE = 5
"""Pixels: a square of this side holds the lowest value of an image nowhere but where there is no data."""
_LAY_BESIDE = "The pre-dose image lay beside the low-dose image, as after a movement of the patient."

SHIFT_SIDE = 32
"""Pixels: slices with a shorter side hold too little to tell a shift from."""


class Placed(NamedTuple):
    """The pre-dose image where it is to lie for the computation.

    Attributes:
        predose: (S, H, W), 0 where it has no data.
        known: where it has data, (S, H, W) boolean; None for everywhere.
        shift: pixels along H and W by which it was moved within the slice; (0, 0) where it was left alone.
        rest: pixels along H and W by which it still lies beside the low-dose image, at most SHIFT_TOLERANCE; (0, 0)
            where it was moved or nothing was told.
        motion: the movement that was undone in three dimensions; None where none was.
    """

    predose: np.ndarray
    known: Mask | None
    shift: Shift = (0.0, 0.0)
    rest: Shift = (0.0, 0.0)
    motion: Motion | None = None


@dataclass(frozen=True, eq=False)
class Original:
    """The pre-dose image as it came.

    Attributes:
        volume: (S', H', W') float32, non-negative.
        frame: where it lies, see `slice_frame`.
        padding: what a scanner filled it up with, (S', H', W'); None where nothing is known to be.
    """

    volume: np.ndarray
    frame: Frame
    padding: Mask | None = None

    @cached_property
    def data(self) -> Mask:
        """Where there is any, (S', H', W')."""
        missing = without_data(self.volume)
        return ~(missing if self.padding is None else missing | self.padding)

    def placed(self, grid: Grid, slice_axis: int, motion: Motion | None = None) -> Placed:
        """Where the low-dose image has it.

        Args:
            grid, slice_axis: of the low-dose image.
            motion: to be undone; None for none.
        """
        onto = slice_frame(grid, slice_axis)
        sizes = *grid.size, 1  # a 2-D grid has no third one
        shape = tuple(sizes[axis] for axis in (slice_axis, *plane_axes(slice_axis)))
        if motion is None and self.volume.shape == shape and all(map(np.array_equal, self.frame, onto)):
            found, known = self.volume, self.data
        else:
            found, known = moved_back(self.volume, self.data, self.frame, onto, shape, motion)
        return Placed(found, None if known.all() else known, motion=motion)


def register(
    original: Original, there: Placed, lowdose: np.ndarray, grid: Grid, slice_axis: int, notices: list[str]
) -> Placed:
    """Bring the pre-dose image to the low-dose image's place, where it clearly lies beside it.

    Within the slice: a shift above SHIFT_TOLERANCE is undone, and a notice says by how much. A smaller one is left to
    the networks and kept as `rest`. A shift above SHIFT_LIMIT, or none that can be told (see `shift_between`), leaves
    all as it is. A rotation or a movement through the slices is undone instead where it moved tissue by more than
    MOTION_TOLERANCE, and so is a shift that was not told; both if the structures of the two images agree better
    afterwards, as those of one patient do.

    Args:
        original: the pre-dose image as it came.
        there: the same on the low-dose image's grid.
        lowdose: (S, H, W), non-negative, of comparable intensity.
        grid, slice_axis: of the low-dose image.
        notices: where notices are appended.
    """
    spacing = np.linalg.norm(slice_frame(grid, slice_axis)[1], axis=0)
    found = _shifted(original, there, lowdose, grid, slice_axis)
    motion = find_motion(there.predose, lowdose, spacing)
    settled = any(found.shift) or any(found.rest)
    if motion is not None and _apart(motion, lowdose, spacing, settled) > MOTION_TOLERANCE:
        undone = original.placed(grid, slice_axis, motion)
        before, after = (kinship(placed.predose, lowdose) or 0.0 for placed in (found, undone))
        if after >= AGREEMENT and after > before:
            words = motion.words(grid, slice_axis)
            if motion.distance <= DISTANCE_LIMIT and motion.angle <= ANGLE_LIMIT:
                notices.append(f"{_LAY_BESIDE} It was moved by {words} for the computation.")
                return undone
            limit = f"more than {DISTANCE_LIMIT:g} mm or {ANGLE_LIMIT:g} degrees is not undone here"
            notices.append(Doubt(f"{_LAY_BESIDE} It would have to be moved by {words}; {limit}. Register it first."))
            return there
    if any(found.shift):
        along = [
            (AXES[a], pixels, abs(pixels) * mm)
            for a, pixels, mm in zip(plane_axes(slice_axis), found.shift, spacing[1:], strict=True)
        ]
        words = " and ".join(f"{pixels:+.2f} pixels ({mm:.2f} mm) along {name}" for name, pixels, mm in along)
        notices.append(f"{_LAY_BESIDE} It was moved by {words} for the computation.")
    return found


def without_data(volume: np.ndarray) -> Mask:
    """Where an image of magnitudes is padded or masked: its lowest value fills squares of NO_DATA_SIDE pixels."""
    return _opened(volume == volume.min())


def where_it_counts(known: Mask, lowdose: np.ndarray) -> Mask | None:
    """Where the pre-dose image counts, (S, H, W); None for everywhere.

    What it has no data of is not missed where the low-dose image shows no tissue either, as around a head without its
    skull.

    Args:
        known: where it has data, (S, H, W).
        lowdose: (S, H, W), non-negative.
    """
    missing = _opened(foreground(lowdose) & ~known)
    if not missing.any():
        return None
    regions, _ = label(~known, np.ones((3, 3, 3)))
    counts: Mask = ~np.isin(regions, np.unique(regions[missing]))
    return counts


def missing_share(known: Mask, lowdose: np.ndarray) -> float:
    """Share of the tissue in the low-dose image that the pre-dose image has no data of, 0..1."""
    tissue = foreground(lowdose)
    return float(np.count_nonzero(tissue & ~known) / np.count_nonzero(tissue))


def _opened(mask: Mask) -> Mask:
    """The part of a mask (S, H, W) that squares of NO_DATA_SIDE pixels within it cover."""
    side = (1, NO_DATA_SIDE, NO_DATA_SIDE)
    opened: Mask = maximum_filter(minimum_filter(mask, side, mode="constant"), side, mode="constant")
    return opened


def note_missing(share: float, notices: list[str]) -> None:
    """Say how much of the tissue, 0..1, the pre-dose image has no data of, and what follows."""
    words = f"The pre-dose image has no data in {share:.1%} of the tissue that the low-dose image shows"
    if share > MOST_MISSING:
        notices.append(Doubt(f"{words}; it was left out. Choose images of the same field of view.", severe=True))
    else:
        notices.append(Doubt(f"{words}. The result is the low-dose image there: nothing tells what the agent does."))


def _shifted(original: Original, there: Placed, lowdose: np.ndarray, grid: Grid, slice_axis: int) -> Placed:
    """Within the slice; see `register`."""
    shift = shift_between(there.predose, lowdose)
    if shift is None or np.hypot(*shift) > SHIFT_LIMIT:
        return there
    if np.hypot(*shift) <= SHIFT_TOLERANCE:
        return there._replace(rest=shift)
    if there.predose is original.volume and (there.known is None or where_it_counts(there.known, lowdose) is None):
        return Placed(move(there.predose, shift), None, shift=shift)
    # Interpolated once, and from no further than splines swing where the data end.
    spacing = np.linalg.norm(slice_frame(grid, slice_axis)[1], axis=0)
    beside = Motion(np.eye(3), -np.array([0.0, *shift]) * spacing, np.zeros(3))
    return original.placed(grid, slice_axis, beside)._replace(shift=shift, motion=None)


def _apart(motion: Motion, lowdose: np.ndarray, spacing: FloatArray, settled: bool) -> float:
    """By how many voxels tissue was moved, root mean square; where it is settled without a shift within the slice."""
    places = np.argwhere(foreground(lowdose))[::97] * spacing
    moved = (motion(places) - places) / spacing
    if settled:
        moved[:, 1:] -= moved[:, 1:].mean(0)
    return float(np.sqrt(np.square(moved).sum(1).mean()))


def shift_between(predose: np.ndarray, lowdose: np.ndarray) -> Shift | None:
    """By how many pixels along H and W the pre-dose image must be moved to lie on the low-dose image.

    One translation for all slices, from the phase of the cross-power spectrum (Kuglin & Hines, Proc. IEEE Conf.
    Cybernetics and Society, 1975) at low spatial frequencies: the highest correlation to a pixel, then a weighted least
    squares fit of the phase's slope. The phase knows neither gain nor a uniform change of contrast. On every fourth of
    160 simulated subjects it was off by 0.005 pixels in the median; where noise prevailed in skull-stripped images, it
    was too small by up to 0.4.

    Args:
        predose, lowdose: (S, H, W), on one grid.

    Returns:
        (along H, along W); None where it cannot be told: small slices, unlike images, tissue that was deformed.
    """
    height, width = predose.shape[1:]
    if min(height, width) < SHIFT_SIDE:
        return None
    step = -(-len(predose) // SHIFT_SLICES)
    window = np.hanning(height)[:, None] * np.hanning(width)[None, :]
    spectra = [np.fft.rfft2((v - v.mean((1, 2), keepdims=True)) * window) for v in (predose[::step], lowdose[::step])]
    cross = (spectra[1] * np.conj(spectra[0])).sum(0)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    distance = np.hypot(rows, columns)
    strength = np.where((distance > 0) & (distance < SHIFT_FREQUENCIES), np.abs(cross), 0.0)
    if not strength.any():
        return None
    peak = np.fft.irfft2(np.where(strength > 0, cross / np.maximum(np.abs(cross), 1e-30), 0), s=(height, width))
    place = np.unravel_index(int(peak.argmax()), peak.shape)
    others = np.roll(peak, (height // 2 - place[0], width // 2 - place[1]), (0, 1))
    near = [slice(side // 2 - SHIFT_REACH, side // 2 + SHIFT_REACH + 1) for side in (height, width)]
    others[near[0], near[1]] = -np.inf
    if peak.max() < SHIFT_CLARITY * others.max():
        return None
    found = np.array(place, dtype=np.float64)
    sides = np.array([height, width])
    found = (found + sides // 2) % sides - sides // 2
    slopes = np.stack([np.broadcast_to(-2 * np.pi * f, cross.shape) for f in (rows, columns)])
    for _ in range(5):
        rest = np.angle(cross * np.exp(-1j * np.tensordot(found, slopes, 1)))
        weights = np.sqrt(strength) * (np.abs(rest) < np.pi / 2)
        matrix = np.einsum("aij,bij,ij->ab", slopes, slopes, weights)
        if np.linalg.cond(matrix) > 1e6:
            return None
        found = found + np.linalg.solve(matrix, np.einsum("aij,ij,ij->a", slopes, rest, weights))
    return float(found[0]), float(found[1])


def move(volume: np.ndarray, shift: Shift) -> np.ndarray:
    """The slices moved by any number of pixels along H and W; in Fourier space, which leaves noise what it is.

    Args:
        volume: (S, H, W), non-negative; so is the result. What comes in from outside repeats the edge.
        shift: pixels along H and along W, at most SHIFT_LIMIT each.
    """
    margin = int(SHIFT_LIMIT) + 2
    height, width = (side + 2 * margin for side in volume.shape[1:])
    phase = np.fft.fftfreq(height)[:, None] * shift[0] + np.fft.rfftfreq(width)[None, :] * shift[1]
    ramp = np.exp(-2j * np.pi * phase)
    moved = np.empty_like(volume)
    for source, target in zip(volume, moved, strict=True):
        padded = np.pad(source, margin, mode="edge")
        back = np.fft.irfft2(np.fft.rfft2(padded) * ramp, s=padded.shape)
        np.maximum(back[margin:-margin, margin:-margin], 0, out=target, casting="same_kind")
    return moved
