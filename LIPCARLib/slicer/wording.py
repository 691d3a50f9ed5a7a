"""Results, times and models in words for the user."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from ..doubt import GREEN, LOOK, STOP, Doubt
from ..errors import LIPCARError
from .parameters import ALPHA_AUTO
from .services import VolumeNode

if TYPE_CHECKING:
    from ..imaging import Examination
    from ..inverse import Progress, Result
    from ..physics import Acquisition

STRAIGHT = 0.985
"""Cosine of ten degrees: slices that are tilted by more are called oblique."""


def geometry_line(examination: Examination) -> str:
    """What was acquired, in the words of a scanner's console: "18 axial slices of 256 x 256, 0.9 x 0.9 x 5 mm"."""
    count, height, width = examination.lowdose.shape
    grid, axis = examination.grid, examination.slice_axis
    if grid.dimension == 2:
        text = _("One slice of {width} x {height}, {x:.3g} x {y:.3g} mm.")
        return text.format(width=width, height=height, x=grid.spacing[0], y=grid.spacing[1])
    normal = np.abs(np.reshape(grid.direction, (3, 3))[:, axis])
    plane = (_("sagittal"), _("coronal"), _("axial"))[int(normal.argmax())]
    plane = plane if normal.max() > STRAIGHT else _("oblique {plane}").format(plane=plane)
    across, down = (grid.spacing[other] for other in range(3) if other != axis)
    text = _("{count} {plane} slices of {width} x {height}, {x:.3g} x {y:.3g} mm, {z:.3g} mm apart.")
    return text.format(count=count, plane=plane, width=width, height=height, x=across, y=down, z=grid.spacing[axis])


def acquisition_line(
    read: Acquisition | None,
    told: Mapping[str, Any] | None,
    known: Acquisition | None,
    dose_fraction: float | None,
    is_used: bool = True,
) -> str:
    """How the images were acquired, and where that is from.

    Args:
        read: what the images' own headers tell.
        told: what the user told or corrected.
        known: both together.
        dose_fraction: as told.
        is_used: whether there is a pre-dose volume; without one, nothing rests on what is assumed.
    """
    from ..physics import Acquisition

    if known is None:
        parts, assumed = [], [Acquisition.assumed().words()]
    else:
        text = _("Read from DICOM: {words}.") if told is None else _("As told: {words}.")
        text = _("Read from DICOM and corrected: {words}.") if told and read else text
        parts, assumed = [text.format(words=known.words())], list(known.assumptions())
    if dose_fraction is None:
        assumed.append(_("a low dose of about a fifth"))
    if assumed and is_used:
        text = _("Not known, so assumed: {assumed}. Tell it below, the result rests on it.")
        parts.append(text.format(assumed=", ".join(assumed)))
    return " ".join(parts)


def result_line(volume: VolumeNode) -> str:
    """What a result is called and what made it, in two lines."""
    from .mrml import provenance_of

    made = provenance_of(volume)
    parts = [_("model {model}").format(**made)]
    dose, acquisition = made.get("dose_fraction", "None"), made.get("acquisition", "")
    if dose not in ("None", ""):
        parts.append(_("dose {dose}").format(dose=dose))
    if acquisition:
        parts.append(acquisition.split(",")[0])
    if made["alpha"] != ALPHA_AUTO:
        parts.append(_("alpha {alpha}, {solver}").format(**made))
    first, last, count = made["slices"].replace(" of ", "-").split("-")
    if (first, last) != ("1", count):
        parts.append(_("slices {slices}").format(**made))
    return "\n".join((volume.GetName(), "    " + ", ".join(parts)))


def progress_text(progress: Progress) -> str:
    text = _("{done} of {total} slices, {left}, {device}")
    if progress.of_evidence:
        text = _("What speaks for and against it: {done} of {total} slices, {left}, {device}")
    left = time_left(progress.seconds_left)
    return text.format(done=progress.slices_done, total=progress.slices_total, left=left, device=progress.device)


def done_text(result: Result, level: str) -> str:
    """How long it took, and the level of its verdict.

    What was assumed of acquisition and dose is left out: the panel says it beside the images, before the click.
    """
    text = _("Done in {time} on {device}.")
    text = text.format(time=duration(result.seconds), device=result.provenance["device"])
    verdict = level_in_words(level)
    return " ".join((text, *_unsaid(result), verdict, *([_("See the tab Trust.")] if level != GREEN else [])))


def level_in_words(level: str) -> str:
    """A verdict's level as a sentence."""
    words = {
        GREEN: _("Nothing was found that speaks against the result."),
        LOOK: _("Look before you rely on the result."),
        STOP: _("Do not use this result."),
    }
    return words.get(level, level)


def _unsaid(result: Result) -> tuple[str, ...]:
    """What is said nowhere else in the panel: neither an assumption nor a reason of the verdict."""
    return tuple(notice for notice in result.notices if "assumed" not in notice and not isinstance(notice, Doubt))


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
    return " ".join((text, *_unsaid(result)))


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


def about_text(shipped: Mapping[str, Path]) -> str:
    """How to cite, the licence, and what each shipped model was trained on, as rich text."""
    from ..inverse import read_manifest

    lines = [_("<b>Research only:</b> every result is a simulated image and not for diagnosis.")]
    lines.append(
        _(
            "<b>Please cite:</b> D. Evangelista, E. Morotti, S. Colombo Serra, P. Luo, G. Valbusa, D. Bianchi. "
            "LIP-CAR: a learned inverse problem approach for medical imaging with contrast agent reduction. "
            "MICCAI 2025."
        )
    )
    for name, folder in shipped.items():
        try:
            manifest = read_manifest(folder)
        except LIPCARError:
            continue
        cohort = manifest.get("training", {}).get("cohort") if isinstance(manifest.get("training"), dict) else None
        text = _("<b>Model {name}</b> ({licence}): {description} Trained on: {cohort}.")
        lines.append(
            text.format(
                name=html.escape(name),
                licence=html.escape(str(manifest.get("licence", _("no licence named")))),
                description=html.escape(str(manifest.get("description", ""))),
                cohort=html.escape(str(cohort or _("nothing; it is the signal equation"))),
            )
        )
    return "".join(f"<p>{line}</p>" for line in lines)
