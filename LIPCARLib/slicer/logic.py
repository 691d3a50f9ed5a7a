"""The logic of the module: one computation at a time, a step at a time on the main thread; results into the scene.

Slicer imports this file at its start. What needs SimpleITK is imported where the panel opens, what needs torch where a
computation starts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic
from slicer.util import VTKObservationMixin

from ..doubt import STOP
from ..errors import LIPCARError
from .background import waited
from .dependencies import HOW_TO_GET
from .inputs import CheckedInputs
from .parameters import ALPHA_AUTO, LIPCARParameterNode
from .request import Request, not_forced, unsuitable, unsuitable_together
from .services import Services, VolumeNode, Worker

if TYPE_CHECKING:
    from ..engine import Engine
    from ..imaging import Examination
    from ..inverse import Progress, Result
    from ..physics import Acquisition


class LIPCARLogic(ScriptedLoadableModuleLogic, VTKObservationMixin):
    """Runs reconstructions, one at a time, on the main thread: from a timer, or to the end in `process`.

    Attributes:
        notices: what the engine found odd about the inputs of the last run and, at its end, its result, as sentences.
        devices: name and words of what can compute; None until that is known.
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
        self.devices: list[tuple[str, str]] | None = None
        self._devicesAt = ""  # the engine's address
        self._inputs = CheckedInputs(self._services.worker, self._services.slot_seconds)
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

    def checked(self, request: Request) -> Generator[None, None, Examination]:
        """The examination of a request's volumes, kept until one of them changes; see `CheckedInputs.examined`."""
        self._warm(request)
        return self._inputs.examined(request)

    def examinationOf(
        self,
        lowdoseVolume: VolumeNode,
        predoseVolume: VolumeNode | None = None,
        highdoseVolume: VolumeNode | None = None,
        matchPredose: bool = True,
    ) -> Examination:
        """The same, here and now. Raises LIPCARError where the volumes do not fit."""
        steps = self.checked(Request(lowdoseVolume, predoseVolume, highdoseVolume, match_predose=matchPredose))
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                examination: Examination = stop.value
                return examination

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
        engine: str = "",
        highdoseVolume: VolumeNode | None = None,
        solver: str = "proximal",
        iterations: int | None = None,
        matchPredose: bool = True,
        doseFraction: float | None = None,
        acquisition: Mapping[str, Any] | None = None,
        slices: tuple[int, int | None] = (0, None),
        extras: Sequence[str] = (),
        t1Map: VolumeNode | None = None,
        isPreview: bool = False,
        evidence: bool = False,
        force: bool = False,
        progressCallback: Callable[[Progress], object] | None = None,
        doneCallback: Callable[[VolumeNode | None], object] | None = None,
        errorCallback: Callable[[Exception], object] | None = None,
    ) -> None:
        """Begin a computation that the event loop carries on, and return.

        What is known to be unsuitable raises LIPCARError here and now; what the images themselves show, later.

        :param outputVolume: a node to write over; None for a new one.
        :param alpha: a number, which the solver "adam" needs, or the name of a rule of LIPCARLib.inverse.alpha.
        :param model: name of a shipped model or folder of any; None chooses by whether there is a pre-dose volume.
        :param engine: "host:port" where `lipcar serve` runs; "" for this computer.
        :param highdoseVolume: a reference to measure the result against; the result does not depend on it.
        :param iterations: None for the solver's default.
        :param matchPredose: whether to bring the pre-dose volume to the place and receiver gain of the low-dose volume.
        :param doseFraction: the low dose over the full one, from 0.01 to 1; None for about a fifth.
        :param acquisition: keys of a BIDS sidecar (ScanningSequence, RepetitionTime in seconds, FlipAngle, ...); None
            for what Slicer's DICOM database knows of the volumes. What is not known is assumed and noticed.
        :param t1Map: T1 before the agent in seconds or milliseconds, on the grid of the low-dose volume.
        :param slices: first slice to compute, from 0, and the one after the last; None for the end.
        :param extras: of "prior", "difference", "enhancement", "data_consistency": volumes to make beside the output.
        :param isPreview: whether to compute the slice on screen alone, into a hidden volume without tables and charts.
        :param evidence: whether to make what speaks for and against the result: maps, findings, a verdict.
        :param force: whether to make a result whose verdict is "do not use"; without it, that raises LIPCARError.
        :param progressCallback: is given LIPCARLib's Progress.
        :param doneCallback: is given the output node, or None after a cancel.
        :param errorCallback: is given what was raised later.
        """
        request = Request(
            lowdoseVolume,
            predoseVolume,
            highdoseVolume,
            t1Map,
            outputVolume,
            alpha,
            model,
            device,
            engine,
            solver,
            iterations,
            matchPredose,
            doseFraction,
            acquisition,
            slices,
            extras,
            isPreview,
            evidence,
            force,
        )
        self.run(request, progressCallback, doneCallback, errorCallback)

    def run(
        self,
        request: Request,
        progressCallback: Callable[[Progress], object] | None = None,
        doneCallback: Callable[[VolumeNode | None], object] | None = None,
        errorCallback: Callable[[Exception], object] | None = None,
    ) -> None:
        """The same of a request."""
        if self.isRunning():
            raise LIPCARError(_("A computation is running. Cancel it or wait for its end."))
        for problem in self.unsuitable(request):
            raise LIPCARError(problem)
        for package in [] if request.engine else self.missingPackages():
            raise LIPCARError(HOW_TO_GET[package])
        self._warm(request)
        worker = self._services.worker()
        self._run = _Run(
            self._delivered(request, self._examined(request), worker),
            worker,
            request.nodes,
            progressCallback or _ignore,
            doneCallback or _ignore,
            errorCallback or _log,
        )
        scene = request.nodes[0].GetScene()
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneClose)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved)
        self._timer.start()

    def unsuitable(self, request: Request) -> list[str]:
        """What keeps a request from being computed, as sentences; before anything is."""
        known = self.devices if request.engine == self._devicesAt else None
        devices = None if known is None else [name for name, _words in known]
        return unsuitable(request, self._services.shipped_models(), devices)

    def exportDicom(self, outputVolume: VolumeNode, parentFolder: str | Path, notices: list[str] | None = None) -> Path:
        """Write a result as a DICOM MR series into a new folder there, which is returned.

        :param notices: where sentences for the user are appended: what was mended in the header, and the like.
        """
        from .dicom import export_series

        found = [] if notices is None else notices
        return export_series(outputVolume, parentFolder, self._services.dicom_file, found)

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

    def _examined(self, request: Request) -> Generator[None, None, Examination]:
        """The part of the inputs to compute, with all that is told of them; copies the voxels here and now."""
        from .geometry import image_of

        name = None if request.t1_map is None else _("The T1 map '{name}'").format(name=request.t1_map.GetName())
        t1_map = None if name is None else image_of(request.t1_map, name, request.lowdose)
        whole = self._inputs.examined(request)
        notices: list[str] = []
        acquisition = self.acquisitionOf(request, notices)

        def steps() -> Generator[None, None, Examination]:
            examination = yield from whole
            for problem in unsuitable_together(request, examination):
                raise LIPCARError(problem)
            first, stop = request.slices
            if request.is_preview:
                first = self._services.views.slice_on_screen(request.lowdose, examination.slice_axis)
                stop = first + 1
            if t1_map is not None and name is not None:
                examination = examination.with_t1_map(t1_map, name)
            examination = examination.part(first, stop or len(examination.lowdose))
            return replace(examination, acquisition=acquisition, notices=(*examination.notices, *notices))

        return steps()

    def acquisitionOf(self, request: Request, notices: list[str] | None = None) -> Acquisition | None:
        """How the volumes were acquired, as told or as Slicer's DICOM database knows; None where nothing tells it.

        :param notices: where sentences for the user are appended.
        """
        from ..imaging import acquisition_of_keys
        from .dicom import acquisition_of

        known = acquisition_of(request.volumes, self._services.dicom_file, [] if notices is None else notices)
        if request.acquisition is None:
            return known
        return acquisition_of_keys(request.acquisition, _("The acquisition"))

    def loadEngine(self, address: str = "") -> Generator[None, None, Engine]:
        """The engine at an address, once it is there and has told what can compute; the window stays alive."""
        engine = self._services.engine(address)
        if self.devices is None or address != self._devicesAt:
            self.devices, self._devicesAt = (yield from engine.devices()), address
        return engine

    def _warm(self, request: Request) -> None:
        """So that torch is loaded by the time that it is needed."""
        if not request.engine and not self.missingPackages():
            self._services.engine("").start()

    def _delivered(
        self, request: Request, examined: Generator[None, None, Examination], worker: Worker
    ) -> Generator[Progress | None, None, VolumeNode]:
        """The engine's progress, step by step; at the end the result goes into the scene in one go and is returned."""
        slot = self._services.slot_seconds
        examination = yield from examined
        self.notices = examination.notices
        engine = yield from self.loadEngine(request.engine)
        for problem in self.unsuitable(request):  # what can compute here is known by now
            raise LIPCARError(problem)
        from ..engine import Asked
        from ..inverse import default_model
        from .mrml import add_volumes, hidden, prepare
        from .tables import add_convergence, add_metrics, forget_tables
        from .trust import add_evidence, prepare_maps

        name = request.model or default_model(examination.predose is not None, examination.predose_doubtful)
        asked = Asked(
            model=name if request.engine else str(self._services.shipped_models().get(name, name)),
            alpha=request.alpha,
            solver=request.solver,
            iterations=request.iterations,
            device=request.device,
            data_consistency="data_consistency" in request.extras,
            dose_fraction=request.dose_fraction,
            metrics=examination.highdose is not None and not request.is_preview,
            evidence=request.evidence,
            verdict=not request.is_preview,
        )
        answer = yield from engine.enhance(examination, asked)
        result = answer.result
        self.lastResult = result
        self.notices = (*examination.notices, *result.notices)
        examination = replace(examination, notices=self.notices)  # for the output's own record
        prepared = yield from waited(worker.submit(partial(prepare, examination, result, request.extras)), slot)
        yield from prepared.copied()
        volumes: dict[str, Any] = {**request.volumes, "output": request.output, "prepared": prepared}
        if request.is_preview:
            return hidden(add_volumes(examination, result, name=_("LIPCAR preview"), **volumes))
        verdict = answer.verdict
        if verdict and verdict.level == STOP and not request.force:
            raise LIPCARError(not_forced(verdict.reasons))
        maps = None
        if answer.evidence:
            maps = yield from waited(worker.submit(partial(prepare_maps, examination, answer.evidence)), slot)
            yield from maps.copied()
        output = add_volumes(examination, result, extras=request.extras, **volumes)
        forget_tables(output)
        if any(len(values) > 1 for values in result.objective):  # else nothing was solved, and a line needs two points
            add_convergence(result.objective, output)
        if answer.metrics:
            add_metrics(answer.metrics, examination.first_slice, output)
        if verdict:
            add_evidence(examination, answer.evidence, verdict, output, maps)
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
                progress = next(run.steps) or progress  # None while a step is under way
        except StopIteration as stop:
            self._release()
            run.onDone(stop.value)
        except Exception as error:
            self._release()
            run.onError(error)
        else:
            if progress is not None:
                run.onProgress(progress)

    def _release(self) -> _Run | None:
        """Let go of the run, its observers and its memory; returns the run, or None where there was none."""
        run, self._run = self._run, None
        if run:
            self._timer.stop()
            self.removeObservers()
            run.steps.close()
            run.worker.close()
        return run


@dataclass
class _Run:
    """A computation under way: what it needs was taken from the panel at its start."""

    steps: Generator[Progress | None, None, VolumeNode]
    worker: Worker
    nodes: list[VolumeNode]
    onProgress: Callable[[Progress], object]
    onDone: Callable[[VolumeNode | None], object]
    onError: Callable[[Exception], object]


def _ignore(event: object) -> None:
    pass


def _log(error: Exception) -> None:
    logging.error(error, exc_info=error)
