"""An examination: voxels and geometry come back as they went in; a part of it lies where its slices were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, Grid, read_image, write_image

from .samples import array_of, oblique_image, random_image

BREAST = Path(__file__).resolve().parents[3] / "shared" / "data" / "breast_dce"


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz", ".nii"])
def test_oblique_volume_comes_back(tmp_path: Path, axis: int | None, suffix: str) -> None:
    image = oblique_image()
    examination = Examination.from_images(image, slice_axis=axis)
    assert examination.slice_axis == (2 if axis is None else axis)
    shapes = [(200, 7, 231), (231, 7, 200), (7, 231, 200)]
    assert examination.lowdose.shape == shapes[examination.slice_axis]
    assert examination.lowdose.flags.c_contiguous and examination.lowdose.dtype == np.float32

    back = examination.to_image(examination.lowdose)
    assert Grid.of(back) == Grid.of(image)  # bit for bit
    assert np.array_equal(array_of(back), array_of(image))

    write_image(back, tmp_path / f"out{suffix}")
    read = read_image(tmp_path / f"out{suffix}")
    assert np.array_equal(array_of(read), array_of(image))
    if suffix == ".mha":
        assert Grid.of(read) == Grid.of(image)
    # NRRD stores spacing times direction, and NIfTI single precision: neither can be exact.
    tolerance = 1e-5 if ".nii" in suffix else 1e-12
    np.testing.assert_allclose(read.GetDirection(), image.GetDirection(), atol=tolerance)
    np.testing.assert_allclose(read.GetSpacing(), image.GetSpacing(), rtol=tolerance)
    np.testing.assert_allclose(read.GetOrigin(), image.GetOrigin(), rtol=tolerance)
    assert Grid.of(image).differences(Grid.of(read)) == []
    assert list(tmp_path.iterdir()) == [tmp_path / f"out{suffix}"]


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_two_dimensional_image_stays_so(tmp_path: Path, suffix: str) -> None:
    image = random_image((40, 30))
    image.SetOrigin((3.5, -2.25))
    image.SetSpacing((0.5, 0.75))
    if suffix != ".nii.gz":
        image.SetDirection((0, -1, 1, 0))
    write_image(image, tmp_path / f"in{suffix}")
    examination = Examination.read(tmp_path / f"in{suffix}")
    assert examination.lowdose.shape == (1, 40, 30)
    assert Grid.of(examination.to_image(examination.lowdose)) == Grid.of(image)
    with pytest.raises(LIPCARError, match="2-D image cannot be sliced along i"):
        Examination.from_images(image, slice_axis=0)
    with pytest.raises(LIPCARError, match="3 dimensions, the low-dose image has 2"):
        Examination.from_images(image, random_image((1, 40, 30)))


@pytest.mark.parametrize("pixel", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkFloat64])
def test_pixel_types(tmp_path: Path, pixel: int) -> None:
    image = sitk.Cast(random_image((2, 20, 20)) / 4, pixel)
    write_image(image, tmp_path / "in.nrrd")
    expected = array_of(image).astype(np.float32)
    assert np.array_equal(Examination.read(tmp_path / "in.nrrd").lowdose, expected)
    assert np.array_equal(Examination.from_images(image).lowdose, expected)


def test_shapes_that_do_not_fit_are_bugs() -> None:
    examination = Examination.from_images(random_image((2, 20, 24)))
    with pytest.raises(ValueError, match="shape"):
        examination.to_image(np.zeros((2, 24, 20), np.float32))
    with pytest.raises(ValueError, match="slice_axis"):
        Examination.from_images(random_image((2, 20, 24)), slice_axis=3)
    with pytest.raises(LIPCARError, match="does not lie on the grid"):
        examination.slices_of(random_image((2, 20, 23)), "The mask")


@pytest.mark.skipif(not BREAST.is_dir(), reason=f"no breast example at {BREAST}")
def test_breast_example() -> None:
    examination = Examination.read(*(BREAST / f"{role}dose.nrrd" for role in ("low", "pre", "high")))
    (notice,) = examination.notices  # the breast was deformed between the images
    assert "correlation of 0.4" in notice and examination.predose is not None
    scaled = examination.lowdose / examination.scale
    assert 0.25 < np.median(scaled[scaled > 0.1]) < 0.5
    assert "swapped" in " ".join(Examination.read(BREAST / "predose.nrrd", BREAST / "lowdose.nrrd").notices)
    assert "swapped" in " ".join(Examination.read(BREAST / "predose.nrrd", BREAST / "highdose.nrrd").notices)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_part_lies_where_its_slices_were(axis: int) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(3).random((5, 6, 7)).astype(np.float32) + 0.5)
    image.SetSpacing((0.5, 0.75, 2.0))
    image.SetOrigin((3.0, -20.0, 7.5))
    turn = np.deg2rad(25)
    image.SetDirection((np.cos(turn), -np.sin(turn), 0, -np.sin(turn), -np.cos(turn), 0, 0, 0, -1))
    whole = Examination.from_images(image, slice_axis=axis)
    part = whole.part(1, 3)
    assert (part.scale, part.noise_floor) == (whole.scale, whole.noise_floor)
    assert (part.first_slice, part.slices_in_all) == (1, whole.slices_in_all)
    start, size = [0, 0, 0], list(image.GetSize())
    start[axis], size[axis] = 1, 2
    expected = sitk.RegionOfInterest(image, size, start)
    found = part.to_image(part.lowdose)
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(expected))
    np.testing.assert_allclose(found.GetOrigin(), expected.GetOrigin(), atol=1e-9)
    assert found.GetSpacing() == image.GetSpacing()
    ordered = [image.GetSpacing()[a] for a in (axis, *[b for b in (2, 1, 0) if b != axis])]
    assert part.spacing == pytest.approx(ordered)
    assert found.GetDirection() == image.GetDirection()
    assert part.part(1, 2).first_slice == 2


def test_all_slices_are_the_examination_itself() -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(3).random((3, 20, 20)).astype(np.float32))
    whole = Examination.from_images(image)
    assert whole.part(0, 3) is whole


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (1, 4), (2, 1)])
def test_a_part_outside_is_refused(start: int, stop: int) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(3).random((3, 20, 20)).astype(np.float32))
    with pytest.raises(LIPCARError, match="slices 1 to 3"):
        Examination.from_images(image).part(start, stop)
