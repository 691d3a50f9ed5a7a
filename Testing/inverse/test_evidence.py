"""What `auto` measures: bands, expected residuals, trust, what enhances, noise, the body."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import evidence
from LIPCARLib.inverse.regularizers import GenTV

CPU = torch.device("cpu")


def everywhere(image: Tensor) -> Tensor:
    return torch.ones_like(image, dtype=torch.bool)


# Bands


@hypothesis_settings(deadline=None, max_examples=20)
@given(height=st.integers(8, 40), width=st.integers(8, 40))
def test_bands_add_up_and_their_energies_too(height: int, width: int) -> None:
    assert torch.allclose(evidence.bands(height, width, CPU).sum(0), torch.ones(()), atol=1e-5)
    torch.manual_seed(0)
    image = torch.randn(2, 1, height, width)
    energies = evidence.band_energies(image, everywhere(image))
    assert torch.allclose(energies.sum(1), image.square().mean((1, 2, 3)), rtol=1e-4)
    assert (energies >= -1e-7).all()
    assert float(evidence.noise_energies(height, width, CPU).sum()) == pytest.approx(1, abs=1e-5)


def test_white_noise_has_the_energies_that_are_expected_of_it() -> None:
    torch.manual_seed(1)
    noise = 0.3 * torch.randn(8, 1, 128, 128)
    found = evidence.band_energies(noise, everywhere(noise)).mean(0)
    expected = 0.09 * evidence.noise_energies(128, 128, CPU)
    assert torch.allclose(found[:4], expected[:4], rtol=0.15)


def test_gaussian_is_what_it_says() -> None:
    """Against a Gaussian drawn in space."""
    place = np.minimum(np.arange(64), 64 - np.arange(64))
    kernel = np.exp(-0.5 * (place / 4.0) ** 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    found = torch.fft.irfft2(evidence.gaussian(64, 64, 4.0, CPU), s=(64, 64)).numpy()
    np.testing.assert_allclose(found, kernel, atol=1e-6)


# Trust


def test_noise_is_not_trusted_and_a_region_is() -> None:
    torch.manual_seed(2)
    noise = 0.02 * torch.randn(1, 1, 128, 128)
    error = torch.full((5,), 1e-6)
    assert evidence.fine_scale_trust(noise, everywhere(noise), 0.022, error).item() == 0
    region = torch.zeros_like(noise)
    region[..., 40:80, 40:80] = 0.03
    assert evidence.fine_scale_trust(noise + region, everywhere(noise), 0.022, error).item() > 0.8
    # The same region is nothing new to an operator that is known to be that far off.
    known = evidence.band_energies(region, everywhere(region))[0]
    assert evidence.fine_scale_trust(region, everywhere(region), 0.022, known).item() < 0.05


def test_trust_rises_with_the_error_of_the_prior() -> None:
    torch.manual_seed(3)
    noise = 0.02 * torch.randn(1, 1, 96, 96)
    region = torch.zeros_like(noise)
    region[..., 30:60, 30:60] = 1
    levels = [
        evidence.fine_scale_trust(noise + a * region, everywhere(noise), 0.022, torch.full((5,), 1e-5)).item()
        for a in (0, 0.02, 0.04, 0.08)
    ]
    assert levels == sorted(levels) and levels[-1] > 0.9


def test_the_judge_sees_all_but_the_finest_scales_and_no_gain_that_was_undone() -> None:
    usual, undone = (evidence.scale_weights(128, 96, torch.device("cpu"), gain) for gain in (1.0, 1.05))
    assert usual.shape == undone.shape == (1, 1, 128, 49)
    for weight in (usual, undone):
        assert weight.min() >= 0 and weight.max() <= 1
    assert usual[0, 0, 0, 0] == 1 and undone[0, 0, 0, 0] == 0
    assert usual[0, 0, 64, 48] < 0.01
    # A region of 30 pixels is seen nearly in full either way, one of the image's size only where no gain was undone.
    assert usual[0, 0, 8, 0] > 0.9 and undone[0, 0, 8, 0] > 0.8
    assert usual[0, 0, 1, 0] > 0.99 and undone[0, 0, 1, 0] < 0.5


# What enhances


def test_what_enhances_is_found_and_noise_and_gain_are_not() -> None:
    torch.manual_seed(10)
    predose = torch.full((3, 1, 96, 96), 0.4)
    change = torch.zeros_like(predose)
    change[0, :, 40:60, 40:60] = 0.1  # a tumor
    change[1] = 0.05  # a gain, or tissue that enhances everywhere
    change[2, :, 40:60, 40:60] = -0.1
    sigma = 0.02
    low, pre = (image + sigma * torch.randn_like(image) for image in (predose + change, predose))
    found = evidence.enhancing(low, pre, everywhere(low), sigma)
    assert found.min() >= 0 and found.max() <= 1
    assert found[0, :, 44:56, 44:56].min() > 0.9
    assert found[0, :, :30].max() < 0.5 and found[0, :, :30].mean() < 0.01
    assert found[1].mean() < 0.01 and found[2].mean() < 0.01
    # An edge that lies a quarter of a pixel beside its place shows nothing, however bright; a tumor in it does.
    edge = torch.zeros_like(predose)
    edge[..., 30:] = 0.6
    beside = (3 * edge + torch.roll(edge, -1, -1)) / 4
    assert evidence.enhancing(beside, edge, everywhere(low), 0.002)[..., 20:40].max() < 0.05
    assert evidence.enhancing(beside + change, edge, everywhere(low), 0.002)[0, :, 44:56, 44:56].min() > 0.9
    # Twice the noise, less of it is sure; outside the body nothing is.
    assert evidence.enhancing(low, pre, everywhere(low), 2 * sigma)[0].sum() < found[0].sum()
    body = everywhere(low)
    body[..., 50:] = False
    assert not evidence.enhancing(low, pre, body, sigma)[..., 50:].any()
    # Slices do not mix.
    alone = evidence.enhancing(low[:1], pre[:1], everywhere(low)[:1], sigma)
    torch.testing.assert_close(alone, found[:1])


# Noise in the prior


@pytest.mark.parametrize("sigma", [0.01, 0.04])
def test_noise_is_measured_and_taken_out(sigma: float) -> None:
    torch.manual_seed(8)
    clean = torch.zeros(2, 1, 96, 96)
    clean[..., 20:70, 20:70] = 0.4
    clean[..., 40:50, 40:50] = 0.7
    noisy = (clean + sigma * torch.randn_like(clean)).clamp_min(0)
    inside = clean > 0
    assert torch.allclose(evidence.noise_left(noisy, inside), torch.tensor(sigma), rtol=0.08)
    rms = [float((image - clean)[inside].square().mean().sqrt()) for image in (noisy, evidence.denoised(noisy, inside))]
    assert rms[1] < 0.6 * rms[0]
    # What has no noise stays, and slices do not mix.
    assert torch.equal(evidence.denoised(clean, inside), clean)
    mixed = evidence.denoised(torch.cat((noisy[:1], clean[:1])), inside)
    assert torch.equal(mixed[1], clean[0])
    assert evidence.noise_left(noisy, torch.zeros_like(inside)).tolist() == [0, 0]


def test_denoising_has_converged() -> None:
    torch.manual_seed(9)
    noisy = (0.4 + 0.03 * torch.randn(1, 1, 64, 64)).clamp_min(0)
    inside = everywhere(noisy)
    weight = evidence.DENOISING * evidence.noise_left(noisy, inside)
    long = GenTV(torch.zeros_like(noisy)).prox(noisy, weight, 0.0, 5000)
    left, taken = (evidence.denoised(noisy, inside) - long).norm(), (noisy - long).norm()
    assert left < 0.03 * taken


def test_body_is_tissue_not_noise() -> None:
    torch.manual_seed(4)
    floor = 0.12
    image = torch.hypot(*(floor / 2**0.5 * torch.randn(2, 1, 1, 64, 64)))
    image[..., 20:40, 20:40] += 0.4
    inside = evidence.body(image, floor)
    assert inside[..., 22:38, 22:38].all()
    assert inside.sum() < 26 * 26


@pytest.mark.parametrize("card", [{}, {"forward_operator_error": {"widths": [1.0], "mean_squares": [1, 2]}}])
def test_a_card_that_does_not_tell_is_explained(card: dict) -> None:
    with pytest.raises(LIPCARError, match=r"'mine' does not say .* --record"):
        evidence.operator_error({"name": "mine", **card})
