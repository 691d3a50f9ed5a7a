"""An experiment as files: tables (CSV, JSON), the paper's two figures (PNG, PDF), one page for a browser (HTML)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..imaging import write_files
from .cohort_run import Failure
from .experiment import Experiment
from .figures import box_figure, curve_figure, example_figure, rendered
from .pages import load_template
from .records import SubjectResult, read_example
from .tables import Table, compare_all, csv_file, curve_rows, lesion_tables, score_table, summarize

FORMATS = ("png", "pdf")
OPTIONAL = ("lesions.csv", "readings.csv", "examples.png", "examples.pdf")
"""What not every experiment has."""


def write_experiment(
    output: Path,
    experiment: Experiment,
    results: Sequence[SubjectResult],
    failures: Sequence[Failure],
    baseline: str | None,
    title: str,
) -> list[Path]:
    """Write everything a reader wants from an experiment into its folder, all or none.

    Args:
        output: the experiment's folder.
        results: of the subjects, at least one.
        failures: subjects left out; they are named on the page.
        baseline: the method that the others are compared with, or None.
        title: of the page.

    Returns:
        The files: scores.csv, lesions.csv and readings.csv (where lesions are labeled), summary.json, examples.png/.pdf
        (where slices were kept), scores.png/.pdf, report.html.

    Raises:
        LIPCARError: matplotlib or jinja2 is not installed, or a file cannot be written.
    """
    scores = [row for result in results for row in result.scores]
    comparisons = compare_all(results, baseline)
    summary = summarize(experiment, results, failures, baseline, comparisons)
    files: dict[Path, bytes] = {
        output / "scores.csv": csv_file([asdict(row) for row in scores]),
        output / "summary.json": (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode(),
    }
    for name, rows in (("lesions", [r.lesions for r in results]), ("readings", [r.readings for r in results])):
        if any(rows):
            files[output / f"{name}.csv"] = csv_file([asdict(row) for own in rows for row in own])
    figures = {"scores": box_figure(scores)}
    kept = {
        result.subject: read_example(output / "examples" / f"{result.subject}.nrrd", result)
        for result in results
        if result.example is not None
    }
    examples = {subject: example for subject, example in kept.items() if example is not None}
    if examples:
        shown = {result.subject: result.example for result in results if result.example is not None}
        figures["examples"] = example_figure(examples, scores, shown)
    for name, figure in figures.items():
        files |= {output / f"{name}.{suffix}": rendered(figure, suffix) for suffix in FORMATS}
    tables = lesion_tables(results)
    tables += [
        score_table(f"{region.capitalize()}, against the {reference} high-dose image", rows, baseline)
        for reference, regions in comparisons.items()
        for region, rows in regions.items()
    ]
    pictures = {name: files[output / f"{name}.png"] for name in figures}
    files[output / "report.html"] = page(title, summary, pictures, tables).encode()
    write_files(dict.fromkeys(output / name for name in OPTIONAL) | files)  # nothing of an earlier experiment stays
    return list(files)


def write_curves(
    output: Path, curves: Mapping[str, Mapping[float, Sequence[SubjectResult]]], baseline: str | None
) -> list[Path]:
    """Write robustness curves: a table (CSV) and, for each kind of disturbance, SSIM and body RMSE by level (PNG, PDF).

    Args:
        output: an existing folder.
        curves: the results by kind of `disturbances.LEVELS` and by level.
        baseline: the method that differences are taken from, or None.

    Returns:
        The files: curves.csv, curves.png, curves.pdf.

    Raises:
        LIPCARError: matplotlib is not installed, or a file cannot be written.
    """
    rows = curve_rows(curves, baseline)
    figure = curve_figure(rows)
    files = {output / f"curves.{suffix}": rendered(figure, suffix) for suffix in FORMATS}
    files[output / "curves.csv"] = csv_file(rows)
    write_files(files)
    return sorted(files)


def page(title: str, summary: Mapping[str, Any], pictures: Mapping[str, bytes], tables: Sequence[Table]) -> str:
    """One HTML page with all tables and figures in it; it needs no other file and no network.

    Args:
        title: of the page.
        summary: of `tables.summarize`.
        pictures: PNG by name.
        tables: in their order on the page.

    Raises:
        LIPCARError: jinja2 is not installed.
    """
    encoded = {name: base64.b64encode(data).decode() for name, data in pictures.items()}
    values = {"title": title, "summary": summary, "pictures": encoded, "tables": tables}
    return load_template("report.html.jinja").render(**values)
