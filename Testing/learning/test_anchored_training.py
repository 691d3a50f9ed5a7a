"""Training of the anchored prior: it learns, it can be killed, and it goes on from what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import load_model
from LIPCARLib.learning import anchored_training
from LIPCARLib.learning.anchored_training import (
    WEIGHTS,
    AnchoredProgress,
    AnchoredSettings,
    conditions_of,
    prior_loss,
    train_anchored,
    train_prior,
    validation_set,
)

TINY = AnchoredSettings(steps=6, batch=2, size=32, warmup=2, widths=(8, 8), bfloat16=False)


def run(folder: Path, settings: AnchoredSettings, **options: object) -> list[AnchoredProgress]:
    return list(train_prior(folder, settings, every=2, **options))  # type: ignore[arg-type]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS)


def test_an_interrupted_run_gives_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    run(tmp_path / "whole", TINY)
    training = train_prior(tmp_path / "parts", TINY, every=2)
    next(training)
    training.close()
    progress = run(tmp_path / "parts", TINY, resume=True)
    assert [p.step for p in progress] == [4, 6]
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_training_starts_from_given_weights(tmp_path: Path) -> None:
    run(tmp_path / "first", TINY)
    run(tmp_path / "still", replace(TINY, learning_rate=1e-30), start=tmp_path / "first" / WEIGHTS)
    for key, value in weights(tmp_path / "first").items():
        assert torch.allclose(value, weights(tmp_path / "still")[key], atol=1e-6), key


def test_what_cannot_be_gone_on_from_is_said(tmp_path: Path) -> None:
    run(tmp_path / "run", TINY)
    with pytest.raises(LIPCARError, match="Give --resume"):
        run(tmp_path / "run", TINY)
    with pytest.raises(LIPCARError, match="no checkpoint"):
        run(tmp_path / "new", TINY, resume=True)
    with pytest.raises(LIPCARError, match="other settings"):
        run(tmp_path / "run", replace(TINY, seed=1), resume=True)
    with pytest.raises(LIPCARError, match="do not fit"):
        run(tmp_path / "wider", replace(TINY, widths=(16, 16)), start=tmp_path / "run" / WEIGHTS)
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"damaged")
    with pytest.raises(LIPCARError, match="cannot be used"):
        run(tmp_path / "run", TINY, resume=True)


def test_the_loss_of_a_batch_that_comes_again_falls_far_below_that_of_the_anchor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(TINY, steps=40, warmup=5, learning_rate=1e-2)
    batch = anchored_training._Batches(settings)[0]
    monkeypatch.setattr(anchored_training._Batches, "__getitem__", lambda _batches, _step: batch)
    progress = list(train_prior(tmp_path, settings, every=10))
    assert progress[-1].loss < 0.9 * prior_loss(batch[1], batch[0], settings)


def test_the_loss_knows_a_region_that_is_off_from_noise_of_the_same_size() -> None:
    drawn, _ = validation_set(4, 64)
    g = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(drawn.highdose.shape, generator=g)
    off = torch.full_like(noise, 0.05)
    assert prior_loss(drawn.highdose, drawn, TINY) < 2e-3
    assert prior_loss(drawn.highdose + off, drawn, TINY) > 1.1 * prior_loss(drawn.highdose + noise, drawn, TINY)


def test_a_network_is_told_what_the_draw_hands_on() -> None:
    drawn, told = validation_set(16, 32)
    assert torch.equal(told.dose_fraction, drawn.parameters.told_dose_fraction)
    assert torch.equal(conditions_of(drawn).sequence_told, drawn.parameters.sequence_told)
    assert told.acquisitions == drawn.parameters.told_acquisitions


def test_a_trained_model_can_be_used_and_gone_on_from(tmp_path: Path) -> None:
    steps = train_anchored(tmp_path / "first", TINY, every=3, validation_count=2)
    assert [progress.step for progress in steps] == [3, 6]
    model = load_model(tmp_path / "first")
    measured = model.manifest["training"]["drawn_validation"]
    assert model.has_weights and measured["prior"]["body"] > 0
    (tmp_path / "first" / "manifest.json").unlink()  # as if killed when all steps were done
    assert list(train_anchored(tmp_path / "first", TINY, every=3, validation_count=2, resume=True)) == []
    assert load_model(tmp_path / "first").manifest["training"]["drawn_validation"] == measured
    still = replace(TINY, learning_rate=1e-30)
    list(train_anchored(tmp_path / "second", still, start=tmp_path / "first", validation_count=2))
    again = load_model(tmp_path / "second")
    assert again.manifest["training"]["settings"]["start"] == model.digest
    for mine, others in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(mine, others, rtol=0, atol=1e-3)
    with pytest.raises(LIPCARError, match="no anchored prior"):
        list(train_anchored(tmp_path / "third", TINY, start="signal"))
