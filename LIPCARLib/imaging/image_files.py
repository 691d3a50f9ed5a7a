"""Reading image files of the formats other than DICOM, without ITK (see `stored`)."""

from __future__ import annotations

import gzip
from pathlib import Path

import SimpleITK as sitk

from . import metaimage, nifti, nrrd
from .grid import checked_grid
from .stored import Stored, UnreadableError, is_gzip, refused, regular_size

FORMATS = "NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd), NIfTI-1 and NIfTI-2 (.nii, .nii.gz, .hdr with .img) and DICOM"


def read_file(path: Path, notices: list[str]) -> sitk.Image:
    """Read one file of one of the `FORMATS` but DICOM, told by its content.

    Args:
        path: of any name that the file system has.
        notices: where sentences for the user are appended: what the header leaves open or says twice.

    Returns:
        A 2-D or 3-D float32 image, as the file has it, on a grid with right angles; rescaling is applied.

    Raises:
        LIPCARError: not readable, damaged, cut short, another format, not one real value per voxel, no place in space
            that is finite and at right angles.
    """
    name = f"'{path}'"
    with refused(path):
        regular_size(path)
        stored = _stored(nifti.header_of(path), name, notices)
        return checked_grid(stored.grid, name, notices).image(stored.voxels())


def _stored(path: Path, name: str, notices: list[str]) -> Stored:
    with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
        start = file.read(132)
    if start[:4] in nifti.LAYOUTS:  # the one that is compressed as a whole
        return nifti.read_header(path, name, notices)
    if not is_gzip(path) and start.startswith(nrrd.MAGIC):
        return nrrd.read_header(path, name, notices)
    if not is_gzip(path) and metaimage.BEGINNING.match(start):
        return metaimage.read_header(path, name, notices)
    raise UnreadableError(f"{'it is empty' if not start else 'its format is not known'}. Give one of {FORMATS}.")
