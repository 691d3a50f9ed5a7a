"""The card of a model on disk: finding models, reading and writing their manifests; without torch."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from ..errors import LIPCARError
from ..imaging import SCALE_RULE
from ..json_file import complaints, read_json
from ..resources import RESOURCES
from ..storage import settle, write
from .manifest_table import CLASSES, FILE, architecture_complaints, manifest_complaints

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
"""By what stands as "class" in the architecture of prior and forward operator; the classes are in `manifest_table`."""


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
            looks like agent, and a result without it is the better guess.

    >>> default_model(uses_predose=True), default_model(uses_predose=True, doubtful=True), default_model(False)
    ('anchored', 'vnet-lowdose', 'vnet-lowdose')
    """
    return "anchored" if uses_predose and not doubtful else "vnet-lowdose"


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
    manifest: dict[str, Any] = read_json(path, "model manifest", "Restore the model's folder.")
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise LIPCARError(
            f"The model manifest {path} has schema version {shortened(version)}; this LIPCAR reads version "
            f"{SCHEMA_VERSION}. Use a model made for this version, or another version of LIPCAR."
        )
    _check_structure(manifest, path)
    if manifest.get("scale") != SCALE_RULE:
        raise LIPCARError(
            f"The model in {path.parent} was trained on images scaled by {shortened(manifest.get('scale'))}; this "
            f"LIPCAR scales by {SCALE_RULE}. Its results would be wrong: use a model made for this version."
        )
    return manifest


def _check_structure(manifest: Mapping[str, Any], path: Path) -> None:
    _refuse_first(manifest_complaints(manifest), path)
    architecture = manifest["architecture"]
    classes = tuple(architecture[role].get("class") for role in ROLES)
    if classes not in list(KINDS):  # what is no text may have no hash
        known = ", ".join(f"{prior} with {operator}" for prior, operator in KINDS)
        raise LIPCARError(
            f"The model manifest {path} has an unknown architecture: as prior {shortened(classes[0])}, as forward "
            f"operator {shortened(classes[1])}. Known are the classes {known}. Restore it, or use a newer version "
            "of LIPCAR."
        )
    for role in ROLES:
        _refuse_first(architecture_complaints(architecture[role], role), path)
    _check_inputs(manifest, path)
    weighty = [role for role in ROLES if CLASSES[architecture[role]["class"]].has_weights]
    _check_files(manifest["files"], weighty, path)


def _refuse_first(found: Iterator[str], path: Path) -> None:
    for complaint in found:
        raise LIPCARError(f"The model manifest {path} is {complaint}. Restore it.")


def _check_inputs(manifest: Mapping[str, Any], path: Path) -> None:
    """Networks that count their input images must count the same, and an anchored model takes the pre-dose image."""
    channels = {r: a["in_channels"] for r, a in manifest["architecture"].items() if "in_channels" in a}
    if len(set(channels.values())) > 1:
        raise LIPCARError(
            f"The model in {path.parent} is not a pair: its networks take {channels} input images. Both must take one, "
            "or both two."
        )
    uses_predose = 2 in channels.values() if channels else True
    if manifest["uses_predose"] is not uses_predose:
        expected = str(uses_predose).lower()
        _refuse_first(iter([f"malformed: 'uses_predose' is not {expected}, as its architecture has it"]), path)


def _check_files(files: Mapping[str, Any], roles: list[str], path: Path) -> None:
    """A name and a hash for each role that has weights, and for no other; and not the file of another role."""
    table = {f"{role}.{key}": field for role in roles for key, field in FILE.items()}
    _refuse_first(complaints(files, table, "files."), path)
    if extra := sorted(set(files) - set(roles)):
        raise LIPCARError(
            f"The model manifest {path} is malformed: it names a file for {shortened(extra[0])}, which has no "
            "weights. Restore it."
        )
    shipped = _shipped_roles()
    for role in roles:
        name, digest = files[role]["path"], files[role]["sha256"]
        others = {Path(name).stem} & set(ROLES) | shipped.get(digest, {role})
        if role not in others or len(others) > 1:
            other = next(iter(others - {role}))
            raise LIPCARError(
                f"The model manifest {path} names as {role} the file {name}, which is a {other}: they are exchanged. "
                "Put each file back in its place, or restore the model."
            )
    if len({files[role]["sha256"] for role in roles}) < len(roles):
        raise LIPCARError(f"The model manifest {path} names the same weights in two roles. Restore the model.")


def _shipped_roles() -> dict[str, set[str]]:
    """Which roles the weights of the shipped models play, by their SHA-256: those name no role themselves."""
    found: dict[str, set[str]] = {}
    for entry in list_models():
        with contextlib.suppress(LIPCARError, AttributeError, KeyError, TypeError):  # damaged: its own reader says so
            for role, file in read_json(entry.folder / MANIFEST, "model manifest", "")["files"].items():
                found.setdefault(file["sha256"], set()).add(role)
    return found


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

    Args:
        name_or_folder: a text that is a shipped model's name means that one, whatever lies in the working folder;
            "./name" or a path object means a folder.

    Raises:
        LIPCARError: neither of them; it names the shipped ones.

    >>> find_model("vnet-predose").name
    'vnet-predose'
    """
    shipped = {entry.name: entry.folder for entry in list_models()}
    if isinstance(name_or_folder, str) and name_or_folder in shipped:
        return shipped[name_or_folder]
    folder = Path(name_or_folder)
    with contextlib.suppress(OSError, ValueError):  # a name too long for a path, or with a NUL, is no folder either
        settle(folder)
        if str(name_or_folder) and (folder / MANIFEST).exists():
            return folder
    raise LIPCARError(
        f"No model '{name_or_folder}': it is neither a folder with a {MANIFEST} nor a shipped model "
        f"({', '.join(shipped) or 'none is installed'})."
    )
