"""What is unsuitable is known before it is computed, by the panel and by a script alike, with what to do instead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from headless import add_volume, volumes

from LIPCARLib.errors import LIPCARError


def moved(slicer: Any, node: Any) -> Any:
    """The same volume under a transform that moves it."""
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 5
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def label_map(slicer: Any, lowdose: Any) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(node, (slicer.util.arrayFromVolume(lowdose) > 50).astype(np.uint8))
    return node


def mask(slicer: Any, lowdose: Any) -> Any:
    node = add_volume("mask", 1.0)
    slicer.util.updateVolumeFromArray(node, (slicer.util.arrayFromVolume(lowdose) > 50).astype(np.float32))
    return node


def larger(slicer: Any) -> Any:
    node = add_volume("map", 1.0)
    node.SetSpacing(1, 1, 1)
    return node


CASES: dict[str, tuple[Any, str]] = {
    "no low-dose": (lambda s, low, pre: {"lowdose": None}, "Choose the low-dose"),
    "the same twice": (lambda s, low, pre: {"predose": low}, "as pre-dose and as low-dose"),
    "reference is an input": (lambda s, low, pre: {"highdose": pre}, "as high-dose and as pre-dose"),
    "output is an input": (lambda s, low, pre: {"output": pre}, "output volume is one of the inputs"),
    "label map": (lambda s, low, pre: {"predose": label_map(s, low)}, "'labels' is a label map"),
    "mask": (lambda s, low, pre: {"predose": mask(s, low)}, "'mask' has 2 different values"),
    "no voxels": (
        lambda s, low, pre: {"lowdose": s.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "e")},
        "'e' holds no",
    ),
    "one under a transform": (lambda s, low, pre: {"predose": moved(s, pre)}, "under another transform.*resample"),
    "dose without pre-dose": (lambda s, low, pre: {"predose": None, "dose_fraction": 0.1}, "uses no pre-dose"),
    "dose above one": (lambda s, low, pre: {"dose_fraction": 2.0}, "dose fraction is 2.0"),
    "model needs pre-dose": (lambda s, low, pre: {"predose": None, "model": "anchored"}, "'anchored' needs a pre-dose"),
    "no such model": (lambda s, low, pre: {"model": "gone"}, "No model 'gone'"),
    "map without pre-dose": (lambda s, low, pre: {"predose": None, "extras": ["enhancement"]}, "enhancement map is"),
    "unknown extra": (lambda s, low, pre: {"extras": ["magic"]}, "no extra volume 'magic'"),
    "T1 map elsewhere": (lambda s, low, pre: {"t1_map": larger(s)}, "'map' lies on another grid"),
    "T1 map without pre-dose": (lambda s, low, pre: {"predose": None, "t1_map": larger(s)}, "needs a pre-dose"),
    "adam with auto": (lambda s, low, pre: {"solver": "adam"}, "takes a number for alpha"),
    "unknown solver": (lambda s, low, pre: {"solver": "magic"}, "no solver 'magic'"),
    "negative alpha": (lambda s, low, pre: {"alpha": -1.0}, "alpha is -1.0"),
    "no iterations": (lambda s, low, pre: {"iterations": 0}, "0 iterations"),
    "slices in no order": (lambda s, low, pre: {"slices": (2, 1)}, "comes before the first"),
    "times that do not fit": (
        lambda s, low, pre: {"acquisition": {"ScanningSequence": "GR", "RepetitionTime": 0.004, "EchoTime": 0.009}},
        "not shorter than the repetition",
    ),
    "no such device": (lambda s, low, pre: {"device": "cuda:9"}, "'cuda:9' is not here"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_unsuitable_is_said_and_nothing_is_computed(
    slicer: Any, logic: Any, lowdose: Any, predose: Any, case: tuple[Any, str]
) -> None:
    from LIPCARLib.slicer.request import Request

    change, words = case
    logic.devices = [("cpu", "CPU")]
    request = replace(Request(lowdose, predose, device="cpu"), **change(slicer, lowdose, predose))
    before = volumes()
    with pytest.raises(LIPCARError, match=words):
        logic.run(request)
    assert not logic.isRunning() and volumes() == before


def test_what_only_the_images_tell_is_said_before_the_click(
    slicer: Any, panel: Any, lowdose: Any, predose: Any
) -> None:
    parameters = panel.logic.getParameterNode()
    voxels = slicer.util.arrayFromVolume(predose)
    voxels[:] = np.random.default_rng(0).random(voxels.shape)[:, ::-1] * 100
    parameters.lowdoseVolume, parameters.predoseVolume, parameters.enhancement = lowdose, predose, True
    panel.checkInputs()
    examination = panel.logic.examinationOf(lowdose, predose)
    assert (examination.predose is None) == ("was left out" in panel.ui.problemLabel.text)
    parameters.enhancement, parameters.lastSlice = False, 7
    assert "slices 1 to 3" in panel.ui.problemLabel.text and not panel.ui.applyButton.enabled
    parameters.lastSlice = 0
    assert "Do not use" in panel.ui.problemLabel.text and not panel.ui.applyButton.enabled
    parameters.force = True
    assert panel.ui.applyButton.enabled


def test_two_transforms_of_one_effect_are_one(slicer: Any, lowdose: Any, predose: Any) -> None:
    from LIPCARLib.slicer.request import transformed_apart

    assert not transformed_apart(moved(slicer, lowdose), moved(slicer, predose))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, None),
        ({"repetitionTime": 600.0}, {"RepetitionTimePreparation": 0.6}),
        ({"magneticField": 1.5}, {"ScanningSequence": ["SE"], "MagneticFieldStrength": 1.5}),
        ({"sequence": "gradient_echo", "flipAngle": 20.0}, {"ScanningSequence": ["GR"], "FlipAngle": 20.0}),
        ({"repetitionTime": 8.0, "flipAngle": 20.0}, {"RepetitionTimePreparation": 0.008, "FlipAngle": 20.0}),
    ],
)
def test_the_acquisition_is_told_in_the_panel(
    panel: Any, lowdose: Any, predose: Any, told: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    parameters = panel.logic.getParameterNode()
    parameters.lowdoseVolume = lowdose
    assert panel.ui.acquisitionLabel.text == ""  # nothing rests on it
    parameters.predoseVolume = predose
    assert panel.ui.acquisitionLabel.text.startswith("Not known, so assumed: spin echo, repetition time 450 ms")
    for name, value in told.items():
        setattr(parameters, name, value)
    assert panel.request().acquisition == expected
    assert panel.ui.acquisitionLabel.text.startswith("As told:" if told else "Not known")
