"""Regions: Slicer's segments on the grid of a result, and what is measured in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from headless import add_volume
from test_results import compute

from LIPCARLib.errors import LIPCARError


def draw(slicer: Any, regions: dict[str, Any], reference: Any, name: str = "drawn") -> Any:
    """A segmentation; each region is an index of the reference's (k, j, i), None for a segment without voxels."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
    for region, index in regions.items():
        identity = node.GetSegmentation().AddEmptySegment("", region)
        if index is not None:
            voxels = np.zeros_like(slicer.util.arrayFromVolume(reference), np.uint8)
            voxels[index] = 1
            slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, identity, reference)
    return node


def masks(volume: Any, segmentation: Any, axis: int = 2) -> tuple[dict[str, np.ndarray], list[str]]:
    from LIPCARLib.slicer.segments import regions_on

    volume.SetAttribute("LIPCAR.slice_axis", str(axis))
    notices: list[str] = []
    steps = regions_on(volume, segmentation, notices)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value, notices


SPOT = np.s_[1, 9:15, 6:11]


def test_segments_become_masks_on_the_grid_of_the_result(slicer: Any, lowdose: Any) -> None:
    found, notices = masks(lowdose, draw(slicer, {"spot": SPOT, "row": np.s_[:, 2, 3]}, lowdose), axis=0)
    expected = np.zeros((3, 24, 20), bool)
    expected[SPOT] = True
    assert np.array_equal(found["spot"], np.moveaxis(expected, 2, 0)) and found["row"].sum() == 3
    assert notices == []


def test_segments_of_another_geometry_are_brought_onto_it(slicer: Any, lowdose: Any) -> None:
    fine = add_volume("fine", 1.0)
    slicer.util.updateVolumeFromArray(fine, np.zeros((3, 48, 40), np.float32))
    fine.SetSpacing(0.25, 0.3, 3)
    fine.SetOrigin(-0.125, -0.15, 0)  # the same corner
    found, notices = masks(lowdose, draw(slicer, {"spot": np.s_[1, 18:30, 12:22]}, fine))
    expected = np.zeros((3, 24, 20), bool)
    expected[SPOT] = True
    assert np.array_equal(found["spot"], expected)
    assert len(notices) == 1 and "another grid" in notices[0] and "spot" in notices[0]


def test_what_is_odd_about_a_segment_is_told(slicer: Any, lowdose: Any) -> None:
    wide = add_volume("wide", 1.0)
    wide.SetOrigin(-5, 0, 0)  # ten columns before the low-dose volume
    segmentation = draw(slicer, {"half": np.s_[1, 5, 5:15], "far": np.s_[:, :, :3], "none": None}, wide)
    found, notices = masks(lowdose, segmentation)
    assert list(found) == ["half"] and found["half"].sum() == 5
    assert notices == [
        "50% of the segment 'half' lie outside the result; the rest was measured.",
        "The segment 'far' lies outside the result and was left out.",
        "The segment 'none' is empty and was left out.",
    ]
    with pytest.raises(LIPCARError, match="is empty.*nothing to measure"):
        masks(lowdose, draw(slicer, {"none": None}, lowdose))
    two = draw(slicer, {"a": np.s_[0, :4, :4], "b": np.s_[0, 2:6, :4]}, lowdose)
    assert masks(lowdose, two)[1] == ["The segments 'a' and 'b' overlap in 7.2 mm3; each was measured whole."]


def test_segments_follow_their_transforms(slicer: Any, lowdose: Any) -> None:
    segmentation = draw(slicer, {"spot": SPOT}, lowdose)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[0, 3] = 1.0  # two columns
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    segmentation.SetAndObserveTransformNodeID(transform.GetID())
    assert np.argwhere(masks(lowdose, segmentation)[0]["spot"]).min(axis=0).tolist() == [1, 9, 8]
    lowdose.SetAndObserveTransformNodeID(transform.GetID())
    assert np.argwhere(masks(lowdose, segmentation)[0]["spot"]).min(axis=0).tolist() == [1, 9, 6]


def measured(panel: Any, background: int = 0) -> tuple[Any, dict[tuple[str, str], dict[str, str]]]:
    panel.ui.backgroundComboBox.currentIndex = background
    panel.ui.measureButton.click()
    panel._regions.finish()
    output = panel.logic.getParameterNode().outputVolume
    table = output.GetNthNodeReference("LIPCAR.regions", 0)
    assert table is not None, panel.ui.regionLabel.text
    titles = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    rows = [[table.GetCellText(row, n) for n in range(len(titles))] for row in range(table.GetNumberOfRows())]
    return table, {(row[0], row[1]): dict(zip(titles, row, strict=True)) for row in rows}


def test_a_result_and_its_inputs_are_measured(slicer: Any, panel: Any, views: Any, lowdose: Any, predose: Any) -> None:
    assert "no result" in panel.ui.measureButton.toolTip and not panel.ui.measureButton.enabled
    output = compute(panel, lowdoseVolume=lowdose, predoseVolume=predose, firstSlice=2, lastSlice=3)
    assert "Segment Editor" in panel.ui.measureButton.toolTip
    segmentation = draw(slicer, {"spot": SPOT, "tissue": np.s_[1, 16:19, 6:14]}, lowdose)
    panel.ui.segmentationSelector.setCurrentNode(segmentation)
    assert panel.ui.measureButton.enabled
    table, rows = measured(panel, background=2)
    assert views.shown[-1] is table
    assert list(rows) == [(r, i) for r in ("spot", "tissue") for i in ("pre-dose", "low-dose", "simulated")]
    result = slicer.util.arrayFromVolume(output)[0]
    before, low = (slicer.util.arrayFromVolume(node)[1] for node in (predose, lowdose))
    spot, tissue = rows["spot", "simulated"], result[16:19, 6:14]
    assert int(spot["Voxels"]) == 30 and float(spot["Volume (mm3)"]) == pytest.approx(30 * 0.5 * 0.6 * 3)
    assert float(spot["Mean"]) == pytest.approx(result[SPOT[1:]].mean(), rel=1e-4)
    assert float(spot["Enhancement"]) == pytest.approx(result[SPOT[1:]].mean() - before[SPOT[1:]].mean(), rel=1e-3)
    contrast = (result[SPOT[1:]].mean() - tissue.mean()) / tissue.std(ddof=1)
    assert float(spot["Contrast-to-noise"]) == pytest.approx(contrast, rel=1e-3)
    assert float(rows["spot", "low-dose"]["Mean"]) == pytest.approx(low[SPOT[1:]].mean(), rel=1e-4)
    assert not table.GetHideFromEditors()
    again, rows = measured(panel)
    assert again is table  # of the same result and segmentation
    assert float(rows["spot", "simulated"]["Contrast-to-noise"]) * float(spot["Enhancement"]) > 0


def test_a_table_of_regions_goes_with_its_result_and_comes_back(slicer: Any, panel: Any, lowdose: Any) -> None:
    compute(panel, lowdoseVolume=lowdose)
    panel.ui.segmentationSelector.setCurrentNode(draw(slicer, {"spot": SPOT}, lowdose))
    measured(panel)
    assert "Measuring" not in panel.ui.regionLabel.text
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    panel.ui.removeButton.click()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == count - 1
    panel.ui.undoButton.click()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == count
