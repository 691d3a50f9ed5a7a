"""Headers of MetaImage files (itk.org/Wiki/MetaIO): .mha, or .mhd with its voxels beside it."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .checks import check_form
from .grid import Grid
from .stored import (
    ADVICE,
    Stored,
    UnreadableError,
    beside,
    check_told,
    file_name,
    header_lines,
    integers,
    numbers,
    regular_size,
    text,
)

BEGINNING = re.compile(rb"[A-Za-z]+[ \t]*=")
KEYS = (  # noqa: SIM905
    "AnatomicalOrientation BinaryData BinaryDataByteOrderMSB CenterOfRotation Color Comment CompressedData "
    "CompressedDataSize CompressionLevel DimSize DistanceUnits ElementByteOrderMSB ElementDataFile ElementMax "
    "ElementMin ElementNbits ElementNumberOfChannels ElementSize ElementSpacing "
    "ElementToIntensityFunctionOffset ElementToIntensityFunctionSlope ElementType HeaderSize ID Modality NDims Name "
    "ObjectSubType ObjectType Offset Orientation Origin ParentID Position Rotation SequenceID TransformMatrix "
    "TransformType"
).split()
"""Every key of the format. Programs add others; one that looks like one of these is a damaged one."""
REMARKS = ("Color", "Comment", "ID", "Modality", "Name", "ParentID", "SequenceID")
"""Keys that may say anything."""
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_header(path: Path, name: str, notices: list[str]) -> Stored:
    """What the header of a file with a `BEGINNING` says.

    Args:
        path: of the file.
        name: how messages call it, the subject of a sentence.
        notices: where sentences for the user are appended: what the header leaves open.

    Raises:
        UnreadableError: not as the format has it.
        LIPCARError: no image of one real value per voxel in two or three dimensions.
    """
    with path.open("rb") as file:
        keys = _keys(file)
        start = file.tell()
        more = file.read(1)
    if keys.get("ObjectType", "Image") != "Image":
        raise UnreadableError(f"it holds an object of type {keys['ObjectType'][:40]!r}; an Image is expected.")
    (dimension,) = integers(keys["NDims"].split(), 1, "NDims", 1)
    if dimension > 10:
        raise UnreadableError(f"its header has NDims = {dimension}; MetaImage has at most 10. {ADVICE}")
    size = integers(keys["DimSize"].split(), dimension, "DimSize", 1)
    (components,) = integers(keys.get("ElementNumberOfChannels", "1").split(), 1, "ElementNumberOfChannels", 1)
    check_form(size, components, False, name)
    if keys["ElementType"] not in TYPES:
        raise UnreadableError(
            f"its voxels are of type {keys['ElementType'][:40]!r}; one of {', '.join(TYPES)} is read."
        )
    scaling = [
        float(numbers([keys.get(f"ElementToIntensityFunction{key}", default)], 1, key)[0])
        for key, default in (("Slope", "1"), ("Offset", "0"))
    ]
    data = path
    if keys["ElementDataFile"].upper() != "LOCAL":
        if more:
            raise UnreadableError(f"its header goes on after ElementDataFile, which should be its last line. {ADVICE}")
        data, start = beside(path, keys["ElementDataFile"]), 0
    binary, compressed = _boolean(keys, "BinaryData", True), _boolean(keys, "CompressedData", False)
    order = ">" if _boolean(keys, "BinaryDataByteOrderMSB", _boolean(keys, "ElementByteOrderMSB", False)) else "<"
    dtype = np.dtype(order + TYPES[keys["ElementType"]])
    (skip,) = integers(keys.get("HeaderSize", "0").split(), 1, "HeaderSize", -1)
    if skip and (compressed or data == path or not binary):
        raise UnreadableError(
            f"its header has HeaderSize = {skip}, which only plain binary voxels beside it can have. {ADVICE}"
        )
    start = max(regular_size(data) - math.prod(size) * dtype.itemsize, 0) if skip < 0 else start + skip
    if compressed and "CompressedDataSize" in keys:
        (announced,) = integers(keys["CompressedDataSize"].split(), 1, "CompressedDataSize")
        if announced and announced != regular_size(data) - start:
            raise UnreadableError(
                f"it has {regular_size(data) - start} compressed bytes where its header announces {announced}. {ADVICE}"
            )
    encoding = "zlib" if compressed else "raw" if binary else "text"
    grid = _grid(keys, size, name, notices)
    return Stored(data, start, encoding, dtype, grid, slope=scaling[0], intercept=scaling[1])


def _keys(file: BinaryIO) -> dict[str, str]:
    """The lines by their keys, up to the one that names the voxels."""
    keys: dict[str, str] = {}
    for line in header_lines(file):
        key, equals, value = line.partition(b"=")
        word = text(key)
        if not equals or not word:
            raise UnreadableError(f"its header has a line without a key: {line[:60]!r}. {ADVICE}")
        if word not in KEYS:
            if close := get_close_matches(word.lower(), [one.lower() for one in KEYS if one not in REMARKS], 1, 0.8):
                raise UnreadableError(f"its header has the key {word[:60]!r}, a damaged {close[0]}? {ADVICE}")
            continue
        if word in keys:
            raise UnreadableError(f"its header has {word} twice. {ADVICE}")
        if word not in REMARKS:
            keys[word] = file_name(value) if word == "ElementDataFile" else text(value)
        if word == "ElementDataFile":
            break
    check_told(keys, "NDims", "DimSize", "ElementType", "ElementDataFile")
    return keys


def _grid(keys: dict[str, str], size: tuple[int, ...], name: str, notices: list[str]) -> Grid:
    count = len(size)
    told = {
        "spacing": _first(keys, "ElementSpacing", "ElementSize"),
        "place": _first(keys, "Offset", "Position", "Origin"),
        "orientation": _first(keys, "TransformMatrix", "Rotation", "Orientation"),
    }
    missing = [what for what, words in told.items() if not words]
    if missing:
        notices.append(
            f"{name} does not tell its {' and '.join(missing)}: a spacing of 1 mm, a first voxel at 0 and upright axes "
            "were taken for what is missing."
        )
    spacing = numbers(told["spacing"] or ["1"] * count, count, "ElementSpacing")
    origin = numbers(told["place"] or ["0"] * count, count, "Offset")
    upright = np.eye(count).ravel().astype(str).tolist()
    matrix = numbers(told["orientation"] or upright, count * count, "TransformMatrix").reshape(count, count)
    direction = matrix.T.ravel().tolist()  # the file lists axis by axis
    return Grid(size, tuple(spacing.tolist()), tuple(origin.tolist()), tuple(direction))


def _first(keys: dict[str, str], *names: str) -> list[str] | None:
    return next((keys[name].split() for name in names if name in keys), None)


def _boolean(keys: dict[str, str], name: str, default: bool) -> bool:
    word = keys.get(name, str(default)).lower()
    if word not in BOOLEANS:
        raise UnreadableError(f"its header has {word[:20]!r} for {name}; True or False is expected. {ADVICE}")
    return BOOLEANS[word]
