"""Evidence as files: NRRD for every viewer, and DICOM beside a result's series."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..imaging import Examination
from ..imaging.writing_maps import map_files
from .findings import KINDS
from .record import Evidence

COLORS = {1: "0.9 0.2 0.2", 2: "0.2 0.5 0.9"}
"""Red, green, blue of a label in 3D Slicer."""


def evidence_files(
    folder: Path, examination: Examination, found: Evidence, series: Collection[bytes] = ()
) -> dict[Path, sitk.Image | bytes]:
    """A NRRD for each map and a segmentation of the findings, which 3D Slicer opens as such; for `write_files`.

    Args:
        folder: where they are to go.
        series: the files of the result's DICOM series: the same as parametric maps and a segmentation that refer to it;
            empty for none.

    Raises:
        LIPCARError: a series is given and highdicom is not installed.
    """
    maps = found.maps()
    files: dict[Path, sitk.Image | bytes] = {
        folder / f"{name}.nrrd": examination.to_image(volume) for name, volume in maps.items()
    }
    if found.findings is not None:
        files[folder / "findings.seg.nrrd"] = _segmentation(examination, found.findings)
    if series:
        files |= map_files(folder, series, maps, found.findings, KINDS)
    return files


def _segmentation(examination: Examination, labels: npt.NDArray[np.uint8]) -> sitk.Image:
    image: sitk.Image = sitk.Cast(examination.to_image(labels), sitk.sitkUInt8)
    extent = " ".join(f"0 {length - 1}" for length in image.GetSize())
    for index, (value, name) in enumerate(KINDS.items()):
        for key, text in {
            "ID": name,
            "Name": f"{name} enhancement",
            "Color": COLORS[value],
            "LabelValue": str(value),
            "Layer": "0",
            "Extent": extent,
        }.items():
            image.SetMetaData(f"Segment{index}_{key}", text)
    return image
