"""The objective and its two solvers: right on problems with known solutions, honest about what they spent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from LIPCARLib.inverse.networks import VNet
from LIPCARLib.inverse.regularizers import GenTV
from LIPCARLib.inverse.solvers import BarzilaiBorwein, Objective, Solver, Step, Stop, adam, proximal

MakeNetwork = Callable[..., VNet]
Operator = Callable[[Tensor, Tensor | None], Tensor]


def images(count: int, seed: int = 0, size: int = 16) -> Tensor:
    """(count, 1, size, size) float64 in 0..1: random rectangles with a little noise, some of it below zero."""
    rng = np.random.default_rng(seed)
    out = 0.02 * rng.normal(size=(count, 1, size, size))
    for image in out[:, 0]:
        for _ in range(4):
            top, left = rng.integers(0, size - 6, 2)
            image[top : top + 6, left : left + 8] += rng.uniform(0.1, 0.5)
    return torch.from_numpy(out)


def linear(factor: float) -> Operator:
    return lambda x, _: factor * x


@pytest.fixture
def network(make_network: MakeNetwork) -> VNet:
    """A smooth, non-convex forward operator in float64; its second input is the pre-dose image."""
    return make_network(2, smooth=True).double().requires_grad_(False)


@pytest.fixture
def objective(network: VNet) -> Objective:
    """Three slices of differing difficulty, so that they do not finish together."""
    lowdose, reference, predose = images(3), images(3, seed=1), images(3, seed=2)
    reference[1] = lowdose[1]

    def forward_operator(x: Tensor, before: Tensor | None) -> Tensor:
        assert before is not None
        return network(torch.cat((before, x), 1))

    return Objective(forward_operator, lowdose, GenTV(reference), 6e-3, predose)


def run(solver: Solver) -> list[Step]:
    return list(solver)


# Objective


def test_gradient_is_that_of_finite_differences(objective: Objective) -> None:
    x = images(3, seed=3).requires_grad_()
    (gradient,) = torch.autograd.grad(objective.value(x).sum(), x)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        h = 1e-6
        with torch.no_grad():
            slope = (objective.value(x + h * v) - objective.value(x - h * v)) / (2 * h)
        torch.testing.assert_close((gradient * v).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-5)


def test_value_is_half_the_squared_residual_and_alpha_times_the_regularizer() -> None:
    lowdose, reference, x, predose = (images(2, seed=s) for s in range(4))
    objective = Objective(lambda x, p: x**2 + p, lowdose, GenTV(reference), 0.3, predose)
    residual = (x**2 + predose - lowdose).numpy()
    fidelity = 0.5 * (residual**2).sum((1, 2, 3))
    np.testing.assert_allclose(objective.data_fidelity(x).numpy(), fidelity, rtol=1e-12)
    expected = fidelity + 0.3 * GenTV(reference).value(x).numpy()
    np.testing.assert_allclose(objective.value(x).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("predose", [True, False])
def test_indexing_chooses_slices(predose: bool) -> None:
    before = images(3, seed=5) if predose else None
    objective = Objective(lambda x, p: x if p is None else x + p, images(3), GenTV(images(3, seed=1)), 0.3, before)
    x, chosen = images(3, seed=2), torch.tensor([2, 0])
    torch.testing.assert_close(objective[chosen].value(x[chosen]), objective.value(x)[chosen])


# Known solutions


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("alpha", [6e-3, 0.06])
def test_both_solvers_reach_the_minimizer_of_a_linear_problem(factor: float, alpha: float) -> None:
    """For F = a x it is the proximal map of alpha / a^2 at x_L / a, which test_regularizers proves by other means."""
    lowdose, reference = images(2), images(2, seed=1)
    objective = Objective(linear(factor), lowdose, GenTV(reference), alpha)
    expected = GenTV(reference).prox(lowdose / factor, alpha / factor**2, 0.0, 1000)
    best = objective.value(expected)
    assert (expected == 0).any()
    assert (objective.value(reference.clamp(min=0)) > 2 * best).all()

    by_proximal = run(proximal(objective, reference, Stop(30, 0.0), inner_iterations=200))[-1]
    assert (by_proximal.x - expected).square().mean().sqrt() < 1e-3
    torch.testing.assert_close(by_proximal.objective, best, rtol=1e-3, atol=0)

    by_adam = run(adam(objective, lowdose, 400, learning_rate=1e-2))[-1]
    assert (by_adam.x - expected).square().mean().sqrt() < 1e-2
    torch.testing.assert_close(by_adam.objective, best, rtol=0.03, atol=0)


def test_adam_is_adam() -> None:
    """Kingma & Ba's algorithm 1 with a projection, written out in numpy."""
    lowdose, reference, start = (images(2, seed=s, size=12) for s in range(3))
    alpha, rate = 0.05, 0.03
    x = np.maximum(start.numpy(), 0)
    first, second = np.zeros_like(x), np.zeros_like(x)
    expected = [x]
    for k in range(1, 41):
        d = np.pad(x - reference.numpy(), ((0, 0), (0, 0), (0, 1), (0, 1)), "edge")
        dx, dy = np.diff(d, axis=3)[:, :, :-1], np.diff(d, axis=2)[..., :-1]
        length = np.sqrt(dx**2 + dy**2 + 1e-8)
        px, py = dx / length, dy / length
        gradient = 3 * x**2 * (x**3 - lowdose.numpy()) - alpha * (px + py)
        gradient[..., 1:] += alpha * px[..., :-1]
        gradient[..., 1:, :] += alpha * py[..., :-1, :]
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        x = x - rate * (first / (1 - 0.9**k)) / (np.sqrt(second / (1 - 0.999**k)) + 1e-8)
        x = np.maximum(x, 0)
        expected.append(x)
    objective = Objective(lambda x, _: x**3, lowdose, GenTV(reference), alpha)
    steps = run(adam(objective, start, 40, rate))
    assert len(steps) == 41
    for step, image in zip(steps, expected, strict=True):
        np.testing.assert_allclose(step.x.numpy(), image, atol=1e-7)
    assert np.abs(expected[-1] - expected[0]).max() > 0.2


def test_adam_counts_and_finishes_with_its_steps() -> None:
    objective = Objective(linear(1.0), images(2), GenTV(images(2, seed=1)), 6e-3)
    steps = run(adam(objective, images(2), 5))
    assert [s.network_evaluations.tolist() for s in steps] == [[k, k] for k in range(1, 7)]
    assert [bool(s.finished.all()) for s in steps] == [False] * 5 + [True]
    assert not any(s.finished.any() for s in steps[:-1])


# What both owe their callers


def proximal_steps(objective: Objective) -> Solver:
    return proximal(objective, objective.regularizer.reference, Stop(8))


def adam_steps(objective: Objective) -> Solver:
    return adam(objective, objective.lowdose, 6)


both = pytest.mark.parametrize("solve", [proximal_steps, adam_steps])


@both
def test_steps_are_consistent_and_stay_feasible(solve: Callable[[Objective], Solver], objective: Objective) -> None:
    steps = run(solve(objective))
    assert (objective.lowdose < 0).any()
    assert (objective.regularizer.reference < 0).any()
    for step in steps:
        assert step.x.min() >= 0
        assert not step.x.requires_grad
        with torch.no_grad():
            torch.testing.assert_close(step.data_fidelity, objective.data_fidelity(step.x), rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(step.objective, objective.value(step.x), rtol=1e-9, atol=1e-9)
    assert (steps[-1].objective < steps[0].objective).all()


@both
def test_yielded_steps_stay_as_they_were(solve: Callable[[Objective], Solver], objective: Objective) -> None:
    fields = ("x", "objective", "data_fidelity", "network_evaluations", "finished")
    kept = [(step, {f: getattr(step, f).clone() for f in fields}) for step in solve(objective)]
    for step, copies in kept:
        for field, copy in copies.items():
            assert torch.equal(getattr(step, field), copy), field
    assert not torch.equal(kept[0][0].x, kept[-1][0].x)


@both
def test_arguments_stay_as_they_were(solve: Callable[[Objective], Solver], objective: Objective) -> None:
    tensors = (objective.lowdose, objective.regularizer.reference, objective.predose)
    before = [t.clone() for t in tensors if t is not None]
    run(solve(objective))
    for now, then in zip(tensors, before, strict=True):
        assert torch.equal(now, then)
        assert not now.requires_grad


@both
def test_a_slice_alone_gives_what_it_gives_among_others(
    solve: Callable[[Objective], Solver], objective: Objective
) -> None:
    together = run(solve(objective))[-1]
    for i in range(3):
        one = torch.tensor([i])
        alone = run(solve(objective[one]))[-1]
        torch.testing.assert_close(alone.x, together.x[one], atol=1e-5, rtol=0)
        assert alone.network_evaluations.item() == together.network_evaluations[i].item()


@both
def test_counts_are_the_calls_that_were_made(solve: Callable[[Objective], Solver], objective: Objective) -> None:
    calls = torch.zeros(3, dtype=torch.long)
    inner, predose = objective.forward_operator, objective.predose
    assert predose is not None

    def counted(x: Tensor, before: Tensor | None) -> Tensor:
        assert before is not None
        for image in before:  # slices are told by their pre-dose image
            calls[next(i for i in range(3) if torch.equal(image, predose[i]))] += 1
        return inner(x, before)

    objective.forward_operator = counted
    for step in solve(objective):
        assert step.network_evaluations.tolist() == calls.tolist()
    assert (calls > 1).all()


@both
def test_closing_early_stops_the_work(solve: Callable[[Objective], Solver], objective: Objective) -> None:
    calls = []
    inner = objective.forward_operator

    def counted(x: Tensor, before: Tensor | None) -> Tensor:
        calls.append(len(x))
        return inner(x, before)

    objective.forward_operator = counted
    solver = solve(objective)
    assert not calls
    next(solver)
    next(solver)
    solver.close()
    assert len(calls) == 2
    assert next(solver, None) is None


# Proximal


def test_proximal_never_rises_on_a_nonconvex_problem(objective: Objective) -> None:
    values = torch.stack([s.objective for s in proximal(objective, images(3, seed=7), Stop(20, 0.0))])
    assert (values.diff(dim=0) <= 0).all()
    assert (values[-1] < 0.5 * values[0]).all()


@pytest.mark.parametrize("factor", [0.05, 8.0, 30.0])
def test_proximal_finds_its_step_length(factor: float) -> None:
    """Far off the first guess of 1 to both sides: refused steps cost evaluations, never a higher objective."""
    lowdose, reference = images(2), images(2, seed=1)
    alpha = 6e-3 * factor**2
    objective = Objective(linear(factor), lowdose * factor, GenTV(reference), alpha)
    steps = run(proximal(objective, reference, Stop(20, 0.0), inner_iterations=100))
    values = torch.stack([s.objective for s in steps])
    best = objective.value(GenTV(reference).prox(lowdose, 6e-3, 0.0, 1000))
    assert (values.diff(dim=0) <= 0).all()
    torch.testing.assert_close(values[-1], best, rtol=1e-3, atol=0)


def test_proximal_beats_adam_on_few_evaluations(objective: Objective) -> None:
    ours = run(proximal(objective, objective.regularizer.reference, Stop(10, 0.0)))[-1]
    adams = run(adam(objective, objective.regularizer.reference, 10))[-1]
    assert (ours.objective < adams.objective).all()


def test_gradients_are_computed_only_where_a_step_follows() -> None:
    """Not after the last evaluation, nor where a step is refused: F doubles its slope beyond the start."""
    seen = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.append(len(gradient))
            return gradient

    def forward_operator(x: Tensor, _: Tensor | None) -> Tensor:
        return Watched.apply(torch.where(x > 1, 1 + 40 * (x - 1), x))

    start = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    objective = Objective(forward_operator, 2 * start, GenTV(start), 6e-3)
    steps = run(proximal(objective, start, Stop(6, 0.0)))
    taken = sum(bool(b.objective < a.objective) for a, b in pairwise(steps))
    assert 0 < taken < 5
    assert len(seen) == 1 + taken - bool(steps[-1].objective < steps[-2].objective)
    seen.clear()
    run(proximal(objective, start, Stop(1)))
    assert not seen


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_proximal_keeps_to_the_limit(limit: int, objective: Objective) -> None:
    steps = run(proximal(objective, objective.regularizer.reference, Stop(limit, 0.0)))
    assert [s.network_evaluations.tolist() for s in steps] == [[k] * 3 for k in range(1, limit + 1)]
    assert steps[-1].finished.all()
    assert not any(s.finished.any() for s in steps[:-1])


def test_proximal_stops_each_slice_when_it_has_settled() -> None:
    """One slice starts at its minimizer: it is left alone while the other goes on."""
    lowdose, reference = images(2), images(2, seed=1)
    objective = Objective(linear(0.5), lowdose, GenTV(reference), 0.02)
    start = reference.clone()
    start[0] = GenTV(reference).prox(lowdose / 0.5, 0.02 / 0.25, 0.0, 1500)[0]
    steps = run(proximal(objective, start, Stop(40, 1e-3), inner_iterations=200))
    last = steps[-1]
    assert last.finished.all()
    assert last.network_evaluations[0] == 2
    assert 2 < last.network_evaluations[1] < 40
    first_finished = next(s for s in steps if s.finished[0])
    assert not first_finished.finished[1]
    assert torch.equal(first_finished.x[0], last.x[0])
    expected = GenTV(reference).prox(lowdose / 0.5, 0.02 / 0.25, 0.0, 1500)
    assert (last.x - expected).norm() < 5e-3 * expected.norm()


def test_a_looser_tolerance_stops_sooner(objective: Objective) -> None:
    start = objective.regularizer.reference
    last = [run(proximal(objective, start, Stop(15, tolerance)))[-1] for tolerance in (0.3, 3e-2, 0.0)]
    spent = [step.network_evaluations.sum().item() for step in last]
    assert spent[0] < spent[1] < spent[2] == 45


def test_an_empty_slice_stays_empty() -> None:
    nothing = torch.zeros(1, 1, 8, 8)
    objective = Objective(linear(1.0), nothing, GenTV(nothing), 6e-3)
    steps = run(proximal(objective, nothing, Stop(10)))
    assert len(steps) == 2
    assert torch.equal(steps[-1].x, nothing)


# Constraint


def blur(x: Tensor, predose: Tensor | None = None) -> Tensor:
    return 0.3 * x + 0.1 * torch.roll(x, 1, -1)


def misjudged(**kwargs: Tensor) -> tuple[Objective, Tensor, Tensor]:
    torch.manual_seed(5)
    truth = torch.zeros(2, 1, 48, 48)
    truth[..., 12:36, 12:36] = 0.6
    xbar = truth.clone()
    xbar[..., 16:30, 16:30] += 0.2  # what the prior got wrong
    lowdose = blur(truth) + 0.02 * torch.randn_like(truth)
    support = truth > 0
    return Objective(blur, lowdose, GenTV(xbar, support), 0.01, **kwargs), xbar, truth


def test_off_the_support_nothing_moves() -> None:
    objective, xbar, _ = misjudged()
    *_, last = proximal(objective, xbar, Stop(20))
    support = objective.regularizer.support
    assert torch.equal(last.x[~support], xbar[~support])
    assert (last.x - xbar)[support].abs().max() > 0.05


# The rules of proximal


def test_steps_are_as_long_as_the_curvature_says() -> None:
    """||s|| / ||y||, longer where the curvature is negative, half or less after a refusal, within the bounds."""
    rule = BarzilaiBorwein(first=0.5, shortest=0.1, longest=50.0, growth=2.0)
    s, t = torch.ones(5, 1, 2, 2), torch.full((5,), 0.4)
    curvature = torch.tensor([4.0, 0.5, -1.0, 100.0, 0.001])
    expected = torch.tensor([0.25, 2.0, 0.8, 0.1, 50.0])
    torch.testing.assert_close(rule.after(t, s, curvature.view(-1, 1, 1, 1) * s), expected)
    uneven = torch.tensor([1.0, 3.0]).repeat(2).view(1, 1, 2, 2)
    torch.testing.assert_close(rule.after(t[:1], s[:1], uneven), torch.tensor([5**-0.5]))
    refused = torch.tensor([0.2, 0.2, 0.2, 0.1, 0.2])
    torch.testing.assert_close(rule.refused(t, s, curvature.abs() * 4 * torch.tensor([0.5, 1, -1, 1, 1])), refused)
    # A residual r of 2 and the gradient 3 r of F(x) = 3 x; a gradient of nothing asks for the longest step.
    residual = torch.full((2, 1, 2, 2), 2.0)
    slope = torch.tensor([3.0, 0.0]).view(-1, 1, 1, 1)
    first = rule.at_first(0.5 * residual.square().flatten(1).sum(1), slope * residual)
    torch.testing.assert_close(first, torch.tensor([0.1, 50.0]))


def test_a_slice_stops_when_it_has_settled_or_spent_its_evaluations() -> None:
    x = torch.ones(4, 1, 2, 2)
    s = torch.tensor([1e-4, 1e-2, 1e-2, 1e-4]).view(-1, 1, 1, 1) * x
    t, spent = torch.tensor([1.0, 1.0, 1.0, 1e-2]), torch.tensor([2, 2, 10, 2])
    assert Stop(10, 1e-3)(x, s, t, spent).tolist() == [True, False, True, False]
