"""The self-test of the Slicer module: through the panel and the logic, on the scene of the application.

Slicer's button "Reload and Test" runs it, CTest, and as far as it can without the application, pytest. In a checkout
LIPCAR.py finds it here; CMake puts it into the package LIPCARLib.slicer.
"""

import contextlib
import importlib.util
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from LIPCARLib.errors import LIPCARError
from LIPCARLib.slicer.logic import LIPCARLogic
from LIPCARLib.slicer.widget import LIPCARWidget


class _Declined:
    """PyTorch is missing, and the user does not want it installed."""

    def missing(self):
        return ["torch"]

    def install(self):
        pass


class _Messages:
    """Keeps what would be shown in dialogs."""

    def __init__(self):
        self.shown = []

    def show_error(self, text, details=""):
        self.shown.append(text)

    def busy(self):
        return contextlib.nullcontext()


def _services(**others):
    """Slicer's, but for some."""
    from LIPCARLib.slicer.application import slicer_services  # SimpleITK comes with it: not at Slicer's start

    return replace(slicer_services(), **others)


class LIPCARTest(ScriptedLoadableModuleTest):
    """Runs by Slicer's own runTest and by unittest alike, hence no helper with such a name and no skipping."""

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.logic = LIPCARLogic()
        self._panels = []

    def tearDown(self):
        self.logic.cleanup()
        for panel in self._panels:
            panel.cleanup()
            signal = "moduleAboutToBeUnloaded(QString)"
            slicer.app.moduleManager().disconnect(signal, panel._onModuleAboutToBeUnloaded)
            panel.parent.deleteLater()

    def test_outputLiesOnTheInput(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            self.assertRaises(LIPCARError, self.logic.start, lowdose, predose)  # it says how to get them
            return
        loaded = "torch" in sys.modules
        output = self.logic.process(lowdose, predose, device="cpu")
        self.assertEqual("torch" in sys.modules, loaded)  # the engine has a process of its own
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

    def test_theAcquisitionIsTold(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        output = self.logic.process(lowdose, predose, model="signal", device="cpu")
        self.assertTrue(output.GetAttribute("LIPCAR.acquisition").startswith("assumed: spin echo"))
        self.assertIn("is not known", " ".join(self.logic.notices))
        told = {"ScanningSequence": "GR", "RepetitionTime": 0.008, "FlipAngle": 20}
        output = self.logic.process(lowdose, predose, output, model="signal", acquisition=told, device="cpu")
        self.assertTrue(output.GetAttribute("LIPCAR.acquisition").startswith("told: spoiled gradient echo"))

    def test_slicesAndExtras(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        extras = ["prior", "enhancement", "data_consistency"]
        highdose = self._addVolume("highdose", 2.5)
        options = {"highdoseVolume": highdose, "slices": (1, 3), "extras": extras, "alpha": 0.01, "device": "cpu"}
        output = self.logic.process(lowdose, predose, **options)
        self.assertEqual(output.GetImageData().GetDimensions(), (48, 40, 2))
        for role in (*extras, "metrics", "convergence", "highdose"):
            self.assertIsNotNone(output.GetNodeReference("LIPCAR." + role), role)
        table = output.GetNodeReference("LIPCAR.metrics")
        self.assertEqual(table.GetNumberOfRows(), 12)  # four images: a mean and two slices of each
        windows = {
            (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel())
            for node in (output, output.GetNodeReference("LIPCAR.prior"))
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
        self.logic.cleanup()
        self.logic = LIPCARLogic(_services(slot_seconds=0.0))  # so that three turns are too few
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
        self.assertIn("7 everywhere", panel.ui.problemLabel.text)

    def test_panelResamples(self):
        lowdose, predose = self._addPair()
        predose.SetSpacing(0.9, 0.75, 3)
        panel = self._openPanel()
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        panel.checkInputs()
        self.assertIn("resampled", panel.ui.detailsLabel.text)
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
        self.assertTrue(panel.ui.compareButton.enabled)
        self.assertFalse(panel.ui.convergenceButton.enabled)  # by default nothing is solved
        self.assertFalse(panel.ui.metricsButton.enabled)

    def test_alphaIsAutomaticUnlessUnchecked(self):
        panel = self._openPanel()
        node, box = panel._parameterNode, panel.ui.alphaAutoCheckBox
        numbers = panel.ui.alphaSlider, panel.ui.alphaSpinBox
        self.assertTrue(box.checked and box.enabled)
        self.assertFalse(any(widget.enabled for widget in numbers))
        self.assertEqual(panel.request().alpha, "auto")
        node.alpha, node.alphaAuto = 0.02, False
        self.assertTrue(box.enabled and not box.checked and all(widget.enabled for widget in numbers))
        self.assertEqual(panel.request().alpha, 0.02)
        node.alphaAuto, node.solver = True, "adam"
        self.assertFalse(box.enabled or box.checked)
        self.assertTrue(all(widget.enabled for widget in numbers))
        self.assertEqual(panel.request().alpha, 0.02)
        node.solver = "proximal"
        self.assertTrue(box.enabled and box.checked)
        self.assertEqual(panel.request().alpha, "auto")

    def test_missingPackagesAreNamed(self):
        lowdose, predose = self._addPair()
        dialogs = _Messages()
        panel = self._ownPanel(packages=_Declined(), dialogs=dialogs)
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        panel.onApplyButton()
        self.assertEqual(len(dialogs.shown), 1)
        self.assertIn("PyTorch", dialogs.shown[0])
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
        self.assertIsNone(panel.request().dose_fraction)
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
        self.assertAlmostEqual(panel.request().dose_fraction, 0.1)
        self.assertAlmostEqual(panel.ui.doseFractionSpinBox.value, 0.1)
        self.assertEqual(panel.ui.alphaSlider.value, 230)
        self.assertFalse(node.alphaAuto or panel.ui.alphaAutoCheckBox.checked)
        node.solver = "proximal"
        self.assertFalse(panel.ui.alphaAutoCheckBox.checked)
        panel.ui.alphaAutoCheckBox.click()
        self.assertTrue(node.alphaAuto)

    def test_sceneKeepsResultsAndWhatBelongsToThem(self):
        lowdose, predose = self._addPair()
        if self.logic.missingPackages():
            return
        output = self.logic.process(lowdose, predose, device="cpu", evidence=True, slices=(1, 3))
        panel = self._openPanel()
        panel._parameterNode.lowdoseVolume, panel._parameterNode.predoseVolume = lowdose, predose
        panel.ui.segmentationSelector.setCurrentNode(self._addSegmentation(lowdose))
        panel.ui.measureButton.click()
        panel._regions.finish()
        roles = "consistency", "equation", "uncertainty", "findings", "finding_table", "regions"
        voxels = slicer.util.arrayFromVolume(output.GetNodeReference("LIPCAR.consistency")).copy()
        measured = output.GetNodeReference("LIPCAR.regions").GetCellText(0, 4)
        with tempfile.TemporaryDirectory() as folder:
            for scene in (Path(folder) / "scene.mrb", Path(folder) / "bundle"):
                if scene.suffix:
                    self.assertTrue(slicer.util.saveScene(str(scene)))
                else:  # the scene and its files, as in a bundle but not packed
                    scene.mkdir()
                    slicer.app.applicationLogic().SaveSceneToSlicerDataBundleDirectory(str(scene), None)
                    (scene,) = scene.rglob("*.mrml")
                slicer.mrmlScene.Clear()
                slicer.util.loadScene(str(scene))
                panel = self._openPanel()
                self.assertEqual(panel.ui.resultsList.count, 1)
                output = panel._parameterNode.outputVolume
                self.assertEqual([role for role in roles if not output.GetNodeReference("LIPCAR." + role)], [])
                kept = slicer.util.arrayFromVolume(output.GetNodeReference("LIPCAR.consistency"))
                self.assertEqual(np.sort(kept.ravel()).tolist(), np.sort(voxels.ravel()).tolist())
                self.assertEqual(output.GetNodeReference("LIPCAR.regions").GetCellText(0, 4), measured)
                segments = output.GetNodeReference("LIPCAR.findings").GetSegmentation()
                self.assertEqual(segments.GetNumberOfSegments(), 2)
                self.assertTrue(panel.ui.consistencyButton.enabled and panel.ui.measureButton.enabled)
                panel.ui.measureButton.click()  # the slices may be turned around by now
                panel._regions.finish()
                self.assertEqual(output.GetNodeReference("LIPCAR.regions").GetCellText(0, 4), measured)

    def test_sampleDataIsThere(self):
        try:
            import SampleData
        except ImportError:
            return
        from LIPCAR import registerSampleData

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

    def _ownPanel(self, **services):
        """A second panel, in a window of its own, with other collaborators than Slicer's."""
        panel = LIPCARWidget(None, _services(**services))
        self._panels.append(panel)
        return panel

    def _finish(self, panel):
        while panel.logic.isRunning():
            slicer.app.processEvents()

    def _matrix(self, node):
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        return [matrix.GetElement(row, column) for row in range(4) for column in range(4)]

    def _addSegmentation(self, volume):
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        identity = node.GetSegmentation().AddEmptySegment("", "spot")
        spot = (slicer.util.arrayFromVolume(volume) > 110).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(spot, node, identity, volume)
        return node

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
