"""What a study writes into a model's card: mean scores on held-out subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..inverse import ALPHA, AUTO
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
    names |= {f"{experiment.label_of('LIP-CAR', model)} {alpha}": f"lip-car {alpha}" for alpha in experiment.alphas}
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


def limit_words(controls: Mapping[str, Any]) -> str:
    """What the controls of a card (`trust.Outcome.card`) say of the smallest lesion that is found, as a sentence.

    >>> limit_words({"smallest_found_mm": {"1": None, "3": 5.0}, "examinations": 12})
    'Smallest lesion found in 90 % of 12 examinations: none at 1 times the noise of the low-dose image, 5 mm at 3.'
    """
    shown = [
        f"{'none' if size is None else f'{size:g} mm'} at {contrast}"
        for contrast, size in controls["smallest_found_mm"].items()
    ]
    shown[0] += " times the noise of the low-dose image"
    return f"Smallest lesion found in 90 % of {controls['examinations']} examinations: {', '.join(shown)}."
