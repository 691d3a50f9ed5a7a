"""The check of the inputs before anybody clicks: one line with its state, and details on demand.

It runs in the background while the window stays alive, and starts again where an input changes.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..doubt import Doubt
from ..errors import LIPCARError, advice
from .request import Request, transformed_apart, unsuitable_together
from .services import Services
from .wording import geometry_line

if TYPE_CHECKING:
    from ..imaging import Examination
    from .logic import LIPCARLogic

DELAY = 200
"""Milliseconds between the last change of an input and the check."""
MARKS = {"fits": ("#2da44e", "\u2714"), "corrected": ("#1f88c9", "\u270e"), "look": ("#d97706", "\u26a0")}
MARKS["stop"] = ("#d1242f", "\u2716")
"""Color and sign of each state: the inputs fit, were corrected, want to be looked at, cannot be computed."""


class Preflight:
    """Attributes:
    examination: of the inputs, once it is known.
    problem: why the inputs cannot be computed; "" where they can, or where that is not known yet.
    request: what is checked; None while nothing is chosen.
    """

    def __init__(self, ui: Any, logic: LIPCARLogic, services: Services, changed: Callable[[], None]) -> None:
        self._ui, self._logic, self._changed = ui, logic, changed
        self.examination: Examination | None = None
        self.problem = ""
        self.request: Request | None = None
        self._notices: tuple[str, ...] = ()
        self._steps: Generator[None, None, None] | None = None
        self._delay, self._turns = services.timer(), services.timer()
        self._delay.setSingleShot(True)
        self._delay.setInterval(DELAY)
        self.connections = [
            (self._delay, "timeout()", self._begin),
            (self._turns, "timeout()", self._turn),
            (ui.detailsButton, "clicked()", self._show_details),
        ]

    def restart(self, request: Request | None, is_suitable: bool = True) -> None:
        """Forget what was found out, and check soon, but for what is unsuitable; None where nothing is chosen."""
        self.stop()
        self.request = request if is_suitable else None
        self.examination, self.problem, self._notices = None, "", ()
        self._ui.checkLabel.text = "" if self.request is None else _("Checking the images...")
        self._ui.resampleButton.visible = request is not None and bool(apart(request))
        self._show_details()
        if self.request is not None:
            self._delay.start()

    def stop(self) -> None:
        self._delay.stop()
        self._turns.stop()
        self._steps = None

    def finish(self) -> None:
        """Here and now."""
        if self.request is not None and self.examination is None and not self.problem:
            self._begin()
            while self._steps is not None:
                self._turn()

    def _begin(self) -> None:
        self._delay.stop()
        self._steps = self._checked()
        self._turns.start()

    def _turn(self) -> None:
        try:
            if self._steps is not None:
                next(self._steps)
        except StopIteration:
            self.stop()
            self._changed()
        except Exception as error:
            self.stop()
            told = advice(error)
            self._show("stop", told or _("The check failed in a way it should not: {error}").format(error=error))
            if told is None:
                raise

    def _checked(self) -> Generator[None, None, None]:
        request = self.request
        if request is None:
            return
        from ..imaging import SwappedError

        try:
            examination = yield from self._logic.checked(request)
        except LIPCARError as error:
            self.problem = str(error)
            if isinstance(error, SwappedError):
                self.problem += _(" (Untick 'Match the pre-dose volume to the low-dose volume' under Expert.)")
            self._show("stop", _("These images cannot be computed together; the reason stands below Apply."))
            return
        self.examination = examination
        notices: list[str] = []
        self._logic.acquisitionOf(request.images, notices)
        self._notices = (*examination.notices, *notices)
        self._show_fit(examination)
        self._show_details()
        self._changed()
        if not request.engine and not self._logic.missingPackages():
            with suppress(LIPCARError):  # Apply meets it again, and tells
                yield from self._logic.loadEngine()  # so that nobody waits for it after the click

    def unsuitable(self, request: Request) -> list[str]:
        """What the images tell about a request; empty while they are not known."""
        if self.problem:
            return [self.problem]
        return [] if self.examination is None else unsuitable_together(request, self.examination)

    def _show_fit(self, examination: Examination) -> None:
        others = [node for node in (self.request.predose, self.request.highdose) if node] if self.request else []
        doubts = [notice for notice in self._notices if isinstance(notice, Doubt)]
        if any(doubt.severe for doubt in doubts):
            state, words = "stop", _("These images should not be used together; see Details.")
        elif doubts:
            state, words = "look", _("Look at Details before you go on.")
        elif self._notices:
            state, words = "corrected", _("Brought together for the computation; see Details.")
        else:
            state, words = "fits", _("The volumes fit together.") if others else ""
        self._show(state, " ".join((geometry_line(examination), words)).strip())

    def _show(self, state: str, words: str) -> None:
        color, sign = MARKS[state]
        text = _('<span style="color:{color}; font-size:large">{sign}</span> {words}')
        self._ui.checkLabel.text = text.format(color=color, sign=sign, words=html.escape(words, quote=False))

    def _show_details(self) -> None:
        self._ui.detailsButton.visible = bool(self._notices)
        self._ui.detailsLabel.visible = bool(self._notices) and self._ui.detailsButton.checked
        self._ui.detailsLabel.text = "".join(f"<li>{html.escape(one, quote=False)}</li>" for one in self._notices)


def apart(request: Request) -> list[str]:
    """Roles of the volumes that lie on another grid or under another transform than the low-dose volume."""
    from .geometry import grid_differences

    found = []
    for role in ("predose", "highdose"):
        node = request.volumes[role]
        if node is None or request.lowdose is None:
            continue
        try:
            if transformed_apart(node, request.lowdose) or grid_differences(node, request.lowdose):
                found.append(role)
        except LIPCARError:
            continue  # no voxels, or bent: resampling is no way out
    return found
