"""Scores of slices are the metrics they name, over the voxels they name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from LIPCARLib.learning import read_subject
from LIPCARLib.simulation import Tissue
from LIPCARLib.study.slice_scores import score_slices


def test_regions_and_references_are_what_they_say(folders: list[Path]) -> None:
    subject = read_subject(folders[0])
    e = subject.examination
    every = score_slices(subject, {"low": e.lowdose})
    rows = {(r.slice, r.reference, r.region): r for r in every if r.method == "low"}
    for reference, target in (("acquired", e.highdose), ("clean", subject.clean_highdose)):
        for z, labels in enumerate(subject.labels):
            masks = {"image": labels >= 0, "body": labels != Tissue.AIR, "tumor": labels == Tissue.TUMOR}
            for region, mask in masks.items():
                if not mask.any():
                    assert (z, reference, region) not in rows
                    continue
                expected = np.sqrt(np.mean((e.lowdose[z] - target[z])[mask] ** 2)) / e.scale
                assert rows[z, reference, region].rmse == pytest.approx(expected, rel=1e-4)


def test_without_labels_the_body_is_what_is_bright(folders: list[Path]) -> None:
    subject = dataclasses.replace(read_subject(folders[0]), labels=None, clean_highdose=None)
    rows = score_slices(subject, {"low": subject.examination.lowdose})
    assert {row.region for row in rows} == {"image", "body"}
    assert {row.reference for row in rows} == {"acquired"}


def test_the_full_dose_is_measured_too_where_there_is_something_better(folders: list[Path]) -> None:
    subject = read_subject(folders[0])
    rows = [r for r in score_slices(subject, {}) if r.region == "image"]
    assert {(r.method, r.reference) for r in rows} == {("high-dose", "clean")}
    error = (subject.highdose[0] - subject.clean_highdose[0]) / subject.examination.scale
    assert rows[0].rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-4)
