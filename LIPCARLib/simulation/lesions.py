"""Lesions put into examinations by the signal equation, of any size and contrast, where nothing enhanced before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_erosion, gaussian_filter, maximum_filter, shift
from torch import Tensor

from ..physics import Acquisition, PulseSequence, headroom, highdose_of, lowdose_of
from .cells import cell_session
from .phantom import render
from .subject import draw_subject
from .tissues import BRAIN_TISSUES, Tissue

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

QUIET = 0.05
"""Model scale: tissue that the full dose brightens by less is where lesions are put and looked for."""
THINNESS = 5.0
"""How many times as long as wide a thin lesion is; its area is that of a round one."""
GAP = 4
"""Pixels between two lesions, at least."""
WITHIN = 0.8
"""Share of a lesion that must lie in quiet tissue."""
ATTEMPTS = 60
"""Places that are tried for a lesion."""
SUBPIXELS = 4
"""Along either axis: how finely a pixel's share is counted."""
SHIFT = 0.3
"""Pixels that the pre-dose image lies off, along a random direction."""
NATIVE_TIMES = (0.8, 2.0)
"""T10 in seconds of the brightest and the darkest tissue of a real image, which does not tell it."""
REAL_FRACTION, REAL_NOISE = 0.2, 0.02
"""Low dose over full dose, and noise in model scale, that a real image is given."""
REAL_LAWS = (
    Acquisition(PulseSequence.SPIN_ECHO, repetition_time=0.5),
    Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=0.008, flip_angle=20.0),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """An examination without noise, whose truth is known. Arrays are (S, H, W), images in model scale.

    Attributes:
        name: what messages call it.
        predose, lowdose, highdose: x_P, x_L, x_H.
        native_time: T10 in seconds.
        region: quiet tissue, see QUIET.
        spacing: mm along S, H and W.
        acquisition, dose_fraction: how the images were made.
        noise: standard deviation that either image is to have.

    >>> image = np.full((1, 8, 8), 0.4, np.float32)
    >>> law = Acquisition(PulseSequence.SPIN_ECHO, 0.5)
    >>> Scene("flat", image, image, image, image, image > 0, (1.0, 1.0, 1.0), law, 0.2, 0.02).noise
    0.02
    """

    name: str
    predose: Volume
    lowdose: Volume
    highdose: Volume
    native_time: Volume
    region: Mask
    spacing: tuple[float, float, float]
    acquisition: Acquisition
    dose_fraction: float
    noise: float


@dataclass(frozen=True)
class Kind:
    """A kind of lesion.

    Attributes:
        size: mm, the diameter of a circle of its area.
        contrast: how much brighter it makes the low-dose image, in standard deviations of the noise.
        thin: THINNESS times as long as wide, else round.

    >>> Kind(5.0, 2.0, thin=False).size
    5.0
    """

    size: float
    contrast: float
    thin: bool


@dataclass(frozen=True, eq=False)
class Lesion:
    """One that was put in: its kind, its slice, and how much of each pixel of that slice it covers, (H, W), 0 to 1."""

    kind: Kind
    slice: int
    cover: Volume


def head_scene(seed: int, index: int, slices: int) -> Scene:
    """A human head of the shipped simulator, receiver and patient at rest."""
    drawn = draw_subject(seed, index, "human")
    subject = replace(drawn, gains=(1.0, 1.0, 1.0), shifts=((0.0, 0.0),) * 3, skull_stripped=False)
    made = render(subject, slices)
    times = np.ones(256, np.float32)
    for kind, parameters in subject.tissues.items():
        times[kind] = parameters.t1
    images = made.clean_predose, made.clean_lowdose, made.clean_highdose
    spacing = (made.spacing[2], made.spacing[1], made.spacing[0])
    tissue: Mask = np.isin(made.labels, BRAIN_TISSUES)
    noise = made.parameters["noise_sigma"]
    name = f"head {index}"
    return _scene(name, images, times[made.labels], tissue, spacing, subject.acquisition, subject.dose_fraction, noise)


def cell_scene(seed: int, index: int, slices: int) -> Scene:
    """A body of the other simulator, pixels of 1 mm; every second one linear in the dose."""
    s = cell_session(np.random.default_rng((seed, index)), index % 2 == 1, slices)
    images, tissue = (s.predose, s.lowdose, s.highdose), s.labels == Tissue.SHAPE
    name = f"cells {index}"
    return _scene(name, images, s.native_time, tissue, (5.0, 1.0, 1.0), s.acquisition, s.dose_fraction, s.noise)


def image_scene(name: str, predose: np.ndarray, spacing: tuple[float, float, float], law: int) -> Scene:
    """A real pre-dose image, smoothed and taken as free of noise and agent; T10 follows its brightness.

    Args:
        name: what messages call it.
        predose: (S, H, W), non-negative, in any units.
        spacing: mm along S, H and W.
        law: which of REAL_LAWS, by remainder.
    """
    image = gaussian_filter(np.asarray(predose, np.float64), (0, 1, 1))
    bright = float(np.percentile(image[image > 0], 99))
    tissue: Mask = image > 0.15 * bright
    low, high = np.percentile(image[tissue], [5, 95])
    share = ((image - low) / max(high - low, 1e-9)).clip(0, 1)
    times = NATIVE_TIMES[1] * (NATIVE_TIMES[0] / NATIVE_TIMES[1]) ** share
    inner = binary_erosion(tissue, np.ones((1, 5, 5), bool))
    acquisition = REAL_LAWS[law % len(REAL_LAWS)]
    noise = REAL_NOISE * _level(image, tissue)
    return _scene(name, (image,) * 3, times, inner, spacing, acquisition, REAL_FRACTION, noise)


def _scene(
    name: str,
    images: tuple[np.ndarray, ...],
    native_time: np.ndarray,
    tissue: Mask,
    spacing: tuple[float, float, float],
    acquisition: Acquisition,
    fraction: float,
    noise: float,
) -> Scene:
    level = _level(images[1], images[1] > 0.1 * float(np.percentile(images[1], 99)))
    predose, lowdose, highdose = (np.asarray(image / level, np.float32) for image in images)
    region = tissue & (gaussian_filter(highdose - predose, (0, 1, 1)) < QUIET)
    times = np.asarray(native_time, np.float32)
    return Scene(
        name, predose, lowdose, highdose, times, region, spacing, acquisition, float(fraction), float(noise / level)
    )


def _level(image: np.ndarray, tissue: Mask) -> float:
    """What model scale is measured in; see `imaging`."""
    return float(np.percentile(image[tissue], 90)) / 0.5


def place_lesions(scene: Scene, kinds: Sequence[Kind], rng: np.random.Generator) -> list[Lesion]:
    """Put kinds of lesions at random into the slices of a scene, the largest first; what finds no place is left out."""
    placed = []
    free = scene.region.copy()
    taken = np.zeros_like(free)
    for kind in sorted(kinds, key=_size, reverse=True):
        for _ in range(ATTEMPTS):
            index = int(rng.integers(len(free)))
            inside = np.argwhere(free[index])
            if not len(inside):
                continue
            center = inside[rng.integers(len(inside))] + rng.uniform(-0.5, 0.5, 2)
            cover = _cover(kind, center, rng.uniform(0, np.pi), scene)
            total = float(cover.sum())
            near = taken[index] & (cover > 0)
            if total == 0 or near.any() or float(cover[scene.region[index]].sum()) < WITHIN * total:
                continue
            placed.append(Lesion(kind, index, cover))
            taken[index] |= maximum_filter(cover > 0, 2 * GAP + 1)
            free[index] &= ~taken[index]
            break
    return placed


def _size(kind: Kind) -> float:
    return kind.size


def _cover(kind: Kind, center: np.ndarray, angle: float, scene: Scene) -> Volume:
    """Share of each pixel of a slice that an ellipse covers."""
    stretch = THINNESS**0.5 if kind.thin else 1.0
    cover: Volume = np.zeros(scene.region.shape[1:], np.float32)
    reach = np.ceil(0.5 * kind.size * stretch / np.array(scene.spacing[1:])).astype(int) + 1
    first = np.maximum(np.rint(center).astype(int) - reach, 0)
    window = cover[first[0] : first[0] + 2 * reach[0] + 1, first[1] : first[1] + 2 * reach[1] + 1]
    offsets = (np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5
    places = [
        (np.arange(count)[:, None] + offsets).ravel() + start - middle
        for count, start, middle in zip(window.shape, first, center, strict=True)
    ]
    y, x = places[0][:, None] * scene.spacing[1], places[1][None, :] * scene.spacing[2]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.hypot(u / stretch, v * stretch) < kind.size / 2
    height, width = window.shape
    window[...] = inside.reshape(height, SUBPIXELS, width, SUBPIXELS).mean((1, 3))
    return cover


def with_lesions(scene: Scene, lesions: Sequence[Lesion]) -> Scene:
    """The same with lesions: agent enough to brighten x_L as their kind says, and what x_H then is by the equation.

    What of x_H the equation has no room for has a longer T10 (see `physics.headroom`).
    """
    lowdose, highdose = scene.lowdose.copy(), scene.highdose.copy()
    for lesion in lesions:
        rows, columns = np.nonzero(lesion.cover)
        at = (lesion.slice, rows, columns)
        target = scene.lowdose[at] + np.float32(lesion.kind.contrast * scene.noise)
        x_p, x_l, times = (torch.from_numpy(image) for image in (scene.predose[at], target, scene.native_time[at]))
        full = headroom(x_p, scene.acquisition, times, x_l, scene.dose_fraction)
        x_h = highdose_of(x_l, x_p, full, scene.dose_fraction, scene.acquisition)
        low = lowdose_of(x_h, x_p, full, scene.dose_fraction, scene.acquisition)
        share = lesion.cover[rows, columns]
        lowdose[at] += share * (_array(low) - lowdose[at])
        highdose[at] += share * (_array(x_h) - highdose[at])
    return replace(scene, lowdose=lowdose, highdose=highdose)


def _array(image: Tensor) -> Volume:
    array: Volume = image.numpy()
    return array


def acquired(scene: Scene, seed: int) -> tuple[Volume, Volume, Volume]:
    """Pre-dose, low-dose and high-dose image with their Rician noise, the first a little off; the same for one seed."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi)
    moved = shift(scene.predose, (0, SHIFT * np.sin(angle), SHIFT * np.cos(angle)), order=3).clip(0)
    noisy = []
    for image in (moved, scene.lowdose, scene.highdose):
        first, second = rng.normal(0, scene.noise, (2, *image.shape)).astype(np.float32)
        noisy.append(np.hypot(image + first, second))
    return noisy[0], noisy[1], noisy[2]
