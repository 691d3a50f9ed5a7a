"""`lipcar models` lists, shows and verifies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from LIPCARLib.cli import run


def test_the_shipped_models_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    shown = capfd.readouterr().out
    assert "vnet-predose" in shown and "vnet-lowdose" in shown


def test_every_file_is_verified(model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(model_folder, tmp_path / "m"))
    assert run(["models", "verify", str(folder)]) == 0
    files = json.loads((folder / "manifest.json").read_text())["files"].values()
    shown = capfd.readouterr().out
    assert all(f"{entry['path']}: OK, SHA-256 {entry['sha256']}" in shown for entry in files)
    (folder / "prior.safetensors").write_bytes(b"spoiled")
    assert run(["models", "verify", str(folder)]) == 2
    assert capfd.readouterr().err.startswith("Error: ")
