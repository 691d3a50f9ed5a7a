"""A cohort from real images before and after the agent: their low dose is a fraction of the enhancement, with noise.

Real anatomy, texture, motion and artifacts, a simulated low dose: linear in the dose, which no tissue is. For every
image after the agent, three dose fractions and two amounts of noise; the regions' "tumor" is what enhances most.

    python Testing/benchmarks/real_pairs.py FOLDER BEFORE AFTER [AFTER ...]
    lipcar evaluate FOLDER --model vnet-predose --methods predose,lowdose,nn,lip-car --output RESULTS
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from LIPCARLib.imaging import read_image
from LIPCARLib.imaging.intensity import foreground_scale
from LIPCARLib.simulation import Tissue

FRACTIONS = (0.15, 0.2, 0.3)
NOISES = (0.005, 0.02)
"""Standard deviation in model scale, beside the noise that the images have."""
BODY, ENHANCING = 0.1, 0.15
"""Model scale: what is brighter after the agent is body, what has risen by more enhances."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    before = read_image(arguments.before)
    for path in arguments.after:
        for fraction in FRACTIONS:
            for sigma in NOISES:
                folder = arguments.folder / f"{path.stem}-{fraction:g}-{sigma:g}"
                folder.mkdir(parents=True, exist_ok=True)
                write_session(folder, before, read_image(path), fraction, sigma, arguments.seed)


def write_session(
    folder: Path, before: sitk.Image, after: sitk.Image, fraction: float, sigma: float, seed: int
) -> None:
    """One session on the grid of the images, which must be the same."""
    pre, high = (sitk.GetArrayFromImage(image).astype(np.float64) for image in (before, after))
    scale = foreground_scale((pre + fraction * (high - pre)).astype(np.float32))
    rng = np.random.default_rng(seed)
    noise = sigma * scale * rng.standard_normal((2, *pre.shape))
    labels = np.where(high > BODY * scale, int(Tissue.SHAPE), int(Tissue.AIR)).astype(np.uint8)
    labels[high - pre > ENHANCING * scale] = Tissue.TUMOR
    arrays = {
        "predose": pre,
        "lowdose": np.hypot(pre + fraction * (high - pre) + noise[0], noise[1]),
        "highdose": high,
        "labels": labels,
    }
    for role, array in arrays.items():
        image = sitk.GetImageFromArray(array.astype(np.uint8 if role == "labels" else np.float32))
        image.CopyInformation(before)
        sitk.WriteImage(image, str(folder / f"{role}.nrrd"))
    (folder / "parameters.json").write_text(json.dumps({"dose_fraction": fraction, "noise": sigma}), encoding="utf-8")


if __name__ == "__main__":
    main()
