"""`lipcar evaluate` writes a report, and a model's card where it is asked to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from LIPCARLib.cli import run
from LIPCARLib.resources import RESOURCES


def test_evaluate_writes_a_report(
    single: Path, model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", single, "--output", tmp_path / "report", "--model", model_folder, "--iterations", "2"]
    assert run([str(a) for a in [*arguments, "--methods", "lowdose,nn,lip-car", "--device", "cpu"]]) == 0
    assert "<table>" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    told = capfd.readouterr().out
    assert 0 <= told.index("blinded reader") < told.index("body: 1 subjects") < told.index("image: 1 subjects")


def test_what_is_recorded_is_measured_here(single: Path, model_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "m"))
    before = json.loads((folder / "manifest.json").read_text())
    arguments = ["evaluate", single, "--model", folder, "--iterations", "2", "--device", "cpu", "--record"]
    assert run([str(a) for a in arguments]) == 0
    after = json.loads((folder / "manifest.json").read_text())
    assert after["metrics"]["subjects"] == ["one"]
    assert set(after["metrics"]["means_over_slices"]) >= {"predose", "lowdose", "prior", "lip-car auto"}
    changed = {"metrics"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in before.items() if k not in changed}


def test_a_card_is_written_for_one_models_folder_only(single: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for models in ([], ["--model", "vnet-predose"]):
        assert run(["evaluate", str(single), "--record", *models]) == 2
        assert "--record needs one --model, the folder" in capfd.readouterr().err


def test_a_model_without_weights_is_measured_on_any_subject(single: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RESOURCES / "Models" / "signal", tmp_path / "m"))
    arguments = ["evaluate", single, "--model", folder, "--device", "cpu", "--record", "--held-out"]
    cards = []
    for more in ([], ["--no-tell-acquisition"]):
        assert run([str(a) for a in [*arguments, *more]]) == 0
        card = json.loads((folder / "manifest.json").read_text())
        assert card["metrics"]["subjects"] == ["one"]
        cards.append(card["metrics"]["means_over_slices"])
    assert set(cards[0]) == {"predose", "lowdose", "prior", "lip-car auto", "lip-car 0.006"}
    assert cards[0]["lip-car auto"] == cards[0]["prior"] != cards[1]["prior"]
