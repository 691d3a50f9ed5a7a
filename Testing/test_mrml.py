"""Volume nodes in and out, against the real MRML classes of the PyPI package slicer-core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

REASON = "slicer-core is not installed (`pip install slicer-core`; its wheels are for Python 3.10 to 3.12)"
slicer = pytest.importorskip("slicer", reason=REASON, exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason=REASON, exc_type=ImportError)

from LIPCARLib.errors import LIPCARError  # noqa: E402
from LIPCARLib.mrml import examination_of, image_of, to_node  # noqa: E402

SHAPE = (4, 24, 20)
"""Of the arrays: k, j, i."""


def rotation(*degrees: float) -> np.ndarray:
    """A rotation about the three axes one after the other."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ one
    return matrix


def affine(axes: np.ndarray, spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = axes * np.asarray(spacing)
    matrix[:3, 3] = origin
    return matrix


GEOMETRIES = {
    "plain": affine(np.eye(3), (1, 1, 1), (0, 0, 0)),
    "axial LPS": affine(np.diag([-1.0, -1.0, 1.0]), (0.7, 0.9, 5.0), (90.5, 110.25, -33.0)),
    "left-handed": affine(np.diag([-1.0, 1.0, 1.0]), (0.7, 0.7, 3.0), (-12.0, 7.0, 100.0)),
    "sagittal": affine(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], float), (0.5, 0.6, 2.0), (1, 2, 3)),
    "oblique": affine(rotation(12, -33, 71), (0.43, 0.97, 4.1), (10.3, -77.7, 5.5)),
    "oblique and flipped": affine(rotation(-20, 5, 130) @ np.diag([1, -1, -1]), (1.3, 0.4, 6), (0.1, 0.2, 0.3)),
}
every_geometry = pytest.mark.parametrize("ijk_to_ras", GEOMETRIES.values(), ids=GEOMETRIES)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    scene = slicer.vtkMRMLScene()
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    yield scene
    scene.Clear()


def add_volume(scene: Any, name: str, array: np.ndarray, ijk_to_ras: np.ndarray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(ijk_to_ras))
    return node


def add_linear(scene: Any, matrix: np.ndarray) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "linear")
    slicer.util.updateTransformMatrixFromArray(node, matrix)
    return node


def add_warp(scene: Any) -> Any:
    """A transform node that bends."""
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for n, point in enumerate([(0, 0, 0), (30, 0, 0), (0, 30, 0), (0, 0, 30), (30, 30, 30)]):
        before.InsertNextPoint(point)
        after.InsertNextPoint(point[0] + n * n, point[1], point[2])
    warp = vtk.vtkThinPlateSplineTransform()
    warp.SetSourceLandmarks(before)
    warp.SetTargetLandmarks(after)
    warp.SetBasisToR()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    node.SetAndObserveTransformToParent(warp)
    return node


def matrix_of(node: Any) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def picture(seed: int = 0, gain: float = 1.0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A bright body on a dark ground."""
    k, j, i = np.indices(shape)
    body = (j - shape[1] / 2) ** 2 + (i - shape[2] / 2) ** 2 < 60
    noise = np.random.default_rng(seed).random(shape)
    return np.where(body, gain * (100 + 10 * noise + k), noise).astype(np.float32)


def ras(ijk_to_ras: np.ndarray, i: int, j: int, k: int) -> np.ndarray:
    return (ijk_to_ras @ (i, j, k, 1))[:3]


# Reading


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


def test_a_node_without_voxels_is_refused_by_name(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing yet")
    with pytest.raises(LIPCARError, match=r"The low-dose image \('nothing yet'\) holds no voxels"):
        examination_of(node)


def test_a_color_volume_is_refused_by_name(scene: Any) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    slicer.util.updateVolumeFromArray(node, np.ones((*SHAPE, 3), np.float32))
    with pytest.raises(LIPCARError, match=r"\('photo'\) has 3 values in each voxel"):
        examination_of(node)


def test_what_the_engine_says_names_the_nodes(scene: Any) -> None:
    lowdose = add_volume(scene, "t1 after", picture(), GEOMETRIES["plain"])
    predose = add_volume(scene, "t1 before", picture(), GEOMETRIES["plain"])
    with pytest.raises(LIPCARError, match=r"'t1 before'.*'t1 after'.*the same"):
        examination_of(lowdose, predose)


def test_volumes_on_one_grid_are_taken_as_they_are(scene: Any) -> None:
    arrays = [picture(seed, gain) for seed, gain in enumerate((1.2, 1.0, 1.5))]
    nodes = [add_volume(scene, name, a, GEOMETRIES["oblique"]) for name, a in zip("lph", arrays, strict=True)]
    examination = examination_of(*nodes)
    found = examination.lowdose, examination.predose, examination.highdose
    for array, got in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(got, array)
    assert not examination.notices


# Transforms


def scene_of_two(scene: Any) -> tuple[Any, Any, np.ndarray]:
    """A low-dose volume, and a pre-dose one whose geometry is another one; the world-to-world matrix between them."""
    move = affine(rotation(8, -15, 30), (1, 1, 1), (5, -7, 11))
    lowdose = add_volume(scene, "low", picture(0, 1.2), GEOMETRIES["oblique"])
    predose = add_volume(scene, "pre", picture(1), np.linalg.inv(move) @ GEOMETRIES["oblique"])
    return lowdose, predose, move


def assert_aligned(lowdose: Any, predose: Any) -> None:
    examination = examination_of(lowdose, predose)
    np.testing.assert_array_equal(examination.predose, slicer.util.arrayFromVolume(predose))
    assert not examination.notices


def test_a_transform_of_the_predose_volume_counts(scene: Any) -> None:
    lowdose, predose, move = scene_of_two(scene)
    predose.SetAndObserveTransformNodeID(add_linear(scene, move).GetID())
    assert_aligned(lowdose, predose)


def test_a_transform_of_the_lowdose_volume_counts(scene: Any) -> None:
    lowdose, predose, move = scene_of_two(scene)
    lowdose.SetAndObserveTransformNodeID(add_linear(scene, np.linalg.inv(move)).GetID())
    assert_aligned(lowdose, predose)


def test_differing_transforms_are_composed(scene: Any) -> None:
    lowdose, predose, move = scene_of_two(scene)
    other = affine(rotation(50, 3, -4), (1, 1, 1), (-100, 3, 9))
    lowdose.SetAndObserveTransformNodeID(add_linear(scene, other).GetID())
    predose.SetAndObserveTransformNodeID(add_linear(scene, other @ move).GetID())
    assert_aligned(lowdose, predose)


def test_a_shared_transform_changes_nothing_even_if_it_bends(scene: Any) -> None:
    lowdose, predose, move = scene_of_two(scene)
    warp, linear = add_warp(scene), add_linear(scene, move)
    linear.SetAndObserveTransformNodeID(warp.GetID())
    lowdose.SetAndObserveTransformNodeID(warp.GetID())
    predose.SetAndObserveTransformNodeID(linear.GetID())
    assert_aligned(lowdose, predose)


def test_a_shifted_predose_volume_is_resampled_where_it_belongs(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(0, 1.2), GEOMETRIES["oblique"])
    predose = add_volume(scene, "pre", picture(1), GEOMETRIES["oblique"])
    three_pixels = GEOMETRIES["oblique"] @ affine(np.eye(3), (1, 1, 1), (3, 0, 0))
    shift = three_pixels @ np.linalg.inv(GEOMETRIES["oblique"])
    predose.SetAndObserveTransformNodeID(add_linear(scene, shift).GetID())
    examination = examination_of(lowdose, predose)
    expected = slicer.util.arrayFromVolume(predose)[:, :, :-3]
    np.testing.assert_allclose(examination.predose[:, :, 3:], expected, rtol=1e-4)
    assert any("'pre'" in notice and "resampled" in notice for notice in examination.notices)


@pytest.mark.parametrize("bent", ["low", "pre"])
def test_a_bent_difference_is_refused_with_the_way_out(scene: Any, bent: str) -> None:
    lowdose, predose, _ = scene_of_two(scene)
    (lowdose if bent == "low" else predose).SetAndObserveTransformNodeID(add_warp(scene).GetID())
    with pytest.raises(LIPCARError, match=r"\('pre'\).*\('low'\).*not linear.*Harden"):
        examination_of(lowdose, predose)


# Writing


def result_of(lowdose: Any, factor: float = 2.0) -> sitk.Image:
    examination = examination_of(lowdose)
    return examination.to_image(factor * examination.lowdose)


@every_geometry
def test_the_result_lies_exactly_on_the_lowdose_volume(scene: Any, ijk_to_ras: np.ndarray) -> None:
    array = picture().astype(np.int16)
    lowdose = add_volume(scene, "low", array, ijk_to_ras)
    output = to_node(result_of(lowdose), lowdose, {})
    np.testing.assert_array_equal(matrix_of(output), matrix_of(lowdose))
    assert output.GetSpacing() == lowdose.GetSpacing()
    assert output.GetOrigin() == lowdose.GetOrigin()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), 2.0 * array)
    assert output.GetImageData().GetScalarTypeAsString() == "float"
    assert output.GetName() == "low LIPCAR"


def test_the_result_moves_with_the_lowdose_volume(scene: Any) -> None:
    lowdose, _, move = scene_of_two(scene)
    lowdose.SetAndObserveTransformNodeID(add_linear(scene, move).GetID())
    output = to_node(result_of(lowdose), lowdose, {})
    assert output.GetParentTransformNode() is lowdose.GetParentTransformNode()


def test_the_result_tells_how_it_was_made(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    output = to_node(result_of(lowdose), lowdose, {"alpha": 0.006, "model": "m", "predose_used": False, "old": 1})
    assert output.GetAttribute("LIPCAR.alpha") == "0.006"
    assert output.GetAttribute("LIPCAR.predose_used") == "False"
    output.SetAttribute("mine", "kept")
    to_node(result_of(lowdose), lowdose, {"alpha": 0.01}, output)
    assert sorted(output.GetAttributeNames()) == ["LIPCAR.alpha", "mine"]
    assert output.GetAttribute("LIPCAR.alpha") == "0.01"


def test_an_output_node_is_updated_whatever_it_was(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["oblique"])
    output = add_volume(scene, "mine", np.ones((2, 3, 4), np.uint8), GEOMETRIES["sagittal"])
    output.SetAndObserveTransformNodeID(add_linear(scene, np.diag([2.0, 2, 2, 1])).GetID())
    assert to_node(result_of(lowdose), lowdose, {}, output) is output
    assert output.GetName() == "mine"
    assert output.GetParentTransformNode() is None
    np.testing.assert_array_equal(matrix_of(output), matrix_of(lowdose))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), 2 * slicer.util.arrayFromVolume(lowdose))


def test_both_are_shown_in_one_window_wide_enough_for_the_result(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    lowdose.CreateDefaultDisplayNodes()
    lowdose.GetDisplayNode().AutoWindowLevelOff()
    lowdose.GetDisplayNode().SetWindowLevelMinMax(5, 60)
    output = to_node(result_of(lowdose), lowdose, {})
    shown = [node.GetDisplayNode() for node in (lowdose, output)]
    windows = {(one.GetWindowLevelMin(), one.GetWindowLevelMax()) for one in shown}
    assert len(windows) == 1
    lowest, highest = windows.pop()
    assert lowest == pytest.approx(5)
    assert highest == pytest.approx(np.percentile(slicer.util.arrayFromVolume(output), 99.9), rel=1e-6)
    assert not any(one.GetAutoWindowLevel() for one in shown)


def test_a_window_that_is_wide_enough_stays(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    lowdose.CreateDefaultDisplayNodes()
    lowdose.GetDisplayNode().AutoWindowLevelOff()
    lowdose.GetDisplayNode().SetWindowLevelMinMax(0, 1000)
    output = to_node(result_of(lowdose), lowdose, {})
    assert output.GetDisplayNode().GetWindowLevelMax() == pytest.approx(1000)


def test_the_result_goes_into_the_study_of_the_lowdose_volume(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, lowdose)
    output = to_node(result_of(lowdose), lowdose, {})
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(output)) == study
    placed_elsewhere = add_volume(scene, "mine", picture(), GEOMETRIES["plain"])
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), placed_elsewhere)
    to_node(result_of(lowdose), lowdose, {}, placed_elsewhere)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(placed_elsewhere)) == study


def test_a_lowdose_volume_replaced_meanwhile_is_noticed_before_anything_changes(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    image = result_of(lowdose)
    slicer.util.updateVolumeFromArray(lowdose, picture(shape=(2, 24, 20)))
    with pytest.raises(LIPCARError, match=r"'low'.*changed during the computation.*20 x 24 x 2"):
        to_node(image, lowdose, {})
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
