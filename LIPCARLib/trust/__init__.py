"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls.

Names are loaded at their first use: most need torch; a panel opens before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .controls import Control, Outcome, all_kinds, method_of, read_scene, weigh
    from .detection import LesionReading, connected_regions, count_outside, hausdorff95, read_enhancement, read_lesions
    from .files import evidence_files
    from .findings import KINDS, Finding
    from .per_voxel import evidence
    from .record import SURE, Evidence
    from .verdict import GREEN, LOOK, STOP, Verdict, judge

_HOME = {
    "controls": (
        "Control",
        "Outcome",
        "all_kinds",
        "method_of",
        "read_scene",
        "weigh",
    ),
    "detection": (
        "LesionReading",
        "connected_regions",
        "count_outside",
        "hausdorff95",
        "read_enhancement",
        "read_lesions",
    ),
    "files": ("evidence_files",),
    "findings": (
        "KINDS",
        "Finding",
    ),
    "per_voxel": ("evidence",),
    "record": (
        "SURE",
        "Evidence",
    ),
    "verdict": (
        "GREEN",
        "LOOK",
        "STOP",
        "Verdict",
        "judge",
    ),
}

__all__ = [
    "GREEN",
    "KINDS",
    "LOOK",
    "STOP",
    "SURE",
    "Control",
    "Evidence",
    "Finding",
    "LesionReading",
    "Outcome",
    "Verdict",
    "all_kinds",
    "connected_regions",
    "count_outside",
    "evidence",
    "evidence_files",
    "hausdorff95",
    "judge",
    "method_of",
    "read_enhancement",
    "read_lesions",
    "read_scene",
    "weigh",
]

__getattr__ = lazily(__name__, _HOME)
