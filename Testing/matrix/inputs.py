"""Inputs made from one tiny simulated examination: images whose headers and voxels are what a case wants them to be."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

Arrange = Callable[[Path], object]
"""Puts something into a folder."""


class Grid(NamedTuple):
    """Where voxels lie, in SimpleITK's order."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


SLICES, SIZE = 8, 64
GRID = Grid((SIZE, SIZE, SLICES), (0.5, 0.5, 2.5), (-16.0, -15.5, 7.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
FLAT = Grid((SIZE, SIZE), (0.5, 0.5), (-16.0, -15.5), (1.0, 0, 0, 1))
FILES = {"lowdose": "low", "predose": "pre", "highdose": "high"}


@functools.cache
def examination() -> dict[str, np.ndarray]:
    """Pre-dose, low-dose and high-dose image, (8, 64, 64) uint16."""
    from LIPCARLib.simulation import simulate

    subject = simulate(3, 0, slices=SLICES, size=SIZE, anatomy="rat")
    return {role: getattr(subject, role).round().astype(np.uint16) for role in ("predose", "lowdose", "highdose")}


def image_of(array: np.ndarray, grid: Grid | None = None) -> sitk.Image:
    """On the examination's grid, as far as an array of other shape allows."""
    image = sitk.GetImageFromArray(array, isVector=False)
    given = grid or (GRID if array.ndim == 3 else FLAT)
    image.SetSpacing(given.spacing)
    image.SetOrigin(given.origin)
    image.SetDirection(given.direction)
    return image


def together(*parts: Arrange) -> Arrange:
    def arrange(folder: Path) -> None:
        for part in parts:
            part(folder)

    return arrange


def nothing(folder: Path) -> None:
    pass


def examined(change: Callable[[dict[str, np.ndarray]], object] | None = None, suffix: str = ".nrrd") -> Arrange:
    """low, pre and high; `change` gets the arrays by role and puts others in their places."""

    def arrange(folder: Path) -> None:
        arrays = {role: array.copy() for role, array in examination().items()}
        if change is not None:
            change(arrays)
        for role, array in arrays.items():
            sitk.WriteImage(image_of(array), str(folder / f"{FILES[role]}{suffix}"))

    return arrange


ordinary = examined()


def with_file(name: str, content: bytes | str | Callable[[], bytes]) -> Arrange:
    """The ordinary examination and one more file, which may take the place of an image."""

    def arrange(folder: Path) -> None:
        ordinary(folder)
        data = content() if callable(content) else content
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    return arrange


def with_image(name: str, make: Callable[[], sitk.Image]) -> Arrange:
    """The ordinary examination and one more image, which may take the place of one."""

    def arrange(folder: Path) -> None:
        ordinary(folder)
        (folder / name).unlink(missing_ok=True)
        sitk.WriteImage(make(), str(folder / name))

    return arrange


def with_thing(kind: str, name: str) -> Arrange:
    """The ordinary examination and something under that name that is no regular file."""

    def arrange(folder: Path) -> None:
        ordinary(folder)
        path = folder / name
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "dangling":
            path.symlink_to("nowhere")
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "garbage":
            path.write_bytes(np.random.default_rng(0).bytes(3000))
        elif kind != "missing":
            raise ValueError(kind)

    return arrange


THINGS = ("missing", "pipe", "folder", "loop", "dangling", "zero", "empty", "garbage")


# NIfTI-1: the header field by field

_NIFTI = np.dtype(
    [
        *(("sizeof_hdr", "<i4"), ("unused1", "S35"), ("dim_info", "u1"), ("dim", "<i2", 8), ("intent", "<f4", 3)),
        *(("intent_code", "<i2"), ("datatype", "<i2"), ("bitpix", "<i2"), ("slice_start", "<i2")),
        *(("pixdim", "<f4", 8), ("vox_offset", "<f4"), ("scl_slope", "<f4"), ("scl_inter", "<f4")),
        *(
            ("slice_end", "<i2"),
            ("slice_code", "u1"),
            ("xyzt_units", "u1"),
            ("cal", "<f4", 2),
            ("slice_time", "<f4", 2),
        ),
        *(("glmax", "<i4", 2), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "<i2"), ("sform_code", "<i2")),
        *(
            ("quatern", "<f4", 3),
            ("qoffset", "<f4", 3),
            ("sform", "<f4", (3, 4)),
            ("intent_name", "S16"),
            ("magic", "S4"),
        ),
    ]
)
assert _NIFTI.itemsize == 348


def nifti(role: str = "lowdose", **fields: Any) -> bytes:
    """A file of the examination with these header fields; `dim_1` sets one of an array. RAS where the grid is LPS."""
    array = examination()[role].astype("<i2")
    header = np.zeros((), _NIFTI)
    header["sizeof_hdr"], header["magic"], header["vox_offset"] = 348, b"n+1", 352
    header["dim"] = (3, *GRID.size, 1, 1, 1, 1)
    header["datatype"], header["bitpix"] = 4, 16
    header["pixdim"] = (1, *GRID.spacing, 0, 0, 0, 0)
    header["xyzt_units"], header["scl_slope"] = 2, 1
    flip, origin = np.diag([-1.0, -1, 1]), np.asarray(GRID.origin)
    header["qform_code"], header["quatern"], header["qoffset"] = 1, (0, 0, 1), flip @ origin
    header["sform_code"], header["sform"] = 1, np.c_[flip @ np.diag(GRID.spacing), flip @ origin]
    for name, value in fields.items():
        if name in _NIFTI.names:
            header[name] = value
        else:
            array_name, index = name.rsplit("_", 1)
            header[array_name][int(index)] = value
    return header.tobytes() + b"\0" * 4 + array.tobytes()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def damaged(data: bytes, share: float = 0.6, count: int = 20) -> bytes:
    """Some bytes in a row are inverted."""
    start = int(share * len(data))
    return data[:start] + bytes(255 - byte for byte in data[start : start + count]) + data[start + count :]


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(share * len(data))]


# NRRD and MetaImage: the header line by line


def _with_lines(lines: dict[str, str], changes: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**lines, **changes}.items() if value is not None}


def nrrd(changes: dict[str, str | None] | None = None, data: bytes | None = None, role: str = "lowdose") -> bytes:
    """A raw little-endian NRRD of the examination; a changed line, or None for none of it."""
    lines = {
        "type": "unsigned short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, GRID.size)),
        "space directions": "(0.5,0,0) (0,0.5,0) (0,0,2.5)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(-16,-15.5,7)",
    }
    header = "".join(f"{key}: {value}\n" for key, value in _with_lines(lines, changes or {}).items())
    voxels = examination()[role].astype("<u2").tobytes() if data is None else data
    return b"NRRD0004\n" + header.encode("latin-1") + b"\n" + voxels


def meta(changes: dict[str, str | None] | None = None, data: bytes | None = None, role: str = "lowdose") -> bytes:
    """The same as a MetaImage."""
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "-16 -15.5 7",
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": "0.5 0.5 2.5",
        "DimSize": " ".join(map(str, GRID.size)),
        "ElementType": "MET_USHORT",
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{key} = {value}\n" for key, value in _with_lines(lines, changes or {}).items())
    voxels = examination()[role].astype("<u2").tobytes() if data is None else data
    return header.encode("latin-1") + voxels
