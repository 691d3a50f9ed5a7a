"""The acquisition of an image, from where it stands: the sidecar beside a NIfTI file, the DICOM header, a file told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..errors import LIPCARError
from ..physics import Acquisition
from .dicom_files import series_file
from .files import AnyPath

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
"""SOP class whose numbers stand in groups by frame, where SimpleITK does not look."""
TAGS = {
    "0008|0016": "SOPClassUID",
    "0018|0020": "ScanningSequence",
    "0018|0021": "SequenceVariant",
    "0018|0024": "SequenceName",
    "0018|0080": "RepetitionTime",
    "0018|0081": "EchoTime",
    "0018|0082": "InversionTime",
    "0018|0087": "MagneticFieldStrength",
    "0018|1314": "FlipAngle",
    "0018|9005": "PulseSequenceName",
    "0018|9008": "EchoPulseSequence",
    "0018|9009": "InversionRecovery",
    "0018|9079": "InversionTimes",
    "0018|9082": "EffectiveEchoTime",
}
"""The DICOM attributes that tell an acquisition, by SimpleITK's keys."""
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
        sidecar = _sidecar(path)
        if sidecar is not None:
            return Acquisition.from_bids(_read_json(sidecar)), None
        file = series_file(path)
        return (None if file is None else Acquisition.from_dicom(_dicom(file))), None
    except (LIPCARError, OSError, RuntimeError) as error:
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
            notices.append(
                f"{other} and {names[role][0].lower()}{names[role][1:]} were acquired in different ways: "
                f"{', '.join(differences)}. What the agent changed cannot be told from that; choose images of one "
                "protocol."
            )
    return None if first is None else first[1]


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


def _sidecar(path: Path) -> Path | None:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            beside = path.with_name(path.name[: -len(suffix)] + ".json")
            return beside if beside.is_file() else None
    return None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LIPCARError(f"'{path}' cannot be read: {error.strerror}.") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are
        raise LIPCARError(f"'{path}' is no JSON file: {error}. Write one with the keys of a BIDS sidecar.") from error
    if not isinstance(content, dict):
        raise LIPCARError(f"'{path}' holds no JSON object; one with the keys of a BIDS sidecar is expected.")
    return content


def _dicom(file: Path) -> dict[str, Any]:
    """What the header says, by keyword."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    found: dict[str, Any] = {
        keyword: reader.GetMetaData(key).strip() for key, keyword in TAGS.items() if reader.HasMetaDataKey(key)
    }
    if found.get("SOPClassUID", "").startswith(ENHANCED_MR):
        found |= _enhanced(file)
    if "InversionTimes" in found:
        found.setdefault("InversionTime", found["InversionTimes"])
    return found


def _enhanced(file: Path) -> dict[str, Any]:
    """The same of an Enhanced MR file, first frame first; nothing where pydicom is not installed."""
    try:
        from pydicom import dcmread
    except ImportError:
        return {}
    found: dict[str, Any] = {}
    for element in dcmread(file, stop_before_pixels=True).iterall():
        if element.keyword in TAGS.values():
            found.setdefault(element.keyword, element.value)
    return found
