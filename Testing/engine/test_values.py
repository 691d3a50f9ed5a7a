"""Dataclasses and back: nothing is lost, and what does not fit its hint is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from LIPCARLib.doubt import Doubt
from LIPCARLib.engine.values import pack, unpack
from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging import Examination
from LIPCARLib.imaging.motion import Motion


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Case:
    number: float
    colour: Colour = Colour.RED
    pair: tuple[int, str] = (1, "a")
    image: np.ndarray | None = None
    table: dict[str, list[float | None]] = field(default_factory=dict)


def test_an_examination_comes_back_as_it_was(examination: Examination, bits: Callable[[Any], Any]) -> None:
    turned = Motion(Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix(), np.array([1.0, 2, 3]), np.zeros(3))
    vars(examination)["predose_motion"] = turned
    arrays: dict[str, Any] = {}
    text = json.dumps(pack(examination, arrays, "examination"), allow_nan=False)
    found = unpack(Examination, json.loads(text), arrays, "examination")
    assert bits(found) == bits(examination)
    for name, value in vars(examination).items():
        assert type(getattr(found, name)) is type(value), name


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "'x.number' is missing"),
        ([], "'x' is .*an object"),
        ({"number": True}, "'x.number' is True"),
        ({"number": "1"}, "expected is float"),
        ({"number": 1, "colour": "GREEN"}, "one of RED"),
        ({"number": 1, "colour": ["RED"]}, "one of RED"),
        ({"number": 1, "pair": [1]}, "a list of 2"),
        ({"number": 1, "pair": {"0": 1}}, "a list"),
        ({"number": 1, "image": {"array": "there is none"}}, "an array"),
        ({"number": 1, "image": {"array": ["x"]}}, "an array"),
        ({"number": 1, "table": {"a": [1, "b"]}}, "'x.table.a.1'"),
        ({"number": 1, "__class__": "Case"}, "'__class__', which is not known"),
    ],
)
def test_what_does_not_fit_is_named(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack(Case, value, {}, "x")
    assert unpack(Case, {"number": 1, "table": {"a": [1, None]}}, {}, "x") == Case(1.0, table={"a": [1.0, None]})


def test_a_doubt_stays_one() -> None:
    found = unpack(tuple[str, ...], pack((Doubt("Look.", severe=True), "Fine."), {}, "x"), {}, "x")
    assert found == ("Look.", "Fine.") and found[0].severe and type(found[1]) is str


def test_what_a_dataclass_refuses_is_refused(examination: Examination) -> None:
    arrays: dict[str, Any] = {}
    packed = pack(examination, arrays, "x")
    packed["acquisition"]["repetition_time"] = 450
    with pytest.raises(LIPCARError, match="repetition time is 450"):
        unpack(Examination, packed, arrays, "x")
