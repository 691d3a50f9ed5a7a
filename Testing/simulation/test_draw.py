"""Properties of drawn examinations: reproducible, of the physics that they claim, as wide as training needs them."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import pytest
import torch
from torch import Tensor

from LIPCARLib.simulation.draw import ASSUMED_DOSE, Drawn, Parameters, draw_batch, draw_images, draw_parameters

COUNT, SIZE = 64, 64
IMAGES = ("predose", "lowdose", "highdose")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def example() -> Drawn:
    return draw_batch(generator(), COUNT, SIZE)


def quiet(parameters: Parameters) -> Parameters:
    """The same examinations without what is neither tissue nor agent."""
    still = {name: torch.zeros_like(getattr(parameters, name)) for name in ("shift", "gain", "ghost", "correlated")}
    return replace(parameters, noise=torch.full_like(parameters.noise, 1e-6), **still)


def rise(image: Tensor, drawn: Drawn) -> Tensor:
    return (image - drawn.predose)[drawn.body]


def test_the_same_generator_state_draws_the_same_batch() -> None:
    again = draw_batch(generator(), COUNT, SIZE)
    for role in IMAGES:
        assert torch.equal(getattr(again, role), getattr(example(), role))
    for field in fields(Parameters):
        assert torch.equal(getattr(again.parameters, field.name), getattr(example().parameters, field.name))
    assert not torch.equal(draw_batch(generator(1), COUNT, SIZE).lowdose, example().lowdose)


def test_parameters_come_first_and_images_second() -> None:
    g = generator()
    parameters = draw_parameters(g, COUNT)
    assert torch.equal(draw_images(g, parameters, SIZE).lowdose, example().lowdose)


@pytest.mark.parametrize("role", IMAGES)
def test_images_are_magnitudes_in_model_scale(role: str) -> None:
    image = getattr(example(), role)
    assert image.shape == (COUNT, 1, SIZE, SIZE)
    assert image.isfinite().all()
    assert (image >= 0).all()
    assert 0.05 < float(image[example().body].median()) < 0.6


def test_ranges_are_those_of_examinations() -> None:
    p = draw_parameters(generator(3), 4000)
    spin, gradient = (p.flip == 90) & (p.repetition_time > 0.1), p.flip < 90
    linear = ~spin & ~gradient
    assert all(0.1 < kind.float().mean() < 0.6 for kind in (spin, gradient, linear))
    assert 0.3 <= p.repetition_time[spin].min() and p.repetition_time[spin].max() <= 0.8
    assert 0.004 <= p.repetition_time[gradient].min() and p.repetition_time[gradient].max() <= 0.012
    assert 9 <= p.flip[gradient].min() and p.flip[gradient].max() <= 40
    assert 0.1 <= p.dose_fraction.min() and p.dose_fraction.max() <= 0.35
    assert 0.003 <= p.noise.min() and p.noise.max() <= 0.06
    assert p.shift.abs().max() < 1


def test_what_is_told_is_true_mostly_and_flagged_where_it_is_assumed() -> None:
    p = draw_parameters(generator(3), 4000)
    untold = p.dose_told == 0
    assert 0.1 < untold.float().mean() < 0.4
    assert (p.told_dose_fraction[untold] == ASSUMED_DOSE).all()
    right = (p.told_dose_fraction == p.dose_fraction)[~untold].float().mean()
    assert 0.7 < right < 0.99  # a header or a user may err
    untold = p.sequence_told == 0
    assert 0.1 < untold.float().mean() < 0.4
    assert len(p.told_repetition_time[untold].unique()) == 1


def test_the_agent_only_brightens_and_the_low_dose_less_but_for_t2() -> None:
    g = generator(5)
    parameters = quiet(draw_parameters(g, COUNT))
    parameters = replace(parameters, echo_time=torch.zeros(COUNT))
    drawn = draw_images(g, parameters, SIZE)
    kept = drawn.parameters.gain.sum(1) == 0
    assert kept.all()
    low, high = (drawn.lowdose - drawn.predose), (drawn.highdose - drawn.lowdose)
    # What the images of a pair differ by without the agent is drawn with them: three hundredths at most, as noise.
    assert (low > -0.15).all() and (high > -0.3).all()
    strong = (drawn.highdose - drawn.predose > 0.3) & drawn.body
    assert (low[strong] > 0).float().mean() > 0.99


def test_a_linear_law_gives_the_share_that_is_the_dose_fraction() -> None:
    g = generator(6)
    parameters = quiet(draw_parameters(g, COUNT))
    linear = replace(parameters, repetition_time=torch.full((COUNT,), 1e-3), flip=torch.full((COUNT,), 90.0))
    linear = replace(linear, echo_time=torch.zeros(COUNT))
    drawn = draw_images(g, linear, SIZE)
    fraction = linear.dose_fraction.view(-1, 1, 1, 1)
    expected = drawn.predose + fraction * (drawn.highdose - drawn.predose)
    assert (drawn.lowdose - expected)[drawn.body].abs().max() < 0.03 * drawn.highdose.max()


def test_noise_is_what_the_parameters_say() -> None:
    g = generator(7)
    parameters = replace(
        draw_parameters(g, COUNT), noise=torch.full((COUNT,), 0.02), masked=torch.zeros(COUNT), ghost=torch.zeros(COUNT, 2)
    )
    drawn = draw_images(g, parameters, SIZE)
    air = (drawn.highdose == 0) & ~drawn.body
    level = drawn.lowdose[air].square().mean().sqrt()
    assert float(level) == pytest.approx(0.02 * 2**0.5, rel=0.1)


def test_masked_examinations_are_zero_outside_the_body() -> None:
    drawn = example()
    masked = drawn.parameters.masked.view(-1, 1, 1, 1) > 0
    for role in IMAGES:
        assert (getattr(drawn, role)[masked & ~drawn.body] == 0).all()


def test_draws_are_wide() -> None:
    """Quiet examinations and busy ones, single bright pixels and whole organs, enhancement from none to most."""
    drawn = draw_batch(generator(8), 128, SIZE)
    share = torch.stack([(rise > 0.15)[body].float().mean() for rise, body in
                         zip(drawn.highdose - drawn.predose, drawn.body, strict=True) if body.any()])
    assert share.quantile(0.1) < 0.03
    assert share.quantile(0.9) > 0.3
    assert (drawn.highdose - drawn.predose).max() > 1
