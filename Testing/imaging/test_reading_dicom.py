"""DICOM series: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, read_image

from .samples import array_of


def write_dicom(
    folder: Path, positions: list[float], series: str = "1.2.3.1", direction: np.ndarray | None = None
) -> np.ndarray:
    """One file a slice, names and instance numbers in shuffled order; returns the values by position."""
    folder.mkdir(exist_ok=True)
    direction = np.eye(3) if direction is None else direction
    values = np.random.default_rng(len(positions)).integers(1, 900, (len(positions), 24, 20)).astype(np.int16)
    order = np.random.default_rng(3).permutation(len(positions))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for instance, index in enumerate(order):
        image = sitk.JoinSeries(sitk.GetImageFromArray(values[index]))
        image.SetSpacing((0.8, 0.9, 1.0))
        origin = direction @ np.array([-5.0, 7.0, positions[index]])
        tags = {
            "0008|0060": "MR",
            "0008|103e": f"T1 {series}",
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0013": str(instance + 1),
            "0020|0011": series[-1],
            "0008|0018": f"{series}.{instance + 1}",
            "0020|0032": "\\".join(f"{v:.10g}" for v in origin),
            "0020|0037": "\\".join(f"{v:.10g}" for v in direction.T[:2].ravel()),
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{series}_{instance}.dcm"))
        writer.Execute(image)
    return values


def oblique_direction() -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    return rotation if np.linalg.det(rotation) > 0 else rotation * [1, 1, -1]


def test_dicom_series(tmp_path: Path) -> None:
    direction = oblique_direction()
    values = write_dicom(tmp_path / "series", [0.0, 3.3, 6.6, 9.9, 13.2], direction=direction)
    image = read_image(tmp_path / "series")
    assert image.GetSize() == (20, 24, 5)
    assert np.array_equal(array_of(image), values.astype(np.float32))
    np.testing.assert_allclose(image.GetSpacing(), (0.8, 0.9, 3.3), rtol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), direction, atol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), direction @ (-5, 7, 0), atol=1e-6)
    examination = Examination.read(tmp_path / "series")
    assert examination.lowdose.shape == (5, 24, 20) and examination.slice_axis == 2


def test_dicom_rescaling_is_applied_slice_by_slice(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    values = write_dicom(tmp_path / "series", [0.0, 1.0, 2.0])
    for file in (tmp_path / "series").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.RescaleIntercept, dataset.RescaleSlope = "0", 1 + float(dataset.ImagePositionPatient[2])
        dataset.save_as(file)
    expected = values * np.array([1, 2, 3], np.float32)[:, None, None]
    assert np.array_equal(array_of(read_image(tmp_path / "series")), expected)


def test_dicom_of_one_slice(tmp_path: Path) -> None:
    values = write_dicom(tmp_path / "one", [4.0])
    assert np.array_equal(array_of(read_image(tmp_path / "one")), values)
    assert np.array_equal(array_of(read_image(next((tmp_path / "one").iterdir()))), values)


def test_dicom_of_several_series(tmp_path: Path) -> None:
    write_dicom(tmp_path, [0.0, 1.0, 2.0], "1.2.3.1")
    write_dicom(tmp_path, [0.0, 1.0], "1.2.3.2")
    with pytest.raises(LIPCARError, match="holds 2 DICOM series") as caught:
        read_image(tmp_path)
    for part in ("3 files: T1 1.2.3.1, series UID 1.2.3.1", "2 files: T1 1.2.3.2", "folder of their own"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0.0, 1.0, 2.0, 4.0, 5.0], "is a file missing"),
        ([0.0, 1.0, 2.0, 0.0, 1.0, 2.0], "several time points"),
        ([1.0, 1.0], "several time points"),
    ],
)
def test_dicom_slices_missing_or_doubled(tmp_path: Path, positions: list[float], message: str) -> None:
    write_dicom(tmp_path / "series", positions)
    with pytest.raises(LIPCARError, match=message):
        read_image(tmp_path / "series")
