"""An image as its file stores it: what every format's header says in the end, and its voxels decoded.

The formats are read here and not by ITK: a header has to be parsed to be checked, two parsers of one header are how a
file fools its reader, and ITK inflates without the checksum, fills up what is missing and ends the process at names
that are no UTF-8.
"""

from __future__ import annotations

import bz2
import gzip
import math
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import LIPCARError
from .grid import Grid

CHUNK = 1 << 22
"""Bytes decoded at a time."""
DEFLATE_RATIO = 1032
"""More than this deflate cannot compress: a header that announces more lies."""
HEADER_LIMIT = 1 << 20
"""Bytes of a text header; Slicer's longest, of diffusion series, have a tenth of it."""
ADVICE = "Copy or export it again."


class UnreadableError(Exception):
    """Why a file is no image that can be read: the end of a sentence, and what to do."""


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """One sentence about a file whose header or voxels are unreadable or damaged."""
    try:
        yield
    except UnreadableError as error:
        raise LIPCARError(f"'{path}' cannot be read as an image: {error}") from error
    except FileNotFoundError as error:
        raise LIPCARError(f"'{path}' does not exist. Give a file, or a folder that holds one DICOM series.") from error
    except OSError as error:
        if error.errno is not None:
            raise LIPCARError(f"'{path}' cannot be read as an image: {error.strerror}.") from error
        raise LIPCARError(f"'{path}' is damaged: {error}. {ADVICE}") from error  # gzip or bz2 says so
    except (EOFError, zlib.error) as error:
        raise LIPCARError(f"'{path}' is damaged: {error}. {ADVICE}") from error
    except MemoryError as error:
        raise LIPCARError(f"'{path}' needs more memory than there is. Cut it to the slices you need.") from error


@dataclass(frozen=True)
class Stored:
    """What a header says.

    Attributes:
        path: of the file that holds the voxels.
        start: its bytes before them, encoded or not.
        encoding: raw, text, gzip, bzip2, or zlib.
        dtype: of a voxel, with its byte order.
        grid: where the voxels lie.
        skip: decoded bytes before the voxels.
        slope, intercept: value = stored * slope + intercept.
    """

    path: Path
    start: int
    encoding: str
    dtype: np.dtype
    grid: Grid
    skip: int = 0
    slope: float = 1.0
    intercept: float = 0.0

    def voxels(self) -> np.ndarray:
        """The voxels in numpy's order, float32.

        Raises:
            UnreadableError: more or fewer bytes than the header announces.
            OSError, EOFError, zlib.error: damaged while compressed.
            MemoryError: too large.
        """
        shape = self.grid.size[::-1]
        count = math.prod(shape)
        with self.path.open("rb") as file:
            stored = regular_size(self.path) - self.start
            if self.encoding == "text":
                file.seek(self.start)
                return _text_values(file.read(), count).reshape(shape)
            expected = self.skip + count * self.dtype.itemsize
            possible = {"raw": 1, "gzip": DEFLATE_RATIO, "zlib": DEFLATE_RATIO}.get(self.encoding, math.inf)
            if expected > stored * possible or (self.encoding == "raw" and expected != stored):
                raise _mismatch(stored, expected, self.encoding)
            file.seek(self.start)
            return self._filled(_decoded(file, self.encoding), count, expected).reshape(shape)

    def _filled(self, chunks: Iterator[bytes], count: int, expected: int) -> np.ndarray:
        try:
            values = np.empty(count, np.float32)
        except ValueError as error:  # numpy's word for a size beyond all memory
            raise MemoryError from error
        found = filled = 0
        rest = b""
        for chunk in chunks:
            rest += chunk[max(self.skip - found, 0) :]
            found += len(chunk)
            if found > expected:
                raise _mismatch(found, expected, "raw", "more than ")
            whole = len(rest) // self.dtype.itemsize
            values[filled : filled + whole] = self._scaled(np.frombuffer(rest, self.dtype, whole))
            rest = rest[whole * self.dtype.itemsize :]
            filled += whole
        if found != expected:
            raise _mismatch(found, expected, "raw")
        return values

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # what leaves float32 is infinite, and refused as such
            if (self.slope, self.intercept) != (1.0, 0.0):
                values = values.astype(np.float64) * self.slope + self.intercept
            return values.astype(np.float32)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or else a regular file.

    Raises:
        FileNotFoundError: nothing there.
        UnreadableError: a name that no file can have, a pipe or a device, which would never end.
    """
    mode = _status(path).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UnreadableError("it is a pipe or a device. Give a file, or a folder that holds one DICOM series.")
    return stat.S_ISDIR(mode)


def regular_size(path: Path) -> int:
    """The bytes of a regular file, as it lies on the disk.

    Raises:
        UnreadableError: as of `is_folder`, or a folder.
    """
    if is_folder(path):
        raise UnreadableError("it is a folder; a file is expected.")
    return _status(path).st_size


def is_gzip(path: Path) -> bool:
    """Whether a file begins as compressed ones do."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except ValueError as error:  # NUL in the name
        raise UnreadableError(f"no file can have this name ({error}).") from error


def beside(header: Path, name: str) -> Path:
    """The file of voxels that a header names.

    Raises:
        UnreadableError: it lies in another folder, is no regular file, or is a list of files.
    """
    name = name.removeprefix("./").removeprefix(".\\")
    if name in ("", ".", "..") or re.search(r"[/\\\0]|^LIST\b|%\d*d", name):
        raise UnreadableError(
            f"it names {name[:80]!r} for its voxels; one file in the same folder is expected. Put header and voxels "
            "together, or save the image as one .nrrd file."
        )
    path = header.with_name(name)
    try:
        regular_size(path)
    except (UnreadableError, OSError) as error:
        reason = f"{error.strerror}." if isinstance(error, OSError) else error
        raise UnreadableError(f"the file '{name}' that should be beside it cannot be read: {reason}") from error
    return path


def header_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a text header, without their ends, up to the end of the file.

    Raises:
        UnreadableError: it does not end.
    """
    total = 0
    while line := file.readline(HEADER_LIMIT):
        total += len(line)
        if total >= HEADER_LIMIT:
            raise UnreadableError(f"its header does not end. {ADVICE}")
        yield line.rstrip(b"\r\n")


def text(line: bytes) -> str:
    """What a line of a header says where that is more than a remark: plain text.

    Raises:
        UnreadableError: control characters or bytes beyond ASCII.
    """
    words = line.decode("latin-1").strip()
    if not words.isascii() or not words.replace("\t", " ").isprintable():
        raise UnreadableError(f"its header has a line that is no text: {line[:60]!r}. {ADVICE}")
    return words


def file_name(line: bytes) -> str:
    """The same of a line that names a file, which may have any name."""
    return line.decode("utf-8", "surrogateescape").strip()


def check_told(fields: Mapping[str, str], *names: str) -> None:
    """Refuse a header that leaves out what no image can do without."""
    missing = [name for name in names if name not in fields]
    if missing:
        raise UnreadableError(f"its header does not tell {' and '.join(missing)}. {ADVICE}")


def numbers(words: Sequence[str], count: int, name: str) -> np.ndarray:
    """Finite numbers of a header.

    Args:
        words: as they stand there.
        count: how many are expected.
        name: of the field.

    Raises:
        UnreadableError: another count, no number, not finite.
    """
    if len(words) != count:
        raise UnreadableError(f"its header has {len(words)} values for {name}, {count} are expected. {ADVICE}")
    try:
        values = np.asarray([float(word.replace("_", "?")) for word in words])
    except ValueError as error:
        raise UnreadableError(
            f"its header has {' '.join(words)[:60]!r} for {name}; numbers are expected. {ADVICE}"
        ) from error
    if not np.isfinite(values).all():
        raise UnreadableError(f"its header has a {name} that is not finite: {' '.join(words)[:60]}. {ADVICE}")
    return values


def integers(words: Sequence[str], count: int, name: str, lowest: int = 0) -> tuple[int, ...]:
    """The same of whole numbers of at most 15 digits.

    Raises:
        UnreadableError: another count, no whole number, less than `lowest`.
    """
    if len(words) != count or not all(re.fullmatch(r"[+-]?[0-9]{1,15}", word) for word in words):
        raise UnreadableError(
            f"its header has {' '.join(words)[:60]!r} for {name}; {count} whole numbers are expected. {ADVICE}"
        )
    values = tuple(int(word) for word in words)
    if min(values) < lowest:
        raise UnreadableError(f"its header has {min(values)} for {name}; at least {lowest} is expected. {ADVICE}")
    return values


def _mismatch(found: int, expected: int, encoding: str, more: str = "") -> UnreadableError:
    kind = "" if encoding == "raw" else "compressed "
    words = "it is cut short" if found < expected else "it does not fit its header"
    return UnreadableError(f"{words}: {more}{found} {kind}bytes where its header announces {expected}. {ADVICE}")


def _decoded(file: BinaryIO, encoding: str) -> Iterator[bytes]:
    """The bytes from where the file stands to its end; what is compressed is checked by its checksum."""
    if encoding == "zlib":
        yield from _inflated(file)
        return
    reader: BinaryIO | gzip.GzipFile | bz2.BZ2File = file
    if encoding == "gzip":
        reader = gzip.GzipFile(fileobj=file)
    elif encoding == "bzip2":
        reader = bz2.BZ2File(file)
    while chunk := reader.read(CHUNK):
        yield chunk


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=47)  # zlib or gzip, told by its first bytes
    while not decoder.eof:
        packed = decoder.unconsumed_tail or file.read(CHUNK)
        chunk = decoder.decompress(packed, CHUNK)
        if not packed and not chunk:
            raise EOFError("the compressed voxels end early")
        yield chunk
    if decoder.unused_data or file.read(1):
        raise EOFError("something follows the compressed voxels")


def _text_values(content: bytes, count: int) -> np.ndarray:
    words = content.replace(b",", b" ").split()
    if len(words) != count:
        raise UnreadableError(f"it has {len(words)} voxels where its header announces {count}. {ADVICE}")
    try:
        values: np.ndarray = np.asarray(words).astype(np.float64).astype(np.float32)
    except ValueError as error:
        raise UnreadableError(f"a voxel is no number ({error}). {ADVICE}") from error
    return values
