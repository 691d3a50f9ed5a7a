"""The chosen volumes: what keeps them from being computed, and their examination, checked once and kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from .parameters import LIPCARParameterNode

if TYPE_CHECKING:
    from ..imaging import Examination


def missing_for_apply(node: LIPCARParameterNode | None, has_models: bool) -> list[str]:
    """What the user has to choose before Apply can run, as sentences."""
    if node is None or node.lowdoseVolume is None:
        return [_("Choose the low-dose volume.")]
    inputs = [volume for volume in (node.lowdoseVolume, node.predoseVolume, node.highdoseVolume) if volume]
    missing = []
    if node.predoseVolume is node.lowdoseVolume:
        missing.append(_("Choose another pre-dose volume: it is the low-dose volume."))
    if node.highdoseVolume is not None and node.highdoseVolume in (node.lowdoseVolume, node.predoseVolume):
        missing.append(_("Choose another high-dose reference: it is one of the inputs."))
    if node.outputVolume is not None and node.outputVolume in inputs:
        missing.append(_("Choose another output volume: it is one of the inputs."))
    if node.enhancement and node.predoseVolume is None:
        missing.append(_("Choose a pre-dose volume, or no enhancement map: it is the change from the pre-dose."))
    if 0 < node.lastSlice < node.firstSlice:
        missing.append(_("Choose a last slice that is not before the first."))
    if not has_models:
        missing.append(_("No model is installed: install the LIPCAR extension again."))
    return missing


def proposed_inputs(volumes: list[Any]) -> dict[str, Any]:
    """Inputs by their role, where the names of the volumes leave no doubt; results of LIPCAR are never proposed."""
    proposed = {}
    for role in ("predose", "lowdose", "highdose"):
        found = [volume for volume in volumes if role in "".join(filter(str.isalnum, volume.GetName().lower()))]
        found = [volume for volume in found if volume.GetAttribute("LIPCAR.model") is None]
        if len(found) == 1:
            proposed[role] = found[0]
    return proposed


class CheckedInputs:
    """The examination of some volumes, kept until one of them changes: Apply need not check what was checked."""

    def __init__(self, busy: Callable[[], AbstractContextManager[object]]) -> None:
        self._busy = busy
        self._kept: tuple[Any, Examination] | None = None

    def examination(self, lowdose: Any, predose: Any, highdose: Any, match_predose: bool) -> Examination:
        """Raises LIPCARError where the volumes do not fit."""
        from .mrml import examination_of

        volumes = lowdose, predose, highdose
        key = [match_predose, *(state_of(volume) for volume in volumes)]
        if self._kept is None or self._kept[0] != key:
            self.forget()  # two examinations at once may be gigabytes
            with self._busy():
                self._kept = key, examination_of(*volumes, match_predose=match_predose)
        return self._kept[1]

    def forget(self) -> None:
        """Give back the memory."""
        self._kept = None


def state_of(volume: Any) -> list[Any] | None:
    """Something that differs once the volume, its voxels or a transform above it has changed."""
    if volume is None:
        return None
    state = [volume.GetID(), volume.GetMTime(), volume.GetImageData() and volume.GetImageData().GetMTime()]
    transform = volume.GetParentTransformNode()
    while transform is not None:
        state += [transform.GetID(), transform.GetMTime(), transform.GetTransformToParent().GetMTime()]
        transform = transform.GetParentTransformNode()
    return state
