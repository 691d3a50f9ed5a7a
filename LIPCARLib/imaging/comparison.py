"""Whether the pre-dose and the low-dose image belong together: one subject, and in the right order."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import minimum_filter

from .intensity import TISSUE_PIXELS, foreground, local_mean, sampled, some_slices, threshold

KINSHIP = 0.3
"""Below, the two are taken for images of different subjects: 0.31 at most between simulated ones."""
KINSHIP_DOUBT = 0.6
"""Below, it is said that they may be: a subject's own simulated images had 0.97, a deformed breast's 0.41."""
KINSHIP_WIDTHS = (5, 31)
"""Structures between these sizes in pixels are compared: below is noise, above is the shape of any head."""

SWAP_REACH = 3
"""Pixels to each side in which the darkest one is looked for: a movement by so much raises no alarm."""
SWAP_CHANGE = 0.2
"""Changes count from this share of typical tissue's intensity on: a bias field of 30 % raised no alarm."""
SWAP_DOMINANCE = 4.0
"""What was lost must weigh so many times what was gained: 5.8 in the breast example, swapped."""
SWAP_FRACTION = 3e-3
"""The least share of the foreground that must have lost intensity: noise makes spots, too."""
SWAP_PIXELS = 12
"""The same in pixels, for images of little foreground."""


def kinship(predose: np.ndarray, lowdose: np.ndarray) -> float | None:
    """Correlation of the structures of two images over tissue: near 1 for one subject, near 0 for two.

    Structures: the image averaged over 5 x 5 pixels minus the image averaged over 31 x 31 (KINSHIP_WIDTHS), each twice.

    Args:
        predose, lowdose: (S, H, W), non-negative, shifts already taken out.

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
    if np.count_nonzero(tissue) < TISSUE_PIXELS:
        return None
    one, other = (part[tissue] - part[tissue].mean() for part in parts)
    strength = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / strength if strength else None


def note_kinship(predose: np.ndarray, lowdose: np.ndarray, notices: list[str]) -> float | None:
    """The `kinship` of the two; says where the pre-dose image shows something else, and where that is in doubt.

    Args:
        predose, lowdose: as for `kinship`.
        notices: where sentences for the user are appended.
    """
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


def looks_swapped(predose: np.ndarray, lowdose: np.ndarray) -> bool:
    """Whether strong changes are mostly dark ones: an agent brightens, noise and motion do both alike.

    Each pixel of one image is compared with the darkest one near it in the other, so that edges that moved do
    not count, and noise counts for less; what is left are enhancing regions some pixels wide.

    Args:
        predose, lowdose: (S, H, W), non-negative, on one grid, with bright tissue in common; of any gain.

    Raises:
        LIPCARError: an image without a voxel above zero.
    """
    before, after = some_slices(predose), some_slices(lowdose)
    common = foreground(before) & foreground(after)
    gain = np.float32(np.median(after[common] / before[common]))
    before, after = local_mean(before, 3) * gain, local_mean(after, 3)
    brighter = np.maximum(before, after)
    tissue = brighter[foreground(brighter)]
    limit = SWAP_CHANGE * float(np.median(tissue))
    lost, gained = _darkest_near(before) - after, _darkest_near(after) - before
    lost, gained = lost[lost > limit], gained[gained > limit]
    if lost.size < max(SWAP_PIXELS, SWAP_FRACTION * tissue.size):
        return False
    return float(lost.sum()) > SWAP_DOMINANCE * float(gained.sum())


def _darkest_near(slices: np.ndarray) -> np.ndarray:
    """(S, H, W), the minimum over the square that reaches SWAP_REACH pixels to each side in the slice."""
    side = 2 * SWAP_REACH + 1
    darkest: np.ndarray = minimum_filter(slices, (1, side, side), mode="nearest")
    return darkest
