"""Acquisitions: what headers say, what is assumed, what differs, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from LIPCARLib.errors import LIPCARError
from LIPCARLib.physics.acquisition import Acquisition, PulseSequence
from LIPCARLib.physics.sequences import signal_curve

from .test_sequences import COMMON, acquisitions

SPIN, GRADIENT, INVERSION = PulseSequence


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (  # Siemens, spin echo
            {"ScanningSequence": "SE", "SequenceName": "*se2d1", "RepetitionTime": "450", "EchoTime": "12"}
            | {"FlipAngle": "70", "MagneticFieldStrength": "1.5"},
            Acquisition(SPIN, 0.45, 0.012, flip_angle=70.0, magnetic_field=1.5),
        ),
        (  # Siemens, VIBE
            {"ScanningSequence": "GR", "SequenceVariant": ["SP", "OSP"], "SequenceName": "*fl3d1"}
            | {"RepetitionTime": 5.3, "EchoTime": 2.1, "FlipAngle": 12, "InversionTime": None},
            Acquisition(GRADIENT, 0.0053, 0.0021, flip_angle=12.0),
        ),
        (  # Siemens, MPRAGE: the repetition time is that between inversions
            {"ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SK", "SP", "MP"], "SequenceName": "*tfl3d1_16ns"}
            | {"RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900, "FlipAngle": 9},
            Acquisition(INVERSION, 2.3, 0.00298, 0.9, 9.0),
        ),
        (  # GE, BRAVO: the repetition time is that between pulses
            {"ScanningSequence": "GR", "SequenceVariant": "SS\\SP\\SK", "RepetitionTime": 8.2, "EchoTime": 3.2}
            | {"InversionTime": 450, "FlipAngle": 12, "Manufacturer": "GE MEDICAL SYSTEMS"},
            Acquisition(INVERSION, None, 0.0032, 0.45, 12.0, readout_time=0.0082),
        ),
        ({"ScanningSequence": "GR", "SequenceVariant": "SP", "InversionTime": "0"}, Acquisition(GRADIENT)),
        ({"EchoPulseSequence": "SPIN", "RepetitionTime": 600.0}, Acquisition(SPIN, 0.6)),
        ({"ScanningSequence": "RM", "PulseSequenceName": "*tse2d1_3"}, Acquisition(SPIN)),
        ({"ScanningSequence": "RM", "RepetitionTime": 7, "FlipAngle": 15}, Acquisition(GRADIENT, 0.007, flip_angle=15)),
        ({"ScanningSequence": ["EP", "SE"]}, None),
        ({"ScanningSequence": ["SE", "IR"], "InversionTime": 750, "RepetitionTime": 2000}, None),
        ({"SequenceName": "*tir2d1rs"}, None),
        ({}, None),
    ],
)
def test_dicom_attributes(header: dict[str, Any], expected: Acquisition | None) -> None:
    assert Acquisition.from_dicom(header) == expected


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        (
            {"ScanningSequence": "GR", "RepetitionTimeExcitation": 0.008, "EchoTime": 0.003, "FlipAngle": 20},
            Acquisition(GRADIENT, 0.008, 0.003, flip_angle=20.0),
        ),
        (
            {"PulseSequenceType": "MPRAGE", "RepetitionTimePreparation": 2.0, "RepetitionTimeExcitation": 0.0065}
            | {"InversionTime": 1.0, "FlipAngle": 8, "MagneticFieldStrength": 3, "NumberShots": 160},
            Acquisition(INVERSION, 2.0, None, 1.0, 8.0, 3.0, 0.0065, 160),
        ),
        (
            {"ScanningSequence": "GR_IR", "RepetitionTime": 2.3, "InversionTime": 0.9},
            Acquisition(INVERSION, 2.3, None, 0.9),
        ),
        ({"PulseSequenceType": "Spin echo", "RepetitionTime": 0.5}, Acquisition(SPIN, 0.5)),
        ({"PulseSequenceType": "Gradient Echo EPI"}, None),
        ({"RepetitionTime": 0.5, "EchoTime": 0.01}, Acquisition(SPIN, 0.5, 0.01)),
        ({"RepetitionTime": 0.5, "FlipAngle": 20.0}, None),
    ],
)
def test_bids_sidecars(sidecar: dict[str, Any], expected: Acquisition | None) -> None:
    assert Acquisition.from_bids(sidecar) == expected


def test_pydicom_data_sets_are_read() -> None:
    pydicom = pytest.importorskip("pydicom")
    header = pydicom.Dataset()
    header.ScanningSequence, header.RepetitionTime, header.FlipAngle = ["GR", "IR"], "2300", "9"
    header.InversionTime = "900"
    assert Acquisition.from_dicom(header) == Acquisition(INVERSION, 2.3, None, 0.9, 9.0)


@settings(deadline=None)
@given(acquisitions())
def test_bids_keys_come_back(acquisition: Acquisition) -> None:
    assert Acquisition.from_bids(acquisition.as_bids()) == acquisition


@pytest.mark.parametrize(
    ("sidecar", "match"),
    [
        ({"ScanningSequence": "SE", "RepetitionTime": 450}, "repetition time is 450.*seconds"),
        ({"ScanningSequence": "SE", "EchoTime": "soon"}, "EchoTime is 'soon'"),
        ({"ScanningSequence": "SE", "RepetitionTime": float("nan")}, "number is expected"),
        ({"ScanningSequence": "GR", "FlipAngle": -20}, "flip angle is -20.*degrees"),
        ({"ScanningSequence": "SE", "RepetitionTime": 0.01, "EchoTime": 0.02}, "not shorter"),
        ({"ScanningSequence": ["GR", "IR"], "RepetitionTime": 0.8, "InversionTime": 0.9}, "between inversions"),
    ],
)
def test_what_no_scanner_has_is_refused(sidecar: dict[str, Any], match: str) -> None:
    with pytest.raises(LIPCARError, match=match):
        Acquisition.from_bids(sidecar)


def test_a_readout_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LIPCARError, match="RepetitionTimePreparation"):
        Acquisition(INVERSION, 2.0, None, 0.5, 9.0, readout_time=0.01, readout_pulses=176).completed()


@pytest.mark.parametrize("kind", list(PulseSequence))
def test_a_sequence_alone_is_enough_and_says_what_it_assumes(kind: PulseSequence) -> None:
    bare = Acquisition(kind)
    full = bare.completed()
    assert full.completed() == full and not full.assumptions()
    assert f"repetition time {1000 * full.repetition_time:g} ms" in bare.assumptions()
    assert kind.value in bare.words()
    assert signal_curve(bare) is not None


def test_words() -> None:
    assert Acquisition.assumed().words() == "spin echo, repetition time 450 ms, magnetic field 3 T"
    assert "flip angle 15 degrees" in Acquisition(GRADIENT, 0.008).assumptions()
    assert COMMON[4].assumptions() == ("magnetic field 3 T",)


def test_differences() -> None:
    one = Acquisition(GRADIENT, 0.008, 0.003, flip_angle=20.0)
    assert one.differences(Acquisition(GRADIENT, 0.00801, flip_angle=20.0)) == ()
    assert one.differences(Acquisition(GRADIENT, 0.005, 0.003, flip_angle=12.0)) == (
        "repetition time 8 ms against 5 ms",
        "flip angle 20 degrees against 12 degrees",
    )
    assert one.differences(Acquisition(SPIN)) == ("spoiled gradient echo against spin echo",)


def test_a_panel_reads_acquisitions_before_torch_is_there() -> None:
    code = "import sys; from LIPCARLib.physics import Acquisition; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
