"""Writing images and other files: checked beforehand, all or none of them in their places afterwards."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import SimpleITK as sitk

from ..errors import LIPCARError
from .files import AnyPath, explained

OUTPUT_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")
"""What results are written as: one file each (so no .mhd or .nhdr), float voxels and the whole geometry."""


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
            with explained(path, "written"):
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
            with explained(path, "written"):
                shutil.copy2(path, backup)
        for path, part in parts.items():
            with explained(path, "written"):
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
