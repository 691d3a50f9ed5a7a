"""Implicit shapes: ellipses with harmonics and folds whose axes change along the stack.

Lengths are in mm in a right-handed frame with its origin in the middle of the slice: x to the right of the
picture, y up, and w, the position along the stack, without unit (0 where a head begins to hold brain, 1
where it ends).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve1d

from .tissues import Range, Tissue

FloatArray = npt.NDArray[np.floating]

W_KNOTS = np.linspace(-0.4, 1.2, 33)
"""Positions along the stack at which the profiles of a shape are given."""


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
    distance: FloatArray = edge / slope
    return distance


def like(shape: Shape, tissue: Tissue, inset: float, rough: float, fold: Range | None = None) -> Shape:
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


def profile(knots: list[float], values: list[float]) -> FloatArray:
    """Piecewise linear profile on ``W_KNOTS``, rounded off so that no kink shows between slices."""
    raw = np.interp(W_KNOTS, knots, values)
    rounded: FloatArray = convolve1d(raw, [0.1, 0.2, 0.4, 0.2, 0.1], mode="nearest")
    return rounded


def taper(middle: float, half: float, power: float = 2.0) -> FloatArray:
    """Radius factor at ``W_KNOTS`` of a body that ends at ``middle`` +- ``half``: (1 - |t|^p)^(1/p).

    Negative outside, so that interpolation between knots ends it cleanly.
    """
    t = np.abs((W_KNOTS - middle) / half) ** power
    return np.where(t < 1.0, np.maximum(1.0 - t, 0.0) ** (1.0 / power), -0.3)
