"""Cases: places that results cannot be written to, disks that are full, and what stood there before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .case import Case, Expected, enhanced, near, refused, table, under
from .images import ENHANCE
from .inputs import Arrange, examined, ordinary, together

OLD = b"what stood here before"
FULL = refused("space|full|quota|too large|limit|larger", hides=("permission",))
ALL = f"{ENHANCE} --highdose high.nrrd --prior-output prior.nrrd --report report.json --picture picture.png --dicom-output dcm"
WRITTEN = ("out.nrrd", "prior.nrrd", "report.json", "picture.png", "dcm")


def with_old(*names: str) -> Arrange:
    def arrange(folder: Path) -> None:
        ordinary(folder)
        for name in names:
            (folder / name).write_bytes(OLD)

    return arrange


def then(change: Callable[[Path], object]) -> Arrange:
    return together(ordinary, change)


NO_IMAGES = ("out", "out.jpg", "out.NRRD", "out.mhd", ".nrrd", "out.nrrd.txt", "out.dcm", "out.", "out.img")
IMAGES = ("out.nii", "out.nii.gz", "out.mha", "out.nrrd")


def linked(folder: Path) -> None:
    """out.nrrd is a link to old.nrrd, and the folder way one to the folder real."""
    ordinary(folder)
    (folder / "old.nrrd").write_bytes(OLD)
    (folder / "out.nrrd").symlink_to("old.nrrd")
    (folder / "real").mkdir()
    (folder / "way").symlink_to("real")


def place_cases() -> list[Case]:
    options = {
        "image": lambda name: ENHANCE.replace("out.nrrd", name),
        "prior": lambda name: f"{ENHANCE} --prior-output {name}",
        "report": lambda name: f"{ENHANCE} --report {name}",
        "picture": lambda name: f"{ENHANCE} --picture {name}",
    }
    rows: list[tuple[Any, ...]] = []
    for role, call in options.items():
        suffix = {"image": ".nrrd", "prior": ".nrrd", "report": ".json", "picture": ".png"}[role]
        other = () if role == "image" else ("out.nrrd",)
        long = "x" * (250 - len(suffix)) + suffix
        rows += [
            (f"{role} in a folder that is not there", ordinary, call(f"nowhere/x{suffix}"), refused("does not exist")),
            (f"{role} is a folder", then(lambda folder, s=suffix: (folder / f"x{s}").mkdir()), call(f"x{suffix}"), refused("folder")),
            (f"{role} is the low-dose image", ordinary, call("low.nrrd"), refused("input")),
            (f"{role} is the low-dose image by a link", then(lambda folder, s=suffix: (folder / f"x{s}").symlink_to("low.nrrd")), call(f"x{suffix}"), refused("input|link")),
            (f"{role} is the low-dose image by a hard link", then(lambda folder, s=suffix: os.link(folder / "low.nrrd", folder / f"x{s}")), call(f"x{suffix}"), refused("input"), enhanced(writes=other, replaces=(f"x{suffix}",))),
            (f"{role} below a file", ordinary, call(f"pre.nrrd/x{suffix}"), refused("does not exist|folder|directory")),
            (f"{role} has a name of 256 characters", ordinary, call("x" * (256 - len(suffix)) + suffix), refused("too long", hides=("permission",))),
            (f"{role} has a name of 250 characters", ordinary, call(long), refused("too long|name", hides=("permission",)), enhanced(writes=(long, *other))),
            (f"{role} is a loop", then(lambda folder, s=suffix: (folder / f"x{s}").symlink_to(f"x{s}")), call(f"x{suffix}"), refused("loop|link|symbolic")),
            (f"{role} is a pipe", then(lambda folder, s=suffix: os.mkfifo(folder / f"x{s}")), call(f"x{suffix}"), refused("regular|pipe|file")),
            (f"{role} has a zero in its name", ordinary, tuple(word.replace("ZERO", "\0") for word in call(f"xZERO{suffix}").split()), refused("zero|null|NUL|name|character")),
            (f"{role} has no name", ordinary, tuple(word.replace("EMPTY", "") for word in call("EMPTY").split()), refused("name|folder|end in|ends")),
            (f"{role} stands there already", with_old(f"x{suffix}"), call(f"x{suffix}"), enhanced(writes=other, replaces=(f"x{suffix}",))),
        ]  # fmt: skip
    rows += [
        *((f"image named {name!r}", ordinary, ENHANCE.replace("out.nrrd", name), refused("end in|suffix|format")) for name in NO_IMAGES),
        *((f"image as {name}", ordinary, ENHANCE.replace("out.nrrd", name), enhanced(writes=(name,), check=near(0.02, name=name))) for name in IMAGES),
        ("two outputs are one", ordinary, f"{ENHANCE} --prior-output out.nrrd", refused("two outputs")),
        ("two outputs are one by ..", then(lambda folder: (folder / "x").mkdir()), f"{ENHANCE} --prior-output x/../out.nrrd", refused("two outputs")),
        ("the report is the acquisition", ordinary, f"{ENHANCE} --report pre.nrrd", refused("input")),
        ("the picture is the report", ordinary, f"{ENHANCE} --report a.png --picture a.png", refused("two outputs")),
        ("the report below the DICOM folder", ordinary, f"{ENHANCE} --report dcm/0001.dcm --dicom-output dcm", refused("does not exist|within|inside|two outputs|folder")),
        ("the report in the DICOM folder that stands there", then(lambda folder: (folder / "dcm").mkdir()), f"{ENHANCE} --report dcm/0001.dcm --dicom-output dcm", refused("within|inside|two outputs|folder")),
        ("the DICOM folder is the image", ordinary, f"{ENHANCE} --dicom-output out.nrrd", refused("two outputs|folder|own")),
        ("the DICOM folder below the image", ordinary, f"{ENHANCE} --dicom-output out.nrrd/x", refused("two outputs|folder|directory|made|own")),
        ("everything at once", ordinary, ALL, enhanced("RMSE", writes=WRITTEN)),
        ("everything at once, over what stood there", with_old(*WRITTEN[:-1]), ALL, enhanced("RMSE", writes=WRITTEN[-1:], replaces=WRITTEN[:-1])),
        ("through a link to a file", linked, ENHANCE, enhanced(writes=(), replaces=("out.nrrd",)), enhanced(writes=(), replaces=("old.nrrd",)), refused("link")),
        ("into a folder by a link", linked, ENHANCE.replace("out.nrrd", "way/out.nrrd"), enhanced(writes=("real/out.nrrd",))),
    ]  # fmt: skip
    cases = table(*((f"output: {name}", *row) for name, *row in rows))
    if hasattr(os, "geteuid") and os.geteuid() != 0:  # nothing is closed to root
        closed = then(lambda folder: ((folder / "closed").mkdir(), (folder / "closed").chmod(0o500)))
        cases += table(("output: a closed folder", closed, ENHANCE.replace("out.nrrd", "closed/out.nrrd"), refused("permission|written")))  # fmt: skip
    return cases


def full_disk_cases() -> list[Case]:
    """The process may write files up to a size only: what is larger fails as on a full disk."""
    noisy = examined(
        lambda arrays: [arrays.update({role: array + noise_like(array)}) for role, array in arrays.items()]
    )
    cases: list[Case] = []
    for suffix in (".nrrd", ".nii", ".nii.gz", ".mha"):
        for size, old in ((0, False), (100, True), (4096, False), (16384, True), (40000, True)):
            name = f"out{suffix}"
            arrange = together(noisy, lambda folder, n=name: (folder / n).write_bytes(OLD)) if old else noisy
            what = f"full: {name} after {size} bytes{', an old one there' * old}"
            cases += table((what, arrange, ENHANCE.replace("out.nrrd", name), FULL), limits={"FSIZE": size})
    others: list[tuple[str, str, int, tuple[Expected, ...]]] = [
        ("report", f"{ENHANCE} --report report.json", 300, (FULL,)),
        ("picture", f"{ENHANCE} --picture picture.png", 20000, (FULL,)),
        ("DICOM", f"{ENHANCE} --dicom-output dcm", 5000, (FULL,)),
        ("everything", ALL, 60000, (FULL,)),
        ("everything, over what stood there", ALL, 60000, (FULL,)),
    ]
    for name, call, size, expected in others:
        arrange = together(noisy, with_old(*WRITTEN[:-1])) if "stood" in name else noisy
        cases += table((f"full: {name}", arrange, call, *expected), limits={"FSIZE": size})
    commands = (
        ("lipcar demo --output new --device cpu", 50_000),
        ("lipcar phantom new --subjects 1 --slices 2 --size 64", 3_000),
    )
    for call, size in commands:
        row = (f"full: {call.split()[1]}", ordinary, call, FULL)
        cases += [under(one, seconds=60) for one in table(row, limits={"FSIZE": size})]
    return cases


def noise_like(array: np.ndarray) -> np.ndarray:
    """What no compression makes small."""
    return np.random.default_rng(1).integers(0, 40, array.shape).astype(array.dtype)


def memory_cases() -> list[Case]:
    """An image as large as its header says, all zeros in a sparse file, and no memory for it."""

    def large(folder: Path) -> None:
        from .inputs import nrrd

        ordinary(folder)
        header = nrrd({"sizes": "1000 1000 400"}, b"")
        (folder / "low.nrrd").write_bytes(header)
        os.truncate(folder / "low.nrrd", len(header) + 800_000_000)

    row = ("memory: an image of 800 MB", large, ENHANCE, refused("memory"))
    return table(row, limits={"AS": 600_000_000}, seconds=30)


CASES = [*place_cases(), *full_disk_cases(), *memory_cases()]
