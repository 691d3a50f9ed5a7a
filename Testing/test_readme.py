"""README's Python example runs as it stands, and its files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    for role in ("predose", "lowdose"):
        (tmp_path / f"{role}.nrrd").write_bytes((ROOT / "Resources" / "SampleData" / f"rat-{role}.nrrd").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    written = sitk.ReadImage("simulated-highdose.nrrd")
    assert written.GetSize() == sitk.ReadImage("lowdose.nrrd").GetSize()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
