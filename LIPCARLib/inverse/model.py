"""A model on disk: its kinds, their networks, manifest and checksums; loading and saving."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors

from ..errors import LIPCARError
from ..imaging import SCALE_RULE
from ..storage import Content, write
from .anchored import AnchoredPrior
from .anchored_model import AnchoredModel
from .manifest import (
    MANIFEST,
    ROLES,
    SCHEMA_VERSION,
    Kind,
    find_model,
    kind_of,
    manifest_file,
    read_manifest,
)
from .network_pair import NetworkPair
from .networks import VNet
from .session import Model
from .weights import numbers_in, read_header, read_weights_file, shapes_of, unpack

NETWORKS: dict[str, Callable[..., Any]] = {"VNet": VNet, "AnchoredPrior": AnchoredPrior}
"""The networks that a manifest may ask for, by class name: torch modules with a property `architecture`."""
ROLE = "role"
"""Key of a weights file's metadata: the role that it plays. The first shipped files have none."""


def load_model(name_or_folder: str | os.PathLike[str], device: torch.device | str = "cpu") -> Model:
    """Load a shipped model by name or any model by its folder, after checking every file against the manifest.

    Raises:
        LIPCARError: as :func:`read_manifest`; a missing, truncated or altered file; weights that do not fit the
            architecture, are not finite, or play another role.

    >>> load_model("vnet-predose").uses_predose
    True
    """
    folder = find_model(name_or_folder)
    manifest = read_manifest(folder)
    networks = {role: _load_network(folder, manifest, role) for role in manifest["files"]}
    return _BUILDERS[kind_of(manifest)](folder, networks, manifest).to(device)


def _pair(folder: Path, networks: Mapping[str, Any], manifest: Mapping[str, Any]) -> Model:
    return NetworkPair(networks["prior"], networks["forward_operator"], manifest)


def _anchored(folder: Path, networks: Mapping[str, Any], manifest: Mapping[str, Any]) -> Model:
    return AnchoredModel(networks.get("prior"), manifest)


_BUILDERS = {Kind.PAIR: _pair, Kind.ANCHORED: _anchored}


def load_pair(name_or_folder: str | os.PathLike[str]) -> NetworkPair:
    """The same where only a pair of networks serves.

    Raises:
        LIPCARError: as :func:`load_model`; another kind of model.

    >>> load_pair("vnet-predose").network("prior").in_channels
    2
    """
    model = load_model(name_or_folder)
    if not isinstance(model, NetworkPair):
        raise LIPCARError(f"The model '{model.name}' is no pair of networks; give one that `lipcar train` made.")
    return model


def verify_model(name_or_folder: str | os.PathLike[str]) -> dict[str, str]:
    """Check a model as :func:`load_model` does, without keeping it; the SHA-256 of each file by name.

    Raises:
        LIPCARError: as :func:`load_model`.

    >>> sorted(verify_model("vnet-predose"))
    ['forward_operator.safetensors', 'prior.safetensors']
    """
    manifest = load_model(name_or_folder).manifest
    return {entry["path"]: entry["sha256"] for entry in manifest["files"].values()}


def save_model(
    folder: str | os.PathLike[str],
    name: str,
    prior: VNet,
    forward_operator: VNet,
    card: Mapping[str, Any],
) -> Path:
    """Write the folder of a pair of networks: float16 weights as safetensors and the manifest, as one.

    Args:
        folder: created if missing.
        name: what users call the model.
        prior, forward_operator: the trained pair.
        card: what else the manifest says: "description", "training", "metrics" and "licence".

    Returns:
        The manifest's path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_model(folder, "mine", VNet(1), VNet(1), {"description": "untrained"})
    ...     load_model(folder).name
    'mine'
    """
    networks = {"prior": prior, "forward_operator": forward_operator}
    return _save(Path(folder), name, prior.in_channels == 2, networks, {}, card)


def save_anchored_model(
    folder: str | os.PathLike[str], name: str, network: Any | None, card: Mapping[str, Any]
) -> Path:
    """Write the folder of an anchored model, as :func:`save_model` does.

    Args:
        folder: created if missing.
        name: what users call the model.
        network: what adds to the anchor, of a class in NETWORKS; None for the closed form alone.
        card: as of :func:`save_model`.

    Returns:
        The manifest's path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_anchored_model(folder, "mine", None, {"description": "the physics"})
    ...     load_model(folder).digest == load_model("signal").digest
    True
    """
    networks = {} if network is None else {"prior": network}
    return _save(Path(folder), name, True, networks, ANCHORED_ARCHITECTURE, card)


ANCHORED_ARCHITECTURE = {"prior": {"class": "Anchor"}, "forward_operator": {"class": "SignalEquation"}}
"""Of an anchored model without weights."""


def _save(
    folder: Path,
    name: str,
    uses_predose: bool,
    networks: Mapping[str, Any],
    architecture: Mapping[str, Any],
    card: Mapping[str, Any],
) -> Path:
    """Networks by their role; `architecture` of the roles that none plays."""
    contents: dict[Path, Content] = {}
    files = {}
    for role, network in networks.items():
        # float16 halves the download; it moved the SSIM of held-out slices by less than 2e-4.
        data = save_tensors(
            {key: value.detach().half().cpu().contiguous() for key, value in network.state_dict().items()},
            {ROLE: role},
        )
        path = f"{role}.safetensors"
        contents[folder / path] = data
        files[role] = {"path": path, "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "uses_predose": uses_predose,
        "architecture": {r: networks[r].architecture if r in networks else architecture[r] for r in ROLES},
        "scale": SCALE_RULE,
        **card,
        "files": files,
    }
    write(contents | {folder / MANIFEST: manifest_file(manifest)})
    return folder / MANIFEST


def _load_network(folder: Path, manifest: Mapping[str, Any], role: str) -> Any:
    entry, architecture = manifest["files"][role], dict(manifest["architecture"][role])
    path = folder / entry["path"]
    with torch.device("meta"):  # shapes only: nothing is allocated before the file is known to fit
        network = NETWORKS[architecture.pop("class")](**architecture)
    shapes = shapes_of(network)
    try:
        data = read_weights_file(path, numbers_in(shapes))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LIPCARError(f"The model file {path} cannot be read: {reason}. Restore the model.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != entry["sha256"]:
        raise LIPCARError(
            f"The model file {path} is damaged or was altered: its SHA-256 is {found[:16]}..., the manifest says "
            f"{entry['sha256'][:16]}.... Restore the model."
        )
    try:
        weights = unpack(data, shapes, ("F16", "F32"))
    except ValueError as error:
        raise LIPCARError(
            f"The weights in {path} do not fit their architecture {manifest['architecture'][role]}: {error}. Restore "
            "the model."
        ) from error
    said = read_header(data).metadata.get(ROLE, role)
    if said != role:
        raise LIPCARError(
            f"The weights in {path} are those of a {said}, the manifest names them as {role}: they are exchanged. Put "
            "each file back in its place, or restore the model."
        )
    network.load_state_dict(weights, assign=True)
    return network
