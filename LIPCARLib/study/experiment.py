"""The paper's experiment on any cohort: methods and baselines, scores by slice and region, resumable by subject."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from .. import __version__
from ..errors import LIPCARError
from ..imaging import Examination, write_files
from ..inverse import ALPHA, AUTO, Model, Progress, Result, operator_for, reconstruct
from ..inverse import evidence as trust
from ..learning import Subject, read_subject
from ..simulation import BRAIN_TISSUES, Tissue
from .disturbances import Disturbance
from .evaluation import compare_slice

METHODS = {
    "predose": "the pre-dose image itself",
    "lowdose": "the low-dose image itself",
    "fit": "a x_L + b with the best a and b: an oracle, it sees the high-dose image",
    "extrapolation": "x_P + (x_L - x_P) / dose fraction",
    "as-is": "the network alone on the images as they come: pre-dose image neither matched nor left out",
    "nn": "the network alone (the prior): where LIP-CAR starts from",
    "lip-car": "LIP-CAR: GenTV around the prior",
    "tv": "the same with plain total variation",
}
"""What can be compared. The last four are computed with every model."""
REGIONS = ("image", "body", "brain", "tumor")
REFERENCES = ("acquired", "clean")
SCORES = ("ssim", "psnr", "rmse")
EXAMPLES = 6
"""Subjects of which a slice is kept for the figure."""
FALSE_PERCENTILE = 99.9
CARD_ALPHAS: tuple[float | str, ...] = (AUTO, ALPHA)
"""What a model card reports: the default rule and the paper's alpha."""
CARD_METHODS = ("predose", "lowdose", "nn", "lip-car")


@dataclass(frozen=True)
class Score:
    """One slice of one method in one region against one reference, in model scale; None where it does not exist."""

    subject: str
    slice: int
    method: str
    reference: str
    region: str
    ssim: float | None
    psnr: float | None
    rmse: float | None


@dataclass(frozen=True)
class LesionScore:
    """One method's rendering of one subject's lesion, or of its absence; None where it does not apply.

    Attributes:
        contrast_to_noise: (mean of tumor - mean of brain) / standard deviation of brain.
        lesion_to_brain: mean of tumor / mean of brain.
        false_enhancement: in a subject without tumor, the 99.9th percentile over the brain of what the method shows
            above the reference, averaged over 3 x 3 pixels, in model scale.
    """

    subject: str
    method: str
    contrast_to_noise: float | None
    lesion_to_brain: float | None
    false_enhancement: float | None


@dataclass(frozen=True)
class SubjectResult:
    """All scores of a subject, and the slice that was kept of it (None: none was)."""

    subject: str
    scores: list[Score]
    lesions: list[LesionScore]
    example: int | None


@dataclass(frozen=True)
class Failure:
    """A subject that could not be evaluated, and why."""

    subject: str
    reason: str


@dataclass(frozen=True)
class Experiment:
    """What is compared.

    Attributes:
        models: each gives a network of its own; without one, only the baselines are left.
        methods: of METHODS.
        alphas: of LIP-CAR and TV: numbers or "auto".
        dose_fraction: low dose over full dose, for the extrapolation; None takes what a simulated cohort tells.
        solver, iterations, device: as in `reconstruct`.
        disturbance: what goes wrong in every subject, if anything.
        tell_dose: whether the models' methods are told the dose fraction, a disturbance of the dose included.
        reconstruct: what computes LIP-CAR and TV; Testing/ablations hands in others.
    """

    models: tuple[Model, ...]
    methods: tuple[str, ...] = tuple(METHODS)
    alphas: tuple[float | str, ...] = (AUTO, ALPHA)
    dose_fraction: float | None = None
    solver: str = "proximal"
    iterations: int | None = None
    device: str = "auto"
    disturbance: Disturbance | None = None
    tell_dose: bool = False
    reconstruct: Callable[..., Generator[Progress, None, Result]] = reconstruct

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown:
            raise LIPCARError(f"Unknown method '{unknown[0]}'; expected some of: {', '.join(METHODS)}.")

    @cached_property
    def digest(self) -> str:
        """Changes with everything that the results depend on but the device."""
        settings = {
            "lipcar": __version__,
            "models": [model.digest for model in self.models],
            "methods": self.methods,
            "alphas": self.alphas,
            "dose_fraction": self.dose_fraction,
            "solver": self.solver,
            "iterations": self.iterations,
            "disturbance": None if self.disturbance is None else asdict(self.disturbance),
            "tell_dose": self.tell_dose,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def label(self, model: Model) -> str:
        """The paper's name of the model's prior, with the model's own where two share it."""
        label = "NN-PL2H" if model.uses_predose else "NN-L2H"
        same = [m for m in self.models if m.uses_predose == model.uses_predose]
        return label if len(same) == 1 else f"{label} {model.name}"


def run_experiment(
    experiment: Experiment, folders: Sequence[Path], output: Path | None = None
) -> Iterator[SubjectResult | Failure | Progress]:
    """Evaluate the subjects of a cohort one by one, yielding progress and results.

    Each subject's scores are written to OUTPUT/subjects/<name>.json when they are complete; a subject whose file is
    there and was made with the same settings is read instead. A subject that cannot be evaluated is reported and
    tried again next time.

    Args:
        folders: of the subjects.
        output: created if missing; None writes nothing.

    Raises:
        LIPCARError: the output folder cannot be made.
    """
    others = {folder: other for folder, other in zip(folders, [*folders[1:], *folders[:1]], strict=True)}
    if output is None:
        for folder in folders:
            try:
                yield (yield from _evaluate(experiment, folder, others[folder], None))
            except LIPCARError as error:
                yield Failure(folder.name, str(error))
        return
    try:
        (output / "subjects").mkdir(parents=True, exist_ok=True)
        (output / "examples").mkdir(exist_ok=True)
    except OSError as error:
        raise LIPCARError(f"The folder '{output}' cannot be made: {error.strerror}. Choose another one.") from error
    kept = 0
    for folder in folders:
        record = output / "subjects" / f"{folder.name}.json"
        result = _read_record(record, experiment.digest)
        if result is None:
            try:
                examples = output / "examples" if kept < EXAMPLES else None
                result = yield from _evaluate(experiment, folder, others[folder], examples)
            except LIPCARError as error:
                yield Failure(folder.name, str(error))
                continue
            content = {"settings": experiment.digest, **asdict(result)}
            write_files({record: json.dumps(content, allow_nan=False).encode()})
        kept += result.example is not None
        yield result


def _evaluate(
    experiment: Experiment, folder: Path, other: Path, examples: Path | None
) -> Generator[Progress, None, SubjectResult]:
    def read(match_predose: bool) -> Subject:
        disturbance = experiment.disturbance
        if disturbance is None:
            return read_subject(folder, match_predose=match_predose)
        stranger = partial(read_subject, other, match_predose=False)
        return disturbance.apply(read_subject(folder, match_predose=False), stranger, match_predose)

    subject = read(True)
    unmatched = read(False).examination if "as-is" in experiment.methods else None
    images = yield from compute_images(experiment, subject, _dose_fraction(experiment, folder), unmatched)
    shown = None
    if examples is not None:
        shown = _example_slice(subject)
        if shown is not None:
            _write_example(examples / f"{subject.name}.nrrd", subject, images, shown)
    return SubjectResult(subject.name, score_slices(subject, images), score_lesion(subject, images), shown)


def compute_images(
    experiment: Experiment, subject: Subject, dose_fraction: float | None, unmatched: Examination | None = None
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """Every method's volume by its name, (S, H, W) in intensity units; yields the progress of the reconstructions.

    Where the examination has no usable pre-dose image, a model that needs one gives way to one that does not, if there
    is one: that is what `lipcar enhance` does.

    Args:
        dose_fraction: for the extrapolation, and for the models where the experiment tells it; None leaves it out.
        unmatched: the same examination with its pre-dose image as it came; None leaves "as-is" out.
    """
    e = subject.examination
    images: dict[str, np.ndarray] = {}
    if "predose" in experiment.methods and e.predose is not None:
        images["pre-dose"] = e.predose
    if "lowdose" in experiment.methods:
        images["low-dose"] = e.lowdose
    if "fit" in experiment.methods:
        images["gain and offset (oracle)"] = best_fit(e)
    if "extrapolation" in experiment.methods and e.predose is not None and dose_fraction is not None:
        images["extrapolation"] = np.maximum(e.predose + (e.lowdose - e.predose) / np.float32(dose_fraction), 0)
    told = None
    if experiment.tell_dose and dose_fraction is not None:
        given = experiment.disturbance
        told = dose_fraction * (given.level if given is not None and given.kind == "dose" else 1.0)
    for wanted in experiment.models:
        label = experiment.label(wanted)
        if unmatched is not None and not (wanted.uses_predose and unmatched.predose is None):
            steps = reconstruct(unmatched, wanted, device=experiment.device, alpha=ALPHA, iterations=1)
            images[f"{label} as is"] = (yield from steps).prior
        model = next((m for m in (wanted, *experiment.models) if not m.uses_predose or e.predose is not None), None)
        if model is None:
            continue
        for method in ("lip-car", "tv"):
            for alpha in experiment.alphas if method in experiment.methods else ():
                options = {"alpha": alpha, "solver": experiment.solver, "iterations": experiment.iterations}
                options["dose_fraction"] = told if model.uses_predose else None
                options["around_prior"] = method == "lip-car"
                result = yield from experiment.reconstruct(e, model, device=experiment.device, **options)
                if "nn" in experiment.methods:
                    images[label] = result.prior
                name = label.replace("NN", "LIP-CAR" if method == "lip-car" else "TV", 1)
                images[f"{name} {alpha}"] = result.highdose
        if "nn" in experiment.methods and label not in images:
            options = {"alpha": ALPHA, "iterations": 1, "dose_fraction": told if model.uses_predose else None}
            images[label] = (yield from reconstruct(e, model, device=experiment.device, **options)).prior
    return images


def card_scores(experiment: Experiment, results: Sequence[SubjectResult]) -> dict[str, Any]:
    """What a model card says of the experiment's one model: means over all slices, rounded to 4 digits.

    By image ("predose", "lowdose", "prior", "lip-car 0.006", ...): "ssim" over the image and "body_rmse", against the
    high-dose image as acquired, and with "clean_" before the name against the noise-free one where there is one.
    """
    (model,) = experiment.models
    label = experiment.label(model)
    names = {"pre-dose": "predose", "low-dose": "lowdose", label: "prior"}
    names |= {f"{label.replace('NN', 'LIP-CAR', 1)} {alpha}": f"lip-car {alpha}" for alpha in experiment.alphas}
    rows = [row for result in results for row in result.scores]
    means: dict[str, dict[str, float]] = {}
    for method, name in names.items():
        for reference, prefix in (("acquired", ""), ("clean", "clean_")):
            for region, score, key in (("image", "ssim", "ssim"), ("body", "rmse", "body_rmse")):
                values = [
                    getattr(row, score)
                    for row in rows
                    if (row.method, row.reference, row.region) == (method, reference, region)
                ]
                values = [value for value in values if value is not None]
                if values:
                    means.setdefault(name, {})[prefix + key] = round(float(np.mean(values)), 4)
    slices = {(row.subject, row.slice) for row in rows}
    return {"subjects": [r.subject for r in results], "slices": len(slices), "means_over_slices": means}


def measure_operator_error(model: Model, subjects: Iterable[Subject]) -> dict[str, Any]:
    """What a model's card says of its forward operator: how far F(x_H) is from x_L, by band of spatial frequency.

    Per band, what nine of ten slices (`trust.QUANTILE`) stay below in mean square over the body, in model scale, after
    the noise of x_L is taken off. From the noise-free high-dose image where there is one.

    Args:
        model: where it is.
        subjects: that did not train it.

    Raises:
        LIPCARError: the model needs a pre-dose image that a subject lacks.
    """
    rows = []
    device = next(model.parameters()).device
    for subject in subjects:
        e = subject.examination
        high = e.highdose if subject.clean_highdose is None else subject.clean_highdose
        volumes = [e.lowdose, high] + ([e.predose] if model.uses_predose and e.predose is not None else [])
        floor, sigma = e.noise_floor / e.scale, e.noise / e.scale
        forward_operator, _ = operator_for(model, e)
        noise = sigma**2 * trust.noise_energies(*e.lowdose.shape[1:], device)
        for z in range(len(e.lowdose)):
            images = [torch.from_numpy(v[z][None, None] / np.float32(e.scale)).to(device) for v in volumes]
            inside = trust.body(images[0], floor)
            if inside.any():
                with torch.no_grad():
                    residual = forward_operator(images[1], images[2] if len(images) > 2 else None) - images[0]
                rows.append((trust.band_energies(residual, inside)[0] - noise).clamp_min(0).cpu())
    errors = torch.stack(rows).quantile(trust.QUANTILE, dim=0)
    return {
        "widths": list(trust.WIDTHS),
        "mean_squares": [float(f"{value:.4g}") for value in errors],
        "quantile": trust.QUANTILE,
        "slices": len(rows),
    }


def best_fit(examination: Examination) -> np.ndarray:
    """a x_L + b, at least 0, with the a and b that come nearest to the high-dose image: no method can know them."""
    x = examination.lowdose.astype(np.float64)
    y = examination.highdose.astype(np.float64)
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / x.var())
    return np.maximum(slope * x + (y.mean() - slope * x.mean()), 0).astype(np.float32)


def score_slices(subject: Subject, images: dict[str, np.ndarray]) -> list[Score]:
    """SSIM, PSNR and RMSE of every slice in every region that there is, against every reference that there is."""
    scale = subject.examination.scale
    references = {"acquired": subject.examination.highdose, "clean": subject.clean_highdose}
    regions = _regions(subject)
    rows = []
    for method, image in images.items():
        for reference, target in references.items():
            if target is None:
                continue
            for index in range(len(image)):
                for region, mask in regions.items():
                    inside = None if mask is None else mask[index]
                    if inside is None or inside.any():
                        values = compare_slice(image[index], target[index], scale, inside)
                        rows.append(Score(subject.name, index, method, reference, region, *values))
    return rows


def score_lesion(subject: Subject, images: dict[str, np.ndarray]) -> list[LesionScore]:
    """How each method, and the high-dose image itself, shows the lesion; nothing without labels of a brain."""
    if subject.labels is None:
        return []
    brain, tumor = np.isin(subject.labels, BRAIN_TISSUES), subject.labels == Tissue.TUMOR
    if not brain.any():
        return []
    e = subject.examination
    reference = e.highdose if subject.clean_highdose is None else subject.clean_highdose
    rows = []
    for method, image in {**images, "high-dose": e.highdose}.items():
        normal = image[brain]
        if tumor.any():
            lesion = float(image[tumor].mean())
            noise, level = float(normal.std()), float(normal.mean())
            contrast = (lesion - level) / noise if noise else None
            rows.append(LesionScore(subject.name, method, contrast, lesion / level if level else None, None))
            continue
        excess = mean3x3((image - reference) / np.float32(e.scale))
        rows.append(
            LesionScore(subject.name, method, None, None, float(np.percentile(excess[brain], FALSE_PERCENTILE)))
        )
    return rows


def mean3x3(volume: np.ndarray) -> np.ndarray:
    """(S, H, W), each pixel averaged with its neighbors in the slice."""
    padded = torch.nn.functional.pad(torch.from_numpy(volume)[:, None], (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.avg_pool2d(padded, 3, stride=1)[:, 0].numpy()


def _regions(subject: Subject) -> dict[str, np.ndarray | None]:
    labels = subject.labels
    if labels is None:
        high = subject.examination.highdose / subject.examination.scale
        return {"image": None, "body": high > trust.BODY_THRESHOLD}
    found = {
        "body": labels != Tissue.AIR,
        "brain": np.isin(labels, BRAIN_TISSUES),
        "tumor": labels == Tissue.TUMOR,
    }
    return {"image": None, **{region: mask for region, mask in found.items() if mask.any()}}


def _dose_fraction(experiment: Experiment, folder: Path) -> float | None:
    if experiment.dose_fraction is not None:
        return experiment.dose_fraction
    try:
        return float(json.loads((folder / "parameters.json").read_text(encoding="utf-8"))["dose_fraction"])
    except (OSError, ValueError, KeyError):
        return None


def _example_slice(subject: Subject) -> int | None:
    """The slice with most tumor; without labels, the one that changes most; None where there is no tumor."""
    if subject.labels is not None:
        counts = (subject.labels == Tissue.TUMOR).sum((1, 2))
        return int(counts.argmax()) if counts.any() else None
    change = subject.examination.highdose - subject.examination.lowdose
    return int(np.percentile(change, 99.9, axis=(1, 2)).argmax())


def _write_example(path: Path, subject: Subject, images: dict[str, np.ndarray], index: int) -> None:
    """One slice of every image, then the high-dose image and the tumor's mask, as the slices of one volume."""
    layers = {**images, "high-dose": subject.examination.highdose}
    planes = [image[index] / np.float32(subject.examination.scale) for image in layers.values()]
    tumor = np.zeros_like(planes[0]) if subject.labels is None else subject.labels[index] == Tissue.TUMOR
    stack = sitk.GetImageFromArray(np.stack([*planes, tumor.astype(np.float32)]))
    write_files({path: stack}, {"layers": json.dumps([*layers, "tumor"])})


def read_example(path: Path) -> dict[str, np.ndarray]:
    """What was kept of a subject: (H, W) images in model scale by method, "high-dose", and "tumor" (0 or 1)."""
    image = sitk.ReadImage(str(path))
    return dict(zip(json.loads(image.GetMetaData("layers")), sitk.GetArrayFromImage(image), strict=True))


def _read_record(path: Path, digest: str) -> SubjectResult | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["settings"] != digest:
            return None
        return SubjectResult(
            content["subject"],
            [Score(**row) for row in content["scores"]],
            [LesionScore(**row) for row in content["lesions"]],
            content["example"],
        )
    except (OSError, ValueError, KeyError, TypeError):  # not there, cut short, or of another version
        return None
