"""A slice on the easel: signals and labels of a subject, painted back to front with soft edges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..physics import relaxation_rate, spin_echo, spoiled_gradient_echo
from .fields import Fields, Float32
from .shapes import FloatArray, Shape, ellipse_distance
from .subject import Lesion, SubjectParameters
from .tissues import BRAIN_TISSUES, Tissue

IntArray = npt.NDArray[np.intp]

EDGE_PIXELS = 0.7
"""Pixels over which a surface fades: partial volume."""

M0_TEXTURE = {
    Tissue.CSF: 0.015,
    Tissue.EYE: 0.015,
    Tissue.VESSEL: 0.03,
    Tissue.WHITE: 0.04,
    Tissue.TUMOR: 0.07,
    Tissue.MUSCLE: 0.075,
    Tissue.FAT: 0.08,
}
"""Relative standard deviation of M0 inside one tissue, where it is not the usual one."""
UPTAKE_TEXTURE = {Tissue.TUMOR: 0.25, Tissue.MUSCLE: 0.22, Tissue.MUCOSA: 0.2, Tissue.GLAND: 0.18}
"""The same of the agent's concentration."""
T1_TEXTURE = 0.03
"""The same of T1, in every tissue."""


class Easel:
    """One slice on the easel: painted back to front, shape by shape.

    Attributes:
        signals: (3, size, size) float32, predose, lowdose, highdose, before coil, noise and receiver.
        labels: (size, size) uint8, values of `Tissue`.
        brain, head: how much of each pixel they cover, 0..1, (size, size); None where the slice has none.
    """

    def __init__(self, subject: SubjectParameters, fields: Fields, k: int, w: float, size: int) -> None:
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
        """Whether the shape reaches into this slice with more than a fraction of a pixel."""
        return min(shape.ellipse(self.w)[2:]) > 0.3 * self.pixel

    def distance(self, shape: Shape, window: tuple[slice, slice] = (slice(None), slice(None))) -> FloatArray:
        """Signed distance in mm to the shape's surface, rough and folded, at the pixels of a window."""
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
        """The share of each pixel that a body covers whose surface is so far away, 0..1."""
        cover: FloatArray = np.clip(np.float32(0.5) - distance * np.float32(1.0 / (EDGE_PIXELS * self.pixel)), 0.0, 1.0)
        return cover

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
        """Paint one shape, clipped by the brain where it lies inside it, by the head otherwise."""
        clip = self.brain if shape.inside_brain else self.head
        if not self.visible(shape) or (shape.inside_brain and clip is None):
            return
        cx, cy, rx, ry = shape.ellipse(self.w)
        reach = max(rx, ry) * (1.0 + sum(np.abs(shape.harmonics))) + 4.0 * shape.rough + self.pixel
        reach += max(-shape.inset, 0.0)
        window = self.window(cx, cy, reach)
        cover = self.coverage(self.distance(shape, window))
        if clip is not None and (shape.inside_brain or shape.tissue not in (Tissue.SKIN, Tissue.AIR)):
            cover = cover * clip[window]
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

    def signal(self, tissue: Tissue, rows: IntArray, columns: IntArray, gain: float, uptake: float) -> FloatArray:
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
        signal: FloatArray
        if q.name == "spin echo":
            signal = spin_echo(m0, r1, r2, q.tr, q.te)
        else:
            signal = spoiled_gradient_echo(m0, r1, r2 + q.r2_prime, q.tr, q.te, np.deg2rad(q.flip))
        return signal

    def paint_lesion(self, lesion: Lesion) -> None:
        """Paint a lesion where there is brain: its edema, then the tumor, then its necrotic core."""
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
