"""The pipeline: the same voxels however it is driven, an honest progress, and errors a user can act on."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.examination import Examination
from LIPCARLib.imaging.intensity import noise_floor
from LIPCARLib.inverse import reconstruction as reconstruction_module
from LIPCARLib.inverse.devices import describe
from LIPCARLib.inverse.model import load_model
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.operators import with_noise_floor
from LIPCARLib.inverse.progress import Progress, complete
from LIPCARLib.inverse.reconstruction import ALPHA, SOLVERS, reconstruct
from LIPCARLib.inverse.result import Records, Result
from LIPCARLib.inverse.session import Session, Slices
from LIPCARLib.physics import DOSE_FRACTION

IMAGES = dict[str, sitk.Image]


def run(examination: Examination, model: NetworkPair, **options: object) -> Result:
    """With the paper's objective, unless told otherwise."""
    options = {"iterations": 5, "alpha": ALPHA, **options}
    return complete(reconstruct(examination, model, device="cpu", **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def uneven() -> Examination:
    """Noise of 5 x 21 x 35 voxels with a bright block: no side fits the network's stride."""
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(50, 400, (5, 21, 35)).astype(np.float32) for _ in range(2)]
    arrays[0][1:4, 6:15, 8:20] += 500
    return Examination.from_images(*(sitk.GetImageFromArray(a) for a in arrays), slice_axis=2)


# Result


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_result_is_complete(solver: str, examination: Examination, model: NetworkPair) -> None:
    result = run(examination, model, solver=solver)
    for volume in (result.highdose, result.prior):
        assert volume.shape == examination.lowdose.shape
        assert volume.dtype == np.float32
        assert np.isfinite(volume).all()
        assert volume.min() >= 0
    assert np.abs(result.highdose - result.prior).max() > 0.01 * examination.scale
    assert len(result.objective) == len(result.residual_rms) == len(result.network_evaluations) == 3
    assert all(values[-1] < values[0] for values in result.objective)
    assert result.seconds > 0


def test_prior_is_the_models(examination: Examination, model: NetworkPair) -> None:
    low, pre = (
        torch.from_numpy(a / np.float32(examination.scale))[:, None] for a in (examination.lowdose, examination.predose)
    )
    with torch.no_grad():
        expected = model.prior(low, pre)[:, 0].numpy() * examination.scale
    np.testing.assert_allclose(run(examination, model).prior, expected, atol=1e-4 * examination.scale)


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_reported_numbers_belong_to_the_result(solver: str, examination: Examination, model: NetworkPair) -> None:
    result = run(examination, model, solver=solver, iterations=4, alpha=0.02)
    x, xbar, low, pre = (
        torch.from_numpy(a / np.float32(examination.scale))[:, None].double()
        for a in (result.highdose, result.prior, examination.lowdose, examination.predose)
    )
    with torch.no_grad():
        residual = model.double().forward_operator(x, pre) - low
    d = (x - xbar)[:, 0].numpy()
    dx = np.diff(d, axis=2, append=d[:, :, -1:])
    dy = np.diff(d, axis=1, append=d[:, -1:])
    variation = np.sqrt(dx**2 + dy**2 + 1e-8).sum((1, 2))
    squared = residual.square().sum((1, 2, 3)).numpy()
    np.testing.assert_allclose(result.residual_rms, np.sqrt(squared / residual[0].numel()), rtol=1e-3)
    last = [values[-1] for values in result.objective]
    np.testing.assert_allclose(last, 0.5 * squared + 0.02 * variation, rtol=1e-3)
    steps = [len(values) for values in result.objective]
    assert steps == result.network_evaluations
    assert steps == ([5] * 3 if solver == "adam" else [4] * 3)


def test_proximal_objective_never_rises(examination: Examination, model: NetworkPair) -> None:
    for values in run(examination, model, iterations=8).objective:
        assert len(values) > 2
        assert (np.diff(values) <= 0).all()


def test_one_evaluation_is_the_prior(examination: Examination, model: NetworkPair) -> None:
    result = run(examination, model, iterations=1)
    np.testing.assert_array_equal(result.highdose, result.prior)
    assert result.network_evaluations == [1, 1, 1]


def test_provenance_is_plain_and_complete(examination: Examination, model: NetworkPair) -> None:
    provenance = run(examination, model, alpha=0.01, iterations=2).provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert "not for diagnosis" in provenance["simulated"]
    expected = {
        "model": "random-predose",
        "model_sha256": model.digest,
        "predose_used": True,
        "alpha": 0.01,
        "solver": "proximal",
        "iterations": 2,
        "scale": examination.scale,
        "slice_axis": 2,
        "torch": torch.__version__,
    }
    assert {key: provenance[key] for key in expected} == expected


# Invariances


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_batch_size_does_not_change_the_result(solver: str, examination: Examination, model: NetworkPair) -> None:
    one, two, three = (run(examination, model, solver=solver, slices_at_once=n) for n in (1, 2, 3))
    for other in (two, three):
        difference = np.abs(other.highdose - one.highdose) / examination.scale
        # Adam divides by the gradient's size, and F has kinks: there rounding alone decides the direction.
        assert np.median(difference) < 1e-6
        assert solver == "adam" or difference.max() < 1e-3
        np.testing.assert_allclose(other.prior, one.prior, atol=1e-5 * examination.scale, rtol=0)
        assert other.network_evaluations == one.network_evaluations
        np.testing.assert_allclose(other.residual_rms, one.residual_rms, rtol=1e-4)


def test_the_result_is_in_the_units_of_the_input(
    phantom_images: IMAGES, examination: Examination, model: NetworkPair
) -> None:
    tenfold = Examination.from_images(phantom_images["lowdose"] * 10, phantom_images["predose"] * 10)
    once, again = run(examination, model), run(tenfold, model)
    assert tenfold.scale == pytest.approx(10 * examination.scale)
    np.testing.assert_allclose(again.highdose, 10 * once.highdose, atol=1e-4 * tenfold.scale, rtol=0)
    np.testing.assert_allclose(again.residual_rms, once.residual_rms, rtol=1e-3)


def test_the_highdose_image_is_never_looked_at(examination: Examination, model: NetworkPair) -> None:
    blind = run(replace(examination, highdose=None), model)
    np.testing.assert_array_equal(blind.highdose, run(examination, model).highdose)


def test_a_model_without_predose_input_ignores_the_image(examination: Examination, lowdose_model: NetworkPair) -> None:
    without = run(replace(examination, predose=None), lowdose_model)
    np.testing.assert_array_equal(without.highdose, run(examination, lowdose_model).highdose)
    assert without.provenance["predose_used"] is False


def test_large_alpha_returns_the_prior(examination: Examination, model: NetworkPair) -> None:
    strict, loose = (run(examination, model, alpha=alpha, iterations=10) for alpha in (1e4, 1e-3))
    for result, limit in ((strict, 1e-3), (loose, np.inf)):
        d = (result.highdose - result.prior) / examination.scale
        spread = d.std(axis=(1, 2))
        assert (spread < limit).all()
    assert (spread > 0.02).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_slicing_axis_and_odd_sizes(axis: int, uneven: Examination, model: NetworkPair) -> None:
    volume = {role: uneven.to_image(getattr(uneven, role)) for role in ("lowdose", "predose")}
    examination = Examination.from_images(volume["lowdose"], volume["predose"], slice_axis=axis)
    result = run(examination, model, iterations=3)
    assert result.highdose.shape == examination.lowdose.shape
    assert examination.to_image(result.highdose).GetSize() == (35, 21, 5)
    assert result.provenance["slice_axis"] == axis
    one = run(examination.part(1, 3), model, iterations=3)
    np.testing.assert_allclose(one.highdose, result.highdose[1:3], atol=1e-5 * examination.scale, rtol=0)
    assert one.provenance["slices"] == f"2-3 of {len(examination.lowdose)}"
    assert {**one.provenance, "slices": None} == {**result.provenance, "slices": None}


def test_data_consistency_is_the_residual(examination: Examination, model: NetworkPair) -> None:
    result = run(examination, model, iterations=3, data_consistency=True)
    rms = np.sqrt(np.mean(np.square(result.data_consistency / examination.scale), axis=(1, 2)))
    np.testing.assert_allclose(rms, result.residual_rms, rtol=1e-4)
    plain = run(examination, model, iterations=3)
    assert plain.data_consistency is None
    assert plain.network_evaluations == result.network_evaluations
    np.testing.assert_array_equal(plain.highdose, result.highdose)


def test_two_dimensional_examination(uneven: Examination, model: NetworkPair) -> None:
    flat = [sitk.GetImageFromArray(a[2]) for a in (uneven.lowdose, uneven.predose)]
    result = run(Examination.from_images(*flat), model, iterations=2)
    assert result.highdose.shape == (1, 21, 35)


# Progress and cancelling


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("at_once", [1, 2, None])
def test_progress_rises_to_one(
    solver: str, at_once: int | None, examination: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconstruction_module, "lane_count", lambda *_: 2)
    reports: list[Progress] = []
    result = complete(
        reconstruct(examination, model, alpha=ALPHA, solver=solver, iterations=4, device="cpu", slices_at_once=at_once),
        reports.append,
    )
    fractions = [r.fraction for r in reports]
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert (np.diff(fractions) >= 0).all()
    assert len(set(fractions)) > len(result.objective) * 2
    assert [r.slices_done for r in reports] == sorted(r.slices_done for r in reports)
    assert reports[-1].slices_done == reports[-1].slices_total == 3
    assert reports[0].seconds_left is None
    assert all(r.seconds_left is not None and r.seconds_left >= 0 for r in reports[1:])
    assert reports[-1].seconds_left == 0
    assert {r.device for r in reports} == {describe(torch.device("cpu"))}


def test_where_the_prior_is_the_answer_it_is_most_of_the_progress(examination: Examination) -> None:
    steps = reconstruct(examination, load_model("signal"), alpha="auto", device="cpu", slices_at_once=1)
    fractions = [next(steps).fraction for _ in range(3)]
    steps.close()
    assert fractions[0] == 0 and fractions[1] > 0.5 / len(examination.lowdose)


def test_cancelling_at_any_step_leaves_nothing_behind(examination: Examination, model: NetworkPair) -> None:
    arrays = (examination.lowdose, examination.predose, examination.highdose)
    before = [a.copy() for a in arrays]
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    options = {"alpha": ALPHA, "iterations": 3, "slices_at_once": 2}
    whole = run(examination, model, **options)
    steps = 0
    while True:
        unfinished = reconstruct(examination, model, device="cpu", **options)
        alive = all(next(unfinished, None) is not None for _ in range(steps))
        unfinished.close()
        assert next(unfinished, None) is None
        if not alive:
            break
        steps += 1
    assert steps > 8
    for now, then in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    np.testing.assert_array_equal(run(examination, model, **options).highdose, whole.highdose)


def test_two_interleaved_reconstructions_do_not_disturb_each_other(
    examination: Examination, uneven: Examination, model: NetworkPair
) -> None:
    expected = [run(e, model, iterations=3) for e in (examination, uneven)]
    running = [reconstruct(e, model, alpha=ALPHA, iterations=3, device="cpu") for e in (examination, uneven)]
    for _ in range(3):
        for one in running:
            next(one)
    for one, result in zip(running, expected, strict=True):
        np.testing.assert_array_equal(complete(one).highdose, result.highdose)


# Errors


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 0.0},
        {"alpha": -1.0},
        {"alpha": float("nan")},
        {"alpha": float("inf")},
        {"solver": "newton"},
        {"solver": ""},
        {"iterations": 0},
        {"iterations": -3},
        {"device": "abacus"},
        {"device": "cuda:99"},
        {"slices_at_once": -1},
    ],
)
def test_bad_arguments_are_explained(options: dict[str, object], examination: Examination, model: NetworkPair) -> None:
    with pytest.raises(LIPCARError) as error:
        complete(reconstruct(examination, model, **{"device": "cpu", **options}))  # type: ignore[arg-type]
    assert str(next(iter(options.values()))) in str(error.value)


def test_missing_predose_image_is_explained(examination: Examination, model: NetworkPair) -> None:
    with pytest.raises(LIPCARError, match="'random-predose' needs a pre-dose image"):
        next(reconstruct(replace(examination, predose=None), model))


def out_of_memory_above(most: int, model: NetworkPair, sizes: list[int]) -> Callable[[Tensor, Tensor], Tensor]:
    forward_operator = model.forward_operator

    def limited(x: Tensor, predose: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > most:
            raise torch.OutOfMemoryError("simulated")
        return forward_operator(x, predose)

    return limited


@pytest.mark.parametrize(("most", "tried"), [(2, [4, 2, 2, 1]), (1, [4, 2, 1, 1, 1, 1, 1])])
def test_too_little_memory_halves_the_batch(
    most: int, tried: list[int], uneven: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(uneven, model, iterations=1)
    sizes: list[int] = []
    monkeypatch.setattr(model, "forward_operator", out_of_memory_above(most, model, sizes))
    result = run(uneven, model, iterations=1, slices_at_once=4)
    assert sizes == tried
    np.testing.assert_allclose(result.highdose, expected.highdose, atol=1e-5 * uneven.scale)
    assert len(result.objective) == 5


def test_memory_that_runs_out_midway_costs_only_time(
    uneven: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(uneven, model, iterations=4)
    forward_operator, calls = model.forward_operator, []

    def failing_once(x: Tensor, predose: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 6:
            raise torch.OutOfMemoryError("simulated")
        return forward_operator(x, predose)

    monkeypatch.setattr(model, "forward_operator", failing_once)
    result = run(uneven, model, iterations=4, slices_at_once=2)
    assert calls[5] == 2 and calls[6] == 1
    np.testing.assert_allclose(result.highdose, expected.highdose, atol=1e-5 * uneven.scale)
    assert result.network_evaluations == expected.network_evaluations
    assert [len(values) for values in result.objective] == [len(values) for values in expected.objective]


def test_too_little_memory_for_two_lanes_leaves_one(
    uneven: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(uneven, model, iterations=2, slices_at_once=1)
    solve, running, failed = reconstruction_module._solve, set(), []

    def in_one_lane(*arguments: Any) -> Generator[float, None, Records]:
        part = arguments[-1]
        if running and not failed:
            failed.append(part.start)
            raise torch.OutOfMemoryError("simulated")
        running.add(part.start)
        batch = yield from solve(*arguments)
        running.discard(part.start)
        return batch

    monkeypatch.setattr(reconstruction_module, "lane_count", lambda *_: 2)
    monkeypatch.setattr(reconstruction_module, "batch_size", lambda *_: 1)
    monkeypatch.setattr(reconstruction_module, "_solve", in_one_lane)
    result = run(uneven, model, iterations=2)
    assert failed
    np.testing.assert_allclose(result.highdose, expected.highdose, atol=1e-5 * uneven.scale)
    assert result.network_evaluations == expected.network_evaluations


def test_too_little_memory_for_one_slice_is_explained(
    uneven: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(model, "forward_operator", out_of_memory_above(0, model, sizes))
    with pytest.raises(LIPCARError, match="not enough memory .* one slice of 21 x 35 pixels"):
        run(uneven, model, slices_at_once=5)
    assert sizes == [5, 2, 1]
    with pytest.raises(LIPCARError, match="not enough memory .* one slice of 21 x 35 pixels"):
        run(uneven.part(0, 1), model, slices_at_once=5)


def test_one_slice_too_many_for_a_gpu_goes_to_the_cpu(
    uneven: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(uneven, model, iterations=1)
    to_device, tried = reconstruction_module._to_device, []

    def without_room(volume: np.ndarray, scale: float, device: torch.device) -> Tensor:
        tried.append(device.type)
        if device.type == "cuda" and tried.count("cuda") > 2:
            raise torch.OutOfMemoryError("simulated")
        return to_device(volume, scale, torch.device("cpu"))

    monkeypatch.setattr(reconstruction_module, "choose_device", torch.device)
    for name in ("to", "requires_grad_"):
        monkeypatch.setattr(model, name, lambda *_: model)
    monkeypatch.setattr(reconstruction_module, "describe", lambda device: f"the {device.type}")
    monkeypatch.setattr(reconstruction_module, "release_memory", lambda device: None)
    monkeypatch.setattr(reconstruction_module, "_to_device", without_room)
    steps = reconstruct(uneven, model, alpha=ALPHA, iterations=1, device="cuda", slices_at_once=1)
    seen = []
    result = complete(steps, lambda progress: seen.append(progress.device))
    np.testing.assert_allclose(result.highdose, expected.highdose, atol=1e-5 * uneven.scale)
    assert (seen[0], seen[-1], result.provenance["device"]) == ("the cuda", "the cpu", "the cpu")
    (notice,) = result.notices
    assert notice.startswith("There is not enough memory on the cuda for one slice; the CPU computed from slice ")


def test_other_failures_are_not_hidden(
    examination: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(x: Tensor, predose: Tensor) -> Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(model, "forward_operator", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run(examination, model)


# Solvers and the noise floor


def test_solver_choice_reaches_the_solver(
    examination: Examination, model: NetworkPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam starts at x_L, as in the paper; the proximal solver at the prior."""
    starts = {}
    for name in SOLVERS:
        solver = getattr(reconstruction_module, name)

        def spied(problem: object, start: Tensor, steps: Any, name: str = name, solver: Callable = solver) -> object:
            starts[name] = start.clone(), getattr(steps, "evaluations", steps)
            return solver(problem, start, steps)

        monkeypatch.setattr(reconstruction_module, name, spied)
        result = run(examination, model, solver=name, iterations=2, slices_at_once=3)
    scale = np.float32(examination.scale)
    np.testing.assert_allclose(starts["adam"][0][:, 0].numpy(), examination.lowdose / scale, atol=1e-6)
    np.testing.assert_allclose(starts["proximal"][0][:, 0].numpy(), result.prior / scale, atol=1e-6)
    assert starts["adam"][1] == starts["proximal"][1] == 2


def test_noise_floor_is_the_background_of_a_magnitude_image() -> None:
    """Rician noise over signal: its mean square is S^2 + 2 sigma^2, and 2 sigma^2 where there is no signal."""
    rng = np.random.default_rng(0)
    signal = np.zeros((2, 64, 64), np.float32)
    signal[:, 16:48, 16:48] = 400
    image = np.hypot(signal + 20 * rng.standard_normal(signal.shape), 20 * rng.standard_normal(signal.shape))
    floor = noise_floor(image.astype(np.float32))
    assert floor == pytest.approx(20 * 2**0.5, rel=0.03)
    seen = with_noise_floor(lambda x, predose: x, floor)(torch.from_numpy(signal)[:, None], None)
    assert float(seen.square().mean()) == pytest.approx(float(np.mean(image**2)), rel=0.01)
    assert noise_floor(signal) == 0


def test_noise_floor_is_used_where_the_network_predicts_noise_free_images(
    examination: Examination, model: NetworkPair
) -> None:
    plain = complete(reconstruct(examination, model, alpha=ALPHA, device="cpu"))
    model.predicts_noise_free = True
    floored = complete(reconstruct(examination, model, alpha=ALPHA, device="cpu"))
    assert plain.provenance["noise_floor"] == 0
    assert floored.provenance["noise_floor"] == pytest.approx(noise_floor(examination.lowdose) / examination.scale)
    assert np.abs(plain.highdose - floored.highdose).max() > 0


# Dose


@pytest.mark.parametrize("alpha", [ALPHA, "auto"])
def test_a_told_dose_stands_for_the_image_of_the_usual_one(alpha: float | str, model: NetworkPair) -> None:
    """Half the usual dose, told, gives what the usual dose gives: the session is linear in it."""
    rng = np.random.default_rng(1)
    predose = rng.uniform(300, 400, (2, 48, 48))
    change = rng.uniform(0, 120, predose.shape)

    def session(share: float) -> Examination:
        arrays = (predose + share * change, predose)
        images = (sitk.GetImageFromArray(a.astype(np.float32)) for a in arrays)
        return replace(Examination.from_images(*images, slice_axis=2, match_predose=False), scale=800.0, noise=0.0)

    options = {"alpha": alpha, "iterations": 4}  # the first step may be refused
    usual = run(session(1.0), model, **options)
    half = run(session(0.5), model, dose_fraction=DOSE_FRACTION / 2, **options)
    untold = run(session(0.5), model, **options)
    np.testing.assert_allclose(half.prior, usual.prior, atol=0.05)
    # Where rounding turns a unit of this random network on or off, its gradient jumps.
    moved, apart = usual.highdose - usual.prior, half.highdose - usual.highdose
    assert np.linalg.norm(apart) < 0.02 * np.linalg.norm(moved)
    assert np.abs(untold.prior - usual.prior).max() > 5
    assert half.provenance["dose_fraction"] == DOSE_FRACTION / 2
    same = run(session(1.0), model, dose_fraction=DOSE_FRACTION, **options)
    np.testing.assert_array_equal(same.highdose, usual.highdose)


@pytest.mark.parametrize("fraction", [0.0, -0.2, 1.5, float("nan")])
def test_a_dose_fraction_is_a_fraction(fraction: float, examination: Examination, model: NetworkPair) -> None:
    with pytest.raises(LIPCARError, match=r"The dose fraction is .*a number from 0.01 to 1"):
        run(examination, model, dose_fraction=fraction)


def test_a_dose_fraction_needs_the_predose_image(examination: Examination, lowdose_model: NetworkPair) -> None:
    alone = replace(examination, predose=None, predose_doubtful=False)
    with pytest.raises(LIPCARError, match="uses no pre-dose image"):
        run(alone, lowdose_model, dose_fraction=0.2)
    told, untold = run(examination, lowdose_model, dose_fraction=0.2), run(alone, lowdose_model)  # it was doubted, say
    assert any("not the dose fraction" in notice for notice in told.notices)
    np.testing.assert_array_equal(told.highdose, untold.highdose)


# Auto and solvers


def test_auto_needs_the_proximal_solver(examination: Examination, model: NetworkPair) -> None:
    with pytest.raises(LIPCARError, match="'adam' is the paper's and takes a number"):
        run(examination, model, alpha="auto", solver="adam")


def test_nothing_is_made_up_in_padding(examination: Examination, model: NetworkPair) -> None:
    padding = np.zeros(examination.lowdose.shape, bool)
    padding[:, 10:20, 5:30] = True
    result = complete(reconstruct(replace(examination, padding=padding), model, device="cpu", iterations=2))
    assert not result.highdose[padding].any() and not result.prior[padding].any()
    assert result.highdose[~padding].any()


@pytest.mark.parametrize("units", [1e-30, 1e30])
def test_a_result_is_in_the_units_of_its_inputs(phantom_images: dict[str, sitk.Image], units: float) -> None:
    def highdose(factor: float) -> np.ndarray:
        low, pre = (sitk.Cast(phantom_images[role], sitk.sitkFloat32) * factor for role in ("lowdose", "predose"))
        found = Examination.from_images(low, pre, match_predose=False)
        return complete(reconstruct(found, load_model("anchored"), device="cpu")).highdose

    plain = highdose(1.0).astype(np.float64)
    np.testing.assert_allclose(highdose(units), plain * units, atol=1e-4 * plain.max() * units)


def test_a_result_is_finite_or_an_error(examination: Examination, model: NetworkPair) -> None:
    broken = model.session

    def session(slices: Slices) -> Session:
        found = broken(slices)
        return replace(found, prior=found.prior.masked_fill(found.prior > 0.4, float("nan")))

    model.session = session
    for alpha in (0.006, "auto"):
        with pytest.raises(LIPCARError, match=r"values that are NaN or infinite"):
            complete(reconstruct(examination, model, alpha=alpha, device="cpu"))


@pytest.mark.parametrize(
    "options",
    [{"alpha": value} for value in (0, -1, 1e-400, 1e7, float("nan"), float("inf"), "1e999", "many")]
    + [{"iterations": value} for value in (0, -1, 10**9)]
    + [{"dose_fraction": value} for value in (0, 1e-30, 1.01, 20, float("nan"))],
)
def test_options_have_bounds(examination: Examination, model: NetworkPair, options: dict[str, Any]) -> None:
    with pytest.raises(LIPCARError, match="expected"):
        next(reconstruct(examination, model, **{"alpha": 0.006, "device": "cpu"} | options))
