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
from torch import Tensor

from LIPCARLib.cli.console import err, print_written
from LIPCARLib.cli.experiments import held_out_of, load_models, print_comparison, run_with_progress
from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import (
    AUTO,
    Model,
    Progress,
    Result,
    check_alpha,
    evidence,
    reconstruct,
)
from LIPCARLib.inverse.auto import (
    Around,
    around,
    auto,
    equation_problem,
    network_problem,
    network_trust,
    no_trust,
    plan,
)
from LIPCARLib.inverse.session import Plan, Rule, Session
from LIPCARLib.inverse.solvers import PROXIMAL_EVALUATIONS, Objective, Solver, Step, Stop, proximal
from LIPCARLib.learning import subject_folders
from LIPCARLib.study import Experiment, write_experiment

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
    return _as_auto(session, around(session, session.prior, inside), inside)


@rule
def auto_with_air(session: Session) -> Plan:
    """Auto, air included."""
    inside = _inside(session)
    return _as_auto(session, around(session, evidence.denoised(session.prior, inside), None), inside)


@rule
def unaligned(session: Session) -> Plan:
    """Auto with the pre-dose image where it was acquired."""
    return auto(replace(session, aligned=None if session.aligned is None else session.predose))


@rule
def even(session: Session) -> Plan:
    """Auto without regard to what enhances."""
    inside, here = _ground(session)
    equation = _equation(session, here, inside)
    if equation is not None:
        equation = replace(equation, local_weight=torch.zeros_like(session.lowdose))
    return plan(session, here, _trust(session, here, inside), equation)


@rule
def ungated(session: Session) -> Plan:
    """Auto without the network."""
    inside, here = _ground(session)
    return plan(session, here, no_trust(session), _equation(session, here, inside))


@rule
def gated(session: Session) -> Plan:
    """The network alone, where the data contradict the prior."""
    inside, here = _ground(session)
    return plan(session, here, _trust(session, here, inside), None)


@rule
def learned(session: Session) -> Plan:
    """The network in the signal equation's place, if it is right at coarse scales."""
    inside, here = _ground(session)
    trust = _trust(session, here, inside)
    problem = network_problem(session, here, trust)
    if sum(evidence.operator_error(session.card)[-2:]) <= COARSE_LIMIT**2:
        height, width = session.lowdose.shape[-2:]
        problem = replace(
            problem, weight=problem.weight + evidence.scale_weights(height, width, session.lowdose.device, session.gain)
        )
    return Plan(proximal(problem, here.start, Stop(session.iterations)), trust, session.iterations)


@rule
def denoised(session: Session) -> Plan:
    """The denoised prior alone, no data."""
    _, here = _ground(session)
    return plan(session, here, no_trust(session), None)


@rule
def discrepancy(session: Session) -> Plan:
    """A denoised prior; alpha is the largest of a path at which the residual's size is what is expected (Morozov)."""
    inside, here = _ground(session)
    expected = sum(evidence.operator_error(session.card)) + session.sigma**2
    problem = Objective(session.forward_operator, session.lowdose, here.regularizer, here.alpha, session.predose)

    def satisfied(x: Tensor) -> Tensor:
        with torch.no_grad():
            residual = session.forward_operator(x, session.predose) - session.lowdose
        return evidence.band_energies(residual, inside).sum(1) <= expected

    steps = continuation(problem, here.start, DISCREPANCY_ALPHAS, satisfied, session.iterations)
    return Plan(steps, torch.ones_like(no_trust(session)), session.iterations * len(DISCREPANCY_ALPHAS))


def _inside(session: Session) -> Tensor:
    return evidence.body(session.lowdose, session.floor)


def _ground(session: Session) -> tuple[Tensor, Around]:
    """The body, and where `auto` looks."""
    inside = _inside(session)
    return inside, around(session, evidence.denoised(session.prior, inside), inside)


def _trust(session: Session, here: Around, inside: Tensor) -> Tensor:
    return no_trust(session) if session.doubtful else network_trust(session, here, inside)


def _equation(session: Session, here: Around, inside: Tensor) -> Objective | None:
    return None if session.aligned is None else equation_problem(session, here, session.aligned, inside)


def _as_auto(session: Session, here: Around, inside: Tensor) -> Plan:
    """What `auto` does, around something else."""
    return plan(session, here, _trust(session, here, inside), _equation(session, here, inside))


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
    try:
        folders = subject_folders(told.cohort)
        models = load_models(told.model or ["vnet-predose"], folders)
        experiment = Experiment(
            models,
            tuple(told.methods.split(",")),
            tuple(_alpha(one) for one in told.rule or RULES),
            device=told.device,
            reconstruct=reconstruct_by_rule,
        )
        folders = held_out_of(folders, models) if told.held_out else folders
        results, failures = run_with_progress(experiment, folders, told.output)
        print_comparison(experiment, results)
        if told.output is not None:
            title = "LIPCAR: the rules"
            print_written(write_experiment(told.output, experiment, results, failures, experiment.baseline, title))
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


if __name__ == "__main__":
    raise SystemExit(main())
