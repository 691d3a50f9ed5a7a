"""Results that cannot be mixed up: each belongs to its inputs, none is overwritten, the last step can be undone."""

from __future__ import annotations

from typing import Any

from headless import add_volume, emit, volumes


def rows(panel: Any) -> list[str]:
    box = panel.ui.resultsList
    return [box.item(index).split("\n")[0] for index in range(box.count)]


def compute(panel: Any, **told: Any) -> Any:
    parameters = panel.logic.getParameterNode()
    parameters.device = "cpu"
    for name, value in {"evidence": False, **told}.items():
        setattr(parameters, name, value)
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    return parameters.outputVolume


def test_every_apply_makes_a_result_of_its_own(panel: Any, lowdose: Any, predose: Any) -> None:
    first = compute(panel, lowdoseVolume=lowdose, predoseVolume=predose)
    second = compute(panel, doseFraction=0.1)
    assert first is not second
    assert rows(panel) == ["low simulated high dose", "low simulated high dose 2"]
    assert panel.ui.messageLabel.text
    emit(panel.ui.resultsList, "currentRowChanged(int)", 0)
    assert panel.logic.getParameterNode().outputVolume is first
    assert panel.ui.messageLabel.text == ""  # it spoke of the second


def test_the_results_of_another_patient_are_not_shown(panel: Any, lowdose: Any) -> None:
    first = compute(panel, lowdoseVolume=lowdose)
    assert panel.ui.messageLabel.text
    other = add_volume("other", 1.2)
    panel.logic.getParameterNode().lowdoseVolume = other
    assert rows(panel) == [] and panel.ui.messageLabel.text == ""
    assert panel.logic.getParameterNode().outputVolume is None and not panel.ui.compareButton.enabled
    second = compute(panel)
    assert second.GetName() == "other simulated high dose"
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    assert rows(panel) == [first.GetName()]


def test_a_computation_and_a_removal_can_be_undone(panel: Any, lowdose: Any, predose: Any) -> None:
    compute(panel, lowdoseVolume=lowdose, predoseVolume=predose, enhancement=True)
    before = volumes()
    assert len(before) == 4
    panel.ui.removeButton.click()
    assert volumes() == ["low", "pre"] and rows(panel) == []
    panel.ui.undoButton.click()
    assert volumes() == before and rows(panel) == ["low simulated high dose"]
    assert panel.logic.getParameterNode().outputVolume.GetNodeReference("LIPCAR.enhancement") is not None
    compute(panel)
    panel.ui.undoButton.click()
    assert volumes() == before


def test_windows_come_back_when_a_comparison_ends(panel: Any, views: Any, lowdose: Any) -> None:
    lowdose.CreateDefaultDisplayNodes()
    display = lowdose.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(3, 30)
    output = compute(panel, lowdoseVolume=lowdose)
    window = output.GetDisplayNode().GetWindowLevelMax()
    panel.ui.compareButton.click()
    assert panel.ui.compareButton.checked and display.GetWindowLevelMax() == window > 30
    views.ended()  # the user chose another layout
    assert not panel.ui.compareButton.checked
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (3, 30)


def test_a_window_that_is_changed_in_a_comparison_is_that_of_all_images(panel: Any, views: Any, lowdose: Any) -> None:
    output = compute(panel, lowdoseVolume=lowdose)
    lowdose.CreateDefaultDisplayNodes()
    displays = [volume.GetDisplayNode() for volume in (lowdose, output)]
    own = displays[0].GetWindowLevelMin(), displays[0].GetWindowLevelMax()
    panel.ui.compareButton.click()
    displays[0].SetWindowLevelMinMax(20, 55)
    assert (displays[1].GetWindowLevelMin(), displays[1].GetWindowLevelMax()) == (20, 55)
    emit(panel.ui.fadeSlider, "valueChanged(int)", 40)  # still looked at together
    displays[1].SetWindowLevelMinMax(10, 45)
    assert (displays[0].GetWindowLevelMin(), displays[0].GetWindowLevelMax()) == (10, 45)
    emit(panel.ui.resultsList, "itemClicked(QListWidgetItem*)", None)
    assert (displays[0].GetWindowLevelMin(), displays[0].GetWindowLevelMax()) == own
    assert displays[1].GetWindowLevelMax() == 45  # the result keeps what was found
    displays[1].SetWindowLevelMinMax(0, 1)
    assert displays[0].GetWindowLevelMax() == own[1]


def test_low_dose_and_result_are_faded_into_each_other(panel: Any, views: Any, lowdose: Any) -> None:
    output = compute(panel, lowdoseVolume=lowdose)
    emit(panel.ui.fadeSlider, "valueChanged(int)", 40)
    assert views.shown[-1] == (lowdose, output, 0.4)


def test_the_enhancement_map_is_projected(panel: Any, views: Any, lowdose: Any, predose: Any) -> None:
    compute(panel, lowdoseVolume=lowdose, predoseVolume=predose)
    assert not panel.ui.mipButton.enabled
    output = compute(panel, enhancement=True)
    panel.ui.mipButton.click()
    assert views.shown[-1] is output.GetNodeReference("LIPCAR.enhancement")


def test_preview_tables_and_charts_do_not_litter(slicer: Any, panel: Any, lowdose: Any) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device, parameters.highdoseVolume = lowdose, "cpu", add_volume("high", 2.0)
    panel.ui.previewButton.click()
    panel.logic.waitForCompletion()
    assert parameters.previewVolume.GetHideFromEditors() and not parameters.previewVolume.GetSaveWithScene()
    output = compute(panel)
    assert parameters.previewVolume is None and volumes() == ["high", "low", "low simulated high dose"]
    assert output.GetNodeReference("LIPCAR.metrics").GetHideFromEditors()
