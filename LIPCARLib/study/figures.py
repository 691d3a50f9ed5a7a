"""Pictures: the paper's Figures 2 and 3 of an experiment, robustness curves, and the comparison of one run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LIPCARError
from ..imaging import Examination
from ..inverse import Result
from .disturbances import WORDS
from .run_report import build_report, shown_images
from .slice_scores import Score
from .tables import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHITE_PERCENTILE = 99.8
"""Of an image: what is drawn white."""
IMAGE_TITLES = {
    "predose": "pre-dose",
    "lowdose": "low-dose",
    "prior": "prior",
    "lip-car": "LIP-CAR",
    "highdose": "high-dose",
}


def box_figure(scores: Sequence[Score], region: str = "image", reference: str = "acquired") -> Figure:
    """Box plots of SSIM, PSNR and RMSE over the slices, a box a method (the paper's Figure 3)."""
    figure_class = _figure_class()
    rows = [row for row in scores if (row.region, row.reference) == (region, reference)]
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = figure_class(figsize=(4.6 * len(TITLES), 1.6 + 0.34 * len(methods)), layout="constrained")
    for axis, (score, title) in zip(figure.subplots(1, len(TITLES), sharey=True), TITLES.items(), strict=True):
        data = [[getattr(row, score) for row in rows if row.method == method] for method in methods]
        axis.boxplot([[v for v in values if v is not None] for values in data], orientation="horizontal", widths=0.6)
        axis.set_yticks(range(1, len(methods) + 1), methods)
        axis.set_title(title)
        axis.grid(axis="x", alpha=0.3)
        axis.invert_yaxis()
    return figure


def example_figure(
    examples: Mapping[str, Mapping[str, np.ndarray]], scores: Sequence[Score], shown: Mapping[str, int]
) -> Figure:
    """A grid of slices, a row a subject, SSIM above each image, the tumor circled (the paper's Figure 2).

    Args:
        examples: by subject, as of `records.read_example`.
        scores: of these subjects.
        shown: by subject, which of its slices the example is.
    """
    figure_class = _figure_class()
    names = [name for name in next(iter(examples.values())) if name != "tumor"]
    found = {
        (row.subject, row.slice, row.method): row.ssim
        for row in scores
        if (row.region, row.reference) == ("image", "acquired")
    }
    size = 2.1
    figure = figure_class(
        figsize=(size * len(names), (size + 0.35) * len(examples)), facecolor="black", layout="constrained"
    )
    grid = figure.subplots(len(examples), len(names), squeeze=False)
    for row, (line, (subject, images)) in enumerate(zip(grid, examples.items(), strict=True)):
        bright = float(np.percentile(images["high-dose"], WHITE_PERCENTILE))
        for axis, name in zip(line, names, strict=True):
            axis.imshow(images[name], cmap="gray", vmin=0, vmax=bright, interpolation="nearest")
            value = found.get((subject, shown[subject], name))
            text = subject if value is None else f"{value:.4f}"
            axis.set_title(f"{name}\n{text}" if row == 0 else text, color="white", fontsize=8)
            axis.set_axis_off()
            if images["tumor"].any():
                _circle(axis, images["tumor"])
    return figure


def curve_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """SSIM of the image and RMSE of the body by level, a row a disturbance, against the cleanest reference there is.

    Args:
        rows: of `tables.curve_rows`.
    """
    figure_class = _figure_class()
    kinds = list(dict.fromkeys(row["disturbance"] for row in rows))
    reference = "clean" if any(row["reference"] == "clean" for row in rows) else "acquired"
    figure = figure_class(figsize=(11, 3.2 * len(kinds)), layout="constrained")
    for line, kind in zip(figure.subplots(len(kinds), 2, squeeze=False), kinds, strict=True):
        for axis, (region, score) in zip(line, (("image", "ssim"), ("body", "rmse")), strict=True):
            shown = [
                row
                for row in rows
                if (row["disturbance"], row["reference"], row["region"], row["score"])
                == (kind, reference, region, score)
            ]
            for method in dict.fromkeys(row["method"] for row in shown):
                own = [row for row in shown if row["method"] == method]
                # As floats: an interval that does not exist is None in a table and NaN in a plot.
                levels, mean, low, high = (
                    np.array([row[key] for row in own], float) for key in ("level", "mean", "low", "high")
                )
                axis.plot(levels, mean, marker="o", markersize=3, label=method)
                axis.fill_between(levels, low, high, alpha=0.12)
            axis.set_xlabel(WORDS[kind], fontsize=8)
            axis.set_ylabel(f"{TITLES[score]}, {region}, against the {reference} image", fontsize=8)
            axis.grid(alpha=0.3)
        line[0].legend(fontsize=7)
    return figure


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
    figure_class = _figure_class()
    images = shown_images(examination, result)
    if examination.highdose is not None:
        images["highdose"] = examination.highdose
    scores = (report or build_report(examination, result)).get("metrics", {})
    window = (0.0, float(np.percentile(np.stack([i[list(slices)] for i in images.values()]), WHITE_PERCENTILE)))
    pixel = examination.spacing[1] / examination.spacing[2]
    height, width = examination.lowdose.shape[1:]
    panel = 2.6
    figure = figure_class(
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
            title = f"{IMAGE_TITLES[name]}\n{text}" if index == 0 else text
            axis.set_title(title, color="white", fontsize=10)
            axis.set_axis_off()
    figure.supxlabel(
        f"Simulated images, research only - not for diagnosis. Model {result.provenance['model']}, "
        f"alpha {result.provenance['alpha']}, one window for all.",
        color="0.7",
        fontsize=8,
    )
    return rendered(figure, "png", dpi=100)


def rendered(figure: Figure, suffix: str, dpi: int = 110) -> bytes:
    """A figure as a file of that format: the same bytes for the same figure."""
    buffer = io.BytesIO()
    # No date in the file.
    figure.savefig(buffer, format=suffix, dpi=dpi, metadata={"CreationDate": None} if suffix == "pdf" else {})
    return buffer.getvalue()


def _circle(axis: Axes, mask: np.ndarray) -> None:
    from matplotlib.patches import Circle

    j, i = np.nonzero(mask)
    center = (i.min() + i.max()) / 2, (j.min() + j.max()) / 2
    radius = 4 + 0.5 * max(np.ptp(i), np.ptp(j))
    axis.add_patch(Circle(center, radius, fill=False, color="#f2c14e", linewidth=0.8))


def check_matplotlib() -> None:
    """Say where pictures cannot be drawn.

    Raises:
        LIPCARError: matplotlib is not installed.
    """
    _figure_class()


def _figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LIPCARError("Pictures need matplotlib: install it with `pip install lipcar[reports]`.") from error
    return Figure
