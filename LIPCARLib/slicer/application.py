"""Slicer's answers to what `services` asks for, but for packages and views, which have files of their own."""

from __future__ import annotations

import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer

from .background import FirstThatStarts, ThreadEngine, Threads
from .dependencies import SlicerPackages
from .services import SLOT_SECONDS, Services
from .views import SlicerViews

if TYPE_CHECKING:
    from ..engine import Engine


class SlicerDialogs:
    """Message boxes and file dialogs; errors are only logged where there is no window."""

    def show_error(self, text: str, details: str = "") -> None:
        more = {"detailedText": details} if details else {}
        slicer.util.errorDisplay(text, **more)

    def choose_folder(self, title: str) -> str:
        return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title) or "")

    def busy(self) -> AbstractContextManager[object]:
        return slicer.util.WaitCursor()


def shipped_models() -> dict[str, Path]:
    """The folders of the models that came with the extension, by name, sorted."""
    from ..inverse import list_models

    return {entry.name: entry.folder for entry in list_models()}


def dicom_file(instance: str) -> str:
    """The file of a DICOM instance in Slicer's database, which the DICOM module opens some time after the start."""
    database = getattr(slicer, "dicomDatabase", None)
    return str(database.fileForInstance(instance) or "") if database else ""


def python_slicer() -> str:
    """Slicer's own interpreter: on the PATH that Slicer has set, beside its program, or what Python itself names.

    Not the application, which some builds name in its place: it would open another window.
    """
    name = "PythonSlicer"
    found = shutil.which(name) or shutil.which(name, path=str(Path(slicer.app.slicerHome) / "bin"))
    return found or (sys.executable if "python" in Path(sys.executable).name.lower() else name)


def own_engine() -> Engine:
    """The engine on this computer, one for all panels and scripts; where no process can be started, in a thread.

    It is kept beside Slicer's modules: a reload of this one finds it there and takes another in its place.
    """
    kept = getattr(slicer.modules, "lipcarEngine", None)
    if not isinstance(kept, FirstThatStarts):
        from ..engine import Child

        if kept is not None:
            kept.close()
        threads = ThreadEngine(Threads(qt.QTimer).worker, SLOT_SECONDS)
        kept = slicer.modules.lipcarEngine = FirstThatStarts(Child([python_slicer()], SLOT_SECONDS), threads)
        slicer.app.connect("aboutToQuit()", kept.close)
    return kept


def engine_at(address: str) -> Engine:
    """The engine at "host:port", or the own one at ""; raises LIPCARError for what is no address."""
    if not address:
        return own_engine()
    from ..engine import Remote, read_token

    return Remote(address, read_token())


def slicer_services() -> Services:
    threads = Threads(qt.QTimer)
    return Services(
        SlicerPackages(),
        SlicerDialogs(),
        SlicerViews(),
        qt.QTimer,
        threads.worker,
        shipped_models,
        dicom_file,
        engine_at,
    )
