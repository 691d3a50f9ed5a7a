"""The card of a model on disk: finding models, reading and writing their manifests; without torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import LIPCARError
from ..imaging import SCALE_RULE
from ..resources import RESOURCES

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ROLES = ("prior", "forward_operator")


@dataclass(frozen=True)
class ModelEntry:
    """A shipped model's name and folder.

    >>> ModelEntry("mine", Path("models") / "mine").folder.name
    'mine'
    """

    name: str
    folder: Path


def list_models() -> list[ModelEntry]:
    """The shipped models, sorted by name.

    >>> [entry.name for entry in list_models()]
    ['vnet-lowdose', 'vnet-predose']
    """
    folder = RESOURCES / "Models"
    return [ModelEntry(p.parent.name, p.parent) for p in sorted(folder.glob(f"*/{MANIFEST}"))]


def default_model(uses_predose: bool) -> str:
    """The shipped model for an examination with or without a pre-dose image.

    >>> default_model(uses_predose=True)
    'vnet-predose'
    """
    return "vnet-predose" if uses_predose else "vnet-lowdose"


def read_manifest(name_or_folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a model, its own structure checked but not yet its files.

    Raises:
        LIPCARError: no such model; a manifest that is unreadable, incomplete, of another schema or intensity scale.

    >>> read_manifest("vnet-predose")["uses_predose"]
    True
    """
    path = find_model(name_or_folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LIPCARError(f"The model manifest {path} cannot be read: {error}. Restore the model's folder.") from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        raise LIPCARError(
            f"The model manifest {path} has schema version {version!r}; this LIPCAR reads version {SCHEMA_VERSION}. "
            "Use a model made for this version, or another version of LIPCAR."
        )
    try:
        complete = isinstance(manifest["name"], str) and all(
            isinstance(manifest["files"][role][key], str) for role in ROLES for key in ("path", "sha256")
        )
        complete = complete and all(isinstance(manifest["architecture"][role], dict) for role in ROLES)
    except (KeyError, TypeError) as error:
        raise LIPCARError(f"The model manifest {path} is incomplete: {error} is missing. Restore it.") from error
    if not complete:
        raise LIPCARError(f"The model manifest {path} is malformed: a name, path or hash is not a text. Restore it.")
    if manifest.get("scale") != SCALE_RULE:
        raise LIPCARError(
            f"The model in {path.parent} was trained on images scaled by {manifest.get('scale')}; this LIPCAR scales "
            f"by {SCALE_RULE}. Its results would be wrong: use a model made for this version."
        )
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write or replace the manifest of a model folder, atomically.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(Path(folder), read_manifest("vnet-predose"))
    ...     read_manifest(folder)["name"]
    'vnet-predose'
    """
    write_file(folder / MANIFEST, (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode())


def write_file(path: Path, data: bytes) -> None:
    """Write or replace a file, atomically: whoever reads it finds the old content or the new one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(Path(folder) / "note.txt", b"new")
    ...     (Path(folder) / "note.txt").read_bytes()
    b'new'
    """
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def find_model(name_or_folder: str | os.PathLike[str]) -> Path:
    """The folder of a shipped model by name, or of any model by its folder.

    Raises:
        LIPCARError: neither of them; it names the shipped ones.

    >>> find_model("vnet-predose").name
    'vnet-predose'
    """
    folder = Path(name_or_folder)
    with contextlib.suppress(OSError):  # a name too long for a path is no folder either
        if (folder / MANIFEST).is_file():
            return folder
    shipped = {entry.name: entry.folder for entry in list_models()}
    if str(name_or_folder) in shipped:
        return shipped[str(name_or_folder)]
    raise LIPCARError(
        f"No model '{name_or_folder}': it is neither a folder with a {MANIFEST} nor a shipped model "
        f"({', '.join(shipped) or 'none is installed'})."
    )
