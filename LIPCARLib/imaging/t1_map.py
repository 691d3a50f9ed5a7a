"""A map of T1 before the agent: its unit, and where it tells nothing."""

from __future__ import annotations

import numpy as np

from ..errors import LIPCARError

SHORTEST, LONGEST = 0.05, 10.0
"""Seconds: T1 of tissue and fluid before the agent at 0.5 to 11 T, with room; other values are failed fits."""
COVERAGE = 0.95
"""Share of the body that a map is expected to tell; less is noticed."""


def times_in_seconds(values: np.ndarray, body: np.ndarray, name: str, notices: list[str]) -> np.ndarray:
    """T1 in seconds, 0 where the map tells nothing that tissue can have.

    The unit is told by the median in the body: 0.05 to 10 are seconds, 50 to 10000 milliseconds.

    Args:
        values: as the map has them, any shape.
        body: where there is tissue, boolean, of the same shape.
        name: how messages call the map, the subject of a sentence.
        notices: where sentences for the user are appended.

    Returns:
        float32, of the same shape.

    Raises:
        LIPCARError: no such median.
    """
    finite = np.isfinite(values) & (values > 0)
    told = values[finite & body]
    median = float(np.median(told)) if told.size else 0.0
    if SHORTEST <= median <= LONGEST:
        seconds = values
    elif 1000 * SHORTEST <= median <= 1000 * LONGEST:
        seconds = values / 1000
    else:
        raise LIPCARError(
            f"{name} has a median of {median:g} in the body; T1 before the agent in seconds (0.3 to 5) or milliseconds "
            "(300 to 5000) is expected. Give the map itself: no rate R1, no weighted image."
        )
    possible = finite & (seconds >= SHORTEST) & (seconds <= LONGEST)
    share = float(possible[body].mean())
    if share < COVERAGE:
        notices.append(
            f"{name} tells a T1 that tissue can have in {share:.0%} of the body only; elsewhere one is assumed."
        )
    return np.where(possible, seconds, 0).astype(np.float32)
