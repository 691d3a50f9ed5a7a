"""The part of the panel that shows what a result volume has to show."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from .parameters import LIPCARParameterNode
from .services import Views


class ResultBox:
    """Its buttons: side by side, convergence, metrics. The output volume's own record says what there is to show,
    after the scene was reloaded too.

    Attributes:
        node: the parameters, None while the panel shows none.
    """

    def __init__(self, ui: Any, views: Views) -> None:
        self._ui = ui
        self._views = views
        self.node: LIPCARParameterNode | None = None

    def update(self) -> None:
        from .mrml import provenance_of, related

        output: Any = self.node.outputVolume if self.node else None
        made = provenance_of(output) if output else {}
        self._ui.compareButton.enabled = self._ui.dicomButton.enabled = bool(made)
        self._ui.convergenceButton.enabled = bool(made) and related(output, "convergence") is not None
        self._ui.metricsButton.enabled = bool(made) and related(output, "metrics") is not None
        text = _("{name}: model {model}, alpha {alpha}, {solver}, slices {slices}.")
        self._ui.resultLabel.text = text.format(name=output.GetName(), **made) if made else _("No result yet.")

    def compare(self) -> None:
        from .mrml import related

        if self.node is None:
            return
        output = self.node.outputVolume
        roles = ("predose", _("Pre-dose")), ("lowdose", _("Low-dose")), ("prior", _("Prior"))
        images = [(label, related(output, role)) for role, label in roles]
        images += [(_("LIP-CAR"), output), (_("High-dose"), related(output, "highdose"))]
        axis = int(output.GetAttribute("LIPCAR.slice_axis"))
        self._views.show_side_by_side([(label, volume) for label, volume in images if volume], output, axis)

    def show_convergence(self) -> None:
        from .mrml import related

        if self.node is not None:
            self._views.show_chart(related(self.node.outputVolume, "convergence"))

    def show_metrics(self) -> None:
        from .mrml import related

        if self.node is not None:
            self._views.show_table(related(self.node.outputVolume, "metrics"))
