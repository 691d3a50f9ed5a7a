"""Which examinations a source holds, which image plays which role, and what is too ambiguous to be guessed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import read_image
from LIPCARLib.study import Entry, Inputs, find_examinations
from LIPCARLib.study.cohort_dicom import gathered
from LIPCARLib.study.cohort_inputs import named, safe_name

from ..imaging.dicom_samples import stored, write_slices

PATTERNS = {"lowdose": ["*low*"], "predose": ["*native*"]}


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def roles(entry: Entry) -> dict[str, str]:
    found = {role: getattr(entry.inputs, role) for role in ("lowdose", "predose", "highdose")}
    return {role: path.name for role, path in found.items() if path is not None}


def test_bids_tells_the_roles_by_what_its_entities_say(tmp_path: Path) -> None:
    one, two = "sub-1/anat/sub-1", "sub-2/ses-a/anat/sub-2_ses-a"
    touch(tmp_path, f"{one}_T1w.nii.gz", f"{one}_ce-lowdose_T1w.nii.gz", f"{one}_ce-GdFullDose_T1w.nii.gz")
    touch(tmp_path, f"{one}_T2w.nii.gz", f"{one}_acq-fl3d_T1map.nii.gz", "derivatives/sub-9/anat/sub-9_T1w.nii.gz")
    touch(tmp_path, f"{two}_acq-precontrast_T1w.nii", f"{two}_acq-lowdose_ce-gadobutrol_T1w.nii", "sub-3/anat/x.txt")
    first, second = find_examinations(tmp_path, None, {})
    assert (first.folder, second.folder) == ("sub-1", "sub-2_ses-a")
    assert roles(first) == {
        "lowdose": "sub-1_ce-lowdose_T1w.nii.gz",
        "predose": "sub-1_T1w.nii.gz",
        "highdose": "sub-1_ce-GdFullDose_T1w.nii.gz",
    }
    assert roles(second) == {
        "lowdose": "sub-2_ses-a_acq-lowdose_ce-gadobutrol_T1w.nii",
        "predose": "sub-2_ses-a_acq-precontrast_T1w.nii",
    }
    (chosen, _) = find_examinations(tmp_path, None, {"lowdose": ["*GDFULL*"]})
    assert roles(chosen)["lowdose"] == "sub-1_ce-GdFullDose_T1w.nii.gz"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["_T1w", "_ce-gadobutrol_T1w"], "none of its 2 T1-weighted images is named as the low-dose one"),
        (["_T1w", "_ce-lowdose_run-1_T1w", "_ce-lowdose_run-2_T1w"], "2 of its images are taken for the lowdose one"),
        (["_T1w", "_acq-mprage_T1w", "_ce-lowdose_T1w"], "2 of its images are taken for the predose one"),
        (["_acq-lowdose_ce-fulldose_T1w"], "is taken for the lowdose and the highdose one"),
    ],
)
def test_what_bids_leaves_open_is_not_guessed(tmp_path: Path, names: list[str], said: str) -> None:
    touch(tmp_path, *(f"sub-1/anat/sub-1{name}.nii" for name in names))
    (entry,) = find_examinations(tmp_path, None, {})
    assert entry.problem is not None and said in entry.problem


def test_bids_sidecars_are_inherited_the_nearest_first(tmp_path: Path) -> None:
    low = "sub-1/anat/sub-1_ce-lowdose_T1w"
    touch(tmp_path, f"{low}.nii", "sub-1/anat/sub-1_T1w.nii")
    (tmp_path / "T1w.json").write_text('{"ScanningSequence": "SE", "RepetitionTime": 0.5, "EchoTime": 0.01}')
    (tmp_path / "sub-1" / "sub-1_ce-lowdose_T1w.json").write_text('{"RepetitionTime": 0.6}')
    (tmp_path / "sub-1" / "sub-1_ce-other_T1w.json").write_text('{"RepetitionTime": 0.7}')
    (tmp_path / "T2w.json").write_text('{"RepetitionTime": 4}')
    (entry,) = find_examinations(tmp_path, None, {})
    told = entry.inputs._inherited()
    assert told is not None and (told.repetition_time, told.echo_time) == (0.6, 0.01)
    (tmp_path / f"{low}.json").write_text('{"EchoTime": 0.02}')
    (entry,) = find_examinations(tmp_path, None, {})
    told = entry.inputs._inherited()
    assert told is not None and (told.repetition_time, told.echo_time) == (0.6, 0.02)


def test_a_table_names_paths_and_what_is_known(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "\ufeffName;lowdose;predose;dose_fraction\nÄ =1;a/l.nii.gz;a/p.nrrd;0.2\n;b.nrrd;;\n;;x;\n;c;;lots\n",
        encoding="utf-8",
    )
    first, second, third, fourth = find_examinations(table, None, {})
    assert (first.name, first.folder, first.dose_fraction) == ("Ä =1", "Ä_1", 0.2)
    assert first.inputs == Inputs(tmp_path / "a/l.nii.gz", tmp_path / "a/p.nrrd")
    assert (second.name, second.inputs.predose) == ("b", None)
    assert "names no low-dose image" in str(third.problem) and "'lots'" in str(fourth.problem)
    for text, said in (("lowdose,pre_dose\na,b\n", "'pre_dose'"), ("predose\na\n", "'lowdose'"), ("", "lowdose")):
        table.write_text(text, encoding="utf-8")
        with pytest.raises(LIPCARError, match=said):
            find_examinations(table, None, {})


def study(root: Path, folder: str, uid: str, *descriptions: str) -> None:
    """Series in folders of their own."""
    for index, text in enumerate(descriptions):
        place = root / folder / f"s{index}"
        place.mkdir(parents=True)
        uids = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.{index}"}
        write_slices(place, stored(index), SeriesDescription=text, **uids)


def test_a_dicom_tree_is_grouped_by_study(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    study(tmp_path, "p1/mr", "1.2.1", "T1 SE native", "T1 SE Low dose", "T2")
    study(tmp_path, "p2", "1.2.2", "T1 native", "T1 low A", "T1 low B")
    study(tmp_path, "p3", "1.2.3", "T1 low")
    one, two, three = sorted(find_examinations(tmp_path, None, PATTERNS), key=str)
    assert (one.name, one.folder, one.problem) == ("p1/mr", "p1_mr", None)
    assert roles(one) == {"lowdose": "s1", "predose": "s0"}
    assert two.problem is not None and "2 of its series are taken for the lowdose one ('p2/s1', 'p2/s2')" in two.problem
    assert "low A" not in two.problem  # what headers say is not for a page
    assert (
        three.problem is not None and "none of its 1 series matches what was told of the predose one" in three.problem
    )
    (_, _, alone) = sorted(find_examinations(tmp_path, None, {**PATTERNS, "predose": ["none"]}), key=str)
    assert alone.problem is None and roles(alone) == {"lowdose": "s0"}
    with pytest.raises(LIPCARError, match=r"Give --lowdose PATTERN.*'T1 SE Low dose'"):
        find_examinations(tmp_path, None, {})


def test_series_that_share_a_folder_are_read_apart(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    study(tmp_path / "tree", "p", "1.2.1", "native", "low")
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted((tmp_path / "tree").rglob("*")):
        if file.is_file():
            file.rename(flat / f"{file.parent.name}-{file.name}")
    (entry,) = find_examinations(flat, "dicom", PATTERNS)
    assert entry.problem is None and entry.name == "flat"
    with gathered(entry.inputs, entry.series) as inputs:
        assert inputs.predose is not None
        for path, seed in ((inputs.lowdose, 1), (inputs.predose, 0)):
            np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(path)), stored(seed))
    assert not inputs.lowdose.exists()
    next(flat.iterdir()).write_bytes(b"\0" * 128 + b"DICM")
    (entry,) = find_examinations(flat, "dicom", PATTERNS)
    assert entry.problem is not None and "cannot be read as DICOM" in entry.problem


@settings(max_examples=40)
@given(st.lists(st.text(max_size=120), min_size=1, max_size=6))
def test_folder_names_are_safe_and_differ(names: list[str]) -> None:
    entries = named([Entry(name, Inputs(Path(f"{index}.nrrd"))) for index, name in enumerate(names)])
    folders = [entry.folder for entry in entries]
    assert len({folder.casefold() for folder in folders}) == len(names)
    for folder in folders:
        assert Path(folder).name == folder and folder[0] not in ".-" and folder[-1] not in ". "
        assert not re.search(r'[<>:"/\\|?*\x00-\x1f$&;`\']', folder) and len(folder.encode()) <= 100


def test_names_keep_what_is_harmless() -> None:
    assert safe_name("sub-01_ses-a") == "sub-01_ses-a"
    assert safe_name("../../etc/passwd") == "_.._etc_passwd" and safe_name("COM1.x") == "_COM1.x"
    assert safe_name("a" * 79 + ".b") == "a" * 79  # Windows drops a dot at the end
