"""How well a movement of the patient between the images is found and undone, and what that is worth in the result.

Real heads before and after a full dose (see `real_heads`), the low dose simulated from them; the pre-dose image is
turned about a random axis and moved along a random direction by cubic splines, the gain drifts by 5 % from side to
side, Rician noise at a body SNR of 12 comes on top. Errors of the movement are the largest over the tissue, in mm;
those of the result are body RMSE of five slices against the noise-free full dose, in units of its bright end: with the
pre-dose image before it moved, as it moved (not matched), and moved back. Last, the pre-dose image without the first
fifth of its rows, at rest and moved: the RMSE 10 pixels and more within what is left, and outside. And the pre-dose
image deformed within its slices by a smooth field: body RMSE as it is (not matched) and as LIPCAR has it, beside that
of the model without pre-dose image.

    python Testing/benchmarks/motion.py FOLDER [--model NAME] [--draws N]

A folder holds pairs NAME-pre.nrrd and NAME-post.nrrd.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from real_heads import BODY, LAWS, native_times, rician
from scipy.ndimage import affine_transform, map_coordinates
from scipy.spatial.transform import Rotation

from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.motion import find_motion
from LIPCARLib.inverse import complete, default_model, load_model, reconstruct
from LIPCARLib.physics import headroom, lowdose_of
from LIPCARLib.simulation.fields import smooth_field

MOVEMENTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""mm and degrees, both at once."""
LAW = "gradient echo"
FRACTION = 0.2
SNR = 12.0
DRIFT = 0.05
CUT = 0.2
CUT_MOVEMENT = 4.0
DEFORMATIONS = (0.0, 0.5, 1.0, 2.0, 3.0)
"""mm, root mean square; smooth over a quarter of the slice."""
CHOSEN = slice(5, 10)
"""Slices whose result is scored, to save time."""


@dataclass(frozen=True)
class Pair:
    """Before and after the full dose and what the low dose would be, (S, H, W), and the spacing along these, mm."""

    predose: np.ndarray
    highdose: np.ndarray
    lowdose: np.ndarray
    spacing: np.ndarray

    @classmethod
    def read(cls, before: Path) -> Pair:
        images = [sitk.ReadImage(str(p)) for p in (before, before.with_name(before.name.replace("-pre.", "-post.")))]
        pre, high = (sitk.GetArrayFromImage(image).clip(0).astype(np.float64) for image in images)
        bright = float(np.percentile(high[high > 0.05 * high.max()], 99))
        one, other, times = (torch.from_numpy(a) for a in (pre / bright, high / bright, native_times(pre)))
        full = torch.maximum(headroom(one, LAWS[LAW], times), other / 0.9)
        risen = lowdose_of(other, one, full, FRACTION, LAWS[LAW])
        low = torch.where(other > one, risen, torch.lerp(one, other, FRACTION)).numpy()
        return cls(pre / bright, high / bright, low, np.array(images[0].GetSpacing()[::-1]))

    def examination(self, predose: np.ndarray, rng: np.random.Generator, match: bool = True) -> Examination:
        low = self.lowdose * np.exp(DRIFT * np.linspace(-0.5, 0.5, self.lowdose.shape[2]))
        images = [
            sitk.GetImageFromArray((1000 * self.noisy(image, rng)).astype(np.float32)) for image in (low, predose)
        ]
        for image in images:
            image.SetSpacing(self.spacing[::-1].tolist())
        return Examination.from_images(*images, match_predose=match, acquisition=LAWS[LAW])

    def noisy(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        sigma = float(np.median(self.lowdose[self.lowdose > BODY])) / SNR
        return rician(image, sigma, rng) * (image > 0)


Error = Callable[[Pair, Examination], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="anchored")
    parser.add_argument("--draws", type=int, default=4, help="movements of each size and head (default 4)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model)
    pairs = [Pair.read(path) for path in sorted(arguments.folder.glob("*-pre.nrrd"))]

    def error(pair: Pair, examination: Examination, where: np.ndarray | None = None) -> float:
        if examination.predose is None:
            return float("nan")
        part = examination.part(CHOSEN.start, CHOSEN.stop)
        result = complete(reconstruct(part, model, device="cpu", dose_fraction=FRACTION))
        rest = result.highdose / 1000 - pair.highdose[CHOSEN]
        body = pair.predose[CHOSEN] > BODY
        return float(np.sqrt(np.mean(rest[body if where is None else body & where] ** 2)))

    print("| mm and degrees | moved, mm | off, median | worst | s | undone | at rest | moved | moved back |")
    print("| --- " * 9 + "|")
    for size in MOVEMENTS:
        rows = []
        for number, pair in enumerate(pairs):
            for draw in range(arguments.draws):
                rng = np.random.default_rng((number, draw, int(100 * size)))
                rows.append(measured(pair, size, rng, error))
        moved, off, seconds, undone, *results = np.array(rows).T
        told = [
            f"{size:g}",
            f"{moved.mean():.2f}",
            f"{np.median(off):.2f}",
            f"{off.max():.2f}",
            f"{seconds.mean():.2f}",
        ]
        told += [f"{undone.mean():.0%}", *(f"{np.nanmean(column):.4f}" for column in results)]
        print("| " + " | ".join(told) + " |", flush=True)
    print(f"\nWithout the first {CUT:.0%} of the rows: RMSE within, of a whole one; outside, of x_L, of a whole one")
    for number, pair in enumerate(pairs):
        cut = int(CUT * pair.predose.shape[1])
        rows = np.arange(pair.predose.shape[1])[None, :, None]
        for size in (0.0, CUT_MOVEMENT):
            moved, _ = moved_by(pair, size, np.random.default_rng(number))
            part, whole = (
                pair.examination(image, np.random.default_rng(number)) for image in (moved * (rows >= cut), moved)
            )
            low = (part.lowdose / 1000 - pair.highdose)[CHOSEN][(pair.predose[CHOSEN] > BODY) & (rows < cut)]
            found = error(pair, part, rows >= cut + 10), error(pair, whole, rows >= cut + 10)
            found += error(pair, part, rows < cut), float(np.sqrt(np.mean(low**2))), error(pair, whole, rows < cut)
            print(f"{size:g} mm and degrees:", " ".join(f"{value:.4f}" for value in found), part.motion_words())
    print("\n| mm deformed | found, mm | left | moved back | without pre-dose image | x_L |")
    print("| --- " * 6 + "|")
    alone = load_model(default_model(uses_predose=False))
    for size in DEFORMATIONS:
        rows = []
        for number, pair in enumerate(pairs):
            predose = deformed(pair, size, np.random.default_rng(number)) if size else pair.predose
            left, undone = (pair.examination(predose, np.random.default_rng(number), match) for match in (False, True))
            body = pair.predose[CHOSEN] > BODY
            without = complete(reconstruct(left.part(CHOSEN.start, CHOSEN.stop), alone, device="cpu")).highdose
            others = (image / 1000 - pair.highdose[CHOSEN] for image in (without, left.lowdose[CHOSEN]))
            scored = [float(np.sqrt(np.mean(rest[body] ** 2))) for rest in others]
            rows.append([undone.predose_deformed, error(pair, left), error(pair, undone), *scored])
        found, *errors = np.mean(rows, 0)
        print(f"| {size:g} | {found:.2f} | " + " | ".join(f"{value:.4f}" for value in errors) + " |")


def deformed(pair: Pair, size: float, rng: np.random.Generator) -> np.ndarray:
    """The pre-dose image with tissue off by a smooth field of so many mm within the slices."""
    shape = pair.predose.shape
    places = np.mgrid[tuple(slice(side) for side in shape)].astype(float)
    field = np.stack([smooth_field(rng, shape, (shape[1],) * 3, shape[1] / 4) for _ in range(2)])
    places[1:] += size * field / np.sqrt(np.square(field).sum(0)[pair.predose > BODY].mean()) / pair.spacing[1]
    shown: np.ndarray = map_coordinates(pair.predose, places, order=3, mode="nearest")
    return shown.clip(0)


def moved_by(
    pair: Pair, size: float, rng: np.random.Generator
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The pre-dose image turned and moved by so many degrees and mm; and where tissue at places (N, 3) in mm went."""
    axis, along = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    rotation, shift = Rotation.from_rotvec(size * axis, degrees=True).as_matrix(), size * along
    center = (np.array(pair.predose.shape) - 1) / 2 * pair.spacing
    # Tissue at x is at rotation (x - center) + center + shift in the moved image.
    matrix = rotation.T * pair.spacing / pair.spacing[:, None]
    offset = (center - rotation.T @ (center + shift)) / pair.spacing
    moved = affine_transform(pair.predose, matrix, offset, order=3).clip(0) if size else pair.predose
    return moved, lambda places: (places - center) @ rotation.T + center + shift


def measured(pair: Pair, size: float, rng: np.random.Generator, error: Error) -> list[float]:
    """mm that tissue was moved by, and that the movement found is off by, at most; seconds; undone; three RMSEs."""
    moved, went = moved_by(pair, size, rng)
    seed = int(rng.integers(2**31))
    places = np.argwhere(pair.predose > BODY)[::97] * pair.spacing
    there = went(places)
    left = pair.examination(moved, np.random.default_rng(seed), match=False)
    began = time.perf_counter()
    found = find_motion(left.predose, left.lowdose, pair.spacing)
    seconds = time.perf_counter() - began
    off = np.linalg.norm(found(places) - there, axis=1).max()
    rest, undone = (pair.examination(image, np.random.default_rng(seed)) for image in (pair.predose, moved))
    results = [error(pair, one) for one in (rest, left, undone)]
    return [
        float(np.linalg.norm(there - places, axis=1).max()),
        float(off),
        seconds,
        float(undone.predose_motion is not None),
        *results,
    ]


if __name__ == "__main__":
    main()
