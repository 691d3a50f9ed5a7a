"""Tables and charts beside a result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scenes import GEOMETRIES, add_result, add_volume, picture, slicer

from LIPCARLib.slicer.tables import add_convergence, add_metrics


def test_the_metrics_are_a_table_of_means_and_slices(scene: Any) -> None:
    output = add_result(add_volume(scene, "low", picture(), GEOMETRIES["plain"]), {})
    scores = {"ssim": [0.5, 0.7], "psnr": [None, 30.0], "rmse": [0.1, 0.3]}
    table = add_metrics({"lowdose": scores, "lip-car": {**scores, "ssim": [None, None]}}, 4, output)
    assert output.GetNodeReference("LIPCAR.metrics") is table
    rows = [[table.GetCellText(row, column) for column in range(5)] for row in range(table.GetNumberOfRows())]
    assert [table.GetColumnName(column) for column in range(5)] == ["image", "slice", "SSIM", "PSNR (dB)", "RMSE"]
    assert [row[:2] for row in rows[:3]] == [["lowdose", "mean"], ["lip-car", "mean"], ["lowdose", "5"]]
    assert [float(value) for value in rows[0][2:]] == pytest.approx([0.6, 30.0, 0.2])
    assert np.isnan(float(rows[1][2]))
    assert len(rows) == 6
    assert add_metrics({"lowdose": scores}, 0, output) is table
    assert table.GetNumberOfRows() == 3


def test_the_convergence_is_a_plot(scene: Any) -> None:
    output = add_result(add_volume(scene, "low", picture(), GEOMETRIES["plain"]), {})
    chart = add_convergence([[9.0, 5.0, 4.0], [7.0, 6.0]], output)
    assert chart.GetNumberOfPlotSeriesNodes() == 3
    table = chart.GetNthPlotSeriesNode(0).GetTableNode()
    columns = {
        name: slicer.util.arrayFromTableColumn(table, name).tolist()
        for name in ("evaluations of the operator", "mean", "lowest slice", "highest slice")
    }
    assert columns["evaluations of the operator"] == [1, 2, 3]
    assert columns["mean"] == [8, 5.5, 5]
    assert columns["lowest slice"] == [7, 5, 4]
    assert columns["highest slice"] == [9, 6, 6]
    count = scene.GetNumberOfNodes()
    assert add_convergence([[2.0, 1.0]], output) is chart
    assert scene.GetNumberOfNodes() == count
    assert chart.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows() == 2
