"""The paper: its networks, a model on disk, the regularizer, the solvers, the weight alpha, and the one pipeline.

Names are loaded at their first use: most need torch; a panel shows the model cards before torch is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alpha import ALPHA, AUTO, AUTO_DESCRIPTION, check_alpha
    from .devices import available_devices, choose_device
    from .manifest import ROLES, default_model, list_models, read_manifest, write_file, write_manifest
    from .model import Model, load_model, save_model, verify_model
    from .networks import VNet
    from .operators import operator_for
    from .reconstruction import Progress, Result, complete, mapped, reconstruct

_HOME = {
    "alpha": ("ALPHA", "AUTO", "AUTO_DESCRIPTION", "check_alpha"),
    "devices": ("available_devices", "choose_device"),
    "manifest": ("ROLES", "default_model", "list_models", "read_manifest", "write_file", "write_manifest"),
    "model": ("Model", "load_model", "save_model", "verify_model"),
    "networks": ("VNet",),
    "operators": ("operator_for",),
    "reconstruction": ("Progress", "Result", "complete", "mapped", "reconstruct"),
}

__all__ = [
    "ALPHA",
    "AUTO",
    "AUTO_DESCRIPTION",
    "ROLES",
    "Model",
    "Progress",
    "Result",
    "VNet",
    "available_devices",
    "check_alpha",
    "choose_device",
    "complete",
    "default_model",
    "list_models",
    "load_model",
    "mapped",
    "operator_for",
    "read_manifest",
    "reconstruct",
    "save_model",
    "verify_model",
    "write_file",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
