"""Reading images: a file of one of the formats that are read, or a folder that holds one DICOM series."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from .dicom_files import is_dicom
from .files import AnyPath
from .image_files import read_file
from .reading_dicom import read_dicom
from .stored import is_folder, refused


def read_image(path: AnyPath, notices: list[str] | None = None) -> sitk.Image:
    """Read one image: a file (see `read_file`), a DICOM file, or a folder of one DICOM series.

    Args:
        path: of any name that the file system has.
        notices: where sentences for the user are appended: what was changed, what a header leaves open or says twice.

    Returns:
        A 2-D or 3-D float32 image, as the file has it, with its geometry; rescaling is applied.

    Raises:
        LIPCARError: nothing there, neither a file nor a folder, and what `read_file` or `read_dicom` refuses.
    """
    return read_with_padding(path, [] if notices is None else notices)[0]


def read_with_padding(path: AnyPath, notices: list[str]) -> tuple[sitk.Image, sitk.Image | None]:
    """The same, and where the image holds no measurement but what a scanner fills it up with: see `read_dicom`."""
    path = Path(path)
    with refused(path):
        dicom = is_folder(path) or is_dicom(path)
    return read_dicom(path, notices) if dicom else (read_file(path, notices), None)
