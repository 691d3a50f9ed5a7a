"""Several workers enhance a cohort: one of them is killed, and nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.study import CohortSettings, Outcome, dask_client, enhance_cohort, find_examinations
from LIPCARLib.study.cohort_enhancement import Task, carry_out, done_before
from LIPCARLib.study.cohort_workers import EXAMINATIONS

SETTINGS = CohortSettings("signal", {"device": "cpu"}, force=True)


@pytest.fixture
def cohort(request: pytest.FixtureRequest, phantom_images: dict[str, sitk.Image], tmp_path: Path) -> Path:
    """As many examinations as the test asks for."""
    for index in range(request.param):
        folder = tmp_path / "cohort" / f"e{index}"
        folder.mkdir(parents=True)
        for role in ("lowdose", "predose"):
            sitk.WriteImage(phantom_images[role], str(folder / f"{role}.nrrd"))
    return tmp_path / "cohort"


def arm(log: Path) -> None:
    """In a worker: the one that is first to have an examination's results dies by its own hand, before their record."""
    import os
    import signal

    from LIPCARLib.study import cohort_enhancement

    original = cohort_enhancement.enhance_examination

    def deadly(inputs: Any, *rest: Any, **options: Any) -> Any:
        done = original(inputs, *rest, **options)
        with open(log, "a") as file:
            file.write(f"{inputs.lowdose.parent.name}\n")
        try:
            log.with_name("killed").mkdir()
        except FileExistsError:
            return done
        (log.with_name("killed") / inputs.lowdose.parent.name).touch()
        os.kill(os.getpid(), signal.SIGKILL)

    cohort_enhancement.enhance_examination = deadly


@pytest.mark.parametrize("cohort", [3], indirect=True)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nobody can be killed there")
def test_a_worker_that_is_killed_loses_nothing_and_nothing_is_done_twice(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    cloudpickle = pytest.importorskip("cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    output, log = tmp_path / "out", tmp_path / "log"
    output.mkdir()
    entries = find_examinations(cohort, None, {})
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with dask_client(2, None) as client:
        client.run(arm, log)
        outcomes = list(enhance_cohort(entries, cohort, output, SETTINGS, client))
    left = sorted(str(one.relative_to(tmp_path)) for one in (tmp_path / "temporary").rglob("*"))
    assert left == []
    assert sorted(outcome.entry.name for outcome in outcomes) == ["e0", "e1", "e2"]
    assert [outcome.reason for outcome in outcomes if outcome.reason] == []
    assert not list(output.glob(f"{EXAMINATIONS}/*/.lipcar*"))  # nothing half-written is left
    again = list(enhance_cohort(entries, cohort, output, SETTINGS))
    assert {outcome.state for outcome in again} == {"kept"}
    (dead,) = (path.name for path in log.with_name("killed").iterdir())
    done = Counter(log.read_text().split())  # of the workers that were there; the one that came instead is not armed
    assert done[dead] in (1, 2) and all(count == 1 for name, count in done.items() if name != dead)


def enhance(cohort: Path, output: Path, settings: CohortSettings = SETTINGS) -> dict[str, Outcome]:
    output.mkdir(exist_ok=True)
    steps = enhance_cohort(find_examinations(cohort, None, {}), cohort, output, settings)
    return {outcome.entry.name: outcome for outcome in steps}


@pytest.mark.parametrize("cohort", [4], indirect=True)
def test_what_has_changed_is_done_anew_and_nothing_else(cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (cohort / "e3" / "lowdose.nrrd").unlink()
    first = enhance(cohort, output)
    assert [first[f"e{index}"].state for index in range(4)] == ["enhanced"] * 3 + ["failed"]
    places = {name: output / EXAMINATIONS / name for name in first}
    os.utime(cohort / "e0" / "predose.nrrd", (1, 1))
    image = places["e1"] / "enhanced.nrrd"
    image.write_bytes(image.read_bytes()[:1000])  # as a kill or a full disk leaves a copy
    states = {name: outcome.state for name, outcome in enhance(cohort, output).items()}
    assert [states[f"e{index}"] for index in range(3)] == ["enhanced", "enhanced", "kept"]
    assert sitk.ReadImage(str(image)).GetSize() == (48, 48, 3)
    dosed = CohortSettings("signal", {"device": "cpu", "dose_fraction": 0.1}, suffix=".nii.gz", force=True)
    assert enhance(cohort, output, dosed)["e2"].state == "enhanced"
    assert sorted(path.name for path in places["e2"].iterdir()) == [
        *("enhanced.nii.gz", "picture.png", "record.json", "report.json")
    ]
    (cohort / "e2" / "lowdose.nrrd").write_bytes(b"corrupt")
    assert enhance(cohort, output, dosed)["e2"].state == "failed"
    assert not places["e2"].exists()  # what was there is of another image


@pytest.mark.parametrize("cohort", [3], indirect=True)
def test_a_bug_in_one_is_told_and_stops_no_other(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from LIPCARLib.study import cohort_enhancement

    original = cohort_enhancement.enhance_examination

    def broken(inputs: object, *rest: object, **options: object) -> object:
        if "e1" in str(inputs):
            raise ZeroDivisionError("by\nnothing")
        return original(inputs, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(cohort_enhancement, "enhance_examination", broken)
    outcomes = enhance(cohort, tmp_path / "out")
    assert [name for name, outcome in outcomes.items() if outcome.state == "failed"] == ["e1"]
    assert "A bug of LIPCAR" in outcomes["e1"].reason and "ZeroDivisionError" in outcomes["e1"].reason
    assert "\n" not in outcomes["e1"].reason


@pytest.mark.parametrize("cohort", [1], indirect=True)
def test_a_damaged_record_is_none(cohort: Path, tmp_path: Path) -> None:
    (outcome,) = enhance(cohort, tmp_path / "out").values()
    folder = tmp_path / "out" / EXAMINATIONS / "e0"
    task = Task(outcome.entry, SETTINGS, SETTINGS.digest(), cohort, folder)
    assert done_before(task) == replace(outcome, state="kept")
    content = json.loads((folder / "record.json").read_text())
    notices = {"facts": {**content["facts"], "notices": "none"}}
    for changed in ({"files": {"enhanced.nrrd": "x"}}, {"files": {"../../x": 1}}, {"key": 1}, notices):
        (folder / "record.json").write_text(json.dumps(content | changed))
        assert done_before(task) is None, changed
    for damaged in ("[1]", "{}", "{", "[" * 10_000):
        (folder / "record.json").write_text(damaged)
        assert done_before(task) is None, damaged
    assert carry_out(task).state == "enhanced"


def test_what_dask_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(LIPCARError, match="No Dask scheduler answers at 'nowhere'"), dask_client(1, "nowhere"):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LIPCARError, match=r"pip install lipcar\[cohort\]"), dask_client(2, None):
        pass
