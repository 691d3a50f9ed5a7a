"""Threads: slices, or other work without an order, done side by side on the processor's cores.

numpy, scipy.ndimage and SimpleITK let other threads run while they compute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ..resources import processors

Found = TypeVar("Found")


def cores() -> int:
    """The processor's cores that this process may use; where OMP_NUM_THREADS is set, no more than that.

    >>> cores() >= 1
    True
    """
    free = processors()
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(free, int(told) if told.isdecimal() and int(told) else free)


def in_threads(function: Callable[..., Found], *items: Iterable[object]) -> list[Found]:
    """`list(map(function, *items))`, in threads.

    >>> in_threads(pow, [2, 3], [3, 2])
    [8, 9]
    """
    calls = list(zip(*items, strict=True))
    count = min(cores(), len(calls))
    if count < 2:
        return [function(*call) for call in calls]
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(function, *zip(*calls, strict=True)))


def slicewise(function: Callable[..., np.ndarray], *volumes: np.ndarray) -> np.ndarray:
    """`function(*volumes)` where each slice of the result comes of the same slice of the volumes, (S, H, W), alone.

    >>> slicewise(np.add, np.zeros((3, 1, 1)), np.ones((3, 1, 1))).ravel()
    array([1., 1., 1.])
    """
    count = min(cores(), len(volumes[0]))
    if count < 2:
        return function(*volumes)
    parts = in_threads(function, *(np.array_split(volume, count) for volume in volumes))
    whole: np.ndarray = np.concatenate(parts)
    return whole
