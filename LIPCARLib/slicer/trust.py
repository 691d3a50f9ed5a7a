"""What speaks for and against a result: its evidence in the scene, and the tab that shows it with the verdict."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
from slicer.i18n import tr as _

from ..doubt import GREEN, STOP
from .preflight import MARKS
from .services import Views, VolumeNode
from .wording import level_in_words

if TYPE_CHECKING:
    from ..imaging import Examination
    from ..trust import Evidence, Verdict
    from .mrml import Prepared

OVERLAY = 0.6
"""Opacity of a map over the result."""
REACH = 6.0
"""Standard deviations at the ends of the color scale of the disagreement."""
EXPECTED = 2.0
"""Standard deviations up to which nothing is shown of it."""
COLORS, STEPS = "LIPCARDisagreement", 255
FINDINGS = {"unsupported": (0.9, 0.1, 0.1), "suppressed": (0.1, 0.4, 1.0)}
"""Kinds of findings, in the order of their labels from 1, and their colors."""


def kind_in_words(kind: str) -> str:
    """What a kind of finding means."""
    words = {
        "unsupported": _("added in the result"),
        "suppressed": _("lost in the result"),
    }
    return words.get(kind, kind)


def prepare_maps(examination: Examination, evidence: Evidence) -> Prepared:
    """The maps of the evidence, before the scene is touched."""
    from .mrml import Prepared

    maps = evidence.maps()
    reach = {role: REACH if role != "uncertainty" else float(np.percentile(maps[role], 99.9)) for role in maps}
    return Prepared({role: examination.to_image(volume) for role, volume in maps.items()}, reach)


def add_evidence(
    examination: Examination,
    evidence: Evidence | None,
    verdict: Verdict,
    output: VolumeNode,
    prepared: Prepared | None = None,
) -> None:
    """Put what speaks for and against a result into the scene, below it: maps, findings as segments, and their table.

    The result refers to them (node references "LIPCAR.<map>", "LIPCAR.findings" and "LIPCAR.finding_table"); the
    verdict stands in its attributes "LIPCAR.verdict" and "LIPCAR.verdict_reasons", a reason a line.

    Args:
        examination: what was computed.
        evidence: of the result, None where only the verdict was asked for.
        verdict: of the result.
        output: of `add_volumes` with that result.
        prepared: of `prepare_maps`, where that was done before.
    """
    notices = () if evidence is None else evidence.notices
    output.SetAttribute("LIPCAR.verdict", verdict.level)
    output.SetAttribute("LIPCAR.verdict_reasons", "\n".join((*verdict.reasons, *notices)))
    if evidence is None:
        return
    from .mrml import add_map
    from .segments import add_segments
    from .tables import add_findings

    words = {
        "consistency": _("disagreement"),
        "equation": _("disagreement by the equation"),
        "uncertainty": _("uncertainty"),
    }
    prepared = prepared or prepare_maps(examination, evidence)
    list(prepared.copied())  # what was not before
    for role, voxels in prepared.voxels.items():
        node = add_map(voxels, output, role, words[role], role != "uncertainty", prepared.reach[role])
        if role != "uncertainty":
            node.GetDisplayNode().SetAndObserveColorNodeID(disagreement_colors(output.GetScene()).GetID())
    if evidence.findings is not None:
        labels = np.moveaxis(evidence.findings, 0, 2 - examination.slice_axis)
        segments = [(kind_in_words(kind), color) for kind, color in FINDINGS.items()]
        add_segments(labels, segments, output, "findings", _("findings")).GetDisplayNode().SetVisibility(False)
        add_findings(evidence.table, examination.first_slice, output)


def disagreement_colors(scene: Any) -> Any:
    """The color table of the disagreement: blue below, red above, and nothing at all where the images agree."""
    node = scene.GetFirstNodeByName(COLORS)
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", COLORS)
        node.SetTypeToUser()
        node.SetHideFromEditors(True)
        node.SetNumberOfColors(STEPS)
        for step in range(STEPS):
            place = 2 * step / (STEPS - 1) - 1
            pale = 0.7 * (1 - abs(place))
            color = (1.0, pale, pale) if place > 0 else (pale, pale, 1.0)
            node.SetColor(step, str(step), *color, float(abs(place) * REACH > EXPECTED))
    return node


class TrustTab:
    """Verdict, maps, findings; `stop_others` ends what else is looked at."""

    def __init__(self, ui: Any, views: Views, stop_others: Callable[[], None]) -> None:
        self._ui, self._views, self._stop_others = ui, views, stop_others
        self._output: VolumeNode | None = None
        self._table: Any = None
        self._state: list[Any] = []
        self._places: list[list[float]] = []
        self._buttons = {
            "consistency": ui.consistencyButton,
            "equation": ui.equationButton,
            "uncertainty": ui.uncertaintyButton,
        }
        self.connections = [
            (ui.consistencyButton, "clicked()", self._show_consistency),
            (ui.equationButton, "clicked()", self._show_equation),
            (ui.uncertaintyButton, "clicked()", self._show_uncertainty),
            (ui.findingsButton, "clicked()", self._show_findings),
            (ui.findingsTable, "currentCellChanged(int,int,int,int)", self._jump),
            (ui.findingsTable, "cellClicked(int,int)", self._jump),
        ]

    def update(self, output: VolumeNode | None) -> None:
        """Show what there is of a result."""
        from .mrml import related

        table = None if output is None else related(output, "finding_table")
        state = [output, table, None if table is None else table.GetMTime()]
        if state != self._state:
            self._set_findings_visible(False)
            self._output, self._table, self._state = output, table, state
            self._fill_table()
            self._show_findings()
        for role, button in self._buttons.items():
            button.enabled = output is not None and related(output, role) is not None
        self._ui.findingsButton.enabled = output is not None and related(output, "findings") is not None
        self._show_verdict()

    def stop(self) -> None:
        """No map lies over the result any more."""
        for button in self._buttons.values():
            button.checked = False

    def _show_verdict(self) -> None:
        level = "" if self._output is None else self._output.GetAttribute("LIPCAR.verdict")
        if self._output is None or not level:
            self._ui.verdictLabel.text = _("What speaks for and against a result stands here once there is one.")
            return
        state = {GREEN: "fits", STOP: "stop"}.get(level, "look")
        color, sign = MARKS[state]
        reasons = (self._output.GetAttribute("LIPCAR.verdict_reasons") or "").split("\n")
        headline = _('<span style="color:{color}; font-size:large">{sign}</span> <b>{level}</b>')
        items = "".join(f"<li>{html.escape(reason, quote=False)}</li>" for reason in reasons if reason)
        self._ui.verdictLabel.text = headline.format(color=color, sign=sign, level=level_in_words(level)) + items

    def _fill_table(self) -> None:
        from .tables import PLACE, SHOWN

        table = self._table
        count, box = 0 if table is None else table.GetNumberOfRows(), self._ui.findingsTable
        box.rowCount = 0  # and no row is the current one any more
        box.columnCount, box.rowCount = len(SHOWN), count
        box.setHorizontalHeaderLabels([_("Finding"), _("mm3"), _("Slice"), _("Difference")])
        for row in range(count):
            for column, source in enumerate(SHOWN):
                box.setItem(row, column, qt.QTableWidgetItem(table.GetCellText(row, source)))
        self._places = [[float(table.GetCellText(row, column)) for column in PLACE] for row in range(count)]
        box.visible = count > 0
        box.resizeColumnsToContents()

    def _jump(self, row: int, *_cell: int) -> None:
        from .geometry import in_world

        if self._output is not None and 0 <= row < len(self._places):
            self._views.jump_to(in_world(self._output, self._places[row]))

    def _show_consistency(self) -> None:
        self._show_map("consistency")

    def _show_equation(self) -> None:
        self._show_map("equation")

    def _show_uncertainty(self) -> None:
        self._show_map("uncertainty")

    def _show_map(self, role: str) -> None:
        """Over the result; the button once more takes it away."""
        from .mrml import related

        wanted = self._buttons[role].checked
        self._stop_others()  # and so this one
        if self._output is None:
            return
        self._buttons[role].checked = wanted
        if wanted:
            self._views.show(self._output, related(self._output, role), OVERLAY)
        else:
            self._views.show(self._output)

    def _show_findings(self) -> None:
        self._set_findings_visible(self._ui.findingsButton.checked)

    def _set_findings_visible(self, visible: bool) -> None:
        from .mrml import related

        segments = None if self._output is None else related(self._output, "findings")
        if segments is not None and segments.GetDisplayNode() is not None:
            segments.GetDisplayNode().SetVisibility(visible)
