"""`lipcar robustness`: the experiment under disturbances, as curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LIPCARError
from ..inverse import AUTO, check_alpha
from ..learning import subject_folders
from ..storage import claimed
from ..study import LEVELS, Disturbance, Experiment, SubjectResult, write_curves
from .console import err, print_written
from .experiments import held_out_of, load_models, run_with_progress
from .options import (
    AlphasOption,
    CohortArgument,
    DeviceOption,
    HeldOutOption,
    ModelsOption,
    TellAcquisitionOption,
    TellDoseOption,
)

METHODS = ("as-is", "nn", "lip-car")


def robustness(
    cohort: CohortArgument,
    output: Annotated[Path, typer.Option(help="Folder for tables and curves.")],
    model: ModelsOption = None,
    disturb: Annotated[
        str, typer.Option(help="Of these, separated by commas; noise:0.05 is one level of noise.")
    ] = ",".join(LEVELS),
    alpha: AlphasOption = None,
    tell_dose: TellDoseOption = False,
    tell_acquisition: TellAcquisitionOption = True,
    held_out: HeldOutOption = False,
    device: DeviceOption = "auto",
) -> None:
    """How network and LIP-CAR bear noise, motion, other gains, doses and scanners, a wrong pre-dose image: curves."""
    wanted = _disturbances(disturb)
    alphas = tuple(check_alpha(one) for one in alpha or [AUTO])
    folders = subject_folders(cohort)
    models = load_models(model, folders)
    if held_out:
        folders = held_out_of(folders, models)
    if len(folders) < 2 and any(one.kind == "stranger" and one.level for one in wanted):
        raise LIPCARError("The disturbance 'stranger' needs two subjects; leave it out (--disturb), or add one.")
    experiment = Experiment(
        models, METHODS, alphas, device=device, tell_dose=tell_dose, tell_acquisition=tell_acquisition
    )
    curves: dict[str, dict[float, list[SubjectResult]]] = {}
    with claimed(output):
        for disturbance in wanted:
            name = f"{disturbance.kind}-{disturbance.level:g}"
            err.print(name)
            results, _ = run_with_progress(replace(experiment, disturbance=disturbance), folders, output / name)
            curves.setdefault(disturbance.kind, {})[disturbance.level] = results
        print_written(write_curves(output, curves, experiment.baseline))


def _disturbances(words: str) -> list[Disturbance]:
    """From "noise:0.05,shift": one level of noise, all of shift."""
    found = []
    for word in words.split(","):
        kind, _, level = word.strip().partition(":")
        try:
            levels = (float(level),) if level else LEVELS.get(kind, (0.0,))  # an unknown kind is named below
        except ValueError as error:
            raise LIPCARError(
                f"The disturbance '{word}' has no number as its level; expected e.g. noise:0.05."
            ) from error
        found += [Disturbance(kind, one) for one in levels]
    return list(dict.fromkeys(found))
