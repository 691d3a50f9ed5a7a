"""The logic of the module: what it computes, that it can be stopped at any time, and that a stop leaves no trace."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headless import ROOT, Timer, add_volume, fire, volumes

from LIPCARLib.errors import LIPCARError


def state(slicer: Any, node: Any) -> tuple[bytes, tuple[str, ...], str]:
    return slicer.util.arrayFromVolume(node).tobytes(), tuple(node.GetAttributeNames()), node.GetName()


def test_process_gives_what_the_engine_gives(
    slicer: Any, logic: Any, models: dict[str, Path], lowdose: Any, predose: Any
) -> None:
    from LIPCARLib.inverse import complete, default_model, load_model, reconstruct
    from LIPCARLib.slicer.mrml import examination_of

    output, name = None, default_model(True, examination_of(lowdose, predose).predose_doubtful)
    for options, alpha in (({"alpha": 0.02}, "0.02"), ({}, "auto")):
        output = logic.process(lowdose, predose, output, **options, device="cpu")
        model = load_model(models[name])
        expected = complete(reconstruct(examination_of(lowdose, predose), model, **options, device="cpu"))
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(output), expected.highdose)
        assert output.GetAttribute("LIPCAR.alpha") == alpha
    assert output.GetAttribute("LIPCAR.model_sha256") == load_model(models[name]).digest
    assert output.GetAttribute("LIPCAR.notices") == " ".join(logic.notices)
    assert logic.process(lowdose, outputVolume=output, device="cpu") is output
    assert output.GetAttribute("LIPCAR.model") == "random-lowdose"


def test_the_module_and_the_engine_call_the_rule_alike(module: Any) -> None:
    from LIPCARLib.inverse import AUTO
    from LIPCARLib.slicer.parameters import ALPHA_AUTO

    assert ALPHA_AUTO == AUTO


def test_a_rule_with_adam_is_explained(module: Any, logic: Any, lowdose: Any) -> None:
    with pytest.raises(LIPCARError, match="takes a number for alpha"):
        logic.process(lowdose, solver="adam", device="cpu")


def test_the_snippets_of_the_readme_run(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python slicer\n(.*?)```", text, re.DOTALL)
    assert len(snippets) == 2
    names = {"lowdoseVolume": lowdose, "predoseVolume": predose}
    for code in snippets:
        exec(compile(code, "README.md", "exec"), names)
    assert volumes()[:2] == ["low", "low simulated high dose"]
    assert "low simulated high dose 2 prior" in volumes()


def test_the_event_loop_carries_a_computation_on(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    seen, done = [], []
    logic.start(lowdose, predose, device="cpu", progressCallback=seen.append, doneCallback=done.append)
    assert logic.isRunning()
    while fire():
        assert volumes() == ["low", "pre"]
    assert not logic.isRunning()
    assert done[0].GetName() == "low simulated high dose" and len(done) == 1
    assert [one.fraction for one in seen] == sorted(one.fraction for one in seen)


def test_a_slot_does_as_many_steps_as_fit(patient_logic: Any, lowdose: Any) -> None:
    patient_logic.start(lowdose, device="cpu")
    assert not fire()
    assert not patient_logic.isRunning()


def test_no_progress_is_lost_in_a_slot_that_ends_within_a_step(module: Any, services: Any, lowdose: Any) -> None:
    seen: list[Any] = []

    class Engine:
        def start(self) -> None:
            pass

        def devices(self) -> Any:
            yield from ()
            return [("cpu", "CPU")]

        def enhance(self, examination: Any, asked: Any) -> Any:
            yield "half"
            time.sleep(0.2)  # waiting for the next step
            yield None

    logic = module.LIPCARLogic(replace(services, engine=lambda address: Engine(), slot_seconds=0.1))
    logic.start(lowdose, progressCallback=seen.append)
    fire()
    assert seen == ["half"]
    logic.cancel()


def test_only_one_computation_at_a_time(module: Any, logic: Any, lowdose: Any) -> None:
    logic.start(lowdose, device="cpu")
    with pytest.raises(LIPCARError, match="running"):
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
    nodes = {name: add_volume(name, gain) for name, gain in gains.items()}
    done, before = [], {name: state(slicer, node) for name, node in nodes.items()}
    logic.start(*nodes.values(), device="cpu", doneCallback=done.append)
    for _ in range(slots):
        fire()
    stop(slicer, logic, nodes)
    assert done == [None]
    assert not logic.isRunning() and not Timer.active
    assert logic.Observations == []
    assert {name: state(slicer, node) for name, node in nodes.items()} == before
    assert set(volumes()) <= set(nodes)


def test_another_node_may_go(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    logic.start(lowdose, device="cpu")
    slicer.mrmlScene.RemoveNode(predose)
    assert logic.isRunning()
    logic.waitForCompletion()
    assert volumes() == ["low", "low simulated high dose"]


def test_a_progress_callback_may_cancel(slicer: Any, logic: Any, lowdose: Any) -> None:
    done = []
    logic.start(lowdose, device="cpu", progressCallback=lambda progress: logic.cancel(), doneCallback=done.append)
    logic.waitForCompletion()
    assert done == [None] and volumes() == ["low"]


def test_what_goes_wrong_later_is_handed_over(slicer: Any, module: Any, logic: Any, lowdose: Any) -> None:
    errors = []
    slicer.util.arrayFromVolume(lowdose)[:] = 7
    logic.start(lowdose, device="cpu", errorCallback=errors.append)
    fire()
    assert isinstance(errors[0], LIPCARError) and not logic.isRunning()
    with pytest.raises(LIPCARError, match="7 everywhere"):
        logic.process(lowdose)
    assert volumes() == ["low"]


def test_another_computer_is_asked_where_one_is_named(
    module: Any, services: Any, packages: Any, lowdose: Any, predose: Any
) -> None:
    asked: list[str] = []

    def engine(address: str) -> Any:
        asked.append(address)
        return services.engine(address)

    packages.absent = ["torch"]  # it is needed there, not here
    logic = module.LIPCARLogic(replace(services, engine=engine))
    output = logic.process(lowdose, predose, engine="gpu:9000", model="vnet-predose", device="cpu")
    assert set(asked) == {"gpu:9000"} and output is not None
    with pytest.raises(LIPCARError, match="host:port is expected"):
        logic.start(lowdose, engine="gpu:http")
    with pytest.raises(LIPCARError, match="shipped models only"):
        logic.start(lowdose, predose, engine="gpu", model=str(services.shipped_models()["vnet-predose"]))


def test_unsuitable_input_is_refused_at_once(module: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    for arguments, message in [
        ((lowdose, lowdose), "The same volume"),
        ((lowdose, predose, lowdose), "one of the inputs"),
        ((lowdose, predose, predose), "one of the inputs"),
        ((lowdose, None, None, 0.006, "no-such-model"), "no-such-model"),
    ]:
        with pytest.raises(LIPCARError, match=message):
            logic.start(*arguments)
        assert not logic.isRunning()


@pytest.mark.parametrize("package", ["torch", "safetensors"])
def test_a_missing_package_is_explained(logic: Any, packages: Any, lowdose: Any, package: str) -> None:
    packages.absent = [package]
    logic.installDependencies()  # the user declines
    with pytest.raises(LIPCARError, match="which is not installed"):
        logic.start(lowdose)


@pytest.mark.parametrize("known", [True, False])
def test_a_dicom_series_takes_its_header_from_slicers_database(
    module: Any, services: Any, lowdose: Any, tmp_path: Path, known: bool
) -> None:
    pydicom = pytest.importorskip("pydicom")
    source = tmp_path / "source.dcm"
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.PatientName = "Known^Patient"
    header.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.save_as(source, enforce_file_format=True)
    asked = []

    def dicom_file(instance: str) -> str:
        asked.append(instance)
        return str(source) if known else ""

    lowdose.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    logic = module.LIPCARLogic(replace(services, dicom_file=dicom_file))
    output = logic.process(lowdose, device="cpu", iterations=1)
    folders = [logic.exportDicom(output, tmp_path) for _ in range(2)]
    assert [folder.name for folder in folders] == ["low simulated high dose", "low simulated high dose_2"]
    assert asked == 3 * ["1.2.3", "1.2.4"]  # once for its acquisition
    written = pydicom.dcmread(sorted(folders[0].iterdir())[0])
    assert (str(written.get("PatientName", "")) == "Known^Patient") == known
    with pytest.raises(LIPCARError, match="no result of LIPCAR"):
        logic.exportDicom(lowdose, tmp_path)


def test_what_an_export_mends_is_told(slicer: Any, panel: Any, dialogs: Any, lowdose: Any, tmp_path: Path) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(lowdose.GetScene())
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), lowdose)
    for name, value in (("PatientID", "7"), ("PatientSex", "M\\F")):
        hierarchy.SetItemAttribute(item, f"DICOM.{name}", value)
    panel.logic.process(lowdose, device="cpu", iterations=1)
    panel.logic.getParameterNode().lowdoseVolume = lowdose
    dialogs.folder = str(tmp_path)
    panel.ui.dicomButton.click()
    assert "Wrote" in panel.ui.messageLabel.text and "PatientSex" in panel.ui.messageLabel.text


def test_the_physics_is_told_how_the_volumes_were_acquired(
    module: Any, services: Any, lowdose: Any, predose: Any, tmp_path: Path
) -> None:
    import SimpleITK as sitk

    for name, repetition in (("low", "8"), ("pre", "9")):
        image = sitk.GetImageFromArray(np.zeros((1, 8, 8), np.uint16))
        for tag, value in (("0018|0020", "GR"), ("0018|0080", repetition), ("0018|1314", "20"), ("0018|0087", "3")):
            image.SetMetaData(tag, value)
        sitk.WriteImage(image, str(tmp_path / f"{name}.dcm"))
    lowdose.SetAttribute("DICOM.instanceUIDs", "low other")
    predose.SetAttribute("DICOM.instanceUIDs", "pre")
    logic = module.LIPCARLogic(replace(services, dicom_file=lambda instance: str(tmp_path / f"{instance}.dcm")))
    output = logic.process(lowdose, predose, model="signal", device="cpu", doseFraction=0.2)
    assert output.GetAttribute("LIPCAR.acquisition") == (
        "told: spoiled gradient echo, repetition time 8 ms, flip angle 20 degrees, magnetic field 3 T"
    )
    different = f"The volume '{lowdose.GetName()}' and the volume '{predose.GetName()}' were acquired in different ways"
    assert any(different in notice and "8 ms against 9 ms" in notice for notice in logic.notices)
    told = {"ScanningSequence": "SE", "RepetitionTime": 0.5, "MagneticFieldStrength": 7}
    output = logic.process(lowdose, predose, model="signal", device="cpu", acquisition=told)
    assert output.GetAttribute("LIPCAR.acquisition").startswith("told: spin echo, repetition time 500 ms")
    assert logic.notices[-1] in output.GetAttribute("LIPCAR.notices") and "0.22" in logic.notices[-1]
    with pytest.raises(LIPCARError, match="The acquisition tells no sequence"):
        logic.process(lowdose, predose, acquisition={"RepetitionTime": 100})


def test_what_the_physics_had_to_assume_is_noticed(module: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    output = logic.process(lowdose, predose, model="signal", device="cpu")
    assert output.GetAttribute("LIPCAR.acquisition").startswith("assumed: spin echo")
    assert any("How the images were acquired is not known" in notice for notice in logic.notices)
    logic.process(lowdose, predose, device="cpu")
    assert not any("assumed" in notice for notice in logic.notices)


def test_what_solved_nothing_has_no_convergence(slicer: Any, logic: Any, lowdose: Any, predose: Any) -> None:
    signal = ROOT / "Resources" / "Models" / "signal"
    solved = logic.process(lowdose, predose, model=str(signal), alpha=0.01, device="cpu")
    assert solved.GetNodeReference("LIPCAR.convergence") is not None
    again = logic.process(lowdose, predose, solved, model=str(signal), device="cpu")
    assert again is solved and again.GetNodeReference("LIPCAR.convergence") is None
