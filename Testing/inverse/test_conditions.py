"""What is told or assumed of slices: what stands in for what nobody told, and how it is said."""

from __future__ import annotations

import json

import pytest
import torch

from LIPCARLib.inverse.conditions import Conditions
from LIPCARLib.physics import Acquisition, PulseSequence, native_time

GRADIENT = Acquisition(PulseSequence.GRADIENT_ECHO, 0.008, flip_angle=20.0)
AT_7T = Acquisition(PulseSequence.SPIN_ECHO, 0.5, magnetic_field=7.0)


def test_what_nobody_told_is_assumed_and_said() -> None:
    found = Conditions.of_examination(3, None, None, 0.22)
    assert found.acquisitions == (Acquisition.assumed(),) * 3
    torch.testing.assert_close(found.dose_fraction, torch.full((3,), 0.22))
    assert not found.sequence_told.any() and not found.dose_told.any() and found.native is None
    sequence, dose = found.assumptions()
    assert "not known" in sequence and "spin echo, repetition time 450 ms" in sequence
    assert "0.22 of the full dose" in dose
    assert found.provenance() == {
        "acquisition": "assumed: spin echo, repetition time 450 ms, magnetic field 3 T",
        "dose_fraction": "assumed: 0.22",
        "t1_map_used": False,
    }


def test_what_was_told_is_not_assumed() -> None:
    found = Conditions.of_examination(1, AT_7T, 0.2, 0.22)
    assert found.assumptions() == ()
    assert found.provenance() == {
        "acquisition": "told: spin echo, repetition time 500 ms, magnetic field 7 T",
        "dose_fraction": 0.2,
        "t1_map_used": False,
    }
    assert json.loads(json.dumps(found.provenance())) == found.provenance()
    assert float(found.expected_native()) == pytest.approx(native_time(AT_7T))


def test_what_is_missing_of_an_acquisition_is_said() -> None:
    found = Conditions.of_examination(1, GRADIENT, 0.2, 0.22)
    (sentence,) = found.assumptions()
    assert "repetition time 8 ms" in sentence and "assumed is magnetic field 3 T" in sentence
    assert found.provenance()["acquisition"].endswith("flip angle 20 degrees, assumed magnetic field 3 T")


def test_a_map_gives_way_where_it_tells_nothing() -> None:
    native = torch.tensor([0.0, 0.9, -1.0, 2.0]).view(1, 1, 2, 2)
    found = Conditions.of_examination(1, AT_7T, None, 0.22, native)
    assert found.native is not None
    expected = [native_time(AT_7T), 0.9, native_time(AT_7T), 2.0]
    torch.testing.assert_close(found.native.flatten(), torch.tensor(expected))
    assert found.provenance()["t1_map_used"] is True


def test_slices_take_their_own_part_along() -> None:
    native = torch.rand(3, 1, 4, 4) + 0.5
    both = Conditions((GRADIENT, AT_7T, AT_7T), torch.tensor([0.1, 0.2, 0.3]), torch.ones(3), torch.zeros(3), native)
    part = both[1:]
    assert part.acquisitions == (AT_7T, AT_7T) and part.dose_fraction.tolist() == both.dose_fraction[1:].tolist()
    assert part.native is not None and torch.equal(part.native, native[1:])
    rate = torch.full((3, 1, 2, 2), 0.8)
    torch.testing.assert_close(both.curve().signal(rate)[1:], part.curve().signal(rate[1:]))
    assert (both.curve().signal(rate)[0] - both.curve().signal(rate)[1]).abs().min() > 0.01
