"""Where the shipped models and sample images are; needs nothing but the standard library."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

RESOURCES = next(
    (folder for folder in (_PACKAGE / "Resources", _PACKAGE.parent / "Resources") if (folder / "Models").is_dir()),
    _PACKAGE.parent / "Resources",
)
"""Inside the package where it is installed (a wheel, Slicer), beside it in a checkout."""
