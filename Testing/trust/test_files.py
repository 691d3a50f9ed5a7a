"""Evidence as files: what is read back is what was found, and as DICOM it refers to the result it judges."""

from __future__ import annotations

import io
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination, read_image, series_files, series_source, write_files
from LIPCARLib.trust import Evidence, Finding, evidence_files

pydicom = pytest.importorskip("pydicom")
SHAPE = (4, 20, 30)


def examination(axis: int = 2) -> Examination:
    values = np.random.default_rng(0).uniform(100, 500, SHAPE).astype(np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    image.SetOrigin((1.5, -2.5, 40.0))
    return Examination.from_images(image, slice_axis=axis)


def found(shape: tuple[int, ...], empty: bool = False) -> Evidence:
    rng = np.random.default_rng(1)
    maps = [rng.normal(0, 2, shape).astype(np.float32) for _ in range(3)]
    labels = np.zeros(shape, np.uint8)
    if not empty:
        labels[1, 2:5, 3:9], labels[2, 8:12, 1:4] = 1, 2
    table = () if empty else (Finding("unsupported", 18, 18.9, 1, (1.0, 2.0, 3.0), 30.0),)
    return Evidence(maps[0], maps[1], np.abs(maps[2]), labels, table, ())


def test_maps_are_read_back_as_they_are_on_the_grid_of_the_image(tmp_path: Path) -> None:
    judged = examination(axis=0)
    one = found(judged.lowdose.shape)
    write_files(evidence_files(tmp_path / "e", judged, one), fresh=[tmp_path / "e"])
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [
        "consistency.nrrd",
        "equation.nrrd",
        "findings.seg.nrrd",
        "uncertainty.nrrd",
    ]
    for name, volume in one.maps().items():
        np.testing.assert_array_equal(judged.slices_of(read_image(tmp_path / "e" / f"{name}.nrrd"), name), volume)
    labels = sitk.ReadImage(str(tmp_path / "e" / "findings.seg.nrrd"))
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert (labels.GetMetaData("Segment0_Name"), labels.GetMetaData("Segment1_LabelValue")) == (
        "unsupported enhancement",
        "2",
    )
    np.testing.assert_array_equal(judged.slices_of(labels, "labels"), one.findings)


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("empty", [False, True])
def test_dicom_refers_to_the_result_and_is_valid(tmp_path: Path, axis: int, empty: bool) -> None:
    highdicom = pytest.importorskip("highdicom")
    judged = examination(axis)
    one = found(judged.lowdose.shape, empty)
    image = judged.to_image(judged.lowdose)
    series = series_files(tmp_path / "s", image, axis, {"model": "m"}, series_source(None, []))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        files = evidence_files(tmp_path / "e", judged, one, series.values())
    sources = [pydicom.dcmread(io.BytesIO(content)) for content in series.values()]
    made = {path.stem: content for path, content in files.items() if path.suffix == ".dcm"}
    assert set(made) == {"consistency", "equation", "uncertainty", "findings"}
    write_files(files, fresh=[tmp_path / "e"])
    with pydicom.config.strict_reading():
        read = {name: pydicom.dcmread(tmp_path / "e" / f"{name}.dcm") for name in made}
    for name, ds in read.items():
        assert [str(element) for element in ds.iterall()]
        assert ds.StudyInstanceUID == sources[0].StudyInstanceUID
        assert ds.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
        assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == sources[0].SeriesInstanceUID
        assert "RESEARCH" in ds.SeriesDescription and ds.SeriesNumber > sources[0].SeriesNumber
        verify(tmp_path / "e" / f"{name}.dcm")
    assert len({ds.SeriesInstanceUID for ds in read.values()}) == 4
    for name, volume in one.maps().items():
        pixels = read[name].pixel_array.reshape(volume.shape)
        places = [
            [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
            for frame in read[name].PerFrameFunctionalGroupsSequence
        ]
        order = [
            next(i for i, ds in enumerate(sources) if np.allclose(ds.ImagePositionPatient, place)) for place in places
        ]
        np.testing.assert_array_equal(pixels, volume[order])
    segmentation = highdicom.seg.segread(tmp_path / "e" / "findings.dcm")
    assert [one.SegmentLabel for one in segmentation.SegmentSequence] == [
        "unsupported enhancement",
        "suppressed enhancement",
    ]
    labels = segmentation.get_pixels_by_source_instance(
        [ds.SOPInstanceUID for ds in sources], combine_segments=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(labels, one.findings)


def verify(file: Path) -> None:
    """No error by dicom3tools' verifier, which is asked where it is installed."""
    if shutil.which("dciodvfy"):
        told = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, errors="replace")
        assert not [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]
