"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls.

Names are loaded at their first use: most need torch; a panel opens before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .findings import KINDS, Finding
    from .per_voxel import Evidence, evidence

_HOME = {"per_voxel": ("Evidence", "evidence"), "findings": ("KINDS", "Finding")}

__all__ = ["KINDS", "Evidence", "Finding", "evidence"]

__getattr__ = lazily(__name__, _HOME)
