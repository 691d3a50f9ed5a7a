"""The card of a model on disk: finding models, reading and writing their manifests; without torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import LIPCARError
from ..imaging import SCALE_RULE
from ..resources import RESOURCES
from ..storage import settle, write

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ROLES = ("prior", "forward_operator")


class Kind(Enum):
    """The kinds of model.

    >>> kind_of(read_manifest("vnet-predose"))
    <Kind.PAIR: 'pair of networks'>
    """

    PAIR = "pair of networks"
    ANCHORED = "anchored to the signal equation"


KINDS = {
    ("VNet", "VNet"): Kind.PAIR,
    ("Anchor", "SignalEquation"): Kind.ANCHORED,
    ("AnchoredPrior", "SignalEquation"): Kind.ANCHORED,
}
"""By what stands as "class" in the architecture of prior and forward operator."""
WITHOUT_WEIGHTS = frozenset({"Anchor", "SignalEquation"})
"""The classes of which a manifest names no file."""


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
    ['anchored', 'signal', 'vnet-lowdose', 'vnet-predose']
    """
    folder = RESOURCES / "Models"
    return [ModelEntry(p.parent.name, p.parent) for p in sorted(folder.glob(f"*/{MANIFEST}"))]


def default_model(uses_predose: bool, doubtful: bool = False) -> str:
    """The shipped model for an examination.

    Args:
        uses_predose: there is a pre-dose image.
        doubtful: which may show something else than the low-dose image (`Examination.predose_doubtful`): what moved
            looks like agent to the signal equation, and a network that knows heads is the better guess.

    >>> default_model(uses_predose=True), default_model(uses_predose=True, doubtful=True), default_model(False)
    ('anchored', 'vnet-predose', 'vnet-lowdose')
    """
    if not uses_predose:
        return "vnet-lowdose"
    return "vnet-predose" if doubtful else "anchored"


def read_manifest(name_or_folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a model, its own structure checked but not yet its files.

    Returns:
        "schema_version"; "name"; "uses_predose"; "architecture": for each of ROLES a class of KINDS and the arguments
        of its constructor; "files": for each role whose class has weights "path" and "sha256"; "scale"; and the card:
        "description", "intended_use", "licence", "training", "metrics", none of which must
        be there.

    Raises:
        LIPCARError: no such model; a manifest that is unreadable, incomplete, of another schema or intensity scale;
            an architecture that is of no kind.

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
    _check_structure(manifest, path)
    if manifest.get("scale") != SCALE_RULE:
        raise LIPCARError(
            f"The model in {path.parent} was trained on images scaled by {manifest.get('scale')}; this LIPCAR scales "
            f"by {SCALE_RULE}. Its results would be wrong: use a model made for this version."
        )
    return manifest


def _check_structure(manifest: Mapping[str, Any], path: Path) -> None:
    try:
        classes = tuple(manifest["architecture"][role].get("class") for role in ROLES)
        complete = isinstance(manifest["name"], str) and isinstance(manifest["files"], dict)
    except (KeyError, TypeError) as error:
        raise LIPCARError(f"The model manifest {path} is incomplete: {error} is missing. Restore it.") from error
    except AttributeError:
        complete = False
    if not complete:
        raise LIPCARError(
            f"The model manifest {path} is malformed: its name is no text, or its files or an architecture are no "
            "object. Restore it."
        )
    if classes not in list(KINDS):  # what is no text may have no hash
        known = ", ".join(f"{prior} with {operator}" for prior, operator in KINDS)
        raise LIPCARError(
            f"The model manifest {path} has an unknown architecture: as prior {manifest['architecture']['prior']}, as "
            f"forward operator {manifest['architecture']['forward_operator']}. Known are the classes {known}. Restore "
            "it, or use a newer version of LIPCAR."
        )
    _check_files(
        manifest["files"], [r for r, name in zip(ROLES, classes, strict=True) if name not in WITHOUT_WEIGHTS], path
    )


def _check_files(files: Mapping[str, Any], roles: list[str], path: Path) -> None:
    """A path and a hash for each role that has weights, and for no other."""
    try:
        texts = [files[role][key] for role in roles for key in ("path", "sha256")]
    except (KeyError, TypeError) as error:
        raise LIPCARError(f"The model manifest {path} is incomplete: {error} is missing. Restore it.") from error
    if not all(isinstance(text, str) for text in texts):
        raise LIPCARError(f"The model manifest {path} is malformed: a path or hash is not a text. Restore it.")
    if extra := set(files) - set(roles):
        raise LIPCARError(
            f"The model manifest {path} is malformed: it names a file for {', '.join(sorted(extra))}, which has no "
            "weights. Restore it."
        )


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """Of a manifest that :func:`read_manifest` returned.

    >>> kind_of(read_manifest("signal")).value
    'anchored to the signal equation'
    """
    prior, operator = (manifest["architecture"][role]["class"] for role in ROLES)
    return KINDS[prior, operator]


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write or replace the manifest of a model folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(Path(folder), read_manifest("vnet-predose"))
    ...     read_manifest(folder)["name"]
    'vnet-predose'
    """
    write({folder / MANIFEST: manifest_file(manifest)})


def manifest_file(manifest: Mapping[str, Any]) -> bytes:
    """What a manifest is on disk.

    >>> manifest_file({"name": "mine"})
    b'{\\n  "name": "mine"\\n}\\n'
    """
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


def find_model(name_or_folder: str | os.PathLike[str]) -> Path:
    """The folder of a shipped model by name, or of any model by its folder.

    Raises:
        LIPCARError: neither of them; it names the shipped ones.

    >>> find_model("vnet-predose").name
    'vnet-predose'
    """
    folder = Path(name_or_folder)
    settle(folder)
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
