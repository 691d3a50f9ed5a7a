"""Writing a result as a DICOM series: MR, derived, named as simulated, in the study of the image it came from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from .. import __version__
from ..errors import LIPCARError
from .grid import Grid, plane_axes, slices_first

if TYPE_CHECKING:
    from pydicom import Dataset

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SERIES_DESCRIPTION = "LIPCAR simulated high dose, RESEARCH ONLY"
SERIES_OFFSET = 9000
"""Added to the series number of the low-dose image: derived series follow the acquired ones in a list."""
LARGEST = 32767
"""Stored value of the brightest voxel; readers that take the 16 bits for signed ones get it right as well."""

INHERITED = (
    "SpecificCharacterSet",
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientWeight"),
    *("PatientSpeciesDescription", "PatientPosition"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("ReferringPhysicianName", "InstitutionName", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("BodyPartExamined", "Laterality", "MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "ScanOptions"),
    *("MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength", "FlipAngle", "InversionTime"),
)
"""What the new series takes over from the low-dose one: the patient, the study, the space, how it was acquired."""


def series_files(
    folder: Path,
    image: sitk.Image,
    slice_axis: int,
    provenance: Mapping[str, Any],
    header: Dataset | Path | None = None,
    first_number: int = 1,
) -> dict[Path, bytes]:
    """A simulated high-dose volume as a DICOM MR series, a file a slice; for `writing.write_files`.

    Image type DERIVED\\SECONDARY, content qualification RESEARCH, a series description and comments that say
    "simulated", a new series UID; how it was made stands in the derivation description.

    Args:
        folder: where the files are to go, new or empty.
        image: the result on its grid, 2-D or 3-D, non-negative; stored as 16 bits with a rescale slope.
        slice_axis: index axis that the slices are taken along, 0 (i), 1 (j) or 2 (k).
        provenance: of the result.
        header: any file of the low-dose series, or its data set: patient, study and frame of reference are taken
            from it. None makes a study of its own for a patient called "LIPCAR^Simulated".
        first_number: instance number of the first slice.

    Returns:
        The content of each file, 0001.dcm and so on.

    Raises:
        LIPCARError: pydicom is not installed; an unreadable header.
    """
    try:
        from pydicom import Dataset
    except ImportError as error:
        raise LIPCARError("DICOM needs pydicom: install it with `pip install lipcar[dicom]`.") from error
    source = _read_header(header) if isinstance(header, Path) else header or Dataset()
    common = _common(source, provenance)
    grid = Grid.of(image)
    slices = slices_first(image, slice_axis)
    slope = float(f"{max(float(slices.max()), 1e-6) / LARGEST:.10g}")  # as many digits as DICOM's decimal string has
    return {
        folder / f"{index + 1:04d}.dcm": _slice_file(
            common, _place(grid, slice_axis, index), pixels, first_number + index, slope
        )
        for index, pixels in enumerate(slices)
    }


def _read_header(path: Path) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        return dcmread(path, stop_before_pixels=True)
    except (OSError, InvalidDicomError) as error:
        raise LIPCARError(f"The DICOM file '{path}' cannot be read: {error}. Copy or export it again.") from error


def _common(source: Dataset, provenance: Mapping[str, Any]) -> Dataset:
    """All that the files of the series share."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    ds = Dataset()
    for keyword in INHERITED:
        if keyword in source:
            ds[keyword] = source[keyword]
    defaults = {
        "PatientName": "LIPCAR^Simulated",
        "PatientID": "LIPCAR",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": generate_uid(),
        "StudyDate": "",
        "StudyTime": "",
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "FrameOfReferenceUID": generate_uid(),
        "PositionReferenceIndicator": "",
        "ScanningSequence": "RM",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "",
        "EchoTime": None,
        "RepetitionTime": None,
        "EchoTrainLength": None,
    }
    for keyword, value in defaults.items():
        if keyword not in ds:
            setattr(ds, keyword, value)
    now = datetime.now()
    ds.SOPClassUID = MR_IMAGE_STORAGE
    ds.Modality = "MR"
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    ds.ContentQualification = "RESEARCH"
    ds.SeriesInstanceUID = generate_uid()
    ds.SeriesNumber = SERIES_OFFSET + int(source.get("SeriesNumber") or 0)
    ds.SeriesDescription = SERIES_DESCRIPTION
    ds.SeriesDate = ds.ContentDate = ds.InstanceCreationDate = now.strftime("%Y%m%d")
    ds.SeriesTime = ds.ContentTime = ds.InstanceCreationTime = now.strftime("%H%M%S")
    ds.Manufacturer = "LIPCAR"
    ds.ManufacturerModelName = str(provenance.get("model", ""))
    ds.SoftwareVersions = f"LIPCAR {__version__}"
    ds.ImageComments = "Simulated high-dose image, research only, not for diagnosis."
    ds.DerivationDescription = json.dumps({key: str(value) for key, value in provenance.items()})[:1024]
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    return ds


def _place(grid: Grid, slice_axis: int, index: int) -> dict[str, Any]:
    """Where a slice lies, by DICOM keyword."""
    row_axis, column_axis = plane_axes(slice_axis)  # along which rows, columns are counted
    corners = np.zeros((3, grid.dimension))
    if slice_axis < grid.dimension:
        corners[:, slice_axis] = index
    corners[1, column_axis] += 1
    corners[2, row_axis] += 1
    origin, *next_ones = np.pad(grid.points(corners), ((0, 0), (0, 3 - grid.dimension)))
    steps = [point - origin for point in next_ones]
    spacing = [*grid.spacing, 1.0][:3]
    return {
        "ImagePositionPatient": [_decimal(v) for v in origin],
        "ImageOrientationPatient": [_decimal(v) for step in steps for v in step / np.linalg.norm(step)],
        "PixelSpacing": [_decimal(spacing[row_axis]), _decimal(spacing[column_axis])],
        "SliceThickness": _decimal(spacing[slice_axis]),
        "SpacingBetweenSlices": _decimal(spacing[slice_axis]),
    }


def _slice_file(common: Dataset, place: Mapping[str, Any], pixels: np.ndarray, number: int, slope: float) -> bytes:
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
    ds.RescaleSlope = _decimal(slope)
    ds.RescaleType = "US"
    ds.WindowCenter, ds.WindowWidth = _decimal(slope * LARGEST / 2), _decimal(slope * LARGEST)
    ds.PixelData = np.clip(np.round(pixels / slope), 0, LARGEST).astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, which is all that DICOM allows."""
    for digits in range(15, 0, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    return text
