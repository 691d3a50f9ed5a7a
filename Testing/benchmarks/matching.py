"""What matching the pre-dose image is worth: body RMSE of the prior with and without it, on held-out subjects.

    python Testing/benchmarks/matching.py COHORT

The cohort is the one of Resources/Models/README.md. Each subject is taken as it is, with its pre-dose image rolled by
a pixel, and with its low-dose and high-dose image multiplied by 1.125 (a change of receiver gain after the pre-dose
image).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.gain import gain_ratio
from LIPCARLib.imaging.registration import shift_between
from LIPCARLib.inverse.model import Model, load_model
from LIPCARLib.learning.cohort import Subject, read_subject
from LIPCARLib.simulation import Tissue

GAIN = np.float32(1.125)


def body_rmse(model: Model, examination: Examination, reference: np.ndarray, body: np.ndarray) -> float:
    images = (examination.lowdose, examination.predose)
    low, pre = (torch.from_numpy(image / np.float32(examination.scale))[:, None] for image in images)
    with torch.no_grad():
        xbar = model.prior(low, pre)[:, 0].numpy()
    return float(np.sqrt(np.mean((xbar - reference / examination.scale)[body] ** 2)))


def cases(subject: Subject) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Low-dose, pre-dose and noise-free high-dose image by the name of the disturbance."""
    e = subject.examination
    low, pre, high = e.lowdose, e.predose, subject.clean_highdose
    return {
        "as it is": (low, pre, high),
        "shift of 1 pixel": (low, np.roll(pre, 1, 2), high),
        "gain of 1.125": (low * GAIN, pre, high * GAIN),
    }


def main(cohort: Path) -> None:
    model = load_model("vnet-predose")
    scores: dict[str, list[tuple[float, float]]] = {}
    errors: list[tuple[float, float]] = []
    for name in model.manifest["training"]["held_out_subjects"]:
        folder = cohort / name
        subject = read_subject(folder)
        original = Examination.read(folder / "lowdose.nrrd", folder / "predose.nrrd", match_predose=False)
        subject.examination.predose[:] = original.predose
        rolled = shift_between(np.roll(original.predose, 1, 2), original.lowdose)
        straight = shift_between(original.predose, original.lowdose)
        brighter = gain_ratio(original.predose, original.lowdose * GAIN)
        errors.append((np.hypot(rolled[0] - straight[0], rolled[1] - straight[1] + 1), brighter))
        for case, (low, pre, high) in cases(subject).items():
            images = [original.to_image(image) for image in (low, pre)]
            both = [Examination.from_images(*images, match_predose=match) for match in (False, True)]
            body = subject.labels != Tissue.AIR
            scores.setdefault(case, []).append(tuple(body_rmse(model, e, high, body) for e in both))
    print(f"{len(errors)} subjects; body RMSE of the prior against the noise-free image, model scale")
    print(f"largest error of a shift by one pixel: {max(error for error, _ in errors):.3f} pixels")
    for case, values in scores.items():
        without, matched = np.mean(values, 0)
        worse = sum(b > a * 1.02 for a, b in values)
        print(f"{case:18} without {without:.4f}  matched {matched:.4f}  more than 2 % worse in {worse}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
