"""The acquisition of an image, from where it stands: the sidecar beside a NIfTI file, the DICOM header, a file told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..doubt import Doubt
from ..errors import LIPCARError
from ..json_file import read_json
from ..physics import Acquisition
from .dicom_files import explained_dicom, read_header, series_file
from .dicom_frames import groups_of, value_of
from .files import AnyPath

ACQUISITION = (
    *("ScanningSequence", "SequenceVariant", "SequenceName", "PulseSequenceName", "EchoPulseSequence"),
    *("InversionRecovery", "RepetitionTime", "EchoTime", "EffectiveEchoTime", "InversionTime", "InversionTimes"),
    *("FlipAngle", "MagneticFieldStrength"),
)
"""The DICOM attributes that tell an acquisition."""
STUDY, SPACE = "study", "frame of reference"
IDENTITY = {
    "PatientID": "patient ID",
    "PatientName": "patient name",
    "PatientBirthDate": "birth date",
    "PatientSex": "sex",
    "StudyInstanceUID": STUDY,
    "FrameOfReferenceUID": SPACE,
}
"""The DICOM attributes that the images of one examination share."""
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh")
"""Image files that may have a sidecar of their own name."""


def read_acquisition(path: AnyPath) -> tuple[Acquisition | None, str | None]:
    """How an image was acquired, as far as its sidecar or its DICOM header tells.

    Args:
        path: of the image, a file or a folder of one DICOM series.

    Returns:
        The acquisition, or None where nothing tells it; and a notice for the user where what stands there is no use.
    """
    path = Path(path)
    try:
        beside = sidecar(path)
        if beside is not None:
            return Acquisition.from_bids(_read_json(beside)), None
        file = series_file(path)
        return (None if file is None else Acquisition.from_dicom(_dicom(file))), None
    except (LIPCARError, OSError) as error:
        return None, f"How '{path}' was acquired is not known: {error}"


def common_acquisition(
    paths: Mapping[str, AnyPath], names: Mapping[str, str], notices: list[str]
) -> Acquisition | None:
    """How the images of an examination were acquired, as the first one says whose header tells it.

    Args:
        paths: of the images by role, the low-dose image first.
        names: how messages call them, by role, the subject of a sentence.
        notices: where sentences for the user are appended: what is no use, and what was acquired otherwise.
    """
    first: tuple[str, Acquisition] | None = None
    for role, path in paths.items():
        found, notice = read_acquisition(path)
        if notice is not None:
            notices.append(notice)
        if found is None:
            continue
        if first is None:
            first = role, found
        elif differences := first[1].differences(found):
            other = names[first[0]]
            words = f"{other} and {names[role][0].lower()}{names[role][1:]} were acquired in different ways"
            advice = "What the agent changed cannot be told from that; choose images of one protocol."
            notices.append(Doubt(f"{words}: {', '.join(differences)}. {advice}"))
    return None if first is None else first[1]


def note_identities(paths: Mapping[str, AnyPath], names: Mapping[str, str], notices: list[str]) -> None:
    """Say where the DICOM headers of an examination name different patients, studies or frames of reference.

    What differs is not repeated: reports shall not name patients.

    Args:
        paths: of the images by role, the low-dose image first; others than DICOM tell nothing.
        names: how messages call them, by role, the subject of a sentence.
        notices: where sentences for the user are appended.
    """
    told: dict[str, dict[str, str]] = {}
    for role, path in paths.items():
        try:
            file = series_file(path)
            if file is not None:
                told[role] = _identity(file)
        except (LIPCARError, OSError) as error:
            notices.append(f"Which patient '{path}' is of is not known: {error}")
    for role, other in list(told.items())[1:]:
        first, one = next(iter(told.items()))
        both = f"{names[first]} and {names[role][0].lower()}{names[role][1:]}"
        different = [word for word in IDENTITY.values() if one[word] and other[word] and one[word] != other[word]]
        if set(different) - {STUDY, SPACE}:
            words = ", ".join(word for word in different if word != SPACE)
            found = f"{both} are of different patients by their headers, which differ in {words}"
            notices.append(Doubt(f"{found}. A result from two patients is worthless; choose images of one."))
        elif STUDY in different:
            found = f"{both} are of different studies by their headers"
            notices.append(Doubt(f"{found}; images of one session are expected."))
        if SPACE in different:
            found = (
                f"{both} have different frames of reference: where one lies in the other is not told by their headers"
            )
            notices.append(Doubt(f"{found}. Check that they fit, or register them first."))


def told_acquisition(path: AnyPath) -> Acquisition:
    """The acquisition that a JSON file with the keys of a BIDS sidecar tells: seconds, degrees, tesla.

    Raises:
        LIPCARError: not readable, no JSON object, or no sequence that the signal equation knows.
    """
    path = Path(path)
    return acquisition_of_keys(_read_json(path), f"'{path}'")


def acquisition_of_keys(keys: Mapping[str, Any], name: str) -> Acquisition:
    """The same of the keys themselves.

    Args:
        keys: of a BIDS sidecar.
        name: how messages call them, the subject of a sentence.

    Raises:
        LIPCARError: no sequence that the signal equation knows, or a number that no scanner has.
    """
    found = Acquisition.from_bids(keys)
    if found is None:
        raise LIPCARError(
            f"{name} tells no sequence that is known here. A ScanningSequence of SE (spin echo), GR (spoiled "
            'gradient echo) or ["GR", "IR"] (inversion-prepared gradient echo) is expected, with RepetitionTime in '
            "seconds and FlipAngle in degrees."
        )
    return found


def sidecar(path: Path) -> Path | None:
    """The JSON file of its own name beside an image; None where there is none."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            beside = path.with_name(path.name[: -len(suffix)] + ".json")
            return beside if beside.is_file() else None
    return None


def _read_json(path: Path) -> Mapping[str, Any]:
    content = read_json(path, "JSON file", "Write one with the keys of a BIDS sidecar.")
    if not isinstance(content, dict):
        raise LIPCARError(f"'{path}' holds no JSON object; one with the keys of a BIDS sidecar is expected.")
    return content


def _dicom(file: Path) -> dict[str, Any]:
    """What the header says, by keyword; of a file of many frames what the first one says."""
    header = read_header(file)
    with explained_dicom(file):
        groups = groups_of(header, 0)
        found = {key: value for key in ACQUISITION if (value := value_of(groups, key)) is not None}
    if "InversionTimes" in found:
        found.setdefault("InversionTime", found["InversionTimes"])
    return found


def _identity(file: Path) -> dict[str, str]:
    """What the header says, in one spelling: upper and lower case, empty parts of names do not count."""
    header = read_header(file)
    with explained_dicom(file):
        told = {word: str(header.get(keyword) or "") for keyword, word in IDENTITY.items()}
    return {word: " ".join(text.replace("^", " ").split()).upper() for word, text in told.items()}
