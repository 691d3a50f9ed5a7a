"""`lipcar check` as a user meets it: the table, the limit, the report, the card, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk

from LIPCARLib.cli import check, run
from LIPCARLib.inverse import read_manifest, verify_model
from LIPCARLib.resources import RESOURCES
from LIPCARLib.simulation import head_scene
from LIPCARLib.trust import all_kinds


def test_the_limits_are_shown_reported_and_recorded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "SLICES", 1)
    some = all_kinds()[::3]  # of every size and shape
    monkeypatch.setattr(check, "all_kinds", some.copy)
    model = Path(shutil.copytree(RESOURCES / "Models" / "signal", tmp_path / "mine"))
    scene = head_scene(9, 0, 1)
    image = sitk.GetImageFromArray(500 * scene.predose[:, 60:180, 60:180])
    image.SetSpacing(scene.spacing[::-1])
    (tmp_path / "real").mkdir()
    sitk.WriteImage(image, str(tmp_path / "real" / "head-pre.nrrd"))
    extra = ["--examinations", str(tmp_path / "real"), "--output", str(tmp_path / "r.json"), "--record"]
    code = run(["check", str(model), "--subjects", "1", "--device", "cpu", *extra])
    shown = capfd.readouterr().out
    report, card = json.loads((tmp_path / "r.json").read_text()), read_manifest(model)["controls"]
    assert code == (0 if report["passed"] else 1)
    assert report["examinations"] == 2
    assert report["smallest_found_mm"] == card["smallest_found_mm"]
    assert sum(row["lesions"] for row in report["table"]) > 20
    assert "Smallest lesion found in 90 % of 2 examinations" in shown and "nothing appears" in shown
    verify_model(model)  # its weights are what they were
    assert run(["models", "show", str(model)]) == 0
    assert "Smallest lesion found in 90 % of 2 examinations" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["signal", "--subjects", "0"], "0 subjects were asked for"),
        (["signal", "--record"], "--record needs the folder of a model"),
        (["signal", "--examinations", "nowhere"], "holds no pre-dose image"),
        (["signal", "--output", "nowhere/r.json"], "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", *arguments]) == 2
    assert words in capfd.readouterr().err
