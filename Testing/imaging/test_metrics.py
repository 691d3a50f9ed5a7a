"""SSIM, PSNR and RMSE against torchmetrics and scikit-image, and their own properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from LIPCARLib.imaging.metrics import psnr, rmse, ssim, ssim_map


def pair(seed: int = 0, size: tuple[int, int] = (41, 53), batch: int = 2) -> tuple[Tensor, Tensor]:
    """Two smooth images with differing noise, in float64: SSIM neither near 0 nor near 1."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(size[0]) / 9, torch.arange(size[1]) / 7, indexing="ij")
    clean = (0.5 + 0.3 * torch.sin(x) * torch.cos(y)).expand(batch, 1, *size).double()
    draw = [torch.randn(clean.shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return clean + 0.05 * draw[0], 0.9 * clean + 0.1 * draw[1]


@pytest.mark.parametrize("data_range", [1.0, 2.5])
@pytest.mark.parametrize("size", [(41, 53), (64, 64), (16, 11)])
def test_ssim_is_torchmetrics_without_the_border(size: tuple[int, int], data_range: float) -> None:
    """torchmetrics reflects the image at its border and averages over that as well: ours drops 5 pixels a side."""
    x, y = pair(size=size)
    _, full = structural_similarity_index_measure(
        x, y, gaussian_kernel=True, kernel_size=11, sigma=1.5, data_range=data_range, return_full_image=True
    )
    expected = full[..., 5:-5, 5:-5]
    torch.testing.assert_close(ssim_map(x, y, data_range), expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(ssim(x, y, data_range), expected.flatten(1).mean(1), atol=1e-8, rtol=0)
    assert (expected < 0.95).any()


@pytest.mark.parametrize(
    ("dtype", "at_a_pixel", "on_average"), [(torch.float64, 1e-8, 1e-8), (torch.float32, 1e-4, 1e-5)]
)
def test_ssim_is_that_of_scikit_image(dtype: torch.dtype, at_a_pixel: float, on_average: float) -> None:
    x, y = pair()
    ours = ssim_map(x.to(dtype), y.to(dtype)).double().numpy()
    for i in range(len(x)):
        _, full = structural_similarity(
            x[i, 0].numpy(),
            y[i, 0].numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        inside = full[5:-5, 5:-5]
        np.testing.assert_allclose(ours[i, 0], inside, atol=at_a_pixel, rtol=0)
        assert ours[i].mean() == pytest.approx(inside.mean(), abs=on_average)


def test_ssim_gradient_is_that_of_finite_differences() -> None:
    x, y = pair(size=(12, 14), batch=1)
    assert torch.autograd.gradcheck(ssim, (x.requires_grad_(), y.requires_grad_()))


def test_ssim_of_single_precision_is_good_enough_where_images_are_bright() -> None:
    x, y = (4 * image for image in pair())
    torch.testing.assert_close(ssim(x.float(), y.float()).double(), ssim(x, y), atol=1e-4, rtol=0)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), gain=st.floats(-3, 3), offset=st.floats(-2, 2), strength=st.floats(0.01, 2))
def test_ssim_is_symmetric_and_at_most_one(seed: int, gain: float, offset: float, strength: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, other = (torch.randn((1, 1, 15, 13), generator=generator, dtype=torch.float64) for _ in range(2))
    y = gain * x + offset + strength * other
    values = ssim_map(x, y)
    torch.testing.assert_close(values, ssim_map(y, x), atol=1e-12, rtol=0)
    assert values.abs().max() <= 1 + 1e-12


def test_agreement_gives_one_zero_and_infinity() -> None:
    x, y = pair()
    torch.testing.assert_close(ssim(x, x), torch.ones(2).double(), atol=1e-12, rtol=0)
    assert rmse(x, x).tolist() == [0, 0]
    assert psnr(x, x).tolist() == [math.inf, math.inf]
    assert ssim(x, y).max() < 0.99


def test_slices_are_measured_one_by_one() -> None:
    x, y = pair(batch=3)
    y[1] = x[1]
    for metric in (ssim, rmse, psnr):
        alone = torch.cat([metric(x[i : i + 1], y[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(metric(x, y), alone)
    assert ssim(x, y).argmax() == 1


def test_rmse_and_psnr_are_those_of_scikit_image() -> None:
    x, y = pair()
    for i in range(len(x)):
        one, other = x[i, 0].numpy(), y[i, 0].numpy()
        assert rmse(x, y)[i].item() == pytest.approx(math.sqrt(mean_squared_error(one, other)), rel=1e-12)
        expected = peak_signal_noise_ratio(one, other, data_range=2.5)
        assert psnr(x, y, 2.5)[i].item() == pytest.approx(expected, rel=1e-12)


def test_masked_ssim_is_the_mean_of_the_map_inside() -> None:
    x, y = pair()
    mask = torch.zeros(x.shape, dtype=torch.bool)
    mask[0, :, 3:20, 30:] = True  # reaches into the border that the map lacks
    mask[1, :, 20, 20] = True
    values = ssim_map(x, y)
    assert ssim(x, y, mask=mask)[0].item() == pytest.approx(values[0, 0, :15, 25:].mean().item(), rel=1e-12)
    assert ssim(x, y, mask=mask)[1].item() == pytest.approx(values[1, 0, 15, 15].item(), rel=1e-12)
    torch.testing.assert_close(ssim(x, y, mask=torch.ones_like(mask)), ssim(x, y))


def test_masked_rmse_and_psnr_ignore_what_is_outside() -> None:
    x, y = pair()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    expected = torch.stack([((x[i] - y[i])[mask[i]] ** 2).mean().sqrt() for i in range(2)])
    spoiled = torch.where(mask, y, y + 100)
    torch.testing.assert_close(rmse(x, spoiled, mask), expected)
    torch.testing.assert_close(psnr(x, spoiled, 2.0, mask), 20 * torch.log10(2.0 / expected))
    assert (rmse(x, spoiled) > 10).all()


def test_a_mask_without_a_pixel_gives_nan_for_its_slice_only() -> None:
    x, y = pair()
    mask = torch.ones(x.shape, dtype=torch.bool)
    mask[0] = False
    mask[0, :, :5] = True  # for SSIM as good as empty
    assert ssim(x, y, mask=mask).isnan().tolist() == [True, False]
    mask[0] = False
    assert rmse(x, y, mask).isnan().tolist() == [True, False]
    assert psnr(x, y, 1.0, mask).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 1, 16, 16), (1, 1, 16, 17)),
        ((1, 2, 16, 16), (1, 2, 16, 16)),
        ((1, 16, 16), (1, 16, 16)),
        ((1, 1, 10, 16), (1, 1, 10, 16)),
    ],
)
def test_ssim_refuses_other_shapes(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected two|at least 11"):
        ssim_map(torch.zeros(one), torch.zeros(other))
