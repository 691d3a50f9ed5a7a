"""An experiment as files: tables (CSV, JSON), the paper's two figures (PNG, PDF), one page for a browser (HTML)."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LIPCARError
from ..imaging import write_files
from .disturbances import WORDS
from .experiment import METHODS, REFERENCES, REGIONS, Experiment, Failure, Score, SubjectResult, read_example
from .statistics import CONFIDENCE, RESAMPLES, Comparison, Estimate, compare, compare_lesions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = {"ssim": 4, "psnr": 2, "rmse": 4}
TITLES = {"ssim": "SSIM", "psnr": "PSNR (dB)", "rmse": "RMSE"}
RESEARCH = "Simulated images, research only: not for diagnosis."


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
        The files: scores.csv, lesions.csv, summary.json, examples.png/.pdf (where slices were kept), scores.png/.pdf,
        report.html.

    Raises:
        LIPCARError: matplotlib is not installed, or a file cannot be written.
    """
    scores = [row for result in results for row in result.scores]
    lesions = [row for result in results for row in result.lesions]
    summary = summarize(experiment, results, failures, baseline)
    files: dict[Path, bytes] = {
        output / "scores.csv": _csv([asdict(row) for row in scores]),
        output / "summary.json": (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode(),
    }
    if lesions:
        files[output / "lesions.csv"] = _csv([asdict(row) for row in lesions])
    figures = {"scores": box_figure(scores)}
    kept = [(r.subject, output / "examples" / f"{r.subject}.nrrd") for r in results if r.example is not None]
    examples = {subject: read_example(path) for subject, path in kept if path.is_file()}
    if examples:
        figures["examples"] = example_figure(examples, scores, {r.subject: r.example for r in results})
    for name, figure in figures.items():
        for suffix in ("png", "pdf"):
            files[output / f"{name}.{suffix}"] = _rendered(figure, suffix)
    pictures = {name: files[output / f"{name}.png"] for name in figures}
    files[output / "report.html"] = page(title, summary, pictures).encode()
    write_files(files)
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
    rows = []
    for kind, levels in curves.items():
        for level, results in levels.items():
            scores = [row for result in results for row in result.scores]
            for reference in REFERENCES:
                for region, score in (("image", "ssim"), ("body", "ssim"), ("body", "rmse"), ("tumor", "rmse")):
                    for c in compare(scores, region, reference, baseline):
                        if c.score == score:
                            key = {"disturbance": kind, "level": level, "reference": reference, "region": region}
                            gain = c.difference
                            rows.append(
                                {**key, "method": c.method, "score": score, **asdict(c.value), "slices": c.slices}
                                | {"difference": None if gain is None else gain.mean, "improved": c.improved}
                            )
    figure = curve_figure(rows)
    files = {output / f"curves.{suffix}": _rendered(figure, suffix) for suffix in ("png", "pdf")}
    files[output / "curves.csv"] = _csv(rows)
    write_files(files)
    return sorted(files)


def curve_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """SSIM of the image and RMSE of the body by level, a row a disturbance, against the cleanest reference there is."""
    figure_class = _figure_class()
    kinds = list(dict.fromkeys(row["disturbance"] for row in rows))
    reference = "clean" if any(row["reference"] == "clean" for row in rows) else "acquired"
    figure = figure_class(figsize=(11, 3.2 * len(kinds)), layout="constrained")
    for line, kind in zip(figure.subplots(len(kinds), 2, squeeze=False), kinds, strict=True):
        for axis, (region, score) in zip(line, (("image", "ssim"), ("body", "rmse")), strict=True):
            shown = [
                row
                for row in rows
                if (row["disturbance"], row["reference"], row["region"], row["score"])
                == (kind, reference, region, score)
            ]
            for method in dict.fromkeys(row["method"] for row in shown):
                own = [row for row in shown if row["method"] == method]
                levels = [row["level"] for row in own]
                axis.plot(levels, [row["mean"] for row in own], marker="o", markersize=3, label=method)
                axis.fill_between(levels, [row["low"] for row in own], [row["high"] for row in own], alpha=0.12)
            axis.set_xlabel(WORDS[kind], fontsize=8)
            axis.set_ylabel(f"{TITLES[score]}, {region}, against the {reference} image", fontsize=8)
            axis.grid(alpha=0.3)
        line[0].legend(fontsize=7)
    return figure


def summarize(
    experiment: Experiment, results: Sequence[SubjectResult], failures: Sequence[Failure], baseline: str | None
) -> dict[str, Any]:
    """The experiment as plain values: settings, comparisons by reference and region, lesions, failures."""
    scores = [row for result in results for row in result.scores]
    tables = {
        reference: {
            region: [asdict(row) for row in rows]
            for region in REGIONS
            if (rows := compare(scores, region, reference, baseline))
        }
        for reference in REFERENCES
    }
    lesions = compare_lesions([row for result in results for row in result.lesions])
    return {
        "note": RESEARCH,
        "settings": experiment.digest,
        "models": {experiment.label(m): {"name": m.name, "sha256": m.digest} for m in experiment.models},
        "methods": {method: METHODS[method] for method in experiment.methods},
        "alphas": list(experiment.alphas),
        "solver": experiment.solver,
        "iterations": experiment.iterations,
        "subjects": [result.subject for result in results],
        "failures": {failure.subject: failure.reason for failure in failures},
        "baseline": baseline,
        "intervals": f"{CONFIDENCE:.0%} of {RESAMPLES} bootstrap means, drawn by subject",
        "scores": {reference: table for reference, table in tables.items() if table},
        "lesions": {method: {k: asdict(v) for k, v in row.items()} for method, row in lesions.items()},
    }


def box_figure(scores: Sequence[Score], region: str = "image", reference: str = "acquired") -> Figure:
    """Box plots of SSIM, PSNR and RMSE over the slices, a box a method (the paper's Figure 3)."""
    figure_class = _figure_class()
    rows = [row for row in scores if (row.region, row.reference) == (region, reference)]
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = figure_class(figsize=(4.6 * len(TITLES), 1.6 + 0.34 * len(methods)), layout="constrained")
    for axis, (score, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        data = [[getattr(row, score) for row in rows if row.method == method] for method in methods]
        axis.boxplot([[v for v in values if v is not None] for values in data], orientation="horizontal", widths=0.6)
        axis.set_yticks(range(1, len(methods) + 1), methods)
        axis.set_title(title)
        axis.grid(axis="x", alpha=0.3)
        axis.invert_yaxis()
    return figure


def example_figure(
    examples: Mapping[str, Mapping[str, np.ndarray]], scores: Sequence[Score], shown: Mapping[str, int | None]
) -> Figure:
    """A grid of slices, a row a subject, SSIM above each image, the tumor circled (the paper's Figure 2)."""
    figure_class = _figure_class()
    names = [name for name in next(iter(examples.values())) if name != "tumor"]
    found = {
        (row.subject, row.slice, row.method): row.ssim
        for row in scores
        if (row.region, row.reference) == ("image", "acquired")
    }
    size = 2.1
    figure = figure_class(
        figsize=(size * len(names), (size + 0.35) * len(examples)), facecolor="black", layout="constrained"
    )
    grid = figure.subplots(len(examples), len(names), squeeze=False)
    for row, (line, (subject, images)) in enumerate(zip(grid, examples.items(), strict=True)):
        bright = float(np.percentile(images["high-dose"], 99.8))
        for axis, name in zip(line, names, strict=True):
            axis.imshow(images[name], cmap="gray", vmin=0, vmax=bright, interpolation="nearest")
            value = found.get((subject, shown[subject], name))
            text = subject if value is None else f"{value:.4f}"
            axis.set_title(f"{name}\n{text}" if row == 0 else text, color="white", fontsize=8)
            axis.set_axis_off()
            if images["tumor"].any():
                from matplotlib.patches import Circle

                j, i = np.nonzero(images["tumor"])
                center = (i.min() + i.max()) / 2, (j.min() + j.max()) / 2
                radius = 4 + 0.5 * max(np.ptp(i), np.ptp(j))
                axis.add_patch(Circle(center, radius, fill=False, color="#f2c14e", linewidth=0.8))
    return figure


def page(title: str, summary: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """One HTML page with all tables and figures in it; it needs no other file and no network."""
    parts = [f"<h1>{html.escape(title)}</h1><p><b>{RESEARCH}</b></p>"]
    models = ", ".join(f"{label} = {entry['name']}" for label, entry in summary["models"].items())
    parts.append(
        f"<p>{len(summary['subjects'])} subjects; {html.escape(models)}; alpha "
        f"{', '.join(str(a) for a in summary['alphas'])}; intervals: {html.escape(summary['intervals'])}.</p>"
    )
    if summary["failures"]:
        rows = "".join(
            f"<li>{html.escape(name)}: {html.escape(reason)}</li>" for name, reason in summary["failures"].items()
        )
        parts.append(f"<p>Left out:</p><ul>{rows}</ul>")
    for name, data in pictures.items():
        parts.append(f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(data).decode()}">')
    for reference, regions in summary["scores"].items():
        for region, rows in regions.items():
            parts.append(f"<h2>{region.capitalize()}, against the {reference} high-dose image</h2>")
            parts.append(_score_table([_comparison(row) for row in rows], summary["baseline"]))
    if summary["lesions"]:
        parts.append("<h2>Lesions</h2>" + _lesion_table(summary["lesions"]))
    style = (
        "body{font:15px/1.45 sans-serif;max-width:1250px;margin:2em auto;padding:0 1em}img{max-width:100%}"
        "table{border-collapse:collapse}td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd}"
        "td:first-child,th:first-child{text-align:left}small{color:#666}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style><body>{''.join(parts)}</body></html>\n"
    )


def _score_table(rows: Sequence[Comparison], baseline: str | None) -> str:
    heads = ["method", "slices", *TITLES.values()]
    if baseline is not None:
        heads += [f"{title} minus {html.escape(baseline)}" for title in TITLES.values()] + ["SSIM better on"]
    lines = [_line(heads, "th")]
    for method in dict.fromkeys(row.method for row in rows):
        own = {row.score: row for row in rows if row.method == method}
        cells = [html.escape(method), str(next(iter(own.values())).slices)]
        cells += [_estimate(own[s].value, DIGITS[s]) if s in own else "-" for s in TITLES]
        if baseline is not None:
            for score in TITLES:
                difference = own[score].difference if score in own else None
                cells.append("-" if difference is None else _estimate(difference, DIGITS[score], signed=True))
            improved = own["ssim"].improved if "ssim" in own else None
            cells.append("-" if improved is None else f"{improved:.0%}")
        lines.append(_line(cells, "td"))
    return f"<table>{''.join(lines)}</table>"


def _lesion_table(lesions: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    columns = {
        "contrast_to_noise": "contrast to noise",
        "lesion_to_brain": "lesion to brain",
        "false_enhancement": "false enhancement (no tumor)",
    }
    lines = [_line(["method", *columns.values()], "th")]
    for method, row in lesions.items():
        cells = [_estimate(Estimate(**row[c]), 3) if c in row else "-" for c in columns]
        lines.append(_line([html.escape(method), *cells], "td"))
    return f"<table>{''.join(lines)}</table>"


def _line(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"


def _estimate(value: Estimate, digits: int, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{value.mean:{sign}.{digits}f} <small>({value.low:{sign}.{digits}f}, {value.high:{sign}.{digits}f})</small>"


def _comparison(row: Mapping[str, Any]) -> Comparison:
    difference = row["difference"]
    return Comparison(
        **{
            **row,
            "value": Estimate(**row["value"]),
            "difference": None if difference is None else Estimate(**difference),
        }
    )


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _rendered(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    # No date in the file: the same scores give the same bytes.
    metadata = {"CreationDate": None} if suffix == "pdf" else {}
    figure.savefig(buffer, format=suffix, dpi=110, metadata=metadata)
    return buffer.getvalue()


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LIPCARError("Figures need matplotlib: install it with `pip install lipcar[reports]`.") from error
    return Figure
