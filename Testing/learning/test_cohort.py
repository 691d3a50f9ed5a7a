"""A cohort is read as it lies on disk, and split by subject."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.learning import read_parameters, read_subject, subject_folders
from LIPCARLib.learning.cohort import describe_cohort, simulated_acquisition, split_subjects


@hypothesis_settings(deadline=None)
@given(count=st.integers(2, 40), held_out=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_split_is_a_partition_with_both_sides(count: int, held_out: float, seed: int) -> None:
    names = [f"subject-{i}" for i in range(count)]
    training, validation = split_subjects(names, held_out, seed)
    assert sorted(training + validation, key=names.index) == names
    assert training and validation
    assert (training, validation) == split_subjects(names, held_out, seed)
    assert abs(len(validation) - held_out * count) <= 1


def test_split_depends_on_the_seed() -> None:
    names = [str(i) for i in range(30)]
    assert len({tuple(split_subjects(names, 0.2, seed)[1]) for seed in range(10)}) == 10


@pytest.mark.parametrize("names", [[], ["one"]])
def test_one_subject_cannot_be_split(names: list[str]) -> None:
    with pytest.raises(LIPCARError, match=f"at least two subjects.*found {len(names)}"):
        split_subjects(names, 0.2, 0)


def test_optional_images_may_be_missing(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    for role in ("predose", "clean_lowdose", "labels"):
        (folder / f"{role}.nrrd").unlink()
    subject = read_subject(folder)
    assert subject.examination.predose is subject.clean_lowdose is subject.labels is None
    assert subject.clean_highdose is not None


def test_what_a_subject_lacks_is_named(cohort: Path, tmp_path: Path) -> None:
    """A subject that was left out without a word would be missed in no table."""
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    (root / "subject-000" / "highdose.nrrd").unlink()
    (root / "subject-002" / "lowdose.nrrd").unlink()
    (root / "notes").mkdir()
    (root / "notes.txt").write_text("not a subject")
    folders = subject_folders(root)
    assert [f.name for f in folders] == ["subject-000", "subject-001", "subject-002"]
    for folder, name in ((folders[0], "highdose"), (folders[2], "lowdose")):
        with pytest.raises(LIPCARError, match=rf"The subject '.*{folder.name}' has no {name}\.nrrd"):
            read_subject(folder)


@pytest.mark.parametrize(("role", "value"), [("clean_highdose", np.nan), ("clean_lowdose", np.inf), ("labels", -1)])
def test_values_that_cannot_be_are_refused(role: str, value: float, cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    path = folder / f"{role}.nrrd"
    image = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    values[0, 3, 4] = value
    spoiled = sitk.GetImageFromArray(values)
    spoiled.CopyInformation(image)
    sitk.WriteImage(spoiled, str(path))
    with pytest.raises(LIPCARError, match=rf"one/{role}\.nrrd' has values that are no numbers from"):
        read_subject(folder)


def test_unusable_cohorts_are_explained(tmp_path: Path) -> None:
    with pytest.raises(LIPCARError, match="does not exist"):
        subject_folders(tmp_path / "missing")
    with pytest.raises(LIPCARError, match="holds no subject"):
        subject_folders(tmp_path)


@pytest.mark.parametrize("role", ["highdose", "clean_lowdose", "labels"])
def test_what_lies_on_another_grid_is_refused(role: str, cohort: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    path = root / "subject-000" / f"{role}.nrrd"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image[:-4], str(path))
    with pytest.raises(LIPCARError, match=rf"subject-000/{role}\.nrrd does not lie on the grid"):
        read_subject(path.parent)


def test_the_truth_is_the_noise_free_image_where_there_is_one(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    subject = read_subject(folder)
    assert subject.truth is subject.clean_highdose
    (folder / "clean_highdose.nrrd").unlink()
    subject = read_subject(folder)
    assert subject.truth is subject.highdose is subject.examination.highdose


def test_a_subject_without_parameters_was_not_simulated(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    parameters = read_parameters(folder)
    assert parameters is not None and 0 < parameters["dose_fraction"] < 1
    (folder / "parameters.json").unlink()
    assert read_parameters(folder) is None
    assert describe_cohort([folder]) == {"subjects": 1}
    (folder / "parameters.json").write_text('{"noise": 0.1}', encoding="utf-8")  # of another simulator
    assert read_subject(folder).examination.acquisition is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '{"dose_fraction": "a fifth"}',
        '{"dose_fraction": 0}',
        '{"dose_fraction": NaN}',
        '{"dose_fraction": true}',
        '{"sequence": "spin echo"}',
        '{"sequence": {"name": 3}}',
        '{"sequence": {"name": "spin echo", "tr": "short"}}',
        '{"sequence": {"name": "spin echo", "tr": -1.0}}',
        '{"anatomy": ["rat"]}',
        '{"field": null}',
        "[" * 100_000,
    ],
)
def test_damaged_parameters_are_refused(text: str, cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    (folder / "parameters.json").write_text(text, encoding="utf-8")
    for reader in (read_subject, read_parameters):
        with pytest.raises(LIPCARError, match=r"The file '.*one/parameters\.json' .* Restore it, or remove it"):
            reader(folder)


def test_the_acquisition_is_what_a_header_would_tell(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    parameters = read_parameters(folder)
    assert parameters is not None
    found = read_subject(folder).examination.acquisition
    assert found is not None and found == simulated_acquisition(parameters)
    assert found.sequence.value.endswith(parameters["sequence"]["name"])
    assert (found.repetition_time, found.magnetic_field) == (parameters["sequence"]["tr"], parameters["field"])
    (folder / "lowdose.json").write_text('{"ScanningSequence": "GR", "RepetitionTime": 0.009}', encoding="utf-8")
    beside = read_subject(folder).examination.acquisition
    assert beside is not None and beside.repetition_time == 0.009


@pytest.mark.parametrize(
    "parameters",
    [None, {}, {"sequence": "spin echo"}, {"sequence": {"name": "spiral"}}, {"sequence": {"name": "spin echo"}}]
    + [{"sequence": {"name": "gradient echo", "tr": tr, "te": 0.002, "flip": 20.0}} for tr in (-1.0, "short")],
)
def test_parameters_that_tell_no_acquisition(parameters: dict[str, object] | None) -> None:
    assert simulated_acquisition(parameters) is None
