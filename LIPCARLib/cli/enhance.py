"""`lipcar enhance` and `lipcar demo`: simulate the high-dose image of one examination."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..doubt import Doubt
from ..errors import LIPCARError
from ..imaging import AXES, Examination
from ..inverse import AUTO, Progress, Result, check_alpha, complete
from ..resources import RESOURCES
from ..storage import check_folder
from ..study import Begin, Inputs, Outputs, begin_here, enhance_examination
from .console import out, print_notice, print_verdict, print_written, progress_bar, time_left
from .options import AlphaOption, DeviceOption, ModelOption, SolverOption

if TYPE_CHECKING:
    from ..engine import Engine
    from ..inverse import Model
    from ..trust import Evidence

Made = TypeVar("Made")
DEMO_SLICES = (4, 1)
"""Of the sample: one with the tumor, one without."""


def enhance(
    lowdose: Annotated[Path, typer.Option(help="The image after the low dose: a file or a DICOM folder.")],
    output: Annotated[Path, typer.Option(help="Where to write the simulated high-dose image.")],
    predose: Annotated[Path | None, typer.Option(help="The image before the agent.")] = None,
    model: ModelOption = None,
    alpha: AlphaOption = AUTO,
    solver: SolverOption = "proximal",
    iterations: Annotated[
        int | None, typer.Option(help="Network evaluations (proximal) or steps (adam) a slice.")
    ] = None,
    device: DeviceOption = "auto",
    slice_axis: Annotated[str | None, typer.Option(help="i, j or k; default: the acquired slices.")] = None,
    match_predose: Annotated[
        bool, typer.Option(help="Bring the pre-dose image to the low-dose image's place and receiver gain.")
    ] = True,
    dose_fraction: Annotated[
        float | None, typer.Option(help="Low dose over full dose, if known; default: about a fifth.")
    ] = None,
    acquisition: Annotated[
        Path | None,
        typer.Option(help="How the images were acquired, JSON with BIDS keys; default: what headers and sidecars say."),
    ] = None,
    t1_map: Annotated[
        Path | None, typer.Option(help="T1 before the agent, s or ms, on the low-dose image's grid, if known.")
    ] = None,
    highdose: Annotated[Path | None, typer.Option(help="A real high-dose image, for metrics only.")] = None,
    prior_output: Annotated[Path | None, typer.Option(help="Where to write the model's own guess.")] = None,
    dicom_output: Annotated[Path | None, typer.Option(help="New folder for the result as a DICOM MR series.")] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="New folder for maps of what was measured, how sure it is, and what nothing supports."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write a JSON report.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Where to write a PNG comparison.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write even a result that should not be used.")] = False,
    engine: Annotated[str | None, typer.Option(help="HOST:PORT where lipcar serve runs, to compute there.")] = None,
) -> None:
    """Simulate the high-dose image of one examination."""
    outputs = Outputs(output, prior_output, report, picture, dicom=dicom_output, evidence=evidence)
    inputs = Inputs(lowdose, predose, highdose, acquisition, t1_map, _axis(slice_axis), match_predose)
    outputs.check(inputs.paths)
    options = {"alpha": check_alpha(alpha), "solver": solver, "iterations": iterations, "dose_fraction": dose_fraction}
    begin = begin_here if engine is None else _of_engine(engine)
    _enhance(inputs, outputs, model, {**options, "device": device}, force, begin)


def _of_engine(place: str) -> Begin:
    from ..engine import Remote, read_token

    return partial(_asked, Remote(place, read_token()))


def _asked(
    engine: Engine, examination: Examination, model: Model, name: str, options: dict[str, Any], evidence: bool
) -> Generator[Progress | None, None, tuple[Result, Evidence | None]]:
    """The same of an engine."""
    from ..engine import Asked

    asked = Asked(model=name, data_consistency=False, evidence=evidence, **options)
    answer = yield from engine.enhance(examination, asked)
    return answer.result, answer.evidence


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lipcar-demo"),
    device: DeviceOption = "auto",
) -> None:
    """Enhance the embedded sample examination: a volume, a report and a picture."""
    check_folder(output)
    lowdose, predose, highdose = (
        RESOURCES / "SampleData" / f"rat-{role}.nrrd" for role in ("lowdose", "predose", "highdose")
    )
    outputs = Outputs(
        output / "lip-car.nrrd",
        prior=output / "prior.nrrd",
        report=output / "report.json",
        picture=output / "comparison.png",
        picture_slices=DEMO_SLICES,
    )
    _enhance(Inputs(lowdose, predose, highdose), outputs, None, {"device": device})


def _axis(letter: str | None) -> int | None:
    if letter is None:
        return None
    if letter not in AXES:
        raise LIPCARError(f"The slice axis is '{letter}'; expected one of: {', '.join(AXES)}.")
    return AXES.index(letter)


def _enhance(
    inputs: Inputs,
    outputs: Outputs,
    model: str | None,
    options: dict[str, Any],
    force: bool = False,
    begin: Begin = begin_here,
) -> None:
    done = enhance_examination(inputs, outputs, model, options, _print_notice, _followed, force, begin)
    report = done.report
    out.print(
        f"{len(report['objective'])} slices in {report['seconds']:.1f} s on {report['device']}, model "
        f"{done.model.name}, alpha {report['alpha']}, at most {report['network_evaluations']} operator evaluations a "
        "slice.",
    )
    if "metrics" in report:
        from .tables import metrics_table

        out.print(metrics_table(report["metrics"]))
    print_written(done.written)
    print_verdict(done.verdict.level, done.verdict.reasons)
    out.print("Simulated image, research only: not for diagnosis.", style="dim")


def _print_notice(notice: str) -> None:
    """What does not bear on the verdict, which names the rest as its reasons."""
    if not isinstance(notice, Doubt):
        print_notice(notice)


def _followed(doing: str, steps: Generator[Progress | None, None, Made]) -> Made:
    """Run to its end what yields its progress, with a bar."""
    with progress_bar(doing) as (bar, task):

        def show(progress: Progress | None) -> None:
            if progress is None:  # nothing new
                return
            text = f"{progress.slices_done}/{progress.slices_total} slices on {progress.device}"
            bar.update(task, completed=progress.fraction, info=f"{text}{time_left(progress.seconds_left)}")

        return complete(steps, show)
