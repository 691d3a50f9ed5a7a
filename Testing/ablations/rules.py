"""The parts of `auto` one by one: nine other ways to weigh data against prior, and a command that compares them.

    python Testing/ablations/rules.py COHORT --rule auto --rule even --rule gated --output FOLDER

prints the table of `lipcar evaluate` and writes the same files. A rule makes a plan of the session's slices, from the
parts of `LIPCARLib.inverse.auto`; another one is a function here with `@rule`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import (
    AUTO,
    Model,
    Progress,
    Result,
    check_alpha,
    default_model,
    evidence,
    load_model,
    reconstruct,
)
from LIPCARLib.inverse.auto import (
    Anchor,
    Plan,
    Rule,
    Session,
    anchored,
    auto,
    equation_problem,
    network_problem,
    network_trust,
    no_trust,
    plan,
)
from LIPCARLib.inverse.solvers import PROXIMAL_EVALUATIONS, Objective, Solver, Step, Stop, proximal
from LIPCARLib.learning import subject_folders
from LIPCARLib.study import compare, write_experiment
from LIPCARLib.study.experiment import Experiment, Failure, SubjectResult, run_experiment

COARSE_LIMIT = 0.03
"""Model scale: `learned` believes no F that is off by more in the two coarsest bands (vnet-predose 0.020, vnet-lowdose
0.073, which cannot see what the agent changed)."""
DISCREPANCY_ALPHAS = (0.2, 0.1, 0.05, 0.025, 0.0125, 0.00625)
"""The path of the discrepancy principle, from the prior towards the data."""

RULES: dict[str, Rule] = {AUTO: auto}
"""By name, what `auto` could have been."""


def rule(function: Rule) -> Rule:
    """Make a rule known by its name, dashes for underscores."""
    RULES[function.__name__.replace("_", "-")] = function
    return function


@rule
def noisy_prior(session: Session) -> Plan:
    """Auto around the prior as it is."""
    inside = _inside(session)
    return _as_auto(session, anchored(session, session.prior, inside), inside)


@rule
def auto_with_air(session: Session) -> Plan:
    """Auto, air included."""
    inside = _inside(session)
    return _as_auto(session, anchored(session, evidence.denoised(session.prior, inside), None), inside)


@rule
def unaligned(session: Session) -> Plan:
    """Auto with the pre-dose image where it was acquired."""
    return auto(replace(session, aligned=None if session.aligned is None else session.predose))


@rule
def even(session: Session) -> Plan:
    """Auto without regard to what enhances."""
    inside, anchor = _ground(session)
    equation = _equation(session, anchor, inside)
    if equation is not None:
        equation = replace(equation, local_weight=torch.zeros_like(session.lowdose))
    return plan(session, anchor, _trust(session, anchor, inside), equation)


@rule
def ungated(session: Session) -> Plan:
    """Auto without the network."""
    inside, anchor = _ground(session)
    return plan(session, anchor, no_trust(session), _equation(session, anchor, inside))


@rule
def gated(session: Session) -> Plan:
    """The network alone, where the data contradict the prior."""
    inside, anchor = _ground(session)
    return plan(session, anchor, _trust(session, anchor, inside), None)


@rule
def learned(session: Session) -> Plan:
    """The network in the signal equation's place, if it is right at coarse scales."""
    inside, anchor = _ground(session)
    trust = _trust(session, anchor, inside)
    problem = network_problem(session, anchor, trust)
    if sum(evidence.operator_error(session.card)[-2:]) <= COARSE_LIMIT**2:
        height, width = session.lowdose.shape[-2:]
        problem = replace(
            problem, weight=problem.weight + evidence.scale_weights(height, width, session.lowdose.device, session.gain)
        )
    return Plan(proximal(problem, anchor.start, Stop(session.iterations)), trust, session.iterations)


@rule
def denoised(session: Session) -> Plan:
    """The denoised prior alone, no data."""
    _, anchor = _ground(session)
    return plan(session, anchor, no_trust(session), None)


@rule
def discrepancy(session: Session) -> Plan:
    """A denoised prior; alpha is the largest of a path at which the residual's size is what is expected (Morozov)."""
    inside, anchor = _ground(session)
    expected = sum(evidence.operator_error(session.card)) + session.sigma**2
    problem = Objective(session.forward_operator, session.lowdose, anchor.regularizer, anchor.alpha, session.predose)

    def satisfied(x: Tensor) -> Tensor:
        with torch.no_grad():
            residual = session.forward_operator(x, session.predose) - session.lowdose
        return evidence.band_energies(residual, inside).sum(1) <= expected

    steps = continuation(problem, anchor.start, DISCREPANCY_ALPHAS, satisfied, session.iterations)
    return Plan(steps, torch.ones_like(no_trust(session)), session.iterations * len(DISCREPANCY_ALPHAS))


def _inside(session: Session) -> Tensor:
    return evidence.body(session.lowdose, session.floor)


def _ground(session: Session) -> tuple[Tensor, Anchor]:
    """The body and the anchor that `auto` takes."""
    inside = _inside(session)
    return inside, anchored(session, evidence.denoised(session.prior, inside), inside)


def _trust(session: Session, anchor: Anchor, inside: Tensor) -> Tensor:
    return no_trust(session) if session.doubtful else network_trust(session, anchor, inside)


def _equation(session: Session, anchor: Anchor, inside: Tensor) -> Objective | None:
    return None if session.aligned is None else equation_problem(session, anchor, session.aligned, inside)


def _as_auto(session: Session, anchor: Anchor, inside: Tensor) -> Plan:
    """What `auto` does, around another anchor."""
    return plan(session, anchor, _trust(session, anchor, inside), _equation(session, anchor, inside))


def continuation(
    objective: Objective,
    start: Tensor,
    alphas: Sequence[float],
    satisfied: Callable[[Tensor], Tensor],
    evaluations: int = PROXIMAL_EVALUATIONS,
) -> Solver:
    """`solvers.proximal` along falling alphas, each from where the last one ended, until a slice is satisfied.

    Args:
        objective: of the batch; its own alpha is not used.
        start: (N, 1, H, W), where the path begins; a slice that it satisfies stays there.
        alphas: from large to small.
        satisfied: says of (N, 1, H, W) which slices may stop, (N,) booleans.
        evaluations: at most this many network evaluations per slice and alpha.

    Yields as `proximal` does; a step's objective is that of the alpha it was taken at.
    """
    x = start.clamp(min=0)
    count = torch.zeros(len(x), dtype=torch.long, device=x.device)
    latest: Step | None = None
    for alpha in alphas:
        going = ~satisfied(x)
        if latest is not None and not bool(going.any()):
            return
        for step in proximal(replace(objective, alpha=alpha), x, Stop(evaluations if bool(going.any()) else 1)):
            # The whole batch is solved, slices that may stop are put back: simple, and meant for comparisons.
            kept = latest or step
            latest = Step(
                torch.where(going.view(-1, 1, 1, 1), step.x, kept.x),
                torch.where(going, step.objective, kept.objective),
                torch.where(going, step.data_fidelity, kept.data_fidelity),
                torch.where(going, count + step.network_evaluations, kept.network_evaluations),
                step.finished | ~going,
            )
            yield latest
        if latest is not None:
            x, count = latest.x, latest.network_evaluations


def reconstruct_by_rule(
    examination: Examination, model: Model, *, alpha: float | str, **options: Any
) -> Generator[Progress, None, Result]:
    """`reconstruct` with the name of a rule, or a number, for alpha."""
    if alpha in RULES:
        return reconstruct(examination, model, alpha=AUTO, rule=RULES[str(alpha)], **options)
    return reconstruct(examination, model, alpha=alpha, **options)


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; 0, or 2 with one line for what a user can mend."""
    told = _parser().parse_args(arguments)
    console, err = Console(), Console(stderr=True)
    try:
        folders = subject_folders(told.cohort)
        models = tuple(load_model(name) for name in told.model or [default_model(uses_predose=True)])
        if told.held_out:
            kept = [set(m.manifest["training"]["held_out_subjects"]) for m in models]
            folders = [folder for folder in folders if all(folder.name in subjects for subjects in kept)]
        what = Experiment(
            models,
            tuple(told.methods.split(",")),
            tuple(_alpha(one) for one in told.rule or RULES),
            device=told.device,
            reconstruct=reconstruct_by_rule,
        )
        baseline = what.label(models[0]) if "nn" in what.methods else None
        results: list[SubjectResult] = []
        failures: list[Failure] = []
        for event in run_experiment(what, folders, told.output):
            if isinstance(event, Progress):
                continue
            (failures if isinstance(event, Failure) else results).append(event)
            err.print(f"{event.subject} done, {len(results) + len(failures)} of {len(folders)}", highlight=False)
        for failure in failures:
            err.print(f"Left out: {failure.subject}: {failure.reason}", highlight=False)
        if not results:
            raise LIPCARError(f"None of the {len(folders)} subjects in '{told.cohort}' could be evaluated.")
        for region in ("image", "body"):
            console.print(_table(results, region, baseline))
        if told.output is not None:
            for path in write_experiment(told.output, what, results, failures, baseline, "LIPCAR: the rules"):
                console.print(f"Wrote {path}", highlight=False, soft_wrap=True)
    except LIPCARError as error:
        err.print(f"Error: {error}", highlight=False, soft_wrap=True)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cohort", type=Path, help="folder of the cohort, one folder a subject")
    names = "; ".join(f"{name}: {one.__doc__.splitlines()[0]}" for name, one in RULES.items() if one.__doc__)
    parser.add_argument("--rule", action="append", help=f"a number for alpha, or one of these; all by default. {names}")
    parser.add_argument("--output", type=Path, help="folder for tables, figures and the report")
    parser.add_argument("--model", action="append", help="a name or a folder; may be given several times")
    parser.add_argument("--methods", default="nn,lip-car", help="as in lipcar evaluate")
    parser.add_argument(
        "--held-out", action="store_true", help="only subjects that the training of all models kept out"
    )
    parser.add_argument("--device", default="auto")
    return parser


def _alpha(text: str) -> float | str:
    if text in RULES:
        return text
    try:
        return check_alpha(text)
    except LIPCARError as error:
        raise LIPCARError(
            f"The rule is {text}; a positive number is expected, or one of: {', '.join(RULES)}."
        ) from error


def _table(results: Sequence[SubjectResult], region: str, baseline: str | None) -> Table:
    """Means over the slices against the acquired image, and what a method gains on the baseline."""
    rows = compare([row for result in results for row in result.scores], region, "acquired", baseline)
    title = f"{region}: {len(results)} subjects, {max(row.slices for row in rows)} slices, against the acquired image"
    table = Table("method", "SSIM", "PSNR (dB)", "RMSE", title=title, title_justify="left", box=None)
    if baseline is not None:
        table.add_column(f"SSIM - {baseline}")
        table.add_column("better on")
    for method in dict.fromkeys(row.method for row in rows):
        own = {row.score: row for row in rows if row.method == method}
        digits = {"ssim": 4, "psnr": 2, "rmse": 4}
        cells = [f"{own[s].value.mean:.{d}f}" if s in own else "-" for s, d in digits.items()]
        gain = own["ssim"].difference if "ssim" in own else None
        if gain is not None:
            cells += [f"{gain.mean:+.4f} ({gain.low:+.4f}, {gain.high:+.4f})", f"{own['ssim'].improved:.0%}"]
        table.add_row(method, *cells)
    return table


if __name__ == "__main__":
    raise SystemExit(main())
