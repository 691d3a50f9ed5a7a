"""What the simulated bodies are made of: tissues, and the ranges their relaxation and uptake are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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
    """Ranges a subject's tissue is drawn from.

    Attributes:
        t1_3, t1_7: T1 in s at 3 T and 7 T.
        t2_3, t2_7: T2 in ms at 3 T and 7 T.
        m0: relative to water.
        k_trans: in 1/min; v_e, v_p: fractions, of the extended Tofts model.
    """

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
# The white matter of a rat is less myelinated: close to grey on T1.
RAT_WHITE = TissueRanges((1.1, 1.2), (1.45, 1.6), (62, 70), (44, 48), (0.75, 0.79), v_p=(0.003, 0.005))
