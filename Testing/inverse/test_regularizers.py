"""GenTV: its value against a formula written anew, its proximal map against slow, independent algorithms.

What every regularizer owes its callers is in test_operators.py.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sparse
import torch
from torch import Tensor

from LIPCARLib.inverse.regularizers import GenTV

Array = np.ndarray
SHAPE = (9, 12)
LONG = 3000
"""Iterations of our prox where it shall be exact."""


# References in numpy that share nothing with the module: sparse matrices instead of shifted views.


@cache
def gradient_matrix(height: int, width: int) -> sparse.csr_matrix:
    """(2 H W, H W): forward differences along x, then along y, zero behind the last column and row."""

    def one(n: int) -> sparse.dia_matrix:
        diagonal = -np.ones(n)
        diagonal[-1] = 0
        return sparse.diags([diagonal, np.ones(n - 1)], [0, 1])

    along_x = sparse.kron(sparse.identity(height), one(width))
    along_y = sparse.kron(one(height), sparse.identity(width))
    return sparse.csr_matrix(sparse.vstack([along_x, along_y]))


def total_variation(d: Array, smoothing: float = 0.0) -> float:
    differences = (gradient_matrix(*d.shape) @ d.ravel()).reshape(2, -1)
    return float(np.sqrt((differences**2).sum(0) + smoothing).sum())


def projected(p: Array, radius: float) -> Array:
    """Every pixel's pair into the disk."""
    pairs = p.reshape(2, -1)
    return (pairs / np.maximum(1, np.sqrt((pairs**2).sum(0)) / radius)).ravel()


def admm_prox(x: Array, reference: Array, weight: float, lower: float | None) -> Array:
    """ADMM on u, split into g = grad(u - reference) and a copy of u that takes the bound."""
    D = gradient_matrix(*x.shape).toarray()
    r, rho = reference.ravel(), 0.5
    # Both splits stacked: A u - c = (grad (u - reference), u).
    A = np.vstack([D, np.eye(x.size)])
    c = np.concatenate([D @ r, np.zeros(x.size)])
    inverse = np.linalg.inv(np.eye(x.size) + rho * A.T @ A)
    split = scaled = np.zeros(len(A))
    for _ in range(4000):
        u = inverse @ (x.ravel() + rho * A.T @ (split + c - scaled))
        target = A @ u - c + scaled
        shrunk = target[: len(D)] - projected(target[: len(D)], weight / rho)
        copy = target[len(D) :]
        split = np.concatenate([shrunk, copy if lower is None else np.maximum(copy, lower)])
        scaled = target - split
    return split[len(D) :].reshape(x.shape)


def prox_objective(u: Array, x: Array, reference: Array, weight: float) -> float:
    return float(0.5 * ((u - x) ** 2).sum() + weight * total_variation(u - reference))


# Data


def images(count: int, seed: int = 0, shape: tuple[int, int] = SHAPE) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0.2, 0.5, shape) for _ in range(count)]


def tensor(*slices: Array) -> Tensor:
    return torch.from_numpy(np.stack(slices))[:, None]


def prox(x: Array, reference: Array, weight: float, lower: float | None = None, iterations: int = LONG) -> Array:
    return GenTV(tensor(reference)).prox(tensor(x), weight, lower, iterations)[0, 0].numpy()


# Value


@pytest.mark.parametrize("shape", [SHAPE, (1, 7), (7, 1), (1, 1)])
def test_value_is_the_formula(shape: tuple[int, int]) -> None:
    x, reference, other, another = images(4, shape=shape)
    value = GenTV(tensor(reference, another)).value(tensor(x, other))
    expected = [total_variation(x - reference, 1e-8), total_variation(other - another, 1e-8)]
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-12)


def test_value_of_a_step_is_its_height_times_its_length() -> None:
    reference = images(1)[0]
    step = np.zeros(SHAPE)
    step[:, 5:] = 0.7
    value = GenTV(tensor(reference)).value(tensor(reference + step)).item()
    flat = SHAPE[0] * SHAPE[1] * 1e-4
    assert value == pytest.approx(0.7 * SHAPE[0], abs=flat)


def test_value_ignores_constants_and_sees_anything_else() -> None:
    reference = tensor(*images(1))
    regularizer = GenTV(reference)
    x = (reference + 3).requires_grad_()
    value = regularizer.value(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert value.item() == pytest.approx(reference.numel() * 1e-4, rel=1e-6)
    assert gradient.abs().max() < 1e-10
    assert regularizer.value(tensor(*images(1, seed=1))).item() > 1


# Proximal map


@pytest.mark.parametrize("lower", [None, 0.0, -0.4])
@pytest.mark.parametrize("weight", [0.006, 0.1, 0.3])
def test_prox_is_that_of_a_long_admm_run(weight: float, lower: float | None) -> None:
    x, reference = images(2)
    expected = admm_prox(x, reference, weight, lower)
    if lower is not None:
        assert (expected == lower).any()
    assert np.abs(expected - x).max() > weight
    np.testing.assert_allclose(prox(x, reference, weight, lower, 500), expected, atol=1e-4)
    single = GenTV(tensor(reference).float()).prox(tensor(x).float(), weight, lower)[0, 0].numpy()
    np.testing.assert_allclose(single, expected, atol=1e-4)


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_moreau_identity(weight: float) -> None:
    """x = prox + the projection onto {weight grad^T p : |p| <= 1}, found by plain projected gradient."""
    x, reference = images(2, shape=(6, 7))
    z, D = (x - reference).ravel(), gradient_matrix(6, 7)
    p = np.zeros(D.shape[0])
    for _ in range(10_000):
        p = projected(p - (D @ (D.T @ p - z)) / 8, weight)
    projection = (D.T @ p).reshape(x.shape)
    assert np.abs(projection).max() > weight / 2
    np.testing.assert_allclose(prox(x, reference, weight) - reference + projection, x - reference, atol=1e-4)


def test_huge_weight_shifts_the_reference_to_the_mean_of_x() -> None:
    x, reference = images(2)
    shift = prox(x, reference, 1e4) - reference
    np.testing.assert_allclose(shift, (x - reference).mean(), atol=1e-4)


@pytest.mark.parametrize("iterations", [1, 5, 500])
def test_mean_is_kept_without_a_bound(iterations: int) -> None:
    x, reference = images(2)
    assert prox(x, reference, 0.3, None, iterations).mean() == pytest.approx(x.mean(), abs=1e-12)


def test_prox_moves_with_the_reference() -> None:
    x, reference = images(2)
    around_zero = prox(x - reference, np.zeros(SHAPE), 0.2)
    np.testing.assert_allclose(prox(x, reference, 0.2), reference + around_zero, atol=1e-12)
    assert np.abs(around_zero - prox(x, np.zeros(SHAPE), 0.2)).max() > 0.05


@pytest.mark.parametrize("lower", [None, 0.0])
def test_any_start_of_the_dual_leads_to_the_same_image(lower: float | None) -> None:
    x, reference = tensor(*images(1)), tensor(*images(1, seed=1))
    regularizer = GenTV(reference)
    expected = regularizer.prox(x, 0.2, lower, LONG)
    far = torch.randn(regularizer.cold_dual(x).shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    given = far.clone()
    found, dual = regularizer.prox_from(x, 0.2, far, lower, LONG)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(far, given)
    assert dual.square().sum(0).sqrt().max() <= 0.2 * (1 + 1e-12)


def test_a_cold_start_with_momentum_saves_iterations() -> None:
    rng = torch.Generator().manual_seed(0)
    clean = torch.zeros(2, 1, 48, 48)
    clean[..., 12:30, 8:40] = 0.4
    noisy = clean + 0.02 * torch.randn(clean.shape, generator=rng)
    regularizer = GenTV(torch.zeros_like(noisy))
    exact = regularizer.prox(noisy, 0.02, iterations=LONG)
    plain, _ = regularizer.prox_from(noisy, 0.02, regularizer.cold_dual(noisy), iterations=14)
    assert (regularizer.prox(noisy, 0.02, iterations=12) - exact).norm() < (plain - exact).norm()


def test_images_may_lie_in_memory_as_they_like() -> None:
    x, reference = tensor(*images(2)), tensor(*images(2, seed=1))
    expected = GenTV(reference).prox(x, 0.2, iterations=20)
    for turned in (x.mT.contiguous().mT, x.repeat(1, 2, 1, 1)[:, :1], x.repeat(1, 1, 1, 2)[..., : x.shape[-1]]):
        torch.testing.assert_close(GenTV(reference).prox(turned, 0.2, iterations=20), expected)


def test_a_warm_start_saves_iterations() -> None:
    x, reference = tensor(*images(1)), tensor(*images(1, seed=1))
    regularizer = GenTV(reference)
    near = x + 0.01 * tensor(*images(1, seed=2))
    expected = regularizer.prox(near, 0.2, 0.0, LONG)
    _, dual = regularizer.prox_from(x, 0.2, regularizer.cold_dual(x), 0.0, 200)
    warm, _ = regularizer.prox_from(near, 0.2, dual, 0.0, 10)
    cold, _ = regularizer.prox_from(near, 0.2, regularizer.cold_dual(x), 0.0, 10)
    assert (warm - expected).norm() < 0.1 * (cold - expected).norm()


@pytest.mark.parametrize(("weight", "documented"), [(0.006, 1e-4), (0.06, 6e-4)])
def test_smoothing_moves_the_minimizer_as_little_as_documented(weight: float, documented: float) -> None:
    """Piecewise constant 64 x 64 image with noise. Both minimizers come with their own proof of accuracy."""
    size = 64
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:size, :size]
    pieces = 0.4 * (column > 20) + 0.3 * (row > 37) - 0.2 * ((row - 30) ** 2 + (column - 30) ** 2 < 150)
    x = pieces + rng.normal(0, 0.02, (size, size))
    D = gradient_matrix(size, size)

    def smoothed(u: Array) -> tuple[float, Array]:
        differences = (D @ u).reshape(2, -1)
        length = np.sqrt((differences**2).sum(0) + 1e-8)
        gradient = u - x.ravel() + weight * (D.T @ (differences / length).ravel())
        return 0.5 * ((u - x.ravel()) ** 2).sum() + weight * length.sum(), gradient

    found = scipy.optimize.minimize(
        smoothed,
        x.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 6000, "ftol": 0, "gtol": 1e-8, "maxcor": 30},
    )
    # 1-strongly convex: the distance to the minimizer is at most the norm of the gradient.
    assert np.linalg.norm(smoothed(found.x)[1]) / size < documented / 50
    regularizer = GenTV(torch.zeros(1, 1, size, size, dtype=torch.float64))
    value = regularizer.value(tensor(found.x.reshape(size, size))).item()
    assert 0.5 * ((found.x - x.ravel()) ** 2).sum() + weight * value == pytest.approx(found.fun, rel=1e-12)

    exact, dual = regularizer.prox_from(tensor(x), weight, regularizer.cold_dual(tensor(x)), None, LONG)
    u = exact[0, 0].numpy()
    dual_value = 0.5 * (x**2).sum() - 0.5 * ((x.ravel() - D.T @ dual.numpy().ravel()) ** 2).sum()
    gap = prox_objective(u, x, np.zeros_like(x), weight) - dual_value
    assert np.sqrt(2 * max(gap, 0)) / size < documented / 5

    rms = np.sqrt(((u.ravel() - found.x) ** 2).mean())
    assert documented / 100 < rms < documented
