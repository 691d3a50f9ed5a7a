"""Signal curves: against textbook formulas and a Bloch simulation written out here, and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.physics.acquisition import Acquisition, PulseSequence
from LIPCARLib.physics.sequences import R2_OVER_R1, SATURATED, batch_curve, signal_curve

SPIN, GRADIENT, INVERSION = PulseSequence
RATES = np.linspace(0.2, 6.0, 30)
COMMON = [
    Acquisition(SPIN, 0.5),
    Acquisition(SPIN, 0.45, 0.012),
    Acquisition(GRADIENT, 0.008, flip_angle=20.0),
    Acquisition(GRADIENT, 0.006, 0.003, flip_angle=12.0),
    Acquisition(INVERSION, 2.3, inversion_time=0.9, flip_angle=9.0, readout_time=0.007, readout_pulses=176),
    Acquisition(INVERSION, 2.0, 0.003, inversion_time=1.1, flip_angle=12.0, readout_time=0.008, readout_pulses=120),
]
IDS = [acquisition.words() for acquisition in COMMON]


@st.composite
def acquisitions(draw: st.DrawFn) -> Acquisition:
    """Whatever T1-weighted imaging may use, and beyond."""
    kind = draw(st.sampled_from(list(PulseSequence)))
    if kind is SPIN:
        return Acquisition(kind, draw(st.floats(0.1, 2.0)), draw(st.none() | st.floats(0.002, 0.03)))
    echo, flip = draw(st.none() | st.floats(0.0005, 0.003)), draw(st.floats(2.0, 60.0))
    if kind is GRADIENT:
        return Acquisition(kind, draw(st.floats(0.004, 0.05)), echo, flip_angle=flip)
    inversion = draw(st.floats(0.3, 1.3))
    period, gap = draw(st.floats(inversion + 0.3, 5.0)), draw(st.floats(0.005, 0.012))
    return Acquisition(kind, period, echo, inversion, min(flip, 20.0), readout_time=gap)


def check_against(acquisition: Acquisition, expected: np.ndarray, rtol: float) -> None:
    """Signals at RATES on the branch that a curve describes, up to the factor that it is normalized by."""
    curve = signal_curve(acquisition)
    inside = (curve.lowest_rate < RATES) & (curve.saturated_rate > RATES)
    assert inside.sum() > 10
    found, wanted = curve.signal(torch.from_numpy(RATES)).numpy()[inside], expected[inside]
    np.testing.assert_allclose(found / found[0], wanted / wanted[0], rtol=rtol)


def test_spin_echo_is_the_textbook_formula() -> None:
    tr, te = 0.45, 0.012
    signal = 1 - 2 * np.exp(-(tr - te / 2) * RATES) + np.exp(-tr * RATES)
    signal *= np.exp(-te * R2_OVER_R1 * RATES)  # R2 - R20 = (r2 / r1) (R1 - R10): a factor of the pixel is left out
    check_against(Acquisition(SPIN, tr, te), signal, rtol=3e-4)
    check_against(Acquisition(SPIN, tr), 1 - np.exp(-tr * RATES), rtol=1e-12)


@pytest.mark.parametrize("flip", [5.0, 20.0, 90.0, 130.0])
def test_gradient_echo_is_the_textbook_formula(flip: float) -> None:
    tr, te, e1 = 0.008, 0.003, np.exp(-0.008 * RATES)
    a = np.deg2rad(flip)
    signal = np.sin(a) * (1 - e1) / (1 - np.cos(a) * e1) * np.exp(-te * R2_OVER_R1 * RATES)
    check_against(Acquisition(GRADIENT, tr, te, flip_angle=flip), signal, rtol=1e-10)


@pytest.mark.parametrize(
    ("period", "inversion", "flip", "gap", "pulses"),
    [(2.3, 0.9, 9.0, 0.007, 176), (2.0, 0.8, 8.0, 0.01, 97), (3.0, 1.1, 12.0, 0.006, 1), (1.4, 0.6, 15.0, 0.008, 120)],
)
def test_inversion_recovery_is_what_bloch_simulates(
    period: float, inversion: float, flip: float, gap: float, pulses: int
) -> None:
    """Longitudinal magnetization, pulse by pulse over 60 periods, spoiled after each pulse."""
    centre, magnetization = pulses // 2, np.ones_like(RATES)
    observed = magnetization
    ahead = inversion - centre * gap

    def relax(m: np.ndarray, time: float) -> np.ndarray:
        return 1 + (m - 1) * np.exp(-time * RATES)

    for _ in range(60):
        magnetization = relax(-magnetization, ahead)
        for pulse in range(pulses):
            observed = magnetization if pulse == centre else observed
            magnetization = relax(magnetization * np.cos(np.deg2rad(flip)), gap)
        magnetization = relax(magnetization, period - ahead - pulses * gap)
    acquisition = Acquisition(INVERSION, period, None, inversion, flip, readout_time=gap, readout_pulses=pulses)
    check_against(acquisition, observed, rtol=1e-9)


@settings(deadline=None, max_examples=200)
@given(acquisitions())
def test_rising_and_inverted_everywhere(acquisition: Acquisition) -> None:
    curve = signal_curve(acquisition)
    rates = curve.saturated_rate * torch.linspace(-0.2, 1.5, 801, dtype=torch.float64)
    signal = curve.signal(rates)
    assert (signal.diff() > 0).all() and (curve.slope(rates) > 0).all()
    torch.testing.assert_close(curve.rate(signal), rates, rtol=1e-7, atol=1e-7)
    top = curve.signal(torch.tensor([curve.saturated_rate], dtype=torch.float64))
    assert float(top) == pytest.approx(1 - SATURATED, abs=1e-9)
    shares = torch.linspace(curve.lowest_share - 0.1, 1.1, 801)
    torch.testing.assert_close(curve.signal(curve.rate(shares)), shares, rtol=0, atol=1e-5)  # single precision


@settings(deadline=None, max_examples=60)
@given(acquisitions(), st.floats(-0.3, 1.4))
def test_gradients_against_finite_differences(acquisition: Acquisition, share: float) -> None:
    curve = signal_curve(acquisition)
    if min(abs(share), abs(share - 1 + SATURATED), abs(share - curve.lowest_share)) < 1e-3:
        return  # where a tangent meets the curve the second derivative jumps
    signal = torch.tensor([share], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(curve.rate, signal, atol=1e-4, rtol=1e-3)
    rate = curve.rate(signal.detach()).requires_grad_()
    assert torch.autograd.gradcheck(curve.signal, rate, atol=1e-5, rtol=1e-3)
    (slope,) = torch.autograd.grad(curve.signal(rate).sum(), rate)
    torch.testing.assert_close(curve.slope(rate), slope, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("acquisition", COMMON, ids=IDS)
def test_finite_for_every_float32(acquisition: Acquisition) -> None:
    curve = signal_curve(acquisition)
    values = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e-38, 1.0, 1 - SATURATED, -1.0, 3.0, 1e20, -1e20])
    for function in (curve.signal, curve.slope, curve.rate):
        given_values = values.clone().requires_grad_()
        found = function(given_values)
        (gradient,) = torch.autograd.grad(found.sum(), given_values)
        assert torch.isfinite(found).all() and torch.isfinite(gradient).all()
        assert found.dtype == torch.float32


@pytest.mark.parametrize("acquisition", COMMON, ids=IDS)
def test_float32_is_accurate_where_tissue_is(acquisition: Acquisition) -> None:
    rates = torch.linspace(1.0, 3.0, 40)
    curve = signal_curve(acquisition)
    signal = curve.signal(rates)
    torch.testing.assert_close(curve.rate(signal), rates, rtol=1e-4, atol=0)
    exact = curve.rate(signal.double()).float()
    torch.testing.assert_close(curve.rate(signal), exact, rtol=3e-6, atol=0)
    torch.testing.assert_close(curve.rate(signal.requires_grad_()).detach(), exact, rtol=3e-5, atol=0)


@pytest.mark.parametrize(
    ("inversion_time", "echo_time", "flip_angle"),
    [(1e-4, None, 9.0), (1e-4, 0.05, 9.0), (0.05, 0.9, 9.0), (0.05, None, 9.0), (0.9, None, 179.0)],
)
def test_no_branch_that_rises_is_told(inversion_time: float, echo_time: float | None, flip_angle: float) -> None:
    """Such numbers gave an index error, NaN, or slopes of noise."""
    sequence = PulseSequence.INVERSION_GRADIENT_ECHO
    with pytest.raises(LIPCARError, match="rises with the agent"):
        signal_curve(Acquisition(sequence, 2.3, echo_time, inversion_time, flip_angle))


def test_the_agent_dims_when_the_echo_is_late() -> None:
    """With an echo time the brightest signal is reached at a finite rate; without one never."""
    late, none = signal_curve(Acquisition(SPIN, 0.5, 0.02)), signal_curve(Acquisition(SPIN, 0.5))
    rate = torch.tensor([2.0], dtype=torch.float64)
    assert late.saturated_rate < none.saturated_rate
    assert late.signal(rate) > none.signal(rate)  # nearer to its peak


def test_a_batch_is_its_images() -> None:
    batch = batch_curve(COMMON)
    rates = torch.rand(len(COMMON), 1, 5, 6) + 0.8
    for method in ("signal", "slope", "rate"):
        together = getattr(batch, method)(rates / 3)
        alone = [getattr(signal_curve(a), method)(rates[i : i + 1] / 3) for i, a in enumerate(COMMON)]
        torch.testing.assert_close(together, torch.cat(alone))
    both = batch.signal_and_slope(rates / 3)
    for found, method in zip(both, ("signal", "slope"), strict=True):
        torch.testing.assert_close(found, getattr(batch, method)(rates / 3))
    assert batch.saturated_rate.shape == (len(COMMON), 1, 1, 1)
