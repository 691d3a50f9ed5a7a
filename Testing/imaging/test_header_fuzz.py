"""Damaged headers: refused in words, or read as they may be read, never a crash, a hang or other voxels."""

from __future__ import annotations

from pathlib import Path

import pytest

from .mutations import SUFFIXES, faults

COUNT = 40
"""Of each format and storage; 0 of 5,500 were bad with 500 of each."""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_headers(tmp_path: Path, suffix: str, compressed: bool) -> None:
    assert faults(tmp_path, suffix, compressed, COUNT, seed=11) == []
