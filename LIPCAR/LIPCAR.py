"""The Slicer module LIPCAR: the panel, the logic that runs the engine a step at a time, the self-test.

No algorithm lives here, and torch is not needed before Apply is clicked: the engine's modules that want it are
imported in `LIPCARLogic.start`.
"""

import importlib.util
import logging
import sys
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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
from slicer.util import VTKObservationMixin, arrayFromVTKMatrix

_FOLDER = Path(__file__).resolve().parent
if (_FOLDER.parent / "LIPCARLib").is_dir() and str(_FOLDER.parent) not in sys.path:
    sys.path.insert(0, str(_FOLDER.parent))  # a checkout: Slicer knows only the module's own folder

from LIPCARLib.errors import LIPCARError  # noqa: E402
from LIPCARLib.resources import RESOURCES  # noqa: E402

AUTOMATIC = "automatic"
TORCH_VERSIONS = ">=2.5,<3"
HOW_TO_GET = {
    "torch": _(
        "LIPCAR needs PyTorch, which is not installed. Install the PyTorch extension in the Extensions Manager, "
        "restart Slicer and click Apply again: it will offer to install PyTorch."
    ),
    "safetensors": _(
        "LIPCAR needs the Python package safetensors, which is not installed. Click Apply again and accept, or type "
        "slicer.util.pip_install('safetensors') in the Python console."
    ),
}
SLOT_SECONDS = 0.03
"""How long the timer computes before the event loop gets its turn; a single step may take longer."""


def installedModels():
    """Names of the shipped models, from their folders alone: LIPCARLib.model would import torch."""
    return sorted(path.parent.name for path in (RESOURCES / "Models").glob("*/manifest.json"))


MODELS = [AUTOMATIC, *installedModels()]


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


@parameterNodeWrapper
class LIPCARParameterNode:
    """What the panel shows; widgets find their parameter through SlicerParameterName in LIPCAR.ui."""

    lowdoseVolume: vtkMRMLScalarVolumeNode
    predoseVolume: vtkMRMLScalarVolumeNode
    outputVolume: vtkMRMLScalarVolumeNode
    model: Annotated[str, Choice(MODELS), Default(AUTOMATIC)]
    alpha: Annotated[float, WithinRange(1e-4, 1e-1), Default(6e-3)]
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"]), Default("auto")]


class LIPCARWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        ScriptedLoadableModuleWidget.__init__(self, parent)  # last: without a parent it calls setup()

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/LIPCAR.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = LIPCARLogic()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.ui.applyButton.connect("clicked()", self.onApplyButton)
        self.initializeParameterNode()

    def cleanup(self):
        self.logic.cleanup()
        self.setParameterNode(None)
        self.removeObservers()
        self.ui.applyButton.disconnect("clicked()", self.onApplyButton)

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.setParameterNode(None)

    def onSceneStart(self, caller, event):
        self.setParameterNode(None)

    def onSceneEnd(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateApplyButton)
        self._parameterNode = parameterNode
        if self._parameterNode:
            if self._parameterNode.model not in MODELS:
                text = _("The scene asks for the model '{name}', which is not installed. The automatic choice is set.")
                self.ui.messageLabel.text = text.format(name=self._parameterNode.model)
                self._parameterNode.model = AUTOMATIC
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.updateApplyButton)
        self.updateApplyButton()

    def missingForApply(self):
        """What keeps Apply from running, as sentences."""
        node = self._parameterNode
        if node is None or node.lowdoseVolume is None:
            return [_("Choose the low-dose volume.")]
        missing = []
        if node.predoseVolume is node.lowdoseVolume:
            missing.append(_("Choose another pre-dose volume: it is the low-dose volume."))
        if node.outputVolume is not None and node.outputVolume in (node.lowdoseVolume, node.predoseVolume):
            missing.append(_("Choose another output volume: it is one of the inputs."))
        if MODELS == [AUTOMATIC]:
            missing.append(_("No model is installed: install the LIPCAR extension again."))
        return missing

    def updateApplyButton(self, caller=None, event=None):
        running = self.logic.isRunning()
        missing = [] if running else self.missingForApply()
        self.ui.parametersWidget.enabled = not running
        self.ui.progressBar.visible = running
        self.ui.applyButton.text = _("Cancel") if running else _("Apply")
        self.ui.applyButton.enabled = not missing
        ready = _("Stop the computation; no volume is changed.") if running else _("Simulate the high-dose volume.")
        self.ui.applyButton.toolTip = "\n".join(missing) or ready

    def onApplyButton(self):
        if self.logic.isRunning():
            self.logic.cancel()
            return
        parameters = self._parameterNode
        volumes = parameters.lowdoseVolume, parameters.predoseVolume, parameters.outputVolume
        model = None if parameters.model == AUTOMATIC else parameters.model
        callbacks = self.onProgress, self.onDone, self.onError
        self.ui.messageLabel.text = ""
        self.ui.progressBar.reset()
        try:
            self.logic.installDependencies()
            with slicer.util.WaitCursor():
                self.logic.start(*volumes, parameters.alpha, model, parameters.device, *callbacks)
        except Exception as error:
            self.onError(error)
            return
        self.ui.messageLabel.text = "\n".join(self.logic.notices)
        self.updateApplyButton()

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
            self.ui.messageLabel.text = _("Canceled.")
        else:
            self.logic.getParameterNode().outputVolume = outputVolume  # the panel may have been left meanwhile
            if slicer.app.layoutManager():
                slicer.util.setSliceViewerLayers(background=outputVolume)
        self.updateApplyButton()

    def onError(self, error):
        self.updateApplyButton()
        if isinstance(error, LIPCARError):
            slicer.util.errorDisplay(str(error))
            return
        details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        logging.error(details)
        text = _("LIPCAR failed in a way it should not: {error}").format(error=error)
        slicer.util.errorDisplay(text, detailedText=details)


def timeLeft(seconds):
    if seconds is None:
        return _("estimating the time left")
    minutes, seconds = divmod(max(1, round(seconds)), 60)
    if minutes:
        return _("{minutes} min {seconds} s left").format(minutes=minutes, seconds=seconds)
    return _("{seconds} s left").format(seconds=seconds)


class LIPCARLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """Runs reconstructions, one at a time, on the main thread: from a timer, or to the end in `process`.

    Attributes:
        notices: what the engine found odd about the inputs of the last run, as sentences.
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        VTKObservationMixin.__init__(self)
        self.notices = ()
        self._run = None
        self._timer = qt.QTimer()  # one for good: a timer that is let go within its own slot may crash
        self._timer.connect("timeout()", self._advance)

    def cleanup(self):
        """Cancel, and let go of what keeps this object alive."""
        self.cancel()
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
        importlib.invalidate_caches()

    def process(self, lowdoseVolume, predoseVolume=None, outputVolume=None, alpha=0.006, model=None, device="auto"):
        """Simulate the high-dose volume and wait for it; returns the output node, raises what went wrong."""
        nodes, errors = [], []
        callbacks = {"doneCallback": nodes.append, "errorCallback": errors.append}
        self.start(lowdoseVolume, predoseVolume, outputVolume, alpha, model, device, **callbacks)
        self.waitForCompletion()
        if errors:
            raise errors[0]
        return nodes[0]

    def start(
        self,
        lowdoseVolume,
        predoseVolume=None,
        outputVolume=None,
        alpha=0.006,
        model=None,
        device="auto",
        progressCallback=None,
        doneCallback=None,
        errorCallback=None,
    ):
        """Begin a computation that the event loop carries on, and return.

        :param outputVolume: a node to update; None for a new one.
        :param model: name of a shipped model or folder of any; None chooses by whether there is a pre-dose volume.
        :param progressCallback: is given LIPCARLib's Progress.
        :param doneCallback: is given the output node, or None after a cancel.
        :param errorCallback: is given what was raised later; unsuitable input raises LIPCARError here and now.
        """
        if self.isRunning():
            raise LIPCARError(_("A computation is running. Cancel it or wait for its end."))
        inputs = [node for node in (lowdoseVolume, predoseVolume) if node is not None]
        if outputVolume in inputs:
            raise LIPCARError(_("The output volume is one of the inputs. Choose another one."))
        if self.missingPackages():
            raise LIPCARError(HOW_TO_GET[self.missingPackages()[0]])
        from LIPCARLib.manifest import default_model
        from LIPCARLib.model import load_model
        from LIPCARLib.mrml import examination_of

        examination = examination_of(lowdoseVolume, predoseVolume)
        loaded = load_model(model or default_model(predoseVolume is not None))
        self.notices = examination.notices
        self._run = _Run(
            _steps(examination, loaded, alpha, device, lowdoseVolume, outputVolume),
            [*inputs, outputVolume],
            progressCallback or (lambda progress: None),
            doneCallback or (lambda node: None),
            errorCallback or (lambda error: logging.error(error, exc_info=error)),
        )
        scene = lowdoseVolume.GetScene()
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
        self._timer.start(0)

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


def _steps(examination, model, alpha, device, lowdoseVolume, outputVolume):
    """The engine's progress, step by step; the result goes into the scene at the end, in one go, and is returned."""
    from LIPCARLib.mrml import to_node
    from LIPCARLib.reconstruction import reconstruct

    result = yield from reconstruct(examination, model, alpha=alpha, device=device)
    provenance = {**result.provenance, "notices": " ".join(examination.notices)}
    return to_node(examination.to_image(result.highdose), lowdoseVolume, provenance, outputVolume)


class LIPCARTest(ScriptedLoadableModuleTest):
    """Runs by Slicer's own runTest and by unittest alike, hence no helper with such a name and no skipping."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_outputLiesOnTheInput(self):
        logic = LIPCARLogic()
        lowdose, predose = self._addVolume("lowdose", 1.4), self._addVolume("predose", 1.0)
        if logic.missingPackages():
            self.assertRaises(LIPCARError, logic.start, lowdose, predose)  # it says how to get them
            return
        output = logic.process(lowdose, predose, device="cpu")
        matrices = [vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()]
        for node, matrix in zip((lowdose, output), matrices, strict=True):
            node.GetIJKToRASMatrix(matrix)
        self.assertTrue((arrayFromVTKMatrix(matrices[0]) == arrayFromVTKMatrix(matrices[1])).all())
        self.assertEqual(output.GetImageData().GetDimensions(), lowdose.GetImageData().GetDimensions())
        voxels = slicer.util.arrayFromVolume(output)
        self.assertTrue(np.isfinite(voxels).all() and voxels.min() >= 0 and voxels.max() > 0)
        self.assertEqual(output.GetAttribute("LIPCAR.alpha"), "0.006")

    def test_cancelLeavesNoNode(self):
        logic, done = LIPCARLogic(), []
        lowdose, predose = self._addVolume("lowdose", 1.4), self._addVolume("predose", 1.0)
        if logic.missingPackages():
            return
        logic.start(lowdose, predose, device="cpu", doneCallback=done.append)
        slicer.mrmlScene.RemoveNode(predose)
        self.assertFalse(logic.isRunning())
        self.assertEqual(done, [None])
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 1)

    def _addVolume(self, name, enhancement):
        """A ball with an enhancing spot, on oblique and flipped axes."""
        k, j, i = np.mgrid[:3, :32, :32]
        voxels = np.where((i - 16) ** 2 + (j - 16) ** 2 < 150, 100.0, 2.0) + 3 * np.cos(i + 2 * j + k)
        voxels[(i - 20) ** 2 + (j - 12) ** 2 < 9] *= enhancement
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy((-0.48, 0.6, 0, 10, 0.64, 0.45, 0, -20, 0, 0, 3, 5, 0, 0, 0, 1))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        slicer.util.updateVolumeFromArray(node, voxels.astype(np.float32))
        node.SetIJKToRASMatrix(matrix)
        return node
