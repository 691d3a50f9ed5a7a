"""Synthetic DICOM series that the tests of this room share: one file a slice, or one file of many frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

MR_IMAGE, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SPACING = (0.9, 0.8)
"""Between rows and between columns."""
GAP = 3.3
SHAPE = (5, 24, 20)


def stored(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """(slices, rows, columns) uint16."""
    return np.random.default_rng(seed).integers(1, 900, shape).astype(np.uint16)


def oblique_direction(seed: int = 7) -> np.ndarray:
    """Cosines of rows, columns and normal as columns of a right-handed matrix."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return rotation if np.linalg.det(rotation) > 0 else rotation * [1, 1, -1]


def position(index: float, direction: np.ndarray, gap: float = GAP) -> list[str]:
    return [f"{value:.10g}" for value in direction @ np.array([-5.0, 7.0, index * gap])]


def header(pixels: np.ndarray, sop_class: str, uid: str) -> Any:
    """Of an image that lies nowhere yet."""
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.1", "1.2.3.9"
    ds.PatientName, ds.PatientID, ds.Modality, ds.SeriesNumber = "X^Y", "1", "MR", 3
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.file_meta = pydicom.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    return ds


def write_slices(
    folder: Path,
    values: np.ndarray,
    direction: np.ndarray | None = None,
    changes: Mapping[int, Mapping[str, Any]] | None = None,
    **attributes: Any,
) -> list[Path]:
    """One file a slice, names in shuffled order; the paths by position.

    Args:
        changes: attributes of single slices; those of value None are left out.
        attributes: of all.
    """
    folder.mkdir(exist_ok=True)
    direction = np.eye(3) if direction is None else direction
    names = np.random.default_rng(3).permutation(len(values))
    files = []
    for index, pixels in enumerate(values):
        ds = header(pixels, MR_IMAGE, f"1.2.3.1.{index + 1}")
        ds.InstanceNumber = int(names[index]) + 1
        ds.ImagePositionPatient = position(index, direction)
        ds.ImageOrientationPatient = [f"{value:.10g}" for value in direction.T[:2].ravel()]
        ds.PixelSpacing, ds.SliceThickness = list(SPACING), "3"
        for keyword, value in {**attributes, **(changes or {}).get(index, {})}.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        files.append(folder / f"IM{names[index]:04d}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return files


def group(**sequences: Mapping[str, Any]) -> Any:
    """A functional group."""
    item = pydicom.Dataset()
    for keyword, content in sequences.items():
        inner = pydicom.Dataset()
        for name, value in content.items():
            setattr(inner, name, value)
        setattr(item, keyword, [inner])
    return item


def write_enhanced(
    path: Path,
    values: np.ndarray,
    order: Sequence[int] | None = None,
    slopes: Sequence[float] | None = None,
    frames: Mapping[int, Mapping[str, Mapping[str, Any]]] | None = None,
    direction: np.ndarray | None = None,
    **attributes: Any,
) -> Path:
    """One Enhanced MR file; `order` tells which slice each frame is, `frames` more functional groups by slice."""
    direction = np.eye(3) if direction is None else direction
    order = list(range(len(values))) if order is None else order
    ds = header(values[list(order)], ENHANCED_MR, "1.2.3.1.100")
    ds.NumberOfFrames = len(values)
    orientation = [f"{value:.10g}" for value in direction.T[:2].ravel()]
    measures = {"PixelSpacing": list(SPACING), "SliceThickness": "3", "SpacingBetweenSlices": str(GAP)}
    ds.SharedFunctionalGroupsSequence = [
        group(PlaneOrientationSequence={"ImageOrientationPatient": orientation}, PixelMeasuresSequence=measures)
    ]
    items = []
    for index in order:
        groups: dict[str, Mapping[str, Any]] = {
            "PlanePositionSequence": {"ImagePositionPatient": position(index, direction)},
            "FrameContentSequence": {"StackID": "1", "InStackPositionNumber": index + 1, "TemporalPositionIndex": 1},
        }
        if slopes is not None:
            rescaling = {"RescaleSlope": slopes[index], "RescaleIntercept": index, "RescaleType": "US"}
            groups["PixelValueTransformationSequence"] = rescaling
        items.append(group(**{**groups, **(frames or {}).get(index, {})}))
    ds.PerFrameFunctionalGroupsSequence = items
    for keyword, value in attributes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
    return path
