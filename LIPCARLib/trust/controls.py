"""Controls that a model must pass: no agent, no change; a lesion put in appears, taken out disappears, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.ndimage import uniform_filter

from ..imaging import Examination
from ..inverse import Model, complete, reconstruct
from ..simulation import Kind, Lesion, Scene, acquired, place_lesions, with_lesions
from .detection import count_outside, read_enhancement, read_lesions

SIZES = (1.0, 2.0, 3.0, 5.0, 8.0, 15.0)
"""mm, diameters of a circle of the lesion's area."""
CONTRASTS = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Of the low-dose image, in standard deviations of its noise."""
SIDE = 5
"""Pixels a side of the neighborhoods over which noise is averaged."""
RATE = 0.9
"""Share of the lesions that must be found."""
CLEAR_SIZE, CLEAR_CONTRAST = 5.0, 3.0
"""From this size and contrast on lesions must appear."""
RECOVERED = (0.75, 1.25)
"""Share of the true enhancement that is expected of them, in the median."""
MOST_LEFT = 0.1
"""Share of it that may be left on average where they were taken out."""
MOST_APPEARED = 0.5
"""Regions a slice that may appear beyond those in the high-dose image."""
MOST_CHANGE = 0.02
"""Share of the tissue's level by which it may change on average without agent."""
MOST_UNREST = 2.0
"""See `SceneReading.unrest`: 1 is noise, the rest what a pre-dose image a fraction of a pixel off leaves at edges."""
NORMAL_95, NORMAL_999 = 1.96, 3.29
"""Standard deviations on either side that hold 95 and 99.9 %."""
UNITS = 1000.0
"""Intensity units per model scale."""

Volume = npt.NDArray[np.float32]
Method = Callable[[Examination, float], np.ndarray]
"""Simulates x_H, (S, H, W) in the examination's units, of an examination and its dose fraction."""


def all_kinds() -> list[Kind]:
    """Every size, contrast and shape."""
    return [Kind(size, contrast, thin) for size in SIZES for contrast in CONTRASTS for thin in (False, True)]


def method_of(model: Model, device: str = "cpu") -> Method:
    """A model as the controls take it: by "auto", told what it asks for."""

    def simulated(examination: Examination, dose_fraction: float) -> np.ndarray:
        told = dose_fraction if model.uses_predose else None
        return complete(reconstruct(examination, model, device=device, dose_fraction=told)).highdose

    return simulated


@dataclass(frozen=True)
class Reading:
    """What became of one lesion.

    Attributes:
        kind: of the lesion.
        found: the reader (`detection`) finds it in the result.
        in_lowdose, in_highdose: in the acquired low-dose and high-dose image.
        recovered: of its true enhancement, the share by which the result with it exceeds the one without it.
        left: the share that the result without it exceeds the truth by.
    """

    kind: Kind
    found: bool
    in_lowdose: bool
    in_highdose: bool
    recovered: float
    left: float


@dataclass(frozen=True)
class SceneReading:
    """What a method makes of one scene.

    Attributes:
        lesions: one by one.
        slices: how many were read.
        appeared, appeared_highdose: regions found where no lesion was, in the result and in the high-dose image.
        change: without agent, the mean of the result less x_P, as a share of the tissue's level.
        unrest: without agent, how far single neighborhoods are off: the 99.9th percentile, where 1 is what the noise
            makes of x_P + (x_L - x_P) / dose fraction.
    """

    lesions: tuple[Reading, ...]
    slices: int
    appeared: int
    appeared_highdose: int
    change: float
    unrest: float


def read_scene(method: Method, scene: Scene, kinds: Sequence[Kind], seed: int) -> SceneReading:
    """Put lesions into a scene, simulate it with and without them, and without agent at all.

    Args:
        method: what simulates it.
        scene: without noise.
        kinds: of lesions, one each; what finds no place is left out.
        seed: of places and noise.
    """
    rng = np.random.default_rng(seed)
    lesions = place_lesions(scene, kinds, rng)
    full = with_lesions(scene, lesions)
    noise_seed = int(rng.integers(2**31))
    predose, lowdose, highdose = acquired(full, noise_seed)
    _, without, _ = acquired(scene, noise_seed)
    again = acquired(replace(scene, lowdose=scene.predose), noise_seed)[1]
    examination = _examination(scene, lowdose, predose)
    result = _simulated(method, scene, examination)
    spared = _simulated(method, scene, _examination(scene, without, predose))
    quiet = _simulated(method, scene, _examination(scene, again, predose))

    numbers = _numbered(scene, lesions)
    region = scene.region | (numbers > 0)
    before = examination.predose if examination.predose is not None else predose
    marks = [read_enhancement(image, before, region, scene.spacing) for image in (result, lowdose, highdose)]
    read = [read_lesions(mark, numbers, scene.spacing) for mark in marks]
    appeared, really = (count_outside(mark, numbers > 0) for mark in (marks[0], marks[2]))
    readings = []
    for number, lesion in enumerate(lesions):
        at, weight = lesion.slice, lesion.cover / lesion.cover.sum()
        true = float((weight * (full.highdose[at] - scene.highdose[at])).sum())
        shown = float((weight * (result[at] - spared[at])).sum())
        rest = float((weight * (spared[at] - scene.highdose[at])).sum())
        found = [one[number].found for one in read]
        readings.append(Reading(lesion.kind, found[0], found[1], found[2], shown / true, rest / true))
    return SceneReading(tuple(readings), len(predose), appeared, really, *_change(scene, quiet))


def _examination(scene: Scene, lowdose: Volume, predose: Volume) -> Examination:
    images = [sitk.GetImageFromArray(UNITS * array) for array in (lowdose, predose)]
    for image in images:
        image.SetSpacing(scene.spacing[::-1])
    return Examination.from_images(images[0], images[1], slice_axis=2, acquisition=scene.acquisition)


def _simulated(method: Method, scene: Scene, examination: Examination) -> Volume:
    image: Volume = np.asarray(method(examination, scene.dose_fraction) / UNITS, np.float32)
    return image


def _numbered(scene: Scene, lesions: Sequence[Lesion]) -> npt.NDArray[np.intp]:
    """The lesions' voxels, from 1 on: half covered, or as much as any where none is."""
    numbers = np.zeros(scene.region.shape, np.intp)
    for number, lesion in enumerate(lesions, start=1):
        numbers[lesion.slice][lesion.cover >= min(0.5, float(lesion.cover.max()))] = number
    return numbers


def _change(scene: Scene, quiet: Volume) -> tuple[float, float]:
    rise = quiet - scene.predose
    level = float(np.median(scene.predose[scene.region]))
    off = np.abs(uniform_filter(rise, (1, SIDE, SIDE))[scene.region])
    noise = NORMAL_999 * math.sqrt(2) * scene.noise / SIDE / scene.dose_fraction
    return float(rise[scene.region].mean()) / level, float(np.percentile(off, 99.9)) / noise


@dataclass(frozen=True)
class Cell:
    """All lesions of a size and a contrast.

    Attributes:
        size, contrast: see `simulation.Kind`.
        lesions: how many.
        found, in_lowdose, in_highdose: share that the reader finds in the result and in the acquired images.
        interval: of `found`, 95 % (Wilson, J Am Stat Assoc 22, 1927).
        found_round, found_thin: the same by shape; None where there was none.
        recovered: mean share of the true enhancement.
        recovered_interval: 95 %, of the mean.
    """

    size: float
    contrast: float
    lesions: int
    found: float
    interval: tuple[float, float]
    found_round: float | None
    found_thin: float | None
    in_lowdose: float
    in_highdose: float
    recovered: float
    recovered_interval: tuple[float, float]


@dataclass(frozen=True)
class Control:
    """What must hold, whether it does, and the numbers in words."""

    name: str
    passed: bool
    words: str


@dataclass(frozen=True)
class Outcome:
    """All that the controls say of a model.

    Attributes:
        controls: those that must pass.
        cells: the table, by size and contrast.
        limits: by contrast, the smallest size in mm from which on RATE of the lesions are found; None for no size.
        scenes: how many examinations were simulated.
    """

    controls: tuple[Control, ...]
    cells: tuple[Cell, ...]
    limits: dict[float, float | None]
    scenes: int

    @property
    def passed(self) -> bool:
        return all(control.passed for control in self.controls)

    def card(self) -> dict[str, Any]:
        """What a model's card says of it: plain values."""
        return {
            "criterion": f"found by the reader of `lipcar evaluate` in {RATE:.0%} of the lesions of this size and more",
            "examinations": self.scenes,
            "passed": {control.name: control.passed for control in self.controls},
            "smallest_found_mm": {f"{contrast:g}": size for contrast, size in self.limits.items()},
        }

    def summary(self) -> dict[str, Any]:
        """For a report: plain values."""
        return {
            **self.card(),
            "passed": self.passed,
            "controls": [asdict(control) for control in self.controls],
            "table": [asdict(cell) for cell in self.cells],
        }


def weigh(readings: Sequence[SceneReading]) -> Outcome:
    """The controls, the table and the limits, of the scenes that were read."""
    lesions = [lesion for reading in readings for lesion in reading.lesions]
    cells = tuple(
        _cell(size, contrast, [one for one in lesions if (one.kind.size, one.kind.contrast) == (size, contrast)])
        for size, contrast in sorted({(one.kind.size, one.kind.contrast) for one in lesions})
    )
    contrasts = sorted({cell.contrast for cell in cells})
    limits = {one: _limit([cell for cell in cells if cell.contrast == one]) for one in contrasts}
    return Outcome((*_without(readings), *_with(lesions)), cells, limits, len(readings))


def _without(readings: Sequence[SceneReading]) -> Iterator[Control]:
    """What must hold where there is no agent, or no lesion."""
    change, unrest = max(abs(one.change) for one in readings), max(one.unrest for one in readings)
    yield Control(
        "no agent, no change",
        change <= MOST_CHANGE and unrest <= MOST_UNREST,
        f"where the low-dose image is the pre-dose image but for noise, tissue changes by {change:.1%} on average in "
        f"the worst examination (at most {MOST_CHANGE:.0%} is expected), and single places by {unrest:.2f} of what "
        f"noise magnified by the dose would be (at most {MOST_UNREST:g})",
    )
    slices = sum(one.slices for one in readings)
    appeared, really = (
        sum(getattr(one, name) for one in readings) / slices for name in ("appeared", "appeared_highdose")
    )
    yield Control(
        "nothing appears",
        appeared <= really + MOST_APPEARED,
        f"{appeared:.2f} regions a slice are found where no lesion is (at most {MOST_APPEARED:g} more are expected "
        f"than in the high-dose image, which has {really:.2f})",
    )


def _with(lesions: Sequence[Reading]) -> Iterator[Control]:
    """What must hold of lesions that are large and bright enough."""
    clear = [one for one in lesions if one.kind.size >= CLEAR_SIZE and one.kind.contrast >= CLEAR_CONTRAST]
    what = f"of {len(clear)} lesions of {CLEAR_SIZE:g} mm and more and {CLEAR_CONTRAST:g} times the noise and more"
    found = float(np.mean([one.found for one in clear])) if clear else 0.0
    recovered = float(np.median([one.recovered for one in clear])) if clear else 0.0
    least, most = RECOVERED
    yield Control(
        "a lesion put in appears",
        found >= RATE and least <= recovered <= most,
        f"{what}, {found:.0%} are found (at least {RATE:.0%} are expected), with {recovered:.0%} of their enhancement "
        f"({least:.0%} to {most:.0%} are expected)",
    )
    left = float(np.mean([one.left for one in clear])) if clear else 1.0
    yield Control(
        "a lesion taken out disappears",
        abs(left) <= MOST_LEFT,
        f"{what}, {round(100 * left)}% of the enhancement is left when they are taken out (at most {MOST_LEFT:.0%} is "
        "expected)",
    )


def _cell(size: float, contrast: float, lesions: Sequence[Reading]) -> Cell:
    recovered = np.array([one.recovered for one in lesions])
    mean, error = float(recovered.mean()), float(recovered.std(ddof=min(1, len(lesions) - 1)) / len(lesions) ** 0.5)
    found = sum(one.found for one in lesions)

    def rate(thin: bool) -> float | None:
        shown = [one.found for one in lesions if one.kind.thin is thin]
        return float(np.mean(shown)) if shown else None

    return Cell(
        size,
        contrast,
        len(lesions),
        found / len(lesions),
        wilson(found, len(lesions)),
        rate(False),
        rate(True),
        float(np.mean([one.in_lowdose for one in lesions])),
        float(np.mean([one.in_highdose for one in lesions])),
        mean,
        (mean - NORMAL_95 * error, mean + NORMAL_95 * error),
    )


def _limit(cells: Sequence[Cell]) -> float | None:
    """Of one contrast: the smallest size from which on all are found often enough."""
    limit = None
    for cell in sorted(cells, key=attrgetter("size"), reverse=True):
        if cell.found < RATE:
            break
        limit = cell.size
    return limit


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, J Am Stat Assoc 22, 1927).

    >>> tuple(round(end, 2) for end in wilson(18, 20))
    (0.7, 0.97)
    """
    square, share = NORMAL_95**2, successes / trials
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    reach = NORMAL_95 / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)
