"""DICOM files: which files of a folder are one series, and what their headers say."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LIPCARError
from .files import AnyPath

if TYPE_CHECKING:
    from pydicom import Dataset

SHOWN = 5
"""Names that a message lists before it says how many more there are."""
DICOM_ROOT = "1.2.840.10008."
"""How the identifiers begin that DICOM itself gives out."""
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".dic")
NO_PREAMBLE = re.compile(
    rb"[\x02\x08]\x00[\x00\x01\x05\x08\x16\x18]\x00([A-Z]{2}|[\x02-\x40]\x00\x00\x00)"
    rb"|\x00[\x02\x08]\x00[\x00\x01\x05\x08\x16\x18][A-Z]{2}"
)
"""How a file of DICOM's elements alone begins: one of the first tags, then a value representation or a short length."""


def is_dicom(path: Path) -> bool:
    """Whether a file is one of DICOM by its first bytes; the oldest ones have no preamble.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or NO_PREAMBLE.match(start) is not None


def series_file(path: AnyPath) -> Path | None:
    """An image file of the DICOM series that a folder holds, or the DICOM file itself; None for anything else.

    Raises:
        OSError: nothing there, or no permission to read it.
        LIPCARError: a DICOM file that cannot be read.
    """
    path = Path(path)
    if not path.is_dir():
        return path if is_dicom(path) else None
    files = (entry for entry in sorted(path.iterdir()) if entry.is_file() and is_dicom(entry))
    return next((file for file in files if is_image(read_header(file), file)), None)


def read_header(file: Path) -> Dataset:
    """What a DICOM file says, without its pixels.

    Raises:
        LIPCARError: it cannot be read as DICOM.
    """
    return read_file(file, stop_before_pixels=True)


def read_file(file: Path, stop_before_pixels: bool = False) -> Dataset:
    """The same with its pixels, undecoded."""
    check_pydicom()
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with explained_dicom(file):
        header = dcmread(file, stop_before_pixels=stop_before_pixels, force=True)
        if "TransferSyntaxUID" not in header.file_meta:  # as of files without a preamble
            implicit, little = header.original_encoding
            header.file_meta.TransferSyntaxUID = (
                ExplicitVRBigEndian if not little else ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            )
        return header


def check_pydicom() -> None:
    """Say where DICOM can neither be read nor written.

    Raises:
        LIPCARError: pydicom is not installed.
    """
    if find_spec("pydicom") is None:
        raise LIPCARError("DICOM needs pydicom: install it with `pip install lipcar[dicom]`.")


def is_image(header: Dataset, file: Path) -> bool:
    """Whether it has pixels; a header that was cut off before it says so is an error."""
    with explained_dicom(file):
        if header.get("Rows") and header.get("Columns"):
            return True
        told = header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID")
        names = [getattr(kind, "name", "") for kind in told if kind]
        unknown = [name for name in names if name.startswith(DICOM_ROOT)]  # most likely a part of one
        if not names or unknown or any("Image Storage" in name for name in names):
            raise LIPCARError(
                f"The DICOM file '{file}' ends before it tells the size of its image: it is damaged or cut short. Copy "
                "or export it again."
            )
    return False


@contextmanager
def explained_dicom(file: Path) -> Iterator[None]:
    """One sentence about the file instead of whatever pydicom raises, which is nearly anything, or warns of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except LIPCARError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise LIPCARError(f"The DICOM file '{file}' cannot be read: {reason}. Copy or export it again.") from error


def one_series(folder: Path, notices: list[str]) -> dict[Path, Dataset]:
    """The headers of the one series in a folder, of which every entry is accounted for."""
    files, others = _entries(folder, notices)
    headers = {file: read_header(file) for file in files}
    images = {file: header for file, header in headers.items() if is_image(header, file)}
    if not images:
        raise LIPCARError(
            f"The folder '{folder}' holds no DICOM images. Give the folder in which the files "
            "of one series lie (folders inside it are not searched), or a single image file."
        )
    patterns = {_pattern(file) for file in images}
    for file in others:
        if not file.stat().st_size or file.suffix.lower() in DICOM_SUFFIXES or _pattern(file) in patterns:
            raise LIPCARError(
                f"The file '{file}' is named like a DICOM image but is none; it is empty or damaged. Copy it again, or "
                "take it out of the folder."
            )
    if others := [*others, *(file for file in headers if file not in images)]:
        notices.append(f"In the folder '{folder}', {_listed(others)} left out: no DICOM images.")
    series: defaultdict[str, dict[Path, Dataset]] = defaultdict(dict)
    for file, header in images.items():
        with explained_dicom(file):
            series[_text(header, "SeriesInstanceUID")][file] = header
    if len(series) > 1:
        listing = "; ".join(
            f"{len(members)} files: {_text(next(iter(members.values())), 'SeriesDescription') or 'no description'}, "
            f"series UID {uid or 'unknown'}"
            for uid, members in series.items()
        )
        raise LIPCARError(
            f"The folder '{folder}' holds {len(series)} DICOM series; one is "
            f"expected: {listing}. "
            "Put the files of the one you want in a folder of their own."
        )
    return images


def _entries(folder: Path, notices: list[str]) -> tuple[list[Path], list[Path]]:
    """The DICOM files of a folder and its other files; what may hide a slice is an error."""
    dicom: list[Path] = []
    others: list[Path] = []
    folders: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
        for entry in entries:
            mode = entry.stat().st_mode
            if stat.S_ISDIR(mode):
                folders.append(entry)
            elif not stat.S_ISREG(mode):
                raise LIPCARError(
                    f"'{entry}' is no regular file (a pipe or a device); whether a slice is missing cannot be told. "
                    "Take it out of the folder."
                )
            else:
                (dicom if is_dicom(entry) else others).append(entry)
    except OSError as error:
        place = error.filename or folder
        link = "a link that leads nowhere" if os.path.islink(place) else f"not readable ({error.strerror})"
        raise LIPCARError(
            f"'{place}' is {link}; whether a slice is missing cannot be told. Mend it, or take it out of the folder."
        ) from error
    if folders:
        notices.append(f"In the folder '{folder}', {_listed(folders)} not searched: a folder inside it.")
    return dicom, others


def _pattern(file: Path) -> str:
    """A name without its numbers: what the files of a series have in common."""
    return re.sub(r"\d+", "0", file.name) if re.search(r"\d", file.name) and file.name[0] != "." else ""


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(f"'{path.name}'" for path in paths[:SHOWN])
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return f"{names}{more} {'was' if len(paths) == 1 else 'were'}"


def _text(header: Dataset, keyword: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of characters that are not those of the header's character set
        return str(header.get(keyword) or "").strip()
