"""A training's checkpoints on disk: safetensors and JSON, a record of what they belong to, and where they may lie."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from ..errors import LIPCARError
from ..inverse import ROLES
from ..inverse.manifest import MANIFEST
from ..inverse.weights import Shapes, numbers_in, read_header, read_weights_file, shapes_of, unpack
from ..json_file import OBJECT, TEXTS, Field, complaints, integer, is_number, number, parse_json, read_json
from ..storage import write
from .settings import TrainingSettings

Weights = dict[str, Tensor]
CHECKPOINTS = "checkpoints"
"""The folder of a model's checkpoints, in its own."""
RECORD = "settings.json"
PAIR = tuple(f"{role}.safetensors" for role in ROLES)
ANCHORED = "checkpoint.safetensors"
_ALL = {*PAIR, ANCHORED}
_RECORD = {"settings": OBJECT, "training": TEXTS, "held_out": TEXTS}


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
    def read(cls, path: Path, network: nn.Module, role: str, epochs: int) -> Checkpoint:
        """What :meth:`write` wrote of such a network.

        Args:
            path: of the file.
            network: whose shapes are expected.
            role: that it plays.
            epochs: of the training, at most so many are over.

        Raises:
            LIPCARError: the file cannot be read, is damaged, or is of another network or role.
        """
        parameters = [tuple(parameter.shape) for parameter in network.parameters()]
        weights = shapes_of(network, "network.") | shapes_of(network, "best.")
        moments = adam_shapes({f"optimizer.{index}": shape for index, shape in enumerate(parameters)})
        with explained(path):
            tensors, metadata = read_checkpoint(path, weights, moments)
            progress = parse_json(metadata.get("state", ""))
            for complaint in complaints(progress, _progress(role, epochs)):
                raise ValueError(f"what it says of the training is {complaint}")
            if len(progress["history"]) != progress["epoch"]:
                raise ValueError(
                    f"it has {len(progress['history'])} epochs in its history and {progress['epoch']} done"
                )
        optimizer: dict[int, dict[str, Tensor]] = {}
        for key, value in under(tensors, "optimizer.").items():
            index, name = key.split(".")
            optimizer.setdefault(int(index), {})[name] = value
        return cls(under(tensors, "network."), under(tensors, "best."), optimizer, progress)


def _progress(role: str, epochs: int) -> Mapping[str, Field]:
    score = Field("a number, or null", lambda value: value is None or is_number(value))
    rows = {"epoch": integer(1, epochs), "loss": score, "validation_ssim": score}

    def are_rows(value: Any) -> bool:
        return isinstance(value, list) and not any(complaint for row in value for complaint in complaints(row, rows))

    return {
        "role": Field(f"'{role}'", lambda value: value == role, required=False),
        "epoch": integer(1, epochs),
        "slowdown": number(0, 1, above=True),
        "best_score": score,
        "history": Field("a list of epoch, loss and validation_ssim", are_rows),
    }


def adam_shapes(parameters: Shapes) -> dict[str, tuple[int, ...]]:
    """What Adam keeps of parameters, by their names and its own."""
    return {
        f"{name}.{kept}": () if kept == "step" else shape
        for name, shape in parameters.items()
        for kept in ("step", "exp_avg", "exp_avg_sq")
    }


def read_checkpoint(path: Path, weights: Shapes, moments: Shapes) -> tuple[Weights, Mapping[str, str]]:
    """The tensors of a checkpoint, all of `weights` and all or none of `moments`, and its metadata.

    Raises:
        OSError, ValueError: what is wrong, see :func:`explained`.
    """
    data = read_weights_file(path, numbers_in(weights) + numbers_in(moments))
    header = read_header(data)
    # An optimizer that has made no step, or forgot them after a collapse, keeps none.
    expected = {**weights, **moments} if header.shapes.keys() & moments.keys() else weights
    return unpack(data, expected), header.metadata


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what is wrong with a checkpoint into one sentence for the user."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LIPCARError(
            f"The checkpoint '{path}' cannot be used: {reason}. Delete it to train its network anew, or choose "
            "another output."
        ) from error


def under(state: Mapping[str, Tensor], prefix: str) -> Weights:
    """The tensors whose names begin so, by the rest of their names."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def model_name(output: Path) -> str:
    """What the model in a folder is called: as the folder; what a name may not hold there is replaced."""
    return os.fsencode(output.resolve().name).decode("utf-8", "replace") or "model"


def check_model_folder(output: Path, checkpoints: Collection[str]) -> None:
    """Refuse a folder where a training would overwrite a model that is not its own.

    Args:
        output: of the model.
        checkpoints: names of the training's own.

    Raises:
        LIPCARError: it is no folder, cannot be written to, or holds a model and none of these checkpoints.
    """
    existing = next((place for place in (output, *output.absolute().parents) if os.path.lexists(place)), output)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise LIPCARError(f"'{existing}' is no folder that can be written to. Choose another output.")
    own = any(os.path.lexists(output / CHECKPOINTS / name) for name in checkpoints)
    if os.path.lexists(output / MANIFEST) and not own:
        raise LIPCARError(f"'{output}' holds a model, which would be overwritten. Choose another output.")


def check_folder(folder: Path, names: Collection[str], resume: bool) -> bool:
    """Whether a training's checkpoints are there to be gone on from.

    Args:
        folder: of the checkpoints.
        names: that the training gives them.
        resume: go on from them.

    Raises:
        LIPCARError: they are there and `resume` is not set; there are those of another kind of training.
    """
    if any(os.path.lexists(folder / name) for name in names):
        if not resume:
            raise LIPCARError(
                f"'{folder}' holds the checkpoints of an earlier training. Give --resume to go on with it, or another "
                "output to start anew."
            )
        return True
    if others := sorted(name for name in _ALL - set(names) if os.path.lexists(folder / name)):
        raise LIPCARError(
            f"'{folder}' holds a checkpoint of another kind of training, {others[0]}. Choose another output."
        )
    return False


class Record:
    """Which training the checkpoints in a folder belong to.

    Args:
        folder: of the checkpoints.
        settings, training, held_out: of the training, and its subjects by name.
    """

    def __init__(
        self, folder: Path, settings: TrainingSettings, training: Sequence[str], held_out: Sequence[str]
    ) -> None:
        self.path = folder / RECORD
        self.content: dict[str, Any] = {
            "settings": asdict(settings),
            "training": list(training),
            "held_out": list(held_out),
        }

    def check(self, resume: bool) -> bool:
        """Whether there are checkpoints of this training to be gone on from; nothing is written.

        Raises:
            LIPCARError: as :func:`check_folder`; they are of other settings or subjects, or nothing tells of which.
        """
        folder = self.path.parent
        if not check_folder(folder, PAIR, resume):
            return False
        advice = f"Delete '{folder}' to start anew, or choose another --output."
        found = read_json(self.path, "record of the training", advice)
        for complaint in complaints(found, _RECORD):
            raise LIPCARError(f"The record of the training '{self.path}' is {complaint}. {advice}")
        if found != self.content:
            wanted, settings = self.content["settings"], found["settings"]
            differing = [key for key, value in wanted.items() if key not in settings or settings[key] != value]
            raise LIPCARError(
                f"The checkpoints in '{folder}' are of another training (differing: "
                f"{', '.join(differing) or 'subjects'}). Use the same settings and cohort, or another --output."
            )
        return True

    def write(self) -> None:
        """Once there is something to train on: what fails before leaves nothing behind."""
        write({self.path: json.dumps(self.content, indent=1).encode()})
