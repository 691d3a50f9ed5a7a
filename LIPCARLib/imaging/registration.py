"""Registration: by how much the pre-dose image lies beside the low-dose image, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy

from ..doubt import Doubt
from .comparison import kinship
from .deformation import deformed, find_deformation
from .grid import AXES, Grid, plane_axes
from .intensity import Mask, foreground
from .motion import FloatArray, Frame, Motion, find_motion, moved_back, places_in, slice_frame
from .threads import in_threads, slicewise

Shift = tuple[float, float]
"""Pixels along H and along W."""

SHIFT_TOLERANCE = 0.85
"""Pixels: what is off by more is moved; the networks were trained with up to that, and do no better if all is moved."""
SHIFT_LIMIT = 6.0
"""Pixels: `move` repeats the edge for no more than that."""
MOTION_TOLERANCE = 0.25
"""Voxels, root mean square over tissue: a smaller rotation or movement through the slices is left alone. Without any
`find_motion` found up to 0.11 in simulated pairs and 0.18 in a deformed breast."""
AGREEMENT = 0.9
"""`kinship` that what is undone must lead to: 0.91 at least in heads moved by 8 mm and degrees."""
ALIKE = 0.99
"""`kinship` from which on nothing is deformed: 0.99 in real heads at rest, 0.97 where tissue lay half a pixel off."""
PROBED = 4
"""Slices in which it is found out whether a deformation is worth undoing."""
LEFT = 0.6
"""Share of what is missing to a kinship of 1 that a deformation must not leave: 0.75 and more in real heads at rest."""
DISTANCE_LIMIT, ANGLE_LIMIT = 30.0, 20.0
"""mm and degrees: what moved by more is not undone."""
MOST_MISSING = 0.5
"""Share of the tissue: a pre-dose image that lacks more is left out."""
NO_DATA_SIDE = 5
"""Pixels: a square of this side holds the lowest value of an image nowhere but where there is no data."""
_LAY_BESIDE = "The pre-dose image lay beside the low-dose image, as after a movement of the patient."


class Placed(NamedTuple):
    """The pre-dose image where it is to lie for the computation.

    Attributes:
        predose: (S, H, W), 0 where it has no data.
        known: where it has data, (S, H, W) boolean; None for everywhere.
        shift: pixels along H and W by which it was moved within the slice; (0, 0) where it was left alone.
        rest: pixels along H and W by which it still lies beside the low-dose image, at most SHIFT_TOLERANCE; (0, 0)
            where it was moved or nothing was told.
        motion: the movement that was undone in three dimensions; None where none was.
        deformed: mm by which tissue was moved beyond that within the slices, root mean square; 0 where it was not.
    """

    predose: np.ndarray
    known: Mask | None
    shift: Shift = (0.0, 0.0)
    rest: Shift = (0.0, 0.0)
    motion: Motion | None = None
    deformed: float = 0.0


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

    First as a whole: a shift within the slice, or a movement in three dimensions. Then, where the structures of the two
    still differ, each place within its slice (`find_deformation`), if that clearly makes them more alike, and as those
    of one patient are. A notice says what was undone.

    Args:
        original: the pre-dose image as it came.
        there: the same on the low-dose image's grid.
        lowdose: (S, H, W), non-negative, of comparable intensity.
        grid, slice_axis: of the low-dose image.
        notices: where notices are appended.
    """
    placed = _moved_as_one(original, there, lowdose, grid, slice_axis, notices)
    chosen = slice(None, None, -(-len(lowdose) // PROBED))
    some, predose = lowdose[chosen], placed.predose[chosen]
    known = None if placed.known is None else placed.known[chosen]
    before = _kinship_inside(move(predose, placed.rest) if any(placed.rest) else predose, some, known)
    if before is None or before >= ALIKE:
        return placed
    field = find_deformation(predose, some, known)
    after = _kinship_inside(deformed(predose, field), some, known)
    if after is None or after < AGREEMENT or 1 - after > LEFT * (1 - before):
        return placed
    if len(some) < len(lowdose):
        field = find_deformation(placed.predose, lowdose, placed.known)
    known = None if placed.known is None else deformed(placed.known.astype(np.float32), field) > 0.99
    bent = deformed(placed.predose, field)
    if known is not None:
        bent[~known] = 0
    spacing = np.linalg.norm(slice_frame(grid, slice_axis)[1], axis=0)[1:, None, None]
    distance = np.linalg.norm(field * spacing, axis=1)[foreground(lowdose)]
    typical, most = np.sqrt(np.square(distance).mean()), np.percentile(distance, 99)
    words = f"by {typical:.1f} mm as a rule and {most:.1f} at most, as after breathing or in another position"
    advice = "It was moved back within its slices for the computation; mistrust edges that brighten."
    notices.append(Doubt(f"Tissue lay elsewhere in the pre-dose image, {words}. {advice}"))
    return placed._replace(predose=bent, known=known, rest=(0.0, 0.0), deformed=float(typical))


def _moved_as_one(
    original: Original, there: Placed, lowdose: np.ndarray, grid: Grid, slice_axis: int, notices: list[str]
) -> Placed:
    """The whole of it; arguments as of `register`.

    Within the slice: a shift above SHIFT_TOLERANCE is undone. A smaller one is left to the networks and kept as `rest`.
    A rotation or a movement through the slices is undone where it moved tissue by more than MOTION_TOLERANCE, and so is
    a shift above SHIFT_LIMIT. Either must make the structures of the two images agree better, and as those of one
    patient do.
    """
    spacing = np.linalg.norm(slice_frame(grid, slice_axis)[1], axis=0)
    motion = find_motion(there.predose, lowdose, spacing)
    if motion is None:
        return there
    shift, apart = _moved(motion, lowdose, spacing)
    turned = apart > MOTION_TOLERANCE or np.hypot(*shift) > SHIFT_LIMIT
    if not turned and np.hypot(*shift) <= SHIFT_TOLERANCE:
        return there._replace(rest=shift)
    if turned:
        undone = original.placed(grid, slice_axis, motion)
    else:
        undone = _shifted(original, there, lowdose, grid, slice_axis, shift)
    known = undone.known if there.known is None else there.known if undone.known is None else there.known & undone.known
    if not undone.predose.any():
        return there
    before, after = (kinship(placed.predose, lowdose, known) or 0.0 for placed in (there, undone))
    if not before < after >= AGREEMENT:
        return there
    if not turned:
        along = [
            (AXES[a], pixels, abs(pixels) * mm)
            for a, pixels, mm in zip(plane_axes(slice_axis), shift, spacing[1:], strict=True)
        ]
        words = " and ".join(f"{pixels:+.2f} pixels ({mm:.2f} mm) along {name}" for name, pixels, mm in along)
        notices.append(f"{_LAY_BESIDE} It was moved by {words} for the computation.")
        return undone
    words = motion.words(grid, slice_axis)
    if motion.distance <= DISTANCE_LIMIT and motion.angle <= ANGLE_LIMIT:
        notices.append(f"{_LAY_BESIDE} It was moved by {words} for the computation.")
        return undone
    limit = f"more than {DISTANCE_LIMIT:g} mm or {ANGLE_LIMIT:g} degrees is not undone here"
    notices.append(Doubt(f"{_LAY_BESIDE} It would have to be moved by {words}; {limit}. Register it first."))
    return there


def _kinship_inside(predose: np.ndarray, lowdose: np.ndarray, known: Mask | None) -> float | None:
    """`kinship` without the border, where what moved in from outside is not known."""
    edge = int(SHIFT_LIMIT)
    inner = np.s_[:, edge:-edge, edge:-edge]
    return kinship(predose[inner], lowdose[inner], None if known is None else known[inner])


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
    regions, _ = scipy.ndimage.label(~known, np.ones((3, 3, 3)))
    counts: Mask = ~np.isin(regions, np.unique(regions[missing]))
    return counts


def missing_share(known: Mask, lowdose: np.ndarray) -> float:
    """Share of the tissue in the low-dose image that the pre-dose image has no data of, 0..1."""
    tissue = foreground(lowdose)
    return float(np.count_nonzero(tissue & ~known) / np.count_nonzero(tissue))


def _opened(mask: Mask) -> Mask:
    """The part of a mask (S, H, W) that squares of NO_DATA_SIDE pixels within it cover."""
    side = (1, NO_DATA_SIDE, NO_DATA_SIDE)
    if np.count_nonzero(mask) < NO_DATA_SIDE**2:  # as in most images, which spares two filters
        return np.zeros_like(mask)

    def opened(some: np.ndarray) -> np.ndarray:
        found: Mask = scipy.ndimage.maximum_filter(
            scipy.ndimage.minimum_filter(some, side, mode="constant"), side, mode="constant"
        )
        return found

    return slicewise(opened, mask)


def note_missing(share: float, notices: list[str]) -> None:
    """Say how much of the tissue, 0..1, the pre-dose image has no data of, and what follows."""
    words = f"The pre-dose image has no data in {share:.1%} of the tissue that the low-dose image shows"
    if share > MOST_MISSING:
        notices.append(Doubt(f"{words}; it was left out. Choose images of the same field of view.", severe=True))
    else:
        notices.append(Doubt(f"{words}. The result is the low-dose image there: nothing tells what the agent does."))


def _shifted(
    original: Original, there: Placed, lowdose: np.ndarray, grid: Grid, slice_axis: int, shift: Shift
) -> Placed:
    """Moved within the slice; see `_moved_as_one`."""
    if there.predose is original.volume and (there.known is None or where_it_counts(there.known, lowdose) is None):
        return Placed(move(there.predose, shift), None, shift=shift)
    # Interpolated once, and from no further than splines swing where the data end.
    spacing = np.linalg.norm(slice_frame(grid, slice_axis)[1], axis=0)
    beside = Motion(np.eye(3), -np.array([0.0, *shift]) * spacing, np.zeros(3))
    return original.placed(grid, slice_axis, beside)._replace(shift=shift, motion=None)


def _moved(motion: Motion, lowdose: np.ndarray, spacing: FloatArray) -> tuple[Shift, float]:
    """The shift within the slice that undoes most of a motion, and root mean square voxels of what it leaves of it."""
    places = places_in(foreground(lowdose), 97) * spacing
    moved = (motion(places) - places) / spacing
    within = moved[:, 1:].mean(0)
    moved[:, 1:] -= within
    return (-float(within[0]), -float(within[1])), float(np.sqrt(np.square(moved).sum(1).mean()))


def move(volume: np.ndarray, shift: Shift) -> np.ndarray:
    """The slices moved by any number of pixels along H and W; in Fourier space, which leaves noise what it is.

    Args:
        volume: (S, H, W), non-negative; so is the result. What comes in from outside repeats the edge.
        shift: pixels along H and along W, at most SHIFT_LIMIT each.
    """
    margin = int(SHIFT_LIMIT) + 2
    height, width = (side + 2 * margin for side in volume.shape[1:])
    along_h, along_w = np.fft.fftfreq(height) * shift[0], np.fft.rfftfreq(width) * shift[1]
    ramp = np.outer(np.exp(-2j * np.pi * along_h), np.exp(-2j * np.pi * along_w))
    ramp = ramp.astype(np.result_type(volume, np.complex64))  # float32 stays float32
    moved = np.empty_like(volume)

    def move_one(source: np.ndarray, target: np.ndarray) -> None:
        padded = np.pad(source, margin, mode="edge")
        back = scipy.fft.irfft2(scipy.fft.rfft2(padded) * ramp, s=padded.shape)
        np.maximum(back[margin:-margin, margin:-margin], 0, out=target, casting="same_kind")

    in_threads(move_one, volume, moved)
    return moved
