"""Files that someone may have altered: regular files within bounds, JSON, and tables of what its keys may hold."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from .errors import LIPCARError

LARGEST_JSON = 16 * 2**20
"""Bytes. The largest that is read as such, a report, has a fiftieth of it."""
DEEPEST = 40
"""Levels of lists and objects; a model's manifest has six."""
MOST_DIGITS = 100
"""Of a number. Python reads an integer in the square of the time of its digits, or not at all."""


def read_file(path: Path, largest: int) -> bytes:
    """The content of a regular file.

    Args:
        path: a link is followed.
        largest: bytes.

    Raises:
        OSError: as `open` does.
        ValueError: no path, no regular file (a pipe or a device would never end), or a larger one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_file(Path(folder), 10)
    Traceback (most recent call last):
    ValueError: it is no regular file
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file")
    with open(path, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    return data


def read_json(path: Path, what: str, advice: str) -> Any:
    """The content of a JSON file.

    Args:
        path: of the file.
        what: how messages call it, as in "model manifest".
        advice: the sentence of messages that says what to do.

    Raises:
        LIPCARError: it cannot be read, or is not what :func:`parse_json` takes.
    """
    try:
        return parse_json(read_file(path, LARGEST_JSON))
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    raise LIPCARError(f"The {what} '{path}' cannot be read: {reason}. {advice}")


def parse_json(data: bytes | str) -> Any:
    """JSON as its standard has it: UTF-8, no NaN or Infinity, no key twice; and no deeper, no number longer than here.

    Raises:
        ValueError: anything else; it says what, as the end of a sentence.

    >>> parse_json(b'{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: it has the key 'a' twice
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_refuse
        )
    except UnicodeDecodeError as error:
        raise ValueError("it is no text in UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    _check_depth(value)
    return value


_TOO_DEEP = f"its lists and objects are nested more than {DEEPEST} deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the key {twice[:40]!r} twice")
    return found


def _integer(text: str) -> int:
    return int(_short(text))


def _number(text: str) -> float:
    value = float(_short(text))
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"it has the number {text}, which is too large")
    return value


def _short(text: str) -> str:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text)} characters, at most {MOST_DIGITS} are expected")
    return text


def _refuse(name: str) -> Any:
    raise ValueError(f"it has {name} for a number, which is no JSON")


def _check_depth(value: Any) -> None:
    level: Iterable[Any] = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if any(isinstance(inner, dict | list) for inner in level):
        raise ValueError(_TOO_DEEP)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


@dataclass(frozen=True)
class Field:
    """What a key may hold: as messages say it after "expected is", and as a check; and whether it must be there."""

    expected: str
    check: Callable[[Any], bool]
    required: bool = True

    def optional(self) -> Field:
        """The same where the key may be missing."""
        return replace(self, required=False)


def integer(low: int, high: int) -> Field:
    """
    >>> integer(1, 9).check(True), integer(1, 9).check(9)
    (False, True)
    """
    return Field(f"an integer from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float, above: bool = False) -> Field:
    """A number from `low`, or above it, to `high`.

    >>> number(0, 1, above=True).expected
    'a number above 0, at most 1'
    """

    def check(value: Any) -> bool:
        return is_number(value) and low <= value <= high and not (above and value == low)

    return Field(f"a number above {low:g}, at most {high:g}" if above else f"a number from {low:g} to {high:g}", check)


def is_number(value: Any) -> bool:
    """A finite one; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


FLAG = Field("true or false", lambda value: isinstance(value, bool))
OBJECT = Field("an object", lambda value: isinstance(value, dict))
TEXT = Field("a text of 1 to 2000 characters", lambda value: isinstance(value, str) and 0 < len(value) <= 2000)
TEXTS = Field("a list of texts", lambda value: isinstance(value, list) and all(map(TEXT.check, value)))


def complaints(content: Any, fields: Mapping[str, Field], where: str = "") -> Iterator[str]:
    """What is wrong with an object, as the end of a sentence that begins with "It is".

    Args:
        content: as read.
        fields: by key, "a.b" for b within a. What has no field is not looked at.
        where: what stands before the keys in messages.

    >>> list(complaints({"name": 7}, {"name": TEXT}))
    ["malformed: 'name' is 7, expected is a text of 1 to 2000 characters"]
    >>> list(complaints({"name": 7}, {"name.first": TEXT}))
    ["incomplete: 'name.first' is missing, expected is a text of 1 to 2000 characters"]
    """
    if not isinstance(content, dict):
        yield "malformed: it is no object"
        return
    for key, field in fields.items():
        try:
            found: Any = content
            for name in key.split("."):
                found = found[name]
        except (KeyError, TypeError, IndexError):
            if field.required:
                yield f"incomplete: '{where}{key}' is missing, expected is {field.expected}"
            continue
        if not field.check(found):
            yield f"malformed: '{where}{key}' is {shortened(found)}, expected is {field.expected}"
