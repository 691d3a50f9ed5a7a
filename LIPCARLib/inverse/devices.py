"""Where to compute and how many slices at once: the one place that looks at processors and their free memory."""

from __future__ import annotations

import torch

from ..errors import LIPCARError, lacks_memory

BYTES_PER_PIXEL = 2000
"""Peak memory of one forward and backward pass of the V-Net in float32, per pixel of the batch (resident set, CPU)."""
CPU_PIXELS = 256 * 256
"""One slice of that size at a time: batches are no faster there, and a panel that waits for a step moves sooner."""
LANE_PIXELS = 16 * CPU_PIXELS
"""In all lanes of a CPU together: 2 GB."""
GPU_PIXELS = 64 * 256 * 256
FREE_SHARE = 0.6
"""Of the free memory: other programs (Slicer's own rendering among them) need some too."""


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        LIPCARError: no such device here.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        available = ", ".join(["auto", *(found for found, _ in available_devices())])
        raise LIPCARError(f"The device '{name}' cannot be used here. Available: {available}.") from error
    return device


def describe(device: torch.device) -> str:
    """The device in a user's words: "NVIDIA H200 (cuda:0)", "Apple GPU (mps)", "CPU, 2 threads".

    >>> describe(torch.device("cpu")).startswith("CPU, ")
    True
    """
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        return f"{torch.cuda.get_device_name(index)} (cuda:{index})"
    if device.type == "mps":
        return "Apple GPU (mps)"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def available_devices() -> list[tuple[str, str]]:
    """Name and words of every device there is, what "auto" takes first.

    >>> available_devices()[-1][0]
    'cpu'
    """
    found = [(f"cuda:{i}", f"{torch.cuda.get_device_name(i)} (cuda:{i})") for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append(("mps", describe(torch.device("mps"))))
    return [*found, ("cpu", describe(torch.device("cpu")))]


def batch_size(device: torch.device, height: int, width: int) -> int:
    """How many slices of height x width pixels to solve at once; at least one. The result does not depend on it.

    >>> batch_size(torch.device("cpu"), 128, 128)
    4
    """
    pixels = height * width
    if device.type == "cuda":
        most = min(GPU_PIXELS, FREE_SHARE * torch.cuda.mem_get_info(device)[0] / BYTES_PER_PIXEL)
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        most = min(GPU_PIXELS, FREE_SHARE * free / BYTES_PER_PIXEL)
    else:
        most = CPU_PIXELS
    return max(1, int(most // pixels))


def lane_count(device: torch.device, height: int, width: int) -> int:
    """How many batches of slices of height x width pixels to solve side by side; a GPU takes one after the other.

    >>> lane_count(torch.device("cpu"), 2048, 2048)
    1
    """
    most = LANE_PIXELS // max(height * width, CPU_PIXELS)
    return max(1, min(torch.get_num_threads(), most)) if device.type == "cpu" else 1


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it faster than float32, by instructions of its own; else float32.

    >>> fast_precision(torch.device("meta"))
    torch.float32
    """
    if device.type == "cuda":
        there = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        # Names that torch keeps to itself: a version without them computes in float32.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        tests = [getattr(torch.cpu, name, None) for name in names] if device.type == "cpu" else []
        there = any(test() for test in tests if test is not None)
    return torch.bfloat16 if there else torch.float32


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed for lack of memory, on whichever device.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory."))
    True
    """
    return isinstance(error, torch.OutOfMemoryError) or lacks_memory(error)


def release_memory(device: torch.device) -> None:
    """Hand cached device memory back after a failed allocation; nothing to do on a CPU.

    >>> release_memory(torch.device("cpu"))
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
