"""The part of the panel that shows how the images were acquired, as read or assumed, and lets the user tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..errors import LIPCARError
from .parameters import AS_READ, SEQUENCES, LIPCARParameterNode
from .wording import acquisition_line

if TYPE_CHECKING:
    from ..physics import Acquisition
    from .logic import LIPCARLogic
    from .request import Request

NUMBERS = {
    "repetitionTime": ("RepetitionTimePreparation", "repetition_time", 1000, "ms"),
    "echoTime": ("EchoTime", "echo_time", 1000, "ms"),
    "inversionTime": ("InversionTime", "inversion_time", 1000, "ms"),
    "flipAngle": ("FlipAngle", "flip_angle", 1, "\u00b0"),
    "magneticField": ("MagneticFieldStrength", "magnetic_field", 1, "T"),
}
"""Of each parameter: its BIDS key, its name in `Acquisition`, how many of its units make one of BIDS, and that unit."""


class AcquisitionBox:
    """Attributes:
    node: the parameters, None while the panel shows none.
    """

    def __init__(self, ui: Any, logic: LIPCARLogic) -> None:
        self._logic = logic
        self._label = ui.acquisitionLabel
        self._sequences = ui.sequenceComboBox
        words = {
            "as_read": _("as read, else as assumed"),
            "spin_echo": _("spin echo"),
            "gradient_echo": _("spoiled gradient echo (FLASH, VIBE)"),
            "inversion_gradient_echo": _("inversion-prepared gradient echo (MPRAGE)"),
        }
        for name in SEQUENCES:
            self._sequences.addItem(words[name], name)
        self._boxes = {
            "repetitionTime": ui.repetitionTimeSpinBox,
            "echoTime": ui.echoTimeSpinBox,
            "inversionTime": ui.inversionTimeSpinBox,
            "flipAngle": ui.flipAngleSpinBox,
            "magneticField": ui.magneticFieldSpinBox,
        }
        self._read: Acquisition | None = None
        self.node: LIPCARParameterNode | None = None

    @property
    def connections(self) -> list[tuple[Any, str, Any]]:
        return [(self._sequences, "activated(int)", self._choose)]

    def _choose(self, index: int) -> None:
        if self.node is not None:
            self.node.sequence = list(SEQUENCES)[index]

    def read(self, request: Request | None) -> None:
        """What the database knows of these volumes; to be called where they changed."""
        self._read = None if request is None else self._logic.acquisitionOf(request)

    def told(self) -> dict[str, Any] | None:
        """Keys of a BIDS sidecar: what was read, with what the user told in its place; None where nothing was told."""
        node = self.node
        if node is None:
            return None
        told = {
            key: getattr(node, name) / factor for name, (key, _n, factor, _u) in NUMBERS.items() if getattr(node, name)
        }
        if not told and node.sequence == AS_READ:
            return None
        keys = self._assumed(told) if self._read is None else self._read.as_bids()
        if "RepetitionTimePreparation" in told:
            keys.pop("RepetitionTime", None)
        if node.sequence != AS_READ:
            keys["ScanningSequence"] = list(SEQUENCES[node.sequence])
            if "IR" not in keys["ScanningSequence"]:
                keys.pop("InversionTime", None)
        return {**keys, **told}

    @staticmethod
    def _assumed(told: dict[str, Any]) -> dict[str, Any]:
        """The sequence that is assumed, where nothing was read and the numbers do not tell one."""
        from ..physics import Acquisition

        try:
            return {} if Acquisition.from_bids(told) else {"ScanningSequence": ["SE"]}
        except LIPCARError:
            return {}  # it will be said where it is read again

    def update(self) -> None:
        """Say what is read, told and assumed; a value that is neither stands in the boxes as what it is taken for."""
        from ..imaging import acquisition_of_keys
        from ..physics import Acquisition

        if self.node is None or self.node.lowdoseVolume is None:
            self._label.text = ""
            return
        self._sequences.currentIndex = list(SEQUENCES).index(self.node.sequence)
        told = self.told()
        try:
            known = self._read if told is None else acquisition_of_keys(told, _("The acquisition"))
            full = (known or Acquisition.assumed()).completed()
        except LIPCARError as error:
            self._label.text = str(error)
            return
        is_used, dose = self.node.predoseVolume is not None, self.node.doseFraction or None
        self._label.text = acquisition_line(self._read, told, known, dose, is_used)
        for name, box in self._boxes.items():
            _key, attribute, factor, unit = NUMBERS[name]
            read, taken = getattr(self._read, attribute, None), getattr(full, attribute)
            if read is not None:
                text = _("read: {value:g} {unit}").format(value=read * factor, unit=unit)
            elif taken is not None:
                text = _("assumed: {value:g} {unit}").format(value=taken * factor, unit=unit)
            else:
                text = _("not needed")
            box.specialValueText = text
