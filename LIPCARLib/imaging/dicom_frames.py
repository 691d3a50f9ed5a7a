"""The frames of a DICOM series: where each lies, what must be the same in all, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LIPCARError
from .dicom_files import explained_dicom
from .grid import join

if TYPE_CHECKING:
    from pydicom import Dataset

SLICE_GAP_TOLERANCE = 0.05
"""Largest deviation of a slice gap from the median one; scanners round the positions they write."""
SIDEWAYS_TOLERANCE = 0.1
"""Pixels by which a slice may lie beside the line that the others stand on."""
ORIENTATION_TOLERANCE = 1e-3
SPACING_TOLERANCE = 1e-3
"""Relative."""
SAME_TIME = 0.01
"""Relative: echo and inversion times that differ by less are one."""
SHOWN = 5
"""Names that a message lists before it says how many more there are."""

ONE_OF = {
    "patients": ("PatientID",),
    "studies": ("StudyInstanceUID",),
    "frames of reference": ("FrameOfReferenceUID",),
    "image types": ("FrameType", "ImageType"),
    "complex components": ("ComplexImageComponent",),
    "stacks": ("StackID",),
    "echo times (ms)": ("EffectiveEchoTime", "EchoTime"),
    "echo numbers": ("EchoNumbers",),
    "time points": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    "inversion times (ms)": ("InversionTimes", "InversionTime"),
    "flip angles (degrees)": ("FlipAngle",),
    "b-values (s/mm^2)": ("DiffusionBValue",),
}
"""What one image has one of, and where it stands: in the functional groups of a frame, else in the header."""
TELLS_APART = {
    "acquisition numbers": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "trigger times (ms)": ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    "acquisition times": ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime"),
    "instance numbers": ("InstanceNumber",),
}
"""What tells slices at the same place apart, and may differ from slice to slice otherwise."""
NO_MAGNITUDE = {
    "P": "a phase image",
    "PHASE": "a phase image",
    "PHASE MAP": "a phase image",
    "REAL": "the real part of an image",
    "IMAGINARY": "the imaginary part of an image",
    "SUB": "a subtraction",
    "SUBTRACTION": "a subtraction",
}
"""Values of ImageType, FrameType and ComplexImageComponent that name what is no magnitude image."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: where it stands and lies, how its values are to be read, and what of it must be as in the others.

    Attributes:
        file: that holds it.
        index: in the file, from 0.
        count: frames in the file.
        shape: rows and columns.
        position: (3,) mm, of the first pixel.
        rows, columns: (3,) unit vectors in which the column and the row index grow.
        spacing: mm between rows and between columns.
        thickness: mm, what the header says of the distance between slices; 0 where nothing.
        slope, intercept: of the rescaling.
        told: by the keys of ONE_OF and TELLS_APART, "" where nothing is told.
    """

    file: Path
    index: int
    count: int
    shape: tuple[int, int]
    position: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    spacing: tuple[float, float]
    thickness: float
    slope: float
    intercept: float
    told: Mapping[str, str]

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"'{self.file.name}'" if self.count == 1 else f"frame {self.index + 1} of '{self.file.name}'"


def frames_of(file: Path, header: Dataset) -> list[Frame]:
    """The frames of one file.

    Raises:
        LIPCARError: no frames that can be put in their place: a mosaic, color, no functional groups, no geometry.
    """
    with explained_dicom(file):
        _check_image_kind(file, header)
        count = int(header.get("NumberOfFrames") or 1)
        groups = header.get("PerFrameFunctionalGroupsSequence")
        if count < 1 or (count > 1 and len(groups or []) != count):
            found = "no functional groups" if not groups else f"functional groups for {len(groups)}"
            raise LIPCARError(
                f"The DICOM file '{file}' has {count} frames and {found}, so where each frame lies is not told. Export "
                "it again as Enhanced MR, or with one file a slice."
            )
        return [_frame(file, index, count, groups_of(header, index)) for index in range(count)]


def groups_of(header: Dataset, index: int) -> list[Dataset]:
    """Where attributes of a frame stand, nearest first: its own functional groups, the shared ones, the header.

    Args:
        header: of a file of one or many frames.
        index: of the frame, from 0.
    """
    items = []
    for keyword, number in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        sequence = header.get(keyword) or []
        items += [sequence[number]] if number < len(sequence) else []
    # Private groups hold whole headers of their own.
    own = [
        element.value[0]
        for item in items
        for element in item
        if element.VR == "SQ" and not element.tag.is_private and element.value
    ]
    return [*own, header]


def check_alike(frames: Sequence[Frame], name: str) -> None:
    """Refuse what is more than one image, and what is no magnitude image."""
    for what in ONE_OF:
        values = _distinct(frame.told[what] for frame in frames)
        if len(values) > 1:
            raise LIPCARError(
                f"{name} holds {len(values)} {what}: {_some(values)}. One image is expected; put its slices in a "
                "folder of their own."
            )
    kinds = {part for what in ("image types", "complex components") for part in frames[0].told[what].split("\\")}
    if found := kinds & set(NO_MAGNITUDE):
        kind = NO_MAGNITUDE[min(found)]
        raise LIPCARError(
            f"{name} is {kind} ({min(found)}); a magnitude image is expected. Choose the acquired series."
        )
    first = frames[0]
    for frame in frames:
        if (
            frame.shape != first.shape
            or max(np.abs(frame.rows - first.rows).max(), np.abs(frame.columns - first.columns).max())
            > ORIENTATION_TOLERANCE
        ):
            raise LIPCARError(
                f"{name} has slices that differ in size or orientation (a localizer?): {first.label} and "
                f"{frame.label}. Put the files of one parallel stack in a folder of their own."
            )
        if not np.allclose(frame.spacing, first.spacing, rtol=SPACING_TOLERANCE, atol=0):
            raise LIPCARError(
                f"{name} has slices of different pixel spacing: {join(frame.spacing)} mm in {frame.label} and "
                f"{join(first.spacing)} mm in {first.label}. Put the files of one stack in a folder of their own."
            )


def _distinct(values: Iterable[str]) -> list[str]:
    """What is told, each value once; numbers that differ by rounding are one."""
    found = sorted({value for value in values if value})
    try:
        numbers = sorted(map(float, found))
    except ValueError:
        return found
    kept = [b for a, b in pairwise([-np.inf, *numbers]) if not b - a <= SAME_TIME * abs(b)]
    return [f"{number:g}" for number in kept]


def _some(values: Sequence[str]) -> str:
    return ", ".join(values[:SHOWN]) + (f" and {len(values) - SHOWN} more" if len(values) > SHOWN else "")


def in_order(frames: Sequence[Frame], name: str, notices: list[str]) -> tuple[list[Frame], float]:
    """The frames along their normal and the mm between two; stacked unevenly they would make a wrong volume."""
    normal = np.cross(frames[0].rows, frames[0].columns)
    ordered = sorted(frames, key=lambda frame: float(frame.position @ normal))
    if len(frames) == 1:
        return ordered, frames[0].thickness or 1.0
    positions = np.stack([frame.position for frame in ordered])
    heights = positions @ normal
    gaps = np.diff(heights)
    real = gaps[gaps > 1e-3 * gaps.max()]
    typical = float(np.median(real)) if real.size else 0.0
    _refuse_doubled(ordered, gaps, typical, name)
    if np.abs(gaps - typical).max() > SLICE_GAP_TOLERANCE * typical:
        raise LIPCARError(_uneven(ordered, gaps, name))
    sideways = positions - positions[0] - np.outer(heights - heights[0], normal)
    furthest = float(np.linalg.norm(sideways, axis=1).max())
    if furthest > SIDEWAYS_TOLERANCE * min(frames[0].spacing):
        raise LIPCARError(
            f"{name} has slices that lie beside each other by up to {furthest:.4g} mm, not on one line at right angles "
            "to them, as with a tilted gantry or several stacks. Resample it onto a straight grid first."
        )
    gap = float(heights[-1] - heights[0]) / (len(frames) - 1)
    _note_incomplete(frames, gap, name, notices)
    return ordered, gap


def _refuse_doubled(ordered: Sequence[Frame], gaps: np.ndarray, typical: float, name: str) -> None:
    doubled = np.flatnonzero(gaps < max(SLICE_GAP_TOLERANCE * typical, 1e-4))
    if not doubled.size:
        return
    one, other = ordered[doubled[0]], ordered[doubled[0] + 1]
    told = ((what, _distinct(frame.told[what] for frame in ordered)) for what in TELLS_APART)
    apart = next((f"; the series has {len(v)} {what}: {_some(v)}" for what, v in told if len(v) > 1), "")
    raise LIPCARError(
        f"{name} has {doubled.size} of its {len(ordered)} slices at the same place as another one (several time points "
        f"or echoes?), as {one.label} and {other.label}{apart}. Put the files of the one you want in a folder of their "
        "own."
    )


def _uneven(ordered: Sequence[Frame], gaps: np.ndarray, name: str) -> str:
    step = float(gaps.min())
    missing = np.round(gaps / step).astype(int) - 1
    if np.abs(gaps / step - missing - 1).max() > 2 * SLICE_GAP_TOLERANCE:
        return (
            f"{name} has slices that lie {step:.4g} to {gaps.max():.4g} mm apart; even gaps are expected (is a file "
            "missing?). Export the series again."
        )
    places = [f"between {ordered[i].label} and {ordered[i + 1].label}" for i in np.flatnonzero(missing).tolist()]
    count = int(missing.sum())
    return (
        f"{name} has a gap of {'a slice' if count == 1 else f'{count} slices'} {_some(places)} (is a file missing?). "
        "Export the series again."
    )


def _note_incomplete(frames: Sequence[Frame], gap: float, name: str, notices: list[str]) -> None:
    told = frames[0].thickness
    if told and gap > (2 - 2 * SLICE_GAP_TOLERANCE) * told:
        notices.append(
            f"{name} has slices {gap:.4g} mm apart where its header tells {told:.4g} mm. Is every other file missing?"
        )


def _check_image_kind(file: Path, header: Dataset) -> None:
    modality = str(header.get("Modality") or "MR")
    if modality not in ("MR", "OT", "SC"):
        raise LIPCARError(f"The DICOM file '{file}' is of the modality {modality}; an MR image is expected.")
    siemens = header.get((0x0019, 0x0010))
    tiles = siemens is not None and "SIEMENS MR HEADER" in str(siemens.value) and (0x0019, 0x100A) in header
    if tiles or "MOSAIC" in (header.get("ImageType") or []):
        raise LIPCARError(
            f"The DICOM file '{file}' is a mosaic: many slices as tiles of one picture. Export the series with one "
            "file a slice, or convert it to NIfTI (dcm2niix does)."
        )
    samples, colors = (
        int(header.get("SamplesPerPixel") or 1),
        str(header.get("PhotometricInterpretation", "MONOCHROME2")),
    )
    if samples != 1 or colors not in ("MONOCHROME1", "MONOCHROME2"):
        raise LIPCARError(f"The DICOM file '{file}' is a color image ({colors}); one value in each pixel is expected.")
    if "ModalityLUTSequence" in header:
        raise LIPCARError(
            f"The DICOM file '{file}' tells its intensities by a table (Modality LUT), which MR images do not have. "
            "Export the series again with a rescale slope."
        )


def _frame(file: Path, index: int, count: int, groups: Sequence[Dataset]) -> Frame:
    frame = f"The DICOM file '{file}'" + (f", frame {index + 1}," if count > 1 else "")
    position = _numbers(groups, "ImagePositionPatient", 3, frame)
    rows, columns = np.split(_numbers(groups, "ImageOrientationPatient", 6, frame), 2)
    spacing = _numbers(groups, "PixelSpacing", 2, frame)
    if min(spacing) <= 0:
        raise LIPCARError(f"{frame} has a pixel spacing of {join(tuple(spacing))} mm; positive numbers are expected.")
    square = np.array([rows @ rows, columns @ columns, 1 + rows @ columns])
    if np.abs(square - 1).max() > ORIENTATION_TOLERANCE:
        raise LIPCARError(
            f"{frame} has rows and columns that are no unit vectors at right angles (ImageOrientationPatient). Export "
            "the series again."
        )
    rows = rows / np.linalg.norm(rows)
    columns = columns - (columns @ rows) * rows
    slope, intercept = _rescaling(groups, frame)
    thickness = next(
        (v for key in ("SpacingBetweenSlices", "SliceThickness") if (v := _number(groups, key, 0.0)) > 0), 0.0
    )
    header = groups[-1]
    return Frame(
        file=file,
        index=index,
        count=count,
        shape=(int(header.Rows), int(header.Columns)),
        position=position,
        rows=rows,
        columns=columns / np.linalg.norm(columns),
        spacing=(float(spacing[0]), float(spacing[1])),
        thickness=thickness,
        slope=slope,
        intercept=intercept,
        told={what: _told(groups, keywords) for what, keywords in (ONE_OF | TELLS_APART).items()},
    )


def _rescaling(groups: Sequence[Dataset], frame: str) -> tuple[float, float]:
    """Slope and intercept: of the rescaling or, where there is none, of the mapping to real world values."""
    keywords = "RescaleSlope", "RescaleIntercept"
    mapping = [group for group in groups if "RealWorldValueSlope" in group]
    nested = groups[-1].get("RealWorldValueMappingSequence") or []
    if value_of(groups, keywords[0]) is None and (mapping or nested):
        groups, keywords = (mapping or [nested[0]]), ("RealWorldValueSlope", "RealWorldValueIntercept")
    slope, intercept = _number(groups, keywords[0], 1.0), _number(groups, keywords[1], 0.0)
    if not slope:
        raise LIPCARError(f"{frame} has a rescale slope of 0, so its intensities are lost. Export the series again.")
    return slope, intercept


def value_of(groups: Sequence[Dataset], keyword: str) -> Any:
    """The value in the nearest place that has one."""
    values = (group.get(keyword) for group in groups)
    return next((value for value in values if value is not None and str(value).strip() not in ("", "[]")), None)


def _number(groups: Sequence[Dataset], keyword: str, default: float) -> float:
    value = value_of(groups, keyword)
    try:
        found = default if value is None else float(value)
    except (TypeError, ValueError):
        found = np.nan
    if not np.isfinite(found):
        raise LIPCARError(f"{keyword} is {value}; a number is expected. Export the series again.")
    return found


def _numbers(groups: Sequence[Dataset], keyword: str, count: int, frame: str) -> np.ndarray:
    value = value_of(groups, keyword)
    if value is None:
        raise LIPCARError(
            f"{frame} tells no {keyword}, so where its voxels lie and what they measure is not known. Export the "
            "series again as MR images with their geometry, or give the image as NRRD or NIfTI."
        )
    try:
        found = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        found = np.empty(0)
    if len(found) != count or not np.isfinite(found).all():
        raise LIPCARError(f"{frame} has {keyword} {value}; {count} numbers are expected. Export the series again.")
    return found


def _told(groups: Sequence[Dataset], keywords: Iterable[str]) -> str:
    value = next((found for key in keywords if (found := value_of(groups, key)) is not None), "")
    return "\\".join(map(str, value)) if hasattr(value, "append") else str(value).strip()
