"""The anchored prior starts as the anchor, keeps slices apart, and does not fail on what images may hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from LIPCARLib.inverse.anchor import anchor, noise_between
from LIPCARLib.inverse.anchored import IMAGE_CHANNELS, SCALAR_CHANNELS, AnchoredPrior, features
from LIPCARLib.inverse.conditions import Conditions
from LIPCARLib.physics import Acquisition, PulseSequence

ACQUISITIONS = (
    Acquisition(PulseSequence.SPIN_ECHO, repetition_time=0.5),
    Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=0.008, flip_angle=20.0),
    Acquisition(PulseSequence.INVERSION_GRADIENT_ECHO, repetition_time=2.3, inversion_time=0.9, flip_angle=9.0),
)


def conditions(count: int = 1, acquisition: Acquisition | None = ACQUISITIONS[0]) -> Conditions:
    return Conditions.of_examination(count, acquisition, 0.2, 0.22)


def images(count: int, height: int = 32, width: int = 32, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """x_L and x_P."""
    g = torch.Generator().manual_seed(seed)
    before = torch.rand((count, 1, height, width), generator=g)
    return before + 0.1 * torch.rand((count, 1, height, width), generator=g), before


def awake(widths: tuple[int, ...] = (8, 8)) -> AnchoredPrior:
    """A network whose last layer does not say zero."""
    torch.manual_seed(0)
    network = AnchoredPrior(widths)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network


@pytest.mark.parametrize("acquisition", ACQUISITIONS, ids=[a.sequence.name for a in ACQUISITIONS])
def test_an_untrained_prior_is_the_anchor(acquisition: Acquisition) -> None:
    low, before = images(2, 37, 50)
    expected = anchor(low, before, conditions(2, acquisition)).highdose
    found = AnchoredPrior((8, 8))(low, before, conditions(2, acquisition))
    assert torch.allclose(found, expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    acquisition=st.sampled_from(ACQUISITIONS),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
)
def test_features_are_finite_whatever_the_images_hold(seed: int, acquisition: Acquisition, scale: float) -> None:
    low, before = images(2, 9, 8, seed)
    low = low * scale * (low > 0.5)
    physics, seen, numbers = features(low, before, conditions(2, acquisition))
    assert seen.shape == (2, IMAGE_CHANNELS, 9, 8)
    assert numbers.shape == (2, SCALAR_CHANNELS)
    assert all(tensor.isfinite().all() for tensor in (physics.highdose, seen, numbers))


@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (16, 16), (50, 37)])
def test_any_size(shape: tuple[int, int]) -> None:
    low, before = images(1, *shape)
    found = awake()(low, before, conditions())
    assert found.shape == low.shape
    assert found.isfinite().all()


def test_slices_do_not_mix() -> None:
    low, before = images(3)
    told = replace(conditions(3), acquisitions=ACQUISITIONS, dose_fraction=torch.tensor([0.1, 0.2, 0.3]))
    network = awake()
    together = network(low, before, told)
    for i in range(3):
        chosen = slice(i, i + 1)
        assert torch.allclose(together[chosen], network(low[chosen], before[chosen], told[chosen]), atol=1e-4)


def test_what_is_not_told_is_assumed_and_said_so() -> None:
    untold = Conditions.of_examination(2, None, None, 0.22)
    assert untold.acquisitions == (Acquisition.assumed(),) * 2
    assert untold.dose_fraction.tolist() == pytest.approx([0.22] * 2)
    assert not untold.sequence_told.any() and not untold.dose_told.any()
    assert conditions().sequence_told.all() and conditions().dose_told.all()


def test_a_map_of_t10_is_used() -> None:
    low, before = images(1)
    native = torch.full((1, 1, 32, 32), 3.0)
    told = replace(conditions(), native=native)
    expected = anchor(low, before, told).highdose
    assert torch.allclose(AnchoredPrior((8, 8))(low, before, told), expected, atol=1e-5)
    assert not torch.allclose(expected, anchor(low, before, conditions()).highdose, atol=1e-3)


def test_the_architecture_builds_the_same_network_again() -> None:
    network = AnchoredPrior((8, 16), depth=2)
    arguments = dict(network.architecture)
    assert arguments.pop("class") == "AnchoredPrior"
    AnchoredPrior(**arguments).load_state_dict(network.state_dict())


def test_the_network_is_made_of_plain_convolutions() -> None:
    """The first and the merging layers are computed in other ways than their weights say."""
    torch.manual_seed(0)
    network = AnchoredPrior((8, 6), depth=1)
    seen, h, skip = torch.rand(2, IMAGE_CHANNELS, 12, 20), torch.rand(2, 8, 12, 20), torch.rand(2, 8, 12, 20)
    plain = F.conv2d(F.pixel_unshuffle(seen, 2), network.stem.weight, network.stem.bias, padding=1)
    torch.testing.assert_close(network.stem(seen), plain, rtol=1e-4, atol=1e-5)
    (merge,) = network.merge
    torch.testing.assert_close(merge(h, skip), F.conv2d(torch.cat((h, skip), 1), merge.weight, merge.bias))


def test_rounded_below_half_the_size_it_adds_nearly_the_same() -> None:
    low, before = images(1, 64, 64)
    _, seen, numbers = features(low, before, conditions())
    network = awake((8, 16, 16))
    exact = network.addition(seen, numbers)
    rounded = network.rounded(torch.bfloat16)
    kinds = {name: weight.dtype for name, weight in rounded.named_parameters()}
    assert kinds["stem.weight"] == kinds["decoder.1.0.first.weight"] == kinds["told.0.weight"] == torch.float32
    assert kinds["down.0.weight"] == kinds["encoder.1.0.first.weight"] == kinds["merge.0.weight"] == torch.bfloat16
    assert 0 < (rounded.addition(seen, numbers) - exact).abs().max() < 0.02 * exact.abs().max()
    assert torch.equal(network.addition(seen, numbers), exact)  # the network itself is as it was


@pytest.mark.parametrize("sigma", [0.005, 0.03])
def test_noise_is_measured_where_images_agree_but_for_it(sigma: float) -> None:
    g = torch.Generator().manual_seed(0)
    tissue = 0.3 + 0.2 * torch.rand((2, 1, 96, 96), generator=g)
    low, before = (tissue + sigma * torch.randn(tissue.shape, generator=g) for _ in range(2))
    low, before = low + torch.linspace(0, 0.1, 96), before * (low > -1)
    assert noise_between(low, before).tolist() == pytest.approx([sigma] * 2, rel=0.05)
    assert noise_between(low, before, apart=2).tolist() == pytest.approx([sigma] * 2, rel=0.05)
