"""Packages that Slicer does not bring: in which order they are asked for, and of whom."""

from __future__ import annotations

import subprocess
import sys
import types
from functools import partial
from pathlib import Path
from typing import Any

import pytest


class Computer:
    """On which nothing is installed; installing what is in `failing` raises, what is in `vain` does nothing."""

    def __init__(self, failing: dict[str, Exception] | None = None, vain: tuple[str, ...] = ()) -> None:
        self.failing = failing or {}
        self.vain = vain
        self.asked: list[str] = []
        self.installed: set[str] = set()

    def install(self, package: str) -> None:
        self.asked.append(package)
        if package in self.failing:
            raise self.failing[package]
        if package not in self.vain:
            self.installed.add(package)


def packages_on(computer: Computer) -> Any:
    from LIPCARLib.slicer.dependencies import SlicerPackages

    installers = {package: partial(computer.install, package) for package in ("torch", "safetensors")}
    return SlicerPackages(lambda package: package in computer.installed, installers)


def test_all_that_is_missing_is_asked_for(slicer: Any) -> None:
    computer = Computer()
    packages = packages_on(computer)
    assert packages.missing() == ["torch", "safetensors"]
    packages.install()
    assert computer.asked == ["torch", "safetensors"] and packages.missing() == []
    packages.install()
    assert computer.asked == ["torch", "safetensors"]


@pytest.mark.parametrize(
    "failing",
    [
        {},
        {"torch": ImportError("no PyTorch extension")},
        {"torch": RuntimeError("the user declined")},
        {"torch": subprocess.CalledProcessError(1, "pip")},
    ],
    ids=["in vain", "no extension", "declined", "pip failed"],
)
def test_without_torch_nothing_more_is_asked_for(slicer: Any, failing: dict[str, Exception]) -> None:
    computer = Computer(failing, vain=("torch",))
    packages = packages_on(computer)
    packages.install()
    assert computer.asked == ["torch"] and packages.missing() == ["torch", "safetensors"]


def test_a_bug_of_an_installer_is_not_hidden(slicer: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        packages_on(Computer({"torch": ZeroDivisionError()})).install()


def test_what_slicer_has_is_used_as_it_wants_to_be(slicer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PyTorch extension and slicer.packaging, neither of which is in slicer-core."""
    from LIPCARLib.slicer.dependencies import INSTALLERS

    for install in INSTALLERS.values():
        with pytest.raises(ImportError):
            install()
    asked: list[Any] = []
    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = lambda: types.SimpleNamespace(installTorch=lambda **how: asked.append(how))
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: Path(path).read_text(encoding="utf-8").splitlines()[-1:]
    packaging.pip_ensure = lambda requirements, requester: asked.append((requirements, requester))
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    INSTALLERS["torch"]()
    INSTALLERS["safetensors"]()
    assert asked == [
        {"askConfirmation": True, "torchVersionRequirement": ">=2.5,<3"},
        (["safetensors>=0.4"], "LIPCAR"),
    ]
