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
        hausdorff95,
        read_enhancement,
        read_lesions,
    )
    from .files import evidence_files
    from .findings import Finding
    from .per_voxel import SURE, Evidence, evidence

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
        "hausdorff95",
        "read_enhancement",
        "read_lesions",
    ),
    "files": ("evidence_files",),
    "findings": ("Finding",),
    "per_voxel": (
        "SURE",
        "Evidence",
        "evidence",
    ),
}

__all__ = [
    "OVERLAP",
    "READER",
    "SURE",
    "Evidence",
    "Finding",
    "Labels",
    "Mask",
    "Spacing",
    "connected_regions",
    "count_invented",
    "count_outside",
    "enhancement",
    "evidence",
    "evidence_files",
    "hausdorff95",
    "read_enhancement",
    "read_lesions",
]

__getattr__ = lazily(__name__, _HOME)
