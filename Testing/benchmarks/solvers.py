"""Solvers of the inverse problem on one objective: evaluations of F and seconds until they come near the best value.

The best value is the least that any of them finds in `--evaluations`. The seconds are those of one processor core.
Beside the two solvers that LIPCAR ships stand three that it does not:

- VPAL: variable projection and augmented Lagrangian (Aleotti et al., arXiv 2510.24140): the differences y of x - xbar
  are split off and eliminated by shrinkage, x takes one gradient step of the linearized length, the weight of the
  coupling is balanced. Written from the mathematics, with the isotropic shrinkage that GenTV asks for.
- L-BFGS with a strong Wolfe line search on the objective, its square root smoothed by `SMOOTHED`.
- Primal-dual (Condat, J. Optim. Theory Appl. 158, 2013; Vu, Adv. Comput. Math. 38, 2013): no inner loop.

    python Testing/benchmarks/solvers.py [--heads FOLDER] [--size 112] [--plot docs/solvers.png]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import matplotlib
import numpy as np
import SimpleITK as sitk
import torch
from matplotlib import pyplot
from real_heads import LAWS, cases
from torch import Tensor

from LIPCARLib.imaging import Examination
from LIPCARLib.inverse import Conditions, load_model
from LIPCARLib.inverse.alpha import ALPHA
from LIPCARLib.inverse.regularizers import GenTV, _add_differences, _differences, _primal
from LIPCARLib.inverse.session import Slices
from LIPCARLib.inverse.solvers import Objective, Stop, adam, proximal
from LIPCARLib.simulation import simulate

MODELS = ("vnet-predose", "anchored")
FRACTION = 0.2
NEAR = (0.01, 0.001)
"""How far above the best value, as a share of it."""
SMOOTHED = 1e-6
"""Under the square root of the total variation for L-BFGS; the best of 1e-8, 1e-6, 1e-5 and 1e-4."""
COUPLING = 0.1
"""First squared weight of VPAL's coupling, the best of 0.03, 0.1, 0.3 and 1."""
BALANCE, FACTOR = 10.0, 2.0
"""VPAL's weight changes by the factor where primal and dual residual differ by more than the balance."""
CURVATURE = 1.0
"""Bound of F'^T F' along the steps of the primal-dual method."""
ASCENT = 0.2
"""Dual step of the primal-dual method; the best of 0.01, 0.02, 0.05 and 0.2, with that bound."""
Images = Iterator[Tensor]


@dataclass
class Counted:
    """A forward operator that counts its evaluations, and a clock that stands still between the solver's steps."""

    forward_operator: Callable[[Tensor, Tensor | None], Tensor]
    calls: int = 0
    seconds: float = 0.0
    trace: list[tuple[int, float, float]] = field(default_factory=list)

    def __call__(self, x: Tensor, predose: Tensor | None) -> Tensor:
        self.calls += 1
        return self.forward_operator(x, predose)


def traced(problem: Objective, start: Callable[[Objective], Images], most: int) -> list[tuple[int, float, float]]:
    """(evaluations, seconds, least objective so far) after every step until `most` evaluations are spent."""
    counted = Counted(problem.forward_operator)
    images, least = start(replace(problem, forward_operator=counted)), float("inf")
    while counted.calls < most:
        began = time.process_time()
        x = next(images, None)
        counted.seconds += time.process_time() - began
        if x is None:
            break
        with torch.no_grad():
            least = min(least, problem.value(x).item())
        counted.trace.append((counted.calls, counted.seconds, least))
    return counted.trace


def by_adam(rate: float) -> Callable[[Objective], Images]:
    return lambda problem: (step.x for step in adam(problem, problem.lowdose, 10_000, rate))


def by_proximal(problem: Objective) -> Images:
    return (step.x for step in proximal(problem, problem.regularizer.reference, Stop(10_000, 0.0)))


def by_lbfgs(problem: Objective) -> Images:
    x = problem.regularizer.reference.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=1, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        dx, dy = _differences(x - problem.regularizer.reference)
        value = problem.data_fidelity(x).sum() + problem.alpha * (dx**2 + dy**2 + SMOOTHED).sqrt().sum()
        value.backward()
        return value

    while True:
        yield x.detach().clamp(min=0)
        optimizer.step(closure)


def by_vpal(problem: Objective) -> Images:
    xbar, weight = problem.regularizer.reference, COUPLING
    x = xbar.clone()
    split = scaled = torch.zeros((2, *x.shape))
    while True:
        yield x
        residual, gradient = linearized(problem, x)
        slope = gradient + weight * adjoint(differences(x - xbar) - split + scaled)
        with torch.no_grad():
            step = 1e-3 / slope.abs().max()
            along = (problem.forward_operator(x + step * slope, problem.predose) - problem.lowdose - residual) / step
        bend = along.square().sum() + weight * differences(slope).square().sum()
        x = (x - slope.square().sum() / bend * slope).clamp(min=0)
        found = differences(x - xbar)
        target, before = found + scaled, split
        length = target.square().sum(0)
        split = target * (1 - problem.alpha / weight / length.sqrt().clamp_min(1e-12)).clamp_min(0)
        scaled = target - split
        primal, dual = (found - split).norm(), weight**0.5 * adjoint(split - before).norm()
        if primal > BALANCE * dual or dual > BALANCE * primal:
            factor = FACTOR**2 if primal > dual else FACTOR**-2
            weight, scaled = weight * factor, scaled / factor


def by_primal_dual(problem: Objective) -> Images:
    xbar = problem.regularizer.reference
    x, p = xbar.clone(), torch.zeros((2, *xbar.shape))
    descent = 1 / (CURVATURE / 2 + 8 * ASCENT)
    while True:
        yield x
        _, gradient = linearized(problem, x)
        new = (x - descent * (gradient + adjoint(p))).clamp(min=0)
        p = p + ASCENT * differences(2 * new - x - xbar)
        p = p / (p.square().sum(0).sqrt() / problem.alpha).clamp_min(1)
        x = new


SOLVERS = {
    "Adam, 1e-3, from x_L (paper)": by_adam(1e-3),
    "Adam, 1e-2, from x_L": by_adam(1e-2),
    "proximal (default)": by_proximal,
    "VPAL": by_vpal,
    "L-BFGS, smoothed": by_lbfgs,
    "primal-dual": by_primal_dual,
}


def linearized(problem: Objective, x: Tensor) -> tuple[Tensor, Tensor]:
    """F(x) - x_L and the gradient of half its square."""
    variable = x.detach().requires_grad_()
    residual = problem.forward_operator(variable, problem.predose) - problem.lowdose
    (gradient,) = torch.autograd.grad(0.5 * residual.square().sum(), variable)
    return residual.detach(), gradient


def differences(d: Tensor) -> Tensor:
    p = torch.zeros((2, *d.shape))
    _add_differences(p, d, 1.0)
    return p


def adjoint(p: Tensor) -> Tensor:
    return -_primal(torch.zeros_like(p[0]), p, None, None, torch.empty_like(p[0]))


def problems(arguments: argparse.Namespace, model_name: str) -> Iterator[tuple[str, Objective]]:
    """One slice of each examination, cropped to its middle."""
    model = load_model(model_name)
    for name, found, fraction in examinations(arguments):
        z, size = len(found.lowdose) // 2, arguments.size
        top, left = ((side - size) // 2 for side in found.lowdose.shape[1:])
        window = (slice(z, z + 1), slice(top, top + size), slice(left, left + size))
        lowdose, predose, aligned = (
            torch.from_numpy(np.ascontiguousarray(image[window]) / np.float32(found.scale))[:, None]
            for image in (found.lowdose, found.predose, found.aligned_predose(slice(None)))
        )
        session = model.session(
            Slices(
                lowdose=lowdose,
                predose=predose,
                aligned=aligned,
                sigma=found.noise / found.scale,
                floor=found.noise_floor / found.scale,
                conditions=Conditions.of_examination(1, found.acquisition, fraction, FRACTION),
            )
        )
        regularizer = GenTV(session.prior)
        yield name, Objective(session.forward_operator, session.lowdose, regularizer, ALPHA, session.predose)


def examinations(arguments: argparse.Namespace) -> Iterator[tuple[str, Examination, float | None]]:
    for anatomy, seed in (("rat", 7), ("human", 3)):
        made = simulate(seed, 1, slices=3, size=256, anatomy=anatomy)
        images = [sitk.GetImageFromArray(array) for array in (made.lowdose, made.predose)]
        yield f"phantom, {anatomy}", Examination.from_images(*images), None
    if arguments.heads is not None:
        told = argparse.Namespace(
            folders=[arguments.heads], slices=3, settled=False, fraction=FRACTION, noise=0.015, seed=0
        )
        for case in cases(told):
            if case.law == list(LAWS)[case.name.startswith("head-b")]:  # one law a head: each solve costs a minute
                yield f"{case.name}, {case.law}", case.examination, FRACTION


def reached(trace: list[tuple[int, float, float]], value: float) -> tuple[float, float]:
    """Evaluations and seconds until the objective was that low; not a number where it never was."""
    return next(((calls, seconds) for calls, seconds, least in trace if least <= value), (np.nan, np.nan))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, metavar="FOLDER", help="real heads, as for real_heads.py")
    parser.add_argument("--model", nargs="*", default=list(MODELS))
    parser.add_argument("--size", type=int, default=112, help="pixels of a side (default 112)")
    parser.add_argument("--evaluations", type=int, default=150, help="of F for each solver (default 150)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    traces: dict[str, dict[str, dict[str, list[tuple[int, float, float]]]]] = {}
    for model in arguments.model:
        for name, problem in problems(arguments, model):
            found = {title: traced(problem, solver, arguments.evaluations) for title, solver in SOLVERS.items()}
            traces.setdefault(model, {})[name] = found
            best = min(trace[-1][2] for trace in found.values())
            print(f"\n{model}, {name}, best {best:.4f}; evaluations to " + " and ".join(f"{n:.1%}" for n in NEAR))
            for title, trace in found.items():
                calls = [reached(trace, best * (1 + near))[0] for near in NEAR]
                print(
                    f"  {title:30s} {calls[0]:5.0f} {calls[1]:5.0f}   ends {trace[-1][2] / best - 1:.2%} above",
                    flush=True,
                )
    print(table(traces))
    if arguments.plot is not None:
        plotted(traces, arguments.plot)


def table(traces: dict[str, dict[str, dict[str, list[tuple[int, float, float]]]]]) -> str:
    """Markdown: means over the problems, of evaluations over those where a solver gets there, of seconds over all."""
    titles = ["", *(f"{model}: {unit} to {near:.1%}" for model in traces for near in NEAR for unit in ("F", "s"))]
    lines = [titles, ["---"] * len(titles)]
    for title in SOLVERS:
        line = [title]
        for by_problem in traces.values():
            for near in NEAR:
                pairs = np.array(
                    [
                        reached(found[title], (1 + near) * min(trace[-1][2] for trace in found.values()))
                        for found in by_problem.values()
                    ]
                )
                there = pairs[~np.isnan(pairs[:, 0])]
                if len(there) == len(pairs):
                    line += [f"{pairs[:, 0].mean():.1f}", f"{pairs[:, 1].mean():.2f}"]
                else:
                    line += [f"{there[:, 0].mean():.1f} ({len(there)} of {len(pairs)})" if len(there) else "-", "-"]
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plotted(traces: dict[str, dict[str, dict[str, list[tuple[int, float, float]]]]], path: Path) -> None:
    """Above the best value by evaluations, the median problem of each model."""
    matplotlib.use("agg")
    figure, axes = pyplot.subplots(1, len(traces), figsize=(5 * len(traces), 3.6), squeeze=False)
    for axis, (model, by_problem) in zip(axes[0], traces.items(), strict=True):
        for title in SOLVERS:
            above = []
            for found in by_problem.values():
                best = min(trace[-1][2] for trace in found.values())
                steps = np.array(found[title])
                calls = np.arange(1, steps[-1, 0] + 1)
                index = np.searchsorted(steps[:, 0], calls, "right") - 1
                above.append(np.where(index >= 0, steps[index, 2] / best - 1, np.nan)[: int(min(steps[-1, 0], 150))])
            shortest = min(map(len, above))
            axis.plot(np.arange(1, shortest + 1), np.median([a[:shortest] for a in above], axis=0), label=title)
        axis.set(xscale="log", yscale="log", xlabel="evaluations of F", title=model, ylim=(1e-4, 3))
    axes[0][0].set_ylabel("objective above the best (share)")
    axes[0][-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
