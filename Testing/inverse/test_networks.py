"""The V-Net: its size, its shapes, its variants, and what it may see."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from LIPCARLib.inverse.networks import STRIDE, SmoothLeakyReLU, VNet

MakeNetwork = Callable[..., VNet]
VARIANTS = [{"residual": r, "smooth": s} for r in (False, True) for s in (False, True)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("channels", "parameters"), [(1, 2_836_729), (2, 2_836_741)])
def test_size_is_the_papers(channels: int, parameters: int, variant: dict[str, bool]) -> None:
    network = VNet(channels, **variant)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(convolutions) == 32
    assert all(c.bias is not None for c in convolutions)


def test_nothing_depends_on_training_mode_or_batch_statistics() -> None:
    kinds = {type(m) for m in VNet(1).modules() if not list(m.children())}
    assert kinds == {nn.Conv2d, nn.ConvTranspose2d, nn.LeakyReLU, nn.Identity}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 33), (16, 16), (200, 231)])
def test_any_size_comes_back(channels: int, height: int, width: int) -> None:
    with torch.no_grad():
        assert VNet(channels)(torch.rand(2, channels, height, width)).shape == (2, 1, height, width)


@torch.no_grad()
def test_odd_sizes_are_continued_by_their_edge(make_network: MakeNetwork) -> None:
    network = make_network(1, residual=False)
    x = torch.rand(1, 1, 19, 37)
    padded = F.pad(x, (0, 48 - 37, 0, 32 - 19), mode="replicate")
    torch.testing.assert_close(network(x), network(padded)[..., :19, :37], atol=1e-6, rtol=0)
    zeros = F.pad(x, (0, 48 - 37, 0, 32 - 19))
    assert (network(x) - network(zeros)[..., :19, :37]).abs().max() > 1e-3


@torch.no_grad()
def test_plain_output_is_cut_off_at_zero(make_network: MakeNetwork) -> None:
    plain, residual = make_network(1, residual=False), make_network(1, residual=True)
    x = noise(1, 1, 48, 48)
    before_relu = residual(x) - x
    plain.head.bias -= before_relu.median()
    residual.head.bias -= before_relu.median()
    y = plain(x)
    assert y.min() == 0
    assert y.max() > 0
    torch.testing.assert_close(y, (residual(x) - x).clamp_min(0), atol=1e-6, rtol=0)


@torch.no_grad()
def test_residual_starts_from_the_last_channel(make_network: MakeNetwork) -> None:
    network = make_network(2, residual=True)
    network.head.weight.zero_()
    network.head.bias.fill_(-0.25)
    x = noise(2, 2, 20, 30)
    torch.testing.assert_close(network(x), x[:, 1:] - 0.25)
    assert network(x).min() < 0


@torch.no_grad()
def test_both_channels_matter(make_network: MakeNetwork) -> None:
    network = make_network(2, residual=False)
    x = torch.rand(1, 2, 32, 32)
    for channel in (0, 1):
        other = x.clone()
        other[:, channel] += 0.5
        assert (network(other) - network(x)).abs().mean() > 1e-3


def test_smooth_activation_has_the_slopes_of_the_leaky_one_and_no_kink() -> None:
    x = torch.tensor([-60.0, -1e-7, 0.0, 1e-7, 60.0], dtype=torch.float64, requires_grad=True)
    y = SmoothLeakyReLU()(x)
    torch.testing.assert_close(y, 0.2 * x + 0.8 * x * torch.sigmoid(x))
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, torch.tensor([0.2, 0.6, 0.6, 0.6, 1.0]).double(), atol=1e-6, rtol=0)


@torch.no_grad()
def test_only_the_smooth_network_is_differentiable_at_the_kink(make_network: MakeNetwork) -> None:
    """Without biases every activation sits at its kink for x = 0: a second difference over h shows the jump."""
    v = noise(1, 1, 32, 32).double()
    jump = {}
    for smooth in (False, True):
        network = make_network(1, smooth=smooth).double()
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        jump[smooth] = {h: ((network(h * v) + network(-h * v)) / h).abs().max().item() for h in (1e-2, 1e-4)}
    assert jump[False][1e-4] == pytest.approx(jump[False][1e-2], rel=1e-6)
    assert jump[False][1e-4] > 1e-2
    assert jump[True][1e-4] < 0.02 * jump[True][1e-2]


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 32, 32), (2, 32, 32), (2, 2, 1, 32, 32)])
def test_other_inputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a \(N, 2, H, W\) tensor"):
        VNet(2)(torch.zeros(shape))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_architecture_rebuilds_the_network(variant: dict[str, bool], make_network: MakeNetwork) -> None:
    network = make_network(2, **variant)
    arguments = json.loads(json.dumps(network.architecture))
    assert arguments.pop("class") == "VNet"
    twin = VNet(**arguments)
    twin.load_state_dict(network.state_dict())
    x = noise(1, 2, 24, 24)
    assert torch.equal(twin(x), network(x))


@torch.no_grad()
def test_variants_differ(make_network: MakeNetwork) -> None:
    x = noise(1, 1, 32, 32)
    outputs = [make_network(1, **variant)(x) for variant in VARIANTS]
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_slices_of_a_batch_do_not_mix(make_network: MakeNetwork) -> None:
    network = make_network(1)
    x = noise(3, 1, 32, 48)
    alone = torch.cat([network(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x), alone, atol=2e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("dim", [-1, -2])
def test_a_shift_by_the_stride_shifts_the_output(dim: int, make_network: MakeNetwork) -> None:
    """Inside, where the padding is out of reach: 131 pixels of receptive field and 15 of alignment to each side."""
    network = make_network(1, residual=False)
    x = noise(1, 1, STRIDE, 22 * STRIDE) if dim == -1 else noise(1, 1, 22 * STRIDE, STRIDE)
    length, inside = x.shape[dim], 160

    def difference(shift: int) -> float:
        shifted = network(x.narrow(dim, shift, length - shift)).narrow(dim, inside, 16)
        return (shifted - network(x).narrow(dim, inside + shift, 16)).abs().max().item()

    assert network(x).narrow(dim, inside, 16).std() > 1e-2
    assert difference(STRIDE) < 1e-5
    assert difference(STRIDE // 2) > 1e-3


@torch.no_grad()
def test_a_pixel_is_seen_from_far_but_not_from_everywhere(make_network: MakeNetwork) -> None:
    network = make_network(1, residual=False).double()
    x = noise(1, 1, 16, 400).double()
    touched = x.clone()
    touched[..., 200] += 100
    change = (network(touched) - network(x)).abs().amax((0, 1, 2))
    reach = (change > 1e-12).nonzero().flatten() - 200
    assert 64 < -reach.min() <= 146
    assert 64 < reach.max() <= 146
