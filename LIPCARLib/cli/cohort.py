"""`lipcar cohort`: what `lipcar enhance` does, for every examination of a folder or a table."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LIPCARError
from ..inverse import AUTO, check_alpha, check_options, choose_device
from ..storage import claimed
from ..study import (
    FAILED,
    LAYOUTS,
    CohortSettings,
    Entry,
    Outcome,
    check_inputs,
    check_summary,
    dask_client,
    enhance_cohort,
    find_examinations,
    write_summary,
)
from ..trust import STOP
from .console import err, out, print_notice, print_written, progress_bar, time_left
from .options import AlphaOption, DeviceOption, ModelOption, SolverOption

SUFFIXES = (".nrrd", ".nii.gz", ".mha")
FRESH = 30.0
"""Seconds after which the summary is written anew while the work goes on."""


def cohort(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="A BIDS folder, a DICOM tree, a table of paths; or lipcar phantom's."),
    ],
    output: Annotated[Path, typer.Argument(help="Folder for all results, a page and a table of them.")],
    layout: Annotated[str | None, typer.Option(help=f"{', '.join(LAYOUTS)}; default: as INPUT looks.")] = None,
    lowdose: Annotated[
        list[str] | None,
        typer.Option(help="Which image is the low-dose one: a pattern of file names (BIDS) or series descriptions."),
    ] = None,
    predose: Annotated[
        list[str] | None, typer.Option(help="The same of the one before the agent; none: there is none.")
    ] = None,
    highdose: Annotated[list[str] | None, typer.Option(help="The same of a real high-dose one, for metrics.")] = None,
    model: ModelOption = None,
    alpha: AlphaOption = AUTO,
    solver: SolverOption = "proximal",
    iterations: Annotated[int | None, typer.Option(help="As in lipcar enhance.")] = None,
    device: DeviceOption = "auto",
    match_predose: Annotated[bool, typer.Option(help="As in lipcar enhance.")] = True,
    dose_fraction: Annotated[
        float | None, typer.Option(help="Low dose over full dose, where a table does not tell it by examination.")
    ] = None,
    suffix: Annotated[str, typer.Option("--format", help=f"Of the images: {', '.join(SUFFIXES)}.")] = SUFFIXES[0],
    dicom: Annotated[bool, typer.Option("--dicom", help="Write each result as a DICOM MR series too.")] = False,
    evidence: Annotated[bool, typer.Option("--evidence", help="Write maps of evidence too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write even results that should not be used.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Processes on this machine; more than 1 need Dask.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask scheduler, whose workers do the work; tcp://host:8786.")
    ] = None,
) -> None:
    """Enhance every examination of a cohort. Goes on where it was interrupted; one that fails does not stop the rest.

    Exit code: 0 all is done, 1 some failed, 2 it could not begin or go on.
    """
    if suffix not in SUFFIXES:
        raise LIPCARError(f"The format is '{suffix}'; expected one of: {', '.join(SUFFIXES)}.")
    check_summary()
    options = {"alpha": check_alpha(alpha), "solver": solver, "iterations": iterations, "dose_fraction": dose_fraction}
    check_options(alpha, solver, iterations, dose_fraction)
    if scheduler is None:
        choose_device(device)
    settings = CohortSettings(model, {**options, "device": device}, match_predose, suffix, dicom, evidence, force)
    patterns = {"lowdose": lowdose or [], "predose": predose or [], "highdose": highdose or []}
    entries = find_examinations(source, layout, patterns, output)
    check_inputs(source, entries, output)
    title = f"LIPCAR: {source.resolve().name}"
    with claimed(output):
        cluster = nullcontext() if jobs == 1 and scheduler is None else dask_client(jobs, scheduler)
        with cluster as client:
            steps = enhance_cohort(entries, source.resolve(), output, settings, client)
            outcomes = _follow(steps, entries, output, title)
        written = write_summary(output, title, outcomes, len(entries))
    failed = [outcome for outcome in outcomes if outcome.state == FAILED]
    refused = [outcome for outcome in outcomes if outcome.facts.get("verdict") == STOP and not force]
    out.print(f"{len(outcomes) - len(failed) - len(refused)} of {len(entries)} examinations are enhanced.")
    if refused:
        names = ", ".join(outcome.entry.name for outcome in refused)
        print_notice(f"{len(refused)} should not be used and have no image: {names}. --force writes them too.")
    print_written(written)
    out.print("Simulated images, research only: not for diagnosis.", style="dim")
    if failed:
        err.print(
            f"{len(failed)} of {len(entries)} examinations failed, for the reasons above and in '{written[0]}'. Mend "
            "them and give the same command again: what is done is kept."
        )
        raise typer.Exit(1)


def _follow(steps: Generator[Outcome, None, None], entries: list[Entry], output: Path, title: str) -> list[Outcome]:
    """All outcomes; their progress is drawn, and the summary shows what there is so far."""
    outcomes: list[Outcome] = []
    begun = written = time.monotonic()
    with closing(steps), progress_bar("Enhancing", len(entries)) as (bar, task):  # what waits is called off at an error
        for outcome in steps:
            outcomes.append(outcome)
            name, now = outcome.entry.name, time.monotonic()
            if outcome.state == FAILED:
                print_notice(f"{name}: {outcome.reason}", title="Failed:")
            elif not err.is_terminal:
                err.print(f"{name} {outcome.state}, {len(outcomes)} of {len(entries)}")
            left = (now - begun) / len(outcomes) * (len(entries) - len(outcomes))
            bar.update(task, advance=1, info=f"{name}{time_left(left)}")
            if now - written > FRESH:
                write_summary(output, title, outcomes, len(entries))
                written = time.monotonic()
    return outcomes
