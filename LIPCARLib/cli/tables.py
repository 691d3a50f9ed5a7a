"""Numbers as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from ..study import SubjectResult

DIGITS = {"ssim": 4, "psnr": 2, "rmse": 4}
TITLES = ("SSIM", "PSNR (dB)", "RMSE")


def metrics_table(metrics: dict[str, dict[str, list[float | None]]]) -> Table:
    """Means over the slices, against the high-dose image."""
    table = Table("mean over slices", *TITLES, box=None)
    for name, scores in metrics.items():
        cells = []
        for key, digits in DIGITS.items():
            values = [value for value in scores[key] if value is not None]
            cells.append(f"{sum(values) / len(values):.{digits}f}" if values else "-")
        table.add_row(name, *cells)
    return table


def comparison_tables(results: Sequence[SubjectResult], baseline: str | None) -> Iterator[Table]:
    """What a reader finds, then means and intervals in every region, against the acquired image."""
    from ..study import REGIONS, compare, lesion_tables  # not for the table of one examination

    for about in lesion_tables(results):
        table = Table(*about.columns, title=about.title, caption=about.note, title_justify="left", box=None)
        table.caption_justify = "left"
        for line in about.rows:
            named = zip(about.columns, line, strict=True)
            table.add_row(*(f"{c.text} {c.interval}".strip() if " minus " in name else c.text for name, c in named))
        yield table
    scores = [row for result in results for row in result.scores]
    for region in REGIONS:
        rows = compare(scores, region, "acquired", baseline)
        if not rows:
            continue
        count = max(row.slices for row in rows)
        title = f"{region}: {len(results)} subjects, {count} slices, against the acquired high-dose image"
        table = Table("method", *TITLES, title=title, title_justify="left", box=None)
        if baseline is not None:
            table.add_column(f"SSIM - {baseline}")
            table.add_column("better on")
        for method in dict.fromkeys(row.method for row in rows):
            own = {row.score: row for row in rows if row.method == method}
            cells = [f"{own[key].value.mean:.{digits}f}" if key in own else "-" for key, digits in DIGITS.items()]
            ssim = own.get("ssim")
            if ssim is not None and ssim.difference is not None:
                gain = ssim.difference
                interval = "" if gain.low is None else f" ({gain.low:+.4f}, {gain.high:+.4f})"
                cells += [f"{gain.mean:+.4f}{interval}", f"{ssim.improved:.0%}"]
            table.add_row(method, *cells)
        yield table


def scores_table(scores: dict[str, dict[str, float]], title: str) -> Table:
    """What a model card says, an image a row."""
    keys = list(next(iter(scores.values())))
    table = Table("image", *(key.replace("_", " ") for key in keys), title=title, title_justify="left", box=None)
    for name, row in scores.items():
        table.add_row(name, *(f"{row[key]:.4f}" for key in keys))
    return table
