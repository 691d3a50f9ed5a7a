"""Disturbances are what they say, in the amounts they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from LIPCARLib.errors import LIPCARError
from LIPCARLib.learning import Subject, read_subject
from LIPCARLib.study import Disturbance


def test_disturbances_are_what_they_say(folders: list[Path]) -> None:
    subject = read_subject(folders[0], match_predose=False)
    e = subject.examination

    def disturbed(kind: str, level: float) -> Subject:
        return Disturbance(kind, level).apply(subject, lambda: read_subject(folders[1], match_predose=False))

    for kind in ("noise", "shift", "stranger"):
        np.testing.assert_allclose(disturbed(kind, 0).examination.lowdose, e.lowdose, atol=1e-3)
    noisy = disturbed("noise", 0.1).examination
    body = subject.labels > 0
    assert np.std((noisy.lowdose - e.lowdose)[body]) == pytest.approx(0.1 * e.scale, rel=0.1)
    np.testing.assert_array_equal(noisy.lowdose, disturbed("noise", 0.1).examination.lowdose)
    louder = disturbed("gain", 1.125)
    np.testing.assert_allclose(louder.examination.lowdose, 1.125 * e.lowdose, rtol=1e-6)
    np.testing.assert_allclose(louder.clean_highdose, 1.125 * subject.clean_highdose, rtol=1e-6)
    strange = Disturbance("stranger", 1).apply(subject, lambda: read_subject(folders[1], match_predose=False), False)
    other = read_subject(folders[1], match_predose=False).examination.predose
    np.testing.assert_allclose(strange.examination.predose, other, rtol=1e-5)
    for level in (0.5, 1.5):
        dosed = Disturbance("dose", level).apply(subject, lambda: subject, False).examination
        change, before = dosed.lowdose - dosed.predose, e.lowdose - e.predose
        assert np.polyfit(before[body], change[body], 1)[0] == pytest.approx(level, rel=0.05)
    shaded = disturbed("scanner", 1).examination
    assert shaded.lowdose[:, 24:, 24:].mean() / shaded.lowdose[:, :24, :24].mean() > 1.3 * (
        e.lowdose[:, 24:, 24:].mean() / e.lowdose[:, :24, :24].mean()
    )
    along = np.linspace(-0.5, 0.5, 48)
    flat = shaded.highdose / np.exp(0.5 * (along[:, None] + along))
    lost = (
        np.abs(np.fft.fft(flat, axis=2))[..., 14:35].mean() / np.abs(np.fft.fft(e.highdose, axis=2))[..., 14:35].mean()
    )
    assert lost < 0.2  # half the resolution; what became negative was cut off
    with pytest.raises(LIPCARError, match=r"'rain'; expected some of: noise"):
        Disturbance("rain", 1)


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("noise", -1.0),
        ("noise", float("nan")),
        ("shift", float("inf")),
        ("gain", 0.0),
        ("dose", -1.0),
        ("scanner", 2.0),
    ],
)
def test_a_level_that_cannot_be_is_refused(kind: str, level: float) -> None:
    with pytest.raises(LIPCARError, match=f"The level of a disturbance is malformed: '{kind}' is"):
        Disturbance(kind, level)
