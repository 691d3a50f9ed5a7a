"""The anatomy of the simulated examinations: tissues, implicit shapes, random fields, heads composed of them.

Lengths are in mm in a right-handed frame with its origin in the middle of the slice: x to the right of the
picture, y up, and w, the position along the stack, without unit (0 where a head begins to hold brain, 1
where it ends).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
Range = tuple[float, float]


class Tissue(IntEnum):
    """Values of the label images."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    CSF = 6
    GREY = 7
    WHITE = 8
    DEEP_GREY = 9
    VESSEL = 10
    MUCOSA = 11
    GLAND = 12
    EYE = 13
    LENS = 14
    CHOROID = 15
    EDEMA = 16
    TUMOR = 17
    TUMOR_CORE = 18
    SHAPE = 19
    SHAPE_ENHANCING = 20


BRAIN_TISSUES = (Tissue.GREY, Tissue.WHITE, Tissue.DEEP_GREY)


@dataclass(frozen=True)
class TissueRanges:
    """Ranges a subject's tissue is drawn from: T1 in s and T2 in ms at 3 T and 7 T, M0 relative to water,
    k_trans in 1/min, v_e and v_p as fractions."""

    t1_3: Range
    t1_7: Range
    t2_3: Range
    t2_7: Range
    m0: Range
    k_trans: Range = (0.0, 0.0)
    v_e: Range = (0.2, 0.2)
    v_p: Range = (0.0, 0.0)


_WATER = TissueRanges((3.8, 4.3), (3.8, 4.4), (500, 900), (300, 500), (0.95, 1.0))
# Barrier intact: the plasma fraction of brain is small, and water exchanges too slowly through the capillary
# wall for all of it to be felt; the effective values give the one to three per cent seen in vivo.
_GREY = TissueRanges((1.4, 1.6), (1.8, 2.0), (68, 80), (48, 55), (0.80, 0.86), v_p=(0.004, 0.008))
_TUMOR_T = ((1.8, 2.0), (2.2, 2.5), (80, 100), (60, 70))

TISSUE_RANGES: dict[Tissue, TissueRanges] = {
    Tissue.SKIN: TissueRanges(
        (0.9, 1.1), (1.2, 1.4), (30, 40), (22, 30), (0.5, 0.7), (0.03, 0.08), (0.1, 0.2), (0.01, 0.03)
    ),
    Tissue.FAT: TissueRanges((0.32, 0.38), (0.42, 0.48), (65, 75), (42, 50), (0.62, 0.85), (0.004, 0.01), (0.05, 0.05)),
    Tissue.MUSCLE: TissueRanges(
        (1.2, 1.4), (1.6, 1.8), (32, 38), (25, 30), (0.8, 0.9), (0.08, 0.18), (0.14, 0.24), (0.01, 0.03)
    ),
    Tissue.BONE: TissueRanges((0.8, 1.2), (1.0, 1.4), (4, 7), (3, 6), (0.1, 0.2), v_p=(0.001, 0.003)),
    Tissue.MARROW: TissueRanges(
        (0.45, 0.8), (0.6, 1.0), (45, 55), (30, 40), (0.4, 0.6), (0.02, 0.05), (0.08, 0.1), (0.01, 0.03)
    ),
    Tissue.CSF: _WATER,
    Tissue.GREY: _GREY,
    Tissue.WHITE: TissueRanges((0.9, 1.15), (1.25, 1.5), (65, 75), (45, 52), (0.68, 0.74), v_p=(0.003, 0.005)),
    Tissue.DEEP_GREY: TissueRanges((1.2, 1.4), (1.6, 1.8), (65, 72), (45, 50), (0.76, 0.82), v_p=(0.004, 0.007)),
    # A spin echo sees flowing blood dark before the agent: a small M0 stands for the wash-out.
    Tissue.VESSEL: TissueRanges((1.7, 2.0), (2.0, 2.3), (60, 100), (30, 50), (0.45, 0.8), v_p=(0.4, 0.6)),
    Tissue.MUCOSA: TissueRanges(
        (1.3, 1.6), (1.7, 2.0), (55, 75), (40, 55), (0.75, 0.9), (0.15, 0.3), (0.3, 0.45), (0.04, 0.08)
    ),
    Tissue.GLAND: TissueRanges(
        (0.9, 1.3), (1.2, 1.6), (50, 70), (35, 50), (0.8, 0.9), (0.12, 0.3), (0.2, 0.35), (0.03, 0.08)
    ),
    Tissue.EYE: _WATER,
    Tissue.LENS: TissueRanges((1.2, 1.5), (1.5, 1.8), (20, 30), (15, 22), (0.55, 0.7)),
    Tissue.CHOROID: TissueRanges(
        (1.5, 2.0), (1.9, 2.3), (90, 120), (60, 80), (0.85, 0.9), (0.2, 0.3), (0.2, 0.35), (0.06, 0.12)
    ),
    Tissue.EDEMA: TissueRanges((1.75, 2.1), (2.2, 2.5), (95, 130), (65, 85), (0.86, 0.92), v_p=(0.002, 0.004)),
    Tissue.TUMOR: TissueRanges(*_TUMOR_T, (0.86, 0.94), (0.08, 0.3), (0.22, 0.42), (0.02, 0.07)),
    Tissue.TUMOR_CORE: TissueRanges(
        (2.0, 2.6), (2.4, 2.9), (100, 160), (70, 100), (0.9, 0.97), (0.003, 0.02), (0.2, 0.3), (0.002, 0.008)
    ),
    Tissue.SHAPE: TissueRanges((0.3, 3.0), (0.4, 3.5), (30, 150), (20, 100), (0.3, 1.0), v_p=(0.0, 0.006)),
    Tissue.SHAPE_ENHANCING: TissueRanges(
        (0.5, 2.2), (0.7, 2.5), (30, 120), (20, 90), (0.5, 1.0), (0.03, 0.3), (0.1, 0.45), (0.0, 0.1)
    ),
}
# The white matter of a rat is less myelinated: close to grey on T1, as physics.md gives it.
RAT_WHITE = TissueRanges((1.1, 1.2), (1.45, 1.6), (62, 70), (44, 48), (0.75, 0.79), v_p=(0.003, 0.005))

W_KNOTS = np.linspace(-0.4, 1.2, 33)


@dataclass(frozen=True)
class Shape:
    """One structure: in every slice an ellipse with angular harmonics, its profiles given at ``W_KNOTS``.

    Its distance function in mm is d(x, y) ~ (q - 1 - h(theta)) / |grad q| + inset with q the elliptic
    radius, negative inside. With a ``fold`` = (depth, thickness) in mm only the ribbon next to the surface
    and to the walls of clefts that reach ``depth`` below it belongs to the shape: a folded cortex, folia,
    turbinates.
    """

    tissue: Tissue
    x: FloatArray
    y: FloatArray
    rx: FloatArray
    ry: FloatArray
    angle: float = 0.0
    harmonics: tuple[float, ...] = ()
    inset: float = 0.0
    rough: float = 0.0
    fold: Range | None = None
    coarse_folds: bool = True
    inside_brain: bool = False
    gain: float = 1.0
    uptake: float = 1.0

    def ellipse(self, w: float) -> tuple[float, float, float, float]:
        """Center and half axes in mm at position ``w``."""
        x, y, rx, ry = (float(np.interp(w, W_KNOTS, p)) for p in (self.x, self.y, self.rx, self.ry))
        return x, y, rx, ry

    def distance(self, x: FloatArray, y: FloatArray, w: float) -> FloatArray:
        """Signed distance in mm at points ``x``, ``y`` (same shape) of slice ``w``: first order, no folds."""
        cx, cy, rx, ry = self.ellipse(w)
        return ellipse_distance(x - cx, y - cy, rx, ry, self.angle, self.harmonics) + self.inset


def ellipse_distance(
    x: FloatArray, y: FloatArray, rx: float, ry: float, angle: float, harmonics: tuple[float, ...] = ()
) -> FloatArray:
    """First-order signed distance to an ellipse at the origin, negative inside; all lengths in one unit.

    ``harmonics`` = (a2, b2, a3, b3, ...) adds a_n cos(n theta) + b_n sin(n theta) to the unit radius.
    """
    if angle:
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        x, y = c * x + s * y, c * y - s * x
    u, v = x * np.float32(1.0 / rx), y * np.float32(1.0 / ry)
    q = np.sqrt(u * u + v * v) + np.float32(1e-4)
    slope = np.sqrt((u * np.float32(1.0 / rx)) ** 2 + (v * np.float32(1.0 / ry)) ** 2) / q + np.float32(1e-6)
    edge: FloatArray = q - np.float32(1.0)
    if harmonics:
        c1, s1 = u / q, v / q
        cn, sn = c1, s1
        for a, b in zip(harmonics[::2], harmonics[1::2], strict=True):
            cn, sn = cn * c1 - sn * s1, sn * c1 + cn * s1
            edge = edge - np.float32(a) * cn - np.float32(b) * sn
    return edge / slope


def _spline_along(field: npt.NDArray[np.float32], axis: int, samples: int) -> npt.NDArray[np.float32]:
    """Cubic B-spline of the n + 3 coefficients along ``axis``, at ``samples`` places of n intervals."""
    intervals = field.shape[axis] - 3
    position = (np.arange(samples) + 0.5) * intervals / samples
    first = np.minimum(position.astype(int), intervals - 1)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    shape = [1, 1, 1]
    shape[axis] = samples
    weights = weights.astype(np.float32).reshape(4, *shape)
    return sum(weights[k] * np.take(field, first + k, axis) for k in range(4))


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int, int], extent: tuple[float, float, float], scale: float
) -> npt.NDArray[np.float32]:
    """Smooth random field (z, y, x) of mean 0 and variance 1: a node every ``scale`` mm of ``extent``."""
    field = rng.standard_normal([max(1, round(e / scale)) + 3 for e in extent], dtype=np.float32)
    # No matrix product: on two busy cores its BLAS threads cost five times all the rest (3.4 s a subject
    # against 0.7 s). Rows are contiguous, so y, the largest step, comes last.
    for axis in (0, 2, 1):
        field = _spline_along(field, axis, shape[axis])
    # The variance of a cubic B-spline sum of white noise is (151 / 315)^3 on average.
    return field * np.float32((315.0 / 151.0) ** 1.5)


@dataclass(frozen=True)
class Head:
    """A head as a painter needs it: ``shapes`` back to front, the ``brain`` outline (it is not painted
    itself; cranial contents are clipped by it), the inner side of the ``skin`` (nothing but air reaches
    through it), field of view and slab (mm in plane, range of w, mm along the stack), the spacings in mm of
    the coarse and fine folds."""

    shapes: tuple[Shape, ...]
    brain: Shape
    skin: Shape
    field_of_view: float
    w_range: Range
    slab: float
    fold_spacing: Range
    warp: tuple[Range, ...]


def _profile(knots: list[float], values: list[float]) -> FloatArray:
    """Piecewise linear profile on ``W_KNOTS``, rounded off so that no kink shows between slices."""
    raw = np.interp(W_KNOTS, knots, values)
    padded = np.pad(raw, 2, mode="edge")
    return np.convolve(padded, [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")


def _taper(middle: float, half: float, power: float = 2.0) -> FloatArray:
    """Radius factor (1 - |t|^p)^(1/p) of a body centered at ``middle`` that ends at ``middle`` +- ``half``;
    negative outside, so that interpolation between knots ends it cleanly."""
    t = np.abs((W_KNOTS - middle) / half) ** power
    return np.where(t < 1.0, np.maximum(1.0 - t, 0.0) ** (1.0 / power), -0.3)


class _Builder:
    """Collects shapes with individual jitter; one generator, drawn from in a fixed order."""

    def __init__(self, rng: np.random.Generator, scale: float, jitter: float) -> None:
        self.rng, self.scale, self.jitter = rng, scale, jitter
        self.shapes: list[Shape] = []

    def wobble(self, order: int, size: float) -> tuple[float, ...]:
        return tuple(float(v) for v in self.rng.normal(0.0, size, 2 * (order - 1)))

    def tube(self, tissue: Tissue, x: object, y: object, rx: object, ry: object, **options: object) -> Shape:
        """Appends a shape; its profiles in mm, over ``W_KNOTS`` or constant, are scaled to the subject."""
        s = self.scale
        x, y, rx, ry = (np.broadcast_to(np.asarray(p, dtype=np.float64) * s, W_KNOTS.shape) for p in (x, y, rx, ry))
        options.setdefault("gain", float(np.exp(self.rng.normal(0.0, 0.05))))
        options.setdefault("uptake", float(np.exp(self.rng.normal(0.0, 0.15))))
        shape = Shape(tissue, x, y, rx, ry, **options)  # type: ignore[arg-type]
        self.shapes.append(shape)
        return shape

    def blob(
        self,
        tissue: Tissue,
        x: float,
        y: float,
        rx: float,
        ry: float,
        w: float,
        half: float,
        power: float = 2.0,
        angle: float = 0.0,
        follow: Shape | None = None,
        **options: object,
    ) -> Shape:
        """A body that ends at ``w`` +- ``half``; with ``follow`` in fractions of that shape's axes."""
        r, j = self.rng, self.jitter
        rx, ry = rx * float(np.exp(r.normal(0, j))), ry * float(np.exp(r.normal(0, j)))
        x, y = x + r.normal(0, 0.5 * j) * rx, y + r.normal(0, 0.5 * j) * ry
        taper = _taper(w, half, power)
        options.setdefault("harmonics", self.wobble(4, 0.25 * j))
        angle = np.deg2rad(angle) + float(r.normal(0, 0.5 * j))
        if follow is not None:
            s = 1.0 / self.scale
            return self.tube(
                tissue,
                s * (follow.x + x * follow.rx),
                s * (follow.y + y * follow.ry),
                s * rx * follow.rx * taper,
                s * ry * follow.ry * taper,
                angle=angle,
                **options,
            )
        return self.tube(tissue, x, y, rx * taper, ry * taper, angle=angle, **options)

    def pair(
        self,
        tissue: Tissue,
        x: float,
        y: float,
        rx: float,
        ry: float,
        w: float,
        half: float,
        power: float = 2.0,
        angle: float = 0.0,
        **options: object,
    ) -> None:
        """A body and its mirror image, each with its own jitter."""
        self.blob(tissue, x, y, rx, ry, w, half, power, angle, **options)
        self.blob(tissue, -x, y, rx, ry, w, half, power, -angle, **options)

    def muscles(
        self, x: float, y: float, rx: float, ry: float, w: float, half: float, angle: float, cleft: float
    ) -> None:
        """Two muscles in their fasciae: thin fat between neighbors is what separates them in a picture."""
        for side in (1.0, -1.0):
            fascia = self.blob(Tissue.FAT, side * x, y, rx, ry, w, half, 4.0, side * angle, rough=0.3 * cleft)
            self.inner(Tissue.MUSCLE, fascia, cleft)

    def inner(self, tissue: Tissue, outer: Shape, inset: float, **options: object) -> Shape:
        """The same outline drawn ``inset`` mm further in (times the subject's scale)."""
        shape = Shape(
            tissue,
            outer.x,
            outer.y,
            outer.rx,
            outer.ry,
            outer.angle,
            outer.harmonics,
            outer.inset + inset * self.scale,
            **options,
        )  # type: ignore[arg-type]
        self.shapes.append(shape)
        return shape


def rat_head(rng: np.random.Generator) -> Head:
    """A rat head in coronal slices, from the olfactory bulb to the cerebellum; about 28 mm wide."""
    scale = float(rng.uniform(0.92, 1.08))
    b = _Builder(rng, scale, 0.12)
    k = [-0.4, -0.1, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0, 1.2]
    head_y = _profile(k, [-2.0, -1.2, -0.6, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0])
    head_rx = _profile(k, [6.5, 8.4, 9.9, 11.2, 12.4, 13.3, 13.6, 13.6, 13.4]) * rng.uniform(0.94, 1.05)
    head_ry = _profile(k, [7.5, 9.2, 10.4, 11.2, 11.8, 12.2, 12.2, 12.0, 11.8]) * rng.uniform(0.95, 1.05)
    # b3 > 0 flattens the roof and narrows the chin, a4 < 0 squares the cheeks.
    outline = (0.02, 0.0, 0.0, float(rng.uniform(0.015, 0.05)), float(rng.uniform(-0.04, 0.0)), 0.0)
    skin = b.tube(Tissue.SKIN, 0.0, head_y, head_rx, head_ry, harmonics=outline)
    thickness = float(rng.uniform(0.5, 1.5))
    b.inner(Tissue.FAT, skin, 0.5, rough=0.1)
    b.inner(Tissue.MUSCLE, skin, 0.5 + thickness, rough=0.35)

    brain_y = _profile(k, [2.8, 3.2, 3.8, 4.1, 4.3, 4.4, 4.4, 4.2, 3.5]) * rng.uniform(0.95, 1.05)
    brain_rx = _profile(k, [-1.0, 2.0, 3.6, 5.4, 6.9, 7.6, 7.5, 6.4, 4.0]) * rng.uniform(0.95, 1.04)
    brain_ry = _profile(k, [-1.0, 1.9, 3.0, 3.9, 4.7, 5.2, 5.1, 4.4, 3.0]) * rng.uniform(0.95, 1.04)
    brain = Shape(
        Tissue.GREY,
        *(np.asarray(p) * scale for p in (0.0 * brain_y, brain_y, brain_rx, brain_ry)),
        harmonics=(0.02, 0.0, 0.0, float(rng.uniform(-0.05, -0.02)), *b.wobble(2, 0.01)),
    )

    cleft = float(rng.uniform(0.1, 0.28))
    b.muscles(9.8, -4.0, 3.0, 6.4, 0.6, 0.62, 14, cleft)  # masseter, superficial
    b.muscles(6.9, -4.8, 1.9, 5.4, 0.55, 0.55, 10, cleft)  # masseter, deep
    b.muscles(9.0, 4.6, 2.4, 4.3, 0.55, 0.5, 22, cleft)  # temporal
    b.muscles(3.6, -5.2, 2.0, 3.3, 0.65, 0.5, -12, cleft)  # pterygoids
    b.muscles(2.2, -9.6, 2.0, 1.3, 0.6, 0.6, 0, cleft)  # digastric
    b.muscles(5.0, 9.0, 4.0, 1.2, 1.15, 0.32, -12, cleft)  # neck, over the cerebellum
    b.pair(Tissue.BONE, 5.3, -6.3, 0.75, 2.9, 0.35, 0.5, 4.0, -8)  # mandible
    b.pair(Tissue.MARROW, 5.3, -6.3, 0.35, 2.1, 0.3, 0.42, 4.0, -8)
    b.blob(Tissue.AIR, 0.0, -4.6, 2.6, 0.28, 0.05, 0.5, 4.0)  # mouth
    b.blob(Tissue.MUSCLE, 0.0, -7.0, 2.9, 2.2, 0.2, 0.6, 4.0)  # tongue
    b.pair(Tissue.GLAND, 4.8, -9.9, 2.3, 1.3, 0.9, 0.4, 2.0, 12)  # submandibular
    b.pair(Tissue.GLAND, 11.2, -0.5, 1.2, 2.0, 0.75, 0.3)  # exorbital lacrimal, parotid
    b.blob(Tissue.MUCOSA, 0.0, -1.2, 1.9, 1.3, 0.5, 0.75, 6.0)  # nasopharynx
    b.blob(Tissue.AIR, 0.0, -1.2, 1.3, 0.75, 0.5, 0.75, 6.0)

    b.blob(Tissue.BONE, 0.0, -0.2, 4.4, 4.2, -0.2, 0.42, 4.0)  # nose
    nose = b.blob(Tissue.MUCOSA, 0.0, -0.2, 3.9, 3.7, -0.2, 0.4, 4.0)
    b.inner(Tissue.AIR, nose, 0.35, fold=(9.0, 0.22), coarse_folds=False, rough=0.1)  # turbinates
    b.pair(Tissue.FAT, 6.6, 1.8, 3.4, 3.3, 0.04, 0.26)  # orbit
    b.pair(Tissue.GLAND, 5.6, 1.2, 2.2, 2.4, 0.1, 0.2)  # Harderian gland, behind the eye
    b.pair(Tissue.EYE, 7.4, 2.6, 2.7, 2.7, 0.0, 0.14, harmonics=())
    b.pair(Tissue.LENS, 7.9, 2.9, 1.6, 1.6, 0.0, 0.085, harmonics=())

    b.shapes.append(_like(brain, Tissue.BONE, -float(rng.uniform(0.5, 0.75)) * scale, 0.1))
    b.pair(Tissue.BONE, 5.2, -2.4, 2.5, 2.1, 0.84, 0.2, 2.0)  # bulla
    b.pair(Tissue.AIR, 5.2, -2.4, 2.1, 1.7, 0.84, 0.17, 2.0)
    b.pair(Tissue.AIR, 9.6, -0.8, 3.0, 0.75, 0.86, 0.11, 4.0, 12)  # ear canal
    b.blob(Tissue.GLAND, 0.0, -0.75, 1.4, 0.5, 0.62, 0.14)  # pituitary: no barrier
    b.pair(Tissue.VESSEL, 2.6, -2.0, 0.42, 0.42, 0.65, 0.5, 6.0)  # carotids
    b.pair(Tissue.VESSEL, 6.0, -0.6, 0.4, 0.55, 0.55, 0.4, 6.0)
    b.pair(Tissue.VESSEL, 8.2, 0.6, 0.45, 0.35, 0.5, 0.45, 6.0)

    inside: dict[str, object] = {"follow": brain, "inside_brain": True}
    b.shapes.append(_like(brain, Tissue.CSF, -0.12 * scale, 0.0))
    b.shapes.append(_like(brain, Tissue.GREY, 0.12 * scale, 0.04))
    # corpus callosum and external capsule
    b.blob(Tissue.WHITE, 0.0, 0.12, 0.74, 0.62, 0.5, 0.42, 4.0, **inside)
    b.blob(Tissue.GREY, 0.0, -0.08, 0.70, 0.70, 0.5, 0.40, 4.0, **inside)
    b.pair(Tissue.DEEP_GREY, 0.36, 0.06, 0.29, 0.42, 0.36, 0.2, 3.0, 8, **inside)  # caudate putamen
    b.blob(Tissue.DEEP_GREY, 0.0, -0.2, 0.5, 0.4, 0.62, 0.2, 3.0, **inside)  # thalamus, midbrain
    b.pair(Tissue.WHITE, 0.32, 0.34, 0.34, 0.23, 0.64, 0.17, 3.0, -22, **inside)
    b.pair(Tissue.GREY, 0.32, 0.33, 0.30, 0.17, 0.64, 0.16, 3.0, -22, **inside)  # hippocampus
    b.pair(Tissue.CSF, 0.2, 0.36, 0.055, 0.26, 0.44, 0.17, 3.0, 25, **inside)  # lateral ventricles
    b.pair(Tissue.CSF, 0.6, 0.05, 0.04, 0.26, 0.68, 0.1, 3.0, 15, **inside)
    b.blob(Tissue.CSF, 0.0, -0.25, 0.03, 0.35, 0.55, 0.17, 4.0, **inside)  # third ventricle
    b.blob(Tissue.CSF, 0.0, 0.0, 0.05, 0.1, 0.8, 0.15, 4.0, **inside)  # aqueduct
    b.blob(Tissue.CSF, 0.0, -0.15, 0.2, 0.1, 0.98, 0.1, 3.0, **inside)  # fourth ventricle
    b.pair(Tissue.CHOROID, 0.24, 0.24, 0.03, 0.07, 0.5, 0.1, 3.0, 25, **inside)
    b.blob(Tissue.WHITE, 0.0, 0.28, 0.86, 0.6, 1.08, 0.23, 4.0, **inside)  # cerebellum
    cerebellum = b.blob(Tissue.GREY, 0.0, 0.28, 0.86, 0.6, 1.08, 0.23, 4.0, **inside)
    b.shapes[-1] = _like(cerebellum, Tissue.GREY, 0.0, 0.05, fold=(3.0 * scale, 0.4 * scale))
    b.blob(Tissue.CSF, 0.0, 0.95, 0.025, 0.5, 0.4, 0.45, 6.0, **inside)  # fissure between the hemispheres
    b.blob(Tissue.CSF, 0.0, 0.3, 0.05, 1.0, 0.0, 0.14, 4.0, **inside)  # and between the bulbs
    # sagittal sinus
    sinus = [np.full_like(brain.rx, r * scale * float(rng.uniform(0.8, 1.3))) for r in (0.55, 0.33)]
    b.shapes.append(Shape(Tissue.VESSEL, brain.x, brain.y + brain.ry + 0.05 * scale, *sinus))

    first = float(rng.uniform(-0.16, 0.08))
    slab = 18.0 * float(rng.uniform(0.9, 1.1))
    field_of_view = float(rng.uniform(29.5, 33.0)) * max(scale, 0.98)
    w_range = (first, first + slab / (19.0 * scale))
    return Head(
        tuple(b.shapes),
        brain,
        _like(skin, Tissue.FAT, 0.45 * scale, 0.0),
        field_of_view,
        w_range,
        slab,
        (1.6, 0.9),
        ((9.0, 0.45 * scale), (2.8, 0.13 * scale)),
    )


def _like(shape: Shape, tissue: Tissue, inset: float, rough: float, fold: Range | None = None) -> Shape:
    """The outline of ``shape`` moved in by ``inset`` mm (out where negative), made of ``tissue``."""
    return Shape(
        tissue,
        shape.x,
        shape.y,
        shape.rx,
        shape.ry,
        shape.angle,
        shape.harmonics,
        shape.inset + inset,
        rough,
        fold,
        coarse_folds=fold is not None,
        inside_brain=shape.inside_brain,
    )


def human_head(rng: np.random.Generator) -> Head:
    """A human head in axial slices, from the orbits (w = 0) to the vertex (w = 1); about 150 mm wide."""
    scale = float(rng.uniform(0.93, 1.06))
    b = _Builder(rng, scale, 0.1)
    k = [-0.4, -0.15, 0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98, 1.04, 1.2]
    wide, long = rng.uniform(0.94, 1.05, 2)
    head_rx = _profile(k, [64, 68, 71, 75, 76.5, 76, 71, 59, 45, 28, 10, -40]) * wide
    head_ry = _profile(k, [84, 90, 93, 95, 96, 95, 89, 74, 57, 36, 14, -40]) * long
    outline = (0.0, 0.0, *b.wobble(2, 0.012), float(rng.uniform(-0.03, -0.005)), 0.0)
    skin = b.tube(Tissue.SKIN, 0.0, 0.0, head_rx, head_ry, harmonics=outline)
    scalp = float(rng.uniform(4.0, 7.5))
    b.inner(Tissue.FAT, skin, 1.6, rough=0.4)
    b.inner(Tissue.MUSCLE, skin, scalp, rough=0.8)

    brain_y = _profile(k, [-34, -30, -17, -3, 0, 0, 0, 0, 0, 0, 0, 0])
    brain_rx = _profile(k, [38, 50, 58, 62, 63, 62.5, 58, 46, 32, 12, -25, -60]) * wide
    brain_ry = _profile(k, [38, 46, 63, 79, 82, 81, 76, 61, 43, 19, -25, -60]) * long
    brain = Shape(
        Tissue.GREY,
        *(np.asarray(p) * scale for p in (0.0 * brain_y, brain_y, brain_rx, brain_ry)),
        harmonics=(0.0, 0.0, *b.wobble(2, 0.008), float(rng.uniform(-0.02, 0.01)), 0.0),
    )
    b.shapes.append(_like(brain, Tissue.FAT, -9.0 * scale, 0.6))
    b.muscles(62, 22, 8.5, 26, 0.0, 0.36, -10, 1.0)  # temporal
    b.muscles(26, -72, 20, 12, -0.2, 0.3, 18, 1.2)  # neck
    b.muscles(44, 14, 9, 14, -0.25, 0.25, 0, 1.2)  # pterygoid
    b.blob(Tissue.BONE, 0, 46, 44, 36, -0.1, 0.3, 6.0)  # face and skull base
    b.pair(Tissue.MARROW, 38, 36, 7, 5, -0.05, 0.2)
    b.blob(Tissue.MARROW, 0, 12, 14, 9, -0.1, 0.2, 3.0)  # clivus
    nose = b.blob(Tissue.MUCOSA, 0, 54, 15, 29, -0.1, 0.24, 4.0)
    b.inner(Tissue.AIR, nose, 1.5, fold=(60.0, 2.0), coarse_folds=False, rough=0.3)
    b.pair(Tissue.MUCOSA, 32, 48, 15, 16, -0.3, 0.22, 4.0)  # maxillary sinus
    b.pair(Tissue.AIR, 32, 48, 13, 14, -0.3, 0.2, 4.0)
    b.pair(Tissue.FAT, 33, 55, 18, 24, 0.0, 0.17, 3.0, 15)  # orbit
    b.pair(Tissue.MUSCLE, 42, 50, 2.2, 14, 0.0, 0.09, 3.0, 8)  # rectus muscles
    b.pair(Tissue.MUSCLE, 24, 48, 2.2, 15, 0.0, 0.09, 3.0, 22)
    b.pair(Tissue.WHITE, 28, 42, 2.0, 15, 0.0, 0.06, 3.0, -18)  # optic nerve
    b.pair(Tissue.EYE, 34, 67, 12.2, 12.2, 0.0, 0.11, harmonics=())
    b.pair(Tissue.LENS, 34.5, 76, 4.6, 2.4, 0.0, 0.045, harmonics=())
    b.pair(Tissue.GLAND, 48, 66, 3.5, 8, 0.06, 0.07, 2.0, 20)  # lacrimal

    b.shapes.append(_like(brain, Tissue.BONE, -7.0 * scale, 0.5))
    b.shapes.append(_like(brain, Tissue.MARROW, -float(rng.uniform(4.6, 5.4)) * scale, 0.9))
    b.shapes.append(_like(brain, Tissue.BONE, -2.9 * scale, 0.4))
    b.pair(Tissue.AIR, 56, -22, 9, 14, -0.12, 0.2, 2.0, 15, rough=1.5)  # mastoid cells
    b.blob(Tissue.AIR, 0, 78, 17, 6, 0.16, 0.12, 3.0)  # frontal sinus
    b.pair(Tissue.VESSEL, 46, -50, 5, 10, -0.02, 0.07, 3.0, 25)  # transverse and sigmoid sinus
    b.shapes.append(_like(brain, Tissue.CSF, -float(rng.uniform(0.4, 1.6)) * scale, 0.4))
    inside: dict[str, object] = {"inside_brain": True}
    b.shapes.append(_like(brain, Tissue.WHITE, 0.8 * scale, 0.3))
    depth, ribbon = float(rng.uniform(17, 28)) * scale, float(rng.uniform(2.6, 3.4)) * scale
    b.shapes.append(_like(brain, Tissue.GREY, 0.8 * scale, 0.3, (depth, ribbon)))
    b.shapes.append(_like(brain, Tissue.CSF, 0.8 * scale, 0.1, (depth * 0.9, float(rng.uniform(0.35, 0.9)) * scale)))
    # above it the falx divides the brain in front and behind the callosum, further up all along
    top = W_KNOTS > 0.33
    gap = np.where(top, np.interp(W_KNOTS, [0.3, 0.45, 0.62, 0.7], [32.0, 30.0, 26.0, -60.0]), 34.0)
    for side in (1.0, -1.0):
        b.tube(Tissue.GREY, 0.0, side * (60.0 + gap) + (side < 0) * -2.0, 3.6, 60.0, rough=0.6, **inside)
        b.tube(Tissue.CSF, 0.0, side * (60.0 + gap) + (side < 0) * -2.0, 0.8, 59.0, rough=0.2, **inside)

    # ventricles differ more between people than anything else in the head
    big = float(rng.uniform(0.75, 1.35))
    b.pair(Tissue.DEEP_GREY, 14, 18, 5.5, 11, 0.48, 0.12, 3.0, 15, **inside)  # caudate
    b.pair(Tissue.DEEP_GREY, 26, 5, 5.5, 16, 0.44, 0.1, 3.0, -14, **inside)  # putamen, pallidum
    b.pair(Tissue.DEEP_GREY, 9.5, -10, 8, 13, 0.44, 0.1, 3.0, 25, **inside)  # thalamus
    b.pair(Tissue.CSF, 8 * big, 22, 3.4 * big, 12, 0.52, 0.1, 3.0, -18, **inside)
    b.pair(Tissue.CSF, 10 * big, -2, 4 * big, 26, 0.61, 0.075, 3.0, -4, **inside)
    b.pair(Tissue.CSF, 21, -36, 4.6 * big, 15, 0.46, 0.12, 3.0, 18, **inside)
    b.pair(Tissue.CSF, 32, -8, 2.2 * big, 9, 0.26, 0.08, 2.0, 20, **inside)  # temporal horns
    b.blob(Tissue.CSF, 0, -2, 2.0 * big, 12, 0.41, 0.08, 3.0, **inside)
    b.pair(Tissue.CHOROID, 21, -31, 1.8, 5, 0.46, 0.07, 2.0, 15, **inside)
    b.blob(Tissue.CSF, 0, -4, 17, 13, 0.17, 0.09, 3.0, harmonics=b.wobble(4, 0.08), **inside)  # cisterns
    b.blob(Tissue.WHITE, 0, -18, 14, 12, 0.05, 0.3, 4.0, **inside)  # brain stem
    b.blob(Tissue.CSF, 0, -34, 5, 4, 0.02, 0.14, 2.0, **inside)  # fourth ventricle
    cistern = b.blob(Tissue.CSF, 0, -58, 52, 30, -0.08, 0.25, 3.0, **inside)
    b.inner(Tissue.WHITE, cistern, 1.5, **inside)  # cerebellum
    b.inner(Tissue.GREY, cistern, 1.5, fold=(17.0, 1.9), coarse_folds=False, **inside)
    b.pair(Tissue.VESSEL, 13, 14, 2.0, 2.0, 0.08, 0.14, 6.0)  # carotid siphon
    b.pair(Tissue.VESSEL, 28, 12, 12, 1.1, 0.22, 0.03, 2.0, 10)  # middle cerebral
    b.blob(Tissue.VESSEL, 0, -3, 1.7, 1.7, 0.05, 0.2, 6.0)  # basilar
    sinus = np.where(W_KNOTS > -0.05, 1.0, -0.3) * float(rng.uniform(0.8, 1.3))
    b.shapes.append(
        Shape(
            Tissue.VESSEL,
            brain.x,
            brain.y - brain.ry - 1.0 * scale,
            3.6 * sinus * scale,
            2.9 * sinus * scale,
            harmonics=(0.0, 0.0, 0.0, 0.15),
        )
    )
    front = np.where(W_KNOTS > 0.45, 1.0, -0.3)
    b.shapes.append(Shape(Tissue.VESSEL, brain.x, brain.y + brain.ry + 0.5 * scale, 2.2 * front, 1.7 * front))

    slab = 18.0 * float(rng.uniform(3.0, 5.5))
    length = slab / (112.0 * scale)
    # Thin slabs lie anywhere in the head; none begins below the orbits or runs far out over the vertex.
    first = float(rng.uniform(-0.12, max(0.95 - length, -0.05)))
    return Head(
        tuple(b.shapes),
        brain,
        _like(skin, Tissue.FAT, 1.5 * scale, 0.0),
        256.0 * float(rng.uniform(0.86, 1.02)),
        (first, first + length),
        slab,
        (8.5, 6.0),
        ((60.0, 2.6), (16.0, 0.9)),
    )


def random_shapes(rng: np.random.Generator) -> Head:
    """No anatomy at all: bodies within bodies, a third of them enhancing; teaches a network to stay local."""
    b = _Builder(rng, 1.0, 0.25)
    outer = body = b.blob(Tissue.SHAPE, 0.0, 0.0, *rng.uniform(7.0, 11.0, 2), 0.5, float(rng.uniform(0.7, 1.5)), 3.0)
    for _ in range(int(rng.integers(1, 4))):
        tissue = Tissue.SHAPE_ENHANCING if rng.random() < 0.12 else Tissue.SHAPE
        outer = b.inner(
            tissue,
            outer,
            float(rng.uniform(0.3, 1.8)),
            rough=float(rng.uniform(0.0, 0.25)),
            gain=float(rng.uniform(0.4, 1.6)),
            uptake=float(rng.uniform(0.1, 0.6)),
        )
    inside = outer
    for _ in range(int(rng.integers(6, 16))):
        tissue = Tissue(
            rng.choice([Tissue.SHAPE, Tissue.SHAPE, Tissue.SHAPE_ENHANCING, Tissue.AIR], p=[0.3, 0.3, 0.32, 0.08])
        )
        x, y = rng.uniform(-8.0, 8.0, 2)
        rx, ry = np.exp(rng.uniform(np.log(0.5), np.log(5.0), 2))
        b.blob(
            tissue,
            x,
            y,
            rx,
            ry,
            float(rng.uniform(0, 1)),
            float(rng.uniform(0.1, 0.6)),
            float(rng.uniform(2, 5)),
            float(rng.uniform(0, 180)),
            rough=float(rng.uniform(0, 0.25)),
            gain=float(rng.uniform(0.4, 1.6)),
            uptake=float(rng.uniform(0.1, 1.8)),
        )
    return Head(
        tuple(b.shapes),
        inside,
        body,
        float(rng.uniform(28.0, 36.0)),
        (0.0, 1.0),
        18.0,
        (3.0, 1.2),
        ((8.0, 0.8), (2.5, 0.25)),
    )
