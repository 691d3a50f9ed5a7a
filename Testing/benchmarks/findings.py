"""How many lesions the findings name that are in the result and not in x_L - x_P, and the other way round.

Disks of several sizes and contrasts, in standard deviations of the noise of the low-dose image, are painted into
results of the default model (a contrast over the dose fraction there), or into low-dose images whose results stay as
they were. Named is one that a region of the right kind overlaps. A table for each kind, in percent.

    python Testing/benchmarks/findings.py [--heads FOLDER ...] [--subjects 4] [--slices 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from coverage import Truth, regions, truths
from scipy.ndimage import binary_erosion

from LIPCARLib.inverse import complete, load_model, reconstruct
from LIPCARLib.trust import evidence

DIAMETERS, CONTRASTS = (2, 3, 5, 8, 12), (0.5, 1.0, 2.0, 4.0)
"""Pixels; standard deviations of the noise of the low-dose image."""
APART, EACH = 24, 6
"""Pixels between lesions; lesions in a slice."""
Lesion = tuple[int, float, np.ndarray]
Tally = dict[tuple[str, int, float], list[bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--slices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.015)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, tally, rng = load_model("anchored"), defaultdict(list), np.random.default_rng(0)
    for case in truths(arguments):
        told = {"dose_fraction": case.fraction, "device": "cpu"}
        result = complete(reconstruct(case.examination, model, **told))
        for _ in range(arguments.rounds):
            lesions = list(drawn(case, rng))
            noise = case.examination.noise
            added = noise * np.sum([contrast * cover for _, contrast, cover in lesions], axis=0)
            painted = replace(result, highdose=(result.highdose + added / case.fraction).astype(np.float32))
            brighter = replace(case.examination, lowdose=(case.examination.lowdose + added).astype(np.float32))
            for kind, examination, image in ((1, case.examination, painted), (2, brighter, result)):
                found = complete(evidence(examination, model, image, **told)).findings
                for diameter, contrast, cover in lesions:
                    tally[kind, diameter, contrast].append(bool((found[cover] == kind).any()))
    for kind, name in ((1, "painted into the result"), (2, "only in the low-dose image")):
        print(f"\n| {name} | " + " | ".join(f"{contrast:g} sigma" for contrast in CONTRASTS) + " |")
        print("| --- " * (1 + len(CONTRASTS)) + "|")
        for diameter in DIAMETERS:
            shares = [np.mean(tally[kind, diameter, contrast]) for contrast in CONTRASTS]
            print(f"| {diameter} pixels | " + " | ".join(f"{100 * share:.0f}" for share in shares) + " |")


def drawn(case: Truth, rng: np.random.Generator) -> Iterator[Lesion]:
    """Lesions well inside the body, apart from each other."""
    tissue, enhancing = regions(case)
    for index, slice_of in enumerate(tissue):
        free = binary_erosion(slice_of, iterations=6) & ~enhancing[index]
        for _ in range(EACH):
            places = np.argwhere(free)
            if not len(places):
                break
            row, column = places[rng.integers(len(places))]
            diameter, contrast = int(rng.choice(DIAMETERS)), float(rng.choice(CONTRASTS))
            y, x = np.ogrid[: free.shape[0], : free.shape[1]]
            distance = np.hypot(y - row, x - column)
            cover = np.zeros(tissue.shape, bool)
            cover[index] = distance <= max(diameter / 2, 0.9)
            free &= distance > APART
            yield diameter, contrast, cover


if __name__ == "__main__":
    main()
