"""The body, the noise in an image, and the image without it."""

from __future__ import annotations

import pytest
import torch

from LIPCARLib.inverse.denoising import DENOISING, body, denoised, noise_left
from LIPCARLib.inverse.regularizers import GenTV


@pytest.mark.parametrize("sigma", [0.01, 0.04])
def test_noise_is_measured_and_taken_out(sigma: float) -> None:
    torch.manual_seed(8)
    clean = torch.zeros(2, 1, 96, 96)
    clean[..., 20:70, 20:70] = 0.4
    clean[..., 40:50, 40:50] = 0.7
    noisy = (clean + sigma * torch.randn_like(clean)).clamp_min(0)
    inside = clean > 0
    assert torch.allclose(noise_left(noisy, inside), torch.tensor(sigma), rtol=0.08)
    rms = [float((image - clean)[inside].square().mean().sqrt()) for image in (noisy, denoised(noisy, inside))]
    assert rms[1] < 0.6 * rms[0]
    # What has no noise stays, and slices do not mix.
    assert torch.equal(denoised(clean, inside), clean)
    mixed = denoised(torch.cat((noisy[:1], clean[:1])), inside)
    assert torch.equal(mixed[1], clean[0])
    assert noise_left(noisy, torch.zeros_like(inside)).tolist() == [0, 0]


def test_denoising_has_converged() -> None:
    torch.manual_seed(9)
    noisy = (0.4 + 0.03 * torch.randn(1, 1, 64, 64)).clamp_min(0)
    inside = torch.ones_like(noisy, dtype=torch.bool)
    weight = DENOISING * noise_left(noisy, inside)
    long = GenTV(torch.zeros_like(noisy)).prox(noisy, weight, 0.0, 5000)
    left, taken = (denoised(noisy, inside) - long).norm(), (noisy - long).norm()
    assert left < 0.03 * taken


def test_body_is_tissue_not_noise() -> None:
    torch.manual_seed(4)
    floor = 0.12
    image = torch.hypot(*(floor / 2**0.5 * torch.randn(2, 1, 1, 64, 64)))
    image[..., 20:40, 20:40] += 0.4
    inside = body(image, floor)
    assert inside[..., 22:38, 22:38].all()
    assert inside.sum() < 26 * 26
