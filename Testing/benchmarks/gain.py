"""How well the gain between the pre-dose and the low-dose image is found, and what that is worth in the result.

    python Testing/benchmarks/gain.py [--seeds N] [--heads FOLDER] [--results N]

Pairs with a known gain: noise-free simulated heads whose muscle is made 8 % brighter by the agent, whose brain is left
as it was and whose other tissues enhance as they do, then a gain between 0.7 and 1.5, a drift of 5 % from one side to
the other, and Rician noise at a body SNR of 12. Real heads (FOLDER with `*-pre.nrrd`) become such pairs, too: their
outer rim takes the place of muscle, a ball the place of a lesion. Errors are of the mean over the brain (real heads:
what was left as it was), in percent; beside them those of the lowest peak of the histogram of log(x_L / x_P), which
LIPCAR used before. With `--results`, body RMSE of the result of so many simulated sessions, and what it would be
with the pre-dose image as it came and without it; pre-dose images of other units included.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter1d

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, read_image
from LIPCARLib.imaging.gain import coarse_level, find_gain
from LIPCARLib.imaging.intensity import foreground, local_mean, noise_floor
from LIPCARLib.inverse import complete, load_model, reconstruct
from LIPCARLib.simulation import BRAIN_TISSUES, Tissue, simulate
from LIPCARLib.simulation.fields import smooth_field
from LIPCARLib.simulation.phantom import render
from LIPCARLib.simulation.subject import draw_subject

MUSCLE, DRIFT, SNR, GAINS = 0.08, 0.05, 12.0, (0.7, 1.5)
UNITS = (1.0, 0.002, 0.5, 1.5, 1000.0)


@dataclass(frozen=True)
class Pair:
    """Two images, (S, H, W), the gain's field between them, and where nothing enhanced."""

    predose: np.ndarray
    lowdose: np.ndarray
    field: np.ndarray
    quiet: np.ndarray


def pair_of(
    rng: np.random.Generator, predose: np.ndarray, lowdose: np.ndarray, quiet: np.ndarray, masked: bool
) -> Pair:
    """Noise-free images of one gain with a gain, a drift and noise."""
    body = predose > 0.05 * predose.max()
    field = smooth_field(rng, predose.shape, (predose.shape[1],) * 3, predose.shape[1])
    least, most = field[body].min(), field[body].max()
    field = rng.uniform(*GAINS) * np.exp(DRIFT * ((field - least) / (most - least) - 0.5))
    sigma = predose[body].mean() / SNR
    inside = predose > 0 if masked else np.ones(predose.shape, bool)
    noisy = [
        (inside * np.hypot(image + sigma * rng.normal(size=image.shape), sigma * rng.normal(size=image.shape)))
        for image in (predose, lowdose * field)
    ]
    return Pair(noisy[0].astype(np.float32), noisy[1].astype(np.float32), field, quiet)


def simulated_pairs(anatomy: str, count: int) -> Iterator[Pair]:
    for index in range(count):
        subject = replace(draw_subject(97, index, anatomy), snr=1e6, gains=(1.0, 1.0, 1.0))
        clean = render(subject, slices=6, size=160)
        quiet = np.isin(clean.labels, (*BRAIN_TISSUES, Tissue.SHAPE))
        low = np.where(clean.labels == Tissue.MUSCLE, (1 + MUSCLE) * clean.predose, clean.lowdose)
        low = np.where(quiet, clean.predose, low)
        yield pair_of(np.random.default_rng([97, index]), clean.predose, low, quiet, subject.skull_stripped)


def real_pairs(folder: Path, count: int) -> Iterator[Pair]:
    for path in sorted(folder.glob("*-pre.nrrd")):
        head = np.maximum(sitk.GetArrayFromImage(read_image(path)).astype(np.float64), 0)
        inside = head > 0.1 * np.percentile(head, 99.5)
        core = np.stack([binary_erosion(binary_fill_holes(part), iterations=20) for part in inside])
        middle = np.array(head.shape) / 2
        places = np.indices(head.shape) - middle[:, None, None, None]
        lesion = inside & (np.hypot(places[1] - 20, places[2] - 15) < 8) & (abs(places[0]) < 3)
        low = np.where(lesion, 1.4 * head, np.where(core, head, (1 + MUSCLE) * head))
        for seed in range(count):
            yield pair_of(np.random.default_rng([98, seed]), head, low, core & inside & ~lesion, masked=True)


def histogram_ratio(predose: np.ndarray, lowdose: np.ndarray) -> float:
    """What LIPCAR did before: the lowest peak over pixels, for gains from 0.3 to 3.3."""
    before, after = (local_mean(local_mean(image, 3), 3) for image in (predose, lowdose))
    tissue = foreground(before) & foreground(after) & (before > 2 * noise_floor(predose))
    edges = np.arange(-1.2, 1.2, 0.004)
    counts, _ = np.histogram(np.log(after[tissue] / before[tissue]), bins=edges, weights=before[tissue])
    smooth = gaussian_filter1d(counts, 0.015 / 0.004, mode="constant")
    inner = smooth[1:-1]
    peaks = (inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner > 0.3 * smooth.max())
    return float(np.exp(edges[int(np.argmax(peaks)) + 1] + 0.002))


def errors_of(pair: Pair) -> tuple[float, float, float]:
    """Of the logarithm in percent: the histogram's, this one's, and this one's by pixel (root mean square)."""
    truth = np.log(pair.field[pair.quiet])
    old = np.log(histogram_ratio(pair.predose, pair.lowdose)) - truth.mean()
    coarse = np.float32(coarse_level(pair.predose, pair.lowdose))
    gain = find_gain(pair.predose * coarse, pair.lowdose)
    if gain is None or gain.doubtful:
        return 100 * abs(old), np.nan, np.nan
    field = np.full(pair.field.shape, coarse)
    gain.apply(field)
    error = np.log(field[pair.quiet]) - truth
    return 100 * abs(old), 100 * abs(error.mean()), 100 * float(np.sqrt(np.mean(error**2)))


def print_errors(name: str, pairs: Iterator[Pair]) -> None:
    found = np.array([errors_of(pair) for pair in pairs])
    told = found[np.isfinite(found[:, 1])]
    cells = [f"{np.median(v):.2f} {np.percentile(v, 90):.2f} {v.max():.2f}" for v in (found[:, 0], *told.T[1:])]
    print(f"| {name} | {len(found)} | {' | '.join(cells)} | {len(found) - len(told)} |", flush=True)


def session_rmse(low: np.ndarray, pre: np.ndarray | None, clean: np.ndarray, body: np.ndarray, match: bool) -> float:
    """Body RMSE of the default's result in the low-dose image's scale; NaN where the pair is refused."""
    images = [None if image is None else sitk.GetImageFromArray(image) for image in (low, pre)]
    try:
        examination = Examination.from_images(*images, match_predose=match)
    except LIPCARError:
        return np.nan
    model = load_model("vnet-lowdose" if examination.predose is None else "vnet-predose")
    result = complete(reconstruct(examination, model, device="cpu"))
    return float(np.sqrt(np.mean(((result.highdose - clean) / examination.scale)[body] ** 2)))


def print_results(count: int) -> None:
    print(
        "\n| session | gain | units of the pre-dose image | as it came | without it | matched |\n" + 6 * "| --- " + "|"
    )
    for index in range(count):
        s = simulate(91, index, slices=2, size=128)
        before, after, _ = s.parameters["gains"]
        body = s.labels != Tissue.AIR
        without = session_rmse(s.lowdose, None, s.clean_highdose, body, True)
        for unit in UNITS if index % 4 == 0 else UNITS[:1]:
            pre = s.predose * np.float32(unit)
            scores = [session_rmse(s.lowdose, pre, s.clean_highdose, body, match) for match in (False, True)]
            print(
                f"| {s.parameters['anatomy']} {index} | {after / before:.3f} | {unit:g} "
                f"| {scores[0]:.4f} | {without:.4f} | {scores[1]:.4f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12, help="pairs of each kind")
    parser.add_argument("--heads", type=Path, help="folder of real heads")
    parser.add_argument("--results", type=int, default=0, help="sessions to reconstruct")
    arguments = parser.parse_args()
    print("Errors in percent: median, 90th percentile, worst.\n")
    print("| images | pairs | histogram | mean in the brain | by pixel | cannot be told |\n" + 6 * "| --- " + "|")
    for anatomy in ("rat", "human", "shapes"):
        print_errors(f"simulated: {anatomy}", simulated_pairs(anatomy, arguments.seeds))
    if arguments.heads is not None:
        print_errors("real heads", real_pairs(arguments.heads, arguments.seeds))
    if arguments.results:
        print_results(arguments.results)


if __name__ == "__main__":
    main()
