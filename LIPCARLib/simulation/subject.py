"""All that distinguishes one simulated examination from another, drawn from a generator of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..physics import Acquisition, PulseSequence, tofts_concentration
from .anatomy import Head, human_head, random_shapes, rat_head
from .tissues import RAT_WHITE, TISSUE_RANGES, Tissue

Anatomy = Literal["rat", "human", "shapes", "mixed"]
BUILDERS: dict[str, Callable[[np.random.Generator], Head]] = {
    "rat": rat_head,
    "human": human_head,
    "shapes": random_shapes,
}
MIXTURE = {"rat": 0.45, "human": 0.40, "shapes": 0.15}
"""Shares of a mixed cohort."""


@dataclass(frozen=True)
class Sequence:
    """How the signals are measured.

    Attributes:
        name: "spin echo" or "gradient echo".
        tr, te: repetition and echo time in s.
        flip: flip angle in degrees, 90 for a spin echo.
        r2_prime: in 1/s, added to R2 in a gradient echo.
    """

    name: str
    tr: float
    te: float
    flip: float
    r2_prime: float


@dataclass(frozen=True)
class TissueParameters:
    """T1 and T2 in s, M0 relative to water, agent in mM at the full dose."""

    t1: float
    t2: float
    m0: float
    concentration: float


@dataclass(frozen=True)
class Lesion:
    """An irregular ellipsoid.

    Attributes:
        x, y: center in mm; w: its place along the stack, as in `shapes`.
        radius_x, radius_y, radius_z: in mm; angle: in radians; harmonics: as in `Shape`.
        rim: width in mm of the tissue around a necrotic core, 0 for no core.
        edema: width in mm of the edema, 0 for none.
        rough: roughness of the surface in mm.
        uptake: relative to the subject's tumor tissue.
    """

    x: float
    y: float
    w: float
    radius_x: float
    radius_y: float
    radius_z: float
    angle: float
    harmonics: tuple[float, ...]
    rim: float
    edema: float
    rough: float
    uptake: float


@dataclass(frozen=True)
class SubjectParameters:
    """All that distinguishes one examination from another; ``render`` adds nothing but the noise.

    Order of every triple: predose, lowdose, highdose.

    Attributes:
        seed, index: of the cohort and of the subject in it; anatomy: the kind of head that was drawn.
        head: its shapes.
        field: in tesla; sequence: how the signals are measured.
        r1, r2: relaxivities of the agent in 1/(s mM).
        dose: in mmol/kg; minutes: since the injection; dose_fraction: low dose / full dose.
        gains: of the receiver; shifts: (right, down) in pixels, none for highdose, so that the labels lie on it.
        snr: mean predose body signal / noise sigma.
        level: mean predose body signal in the scanner's integers.
        bias, coil: logarithms of sensitivity: its standard deviation, and its change over the picture (right, up).
        skull_stripped: whether all but the brain is zero.
        quarter_turns, flips: how the finished picture is turned, and mirrored (left-right, up-down).
        tissues: what each tissue is in this subject; lesions: none to four.
    """

    seed: int
    index: int
    anatomy: str
    head: Head
    field: float
    sequence: Sequence
    r1: float
    r2: float
    dose: float
    minutes: float
    dose_fraction: float
    gains: tuple[float, float, float]
    shifts: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    snr: float
    level: float
    bias: float
    coil: tuple[float, float]
    skull_stripped: bool
    quarter_turns: int
    flips: tuple[bool, bool]
    tissues: dict[Tissue, TissueParameters]
    lesions: tuple[Lesion, ...]

    @property
    def acquisition(self) -> Acquisition:
        """What a header would tell of it."""
        s = self.sequence
        if s.name == "spin echo":
            return Acquisition(PulseSequence.SPIN_ECHO, s.tr, s.te, magnetic_field=self.field)
        return Acquisition(PulseSequence.GRADIENT_ECHO, s.tr, s.te, flip_angle=s.flip, magnetic_field=self.field)


def draw_subject(seed: int, index: int, anatomy: Anatomy = "mixed") -> SubjectParameters:
    """Draw one subject from a generator of its own, seeded by (seed, index).

    Raises:
        ValueError: an unknown anatomy.
    """
    rng = np.random.default_rng([seed, index])
    kind = str(rng.choice(list(MIXTURE), p=list(MIXTURE.values())))
    if anatomy != "mixed":
        kind = anatomy
    if kind not in BUILDERS:
        raise ValueError(f"anatomy is {anatomy!r}; expected one of {[*BUILDERS, 'mixed']}")
    head = BUILDERS[kind](rng)
    seven = rng.random() < {"rat": 0.5, "human": 0.15, "shapes": 0.5}[kind]
    dose, minutes = float(rng.uniform(0.04, 0.065)), float(rng.uniform(2.0, 10.0))
    turned = kind == "shapes" or (kind == "human" and rng.random() < 0.4)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    pull = rng.uniform(0.0, {"rat": 0.9, "human": 0.3, "shapes": 0.8}[kind])
    if kind == "rat":
        angle = np.pi / 2 + rng.normal(0.0, 0.3)  # the surface coil lies on the roof of the skull
    r1 = float(rng.uniform(6.0, 12.0))
    return SubjectParameters(
        seed=seed,
        index=index,
        anatomy=kind,
        head=head,
        field=7.0 if seven else 3.0,
        sequence=_draw_sequence(rng),
        r1=r1,
        r2=r1 * float(rng.uniform(1.15, 1.6)),
        dose=dose,
        minutes=minutes,
        # A triangle: about 0.2, and never far from it.
        dose_fraction=float(rng.triangular(0.15, 0.2, 0.3)),
        gains=_draw_gains(rng),
        shifts=(_draw_shift(rng), _draw_shift(rng), (0.0, 0.0)),
        snr=_draw_snr(rng),
        level=float(rng.uniform(350.0, 650.0)),
        bias=float(rng.uniform(0.02, 0.12)),
        coil=(float(pull * np.cos(angle)), float(pull * np.sin(angle))),
        skull_stripped=bool(kind != "shapes" and rng.random() < 0.25),
        quarter_turns=int(rng.integers(0, 4)) if turned else 0,
        flips=(bool(rng.random() < 0.5), bool(turned and rng.random() < 0.5)),
        tissues=_draw_tissues(rng, kind, seven, dose, minutes),
        lesions=_draw_lesions(rng, kind, head),
    )


def _draw_sequence(rng: np.random.Generator) -> Sequence:
    if rng.random() < 0.7:
        tr, te = rng.uniform(0.3, 0.7), rng.uniform(0.008, 0.015)
        return Sequence("spin echo", float(tr), float(te), flip=90.0, r2_prime=0.0)
    te, r2_prime = rng.uniform(0.002, 0.004), rng.uniform(3.0, 15.0)
    three_d = rng.random() < 0.5
    tr = rng.uniform(0.005, 0.012) if three_d else rng.uniform(0.15, 0.3)
    flip = rng.uniform(12.0, 25.0) if three_d else rng.uniform(60.0, 80.0)
    return Sequence("gradient echo", float(tr), float(te), float(flip), float(r2_prime))


def _draw_gains(rng: np.random.Generator) -> tuple[float, float, float]:
    """Receiver gains of the three acquisitions, within 0.8 to 1.25 and equal in most sessions.

    A protocol usually keeps its gain from one acquisition to the next. Where it changes, a fifth of the dose can
    hardly be told from a change of a few percent: a network trained with changes in every subject leaves
    heads too dark.
    """
    gains = np.clip(np.exp(rng.normal(0.0, 0.05, 3)), 0.8, 1.25)
    if rng.random() < 0.75:
        return 1.0, 1.0, 1.0
    return float(gains[0]), float(gains[1]), float(gains[2])


def _draw_snr(rng: np.random.Generator) -> float:
    """Half like the paper's cohort, half from better scanners."""
    if rng.random() < 0.5:
        return float(rng.uniform(10.0, 13.0))
    return float(np.exp(rng.uniform(np.log(13.0), np.log(40.0))))


def _draw_shift(rng: np.random.Generator) -> tuple[float, float]:
    length, angle = rng.uniform(0.0, 0.5), rng.uniform(0.0, 2.0 * np.pi)
    return float(length * np.cos(angle)), float(length * np.sin(angle))


def _draw_tissues(
    rng: np.random.Generator, kind: str, seven: bool, dose: float, minutes: float
) -> dict[Tissue, TissueParameters]:
    tissues = {Tissue.AIR: TissueParameters(1.0, 0.001, 0.0, 0.0)}
    for tissue, ranges in TISSUE_RANGES.items():
        if kind == "rat" and tissue is Tissue.WHITE:
            ranges = RAT_WHITE
        t1 = rng.uniform(*(ranges.t1_7 if seven else ranges.t1_3))
        t2 = 1e-3 * rng.uniform(*(ranges.t2_7 if seven else ranges.t2_3))
        m0, k_trans, v_e, v_p = (rng.uniform(*r) for r in (ranges.m0, ranges.k_trans, ranges.v_e, ranges.v_p))
        concentration = tofts_concentration(minutes, dose, k_trans, v_e, v_p)
        tissues[tissue] = TissueParameters(float(t1), float(t2), float(m0), float(concentration))
    return tissues


def _draw_lesions(rng: np.random.Generator, kind: str, head: Head) -> tuple[Lesion, ...]:
    """Lesions inside the brain (shapes: in the innermost layer); what still reaches out is not painted."""
    smallest, largest = {"rat": (0.5, 2.5), "human": (2.5, 12.5), "shapes": (0.5, 2.0)}[kind]
    chance = {"rat": 0.5, "human": 0.55, "shapes": 0.7}[kind]
    if rng.random() >= chance:
        return ()
    several = kind == "human" and rng.random() < 0.3
    lesions = []
    for _ in range(int(rng.integers(2, 5)) if several else 1):
        # Any radius for a single glioma, which is found when it is large; small ones for metastases.
        radius = float(rng.uniform(smallest, 0.5 * largest if several else largest))
        for _ in range(50):
            w = float(head.w_range[0] + rng.uniform(0.1, 0.9) * (head.w_range[1] - head.w_range[0]))
            cx, cy, rx, ry = head.brain.ellipse(w)
            rx, ry = rx - head.brain.inset, ry - head.brain.inset
            if min(rx, ry) > 1.3 * radius:
                break
        else:
            continue
        angle = rng.uniform(0.0, 2.0 * np.pi)
        reach = np.sqrt(rng.uniform(0.0, 1.0)) * 0.92
        x = cx + reach * max(rx - 1.1 * radius, 0.0) * np.cos(angle)
        y = cy + reach * max(ry - 1.1 * radius, 0.0) * np.sin(angle)
        stretch = np.exp(rng.normal(0.0, 0.15, 3))
        pixel = head.field_of_view / 256.0
        necrotic = radius > 6.0 * pixel and rng.random() < 0.6
        edematous = kind == "human" and rng.random() < 0.7
        lesions.append(
            Lesion(
                float(x),
                float(y),
                w,
                radius_x=float(radius * stretch[0]),
                radius_y=float(radius * stretch[1]),
                radius_z=float(radius * stretch[2]),
                angle=float(rng.uniform(0.0, np.pi)),
                harmonics=tuple(float(v) for v in rng.normal(0.0, 1.0, 8) * np.repeat([0.08, 0.07, 0.05, 0.04], 2)),
                rim=float(radius * rng.uniform(0.3, 0.6)) if necrotic else 0.0,
                edema=float(rng.uniform(0.3, 1.2) * radius) if edematous else 0.0,
                rough=float(radius * rng.uniform(0.05, 0.16)),
                uptake=float(np.exp(rng.normal(0.0, 0.15))),
            )
        )
    return tuple(lesions)
