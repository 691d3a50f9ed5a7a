"""Training in one process, or in several on many devices and machines, which together do the same steps."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import LIPCARError
from ..inverse import choose_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Processes:
    """One process that does all. What it hands through is left as it is, to the bit.

    Every process draws the same batch and computes its share of it. The shares' gradients are averaged, so that a step
    does not depend on the number of processes, but for the rounding of sums.

    Attributes:
        device: where this one computes.
        index, count: which one this is, of how many.
    """

    index, count = 0, 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def main(self) -> bool:
        """Whether this is the one that writes and measures."""
        return self.index == 0

    def wrap(self, network: nn.Module, *methods: str) -> Any:
        """What is called in place of a network, or of these methods of it, so that gradients are averaged."""
        return network

    def share(self, count: int) -> tuple[slice, float]:
        """Which of a batch of so many this process computes, and the weight of their mean loss.

        The mean of the weighted losses over the processes is the mean loss of the batch.
        """
        first, end = (count * index // self.count for index in (self.index, self.index + 1))
        if first == end:  # it must take part, but this step has nothing for it
            return slice(0, 1), 0.0
        return slice(first, end), (end - first) * self.count / count

    def backward(self, loss: Tensor) -> None:
        """Gradients of a weighted loss."""
        torch.autograd.backward(loss)

    def mean(self, value: float) -> float:
        """Of a number that every process has."""
        return value

    def agreed(self, value: float) -> float:
        """The number that the main process has: what all decide by must be the same to the last digit."""
        return value

    def wait(self) -> None:
        """Until all are here."""


class FabricProcesses(Processes):
    """One of several that Lightning Fabric has launched."""

    def __init__(self, fabric: Fabric) -> None:
        super().__init__(fabric.device)
        self.fabric, self.index, self.count = fabric, fabric.global_rank, fabric.world_size

    def wrap(self, network: nn.Module, *methods: str) -> Any:
        """In distributed data-parallel training."""
        module = self.fabric.setup_module(network)
        for method in methods:
            module.mark_forward_method(method)
        return module

    def backward(self, loss: Tensor) -> None:
        """Gradients, averaged over the processes."""
        self.fabric.backward(loss)

    def mean(self, value: float) -> float:
        """By the processes' own sum; numbers are exchanged, no objects."""
        number = torch.tensor(value, dtype=torch.float64, device=self.device)
        total: Any = self.fabric.all_reduce(number, reduce_op="sum")
        return float(total) / self.count

    def agreed(self, value: float) -> float:
        """The others add nothing to it."""
        return self.mean(value * self.count if self.main else 0.0)

    def wait(self) -> None:
        """At Fabric's barrier."""
        self.fabric.barrier()


def start_processes(devices: int, nodes: int, device: str) -> Processes:
    """The processes of a training; the ones beside this are started here, unless torchrun has.

    Args:
        devices: processes on each machine, one a device.
        nodes: machines.
        device: as in `inverse.choose_device`; for several processes only the kind: auto, cpu or cuda.

    Raises:
        LIPCARError: Lightning Fabric is not installed; there are no such devices.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:  # what torchrun sets
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if devices * nodes == 1:
        return Processes(choose_device(device))
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise LIPCARError(
            "Training in several processes needs Lightning Fabric: install it with `pip install lipcar[train]`."
        ) from error
    kind = choose_device(device).type
    if kind not in ("cpu", "cuda") or ":" in device:
        raise LIPCARError(f"Several processes train on cpu or cuda, one a device; '{device}' cannot be shared so.")
    found = torch.cuda.device_count()
    if kind == "cuda" and devices > found:
        raise LIPCARError(f"{devices} devices were asked for, and there are {found}. Ask for fewer, or --device cpu.")
    for name in ("lightning_fabric", "lightning_utilities"):
        logging.getLogger(name).setLevel(logging.WARNING)  # who takes part is seen in the settings
    try:
        fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp")
        fabric.launch()
    except (OSError, RuntimeError, ValueError) as error:
        raise LIPCARError(f"The processes of the training cannot be started: {' '.join(str(error).split())}") from error
    return FabricProcesses(fabric)
