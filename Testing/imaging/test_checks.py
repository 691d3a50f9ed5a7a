"""What an image may hold: refused, mended and noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, write_image

from .samples import head, image_of, pair, random_image


def test_voxels_that_are_not_finite() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        array = head()
        array[0, 3, 3:5] = bad
        with pytest.raises(LIPCARError, match="pre-dose image has 2 voxels that are NaN"):
            Examination.from_images(image_of(head(1)), image_of(array))


def test_constant_images() -> None:
    for value in (0.0, 7.0, -3.0):
        with pytest.raises(LIPCARError, match=f"low-dose image is {value:g} everywhere"):
            Examination.from_images(image_of(np.full((2, 20, 20), value, np.float32)))


def test_small_negative_values_are_clipped() -> None:
    few, shallow = head(), head()
    few[0, 0, :5] = -5000
    shallow[0, :40, :40] -= 3
    for array in (few, np.minimum(shallow, head().max())):
        before = array.copy()
        examination = Examination.from_images(image_of(array))
        assert np.array_equal(examination.lowdose, np.maximum(before, 0))
        assert len(examination.notices) == 1 and "set to zero" in examination.notices[0]


def test_other_negative_values_are_refused() -> None:
    ct, subtraction = head() - 1000, head(1) - head(2)
    for array in (ct, subtraction, -head()):
        with pytest.raises(LIPCARError, match="negative values .* magnitude image is expected"):
            Examination.from_images(image_of(array))


def test_same_image_twice(tmp_path: Path) -> None:
    low, pre = pair()
    with pytest.raises(LIPCARError, match="pre-dose image and the low-dose image are the same"):
        Examination.from_images(low, low)
    with pytest.raises(LIPCARError, match="high-dose image and the low-dose image are the same"):
        Examination.from_images(low, pre, low)
    with pytest.raises(LIPCARError, match="high-dose image and the pre-dose image are the same"):
        Examination.from_images(low, pre, pre)
    write_image(low, tmp_path / "one.nrrd")
    shutil.copy(tmp_path / "one.nrrd", tmp_path / "two.nrrd")
    with pytest.raises(LIPCARError, match=r"two\.nrrd.*one\.nrrd.*are the same"):
        Examination.read(tmp_path / "one.nrrd", tmp_path / "two.nrrd")


def test_tiny_slices_are_noticed() -> None:
    assert "only 15 x 40 pixels" in Examination.from_images(random_image((3, 40, 15))).notices[0]
