"""Reading images: a file of any format that SimpleITK knows, or a folder that holds one DICOM series."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from .checks import check_kind
from .files import AnyPath, explained
from .grid import Grid

SLICE_GAP_TOLERANCE = 0.05
"""Largest deviation of a DICOM slice gap from the median one; scanners round the positions they write."""


def read_image(path: AnyPath) -> sitk.Image:
    """Read one image: a file SimpleITK reads (NRRD, NIfTI, MetaImage, ...) or a folder of one DICOM series.

    Returns:
        A 2-D or 3-D float32 image, as the file has it, with its geometry; DICOM rescaling is applied.

    Raises:
        LIPCARError: nothing there, not readable, cut short, not one real value per voxel, no DICOM series in
            the folder or more than one, slices missing or doubled.
    """
    path = Path(path)
    if not path.exists():
        raise LIPCARError(f"'{path}' does not exist. Give a file or a folder that holds one DICOM series.")
    return _read_series(path) if path.is_dir() else _read_file(path)


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


def _read_series(folder: Path) -> sitk.Image:
    with explained(folder):
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        files = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), one) for one in series]
    files = [names for names in files if names]
    if not files:
        raise LIPCARError(
            f"The folder '{folder}' holds no DICOM images. Give the folder in which the files "
            "of one series lie (folders inside it are not searched), or a single image file."
        )
    headers = [_header(Path(names[0])) for names in files]
    if len(files) > 1:
        listing = "\n".join(
            f"  {len(names)} files: {_tag(header, '0008|103e') or 'no description'}, "
            f"series UID {_tag(header, '0020|000e') or 'unknown'}"
            for names, header in zip(files, headers, strict=True)
        )
        raise LIPCARError(
            f"The folder '{folder}' holds {len(files)} DICOM series; one is "
            f"expected:\n{listing}\n"
            "Put the files of the one you want in a folder of their own."
        )
    check_kind(headers[0], f"The DICOM series in '{folder}'")
    if len(files[0]) == 1:
        return _read_file(Path(files[0][0]))
    _check_slices(folder, [Path(name) for name in files[0]])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files[0])
    reader.SetOutputPixelType(sitk.sitkFloat32)
    with explained(folder):
        image: sitk.Image = reader.Execute()
    check_kind(image, f"The DICOM series in '{folder}'")
    return image


def series_file(path: AnyPath) -> Path | None:
    """A file of the DICOM series that a folder holds, or the DICOM file itself; None for anything else.

    Raises:
        OSError: nothing there, or no permission to read it.
    """
    path = Path(path)
    if path.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
        return Path(names[0]) if names else None
    with path.open("rb") as file:
        return path if file.read(132)[128:] == b"DICM" else None


def _check_slices(folder: Path, files: list[Path]) -> None:
    """Refuse doubled and missing slices: stacked as they are, they would make a volume of wrong geometry."""
    headers = [_header(file) for file in files]
    grids = [Grid(one.GetSize(), one.GetSpacing(), one.GetOrigin(), one.GetDirection()) for one in headers]
    first = grids[0]
    if not all(grid.size == first.size and np.allclose(grid.direction, first.direction, atol=1e-3) for grid in grids):
        raise LIPCARError(
            f"The DICOM slices in '{folder}' differ in size or orientation (a localizer?). "
            "Put the files of one parallel stack in a folder of their own."
        )
    if first.dimension != 3:
        return
    normal = np.asarray(first.direction).reshape(3, 3)[:, 2]
    gaps = np.diff(np.sort([float(np.dot(grid.origin, normal)) for grid in grids]))
    typical = float(np.median(gaps))
    doubled = int(np.count_nonzero(gaps < max(SLICE_GAP_TOLERANCE * typical, 1e-4)))
    if doubled:
        raise LIPCARError(
            f"{doubled} of the {len(files)} DICOM slices in '{folder}' lie at the same place "
            "as another one (several time points or echoes?). Put the files of the one you "
            "want in a folder of their own."
        )
    if np.abs(gaps - typical).max() > SLICE_GAP_TOLERANCE * typical:
        raise LIPCARError(
            f"The DICOM slices in '{folder}' lie {gaps.min():.4g} to {gaps.max():.4g} mm "
            "apart; even gaps are expected (is a file missing?). Export the series again."
        )


def _header(file: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    with explained(file):
        reader.ReadImageInformation()
    return reader


def _tag(header: sitk.ImageFileReader, key: str) -> str:
    return str(header.GetMetaData(key)).strip() if header.HasMetaDataKey(key) else ""
