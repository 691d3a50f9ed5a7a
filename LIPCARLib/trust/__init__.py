"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls.

The blinded reader, `detection`, is a module of its own.
Names are loaded at their first use: most need torch; a panel opens before torch is there.
"""

from typing import TYPE_CHECKING

from ..doubt import GREEN, LOOK, STOP
from ..lazy import lazily

if TYPE_CHECKING:
    from .controls import Outcome, all_kinds, method_of, read_scene, weigh
    from .files import evidence_files
    from .findings import Finding
    from .per_voxel import evidence
    from .record import SURE, Evidence
    from .verdict import Verdict, judge

_HOME = {
    "controls": ("Outcome", "all_kinds", "method_of", "read_scene", "weigh"),
    "files": ("evidence_files",),
    "findings": ("Finding",),
    "per_voxel": ("evidence",),
    "record": ("SURE", "Evidence"),
    "verdict": ("Verdict", "judge"),
}

__all__ = [
    "GREEN",
    "LOOK",
    "STOP",
    "SURE",
    "Evidence",
    "Finding",
    "Outcome",
    "Verdict",
    "all_kinds",
    "evidence",
    "evidence_files",
    "judge",
    "method_of",
    "read_scene",
    "weigh",
]

__getattr__ = lazily(__name__, _HOME)
