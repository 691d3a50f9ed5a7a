"""Headers of NIfTI-1 and NIfTI-2 files (nifti.nimh.nih.gov): .nii, .nii.gz, or .hdr with its voxels in .img."""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from .checks import check_form
from .grid import Grid, join
from .stored import ADVICE, Stored, UnreadableError, beside, is_gzip

PLACES_1 = {
    "dim": ("8i2", 40),
    "datatype": ("i2", 70),
    "bits": ("i2", 72),
    "pixdim": ("8f4", 76),
    "vox_offset": ("f4", 108),
    "slope": ("f4", 112),
    "inter": ("f4", 116),
    "units": ("u1", 123),
    "qform_code": ("i2", 252),
    "sform_code": ("i2", 254),
    "quatern": ("3f4", 256),
    "offset": ("3f4", 268),
    "srow": ("(3,4)f4", 280),
    "magic": ("V4", 344),
}
"""Type and byte of what is needed, version 1."""
PLACES_2 = {
    "magic": ("V8", 4),
    "datatype": ("i2", 12),
    "bits": ("i2", 14),
    "dim": ("8i8", 16),
    "pixdim": ("8f8", 104),
    "vox_offset": ("i8", 168),
    "slope": ("f8", 176),
    "inter": ("f8", 184),
    "qform_code": ("i4", 344),
    "sform_code": ("i4", 348),
    "quatern": ("3f8", 352),
    "offset": ("3f8", 376),
    "srow": ("(3,4)f8", 400),
    "units": ("i4", 500),
}
"""The same of version 2."""


def _layout(length: int, places: dict[str, tuple[str, int]], order: str) -> tuple[str, np.dtype]:
    formats, offsets = zip(*places.values(), strict=True)
    native: Any = {"names": list(places), "formats": formats, "offsets": offsets, "itemsize": length}
    return order, np.dtype(native).newbyteorder("<" if order == "<" else ">")


LAYOUTS = {
    (348).to_bytes(4, "little"): _layout(348, PLACES_1, "<"),
    (348).to_bytes(4, "big"): _layout(348, PLACES_1, ">"),
    (540).to_bytes(4, "little"): _layout(540, PLACES_2, "<"),
    (540).to_bytes(4, "big"): _layout(540, PLACES_2, ">"),
}
"""Byte order and layout of a header by its first bytes, which are its own length."""
LONGEST = 540
MAGICS = {b"n+1\0": False, b"ni1\0": True, b"n+2\0\r\n\x1a\n": False, b"ni2\0\r\n\x1a\n": True}
"""Whether the voxels lie in a file of their own."""
TYPES = {
    2: ("u1", 1),
    4: ("i2", 1),
    8: ("i4", 1),
    16: ("f4", 1),
    32: ("c8", 1),
    64: ("f8", 1),
    128: ("u1", 3),
    256: ("i1", 1),
    512: ("u2", 1),
    768: ("u4", 1),
    1024: ("i8", 1),
    1280: ("u8", 1),
    1792: ("c16", 1),
    2304: ("u1", 4),
}
"""What the datatype codes mean: numpy's type and how many of them a voxel has."""
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""mm; 0 is unknown."""
TO_LPS = np.diag((-1.0, -1.0, 1.0))


def read_header(path: Path, name: str, notices: list[str]) -> Stored:
    """What the header of a file says that begins, decompressed, with a key of `LAYOUTS`.

    Where the voxels lie, by one rule: the sform if its code is positive and its axes stand at right angles; else the
    qform if its code is positive; else what nibabel takes, an image centered at 0 whose first axis points to the left.
    So other programs see the result where they see the image.

    Args:
        path: of the file, compressed or not.
        name: how messages call it, the subject of a sentence.
        notices: where sentences for the user are appended: which of the two forms was taken where they disagree.

    Raises:
        UnreadableError: not as the format has it.
        LIPCARError: no image of one real value per voxel in two or three dimensions.
    """
    with gzip.open(path) if is_gzip(path) else path.open("rb") as file:
        start = file.read(LONGEST)
    order, layout = LAYOUTS[start[:4]]
    if len(start) < layout.itemsize:
        raise UnreadableError(f"its header is cut short: {len(start)} bytes instead of {layout.itemsize}. {ADVICE}")
    header = np.frombuffer(start, layout, 1)[0]
    magic = header["magic"].tobytes()
    if magic not in MAGICS:
        raise UnreadableError(
            "its header is not NIfTI's: an Analyze file, which does not tell left from right, or damaged. Convert it "
            "to NIfTI or NRRD."
        )
    data = beside(path, _partner(path.name)) if MAGICS[magic] else path
    offset = float(header["vox_offset"])
    lowest = 0 if MAGICS[magic] else layout.itemsize
    if not (lowest <= offset < 2**40 and offset.is_integer()):
        raise UnreadableError(f"its header puts the voxels at byte {offset:g}; {lowest} or more is expected. {ADVICE}")
    code, components = TYPES.get(int(header["datatype"]), ("V", 1))
    dtype = np.dtype(order + code)
    if dtype.itemsize * components * 8 != header["bits"]:
        raise UnreadableError(
            f"its voxels are of type {header['datatype']} with {header['bits']} bits, which NIfTI does not know or "
            "which is not read here. Save it with 8 to 64 bits a voxel."
        )
    size = _size(header["dim"].tolist())
    check_form(size, components, code[0] == "c", name)
    slope, intercept = float(header["slope"]), float(header["inter"])
    if slope == 0:
        slope, intercept = 1.0, 0.0
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise UnreadableError(f"its header scales the voxels by {slope:g} and {intercept:g}. {ADVICE}")
    grid = _flat(_grid(header, (*size, 1)[:3], name, notices), len(size))
    start_of, skip = (0, int(offset)) if is_gzip(data) else (int(offset), 0)
    return Stored(data, start_of, "gzip" if is_gzip(data) else "raw", dtype, grid, skip, slope, intercept)


def header_of(path: Path) -> Path:
    """The .hdr beside an .img file, as a user may choose either of the two; any other path itself.

    Raises:
        UnreadableError: it does not exist.
    """
    return beside(path, _partner(path.name)) if path.name.lower().endswith((".img", ".img.gz")) else path


def _partner(name: str) -> str:
    """image.img of image.hdr, and the other way round; in capital letters where it is written so."""
    found = re.fullmatch(r"(.+\.)(hdr|img|HDR|IMG)(\.gz)?", name, re.DOTALL)
    if not found:
        raise UnreadableError("its voxels lie in a file of their own; the two should be called .hdr and .img.")
    partner = {"hdr": "img", "img": "hdr", "HDR": "IMG", "IMG": "HDR"}[found[2]]
    return f"{found[1]}{partner}{found[3] or ''}"


def _size(dim: list[int]) -> tuple[int, ...]:
    """Voxels along each axis; axes of one voxel beyond the third are none."""
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        raise UnreadableError(
            f"its header has dim {' '.join(map(str, dim))}; the number of axes, 1 to 7, and their sizes are expected. "
            + ADVICE
        )
    size = dim[1 : dim[0] + 1]
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    return tuple(size)


def _grid(header: np.void, size: tuple[int, ...], name: str, notices: list[str]) -> Grid:
    """Where the voxels lie in space, by the rule of `read_header`."""
    has_qform, has_sform = (bool(header[key] > 0) for key in ("qform_code", "sform_code"))
    unit = int(header["units"]) & 7
    if unit not in UNITS:
        raise UnreadableError(f"its header has no unit of length that NIfTI knows ({unit}). {ADVICE}")
    scale = UNITS[unit]
    if scale != 1:
        notices.append(f"{name} has its lengths in {'meters' if scale > 1 else 'micrometers'}; they were taken to mm.")
    spacing = np.abs(header["pixdim"][1:4]).astype(float)
    if header["dim"][0] == 2 and not spacing[2] > 0:
        spacing[2] = 1.0
    used = ["quatern", "offset"] * has_qform + ["srow"] * has_sform
    if not (np.isfinite(spacing).all() and all(np.isfinite(header[key]).all() for key in used)):
        raise UnreadableError(f"its header places the voxels at numbers that are not finite. {ADVICE}")

    def placed(matrix: np.ndarray, offset: np.ndarray) -> Grid:
        return Grid.of_axes(size, TO_LPS @ matrix * scale, TO_LPS @ offset * scale)

    rotation = _rotation(header) if has_qform else None
    qform = None if rotation is None else placed(rotation * spacing, header["offset"].astype(float))
    if has_qform and rotation is None:
        if not has_sform:
            raise UnreadableError(f"its qform is no rotation, and it has no sform. {ADVICE}")
        notices.append(f"{name} has a qform that is no rotation; its sform was taken.")
    if has_sform:
        matrix, offset = np.split(header["srow"].astype(float), [3], axis=1)
        if header["dim"][0] == 2 and not matrix[:, 2].any():
            matrix[:, 2] = np.cross(matrix[:, 0], matrix[:, 1]) / max(spacing[0] * spacing[1], 1e-30)
        return _chosen(placed(matrix, offset[:, 0]), qform, spacing * scale, name, notices)
    if qform is not None:
        return qform
    notices.append(
        f"{name} does not tell where it lies and how it is oriented (its qform and sform codes are 0); an image "
        "centered at 0 whose first axis points to the left was taken, as nibabel does. Left and right may be mirrored."
    )
    matrix = np.diag(spacing * (-1, 1, 1))
    return placed(matrix, -matrix @ (np.asarray(size) - 1) / 2)


def _chosen(sform: Grid, qform: Grid | None, spacing: np.ndarray, name: str, notices: list[str]) -> Grid:
    """The sform, or the qform where only that has right angles; what tells the two apart is said."""
    if qform is None:
        if not np.allclose(spacing, sform.spacing, rtol=1e-3):
            notices.append(
                f"{name} tells a spacing of {join(tuple(spacing))} mm beside an sform of {join(sform.spacing)} mm; the "
                "sform was taken."
            )
        return sform
    if sform.upright() is None:
        notices.append(
            f"{name} has an sform whose axes do not stand at right angles; the qform was taken, which lies up to "
            f"{qform.distance(sform):.3g} mm from it. Programs that go by the sform see the result elsewhere than the "
            "image: where that matters, resample the image first."
        )
        return qform
    if differences := sform.differences(qform):
        notices.append(
            f"{name} has a qform that lies up to {sform.distance(qform):.3g} mm from its sform "
            f"({', '.join(differences)}); the sform was taken."
        )
    return sform


def _rotation(header: np.void) -> np.ndarray | None:
    """The qform's rotation (RAS), its third axis turned round where the grid is left-handed; None where it is none."""
    b, c, d = (float(value) for value in header["quatern"])
    rest = 1 - b * b - c * c - d * d
    handed = float(header["pixdim"][0])
    if rest < -1e-5 or handed not in (-1, 0, 1):
        return None
    a = math.sqrt(max(rest, 0))  # the quaternion's first number follows: its norm is 1
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    ) / (a * a + b * b + c * c + d * d)
    return rotation * (1, 1, -1 if handed < 0 else 1)


def _flat(grid: Grid, dimension: int) -> Grid:
    """In two dimensions where the file is and loses nothing by it: a slice that lies in the plane z = 0."""
    cosines = np.reshape(grid.direction, (3, 3))
    if dimension > 2 or cosines[2, :2].any() or grid.origin[2] != 0:
        return grid
    return Grid(grid.size[:2], grid.spacing[:2], grid.origin[:2], tuple(cosines[:2, :2].ravel().tolist()))
