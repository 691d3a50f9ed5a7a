"""The weight alpha that a user gives: "auto" or a number; without torch, for panels and help texts."""

from __future__ import annotations

from ..errors import LIPCARError

ALPHA = 6e-3
"""The paper's regularization parameter."""
MOST_ALPHA = 1e6
"""With that the result is the prior, to the last digit."""
AUTO = "auto"
AUTO_DESCRIPTION = "auto: the model's guess; with a T1 map 0.006"
"""What auto does, in one line for help texts."""


def check_alpha(alpha: float | str) -> float | str:
    """ "auto", or a number above 0 and up to MOST_ALPHA; a number may be written as text.

    Raises:
        LIPCARError: neither of them.

    >>> check_alpha("auto"), check_alpha("0.006")
    ('auto', 0.006)
    """
    if alpha == AUTO:
        return AUTO
    try:
        number = float(alpha)
    except ValueError:
        number = 0.0
    if not 0 < number <= MOST_ALPHA:
        raise LIPCARError(
            f"alpha is {alpha}; '{AUTO}' or a number above 0 and up to {MOST_ALPHA:g} is expected (the paper's is "
            f"{ALPHA})."
        )
    return number
