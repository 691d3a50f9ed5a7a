"""Volume nodes in and out: examinations of them, and results beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import (
    GEOMETRIES,
    SHAPE,
    add_linear,
    add_result,
    add_volume,
    add_warp,
    affine,
    every_geometry,
    matrix_of,
    picture,
    result_of,
    rotation,
    scene_of_two,
    slicer,
)

from LIPCARLib.errors import LIPCARError
from LIPCARLib.slicer.geometry import grid_differences, on_one_grid
from LIPCARLib.slicer.mrml import EXTRAS, add_volumes, examination_of, provenance_of, related, resampled


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
    assert not on_one_grid(predose, lowdose)


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
