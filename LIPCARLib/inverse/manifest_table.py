"""What the keys of a model's manifest may hold, in one table; without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

from ..json_file import FLAG, OBJECT, TEXT, TEXTS, Field, complaints, integer, is_number


@dataclass(frozen=True)
class NetworkClass:
    """A class that may stand in an architecture: its constructor's arguments, and whether it has weights.

    >>> NetworkClass({}, has_weights=False).arguments
    {}
    """

    arguments: Mapping[str, Field]
    has_weights: bool = True


def _are_widths(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= 4 and all(map(integer(1, 1024).check, value))


def _are_flags(value: Any) -> bool:
    return isinstance(value, dict) and all(map(FLAG.check, value.values()))


def _are_sizes(value: Any) -> bool:
    """At least one contrast, in multiples of the noise; null where no size was found."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(re.fullmatch(r"\d{1,3}(\.\d{1,3})?", contrast) for contrast in value)
        and all(size is None or (is_number(size) and 0 < size <= 1000) for size in value.values())
    )


def _are_scores(value: Any) -> bool:
    """Objects of numbers with the same keys, among them those that every card shows."""
    rows = list(value.values()) if isinstance(value, dict) else []
    return (
        bool(rows)
        and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)
        and {"ssim", "body_rmse"} <= rows[0].keys()
        and all(is_number(score) for row in rows for score in row.values())
    )


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors", value) is not None


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


CLASSES = {
    "VNet": NetworkClass({"in_channels": integer(1, 2), "residual": FLAG.optional(), "smooth": FLAG.optional()}),
    "AnchoredPrior": NetworkClass(
        {"widths": Field("a list of 1 to 4 integers from 1 to 1024", _are_widths), "depth": integer(1, 16)}
    ),
    "Anchor": NetworkClass({}, has_weights=False),
    "SignalEquation": NetworkClass({}, has_weights=False),
}
"""What may stand as "class" in an architecture."""
_FREE_TEXT = Field("a text", lambda value: isinstance(value, str), required=False)
FIELDS = {
    "name": TEXT,
    "uses_predose": FLAG,
    "architecture": OBJECT,
    "architecture.prior": OBJECT,
    "architecture.forward_operator": OBJECT,
    "files": OBJECT,
    "description": _FREE_TEXT,
    "intended_use": _FREE_TEXT,
    "licence": _FREE_TEXT,
    "training": OBJECT.optional(),
    "training.training_subjects": TEXTS.optional(),
    "training.held_out_subjects": TEXTS.optional(),
    "training.clean_images_used_for_forward_operator": FLAG.optional(),
    "metrics": OBJECT.optional(),
    "controls": OBJECT.optional(),
}
"""By key; what does not stand here is read by nobody."""
METRICS = {
    "metrics.subjects": TEXTS,
    "metrics.slices": integer(0, 10**6),
    "metrics.means_over_slices": Field('objects of numbers, alike, with "ssim" and "body_rmse"', _are_scores),
}
"""Where metrics were measured; a new model has an empty object."""
CONTROLS = {
    "controls.criterion": _FREE_TEXT,
    "controls.examinations": integer(1, 10**6),
    "controls.passed": Field("an object of true and false", _are_flags, required=False),
    "controls.smallest_found_mm": Field("an object of sizes in mm, or null, by contrast", _are_sizes),
}
"""What `lipcar check --record` found."""
FILE = {
    "path": Field(
        'the name of a file in the model\'s folder, of ASCII letters, digits, "_", "-" and ".", ending in .safetensors',
        _is_file_name,
    ),
    "sha256": Field("64 hexadecimal digits in lower case", _is_digest),
}


def manifest_complaints(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a manifest's own structure, architectures and files apart, as `json_file.complaints`.

    >>> next(manifest_complaints({}))
    "incomplete: 'name' is missing, expected is a text of 1 to 2000 characters"
    """
    more = (METRICS if manifest.get("metrics") else {}) | (CONTROLS if manifest.get("controls") else {})
    yield from complaints(manifest, FIELDS | more)


def architecture_complaints(architecture: Mapping[str, Any], role: str) -> Iterator[str]:
    """The same of the architecture of a role, whose class is known.

    >>> list(architecture_complaints({"class": "VNet", "in_channels": 3}, "prior"))
    ["malformed: 'architecture.prior.in_channels' is 3, expected is an integer from 1 to 2"]
    """
    arguments = CLASSES[architecture["class"]].arguments
    if unknown := sorted(set(architecture) - set(arguments) - {"class"}):
        known = ", ".join(("class", *arguments))
        yield f"malformed: 'architecture.{role}' has {shortened(unknown[0])}, expected are only {known}"
    yield from complaints(architecture, arguments, f"architecture.{role}.")
