"""The panel: its parameters, the check of its inputs, Apply and what follows.

Slicer imports this file at its start. What needs SimpleITK is imported where the panel opens; torch is not needed
before Apply is clicked.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from ..errors import LIPCARError
from .choices import AlphaChoice, DeviceChoice, ModelChoice
from .inputs import missing_for_apply, proposed_inputs
from .logic import LIPCARLogic
from .parameters import ALPHA_AUTO, AUTOMATIC, SOLVERS, LIPCARParameterNode
from .results import ResultBox
from .services import Services
from .wording import done_text, preview_text, progress_text, summary_of

if TYPE_CHECKING:
    from ..imaging import Examination
    from ..inverse import Progress

CHECK_DELAY = 200
"""Milliseconds between the last change of an input and the check of the inputs."""


class LIPCARWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel of the module. `services` are what it asks of the application; None for Slicer's."""

    def __init__(self, parent: Any = None, services: Services | None = None) -> None:
        from .application import slicer_services

        VTKObservationMixin.__init__(self)
        self._services = services or slicer_services()
        self._parameterNode: LIPCARParameterNode | None = None
        self._parameterNodeGuiTag: int | None = None
        self._inputs: list[Any] = []
        self._matchPredose = True
        self._problem = ""
        ScriptedLoadableModuleWidget.__init__(self, parent)  # last: without a parent it calls setup()

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LIPCAR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LIPCARLogic(self._services)
        self._models = ModelChoice(self.ui, self._services.shipped_models)
        self._devices = DeviceChoice(self.ui)
        self._alpha = AlphaChoice(self.ui)
        self._results = ResultBox(self.ui, self._services.views)
        self._checkTimer = self._services.timer()
        self._checkTimer.setSingleShot(True)
        self._checkTimer.setInterval(CHECK_DELAY)
        self._observeScene()
        self._connections = [
            (self._checkTimer, "timeout()", self.checkInputs),
            (self.ui.applyButton, "clicked()", self.onApplyButton),
            (self.ui.previewButton, "clicked()", self.onPreviewButton),
            (self.ui.resampleButton, "clicked()", self.onResampleButton),
            (self.ui.addModelButton, "clicked()", self.onAddModelButton),
            (self.ui.compareButton, "clicked()", self._results.compare),
            (self.ui.convergenceButton, "clicked()", self._results.show_convergence),
            (self.ui.metricsButton, "clicked()", self._results.show_metrics),
            (self.ui.dicomButton, "clicked()", self.onDicomButton),
            (self.ui.modelComboBox, "activated(int)", self._models.choose),
            (self.ui.deviceComboBox, "activated(int)", self._devices.choose),
            (self.ui.alphaSlider, "valueChanged(int)", self._alpha.slide),
        ]
        for sender, signal, slot in self._connections:
            sender.connect(signal, slot)
        self.initializeParameterNode()

    def cleanup(self) -> None:
        self.logic.cleanup()
        self.setParameterNode(None)
        self.removeObservers()
        self._checkTimer.stop()
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)

    def enter(self) -> None:
        self.initializeParameterNode()

    def exit(self) -> None:
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
        self.setParameterNode(None)

    def onSceneEnd(self, caller: object, event: str) -> None:
        if self.parent.isEntered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller: object, event: str, node: object) -> None:
        """A selector whose volume goes takes another one, whichever it is; here it shall take none."""
        for role in ("lowdose", "predose", "highdose", "output"):
            if self._parameterNode and getattr(self._parameterNode, f"{role}Volume") is node:
                setattr(self._parameterNode, f"{role}Volume", None)

    # Parameters

    def initializeParameterNode(self) -> None:
        node = self.logic.getParameterNode()
        self.setParameterNode(node)
        if not any((node.lowdoseVolume, node.predoseVolume, node.highdoseVolume)):
            for role, volume in proposed_inputs(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")).items():
                setattr(node, f"{role}Volume", volume)

    def setParameterNode(self, parameterNode: LIPCARParameterNode | None) -> None:
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        for part in (self._models, self._devices, self._alpha, self._results):
            part.node = parameterNode
        if parameterNode:
            if parameterNode.solver not in SOLVERS:  # a scene of another version must open all the same
                parameterNode.solver = SOLVERS[0]
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.onParametersModified()

    def onParametersModified(self, caller: object = None, event: str | None = None) -> None:
        """The wrapper's own observer is older: it has written the node's values into the bound widgets by now."""
        node = self._parameterNode
        for choice in (self._alpha, self._models, self._devices):
            choice.update()
        if node and node.matchPredose != self._matchPredose:
            self._matchPredose = node.matchPredose
            self.onInputModified()
        inputs = [node.lowdoseVolume, node.predoseVolume, node.highdoseVolume] if node else []
        if inputs != self._inputs:
            self._observeInputs(inputs)
            self.onInputModified()
        self.updateButtons()

    def _observeInputs(self, inputs: list[Any]) -> None:
        kind = slicer.vtkMRMLScalarVolumeNode
        events = kind.ImageDataModifiedEvent, kind.TransformModifiedEvent
        for volume, event in ((v, e) for v in set(self._inputs) if v for e in events):
            self.removeObserver(volume, event, self.onInputModified)
        self._inputs = inputs
        for volume, event in ((v, e) for v in set(inputs) if v for e in events):
            self.addObserver(volume, event, self.onInputModified)

    def options(self) -> dict[str, Any]:
        """What the panel says, as `LIPCARLogic.start` takes it, but for the slices and the volumes to compute."""
        node = self._shown()
        chosen = ("prior", node.prior), ("enhancement", node.enhancement), ("data_consistency", node.dataConsistency)
        return {
            "alpha": ALPHA_AUTO if self._alpha.is_auto() else node.alpha,
            "model": None if node.model == AUTOMATIC else node.model,
            "device": node.device,
            "highdoseVolume": node.highdoseVolume,
            "solver": node.solver,
            "iterations": node.iterations or None,
            "matchPredose": node.matchPredose,
            "doseFraction": node.doseFraction or None,
            "extras": [extra for extra, wanted in chosen if wanted],
        }

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
        self._problem = ""
        self.ui.checkLabel.text = ""
        self.ui.resampleButton.visible = False
        self._checkTimer.start()

    def checkInputs(self) -> None:
        """Say in words whether the inputs fit, before anybody clicks Apply."""
        node = self._parameterNode
        if node is None or node.lowdoseVolume is None or self.missingForApply():
            return
        if self.logic.isRunning():
            self._checkTimer.start()  # later
            return
        from .geometry import grid_differences

        try:
            examination = self.examination()
        except LIPCARError as error:
            self._problem = str(error)
            self.ui.checkLabel.text = self._problem
        else:
            others = [volume for volume in (node.predoseVolume, node.highdoseVolume) if volume]
            apart = [volume for volume in others if grid_differences(volume, node.lowdoseVolume)]
            self.ui.resampleButton.visible = bool(apart)
            self.ui.checkLabel.text = summary_of(examination, fits=bool(others))
            for spinBox in (self.ui.firstSliceSpinBox, self.ui.lastSliceSpinBox):
                spinBox.maximum = len(examination.lowdose)
        self.updateButtons()

    def examination(self) -> Examination:
        node = self._shown()
        volumes = node.lowdoseVolume, node.predoseVolume, node.highdoseVolume
        return self.logic.examinationOf(*volumes, node.matchPredose)

    def missingForApply(self) -> list[str]:
        """What keeps Apply from running, as sentences."""
        return missing_for_apply(self._parameterNode, bool(self._services.shipped_models()))

    def onResampleButton(self) -> None:
        from .geometry import grid_differences
        from .mrml import resampled

        node = self._shown()
        try:
            with self._services.dialogs.busy():
                for role in ("predoseVolume", "highdoseVolume"):
                    volume = getattr(node, role)
                    if volume and grid_differences(volume, node.lowdoseVolume):
                        setattr(node, role, resampled(volume, node.lowdoseVolume))
        except LIPCARError as error:
            self.onError(error)

    # Computing

    def updateButtons(self) -> None:
        running = self.logic.isRunning()
        missing = [] if running else self.missingForApply()
        if self._problem and not missing and not running:
            missing = [self._problem]
        self.ui.parametersWidget.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.applyButton.text = _("Cancel") if running else _("Apply")
        self.ui.applyButton.enabled = not missing
        ready = _("Stop the computation; no volume is changed.") if running else _("Simulate the high-dose volume.")
        self.ui.applyButton.toolTip = "\n".join(missing) or ready
        self.ui.previewButton.enabled = not missing and not running
        ready = _("Compute the slice on screen alone, and estimate the time for the volume.")
        self.ui.previewButton.toolTip = "\n".join(missing) or ready
        if not running and any(self._inputs) and not self.ui.checkLabel.text:
            self._checkTimer.start()
        self._results.update()

    def onApplyButton(self) -> None:
        if self.logic.isRunning():
            self.logic.cancel()
            return
        node = self._shown()
        options = {**self.options(), "slices": (max(node.firstSlice, 1) - 1, node.lastSlice or None)}
        self.compute(node.outputVolume, options, self.onDone)

    def onPreviewButton(self) -> None:
        node = self._shown()
        try:
            examination = self.examination()
        except LIPCARError as error:
            self.onError(error)
            return
        shown = self._services.views.slice_on_screen(node.lowdoseVolume, examination.slice_axis)
        options = {**self.options(), "slices": (shown, shown + 1), "extras": [], "isPreview": True}
        self.compute(node.previewVolume, options, self.onPreviewDone)

    def compute(self, outputVolume: Any, options: dict[str, Any], doneCallback: Callable[[Any], None]) -> None:
        node = self._shown()
        self.ui.messageLabel.text = ""
        self.ui.progressBar.reset()
        callbacks: dict[str, Any] = {"progressCallback": self.onProgress, "doneCallback": doneCallback}
        callbacks["errorCallback"] = self.onError
        try:
            self.logic.installDependencies()
            with self._services.dialogs.busy():
                self.logic.start(node.lowdoseVolume, node.predoseVolume, outputVolume, **options, **callbacks)
        except Exception as error:
            self.onError(error)
            return
        self._devices.update()
        self.updateButtons()

    def onProgress(self, progress: Progress) -> None:
        self.ui.progressBar.value = round(1000 * progress.fraction)
        self.ui.progressBar.format = progress_text(progress)

    def onDone(self, outputVolume: Any) -> None:
        result = self.logic.lastResult
        if outputVolume is None or result is None:
            self.ui.messageLabel.text = _("Canceled; no volume was changed.")
        else:
            self.logic.getParameterNode().outputVolume = outputVolume  # the panel may have been left meanwhile
            self.ui.messageLabel.text = done_text(result)
            self._services.views.show(outputVolume)
        self.updateButtons()

    def onPreviewDone(self, previewVolume: Any) -> None:
        result = self.logic.lastResult
        if previewVolume is None or result is None:
            self.ui.messageLabel.text = _("Canceled; no volume was changed.")
        else:
            parameters = self.logic.getParameterNode()
            parameters.previewVolume = previewVolume
            self.ui.messageLabel.text = preview_text(result)
            self._services.views.show(parameters.lowdoseVolume, foreground=previewVolume)
        self.updateButtons()

    def onDicomButton(self) -> None:
        parent = self._services.dialogs.choose_folder(_("Folder in which to make the DICOM series"))
        if not parent:
            return
        try:
            folder = self.logic.exportDicom(self._shown().outputVolume, parent)
        except LIPCARError as error:
            self.onError(error)
            return
        self.ui.messageLabel.text = _("Wrote {folder}.").format(folder=folder)

    def onError(self, error: Exception) -> None:
        self.updateButtons()
        if isinstance(error, LIPCARError):
            self.ui.messageLabel.text = str(error)
            self._services.dialogs.show_error(str(error))
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
