"""LIPCAR.ui, the parameter node and the code that uses the widgets fit together, and with the widgets of Slicer."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET

import headless
import pytest
from headless import ROOT

UI = ET.parse(ROOT / "LIPCAR" / "Resources" / "UI" / "LIPCAR.ui")
KINDS = {element.get("name"): element.get("class") for element in UI.iter("widget")}
ROOM = sorted((ROOT / "LIPCARLib" / "slicer").glob("*.py"))


def fields_of_the_parameter_node() -> set[str]:
    tree = ast.parse((ROOT / "LIPCARLib" / "slicer" / "parameters.py").read_text(encoding="utf-8"))
    (node,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {field.target.id for field in node.body if isinstance(field, ast.AnnAssign)}


def widgets_used() -> set[tuple[str, str | None]]:
    """(widget, attribute) for every ui.widget.attribute in the code; None where the widget itself is handed on."""
    used: set[tuple[str, str | None]] = set()
    for path in (*ROOM, ROOT / "Testing" / "slicer" / "selftest.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] in ("ui", "_ui"):
                used.add((node.attr, None))
            elif isinstance(node, ast.Attribute) and re.search(r"\b_?ui\.\w+$", ast.unparse(node.value)):
                used.add((node.value.attr, node.attr))
    return used


def test_every_bound_widget_has_its_parameter_and_the_other_way_round() -> None:
    bound = {
        element.find("string").text for element in UI.iter("property") if element.get("name") == "SlicerParameterName"
    }
    unbound = {"model", "device", "sequence", "outputVolume", "previewVolume"}  # known or worded at run time only
    assert bound == fields_of_the_parameter_node() - unbound


def test_every_widget_the_code_uses_exists() -> None:
    names = [element.get("name") for element in UI.iter("widget")]
    assert len(names) == len(set(names))
    used = {widget for widget, _ in widgets_used()}
    assert len(used) > 20 and used <= set(names)


def test_the_code_uses_only_what_the_widgets_of_slicer_have() -> None:
    used = {(widget, attribute) for widget, attribute in widgets_used() if attribute}
    assert len(used) >= 30
    assert {(w, a) for w, a in used if a not in headless.names_of(KINDS[w])} == set()


@pytest.mark.parametrize("kind", ["QTimer"])
def test_the_stand_ins_know_only_what_slicer_has(kind: str) -> None:
    public = {name for name in vars(headless.Timer) if not name.startswith("_")} - {"active"}
    assert public <= headless.names_of(kind)
    anything = set().union(*(headless.names_of(kind) for kind in KINDS.values()))
    assert {name for name in vars(headless.Widget) if not name.startswith("_")} <= anything
    label = headless.Widget("QLabel")
    with pytest.raises(AttributeError, match="a QLabel has no click"):
        label.click()
    with pytest.raises(AttributeError, match="a QLabel has no checked"):
        label.checked = True


def test_every_node_selector_gets_the_scene() -> None:
    selectors = {name for name, kind in KINDS.items() if kind == "qMRMLNodeComboBox"}
    connected = {e.find("receiver").text for e in UI.iter("connection")}
    assert selectors == connected


def test_every_widget_class_is_known() -> None:
    custom = {e.find("class").text for e in UI.iter("customwidget")}
    assert {kind for kind in KINDS.values() if not kind.startswith("Q")} == custom
