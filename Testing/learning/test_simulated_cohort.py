"""A simulated cohort comes back from disk as it was simulated, and says that it is."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.errors import LIPCARError
from LIPCARLib.learning import read_subject, simulated_cohort, subject_folders, write_simulated_cohort
from LIPCARLib.learning.cohort import ROLES
from LIPCARLib.simulation import simulate


def test_simulated_subjects_come_back(cohort: Path) -> None:
    folders = subject_folders(cohort)
    assert [f.name for f in folders] == ["subject-000", "subject-001", "subject-002"]
    for index, folder in enumerate(folders):
        subject, original = read_subject(folder, match_predose=False), simulate(7, index, slices=2, size=48)
        e = subject.examination
        for array, role in (
            (e.predose, "predose"),
            (e.lowdose, "lowdose"),
            (e.highdose, "highdose"),
            (subject.clean_lowdose, "clean_lowdose"),
            (subject.clean_highdose, "clean_highdose"),
            (subject.labels, "labels"),
        ):
            np.testing.assert_array_equal(array, getattr(original, role), err_msg=role)
        np.testing.assert_allclose(e.grid.spacing, original.spacing)
        assert subject.labels is not None and subject.labels.dtype == np.uint8
        assert json.loads((folder / "parameters.json").read_text()) == original.parameters


def test_simulated_images_say_so(cohort: Path) -> None:
    for role in ROLES:
        image = sitk.ReadImage(str(cohort / "subject-001" / f"{role}.nrrd"))
        assert image.GetMetaData("LIPCAR.simulated") == "phantom"
        assert image.GetMetaData("LIPCAR.seed") == "7/1"


def test_a_subject_does_not_depend_on_the_others(cohort: Path, tmp_path: Path) -> None:
    written = list(write_simulated_cohort(tmp_path / "new" / "one", 1, slices=2, size=48, seed=7))
    assert written == [tmp_path / "new" / "one" / "subject-000"]
    for role in ROLES:
        one, other = (sitk.ReadImage(str(f / f"{role}.nrrd")) for f in (written[0], cohort / "subject-000"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(one), sitk.GetArrayFromImage(other))


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LIPCARError, match="cannot be made"):
        list(write_simulated_cohort(tmp_path / "file" / "cohort", 1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child")
def test_its_processes_end_with_the_one_that_started_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_cohort, "processors", lambda: 2)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        subjects = iter(write_simulated_cohort(tmp_path, 4, slices=1, size=16))
        next(subjects)
        os.write(write, json.dumps([one.pid for one in multiprocessing.active_children()]).encode())
        time.sleep(60)
    numbers = json.loads(os.read(read, 1000))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until, left = time.monotonic() + 20, set(numbers)
    while left and time.monotonic() < until:
        time.sleep(0.02)
        left = {number for number in left if is_there(number)}
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert len(numbers) == 2 and not left


def is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nobody can be confined to a processor")
def test_no_more_processes_are_started_than_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.sched_getaffinity(0)
    monkeypatch.setattr(simulated_cohort, "ProcessPoolExecutor", None)
    os.sched_setaffinity(0, {min(allowed)})  # as a container or a queue does
    try:
        assert len(list(write_simulated_cohort(tmp_path, 2, slices=1, size=16))) == 2
    finally:
        os.sched_setaffinity(0, allowed)
