"""The Slicer module without the application: its files fit together, and its logic runs on real MRML nodes.

Qt, the panel base classes and the parameter node wrapper are absent from slicer-core and stand-ins here, as small as
they can be. That the real panel opens and draws is for the self-test inside Slicer to prove.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import types
import typing
import unittest
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "LIPCAR" / "LIPCAR.py"
SOURCE = MODULE.read_text(encoding="utf-8")
TREE = ast.parse(SOURCE)
UI = ET.parse(ROOT / "LIPCAR" / "Resources" / "UI" / "LIPCAR.ui")


# The files, read


def class_of(name: str) -> ast.ClassDef:
    return next(node for node in TREE.body if isinstance(node, ast.ClassDef) and node.name == name)


def test_every_bound_widget_has_its_parameter_and_the_other_way_round() -> None:
    bound = {
        element.find("string").text for element in UI.iter("property") if element.get("name") == "SlicerParameterName"
    }
    fields = {node.target.id for node in class_of("LIPCARParameterNode").body if isinstance(node, ast.AnnAssign)}
    assert bound == fields - {"model", "device", "previewVolume"}  # what they may be is known at run time only


def test_every_widget_the_code_uses_exists() -> None:
    names = [element.get("name") for element in UI.iter("widget")]
    assert len(names) == len(set(names))
    assert set(re.findall(r"self\.ui\.(\w+)", SOURCE)) <= set(names)


def test_every_node_selector_gets_the_scene() -> None:
    selectors = {e.get("name") for e in UI.iter("widget") if e.get("class") == "qMRMLNodeComboBox"}
    connected = {e.find("receiver").text for e in UI.iter("connection")}
    assert selectors == connected


def test_every_widget_class_is_known() -> None:
    custom = {e.find("class").text for e in UI.iter("customwidget")}
    used = {e.get("class") for e in UI.iter("widget")}
    assert {name for name in used if not name.startswith("Q")} == custom


def test_the_module_loads_without_torch() -> None:
    for node in TREE.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] not in ("torch", "safetensors", "SimpleITK")
            if name.startswith("LIPCARLib"):
                code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
                subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_panel_opens_without_torch() -> None:
    """What it imports before a computation begins: all of LIPCARLib but in the functions that compute."""
    names = set()
    for top in TREE.body:
        for function in ast.walk(top):
            if isinstance(function, ast.FunctionDef) and function.name not in ("start", "_delivered", "updateDevices"):
                found = [node.module for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
                names |= {name for name in found if name.startswith("LIPCARLib")}
    assert "LIPCARLib.slicer.mrml" in names
    names -= {"LIPCARLib.slicer.mrml", "LIPCARLib.slicer.views"}  # they need slicer: test_mrml_needs_no_torch
    code = f"import sys, {', '.join(sorted(names))}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_mrml_needs_no_torch(slicer: Any) -> None:
    code = "import sys, LIPCARLib.slicer.mrml, LIPCARLib.slicer.views; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_text_for_users_can_be_translated() -> None:
    """Literals with a space are sentences: they stand inside _(...), are no f-strings, or are documentation."""
    spoken = [node for node in TREE.body if not (isinstance(node, ast.ClassDef) and node.name == "LIPCARTest")]
    allowed, literals = set(), []
    for node in (inner for top in spoken for inner in ast.walk(top)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            allowed.add(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "translate"):
            assert all(isinstance(argument, ast.Constant) for argument in node.args), ast.unparse(node)
            allowed.update(node.args)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            literals.append(node)
        if isinstance(node, ast.JoinedStr):  # file and attribute names
            assert " " not in "".join(part.value for part in node.values if isinstance(part, ast.Constant))
    assert [node.value for node in literals if node not in allowed] == []


def listed_in_cmake(folder: Path) -> set[str]:
    text = re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    return set(re.findall(r"^\s*([\w./-]+\.(?:py|png|ui|txt))\s*$", text, re.MULTILINE))


def test_every_file_is_listed_in_cmake() -> None:
    library = {path.relative_to(ROOT / "LIPCARLib").as_posix() for path in (ROOT / "LIPCARLib").rglob("*.py")}
    assert listed_in_cmake(ROOT / "LIPCARLib") == library
    module = ROOT / "LIPCAR"
    files = {
        path.relative_to(module).as_posix()
        for path in module.rglob("*")
        if path.is_file() and path.name != "CMakeLists.txt" and "__pycache__" not in path.parts
    }
    assert listed_in_cmake(module) == files


def test_the_extension_index_entry_fits_the_extension() -> None:
    (entry,) = ROOT.glob("*.json")
    content = json.loads(entry.read_text(encoding="utf-8"))
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert entry.stem == re.search(r"project\((\w+)\)", cmake)[1]
    assert content["category"] in SOURCE
    assert content["build_dependencies"] == re.search(r'EXTENSION_DEPENDS "([^"]*)"', cmake)[1].split()
    assert content["$schema"].endswith("schema-v1.0.1.json#") and content["scm_url"].endswith(".git")


def test_nothing_beside_the_module_would_be_taken_for_a_module() -> None:
    assert [path.name for path in MODULE.parent.glob("*.py")] == ["LIPCAR.py"]


# The logic and the panel, run


class Timer:
    """As much of a QTimer as the module uses; `Timer.fire` is the event loop."""

    active: typing.ClassVar[list[Timer]] = []
    single_shot = False

    def setSingleShot(self, single_shot: bool) -> None:
        self.single_shot = single_shot

    def setInterval(self, milliseconds: int) -> None:
        pass

    def connect(self, signal: str, slot: Callable[[], None]) -> None:
        assert signal == "timeout()"
        self.slot: Callable[[], None] | None = slot

    def disconnect(self, signal: str, slot: Callable[[], None]) -> None:
        assert slot == self.slot
        self.slot = None

    def start(self, interval: int = 0) -> None:
        if self not in Timer.active:
            Timer.active.append(self)

    def stop(self) -> None:
        if self in Timer.active:
            Timer.active.remove(self)

    @staticmethod
    def fire() -> bool:
        for timer in list(Timer.active):
            if timer.single_shot:
                timer.stop()
            timer.slot()
        return bool(Timer.active)


class Widget:
    """As much of the panel's widgets as the module uses, all in one."""

    def __init__(self) -> None:
        self.slots: list[Callable[..., None]] = []
        self.items: list[tuple[str, Any]] = []
        self.text = self.toolTip = self.format = ""
        self.visible = self.enabled = self.checked = True
        self.value = self.currentIndex = self.maximum = 0

    def connect(self, signal: str, slot: Callable[..., None]) -> None:
        self.slots.append(slot)

    def disconnect(self, signal: str, slot: Callable[..., None]) -> None:
        self.slots.remove(slot)

    def click(self) -> None:
        for slot in self.slots:
            slot()

    def choose(self, index: int) -> None:
        for slot in self.slots:
            slot(index)

    def isHidden(self) -> bool:
        return not self.visible

    def addItem(self, text: str, data: Any) -> None:
        self.items.append((text, data))

    def clear(self) -> None:
        self.items = []

    @property
    def count(self) -> int:
        return len(self.items)

    def itemData(self, index: int) -> Any:
        return self.items[index][1]

    def setItemData(self, index: int, value: Any, role: Any) -> None:
        pass

    def blockSignals(self, block: bool) -> None:
        pass

    def reset(self) -> None:
        pass

    def setMRMLScene(self, scene: Any) -> None:
        pass


class Base:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.parent = parent


class LogicBase(Base):
    def getParameterNode(self) -> Any:
        scene = sys.modules["slicer"].mrmlScene
        found = scene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
        return found or scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


class WidgetBase(Base):
    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.layout = types.SimpleNamespace(addWidget=lambda widget: None)

    def setup(self) -> None:
        pass

    def resourcePath(self, name: str) -> str:
        return str(MODULE.parent / "Resources" / name)


class TestBase(unittest.TestCase):
    __test__ = False


def parameter_node_wrapper(cls: type) -> type:
    """Values live as long as the process; a change is a Modified event of the node, as in the real wrapper."""
    hints = typing.get_type_hints(cls, include_extras=True)
    defaults = {name: getattr(hint, "__metadata__", (None,))[-1] for name, hint in hints.items()}
    stores: dict[str, dict[str, Any]] = {}

    class Wrapper:
        def __init__(self, node: Any) -> None:
            self.__dict__["node"] = node
            self.__dict__["values"] = stores.setdefault(node.GetAddressAsString(""), dict(defaults))
            self.__dict__["connections"] = []

        def __getattr__(self, name: str) -> Any:
            return self.values[name] if name in defaults else getattr(self.node, name)

        def __setattr__(self, name: str, value: Any) -> None:
            assert name in defaults
            self.values[name] = value
            self.node.Modified()

        def connectGui(self, ui: Any) -> int:
            self.connections.append(ui)
            return len(self.connections)

        def disconnectGui(self, tag: int) -> None:
            assert tag == len(self.connections)
            self.connections.pop()

    return Wrapper


@pytest.fixture
def slicer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    reason = "slicer-core is not installed (`pip install slicer-core`; its wheels are for Python 3.10 to 3.12)"
    slicer = pytest.importorskip("slicer", reason=reason, exc_type=ImportError)
    scene = slicer.vtkMRMLScene()
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    application = types.SimpleNamespace(layoutManager=lambda: None, processEvents=Timer.fire)
    monkeypatch.setattr(slicer.util, "WaitCursor", NoCursor)
    monkeypatch.setattr(slicer, "app", application, raising=False)
    stand_ins: dict[str, dict[str, Any]] = {
        "qt": {"QTimer": Timer, "Qt": types.SimpleNamespace(ToolTipRole=3)},
        "slicer.i18n": {"tr": str, "translate": lambda context, text: text},
        "slicer.parameterNodeWrapper": {
            "Choice": tuple,
            "Default": lambda value: value,
            "WithinRange": lambda lowest, highest: (lowest, highest),
            "parameterNodeWrapper": parameter_node_wrapper,
        },
        "slicer.ScriptedLoadableModule": {
            "ScriptedLoadableModule": Base,
            "ScriptedLoadableModuleLogic": LogicBase,
            "ScriptedLoadableModuleTest": TestBase,
            "ScriptedLoadableModuleWidget": WidgetBase,
        },
    }
    for name, content in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        vars(sys.modules[name]).update(content)
    yield slicer
    scene.Clear()
    assert not Timer.active


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_folder: Path, lowdose_model_folder: Path) -> Path:
    """Random models under the names of the shipped ones."""
    for name, folder in (("vnet-predose", model_folder), ("vnet-lowdose", lowdose_model_folder)):
        shutil.copytree(folder, tmp_path / "Models" / name)
    monkeypatch.setattr("LIPCARLib.inverse.manifest.RESOURCES", tmp_path)
    return tmp_path


@pytest.fixture
def module(slicer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("LIPCAR", MODULE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "LIPCAR", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SLOT_SECONDS", 0.0)  # one step a slot, however fast the machine is
    return module


@pytest.fixture
def logic(module: Any, shipped: Path) -> Any:
    return module.LIPCARLogic()


@pytest.fixture
def lowdose(slicer: Any) -> Any:
    return add_volume(slicer, "low", 1.3)


@pytest.fixture
def predose(slicer: Any) -> Any:
    return add_volume(slicer, "pre", 1.0)


def add_volume(slicer: Any, name: str, gain: float) -> Any:
    k, j, i = np.indices((3, 24, 20))
    body = np.where((j - 12) ** 2 + (i - 10) ** 2 < 70, 100.0, 1.0) + np.cos(i + j + k)
    body[(j - 12) ** 2 + (i - 8) ** 2 < 8] *= gain
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, body.astype(np.float32))
    node.SetSpacing(0.5, 0.6, 3)
    return node


def volumes(slicer: Any) -> list[str]:
    return sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))


def state(node: Any) -> tuple[bytes, tuple[str, ...], str]:
    slicer = sys.modules["slicer"]
    return slicer.util.arrayFromVolume(node).tobytes(), tuple(node.GetAttributeNames()), node.GetName()


def test_process_gives_what_the_engine_gives(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    from LIPCARLib.inverse.model import load_model
    from LIPCARLib.inverse.reconstruction import complete, reconstruct
    from LIPCARLib.slicer.mrml import examination_of

    output = None
    for options, alpha in (({"alpha": 0.02}, "0.02"), ({}, "auto")):
        output = logic.process(lowdose, predose, output, **options, device="cpu")
        model = load_model("vnet-predose")
        expected = complete(reconstruct(examination_of(lowdose, predose), model, **options, device="cpu"))
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), expected.highdose)
        assert output.GetAttribute("LIPCAR.alpha") == alpha
    assert output.GetAttribute("LIPCAR.model_sha256") == load_model("vnet-predose").digest
    assert output.GetAttribute("LIPCAR.notices") == " ".join(logic.notices)
    assert logic.process(lowdose, outputVolume=output, device="cpu") is output
    assert output.GetAttribute("LIPCAR.model") == "random-lowdose"


def test_the_module_and_the_engine_call_the_rule_alike(module: Any) -> None:
    from LIPCARLib.inverse.alpha import AUTO

    assert module.ALPHA_AUTO == AUTO


@pytest.mark.parametrize(
    ("alpha", "mean_square", "noticed"),
    [("auto", 0.0, True), ("auto", 1e6, False), (0.006, 0.0, False)],
    ids=["an accurate operator", "an operator far off", "a number"],
)
def test_an_image_that_contradicts_the_network_is_noticed(
    module: Any, panel: Any, shipped: Path, lowdose: Any, alpha: Any, mean_square: float, noticed: bool
) -> None:
    from LIPCARLib.inverse.manifest import read_manifest, write_manifest

    manifest = read_manifest("vnet-lowdose")
    manifest["forward_operator_error"]["mean_squares"] = [mean_square] * 5
    write_manifest(shipped / "Models" / "vnet-lowdose", manifest)
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device = lowdose, "cpu"
    if alpha != "auto":
        parameters.alphaAuto, parameters.alpha = False, alpha
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    output = parameters.outputVolume
    assert output.GetAttribute("LIPCAR.alpha") == str(alpha)
    shown = panel.logic.notices, output.GetAttribute("LIPCAR.notices"), panel.ui.messageLabel.text
    assert [module.CONTRADICTION in one for one in shown] == [noticed] * 3


def test_a_rule_with_adam_is_explained(module: Any, logic: Any, lowdose: Any) -> None:
    with pytest.raises(module.LIPCARError, match="takes a number for alpha"):
        logic.process(lowdose, solver="adam", device="cpu")


def test_apply_with_adam_takes_the_number(panel: Any, lowdose: Any) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.device = lowdose, "cpu"
    parameters.solver, parameters.iterations = "adam", 1
    panel.ui.applyButton.click()
    panel.logic.waitForCompletion()
    assert panel.shown == []
    assert parameters.outputVolume.GetAttribute("LIPCAR.alpha") == "0.006"


def test_the_snippets_of_the_readme_run(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python slicer\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == 2
    names = {"lowdoseVolume": lowdose, "predoseVolume": predose}
    for code in snippets:
        exec(compile(code, "README.md", "exec"), names)
    assert volumes(slicer)[:2] == ["low", "low simulated high dose"]
    assert "low simulated high dose_1 prior" in volumes(slicer)


def test_the_event_loop_carries_a_computation_on(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    seen, done = [], []
    logic.start(lowdose, predose, device="cpu", progressCallback=seen.append, doneCallback=done.append)
    assert logic.isRunning()
    while Timer.fire():
        assert volumes(slicer) == ["low", "pre"]
    assert not logic.isRunning()
    assert done[0].GetName() == "low simulated high dose" and len(done) == 1
    assert [one.fraction for one in seen] == sorted(one.fraction for one in seen)


def test_a_slot_does_as_many_steps_as_fit(module: Any, logic: Any, lowdose: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "SLOT_SECONDS", 1000.0)
    logic.start(lowdose, device="cpu")
    assert not Timer.fire()
    assert not logic.isRunning()


def test_only_one_computation_at_a_time(module: Any, logic: Any, lowdose: Any) -> None:
    logic.start(lowdose, device="cpu")
    with pytest.raises(module.LIPCARError, match="running"):
        logic.start(lowdose)
    logic.waitForCompletion()


def stop_by_cancel(slicer: Any, logic: Any, nodes: dict[str, Any]) -> None:
    logic.cancel()


def stop_by_closing_the_scene(slicer: Any, logic: Any, nodes: dict[str, Any]) -> None:
    slicer.mrmlScene.Clear()


def stop_by_removing(name: str) -> Callable[..., None]:
    def stop(slicer: Any, logic: Any, nodes: dict[str, Any]) -> None:
        slicer.mrmlScene.RemoveNode(nodes[name])

    return stop


@pytest.mark.parametrize(
    "stop",
    [stop_by_cancel, stop_by_closing_the_scene, *map(stop_by_removing, ("lowdose", "predose", "output"))],
    ids=["cancel", "close the scene", "remove the low-dose", "remove the pre-dose", "remove the output"],
)
@pytest.mark.parametrize("slots", [0, 1])
def test_a_stop_leaves_no_trace(slicer: Any, logic: Any, stop: Callable[..., None], slots: int) -> None:
    gains = {"lowdose": 1.3, "predose": 1.0, "output": 2.0}
    nodes = {name: add_volume(slicer, name, gain) for name, gain in gains.items()}
    done, before = [], {name: state(node) for name, node in nodes.items()}
    logic.start(*nodes.values(), device="cpu", doneCallback=done.append)
    for _ in range(slots):
        Timer.fire()
    stop(slicer, logic, nodes)
    assert done == [None]
    assert not logic.isRunning() and not Timer.active
    assert logic.Observations == []
    assert {name: state(node) for name, node in nodes.items()} == before
    assert set(volumes(slicer)) <= set(nodes)


def test_another_node_may_go(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    logic.start(lowdose, device="cpu")
    slicer.mrmlScene.RemoveNode(predose)
    assert logic.isRunning()
    logic.waitForCompletion()
    assert volumes(slicer) == ["low", "low simulated high dose"]


def test_a_progress_callback_may_cancel(slicer: Any, logic: Any, lowdose: Any) -> None:
    done = []
    logic.start(lowdose, device="cpu", progressCallback=lambda progress: logic.cancel(), doneCallback=done.append)
    logic.waitForCompletion()
    assert done == [None] and volumes(slicer) == ["low"]


def test_what_goes_wrong_later_is_handed_over(slicer: Any, module: Any, logic: Any, lowdose: Any) -> None:
    errors = []
    logic.start(lowdose, alpha=-1.0, device="cpu", errorCallback=errors.append)
    Timer.fire()
    assert isinstance(errors[0], module.LIPCARError) and not logic.isRunning()
    with pytest.raises(module.LIPCARError, match="alpha"):
        logic.process(lowdose, alpha=-1.0)
    assert volumes(slicer) == ["low"]


def test_unsuitable_input_is_refused_at_once(module: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    for arguments, message in [
        ((lowdose, lowdose), "the same"),
        ((lowdose, predose, lowdose), "one of the inputs"),
        ((lowdose, predose, predose), "one of the inputs"),
        ((lowdose, None, None, 0.006, "no-such-model"), "no-such-model"),
    ]:
        with pytest.raises(module.LIPCARError, match=message):
            logic.start(*arguments)
        assert not logic.isRunning()


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_a_missing_package_is_explained(
    module: Any, logic: Any, lowdose: Any, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(logic, "missingPackages", lambda: [package])
    logic.installDependencies()  # neither the PyTorch extension nor slicer.packaging is here
    with pytest.raises(module.LIPCARError, match="which is not installed"):
        logic.start(lowdose)


def test_packages_are_asked_for_where_they_come_from(logic: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    extension = types.ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = lambda: types.SimpleNamespace(installTorch=lambda **how: asked.append(how))
    packaging = types.ModuleType("slicer.packaging")
    packaging.load_requirements = lambda path: Path(path).read_text(encoding="utf-8").splitlines()[-1:]
    packaging.pip_ensure = lambda requirements, requester: asked.append((requirements, requester))
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(logic, "missingPackages", lambda: ["torch", "safetensors"])
    logic.installDependencies()
    assert [type(one) for one in asked] == [dict]  # torch was not installed: no use to ask for more
    asked.clear()
    missing = iter([["torch", "safetensors"], ["safetensors"], []])
    monkeypatch.setattr(logic, "missingPackages", lambda: next(missing))
    logic.installDependencies()
    assert asked == [
        {"askConfirmation": True, "torchVersionRequirement": ">=2.5,<3"},
        (["safetensors>=0.4"], "LIPCAR"),
    ]


@pytest.fixture
def panel(slicer: Any, module: Any, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    names = {element.get("name") for element in UI.iter("widget")}
    monkeypatch.setattr(slicer.util, "loadUI", lambda path: Widget())
    monkeypatch.setattr(
        slicer.util, "childWidgetVariables", lambda root: types.SimpleNamespace(**{n: Widget() for n in names})
    )
    shown: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **more: shown.append(text))
    panel = module.LIPCARWidget(types.SimpleNamespace(isEntered=True))
    panel.shown = shown
    panel.setup()
    yield panel
    panel.cleanup()
    assert panel.Observations == [] and panel.logic._timer.slot is None


def test_the_self_test_passes(slicer: Any, module: Any, panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but what needs the application: its scene files, and the data of another module."""
    widget = types.SimpleNamespace(widgetRepresentation=lambda: types.SimpleNamespace(self=lambda: panel))
    monkeypatch.setattr(slicer, "modules", types.SimpleNamespace(lipcar=widget), raising=False)
    suite = unittest.TestSuite(
        one
        for one in unittest.defaultTestLoader.loadTestsFromTestCase(module.LIPCARTest)
        if one.id().split(".")[-1] not in ("test_sceneRestoresThePanel", "test_sampleDataIsThere")
    )
    assert suite.countTestCases() >= 10
    result = unittest.TestResult()
    suite.run(result)
    assert "\n".join(text for _, text in result.errors + result.failures) == ""
    assert result.skipped == []


class NoCursor:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def test_the_apply_button_says_what_is_missing(panel: Any, lowdose: Any, predose: Any) -> None:
    button, parameters = panel.ui.applyButton, panel.logic.getParameterNode()
    assert not button.enabled and "low-dose" in button.toolTip
    parameters.lowdoseVolume = lowdose
    assert button.enabled and button.text == "Apply"
    parameters.predoseVolume = lowdose
    assert not button.enabled and "pre-dose" in button.toolTip
    parameters.predoseVolume = predose
    parameters.outputVolume = predose
    assert not button.enabled and "output" in button.toolTip
    parameters.outputVolume = None
    assert button.enabled


def test_without_models_there_is_no_apply(panel: Any, lowdose: Any, shipped: Path) -> None:
    shutil.rmtree(shipped / "Models")
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    assert not panel.ui.applyButton.enabled and "No model" in panel.ui.applyButton.toolTip


def test_apply_computes_and_chooses_the_output(slicer: Any, panel: Any, lowdose: Any, predose: Any) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume, parameters.predoseVolume, parameters.device = lowdose, predose, "cpu"
    panel.ui.applyButton.click()
    assert panel.ui.applyButton.text == "Cancel" and panel.ui.applyButton.enabled
    assert panel.ui.progressBar.visible and not panel.ui.parametersWidget.enabled
    Timer.fire()
    assert "slices" in panel.ui.progressBar.format and "CPU" in panel.ui.progressBar.format
    while Timer.fire():
        pass
    assert panel.shown == []
    assert parameters.outputVolume.GetName() == "low simulated high dose"
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled
    assert panel.ui.parametersWidget.enabled and not panel.ui.progressBar.visible


def test_apply_turns_into_cancel(slicer: Any, panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    panel.ui.applyButton.click()
    assert panel.ui.messageLabel.text.startswith("Canceled") and panel.ui.applyButton.text == "Apply"
    assert volumes(slicer) == ["low"]


def test_the_panel_shows_what_is_wrong_with_the_input(slicer: Any, panel: Any, lowdose: Any) -> None:
    slicer.util.arrayFromVolume(lowdose)[:] = 7
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    assert len(panel.shown) == 1 and "('low') is 7 everywhere" in panel.shown[0]
    assert panel.ui.applyButton.text == "Apply" and panel.ui.applyButton.enabled


def test_closing_the_scene_cancels_and_the_panel_starts_anew(slicer: Any, panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    slicer.mrmlScene.Clear()
    assert not panel.logic.isRunning()
    assert panel.ui.applyButton.text == "Apply"


def test_a_scene_that_asks_for_a_model_that_is_gone_opens(panel: Any) -> None:
    panel.exit()
    panel.logic.getParameterNode().model = "gone"
    panel.enter()
    assert panel.logic.getParameterNode().model == "automatic"
    assert "'gone'" in panel.ui.messageLabel.text


def test_a_model_is_chosen_by_name_or_added_from_a_folder(panel: Any, shipped: Path, tmp_path: Path) -> None:
    parameters, chooser = panel.logic.getParameterNode(), panel.ui.modelComboBox
    assert [data for _, data in chooser.items] == ["automatic", "vnet-lowdose", "vnet-predose"]
    chooser.choose(1)
    assert parameters.model == "vnet-lowdose" and chooser.currentIndex == 1
    panel.addModel(str(tmp_path / "nowhere"))
    assert "nowhere" in panel.shown[0] and parameters.model == "vnet-lowdose"
    folder = shutil.copytree(shipped / "Models" / "vnet-lowdose", tmp_path / "mine")
    panel.addModel(str(folder))
    assert parameters.model == str(folder)
    assert chooser.items[chooser.currentIndex] == ("mine", str(folder))
    assert panel.options()["model"] == str(folder)


def test_the_alpha_slider_is_logarithmic(panel: Any) -> None:
    parameters, slider = panel.logic.getParameterNode(), panel.ui.alphaSlider
    found = []
    for position in (0, 100, 178, 200, 300):
        slider.choose(position)
        found.append(parameters.alpha)
        assert slider.value == position
    assert found == [1e-4, 1e-3, 6e-3, 1e-2, 1e-1]


def test_the_devices_have_names_once_torch_is_there(panel: Any) -> None:
    chooser = panel.ui.deviceComboBox
    assert chooser.items[0][1] == "auto"
    assert "thread" in dict((data, words) for words, data in chooser.items)["cpu"]
    chooser.choose(len(chooser.items) - 1)
    assert panel.logic.getParameterNode().device == chooser.items[-1][1]


def test_volumes_that_say_what_they_are_are_proposed(slicer: Any, panel: Any) -> None:
    nodes = {name: add_volume(slicer, name, 1.1) for name in ("Rat pre-dose", "rat_LowDose", "other")}
    panel.enter()
    parameters = panel.logic.getParameterNode()
    assert parameters.predoseVolume is nodes["Rat pre-dose"]
    assert parameters.lowdoseVolume is nodes["rat_LowDose"]
    assert parameters.highdoseVolume is None


@pytest.mark.parametrize(
    ("count", "width", "columns"), [(2, 900, 2), (3, 1000, 3), (4, 1000, 2), (5, 1000, 3), (5, 700, 2), (5, 100, 1)]
)
def test_views_fit_side_by_side(slicer: Any, count: int, width: int, columns: int) -> None:
    from LIPCARLib.slicer.views import columns_for, layout_of

    assert columns_for(count, width) == columns
    layout = ET.fromstring(layout_of(count, columns))
    tags = [view.get("singletontag") for view in layout.iter("view")]
    assert tags == [f"LIPCAR{number}" for number in range(1, count + 1)]
    assert max(len(row.findall("item")) for row in layout.iter("layout") if row.get("type") == "horizontal") == columns


def test_leaving_the_panel_does_not_stop_the_computation(slicer: Any, panel: Any, lowdose: Any) -> None:
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    panel.ui.applyButton.click()
    panel.exit()
    while Timer.fire():
        pass
    assert panel.logic.getParameterNode().outputVolume.GetName() == "low simulated high dose"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "estimating the time left"),
        (0.2, "0.2 s left"),
        (9.96, "10.0 s left"),
        (12.4, "12 s left"),
        (59.6, "1 min 0 s left"),
        (125, "2 min 5 s left"),
    ],
)
def test_time_left_is_readable(module: Any, seconds: float | None, text: str) -> None:
    assert module.timeLeft(seconds) == text
