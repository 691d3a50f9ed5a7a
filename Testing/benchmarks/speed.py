"""Speed and objective of LIPCAR as shipped against the paper's loop, in one run on one examination.

The paper's loop: slice by slice, float32, torch's default memory layout, 150 steps of Adam from x_L on the same
objective, the gradient of everything. Run with `make benchmark`.
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import SimpleITK as sitk
import torch
from rich.console import Console
from rich.table import Table

from LIPCARLib.imaging.examination import Examination
from LIPCARLib.inverse.alpha import ALPHA
from LIPCARLib.inverse.devices import choose_device, describe
from LIPCARLib.inverse.model import load_model
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.operators import with_noise_floor
from LIPCARLib.inverse.progress import complete
from LIPCARLib.inverse.reconstruction import reconstruct
from LIPCARLib.inverse.regularizers import GenTV
from LIPCARLib.simulation import simulate


def examination(slices: int) -> Examination:
    """The rat of the sample data with more slices, 256 x 256."""
    simulated = simulate(7, 6, slices=slices, size=256, anatomy="rat")
    images = []
    for array in (simulated.lowdose, simulated.predose, simulated.highdose):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(simulated.spacing)
        images.append(image)
    return Examination.from_images(*images)


def papers_loop(model: NetworkPair, e: Examination, z: int, learning_rate: float, device: torch.device) -> list[float]:
    """The objective by step for slice z, from the plain loop that anyone would write from the paper."""
    predose, lowdose = (
        torch.from_numpy(image[z] / np.float32(e.scale))[None, None].to(device) for image in (e.predose, e.lowdose)
    )
    with torch.no_grad():
        xbar = model.prior(lowdose, predose)
    regularizer = GenTV(xbar)
    forward_operator = with_noise_floor(model.forward_operator, e.noise_floor / e.scale)
    x = lowdose.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=learning_rate)
    history = []
    for _ in range(150):
        optimizer.zero_grad()
        difference = forward_operator(x, predose) - lowdose
        loss = 0.5 * difference.square().sum() + ALPHA * regularizer.value(x).sum()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    with torch.no_grad():
        difference = forward_operator(x, predose) - lowdose
        history.append(float(0.5 * difference.square().sum() + ALPHA * regularizer.value(x).sum()))
    return history


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=18)
    parser.add_argument("--paper-slices", type=int, default=3, help="how many of them the paper's loop solves")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    e = examination(arguments.slices)
    name = "vnet-predose"  # the paper's kind of networks

    shipped = load_model(name, device)
    began = time.perf_counter()
    result = complete(reconstruct(e, shipped, alpha=ALPHA, device=device))  # one objective for both
    ours = (time.perf_counter() - began) / arguments.slices

    plain = load_model(name, device).requires_grad_(True).to(memory_format=torch.contiguous_format)
    chosen = np.linspace(0, arguments.slices - 1, arguments.paper_slices).round().astype(int).tolist()
    rows, seconds = [], []
    for z in chosen:
        began = time.perf_counter()
        fast = papers_loop(plain, e, z, 1e-2, device)
        seconds.append(time.perf_counter() - began)
        slow = papers_loop(plain, e, z, 1e-3, device)
        rows.append((z, slow[-1], fast[-1], result.objective[z][-1], result.network_evaluations[z]))

    console = Console()
    console.print(f"{describe(device)}, {platform.machine()}, torch {torch.__version__}, model {name}", highlight=False)
    table = Table("slice", "Adam 150, 1e-3", "Adam 150, 1e-2", "as shipped", "evaluations", title="objective")
    for z, slow, fast, shipped_value, evaluations in rows:
        table.add_row(str(z), f"{slow:.4f}", f"{fast:.4f}", f"{shipped_value:.4f}", str(evaluations))
    console.print(table)
    theirs = float(np.mean(seconds))
    console.print(
        f"{arguments.slices} slices of 256 x 256 as shipped: {ours:.3f} s a slice; the paper's loop: {theirs:.1f} s "
        f"a slice; ratio {theirs / ours:.1f}.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
