"""Damaged image files: bytes and fields of a header changed at random, and what may come of it."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import read_image

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".nii.gz", ".hdr")
TEXT = (".nrrd", ".nhdr", ".mha", ".mhd")
WORDS = (
    b"-1",
    b"0",
    b"1",
    b"2",
    b"65535",
    b"99999999999",
    b"1e300",
    b"nan",
    b"inf",
    b"None",
    b"LIST",
    b"../x",
    b"%d",
    b"",
)
"""What takes the place of a number or word in a text header."""
TYPES = [
    np.dtype(order + code) for order in "<>" for code in ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "i8", "u8", "f8")
]


def voxels() -> np.ndarray:
    """(4, 12, 10) int16, all different and without symmetry."""
    return np.random.default_rng(5).permutation(480).reshape(4, 12, 10).astype(np.int16)


def write_valid(folder: Path, suffix: str, compressed: bool) -> tuple[Path, Path]:
    """An image as SimpleITK writes it; the file that has the header, and the one that has the voxels."""
    image = sitk.GetImageFromArray(voxels())
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((-10.25, 20.5, 7.0))
    image.SetDirection((0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))
    path = folder / f"image{suffix}"
    sitk.WriteImage(image, str(path), useCompression=compressed)
    others = [other for other in folder.iterdir() if other != path]
    return path, others[0] if others else path


def header_length(content: bytes, suffix: str) -> int:
    """Bytes before the voxels."""
    if suffix in (".nii", ".nii.gz", ".hdr"):
        return min(352, len(content))
    end = content.find(b"\n\n") + 2 if suffix == ".nrrd" else content.find(b"LOCAL\n") + 6 if suffix == ".mha" else 0
    return end or len(content)


def mutated(header: bytes, is_text: bool, rng: np.random.Generator) -> bytes:
    """One to three changes: of words, lines and digits of a text header, of bits, bytes and numbers of any."""
    for _ in range(rng.integers(1, 4)):
        header = _words_changed(header, rng) if is_text and rng.random() < 0.7 else _bytes_changed(header, rng)
    return header


def _words_changed(header: bytes, rng: np.random.Generator) -> bytes:
    lines = header.split(b"\n")
    line = int(rng.integers(len(lines)))
    kind = rng.integers(6)
    if kind == 0:
        return b"\n".join(lines[:line] + lines[line + 1 :])
    if kind == 1:
        return b"\n".join([*lines[:line], lines[int(rng.integers(len(lines)))], *lines[line:]])
    words = lines[line].split(b" ")
    word = int(rng.integers(len(words)))
    text = words[word]
    at = int(rng.integers(len(text) + 1))
    if kind == 2:
        words[word] = WORDS[int(rng.integers(len(WORDS)))]
    elif kind == 3:
        words[word] = text[:at] + text[at + 1 :]
    elif kind == 4:
        words[word] = text[:at] + bytes(rng.choice(list(b"0123456789.-e(),_ \t#:=X"), 1).tolist()) + text[at:]
    else:
        words[word] = text[:at] + bytes(rng.choice(list(b"0123456789"), 1).tolist()) + text[at + 1 :]
    lines[line] = b" ".join(words)
    return b"\n".join(lines)


def _bytes_changed(header: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(max(len(header) - 4, 1)))
    kind = rng.integers(4)
    if kind == 0:
        new = bytes([header[at] ^ (1 << int(rng.integers(8)))])
    elif kind == 1:
        new = rng.bytes(1)
    else:
        at -= at % 4
        integers = np.array([0, 1, 2, 3, 5, 348, 32767, -1, 2**31 - 1, -(2**31)], "<i4")
        floats = np.array([np.nan, np.inf, -np.inf, 1e38, 1e-38, 0.5, 353.0, -1.0], "<f4")
        new = rng.choice(integers if kind == 2 else floats).tobytes()
    return header[:at] + new + header[at + len(new) :]


def fault(path: Path, payload: bytes) -> str | None:
    """What is wrong with how a damaged file is read; None where it is refused or read as its header may say.

    Args:
        path: of the file.
        payload: the voxels' bytes, which were not changed.
    """
    try:
        image = read_image(path, [])
    except LIPCARError as error:
        return None if str(path) in str(error) and len(str(error)) < 1000 else f"message: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    direction = np.reshape(image.GetDirection(), (image.GetDimension(), -1))
    place = np.asarray((*image.GetSpacing(), *image.GetOrigin()))
    if not np.isfinite(place).all() or np.abs(direction.T @ direction - np.eye(len(direction))).max() > 1e-4:
        return f"grid: {image.GetSpacing()} {image.GetOrigin()} {image.GetDirection()}"
    values = sitk.GetArrayFromImage(image).ravel()
    return None if any(_may_be(values, stored) for stored in _readings(payload, len(values))) else "other voxels"


def _readings(payload: bytes, count: int) -> Iterator[np.ndarray]:
    """The payload in every type that gives as many voxels: all of its bytes are voxels, in their order."""
    for dtype in TYPES:
        if count * dtype.itemsize == len(payload):
            yield np.frombuffer(payload, dtype)


def _may_be(values: np.ndarray, stored: np.ndarray) -> bool:
    """Whether values are stored ones, or all of them by one slope and intercept."""
    with np.errstate(all="ignore"):
        expected = stored.astype(np.float32)
        if np.array_equal(values, expected, equal_nan=True):
            return True
        if not np.isfinite(values).all() or not np.isfinite(expected).all():
            return not np.isfinite(values).all()  # refused by what comes next
        low, high = int(expected.argmin()), int(expected.argmax())
        slope = (float(values[high]) - float(values[low])) / (float(expected[high]) - float(expected[low]))
        scaled = (stored.astype(np.float64) - float(expected[low])) * slope + float(values[low])
        return bool(np.allclose(values, scaled, rtol=1e-4, atol=1e-4 * float(np.abs(values).max())))


def faults(folder: Path, suffix: str, compressed: bool, count: int, seed: int) -> list[str]:
    """What goes wrong with `count` damaged files of one format; the folder is left with the last of them."""
    path, _ = write_valid(folder, suffix, compressed)
    packed = suffix == ".nii.gz"
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    end = header_length(content, suffix)
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        damaged = mutated(content[:end], suffix in TEXT, rng) + content[end:]
        if packed and rng.random() < 0.3:  # the compressed bytes themselves
            damaged = mutated(gzip.compress(content, 1), False, rng)
        elif packed:
            damaged = gzip.compress(damaged, 1)
        path.write_bytes(damaged)
        started = time.monotonic()
        wrong = fault(path, voxels().astype("<i2").tobytes())
        if time.monotonic() - started > 5:
            wrong = "slow"
        if wrong:
            found.append(f"{path.name} {compressed} seed ({seed}, {number}): {wrong}")
    return found
