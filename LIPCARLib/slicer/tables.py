"""A result's metrics as a table node and its convergence as a plot chart, beside its volume in the scene."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk

from .mrml import ATTRIBUTE_PREFIX, EVIDENCE, place_below, related
from .services import VolumeNode

if TYPE_CHECKING:
    from ..imaging import RegionStatistics
    from ..trust import Finding

SEGMENTATION = f"{ATTRIBUTE_PREFIX}segmentation"
"""The node reference of a table of regions to their segmentation."""

SHOWN, PLACE = (0, 1, 3, 4), (5, 6, 7)
"""Columns of the table of findings: what the panel shows of it, and where each of them lies."""


def add_metrics(
    metrics: Mapping[str, Mapping[str, Sequence[float | None]]], first_slice: int, output: VolumeNode
) -> Any:
    """A table node of SSIM, PSNR and RMSE against the high-dose volume, referred to by the output node.

    Args:
        metrics: of `study.examination_metrics`.
        first_slice: number of the first row, counted from 0.
        output: of `add_volumes`. The table of an earlier result in it is replaced.

    Returns:
        The vtkMRMLTableNode: a row for each image's mean over the slices, then one for each slice.
    """
    scores = ("ssim", "psnr", "rmse")
    rows: list[tuple[Any, ...]] = []
    for image, table in metrics.items():
        rows.append((image, "mean", *(mean_of(table[score]) for score in scores)))
    for image, table in metrics.items():
        for index, values in enumerate(zip(*(table[score] for score in scores), strict=True)):
            rows.append((image, str(first_slice + index + 1), *values))
    columns = [_text_column("image", [row[0] for row in rows]), _text_column("slice", [row[1] for row in rows])]
    columns += [
        _number_column(title, [row[2 + i] for row in rows]) for i, title in enumerate(("SSIM", "PSNR (dB)", "RMSE"))
    ]
    return _referred_table(output, "metrics", "metrics", columns)


def forget_tables(output: VolumeNode) -> None:
    """Take the tables, the chart and the evidence of an earlier result out of the scene: they are not of what comes."""
    for role in ("convergence", "objective", "metrics", "regions", *EVIDENCE):
        while (node := related(output, role)) is not None:
            output.RemoveNthNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", 0)
            output.GetScene().RemoveNode(node)


def add_convergence(objective: Sequence[Sequence[float]], output: VolumeNode) -> Any:
    """A plot chart of the objective by network evaluation, referred to by the output node.

    Args:
        objective: of `Result`: per slice, the value at every evaluation. A slice that ended early keeps its last one.
        output: of `add_volumes`. The chart of an earlier result in it is replaced.

    Returns:
        The vtkMRMLPlotChartNode, with a curve for the mean, the lowest and the highest slice.
    """
    steps = max(len(values) for values in objective)
    padded = np.array([[*values, *[values[-1]] * (steps - len(values))] for values in objective])
    curves = {"mean": padded.mean(0), "lowest slice": padded.min(0), "highest slice": padded.max(0)}
    axis = "evaluations of the operator"
    columns = [_number_column(axis, range(1, steps + 1))]
    columns += [_number_column(name, values) for name, values in curves.items()]
    table = _referred_table(output, "objective", "objective", columns)
    scene = output.GetScene()
    chart = related(output, "convergence")
    if chart is None:
        name = f"{output.GetName()} convergence"
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(name))
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}convergence", chart.GetID())
        chart.SetHideFromEditors(True)
        chart.SetTitle("Convergence")
        chart.SetXAxisTitle(axis)
        chart.SetYAxisTitle("objective")
        for index, curve in enumerate(curves):
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", curve)
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName(axis)
            series.SetYColumnName(curve)
            series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
            series.SetColor(*((0.1, 0.4, 0.8), (0.6, 0.6, 0.6), (0.85, 0.45, 0.1))[index])
            series.SetHideFromEditors(True)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
    return chart


def add_regions(rows: Sequence[RegionStatistics], output: VolumeNode, segmentation: Any) -> Any:
    """A table node of what a result and its inputs show in the segments of a segmentation; one for each segmentation.

    It is referred to by the output node ("LIPCAR.regions", as many as there are), lies below it in the study, and is
    saved with the scene. What was measured in the same segmentation before is replaced.

    Args:
        rows: of `region_statistics`.
    """
    role, scene = f"{ATTRIBUTE_PREFIX}regions", output.GetScene()
    known = [output.GetNthNodeReference(role, n) for n in range(output.GetNumberOfNodeReferences(role))]
    node = next((one for one in known if one and one.GetNodeReference(SEGMENTATION) is segmentation), None)
    if node is None:
        name = f"{output.GetName()} in {segmentation.GetName()}"
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(name))
        node.SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
        output.AddNodeReferenceID(role, node.GetID())
        place_below(node, output)
    numbers: dict[str, list[int] | list[float] | list[float | None]] = {
        "Voxels": [row.voxels for row in rows],
        "Volume (mm3)": [row.volume for row in rows],
        "Mean": [row.mean for row in rows],
        "SD": [row.deviation for row in rows],
        "Enhancement": [row.enhancement for row in rows],
        "Contrast-to-noise": [row.contrast_to_noise for row in rows],
        "Ratio to background": [row.ratio for row in rows],
    }
    columns = [_text_column("Segment", [row.region for row in rows])]
    columns += [_text_column("Image", [row.image for row in rows])]
    for title, values in numbers.items():  # as text: of numbers, those that do not exist would be shown as "nan"
        columns.append(_text_column(title, ["" if value is None else f"{value:.6g}" for value in values]))
    _fill(node, columns)
    return node


def add_findings(findings: Sequence[Finding], first_slice: int, output: VolumeNode) -> Any:
    """A table node of the evidence's findings, referred to by the output node; SHOWN and PLACE name its columns.

    Args:
        findings: of `Evidence`.
        first_slice: number of the first slice that was computed, counted from 0.
        output: of `add_volumes`. Places are in the coordinates of its own geometry (RAS, mm).
    """
    from .trust import kind_in_words

    places = [(-one.center_lps[0], -one.center_lps[1], *one.center_lps[2:]) for one in findings]
    columns: list[vtk.vtkAbstractArray] = [
        _text_column("Finding", [kind_in_words(one.kind) for one in findings]),
        _text_column("Volume (mm3)", [f"{one.volume_mm3:.3g}" for one in findings]),
        _text_column("Voxels", [str(one.voxels) for one in findings]),
        _text_column("Slice", [str(first_slice + one.slice + 1) for one in findings]),
        _text_column("Mean difference", [f"{one.mean_difference:+.3g}" for one in findings]),
    ]
    columns += [_number_column(axis, [place[n] for place in places]) for n, axis in enumerate("RAS")]
    return _referred_table(output, "finding_table", "table of findings", columns)


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist; None where none does."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def _referred_table(output: VolumeNode, role: str, words: str, columns: Sequence[vtk.vtkAbstractArray]) -> Any:
    """The table node that the output refers to under that role, made if need be, with these columns."""
    scene = output.GetScene()
    node = related(output, role)
    if node is None:
        name = scene.GenerateUniqueName(f"{output.GetName()} {words}")
        node = scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        output.SetNodeReferenceID(f"{ATTRIBUTE_PREFIX}{role}", node.GetID())
    _fill(node, columns)
    node.SetHideFromEditors(True)  # it comes and goes with its result, and is shown from there
    return node


def _fill(node: Any, columns: Sequence[vtk.vtkAbstractArray]) -> None:
    table = vtk.vtkTable()
    for column in columns:
        table.AddColumn(column)
    node.SetAndObserveTable(table)
    node.SetUseColumnTitleAsColumnHeader(True)


def _text_column(title: str, values: Iterable[str]) -> vtk.vtkStringArray:
    column = vtk.vtkStringArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(value)
    return column


def _number_column(title: str, values: Iterable[float | None]) -> vtk.vtkDoubleArray:
    column = vtk.vtkDoubleArray()
    column.SetName(title)
    for value in values:
        column.InsertNextValue(math.nan if value is None else float(value))
    return column
