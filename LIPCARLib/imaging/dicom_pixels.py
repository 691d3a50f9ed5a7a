"""The pixels of a DICOM file: decoded, complete, with its padding told apart."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from .checks import check_kind
from .grid import join

if TYPE_CHECKING:
    from pydicom import Dataset

JPEG_BEGINS, JPEG_ENDS = (b"\xff\xd8", b"\xff\x4f"), b"\xff\xd9"
"""Of JPEG, JPEG-LS, JPEG 2000: some decoders fill up what was cut off without a word."""


def stored_values(file: Path, header: Dataset, notices: list[str]) -> np.ndarray:
    """The stored values of all frames of a file, (frames, rows, columns)."""
    if not header.get("PixelData"):
        raise LIPCARError(f"The DICOM file '{file}' holds no pixel data: it is cut short. Copy or export it again.")
    if header.BitsAllocated not in (8, 16, 32):
        raise LIPCARError(f"The DICOM file '{file}' has {header.BitsAllocated} bits a pixel; 8, 16 or 32 are expected.")
    count = int(header.get("NumberOfFrames") or 1)
    shape = (count, int(header.Rows), int(header.Columns))
    if header.file_meta.TransferSyntaxUID.is_encapsulated:
        array = _decoded(file, header, count)
    else:
        _check_length(file, header, shape, notices)
        array = header.pixel_array
    if array.size != np.prod(shape):
        raise LIPCARError(
            f"The DICOM file '{file}' decodes to {join(array.shape)} values where its header tells {join(shape)}. Copy "
            "or export it again."
        )
    stored: np.ndarray = array.reshape(shape)
    return stored


def _check_length(file: Path, header: Dataset, shape: tuple[int, ...], notices: list[str]) -> None:
    found, expected = len(header.PixelData), int(np.prod(shape)) * int(header.BitsAllocated) // 8
    if found < expected:
        raise LIPCARError(
            f"The DICOM file '{file}' holds {found} bytes of pixel data where its header tells {expected}: it is "
            "damaged or cut short. Copy or export it again."
        )
    if found > expected + expected % 2:
        notices.append(
            f"The DICOM file '{file}' holds {found - expected} bytes more than its image has; they were ignored."
        )


def _decoded(file: Path, header: Dataset, count: int) -> np.ndarray:
    """Compressed pixels by ITK, which knows JPEG, JPEG-LS, JPEG 2000 and RLE without more packages.

    It is handed the pixels alone, so that it does not rescale them.
    """
    from pydicom import Dataset, FileMetaDataset
    from pydicom.encaps import generate_frames
    from pydicom.uid import (
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        SecondaryCaptureImageStorage,
        generate_uid,
    )

    syntax = header.file_meta.TransferSyntaxUID
    found = [frame for frame in generate_frames(header.PixelData, number_of_frames=count) if frame]
    if len(found) != count:
        raise LIPCARError(
            f"The DICOM file '{file}' holds {len(found)} compressed frames where its header tells {count}."
        )
    if any(frame[:2] in JPEG_BEGINS and JPEG_ENDS not in frame.rstrip(b"\0")[-4:] for frame in found):
        raise LIPCARError(f"The DICOM file '{file}' has a picture that is cut short. Copy or export it again.")
    bare = Dataset()
    bare.SOPClassUID = (
        SecondaryCaptureImageStorage if count == 1 else MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    )
    bare.SOPInstanceUID = generate_uid()
    bare.PhotometricInterpretation, bare.SamplesPerPixel = "MONOCHROME2", 1
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        bare[keyword] = header[keyword]
    if count > 1:
        bare.NumberOfFrames = count
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = syntax
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "frames.dcm"
        bare.save_as(place, enforce_file_format=True)
        try:
            image = sitk.ReadImage(str(place))
        except RuntimeError as error:
            raise LIPCARError(
                f"The DICOM file '{file}' cannot be decoded: it is damaged, or compressed in a way that is not known "
                f"here ({syntax.name}). Export the series again without compression."
            ) from error
    check_kind(image, f"The DICOM file '{file}'")
    return sitk.GetArrayFromImage(image)


def stored_range(header: Dataset) -> tuple[int, int]:
    bits = int(header.get("BitsStored") or header.BitsAllocated)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.get("PixelRepresentation") else (0, 2**bits - 1)


def padded(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """Where stored values are what the header calls padding, one value or a range; boolean, of their shape."""
    ends = [_whole_number(header, keyword) for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(stored.shape, bool)
    # Many headers take signed for unsigned numbers or the other way round; the bits are the same.
    bits, signed = int(header.BitsAllocated), bool(header.get("PixelRepresentation"))
    lowest = -(2 ** (bits - 1)) if signed else 0
    given = [(end - lowest) % 2**bits + lowest for end in ends if end is not None]
    padded: np.ndarray = (stored >= min(given)) & (stored <= max(given))
    if int(header.get("BitsStored") or bits) < bits and not header.file_meta.TransferSyntaxUID.is_encapsulated:
        # Padding may use the bits that values do not have, and then is masked off with them.
        order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
        kind = np.dtype(f"{order}{'i' if signed else 'u'}{bits // 8}")
        raw = np.frombuffer(header.PixelData, kind, stored.size).reshape(stored.shape)
        padded |= (raw >= min(given)) & (raw <= max(given))
    return padded


def _whole_number(header: Dataset, keyword: str) -> int | None:
    """A number that stands there as bytes where the header does not tell whether it has a sign."""
    value = header.get(keyword)
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little") if value else None
    return None if value is None or str(value) == "" else int(value)
