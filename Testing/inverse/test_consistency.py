"""Where a result does not explain the measurement: counted inside the body, beyond noise and F's error, said once."""

from __future__ import annotations

import pytest
import torch

from LIPCARLib.inverse import Conditions
from LIPCARLib.inverse.consistency import DEVIATIONS, SIDE, standardized, unexplained, words
from LIPCARLib.physics import Acquisition

UNTOLD = Conditions.of_examination(2, None, None, assumed_fraction=0.22)
TOLD = Conditions.of_examination(2, Acquisition.assumed(), 0.2, assumed_fraction=0.22)


@pytest.fixture
def head() -> torch.Tensor:
    """x_L of two slices, half air."""
    image = torch.zeros(2, 1, 64, 64)
    image[..., 32:, :] = 0.4
    return image


@pytest.mark.parametrize("sigma", [0.01, 0.05])
def test_noise_is_expected_as_it_is(head: torch.Tensor, sigma: float) -> None:
    noise = sigma * torch.randn(head.shape, generator=torch.Generator().manual_seed(0))
    deviations = standardized(head, head + noise, head + noise, sigma, TOLD)
    assert deviations[..., 2:-2, 2:-2].std() == pytest.approx(1, abs=0.1)
    assert unexplained(deviations, head, 0.0).max() < 0.002


def test_a_lesion_that_was_not_measured_is_found_in_its_slice(head: torch.Tensor) -> None:
    added = torch.zeros_like(head)
    added[1, :, 40:50, 20:30] = 4 * DEVIATIONS * 0.01 / SIDE
    shares = unexplained(standardized(head + added, head, head, 0.01, TOLD), head, 0.0)
    assert shares[0] == 0
    assert shares[1] == pytest.approx(100 / (34 * 64), rel=0.6)  # edges of neighborhoods belong to it


def test_of_enhancement_that_both_have_the_operator_may_be_off(head: torch.Tensor) -> None:
    lowdose, predicted = head + 0.2, head + 0.25
    told, untold = (standardized(predicted, lowdose, head, 1e-4, known).median() for known in (TOLD, UNTOLD))
    assert untold < told < 1
    assert standardized(predicted, head, head, 1e-4, UNTOLD).median() > 1000  # where one has none, it may not
    assert standardized(head, lowdose, head, 1e-4, UNTOLD).median() < -1000


def test_air_is_no_body(head: torch.Tensor) -> None:
    deviations = torch.zeros_like(head)
    deviations[..., :20, :] = 100
    assert unexplained(deviations, head, 0.0).tolist() == [0.0, 0.0]


def test_the_worst_slice_is_named() -> None:
    assert words([0.0, 0.01, 0.019], first=3) == ()
    (sentence,) = words([0.03, 0.1, 0.0], first=3)
    assert "10 % of the body of slice 4 (and in 1 more)" in sentence
