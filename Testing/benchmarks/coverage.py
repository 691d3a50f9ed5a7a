"""How often the truth lies within the interval that the evidence gives, and how many findings a clean result has.

For each cohort: the share of voxels of the body, and of what enhances, whose true full dose lies within the nominal
90 % interval, averaged over examinations, with the least of them; and findings an examination, which are all false
where the result is an honest one. Heads are simulated as in `real_heads` (which no constant was fitted to), subjects as
`lipcar phantom` and `other_simulator` have them.

    python Testing/benchmarks/coverage.py [--heads FOLDER ...] [--model NAME ...] [--subjects 6] [--slices 2]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import other_simulator
import real_heads
import SimpleITK as sitk
import torch

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import complete, load_model, reconstruct
from LIPCARLib.inverse.denoising import body
from LIPCARLib.learning.cohort import simulated_acquisition
from LIPCARLib.simulation import simulate
from LIPCARLib.trust import SURE, evidence

ENHANCING = 0.15
"""Model scale: what rises by more enhances."""
SEED = 4242


@dataclass(frozen=True)
class Truth:
    """An examination, the noise-free full dose, (S, H, W) in its units, and the dose fraction."""

    cohort: str
    examination: Examination
    highdose: np.ndarray
    fraction: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--model", nargs="*", default=["anchored"])
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--slices", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.015, help="of the heads, in units of the bright end")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[tuple[str, str, str], list[tuple[float, float, int]]] = {}
    for case in truths(arguments):
        for name in arguments.model:
            model = load_model(name)
            for words, told in (("told", True), ("not told", False)):
                examination = case.examination if told else replace(case.examination, acquisition=None)
                fraction = case.fraction if told and model.uses_predose else None
                result = complete(reconstruct(examination, model, device="cpu", dose_fraction=fraction))
                found = complete(evidence(examination, model, result, dose_fraction=fraction, device="cpu"))
                if found.uncertainty is None:
                    continue
                within = np.abs(result.highdose - case.highdose) < SURE * found.uncertainty
                tissue, enhancing = regions(case)
                row = (share(within, tissue), share(within, enhancing), len(found.table))
                rows.setdefault((case.cohort, name, words), []).append(row)
    print(
        "| cohort | model | | body: mean, least | what enhances: mean, least | findings an examination |\n"
        + "| --- " * 6
        + "|"
    )
    for (cohort, name, words), found_rows in rows.items():
        tissue, enhancing, counts = (np.array(column, float) for column in zip(*found_rows, strict=True))
        shares = [f"{100 * np.nanmean(one):.1f}, {100 * np.nanmin(one):.1f}" for one in (tissue, enhancing)]
        print(f"| {cohort} | {name} | {words} | {shares[0]} | {shares[1]} | {counts.mean():.2f} |")


def share(within: np.ndarray, where: np.ndarray) -> float:
    return float(within[where].mean()) if where.any() else float("nan")


def regions(case: Truth) -> tuple[np.ndarray, np.ndarray]:
    """The body, and what of it enhances."""
    found, scale = case.examination, case.examination.scale
    lowdose = torch.from_numpy(found.lowdose / scale)[:, None]
    tissue = body(lowdose, found.noise_floor / scale)[:, 0].numpy()
    return tissue, tissue & (case.highdose - found.predose > ENHANCING * scale)


def truths(arguments: argparse.Namespace) -> Iterator[Truth]:
    """Every cohort's examinations with a pre-dose image that was believed."""
    for folder in arguments.heads:
        settings = argparse.Namespace(
            folders=[folder], slices=arguments.slices, fraction=0.2, noise=arguments.noise, settled=False, seed=1
        )
        for case in real_heads.cases(settings):
            yield Truth(f"{folder.name}, {case.law}", case.examination, case.truth, 0.2)
    for index in range(arguments.subjects):
        made = simulate(SEED, index, slices=arguments.slices)
        images = [sitk.GetImageFromArray(image) for image in (made.lowdose, made.predose)]
        examination = Examination.from_images(*images, acquisition=simulated_acquisition(made.parameters))
        if examination.predose is not None:
            fraction = float(made.parameters["dose_fraction"])
            yield Truth("phantom", examination, made.clean_highdose.astype(np.float64), fraction)
    for index in range(arguments.subjects):
        yield other(index, arguments.slices)


def other(index: int, slices: int) -> Truth:
    """A subject of the other simulator; the even ones are spin echoes, the odd ones linear in the dose."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        other_simulator.write_subject(folder, np.random.default_rng((SEED, index)), linear=index % 2 == 1)
        told = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
        roles = ("lowdose", "predose", "clean_highdose")
        lowdose, predose, highdose = (sitk.ReadImage(str(folder / f"{role}.nrrd"))[:, :, :slices] for role in roles)
    law = real_heads.LAWS["linear" if told["linear"] else "spin echo"]
    examination = Examination.from_images(lowdose, predose, acquisition=law)
    return Truth("other simulator", examination, sitk.GetArrayFromImage(highdose).astype(float), told["dose_fraction"])


if __name__ == "__main__":
    main()
