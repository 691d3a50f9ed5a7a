"""From dose to dose: against tissue simulated here, round trips, and what may never happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.physics.acquisition import Acquisition, PulseSequence
from LIPCARLib.physics.dose import DARKEST, DRIFT, FULLEST, headroom, highdose_of, lowdose_of, native_time
from LIPCARLib.physics.sequences import R2_OVER_R1, SATURATED, batch_curve, signal_curve

from .test_sequences import COMMON, IDS, acquisitions

SPIN, GRADIENT, INVERSION = PulseSequence
FRACTIONS = st.floats(0.05, 1.0)


def images(acquisition: Acquisition, fraction: float, size: int = 24) -> tuple[torch.Tensor, ...]:
    """x_P from dark to bright, x_H from below it to beyond its headroom, M, all (size, size) float64."""
    predose = torch.linspace(0.0, 0.9, size, dtype=torch.float64)[:, None].expand(size, size)
    full = headroom(predose, acquisition)
    share = torch.linspace(-0.3, 1.3, size, dtype=torch.float64)[None]
    return predose, predose + share * (full - predose), full


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("acquisition", COMMON, ids=IDS)
def test_tissue_simulated_by_textbook_formulas(acquisition: Acquisition, fraction: float) -> None:
    """T1 and proton density known: what the images say of the low and the full dose is what the formulas say."""
    t1, density = np.array([0.8, 1.1, 1.4, 1.8])[:, None], np.array([0.9, 0.7, 1.1, 0.8])[:, None]
    added = np.linspace(0.0, 3.0, 12)[None]  # to R1 by the full dose, in 1/s

    def signal(dose: float) -> torch.Tensor:
        rate = 1 / t1 + dose * added
        tr, te = acquisition.repetition_time, acquisition.echo_time or 0.0
        if acquisition.sequence is SPIN:
            value = 1 - 2 * np.exp(-(tr - te / 2) * rate) + np.exp(-tr * rate)
        elif acquisition.sequence is GRADIENT:
            a, e1 = np.deg2rad(acquisition.flip_angle), np.exp(-tr * rate)
            value = np.sin(a) * (1 - e1) / (1 - np.cos(a) * e1)
        else:
            value = simulated_inversion(acquisition, rate)
        return torch.from_numpy(density * value * np.exp(-te * R2_OVER_R1 * dose * added))

    gain = 0.5 / signal(0.0).max()  # model scale
    predose, low, high = gain * signal(0.0), gain * signal(fraction), gain * signal(1.0)
    full = headroom(predose, acquisition, native=torch.from_numpy(t1))
    torch.testing.assert_close(lowdose_of(high, predose, full, fraction, acquisition), low, rtol=5e-4, atol=1e-7)
    torch.testing.assert_close(highdose_of(low, predose, full, fraction, acquisition), high, rtol=2e-3, atol=1e-7)


def simulated_inversion(acquisition: Acquisition, rate: np.ndarray) -> np.ndarray:
    """Longitudinal magnetization before the central pulse after 40 periods."""
    gap, pulses = acquisition.readout_time, acquisition.readout_pulses
    ahead = acquisition.inversion_time - pulses // 2 * gap
    m = observed = np.ones_like(rate)
    for _ in range(40):
        m = 1 - (1 + m) * np.exp(-ahead * rate)
        for pulse in range(pulses):
            observed = m if pulse == pulses // 2 else observed
            m = 1 + (m * np.cos(np.deg2rad(acquisition.flip_angle)) - 1) * np.exp(-gap * rate)
        m = 1 + (m - 1) * np.exp(-(acquisition.repetition_time - ahead - pulses * gap) * rate)
    return observed


@pytest.mark.parametrize("fraction", [0.1, 0.22, 0.5, 1.0])
def test_agrees_with_the_spin_echo_written_for_what_recovery_misses(fraction: float) -> None:
    """With E = 1 - x_P / M and u = 1 - x_H / M, x_L = M (1 - E^(1 - f) u^f); tangent beyond saturation."""
    recovery = 0.32
    acquisition = Acquisition(SPIN, recovery * 1.4)
    predose, highdose, full = images(acquisition, fraction)
    torch.testing.assert_close(full, predose.clamp_min(DARKEST) / (1 - np.exp(-recovery)), rtol=1e-6, atol=0)
    low = lowdose_of(highdose, predose, full, fraction, acquisition)
    missing = 1 - highdose / full
    inside = missing.clamp_min(SATURATED)
    power = inside**fraction + fraction * SATURATED ** (fraction - 1) * (missing - inside)
    equation = full * (1 - (1 - predose / full) ** (1 - fraction) * power)
    risen = highdose >= predose
    torch.testing.assert_close(low[risen], equation[risen], rtol=1e-9, atol=1e-12)
    raised = headroom(predose, acquisition, lowdose=predose + 0.1, fraction=0.2)
    torch.testing.assert_close(raised, torch.maximum(full, predose + 0.1 / 0.2))


@settings(deadline=None, max_examples=150)
@given(acquisitions(), FRACTIONS)
def test_round_trip(acquisition: Acquisition, fraction: float) -> None:
    predose, highdose, full = images(acquisition, fraction)
    low = lowdose_of(highdose, predose, full, fraction, acquisition)
    torch.testing.assert_close(highdose_of(low, predose, full, fraction, acquisition), highdose, rtol=1e-6, atol=1e-6)


@settings(deadline=None, max_examples=150)
@given(acquisitions(), FRACTIONS)
def test_a_low_dose_shows_less_in_the_same_direction(acquisition: Acquisition, fraction: float) -> None:
    predose, highdose, full = images(acquisition, fraction)
    low = lowdose_of(highdose, predose, full, fraction, acquisition)
    assert (low.diff(dim=1) > 0).all()
    inside = (highdose >= predose) & (highdose <= (1 - SATURATED) * full)
    assert (low <= highdose + 1e-9)[inside].all() and (low >= predose - 1e-9)[inside].all()


@settings(deadline=None, max_examples=100)
@given(acquisitions(), FRACTIONS, st.floats(0.0, 1.0), st.floats(0.0, 1.5))
def test_what_darkened_is_magnified_as_far_as_drift_reaches_and_no_further(
    acquisition: Acquisition, fraction: float, before: float, down: float
) -> None:
    predose = torch.tensor([before], dtype=torch.float64)
    lowdose = predose - down
    full = headroom(predose, acquisition, lowdose=lowdose, fraction=fraction)
    highdose = highdose_of(lowdose, predose, full, fraction, acquisition)
    kept = DRIFT * predose
    linear = predose - down / fraction
    beyond = lowdose - (1 - fraction) * kept
    torch.testing.assert_close(highdose, torch.where(down / fraction <= kept, linear, beyond), rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(acquisitions())
def test_all_of_the_dose_is_all_of_the_image(acquisition: Acquisition) -> None:
    predose, highdose, full = images(acquisition, 1.0)
    for function in (lowdose_of, highdose_of):
        torch.testing.assert_close(function(highdose, predose, full, 1.0, acquisition), highdose, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("function", [lowdose_of, highdose_of])
@pytest.mark.parametrize("acquisition", COMMON, ids=IDS)
def test_gradients_against_finite_differences(function: object, acquisition: Acquisition) -> None:
    predose = torch.tensor([0.12, 0.3, 0.8], dtype=torch.float64)[:, None].expand(3, 6)
    full = headroom(predose, acquisition)
    share = torch.tensor([-0.2, 0.1, 0.5, 0.9, 1.1, 1.6], dtype=torch.float64)
    image = (predose + share * (full - predose)).requires_grad_()
    arguments = [image, predose.clone().requires_grad_(), full.clone().requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda x, p, m: function(x, p, m, 0.2, acquisition), arguments, atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("function", [lowdose_of, highdose_of])
@pytest.mark.parametrize("acquisition", COMMON, ids=IDS)
def test_finite_for_every_float32(function: object, acquisition: Acquisition) -> None:
    values = torch.tensor([0.0, 1e-45, -1e-45, 1e-38, DARKEST, 0.3, 1.0, 50.0, -1.0, 1e15, -1e15])
    image, predose = (v.flatten().clone().requires_grad_() for v in torch.meshgrid(values, values, indexing="ij"))
    for fraction in (0.05, 1.0):
        full = headroom(predose, acquisition, lowdose=image, fraction=fraction)
        found = function(image, predose, full, fraction, acquisition)
        gradients = torch.autograd.grad(found.sum(), (image, predose))
        assert torch.isfinite(found).all() and all(torch.isfinite(gradient).all() for gradient in gradients)
        (slope,) = torch.autograd.grad(function(image, predose, full.detach(), fraction, acquisition).sum(), image)
        assert (slope > 0).all()


def test_headroom_lies_above_both_images_and_follows_the_t1_map() -> None:
    predose, lowdose = torch.rand(2, 1, 1, 32, 32)
    for acquisition in COMMON:
        full = headroom(predose, acquisition, lowdose=lowdose, fraction=0.2)
        assert (full > predose).all() and (full >= lowdose - 1e-6).all()
        longer, shorter = (headroom(predose, acquisition, native=time) for time in (2.0, 0.05))
        assert (longer > shorter).all() and (shorter >= predose / FULLEST - 1e-6).all()
        times = torch.full_like(predose, 2.0)
        torch.testing.assert_close(headroom(predose, acquisition, native=times), longer)
    with pytest.raises(TypeError, match="native"):
        headroom(predose, signal_curve(COMMON[0]))


def test_the_field_decides_the_t1_that_is_assumed() -> None:
    low, middle, high = (native_time(Acquisition(SPIN, 0.5, magnetic_field=field)) for field in (1.5, 3.0, 7.0))
    assert 1.0 < low < 1.15 and middle == pytest.approx(1.4) and 1.8 < high < 2.0
    assert native_time(Acquisition(GRADIENT)) == pytest.approx(1.4)


def test_a_batch_of_acquisitions_and_fractions() -> None:
    n = len(COMMON)
    predose, rise = torch.rand(n, 1, 4, 5) + 0.1, torch.rand(n, 1, 4, 5)
    fractions = torch.linspace(0.1, 0.5, n).view(-1, 1, 1, 1)
    curve = batch_curve(COMMON)
    full = headroom(predose, curve, native=1.4)
    low = lowdose_of(predose + rise, predose, full, fractions, curve)
    for i, acquisition in enumerate(COMMON):
        one = [image[i : i + 1] for image in (predose + rise, predose, full)]
        torch.testing.assert_close(low[i : i + 1], lowdose_of(*one, float(fractions[i]), acquisition))
    torch.testing.assert_close(highdose_of(low, predose, full, fractions, curve), predose + rise, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("function", [lowdose_of, highdose_of])
@pytest.mark.parametrize("acquisition", COMMON, ids=IDS)
def test_images_of_single_and_double_precision_go_together(
    function: Callable[..., Any], acquisition: Acquisition
) -> None:
    image, predose = torch.rand(2, 1, 4, 5)
    full = headroom(predose, acquisition)
    expected = function(image.double(), predose.double(), full.double(), 0.2, acquisition)
    for one, other in ((image, predose.double()), (image.double(), predose)):
        found = function(one, other, full, 0.2, acquisition)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
