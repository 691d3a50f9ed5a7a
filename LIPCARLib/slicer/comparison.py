"""Images of one result looked at together, side by side or in turn, in one window until that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from .services import Views
from .windows import LinkedWindows


class Comparison:
    """Begins and ends; `changed` is called when the images side by side ended, by whatever."""

    def __init__(self, views: Views, changed: Callable[[], None]) -> None:
        self._views = views
        self._changed = changed
        self._windows = LinkedWindows()
        self.active = False

    def begin(self, output: Any) -> None:
        """All images side by side."""
        from .mrml import related

        roles = ("predose", _("Pre-dose")), ("lowdose", _("Low-dose")), ("prior", _("Prior"))
        images = [(label, related(output, role)) for role, label in roles]
        images += [(_("LIP-CAR (simulated)"), output), (_("High-dose"), related(output, "highdose"))]
        images = [(label, volume) for label, volume in images if volume]
        self._windows.begin([output, *(volume for _label, volume in images if volume is not output)])
        self.active = True
        self._views.show_side_by_side(images, output, int(output.GetAttribute("LIPCAR.slice_axis")), self._on_ended)

    def show_faded(self, lowdose: Any, output: Any, opacity: float) -> None:
        """One over the other, in the same place."""
        self._end_side_by_side()
        self._windows.begin([output, lowdose])
        self._views.show(lowdose, output, opacity)

    def end(self) -> None:
        self._end_side_by_side()
        self._windows.end()

    def _end_side_by_side(self) -> None:
        if self.active:
            self._views.end_side_by_side()
            self._on_ended()

    def _on_ended(self) -> None:
        if not self.active:
            return
        self.active = False
        self._windows.end()
        self._changed()
