"""The rearranged V-Net is the V-Net: its values, its gradients, and what the pipeline makes with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import complete, load_pair, reconstruct
from LIPCARLib.inverse.networks import VNet
from LIPCARLib.inverse.rearranged import WIDE, RearrangedVNet, _Convolution

MakeNetwork = Callable[..., VNet]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("channels", "count", "height", "width"), [(1, 1, 1, 1), (2, 2, 40, 75)])
def test_values_and_gradients_are_the_networks(
    channels: int, count: int, height: int, width: int, residual: bool, smooth: bool, make_network: MakeNetwork
) -> None:
    """Down to every border and corner: weights and upstream gradient are random everywhere."""
    network = make_network(channels, residual=residual, smooth=smooth).requires_grad_(False)
    x, upstream = noise(count, channels, height, width), noise(count, 1, height, width, seed=1)
    found = []
    for function in (network, RearrangedVNet(network)):
        variable = x.clone().requires_grad_()
        y = function(variable)
        (gradient,) = torch.autograd.grad(y, variable, upstream)
        found.append((y.detach(), gradient))
    (values, slopes), (our_values, our_slopes) = found
    assert height == 1 or values.abs().max() > 0.1
    torch.testing.assert_close(our_values, values, atol=1e-5 * float(values.abs().max()) + 1e-6, rtol=0)
    torch.testing.assert_close(our_slopes, slopes, atol=1e-4 * float(slopes.abs().max()), rtol=0)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (8, 12)])
def test_a_wide_convolution_and_its_transpose_are_torchs(height: int, width: int) -> None:
    weight, bias, x = noise(WIDE + 32, WIDE, 3, 3), noise(WIDE + 32, seed=1), noise(2, WIDE, height, width, seed=2)
    convolution = _Convolution(weight, bias)
    y = F.conv2d(x.double(), weight.double(), bias.double(), padding=1).float()
    torch.testing.assert_close(convolution(x), y, atol=1e-5 * float(y.abs().max()), rtol=0)
    back = F.conv_transpose2d(y.double(), weight.double(), padding=1).float()
    torch.testing.assert_close(convolution.transposed(y), back, atol=1e-5 * float(back.abs().max()), rtol=0)


def test_the_pipeline_comes_to_the_same(examination: Examination) -> None:
    """What is rounded otherwise may take another branch at single pixels; the criterion is issue 16's."""
    model, plain = load_pair("vnet-predose"), load_pair("vnet-predose").requires_grad_(True)
    ours, theirs = (complete(reconstruct(examination, m, alpha=0.006, device="cpu")) for m in (model, plain))
    largest = theirs.highdose.max()
    np.testing.assert_allclose(ours.prior, theirs.prior, atol=1e-5 * largest)
    np.testing.assert_allclose(ours.highdose, theirs.highdose, atol=1e-3 * largest)
    np.testing.assert_allclose([o[-1] for o in ours.objective], [o[-1] for o in theirs.objective], rtol=1e-4)
    assert not np.array_equal(ours.highdose, theirs.highdose)
