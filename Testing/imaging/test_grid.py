"""Grids: what tells them apart, which axis the slices are taken along, resampling onto another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination, Grid
from LIPCARLib.imaging.grid import checked_grid, slicing_axis

from .samples import array_of, head, image_of, oblique_image, random_image


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
    assert slicing_axis(Grid.of(image), None) == axis


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
    resampled, gain = examination.notices[:2], examination.notices[2:]
    assert [notice.split(" was resampled")[0] for notice in resampled] == ["The pre-dose image", "The high-dose image"]
    assert ["is 1.05 times as bright" in notice for notice in gain] == [True]
    for word in ("size", "spacing", "directions", "origin"):
        assert word in examination.notices[0]
    assert "outside it" not in examination.notices[0]
    assert Grid.of(examination.to_image(examination.predose)) == lowdose_grid


def test_grid_with_rounded_numbers_is_the_same() -> None:
    low = oblique_image((4, 30, 30))
    pre = sitk.Image(low) * 1.001 + 1
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
    assert "no data in 25.0% of the tissue" in examination.notices[1]
    assert not examination.predose_known[:, :, :10].any() and examination.predose_known[:, :, 10:].all()
    np.testing.assert_array_equal(examination.predose[:, :, :10], examination.lowdose[:, :, :10])
    pre.SetOrigin(low.TransformIndexToPhysicalPoint((25, 0, 0)))
    with pytest.raises(LIPCARError, match="covers only 3.%"):
        Examination.from_images(low, pre)


def test_another_slice_of_the_patient_does_not_overlap() -> None:
    low, pre = (image_of(head(seed, slices=1)) for seed in (1, 2))
    pre.SetOrigin((0, 0, 5))
    with pytest.raises(LIPCARError, match="covers only 0%"):
        Examination.from_images(low, pre)


def sheared(image: sitk.Image, amount: float) -> sitk.Image:
    """The image with its third axis leaning by `amount` along the first."""
    cosines = np.reshape(image.GetDirection(), (3, 3)).copy()
    cosines[:, 2] += amount * cosines[:, 0]
    cosines[:, 2] /= np.linalg.norm(cosines[:, 2])
    image.SetDirection(cosines.ravel().tolist())
    return image


@pytest.mark.parametrize("amount", [0.0, 1e-7, 1e-3, 7e-3])
def test_axes_are_set_at_right_angles(amount: float) -> None:
    image = sheared(oblique_image((4, 30, 30)), amount)
    before = Grid.of(image)
    notices: list[str] = []
    after = checked_grid(before, "It", notices)
    cosines = np.reshape(after.direction, (3, 3))
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-5)
    center = (np.asarray([after.size]) - 1) / 2
    np.testing.assert_allclose(after.points(center), before.points(center), atol=1e-9)
    if amount < 1e-5:
        assert after is before and not notices
    else:
        assert after.distance(before) < 0.1 and (amount < 5e-3 or "right angles" in notices[0])
        assert checked_grid(after, "It", []) == after


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing": (1.0, 1.0, 1e-6)}, "spacings of 0.0001 to"),
        ({"spacing": (1.0, 1.0, 1e6)}, "spacings of"),
        ({"origin": (0.0, 1e9, 0.0)}, "spacings of"),
        ({"origin": (0.0, float("nan"), 0.0)}, "not finite"),
        ({"spacing": (1.0, float("inf"), 1.0)}, "not finite"),
        ({"direction": (1.0, 0.0, 0.2, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "right angles"),
        ({"direction": (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)}, "right angles"),
    ],
)
def test_a_grid_is_finite_and_at_right_angles_or_refused(change: dict[str, tuple[float, ...]], message: str) -> None:
    grid = replace(Grid((20, 30, 5), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)), **change)
    with pytest.raises(LIPCARError, match=message):
        checked_grid(grid, "It", [])


def test_images_from_elsewhere_are_checked_too() -> None:
    """A node of Slicer or an image of a script did not come through `read_image`."""
    with pytest.raises(LIPCARError, match="right angles"):
        Examination.from_images(sheared(oblique_image((4, 30, 30)), 0.3))
    examination = Examination.from_images(sheared(oblique_image((4, 30, 30)), 7e-3))
    assert "right angles" in examination.notices[0]
    cosines = np.reshape(examination.grid.direction, (3, 3))
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-9)
    lost = oblique_image((4, 30, 30))
    lost.SetOrigin((0, 0, float("nan")))
    with pytest.raises(LIPCARError, match="not finite"):
        Examination.from_images(lost)
