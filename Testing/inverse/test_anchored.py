"""The anchor is the equation, the prior starts as the anchor, and neither fails on what images may hold."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.inverse.anchored import (
    NATIVE_T1,
    AnchoredPrior,
    Conditions,
    anchor,
    closed_form,
)


def conditions(count: int = 1, tr: float = 0.5, flip: float = 90.0, dose: float = 0.2, sigma: float = 0.01) -> Conditions:
    def tensor(value: float) -> torch.Tensor:
        return torch.full((count,), value)

    cosine = max(0.0, math.cos(math.radians(flip)))
    return Conditions(tensor(tr), tensor(cosine), tensor(dose), tensor(sigma), tensor(1.0), tensor(1.0))


def signal(rate: torch.Tensor, tr: float, flip: float) -> torch.Tensor:
    decay = torch.exp(-tr * rate)
    return (1 - decay) / (1 - max(0.0, math.cos(math.radians(flip))) * decay)


@settings(max_examples=40, deadline=None)
@given(
    tr_flip=st.sampled_from([(0.5, 90.0), (0.3, 90.0), (0.008, 20.0), (0.004, 35.0), (1e-3, 90.0)]),
    dose=st.floats(0.1, 0.35),
    added=st.floats(0.0, 4.0),
)
def test_the_closed_form_inverts_the_signal(tr_flip: tuple[float, float], dose: float, added: float) -> None:
    rate = 1 / NATIVE_T1 + torch.tensor([0.0, dose * added, added], dtype=torch.float64)
    before, low, high = 2 * signal(rate, *tr_flip)
    if signal(rate, *tr_flip)[2] > 0.9:  # M is taken higher than the tissue's own where little is missing
        return
    c = conditions(1, *tr_flip, dose=dose)
    c = Conditions(**{f.name: getattr(c, f.name).double() for f in fields(c)})
    shape = (1, 1, 1, 1)
    scale = 0.4 / before  # any scale: only ratios count, but the darkest pixels tell no proton density
    found, equilibrium = closed_form((before * scale).view(shape), ((low - before) * scale).view(shape), c)
    linear = before + (low - before) / dose
    if equilibrium.item() > 2 * scale * (1 + 1e-6) or linear > 2:
        return
    assert found.item() == pytest.approx(float(high * scale), rel=2e-4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), tr=st.floats(1e-4, 3.0), flip=st.floats(1, 90), dose=st.floats(0.02, 1.0))
def test_the_closed_form_is_finite_and_between_no_dose_and_the_linear_law(
    seed: int, tr: float, flip: float, dose: float
) -> None:
    g = torch.Generator().manual_seed(seed)
    before = 2 * torch.rand((2, 1, 8, 8), generator=g) * (torch.rand((2, 1, 8, 8), generator=g) > 0.2)
    difference = torch.randn((2, 1, 8, 8), generator=g)
    found, _ = closed_form(before, difference, conditions(2, tr, flip, dose))
    assert found.isfinite().all()
    linear = before + difference / dose
    assert (found <= linear.clamp_min(0) + 1e-4).all()
    assert (found >= torch.minimum(before, linear.clamp_min(0)) - 1e-4).all()


def test_what_darkens_is_linear() -> None:
    before, difference = torch.full((1, 1, 4, 4), 0.5), torch.full((1, 1, 4, 4), -0.02)
    found, _ = closed_form(before, difference, conditions(dose=0.2))
    assert torch.allclose(found, torch.tensor(0.4))


def test_an_untrained_prior_is_the_anchor() -> None:
    g = torch.Generator().manual_seed(0)
    before = torch.rand((2, 1, 37, 50), generator=g)
    low = before + 0.05 * torch.rand((2, 1, 37, 50), generator=g)
    c = conditions(2)
    assert torch.equal(AnchoredPrior(widths=(8, 8))(before, low, c), anchor(before, low, c).highdose)


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (16, 16), (50, 37)])
def test_any_size_and_finite_whatever_the_images_hold(shape: tuple[int, int]) -> None:
    network = AnchoredPrior(widths=(8, 8))
    torch.nn.init.normal_(network.head.weight)
    for value in (0.0, 1.0, 50.0):
        low = torch.full((1, 1, *shape), value)
        x = network(torch.zeros_like(low), low, conditions(1))
        assert x.shape == low.shape
        assert x.isfinite().all()


def test_slices_do_not_mix() -> None:
    torch.manual_seed(0)
    network = AnchoredPrior(widths=(8, 8))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    before, low = torch.rand(3, 1, 32, 32), torch.rand(3, 1, 32, 32)
    c = replace(conditions(3), dose_fraction=torch.tensor([0.1, 0.2, 0.3]))
    together = network(before, low, c)
    for i in range(3):
        alone = network(before[i : i + 1], low[i : i + 1], c[slice(i, i + 1)])
        assert torch.allclose(together[i : i + 1], alone, atol=1e-4)


def test_the_architecture_builds_the_same_network_again() -> None:
    network = AnchoredPrior(widths=(8, 16), depth=2)
    arguments = dict(network.architecture)
    assert arguments.pop("class") == "AnchoredPrior"
    AnchoredPrior(**arguments).load_state_dict(network.state_dict())
