"""A cohort from the other simulator (`simulation.cell_session`); every second subject is linear in the dose.

python Testing/benchmarks/other_simulator.py FOLDER
lipcar evaluate FOLDER --model vnet-predose --methods nn,lip-car --output RESULTS
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from LIPCARLib.simulation import cell_session

SLICES = 4
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
    """One session, with its noise."""
    session = cell_session(rng, linear, SLICES)
    volumes = {"predose": session.predose, "lowdose": session.lowdose, "clean_highdose": session.highdose}
    volumes["highdose"] = session.highdose
    for role in ("predose", "lowdose", "highdose"):
        noise = session.noise * rng.standard_normal((2, *volumes[role].shape))
        volumes[role] = np.hypot(volumes[role] + noise[0], noise[1])
    for role, volume in volumes.items():
        sitk.WriteImage(sitk.GetImageFromArray((SCALE * volume).round().astype(np.uint16)), folder / f"{role}.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(session.labels), folder / "labels.nrrd")
    words = {"dose_fraction": session.dose_fraction, "noise": session.noise, "linear": linear}
    (folder / "parameters.json").write_text(json.dumps(words), encoding="utf-8")


if __name__ == "__main__":
    main()
