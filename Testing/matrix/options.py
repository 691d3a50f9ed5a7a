"""Cases: the commands that simulate, train and measure: options, cohorts and folders that cannot be."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .case import Case, done, refused, table
from .inputs import Arrange, cut, image_of, nifti, nothing, nrrd
from .models import MODELS, keyed, mine

TRAIN = "lipcar train cohort --output new --epochs 1 --crop 32 --batch 2 --no-score --device cpu"
ANCHORED = "lipcar train-anchored new --steps 1 --batch 1 --size 32 --workers 0"
EVALUATE = "lipcar evaluate cohort --model signal --methods lip-car --device cpu"
ROBUSTNESS = "lipcar robustness cohort --output new --model signal --disturb noise:0.05 --device cpu"
PHANTOM = "lipcar phantom new --subjects 1 --slices 1 --size 32"


@functools.cache
def subject(index: int) -> dict[str, Any]:
    """Images by role and parameters: 2 slices of 48 x 48."""
    from LIPCARLib.learning.cohort import ROLES
    from LIPCARLib.simulation import simulate

    drawn = simulate(5, index, slices=2, size=48)
    images = {}
    for role in ROLES:
        images[role] = image_of(getattr(drawn, role).round().astype(np.uint8 if role == "labels" else np.uint16))
    return {"images": images, "parameters": drawn.parameters}


def cohort(change: Callable[[Path], object] | None = None, subjects: int = 2) -> Arrange:
    """A folder `cohort`; the change is given the folder of the first subject."""

    def arrange(folder: Path) -> None:
        (folder / "cohort").mkdir()
        for index in range(subjects):
            place = folder / "cohort" / f"s{index}"
            place.mkdir()
            for role, image in subject(index)["images"].items():
                sitk.WriteImage(image, str(place / f"{role}.nrrd"))
            (place / "parameters.json").write_text(json.dumps(subject(index)["parameters"]))
        if change is not None:
            change(folder / "cohort" / "s0")

    return arrange


def and_then(arrange: Arrange, more: Callable[[Path], object]) -> Arrange:
    def both(folder: Path) -> None:
        arrange(folder)
        more(folder)

    return both


def put(name: str, content: bytes | str) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def a_model(place: Path) -> None:
    shutil.copytree(MODELS / "vnet-lowdose", place / "new")


def numbers(call: str, option: str, values: tuple[str, ...], words: str, arrange: Arrange) -> list[tuple[Any, ...]]:
    return [(f"{option} {value}", arrange, (*call.split(), option, value), refused(words)) for value in values]


BAD = ("0", "-1", "nan", "1e30")
COUNTS = ("0", "1.5", "9" * 30)
PLACES: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("is a file", put("new", "old"), "file|folder|directory"),
    ("is within a file", put("cohort.txt", "old"), "file|folder|directory|exist|made"),
)


def places(call: str, arrange: Arrange) -> list[tuple[Any, ...]]:
    """Outputs that cannot be."""
    rows: list[tuple[Any, ...]] = [
        (f"output {name}", and_then(arrange, make), call.replace("new", "cohort.txt/new") if "within" in name else call, refused(words))
        for name, make, words in PLACES
    ]  # fmt: skip
    long = "x" * 300
    rows += [
        ("output has too long a name", arrange, call.replace("new", long), refused("too long|cannot be made|name")),
        ("output is a dangling link", and_then(arrange, lambda place: (place / "new").symlink_to("nowhere/at/all")), call, refused("link|exist|made|folder"), done(writes=("nowhere",))),
        ("output is a loop", and_then(arrange, lambda place: (place / "new").symlink_to("new")), call, refused("loop|link|exist|made|folder|symbolic")),
    ]  # fmt: skip
    return rows


def cohorts(call: str, least: int) -> list[tuple[Any, ...]]:
    """Cohorts that cannot be."""
    damaged = refused("s0|damaged|cut short|None of")
    rows: list[tuple[Any, ...]] = [
        ("no cohort", nothing, call, refused("cohort.*does not exist")),
        ("the cohort is a file", put("cohort", "old"), call, refused("cohort")),
        ("the cohort is empty", lambda folder: (folder / "cohort").mkdir(), call, refused("holds no subject")),
        (
            "the name of the cohort is too long",
            nothing,
            call.replace("cohort", "c" * 300),
            refused("too long|does not exist"),
        ),
        ("the cohort is a loop", lambda folder: (folder / "cohort").symlink_to("cohort"), call, refused("cohort")),
    ]
    if least == 2:
        rows += [
            ("one subject", cohort(subjects=1), call, refused("two subjects")),
            ("one of two is damaged", cohort(put("lowdose.nrrd", cut(nrrd()))), call, damaged),
            ("one of two is no image", cohort(put("highdose.nrrd", b"words")), call, damaged),
            ("one of two has no pre-dose image", cohort(lambda place: (place / "predose.nrrd").unlink()), call, refused("pre-dose|predose|s0")),
            ("labels on another grid", cohort(put("labels.nrrd", nrrd())), call, refused("grid|s0")),
            ("clean images of NaN", cohort(clean_of_nan), call, refused("NaN|finite|s0")),
        ]  # fmt: skip
    return rows


def clean_of_nan(place: Path) -> None:
    image = image_of(np.full((2, 48, 48), np.nan, np.float32))
    sitk.WriteImage(image, str(place / "clean_highdose.nrrd"))


RECORDS = (
    ("garbage", b"\xff\xfe"),
    ("a list", b"[]"),
    ("empty", b""),
    ("nested deep", b"[" * 100_000),
    ("of other types", b'{"settings": 5, "training": 5}'),
)
NO_DISTURBANCES = (
    *("rain", "", "noise:much", "noise:nan", "noise:-1", "noise:inf", "noise:1e30", ":1", "dose:0"),
    "shift:1e9",
)

PARAMETERS: tuple[tuple[str, bytes], ...] = (
    ("are no JSON", b"words"),
    ("are a list", b"[1]"),
    ("are nested deep", b"[" * 100_000),
    ("hold an integer of 10,000 digits", b'{"seed": ' + b"9" * 10_000 + b"}"),
    ("are UTF-16", "{}".encode("utf-16")),
    ("have a sequence that is a text", b'{"sequence": "SE", "anatomy": []}'),
    ("have a TR of -1", b'{"sequence": {"name": "spin echo", "tr": -1, "te": 0.01}}'),
)


def recorded(data: bytes) -> Callable[[Path], object]:
    """The record of a training, and a checkpoint that it is of."""

    def change(place: Path) -> None:
        put("new/checkpoints/settings.json", data)(place)
        put("new/checkpoints/prior.safetensors", b"\xff" * 400)(place)

    return change


def train_cases() -> list[Case]:
    two = cohort()
    rows: list[tuple[Any, ...]] = [
        *numbers(TRAIN, "--learning-rate", BAD, "learning.rate", two),
        *numbers(TRAIN, "--l1", ("-1", "nan", "inf", "much"), "l1", two),
        *numbers(TRAIN, "--epochs", COUNTS, "epochs", two),
        *numbers(TRAIN, "--batch", COUNTS, "batch", two),
        *numbers(TRAIN, "--crop", ("15", "9" * 30), "crop", two),
        *numbers(TRAIN, "--held-out", ("1.5", "nan"), "held.out", two),
        *numbers(TRAIN, "--precision", ("float8", ""), "float32", two),
        *numbers(TRAIN, "--seed", ("-1", "9" * 30), "seed", two),
        *numbers(TRAIN, "--device", ("abacus",), "device|available", two),
        *numbers(TRAIN, "--start", ("no-such", "cohort"), "No model", two),
        *numbers(TRAIN, "--start", ("signal", "anchored"), "pair", two),
        *numbers(TRAIN, "--start", ("vnet-lowdose",), "pre-dose|input|channel|fit|image", two),
        *numbers(TRAIN, "--snapshot", ("0", "7"), "snapshot|epoch", two),
        *places(TRAIN, two),
        *cohorts(TRAIN, 2),
        ("output holds another model", and_then(two, a_model), TRAIN, refused("holds|model|another")),
        ("output without a name", two, tuple(word.replace("new", "") for word in TRAIN.split()), refused("output|folder|name|exist|holds|empty")),
        ("resume without checkpoints", two, f"{TRAIN} --resume", refused("checkpoint"), done(writes=("new",))),
        *((f"the record of the training is {name}", and_then(two, recorded(data)), f"{TRAIN} --resume", refused("checkpoint|settings|damaged|another training")) for name, data in RECORDS),
        ("checkpoints left by a start that failed", and_then(two, lambda place: (place / "new" / "checkpoints").mkdir(parents=True)), TRAIN, done(writes=("new",))),
    ]  # fmt: skip
    cases = [(f"train: {name}", arrange, call, *expected) for name, arrange, call, *expected in rows]
    for name, data in PARAMETERS:
        cases.append((f"train: parameters {name}", cohort(put("parameters.json", data)), TRAIN, refused("parameters|s0"), done(writes=("new",))))  # fmt: skip
    return [*table(*cases, seconds=60), *checkpoint_cases()]


def checkpoint_cases() -> list[Case]:
    """A training that was stopped, and its checkpoint damaged: one clear error each."""
    import struct

    empty = struct.pack("<Q", 2) + b"{}"
    state = json.dumps({"__metadata__": {"state": "no JSON"}}).encode()
    kinds = (
        ("of garbage", b"\xff" * 400),
        ("of no bytes", b""),
        ("without tensors and state", empty),
        ("with a state that is no JSON", struct.pack("<Q", len(state)) + state),
        ("with a header of 10^18 bytes", struct.pack("<Q", 10**18) + b"{}"),
    )
    rows = []
    for name, data in kinds:
        for role in ("prior", "forward_operator"):

            def arrange(folder: Path, data: bytes = data, role: str = role) -> None:
                cohort()(folder)
                place = folder / "new" / "checkpoints"
                place.mkdir(parents=True)
                (place / f"{role}.safetensors").write_bytes(data)

            rows.append((f"train: a checkpoint {name}, {role}", arrange, f"{TRAIN} --resume", refused("checkpoint|damaged|training|resume")))  # fmt: skip
    return table(*rows, seconds=60)


def anchored_cases() -> list[Case]:
    rows: list[tuple[Any, ...]] = [
        *numbers(ANCHORED, "--learning-rate", BAD, "learning.rate", nothing),
        *numbers(ANCHORED, "--steps", COUNTS, "steps", nothing),
        *numbers(ANCHORED, "--batch", COUNTS, "batch", nothing),
        *numbers(ANCHORED, "--size", ("31", "9" * 30), "size", nothing),
        *numbers(ANCHORED, "--every", ("0",), "every", nothing),
        *numbers(ANCHORED, "--workers", ("-1", "1.5"), "workers", nothing),
        *numbers(ANCHORED, "--seed", ("-1", "9" * 30), "seed", nothing),
        *numbers(ANCHORED, "--start-from", ("no-such", "."), "No model", nothing),
        *numbers(ANCHORED, "--start-from", ("signal", "vnet-predose"), "anchored|weights|network|no pair", nothing),
        *places(ANCHORED, nothing),
        ("output holds another model", a_model, ANCHORED, refused("holds|model|another")),
        ("start from a damaged model", mine(keyed("files/prior/sha256", "0" * 64)), f"{ANCHORED} --start-from mine", refused("altered|SHA|damaged|hash")),
        *((f"the record is {name}", put("new/settings.json", data), f"{ANCHORED} --resume", refused("checkpoint|damaged|training|holds|resume|settings")) for name, data in RECORDS),
        ("a checkpoint of garbage", put("new/checkpoint.safetensors", b"\xff" * 400), f"{ANCHORED} --resume", refused("checkpoint|damaged|training|holds|resume")),
    ]  # fmt: skip
    return table(*((f"train-anchored: {name}", *row) for name, *row in rows), seconds=60)


def measuring_cases() -> list[Case]:
    one = cohort(subjects=1)
    rows: list[tuple[Any, ...]] = [
        *numbers(EVALUATE, "--methods", ("magic", "", "nn,magic", ","), "method|expected", one),
        *numbers(EVALUATE, "--alpha", ("-1", "nan", "much"), "alpha", one),
        *numbers(EVALUATE, "--dose-fraction", ("0", "1.5", "nan"), "dose", one),
        *numbers(EVALUATE, "--iterations", ("0", "x"), "iterations", one),
        *numbers(EVALUATE, "--solver", ("newton",), "proximal", one),
        *numbers(EVALUATE, "--device", ("abacus", "cuda:99"), "device|available", one),
        *numbers(EVALUATE, "--model", ("no-such", "cohort"), "No model", one),
        *cohorts(EVALUATE, 1),
        *places(f"{EVALUATE} --output new", one),
        ("--record without a folder", one, f"{EVALUATE} --record", refused("--record needs one --model")),
        ("none held out", one, "lipcar evaluate cohort --model vnet-lowdose --held-out --device cpu", refused("held out")),
        ("the only subject is damaged", cohort(put("lowdose.nrrd", cut(nrrd())), 1), EVALUATE, refused("None of|damaged|cut short")),
        ("the low-dose image is NIfTI in disguise", cohort(put("lowdose.nrrd", nifti()), 1), EVALUATE, refused("None of|damaged|format|NRRD")),
        ("as it should be", one, EVALUATE, done("subjects")),
    ]  # fmt: skip
    cases = [(f"evaluate: {name}", *row) for name, *row in rows]
    rows = [
        *numbers(ROBUSTNESS, "--disturb", NO_DISTURBANCES, "disturb|level|noise|expected", one),
        *numbers(ROBUSTNESS, "--alpha", ("-1", "nan", "much"), "alpha", one),
        *numbers(ROBUSTNESS, "--device", ("abacus",), "device|available", one),
        *numbers(ROBUSTNESS, "--model", ("no-such",), "No model", one),
        *cohorts(ROBUSTNESS, 1),
        *places(ROBUSTNESS, one),
        ("as it should be", one, ROBUSTNESS, done("Wrote", writes=("new",))),
    ]  # fmt: skip
    cases += [(f"robustness: {name}", *row) for name, *row in rows]
    return table(*cases, seconds=60)


def simulating_cases() -> list[Case]:
    rows: list[tuple[Any, ...]] = [
        *numbers(PHANTOM, "--subjects", COUNTS, "subjects", nothing),
        *numbers(PHANTOM, "--slices", COUNTS, "slices", nothing),
        *numbers(PHANTOM, "--size", ("31", "1000000000"), "size|memory", nothing),
        *numbers(PHANTOM, "--seed", ("-1", "x"), "seed", nothing),
        *numbers(PHANTOM, "--anatomy", ("cat", "", "Rat"), "anatomy", nothing),
        *places(PHANTOM, nothing),
        ("an odd size", nothing, PHANTOM.replace("32", "33"), done("1 subjects", writes=("new",)), refused("size")),
        ("as it should be", nothing, PHANTOM, done("1 subjects", writes=("new",))),
        ("again into the same folder", and_then(nothing, put("new/subject-000/lowdose.nrrd", "old")), PHANTOM, done("1 subjects", writes=("new",))),
        ("a subject's folder is a file", and_then(nothing, put("new/subject-000", "old")), PHANTOM, refused("subject-000|folder|file|made")),
    ]  # fmt: skip
    cases = [(f"phantom: {name}", *row) for name, *row in rows]
    demo = "lipcar demo --output new --device cpu"
    cases += [(f"demo: {name}", *row) for name, *row in places(demo, nothing)]
    cases += [
        ("demo: the output's place is taken by a folder", lambda folder: (folder / "new" / "report.json").mkdir(parents=True), demo, refused("folder")),
        ("demo: --device abacus", nothing, demo.replace("cpu", "abacus"), refused("device|available")),
    ]  # fmt: skip
    return table(*cases, seconds=30)


CASES = [*train_cases(), *anchored_cases(), *measuring_cases(), *simulating_cases()]
