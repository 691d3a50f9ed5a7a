"""Writing a result as a DICOM series: MR, derived, named as simulated, in the study of the image it came from."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .. import __version__
from .dicom_source import Instance, SeriesSource, decimal_string, series_source
from .grid import Grid, plane_axes, slices_first
from .intensity import BRIGHT_PERCENTILE, order_statistic, sampled

if TYPE_CHECKING:
    from pydicom import Dataset

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SERIES_DESCRIPTION = "LIPCAR simulated high dose, RESEARCH ONLY"
SERIES_OFFSET = 9000
"""Added to the series number of the low-dose image: derived series follow the acquired ones in a list."""
LARGEST = 32767
"""Stored value of the brightest voxel; readers that take the 16 bits for signed ones get it right as well."""

LARGEST_WINDOW = 1e9
"""Viewers take larger windows for negative ones; without one they find their own."""
COARSE = 1e-3
"""Steps of the stored values that are larger than this share of typical tissue are noticed."""


def series_files(
    folder: Path,
    image: sitk.Image,
    slice_axis: int,
    provenance: Mapping[str, Any],
    source: SeriesSource | None = None,
    first_number: int = 1,
    notices: list[str] | None = None,
) -> dict[Path, bytes]:
    """A simulated high-dose volume as a DICOM MR series, a file a slice; for `writing.write_files`.

    Image type DERIVED\\SECONDARY, content qualification RESEARCH, a series description and comments that say
    "simulated", a new series UID; how it was made stands in the derivation description.

    Args:
        folder: where the files are to go, new or empty.
        image: the result on its grid, 2-D or 3-D, finite, non-negative; stored as 16 bits with a rescale slope.
        slice_axis: index axis that the slices are taken along, 0 (i), 1 (j) or 2 (k).
        provenance: of the result.
        source: what it takes over from the low-dose image (see `series_source`): patient, study, frame of reference.
            None makes a study of its own for a patient called "LIPCAR^Simulated".
        first_number: instance number of the first slice.
        notices: where a sentence for the user is appended if 16 bits are few for the image.

    Returns:
        The content of each file, 0001.dcm and so on.

    Raises:
        LIPCARError: pydicom is not installed.
    """
    source = series_source(None, []) if source is None else source
    common = _common(source, provenance)
    grid = Grid.of(image)
    slices = slices_first(image, slice_axis)
    brightest = float(slices.max())
    slope = float(decimal_string(brightest / LARGEST)) if brightest > 0 else 1.0
    bright = brightest
    if brightest > 0:
        bright = order_statistic(sampled(slices)[sampled(slices) > 0], BRIGHT_PERCENTILE)
        if notices is not None and slope > COARSE * bright:
            notices.append(
                f"The brightest voxel of the result, {brightest:.4g}, is far above its tissue: in the DICOM series all "
                f"intensities are rounded to multiples of {slope:.4g}. The other outputs are exact."
            )
    files = {}
    for index, pixels in enumerate(slices):
        place = _place(grid, slice_axis, index)
        content = _slice_file(common, place, pixels, first_number + index, slope, bright, source.references(place))
        files[folder / f"{index + 1:04d}.dcm"] = content
    return files


def _common(source: SeriesSource, provenance: Mapping[str, Any]) -> Dataset:
    """All that the files of the series share."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    ds = Dataset()
    ds.update(source.header)
    now = datetime.now()
    ds.SOPClassUID = MR_IMAGE_STORAGE
    ds.Modality = "MR"
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    ds.ContentQualification = "RESEARCH"
    ds.SeriesInstanceUID = generate_uid()
    ds.SeriesNumber = SERIES_OFFSET + source.number
    ds.SeriesDescription = SERIES_DESCRIPTION
    ds.SeriesDate = ds.ContentDate = ds.InstanceCreationDate = now.strftime("%Y%m%d")
    ds.SeriesTime = ds.ContentTime = ds.InstanceCreationTime = now.strftime("%H%M%S")
    ds.Manufacturer = "LIPCAR"
    ds.ManufacturerModelName = re.sub(r"[^ -\[\]-~]", "_", str(provenance.get("model", "")))[-64:]
    ds.SoftwareVersions = f"LIPCAR {__version__}"
    ds.ImageComments = "Simulated high-dose image, research only, not for diagnosis."
    ds.DerivationDescription = json.dumps({key: str(value) for key, value in provenance.items()})[:1024]
    ds.DerivationCodeSequence = [_code("SIMHIGHDOSE", "99LIPCAR", "Simulated high-dose contrast-enhanced image")]
    ds.BurnedInAnnotation = "NO"
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _place(grid: Grid, slice_axis: int, index: int) -> dict[str, Any]:
    """Where a slice lies, by DICOM keyword."""
    row_axis, column_axis = plane_axes(slice_axis)  # along which rows, columns are counted
    first = np.zeros((1, grid.dimension))
    if slice_axis < grid.dimension:
        first[0, slice_axis] = index
    missing = 3 - grid.dimension
    origin = np.pad(grid.points(first)[0], (0, missing))
    cosines = np.pad(np.reshape(grid.direction, (grid.dimension, -1)), (0, missing))
    spacing = [*grid.spacing, 1.0][:3]
    return {
        "ImagePositionPatient": [decimal_string(v) for v in origin],
        "ImageOrientationPatient": [decimal_string(v) for v in (*cosines[:, column_axis], *cosines[:, row_axis])],
        "PixelSpacing": [decimal_string(spacing[row_axis]), decimal_string(spacing[column_axis])],
        "SliceThickness": decimal_string(spacing[slice_axis]),
        "SpacingBetweenSlices": decimal_string(spacing[slice_axis]),
    }


def _slice_file(
    common: Dataset,
    place: Mapping[str, Any],
    pixels: np.ndarray,
    number: int,
    slope: float,
    bright: float,
    references: Iterable[Instance],
) -> bytes:
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    ds = Dataset()
    ds.update(common)
    ds.SOPInstanceUID = generate_uid()
    ds.InstanceNumber = number
    for keyword, value in place.items():
        setattr(ds, keyword, value)
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = decimal_string(slope)
    ds.RescaleType = "US"
    if bright < LARGEST_WINDOW:
        ds.WindowCenter, ds.WindowWidth = decimal_string(bright / 2), decimal_string(bright or 1.0)
    if bright < 1:  # the usual function has no narrower window
        ds.VOILUTFunction = "LINEAR_EXACT"
    if sources := [_reference(instance) for instance in references]:
        ds.SourceImageSequence = sources
    ds.PixelData = np.clip(np.round(pixels / slope), 0, LARGEST).astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _reference(instance: Instance) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class, instance.uid
    if instance.frame is not None:
        item.ReferencedFrameNumber = instance.frame
    purpose = _code("121322", "DCM", "Source image for image processing operation")
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
