"""The command line: reads arguments, draws progress, prints; computes nothing."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from .. import __version__
from ..errors import LIPCARError
from ..imaging import (
    AXES,
    Examination,
    check_output,
    check_place,
    check_series_folder,
    new_folder,
    series_file,
    series_files,
    write_files,
)
from ..inverse import (
    AUTO,
    AUTO_DESCRIPTION,
    Model,
    check_alpha,
    default_model,
    list_models,
    load_model,
    read_manifest,
    reconstruction,
    verify_model,
    write_manifest,
)
from ..learning import read_subject, subject_folders, training, write_simulated_cohort
from ..resources import RESOURCES
from ..study import (
    LEVELS,
    Disturbance,
    build_report,
    compare,
    comparison_figure,
    experiment,
    most_enhancing_slices,
    write_curves,
    write_experiment,
)

app = typer.Typer(
    name="lipcar",
    help="Simulated high-dose contrast-enhanced MR images from low-dose ones. Research only, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The models that are installed.", no_args_is_help=True)
app.add_typer(models_app, name="models")
DEMO_SLICES = (4, 1)
"""Of the sample: one with the tumor, one without."""
out, err = Console(), Console(stderr=True)

ModelOption = Annotated[str | None, typer.Option("--model", help="A shipped model's name or a model's folder.")]
AlphaOption = Annotated[
    str, typer.Option(help=f"Weight of the regularizer: a number (the paper's is 0.006) or {AUTO_DESCRIPTION}.")
]
AlphasOption = Annotated[
    list[str] | None, typer.Option("--alpha", help="As in lipcar enhance; may be given several times.")
]
TellDoseOption = Annotated[
    bool, typer.Option("--tell-dose", help="Tell the models the dose fraction, as lipcar enhance --dose-fraction does.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's mistake (one line on stderr), 130 if stopped."""
    try:
        code = app(args=arguments, prog_name="lipcar", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except LIPCARError as error:
        message = str(error)
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    except Exception as error:
        # Usage errors: click's class, which typer brings under a name of its own that differs between versions.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        out.print(f"lipcar {__version__}")
        raise typer.Exit()


# Reconstruction


@app.command()
def enhance(
    lowdose: Annotated[Path, typer.Option(help="The image after the low dose: a file or a DICOM folder.")],
    output: Annotated[Path, typer.Option(help="Where to write the simulated high-dose image.")],
    predose: Annotated[Path | None, typer.Option(help="The image before the agent.")] = None,
    model: ModelOption = None,
    alpha: AlphaOption = AUTO,
    solver: Annotated[str, typer.Option(help="proximal or adam.")] = "proximal",
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
    highdose: Annotated[Path | None, typer.Option(help="A real high-dose image, for metrics only.")] = None,
    prior_output: Annotated[Path | None, typer.Option(help="Where to write the network's own guess.")] = None,
    dicom_output: Annotated[Path | None, typer.Option(help="New folder for the result as a DICOM MR series.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write a JSON report.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Where to write a PNG comparison.")] = None,
) -> None:
    """Simulate the high-dose image of one examination."""
    inputs = [path for path in (lowdose, predose, highdose) if path is not None]
    images = [path for path in (output, prior_output) if path is not None]
    others = [path for path in (report, picture) if path is not None]
    _check_outputs(inputs, images, others)
    alpha_ = check_alpha(alpha)
    if dicom_output is not None:
        check_series_folder(dicom_output)
    if slice_axis is not None and slice_axis not in AXES:
        raise LIPCARError(f"The slice axis is '{slice_axis}'; expected one of: {', '.join(AXES)}.")
    axis = None if slice_axis is None else AXES.index(slice_axis)
    examination = Examination.read(lowdose, predose, highdose, axis, match_predose)
    _enhance(
        examination,
        _load(model, examination.predose is not None),
        {
            "alpha": alpha_,
            "solver": solver,
            "iterations": iterations,
            "device": device,
            "dose_fraction": dose_fraction,
        },
        output=output,
        prior_output=prior_output,
        report_output=report,
        picture_output=picture,
        dicom_output=dicom_output,
        dicom_header=series_file(lowdose) if dicom_output is not None else None,
    )


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("lipcar-demo"),
    device: DeviceOption = "auto",
) -> None:
    """Enhance the embedded sample examination: a volume, a report and a picture."""
    sample = RESOURCES / "SampleData"
    _make_folder(output)
    examination = Examination.read(*(sample / f"rat-{role}.nrrd" for role in ("lowdose", "predose", "highdose")))
    _enhance(
        examination,
        _load(None, True),
        {"device": device},
        output=output / "lip-car.nrrd",
        prior_output=output / "prior.nrrd",
        report_output=output / "report.json",
        picture_output=output / "comparison.png",
        picture_slices=DEMO_SLICES,
    )


def _enhance(
    examination: Examination,
    model: Model,
    options: dict[str, Any],
    *,
    output: Path,
    prior_output: Path | None,
    report_output: Path | None,
    picture_output: Path | None,
    picture_slices: Sequence[int] | None = None,
    dicom_output: Path | None = None,
    dicom_header: Path | None = None,
) -> None:
    for notice in examination.notices:
        err.print(f"[yellow]Notice:[/] {notice}", highlight=False)
    if examination.predose is not None and not model.uses_predose:
        err.print(f"[yellow]Notice:[/] the model '{model.name}' does not use the pre-dose image.", highlight=False)
    with _progress_bar("Reconstructing") as (bar, task):

        def show(progress: reconstruction.Progress) -> None:
            text = f"{progress.slices_done}/{progress.slices_total} slices on {progress.device}"
            bar.update(task, completed=progress.fraction, info=f"{text}{_time_left(progress.seconds_left)}")

        result = reconstruction.complete(reconstruction.reconstruct(examination, model, **options), show)
    report = build_report(examination, result)
    files: dict[Path, Any] = {output: examination.to_image(result.highdose)}
    if prior_output is not None:
        files[prior_output] = examination.to_image(result.prior)
    if report_output is not None:
        files[report_output] = (json.dumps(report, indent=1, allow_nan=False) + "\n").encode()
    if picture_output is not None:
        slices = picture_slices or most_enhancing_slices(examination, result, min(2, len(examination.lowdose)))
        files[picture_output] = comparison_figure(examination, result, slices, report)
    with contextlib.nullcontext() if dicom_output is None else new_folder(dicom_output):
        series = {}
        if dicom_output is not None:
            image, axis = files[output], examination.slice_axis
            series = series_files(dicom_output, image, axis, result.provenance, dicom_header)
        write_files({**files, **series}, {f"LIPCAR.{key}": str(value) for key, value in result.provenance.items()})
    out.print(
        f"{len(examination.lowdose)} slices in {result.seconds:.1f} s on {result.provenance['device']}, "
        f"model {model.name}, alpha {result.provenance['alpha']}, at most {report['network_evaluations']} operator "
        "evaluations a slice.",
        highlight=False,
        soft_wrap=True,
    )
    if "metrics" in report:
        out.print(_metrics_table(report["metrics"]))
    for path in [*files, *([dicom_output] if dicom_output is not None else [])]:
        out.print(f"Wrote {path}", highlight=False, soft_wrap=True)
    out.print("Simulated image, research only: not for diagnosis.", style="dim")


# Cohorts and models


@app.command()
def phantom(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort.")],
    subjects: Annotated[int, typer.Option(min=1, help="How many subjects.")],
    slices: Annotated[int, typer.Option(min=1, help="Slices a subject.")] = 18,
    size: Annotated[int, typer.Option(min=32, help="Pixels a side.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same voxels.")] = 0,
    anatomy: Annotated[str, typer.Option(help="rat, human, shapes or mixed.")] = "mixed",
) -> None:
    """Simulate examinations: three images, the noise-free ones and labels for each subject."""
    if anatomy not in ("rat", "human", "shapes", "mixed"):
        raise LIPCARError(f"Unknown anatomy '{anatomy}'; expected rat, human, shapes or mixed.")
    with _progress_bar("Simulating", subjects) as (bar, task):
        for folder in write_simulated_cohort(cohort, subjects, slices=slices, size=size, seed=seed, anatomy=anatomy):
            bar.update(task, advance=1, info=folder.name)
    out.print(f"{subjects} subjects of {slices} slices in {cohort}", highlight=False)


@app.command()
def train(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort, one folder a subject.")],
    output: Annotated[Path, typer.Option(help="Folder of the model to make.")],
    predose: Annotated[bool, typer.Option(help="Whether the networks take the pre-dose image.")] = True,
    epochs: Annotated[int, typer.Option(min=1)] = 80,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints in the output folder.")] = False,
    residual: Annotated[bool, typer.Option(help="Learn the change, or the paper's plain network.")] = True,
    smooth: Annotated[bool, typer.Option(help="A differentiable activation instead of LeakyReLU.")] = False,
    difference_start: Annotated[
        bool, typer.Option(help="Start half of the first layer on the difference to the pre-dose image.")
    ] = True,
    learning_rate: Annotated[float, typer.Option(help="Peak of Adam's step.")] = 5e-4,
    l1: Annotated[float, typer.Option(help="Weight of the mean absolute error beside 1 - SSIM.")] = 1.0,
    batch: Annotated[int, typer.Option(min=1)] = 4,
    start: Annotated[str | None, typer.Option(help="A model's name or folder, to go on from its weights.")] = None,
    crop: Annotated[int, typer.Option(min=16, help="Pixels a side of a training crop.")] = 128,
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share of the subjects kept out of training.")] = 0.15,
    precision: Annotated[str, typer.Option(help="float32, or bfloat16 where the processor has it.")] = "float32",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    score: Annotated[bool, typer.Option(help="Measure the model on the subjects held out, for its card.")] = True,
    snapshot: Annotated[
        list[int] | None, typer.Option(help="Keep the prior of this epoch too, as OUTPUT/epoch-NN; several times.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="A sentence for the model card.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a model, a prior and a forward operator, and measure it on the subjects held out."""
    settings = training.TrainingSettings(
        predose=predose,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        l1=l1,
        crop=crop,
        held_out=held_out,
        residual=residual,
        smooth=smooth,
        difference_start=difference_start,
        precision=precision,
        seed=seed,
    )
    words = {} if description is None else {"description": description}
    epochs_ = training.train(
        cohort, output, settings, device=device, resume=resume, start=start, snapshots=snapshot or (), **words
    )
    with _progress_bar("Training", 2 * epochs) as (bar, task):
        for epoch in epochs_:
            done = epoch.epoch + (epochs if epoch.role == "forward_operator" else 0)
            bar.update(task, completed=done, info=_epoch_line(epoch) + _time_left(epoch.seconds_left))
            if not err.is_terminal:
                err.print(_epoch_line(epoch), highlight=False)
    kept_out = read_manifest(output)["training"]["held_out_subjects"]
    _record_operator_error(output, [cohort / name for name in kept_out])
    error = read_manifest(output)["forward_operator_error"]
    for early in (output / training.snapshot_name(epoch) for epoch in snapshot or ()):
        write_manifest(early, read_manifest(early) | {"forward_operator_error": error})  # it is the same operator
    if not score:
        return
    card = experiment.CARD_METHODS, experiment.CARD_ALPHAS
    what = experiment.Experiment((load_model(output),), *card, device=device)
    _evaluate(what, [cohort / name for name in kept_out], None, record=output)


@app.command()
def evaluate(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort, one folder a subject.")],
    output: Annotated[Path | None, typer.Option(help="Folder for tables, figures and the report.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A name or a folder; may be given several times.")] = None,
    methods: Annotated[str, typer.Option(help="Of these, separated by commas.")] = ",".join(experiment.METHODS),
    alpha: AlphasOption = None,
    dose_fraction: Annotated[
        float | None, typer.Option(help="Low dose over full dose; default: what a simulated cohort tells.")
    ] = None,
    tell_dose: TellDoseOption = False,
    solver: Annotated[str, typer.Option(help="proximal or adam.")] = "proximal",
    iterations: Annotated[int | None, typer.Option(help="As in lipcar enhance.")] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only the subjects that the training of all models kept out.")
    ] = False,
    record: Annotated[bool, typer.Option("--record", help="Write the scores into the one model's card.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """The paper's experiment: compare methods and models on a cohort. Goes on where it was interrupted."""
    folders = subject_folders(cohort)
    names = model or _shipped_models(folders)
    models = tuple(load_model(name) for name in names)
    if held_out:
        folders = _held_out(folders, models)
    if record and (model is None or len(model) != 1 or not Path(model[0]).is_dir()):
        raise LIPCARError("--record needs one --model, the folder of the model to write to.")
    if record:
        chosen, alphas = experiment.CARD_METHODS, experiment.CARD_ALPHAS
    else:
        chosen, alphas = [name.strip() for name in methods.split(",")], (AUTO, reconstruction.ALPHA)
    if alpha:
        alphas = [check_alpha(one) for one in alpha]
    if record:
        _record_operator_error(Path(names[0]), folders)  # a rule for alpha needs it
        models = (load_model(names[0]),)
    settings = dose_fraction, solver, iterations, device
    what = experiment.Experiment(models, tuple(chosen), tuple(alphas), *settings, tell_dose=tell_dose)
    _evaluate(what, folders, output, record=Path(model[0]) if record else None)


@app.command()
def robustness(
    cohort: Annotated[Path, typer.Argument(help="Folder of the cohort, one folder a subject.")],
    output: Annotated[Path, typer.Option(help="Folder for tables and curves.")],
    model: Annotated[list[str] | None, typer.Option(help="A name or a folder; may be given several times.")] = None,
    disturb: Annotated[
        str, typer.Option(help="Of these, separated by commas; noise:0.05 is one level of noise.")
    ] = ",".join(LEVELS),
    alpha: AlphasOption = None,
    tell_dose: TellDoseOption = False,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only the subjects that the training of all models kept out.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """How network and LIP-CAR bear noise, motion, other gains, doses and scanners, a wrong pre-dose image: curves."""
    folders = subject_folders(cohort)
    models = tuple(load_model(name) for name in model or _shipped_models(folders))
    if held_out:
        folders = _held_out(folders, models)
    wanted = _disturbances(disturb)
    curves: dict[str, dict[float, list[experiment.SubjectResult]]] = {}
    methods = ("as-is", "nn", "lip-car")
    alphas = tuple(check_alpha(a) for a in alpha or [AUTO])
    what = experiment.Experiment(models, methods, alphas, device=device, tell_dose=tell_dose)
    for disturbance in wanted:
        name = f"{disturbance.kind}-{disturbance.level:g}"
        err.print(name, highlight=False)
        results, _ = _run(replace(what, disturbance=disturbance), folders, output / name)
        curves.setdefault(disturbance.kind, {})[disturbance.level] = results
    for path in write_curves(output, curves, _baseline(what)):
        out.print(f"Wrote {path}", highlight=False, soft_wrap=True)


def _disturbances(words: str) -> list[Disturbance]:
    """From "noise:0.05,shift": one level of noise, all of shift."""
    found = []
    for word in words.split(","):
        kind, _, level = word.strip().partition(":")
        try:
            levels = (float(level),) if level else LEVELS[Disturbance(kind, 0.0).kind]
        except ValueError as error:
            raise LIPCARError(
                f"The disturbance '{word}' has no number as its level; expected e.g. noise:0.05."
            ) from error
        found += [Disturbance(kind, one) for one in levels]
    return found


def _held_out(folders: Sequence[Path], models: Sequence[Model]) -> list[Path]:
    kept = [set(m.manifest["training"]["held_out_subjects"]) for m in models]
    found = [folder for folder in folders if all(folder.name in subjects for subjects in kept)]
    if not found:
        names = ", ".join(m.name for m in models)
        raise LIPCARError(f"None of the subjects held out from {names} is in '{folders[0].parent}'.")
    return found


def _shipped_models(folders: Sequence[Path]) -> list[str]:
    """Both, where the cohort has pre-dose images."""
    has_predose = all((folder / "predose.nrrd").is_file() for folder in folders)
    return [default_model(uses) for uses in ([False, True] if has_predose else [False])]


def _run(
    what: experiment.Experiment, folders: Sequence[Path], output: Path | None
) -> tuple[list[experiment.SubjectResult], list[experiment.Failure]]:
    """Run an experiment, drawing its progress."""
    results: list[experiment.SubjectResult] = []
    failures: list[experiment.Failure] = []
    with _progress_bar("Evaluating", len(folders)) as (bar, task):
        for event in experiment.run_experiment(what, folders, output):
            if isinstance(event, reconstruction.Progress):
                bar.update(task, info=f"slice {event.slices_done + 1} of {event.slices_total} on {event.device}")
                continue
            (failures if isinstance(event, experiment.Failure) else results).append(event)
            bar.update(task, advance=1, info=event.subject)
            if not err.is_terminal:
                done = len(results) + len(failures)
                err.print(f"{event.subject} done, {done} of {len(folders)}", highlight=False)
    for failure in failures:
        err.print(f"[yellow]Left out:[/] {failure.subject}: {failure.reason}", highlight=False)
    if not results:
        raise LIPCARError(f"None of the {len(folders)} subjects could be evaluated; the reasons are above.")
    return results, failures


def _baseline(what: experiment.Experiment) -> str | None:
    """What the others are compared with: the network with pre-dose image if there is one, else the first."""
    labels = [what.label(m) for m in what.models if "nn" in what.methods]
    return next((label for label in labels if "PL2H" in label), labels[0] if labels else None)


def _evaluate(what: experiment.Experiment, folders: list[Path], output: Path | None, record: Path | None) -> None:
    results, failures = _run(what, folders, output)
    baseline = _baseline(what)
    for table in _comparison_tables(results, baseline):
        out.print(table)
    if output is not None:
        for path in write_experiment(output, what, results, failures, baseline, "LIPCAR: the experiment"):
            out.print(f"Wrote {path}", highlight=False, soft_wrap=True)
    if record is not None:
        manifest = read_manifest(record)
        manifest["metrics"] = experiment.card_scores(what, results)
        write_manifest(record, manifest)


def _record_operator_error(model: Path, folders: Sequence[Path]) -> None:
    """Measure the forward operator's error on these subjects and write it into the model's card."""
    error = experiment.measure_operator_error(load_model(model), (read_subject(folder) for folder in folders))
    write_manifest(model, read_manifest(model) | {"forward_operator_error": error})


@models_app.command("list")
def list_command() -> None:
    """The shipped models."""
    table = Table("name", "pre-dose", "trained on", "description", box=None)
    for entry in list_models():
        manifest = read_manifest(entry.folder)
        subjects = len(manifest.get("training", {}).get("training_subjects", []))
        table.add_row(
            entry.name, "yes" if manifest["uses_predose"] else "no", f"{subjects} subjects", manifest["description"]
        )
    out.print(table)


@models_app.command("show")
def show_command(name: Annotated[str, typer.Argument(help="A shipped model's name or a model's folder.")]) -> None:
    """A model's card: what it is, what it was trained on, what was measured."""
    manifest = read_manifest(name)
    settings = manifest.get("training", {})
    out.print(f"[bold]{manifest['name']}[/]  {manifest.get('description', '')}", highlight=False)
    for key in ("intended_use", "licence", "uses_predose", "architecture", "scale"):
        out.print(f"{key}: {manifest.get(key)}", highlight=False)
    out.print(f"trained on: {settings.get('cohort')}", highlight=False)
    out.print(f"training settings: {settings.get('settings')}", highlight=False)
    for role, entry in manifest["files"].items():
        out.print(f"{role}: {entry['path']}, SHA-256 {entry['sha256']}", highlight=False, soft_wrap=True)
    measured = manifest.get("metrics", {})
    if measured:
        title = f"{len(measured['subjects'])} held-out subjects, {measured['slices']} slices"
        out.print(_scores_table(measured["means_over_slices"], title))
    if "forward_operator_error" in manifest:
        squares = manifest["forward_operator_error"]["mean_squares"]
        values = ", ".join(f"{square**0.5:.4f}" for square in squares)
        out.print(f"error of the forward operator, rms by band from fine to coarse: {values}", highlight=False)


@models_app.command("verify")
def verify_command(
    name: Annotated[str | None, typer.Argument(help="A model; all shipped ones by default.")] = None,
) -> None:
    """Check every file of a model against its manifest."""
    for model in [name] if name is not None else [entry.name for entry in list_models()]:
        for path, digest in verify_model(model).items():
            out.print(f"{model}/{path}: OK, SHA-256 {digest}", highlight=False, soft_wrap=True)


# Small things


def _load(name: str | None, has_predose: bool) -> Model:
    return load_model(default_model(has_predose) if name is None else name)


def _check_outputs(inputs: Sequence[Path], images: Sequence[Path], others: Sequence[Path]) -> None:
    """Before anything is computed: every output can be written, no two are one, none replaces an input."""
    for path in images:
        check_output(path)
    for path in others:
        check_place(path)
    outputs = [path.resolve() for path in (*images, *others)]
    for path in outputs:
        if outputs.count(path) > 1:
            raise LIPCARError(f"'{path}' is named for two outputs; give each its own file.")
        if path in [p.resolve() for p in inputs]:
            raise LIPCARError(f"'{path}' is an input and would be overwritten; choose another output.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LIPCARError(f"The folder '{folder}' cannot be made: {error.strerror}.") from error


@contextlib.contextmanager
def _progress_bar(title: str, total: float = 1.0) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.fields[info]}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar, bar.add_task(title, total=total, info="")


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes} min left" if minutes > 2 else f", {60 * minutes + rest} s left"


def _epoch_line(progress: training.TrainingProgress) -> str:
    return (
        f"{progress.role} epoch {progress.epoch}/{progress.epochs}, loss {progress.loss:.4f}, "
        f"held-out SSIM {progress.validation_ssim:.4f}"
    )


def _metrics_table(metrics: dict[str, dict[str, list[float | None]]]) -> Table:
    """Means over the slices, against the high-dose image."""
    table = Table("mean over slices", "SSIM", "PSNR (dB)", "RMSE", box=None)
    for name, scores in metrics.items():
        values = [[v for v in scores[key] if v is not None] for key in ("ssim", "psnr", "rmse")]
        digits = (4, 2, 4)
        cells = [f"{sum(v) / len(v):.{d}f}" if v else "-" for v, d in zip(values, digits, strict=True)]
        table.add_row(name, *cells)
    return table


def _comparison_tables(results: Sequence[experiment.SubjectResult], baseline: str | None) -> Iterator[Table]:
    """Means and intervals over the whole image and the body, against the acquired image."""
    scores = [row for result in results for row in result.scores]
    for region in ("image", "body"):
        rows = compare(scores, region, "acquired", baseline)
        count = max(row.slices for row in rows)
        title = f"{region}: {len(results)} subjects, {count} slices, against the acquired high-dose image"
        table = Table("method", "SSIM", "PSNR (dB)", "RMSE", title=title, title_justify="left", box=None)
        if baseline is not None:
            table.add_column(f"SSIM - {baseline}")
            table.add_column("better on")
        for method in dict.fromkeys(row.method for row in rows):
            own = {row.score: row for row in rows if row.method == method}
            cells = [
                f"{own[score].value.mean:.{digits}f}" if score in own else "-"
                for score, digits in (("ssim", 4), ("psnr", 2), ("rmse", 4))
            ]
            difference = own["ssim"].difference if "ssim" in own else None
            if difference is not None:
                cells.append(f"{difference.mean:+.4f} ({difference.low:+.4f}, {difference.high:+.4f})")
                cells.append(f"{own['ssim'].improved:.0%}")
            table.add_row(method, *cells)
        yield table


def _scores_table(scores: dict[str, dict[str, float]], title: str) -> Table:
    keys = list(next(iter(scores.values())))
    table = Table("image", *(key.replace("_", " ") for key in keys), title=title, title_justify="left", box=None)
    for name, row in scores.items():
        table.add_row(name, *(f"{row[key]:.4f}" for key in keys))
    return table
