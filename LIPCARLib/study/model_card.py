"""What a study writes into a model's card: mean scores on held-out subjects, and the forward operator's error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ..inverse import ALPHA, AUTO, Model, evidence, operator_for
from ..learning import Subject
from .experiment import Experiment
from .records import SubjectResult

CARD_ALPHAS: tuple[float | str, ...] = (AUTO, ALPHA)
"""What a model card reports: the default and the paper's alpha."""
CARD_METHODS = ("predose", "lowdose", "nn", "lip-car")


def card_scores(experiment: Experiment, results: Sequence[SubjectResult]) -> dict[str, Any]:
    """What a model card says of the experiment's one model: means over all slices, rounded to 4 digits.

    By image ("predose", "lowdose", "prior", "lip-car 0.006", ...): "ssim" over the image and "body_rmse", against the
    high-dose image as acquired, and with "clean_" before the name against the noise-free one where there is one.
    """
    (model,) = experiment.models
    label = experiment.label(model)
    names = {"pre-dose": "predose", "low-dose": "lowdose", label: "prior"}
    names |= {f"{label.replace('NN', 'LIP-CAR', 1)} {alpha}": f"lip-car {alpha}" for alpha in experiment.alphas}
    rows = [row for result in results for row in result.scores]
    means: dict[str, dict[str, float]] = {}
    for method, name in names.items():
        for reference, prefix in (("acquired", ""), ("clean", "clean_")):
            for region, score, key in (("image", "ssim", "ssim"), ("body", "rmse", "body_rmse")):
                values = [
                    getattr(row, score)
                    for row in rows
                    if (row.method, row.reference, row.region) == (method, reference, region)
                ]
                values = [value for value in values if value is not None]
                if values:
                    means.setdefault(name, {})[prefix + key] = round(float(np.mean(values)), 4)
    slices = {(row.subject, row.slice) for row in rows}
    return {"subjects": [r.subject for r in results], "slices": len(slices), "means_over_slices": means}


def measure_operator_error(model: Model, subjects: Iterable[Subject]) -> dict[str, Any]:
    """What a model's card says of its forward operator: how far F(x_H) is from x_L, by band of spatial frequency.

    Per band, what nine of ten slices (`evidence.QUANTILE`) stay below in mean square over the body, in model scale,
    after the noise of x_L is taken off. From the noise-free high-dose image where there is one.

    Args:
        model: where it is.
        subjects: that did not train it.

    Raises:
        LIPCARError: the model needs a pre-dose image that a subject lacks.
    """
    rows = []
    device = next(model.parameters()).device
    for subject in subjects:
        e = subject.examination
        volumes = [e.lowdose, subject.truth] + ([e.predose] if model.uses_predose and e.predose is not None else [])
        floor, sigma = e.noise_floor / e.scale, e.noise / e.scale
        forward_operator, _ = operator_for(model, e)
        height, width = e.lowdose.shape[1:]
        noise = sigma**2 * evidence.noise_energies(height, width, device)
        for z in range(len(e.lowdose)):
            images = [torch.from_numpy(v[z][None, None] / np.float32(e.scale)).to(device) for v in volumes]
            inside = evidence.body(images[0], floor)
            if inside.any():
                with torch.no_grad():
                    residual = forward_operator(images[1], images[2] if len(images) > 2 else None) - images[0]
                rows.append((evidence.band_energies(residual, inside)[0] - noise).clamp_min(0).cpu())
    errors = torch.stack(rows).quantile(evidence.QUANTILE, dim=0)
    return {
        "widths": list(evidence.WIDTHS),
        "mean_squares": [float(f"{value:.4g}") for value in errors],
        "quantile": evidence.QUANTILE,
        "slices": len(rows),
    }
