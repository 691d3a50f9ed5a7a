"""The words "simulated, research only" in every slice view that shows a result, and so in every screenshot of it."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

ATTRIBUTE = "LIPCAR.model"
"""What a node has that is simulated."""


class SimulatedMark:
    """A line of text at the head of the slice views of the main window; it needs no panel to be open."""

    def __init__(self) -> None:
        self._views: dict[str, tuple[Any, Any, Any]] = {}  # kept: an observer may go with the wrapper of its node
        self._manager = slicer.app.layoutManager()
        if self._manager:
            self._manager.connect("layoutChanged(int)", self._update_views)
            self._update_views()

    def _update_views(self, layout: int = 0) -> None:
        """Views are made when a layout first needs them."""
        for name in self._manager.sliceViewNames():
            if name not in self._views:
                self._add(name, self._manager.sliceWidget(name))

    def _add(self, name: str, widget: Any) -> None:
        actor = vtk.vtkTextActor()
        actor.SetInput(_("SIMULATED - research only"))
        actor.GetTextProperty().SetColor(1.0, 0.8, 0.2)
        actor.GetTextProperty().SetShadow(True)
        actor.GetTextProperty().SetJustificationToCentered()
        actor.GetTextProperty().SetVerticalJustificationToTop()
        actor.GetTextProperty().SetFontSize(14)
        actor.GetPositionCoordinate().SetCoordinateSystemToNormalizedViewport()
        actor.GetPositionCoordinate().SetValue(0.5, 0.9)
        widget.sliceView().renderWindow().GetRenderers().GetFirstRenderer().AddViewProp(actor)
        composite = widget.mrmlSliceCompositeNode()
        self._views[name] = composite, actor, widget.sliceView()
        composite.AddObserver(vtk.vtkCommand.ModifiedEvent, self._update)
        self._update()

    def _update(self, caller: object = None, event: str = "") -> None:
        for composite, actor, view in self._views.values():
            shown = _shows_result(composite)
            if shown != bool(actor.GetVisibility()):
                actor.SetVisibility(shown)
                view.scheduleRender()


def _shows_result(composite: Any) -> bool:
    shown = [composite.GetBackgroundVolumeID()]
    if composite.GetForegroundOpacity() > 0:
        shown.append(composite.GetForegroundVolumeID())
    nodes = [slicer.mrmlScene.GetNodeByID(identity) for identity in shown if identity]
    return any(node is not None and node.GetAttribute(ATTRIBUTE) is not None for node in nodes)
