"""The panel: its parameters, the check of its inputs, Apply and what follows.

Slicer imports this file at its start. What needs SimpleITK is imported where the panel opens; torch is not needed
before Apply is clicked.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ..errors import LIPCARError, advice
from .acquisition import AcquisitionBox
from .choices import AlphaChoice, DeviceChoice, ModelChoice
from .inputs import proposed_inputs
from .logic import LIPCARLogic
from .parameters import ALPHA_AUTO, AS_READ, AUTOMATIC, SEQUENCES, SOLVERS, LIPCARParameterNode
from .preflight import Preflight, apart
from .regions import RegionBox
from .request import Request
from .results import ResultBox
from .services import Services
from .wording import about_text, done_text, preview_text, progress_text

if TYPE_CHECKING:
    from ..inverse import Progress


class LIPCARWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel of the module. `services` are what it asks of the application; None for Slicer's."""

    def __init__(self, parent: Any = None, services: Services | None = None) -> None:
        from .application import slicer_services

        VTKObservationMixin.__init__(self)
        self._services = services or slicer_services()
        self._parameterNode: LIPCARParameterNode | None = None
        self._parameterNodeGuiTag: int | None = None
        self._inputs: list[Any] = []
        ScriptedLoadableModuleWidget.__init__(self, parent)  # last: without a parent it calls setup()

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LIPCAR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LIPCARLogic(self._services)
        self._models = ModelChoice(self.ui, self._services.shipped_models)
        self._devices = DeviceChoice(self.ui, lambda: self.logic.devices)
        self._alpha = AlphaChoice(self.ui)
        self._acquisition = AcquisitionBox(self.ui, self.logic)
        self._results = ResultBox(self.ui, self._services)
        self._regions = RegionBox(self.ui, self._services, self.logic)
        self._preflight = Preflight(self.ui, self.logic, self._services, self.onChecked)
        self.ui.aboutLabel.text = about_text(self._services.shipped_models())
        self._observeScene()
        self._connections = [
            *self._preflight.connections,
            *self._results.connections,
            *self._regions.connections,
            *self._acquisition.connections,
            (self.ui.applyButton, "clicked()", self.onApplyButton),
            (self.ui.previewButton, "clicked()", self.onPreviewButton),
            (self.ui.resampleButton, "clicked()", self.onResampleButton),
            (self.ui.addModelButton, "clicked()", self.onAddModelButton),
            (self.ui.dicomButton, "clicked()", self.onDicomButton),
            (self.ui.modelComboBox, "activated(int)", self._models.choose),
            (self.ui.deviceComboBox, "activated(int)", self._devices.choose),
            (self.ui.alphaSlider, "valueChanged(int)", self._alpha.slide),
        ]
        for sender, signal, slot in self._connections:
            sender.connect(signal, slot)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        self._preflight.stop()
        self._regions.stop()
        self._results.stop()
        self.logic.cleanup()
        self.setParameterNode(None)
        self.removeObservers()
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)

    def enter(self) -> None:
        self.initializeParameterNode()

    def exit(self) -> None:
        self._results.stop()
        self._regions.stop()
        self.setParameterNode(None)
        self.logic.forgetInputs()

    def onReload(self) -> None:
        """Slicer's Reload, for developers: it reads LIPCAR.py anew, and so that reads all of LIPCARLib anew."""
        for name in [name for name in sys.modules if name.split(".")[0] == "LIPCARLib"]:
            del sys.modules[name]
        super().onReload()

    # The scene

    def _observeScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)

    def onSceneStart(self, caller: object, event: str) -> None:
        self._results.stop()
        self._results.forget()
        self._regions.stop()
        self.setParameterNode(None)

    def onSceneEnd(self, caller: object, event: str) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller: object, event: str, node: object) -> None:
        """A selector whose volume goes takes another one, whichever it is; here it shall take none."""
        self._regions.stop(node)
        for name in (
            "lowdoseVolume",
            "predoseVolume",
            "highdoseVolume",
            "t1Map",
            "outputVolume",
            "previewVolume",
            "segmentation",
        ):
            if self._parameterNode and getattr(self._parameterNode, name) is node:
                setattr(self._parameterNode, name, None)

    # Parameters

    def initializeParameterNode(self) -> None:
        node = self.logic.getParameterNode()
        if not any((node.lowdoseVolume, node.predoseVolume, node.highdoseVolume)):
            for role, volume in proposed_inputs(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")).items():
                setattr(node, f"{role}Volume", volume)
        self.setParameterNode(node)  # once all is chosen: each change of what is shown is looked at

    def setParameterNode(self, parameterNode: LIPCARParameterNode | None) -> None:
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        for part in (self._models, self._devices, self._alpha, self._acquisition, self._results, self._regions):
            part.node = parameterNode
        if parameterNode:
            if parameterNode.solver not in SOLVERS:  # a scene of another version must open all the same
                parameterNode.solver = SOLVERS[0]
            if parameterNode.sequence not in SEQUENCES:
                parameterNode.sequence = AS_READ
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.onParametersModified()

    def onParametersModified(self, caller: object = None, event: str | None = None) -> None:
        """The wrapper's own observer is older: it has written the node's values into the bound widgets by now."""
        node = self._parameterNode
        for choice in (self._alpha, self._models, self._devices):
            choice.update()
        inputs = [node.lowdoseVolume, node.predoseVolume, node.highdoseVolume, node.matchPredose] if node else []
        if inputs != self._inputs:
            self._observeInputs(inputs)
            self.onInputModified()
        self._acquisition.update()
        self.updateButtons()

    def _observeInputs(self, inputs: list[Any]) -> None:
        kind = slicer.vtkMRMLScalarVolumeNode
        events = kind.ImageDataModifiedEvent, kind.TransformModifiedEvent
        for volume, event in ((v, e) for v in set(self._inputs[:3]) if v for e in events):
            self.removeObserver(volume, event, self.onInputModified)
        self._inputs = inputs
        for volume, event in ((v, e) for v in set(inputs[:3]) if v for e in events):
            self.addObserver(volume, event, self.onInputModified)

    def request(self) -> Request:
        """What the panel asks for."""
        node = self._shown()
        chosen = {
            "prior": node.prior,
            "difference": node.difference,
            "enhancement": node.enhancement,
            "data_consistency": node.dataConsistency,
        }
        return Request(
            node.lowdoseVolume,
            node.predoseVolume,
            node.highdoseVolume,
            node.t1Map,
            alpha=ALPHA_AUTO if self._alpha.is_auto() else node.alpha,
            model=None if node.model == AUTOMATIC else node.model,
            device=node.device,
            engine=node.engine.strip(),
            solver=node.solver,
            iterations=node.iterations or None,
            match_predose=node.matchPredose,
            dose_fraction=node.doseFraction or None,
            acquisition=self._acquisition.told(),
            slices=(max(node.firstSlice, 1) - 1, node.lastSlice or None),
            extras=[extra for extra, wanted in chosen.items() if wanted],
            evidence=node.evidence,
            force=node.force,
        )

    def onAddModelButton(self) -> None:
        folder = self._services.dialogs.choose_folder(_("Folder of a model"))
        if folder:
            self.addModel(folder)

    def addModel(self, folder: str) -> None:
        try:
            self._models.add(folder)
        except LIPCARError as error:
            self._services.dialogs.show_error(str(error))

    # The check of the inputs

    def onInputModified(self, caller: object = None, event: str | None = None) -> None:
        """What was said of other inputs does not hold any more."""
        request = self.request() if self._parameterNode and self._parameterNode.lowdoseVolume else None
        self.ui.messageLabel.text = ""
        self._results.stop()
        self._forgetPreview()
        self._acquisition.read(request)
        self._preflight.restart(request, request is None or not self.logic.unsuitable(request.images))
        self.updateButtons()

    def checkInputs(self) -> None:
        """Finish the check that is under way."""
        self._preflight.finish()

    def onChecked(self) -> None:
        if self._preflight.examination is not None:
            for spinBox in (self.ui.firstSliceSpinBox, self.ui.lastSliceSpinBox):
                spinBox.maximum = len(self._preflight.examination.lowdose)
        self._devices.update()
        self.updateButtons()

    def onResampleButton(self) -> None:
        from .mrml import resampled

        node = self._shown()
        try:
            with self._services.dialogs.busy():
                for role in apart(self.request()):
                    volume = getattr(node, f"{role}Volume")
                    setattr(node, f"{role}Volume", resampled(volume, node.lowdoseVolume))
        except Exception as error:
            self.onError(error)

    # Computing

    def updateButtons(self) -> None:
        running = self.logic.isRunning()
        problems = [] if running else self._problems()
        self.ui.parametersWidget.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.applyButton.text = _("Cancel") if running else _("Apply")
        self.ui.applyButton.enabled = not problems
        ready = _("Stop the computation; no volume is changed.") if running else _("Simulate the high-dose volume.")
        self.ui.applyButton.toolTip = "\n".join(problems) or ready
        self.ui.previewButton.enabled = not problems and not running
        ready = _("Compute the slice on screen alone, and estimate the time for the volume.")
        self.ui.previewButton.toolTip = "\n".join(problems) or ready
        self.ui.problemLabel.visible = bool(problems)
        self.ui.problemLabel.text = "\n".join(problems)
        self._results.update()
        self._regions.update()

    def _problems(self) -> list[str]:
        """What keeps Apply from running, as sentences."""
        if self._parameterNode is None:
            return [_("Choose the low-dose volume.")]
        request = self.request()
        return self.logic.unsuitable(request) or self._preflight.unsuitable(request)

    def onApplyButton(self) -> None:
        if self.logic.isRunning():
            self.logic.cancel()
            return
        self.compute(self.request(), self.onDone)

    def onPreviewButton(self) -> None:
        output = self._shown().previewVolume
        request = replace(self.request(), output=output, slices=(0, None), extras=(), evidence=False, is_preview=True)
        self.compute(request, self.onPreviewDone)

    def compute(self, request: Request, doneCallback: Callable[[Any], None]) -> None:
        self.ui.messageLabel.text = ""
        self.ui.progressBar.reset()
        self.ui.progressBar.format = _("Preparing...")
        try:
            if not request.engine:
                self.logic.installDependencies()
            self._results.stop()
            self.logic.run(request, self.onProgress, doneCallback, self.onError)
        except Exception as error:
            self.onError(error)
            return
        self.updateButtons()

    def _forgetPreview(self) -> None:
        if self._parameterNode and self._parameterNode.previewVolume:
            slicer.mrmlScene.RemoveNode(self._parameterNode.previewVolume)

    def onProgress(self, progress: Progress) -> None:
        self.ui.progressBar.value = round(1000 * progress.fraction)
        self.ui.progressBar.format = progress_text(progress)

    def onDone(self, outputVolume: Any) -> None:
        result = self.logic.lastResult
        if outputVolume is None or result is None:
            self.ui.messageLabel.text = _("Canceled; no volume was changed.")
        else:
            self.logic.getParameterNode().outputVolume = outputVolume  # the panel may have been left meanwhile
            self.ui.messageLabel.text = done_text(result, outputVolume.GetAttribute("LIPCAR.verdict"))
            self._forgetPreview()
            self._results.made(outputVolume)
        self.updateButtons()

    def onPreviewDone(self, previewVolume: Any) -> None:
        result = self.logic.lastResult
        if previewVolume is None or result is None:
            self.ui.messageLabel.text = _("Canceled; no volume was changed.")
        else:
            parameters = self.logic.getParameterNode()
            parameters.previewVolume = previewVolume
            self.ui.messageLabel.text = preview_text(result)
            self._services.views.show(parameters.lowdoseVolume, previewVolume)
        self.updateButtons()

    def onDicomButton(self) -> None:
        parent = self._services.dialogs.choose_folder(_("Folder in which to make the DICOM series"))
        if not parent:
            return
        notices: list[str] = []
        try:
            folder = self.logic.exportDicom(self._shown().outputVolume, parent, notices)
        except Exception as error:
            self.onError(error)
            return
        self.ui.messageLabel.text = " ".join((_("Wrote {folder}.").format(folder=folder), *notices))

    def onError(self, error: Exception) -> None:
        self.updateButtons()
        if told := advice(error):
            self.ui.messageLabel.text = told
            self._services.dialogs.show_error(told)
            return
        details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        logging.error(details)
        text = _("LIPCAR failed in a way it should not: {error}").format(error=error)
        self.ui.messageLabel.text = text
        self._services.dialogs.show_error(text, details)

    def _shown(self) -> LIPCARParameterNode:
        """The parameters; the buttons work only while the panel shows some."""
        if self._parameterNode is None:
            raise LIPCARError(_("The panel is closed. Open it and click again."))
        return self._parameterNode
