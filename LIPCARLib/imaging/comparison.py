"""Whether the pre-dose and the low-dose image belong together: one subject, and in the right order."""

from __future__ import annotations

import numpy as np
import scipy

from ..doubt import Doubt
from ..errors import LIPCARError
from .gain import DRIFT_TOLERANCE, Gain
from .intensity import (
    TISSUE_PIXELS,
    Mask,
    foreground,
    limited,
    local_mean,
    noise_deviation,
    sampled,
    some_slices,
    threshold,
)
from .threads import slicewise

KINSHIP = 0.3
"""Below, the two are taken for images of different subjects: 0.31 at most between simulated ones."""
KINSHIP_DOUBT = 0.6
"""Below, it is said that they may be: a subject's own simulated images had 0.97, a deformed breast's 0.41."""
KINSHIP_WIDTHS = (5, 31)
"""Structures between these sizes in pixels are compared: below is noise, above is the shape of any head."""

SWAP_REACH = 3
"""Pixels to each side in which the darkest one is looked for: a movement by so much raises no alarm."""
SWAP_CHANGE = 0.1
"""Changes count from this share of typical tissue's intensity on: 25 of 48 swapped simulated pairs are then named."""
SWAP_DOMINANCE = 4.0
"""What was lost must weigh so many times what was gained: 9 in a swapped breast, 0.2 in pairs in order."""
SWAP_FRACTION = 1e-3
"""The least share of the foreground that must have lost intensity: noise makes spots, too."""
SWAP_CERTAIN = 0.01
"""Share of the tissue: 0.05 in the swapped sample, 0.004 in the one of 36 simulated subjects that darkens in order."""


def kinship(predose: np.ndarray, lowdose: np.ndarray, known: Mask | None = None) -> float | None:
    """Correlation of the structures of two images over tissue: near 1 for one subject, near 0 for two.

    Structures: the image averaged over 5 x 5 pixels minus the image averaged over 31 x 31 (KINSHIP_WIDTHS), each twice.

    Args:
        predose, lowdose: (S, H, W), non-negative, shifts already taken out.
        known: where the pre-dose image has data; None for everywhere.

    Returns:
        -1 to 1; None where there is too little tissue, or no structure, to tell.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    if min(lowdose.shape[1:]) <= max(KINSHIP_WIDTHS):
        return None
    parts = []
    tissue = np.zeros(some_slices(lowdose).shape, dtype=bool)
    for slices in (some_slices(predose), some_slices(lowdose)):
        fine, coarse = (local_mean(local_mean(slices, width), width) for width in KINSHIP_WIDTHS)
        tissue |= fine > threshold(sampled(slices))
        parts.append(fine - coarse)
    if known is not None:  # the edge of what is known is no structure
        tissue &= scipy.ndimage.minimum_filter(some_slices(known), (1, KINSHIP_WIDTHS[1], KINSHIP_WIDTHS[1]))
    if np.count_nonzero(tissue) < TISSUE_PIXELS:
        return None
    one, other = (part[tissue] - part[tissue].mean() for part in parts)
    strength = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / strength if strength else None


def note_kinship(
    predose: np.ndarray, lowdose: np.ndarray, notices: list[str], known: Mask | None = None
) -> float | None:
    """The `kinship` of the two; says where the pre-dose image shows something else, and where that is in doubt.

    Args:
        predose, lowdose, known: as for `kinship`.
        notices: where sentences for the user are appended.
    """
    found = kinship(predose, lowdose)
    if known is not None and found is not None and found >= KINSHIP:  # else another's outline, not the end of the data
        found = kinship(predose, lowdose, known)
    if found is None or found >= KINSHIP_DOUBT:
        return found
    words = f"The structures of the pre-dose and the low-dose image have a correlation of {found:.2f}"
    if found >= KINSHIP:
        words += f"; images of one patient at rest have more than {KINSHIP_DOUBT}"
    else:
        words += ": the pre-dose image shows something else and was left out"
    advice = "Check that the pre-dose image is of this patient, and register it if the patient was moved"
    use = "; by default the result is made without it" if found >= KINSHIP else ""
    notices.append(Doubt(f"{words}. {advice}{use}.", severe=found < KINSHIP))
    return found


class SwappedError(LIPCARError):
    """The images look swapped. Where they are not, they can be used without matching."""


def looks_swapped(predose: np.ndarray, lowdose: np.ndarray, gain: Gain) -> float:
    """Share of the tissue that lost brightness where what changed most darkened, else 0.

    An agent brightens, noise and motion do both alike. From SWAP_CERTAIN on nothing but a swap explains it; below, much
    agent in little tissue may (T2).

    Gained is what is brighter than the most brightened of the levels that hold tissue. Lost is what is darker than
    tissue without agent would be: at the lowest level, or at that of most tissue where this did not change at all, as
    in most sessions.

    Each pixel of one image is compared with the darkest one near it in the other, so that edges that moved do
    not count, and noise counts for less; what is left are enhancing regions some pixels wide.

    Args:
        predose, lowdose: (S, H, W), non-negative, on one grid, with bright tissue in common.
        gain: between the two.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    before, after = predose.copy(), lowdose
    gain.apply(before)
    before, after = local_mean(some_slices(before), 3), local_mean(some_slices(after), 3)
    brighter = np.maximum(before, after)
    tissue = brighter[foreground(brighter)]
    # The noise of one pixel is three standard deviations of nine.
    limit = max(SWAP_CHANGE * float(np.median(tissue)), noise_deviation(lowdose))
    same = abs(np.log(gain.ratio) + gain.most) <= DRIFT_TOLERANCE
    reference = before * np.float32(np.exp(gain.most)) if same else before
    lost, gained = _darkest_near(reference) - after, _darkest_near(after) - before * np.float32(np.exp(gain.highest))
    known = foreground(before) & foreground(after) & ~(limited(before) | limited(after))
    common = _darkest_near(known)  # the outline of the body moves, too
    lost, gained = lost[common & (lost > limit)], gained[common & (gained > limit)]
    if lost.size < SWAP_FRACTION * tissue.size:
        return 0.0
    return lost.size / tissue.size if float(lost.sum()) > SWAP_DOMINANCE * float(gained.sum()) else 0.0


def _darkest_near(slices: np.ndarray) -> np.ndarray:
    """(S, H, W), the minimum over the square that reaches SWAP_REACH pixels to each side in the slice."""
    side = 2 * SWAP_REACH + 1

    def darkest(some: np.ndarray) -> np.ndarray:
        found: np.ndarray = scipy.ndimage.minimum_filter(some, (1, side, side), mode="nearest")
        return found

    return slicewise(darkest, slices)
