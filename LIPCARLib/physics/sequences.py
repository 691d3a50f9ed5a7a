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
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import LIPCARError
from .acquisition import Acquisition, PulseSequence

R2_OVER_R1 = 1.3
"""r2 / r1 of gadolinium agents at 1.5 to 7 T, 1.15 to 1.6. What susceptibility adds to r2* near vessels is left out."""
SATURATED = 0.03
"""Share of the brightest signal that is still missing where curves give way to their tangents: beyond, noise in the
images would decide."""
NEWTON_STEPS = 6
"""From the left of a concave curve, quadratic; in float64 5 reach rounding for every echo time below 20 ms."""
LEAST_PEAK = 0.01
"""Share of the equilibrium magnetization; where no dose leaves more, images are of noise."""
HIGHEST_NULL = 5.0
"""1/s: where the signal is nulled above it, no tissue before the agent is on the branch that rises."""
_TABLE_RATES = (1e-3, 1e3, 4096)
"""Rates in 1/s of the table that starts the inverse of an inversion-prepared sequence: first, last, how many."""
_NODES = 8192
"""Shares whose rates are kept: parabolas through three of them are exact to 2e-7, which float32 hardly tells apart."""


class SignalCurve(Protocol):
    """The signal of a sequence against R1 in 1/s; tensors of any shape, share 1 is the brightest of the pixel."""

    @property
    def saturated_rate(self) -> float | Tensor:
        """R1 where a share of SATURATED is still missing; a tensor that broadcasts for a batch."""

    def signal(self, rate: Tensor) -> Tensor:
        """s(R1)."""

    def slope(self, rate: Tensor) -> Tensor:
        """ds/dR1, above 0."""

    def signal_and_slope(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Both, in less time than one by one."""

    def rate(self, signal: Tensor) -> Tensor:
        """R1(s), the inverse of `signal`."""


@lru_cache(maxsize=256)
def signal_curve(acquisition: Acquisition) -> SignalCurve:
    """The curve of an acquisition; numbers that it needs and does not have are typical ones (`completed`).

    Raises:
        LIPCARError: its signal does not rise with the agent.
    """
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
    def _relative(self, rate: Tensor) -> Tensor:
        """g / peak for rates of at least 0."""

    @abstractmethod
    def _relative_and_slope(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and its derivative."""

    @abstractmethod
    def _start(self, signal: Tensor) -> Tensor:
        """A first rate for shares from `lowest_share` to 1 - SATURATED."""

    def signal(self, rate: Tensor) -> Tensor:
        inside = rate.clamp(self.lowest_rate, self.saturated_rate)
        value = self._relative(inside)
        if self.decay:
            value = value * torch.exp(-self.decay * inside)
        return _with_tangents(value, rate - inside, *self._end_slopes)

    def slope(self, rate: Tensor) -> Tensor:
        return self._within(rate.clamp(self.lowest_rate, self.saturated_rate))[1]

    def signal_and_slope(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        inside = rate.clamp(self.lowest_rate, self.saturated_rate)
        value, slope = self._within(inside)
        return _with_tangents(value, rate - inside, *self._end_slopes), slope

    def rate(self, signal: Tensor) -> Tensor:
        inside = signal.clamp(self.lowest_share, 1 - SATURATED)
        low, high = self._end_slopes
        return _with_tangents(self._inverse(inside), signal - inside, 1 / low, 1 / high)

    @cached_property
    def _end_slopes(self) -> tuple[float, float]:
        """ds/dR1 where the curve begins and where its tangent takes over."""
        low, high = self._within(torch.tensor([self.lowest_rate, self.saturated_rate], dtype=torch.float64))[1].tolist()
        return low, high

    def _within(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """s and ds/dR1 between the tangents."""
        relative, slope = self._relative_and_slope(rate)
        if not self.decay:
            return relative, slope
        factor = torch.exp(-self.decay * rate)
        return relative * factor, (slope - self.decay * relative) * factor

    def _inverse(self, signal: Tensor) -> Tensor:
        """From a table of what Newton's method finds; one more step for float64, and for a gradient, which is that of
        the implicit function."""
        with torch.no_grad():
            rate = self._looked_up(signal)
            if signal.dtype == torch.float32 and not signal.requires_grad:
                return rate
            value, slope = self._within(rate)
        return rate + (signal - value) / slope

    def _looked_up(self, signal: Tensor) -> Tensor:
        place = ((signal - self.lowest_share) * ((_NODES - 1) ** 2 / (1 - SATURATED - self.lowest_share))).sqrt_()
        index = (place + 0.5).int().clamp_(1, _NODES - 2)
        value, slope, bend = (table.index_select(0, index.flatten()).view_as(place) for table in self._nodes.to(signal))
        part = place.sub_(index)
        rate: Tensor = value.addcmul_(slope.addcmul_(bend, part), part)
        return rate

    @cached_property
    def _nodes(self) -> Tensor:
        """R1 of _NODES shares, and the slope and curvature of the parabola through each and its neighbors.

        Evenly spaced are the roots of what the shares are above the lowest, where a curve may begin without slope.
        """
        roots = torch.linspace(0, 1, _NODES, dtype=torch.float64)
        rates = self._solved(self.lowest_share + (1 - SATURATED - self.lowest_share) * roots.square())
        before, middle, after = rates[:-2], rates[1:-1], rates[2:]
        parabolas = torch.stack((middle, (after - before) / 2, (after + before) / 2 - middle))
        return F.pad(parabolas, (1, 1))  # no one asks for the ends

    def _solved(self, signal: Tensor) -> Tensor:
        """R1(s) by Newton's method alone."""
        rate = self._start(signal)
        for _ in range(NEWTON_STEPS + 1):
            value, slope = self._within(rate)
            rate = (rate + (signal - value) / slope).clamp(self.lowest_rate, self.saturated_rate)
        return rate


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

    def _relative(self, rate: Tensor) -> Tensor:
        lost = torch.expm1(-self.time * rate)
        return lost / (lost * (self.peak * self.cosine) - self.peak * self.rest)

    def _relative_and_slope(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        lost = torch.expm1(-self.time * rate)
        below = lost * (self.peak * self.cosine) - self.peak * self.rest
        return lost / below, (lost + 1) * (self.peak * self.time * self.rest) / below.square()

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
    above the null, where it rises. The inverse has no closed form: what lies nearest starts Newton's method.

    Args:
        period: TR, seconds between inversions.
        inversion_time: seconds from the inversion to the central pulse.
        flip: radians.
        spacing: seconds between pulses.
        pulses: how many.
        decay: seconds, TE R2_OVER_R1.

    Raises:
        LIPCARError: of these times, no signal is left, or none that rises with the agent.
    """

    def __init__(
        self, period: float, inversion_time: float, flip: float, spacing: float, pulses: int, decay: float = 0.0
    ) -> None:
        self.period, self.inversion_time, self.spacing, self.pulses = period, inversion_time, spacing, pulses
        self.until_centre = pulses // 2 * spacing
        self.with_pulses = period - inversion_time + self.until_centre
        self.after = self.with_pulses - pulses * spacing
        self.cosine, self.rest = math.cos(flip), 2 * math.sin(flip / 2) ** 2
        self.decay, self.peak = decay, 1.0
        first, last, count = _TABLE_RATES
        rates = torch.from_numpy(np.geomspace(first, last, count))
        shares = self._within(rates)[0]
        top = int(shares.argmax())
        self.peak = float(shares[top])
        if self.peak < LEAST_PEAK:
            raise LIPCARError(self._without_branch("leaves no signal"))
        below = shares[:top] < (1 - SATURATED / 2) * self.peak  # above it rounding decides what rises
        falling = torch.nonzero(below & ((shares[:top] <= 0) | (shares[: top + 1].diff() <= 0)))
        start = int(falling.max()) + 1 if len(falling) else 0
        top = int(torch.nonzero(below).max()) + 1
        self._rates, self._shares = rates[start : top + 1], shares[start : top + 1] / self.peak
        self.lowest_rate, self.lowest_share = float(self._rates[0]), float(self._shares[0])
        if self.lowest_rate > HIGHEST_NULL:
            raise LIPCARError(self._without_branch(f"nulls a T1 of {1e3 / self.lowest_rate:.2g} ms"))
        self.saturated_rate = float(self._rates[-1])
        # To rounding: the tangents on both sides have to meet.
        self.saturated_rate = float(self._solved(torch.tensor([1 - SATURATED], dtype=torch.float64)))

    def _without_branch(self, found: str) -> str:
        late = f" and an echo time of {self.decay / R2_OVER_R1:g} s" if self.decay else ""
        return (
            f"An inversion-prepared sequence with an inversion time of {self.inversion_time:g} s, {self.pulses} pulses "
            f"of {math.degrees(math.acos(self.cosine)):.3g} degrees{late} {found}; a signal of tissue that rises with "
            "the agent is expected. Check these numbers, or leave them out."
        )

    def _relative(self, rate: Tensor) -> Tensor:
        _, moving, centre, inverted, behind, pulsed, period = self._terms(rate)
        seen = inverted * (2 - (behind - pulsed) * moving) / (1 + period)
        return (1 - moving * (1 - centre) - seen) / self.peak

    def _relative_and_slope(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        below, moving, centre, inverted, behind, pulsed, period = self._terms(rate)
        d_moving = moving * -self.spacing / below
        flipped = 2 - (behind - pulsed) * moving
        d_flipped = (self.after * behind - self.with_pulses * pulsed) * moving - (behind - pulsed) * d_moving
        seen = inverted * flipped / (1 + period)
        d_seen = (inverted * (d_flipped - self.inversion_time * flipped) + self.period * period * seen) / (1 + period)
        d_approach = d_moving * (1 - centre) + self.until_centre * centre * moving
        return (1 - moving * (1 - centre) - seen) / self.peak, (d_approach + d_seen) / -self.peak

    def _terms(self, rate: Tensor) -> tuple[Tensor, ...]:
        """1 - q; how far (1 - E) / (1 - q), where many pulses lead, is from 1; and what of a magnetization is left
        after the first half of the pulses; after that and the time before them; after the time behind all pulses;
        after them too; after a whole period."""
        lost = torch.expm1(-self.spacing * rate)
        below = self.rest - self.cosine * lost
        half, whole = self.cosine ** (self.pulses // 2), self.cosine**self.pulses
        return (
            below,
            (lost + 1) * self.rest / below,
            half * torch.exp(-self.until_centre * rate),
            half * torch.exp(-self.inversion_time * rate),
            torch.exp(-self.after * rate),
            whole * torch.exp(-self.with_pulses * rate),
            whole * torch.exp(-self.period * rate),
        )

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

    def signal_and_slope(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        return self.signal(rate), self.slope(rate)

    def rate(self, signal: Tensor) -> Tensor:
        return self._each([curve.rate for curve in self.curves], signal)

    @staticmethod
    def _each(functions: Sequence[Callable[[Tensor], Tensor]], images: Tensor) -> Tensor:
        if not images.ndim:  # one number for all
            images = images.expand(len(functions), 1, 1, 1)
        return torch.cat([function(image) for function, image in zip(functions, torch.split(images, 1), strict=True)])


def _with_tangents(value: Tensor, beyond: Tensor, low: float, high: float) -> Tensor:
    """A curve's values, where it ends continued by lines of slopes `low` and `high`, above 0, below and above."""
    return torch.add(value, F.leaky_relu(beyond, low / high), alpha=high)  # both in one pass, without a mask


def _bisect(falling: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a falling function, to rounding; rates span many powers of ten, so the middle is geometric."""
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return math.sqrt(low * high)
