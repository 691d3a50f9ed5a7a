"""The experiment's files are complete, repeatable, and need nothing else to be read."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import Model
from LIPCARLib.learning import read_subject
from LIPCARLib.study import Disturbance, Experiment, Failure, write_curves, write_experiment
from LIPCARLib.study.records import read_example
from LIPCARLib.study.tables import csv_file

Run = Callable[..., list]


def test_a_table_holds_nothing_that_a_spreadsheet_computes() -> None:
    rows = [{"subject": name, "score": -0.5} for name in ("=1+1", "+a", "-b", "@c", "\n=d", "e-f")]
    assert csv_file(rows).decode().split() == [
        "subject,score",
        *(f"'{text},-0.5" for text in ("=1+1", "+a", "-b", "@c", "=d")),
        "e-f,-0.5",
    ]


def test_the_report_is_complete_and_repeatable(run: Run, folders: list[Path], model: Model, tmp_path: Path) -> None:
    experiment = Experiment((model,), ("predose", "lowdose", "nn", "lip-car"), iterations=2, device="cpu")
    contents = []
    for _ in range(2):  # the second time from what was kept
        results = run(experiment, folders, tmp_path)
        files = write_experiment(tmp_path, experiment, results, [Failure("gone", "no <file>")], "NN-PL2H", "A title")
        contents.append({path.name: path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    expected = {"scores.csv", "lesions.csv", "readings.csv", "summary.json", "scores.png", "scores.pdf", "report.html"}
    assert expected | {"examples.png", "examples.pdf"} == set(contents[0])
    page = contents[0]["report.html"].decode()
    assert "no &lt;file&gt;" in page and "not for diagnosis" in page
    assert "http" not in page.replace("data:image", "")  # it needs no network
    summary = json.loads(contents[0]["summary.json"])
    assert summary["baseline"] == "NN-PL2H"
    rows = summary["scores"]["acquired"]["body"]
    found = next(row for row in rows if (row["method"], row["score"]) == ("low-dose", "rmse"))
    values = [
        row.rmse
        for result in results
        for row in result.scores
        if (row.method, row.region, row.reference) == ("low-dose", "body", "acquired")
    ]
    assert found["value"]["mean"] == pytest.approx(np.mean(values))
    assert page.index("<h2>Lesions that a blinded reader found") < page.index("<h2>Body") < page.index("<h2>Image")
    assert "Bondarenko" in page and "high-dose" in summary["lesions"]
    shown = next(result for result in results if result.example is not None)
    example = read_example(tmp_path / "examples" / f"{shown.subject}.nrrd", shown)
    assert example is not None and list(example) == [
        "pre-dose",
        "low-dose",
        "NN-PL2H",
        "LIP-CAR-PL2H auto",
        "LIP-CAR-PL2H 0.006",
        "high-dose",
        "tumor",
    ]
    assert example["tumor"].any()
    subject = read_subject(next(folder for folder in folders if folder.name == shown.subject))
    for layer, image in (("low-dose", subject.examination.lowdose), ("high-dose", subject.highdose)):
        np.testing.assert_allclose(example[layer], image[shown.example] / subject.examination.scale, rtol=1e-6)


def test_what_was_kept_and_is_damaged_is_made_anew_or_left_out(
    run: Run, folders: list[Path], model: Model, tmp_path: Path
) -> None:
    experiment = Experiment((model,), ("lowdose",), device="cpu")
    first = run(experiment, folders, tmp_path)
    for kept in ("subjects/*.json", "examples/*.nrrd"):
        for path in tmp_path.glob(kept):
            path.write_bytes(b"[" * 100_000)
    assert run(experiment, folders, tmp_path) == first
    for path in tmp_path.glob("examples/*.nrrd"):
        path.write_bytes(path.read_bytes()[:200])
    files = write_experiment(tmp_path, experiment, first, [], None, "A title")
    assert "scores.png" in {path.name for path in files} and "examples.png" not in {path.name for path in files}


def test_robustness_is_drawn_as_curves(run: Run, folders: list[Path], model: Model, tmp_path: Path) -> None:
    curves = {}
    for level in (0.0, 0.1):
        disturbance = Disturbance("noise", level)
        experiment = Experiment((model,), ("lowdose", "nn"), device="cpu", disturbance=disturbance)
        curves[level] = run(experiment, folders[:2], tmp_path / f"noise-{level}")
    assert curves[0.0] != curves[0.1]
    files = write_curves(tmp_path, {"noise": curves}, "NN-PL2H")
    assert [path.name for path in files] == ["curves.csv", "curves.pdf", "curves.png"]
    rows = list(csv.DictReader((tmp_path / "curves.csv").open(encoding="utf-8")))
    low = [
        float(row["mean"])
        for row in rows
        if (row["method"], row["region"], row["score"], row["reference"]) == ("low-dose", "body", "rmse", "clean")
    ]
    assert len(low) == 2 and low[1] > low[0]


def test_the_page_escapes_what_it_is_told(run: Run, folders: list[Path], model: Model, tmp_path: Path) -> None:
    experiment = Experiment((model,), ("lowdose",), device="cpu")
    failures = [Failure("<b>who</b>", "no <file> & no 'reason'")]
    write_experiment(tmp_path, experiment, run(experiment, folders[:1], tmp_path), failures, None, "A <title>")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;who&lt;/b&gt;" in page and "<b>who" not in page
    assert "no &lt;file&gt; &amp; no" in page
    assert "<title>A &lt;title&gt;</title>" in page
    assert "None" not in page  # one subject has no interval


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_package_is_named_and_nothing_is_written(
    package: str, run: Run, folders: list[Path], model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment((model,), ("lowdose",), device="cpu")
    results = run(experiment, folders[:1], None)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LIPCARError, match=rf"{package}: install it with `pip install lipcar\[reports\]`"):
        write_experiment(tmp_path, experiment, results, [], None, "A title")
    assert list(tmp_path.iterdir()) == []
