"""A cohort is evaluated subject by subject: resumed where it stopped, and past what is broken."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from LIPCARLib.inverse import Model
from LIPCARLib.study import Experiment, Failure, SubjectResult, run_experiment

Run = Callable[..., list]


def test_it_goes_on_where_it_stopped(run: Run, folders: list[Path], model: Model, tmp_path: Path) -> None:
    """Seen by taking a subject's image away: what is read from its record does not miss it."""
    root = tmp_path / "cohort"
    subjects = [Path(shutil.copytree(folder, root / folder.name)) for folder in folders]
    output = tmp_path / "output"
    experiment = Experiment((model,), ("lowdose", "nn"), device="cpu")
    events = run_experiment(experiment, subjects, output)
    next(event for event in events if isinstance(event, SubjectResult))
    events.close()
    whole = run(experiment, subjects)
    (subjects[0] / "lowdose.nrrd").unlink()
    kept = [(r.scores, r.lesions, r.readings) for r in run(experiment, subjects, output)]
    assert kept == [(r.scores, r.lesions, r.readings) for r in whole]
    (subjects[1] / "lowdose.nrrd").unlink()
    assert [r.scores for r in run(experiment, subjects, output)] == [r.scores for r in whole]
    other = dataclasses.replace(experiment, methods=("lowdose",))
    assert isinstance(run(other, subjects[:1], output)[0], Failure)  # other settings: computed anew
    (output / "subjects" / f"{subjects[1].name}.json").write_text("{", encoding="utf-8")
    (failed,) = run(experiment, subjects[1:2], output)  # a record cut short: computed anew
    assert isinstance(failed, Failure)
    shutil.copy(folders[1] / "lowdose.nrrd", subjects[1])
    (again,) = run(experiment, subjects[1:2], output)  # what failed is tried again
    assert again.scores == whole[1].scores


def test_a_broken_subject_is_reported_and_the_others_go_on(
    run: Run, folders: list[Path], model: Model, tmp_path: Path
) -> None:
    broken = shutil.copytree(folders[0], tmp_path / "cohort" / "broken")
    shutil.copy(broken / "lowdose.nrrd", broken / "highdose.nrrd")
    failed, fine = run(Experiment((model,), ("lowdose",), device="cpu"), [broken, folders[1]])
    assert isinstance(failed, Failure) and failed.subject == "broken" and "are the same" in failed.reason
    assert isinstance(fine, SubjectResult)
