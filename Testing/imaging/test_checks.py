"""What an image may hold: refused, mended and noticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, write_image

from .samples import array_of, head, image_of, pair, random_image, with_tumor


def test_voxels_that_are_not_finite() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        array = head()
        array[0, 3, 3:5] = bad
        with pytest.raises(LIPCARError, match="pre-dose image has 2 voxels that are NaN"):
            Examination.from_images(image_of(head(1)), image_of(array))


def test_one_voxel_is_no_voxels() -> None:
    array = head()
    array[0, 3, 3] = np.nan
    with pytest.raises(LIPCARError, match="has 1 voxel that is NaN"):
        Examination.from_images(image_of(array))


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


def stripped(seed: int = 0) -> np.ndarray:
    """A head whose air was set to zero: what rings where it is interpolated."""
    image = head(seed)
    return np.where(image > 200, image, np.float32(0))


INTERPOLATORS = {
    "spline of order 3": sitk.sitkBSpline3,
    "spline of order 5": sitk.sitkBSpline5,
    "Lanczos": sitk.sitkLanczosWindowedSinc,
    "Hamming": sitk.sitkHammingWindowedSinc,
}


@pytest.mark.parametrize("step", [0.53, 0.93, 1.6])
@pytest.mark.parametrize("name", INTERPOLATORS)
def test_what_interpolation_leaves_is_legitimate(name: str, step: float) -> None:
    slices = [sitk.GetImageFromArray(one) for one in stripped()]  # ITK's splines read beyond the ends of two slices
    size = [round(n / step) for n in slices[0].GetSize()]
    plane = (0.4, 0.4), (step, step), slices[0].GetDirection(), 0.0, sitk.sitkFloat32
    resampled = sitk.JoinSeries(
        [sitk.Resample(i, size, sitk.Transform(2, 1), INTERPOLATORS[name], *plane) for i in slices]
    )
    assert array_of(resampled).min() < -20
    examination = Examination.from_images(resampled)
    np.testing.assert_allclose(examination.lowdose, np.maximum(array_of(resampled), 0), rtol=1e-6, atol=1e-9)
    assert "set to zero" in examination.notices[0]


def test_zeros_in_k_space_are_legitimate() -> None:
    spectrum = np.fft.rfft2(stripped())
    spectrum[:, 30:-30], spectrum[:, :, 30:] = 0, 0
    Examination.from_images(image_of(np.fft.irfft2(spectrum).astype(np.float32)))


def no_magnitudes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    body, y = stripped() > 0, np.mgrid[:96, :96][0] / 96
    phase = rng.uniform(-np.pi, np.pi, body.shape)
    after = with_tumor(head(1), 1.8)
    return {
        "CT": np.where(body, 40 + 0.1 * head(), -1000 + rng.normal(0, 10, body.shape)),
        "CT with little air": np.where(np.arange(96) < 4, -1000, 40 + 0.1 * head()),
        "subtraction": after - head(2),
        "subtraction of a bright tumor": 3 * after - 3 * head(2),
        "subtraction in the wrong order": head(2) - after,
        "phase": phase,
        "phase of the body": phase * body,
        "phase as integers": np.round(phase / np.pi * 4096),
        "real part": head() * np.cos(5 * y),
    }


@pytest.mark.parametrize("kind", no_magnitudes())
@pytest.mark.parametrize("units", [1e-20, 1.0])
def test_what_is_no_magnitude_is_refused(kind: str, units: float) -> None:
    image = image_of((no_magnitudes()[kind] * units).astype(np.float32))
    with pytest.raises(LIPCARError, match="not a CT, a subtraction, a phase image"):
        Examination.from_images(image)


def spiked(image: sitk.Image, count: int, value: float, seed: int) -> sitk.Image:
    array = array_of(image)
    tissue = np.flatnonzero(array > 200)
    array.reshape(-1)[np.random.default_rng(seed).choice(tissue, count, replace=False)] = value
    return image_of(array)


@pytest.mark.parametrize("count", [1, 5, 20])
@pytest.mark.parametrize("value", [4e3, 1e6, 1e30, 3e38])
@pytest.mark.parametrize("where", ["low-dose", "pre-dose", "both"])
def test_spikes_decide_nothing(count: int, value: float, where: str) -> None:
    low, pre = pair()
    plain = Examination.from_images(low, pre)
    found = Examination.from_images(
        low if where == "pre-dose" else spiked(low, count, value, 0),
        pre if where == "low-dose" else spiked(pre, count, value, 1),
    )
    assert found.scale == pytest.approx(plain.scale, rel=0.01)
    assert found.noise == pytest.approx(plain.noise, rel=0.02)
    assert (found.predose_gain, found.predose_doubtful) == (plain.predose_gain, plain.predose_doubtful)
    for name in ("lowdose", "predose"):
        assert getattr(found, name).max() < 1.1 * getattr(plain, name).max()
        assert np.count_nonzero(getattr(found, name) != getattr(plain, name)) <= count
    words = "1 voxel" if count == 1 else f"{count} voxels"
    assert all(f"has {words} far brighter than tissue" in notice for notice in found.notices)
    assert len(found.notices) == (2 if where == "both" else 1)


@pytest.mark.parametrize("value", [2000.0, 1e4, 1e6])
def test_a_reference_tube_decides_nothing_and_stays_bright(value: float) -> None:
    low, pre = pair()
    plain = Examination.from_images(low, pre)
    arrays = [array_of(image) for image in (low, pre)]
    for seed, array in enumerate(arrays):
        array[:, 4:12, 4:12] = value * np.random.default_rng(seed).normal(1, 0.01, (2, 8, 8))
    found = Examination.from_images(*map(image_of, arrays))
    assert found.scale == pytest.approx(plain.scale, rel=0.05)
    assert found.noise == pytest.approx(plain.noise, rel=0.1)
    assert found.predose_gain == 1 and not found.predose_doubtful
    assert found.lowdose[:, 6:10, 6:10].min() > 1.4 * found.scale
    assert all("far brighter than tissue" in notice for notice in found.notices)


@pytest.mark.parametrize("units", [1e-33, 1e-30, 1e-9, 1e9, 1e30, 2e34])
def test_units_change_nothing(units: float) -> None:
    low, pre = pair()
    plain = Examination.from_images(low, pre)
    found = Examination.from_images(*(image_of(array_of(image) * np.float32(units)) for image in (low, pre)))
    assert found.predose_gain == plain.predose_gain and found.notices == plain.notices
    for name in ("scale", "noise", "noise_floor", "lowdose", "predose"):
        expected = np.multiply(getattr(plain, name), units, dtype=np.float64)
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5)


def test_units_that_no_float_holds_are_refused() -> None:
    low, pre = pair()
    for units in (1e-42, 5e34):
        with pytest.raises(LIPCARError, match="at the end of what 32-bit"):
            Examination.from_images(image_of(array_of(low) * np.float32(units)))
    with pytest.raises(LIPCARError, match="times as bright as the low-dose image"):
        Examination.from_images(*(image_of(array_of(i) * np.float32(u)) for i, u in ((low, 1e-20), (pre, 1e20))))


@pytest.mark.parametrize("shape", [(1, 1, 192), (1, 192, 1), (192, 1, 1), (1, 192), (192, 1)])
def test_a_line_of_voxels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LIPCARError, match="pixels; at least 2 x 2 are expected"):
        Examination.from_images(image_of(np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape) % 7))


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
