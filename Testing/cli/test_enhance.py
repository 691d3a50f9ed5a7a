"""`lipcar enhance` as a user meets it: what it writes, what it says, and what it leaves behind after a mistake."""

from __future__ import annotations

import itertools
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib import trust
from LIPCARLib.cli import run
from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import AUTO_DESCRIPTION, Result, complete, load_model, reconstruct, reconstruction
from LIPCARLib.inverse.result import Volumes
from LIPCARLib.study import Outputs, enhancement


def enhance(subject: Path, model: Path, *more: str | Path) -> int:
    lowdose, predose, output = (subject / f"{name}.nrrd" for name in ("lowdose", "predose", "out"))
    common = ["--lowdose", lowdose, "--predose", predose, "--output", output, "--model", model, "--device", "cpu"]
    return run(["enhance", *(str(argument) for argument in (*common, *more))])


def test_enhance_gives_the_voxels_of_the_python_call(subject: Path, model_folder: Path) -> None:
    assert enhance(subject, model_folder, "--prior-output", subject / "prior.nrrd") == 0
    examination = Examination.read(subject / "lowdose.nrrd", subject / "predose.nrrd")
    result = complete(reconstruct(examination, load_model(model_folder), device="cpu"))
    image = sitk.ReadImage(str(subject / "out.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), result.highdose)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(subject / "prior.nrrd"))), result.prior)
    np.testing.assert_allclose(
        image.GetSpacing(), sitk.ReadImage(str(subject / "lowdose.nrrd")).GetSpacing(), rtol=1e-12
    )
    assert "research only" in image.GetMetaData("LIPCAR.simulated")


def test_no_volume_is_held_twice(subject: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result fills its arrays while it is computed; while files are written, nothing else is in memory."""
    arrays, held = [], []
    assembled, write_files = reconstruction.assembled, enhancement.write_files

    def put_together(examination: Examination, volumes: Volumes, *more: Any) -> Result:
        result = assembled(examination, volumes, *more)
        assert result.highdose is volumes.highdose and result.prior is volumes.prior
        arrays.extend(map(weakref.ref, (examination.lowdose, examination.predose, result.highdose, result.prior)))
        return result

    def write(*arguments: Any) -> None:
        held.extend(array() is not None for array in arrays)
        write_files(*arguments)

    monkeypatch.setattr(reconstruction, "assembled", put_together)
    monkeypatch.setattr(enhancement, "write_files", write)
    assert enhance(subject, model_folder) == 0
    assert held == [False] * 4


def test_enhance_is_told_the_dose(subject: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert enhance(subject, model_folder, "--dose-fraction", "0.11", "--alpha", "0.01") == 0
    image = sitk.ReadImage(str(subject / "out.nrrd"))
    assert image.GetMetaData("LIPCAR.dose_fraction") == "0.11"
    assert enhance(subject, model_folder, "--dose-fraction", "20") == 2
    assert "The dose fraction is 20" in " ".join(capsys.readouterr().err.split())


def signal(subject: Path, *more: str | Path) -> int:
    lowdose, predose, output = (subject / f"{name}.nrrd" for name in ("lowdose", "predose", "out"))
    common = ["--lowdose", lowdose, "--predose", predose, "--output", output, "--model", "signal", "--device", "cpu"]
    return run(["enhance", *(str(argument) for argument in (*common, *more))])


def test_what_the_physics_had_to_assume_is_said(subject: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert signal(subject, "--report", subject / "r.json") == 0
    shown = " ".join(capsys.readouterr().err.split())
    assert "assumed is spin echo, repetition time 450 ms" in shown and "assumed is 0.22 of the full dose" in shown
    report = json.loads((subject / "r.json").read_text())
    assert report["acquisition"].startswith("assumed: spin echo")
    assert sum("assumed" in notice for notice in report["notices"]) == 2
    assert sitk.ReadImage(str(subject / "out.nrrd")).GetMetaData("LIPCAR.acquisition") == report["acquisition"]


def test_the_physics_is_told(subject: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {"ScanningSequence": "GR", "RepetitionTime": 0.006, "FlipAngle": 15, "MagneticFieldStrength": 3}
    (subject / "told.json").write_text(json.dumps(keys))
    (subject / "lowdose.json").write_text(json.dumps(keys | {"FlipAngle": 20}))
    assert signal(subject, "--report", subject / "sidecar.json", "--dose-fraction", "0.2") == 0
    told = ("--acquisition", subject / "told.json", "--dose-fraction", "0.2")
    assert signal(subject, *told, "--report", subject / "told-report.json") == 0
    assert "assumed" not in capsys.readouterr().err
    sidecar, report = (json.loads((subject / name).read_text()) for name in ("sidecar.json", "told-report.json"))
    assert "flip angle 20 degrees" in sidecar["acquisition"] and "flip angle 15 degrees" in report["acquisition"]
    assert report["dose_fraction"] == 0.2


def test_a_map_of_t1_is_read_and_checked(subject: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lowdose = sitk.ReadImage(str(subject / "lowdose.nrrd"))
    times = sitk.Cast(lowdose, sitk.sitkFloat32) * 0 + 1200
    sitk.WriteImage(times, str(subject / "t1.nrrd"))
    sitk.WriteImage(times * 1000, str(subject / "wrong.nrrd"))
    voxels = []
    for more in ((), ("--t1-map", subject / "t1.nrrd", "--report", subject / "r.json")):
        assert signal(subject, *more) == 0
        voxels.append(sitk.GetArrayFromImage(sitk.ReadImage(str(subject / "out.nrrd"))))
    assert np.abs(voxels[0] - voxels[1]).max() > 0
    assert json.loads((subject / "r.json").read_text())["t1_map_used"] is True
    capsys.readouterr()
    assert signal(subject, "--t1-map", subject / "wrong.nrrd") == 2
    assert "milliseconds" in capsys.readouterr().err


def test_a_pair_of_networks_says_that_it_was_told_in_vain(
    subject: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (subject / "told.json").write_text('{"ScanningSequence": "SE"}')
    arguments = ("--acquisition", subject / "told.json", "--report", subject / "r.json")
    assert enhance(subject, model_folder, *arguments) == 0
    record = sitk.ReadImage(str(subject / "out.nrrd")).GetMetaData("LIPCAR.notices")
    (notice,) = json.loads((subject / "r.json").read_text())["notices"]
    for said in (" ".join(capsys.readouterr().err.split()), record, notice):
        assert "uses neither the acquisition nor a T1 map" in said


def test_a_model_without_predose_image_is_told_once(subject: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert enhance(subject, Path("vnet-lowdose")) == 0
    output = "".join(capsys.readouterr())
    assert "The model uses no pre-dose image" in output and output.count("pre-dose") == 1


def test_the_physics_needs_a_predose_image(subject: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--lowdose", subject / "lowdose.nrrd", "--output", subject / "o.nrrd", "--model", "signal"]
    assert run(["enhance", *(str(argument) for argument in arguments)]) == 2
    assert "'signal' needs a pre-dose image" in capfd.readouterr().err


def test_report_holds_what_was_promised(subject: Path, model_folder: Path) -> None:
    extra = ("--highdose", subject / "highdose.nrrd", "--report", subject / "r.json", "--alpha", "0.01")
    assert enhance(subject, model_folder, *extra) == 0
    report = json.loads((subject / "r.json").read_text())
    for key in ("lipcar", "torch", "device", "model", "model_sha256", "solver", "seconds"):
        assert report[key], key
    assert report["alpha"] == 0.01
    assert 1 <= report["network_evaluations"] <= 10
    assert len(report["objective"]) == len(report["residual_rms"]) == 2
    for values in report["objective"]:
        assert all(later <= earlier for earlier, later in itertools.pairwise(values))
    for name in ("predose", "lowdose", "prior", "lip-car"):
        for score in ("ssim", "psnr", "rmse"):
            assert len(report["metrics"][name][score]) == 2


def test_adam_and_its_steps(subject: Path, model_folder: Path) -> None:
    extra = ("--alpha", "0.006", "--solver", "adam", "--iterations", "3", "--report", subject / "r.json")
    assert enhance(subject, model_folder, *extra) == 0
    assert [len(values) for values in json.loads((subject / "r.json").read_text())["objective"]] == [4, 4]


def test_dicom_goes_in_and_comes_out(subject: Path, model_folder: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    first = enhance(subject, model_folder, "--dicom-output", subject / "one")
    assert first == 0
    assert len(list((subject / "one").iterdir())) == 2
    # The series that was written serves as a low-dose input, and its study is kept.
    arguments = [
        "enhance",
        "--lowdose",
        subject / "one",
        "--predose",
        subject / "predose.nrrd",
        "--model",
        model_folder,
    ]
    arguments += ["--output", subject / "two.nrrd", "--dicom-output", subject / "two", "--device", "cpu"]
    # What a random model makes is no image of the same patient, and no result to be used.
    arguments += ["--no-match-predose", "--force"]
    assert run([str(a) for a in arguments]) == 0
    ids = [pydicom.dcmread(subject / name / "0001.dcm").StudyInstanceUID for name in ("one", "two")]
    assert ids[0] == ids[1]
    assert enhance(subject, model_folder, "--dicom-output", subject / "one") == 2


def test_picture_is_a_png(subject: Path, model_folder: Path) -> None:
    assert enhance(subject, model_folder, "--highdose", subject / "highdose.nrrd", "--picture", subject / "p.png") == 0
    assert (subject / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--alpha", "-1"], "alpha is -1"),
        (["--alpha", "nan"], "alpha is nan"),
        (["--solver", "newton"], "expected one of: proximal, adam"),
        (["--iterations", "0"], "at least 1"),
        (["--device", "abacus"], "Available: auto, cpu"),
        (["--slice-axis", "z"], "expected one of: i, j, k"),
        (["--report", "nowhere/r.json"], "does not exist"),
        (["--prior-output", "prior.jpg"], "must end in"),
        (["--highdose", "missing.nrrd"], "missing.nrrd"),
        (["--acquisition", "missing.json"], "'missing.json' cannot be read"),
        (["--t1-map", "missing.nrrd"], "missing.nrrd"),
        (["--no-such-option"], "No such option"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: list[str], words: str, subject: Path, model_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(subject.iterdir())
    assert enhance(subject, model_folder, *arguments) == 2
    message = capfd.readouterr().err
    assert message.startswith("Error: ") and message.count("\n") == 1
    assert words in message
    assert sorted(subject.iterdir()) == before


def test_an_input_is_never_overwritten(subject: Path, model_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (subject / "lowdose.nrrd").read_bytes()
    assert enhance(subject, model_folder, "--prior-output", subject / "lowdose.nrrd") == 2
    assert "would be overwritten" in capfd.readouterr().err
    assert (subject / "lowdose.nrrd").read_bytes() == before


def test_model_needs_predose(subject: Path, model_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "enhance",
        "--lowdose",
        subject / "lowdose.nrrd",
        "--output",
        subject / "o.nrrd",
        "--model",
        model_folder,
    ]
    assert run([str(argument) for argument in arguments]) == 2
    assert "needs a pre-dose image" in capfd.readouterr().err


def test_alpha_is_explained_in_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "180")
    assert run(["enhance", "--help"]) == 0
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "--alpha" in line]
    assert AUTO_DESCRIPTION in line and line.rstrip(" │|").endswith("[default: auto]")


def test_the_demo_writes_a_volume_a_report_and_a_picture(tmp_path: Path) -> None:
    assert run(["demo", "--output", str(tmp_path / "demo"), "--device", "cpu"]) == 0
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "lip-car.nrrd",
        "prior.nrrd",
        "report.json",
        "comparison.png",
    }


def test_each_output_has_a_place_of_its_own(tmp_path: Path) -> None:
    folder, image = tmp_path / "series", tmp_path / "out.nrrd"
    folder.mkdir()
    for outputs in (
        Outputs(image, report=folder / "0001.dcm", dicom=folder),
        Outputs(folder / "out.nrrd", dicom=folder),
        Outputs(image, prior=folder / ".." / "out.nrrd"),
        Outputs(image, dicom=image),
        Outputs(image, dicom=image / "series"),
        Outputs(image, dicom=folder, evidence=folder),
        Outputs(folder / "out.nrrd", evidence=folder),
        Outputs(image, report=folder / "findings.dcm", evidence=folder),
    ):
        with pytest.raises(LIPCARError, match="is named for two outputs, or lies in one"):
            outputs.check([])


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    lowdose, series = tmp_path / "low.nrrd", tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(bytes(128) + b"DICM")
    for path in (lowdose, tmp_path / "low.json"):
        path.write_bytes(b"{}")
    for report in (lowdose, tmp_path / "low.json", series / "1.dcm"):
        with pytest.raises(LIPCARError, match="is an input and would be overwritten"):
            Outputs(tmp_path / "out.nrrd", report=report).check([lowdose, series])


def test_evidence_is_written_with_the_image_and_stands_in_the_report(
    subject: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    more = ("--evidence", subject / "e", "--dicom-output", subject / "d", "--report", subject / "r.json")
    assert signal(subject, *more) == 0
    names = {"consistency.nrrd", "equation.nrrd", "uncertainty.nrrd", "findings.seg.nrrd"}
    names |= {"consistency.dcm", "equation.dcm", "uncertainty.dcm", "findings.dcm"}
    assert {path.name for path in (subject / "e").iterdir()} == names
    report = json.loads((subject / "r.json").read_text())["evidence"]
    examination = Examination.read(subject / "lowdose.nrrd", subject / "predose.nrrd")
    model = load_model("signal")
    found = complete(trust.evidence(examination, model, complete(reconstruct(examination, model)), device="cpu"))
    assert report == json.loads(json.dumps(found.summary()))
    written = examination.slices_of(sitk.ReadImage(str(subject / "e" / "uncertainty.nrrd")), "the map")
    np.testing.assert_array_equal(written, found.uncertainty)
    capsys.readouterr()
    assert signal(subject, "--evidence", subject / "e") == 2
    assert "is not empty" in " ".join(capsys.readouterr().err.split())


def test_evidence_without_a_predose_image_says_what_it_cannot_tell(
    subject: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--lowdose", subject / "lowdose.nrrd", "--output", tmp_path / "o.nrrd", "--evidence", tmp_path / "e"]
    options = ["--model", "vnet-lowdose", "--device", "cpu", "--alpha", "0.006", "--iterations", "1"]
    assert run(["enhance", *map(str, (*common, *options))]) == 0
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["consistency.nrrd"]
    assert "Without a pre-dose image that fits" in " ".join(capsys.readouterr().err.split())
