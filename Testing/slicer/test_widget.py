"""The panel: what it says, what Apply, Cancel and the choices do, and what it survives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import headless
import pytest
from headless import add_volume, emit, fire, volumes

from LIPCARLib.errors import LIPCARError


def test_apply_with_adam_takes_the_number(panel: Any, dialogs: Any, lowdose: Any) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device = lowdose, "cpu"
    parameters.solver, parameters.iterations = "adam", 1
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    assert dialogs.shown == []
    assert parameters.outputVolume.GetAttribute("LIPCAR.alpha") == "0.006"


def test_the_apply_button_says_what_is_missing(panel: Any, lowdose: Any, predose: Any) -> None:
    button, parameters = panel.ui.applyButton, panel.logic.getParameterNode()
    assert not button.enabled and "low-dose" in button.toolTip
    parameters.lowdoseVolume = lowdose
    assert button.enabled and button.text == "Apply"
    parameters.predoseVolume = lowdose
    assert not button.enabled and "pre-dose" in button.toolTip
    parameters.predoseVolume = predose
    assert button.enabled


def test_without_models_there_is_no_apply(panel: Any, lowdose: Any, models: dict[str, Path]) -> None:
    models.clear()
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    assert not panel.ui.applyButton.enabled and "No model" in panel.ui.applyButton.toolTip


def test_apply_computes_and_chooses_the_output(
    slicer: Any, panel: Any, dialogs: Any, lowdose: Any, predose: Any
) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.predoseVolume, parameters.device = lowdose, predose, "cpu"
    panel.ui.applyButton.click()
    assert panel.ui.applyButton.text == "Cancel" and panel.ui.applyButton.enabled
    assert panel.ui.progressBar.visible and not panel.ui.parametersWidget.enabled
    fire()
    assert "slices" in panel.ui.progressBar.format and "CPU" in panel.ui.progressBar.format
    while fire():
        pass
    assert dialogs.shown == []
    assert parameters.outputVolume.GetName() == "low simulated high dose"
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled
    assert panel.ui.parametersWidget.enabled and not panel.ui.progressBar.visible


def test_apply_turns_into_cancel(slicer: Any, panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    panel.ui.applyButton.click()
    assert panel.ui.messageLabel.text.startswith("Canceled") and panel.ui.applyButton.text == "Apply"
    assert volumes() == ["low"]


def test_the_panel_shows_what_is_wrong_with_the_input(slicer: Any, panel: Any, dialogs: Any, lowdose: Any) -> None:
    slicer.util.arrayFromVolume(lowdose)[:] = 7
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.checkInputs()
    assert "('low') is 7 everywhere" in panel.ui.problemLabel.text and panel.ui.problemLabel.visible
    assert panel.ui.applyButton.text == "Apply" and not panel.ui.applyButton.enabled
    panel.ui.applyButton.click()  # by a script
    fire()
    assert len(dialogs.shown) == 1 and "('low') is 7 everywhere" in dialogs.shown[0]
    assert volumes() == ["low"]


def test_closing_the_scene_cancels_and_the_panel_starts_anew(slicer: Any, panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    slicer.mrmlScene.Clear()
    assert not panel.logic.isRunning()
    assert panel.ui.applyButton.text == "Apply"


def test_a_scene_that_asks_for_a_model_that_is_gone_opens(panel: Any) -> None:
    panel.exit()
    panel.logic.getParameterNode().model = "gone"
    panel.enter()
    assert panel.logic.getParameterNode().model == "automatic"
    assert "'gone'" in panel.ui.messageLabel.text


def test_a_model_is_chosen_by_name_or_added_from_a_folder(
    panel: Any, dialogs: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    parameters, chooser = panel.logic.getParameterNode(), panel.ui.modelComboBox
    shown = [chooser.itemData(index) for index in range(chooser.count)]
    assert shown == ["automatic", "anchored", "vnet-lowdose", "vnet-predose"]
    emit(chooser, "activated(int)", 2)
    assert parameters.model == "vnet-lowdose" and chooser.currentIndex == 2
    panel.addModel(str(tmp_path / "nowhere"))
    assert "nowhere" in dialogs.shown[0] and parameters.model == "vnet-lowdose"
    folder = shutil.copytree(models["vnet-lowdose"], tmp_path / "mine")
    panel.addModel(str(folder))
    assert parameters.model == str(folder)
    assert (chooser.itemText(chooser.currentIndex), chooser.itemData(chooser.currentIndex)) == ("mine", str(folder))
    assert panel.request().model == str(folder)


def test_the_alpha_slider_is_logarithmic(panel: Any) -> None:
    parameters, slider = panel.logic.getParameterNode(), panel.ui.alphaSlider
    found = []
    for position in (0, 100, 178, 200, 300):
        emit(slider, "valueChanged(int)", position)
        found.append(parameters.alpha)
        assert slider.value == position
    assert found == [1e-4, 1e-3, 6e-3, 1e-2, 1e-1]


def test_the_devices_have_names_once_torch_is_there(panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.checkInputs()
    chooser = panel.ui.deviceComboBox
    words = {chooser.itemData(index): chooser.itemText(index) for index in range(chooser.count)}
    assert next(iter(words)) == "auto" and "thread" in words["cpu"]
    emit(chooser, "activated(int)", chooser.count - 1)
    assert panel.logic.getParameterNode().device == list(words)[-1]


def test_volumes_that_say_what_they_are_are_proposed(slicer: Any, panel: Any) -> None:
    nodes = {name: add_volume(name, 1.1) for name in ("Rat pre-dose", "rat_LowDose", "other")}
    panel.enter()
    parameters = panel.logic.getParameterNode()
    assert parameters.predoseVolume is nodes["Rat pre-dose"]
    assert parameters.lowdoseVolume is nodes["rat_LowDose"]
    assert parameters.highdoseVolume is None


def test_leaving_the_panel_does_not_stop_the_computation(slicer: Any, panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    panel.exit()
    while fire():
        pass
    assert panel.logic.getParameterNode().outputVolume.GetName() == "low simulated high dose"


def test_the_result_is_shown(slicer: Any, panel: Any, views: Any, lowdose: Any) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device, parameters.prior = lowdose, "cpu", True
    parameters.highdoseVolume = add_volume("high", 2.0)
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    output = parameters.outputVolume
    assert views.shown == [(output, None)]
    assert "Done in" in panel.ui.messageLabel.text and "random-lowdose" in panel.ui.resultsList.item(0)
    views.shown.clear()
    panel.ui.compareButton.click()
    panel.ui.convergenceButton.click()
    panel.ui.metricsButton.click()
    sides, chart, table = views.shown
    assert sides == (["Low-dose", "Prior", "LIP-CAR (simulated)", "High-dose"], output, 2)
    assert chart is output.GetNodeReference("LIPCAR.convergence")
    assert table is output.GetNodeReference("LIPCAR.metrics")


def test_the_preview_is_of_the_slice_on_screen(panel: Any, views: Any, lowdose: Any) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device = lowdose, "cpu"
    panel.ui.previewButton.click()
    panel.logic.waitForCompletion()
    assert panel.ui.messageLabel.text.startswith("Preview of slice 2 in ")
    assert views.shown == [(lowdose, parameters.previewVolume)]
    assert parameters.outputVolume is None


def test_a_dicom_series_goes_where_the_user_says(panel: Any, dialogs: Any, lowdose: Any, tmp_path: Path) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device = lowdose, "cpu"
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    message = panel.ui.messageLabel.text
    panel.ui.dicomButton.click()  # and declines
    assert panel.ui.messageLabel.text == message
    dialogs.folder = str(tmp_path)
    panel.ui.dicomButton.click()
    assert dialogs.shown == [] and panel.ui.messageLabel.text == f"Wrote {tmp_path / 'low simulated high dose'}."


def test_a_missing_package_is_shown(panel: Any, packages: Any, dialogs: Any, lowdose: Any) -> None:
    packages.absent = ["torch"]
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    assert "PyTorch" in dialogs.shown[0] and "PyTorch" in panel.ui.messageLabel.text
    assert not panel.logic.isRunning()


def test_a_bug_is_shown_with_its_details(panel: Any, dialogs: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.onError(ZeroDivisionError("by nothing"))
    assert "failed in a way it should not: by nothing" in dialogs.shown[0]


def test_what_failed_for_want_of_memory_is_tried_again_at_the_next_click(
    panel: Any, dialogs: Any, lowdose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from LIPCARLib.imaging import Examination

    def lacking(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Examination, "from_images", lacking)
        panel.logic.getParameterNode().lowdoseVolume = lowdose
        panel.checkInputs()
        assert "There is not enough memory for this" in panel.ui.checkLabel.text and panel.ui.applyButton.enabled
        panel.ui.applyButton.click()
        panel.logic.waitForCompletion()
        assert "There is not enough memory for this" in dialogs.shown[0]
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    assert "low simulated high dose" in volumes()


def test_a_bug_in_the_check_of_the_inputs_ends_it(panel: Any, lowdose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from LIPCARLib.imaging import Examination

    monkeypatch.setattr(Examination, "from_images", lambda **_: 1 / 0)
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    with pytest.raises(ZeroDivisionError):
        panel.checkInputs()
    assert "failed in a way it should not: division by zero" in panel.ui.checkLabel.text


def test_an_engine_that_died_is_told_of_at_apply_and_not_before(services: Any, dialogs: Any, lowdose: Any) -> None:
    engine = services.engine("")

    def died() -> Any:
        yield None
        raise LIPCARError("The engine's process ended.")

    vars(engine)["devices"] = died
    panel = headless.open_panel(services)
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.checkInputs()
    assert dialogs.shown == [] and panel.ui.applyButton.enabled
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    assert dialogs.shown == ["The engine's process ended."] == [panel.ui.messageLabel.text]
    del vars(engine)["devices"]
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    assert "low simulated high dose" in volumes()
    panel.cleanup()
