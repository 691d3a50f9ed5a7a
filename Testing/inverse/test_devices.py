"""Devices: which is chosen and described, how many slices it takes at once, and what its want of memory looks like."""

from __future__ import annotations

import pytest
import torch

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import devices
from LIPCARLib.inverse.devices import batch_size, choose_device, describe, is_out_of_memory


def test_memory_failures_are_told_from_others() -> None:
    """Messages as torch gives them: CUDA, CPU on Linux and on Windows, Apple's GPU."""
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5.50 GB)"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))


def test_real_allocation_failure_is_recognized() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55, dtype=torch.float32)
    assert is_out_of_memory(error.value)


def test_cpu_batches_hold_a_fixed_number_of_pixels() -> None:
    cpu = torch.device("cpu")
    assert batch_size(cpu, 256, 256) == devices.CPU_PIXELS // 256**2
    assert batch_size(cpu, 64, 128) == 8 * batch_size(cpu, 256, 256)
    assert batch_size(cpu, 10_000, 10_000) == 1


def test_auto_is_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["abacus", "", "cuda:99", "hpu"])
def test_unusable_devices_are_named_with_the_usable_ones(name: str) -> None:
    with pytest.raises(LIPCARError, match=rf"'{name}' cannot be used here\. Available: auto, cpu"):
        choose_device(name)


@pytest.mark.parametrize("threads", [1, 2])
def test_cpu_is_described_with_its_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert describe(torch.device("cpu")) == {1: "CPU, 1 thread", 2: "CPU, 2 threads"}[threads]
