"""`lipcar cohort` as a user meets it: results, the page, the table, and what a failure looks like."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from LIPCARLib.cli import run
from LIPCARLib.storage import claimed

NASTY = "<script>alert(1)</script>\x1b[31m"


def enhance(*arguments: str | Path) -> int:
    return run(["cohort", *map(str, arguments), "--model", "signal", "--device", "cpu"])


class Page(HTMLParser):
    """Tags and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key in ("href", "src") and value]


def test_a_cohort_is_what_enhance_gives_for_each(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lowdose = cohort / "subject-000" / "lowdose.nrrd"
    predose = lowdose.with_name("predose.nrrd")
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "lowdose", "predose"])
        rows.writerows([[NASTY, lowdose, predose], ["=1+1", lowdose, predose], ["-gone", tmp_path / "none.nrrd", ""]])
    output = tmp_path / "out"
    assert enhance(tmp_path / "t.csv", output, "--dicom") == 1
    shown = capsys.readouterr()
    assert "2 of 3 examinations are enhanced." in shown.out and "\x1b[31m" not in shown.err
    assert "Failed: -gone: " in shown.err and "1 of 3 examinations failed" in shown.err

    with (output / "summary.csv").open(encoding="utf-8", newline="") as file:
        failed, *done = csv.DictReader(file)
    assert failed["name"] == "'-gone" and failed["state"] == "failed" and "none.nrrd" in failed["reasons"]
    assert {row["name"] for row in done} == {"'=1+1", NASTY}
    place = output / next(row["image"] for row in done if row["name"] == NASTY)
    single = tmp_path / "single.nrrd"
    options = ["--lowdose", lowdose, "--predose", predose, "--output", single]
    assert run(["enhance", *map(str, options), "--model", "signal", "--device", "cpu"]) == 0
    images = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (place, single)]
    np.testing.assert_array_equal(*images)
    assert json.loads((place.parent / "report.json").read_text())["model"] == "signal"

    text = (output / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "research only" in text and "&lt;script&gt;" in text and not {"script", "iframe", "link"} & page.tags
    assert len(page.links) > 8
    for link in page.links:
        assert (output / link).exists(), link

    assert enhance(tmp_path / "t.csv", output, "--dicom") == 1
    assert "=1+1 kept, 2 of 3" in capsys.readouterr().err


def test_two_runs_on_one_folder_are_kept_apart(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import subprocess
    import sys

    code = f"from LIPCARLib.storage import claimed\nwith claimed({str(tmp_path)!r}): print(1, flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    with holder:
        holder.stdout.readline()
        assert enhance(cohort, tmp_path) == 2
        holder.stdin.close()
    assert "Another run of LIPCAR writes into" in capsys.readouterr().err
    with claimed(tmp_path):
        pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", ".jpg"], "The format is '.jpg'"),
        (["--layout", "xnat"], "The layout is 'xnat'"),
        (["--layout", "table"], "is a folder; the file of a table is expected"),
        (["--lowdose", "*x*"], "names them itself"),
        (["--layout", "bids"], "no T1-weighted image in BIDS' places"),
        (["--layout", "dicom"], "holds no DICOM images"),
    ],
)
def test_what_is_no_cohort_is_said_before_anything_is_made(
    arguments: list[str], said: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert enhance(cohort, tmp_path / "out", *arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
