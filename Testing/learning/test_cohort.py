"""A cohort is read as it lies on disk, and split by subject."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.learning import read_parameters, read_subject, subject_folders
from LIPCARLib.learning.cohort import describe_cohort, split_subjects


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


def test_folders_without_both_doses_are_no_subjects(cohort: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    (root / "subject-000" / "highdose.nrrd").unlink()
    (root / "subject-002" / "lowdose.nrrd").unlink()
    (root / "notes.txt").write_text("not a subject")
    assert [f.name for f in subject_folders(root)] == ["subject-001"]


def test_unusable_cohorts_are_explained(tmp_path: Path) -> None:
    with pytest.raises(LIPCARError, match="does not exist"):
        subject_folders(tmp_path / "missing")
    with pytest.raises(LIPCARError, match="holds no subject"):
        subject_folders(tmp_path)


def test_labels_on_another_grid_are_refused(cohort: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(cohort, tmp_path / "c"))
    path = root / "subject-000" / "labels.nrrd"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image[:-4], str(path))
    with pytest.raises(LIPCARError, match=r"labels\.nrrd does not lie on the grid"):
        read_subject(path.parent)


def test_the_truth_is_the_noise_free_image_where_there_is_one(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    subject = read_subject(folder)
    assert subject.truth is subject.clean_highdose
    (folder / "clean_highdose.nrrd").unlink()
    subject = read_subject(folder)
    assert subject.truth is subject.highdose is subject.examination.highdose


def test_parameters_that_are_missing_or_damaged_are_none(cohort: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cohort / "subject-000", tmp_path / "one"))
    assert 0 < read_parameters(folder)["dose_fraction"] < 1
    (folder / "parameters.json").write_text("{", encoding="utf-8")
    assert read_parameters(folder) is None
    assert describe_cohort([folder]) == {"subjects": 1}
    (folder / "parameters.json").unlink()
    assert read_parameters(folder) is None
