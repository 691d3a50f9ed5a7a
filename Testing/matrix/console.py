"""Cases: names of files that a console cannot show, encodings, usage, and being stopped."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from .case import Case, done, enhanced, refused, stopped, table, under
from .images import ENHANCE
from .inputs import Arrange, ordinary
from .options import ANCHORED, PHANTOM, TRAIN, cohort

NAMES = {
    "brackets": "scan[old]",
    "closing markup": "scan[/pre]",
    "a style in markup": "[bold red]scan[/]",
    "emoji code": ":smiley: scan",
    "spaces": "  two  spaces ",
    "an apostrophe": 'Müller\'s "scan"',
    "Japanese": "日本",
    "an emoji": "🐀",
    "Arabic": "صورة",
    "Latin-1 bytes": os.fsdecode(b"l\xe4ge"),
    "a percent sign": "100%s%d",
    "braces": "{0}{name}",
    "a backslash": "C:\\scan",
    "a line break": "two\nlines",
    "a tab": "a\tb",
    "an escape sequence": "\x1b[31mred\x1b[0m",
    "a carriage return": "Error: all is well\rx",
    "a bell": "ring\x07",
    "right to left": "\u202egnp.low",
    "a leading dash": "-scan",
    "a star": "*?",
    "a dollar": "$HOME `id`",
    "decomposed letters": "u\u0308ber",
    "200 letters": "n" * 200,
}
"""Any name that a file system allows."""


def shown(name: str) -> str:
    """A regular expression for a name in a message: as it is, but what steers a terminal or is no text is escaped."""
    return "".join(re.escape(letter) if letter.isprintable() and letter != " " else ".+" for letter in name.strip())


def moved(name: str) -> Arrange:
    """The low-dose image in a folder of that name, and under that name."""

    def arrange(folder: Path) -> None:
        ordinary(folder)
        (folder / name).mkdir(parents=True)
        shutil.move(folder / "low.nrrd", folder / name / f"{Path(name).name}.nrrd")

    return arrange


def call_with(**options: str) -> tuple[str, ...]:
    given = {"lowdose": "low.nrrd", "predose": "pre.nrrd", "output": "out.nrrd", "model": "signal", **options}
    return ("lipcar", "enhance", *(f"--{key.replace('_', '-')}={value}" for key, value in given.items()))


def name_cases() -> list[Case]:
    cases = []
    for what, name in NAMES.items():
        inside = f"{name}/{Path(name).name}.nrrd"
        result = f"{name}/out.nrrd"
        rows = (
            (f"name with {what}: low-dose image and result", moved(name), call_with(lowdose=inside, output=result), enhanced(writes=(result,)), refused(shown(name))),
            (f"name with {what}: missing", ordinary, call_with(lowdose=f"{name}.nrrd"), refused(shown(name))),
        )  # fmt: skip
        cases += table(*rows)
    for encoding in ("cp1252", "ascii", "cp932", "latin-1"):
        for what in ("Japanese", "an emoji", "Latin-1 bytes"):
            result = f"{NAMES[what]}.nrrd"
            rows = (
                (f"console in {encoding}: {what}", ordinary, call_with(output=result), enhanced(writes=(result,)), refused("name|bytes|UTF-8|cannot be written")),
                (f"console in {encoding}: {what}, missing", ordinary, call_with(lowdose=result), refused()),
            )  # fmt: skip
            cases += table(*rows, encoding=encoding)
    others: tuple[tuple[Any, ...], ...] = (
        ("models show [old]", ordinary, ("lipcar", "models", "show", "[old]"), refused(r"\[old\]")),
        ("--alpha [/]", ordinary, call_with(alpha="[/]"), refused(r"\[/\]")),
        ("--solver with an escape", ordinary, call_with(solver="\x1b[31m"), refused("proximal")),
        ("--device with a line break", ordinary, call_with(device="a\nb"), refused("device|available")),
        ("evaluate a cohort of [/]", ordinary, ("lipcar", "evaluate", "[/]"), refused(r"\[/\]")),
        ("phantom into [old]", ordinary, ("lipcar", "phantom", "[old]", "--subjects=1", "--slices=1", "--size=32"), done(r"\[old\]", writes=("[old]",))),
    )  # fmt: skip
    return cases + table(*((f"markup: {name}", *row) for name, *row in others))


def usage_cases() -> list[Case]:
    commands = ("enhance", "cohort", "demo", "phantom", "train", "train-anchored", "evaluate", "robustness", "check")
    commands += ("serve", "models")
    rows: list[tuple[Any, ...]] = [
        ("nothing", ordinary, "lipcar", done("Usage", "enhance")),
        ("models alone", ordinary, "lipcar models", done("Usage", "verify")),
        ("--version", ordinary, "lipcar --version", done(r"lipcar \d+\.\d+")),
        ("--help", ordinary, "lipcar --help", done("Usage", "research only")),
        *((f"{name} --help", ordinary, f"lipcar {name} --help", done("Usage")) for name in commands),
        ("an unknown command", ordinary, "lipcar enlarge", refused("No such command")),
        ("an unknown option", ordinary, f"{ENHANCE} --sharper", refused("No such option")),
        ("an option without its value", ordinary, f"{ENHANCE} --alpha", refused("requires an argument|needs")),
        ("no low-dose image", ordinary, "lipcar enhance --output out.nrrd", refused("--lowdose")),
        ("no output", ordinary, "lipcar enhance --lowdose low.nrrd", refused("--output")),
        ("a word too many", ordinary, f"{ENHANCE} more", refused("unexpected|argument")),
        ("no subjects", ordinary, "lipcar phantom new", refused("--subjects")),
        ("no cohort", ordinary, "lipcar evaluate", refused("cohort")),
        ("an empty word", ordinary, ("lipcar", ""), refused("command")),
    ]  # fmt: skip
    return table(*((f"usage: {name}", *row) for name, *row in rows))


def stopped_cases() -> list[Case]:
    """A signal as soon as a function of that name is called, from the first file to the last."""
    cases: list[Case] = []
    for function in ("checked_content", "check_output", "load_model", "reconstruct", "build_report", "write_files"):
        for name, code in (("SIGINT", 130), ("SIGTERM", 143)):
            row = (f"{name} in {function}", ordinary, ENHANCE, stopped(code))
            cases += [under(one, interrupt=[name, function]) for one in table(row)]
    for call, arrange, function in ((TRAIN, cohort(), "subject_folders"), (ANCHORED, ordinary, "train_anchored")):
        row = (f"SIGINT in {function}", arrange, call, stopped(130))
        cases += [under(one, interrupt=["SIGINT", function], seconds=60) for one in table(row)]
    row = ("SIGINT in simulate", ordinary, PHANTOM, stopped(130))
    return cases + [under(one, interrupt=["SIGINT", "simulate"], seconds=60) for one in table(row)]


CASES = [*name_cases(), *usage_cases(), *stopped_cases()]
