"""The report of one run holds the metrics it names, and shows what it names."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import Model, complete, reconstruct
from LIPCARLib.study import build_report, comparison_figure, most_enhancing_slices
from LIPCARLib.study.run_report import slice_metrics


def test_slice_metrics_are_in_model_scale() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.random((3, 20, 20), dtype=np.float32) * 500 for _ in range(2))
    scores = complete(slice_metrics({"x": x}, y, scale=1000))["x"]
    for z in range(3):
        assert scores["rmse"][z] == pytest.approx(np.sqrt(np.mean((x[z] - y[z]) ** 2)) / 1000, rel=1e-5)
        expected = peak_signal_noise_ratio(y[z] / 1000, x[z] / 1000, data_range=1)
        assert scores["psnr"][z] == pytest.approx(expected, rel=1e-5)


def test_scores_that_do_not_exist_are_none() -> None:
    tiny = np.ones((1, 5, 5), np.float32)
    assert complete(slice_metrics({"x": tiny}, tiny, 1.0))["x"] == {"ssim": [None], "psnr": [None], "rmse": [0.0]}


def test_report_and_picture_of_an_examination(examination: Examination, model: Model) -> None:
    result = complete(reconstruct(examination, model, device="cpu"))
    report = build_report(examination, result)
    assert report["network_evaluations"] == max(report["network_evaluations_by_slice"])
    assert list(report["metrics"]) == ["predose", "lowdose", "prior", "lip-car"]
    slices = most_enhancing_slices(examination, result, 2)
    assert slices == sorted(slices) and len(slices) == 2
    assert comparison_figure(examination, result, slices, report).startswith(b"\x89PNG")
