"""The house: what stands on what, read from the code's own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "LIPCARLib"
FLOORS = {
    "ground": 0,  # modules beside the rooms: errors, resources
    "physics": 1,
    "imaging": 2,
    "inverse": 3,
    "simulation": 3,
    "learning": 4,
    "trust": 4,
    "study": 5,
    "engine": 6,
    "slicer": 7,
    "cli": 7,
}
"""A room imports from lower floors only, and from none on its own."""
MODULES = sorted(LIBRARY.rglob("*.py"))
SLICER_ONLY = {"slicer", "vtk", "qt", "ctk"}


def room_of(path: Path) -> str:
    parts = path.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else "ground"


def imports(path: Path) -> set[str]:
    """Absolute dotted names of everything that a module imports, in functions and for type checking too."""
    package = ("LIPCARLib", *path.relative_to(LIBRARY).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *((node.module,) if node.module else ())))
            found |= {f"{name}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path) if name.startswith("LIPCARLib.")]
    return {name[1] if name[1] in FLOORS else "ground" for name in names}


def test_every_room_has_a_floor_and_says_what_it_owns() -> None:
    rooms = {path.name for path in LIBRARY.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert rooms == set(FLOORS) - {"ground"}
    for room in rooms:
        assert ast.get_docstring(ast.parse((LIBRARY / room / "__init__.py").read_text(encoding="utf-8"))), room


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_imports_point_down(path: Path) -> None:
    own = room_of(path)
    if path.name == "__main__.py":  # the door of the house, not a part of it
        return
    above = {room for room in rooms_imported(path) - {own} if FLOORS[room] >= FLOORS[own]}
    assert not above, f"{own} (floor {FLOORS[own]}) imports {above}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_only_one_room_knows_slicer(path: Path) -> None:
    known = {name.split(".")[0] for name in imports(path)} & SLICER_ONLY
    assert room_of(path) == "slicer" or not known, known


def test_the_house_is_asked_through_its_doors() -> None:
    """What a room re-exports, other rooms take from the room and not from a file inside it."""
    public = {}
    for room in set(FLOORS) - {"ground"}:
        body = ast.parse((LIBRARY / room / "__init__.py").read_text(encoding="utf-8")).body
        lists = [n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"]
        public[room] = set(ast.literal_eval(lists[0])) if lists else set()
    for path in MODULES:
        for name in imports(path):
            parts = name.split(".")
            if len(parts) == 4 and parts[1] in public and parts[1] != room_of(path):
                assert parts[3] not in public[parts[1]], f"{path.name} takes {parts[3]} from {'.'.join(parts[:3])}"


def test_what_the_rooms_promise_is_there() -> None:
    import importlib

    for room in set(FLOORS) - {"ground", "slicer"}:
        package = importlib.import_module(f"LIPCARLib.{room}")
        for name in getattr(package, "__all__", ()):
            assert hasattr(package, name), f"{room}.{name}"
    inverse = importlib.import_module("LIPCARLib.inverse")
    assert {name for names in inverse._HOME.values() for name in names} == set(inverse.__all__)


@pytest.mark.parametrize("module", ["imaging", "inverse.manifest", "resources"])
def test_what_a_panel_needs_before_apply_needs_no_torch(module: str) -> None:
    code = f"import sys, LIPCARLib.{module}; sys.exit(bool({{'torch', 'safetensors'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=LIBRARY.parent, check=True)


def test_what_a_panel_opens_with_leaves_scipy_to_the_thread_that_works() -> None:
    code = "import sys, LIPCARLib.imaging; from LIPCARLib.engine import Child; sys.exit('scipy.ndimage' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=LIBRARY.parent, check=True)
