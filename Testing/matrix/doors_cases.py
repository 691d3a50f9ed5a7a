"""Cases: the engine from Python, and the logic of the Slicer module; see `doors`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case, done, refused, table
from .images import THINGS, WORDS
from .inputs import cut, examination, image_of, nifti, ordinary, with_file, with_image, with_thing
from .models import mine, put, with_weights
from .numeric import MIDDLE, each, floats, inf, nan, small, swapped, times
from .numeric import put as voxel

NO_ACQUISITIONS = ('{"ScanningSequence":"XY"}', '{"ScanningSequence":"SE","RepetitionTime":-1}', "{}")
FINITE = done(r"result \(.*\), finite")


def read_cases() -> list[Case]:
    call = "examination-read low.nrrd pre.nrrd"
    rows: list[tuple[Any, ...]] = [
        ("as it should be", ordinary, call, FINITE),
        *((f"low-dose image is {kind}", with_thing(kind, "low.nrrd"), call, refused(WORDS[kind])) for kind in THINGS),
        ("half of a file", with_file("low.nrrd", cut(nifti())), call, refused()),
        ("a zero in the name", ordinary, ("examination-read", "a\0b"), refused("zero|null|NUL|name|exist")),
        ("a name too long", ordinary, f"examination-read {'x' * 300}", refused("too long|not exist|read")),
    ]
    return table(*((f"read: {name}", *row) for name, *row in rows))


def content_rows(call: str, options: bool) -> list[tuple[Any, ...]]:
    """What both the engine and Slicer's logic are given as images and numbers."""
    nothing_there = refused("everywhere|finite|range|large|small|compute|tissue|NaN|infinite|intensities|floating")
    rows: list[tuple[Any, ...]] = [
        ("as it should be", ordinary, call, FINITE),
        ("a voxel of NaN", voxel("lowdose", nan), call, refused("NaN")),
        ("a voxel of infinity", voxel("predose", inf), call, refused("infinite")),
        ("a spike of 1e6", voxel("lowdose", 1e6), call, FINITE),
        ("a spike of 1e30", voxel("lowdose", 1e30), call, FINITE, nothing_there),
        ("zero everywhere", voxel("lowdose", 0, ...), call, refused("everywhere")),
        ("zero but for one voxel", floats(lambda a: (a["lowdose"].fill(0), a["lowdose"].__setitem__(MIDDLE, 9))), call, FINITE, refused()),
        ("units of 1e-30", times(1e-30), call, FINITE),
        ("units of 1e30", times(1e30), call, FINITE),
        ("units of 2e34", times(2e34), call, FINITE, nothing_there),
        ("units of 1e-40", times(1e-40), call, nothing_there),
        ("swapped", floats(swapped), call, refused("swapped")),
        ("a CT", each(lambda a: a - 1000.0), call, refused("negative")),
        ("1 x 192 x 1 voxels", each(small((1, 192, 1))), call, refused("small|pixel|voxel|side"), FINITE),
        ("the same image twice", floats(lambda a: a.update(predose=a["lowdose"])), call, refused("same")),
    ]  # fmt: skip
    if options:
        rows += [
            *((f"alpha {value}", ordinary, f"{call} alpha={value}", refused("alpha")) for value in ("-1", "NaN", "Infinity", '\'"much"\'')),
            *((f"iterations {value}", ordinary, f"{call} iterations={value}", refused("iterations")) for value in ("0", "-1")),
            *((f"device {value}", ordinary, f"{call} device='\"{value}\"'", refused("device|available")) for value in ("abacus", "cuda:99")),
            ("solver newton", ordinary, f"{call} solver='\"newton\"'", refused("proximal")),
        ]  # fmt: skip
    return rows


def engine_cases() -> list[Case]:
    call = "examination-from-images low.nrrd pre.nrrd"
    rows = content_rows(call, options=False)
    rows += [
        ("64-bit integers", with_image("low.nrrd", lambda: image_of(examination()["lowdose"].astype(np.int64))), call, FINITE),
    ]  # fmt: skip
    cases = [(f"images: {name}", *row) for name, *row in rows]
    rows = content_rows("reconstruct signal low.nrrd pre.nrrd", options=True)
    rows += [
        (f"dose_fraction {value}", ordinary, f"reconstruct signal low.nrrd pre.nrrd dose_fraction={value}", refused("dose"))
        for value in ("0", "2", "NaN", "-0.1")
    ]  # fmt: skip
    cases += [(f"reconstruct: {name}", *row) for name, *row in rows]
    cases += [
        ("reconstruct: weights of NaN", with_weights(put(nan)), "reconstruct mine low.nrrd pre.nrrd", refused("NaN|finite")),
        ("reconstruct: no pre-dose image", ordinary, "reconstruct signal low.nrrd", refused("pre-dose")),
        ("load: no model", ordinary, "load-model no-such", refused("No model")),
        ("load: a folder of images", ordinary, "load-model .", refused("No model")),
        ("load: a zero in the name", ordinary, ("load-model", "a\0b"), refused("No model|zero|NUL|null")),
        ("load: as shipped", mine(), "load-model mine", done("model anchored")),
    ]  # fmt: skip
    return table(*cases)


def slicer_cases() -> list[Case]:
    call = "process low.nrrd pre.nrrd"
    rows = content_rows(call, options=True)
    rows += [
        *((f"doseFraction {value}", ordinary, f"{call} doseFraction={value}", refused("dose")) for value in ("0", "2", "NaN", "-0.1")),
        *((f"slices {value}", ordinary, f"{call} slices={value}", refused("Slices")) for value in ("[5,3]", "[-1,2]", "[0,99]", "[8,9]")),
        ("slices 2 to 5", ordinary, f"{call} slices=[2,5]", done(r"result \(3, 64, 64\), finite")),
        ("model no-such", ordinary, f"{call} model='\"no-such\"'", refused("No model")),
        ("model with weights of NaN", with_weights(put(nan)), f"{call} model='\"mine\"'", refused("NaN|finite")),
        *((f"acquisition {value}", ordinary, f"{call} acquisition='{value}'", refused("sequence|repetition")) for value in NO_ACQUISITIONS),
        ("with a high-dose volume", ordinary, "process low.nrrd pre.nrrd high.nrrd", FINITE),
        ("without a pre-dose volume", ordinary, "process low.nrrd", refused("pre-dose")),
        ("matchPredose off", ordinary, f"{call} matchPredose=false", FINITE),
        ("sheared axes", ordinary, f"{call} sheared=true", refused("orthogonal|shear|direction|axes|geometry|Resample")),
    ]  # fmt: skip
    return table(*((f"Slicer: {name}", *row) for name, *row in rows))


CASES = [*read_cases(), *engine_cases(), *slicer_cases()]
