"""What every regularizer and every forward operator owes its callers.

Both are found by inspection: a new class in regularizers.py, and a new function or method that predicts from `highdose`
or returns a ForwardOperator, is tested here without being named.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from LIPCARLib import inverse, physics
from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse import regularizers
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.networks import VNet
from LIPCARLib.inverse.operators import ForwardOperator
from LIPCARLib.inverse.regularizers import GenTV, Regularizer
from LIPCARLib.physics import Acquisition, PulseSequence

SHAPE = (5, 7)
LONG = 1000
"""Iterations of a proximal map where it shall be exact."""


def images(count: int, seed: int = 0, shape: tuple[int, int] = SHAPE) -> Tensor:
    """(count, 1, H, W) float64, partly negative."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0.2, 0.5, (count, 1, *shape)))


def dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


# Regularizers

Make = Callable[[Tensor], Regularizer]


def find_regularizers(module: ModuleType = regularizers) -> list[tuple[str, Make]]:
    """Every public class of the module, once with a support if it can have one."""
    found: list[tuple[str, Make]] = []
    for name, member in vars(module).items():
        if not inspect.isclass(member) or member.__module__ != module.__name__ or name.startswith("_"):
            continue
        if getattr(member, "_is_protocol", False):
            continue
        found.append((name, member))
        if "support" in inspect.signature(member).parameters:
            found.append((f"{name} on a support", on_a_support(member)))
    return found


def on_a_support(regularizer: Callable[..., Regularizer]) -> Make:
    def make(reference: Tensor) -> Regularizer:
        generator = torch.Generator().manual_seed(1)
        return regularizer(reference, support=torch.rand(reference.shape, generator=generator) > 0.3)

    return make


def feasible(regularizer: Regularizer, reference: Tensor, u: Tensor, lower: float | None) -> Tensor:
    """The nearest image that keeps the bound, and the reference off the support."""
    bounded = u if lower is None else u.clamp(min=lower)
    support = getattr(regularizer, "support", None)
    return bounded if support is None else torch.where(support, bounded, reference)


def neighbors(u: Tensor, count: int = 40) -> Iterator[Tensor]:
    """Images near and far; rectangles are the moves that total variation charges least for."""
    rng = np.random.default_rng(2)
    for trial in range(count):
        change = 10 ** rng.uniform(-4, 0) * rng.normal(size=u.shape)
        if trial % 2:
            top, left = rng.integers(0, SHAPE[0]), rng.integers(0, SHAPE[1])
            rectangle = np.zeros(u.shape)
            rectangle[..., top : top + 4, left : left + 5] = change[..., :1, :1]
            change = rectangle
        yield u + torch.from_numpy(change)


def check_value_is_least_at_the_reference(make: Make) -> None:
    reference = images(3)
    regularizer = make(reference)
    at_reference = regularizer.value(reference)
    assert at_reference.shape == (3,)
    smoothing = reference[0].numel() * regularizers.SMOOTHING**0.5
    assert (at_reference >= 0).all() and (at_reference <= smoothing * (1 + 1e-9)).all()
    for x in neighbors(reference):
        assert (regularizer.value(x) >= at_reference).all()
    assert (regularizer.value(images(3, seed=1)) > 1).all()


def check_value_is_convex(make: Make) -> None:
    regularizer, a, b = make(images(3)), images(3, seed=1), images(3, seed=2)
    for share in (0.2, 0.5, 0.9):
        between = regularizer.value(share * a + (1 - share) * b)
        assert (between <= share * regularizer.value(a) + (1 - share) * regularizer.value(b) + 1e-12).all()


def check_gradient_is_that_of_finite_differences(make: Make) -> None:
    reference, x = images(1, shape=(4, 5)), images(1, seed=1, shape=(4, 5))
    assert torch.autograd.gradcheck(make(reference).value, (x.requires_grad_(),))
    at_reference = reference.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(make(reference).value(at_reference).sum(), at_reference)
    assert torch.equal(gradient, torch.zeros_like(gradient))  # the least value, and no nan


def check_nothing_nearby_beats_the_prox(make: Make) -> None:
    """By strong convexity every feasible v costs at least 1/2 ||v - prox||^2 more, which leaves no room for luck."""
    x, reference = images(2, seed=1), images(2).abs()
    regularizer = make(reference)
    for weight, lower in ((0.05, None), (0.5, None), (0.05, 0.0), (0.5, 0.0)):
        u = regularizer.prox(x, weight, lower, LONG)
        torch.testing.assert_close(u, feasible(regularizer, reference, u, lower), atol=1e-12, rtol=0)
        best = 0.5 * dot(u - x, u - x) + weight * regularizer.value(u)
        for neighbor in neighbors(u):
            v = feasible(regularizer, reference, neighbor, lower)
            cost = 0.5 * dot(v - x, v - x) + weight * regularizer.value(v)
            assert (cost >= best + 0.5 * dot(v - u, v - u) - 1e-6).all()


def check_moreaus_identity(make: Make) -> None:
    """x = u + v with u = prox(x), v = prox of the conjugate. v is a subgradient at u, of the constraints' part too:
    so u is also the proximal map of u + t v for t times the weight, whatever t is."""
    x, reference = images(2, seed=1), images(2).abs()
    regularizer = make(reference)
    for lower in (None, 0.0):
        u = regularizer.prox(x, 0.2, lower, LONG)
        v = x - u
        assert v.abs().max() > 0.1
        for t in (0.3, 3.0):
            torch.testing.assert_close(regularizer.prox(u + t * v, t * 0.2, lower, LONG), u, atol=2e-4, rtol=0)


def check_prox_is_firmly_nonexpansive(make: Make) -> None:
    regularizer, a, b = make(images(6).abs()), images(6, seed=1), images(6, seed=2)
    for lower in (None, 0.0):
        moved = regularizer.prox(a, 0.2, lower, 800) - regularizer.prox(b, 0.2, lower, 800)
        assert (dot(moved, moved) <= dot(moved, a - b) + 1e-5).all()
        assert (dot(moved, moved) < 0.9 * dot(a - b, a - b)).all()
        assert (dot(moved, moved) > 1e-2).all()


def check_weight_zero_is_the_projection(make: Make) -> None:
    x, reference = images(2, seed=1), images(2).abs()
    regularizer = make(reference)
    for lower in (None, 0.0):
        expected = feasible(regularizer, reference, x, lower)
        torch.testing.assert_close(regularizer.prox(x, 0.0, lower, 20), expected, atol=1e-12, rtol=0)


def check_constraints_hold_after_any_number_of_iterations(make: Make) -> None:
    x, reference = images(2, seed=1), images(2).abs()
    regularizer = make(reference)
    for iterations in (1, 7, 200):
        u = regularizer.prox(x, 0.3, 0.0, iterations)
        torch.testing.assert_close(u, feasible(regularizer, reference, u, 0.0), atol=1e-12, rtol=0)


def check_slices_have_their_own_weights_and_do_not_mix(make: Make) -> None:
    x, regularizer = images(3, seed=1), make(images(3))
    weights = torch.tensor([0.3, 0.0, 0.02]).double()
    for lower in (None, 0.0):
        together = regularizer.prox(x, weights, lower, 60)
        for i in range(3):
            one = torch.tensor([i])
            alone = regularizer[one].prox(x[one], float(weights[i]), lower, 60)
            torch.testing.assert_close(together[one], alone, atol=1e-12, rtol=0)
    for index in (torch.tensor([2, 0]), torch.tensor([True, False, True])):
        part = regularizer[index]
        assert type(part) is type(regularizer)
        torch.testing.assert_close(part.value(x[index]), regularizer.value(x)[index])


def check_a_warm_start_leads_to_the_same_image(make: Make) -> None:
    x, regularizer = images(2, seed=1), make(images(2))
    expected, dual = regularizer.prox_from(x, 0.2, regularizer.cold_dual(x), 0.0, LONG)
    torch.testing.assert_close(regularizer.prox(x, 0.2, 0.0, LONG), expected)
    assert dual.shape == regularizer.cold_dual(x).shape and dual.shape[1] == 2
    again, _ = regularizer.prox_from(x, 0.2, dual, 0.0, 10)
    torch.testing.assert_close(again, expected, atol=1e-5, rtol=0)


def check_what_an_inexact_prox_misses_is_less_than_was_allowed(make: Make) -> None:
    x, reference, weight = images(3, seed=1), images(3), 0.3
    regularizer = make(reference)
    cold = regularizer.cold_dual(x)

    def minimized(u: Tensor) -> Tensor:
        return 0.5 * (u - x).square().flatten(1).sum(1) + weight * regularizer.value(u)

    gap = torch.tensor([1e-1, 1e-3, 1e-12]).double()
    found, dual = regularizer.prox_from(x, weight, cold, 0.0, LONG, gap)
    missed = minimized(found) - minimized(regularizer.prox(x, weight, 0.0, LONG))
    assert (missed <= gap + 1e-12).all() and missed[0] > 1e-4, "the first slice stopped early, the others went on"
    for i in range(3):
        one = torch.tensor([i])
        alone, its_dual = regularizer[one].prox_from(x[one], weight, cold[:, one], 0.0, LONG, gap[one])
        torch.testing.assert_close(alone, found[one], atol=1e-12, rtol=0)
        torch.testing.assert_close(its_dual, dual[:, one], atol=1e-12, rtol=0)


def check_everything_is_finite(make: Make) -> None:
    for shape in (SHAPE, (1, 6), (6, 1), (1, 1)):
        reference = images(2, shape=shape).float()
        regularizer = make(reference)
        for x in (reference, torch.zeros_like(reference), reference + 1e4, 1e-20 * reference):
            variable = x.clone().requires_grad_()
            value = regularizer.value(variable)
            (gradient,) = torch.autograd.grad(value.sum(), variable)
            prox = regularizer.prox(x, 1e-3, 0.0, 20)
            assert all(torch.isfinite(one).all() for one in (value, gradient, prox))
            assert prox.dtype == x.dtype and prox.shape == x.shape


def check_arguments_stay_as_they_were(make: Make) -> None:
    reference, x, weight = images(2), images(2, seed=1), torch.tensor([0.1, 0.2]).double()
    regularizer = make(reference)
    dual = regularizer.cold_dual(x) + 0.01
    before = [one.clone() for one in (reference, x, weight, dual)]
    regularizer.prox_from(x, weight, dual, 0.0, 20)
    assert all(torch.equal(now, then) for now, then in zip((reference, x, weight, dual), before, strict=True))


CHECKS = [function for name, function in list(globals().items()) if name.startswith("check_")]
EXACT = {
    check_nothing_nearby_beats_the_prox,
    check_moreaus_identity,
    check_what_an_inexact_prox_misses_is_less_than_was_allowed,
}
"""Where the value is compared with the proximal map, which knows no smoothing."""


def run_check(check: Callable[[Make], None], make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        if check in EXACT:
            patch.setattr(regularizers, "SMOOTHING", 0.0)
        check(make)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize(("name", "make"), find_regularizers(), ids=[name for name, _ in find_regularizers()])
def test_regularizer(name: str, make: Make, check: Callable[[Make], None], monkeypatch: pytest.MonkeyPatch) -> None:
    run_check(check, make, monkeypatch)


# A class that was added: a Huber version of GenTV, in the few lines that it takes


class HuberTV(GenTV):
    """h(t) = t^2 / (2 EDGE) up to EDGE and t - EDGE / 2 beyond: small differences are smoothed, edges are kept."""

    EDGE = 0.1

    def value(self, x: Tensor) -> Tensor:
        dx, dy = regularizers._differences(x - self.reference)
        length = (dx**2 + dy**2 + 1e-30).sqrt()
        return torch.where(length < self.EDGE, length**2 / (2 * self.EDGE), length - self.EDGE / 2).flatten(1).sum(1)

    def _shrink(self, p: Tensor, weight: Tensor, length: Tensor) -> None:
        p.div_(1 + self.EDGE / (8 * weight))  # the conjugate of weight h is that of TV and EDGE |p|^2 / (2 weight)
        super()._shrink(p, weight, length)

    def _gap(self, p: Tensor, d: Tensor, weight: Tensor) -> Tensor:
        conjugate = self.EDGE / (2 * weight) * p.square().sum(0)
        along = (p * torch.stack(regularizers._differences(d))).sum(0)
        return weight.flatten() * self.value(d + self.reference) + (conjugate - along).flatten(1).sum(1)


class WrongTV(GenTV):
    """Its proximal map takes twice the weight."""

    def _shrink(self, p: Tensor, weight: Tensor, length: Tensor) -> None:
        super()._shrink(p, 2 * weight, length)


def module_with(*members: Any) -> ModuleType:
    module = ModuleType("regularizers_of_tomorrow")
    for member in members:
        setattr(module, member.__name__, type(member.__name__, (member,), {"__module__": module.__name__}))
    return module


def test_what_is_there_is_found() -> None:
    assert [name for name, _ in find_regularizers()] == ["GenTV", "GenTV on a support"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_a_new_regularizer_is_found_and_tested(check: Callable[[Make], None], monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_regularizers(module_with(HuberTV))
    assert [name for name, _ in found] == ["HuberTV", "HuberTV on a support"]
    for _, make in found:
        run_check(check, make, monkeypatch)


def test_a_wrong_regularizer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, make), _ = find_regularizers(module_with(WrongTV))
    with pytest.raises(AssertionError):
        run_check(check_nothing_nearby_beats_the_prox, make, monkeypatch)


# Forward operators

ROOMS = (inverse, physics)
Operator = Callable[..., Tensor]


def find_operators(modules: list[ModuleType]) -> dict[str, tuple[type | None, Callable[..., Any]]]:
    """By dotted name, the class (None for a function) and what predicts from `highdose` or makes a ForwardOperator."""
    found = {}
    for module in modules:
        for name, member in vars(module).items():
            if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(member) and (predicts(member) or makes(member)):
                found[f"{module.__name__}.{name}"] = (None, member)
            if inspect.isclass(member):
                for method, function in vars(member).items():
                    public = not method.startswith("_") or method == "__call__"
                    if public and inspect.isfunction(function) and predicts(function):
                        found[f"{module.__name__}.{name}.{method}"] = (member, function)
    return found


def predicts(function: Callable[..., Any]) -> bool:
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name != "self"]
    return names[:1] == ["highdose"] and str(signature.return_annotation) == "Tensor"


def makes(function: Callable[..., Any]) -> bool:
    return "ForwardOperator" in str(inspect.signature(function).return_annotation)


def modules_of(*rooms: ModuleType) -> list[ModuleType]:
    return [
        importlib.import_module(f"{room.__name__}.{entry.name}")
        for room in rooms
        for entry in pkgutil.iter_modules(room.__path__)
    ]


OPERATORS = find_operators(modules_of(*ROOMS))


def some_operator(highdose: Tensor, given: Tensor | None) -> Tensor:
    assert given is not None
    return 0.3 * highdose + 0.1 * torch.roll(highdose, 1, -1) ** 2 + 0.2 * given[:, :1]


@pytest.fixture(scope="module")
def parts(make_network: Callable[..., VNet], examination: Examination) -> dict[str, Any]:
    """What operators are made of, by the name of the argument. Three slices, float64."""
    model = NetworkPair(
        make_network(2, smooth=True, seed=1),
        make_network(2, smooth=True, seed=2),
        {"name": "smooth", "training": {"clean_images_used_for_forward_operator": True}},
    ).double()
    predose = images(3, seed=4).abs()
    equilibrium = predose + 1
    return {
        "predose": predose,
        "equilibrium": equilibrium,
        "full": equilibrium,
        "fraction": 0.2,
        "acquisition": Acquisition(PulseSequence.GRADIENT_ECHO, repetition_time=0.008, flip_angle=20.0),
        "images": torch.cat((predose, equilibrium), dim=1),
        "forward_operator": some_operator,
        "first": some_operator,
        "second": some_operator,
        "floor": 0.1,
        "channels": 1,
        "model": model,
        "examination": examination,
        NetworkPair.__name__: model,
    }


def built(
    owner: type | None, function: Callable[..., Any], parts: dict[str, Any]
) -> tuple[Operator, dict[str, Tensor]]:
    """F as a function of x and of tensors by slice, and these tensors."""
    needed = {
        name: parameter.default is parameter.empty
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", "highdose")
    }
    missing = [name for name, required in needed.items() if required and name not in parts]
    if owner is not None and owner.__name__ not in parts:
        missing.append(owner.__name__)
    if missing:
        pytest.fail(f"tell the fixture `parts` what {', '.join(missing)} of {function.__qualname__} is")
    arguments = {name: parts[name] for name in needed if name in parts}
    if not makes(function):
        bound = function if owner is None else getattr(parts[owner.__name__], function.__name__)
        by_slice = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
        rest = {name: value for name, value in arguments.items() if name not in by_slice}
        return partial(bound, **rest), by_slice
    made = function(**arguments)
    operator = made[0] if isinstance(made, tuple) else made
    return operator, {"given": parts["predose" if "model" in needed else "images"]}


def by_position(operator: Operator, x: Tensor, given: dict[str, Tensor]) -> Tensor:
    return operator(x, *given.values())


@pytest.fixture(params=list(OPERATORS))
def operator(request: pytest.FixtureRequest, parts: dict[str, Any]) -> tuple[Operator, dict[str, Tensor]]:
    return built(*OPERATORS[request.param], parts)


def test_operators_that_are_there_are_found() -> None:
    found = {name.removeprefix("LIPCARLib.") for name in OPERATORS}
    assert found >= {
        "inverse.network_pair.NetworkPair.forward_operator",
        "inverse.operators.by_acquisition",
        "inverse.operators.with_noise_floor",
    }
    assert any(name.startswith("physics.") for name in found)


def test_a_new_operator_is_found() -> None:
    def blurred(highdose: Tensor, psf: Tensor) -> Tensor:
        return highdose * psf

    def counted(highdose: Tensor) -> int:
        return len(highdose)

    class Twice:
        def __call__(self, highdose: Tensor, images: Tensor | None) -> Tensor:
            return 2 * highdose

    def make(gain: float) -> ForwardOperator:
        return Twice()

    module = ModuleType("tomorrow")
    for member in (blurred, counted, Twice, make):
        member.__module__ = "tomorrow"
        setattr(module, member.__name__, member)
    found = find_operators([module])
    assert list(found) == ["tomorrow.blurred", "tomorrow.Twice.__call__", "tomorrow.make"]
    with pytest.raises(pytest.fail.Exception, match="tell the fixture `parts` what psf of .*blurred is"):
        built(*found["tomorrow.blurred"], {})


def test_gradient_is_that_of_finite_differences(operator: tuple[Operator, dict[str, Tensor]]) -> None:
    forward, given = operator
    x = images(3, seed=3).abs().requires_grad_()
    value = by_position(forward, x, given)
    towards = torch.from_numpy(np.random.default_rng(5).normal(size=value.shape))
    (gradient,) = torch.autograd.grad(value, x, towards)
    for seed in range(5):
        v, h = images(3, seed=10 + seed), 1e-6
        with torch.no_grad():
            difference = by_position(forward, x + h * v, given) - by_position(forward, x - h * v, given)
        torch.testing.assert_close(dot(gradient, v), dot(difference, towards) / (2 * h), rtol=1e-5, atol=1e-6)
    assert gradient.abs().max() > 0


def test_slices_of_an_operator_do_not_mix(operator: tuple[Operator, dict[str, Tensor]]) -> None:
    forward, given = operator
    x = images(3, seed=3).abs()
    with torch.no_grad():
        together = by_position(forward, x, given)
        assert together.shape[0] == 3 and together.shape[2:] == x.shape[2:]
        for i in range(3):
            one = slice(i, i + 1)
            part = {k: v[one] if isinstance(v, Tensor) else v for k, v in given.items()}
            torch.testing.assert_close(by_position(forward, x[one], part), together[one], rtol=1e-9, atol=1e-9)


def test_an_operator_is_finite_and_writes_to_nothing(operator: tuple[Operator, dict[str, Tensor]]) -> None:
    forward, given = operator
    before = [v.clone() for v in given.values() if isinstance(v, Tensor)]
    for x in (images(3, seed=3).abs(), torch.zeros(3, 1, *SHAPE).double(), torch.full((3, 1, *SHAPE), 1e3).double()):
        variable = x.clone().requires_grad_()
        value = by_position(forward, variable, given)
        (gradient,) = torch.autograd.grad(value.sum(), variable)
        assert torch.isfinite(value).all() and torch.isfinite(gradient).all()
        assert torch.equal(variable.detach(), x)
    after = [v for v in given.values() if isinstance(v, Tensor)]
    assert all(torch.equal(now, then) for now, then in zip(after, before, strict=True))
