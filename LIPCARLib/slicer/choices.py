"""The parts of the panel that cannot be bound to a parameter: model, device, and alpha on its logarithmic slider."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from ..errors import LIPCARError
from .parameters import ALPHA_RANGE, AUTOMATIC, LIPCARParameterNode
from .wording import model_card

SLIDER_STEPS = 100
"""Positions of the alpha slider for a factor of ten."""


class ModelChoice:
    """The shipped models, and the folder that is chosen if one is, each with its card as tooltip.

    Attributes:
        node: the parameters, None while the panel shows none.
    """

    def __init__(self, ui: Any, shipped: Callable[[], Mapping[str, Path]]) -> None:
        self._ui = ui
        self._shipped = shipped
        self.node: LIPCARParameterNode | None = None

    def update(self) -> None:
        """Show what the node says; a model that cannot be used gives way to the automatic choice, with a message."""
        if self.node is None:
            return
        from ..inverse import read_manifest

        chosen, box, folders = self.node.model, self._ui.modelComboBox, self._shipped()
        models = [AUTOMATIC, *folders]
        if chosen not in models:
            try:
                read_manifest(chosen)
            except LIPCARError as error:
                text = _("The scene asks for a model that cannot be used; the automatic choice is set. {error}")
                self.node.model = AUTOMATIC
                self._ui.messageLabel.text = text.format(error=error)
                return
            models.append(chosen)
        if [box.itemData(index) for index in range(box.count)] != models:
            box.clear()
            for model in models:
                card = model_card(None if model == AUTOMATIC else folders.get(model, model))
                box.addItem(_("Automatic") if model == AUTOMATIC else Path(model).name, model)
                box.setItemData(box.count - 1, card, qt.Qt.ToolTipRole)
        box.currentIndex = models.index(chosen)
        box.toolTip = box.itemData(box.currentIndex, qt.Qt.ToolTipRole)
        lines = box.toolTip.split("\n")
        self._ui.modelLine.text = lines[min(1, len(lines) - 1)]

    def choose(self, index: int) -> None:
        if self.node is not None:
            self.node.model = self._ui.modelComboBox.itemData(index)

    def add(self, folder: str) -> None:
        """Choose the model in a folder; raises LIPCARError where there is none."""
        from ..inverse import read_manifest

        read_manifest(folder)
        if self.node is not None:
            self.node.model = folder


class DeviceChoice:
    """What can compute here; its names once torch is loaded."""

    def __init__(self, ui: Any, found: Callable[[], list[tuple[str, str]] | None]) -> None:
        self._ui = ui
        self._found = found
        self._shown: list[tuple[str, str]] = []
        self.node: LIPCARParameterNode | None = None

    def update(self) -> None:
        if self.node is None:
            return
        devices, chosen = self._devices(), self.node.device
        if chosen not in [name for name, _words in devices]:
            devices.append((chosen, chosen))
        if devices != self._shown:
            self._shown = devices
            self._ui.deviceComboBox.clear()
            for name, words in devices:
                self._ui.deviceComboBox.addItem(words, name)
        self._ui.deviceComboBox.currentIndex = [name for name, _words in devices].index(chosen)

    def choose(self, index: int) -> None:
        if self.node is not None:
            self.node.device = self._ui.deviceComboBox.itemData(index)

    def _devices(self) -> list[tuple[str, str]]:
        found = self._found()
        if found is None:
            known = [("cpu", _("Processor (cpu)")), ("cuda", _("NVIDIA GPU (cuda)")), ("mps", _("Apple GPU (mps)"))]
            return [("auto", _("Automatic")), *known]
        return [("auto", _("Automatic: {name}").format(name=found[0][1])), *found]


class AlphaChoice:
    """Automatic, or a number from a logarithmic slider; the solver adam takes a number only."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self.node: LIPCARParameterNode | None = None

    def is_auto(self) -> bool:
        return self.node is not None and self.node.alphaAuto and self.node.solver != "adam"

    def update(self) -> None:
        """Show what the node says; the node keeps `alphaAuto` for the other solver while adam is chosen.

        To be called after the parameter node wrapper has written the node's values into the widgets.
        """
        if self.node is None:
            return
        slider, box = self._ui.alphaSlider, self._ui.alphaAutoCheckBox
        slider.blockSignals(True)
        slider.value = round(SLIDER_STEPS * math.log10(max(self.node.alpha, ALPHA_RANGE[0]) / ALPHA_RANGE[0]))
        slider.blockSignals(False)
        auto = self.is_auto()
        box.blockSignals(True)
        box.checked = auto
        box.blockSignals(False)
        box.enabled = self.node.solver != "adam"
        slider.enabled = self._ui.alphaSpinBox.enabled = not auto

    def slide(self, position: int) -> None:
        if self.node is not None:
            alpha = float(np.format_float_scientific(ALPHA_RANGE[0] * 10 ** (position / SLIDER_STEPS), 1))
            self.node.alpha = min(max(alpha, ALPHA_RANGE[0]), ALPHA_RANGE[1])
