"""Images on disk and their grids: reading files and DICOM series, comparing and resampling, safe writing."""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import shutil
import struct
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import LIPCARError

AnyPath = str | os.PathLike[str]

OUTPUT_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")
"""What results are written as: one file each (so no .mhd or .nhdr), float voxels and the whole geometry."""

GRID_TOLERANCE = 1e-2
"""Two grids are one when no corner of the field of view is further off than this, in voxels."""

SLICE_GAP_TOLERANCE = 0.05
"""Largest deviation of a DICOM slice gap from the median one; scanners round the positions they write."""


# Grids


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie: axes i, j(, k), physical LPS coordinates in mm, as in SimpleITK."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def dimension(self) -> int:
        return len(self.size)

    def image(self, array: np.ndarray) -> sitk.Image:
        """A float32 image on this grid, bit for bit, from an array in numpy's order ((K,) J, I)."""
        if array.shape != self.size[::-1]:
            raise ValueError(f"array of shape {array.shape} for a grid of {self.size[::-1]}")
        image = sitk.GetImageFromArray(np.asarray(array, np.float32), isVector=False)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def part(self, axis: int, start: int, stop: int) -> Grid:
        """The grid of some neighboring slices along an index axis."""
        size = tuple(stop - start if a == axis else n for a, n in enumerate(self.size))
        first = np.asarray([[start if a == axis else 0 for a in range(self.dimension)]])
        return replace(self, size=size, origin=tuple(self.points(first)[0].tolist()))

    def points(self, indices: np.ndarray) -> np.ndarray:
        """Physical points (N, d) of continuous indices (N, d)."""
        return np.asarray(self.origin) + indices @ self._matrix().T

    def indices(self, points: np.ndarray) -> np.ndarray:
        """Continuous indices (N, d) of physical points (N, d)."""
        return np.linalg.solve(self._matrix(), (points - np.asarray(self.origin)).T).T

    def differences(self, other: Grid) -> list[str]:
        """In words, what tells another grid of the same dimension from this one; empty where nothing does."""
        if self.size == other.size and self._corner_distance(other) <= GRID_TOLERANCE:
            return []
        words = []
        if self.size != other.size:
            words.append(f"size {_join(other.size)} instead of {_join(self.size)} voxels")
        if not np.allclose(self.spacing, other.spacing, rtol=1e-4):
            words.append(f"spacing {_join(other.spacing)} instead of {_join(self.spacing)} mm")
        if not np.allclose(self.direction, other.direction, atol=1e-4):
            words.append("other axis directions")
        if np.abs(self.indices(np.asarray([other.origin]))).max() > GRID_TOLERANCE:
            words.append(f"origin ({_join(other.origin, ', ')}) instead of ({_join(self.origin, ', ')}) mm")
        return words or ["slightly other spacing or axis directions"]

    def covered_by(self, other: Grid) -> float:
        """The fraction of this field of view inside the other one, 0..1, from at most 32 points an axis."""
        axes = [np.linspace(0, n - 1, min(n, 32)) for n in self.size]
        samples = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dimension)
        there = other.indices(self.points(samples))
        inside = (there >= -0.5 - GRID_TOLERANCE) & (there <= np.asarray(other.size) - 0.5 + GRID_TOLERANCE)
        return float(inside.all(axis=1).mean())

    def _matrix(self) -> np.ndarray:
        return np.asarray(self.direction).reshape(self.dimension, self.dimension) * np.asarray(self.spacing)

    def _corner_distance(self, other: Grid) -> float:
        """Largest distance in voxels between matching corners; outer ones, for one slice has no others."""
        ends = [(-0.5, n - 0.5) for n in self.size]
        corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, self.dimension)
        return float(np.abs(self.indices(other.points(corners)) - corners).max())


def resample(image: sitk.Image, grid: Grid) -> sitk.Image:
    """The image interpolated linearly on a grid of the same dimension, float32, zero beyond its edges."""
    return sitk.Resample(
        image,
        grid.size,
        sitk.Transform(grid.dimension, sitk.sitkIdentity),
        sitk.sitkLinear,
        grid.origin,
        grid.spacing,
        grid.direction,
        0.0,
        sitk.sitkFloat32,
    )


def _join(values: tuple[float, ...], separator: str = " x ") -> str:
    return separator.join(f"{value:.5g}" for value in values)


# Reading


def check_kind(image: sitk.Image | sitk.ImageFileReader, name: str) -> None:
    """Refuse what is no image of one real value per voxel in two or three dimensions.

    Args:
        image: an image, or a reader that has read the header.
        name: how messages call it, the subject of a sentence.

    Raises:
        LIPCARError: another dimension, a vector or color image, complex values, no voxels.
    """
    on_disk = isinstance(image, sitk.ImageFileReader)
    components = image.GetNumberOfComponents() if on_disk else image.GetNumberOfComponentsPerPixel()
    dimension, size = image.GetDimension(), image.GetSize()
    if dimension not in (2, 3):
        raise LIPCARError(
            f"{name} has {dimension} dimensions ({_join(size)}); a single image in two or "
            "three is expected. Save the one time point you want as a file of its own."
        )
    if components != 1:
        raise LIPCARError(
            f"{name} has {components} values in each voxel (a color, vector or complex image, "
            "or a time series); one is expected. Save the channel or time point you want as a "
            "magnitude image."
        )
    if image.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise LIPCARError(f"{name} has complex values; a magnitude image is expected. Take the absolute value first.")
    if 0 in size:
        raise LIPCARError(f"{name} is empty ({_join(size)} voxels).")


def read_image(path: AnyPath) -> sitk.Image:
    """Read one image: a file SimpleITK reads (NRRD, NIfTI, MetaImage, ...) or a folder of one DICOM series.

    Returns:
        A 2-D or 3-D float32 image, as the file has it, with its geometry; DICOM rescaling is applied.

    Raises:
        LIPCARError: nothing there, not readable, cut short, not one real value per voxel, no DICOM series in
            the folder or more than one, slices missing or doubled.
    """
    path = Path(path)
    if not path.exists():
        raise LIPCARError(f"'{path}' does not exist. Give a file or a folder that holds one DICOM series.")
    return _read_series(path) if path.is_dir() else _read_file(path)


def _read_file(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    with _explained(path):
        reader.ReadImageInformation()
    check_kind(reader, f"'{path}'")  # before the voxels: a long time series is refused without loading it
    if path.name.lower().endswith((".nii", ".nii.gz")):
        _check_nifti_complete(path)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    with _explained(path):
        return reader.Execute()


def _check_nifti_complete(path: Path) -> None:
    """ITK reads a NIfTI file that was cut short without a word and leaves the rest of the image to chance."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            header = file.read(112)
            order = "<" if struct.unpack_from("<i", header, 0)[0] == 348 else ">"
            if struct.unpack_from(f"{order}i", header, 0)[0] != 348:
                return  # NIfTI-2 or Analyze's other half: let ITK judge
            dim = struct.unpack_from(f"{order}8h", header, 40)
            (bits,) = struct.unpack_from(f"{order}h", header, 72)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
            found = len(header)
            while chunk := file.read(1 << 20):
                found += len(chunk)
    except (OSError, EOFError, struct.error) as error:
        raise LIPCARError(f"'{path}' is damaged or cut short ({error}). Copy or export it again.") from error
    expected = int(offset) + math.prod(dim[1 : dim[0] + 1]) * bits // 8
    if found < expected:
        raise LIPCARError(
            f"'{path}' is cut short: {found} bytes where its header announces {expected}. Copy or export it again."
        )


def _read_series(folder: Path) -> sitk.Image:
    with _explained(folder):
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        files = [sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), one) for one in series]
    files = [names for names in files if names]
    if not files:
        raise LIPCARError(
            f"The folder '{folder}' holds no DICOM images. Give the folder in which the files "
            "of one series lie (folders inside it are not searched), or a single image file."
        )
    headers = [_header(Path(names[0])) for names in files]
    if len(files) > 1:
        listing = "\n".join(
            f"  {len(names)} files: {_tag(header, '0008|103e') or 'no description'}, "
            f"series UID {_tag(header, '0020|000e') or 'unknown'}"
            for names, header in zip(files, headers, strict=True)
        )
        raise LIPCARError(
            f"The folder '{folder}' holds {len(files)} DICOM series; one is "
            f"expected:\n{listing}\n"
            "Put the files of the one you want in a folder of their own."
        )
    check_kind(headers[0], f"The DICOM series in '{folder}'")
    if len(files[0]) == 1:
        return _read_file(Path(files[0][0]))
    _check_slices(folder, [Path(name) for name in files[0]])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files[0])
    reader.SetOutputPixelType(sitk.sitkFloat32)
    with _explained(folder):
        image = reader.Execute()
    check_kind(image, f"The DICOM series in '{folder}'")
    return image


def series_file(path: AnyPath) -> Path | None:
    """A file of the DICOM series that a folder holds, or the DICOM file itself; None for anything else."""
    path = Path(path)
    if path.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
        return Path(names[0]) if names else None
    with path.open("rb") as file:
        return path if file.read(132)[128:] == b"DICM" else None


def _check_slices(folder: Path, files: list[Path]) -> None:
    """Refuse doubled and missing slices: stacked as they are, they would make a volume of wrong geometry."""
    grids = [Grid.of(_header(file)) for file in files]
    first = grids[0]
    if not all(grid.size == first.size and np.allclose(grid.direction, first.direction, atol=1e-3) for grid in grids):
        raise LIPCARError(
            f"The DICOM slices in '{folder}' differ in size or orientation (a localizer?). "
            "Put the files of one parallel stack in a folder of their own."
        )
    if first.dimension != 3:
        return
    normal = np.asarray(first.direction).reshape(3, 3)[:, 2]
    gaps = np.diff(np.sort([float(np.dot(grid.origin, normal)) for grid in grids]))
    typical = float(np.median(gaps))
    doubled = int(np.count_nonzero(gaps < max(SLICE_GAP_TOLERANCE * typical, 1e-4)))
    if doubled:
        raise LIPCARError(
            f"{doubled} of the {len(files)} DICOM slices in '{folder}' lie at the same place "
            "as another one (several time points or echoes?). Put the files of the one you "
            "want in a folder of their own."
        )
    if np.abs(gaps - typical).max() > SLICE_GAP_TOLERANCE * typical:
        raise LIPCARError(
            f"The DICOM slices in '{folder}' lie {gaps.min():.4g} to {gaps.max():.4g} mm "
            "apart; even gaps are expected (is a file missing?). Export the series again."
        )


def _header(file: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    with _explained(file):
        reader.ReadImageInformation()
    return reader


def _tag(header: sitk.ImageFileReader, key: str) -> str:
    return header.GetMetaData(key).strip() if header.HasMetaDataKey(key) else ""


@contextlib.contextmanager
def _explained(path: Path, action: str = "read as an image") -> Iterator[None]:
    """Turn what ITK and the system raise into one sentence about the file."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[1:] or lines).replace("sitk::ERROR: ", "")
        raise LIPCARError(f"'{path}' cannot be {action}: {reason[:300]}") from error


# Writing


def check_output(path: AnyPath) -> None:
    """Refuse the path of an image that could not be written, before anything is computed for it.

    Raises:
        LIPCARError: unknown extension, or what `check_place` refuses.
    """
    if not Path(path).name.endswith(OUTPUT_SUFFIXES) or Path(path).name in OUTPUT_SUFFIXES:
        raise LIPCARError(
            f"'{path}' cannot be written: its name must end in one of {', '.join(OUTPUT_SUFFIXES)} (small letters)."
        )
    check_place(path)


def check_place(path: AnyPath) -> None:
    """Refuse the path of any file that could not be written.

    Raises:
        LIPCARError: no such folder, no permission, or a folder of that name.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise LIPCARError(f"The folder '{path.parent}' does not exist. Create it or choose another one.")
    if path.is_dir():
        raise LIPCARError(f"'{path}' is a folder; a file name is expected.")
    probe = _beside(path)
    try:
        probe.touch(exist_ok=False)  # os.access knows nothing of network shares and Windows rights
        probe.unlink()
    except OSError as error:
        raise LIPCARError(
            f"The folder '{path.parent}' cannot be written to ({error.strerror}). "
            "Choose another one or mend its permissions."
        ) from error


def write_image(image: sitk.Image, path: AnyPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write one image, compressed, as `write_files` does."""
    write_files({Path(path): image}, metadata)


def write_files(outputs: Mapping[Path, sitk.Image | bytes], metadata: Mapping[str, str] | None = None) -> None:
    """Write images and other files, all or none: after an error, the folders are as they were before.

    Args:
        outputs: for each path its image (.nrrd, .nii.gz, .nii, .mha; written compressed) or its bytes. Existing
            files are replaced.
        metadata: written into the header of each image where the format has room for it (NRRD, MetaImage). Keys
            are single words; line breaks in values become spaces.

    Raises:
        LIPCARError: a path that `check_output` or `check_place` refuses, or a failure to write.
    """
    for path, content in outputs.items():
        check_place(path) if isinstance(content, bytes) else check_output(path)
    parts = {path: _beside(path) for path in outputs}
    try:
        for path, content in outputs.items():
            with _explained(path, "written"):
                if isinstance(content, bytes):
                    parts[path].write_bytes(content)
                else:
                    sitk.WriteImage(_with_metadata(content, metadata or {}), str(parts[path]), useCompression=True)
        _replace_all(parts)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _with_metadata(image: sitk.Image, metadata: Mapping[str, str]) -> sitk.Image:
    image = sitk.Image(image)  # a shallow copy: the caller's image keeps its own header
    for key, value in metadata.items():
        image.SetMetaData(key, " ".join(str(value).split()))
    return image


def _replace_all(parts: Mapping[Path, Path]) -> None:
    """Put every finished part in its place or, when one of them cannot be, leave all places as they were."""
    backups = {path: _beside(path) for path in parts if len(parts) > 1 and path.exists()}
    placed: list[Path] = []
    try:
        for path, backup in backups.items():
            with _explained(path, "written"):
                shutil.copy2(path, backup)
        for path, part in parts.items():
            with _explained(path, "written"):
                os.replace(part, path)
            placed.append(path)
    except BaseException:
        for path in placed:
            if path in backups:
                os.replace(backups[path], path)
            else:
                path.unlink(missing_ok=True)
        raise
    finally:
        for backup in backups.values():
            backup.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """A hidden name of the same type in the same folder, so that a rename suffices to put it in place."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}-{path.name}")
