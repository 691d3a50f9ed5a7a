"""Properties of drawn examinations: reproducible, of the physics that they claim, as wide as training needs them."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import pytest
import torch

from LIPCARLib.physics import DOSE_FRACTION, Acquisition, PulseSequence
from LIPCARLib.simulation.cells import LINEAR
from LIPCARLib.simulation.draw import Drawn, Parameters, draw_batch, draw_images, draw_parameters
from LIPCARLib.simulation.subject import draw_subject

COUNT, SIZE = 64, 64
IMAGES = ("predose", "lowdose", "highdose")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def example() -> Drawn:
    return draw_batch(generator(), COUNT, SIZE)


@cache
def many() -> Parameters:
    return draw_parameters(generator(3), 2000)


def quiet(parameters: Parameters) -> Parameters:
    """The same examinations without what is neither tissue nor agent."""
    still = {
        name: torch.zeros_like(getattr(parameters, name)) for name in ("shift", "drift", "gain", "ghost", "correlated")
    }
    return replace(parameters, noise=torch.full_like(parameters.noise, 1e-6), **still)


def test_the_same_generator_state_draws_the_same_batch() -> None:
    g = generator()
    again = draw_images(g, draw_parameters(g, COUNT), SIZE)  # parameters come first, images second
    for role in IMAGES:
        assert torch.equal(getattr(again, role), getattr(example(), role))
    for field in fields(Parameters):
        value, other = (getattr(drawn.parameters, field.name) for drawn in (again, example()))
        assert torch.equal(value, other) if torch.is_tensor(value) else value == other
    assert not torch.equal(draw_batch(generator(1), 2, SIZE).lowdose, draw_batch(generator(2), 2, SIZE).lowdose)


@pytest.mark.parametrize("role", IMAGES)
def test_images_are_magnitudes_in_model_scale(role: str) -> None:
    image = getattr(example(), role)
    assert image.shape == (COUNT, 1, SIZE, SIZE)
    assert image.isfinite().all()
    assert (image >= 0).all()
    assert 0.05 < float(image[example().body].median()) < 0.6


def test_ranges_are_those_of_examinations() -> None:
    p = many()
    acquisitions = [a for a, head in zip(p.acquisitions, p.heads, strict=True) if head is None]
    kinds = [a.sequence for a in acquisitions if a != LINEAR]
    assert all(kinds.count(kind) > 50 for kind in PulseSequence)
    assert len(kinds) < len(acquisitions) - 50
    spin = [a.repetition_time for a in acquisitions if a.sequence is PulseSequence.SPIN_ECHO]
    assert min(spin) >= 0.3 and max(spin) <= 0.8
    gradient = [a for a in acquisitions if a.sequence is PulseSequence.GRADIENT_ECHO and a != LINEAR]
    assert all(0.004 <= a.repetition_time <= 0.012 and 9 <= a.flip_angle <= 40 for a in gradient)
    assert p.dose_fraction.min() >= 0.1 and p.dose_fraction.max() <= 0.35
    assert p.noise.min() >= 0.003 and p.noise.max() <= 0.06
    assert p.shift.abs().max() < 1


def test_what_is_told_is_true_mostly_and_flagged_where_it_is_assumed() -> None:
    p = many()
    untold = p.dose_told == 0
    assert 0.1 < untold.float().mean() < 0.4
    assert (p.told_dose_fraction[untold] == DOSE_FRACTION).all()
    right = (p.told_dose_fraction == p.dose_fraction)[~untold].float().mean()
    assert 0.7 < right < 0.99  # a header or a user may err
    told = p.sequence_told.bool().tolist()
    assert 0.6 < sum(told) / len(told) < 0.9
    pairs = list(zip(told, p.acquisitions, p.told_acquisitions, strict=True))
    assert {found for known, _, found in pairs if not known} == {Acquisition.assumed()}
    assert all(true.sequence is found.sequence for known, true, found in pairs if known)
    wrong = [true.repetition_time != found.repetition_time for known, true, found in pairs if known]
    assert 0 < sum(wrong) / len(wrong) < 0.3


def test_anatomies_come_with_their_own_acquisition_and_dose() -> None:
    p = example().parameters
    heads = [(row, draw_subject(seed, 0)) for row, seed in enumerate(p.heads) if seed is not None]
    assert 0.05 < len(heads) / COUNT < 0.3
    for row, subject in heads:
        assert p.acquisitions[row].repetition_time == subject.sequence.tr
        assert p.dose_fraction[row].item() == pytest.approx(subject.dose_fraction)
        assert example().body[row].any()


def test_what_enhances_strongly_brightens_with_the_low_dose_too() -> None:
    g = generator(5)
    drawn = draw_images(g, quiet(draw_parameters(g, COUNT)), SIZE)
    low, high = drawn.lowdose - drawn.predose, drawn.highdose - drawn.predose
    strong = (high > 0.3) & drawn.body
    assert strong.sum() > 1000
    assert (low[strong] > 0).float().mean() > 0.99
    # Saturation: the low dose has more than its share of the enhancement.
    fraction = drawn.parameters.dose_fraction.view(-1, 1, 1, 1).expand_as(low)
    assert (low[strong] > 0.9 * (fraction * high)[strong]).float().mean() > 0.95


def test_a_linear_law_gives_the_share_that_is_the_dose_fraction() -> None:
    g = generator(6)
    drawn = draw_images(g, replace(quiet(draw_parameters(g, COUNT)), acquisitions=(LINEAR,) * COUNT), SIZE)
    fraction = drawn.parameters.dose_fraction.view(-1, 1, 1, 1)
    expected = drawn.predose + fraction * (drawn.highdose - drawn.predose)
    error = (drawn.lowdose - expected)[drawn.body & (drawn.highdose > drawn.predose)]
    assert error.abs().quantile(0.99) < 0.02


def test_noise_is_what_the_parameters_say() -> None:
    g = generator(7)
    bare = {"noise": torch.full((COUNT,), 0.02), "masked": torch.zeros(COUNT), "ghost": torch.zeros(COUNT, 2)}
    drawn = draw_images(g, replace(draw_parameters(g, COUNT), **bare), SIZE)
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
    rise = drawn.highdose - drawn.predose
    shares = [(slice_ > 0.15)[body].float().mean() for slice_, body in zip(rise, drawn.body, strict=True) if body.any()]
    share = torch.stack(shares)
    assert share.quantile(0.1) < 0.03
    assert share.quantile(0.9) > 0.3
    assert rise.max() > 1
