"""The one pipeline: a checked examination in, progress out, a simulated high-dose volume out."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import LIPCARError
from ..imaging import Examination
from ..physics import DOSE_FRACTION
from . import consistency
from .alpha import ALPHA, AUTO, check_alpha
from .conditions import Conditions
from .devices import (
    batch_size,
    choose_device,
    describe,
    fast_precision,
    is_out_of_memory,
    lane_count,
    release_memory,
)
from .lanes import side_by_side
from .progress import Clock, Progress
from .regularizers import GenTV
from .result import Records, Result, Volumes, assembled, finite
from .session import Model, Session, Slices
from .solvers import ADAM_STEPS, PROXIMAL_EVALUATIONS, Objective, Solver, Step, Stop, adam, proximal

SOLVERS = {"proximal": PROXIMAL_EVALUATIONS, "adam": ADAM_STEPS}
"""The solvers and their default number of iterations (network evaluations for `proximal`, steps for `adam`)."""
PRECISIONS = ("auto", "float32")
WORTH_A_CHECK = 12
"""Slices: for fewer, the check of a precision takes longer than it saves."""
MOST_ITERATIONS = 10_000
"""A slice: the paper's experiments end long before."""
LEAST_FRACTION = 0.01
"""Of the full dose: a lower one would be magnified a hundredfold, noise and all."""
Reconstruction = Generator[Progress, None, Result]


def reconstruct(
    examination: Examination,
    model: Model,
    *,
    alpha: float | str = AUTO,
    solver: str = "proximal",
    iterations: int | None = None,
    device: str | torch.device = "auto",
    slices_at_once: int | None = None,
    data_consistency: bool = False,
    around_prior: bool = True,
    dose_fraction: float | None = None,
    precision: str = "auto",
) -> Reconstruction:
    """Simulate the high-dose volume of an examination, slice by slice in batches.

    A generator: yields the progress after every solver step of a slice; `close` cancels; the result is its return
    value (see :func:`complete`). Nothing outside is changed before that. Arguments are checked at the first `next`.

    Args:
        examination: checked; its own scale, acquisition and map of T1 are used.
        model: moved to the device.
        alpha: "auto" for the model's guess without its noise, which a solver improved on real images only where a
            map of T1 was told: there it is ALPHA for an anchored network; or the weight of the regularizer, a
            positive number (the paper's is ALPHA): the objective is the paper's own. Large values return the prior.
        solver: "proximal" or "adam".
        iterations: network evaluations ("proximal", at most) or steps ("adam") per slice; None for the default.
        device: as in :func:`devices.choose_device`.
        slices_at_once: so many, one such batch after the other; None decides by the device's free memory and, on a
            CPU, by its processors, which then work on slices side by side. The result does not depend on it beyond
            float rounding (which "adam" magnifies where a gradient is almost zero).
        data_consistency: whether the result holds F(x) - x_L, for one more forward pass of the network, which does
            not count as an evaluation.
        around_prior: False for plain total variation of x instead of GenTV around the prior, the paper's comparison.
        dose_fraction: the low dose over the full one, LEAST_FRACTION..1, where it is known: an anchored model inverts
            its equation for it; for a pair of networks the low-dose image is brought to the fraction that they were
            trained for (`physics.DOSE_FRACTION`), along its difference to the pre-dose image. None for about that one.
        precision: "float32"; or "auto", with which the networks of a model that offers it multiply in bfloat16 where
            alpha is "auto", the device is faster so, and the brightest slice comes out the same (`Model.agrees`).

    Raises:
        LIPCARError: an argument out of range; a dose fraction without a pre-dose image; "auto"
            with "adam"; a model that needs a pre-dose image the examination lacks; not even one slice fits the
            memory; a result that is not finite.

    >>> from LIPCARLib.inverse import complete, load_model
    >>> lowdose = np.zeros((1, 64, 64), np.float32)
    >>> lowdose[:, 16:48, 16:48] = 300 + 30 * np.random.default_rng(0).standard_normal((32, 32))
    >>> import SimpleITK
    >>> examination = Examination.from_images(SimpleITK.GetImageFromArray(lowdose))
    >>> result = complete(reconstruct(examination, load_model("vnet-lowdose"), device="cpu", iterations=2))
    >>> result.highdose.shape, result.provenance["alpha"]
    ((1, 64, 64), 'auto')
    """
    request = _checked(
        _Request(check_alpha(alpha), solver, iterations, data_consistency, around_prior, dose_fraction, precision),
        examination,
        model,
    )
    if slices_at_once is not None and slices_at_once < 1:
        raise LIPCARError(f"{slices_at_once} slices at once were asked for; at least 1 is expected.")
    device = choose_device(device) if isinstance(device, str) else device
    model.to(device)
    place = _Place.on(device, examination) if slices_at_once is None else _Place(device, slices_at_once, lanes=1)
    if dose_fraction is not None and not model.uses_predose:
        place.notices.append(f"The model '{model.name}' uses no pre-dose image, and so not the dose fraction either.")
        request = replace(request, dose_fraction=None)
    began = time.monotonic()
    volumes = Volumes.empty(examination.lowdose.shape, data_consistency)
    records = yield from _solve_all(examination, model, request, place, volumes)
    seconds = time.monotonic() - began
    told = _conditions(examination, dose_fraction, torch.device("cpu"), slice(0, 1))
    provenance = _provenance(examination, model, request, place)
    if not model.uses_acquisition:
        return finite(assembled(examination, volumes, records, seconds, provenance, tuple(place.notices)), model)
    shares = [share for some in records for share in some.unexplained]
    notices = (*place.notices, *told.assumptions(), *consistency.words(shares, examination.first_slice + 1))
    return finite(assembled(examination, volumes, records, seconds, provenance | told.provenance(), notices), model)


@dataclass(frozen=True)
class _Request:
    """What was asked for of every slice; the arguments of :func:`reconstruct`."""

    alpha: float | str
    solver: str
    iterations: int | None
    data_consistency: bool
    around_prior: bool
    dose_fraction: float | None
    precision: str

    @property
    def evaluations(self) -> int:
        return SOLVERS[self.solver] if self.iterations is None else self.iterations


def check_options(
    alpha: float | str = AUTO,
    solver: str = "proximal",
    iterations: int | None = None,
    dose_fraction: float | None = None,
) -> None:
    """Refuse what no examination could be reconstructed with, before there is one; see :func:`reconstruct`.

    Raises:
        LIPCARError: an argument out of range; "auto" with "adam".

    >>> check_options(dose_fraction=0.2)
    """
    _check(_Request(check_alpha(alpha), solver, iterations, False, True, dose_fraction, PRECISIONS[0]))


def _check(request: _Request) -> None:
    if request.solver not in SOLVERS:
        raise LIPCARError(f"Unknown solver '{request.solver}'; expected one of: {', '.join(SOLVERS)}.")
    if request.alpha == AUTO and request.solver != "proximal":
        raise LIPCARError(
            f"The solver '{request.solver}' is the paper's and takes a number for alpha (the paper's is {ALPHA}), "
            f"not '{AUTO}'. Give one, or choose the proximal solver."
        )
    if not 1 <= request.evaluations <= MOST_ITERATIONS:
        raise LIPCARError(
            f"{request.evaluations} iterations were asked for; at least 1 and at most {MOST_ITERATIONS} are expected."
        )
    if request.precision not in PRECISIONS:
        raise LIPCARError(f"Unknown precision '{request.precision}'; expected one of: {', '.join(PRECISIONS)}.")
    fraction = request.dose_fraction
    if fraction is not None and not LEAST_FRACTION <= fraction <= 1:
        raise LIPCARError(
            f"The dose fraction is {fraction}; the low dose over the full dose is expected, a number from "
            f"{LEAST_FRACTION} to 1 (the paper's is 0.2)."
        )


def _checked(request: _Request, examination: Examination, model: Model) -> _Request:
    _check(request)
    if model.uses_predose and examination.predose is None:
        why = "the one that was given was left out" if examination.predose_doubtful else "none was given"
        raise LIPCARError(
            f"The model '{model.name}' needs a pre-dose image and {why}. Give one that fits, or choose a model without "
            "pre-dose input."
        )
    lacking = not model.uses_predose and examination.predose is None and not examination.predose_doubtful
    if request.dose_fraction is not None and lacking:
        raise LIPCARError(
            f"A dose fraction of {request.dose_fraction} was given, but the model '{model.name}' uses no pre-dose "
            "image, without which what the agent changed is not known. Leave the dose fraction out, or choose a model "
            "with pre-dose input."
        )
    return request


@dataclass
class _Place:
    """Where and how slices are computed; what changes where the memory does not suffice, and what is said of it."""

    device: torch.device
    at_once: int
    lanes: int
    precision: torch.dtype = torch.float32
    notices: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, device: torch.device, examination: Examination) -> _Place:
        """As the device is best with."""
        total, height, width = examination.lowdose.shape
        lanes = min(total, lane_count(device, height, width))
        return cls(device, min(-(-total // lanes), batch_size(device, height, width)), lanes)

    def parts(self, wholes: list[slice]) -> list[slice]:
        """The same slices, not more of them in one part than at once."""
        starts = ((first, whole.stop) for whole in wholes for first in range(whole.start, whole.stop, self.at_once))
        return [slice(first, min(first + self.at_once, stop)) for first, stop in starts]

    def give_way(self, examination: Examination, first: int) -> bool:
        """After slices did not fit: to one lane, half of them, then the CPU; False where there is no less.

        Args:
            first: of the slices that are still to be computed.
        """
        count = min(self.at_once, len(examination.lowdose))
        if self.lanes > 1:
            self.lanes = 1
        elif count > 1:
            self.at_once = count // 2
        elif self.device.type != "cpu":
            self.notices.append(
                f"There is not enough memory on {describe(self.device)} for one slice; the CPU computed from slice "
                f"{examination.first_slice + first + 1} on. Close other programs to be faster."
            )
            there = self.on(torch.device("cpu"), examination)
            self.device, self.at_once, self.lanes, self.precision = there.device, there.at_once, 1, there.precision
        else:
            return False
        return True


def _solve_all(
    examination: Examination, model: Model, request: _Request, place: _Place, volumes: Volumes
) -> Generator[Progress, None, list[Records]]:
    """Fill the volumes in batches, in smaller ones or on the CPU where the memory does not suffice."""
    total, height, width = examination.lowdose.shape
    clock = Clock(total, describe(place.device))
    yield clock.progress(0)
    done: dict[int, Records] = {}
    waiting = [slice(0, total)]
    while waiting:
        device, parts = place.device, place.parts(waiting)
        try:
            if not done and request.precision == "auto" and request.alpha == AUTO:
                place.precision = _precision(examination, model, request, device)
            works = [_kept(done, examination, model, request, place, volumes, part) for part in parts]
            shares = [0.0] * len(parts)
            for index, share in side_by_side(works, place.lanes):
                shares[index] = share
                yield clock.progress(*_counted(parts, shares, done))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            first = min(part.start for part in parts if part.start not in done)
            if not place.give_way(examination, first):
                raise LIPCARError(
                    f"There is not enough memory on {clock.device} for one slice of {height} x {width} pixels. Close "
                    "other programs."
                ) from error
        waiting = [part for part in parts if part.start not in done]
        if waiting:  # outside the handler, whose traceback held what did not fit
            model.to(place.device)
            release_memory(device)
            clock.device = describe(place.device)
    return [done[first] for first in sorted(done)]


def _kept(
    done: dict[int, Records],
    examination: Examination,
    model: Model,
    request: _Request,
    place: _Place,
    volumes: Volumes,
    part: slice,
) -> Generator[float, None, None]:
    """Solve some slices and keep what is told of them by the first."""
    done[part.start] = yield from _solve(examination, model, request, place, volumes, part)


def _counted(parts: list[slice], shares: list[float], done: dict[int, Records]) -> tuple[int, float]:
    """How many slices are done, in parts of earlier rounds too, and how many what is begun of others comes to."""
    finished = set(done)
    begun = sum(
        share * (part.stop - part.start)
        for part, share in zip(parts, shares, strict=True)
        if part.start not in finished
    )
    return sum(len(done[first].objective) for first in finished), begun


def _precision(examination: Examination, model: Model, request: _Request, device: torch.device) -> torch.dtype:
    """What the model's networks multiply in: faster than float32 where the brightest slice comes out the same."""
    fast = fast_precision(device)
    if fast == torch.float32 or not model.has_weights or len(examination.lowdose) < WORTH_A_CHECK:
        return torch.float32
    brightest = int(examination.lowdose.mean((1, 2)).argmax())
    one = slice(brightest, brightest + 1)
    slices = asked_slices(examination, model, request.dose_fraction, device, one, fast)
    return fast if model.agrees(slices) else torch.float32


def _solve(
    examination: Examination, model: Model, request: _Request, place: _Place, volumes: Volumes, chosen: slice
) -> Generator[float, None, Records]:
    """Solve some slices into the volumes; yields after every step which share of the work is done."""
    slices = asked_slices(examination, model, request.dose_fraction, place.device, chosen, place.precision)
    session = replace(model.session(slices), around_prior=request.around_prior, iterations=request.evaluations)
    difference = None
    alpha = session.auto if request.alpha == AUTO else float(request.alpha)
    # A forward pass takes about a third of an evaluation with its gradient; without one, the prior is most of the work.
    begun = 0.9 if alpha is None else 1 / (3 * session.iterations)
    yield begun
    if alpha is None:
        answer, difference = _auto(session)
        steps: Iterable[Step] = [answer]
    else:
        steps = _paper(session, alpha, request.solver)
    objective, evaluations = [], []
    for step in steps:
        objective.append(step.objective)
        evaluations.append(step.network_evaluations)
        yield begun + (1 - begun) * min(1.0, int(step.network_evaluations.max()) / session.iterations)
    found, prior = step.x, session.prior
    share = examination.predose_share(chosen) if model.uses_predose else None
    if share is not None:  # without a pre-dose image nothing is added to what was measured
        measured, weight = (
            _to_device(image, scale, place.device)
            for image, scale in ((examination.lowdose[chosen], examination.scale), (share, 1.0))
        )
        found, prior = (torch.lerp(measured, image, weight) for image in (found, prior))
        difference = None
    unexplained = []
    if difference is None and (request.data_consistency or model.uses_acquisition):
        with torch.no_grad():
            difference = session.forward_operator(found, session.predose) - session.lowdose
    if difference is not None and model.uses_acquisition and session.predose is not None:
        low, before = session.lowdose, session.predose[:, :1]
        deviations = consistency.standardized(low + difference, low, before, session.sigma, slices.conditions)
        unexplained = consistency.unexplained(deviations, low, session.floor).tolist()
    # A finished slice repeats its value while others go on: its history ends with its last evaluation.
    lengths = 1 + (torch.stack(evaluations, 1).diff() > 0).sum(1)
    for volume, values in zip(vars(volumes).values(), (found, prior, difference), strict=True):
        if volume is not None and values is not None:
            volume[chosen] = (values[:, 0] * examination.scale).cpu().numpy()
    return Records(
        [row[:length] for row, length in zip(torch.stack(objective, 1).tolist(), lengths.tolist(), strict=True)],
        (2 * step.data_fidelity / session.lowdose[0].numel()).sqrt().tolist(),
        step.network_evaluations.tolist(),
        unexplained,
    )


def asked_slices(
    examination: Examination,
    model: Model,
    dose_fraction: float | None,
    device: torch.device,
    chosen: slice,
    precision: torch.dtype = torch.float32,
) -> Slices:
    """The chosen slices of an examination as a model is asked about them; arguments as of :func:`reconstruct`.

    >>> from LIPCARLib.inverse import load_model
    >>> import SimpleITK
    >>> images = (SimpleITK.GetImageFromArray(np.full((1, 9, 8), level, np.float32)) for level in (400, 300))
    >>> lowdose, predose = images
    >>> lowdose[3, 3, 0] = predose[3, 3, 0] = 200.0
    >>> examination = Examination.from_images(lowdose, predose, match_predose=False)
    >>> asked_slices(examination, load_model("signal"), 0.2, torch.device("cpu"), slice(0, 1)).lowdose.shape
    torch.Size([1, 1, 9, 8])
    """
    scale = examination.scale
    predose = aligned = None
    moved = examination.aligned_predose(chosen) if model.uses_predose else None
    if examination.predose is not None and moved is not None:
        predose, aligned = (_to_device(volume, scale, device) for volume in (examination.predose[chosen], moved))
    return Slices(
        lowdose=_to_device(examination.lowdose[chosen], scale, device),
        predose=predose,
        aligned=aligned,
        sigma=examination.noise / scale,
        floor=examination.noise_floor / scale,
        conditions=_conditions(examination, dose_fraction, device, chosen),
        precision=precision,
    )


def _conditions(
    examination: Examination, dose_fraction: float | None, device: torch.device, chosen: slice
) -> Conditions:
    native, known = examination.native_time, examination.predose_known
    told = Conditions.of_examination(
        len(examination.lowdose[chosen]),
        examination.acquisition,
        dose_fraction,
        DOSE_FRACTION,
        None if native is None else _to_device(native[chosen], 1.0, device),
        device,
    )
    return told if known is None else replace(told, known=torch.from_numpy(known[chosen])[:, None].to(device))


@torch.no_grad()
def _auto(session: Session) -> tuple[Step, Tensor]:
    """The prior without its noise, where the objective is evaluated once, without gradient; and F(x) - x_L there."""
    answer = session.clean_prior
    difference = session.forward_operator(answer, session.predose) - session.lowdose
    fidelity = 0.5 * difference.square().flatten(1).sum(1)
    value = fidelity + ALPHA * GenTV(answer).value(answer)
    once = torch.ones(len(answer), dtype=torch.long, device=answer.device)
    return Step(answer, value, fidelity, once, once > 0), difference


def _paper(session: Session, alpha: float, solver: str) -> Solver:
    """The paper's own problem (equation 3)."""
    xbar, iterations = session.prior, session.iterations
    regularizer = GenTV(xbar if session.around_prior else torch.zeros_like(xbar))
    problem = Objective(session.forward_operator, session.lowdose, regularizer, alpha, session.predose)
    if solver == "adam":
        return adam(problem, session.lowdose, iterations)
    return proximal(problem, xbar, Stop(iterations))


def _to_device(volume: np.ndarray[Any, Any], scale: float, device: torch.device) -> Tensor:
    """Slices in model scale, (N, 1, H, W)."""
    return torch.from_numpy(volume / np.float32(scale))[:, None].to(device)


def _provenance(examination: Examination, model: Model, request: _Request, place: _Place) -> dict[str, Any]:
    first, count = examination.first_slice, len(examination.lowdose)
    return {
        "simulated": "LIPCAR simulated high-dose image; research only, not for diagnosis",
        "lipcar": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": describe(place.device),
        "precision": str(place.precision).removeprefix("torch."),
        "model": model.name,
        "model_sha256": model.digest,
        "predose_used": model.uses_predose,
        "alpha": request.alpha,
        "dose_fraction": "not told" if request.dose_fraction is None else request.dose_fraction,
        "regularizer": "GenTV" if request.around_prior else "TV",
        "solver": request.solver,
        "iterations": request.evaluations,
        "scale": examination.scale,
        "predose_shift": " ".join(f"{pixels:.2f}" for pixels in examination.predose_shift),
        "predose_motion": examination.motion_words(),
        "predose_deformed_mm": round(examination.predose_deformed, 2),
        "predose_missing": examination.predose_missing,
        "predose_gain": examination.predose_gain,
        "predose_rest": " ".join(f"{pixels:.2f}" for pixels in examination.predose_rest),
        "noise_floor": model.shown_floor(examination.noise_floor / examination.scale),
        "slice_axis": examination.slice_axis,
        "slices": f"{first + 1}-{first + count} of {examination.slices_in_all}",
    }
