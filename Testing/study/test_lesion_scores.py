"""Lesions are measured against the brain and by a blinded reader, and enhancement that is not there is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination
from LIPCARLib.learning import Subject, read_subject
from LIPCARLib.simulation import Tissue
from LIPCARLib.study import SubjectResult, lesion_tables
from LIPCARLib.study.lesion_scores import SMALL, LesionScore, ReadingScore, reading_region, score_lesions
from LIPCARLib.study.statistics import compare_lesions

LESIONS = (np.s_[0, 10:14, 10:14], np.s_[0, 20:28, 8:16])


@pytest.fixture
def subject() -> Subject:
    """A brain of 100 in noise of 1, with two lesions that rise by 200: 4.5 and 9 mm."""
    rng = np.random.default_rng(0)
    labels = np.full((1, 40, 40), Tissue.GREY, np.uint8)
    labels[0, :3] = Tissue.AIR
    for place in LESIONS:
        labels[place] = Tissue.TUMOR
    arrays = [100.0 * (labels > 0) + rise * (labels == Tissue.TUMOR) for rise in (0, 40, 200)]
    images = [sitk.GetImageFromArray((a + rng.standard_normal(a.shape)).clip(0).astype(np.float32)) for a in arrays]
    clean = arrays[2].astype(np.float32)
    examination = Examination.from_images(images[1], images[0], images[2], match_predose=False)
    return Subject("s", examination, None, clean, labels)


def rows_of(subject: Subject, image: np.ndarray) -> tuple[list[LesionScore], ReadingScore]:
    lesions, readings = score_lesions(subject, {"x": image})
    return [row for row in lesions if row.method == "x"], next(row for row in readings if row.method == "x")


def test_a_lesion_is_measured_against_the_brain(subject: Subject) -> None:
    image = subject.highdose.copy()
    found, reading = rows_of(subject, image)
    brain = image[subject.labels == Tissue.GREY]
    for row, place, side in zip(found, LESIONS, (4, 8), strict=True):
        assert row.lesion_to_brain == pytest.approx(image[place].mean() / brain.mean(), rel=1e-5)
        assert row.contrast_to_noise == pytest.approx((image[place].mean() - brain.mean()) / brain.std(), rel=1e-4)
        assert row.diameter == pytest.approx(side * np.sqrt(4 / np.pi)) and row.volume == side**2
        assert (row.found, row.dice, row.found_volume, row.hausdorff95) == (True, 1, side**2, 0)
    assert reading == ReadingScore("s", "x", 0, 0, None)


def test_what_is_shown_elsewhere_is_false_and_told_from_what_the_full_dose_shows(subject: Subject) -> None:
    truth = subject.clean_highdose.copy()
    truth[0, 33:36, 30:34] += 100  # a vessel
    known = dataclasses.replace(subject, clean_highdose=truth)
    image = subject.highdose.copy()
    image[0, 33:36, 30:34] += 100
    assert rows_of(known, image)[1] == ReadingScore("s", "x", 1, 0, None)
    image[0, 20:24, 30:34] += 100
    image[LESIONS[1]] = subject.examination.predose[LESIONS[1]]
    found, reading = rows_of(known, image)
    assert reading == ReadingScore("s", "x", 2, 1, None)
    assert [(row.found, row.found_volume, row.hausdorff95) for row in found] == [(True, 16, 0), (False, 0, None)]


def test_enhancement_that_is_not_there_is_found_where_there_is_no_lesion(subject: Subject) -> None:
    healthy = np.where(subject.labels == Tissue.TUMOR, Tissue.GREY, subject.labels)
    invented = subject.clean_highdose.copy()
    invented[0, 30:35] += 60
    lesions, readings = score_lesions(
        dataclasses.replace(subject, labels=healthy), {"honest": subject.clean_highdose, "x": invented}
    )
    rows = {row.method: row for row in readings}
    assert lesions == []
    assert rows["honest"].false_enhancement == pytest.approx(0, abs=1e-6)
    assert rows["x"].false_enhancement == pytest.approx(60 / subject.examination.scale, rel=1e-3)


def test_the_reader_is_blinded_and_reads_each_image_for_itself(folders: list[Path]) -> None:
    subject = next(s for s in map(read_subject, folders) if (s.labels == Tissue.TUMOR).any())
    e = subject.examination
    healthy = np.where(subject.labels == Tissue.TUMOR, Tissue.WHITE, subject.labels)
    np.testing.assert_array_equal(reading_region(healthy), reading_region(subject.labels))
    images = {"pre": e.predose, "copy": e.highdose.copy(), "low": e.lowdose}
    once, again = (score_lesions(subject, dict(order)) for order in (images.items(), reversed(images.items())))
    for rows, others in zip(once, again, strict=True):
        assert sorted(map(repr, rows)) == sorted(map(repr, others))
        own = {row.method: dataclasses.replace(row, method="") for row in rows}
        assert own["copy"] == own["high-dose"]
    found = {row.method: row.found for row in once[0]}
    assert found["high-dose"] and not found["pre"]
    assert {row.method: row.false_positives for row in once[1]}["pre"] == 0


def test_without_labels_or_predose_image_nothing_is_made_up(subject: Subject) -> None:
    assert score_lesions(dataclasses.replace(subject, labels=None), {"x": subject.highdose}) == ([], [])
    alone = dataclasses.replace(subject, examination=dataclasses.replace(subject.examination, predose=None))
    found, reading = rows_of(alone, subject.highdose)
    assert [(row.found, row.dice, row.found_volume) for row in found] == [(None, None, None)] * 2
    assert found[0].lesion_to_brain > 2 and reading == ReadingScore("s", "x", None, None, None)


@pytest.mark.parametrize(("found", "doubted"), [(1, True), (3, False)])
def test_a_reader_who_finds_little_in_the_full_dose_is_doubted(found: int, doubted: bool) -> None:
    rows = [LesionScore(str(n), "high-dose", 1, 9.0, 10.0, n < found, 10.0, 1.0, 0.0, None, None) for n in range(4)]
    (first, _) = lesion_tables([SubjectResult(row.subject, [], [row], [], None) for row in rows])
    assert ("finds 25%" in first.note) == doubted == ("says little" in first.note)


def test_what_is_found_adds_up_by_size_and_beside_the_full_dose() -> None:
    def row(subject: str, method: str, lesion: int, diameter: float, found: bool) -> LesionScore:
        return LesionScore(subject, method, lesion, diameter, 10.0, found, 5.0 * found, 0.5 * found, None, None, None)

    sizes = [("a", 1, SMALL - 0.1), ("a", 2, SMALL), ("b", 1, 9.0), ("c", 1, 1.0)]
    lesions = [row(s, "high-dose", n, size, True) for s, n, size in sizes]
    lesions += [row(s, "x", n, size, s == "a") for s, n, size in sizes]
    readings = [ReadingScore(s, "x", count, 0, None) for s, count in (("a", 3), ("b", 0), ("c", 0), ("d", 1))]
    means = {key: estimate.mean for key, estimate in compare_lesions(lesions, readings)["x"].items()}
    assert means == pytest.approx(
        {
            "sensitivity": 0.5,
            "sensitivity_small": 0.5,
            "sensitivity_large": 0.5,
            "sensitivity_gain": -0.5,
            "dice": 0.25,
            "volume_error": 0.75,
            "false_positives": 1.0,
            "invented": 0.0,
        }
    )
    assert "sensitivity_gain" not in compare_lesions(lesions, readings)["high-dose"]
