"""What each method makes of real images whose low dose is simulated by three laws, in one table.

Real images before and after a full dose are taken as free of noise; the low dose follows from them by a spin echo, a
spoiled gradient echo, or a law linear in the dose, with a T10 that follows brightness and that no model is told. Models
that use the acquisition are told it, and the dose fraction. Then come Rician noise where there is an image, and a
pre-dose image that lies 0.3 pixels off. Errors are against the full dose without noise, in units of its bright end,
averaged over examinations. No one has marked lesions: "found" and "false positives" are the regions of the
blinded reader of `lipcar evaluate`, against those that it marks in the full dose without noise.

    python Testing/benchmarks/real_heads.py FOLDER [FOLDER ...] [--model NAME ...] [--alpha 0.006 ...]

A folder holds pairs NAME-pre.nrrd and NAME-post.nrrd, or predose.nrrd and highdose.nrrd.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from torch import Tensor

from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.gain import NO_GAIN, find_gain
from LIPCARLib.imaging.metrics import ssim
from LIPCARLib.inverse import Conditions, complete, load_model, reconstruct
from LIPCARLib.inverse.anchor import anchor, denoised_pair, noise_between
from LIPCARLib.physics import Acquisition, PulseSequence, headroom, lowdose_of, signal_curve
from LIPCARLib.trust.detection import (
    Mask,
    Spacing,
    count_invented,
    count_outside,
    enhancement,
    read_enhancement,
    read_lesions,
)

LAWS = {
    "spin echo": Acquisition(PulseSequence.SPIN_ECHO, repetition_time=0.5),
    "gradient echo": Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=0.008, flip_angle=20.0),
    # The limit of a short repetition time at 90 degrees.
    "linear": Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=1e-3, flip_angle=90.0),
}
NATIVE_TIMES = (0.8, 2.0)
"""T10 in seconds of the brightest and the darkest tissue before the agent."""
SHIFT = 0.3
"""Pixels that the pre-dose image lies off, along a random direction."""
FILLED = 0.9
"""Share of its headroom that the full dose fills at most: what rises higher than its T10 allows has a longer one."""
LEAST_RATE = 0.1
"""R10 in 1/s of what is dark before the agent, at least."""
BODY, ENHANCING = 0.1, 0.15
"""Shares of the bright end: what is brighter before the agent is body, what rises by more enhances."""
SMALL = 5.0
"""Diameter in mm of what is found."""
FOUND = (f"found < {SMALL:g} mm", f"found >= {SMALL:g} mm")
ERRORS = ("body", "enhancing", "bias", "SSIM")
FALSE = ("false positives", "invented")
MEASURES = (*ERRORS, *FOUND, *FALSE)
Scores = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """One examination as a method sees it; and the truth, (S, H, W) in its units, with T10 and the bright end.

    Attributes:
        noisy: the truth with as much noise as the low dose has.
        spacing: mm between slices, rows and columns.
    """

    name: str
    law: str
    examination: Examination
    predose: np.ndarray
    truth: np.ndarray
    noisy: np.ndarray
    native: np.ndarray
    bright: float
    spacing: Spacing

    @property
    def body(self) -> Mask:
        """What is brighter than air before the agent."""
        return self.predose > BODY * self.bright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--model", nargs="*", default=["vnet-predose", "signal"], help="with pre-dose image")
    parser.add_argument("--alpha", nargs="*", default=["auto", "0.006"], help="of each model, beside its prior alone")
    parser.add_argument("--slices", type=int, default=5, help="of each examination, evenly spaced (default 5)")
    parser.add_argument("--fraction", type=float, default=0.2, help="low dose over full dose (default 0.2)")
    parser.add_argument("--noise", type=float, default=0.015, help="in units of the bright end (default 0.015)")
    parser.add_argument("--settled", action="store_true", help="the gain between the images is settled first")
    parser.add_argument("--untold", action="store_true", help="models are told neither acquisition nor dose fraction")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = [load_model(name) for name in arguments.model]
    scores: dict[str, dict[str, Scores]] = {}
    for case in cases(arguments):
        methods = physics(case, arguments.fraction)
        for model in models:
            for alpha in arguments.alpha:
                told = arguments.fraction if model.uses_acquisition and not arguments.untold else None
                images = replace(case.examination, acquisition=None) if arguments.untold else case.examination
                result = complete(reconstruct(images, model, alpha=alpha, device="cpu", dose_fraction=told))
                methods[f"{model.name}, prior alone"] = result.prior
                methods[f"{model.name}, alpha {alpha}"] = result.highdose
        for method, image in methods.items():
            record(scores.setdefault(method, {}).setdefault(case.law, {}), case, image)
    print(table(scores))


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    for folder in arguments.folders:
        pairs = [(path, path.with_name(path.name.replace("-pre.", "-post."))) for path in folder.glob("*-pre.nrrd")]
        for before, after in sorted(pairs) or [(folder / "predose.nrrd", folder / "highdose.nrrd")]:
            files = [sitk.ReadImage(str(path)) for path in (before, after)]
            images = [sitk.GetArrayFromImage(file).clip(0) for file in files]
            count = len(images[0])
            step = count / min(arguments.slices, count)
            chosen = (np.arange(min(arguments.slices, count)) * step + step / 2).astype(int)
            predose, highdose = (image[chosen].astype(np.float64) for image in images)
            if arguments.settled:
                highdose /= (find_gain(predose, highdose) or NO_GAIN).ratio
            across, down, apart = files[0].GetSpacing()
            for index, law in enumerate(LAWS):
                rng = np.random.default_rng((arguments.seed, index))
                case = simulated(before.stem, law, predose, highdose, arguments.fraction, arguments.noise, rng)
                yield replace(case, spacing=(step * apart, down, across))


def simulated(
    name: str,
    law: str,
    predose: np.ndarray,
    highdose: np.ndarray,
    fraction: float,
    noise: float,
    rng: np.random.Generator,
) -> Case:
    """An examination of real images before and after the agent, (S, H, W)."""
    bright = float(np.percentile(highdose[highdose > 0.05 * highdose.max()], 99))
    before, after, times = (
        torch.from_numpy(image) for image in (predose / bright, highdose / bright, native_times(predose))
    )
    full = torch.maximum(headroom(before, LAWS[law], times), after / FILLED)
    native = 1 / signal_curve(LAWS[law]).rate(before / full).clamp_min(LEAST_RATE).numpy()
    risen = lowdose_of(after, before, full, fraction, LAWS[law])
    # What darkened did so between the two acquisitions: of a third one in between no one knows more than its share.
    low = bright * torch.where(after > before, risen, torch.lerp(before, after, fraction)).numpy()
    angle = rng.uniform(0, 2 * np.pi)
    moved = ndimage.shift(predose, (0, SHIFT * np.sin(angle), SHIFT * np.cos(angle)), order=3).clip(0)
    shown = (predose > 0) | (highdose > 0)  # a head without its skull has no noise around it
    noisy = [rician(image, noise * bright, rng) * shown for image in (low, moved, highdose)]
    images = [sitk.GetImageFromArray(image.astype(np.float32)) for image in noisy[:2]]
    seen = Examination.from_images(*images, acquisition=LAWS[law])
    return Case(name, law, seen, predose, highdose, noisy[2], native, bright, seen.spacing)


def native_times(predose: np.ndarray) -> np.ndarray:
    """T10 by brightness: bright tissue is short, log-linear between the 5th and 95th percentile of the body."""
    inside = predose[predose > 0.05 * predose.max()]
    dark, bright = np.percentile(inside, [5, 95])
    share = ((predose - dark) / (bright - dark)).clip(0, 1)
    return NATIVE_TIMES[1] * (NATIVE_TIMES[0] / NATIVE_TIMES[1]) ** share


def rician(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    first, second = sigma * rng.standard_normal((2, *image.shape))
    return np.hypot(image + first, second)


def physics(case: Case, fraction: float) -> dict[str, np.ndarray]:
    """The methods that need no network, in intensity units."""
    found, scale = case.examination, case.examination.scale
    lowdose, predose = (tensor(image / scale) for image in (found.lowdose, found.aligned_predose(slice(None))))
    before, after = denoised_pair(lowdose, predose, noise_between(lowdose, predose))
    law = LAWS[case.law]

    def closed_form(acquisition: Acquisition | None, native: Tensor | None = None) -> Tensor:
        told = Conditions.of_examination(len(lowdose), acquisition, fraction, fraction, native)
        return anchor(lowdose, predose, told).highdose

    answers = {
        "full dose, as noisy": tensor(case.noisy / scale),
        "low dose as it is": lowdose,
        "linear in the dose": predose + (lowdose - predose) / fraction,
        "linear in the dose, denoised": before + (after - before) / fraction,
        "closed form, not told": closed_form(None),
        "closed form, told": closed_form(law),
        "closed form, told T10 too": closed_form(law, tensor(case.native)),
    }
    return {name: scale * answer[:, 0].clamp_min(0).numpy() for name, answer in answers.items()}


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.astype(np.float32))[:, None]


def record(scores: Scores, case: Case, image: np.ndarray) -> None:
    """Add one examination's measures."""
    error = (image - case.truth) / case.bright
    body = case.body
    rises = case.truth - case.predose > ENHANCING * case.bright
    found = (
        float(np.sqrt(np.mean(error[body] ** 2))),
        float(np.sqrt(np.mean(error[rises] ** 2))),
        float(error[rises].mean()),
        float(ssim(*(tensor(volume / case.bright) for volume in (image, case.truth))).mean()),
    )
    for measure, value in zip(ERRORS, found, strict=True):
        scores.setdefault(measure, []).append(value)
    record_reading(scores, case, image)


def record_reading(scores: Scores, case: Case, image: np.ndarray) -> None:
    """Add what the reader finds of what it marks in the truth, region by region, and how much it marks elsewhere."""
    predose = case.examination.predose
    truth, marked = (read_enhancement(volume, predose, case.body, case.spacing) for volume in (case.truth, image))
    for reading in read_lesions(marked, truth, case.spacing):
        scores.setdefault(FOUND[reading.diameter >= SMALL], []).append(float(reading.found))
    shown, true = (enhancement(volume, predose, case.body) for volume in (image, case.truth))
    counts = count_outside(marked, truth > 0), count_invented(marked, shown, true)
    for measure, count in zip(FALSE, counts, strict=True):
        scores.setdefault(measure, []).append(float(count))


def table(scores: dict[str, dict[str, Scores]]) -> str:
    """Markdown: all measures over all examinations, then body and what enhances by law."""
    titles = ["", *MEASURES, *(f"{law}: {measure}" for law in LAWS for measure in ERRORS[:2])]
    lines = [titles, ["---"] * len(titles)]
    for method, by_law in scores.items():
        overall = [
            np.mean([value for law in by_law.values() for value in law.get(measure, ())]) for measure in MEASURES
        ]
        apart = [np.mean(by_law[law][measure]) for law in LAWS for measure in ERRORS[:2]]
        lines.append([method, *(f"{value:.4f}" for value in [*overall, *apart])])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
