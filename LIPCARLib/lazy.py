"""Rooms whose names are loaded at their first use: what a panel needs before torch is there must not import it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(room: str, home: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562).

    Args:
        room: name of the package.
        home: by module of the room, the names that the room offers from it.
    """
    modules = {name: module for module, names in home.items() for name in names}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f".{modules[name]}", room), name)

    return load
