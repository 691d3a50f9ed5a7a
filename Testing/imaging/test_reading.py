"""Files and DICOM series: what is read, and what is refused with which words."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, read_image, write_image

from .samples import array_of, random_image


def test_unreadable_files(tmp_path: Path) -> None:
    text = tmp_path / "text.nrrd"
    text.write_text("no image at all")
    empty = tmp_path / "empty.nii"
    empty.write_bytes(b"")
    for path in (text, empty):
        with pytest.raises(LIPCARError, match=f"{path.name}' cannot be read as an image"):
            read_image(path)
    with pytest.raises(LIPCARError, match="nothing.nrrd' does not exist"):
        Examination.read(tmp_path / "nothing.nrrd")
    with pytest.raises(LIPCARError, match="holds no DICOM images"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz"])
def test_file_cut_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    write_image(random_image((5, 40, 40)), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(LIPCARError, match=f"in{suffix}"):
        read_image(path)


def test_nifti_cut_short_before_it_was_compressed(tmp_path: Path) -> None:
    write_image(random_image((5, 40, 40)), tmp_path / "in.nii")
    path = tmp_path / "in.nii.gz"
    path.write_bytes(gzip.compress((tmp_path / "in.nii").read_bytes()[:-2000]))
    with pytest.raises(LIPCARError, match="bytes where its header announces"):
        read_image(path)


def test_images_of_another_kind(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((3, 4, 20, 20))
    cases = {
        "4 dimensions": sitk.GetImageFromArray(data, isVector=False),
        "3 values in each voxel": sitk.GetImageFromArray(data.transpose(1, 2, 3, 0), isVector=True),
        "complex": sitk.GetImageFromArray(data[0] + 1j),
    }
    for number, (message, image) in enumerate(cases.items()):
        path = tmp_path / f"{number}.nrrd"
        sitk.WriteImage(image, str(path))
        with pytest.raises(LIPCARError, match=message) as caught:
            read_image(path)
        assert path.name in str(caught.value)
        with pytest.raises(LIPCARError, match=message):
            Examination.from_images(random_image((4, 20, 20)), image)
    with pytest.raises(LIPCARError, match="empty"):
        Examination.from_images(sitk.Image())


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
