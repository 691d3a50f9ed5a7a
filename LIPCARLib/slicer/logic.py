"""The logic of the module: one computation at a time, a step at a time on the main thread; results into the scene.

Slicer imports this file at its start. What needs SimpleITK is imported where the panel opens, what needs torch where a
computation starts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin

from ..errors import LIPCARError
from .dependencies import HOW_TO_GET
from .inputs import CheckedInputs
from .parameters import ALPHA_AUTO, LIPCARParameterNode
from .services import Services, VolumeNode

if TYPE_CHECKING:
    from ..imaging import Examination
    from ..inverse import Progress, Result


class LIPCARLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """Runs reconstructions, one at a time, on the main thread: from a timer, or to the end in `process`.

    Attributes:
        notices: what the engine found odd about the inputs of the last run and, at its end, its result, as sentences.
        lastResult: the engine's Result of the last run that came to its end, without its volumes' nodes.
    """

    def __init__(self, services: Services | None = None) -> None:
        from .application import slicer_services

        ScriptedLoadableModuleLogic.__init__(self)
        VTKObservationMixin.__init__(self)
        self.notices: tuple[str, ...] = ()
        self.lastResult: Result | None = None
        self._services = services or slicer_services()
        self._run: _Run | None = None
        self._inputs = CheckedInputs(self._services.dialogs.busy)
        self._timer = self._services.timer()  # one for good: a timer that is let go within its own slot may crash
        self._timer.connect("timeout()", self._advance)

    def cleanup(self) -> None:
        """Cancel, and let go of what keeps this object alive."""
        self.cancel()
        self.forgetInputs()
        self._timer.disconnect("timeout()", self._advance)

    def getParameterNode(self) -> LIPCARParameterNode:
        return LIPCARParameterNode(super().getParameterNode())

    def missingPackages(self) -> list[str]:
        return self._services.packages.missing()

    def installDependencies(self) -> None:
        """Offer to install what is missing; `start` complains of the rest."""
        self._services.packages.install()

    def examinationOf(
        self,
        lowdoseVolume: VolumeNode,
        predoseVolume: VolumeNode | None = None,
        highdoseVolume: VolumeNode | None = None,
        matchPredose: bool = True,
    ) -> Examination:
        """The checked inputs; kept until one of them changes. Raises LIPCARError where they do not fit."""
        return self._inputs.examination(lowdoseVolume, predoseVolume, highdoseVolume, matchPredose)

    def forgetInputs(self) -> None:
        """Give back the memory of the checked inputs."""
        self._inputs.forget()

    def process(
        self,
        lowdoseVolume: VolumeNode,
        predoseVolume: VolumeNode | None = None,
        outputVolume: VolumeNode | None = None,
        alpha: float | str = ALPHA_AUTO,
        **options: Any,
    ) -> VolumeNode:
        """Simulate the high-dose volume and wait for it; returns the output node, raises what went wrong.

        :param options: as in `start`, but for the callbacks.
        """
        nodes: list[VolumeNode] = []
        errors: list[Exception] = []
        callbacks: dict[str, Any] = {"doneCallback": nodes.append, "errorCallback": errors.append}
        self.start(lowdoseVolume, predoseVolume, outputVolume, alpha, **options, **callbacks)
        self.waitForCompletion()
        if errors:
            raise errors[0]
        return nodes[0]

    def start(
        self,
        lowdoseVolume: VolumeNode,
        predoseVolume: VolumeNode | None = None,
        outputVolume: VolumeNode | None = None,
        alpha: float | str = ALPHA_AUTO,
        model: str | None = None,
        device: str = "auto",
        highdoseVolume: VolumeNode | None = None,
        solver: str = "proximal",
        iterations: int | None = None,
        matchPredose: bool = True,
        doseFraction: float | None = None,
        acquisition: Mapping[str, Any] | None = None,
        slices: tuple[int, int | None] = (0, None),
        extras: Sequence[str] = (),
        isPreview: bool = False,
        progressCallback: Callable[[Progress], object] | None = None,
        doneCallback: Callable[[VolumeNode | None], object] | None = None,
        errorCallback: Callable[[Exception], object] | None = None,
    ) -> None:
        """Begin a computation that the event loop carries on, and return.

        :param outputVolume: a node to update; None for a new one.
        :param alpha: a number, which the solver "adam" needs, or the name of a rule of LIPCARLib.inverse.alpha.
        :param model: name of a shipped model or folder of any; None chooses by whether there is a pre-dose volume.
        :param highdoseVolume: a reference to measure the result against; the result does not depend on it.
        :param iterations: None for the solver's default.
        :param matchPredose: whether to bring the pre-dose volume to the place and receiver gain of the low-dose volume.
        :param doseFraction: the low dose over the full one, from 0.01 to 1; None for about a fifth.
        :param acquisition: keys of a BIDS sidecar (ScanningSequence, RepetitionTime in seconds, FlipAngle, ...); None
            for what Slicer's DICOM database knows of the volumes. What is not known is assumed and noticed.
        :param slices: first slice to compute, from 0, and the one after the last; None for the end.
        :param extras: of "prior", "enhancement", "data_consistency": volumes to make beside the output.
        :param isPreview: whether to leave out the convergence plot and, with a reference, the table of metrics.
        :param progressCallback: is given LIPCARLib's Progress.
        :param doneCallback: is given the output node, or None after a cancel.
        :param errorCallback: is given what was raised later; unsuitable input raises LIPCARError here and now.
        """
        volumes = {"lowdose": lowdoseVolume, "predose": predoseVolume, "highdose": highdoseVolume}
        self._refuse(volumes, outputVolume)
        from ..inverse import default_model, load_model, reconstruct

        whole = self.examinationOf(lowdoseVolume, predoseVolume, highdoseVolume, matchPredose)
        examination = self._withAcquisition(
            whole.part(slices[0], slices[1] or len(whole.lowdose)), volumes, acquisition
        )
        name = model or default_model(examination.predose is not None, examination.predose_doubtful)
        steps = reconstruct(
            examination,
            load_model(self._services.shipped_models().get(name, name)),
            alpha=alpha,
            solver=solver,
            iterations=iterations,
            device=device,
            data_consistency="data_consistency" in extras,
            dose_fraction=doseFraction,
        )
        self.notices = examination.notices
        self._run = _Run(
            self._delivered(steps, examination, volumes, outputVolume, list(extras), isPreview),
            [node for node in (*volumes.values(), outputVolume) if node is not None],
            progressCallback or _ignore,
            doneCallback or _ignore,
            errorCallback or _log,
        )
        scene = lowdoseVolume.GetScene()
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
        self._timer.start()

    def exportDicom(self, outputVolume: VolumeNode, parentFolder: str | Path) -> Path:
        """Write a result as a DICOM MR series into a new folder there, which is returned."""
        from .dicom import export_series

        return export_series(outputVolume, parentFolder, self._services.dicom_file)

    def isRunning(self) -> bool:
        return self._run is not None

    def cancel(self) -> None:
        """Stop the computation, if there is one; no node is changed."""
        run = self._release()
        if run:
            run.onDone(None)

    def waitForCompletion(self) -> None:
        """Compute to the end here and now; the callbacks are called as ever."""
        while self.isRunning():
            self._advance()

    def _withAcquisition(
        self, examination: Examination, volumes: dict[str, VolumeNode | None], told: Mapping[str, Any] | None
    ) -> Examination:
        from ..imaging import acquisition_of_keys
        from .dicom import acquisition_of

        notices: list[str] = []
        known = acquisition_of(volumes, self._services.dicom_file, notices)
        if told is not None:
            known = acquisition_of_keys(told, _("The acquisition"))
        return replace(examination, acquisition=known, notices=(*examination.notices, *notices))

    def _refuse(self, volumes: dict[str, VolumeNode | None], output: VolumeNode | None) -> None:
        if self.isRunning():
            raise LIPCARError(_("A computation is running. Cancel it or wait for its end."))
        if volumes["lowdose"] is None:
            raise LIPCARError(_("There is no low-dose volume. Choose one."))
        if output is not None and output in volumes.values():
            raise LIPCARError(_("The output volume is one of the inputs. Choose another one."))
        for package in self.missingPackages():
            raise LIPCARError(HOW_TO_GET[package])

    def _delivered(
        self,
        steps: Generator[Progress, None, Result],
        examination: Examination,
        volumes: dict[str, Any],
        outputVolume: VolumeNode | None,
        extras: list[str],
        isPreview: bool,
    ) -> Generator[Progress, None, VolumeNode]:
        """The engine's progress, step by step; at the end the result goes into the scene in one go and is returned."""
        from ..inverse import Progress, mapped
        from ..study import examination_metrics
        from .mrml import add_volumes
        from .tables import add_convergence, add_metrics, forget_tables

        result = yield from steps
        self.lastResult = result
        self.notices = (*examination.notices, *result.notices)
        examination = replace(examination, notices=self.notices)  # for the output's own record
        if isPreview:
            return add_volumes(examination, result, output=outputVolume, name=_("LIPCAR preview"), **volumes)
        metrics = None
        if examination.highdose is not None:
            finished = Progress(len(result.prior), len(result.prior), 1.0, 0.0, result.provenance["device"])
            metrics = yield from mapped(examination_metrics(examination, result), lambda nothing: finished)
        output = add_volumes(examination, result, output=outputVolume, extras=extras, **volumes)
        forget_tables(output)
        if any(len(values) > 1 for values in result.objective):  # else nothing was solved, and a line needs two points
            add_convergence(result.objective, output)
        if metrics:
            add_metrics(metrics, examination.first_slice, output)
        return output

    def _onSceneClose(self, caller: object, event: str) -> None:
        self.cancel()
        self.forgetInputs()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAboutToBeRemoved(self, caller: object, event: str, node: object) -> None:
        if self._run and node in self._run.nodes:
            self.cancel()

    def _advance(self) -> None:
        """Compute for one slot."""
        run, until = self._run, time.monotonic() + self._services.slot_seconds
        if run is None:
            return
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

    def _release(self) -> _Run | None:
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

    steps: Generator[Progress, None, VolumeNode]
    nodes: list[VolumeNode]
    onProgress: Callable[[Progress], object]
    onDone: Callable[[VolumeNode | None], object]
    onError: Callable[[Exception], object]


def _ignore(event: object) -> None:
    pass


def _log(error: Exception) -> None:
    logging.error(error, exc_info=error)
