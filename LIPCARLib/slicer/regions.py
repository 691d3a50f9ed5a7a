"""Statistics of a result and its inputs in the segments of a segmentation: the part of the panel, and what it does."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..errors import LIPCARError, advice
from .background import waited
from .parameters import LIPCARParameterNode
from .request import Request
from .services import Services, VolumeNode

if TYPE_CHECKING:
    from ..imaging import RegionStatistics
    from .logic import LIPCARLogic


class RegionBox:
    """Segmentation, background and the button that measures.

    Attributes:
        node: the parameters, None while the panel shows none.
    """

    def __init__(self, ui: Any, services: Services, logic: LIPCARLogic) -> None:
        self._ui, self._services, self._logic = ui, services, logic
        self.node: LIPCARParameterNode | None = None
        self._names: list[str] = []
        self._measured_nodes: tuple[Any, Any] = (None, None)
        self._steps: Generator[None, None, Any] | None = None
        self._turns = services.timer()
        self.connections = [
            (self._turns, "timeout()", self._turn),
            (ui.segmentationSelector, "currentNodeChanged(vtkMRMLNode*)", self.update),
            (ui.measureButton, "clicked()", self.measure),
        ]

    @property
    def _segmentation(self) -> Any:
        return self._ui.segmentationSelector.currentNode()

    def update(self, segmentation: object = None) -> None:
        """Show the segments there are to choose the background from."""
        from .segments import segments_of

        names = list(segments_of(self._segmentation)) if self._segmentation else []
        box = self._ui.backgroundComboBox
        if names != self._names or box.count == 0:
            chosen = box.currentText
            self._names = names
            box.clear()
            box.addItem(_("None: enhancement over the noise"))
            for name in names:
                box.addItem(name)
            box.currentIndex = names.index(chosen) + 1 if chosen in names else 0
        problem = self._problem()
        self._ui.measureButton.enabled = not problem and self._steps is None
        self._ui.measureButton.toolTip = problem or _("Into a table, which is saved with the scene or as a file.")

    def _problem(self) -> str:
        if self.node is None or self.node.outputVolume is None:
            return _("There is no result yet. Click Apply first.")
        if self._segmentation is None:
            return _("Draw regions in the module Segment Editor, or load a segmentation, and choose it here.")
        if not self._names:
            text = _("The segmentation '{name}' has no segments. Draw regions in the module Segment Editor.")
            return text.format(name=self._segmentation.GetName())
        return ""

    def measure(self) -> None:
        self.update()  # segments may have come or gone
        if self._problem() or self.node is None:
            self._ui.regionLabel.text = self._problem()
            return
        self._ui.regionLabel.text = _("Measuring...")
        chosen = self._ui.backgroundComboBox.currentIndex
        background = self._names[chosen - 1] if chosen > 0 else None
        self._measured_nodes = (self.node.outputVolume, self._segmentation)
        self._steps = self._measured(*self._measured_nodes, background)
        self._ui.measureButton.enabled = False
        self._turns.start()

    def stop(self, removed: object = None) -> None:
        """What is under way is left, and nothing comes of it; where a node is removed, only if it was measured in."""
        if self._steps is not None and (removed is None or removed in self._measured_nodes):
            self._turns.stop()
            self._steps = None
            self._ui.regionLabel.text = ""

    def finish(self) -> None:
        """Here and now."""
        while self._steps is not None:
            self._turn()

    def _turn(self) -> None:
        if self._steps is None:
            return
        table, notices = None, list[str]()
        try:
            next(self._steps)
            return
        except StopIteration as stop:
            table, notices = stop.value
        except Exception as error:
            told = advice(error)
            if told is None:
                self.stop()
                raise
            notices = [told]
        self.stop()  # before the table is shown: that gives the event loop a turn
        self._ui.regionLabel.text = " ".join(notices)
        if table is not None:
            self._services.views.show_table(table)
        self.update()

    def _measured(
        self, output: VolumeNode, segmentation: Any, background: str | None
    ) -> Generator[None, None, tuple[Any, list[str]]]:
        from .segments import regions_on
        from .tables import add_regions

        worker, notices = self._services.worker(), list[str]()
        try:
            match = self.node is None or self.node.matchPredose
            images, padding = yield from images_of(output, self._logic, match, notices)
            regions = yield from regions_on(output, segmentation, notices)
            if background not in (None, *regions):
                text = _("The background '{name}' has no voxel in the result. Choose another one.")
                raise LIPCARError(" ".join((*notices, text.format(name=background))))
            work = partial(statistics_of, images, padding, regions, float(np.prod(output.GetSpacing())), background)
            rows = yield from waited(worker.submit(work), self._services.slot_seconds)
        finally:
            worker.close()
        return add_regions(rows, output, segmentation), notices


def images_of(
    output: VolumeNode, logic: LIPCARLogic, match_predose: bool, notices: list[str]
) -> Generator[None, None, tuple[dict[str, np.ndarray], np.ndarray | None]]:
    """A result and the images that it was made from, as they were computed from: on one grid and of one gain.

    Returns:
        (S, H, W) by name; where nothing was measured, boolean, None for nowhere.

    Raises:
        LIPCARError: the inputs do not fit any more.
    """
    from .geometry import ijk_to_ras, image_of
    from .mrml import provenance_of, related

    simulated, axis = _("simulated"), int(provenance_of(output)["slice_axis"])
    nodes = {role: related(output, role) for role in ("lowdose", "predose", "highdose")}
    if nodes["lowdose"] is None:
        notices.append(_("The low-dose volume is not in the scene any more; the result alone was measured."))
        voxels = slicer.util.arrayFromVolume(output).copy()
        return {simulated: np.moveaxis(voxels, 2 - axis, 0)}, None
    own = image_of(output, _("The result '{name}'").format(name=output.GetName()), nodes["lowdose"])
    examination = yield from logic.checked(Request(**nodes, match_predose=match_predose))
    # By the geometry: Slicer turns the slices of a left-handed volume around when it loads it again.
    own_place = np.linalg.solve(ijk_to_ras(nodes["lowdose"]), ijk_to_ras(output)[:, 3])
    first = round(float(own_place[axis]))
    examination = examination.part(first, first + output.GetImageData().GetDimensions()[axis])
    if nodes["predose"] is not None and examination.predose is None:
        notices.append(_("The pre-dose volume does not fit to the low-dose volume and is left out."))
    images = {
        _("pre-dose"): examination.predose,
        _("low-dose"): examination.lowdose,
        simulated: examination.slices_of(own, _("The result")),
        _("high-dose"): examination.highdose,
    }
    return {name: image for name, image in images.items() if image is not None}, examination.padding


def statistics_of(
    images: Mapping[str, np.ndarray],
    padding: np.ndarray | None,
    regions: Mapping[str, np.ndarray],
    voxel_volume: float,
    background: str | None,
) -> list[RegionStatistics]:
    """Rows for the table; touches no node."""
    from ..imaging import noise_deviation, region_statistics

    before = images.get(_("pre-dose"))
    noise = {}
    if background is None:
        noise = {name: noise_deviation(image, before, padding) for name, image in images.items() if image is not before}
    return region_statistics(
        images, regions, voxel_volume, None if before is None else _("pre-dose"), background, noise
    )
