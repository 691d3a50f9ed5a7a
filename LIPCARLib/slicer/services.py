"""What the panel and the logic ask of the application around them: small protocols, handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from ..engine import Engine

VolumeNode = Any
"""A vtkMRMLScalarVolumeNode."""
SLOT_SECONDS = 0.03
"""How long the timer computes before the event loop gets its turn; a single step may take longer."""


Returned = TypeVar("Returned")
Returned_co = TypeVar("Returned_co", covariant=True)


class Timer(Protocol):
    """As much of a qt.QTimer as is used here."""

    def setSingleShot(self, single: bool) -> None: ...
    def setInterval(self, milliseconds: int) -> None: ...
    def connect(self, signal: str, slot: Callable[[], None]) -> object: ...
    def disconnect(self, signal: str, slot: Callable[[], None]) -> object: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Job(Protocol[Returned_co]):
    """Work under way."""

    def done(self, seconds: float) -> bool:
        """Whether it has come to its end; waits so long for that."""

    def result(self) -> Returned_co:
        """Of a job that is done: what it returned. Raises what it raised."""


class Worker(Protocol):
    """Does one job after the other while the window stays alive."""

    def submit(self, work: Callable[[], Returned]) -> Job[Returned]:
        """`work` touches neither nodes nor widgets."""

    def close(self) -> None:
        """No more jobs; the one under way is left to itself."""


class Packages(Protocol):
    """The Python packages that a computation needs and Slicer does not bring."""

    def missing(self) -> list[str]:
        """Names of those that are not installed; a computation needs the first one first."""

    def install(self) -> None:
        """Offer to install what is missing; where that fails or is declined, it stays missing and nothing is raised."""


class Dialogs(Protocol):
    """What is put before the user."""

    def show_error(self, text: str, details: str = "") -> None: ...

    def choose_folder(self, title: str) -> str:
        """A folder that exists, or "" where the user declined."""

    def busy(self) -> AbstractContextManager[object]:
        """A wait cursor, while the window does not answer."""


class Views(Protocol):
    """What is on screen. Without a window, nothing is, and showing does nothing."""

    def slice_on_screen(self, volume: VolumeNode, slice_axis: int) -> int:
        """Number, from 0, of the slice of the volume that is looked at; the middle one without a view."""

    def show(self, background: VolumeNode, foreground: VolumeNode | None = None, opacity: float = 1.0) -> None:
        """In all slice views, the foreground over the background, brought into view."""

    def jump_to(self, point: Sequence[float]) -> None:
        """All slice views through a point in the world (RAS, mm)."""

    def show_side_by_side(
        self,
        images: Sequence[tuple[str, VolumeNode]],
        volume: VolumeNode,
        slice_axis: int,
        ended: Callable[[], None],
    ) -> None:
        """A slice view for each (label, image), in the plane of the slices of `volume`, until something else is shown.

        Then, and after `end_side_by_side`, `ended` is called.
        """

    def end_side_by_side(self) -> None: ...
    def show_mip(self, volume: VolumeNode) -> None:
        """The maximum along each view's normal, until something else is shown."""

    def show_chart(self, chart: Any) -> None: ...
    def show_table(self, table: Any) -> None: ...


@dataclass(frozen=True)
class Services:
    """The collaborators of the panel and the logic.

    Attributes:
        timer: makes a timer, which does nothing until it is connected and started.
        worker: makes a worker.
        shipped_models: the folders of the models that came with the extension, by name.
        dicom_file: the file of a DICOM instance by its UID, "" where Slicer's database has none.
        engine: what computes at an address, "" for this computer; the same for all who ask.
        slot_seconds: how long the logic computes before it gives the event loop its turn.
    """

    packages: Packages
    dialogs: Dialogs
    views: Views
    timer: Callable[[], Timer]
    worker: Callable[[], Worker]
    shipped_models: Callable[[], Mapping[str, Path]]
    dicom_file: Callable[[str], str]
    engine: Callable[[str], Engine]
    slot_seconds: float = SLOT_SECONDS
