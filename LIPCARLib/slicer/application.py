"""Slicer's answers to what `services` asks for, but for packages and views, which have files of their own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import qt
import slicer

from .background import Threads
from .dependencies import SlicerPackages
from .services import Services
from .views import SlicerViews


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


def slicer_services() -> Services:
    threads = Threads(qt.QTimer)
    return Services(
        SlicerPackages(), SlicerDialogs(), SlicerViews(), qt.QTimer, threads.worker, shipped_models, dicom_file
    )
