"""The pre-dose image beside the low-dose one: how far it is shifted, its receiver gain, whether the two are swapped."""

from __future__ import annotations

import numpy as np

from .intensity import MAX_SAMPLES, noise_floor, sampled, threshold

GAIN_RANGE = (0.7, 1.4)
"""What a change of receiver gain within a session explains; beyond it something else is amiss."""
GAIN_TOLERANCE = 0.02
"""Smaller changes of gain are left alone. On every second of 160 simulated subjects `gain_ratio` was off by 0.4 % in
the median and by less than 0.9 % in nine of ten; the worst was 4.5 %, in a head of no anatomy."""
GAIN_BIN = 0.004
GAIN_WIDTH = 0.015
"""Of the histogram of the log ratio: its bins, and the standard deviation of the Gaussian it is smoothed with."""
GAIN_SHARE = 0.3
"""A peak of the histogram counts from this share of the highest one on."""
GAIN_PIXELS = 200

SHIFT_TOLERANCE = 0.85
"""Pixels: the pre-dose image is moved where it is off by more. The networks were trained with up to that; on 24
held-out subjects moving all of them raised the prior's body RMSE from 0.038 to 0.040, and lowered it from 0.057 to
0.040 where they had been shifted by a pixel."""
SHIFT_LIMIT = 6.0
SHIFT_FREQUENCIES = 0.25
"""Cycles per pixel: up to there the phase is compared; above it there is more noise than image."""
SHIFT_CLARITY = 6.0
"""How far the highest correlation must stand out from what is more than SHIFT_REACH pixels away. It was 11 and more
times as high in 20 simulated subjects, 1.3 times at most between images of different ones, and 3.9 times in the breast
example (shared/data), whose tissue is deformed rather than moved."""
SHIFT_REACH = 5
SHIFT_SLICES = 16
SHIFT_SIDE = 32
"""Slices with a shorter side hold too little to tell a shift from."""

KINSHIP = 0.3
KINSHIP_DOUBT = 0.6
"""Below the first two images are taken for those of different subjects, below the second it is said that they may be.
On the 24 held-out subjects the correlation was 0.97 and more for a subject's own images and 0.31 at most between
subjects (0.01 in nine of ten), but 0.5 between two rats in the same position; in the breast example (shared/data),
whose tissue is deformed, 0.41."""
KINSHIP_WIDTHS = (5, 31)
"""Structures between these sizes in pixels are compared: below is noise, above is the shape of any head."""

SWAP_REACH = 3
SWAP_CHANGE = 0.2
SWAP_DOMINANCE = 4.0
SWAP_FRACTION = 3e-3
SWAP_PIXELS = 12
"""Swapped: at least this fraction of the foreground and this many pixels lost 20 % of typical tissue's
intensity, more than a shift by 3 pixels explains, and they outweigh 4 times those that gained it. Measured on
the breast example (shared/data): copies of one image with a 30 % bias field and noise gave no alarm in 72
pairs shifted by up to 3 pixels (7 in 18 at 4 pixels); what was lost weighs 5.8 times what was gained in the
swapped pair, and 1/5.8 in order."""


def shift_between(predose: np.ndarray, lowdose: np.ndarray) -> tuple[float, float] | None:
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


def move(volume: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
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


def gain_ratio(predose: np.ndarray, lowdose: np.ndarray) -> float | None:
    """How much brighter the low-dose image is where no agent is: the ratio of the two receiver gains.

    The lowest peak of the histogram of log(x_L / x_P) over tissue, each pixel averaged with its neighbors and counted
    by its brightness. An agent only brightens, so tissue without it makes the lowest peak; where nothing in the field
    of view is without it, its own brightening is taken for gain. Peaks below GAIN_SHARE of the highest one are noise.

    Args:
        predose, lowdose: (S, H, W), non-negative, in one scale of intensity, registered to a pixel or so.

    Returns:
        A positive number, 1 for equal gains; None where the images have no bright tissue in common.
    """
    step = -(-lowdose.size // MAX_SAMPLES)
    before, after = (_mean3x3(_mean3x3(volume[::step])) for volume in (predose, lowdose))
    tissue = (before > threshold(sampled(before))) & (after > threshold(sampled(after)))
    tissue &= before > 2 * noise_floor(predose)  # magnitude images of noise have a ratio of their own
    if np.count_nonzero(tissue) < min(GAIN_PIXELS, 0.01 * tissue.size):
        return None
    edges = np.arange(-1.2, 1.2, GAIN_BIN)
    ratio = np.log(after[tissue] / before[tissue])
    counts, _ = np.histogram(ratio, bins=edges, weights=before[tissue])
    reach = round(4 * GAIN_WIDTH / GAIN_BIN)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * GAIN_BIN / GAIN_WIDTH) ** 2)
    smooth = np.convolve(counts, kernel, "same")
    inner = smooth[1:-1]
    peaks = (inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner > GAIN_SHARE * smooth.max())
    if not peaks.any():
        return None
    index = int(np.argmax(peaks)) + 1
    left, top, right = smooth[index - 1 : index + 2]
    vertex = 0.5 * (left - right) / (left - 2 * top + right)
    return float(np.exp(edges[index] + (0.5 + vertex) * GAIN_BIN))


def kinship(predose: np.ndarray, lowdose: np.ndarray) -> float | None:
    """Correlation of the structures of two images over tissue: near 1 for one subject, near 0 for two.

    Structures: the image averaged over 5 x 5 pixels minus the image averaged over 31 x 31, each twice.

    Args:
        predose, lowdose: (S, H, W), non-negative, shifts already taken out.

    Returns:
        -1 to 1; None where there is too little tissue, or no structure, to tell.
    """
    step = -(-lowdose.size // MAX_SAMPLES)
    parts = []
    tissue = np.zeros(lowdose[::step].shape, dtype=bool)
    for volume in (predose[::step], lowdose[::step]):
        fine, coarse = (_mean(_mean(volume, width), width) for width in KINSHIP_WIDTHS)
        tissue |= fine > threshold(sampled(volume))
        parts.append(fine - coarse)
    if min(lowdose.shape[1:]) < SHIFT_SIDE or np.count_nonzero(tissue) < GAIN_PIXELS:
        return None
    one, other = (part[tissue] - part[tissue].mean() for part in parts)
    strength = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / strength if strength else None


def looks_swapped(before: np.ndarray, after: np.ndarray, gain: float) -> bool:
    """Whether strong changes are mostly dark ones: an agent brightens, noise and motion do both alike.

    Each pixel of one image is compared with the darkest one near it in the other, so that edges that moved do
    not count, and noise counts for less; what is left are enhancing regions some pixels wide.

    Args:
        before, after: (S, H, W) pre-dose and low-dose slices.
        gain: what brings `before` to the level of `after` where nothing changes.
    """
    before, after = _mean3x3(before) * np.float32(gain), _mean3x3(after)
    brighter = np.maximum(before, after)
    foreground = brighter[brighter > threshold(sampled(brighter))]
    limit = SWAP_CHANGE * float(np.median(foreground))
    lost, gained = _darkest_near(before) - after, _darkest_near(after) - before
    lost, gained = lost[lost > limit], gained[gained > limit]
    if lost.size < max(SWAP_PIXELS, SWAP_FRACTION * foreground.size):
        return False
    return float(lost.sum()) > SWAP_DOMINANCE * float(gained.sum())


def _mean3x3(slices: np.ndarray) -> np.ndarray:
    """(S, H, W), each pixel averaged with its neighbors in the slice; edges repeat."""
    padded = np.pad(slices, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / np.float32(9)


def _mean(slices: np.ndarray, width: int) -> np.ndarray:
    """(S, H, W), averaged over an odd number of pixels a side; edges repeat."""
    half = width // 2
    padded = np.pad(slices, ((0, 0), (half + 1, half), (half + 1, half)), mode="edge").astype(np.float64)
    sums = padded.cumsum(1).cumsum(2)
    box = sums[:, width:, width:] - sums[:, :-width, width:] - sums[:, width:, :-width] + sums[:, :-width, :-width]
    return (box / width**2).astype(np.float32)


def _darkest_near(slices: np.ndarray) -> np.ndarray:
    """(S, H, W), the minimum over the square that reaches SWAP_REACH pixels to each side in the slice."""
    for axis in (1, 2):
        size = slices.shape[axis]
        margins = [(SWAP_REACH, SWAP_REACH) if axis == one else (0, 0) for one in range(3)]
        padded = np.pad(slices, margins, mode="edge")
        slices = slices.copy()
        for start in range(2 * SWAP_REACH + 1):
            np.minimum(slices, padded.take(range(start, start + size), axis), out=slices)
    return slices
