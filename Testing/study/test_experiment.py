"""The experiment compares what was asked for, under the names of the paper."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import Model, load_model
from LIPCARLib.learning import read_subject, subject_folders, write_simulated_cohort
from LIPCARLib.physics import DOSE_FRACTION
from LIPCARLib.study import Disturbance, Experiment
from LIPCARLib.study.experiment import best_fit

Run = Callable[..., list]


def test_the_best_fit_is_the_best(folders: list[Path]) -> None:
    subject = read_subject(folders[0])
    e = subject.examination

    def error(image: np.ndarray) -> float:
        return float(np.mean((image - e.highdose) ** 2))

    best = error(best_fit(subject))
    for gain in (0.9, 1.0, 1.1, 1.5, 2.0):
        for offset in (-20, 0, 20):
            assert best <= error(np.maximum(gain * e.lowdose + offset, 0)) * (1 + 1e-5)


def test_an_experiment_compares_what_was_asked_for(
    run: Run, folders: list[Path], model: Model, lowdose_model: Model
) -> None:
    results = run(Experiment((lowdose_model, model), alphas=(0.006, 0.06), iterations=2, device="cpu"), folders[:1])
    assert list(dict.fromkeys(row.method for row in results[0].scores)) == [
        "pre-dose",
        "low-dose",
        "gain and offset (oracle)",
        "extrapolation",
        "NN-L2H as is",
        "NN-L2H",
        *(f"{name}-L2H {alpha}" for name in ("LIP-CAR", "TV") for alpha in ("0.006", "0.06")),
        "NN-PL2H as is",
        "NN-PL2H",
        *(f"{name}-PL2H {alpha}" for name in ("LIP-CAR", "TV") for alpha in ("0.006", "0.06")),
        "high-dose",
    ]
    other = copy.copy(model)
    other.name = "other"
    few = run(Experiment((model, other), ("nn", "lowdose"), device="cpu"), folders[:1])
    names = {row.method for row in few[0].scores}
    assert names == {"low-dose", f"NN-PL2H {model.name}", "NN-PL2H other", "high-dose"}
    with pytest.raises(LIPCARError, match=f"Two models would both be called 'NN-PL2H {model.name}'"):
        Experiment((model, model), ("nn", "lowdose"), device="cpu")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dose_fraction": 0.0}, "'dose_fraction' is 0.0, expected is a number above 0, at most 1"),
        ({"dose_fraction": float("nan")}, "'dose_fraction' is nan"),
        ({"dose_fraction": 20.0}, "'dose_fraction' is 20.0"),
        ({"solver": "newton"}, "'solver' is 'newton', expected is one of: "),
        ({"iterations": 0}, "'iterations' is 0"),
        ({"alphas": (0.006, "much")}, "alpha is much"),
        ({"alphas": (float("inf"),)}, "alpha is inf"),
        ({"solver": "adam"}, "takes a number for alpha"),
        ({"device": "abacus"}, "'abacus' cannot be used here"),
    ],
)
def test_options_are_checked_before_any_subject(options: dict[str, Any], reason: str, model: Model) -> None:
    with pytest.raises(LIPCARError, match=reason):
        Experiment((model,), **{"device": "cpu", **options})


def test_an_unknown_method_is_explained(model: Model) -> None:
    with pytest.raises(LIPCARError, match=r"'magic'; expected some of: predose, lowdose"):
        Experiment((model,), ("magic",))


def test_a_strangers_predose_image_is_left_to_the_plain_network(
    run: Run, tmp_path: Path, model: Model, lowdose_model: Model
) -> None:
    for anatomy in ("rat", "human"):
        list(write_simulated_cohort(tmp_path / anatomy, 1, slices=1, size=96, seed=11, anatomy=anatomy))
    folders = [*subject_folders(tmp_path / "rat"), *subject_folders(tmp_path / "human")]
    disturbance = Disturbance("stranger", 1)
    methods = ("as-is", "nn", "lip-car")
    results = run(
        Experiment((lowdose_model, model), methods, ("auto",), device="cpu", disturbance=disturbance), folders
    )
    body = {row.method: row.rmse for row in results[0].scores if (row.region, row.reference) == ("body", "acquired")}
    assert body["NN-PL2H"] == body["NN-L2H"] and body["LIP-CAR-PL2H auto"] == body["LIP-CAR-L2H auto"]
    assert body["NN-PL2H as is"] != body["NN-PL2H"]
    # Without a model that does without it, the method is missing.
    alone = run(Experiment((model,), methods, ("auto",), device="cpu", disturbance=disturbance), folders)
    assert {row.method for row in alone[0].scores} == {"NN-PL2H as is", "high-dose"}


def test_the_models_are_told_the_dose_that_was_given(run: Run, folders: list[Path], model: Model) -> None:
    disturbance = Disturbance("dose", 0.5)

    def body(**settings: object) -> dict[str, float | None]:
        experiment = Experiment(
            (model,),
            ("as-is", "nn"),
            device="cpu",
            disturbance=disturbance,
            **settings,  # type: ignore[arg-type]
        )
        rows = run(experiment, folders[:1])[0].scores
        return {row.method: row.rmse for row in rows if (row.region, row.reference) == ("body", "acquired")}

    untold, told = body(), body(tell_dose=True)
    assert told["NN-PL2H"] != untold["NN-PL2H"] and told["NN-PL2H as is"] == untold["NN-PL2H as is"]
    fraction = json.loads((folders[0] / "parameters.json").read_text())["dose_fraction"]
    # Told that half the usual fraction was given, where the usual one was: nothing is to be done.
    assert body(tell_dose=True, dose_fraction=2 * DOSE_FRACTION)["NN-PL2H"] == untold["NN-PL2H"]
    assert body(tell_dose=True, dose_fraction=fraction)["NN-PL2H"] == told["NN-PL2H"]


def test_the_physics_is_told_how_the_images_were_acquired(run: Run, folders: list[Path], model: Model) -> None:
    def body(*models: Model, **settings: object) -> dict[str, float | None]:
        experiment = Experiment(models, ("nn", "lip-car"), (0.006,), iterations=2, device="cpu", **settings)  # type: ignore[arg-type]
        rows = run(experiment, folders[:1])[0].scores
        return {row.method: row.rmse for row in rows if (row.region, row.reference) == ("body", "acquired")}

    signal = load_model("signal")
    told, untold = body(model, signal), body(model, signal, tell_acquisition=False)
    assert list(told) == ["NN-PL2H", "LIP-CAR-PL2H 0.006", "prior-anchored", "LIP-CAR-anchored 0.006"]
    for method, error in told.items():
        assert (error != untold[method]) == ("anchored" in method)
    experiments = [Experiment((signal,), tell_acquisition=tell) for tell in (True, False)]
    assert experiments[0].digest != experiments[1].digest
    assert experiments[0].baseline == "prior-anchored"
