"""Cases: voxels and numbers that no scanner gives, that units or processing make, or that a user mistypes."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage

from .case import Case, enhanced, near, refused, table
from .images import ENHANCE
from .inputs import (
    GRID,
    Arrange,
    Grid,
    examination,
    examined,
    image_of,
    nifti,
    ordinary,
    together,
    with_file,
    with_image,
)

Arrays = dict[str, np.ndarray]
nan, inf = float("nan"), float("inf")
MIDDLE = (4, 32, 32)
NONE_GIVEN = "none was given"
"""One was, and was left out: that is another cause."""


def floats(change: Callable[[Arrays], object]) -> Arrange:
    """low, pre and high as float32, changed."""

    def changed(arrays: Arrays) -> None:
        for role in arrays:
            arrays[role] = arrays[role].astype(np.float32)
        with np.errstate(over="ignore"):
            change(arrays)

    return examined(changed)


def put(role: str, value: float, where: Any = MIDDLE) -> Arrange:
    """A value into some voxels of an image."""

    def change(arrays: Arrays) -> None:
        arrays[role][where] = value

    return floats(change)


def times(factor: float, *roles: str) -> Arrange:
    def change(arrays: Arrays) -> None:
        for role in roles or list(arrays):
            arrays[role] = (arrays[role].astype(np.float64) * factor).astype(np.float32)

    return floats(change)


def each(function: Callable[[np.ndarray], np.ndarray], *roles: str) -> Arrange:
    """An image or all, as a function makes them."""

    def change(arrays: Arrays) -> None:
        for role in roles or list(arrays):
            arrays[role] = function(arrays[role]).astype(np.float32)

    return floats(change)


def swapped(arrays: Arrays) -> None:
    """Much agent, and the images in each other's places."""
    arrays["lowdose"], arrays["predose"] = arrays["predose"], arrays["highdose"]


def swapped_low(arrays: Arrays) -> None:
    arrays["lowdose"], arrays["predose"] = arrays["predose"], arrays["lowdose"]


def stripped_and_interpolated(array: np.ndarray) -> np.ndarray:
    """Air set to zero, then interpolated by cubic splines: overshoots beside every edge, in a tenth of the voxels."""
    smooth = scipy.ndimage.gaussian_filter(array.astype(np.float64), (0, 1, 1))
    body = scipy.ndimage.binary_fill_holes(smooth > 0.15 * smooth.max())
    return scipy.ndimage.shift(np.where(body, smooth, 0), (0, 0.3, 0.3), order=3).round()


def small(shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    def part(array: np.ndarray) -> np.ndarray:
        found = array[tuple(slice(20 if side > 8 else 2, None) for side in array.shape)]
        return np.resize(found, shape)

    return part


def noise(array: np.ndarray) -> np.ndarray:
    return np.random.default_rng(int(array[4].sum()) % 1000).rayleigh(20, array.shape)


def values_cases() -> list[Case]:
    something = refused("finite|NaN|infinite|range|large|small|values|units|everywhere|compute|intensities|floating")
    some, line = (slice(2, 4), slice(30, 32), slice(30, 32)), (slice(None), 0, slice(None))
    nothing_there = refused("everywhere|nothing|empty|tissue|patient|small|voxel|pixel|left out", hides=(NONE_GIVEN,))
    corner = (slice(None), slice(0, 3), slice(0, 3))
    rows: list[tuple[Any, ...]] = [
        *((f"a spike of 1e6 in {role}", put(role, 1e6), enhanced(check=near(0.5))) for role in ("lowdose", "predose")),
        ("a spike of 1e30", put("lowdose", 1e30), enhanced(), something),
        ("a spike of 1e30 in the pre-dose image", put("predose", 1e30), enhanced(), something),
        ("8 voxels of metal", put("lowdose", 30000, some), enhanced(check=near(0.5))),
        ("a reference tube ten times as bright", floats(lambda a: [a[role].__setitem__(corner, 10 * a[role].max()) for role in a]), enhanced(check=near(0.2))),
        ("a bright line", put("lowdose", 20000, line), enhanced(check=near(0.3))),
        ("a dead slice", put("lowdose", 0, (3,)), enhanced()),
        ("a dead slice in the pre-dose image", put("predose", 0, (3,)), enhanced()),
        ("the last slice is noise", floats(lambda a: a["lowdose"].__setitem__(7, noise(a["lowdose"])[7])), enhanced()),
        *((f"units of {factor:g}", times(factor), enhanced(check=near(0.02, factor))) for factor in (1e-30, 1e-12, 1e-3, 1e3, 1e12, 1e30)),
        ("units of 2e34", times(2e34), something, enhanced(check=near(0.02, 2e34))),
        ("units of 1e-40: denormal", times(1e-40), something),
        ("units of 1e-44: three values", times(1e-44), something, nothing_there),
        ("a voxel of NaN", put("lowdose", nan), refused("NaN")),
        ("a voxel of infinity", put("lowdose", inf), refused("infinite")),
        ("a voxel of minus infinity", put("predose", -inf), refused("infinite")),
        ("NaN everywhere", put("lowdose", nan, ...), refused("NaN")),
        ("NaN around the body", each(lambda a: np.where(a < 0.05 * a.max(), nan, a)), refused("NaN")),
        ("a high-dose voxel of NaN", put("highdose", nan), refused("NaN")),
        ("zero everywhere", put("lowdose", 0, ...), refused("everywhere")),
        ("one value everywhere", put("predose", 7, ...), refused("everywhere")),
        ("zero but for one voxel", floats(lambda a: (a["lowdose"].fill(0), a["lowdose"].__setitem__(MIDDLE, 100))), nothing_there, enhanced()),
        ("a constant but for one voxel", floats(lambda a: (a["lowdose"].fill(9), a["lowdose"].__setitem__(MIDDLE, 100))), nothing_there, enhanced()),
        ("a checkerboard", each(lambda a: np.indices(a.shape).sum(0) % 2 * 100.0 + a * 1e-3), enhanced(), refused()),
        ("noise alone", each(noise), enhanced(), refused("tissue|noise|something else|left out", hides=(NONE_GIVEN,))),
        ("two values: a mask", each(lambda a: a > 0.3 * a.max(), "lowdose", "predose"), refused(), enhanced()),
        ("20 gray values", each(lambda a: np.round(20 * a / a.max())), enhanced()),
        ("saturated at half of the maximum", each(lambda a: np.minimum(a, 0.5 * a.max()), "lowdose"), enhanced(), refused("left out", hides=(NONE_GIVEN,))),
        ("stripped and interpolated", each(stripped_and_interpolated), enhanced("negative")),
        ("small negative values", each(lambda a: a - 0.005 * a.max()), enhanced("negative", check=near(0.1))),
        ("one negative voxel of -1", put("lowdose", -1), enhanced("negative", check=near(0.02))),
        ("one voxel of -30000", put("lowdose", -30000), enhanced("negative"), refused("negative")),
        ("a CT", each(lambda a: a - 1000.0), refused("negative")),
        ("a subtraction", floats(lambda a: a.update(lowdose=a["lowdose"] - a["predose"])), refused("negative")),
        ("a phase image", each(lambda a: np.pi * np.sin(a / 50.0)), refused("negative")),
        ("negative everywhere", each(lambda a: -a - 1), refused("negative")),
        ("a dark image on a pedestal", each(lambda a: a + 10000.0), enhanced(), refused()),
        ("cropped to a half", each(lambda a: np.where(np.indices(a.shape)[2] < 32, 0, a)), enhanced()),
    ]  # fmt: skip
    shape_rows: list[tuple[Any, ...]] = [
        (f"{' x '.join(map(str, shape[::-1]))} voxels", each(small(shape)), refused("small|pixel|voxel|side|everywhere"), enhanced(grid=None))
        for shape in ((1, 1, 1), (1, 192, 1), (192, 1, 1), (1, 1, 192), (2, 2, 2), (1, 500), (500, 1), (2, 3), (8, 5, 64), (3, 64, 7))
    ]  # fmt: skip
    shape_rows += [
        ("one slice", each(small((1, 44, 44))), enhanced(grid=None)),
        ("one slice, 2-D", each(small((44, 44))), enhanced(grid=None)),
        (
            "15 x 15 pixels",
            each(small((8, 15, 15))),
            enhanced("pixels", grid=None),
            refused("small|pixel|left out", hides=(NONE_GIVEN,)),
        ),
    ]
    high = {"a high-dose voxel of NaN"}
    return table(
        *(
            (f"values: {name}", arrange, f"{ENHANCE} --highdose high.nrrd" if name in high else ENHANCE, *expected)
            for name, arrange, *expected in (*rows, *shape_rows)
        )
    )


def pair_cases() -> list[Case]:
    """The images beside each other."""
    other = Grid((64, 64, 8), (0.5, 0.5, 2.5), (200.0, 0, 0), GRID.direction)
    half = Grid((32, 32, 8), (1.0, 1.0, 2.5), (-15.75, -15.25, 7.0), GRID.direction)
    shifted = Grid(GRID.size, GRID.spacing, (0.0, -15.5, 7.0), GRID.direction)
    turned = Grid(GRID.size, GRID.spacing, (15.5, 16.0, 7.0), (-1.0, 0, 0, 0, -1, 0, 0, 0, 1))
    pre = examination()["predose"].astype(np.float32)
    no_use = refused("something else|left out|same|overlap|tissue", hides=(NONE_GIVEN,))
    known = near(0.15)
    flipped = np.ascontiguousarray(pre[:, ::-1, ::-1])
    rows: list[tuple[Any, ...]] = [
        *(
            (f"pre-dose times {factor:g}", times(factor, "predose"), enhanced("bright|level|gain|units", check=known), no_use)
            for factor in (1.5, 0.5, 1 / 1500, 1e-6, 1e6, 1e-20)
        ),
        ("pre-dose times 1.1", times(1.1, "predose"), enhanced("bright", check=known)),
        ("swapped", floats(swapped), refused("swapped")),
        ("swapped, little agent", floats(swapped_low), refused("swapped"), enhanced("swapped|darker|bright")),
        ("the same image twice", floats(lambda a: a.update(predose=a["lowdose"])), refused("same")),
        ("the same image twice, in other units", floats(lambda a: a.update(predose=2 * a["lowdose"])), refused("same"), enhanced(), no_use),
        ("pre-dose of zeros but one voxel", floats(lambda a: (a["predose"].fill(0), a["predose"].__setitem__(MIDDLE, 9))), no_use, enhanced()),
        ("pre-dose of noise", each(noise, "predose"), no_use, enhanced("something else|told")),
        ("pre-dose turned upside down", floats(lambda a: a.update(predose=flipped)), no_use, enhanced("something else|told")),
        ("pre-dose moved by 3 pixels", each(lambda a: np.roll(a, 3, 2), "predose"), enhanced("moved|shift", check=near(0.2))),
        ("pre-dose with slices in another order", each(lambda a: a[::-1], "predose"), no_use, enhanced()),
        ("pre-dose elsewhere", with_image("pre.nrrd", lambda: image_of(pre, other)), refused("covers only 0")),
        ("pre-dose covers the half", with_image("pre.nrrd", lambda: image_of(pre, shifted)), refused("covers only"), no_use, enhanced("resampled")),
        ("pre-dose of half the resolution", with_image("pre.nrrd", lambda: image_of(pre[:, ::2, ::2], half)), enhanced("resampled", check=near(0.4))),
        ("pre-dose on axes of other sense", with_image("pre.nrrd", lambda: image_of(flipped, turned)), enhanced(check=near(0.05))),
        ("pre-dose is one slice", with_image("pre.nrrd", lambda: image_of(pre[4])), refused("dimensions")),
        ("pre-dose as high dose", floats(lambda a: a.update(highdose=a["predose"])), refused("same")),
        ("low dose as high dose", floats(lambda a: a.update(highdose=a["lowdose"])), refused("same")),
        ("high dose of other units", times(1e-4, "highdose"), enhanced("RMSE")),
        ("high dose is one slice", with_image("high.nrrd", lambda: image_of(pre[4])), refused("dimensions")),
        ("high dose elsewhere", with_image("high.nrrd", lambda: image_of(examination()["highdose"], other)), refused("covers only 0")),
    ]  # fmt: skip
    t1 = np.full(GRID.size[::-1], 1.4, np.float32)
    maps: list[tuple[Any, ...]] = [
        ("in seconds", t1, None, enhanced()),
        ("in milliseconds", 1000 * t1, None, enhanced()),
        ("in microseconds", 1e6 * t1, None, refused("T1")),
        ("a rate R1", 1 / (1000 * t1), None, refused("T1")),
        ("zero", 0 * t1, None, refused("T1|everywhere")),
        ("negative", -t1, None, refused("T1|negative")),
        ("NaN", nan * t1, None, refused("T1|NaN")),
        ("NaN in the air", np.where(pre < 0.1 * pre.max(), nan, t1), None, enhanced()),
        ("infinite in the middle", np.where(np.indices(t1.shape)[1] == 32, inf, t1), None, enhanced()),
        ("the low-dose image", examination()["lowdose"].astype(np.float32) * 1e4, None, refused("T1")),
        ("on another grid", t1, other, refused("grid")),
        ("one slice", t1[4], None, refused("grid|dimensions")),
    ]
    cases = [
        (f"pair: {name}", arrange, f"{ENHANCE} --highdose high.nrrd" if "high dose" in name else ENHANCE, *expected)
        for name, arrange, *expected in rows
    ]
    cases += [
        (f"T1 map: {name}", with_image("t1.nrrd", partial(image_of, array, grid)), f"{ENHANCE} --t1-map t1.nrrd", *expected)
        for name, array, grid, *expected in maps
    ]  # fmt: skip
    return table(*cases)


def option_cases() -> list[Case]:
    rows: list[tuple[Any, ...]] = [
        *(("--alpha", value, refused("alpha")) for value in ("-1", "nan", "inf", "-inf", "much", "", "1e400", "0x10", "0.1.2")),
        ("--alpha", "1e30", refused("alpha"), enhanced()),
        ("--alpha", "0", refused("alpha"), enhanced()),
        *(("--dose-fraction", value, refused("dose")) for value in ("0", "-0.2", "1.5", "nan", "inf", "1e-30", "half")),
        ("--dose-fraction", "0.2", enhanced()),
        *(("--iterations", value, refused("iterations")) for value in ("0", "-3", "1.5", "many", "99999999999999999999")),
        *(("--slice-axis", value, refused("axis")) for value in ("z", "K", "3", "", "ij")),
        *(("--slice-axis", value, enhanced()) for value in "ijk"),
        *(("--solver", value, refused("proximal")) for value in ("newton", "", "Proximal")),
        *(("--device", value, refused("device|available", hides=("torch",))) for value in ("abacus", "cuda:99", "", "cuda:-1", "meta", "cpu:1:2", "c" * 300)),
        *(("--model", value, refused("No model")) for value in ("no-such", "", "..")),
    ]  # fmt: skip
    cases = [
        (f"{name} {value[:20]!r}", ordinary, (*ENHANCE.split(), name, value), *expected)
        for name, value, *expected in rows
    ]
    told = with_file("ok.json", json.dumps({"ScanningSequence": "SE", "RepetitionTime": 0.45}))
    lowdose = "lipcar enhance --lowdose low.nrrd --output out.nrrd --model vnet-lowdose"
    cases += [
        ("--no-match-predose", ordinary, f"{ENHANCE} --no-match-predose", enhanced()),
        ("a model that uses no acquisition", told, f"{lowdose} --acquisition ok.json --alpha 0.01 --iterations 1", enhanced("uses neither")),
        ("a model that needs a pre-dose image", ordinary, lowdose.replace("vnet-lowdose", "signal"), refused("needs a pre-dose image")),
        ("a pair of networks", ordinary, ENHANCE.replace("signal", "vnet-predose --iterations 1"), enhanced()),
        ("an option twice", ordinary, f"{ENHANCE} --alpha -1 --alpha auto", enhanced()),
    ]  # fmt: skip
    return table(*cases)


JSON_DAMAGE: tuple[tuple[str, bytes], ...] = (
    ("empty", b""),
    ("a list", b"[]"),
    ("a text", b'"SE"'),
    ("a number", b"5"),
    ("null", b"null"),
    ("cut short", b'{"ScanningSequence": "SE", '),
    ("nested 100,000 deep", b"[" * 100_000),
    ("nested 100,000 deep in an object", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ("an integer of 10,000 digits", b'{"ScanningSequence": "SE", "RepetitionTime": ' + b"9" * 10_000 + b"}"),
    ("UTF-16", '{"ScanningSequence": "SE"}'.encode("utf-16")),
    ("Latin-1", '{"ScanningSequence": "M\xe4rz"}'.encode("latin-1")),
    ("zero bytes", bytes(500)),
    ("XML", b"<acquisition/>"),
)


def acquisition_cases() -> list[Case]:
    call = f"{ENHANCE} --acquisition how.json"
    words = refused("JSON|sequence|RepetitionTime|repetition|cannot be read|expected")
    cases: list[tuple[Any, ...]] = [
        (f"acquisition: {name}", with_file("how.json", data), call, words) for name, data in JSON_DAMAGE
    ]
    spin = {"ScanningSequence": "SE"}
    told: list[tuple[Any, ...]] = [
        ("as it should be", {**spin, "RepetitionTime": 0.45}, enhanced()),
        ("with a byte order mark", None, enhanced()),
        *((f"RepetitionTime of {value}", {**spin, "RepetitionTime": value}, refused("repetition|no JSON")) for value in (-1, 450, nan, inf, 1e300)),
        *((f"RepetitionTime of type {type(value).__name__}", {**spin, "RepetitionTime": value}, refused("repetition|number|sequence"), enhanced()) for value in ("0.45", None, True, [0.45], {"s": 1})),
        *((f"FlipAngle of {value}", {"ScanningSequence": "GR", "RepetitionTime": 0.01, "FlipAngle": value}, refused("flip|no JSON")) for value in (-10, 720, nan)),
        ("RepetitionTime of 0: not known", {**spin, "RepetitionTime": 0}, enhanced("assumed"), refused("repetition")),
        ("an unknown sequence", {"ScanningSequence": "XY"}, refused("sequence")),
        ("an echo planar sequence", {"ScanningSequence": "EP"}, refused("sequence")),
        ("a sequence that is a number", {"ScanningSequence": 7}, refused("sequence")),
        ("a sequence that is an object", {"ScanningSequence": {"a": 1}}, refused("sequence")),
        ("sequences in lists in lists", {"ScanningSequence": [["SE"]]}, refused("sequence"), enhanced()),
        ("a sequence of 10^5 letters", {"ScanningSequence": "SE" * 50_000}, refused("sequence"), enhanced()),
        ("no sequence", {"RepetitionTime": 0.45}, refused("sequence"), enhanced("spin echo")),
        ("a field of 3000 T", {**spin, "RepetitionTime": 0.45, "MagneticFieldStrength": 3000}, refused("field|tesla")),
        ("an echo time in milliseconds", {**spin, "RepetitionTime": 0.45, "EchoTime": 12}, refused("echo")),
        ("an echo after the repetition", {**spin, "RepetitionTime": 0.45, "EchoTime": 0.9}, refused("echo"), enhanced()),
        ("NumberShots of 10^9", {"ScanningSequence": ["GR", "IR"], "RepetitionTime": 2.3, "InversionTime": 0.9, "NumberShots": 10**9}, refused("pulses|shots|readout"), enhanced()),
        ("InversionTime after the repetition", {"ScanningSequence": ["GR", "IR"], "RepetitionTime": 2.3, "InversionTime": 5, "FlipAngle": 9}, refused("inversion"), enhanced()),
    ]  # fmt: skip
    for name, keys, *expected in told:
        data = (
            json.dumps(keys).encode()
            if keys is not None
            else b"\xef\xbb\xbf" + json.dumps({**spin, "RepetitionTime": 0.45}).encode()
        )
        cases.append((f"acquisition: {name}", with_file("how.json", data), call, *expected))
    beside = ENHANCE.replace("low.nrrd", "low.nii")
    for name, data in (*JSON_DAMAGE, ("a TR of -1", b'{"ScanningSequence": "SE", "RepetitionTime": -1}')):
        arrange = together(with_file("low.nii", nifti()), with_file("low.json", data))
        cases.append((f"sidecar: {name}", arrange, beside, enhanced("acquired|sidecar|json"), refused(r"low\.json")))

    def pipe(folder: Path) -> None:
        import os

        with_file("low.nii", nifti())(folder)
        os.mkfifo(folder / "low.json")

    cases.append(("sidecar: a pipe", pipe, beside, enhanced(), refused(r"low\.json")))
    return table(*cases)


CASES = [*values_cases(), *pair_cases(), *option_cases(), *acquisition_cases()]
