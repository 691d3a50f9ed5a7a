"""A cohort from a simulator that has nothing but Bloch's equation in common with the one that trained the models.

Cells of a Voronoi diagram instead of anatomy, textures, lesions of all sizes, thin vessels; every second subject with a
spin echo of random T1 in every cell, the others with a signal that is linear in the dose, as no tissue's is.

    python Testing/benchmarks/other_simulator.py FOLDER
    lipcar evaluate FOLDER --model vnet-predose --methods nn,lip-car --output RESULTS
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from LIPCARLib.physics.signal_model import spin_echo
from LIPCARLib.simulation import Tissue

SIZE, SLICES = 256, 4
SCALE = 1000.0
"""Intensity units per model scale."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for index in range(arguments.subjects):
        folder = arguments.folder / f"subject-{index:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        write_subject(folder, np.random.default_rng((arguments.seed, index)), linear=index % 2 == 1)


def write_subject(folder: Path, rng: np.random.Generator, linear: bool) -> None:
    """One session: a fraction of the dose between 0.15 and 0.3, noise of 0.01 to 0.03 in model scale."""
    fraction, sigma = rng.uniform(0.15, 0.3), rng.uniform(0.01, 0.03)
    slices = [cells(rng) for _ in range(SLICES)]
    tr, te = rng.uniform(0.4, 0.8), rng.uniform(0.008, 0.015)
    volumes: dict[str, np.ndarray] = {}
    for role, dose in (("predose", 0.0), ("lowdose", fraction), ("clean_highdose", 1.0)):
        planes = []
        for body, m0, t1, agent, _ in slices:
            native = spin_echo(m0, 1 / t1, 12.0, tr, te)
            if linear:
                signal = native + dose * (spin_echo(m0, 1 / t1 + 4 * agent, 12.0, tr, te) - native)
            else:
                signal = spin_echo(m0, 1 / t1 + 4 * dose * agent, 12.0 + 5 * dose * agent, tr, te)
            planes.append(blurred(signal * body, 0.7))
        volumes[role] = np.stack(planes)
    level = 0.5 / np.percentile(volumes["lowdose"][volumes["lowdose"] > 0.02], 95)
    for role in volumes:
        volumes[role] = volumes[role] * level
    volumes["highdose"] = volumes["clean_highdose"]
    for role in ("predose", "lowdose", "highdose"):
        noise = sigma * rng.standard_normal((2, *volumes[role].shape))
        volumes[role] = np.hypot(volumes[role] + noise[0], noise[1])
    labels = np.stack([label for *_, label in slices])
    for role, volume in volumes.items():
        stored = (SCALE * volume).round().clip(0).astype(np.uint16)  # blurring undershoots
        sitk.WriteImage(sitk.GetImageFromArray(stored), folder / f"{role}.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(labels), folder / "labels.nrrd")
    words = {"dose_fraction": fraction, "noise": sigma, "linear": linear}
    (folder / "parameters.json").write_text(json.dumps(words), encoding="utf-8")


def cells(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One slice: inside or not, M0, T1 in seconds, agent at the full dose in mM, and labels, each (SIZE, SIZE)."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    angle, (a, b) = rng.uniform(0, np.pi), rng.uniform(0.3, 0.45, 2)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    body = (u / a) ** 2 + (v / b) ** 2 < 1
    bent_x, bent_y = (x + 0.03 * texture(rng, 8), y + 0.03 * texture(rng, 8))
    seeds = rng.uniform(-0.5, 0.5, (rng.integers(12, 40), 2))
    cell = np.argmin([(bent_x - px) ** 2 + (bent_y - py) ** 2 for px, py in seeds], axis=0)
    count = len(seeds)
    m0 = rng.uniform(0.5, 1.0, count)[cell] * (1 + 0.06 * texture(rng, 3))
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
    vessels = np.abs(texture(rng, 6))
    agent = np.where(vessels < np.quantile(vessels, 0.02), 0.25, agent)
    return body, m0, t1, agent, labels


def texture(rng: np.random.Generator, width: float) -> np.ndarray:
    """Smooth noise of standard deviation 1."""
    field = blurred(rng.standard_normal((SIZE, SIZE)), width)
    return field / field.std()


def blurred(plane: np.ndarray, width: float) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(plane), width))


if __name__ == "__main__":
    main()
