"""Writing images: checked beforehand, read back before they take their places, in one set with other files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .. import storage
from ..errors import LIPCARError
from .files import AnyPath, explained
from .grid import Grid

OUTPUT_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")
"""What results are written as: one file each (so no .mhd or .nhdr), float voxels and the whole geometry."""
HEADER_ROOM = 1 << 16
"""Bytes that a header may take beside the voxels; compression may add a thousandth of them."""


def check_output(path: AnyPath) -> None:
    """Refuse the path of an image that could not be written, before anything is computed for it.

    Raises:
        LIPCARError: unknown extension, or what `storage.check_place` refuses.
    """
    _check_suffix(Path(path))
    storage.check_place(path)


def write_image(image: sitk.Image, path: AnyPath, metadata: Mapping[str, str] | None = None) -> None:
    """Write one image, compressed, as `write_files` does."""
    write_files({Path(path): image}, metadata)


def write_files(
    outputs: Mapping[Path, sitk.Image | bytes | None],
    metadata: Mapping[str, str] | None = None,
    fresh: Path | Sequence[Path] = (),
) -> None:
    """Write images and other files as `storage.write` does: all or none, whatever stops the run.

    Args:
        outputs: for each path its image (.nrrd, .nii.gz, .nii, .mha; written compressed) its bytes, or
            None for no such file. Existing files are replaced, missing folders made.
        metadata: written into the header of each image where the format has room for it (NRRD, MetaImage), and kept
            by the image: a copy would hold its voxels twice. Keys are single words; line breaks in values become
            spaces.
        fresh: a folder among them that must be missing or empty, or several.

    Raises:
        LIPCARError: an unknown extension, or a failure to write: what is read back is not the image that was given.
    """
    contents: dict[Path, storage.Content] = {}
    for path, content in outputs.items():
        if content is None or isinstance(content, bytes):
            contents[path] = content
        else:
            _check_suffix(path)
            _stamp(content, metadata or {})
            contents[path] = _writer(content, path)
    storage.write(contents, fresh)


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(OUTPUT_SUFFIXES) or path.name in OUTPUT_SUFFIXES:
        raise LIPCARError(
            f"'{path}' cannot be written: its name must end in one of {', '.join(OUTPUT_SUFFIXES)} (small letters)."
        )


def _stamp(image: sitk.Image, metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if text := " ".join(str(value).split()):  # ITK warns of what is empty
            image.SetMetaData(key, text)


def _writer(image: sitk.Image, path: Path) -> Callable[[Path], None]:
    """What writes an image that is to go to `path`, and reads it back."""

    def write(part: Path) -> None:
        with _openable(part) as file:
            _check_room(file, image)
            with explained(path, "written"):
                sitk.WriteImage(image, str(file), useCompression=True)
                storage.flush(file)
                found = sitk.ReadImage(str(file))
            _check_same(image, found, path)

    return write


@contextmanager
def _openable(part: Path) -> Iterator[Path]:
    """The path, or one elsewhere whose content is put there: ITK's names are UTF-8, a file system's need not be."""
    try:
        str(part).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="lipcar-") as folder:
            file = Path(folder) / f"image{next(s for s in OUTPUT_SUFFIXES if part.name.endswith(s))}"
            yield file
            storage.put(part, file.read_bytes())
    else:
        yield part


def _check_room(file: Path, image: sitk.Image) -> None:
    """Have the system say why there is no room: ITK calls half a NIfTI file a success, or prints what it finds."""
    room = image.GetNumberOfPixels() * image.GetSizeOfPixelComponent() * 1001 // 1000 + HEADER_ROOM
    chunk = bytes(1 << 20)
    with file.open("wb") as probe:
        for start in range(0, room, len(chunk)):
            probe.write(chunk[: room - start])


def _check_same(image: sitk.Image, found: sitk.Image, path: Path) -> None:
    bits = f"u{image.GetSizeOfPixelComponent()}"  # a NaN is itself, and 0 is not -0
    wanted, back = (np.ascontiguousarray(sitk.GetArrayViewFromImage(one)) for one in (image, found))
    if image.GetPixelID() != found.GetPixelID() or not np.array_equal(wanted.view(bits), back.view(bits)):
        raise LIPCARError(f"'{path}' cannot be written: what was read back differs from it. Is the disk damaged?")
    if differences := Grid.of(image).differences(Grid.of(found)):
        raise LIPCARError(
            f"'{path}' cannot be written: this format cannot hold its geometry ({', '.join(differences)} when read "
            "back). Choose .nrrd or .mha."
        )
