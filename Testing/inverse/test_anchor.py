"""The anchor: what it makes of simulated tissue, of noise, and of what darkened."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from LIPCARLib.inverse.anchor import anchor, denoised_pair, noise_between
from LIPCARLib.inverse.conditions import Conditions
from LIPCARLib.physics import Acquisition, PulseSequence, headroom, lowdose_of
from LIPCARLib.physics.dose import DRIFT

SPIN, GRADIENT, INVERSION = PulseSequence
SEQUENCES = [
    Acquisition(SPIN, 0.5, 0.01),
    Acquisition(GRADIENT, 0.008, flip_angle=20.0),
    Acquisition(INVERSION, 2.3, inversion_time=0.9, flip_angle=9.0),
]


@pytest.fixture
def head() -> tuple[torch.Tensor, torch.Tensor]:
    """x_P and x_H, (2, 1, 64, 64): regions of different brightness, some of which enhance."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    predose = torch.where(x**2 + y**2 < 0.8, 0.4 + 0.1 * (x > 0), 0.0)
    highdose = predose + torch.where((x - 0.3) ** 2 + y**2 < 0.05, 0.5, 0.0) + 0.1 * ((x + 0.4) ** 2 + y**2 < 0.04)
    both = torch.stack((predose, highdose))[:, None, None].expand(2, 2, 1, 64, 64).contiguous()
    return both[0], both[1]


def told(slices: int, acquisition: Acquisition) -> Conditions:
    return Conditions.of_examination(slices, acquisition, 0.2, assumed_fraction=0.2)


def noisy(image: torch.Tensor, sigma: float, seed: int) -> torch.Tensor:
    noise = sigma * torch.randn(2, *image.shape, generator=torch.Generator().manual_seed(seed))
    return torch.hypot(image + noise[0], noise[1])


@pytest.mark.parametrize("acquisition", SEQUENCES, ids=lambda a: a.sequence.value)
def test_without_noise_it_is_the_truth(acquisition: Acquisition, head: tuple[torch.Tensor, torch.Tensor]) -> None:
    predose, highdose = head
    full = torch.maximum(headroom(predose, acquisition), highdose / 0.8)
    lowdose = lowdose_of(highdose, predose, full, 0.2, acquisition)
    found = anchor(lowdose, predose, told(2, acquisition))
    assert (found.highdose - highdose).abs().max() < 0.02  # T10 of what enhances most is not the one assumed
    torch.testing.assert_close(found.predose, predose)
    torch.testing.assert_close(found.lowdose, lowdose)
    assert (found.headroom > torch.maximum(predose, lowdose) - 1e-6).all()


@pytest.mark.parametrize("acquisition", SEQUENCES, ids=lambda a: a.sequence.value)
def test_with_noise_it_is_nearer_than_the_line(
    acquisition: Acquisition, head: tuple[torch.Tensor, torch.Tensor]
) -> None:
    predose, highdose = head
    full = torch.maximum(headroom(predose, acquisition), highdose / 0.8)
    lowdose = noisy(lowdose_of(highdose, predose, full, 0.2, acquisition), 0.015, 0)
    before = noisy(predose, 0.015, 1)
    body = predose > 0

    def error(image: torch.Tensor) -> float:
        return float((image - highdose)[body].square().mean().sqrt())

    found = error(anchor(lowdose, before, told(2, acquisition)).highdose)
    assert found < 0.5 * error(before + (lowdose - before) / 0.2)
    assert found < 0.6 * error(lowdose)


@pytest.mark.parametrize("sigma", [0.004, 0.015, 0.05])
@pytest.mark.parametrize("interpolated", [False, True])
def test_noise_is_measured_where_texture_hides_it(sigma: float, interpolated: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    texture = 0.5 + 0.05 * torch.randn(2, 1, 96, 96, generator=generator)
    images = [texture + sigma * torch.randn(2, 1, 96, 96, generator=generator) for _ in range(2)]
    if interpolated:
        images = [torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear") for image in images]
        sigma *= 0.625  # what is left of white noise
    found = torch.maximum(noise_between(*images), noise_between(*images, apart=2))  # as the anchor does
    assert found.shape == (2,)
    assert ((found > (0.65 if interpolated else 0.9) * sigma) & (found < 1.1 * sigma)).all()


def test_no_body_no_noise() -> None:
    assert noise_between(torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)).tolist() == [0.0]


def test_slices_do_not_mix(head: tuple[torch.Tensor, torch.Tensor]) -> None:
    """A batch gives what its slices give alone; noise, fraction and T10 may differ from slice to slice."""
    predose, highdose = (noisy(image, 0.02, seed) for seed, image in enumerate(head))
    sigma, fraction, native = torch.tensor([0.01, 0.03]), torch.tensor([0.2, 0.3]), torch.full_like(predose, 1.2)
    native[1] = 0.9
    conditions = replace(told(2, SEQUENCES[0]), dose_fraction=fraction, native=native)
    together = anchor(highdose, predose, conditions, sigma)
    for index in range(2):
        one = slice(index, index + 1)
        alone = anchor(highdose[one], predose[one], conditions[one], sigma[one])
        torch.testing.assert_close(together.highdose[one], alone.highdose)


def test_what_moved_away_is_not_magnified(head: tuple[torch.Tensor, torch.Tensor]) -> None:
    predose, _ = head
    found = anchor(0.7 * predose, predose, told(2, SEQUENCES[1]))
    torch.testing.assert_close(found.highdose, (0.7 - 0.8 * DRIFT) * predose)


def test_noise_neither_brightens_nor_darkens_what_does_not_enhance() -> None:
    """A bend at x_P would turn what noise is left into a brightening."""
    flat = torch.full((8, 1, 96, 96), 0.4)
    found = anchor(noisy(flat, 0.02, 0), noisy(flat, 0.02, 1), told(8, SEQUENCES[1])).highdose
    assert abs(float((found - noisy(flat, 0.02, 2)).mean())) < 0.002


def test_without_noise_nothing_is_smoothed(head: tuple[torch.Tensor, torch.Tensor]) -> None:
    predose, highdose = head
    before, after = denoised_pair(highdose, predose, 0.0)
    torch.testing.assert_close(before, predose)
    torch.testing.assert_close(after, highdose)
