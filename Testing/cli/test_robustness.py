"""`lipcar robustness` writes curves."""

from __future__ import annotations

from pathlib import Path

import pytest

from LIPCARLib.cli import run
from LIPCARLib.cli.robustness import _disturbances
from LIPCARLib.study import LEVELS


def test_robustness_writes_curves(
    single: Path, model_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["robustness", single, "--output", tmp_path / "curves", "--model", model_folder]
    assert run([str(a) for a in [*arguments, "--disturb", "shift", "--device", "cpu"]]) == 0
    assert (tmp_path / "curves" / "curves.csv").is_file()
    for words, message in (
        ("rain", "'rain'; expected some of"),
        ("noise:much", "expected e.g. noise:0.05"),
        ("noise:nan", "'noise' is nan"),
        ("shift,stranger", "'stranger' needs two subjects"),
    ):
        assert run([str(a) for a in [*arguments, "--disturb", words]]) == 2
        assert message in capfd.readouterr().err


def test_every_kind_has_its_levels_unless_one_is_told() -> None:
    assert {(one.kind, one.level) for one in _disturbances(",".join(LEVELS))} == {
        (kind, level) for kind, levels in LEVELS.items() for level in levels
    }
    assert [(one.kind, one.level) for one in _disturbances("gain:0.9, gain:0.9,noise:0.05")] == [
        ("gain", 0.9),
        ("noise", 0.05),
    ]
