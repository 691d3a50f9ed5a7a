"""Window and level of several volumes as one, while they are looked at together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

from .services import VolumeNode


class LinkedWindows:
    """All volumes have the first one's window, and follow whichever of them is changed; in the end all but the first
    have their own again."""

    def __init__(self) -> None:
        self._own: list[tuple[Any, bool, float, float]] = []
        self._observed: list[tuple[Any, int]] = []
        self._volumes: list[VolumeNode] = []

    def begin(self, volumes: Sequence[VolumeNode]) -> None:
        """Of volumes in one unit of intensity. Does nothing where the same are linked already."""
        from .mrml import window_of

        if list(volumes) == self._volumes:
            return
        self.end()
        self._volumes = list(volumes)
        window = window_of(volumes[0])
        for volume in volumes:
            volume.CreateDefaultDisplayNodes()
            display = volume.GetScalarVolumeDisplayNode()
            self._own.append((display, bool(display.GetAutoWindowLevel()), *window_of(volume)))
            _set(display, *window)
        for display, *_own in self._own:
            self._observed.append((display, display.AddObserver(vtk.vtkCommand.ModifiedEvent, self._follow)))

    def end(self) -> None:
        for display, tag in self._observed:
            display.RemoveObserver(tag)
        for display, automatic, lowest, highest in self._own[1:]:
            display.SetWindowLevelMinMax(lowest, highest)
            display.SetAutoWindowLevel(automatic)
        self._volumes, self._own, self._observed = [], [], []

    def _follow(self, changed: Any, event: str) -> None:
        """Ends by itself: what has the window already is not modified."""
        for display, *_own in self._own:
            _set(display, changed.GetWindowLevelMin(), changed.GetWindowLevelMax())


def _set(display: Any, lowest: float, highest: float) -> None:
    if display.GetAutoWindowLevel():
        display.AutoWindowLevelOff()
    if (display.GetWindowLevelMin(), display.GetWindowLevelMax()) != (lowest, highest):
        display.SetWindowLevelMinMax(lowest, highest)
