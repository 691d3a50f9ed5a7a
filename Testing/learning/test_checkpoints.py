"""A checkpoint comes back as it was; one that is damaged, or another's, is refused in one sentence, before an epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import VNet, save_model
from LIPCARLib.inverse.weights import read_header
from LIPCARLib.learning import AnchoredSettings, TrainingSettings, train, train_anchored
from LIPCARLib.learning.checkpoints import Checkpoint
from LIPCARLib.learning.training import model_name

TINY = TrainingSettings(epochs=2, batch=2, crop=32, held_out=0.3, seed=4)
ANCHORED = AnchoredSettings(steps=4, batch=2, size=32, warmup=2, widths=(8, 8), bfloat16=False)
PROGRESS = {
    "role": "prior",
    "epoch": 2,
    "slowdown": 0.5,
    "best_score": None,
    "history": [{"epoch": 1, "loss": None, "validation_ssim": None}, {"epoch": 2, "loss": 0.1, "validation_ssim": 0.9}],
}
Change = Callable[[dict[str, Tensor], dict[str, Any]], object]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Smaller than those that are trained."""
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3))


@pytest.fixture
def checkpoint(network: nn.Module, tmp_path: Path) -> Path:
    """Of the second of three epochs."""
    weights = network.state_dict()
    moments = {
        index: {"step": torch.tensor(3.0), "exp_avg": p.detach() / 2, "exp_avg_sq": p.detach().square()}
        for index, p in enumerate(network.parameters())
    }
    Checkpoint(weights, {k: 2 * v for k, v in weights.items()}, moments, PROGRESS).write(tmp_path / "prior.safetensors")
    return tmp_path / "prior.safetensors"


def read(path: Path, network: nn.Module) -> Checkpoint:
    return Checkpoint.read(path, network, "prior", 3)


def alter(path: Path, change: Change) -> None:
    """The same file with other tensors or another progress."""
    tensors, progress = load_file(path), json.loads(read_header(path.read_bytes()).metadata["state"])
    change(tensors, progress)
    path.write_bytes(save(tensors, {"state": json.dumps(progress)}))


def test_a_checkpoint_comes_back(checkpoint: Path, network: nn.Module) -> None:
    found = read(checkpoint, network)
    assert found.progress == PROGRESS
    assert list(found.optimizer) == list(range(len(list(network.parameters()))))
    for key, value in network.state_dict().items():
        assert torch.equal(found.network[key], value) and torch.equal(found.best[key], 2 * value)
    alter(checkpoint, lambda t, _: [t.pop(key) for key in list(t) if key.startswith("optimizer.")])
    assert read(checkpoint, network).optimizer == {}  # as after a collapse


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t, p: t.clear(), "it has no 'network.0.weight'"),
        (lambda t, p: t.pop("network.1.bias"), "it has no 'network.1.bias'"),
        (lambda t, p: [t.pop(key) for key in list(t) if key.startswith("best.")], "it has no 'best"),
        (lambda t, p: t.pop("optimizer.3.exp_avg"), "it has no 'optimizer.3.exp_avg'"),
        (lambda t, p: t.update({"optimizer.999.step": torch.zeros(())}), "'optimizer.999.step', which is not expected"),
        (lambda t, p: t.update({"nonsense": torch.zeros(1)}), "'nonsense', which is not expected"),
        (lambda t, p: t.update({"best.0.weight": torch.zeros(2, 2, 3, 3)}), "'best.0.weight' is F32"),
        (lambda t, p: t.update({"optimizer.0.step": torch.zeros(1)}), "'optimizer.0.step' is F32"),
        (lambda t, p: t.update({"network.1.bias": torch.zeros(1).half()}), "'network.1.bias' is F16"),
        (lambda t, p: t["network.1.bias"].fill_(torch.nan), "'network.1.bias' has values that are no finite"),
        (lambda t, p: t["optimizer.2.exp_avg_sq"].fill_(torch.inf), "'optimizer.2.exp_avg_sq' has values"),
        (lambda t, p: p.clear(), "incomplete: 'epoch' is missing"),
        (lambda t, p: p.update(role="forward_operator"), "'role' is 'forward_operator', expected is 'prior'"),
        (lambda t, p: p.update(epoch="2"), "'epoch' is '2', expected is an integer"),
        (lambda t, p: p.update(epoch=10**9), "'epoch' is 1000000000, expected is an integer from 1 to 3"),
        (lambda t, p: p.update(epoch=1), "2 epochs in its history and 1 done"),
        (lambda t, p: p.update(slowdown=0), "'slowdown' is 0"),
        (lambda t, p: p.update(best_score="high"), "'best_score' is 'high'"),
        (lambda t, p: p.update(best_score=float("nan")), "NaN for a number"),
        (lambda t, p: p.update(history=None), "'history' is None"),
        (lambda t, p: p.update(history=[1, 2]), "'history' is"),
    ],
)
def test_a_damaged_checkpoint_is_refused(change: Change, reason: str, checkpoint: Path, network: nn.Module) -> None:
    alter(checkpoint, change)
    with pytest.raises(LIPCARError) as error:
        read(checkpoint, network)
    assert reason in str(error.value) and f"The checkpoint '{checkpoint}' cannot be used" in str(error.value)


@pytest.mark.parametrize("metadata", [None, {}, {"state": "{"}, {"state": "[]"}, {"state": "[" * 100_000}])
def test_garbage_for_metadata_is_refused(metadata: dict[str, str] | None, checkpoint: Path, network: nn.Module) -> None:
    checkpoint.write_bytes(save(load_file(checkpoint), metadata))
    with pytest.raises(LIPCARError, match="cannot be used"):
        read(checkpoint, network)


@pytest.mark.parametrize("size", [0, 7, 8, 100, 1500, -1])
def test_a_truncated_checkpoint_is_refused(size: int, checkpoint: Path, network: nn.Module) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:size])
    with pytest.raises(LIPCARError, match="cannot be used: it is"):
        read(checkpoint, network)


@pytest.mark.parametrize("start", [b"\xff" * 8, (2**62).to_bytes(8, "little"), b"PK\x03\x04", b"{}      "])
def test_another_format_is_refused(start: bytes, checkpoint: Path, network: nn.Module) -> None:
    checkpoint.write_bytes(start + checkpoint.read_bytes())
    with pytest.raises(LIPCARError, match="cannot be used: it"):
        read(checkpoint, network)


def test_what_is_no_file_is_refused(checkpoint: Path, network: nn.Module) -> None:
    checkpoint.unlink()
    os.symlink("/dev/zero", checkpoint)
    with pytest.raises(LIPCARError, match="cannot be used: it is no regular file"):
        read(checkpoint, network)
    checkpoint.unlink()
    os.symlink("nowhere", checkpoint)
    with pytest.raises(LIPCARError, match="cannot be used: No such file"):
        read(checkpoint, network)


# The start of a training


def test_a_failed_start_does_not_stand_in_the_way(cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "m"
    broken = tmp_path / "broken"
    for name in ("a", "b"):
        (broken / name).mkdir(parents=True)
        (broken / name / "lowdose.nrrd").write_bytes(b"no image")
    with pytest.raises(LIPCARError, match="has no highdose"):
        next(train(broken, output, TINY))
    assert not output.exists()
    (output / "checkpoints").mkdir(parents=True)
    (output / "checkpoints" / "settings.json").write_text("{")  # what a run that was killed at its start leaves
    training = train(cohort, output, TINY)
    next(training)
    training.close()
    with pytest.raises(LIPCARError, match="holds the checkpoints of an earlier training"):
        next(train(cohort, output, TINY))


def test_another_model_is_not_overwritten(cohort: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "m", "mine", VNet(2), VNet(2), {})
    before = {path: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    for resume in (False, True):
        with pytest.raises(LIPCARError, match="holds a model, which would be overwritten"):
            next(train(cohort, tmp_path / "m", TINY, resume=resume))
        with pytest.raises(LIPCARError, match="holds a model, which would be overwritten"):
            next(train_anchored(tmp_path / "m", ANCHORED, resume=resume))
    save_model(tmp_path / "n" / "epoch-01", "mine", VNet(2), VNet(2), {})
    with pytest.raises(LIPCARError, match=r"epoch-01' holds a model"):
        next(train(cohort, tmp_path / "n", TINY, snapshots=[1]))
    assert {path: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before


def test_the_two_kinds_of_training_keep_out_of_each_others_folders(cohort: Path, tmp_path: Path) -> None:
    pair = train(cohort, tmp_path / "pair", TINY)
    anchored = train_anchored(tmp_path / "anchored", ANCHORED, every=2, validation_count=2)
    for training in (pair, anchored):
        next(training)
        training.close()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for resume in (False, True):
        for other in (
            train_anchored(tmp_path / "pair", ANCHORED, resume=resume, validation_count=2),
            train(cohort, tmp_path / "anchored", TINY, resume=resume),
        ):
            with pytest.raises(
                LIPCARError, match="another kind of training|an earlier training|record of the training"
            ):
                next(other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_output_that_is_no_folder_is_refused(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "m"):
        with pytest.raises(LIPCARError, match="file' is no folder that can be written to"):
            next(train(cohort, output, TINY))
        with pytest.raises(LIPCARError, match="file' is no folder that can be written to"):
            next(train_anchored(output, ANCHORED))


def test_what_is_wrong_with_the_second_network_is_said_before_the_first(cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "m"
    training = train(cohort, output, replace(TINY, epochs=3))
    next(training)
    training.close()
    (output / "checkpoints" / "forward_operator.safetensors").write_bytes(b"damaged")
    with pytest.raises(LIPCARError, match=r"forward_operator\.safetensors' cannot be used"):
        next(train(cohort, output, replace(TINY, epochs=3), resume=True))


def test_a_snapshot_that_was_not_kept_is_missed_at_once(cohort: Path, tmp_path: Path) -> None:
    output = tmp_path / "m"
    training = train(cohort, output, TINY)
    next(training)
    training.close()
    with pytest.raises(LIPCARError, match="was not kept: training had passed its epoch"):
        next(train(cohort, output, TINY, resume=True, snapshots=[1]))


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"settings": 1, "training": [], "held_out": []}'])
def test_a_damaged_record_is_refused(record: str, cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(record)
    (folder / "prior.safetensors").write_bytes(b"")
    with pytest.raises(LIPCARError, match=r"record of the training '.*settings\.json' .* Delete"):
        next(train(cohort, tmp_path / "m", TINY, resume=True))


@pytest.mark.parametrize("name", ["plain", "a [b] c", "Übung"])
def test_a_model_is_called_as_its_folder(name: str, tmp_path: Path) -> None:
    assert model_name(tmp_path / name) == name
    assert model_name(Path("/")) == "model"


def test_a_folder_whose_name_is_no_text_gives_a_name_that_is(tmp_path: Path) -> None:
    model_name(tmp_path / "caf\udce9").encode()


# Settings


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (
            TINY,
            [
                {"learning_rate": float("nan")},
                {"learning_rate": float("inf")},
                {"learning_rate": 0.0},
                {"learning_rate": -1e-3},
                {"learning_rate": 1e30},
                {"l1": float("nan")},
                {"l1": float("inf")},
                {"l1": -1.0},
                {"epochs": 0},
                {"epochs": 2.0},
                {"batch": 0},
                {"batch": True},
                {"crop": 8},
                {"crop": 10**9},
                {"held_out": 2.0},
                {"held_out": float("nan")},
                {"precision": "float8"},
                {"seed": -1},
                {"seed": 2**64},
                {"predose": "yes"},
            ],
        ),
        (
            ANCHORED,
            [
                {"learning_rate": float("nan")},
                {"learning_rate": -1.0},
                {"steps": 0},
                {"size": 8},
                {"widths": ()},
                {"widths": (10**8,)},
                {"depth": 0},
                {"seed": 10**12},
                {"final": 2.0},
            ],
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: Any, changes: list[dict[str, Any]]) -> None:
    for change in changes:
        with pytest.raises(LIPCARError, match=rf"setting of the training is malformed: '{next(iter(change))}' is"):
            replace(settings, **change)
