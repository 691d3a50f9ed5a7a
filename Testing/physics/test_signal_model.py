"""Properties of the signal equations and of the uptake model."""

from __future__ import annotations

import numpy as np
import pytest

from LIPCARLib.physics.signal_model import (
    plasma_concentration,
    relaxation_rate,
    spin_echo,
    spoiled_gradient_echo,
    tofts_concentration,
)

RATES = np.linspace(0.2, 5.0, 25)


def test_spin_echo_is_the_textbook_expression() -> None:
    tr, te, r2 = 0.5, 0.012, 14.0
    expected = 2.0 * (1 - 2 * np.exp(-(tr - te / 2) * RATES) + np.exp(-tr * RATES)) * np.exp(-te * r2)
    np.testing.assert_allclose(spin_echo(2.0, RATES, r2, tr, te), expected, rtol=1e-12)


def test_spin_echo_approaches_its_approximation_as_te_vanishes() -> None:
    def gap(te: float) -> float:
        exact, approximate = (spin_echo(1.0, RATES, 12.0, 0.5, te, exact) for exact in (True, False))
        return float(np.abs(exact - approximate).max())

    assert gap(0.0) == 0.0
    assert gap(1e-4) < 1e-3
    assert gap(0.012) > gap(0.006) > gap(0.003)


def test_spin_echo_limits() -> None:
    assert spin_echo(3.0, 1.0, 0.0, 100.0, 0.0) == pytest.approx(3.0)
    assert spin_echo(3.0, 1.0, 10.0, 0.0, 0.0) == 0.0
    assert np.all(np.diff(spin_echo(1.0, RATES, 10.0, 0.5, 0.01)) > 0.0)
    assert np.all(np.diff(spin_echo(1.0, 1.0, RATES, 0.5, 0.01)) < 0.0)


def test_gradient_echo_limits() -> None:
    # Fully relaxed, or excited by 90 degrees, the steady state is known without the formula.
    assert spoiled_gradient_echo(2.0, 1.0, 0.0, 100.0, 0.0, np.pi / 6) == pytest.approx(1.0)
    right_angle = spoiled_gradient_echo(1.0, RATES, 0.0, 0.2, 0.0, np.pi / 2)
    np.testing.assert_allclose(right_angle, 1.0 - np.exp(-0.2 * RATES), rtol=1e-12)
    assert np.all(np.diff(spoiled_gradient_echo(1.0, RATES, 20.0, 0.01, 0.003, 0.35)) > 0.0)


def test_gradient_echo_is_brightest_at_the_ernst_angle() -> None:
    flips = np.linspace(0.01, 1.5, 3000)
    signals = [spoiled_gradient_echo(1.0, 0.8, 0.0, 0.02, 0.0, flip) for flip in flips]
    assert flips[int(np.argmax(signals))] == pytest.approx(np.arccos(np.exp(-0.02 * 0.8)), abs=1e-3)


def test_gradient_echo_is_a_fixed_point_of_the_bloch_recursion() -> None:
    flip, e1, mz = 0.4, np.exp(-0.02 * 1.3), 1.0
    for _ in range(3000):
        mz = 1.0 - (1.0 - mz * np.cos(flip)) * e1
    assert spoiled_gradient_echo(1.0, 1.3, 0.0, 0.02, 0.0, flip) == pytest.approx(mz * np.sin(flip), rel=1e-9)


def test_relaxation_rate() -> None:
    assert relaxation_rate(2.0, 9.0, 0.0) == 0.5
    assert relaxation_rate(2.0, 9.0, 0.1) == pytest.approx(1.4)


def test_float32_stays_float32() -> None:
    x = np.full(4, 0.7, dtype=np.float32)
    assert spin_echo(x, x, x, 0.5, 0.01).dtype == np.float32
    assert spoiled_gradient_echo(x, x, x, 0.01, 0.003, 0.3).dtype == np.float32
    assert relaxation_rate(x, 9.0, x).dtype == np.float32


def test_plasma_curve() -> None:
    assert plasma_concentration(0.0, 0.1) == pytest.approx(0.877)
    assert plasma_concentration(-1.0, 0.1) == 0.0
    assert np.all(np.diff(plasma_concentration(np.linspace(0, 60, 100), 0.1)) < 0.0)


# The third pair has k_ep equal to Weinmann's fast rate, where the closed form is 0 / 0.
@pytest.mark.parametrize(("k_trans", "v_e"), [(0.2, 0.3), (0.01, 0.4), (0.0144, 0.1), (1.0, 0.05), (0.0, 0)])
def test_tofts_closed_form_equals_the_convolution(k_trans: float, v_e: float) -> None:
    end, dose, v_p = 7.0, 0.05, 0.04
    u = np.linspace(0.0, end, 200001)
    k_ep = k_trans / v_e if v_e else 0.0
    integrand = plasma_concentration(u, dose) * np.exp(-k_ep * (end - u))
    integral = float(np.sum(0.5 * (integrand[1:] + integrand[:-1])) * (u[1] - u[0]))
    expected = v_p * float(plasma_concentration(end, dose)) + k_trans * integral
    assert float(tofts_concentration(end, dose, k_trans, v_e, v_p)) == pytest.approx(expected, rel=1e-6)


def test_tofts_is_linear_in_the_dose_and_grows_with_leakage() -> None:
    minutes = np.linspace(0.5, 10.0, 8)
    once, twice = (tofts_concentration(minutes, dose, 0.1, 0.3, 0.02) for dose in (0.02, 0.04))
    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-12)
    leaks = np.array([0.0, 0.01, 0.05, 0.2])
    assert np.all(np.diff(tofts_concentration(5.0, 0.05, leaks, 0.3, 0.02)) > 0.0)


def test_tofts_refuses_leakage_into_no_space() -> None:
    with pytest.raises(ValueError, match="v_e"):
        tofts_concentration(5.0, 0.05, 0.1, 0.0, 0.02)
