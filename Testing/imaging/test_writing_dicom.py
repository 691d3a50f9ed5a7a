"""The DICOM series that a result becomes: readable, in its place, marked, and in the study it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import (
    Examination,
    Grid,
    read_image,
    series_file,
    series_files,
    series_source,
    write_files,
)
from LIPCARLib.imaging.writing_dicom import LARGEST

pydicom = pytest.importorskip("pydicom")

PROVENANCE = {"model": "m", "alpha": 0.006, "simulated": "yes"}


def oblique(shape: tuple[int, ...] = (4, 5, 6)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(1).random(shape).astype(np.float32) * 900)
    turn, tilt = np.deg2rad(25), np.deg2rad(-10)
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    if len(shape) == 3:
        image.SetDirection((about_z @ about_x @ np.diag([-1, 1, -1])).ravel().tolist())
    image.SetSpacing((0.5, 0.75, 2.5)[: len(shape)])
    image.SetOrigin((3.25, -20.5, 77.125)[: len(shape)])
    return image


def export(folder: Path, examination: Examination, header: Path | None = None) -> int:
    image = examination.to_image(examination.lowdose)
    first = examination.first_slice + 1
    files = series_files(folder, image, examination.slice_axis, PROVENANCE, series_source(header, []), first)
    write_files(files, fresh=folder)
    return len(files)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_voxel_comes_back_at_its_point(axis: int, tmp_path: Path) -> None:
    image = oblique()
    examination = Examination.from_images(image, slice_axis=axis)
    count = export(tmp_path / "series", examination)
    assert count == len(examination.lowdose)
    found = read_image(tmp_path / "series")
    # The axes may come in another order and sense: the points and what lies there must agree.
    grid, there = Grid.of(image), Grid.of(found)
    indices = np.argwhere(np.ones(image.GetSize()))
    target = there.indices(grid.points(indices))
    assert np.abs(target - target.round()).max() < 1e-3
    values = [found.GetPixel([int(v) for v in index]) for index in target.round()]
    expected = [image.GetPixel([int(v) for v in index]) for index in indices]
    np.testing.assert_allclose(values, expected, atol=900 / LARGEST)


def test_a_part_and_a_single_slice(tmp_path: Path) -> None:
    examination = Examination.from_images(oblique())
    part = examination.part(1, 3)
    export(tmp_path / "part", part)
    files = [pydicom.dcmread(path) for path in sorted((tmp_path / "part").iterdir())]
    assert [int(ds.InstanceNumber) for ds in files] == [2, 3]
    assert np.allclose([float(v) for v in files[0].ImagePositionPatient], part.grid.origin, atol=1e-6)
    flat = Examination.from_images(oblique((5, 6)))
    assert export(tmp_path / "flat", flat) == 1


def test_the_series_says_what_it_is(tmp_path: Path) -> None:
    examination = Examination.from_images(oblique())
    export(tmp_path, examination)
    files = [pydicom.dcmread(path) for path in sorted(tmp_path.iterdir())]
    for ds in files:
        assert ds.Modality == "MR"
        assert ds.SOPClassUID == pydicom.uid.MRImageStorage == ds.file_meta.MediaStorageSOPClassUID
        assert list(ds.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        assert ds.ContentQualification == "RESEARCH"
        assert "simulated" in ds.SeriesDescription
        assert len(ds.SeriesDescription) <= 64
        assert "not for diagnosis" in ds.ImageComments
        assert '"alpha": "0.006"' in ds.DerivationDescription
    assert len({ds.SeriesInstanceUID for ds in files}) == 1
    assert len({ds.SOPInstanceUID for ds in files}) == len(files)


def test_patient_and_study_are_those_of_the_lowdose_series(tmp_path: Path) -> None:
    examination = Examination.from_images(oblique())
    export(tmp_path / "low", examination)
    source = series_file(tmp_path / "low")
    ds = pydicom.dcmread(source)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.StudyDescription, ds.SeriesNumber = "Müller^Jürgen", "p7", "head", 4
    ds.save_as(source)
    export(tmp_path / "high", examination, source)
    made = pydicom.dcmread(tmp_path / "high" / "0001.dcm")
    for keyword in ("PatientName", "PatientID", "StudyDescription", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[keyword].value == ds[keyword].value
    assert made.SeriesInstanceUID != ds.SeriesInstanceUID
    assert made.SeriesNumber == 9004


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    examination = Examination.from_images(oblique())
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(LIPCARError, match="not empty"):
        export(tmp_path, examination)
    with pytest.raises(LIPCARError, match="is a file"):
        export(tmp_path / "note.txt", examination)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "header.dcm").write_bytes(bytes(128) + b"DICM and no more of it")
    examination = Examination.from_images(oblique())
    with pytest.raises(LIPCARError, match=r"header\.dcm'"):
        export(tmp_path / "new", examination, tmp_path / "header.dcm")
    assert not (tmp_path / "new").exists()


def test_what_is_no_series_has_no_file(tmp_path: Path) -> None:
    assert series_file(tmp_path) is None
    (tmp_path / "a.nrrd").write_bytes(b"NRRD")
    assert series_file(tmp_path / "a.nrrd") is None
