"""Reading DICOM: the series that a folder holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from .checks import check_kind
from .files import AnyPath, explained
from .grid import Grid

SLICE_GAP_TOLERANCE = 0.05
"""Largest deviation of a DICOM slice gap from the median one; scanners round the positions they write."""


def read_series(folder: Path) -> sitk.Image:
    """The one series in a folder, float32."""
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
    if len(files[0]) > 1:
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
