"""What became of a cohort: one page for a browser (index.html) and one table (summary.csv)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import LIPCARError
from ..imaging import write_files
from ..storage import check_place, real_path
from ..trust import GREEN, LOOK, STOP
from .cohort_enhancement import FAILED, MAPS, SERIES, Outcome
from .cohort_inputs import Entry
from .cohort_workers import EXAMINATIONS
from .figures import check_matplotlib
from .pages import load_template
from .tables import RESEARCH, csv_file, shown

TEMPLATE = "cohort.html.jinja"
PAGE, TABLE = "index.html", "summary.csv"
VERDICTS = (STOP, LOOK, GREEN)
"""The worst first: that is how the page is sorted."""


def check_summary() -> None:
    """Before hours of work, what the pictures and the page need.

    Raises:
        LIPCARError: matplotlib or jinja2 is not installed.
    """
    check_matplotlib()
    load_template(TEMPLATE)


def check_inputs(source: Path, entries: Sequence[Entry], output: Path) -> None:
    """Before anything is made: no input is lost to a result.

    Args:
        source, entries: of the cohort, see `find_examinations`.
        output: for its results.

    Raises:
        LIPCARError: the input is the output, a file that is read lies where results go, or another page or table is
            there.
    """
    place = real_path(output)
    if real_path(source) == place:
        raise LIPCARError(f"'{output}' is the input; a folder of its own is expected for the results.")
    files = [path for entry in entries for path in entry.inputs.paths]
    files += [path for entry in entries for series in entry.series.values() for path in series]
    for path in (source, *files):
        real = real_path(path)
        if real in (place / PAGE, place / TABLE) or place / EXAMINATIONS in (real, *real.parents):
            raise LIPCARError(f"The input '{path}' lies where results go in '{output}'; choose another output.")
    for name in (PAGE, TABLE) if place.is_dir() else ():
        check_place(place / name)
        if (place / name).exists() and not (place / EXAMINATIONS).is_dir():
            raise LIPCARError(f"'{output}' holds a file '{name}' that is of no earlier run; choose another folder.")


def write_summary(output: Path, title: str, outcomes: Sequence[Outcome], total: int) -> list[Path]:
    """Write the page and the table, both or none.

    Args:
        output: of the cohort.
        title: of the page.
        outcomes: so far, in any order.
        total: examinations in all.

    Returns:
        index.html and summary.csv.

    Raises:
        LIPCARError: jinja2 is not installed, or a file cannot be written.
    """
    rows = sorted(map(summary_row, outcomes), key=_urgency)
    cells = [{key: value for key, value in row.items() if key not in ("links", "picture")} for row in rows]
    page = load_template(TEMPLATE).render(
        title=title,
        note=RESEARCH,
        rows=rows,
        total=total,
        failed=sum(row["state"] == FAILED for row in rows),
        verdicts=_counts(rows),
    )
    files = {output / PAGE: page.encode("utf-8", "replace"), output / TABLE: csv_file(cells)}
    write_files(files)
    return list(files)


def summary_row(outcome: Outcome) -> dict[str, Any]:
    """One examination in the summary; links are relative to its page."""
    facts = outcome.facts
    folder = outcome.entry.folder
    place = f"{EXAMINATIONS}/{quote(folder)}"
    links = {name: f"{place}/{quote(name)}" for name in outcome.files if "/" not in name and name != "picture.png"}
    for inside, title in ((SERIES, "DICOM series"), (MAPS, "evidence")):
        if any(name.startswith(f"{inside}/") for name in outcome.files):
            links[title] = f"{place}/{inside}/"
    return {
        "name": shown(outcome.entry.name),
        "folder": folder,
        "image": next(
            (f"{EXAMINATIONS}/{folder}/{name}" for name in outcome.files if name.startswith("enhanced.")), ""
        ),
        "state": outcome.state,
        "verdict": facts.get("verdict", ""),
        "reasons": [outcome.reason] if outcome.reason else list(facts.get("reasons", ())),
        "notices": list(facts.get("notices", ())),
        "seconds": facts.get("seconds"),
        "slices": facts.get("slices"),
        "model": facts.get("model", ""),
        "alpha": facts.get("alpha", ""),
        "picture": f"{place}/picture.png" if "picture.png" in outcome.files else "",
        "links": links,
    }


def _urgency(row: Mapping[str, Any]) -> tuple[int, int, str]:
    """What somebody has to look at comes first."""
    verdict = row["verdict"]
    return row["state"] != FAILED, VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS), row["name"]


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    verdicts = [row["verdict"] for row in rows if row["verdict"]]
    return {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
