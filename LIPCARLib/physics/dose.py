"""From one dose of the agent to another through the pre-dose image: the signal equation, forward and inverse.

What T1, proton density and receiver would have to tell stands in the pre-dose image x_P, but for one number a pixel:
its headroom M, the brightest that any dose makes it. With s the signal curve of the acquisition (`sequences`) and f the
dose fraction, R1 linear in the dose,

    R10 = s^-1(x_P / M),   x_H = M s(R10 + dR),   x_L = M s(R10 + f dR),   dR >= 0.

An agent only adds relaxation: what is darker than x_P was moved, drifted or noise, and belongs to no concentration. As
far as noise and drift reach, by DRIFT, it is linear in the dose, as a small rise nearly is: noise then averages out,
where a bend at x_P would leave a brightening. What is darker still was moved; it passes both ways as it is. All
functions take images in model scale, broadcast, and are differentiable, increasing in the image that they convert, and
finite for every finite input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .acquisition import Acquisition
from .sequences import SATURATED, SignalCurve, signal_curve

DOSE_FRACTION = 0.22
"""Low dose over full dose where nobody tells it: of simulated sessions the average, of the paper's protocol a fifth."""
NATIVE_TIME = 1.4
"""Seconds, T10 at 3 T, between grey and white matter, muscle and tumour."""
FIELD_EXPONENT = 0.38
"""T1 of tissue grows with the magnetic field like B0^0.38 (Rooney et al., Magn. Reson. Med. 57, 2007): 1.1 s at 1.5 T,
1.9 s at 7 T."""
DARKEST = 0.05
"""Model scale: a pre-dose image that is darker tells no proton density."""
FULLEST = 0.9
"""Share of its headroom that a pixel may fill before the agent; short of 1 - SATURATED."""
DRIFT = 0.08
"""Share of x_P by which what no agent touches may lie below it."""
FAINTEST = 1e-3
"""Share of its headroom that a pixel fills at least: near the null of an inversion-prepared sequence x_P tells nothing,
and the equation becomes linear in the dose."""


def native_time(acquisition: Acquisition) -> float:
    """T10 in seconds that is assumed where no map tells it, for the field of the acquisition (3 T if not known)."""
    field = acquisition.completed().magnetic_field or 3.0
    return NATIVE_TIME * math.pow(field / 3.0, FIELD_EXPONENT)


def headroom(
    predose: Tensor,
    acquisition: Acquisition | SignalCurve,
    native: float | Tensor | None = None,
    lowdose: Tensor | None = None,
    fraction: float | Tensor | None = None,
) -> Tensor:
    """M, the signal that no dose of agent exceeds, of the shape of `predose`: x_P / s(1 / T10), or more.

    Args:
        predose: x_P, free of noise at best.
        acquisition: or its curve, then with `native`.
        native: T10 in seconds, a number or a map; None for :func:`native_time`.
        lowdose, fraction: x_L and the dose fraction, where T10 is only assumed: M is then at least
            x_P + (x_L - x_P) / fraction, what a signal linear in the dose would rise to. Tissue that a fraction of the
            dose brightens so much was dark for its long T1.
    """
    if native is None:
        if not isinstance(acquisition, Acquisition):
            raise TypeError("headroom: a curve alone does not tell the field; give `native`, T10 in seconds.")
        native = native_time(acquisition)
    rate = 1 / torch.as_tensor(native, dtype=predose.dtype, device=predose.device)
    share = _curve(acquisition).signal(rate)
    full = predose.clamp_min(DARKEST) / share.clamp(FAINTEST, FULLEST)
    if lowdose is None or fraction is None:
        return full
    return torch.maximum(full, predose + (lowdose - predose) / fraction)


def lowdose_of(
    highdose: Tensor,
    predose: Tensor,
    full: Tensor,
    fraction: float | Tensor,
    acquisition: Acquisition | SignalCurve,
) -> Tensor:
    """x_L of x_H: the forward operator. A fraction of 1 gives x_H, and x_H = x_P gives x_P.

    Args:
        highdose: x_H, (N, 1, H, W) or any shape.
        predose: x_P, of the same shape.
        full: M, see :func:`headroom`.
        fraction: low dose over full dose, above 0, at most 1; a number, or a tensor that broadcasts.
        acquisition: of the images; or its curve.
    """
    curve = _curve(acquisition)
    before, full, least, native = _before(predose, full, curve)
    saturated = torch.as_tensor(curve.saturated_rate, dtype=native.dtype, device=native.device)
    share = torch.maximum(highdose / full, least)  # what is darker than x_P is taken off at the end
    inside = share.clamp_max(1 - SATURATED)
    risen = curve.signal(native + fraction * (curve.rate(inside) - native))
    # Where the full dose leaves a share of SATURATED missing, x_L goes on along the tangent.
    slope = fraction / curve.slope(saturated) * curve.slope((1 - fraction) * native + fraction * saturated)
    fallen = (before - highdose).clamp_min(0)
    kept = torch.minimum(fallen, DRIFT * before)
    return full * (risen + slope * (share - inside)) - fallen + (1 - fraction) * kept


def highdose_of(
    lowdose: Tensor,
    predose: Tensor,
    full: Tensor,
    fraction: float | Tensor,
    acquisition: Acquisition | SignalCurve,
) -> Tensor:
    """x_H of x_L, the inverse of :func:`lowdose_of` with the same arguments."""
    curve = _curve(acquisition)
    before, full, least, native = _before(predose, full, curve)
    saturated = torch.as_tensor(curve.saturated_rate, dtype=native.dtype, device=native.device)
    top, slope = curve.signal_and_slope((1 - fraction) * native + fraction * saturated)
    share = torch.maximum(lowdose / full, least)  # what is darker than x_P is taken off at the end
    inside = torch.minimum(share, top)
    risen = curve.signal(native + (curve.rate(inside) - native) / fraction)
    fallen = (before - lowdose).clamp_min(0)
    kept = torch.minimum(fallen / fraction, DRIFT * before)
    beyond = curve.slope(saturated) / fraction * (share - inside) / slope
    return full * (risen + beyond) - fallen - (1 - fraction) * kept


def _before(predose: Tensor, full: Tensor, curve: SignalCurve) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_P of at least 0, M with room above it, the share that x_P is of M, and R10."""
    before = predose.clamp_min(0)
    full = torch.maximum(full, before / FULLEST).clamp_min(FAINTEST * DARKEST)
    share = before / full
    return before, full, share, curve.rate(share)


def _curve(acquisition: Acquisition | SignalCurve) -> SignalCurve:
    return signal_curve(acquisition) if isinstance(acquisition, Acquisition) else acquisition
