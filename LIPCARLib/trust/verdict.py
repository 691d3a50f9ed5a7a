"""Whether a result may be relied on: green, look here, or do not use, with reasons in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

from ..doubt import GREEN, LOOK, STOP, Doubt
from ..imaging import Examination
from ..imaging.intensity import local_mean
from ..imaging.threads import in_threads
from ..inverse import Result

if TYPE_CHECKING:
    from .record import Evidence

# Each pair: look from the first on, do not use from the second on. docs/verdicts.md has the curves they are from.
NOISE = (0.10, 0.16)
"""Standard deviation over the brightness of tissue: the error is 1.5 and 3 times the usual one."""
DARKENED = (0.01, 0.05)
"""Share of the tissue that got darker, which no agent does; 0.004 at most where nothing is amiss."""
LEAST_RISE = (0.03, 0.06)
"""By how much nine tenths of the tissue brightened, as a share: an agent leaves most of a body nearly as it is."""
SHARPNESS = (0.90, 0.80)
"""Of the low-dose over the pre-dose image."""
BRIGHTENED = 0.0005
"""Share of the tissue that brightened; below, no agent is seen."""
DEVIATIONS, TOLERANCE = 3.0, 0.02
"""Of such an average's noise, and model scale: what exceeds both together changed."""
DARK = 0.05
"""Model scale: what is darker tells no ratio."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """What `judge` says.

    Attributes:
        level: GREEN, LOOK or STOP, the worst that any reason asks for.
        reasons: sentences, the worst first; each names what was found and what is expected.

    >>> Verdict(GREEN, ()).provenance()
    {'verdict': 'green', 'verdict_reasons': ''}
    """

    level: str
    reasons: tuple[str, ...]

    def provenance(self) -> dict[str, Any]:
        """For a report or an image header: plain values."""
        return {"verdict": self.level, "verdict_reasons": " ".join(self.reasons)}


def judge(examination: Examination, result: Result, evidence: Evidence | None = None) -> Verdict:
    """Whether a result may be relied on, by what can be measured without the truth.

    What was doubted while the images were read and matched, and the result made, counts (`Doubt`); so do noise, what
    the pre-dose image tells of motion, gain, sharpness and agent, and places that evidence does not support. What
    cannot be seen: another dose than the one told, or another sequence; see docs/verdicts.md.

    Args:
        examination: as the result was made from.
        result: of `reconstruct`.
        evidence: of `trust.evidence`; None for the numbers that cost nothing.
    """
    doubts = [*_doubts(examination, result), *_measured(examination, result)]
    if evidence is not None:
        doubts += map(Doubt, evidence.words())
    doubts.sort(key=_severe, reverse=True)
    level = GREEN if not doubts else STOP if doubts[0].severe else LOOK
    return Verdict(level, tuple(str(doubt) for doubt in doubts))


def _severe(doubt: Doubt) -> bool:
    return doubt.severe


def _doubts(examination: Examination, result: Result) -> Iterator[Doubt]:
    """What was said before."""
    for notice in (*examination.notices, *result.notices):
        if isinstance(notice, Doubt):
            yield notice
    if not result.provenance["predose_used"] and not examination.predose_doubtful:
        why = "There is no pre-dose image" if examination.predose is None else "The model uses no pre-dose image"
        yield Doubt(
            f"{why}; what the agent did is guessed from the low-dose image alone, where the difference of the two is "
            "expected."
        )


def _measured(examination: Examination, result: Result) -> Iterator[Doubt]:
    scale = examination.scale
    noise = 2 * examination.noise / scale  # bright tissue is 0.5 in model scale
    yield from _graded(
        noise, NOISE, f"The noise is {noise:.1%} of the brightness of tissue; at most {NOISE[0]:.0%} is expected."
    )
    if examination.predose is not None and result.provenance["predose_used"]:
        yield from _compared(examination)


def _compared(examination: Examination) -> Iterator[Doubt]:
    """What low-dose and pre-dose image say beside each other, model scale."""
    # Slice by slice: all at once would take more memory than the reconstruction.
    every = in_threads(partial(_beside, examination), range(len(examination.lowdose)))
    parts = [part for part in every if part is not None]
    if not parts:
        return
    ratios = np.concatenate([part.ratios for part in parts])
    darker, brighter = (float(count) / len(ratios) for count in np.sum([part.changed for part in parts], axis=0))
    yield from _graded(
        darker,
        DARKENED,
        f"{darker:.1%} of the tissue is darker in the low-dose than in the pre-dose image, which no agent does; at "
        f"most {DARKENED[0]:.0%} is expected. Did the patient move, or the receiver gain change?",
    )
    rise = float(np.percentile(ratios, 10)) - 1
    yield from _graded(
        rise,
        LEAST_RISE,
        f"Nine tenths of the tissue are more than {rise:.1%} brighter in the low-dose image; an agent leaves more than "
        f"that nearly as it was (at most {LEAST_RISE[0]:.0%} is expected). Is the receiver gain the same?",
    )
    if brighter < BRIGHTENED and darker <= DARKENED[0]:
        yield Doubt(
            f"Only {brighter:.2%} of the tissue is brighter in the low-dose image by more than noise; at least "
            f"{BRIGHTENED:.2%} is expected. Was the agent given? Without it the result is the pre-dose image."
        )
    steep = np.sqrt(np.sum([part.slopes for part in parts], axis=0))
    levels = np.sum([part.levels for part in parts], axis=0)
    sharp = float(steep[0] / levels[0] / max(steep[1] / levels[1], 1e-9))
    yield from _graded(
        -sharp,
        (-SHARPNESS[0], -SHARPNESS[1]),
        f"The low-dose image is {sharp:.1%} as sharp as the pre-dose image; at least {SHARPNESS[0]:.0%} is expected. "
        "Are both of one protocol, and was the patient at rest?",
    )


class _Beside(NamedTuple):
    """Of one slice's tissue in the low-dose and the pre-dose image, model scale.

    Attributes:
        ratios: of low-dose over pre-dose, averaged over SIDE x SIDE pixels, (N,).
        changed: pixels that got darker, and brighter, by more than noise explains.
        slopes: sum of the squared slope of the smoothed image.
        levels: sum of the image.
    """

    ratios: np.ndarray
    changed: tuple[int, int]
    slopes: tuple[float, float]
    levels: tuple[float, float]


def _beside(examination: Examination, index: int) -> _Beside | None:
    """None for a slice without tissue, or without pre-dose image."""
    import torch  # a panel looks at verdicts without it

    from ..inverse.consistency import SIDE
    from ..inverse.denoising import body

    chosen = slice(index, index + 1)
    moved = examination.aligned_predose(chosen)
    if moved is None:
        return None
    images = [image / np.float32(examination.scale) for image in (examination.lowdose[chosen], moved)]
    tissue: Mask = body(torch.from_numpy(images[0])[:, None], examination.noise_floor / examination.scale)[:, 0].numpy()
    if examination.predose_known is not None:
        tissue &= examination.predose_known[chosen]
    if not tissue.any():
        return None
    after, before = (local_mean(image, SIDE)[tissue] for image in images)
    slopes, levels = zip(*(_slope_and_level(image, tissue) for image in images), strict=True)
    limit = DEVIATIONS * 2**0.5 * examination.noise / examination.scale / SIDE + TOLERANCE
    changed = int(np.count_nonzero(before - after > limit)), int(np.count_nonzero(after - before > limit))
    return _Beside(after / np.maximum(before, DARK), changed, slopes, levels)


def _slope_and_level(image: np.ndarray, tissue: Mask) -> tuple[float, float]:
    smooth = scipy.ndimage.gaussian_filter(image, (0, 1, 1))
    slopes = [np.gradient(smooth, axis=axis)[tissue] for axis in (1, 2) if image.shape[axis] > 1]
    squares = sum(float(np.square(slope).sum(dtype=np.float64)) for slope in slopes)
    return squares, float(image[tissue].sum(dtype=np.float64))


def _graded(value: float, limits: tuple[float, float], words: str) -> Iterator[Doubt]:
    if value > limits[0]:
        yield Doubt(words, severe=value > limits[1])
