"""What is written into a model's card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from LIPCARLib.inverse import Model
from LIPCARLib.study import Experiment, card_scores

Run = Callable[..., list]


def test_a_card_holds_the_means_of_the_scores(run: Run, folders: list[Path], model: Model) -> None:
    experiment = Experiment((model,), ("lowdose", "nn", "lip-car"), (0.006,), iterations=2, device="cpu")
    results = run(experiment, folders[:2])
    card = card_scores(experiment, results)
    assert card["subjects"] == [folder.name for folder in folders[:2]]
    assert card["slices"] == 4
    assert set(card["means_over_slices"]) == {"lowdose", "prior", "lip-car 0.006"}
    values = [
        row.rmse
        for result in results
        for row in result.scores
        if (row.method, row.region, row.reference) == ("low-dose", "body", "clean")
    ]
    assert card["means_over_slices"]["lowdose"]["clean_body_rmse"] == pytest.approx(np.mean(values), abs=1e-4)
