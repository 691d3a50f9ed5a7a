"""The self-test of Slicer, as far as it runs without the application, and Slicer's Reload."""

from __future__ import annotations

import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import headless
from headless import ROOT

NEEDS_THE_APPLICATION = (
    "test_sceneRestoresThePanel",
    "test_sceneKeepsResultsAndWhatBelongsToThem",
    "test_sampleDataIsThere",
)
"""Its scene files, and the data of another module."""


def test_the_self_test_passes(slicer: Any, module: Any) -> None:
    headless.open_panel()
    loaded = unittest.defaultTestLoader.loadTestsFromModule(module)  # as CTest does
    suite = unittest.TestSuite(
        one for case in loaded for one in case if one.id().split(".")[-1] not in NEEDS_THE_APPLICATION
    )
    assert suite.countTestCases() >= 12
    result = unittest.TestResult()
    suite.run(result)
    slicer.modules.LIPCARWidget.cleanup()
    assert "\n".join(text for _, text in result.errors + result.failures) == ""
    assert result.skipped == []


def test_slicer_calls_nothing_else_than_tests(module: Any) -> None:
    """Its runTest() calls all that has "test" in its name."""
    called = [name for name in dir(module.LIPCARTest) if "test" in name and callable(getattr(module.LIPCARTest, name))]
    assert called and all(name.startswith("test_") for name in called)


def test_the_self_test_has_one_home(module: Any) -> None:
    """In a checkout it lies in Testing; once installed, in the package."""
    assert module.LIPCARTest.__module__ == "LIPCARLib.slicer.selftest"
    assert Path(sys.modules["LIPCARLib.slicer.selftest"].__file__) == ROOT / "Testing" / "slicer" / "selftest.py"


RELOAD = """
import sys
from pathlib import Path

root = Path(sys.argv[1])
sys.path[:0] = [sys.argv[2]]
import headless

slicer = headless.start()
module = headless.load_module(root / "LIPCAR" / "LIPCAR.py")
old = headless.open_panel()
names = [name for name in sys.modules if name.split(".")[0] == "LIPCARLib"]
assert {"LIPCARLib.errors", "LIPCARLib.imaging", "LIPCARLib.slicer.logic", "LIPCARLib.slicer.selftest"} <= set(names)
assert all(Path(sys.modules[name].__file__).is_relative_to(root) for name in names)
before = {name: sys.modules[name] for name in (*names, "LIPCAR", "numpy")}
wording = root / "LIPCARLib" / "slicer" / "wording.py"
wording.write_text(wording.read_text(encoding="utf-8") + "\\nEDITED = True\\n", encoding="utf-8")
old.onReload()

assert old.Observations == [] and not headless.Timer.active and old.logic._timer._slot is None
new = slicer.modules.LIPCARWidget
assert new is not old and type(new) is sys.modules["LIPCAR"].LIPCARWidget and type(new) is not type(old)
assert type(new.logic) is sys.modules["LIPCAR"].LIPCARLogic is not type(old.logic)
assert sys.modules["LIPCAR"].LIPCARTest is not module.LIPCARTest
assert all(sys.modules.get(name) is not before[name] for name in (*names, "LIPCAR"))
assert sys.modules["numpy"] is before["numpy"]
assert sys.modules["LIPCARLib.slicer.wording"].EDITED
new._parameterNode.lowdoseVolume = headless.add_volume("low", 1.3)
new.checkInputs()
assert "3 axial slices" in new.ui.checkLabel.text
new.onReload()
assert slicer.modules.LIPCARWidget is not new
slicer.modules.LIPCARWidget.cleanup()
"""


def test_reload_reads_the_whole_library_anew(slicer: Any, tmp_path: Path) -> None:
    """By Slicer's own slicer.util.reloadScriptedModule, on a copy of the checkout in which a file is edited."""
    leave = shutil.ignore_patterns("__pycache__")
    for folder in ("LIPCAR", "LIPCARLib", "Testing/slicer"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave)
    shutil.copytree(ROOT / "Resources" / "Models", tmp_path / "Resources" / "Models")
    command = [sys.executable, "-B", "-c", RELOAD, str(tmp_path), str(Path(headless.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_installed_package_brings_the_self_test(slicer: Any, tmp_path: Path) -> None:
    """Laid out as CMake installs it: LIPCARLib beside LIPCAR.py, the self-test in LIPCARLib.slicer."""
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "LIPCAR", tmp_path, ignore=leave, dirs_exist_ok=True)
    shutil.copytree(ROOT / "LIPCARLib", tmp_path / "LIPCARLib", ignore=leave)
    shutil.copytree(ROOT / "Resources" / "Models", tmp_path / "LIPCARLib" / "Resources" / "Models")
    shutil.copy(ROOT / "Testing" / "slicer" / "selftest.py", tmp_path / "LIPCARLib" / "slicer")
    here = str(Path(headless.__file__).parent)
    code = (
        f"import sys; from pathlib import Path; sys.path[:0] = [{str(tmp_path)!r}, {here!r}]\n"
        f"import headless; headless.start(); module = headless.load_module(Path({str(tmp_path / 'LIPCAR.py')!r}))\n"
        "panel = headless.open_panel()\n"
        "from LIPCARLib.inverse import list_models\n"
        "assert panel.ui.modelComboBox.count == 1 + len(list_models())\n"
        "files = [Path(m.__file__) for n, m in sys.modules.items() if n.split('.')[0] == 'LIPCARLib']\n"
        f"assert all(file.is_relative_to({str(tmp_path)!r}) for file in files)\n"
        "assert module.LIPCARTest.__module__ == 'LIPCARLib.slicer.selftest'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
