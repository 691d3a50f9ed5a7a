"""An experiment as numbers: its summary (JSON), its rows (CSV), and the tables of its page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..trust.detection import OVERLAP, READER
from .cohort_run import Failure
from .experiment import METHODS, Experiment
from .lesion_scores import SMALL
from .records import SubjectResult
from .slice_scores import HIGHDOSE, REFERENCES, REGIONS
from .statistics import INTERVALS, Comparison, Estimate, compare, compare_lesions

RESEARCH = "Simulated images, research only: not for diagnosis."
DIGITS = {"ssim": 4, "psnr": 2, "rmse": 4}
TITLES = {"ssim": "SSIM", "psnr": "PSNR (dB)", "rmse": "RMSE"}
FOUND_TITLES = {
    "sensitivity_small": f"found, < {SMALL:g} mm",
    "sensitivity_large": f"found, >= {SMALL:g} mm",
    "sensitivity_gain": f"found minus {HIGHDOSE}",
    "false_positives": "false positives a subject",
    "invented": "invented a subject",
}
SHOWN_TITLES = {
    "dice": "Dice",
    "hausdorff95": "Hausdorff 95 % of those found (mm)",
    "volume_error": "volume error",
    "contrast_to_noise": "contrast to noise",
    "lesion_to_brain": "lesion to brain",
    "false_enhancement": "false enhancement (no tumor)",
}
_LESION_FORMATS = {"sensitivity_gain": (2, "+"), "false_enhancement": (3, "")}
"""Digits and sign of the measures that have not two digits and no sign."""
LESION_NOTE = (
    f"{READER} A lesion is found where the regions marked cover {OVERLAP:.0%} of it; a region of which less lies in "
    "lesions is a false positive (vessels too), and invented "
    "where the true full dose rises by less than half as much. Size: "
    "diameter of a circle as large as the largest section."
)
"""What a reader of the tables must know."""
FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would compute."""
USEFUL = 0.5
"""Share of the lesions that the blinded reader must find in the full dose itself, lest the table says little."""
CURVES = (("image", "ssim"), ("body", "ssim"), ("body", "rmse"), ("tumor", "rmse"))
"""Region and score of every robustness curve."""


@dataclass(frozen=True)
class Cell:
    """What a table shows in one place: a text, and an interval in small print."""

    text: str = "-"
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table of a page, a method a row, and what must be known to read it."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    note: str = ""


Comparisons = dict[str, dict[str, list[Comparison]]]
"""By reference and region."""


def compare_all(results: Sequence[SubjectResult], baseline: str | None) -> Comparisons:
    """Every comparison that the scores allow."""
    scores = [row for result in results for row in result.scores]
    tables = {
        reference: {region: rows for region in REGIONS if (rows := compare(scores, region, reference, baseline))}
        for reference in REFERENCES
    }
    return {reference: table for reference, table in tables.items() if table}


def summarize(
    experiment: Experiment,
    results: Sequence[SubjectResult],
    failures: Sequence[Failure],
    baseline: str | None,
    comparisons: Comparisons,
) -> dict[str, Any]:
    """The experiment as plain values: settings, comparisons by reference and region, lesions, failures."""
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
        "intervals": INTERVALS,
        "scores": {
            reference: {region: [asdict(row) for row in rows] for region, rows in regions.items()}
            for reference, regions in comparisons.items()
        },
        "reader": LESION_NOTE,
        "lesions": {method: {k: asdict(v) for k, v in row.items()} for method, row in _lesions(results).items()},
    }


def curve_rows(
    curves: Mapping[str, Mapping[float, Sequence[SubjectResult]]], baseline: str | None
) -> list[dict[str, Any]]:
    """Robustness as rows: disturbance, level, reference, region, method, score, mean and interval, gain.

    Args:
        curves: the results by kind of `disturbances.LEVELS` and by level.
        baseline: the method that differences are taken from, or None.
    """
    rows: list[dict[str, Any]] = []
    for kind, levels in curves.items():
        for level, results in levels.items():
            for reference, regions in compare_all(results, baseline).items():
                for region, score in CURVES:
                    key = {"disturbance": kind, "level": level, "reference": reference, "region": region}
                    rows += [{**key, **_curve_point(c)} for c in regions.get(region, ()) if c.score == score]
    return rows


def _curve_point(comparison: Comparison) -> dict[str, Any]:
    gain = comparison.difference
    return {
        "method": comparison.method,
        "score": comparison.score,
        **asdict(comparison.value),
        "slices": comparison.slices,
        "difference": None if gain is None else gain.mean,
        "improved": comparison.improved,
    }


def score_table(title: str, rows: Sequence[Comparison], baseline: str | None) -> Table:
    """The comparisons in one region against one reference; with a baseline, the differences from it as well."""
    columns = ["method", "slices", *TITLES.values()]
    if baseline is not None:
        columns += [f"{name} minus {baseline}" for name in TITLES.values()] + ["SSIM better on"]
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        own = {row.score: row for row in rows if row.method == method}
        line = [Cell(method), Cell(str(next(iter(own.values())).slices))]
        line += [_estimate(own[s].value, DIGITS[s]) if s in own else Cell() for s in TITLES]
        if baseline is not None:
            line += [_estimate(own[s].difference, DIGITS[s], "+") if s in own else Cell() for s in TITLES]
            improved = own["ssim"].improved if "ssim" in own else None
            line.append(Cell() if improved is None else Cell(f"{improved:.0%}"))
        lines.append(line)
    return Table(title, columns, lines)


def lesion_tables(results: Sequence[SubjectResult]) -> list[Table]:
    """What the reader finds, and how lesions are shown; none where no subject has labels."""
    found = _lesions(results)
    sizes = {(row.subject, row.lesion): row.diameter for result in results for row in result.lesions}
    small = sum(size < SMALL for size in sizes.values())
    count = f"{len(sizes)} in {len(results)} subjects, {small} of them < {SMALL:g} mm"
    full = found.get(HIGHDOSE, {}).get("sensitivity")
    doubt = ""
    if full is not None and full.mean < USEFUL:
        doubt = (
            f" In the full dose itself the reader finds {full.mean:.0%}: it needs mostly tissue that takes up no "
            "agent, and says little of these images."
        )
    tables = []
    for title, measures, note in (
        (f"Lesions that a blinded reader found ({count})", FOUND_TITLES, LESION_NOTE + doubt),
        ("Lesions as they are shown", SHOWN_TITLES, ""),
    ):
        titles = {key: name for key, name in measures.items() if any(key in row for row in found.values())}
        rows = [
            [Cell(method), *(_estimate(row.get(key), *_LESION_FORMATS.get(key, (2, ""))) for key in titles)]
            for method, row in found.items()
        ]
        if titles:
            tables.append(Table(title, ["method", *titles.values()], rows, note))
    return tables


def _lesions(results: Sequence[SubjectResult]) -> dict[str, dict[str, Estimate]]:
    lesions = [row for result in results for row in result.lesions]
    return compare_lesions(lesions, [row for result in results for row in result.readings])


def csv_file(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows of the same keys as a CSV file with a header; lists of texts become one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue().encode()


def shown(text: str) -> str:
    """Without what is no text in UTF-8, as bytes of a file's name may be."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cell(value: Any) -> Any:
    """As a spreadsheet takes it: one line, and nothing to compute."""
    if isinstance(value, list):
        value = " ".join(value)
    if not isinstance(value, str):
        return value
    text = " ".join(shown(value).split())
    return f"'{text}" if text.startswith(FORMULA) else text


def _estimate(value: Estimate | None, digits: int, sign: str = "") -> Cell:
    if value is None:
        return Cell()
    if value.low is None or value.high is None:
        return Cell(f"{value.mean:{sign}.{digits}f}")
    low, high = (f"{end:{sign}.{digits}f}" for end in (value.low, value.high))
    return Cell(f"{value.mean:{sign}.{digits}f}", f"({low}, {high})")
