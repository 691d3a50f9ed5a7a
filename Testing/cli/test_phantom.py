"""`lipcar phantom` writes the promised layout, again and again the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.cli import run


def test_phantom_writes_the_promised_layout(cohort: Path) -> None:
    names = {"predose", "lowdose", "highdose", "clean_lowdose", "clean_highdose", "labels"}
    for folder in cohort.iterdir():
        assert {path.stem for path in folder.glob("*.nrrd")} == names
        sizes = {sitk.ReadImage(str(path)).GetSize() for path in folder.glob("*.nrrd")}
        assert sizes == {(48, 48, 2)}


def test_phantom_repeats_itself(cohort: Path, tmp_path: Path) -> None:
    run(["phantom", str(tmp_path), "--subjects", "1", "--slices", "2", "--size", "48", "--seed", "5"])
    paths = (p / "subject-000" / "highdose.nrrd" for p in (cohort, tmp_path))
    first, again = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in paths)
    np.testing.assert_array_equal(first, again)


def test_an_unknown_anatomy_is_explained(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["phantom", str(tmp_path / "c"), "--subjects", "1", "--anatomy", "cat"]) == 2
    assert "'cat'; expected rat, human, shapes or mixed" in capfd.readouterr().err
    assert not (tmp_path / "c").exists()
