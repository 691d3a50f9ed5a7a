"""The rules that `auto` is compared with: each gives a result of its own, and the command runs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse import Model, Result, complete, reconstruct
from LIPCARLib.inverse.evidence import WIDTHS
from LIPCARLib.inverse.regularizers import GenTV
from LIPCARLib.inverse.solvers import Objective
from LIPCARLib.learning import write_simulated_cohort


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ablations_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


rules = loaded(Path(__file__).with_name("rules.py"))


def run(examination: Examination, model: Model, rule: float | str, **options: object) -> Result:
    options = {"iterations": 5, **options}
    return complete(rules.reconstruct_by_rule(examination, model, alpha=rule, device="cpu", **options))


def off_by(square: float) -> dict[str, object]:
    return {"widths": list(WIDTHS), "mean_squares": [square] * 5}


def test_there_are_ten() -> None:
    others = "noisy-prior auto-with-air unaligned even ungated gated learned denoised discrepancy"
    assert list(rules.RULES) == ["auto", *others.split()]


@pytest.mark.parametrize("name", list(rules.RULES))
def test_rules_give_a_result_of_their_own(name: str, examination: Examination, model: Model) -> None:
    result, paper = run(examination, model, name), run(examination, model, 0.006)
    assert np.isfinite(result.highdose).all() and result.highdose.min() >= 0
    assert len(result.trust) == 3 and all(0 <= value <= 1 for value in result.trust)
    np.testing.assert_array_equal(result.prior, paper.prior)
    assert np.abs(result.highdose - result.prior).max() > 0


def test_auto_is_the_products(examination: Examination, model: Model) -> None:
    product = complete(reconstruct(examination, model, device="cpu", iterations=5))
    np.testing.assert_array_equal(run(examination, model, "auto").highdose, product.highdose)


def test_parts_that_are_left_out_are_missed(examination: Examination, model: Model) -> None:
    """No two rules agree here, but for those that differ in what this examination does not have."""
    found = {name: run(examination, model, name).highdose for name in rules.RULES}
    for name in ("noisy-prior", "auto-with-air", "even", "ungated", "gated", "learned", "denoised", "discrepancy"):
        assert np.abs(found[name] - found["auto"]).max() > 1e-3 * examination.scale, name
    assert any(np.abs(found["gated"] - found["denoised"]).max(axis=(1, 2)) > 1e-3 * examination.scale)


def test_an_operator_that_is_known_to_be_off_is_not_trusted(examination: Examination, model: Model) -> None:
    trusts, moved = [], []
    xbar = run(examination, model, "denoised").highdose
    for square in (0.0, 1e-2, 1e2):
        model.manifest["forward_operator_error"] = off_by(square)
        result = run(examination, model, "gated")
        trusts.append(sum(result.trust))
        moved.append(float(np.abs(result.highdose - xbar).sum()))
    assert trusts[0] > trusts[1] > trusts[2] == 0
    assert moved[0] > 0 and moved[2] == 0


def test_learned_believes_no_operator_that_is_off_at_coarse_scales(examination: Examination, model: Model) -> None:
    same = []
    for square in (1e-4, 1e-2):
        model.manifest["forward_operator_error"] = off_by(square)
        learned, gated = (run(examination, model, name).highdose for name in ("learned", "gated"))
        same.append(np.array_equal(learned, gated))
    assert same == [False, True]


def test_continuation_stops_where_it_is_told() -> None:
    def blur(x: Tensor, predose: Tensor | None = None) -> Tensor:
        return 0.3 * x + 0.1 * torch.roll(x, 1, -1)

    torch.manual_seed(5)
    truth = torch.zeros(2, 1, 48, 48)
    truth[..., 12:36, 12:36] = 0.6
    xbar = truth.clone()
    xbar[..., 16:30, 16:30] += 0.2  # what the prior got wrong
    lowdose = blur(truth) + 0.02 * torch.randn_like(truth)
    objective = Objective(blur, lowdose, GenTV(xbar, truth > 0), 0.01)

    def residual(x: Tensor) -> Tensor:
        return (blur(x) - lowdose).square().mean((1, 2, 3)).sqrt()

    *_, last = rules.continuation(objective, xbar, (0.3, 0.1, 0.03, 0.01, 0.003), lambda x: residual(x) < 0.022, 10)
    assert (residual(last.x) < 0.022).all() and (residual(xbar) > 0.022).all()
    assert (last.x - truth).square().mean() < 0.2 * (xbar - truth).square().mean()
    # Satisfied at once: nothing moves.
    *_, still = rules.continuation(objective, xbar, (0.3, 0.1), lambda x: residual(x) < 1, 10)
    assert torch.equal(still.x, xbar)


def test_the_command_compares_rules(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for _ in write_simulated_cohort(tmp_path / "cohort", 1, slices=1, size=48):
        pass
    told = [str(tmp_path / "cohort"), "--model", str(model_folder), "--device", "cpu"]
    assert rules.main([*told, "--rule", "even", "--rule", "0.006"]) == 0
    shown = capsys.readouterr().out
    assert "LIP-CAR-PL2H even" in shown and "LIP-CAR-PL2H 0.006" in shown and "NN-PL2H" in shown
    assert rules.main([*told, "--rule", "odd"]) == 2
    assert "The rule is odd" in capsys.readouterr().err
