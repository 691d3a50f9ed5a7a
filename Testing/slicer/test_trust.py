"""Evidence and verdict of a result in the scene and in the panel."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from headless import emit, volumes
from test_results import compute

from LIPCARLib.doubt import STOP, Doubt
from LIPCARLib.errors import LIPCARError
from LIPCARLib.trust import Evidence, Finding

ROLES = ("consistency", "equation", "uncertainty", "findings", "finding_table")


def evidence(shape: tuple[int, ...], center: tuple[float, ...]) -> Evidence:
    maps = [np.full(shape, value, np.float32) for value in (-1.5, 2.5, 30.0)]
    labels = np.zeros(shape, np.uint8)
    labels[0, 2:5, 3:6] = 1
    return Evidence(*maps, labels, (Finding("unsupported", 9, 8.1, 0, center, 40.0),), ())


def with_evidence(panel: Any, output: Any, level: str = "look here", center: Any = (-1.0, -2.0, 3.0)) -> None:
    from LIPCARLib.slicer.mrml import examination_of
    from LIPCARLib.slicer.trust import add_evidence

    examination = examination_of(output.GetNodeReference("LIPCAR.lowdose"))
    first = int(output.GetAttribute("LIPCAR.slices").split("-")[0]) - 1
    examination = examination.part(first, len(examination.lowdose))
    verdict = SimpleNamespace(level=level, reasons=("2 places & more", "another"))
    add_evidence(examination, evidence(examination.lowdose.shape, center), verdict, output)
    panel.updateButtons()


def test_evidence_lies_on_the_result(slicer: Any, panel: Any, lowdose: Any) -> None:
    lowdose.SetOrigin(5, 6, 7)
    output = compute(panel, lowdoseVolume=lowdose, firstSlice=2)
    with_evidence(panel, output)
    shape = slicer.util.arrayFromVolume(output).shape
    for role, value in (("consistency", -1.5), ("equation", 2.5), ("uncertainty", 30.0)):
        node = output.GetNodeReference(f"LIPCAR.{role}")
        assert node.GetOrigin() == output.GetOrigin() and node.GetSpacing() == output.GetSpacing()
        assert (slicer.util.arrayFromVolume(node) == np.full(shape, value, np.float32)).all()
        low = node.GetDisplayNode().GetWindowLevelMin()
        assert (low == 0) == (role == "uncertainty")
    segments = output.GetNodeReference("LIPCAR.findings")
    content = segments.GetSegmentation()
    names = [content.GetNthSegment(n).GetName() for n in range(content.GetNumberOfSegments())]
    assert names == ["added in the result", "lost in the result"]
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segments, content.GetNthSegmentID(0), output)
    assert voxels.sum() == 9 and voxels[0, 2:5, 3:6].all()


def test_the_tab_shows_verdict_and_findings(slicer: Any, panel: Any, views: Any, lowdose: Any) -> None:
    output = compute(panel, lowdoseVolume=lowdose, firstSlice=2)
    assert not panel.ui.consistencyButton.enabled and "Nothing was found" not in panel.ui.verdictLabel.text
    with_evidence(panel, output)
    assert "2 places &amp; more" in panel.ui.verdictLabel.text and "Look before you rely" in panel.ui.verdictLabel.text
    assert panel.ui.findingsTable.rowCount == 1
    assert panel.ui.findingsTable._cells[0, 2] == "2"  # the first slice that was computed
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = np.eye(4)
    shift[0, 3] = 25.0
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    output.SetAndObserveTransformNodeID(transform.GetID())
    emit(panel.ui.findingsTable, "cellClicked(int,int)", 0, 1)
    assert views.shown[-1] == [26.0, 2.0, 3.0]  # RAS, in the world
    panel.ui.uncertaintyButton.click()
    assert views.shown[-1] == (output, output.GetNodeReference("LIPCAR.uncertainty"), 0.6)
    panel.ui.equationButton.click()
    assert panel.ui.equationButton.checked and not panel.ui.uncertaintyButton.checked
    panel.ui.equationButton.click()
    assert views.shown[-1] == (output, None) and not panel.ui.equationButton.checked


@pytest.mark.parametrize(
    ("level", "sign"), [("green", "\u2714"), ("look here", "\u26a0"), ("do not use", "\u2716"), ("odd", "\u26a0")]
)
def test_each_verdict_has_its_sign(panel: Any, lowdose: Any, level: str, sign: str) -> None:
    with_evidence(panel, compute(panel, lowdoseVolume=lowdose), level)
    assert sign in panel.ui.verdictLabel.text


def test_what_should_not_be_used_is_known_before_the_click(module: Any, lowdose: Any, predose: Any) -> None:
    from LIPCARLib.slicer.mrml import examination_of
    from LIPCARLib.slicer.request import Request, unsuitable_together

    notices = Doubt("Another patient.", severe=True), Doubt("It moved.")
    examination = replace(examination_of(lowdose, predose), notices=notices)
    (found,) = unsuitable_together(Request(lowdose, predose), examination)
    assert found.startswith("Do not use: Another patient. To make") and "force=True" in found
    assert unsuitable_together(Request(lowdose, predose, force=True), examination) == []


def test_a_result_that_should_not_be_used_is_forced(slicer: Any, panel: Any, lowdose: Any) -> None:
    """Only the result tells: noise of half the tissue's brightness."""
    voxels = slicer.util.arrayFromVolume(lowdose)
    voxels += np.abs(np.random.default_rng(0).normal(0, 60, voxels.shape))
    with pytest.raises(LIPCARError, match="Do not use.*noise.*force=True"):
        panel.logic.process(lowdose, device="cpu")
    assert volumes() == ["low"]
    output = compute(panel, lowdoseVolume=lowdose, force=True)
    assert output.GetAttribute("LIPCAR.verdict") == STOP
    assert "Do not use" in panel.ui.verdictLabel.text and "See the tab Trust" in panel.ui.messageLabel.text


def test_findings_are_shown_of_the_chosen_result_only(panel: Any, lowdose: Any) -> None:
    outputs = [compute(panel, lowdoseVolume=lowdose) for _ in range(2)]
    for output in outputs:
        with_evidence(panel, output)
    panel.ui.findingsButton.checked = True
    emit(panel.ui.findingsButton, "clicked()")
    displays = [output.GetNodeReference("LIPCAR.findings").GetDisplayNode() for output in outputs]
    assert [bool(display.GetVisibility()) for display in displays] == [False, True]
    emit(panel.ui.resultsList, "currentRowChanged(int)", 0)
    assert [bool(display.GetVisibility()) for display in displays] == [True, False]


def test_evidence_goes_with_its_result_and_comes_back(slicer: Any, panel: Any, lowdose: Any, predose: Any) -> None:
    output = compute(panel, lowdoseVolume=lowdose, predoseVolume=predose, evidence=True)
    assert all(output.GetNodeReference(f"LIPCAR.{role}") for role in ROLES)
    count = slicer.mrmlScene.GetNumberOfNodes()
    panel.ui.removeButton.click()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    panel.ui.undoButton.click()
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert all(output.GetNodeReference(f"LIPCAR.{role}") for role in ROLES)


def test_a_result_written_over_keeps_no_evidence(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    output = logic.process(lowdose, predose, device="cpu", evidence=True)
    assert all(output.GetNodeReference(f"LIPCAR.{role}") for role in ROLES)
    logic.process(lowdose, predose, output, device="cpu")
    assert not any(output.GetNodeReference(f"LIPCAR.{role}") for role in ROLES)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_without_a_predose_volume_the_tab_says_what_is_missing(panel: Any, lowdose: Any) -> None:
    output = compute(panel, lowdoseVolume=lowdose, evidence=True)
    assert output.GetNodeReference("LIPCAR.consistency") and not output.GetNodeReference("LIPCAR.findings")
    assert panel.ui.consistencyButton.enabled and not panel.ui.findingsButton.enabled
    assert replace(evidence((1, 8, 8), (0, 0, 0)), equation=None).maps().keys() == {"consistency", "uncertainty"}
