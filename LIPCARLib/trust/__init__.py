"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls.

Names are loaded at their first use: most need torch; a panel opens before torch is there.
"""

from typing import TYPE_CHECKING

from ..doubt import GREEN, LOOK, STOP
from ..lazy import lazily

if TYPE_CHECKING:
    from .controls import Outcome, all_kinds, method_of, read_scene, weigh
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
    from .files import evidence_files
    from .findings import Finding
    from .per_voxel import evidence
    from .record import SURE, Evidence
    from .verdict import Verdict, judge

_HOME = {
    "controls": (
        "Outcome",
        "all_kinds",
        "method_of",
        "read_scene",
        "weigh",
    ),
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
    "files": ("evidence_files",),
    "findings": ("Finding",),
    "per_voxel": ("evidence",),
    "record": (
        "SURE",
        "Evidence",
    ),
    "verdict": ("Verdict", "judge"),
}

__all__ = [
    "GREEN",
    "LOOK",
    "OVERLAP",
    "READER",
    "STOP",
    "SURE",
    "Evidence",
    "Finding",
    "Labels",
    "Mask",
    "Outcome",
    "Spacing",
    "Verdict",
    "all_kinds",
    "connected_regions",
    "count_invented",
    "count_outside",
    "enhancement",
    "evidence",
    "evidence_files",
    "judge",
    "method_of",
    "read_enhancement",
    "read_lesions",
    "read_scene",
    "weigh",
]

__getattr__ = lazily(__name__, _HOME)
