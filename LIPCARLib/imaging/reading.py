"""Reading images: a file of any format that SimpleITK knows, or a folder that holds one DICOM series."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import SimpleITK as sitk

from ..errors import LIPCARError
from .checks import check_kind
from .dicom_files import is_dicom
from .files import AnyPath, explained
from .reading_dicom import read_dicom


def read_image(path: AnyPath, notices: list[str] | None = None) -> sitk.Image:
    """Read one image: a file SimpleITK reads (NRRD, NIfTI, MetaImage, ...), a DICOM file, a folder of one DICOM series.

    Args:
        path: of the file or folder.
        notices: where sentences for the user are appended.

    Returns:
        A 2-D or 3-D float32 image, as the file has it, with its geometry; DICOM rescaling is applied.

    Raises:
        LIPCARError: nothing there, not readable, cut short, not one real value per voxel, or what `read_dicom` refuses.
    """
    return read_with_padding(path, [] if notices is None else notices)[0]


def read_with_padding(path: AnyPath, notices: list[str]) -> tuple[sitk.Image, sitk.Image | None]:
    """The same, and where the image holds no measurement but what a scanner fills it up with: see `read_dicom`."""
    path = Path(path)
    if not path.exists():
        raise LIPCARError(f"'{path}' does not exist. Give a file or a folder that holds one DICOM series.")
    with explained(path):
        dicom = path.is_dir() or is_dicom(path)
    return read_dicom(path, notices) if dicom else (_read_file(path), None)


def _read_file(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with explained(path):
        reader.ReadImageInformation()
    check_kind(reader, f"'{path}'")  # before the voxels: a long time series is refused without loading it
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _check_nifti_complete(path)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    with explained(path):
        image: sitk.Image = reader.Execute()
    return image


def _check_nifti_complete(path: Path) -> None:
    """ITK reads a NIfTI file that was cut short without a word and leaves the rest of the image to chance."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            header = file.read(112)
            order = "<" if struct.unpack_from("<i", header, 0)[0] == 348 else ">"
            if struct.unpack_from(f"{order}i", header, 0)[0] != 348:
                return  # NIfTI-2 or Analyze's other half: let ITK judge
            dim = struct.unpack_from(f"{order}8h", header, 40)
            (bits,) = struct.unpack_from(f"{order}h", header, 72)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
            found = len(header)
            while chunk := file.read(1 << 20):
                found += len(chunk)
    except (OSError, EOFError, struct.error) as error:
        raise LIPCARError(f"'{path}' is damaged or cut short ({error}). Copy or export it again.") from error
    expected = int(offset) + math.prod(dim[1 : dim[0] + 1]) * bits // 8
    if found < expected:
        raise LIPCARError(
            f"'{path}' is cut short: {found} bytes where its header announces {expected}. Copy or export it again."
        )
