"""The results of the chosen low-dose volume: a list of them, and what can be done with the one that is chosen.

A result belongs to the volumes it was made from. Its own record says from which and how, after the scene was reloaded
too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from .comparison import Comparison
from .parameters import LIPCARParameterNode
from .services import Services
from .trust import TrustTab
from .wording import result_line

FLICKER_MILLISECONDS = 600


class ResultBox:
    """List, buttons and fading.

    Attributes:
        node: the parameters, None while the panel shows none.
    """

    def __init__(self, ui: Any, services: Services) -> None:
        self._ui = ui
        self._views = services.views
        self.node: LIPCARParameterNode | None = None
        self._comparison = Comparison(services.views, self.update)
        self._trust = TrustTab(ui, services.views, self.stop)
        self._results: list[Any] = []
        self._rows: list[str] = []
        self._undo: Callable[[], None] | None = None
        self._flicker = services.timer()
        self._flicker.setInterval(FLICKER_MILLISECONDS)
        self.connections = [
            *self._trust.connections,
            (self._flicker, "timeout()", self._swap),
            (ui.resultsList, "currentRowChanged(int)", self.choose),
            (ui.resultsList, "itemClicked(QListWidgetItem*)", self.show),
            (ui.compareButton, "clicked()", self.compare),
            (ui.fadeSlider, "valueChanged(int)", self._fade),
            (ui.flickerButton, "clicked()", self._start_or_stop_flicker),
            (ui.mipButton, "clicked()", self.show_mip),
            (ui.convergenceButton, "clicked()", self.show_convergence),
            (ui.metricsButton, "clicked()", self.show_metrics),
            (ui.removeButton, "clicked()", self.remove),
            (ui.undoButton, "clicked()", self.undo),
        ]

    @property
    def chosen(self) -> Any:
        return self.node.outputVolume if self.node else None

    def update(self) -> None:
        """Show the results there are; the choice moves to the newest where the chosen one is none of them."""
        from .mrml import related, results_of

        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        self._results = results_of(self.node.lowdoseVolume, volumes) if self.node else []
        if self.node and self.chosen not in (*self._results, None):
            self.node.outputVolume = None
        if self.node and self.chosen is None and self._results:
            self.node.outputVolume = self._results[-1]
        self._list()
        chosen = self.chosen
        for button in (self._ui.compareButton, self._ui.dicomButton, self._ui.removeButton):
            button.enabled = chosen is not None
        has_lowdose = chosen is not None and related(chosen, "lowdose") is not None
        self._ui.fadeSlider.enabled = self._ui.flickerButton.enabled = has_lowdose
        self._ui.mipButton.enabled = chosen is not None and related(chosen, "enhancement") is not None
        self._ui.convergenceButton.enabled = chosen is not None and related(chosen, "convergence") is not None
        self._ui.metricsButton.enabled = chosen is not None and related(chosen, "metrics") is not None
        self._ui.undoButton.enabled = self._undo is not None
        self._ui.compareButton.checked = self._comparison.active
        self._trust.update(chosen)

    def _list(self) -> None:
        box = self._ui.resultsList
        rows = [result_line(volume) for volume in self._results]
        box.blockSignals(True)
        if rows != self._rows:
            self._rows = rows
            box.clear()
            for row in rows:
                box.addItem(row)
        box.currentRow = self._results.index(self.chosen) if self.chosen in self._results else -1
        box.blockSignals(False)

    def made(self, output: Any) -> None:
        """A new result: it is chosen and shown, and may be undone."""
        self._undo = lambda: self._remove(output)
        if self.node is not None:
            self.node.outputVolume = output
            self.show()
        self.update()

    def choose(self, row: int) -> None:
        if self.node is not None and 0 <= row < len(self._results):
            self.node.outputVolume = self._results[row]
            self._ui.messageLabel.text = ""  # it spoke of another one
            self.show()

    def show(self, item: object = None) -> None:
        """The chosen result in all views, and nothing over it."""
        self.stop()
        if self.chosen is not None:
            self._views.show(self.chosen)

    def compare(self) -> None:
        self._stop_flicker()
        if self._comparison.active:
            self._comparison.end()
        elif self.chosen is not None:
            self._comparison.begin(self.chosen)
        self.update()

    def show_mip(self) -> None:
        self.stop()
        self._show_part("enhancement", self._views.show_mip)

    def show_convergence(self) -> None:
        self._show_part("convergence", self._views.show_chart)

    def show_metrics(self) -> None:
        self._show_part("metrics", self._views.show_table)

    def _show_part(self, role: str, show: Callable[[Any], None]) -> None:
        from .mrml import related

        if self.chosen is not None:
            self._comparison.end()
            show(related(self.chosen, role))

    def remove(self) -> None:
        if self.chosen is not None:
            self._remove(self.chosen)

    def _remove(self, output: Any) -> None:
        from .mrml import remove_result

        self.stop()
        if output.GetScene() is None:  # gone by other means
            self._undo = None
        else:
            scene = output.GetScene()
            nodes = remove_result(output)
            self._undo = lambda: self._bring_back(scene, nodes)
        self.update()
        if self.node is not None and (self.chosen or self.node.lowdoseVolume):
            self._views.show(self.chosen or self.node.lowdoseVolume)

    def _bring_back(self, scene: Any, nodes: list[Any]) -> None:
        from .mrml import bring_back

        bring_back(scene, nodes)
        self.made(nodes[0])

    def undo(self) -> None:
        """Take back what was done last, a computation or a removal; once more does it again."""
        if self._undo is not None:
            self._undo()

    def forget(self) -> None:
        """What was done cannot be undone any more: the scene is another one."""
        self._undo = None

    # Low-dose and result in one view

    def _fade(self, percent: int) -> None:
        self._stop_flicker()
        self._show_faded(percent / 100)

    def _show_faded(self, opacity: float) -> None:
        from .mrml import related

        if self.chosen is not None and related(self.chosen, "lowdose") is not None:
            self._comparison.show_faded(related(self.chosen, "lowdose"), self.chosen, opacity)

    def _start_or_stop_flicker(self) -> None:
        if self._ui.flickerButton.checked:
            self._bright = False
            self._swap()
            self._flicker.start()
        else:
            self.show()

    def _swap(self) -> None:
        self._bright = not self._bright
        self._show_faded(float(self._bright))

    def _stop_flicker(self) -> None:
        self._flicker.stop()
        self._ui.flickerButton.checked = False

    def stop(self) -> None:
        """End what is under way in the views; windows are what they were before."""
        self._stop_flicker()
        self._trust.stop()
        self._comparison.end()
        self._ui.fadeSlider.blockSignals(True)
        self._ui.fadeSlider.value = 100
        self._ui.fadeSlider.blockSignals(False)
