"""What a new DICOM series takes over from the low-dose one, made valid: patient, study, space, source images."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import LIPCARError
from .dicom_files import check_pydicom, explained_dicom, is_dicom, is_image, one_series, read_header
from .dicom_frames import Frame, frames_of, groups_of, value_of

if TYPE_CHECKING:
    from pydicom import Dataset

TAKEN_OVER: dict[str, tuple[str, ...]] = {
    keyword: (keyword,)
    for keyword in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
        *("PatientWeight", "PatientSpeciesDescription", "PatientPosition"),
        *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
        *("ReferringPhysicianName", "InstitutionName", "FrameOfReferenceUID", "PositionReferenceIndicator"),
        *("BodyPartExamined", "Laterality", "MagneticFieldStrength", "ScanningSequence", "SequenceVariant"),
        *("MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength", "FlipAngle", "InversionTime"),
        *("SeriesNumber", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    )
} | {"EchoTime": ("EchoTime", "EffectiveEchoTime"), "InversionTime": ("InversionTime", "InversionTimes")}
"""The patient, the study, the space, how it was acquired; each with the keywords that it may stand under."""
ALLOWED = {
    "PatientSex": ("M", "F", "O"),
    "PatientPosition": tuple(a + b for a in ("HF", "FF", "LF", "RF", "AF", "PF") for b in ("P", "S", "DR", "DL")),
    "Laterality": ("L", "R"),
    "ScanningSequence": ("SE", "IR", "GR", "EP", "RM"),
    "SequenceVariant": ("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"),
    "MRAcquisitionType": ("2D", "3D"),
    "LossyImageCompression": ("00", "01"),
}
EMPTY_WHERE_UNKNOWN = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientPosition", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "ScanOptions"),
    *("MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"),
)
"""What an MR image has to have, be it empty (type 2)."""
OF_ANIMALS = ("PatientBreedDescription", "ResponsiblePerson", "ResponsibleOrganization", "PatientSexNeutered")
"""What it has to have in addition where the patient's species is told."""
UNPAIRED = (
    *("ABDOMEN", "ABDOMENPELVIS", "AORTA", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS"),
    *("COCCYX", "COLON", "CSPINE", "CTSPINE", "ESOPHAGUS", "HEAD", "HEADNECK", "HEART", "JAW", "LARYNX"),
    *("LIVER", "LSPINE", "LSSPINE", "MEDIASTINUM", "NECK", "NECKCHEST", "NOSE", "PANCREAS", "PELVIS"),
    *("PENIS", "PROSTATE", "RECTUM", "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THYMUS"),
    *("THYROID", "TLSPINE", "TONGUE", "TSPINE", "UTERUS", "VAGINA", "WHOLEBODY"),
)
"""Parts of the body without a left and a right one: images of them must not tell a laterality."""
LONGEST_NUMBER = 16
"""Characters of a decimal string."""
SAME_PLANE = 1e-2
"""Of the slice thickness."""
_TEXT_LENGTHS = {"LO": 64, "SH": 16, "PN": 64}
_LARGEST_INTEGER = 2**31 - 1


class Instance(NamedTuple):
    """An image that a slice was made from; the frame is counted from 1, None in a file of one."""

    sop_class: str
    uid: str
    frame: int | None


@dataclass(frozen=True, eq=False)
class SeriesSource:
    """What a series takes over; all of it valid.

    Attributes:
        header: attributes of the patient, the study, the space and the acquisition.
        number: of the source's series, 0 where it has none.
        frames: of the source, with the instances that they are.
    """

    header: Dataset
    number: int
    frames: tuple[tuple[Frame, Instance], ...]

    def references(self, place: Mapping[str, Any]) -> list[Instance]:
        """The source's slice in the same plane, or all of them where the new slices cut across them.

        Args:
            place: where the new slice lies, by DICOM keyword.
        """
        rows, columns = np.split(np.asarray(place["ImageOrientationPatient"], float), 2)
        normal, position = np.cross(rows, columns), np.asarray(place["ImagePositionPatient"], float)
        near = SAME_PLANE * float(place["SliceThickness"])
        same = [
            instance
            for frame, instance in self.frames
            if abs(abs(np.cross(frame.rows, frame.columns) @ normal) - 1) < 1e-4
            and abs((frame.position - position) @ normal) <= near
        ]
        everything = dict.fromkeys(Instance(one.sop_class, one.uid, None) for _, one in self.frames)
        return same or list(everything)


def series_source(source: Path | Sequence[Path] | Dataset | None, notices: list[str]) -> SeriesSource:
    """Read and check what a new series takes over, before anything is computed for it.

    Args:
        source: the folder or the files of the low-dose series, or a data set that stands for them; None, or a file of
            another format, makes a study of its own for a patient called "LIPCAR^Simulated".
        notices: where a sentence for the user is appended if something of the source is not valid and was replaced.

    Raises:
        LIPCARError: pydicom is not installed; a DICOM file or folder that cannot be read.
    """
    check_pydicom()
    from pydicom import Dataset

    headers: dict[Path, Dataset] = {}
    if isinstance(source, Path):
        headers = one_series(source, []) if source.is_dir() else _header_of(source)
    elif isinstance(source, Sequence):
        headers = {file: read_header(file) for file in source}
    if isinstance(source, Dataset):
        place, first = Path("of the low-dose volume"), source
    elif headers:
        place, first = next(iter(headers.items()))
    else:
        return SeriesSource(_completed(_own_study()), 0, ())
    replaced: list[str] = []
    with explained_dicom(place):
        found = _valid(first, replaced)
    number = int(found.get("SeriesNumber", 0))
    found.pop("SeriesNumber", None)
    if abs(number) > _LARGEST_INTEGER // 2:
        number = 0
    if replaced:
        words = ", ".join(dict.fromkeys(replaced))
        notices.append(
            f"What the low-dose image's DICOM header says of {words} is not valid; it was mended or left out in the "
            "new series."
        )
    return SeriesSource(_completed(found), number, tuple(_instances(headers)))


def decimal_string(value: float) -> str:
    """A decimal string that is no longer than DICOM allows."""
    for digits in range(15, 0, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= LONGEST_NUMBER:
            return text
    return text


def _header_of(file: Path) -> dict[Path, Dataset]:
    if not is_dicom(file):
        return {}
    header = read_header(file)
    return {file: header} if is_image(header, file) else {}


def _instances(headers: Mapping[Path, Dataset]) -> list[tuple[Frame, Instance]]:
    """The frames of the source that can be referred to."""
    found = []
    for file, header in headers.items():
        try:
            with explained_dicom(file):
                sop_class, uid = _uid(header.get("SOPClassUID")), _uid(header.get("SOPInstanceUID"))
                frames = frames_of(file, header)
        except (LIPCARError, ValueError):
            continue
        found += [(frame, Instance(sop_class, uid, None if frame.count == 1 else frame.index + 1)) for frame in frames]
    return found


def _own_study() -> Dataset:
    from pydicom import Dataset

    now = datetime.now()
    header = Dataset()
    header.PatientName, header.PatientID = "LIPCAR^Simulated", "LIPCAR"
    header.StudyDate, header.StudyTime, header.StudyID = now.strftime("%Y%m%d"), now.strftime("%H%M%S"), "LIPCAR"
    return header


def _completed(header: Dataset) -> Dataset:
    """With all that an MR image has to have, as far as it does not depend on the slice."""
    from pydicom.uid import generate_uid

    def default(keyword: str, value: Any) -> None:
        if keyword not in header:
            setattr(header, keyword, value)

    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        default(keyword, generate_uid())
    default("ScanningSequence", "RM")
    default("SequenceVariant", "NONE")
    default("LossyImageCompression", "00")
    for keyword in EMPTY_WHERE_UNKNOWN:
        default(keyword, None)
    if "IR" in header.ScanningSequence:
        default("InversionTime", None)
    else:
        header.pop("InversionTime", None)
    if header.get("BodyPartExamined") in UNPAIRED:
        header.pop("Laterality", None)
    else:
        default("Laterality", "")
    if "PatientSpeciesDescription" in header:
        for keyword in OF_ANIMALS:
            default(keyword, "")
        header.PatientBreedCodeSequence, header.BreedRegistrationSequence = [], []
    if header.LossyImageCompression == "00":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            header.pop(keyword, None)
    return header


def _valid(source: Dataset, replaced: list[str]) -> Dataset:
    """The attributes that are taken over; names of those that were not valid are appended."""
    from pydicom import Dataset
    from pydicom.datadict import dictionary_VM

    found, groups = Dataset(), groups_of(source, 0)
    for keyword, places in TAKEN_OVER.items():
        try:
            with explained_dicom(Path()):  # one attribute that cannot be read spoils no other
                values = next((value for place in places if (value := value_of(groups, place)) is not None), None)
                if values is None:
                    continue
                told = list(values) if hasattr(values, "append") else [values]
                if len(told) > 1 and dictionary_VM(keyword) == "1":
                    told = [" ".join(map(str, told))]
                    replaced.append(keyword)
                valid = [_checked(keyword, value) for value in told]
        except LIPCARError:
            replaced.append(keyword)
            continue
        same = [str(value).strip() for value in told] == valid
        if not same and not (_numeric(keyword) and all(len(str(value)) <= LONGEST_NUMBER for value in told)):
            replaced.append(keyword)
        if any(valid):
            setattr(found, keyword, valid if len(valid) > 1 else valid[0])
    echo = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["GR", "SE"]}.get(str(value_of(groups, "EchoPulseSequence")))
    if echo and "ScanningSequence" not in found:
        found.ScanningSequence = echo
    _set_characters(found, source)
    return found


def _numeric(keyword: str) -> bool:
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(keyword) in ("DS", "IS")


def _checked(keyword: str, value: Any) -> str:
    """A single value in the form that DICOM wants.

    Raises:
        ValueError: it has none.
    """
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    kind, text = dictionary_VR(keyword), str(value).strip()
    if kind == "DS":
        number = float(text)
        if not math.isfinite(number) or number < 0:
            raise ValueError(text)
        return decimal_string(number)
    if kind == "IS":
        whole = int(text)
        if abs(whole) > _LARGEST_INTEGER:
            raise ValueError(text)
        return str(whole)
    if kind == "UI":
        return _uid(text)
    if kind in _TEXT_LENGTHS:
        text = _clean(text, kind)
    elif keyword in ALLOWED:
        text = text.upper()
        if text not in ALLOWED[keyword]:
            raise ValueError(text)
    elif kind == "DA":
        if not 1800 <= datetime.strptime(text, "%Y%m%d").year < 2100:
            raise ValueError(text)
    elif kind == "CS":
        text = text.upper()
    validate_value(kind, text, RAISE)
    return text


def _clean(text: str, kind: str) -> str:
    """Text without control characters and of the length that its kind allows."""
    text = "".join(character for character in text if character.isprintable() and character != "\\")
    if kind != "PN":
        return text[: _TEXT_LENGTHS[kind]].strip()
    groups = ["^".join(group.split("^")[:5])[: _TEXT_LENGTHS[kind]] for group in text.split("=")[:3]]
    return "=".join(groups).strip()


def _uid(value: Any) -> str:
    text = str(value)
    if len(text) > 64 or not re.fullmatch(r"[12](\.(0|[1-9]\d*))+", text):
        raise ValueError(text)
    return text


def _set_characters(header: Dataset, source: Dataset) -> None:
    """The source's character set where it can write all that was taken over, else Unicode; none for plain ASCII."""
    from pydicom.charset import python_encoding

    texts = [str(element.value) for element in header]
    if all(text.isascii() for text in texts):
        return
    told = source.get("SpecificCharacterSet") or ""
    names = [told] if isinstance(told, str) else [name or "ISO_IR 6" for name in told]
    kept = bool(told) and all(name in python_encoding for name in names)
    if kept:
        encodings = [python_encoding[name] for name in names]
        kept = all(_survives(text, encodings) for text in texts)
    header.SpecificCharacterSet = told if kept else "ISO_IR 192"


def _survives(text: str, encodings: list[str]) -> bool:
    from pydicom.charset import decode_bytes, encode_string

    try:
        return bool(decode_bytes(encode_string(text, encodings), encodings, set()) == text)
    except (UnicodeError, UserWarning):
        return False
