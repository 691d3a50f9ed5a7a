"""How `auto` sets its problem: who judges, what is left alone, and when the network rests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

import LIPCARLib.inverse.auto as auto_module
from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.evidence import WIDTHS, body, denoised
from LIPCARLib.inverse.model import Model
from LIPCARLib.inverse.reconstruction import ALPHA, Result, complete, reconstruct
from LIPCARLib.physics import equilibrium_signal, signal_equation


def run(examination: Examination, model: Model, **options: object) -> Result:
    return complete(reconstruct(examination, model, device="cpu", **{"iterations": 5, **options}))  # type: ignore[arg-type]


def off_by(square: float) -> dict[str, object]:
    return {"widths": list(WIDTHS), "mean_squares": [square] * 5}


def inside_of(examination: Examination) -> Tensor:
    low = torch.from_numpy(examination.lowdose / np.float32(examination.scale))[:, None]
    return body(low, examination.noise_floor / examination.scale)


def anchor_of(examination: Examination, prior: np.ndarray) -> np.ndarray:
    """The prior without its noise, which is where auto starts."""
    guess = torch.from_numpy(prior / np.float32(examination.scale))[:, None]
    return (denoised(guess, inside_of(examination)) * examination.scale)[:, 0].numpy()


def test_auto_is_the_default_and_gives_a_result_of_its_own(examination: Examination, model: Model) -> None:
    result, paper = run(examination, model), run(examination, model, alpha=ALPHA)
    assert result.provenance["alpha"] == "auto"
    assert np.isfinite(result.highdose).all() and result.highdose.min() >= 0
    assert len(result.trust) == 3 and all(0 <= value <= 1 for value in result.trust)
    np.testing.assert_array_equal(result.prior, paper.prior)  # what the network said, noise and all
    assert np.abs(result.highdose - result.prior).max() > 0
    assert paper.trust == [1, 1, 1]


def test_auto_leaves_air_alone(examination: Examination, model: Model) -> None:
    result = run(examination, model, iterations=None)
    xbar = anchor_of(examination, result.prior)
    air = ~inside_of(examination)[:, 0].numpy()
    np.testing.assert_allclose(result.highdose[air], xbar[air], atol=1e-5 * examination.scale)
    assert (np.abs(result.highdose - xbar) > 1e-5 * examination.scale)[~air].mean() > 0.5


def test_slices_are_treated_alone(examination: Examination, model: Model) -> None:
    # Three evaluations: later a network of random weights magnifies rounding.
    whole = run(examination, model, slices_at_once=3, iterations=3)
    single = run(examination, model, slices_at_once=1, iterations=3)
    np.testing.assert_allclose(whole.highdose, single.highdose, atol=1e-3 * examination.scale)
    np.testing.assert_allclose(whole.trust, single.trust, atol=1e-4)


def test_an_operator_that_is_known_to_be_off_is_not_trusted(examination: Examination, lowdose_model: Model) -> None:
    """Without a pre-dose image F is the only judge."""
    trusts, moved = [], []
    for square in (0.0, 1e-3, 1e2):
        lowdose_model.manifest["forward_operator_error"] = off_by(square)
        result = run(examination, lowdose_model)
        trusts.append(sum(result.trust))
        moved.append(np.abs(result.highdose - anchor_of(examination, result.prior)).max() / examination.scale)
    assert trusts[0] > trusts[1] > trusts[2] == 0
    assert moved[0] > 1e-2 and moved[2] < 1e-5


def test_the_network_rests_where_only_coarse_scales_count(
    examination: Examination, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the look at the residual calls it, and a batch in which one slice needs it gives the same."""
    model.manifest["forward_operator_error"] = off_by(1e2)
    operator: Callable[..., Tensor] = model.forward_operator
    calls = []

    def counted(highdose: Tensor, predose: Tensor | None) -> Tensor:
        calls.append(len(highdose))
        return operator(highdose, predose)

    monkeypatch.setattr(model, "forward_operator", counted)
    alone = run(examination, model, slices_at_once=3)
    assert calls == [3] and sum(alone.trust) == 0
    trusted = torch.tensor([0.0, 0.0, 1.0])
    monkeypatch.setattr(auto_module, "fine_scale_trust", lambda *_: trusted)
    beside = run(examination, model, slices_at_once=3)
    np.testing.assert_allclose(beside.highdose[:2], alone.highdose[:2], atol=1e-4 * examination.scale)
    assert np.abs(beside.highdose[2] - alone.highdose[2]).max() > 0.01 * examination.scale


def session_of_a_tumor() -> tuple[Examination, Tensor, np.ndarray]:
    """A session that obeys the signal equation, its full-dose image, model scale, and where its tumor is."""
    y, x = np.mgrid[:96, :96] / 96 - 0.5
    head = ((x**2 + y**2) < 0.16).astype(np.float32)
    tumor = ((x - 0.1) ** 2 + y**2 < 0.02).astype(np.float32)
    predose = torch.from_numpy(0.4 * head)[None, None]
    highdose = torch.from_numpy(0.4 * head + 0.3 * tumor)[None, None]
    lowdose = signal_equation(highdose, predose, equilibrium_signal(predose, predose))
    noise = np.random.default_rng(0).normal(0, 0.01, (4, 96, 96)).astype(np.float32)
    images = [np.hypot(image[0].numpy() + noise[i], noise[i + 2]) for i, image in enumerate((lowdose, predose))]
    session = Examination.from_images(*(sitk.GetImageFromArray(1000 * i) for i in images), slice_axis=2)
    return session, highdose, tumor


def test_the_signal_equation_puts_a_wrong_prior_right(model: Model) -> None:
    """With a prior that saw nothing of the agent and an operator known to be off."""
    session, highdose, tumor = session_of_a_tumor()
    model.manifest["forward_operator_error"] = off_by(1e2)
    model.prior = lambda lowdose, predose: predose  # type: ignore[method-assign, assignment, return-value]
    errors = []
    for doubtful in (True, False):
        e = replace(session, predose_doubtful=doubtful)
        simulated = run(e, model, iterations=20).highdose[0] / 1000
        errors.append(float((simulated - highdose[0, 0].numpy())[tumor > 0].mean()))
    assert errors[0] < -0.25 and errors[1] > -0.05


def test_a_doubtful_predose_image_judges_nothing(examination: Examination, model: Model) -> None:
    doubtful = run(replace(examination, predose_doubtful=True), model)
    xbar = anchor_of(examination, doubtful.prior)
    np.testing.assert_allclose(doubtful.highdose, xbar, atol=1e-5 * examination.scale)
    assert doubtful.trust == [0, 0, 0]
    assert np.abs(doubtful.highdose - run(examination, model).highdose).max() > 1e-2 * examination.scale


def test_another_rule_can_be_handed_in(examination: Examination, model: Model) -> None:
    seen = []

    def rule(session: auto_module.Session) -> auto_module.Plan:
        seen.append(len(session.lowdose))
        return auto_module.auto(replace(session, aligned=None))

    result = run(examination, model, rule=rule, slices_at_once=2)
    assert seen == [2, 1]
    assert result.trust == [0, 0, 0]
