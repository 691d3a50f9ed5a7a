"""All images of one result side by side, in one window while they are compared and in their own afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .services import Views


class Comparison:
    """Begins and ends; `changed` is called when it ended, by whatever."""

    def __init__(self, views: Views, changed: Callable[[], None]) -> None:
        self._views = views
        self._changed = changed
        self._windows: list[tuple[Any, bool, float, float]] = []
        self.active = False

    def begin(self, output: Any) -> None:
        from .mrml import related, window_of

        roles = ("predose", _("Pre-dose")), ("lowdose", _("Low-dose")), ("prior", _("Prior"))
        images = [(label, related(output, role)) for role, label in roles]
        images += [(_("LIP-CAR (simulated)"), output), (_("High-dose"), related(output, "highdose"))]
        images = [(label, volume) for label, volume in images if volume]
        lowest, highest = window_of(output)
        self._windows = []
        for _label, volume in images:
            volume.CreateDefaultDisplayNodes()
            display = volume.GetScalarVolumeDisplayNode()
            self._windows.append((display, bool(display.GetAutoWindowLevel()), *window_of(volume)))
            display.AutoWindowLevelOff()
            display.SetWindowLevelMinMax(lowest, highest)
        self.active = True
        self._views.show_side_by_side(images, output, int(output.GetAttribute("LIPCAR.slice_axis")), self._on_ended)

    def end(self) -> None:
        if self.active:
            self._views.end_side_by_side()
            self._on_ended()

    def _on_ended(self) -> None:
        if not self.active:
            return
        self.active = False
        for display, automatic, lowest, highest in self._windows:
            display.SetWindowLevelMinMax(lowest, highest)
            display.SetAutoWindowLevel(automatic)
        self._windows = []
        self._changed()
