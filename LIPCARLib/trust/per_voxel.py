"""Evidence for every voxel of a result: what was measured, how uncertain it is, and what nothing supports."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..imaging import Examination
from ..imaging.intensity import foreground
from ..inverse import Conditions, Model, Progress, Result, choose_device
from ..inverse.anchor import Anchor, anchor, inverted
from ..inverse.consistency import DEVIATIONS, SIDE, standardized
from ..inverse.denoising import body, local_mean
from ..inverse.devices import describe, lane_count
from ..inverse.lanes import Steps, side_by_side
from ..inverse.reconstruction import asked_slices
from ..inverse.session import Slices
from ..physics import lowdose_of
from ..physics.dose import DRIFT
from .findings import SUPPRESSED, UNSUPPORTED, regions
from .record import NO_PREDOSE, Evidence, Volume
from .uncertainty import deviation


def evidence(
    examination: Examination,
    model: Model,
    result: Result,
    *,
    dose_fraction: float | None = None,
    device: str | torch.device = "auto",
) -> Generator[Progress, None, Evidence]:
    """What can be said about each voxel of a result of `reconstruct`, slice by slice.

    A generator as `reconstruct` is: it yields its progress, `close` cancels it, the evidence is its return value.

    Args:
        examination, model, dose_fraction: as the result was made from.
        result: of `reconstruct`, whatever its alpha; or an image that claims to be one.
        device: as in `inverse.choose_device`; the model is moved there.

    Raises:
        LIPCARError: the model needs a pre-dose image that the examination lacks.
    """
    device = choose_device(device) if isinstance(device, str) else device
    model.to(device)
    total, began, words = len(examination.lowdose), time.monotonic(), describe(device)
    unknown = _change(examination, result)
    found: dict[int, _Maps] = {}

    def work(index: int) -> Steps:
        chosen = slice(index, index + 1)
        slices = asked_slices(examination, model, dose_fraction, device, chosen)
        yield 0.0
        with torch.no_grad():
            found[index] = _maps(examination, model, result, slices, chosen, unknown)

    yield Progress(0, total, 0.0, None, words, of_evidence=True)
    lanes = lane_count(device, *examination.lowdose.shape[1:])
    for _, share in side_by_side(list(map(work, range(total))), lanes):
        if share < 1:
            continue
        done = len(found)
        left = (time.monotonic() - began) / done * (total - done)
        yield Progress(done, total, done / total, left, words, of_evidence=True)
    maps = [found[index] for index in range(total)]
    consistency = _volume([one.consistency for one in maps])
    if maps[0].support is None:
        return Evidence(consistency, None, None, None, (), (NO_PREDOSE,))
    supports = [one.support for one in maps if one.support is not None]
    labels, table = regions(
        _volume([one.labels for one in supports]).astype(np.uint8),
        _volume([one.difference for one in supports], examination.scale),
        examination.grid,
        examination.slice_axis,
    )
    equation = _volume([one.equation for one in supports])
    uncertainty = _volume([one.uncertainty for one in supports], examination.scale)
    return Evidence(consistency, equation, uncertainty, labels, table, ())


@dataclass(frozen=True)
class _Support:
    """What the pre-dose image tells of some slices, (N, 1, H, W); `difference` is x_H less what x_L - x_P supports."""

    equation: Tensor
    uncertainty: Tensor
    labels: Tensor
    difference: Tensor


@dataclass(frozen=True)
class _Maps:
    consistency: Tensor
    support: _Support | None


def _maps(
    examination: Examination, model: Model, result: Result, slices: Slices, chosen: slice, unknown: float
) -> _Maps:
    device = slices.lowdose.device

    def tensor(volume: np.ndarray) -> Tensor:
        return torch.from_numpy(volume / np.float32(examination.scale))[:, None].to(device)

    highdose, predose = tensor(result.highdose[chosen]), slices.aligned
    if predose is None and examination.predose is not None:  # the model does not use it
        moved = examination.aligned_predose(chosen)
        predose = None if moved is None else tensor(moved)
    measured = torch.ones_like(highdose)
    if examination.padding is not None:
        measured[torch.from_numpy(examination.padding[chosen])[:, None].to(device)] = 0
    if predose is None:
        return _Maps(measured * _deviations(model, highdose, slices, None), None)
    conditions = slices.conditions
    physics = anchor(slices.lowdose, predose, conditions)
    predicted = _lowdose_of(highdose, physics, conditions)
    support = _support(highdose, predicted, physics, predose, slices)
    if model.uses_acquisition:  # F is the equation
        deviations = standardized(predicted, slices.lowdose, predose, slices.sigma, conditions)
    else:
        deviations = _deviations(model, highdose, slices, predose)
    spread = support.uncertainty
    if conditions.known is not None:
        # There the result is x_L, as if the agent did nothing; what it does elsewhere is how far off that may be.
        spread = torch.where(conditions.known, spread, spread.clamp_min(unknown))
    support = replace(support, equation=measured * support.equation, uncertainty=measured * spread)
    return _Maps(measured * deviations, replace(support, labels=measured * support.labels))


def _deviations(model: Model, highdose: Tensor, slices: Slices, predose: Tensor | None) -> Tensor:
    """`standardized` by the model's own F."""
    session = model.session(slices)
    predicted = session.forward_operator(highdose, session.predose)
    before = session.lowdose if predose is None else predose
    return standardized(predicted, session.lowdose, before, session.sigma, slices.conditions)


def _support(highdose: Tensor, predicted: Tensor, physics: Anchor, predose: Tensor, slices: Slices) -> _Support:
    """What x_L - x_P says of a result that the equation makes `predicted` of."""
    lowdose, sigma, conditions = slices.lowdose, slices.sigma, slices.conditions
    off = standardized(predicted, lowdose, predose, sigma, conditions)
    change, shown = local_mean(lowdose - predose), local_mean(predicted - physics.predose)
    least = DEVIATIONS * sigma / SIDE
    unsupported = (off > DEVIATIONS) & (shown > least)
    suppressed = (off < -DEVIATIONS) & (change > math.sqrt(2) * least)
    supported = inverted(physics.predose, physics.predose + change, physics.headroom, conditions)
    # No dose makes tissue darker than drift does.
    brightened = predicted.maximum((1 - DRIFT) * physics.predose)
    return _Support(
        equation=standardized(brightened, lowdose, predose, sigma, conditions),
        uncertainty=deviation(highdose, predicted, physics, predose, slices),
        labels=body(lowdose, slices.floor) * (UNSUPPORTED * unsupported + SUPPRESSED * suppressed),
        difference=local_mean(highdose) - supported,
    )


def _lowdose_of(highdose: Tensor, physics: Anchor, conditions: Conditions) -> Tensor:
    """F(x) by the equation; beyond saturation, where it goes on along a tangent, no more than x."""
    fraction = conditions.dose_fraction.view(-1, 1, 1, 1)
    predicted = lowdose_of(highdose, physics.predose, physics.headroom, fraction, conditions.curve())
    return predicted.minimum(highdose.maximum(physics.predose))


def _change(examination: Examination, result: Result) -> float:
    """Root mean square of x_H - x_P where there is tissue and a pre-dose image, model scale."""
    known = examination.predose_known
    if known is None or examination.predose is None:
        return 0.0
    inside = known & foreground(examination.lowdose)
    change = (result.highdose[inside] - examination.predose[inside]) / np.float32(examination.scale)
    return float(np.sqrt(np.mean(np.square(change, dtype=np.float64)))) if change.size else 0.0


def _volume(slices: list[Tensor], scale: float = 1.0) -> Volume:
    volume: Volume = np.concatenate([(one[:, 0] * scale).cpu().numpy() for one in slices]).astype(np.float32)
    return volume
