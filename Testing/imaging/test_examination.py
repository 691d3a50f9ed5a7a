"""What an examination accepts, refuses and notices; that voxels and geometry come back as they went in."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import images as images_module
from LIPCARLib.imaging import intensity as intensity_module
from LIPCARLib.imaging.examination import Examination
from LIPCARLib.imaging.images import Grid, check_output, read_image, write_files, write_image
from LIPCARLib.imaging.intensity import SCALE_RULE, foreground_scale
from LIPCARLib.imaging.registration import gain_ratio, move, shift_between
from LIPCARLib.simulation.phantom import simulate

BREAST = Path(__file__).resolve().parents[3] / "shared" / "data" / "breast_dce"


def random_image(shape: tuple[int, ...], seed: int = 0) -> sitk.Image:
    rng = np.random.default_rng(seed)
    return sitk.GetImageFromArray(rng.uniform(1, 1000, shape).astype(np.float32), isVector=False)


def oblique_image(shape: tuple[int, int, int] = (7, 231, 200), seed: int = 0) -> sitk.Image:
    """A volume with a random left-handed orientation and unequal spacing; shape in numpy's order."""
    image = random_image(shape, seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    if np.linalg.det(rotation) > 0:
        rotation[:, 0] *= -1
    image.SetDirection(rotation.ravel().tolist())
    image.SetSpacing((0.71, 0.93, 4.1))
    image.SetOrigin((-101.234567, 57.7654321, 12.5))
    return image


def head(seed: int = 0, size: int = 96, slices: int = 2) -> np.ndarray:
    """(S, size, size) float32: a disk with soft structure in noisy air."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    texture = 400 + 60 * np.sin(25 * x) * np.cos(19 * y)
    clean = np.where(x**2 + y**2 < 0.18, texture, 0.0)
    noisy = np.abs(clean + rng.normal(0, 12, (slices, size, size)))
    return noisy.astype(np.float32)


def with_tumor(slices: np.ndarray, gain: float) -> np.ndarray:
    size = slices.shape[-1]
    y, x = np.mgrid[:size, :size] / size - 0.5
    tumor = (x - 0.1) ** 2 + (y + 0.12) ** 2 < 0.01
    return np.where(tumor, slices * np.float32(gain), slices).astype(np.float32)


def image_of(array: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(array, isVector=False)


def pair(gain: float = 1.4) -> tuple[sitk.Image, sitk.Image]:
    """A low-dose image with an enhancing tumor and its pre-dose image, with noise of their own."""
    return image_of(with_tumor(head(1), gain)), image_of(head(2))


def array_of(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


# The way in and back


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


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_those_of_the_axis(axis: int) -> None:
    image = oblique_image((3, 20, 18))
    examination = Examination.from_images(image, slice_axis=axis)
    index = [4, 5, 1]
    rest = [one for one in (2, 1, 0) if one != axis]
    assert examination.lowdose[index[axis], index[rest[0]], index[rest[1]]] == image.GetPixel(index)
    assert np.array_equal(examination.slices_of(image, "It"), examination.lowdose)


@pytest.mark.parametrize(
    ("size", "spacing", "axis"),
    [
        ((20, 30, 40), (1, 1, 1), 2),
        ((20, 30, 40), (1, 1.04, 1), 2),
        ((20, 30, 40), (3, 1, 1), 0),
        ((20, 30, 40), (1, 3, 1), 1),
        ((20, 30, 40), (3, 3, 1), 2),
        ((1, 30, 40), (1, 1, 5), 0),
        ((20, 1, 40), (1, 1, 5), 1),
        ((1, 1, 40), (1, 1, 5), 2),
    ],
)
def test_acquired_slicing_axis(size: tuple[int, ...], spacing: tuple[float, ...], axis: int) -> None:
    image = random_image(size[::-1])
    image.SetSpacing(spacing)
    assert Examination.from_images(image).slice_axis == axis


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


# Files that cannot be read


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


# DICOM


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


def oblique_direction() -> np.ndarray:
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    return rotation if np.linalg.det(rotation) > 0 else rotation * [1, 1, -1]


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


# Content


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


def swap_notices(low: sitk.Image, pre: sitk.Image) -> list[str]:
    return [notice for notice in Examination.from_images(low, pre).notices if "swapped" in notice]


@pytest.mark.parametrize("gain", [1.3, 1.5, 2.0])
def test_swapped_pair_is_noticed(gain: float) -> None:
    low, pre = pair(gain)
    assert Examination.from_images(low, pre).notices == ()
    assert len(swap_notices(pre, low)) == 1
    assert len(swap_notices(pre * 0.9, low)) == 1


@pytest.mark.parametrize("shift", [0, 1, 3])
@pytest.mark.parametrize("noise", [0, 20, 60])
@pytest.mark.parametrize("bias", [0, 0.3])
def test_no_alarm_without_enhancement(shift: int, noise: float, bias: float) -> None:
    one = head(1)
    x = np.linspace(-0.5, 0.5, one.shape[2])
    other = np.roll(head(2), (shift, shift), (1, 2)) * (1 + bias * x)
    other = np.abs(other + np.random.default_rng(5).normal(0, noise, other.shape)).astype(np.float32)
    assert swap_notices(image_of(one), image_of(other)) == []
    assert swap_notices(image_of(other), image_of(one)) == []


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_no_alarm_where_bright_edges_moved(shift: int) -> None:
    one = head(1)
    one[:, 20:80:12, 20:80] *= 2.5  # bright lines, moved in the other image
    other = np.roll(one, shift, 1) * np.float32(0.97)
    other[:, 20 + shift] = head(2)[:, 20 + shift]  # and one of them is gone
    assert swap_notices(image_of(other), image_of(one)) == []


def test_no_alarm_where_enhancement_outweighs_darkening() -> None:
    pre, low = head(2), with_tumor(head(1), 1.6)
    low[:, 60:72, 36:48] *= 0.5  # as concentrated agent in a bladder
    assert swap_notices(image_of(low), image_of(pre)) == []
    low[:, 50:80, 30:70] *= 0.5
    assert len(swap_notices(image_of(low), image_of(pre))) == 1


@pytest.mark.parametrize("gain", [0.75, 0.95, 1.0, 1.05, 1.25])
def test_the_predose_image_is_brought_to_the_gain_of_the_lowdose_image(gain: float) -> None:
    low, pre = pair()
    plain = Examination.from_images(low, pre)
    found = Examination.from_images(low * gain, pre)
    assert found.predose_gain == pytest.approx(gain, rel=0.005)
    np.testing.assert_allclose(found.predose / found.scale, plain.predose / plain.scale, rtol=0.006)
    assert len(found.notices) == (gain != 1)
    assert all(f"{gain:.2f} times as bright" in notice for notice in found.notices)
    as_it_is = Examination.from_images(low * gain, pre, match_predose=False)
    assert as_it_is.predose_gain == 1
    np.testing.assert_array_equal(as_it_is.predose, plain.predose)


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (3, 1)])
def test_the_predose_image_is_moved_onto_the_lowdose_image(shift: tuple[int, int]) -> None:
    simulated = simulate(11, 0, slices=3, size=128, anatomy="rat")
    low, pre = simulated.lowdose.astype(np.float32), simulated.predose.astype(np.float32)
    beside = np.roll(pre, shift, (1, 2))
    straight, found = shift_between(pre, low), shift_between(beside, low)
    np.testing.assert_allclose(np.subtract(straight, found), shift, atol=0.02)
    moved = Examination.from_images(image_of(low), image_of(beside))
    assert moved.predose_shift == pytest.approx(found)
    assert any("was moved by" in notice for notice in moved.notices)
    inner = np.s_[:, 8:-8, 8:-8]
    aligned = move(pre, straight)[inner]
    np.testing.assert_allclose(moved.predose[inner] / moved.predose_gain, aligned, atol=0.01 * pre.max())
    left = Examination.from_images(image_of(low), image_of(beside), match_predose=False)
    assert left.predose_shift == (0, 0)
    np.testing.assert_array_equal(left.predose, beside)


def test_a_small_shift_is_left_to_the_network_and_known() -> None:
    simulated = simulate(11, 0, slices=3, size=128, anatomy="rat")
    low, pre = simulated.lowdose.astype(np.float32), simulated.predose.astype(np.float32)
    found = Examination.from_images(image_of(low), image_of(pre))
    straight = shift_between(pre, low)
    assert found.predose_shift == (0, 0)
    assert found.predose_rest == pytest.approx(straight)
    np.testing.assert_array_equal(found.predose / np.float32(found.predose_gain), pre)
    # Beside it by another half of a pixel, the aligned image is the same but for what left the field of view.
    beside = move(pre, (0.4, -0.3))
    other = Examination.from_images(image_of(low), image_of(beside))
    np.testing.assert_allclose(np.subtract(found.predose_rest, other.predose_rest), (0.4, -0.3), atol=0.02)
    inner = np.s_[:, 8:-8, 8:-8]
    one, another = (e.aligned_predose(slice(1, 3))[inner] / e.predose_gain for e in (found, other))
    assert np.sqrt(np.mean((one - another) ** 2)) < 0.01 * pre.max()  # values below zero were cut off on the way
    np.testing.assert_array_equal(found.part(1, 3).aligned_predose(slice(0, 2))[inner] / found.predose_gain, one)


def test_without_matching_or_where_nothing_is_told_nothing_is_aligned() -> None:
    one, other = (simulate(11, index, slices=3, size=96) for index in (0, 1))
    low, pre = one.lowdose.astype(np.float32), other.predose.astype(np.float32)
    assert Examination.from_images(image_of(low), image_of(pre)).predose_rest == (0, 0)
    left = Examination.from_images(image_of(low), image_of(move(one.predose, (0.5, 0))), match_predose=False)
    assert left.predose_rest == (0, 0) and left.aligned_predose(slice(0, 2)) is not None
    np.testing.assert_array_equal(left.aligned_predose(slice(0, 2)), left.predose[:2])
    assert Examination.from_images(image_of(low)).aligned_predose(slice(0, 2)) is None


def test_moving_there_and_back_changes_nothing() -> None:
    pre = simulate(11, 1, slices=2, size=96).predose.astype(np.float32) + 500
    back = move(move(pre, (1.3, -2.4)), (-1.3, 2.4))
    np.testing.assert_allclose(back[:, 8:-8, 8:-8], pre[:, 8:-8, 8:-8], atol=0.03 * pre.max())
    np.testing.assert_allclose(move(pre, (0, 3))[:, :, 10:-10], np.roll(pre, 3, 2)[:, :, 10:-10], rtol=2e-3)


def test_unrelated_images_are_not_moved() -> None:
    subjects = [simulate(11, index, slices=3, size=96) for index in range(4)]
    for one, other in zip(subjects, [*subjects[1:], subjects[0]], strict=True):
        assert shift_between(one.predose.astype(np.float32), other.lowdose.astype(np.float32)) is None


@pytest.mark.parametrize("gain", [0.6, 1.6])
def test_an_odd_gain_is_noticed_and_left_alone(gain: float) -> None:
    low, pre = pair()
    found = Examination.from_images(low * gain, pre)
    assert f"{gain:.2f} times as bright" in found.notices[0] and "0.7 to 1.4 is expected" in found.notices[0]
    assert found.predose_gain == 1


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("anatomy", ["rat", "human", "shapes"])
def test_the_gain_of_simulated_sessions_is_found(anatomy: str, index: int) -> None:
    simulated = simulate(11, index, slices=3, size=96, anatomy=anatomy)
    gains = simulated.parameters["gains"]
    assert gain_ratio(simulated.predose, simulated.lowdose) == pytest.approx(gains[1] / gains[0], rel=0.03)


def test_the_lowest_peak_counts() -> None:
    """Half of the tissue enhances by a fifth, more of it than does not: the rest tells the gain."""
    pre = head(2)
    low = head(1) * np.float32(1.08)
    low[:, :55] *= 1.2
    assert gain_ratio(pre, low) == pytest.approx(1.08, rel=0.01)


def test_nothing_in_common_is_noticed() -> None:
    one, other = np.zeros((2, 1, 40, 40), np.float32)
    one[:, :20], other[:, 20:] = head(1)[:1, 30:50, 30:70], head(2)[:1, 30:50, 30:70]
    unmatched = Examination.from_images(image_of(one), image_of(other), match_predose=False)
    assert "no bright tissue in common" in unmatched.notices[0]
    assert unmatched.predose is not None


def test_a_strangers_predose_image_is_left_out() -> None:
    own, alike, stranger = (
        simulate(11, index, slices=2, size=96, anatomy=anatomy)
        for index, anatomy in ((0, "rat"), (3, "rat"), (1, "human"))
    )
    low, pre, similar, other = (image_of(a) for a in (own.lowdose, own.predose, alike.predose, stranger.predose))
    doubtful = Examination.from_images(low, similar)
    assert doubtful.predose is not None
    assert any("Check that the pre-dose image is of this patient" in notice for notice in doubtful.notices)
    assert doubtful.predose_doubtful
    kept, left_out = Examination.from_images(low, pre), Examination.from_images(low, other)
    assert kept.predose is not None and not any("structures" in notice for notice in kept.notices)
    assert not kept.predose_doubtful
    assert left_out.predose is None
    assert any("shows something else and was left out" in notice for notice in left_out.notices)
    assert Examination.from_images(low, other, match_predose=False).predose is not None


def test_tiny_slices_are_noticed() -> None:
    assert "only 15 x 40 pixels" in Examination.from_images(random_image((3, 40, 15))).notices[0]


@pytest.mark.skipif(not BREAST.is_dir(), reason=f"no breast example at {BREAST}")
def test_breast_example() -> None:
    examination = Examination.read(*(BREAST / f"{role}dose.nrrd" for role in ("low", "pre", "high")))
    (notice,) = examination.notices  # the breast was deformed between the images
    assert "correlation of 0.4" in notice and examination.predose is not None
    scaled = examination.lowdose / examination.scale
    assert 0.25 < np.median(scaled[scaled > 0.1]) < 0.5
    assert "swapped" in Examination.read(BREAST / "predose.nrrd", BREAST / "lowdose.nrrd").notices[-1]
    assert "swapped" in Examination.read(BREAST / "predose.nrrd", BREAST / "highdose.nrrd").notices[-1]


# Grids


def smooth(grid: Grid) -> sitk.Image:
    """A smooth function of the physical place, sampled on a grid."""
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size), indexing="ij"), axis=-1)
    x, y, z = grid.points(indices.reshape(-1, 3).astype(float)).T
    values = 500 + 200 * np.sin(x / 15) + 150 * np.cos(y / 12) + 100 * np.sin(z / 20 + 1)
    return grid.image(values.reshape(grid.size).T.astype(np.float32))


def test_predose_on_another_grid_is_resampled() -> None:
    lowdose_grid = Grid((40, 36, 6), (1.0, 1.1, 4.0), (-20.0, -18.0, 3.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    angle = np.radians(8)
    turned = (np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1)
    predose_grid = Grid((90, 90, 40), (0.8, 0.8, 1.5), (-30.0, -35.0, -15.0), turned)
    lowdose, predose = smooth(lowdose_grid) * 1.05, smooth(predose_grid)
    examination = Examination.from_images(lowdose, predose, predose * 1.1, match_predose=False)
    assert examination.predose is not None and examination.highdose is not None
    # h^2/8 times the second derivatives of the three waves: about 0.3 of 500
    np.testing.assert_allclose(examination.predose, examination.lowdose / 1.05, atol=0.5)
    np.testing.assert_allclose(examination.highdose, examination.lowdose / 1.05 * 1.1, atol=0.6)
    assert [notice.split(" was resampled")[0] for notice in examination.notices] == [
        "The pre-dose image",
        "The high-dose image",
    ]
    for word in ("size", "spacing", "directions", "origin"):
        assert word in examination.notices[0]
    assert "outside it" not in examination.notices[0]
    assert Grid.of(examination.to_image(examination.predose)) == lowdose_grid


def test_grid_with_rounded_numbers_is_the_same() -> None:
    low = oblique_image((4, 30, 30))
    pre = sitk.Image(low) * 1.01 + 1
    pre.SetDirection(np.float32(low.GetDirection()).astype(float).tolist())
    pre.SetSpacing(np.float32(low.GetSpacing()).astype(float).tolist())
    pre.SetOrigin(np.float32(low.GetOrigin()).astype(float).tolist())
    examination = Examination.from_images(low, pre)
    assert examination.notices == ()
    assert np.array_equal(examination.predose, examination.slices_of(pre, "It"))


def test_partly_covered_and_apart() -> None:
    low, pre = oblique_image((6, 40, 40)), oblique_image((6, 40, 40), seed=1)
    pre.SetDirection(low.GetDirection())
    pre.SetOrigin(low.TransformIndexToPhysicalPoint((10, 0, 0)))
    examination = Examination.from_images(low, pre, match_predose=False)
    assert "origin" in examination.notices[0] and "the 25" in examination.notices[0]
    np.testing.assert_allclose(examination.predose[:, :, 10:], array_of(pre)[:, :, :-10], rtol=1e-4)
    assert not examination.predose[:, :, :10].any()
    pre.SetOrigin(low.TransformIndexToPhysicalPoint((25, 0, 0)))
    with pytest.raises(LIPCARError, match="covers only 3.%"):
        Examination.from_images(low, pre)


def test_another_slice_of_the_patient_does_not_overlap() -> None:
    low, pre = (image_of(head(seed, slices=1)) for seed in (1, 2))
    pre.SetOrigin((0, 0, 5))
    with pytest.raises(LIPCARError, match="covers only 0%"):
        Examination.from_images(low, pre)


# Scale


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), exponent=st.floats(-6, 6), whole=st.booleans())
def test_scale_follows_the_units(seed: int, exponent: float, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    array = rng.gamma(2.0, 200.0, (2, 23, 17)).astype(np.float32) * (rng.random((2, 23, 17)) > 0.3)
    array = np.round(array).astype(np.float32) if whole else array
    factor = np.float32(10.0**exponent)
    assert foreground_scale(array * factor) == pytest.approx(foreground_scale(array) * factor, rel=1e-6)
    assert foreground_scale(array * np.float32(0.125)) == foreground_scale(array) / 8


def test_voxels_at_the_threshold_stay_foreground_in_any_units() -> None:
    array = np.repeat(np.float32([20, 150, 1000]), [490, 500, 10])  # 150 is 15 % of 1000
    assert foreground_scale(array) == 300
    for factor in np.float32([0.1, 0.3, 0.7, 1.1, 3.3, 1e-3, 1e4]):
        assert foreground_scale(array * factor) == pytest.approx(300 * factor, rel=1e-6)


def test_scale_rule() -> None:
    low, pre = pair()
    examination = Examination.from_images(low, pre, low * 1.5)
    assert examination.scale == Examination.from_images(low).scale == foreground_scale(examination.lowdose)
    foreground = examination.lowdose[examination.lowdose > 100] / examination.scale
    assert np.percentile(foreground, 90) == pytest.approx(0.5, abs=0.02)
    assert SCALE_RULE == {"name": "foreground-percentile", "threshold": 0.15, "percentile": 90, "target": 0.5}
    air = np.zeros((2, 60, 96), np.float32)  # more air around does not change the scale
    assert foreground_scale(np.concatenate([examination.lowdose, air], axis=1)) == examination.scale
    with pytest.raises(LIPCARError, match="no voxel above zero"):
        foreground_scale(air)


def test_scale_of_a_subsampled_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    array = head(slices=8)
    whole = foreground_scale(array)
    monkeypatch.setattr(intensity_module, "MAX_SAMPLES", array.size // 7)
    assert foreground_scale(array) == foreground_scale(array) == pytest.approx(whole, rel=0.01)


# Writing


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_metadata_is_written(tmp_path: Path, suffix: str) -> None:
    image = random_image((2, 20, 20))
    write_image(image, tmp_path / f"out{suffix}", {"LIPCAR_model": "a: b\nc", "LIPCAR_alpha": "0.006"})
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(tmp_path / f"out{suffix}"))
    reader.ReadImageInformation()
    assert reader.GetMetaData("LIPCAR_model") == "a: b c"
    assert reader.GetMetaData("LIPCAR_alpha") == "0.006"
    assert not image.HasMetaDataKey("LIPCAR_alpha")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.png", "must end in one of .nrrd"),
        ("out.NRRD", "small letters"),
        ("out", "must end in"),
        (".nrrd", "must end in"),
        ("out.mhd", "must end in"),
        ("missing/out.nrrd", "missing' does not exist"),
        ("folder.nrrd", "is a folder"),
    ],
)
def test_output_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.nrrd").mkdir()
    for action in (check_output, lambda path: write_image(random_image((2, 20, 20)), path)):
        with pytest.raises(LIPCARError, match=message):
            action(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nrrd"]


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # real rights would not stop root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(LIPCARError, match="cannot be written to .Permission denied"):
        check_output(tmp_path / "out.nrrd")


def test_check_output_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there.nrrd").write_bytes(b"old")
    for name in ("there.nrrd", "new.nii.gz"):
        check_output(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there.nrrd"]
    assert (tmp_path / "there.nrrd").read_bytes() == b"old"


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("moment", ["write", "replace"])
def test_several_outputs_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, moment: str
) -> None:
    outputs = {tmp_path / f"{name}.nrrd": random_image((2, 20, 20), seed) for seed, name in enumerate("abc")}
    (tmp_path / "a.nrrd").write_bytes(b"old")
    calls = iter(range(100))

    def failing_call(original):
        def call(*args, **kwargs):
            if next(calls) == failing:
                if moment == "write":
                    Path(args[1]).write_bytes(b"half")
                    raise RuntimeError("first line\nno space left")
                raise OSError("no space left")
            return original(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(images_module.sitk, "WriteImage", failing_call(sitk.WriteImage))
        else:
            patch.setattr(images_module.os, "replace", failing_call(os.replace))
        with pytest.raises(LIPCARError, match="cannot be written: no space left"):
            write_files(outputs)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]
    assert (tmp_path / "a.nrrd").read_bytes() == b"old"

    write_files(outputs)
    assert sorted(tmp_path.iterdir()) == sorted(outputs)
    for path, image in outputs.items():
        assert np.array_equal(array_of(read_image(path)), array_of(image))


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(image: sitk.Image, path: str, **_: bool) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(images_module.sitk, "WriteImage", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_image(random_image((2, 20, 20)), tmp_path / "out.nrrd")
    assert list(tmp_path.iterdir()) == []


# A part of an examination


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
