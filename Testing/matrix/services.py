"""Cases: many examinations at once, the controls of a model, engines elsewhere, evidence, and what should not be used."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .case import Case, done, enhanced, partly, refused, table
from .dicom import series
from .images import ENHANCE
from .inputs import Arrange, cut, image_of, nothing, nrrd, ordinary, together, with_thing
from .models import keyed, mine
from .options import and_then, cohort, numbers, put

COHORT = "lipcar cohort cohort out --model signal --device cpu"
TABLE = COHORT.replace("cohort cohort", "cohort t.csv")
CHECK = "lipcar check signal --subjects 1 --device cpu"
TAKEN = socket.create_server(("127.0.0.1", 0))
"""Listens, for as long as these cases are there."""
TOKEN = "correct horse battery staple"
LONG = "a" * 70
NOWHERE = "127.0.0.1:9"
nan = float("nan")


def tabled(text: str | bytes, change: Callable[[Path], object] | None = None) -> Arrange:
    """A table beside a cohort of one."""
    return and_then(cohort(change, subjects=1), put("t.csv", text))


def cohort_cases() -> list[Case]:
    one, row = cohort(subjects=1), "cohort/s0/lowdose.nrrd"
    kept_apart = refused("where results go|is the input")
    failed = partly("0 of 1 examinations are enhanced", writes=("out",))
    enhanced_one = done("1 of 1 examinations", writes=("out",))
    rows: list[tuple[Any, ...]] = [
        ("nothing there", nothing, COHORT, refused("cohort.*does not exist")),
        ("an empty folder", lambda folder: (folder / "cohort").mkdir(), COHORT, refused("holds no")),
        ("a loop", lambda folder: (folder / "cohort").symlink_to("cohort"), COHORT, refused("not exist|loop|symbolic")),
        ("a pipe", lambda folder: os.mkfifo(folder / "cohort"), COHORT, refused("regular|pipe|table")),
        ("one is damaged", cohort(put("lowdose.nrrd", cut(nrrd()))), COHORT, partly("1 of 2", "Failed: s0: .*(damaged|cut short)", writes=("out",))),
        ("all are damaged", cohort(put("lowdose.nrrd", b"words"), 1), COHORT, failed),
        ("one is too noisy", cohort(noisy, 1), COHORT, done("0 of 1", "1 should not be used.*s0", writes=("out",))),
        ("the output is a file", and_then(one, put("out", "old")), COHORT, refused("file|folder|directory")),
        ("the output is below a file", and_then(one, put("file", "old")), COHORT.replace(" out ", " file/out "), refused("file|folder|directory|made")),
        ("the output is a loop", and_then(one, lambda folder: (folder / "out").symlink_to("out")), COHORT, refused("loop|link|symbolic|made")),
        ("the output has too long a name", one, COHORT.replace(" out ", f" {'x' * 300} "), refused("too long|made")),
        ("the output has no name", one, ("lipcar", "cohort", "cohort", "", "--model=signal"), done("1 of 1", writes=("examinations", "index.html", "summary.csv"))),
        ("the output is the input", one, COHORT.replace(" out ", " cohort "), kept_apart),
        ("the output is the input by ..", one, COHORT.replace(" out ", " cohort/../cohort "), kept_apart),
        ("the output is in the input", one, COHORT.replace(" out ", " cohort/out "), done("1 of 1", writes=("cohort/out",))),
        ("the page's place is a folder", and_then(one, lambda folder: (folder / "out/index.html").mkdir(parents=True)), COHORT, refused("folder")),
        ("an examination's place is a file", and_then(one, put("out/examinations/s0", "old")), COHORT, partly("0 of 1", "s0", writes=("out/index.html", "out/summary.csv"))),
        ("the examinations' place is a file", and_then(one, put("out/examinations", "old")), COHORT, refused("file|folder|exist")),
        ("a record of garbage", and_then(one, put("out/examinations/s0/record.json", b"[" * 100_000)), COHORT, done("1 of 1", writes=("out",))),
        ("the table is the page", and_then(one, put("index.html", f"lowdose\n{row}")), "lipcar cohort index.html .", kept_apart),
        ("the table is the summary", and_then(one, put("summary.csv", f"lowdose\n{row}")), "lipcar cohort summary.csv .", kept_apart),
        ("an input lies among the results", tabled("lowdose\nout/examinations/a/low.nrrd"), TABLE, kept_apart),
        *numbers(COHORT, "--jobs", ("0", "-1", "1.5", "9" * 30), "jobs", one),
        *numbers(COHORT, "--alpha", ("-1", "nan", "much"), "alpha", one),
        *numbers(COHORT, "--layout", ("", "BIDS"), "layout", one),
        *numbers(COHORT, "--format", ("", "nrrd", ".NRRD"), "format", one),
        *numbers(COHORT, "--model", ("no-such", "."), "No model", one),
        *numbers(COHORT, "--scheduler", ("", "nonsense://a", "tcp://127.0.0.1"), "scheduler|Dask", one),
        ("--device abacus", one, f"{COHORT} --device abacus", refused("device")),
        ("--dose-fraction nan", one, f"{COHORT} --dose-fraction nan", refused("dose")),
        ("as it should be, by a table", tabled(f"name,lowdose,predose\nÄ [/b] <i>,{row},cohort/s0/predose.nrrd"), TABLE, enhanced_one),
        ("a table with a mark of its byte order", tabled(f"lowdose;predose\r\n{row};cohort/s0/predose.nrrd".encode("utf-8-sig")), TABLE, enhanced_one),
        ("a page of something else is there", and_then(one, put("out/index.html", "old")), COHORT, refused("index.html.*earlier")),
    ]  # fmt: skip
    return table(*((f"cohort: {name}", *row) for name, *row in rows), seconds=60)


def table_cases() -> list[Case]:
    """A table that is none; and rows of which none can be enhanced, each said once."""
    bad = refused("table")
    heads: tuple[tuple[str, str | bytes], ...] = (
        ("of no bytes", b""),
        ("of its first line", "lowdose"),
        ("with an unknown column", "lowdose,patient\na,b"),
        ("without the low-dose image", "predose\na"),
        ("with a column twice", "lowdose,lowdose\na,b"),
        ("in UTF-16", "lowdose\na".encode("utf-16")),
        ("in Latin-1", "lowdose\n\xe4".encode("latin-1")),
        ("of binary data", bytes(range(256))),
        ("with a quote that does not end", 'lowdose\n"a'),
        ("of a cell of 200,000 characters", f"lowdose\n{'x' * 200_000}"),
    )
    rows: list[tuple[Any, ...]] = [(f"table {name}", tabled(data), TABLE, bad) for name, data in heads]
    cells = (
        "missing.nrrd",
        "/nowhere/at/all.nrrd",
        "../../x.nrrd",
        "cohort",
        "cohort/s0",
        "a\0b",
        "x" * 300,
        "x/" * 3000,
        "cohort/s0/parameters.json",
        '"two\nlines"',
        "[bold]a[/b]",
        "\x1b[31mred",
        "=1+1",
        "~/low.nrrd",
        "*.nrrd",
    )
    bad_rows = "".join(f"{cell}\n" for cell in cells)
    failed = partly(*(f"0 of {len(cells)}", "missing.nrrd", "2of1|two.*lines"), writes=("out",))
    rows += [
        ("rows of every kind", tabled(f"lowdose\n{bad_rows}"), TABLE, failed),
        ("names of every kind", tabled("name,lowdose\n" + "".join(f"{name},missing\n" for name in ("..", ".", "/", "a/../..", "con", "A", "a", '"x\ny"', "<script>", "x" * 300, "\x1b[1m", "\u202ex"))), TABLE, partly("0 of 12", writes=("out",))),
        *((f"a dose of {dose}", tabled(f"lowdose,predose,dose_fraction\ncohort/s0/lowdose.nrrd,cohort/s0/predose.nrrd,{dose}"), TABLE, partly("dose", writes=("out",))) for dose in ("much", "0", "nan", "-1", "1e400")),
        ("too many cells", tabled("lowdose\na,b"), TABLE, partly("cells", writes=("out",))),
        ("no low-dose image in a row", tabled("lowdose,predose\n,a"), TABLE, partly("names no low-dose image", writes=("out",))),
    ]  # fmt: skip
    return table(*((f"cohort: {name}", *row) for name, *row in rows), seconds=30)


def noisy(folder: Path) -> None:
    """The low-dose image, with noise of a third of its tissue's brightness."""
    path = next(folder.glob("low*.nrrd"))
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image).astype(np.float64)
    array += np.abs(np.random.default_rng(5).normal(0, array[array > 0.2 * array.max()].mean() / 3, array.shape))
    changed = image_of(array.astype(np.uint16))
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))


def results_of_a_run(folder: Path) -> None:
    """A series where an earlier run would have left one; it is not of the examination."""
    shutil.copytree(folder / "low", folder / "out" / "examinations" / "x" / "dicom")


def tree_cases() -> list[Case]:
    none = COHORT.replace("cohort cohort", "cohort .")
    call = none + " --lowdose {} --predose {}"
    rows: list[tuple[Any, ...]] = [
        ("no patterns", series(), none, refused("--lowdose PATTERN.*predose")),
        ("no pattern for the pre-dose", series(), f"{none} --lowdose low*", refused("--predose PATTERN")),
        ("both roles by one pattern", series(), call.format("*", "none"), partly("2 of its series", writes=("out",))),
        ("one series for two roles", series(), call.format("low*", "low*"), partly("taken for the", writes=("out",))),
        ("patterns that match nothing", series(), call.format("t1*", "none"), partly("none of its 2 series", writes=("out",))),
        ("twice, into the tree itself", and_then(series(), results_of_a_run), f"{call.format('*', 'none')} --dicom", partly("2 of its series", writes=("out",))),
        ("a pattern that is no pattern", series(), call.format("[", "none"), partly("none of its 2 series", writes=("out",))),
    ]  # fmt: skip
    return table(*((f"cohort of DICOM: {name}", *row) for name, *row in rows), seconds=30)


def check_cases() -> list[Case]:
    rows: list[tuple[Any, ...]] = [
        *numbers(CHECK.replace(" --subjects 1", ""), "--subjects", ("0", "-1", "1.5", "9" * 30), "subjects", nothing),
        *numbers(CHECK, "--seed", ("-1", "x"), "seed", nothing),
        *numbers(CHECK, "--device", ("abacus",), "device|available", nothing),
        ("no such model", nothing, CHECK.replace("signal", "no-such"), refused("No model")),
        ("a folder of no model", nothing, CHECK.replace("signal", "."), refused("No model")),
        ("a model that was altered", mine(keyed("files/prior/sha256", "0" * 64)), CHECK.replace("signal", "mine"), refused("altered|SHA|damaged|hash")),
        ("the output in no folder", nothing, f"{CHECK} --output nowhere/r.json", refused("does not exist")),
        ("the output is a folder", ordinary, f"{CHECK} --output .", refused("folder")),
        ("the output is the model's manifest", mine(), f"{CHECK.replace('signal', 'mine')} --output mine/manifest.json", refused("input")),
        ("the output is an image", ordinary, f"{CHECK} --examinations . --output pre.nrrd", refused("input")),
        ("no pre-dose images", nothing, f"{CHECK} --examinations .", refused("no pre-dose image")),
        ("--record of a shipped model", nothing, f"{CHECK} --record", refused("--record needs")),
    ]  # fmt: skip
    return table(*((f"check: {name}", *row) for name, *row in rows), seconds=60)


def serve_cases() -> list[Case]:
    port = TAKEN.getsockname()[1]
    secret = {"environment": {"LIPCAR_ENGINE_TOKEN": TOKEN}}
    rows: list[tuple[Any, ...]] = [
        ("the port is taken", nothing, f"lipcar serve --port {port}", refused("cannot be listened on.*in use")),
        *numbers("lipcar serve", "--port", ("0", "-1", "65536", "http", "9" * 30), "port", nothing),
        *numbers("lipcar serve", "--host", ("0.0.0.0", "::", "", "example.org", f"{LONG}.org"), "token", nothing),
        *((f"token file is {kind}", with_thing(kind, "t"), "lipcar serve --token-file t", refused("token")) for kind in ("missing", "pipe", "folder", "loop", "zero", "empty")),
        ("token file of a short token", put("t", "secret\n"), "lipcar serve --token-file t", refused("6 characters.*16")),
    ]  # fmt: skip
    cases = table(*((f"serve: {name}", *row) for name, *row in rows))
    odd = numbers("lipcar serve", "--host", ("a..b", f"{LONG}.org", "1.2.3.4.5"), "cannot be listened on", nothing)
    cases += table(*((f"serve with a token: {name}", *row) for name, *row in odd), **secret)
    row = ("serve: a token of bytes", nothing, "lipcar serve --host a..b", refused("cannot be listened on"))
    return cases + table(row, environment={"LIPCAR_ENGINE_TOKEN": "\udce4" * 20})


def engine_cases() -> list[Case]:
    rows: list[tuple[Any, ...]] = [
        *numbers(ENHANCE, "--engine", ("", "http://a", ":", "a:b", "a:0", "a:65536", "a b:1", f"{LONG}.org:1", "a..b", "ä", "[::1", "../x:1"), "engine", ordinary),
        ("nobody is there", ordinary, f"{ENHANCE} --engine {NOWHERE}", refused("does not answer.*lipcar serve")),
        ("nobody is there, and all outputs", ordinary, f"{ENHANCE} --engine {NOWHERE} --evidence maps --dicom-output dcm --report r.json", refused("does not answer")),
        ("no such model", ordinary, f"{ENHANCE} --engine {NOWHERE}".replace("signal", "no-such"), refused("No model")),
    ]  # fmt: skip
    cases = table(*((f"engine: {name}", *row) for name, *row in rows))
    short = ("engine: a short token", ordinary, f"{ENHANCE} --engine {NOWHERE}", refused("5 characters"))
    return cases + table(short, environment={"LIPCAR_ENGINE_TOKEN": "short"})


def verdict_cases() -> list[Case]:
    everything = " --prior-output p.nrrd --report r.json --picture p.png --dicom-output dcm --evidence maps"
    forced = f"{ENHANCE} --prior-output p.nrrd --report r.json --evidence maps --force"
    bad = together(ordinary, noisy)
    maps = f"{ENHANCE} --evidence maps"
    rows: list[tuple[Any, ...]] = [
        ("green, and forced", ordinary, f"{ENHANCE} --force", enhanced("Verdict: green")),
        ("do not use", bad, ENHANCE, refused("Do not use", "noise", "--force")),
        ("do not use, of all outputs", bad, ENHANCE + everything, refused("Do not use", "--force")),
        ("do not use, over what stood there", and_then(bad, put("out.nrrd", "old")), ENHANCE, refused("Do not use")),
        ("do not use, forced", bad, forced, enhanced("Verdict: do not use", writes=("out.nrrd", "p.nrrd", "r.json", "maps"))),
        ("evidence where something is", and_then(ordinary, put("maps/x", "old")), maps, refused("not empty")),
        ("evidence in a file", and_then(ordinary, put("maps", "old")), maps, refused("file")),
        ("evidence below a file", ordinary, f"{ENHANCE} --evidence low.nrrd/x", refused("folder|directory|made")),
        ("evidence is the DICOM folder", ordinary, f"{maps} --dicom-output maps", refused("two outputs")),
        ("evidence in the DICOM folder", ordinary, f"{maps}/x --dicom-output maps", refused("two outputs")),
        ("evidence is the image", ordinary, f"{ENHANCE} --evidence out.nrrd", refused("two outputs")),
        ("the report in the evidence", and_then(ordinary, lambda folder: (folder / "maps").mkdir()), f"{maps} --report maps/r.json", refused("two outputs")),
        ("evidence is the folder of all", ordinary, f"{ENHANCE} --evidence .", refused("not empty")),
        ("evidence without a name", ordinary, (*ENHANCE.split(), "--evidence", ""), refused("not empty|name")),
        ("evidence without a pre-dose image", ordinary, maps.replace(" --predose pre.nrrd", "").replace("signal", "vnet-lowdose"), enhanced("pre-dose", writes=("out.nrrd", "maps"))),
        ("evidence in a folder with no others", and_then(ordinary, lambda folder: (folder / "maps").mkdir()), maps, enhanced(writes=("out.nrrd", "maps"))),
    ]  # fmt: skip
    return table(*((f"verdict: {name}", *row) for name, *row in rows), seconds=30)


CASES = [
    *(*cohort_cases(), *table_cases(), *tree_cases(), *check_cases()),
    *(*serve_cases(), *engine_cases(), *verdict_cases()),
]
