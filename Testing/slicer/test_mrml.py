"""Volume nodes in and out, against the real MRML classes of the PyPI package slicer-core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import headless
import numpy as np
import pytest
import SimpleITK as sitk

REASON = "slicer-core is not installed (`pip install slicer-core`; its wheels are for Python 3.10 to 3.12)"
slicer = pytest.importorskip("slicer", reason=REASON, exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason=REASON, exc_type=ImportError)

from LIPCARLib.errors import LIPCARError  # noqa: E402
from LIPCARLib.imaging.examination import Examination  # noqa: E402
from LIPCARLib.inverse.result import Result  # noqa: E402
from LIPCARLib.slicer.geometry import (  # noqa: E402
    grid_differences,
    image_of,
    slice_at,
    slice_center,
    slice_normal,
)
from LIPCARLib.slicer.mrml import (  # noqa: E402
    EXTRAS,
    add_volumes,
    examination_of,
    provenance_of,
    related,
    resampled,
)
from LIPCARLib.slicer.tables import add_convergence, add_metrics  # noqa: E402

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
def scene() -> Iterator[Any]:
    headless.start()
    scene = headless.new_scene()
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
    examination = examination_of(*nodes, match_predose=False)
    found = examination.lowdose, examination.predose, examination.highdose
    for array, got in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(got, array)
    assert not [notice for notice in examination.notices if "resampled" in notice]


# Transforms


def scene_of_two(scene: Any) -> tuple[Any, Any, np.ndarray]:
    """A low-dose volume, and a pre-dose one whose geometry is another one; the world-to-world matrix between them."""
    move = affine(rotation(8, -15, 30), (1, 1, 1), (5, -7, 11))
    lowdose = add_volume(scene, "low", picture(0, 1.2), GEOMETRIES["oblique"])
    predose = add_volume(scene, "pre", picture(1), np.linalg.inv(move) @ GEOMETRIES["oblique"])
    return lowdose, predose, move


def assert_aligned(lowdose: Any, predose: Any) -> None:
    examination = examination_of(lowdose, predose, match_predose=False)
    np.testing.assert_array_equal(examination.predose, slicer.util.arrayFromVolume(predose))
    assert not [notice for notice in examination.notices if "resampled" in notice]


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


def result_of(examination: Examination, factor: float = 2.0, **provenance: Any) -> Result:
    """A result as the engine returns it, of made-up content."""
    x = examination.lowdose
    return Result(factor * x, 1.5 * x, 0.1 * x - 1, [[9.0, 5.0], [8.0]], [0.1], [2, 1], [1.0, 1.0], 1.0, provenance)


def add_result(
    lowdose: Any,
    provenance: dict[str, Any],
    output: Any = None,
    extras: tuple[str, ...] = (),
    part: tuple[int, int] | None = None,
    predose: Any = None,
) -> Any:
    examination = examination_of(lowdose, predose, match_predose=False)
    if part:
        examination = examination.part(*part)
    return add_volumes(examination, result_of(examination, **provenance), lowdose, output, extras, predose)


@every_geometry
def test_the_result_lies_exactly_on_the_lowdose_volume(scene: Any, ijk_to_ras: np.ndarray) -> None:
    array = picture().astype(np.int16)
    lowdose = add_volume(scene, "low", array, ijk_to_ras)
    output = add_result(lowdose, {})
    np.testing.assert_array_equal(matrix_of(output), matrix_of(lowdose))
    assert output.GetSpacing() == lowdose.GetSpacing()
    assert output.GetOrigin() == lowdose.GetOrigin()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), 2.0 * array)
    assert output.GetImageData().GetScalarTypeAsString() == "float"
    assert output.GetName() == "low simulated high dose"


def test_the_result_moves_with_the_lowdose_volume(scene: Any) -> None:
    lowdose, _, move = scene_of_two(scene)
    lowdose.SetAndObserveTransformNodeID(add_linear(scene, move).GetID())
    output = add_result(lowdose, {})
    assert output.GetParentTransformNode() is lowdose.GetParentTransformNode()


def test_the_result_tells_how_it_was_made(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    output = add_result(lowdose, {"alpha": 0.006, "model": "m", "predose_used": False, "old": 1})
    assert output.GetAttribute("LIPCAR.alpha") == "0.006"
    assert output.GetAttribute("LIPCAR.predose_used") == "False"
    output.SetAttribute("mine", "kept")
    add_result(lowdose, {"alpha": 0.01}, output)
    assert sorted(output.GetAttributeNames()) == ["LIPCAR.alpha", "LIPCAR.notices", "mine"]
    assert output.GetAttribute("LIPCAR.alpha") == "0.01"


def test_an_output_node_is_updated_whatever_it_was(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["oblique"])
    output = add_volume(scene, "mine", np.ones((2, 3, 4), np.uint8), GEOMETRIES["sagittal"])
    output.SetAndObserveTransformNodeID(add_linear(scene, np.diag([2.0, 2, 2, 1])).GetID())
    assert add_result(lowdose, {}, output) is output
    assert output.GetName() == "mine"
    assert output.GetParentTransformNode() is None
    np.testing.assert_array_equal(matrix_of(output), matrix_of(lowdose))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), 2 * slicer.util.arrayFromVolume(lowdose))


def test_the_result_has_the_window_of_the_input_widened_to_itself(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    lowdose.CreateDefaultDisplayNodes()
    lowdose.GetDisplayNode().AutoWindowLevelOff()
    lowdose.GetDisplayNode().SetWindowLevelMinMax(5, 60)
    output = add_result(lowdose, {})
    shown = output.GetDisplayNode()
    assert shown.GetWindowLevelMin() == pytest.approx(5)
    bright = np.percentile(slicer.util.arrayFromVolume(output), 99.9)
    assert shown.GetWindowLevelMax() == pytest.approx(bright, rel=1e-6)
    assert not shown.GetAutoWindowLevel()
    untouched = lowdose.GetDisplayNode()
    assert (untouched.GetWindowLevelMin(), untouched.GetWindowLevelMax()) == pytest.approx((5, 60))


def test_a_window_that_is_wide_enough_stays(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    lowdose.CreateDefaultDisplayNodes()
    lowdose.GetDisplayNode().AutoWindowLevelOff()
    lowdose.GetDisplayNode().SetWindowLevelMinMax(0, 1000)
    output = add_result(lowdose, {})
    assert output.GetDisplayNode().GetWindowLevelMax() == pytest.approx(1000)


def test_the_result_goes_into_the_study_of_the_lowdose_volume(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    hierarchy.CreateItem(study, lowdose)
    output = add_result(lowdose, {})
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(output)) == study
    placed_elsewhere = add_volume(scene, "mine", picture(), GEOMETRIES["plain"])
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), placed_elsewhere)
    add_result(lowdose, {}, placed_elsewhere)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(placed_elsewhere)) == study


def test_a_lowdose_volume_replaced_meanwhile_is_noticed_before_anything_changes(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    examination = examination_of(lowdose)
    slicer.util.updateVolumeFromArray(lowdose, picture(shape=(2, 24, 20)))
    for one in (examination, examination.part(0, 1)):
        with pytest.raises(LIPCARError, match=r"'low'.*changed during the computation.*20 x 24 x 2"):
            add_volumes(one, result_of(one), lowdose)
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


@every_geometry
def test_a_part_lies_where_its_slices_are(scene: Any, ijk_to_ras: np.ndarray) -> None:
    lowdose = add_volume(scene, "low", picture(), ijk_to_ras)
    output = add_result(lowdose, {}, part=(1, 3))
    axis = examination_of(lowdose).slice_axis
    first = np.zeros(4)
    first[axis], first[3] = 1, 1
    np.testing.assert_allclose(matrix_of(output)[:, 3], matrix_of(lowdose) @ first, atol=1e-9)
    np.testing.assert_array_equal(matrix_of(output)[:, :3], matrix_of(lowdose)[:, :3])
    whole = slicer.util.arrayFromVolume(lowdose).swapaxes(0, 2 - axis)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(output).swapaxes(0, 2 - axis), 2 * whole[1:3])


# What comes with a result


def test_extra_volumes_come_along_and_are_updated(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["oblique"])
    predose = add_volume(scene, "pre", 0.8 * picture(), GEOMETRIES["oblique"])
    output = add_result(lowdose, {"alpha": 1}, None, tuple(EXTRAS), predose=predose)
    nodes = {extra: output.GetNodeReference(f"LIPCAR.{extra}") for extra in EXTRAS}
    assert [node.GetName() for node in nodes.values()] == [f"{output.GetName()} {words}" for words in EXTRAS.values()]
    x = slicer.util.arrayFromVolume(lowdose)
    expected = {"prior": 1.5 * x, "enhancement": 2 * x - slicer.util.arrayFromVolume(predose)}
    expected["data_consistency"] = 0.1 * x - 1
    expected["difference"] = x
    for extra, node in nodes.items():
        np.testing.assert_allclose(slicer.util.arrayFromVolume(node), expected[extra], rtol=1e-6)
        np.testing.assert_array_equal(matrix_of(node), matrix_of(lowdose))
        assert node.GetAttribute("LIPCAR.alpha") == "1"
        assert node.GetAttribute("LIPCAR.content") == EXTRAS[extra]
    count = scene.GetNumberOfNodes()
    assert add_result(lowdose, {"alpha": 2}, output, tuple(EXTRAS), predose=predose) is output
    assert scene.GetNumberOfNodes() == count
    assert nodes["prior"].GetAttribute("LIPCAR.alpha") == "2"
    add_result(lowdose, {"alpha": 3}, output, ("prior",), predose=predose)
    assert output.GetNodeReference("LIPCAR.enhancement") is None
    assert nodes["enhancement"].GetAttribute("LIPCAR.alpha") == "2"  # the user's now, as it was
    assert nodes["prior"].GetAttribute("LIPCAR.alpha") == "3"


def test_one_window_for_images_and_another_for_maps(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    predose = add_volume(scene, "pre", 0.8 * picture(), GEOMETRIES["plain"])
    output = add_result(lowdose, {}, None, tuple(EXTRAS), predose=predose)
    images = [output, output.GetNodeReference("LIPCAR.prior")]
    windows = {(n.GetDisplayNode().GetWindowLevelMin(), n.GetDisplayNode().GetWindowLevelMax()) for n in images}
    assert len(windows) == 1
    for extra in ("enhancement", "data_consistency", "difference"):
        display = output.GetNodeReference(f"LIPCAR.{extra}").GetDisplayNode()
        lowest, highest = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        assert lowest == (0 if extra == "enhancement" else -highest) and highest > 0


def test_an_extra_without_its_source_is_refused_before_anything_changes(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    with pytest.raises(LIPCARError, match="enhancement cannot be made"):
        add_result(lowdose, {}, None, ("prior", "enhancement"))
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_the_metrics_are_a_table_of_means_and_slices(scene: Any) -> None:
    output = add_result(add_volume(scene, "low", picture(), GEOMETRIES["plain"]), {})
    scores = {"ssim": [0.5, 0.7], "psnr": [None, 30.0], "rmse": [0.1, 0.3]}
    table = add_metrics({"lowdose": scores, "lip-car": {**scores, "ssim": [None, None]}}, 4, output)
    assert output.GetNodeReference("LIPCAR.metrics") is table
    rows = [[table.GetCellText(row, column) for column in range(5)] for row in range(table.GetNumberOfRows())]
    assert [table.GetColumnName(column) for column in range(5)] == ["image", "slice", "SSIM", "PSNR (dB)", "RMSE"]
    assert [row[:2] for row in rows[:3]] == [["lowdose", "mean"], ["lip-car", "mean"], ["lowdose", "5"]]
    assert [float(value) for value in rows[0][2:]] == pytest.approx([0.6, 30.0, 0.2])
    assert np.isnan(float(rows[1][2]))
    assert len(rows) == 6
    assert add_metrics({"lowdose": scores}, 0, output) is table
    assert table.GetNumberOfRows() == 3


def test_the_convergence_is_a_plot(scene: Any) -> None:
    output = add_result(add_volume(scene, "low", picture(), GEOMETRIES["plain"]), {})
    chart = add_convergence([[9.0, 5.0, 4.0], [7.0, 6.0]], output)
    assert chart.GetNumberOfPlotSeriesNodes() == 3
    table = chart.GetNthPlotSeriesNode(0).GetTableNode()
    columns = {
        name: slicer.util.arrayFromTableColumn(table, name).tolist()
        for name in ("evaluations of the operator", "mean", "lowest slice", "highest slice")
    }
    assert columns["evaluations of the operator"] == [1, 2, 3]
    assert columns["mean"] == [8, 5.5, 5]
    assert columns["lowest slice"] == [7, 5, 4]
    assert columns["highest slice"] == [9, 6, 6]
    count = scene.GetNumberOfNodes()
    assert add_convergence([[2.0, 1.0]], output) is chart
    assert scene.GetNumberOfNodes() == count
    assert chart.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() == 2


# Grids


def test_a_resampled_volume_lies_on_the_reference_and_fits_then(scene: Any) -> None:
    lowdose, _, move = scene_of_two(scene)
    shift = affine(np.eye(3), (1, 1.25, 1), (2.5, 0, 0))
    predose = add_volume(scene, "pre", picture(1), move @ GEOMETRIES["oblique"] @ shift)
    lowdose.SetAndObserveTransformNodeID(add_linear(scene, move).GetID())
    assert grid_differences(predose, lowdose)
    new = resampled(predose, lowdose)
    assert grid_differences(new, lowdose) == []
    np.testing.assert_array_equal(matrix_of(new), matrix_of(lowdose))
    assert new.GetParentTransformNode() is lowdose.GetParentTransformNode()
    direct, after = examination_of(lowdose, predose), examination_of(lowdose, new)
    # The one was interpolated linearly, the other by splines.
    assert np.corrcoef(after.predose.ravel(), direct.predose.ravel())[0, 1] > 0.95
    assert not [notice for notice in after.notices if "resampled" in notice]


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


# Where it came from


def test_a_result_refers_to_what_it_was_made_from(scene: Any) -> None:
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    predose = add_volume(scene, "pre", 0.8 * picture(), GEOMETRIES["plain"])
    output = add_result(lowdose, {"alpha": 0.5}, predose=predose)
    assert related(output, "lowdose") is lowdose
    assert related(output, "predose") is predose
    assert related(output, "highdose") is None
    assert provenance_of(output).keys() == {"alpha", "notices"}
    add_result(lowdose, {}, output)
    assert related(output, "predose") is None


def test_patient_and_study_are_found_in_the_hierarchy(scene: Any) -> None:
    pytest.importorskip("pydicom")
    lowdose = add_volume(scene, "low", picture(), GEOMETRIES["plain"])
    from LIPCARLib.slicer.dicom import dicom_header

    assert dicom_header(lowdose) is None
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientName", "Doe^Jo")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "p7")
    hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "20260102")
    hierarchy.SetItemAttribute(study, "DICOM.NoSuchKeyword", "x")
    hierarchy.SetItemUID(study, "DICOM", "1.2.3")
    hierarchy.CreateItem(study, lowdose)
    header = dicom_header(lowdose)
    assert (header.PatientName, header.PatientID) == ("Doe^Jo", "p7")
    assert (header.StudyDate, header.StudyInstanceUID) == ("20260102", "1.2.3")
