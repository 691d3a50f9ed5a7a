"""The Slicer module LIPCAR: the panel, the logic that runs the engine a step at a time, the self-test.

No algorithm lives here, and torch is not needed before Apply is clicked: the engine's modules that want it are
imported in `LIPCARLogic.start`.
"""

import hashlib
import importlib
import importlib.util
import logging
import math
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated
from unittest.mock import patch

import numpy as np
import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_FOLDER = Path(__file__).resolve().parent
if (_FOLDER.parent / "LIPCARLib").is_dir() and str(_FOLDER.parent) not in sys.path:
    sys.path.insert(0, str(_FOLDER.parent))  # a checkout: Slicer knows only the module's own folder

from LIPCARLib.errors import LIPCARError  # noqa: E402
from LIPCARLib.resources import RESOURCES  # noqa: E402

AUTOMATIC = "automatic"
ALPHA_AUTO = "auto"
"""LIPCARLib.inverse.alpha.AUTO, written out: that module imports torch, without which the panel must open."""
ALPHA_RANGE = (1e-4, 1e-1)
SLIDER_STEPS = 100
"""Positions of the alpha slider for a factor of ten."""
SOLVERS = ["proximal", "adam"]
TORCH_VERSIONS = ">=2.5,<3"
HOW_TO_GET = {
    "torch": _(
        "LIPCAR needs PyTorch, which is not installed. Install the PyTorch extension in the Extensions Manager, "
        "restart Slicer and click Apply again: it will offer to install PyTorch. Without a network, install it from "
        "local files: see Offline installation in LIPCAR's README."
    ),
    "safetensors": _(
        "LIPCAR needs the Python package safetensors, which is not installed. Click Apply again and accept, or type "
        "slicer.util.pip_install('safetensors') in the Python console. Without a network, install it from local files: "
        "see Offline installation in LIPCAR's README."
    ),
}
CONTRADICTION = _(
    "The measured image contradicts the network's guess; the result follows the data. Look at F(x) - x_L."
)
SLOT_SECONDS = 0.03
"""How long the timer computes before the event loop gets its turn; a single step may take longer."""
CHECK_DELAY = 200
"""Milliseconds between the last change of an input and the check of the inputs."""


class LIPCAR(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("LIPCAR")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = []
        parent.contributors = [_("LIPCAR authors")]
        parent.helpText = _(
            "Simulates the high-dose contrast-enhanced MR image of an examination from its low-dose and, if there is "
            "one, its pre-dose image, by the learned inverse problem LIP-CAR. For research only: the images are "
            "simulated and not for diagnosis."
        )
        parent.acknowledgementText = _(
            "Method: D. Evangelista, E. Morotti, S. Colombo Serra, P. Luo, G. Valbusa, D. Bianchi. LIP-CAR: a learned "
            "inverse problem approach for medical imaging with contrast agent reduction. MICCAI 2025. Please cite it."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the embedded examination in the module Sample Data; its files are local, nothing is downloaded."""
    import SampleData

    folder = RESOURCES / "SampleData"
    files = [folder / f"rat-{role}.nrrd" for role in ("predose", "lowdose", "highdose")]
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="LIPCAR",
        sampleName="LIPCARRatHead",
        uris=[file.as_uri() for file in files],
        fileNames=[f"LIPCAR-{file.name}" for file in files],
        nodeNames=["LIPCARRatPredose", "LIPCARRatLowdose", "LIPCARRatHighdose"],
        checksums=[f"SHA256:{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files],
        thumbnailFileName=str(folder / "LIPCARRatHead.png"),
    )


@parameterNodeWrapper
class LIPCARParameterNode:
    """What the panel shows; widgets find their parameter through SlicerParameterName in LIPCAR.ui.

    Three are not bound there, because what they may be is known at run time only: `model` (a name or a folder),
    `device`, and `previewVolume`, which is never chosen.
    """

    lowdoseVolume: vtkMRMLScalarVolumeNode
    predoseVolume: vtkMRMLScalarVolumeNode
    highdoseVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    previewVolume: vtkMRMLScalarVolumeNode
    model: Annotated[str, Default(AUTOMATIC)]
    alphaAuto: Annotated[bool, Default(True)]
    alpha: Annotated[float, WithinRange(*ALPHA_RANGE), Default(6e-3)]
    prior: bool
    enhancement: bool
    dataConsistency: bool
    solver: Annotated[str, Choice(SOLVERS), Default("proximal")]
    iterations: Annotated[int, WithinRange(0, 1000), Default(0)]
    device: Annotated[str, Default("auto")]
    matchPredose: Annotated[bool, Default(True)]
    doseFraction: Annotated[float, WithinRange(0, 1), Default(0)]
    firstSlice: Annotated[int, WithinRange(0, 9999), Default(0)]
    lastSlice: Annotated[int, WithinRange(0, 9999), Default(0)]


class LIPCARWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._inputs = []
        self._matchPredose = True
        self._problem = ""
        self._devices = []
        ScriptedLoadableModuleWidget.__init__(self, parent)  # last: without a parent it calls setup()

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LIPCAR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LIPCARLogic()
        self._checkTimer = qt.QTimer()
        self._checkTimer.setSingleShot(True)
        self._checkTimer.setInterval(CHECK_DELAY)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self._connections = [
            (self._checkTimer, "timeout()", self.checkInputs),
            (self.ui.applyButton, "clicked()", self.onApplyButton),
            (self.ui.previewButton, "clicked()", self.onPreviewButton),
            (self.ui.resampleButton, "clicked()", self.onResampleButton),
            (self.ui.addModelButton, "clicked()", self.onAddModelButton),
            (self.ui.compareButton, "clicked()", self.onCompareButton),
            (self.ui.convergenceButton, "clicked()", self.onConvergenceButton),
            (self.ui.metricsButton, "clicked()", self.onMetricsButton),
            (self.ui.dicomButton, "clicked()", self.onDicomButton),
            (self.ui.modelComboBox, "activated(int)", self.onModelChosen),
            (self.ui.deviceComboBox, "activated(int)", self.onDeviceChosen),
            (self.ui.alphaSlider, "valueChanged(int)", self.onAlphaSlider),
        ]
        for sender, signal, slot in self._connections:
            sender.connect(signal, slot)
        self.initializeParameterNode()

    def cleanup(self):
        self.logic.cleanup()
        self.setParameterNode(None)
        self.removeObservers()
        self._checkTimer.stop()
        for sender, signal, slot in self._connections:
            sender.disconnect(signal, slot)

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)
        self.logic.forgetInputs()

    def onSceneStart(self, caller, event):
        self.setParameterNode(None)

    def onSceneEnd(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        """A selector whose volume goes takes another one, whichever it is; here it shall take none."""
        for role in ("lowdose", "predose", "highdose", "output"):
            if self._parameterNode and getattr(self._parameterNode, f"{role}Volume") is node:
                setattr(self._parameterNode, f"{role}Volume", None)

    # Parameters

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())
        node = self._parameterNode
        if not any((node.lowdoseVolume, node.predoseVolume, node.highdoseVolume)):
            self.proposeInputs()

    def proposeInputs(self):
        """Choose the inputs where the names of the volumes in the scene leave no doubt."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        for role in ("predose", "lowdose", "highdose"):
            found = [v for v in volumes if role in "".join(filter(str.isalnum, v.GetName().lower()))]
            found = [v for v in found if v.GetAttribute("LIPCAR.model") is None]
            if len(found) == 1:
                setattr(self._parameterNode, f"{role}Volume", found[0])

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self._parameterNode = parameterNode
        if self._parameterNode:
            if self._parameterNode.solver not in SOLVERS:  # a scene of another version must open all the same
                self._parameterNode.solver = SOLVERS[0]
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.onParametersModified()

    def onParametersModified(self, caller=None, event=None):
        node = self._parameterNode
        if node:
            position = round(SLIDER_STEPS * math.log10(max(node.alpha, ALPHA_RANGE[0]) / ALPHA_RANGE[0]))
            self.ui.alphaSlider.blockSignals(True)
            self.ui.alphaSlider.value = position
            self.ui.alphaSlider.blockSignals(False)
            self.updateAlphaAuto()
            self.updateModels()
            self.updateDevices()
        inputs = [node.lowdoseVolume, node.predoseVolume, node.highdoseVolume] if node else []
        if node and node.matchPredose != self._matchPredose:
            self._matchPredose = node.matchPredose
            self.onInputModified()
        if inputs != self._inputs:
            events = (vtkMRMLScalarVolumeNode.ImageDataModifiedEvent, vtkMRMLScalarVolumeNode.TransformModifiedEvent)
            for volume, event in ((v, e) for v in set(self._inputs) if v for e in events):
                self.removeObserver(volume, event, self.onInputModified)
            self._inputs = inputs
            for volume, event in ((v, e) for v in set(inputs) if v for e in events):
                self.addObserver(volume, event, self.onInputModified)
            self.onInputModified()
        self.updateButtons()

    def isAlphaAuto(self):
        return self._parameterNode.alphaAuto and self._parameterNode.solver != "adam"

    def updateAlphaAuto(self):
        """The solver adam takes a number only: the box shows that, and the node keeps the choice for the other solver.

        This comes after the wrapper has written the node's values into the widgets, as its observer is the older one.
        """
        auto = self.isAlphaAuto()
        self.ui.alphaAutoCheckBox.blockSignals(True)
        self.ui.alphaAutoCheckBox.checked = auto
        self.ui.alphaAutoCheckBox.blockSignals(False)
        self.ui.alphaAutoCheckBox.enabled = self._parameterNode.solver != "adam"
        self.ui.alphaSlider.enabled = self.ui.alphaSpinBox.enabled = not auto

    def onAlphaSlider(self, position):
        if self._parameterNode:
            alpha = float(np.format_float_scientific(ALPHA_RANGE[0] * 10 ** (position / SLIDER_STEPS), 1))
            self._parameterNode.alpha = min(max(alpha, ALPHA_RANGE[0]), ALPHA_RANGE[1])

    def updateModels(self):
        """The shipped models, and the folder that is chosen if one is, each with its card as tooltip."""
        from LIPCARLib.inverse import list_models, read_manifest

        chosen = self._parameterNode.model
        models = [AUTOMATIC, *(entry.name for entry in list_models())]
        if chosen not in models:
            try:
                read_manifest(chosen)
            except LIPCARError as error:
                text = _("The scene asks for a model that cannot be used; the automatic choice is set. {error}")
                self.ui.messageLabel.text = text.format(error=error)
                self._parameterNode.model = AUTOMATIC
                return
            models.append(chosen)
        if [self.ui.modelComboBox.itemData(i) for i in range(self.ui.modelComboBox.count)] != models:
            self.ui.modelComboBox.clear()
            for model in models:
                name = _("Automatic") if model == AUTOMATIC else Path(model).name
                self.ui.modelComboBox.addItem(name, model)
                self.ui.modelComboBox.setItemData(self.ui.modelComboBox.count - 1, modelCard(model), qt.Qt.ToolTipRole)
        self.ui.modelComboBox.currentIndex = models.index(chosen)
        self.ui.modelComboBox.toolTip = modelCard(chosen)

    def onModelChosen(self, index):
        self._parameterNode.model = self.ui.modelComboBox.itemData(index)

    def onAddModelButton(self):
        folder = qt.QFileDialog.getExistingDirectory(self.parent, _("Folder of a model"))
        if folder:
            self.addModel(folder)

    def addModel(self, folder):
        from LIPCARLib.inverse import read_manifest

        try:
            read_manifest(folder)
        except LIPCARError as error:
            slicer.util.errorDisplay(str(error))
            return
        self._parameterNode.model = str(folder)

    def updateDevices(self):
        """What can compute here; its names once torch is loaded, which is at the first computation."""
        devices = [("auto", _("Automatic")), ("cpu", _("Processor (cpu)")), ("cuda", _("NVIDIA GPU (cuda)"))]
        devices += [("mps", _("Apple GPU (mps)"))]
        if "torch" in sys.modules:
            from LIPCARLib.inverse import available_devices

            found = available_devices()
            devices = [("auto", _("Automatic: {name}").format(name=found[0][1])), *found]
        chosen = self._parameterNode.device
        if chosen not in [name for name, words in devices]:
            devices.append((chosen, chosen))
        if devices != self._devices:
            self._devices = devices
            self.ui.deviceComboBox.clear()
            for name, words in devices:
                self.ui.deviceComboBox.addItem(words, name)
        self.ui.deviceComboBox.currentIndex = [name for name, words in devices].index(chosen)

    def onDeviceChosen(self, index):
        self._parameterNode.device = self.ui.deviceComboBox.itemData(index)

    # The check of the inputs

    def onInputModified(self, caller=None, event=None):
        self._problem = ""
        self.ui.checkLabel.text = ""
        self.ui.resampleButton.visible = False
        self._checkTimer.start()

    def checkInputs(self):
        """Say in words whether the inputs fit, before anybody clicks Apply."""
        node = self._parameterNode
        if node is None or node.lowdoseVolume is None or self.missingForApply():
            return
        if self.logic.isRunning():
            self._checkTimer.start()  # later
            return
        from LIPCARLib.slicer.mrml import grid_differences

        try:
            examination = self.examination()
        except LIPCARError as error:
            self._problem = str(error)
            self.ui.checkLabel.text = self._problem
        else:
            others = [volume for volume in (node.predoseVolume, node.highdoseVolume) if volume]
            apart = [volume for volume in others if grid_differences(volume, node.lowdoseVolume)]
            self.ui.resampleButton.visible = bool(apart)
            self.ui.checkLabel.text = self.summary(examination, bool(others))
            for spinBox in (self.ui.firstSliceSpinBox, self.ui.lastSliceSpinBox):
                spinBox.maximum = len(examination.lowdose)
        self.updateButtons()

    def examination(self):
        node = self._parameterNode
        volumes = node.lowdoseVolume, node.predoseVolume, node.highdoseVolume
        return self.logic.examinationOf(*volumes, node.matchPredose)

    def summary(self, examination, several):
        count, height, width = examination.lowdose.shape
        text = _("{count} slices of {width} x {height} pixels along {axis}.")
        parts = [text.format(count=count, width=width, height=height, axis="ijk"[examination.slice_axis])]
        if several and not examination.notices:
            parts.append(_("The volumes fit together."))
        return " ".join((*parts, *examination.notices))

    def onResampleButton(self):
        from LIPCARLib.slicer.mrml import grid_differences, resampled

        node = self._parameterNode
        try:
            with slicer.util.WaitCursor():
                for role in ("predoseVolume", "highdoseVolume"):
                    volume = getattr(node, role)
                    if volume and grid_differences(volume, node.lowdoseVolume):
                        setattr(node, role, resampled(volume, node.lowdoseVolume))
        except LIPCARError as error:
            self.onError(error)

    def missingForApply(self):
        """What keeps Apply from running, as sentences."""
        from LIPCARLib.inverse import list_models

        node = self._parameterNode
        if node is None or node.lowdoseVolume is None:
            return [_("Choose the low-dose volume.")]
        missing = []
        if node.predoseVolume is node.lowdoseVolume:
            missing.append(_("Choose another pre-dose volume: it is the low-dose volume."))
        if node.highdoseVolume is not None and node.highdoseVolume in (node.lowdoseVolume, node.predoseVolume):
            missing.append(_("Choose another high-dose reference: it is one of the inputs."))
        if node.outputVolume is not None and node.outputVolume in self._inputs:
            missing.append(_("Choose another output volume: it is one of the inputs."))
        if node.enhancement and node.predoseVolume is None:
            missing.append(_("Choose a pre-dose volume, or no enhancement map: it is the change from the pre-dose."))
        if 0 < node.lastSlice < node.firstSlice:
            missing.append(_("Choose a last slice that is not before the first."))
        if not list_models():
            missing.append(_("No model is installed: install the LIPCAR extension again."))
        return missing

    # Computing

    def updateButtons(self):
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
        self.updateResults()

    def options(self):
        node = self._parameterNode
        chosen = ("prior", node.prior), ("enhancement", node.enhancement), ("data_consistency", node.dataConsistency)
        return {
            "alpha": ALPHA_AUTO if self.isAlphaAuto() else node.alpha,
            "model": None if node.model == AUTOMATIC else node.model,
            "device": node.device,
            "highdoseVolume": node.highdoseVolume,
            "solver": node.solver,
            "iterations": node.iterations or None,
            "matchPredose": node.matchPredose,
            "doseFraction": node.doseFraction or None,
            "extras": [extra for extra, wanted in chosen if wanted],
        }

    def onApplyButton(self):
        if self.logic.isRunning():
            self.logic.cancel()
            return
        node = self._parameterNode
        options = {**self.options(), "slices": (max(node.firstSlice, 1) - 1, node.lastSlice or None)}
        self.compute(node.outputVolume, options, self.onDone)

    def onPreviewButton(self):
        node = self._parameterNode
        try:
            examination = self.examination()
        except LIPCARError as error:
            self.onError(error)
            return
        from LIPCARLib.slicer.views import slice_on_screen

        shown = slice_on_screen(node.lowdoseVolume, examination.slice_axis)
        options = {**self.options(), "slices": (shown, shown + 1), "extras": [], "isPreview": True}
        self.compute(node.previewVolume, options, self.onPreviewDone)

    def compute(self, outputVolume, options, doneCallback):
        node = self._parameterNode
        self.ui.messageLabel.text = ""
        self.ui.progressBar.reset()
        callbacks = {"progressCallback": self.onProgress, "doneCallback": doneCallback, "errorCallback": self.onError}
        try:
            self.logic.installDependencies()
            with slicer.util.WaitCursor():
                self.logic.start(node.lowdoseVolume, node.predoseVolume, outputVolume, **options, **callbacks)
        except Exception as error:
            self.onError(error)
            return
        self.updateDevices()
        self.updateButtons()

    def onProgress(self, progress):
        self.ui.progressBar.value = round(1000 * progress.fraction)
        text = _("{done} of {total} slices, {left}, {device}")
        self.ui.progressBar.format = text.format(
            done=progress.slices_done,
            total=progress.slices_total,
            left=timeLeft(progress.seconds_left),
            device=progress.device,
        )

    def onDone(self, outputVolume):
        if outputVolume is None:
            self.ui.messageLabel.text = _("Canceled; no volume was changed.")
        else:
            self.logic.getParameterNode().outputVolume = outputVolume  # the panel may have been left meanwhile
            text = _("Done in {time} on {device}.")
            result = self.logic.lastResult
            text = text.format(time=duration(result.seconds), device=result.provenance["device"])
            self.ui.messageLabel.text = " ".join((text, *noticesOf(result)))
            if slicer.app.layoutManager():
                slicer.util.setSliceViewerLayers(background=outputVolume, foreground=None)
        self.updateButtons()

    def onPreviewDone(self, previewVolume):
        if previewVolume is None:
            self.ui.messageLabel.text = _("Canceled; no volume was changed.")
        else:
            parameters, result = self.logic.getParameterNode(), self.logic.lastResult
            parameters.previewVolume = previewVolume
            text = _("Preview of slice {slice} in {one}. All slices will take about {all} on {device}.")
            number, count = result.provenance["slices"].split("-")[0], int(result.provenance["slices"].split()[-1])
            text = text.format(
                slice=number,
                one=duration(result.seconds),
                all=duration(count * result.seconds),
                device=result.provenance["device"],
            )
            self.ui.messageLabel.text = " ".join((text, *noticesOf(result)))
            if slicer.app.layoutManager():
                layers = {"background": parameters.lowdoseVolume, "foreground": previewVolume}
                slicer.util.setSliceViewerLayers(**layers, foregroundOpacity=1.0)
        self.updateButtons()

    def onError(self, error):
        self.updateButtons()
        if isinstance(error, LIPCARError):
            self.ui.messageLabel.text = str(error)
            slicer.util.errorDisplay(str(error))
            return
        details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        logging.error(details)
        text = _("LIPCAR failed in a way it should not: {error}").format(error=error)
        self.ui.messageLabel.text = text
        slicer.util.errorDisplay(text, detailedText=details)

    # Results

    def updateResults(self):
        """The output volume's own record says what there is to show, after the scene was reloaded too."""
        from LIPCARLib.slicer.mrml import provenance_of, related

        output = self._parameterNode.outputVolume if self._parameterNode else None
        made = provenance_of(output) if output else {}
        self.ui.compareButton.enabled = self.ui.dicomButton.enabled = bool(made)
        self.ui.convergenceButton.enabled = bool(made) and related(output, "convergence") is not None
        self.ui.metricsButton.enabled = bool(made) and related(output, "metrics") is not None
        text = _("{name}: model {model}, alpha {alpha}, {solver}, slices {slices}.")
        self.ui.resultLabel.text = text.format(name=output.GetName(), **made) if made else _("No result yet.")

    def onCompareButton(self):
        from LIPCARLib.slicer.mrml import related
        from LIPCARLib.slicer.views import show_side_by_side

        output = self._parameterNode.outputVolume
        roles = ("predose", _("Pre-dose")), ("lowdose", _("Low-dose")), ("prior", _("Prior"))
        images = [(label, related(output, role)) for role, label in roles]
        images += [(_("LIP-CAR"), output), (_("High-dose"), related(output, "highdose"))]
        axis = int(output.GetAttribute("LIPCAR.slice_axis"))
        show_side_by_side([(label, volume) for label, volume in images if volume], output, axis)

    def onConvergenceButton(self):
        from LIPCARLib.slicer.mrml import related

        slicer.modules.plots.logic().ShowChartInLayout(related(self._parameterNode.outputVolume, "convergence"))

    def onMetricsButton(self):
        from LIPCARLib.slicer.mrml import related

        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpTableView)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetActiveTableID(related(self._parameterNode.outputVolume, "metrics").GetID())
        slicer.app.applicationLogic().PropagateTableSelection()

    def onDicomButton(self):
        parent = qt.QFileDialog.getExistingDirectory(self.parent, _("Folder in which to make the DICOM series"))
        if not parent:
            return
        output = self._parameterNode.outputVolume
        try:
            folder = self.logic.exportDicom(output, parent)
        except LIPCARError as error:
            self.onError(error)
            return
        self.ui.messageLabel.text = _("Wrote {folder}.").format(folder=folder)


def modelCard(name):
    """A model's card in a few lines, for a tooltip."""
    from LIPCARLib.inverse import read_manifest

    if name == AUTOMATIC:
        return _("The shipped model for examinations with or without a pre-dose volume, whichever is given.")
    try:
        manifest = read_manifest(name)
    except LIPCARError as error:
        return str(error)
    lines = [manifest["name"], manifest.get("description", ""), manifest.get("intended_use", "")]
    measured = manifest.get("metrics", {})
    text = _("On {count} held-out subjects, {image}: SSIM {ssim}, body RMSE {rmse}.")
    for image, row in measured.get("means_over_slices", {}).items():
        count = len(measured["subjects"])
        lines.append(text.format(count=count, image=image, ssim=row["ssim"], rmse=row["body_rmse"]))
    return "\n".join(line for line in lines if line)


def noticesOf(result):
    """What a result shows that the inputs alone did not, as sentences."""
    isRule = result.provenance["alpha"] == ALPHA_AUTO  # with a number the trust is 1 and tells nothing
    return (CONTRADICTION,) if isRule and np.median(result.trust) > 0.5 else ()


def timeLeft(seconds):
    if seconds is None:
        return _("estimating the time left")
    return _("{time} left").format(time=duration(seconds))


def duration(seconds):
    if seconds < 10:
        return _("{seconds} s").format(seconds=round(max(seconds, 0.1), 1))
    minutes, seconds = divmod(round(seconds), 60)
    if minutes:
        return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=seconds)
    return _("{seconds} s").format(seconds=seconds)


class LIPCARLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """Runs reconstructions, one at a time, on the main thread: from a timer, or to the end in `process`.

    Attributes:
        notices: what the engine found odd about the inputs of the last run and, at its end, its result, as sentences.
        lastResult: the engine's Result of the last run that came to its end, without its volumes' nodes.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        VTKObservationMixin.__init__(self)
        self.notices = ()
        self.lastResult = None
        self._run = None
        self._checked = (None, None)
        self._timer = qt.QTimer()  # one for good: a timer that is let go within its own slot may crash
        self._timer.connect("timeout()", self._advance)

    def cleanup(self):
        """Cancel, and let go of what keeps this object alive."""
        self.cancel()
        self.forgetInputs()
        self._timer.disconnect("timeout()", self._advance)

    def getParameterNode(self):
        return LIPCARParameterNode(super().getParameterNode())

    def missingPackages(self):
        return [name for name in ("torch", "safetensors") if importlib.util.find_spec(name) is None]

    def installDependencies(self):
        """Offer to install what is missing, with the means that this Slicer has; `start` complains of the rest."""
        for package in self.missingPackages():
            try:
                if package == "torch":
                    from PyTorchUtils import PyTorchUtilsLogic

                    PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH_VERSIONS)
                else:
                    from slicer.packaging import load_requirements, pip_ensure  # Slicer 5.12 and later

                    pip_ensure(load_requirements(_FOLDER / "Resources" / "requirements.txt"), requester="LIPCAR")
            except (ImportError, RuntimeError) as error:  # no such extension, an older Slicer, or the user declined
                logging.info(error)
            except subprocess.CalledProcessError as error:  # pip failed, for want of a network most often
                logging.error(error)
            importlib.invalidate_caches()
            if package in self.missingPackages():
                return  # without it the others are of no use

    def examinationOf(self, lowdoseVolume, predoseVolume=None, highdoseVolume=None, matchPredose=True):
        """The checked inputs; kept until one of them changes, so that Apply need not check again what was checked.

        Raises LIPCARError where they do not fit.
        """
        from LIPCARLib.slicer.mrml import examination_of

        volumes = lowdoseVolume, predoseVolume, highdoseVolume
        key = [matchPredose, *(stateOf(volume) for volume in volumes)]
        if self._checked[0] != key:
            self._checked = (None, None)  # two examinations at once may be gigabytes
            with slicer.util.WaitCursor():
                self._checked = key, examination_of(*volumes, match_predose=matchPredose)
        return self._checked[1]

    def forgetInputs(self):
        """Give back the memory of the checked inputs."""
        self._checked = (None, None)

    def process(self, lowdoseVolume, predoseVolume=None, outputVolume=None, alpha=ALPHA_AUTO, **options):
        """Simulate the high-dose volume and wait for it; returns the output node, raises what went wrong.

        :param options: as in `start`, but for the callbacks.
        """
        nodes, errors = [], []
        callbacks = {"doneCallback": nodes.append, "errorCallback": errors.append}
        self.start(lowdoseVolume, predoseVolume, outputVolume, alpha, **options, **callbacks)
        self.waitForCompletion()
        if errors:
            raise errors[0]
        return nodes[0]

    def start(
        self,
        lowdoseVolume,
        predoseVolume=None,
        outputVolume=None,
        alpha=ALPHA_AUTO,
        model=None,
        device="auto",
        highdoseVolume=None,
        solver="proximal",
        iterations=None,
        matchPredose=True,
        doseFraction=None,
        slices=(0, None),
        extras=(),
        isPreview=False,
        progressCallback=None,
        doneCallback=None,
        errorCallback=None,
    ):
        """Begin a computation that the event loop carries on, and return.

        :param outputVolume: a node to update; None for a new one.
        :param alpha: a number, which the solver "adam" needs, or the name of a rule of LIPCARLib.inverse.alpha.
        :param model: name of a shipped model or folder of any; None chooses by whether there is a pre-dose volume.
        :param highdoseVolume: a reference to measure the result against; the result does not depend on it.
        :param iterations: None for the solver's default.
        :param matchPredose: whether to bring the pre-dose volume to the place and receiver gain of the low-dose volume.
        :param doseFraction: the low dose over the full one, above 0 and at most 1; None for about a fifth.
        :param slices: first slice to compute, from 0, and the one after the last; None for the end.
        :param extras: of "prior", "enhancement", "data_consistency": volumes to make beside the output.
        :param isPreview: whether to leave out the convergence plot and, with a reference, the table of metrics.
        :param progressCallback: is given LIPCARLib's Progress.
        :param doneCallback: is given the output node, or None after a cancel.
        :param errorCallback: is given what was raised later; unsuitable input raises LIPCARError here and now.
        """
        if self.isRunning():
            raise LIPCARError(_("A computation is running. Cancel it or wait for its end."))
        if lowdoseVolume is None:
            raise LIPCARError(_("There is no low-dose volume. Choose one."))
        inputs = [node for node in (lowdoseVolume, predoseVolume, highdoseVolume) if node is not None]
        if outputVolume in inputs:
            raise LIPCARError(_("The output volume is one of the inputs. Choose another one."))
        if self.missingPackages():
            raise LIPCARError(HOW_TO_GET[self.missingPackages()[0]])
        from LIPCARLib.inverse import default_model, load_model, reconstruct

        whole = self.examinationOf(lowdoseVolume, predoseVolume, highdoseVolume, matchPredose)
        examination = whole.part(slices[0], slices[1] or len(whole.lowdose))
        loaded = load_model(model or default_model(examination.predose is not None))
        steps = reconstruct(
            examination,
            loaded,
            alpha=alpha,
            solver=solver,
            iterations=iterations,
            device=device,
            data_consistency="data_consistency" in extras,
            dose_fraction=doseFraction,
        )
        volumes = {"lowdose": lowdoseVolume, "predose": predoseVolume, "highdose": highdoseVolume}
        self.notices = examination.notices
        self._run = _Run(
            self._delivered(steps, examination, volumes, outputVolume, list(extras), isPreview),
            [*inputs, outputVolume],
            progressCallback or (lambda progress: None),
            doneCallback or (lambda node: None),
            errorCallback or (lambda error: logging.error(error, exc_info=error)),
        )
        scene = lowdoseVolume.GetScene()
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
        self._timer.start(0)

    def _delivered(self, steps, examination, volumes, outputVolume, extras, isPreview):
        """The engine's progress, step by step; at the end the result goes into the scene in one go and is returned."""
        from LIPCARLib.inverse import Progress, mapped
        from LIPCARLib.slicer.mrml import add_convergence, add_metrics, add_volumes
        from LIPCARLib.study import examination_metrics

        result = yield from steps
        self.lastResult = result
        self.notices = (*examination.notices, *noticesOf(result))
        examination = replace(examination, notices=self.notices)  # for the output's own record
        if isPreview:
            return add_volumes(examination, result, output=outputVolume, name=_("LIPCAR preview"), **volumes)
        metrics = None
        if examination.highdose is not None:
            finished = Progress(len(result.prior), len(result.prior), 1.0, 0.0, result.provenance["device"])
            metrics = yield from mapped(examination_metrics(examination, result), lambda nothing: finished)
        output = add_volumes(examination, result, output=outputVolume, extras=extras, **volumes)
        add_convergence(result.objective, output)
        if metrics:
            add_metrics(metrics, examination.first_slice, output)
        return output

    def exportDicom(self, outputVolume, parentFolder):
        """Write a result as a DICOM MR series into a new folder there, which is returned."""
        from LIPCARLib.imaging import new_folder, series_files, write_files
        from LIPCARLib.slicer.mrml import dicom_header, image_of, provenance_of, related

        provenance = provenance_of(outputVolume)
        if not provenance:
            raise LIPCARError(_("The volume '{name}' is no result of LIPCAR.").format(name=outputVolume.GetName()))
        name = "".join(c if c.isalnum() or c in "-_" else "_" for c in outputVolume.GetName())
        folder = Path(parentFolder) / name
        number = 1
        while folder.exists():
            number += 1
            folder = Path(parentFolder) / f"{name}_{number}"
        source = related(outputVolume, "lowdose")
        header = None if source is None else dicomFileOf(source) or dicom_header(source)
        image = image_of(outputVolume, outputVolume.GetName())
        first = int(provenance["slices"].split("-")[0])
        with new_folder(folder):
            write_files(series_files(folder, image, int(provenance["slice_axis"]), provenance, header, first))
        return folder

    def isRunning(self):
        return self._run is not None

    def cancel(self):
        """Stop the computation, if there is one; no node is changed."""
        run = self._release()
        if run:
            run.onDone(None)

    def waitForCompletion(self):
        """Compute to the end here and now; the callbacks are called as ever."""
        while self.isRunning():
            self._advance()

    def _onSceneClose(self, caller, event):
        self.cancel()
        self.forgetInputs()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller, event, node):
        if self._run and node in self._run.nodes:
            self.cancel()

    def _advance(self):
        """Compute for one slot."""
        run, until = self._run, time.monotonic() + SLOT_SECONDS
        try:
            progress = next(run.steps)
            while time.monotonic() < until:
                progress = next(run.steps)
        except StopIteration as stop:
            self._release()
            run.onDone(stop.value)
        except Exception as error:
            self._release()
            run.onError(error)
        else:
            run.onProgress(progress)

    def _release(self):
        """Let go of the run, its observers and its memory; returns the run, or None where there was none."""
        run, self._run = self._run, None
        if run:
            self._timer.stop()
            self.removeObservers()
            run.steps.close()
        return run


@dataclass
class _Run:
    """A computation under way: what it needs was taken from the panel at its start."""

    steps: Generator
    nodes: list
    onProgress: Callable
    onDone: Callable
    onError: Callable


def stateOf(volume):
    """Something that differs once the volume, its voxels or a transform above it has changed."""
    if volume is None:
        return None
    state = [volume.GetID(), volume.GetMTime(), volume.GetImageData() and volume.GetImageData().GetMTime()]
    transform = volume.GetParentTransformNode()
    while transform is not None:
        state += [transform.GetID(), transform.GetMTime(), transform.GetTransformToParent().GetMTime()]
        transform = transform.GetParentTransformNode()
    return state


def dicomFileOf(volume):
    """A file of the DICOM series that a volume was loaded from, where Slicer's database still has it."""
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    path = database.fileForInstance(uids[0]) if uids and database else ""
    return Path(path) if path and Path(path).is_file() else None


class LIPCARTest(ScriptedLoadableModuleTest):
    """Runs by Slicer's own runTest and by unittest alike, hence no helper with such a name and no skipping."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.logic = LIPCARLogic()

    def tearDown(self):
        self.logic.cleanup()

    def test_outputLiesOnTheInput(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            self.assertRaises(LIPCARError, self.logic.start, lowdose, predose)  # it says how to get them
            return
        output = self.logic.process(lowdose, predose, device="cpu")
        self.assertEqual(self._matrix(output), self._matrix(lowdose))
        self.assertEqual(output.GetImageData().GetDimensions(), lowdose.GetImageData().GetDimensions())
        lowest, highest = slicer.util.arrayFromVolume(output).min(), slicer.util.arrayFromVolume(output).max()
        self.assertTrue(0 <= lowest < highest < math.inf)
        self.assertEqual(output.GetAttribute("LIPCAR.alpha"), "auto")
        again = self.logic.process(lowdose, predose, device="cpu")
        self.assertTrue((slicer.util.arrayFromVolume(again) == slicer.util.arrayFromVolume(output)).all())

    def test_outputFollowsTheTransform(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, 25)
        transform.SetMatrixTransformToParent(matrix)
        for volume in (lowdose, predose):
            volume.SetAndObserveTransformNodeID(transform.GetID())
        output = self.logic.process(lowdose, predose, device="cpu", iterations=1)
        self.assertEqual(output.GetTransformNodeID(), transform.GetID())

    def test_doseMayBeTold(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        output = self.logic.process(lowdose, predose, doseFraction=0.1, iterations=1, device="cpu")
        self.assertEqual(output.GetAttribute("LIPCAR.dose_fraction"), "0.1")
        with self.assertRaises(LIPCARError) as caught:
            self.logic.process(lowdose, doseFraction=0.1, iterations=1, device="cpu")
        self.assertIn("pre-dose", str(caught.exception))

    def test_alphaMayBeANumber(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        for solver in ("proximal", "adam"):
            output = self.logic.process(lowdose, predose, alpha=0.02, solver=solver, iterations=1, device="cpu")
            self.assertEqual(output.GetAttribute("LIPCAR.alpha"), "0.02")
            self.assertNotIn(CONTRADICTION, self.logic.notices)

    def test_contradictionIsNoticed(self):
        for alpha, trust, expected in [
            ("auto", [0.1, 0.6, 0.9], (CONTRADICTION,)),
            ("auto", [0.1, 0.5, 0.9], ()),
            (0.006, [1.0, 1.0, 1.0], ()),
        ]:
            result = SimpleNamespace(trust=trust, provenance={"alpha": alpha})
            self.assertEqual(noticesOf(result), expected)

    def test_slicesAndExtras(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        extras = ["prior", "enhancement", "data_consistency"]
        highdose = self._addVolume("highdose", 2.5)
        options = {"highdoseVolume": highdose, "slices": (1, 3), "extras": extras, "device": "cpu"}
        output = self.logic.process(lowdose, predose, **options)
        self.assertEqual(output.GetImageData().GetDimensions(), (48, 40, 2))
        for role in (*extras, "metrics", "convergence", "highdose"):
            self.assertIsNotNone(output.GetNodeReference("LIPCAR." + role), role)
        table = output.GetNodeReference("LIPCAR.metrics")
        self.assertEqual(table.GetNumberOfRows(), 12)  # four images: a mean and two slices of each
        windows = {
            (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel())
            for node in (lowdose, predose, highdose, output, output.GetNodeReference("LIPCAR.prior"))
        }
        self.assertEqual(len(windows), 1)

    def test_cancelLeavesNoNode(self):
        done = []
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        self.logic.start(lowdose, predose, device="cpu", doneCallback=done.append)
        slicer.mrmlScene.RemoveNode(predose)
        self.assertFalse(self.logic.isRunning())
        self.assertEqual(done, [None])
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 1)

    def test_closingTheSceneStops(self):
        done = []
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        self.logic.start(lowdose, predose, device="cpu", doneCallback=done.append)
        for _turn in range(3):
            slicer.app.processEvents()
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        self.assertEqual(done, [None])
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 0)

    def test_badPairsAreExplained(self):
        lowdose, predose = self._addPair()
        slicer.util.arrayFromVolume(predose)[:] = 7
        slicer.util.arrayFromVolumeModified(predose)
        with self.assertRaisesRegex(LIPCARError, "predose.*7 everywhere"):
            self.logic.examinationOf(lowdose, predose)
        panel = self._openPanel()
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        panel.checkInputs()
        self.assertFalse(panel.ui.applyButton.enabled)
        self.assertIn("7 everywhere", panel.ui.applyButton.toolTip)
        self.assertIn("7 everywhere", panel.ui.checkLabel.text)

    def test_panelResamples(self):
        lowdose, predose = self._addPair()
        predose.SetSpacing(0.9, 0.75, 3)
        panel = self._openPanel()
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        panel.checkInputs()
        self.assertIn("resampled", panel.ui.checkLabel.text)
        self.assertFalse(panel.ui.resampleButton.isHidden())
        panel.onResampleButton()
        chosen = panel._parameterNode.predoseVolume
        self.assertIsNot(chosen, predose)
        self.assertEqual(self._matrix(chosen), self._matrix(lowdose))
        panel.checkInputs()
        self.assertTrue(panel.ui.resampleButton.isHidden())

    def test_panelAppliesAndPreviews(self):
        lowdose, predose = self._addPair()
        panel = self._openPanel()
        self.assertFalse(panel.ui.applyButton.enabled and panel._parameterNode.lowdoseVolume is None)
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        panel._parameterNode.device = "cpu"
        panel.checkInputs()
        self.assertTrue(panel.ui.applyButton.enabled)
        if self.logic.missingPackages():
            return  # what happens then is for test_missingPackagesAreNamed
        panel.ui.previewButton.click()
        self._finish(panel)
        preview = panel._parameterNode.previewVolume
        self.assertEqual(preview.GetImageData().GetDimensions(), (48, 40, 1))
        self.assertIn("All slices will take about", panel.ui.messageLabel.text)
        panel.ui.applyButton.click()
        self.assertEqual(panel.ui.applyButton.text, _("Cancel"))
        self.assertFalse(panel.ui.parametersWidget.enabled)
        panel.ui.applyButton.click()
        self.assertFalse(panel.logic.isRunning())
        self.assertIsNone(panel._parameterNode.outputVolume)
        panel.ui.applyButton.click()
        self._finish(panel)
        output = panel._parameterNode.outputVolume
        self.assertEqual(self._matrix(output), self._matrix(lowdose))
        self.assertTrue(panel.ui.compareButton.enabled and panel.ui.convergenceButton.enabled)
        self.assertFalse(panel.ui.metricsButton.enabled)

    def test_alphaIsAutomaticUnlessUnchecked(self):
        panel = self._openPanel()
        node, box = panel._parameterNode, panel.ui.alphaAutoCheckBox
        numbers = panel.ui.alphaSlider, panel.ui.alphaSpinBox
        self.assertTrue(box.checked and box.enabled)
        self.assertFalse(any(widget.enabled for widget in numbers))
        self.assertEqual(panel.options()["alpha"], "auto")
        node.alpha, node.alphaAuto = 0.02, False
        self.assertTrue(box.enabled and not box.checked and all(widget.enabled for widget in numbers))
        self.assertEqual(panel.options()["alpha"], 0.02)
        node.alphaAuto, node.solver = True, "adam"
        self.assertFalse(box.enabled or box.checked)
        self.assertTrue(all(widget.enabled for widget in numbers))
        self.assertEqual(panel.options()["alpha"], 0.02)
        node.solver = "proximal"
        self.assertTrue(box.enabled and box.checked)
        self.assertEqual(panel.options()["alpha"], "auto")

    def test_missingPackagesAreNamed(self):
        lowdose, predose = self._addPair()
        panel = self._openPanel()
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        with (
            patch.object(panel.logic, "missingPackages", lambda: ["torch"]),
            patch.object(panel.logic, "installDependencies", lambda: None),  # the user declines
            patch.object(slicer.util, "errorDisplay") as shown,
        ):
            panel.onApplyButton()
        self.assertIn("PyTorch", shown.call_args.args[0])
        self.assertIn("PyTorch", panel.ui.messageLabel.text)
        self.assertFalse(panel.logic.isRunning())

    def test_sceneRestoresThePanel(self):
        lowdose, predose = self._addPair()
        panel = self._openPanel()
        node = panel._parameterNode
        node.lowdoseVolume, node.predoseVolume = lowdose, predose
        panel.ui.alphaAutoCheckBox.click()
        self.assertFalse(node.alphaAuto)
        node.alpha, node.prior, node.solver, node.iterations, node.firstSlice = 0.02, True, "adam", 12, 2
        self.assertEqual(panel.ui.doseFractionSpinBox.text, "about a fifth")
        self.assertIsNone(panel.options()["doseFraction"])
        panel.ui.doseFractionSpinBox.value = 0.1
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear()
            slicer.util.loadScene(path)
        panel = self._openPanel()
        node = panel._parameterNode
        self.assertEqual(node.lowdoseVolume.GetName(), "lowdose")
        self.assertEqual(node.predoseVolume.GetName(), "predose")
        restored = node.alpha, node.prior, node.solver, node.iterations, node.firstSlice
        self.assertEqual(restored, (0.02, True, "adam", 12, 2))
        self.assertEqual(panel.ui.solverComboBox.currentText, "adam")
        self.assertAlmostEqual(panel.ui.alphaSpinBox.value, 0.02)
        self.assertAlmostEqual(panel.options()["doseFraction"], 0.1)
        self.assertAlmostEqual(panel.ui.doseFractionSpinBox.value, 0.1)
        self.assertEqual(panel.ui.alphaSlider.value, 230)
        self.assertFalse(node.alphaAuto or panel.ui.alphaAutoCheckBox.checked)
        node.solver = "proximal"
        self.assertFalse(panel.ui.alphaAutoCheckBox.checked)
        panel.ui.alphaAutoCheckBox.click()
        self.assertTrue(node.alphaAuto)

    def test_sampleDataIsThere(self):
        try:
            import SampleData
        except ImportError:
            return
        registerSampleData()
        nodes = SampleData.SampleDataLogic().downloadSamples("LIPCARRatHead")
        self.assertEqual(
            [n.GetImageData().GetDimensions() for n in nodes], 3 * [nodes[0].GetImageData().GetDimensions()]
        )
        node = self._openPanel()._parameterNode
        self.assertEqual([node.predoseVolume, node.lowdoseVolume, node.highdoseVolume], nodes)

    def test_dicomSaysWhatItIs(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages() or importlib.util.find_spec("pydicom") is None:
            return
        import pydicom

        output = self.logic.process(lowdose, predose, device="cpu", iterations=1)
        with tempfile.TemporaryDirectory() as parent:
            folder = self.logic.exportDicom(output, parent)
            files = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
        self.assertEqual(len(files), 3)
        self.assertEqual((files[0].Modality, files[0].ImageType[0]), ("MR", "DERIVED"))
        self.assertIn("simulated", files[0].SeriesDescription)

    def _openPanel(self):
        panel = slicer.modules.lipcar.widgetRepresentation().self()
        panel.enter()
        return panel

    def _finish(self, panel):
        while panel.logic.isRunning():
            slicer.app.processEvents()

    def _matrix(self, node):
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        return [matrix.GetElement(row, column) for row in range(4) for column in range(4)]

    def _addPair(self):
        return self._addVolume("lowdose", 1.4), self._addVolume("predose", 1.0)

    def _addVolume(self, name, enhancement):
        """A ball with an enhancing spot, on oblique and flipped axes."""
        k, j, i = np.mgrid[:3, :40, :48]
        voxels = np.where((i - 24) ** 2 + (j - 20) ** 2 < 300, 100.0, 5.0) + 3 * np.cos(i + 2 * j + k)
        voxels[(i - 28) ** 2 + (j - 14) ** 2 < 9] *= enhancement
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy((-0.48, 0.6, 0, 10, 0.64, 0.45, 0, -20, 0, 0, 3, 5, 0, 0, 0, 1))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        slicer.util.updateVolumeFromArray(node, voxels.astype(np.float32))
        node.SetIJKToRASMatrix(matrix)
        return node
