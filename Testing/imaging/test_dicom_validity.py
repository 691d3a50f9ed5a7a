"""The DICOM series that a result becomes is valid, whatever the image and the header that it takes over from."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination, Grid, read_image, series_files, series_source, write_files
from LIPCARLib.imaging.writing_dicom import LARGEST

from .dicom_samples import SHAPE, oblique_direction, pydicom, stored, write_enhanced, write_slices
from .samples import array_of, head, image_of

PROVENANCE = {"model": "C:\\models\\größer", "alpha": 0.006, "simulated": "yes"}


def export(image: sitk.Image, folder: Path, source: Any = None, axis: int | None = None) -> tuple[list[Any], list[str]]:
    """The data sets of the series and the notices, checked as far as pydicom and, where it is there, dciodvfy can."""
    notices: list[str] = []
    examination = Examination.from_images(image, slice_axis=axis)
    taken_over = series_source(source, notices)
    files = series_files(folder, image, examination.slice_axis, PROVENANCE, taken_over, notices=notices)
    write_files(files, fresh=folder)
    with warnings.catch_warnings(), pydicom.config.strict_reading():
        warnings.simplefilter("error")
        found = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
        for ds in found:
            assert [str(element) for element in ds.iterall()]  # each value is converted
            assert ds.pixel_array.shape == (ds.Rows, ds.Columns)
            assert float(ds.get("WindowWidth", 1)) >= 1 or ds.VOILUTFunction == "LINEAR_EXACT"
    for keyword in ("ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        assert len({str(ds[keyword].value) for ds in found}) == 1  # to the last digit: some readers compare so
    verify(sorted(folder.iterdir())[0])
    return found, notices


def verify(file: Path) -> None:
    """No error by dicom3tools' verifier, which is asked where it is installed."""
    if shutil.which("dciodvfy"):
        told = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, errors="replace")
        assert not [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]


def image(scale: float = 1.0, flip: tuple[int, int, int] = (1, 1, 1), oblique: bool = False) -> sitk.Image:
    made = image_of((stored() * scale).astype(np.float32))
    direction = (oblique_direction() if oblique else np.eye(3)) * flip
    made.SetDirection(direction.ravel().tolist())
    made.SetSpacing((0.117355599, 0.3, 2.923392016))
    made.SetOrigin((-101.234567891, 57.7654321, 1e-17))
    return made


IMAGES = {
    "oblique": image(oblique=True),
    "flipped": image(flip=(-1, 1, -1)),
    "left-handed": image(flip=(1, 1, -1), oblique=True),
    "faint": image(1e-6),
    "very faint": image(1e-33),
    "very bright": image(1e27),
}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("axis", [0, 2])
def test_any_image_makes_a_valid_series_that_is_read_back(tmp_path: Path, kind: str, axis: int) -> None:
    given = IMAGES[kind]
    export(given, tmp_path / "s", axis=axis)
    found, values = read_image(tmp_path / "s"), array_of(given)
    indices = np.argwhere(np.ones(given.GetSize()))
    target = Grid.of(found).indices(Grid.of(given).points(indices))
    assert np.abs(target - target.round()).max() < 1e-3
    read = array_of(found)[tuple(target.round().astype(int).T[::-1])]
    np.testing.assert_allclose(read, values[tuple(indices.T[::-1])], atol=0.5001 * values.max() / LARGEST, rtol=1e-6)


def test_a_slice_of_its_own(tmp_path: Path) -> None:
    (ds,), _ = export(image_of(head(0, slices=1)[0]), tmp_path / "s")
    assert float(ds.SliceThickness) == 1


def test_a_spike_is_said_and_does_not_set_the_window(tmp_path: Path) -> None:
    values = head(0)
    values[0, 3, 3] = 1e8
    (first, *_), notices = export(image_of(values), tmp_path / "s")
    assert "rounded to multiples of" in notices[0]
    assert float(first.WindowWidth) < 1000
    assert export(image_of(head(0)), tmp_path / "t")[1] == []


INVALID = {
    "SeriesNumber": "abc",
    "StudyInstanceUID": "1.02.3",
    "FrameOfReferenceUID": "1.2." + 70 * "3",
    "StudyDate": "20201399",
    "StudyTime": "noon",
    "PatientBirthDate": "1.1.1970",
    "PatientSex": "MALE",
    "PatientAge": "thirty",
    "PatientWeight": "1" * 20,
    "RepetitionTime": "fast",
    "EchoTime": "nan",
    "FlipAngle": "-5",
    "EchoTrainLength": "99999999999",
    "StudyID": "an identifier that is too long",
    "AccessionNumber": "0123456789abcdefg",
    "PatientName": "^".join("abcdefgh"),
    "PatientID": "x" * 70,
    "BodyPartExamined": "left ankle, inner side",
    "ScanningSequence": "FLASH",
    "PatientPosition": "SUPINE",
    "MRAcquisitionType": "4D",
    "Laterality": "B",
    "StudyDescription": "head\\neck",
}


def spoil(file: Path, attributes: dict[str, str]) -> None:
    """Write values that are not valid as they are."""
    ds = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        tag, kind = pydicom.datadict.tag_for_keyword(keyword), pydicom.datadict.dictionary_VR(keyword)
        raw = value.encode("latin-1")
        raw += b" " * (len(raw) % 2)
        tag = pydicom.tag.Tag(tag)
        ds[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(raw), raw, 0, False, True, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(file)


@pytest.mark.parametrize("keyword", INVALID)
def test_what_is_not_valid_is_replaced_and_said(tmp_path: Path, keyword: str) -> None:
    for file in write_slices(tmp_path / "low", stored()):
        spoil(file, {keyword: INVALID[keyword]})
    (first, *_), notices = export(image(), tmp_path / "s", tmp_path / "low")
    assert keyword in notices[0]
    assert first.SeriesNumber == (9000 if keyword == "SeriesNumber" else 9003)
    if keyword not in ("PatientName", "PatientID"):
        assert (first.PatientName, first.PatientID) == ("X^Y", "1")


def test_everything_invalid_at_once(tmp_path: Path) -> None:
    for file in write_slices(tmp_path / "low", stored()):
        spoil(file, INVALID)
    assert len(export(image(), tmp_path / "s", tmp_path / "low")[1]) == 1


@pytest.mark.parametrize("number", ["2147483647", "-2147483648", "0", "17"])
def test_series_numbers_stay_in_their_range(tmp_path: Path, number: str) -> None:
    write_slices(tmp_path / "low", stored(), SeriesNumber=number)
    (first, *_), _ = export(image(), tmp_path / "s", tmp_path / "low")
    assert first.SeriesNumber == 9000 + (17 if number == "17" else 0)


VALID = {
    "gated inversion": {"ScanningSequence": ["GR", "IR"], "ScanOptions": ["CG", "RG"], "SequenceVariant": ["SK", "SP"]},
    "rat": {"PatientSpeciesDescription": "Rattus norvegicus", "PatientPosition": "HFP"},
    "head": {"BodyPartExamined": "HEAD", "Laterality": "L"},
    "breast": {"BodyPartExamined": "BREAST", "Laterality": "L"},
    "unknown part": {"BodyPartExamined": "FLANK"},
    "lossy": {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "8.5",
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
    "prepared without a name": {"ScanningSequence": "GR", "InversionTime": "900"},
    "numbers": {"RepetitionTime": "7.8400000000001", "EchoTime": "3", "FlipAngle": "15", "EchoTrainLength": 1},
}


@pytest.mark.parametrize("kind", VALID)
def test_what_is_valid_is_taken_over(tmp_path: Path, kind: str) -> None:
    write_slices(tmp_path / "low", stored(), **VALID[kind])
    (first, *_), notices = export(image(), tmp_path / "s", tmp_path / "low")
    assert notices == []
    for keyword in VALID[kind].keys() - {"ScanOptions", "Laterality", "InversionTime"}:
        assert first[keyword].value == pydicom.dcmread(next((tmp_path / "low").iterdir()))[keyword].value
    assert first.get("Laterality") == {"head": None, "breast": "L"}.get(kind, "")


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Łukasz^Żółć"),
        ("ISO_IR 144", "Иван^Петров"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_names_are_kept_in_their_characters(tmp_path: Path, characters: Any, name: str) -> None:
    write_slices(tmp_path / "low", stored(), SpecificCharacterSet=characters, PatientName=name)
    (first, *_), notices = export(image(), tmp_path / "s", tmp_path / "low")
    assert str(first.PatientName) == name and notices == []
    assert first.SpecificCharacterSet == characters


@pytest.mark.parametrize("characters", [None, "ISO_IR 999"])
def test_a_wrong_character_set_is_replaced(tmp_path: Path, characters: str | None) -> None:
    wrong = {} if characters is None else {"SpecificCharacterSet": characters}
    for file in write_slices(tmp_path / "low", stored()):
        spoil(file, {"PatientName": "M\xfcller", **wrong})
    (first, *_), _ = export(image(), tmp_path / "s", tmp_path / "low")
    assert str(first.PatientName) == "Müller" and first.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("storage", ["slices", "frames.dcm"])
def test_each_slice_names_the_one_that_it_was_made_from(tmp_path: Path, storage: str) -> None:
    direction = oblique_direction()
    write_slices(tmp_path / "slices", stored(), direction)
    write_enhanced(tmp_path / "frames.dcm", stored(), [3, 1, 0, 4, 2], direction=direction)
    found, _ = export(read_image(tmp_path / storage), tmp_path / "s", tmp_path / storage)
    referred = [
        (one.ReferencedSOPInstanceUID, one.get("ReferencedFrameNumber"))
        for ds in found
        for one in ds.SourceImageSequence
    ]
    of_slices = [(f"1.2.3.1.{number}", None) for number in range(1, 6)]
    assert referred == (of_slices if storage == "slices" else [("1.2.3.1.100", number) for number in (3, 2, 5, 1, 4)])
    across, _ = export(read_image(tmp_path / storage), tmp_path / "t", tmp_path / storage, axis=0)
    assert len(across[0].SourceImageSequence) == (5 if storage == "slices" else 1)


def test_an_enhanced_source_tells_its_acquisition(tmp_path: Path) -> None:
    group = {
        "MREchoSequence": {"EffectiveEchoTime": 3.5},
        "MRTimingAndRelatedParametersSequence": {"RepetitionTime": "8"},
    }
    frames = {index: group for index in range(SHAPE[0])}
    write_enhanced(tmp_path / "f.dcm", stored(), frames=frames, EchoPulseSequence="GRADIENT")
    (first, *_), _ = export(read_image(tmp_path / "f.dcm"), tmp_path / "s", tmp_path / "f.dcm")
    assert (first.EchoTime, first.RepetitionTime, first.ScanningSequence) == (3.5, 8, "GR")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_other_formats_make_a_study_of_their_own(tmp_path: Path, suffix: str) -> None:
    sitk.WriteImage(image(), str(tmp_path / f"low{suffix}"))
    (first, *_), notices = export(image(), tmp_path / "s", tmp_path / f"low{suffix}")
    assert str(first.PatientName) == "LIPCAR^Simulated" and notices == []
    assert "SourceImageSequence" not in first and first.DerivationCodeSequence[0].CodeMeaning.startswith("Simulated")
