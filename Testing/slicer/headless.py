"""slicer-core made to look like the application: stand-ins for what it lacks, as small as they can be.

They know only names that a running Slicer shows (slicer_api.json). Nothing of slicer-core or LIPCAR is replaced: what
is put in place here is absent there. That the real panel opens and draws is for the self-test inside Slicer to prove.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
import typing
import unittest
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "LIPCAR" / "LIPCAR.py"
API = json.loads(Path(__file__).with_name("slicer_api.json").read_text(encoding="utf-8"))["classes"]


def names_of(kind: str) -> set[str]:
    """The attributes of a widget class in a running Slicer."""
    return {*API[kind], *API["QWidget"]}


# Qt


class Timer:
    """As much of a QTimer as the module uses; `fire` is the event loop."""

    active: typing.ClassVar[list[Timer]] = []

    def __init__(self) -> None:
        self._single_shot = False
        self._slot: Callable[[], None] | None = None

    def setSingleShot(self, single: bool) -> None:
        self._single_shot = single

    def setInterval(self, milliseconds: int) -> None:
        pass

    def connect(self, signal: str, slot: Callable[[], None]) -> None:
        assert signal == "timeout()" and self._slot is None
        self._slot = slot

    def disconnect(self, signal: str, slot: Callable[[], None]) -> None:
        assert signal == "timeout()" and slot == self._slot
        self._slot = None

    def start(self) -> None:
        if self not in Timer.active:
            Timer.active.append(self)

    def stop(self) -> None:
        if self in Timer.active:
            Timer.active.remove(self)

    def _fire(self) -> None:
        if self._single_shot:
            self.stop()
        if self._slot:
            self._slot()


def fire() -> bool:
    """One turn of the event loop; returns whether there is more to come."""
    for timer in list(Timer.active):
        timer._fire()
    return bool(Timer.active)


class Widget:
    """As much of the panel's widgets as the module uses, all in one; each has the names of its own class only."""

    def __init__(self, kind: str, name: str = "") -> None:
        self._kind = kind
        self._slots: list[tuple[str, Callable[..., None]]] = []
        self._items: list[tuple[str, Any]] = []
        self._children: list[Widget] = []
        self._cells: dict[tuple[int, int], str] = {}
        self._node: Any = None
        start = {"name": name, "text": "", "toolTip": "", "format": "", "visible": True, "enabled": True}
        start |= {
            "checked": kind == "QCheckBox",
            "value": 0,
            "currentIndex": 0,
            "currentRow": -1,
            "maximum": 0,
            "specialValueText": "",
            "checkable": False,
            "rowCount": 0,
            "columnCount": 0,
        }
        self.__dict__.update(start)

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in names_of(self._kind) | {"name"}:
            raise AttributeError(f"a {self._kind} has no {name}")
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in names_of(self._kind):
            raise AttributeError(f"a {self._kind} has no {name}")
        object.__setattr__(self, name, value)

    def children(self) -> list[Widget]:
        return self._children

    def connect(self, signal: str, slot: Callable[..., None]) -> None:
        assert signal.split("(")[0] in names_of(self._kind)
        self._slots.append((signal, slot))

    def disconnect(self, signal: str, slot: Callable[..., None]) -> None:
        self._slots.remove((signal, slot))

    def click(self) -> None:
        if self.checkable:
            self.checked = not self.checked
        emit(self, "clicked()")

    def isHidden(self) -> bool:
        return not self.visible

    def hide(self) -> None:
        self.visible = False

    def addItem(self, text: str, data: Any = None) -> None:
        self._items.append((text, data))

    def clear(self) -> None:
        self._items, self._by_role = [], {}

    @property
    def count(self) -> int:
        return len(self._items)

    def item(self, index: int) -> str:
        return self._items[index][0]

    def itemText(self, index: int) -> str:
        return self._items[index][0]

    def itemData(self, index: int, role: Any = None) -> Any:
        return self._items[index][1] if role is None else self._by_role[index, role]

    def setItemData(self, index: int, value: Any, role: Any) -> None:
        self._by_role[index, role] = value

    @property
    def currentText(self) -> str:
        return self._items[self.currentIndex][0] if 0 <= self.currentIndex < self.count else ""

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        self._node = node
        emit(self, "currentNodeChanged(vtkMRMLNode*)", node)

    def setHorizontalHeaderLabels(self, labels: list[str]) -> None:
        pass

    def setItem(self, row: int, column: int, item: str) -> None:
        self._cells[row, column] = item

    def resizeColumnsToContents(self) -> None:
        pass

    def setTabText(self, index: int, text: str) -> None:
        pass

    def blockSignals(self, block: bool) -> None:
        pass

    def reset(self) -> None:
        pass

    def setMRMLScene(self, scene: Any) -> None:
        pass


def emit(widget: Widget, signal: str, *arguments: Any) -> None:
    """What the user's hand does to a widget."""
    for connected, slot in list(widget._slots):
        if connected == signal:
            slot(*arguments)


class File:
    """As much of a QFile as slicer.util.loadUI uses."""

    ReadOnly = 1

    def __init__(self, path: str) -> None:
        self.path = path

    def exists(self) -> bool:
        return Path(self.path).is_file()

    def open(self, mode: int) -> None:
        pass


class UiLoader:
    """As much of a QUiLoader as slicer.util.loadUI uses: all widgets of the file, below the outermost."""

    def load(self, file: File) -> Widget:
        found = list(ET.parse(file.path).iter("widget"))
        first, *others = [Widget(e.get("class"), e.get("name")) for e in found]
        for element, widget in zip(found[1:], others, strict=True):
            if element.find("property[@name='checkable']") is not None:
                widget.checkable = True
        first._children = others
        return first


# The application


class Layout:
    def __init__(self) -> None:
        self._items: list[Widget] = []

    def addWidget(self, widget: Widget) -> None:
        self._items.append(widget)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> Widget:
        return self._items[index]

    def removeItem(self, item: Widget) -> None:
        self._items.remove(item)


class PanelParent:
    """The widget that the application makes for a module's panel, which fills it."""

    isEntered = True

    def __init__(self) -> None:
        self._layout = Layout()

    def layout(self) -> Layout:
        return self._layout

    def children(self) -> list[Widget]:
        return [self._layout.itemAt(index) for index in range(self._layout.count())]

    def self(self) -> Any:
        return sys.modules["slicer"].modules.LIPCARWidget

    def reload(self) -> None:
        fill(self)

    def show(self) -> None:
        pass

    def deleteLater(self) -> None:
        pass


class Application:
    """slicer.app without a main window."""

    slicerHome = ""

    def layoutManager(self) -> None:
        return None

    def processEvents(self) -> None:
        fire()

    def moduleManager(self) -> Application:
        return self

    def connect(self, signal: str, slot: Callable[..., None]) -> None:
        pass

    disconnect = connect


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
        super().__init__(parent or PanelParent())
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()

    def setup(self) -> None:
        pass

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        pass

    def resourcePath(self, name: str) -> str:
        return str(Path(sys.modules["slicer"].modules.lipcar.path).parent / "Resources" / name)

    def onReload(self) -> None:
        sys.modules["slicer"].util.reloadScriptedModule("LIPCAR")


class TestBase(unittest.TestCase):
    __test__ = False


STORES: list[dict[str, Any]] = []


def parameter_node_wrapper(cls: type) -> type:
    """Values live as long as the process; a change is a Modified event of the node, as in the real wrapper."""
    hints = typing.get_type_hints(cls, include_extras=True)
    defaults = {name: getattr(hint, "__metadata__", (None,))[-1] for name, hint in hints.items()}

    class Wrapper:
        def __init__(self, node: Any) -> None:
            if node.GetAttribute("store") is None:
                node.SetAttribute("store", str(len(STORES)))
                STORES.append(dict(defaults))
            self.__dict__["node"] = node
            self.__dict__["values"] = STORES[int(node.GetAttribute("store"))]
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


def start() -> Any:
    """Make slicer-core the application, once a process; returns the module slicer."""
    import slicer

    if hasattr(slicer, "app"):
        return slicer
    slicer.app = Application()
    segments = slicer.vtkSlicerSegmentationsModuleLogic()
    for rule in ("BinaryLabelmapToClosedSurface", "ClosedSurfaceToBinaryLabelmap"):
        one = getattr(slicer, f"vtk{rule}ConversionRule")()
        slicer.vtkSegmentationConverterFactory.GetInstance().RegisterConverterRule(one)
    volumes = slicer.vtkSlicerVolumesLogic()
    slicer.modules = types.SimpleNamespace(
        lipcar=types.SimpleNamespace(path=str(MODULE)),
        segmentations=types.SimpleNamespace(logic=lambda: segments),
        volumes=types.SimpleNamespace(logic=lambda: volumes),
    )
    new_scene()
    cursor = {"setOverrideCursor": lambda shape: None, "restoreOverrideCursor": lambda: None}
    stand_ins: dict[str, dict[str, Any]] = {
        "qt": {
            "QApplication": types.SimpleNamespace(**cursor),
            "QFile": File,
            "QTimer": Timer,
            "QTableWidgetItem": str,
            "QUiLoader": UiLoader,
            "Qt": types.SimpleNamespace(ToolTipRole=3, WaitCursor=3),
        },
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
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    return slicer


def new_scene() -> Any:
    """An empty scene for the application; slicer-core has none of itself."""
    import slicer

    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.modules.volumes.logic().SetMRMLScene(slicer.mrmlScene)
    return slicer.mrmlScene


def load_module(path: Path = MODULE) -> Any:
    """What Slicer does with the module's file at its start."""
    import slicer

    slicer.modules.lipcar = types.SimpleNamespace(path=str(path), widgetRepresentation=None)
    spec = importlib.util.spec_from_file_location("LIPCAR", path)
    module = sys.modules["LIPCAR"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_panel(services: Any = None) -> Any:
    """What Slicer does when the user chooses the module for the first time."""
    import slicer

    parent = PanelParent()
    slicer.modules.lipcar.widgetRepresentation = lambda: parent
    return fill(parent, services)


def fill(parent: PanelParent, services: Any = None) -> Any:
    panel = sys.modules["LIPCAR"].LIPCARWidget(parent, services)
    sys.modules["slicer"].modules.LIPCARWidget = panel
    panel.setup()
    return panel


# Volumes in the scene


def add_volume(name: str, gain: float) -> Any:
    """A body with a spot that is brighter by `gain`: 3 slices of 24 x 20."""
    import slicer

    k, j, i = np.indices((3, 24, 20))
    body = np.where((j - 12) ** 2 + (i - 10) ** 2 < 70, 100.0, 1.0) + np.cos(i + j + k)
    body[(j - 12) ** 2 + (i - 8) ** 2 < 8] *= gain
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, body.astype(np.float32))
    node.SetSpacing(0.5, 0.6, 3)
    return node


def volumes() -> list[str]:
    """The names of all volumes in the scene, sorted."""
    import slicer

    return sorted(node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
