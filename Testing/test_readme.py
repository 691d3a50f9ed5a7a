"""README's Python example runs as it stands, and what README and docs link to exists."""

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


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
