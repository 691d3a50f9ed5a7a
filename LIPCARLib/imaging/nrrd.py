"""Headers of NRRD files (teem.sourceforge.net/nrrd/format.html): one file, or .nhdr with its voxels beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
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

MAGIC = b"NRRD000"
FIELDS = re.compile(
    "axis(max|min)s|blocksize|byteskip|center(ing)?s|content|datafile|dimension|encoding|endian|kinds|labels|lineskip|"
    "(old)?(max|min)|measurementframe|number|sampleunits|sizes|space(dimension|directions|origin|units)?|spacings|"
    "thicknesses|type|units"
)
"""Every field of the format, without the spaces that some are written with."""
REMARKS = ("content", "labels", "sampleunits", "units")
"""Fields that may say anything."""
TYPES = {
    "i1": "signed char|char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
ENCODINGS = {
    "raw": "raw",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "gz": "gzip",
    "gzip": "gzip",
    "bz2": "bzip2",
    "bzip2": "bzip2",
}
TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
    "scanner-xyz": (1, 1, 1),
    "3d-right-handed": (1, 1, 1),
    "3d-left-handed": (1, 1, 1),
}
"""Signs of x, y and z; a space that says nothing of the patient is taken as it is, as ITK does."""
PLACES = re.compile("domain|space|time|[?]{3}|none")
"""Kinds of axes that are places; those of other kinds hold the values of one voxel."""
VALUES = re.compile(
    "list|point|(covariant-)?vector|normal|stub|scalar|complex|(2|3|4)-vector|(3|4)-color|(rgb|rgba|hsv|xyz)-color|"
    "3-gradient|3-normal|quaternion|(2|3)d-(masked-)?(symmetric-)?matrix"
)


def read_header(path: Path, name: str, notices: list[str]) -> Stored:
    """What the header of a file that begins with `MAGIC` says.

    Args:
        path: of the file.
        name: how messages call it, the subject of a sentence.
        notices: where sentences for the user are appended: what the header leaves open.

    Raises:
        UnreadableError: not as the format has it.
        LIPCARError: no image of one real value per voxel in two or three dimensions.
    """
    with path.open("rb") as file:
        fields = _fields(file)
        start = file.tell()
    data = path
    if "datafile" in fields:
        data, start = beside(path, fields["datafile"]), 0
    (dimension,) = integers(fields["dimension"].split(), 1, "dimension", 1)
    if dimension > 16:
        raise UnreadableError(f"its header has dimension: {dimension}; NRRD has at most 16. {ADVICE}")
    sizes = integers(fields["sizes"].split(), dimension, "sizes", 1)
    directions = _vectors(fields["spacedirections"], dimension) if "spacedirections" in fields else None
    kinds = fields.get("kinds", "??? " * dimension).lower().split()
    if len(kinds) != dimension or not all(PLACES.fullmatch(kind) or VALUES.fullmatch(kind) for kind in kinds):
        raise UnreadableError(f"its header has kinds: {' '.join(kinds)[:80]}, which the format does not know. {ADVICE}")
    places = [a for a in range(dimension) if PLACES.fullmatch(kinds[a]) and (directions is None or directions[a])]
    size = tuple(sizes[a] for a in places)
    components = math.prod(sizes) // math.prod(size)
    check_form(size, components, "complex" in kinds, name)
    grid = _grid(fields, size, places, directions, name, notices)
    encoding = ENCODINGS[_known(fields, "encoding", ENCODINGS)]
    dtype = _dtype(fields, encoding)
    start, skip = _skipped(fields, data, start, encoding, math.prod(sizes) * dtype.itemsize)
    return Stored(data, start, encoding, dtype, grid, skip)


def _fields(file: BinaryIO) -> dict[str, str]:
    """The fields by name; comments and the keys that users add are left out."""
    fields: dict[str, str] = {}
    if not re.fullmatch(MAGIC + rb"[1-6]\r?\n", file.readline(16)):
        raise UnreadableError(f"its first line names no version of NRRD from 1 to 6. {ADVICE}")
    for line in header_lines(file):
        if not line:
            break
        if line.startswith(b"#"):
            continue
        name, _, value = line.partition(b":")
        key = name.decode("latin-1").lower().replace(" ", "")
        is_field = bool(FIELDS.fullmatch(key))
        if not is_field and b":=" in line:
            continue
        if not is_field or value.startswith(b"="):
            raise UnreadableError(f"its header has a line that NRRD does not know: {line[:60]!r}. {ADVICE}")
        if key in fields:
            raise UnreadableError(f"its header has the field '{key}' twice. {ADVICE}")
        if key == "datafile":
            fields[key] = file_name(value)
        elif key not in REMARKS:
            fields[key] = text(value)
    check_told(fields, "dimension", "type", "sizes", "encoding")
    return fields


def _grid(
    fields: dict[str, str],
    size: tuple[int, ...],
    places: list[int],
    directions: list[list[str]] | None,
    name: str,
    notices: list[str],
) -> Grid:
    """Where the axes `places` lie; a slice that stands in space becomes a volume of one."""
    count = len(places)
    units = set(re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))) - {"mm", "millimeter", "millimeters", ""}
    if units:
        raise UnreadableError(f"its space units are {', '.join(sorted(units))}; mm are expected. Convert it to mm.")
    if "space" not in fields and "spacedimension" not in fields:
        if directions is not None or "spaceorigin" in fields:
            raise UnreadableError(f"its header has a place in a space that it does not name. {ADVICE}")
        return _unplaced(fields.get("spacings", "").split(), size, places, name, notices)
    signs = np.asarray((1, 1, 1))
    width = 3
    if "space" in fields:
        signs *= TO_LPS[_known(fields, "space", TO_LPS)]
    else:
        (width,) = integers(fields["spacedimension"].split(), 1, "space dimension", 1)
    if directions is None:
        raise UnreadableError(f"its header names a space but no space directions. {ADVICE}")
    if width not in (count, 3):
        raise UnreadableError(f"its header has {count} axes in a space of {width} dimensions. {ADVICE}")
    axes = np.stack([numbers(directions[a], width, "space directions") for a in places], axis=1)
    if "spaceorigin" in fields:
        origin = numbers(_vectors(fields["spaceorigin"], 1)[0], width, "space origin")
    else:
        notices.append(f"{name} does not tell its place: its first voxel was taken to lie at 0.")
        origin = np.zeros(width)
    if count < width:
        normal = np.cross(axes[:, 0], axes[:, 1])
        size, axes = (*size, 1), np.column_stack((axes, normal / max(float(np.linalg.norm(normal)), 1e-30)))
    return Grid.of_axes(size, axes * signs[:width, np.newaxis], origin * signs[:width])


def _unplaced(spacings: list[str], size: tuple[int, ...], places: list[int], name: str, notices: list[str]) -> Grid:
    count = len(places)
    if spacings and len(spacings) <= max(places):
        raise UnreadableError(f"its header has {len(spacings)} spacings for {max(places) + 1} axes. {ADVICE}")
    spacing = numbers([spacings[a] for a in places], count, "spacings") if spacings else np.ones(count)
    missing, taken = ("", "") if spacings else (", nor its spacing", " and 1 mm")
    notices.append(
        f"{name} does not tell its place and orientation{missing}; a first voxel at 0, upright axes{taken} were taken."
    )
    return Grid.of_axes(size, np.diag(spacing), np.zeros(count))


def _vectors(words: str, count: int) -> list[list[str]]:
    """The numbers of each vector, as they stand there; none for an axis that has no direction."""
    pattern = r"\s*(\([^()]*\)|none)"
    if not re.fullmatch(rf"({pattern}){{{count}}}\s*", words):
        raise UnreadableError(f"its header has {words[:80]!r} where {count} vectors are expected. {ADVICE}")
    return [[] if one == "none" else re.split(r"\s*,\s*", one[1:-1].strip()) for one in re.findall(pattern, words)]


def _dtype(fields: dict[str, str], encoding: str) -> np.dtype:
    word = fields["type"].lower()
    code = next((code for code, names in TYPES.items() if word in names.split("|")), None)
    if code is None:
        raise UnreadableError(
            f"its voxels are of type {word[:40]!r}; numbers of one, two, four or eight bytes are expected."
        )
    if code[1] == "1" or encoding == "text":
        return np.dtype(code)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None:
        raise UnreadableError(f"its header does not tell the byte order, endian: little or big. {ADVICE}")
    return np.dtype(order + code)


def _skipped(fields: dict[str, str], data: Path, start: int, encoding: str, length: int) -> tuple[int, int]:
    """Bytes before the voxels in the file, and after decoding."""
    (skip,) = integers(fields.get("byteskip", "0").split(), 1, "byte skip", -1)
    (lines,) = integers(fields.get("lineskip", "0").split(), 1, "line skip")
    if lines or (skip and encoding == "text"):
        raise UnreadableError("its header skips lines of its voxels' file. Save the image as one .nrrd file.")
    if encoding != "raw":
        if skip < 0:
            raise UnreadableError(f"its header has byte skip: -1 for compressed voxels. {ADVICE}")
        return start, skip
    return (max(regular_size(data) - length, start) if skip < 0 else start + skip), 0


def _known(fields: dict[str, str], name: str, table: Mapping[str, object]) -> str:
    word = fields[name].lower()
    if word not in table:
        raise UnreadableError(f"its {name} is {word[:40]!r}; one of {', '.join(table)} is read.")
    return word
