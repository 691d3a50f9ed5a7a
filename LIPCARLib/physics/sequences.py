"""Signal against relaxation rate for each T1-weighted sequence, and back: what a dose of agent moves a pixel along.

A `SignalCurve` is the signal s(R1) as a share of the brightest that any dose of agent reaches, on the branch where it
rises. Proton density, T2 before the agent and the receiver are a factor of each pixel and do not enter. The agent's
effect on T2 or T2* does where the echo time is known: R2 grows with R1 by the ratio of the relaxivities, so that

    s(R1) = g(R1) exp(-TE R2_OVER_R1 R1) / peak,   g(R1) = relative signal of the sequence,  g -> 1 for R1 -> infinity.

Every function is differentiable, strictly increasing and finite for every finite input: beyond SATURATED and below
the branch a curve and its inverse go on along their tangents.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .acquisition import Acquisition, PulseSequence

R2_OVER_R1 = 1.3
"""r2 / r1 of gadolinium agents at 1.5 to 7 T, 1.15 to 1.6. What susceptibility adds to r2* near vessels is left out."""
SATURATED = 0.03
"""Share of the brightest signal that is still missing where curves give way to their tangents: beyond, noise in the
images would decide."""
NEWTON_STEPS = 6
"""From the left of a concave curve, quadratic; in float64 5 reach rounding for every echo time below 20 ms."""
_TABLE_RATES = (1e-3, 1e3, 4096)
"""Rates in 1/s of the table that starts the inverse of an inversion-prepared sequence: first, last, how many."""


class SignalCurve(Protocol):
    """The signal of a sequence against R1 in 1/s; tensors of any shape, share 1 is the brightest of the pixel."""

    @property
    def saturated_rate(self) -> float | Tensor:
        """R1 where a share of SATURATED is still missing; a tensor that broadcasts for a batch."""

    def signal(self, rate: Tensor) -> Tensor:
        """s(R1)."""

    def slope(self, rate: Tensor) -> Tensor:
        """ds/dR1, above 0."""

    def rate(self, signal: Tensor) -> Tensor:
        """R1(s), the inverse of `signal`."""


@lru_cache(maxsize=256)
def signal_curve(acquisition: Acquisition) -> SignalCurve:
    """The curve of an acquisition; numbers that it needs and does not have are typical ones (`completed`)."""
    full = acquisition.completed()
    repetition, flip = full.repetition_time or 0.0, math.radians(full.flip_angle or 90.0)
    echo = full.echo_time or 0.0
    if full.sequence is PulseSequence.SPIN_ECHO:
        # 1 - 2 exp(-(TR - TE/2) R1) + exp(-TR R1) = 1 - exp(-(TR - TE) R1) up to exp(-TR R1) (TE R1)^2 / 4, below 1e-4.
        return SaturationRecovery(repetition - echo, math.pi / 2, R2_OVER_R1 * echo)
    if full.sequence is PulseSequence.GRADIENT_ECHO:
        return SaturationRecovery(repetition, flip, R2_OVER_R1 * echo)
    return InversionRecovery(
        repetition,
        full.inversion_time or 0.0,
        flip,
        full.readout_time or 0.0,
        full.readout_pulses or 1,
        R2_OVER_R1 * echo,
    )


def batch_curve(acquisitions: Sequence[Acquisition]) -> SignalCurve:
    """The curve of a batch whose images, along the first axis, were acquired in different ways."""
    return _Batch([signal_curve(acquisition) for acquisition in acquisitions])


class _Curve(ABC):
    """What the curves share: the agent's T2 effect, the peak, the tangents, and the inverse by Newton's method."""

    lowest_rate: float = 0.0
    lowest_share: float = 0.0
    saturated_rate: float
    decay: float
    peak: float

    @abstractmethod
    def _relative(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """g and dg/dR1 for rates of at least 0."""

    @abstractmethod
    def _start(self, signal: Tensor) -> Tensor:
        """A first rate for shares from `lowest_share` to 1 - SATURATED."""

    def _within(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        relative, slope = self._relative(rate)
        if not self.decay:
            return relative / self.peak, slope / self.peak
        factor = torch.exp(-self.decay * rate) / self.peak
        return relative * factor, (slope - self.decay * relative) * factor

    def signal(self, rate: Tensor) -> Tensor:
        inside = rate.clamp(self.lowest_rate, self.saturated_rate)
        value, slope = self._within(inside)
        return value + slope * (rate - inside)

    def slope(self, rate: Tensor) -> Tensor:
        return self._within(rate.clamp(self.lowest_rate, self.saturated_rate))[1]

    def rate(self, signal: Tensor) -> Tensor:
        inside = signal.clamp(self.lowest_share, 1 - SATURATED)
        found = self._inverse(inside)
        return found + (signal - inside) / self._within(found)[1].detach()

    def _inverse(self, signal: Tensor) -> Tensor:
        """By Newton's method; the gradient is that of the implicit function, one more step from where it ended."""
        with torch.no_grad():
            rate = self._start(signal)
            for _ in range(NEWTON_STEPS):
                value, slope = self._within(rate)
                rate = (rate + (signal - value) / slope).clamp(self.lowest_rate, self.saturated_rate)
            value, slope = self._within(rate)
        return rate + (signal - value) / slope


class SaturationRecovery(_Curve):
    """Spin echo and spoiled gradient echo, g = (1 - E) / (1 - cos(flip) E), E = exp(-time R1).

    Times sin(flip), which is the same for every tissue, this is the steady state of Ernst & Anderson 1966; a flip angle
    of 90 degrees makes it the saturation recovery of a spin echo. The inverse is in closed form where no echo time is
    known, R1 = log(1 + (1 - cos(flip)) g / (1 - g)) / time; otherwise Newton's method starts there, left of the root of
    a concave function, and approaches it from the left.

    Args:
        time: seconds between excitations.
        flip: radians, above 0, at most pi.
        decay: seconds, TE R2_OVER_R1.
    """

    def __init__(self, time: float, flip: float, decay: float = 0.0) -> None:
        self.time, self.decay = time, decay
        self.cosine, self.rest = math.cos(flip), 2 * math.sin(flip / 2) ** 2
        self.peak, self.saturated_rate = 1.0, math.inf
        if decay:
            # d/dR1 log s, falling: its zero is the peak.
            top = _bisect(lambda rate: self._log_slope(rate) - decay, 1e-6, 700 / time)
            self.peak = self._share(top) * math.exp(-decay * top)
            self.saturated_rate = _bisect(
                lambda rate: 1 - SATURATED - self._share(rate) * math.exp(-decay * rate) / self.peak, 1e-9, top
            )
        else:
            self.saturated_rate = math.log1p(self.rest * (1 - SATURATED) / SATURATED) / time

    def _share(self, rate: float) -> float:
        recovered = -math.expm1(-self.time * rate)
        return recovered / (self.rest + self.cosine * recovered)

    def _log_slope(self, rate: float) -> float:
        recovered = -math.expm1(-self.time * rate)
        return self.time * (1 - recovered) * self.rest / (recovered * (self.rest + self.cosine * recovered))

    def _relative(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        recovered = -torch.expm1(-self.time * rate)
        below = self.rest + self.cosine * recovered
        return recovered / below, self.time * self.rest * (1 - recovered) / below.square()

    def _start(self, signal: Tensor) -> Tensor:
        relative = signal * self.peak
        return torch.log1p(self.rest * relative / (1 - relative)) / self.time

    def _inverse(self, signal: Tensor) -> Tensor:
        return super()._inverse(signal) if self.decay else self._start(signal)


class InversionRecovery(_Curve):
    """Inversion-prepared gradient echo (MPRAGE), longitudinal magnetization before the central pulse in steady state.

    Every period of TR: a perfect inversion; free recovery; `pulses` pulses of the flip angle, `spacing` apart, the
    middle one at the inversion time and perfectly spoiled; free recovery. With E = exp(-spacing R1) and
    q = cos(flip) E, n pulses lead a magnetization m to q^n m + (1 - q^n) (1 - E) / (1 - q), so the period is a linear
    map whose fixed point is in closed form (Deichmann et al., NeuroImage 12, 2000; Marques et al., NeuroImage 49, 2010,
    with one readout).

    The image is a magnitude, and below the rate whose signal is nulled it would be inverted: the curve is the branch
    above the null, where it rises. The inverse has no closed form: a table starts Newton's method.

    Args:
        period: TR, seconds between inversions.
        inversion_time: seconds from the inversion to the central pulse.
        flip: radians.
        spacing: seconds between pulses.
        pulses: how many.
        decay: seconds, TE R2_OVER_R1.
    """

    def __init__(
        self, period: float, inversion_time: float, flip: float, spacing: float, pulses: int, decay: float = 0.0
    ) -> None:
        self.spacing, self.pulses, self.before_centre = spacing, pulses, pulses // 2
        self.before = inversion_time - self.before_centre * spacing
        self.after = period - self.before - pulses * spacing
        self.cosine, self.rest = math.cos(flip), 2 * math.sin(flip / 2) ** 2
        self.decay, self.peak = decay, 1.0
        first, last, count = _TABLE_RATES
        rates = torch.from_numpy(np.geomspace(first, last, count))
        shares = self._within(rates)[0]
        top = int(shares.argmax())
        self.peak = float(shares[top])
        below = shares[:top] < (1 - SATURATED / 2) * self.peak  # above it rounding decides what rises
        falling = torch.nonzero(below & ((shares[:top] <= 0) | (shares[: top + 1].diff() <= 0)))
        start = int(falling.max()) + 1 if len(falling) else 0
        top = int(torch.nonzero(below).max()) + 1
        self._rates, self._shares = rates[start : top + 1], shares[start : top + 1] / self.peak
        self.lowest_rate, self.lowest_share = float(self._rates[0]), float(self._shares[0])
        self.saturated_rate = float(self._rates[-1])
        # To rounding: the tangents on both sides have to meet.
        self.saturated_rate = float(self._inverse(torch.tensor([1 - SATURATED], dtype=torch.float64)))

    def _relative(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        gap = self.spacing
        recovered = -torch.expm1(-gap * rate)
        below = self.rest + self.cosine * recovered
        steady, d_steady = recovered / below, gap * self.rest * (1 - recovered) / below.square()
        ahead, d_ahead = _decay(self.before, rate)
        behind, d_behind = _decay(self.after, rate)
        all_pulses, d_all = self._pulses(self.pulses, rate)
        half, d_half = self._pulses(self.before_centre, rate)
        # After the readout, had the period begun saturated, and at its end.
        read = all_pulses * (1 - ahead) + steady * (1 - all_pulses)
        d_read = d_all * (1 - ahead - steady) - all_pulses * d_ahead + d_steady * (1 - all_pulses)
        gained = (1 - behind) + behind * read
        d_gained = d_behind * (read - 1) + behind * d_read
        loop = 1 + all_pulses * ahead * behind
        d_loop = d_all * ahead * behind + all_pulses * (d_ahead * behind + ahead * d_behind)
        start = gained / loop
        d_start = (d_gained - start * d_loop) / loop
        inverted = 1 - ahead * (1 + start)
        d_inverted = -d_ahead * (1 + start) - ahead * d_start
        return (
            half * inverted + steady * (1 - half),
            d_half * (inverted - steady) + half * d_inverted + d_steady * (1 - half),
        )

    def _pulses(self, count: int, rate: Tensor) -> tuple[Tensor, Tensor]:
        """q^count and its derivative."""
        value, slope = _decay(count * self.spacing, rate)
        return self.cosine**count * value, self.cosine**count * slope

    def _start(self, signal: Tensor) -> Tensor:
        shares, rates = (table.to(signal) for table in (self._shares, self._rates))
        index = torch.searchsorted(shares, signal.contiguous()).clamp(1, len(shares) - 1)
        low, high = shares[index - 1], shares[index]
        part = ((signal - low) / (high - low).clamp_min(torch.finfo(signal.dtype).tiny)).clamp(0, 1)
        return torch.lerp(rates[index - 1], rates[index], part)


class _Batch:
    """A curve for each image of a batch, (N, ...)."""

    def __init__(self, curves: Sequence[SignalCurve]) -> None:
        self.curves = curves

    @property
    def saturated_rate(self) -> Tensor:
        return torch.tensor([curve.saturated_rate for curve in self.curves]).view(-1, 1, 1, 1)

    def signal(self, rate: Tensor) -> Tensor:
        return self._each([curve.signal for curve in self.curves], rate)

    def slope(self, rate: Tensor) -> Tensor:
        return self._each([curve.slope for curve in self.curves], rate)

    def rate(self, signal: Tensor) -> Tensor:
        return self._each([curve.rate for curve in self.curves], signal)

    @staticmethod
    def _each(functions: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> Tensor:
        if not images.ndim:  # one number for all
            images = images.expand(len(functions), 1, 1, 1)
        return torch.cat([function(image) for function, image in zip(functions, torch.split(images, 1), strict=True)])


def _decay(time: float, rate: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-time R1) and its derivative."""
    value = torch.exp(-time * rate)
    return value, -time * value


def _bisect(falling: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a falling function, to rounding; rates span many powers of ten, so the middle is geometric."""
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return math.sqrt(low * high)
