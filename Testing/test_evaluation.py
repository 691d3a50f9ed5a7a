"""Scores over examinations and cohorts are the metrics they name, over the voxels they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from LIPCARLib.cohort import read_subject, subject_folders, write_simulated_cohort
from LIPCARLib.evaluation import SubjectScores, evaluate_model, mean_scores, slice_metrics
from LIPCARLib.examination import Examination
from LIPCARLib.model import Model
from LIPCARLib.reconstruction import complete, reconstruct
from LIPCARLib.report import build_report, comparison_figure, most_enhancing_slices


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("cohort")
    list(write_simulated_cohort(root, 2, slices=2, size=48, seed=3))
    return subject_folders(root)


def test_slice_metrics_are_in_model_scale() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.random((3, 20, 20), dtype=np.float32) * 500 for _ in range(2))
    scores = slice_metrics({"x": x}, y, scale=1000)["x"]
    for z in range(3):
        assert scores["rmse"][z] == pytest.approx(np.sqrt(np.mean((x[z] - y[z]) ** 2)) / 1000, rel=1e-5)
        expected = peak_signal_noise_ratio(y[z] / 1000, x[z] / 1000, data_range=1)
        assert scores["psnr"][z] == pytest.approx(expected, rel=1e-5)


def test_scores_that_do_not_exist_are_none() -> None:
    tiny = np.ones((1, 5, 5), np.float32)
    assert slice_metrics({"x": tiny}, tiny, 1.0)["x"] == {"ssim": [None], "psnr": [None], "rmse": [0.0]}


def test_evaluation_scores_the_body_against_both_references(folders: list[Path], model: Model) -> None:
    scored = [s for s in evaluate_model(model, folders, (0.006, 0.06), "cpu") if isinstance(s, SubjectScores)]
    assert [s.subject for s in scored] == [folder.name for folder in folders]
    assert set(scored[0].scores) == {"predose", "lowdose", "prior", "lip-car 0.006", "lip-car 0.06"}
    subject = read_subject(folders[0])
    e = subject.examination
    for prefix, reference in (("", e.highdose), ("clean_", subject.clean_highdose)):
        squares = [
            np.mean((low - high)[labels > 0] ** 2)
            for low, high, labels in zip(e.lowdose, reference, subject.labels, strict=True)
            if (labels > 0).any()
        ]
        found = scored[0].scores["lowdose"][f"{prefix}body_rmse"]
        assert found == pytest.approx(np.mean(np.sqrt(squares)) / e.scale, rel=1e-4)


def test_means_weigh_subjects_by_their_slices() -> None:
    subjects = [SubjectScores("a", 1, {"x": {"ssim": 1.0}}), SubjectScores("b", 3, {"x": {"ssim": 0.0}})]
    assert mean_scores(subjects) == {"x": {"ssim": 0.25}}


def test_report_and_picture_of_an_examination(examination: Examination, model: Model) -> None:
    result = complete(reconstruct(examination, model, device="cpu"))
    report = build_report(examination, result)
    assert report["network_evaluations"] == max(report["network_evaluations_by_slice"])
    assert list(report["metrics"]) == ["predose", "lowdose", "prior", "lip-car"]
    slices = most_enhancing_slices(examination, result, 2)
    assert slices == sorted(slices) and len(slices) == 2
    assert comparison_figure(examination, result, slices, report).startswith(b"\x89PNG")
