"""What is installed, what the application loads at its start, and what users read can be translated."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from headless import MODULE, ROOT

HERE = Path(__file__).parent
ROOM = sorted((ROOT / "LIPCARLib" / "slicer").glob("*.py"))
EXTRAS = ("matplotlib", "jinja2", "rich", "typer", "tqdm", "torchmetrics", "skimage")
"""Packages that neither Slicer nor LIPCAR's offer to install brings."""


def run(code: str) -> None:
    """In a process of its own with the stand-ins of the application."""
    lines = f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(ROOT)!r}]; import headless; headless.start()\n{code}"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_module_is_short() -> None:
    assert len(MODULE.read_text(encoding="utf-8").splitlines()) < 150


def test_the_application_starts_without_heavy_packages(slicer: Any) -> None:
    """Beyond the standard library it loads LIPCAR and what Slicer has loaded itself."""
    run(
        "before = set(sys.modules)\n"
        "headless.load_module()\n"
        "loaded = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "assert loaded - sys.stdlib_module_names <= {'LIPCAR', 'LIPCARLib', 'vtk', 'vtkmodules', 'numpy'}, loaded"
    )


def test_nothing_imports_torch_into_slicer(slicer: Any) -> None:
    """The room, and what it imports within functions; the engine's process imports torch, or where none starts, its
    thread."""
    statements = {f"import LIPCARLib.slicer.{path.stem}" for path in ROOM if path.stem != "__init__"}
    for path in ROOM:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                found = [node for node in ast.walk(function) if isinstance(node, ast.ImportFrom) and node.level]
                for node in found:
                    package = ".".join(["LIPCARLib", "slicer"][: 3 - node.level])
                    names = ", ".join(alias.name for alias in node.names)
                    statements.add(f"from {package}.{node.module} import {names}")
    assert "from LIPCARLib.inverse import list_models" in statements
    run("\n".join((*sorted(statements), "assert not {'torch', 'safetensors'} & set(sys.modules)")))


def test_the_panel_opens_and_checks_without_torch(slicer: Any) -> None:
    """All that the user can do before Apply."""
    run(
        "headless.load_module()\n"
        "panel = headless.open_panel()\n"
        "panel.logic.missingPackages = lambda: ['torch']\n"
        "panel._parameterNode.lowdoseVolume = headless.add_volume('low', 1.3)\n"
        "panel._parameterNode.predoseVolume = headless.add_volume('pre', 1.0)\n"
        "panel.checkInputs()\n"
        "assert '3 axial slices' in panel.ui.checkLabel.text and panel.ui.applyButton.enabled\n"
        "headless.emit(panel.ui.modelComboBox, 'activated(int)', 1)\n"
        "headless.emit(panel.ui.alphaSlider, 'valueChanged(int)', 100)\n"
        "panel.onResampleButton(); panel.request(); panel.exit(); panel.enter(); panel.cleanup()\n"
        "assert not {'torch', 'safetensors'} & set(sys.modules)"
    )


def test_a_computation_needs_no_extras(slicer: Any) -> None:
    run(
        f"sys.modules.update(dict.fromkeys({EXTRAS}))  # an import of one would raise\n"
        "module = headless.load_module()\n"
        "from LIPCARLib.slicer import application, background\n"
        "engine = background.ThreadEngine(background.Threads(headless.Timer).worker, 0.01)\n"
        "application.own_engine = lambda: engine  # in this process, where an import would be seen\n"
        "logic = module.LIPCARLogic()\n"
        "low, high = headless.add_volume('low', 1.3), headless.add_volume('high', 2.0)\n"
        "output = logic.process(low, highdoseVolume=high, iterations=1, device='cpu')\n"
        "assert output.GetNodeReference('LIPCAR.metrics')"
    )


def test_every_text_for_users_can_be_translated() -> None:
    """Literals with a space are sentences: they stand inside _(...), are no f-strings, or are documentation."""
    own = {"mrml.py", "views.py", "tables.py", "geometry.py"}  # of the engine's kind: their errors are LIPCARError's
    for path in (MODULE, *(path for path in ROOM if path.name not in own)):
        allowed, literals = set(), []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                allowed.add(node.value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "translate"):
                assert all(isinstance(argument, ast.Constant) for argument in node.args), ast.unparse(node)
                allowed.update(node.args)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                literals.append(node)
            if isinstance(node, ast.JoinedStr):  # file and attribute names
                assert " " not in "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        assert [node.value for node in literals if node not in allowed] == [], path.name


def listed_in_cmake(folder: Path) -> list[str]:
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    return re.findall(r"^\s*([\w./-]+\.(?:py|png|ui|txt|jinja))\s*$", text, re.MULTILINE)


def files_in(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".py", ".png", ".ui", ".txt", ".jinja") and path.name != "CMakeLists.txt"
    }


def test_every_file_is_listed_in_cmake() -> None:
    listed = listed_in_cmake(ROOT / "LIPCARLib")
    assert len(listed) == len(set(listed))
    assert set(listed) == files_in(ROOT / "LIPCARLib") | {"selftest.py"}
    assert set(listed_in_cmake(ROOT / "LIPCAR")) == files_in(ROOT / "LIPCAR")


def test_the_self_test_lies_where_cmake_takes_it_from() -> None:
    text = (ROOT / "LIPCARLib" / "CMakeLists.txt").read_text(encoding="utf-8")
    assert 'SOURCE_DIR "${LIPCAR_SOURCE_DIR}/Testing/slicer"' in text
    assert (HERE / "selftest.py").is_file()
    assert not (ROOT / "LIPCARLib" / "slicer" / "selftest.py").exists()


def test_nothing_beside_the_module_would_be_taken_for_a_module() -> None:
    assert [path.name for path in MODULE.parent.glob("*.py")] == ["LIPCAR.py"]
