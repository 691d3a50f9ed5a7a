"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls.

Names are loaded at their first use: most need torch; a panel opens before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .files import evidence_files
    from .findings import KINDS, Finding
    from .per_voxel import SURE, Evidence, evidence

_HOME = {"files": ("evidence_files",), "per_voxel": ("SURE", "Evidence", "evidence"), "findings": ("KINDS", "Finding")}

__all__ = ["KINDS", "SURE", "Evidence", "Finding", "evidence", "evidence_files"]

__getattr__ = lazily(__name__, _HOME)
