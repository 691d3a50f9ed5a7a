"""A lesion is measured against the brain, and enhancement that is not there is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.imaging import Examination
from LIPCARLib.learning import Subject, read_subject
from LIPCARLib.simulation import Tissue
from LIPCARLib.study.lesion_scores import score_lesion


def with_brain(labels: np.ndarray) -> Subject:
    e = Examination.from_images(
        *[
            sitk.GetImageFromArray(a.astype(np.float32))
            for a in (np.where(labels > 0, 100.0, 1.0), np.where(labels > 0, 80.0, 2))
        ]
    )
    e = dataclasses.replace(e, highdose=np.where(labels == Tissue.TUMOR, 300, 100).astype(np.float32))
    return Subject("s", e, None, None, labels)


def test_a_lesion_is_measured_against_the_brain() -> None:
    labels = np.full((1, 30, 30), Tissue.GREY, np.uint8)
    labels[0, :3] = Tissue.AIR
    labels[0, 10:14, 10:14] = Tissue.TUMOR
    subject = with_brain(labels)
    image = np.where(labels == Tissue.TUMOR, 250, 100).astype(np.float32)
    image[0, 20:25] += 10
    (found, _) = score_lesion(subject, {"x": image})
    normal = image[labels == Tissue.GREY]
    assert found.lesion_to_brain == pytest.approx(250 / normal.mean(), rel=1e-5)
    assert found.contrast_to_noise == pytest.approx((250 - normal.mean()) / normal.std(), rel=1e-4)
    assert found.false_enhancement is None


def test_enhancement_that_is_not_there_is_found() -> None:
    labels = np.full((1, 30, 30), Tissue.GREY, np.uint8)
    labels[0, :3] = Tissue.AIR
    subject = with_brain(labels)
    invented = subject.examination.highdose.copy()
    invented[0, 15:20, 15:20] += 60
    rows = {row.method: row for row in score_lesion(subject, {"honest": subject.examination.highdose, "x": invented})}
    assert rows["honest"].false_enhancement == pytest.approx(0, abs=1e-6)
    assert rows["x"].false_enhancement == pytest.approx(60 / subject.examination.scale, rel=1e-3)


def test_without_labels_there_is_no_lesion_to_measure(folders: list[Path]) -> None:
    subject = dataclasses.replace(read_subject(folders[0]), labels=None)
    assert score_lesion(subject, {"low": subject.examination.lowdose}) == []
