"""A training's checkpoints on disk: safetensors and JSON, and a record of which training they belong to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import LIPCARError
from ..storage import write
from .settings import TrainingSettings

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """One network on its way.

    Attributes:
        network, best: weights as they are, and as they were after the best epoch.
        optimizer: its moments, by index of the parameter and name.
        progress: epoch, best score, history and what else is plain values.
    """

    network: Weights
    best: Weights
    optimizer: dict[int, dict[str, Tensor]]
    progress: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write or replace the file."""
        tensors = {f"network.{key}": value.contiguous() for key, value in self.network.items()}
        tensors |= {f"best.{key}": value.contiguous() for key, value in self.best.items()}
        for index, moments in self.optimizer.items():
            tensors |= {f"optimizer.{index}.{key}": value.contiguous() for key, value in moments.items()}
        write({path: save(tensors, metadata={"state": json.dumps(self.progress)})})

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """What :meth:`write` wrote."""
        network: Weights = {}
        best: Weights = {}
        optimizer: dict[int, dict[str, Tensor]] = {}
        with safe_open(path, "pt") as file:
            progress = json.loads(file.metadata()["state"])
            for key in file.keys():  # noqa: SIM118 - not a dict
                kind, name = key.split(".", 1)
                if kind == "optimizer":
                    index, name = name.split(".")
                    optimizer.setdefault(int(index), {})[name] = file.get_tensor(key)
                else:
                    (network if kind == "network" else best)[name] = file.get_tensor(key)
        return cls(network, best, optimizer, progress)


def prepare_checkpoints(
    output: Path, settings: TrainingSettings, training: Sequence[str], held_out: Sequence[str], resume: bool
) -> Path:
    """The checkpoint folder within a model's, with a record of the training that it belongs to.

    Raises:
        LIPCARError: there are checkpoints and `resume` is not set, or they are of another training; the folder cannot
            be made.
    """
    folder = output / "checkpoints"
    record = folder / "settings.json"
    wanted = {"settings": asdict(settings), "training": list(training), "held_out": list(held_out)}
    if record.is_file():
        if not resume:
            raise LIPCARError(
                f"'{output}' holds the checkpoints of an earlier training. Give --resume to go on with it, or another "
                "--output to start anew."
            )
        _check_same_training(output, json.loads(record.read_text(encoding="utf-8")), wanted)
        return folder
    write({record: json.dumps(wanted, indent=1).encode()})
    return folder


def _check_same_training(output: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    if found == wanted:
        return
    settings = found.get("settings", {})
    differing = [key for key, value in wanted["settings"].items() if settings.get(key) != value]
    raise LIPCARError(
        f"The checkpoints in '{output}' are of another training (differing: {', '.join(differing) or 'subjects'}). "
        "Use the same settings and cohort, or another --output."
    )
