"""Dataclasses and the values in them as JSON and named arrays, and back by their type hints."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from ..doubt import Doubt

Arrays = dict[str, np.ndarray[Any, Any]]


def pack(value: Any, arrays: Arrays, name: str) -> Any:
    """A value as JSON can hold it; its arrays go into `arrays`, under names that begin with `name`.

    Args:
        value: a dataclass, an enum, an array, a list, a tuple, a mapping of texts, a text or doubt, a number, a flag
            or None.

    Raises:
        TypeError: anything else.

    >>> arrays: Arrays = {}
    >>> pack({"image": np.zeros(2), "shift": (1.0, 2)}, arrays, "x"), list(arrays)
    ({'image': {'array': 'x.image'}, 'shift': [1.0, 2]}, ['x.image'])
    """
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Doubt):
        return {"doubt": str(value), "severe": value.severe}
    if value is None or isinstance(value, str | int | float):
        return value
    if is_dataclass(value):
        return {one.name: pack(getattr(value, one.name), arrays, f"{name}.{one.name}") for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): pack(inner, arrays, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [pack(inner, arrays, f"{name}.{index}") for index, inner in enumerate(value)]
    raise TypeError(f"{name} is a {type(value).__name__}, which is not sent")


def unpack(kind: Any, value: Any, arrays: Mapping[str, np.ndarray[Any, Any]], name: str) -> Any:
    """The way back of :func:`pack`.

    Args:
        kind: a type, or a type hint as of a dataclass's field.

    Raises:
        ValueError: what does not fit the hint, as the end of a sentence.
        LIPCARError: as the dataclass itself does.

    >>> unpack(tuple[float, ...], [1, 2.5], {}, "x")
    (1.0, 2.5)
    >>> unpack(dict[str, int], {"a": "1"}, {}, "x")
    Traceback (most recent call last):
    ValueError: 'x.a' is '1', expected is int
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if kind is str and isinstance(value, dict) and set(value) == {"doubt", "severe"}:
        return Doubt(unpack(str, value["doubt"], arrays, name), unpack(bool, value["severe"], arrays, name))
    if origin in (Union, types.UnionType):
        return _unpack_union(inner, value, arrays, name)
    if (origin or kind) is np.ndarray:
        if isinstance(value, dict) and isinstance(value.get("array"), str) and value["array"] in arrays:
            return arrays[value["array"]]
        raise _misfit(name, value, "an array")
    if is_dataclass(kind):
        return _unpack_dataclass(kind, value, arrays, name)
    if isinstance(kind, type) and issubclass(kind, Enum):
        if isinstance(value, str) and value in kind.__members__:
            return kind[value]
        raise _misfit(name, value, f"one of {', '.join(kind.__members__)}")
    if origin in (list, tuple):
        return _unpack_sequence(origin, inner, value, arrays, name)
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise _misfit(name, value, "an object")
        return {key: unpack(inner[1], one, arrays, f"{name}.{key}") for key, one in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if kind in (str, int, float, bool, type(None)) and type(value) is (type(None) if kind is None else kind):
        return value
    raise _misfit(name, value, getattr(kind, "__name__", str(kind)))


def _unpack_union(inner: tuple[Any, ...], value: Any, arrays: Mapping[str, Any], name: str) -> Any:
    if value is None and type(None) in inner:
        return None
    problems = []
    for kind in inner:
        if kind is not type(None):
            try:
                return unpack(kind, value, arrays, name)
            except ValueError as error:
                problems.append(error)
    raise problems[0]


def _unpack_sequence(origin: Any, inner: tuple[Any, ...], value: Any, arrays: Mapping[str, Any], name: str) -> Any:
    if not isinstance(value, list):
        raise _misfit(name, value, "a list")
    kinds = inner if origin is tuple and inner[-1] is not Ellipsis else (inner[0],) * len(value)
    if len(kinds) != len(value):
        raise _misfit(name, value, f"a list of {len(kinds)}")
    both = enumerate(zip(kinds, value, strict=True))
    return origin(unpack(kind, one, arrays, f"{name}.{index}") for index, (kind, one) in both)


def _unpack_dataclass(kind: Any, value: Any, arrays: Mapping[str, Any], name: str) -> Any:
    if not isinstance(value, dict):
        raise _misfit(name, value, "an object")
    hints = _hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise ValueError(f"'{name}' has {unknown[0]!r}, which is not known")
    needed = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}
    if missing := sorted(needed - set(value)):
        raise ValueError(f"'{name}.{missing[0]}' is missing")
    return kind(**{key: unpack(hints[key], one, arrays, f"{name}.{key}") for key, one in value.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


def _misfit(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"'{name}' is {value!r:.60}, expected is {expected}")
