"""The rules that weigh data against prior: bands, expected residuals, and what they do to a reconstruction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.comparison import KINSHIP, kinship
from LIPCARLib.imaging.intensity import noise_deviation
from LIPCARLib.inverse import alpha as trust
from LIPCARLib.inverse.regularizers import GenTV
from LIPCARLib.inverse.solvers import Objective, continuation, proximal

CPU = torch.device("cpu")


def everywhere(image: Tensor) -> Tensor:
    return torch.ones_like(image, dtype=torch.bool)


# Bands


@hypothesis_settings(deadline=None, max_examples=20)
@given(height=st.integers(8, 40), width=st.integers(8, 40))
def test_bands_add_up_and_their_energies_too(height: int, width: int) -> None:
    assert torch.allclose(trust.bands(height, width, CPU).sum(0), torch.ones(()), atol=1e-5)
    torch.manual_seed(0)
    image = torch.randn(2, 1, height, width)
    energies = trust.band_energies(image, everywhere(image))
    assert torch.allclose(energies.sum(1), image.square().mean((1, 2, 3)), rtol=1e-4)
    assert (energies >= -1e-7).all()
    assert float(trust.noise_energies(height, width, CPU).sum()) == pytest.approx(1, abs=1e-5)


def test_white_noise_has_the_energies_that_are_expected_of_it() -> None:
    torch.manual_seed(1)
    noise = 0.3 * torch.randn(8, 1, 128, 128)
    found = trust.band_energies(noise, everywhere(noise)).mean(0)
    expected = 0.09 * trust.noise_energies(128, 128, CPU)
    assert torch.allclose(found[:4], expected[:4], rtol=0.15)


def test_gaussian_is_what_it_says() -> None:
    """Against a Gaussian drawn in space."""
    place = np.minimum(np.arange(64), 64 - np.arange(64))
    kernel = np.exp(-0.5 * (place / 4.0) ** 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    found = torch.fft.irfft2(trust.gaussian(64, 64, 4.0, CPU), s=(64, 64)).numpy()
    np.testing.assert_allclose(found, kernel, atol=1e-6)


# Trust


def test_noise_is_not_trusted_and_a_region_is() -> None:
    torch.manual_seed(2)
    noise = 0.02 * torch.randn(1, 1, 128, 128)
    error = torch.full((5,), 1e-6)
    assert trust.fine_scale_trust(noise, everywhere(noise), 0.022, error).item() == 0
    region = torch.zeros_like(noise)
    region[..., 40:80, 40:80] = 0.03
    assert trust.fine_scale_trust(noise + region, everywhere(noise), 0.022, error).item() > 0.8
    # The same region is nothing new to an operator that is known to be that far off.
    known = trust.band_energies(region, everywhere(region))[0]
    assert trust.fine_scale_trust(region, everywhere(region), 0.022, known).item() < 0.05


def test_trust_rises_with_the_error_of_the_prior() -> None:
    torch.manual_seed(3)
    noise = 0.02 * torch.randn(1, 1, 96, 96)
    region = torch.zeros_like(noise)
    region[..., 30:60, 30:60] = 1
    levels = [
        trust.fine_scale_trust(noise + a * region, everywhere(noise), 0.022, torch.full((5,), 1e-5)).item()
        for a in (0, 0.02, 0.04, 0.08)
    ]
    assert levels == sorted(levels) and levels[-1] > 0.9


def test_the_judge_sees_all_but_the_finest_scales_and_no_gain_that_was_undone() -> None:
    usual, undone = (trust.scale_weights(128, 96, torch.device("cpu"), gain) for gain in (1.0, 1.05))
    assert usual.shape == undone.shape == (1, 1, 128, 49)
    for weight in (usual, undone):
        assert weight.min() >= 0 and weight.max() <= 1
    assert usual[0, 0, 0, 0] == 1 and undone[0, 0, 0, 0] == 0
    assert usual[0, 0, 64, 48] < 0.01
    # A region of 30 pixels is seen nearly in full either way, one of the image's size only where no gain was undone.
    assert usual[0, 0, 8, 0] > 0.9 and undone[0, 0, 8, 0] > 0.8
    assert usual[0, 0, 1, 0] > 0.99 and undone[0, 0, 1, 0] < 0.5


def test_who_judges() -> None:
    right, wrong = torch.full((5,), 1e-4), torch.full((5,), 1e-2)
    assert trust.judge(trust.RULES["auto"], wrong, True) == "signal"
    assert trust.judge(trust.RULES["auto"], right, False) is None
    assert trust.judge(trust.RULES["learned"], right, False) == "learned"
    assert trust.judge(trust.RULES["learned"], wrong, True) is None
    assert trust.judge(trust.RULES["gated"], right, True) is None


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
    found = trust.enhancing(low, pre, everywhere(low), sigma)
    assert found.min() >= 0 and found.max() <= 1
    assert found[0, :, 44:56, 44:56].min() > 0.9
    assert found[0, :, :30].max() < 0.5 and found[0, :, :30].mean() < 0.01
    assert found[1].mean() < 0.01 and found[2].mean() < 0.01
    # An edge that lies a quarter of a pixel beside its place shows nothing, however bright; a tumor in it does.
    edge = torch.zeros_like(predose)
    edge[..., 30:] = 0.6
    beside = (3 * edge + torch.roll(edge, -1, -1)) / 4
    assert trust.enhancing(beside, edge, everywhere(low), 0.002)[..., 20:40].max() < 0.05
    assert trust.enhancing(beside + change, edge, everywhere(low), 0.002)[0, :, 44:56, 44:56].min() > 0.9
    # Twice the noise, less of it is sure; outside the body nothing is.
    assert trust.enhancing(low, pre, everywhere(low), 2 * sigma)[0].sum() < found[0].sum()
    body = everywhere(low)
    body[..., 50:] = False
    assert not trust.enhancing(low, pre, body, sigma)[..., 50:].any()
    # Slices do not mix.
    alone = trust.enhancing(low[:1], pre[:1], everywhere(low)[:1], sigma)
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
    assert torch.allclose(trust.noise_left(noisy, inside), torch.tensor(sigma), rtol=0.08)
    rms = [float((image - clean)[inside].square().mean().sqrt()) for image in (noisy, trust.denoised(noisy, inside))]
    assert rms[1] < 0.6 * rms[0]
    # What has no noise stays, and slices do not mix.
    assert torch.equal(trust.denoised(clean, inside), clean)
    mixed = trust.denoised(torch.cat((noisy[:1], clean[:1])), inside)
    assert torch.equal(mixed[1], clean[0])
    assert trust.noise_left(noisy, torch.zeros_like(inside)).tolist() == [0, 0]


def test_denoising_has_converged() -> None:
    torch.manual_seed(9)
    noisy = (0.4 + 0.03 * torch.randn(1, 1, 64, 64)).clamp_min(0)
    inside = everywhere(noisy)
    weight = trust.DENOISING * trust.noise_left(noisy, inside)
    long = GenTV(torch.zeros_like(noisy)).prox(noisy, weight, 0.0, 5000)
    assert (trust.denoised(noisy, inside) - long).square().mean().sqrt() < 0.03 * (noisy - long).square().mean().sqrt()


def test_body_is_tissue_not_noise() -> None:
    torch.manual_seed(4)
    floor = 0.12
    image = torch.hypot(*(floor / 2**0.5 * torch.randn(2, 1, 1, 64, 64)))
    image[..., 20:40, 20:40] += 0.4
    inside = trust.body(image, floor)
    assert inside[..., 22:38, 22:38].all()
    assert inside.sum() < 26 * 26


@pytest.mark.parametrize("alpha", ["", "none", "-1", 0, float("nan"), "inf"])
def test_alpha_is_a_positive_number_or_a_rule(alpha: float | str) -> None:
    with pytest.raises(LIPCARError, match="a positive number is expected .*or one of: auto"):
        trust.check_alpha(alpha)
    assert trust.check_alpha("0.01") == trust.check_alpha(0.01) == 0.01
    assert trust.check_alpha("auto") == "auto"


@pytest.mark.parametrize("card", [{}, {"forward_operator_error": {"widths": [1.0], "mean_squares": [1, 2]}}])
def test_a_card_that_does_not_tell_is_explained(card: dict) -> None:
    with pytest.raises(LIPCARError, match=r"'mine' does not say .* --record"):
        trust.operator_error({"name": "mine", **card})


# Constraint and weight in the solver


def blur(x: Tensor, predose: Tensor | None = None) -> Tensor:
    return 0.3 * x + 0.1 * torch.roll(x, 1, -1)


def problem(**kwargs: Tensor) -> tuple[Objective, Tensor, Tensor]:
    torch.manual_seed(5)
    truth = torch.zeros(2, 1, 48, 48)
    truth[..., 12:36, 12:36] = 0.6
    xbar = truth.clone()
    xbar[..., 16:30, 16:30] += 0.2  # what the prior got wrong
    lowdose = blur(truth) + 0.02 * torch.randn_like(truth)
    support = truth > 0
    return Objective(blur, lowdose, GenTV(xbar, support), 0.01, **kwargs), xbar, truth


def test_off_the_support_nothing_moves() -> None:
    objective, xbar, _ = problem()
    *_, last = proximal(objective, xbar, 20)
    support = objective.regularizer.support
    assert torch.equal(last.x[~support], xbar[~support])
    assert (last.x - xbar)[support].abs().max() > 0.05


def test_prox_on_a_support_beats_its_neighbors() -> None:
    """The minimizer over the constraint: no allowed change lowers the objective, and the constraint holds."""
    torch.manual_seed(6)
    x, reference = torch.randn(1, 1, 12, 12).double(), torch.rand(1, 1, 12, 12).double()
    support = torch.rand(1, 1, 12, 12) > 0.4
    prox = GenTV(reference, support).prox(x, 0.2, 0.0, 4000)
    assert torch.equal(prox[~support], reference[~support]) and prox.min() >= 0

    def value(u: Tensor) -> float:
        d = u - reference
        dx, dy = d.diff(dim=-1, append=d[..., -1:]), d.diff(dim=-2, append=d[..., -1:, :])
        return float(0.5 * (u - x).square().sum() + 0.2 * (dx**2 + dy**2).sqrt().sum())

    best = value(prox)
    for seed in range(200):
        torch.manual_seed(seed)
        change = torch.randn_like(x) * 10 ** -float(seed % 4 + 1) * support
        assert value((prox + change).clamp(min=0)) >= best - 1e-9


def test_weighted_data_term_has_the_right_gradient() -> None:
    weight = trust.scale_weights(48, 48, torch.device("cpu"), 1.1).repeat(2, 1, 1, 1)
    local = torch.rand(2, 1, 48, 48)
    objective, xbar, _ = problem(weight=weight, local_weight=local)
    objective.lowdose, objective.weight = objective.lowdose.double(), weight.double()
    objective.local_weight = local.double()
    x = (xbar + 0.1).double().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.data_fidelity(x).sum(), x)
    direction = torch.randn_like(x)
    step = 1e-5
    with torch.no_grad():
        upper, lower = objective.data_fidelity(x + step * direction), objective.data_fidelity(x - step * direction)
    assert float((upper - lower).sum() / (2 * step)) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)
    assert (objective.data_fidelity(x) >= 0).all()


def test_full_weight_is_the_papers_data_term() -> None:
    objective, xbar, _ = problem()
    weighted, _, _ = problem(weight=torch.ones(2, 1, 48, 25))
    assert torch.allclose(objective.data_fidelity(xbar), weighted.data_fidelity(xbar), rtol=1e-5)


def test_local_weight_counts_pixels() -> None:
    """Half the weight by frequency and half by pixel is the paper's data term, also of a part of the batch."""
    objective, xbar, _ = problem()
    half = torch.full((2, 1, 48, 25), 0.5), torch.full((2, 1, 48, 48), 0.5)
    weighted, _, _ = problem(weight=half[0], local_weight=half[1])
    assert torch.allclose(objective.data_fidelity(xbar), weighted.data_fidelity(xbar), rtol=1e-5)
    second = weighted[torch.tensor([1])]
    assert torch.allclose(second.data_fidelity(xbar[1:]), weighted.data_fidelity(xbar)[1:])
    assert second.local_weight.shape == (1, 1, 48, 48)


def test_several_operators_are_added_up() -> None:
    objective, xbar, _ = problem(weight=torch.ones(2, 1, 48, 25))
    both, _, _ = problem(weight=torch.ones(2, 2, 48, 25), local_weight=torch.zeros(2, 2, 48, 48))
    both.forward_operator = lambda x, predose: torch.cat((blur(x), x), 1)
    direct = 0.5 * (xbar - objective.lowdose).square().sum((1, 2, 3))
    assert torch.allclose(both.data_fidelity(xbar), objective.data_fidelity(xbar) + direct, rtol=1e-5)


def test_continuation_stops_where_it_is_told() -> None:
    objective, xbar, truth = problem()

    def residual(x: Tensor) -> Tensor:
        return (blur(x) - objective.lowdose).square().mean((1, 2, 3)).sqrt()

    *_, last = continuation(objective, xbar, (0.3, 0.1, 0.03, 0.01, 0.003), lambda x: residual(x) < 0.022, 10)
    assert (residual(last.x) < 0.022).all() and (residual(xbar) > 0.022).all()
    assert (last.x - truth).square().mean() < 0.2 * (xbar - truth).square().mean()
    # Satisfied at once: nothing moves.
    *_, still = continuation(objective, xbar, (0.3, 0.1), lambda x: residual(x) < 1, 10)
    assert torch.equal(still.x, xbar)


# Intensities and kinship


@pytest.mark.parametrize("background", [True, False])
def test_noise_is_found_with_and_without_background(background: bool) -> None:
    rng = np.random.default_rng(7)
    inside = np.zeros((3, 128, 128), bool)
    inside[:, 30:100, 30:100] = True
    noisy = np.hypot(inside * 300.0 + rng.normal(0, 10, inside.shape), rng.normal(0, 10, inside.shape))
    image = (noisy if background else noisy * inside).astype(np.float32)
    assert noise_deviation(image) == pytest.approx(10, rel=0.05)
    # A mask's ragged edge leaves a few pixels that are not zero: they are no measure of noise.
    image[:, 20, ::7] = 1
    assert noise_deviation(image) == pytest.approx(10, rel=0.05)


def test_texture_that_both_images_share_is_no_noise() -> None:
    rng = np.random.default_rng(4)
    texture = np.zeros((3, 128, 128))
    texture[:, 30:100, 30:100] = rng.uniform(200, 400, (3, 70, 70))
    low, pre = (
        np.hypot(texture + rng.normal(0, 10, texture.shape), rng.normal(0, 10, texture.shape)).astype(np.float32)
        for _ in range(2)
    )
    assert noise_deviation(low) > 40
    assert noise_deviation(low, pre) == pytest.approx(10 * 2**0.5, rel=0.1)


def test_noise_of_a_masked_image_that_was_interpolated() -> None:
    """Zeros in k-space make neighbors alike, and ring a little into the masked background."""
    y, x = np.abs(np.mgrid[:192, :192] - 96)
    body = np.clip((70 - np.hypot(y, x)) / 3, 0, 1)
    image = body * (500 + np.random.default_rng(3).normal(0, 40, (3, 192, 192)))
    spectrum = np.fft.rfft2(image)
    spectrum[:, 72:-72] = 0
    spectrum[:, :, 72:] = 0
    image = np.maximum(np.fft.irfft2(spectrum, s=(192, 192)), 0).astype(np.float32)
    kept = 144 / 192  # of the deviation: the root of the share of frequencies
    # Pixels two apart are anti-correlated here (sinc(1.5) = -0.21), which adds a fifth.
    assert noise_deviation(image) == pytest.approx(1.21 * 40 * kept, rel=0.1)


def test_kinship_knows_a_subject_from_another() -> None:
    def subject(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        spectrum = np.fft.rfft2(rng.standard_normal((2, 96, 96)))
        fy, fx = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(96)[None, :]
        texture = np.fft.irfft2(spectrum * np.exp(-300 * (fx**2 + fy**2)), s=(96, 96))
        return (300 + 60 * texture / texture.std()).clip(0).astype(np.float32)

    one, other = subject(0), subject(1)
    after = one * 1.2 + np.random.default_rng(2).normal(0, 20, one.shape).astype(np.float32)
    assert kinship(one, after.clip(0)) > 0.9
    assert abs(kinship(other, after.clip(0))) < KINSHIP
    assert kinship(one[:, :20, :20], after[:, :20, :20]) is None
