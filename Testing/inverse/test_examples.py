"""The examples in the room's docstrings: every public class and function has one, and all of them run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest
import torch

from LIPCARLib import inverse

MODULES = [
    importlib.import_module(f"{inverse.__name__}.{entry.name}") for entry in pkgutil.iter_modules(inverse.__path__)
]


def public(module: ModuleType) -> dict[str, object]:
    return {
        name: member
        for name, member in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(member) or inspect.isroutine(inspect.unwrap(member) if callable(member) else member))
        and getattr(member, "__module__", None) == module.__name__
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_everything_public_has_an_example(module: ModuleType) -> None:
    members = public(module)
    assert members
    assert [name for name, member in members.items() if ">>>" not in (inspect.getdoc(member) or "")] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_run(module: ModuleType) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        failed, tried = doctest.testmod(module)
    assert tried > 0 and failed == 0
