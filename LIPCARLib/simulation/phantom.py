"""Simulated contrast-enhanced examinations with labels: parameters drawn first, images made second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..physics import relaxation_rate, spin_echo, spoiled_gradient_echo, tofts_concentration
from .anatomy import (
    BRAIN_TISSUES,
    RAT_WHITE,
    TISSUE_RANGES,
    FloatArray,
    Head,
    Shape,
    Tissue,
    ellipse_distance,
    human_head,
    random_shapes,
    rat_head,
    smooth_field,
)

__all__ = [
    "Lesion",
    "Sequence",
    "SimulatedExamination",
    "SubjectParameters",
    "Tissue",
    "TissueParameters",
    "draw_subject",
    "render",
    "simulate",
]

Anatomy = Literal["rat", "human", "shapes", "mixed"]
Float32 = npt.NDArray[np.float32]
BUILDERS: dict[str, Callable[[np.random.Generator], Head]] = {
    "rat": rat_head,
    "human": human_head,
    "shapes": random_shapes,
}
MIXTURE = {"rat": 0.45, "human": 0.40, "shapes": 0.15}
EXTRACRANIAL = (Tissue.SKIN, Tissue.FAT, Tissue.MUSCLE, Tissue.BONE, Tissue.MARROW)
EDGE_PIXELS = 0.7
BRIGHTEST = 3700.0

# Relative standard deviation of M0 and of uptake inside one tissue; T1 varies by T1_TEXTURE everywhere.
M0_TEXTURE = {
    Tissue.CSF: 0.015,
    Tissue.EYE: 0.015,
    Tissue.VESSEL: 0.03,
    Tissue.WHITE: 0.04,
    Tissue.TUMOR: 0.07,
    Tissue.MUSCLE: 0.075,
    Tissue.FAT: 0.08,
}
UPTAKE_TEXTURE = {Tissue.TUMOR: 0.25, Tissue.MUSCLE: 0.22, Tissue.MUCOSA: 0.2, Tissue.GLAND: 0.18}
T1_TEXTURE = 0.03


@dataclass(frozen=True)
class Sequence:
    """``name`` is "spin echo" or "gradient echo"; times in s, flip angle in degrees (90 for a spin echo);
    ``r2_prime`` in 1/s is added to R2 in a gradient echo."""

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
    """An irregular ellipsoid: center x, y in mm and ``w`` along the stack, radii in mm, angle in radians,
    harmonics as in ``Shape``, width of the rim around a necrotic core (0: no core), width of the edema
    (0: none) and roughness of the surface in mm, uptake relative to the subject's tumor tissue."""

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

    Order of every triple: predose, lowdose, highdose. Shifts (right, down) in pixels; highdose has none, so
    that the labels lie on it. ``snr`` is mean predose body signal / noise sigma. ``quarter_turns`` and
    ``flips`` (left-right, up-down) orient the finished picture. ``level`` is the mean predose body signal in
    the scanner's integers, ``field`` in tesla, ``dose`` in mmol/kg, ``minutes`` since the injection; ``bias``
    and ``coil`` (right, up) are logarithms of sensitivity: standard deviation, and change over the picture.
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


@dataclass(frozen=True)
class SimulatedExamination:
    """Images (slices, size, size), float32 holding the integers 0 to 4095 a scanner would write; clean
    images have no noise but the same gain and shift. ``labels`` is uint8 with values of ``Tissue``;
    ``spacing`` is (x, y, z) in mm; ``parameters`` can be written as JSON."""

    predose: Float32
    lowdose: Float32
    highdose: Float32
    clean_lowdose: Float32
    clean_highdose: Float32
    labels: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float]
    parameters: dict[str, Any]


def simulate(
    seed: int, index: int, slices: int = 18, size: int = 256, anatomy: Anatomy = "mixed"
) -> SimulatedExamination:
    """Subject ``index`` of cohort ``seed``: the same voxels whatever other subjects are drawn, and where."""
    return render(draw_subject(seed, index, anatomy), slices, size)


# ---------------------------------------------------------------------------------------------- parameters


def draw_subject(seed: int, index: int, anatomy: Anatomy = "mixed") -> SubjectParameters:
    """Draws one subject from a generator of its own, seeded by (seed, index)."""
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
        # A triangle keeps the range of physics.md and its "about 0.2".
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
    hardly be told from a change of a few percent: a network trained with changes of 3 % in every subject left the
    heads of held-out rats 0.055 too dark, of an enhancement of 0.106 rms.
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
                *(float(radius * s) for s in stretch),
                float(rng.uniform(0.0, np.pi)),
                tuple(float(v) for v in rng.normal(0.0, 1.0, 8) * np.repeat([0.08, 0.07, 0.05, 0.04], 2)),
                rim=float(radius * rng.uniform(0.3, 0.6)) if necrotic else 0.0,
                edema=float(rng.uniform(0.3, 1.2) * radius) if edematous else 0.0,
                rough=float(radius * rng.uniform(0.05, 0.16)),
                uptake=float(np.exp(rng.normal(0.0, 0.15))),
            )
        )
    return tuple(lesions)


# ------------------------------------------------------------------------------------------- random fields


class _Fields:
    """A subject's random fields on one grid, drawn in a fixed order: none depends on what is painted."""

    def __init__(self, rng: np.random.Generator, head: Head, slices: int, size: int) -> None:
        shape, fov = (slices, size, size), head.field_of_view
        extent = (head.slab, fov, fov)
        coarse, fine = head.fold_spacing
        self.warp_x, self.warp_y = (
            sum(a * smooth_field(rng, shape, extent, spacing) for spacing, a in head.warp) for _ in range(2)
        )
        self.coarse_folds = smooth_field(rng, shape, extent, coarse)
        self.fine_folds = smooth_field(rng, shape, extent, fine)
        self.reach = float(max(np.abs(self.warp_x).max(), np.abs(self.warp_y).max()))
        self.rough = sum(a * smooth_field(rng, shape, extent, fov / n) for n, a in ((18, 0.8), (50, 0.6)))
        self.m0, self.t1, self.uptake = (
            sum(a * smooth_field(rng, shape, extent, fov / n) for n, a in ((8, 0.6), (28, 0.6), (90, 0.55)))
            for _ in range(3)
        )
        self.bias = smooth_field(rng, shape, extent, fov / 3.0)


# ------------------------------------------------------------------------------------------------ painting


class _Slice:
    """One slice on the easel: three signals and the labels, painted back to front with soft edges."""

    def __init__(self, subject: SubjectParameters, fields: _Fields, k: int, w: float, size: int) -> None:
        self.subject, self.fields, self.k, self.w = subject, fields, k, w
        self.pixel = subject.head.field_of_view / size
        axis = ((np.arange(size) + 0.5) * self.pixel - 0.5 * subject.head.field_of_view).astype(np.float32)
        self.x = axis[None, :] + fields.warp_x[k]
        self.y = -axis[:, None] + fields.warp_y[k]
        self.signals = np.zeros((3, size, size), dtype=np.float32)
        self.labels = np.zeros((size, size), dtype=np.uint8)
        self.clefts: dict[bool, Float32] = {}
        head = subject.head
        self.brain = self.coverage(self.distance(head.brain)) if self.visible(head.brain) else None
        self.head = self.coverage(self.distance(head.skin)) if self.visible(head.skin) else None

    def visible(self, shape: Shape) -> bool:
        return min(shape.ellipse(self.w)[2:]) > 0.3 * self.pixel

    def distance(self, shape: Shape, window: tuple[slice, slice] = (slice(None), slice(None))) -> FloatArray:
        d = shape.distance(self.x[window], self.y[window], self.w)
        if shape.rough:
            d = d + np.float32(shape.rough) * self.fields.rough[self.k][window]
        if shape.fold is not None:
            depth, thickness = shape.fold
            to_cleft = np.maximum(self.cleft_distance(shape.coarse_folds)[window], -d - np.float32(depth))
            d = np.maximum(d, np.minimum(-d, to_cleft) - np.float32(thickness))
        return d

    def cleft_distance(self, coarse: bool) -> Float32:
        """Distance in mm to the zero lines of the fold field: |n| / |grad n|, which is exact at the lines."""
        if coarse not in self.clefts:
            n = (self.fields.coarse_folds if coarse else self.fields.fine_folds)[self.k]
            ny, nx = np.gradient(n, self.pixel)
            floor = (0.5 / self.subject.head.fold_spacing[0 if coarse else 1]) ** 2
            self.clefts[coarse] = np.abs(n) / np.sqrt(nx * nx + ny * ny + np.float32(floor))
        return self.clefts[coarse]

    def coverage(self, distance: FloatArray) -> FloatArray:
        return np.clip(np.float32(0.5) - distance * np.float32(1.0 / (EDGE_PIXELS * self.pixel)), 0.0, 1.0)

    def window(self, cx: float, cy: float, reach: float) -> tuple[slice, slice]:
        """Pixels that the warp may bring within ``reach`` mm of a center."""
        size = self.labels.shape[0]
        reach += self.fields.reach
        half = 0.5 * self.subject.head.field_of_view
        columns = (np.array([cx - reach, cx + reach]) + half) / self.pixel
        rows = (half - np.array([cy + reach, cy - reach])) / self.pixel
        c0, c1, r0, r1 = (
            int(v) for v in np.clip(np.concatenate((np.add(columns, (0, 1)), np.add(rows, (0, 1)))), 0, size)
        )
        return slice(r0, r1), slice(c0, c1)

    def paint_shape(self, shape: Shape) -> None:
        if not self.visible(shape) or (shape.inside_brain and self.brain is None):
            return
        cx, cy, rx, ry = shape.ellipse(self.w)
        reach = max(rx, ry) * (1.0 + sum(np.abs(shape.harmonics))) + 4.0 * shape.rough + self.pixel
        reach += max(-shape.inset, 0.0)
        window = self.window(cx, cy, reach)
        cover = self.coverage(self.distance(shape, window))
        if shape.inside_brain:
            cover = cover * self.brain[window]
        elif shape.tissue not in (Tissue.SKIN, Tissue.AIR) and self.head is not None:
            cover = cover * self.head[window]
        self.paint(shape.tissue, cover, window, shape.gain, shape.uptake)

    def paint(self, tissue: Tissue, cover: FloatArray, window: tuple[slice, slice], gain: float, uptake: float) -> None:
        """Mixes the tissue's signals in where ``cover`` > 0, and writes its label from one half up."""
        rows, columns = np.nonzero(cover > 0.004)
        if rows.size == 0:
            return
        a = cover[rows, columns]
        rows, columns = rows + window[0].start, columns + window[1].start
        signals = self.signal(tissue, rows, columns, gain, uptake)
        old = self.signals[:, rows, columns]
        self.signals[:, rows, columns] = old + a * (signals - old)
        solid = a >= 0.5
        self.labels[rows[solid], columns[solid]] = tissue

    def signal(self, tissue: Tissue, rows: Any, columns: Any, gain: float, uptake: float) -> FloatArray:
        """Signals (3, n) of one tissue at n pixels with its texture, before gain, bias and noise."""
        s, f, p = self.subject, self.fields, self.subject.tissues[tissue]
        if p.m0 == 0.0:
            return np.zeros((3, rows.size), dtype=np.float32)
        at = (self.k, rows, columns)
        grain = np.float32(M0_TEXTURE.get(tissue, 0.055)) * f.m0[at]
        m0 = np.float32(p.m0 * gain) * np.maximum(1.0 + grain, 0.05)
        t1 = np.float32(p.t1) * np.maximum(1.0 + np.float32(T1_TEXTURE) * f.t1[at], 0.5)
        agent = np.maximum(1.0 + np.float32(UPTAKE_TEXTURE.get(tissue, 0.12)) * f.uptake[at], 0.0)
        doses = np.array([[0.0], [s.dose_fraction], [1.0]], dtype=np.float32)
        agent = doses * agent * np.float32(p.concentration * uptake)
        r1, r2 = relaxation_rate(t1, s.r1, agent), relaxation_rate(p.t2, s.r2, agent)
        q = s.sequence
        if q.name == "spin echo":
            return spin_echo(m0, r1, r2, q.tr, q.te)
        return spoiled_gradient_echo(m0, r1, r2 + q.r2_prime, q.tr, q.te, np.deg2rad(q.flip))

    def paint_lesion(self, lesion: Lesion) -> None:
        if self.brain is None:
            return
        head = self.subject.head
        height = (self.w - lesion.w) * head.slab / (head.w_range[1] - head.w_range[0])
        size = 0.5 * (lesion.radius_x + lesion.radius_y)
        bulge = 1.0 + sum(np.abs(lesion.harmonics))
        reach = bulge * max(lesion.radius_x, lesion.radius_y) * (1.0 + lesion.edema / size)
        window = self.window(lesion.x, lesion.y, reach + 4.0 * lesion.rough + self.pixel)
        x, y = self.x[window] - np.float32(lesion.x), self.y[window] - np.float32(lesion.y)
        rough = np.float32(lesion.rough) * self.fields.rough[self.k][window]
        inside = self.brain[window]

        def part(grow: float) -> FloatArray:
            # The body ``grow`` mm larger: an ellipsoid cut at this height.
            cut = 1.0 - (height / max(lesion.radius_z + grow, 1e-3)) ** 2
            if cut <= 0.0 or size + grow <= 0.0:
                return np.zeros_like(inside)
            f = float(np.sqrt(cut)) * (1.0 + grow / size)
            radii = f * lesion.radius_x, f * lesion.radius_y
            return self.coverage(ellipse_distance(x, y, *radii, lesion.angle, lesion.harmonics) + rough)

        if lesion.edema:
            # Water spreads along the brain's own tissue; it stops at the ventricles and the sulci.
            parenchyma = np.isin(self.labels[window], BRAIN_TISSUES)
            self.paint(Tissue.EDEMA, part(lesion.edema) * inside * parenchyma, window, 1.0, 1.0)
        self.paint(Tissue.TUMOR, part(0.0) * inside, window, 1.0, lesion.uptake)
        if lesion.rim:
            self.paint(Tissue.TUMOR_CORE, part(-lesion.rim) * inside, window, 1.0, lesion.uptake)


# ----------------------------------------------------------------------------------------------- rendering


def render(parameters: SubjectParameters, slices: int = 18, size: int = 256) -> SimulatedExamination:
    """Makes the images. ``slices`` and ``size`` change the sampling of the same head, not its extent."""
    if slices < 1 or size < 16:
        raise ValueError(f"render: got {slices} slices of {size} pixels; expected at least 1 of 16")
    s, head = parameters, parameters.head
    rng = np.random.default_rng([s.seed, s.index, 1])
    fields = _Fields(rng, head, slices, size)
    step = (head.w_range[1] - head.w_range[0]) / slices
    positions = head.w_range[0] + (np.arange(slices) + 0.5) * step
    thickness = head.slab / slices
    lesions = tuple(_onto_slice(lesion, positions, thickness) for lesion in s.lesions)

    signals = np.zeros((3, slices, size, size), dtype=np.float32)
    labels = np.zeros((slices, size, size), dtype=np.uint8)
    keep = np.ones((slices, size, size), dtype=bool)
    for k, w in enumerate(positions):
        easel = _Slice(s, fields, k, float(w), size)
        for shape in head.shapes:
            easel.paint_shape(shape)
        for lesion in lesions:
            easel.paint_lesion(lesion)
        signals[:, k], labels[k] = easel.signals, easel.labels
        if s.skull_stripped:
            # The skull is rough and may reach over the smooth outline of the brain.
            keep[k] = ~np.isin(labels[k], EXTRACRANIAL)
            keep[k] &= False if easel.brain is None else easel.brain >= 0.5
    labels[~keep] = Tissue.AIR

    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    sensitivity = np.exp(s.bias * fields.bias + s.coil[0] * axis[None, :] - s.coil[1] * axis[:, None])
    signals *= sensitivity
    signals, labels, keep = (_orient(a, s.quarter_turns, s.flips) for a in (signals, labels, keep))
    for image, gain, shift in zip(signals, s.gains, s.shifts, strict=True):
        image[...] = gain * _sample_k_space(image, shift)

    body = labels != Tissue.AIR
    mean = float(signals[0][body].mean()) if body.any() else 1.0
    scale = s.level / mean
    if body.any():
        # A scanner sets its receiver so that the brightest image fits; this leaves room for noise below 4095.
        scale = min(scale, BRIGHTEST / float(signals[2][body].max()))
    signals *= np.float32(scale)
    sigma = mean * scale / s.snr
    noisy = [np.rint(np.minimum(_rician(rng, image, sigma), 4095.0)) * keep for image in signals]
    clean = [np.rint(np.minimum(image, 4095.0)) * keep for image in signals[1:]]
    spacing = head.field_of_view / size
    return SimulatedExamination(
        *noisy, *clean, labels, (spacing, spacing, thickness), _as_json(s, lesions, sigma, scale)
    )


def _onto_slice(lesion: Lesion, positions: FloatArray, thickness: float) -> Lesion:
    """A lesion thinner than the slices is moved to the nearest one, lest it fall between two and be lost."""
    if lesion.radius_z > thickness:
        return lesion
    return replace(lesion, w=float(positions[np.argmin(np.abs(positions - lesion.w))]))


def _orient(volume: npt.NDArray[Any], turns: int, flips: tuple[bool, bool]) -> npt.NDArray[Any]:
    volume = np.rot90(volume, turns, axes=(-2, -1))
    return np.ascontiguousarray(volume[..., :: -1 if flips[1] else 1, :: -1 if flips[0] else 1])


def _sample_k_space(image: Float32, shift: tuple[float, float]) -> Float32:
    """Moves a volume (z, y, x) in plane by ``shift`` = (right, down) pixels with a phase ramp in k-space; a
    mild taper of its outer third keeps edges from ringing, and what is still negative becomes 0."""
    size = image.shape[-1]
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]

    def taper(f: FloatArray) -> FloatArray:
        edge = np.clip((np.abs(f) - 0.33) / 0.17, 0.0, 1.0)
        return 1.0 - 0.7 * np.sin(0.5 * np.pi * edge) ** 2

    ramp = np.exp(-2j * np.pi * (fx * shift[0] + fy * shift[1]))
    filtered = np.fft.rfft2(image) * (taper(fy) * taper(fx) * ramp).astype(np.complex64)
    moved = np.fft.irfft2(filtered, s=image.shape[-2:])
    return np.maximum(moved, 0.0).astype(np.float32)


def _rician(rng: np.random.Generator, image: Float32, sigma: float) -> Float32:
    """Magnitude of the signal with complex Gaussian noise: sqrt((S + n1)^2 + n2^2), n ~ N(0, sigma^2)."""
    real = image + np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32))


def _as_json(s: SubjectParameters, lesions: tuple[Lesion, ...], sigma: float, scale: float) -> dict[str, Any]:
    """The parameters without the geometry of the head, which the labels tell better."""
    plain = {
        name: getattr(s, name)
        for name in (
            "seed",
            "index",
            "anatomy",
            "field",
            "r1",
            "r2",
            "dose",
            "minutes",
            "dose_fraction",
            "snr",
            "bias",
            "skull_stripped",
            "quarter_turns",
        )
    }
    return plain | {
        "sequence": asdict(s.sequence),
        "gains": list(s.gains),
        "shifts": [list(shift) for shift in s.shifts],
        "coil": list(s.coil),
        "flips": list(s.flips),
        "noise_sigma": sigma,
        "scale": scale,
        "tissues": {tissue.name: asdict(p) for tissue, p in s.tissues.items()},
        "tumors": [{**asdict(lesion), "harmonics": list(lesion.harmonics)} for lesion in lesions],
    }
