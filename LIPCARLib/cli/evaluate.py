"""`lipcar evaluate`: the paper's experiment on a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LIPCARError
from ..inverse import check_alpha, list_models
from ..learning import subject_folders
from ..storage import claimed
from ..study import CARD_ALPHAS, CARD_METHODS, METHODS, Experiment, write_experiment
from .console import print_written
from .experiments import (
    held_out_of,
    load_models,
    print_comparison,
    record_scores,
    run_with_progress,
)
from .options import (
    AlphasOption,
    CohortArgument,
    DeviceOption,
    HeldOutOption,
    ModelsOption,
    SolverOption,
    TellAcquisitionOption,
    TellDoseOption,
)

TITLE = "LIPCAR: the experiment"


def evaluate(
    cohort: CohortArgument,
    output: Annotated[Path | None, typer.Option(help="Folder for tables, figures and the report.")] = None,
    model: ModelsOption = None,
    methods: Annotated[str, typer.Option(help="Of these, separated by commas.")] = ",".join(METHODS),
    alpha: AlphasOption = None,
    dose_fraction: Annotated[
        float | None, typer.Option(help="Low dose over full dose; default: what a simulated cohort tells.")
    ] = None,
    tell_dose: TellDoseOption = False,
    tell_acquisition: TellAcquisitionOption = True,
    solver: SolverOption = "proximal",
    iterations: Annotated[int | None, typer.Option(help="As in lipcar enhance.")] = None,
    held_out: HeldOutOption = False,
    record: Annotated[bool, typer.Option("--record", help="Write the scores into the one model's card.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """The paper's experiment: compare methods and models on a cohort. Goes on where it was interrupted."""
    card = _card_folder(model) if record else None
    alphas = tuple(check_alpha(one) for one in alpha) if alpha else CARD_ALPHAS
    folders = subject_folders(cohort)
    models = load_models(model, folders)
    if held_out:
        folders = held_out_of(folders, models)
    experiment = Experiment(
        models,
        tuple(name.strip() for name in methods.split(",")) if card is None else CARD_METHODS,
        alphas,
        dose_fraction=dose_fraction,
        solver=solver,
        iterations=iterations,
        device=device,
        tell_dose=tell_dose,
        tell_acquisition=tell_acquisition,
    )
    with nullcontext() if output is None else claimed(output):
        results, failures = run_with_progress(experiment, folders, output)
        print_comparison(experiment, results)
        if output is not None:
            print_written(write_experiment(output, experiment, results, failures, experiment.baseline, TITLE))
    if card is not None:
        record_scores(experiment, results, card)


def _card_folder(names: Sequence[str] | None) -> Path:
    """The folder of the one model whose card is written to; no name, which is a shipped model's."""
    shipped = [entry.name for entry in list_models()]
    if names is None or len(names) != 1 or names[0] in shipped or not Path(names[0]).is_dir():
        raise LIPCARError(
            "--record needs one --model, the folder of the model to write to (one named as a shipped model: ./name)."
        )
    return Path(names[0])
