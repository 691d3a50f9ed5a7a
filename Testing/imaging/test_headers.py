"""Where the acquisition of an image stands: sidecars, DICOM headers, files that tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, read_acquisition, told_acquisition
from LIPCARLib.physics import Acquisition, PulseSequence

SPIN, GRADIENT, INVERSION = PulseSequence
GRADIENT_ECHO = Acquisition(GRADIENT, 0.008, 0.003, flip_angle=20.0)


def image_file(path: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 4, 5), np.float32)), str(path))
    return path


def dicom_file(path: Path, enhanced: bool = False, **attributes: Any) -> Path:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian

    header = pydicom.Dataset()
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4" + (".1" if enhanced else "")
    header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID = "1.2.3", "1.2.4", "1.2.5"
    header.Modality = "MR"
    header.Rows, header.Columns, header.SamplesPerPixel, header.PhotometricInterpretation = 4, 5, 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 0
    header.PixelData = np.arange(20, dtype="<u2").tobytes()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    header.file_meta = pydicom.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("name", ["low.nii.gz", "low.nii", "low.dose.nrrd", "low.mha"])
def test_a_sidecar_beside_the_image(tmp_path: Path, name: str) -> None:
    image = image_file(tmp_path / name)
    assert read_acquisition(image) == (None, None)
    sidecar = tmp_path / (name.replace(".gz", "").rsplit(".", 1)[0] + ".json")
    sidecar.write_text(json.dumps(GRADIENT_ECHO.as_bids()), encoding="utf-8")
    assert read_acquisition(image) == (GRADIENT_ECHO, None)


@pytest.mark.parametrize("content", ["{", "[1]", '{"ScanningSequence": "SE", "RepetitionTime": 450}'])
def test_a_useless_sidecar_stops_nobody(tmp_path: Path, content: str) -> None:
    image = image_file(tmp_path / "low.nii.gz")
    (tmp_path / "low.json").write_text(content, encoding="utf-8")
    found, notice = read_acquisition(image)
    assert found is None and notice is not None and "low" in notice


def test_dicom_files_and_folders(tmp_path: Path) -> None:
    attributes = {"ScanningSequence": ["GR", "IR"], "SequenceName": "*tfl3d1_16ns", "RepetitionTime": "2300"}
    file = dicom_file(tmp_path / "1.dcm", **attributes, EchoTime="2.98", InversionTime="900", FlipAngle="9")
    expected = Acquisition(INVERSION, 2.3, 0.00298, 0.9, 9.0)
    assert read_acquisition(file) == (expected, None)
    assert read_acquisition(tmp_path) == (expected, None)


def test_enhanced_dicom_says_it_by_frame(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    timing, echo, group = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    timing.RepetitionTime, timing.FlipAngle, echo.EffectiveEchoTime = "8", "20", 3.0
    group.MRTimingAndRelatedParametersSequence, group.MREchoSequence = [timing], [echo]
    file = dicom_file(
        tmp_path / "1.dcm", True, EchoPulseSequence="GRADIENT", SharedFunctionalGroupsSequence=[group], NumberOfFrames=1
    )
    assert read_acquisition(file) == (GRADIENT_ECHO, None)


def test_nothing_is_known_of_a_missing_file(tmp_path: Path) -> None:
    found, notice = read_acquisition(tmp_path / "none.dcm")
    assert found is None and notice is not None


def test_told_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "acquisition.json"
    path.write_text("\ufeff" + json.dumps({"ScanningSequence": "SE", "RepetitionTime": 0.5}), encoding="utf-8")
    assert told_acquisition(path) == Acquisition(SPIN, 0.5)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "no JSON"),
        ("[]", "JSON object"),
        ("{}", "ScanningSequence of SE"),
        ('{"ScanningSequence": "SE", "RepetitionTime": 500}', "seconds"),
    ],
)
def test_what_tells_nothing_is_refused(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "acquisition.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LIPCARError, match=match):
        told_acquisition(path)


def test_a_told_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(LIPCARError, match="cannot be read"):
        told_acquisition(tmp_path / "none.json")


def test_an_examination_knows_how_its_images_were_acquired(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for role in ("low", "pre"):
        paths.append(tmp_path / f"{role}.nii.gz")
        sitk.WriteImage(sitk.GetImageFromArray(rng.random((2, 20, 20), np.float32)), str(paths[-1]))
    assert Examination.read(*paths).acquisition is None
    (tmp_path / "pre.json").write_text(json.dumps(GRADIENT_ECHO.as_bids()), encoding="utf-8")
    assert Examination.read(*paths).acquisition == GRADIENT_ECHO
    other = Acquisition(GRADIENT, 0.005, 0.003, flip_angle=20.0)
    (tmp_path / "low.json").write_text(json.dumps(other.as_bids()), encoding="utf-8")
    found = Examination.read(*paths)
    assert found.acquisition == other
    assert any("repetition time 5 ms against 8 ms" in notice for notice in found.notices)
    told = Acquisition(SPIN, 0.5)
    assert Examination.read(*paths, acquisition=told).part(0, 1).acquisition == told
    (tmp_path / "low.json").write_text("{", encoding="utf-8")
    assert any("is not known" in notice for notice in Examination.read(*paths).notices)
