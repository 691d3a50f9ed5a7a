"""Python packages that Slicer does not bring: which are missing, how to get them, installing them."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from slicer.i18n import tr as _

TORCH_VERSIONS = ">=2.5,<3"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
HOW_TO_GET = {
    "torch": _(
        "LIPCAR needs PyTorch, which is not installed. Install the PyTorch extension in the Extensions Manager, "
        "restart Slicer and click Apply again: it will offer to install PyTorch. Without a network, install it from "
        "local files: see Offline installation in LIPCAR's README."
    ),
    "safetensors": _(
        "LIPCAR needs the Python package safetensors, which is not installed. Click Apply again and accept, or type "
        "slicer.util.pip_install('safetensors') in the Python console. Without a network, install it from local files: "
        "see Offline installation in LIPCAR's README."
    ),
}


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def install_torch() -> None:
    """Through Slicer's PyTorch extension, which knows the graphics card; it asks the user first."""
    from PyTorchUtils import PyTorchUtilsLogic

    PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH_VERSIONS)


def install_requirements() -> None:
    """What is in requirements.txt, by Slicer's own means, which it has from 5.12 on; it asks the user first."""
    from slicer.packaging import load_requirements, pip_ensure

    pip_ensure(load_requirements(REQUIREMENTS), requester="LIPCAR")


INSTALLERS = {"torch": install_torch, "safetensors": install_requirements}
"""What a computation needs and Slicer does not bring, in the order in which it is needed."""


class SlicerPackages:
    """Which packages are missing, by `installed`, and their installation, by `installers`."""

    def __init__(
        self,
        installed: Callable[[str], bool] = is_installed,
        installers: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        self._installed = installed
        self._installers = INSTALLERS if installers is None else installers

    def missing(self) -> list[str]:
        return [package for package in self._installers if not self._installed(package)]

    def install(self) -> None:
        for package in self.missing():
            try:
                self._installers[package]()
            except (ImportError, RuntimeError) as error:  # no such extension, an older Slicer, or the user declined
                logging.info(error)
            except subprocess.CalledProcessError as error:  # pip failed, for want of a network most often
                logging.error(error)
            importlib.invalidate_caches()
            if not self._installed(package):
                return  # without it the others are of no use
