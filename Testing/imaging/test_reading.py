"""Files and DICOM series: what is read, and what is refused with which words."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, read_image, write_image

from .samples import random_image


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
