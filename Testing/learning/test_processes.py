"""Several processes take the steps of one with the same batch; each computes its share of it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import ROLES, read_manifest
from LIPCARLib.learning import Processes, TrainingSettings, start_processes, train
from LIPCARLib.learning.anchored_training import ANCHORED, AnchoredSettings, train_prior
from LIPCARLib.learning.processes import FabricProcesses

PAIR = TrainingSettings(epochs=2, batch=3, crop=32, held_out=0.3, seed=4)
"""Of four slices: shares of one and two, then of none and one."""
ANCHORED_TINY = AnchoredSettings(steps=3, batch=3, size=32, warmup=2, widths=(8, 8), bfloat16=False)
ROUNDING = 1e-5
"""Of single-precision sums in another order, over the largest number."""


def together(function: Callable[..., Any], *arguments: Any) -> None:
    """Run it in two processes that average their gradients."""
    fabric = pytest.importorskip("lightning_fabric")
    if sys.platform != "linux":
        pytest.skip("processes are forked here, so that they need not load torch again")
    fabric.Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(function, *arguments)


def test_one_process_hands_through_what_it_is_given() -> None:
    one = Processes(torch.device("cpu"))
    network = torch.nn.Linear(2, 1)
    assert one.main and one.wrap(network) is network and one.mean(0.1) == 0.1 == one.agreed(0.1)
    assert one.share(5) == (slice(0, 5), 1.0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 2, 4, 7])
def test_shares_make_up_the_batch_and_its_mean(count: int, batch: int) -> None:
    values = torch.arange(1.0, batch + 1)
    seen, total = [], 0.0
    for index in range(count):
        one = Processes(torch.device("cpu"))
        one.index, one.count = index, count
        own, weight = one.share(batch)
        seen += values[own].tolist() if weight else []
        total += float(values[own].mean()) * weight / count
    assert seen == values.tolist()
    assert total == pytest.approx(float(values.mean()), rel=1e-12)


def train_both(fabric: Any, cohort: Path, folder: Path) -> None:
    processes = FabricProcesses(fabric)
    deque(train(cohort, folder / "pair", PAIR, processes=processes), maxlen=0)
    anchored = {"every": 1, "processes": processes}
    deque(train_prior(folder / "one-step", replace(ANCHORED_TINY, steps=1), **anchored), maxlen=0)
    losses = [progress.loss for progress in train_prior(folder / "anchored", ANCHORED_TINY, **anchored)]
    (folder / f"losses-{processes.index}").write_text("\n".join(map(repr, losses)))


@pytest.fixture(scope="module")
def both(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings by two processes."""
    folder = tmp_path_factory.mktemp("two")
    together(train_both, cohort, folder)
    return folder


def test_two_processes_have_the_loss_curve_of_one(both: Path, cohort: Path, tmp_path: Path) -> None:
    deque(train(cohort, tmp_path / "pair", PAIR), maxlen=0)
    one, two = (read_manifest(folder / "pair")["training"] for folder in (tmp_path, both))
    assert one["settings"] == two["settings"] and one["held_out_subjects"] == two["held_out_subjects"]
    for role in ROLES:
        for mine, others in zip(one["history"][role], two["history"][role], strict=True):
            assert mine == pytest.approx(others, abs=1e-4)
    losses = [progress.loss for progress in train_prior(tmp_path / "anchored", ANCHORED_TINY, every=1)]
    for index in (0, 1):
        told = [float(line) for line in (both / f"losses-{index}").read_text().split()]
        assert told == pytest.approx(losses, rel=1e-4)


def test_the_gradient_of_two_processes_is_that_of_one(both: Path, tmp_path: Path) -> None:
    deque(train_prior(tmp_path, replace(ANCHORED_TINY, steps=1), every=1), maxlen=0)
    one, two = (load_file(folder / ANCHORED) for folder in (tmp_path, both / "one-step"))
    moments = [key for key in one if key.endswith(".exp_avg")]  # after one step a tenth of the gradient
    largest = max(float(one[key].abs().max()) for key in moments)
    assert moments and largest > 0
    for key in moments:
        torch.testing.assert_close(two[key], one[key], rtol=0, atol=ROUNDING * largest)


def test_one_process_goes_on_with_what_two_have_begun(both: Path) -> None:
    progress = list(train_prior(both / "anchored", ANCHORED_TINY, resume=True, every=1))
    assert progress == []  # all its steps are done, and the checkpoint is whole


def test_what_cannot_be_shared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(start_processes(1, 1, "cpu"), Processes)
    with pytest.raises(LIPCARError, match="cannot be shared"):
        start_processes(2, 1, "mps" if torch.backends.mps.is_available() else "cpu:0")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(LIPCARError, match=r"pip install lipcar\[train\]"):
        start_processes(2, 1, "cpu")
