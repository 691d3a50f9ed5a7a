"""Simulated contrast-enhanced examinations with labels: a subject's parameters drawn first, its images made second."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .fields import Fields, Float32
from .painting import Easel
from .shapes import FloatArray
from .subject import Anatomy, Lesion, SubjectParameters, draw_subject
from .tissues import Tissue

EXTRACRANIAL = (Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE, Tissue.BONE, Tissue.MARROW)
"""What skull stripping removes."""
BRIGHTEST = 3700.0
"""Where a scanner sets its receiver: the brightest voxel without noise."""


@dataclass(frozen=True)
class SimulatedExamination:
    """What `render` makes of a subject.

    Attributes:
        predose, lowdose, highdose: (slices, size, size) float32, holding the integers 0 to 4095 a scanner would write.
        clean_predose, clean_lowdose, clean_highdose: the same without noise, of the same gain and shift.
        labels: (slices, size, size) uint8, values of `Tissue`; they lie on the high-dose image.
        spacing: (x, y, z) in mm.
        parameters: of the subject, fit for JSON.
    """

    predose: Float32
    lowdose: Float32
    highdose: Float32
    clean_predose: Float32
    clean_lowdose: Float32
    clean_highdose: Float32
    labels: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float]
    parameters: dict[str, Any]


def simulate(
    seed: int, index: int, slices: int = 18, size: int = 256, anatomy: Anatomy = "mixed"
) -> SimulatedExamination:
    """Subject ``index`` of cohort ``seed``: the same voxels whatever other subjects are drawn, and where.

    Args:
        seed, index: non-negative.
        slices, size: as for `render`.
        anatomy: a kind of head, or "mixed" for one drawn by MIXTURE.

    Raises:
        ValueError: an unknown anatomy, too few slices or pixels.
    """
    return render(draw_subject(seed, index, anatomy), slices, size)


def render(parameters: SubjectParameters, slices: int = 18, size: int = 256) -> SimulatedExamination:
    """Make the images of a subject.

    Args:
        parameters: all but the noise.
        slices: at least 1. They and the size change the sampling of the same head, not its extent.
        size: pixels a side, at least 16.

    Raises:
        ValueError: fewer slices or pixels.
    """
    if slices < 1 or size < 16:
        raise ValueError(f"render: got {slices} slices of {size} pixels; expected at least 1 of 16")
    s, head = parameters, parameters.head
    rng = np.random.default_rng([s.seed, s.index, 1])
    fields = Fields(rng, head, slices, size)
    step = (head.w_range[1] - head.w_range[0]) / slices
    positions = head.w_range[0] + (np.arange(slices) + 0.5) * step
    thickness = head.slab / slices
    lesions = tuple(_onto_slice(lesion, positions, thickness) for lesion in s.lesions)

    signals, labels, keep = _painted(s, fields, lesions, positions, size)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    sensitivity = np.exp(s.bias * fields.bias + s.coil[0] * axis[None, :] - s.coil[1] * axis[:, None])
    signals *= sensitivity
    signals, labels, keep = (_orient(a, s.quarter_turns, s.flips) for a in (signals, labels, keep))
    for image, gain, shift in zip(signals, s.gains, s.shifts, strict=True):
        image[...] = gain * _sample_k_space(image, shift)

    body = labels != Tissue.AIR
    mean = float(signals[0][body].mean()) if body.any() else 1.0
    scale = s.level / mean
    if body.any():
        # A scanner sets its receiver so that the brightest image fits; this leaves room for noise below 4095.
        scale = min(scale, BRIGHTEST / float(signals[2][body].max()))
    signals *= np.float32(scale)
    sigma = mean * scale / s.snr
    noisy = [np.rint(np.minimum(_rician(rng, image, sigma), 4095.0)) * keep for image in signals]
    clean = [np.rint(np.minimum(image, 4095.0)) * keep for image in signals]
    spacing = head.field_of_view / size
    return SimulatedExamination(
        predose=noisy[0],
        lowdose=noisy[1],
        highdose=noisy[2],
        clean_predose=clean[0],
        clean_lowdose=clean[1],
        clean_highdose=clean[2],
        labels=labels,
        spacing=(spacing, spacing, thickness),
        parameters=_as_json(s, lesions, sigma, scale),
    )


def painted_slice(subject: SubjectParameters, height: float, size: int) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """One slice of a subject without noise, receiver and motion, at any scale.

    Args:
        subject: whose.
        height: of the slice, 0 to 1 along the stack.
        size: pixels a side, at least 16.

    Returns:
        pre-dose, low-dose and high-dose image, (3, size, size), zero outside a stripped skull, and where its body is.
    """
    low, high = subject.head.w_range
    fields = Fields(np.random.default_rng([subject.seed, subject.index, 1]), subject.head, 1, size)
    positions = np.array([low + height * (high - low)])
    signals, labels, keep = _painted(subject, fields, subject.lesions, positions, size)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    sensitivity = subject.bias * fields.bias + subject.coil[0] * axis[None, :] - subject.coil[1] * axis[:, None]
    painted = signals * np.exp(sensitivity) * keep, labels != Tissue.AIR
    images, body = (_orient(array, subject.quarter_turns, subject.flips)[..., 0, :, :] for array in painted)
    return images, body


def _painted(
    s: SubjectParameters, fields: Fields, lesions: tuple[Lesion, ...], positions: FloatArray, size: int
) -> tuple[Float32, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Signals (3, slices, size, size), labels, and which voxels skull stripping keeps (slices, size, size)."""
    slices = len(positions)
    signals = np.zeros((3, slices, size, size), dtype=np.float32)
    labels = np.zeros((slices, size, size), dtype=np.uint8)
    keep = np.ones((slices, size, size), dtype=bool)
    for k, w in enumerate(positions):
        easel = Easel(s, fields, k, float(w), size)
        for shape in s.head.shapes:
            easel.paint_shape(shape)
        for lesion in lesions:
            easel.paint_lesion(lesion)
        signals[:, k], labels[k] = easel.signals, easel.labels
        if s.skull_stripped:
            # The skull is rough and may reach over the smooth outline of the brain.
            keep[k] = ~np.isin(labels[k], EXTRACRANIAL)
            keep[k] &= False if easel.brain is None else easel.brain >= 0.5
    labels[~keep] = Tissue.AIR
    return signals, labels, keep


def _onto_slice(lesion: Lesion, positions: FloatArray, thickness: float) -> Lesion:
    """A lesion thinner than the slices is moved to the nearest one, lest it fall between two and be lost."""
    if lesion.radius_z > thickness:
        return lesion
    return replace(lesion, w=float(positions[np.argmin(np.abs(positions - lesion.w))]))


def _orient(volume: npt.NDArray[Any], turns: int, flips: tuple[bool, bool]) -> npt.NDArray[Any]:
    volume = np.rot90(volume, turns, axes=(-2, -1))
    return np.ascontiguousarray(volume[..., :: -1 if flips[1] else 1, :: -1 if flips[0] else 1])


def _sample_k_space(image: Float32, shift: tuple[float, float]) -> Float32:
    """Move a volume (z, y, x) in plane by ``shift`` = (right, down) pixels with a phase ramp in k-space.

    A mild taper of its outer third keeps edges from ringing; what is still negative becomes 0.
    """
    size = image.shape[-1]
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]

    def taper(f: FloatArray) -> FloatArray:
        edge = np.clip((np.abs(f) - 0.33) / 0.17, 0.0, 1.0)
        return 1.0 - 0.7 * np.sin(0.5 * np.pi * edge) ** 2

    ramp = np.exp(-2j * np.pi * (fx * shift[0] + fy * shift[1]))
    filtered = np.fft.rfft2(image) * (taper(fy) * taper(fx) * ramp).astype(np.complex64)
    moved = np.fft.irfft2(filtered, s=image.shape[-2:])
    return np.maximum(moved, 0.0).astype(np.float32)


def _rician(rng: np.random.Generator, image: Float32, sigma: float) -> Float32:
    """Magnitude of the signal with complex Gaussian noise: sqrt((S + n1)^2 + n2^2), n ~ N(0, sigma^2)."""
    real = image + np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    magnitude: Float32 = np.hypot(real, imaginary)
    return magnitude


def _as_json(s: SubjectParameters, lesions: tuple[Lesion, ...], sigma: float, scale: float) -> dict[str, Any]:
    """The parameters without the geometry of the head, which the labels tell better."""
    plain = {
        name: getattr(s, name)
        for name in (
            "seed",
            "index",
            "anatomy",
            "field",
            "r1",
            "r2",
            "dose",
            "minutes",
            "dose_fraction",
            "snr",
            "bias",
            "skull_stripped",
            "quarter_turns",
        )
    }
    return plain | {
        "sequence": asdict(s.sequence),
        "gains": list(s.gains),
        "shifts": [list(shift) for shift in s.shifts],
        "coil": list(s.coil),
        "flips": list(s.flips),
        "noise_sigma": sigma,
        "scale": scale,
        "tissues": {tissue.name: asdict(p) for tissue, p in s.tissues.items()},
        "tumors": [{**asdict(lesion), "harmonics": list(lesion.harmonics)} for lesion in lesions],
    }
