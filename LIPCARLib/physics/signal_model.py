"""The physics of a contrast-enhanced T1-weighted image: sequences, relaxivity and uptake of the agent.

Every function is pure and broadcasts its arguments like numpy does; float32 in gives float32 out. Times are
in seconds unless a name says minutes, rates in 1/s, concentrations in mM, angles in radians.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Bi-exponential plasma curve of Gd-DTPA, Weinmann et al. 1984 as used by Tofts & Kermode 1991:
# amplitudes in kg/l, decay rates in 1/min.
WEINMANN_AMPLITUDES = (3.99, 4.78)
WEINMANN_RATES = (0.144, 0.0111)


def spin_echo(m0: Any, r1: Any, r2: Any, tr: float, te: float, exact: bool = True) -> Any:
    """Signal of a spin echo with a 90 degree excitation.

    Exact:        S = m0 (1 - 2 exp(-(tr - te/2) r1) + exp(-tr r1)) exp(-te r2)
    Approximate:  S = m0 (1 - exp(-tr r1)) exp(-te r2), the limit te << tr.

    Args:
        m0: equilibrium magnetization times receiver gain, any shape, >= 0.
        r1, r2: relaxation rates in 1/s, shapes that broadcast with ``m0``.
        tr, te: repetition and echo time in seconds, 0 <= te / 2 <= tr.

    Returns:
        Signal of the broadcast shape, in the unit of ``m0``. The exact form may be slightly negative only
        where te is of the order of tr.

    Source: Bloch equations; e.g. Bernstein, King, Zhou, Handbook of MRI Pulse Sequences, 2004, section 14.3.
    """
    recovered = -np.expm1(-tr * r1)
    if exact:
        # 1 - 2 e^{-(tr - te/2) r1} + e^{-tr r1} = (1 - E1) - 2 E1 (e^{te/2 r1} - 1): no cancellation at
        # small te.
        recovered = recovered - 2.0 * np.exp(-tr * r1) * np.expm1(0.5 * te * r1)
    return m0 * recovered * np.exp(-te * r2)


def spoiled_gradient_echo(m0: Any, r1: Any, r2_star: Any, tr: float, te: float, flip: float) -> Any:
    """Steady-state signal of an ideally spoiled gradient echo (FLASH, SPGR).

    S = m0 sin(flip) (1 - E1) / (1 - cos(flip) E1) exp(-te r2_star),  E1 = exp(-tr r1)

    Args:
        m0: equilibrium magnetization times receiver gain, any shape, >= 0.
        r1, r2_star: relaxation rates in 1/s, shapes that broadcast with ``m0``.
        tr, te: repetition and echo time in seconds; flip: excitation angle in radians, 0 to pi.

    Returns:
        Signal of the broadcast shape, in the unit of ``m0``, >= 0.

    Source: Ernst & Anderson 1966; Haase et al. 1986.
    """
    e1 = np.exp(-tr * r1)
    return m0 * (float(np.sin(flip)) * (1.0 - e1) / (1.0 - float(np.cos(flip)) * e1)) * np.exp(-te * r2_star)


def relaxation_rate(native_time: Any, relaxivity: float, concentration: Any) -> Any:
    """Relaxation rate in 1/s of a tissue that holds agent: R = 1 / T0 + r C (fast exchange).

    Args:
        native_time: T10 or T20 in seconds, > 0, any shape.
        relaxivity: r1 or r2 in 1/(s mM).
        concentration: agent per volume of tissue in mM, >= 0, a shape that broadcasts with ``native_time``.

    Source: Solomon 1955, Bloembergen 1957; the linear law of every relaxivity table.
    """
    return 1.0 / native_time + relaxivity * concentration


def plasma_concentration(minutes: Any, dose: float) -> Any:
    """Agent in plasma after a bolus at time 0: C_p(t) = dose sum_i a_i exp(-m_i t), and 0 before.

    Args:
        minutes: time since the injection, any shape.
        dose: injected dose in mmol per kg of body weight.

    Returns:
        Concentration in mM, of the shape of ``minutes``.

    Source: Weinmann et al. 1984; Tofts & Kermode 1991.
    """
    minutes = np.asarray(minutes, dtype=np.float64)
    since = np.maximum(minutes, 0.0)
    curve = sum(a * np.exp(-m * since) for a, m in zip(WEINMANN_AMPLITUDES, WEINMANN_RATES, strict=True))
    return np.where(minutes < 0.0, 0.0, dose * curve)


def tofts_concentration(minutes: Any, dose: float, k_trans: Any, v_e: Any, v_p: Any) -> Any:
    """Agent in tissue by the extended Tofts model, in closed form for the plasma curve above.

    C_t(t) = v_p C_p(t) + k_trans int_0^t C_p(u) exp(-k_ep (t - u)) du,   k_ep = k_trans / v_e, and with
    C_p = dose sum_i a_i exp(-m_i t) the integral is dose sum_i a_i (exp(-m_i t) - exp(-k_ep t)) / (k_ep -
    m_i).

    Args:
        minutes: time since the injection, any shape.
        dose: injected dose in mmol/kg.
        k_trans: transfer constant in 1/min, >= 0; 0 is an intact barrier.
        v_e: extravascular extracellular volume fraction, 0 to 1; may be 0 only where ``k_trans`` is 0.
        v_p: plasma volume fraction, 0 to 1.

    Returns:
        Concentration in mM of the broadcast shape.

    Source: Tofts & Kermode 1991; Tofts et al. 1999.
    """
    k_trans, v_e = np.asarray(k_trans, dtype=np.float64), np.asarray(v_e, dtype=np.float64)
    if np.any((v_e <= 0.0) & (k_trans > 0.0)):
        raise ValueError("tofts_concentration: v_e must be positive wherever k_trans is positive")
    since = np.maximum(np.asarray(minutes, dtype=np.float64), 0.0)
    k_ep = np.divide(k_trans, v_e, out=np.zeros(np.broadcast(k_trans, v_e).shape), where=v_e > 0.0)
    integral = np.zeros(())
    for amplitude, rate in zip(WEINMANN_AMPLITUDES, WEINMANN_RATES, strict=True):
        # The difference quotient written with expm1 stays exact where k_ep meets a plasma rate.
        exponent = (k_ep - rate) * since
        small = np.abs(exponent) < 1e-8
        quotient = np.where(small, 1.0, -np.expm1(-exponent) / np.where(small, 1.0, exponent))
        integral = integral + amplitude * since * np.exp(-rate * since) * quotient
    return v_p * plasma_concentration(minutes, dose) + k_trans * dose * integral
