"""All about speed in one run: the machine, the floor, the profile of the command, and LIPCAR against the paper's loop.

The paper's loop: slice by slice, float32, torch's default memory layout, 150 steps of Adam from x_L on the same
objective, the gradient of everything. Each of its runs has runs of LIPCAR before and after it, so that a machine whose
load changes distorts neither side alone. Run with `make benchmark`; `--json FILE` keeps the numbers.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from command_profile import SIZES, profile, show
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.alpha import ALPHA, AUTO
from LIPCARLib.inverse.devices import choose_device, describe
from LIPCARLib.inverse.model import load_model
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.operators import with_noise_floor
from LIPCARLib.inverse.progress import complete
from LIPCARLib.inverse.reconstruction import reconstruct
from LIPCARLib.inverse.regularizers import GenTV
from LIPCARLib.inverse.result import Result
from LIPCARLib.inverse.session import Model
from LIPCARLib.simulation import simulate

PAPERS_MODEL, DEFAULT_MODEL = "vnet-predose", "anchored"
RATES = {"paper": 1e-3, "published code": 1e-2}
"""Learning rates of Adam; both take the same time."""
SOLVED = 4
"""Slices in a run with alpha 0.006: on a CPU its processors work on several side by side, as in any examination."""
MATRIX = 2048
"""Rows and columns of the matrices whose product tells what the device can do."""

console = Console(width=110, highlight=False)


def examination(slices: int) -> Examination:
    """The rat of the sample data with more slices, 256 x 256."""
    simulated = simulate(7, 6, slices=slices, size=256, anatomy="rat")
    images = []
    for array in (simulated.lowdose, simulated.predose, simulated.highdose):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(simulated.spacing)
        images.append(image)
    return Examination.from_images(*images)


def papers_loop(model: NetworkPair, e: Examination, z: int, learning_rate: float, device: torch.device) -> float:
    """The objective of slice z at its end, from the plain loop that anyone would write from the paper."""
    predose, lowdose = (
        torch.from_numpy(image[z] / np.float32(e.scale))[None, None].to(device) for image in (e.predose, e.lowdose)
    )
    with torch.no_grad():
        xbar = model.prior(lowdose, predose)
    regularizer = GenTV(xbar)
    forward_operator = with_noise_floor(model.forward_operator, e.noise_floor / e.scale)
    x = lowdose.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=learning_rate)

    def objective() -> torch.Tensor:
        difference = forward_operator(x, predose) - lowdose
        return 0.5 * difference.square().sum() + ALPHA * regularizer.value(x).sum()

    for _ in range(150):
        optimizer.zero_grad()
        loss = objective()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(objective())


def timed(device: torch.device, work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Seconds that the work takes on its device, and what it gives."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    found = work(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, found


def run(e: Examination, model: Model, alpha: float | str, device: torch.device) -> Result:
    return complete(reconstruct(e, model, alpha=alpha, device=device))


def multiplications(e: Examination, model: Model) -> float:
    """Multiply-and-adds of the networks for one slice of a default run, counted as they happen."""
    with FlopCounterMode(display=False) as counter:
        run(e.part(0, 1), model, AUTO, torch.device("cpu"))
    return counter.get_total_flops() / 2


def matrix_rate(device: torch.device, precision: torch.dtype) -> float:
    """Multiply-and-adds a second of a large product of matrices, the best of several."""
    one = torch.rand(MATRIX, MATRIX, device=device).to(precision)
    one @ one
    return MATRIX**3 / min(timed(device, torch.mm, one, one)[0] for _ in range(9))


def against_the_paper(e: Examination, device: torch.device, paper_slices: int) -> dict[str, Any]:
    """Seconds a slice and objectives of all, and the ratios of each of the paper's runs to those beside it."""
    default, shipped = load_model(DEFAULT_MODEL, device), load_model(PAPERS_MODEL, device)
    plain = load_model(PAPERS_MODEL, device).requires_grad_(True).to(memory_format=torch.contiguous_format)
    assert isinstance(plain, NetworkPair)
    count = len(e.lowdose)

    def beside(z: int) -> tuple[float, float, Result]:
        """Seconds a slice of the default and of alpha 0.006, and the latter's result, whose first slice is z."""
        auto = timed(device, run, e, default, AUTO, device)[0] / count
        solved, result = timed(device, run, e.part(z, z + SOLVED), shipped, ALPHA, device)
        return auto, solved / SOLVED, result

    beside(0)  # what is done once
    rows, ratios, seconds = [], {"default": [], "alpha 0.006": []}, {"paper": [], "default": [], "alpha 0.006": []}
    for z in np.linspace(0, count - SOLVED, paper_slices).round().astype(int).tolist():
        before = beside(z)
        objectives = {}
        for name, rate in RATES.items():
            theirs, objectives[name] = timed(device, papers_loop, plain, e, z, rate, device)
            after = beside(z)
            seconds["paper"].append(theirs)
            for i, side in enumerate(ratios):
                ours = (before[i] + after[i]) / 2
                seconds[side].append(ours)
                ratios[side].append(theirs / ours)
            before = after
        result = before[2]
        objectives["LIPCAR, alpha 0.006"] = result.objective[0][-1]
        rows.append({"slice": z, "objectives": objectives, "evaluations": result.network_evaluations[0]})
    return {"seconds_a_slice": seconds, "ratios": ratios, "slices": rows}


def measured(e: Examination, device: torch.device, paper_slices: int) -> dict[str, Any]:
    macs = {name: multiplications(e, load_model(name)) for name in (DEFAULT_MODEL, PAPERS_MODEL)}
    rates = {str(p).removeprefix("torch."): matrix_rate(device, p) for p in (torch.float32, torch.bfloat16)}
    model = load_model(DEFAULT_MODEL, device)
    seconds, result = min((timed(device, run, e, model, AUTO, device) for _ in range(3)), key=lambda r: r[0])
    return {
        "device": describe(device),
        "multiply_adds_a_slice": macs,
        "multiply_adds_a_second": rates,
        "default_seconds_a_slice": seconds / len(e.lowdose),
        "default_precision": result.provenance["precision"],
        "floor_seconds_a_slice": macs[DEFAULT_MODEL] / rates["float32"],
        **against_the_paper(e, device, paper_slices),
    }


def spread(values: list[float], digits: int = 0) -> str:
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def tell(found: dict[str, Any]) -> None:
    macs, floor = found["multiply_adds_a_slice"], found["floor_seconds_a_slice"]
    rates = [f"{rate / 1e9:.0f} GMAC/s in {name}" for name, rate in found["multiply_adds_a_second"].items()]
    console.print(f"\n{found['device']}, {platform.machine()}, torch {torch.__version__}")
    console.print(
        f"Matrices: {', '.join(rates)}. Networks of a default run: {macs[DEFAULT_MODEL] / 1e9:.2f} GMAC a slice "
        f"({macs[PAPERS_MODEL] / 1e9:.2f} with {PAPERS_MODEL}), so its floor is {1e3 * floor:.1f} ms in float32."
    )
    console.print(
        f"Default: {1e3 * found['default_seconds_a_slice']:.1f} ms a slice at best ({found['default_precision']}), "
        f"{found['default_seconds_a_slice'] / floor:.2f} times its floor."
    )
    names = list(found["slices"][0]["objectives"])
    table = Table("slice", *names, "evaluations", title="objective at alpha 0.006")
    for row in found["slices"]:
        values = [f"{row['objectives'][name]:.4f}" for name in names]
        table.add_row(str(row["slice"]), *values, str(row["evaluations"]))
    console.print(table)
    table = Table("", "seconds a slice", "times as fast as the paper's loop", title="mean (lowest to highest)")
    for side, values in found["seconds_a_slice"].items():
        table.add_row(side, spread(values, 3), spread(found["ratios"][side]) if side in found["ratios"] else "")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=18)
    parser.add_argument("--paper-slices", type=int, default=2, help="how many of them the paper's loop solves, twice")
    parser.add_argument("--device", default=None, help="one only; default: the CPU, and a GPU where there is one")
    parser.add_argument("--sizes", nargs="*", default=[f"{s}x{n}" for s, n in SIZES], help="of the profile")
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    arguments = parser.parse_args()
    profiles = [profile(*map(int, size.split("x"))) for size in arguments.sizes]
    if profiles:
        show(profiles)
    best = choose_device(arguments.device or "auto")
    devices = [best] if arguments.device or best.type == "cpu" else [torch.device("cpu"), best]
    e = examination(arguments.slices)
    found = [measured(e, device, arguments.paper_slices) for device in devices]
    for one in found:
        tell(one)
    if arguments.json:
        about = {"machine": platform.machine(), "torch": torch.__version__, "python": platform.python_version()}
        text = json.dumps({**about, "command": profiles, "devices": found}, indent=1)
        arguments.json.write_text(text + "\n")
        console.print(f"Wrote {arguments.json}")


if __name__ == "__main__":
    main()
