"""Reading DICOM: one series from a folder or a file, frame by frame, each in its place or refused in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError
from .dicom_files import explained_dicom, is_image, one_series, read_file, read_header
from .dicom_frames import Frame, check_alike, frames_of, in_order
from .dicom_pixels import padded, stored_range, stored_values
from .grid import Grid

if TYPE_CHECKING:
    from pydicom import Dataset


def read_dicom(path: Path, notices: list[str]) -> tuple[sitk.Image, sitk.Image | None]:
    """Read a folder that holds one DICOM series, or one DICOM file of one or many frames.

    Args:
        path: of the folder or file.
        notices: where sentences for the user are appended: what was left out, what looks incomplete.

    Returns:
        The image, 3-D float32, in the order of the positions along the slices' normal, each frame rescaled by its own
        slope and intercept; and where the scanner wrote padding, which is 0 in the image, as uint8 1 on the same grid,
        None where there is none.

    Raises:
        LIPCARError: no DICOM series or more than one; an entry of the folder that cannot be read; more than one image
            type, echo, time point and the like; slices missing, doubled, uneven or shifted; no or different pixel
            spacing, size, orientation; a mosaic, color, phase or subtraction image; damaged or undecodable pixel data.
    """
    if path.is_dir():
        name, headers = f"The DICOM series in '{path}'", one_series(path, notices)
    else:
        name, headers = f"The DICOM file '{path}'", {path: read_header(path)}
        if not is_image(headers[path], path):
            raise LIPCARError(f"{name} holds no image. Choose the series of the acquired images.")
    frames = [frame for file, header in headers.items() for frame in frames_of(file, header)]
    check_alike(frames, name)
    frames, gap = in_order(frames, name, notices)
    first = frames[0]
    normal = np.cross(first.rows, first.columns)
    direction = np.stack([first.rows, first.columns, normal], axis=1).ravel().tolist()
    size = (first.shape[1], first.shape[0], len(frames))
    grid = Grid(size, (first.spacing[1], first.spacing[0], gap), tuple(first.position.tolist()), tuple(direction))
    values, padding = _voxels(frames, headers, name, notices)
    mask = None
    if padding.any():
        mask = sitk.GetImageFromArray(padding.astype(np.uint8))
        mask.SetSpacing(grid.spacing)
        mask.SetOrigin(grid.origin)
        mask.SetDirection(grid.direction)
    return grid.image(values), mask


def _voxels(
    frames: Sequence[Frame], headers: Mapping[Path, Dataset], name: str, notices: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(K, J, I) float32 intensities and where they are padding, boolean."""
    values = np.zeros((len(frames), *frames[0].shape), np.float32)
    padding = np.zeros(values.shape, bool)
    places: defaultdict[Path, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        places[frame.file].append(place)
    changed, odd, inverted = 0, list[str](), False
    for file, mine in places.items():
        header = read_file(file)
        with explained_dicom(file):
            stored = stored_values(file, header, odd)
            is_padding = padded(stored, header)
            if header.get("PhotometricInterpretation") == "MONOCHROME1":
                inverted = True
                lowest, highest = stored_range(header)
                stored = lowest + highest - stored.astype(np.int64)
        for place in mine:
            frame = frames[place]
            rescaled = stored[frame.index].astype(np.float64) * frame.slope + frame.intercept
            padding[place] = is_padding[frame.index]
            changed += int(np.count_nonzero(rescaled[padding[place]]))
            with np.errstate(over="ignore"):  # what leaves float32 is found where contents are checked
                values[place] = np.where(padding[place], 0, rescaled)
    notices += odd[:1]
    if len(odd) > 1:
        notices.append(f"So do {len(odd) - 1} more of its files.")
    if changed:
        notices.append(
            f"{name} has padding of the scanner in {np.count_nonzero(padding)} of its {padding.size} voxels; it was "
            "set to zero and is not part of the result."
        )
    if inverted:
        notices.append(f"{name} is stored with its brightest pixels darkest (MONOCHROME1); it was turned over.")
    return values, padding
