"""A result as a DICOM MR series, with what is known of the patient and the study of its low-dose volume."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import LIPCARError
from ..imaging import common_acquisition, note_identities, series_files, series_source, write_files
from ..physics import Acquisition
from .geometry import image_of
from .mrml import provenance_of, related
from .services import VolumeNode

FORBIDDEN = frozenset('<>:"/\\|?*')
"""Characters that some file system does not allow in a name."""


def export_series(output: VolumeNode, parent: str | Path, dicom_file: Callable[[str], str], notices: list[str]) -> Path:
    """Write a result into a new folder, one file a slice.

    Args:
        output: a result of LIPCAR.
        parent: the folder in which to make the new one, named after the result.
        dicom_file: the file of an instance by its UID, "" where there is none.
        notices: where sentences for the user are appended, about the source's header and the stored numbers.

    Returns:
        The new folder.

    Raises:
        LIPCARError: the volume is no result, or the folder cannot be written.
    """
    provenance = provenance_of(output)
    if not provenance:
        raise LIPCARError(_("The volume '{name}' is no result of LIPCAR.").format(name=output.GetName()))
    folder = _free_folder(Path(parent), output.GetName())
    source = related(output, "lowdose")
    header = None if source is None else _files_of(source, dicom_file) or dicom_header(source)
    image = image_of(output, output.GetName())
    first = int(provenance["slices"].split("-")[0])
    taken_over = series_source(header, notices)
    axis = int(provenance["slice_axis"])
    write_files(series_files(folder, image, axis, provenance, taken_over, first, notices), fresh=folder)
    return folder


def dicom_header(volume: VolumeNode) -> Any:
    """What the subject hierarchy knows of the patient and the study of a volume that came from DICOM.

    Returns:
        A pydicom data set with patient name and the like, and the study's UID; None where nothing is known.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volume.GetScene())
    item = hierarchy.GetItemByDataNode(volume) if hierarchy else 0
    known: dict[str, str] = {}
    while item and item != hierarchy.GetSceneItemID():
        for name in hierarchy.GetItemAttributeNames(item):
            if name.startswith("DICOM."):
                known.setdefault(name.removeprefix("DICOM."), hierarchy.GetItemAttribute(item, name))
        if hierarchy.GetItemLevel(item) == "Study" and hierarchy.GetItemUID(item, "DICOM"):
            known.setdefault("StudyInstanceUID", hierarchy.GetItemUID(item, "DICOM"))
        item = hierarchy.GetItemParent(item)
    if "StudyInstanceUID" not in known and "PatientID" not in known:
        return None
    from pydicom import Dataset
    from pydicom.datadict import tag_for_keyword

    header = Dataset()
    for keyword, value in known.items():
        if tag_for_keyword(keyword) is not None:
            with suppress(ValueError, TypeError):  # of what the scene holds, not all is valid DICOM
                setattr(header, keyword, value)
    return header


def acquisition_of(
    volumes: Mapping[str, VolumeNode | None], dicom_file: Callable[[str], str], notices: list[str]
) -> Acquisition | None:
    """How the volumes were acquired, as far as Slicer's DICOM database tells it.

    Args:
        volumes: by role, the low-dose volume first.
        dicom_file: as of :func:`export_series`.
        notices: where sentences for the user are appended, as by `common_acquisition`.
    """
    given = {role: volume for role, volume in volumes.items() if volume is not None}
    files = {role: found[0] for role, volume in given.items() if (found := _files_of(volume, dicom_file))}
    names = {role: _("The volume '{name}'").format(name=given[role].GetName()) for role in files}
    note_identities(files, names, notices)
    return common_acquisition(files, names, notices)


def _free_folder(parent: Path, name: str) -> Path:
    """Named like the volume, but for what a file system may not allow."""
    safe = "".join(c if c.isprintable() and c not in FORBIDDEN else "_" for c in name).strip().strip(".") or "_"
    folder, number = parent / safe, 1
    while folder.exists():
        number += 1
        folder = parent / f"{safe}_{number}"
    return folder


def _files_of(volume: VolumeNode, dicom_file: Callable[[str], str]) -> list[Path]:
    """The files of the DICOM series that a volume was loaded from, as far as Slicer's database still has them."""
    paths = [dicom_file(uid) for uid in (volume.GetAttribute("DICOM.instanceUIDs") or "").split()]
    return [Path(path) for path in paths if path and Path(path).is_file()]
