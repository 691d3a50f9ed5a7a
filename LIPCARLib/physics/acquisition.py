"""How a T1-weighted image was acquired: the sequence and its numbers, told, or read from BIDS or DICOM keywords."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, Protocol

from ..errors import LIPCARError


class PulseSequence(Enum):
    """The sequences that the signal equation knows; the value is what users read."""

    SPIN_ECHO = "spin echo"
    GRADIENT_ECHO = "spoiled gradient echo"
    INVERSION_GRADIENT_ECHO = "inversion-prepared gradient echo"


READOUT_PULSES = 176
"""Pulses after an inversion where no one says how many: the partitions of a whole head at 1 mm."""
READOUT_SHARE = 0.9
"""Of the time before and after the inversion time, what a readout of unknown length may fill."""
EXCITATION_LIMIT = 0.1
"""Seconds: a shorter repetition time of an inversion-prepared sequence is the one between its pulses (GE, Philips),
a longer one that between inversions (Siemens)."""
TOLERANCE = 0.02
"""Relative: numbers that differ by less are the same acquisition."""

_TYPICAL: dict[PulseSequence, dict[str, float]] = {
    PulseSequence.SPIN_ECHO: {"repetition_time": 0.45},
    PulseSequence.GRADIENT_ECHO: {"repetition_time": 0.008, "flip_angle": 15.0},
    PulseSequence.INVERSION_GRADIENT_ECHO: {
        "repetition_time": 2.3,
        "inversion_time": 0.9,
        "flip_angle": 9.0,
        "readout_time": 0.007,
    },
}
"""T1-weighted imaging of the head at 3 T, where a number that the sequence needs is not known."""
_FIELD = 3.0

_LIMITS = {
    "repetition_time": (0.0, 30.0, "seconds"),
    "echo_time": (0.0, 1.0, "seconds"),
    "inversion_time": (0.0, 10.0, "seconds"),
    "flip_angle": (0.0, 180.0, "degrees"),
    "magnetic_field": (0.0, 25.0, "tesla"),
    "readout_time": (0.0, 1.0, "seconds"),
    "readout_pulses": (0, 10000, "pulses"),
}
"""Above the first, at most the second."""
_BIDS_KEYS = {
    "repetition_time": ("RepetitionTimePreparation", "RepetitionTime", "RepetitionTimeExcitation"),
    "echo_time": ("EchoTime",),
    "inversion_time": ("InversionTime",),
    "flip_angle": ("FlipAngle",),
    "magnetic_field": ("MagneticFieldStrength",),
    "readout_time": ("RepetitionTimeExcitation",),
    "readout_pulses": ("NumberShots",),
}
_DICOM_KEYS = {
    "repetition_time": ("RepetitionTime",),
    "echo_time": ("EchoTime", "EffectiveEchoTime"),
    "inversion_time": ("InversionTime",),
    "flip_angle": ("FlipAngle",),
    "magnetic_field": ("MagneticFieldStrength",),
}
_TIMES = ("repetition_time", "echo_time", "inversion_time", "readout_time")
_SEQUENCE_NAMES = (
    (r"TFL|MP2?RAGE|BRAVO|IR-?(FSPGR|SPGR|TFE)", PulseSequence.INVERSION_GRADIENT_ECHO),
    (r"TIR|EPI?|EPFID|EPSE|TRUFI|SSFP|FIESTA", None),
    (r"FL\d?D?|FLASH|VIBE|LAVA|THRIVE|F?SPGR|E?F?GRE|SPOILED|GRADIENT|FFE|TFE|T1W? ?FFE", PulseSequence.GRADIENT_ECHO),
    (r"T?SE\d?|FSE|TURBO SPIN|SPIN ?ECHO|SPACE|SPC|CUBE|VISTA", PulseSequence.SPIN_ECHO),
)
"""What vendors and users call a sequence, the more special names first; None for what no equation here describes."""


class Attributes(Protocol):
    """A mapping or a pydicom data set."""

    def get(self, key: str, /) -> Any: ...


@dataclass(frozen=True)
class Acquisition:
    """How one T1-weighted image was acquired.

    Attributes:
        sequence: which one.
        repetition_time: seconds; between excitations, of an inversion-prepared sequence between inversions.
        echo_time: seconds. None leaves T2 and T2* out.
        inversion_time: seconds from the inversion to the centre of k-space.
        flip_angle: degrees, of a gradient echo. A spin echo is taken to excite by 90 degrees: what its header says
            is often the angle of refocusing.
        magnetic_field: tesla.
        readout_time: seconds between the pulses after an inversion (echo spacing).
        readout_pulses: how many of them, the centre of k-space in their middle.

    Raises:
        LIPCARError: a number that no scanner has, in most cases one in another unit; times that do not fit.
    """

    sequence: PulseSequence
    repetition_time: float | None = None
    echo_time: float | None = None
    inversion_time: float | None = None
    flip_angle: float | None = None
    magnetic_field: float | None = None
    readout_time: float | None = None
    readout_pulses: int | None = None

    def __post_init__(self) -> None:
        for name, (low, high, unit) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low < value <= high:
                raise LIPCARError(
                    f"The {_word(name)} is {value:g}; more than {low:g} and at most {high:g} {unit} are expected. Give "
                    "it in that unit, or leave it out."
                )
        if self.repetition_time and self.echo_time and self.echo_time >= self.repetition_time:
            raise LIPCARError(
                f"The echo time, {self.echo_time:g} s, is not shorter than the repetition time, "
                f"{self.repetition_time:g} s. Give both in seconds."
            )
        if self.repetition_time and self.inversion_time and self.inversion_time >= self.repetition_time:
            raise LIPCARError(
                f"The inversion time, {self.inversion_time:g} s, is not shorter than the repetition time, "
                f"{self.repetition_time:g} s; the time between inversions is expected."
            )

    @classmethod
    def assumed(cls) -> Acquisition:
        """What is assumed where nothing is known: a spin echo of a typical repetition time at 3 T."""
        return cls(PulseSequence.SPIN_ECHO).completed()

    def completed(self) -> Acquisition:
        """The same with a typical value for every number that the sequence needs and does not have.

        Raises:
            LIPCARError: the readout after the inversion does not fit between the times that are given.
        """
        typical: dict[str, Any] = {"magnetic_field": _FIELD, **_TYPICAL[self.sequence]}
        if self.repetition_time is None and self.inversion_time is not None:
            typical["repetition_time"] = max(typical["repetition_time"], 2.5 * self.inversion_time)
        if self.inversion_time is None and self.repetition_time is not None and "inversion_time" in typical:
            typical["inversion_time"] = min(typical["inversion_time"], 0.4 * self.repetition_time)
        found = replace(self, **{name: value for name, value in typical.items() if getattr(self, name) is None})
        if self.sequence is not PulseSequence.INVERSION_GRADIENT_ECHO:
            return found
        return found._with_readout()

    def _with_readout(self) -> Acquisition:
        times = (self.repetition_time, self.inversion_time, self.readout_time)
        repetition, inversion, spacing = (value or 0.0 for value in times)
        room = min(inversion, repetition - inversion)
        if self.readout_pulses is None:
            pulses = min(READOUT_PULSES, int(2 * READOUT_SHARE * room / spacing))
            return replace(self, readout_pulses=max(1, pulses))
        if self.readout_pulses * spacing / 2 > room:
            raise LIPCARError(
                f"{self.readout_pulses} pulses, {spacing:g} s apart, do not fit around an inversion time of "
                f"{inversion:g} s within {repetition:g} s. Give the time between inversions as "
                "RepetitionTimePreparation and that between pulses as RepetitionTimeExcitation, in seconds."
            )
        return self

    def assumptions(self) -> tuple[str, ...]:
        """What :meth:`completed` assumes, in words, e.g. "flip angle 15 degrees"."""
        full = self.completed()
        return tuple(
            _with_unit(field.name, getattr(full, field.name))
            for field in fields(self)
            if getattr(self, field.name) is None and getattr(full, field.name) is not None
        )

    def words(self) -> str:
        """The acquisition in words, e.g. "spin echo, repetition time 450 ms, magnetic field 3 T"."""
        known = [name for name in _LIMITS if getattr(self, name) is not None]
        return ", ".join([self.sequence.value, *(_with_unit(name, getattr(self, name)) for name in known)])

    def differences(self, other: Acquisition) -> tuple[str, ...]:
        """What differs from another acquisition, in words; what only one of them knows does not."""
        found = []
        if self.sequence is not other.sequence:
            found.append(f"{self.sequence.value} against {other.sequence.value}")
        for name in _LIMITS:
            own, theirs = getattr(self, name), getattr(other, name)
            if own is not None and theirs is not None and not math.isclose(own, theirs, rel_tol=TOLERANCE):
                found.append(f"{_with_unit(name, own)} against {_with_unit(name, theirs, named=False)}")
        return tuple(found)

    @classmethod
    def from_bids(cls, sidecar: Mapping[str, Any]) -> Acquisition | None:
        """Read from the keys of a BIDS sidecar: seconds, degrees, tesla.

        Returns:
            None where neither names nor numbers tell one of the three sequences.

        Raises:
            LIPCARError: a value that is no number, or one that no scanner has.
        """
        return cls._read(sidecar, _BIDS_KEYS, milliseconds=False)

    @classmethod
    def from_dicom(cls, attributes: Attributes) -> Acquisition | None:
        """Read from DICOM attributes by keyword: milliseconds, degrees, tesla; otherwise as :meth:`from_bids`.

        For Enhanced MR hand in what the functional groups say, flattened.
        """
        return cls._read(attributes, _DICOM_KEYS, milliseconds=True)

    @classmethod
    def _read(cls, given: Attributes, keys: Mapping[str, Iterable[str]], milliseconds: bool) -> Acquisition | None:
        numbers: dict[str, Any] = {}
        for name, candidates in keys.items():
            found = (_number(given, key) for key in candidates)
            value = next((value for value in found if value is not None), None)
            if value is not None:
                numbers[name] = round(value / 1000, 9) if milliseconds and name in _TIMES else value
        kind = _sequence(given, numbers)
        if kind is None:
            return None
        if kind is not PulseSequence.INVERSION_GRADIENT_ECHO:
            for name in ("inversion_time", "readout_time", "readout_pulses"):
                numbers.pop(name, None)
        elif numbers.get("repetition_time", 1.0) < EXCITATION_LIMIT:
            numbers.setdefault("readout_time", numbers.pop("repetition_time"))
            numbers.pop("repetition_time", None)
        if "readout_pulses" in numbers:
            numbers["readout_pulses"] = round(numbers["readout_pulses"])
        return cls(kind, **numbers)

    def as_bids(self) -> dict[str, Any]:
        """The keys that :meth:`from_bids` reads."""
        codes = {PulseSequence.SPIN_ECHO: ["SE"], PulseSequence.GRADIENT_ECHO: ["GR"]}
        numbers = {keys[0]: getattr(self, name) for name, keys in _BIDS_KEYS.items()}
        if self.sequence is not PulseSequence.INVERSION_GRADIENT_ECHO:
            numbers["RepetitionTime"] = numbers.pop("RepetitionTimePreparation")
        found = {key: value for key, value in numbers.items() if value is not None}
        return {"ScanningSequence": codes.get(self.sequence, ["GR", "IR"]), **found}


def _number(given: Attributes, key: str) -> float | None:
    """The value of a key; None where it is missing, empty or zero."""
    value = given.get(key)
    if isinstance(value, str):
        value = value.split("\\")[0].strip()
    elif hasattr(value, "__iter__"):
        value = next(iter(value), None)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise LIPCARError(f"{key} is {value!r}; a number is expected. Correct it or leave it out.") from error
    if not math.isfinite(number):
        raise LIPCARError(f"{key} is {value!r}; a number is expected. Correct it or leave it out.")
    return number or None


def _texts(given: Attributes, *keys: str) -> list[str]:
    """All that stands under some keys, upper-case; DICOM separates values by backslashes."""
    found: list[str] = []
    for key in keys:
        value = given.get(key)
        values = [value] if isinstance(value, str) else list(value or ()) if hasattr(value, "__iter__") else []
        found += [part.strip().upper() for text in values for part in re.split(r"[\\_]", str(text)) if part.strip()]
    return found


def _sequence(given: Attributes, numbers: Mapping[str, float]) -> PulseSequence | None:
    """Which sequence it is: by what the header calls it, then by the vendors' names, then by its numbers."""
    codes = set(_texts(given, "ScanningSequence"))
    inverted = "IR" in codes or "inversion_time" in numbers or _texts(given, "InversionRecovery") == ["YES"]
    echo = _texts(given, "EchoPulseSequence")
    if "EP" in codes or echo == ["BOTH"]:
        return None
    if "SE" in codes or echo == ["SPIN"]:
        return None if inverted else PulseSequence.SPIN_ECHO
    names = _texts(given, "SequenceName", "PulseSequenceName", "PulseSequenceType", "PulseSequenceDetails")
    for pattern, kind in _SEQUENCE_NAMES:
        if any(re.search(rf"(?<![A-Z])(?:{pattern})(?![A-Z])", name) for name in names):
            gradient = kind is PulseSequence.GRADIENT_ECHO
            return PulseSequence.INVERSION_GRADIENT_ECHO if gradient and inverted else kind
    if "GR" in codes or echo == ["GRADIENT"]:
        return PulseSequence.INVERSION_GRADIENT_ECHO if inverted else PulseSequence.GRADIENT_ECHO
    return _sequence_by_numbers(numbers)


def _sequence_by_numbers(numbers: Mapping[str, float]) -> PulseSequence | None:
    repetition, flip = numbers.get("repetition_time"), numbers.get("flip_angle")
    small = flip is not None and flip <= 45
    if "inversion_time" in numbers:
        return PulseSequence.INVERSION_GRADIENT_ECHO if small else None
    if repetition is None:
        return None
    if repetition < EXCITATION_LIMIT:
        return PulseSequence.GRADIENT_ECHO
    return PulseSequence.SPIN_ECHO if 0.2 <= repetition <= 1.2 and not small else None


def _word(name: str) -> str:
    return name.replace("_", " ")


def _with_unit(name: str, value: float, named: bool = True) -> str:
    if name in _TIMES:
        text = f"{1000 * value:.4g} ms"
    else:
        text = f"{value:g}" + {"flip_angle": " degrees", "magnetic_field": " T"}.get(name, "")
    return f"{_word(name)} {text}" if named else text
