"""Where a result does not explain the measurement: counted inside the body, beyond noise, and said once."""

from __future__ import annotations

import pytest
import torch

from LIPCARLib.inverse.consistency import EQUATION_ERROR, unexplained, words


@pytest.fixture
def head() -> torch.Tensor:
    """x_L of two slices, half air."""
    image = torch.zeros(2, 1, 64, 64)
    image[..., 32:, :] = 0.4
    return image


@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_noise_explains_itself(head: torch.Tensor, sigma: float) -> None:
    noise = sigma * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    assert unexplained(noise, head, sigma, 0.0).max() < 0.002


def test_a_lesion_that_was_not_measured_is_found_in_its_slice(head: torch.Tensor) -> None:
    residual = torch.zeros_like(head)
    residual[1, :, 40:50, 20:30] = 4 * EQUATION_ERROR
    shares = unexplained(residual, head, 0.01, 0.0)
    assert shares[0] == 0
    assert shares[1] == pytest.approx(100 / (34 * 64), rel=0.4)  # edges of neighborhoods belong to it


def test_air_is_no_body(head: torch.Tensor) -> None:
    residual = torch.zeros_like(head)
    residual[..., :20, :] = 1.0
    assert unexplained(residual, head, 0.01, 0.0).tolist() == [0.0, 0.0]


def test_the_worst_slice_is_named() -> None:
    assert words([0.0, 0.01, 0.019], first=3) == ()
    (sentence,) = words([0.03, 0.1, 0.0], first=3)
    assert "10 % of the body of slice 4 (and in 1 more)" in sentence
