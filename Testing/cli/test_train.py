"""`lipcar train` measures what it trained and writes it into the card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from LIPCARLib.cli import run


def test_train_measures_and_records(cohort: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "tiny"
    arguments = ["train", str(cohort), "--output", str(output), "--epochs", "1", "--crop", "32", "--batch", "2"]
    assert run([*arguments, "--device", "cpu"]) == 0
    assert run(["models", "show", str(output)]) == 0
    shown = capfd.readouterr().out
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["metrics"]["subjects"] == manifest["training"]["held_out_subjects"]
    for image in ("predose", "lowdose", "prior", "lip-car 0.006"):
        value = manifest["metrics"]["means_over_slices"][image]["ssim"]
        assert f"{value:.4f}" in shown
    assert run([*arguments, "--device", "cpu"]) == 2  # without --resume
    assert "--resume" in capfd.readouterr().err
    assert run([*arguments, "--device", "cpu", "--resume"]) == 0
