"""The other simulator: it has nothing but Bloch's equation in common with the one that trained the models.

Cells of a Voronoi diagram instead of anatomy, textures, lesions of all sizes, thin vessels, and a spin echo of random
T1 in every cell, or a signal that is linear in the dose, as no tissue's is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..physics import Acquisition, PulseSequence, spin_echo
from .tissues import Tissue

SIZE = 256
LINEAR = Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=1e-3, flip_angle=90.0)
"""The limit that is linear in the dose."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CellSession:
    """One session without noise. Images are (S, SIZE, SIZE), model scale.

    Attributes:
        predose, lowdose, highdose: without noise.
        native_time: T1 before the agent in seconds.
        labels: uint8, values of `Tissue`: SHAPE, TUMOR or AIR.
        dose_fraction: low dose over full dose, 0.15 to 0.3.
        noise: standard deviation that its images are to have, 0.01 to 0.03.
        acquisition: how the images are made.
    """

    predose: FloatArray
    lowdose: FloatArray
    highdose: FloatArray
    native_time: FloatArray
    labels: npt.NDArray[np.uint8]
    dose_fraction: float
    noise: float
    acquisition: Acquisition


def cell_session(rng: np.random.Generator, linear: bool, slices: int) -> CellSession:
    """Draw one session.

    Args:
        rng: what it is drawn from.
        linear: in the dose; else a spin echo.
        slices: how many, no two alike.
    """
    fraction, sigma = rng.uniform(0.15, 0.3), rng.uniform(0.01, 0.03)
    drawn = [_cells(rng) for _ in range(slices)]
    tr, te = rng.uniform(0.4, 0.8), rng.uniform(0.008, 0.015)
    volumes = []
    for dose in (0.0, fraction, 1.0):
        planes = []
        for body, m0, t1, agent, _ in drawn:
            native = spin_echo(m0, 1 / t1, 12.0, tr, te)
            if linear:
                signal = native + dose * (spin_echo(m0, 1 / t1 + 4 * agent, 12.0, tr, te) - native)
            else:
                signal = spin_echo(m0, 1 / t1 + 4 * dose * agent, 12.0 + 5 * dose * agent, tr, te)
            planes.append(_blurred(signal * body, 0.7))
        volumes.append(np.stack(planes))
    level = 0.5 / np.percentile(volumes[1][volumes[1] > 0.02], 95)
    predose, lowdose, highdose = (volume * level for volume in volumes)
    native_time, labels = (np.stack([parts[index] for parts in drawn]) for index in (2, 4))
    acquisition = LINEAR if linear else Acquisition(PulseSequence.SPIN_ECHO, tr, te)
    return CellSession(predose, lowdose, highdose, native_time, labels, fraction, sigma, acquisition)


def _cells(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One slice: inside or not, M0, T1 in seconds, agent at the full dose in mM, and labels, each (SIZE, SIZE)."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    angle, (a, b) = rng.uniform(0, np.pi), rng.uniform(0.3, 0.45, 2)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    body = (u / a) ** 2 + (v / b) ** 2 < 1
    bent_x, bent_y = (x + 0.03 * _texture(rng, 8), y + 0.03 * _texture(rng, 8))
    seeds = rng.uniform(-0.5, 0.5, (rng.integers(12, 40), 2))
    cell = np.argmin([(bent_x - px) ** 2 + (bent_y - py) ** 2 for px, py in seeds], axis=0)
    count = len(seeds)
    m0 = rng.uniform(0.5, 1.0, count)[cell] * (1 + 0.06 * _texture(rng, 3))
    t1 = rng.uniform(0.5, 2.0, count)[cell]
    agent = (0.1 * rng.uniform(0, 1, count) ** 3)[cell]
    labels = np.where(body, int(Tissue.SHAPE), int(Tissue.AIR)).astype(np.uint8)
    for _ in range(rng.integers(1, 5)):
        (px, py), radius = rng.uniform(-0.2, 0.2, 2), rng.uniform(0.015, 0.06)
        distance = np.hypot(bent_x - px, bent_y - py)
        uptake = rng.uniform(0.1, 0.3)
        necrosis = 0.6 * (distance < 0.55 * radius) if rng.random() < 0.5 else 0.0
        agent = np.where(distance < radius, uptake * (1 - necrosis), agent)
        labels[(distance < radius) & body] = Tissue.TUMOR
    vessels = np.abs(_texture(rng, 6))
    agent = np.where(vessels < np.quantile(vessels, 0.02), 0.25, agent)
    return body, m0, t1, agent, labels


def _texture(rng: np.random.Generator, width: float) -> FloatArray:
    """Smooth noise of standard deviation 1."""
    field = _blurred(rng.standard_normal((SIZE, SIZE)), width)
    smooth: FloatArray = field / field.std()
    return smooth


def _blurred(plane: FloatArray, width: float) -> FloatArray:
    image: FloatArray = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(plane), width))
    return image
