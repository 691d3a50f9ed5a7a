"""Heads of rats and people, and bodies of no anatomy, composed of shapes; each one drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .shapes import W_KNOTS, Shape, like, profile, taper
from .tissues import Range, Tissue


@dataclass(frozen=True)
class Head:
    """A head as a painter needs it.

    Attributes:
        shapes: back to front.
        brain: its outline; not painted itself, but cranial contents are clipped by it.
        skin: its inner side; nothing but air reaches through it.
        field_of_view: mm in plane; w_range: what of the head the stack holds; slab: its length in mm.
        fold_spacing: mm between the coarse and between the fine folds.
        warp: scale and standard deviation in mm of the fields that bend it.
    """

    shapes: tuple[Shape, ...]
    brain: Shape
    skin: Shape
    field_of_view: float
    w_range: Range
    slab: float
    fold_spacing: Range
    warp: tuple[Range, ...]


class _Builder:
    """Collects shapes with individual jitter; one generator, drawn from in a fixed order."""

    def __init__(self, rng: np.random.Generator, scale: float, jitter: float) -> None:
        self.rng, self.scale, self.jitter = rng, scale, jitter
        self.shapes: list[Shape] = []

    def wobble(self, order: int, size: float) -> tuple[float, ...]:
        return tuple(float(v) for v in self.rng.normal(0.0, size, 2 * (order - 1)))

    def tube(self, tissue: Tissue, x: ArrayLike, y: ArrayLike, rx: ArrayLike, ry: ArrayLike, **options: Any) -> Shape:
        """Appends a shape; its profiles in mm, over ``W_KNOTS`` or constant, are scaled to the subject."""
        profiles = [np.asarray(p, dtype=np.float64) * self.scale for p in (x, y, rx, ry)]
        options.setdefault("gain", float(np.exp(self.rng.normal(0.0, 0.05))))
        options.setdefault("uptake", float(np.exp(self.rng.normal(0.0, 0.15))))
        cx, cy, half_x, half_y = (np.broadcast_to(p, W_KNOTS.shape) for p in profiles)
        shape = Shape(tissue, cx, cy, half_x, half_y, **options)
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
        **options: Any,
    ) -> Shape:
        """A body that ends at ``w`` +- ``half``; with ``follow`` in fractions of that shape's axes."""
        r, j = self.rng, self.jitter
        rx, ry = rx * float(np.exp(r.normal(0, j))), ry * float(np.exp(r.normal(0, j)))
        x, y = x + r.normal(0, 0.5 * j) * rx, y + r.normal(0, 0.5 * j) * ry
        ending = taper(w, half, power)
        options.setdefault("harmonics", self.wobble(4, 0.25 * j))
        angle = np.deg2rad(angle) + float(r.normal(0, 0.5 * j))
        if follow is not None:
            s = 1.0 / self.scale
            return self.tube(
                tissue,
                s * (follow.x + x * follow.rx),
                s * (follow.y + y * follow.ry),
                s * rx * follow.rx * ending,
                s * ry * follow.ry * ending,
                angle=angle,
                **options,
            )
        return self.tube(tissue, x, y, rx * ending, ry * ending, angle=angle, **options)

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
        **options: Any,
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

    def inner(self, tissue: Tissue, outer: Shape, inset: float, **options: Any) -> Shape:
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
        )
        self.shapes.append(shape)
        return shape


def rat_head(rng: np.random.Generator) -> Head:
    """A rat head in coronal slices, from the olfactory bulb to the cerebellum; about 28 mm wide."""
    scale = float(rng.uniform(0.92, 1.08))
    b = _Builder(rng, scale, 0.12)
    k = [-0.4, -0.1, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0, 1.2]
    head_y = profile(k, [-2.0, -1.2, -0.6, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0])
    head_rx = profile(k, [6.5, 8.4, 9.9, 11.2, 12.4, 13.3, 13.6, 13.6, 13.4]) * rng.uniform(0.94, 1.05)
    head_ry = profile(k, [7.5, 9.2, 10.4, 11.2, 11.8, 12.2, 12.2, 12.0, 11.8]) * rng.uniform(0.95, 1.05)
    # b3 > 0 flattens the roof and narrows the chin, a4 < 0 squares the cheeks.
    outline = (0.02, 0.0, 0.0, float(rng.uniform(0.015, 0.05)), float(rng.uniform(-0.04, 0.0)), 0.0)
    skin = b.tube(Tissue.SKIN, 0.0, head_y, head_rx, head_ry, harmonics=outline)
    thickness = float(rng.uniform(0.5, 1.5))
    b.inner(Tissue.FAT, skin, 0.5, rough=0.1)
    b.inner(Tissue.MUSCLE, skin, 0.5 + thickness, rough=0.35)

    brain_y = profile(k, [2.8, 3.2, 3.8, 4.1, 4.3, 4.4, 4.4, 4.2, 3.5]) * rng.uniform(0.95, 1.05)
    brain_rx = profile(k, [-1.0, 2.0, 3.6, 5.4, 6.9, 7.6, 7.5, 6.4, 4.0]) * rng.uniform(0.95, 1.04)
    brain_ry = profile(k, [-1.0, 1.9, 3.0, 3.9, 4.7, 5.2, 5.1, 4.4, 3.0]) * rng.uniform(0.95, 1.04)
    brain = Shape(
        Tissue.GREY,
        0.0 * brain_y,
        brain_y * scale,
        brain_rx * scale,
        brain_ry * scale,
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

    b.shapes.append(like(brain, Tissue.BONE, -float(rng.uniform(0.5, 0.75)) * scale, 0.1))
    b.pair(Tissue.BONE, 5.2, -2.4, 2.5, 2.1, 0.84, 0.2, 2.0)  # bulla
    b.pair(Tissue.AIR, 5.2, -2.4, 2.1, 1.7, 0.84, 0.17, 2.0)
    b.pair(Tissue.AIR, 9.6, -0.8, 3.0, 0.75, 0.86, 0.11, 4.0, 12)  # ear canal
    b.blob(Tissue.GLAND, 0.0, -0.75, 1.4, 0.5, 0.62, 0.14)  # pituitary: no barrier
    b.pair(Tissue.VESSEL, 2.6, -2.0, 0.42, 0.42, 0.65, 0.5, 6.0)  # carotids
    b.pair(Tissue.VESSEL, 6.0, -0.6, 0.4, 0.55, 0.55, 0.4, 6.0)
    b.pair(Tissue.VESSEL, 8.2, 0.6, 0.45, 0.35, 0.5, 0.45, 6.0)

    inside: dict[str, Any] = {"follow": brain, "inside_brain": True}
    b.shapes.append(like(brain, Tissue.CSF, -0.12 * scale, 0.0))
    b.shapes.append(like(brain, Tissue.GREY, 0.12 * scale, 0.04))
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
    b.shapes[-1] = like(cerebellum, Tissue.GREY, 0.0, 0.05, fold=(3.0 * scale, 0.4 * scale))
    b.blob(Tissue.CSF, 0.0, 0.95, 0.025, 0.5, 0.4, 0.45, 6.0, **inside)  # fissure between the hemispheres
    b.blob(Tissue.CSF, 0.0, 0.3, 0.05, 1.0, 0.0, 0.14, 4.0, **inside)  # and between the bulbs
    # sagittal sinus
    rx, ry = (np.full_like(brain.rx, r * scale * float(rng.uniform(0.8, 1.3))) for r in (0.55, 0.33))
    b.shapes.append(Shape(Tissue.VESSEL, brain.x, brain.y + brain.ry + 0.05 * scale, rx, ry))

    first = float(rng.uniform(-0.16, 0.08))
    slab = 18.0 * float(rng.uniform(0.9, 1.1))
    field_of_view = float(rng.uniform(29.5, 33.0)) * max(scale, 0.98)
    w_range = (first, first + slab / (19.0 * scale))
    return Head(
        tuple(b.shapes),
        brain,
        like(skin, Tissue.FAT, 0.45 * scale, 0.0),
        field_of_view,
        w_range,
        slab,
        (1.6, 0.9),
        ((9.0, 0.45 * scale), (2.8, 0.13 * scale)),
    )


def human_head(rng: np.random.Generator) -> Head:
    """A human head in axial slices, from the orbits (w = 0) to the vertex (w = 1); about 150 mm wide."""
    scale = float(rng.uniform(0.93, 1.06))
    b = _Builder(rng, scale, 0.1)
    k = [-0.4, -0.15, 0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98, 1.04, 1.2]
    wide, long = rng.uniform(0.94, 1.05, 2)
    head_rx = profile(k, [64, 68, 71, 75, 76.5, 76, 71, 59, 45, 28, 10, -40]) * wide
    head_ry = profile(k, [84, 90, 93, 95, 96, 95, 89, 74, 57, 36, 14, -40]) * long
    outline = (0.0, 0.0, *b.wobble(2, 0.012), float(rng.uniform(-0.03, -0.005)), 0.0)
    skin = b.tube(Tissue.SKIN, 0.0, 0.0, head_rx, head_ry, harmonics=outline)
    scalp = float(rng.uniform(4.0, 7.5))
    b.inner(Tissue.FAT, skin, 1.6, rough=0.4)
    b.inner(Tissue.MUSCLE, skin, scalp, rough=0.8)

    brain_y = profile(k, [-34, -30, -17, -3, 0, 0, 0, 0, 0, 0, 0, 0])
    brain_rx = profile(k, [38, 50, 58, 62, 63, 62.5, 58, 46, 32, 12, -25, -60]) * wide
    brain_ry = profile(k, [38, 46, 63, 79, 82, 81, 76, 61, 43, 19, -25, -60]) * long
    brain = Shape(
        Tissue.GREY,
        0.0 * brain_y,
        brain_y * scale,
        brain_rx * scale,
        brain_ry * scale,
        harmonics=(0.0, 0.0, *b.wobble(2, 0.008), float(rng.uniform(-0.02, 0.01)), 0.0),
    )
    b.shapes.append(like(brain, Tissue.FAT, -9.0 * scale, 0.6))
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

    b.shapes.append(like(brain, Tissue.BONE, -7.0 * scale, 0.5))
    b.shapes.append(like(brain, Tissue.MARROW, -float(rng.uniform(4.6, 5.4)) * scale, 0.9))
    b.shapes.append(like(brain, Tissue.BONE, -2.9 * scale, 0.4))
    b.pair(Tissue.AIR, 56, -22, 9, 14, -0.12, 0.2, 2.0, 15, rough=1.5)  # mastoid cells
    b.blob(Tissue.AIR, 0, 78, 17, 6, 0.16, 0.12, 3.0)  # frontal sinus
    b.pair(Tissue.VESSEL, 46, -50, 5, 10, -0.02, 0.07, 3.0, 25)  # transverse and sigmoid sinus
    b.shapes.append(like(brain, Tissue.CSF, -float(rng.uniform(0.4, 1.6)) * scale, 0.4))
    inside: dict[str, Any] = {"inside_brain": True}
    b.shapes.append(like(brain, Tissue.WHITE, 0.8 * scale, 0.3))
    depth, ribbon = float(rng.uniform(17, 28)) * scale, float(rng.uniform(2.6, 3.4)) * scale
    b.shapes.append(like(brain, Tissue.GREY, 0.8 * scale, 0.3, (depth, ribbon)))
    b.shapes.append(like(brain, Tissue.CSF, 0.8 * scale, 0.1, (depth * 0.9, float(rng.uniform(0.35, 0.9)) * scale)))
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
        like(skin, Tissue.FAT, 1.5 * scale, 0.0),
        256.0 * float(rng.uniform(0.86, 1.02)),
        (first, first + length),
        slab,
        (8.5, 6.0),
        ((60.0, 2.6), (16.0, 0.9)),
    )


def random_shapes(rng: np.random.Generator) -> Head:
    """No anatomy at all: bodies within bodies, a third of them enhancing; teaches a network to stay local."""
    b = _Builder(rng, 1.0, 0.25)
    rx, ry = rng.uniform(7.0, 11.0, 2)
    outer = body = b.blob(Tissue.SHAPE, 0.0, 0.0, rx, ry, 0.5, float(rng.uniform(0.7, 1.5)), 3.0)
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
