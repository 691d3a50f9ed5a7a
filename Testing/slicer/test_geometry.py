"""Where voxels and slices lie in space: from RAS to LPS, whatever the geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scenes import GEOMETRIES, SHAPE, add_linear, add_volume, every_geometry, picture, slicer

from LIPCARLib.slicer.geometry import image_of, slice_at, slice_center, slice_normal


@every_geometry
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
def test_every_voxel_lies_at_its_point_in_space(scene: Any, ijk_to_ras: np.ndarray, dtype: type) -> None:
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    image = image_of(add_volume(scene, "a", array, ijk_to_ras), "The image")
    assert image.GetSize() == SHAPE[::-1]
    for i, j, k in [(0, 0, 0), (19, 0, 0), (0, 23, 0), (0, 0, 3), (7, 11, 2)]:
        right, anterior, superior = ras(ijk_to_ras, i, j, k)
        point = image.TransformIndexToPhysicalPoint((i, j, k))
        assert point == pytest.approx((-right, -anterior, superior), abs=1e-9)
        assert image[i, j, k] == array[k, j, i]


def test_the_image_is_a_copy(scene: Any) -> None:
    node = add_volume(scene, "a", picture(), GEOMETRIES["oblique"])
    image = image_of(node, "The image")
    before = sitk.GetArrayFromImage(image)
    slicer.util.arrayFromVolume(node)[:] = 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), before)


def ras(ijk_to_ras: np.ndarray, i: int, j: int, k: int) -> np.ndarray:
    return (ijk_to_ras @ (i, j, k, 1))[:3]


@every_geometry
def test_the_slice_at_a_point_is_the_one_it_lies_in(scene: Any, ijk_to_ras: np.ndarray) -> None:
    node = add_volume(scene, "low", picture(), ijk_to_ras)
    move = np.eye(4)
    move[:3, 3] = 3, -4, 5
    node.SetAndObserveTransformNodeID(add_linear(scene, move).GetID())
    size = node.GetImageData().GetDimensions()
    for axis in range(3):
        for wanted in (0, size[axis] // 2, size[axis] - 1):
            index = [n / 2 for n in size]
            index[axis] = wanted + 0.3
            assert slice_at(node, (move @ ijk_to_ras @ [*index, 1])[:3], axis) == wanted
        center = slice_center(node, axis, 1)
        assert slice_at(node, center, axis) == 1
        step = np.array(slice_center(node, axis, 2)) - center
        np.testing.assert_allclose(step / np.linalg.norm(step), slice_normal(node, axis), atol=1e-9)
        np.testing.assert_allclose(step, (move @ ijk_to_ras)[:3, axis], atol=1e-9)
        index[axis] = -40
        assert slice_at(node, (move @ ijk_to_ras @ [*index, 1])[:3], axis) == 0
