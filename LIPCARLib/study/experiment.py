"""The paper's experiment (section 3): which methods are compared, and the images that each of them gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from .. import __version__
from ..errors import LIPCARError
from ..imaging import Examination
from ..inverse import ALPHA, AUTO, Model, Progress, check_alpha, choose_device, reconstruct
from ..inverse.reconstruction import SOLVERS
from ..json_file import Field, complaints, integer, number
from ..learning import Subject
from .disturbances import Disturbance

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
SOLVED = frozenset({"lip-car", "tv"})
"""Methods that have an alpha."""
_OPTIONS = {
    "dose_fraction": number(0, 1, above=True),
    "solver": Field(f"one of: {', '.join(SOLVERS)}", lambda value: value in SOLVERS),
    "iterations": integer(1, 100_000),
}
"""What they may be where they are given."""

Images = dict[str, np.ndarray]
"""(S, H, W) by method, in intensity units."""


@dataclass(frozen=True)
class Experiment:
    """What is compared.

    Attributes:
        models: each gives a network of its own; without one, only the baselines are left.
        methods: of METHODS.
        alphas: of LIP-CAR and TV: "auto" or numbers.
        dose_fraction: low dose over full dose, for the extrapolation; None takes what a simulated cohort tells.
        solver, iterations, device: as in `inverse.reconstruct`.
        disturbance: what goes wrong in every subject, if anything.
        tell_dose: whether the models' methods are told the dose fraction, a disturbance of the dose included.
        tell_acquisition: whether they are told how the images were acquired, where sidecars or a simulated cohort's
            parameters tell it: a scanner writes that into every header, the dose fraction into none.

    Raises:
        LIPCARError: an option that no subject could be evaluated with; two models that tables could not tell apart.
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
    tell_acquisition: bool = True

    def __post_init__(self) -> None:
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown:
            raise LIPCARError(f"Unknown method '{unknown[0]}'; expected some of: {', '.join(METHODS)}.")
        given = {name: value for name in _OPTIONS if (value := getattr(self, name)) is not None}
        for complaint in complaints(given, {name: _OPTIONS[name] for name in given}):
            raise LIPCARError(f"An option of the experiment is {complaint}.")
        for alpha in self.alphas:
            check_alpha(alpha)
        if self.solves_auto and self.solver != "proximal":
            raise LIPCARError(
                f"The solver '{self.solver}' takes a number for alpha (the paper's is {ALPHA}), not '{AUTO}'."
            )
        choose_device(self.device)
        labels = [self.label(model) for model in self.models]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise LIPCARError(f"Two models would both be called '{twice[0]}' in every table. Give one, or rename one.")

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
            "tell_acquisition": self.tell_acquisition,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    @property
    def solves_auto(self) -> bool:
        """Whether anything is computed with alpha "auto"."""
        return AUTO in self.alphas and not SOLVED.isdisjoint(self.methods)

    @property
    def baseline(self) -> str | None:
        """What the others are compared with: the network with pre-dose image if there is one, else the first."""
        labels = [self.label(model) for model in self.models if "nn" in self.methods]
        return next((label for label in labels if "PL2H" in label), labels[0] if labels else None)

    def label(self, model: Model) -> str:
        """The paper's name of the model's prior ("NN" where that is a network), as :meth:`label_of`."""
        return self.label_of("NN" if model.has_weights else "prior", model)

    def label_of(self, method: str, model: Model) -> str:
        """The paper's name of what a method does with a model, with the model's own where two share it."""
        label = f"{method}-{model.family}"
        same = [m for m in self.models if m.family == model.family]
        return label if len(same) == 1 else f"{label} {model.name}"

    def told_dose(self, dose_fraction: float | None) -> float | None:
        """What the models' methods are told of a dose fraction that is known."""
        if not self.tell_dose or dose_fraction is None:
            return None
        given = self.disturbance
        return dose_fraction * (given.level if given is not None and given.kind == "dose" else 1.0)


def compute_images(
    experiment: Experiment, subject: Subject, dose_fraction: float | None, unmatched: Examination | None = None
) -> Generator[Progress, None, Images]:
    """Every method's volume by its name; yields the progress of the reconstructions.

    Where the examination has no usable pre-dose image, a model that needs one gives way to one that does not, if there
    is one: that is what `lipcar enhance` does.

    Args:
        dose_fraction: for the extrapolation, and for the models where the experiment tells it; None leaves it out.
        unmatched: the same examination with its pre-dose image as it came; None leaves "as-is" out.
    """
    e = subject.examination
    images = baseline_images(experiment, subject, dose_fraction)
    told = experiment.told_dose(dose_fraction)
    for wanted in experiment.models:
        label = experiment.label(wanted)
        if unmatched is not None and not (wanted.uses_predose and unmatched.predose is None):
            images[f"{label} as is"] = yield from _prior(experiment, unmatched, wanted, None)
        model = next((m for m in (wanted, *experiment.models) if not m.uses_predose or e.predose is not None), None)
        if model is not None:
            images |= yield from _model_images(experiment, e, model, wanted, told if model.uses_predose else None)
    return images


def baseline_images(experiment: Experiment, subject: Subject, dose_fraction: float | None) -> Images:
    """The methods that need no model."""
    e = subject.examination
    images: Images = {}
    if "predose" in experiment.methods and e.predose is not None:
        images["pre-dose"] = e.predose
    if "lowdose" in experiment.methods:
        images["low-dose"] = e.lowdose
    if "fit" in experiment.methods:
        images["gain and offset (oracle)"] = best_fit(subject)
    if "extrapolation" in experiment.methods and e.predose is not None and dose_fraction is not None:
        images["extrapolation"] = np.maximum(e.predose + (e.lowdose - e.predose) / np.float32(dose_fraction), 0)
    return images


def best_fit(subject: Subject) -> np.ndarray:
    """a x_L + b, at least 0, with the a and b that come nearest to the high-dose image: no method can know them."""
    x = subject.examination.lowdose.astype(np.float64)
    y = subject.highdose.astype(np.float64)
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / x.var())
    fit: np.ndarray = np.maximum(slope * x + (y.mean() - slope * x.mean()), 0)
    return fit.astype(np.float32)


def _model_images(
    experiment: Experiment, examination: Examination, model: Model, wanted: Model, told: float | None
) -> Generator[Progress, None, Images]:
    """The prior alone, LIP-CAR and TV of a model, by the names that those of the wanted one have."""
    images: Images = {}
    label = experiment.label(wanted)
    for method, name in (("lip-car", "LIP-CAR"), ("tv", "TV")):
        for alpha in experiment.alphas if method in experiment.methods else ():
            result = yield from reconstruct(
                examination,
                model,
                alpha=alpha,
                solver=experiment.solver,
                iterations=experiment.iterations,
                device=experiment.device,
                around_prior=method == "lip-car",
                dose_fraction=told,
            )
            if "nn" in experiment.methods:
                images[label] = result.prior
            images[f"{experiment.label_of(name, wanted)} {alpha}"] = result.highdose
    if "nn" in experiment.methods and label not in images:
        images[label] = yield from _prior(experiment, examination, model, told)
    return images


def _prior(
    experiment: Experiment, examination: Examination, model: Model, told: float | None
) -> Generator[Progress, None, np.ndarray]:
    """The network alone, for the price of one step of the solver."""
    result = yield from reconstruct(
        examination, model, alpha=ALPHA, iterations=1, device=experiment.device, dose_fraction=told
    )
    return result.prior
