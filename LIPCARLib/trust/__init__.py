"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls.

Names are loaded at their first use: most need torch; a panel opens before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .detection import (
        OVERLAP,
        READER,
        Labels,
        Mask,
        Spacing,
        connected_regions,
        count_invented,
        count_outside,
        enhancement,
        read_enhancement,
        read_lesions,
    )

_HOME = {
    "detection": (
        "OVERLAP",
        "READER",
        "Labels",
        "Mask",
        "Spacing",
        "connected_regions",
        "count_invented",
        "count_outside",
        "enhancement",
        "read_enhancement",
        "read_lesions",
    ),
}

__all__ = [
    "OVERLAP",
    "READER",
    "Labels",
    "Mask",
    "Spacing",
    "connected_regions",
    "count_invented",
    "count_outside",
    "enhancement",
    "read_enhancement",
    "read_lesions",
]

__getattr__ = lazily(__name__, _HOME)
