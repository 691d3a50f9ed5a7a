"""Results, times and models in words for the user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from ..errors import LIPCARError

if TYPE_CHECKING:
    from ..imaging import Examination
    from ..inverse import Progress, Result


def summary_of(examination: Examination, fits: bool) -> str:
    """What the checked inputs are, and what is odd about them; `fits`: whether to say so where nothing is."""
    count, height, width = examination.lowdose.shape
    text = _("{count} slices of {width} x {height} pixels along {axis}.")
    parts = [text.format(count=count, width=width, height=height, axis="ijk"[examination.slice_axis])]
    if fits and not examination.notices:
        parts.append(_("The volumes fit together."))
    return " ".join((*parts, *examination.notices))


def progress_text(progress: Progress) -> str:
    text = _("{done} of {total} slices, {left}, {device}")
    left = time_left(progress.seconds_left)
    return text.format(done=progress.slices_done, total=progress.slices_total, left=left, device=progress.device)


def done_text(result: Result) -> str:
    text = _("Done in {time} on {device}.")
    text = text.format(time=duration(result.seconds), device=result.provenance["device"])
    return " ".join((text, *result.notices))


def preview_text(result: Result) -> str:
    """How long one slice took, and what that makes for all."""
    text = _("Preview of slice {slice} in {one}. All slices will take about {all} on {device}.")
    slices = result.provenance["slices"]  # "3-3 of 20"
    text = text.format(
        slice=slices.split("-")[0],
        one=duration(result.seconds),
        all=duration(int(slices.split()[-1]) * result.seconds),
        device=result.provenance["device"],
    )
    return " ".join((text, *result.notices))


def time_left(seconds: float | None) -> str:
    if seconds is None:
        return _("estimating the time left")
    return _("{time} left").format(time=duration(seconds))


def duration(seconds: float) -> str:
    if seconds < 10:
        return _("{seconds} s").format(seconds=round(max(seconds, 0.1), 1))
    minutes, whole = divmod(round(seconds), 60)
    if minutes:
        return _("{minutes} min {seconds} s").format(minutes=minutes, seconds=whole)
    return _("{seconds} s").format(seconds=whole)


def model_card(model: str | Path | None) -> str:
    """The card of the model in a folder in a few lines, for a tooltip; None for the automatic choice."""
    from ..inverse import read_manifest

    if model is None:
        return _("The shipped model for examinations with or without a pre-dose volume, whichever is given.")
    try:
        manifest = read_manifest(model)
    except LIPCARError as error:
        return str(error)
    lines = [manifest["name"], manifest.get("description", ""), manifest.get("intended_use", "")]
    measured = manifest.get("metrics", {})
    text = _("On {count} held-out subjects, {image}: SSIM {ssim}, body RMSE {rmse}.")
    for image, row in measured.get("means_over_slices", {}).items():
        count = len(measured["subjects"])
        lines.append(text.format(count=count, image=image, ssim=row["ssim"], rmse=row["body_rmse"]))
    return "\n".join(line for line in lines if line)
