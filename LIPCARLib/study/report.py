"""What a person reads after a reconstruction: the report as plain values, the comparison as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import LIPCARError
from ..imaging import Examination
from ..inverse import Result, complete
from .evaluation import examination_metrics, shown_images

TITLES = {
    "predose": "pre-dose",
    "lowdose": "low-dose",
    "prior": "prior (network)",
    "lip-car": "LIP-CAR",
    "highdose": "high-dose",
}


def build_report(examination: Examination, result: Result) -> dict[str, Any]:
    """How a result was made and what it is worth, ready for JSON.

    Holds the provenance (versions, device, model and hash, alpha, solver), "seconds", "network_evaluations" (the
    most that any slice took) and the same by slice, "objective" (per slice, by step), "residual_rms" (per slice,
    model scale), "trust" (per slice, how far fine scales of the data
    counted), the notices, and with a high-dose reference "metrics": per image, per score, per slice.
    """
    report = {
        **result.provenance,
        "notices": list(examination.notices),
        "seconds": result.seconds,
        "network_evaluations": max(result.network_evaluations),
        "network_evaluations_by_slice": result.network_evaluations,
        "objective": result.objective,
        "residual_rms": result.residual_rms,
        "trust": result.trust,
    }
    if examination.highdose is not None:
        report["metrics"] = complete(examination_metrics(examination, result))
    return report


def most_enhancing_slices(examination: Examination, result: Result, count: int) -> list[int]:
    """The slices whose brightest thousandth gains most over the low-dose image, in order of position."""
    gains = [
        float(np.percentile(high - low, 99.9)) for high, low in zip(result.highdose, examination.lowdose, strict=True)
    ]
    return sorted(np.argsort(gains)[::-1][:count].tolist())


def comparison_figure(
    examination: Examination, result: Result, slices: Sequence[int], report: dict[str, Any] | None = None
) -> bytes:
    """The images side by side in one window, a row a slice, as PNG; SSIM above each where there is a reference.

    Args:
        slices: which slices, one row each.
        report: of :func:`build_report`, to save computing the metrics again.

    Raises:
        LIPCARError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LIPCARError("Pictures need matplotlib: install it with `pip install lipcar[reports]`.") from error
    images = shown_images(examination, result)
    if examination.highdose is not None:
        images["highdose"] = examination.highdose
    scores = (report or build_report(examination, result)).get("metrics", {})
    window = (0.0, float(np.percentile(np.stack([i[list(slices)] for i in images.values()]), 99.8)))
    pixel = _pixel_aspect(examination)
    height, width = examination.lowdose.shape[1:]
    panel = 2.6
    figure = Figure(
        figsize=(panel * len(images), (panel * height / width * pixel + 0.32) * len(slices) + 0.3),
        facecolor="black",
        layout="constrained",
    )
    axes = figure.subplots(len(slices), len(images), squeeze=False)
    for index, (row, z) in enumerate(zip(axes, slices, strict=True)):
        for axis, (name, volume) in zip(row, images.items(), strict=True):
            axis.imshow(volume[z], cmap="gray", vmin=window[0], vmax=window[1], aspect=pixel, interpolation="nearest")
            score = scores.get(name, {}).get("ssim", {})
            text = f"SSIM {score[z]:.4f}" if score and score[z] is not None else f"slice {z + 1}"
            title = f"{TITLES[name]}\n{text}" if index == 0 else text
            axis.set_title(title, color="white", fontsize=10)
            axis.set_axis_off()
    figure.supxlabel(
        f"Simulated images, research only - not for diagnosis. Model {result.provenance['model']}, "
        f"alpha {result.provenance['alpha']}, one window for all.",
        color="0.7",
        fontsize=8,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _pixel_aspect(examination: Examination) -> float:
    """Height of a pixel over its width, in the plane of the slices."""
    spacing = [*examination.grid.spacing, 1.0][:3]
    axes = [axis for axis in (2, 1, 0) if axis != examination.slice_axis]
    return spacing[axes[0]] / spacing[axes[1]]
