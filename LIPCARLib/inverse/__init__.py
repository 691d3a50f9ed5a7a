"""The paper: its networks, a model on disk, the regularizer, the solvers, the weight alpha, and the one pipeline.

Names are loaded at their first use: most need torch; a panel shows the model cards before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .alpha import ALPHA, AUTO, AUTO_DESCRIPTION, check_alpha
    from .anchored import AnchoredPrior, features
    from .conditions import Conditions
    from .devices import available_devices, choose_device
    from .manifest import (
        ROLES,
        default_model,
        find_model,
        kind_of,
        list_models,
        read_manifest,
        write_manifest,
    )
    from .model import load_model, load_pair, save_anchored_model, save_model, verify_model
    from .network_pair import NetworkPair
    from .networks import VNet
    from .progress import Progress, complete, mapped
    from .reconstruction import check_options, reconstruct
    from .result import Result
    from .session import Model

_HOME = {
    "alpha": ("ALPHA", "AUTO", "AUTO_DESCRIPTION", "check_alpha"),
    "anchored": ("AnchoredPrior", "features"),
    "conditions": ("Conditions",),
    "devices": ("available_devices", "choose_device"),
    "manifest": (
        "ROLES",
        "default_model",
        "find_model",
        "kind_of",
        "list_models",
        "read_manifest",
        "write_manifest",
    ),
    "model": ("load_model", "load_pair", "save_anchored_model", "save_model", "verify_model"),
    "network_pair": ("NetworkPair",),
    "networks": ("VNet",),
    "progress": ("Progress", "complete", "mapped"),
    "reconstruction": ("check_options", "reconstruct"),
    "result": ("Result",),
    "session": ("Model",),
}

__all__ = [
    "ALPHA",
    "AUTO",
    "AUTO_DESCRIPTION",
    "ROLES",
    "AnchoredPrior",
    "Conditions",
    "Model",
    "NetworkPair",
    "Progress",
    "Result",
    "VNet",
    "available_devices",
    "check_alpha",
    "check_options",
    "choose_device",
    "complete",
    "default_model",
    "features",
    "find_model",
    "kind_of",
    "list_models",
    "load_model",
    "load_pair",
    "mapped",
    "read_manifest",
    "reconstruct",
    "save_anchored_model",
    "save_model",
    "verify_model",
    "write_manifest",
]

__getattr__ = lazily(__name__, _HOME)
