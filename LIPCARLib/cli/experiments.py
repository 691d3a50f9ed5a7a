"""What the commands that evaluate share: which models and subjects, the run with its progress, the model's card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import LIPCARError
from ..inverse import Model, NetworkPair, Progress, default_model, load_model, read_manifest, write_manifest
from ..study import Experiment, Failure, SubjectResult, card_scores, run_experiment
from .console import err, out, print_notice, progress_bar
from .tables import comparison_tables


def load_models(names: Sequence[str] | None, folders: Sequence[Path]) -> tuple[Model, ...]:
    """Those that were named; else the shipped ones, both where the cohort has pre-dose images."""
    if not names:
        has_predose = all((folder / "predose.nrrd").is_file() for folder in folders)
        names = [default_model(uses) for uses in ([False, True] if has_predose else [False])]
    return tuple(load_model(name) for name in names)


def held_out_of(folders: Sequence[Path], models: Sequence[Model]) -> list[Path]:
    """The subjects that the training of all models kept out; all where no subject was trained on.

    Raises:
        LIPCARError: there is none, or a model's card does not tell.
    """
    kept = []
    for model in models:
        card = model.manifest.get("training", {})
        if "held_out_subjects" in card:
            kept.append(set(card["held_out_subjects"]))
        elif isinstance(model, NetworkPair):  # an anchored model is trained on examinations drawn at random
            raise LIPCARError(f"The card of the model '{model.name}' does not say which subjects were held out.")
    found = [folder for folder in folders if all(folder.name in subjects for subjects in kept)]
    if not found:
        names = ", ".join(m.name for m in models)
        raise LIPCARError(f"None of the subjects held out from {names} is in '{folders[0].parent}'.")
    return found


def run_with_progress(
    experiment: Experiment, folders: Sequence[Path], output: Path | None
) -> tuple[list[SubjectResult], list[Failure]]:
    """Run an experiment, drawing its progress and naming what was left out.

    Raises:
        LIPCARError: no subject could be evaluated.
    """
    results: list[SubjectResult] = []
    failures: list[Failure] = []
    with progress_bar("Evaluating", len(folders)) as (bar, task):
        for event in run_experiment(experiment, folders, output):
            if isinstance(event, Progress):
                bar.update(task, info=f"slice {event.slices_done + 1} of {event.slices_total} on {event.device}")
                continue
            if isinstance(event, Failure):
                failures.append(event)
            else:
                results.append(event)
            bar.update(task, advance=1, info=event.subject)
            if not err.is_terminal:
                done = len(results) + len(failures)
                err.print(f"{event.subject} done, {done} of {len(folders)}")
    for failure in failures:
        print_notice(f"{failure.subject}: {failure.reason}", title="Left out:")
    if not results:
        raise LIPCARError(f"None of the {len(folders)} subjects could be evaluated; the reasons are above.")
    return results, failures


def print_comparison(experiment: Experiment, results: Sequence[SubjectResult]) -> None:
    """The experiment's tables."""
    for table in comparison_tables(results, experiment.baseline):
        out.print(table)


def record_scores(experiment: Experiment, results: Sequence[SubjectResult], folder: Path) -> None:
    """Write the experiment's means into the card of its one model."""
    write_manifest(folder, read_manifest(folder) | {"metrics": card_scores(experiment, results)})
