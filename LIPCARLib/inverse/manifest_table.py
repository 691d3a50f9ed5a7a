"""What the keys of a model's manifest may hold, in one table; without torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

MISSING = object()


@dataclass(frozen=True)
class Field:
    """What a key may hold: as messages say it after "expected", and as a check; and whether it must be there.

    >>> FLAG.check(True), FLAG.check(1)
    (True, False)
    """

    expected: str
    check: Callable[[Any], bool]
    required: bool = True


@dataclass(frozen=True)
class NetworkClass:
    """A class that may stand in an architecture: its constructor's arguments, and whether it has weights.

    >>> NetworkClass({}, has_weights=False).arguments
    {}
    """

    arguments: Mapping[str, Field]
    has_weights: bool = True


def _integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 2000


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_widths(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= 4 and all(map(_integer(1, 1024), value))


def _is_scores(value: Any) -> bool:
    """Objects of numbers with the same keys, among them those that every card shows."""
    rows = list(value.values()) if isinstance(value, dict) else []
    return (
        bool(rows)
        and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)
        and {"ssim", "body_rmse"} <= rows[0].keys()
        and all(_is_number(number) for row in rows for number in row.values())
    )


def _is_squares(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(square) and square >= 0 for square in value)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


FLAG = Field("true or false", lambda value: isinstance(value, bool))
OBJECT = Field("an object", lambda value: isinstance(value, dict))
TEXT = Field("a text of 1 to 2000 characters", _is_text)


def _optional(field: Field) -> Field:
    return Field(field.expected, field.check, required=False)


_FREE_TEXT = Field("a text", lambda value: isinstance(value, str), required=False)
_NAMES = Field("a list of texts", _is_names)

CLASSES = {
    "VNet": NetworkClass(
        {
            "in_channels": Field("1 or 2", _integer(1, 2)),
            "residual": _optional(FLAG),
            "smooth": _optional(FLAG),
        }
    ),
    "AnchoredPrior": NetworkClass(
        {
            "widths": Field("a list of 1 to 4 integers from 1 to 1024", _is_widths),
            "depth": Field("an integer from 1 to 16", _integer(1, 16)),
        }
    ),
    "Anchor": NetworkClass({}, has_weights=False),
    "SignalEquation": NetworkClass({}, has_weights=False),
}
"""What may stand as "class" in an architecture."""

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
    "training": _optional(OBJECT),
    "training.training_subjects": _optional(_NAMES),
    "training.held_out_subjects": _optional(_NAMES),
    "training.clean_images_used_for_forward_operator": _optional(FLAG),
    "metrics": _optional(OBJECT),
    "forward_operator_error": _optional(OBJECT),
}
"""By key, "a.b" for b within a; what does not stand here is read by nobody."""
METRICS = {
    "metrics.subjects": _NAMES,
    "metrics.slices": Field("an integer from 0 to 1000000", _integer(0, 10**6)),
    "metrics.means_over_slices": Field('objects of numbers, alike, with "ssim" and "body_rmse"', _is_scores),
}
"""Where metrics were measured; a new model has an empty object."""
OPERATOR_ERROR = {
    "forward_operator_error.widths": Field("a list of numbers", _is_squares),
    "forward_operator_error.mean_squares": Field("a list of numbers, none below 0", _is_squares),
}
"""Where it was measured."""
FILE = {
    "path": Field(
        'the name of a file in the model\'s folder, of ASCII letters, digits, "_", "-" and ".", ending in .safetensors',
        _matches(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors"),
    ),
    "sha256": Field("64 hexadecimal digits in lower case", _matches(r"[0-9a-f]{64}")),
}


def complaints(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the manifest's own structure, architectures and files apart; as the end of a sentence.

    >>> next(complaints({}))
    "incomplete: 'name' is missing, expected is a text of 1 to 2000 characters"
    """
    fields = dict(FIELDS)
    if manifest.get("metrics"):
        fields |= METRICS
    if "forward_operator_error" in manifest:
        fields |= OPERATOR_ERROR
    yield from complaints_of(manifest, fields)


def complaints_of(content: Mapping[str, Any], fields: Mapping[str, Field], where: str = "") -> Iterator[str]:
    """The same of any object and table; `where` is what stands before its keys.

    >>> list(complaints_of({"name": 7}, {"name": TEXT}))
    ["malformed: 'name' is 7, expected is a text of 1 to 2000 characters"]
    """
    for key, field in fields.items():
        found = _at(content, key)
        if found is MISSING:
            if field.required:
                yield f"incomplete: '{where}{key}' is missing, expected is {field.expected}"
        elif not field.check(found):
            yield f"malformed: '{where}{key}' is {shortened(found)}, expected is {field.expected}"


def architecture_complaints(architecture: Mapping[str, Any], role: str) -> Iterator[str]:
    """The same of the architecture of a role, whose class is known.

    >>> list(architecture_complaints({"class": "VNet", "in_channels": 3}, "prior"))
    ["malformed: 'architecture.prior.in_channels' is 3, expected is 1 or 2"]
    """
    arguments = CLASSES[architecture["class"]].arguments
    if unknown := sorted(set(architecture) - set(arguments) - {"class"}):
        known = ", ".join(("class", *arguments))
        yield f"malformed: 'architecture.{role}' has {shortened(unknown[0])}, expected are only {known}"
    yield from complaints_of(architecture, arguments, f"architecture.{role}.")


def _at(content: Any, key: str) -> Any:
    for name in key.split("."):
        if not isinstance(content, dict) or name not in content:
            return MISSING
        content = content[name]
    return content
